/* Exact vector search over an int8 copy: see vectors.h.
 *
 * Why the result is exact. Let u be the query and v a row, quantised to t*p + f and s*q + g. Then
 *   u.v - (t*p).(s*q) = u.g + f.(s*q),  so  |u.v - approx| <= |u||g| + |f||s*q|
 * by Cauchy-Schwarz. The file keeps |g| of every row; |f| is known once per query. Three steps:
 *   1. scan all rows in int8 and keep those whose approx + bound reaches the k-th best approx -
 *      bound: no other row can be among the best k;
 *   2. score the kept rows as u.(s*q) with the float query, which leaves |u||g| as the bound;
 *   3. in the order of that score + bound, score with the float vector from the store, and stop
 *      when the next upper limit is below the k-th best exact score.
 * So few rows are fetched from the database, and what is returned is what an exact scan would.
 * (Alternative: fetch a fixed multiple of k. Usually right, sometimes not, and nobody can tell.)
 *
 * Checksum. The whole file is checked at every open by a hash that runs at the speed of memory, and
 * the scan reads every byte anyway. It detects damage, not forgery: who can write here can write
 * the database, too. (Alternative: SHA-256, which costs more than the search itself.) */
#include "store/vectors.h"

#include "base/file.h"
#include "store/store_internal.h"
#include "tensor/ops.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCAN_ROWS = 1024, VERSION = 1 };
static const char magic[8] = "HEARTHV1";

struct file_head { /* 64 bytes, as it lies in the file */
    char magic[8];
    uint32_t version, dim;
    uint64_t count, generation;
    int64_t store_id;
    uint64_t checksum;      /* of all bytes after the head */
    uint64_t head_checksum; /* of the bytes before this field */
    uint64_t zero;
};
_Static_assert(sizeof(struct file_head) == 64, "the head is a section of its own");

struct layout {
    size_t ids, scales, errors, rows, total; /* offsets */
};

struct vectors {
    struct file_map map; /* of the file, or empty: */
    uint8_t *image;      /* the same bytes in memory, where the file cannot be written */
    size_t count, dim;
    const int64_t *ids;
    const float *scales; /* v ~ scale * row */
    const float *errors; /* |v - scale * row| */
    const int8_t *rows;  /* [count][dim] */
    float max_error;
};

/* ---- the file ---- */

static bool add_section(size_t *total, size_t count, size_t item_bytes, size_t *offset)
{
    size_t n;
    if (!size_mul(count, item_bytes, &n) || !size_add(n, 63, &n)) {
        return false;
    }
    *offset = *total;
    return size_add(*total, n & ~(size_t)63, total);
}

static bool layout_of(uint64_t count, uint64_t dim, struct layout *l)
{
    size_t row_bytes;
    l->total = sizeof(struct file_head);
    return count <= UINT32_MAX && dim <= STORE_MAX_DIM && size_mul(count, dim, &row_bytes) &&
           add_section(&l->total, count, sizeof(int64_t), &l->ids) &&
           add_section(&l->total, count, sizeof(float), &l->scales) &&
           add_section(&l->total, count, sizeof(float), &l->errors) &&
           add_section(&l->total, row_bytes, 1, &l->rows);
}

/* Four lanes of 64-bit words, n a multiple of 32. Each step is a bijection of the lane and of the
 * word, so a change of any one word always changes the result. */
static uint64_t checksum(const uint8_t *p, size_t n)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t h[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < n; i += 32) {
        uint64_t w[4];
        memcpy(w, p + i, sizeof w);
        for (int j = 0; j < 4; j++) {
            uint64_t x = h[j] ^ w[j];
            h[j] = (x << 29 | x >> 35) * odd;
        }
    }
    uint64_t r = n;
    for (int j = 0; j < 4; j++) {
        r = (r ^ h[j]) * odd;
        r ^= r >> 32;
    }
    return r;
}

static uint64_t head_checksum(const struct file_head *h)
{
    uint8_t padded[64] = {0};
    memcpy(padded, h, offsetof(struct file_head, head_checksum));
    return checksum(padded, sizeof padded);
}

static void attach(struct vectors *v, const uint8_t *data, const struct layout *l)
{
    v->ids = (const int64_t *)(const void *)(data + l->ids);
    v->scales = (const float *)(const void *)(data + l->scales);
    v->errors = (const float *)(const void *)(data + l->errors);
    v->rows = (const int8_t *)(data + l->rows);
    for (size_t i = 0; i < v->count; i++) {
        v->max_error = v->errors[i] > v->max_error ? v->errors[i] : v->max_error;
    }
}

/* Maps the file if it is whole and belongs to this state of this store. */
static bool map_file(struct vectors *v, const char *path, const struct store_state *w)
{
    struct file_map m = {0};
    struct file_head h = {0};
    struct layout l;
    if (file_map_open(path, &m, NULL)) {
        return false;
    }
    if (m.size >= sizeof h) {
        memcpy(&h, m.data, sizeof h);
    }
    bool good = memcmp(h.magic, magic, sizeof magic) == 0 && h.version == VERSION &&
                h.head_checksum == head_checksum(&h) && h.zero == 0 && h.dim == (uint64_t)w->dim &&
                h.generation == (uint64_t)w->generation && h.store_id == w->store_id &&
                layout_of(h.count, h.dim, &l) && l.total == m.size &&
                h.checksum == checksum(m.data + sizeof h, m.size - sizeof h);
    if (!good) {
        file_map_close(&m);
        return false;
    }
    v->map = m;
    v->count = (size_t)h.count;
    v->dim = h.dim;
    attach(v, m.data, &l);
    return true;
}

/* ---- building ---- */

/* q = round(v / scale) with the largest value at 127. */
static float quantise(const float *v, size_t dim, int8_t *q, float *error)
{
    float max = 0;
    for (size_t i = 0; i < dim; i++) {
        max = fabsf(v[i]) > max ? fabsf(v[i]) : max;
    }
    float scale = max / 127;
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        float r = scale > 0 ? rintf(v[i] / scale) : 0;
        r = r > 127 ? 127 : r < -127 ? -127 : r; /* a scale near the smallest float divides badly */
        q[i] = (int8_t)r;
        double g = (double)v[i] - (double)scale * (double)r;
        sum += g * g;
    }
    *error = (float)sqrt(sum) * (1 + 4 * FLT_EPSILON);
    return scale;
}

struct builder {
    uint8_t *image;
    struct layout l;
    size_t count, dim, n;
    int64_t bad; /* chunk whose vector is no vector, -1: none */
};

static enum status build_row(void *ctx, int64_t chunk_id, const float *vector, int64_t dim)
{
    struct builder *b = ctx;
    for (int64_t i = 0; i < dim; i++) {
        if (!isfinite(vector[i])) {
            b->bad = chunk_id;
            return ERR_FORMAT;
        }
    }
    if (b->n == b->count || (size_t)dim != b->dim) {
        return ERR_INTERNAL; /* cannot be inside one snapshot */
    }
    float error;
    int8_t *row = (int8_t *)(b->image + b->l.rows + b->n * b->dim);
    float scale = quantise(vector, b->dim, row, &error);
    memcpy(b->image + b->l.ids + b->n * sizeof chunk_id, &chunk_id, sizeof chunk_id);
    memcpy(b->image + b->l.scales + b->n * sizeof scale, &scale, sizeof scale);
    memcpy(b->image + b->l.errors + b->n * sizeof error, &error, sizeof error);
    b->n++;
    return OK;
}

static void finish_image(struct builder *b, const struct store_state *w)
{
    struct file_head h = {.version = VERSION,
                          .dim = (uint32_t)b->dim,
                          .count = b->count,
                          .generation = (uint64_t)w->generation,
                          .store_id = w->store_id};
    memcpy(h.magic, magic, sizeof magic);
    h.checksum = checksum(b->image + sizeof h, b->l.total - sizeof h);
    h.head_checksum = head_checksum(&h);
    memcpy(b->image, &h, sizeof h);
}

static enum status build(struct store *s, const struct store_state *w, struct builder *b,
                         struct err *e)
{
    int64_t count = 0;
    enum status st = store_count_vectors(s, &count, e);
    if (st) {
        return st;
    }
    b->count = (size_t)count;
    b->dim = (size_t)w->dim;
    b->bad = -1;
    if (!layout_of((uint64_t)count, (uint64_t)w->dim, &b->l)) {
        return err_set(e, ERR_LIMIT, s->path, "%lld vectors of %lld numbers are too many",
                       (long long)count, (long long)w->dim);
    }
    b->image = mem_aligned(b->l.total, 1);
    if (!b->image) {
        return err_set(e, ERR_MEMORY, s->path, "no memory for %zu bytes of vectors", b->l.total);
    }
    st = store_each_vector(s, build_row, b, e);
    if (st && b->bad >= 0) {
        st = err_set(e, ERR_FORMAT, s->path, "the vector of chunk %lld holds no numbers",
                     (long long)b->bad);
    }
    if (!st && b->n != b->count) {
        st =
            err_set(e, ERR_INTERNAL, s->path, "%zu vectors where %zu were counted", b->n, b->count);
    }
    if (!st) {
        finish_image(b, w);
    }
    return st;
}

/* Builds the image, writes it, and maps the file; keeps the image where that cannot be (a read-only
 * folder, a full disk): the search works all the same and the next open tries again. */
static enum status rebuild(struct vectors *v, struct store *s, const char *path,
                           const struct store_state *w, struct err *e)
{
    struct builder b = {0};
    enum status st = build(s, w, &b, e);
    if (st) {
        free(b.image);
        return st;
    }
    if (!file_replace(path, b.image, b.l.total, NULL) && map_file(v, path, w)) {
        free(b.image);
        return OK;
    }
    v->image = b.image;
    v->count = b.count;
    v->dim = b.dim;
    attach(v, b.image, &b.l);
    return OK;
}

static enum status open_at(struct vectors *v, struct store *s, const char *path, bool *rebuilt,
                           struct err *e)
{
    struct store_state w;
    enum status st = store_snapshot_begin(s, e);
    if (st) {
        return st;
    }
    st = store_state(s, &w, e);
    if (!st && !map_file(v, path, &w)) {
        *rebuilt = true;
        st = rebuild(v, s, path, &w, e);
    }
    store_snapshot_end(s);
    return st;
}

enum status vectors_open(struct store *s, const char *home, struct vectors **out, bool *rebuilt,
                         struct err *e)
{
    struct buf path = {0};
    bool built = false;
    buf_printf(&path, "%s/vectors.bin", home);
    struct vectors *v = calloc(1, sizeof *v);
    enum status st = !v || path.failed
                         ? err_set(e, ERR_MEMORY, home, "no memory to open its vectors")
                         : open_at(v, s, path.data, &built, e);
    buf_fini(&path);
    if (st) {
        vectors_close(v);
        return st;
    }
    if (rebuilt) {
        *rebuilt = built;
    }
    *out = v;
    return OK;
}

void vectors_close(struct vectors *v)
{
    if (v) {
        file_map_close(&v->map);
        free(v->image);
        free(v);
    }
}

size_t vectors_count(const struct vectors *v)
{
    return v->count;
}

/* ---- search ---- */

struct candidate {
    float upper; /* no exact score of this row can be higher */
    uint32_t row;
};

struct query {
    float *unit;   /* [dim], the query at length 1 */
    float *row;    /* [dim], scratch */
    int8_t *quant; /* unit ~ scale * quant */
    float scale;
    float error;                  /* |unit - scale * quant| */
    float rounding;               /* what float sums can be off by */
    float *approx;                /* [count] */
    struct candidate *candidates; /* [count] */
    float *heap;                  /* [k] */
};

static enum status query_init(struct query *q, const struct vectors *v, const float *query,
                              size_t k, struct err *e)
{
    size_t d = v->dim;
    double sum = 0;
    for (size_t i = 0; i < d; i++) {
        sum += (double)query[i] * (double)query[i];
    }
    if (!isfinite(sum)) {
        return err_set(e, ERR_USAGE, NULL, "the query's vector holds no numbers");
    }
    q->unit = mem_aligned(d, sizeof *q->unit);
    q->row = mem_aligned(d, sizeof *q->row);
    q->quant = mem_aligned(d, 1);
    q->approx = mem_aligned(v->count, sizeof *q->approx);
    q->candidates = mem_aligned(v->count, sizeof *q->candidates);
    q->heap = mem_aligned(k, sizeof *q->heap);
    if (!q->unit || !q->row || !q->quant || !q->approx || !q->candidates || !q->heap) {
        return err_set(e, ERR_MEMORY, NULL, "no memory to search %zu vectors", v->count);
    }
    double norm = sqrt(sum);
    for (size_t i = 0; i < d; i++) {
        q->unit[i] = norm > 0 ? (float)(query[i] / norm) : 0;
    }
    q->scale = quantise(q->unit, d, q->quant, &q->error);
    q->rounding = 2 * ((float)d + 8) * FLT_EPSILON; /* vectors are of unit length within 1 % */
    return OK;
}

static void query_fini(struct query *q)
{
    free(q->unit);
    free(q->row);
    free(q->quant);
    free(q->approx);
    free(q->candidates);
    free(q->heap);
}

/* Replaces the smallest of a full min-heap. */
static void heap_replace_min(float *heap, size_t n, float x)
{
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= n) {
            break;
        }
        c += c + 1 < n && heap[c + 1] < heap[c];
        if (heap[c] >= x) {
            break;
        }
        heap[i] = heap[c];
        i = c;
    }
    heap[i] = x;
}

/* Bound of |exact - approx| of step 1; |s*q| <= |v| + |g| <= 1.01 + max_error. */
static float scan_bound(const struct vectors *v, const struct query *q, size_t row)
{
    return v->errors[row] + q->error * (1.01f + v->max_error) + q->rounding;
}

/* Step 1: approximate scores of all rows; returns the k-th best lower limit. */
static float scan(const struct vectors *v, struct query *q, size_t k)
{
    int32_t dots[SCAN_ROWS];
    for (size_t i = 0; i < k; i++) {
        q->heap[i] = -INFINITY;
    }
    for (size_t at = 0; at < v->count; at += SCAN_ROWS) {
        size_t n = v->count - at < SCAN_ROWS ? v->count - at : SCAN_ROWS;
        vec_scan_i8(q->quant, v->rows + at * v->dim, n, v->dim, dots);
        for (size_t i = 0; i < n; i++) {
            float approx = q->scale * v->scales[at + i] * (float)dots[i];
            q->approx[at + i] = approx;
            float lower = approx - scan_bound(v, q, at + i);
            if (lower > q->heap[0]) {
                heap_replace_min(q->heap, k, lower);
            }
        }
    }
    return q->heap[0];
}

static int by_upper(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->upper != y->upper) {
        return x->upper > y->upper ? -1 : 1;
    }
    return x->row < y->row ? -1 : 1;
}

/* Step 2: rows that can still be among the best, by their upper limit. */
static size_t choose(const struct vectors *v, struct query *q, float kth_lower)
{
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++) {
        if (q->approx[i] + scan_bound(v, q, i) < kth_lower) {
            continue;
        }
        const int8_t *row = v->rows + i * v->dim;
        for (size_t j = 0; j < v->dim; j++) {
            q->row[j] = (float)row[j];
        }
        float near = v->scales[i] * vec_dot_f32(q->unit, q->row, v->dim);
        q->candidates[n++] =
            (struct candidate){.upper = near + v->errors[i] + q->rounding, .row = (uint32_t)i};
    }
    qsort(q->candidates, n, sizeof *q->candidates, by_upper);
    return n;
}

static bool worse(const struct hit *a, const struct hit *b)
{
    return a->score != b->score ? a->score < b->score : a->chunk_id > b->chunk_id;
}

/* Keeps out[0 .. n) sorted, best first; n <= k. */
static size_t insert(struct hit *out, size_t n, size_t k, struct hit h)
{
    if (n == k && !worse(&out[n - 1], &h)) {
        return n;
    }
    size_t i = n < k ? n++ : n - 1;
    for (; i > 0 && worse(&out[i - 1], &h); i--) {
        out[i] = out[i - 1];
    }
    out[i] = h;
    return n;
}

/* Step 3. A chunk that another process removed since the index was opened is passed over. */
static enum status rescore(const struct vectors *v, struct store *s, struct query *q, size_t n,
                           size_t k, struct hit *out, size_t *n_found, size_t *n_gone,
                           struct err *e)
{
    size_t found = 0, gone = 0;
    for (size_t i = 0; i < n; i++) {
        const struct candidate *c = &q->candidates[i];
        if (found == k && c->upper < out[k - 1].score) {
            break;
        }
        int64_t id = v->ids[c->row];
        enum status st = store_vector(s, id, q->row, (int64_t)v->dim, e);
        if (st == ERR_NOT_FOUND) {
            gone++;
            continue;
        }
        if (st) {
            return st;
        }
        float score = vec_dot_f32(q->unit, q->row, v->dim);
        found = insert(out, found, k, (struct hit){.chunk_id = id, .score = score});
    }
    *n_found = found;
    *n_gone = gone;
    return OK;
}

enum status vectors_search(struct vectors *v, struct store *s, const float *query, int64_t dim,
                           size_t k, struct hit *out, size_t *n_found, struct err *e)
{
    if (v->count == 0 || k == 0) {
        *n_found = 0;
        return OK;
    }
    if (dim < 0 || (size_t)dim != v->dim) {
        return err_set(e, ERR_MISMATCH, s->home,
                       "its vectors have %zu numbers, the query's has %lld: use the embedding "
                       "model that the library was made with",
                       v->dim, (long long)dim);
    }
    k = k < v->count ? k : v->count;
    struct query q = {0};
    enum status st = query_init(&q, v, query, v->count, e);
    /* Rows that are gone must not count among the k that shut others out: look again, deeper. */
    for (size_t depth = k; !st;) {
        size_t gone = 0;
        size_t n = choose(v, &q, scan(v, &q, depth));
        st = rescore(v, s, &q, n, k, out, n_found, &gone, e);
        if (st || depth == v->count || k + gone <= depth) {
            break;
        }
        depth = k + gone < v->count ? k + gone : v->count;
    }
    query_fini(&q);
    return st;
}

/* Attention and the KV cache: see ops.h.
 *
 * A task is a tile of queries that share a KV head: up to ATTN_QUERIES of the pairs (row, head of
 * the group), rows outside. A tile walks the chunks of positions that it sees; a query's arithmetic
 * does not depend on its tile. When there are few tiles (decoding), workers share the chunks
 * instead, leave each chunk's state in memory, and merge the states in the order in which one
 * worker would have met them: the same bits. */
#include "tensor/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    CHUNK_SECTIONS = ATTN_CHUNK / KV_BLOCK,
    NEAR = 6 /* rows from the one at hand to the one that is fetched: they lie pages apart */
};

size_t kv_block_bytes(enum tensor_type type, int64_t n_kv_heads, int64_t head_dim)
{
    int64_t unit = type == TYPE_F16 || type == TYPE_F32 ? 16 : type == TYPE_Q8_0 ? 32 : 0;
    if (!unit || n_kv_heads < 1 || n_kv_heads > 1 << 16 || head_dim < 1 ||
        head_dim > ATTN_MAX_DIM || head_dim % unit) {
        return 0;
    }
    return (size_t)n_kv_heads * kv_section_bytes(type, (size_t)head_dim);
}

size_t kv_partial_floats(int64_t n_tokens, int64_t n_heads, int64_t head_dim)
{
    /* Every query head of one row at the full depth; a few more rows near the start. */
    int64_t chunks = (n_tokens + ATTN_CHUNK - 1) / ATTN_CHUNK + 8;
    return (size_t)(chunks * n_heads * (head_dim + 2));
}

static uint8_t *section_at(const struct kv_layer *kv, int32_t block, int64_t head)
{
    size_t section = kv_section_bytes(kv->type, (size_t)kv->head_dim);
    return kv->pool + ((size_t)block * (size_t)kv->n_kv_heads + (size_t)head) * section;
}

/* Rows [r, r + n) of the sequence, which lie in one block, of one KV head. */
static void store_rows(const struct kv_layer *kv, const struct attn_seq *seq, int64_t r, int64_t n,
                       int64_t head, const float *k, const float *v, int64_t ld)
{
    int64_t pos = seq->first_pos + r, at = (seq->row + r) * ld + head * kv->head_dim;
    uint8_t *to = section_at(kv, seq->blocks[pos / KV_BLOCK], head);
    for (int64_t i = 0; i < n; i++, at += ld) {
        kernels()->kv_put(kv->type, to, (size_t)((pos + i) % KV_BLOCK), (size_t)kv->head_dim,
                          k + at, v + at);
    }
}

/* Rows from r on that share its block. */
static int64_t rows_in_block(const struct attn_seq *seq, int64_t r)
{
    int64_t n = KV_BLOCK - (seq->first_pos + r) % KV_BLOCK;
    return n < seq->n_rows - r ? n : seq->n_rows - r;
}

void kv_store_heads(const struct kv_layer *kv, const struct attn_seq *seqs, int64_t n_seqs,
                    size_t first, size_t last, const float *k, const float *v, int64_t ld)
{
    for (int64_t s = 0; s < n_seqs; s++) {
        for (int64_t r = 0, n; r < seqs[s].n_rows; r += n) {
            n = rows_in_block(&seqs[s], r);
            for (size_t h = first; h < last; h++) {
                store_rows(kv, &seqs[s], r, n, (int64_t)h, k, v, ld);
            }
        }
    }
}

void op_kv_store(const struct worker *w, struct kv_layer *kv, const struct attn_seq *seqs,
                 int64_t n_seqs, const float *k, const float *v, int64_t ld)
{
    /* Sections are dealt out, not rows: slots share cache lines. */
    int64_t section = 0;
    for (int64_t s = 0; s < n_seqs; s++) {
        for (int64_t r = 0, n; r < seqs[s].n_rows; r += n) {
            n = rows_in_block(&seqs[s], r);
            for (int64_t h = 0; h < kv->n_kv_heads; h++, section++) {
                if (section % w->count == w->index) {
                    store_rows(kv, &seqs[s], r, n, h, k, v, ld);
                }
            }
        }
    }
}

/* Queries [first, first + n) of one KV head of a sequence; query i is row first_row + i / group and
 * head kv_head * group + i % group. */
struct task {
    const struct attn_seq *seq;
    int64_t kv_head, group;
    int64_t first, n;
    int32_t lo, hi; /* positions that any of them sees */
};

struct tile_memory {
    struct attn_tile t;
    _Alignas(64) int16_t q[ATTN_QUERIES * ATTN_MAX_DIM];
    _Alignas(64) float q32[ATTN_QUERIES * ATTN_MAX_DIM];
    _Alignas(64) float acc[ATTN_QUERIES * ATTN_MAX_DIM];
};

static size_t query_at(const struct task *k, int64_t i, int64_t ld, int64_t head_dim)
{
    int64_t row = k->seq->row + (k->first + i) / k->group;
    return (size_t)(row * ld + (k->kv_head * k->group + (k->first + i) % k->group) * head_dim);
}

static int32_t own_position(const struct task *k, int64_t i)
{
    return (int32_t)(k->seq->first_pos + (k->first + i) / k->group);
}

static void tile_clear(struct tile_memory *m)
{
    struct attn_tile *t = &m->t;
    memset(m->acc, 0, (size_t)(t->n * t->head_dim) * sizeof(float));
    for (int i = 0; i < ATTN_QUERIES; i++) {
        t->peak[i] = -INFINITY;
        t->total[i] = 0;
    }
}

/* Quantises the task's queries into the tile and clears its state. window < 0: all see [0, hi). */
static void tile_begin(struct tile_memory *m, enum tensor_type type, const struct task *k,
                       const struct attn *p, int64_t head_dim, const float *q, int64_t ldq)
{
    struct attn_tile *t = &m->t;
    *t = (struct attn_tile){.type = type,
                            .n = (int)k->n,
                            .head_dim = head_dim,
                            .softcap = p->softcap,
                            .q = m->q,
                            .q32 = m->q32,
                            .full_hi = INT32_MAX,
                            .acc = m->acc};
    if (t->n < ATTN_QUERIES) {
        memset(m->q, 0, (size_t)(ATTN_QUERIES * head_dim) * sizeof *m->q);
    }
    for (int i = 0; i < t->n; i++) {
        int64_t own = own_position(k, i);
        for (int64_t c = 0; i + NEAR < t->n && c < head_dim; c += 16) {
            __builtin_prefetch(q + query_at(k, i + NEAR, ldq, head_dim) + c);
        }
        kernels()->attn_query(t, i, q + query_at(k, i, ldq, head_dim), p->scale);
        t->hi[i] = (int32_t)(p->window < 0 ? k->hi : own + 1);
        t->lo[i] = (int32_t)(p->window > 0 && own + 1 > p->window ? own + 1 - p->window : 0);
        t->full_lo = t->lo[i] > t->full_lo ? t->lo[i] : t->full_lo;
        t->full_hi = t->hi[i] < t->full_hi ? t->hi[i] : t->full_hi;
    }
    tile_clear(m);
}

static void put_out(const struct task *k, int64_t i, int64_t head_dim, float total,
                    const float *restrict acc, float *out, int64_t ldo)
{
    float *restrict to = out + query_at(k, i, ldo, head_dim), inverse = 1 / total;
    for (int64_t c = 0; c < head_dim; c += 16) { /* a known count: compilers make vectors of it */
        for (int64_t j = 0; j < 16; j++) {
            to[c + j] = acc[c + j] * inverse;
        }
    }
}

/* Lets the tile see one chunk of the cache. */
static void see_chunk(struct tile_memory *m, const struct kv_layer *kv, const struct task *k,
                      int32_t chunk)
{
    const uint8_t *sections[CHUNK_SECTIONS + ATTN_AHEAD];
    int32_t b = chunk * CHUNK_SECTIONS, end = b + CHUNK_SECTIONS, all = (k->hi - 1) / KV_BLOCK + 1;
    b = b < k->lo / KV_BLOCK ? k->lo / KV_BLOCK : b;
    end = end > all ? all : end;
    m->t.ahead = all - end < ATTN_AHEAD ? (int)(all - end) : ATTN_AHEAD;
    for (int32_t i = b; i < end + m->t.ahead; i++) {
        sections[i - b] = section_at(kv, k->seq->blocks[i], k->kv_head);
    }
    kernels()->attn_chunk(&m->t, sections, (int)(end - b), b * KV_BLOCK);
}

static int32_t first_chunk(const struct task *k)
{
    return k->lo / ATTN_CHUNK;
}

static int32_t n_chunks(const struct task *k)
{
    return (k->hi - 1) / ATTN_CHUNK + 1 - first_chunk(k);
}

/* The tasks of a call, in order: sequences, KV heads, tiles. The heads go outside the tiles, so
 * that a head's keys and values stay in the second-level cache while its tiles pass. */
struct tasks {
    const struct attn *p;
    const struct kv_layer *kv;
    const struct attn_seq *seqs;
    int64_t n_seqs, group;
    int64_t s, head, first; /* the next one */
};

static bool next_task(struct tasks *a, struct task *k)
{
    while (a->s < a->n_seqs) {
        const struct attn_seq *seq = &a->seqs[a->s];
        int64_t left = seq->n_rows * a->group - a->first;
        if (left > 0 && a->head < a->kv->n_kv_heads) {
            *k = (struct task){.seq = seq,
                               .kv_head = a->head,
                               .group = a->group,
                               .first = a->first,
                               .n = left < ATTN_QUERIES ? left : ATTN_QUERIES};
            int64_t own = own_position(k, 0);
            k->lo =
                (int32_t)(a->p->window > 0 && own + 1 > a->p->window ? own + 1 - a->p->window : 0);
            k->hi = own_position(k, k->n - 1) + 1;
            a->first += k->n;
            return true;
        }
        a->first = 0;
        a->head++;
        if (a->head >= a->kv->n_kv_heads) {
            a->head = 0;
            a->s++;
        }
    }
    return false;
}

/* Where chunk state c (counted over all tasks) of query i lies: peak, total, acc. */
static float *partial_at(const struct kv_layer *kv, int64_t base, int64_t n, int64_t chunk,
                         int64_t i)
{
    return kv->partial + (base + chunk * n + i) * (kv->head_dim + 2);
}

static void keep_partial(const struct tile_memory *m, const struct kv_layer *kv, int64_t base,
                         int64_t chunk)
{
    const struct attn_tile *t = &m->t;
    for (int i = 0; i < t->n; i++) {
        float *to = partial_at(kv, base, t->n, chunk, i);
        to[0] = t->peak[i];
        to[1] = t->total[i];
        memcpy(to + 2, t->acc + i * t->head_dim, (size_t)t->head_dim * sizeof *to);
    }
}

static void merge_partials(const struct kv_layer *kv, const struct task *k, int64_t base, int64_t i,
                           float *out, int64_t ldo)
{
    float acc[ATTN_MAX_DIM] = {0}, peak = -INFINITY, total = 0;
    for (int32_t c = 0; c < n_chunks(k); c++) {
        const float *part = partial_at(kv, base, k->n, c, i);
        if (part[1] > 0) {
            kernels()->attn_merge(&peak, &total, acc, part[0], part[1], part + 2,
                                  (size_t)kv->head_dim);
        }
    }
    put_out(k, i, kv->head_dim, total, acc, out, ldo);
}

/* All workers share the chunks of all tasks. */
static void attend_by_chunks(const struct worker *w, struct tasks all, int64_t total_chunks,
                             const float *q, int64_t ldq, float *out, int64_t ldo)
{
    struct tile_memory m;
    struct task k;
    struct tasks a = all;
    size_t first, last;
    int64_t at = 0, base = 0, query = 0;
    team_share(w, (size_t)total_chunks, 1, &first, &last);
    while (next_task(&a, &k)) {
        int64_t from = (int64_t)first - at, to = (int64_t)last - at;
        from = from > 0 ? from : 0;
        to = to < n_chunks(&k) ? to : n_chunks(&k);
        if (from < to) {
            tile_begin(&m, a.kv->type, &k, a.p, a.kv->head_dim, q, ldq);
        }
        for (int64_t c = from; c < to; c++) {
            tile_clear(&m);
            see_chunk(&m, a.kv, &k, first_chunk(&k) + (int32_t)c);
            keep_partial(&m, a.kv, base, c);
        }
        at += n_chunks(&k);
        base += n_chunks(&k) * k.n;
    }
    team_barrier(w);
    for (a = all, base = 0; next_task(&a, &k); base += n_chunks(&k) * k.n) {
        for (int64_t i = 0; i < k.n; i++, query++) {
            if (query % w->count == w->index) {
                merge_partials(a.kv, &k, base, i, out, ldo);
            }
        }
    }
}

/* Each worker takes whole tasks, there and back, because later rows see more. */
static void attend_by_tasks(const struct worker *w, struct tasks a, const float *q, int64_t ldq,
                            float *out, int64_t ldo)
{
    struct tile_memory m;
    struct task k;
    for (int64_t i = 0; next_task(&a, &k); i++) {
        int64_t turn = i % w->count;
        if ((i / w->count % 2 ? w->count - 1 - turn : turn) != w->index) {
            continue;
        }
        tile_begin(&m, a.kv->type, &k, a.p, a.kv->head_dim, q, ldq);
        for (int32_t c = 0; c < n_chunks(&k); c++) {
            see_chunk(&m, a.kv, &k, first_chunk(&k) + c);
        }
        for (int j = 0; j < k.n; j++) {
            put_out(&k, j, a.kv->head_dim, m.t.total[j], m.acc + j * a.kv->head_dim, out, ldo);
        }
    }
}

void op_attention(const struct worker *w, const struct attn *p, const struct kv_layer *kv,
                  const struct attn_seq *seqs, int64_t n_seqs, const float *q, int64_t ldq,
                  float *out, int64_t ldo)
{
    struct tasks all = {p, kv, seqs, n_seqs, p->n_heads / kv->n_kv_heads, 0, 0, 0}, a = all;
    struct task k;
    int64_t n_tasks = 0, chunks = 0, states = 0;
    assert(all.group * kv->n_kv_heads == p->n_heads);
    for (; n_tasks < 4 * w->count && next_task(&a, &k); n_tasks++) {
        chunks += n_chunks(&k);
        states += n_chunks(&k) * k.n;
    }
    bool scarce = w->count > 1 && n_tasks < 4 * w->count && chunks > n_tasks;
    if (scarce && (size_t)(states * (kv->head_dim + 2)) <= kv->partial_floats) {
        attend_by_chunks(w, all, chunks, q, ldq, out, ldo);
    } else {
        attend_by_tasks(w, all, q, ldq, out, ldo);
    }
}

/* Packs rows [0, n) of one head into sections. */
static void pack_rows(enum tensor_type type, const float *k, const float *v, int64_t ld, int64_t n,
                      int64_t head_dim, uint8_t *sections)
{
    size_t bytes = kv_section_bytes(type, (size_t)head_dim);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; i + NEAR < n && c < head_dim; c += 16) {
            __builtin_prefetch(k + (i + NEAR) * ld + c);
            __builtin_prefetch(v + (i + NEAR) * ld + c);
        }
        kernels()->kv_put(type, sections + (size_t)(i / KV_BLOCK) * bytes, (size_t)(i % KV_BLOCK),
                          (size_t)head_dim, k + i * ld, v + i * ld);
    }
}

/* One head of one sequence, its n rows as they lie in q, k and v. */
struct full {
    enum tensor_type type;
    const float *q, *k, *v;
    int64_t ld, n, queries, head_dim;
    float scale;
    float *out;
    int64_t ldo;
};

static void attend_full(const struct worker *w, const struct full *f)
{
    size_t bytes = kv_section_bytes(f->type, (size_t)f->head_dim);
    int64_t n_sections = (f->n + KV_BLOCK - 1) / KV_BLOCK;
    bool fits = (size_t)n_sections * bytes <= w->scratch_bytes;
    _Alignas(64) uint8_t one[CHUNK_SECTIONS * 8 * ATTN_MAX_DIM * KV_BLOCK];
    struct tile_memory m;
    struct attn p = {.scale = f->scale, .window = -1};
    struct attn_seq seq = {.n_rows = f->n};
    if (fits) {
        pack_rows(f->type, f->k, f->v, f->ld, f->n, f->head_dim, w->scratch);
    }
    for (int64_t r = 0; r < f->queries; r += ATTN_QUERIES) {
        struct task k = {.seq = &seq,
                         .group = 1,
                         .first = r,
                         .n = f->queries - r < ATTN_QUERIES ? f->queries - r : ATTN_QUERIES,
                         .hi = (int32_t)f->n};
        tile_begin(&m, f->type, &k, &p, f->head_dim, f->q, f->ld);
        for (int64_t b = 0; b < n_sections; b += CHUNK_SECTIONS) {
            const uint8_t *sections[CHUNK_SECTIONS], *from = w->scratch;
            int64_t left = f->n - b * KV_BLOCK, n = n_sections - b;
            n = n < CHUNK_SECTIONS ? n : CHUNK_SECTIONS;
            if (!fits) {
                pack_rows(f->type, f->k + b * KV_BLOCK * f->ld, f->v + b * KV_BLOCK * f->ld, f->ld,
                          left < ATTN_CHUNK ? left : ATTN_CHUNK, f->head_dim, one);
            }
            for (int64_t i = 0; i < n; i++) {
                sections[i] = fits ? from + (size_t)(b + i) * bytes : one + (size_t)i * bytes;
            }
            kernels()->attn_chunk(&m.t, sections, (int)n, (int32_t)(b * KV_BLOCK));
        }
        for (int i = 0; i < k.n; i++) {
            put_out(&k, i, f->head_dim, m.t.total[i], m.acc + i * f->head_dim, f->out, f->ldo);
        }
    }
}

void op_attention_full(const struct worker *w, enum tensor_type type, const float *q,
                       const float *k, const float *v, int64_t ld, const int64_t *starts,
                       int64_t n_seqs, int64_t most, int64_t n_heads, int64_t head_dim, float scale,
                       float *out, int64_t ldo)
{
    assert(head_dim <= ATTN_MAX_DIM);
    for (int64_t i = w->index; i < n_seqs * n_heads; i += w->count) {
        int64_t s = i / n_heads, at = starts[s] * ld + i % n_heads * head_dim;
        int64_t n = starts[s + 1] - starts[s];
        struct full f = {.type = type,
                         .q = q + at,
                         .k = k + at,
                         .v = v + at,
                         .ld = ld,
                         .n = n,
                         .queries = n < most ? n : most,
                         .head_dim = head_dim,
                         .scale = scale,
                         .out = out + starts[s] * ldo + i % n_heads * head_dim,
                         .ldo = ldo};
        attend_full(w, &f);
    }
}

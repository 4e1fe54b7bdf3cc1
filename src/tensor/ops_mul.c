/* Products with weight matrices: see ops.h; layouts and the definition of the arithmetic are in
 * kernels.h.
 *
 * Rows are divided among workers in pairs of strips (32 rows). A worker takes a block of pairs,
 * unpacks 4-bit values to bytes once into its scratch, and multiplies it with every panel of 12
 * tokens: the weights stay in the second-level cache, the activations stream past. Up to eight
 * tokens are multiplied from the 4-bit values directly, since decoding waits for memory. */
#include "tensor/encoder.h"
#include "tensor/pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static enum status check_shapes(const struct tensor *const *t, int n, struct err *e)
{
    const struct type_info *info = type_info(t[0]->type);
    if (!info) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "tensor type %u is not known",
                       (unsigned)t[0]->type);
    }
    for (int i = 0; i < n; i++) {
        if (t[i]->type != t[0]->type || t[i]->ne[0] != t[0]->ne[0]) {
            return err_set(e, ERR_FORMAT, NULL,
                           "matrices of different type or width in one product");
        }
        if (t[i]->ne[0] < 1 || t[i]->ne[1] < 1 || t[i]->ne[2] != 1 || t[i]->ne[3] != 1 ||
            t[i]->ne[0] % info->block_elems) {
            return err_set(e, ERR_FORMAT, NULL,
                           "%s cannot be a matrix of %lld x %lld x %lld x %lld", info->name,
                           (long long)t[i]->ne[0], (long long)t[i]->ne[1], (long long)t[i]->ne[2],
                           (long long)t[i]->ne[3]);
        }
    }
    return OK;
}

/* The exact path of several tensors: one copy of their rows. */
static enum status concatenate(struct mat *m, const struct tensor *const *t, int n, struct err *e)
{
    size_t row_bytes = tensor_row_bytes(t[0]);
    uint8_t *copy = mem_large((size_t)m->rows, row_bytes);
    if (!copy) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for %lld rows of weights",
                       (long long)m->rows);
    }
    m->packed = copy;
    m->packed_bytes = (size_t)m->rows * row_bytes;
    for (int i = 0; i < n; i++) {
        memcpy(copy, t[i]->data, tensor_bytes(t[i]));
        copy += tensor_bytes(t[i]);
    }
    m->source.data = m->packed;
    m->source.ne[1] = m->rows;
    return OK;
}

enum status mat_init(struct mat *m, const struct tensor *const *t, int n_tensors,
                     enum mul_mode mode, struct team *team, struct err *e)
{
    enum status s = check_shapes(t, n_tensors, e);
    if (s != OK) {
        return s;
    }
    struct mat r = {.type = t[0]->type, .mode = mode, .cols = t[0]->ne[0], .path = MAT_PATH_FLOAT};
    r.source = *t[0];
    for (int i = 0; i < n_tensors; i++) {
        r.rows += t[i]->ne[1];
    }
    if (mode == MUL_EXACT) {
        s = n_tensors > 1 ? concatenate(&r, t, n_tensors, e) : OK;
    } else if (mode == MUL_ENCODER || mode == MUL_ENCODER_INT8) {
        s = enc_mat_pack(&r, t, team, e);
        r.source.data = n_tensors > 1 ? NULL : r.source.data;
    } else {
        s = mat_pack(&r, t, team, e);
        r.form.fine = mode == MUL_FINE && r.form.bits < 16;
        if (n_tensors > 1) {
            r.source.data = NULL; /* no rows to look up */
        }
    }
    if (s == OK) {
        *m = r;
    }
    return s;
}

void mat_fini(struct mat *m)
{
    if (m) {
        mem_large_free(m->packed);
        *m = (struct mat){0};
    }
}

size_t mat_bytes(const struct mat *m)
{
    return m->packed ? m->packed_bytes : (size_t)m->rows * tensor_row_bytes(&m->source);
}

size_t ops_scratch_bytes(int64_t max_cols)
{
    /* Two unpacked strips; and the keys and values of one head for op_attention_full. */
    return ((size_t)max_cols + GROUP) * 2 * STRIP_ROWS + (1u << 20);
}

/* One row of weights against tokens [0, n), n <= ROW_TOKENS: the row is dequantised in pieces that
 * stay in the cache, and each token's sum grows piece by piece, in the same order for any n. */
enum { ROW_TOKENS = 64, ROW_PIECE = 512 };

static void mul_row(const struct mat *m, size_t row, const float *x, size_t n, bool add, float *y,
                    size_t ldy)
{
    const struct type_info *info = type_info(m->type);
    const uint8_t *bytes = (const uint8_t *)m->source.data + row * tensor_row_bytes(&m->source);
    size_t cols = (size_t)m->cols;
    float sums[ROW_TOKENS] = {0}, piece[ROW_PIECE];
    for (size_t c = 0; c < cols; c += ROW_PIECE) {
        size_t len = cols - c < ROW_PIECE ? cols - c : ROW_PIECE;
        info->to_float(bytes + c / info->block_elems * info->block_bytes, piece, len);
        for (size_t i = 0; i < n; i++) {
            sums[i] += kernels()->dot_f32(piece, x + i * cols + c, len);
        }
    }
    for (size_t i = 0; i < n; i++) {
        y[i * ldy] = add ? y[i * ldy] + sums[i] : sums[i];
    }
}

static void mul_exact(const struct worker *w, const struct mat *m, const struct act_rows *a,
                      bool add, float *y, size_t ldy)
{
    size_t first, last, n = (size_t)a->n;
    team_share(w, (size_t)m->rows, STRIP_ROWS, &first, &last);
    for (size_t i = 0; i < n; i += ROW_TOKENS) {
        size_t tokens = n - i < ROW_TOKENS ? n - i : ROW_TOKENS;
        for (size_t r = first; r < last; r++) {
            mul_row(m, r, a->f32 + i * (size_t)a->d, tokens, add, y + i * ldy + r, ldy);
        }
    }
}

/* What one worker needs for the strips of a product. */
struct product {
    const struct mat *m;
    const struct act_rows *a;
    const float *units;
    size_t groups, strip_bytes, value_bytes, tile_bytes; /* tile: a strip as multiplied */
    int64_t columns;
    float *y; /* of row0 */
    size_t ldy, row0;
    unsigned how; /* of kernels.put */
};

/* Scales a tile's rows by their units and puts them into y; `column` counts as the panels do. */
static void put_tile(const struct product *p, size_t strip, int n_strips, size_t column, int n,
                     const float *tile)
{
    size_t row = strip * STRIP_ROWS, left = (size_t)p->m->rows - row;
    size_t width = (size_t)n_strips * STRIP_ROWS, step = p->m->form.fine ? 2 : 1;
    kernels()->put(tile, n / (int)step, p->how, p->units + row, left < width ? left : width,
                   p->y + column / step * p->ldy + (row - p->row0), p->ldy);
}

/* 4-bit strips as they are: a few tokens (up to here unpacking costs more than it saves), or no
 * scratch to unpack into. */
enum { DIRECT4_TOKENS = 2 * MUL4_MAX_TOKENS };
static void mul_direct4(const struct product *p, size_t strip, size_t n_strips)
{
    _Alignas(64) float tile[MUL4_MAX_TOKENS * 32];
    for (size_t s = strip; s < strip + n_strips; s++) {
        struct strip w = {.values = (const uint8_t *)p->m->packed + s * p->strip_bytes};
        w.factors = w.values + p->value_bytes;
        for (size_t i = 0; i < panel_count(p->columns); i++) {
            struct act_panel x = panel_at(p->a, p->groups, p->columns, i);
            for (int t = 0; t < x.nt; t += MUL4_MAX_TOKENS) {
                int n = x.nt - t < MUL4_MAX_TOKENS ? x.nt - t : MUL4_MAX_TOKENS;
                kernels()->mul4(&w, &p->m->form, &x, t, n, tile);
                put_tile(p, s, 1, i * PANEL_TOKENS + (size_t)t, n, tile);
            }
        }
    }
}

/* A block of strips whose weights stay in the second-level cache while the panels pass: every panel
 * comes from further away once per block, not once per pair. */
enum { BLOCK_STRIPS = 16, BLOCK_BYTES = 512 << 10 };

static void mul_block(const struct worker *worker, const struct product *p, size_t strip,
                      size_t n_strips)
{
    const struct mat_form *form = &p->m->form;
    struct strip w[BLOCK_STRIPS];
    for (size_t s = 0; s < n_strips; s++) {
        w[s].values = (const uint8_t *)p->m->packed + (strip + s) * p->strip_bytes;
        w[s].factors = w[s].values + p->value_bytes;
        if (form->bits == 4) {
            uint8_t *to = (uint8_t *)worker->scratch + s * p->tile_bytes;
            kernels()->unpack4(w[s].values, p->groups, form->table, to);
            w[s].values = to;
        }
    }
    _Alignas(64) float tile[PANEL_TOKENS * 32];
    for (size_t i = 0; i < panel_count(p->columns); i++) {
        struct act_panel x = panel_at(p->a, p->groups, p->columns, i);
        for (size_t s = 0; s < n_strips; s += 2) {
            int n = n_strips - s < 2 ? 1 : 2;
            if (form->bits == 16) {
                kernels()->mul16(w + s, n, &x, tile);
            } else {
                kernels()->mul8(w + s, n, form, &x, tile);
            }
            put_tile(p, strip + s, n, i * PANEL_TOKENS, x.nt, tile);
        }
    }
}

/* Strips of a block; 0: no room to unpack even a pair. */
static size_t block_strips(const struct worker *w, const struct product *p)
{
    size_t n = BLOCK_BYTES / p->tile_bytes, room = w->scratch_bytes / p->tile_bytes;
    n = (n < 2 ? 2 : n > BLOCK_STRIPS ? BLOCK_STRIPS : n) & ~(size_t)1;
    if (p->m->form.bits != 4) {
        return n;
    }
    return n <= room ? n : room & ~(size_t)1;
}

static struct product product_of(const struct worker *w, const struct mat *m, const struct act *a)
{
    const struct act_rows *r = &a->rows[w->index];
    assert(r->d == m->cols);
    struct product p = {.m = m,
                        .a = r,
                        .units = mat_units(m),
                        .groups = mat_groups(m),
                        .columns = columns_of(m, r->n),
                        .how = m->form.fine ? PUT_PAIRS : 0};
    p.strip_bytes = strip_bytes(&m->form, p.groups);
    p.value_bytes = strip_value_bytes(&m->form, p.groups);
    p.tile_bytes = m->form.bits == 4 ? 2 * p.value_bytes : p.value_bytes;
    return p;
}

/* Strips [first, last) by the calling worker. */
static void mul_strips(const struct worker *w, const struct product *p, size_t first, size_t last)
{
    size_t block = block_strips(w, p);
    bool direct = p->m->form.bits == 4 && (p->columns <= DIRECT4_TOKENS || !block);
    block = block ? block : 2;
    for (size_t s = first; s < last; s += block) {
        size_t n = last - s < block ? last - s : block;
        if (direct) {
            mul_direct4(p, s, n);
        } else {
            mul_block(w, p, s, n);
        }
    }
}

static void mul(const struct worker *w, const struct mat *m, const struct act *a, bool add,
                float *y, int64_t ldy)
{
    if (!m->form.bits) {
        mul_exact(w, m, &a->rows[w->index], add, y, (size_t)ldy);
        return;
    }
    struct product p = product_of(w, m, a);
    size_t first, last;
    p.y = y;
    p.ldy = (size_t)ldy;
    p.how |= add ? PUT_ADD : 0;
    team_share(w, mat_strips(m), 2, &first, &last);
    mul_strips(w, &p, first, last);
}

void op_mul(const struct worker *w, const struct mat *m, const struct act *a, float *y, int64_t ldy)
{
    mul(w, m, a, false, y, ldy);
}

void op_mul_add(const struct worker *w, const struct mat *m, const struct act *a, float *y,
                int64_t ldy)
{
    mul(w, m, a, true, y, ldy);
}

void op_silu_act(const struct worker *w, const float *gate_up, int64_t n, int64_t ff, float *y,
                 struct act *b, const struct mat *down)
{
    size_t first, last, width = (size_t)ff;
    team_share(w, width, 16, &first, &last);
    for (size_t i = 0; i < (size_t)n; i++) {
        const float *gate = gate_up + i * 2 * width + first;
        kernels()->silu_mul(gate, gate + width, last - first, y + i * width + first);
    }
    team_barrier(w);
    op_act(w, b, y, n, ff, down);
}

/* Columns of gate and up that are made at a time: their products stay in the second-level cache
 * until they are bent and quantised. A few tokens take a worker's whole share. */
enum { SILU_COLUMNS = 256, SILU_VALUES = 1 << 17 };

static void silu_part(const struct worker *w, struct product *p, size_t first, size_t last,
                      float *tmp, const struct act_rows *b, const struct mat *down)
{
    size_t ff = (size_t)p->m->rows / 2, width = last - first;
    float row[SILU_COLUMNS];
    p->ldy = 2 * width;
    for (size_t half = 0; half < 2; half++) {
        size_t strip = (half * ff + first) / STRIP_ROWS;
        p->y = tmp + half * width;
        p->row0 = half * ff + first;
        mul_strips(w, p, strip, strip + width / STRIP_ROWS);
    }
    for (size_t i = 0; i < (size_t)p->a->n; i++) {
        const float *gate = tmp + i * 2 * width;
        for (size_t c = 0; c < width; c += SILU_COLUMNS) {
            size_t n = width - c < SILU_COLUMNS ? width - c : SILU_COLUMNS;
            kernels()->silu_mul(gate + c, gate + width + c, n, row);
            act_put(b, down, i, (first + c) / GROUP, row, n);
        }
    }
}

void op_mul_silu(const struct worker *w, const struct mat *gate_up, const struct act *a, float *tmp,
                 float *y, struct act *b, const struct mat *down)
{
    size_t ff = (size_t)gate_up->rows / 2, n = (size_t)a->rows[w->index].n, first, last;
    bool bytes = down->form.bits == 4 || down->form.bits == 8;
    if (!gate_up->form.bits || !bytes || ff % STRIP_ROWS) {
        op_mul(w, gate_up, a, tmp, gate_up->rows);
        team_barrier(w);
        op_silu_act(w, tmp, (int64_t)n, (int64_t)ff, y, b, down);
        return;
    }
    struct product p = product_of(w, gate_up, a);
    const struct act_rows *to = act_begin(w, b, y, (int64_t)n, down, false);
    team_share(w, ff, GROUP, &first, &last);
    size_t step = n * (last - first) <= SILU_VALUES ? last - first : SILU_COLUMNS;
    for (size_t c = first; c < last; c += step) {
        silu_part(w, &p, c, last - c < step ? last : c + step, tmp + 2 * n * first, to, down);
    }
    team_barrier(w);
}

/* Products with weight matrices: see ops.h; layouts and the definition of the arithmetic are in
 * kernels.h.
 *
 * Rows are divided among workers in pairs of strips (32 rows). A worker takes a block of pairs,
 * unpacks 4-bit values to bytes once into its scratch, and multiplies it with every panel of 12
 * tokens: the weights stay in the second-level cache, the activations stream past. Up to eight
 * tokens are multiplied from the 4-bit values directly, since decoding waits for memory. */
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
    uint8_t *copy = mem_aligned((size_t)m->rows, row_bytes);
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
        free(m->packed);
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

static size_t panel_count(int64_t n)
{
    return ((size_t)n + PANEL_TOKENS - 1) / PANEL_TOKENS;
}

enum status act_init(struct act *a, int64_t max_n, int64_t max_d, struct err *e)
{
    size_t groups = ((size_t)max_d + GROUP - 1) / GROUP, bytes;
    void *quant = NULL;
    /* Twice the tokens, for MUL_FINE. */
    if (size_mul(panel_count(2 * max_n), act_panel_bytes(groups, PANEL_TOKENS), &bytes)) {
        quant = mem_aligned(bytes, 1);
    }
    if (!quant) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for activations of %lld x %lld",
                       (long long)max_n, (long long)max_d);
    }
    *a = (struct act){.max_n = max_n, .max_d = max_d, .quant = quant, .quant_bytes = bytes};
    return OK;
}

void act_fini(struct act *a)
{
    if (a) {
        free(a->quant);
        *a = (struct act){0};
    }
}

/* Panel `p` of n tokens; every panel but the last is full. */
static struct act_panel panel_at(const struct act *a, size_t groups, int64_t n, size_t p)
{
    size_t left = (size_t)n - p * PANEL_TOKENS;
    int nt = left < PANEL_TOKENS ? (int)left : PANEL_TOKENS;
    return act_panel_view((uint8_t *)a->quant + p * act_panel_bytes(groups, PANEL_TOKENS), groups,
                          nt);
}

/* The same panel from group g on, as a panel of its own. */
static struct act_panel panel_from(struct act_panel p, size_t g)
{
    size_t at = g * (size_t)p.nt;
    p.groups -= g;
    p.q += GROUP * at;
    p.xs += at;
    p.bias_xs += at;
    p.init += at;
    p.xsum += at;
    p.half_init += 2 * at;
    p.half_xsum += 2 * at;
    return p;
}

enum { SPAN = 4 * I16_BLOCK / GROUP }; /* groups that are quantised at a time */

/* Token t of the panel is done for groups [g0, g1): what it leaves over becomes token t + 1. */
static void quantise_rest(const float *x, size_t d, const struct act_panel *p, int t, size_t g0,
                          size_t g1)
{
    float rest[SPAN * GROUP];
    size_t nt = (size_t)p->nt, first = g0 * GROUP, last = g1 * GROUP < d ? g1 * GROUP : d;
    for (size_t c = first; c < last; c++) {
        float scale = p->xs[c / GROUP * nt + (size_t)t];
        rest[c - first] = x[c] - (float)p->q[(c / 4 * nt + (size_t)t) * 4 + c % 4] * scale;
    }
    struct act_panel from = panel_from(*p, g0);
    kernels()->quant8(rest, last - first, &from, t + 1, 0, g1 - g0);
}

/* What the product sees: with fine activations every token counts twice. */
static int64_t columns_of(const struct mat *m, int64_t n)
{
    return m->form.fine ? 2 * n : n;
}

void op_act(const struct worker *w, struct act *a, const float *x, int64_t n, int64_t d,
            const struct mat *m)
{
    assert(n <= a->max_n && d <= a->max_d && d == m->cols);
    if (w->index == 0) {
        a->f32 = x;
        a->n = n;
        a->d = d;
    }
    if (!m->form.bits) {
        return;
    }
    /* Items: (token, span of columns), so that one token's quantisation is shared too. */
    size_t groups = mat_groups(m), spans = (groups + SPAN - 1) / SPAN, first, last;
    team_share(w, (size_t)n * spans, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t token = i / spans, g0 = i % spans * SPAN;
        size_t g1 = g0 + SPAN < groups ? g0 + SPAN : groups;
        size_t column = (size_t)columns_of(m, (int64_t)token);
        const float *row = x + token * (size_t)d;
        struct act_panel p = panel_at(a, groups, columns_of(m, n), column / PANEL_TOKENS);
        int t = (int)(column % PANEL_TOKENS);
        if (m->form.bits == 16) {
            kernels()->quant16(row, (size_t)d, &p, t, g0, g1);
            continue;
        }
        kernels()->quant8(row, (size_t)d, &p, t, g0, g1);
        if (m->form.fine) { /* 12 is even: both columns are in one panel */
            quantise_rest(row, (size_t)d, &p, t, g0, g1);
        }
    }
}

/* One row of weights against tokens [0, n), n <= ROW_TOKENS: the row is dequantised in pieces that
 * stay in the cache, and each token's sum grows piece by piece, in the same order for any n. */
enum { ROW_TOKENS = 64, ROW_PIECE = 512 };

static void mul_row(const struct mat *m, size_t row, const float *x, size_t n, float *y, size_t ldy)
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
        y[i * ldy] = sums[i];
    }
}

static void mul_exact(const struct worker *w, const struct mat *m, const struct act *a, float *y,
                      size_t ldy)
{
    size_t first, last, n = (size_t)a->n;
    team_share(w, (size_t)m->rows, STRIP_ROWS, &first, &last);
    for (size_t i = 0; i < n; i += ROW_TOKENS) {
        size_t tokens = n - i < ROW_TOKENS ? n - i : ROW_TOKENS;
        for (size_t r = first; r < last; r++) {
            mul_row(m, r, a->f32 + i * (size_t)a->d, tokens, y + i * ldy + r, ldy);
        }
    }
}

/* What one worker needs for the strips of a product. */
struct product {
    const struct mat *m;
    const struct act *a;
    const float *units;
    size_t groups, strip_bytes, value_bytes, tile_bytes, ldy; /* tile: a strip as multiplied */
    int64_t columns;
    float *y;
};

/* Scales a tile's rows by their units and puts them into y; `column` counts as the panels do. */
static void put_tile(const struct product *p, size_t strip, int n_strips, size_t column, int n,
                     const float *tile)
{
    size_t row = strip * STRIP_ROWS, left = (size_t)p->m->rows - row;
    size_t width = (size_t)n_strips * STRIP_ROWS, step = p->m->form.fine ? 2 : 1;
    kernels()->put(tile, n / (int)step, step == 2, p->units + row, left < width ? left : width,
                   p->y + column / step * p->ldy + row, p->ldy);
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

void op_mul(const struct worker *w, const struct mat *m, const struct act *a, float *y, int64_t ldy)
{
    assert(a->d == m->cols);
    if (!m->form.bits) {
        mul_exact(w, m, a, y, (size_t)ldy);
        return;
    }
    struct product p = {.m = m,
                        .a = a,
                        .units = mat_units(m),
                        .groups = mat_groups(m),
                        .ldy = (size_t)ldy,
                        .columns = columns_of(m, a->n),
                        .y = y};
    p.strip_bytes = strip_bytes(&m->form, p.groups);
    p.value_bytes = strip_value_bytes(&m->form, p.groups);
    p.tile_bytes = m->form.bits == 4 ? 2 * p.value_bytes : p.value_bytes;
    size_t first, last, strips = mat_strips(m), block = block_strips(w, &p);
    bool direct = m->form.bits == 4 && (p.columns <= DIRECT4_TOKENS || !block);
    block = block ? block : 2;
    team_share(w, strips, 2, &first, &last);
    for (size_t s = first; s < last; s += block) {
        size_t n = last - s < block ? last - s : block;
        if (direct) {
            mul_direct4(&p, s, n);
        } else {
            mul_block(w, &p, s, n);
        }
    }
}

void op_mul_silu(const struct worker *w, const struct mat *gate_up, const struct act *a, float *tmp,
                 float *y, int64_t ldy)
{
    size_t ff = (size_t)gate_up->rows / 2, first, last;
    op_mul(w, gate_up, a, tmp, gate_up->rows);
    team_barrier(w);
    team_share(w, ff, 16, &first, &last);
    for (size_t i = 0; i < (size_t)a->n; i++) {
        const float *gate = tmp + i * 2 * ff;
        kernels()->silu_mul(gate + first, gate + ff + first, last - first,
                            y + i * (size_t)ldy + first);
    }
}

/* Products with weight matrices: see ops.h; layouts and the definition of the arithmetic are in
 * kernels.h.
 *
 * Rows are divided among workers in pairs of strips (32 rows). The panels of as many tokens as fit
 * the second-level cache stay there while the pairs pass, each read from memory once; a pair is
 * taken STEP_GROUPS groups of columns at a time, unpacked to bytes and float factors, so that it
 * stays in the first-level cache while the panels pass. Sums go on from step to step in the order
 * of the columns, so steps do not show in the result. A few tokens are multiplied from the packed
 * values directly, since decoding waits for memory.
 *
 * Rejected: blocks of 16 strips in the second-level cache with whole panels streamed past them: the
 * panels of 512 tokens do not fit beside them and a panel of 2,048 columns does not fit the first
 * level. Blocks of twice the second-level cache, its panels read from the third: a matrix of 8,192
 * columns alone gains 4 to 5 %, a 1B model with both threads lost up to 8 %. Four panels in one
 * call of a kernel that puts its sums from registers into y: 0 to 0.8 % of a product, since the
 * 2.6 % that y costs are its cache lines. Unpacking without prefetches: no difference. */
#include "tensor/encoder.h"
#include "tensor/pack.h"

#include "base/sys.h"

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

/* m->mode and m->home are set; on failure m owns nothing. */
static enum status fill(struct mat *m, const struct tensor *const *t, int n_tensors,
                        struct team *team, struct err *e)
{
    enum status s = check_shapes(t, n_tensors, e);
    if (s != OK) {
        return s;
    }
    m->type = t[0]->type;
    m->cols = t[0]->ne[0];
    m->path = MAT_PATH_FLOAT;
    m->source = *t[0];
    for (int i = 0; i < n_tensors; i++) {
        m->rows += t[i]->ne[1];
    }
    if (m->mode == MUL_EXACT) {
        m->home = NULL;
        s = n_tensors > 1 ? concatenate(m, t, n_tensors, e) : OK;
    } else {
        bool encoder = m->mode == MUL_ENCODER || m->mode == MUL_ENCODER_INT8;
        s = encoder ? enc_mat_pack(m, t, team, e) : mat_pack(m, t, team, e);
        m->form.fine = m->mode == MUL_FINE && m->form.bits < 16;
        if (n_tensors > 1) {
            m->source.data = NULL; /* no rows to look up */
        }
    }
    if (s != OK) {
        mat_fini(m);
    }
    return s;
}

enum status mat_init(struct mat *m, const struct tensor *const *t, int n_tensors,
                     enum mul_mode mode, struct team *team, struct err *e)
{
    struct mat r = {.mode = mode};
    enum status s = fill(&r, t, n_tensors, team, e);
    if (s == OK) {
        *m = r;
    }
    return s;
}

enum status mat_init_in(struct mat_home *home, struct mat *m, const struct tensor *const *t,
                        int n_tensors, enum mul_mode mode, struct err *e)
{
    struct mat r = {.mode = mode, .home = home};
    enum status s = fill(&r, t, n_tensors, home->team, e);
    if (s == OK) {
        *m = r;
    }
    return s;
}

void mat_fini(struct mat *m)
{
    if (m) {
        if (!m->home) {
            mem_large_free(m->packed);
        }
        *m = (struct mat){0};
    }
}

void mat_follow(struct mat *m, const struct mat *next, bool is_gate_up)
{
    m->next = next;
    m->next_is_gate_up = is_gate_up;
}

size_t mat_bytes(const struct mat *m)
{
    return m->packed ? m->packed_bytes : (size_t)m->rows * tensor_row_bytes(&m->source);
}

size_t ops_scratch_bytes(int64_t max_cols)
{
    /* Sums of a pair of strips; and the keys and values of one head for op_attention_full. */
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
    struct act_rows *a;
    const float *units;
    size_t groups, strip_bytes, value_bytes;
    struct panels panels;
    const uint8_t *after; /* what this worker reads next, or NULL */
    float *y;             /* of row0 */
    size_t ldy, row0;
    unsigned how; /* of kernels.put */
};

static struct strip strip_at(const struct product *p, size_t strip, size_t g)
{
    const struct mat_form *form = &p->m->form;
    const uint8_t *at = (const uint8_t *)p->m->packed + strip * p->strip_bytes;
    return (struct strip){.values = at + strip_value_bytes(form, g),
                          .factors = at + p->value_bytes + strip_factor_bytes(form, g)};
}

/* Lists the columns that outliers of any token need. */
static void list_columns(struct act_rows *a)
{
    a->n_wanted = 0;
    a->product++;
    for (const struct outliers *o = a->outliers; o < a->outliers + a->n; o++) {
        for (int32_t i = 0; i < o->n; i++) {
            if (a->at[o->col[i]] != a->product) {
                a->at[o->col[i]] = a->product;
                a->wanted[a->n_wanted++] = o->col[i];
            }
        }
    }
}

/* Reads them of one or two strips. */
static void read_columns(const struct product *p, size_t strip, int n_strips)
{
    for (size_t i = 0; p->a->outliers && i < p->a->n_wanted; i++) {
        size_t c = (size_t)p->a->wanted[i];
        float *to = p->a->columns + c * 2 * STRIP_ROWS;
        for (int s = 0; s < n_strips; s++, to += STRIP_ROWS) {
            struct strip w = strip_at(p, strip + (size_t)s, 0);
            kernels()->column(&w, &p->m->form, c, to);
        }
    }
}

/* Scales a tile's rows by their units and puts them into y, from row `token` on. */
static void put_tile(const struct product *p, size_t strip, int n_strips, size_t token, int n,
                     float *tile)
{
    if (p->a->outliers && p->a->n_wanted) {
        kernels()->add_outliers(p->a->outliers + token, (size_t)n, p->a->columns, tile);
    }
    size_t row = strip * STRIP_ROWS, left = (size_t)p->m->rows - row;
    size_t width = (size_t)n_strips * STRIP_ROWS;
    kernels()->put(tile, n, p->how, p->units + row, left < width ? left : width,
                   p->y + token * p->ldy + (row - p->row0), p->ldy);
}

/* The strips of a product that a worker takes: shares of columns of gate and of up, or of rows. */
static void gate_share(const struct worker *w, size_t ff, size_t *first, size_t *last)
{
    team_share(w, ff, GROUP, first, last);
}

static void row_share(const struct worker *w, const struct mat *m, size_t *first, size_t *last)
{
    team_share(w, mat_strips(m), 2, first, last);
}

/* Where a worker's share of the matrix after m begins. */
static const uint8_t *share_after(const struct worker *w, const struct mat *m)
{
    const struct mat *next = m->next;
    size_t first, last;
    if (!next || !next->form.bits) {
        return NULL;
    }
    if (m->next_is_gate_up) {
        gate_share(w, (size_t)next->rows / 2, &first, &last);
        first /= STRIP_ROWS;
    } else {
        row_share(w, next, &first, &last);
    }
    return (const uint8_t *)next->packed + first * strip_bytes(&next->form, mat_groups(next));
}

/* Strips as they are, for a few tokens: unpacking would cost more than it saves. */
enum { DIRECT_PANELS = 2 };
static bool is_direct(const struct product *p)
{
    return p->m->form.bits < 16 && p->panels.count <= DIRECT_PANELS &&
           p->a->n * (int64_t)p->panels.step <= kernels()->few;
}

static void mul_direct(const struct product *p, size_t first, size_t last)
{
    _Alignas(64) float tile[PANEL_TOKENS * 32];
    struct act_panel x[DIRECT_PANELS];
    for (size_t i = 0; i < p->panels.count; i++) {
        x[i] = panel_at(p->a, &p->panels, p->groups, i);
    }
    for (size_t s = first; s < last; s++) {
        struct strip w = strip_at(p, s, 0);
        w.next = s + 1 < last ? w.values + p->strip_bytes : p->after;
        read_columns(p, s, 1);
        for (size_t i = 0; i < p->panels.count; i++, w.next = NULL) {
            kernels()->mul_few(&w, &p->m->form, &x[i], tile);
            put_tile(p, s, 1, panel_begin(&p->panels, i), x[i].nt / (int)p->panels.step, tile);
        }
    }
}

/* Asks for the lines of y that a tile will be put into: they are far away. */
static void expect_tile(const struct product *p, size_t strip, size_t token, size_t n)
{
    const float *y = p->y + token * p->ldy + (strip * STRIP_ROWS - p->row0);
    for (size_t i = 0; i < n; i++, y += p->ldy) {
        __builtin_prefetch(y, 1);
        __builtin_prefetch(y + STRIP_ROWS, 1);
    }
}

enum {
    STEP_GROUPS = 18, /* 18 KiB of bytes in two strips, 2 to 9 of factors, and 10 of a panel */
    TILE_FLOATS = PANEL_TOKENS * 2 * STRIP_ROWS
};

/* Groups of a pair of strips made ready for mul8. */
struct unpacked {
    _Alignas(64) uint8_t values[2][STEP_GROUPS * GROUP * STRIP_ROWS];
    _Alignas(64) float factors[2][STEP_GROUPS * 4 * STRIP_ROWS];
};

/* Of a value made ready for mul8. */
static size_t wide_bytes(const struct mat_form *form)
{
    return form->bits == 8 || form->table ? (size_t)kernels()->wide_bytes : 1;
}

/* Groups [g, g + n) of strips, as they are for 16 bits. */
static void ready_pair(const struct product *p, size_t strip, int n_strips, size_t g, size_t n,
                       struct unpacked *room, struct strip *w)
{
    const struct mat_form *form = &p->m->form;
    for (int s = 0; s < n_strips; s++) {
        w[s] = strip_at(p, strip + (size_t)s, g);
        if (form->bits != 16) {
            kernels()->unpack(&w[s], form, n, room->values[s], room->factors[s]);
            w[s].values = form->bits == 8 && wide_bytes(form) == 1 ? w[s].values : room->values[s];
            w[s].factors = (const uint8_t *)room->factors[s];
        }
    }
}

/* Groups of a step: evenly, in whole blocks of factors. */
static size_t step_groups(const struct product *p, bool one_panel)
{
    if (p->m->form.bits == 16) {
        return one_panel ? p->groups : I16_BLOCK / GROUP;
    }
    size_t block = p->m->form.super ? SUPER_GROUPS : 1,
           most = STEP_GROUPS / wide_bytes(&p->m->form);
    most -= most % block;
    size_t steps = (p->groups + most - 1) / most;
    return ((p->groups + steps - 1) / steps + block - 1) / block * block;
}

/* The bytes of the next pair of strips, or of the first one of the next matrix, are asked for while
 * this pair is multiplied, an even part in each tile: they come from memory, and unpacking would
 * wait for them. In bursts between the tiles, for kernels that do not ask on their way, it helps
 * with many panels only (AVX-512, 17 tokens of a 1B model in Q4_K: 39 ms for 48 in bursts). */
enum { BURST_PANELS = 4 };
struct ahead {
    const uint8_t *at;
    size_t left, part; /* bytes; of a tile */
};

static struct ahead ahead_of(const struct product *p, size_t strip, size_t last, size_t panels,
                             size_t steps)
{
    struct ahead a = {.at = p->after, .left = 2 * p->strip_bytes};
    if (strip + 2 < last) {
        a.at = strip_at(p, strip + 2, 0).values;
        a.left = last - strip < 4 ? p->strip_bytes : a.left;
    }
    if (!a.at || (panels < BURST_PANELS && !kernels()->asks)) {
        a.left = 0;
    }
    a.part = (a.left / (panels * steps) + 64) & ~(size_t)63;
    return a;
}

static void ask_ahead(struct ahead *a, struct strip *w)
{
    size_t n = a->left < a->part ? a->left : a->part;
    for (size_t k = 0; k < n && !kernels()->asks; k += 64) {
        __builtin_prefetch(a->at + k, 0, 2);
    }
    if (n) {
        w->next = a->at;
        a->at += n;
        a->left -= n;
    }
    w->next_bytes = n;
}

/* What the tile after that of panel i and groups [g, g + n) reads: of the next panel, or of the
 * first one in the next step. */
static const uint8_t *following_bytes(const struct product *p, size_t first, size_t last, size_t i,
                                      size_t g, size_t n)
{
    if (i + 1 == last) {
        g = g + n < p->groups ? g + n : 0;
        i = first;
    } else {
        i++;
    }
    return panel_from(panel_at(p->a, &p->panels, p->groups, i), g).bytes;
}

/* A pair of strips (or the last one) times panels [first, last), whose sums live in `tiles`. */
static void mul_pair(const struct product *p, size_t strip, size_t end, size_t first, size_t last,
                     float *tiles)
{
    int n_strips = end - strip < 2 ? 1 : 2;
    const struct mat_form *form = &p->m->form;
    struct unpacked room;
    size_t step = step_groups(p, last - first == 1);
    struct ahead ahead = ahead_of(p, strip, end, last - first, (p->groups + step - 1) / step);
    read_columns(p, strip, n_strips);
    for (size_t g = 0; g < p->groups; g += step) {
        size_t n = p->groups - g < step ? p->groups - g : step;
        struct strip w[2];
        ready_pair(p, strip, n_strips, g, n, &room, w);
        float *tile = tiles;
        for (size_t i = first; i < last; i++, tile += n < p->groups ? TILE_FLOATS : 0) {
            struct act_panel x = panel_from(panel_at(p->a, &p->panels, p->groups, i), g);
            size_t token = panel_begin(&p->panels, i), tokens = (size_t)x.nt / p->panels.step;
            x.groups = n;
            x.next = following_bytes(p, first, last, i, g, n);
            ask_ahead(&ahead, w);
            if (g + n == p->groups) {
                expect_tile(p, strip, token, tokens);
            }
            if (form->bits == 16) {
                kernels()->mul16(w, n_strips, &x, g > 0, tile);
            } else {
                kernels()->mul8(w, n_strips, form, &x, g > 0, tile);
            }
            if (g + n == p->groups) {
                put_tile(p, strip, n_strips, token, (int)tokens, tile);
            }
        }
    }
}

static struct product product_of(const struct worker *w, const struct mat *m, const struct act *a)
{
    struct act_rows *r = &a->rows[w->index];
    assert(r->d == m->cols);
    struct product p = {.m = m,
                        .a = r,
                        .units = mat_units(m),
                        .groups = mat_groups(m),
                        .panels = panels_of(m, r->n),
                        .how = m->form.fine ? PUT_PAIRS : 0};
    p.strip_bytes = strip_bytes(&m->form, p.groups);
    p.value_bytes = strip_value_bytes(&m->form, p.groups);
    if (r->outliers) {
        list_columns(r);
    }
    return p;
}

/* Panels that stay in the second-level cache: half of it, the rest is for what passes. */
static size_t panels_at_once(const struct worker *w, const struct product *p)
{
    size_t each = p->groups * PANEL_TOKENS * (p->m->form.bits == 16 ? 64 : ACT_GROUP_BYTES);
    size_t n = cpu_l2_bytes() / 4 * 3 / each, room = w->scratch_bytes / sizeof(float) / TILE_FLOATS;
    n = n < room ? n : room;
    n = n > 1 ? n : 1;
    size_t blocks = (p->panels.count + n - 1) / n;
    return (p->panels.count + blocks - 1) / blocks;
}

/* Strips [first, last) by the calling worker. */
static void mul_strips(const struct worker *w, const struct product *p, size_t first, size_t last)
{
    size_t count = p->panels.count;
    if (is_direct(p)) {
        mul_direct(p, first, last);
        return;
    }
    _Alignas(64) float tile[TILE_FLOATS];
    size_t block = panels_at_once(w, p);
    float *tiles = block > 1 ? w->scratch : tile;
    for (size_t i = 0; i < count; i += block) {
        size_t end = count - i < block ? count : i + block;
        for (size_t s = first; s < last; s += 2) {
            mul_pair(p, s, last, i, end, tiles);
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
    p.after = share_after(w, m);
    row_share(w, m, &first, &last);
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
enum { SILU_COLUMNS = 128, SILU_VALUES = 1 << 17 };

static void silu_part(const struct worker *w, struct product *p, size_t first, size_t last,
                      float *tmp, const struct act_rows *b, const struct mat *down)
{
    size_t ff = (size_t)p->m->rows / 2, width = last - first;
    struct panels panels = panels_of(down, p->a->n);
    float rows[PANEL_TOKENS * SILU_COLUMNS];
    p->ldy = 2 * width;
    for (size_t half = 0; half < 2; half++) {
        size_t strip = (half * ff + first) / STRIP_ROWS;
        p->y = tmp + half * width;
        p->row0 = half * ff + first;
        p->after = half ? share_after(w, p->m) : strip_at(p, (ff + first) / STRIP_ROWS, 0).values;
        mul_strips(w, p, strip, strip + width / STRIP_ROWS);
    }
    for (size_t i = 0; i < panels.count; i++) {
        size_t begin = panel_begin(&panels, i), n_rows = panel_begin(&panels, i + 1) - begin;
        for (size_t c = 0; c < width; c += SILU_COLUMNS) {
            size_t n = width - c < SILU_COLUMNS ? width - c : SILU_COLUMNS;
            for (size_t t = 0; t < n_rows; t++) {
                const float *gate = tmp + (begin + t) * 2 * width + c;
                kernels()->silu_mul(gate, gate + width, n, rows + t * SILU_COLUMNS);
            }
            act_put_panel(b, down, i, (first + c) / GROUP, rows, SILU_COLUMNS, n);
        }
    }
}

void op_mul_silu(const struct worker *w, const struct mat *gate_up, const struct act *a, float *tmp,
                 float *y, struct act *b, const struct mat *down)
{
    size_t ff = (size_t)gate_up->rows / 2, n = (size_t)a->rows[w->index].n, first, last;
    bool bytes = down->form.bits && down->form.bits < 16;
    if (!gate_up->form.bits || !bytes || ff % STRIP_ROWS) {
        op_mul(w, gate_up, a, tmp, gate_up->rows);
        team_barrier(w);
        op_silu_act(w, tmp, (int64_t)n, (int64_t)ff, y, b, down);
        return;
    }
    struct product p = product_of(w, gate_up, a);
    const struct act_rows *to = act_begin(w, b, y, (int64_t)n, down, false, false);
    gate_share(w, ff, &first, &last);
    size_t step = n * (last - first) <= SILU_VALUES ? last - first : SILU_COLUMNS;
    for (size_t c = first; c < last; c += step) {
        silu_part(w, &p, c, last - c < step ? last : c + step, tmp + 2 * n * first, to, down);
    }
    team_barrier(w);
}

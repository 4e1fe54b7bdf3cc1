/* Activations made ready for products: see ops.h; layout and arithmetic of a panel are in
 * kernels.h.
 *
 * Many rows are dealt out among the workers into shared panels, and a barrier follows. A few rows
 * each worker prepares whole, into a panel of its own: a decoded token of 2,048 values costs one to
 * two microseconds, hardly more than the two barriers (norm, quantise) that sharing it would take,
 * and its panel then lies in the cache that reads it. */
#include "tensor/pack.h"

#include <assert.h>
#include <stdlib.h>

enum { OWN_VALUES = 8192 }; /* rows times columns that a worker prepares for itself */

static size_t padded(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* What a worker has for itself: see struct act_rows. */
static size_t own_bytes(int64_t max_d)
{
    size_t groups = OWN_VALUES / GROUP + PANEL_TOKENS; /* each row may end in a part of a group */
    size_t d = (size_t)max_d;
    return padded(d * sizeof(float)) + (d + 1) * 2 * STRIP_ROWS * sizeof(float) +
           padded(d * sizeof(uint64_t)) + padded(d * sizeof(int32_t)) +
           PANEL_TOKENS * sizeof(struct outliers) + act_panel_bytes(groups, 2); /* 2: MUL_FINE */
}

static void place_own(struct act_rows *r, uint8_t *at, size_t d)
{
    r->row = (float *)(void *)at;
    at += padded(d * sizeof(float));
    r->columns = (float *)(void *)at + 2 * STRIP_ROWS; /* zeros before them: NO_OUTLIER */
    at += (d + 1) * 2 * STRIP_ROWS * sizeof(float);
    r->at = (uint64_t *)(void *)at;
    at += padded(d * sizeof(uint64_t));
    r->wanted = (int32_t *)(void *)at;
    at += padded(d * sizeof(int32_t));
    r->own_outliers = (struct outliers *)(void *)at;
    r->own = at + PANEL_TOKENS * sizeof(struct outliers);
    r->product = 0;
}

enum status act_init(struct act *a, const struct team *team, int64_t max_n, int64_t max_d,
                     struct err *e)
{
    size_t groups = ((size_t)max_d + GROUP - 1) / GROUP, workers = (size_t)team_size(team);
    size_t bytes = 0, own = own_bytes(max_d), all, lists;
    struct act r = {.max_n = max_n, .max_d = max_d};
    /* Twice the tokens, for MUL_FINE. */
    if (size_mul((2 * (size_t)max_n + PANEL_TOKENS - 1) / PANEL_TOKENS,
                 act_panel_bytes(groups, PANEL_TOKENS), &bytes) &&
        size_mul((size_t)max_n, sizeof(struct outliers), &lists) && size_mul(workers, own, &all) &&
        size_add(all, bytes, &all) && size_add(all, lists, &all)) {
        r.quant = mem_large(all, 1);
        r.quant_bytes = all;
        r.rows = mem_aligned(workers, sizeof *r.rows);
    }
    if (!r.quant || !r.rows) {
        act_fini(&r);
        return err_set(e, ERR_MEMORY, NULL, "no memory for activations of %lld x %lld",
                       (long long)max_n, (long long)max_d);
    }
    for (size_t i = 0; i < workers; i++) {
        place_own(&r.rows[i], (uint8_t *)r.quant + bytes + i * own, (size_t)max_d);
    }
    r.outliers = (uint8_t *)r.quant + bytes + workers * own;
    *a = r;
    return OK;
}

void act_fini(struct act *a)
{
    if (a) {
        mem_large_free(a->quant);
        free(a->rows);
        *a = (struct act){0};
    }
}

struct act act_part(const struct act *a, const struct worker *w, int64_t first)
{
    size_t groups = ((size_t)a->max_d + GROUP - 1) / GROUP, panels = 2 * (size_t)first;
    struct act r = *a;
    r.rows += w->index;
    panels = (panels + PANEL_TOKENS - 1) / PANEL_TOKENS;
    r.quant = (uint8_t *)a->quant + panels * act_panel_bytes(groups, PANEL_TOKENS);
    r.quant_bytes = 0;
    r.outliers = (struct outliers *)a->outliers + first;
    return r;
}

enum { SPAN = 4 * I16_BLOCK / GROUP }; /* groups that are quantised at a time */

/* Column t of the panel is done for its first groups, made from x[n]: what it leaves over becomes
 * column t + 1. */
static void quantise_rest(const float *x, size_t n, struct act_panel *p, int t)
{
    float rest[SPAN * GROUP];
    size_t nt = (size_t)p->nt;
    for (size_t c = 0; c < n; c++) {
        struct act_group done = act_group(p, c / GROUP);
        float value = done.q[(c % GROUP / 4 * nt + (size_t)t) * 4 + c % 4];
        rest[c] = x[c] - value * done.xs[t];
    }
    kernels()->quant8(rest, n, p, t + 1, 0, (n + GROUP - 1) / GROUP);
}

void act_put(const struct act_rows *r, const struct mat *m, size_t token, size_t g0, const float *x,
             size_t n)
{
    struct panels all = panels_of(m, r->n);
    size_t i = panel_of(&all, token);
    struct act_panel p = panel_at(r, &all, mat_groups(m), i);
    int t = (int)((token - panel_begin(&all, i)) * all.step);
    for (size_t c = 0; c < n; c += SPAN * GROUP) {
        struct act_panel at = panel_from(p, g0 + c / GROUP);
        size_t len = n - c < SPAN * GROUP ? n - c : SPAN * GROUP;
        if (m->form.bits == 16) {
            kernels()->quant16(x + c, len, &at, t, 0, (len + GROUP - 1) / GROUP);
            continue;
        }
        kernels()->quant8(x + c, len, &at, t, 0, (len + GROUP - 1) / GROUP);
        if (m->form.fine) {
            quantise_rest(x + c, len, &at, t);
        }
    }
}

void act_put_panel(const struct act_rows *r, const struct mat *m, size_t i, size_t g0,
                   const float *x, size_t ld, size_t n)
{
    struct panels all = panels_of(m, r->n);
    struct act_panel p = panel_at(r, &all, mat_groups(m), i);
    if (m->form.bits < 16 && !m->form.fine && p.nt > 1) {
        p = panel_from(p, g0);
        kernels()->quant8_panel(x, ld, n, &p, 0, (n + GROUP - 1) / GROUP);
        return;
    }
    size_t first = panel_begin(&all, i), last = panel_begin(&all, i + 1);
    for (size_t t = first; t < last; t++) {
        act_put(r, m, t, g0, x + (t - first) * ld, n);
    }
}

struct act_rows *act_begin(const struct worker *w, const struct act *a, const float *x, int64_t n,
                           const struct mat *m, bool own, bool outliers)
{
    assert(n <= a->max_n && m->cols <= a->max_d);
    struct act_rows *r = &a->rows[w->index];
    r->f32 = x;
    r->n = n;
    r->d = m->cols;
    r->panels = own ? r->own : a->quant;
    r->outliers = !outliers ? NULL : own ? r->own_outliers : a->outliers;
    return r;
}

static bool takes_outliers(const struct mat *m)
{
    return m->has_outliers && m->form.bits && m->form.bits < 16 && !m->form.fine;
}

bool act_serves(const struct mat *m, const struct mat *other)
{
    bool words = m->form.bits == 16, bytes = m->form.bits && !words;
    return words == (other->form.bits == 16) && bytes == (other->form.bits && !words) &&
           m->form.fine == other->form.fine && takes_outliers(m) == takes_outliers(other);
}

static bool wants_own(const struct worker *w, const struct mat *m, int64_t n)
{
    return w->count > 1 && n * m->cols <= OWN_VALUES && columns_of(m, n) <= PANEL_TOKENS;
}

void op_act(const struct worker *w, struct act *a, const float *x, int64_t n, int64_t d,
            const struct mat *m)
{
    assert(d == m->cols);
    bool own = wants_own(w, m, n);
    const struct act_rows *r = act_begin(w, a, x, n, m, own, false);
    if (!m->form.bits) {
        return;
    }
    /* Items: (panel, block of columns), so that few tokens' quantisation is shared too. */
    struct panels all = panels_of(m, n);
    size_t cols = (size_t)d, blocks = (cols + I16_BLOCK - 1) / I16_BLOCK;
    size_t first = 0, last = all.count * blocks;
    if (!own) {
        team_share(w, last, 1, &first, &last);
    }
    for (size_t i = first; i < last; i++) {
        size_t panel = i / blocks, c = i % blocks * I16_BLOCK;
        size_t len = cols - c < I16_BLOCK ? cols - c : I16_BLOCK;
        const float *rows = x + panel_begin(&all, panel) * cols;
        act_put_panel(r, m, panel, c / GROUP, rows + c, cols, len);
    }
    if (!own) {
        team_barrier(w);
    }
}

/* Many tokens: the rows of a panel, then their integers, while they lie in the cache. */
static void norm_panels(const struct worker *w, const struct act_rows *r, const struct panels *all,
                        const struct mat *m, const float *x, const float *gain, float eps)
{
    size_t first, last, cols = (size_t)r->d;
    float *rows = w->scratch;
    team_share(w, all->count, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t begin = panel_begin(all, i), end = panel_begin(all, i + 1);
        for (size_t t = begin; t < end; t++) {
            float *row = rows + (t - begin) * cols;
            kernels()->rmsnorm(x + t * cols, gain, eps, cols, row);
            if (r->outliers) {
                kernels()->take_outliers(row, cols, &r->outliers[t]);
            }
        }
        act_put_panel(r, m, i, 0, rows, cols, cols);
    }
}

void op_norm_act(const struct worker *w, struct act *a, const float *x, const float *gain,
                 float eps, int64_t n, int64_t d, const struct mat *m, float *y)
{
    assert(d == m->cols);
    bool exact = !m->form.bits, own = wants_own(w, m, n) && !exact;
    bool outliers = takes_outliers(m);
    const struct act_rows *r = act_begin(w, a, y, n, m, own, outliers);
    struct panels all = panels_of(m, n);
    size_t first = 0, last = (size_t)n, cols = (size_t)d;
    bool room = w->scratch_bytes >= PANEL_TOKENS * cols * sizeof(float);
    if (!exact && room && all.count >= 2 * (size_t)w->count) {
        norm_panels(w, r, &all, m, x, gain, eps);
        team_barrier(w);
        return;
    }
    if (!own) {
        team_share(w, last, 1, &first, &last);
    }
    for (size_t i = first; i < last; i++) {
        float *to = exact ? y + i * cols : r->row;
        kernels()->rmsnorm(x + i * cols, gain, eps, cols, to);
        if (outliers) {
            kernels()->take_outliers(to, cols, &r->outliers[i]);
        }
        if (!exact) {
            act_put(r, m, i, 0, to, cols);
        }
    }
    if (!own) {
        team_barrier(w);
    }
}

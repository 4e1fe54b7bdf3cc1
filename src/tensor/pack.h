/* Packed weights: from a file's rows to strips (layout: kernels.h). */
#ifndef HEARTH_TENSOR_PACK_H
#define HEARTH_TENSOR_PACK_H

#include "tensor/kernels.h"

/* 16-bit products: 2047 * 4095 * I16_BLOCK < 2^31, so a block's sum never overflows. */
#define I16_WEIGHT_MAX 2047.0f
#define I16_ACT_MAX 4095.0f

/* Sets m->packed to zeroed memory, at the home of the mat if it has one; *filled as its `take`
 * says: then there is nothing to pack. */
MUST_CHECK enum status mat_memory(struct mat *m, size_t bytes, bool *filled, struct err *e);

/* Packs the rows of t[0], t[1], ... (m->rows in all) into m->packed; sets form and path. */
MUST_CHECK enum status mat_pack(struct mat *m, const struct tensor *const *t, struct team *team,
                                struct err *e);

size_t mat_strips(const struct mat *m);
size_t mat_groups(const struct mat *m);
float *mat_units(const struct mat *m); /* [strips * 16] what a row's sum is multiplied by at last */

size_t strip_value_bytes(const struct mat_form *f, size_t groups);
/* Of whole blocks of factors: single groups, super-blocks, blocks of I16_BLOCK columns. */
size_t strip_factor_bytes(const struct mat_form *f, size_t groups);
size_t strip_bytes(const struct mat_form *f, size_t groups);

/* Factors of a group (half group), as `unpack` writes them. */
static inline size_t group_factors(const struct mat_form *f)
{
    return (size_t)f->halves * (f->has_min ? 2 : 1);
}

/* What w is above v (see kernels.h); levels are taken as they are. */
static inline int value_offset(const struct mat_form *f)
{
    return f->table || (f->super && f->has_min) ? 0 : 1 << (f->bits - 1);
}

/* The packings of up to 8 bits that there are: bits, halves, has_min, table, super. */
#define EACH_PACKED(X)                \
    X(4_0, 4, 1, false, false, false) \
    X(4_1, 4, 1, true, false, false)  \
    X(5_0, 5, 1, false, false, false) \
    X(5_1, 5, 1, true, false, false)  \
    X(8_0, 8, 1, false, false, false) \
    X(4_nl, 4, 1, false, true, false) \
    X(2_k, 2, 2, true, false, true)   \
    X(3_k, 3, 2, false, false, true)  \
    X(4_k, 4, 1, true, false, true)   \
    X(5_k, 5, 1, true, false, true)   \
    X(6_k, 6, 2, false, false, true)  \
    X(4_xs, 4, 1, false, true, true)

/* A form of up to 8 bits as one number, for a switch. */
#define PACKED_KEY(bits, halves, has_min, table, super) \
    ((bits) | ((halves) == 2) << 4 | (has_min) << 5 | (table) << 6 | (super) << 7)
static inline int form_key(const struct mat_form *f)
{
    return PACKED_KEY(f->bits, f->halves, f->has_min, f->table, f->super);
}

/* What one worker last prepared; see struct act. */
struct act_rows {
    _Alignas(64) const float *f32; /* the rows themselves, for the exact path */
    uint8_t *panels;               /* shared by all workers, or `own` */
    struct outliers *outliers;     /* of each row, as `panels`; NULL: none were taken */
    int64_t n, d;
    uint8_t *own;
    float *row; /* room for a row */
    struct outliers *own_outliers;
    /* Columns that outliers need in this product, and what a pair of strips has there:
     * [d][2 * STRIP_ROWS], from NO_OUTLIER on. */
    int32_t *wanted;
    size_t n_wanted;
    float *columns;
    uint64_t *at, product; /* at[c] is the last product that column c was wanted for */
};

static inline void outliers_clear(struct outliers *o)
{
    o->n = 0;
    for (int i = 0; i < MOST_OUTLIERS; i++) {
        o->col[i] = NO_OUTLIER;
        o->x[i] = 0;
    }
}

/* The most outliers of n tokens. */
static inline int32_t outliers_most(const struct outliers *o, size_t n)
{
    int32_t most = 0;
    for (size_t t = 0; t < n; t++) {
        most = o[t].n > most ? o[t].n : most;
    }
    return most;
}

/* What a product sees: with fine activations every token counts twice. */
static inline int64_t columns_of(const struct mat *m, int64_t n)
{
    return m->form.fine ? 2 * n : n;
}

/* n columns are dealt out evenly among as few panels as can hold them, two by two where a token
 * is two: the first `wide` panels have one more. */
struct panels {
    size_t count, wide, each; /* each, wide: in steps */
    size_t step;
};
static inline struct panels panels_of(const struct mat *m, int64_t n)
{
    size_t step = m->form.fine ? 2 : 1, steps = (size_t)n, most = PANEL_TOKENS / step;
    struct panels p = {.count = (steps + most - 1) / most, .step = step};
    p.each = p.count ? steps / p.count : 0;
    p.wide = p.count ? steps % p.count : 0;
    return p;
}

/* The first token of panel i. */
static inline size_t panel_begin(const struct panels *p, size_t i)
{
    return i * p->each + (i < p->wide ? i : p->wide);
}

/* The panel that token t is in. */
static inline size_t panel_of(const struct panels *p, size_t t)
{
    size_t wide = p->wide * (p->each + 1);
    return t < wide ? t / (p->each + 1) : p->wide + (t - wide) / p->each;
}

static inline struct act_panel panel_at(const struct act_rows *r, const struct panels *p,
                                        size_t groups, size_t i)
{
    int nt = (int)((p->each + (i < p->wide)) * p->step);
    return act_panel_view(r->panels + i * act_panel_bytes(groups, PANEL_TOKENS), groups, nt);
}

/* The same panel from group g on (for 16-bit products at the start of a block), as one of its own.
 */
static inline struct act_panel panel_from(struct act_panel p, size_t g)
{
    size_t at = g * (size_t)p.nt;
    p.groups -= g;
    p.bytes += ACT_GROUP_BYTES * at;
    p.halves += ACT_HALVES_BYTES * at;
    p.q16 += GROUP * at;
    p.xs16 += at / (I16_BLOCK / GROUP);
    return p;
}

/* Says for the calling worker that `a` will hold n rows of m's columns, and outliers of them. */
struct act_rows *act_begin(const struct worker *w, const struct act *a, const float *x, int64_t n,
                           const struct mat *m, bool own, bool outliers);
/* Quantises values x[n] of a token, from group g0 on: a multiple of 8 for 16-bit products. */
void act_put(const struct act_rows *r, const struct mat *m, size_t token, size_t g0, const float *x,
             size_t n);

/* The same for all tokens of panel i; their values are ld floats apart. */
void act_put_panel(const struct act_rows *r, const struct mat *m, size_t i, size_t g0,
                   const float *x, size_t ld, size_t n);

/* The scale of a token's group from its peak magnitude (as bits): 0 for nothing, NaN for what
 * cannot be quantised, else peak / levels rounded up to 22 bits of mantissa. */
float quant_scale(uint32_t peak_bits, float levels);
/* Stores what a panel keeps of token t in group g: its scale and the sums of columns 0-15 and
 * 16-31. */
static inline void panel_put_sums(struct act_panel *p, size_t g, size_t t, float scale, int32_t low,
                                  int32_t high)
{
    const size_t nt = (size_t)p->nt;
    struct act_group to = act_group(p, g);
    to.xs[t] = scale;
    to.bias_xs[t] = -ACC_BIAS * scale;
    to.init[t] = ACC_BIAS_BITS - 128 * (low + high);
    to.xsum[t] = (float)(low + high) * scale;
    to.half_init[t] = ACC_BIAS_BITS - 128 * low;
    to.half_init[nt + t] = ACC_BIAS_BITS - 128 * high;
    to.half_xsum[t] = (float)low * scale;
    to.half_xsum[nt + t] = (float)high * scale;
}

#endif

/* Packed weights: from a file's rows to strips (layout: kernels.h). */
#ifndef HEARTH_TENSOR_PACK_H
#define HEARTH_TENSOR_PACK_H

#include "tensor/kernels.h"

/* 16-bit products: 2047 * 4095 * I16_BLOCK < 2^31, so a block's sum never overflows. */
#define I16_WEIGHT_MAX 2047.0f
#define I16_ACT_MAX 4095.0f

/* Packs the rows of t[0], t[1], ... (m->rows in all) into m->packed; sets form and path. */
MUST_CHECK enum status mat_pack(struct mat *m, const struct tensor *const *t, struct team *team,
                                struct err *e);

size_t mat_strips(const struct mat *m);
size_t mat_groups(const struct mat *m);
float *mat_units(const struct mat *m); /* [strips * 16] what a row's sum is multiplied by at last */

size_t strip_value_bytes(const struct mat_form *f, size_t groups);
size_t factor_bytes(const struct mat_form *f); /* per group, 4 and 8 bits */
size_t strip_bytes(const struct mat_form *f, size_t groups);

/* What one worker last prepared; see struct act. */
struct act_rows {
    _Alignas(64) const float *f32; /* the rows themselves, for the exact path */
    uint8_t *panels;               /* shared by all workers, or `own` */
    int64_t n, d;
    uint8_t *own;
    float *row; /* room for a row */
};

/* What a product sees: with fine activations every token counts twice. */
static inline int64_t columns_of(const struct mat *m, int64_t n)
{
    return m->form.fine ? 2 * n : n;
}

static inline size_t panel_count(int64_t n)
{
    return ((size_t)n + PANEL_TOKENS - 1) / PANEL_TOKENS;
}

/* Panel `p` of n columns; every panel but the last is full. */
static inline struct act_panel panel_at(const struct act_rows *r, size_t groups, int64_t n,
                                        size_t p)
{
    size_t left = (size_t)n - p * PANEL_TOKENS;
    int nt = left < PANEL_TOKENS ? (int)left : PANEL_TOKENS;
    return act_panel_view(r->panels + p * act_panel_bytes(groups, PANEL_TOKENS), groups, nt);
}

/* Says for the calling worker that `a` will hold n rows of m's columns. */
struct act_rows *act_begin(const struct worker *w, const struct act *a, const float *x, int64_t n,
                           const struct mat *m, bool own);
/* Quantises values x[n] of a token, from group g0 on: a multiple of 8 for 16-bit products. */
void act_put(const struct act_rows *r, const struct mat *m, size_t token, size_t g0, const float *x,
             size_t n);

/* The scale of a token's group from its peak magnitude (as bits): 0 for nothing, NaN for what
 * cannot be quantised, else peak / levels rounded up to 22 bits of mantissa. */
float quant_scale(uint32_t peak_bits, float levels);
/* Stores what a panel keeps of a group: its scale and the sums of columns 0-15 and 16-31. */
static inline void panel_put_sums(struct act_panel *p, size_t at, size_t at_half, float scale,
                                  int32_t low, int32_t high)
{
    size_t nt = (size_t)p->nt;
    p->xs[at] = scale;
    p->bias_xs[at] = -ACC_BIAS * scale;
    p->init[at] = ACC_BIAS_BITS - 128 * (low + high);
    p->xsum[at] = (float)(low + high) * scale;
    p->half_init[at_half] = ACC_BIAS_BITS - 128 * low;
    p->half_init[at_half + nt] = ACC_BIAS_BITS - 128 * high;
    p->half_xsum[at_half] = (float)low * scale;
    p->half_xsum[at_half + nt] = (float)high * scale;
}

#endif

/* Products of packed integers in plain C: the definition (see kernels.h). */
#include "tensor/pack.h"

#include "tensor/types_internal.h"

#include <math.h>
#include <string.h>

float quant_scale(uint32_t peak_bits, float levels)
{
    float peak;
    memcpy(&peak, &peak_bits, 4);
    if (peak_bits > 0x7149f2ca) { /* above 1e30, infinite or NaN: let it show in the result */
        return NAN;
    }
    if (peak < 1e-25f) {
        return 0;
    }
    float scale = peak / levels;
    uint32_t bits;
    memcpy(&bits, &scale, 4);
    bits = (bits + 3) & ~(uint32_t)3;
    memcpy(&scale, &bits, 4);
    return scale;
}

static uint32_t peak_of(const float *x, size_t n)
{
    uint32_t peak = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        peak = bits > peak ? bits : peak;
    }
    return peak;
}

static void quant8(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    size_t nt = (size_t)p->nt, token = (size_t)t;
    for (size_t g = g0; g < g1; g++) {
        float group[GROUP] = {0};
        size_t left = n - g * GROUP;
        memcpy(group, x + g * GROUP, (left < GROUP ? left : GROUP) * sizeof(float));
        float scale = quant_scale(peak_of(group, GROUP), 127);
        float inverse = scale > 0 ? 1 / scale : 0; /* NaN gives 0 */
        int32_t sums[2] = {0, 0};
        int8_t *q = act_group(p, g).q;
        for (size_t c = 0; c < GROUP; c++) {
            int32_t v = inverse > 0 ? (int32_t)rintf(group[c] * inverse) : 0;
            q[(c / 4 * nt + token) * 4 + c % 4] = (int8_t)v;
            sums[c / 16] += v;
        }
        panel_put_sums(p, g, token, scale, sums[0], sums[1]);
    }
}

static void quant8_panel(const float *x, size_t ld, size_t n, struct act_panel *p, size_t g0,
                         size_t g1)
{
    for (int t = 0; t < p->nt; t++) {
        quant8(x + (size_t)t * ld, n, p, t, g0, g1);
    }
}

static void quant16(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    size_t nt = (size_t)p->nt, token = (size_t)t;
    for (size_t c0 = g0 * GROUP; c0 < g1 * GROUP; c0 += I16_BLOCK) {
        size_t end = c0 + I16_BLOCK < g1 * GROUP ? c0 + I16_BLOCK : g1 * GROUP;
        size_t len = n > c0 ? (n - c0 < I16_BLOCK ? n - c0 : I16_BLOCK) : 0;
        float scale = quant_scale(peak_of(x + c0, len), I16_ACT_MAX);
        float inverse = scale > 0 ? 1 / scale : 0;
        for (size_t c = c0; c < end; c++) {
            float v = c < n && inverse > 0 ? rintf(x[c] * inverse) : 0;
            p->q16[(c / 2 * nt + token) * 2 + c % 2] = (int16_t)v;
        }
        p->xs16[c0 / I16_BLOCK * nt + token] = scale;
    }
}

/* w of one row and column of packed values. */
static int packed_value(const uint8_t *values, int bits, size_t c, size_t row)
{
    size_t quad = c % GROUP / 4;
    const uint8_t *plane = values + (c / GROUP * (size_t)bits * STRIP_ROWS + row) * 4 + c % 4;
    int w = 0, pos = 0;
    for (int p = 8; p; p /= 2) {
        if (bits & p) {
            size_t at = quad % (size_t)p, shift = quad / (size_t)p * (size_t)p;
            w |= (plane[at * 64] >> shift & ((1 << p) - 1)) << pos;
            plane += p * 64;
            pos += p;
        }
    }
    return w;
}

static int value_of(const struct mat_form *form, int w)
{
    return form->table ? iq4_values[w] : w - value_offset(form);
}

/* Factor i of a group: the halves' scales, then their mins. */
static float factor_of(const struct strip *w, const struct mat_form *form, size_t g, size_t i,
                       size_t row)
{
    size_t n = group_factors(form), at = i * STRIP_ROWS + row;
    if (!form->super) {
        return load_f16(w->factors + (g * n * STRIP_ROWS + at) * 2);
    }
    const uint8_t *block = w->factors + strip_factor_bytes(form, g / SUPER_GROUPS * SUPER_GROUPS);
    bool min = i >= (size_t)form->halves;
    const uint8_t *ints = block + (form->has_min ? 2 : 1) * STRIP_ROWS * 2;
    float unit = load_f16(block + (min ? STRIP_ROWS + row : row) * 2);
    return unit * (float)(int8_t)ints[g % SUPER_GROUPS * n * STRIP_ROWS + at];
}

/* Half group h, or all of group g when there are no halves, of one row and one token: F of the
 * definition. */
static float add_half(const struct mat_form *form, const struct act_panel *x, size_t g, size_t h,
                      size_t t, int32_t dot, float scale, float min, float f)
{
    struct act_group a = act_group(x, g);
    f = fmaf((float)dot * a.xs[t], scale, f);
    return form->has_min
               ? fmaf(min, form->halves == 1 ? a.xsum[t] : a.half_xsum[h * (size_t)x->nt + t], f)
               : f;
}

static void mul_few(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                    float *out)
{
    size_t nt = (size_t)x->nt, halves = (size_t)form->halves, width = GROUP / halves;
    for (size_t i = 0; i < nt * STRIP_ROWS; i++) {
        size_t t = i / STRIP_ROWS, r = i % STRIP_ROWS;
        float f = 0;
        for (size_t k = 0; k < x->groups * halves; k++) {
            size_t g = k / halves, h = k % halves;
            int32_t dot = 0;
            for (size_t c = k * width; c < (k + 1) * width; c++) {
                dot += value_of(form, packed_value(w->values, form->bits, c, r)) *
                       act_group(x, g).q[(c % GROUP / 4 * nt + t) * 4 + c % 4];
            }
            float min = form->has_min ? factor_of(w, form, g, halves + h, r) : 0;
            f = add_half(form, x, g, h, t, dot, factor_of(w, form, g, h, r), min, f);
        }
        out[i / STRIP_ROWS * 32 + r] = f;
    }
}

static float mul_row8(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                      size_t t, size_t row, float f)
{
    size_t nt = (size_t)x->nt, halves = (size_t)form->halves, width = GROUP / halves;
    const float *factors = (const float *)(const void *)w->factors + row;
    for (size_t k = 0; k < x->groups * halves; k++) {
        size_t g = k / halves, h = k % halves;
        const float *scale = factors + (g * group_factors(form) + h) * STRIP_ROWS;
        int32_t dot = 0;
        for (size_t c = k * width; c < (k + 1) * width; c++) {
            dot += (packed_value(w->values, 8, c, row) - 128) *
                   act_group(x, g).q[(c % GROUP / 4 * nt + t) * 4 + c % 4];
        }
        float min = form->has_min ? scale[halves * STRIP_ROWS] : 0;
        f = add_half(form, x, g, h, t, dot, *scale, min, f);
    }
    return f;
}

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    for (size_t t = 0; t < (size_t)x->nt; t++) {
        for (size_t r = 0; r < (size_t)n_strips * STRIP_ROWS; r++) {
            float *f = out + t * 32 + r;
            *f = mul_row8(w + r / STRIP_ROWS, form, x, t, r % STRIP_ROWS, add ? *f : 0);
        }
    }
}

static float mul_row16(const struct strip *w, const struct act_panel *x, size_t t, size_t row,
                       float f)
{
    size_t nt = (size_t)x->nt, cols = x->groups * GROUP;
    float scale;
    for (size_t c0 = 0; c0 < cols; c0 += I16_BLOCK) {
        size_t end = c0 + I16_BLOCK < cols ? c0 + I16_BLOCK : cols;
        int32_t dot = 0;
        for (size_t c = c0; c < end; c++) {
            int16_t v;
            memcpy(&v, w->values + (c / 2 * STRIP_ROWS + row) * 4 + c % 2 * 2, 2);
            dot += v * x->q16[(c / 2 * nt + t) * 2 + c % 2];
        }
        memcpy(&scale, w->factors + (c0 / I16_BLOCK * STRIP_ROWS + row) * 4, 4);
        f = fmaf((float)dot * x->xs16[c0 / I16_BLOCK * nt + t], scale, f);
    }
    return f;
}

static void mul16(const struct strip *w, int n_strips, const struct act_panel *x, bool add,
                  float *out)
{
    for (size_t t = 0; t < (size_t)x->nt; t++) {
        for (size_t r = 0; r < (size_t)n_strips * STRIP_ROWS; r++) {
            float *f = out + t * 32 + r;
            *f = mul_row16(w + r / STRIP_ROWS, x, t, r % STRIP_ROWS, add ? *f : 0);
        }
    }
}

static void unpack(const struct strip *w, const struct mat_form *form, size_t groups,
                   uint8_t *values, float *factors)
{
    size_t n = group_factors(form);
    for (size_t i = 0; form->bits != 8 && i < groups * GROUP * STRIP_ROWS; i++) {
        size_t c = i / 64 * 4 + i % 4, row = i % 64 / 4;
        values[i] = (uint8_t)(value_of(form, packed_value(w->values, form->bits, c, row)) + 128);
    }
    for (size_t i = 0; i < groups * n * STRIP_ROWS; i++) {
        size_t k = i / STRIP_ROWS;
        factors[i] = factor_of(w, form, k / n, k % n, i % STRIP_ROWS);
    }
}

static void take_outliers(float *x, size_t n, struct outliers *out)
{
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++) {
        lanes[i % 16] += x[i] * x[i];
    }
    for (size_t half = 8; half; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    float limit = lanes[0] * ((float)(OUTLIER * OUTLIER) / (float)n);
    outliers_clear(out);
    for (size_t i = 0; i < n && out->n < MOST_OUTLIERS; i++) {
        if (x[i] * x[i] > limit) {
            out->col[out->n] = (int32_t)i;
            out->x[out->n++] = x[i];
            x[i] = 0;
        }
    }
}

static void column(const struct strip *w, const struct mat_form *form, size_t c, float out[16])
{
    size_t halves = (size_t)form->halves, g = c / GROUP, h = c % GROUP / (GROUP / halves);
    for (size_t r = 0; r < STRIP_ROWS; r++) {
        int v = value_of(form, packed_value(w->values, form->bits, c, r));
        out[r] = (float)v * factor_of(w, form, g, h, r);
        if (form->has_min) {
            out[r] += factor_of(w, form, g, halves + h, r);
        }
    }
}

static void add_outliers(const struct outliers *o, size_t n, const float *columns, float *tile)
{
    for (size_t t = 0; t < n; t++) {
        for (int32_t i = 0; i < o[t].n; i++) {
            for (size_t r = 0; r < 2 * STRIP_ROWS; r++) {
                tile[t * 32 + r] += o[t].x[i] * columns[(size_t)o[t].col[i] * 32 + r];
            }
        }
    }
}

static void put(const float *tile, int n, unsigned how, const float *unit, size_t width, float *y,
                size_t ldy)
{
    bool pairs = how & PUT_PAIRS, adds = how & PUT_ADD;
    size_t step = pairs ? 2 : 1;
    for (size_t i = 0; i < (size_t)n; i++) {
        const float *from = tile + i * step * 32;
        for (size_t r = 0; r < width; r++) {
            float v = (pairs ? from[r] + from[32 + r] : from[r]) * unit[r];
            y[i * ldy + r] = adds ? y[i * ldy + r] + v : v;
        }
    }
}

void kernels_fill_scalar_mul(struct kernels *k)
{
    k->quant8 = quant8;
    k->quant8_panel = quant8_panel;
    k->quant16 = quant16;
    k->few = 8;
    k->wide_bytes = 1;
    k->mul_few = mul_few;
    k->mul8 = mul8;
    k->mul16 = mul16;
    k->unpack = unpack;
    k->take_outliers = take_outliers;
    k->column = column;
    k->add_outliers = add_outliers;
    k->put = put;
}

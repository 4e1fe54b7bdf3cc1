/* Products of packed integers in plain C: the definition (see kernels.h). */
#include "tensor/pack.h"

#include "tensor/types_internal.h"

#include <math.h>
#include <string.h>

size_t act_panel_bytes(size_t groups, int nt)
{
    /* 64 bytes per token and group for either kind, and a scale per I16_BLOCK. */
    size_t blocks = (groups * GROUP + I16_BLOCK - 1) / I16_BLOCK;
    return ((size_t)nt * (groups * 64 + blocks * 4) + 63) & ~(size_t)63;
}

struct act_panel act_panel_view(void *base, size_t groups, int nt)
{
    uint8_t *bytes = base;
    size_t n = groups * (size_t)nt;
    return (struct act_panel){.nt = nt,
                              .groups = groups,
                              .bytes = bytes,
                              .halves = bytes + ACT_GROUP_BYTES * n,
                              .q16 = (int16_t *)base,
                              .xs16 = (float *)(void *)(bytes + 64 * n)};
}

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

/* v of one row and column: the three layouts. */
static int value4(const struct strip *w, bool table, size_t c, size_t row)
{
    size_t g = c / GROUP, i = c % GROUP;
    int nibble = w->values[(g * 4 + i % 16 / 4) * 64 + row * 4 + i % 4] >> (i / 16 * 4) & 15;
    return table ? iq4_values[nibble] : nibble - 8;
}

static int value8(const struct strip *w, size_t c, size_t row)
{
    return w->values[c / 4 * 64 + row * 4 + c % 4] - 128;
}

/* One row and one token in the order of the definition. */
static float mul_row8(const struct strip *w, const struct mat_form *form, int bits,
                      const struct act_panel *x, size_t t, size_t row, float f)
{
    size_t nt = (size_t)x->nt, halves = (size_t)form->halves, width = GROUP / halves;
    for (size_t g = 0; g < x->groups; g++) {
        const uint8_t *factors = w->factors + g * factor_bytes(form) + 2 * row;
        struct act_group a = act_group(x, g);
        for (size_t h = 0; h < halves; h++) {
            int32_t dot = 0;
            for (size_t c = g * GROUP + h * width; c < g * GROUP + (h + 1) * width; c++) {
                int v = bits == 4 ? value4(w, form->table, c, row) : value8(w, c, row);
                dot += v * a.q[(c % GROUP / 4 * nt + t) * 4 + c % 4];
            }
            f = fmaf((float)dot * a.xs[t], load_f16(factors + h * 2 * STRIP_ROWS), f);
            if (form->has_min) {
                float sum = halves == 1 ? a.xsum[t] : a.half_xsum[h * nt + t];
                f = fmaf(load_f16(factors + (halves + h) * 2 * STRIP_ROWS), sum, f);
            }
        }
    }
    return f;
}

static void mul4(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                 int t0, int n, float *out)
{
    for (int t = 0; t < n; t++) {
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            out[(size_t)t * 32 + r] = mul_row8(w, form, 4, x, (size_t)(t0 + t), r, 0);
        }
    }
}

static void mul8(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out)
{
    for (size_t t = 0; t < (size_t)x->nt; t++) {
        for (size_t r = 0; r < (size_t)n_strips * STRIP_ROWS; r++) {
            float *f = out + t * 32 + r;
            *f = mul_row8(w + r / STRIP_ROWS, form, 8, x, t, r % STRIP_ROWS, add ? *f : 0);
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

static void unpack4(const uint8_t *values, size_t groups, bool table, uint8_t *out)
{
    struct strip w = {.values = values};
    for (size_t c = 0; c < groups * GROUP; c++) {
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            out[c / 4 * 64 + r * 4 + c % 4] = (uint8_t)(value4(&w, table, c, r) + 128);
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
    k->quant16 = quant16;
    k->mul4 = mul4;
    k->mul8 = mul8;
    k->mul16 = mul16;
    k->unpack4 = unpack4;
    k->put = put;
}

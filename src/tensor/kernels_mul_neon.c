/* Products of packed integers with NEON, with and without the SDOT instruction: see kernels.h.
 *
 * A register holds 4 rows of 4 columns; a strip is four registers. The four columns of a token are
 * in every lane of another register, so a dot product adds 4 products into each of 4 rows. Without
 * SDOT the products are widened to 16 bits and added in pairs twice. A tile is one strip by up to 2
 * tokens; float sums live in registers. */
#include "tensor/kernels.h"

#if defined(__aarch64__)
#include "tensor/kernels_arm.h"
#include "tensor/pack.h"

#include <arm_neon.h>
#include <string.h>

/* For the assembler only: the compiler itself stays at the baseline. */
__asm__(".arch armv8.2-a+dotprod+fp16");

#define INLINE static inline __attribute__((always_inline))

enum { TILE_TOKENS = 2 };

INLINE int8x16_t broadcast(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(v));
}

INLINE int32x4_t dot4(const bool sdot, int32x4_t acc, int8x16_t w, int8x16_t x)
{
    if (sdot) {
        __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(x));
        return acc;
    }
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}

INLINE float32x4_t load_f16x4(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* v of quad k (0 .. 7) for rows 4 part .. 4 part + 3. */
INLINE int8x16_t load_quad(const int bits, const struct mat_form *form, const uint8_t *group, int k,
                           int part)
{
    const uint8_t *plane = group + part * 16;
    uint8x16_t w = vdupq_n_u8(0);
    int pos = 0;
#pragma GCC unroll 4
    for (int p = 8; p; p /= 2) {
        if (bits & p) { /* the plane's field down to bit 0, then up to its place */
            uint8x16_t v = vld1q_u8(plane + k % p * 64);
            v = vshlq_u8(v, vdupq_n_s8((int8_t)(-(k / p) * p)));
            v = vandq_u8(v, vdupq_n_u8((uint8_t)((1 << p) - 1)));
            w = vorrq_u8(w, vshlq_u8(v, vdupq_n_s8((int8_t)pos)));
            plane += p * 64;
            pos += p;
        }
    }
    return form->table ? vqtbl1q_s8(vld1q_s8(iq4_values), w)
                       : vreinterpretq_s8_u8(vsubq_u8(w, vdupq_n_u8((uint8_t)value_offset(form))));
}

/* The factors of a strip group by group, packed or ready. */
struct factors {
    const uint8_t *at, *units;
    bool super, ready;
    int halves, each; /* bytes of one */
};

INLINE struct factors factors_of(const struct mat_form *form, const struct strip *w, bool ready)
{
    return (struct factors){.at = w->factors,
                            .units = w->factors,
                            .super = form->super && !ready,
                            .ready = ready,
                            .halves = form->halves,
                            .each = ready         ? 4
                                    : form->super ? 1
                                                  : 2};
}

INLINE void begin_group(struct factors *f, const struct mat_form *form, size_t g)
{
    if (f->super && g % SUPER_GROUPS == 0) {
        f->units = f->at;
        f->at += (form->has_min ? 4 : 2) * STRIP_ROWS;
    }
}

INLINE void end_group(struct factors *f, const struct mat_form *form)
{
    f->at += group_factors(form) * STRIP_ROWS * (size_t)f->each;
}

/* Factor i of a group for rows 4 part .. 4 part + 3. */
INLINE float32x4_t load_factor(const struct factors *f, int i, int part)
{
    const uint8_t *at = f->at + (i * STRIP_ROWS + 4 * part) * f->each;
    if (f->ready) {
        return vreinterpretq_f32_u8(vld1q_u8(at));
    }
    if (!f->super) {
        return load_f16x4(at);
    }
    uint32_t four;
    memcpy(&four, at, 4);
    int8x8_t ints = vreinterpret_s8_u32(vdup_n_u32(four));
    float32x4_t unit = load_f16x4(f->units + (i < f->halves ? 0 : 2 * STRIP_ROWS) + 8 * part);
    return vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(ints)))), unit);
}

INLINE void tile(const bool sdot, const int NT, const int bits, const bool ready,
                 const struct mat_form *form, const struct strip *w, const struct act_panel *x,
                 int t0, bool add, float *out)
{
    static const struct mat_form bytes = {.bits = 8};
    const struct mat_form *values_form = ready ? &bytes : form;
    const size_t nt = (size_t)x->nt, halves = (size_t)form->halves;
    struct factors f = factors_of(form, w, ready);
    float32x4_t y[TILE_TOKENS][4];
    for (int t = 0; t < NT; t++) {
        for (int part = 0; part < 4; part++) {
            y[t][part] = add ? vld1q_f32(out + t * 32 + part * 4) : vdupq_n_f32(0);
        }
    }
    for (size_t g = 0; g < x->groups; g++, end_group(&f, form)) {
        const uint8_t *values = w->values + g * (size_t)bits * 64;
        const struct act_group a = act_group(x, g);
        const int8_t *q = a.q + 4 * t0;
        begin_group(&f, form, g);
        for (size_t h = 0; h < halves; h++) {
            int32x4_t acc[TILE_TOKENS][4];
            for (int t = 0; t < NT; t++) {
                for (int part = 0; part < 4; part++) {
                    acc[t][part] = vdupq_n_s32(0);
                }
            }
            int quads = 8 / (int)halves, k0 = (int)h * quads;
            for (int k = k0; k < k0 + quads; k++, q += 4 * nt) {
                for (int part = 0; part < 4; part++) {
                    int8x16_t v = load_quad(bits, values_form, values, k, part);
                    for (int t = 0; t < NT; t++) {
                        acc[t][part] = dot4(sdot, acc[t][part], v, broadcast(q + 4 * t));
                    }
                }
            }
            const float *sums = (halves == 1 ? a.xsum : a.half_xsum) + h * nt + (size_t)t0;
            for (int part = 0; part < 4; part++) {
                float32x4_t scale = load_factor(&f, (int)h, part);
                for (int t = 0; t < NT; t++) {
                    float32x4_t dot = vmulq_n_f32(vcvtq_f32_s32(acc[t][part]), a.xs[t0 + t]);
                    y[t][part] = vfmaq_f32(y[t][part], dot, scale);
                    if (form->has_min) {
                        float32x4_t min = load_factor(&f, (int)(halves + h), part);
                        y[t][part] = vfmaq_n_f32(y[t][part], min, sums[t]);
                    }
                }
            }
        }
    }
    for (int t = 0; t < NT; t++) {
        for (int part = 0; part < 4; part++) {
            vst1q_f32(out + t * 32 + part * 4, y[t][part]);
        }
    }
}

INLINE void tiles(const bool sdot, const int bits, const bool ready, const struct mat_form *form,
                  const struct strip *w, const struct act_panel *x, int t0, int n, bool add,
                  float *out)
{
    for (; n >= TILE_TOKENS; n -= TILE_TOKENS, t0 += TILE_TOKENS, out += TILE_TOKENS * 32) {
        tile(sdot, TILE_TOKENS, bits, ready, form, w, x, t0, add, out);
    }
    if (n) {
        tile(sdot, 1, bits, ready, form, w, x, t0, add, out);
    }
}

/* An instance for each number of bits. */
#define CASE_BITS(n)                                             \
    case n:                                                      \
        tiles(sdot, n, false, form, w, x, 0, x->nt, false, out); \
        return;
INLINE void few(const bool sdot, const struct strip *w, const struct mat_form *form,
                const struct act_panel *x, float *out)
{
    switch (form->bits) {
        CASE_BITS(2)
        CASE_BITS(3)
        CASE_BITS(4)
        CASE_BITS(5)
        CASE_BITS(6)
        CASE_BITS(8)
    }
}

static void mul_few_neon(const struct strip *w, const struct mat_form *form,
                         const struct act_panel *x, float *out)
{
    few(false, w, form, x, out);
}

static void mul_few_dotprod(const struct strip *w, const struct mat_form *form,
                            const struct act_panel *x, float *out)
{
    few(true, w, form, x, out);
}

static void mul8_neon(const struct strip *w, int n_strips, const struct mat_form *form,
                      const struct act_panel *x, bool add, float *out)
{
    for (int s = 0; s < n_strips; s++) {
        tiles(false, 8, true, form, w + s, x, 0, x->nt, add, out + 16 * s);
    }
}

static void mul8_dotprod(const struct strip *w, int n_strips, const struct mat_form *form,
                         const struct act_panel *x, bool add, float *out)
{
    for (int s = 0; s < n_strips; s++) {
        tiles(true, 8, true, form, w + s, x, 0, x->nt, add, out + 16 * s);
    }
}

/* One strip, one token. */
static void row16(const struct strip *w, const struct act_panel *x, size_t t, bool add, float *out)
{
    const size_t nt = (size_t)x->nt, pairs = x->groups * GROUP / 2;
    float32x4_t y[4];
    for (size_t part = 0; part < 4; part++) {
        y[part] = add ? vld1q_f32(out + part * 4) : vdupq_n_f32(0);
    }
    for (size_t p0 = 0, block = 0; p0 < pairs; p0 += I16_BLOCK / 2, block++) {
        const size_t end = pairs - p0 < I16_BLOCK / 2 ? pairs : p0 + I16_BLOCK / 2;
        int32x4_t acc[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
        for (size_t p = p0; p < end; p++) {
            int16x8_t v = vreinterpretq_s16_s8(broadcast(x->q16 + 2 * (p * nt + t)));
            for (size_t part = 0; part < 4; part++) {
                int16x8_t r = vreinterpretq_s16_u8(vld1q_u8(w->values + p * 64 + part * 16));
                int32x4_t low = vmull_s16(vget_low_s16(r), vget_low_s16(v));
                acc[part] = vaddq_s32(acc[part], vpaddq_s32(low, vmull_high_s16(r, v)));
            }
        }
        for (size_t part = 0; part < 4; part++) {
            float scale[4];
            memcpy(scale, w->factors + block * 64 + part * 16, sizeof scale);
            float32x4_t dot = vmulq_n_f32(vcvtq_f32_s32(acc[part]), x->xs16[block * nt + t]);
            y[part] = vfmaq_f32(y[part], dot, vld1q_f32(scale));
        }
    }
    for (size_t part = 0; part < 4; part++) {
        vst1q_f32(out + part * 4, y[part]);
    }
}

static void mul16_neon(const struct strip *w, int n_strips, const struct act_panel *x, bool add,
                       float *out)
{
    for (size_t t = 0; t < (size_t)x->nt; t++) {
        for (int s = 0; s < n_strips; s++) {
            row16(w + s, x, t, add, out + t * 32 + 16 * s);
        }
    }
}

INLINE void unpack_values(const int bits, const struct mat_form *form, const uint8_t *values,
                          size_t groups, uint8_t *out)
{
    for (size_t g = 0; g < groups; g++, values += bits * 64, out += 512) {
        for (int k = 0; k < 8; k++) {
            for (int part = 0; part < 4; part++) {
                uint8x16_t v = vreinterpretq_u8_s8(load_quad(bits, form, values, k, part));
                vst1q_u8(out + k * 64 + part * 16, veorq_u8(v, vdupq_n_u8(128)));
            }
        }
    }
}

#define CASE_UNPACK(n)                                     \
    case n:                                                \
        unpack_values(n, form, w->values, groups, values); \
        break;
static void unpack_neon(const struct strip *w, const struct mat_form *form, size_t groups,
                        uint8_t *values, float *factors)
{
    switch (form->bits) {
        CASE_UNPACK(2)
        CASE_UNPACK(3)
        CASE_UNPACK(4)
        CASE_UNPACK(5)
        CASE_UNPACK(6)
    }
    struct factors f = factors_of(form, w, false);
    for (size_t g = 0; g < groups; g++, end_group(&f, form)) {
        begin_group(&f, form, g);
        for (int i = 0; i < (int)group_factors(form); i++) {
            for (int part = 0; part < 4; part++, factors += 4) {
                vst1q_f32(factors, load_factor(&f, i, part));
            }
        }
    }
}

void kernels_fill_neon_mul(struct kernels *k)
{
    k->mul_few = mul_few_neon;
    k->mul8 = mul8_neon;
    k->mul16 = mul16_neon;
    k->unpack = unpack_neon;
}

void kernels_fill_dotprod_mul(struct kernels *k)
{
    k->mul_few = mul_few_dotprod;
    k->mul8 = mul8_dotprod;
}
#endif

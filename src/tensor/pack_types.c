/* What packing reads from a row of each type: values and factors (see pack_internal.h).
 *
 * Values leave as the strip's bytes: nibbles of v + 8 (the file's own nibbles, for most 4-bit types
 * in the file's own order), or bytes of v + 128. Loops have fixed counts of 16 or 32, which the
 * compiler turns into vectors on every processor; intrinsics would gain little, since packing waits
 * for memory and page faults. */
#include "tensor/pack_internal.h"
#include "tensor/types_internal.h"

#include <string.h>

/* The f16 at p; the product is exact for subnormals, too. */
static inline float half_at(const uint8_t *p)
{
    uint32_t h = load_u16(p), bits = (h & 0x7fff) << 13;
    float f;
    if (bits >= 0x0f800000) { /* infinity or NaN */
        return f16_to_f32((uint16_t)h);
    }
    memcpy(&f, &bits, 4);
    f *= 0x1p112f;
    return h & 0x8000 ? -f : f;
}

static void factors_18(const uint8_t *b, size_t groups, float *scale, float *min)
{
    (void)min;
    for (size_t g = 0; g < groups; g++) {
        scale[g * STRIP_ROWS] = half_at(b + g * 18);
    }
}

static void factors_22(const uint8_t *b, size_t groups, float *scale, float *min)
{
    (void)min;
    for (size_t g = 0; g < groups; g++) {
        scale[g * STRIP_ROWS] = half_at(b + g * 22);
    }
}

static void factors_34(const uint8_t *b, size_t groups, float *scale, float *min)
{
    (void)min;
    for (size_t g = 0; g < groups; g++) {
        scale[g * STRIP_ROWS] = half_at(b + g * 34);
    }
}

static void factors_q4_1(const uint8_t *b, size_t groups, float *scale, float *min)
{
    for (size_t g = 0; g < groups; g++, b += 20) {
        float d = half_at(b);
        scale[g * STRIP_ROWS] = d;
        min[g * STRIP_ROWS] = half_at(b + 2) + 8 * d;
    }
}

static void factors_q5_1(const uint8_t *b, size_t groups, float *scale, float *min)
{
    for (size_t g = 0; g < groups; g++, b += 24) {
        float d = half_at(b);
        scale[g * STRIP_ROWS] = d;
        min[g * STRIP_ROWS] = half_at(b + 2) + 16 * d;
    }
}

/* Nibbles that stand in the file as in the strip: `head` bytes of factors, then 16 of values. */
static inline void copy_nibbles(const uint8_t *b, size_t head, size_t n, uint8_t *out)
{
    for (size_t g = 0; g < n; g++) {
        memcpy(out + g * 16, b + g * (head + 16) + head, 16);
    }
}

static void values_18(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    copy_nibbles(b + g * 18, 2, n, out);
}

static void values_q4_1(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    copy_nibbles(b + g * 20, 4, n, out);
}

/* Eight bits to eight bytes of 16 or 0. */
static inline uint64_t fifth_bits(uint8_t bits)
{
    uint64_t picked = (bits * 0x0101010101010101u) & 0x8040201008040201u;
    return ((picked + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u) << 4;
}

static inline void five_bits(const uint8_t *high, const uint8_t *q, uint8_t *restrict out)
{
    uint64_t fifth[4];
    uint8_t bytes[32];
    for (size_t i = 0; i < 4; i++) {
        fifth[i] = fifth_bits(high[i]);
    }
    memcpy(bytes, fifth, 32);
    for (size_t i = 0; i < 16; i++) {
        out[i] = (uint8_t)(((q[i] & 15) | bytes[i]) + 128 - 16);
        out[i + 16] = (uint8_t)((q[i] >> 4 | bytes[i + 16]) + 128 - 16);
    }
}

static void values_q5_0(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    for (size_t i = g; i < g + n; i++, out += 32) {
        five_bits(b + i * 22 + 2, b + i * 22 + 6, out);
    }
}

static void values_q5_1(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    for (size_t i = g; i < g + n; i++, out += 32) {
        five_bits(b + i * 24 + 4, b + i * 24 + 8, out);
    }
}

static void values_q8_0(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    for (size_t k = g; k < g + n; k++, out += 32) {
        const uint8_t *q = b + k * 34 + 2;
        for (size_t i = 0; i < 32; i++) {
            out[i] = q[i] ^ 0x80;
        }
    }
}

/* Super-blocks. A row of them has whole blocks, so that n is 8 in all that follows. */

static void factors_q2_k(const uint8_t *b, size_t groups, float *scale, float *min)
{
    for (size_t k = 0; k < groups / 8; k++, b += 84) {
        float d = half_at(b + 80), dmin = half_at(b + 82);
        for (size_t h = 0; h < 16; h++) {
            float s = d * (float)(b[h] & 15);
            scale[(16 * k + h) * STRIP_ROWS] = s;
            min[(16 * k + h) * STRIP_ROWS] = 2 * s - dmin * (float)(b[h] >> 4);
        }
    }
}

static void values_q2_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 84 + 16;
    for (size_t k = 0; k < n; k++, out += 16) {
        const uint8_t *q = b + k / 4 * 32;
        int shift = (int)(k % 4 * 2);
        for (size_t i = 0; i < 16; i++) {
            out[i] = (uint8_t)(((q[i] >> shift & 3) + 6) | ((q[i + 16] >> shift & 3) + 6) << 4);
        }
    }
}

static void factors_q3_k(const uint8_t *b, size_t groups, float *scale, float *min)
{
    (void)min;
    for (size_t k = 0; k < groups / 8; k++, b += 110) {
        float d = half_at(b + 108);
        for (int h = 0; h < 16; h++) {
            scale[(16 * k + (size_t)h) * STRIP_ROWS] = d * (float)q3_k_scale(b + 96, h);
        }
    }
}

static void values_q3_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 110;
    for (size_t k = 0; k < n; k++, out += 16) {
        const uint8_t *q = b + 32 + k / 4 * 32;
        int shift = (int)(k % 4 * 2), bit = (int)k;
        for (size_t i = 0; i < 16; i++) {
            int low = (q[i] >> shift & 3) + (b[i] >> bit & 1) * 4 + 4;
            int high = (q[i + 16] >> shift & 3) + (b[i + 16] >> bit & 1) * 4 + 4;
            out[i] = (uint8_t)(low | high << 4);
        }
    }
}

/* The 8 scales and 8 mins of 6 bits in the 12 packed bytes of Q4_K and Q5_K, four at a time (one at
 * a time: k4_scale_min). */
static inline void k4_scales_mins(const uint8_t *packed, uint8_t scales[8], uint8_t mins[8])
{
    uint32_t a = load_u32(packed), b = load_u32(packed + 4), c = load_u32(packed + 8);
    uint32_t words[4] = {a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030), b & 0x3f3f3f3f,
                         (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            (i < 2 ? scales : mins)[i % 2 * 4 + k] = (uint8_t)(words[i] >> (8 * k));
        }
    }
}

static inline void factors_k4(const uint8_t *b, size_t block_bytes, size_t groups, float middle,
                              float *scale, float *min)
{
    for (size_t k = 0; k < groups / 8; k++, b += block_bytes) {
        uint8_t s[8], m[8];
        float d = half_at(b), dmin = half_at(b + 2);
        k4_scales_mins(b + 4, s, m);
        for (size_t i = 0; i < 8; i++) {
            float step = d * (float)s[i];
            scale[(8 * k + i) * STRIP_ROWS] = step;
            min[(8 * k + i) * STRIP_ROWS] = middle * step - dmin * (float)m[i];
        }
    }
}

static void factors_q4_k(const uint8_t *b, size_t groups, float *scale, float *min)
{
    factors_k4(b, 144, groups, 8, scale, min);
}

static void values_q4_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 144 + 16;
    for (size_t k = 0; k < n; k += 2, b += 32, out += 32) {
        for (size_t i = 0; i < 16; i++) {
            out[i] = (uint8_t)((b[i] & 15) | b[i + 16] << 4);
            out[i + 16] = (uint8_t)(b[i] >> 4 | (b[i + 16] & 0xf0));
        }
    }
}

static void factors_q5_k(const uint8_t *b, size_t groups, float *scale, float *min)
{
    factors_k4(b, 176, groups, 16, scale, min);
}

static void values_q5_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 176;
    for (size_t k = 0; k < n; k++, out += 32) {
        const uint8_t *q = b + 48 + k / 2 * 32, *high = b + 16;
        int shift = (int)(k % 2 * 4), bit = (int)k;
        for (size_t i = 0; i < 32; i++) {
            out[i] = (uint8_t)(((q[i] >> shift & 15) | (high[i] >> bit & 1) << 4) + 128 - 16);
        }
    }
}

static void factors_q6_k(const uint8_t *b, size_t groups, float *scale, float *min)
{
    (void)min;
    for (size_t k = 0; k < groups / 8; k++, b += 210) {
        float d = half_at(b + 208);
        for (size_t h = 0; h < 16; h++) {
            scale[(16 * k + h) * STRIP_ROWS] = d * (float)(int8_t)b[192 + h];
        }
    }
}

static void values_q6_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 210;
    for (size_t k = 0; k < n; k++, out += 32) {
        const uint8_t *low = b + k / 4 * 64 + k % 2 * 32, *high = b + 128 + k / 4 * 32;
        int shift = (int)(k % 4 / 2 * 4), high_shift = (int)(k % 4 * 2);
        for (size_t i = 0; i < 32; i++) {
            int v = (low[i] >> shift & 15) | (high[i] >> high_shift & 3) << 4;
            out[i] = (uint8_t)(v + 128 - 32);
        }
    }
}

static void factors_iq4_xs(const uint8_t *b, size_t groups, float *scale, float *min)
{
    (void)min;
    for (size_t g = 0; g < groups; g++) {
        const uint8_t *block = b + g / 8 * 136;
        scale[g * STRIP_ROWS] = half_at(block) * (float)iq4_xs_scale(block, (int)(g % 8));
    }
}

static void values_iq4_xs(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    memcpy(out, b + g / 8 * 136 + 8, n * 16);
}

const struct packing packings[TYPE_COUNT] = {
    [TYPE_F32] = {{16, 1, false, false, false}, "int16 x16 rows", NULL, NULL},
    [TYPE_F16] = {{16, 1, false, false, false}, "int16 x16 rows", NULL, NULL},
    [TYPE_BF16] = {{16, 1, false, false, false}, "int16 x16 rows", NULL, NULL},
    [TYPE_Q4_0] = {{4, 1, false, false, false}, "4-bit x16 rows", factors_18, values_18},
    [TYPE_Q4_1] = {{4, 1, true, false, false}, "4-bit+min x16 rows", factors_q4_1, values_q4_1},
    [TYPE_Q5_0] = {{8, 1, false, false, false}, "8-bit x16 rows", factors_22, values_q5_0},
    [TYPE_Q5_1] = {{8, 1, true, false, false}, "8-bit+min x16 rows", factors_q5_1, values_q5_1},
    [TYPE_Q8_0] = {{8, 1, false, false, false}, "8-bit x16 rows", factors_34, values_q8_0},
    [TYPE_Q2_K] = {{4, 2, true, false, false}, "4-bit+min/16 x16 rows", factors_q2_k, values_q2_k},
    [TYPE_Q3_K] = {{4, 2, false, false, false}, "4-bit/16 x16 rows", factors_q3_k, values_q3_k},
    [TYPE_Q4_K] = {{4, 1, true, false, false}, "4-bit+min x16 rows", factors_q4_k, values_q4_k},
    [TYPE_Q5_K] = {{8, 1, true, false, false}, "8-bit+min x16 rows", factors_q5_k, values_q5_k},
    [TYPE_Q6_K] = {{8, 2, false, false, false}, "8-bit/16 x16 rows", factors_q6_k, values_q6_k},
    [TYPE_IQ4_NL] = {{4, 1, false, true, false}, "4-bit table x16 rows", factors_18, values_18},
    [TYPE_IQ4_XS] = {{4, 1, false, true, false},
                     "4-bit table x16 rows",
                     factors_iq4_xs,
                     values_iq4_xs},
};

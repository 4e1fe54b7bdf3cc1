/* What packing reads from a row of each type: values and factors (see pack_internal.h).
 *
 * Values leave as the strip's bytes, planes of bits (kernels.h): for most 4-bit types that is the
 * file's own order. Loops have fixed counts of 4 to 32, which the compiler turns into vectors on
 * every processor; intrinsics would gain little, since packing waits for memory and page faults. */
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

/* 32 columns of `bits` (2 .. 6) to planes. */
static inline void put_planes(const int bits, const uint8_t w[32], uint8_t *restrict out)
{
    int pos = 0;
    if (bits & 4) {
        for (size_t i = 0; i < 16; i++) {
            out[i] = (uint8_t)((w[i] & 15) | w[i + 16] << 4);
        }
        out += 16;
        pos = 4;
    }
    if (bits & 2) {
        for (size_t i = 0; i < 8; i++) {
            int a = w[i] >> pos & 3, b = w[i + 8] >> pos & 3;
            int c = w[i + 16] >> pos & 3, d = w[i + 24] >> pos & 3;
            out[i] = (uint8_t)(a | b << 2 | c << 4 | d << 6);
        }
        out += 8;
        pos += 2;
    }
    for (size_t i = 0; bits & 1 && i < 4; i++) {
        int byte = 0;
        for (size_t k = 0; k < 8; k++) {
            byte |= (w[i + 4 * k] >> pos & 1) << k;
        }
        out[i] = (uint8_t)byte;
    }
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
    uint8_t bytes[32], w[32];
    for (size_t i = 0; i < 4; i++) {
        fifth[i] = fifth_bits(high[i]);
    }
    memcpy(bytes, fifth, 32);
    for (size_t i = 0; i < 16; i++) {
        w[i] = (q[i] & 15) | bytes[i];
        w[i + 16] = (uint8_t)(q[i] >> 4 | bytes[i + 16]);
    }
    put_planes(5, w, out);
}

static void values_q5_0(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    for (size_t i = g; i < g + n; i++, out += 20) {
        five_bits(b + i * 22 + 2, b + i * 22 + 6, out);
    }
}

static void values_q5_1(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    for (size_t i = g; i < g + n; i++, out += 20) {
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

static void supers_q2_k(const uint8_t *b, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    b += k * 84;
    d[0] = load_u16(b + 80);
    d[1] = load_u16(b + 82) ^ 0x8000;
    for (size_t h = 0; h < 16; h++) {
        scale[h] = b[h] & 15;
        min[h] = b[h] >> 4;
    }
}

static void values_q2_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 84 + 16;
    for (size_t k = 0; k < n; k++, out += 8) {
        const uint8_t *q = b + k / 4 * 32;
        int shift = (int)(k % 4 * 2);
        uint8_t w[32];
        for (size_t i = 0; i < 32; i++) {
            w[i] = q[i] >> shift & 3;
        }
        put_planes(2, w, out);
    }
}

static void supers_q3_k(const uint8_t *b, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    (void)min;
    b += k * 110;
    d[0] = load_u16(b + 108);
    for (int h = 0; h < 16; h++) {
        scale[h] = (uint8_t)q3_k_scale(b + 96, h);
    }
}

static void values_q3_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 110;
    for (size_t k = 0; k < n; k++, out += 12) {
        const uint8_t *q = b + 32 + k / 4 * 32;
        int shift = (int)(k % 4 * 2), bit = (int)k;
        uint8_t w[32];
        for (size_t i = 0; i < 32; i++) {
            w[i] = (uint8_t)((q[i] >> shift & 3) | (b[i] >> bit & 1) << 2);
        }
        put_planes(3, w, out);
    }
}

/* The 8 scales and 8 mins of 6 bits in the 12 packed bytes of Q4_K and Q5_K, four at a time (one at
 * a time: k4_scale_min). */
static inline void supers_k4(const uint8_t *b, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    const uint32_t p = load_u32(b + 4), q = load_u32(b + 8), r = load_u32(b + 12);
    const uint32_t words[4] = {p & 0x3f3f3f3f, (r & 0x0f0f0f0f) | (p >> 2 & 0x30303030),
                               q & 0x3f3f3f3f, (r >> 4 & 0x0f0f0f0f) | (q >> 2 & 0x30303030)};
    d[0] = load_u16(b);
    d[1] = load_u16(b + 2) ^ 0x8000;
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            (i < 2 ? scale : min)[i % 2 * 4 + k] = (uint8_t)(words[i] >> (8 * k));
        }
    }
}

static void supers_q4_k(const uint8_t *b, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    supers_k4(b + k * 144, d, scale, min);
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

static void supers_q5_k(const uint8_t *b, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    supers_k4(b + k * 176, d, scale, min);
}

static void values_q5_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 176;
    for (size_t k = 0; k < n; k++, out += 20) {
        const uint8_t *q = b + 48 + k / 2 * 32, *high = b + 16;
        int shift = (int)(k % 2 * 4), bit = (int)k;
        uint8_t w[32];
        for (size_t i = 0; i < 32; i++) {
            w[i] = (uint8_t)((q[i] >> shift & 15) | (high[i] >> bit & 1) << 4);
        }
        put_planes(5, w, out);
    }
}

static void supers_q6_k(const uint8_t *b, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    (void)min;
    b += k * 210;
    d[0] = load_u16(b + 208);
    memcpy(scale, b + 192, 16);
}

static void values_q6_k(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    b += g / 8 * 210;
    for (size_t k = 0; k < n; k++, out += 24) {
        const uint8_t *low = b + k / 4 * 64 + k % 2 * 32, *high = b + 128 + k / 4 * 32;
        int shift = (int)(k % 4 / 2 * 4), high_shift = (int)(k % 4 * 2);
        uint8_t w[32];
        for (size_t i = 0; i < 32; i++) {
            w[i] = (uint8_t)((low[i] >> shift & 15) | (high[i] >> high_shift & 3) << 4);
        }
        put_planes(6, w, out);
    }
}

static void supers_iq4_xs(const uint8_t *b, size_t k, uint16_t d[2], uint8_t *scale, uint8_t *min)
{
    (void)min;
    b += k * 136;
    d[0] = load_u16(b);
    for (int i = 0; i < 8; i++) {
        scale[i] = (uint8_t)iq4_xs_scale(b, i);
    }
}

static void values_iq4_xs(const uint8_t *restrict b, size_t g, size_t n, uint8_t *restrict out)
{
    memcpy(out, b + g / 8 * 136 + 8, n * 16);
}

#define BLOCKS(b, h, m, t)                               \
    {                                                    \
        .bits = b, .halves = h, .has_min = m, .table = t \
    }
#define SUPERS(b, h, m, t)                                              \
    {                                                                   \
        .bits = b, .halves = h, .has_min = m, .table = t, .super = true \
    }
const struct packing packings[TYPE_COUNT] = {
    [TYPE_F32] = {BLOCKS(16, 1, false, false), "int16 x16 rows", NULL, NULL, NULL},
    [TYPE_F16] = {BLOCKS(16, 1, false, false), "int16 x16 rows", NULL, NULL, NULL},
    [TYPE_BF16] = {BLOCKS(16, 1, false, false), "int16 x16 rows", NULL, NULL, NULL},
    [TYPE_Q4_0] = {BLOCKS(4, 1, false, false), "4-bit x16 rows", factors_18, NULL, values_18},
    [TYPE_Q4_1] = {BLOCKS(4, 1, true, false), "4-bit+min x16 rows", factors_q4_1, NULL,
                   values_q4_1},
    [TYPE_Q5_0] = {BLOCKS(5, 1, false, false), "5-bit x16 rows", factors_22, NULL, values_q5_0},
    [TYPE_Q5_1] = {BLOCKS(5, 1, true, false), "5-bit+min x16 rows", factors_q5_1, NULL,
                   values_q5_1},
    [TYPE_Q8_0] = {BLOCKS(8, 1, false, false), "8-bit x16 rows", factors_34, NULL, values_q8_0},
    [TYPE_Q2_K] = {SUPERS(2, 2, true, false), "2-bit+min/16 x16 rows", NULL, supers_q2_k,
                   values_q2_k},
    [TYPE_Q3_K] = {SUPERS(3, 2, false, false), "3-bit/16 x16 rows", NULL, supers_q3_k, values_q3_k},
    [TYPE_Q4_K] = {SUPERS(4, 1, true, false), "4-bit+min x16 rows", NULL, supers_q4_k, values_q4_k},
    [TYPE_Q5_K] = {SUPERS(5, 1, true, false), "5-bit+min x16 rows", NULL, supers_q5_k, values_q5_k},
    [TYPE_Q6_K] = {SUPERS(6, 2, false, false), "6-bit/16 x16 rows", NULL, supers_q6_k, values_q6_k},
    [TYPE_IQ4_NL] = {BLOCKS(4, 1, false, true), "4-bit table x16 rows", factors_18, NULL,
                     values_18},
    [TYPE_IQ4_XS] = {SUPERS(4, 1, false, true), "4-bit table x16 rows", NULL, supers_iq4_xs,
                     values_iq4_xs},
};

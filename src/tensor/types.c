/* Tensor types: see types.h. The table, the half-precision conversions, the formats of 32-value
 * blocks; the 256-value super-blocks are in types_k.c.
 *
 * Arithmetic follows the specification's order of operations without fused multiply-add, so that
 * the floats equal those of other exact readers bit for bit. Blocks are read through bytes: a file
 * may place them at any alignment. */
#include "tensor/types_internal.h"

#include <math.h>
#include <string.h>
#include <strings.h>

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 31;
    uint32_t mantissa = h & 1023;
    uint32_t bits;
    if (exponent == 31) { /* infinity or NaN; a NaN comes out quiet, as from vcvtph2ps */
        bits = sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0);
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else { /* subnormal: mantissa * 2^-24 is exact in a float */
        float f = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

uint16_t f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
    }
    if (bits >= 0x477ff000) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    }
    if (bits < 0x38800000) { /* below 2^-14: let the float adder round to multiples of 2^-24 */
        float magnitude;
        memcpy(&magnitude, &bits, 4);
        magnitude += 0.5f;
        uint32_t rounded;
        memcpy(&rounded, &magnitude, 4);
        return (uint16_t)(sign | (rounded - 0x3f000000));
    }
    uint32_t odd = bits >> 13 & 1;
    return (uint16_t)(sign | ((bits + 0xfff + odd - 0x38000000) >> 13));
}

float bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

uint16_t f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 64); /* a NaN stays a NaN, quiet */
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void f32_to_float(const void *src, float *dst, size_t n)
{
    memcpy(dst, src, n * 4);
}

static void f32_from_float(const float *src, void *dst, size_t n)
{
    memcpy(dst, src, n * 4);
}

static void f16_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++) {
        dst[i] = load_f16(p + 2 * i);
    }
}

static void f16_from_float(const float *src, void *dst, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++) {
        store_u16(p + 2 * i, f32_to_f16(src[i]));
    }
}

static void bf16_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++) {
        dst[i] = bf16_to_f32(load_u16(p + 2 * i));
    }
}

static void bf16_from_float(const float *src, void *dst, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++) {
        store_u16(p + 2 * i, f32_to_bf16(src[i]));
    }
}

/* Blocks of 32 values: low nibbles are values 0-15, high nibbles values 16-31. */

/* {f16 d; u8 q[16]}: d * (q - 8) */
static void q4_0_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 32, b += 18, dst += 32) {
        float d = load_f16(b);
        for (int i = 0; i < 16; i++) {
            dst[i] = (float)((b[2 + i] & 15) - 8) * d;
            dst[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
        }
    }
}

/* {f16 d, m; u8 q[16]}: d * q + m */
static void q4_1_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 32, b += 20, dst += 32) {
        float d = load_f16(b), m = load_f16(b + 2);
        for (int i = 0; i < 16; i++) {
            dst[i] = (float)(b[4 + i] & 15) * d + m;
            dst[i + 16] = (float)(b[4 + i] >> 4) * d + m;
        }
    }
}

/* {f16 d; u32 high; u8 q[16]}: d * (q + 16 high - 16); bit i of `high` belongs to value i */
static void q5_0_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 32, b += 22, dst += 32) {
        float d = load_f16(b);
        uint32_t high = load_u32(b + 2);
        for (int i = 0; i < 16; i++) {
            int low = (b[6 + i] & 15) | (int)(high >> i & 1) << 4;
            int up = b[6 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
            dst[i] = (float)(low - 16) * d;
            dst[i + 16] = (float)(up - 16) * d;
        }
    }
}

/* {f16 d, m; u32 high; u8 q[16]}: d * (q + 16 high) + m */
static void q5_1_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 32, b += 24, dst += 32) {
        float d = load_f16(b), m = load_f16(b + 2);
        uint32_t high = load_u32(b + 4);
        for (int i = 0; i < 16; i++) {
            int low = (b[8 + i] & 15) | (int)(high >> i & 1) << 4;
            int up = b[8 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
            dst[i] = (float)low * d + m;
            dst[i + 16] = (float)up * d + m;
        }
    }
}

/* {f16 d; s8 q[32]}: d * q */
static void q8_0_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 32, b += 34, dst += 32) {
        float d = load_f16(b);
        for (int i = 0; i < 32; i++) {
            dst[i] = (float)(int8_t)b[2 + i] * d;
        }
    }
}

/* {f16 d; u8 q[16]}: d * iq4_values[q] */
static void iq4_nl_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 32, b += 18, dst += 32) {
        float d = load_f16(b);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)iq4_values[b[2 + i] & 15];
            dst[i + 16] = d * (float)iq4_values[b[2 + i] >> 4];
        }
    }
}

/* The value of largest magnitude maps to -8, so that one more level is used than with 7. */
static void q4_0_from_float(const float *src, void *dst, size_t n)
{
    uint8_t *b = dst;
    for (; n; n -= 32, b += 18, src += 32) {
        float peak = 0;
        for (int i = 0; i < 32; i++) {
            peak = fabsf(src[i]) > fabsf(peak) ? src[i] : peak;
        }
        float d = peak / -8;
        float inverse = d != 0 ? 1 / d : 0;
        store_u16(b, f32_to_f16(d));
        for (int i = 0; i < 16; i++) {
            int low = (int)(src[i] * inverse + 8.5f), up = (int)(src[i + 16] * inverse + 8.5f);
            b[2 + i] = (uint8_t)((low < 15 ? low : 15) | (up < 15 ? up : 15) << 4);
        }
    }
}

static void q4_1_from_float(const float *src, void *dst, size_t n)
{
    uint8_t *b = dst;
    for (; n; n -= 32, b += 20, src += 32) {
        float low = src[0], high = src[0];
        for (int i = 1; i < 32; i++) {
            low = src[i] < low ? src[i] : low;
            high = src[i] > high ? src[i] : high;
        }
        float d = (high - low) / 15;
        float inverse = d != 0 ? 1 / d : 0;
        store_u16(b, f32_to_f16(d));
        store_u16(b + 2, f32_to_f16(low));
        for (int i = 0; i < 16; i++) {
            int q0 = (int)((src[i] - low) * inverse + 0.5f);
            int q1 = (int)((src[i + 16] - low) * inverse + 0.5f);
            b[4 + i] = (uint8_t)((q0 < 15 ? q0 : 15) | (q1 < 15 ? q1 : 15) << 4);
        }
    }
}

static void q8_0_from_float(const float *src, void *dst, size_t n)
{
    uint8_t *b = dst;
    for (; n; n -= 32, b += 34, src += 32) {
        float peak = 0;
        for (int i = 0; i < 32; i++) {
            peak = fmaxf(peak, fabsf(src[i]));
        }
        float d = peak / 127;
        float inverse = d != 0 ? 1 / d : 0;
        store_u16(b, f32_to_f16(d));
        for (int i = 0; i < 32; i++) {
            b[2 + i] = (uint8_t)(int8_t)roundf(src[i] * inverse);
        }
    }
}

static const struct type_info types[TYPE_COUNT] = {
    [TYPE_F32] = {"F32", 1, 4, f32_to_float, f32_from_float},
    [TYPE_F16] = {"F16", 1, 2, f16_to_float, f16_from_float},
    [TYPE_BF16] = {"BF16", 1, 2, bf16_to_float, bf16_from_float},
    [TYPE_Q4_0] = {"Q4_0", 32, 18, q4_0_to_float, q4_0_from_float},
    [TYPE_Q4_1] = {"Q4_1", 32, 20, q4_1_to_float, q4_1_from_float},
    [TYPE_Q5_0] = {"Q5_0", 32, 22, q5_0_to_float, NULL},
    [TYPE_Q5_1] = {"Q5_1", 32, 24, q5_1_to_float, NULL},
    [TYPE_Q8_0] = {"Q8_0", 32, 34, q8_0_to_float, q8_0_from_float},
    [TYPE_Q2_K] = {"Q2_K", 256, 84, q2_k_to_float, NULL},
    [TYPE_Q3_K] = {"Q3_K", 256, 110, q3_k_to_float, NULL},
    [TYPE_Q4_K] = {"Q4_K", 256, 144, q4_k_to_float, NULL},
    [TYPE_Q5_K] = {"Q5_K", 256, 176, q5_k_to_float, NULL},
    [TYPE_Q6_K] = {"Q6_K", 256, 210, q6_k_to_float, NULL},
    [TYPE_IQ4_NL] = {"IQ4_NL", 32, 18, iq4_nl_to_float, NULL},
    [TYPE_IQ4_XS] = {"IQ4_XS", 256, 136, iq4_xs_to_float, NULL},
};

const struct type_info *type_info(enum tensor_type type)
{
    return (unsigned)type < TYPE_COUNT && types[type].name ? &types[type] : NULL;
}

bool type_by_name(const char *name, enum tensor_type *out)
{
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        if (types[i].name && strcasecmp(types[i].name, name) == 0) {
            *out = (enum tensor_type)i;
            return true;
        }
    }
    return false;
}

bool type_bytes(enum tensor_type type, uint64_t n, size_t *out)
{
    const struct type_info *info = type_info(type);
    if (!info || n % info->block_elems || n / info->block_elems > SIZE_MAX) {
        return false;
    }
    return size_mul((size_t)(n / info->block_elems), info->block_bytes, out);
}

size_t tensor_rows(const struct tensor *t)
{
    return (size_t)t->ne[1] * (size_t)t->ne[2] * (size_t)t->ne[3];
}

size_t tensor_row_bytes(const struct tensor *t)
{
    const struct type_info *info = type_info(t->type);
    return (size_t)t->ne[0] / info->block_elems * info->block_bytes;
}

size_t tensor_bytes(const struct tensor *t)
{
    return tensor_rows(t) * tensor_row_bytes(t);
}

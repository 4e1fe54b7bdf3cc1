/* Super-blocks of 256 values: K-quants and IQ4_XS. A super-block has one or two f16 factors and
 * small integer scales for groups of 16 or 32 values; group g covers values 16g.. or 32g.. in
 * order. */
#include "tensor/types_internal.h"

const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

void k4_scale_min(const uint8_t *packed, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = packed[j] & 63;
        *min = packed[j + 4] & 63;
    } else {
        *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
        *min = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
    }
}

int q3_k_scale(const uint8_t *packed, int j)
{
    int low = packed[j % 8] >> (j / 8 * 4) & 15;
    int high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
    return (low | high << 4) - 32;
}

int iq4_xs_scale(const uint8_t *block, int j)
{
    int low = block[4 + j / 2] >> (j % 2 * 4) & 15;
    int high = load_u16(block + 2) >> (j * 2) & 3;
    return (low | high << 4) - 32;
}

/* {u8 scales[16]; u8 q[64]; f16 d, dmin}: d * (scale & 15) * q - dmin * (scale >> 4), groups of 16.
 * Group g of half h = g / 8: bits 2 * (g % 8 / 2) of q[32 h + 16 (g % 2) ..]. */
void q2_k_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 256, b += 84) {
        float d = load_f16(b + 80), dmin = load_f16(b + 82);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)(b[g] & 15), min = dmin * (float)(b[g] >> 4);
            const uint8_t *q = b + 16 + g / 8 * 32 + g % 2 * 16;
            for (int i = 0; i < 16; i++) {
                *dst++ = scale * (float)(q[i] >> (g % 8 / 2 * 2) & 3) - min;
            }
        }
    }
}

/* {u8 high[32]; u8 q[64]; u8 scales[12]; f16 d}: d * scale * (q + 4 high - 4), groups of 16, q as
 * in Q2_K; bit g / 2 of high[16 (g % 2) ..]. */
void q3_k_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 256, b += 110) {
        float d = load_f16(b + 108);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)q3_k_scale(b + 96, g);
            const uint8_t *q = b + 32 + g / 8 * 32 + g % 2 * 16;
            const uint8_t *high = b + g % 2 * 16;
            for (int i = 0; i < 16; i++) {
                int v = (q[i] >> (g % 8 / 2 * 2) & 3) + (high[i] >> (g / 2) & 1) * 4 - 4;
                *dst++ = scale * (float)v;
            }
        }
    }
}

/* {f16 d, dmin; u8 scales[12]; u8 q[128]}: d * scale * q - dmin * min, groups of 32: group g has
 * the low (g even) or high nibbles of q[32 (g / 2) ..]. */
void q4_k_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 256, b += 144) {
        float d = load_f16(b), dmin = load_f16(b + 2);
        for (int g = 0; g < 8; g++) {
            int s, m;
            k4_scale_min(b + 4, g, &s, &m);
            float scale = d * (float)s, min = dmin * (float)m;
            const uint8_t *q = b + 16 + g / 2 * 32;
            for (int i = 0; i < 32; i++) {
                *dst++ = scale * (float)(q[i] >> (g % 2 * 4) & 15) - min;
            }
        }
    }
}

/* {f16 d, dmin; u8 scales[12]; u8 high[32]; u8 q[128]}: as Q4_K with a fifth bit, bit g of high. */
void q5_k_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 256, b += 176) {
        float d = load_f16(b), dmin = load_f16(b + 2);
        for (int g = 0; g < 8; g++) {
            int s, m;
            k4_scale_min(b + 4, g, &s, &m);
            float scale = d * (float)s, min = dmin * (float)m;
            const uint8_t *q = b + 48 + g / 2 * 32, *high = b + 16;
            for (int i = 0; i < 32; i++) {
                int v = (q[i] >> (g % 2 * 4) & 15) | (high[i] >> g & 1) << 4;
                *dst++ = scale * (float)v - min;
            }
        }
    }
}

/* {u8 low[128]; u8 high[64]; s8 scales[16]; f16 d}: d * scale * (q - 32), groups of 16. Of each
 * half of 128 values, quarter k (32 values) has nibble k / 2 of low[32 (k % 2) ..] and bits 2k of
 * high. */
void q6_k_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 256, b += 210) {
        float d = load_f16(b + 208);
        for (int i = 0; i < 256; i++) {
            int half = i / 128, k = i % 128 / 32, c = i % 32;
            int low = b[half * 64 + k % 2 * 32 + c] >> (k / 2 * 4) & 15;
            int high = b[128 + half * 32 + c] >> (k * 2) & 3;
            float scale = d * (float)(int8_t)b[192 + i / 16];
            *dst++ = scale * (float)((low | high << 4) - 32);
        }
    }
}

/* {f16 d; u16 scales_high; u8 scales_low[4]; u8 q[128]}: d * scale * iq4_values[q], groups of 32,
 * nibbles as in IQ4_NL. */
void iq4_xs_to_float(const void *src, float *dst, size_t n)
{
    const uint8_t *b = src;
    for (; n; n -= 256, b += 136, dst += 256) {
        float d = load_f16(b);
        for (int g = 0; g < 8; g++) {
            float scale = d * (float)iq4_xs_scale(b, g);
            const uint8_t *q = b + 8 + g * 16;
            for (int i = 0; i < 16; i++) {
                dst[g * 32 + i] = scale * (float)iq4_values[q[i] & 15];
                dst[g * 32 + i + 16] = scale * (float)iq4_values[q[i] >> 4];
            }
        }
    }
}

/* How packed strips are read in 256-bit registers: what kernels_mul_avx2.c and
 * kernels_mul_avxvnni.c share. They define before including it:
 *   WIDE_OFFSET  what values of 8 bits and levels of IQ4 are read with above v: 128, or 0 (signed)
 *   WIDE_BYTES   kernels.wide_bytes: those are ready in 8 bits or, as v, in 16
 *   READY_OWN    `unpack` leaves values of up to 6 bits as the file has them, not as v + 128
 * A register holds 8 rows of 4 columns. Layouts and the definition are in kernels.h. */
#ifndef HEARTH_TENSOR_KERNELS_PACKED_256_H
#define HEARTH_TENSOR_KERNELS_PACKED_256_H

#include "tensor/pack.h"
#include "tensor/types_internal.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i broadcast(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

INLINE __m256 load_f16x8(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE __m256i load_256(const uint8_t *p)
{
    return _mm256_load_si256((const __m256i *)(const void *)p);
}

/* A packed strip as it is read, or one made ready for mul8: constants of an instance. */
struct packed {
    int bits, halves;
    bool has_min, table, super, ready;
};

INLINE bool is_wide(const struct packed f)
{
    return f.bits == 8 || f.table;
}

/* Quad k (0 .. 7) of a group for rows 8 side .. 8 side + 7,. */
INLINE __m256i load_quad(const struct packed f, const uint8_t *group, const int k, int side)
{
    const uint8_t *plane = group + side * 32;
    if (f.bits == 8 || f.ready) {
        __m256i v = load_256(plane + k * 64);
        return WIDE_OFFSET != 0 || f.bits < 8 ? v : _mm256_xor_si256(v, _mm256_set1_epi8(-128));
    }
    __m256i w = _mm256_setzero_si256();
    int pos = 0;
#pragma GCC unroll 3
    for (int p = 4; p; p /= 2) {
        if (f.bits & p) {
            const int left = pos - k / p * p;
            __m256i v = load_256(plane + k % p * 64);
            v = left > 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left);
            v = _mm256_and_si256(v, _mm256_set1_epi8((char)(((1 << p) - 1) << pos)));
            w = pos ? _mm256_or_si256(w, v) : v;
            plane += p * 64;
            pos += p;
        }
    }
    if (f.table) {
        __m128i levels = _mm_loadu_si128((const __m128i *)(const void *)iq4_values);
        if (WIDE_OFFSET == 128) {
            levels = _mm_xor_si128(levels, _mm_set1_epi8(-128));
        }
        w = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), w);
    }
    return w;
}

/* Factor i of a group, rows 8 side .. 8 side + 7; units: of the super-block. */
INLINE __m256 load_factor(const struct packed f, const uint8_t *factors, int i, int side,
                          const uint8_t *units)
{
    const int at = i * STRIP_ROWS + 8 * side;
    if (f.ready) {
        return _mm256_castsi256_ps(load_256(factors + 4 * at));
    }
    if (!f.super) {
        return load_f16x8(factors + 2 * at);
    }
    __m256i ints =
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(factors + at)));
    __m256 unit = load_f16x8(units + (i < f.halves ? 0 : 2 * STRIP_ROWS) + 16 * side);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(ints), unit);
}

INLINE size_t unit_bytes(const struct packed f)
{
    return f.super && !f.ready ? (size_t)(f.has_min ? 4 : 2) * STRIP_ROWS : 0;
}

INLINE size_t group_factor_bytes(const struct packed f)
{
    const int each = f.ready ? 4 : f.super ? 1 : 2;
    return (size_t)(f.halves * (f.has_min ? 2 : 1) * each * STRIP_ROWS);
}

/* Values of 16 rows' quad as int16, pairs of columns of all rows. */
INLINE void put_words(const struct packed f, const uint8_t *group, const int k, uint8_t *to)
{
#pragma GCC unroll 2
    for (int side = 0; side < 2; side++, to += 32) {
        const __m256i quad = load_quad(f, group, k, side);
        __m256 a = _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(quad)));
        __m256 b = _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(quad, 1)));
        __m256d low = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
        __m256d high = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
        _mm256_store_pd((double *)(void *)to, _mm256_permute4x64_pd(low, 0xd8));
        _mm256_store_pd((double *)(void *)(to + 64), _mm256_permute4x64_pd(high, 0xd8));
    }
}

/* Groups of a strip for mul8. */
INLINE void unpack_strip(const struct packed f, const struct strip *w, size_t groups,
                         uint8_t *values, float *factors)
{
    const uint8_t *v = w->values, *packed = w->factors, *units = packed;
    const int own = f.super && f.has_min ? 0 : 1 << (f.bits - 1);
    const int offset = f.table ? 128 - WIDE_OFFSET : READY_OWN ? 0 : 128 - own;
    const __m256i bias = _mm256_set1_epi8((char)offset);
    const bool words = WIDE_BYTES == 2 && is_wide(f);
    const int quads = f.bits < 8 && !words ? 16 : 0, n = f.halves * (f.has_min ? 2 : 1);
    for (size_t g = 0; g < groups; g++, v += f.bits * 64) {
        if (g % SUPER_GROUPS == 0) {
            units = packed;
            packed += unit_bytes(f);
        }
#pragma GCC unroll 8
        for (int k = 0; words && k < 8; k++, values += 128) {
            put_words(f, v, k, values);
        }
#pragma GCC unroll 16
        for (int i = 0; i < quads; i++, values += 32) {
            __m256i quad = load_quad(f, v, i / 2, i % 2);
            quad = offset ? _mm256_add_epi8(quad, bias) : quad;
            _mm256_store_si256((__m256i *)(void *)values, quad);
        }
#pragma GCC unroll 4
        for (int i = 0; i < n; i++, factors += STRIP_ROWS) {
            _mm256_store_ps(factors, load_factor(f, packed, i, 0, units));
            _mm256_store_ps(factors + 8, load_factor(f, packed, i, 1, units));
        }
        packed += group_factor_bytes(f);
    }
}

#endif

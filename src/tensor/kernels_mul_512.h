/* How packed strips are read in 512-bit registers: what the products of few tokens and unpacking
 * for many share. Layouts and the definition are in kernels.h. */
#ifndef HEARTH_TENSOR_KERNELS_MUL_512_H
#define HEARTH_TENSOR_KERNELS_MUL_512_H

#include "tensor/pack.h"
#include "tensor/types_internal.h"

#include <immintrin.h>
#include <string.h>

#ifdef __clang__ /* shifts take an unsigned count there, an int with gcc */
#pragma clang diagnostic ignored "-Wsign-conversion"
#endif

/* In assembly, so that it stays where it is written: see kernels_mul_avx512.c. */
#define DPBUSD(acc, w, x) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x))

#define INLINE static inline __attribute__((always_inline))

INLINE __m512i broadcast(const void *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

INLINE __m512 load_f16x16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* fl(dot * xs) of an accumulator that started at ACC_BIAS. */
INLINE __m512 unbias(__m512i acc, float xs, float bias_xs)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(acc), _mm512_set1_ps(xs), _mm512_set1_ps(bias_xs));
}

/* A packed strip as it is read: constants of an instance. */
struct packed {
    int bits, halves;
    bool has_min, table, super;
};

/* Columns 4k .. 4k + 3 of 16 rows from the planes of a group: w, or levels + 128. */
INLINE __m512i load_quad(const struct packed f, const uint8_t *plane, const int k)
{
    if (f.bits == 8) {
        return _mm512_load_si512(plane + k * 64);
    }
    __m512i w = _mm512_setzero_si512();
    int pos = 0;
    if (f.bits & 4) {
        __m512i p = _mm512_load_si512(plane + k % 4 * 64);
        w = _mm512_and_si512(k < 4 ? p : _mm512_srli_epi16(p, 4), _mm512_set1_epi8(15));
        plane += 256;
        pos = 4;
    }
    if (f.bits & 2) {
        const int left = pos - k / 2 * 2;
        __m512i p = _mm512_load_si512(plane + k % 2 * 64);
        p = left > 0 ? _mm512_slli_epi16(p, left) : left < 0 ? _mm512_srli_epi16(p, -left) : p;
        w = _mm512_ternarylogic_epi32(w, p, _mm512_set1_epi8((char)(3 << pos)), 0xf8);
        plane += 128;
        pos += 2;
    }
    if (f.bits & 1) {
        const int left = pos - k;
        __m512i p = _mm512_load_si512(plane);
        p = left > 0 ? _mm512_slli_epi16(p, left) : left < 0 ? _mm512_srli_epi16(p, -left) : p;
        w = _mm512_ternarylogic_epi32(w, p, _mm512_set1_epi8((char)(1 << pos)), 0xf8);
    }
    if (f.table) {
        const __m512i levels = _mm512_broadcast_i32x4(_mm_xor_si128(
            _mm_loadu_si128((const __m128i *)(const void *)iq4_values), _mm_set1_epi8(-128)));
        w = _mm512_shuffle_epi8(levels, w);
    }
    return w;
}

/* Factor i of a group; unit is the super-block's. */
INLINE __m512 load_factor(const struct packed f, const uint8_t *factors, const int i,
                          const __m512 unit)
{
    if (!f.super) {
        return load_f16x16(factors + i * 2 * STRIP_ROWS);
    }
    __m128i ints = _mm_loadu_si128((const __m128i *)(const void *)(factors + i * STRIP_ROWS));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(ints)), unit);
}

/* Steps over the factors of a super-block at its start. */
INLINE const uint8_t *super_units(const struct packed f, const uint8_t *factors, size_t g,
                                  __m512 *unit, __m512 *min_unit)
{
    if (!f.super || g % SUPER_GROUPS) {
        return factors;
    }
    *unit = load_f16x16(factors);
    *min_unit = f.has_min ? load_f16x16(factors + 2 * STRIP_ROWS) : *unit;
    return factors + (f.has_min ? 4 : 2) * STRIP_ROWS;
}

INLINE size_t group_factor_bytes(const struct packed f)
{
    return (size_t)(f.halves * (f.has_min ? 2 : 1) * (f.super ? 1 : 2) * STRIP_ROWS);
}

#endif

/* Products of packed integers with AVX2.
 *
 * vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, and saturates. Weights
 * of up to 6 bits are small enough that several such sums can be added up in 16 bits before
 * vpmaddwd brings them to 32 (quads_in_16): with 4 bits 8 + 7 + 1 + 1 operations for 256 products
 * and 2 or 3 to scale them, 19 or 20 where one vpmaddwd and vpaddd for each takes 26 or 27. Three
 * ports do a third of that in cycles at best, 6.3 and 6.7; Golden Cove does the bare sequence in
 * 6.7 and 7.1, and a tile takes 7.3 and 8.0. Weights have to be in their own range 0 .. 2^bits - 1
 * for it; what that is above v is taken off where an accumulator starts.
 *
 * Wider values (8 bits, levels of IQ4) are multiplied as int16 by widened activations: 16 vpmaddwd
 * and vpaddd. Rejected: two products of nibbles each (36 operations for 34); for many tokens also
 * magnitudes with the sign moved to the activation (at most 128: 2 * 128 * 127 < 2^15; 38, 28 of
 * them on two ports), which is what a few tokens take, since it needs no unpacking. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

enum { WIDE_OFFSET = 0, WIDE_BYTES = 2, READY_OWN = true, TILE_TOKENS = 4 };
#include "tensor/kernels_packed_256.h"

#define DOT_WORDS(acc, w, x) (acc) = _mm256_add_epi32(acc, _mm256_madd_epi16(w, x))

/* Quads of columns whose products add up in 16 bits: of weights below 2^n, with activations of at
 * most 127, the sum of 2 * quads products is at most 8 * 2 * 15 * 127, 4 * 2 * 31 * 127 and 2 * 2 *
 * 63 * 127, all below 2^15. */
INLINE int quads_in_16(const struct packed f)
{
    return is_wide(f) ? 1 : f.bits <= 4 ? 8 : f.bits == 5 ? 4 : 2;
}

/* Lines of assembly, so that they stay where they are written: gcc 12 regroups sums of intrinsics
 * and then spills them. y = w . x in pairs; y += x in 16 bits; y = pairs of x; y += x in 32 bits.
 */
#define DOT_PAIRS(y, w, x) __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(y) : "x"(w), "x"(x))
#define ADD_16(y, x) __asm__ volatile("vpaddw %1, %0, %0" : "+x"(y) : "x"(x))
#define ADD_PAIRS(y, x, ones) __asm__ volatile("vpmaddwd %2, %1, %0" : "=x"(y) : "x"(x), "x"(ones))
#define ADD_32(y, x) __asm__ volatile("vpaddd %1, %0, %0" : "+x"(y) : "x"(x))
#define LOAD_EACH(v, p) \
    __asm__ volatile("vpbroadcastd %1, %0" : "=x"(v) : "m"(*(const int32_t *)(const void *)(p)))

/* The products of a token and one side's quad, in 16 bits. */
INLINE __m256i dot_pairs(const struct packed f, __m256i w, __m256i magnitude, __m256i x)
{
    __m256i y;
    if (is_wide(f)) {
        DOT_PAIRS(y, magnitude, _mm256_sign_epi8(x, w));
    } else {
        DOT_PAIRS(y, w, x);
    }
    return y;
}

/* The same of a group of wide values, which are ready in 16 bits: no sum of two products can
 * overflow 32, and the next instruction adds them. */
INLINE void word_dots(const int NT, const uint8_t *values, const int8_t *q, size_t stride,
                      const int32_t *init, __m256i dots[2][TILE_TOKENS])
{
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
        LOAD_EACH(dots[0][t], init + t);
        dots[1][t] = dots[0][t];
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++, values += 64) {
        const __m256i w[2] = {load_256(values), load_256(values + 32)};
#pragma GCC unroll 4
        for (int t = 0; t < NT; t++) {
            __m256i x;
            LOAD_EACH(x, q + (size_t)(i / 2) * stride + 8 * t + i % 2 * 4);
#pragma GCC unroll 2
            for (int side = 0; side < 2; side++) {
                __m256i two;
                ADD_PAIRS(two, w[side], x);
                ADD_32(dots[side][t], two);
            }
        }
    }
}

/* Dot products of a group from quad k0 on, or of a half: dots[side][token], from their starts.
 * Quads of x are `stride` bytes apart. */
INLINE void half_dots(const int NT, const struct packed f, const uint8_t *values, const int k0,
                      const int8_t *q, size_t stride, const int32_t *init,
                      __m256i dots[2][TILE_TOKENS])
{
    if (f.ready && is_wide(f)) {
        word_dots(NT, values, q, stride, init, dots);
        return;
    }
    const int quads = 8 / f.halves, most = quads_in_16(f), span = most < quads ? most : quads;
    const __m256i ones = _mm256_set1_epi16(1);
    q += (size_t)k0 * stride;
#pragma GCC unroll 8
    for (int k = k0; k < k0 + quads; k += span) {
        __m256i sums[2][TILE_TOKENS];
#pragma GCC unroll 8
        for (int i = 0; i < span; i++, q += stride) {
            const __m256i w[2] = {load_quad(f, values, k + i, 0), load_quad(f, values, k + i, 1)};
            const __m256i abs[2] = {_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])};
#pragma GCC unroll 4
            for (int t = 0; t < NT; t++) {
                __m256i x;
                LOAD_EACH(x, q + 4 * t);
#pragma GCC unroll 2
                for (int side = 0; side < 2; side++) {
                    const __m256i two = dot_pairs(f, w[side], abs[side], x);
                    if (i) {
                        ADD_16(sums[side][t], two);
                    } else {
                        sums[side][t] = two;
                    }
                }
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < NT; t++) {
            __m256i start;
            LOAD_EACH(start, init + t);
#pragma GCC unroll 2
            for (int side = 0; side < 2; side++) {
                __m256i four;
                ADD_PAIRS(four, sums[side][t], ones);
                dots[side][t] = k == k0 ? start : dots[side][t];
                ADD_32(dots[side][t], four);
            }
        }
    }
}

/* Values of up to 6 bits are ready as they are. */
INLINE int ready_bits(const struct packed f)
{
    return is_wide(f) ? 8 : f.bits;
}
#define EACH_READY(X)    \
    X(2, 2, 2, true)     \
    X(3, 3, 2, false)    \
    X(4, 4, 1, false)    \
    X(4_min, 4, 1, true) \
    X(5, 5, 1, false)    \
    X(5_min, 5, 1, true) \
    X(6, 6, 2, false)    \
    X(8, 8, 1, false)

#include "tensor/kernels_mul_256.h"

/* Eight rows of a tile's line. */
INLINE __m256 line_of(const float *tile, size_t r, bool pairs)
{
    __m256 v = _mm256_load_ps(tile + r);
    return pairs ? _mm256_add_ps(v, _mm256_load_ps(tile + 32 + r)) : v;
}

static void put(const float *tile, int n, unsigned how, const float *unit, size_t width, float *y,
                size_t ldy)
{
    const bool pairs = how & PUT_PAIRS, adds = how & PUT_ADD;
    const size_t step = pairs ? 64 : 32;
    for (int i = 0; i < n; i++, tile += step, y += ldy) {
        size_t r = 0;
        for (; r + 8 <= width; r += 8) {
            __m256 v = _mm256_mul_ps(line_of(tile, r, pairs), _mm256_loadu_ps(unit + r));
            v = adds ? _mm256_add_ps(_mm256_loadu_ps(y + r), v) : v;
            _mm256_storeu_ps(y + r, v);
        }
        for (; r < width; r++) {
            float v = (pairs ? tile[r] + tile[32 + r] : tile[r]) * unit[r];
            y[r] = adds ? y[r] + v : v;
        }
    }
}

void kernels_fill_avx2_mul(struct kernels *k)
{
    k->mul_few = mul_few;
    k->mul8 = mul8;
    k->mul16 = mul16;
    k->unpack = unpack;
    k->wide_bytes = WIDE_BYTES;
    k->put = put;
}
#endif

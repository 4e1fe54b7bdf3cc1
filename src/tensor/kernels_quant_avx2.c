/* Activations to integers with AVX2: see kernels.h for panels and the definition.
 *
 * Eight groups are taken side by side, those of eight tokens of a panel or eight of one token, and
 * a tree of shuffles leaves the peak of each in a lane of its own: scales, and for a panel what it
 * keeps of sums, are computed for all at once, and a panel's bytes are transposed in registers and
 * stored 32 at a time. A token at a time, a byte at a time took an eighth of a prompt. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"
#include "tensor/pack.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { SIDE = 8 };
_Static_assert((int)PANEL_TOKENS == (int)SIDE, "a token in each lane");

INLINE __m256i magnitude(const float *x)
{
    return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7fffffff));
}

/* The larger of what stands in both halves of a and of b, and so on for halves of those. */
INLINE __m256i fold_halves(__m256i a, __m256i b)
{
    return _mm256_max_epu32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

INLINE __m256i fold_quarters(__m256i a, __m256i b)
{
    return _mm256_max_epu32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

INLINE __m256i fold_pairs(__m256i a, __m256i b)
{
    __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    __m256i most = _mm256_max_epu32(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
                                    _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
    return _mm256_shuffle_epi32(most, 0xd8);
}

/* Lane i: the largest magnitude, as bits, of the 32 values at rows[i]. */
INLINE __m256i peaks_of(const float *const rows[SIDE])
{
    __m256i m[SIDE];
#pragma GCC unroll 8
    for (int i = 0; i < SIDE; i++) {
        __m256i a = _mm256_max_epu32(magnitude(rows[i]), magnitude(rows[i] + 8));
        m[i] =
            _mm256_max_epu32(a, _mm256_max_epu32(magnitude(rows[i] + 16), magnitude(rows[i] + 24)));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        m[i] = fold_halves(m[i], m[i + 4]);
    }
    return fold_pairs(fold_quarters(m[0], m[2]), fold_quarters(m[1], m[3]));
}

/* quant_scale(peak, 127) of 8 groups, and what they are multiplied by: 0 where nothing is kept.
 * Returns whether all keep something. */
INLINE bool scales_of(__m256i bits, __m256 *scales, __m256 *inverses)
{
    const __m256i three = _mm256_set1_epi32(3);
    const __m256 peak = _mm256_castsi256_ps(bits);
    const __m256 some = _mm256_cmp_ps(peak, _mm256_set1_ps(1e-25f), _CMP_NLT_UQ);
    const __m256 wild =
        _mm256_castsi256_ps(_mm256_cmpgt_epi32(bits, _mm256_set1_epi32(0x7149f2ca)));
    const __m256 kept = _mm256_andnot_ps(wild, some);
    __m256i scale = _mm256_castps_si256(_mm256_div_ps(peak, _mm256_set1_ps(127)));
    __m256 rounded =
        _mm256_castsi256_ps(_mm256_andnot_si256(three, _mm256_add_epi32(scale, three)));
    *scales = _mm256_blendv_ps(_mm256_and_ps(some, rounded), _mm256_set1_ps(NAN), wild);
    *inverses = _mm256_and_ps(kept, _mm256_div_ps(_mm256_set1_ps(1), *scales));
    return _mm256_movemask_ps(kept) == 0xff;
}

INLINE __m256i rounded(const float *x, __m256 inverse)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

/* Bytes of 32 values: quads 0, 2, 4, 6, 1, 3, 5, 7. What is no number becomes anything. */
INLINE __m256i bytes_of(const float *x, float inverse)
{
    const __m256 each = _mm256_set1_ps(inverse);
    __m256i low = _mm256_packs_epi32(rounded(x, each), rounded(x + 8, each));
    __m256i high = _mm256_packs_epi32(rounded(x + 16, each), rounded(x + 24, each));
    return _mm256_packs_epi16(low, high);
}

/* Sums of the four signed bytes in each lane. */
INLINE __m256i sum_quads(__m256i bytes)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes),
                             _mm256_set1_epi16(1));
}

/* The last group of a row, zeros past its end. */
INLINE const float *padded(const float *x, size_t left, float room[GROUP])
{
    if (left >= GROUP) {
        return x;
    }
    memset(room, 0, GROUP * sizeof *room);
    memcpy(room, x, left * sizeof *room);
    return room;
}

static void quant8(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t;
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (size_t first = g0; first < g1; first += SIDE) {
        const size_t side = g1 - first < SIDE ? g1 - first : SIDE;
        float room[GROUP];
        const float *rows[SIDE];
        for (size_t i = 0; i < SIDE; i++) {
            size_t g = first + (i < side ? i : side - 1);
            rows[i] = padded(x + g * GROUP, n - g * GROUP, room);
        }
        _Alignas(32) float scales[SIDE], inverses[SIDE];
        __m256 scale, inverse;
        (void)scales_of(peaks_of(rows), &scale, &inverse);
        _mm256_store_ps(scales, scale);
        _mm256_store_ps(inverses, inverse);
        int8_t *q = act_group(p, first).q + token * 4;
        for (size_t i = 0; i < side; i++, q += ACT_GROUP_BYTES * nt) {
            __m256i bytes = _mm256_permutevar8x32_epi32(bytes_of(rows[i], inverses[i]), order);
            bytes = inverses[i] > 0 ? bytes : _mm256_setzero_si256();
            uint32_t quads[8];
            _mm256_storeu_si256((__m256i *)(void *)quads, bytes);
            __m256i sums = sum_quads(bytes);
            sums = _mm256_hadd_epi32(sums, sums);
            sums = _mm256_hadd_epi32(sums, sums);
#pragma GCC unroll 8
            for (size_t k = 0; k < 8; k++) {
                memcpy(q + k * nt * 4, quads + k, 4);
            }
            panel_put_sums(p, first + i, token, scales[i], _mm256_extract_epi32(sums, 0),
                           _mm256_extract_epi32(sums, 4));
        }
    }
}

/* Lanes of nt tokens; all of them are one store. */
INLINE void store_lanes(void *to, size_t nt, __m256i lanes, __m256i v)
{
    if (nt == SIDE) {
        _mm256_storeu_si256((__m256i *)to, v);
    } else {
        _mm256_maskstore_epi32(to, lanes, v);
    }
}

/* panel_put_sums of every token of a group. */
INLINE void put_sums(const struct act_group *to, size_t nt, __m256i lanes, __m256 scale,
                     __m256i low, __m256i high)
{
    const __m256i bits = _mm256_set1_epi32(ACC_BIAS_BITS);
    const __m256i part[3] = {_mm256_add_epi32(low, high), low, high};
    int32_t *const init[3] = {to->init, to->half_init, to->half_init + nt};
    float *const xsum[3] = {to->xsum, to->half_xsum, to->half_xsum + nt};
    const __m256 bias = _mm256_mul_ps(_mm256_set1_ps(-ACC_BIAS), scale);
    store_lanes(to->xs, nt, lanes, _mm256_castps_si256(scale));
    store_lanes(to->bias_xs, nt, lanes, _mm256_castps_si256(bias));
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        __m256 sum = _mm256_mul_ps(_mm256_cvtepi32_ps(part[i]), scale);
        store_lanes(init[i], nt, lanes, _mm256_sub_epi32(bits, _mm256_slli_epi32(part[i], 7)));
        store_lanes(xsum[i], nt, lanes, _mm256_castps_si256(sum));
    }
}

/* quads[k]: quad k of 8 tokens, from the bytes of each. */
INLINE void transpose(const __m256i bytes[SIDE], __m256i quads[8])
{
    __m256i part[2][4]; /* of tokens 0-3 and 4-7: two quads in each, 0 and 1, 2 and 3, ... */
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256i *b = bytes + 4 * i;
        __m256i a0 = _mm256_unpacklo_epi32(b[0], b[1]), a1 = _mm256_unpackhi_epi32(b[0], b[1]);
        __m256i c0 = _mm256_unpacklo_epi32(b[2], b[3]), c1 = _mm256_unpackhi_epi32(b[2], b[3]);
        part[i][0] = _mm256_unpacklo_epi64(a0, c0);
        part[i][1] = _mm256_unpackhi_epi64(a0, c0);
        part[i][2] = _mm256_unpacklo_epi64(a1, c1);
        part[i][3] = _mm256_unpackhi_epi64(a1, c1);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        quads[2 * k] = _mm256_permute2x128_si256(part[0][k], part[1][k], 0x20);
        quads[2 * k + 1] = _mm256_permute2x128_si256(part[0][k], part[1][k], 0x31);
    }
}

/* A group of the panel's tokens: rows of 32 values, the last one as often as there is room. */
INLINE void quant_group(const float *const rows[SIDE], struct act_panel *p, size_t g,
                        const float *inverses, __m256 scale, __m256i lanes)
{
    const size_t nt = (size_t)p->nt;
    const struct act_group to = act_group(p, g);
    __m256i bytes[SIDE], quads[8], sums[2];
#pragma GCC unroll 8
    for (int t = 0; t < SIDE; t++) {
        bytes[t] = bytes_of(rows[t], inverses[t]);
    }
    transpose(bytes, quads);
#pragma GCC unroll 8
    for (size_t k = 0; k < 8; k++) {
        store_lanes(to.q + k * nt * 4, nt, lanes, quads[k]);
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m256i *q = quads + 4 * h;
        sums[h] = _mm256_add_epi32(_mm256_add_epi32(sum_quads(q[0]), sum_quads(q[1])),
                                   _mm256_add_epi32(sum_quads(q[2]), sum_quads(q[3])));
    }
    put_sums(&to, nt, lanes, scale, sums[0], sums[1]);
}

static void quant8_panel(const float *x, size_t ld, size_t n, struct act_panel *p, size_t g0,
                         size_t g1)
{
    const int nt = p->nt;
    const __m256i lanes =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(nt), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for (size_t g = g0; g < g1; g++) {
        float room[SIDE][GROUP];
        const float *rows[SIDE];
        for (int t = 0; t < SIDE; t++) {
            const float *row = x + (size_t)(t < nt ? t : nt - 1) * ld;
            rows[t] = padded(row + g * GROUP, n - g * GROUP, room[t]);
        }
        __m256 scale, inverse;
        if (!scales_of(peaks_of(rows), &scale, &inverse)) {
            for (int t = 0; t < nt; t++) { /* nothing, or what must not be packed as it is */
                quant8(x + (size_t)t * ld, n, p, t, g, g + 1);
            }
            continue;
        }
        _Alignas(32) float inverses[SIDE];
        _mm256_store_ps(inverses, inverse);
        quant_group(rows, p, g, inverses, scale, lanes);
    }
}

static void quant16(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t, per_block = I16_BLOCK / GROUP;
    for (size_t g = g0; g < g1; g += per_block) {
        size_t end = g + per_block < g1 ? g + per_block : g1;
        __m256i peak = _mm256_setzero_si256();
        float room[GROUP];
        uint32_t peaks[8], most = 0;
        for (size_t i = g; i < end; i++) {
            const float *v = padded(x + i * GROUP, n - i * GROUP, room);
#pragma GCC unroll 4
            for (size_t k = 0; k < 4; k++) {
                peak = _mm256_max_epu32(peak, magnitude(v + 8 * k));
            }
        }
        _mm256_storeu_si256((__m256i *)(void *)peaks, peak);
        for (int i = 0; i < 8; i++) {
            most = peaks[i] > most ? peaks[i] : most;
        }
        float scale = quant_scale(most, I16_ACT_MAX), inverse = scale > 0 ? 1 / scale : 0;
        const __m256 each = _mm256_set1_ps(inverse);
        p->xs16[g / per_block * nt + token] = scale;
        for (size_t i = g; i < end; i++) {
            const float *v = padded(x + i * GROUP, n - i * GROUP, room);
            __m256i words[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (size_t k = 0; inverse > 0 && k < 2; k++) {
                words[k] =
                    _mm256_packs_epi32(rounded(v + 16 * k, each), rounded(v + 16 * k + 8, each));
                words[k] = _mm256_permute4x64_epi64(words[k], 0xd8);
            }
            uint32_t pairs[16];
            memcpy(pairs, words, sizeof pairs);
            for (size_t k = 0; k < 16; k++) {
                memcpy(p->q16 + ((i * 16 + k) * nt + token) * 2, pairs + k, 4);
            }
        }
    }
}

void kernels_fill_avx2_quant(struct kernels *k)
{
    k->quant8 = quant8;
    k->quant8_panel = quant8_panel;
    k->quant16 = quant16;
}
#endif

/* Activations to integers with AVX-512: see kernels.h for panels and the definition.
 *
 * A prompt is quantised a panel at a time: where one token's group needs eight scattered stores of
 * 4 bytes and a sum and a maximum across its lanes, eight tokens of two groups share a tree of
 * shuffles that leaves the maximum of a token in its lane, so that scales, sums and what a panel
 * keeps of them are computed for all at once, and four tokens' quads of columns are stored as 16
 * bytes. */
#if defined(__x86_64__)
#include "tensor/pack.h"

#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __mmask16 tail_mask(size_t left)
{
    return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
}

/* 32 floats of a row from column g * 32; zeros past its end. */
INLINE void load_group(const float *x, size_t n, size_t g, __m512 *a, __m512 *b)
{
    size_t left = n - g * GROUP;
    if (left >= GROUP) {
        *a = _mm512_loadu_ps(x + g * GROUP);
        *b = _mm512_loadu_ps(x + g * GROUP + 16);
        return;
    }
    *a = _mm512_maskz_loadu_ps(tail_mask(left), x + g * GROUP);
    *b = _mm512_maskz_loadu_ps(left > 16 ? tail_mask(left - 16) : 0, x + g * GROUP + 16);
}

INLINE __m512i magnitude(__m512 v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

/* quant_scale(peak, 127) of 16 groups, and what they are multiplied by. Returns those that keep
 * anything; of the others the second is 0. */
INLINE __mmask16 scales_of(__m512i bits, __m512 *scales, __m512 *inverses)
{
    const __m512i three = _mm512_set1_epi32(3);
    const __m512 peak = _mm512_castsi512_ps(bits);
    __mmask16 some = _mm512_cmp_ps_mask(peak, _mm512_set1_ps(1e-25f), _CMP_NLT_UQ);
    __mmask16 wild = _mm512_cmpgt_epu32_mask(bits, _mm512_set1_epi32(0x7149f2ca));
    __mmask16 kept = some & (__mmask16)~wild;
    __m512i scale = _mm512_castps_si512(_mm512_div_ps(peak, _mm512_set1_ps(127)));
    scale = _mm512_maskz_andnot_epi32(some, three, _mm512_add_epi32(scale, three));
    *scales = _mm512_mask_mov_ps(_mm512_castsi512_ps(scale), wild, _mm512_set1_ps(NAN));
    *inverses = _mm512_maskz_div_ps(kept, _mm512_set1_ps(1), *scales);
    return kept;
}

/* 16 groups at a time: their peaks, their scales side by side, their values. */
static void quant8(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    enum { SIDE = 16 };
    const size_t nt = (size_t)p->nt, token = (size_t)t;
    _Alignas(64) uint32_t peaks[SIDE] = {0};
    _Alignas(64) float scales[SIDE], inverses[SIDE];
    for (size_t first = g0; first < g1; first += SIDE) {
        const size_t side = g1 - first < SIDE ? g1 - first : SIDE;
        __m512 a, b;
        for (size_t i = 0; i < side; i++) {
            load_group(x, n, first + i, &a, &b);
            peaks[i] = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitude(a), magnitude(b)));
        }
        __m512 scale, inverse;
        (void)scales_of(_mm512_load_si512(peaks), &scale, &inverse);
        _mm512_store_ps(scales, scale);
        _mm512_store_ps(inverses, inverse);
        int8_t *q = act_group(p, first).q + token * 4;
        for (size_t i = 0; i < side; i++, q += ACT_GROUP_BYTES * nt) {
            load_group(x, n, first + i, &a, &b);
            /* What is not finite becomes INT32_MIN, whose low byte is 0. */
            const __m512 each = _mm512_set1_ps(inverses[i]);
            __m128i low = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, each)));
            __m128i high = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, each)));
            __m256i both = _mm256_setr_m128i(low, high);
            _Alignas(32) uint32_t quads[8];
            _mm256_store_si256((__m256i *)(void *)quads, both);
            /* four sums of each half, then one of each */
            __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), both);
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

/* Four blocks of tokens side by side: 0-3 and 4-7 of a panel in one group and in the next. */
enum { BLOCKS = 4, BLOCK = 4 };
_Static_assert(PANEL_TOKENS == 2 * BLOCK, "two groups fill the lanes of a register");

/* The larger of lanes 0 and 2 and of 1 and 3 of every four, a's beside b's. */
INLINE __m512i fold_pair(__m512i a, __m512i b)
{
    return _mm512_max_epu32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* Lane 4 i + t of the result is the maximum (the sum) of lanes t, 4 + t, 8 + t, 12 + t of v[i]. */
#define FOLD_QUARTERS(name, op)                                                                 \
    INLINE __m512i name(const __m512i v[BLOCKS])                                                \
    {                                                                                           \
        __m512i a =                                                                             \
            op(_mm512_shuffle_i32x4(v[0], v[1], 0x88), _mm512_shuffle_i32x4(v[0], v[1], 0xdd)); \
        __m512i b =                                                                             \
            op(_mm512_shuffle_i32x4(v[2], v[3], 0x88), _mm512_shuffle_i32x4(v[2], v[3], 0xdd)); \
        return op(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));          \
    }
FOLD_QUARTERS(fold_max, _mm512_max_epu32)
FOLD_QUARTERS(fold_sum, _mm512_add_epi32)

/* Two groups of the rows of a panel: where they begin, and the columns that there are of their
 * halves. */
struct columns {
    const float *const *rows;
    size_t first[2];
    __mmask16 low[2], high[2];
};

/* The peak of token t in lane t, and in lane 8 + t that of the second group. */
INLINE __m512i panel_peaks(const struct columns *x)
{
    __m512i most[BLOCKS];
#pragma GCC unroll 4
    for (int i = 0; i < BLOCKS; i++) {
        const int g = i / 2;
        __m512i m[BLOCK];
#pragma GCC unroll 4
        for (int t = 0; t < BLOCK; t++) {
            const float *row = x->rows[i % 2 * BLOCK + t] + x->first[g];
            m[t] = _mm512_max_epu32(magnitude(_mm512_maskz_loadu_ps(x->low[g], row)),
                                    magnitude(_mm512_maskz_loadu_ps(x->high[g], row + 16)));
        }
        __m512i a = fold_pair(m[0], m[1]), b = fold_pair(m[2], m[3]);
        most[i] = _mm512_max_epu32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    return fold_max(most);
}

/* Quads of columns of up to four tokens, a quad in each quarter, to their places in the panel. */
INLINE void store_quads(__m512i quads, uint8_t *to, size_t nt, __mmask8 tokens)
{
    const __m128i v[4] = {_mm512_castsi512_si128(quads), _mm512_extracti32x4_epi32(quads, 1),
                          _mm512_extracti32x4_epi32(quads, 2), _mm512_extracti32x4_epi32(quads, 3)};
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; k++) {
        if (tokens == 15) {
            _mm_storeu_si128((__m128i *)(void *)(to + k * nt * 4), v[k]);
        } else {
            _mm_mask_storeu_epi32(to + k * nt * 4, tokens, v[k]);
        }
    }
}

/* Values of two groups to their bytes; the sums of columns 0-15 and 16-31 in the lanes of their
 * peaks. No value is beyond 127. */
INLINE void panel_values(const struct columns *x, const float *inverses, size_t nt,
                         uint8_t *const q[2], __m512i *low, __m512i *high)
{
    const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
    __m512i sums[2][BLOCKS];
#pragma GCC unroll 4
    for (int i = 0; i < BLOCKS; i++) {
        const int g = i / 2, t0 = i % 2 * BLOCK;
        __m512i words[BLOCK];
#pragma GCC unroll 4
        for (int t = 0; t < BLOCK; t++) {
            const float *row = x->rows[t0 + t] + x->first[g];
            const __m512 each = _mm512_set1_ps(inverses[i * BLOCK + t]);
            __m512 a = _mm512_mul_ps(_mm512_maskz_loadu_ps(x->low[g], row), each);
            __m512 b = _mm512_mul_ps(_mm512_maskz_loadu_ps(x->high[g], row + 16), each);
            words[t] = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
        }
        /* per quarter j: quads j and 4 + j of one token, then of the next */
        __m512 a = _mm512_castsi512_ps(_mm512_packs_epi16(words[0], words[1]));
        __m512 b = _mm512_castsi512_ps(_mm512_packs_epi16(words[2], words[3]));
        __m512i first = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88));
        __m512i second = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd));
        const int left = (int)nt - t0;
        const __mmask8 tokens = (__mmask8)(left >= BLOCK ? 15 : left > 0 ? (1 << left) - 1 : 0);
        store_quads(first, q[g] + t0 * 4, nt, tokens);
        store_quads(second, q[g] + 16 * nt + t0 * 4, nt, tokens);
        sums[0][i] = _mm512_dpbusd_epi32(zero, ones, first);
        sums[1][i] = _mm512_dpbusd_epi32(zero, ones, second);
    }
    *low = fold_sum(sums[0]);
    *high = fold_sum(sums[1]);
}

/* panel_put_sums of every token of a group. */
INLINE void put_sums(const struct act_group *to, size_t nt, __m256 scale, __m256i low, __m256i high)
{
    const __mmask8 tokens = (__mmask8)((1u << nt) - 1);
    const __m256i bits = _mm256_set1_epi32(ACC_BIAS_BITS), both = _mm256_add_epi32(low, high);
    const __m256i part[3] = {both, low, high};
    int32_t *init[3] = {to->init, to->half_init, to->half_init + nt};
    float *xsum[3] = {to->xsum, to->half_xsum, to->half_xsum + nt};
    _mm256_mask_storeu_ps(to->xs, tokens, scale);
    _mm256_mask_storeu_ps(to->bias_xs, tokens, _mm256_mul_ps(_mm256_set1_ps(-ACC_BIAS), scale));
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        _mm256_mask_storeu_epi32(init[i], tokens,
                                 _mm256_sub_epi32(bits, _mm256_slli_epi32(part[i], 7)));
        _mm256_mask_storeu_ps(xsum[i], tokens, _mm256_mul_ps(_mm256_cvtepi32_ps(part[i]), scale));
    }
}

/* Two groups at a time; the last one may be both. */
static void quant8_panel(const float *x, size_t ld, size_t n, struct act_panel *p, size_t g0,
                         size_t g1)
{
    const size_t nt = (size_t)p->nt;
    const float *rows[PANEL_TOKENS];
    for (size_t t = 0; t < PANEL_TOKENS; t++) {
        rows[t] = x + (t < nt ? t : nt - 1) * ld;
    }
    for (size_t g = g0; g < g1; g += 2) {
        const size_t groups[2] = {g, g + 1 < g1 ? g + 1 : g};
        struct columns c = {.rows = rows};
        for (size_t i = 0; i < 2; i++) {
            const size_t left = n - groups[i] * GROUP;
            c.first[i] = groups[i] * GROUP;
            c.low[i] = tail_mask(left);
            c.high[i] = left > 16 ? tail_mask(left - 16) : 0;
        }
        __m512 scales, inverse;
        if (scales_of(panel_peaks(&c), &scales, &inverse) != 0xffff) {
            for (size_t t = 0; t < nt; t++) { /* nothing, or what must not be packed as it is */
                quant8(rows[t], n, p, (int)t, g, groups[1] + 1);
            }
            continue;
        }
        _Alignas(64) float inverses[16];
        __m512i low, high;
        const struct act_group to[2] = {act_group(p, groups[0]), act_group(p, groups[1])};
        uint8_t *const q[2] = {(uint8_t *)to[0].q, (uint8_t *)to[1].q};
        _mm512_store_ps(inverses, inverse);
        panel_values(&c, inverses, nt, q, &low, &high);
        put_sums(&to[0], nt, _mm512_castps512_ps256(scales), _mm512_castsi512_si256(low),
                 _mm512_castsi512_si256(high));
        put_sums(&to[1], nt, _mm512_extractf32x8_ps(scales, 1), _mm512_extracti32x8_epi32(low, 1),
                 _mm512_extracti32x8_epi32(high, 1));
    }
}

static void quant16(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t, per_block = I16_BLOCK / GROUP;
    for (size_t g = g0; g < g1; g += per_block) {
        size_t end = g + per_block < g1 ? g + per_block : g1;
        __m512i peak = _mm512_setzero_si512();
        __m512 a, b;
        for (size_t i = g; i < end; i++) {
            load_group(x, n, i, &a, &b);
            peak = _mm512_max_epu32(peak, _mm512_max_epu32(magnitude(a), magnitude(b)));
        }
        float scale = quant_scale(_mm512_reduce_max_epu32(peak), I16_ACT_MAX);
        float inverse = scale > 0 ? 1 / scale : 0;
        p->xs16[g / per_block * nt + token] = scale;
        for (size_t i = g; i < end; i++) {
            load_group(x, n, i, &a, &b);
            __m512i low = _mm512_setzero_si512(), high = low;
            if (inverse > 0) {
                low = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
                high = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
            }
            _Alignas(64) int16_t words[32];
            _mm256_store_si256((__m256i *)(void *)words, _mm512_cvtepi32_epi16(low));
            _mm256_store_si256((__m256i *)(void *)(words + 16), _mm512_cvtepi32_epi16(high));
            for (size_t k = 0; k < 16; k++) {
                memcpy(p->q16 + ((i * 16 + k) * nt + token) * 2, words + 2 * k, 4);
            }
        }
    }
}

void kernels_fill_avx512_quant(struct kernels *k)
{
    k->quant8 = quant8;
    k->quant8_panel = quant8_panel;
    k->quant16 = quant16;
}
#endif

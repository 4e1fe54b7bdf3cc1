/* Attention and the KV cache with AVX-512 VNNI: see kernels_attn.h.
 *
 * Tiles: 2 registers of queries x 8 slots, 4 queries x 4 registers of columns: 16 accumulators, so
 * that the 5 cycles of a vpdpwssd are covered twice. It is one line of assembly because gcc 12
 * copies and spills accumulators that go through the intrinsic. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>

typedef __m512 V;
typedef __m512i VI;
typedef __mmask16 VM;
enum { LANES = 16, SLOTS = 8, WIDE = 1 };

#define v_set(f) _mm512_set1_ps(f)
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_abs(a) _mm512_abs_ps(a)
#define v_first(v) _mm512_cvtss_f32(v)
#define v_float(a) _mm512_cvtepi32_ps(a)
#define v_round(a) _mm512_cvtps_epi32(a)
#define v_seen(lo, hi, s) _mm512_mask_cmpge_epi32_mask(_mm512_cmpgt_epi32_mask(hi, s), s, lo)
#define v_keep(m, a) _mm512_maskz_mov_ps(m, a)
#define v_else(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define v_above(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define v_any(a, b) (_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0)
#define vi_set(i) _mm512_set1_epi32(i)
#define vi_add(a, b) _mm512_add_epi32(a, b)
#define vi_load(p) _mm512_loadu_si512(p)
#define vi_store(p, v) _mm512_storeu_si512(p, v)
#define vi_dot(acc, a, b) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b))

#define v_halves(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))

static const int fold_order[16] = {0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15};

static inline __attribute__((always_inline)) V v_low(V a, V b, int n)
{
    switch (n) {
    case 8:
        return _mm512_shuffle_f32x4(a, b, 0x44);
    case 4:
        return _mm512_shuffle_f32x4(a, b, 0x88);
    case 2:
        return (V)_mm512_unpacklo_pd((__m512d)a, (__m512d)b);
    default:
        return _mm512_shuffle_ps(a, b, 0x88);
    }
}

static inline __attribute__((always_inline)) V v_high(V a, V b, int n)
{
    switch (n) {
    case 8:
        return _mm512_shuffle_f32x4(a, b, 0xee);
    case 4:
        return _mm512_shuffle_f32x4(a, b, 0xdd);
    case 2:
        return (V)_mm512_unpackhi_pd((__m512d)a, (__m512d)b);
    default:
        return _mm512_shuffle_ps(a, b, 0xdd);
    }
}

static inline V v_times2(V p, V t)
{
    VI up = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), up));
}

static inline VI vi_spread(const void *p)
{
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

static inline VI vi_pairs(VI even, VI odd)
{
    return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)); /* neither is negative */
}

static inline void vi_store16(int16_t *p, VI v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(v));
}

static inline VI vi_widen(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* The trees of kernels_attn.h without a way through memory: halves, quarters, pairs, neighbours. */
#define HAS_TREES
static inline float tree_sum(V v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline float tree_max(V v)
{
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

#include "tensor/kernels_attn.h"

void kernels_fill_avx512_attn(struct kernels *k)
{
    fill_attn(k);
}
#endif

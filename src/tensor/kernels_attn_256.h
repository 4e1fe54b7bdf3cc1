/* Attention with 256-bit registers: what kernels_attn_avx2.c and kernels_attn_avxvnni.c share. They
 * define vi_dot before including this. */
#include "tensor/kernels_x86.h"

typedef __m256 V;
typedef __m256i VI;
typedef __m256 VM; /* all bits of a lane or none */
enum { LANES = 8, SLOTS = 4, WIDE = 0 };

#define v_set(f) _mm256_set1_ps(f)
#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define v_first(v) _mm256_cvtss_f32(v)
#define v_float(a) _mm256_cvtepi32_ps(a)
#define v_round(a) _mm256_cvtps_epi32(a)
#define v_keep(m, a) _mm256_and_ps(m, a)
#define v_else(m, a, b) _mm256_blendv_ps(b, a, m)
#define v_above(a, b) _mm256_cmp_ps(a, b, _CMP_GT_OQ)
#define v_any(a, b) (_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0)
#define vi_set(i) _mm256_set1_epi32(i)
#define vi_add(a, b) _mm256_add_epi32(a, b)
#define vi_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define vi_store(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)

#define v_halves(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))

static const int fold_order[8] = {0, 2, 1, 3, 4, 6, 5, 7};

static inline __attribute__((always_inline)) V v_low(V a, V b, int n)
{
    switch (n) {
    case 4:
        return _mm256_permute2f128_ps(a, b, 0x20);
    case 2:
        return (V)_mm256_unpacklo_pd((__m256d)a, (__m256d)b);
    default:
        return _mm256_shuffle_ps(a, b, 0x88);
    }
}

static inline __attribute__((always_inline)) V v_high(V a, V b, int n)
{
    switch (n) {
    case 4:
        return _mm256_permute2f128_ps(a, b, 0x31);
    case 2:
        return (V)_mm256_unpackhi_pd((__m256d)a, (__m256d)b);
    default:
        return _mm256_shuffle_ps(a, b, 0xdd);
    }
}

static inline VM v_seen(VI lo, VI hi, VI s)
{
    return _mm256_castsi256_ps(
        _mm256_andnot_si256(_mm256_cmpgt_epi32(lo, s), _mm256_cmpgt_epi32(hi, s)));
}

static inline V v_times2(V p, V t)
{
    VI up = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), up));
}

static inline VI vi_spread(const void *p)
{
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

static inline VI vi_pairs(VI even, VI odd)
{
    return _mm256_or_si256(even, _mm256_slli_epi32(odd, 16)); /* neither is negative */
}

static inline void vi_store16(int16_t *p, VI v)
{
    __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((__m128i *)(void *)p, packed);
}

static inline VI vi_widen(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

#include "tensor/kernels_attn.h"

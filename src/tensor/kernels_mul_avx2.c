/* Products of packed integers with AVX2.
 *
 * vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits and saturates: bytes up
 * to 255 would overflow silently. Up to 6 bits cannot (2 * 63 * 127); wider values go in as
 * magnitudes (at most 128: 2 * 128 * 127 < 2^15) with their sign moved to the activation. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"
#include "tensor/pack.h"

#include <immintrin.h>

#define WIDE_OFFSET 0
#define DOT_SMALL(acc, w, x) (acc) = dot_bytes(acc, w, x)
#define DOT_WIDE(acc, w, x) (acc) = dot_bytes(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
#define DOT_WORDS(acc, w, x) (acc) = _mm256_add_epi32(acc, _mm256_madd_epi16(w, x))

static inline __m256i dot_bytes(__m256i acc, __m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(w, x);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "tensor/kernels_mul_256.h"

/* A group of a row, zeros past its end, as four registers. */
INLINE void load_group(const float *x, size_t n, size_t g, __m256 v[4])
{
    size_t left = n - g * GROUP;
    float padded[GROUP] = {0};
    const float *from = x + g * GROUP;
    if (left < GROUP) {
        memcpy(padded, from, left * sizeof *x);
        from = padded;
    }
    for (size_t i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(from + 8 * i);
    }
}

INLINE __m256i group_peak(const __m256 v[4], __m256i peak)
{
    for (int i = 0; i < 4; i++) {
        __m256i bits = _mm256_castps_si256(v[i]);
        peak = _mm256_max_epu32(peak, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
    }
    return peak;
}

static uint32_t reduce_peak(__m256i peak)
{
    uint32_t lanes[8], most = 0;
    memcpy(lanes, &peak, sizeof lanes);
    for (int i = 0; i < 8; i++) {
        most = lanes[i] > most ? lanes[i] : most;
    }
    return most;
}

/* Rounded integers of a group as int16 in order. */
INLINE void group_ints(const __m256 v[4], float inverse, int16_t out[GROUP])
{
    __m256i w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = inverse > 0 ? _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)))
                           : _mm256_setzero_si256();
    }
    for (int i = 0; i < 2; i++) {
        __m256i packed = _mm256_packs_epi32(w[2 * i], w[2 * i + 1]);
        packed = _mm256_permute4x64_epi64(packed, 0xd8);
        _mm256_storeu_si256((__m256i *)(void *)(out + 16 * i), packed);
    }
}

static void quant8(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t;
    for (size_t g = g0; g < g1; g++) {
        __m256 v[4];
        int16_t q[GROUP];
        load_group(x, n, g, v);
        float scale = quant_scale(reduce_peak(group_peak(v, _mm256_setzero_si256())), 127);
        group_ints(v, scale > 0 ? 1 / scale : 0, q);
        int32_t sums[2] = {0, 0};
        int8_t *to = act_group(p, g).q;
        for (size_t c = 0; c < GROUP; c++) {
            to[(c / 4 * nt + token) * 4 + c % 4] = (int8_t)q[c];
            sums[c / 16] += q[c];
        }
        panel_put_sums(p, g, token, scale, sums[0], sums[1]);
    }
}

static void quant8_panel(const float *x, size_t ld, size_t n, struct act_panel *p, size_t g0,
                         size_t g1)
{
    for (int t = 0; t < p->nt; t++) {
        quant8(x + (size_t)t * ld, n, p, t, g0, g1);
    }
}

static void quant16(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1)
{
    const size_t nt = (size_t)p->nt, token = (size_t)t, per_block = I16_BLOCK / GROUP;
    for (size_t g = g0; g < g1; g += per_block) {
        size_t end = g + per_block < g1 ? g + per_block : g1;
        __m256i peak = _mm256_setzero_si256();
        __m256 v[4];
        for (size_t i = g; i < end; i++) {
            load_group(x, n, i, v);
            peak = group_peak(v, peak);
        }
        float scale = quant_scale(reduce_peak(peak), I16_ACT_MAX);
        p->xs16[g / per_block * nt + token] = scale;
        for (size_t i = g; i < end; i++) {
            int16_t q[GROUP];
            load_group(x, n, i, v);
            group_ints(v, scale > 0 ? 1 / scale : 0, q);
            for (size_t k = 0; k < 16; k++) {
                memcpy(p->q16 + ((i * 16 + k) * nt + token) * 2, q + 2 * k, 4);
            }
        }
    }
}

void kernels_fill_avx2_mul(struct kernels *k)
{
    k->quant8 = quant8;
    k->quant8_panel = quant8_panel;
    k->quant16 = quant16;
    k->mul_few = mul_few;
    k->mul8 = mul8;
    k->mul16 = mul16;
    k->unpack = unpack;
}
#endif

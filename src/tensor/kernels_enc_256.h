/* Products of encoders in 256-bit registers: the body of kernels_enc_avx2.c and
 * kernels_enc_avxvnni.c, which define before including it
 *   DOT8(acc, x, w)   acc += x . w for unsigned x and signed w, four columns
 *   DOT16(acc, x, w)  acc += x . w, two columns of 16 bits
 * in assembly, since gcc copies accumulators from register to register otherwise.
 *
 * The tile is 16 rows (two registers) by six tokens, or four at the end of a text: twelve
 * accumulators and their operands fit 16 registers, and ten are needed to cover the five cycles of
 * a product where two begin in each. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256 gelu8(const int BITS, __m256 x)
{
    static const float fine[] = {ENC_GELU_COEFFICIENTS}, coarse[] = {ENC_GELU8_COEFFICIENTS};
    const float *p = BITS == 8 ? coarse : fine;
    const __m256 limit = _mm256_set1_ps(BITS == 8 ? ENC_GELU8_LIMIT : ENC_GELU_LIMIT);
    __m256 c = _mm256_min_ps(_mm256_max_ps(x, _mm256_sub_ps(_mm256_setzero_ps(), limit)), limit);
    __m256 u = _mm256_mul_ps(c, c), sum = _mm256_set1_ps(p[0]);
    if (BITS == 16) {
        u = _mm256_fmadd_ps(u, _mm256_set1_ps(ENC_GELU_TO_U), _mm256_set1_ps(-1.0f));
    }
    for (int i = 1; i < (BITS == 8 ? ENC_GELU8_TERMS : ENC_GELU_TERMS); i++) {
        sum = _mm256_fmadd_ps(sum, u, _mm256_set1_ps(p[i]));
    }
    return _mm256_mul_ps(x, _mm256_fmadd_ps(c, sum, _mm256_set1_ps(0.5f)));
}

enum { TILE_TOKENS = 6 };

/* Rows [16 half, 16 half + 16) of the panel and tokens [t, t + NT): added to out[NT][32]. */
INLINE void tile(const int BITS, const size_t NT, const struct enc_panel *w,
                 const struct enc_tokens *x, size_t cols, size_t half, size_t t, float *out)
{
    const size_t nt = (size_t)x->nt;
    const uint8_t *wp = w->values + half * 64, *xp = x->values + 4 * t;
    /* Each half of the first tokens asks for a half of what comes next. */
    const size_t step = t ? 0 : w->ahead_step / 2;
    const uint8_t *ahead = w->ahead + half * step * enc_dwords(BITS, cols);
    for (size_t c = 0, b = 0; c < cols; c += ENC_BLOCK, b++) {
        size_t left = enc_dwords(BITS, cols - c < ENC_BLOCK ? cols - c : ENC_BLOCK);
        __m256i acc[2][TILE_TOKENS];
#pragma GCC unroll 6
        for (size_t i = 0; i < NT; i++) {
            acc[0][i] = acc[1][i] = _mm256_setzero_si256();
        }
        do {
            _mm_prefetch((const char *)ahead, _MM_HINT_T1);
            ahead += step;
            const __m256i w0 = _mm256_load_si256((const __m256i *)(const void *)wp);
            const __m256i w1 = _mm256_load_si256((const __m256i *)(const void *)(wp + 32));
#pragma GCC unroll 6
            for (size_t i = 0; i < NT; i++) {
                int32_t dword;
                memcpy(&dword, xp + 4 * i, 4);
                const __m256i v = _mm256_set1_epi32(dword);
                if (BITS == 8) {
                    DOT8(acc[0][i], v, w0);
                    DOT8(acc[1][i], v, w1);
                } else {
                    DOT16(acc[0][i], v, w0);
                    DOT16(acc[1][i], v, w1);
                }
            }
            xp += 4 * nt;
            wp += 4 * ENC_ROWS;
        } while (--left);
        const float *factors = w->factors + b * 2 * ENC_ROWS + half * 16;
#pragma GCC unroll 6
        for (size_t i = 0; i < NT; i++) {
            const __m256 xs = _mm256_set1_ps(x->scale[b * nt + t + i]);
            const __m256 xz = _mm256_set1_ps(x->shift[b * nt + t + i]);
#pragma GCC unroll 2
            for (size_t k = 0; k < 2; k++) {
                float *to = out + i * ENC_ROWS + half * 16 + k * 8;
                __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(factors + 8 * k), xs);
                __m256 y =
                    _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[k][i]), scale, _mm256_loadu_ps(to));
                if (BITS == 8) {
                    y = _mm256_fmadd_ps(_mm256_loadu_ps(factors + ENC_ROWS + 8 * k), xz, y);
                }
                _mm256_storeu_ps(to, y);
            }
        }
    }
}

INLINE void copy_row(float *to, const float *from, size_t width)
{
    if (width == ENC_ROWS) {
        memcpy(to, from, ENC_ROWS * sizeof *to);
    } else {
        memcpy(to, from, width * sizeof *to);
    }
}

/* Tokens [t, t + NT) of the panel. */
INLINE void mul_tokens(const int BITS, const size_t NT, const struct enc_panel *w,
                       const struct enc_tokens *x, size_t cols, size_t t, const float *bias,
                       bool gelu, size_t width, float *y, size_t ldy)
{
    _Alignas(32) float out[TILE_TOKENS * ENC_ROWS];
    if (width < ENC_ROWS) {
        memset(out, 0, sizeof out);
    }
    for (size_t i = 0; i < NT; i++) {
        copy_row(out + i * ENC_ROWS, bias, width);
    }
    tile(BITS, NT, w, x, cols, 0, t, out);
    tile(BITS, NT, w, x, cols, 1, t, out);
    for (size_t i = 0; gelu && i < NT * ENC_ROWS; i += 8) {
        _mm256_store_ps(out + i, gelu8(BITS, _mm256_load_ps(out + i)));
    }
    for (size_t i = 0; i < NT; i++) {
        copy_row(y + (t + i) * ldy, out + i * ENC_ROWS, width);
    }
}

#define DEFINE_MUL(name, BITS, NT)                                                                 \
    static void name(const struct enc_panel *w, const struct enc_tokens *x, size_t cols, size_t t, \
                     const float *bias, bool gelu, size_t width, float *y, size_t ldy)             \
    {                                                                                              \
        mul_tokens(BITS, NT, w, x, cols, t, bias, gelu, width, y, ldy);                            \
    }
DEFINE_MUL(mul8_4, 8, ENC_UNIT)
DEFINE_MUL(mul8_6, 8, TILE_TOKENS)
DEFINE_MUL(mul16_4, 16, ENC_UNIT)
DEFINE_MUL(mul16_6, 16, TILE_TOKENS)

static void mul(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                const float *bias, bool gelu, size_t width, float *y, size_t ldy)
{
    const size_t step = x->nt % TILE_TOKENS ? ENC_UNIT : TILE_TOKENS;
    for (size_t t = 0; t < (size_t)x->nt; t += step) {
        if (step == TILE_TOKENS) {
            (bits == 8 ? mul8_6 : mul16_6)(w, x, cols, t, bias, gelu, width, y, ldy);
        } else {
            (bits == 8 ? mul8_4 : mul16_4)(w, x, cols, t, bias, gelu, width, y, ldy);
        }
    }
}

INLINE __m256 load_part(const float *x, size_t n, size_t c)
{
    float part[8] = {0};
    if (c + 8 <= n) {
        return _mm256_loadu_ps(x + c);
    }
    if (c < n) {
        memcpy(part, x + c, (n - c) * sizeof *x);
    }
    return _mm256_loadu_ps(part);
}

/* A block's scale; returns 1 / scale, 0 when it has none. */
static float choose(int bits, const float *x, size_t n, size_t first, size_t last, float *scale,
                    float *zero)
{
    __m256 low = _mm256_setzero_ps(), high = low, bad = low;
    for (size_t c = first; c < last; c += 8) {
        __m256 v = load_part(x, n, c);
        low = _mm256_min_ps(v, low);
        high = _mm256_max_ps(v, high);
        bad = _mm256_fmadd_ps(v, _mm256_setzero_ps(), bad);
    }
    float lows[8], highs[8], least = 0, most = 0;
    _mm256_storeu_ps(lows, low);
    _mm256_storeu_ps(highs, high);
    for (int i = 0; i < 8; i++) {
        least = lows[i] < least ? lows[i] : least;
        most = highs[i] > most ? highs[i] : most;
    }
    float range = bits == 8 ? most - least : -least > most ? -least : most;
    *scale = *zero = 0;
    if (_mm256_movemask_ps(_mm256_cmp_ps(bad, bad, _CMP_UNORD_Q)) || !(range <= 1e30f)) {
        *scale = NAN;
        return 0;
    }
    if (!(range > 1e-25f)) {
        return 0;
    }
    *scale = range / (bits == 8 ? 255.0f : ENC_ACT16);
    float inverse = 1 / *scale;
    *zero = bits == 8 ? rintf(-least * inverse) : 0;
    return inverse;
}

INLINE void put_lanes(uint8_t *to, size_t step, __m256i v)
{
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(v));
    _mm_storeu_si128((__m128i *)(void *)(to + step), _mm256_extracti128_si256(v, 1));
}

static void quant(int bits, const float *x, size_t ldx, size_t n, struct enc_tokens *p, int t)
{
    const size_t nt = (size_t)p->nt, padded = enc_padded(n), step = 4 * nt;
    uint8_t *to = p->values + 4 * t;
    for (size_t first = 0; first < padded; first += ENC_BLOCK) {
        const size_t last = first + ENC_BLOCK < padded ? first + ENC_BLOCK : padded;
        float inverse[ENC_UNIT], zero[ENC_UNIT];
        for (size_t i = 0; i < ENC_UNIT; i++) {
            const size_t at = first / ENC_BLOCK * nt + (size_t)t + i;
            inverse[i] = choose(bits, x + i * ldx, n, first, last, &p->scale[at], &zero[i]);
            p->shift[at] = -zero[i] * p->scale[at];
        }
        for (size_t c = first; c < last; c += 8) {
            __m256i v[ENC_UNIT];
#pragma GCC unroll 4
            for (size_t i = 0; i < ENC_UNIT; i++) {
                /* what has no scale is 0, whatever it holds */
                __m256 f = inverse[i] > 0 ? load_part(x + i * ldx, n, c) : _mm256_setzero_ps();
                v[i] = _mm256_cvtps_epi32(
                    _mm256_fmadd_ps(f, _mm256_set1_ps(inverse[i]), _mm256_set1_ps(zero[i])));
            }
            /* lane k: dword k of the four tokens (or its two halves, for 16 bits) */
            __m256i ab = _mm256_packs_epi32(v[0], v[1]), cd = _mm256_packs_epi32(v[2], v[3]);
            if (bits == 8) {
                put_lanes(to, step, _mm256_packus_epi16(ab, cd));
                to += 2 * step;
                continue;
            }
            __m256 a = _mm256_castsi256_ps(ab), b = _mm256_castsi256_ps(cd);
            put_lanes(to, 2 * step, _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)));
            put_lanes(to + step, 2 * step, _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd)));
            to += 4 * step;
        }
    }
}

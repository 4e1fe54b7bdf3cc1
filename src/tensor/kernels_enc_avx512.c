/* Products of encoders with AVX-512 VNNI: see kernels_enc.h for layouts and the definition.
 *
 * The tile is 32 rows by 12 tokens: 24 int32 accumulators in registers, and per dword of columns
 * two weight loads and 12 broadcasts feed 24 dot products, two a cycle. The float work of a block
 * (a conversion and two fused multiply-adds per accumulator) is 1 in 20 of that at 384 columns.
 * Quantising takes four tokens at a time, because packing four registers to bytes leaves exactly
 * the four dwords of four tokens side by side that a panel wants.
 *
 * The dot products are one line of assembly each: gcc 12 copies and spills the accumulators when
 * they go through the intrinsics. */
#if defined(__x86_64__)
#include "tensor/kernels_x86.h"

#include <immintrin.h>
#include <math.h>

#define DPBUSD(acc, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))
#define DPWSSD(acc, x, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))
#define FORGET_MEMORY() __asm__ volatile("" ::: "memory")
enum {
    NEAR = 1024
}; /* bytes from the weights at hand to those that are called to the first cache */
#define INLINE static inline __attribute__((always_inline))

/* P(u) by Horner's rule. */
INLINE __m512 polynomial(const float *p, const int terms, __m512 u)
{
    __m512 sum = _mm512_set1_ps(p[0]);
    for (int i = 1; i < terms; i++) {
        sum = _mm512_fmadd_ps(sum, u, _mm512_set1_ps(p[i]));
    }
    return sum;
}

INLINE __m512 gelu16(const int BITS, __m512 x)
{
    static const float fine[] = {ENC_GELU_COEFFICIENTS}, coarse[] = {ENC_GELU8_COEFFICIENTS};
    const __m512 limit = _mm512_set1_ps(BITS == 8 ? ENC_GELU8_LIMIT : ENC_GELU_LIMIT);
    __m512 c = _mm512_range_ps(x, limit, 2); /* the lesser magnitude with x's sign */
    __m512 u = _mm512_mul_ps(c, c), p;
    if (BITS == 8) {
        p = polynomial(coarse, ENC_GELU8_TERMS, u);
    } else {
        u = _mm512_fmadd_ps(u, _mm512_set1_ps(ENC_GELU_TO_U), _mm512_set1_ps(-1.0f));
        p = polynomial(fine, ENC_GELU_TERMS, u);
    }
    return _mm512_mul_ps(x, _mm512_fmadd_ps(c, p, _mm512_set1_ps(0.5f)));
}

/* BITS and NT are constants where this is instantiated. */
INLINE void tile(const int BITS, const int NT, const struct enc_panel *w,
                 const struct enc_tokens *x, size_t cols, const float *bias, bool gelu,
                 __mmask16 m0, __mmask16 m1, float *y, size_t ldy)
{
    const uint8_t *wp = w->values, *xp = x->values;
    const uint8_t *ahead = w->ahead;
    const size_t step = w->ahead_step, second = step / 2; /* of 128: the other line */
    const float *scale = x->scale, *shift = x->shift, *factors = w->factors;
    for (size_t c = 0; c < cols; c += ENC_BLOCK) {
        const bool last = cols - c <= ENC_BLOCK;
        const size_t width = last ? cols - c : ENC_BLOCK;
        __m512i acc[2][ENC_TOKENS];
#pragma GCC unroll 12
        for (int t = 0; t < NT; t++) {
            acc[0][t] = acc[1][t] = _mm512_setzero_si512();
        }
        size_t left = enc_dwords(BITS, width);
        do { /* not unrolled: gcc 12 would carry the accumulators over in memory */
            const __m512i w0 = _mm512_load_si512(wp), w1 = _mm512_load_si512(wp + 64);
#pragma GCC unroll 12
            for (int t = 0; t < NT; t++) {
                const __m512i v = _mm512_set1_epi32(((const int32_t *)(const void *)xp)[t]);
                if (BITS == 8) {
                    DPBUSD(acc[0][t], v, w0);
                    DPBUSD(acc[1][t], v, w1);
                } else {
                    DPWSSD(acc[0][t], v, w0);
                    DPWSSD(acc[1][t], v, w1);
                }
            }
            _mm_prefetch((const char *)(wp + NEAR), _MM_HINT_T0);
            _mm_prefetch((const char *)(wp + NEAR + 64), _MM_HINT_T0);
            _mm_prefetch((const char *)ahead, _MM_HINT_T1);
            _mm_prefetch((const char *)(ahead + second), _MM_HINT_T1);
            ahead += step;
            xp += 4 * NT;
            wp += 4 * ENC_ROWS;
        } while (--left);
        /* By way of memory: with the float work beside them the accumulators would be spilled. */
        _Alignas(64) int32_t sums[ENC_TOKENS][ENC_ROWS];
#pragma GCC unroll 12
        for (int t = 0; t < NT; t++) {
            _mm512_store_si512(sums[t], acc[0][t]);
            _mm512_store_si512(sums[t] + 16, acc[1][t]);
        }
        FORGET_MEMORY();
        const __m512 s0 = _mm512_loadu_ps(factors), s1 = _mm512_loadu_ps(factors + 16);
        const __m512 r0 = _mm512_loadu_ps(factors + 32), r1 = _mm512_loadu_ps(factors + 48);
        for (int t = 0; t < NT; t++) {
            const __m512 xs = _mm512_set1_ps(scale[t]), xz = _mm512_set1_ps(shift[t]);
            float *to = y + (size_t)t * ldy;
            const float *from = c ? to : bias;
            __m512 y0 = _mm512_maskz_loadu_ps(m0, from);
            __m512 y1 = _mm512_maskz_loadu_ps(m1, from + 16);
            y0 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[t])),
                                 _mm512_mul_ps(s0, xs), y0);
            y1 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[t] + 16)),
                                 _mm512_mul_ps(s1, xs), y1);
            if (BITS == 8) {
                y0 = _mm512_fmadd_ps(r0, xz, y0);
                y1 = _mm512_fmadd_ps(r1, xz, y1);
            }
            if (gelu && last) {
                y0 = gelu16(BITS, y0);
                y1 = gelu16(BITS, y1);
            }
            _mm512_mask_storeu_ps(to, m0, y0);
            _mm512_mask_storeu_ps(to + 16, m1, y1);
        }
        scale += NT;
        shift += NT;
        factors += 2 * ENC_ROWS;
    }
}

#define DEFINE_MUL(bits, nt)                                                              \
    static void mul##bits##_##nt(const struct enc_panel *w, const struct enc_tokens *x,   \
                                 size_t cols, const float *bias, bool gelu, size_t width, \
                                 float *y, size_t ldy)                                    \
    {                                                                                     \
        const __mmask16 m0 = (__mmask16)(width >= 16 ? 0xffff : (1u << width) - 1);       \
        const __mmask16 m1 = (__mmask16)(width < 16 ? 0 : (1u << (width - 16)) - 1);      \
        if (width == ENC_ROWS) { /* masked stores are slow to load again */               \
            tile(bits, nt, w, x, cols, bias, gelu, 0xffff, 0xffff, y, ldy);               \
            return;                                                                       \
        }                                                                                 \
        tile(bits, nt, w, x, cols, bias, gelu, m0, m1, y, ldy);                           \
    }
DEFINE_MUL(8, 4)
DEFINE_MUL(8, 8)
DEFINE_MUL(8, 12)
DEFINE_MUL(16, 4)
DEFINE_MUL(16, 8)
DEFINE_MUL(16, 12)

static void mul(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                const float *bias, bool gelu, size_t width, float *y, size_t ldy)
{
    typedef void tile_fn(const struct enc_panel *, const struct enc_tokens *, size_t, const float *,
                         bool, size_t, float *, size_t);
    static tile_fn *const tiles[2][3] = {{mul8_4, mul8_8, mul8_12}, {mul16_4, mul16_8, mul16_12}};
    tiles[bits == 16][x->nt / ENC_UNIT - 1](w, x, cols, bias, gelu, width, y, ldy);
}

/* Least, greatest, and NaN if there is what is not finite, of a block of four rows: side by side,
 * so that no row waits for its own sums. */
struct extent {
    __m512 low[ENC_UNIT], high[ENC_UNIT], bad[ENC_UNIT];
};

INLINE __mmask16 columns(size_t n)
{
    return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1);
}

/* WHOLE: all columns are there in sixteens, and masks are spared. */
INLINE void measure(const bool WHOLE, struct extent *e, const float *x, size_t ldx, size_t n,
                    size_t first, size_t last)
{
    const __m512 zero = _mm512_setzero_ps();
    __m512 low[ENC_UNIT], high[ENC_UNIT], bad[ENC_UNIT];
#pragma GCC unroll 4
    for (size_t i = 0; i < ENC_UNIT; i++) {
        low[i] = high[i] = bad[i] = zero;
    }
    for (size_t c = first; c < last; c += 16) {
        const __mmask16 m = WHOLE ? 0xffff : columns(n - c);
#pragma GCC unroll 4
        for (size_t i = 0; i < ENC_UNIT; i++) {
            __m512 v = _mm512_maskz_loadu_ps(m, x + i * ldx + c);
            low[i] = _mm512_min_ps(v, low[i]);
            high[i] = _mm512_max_ps(v, high[i]);
            bad[i] = _mm512_fmadd_ps(v, zero, bad[i]);
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < ENC_UNIT; i++) {
        e->low[i] = low[i];
        e->high[i] = high[i];
        e->bad[i] = bad[i];
    }
}

/* 128-bit lane i, four times: the least (or greatest) of x[i]. */
INLINE __m512 fold_four(const bool LEAST, const __m512 *x)
{
#define FOLD(a, b) (LEAST ? _mm512_min_ps(a, b) : _mm512_max_ps(a, b))
    __m512 ab =
        FOLD(_mm512_shuffle_f32x4(x[0], x[1], 0x44), _mm512_shuffle_f32x4(x[0], x[1], 0xee));
    __m512 cd =
        FOLD(_mm512_shuffle_f32x4(x[2], x[3], 0x44), _mm512_shuffle_f32x4(x[2], x[3], 0xee));
    __m512 all = FOLD(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    all = FOLD(all, _mm512_permute_ps(all, 0x4e));
    return FOLD(all, _mm512_permute_ps(all, 0xb1));
#undef FOLD
}

/* What a block of four rows is quantised by: row i's at [4 i]; inverse 0 for no scale. */
struct chosen {
    _Alignas(64) float scale[16], shift[16], inverse[16], zero[16];
};

INLINE void choose(const int BITS, const struct extent *e, struct chosen *to)
{
    const __m512 least = fold_four(true, e->low), most = fold_four(false, e->high);
    const __m512 below = _mm512_sub_ps(_mm512_setzero_ps(), least);
    const __m512 range = BITS == 8 ? _mm512_sub_ps(most, least) : _mm512_max_ps(below, most);
    __mmask16 fine = _mm512_cmp_ps_mask(range, _mm512_set1_ps(1e30f), _CMP_LE_OQ);
#pragma GCC unroll 4
    for (int i = 0; i < ENC_UNIT; i++) {
        bool bad = _mm512_cmp_ps_mask(e->bad[i], e->bad[i], _CMP_UNORD_Q) != 0;
        fine &= (__mmask16) ~(bad ? 15u << 4 * i : 0);
    }
    __mmask16 some = fine & _mm512_cmp_ps_mask(range, _mm512_set1_ps(1e-25f), _CMP_GT_OQ);
    __m512 scale = _mm512_maskz_div_ps(some, range, _mm512_set1_ps(BITS == 8 ? 255.0f : ENC_ACT16));
    __m512 inverse = _mm512_maskz_div_ps(some, _mm512_set1_ps(1), scale),
           zero = _mm512_setzero_ps();
    if (BITS == 8) {
        zero = _mm512_maskz_roundscale_ps(some, _mm512_mul_ps(below, inverse), 0);
    }
    scale = _mm512_mask_mov_ps(_mm512_set1_ps(NAN), fine, scale);
    _mm512_store_ps(to->scale, scale);
    _mm512_store_ps(to->shift, _mm512_mul_ps(_mm512_sub_ps(_mm512_setzero_ps(), zero), scale));
    _mm512_store_ps(to->inverse, inverse);
    _mm512_store_ps(to->zero, zero);
}

/* Columns [first, last) of four rows by what was chosen, to dwords `step` bytes apart. WHOLE: as
 * above, and every row has a scale; what has none is 0, whatever it holds. */
INLINE void put_block(const int BITS, const bool WHOLE, const struct chosen *by, const float *x,
                      size_t ldx, size_t n, size_t first, size_t last, uint8_t *to, size_t step)
{
    __m512 inverse[ENC_UNIT], zero[ENC_UNIT];
    __mmask16 live[ENC_UNIT];
#pragma GCC unroll 4
    for (size_t i = 0; i < ENC_UNIT; i++) {
        inverse[i] = _mm512_set1_ps(by->inverse[4 * i]);
        zero[i] = _mm512_set1_ps(by->zero[4 * i]);
        live[i] = _mm512_cmp_ps_mask(inverse[i], _mm512_setzero_ps(), _CMP_GT_OQ);
    }
    for (size_t c = first; c < last; c += 16) {
        const __mmask16 m = WHOLE ? 0xffff : columns(n - c);
        __m512i v[ENC_UNIT];
#pragma GCC unroll 4
        for (size_t i = 0; i < ENC_UNIT; i++) {
            __m512 f = _mm512_maskz_loadu_ps(WHOLE ? m : m & live[i], x + i * ldx + c);
            v[i] = _mm512_cvtps_epi32(_mm512_fmadd_ps(f, inverse[i], zero[i]));
        }
        __m512i ab = _mm512_packs_epi32(v[0], v[1]), cd = _mm512_packs_epi32(v[2], v[3]);
        if (BITS == 8) { /* lane k: dword k of the four tokens */
            __m512i all = _mm512_packus_epi16(ab, cd);
            _mm_storeu_si128((__m128i *)(void *)to, _mm512_castsi512_si128(all));
            _mm_storeu_si128((__m128i *)(void *)(to + step), _mm512_extracti32x4_epi32(all, 1));
            _mm_storeu_si128((__m128i *)(void *)(to + 2 * step), _mm512_extracti32x4_epi32(all, 2));
            _mm_storeu_si128((__m128i *)(void *)(to + 3 * step), _mm512_extracti32x4_epi32(all, 3));
            to += 4 * step;
            continue;
        }
        __m512 a = _mm512_castsi512_ps(ab), b = _mm512_castsi512_ps(cd);
        __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88));
        __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd));
#define PUT(lane)                                                                           \
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_extracti32x4_epi32(even, lane));         \
    _mm_storeu_si128((__m128i *)(void *)(to + step), _mm512_extracti32x4_epi32(odd, lane)); \
    to += 2 * step
        PUT(0);
        PUT(1);
        PUT(2);
        PUT(3);
#undef PUT
    }
}

INLINE void quant_unit(const int BITS, const float *x, size_t ldx, size_t n, struct enc_tokens *p,
                       int t)
{
    const size_t nt = (size_t)p->nt, padded = enc_padded(n), step = 4 * nt;
    for (size_t first = 0; first < padded; first += ENC_BLOCK) {
        const size_t last = first + ENC_BLOCK < padded ? first + ENC_BLOCK : padded;
        uint8_t *to = p->values + enc_dwords(BITS, first) * step + 4 * t;
        bool whole = last <= n;
        struct extent e;
        struct chosen by;
        if (whole) {
            measure(true, &e, x, ldx, n, first, last);
        } else {
            measure(false, &e, x, ldx, n, first, last);
        }
        choose(BITS, &e, &by);
        for (size_t i = 0; i < ENC_UNIT; i++) {
            const size_t at = first / ENC_BLOCK * nt + (size_t)t + i;
            p->scale[at] = by.scale[4 * i];
            p->shift[at] = by.shift[4 * i];
            whole = whole && by.inverse[4 * i] > 0;
        }
        if (whole) {
            put_block(BITS, true, &by, x, ldx, n, first, last, to, step);
        } else {
            put_block(BITS, false, &by, x, ldx, n, first, last, to, step);
        }
    }
}

static void quant(int bits, const float *x, size_t ldx, size_t n, struct enc_tokens *p, int t)
{
    if (bits == 8) {
        quant_unit(8, x, ldx, n, p, t);
    } else {
        quant_unit(16, x, ldx, n, p, t);
    }
}

void kernels_fill_avx512_enc(struct kernels *k)
{
    k->enc.mul = mul;
    k->enc.quant = quant;
}
#endif

/* Products of encoders with NEON: see kernels_enc.h. Four rows by four tokens at a time; 8-bit
 * values are widened, since the dot product instructions of mixed signs are a later extension.
 * Quantising is the definition's own plain C. */
#if defined(__aarch64__)
#include "tensor/kernels_arm.h"

#include <arm_neon.h>
#include <string.h>

static float32x4_t gelu4(int bits, float32x4_t x)
{
    static const float fine[] = {ENC_GELU_COEFFICIENTS}, coarse[] = {ENC_GELU8_COEFFICIENTS};
    const float *p = bits == 8 ? coarse : fine,
                limit = bits == 8 ? ENC_GELU8_LIMIT : ENC_GELU_LIMIT;
    float32x4_t c = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-limit)), vdupq_n_f32(limit));
    float32x4_t u = vmulq_f32(c, c), sum = vdupq_n_f32(p[0]);
    if (bits == 16) {
        u = vfmaq_f32(vdupq_n_f32(-1.0f), u, vdupq_n_f32(ENC_GELU_TO_U));
    }
    for (int i = 1; i < (bits == 8 ? ENC_GELU8_TERMS : ENC_GELU_TERMS); i++) {
        sum = vfmaq_f32(vdupq_n_f32(p[i]), sum, u);
    }
    return vmulq_f32(x, vfmaq_f32(vdupq_n_f32(0.5f), c, sum));
}

/* acc + x . w of one dword of columns for four rows. */
static inline int32x4_t dot8(int32x4_t acc, const uint8_t *x, const int8_t *w)
{
    uint32_t dword;
    memcpy(&dword, x, 4);
    int16x4_t v =
        vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(dword)))));
    int8x16_t rows = vld1q_s8(w);
    int16x8_t low = vmovl_s8(vget_low_s8(rows)), high = vmovl_s8(vget_high_s8(rows));
    int32x4_t a = vpaddq_s32(vmull_s16(vget_low_s16(low), v), vmull_s16(vget_high_s16(low), v));
    int32x4_t b = vpaddq_s32(vmull_s16(vget_low_s16(high), v), vmull_s16(vget_high_s16(high), v));
    return vaddq_s32(acc, vpaddq_s32(a, b));
}

static inline int32x4_t dot16(int32x4_t acc, const uint8_t *x, const uint8_t *w)
{
    uint32_t dword;
    memcpy(&dword, x, 4);
    int16x4_t v = vreinterpret_s16_u32(vdup_n_u32(dword));
    int16x8_t rows = vreinterpretq_s16_u8(vld1q_u8(w));
    return vaddq_s32(
        acc, vpaddq_s32(vmull_s16(vget_low_s16(rows), v), vmull_s16(vget_high_s16(rows), v)));
}

/* Rows [row, row + 4) and tokens [t, t + 4): out[4][32]. */
static void tile(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                 size_t row, size_t t, float *out)
{
    const size_t nt = (size_t)x->nt;
    const uint8_t *wp = w->values + row * 4, *xp = x->values + 4 * t;
    for (size_t c = 0, b = 0; c < cols; c += ENC_BLOCK, b++) {
        size_t n = enc_dwords(bits, cols - c < ENC_BLOCK ? cols - c : ENC_BLOCK);
        int32x4_t acc[ENC_UNIT];
        for (size_t i = 0; i < ENC_UNIT; i++) {
            acc[i] = vdupq_n_s32(0);
        }
        for (size_t k = 0; k < n; k++, xp += 4 * nt, wp += 4 * ENC_ROWS) {
            for (size_t i = 0; i < ENC_UNIT; i++) {
                acc[i] = bits == 8 ? dot8(acc[i], xp + 4 * i, (const int8_t *)wp)
                                   : dot16(acc[i], xp + 4 * i, wp);
            }
        }
        const float *factors = w->factors + b * 2 * ENC_ROWS + row;
        for (size_t i = 0; i < ENC_UNIT; i++) {
            float *to = out + i * ENC_ROWS + row;
            float32x4_t scale = vmulq_n_f32(vld1q_f32(factors), x->scale[b * nt + t + i]);
            float32x4_t y = vfmaq_f32(vld1q_f32(to), vcvtq_f32_s32(acc[i]), scale);
            if (bits == 8) {
                y = vfmaq_n_f32(y, vld1q_f32(factors + ENC_ROWS), x->shift[b * nt + t + i]);
            }
            vst1q_f32(to, y);
        }
    }
}

static void mul(int bits, const struct enc_panel *w, const struct enc_tokens *x, size_t cols,
                const float *bias, bool gelu, size_t width, float *y, size_t ldy)
{
    float out[ENC_UNIT * ENC_ROWS] = {0};
    for (size_t t = 0; t < (size_t)x->nt; t += ENC_UNIT) {
        for (size_t i = 0; i < ENC_UNIT; i++) {
            memcpy(out + i * ENC_ROWS, bias, width * sizeof *bias);
        }
        for (size_t row = 0; row < ENC_ROWS; row += 4) {
            tile(bits, w, x, cols, row, t, out);
        }
        for (size_t i = 0; gelu && i < ENC_UNIT * ENC_ROWS; i += 4) {
            vst1q_f32(out + i, gelu4(bits, vld1q_f32(out + i)));
        }
        for (size_t i = 0; i < ENC_UNIT; i++) {
            memcpy(y + (t + i) * ldy, out + i * ENC_ROWS, width * sizeof *y);
        }
    }
}

void kernels_fill_neon_enc(struct kernels *k)
{
    k->enc.mul = mul;
}
#endif

/* Rows with NEON: see kernels_rows.h. */
#include "tensor/kernels.h"

#if defined(__aarch64__)
#include "tensor/kernels_arm.h"

#include <arm_neon.h>

typedef float32x4_t V;
enum { LANES = 4 };

#define v_set(f) vdupq_n_f32(f)
#define v_load(p) vld1q_f32(p)
#define v_store(p, v) vst1q_f32(p, v)
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_max(a, b) vmaxq_f32(a, b)
#define v_min(a, b) vminq_f32(a, b)
#define v_round(a) vrndnq_f32(a)

static inline V v_exp2i(V n)
{
    int32x4_t bits = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(bits, 23));
}

static inline V v_positive(V x, V a, V b)
{
    return vbslq_f32(vcgtq_f32(x, vdupq_n_f32(0)), a, b);
}

#include "tensor/kernels_rows.h"

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32x4_t sum = vdupq_n_s32(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        int8x16_t x = vld1q_s8(a + i), y = vld1q_s8(b + i);
        sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
        sum = vpadalq_s16(sum, vmull_high_s8(x, y));
    }
    int32_t total = vaddvq_s32(sum);
    for (; i < n; i++) {
        total += a[i] * b[i];
    }
    return total;
}

static void scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = dot_i8(query, rows + i * d, d);
    }
}

void kernels_fill_neon(struct kernels *k)
{
    fill_rows(k);
    k->dot_i8 = dot_i8;
    k->scan_i8 = scan_i8;
}
#endif

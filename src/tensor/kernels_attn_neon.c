/* Attention and the KV cache with NEON: see kernels_attn.h. */
#include "tensor/kernels.h"

#if defined(__aarch64__)
#include "tensor/kernels_arm.h"

#include <arm_neon.h>

typedef float32x4_t V;
typedef int32x4_t VI;
typedef uint32x4_t VM;
enum { LANES = 4, SLOTS = 8, WIDE = 1 };

#define v_set(f) vdupq_n_f32(f)
#define v_load(p) vld1q_f32(p)
#define v_store(p, v) vst1q_f32(p, v)
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_max(a, b) vmaxq_f32(a, b)
#define v_min(a, b) vminq_f32(a, b)
#define v_abs(a) vabsq_f32(a)
#define v_first(v) vgetq_lane_f32(v, 0)
#define v_float(a) vcvtq_f32_s32(a)
#define v_round(a) vcvtnq_s32_f32(a)
#define v_seen(lo, hi, s) vandq_u32(vcleq_s32(lo, s), vcgtq_s32(hi, s))
#define v_keep(m, a) vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(a)))
#define v_else(m, a, b) vbslq_f32(m, a, b)
#define v_above(a, b) vcgtq_f32(a, b)
#define v_any(a, b) (vmaxvq_u32(vcgtq_f32(a, b)) != 0)
#define vi_set(i) vdupq_n_s32(i)
#define vi_add(a, b) vaddq_s32(a, b)
#define vi_load(p) vld1q_s32((const int32_t *)(const void *)(p))
#define vi_store(p, v) vst1q_s32((int32_t *)(void *)(p), v)
#define vi_dot(acc, a, b) ((acc) = dot(acc, a, b))

#define v_halves(p) vcvt_f32_f16(vld1_f16((const float16_t *)(const void *)(p)))
#define v_low(a, b, n) \
    ((n) == 2 ? vcombine_f32(vget_low_f32(a), vget_low_f32(b)) : vuzp1q_f32(a, b))
#define v_high(a, b, n) \
    ((n) == 2 ? vcombine_f32(vget_high_f32(a), vget_high_f32(b)) : vuzp2q_f32(a, b))

static const int fold_order[4] = {0, 2, 1, 3};

static inline VI dot(VI acc, VI a, VI b)
{
    int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(acc, vpaddq_s32(low, vmull_high_s16(x, y)));
}

static inline V v_times2(V p, V t)
{
    VI up = vshlq_n_s32(vreinterpretq_s32_f32(t), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), up));
}

static inline VI vi_spread(const void *p)
{
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return vdupq_n_s32(v);
}

static inline VI vi_pairs(VI even, VI odd)
{
    return vorrq_s32(even, vshlq_n_s32(odd, 16)); /* neither is negative */
}

static inline void vi_store16(int16_t *p, VI v)
{
    vst1_s16(p, vqmovn_s32(v));
}

static inline VI vi_widen(const int8_t *p)
{
    return vreinterpretq_s32_s16(vmovl_s8(vld1_s8(p)));
}

#include "tensor/kernels_attn.h"

void kernels_fill_neon_attn(struct kernels *k)
{
    fill_attn(k);
}
#endif

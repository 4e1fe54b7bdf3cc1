/* What NEON can do at most, with and without SDOT: see probe.h. */
#include "tensor/kernels.h"

#if defined(__aarch64__)
#include "tensor/kernels_arm.h"

#include <arm_neon.h>

__asm__(".arch armv8.2-a+dotprod"); /* for the assembler only */

enum { CHAINS = 16 };

static uint32_t read_words(const uint8_t *p, size_t n)
{
    uint32x4_t s[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (size_t i = 0; i < n; i += 64) {
        __builtin_prefetch(p + i + 2048);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            s[j] = vaddq_u32(s[j], vreinterpretq_u32_u8(vld1q_u8(p + i + 16 * j)));
        }
    }
    return vaddvq_u32(vaddq_u32(vaddq_u32(s[0], s[1]), vaddq_u32(s[2], s[3])));
}

static inline __attribute__((always_inline)) uint64_t
products(const bool sdot, size_t rounds, const int8_t *operands, uint32_t *sum)
{
    int8x16_t x = vld1q_s8(operands);
    int32x4_t acc[CHAINS];
#pragma GCC unroll 16
    for (int c = 0; c < CHAINS; c++) {
        acc[c] = vdupq_n_s32(0);
    }
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) {
            if (sdot) {
                __asm__("sdot %0.4s, %1.16b, %1.16b" : "+w"(acc[c]) : "w"(x));
            } else {
                __asm__("" : "+w"(x)); /* no two of these are the same for the compiler */
                int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(x));
                int32x4_t pairs = vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(vmull_high_s8(x, x)));
                acc[c] = vaddq_s32(acc[c], pairs);
            }
        }
    }
#pragma GCC unroll 16
    for (int c = 1; c < CHAINS; c++) {
        acc[0] = vaddq_s32(acc[0], acc[c]);
    }
    *sum = (uint32_t)vaddvq_s32(acc[0]);
    return 2 * 16 * CHAINS * (uint64_t)rounds;
}

static uint64_t int_products(size_t rounds, const int8_t *operands, uint32_t *sum)
{
    return products(false, rounds, operands, sum);
}

static uint64_t int_products_dotprod(size_t rounds, const int8_t *operands, uint32_t *sum)
{
    return products(true, rounds, operands, sum);
}

void kernels_fill_neon_probe(struct kernels *k)
{
    k->read_words = read_words;
    k->int_products = int_products;
}

void kernels_fill_dotprod_probe(struct kernels *k)
{
    k->int_products = int_products_dotprod;
}
#endif

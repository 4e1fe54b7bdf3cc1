/* Shared by types.c, types_k.c and the weight packer: unaligned loads, the super-block readers. */
#ifndef HEARTH_TENSOR_TYPES_INTERNAL_H
#define HEARTH_TENSOR_TYPES_INTERNAL_H

#include "tensor/types.h"

static inline uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

static inline void store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline float load_f16(const uint8_t *p)
{
    return f16_to_f32(load_u16(p));
}

/* The 16 levels of IQ4_NL and IQ4_XS. */
extern const int8_t iq4_values[16];

/* 6-bit scale and min of group j of 8 in the 12 packed bytes of Q4_K and Q5_K. */
void k4_scale_min(const uint8_t *packed, int j, int *scale, int *min);
/* 6-bit scale (-32 .. 31) of group j of 16 in the 12 packed bytes of Q3_K. */
int q3_k_scale(const uint8_t *packed, int j);
/* 6-bit scale (-32 .. 31) of group j of 8 in a block of IQ4_XS. */
int iq4_xs_scale(const uint8_t *block, int j);

void q2_k_to_float(const void *src, float *dst, size_t n);
void q3_k_to_float(const void *src, float *dst, size_t n);
void q4_k_to_float(const void *src, float *dst, size_t n);
void q5_k_to_float(const void *src, float *dst, size_t n);
void q6_k_to_float(const void *src, float *dst, size_t n);
void iq4_xs_to_float(const void *src, float *dst, size_t n);

#endif

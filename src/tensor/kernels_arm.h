/* The ARM kernel files: what each puts into the table. */
#ifndef HEARTH_TENSOR_KERNELS_ARM_H
#define HEARTH_TENSOR_KERNELS_ARM_H

#include "tensor/kernels.h"
#include "tensor/types_internal.h"

void kernels_fill_neon(struct kernels *k);
void kernels_fill_neon_attn(struct kernels *k);
void kernels_fill_neon_mul(struct kernels *k);
void kernels_fill_neon_outliers(struct kernels *k);
void kernels_fill_neon_probe(struct kernels *k);
void kernels_fill_dotprod_mul(struct kernels *k); /* the processor must have SDOT */
void kernels_fill_dotprod_probe(struct kernels *k);

#endif

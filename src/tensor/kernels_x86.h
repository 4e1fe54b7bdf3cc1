/* The x86 kernel files: what each puts into the table. Called only after cpu_features() allows. */
#ifndef HEARTH_TENSOR_KERNELS_X86_H
#define HEARTH_TENSOR_KERNELS_X86_H

#include "tensor/kernels.h"
#include "tensor/types_internal.h"

void kernels_fill_avx2(struct kernels *k);
void kernels_fill_avx2_attn(struct kernels *k);
void kernels_fill_avx2_mul(struct kernels *k);
void kernels_fill_avx2_outliers(struct kernels *k);
void kernels_fill_avx2_probe(struct kernels *k);
void kernels_fill_avx2_quant(struct kernels *k);
void kernels_fill_avxvnni_attn(struct kernels *k);
void kernels_fill_avxvnni_mul(struct kernels *k);
void kernels_fill_avxvnni_probe(struct kernels *k);
void kernels_fill_avx512(struct kernels *k);
void kernels_fill_avx512_quant(struct kernels *k);
void kernels_fill_avx512_attn(struct kernels *k);
void kernels_fill_avx512_few(struct kernels *k);
void kernels_fill_avx512_mul(struct kernels *k);
void kernels_fill_avx512_outliers(struct kernels *k);
void kernels_fill_avx512_probe(struct kernels *k);

#endif

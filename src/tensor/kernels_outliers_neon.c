/* Outliers with NEON: see kernels_outliers.h. */
#if defined(__aarch64__)
#include "tensor/kernels_arm.h"
#include "tensor/kernels_outliers.h"

void kernels_fill_neon_outliers(struct kernels *k)
{
    k->column = column;
    k->add_outliers = add_outliers;
}
#endif

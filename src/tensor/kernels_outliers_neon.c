/* Outliers with NEON: see kernels_outliers.h. */
#include "tensor/kernels.h"

#if defined(__aarch64__)
#include "tensor/kernels_arm.h"

#define FILL kernels_fill_neon_outliers
#include "tensor/kernels_outliers.h"
#endif

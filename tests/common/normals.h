/* Normally distributed numbers for tests of kernels and operations. */
#ifndef HEARTH_TESTS_COMMON_NORMALS_H
#define HEARTH_TESTS_COMMON_NORMALS_H

#include "base/sys.h"

/* Mean 0, deviation 1 (Box and Muller 1958). */
float test_normal(struct rng *rng);
/* n of them, to be freed with free(). */
float *test_normals(struct rng *rng, size_t n);
#endif

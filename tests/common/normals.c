#include "common/normals.h"

#include "common/test.h"

#include <math.h>

float test_normal(struct rng *rng)
{
    double u = rng_unit(rng) + 1e-12, v = rng_unit(rng);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

float *test_normals(struct rng *rng, size_t n)
{
    float *x = mem_aligned(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = test_normal(rng);
    }
    return x;
}

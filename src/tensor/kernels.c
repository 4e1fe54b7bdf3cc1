/* Chooses the kernel table: see kernels.h. */
#include "tensor/kernels.h"

#include <pthread.h>

static struct kernels chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    kernels_fill_scalar(&chosen);
}

const struct kernels *kernels(void)
{
    (void)pthread_once(&chosen_once, choose);
    return &chosen;
}

const char *ops_isa(void)
{
    return kernels()->name;
}

float vec_dot_f32(const float *a, const float *b, size_t n)
{
    return kernels()->dot_f32(a, b, n);
}

int32_t vec_dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    return kernels()->dot_i8(a, b, n);
}

void vec_scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out)
{
    kernels()->scan_i8(query, rows, n, d, out);
}

/* The kernels in plain C: the definition that the others are checked against. */
#include "tensor/kernels.h"

#include "tensor/types_internal.h"

#include <math.h>
#include <string.h>

static float dot_f32(const float *a, const float *b, size_t n)
{
    float lanes[16] = {
        0}; /* partial sums: shorter chains of rounding, and the compiler may vectorise */
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 16; j++) {
            lanes[j] += a[i + j] * b[i + j];
        }
    }
    float sum = 0;
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    for (size_t j = 0; j < 16; j++) {
        sum += lanes[j];
    }
    return sum;
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = dot_i8(query, rows + i * d, d);
    }
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

static void rmsnorm(const float *x, const float *gain, float eps, size_t d, float *y)
{
    float scale = 1 / sqrtf(dot_f32(x, x, d) / (float)d + eps);
    for (size_t i = 0; i < d; i++) {
        y[i] = x[i] * scale * (gain ? gain[i] : 1);
    }
}

static void layernorm(const float *x, const float *residual, const float *gain, const float *bias,
                      float eps, size_t d, float *y)
{
    float sum = 0;
    for (size_t i = 0; i < d; i++) {
        y[i] = x[i] + (residual ? residual[i] : 0);
        sum += y[i];
    }
    float mean = sum / (float)d, squares = 0;
    for (size_t i = 0; i < d; i++) {
        y[i] -= mean;
        squares += y[i] * y[i];
    }
    float scale = 1 / sqrtf(squares / (float)d + eps);
    for (size_t i = 0; i < d; i++) {
        y[i] = y[i] * scale * gain[i] + bias[i];
    }
}

static void gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f));
    }
}

static void silu_mul(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
    }
}

static void rope(float *x, const float *cosine, const float *sine, size_t rot_dim, bool neox)
{
    size_t half = rot_dim / 2;
    for (size_t i = 0; i < half; i++) {
        size_t j0 = neox ? i : 2 * i;
        size_t j1 = neox ? i + half : 2 * i + 1;
        float a = x[j0], b = x[j1];
        x[j0] = a * cosine[i] - b * sine[i];
        x[j1] = a * sine[i] + b * cosine[i];
    }
}

void kernels_fill_scalar(struct kernels *k)
{
    *k = (struct kernels){
        .name = "scalar",
        .dot_f32 = dot_f32,
        .dot_i8 = dot_i8,
        .scan_i8 = scan_i8,
        .add = add,
        .rmsnorm = rmsnorm,
        .layernorm = layernorm,
        .gelu = gelu,
        .silu_mul = silu_mul,
        .rope = rope,
    };
    kernels_fill_scalar_attn(k);
    kernels_fill_scalar_mul(k);
    kernels_fill_scalar_probe(k);
    kernels_fill_scalar_enc(k);
    kernels_fill_scalar_enc_attn(k);
}

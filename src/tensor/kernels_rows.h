/* Rows for any vector width: the body of kernels_avx2.c and kernels_neon.c, which define the vector
 * type V of LANES floats and, before including this:
 *   v_set(f) v_load(p) v_store(p, v) v_fma(a, b, c) = a b + c, v_max v_min v_round v_exp2i(n) = 2^n
 *   v_positive(x, a, b) = x > 0 ? a : b per lane
 * + - * / are the compiler's own on vectors. Tails go through a padded copy, so a value's result
 * does not depend on where in an array it stands. The polynomials are those of
 * kernels_avx512.c. */
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE V load_part(const float *p, size_t left)
{
    float padded[LANES] = {0};
    if (left >= LANES) {
        return v_load(p);
    }
    memcpy(padded, p, left * sizeof *p);
    return v_load(padded);
}

INLINE void store_part(float *p, V v, size_t left)
{
    float padded[LANES];
    if (left >= LANES) {
        v_store(p, v);
        return;
    }
    v_store(padded, v);
    memcpy(p, padded, left * sizeof *p);
}

INLINE float v_sum(V v)
{
    float lanes[LANES];
    v_store(lanes, v);
    for (int n = LANES / 2; n; n /= 2) {
        for (int i = 0; i < n; i++) {
            lanes[i] += lanes[i + n];
        }
    }
    return lanes[0];
}

INLINE V v_exp(V x)
{
    V alive = v_positive(x + v_set(87.0f), v_set(1), v_set(0));
    x = v_max(v_min(x, v_set(88.0f)), v_set(-87.0f));
    V n = v_round(x * v_set(1.44269504f));
    V r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    V p = v_set(1.3981999e-3f);
    p = v_fma(p, r, v_set(8.3334520e-3f));
    p = v_fma(p, r, v_set(4.1665795e-2f));
    p = v_fma(p, r, v_set(1.6666665e-1f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r * r, r + v_set(1));
    return p * v_exp2i(n) * alive;
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    V s[4] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        for (size_t j = 0; j < 4; j++) {
            s[j] = v_fma(v_load(a + i + j * LANES), v_load(b + i + j * LANES), s[j]);
        }
    }
    for (; i < n; i += LANES) {
        s[0] = v_fma(load_part(a + i, n - i), load_part(b + i, n - i), s[0]);
    }
    return v_sum((s[0] + s[1]) + (s[2] + s[3]));
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        store_part(y + i, load_part(y + i, n - i) + load_part(x + i, n - i), n - i);
    }
}

static void rmsnorm(const float *x, const float *gain, float eps, size_t d, float *y)
{
    V scale = v_set(1 / sqrtf(dot_f32(x, x, d) / (float)d + eps));
    for (size_t i = 0; i < d; i += LANES) {
        V v = load_part(x + i, d - i) * scale;
        if (gain) {
            v = v * load_part(gain + i, d - i);
        }
        store_part(y + i, v, d - i);
    }
}

static void layernorm(const float *x, const float *residual, const float *gain, const float *bias,
                      float eps, size_t d, float *y)
{
    V sum = v_set(0);
    for (size_t i = 0; i < d; i += LANES) {
        V v = load_part(x + i, d - i);
        if (residual) {
            v = v + load_part(residual + i, d - i);
        }
        sum = sum + v;
        store_part(y + i, v, d - i);
    }
    float mean = v_sum(sum) / (float)d;
    for (size_t i = 0; i < d; i += LANES) {
        store_part(y + i, load_part(y + i, d - i) - v_set(mean), d - i);
    }
    V scale = v_set(1 / sqrtf(dot_f32(y, y, d) / (float)d + eps));
    for (size_t i = 0; i < d; i += LANES) {
        V v = load_part(y + i, d - i) * scale;
        store_part(y + i, v_fma(v, load_part(gain + i, d - i), load_part(bias + i, d - i)), d - i);
    }
}

static void gelu(float *x, size_t n)
{
    const V one = v_set(1);
    for (size_t i = 0; i < n; i += LANES) {
        V v = load_part(x + i, n - i);
        V z = v_max(v, v_set(0) - v) * v_set(0.70710678f);
        V t = one / v_fma(z, v_set(0.3275911f), one);
        V p = v_set(1.061405429f);
        p = v_fma(p, t, v_set(-1.453152027f));
        p = v_fma(p, t, v_set(1.421413741f));
        p = v_fma(p, t, v_set(-0.284496736f));
        p = v_fma(p, t, v_set(0.254829592f));
        p = p * t * v_exp(v_set(0) - z * z) * v_set(0.5f);
        store_part(x + i, v * v_positive(v, one - p, p), n - i);
    }
}

static void silu_mul(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        V g = load_part(gate + i, n - i);
        g = g / (v_set(1) + v_exp(v_set(0) - g));
        store_part(y + i, g * load_part(up + i, n - i), n - i);
    }
}

static void rope(float *x, const float *cosine, const float *sine, size_t rot_dim, bool neox)
{
    size_t half = rot_dim / 2;
    if (!neox) { /* adjacent pairs: the compiler's shuffles are good enough */
        for (size_t i = 0; i < half; i++) {
            float a = x[2 * i], b = x[2 * i + 1];
            x[2 * i] = a * cosine[i] - b * sine[i];
            x[2 * i + 1] = a * sine[i] + b * cosine[i];
        }
        return;
    }
    for (size_t i = 0; i < half; i += LANES) {
        V a = load_part(x + i, half - i), b = load_part(x + half + i, half - i);
        V c = load_part(cosine + i, half - i), s = load_part(sine + i, half - i);
        store_part(x + i, a * c - b * s, half - i);
        store_part(x + half + i, a * s + b * c, half - i);
    }
}

static void fill_rows(struct kernels *k)
{
    k->dot_f32 = dot_f32;
    k->add = add;
    k->rmsnorm = rmsnorm;
    k->layernorm = layernorm;
    k->gelu = gelu;
    k->silu_mul = silu_mul;
    k->rope = rope;
}

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

size_t kv_section_bytes(enum tensor_type type, size_t head_dim)
{
    size_t values = 2 * KV_BLOCK * head_dim;
    switch (type) {
    case TYPE_F32:
        return 4 * values;
    case TYPE_F16:
        return 2 * values;
    default: /* TYPE_Q8_0 */
        return values + values / 32 * 2;
    }
}

/* The parts of a Q8_0 section. */
static int8_t *q8_keys(uint8_t *section)
{
    return (int8_t *)section;
}

static uint8_t *q8_key_scales(uint8_t *section, size_t head_dim)
{
    return section + KV_BLOCK * head_dim;
}

static int8_t *q8_values(uint8_t *section, size_t head_dim)
{
    return (int8_t *)q8_key_scales(section, head_dim) + head_dim / 32 * KV_BLOCK * 2;
}

static uint8_t *q8_value_scales(uint8_t *section, size_t head_dim)
{
    return (uint8_t *)q8_values(section, head_dim) + KV_BLOCK * head_dim;
}

static float q8_group(const float *x, int8_t q[32])
{
    float peak = 0;
    for (int i = 0; i < 32; i++) {
        peak = fmaxf(peak, fabsf(x[i]));
    }
    /* The stored scale is f16: quantise with what will be read back. */
    float scale = f16_to_f32(f32_to_f16(peak / 127));
    float inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < 32; i++) {
        float v = rintf(x[i] * inverse);
        q[i] = (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
    }
    return scale;
}

static void kv_put(enum tensor_type type, uint8_t *section, size_t slot, size_t head_dim,
                   const float *k, const float *v)
{
    if (type == TYPE_Q8_0) {
        for (size_t g = 0; g < head_dim / 32; g++) {
            int8_t q[32];
            float scale = q8_group(k + 32 * g, q);
            for (size_t i = 0; i < 32; i++) {
                q8_keys(section)[((32 * g + i) / 4 * KV_BLOCK + slot) * 4 + i % 4] = q[i];
            }
            store_u16(q8_key_scales(section, head_dim) + 2 * (g * KV_BLOCK + slot),
                      f32_to_f16(scale));
            scale = q8_group(v + 32 * g, q);
            memcpy(q8_values(section, head_dim) + slot * head_dim + 32 * g, q, 32);
            store_u16(q8_value_scales(section, head_dim) + 2 * (slot * (head_dim / 32) + g),
                      f32_to_f16(scale));
        }
        return;
    }
    uint8_t *values = section + kv_section_bytes(type, head_dim) / 2;
    for (size_t i = 0; i < head_dim; i++) {
        if (type == TYPE_F32) {
            memcpy(section + 4 * (i * KV_BLOCK + slot), k + i, 4);
            memcpy(values + 4 * (slot * head_dim + i), v + i, 4);
        } else {
            store_u16(section + 2 * (i * KV_BLOCK + slot), f32_to_f16(k[i]));
            store_u16(values + 2 * (slot * head_dim + i), f32_to_f16(v[i]));
        }
    }
}

static float key_at(enum tensor_type type, const uint8_t *section, size_t d, size_t slot, size_t i)
{
    float f;
    switch (type) {
    case TYPE_F32:
        memcpy(&f, section + 4 * (i * KV_BLOCK + slot), 4);
        return f;
    case TYPE_F16:
        return load_f16(section + 2 * (i * KV_BLOCK + slot));
    default:
        return (float)(int8_t)section[(i / 4 * KV_BLOCK + slot) * 4 + i % 4] *
               load_f16(section + KV_BLOCK * d + 2 * (i / 32 * KV_BLOCK + slot));
    }
}

static float value_at(enum tensor_type type, const uint8_t *section, size_t d, size_t slot,
                      size_t i)
{
    const uint8_t *values = section + kv_section_bytes(type, d) / 2;
    float f;
    switch (type) {
    case TYPE_F32:
        memcpy(&f, values + 4 * (slot * d + i), 4);
        return f;
    case TYPE_F16:
        return load_f16(values + 2 * (slot * d + i));
    default:
        return (float)(int8_t)values[slot * d + i] *
               load_f16(values + KV_BLOCK * d + 2 * (slot * (d / 32) + i / 32));
    }
}

/* One query of the tile against slots [first, last) of the section. */
static void attn_query(struct attn_tile *t, int i, enum tensor_type type, const uint8_t *section,
                       size_t first, size_t last)
{
    size_t d = (size_t)t->head_dim;
    const float *q = t->q + (size_t)i * d;
    float *acc = t->acc + (size_t)i * d;
    float score[KV_BLOCK], peak = t->peak[i];
    for (size_t s = first; s < last; s++) {
        float sum = 0;
        for (size_t c = 0; c < d; c++) {
            sum += q[c] * key_at(type, section, d, s, c);
        }
        score[s] = t->softcap > 0 ? t->softcap * tanhf(sum / t->softcap) : sum;
        peak = fmaxf(peak, score[s]);
    }
    float shrink = expf(t->peak[i] - peak); /* 0 the first time: exp(-inf) */
    t->peak[i] = peak;
    t->total[i] *= shrink;
    for (size_t c = 0; c < d; c++) {
        acc[c] *= shrink;
    }
    for (size_t s = first; s < last; s++) {
        float weight = expf(score[s] - peak);
        t->total[i] += weight;
        for (size_t c = 0; c < d; c++) {
            acc[c] += weight * value_at(type, section, d, s, c);
        }
    }
}

static void attn_block(struct attn_tile *t, enum tensor_type type, const uint8_t *section,
                       int64_t pos)
{
    for (int i = 0; i < t->n; i++) {
        int64_t first = t->lo[i] > pos ? t->lo[i] - pos : 0;
        int64_t last = t->hi[i] - pos < KV_BLOCK ? t->hi[i] - pos : KV_BLOCK;
        if (first < last) {
            attn_query(t, i, type, section, (size_t)first, (size_t)last);
        }
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
        .kv_put = kv_put,
        .attn_block = attn_block,
    };
    kernels_fill_scalar_mul(k);
    kernels_fill_scalar_probe(k);
    kernels_fill_scalar_enc(k);
}

/* Rows and attention for any vector width: the body of kernels_avx2.c and kernels_neon.c, which
 * define the vector type V of LANES floats and, before including this:
 *   v_set(f) v_load(p) v_store(p, v) v_fma(a, b, c) = a b + c, v_max v_min v_round v_exp2i(n) = 2^n
 *   v_positive(x, a, b) = x > 0 ? a : b per lane, v_load_f16(p) v_store_f16(p, v)
 *   v_load_i8(p): LANES int8 as floats
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

INLINE float v_most(V v)
{
    float lanes[LANES];
    v_store(lanes, v);
    for (int i = 1; i < LANES; i++) {
        lanes[0] = fmaxf(lanes[0], lanes[i]);
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

/* A section as floats: keys [d][32], values [32][d]. */
struct section_f32 {
    _Alignas(64) float keys[ATTN_MAX_DIM * KV_BLOCK];
    _Alignas(64) float values[ATTN_MAX_DIM * KV_BLOCK];
};

static void section_from_f16(const uint8_t *section, size_t d, struct section_f32 *s)
{
    for (size_t i = 0; i < KV_BLOCK * d; i += LANES) {
        v_store(s->keys + i, v_load_f16(section + 2 * i));
        v_store(s->values + i, v_load_f16(section + 2 * (KV_BLOCK * d + i)));
    }
}

static void section_from_q8(const uint8_t *section, size_t d, struct section_f32 *s)
{
    const uint8_t *key_scales = section + KV_BLOCK * d;
    const uint8_t *values = key_scales + d / 32 * KV_BLOCK * 2;
    const uint8_t *value_scales = values + KV_BLOCK * d;
    for (size_t i = 0; i < d; i++) {
        for (size_t slot = 0; slot < KV_BLOCK; slot++) {
            int8_t q = (int8_t)section[(i / 4 * KV_BLOCK + slot) * 4 + i % 4];
            s->keys[i * KV_BLOCK + slot] = (float)q;
        }
        for (size_t slot = 0; slot < KV_BLOCK; slot += LANES) {
            float *k = s->keys + i * KV_BLOCK + slot;
            v_store(k, v_load(k) * v_load_f16(key_scales + 2 * (i / 32 * KV_BLOCK + slot)));
        }
    }
    for (size_t slot = 0; slot < KV_BLOCK; slot++) {
        for (size_t i = 0; i < d; i += LANES) {
            float scale = load_f16(value_scales + 2 * (slot * (d / 32) + i / 32));
            v_store(s->values + slot * d + i,
                    v_load_i8((const int8_t *)values + slot * d + i) * v_set(scale));
        }
    }
}

/* Scores of NQ queries with the 32 slots. */
INLINE void scores(const int NQ, const float *q, const float *keys, size_t d, float *out)
{
    for (size_t slot = 0; slot < KV_BLOCK; slot += 2 * LANES) {
        V s[4][2];
#pragma GCC unroll 4
        for (int i = 0; i < NQ; i++) {
            s[i][0] = s[i][1] = v_set(0);
        }
        for (size_t c = 0; c < d; c++) {
            V k0 = v_load(keys + c * KV_BLOCK + slot),
              k1 = v_load(keys + c * KV_BLOCK + slot + LANES);
#pragma GCC unroll 4
            for (int i = 0; i < NQ; i++) {
                V v = v_set(q[(size_t)i * d + c]);
                s[i][0] = v_fma(v, k0, s[i][0]);
                s[i][1] = v_fma(v, k1, s[i][1]);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < NQ; i++) {
            v_store(out + (size_t)i * KV_BLOCK + slot, s[i][0]);
            v_store(out + (size_t)i * KV_BLOCK + slot + LANES, s[i][1]);
        }
    }
}

/* Scores of query i to weights exp(score - peak), 0 for slots outside [first, last). Returns what
 * its accumulator shrinks by. */
static float weigh(struct attn_tile *t, int i, int first, int last, float *score)
{
    for (int s = 0; s < KV_BLOCK; s++) {
        score[s] = s >= first && s < last ? score[s] : -INFINITY;
    }
    if (first >= last) {
        memset(score, 0, KV_BLOCK * sizeof *score);
        return 1;
    }
    V most = v_set(-INFINITY), total = v_set(0);
    for (int s = 0; s < KV_BLOCK; s += LANES) {
        if (t->softcap > 0) { /* tanh(x) = 1 - 2 / (exp(2 x) + 1) */
            V e = v_exp(v_load(score + s) * v_set(2 / t->softcap));
            v_store(score + s, (v_set(1) - v_set(2) / (e + v_set(1))) * v_set(t->softcap));
        }
        most = v_max(most, v_load(score + s));
    }
    float peak = fmaxf(t->peak[i], v_most(most));
    float lanes[LANES];
    v_store(lanes, v_exp(v_set(t->peak[i] - peak)));
    for (int s = 0; s < KV_BLOCK; s += LANES) {
        v_store(score + s, v_exp(v_load(score + s) - v_set(peak)));
    }
    for (int s = 0; s < KV_BLOCK; s++) { /* the cap gave unseen slots a finite score */
        score[s] = s >= first && s < last ? score[s] : 0;
    }
    for (int s = 0; s < KV_BLOCK; s += LANES) {
        total = total + v_load(score + s);
    }
    t->peak[i] = peak;
    t->total[i] = t->total[i] * lanes[0] + v_sum(total);
    return lanes[0];
}

/* acc = acc * shrink + weights x values for NQ queries and 2 LANES columns. */
INLINE void mix(const int NQ, const float *weight, const float *shrink, const float *values,
                size_t d, int first, int last, float *acc)
{
    V a[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < NQ; i++) {
        a[i][0] = v_load(acc + (size_t)i * d) * v_set(shrink[i]);
        a[i][1] = v_load(acc + (size_t)i * d + LANES) * v_set(shrink[i]);
    }
    for (int s = first; s < last; s++) {
        V v0 = v_load(values + (size_t)s * d), v1 = v_load(values + (size_t)s * d + LANES);
#pragma GCC unroll 4
        for (int i = 0; i < NQ; i++) {
            V p = v_set(weight[i * KV_BLOCK + s]);
            a[i][0] = v_fma(p, v0, a[i][0]);
            a[i][1] = v_fma(p, v1, a[i][1]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < NQ; i++) {
        v_store(acc + (size_t)i * d, a[i][0]);
        v_store(acc + (size_t)i * d + LANES, a[i][1]);
    }
}

static void attn_block(struct attn_tile *t, enum tensor_type type, const uint8_t *section,
                       int64_t pos)
{
    struct section_f32 floats;
    _Alignas(64) float weight[ATTN_QUERIES * KV_BLOCK];
    float shrink[ATTN_QUERIES];
    size_t d = (size_t)t->head_dim;
    const float *keys = floats.keys, *values = floats.values;
    if (type == TYPE_F32) {
        keys = (const float *)(const void *)section;
        values = keys + KV_BLOCK * d;
    } else {
        (type == TYPE_F16 ? section_from_f16 : section_from_q8)(section, d, &floats);
    }
    int i = 0, first = KV_BLOCK, last = 0;
    for (; i + 4 <= t->n; i += 4) {
        scores(4, t->q + (size_t)i * d, keys, d, weight + i * KV_BLOCK);
    }
    for (; i < t->n; i++) {
        scores(1, t->q + (size_t)i * d, keys, d, weight + i * KV_BLOCK);
    }
    for (i = 0; i < t->n; i++) {
        int lo =
            t->lo[i] > pos ? (t->lo[i] - pos < KV_BLOCK ? (int)(t->lo[i] - pos) : KV_BLOCK) : 0;
        int hi =
            t->hi[i] - pos < KV_BLOCK ? (t->hi[i] > pos ? (int)(t->hi[i] - pos) : 0) : KV_BLOCK;
        shrink[i] = weigh(t, i, lo, hi, weight + i * KV_BLOCK);
        first = lo < hi && lo < first ? lo : first;
        last = lo < hi && hi > last ? hi : last;
    }
    for (size_t c = 0; c < d; c += 2 * LANES) {
        for (i = 0; i + 4 <= t->n; i += 4) {
            mix(4, weight + i * KV_BLOCK, shrink + i, values + c, d, first, last,
                t->acc + (size_t)i * d + c);
        }
        for (; i < t->n; i++) {
            mix(1, weight + i * KV_BLOCK, shrink + i, values + c, d, first, last,
                t->acc + (size_t)i * d + c);
        }
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
    k->attn_block = attn_block;
}

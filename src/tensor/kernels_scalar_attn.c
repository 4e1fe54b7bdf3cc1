/* Attention and the KV cache, the definition: plain loops, see kernels.h. */
#include "tensor/kernels.h"

#include "tensor/types_internal.h"

#include <math.h>
#include <string.h>

size_t kv_section_bytes(enum tensor_type type, size_t head_dim)
{
    size_t numbers = 2 * KV_BLOCK * head_dim;
    switch (type) {
    case TYPE_F32:
        return 4 * numbers;
    case TYPE_F16:
        return 2 * numbers + 2 * KV_BLOCK * sizeof(float);
    default: /* TYPE_Q8_0 */
        return numbers + numbers / GROUP * 2;
    }
}

/* Adds the upper half to the lower until one is left. */
static float tree_sum(float *x, size_t n)
{
    while (n /= 2) {
        for (size_t i = 0; i < n; i++) {
            x[i] += x[i + n];
        }
    }
    return x[0];
}

static float exp2_of(float x)
{
    x = fminf(fmaxf(x, -64), 64);
    float n = rintf(x), f = x - n, p = 1.327647129e-3f;
    p = fmaf(p, f, 9.675540961e-3f);
    p = fmaf(p, f, 5.550713092e-2f);
    p = fmaf(p, f, 2.402212024e-1f);
    p = fmaf(p, f, 6.931469440e-1f);
    p = fmaf(p, f, 1);
    return ldexpf(p, (int)n);
}

static int to_int(float x, int most)
{
    x = rintf(x);
    return x > (float)most ? most : x > (float)-most ? (int)x : -most;
}

/* q = x / scale for the largest scale at which no sum of products can overflow. */
static float quantise_by_norm(const float *x, size_t d, int16_t *q)
{
    float squares[16] = {0}, peak = 0;
    for (size_t i = 0; i < d; i++) {
        squares[i % 16] = fmaf(x[i], x[i], squares[i % 16]);
        peak = fmaxf(peak, fabsf(x[i]));
    }
    float scale = fmaxf(sqrtf(tree_sum(squares, 16)) / 46300, peak / 32767);
    float inverse = scale > 1e-30f ? 1 / scale : 0;
    for (size_t i = 0; i < d; i++) {
        q[i] = (int16_t)to_int(x[i] * inverse, 32767);
    }
    return scale;
}

static float quantise_by_peak(const float *x, size_t d, int16_t *q)
{
    float peak = 0;
    for (size_t i = 0; i < d; i++) {
        peak = fmaxf(peak, fabsf(x[i]));
    }
    float scale = peak / VALUE_MOST, inverse = scale > 1e-30f ? 1 / scale : 0;
    for (size_t i = 0; i < d; i++) {
        q[i] = (int16_t)to_int(x[i] * inverse, VALUE_MOST);
    }
    return scale;
}

static float quantise_group(const float *x, int8_t q[GROUP])
{
    float peak = 0;
    for (int i = 0; i < GROUP; i++) {
        peak = fmaxf(peak, fabsf(x[i]));
    }
    /* The stored scale is f16: quantise with what will be read back. */
    float scale = f16_to_f32(f32_to_f16(peak / 127));
    float inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < GROUP; i++) {
        q[i] = (int8_t)to_int(x[i] * inverse, 127);
    }
    return scale;
}

/* Where column i of a slot's key and value stands, in numbers. */
static size_t key_at(size_t slot, size_t i)
{
    return (i / 2 * KV_BLOCK + slot) * 2 + i % 2;
}

static size_t value_at(size_t slot, size_t d, size_t i)
{
    return (slot / 2 * d + i) * 2 + slot % 2;
}

static void put_q8(uint8_t *section, size_t slot, size_t d, const float *k, const float *v)
{
    uint8_t *values = section + kv_section_bytes(TYPE_Q8_0, d) / 2;
    for (size_t g = 0; g < d / GROUP; g++) {
        for (int part = 0; part < 2; part++) {
            int8_t q[GROUP];
            uint8_t *to = part ? values : section;
            float scale = quantise_group((part ? v : k) + g * GROUP, q);
            for (size_t i = 0; i < GROUP; i++) {
                size_t c = g * GROUP + i;
                to[part ? value_at(slot, d, c) : key_at(slot, c)] = (uint8_t)q[i];
            }
            store_u16(to + KV_BLOCK * d + 2 * (g * KV_BLOCK + slot), f32_to_f16(scale));
        }
    }
}

static void put_16(uint8_t *section, size_t slot, size_t d, const float *k, const float *v)
{
    int16_t q[ATTN_MAX_DIM];
    uint8_t *values = section + kv_section_bytes(TYPE_F16, d) / 2;
    float scale = quantise_by_norm(k, d, q);
    for (size_t i = 0; i < d; i++) {
        memcpy(section + 2 * key_at(slot, i), q + i, 2);
    }
    memcpy(section + 2 * KV_BLOCK * d + 4 * slot, &scale, 4);
    scale = quantise_by_peak(v, d, q);
    for (size_t i = 0; i < d; i++) {
        memcpy(values + 2 * value_at(slot, d, i), q + i, 2);
    }
    memcpy(values + 2 * KV_BLOCK * d + 4 * slot, &scale, 4);
}

static void kv_put(enum tensor_type type, uint8_t *section, size_t slot, size_t d, const float *k,
                   const float *v)
{
    if (type == TYPE_Q8_0) {
        put_q8(section, slot, d, k, v);
    } else if (type == TYPE_F16) {
        put_16(section, slot, d, k, v);
    } else {
        for (size_t i = 0; i < d; i++) {
            memcpy(section + 4 * (i * KV_BLOCK + slot), k + i, 4);
        }
        memcpy(section + 4 * (KV_BLOCK + slot) * d, v, 4 * d);
    }
}

static void attn_query(struct attn_tile *t, int i, const float *x, float scale)
{
    size_t d = (size_t)t->head_dim;
    t->q_scale[i] = scale * 1.44269504f;
    if (t->type == TYPE_F32) {
        memcpy(t->q32 + (size_t)i * d, x, d * sizeof *x);
        return;
    }
    int16_t q[ATTN_MAX_DIM];
    t->q_scale[i] *= quantise_by_norm(x, d, q);
    for (size_t c = 0; c < d; c++) {
        t->q[(c / 2 * ATTN_QUERIES + (size_t)i) * 2 + c % 2] = q[c];
    }
}

/* A section's numbers, whatever its type: one slot's or column's at a time. */
struct section {
    enum tensor_type type;
    size_t d, group; /* columns of one scale */
    const uint8_t *keys, *values;
};

static float number_at(const struct section *s, const uint8_t *part, size_t i)
{
    int16_t v;
    float f;
    switch (s->type) {
    case TYPE_F32:
        memcpy(&f, part + 4 * i, 4);
        return f;
    case TYPE_F16:
        memcpy(&v, part + 2 * i, 2);
        return v;
    default:
        return (int8_t)part[i];
    }
}

static float scale_at(const struct section *s, const uint8_t *part, size_t group, size_t slot)
{
    float f;
    if (s->type == TYPE_F16) {
        memcpy(&f, part + 2 * KV_BLOCK * s->d + 4 * slot, 4);
        return f;
    }
    return load_f16(part + KV_BLOCK * s->d + 2 * (group * KV_BLOCK + slot));
}

static float raw_score(const struct attn_tile *t, int i, const struct section *s, size_t slot)
{
    float y = 0;
    if (s->type == TYPE_F32) {
        for (size_t c = 0; c < s->d; c++) {
            y = fmaf(t->q32[(size_t)i * s->d + c], number_at(s, s->keys, c * KV_BLOCK + slot), y);
        }
        return y;
    }
    for (size_t g = 0; g < s->d / s->group; g++) {
        uint32_t dot = 0; /* wraps where a hostile model made infinities */
        for (size_t c = g * s->group; c < (g + 1) * s->group; c++) {
            dot += (uint32_t)(t->q[(c / 2 * ATTN_QUERIES + (size_t)i) * 2 + c % 2] *
                              (int32_t)number_at(s, s->keys, key_at(slot, c)));
        }
        y = fmaf((float)(int32_t)dot, scale_at(s, s->keys, g, slot), y);
    }
    return y;
}

struct state {
    float peak, total;
    float acc[ATTN_MAX_DIM];
};

/* acc += weights x values of the slots [first, last). */
static void mix(struct state *st, const struct section *s, const float *p, float grow, size_t first,
                size_t last)
{
    if (s->type == TYPE_F32) {
        for (size_t c = 0; c < s->d; c++) {
            float sum = 0;
            for (size_t slot = first; slot < last; slot++) {
                sum = fmaf(p[slot], number_at(s, s->values, slot * s->d + c), sum);
            }
            st->acc[c] = fmaf(sum, grow, st->acc[c]);
        }
        return;
    }
    for (size_t g = 0; g < s->d / s->group; g++) {
        float w[KV_BLOCK], most = 0;
        for (size_t slot = first; slot < last; slot++) {
            w[slot] = p[slot] * scale_at(s, s->values, g, slot);
            most = fmaxf(most, w[slot]);
        }
        float inverse = most > 1e-30f ? VALUE_MOST / most : 0;
        float factor = most * (1.0f / VALUE_MOST) * grow;
        for (size_t c = g * s->group; c < (g + 1) * s->group; c++) {
            uint32_t dot = 0;
            for (size_t slot = first; slot < last; slot++) {
                dot += (uint32_t)(to_int(w[slot] * inverse, VALUE_MOST) *
                                  (int32_t)number_at(s, s->values, value_at(slot, s->d, c)));
            }
            st->acc[c] = fmaf((float)(int32_t)dot, factor, st->acc[c]);
        }
    }
}

/* One query of the tile against slots [first, last) of the section. */
static void attn_query_section(const struct attn_tile *t, int i, const struct section *s,
                               size_t first, size_t last, struct state *st)
{
    float y[KV_BLOCK], p[KV_BLOCK] = {0}, most = -INFINITY, unit = t->q_scale[i];
    for (size_t slot = first; slot < last; slot++) {
        y[slot] = raw_score(t, i, s, slot);
        if (t->softcap > 0) { /* tanh(x) = 1 - 2 / (exp(2 x) + 1) */
            y[slot] = 1 - 2 / (exp2_of(y[slot] * (unit * (2 / t->softcap))) + 1);
        }
        most = fmaxf(most, y[slot]);
    }
    unit = t->softcap > 0 ? t->softcap * 1.44269504f : unit;
    float c = fmaf(most, unit, 0); /* rounded, whatever the compiler would like to fuse */
    for (size_t slot = first; slot < last; slot++) {
        p[slot] = exp2_of(fmaf(y[slot], unit, -c));
    }
    if (c > st->peak + 32) {
        float shrink = exp2_of(st->peak - c);
        st->total *= shrink;
        for (size_t j = 0; j < s->d; j++) {
            st->acc[j] *= shrink;
        }
        st->peak = c;
    }
    float grow = exp2_of(c - st->peak);
    mix(st, s, p, grow, first, last);
    st->total = fmaf(tree_sum(p, KV_BLOCK), grow, st->total);
}

static void attn_merge(float *peak, float *total, float *acc, float peak2, float total2,
                       const float *acc2, size_t d)
{
    float most = fmaxf(*peak, peak2); /* 0 for the state that has seen nothing */
    float shrink = *total > 0 ? exp2_of(*peak - most) : 0;
    float grow = total2 > 0 ? exp2_of(peak2 - most) : 0;
    *peak = most;
    *total = fmaf(total2, grow, *total * shrink);
    for (size_t i = 0; i < d; i++) {
        acc[i] = fmaf(acc2[i], grow, acc[i] * shrink);
    }
}

static void attn_chunk(struct attn_tile *t, const uint8_t *const *sections, int n, int32_t pos)
{
    size_t d = (size_t)t->head_dim, half = kv_section_bytes(t->type, d) / 2;
    for (int i = 0; i < t->n; i++) {
        struct state st = {.peak = -INFINITY};
        for (int j = 0; j < n; j++) {
            struct section s = {t->type, d, t->type == TYPE_Q8_0 ? GROUP : d, sections[j],
                                sections[j] + half};
            int32_t from = pos + j * KV_BLOCK, first = t->lo[i] - from, last = t->hi[i] - from;
            first = first > 0 ? first : 0;
            last = last < KV_BLOCK ? last : KV_BLOCK;
            if (first < last) {
                attn_query_section(t, i, &s, (size_t)first, (size_t)last, &st);
            }
        }
        if (st.total > 0) {
            attn_merge(&t->peak[i], &t->total[i], t->acc + (size_t)i * d, st.peak, st.total, st.acc,
                       d);
        }
    }
}

void kernels_fill_scalar_attn(struct kernels *k)
{
    k->kv_put = kv_put;
    k->attn_query = attn_query;
    k->attn_chunk = attn_chunk;
    k->attn_merge = attn_merge;
}

/* Attention and the KV cache for any vector width: the body of kernels_attn_<isa>.c, which define,
 * before including this, V of LANES floats, VI of as many int32 (or twice as many int16), VM a
 * mask: v_set v_load v_store v_fma(a, b, c) = a b + c, v_max v_min v_abs; + - * / are the
 * compiler's v_float(VI) v_round(V) to nearest even; v_times2(p, t): p times 2 to the integer in
 * t's low bits v_seen(lo, hi, s): lo <= s < hi; v_keep(m, v) = m ? v : 0; v_else(m, a, b) = m ? a :
 * b v_any(a, b): a > b in some lane vi_load vi_set vi_spread(p): 32 bits to every lane; vi_dot(acc,
 * a, b): acc += the two products of int16 in each lane; vi_pairs(even, odd): int32 to pairs of
 * int16; vi_store16(p, v): to LANES int16; vi_widen(p): int8 to int16; v_halves(p): LANES f16;
 * v_low, v_high(a, b, n) and fold_order: see fold; and SLOTS, WIDE: see many_scores and
 * mix_section.
 *
 * Two ways to score, with the same bits (kernels.h). many: lanes are queries, a key's pair of
 * columns is spread to all of them; maxima and sums need no step across lanes. Its 8-bit keys and
 * values are widened on the stack, once per section and tile. few, up to FEW queries (decoding):
 * lanes are slots, queries are spread, so that no lane idles: kernels_attn_few.h. Both mix values
 * with columns in lanes.
 *
 * Rejected: float products after conversion to floats, which take twice the time (4 times with the
 * conversion when few queries share a section); int8 weights or keys for the 16-bit cache, whose
 * error is hundreds of times larger. */
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    FEW = LANES / 2 < 8 ? LANES / 2 : 8,
    SECTIONS = ATTN_CHUNK / KV_BLOCK,
    PAIRS = KV_BLOCK / 2
};

#ifndef HAS_TREES /* an instruction set may have them in registers, in the same order */
INLINE float tree_sum(V v)
{
    float x[LANES];
    v_store(x, v);
    for (int n = LANES / 2; n; n /= 2) {
        for (int i = 0; i < n; i++) {
            x[i] += x[i + n];
        }
    }
    return x[0];
}

INLINE float tree_max(V v)
{
    float x[LANES];
    v_store(x, v);
    for (int n = LANES / 2; n; n /= 2) {
        for (int i = 0; i < n; i++) {
            x[i] = x[i] > x[i + n] ? x[i] : x[i + n];
        }
    }
    return x[0];
}
#endif

/* LANES vectors to one: lane i is the tree_max or tree_sum of x[fold_order[i]]. v_low and v_high
 * take the lower and upper n of every 2 n lanes. */
INLINE V fold(const bool most, V *x)
{
#pragma GCC unroll 4
    for (int n = LANES / 2; n; n /= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            V low = v_low(x[i], x[i + n], n), high = v_high(x[i], x[i + n], n);
            if (most) {
                x[i] = v_max(low, high);
            } else {
                x[i] = low + high;
            }
        }
    }
    return x[0];
}

/* x at most 64. */
INLINE V exp2_low(V x)
{
    const V magic = v_set(12582912.0f); /* 1.5 * 2^23: rounds to an integer in the low bits */
    x = v_max(x, v_set(-64));
    V t = x + magic, f = x - (t - magic), p = v_set(1.327647129e-3f);
    p = v_fma(p, f, v_set(9.675540961e-3f));
    p = v_fma(p, f, v_set(5.550713092e-2f));
    p = v_fma(p, f, v_set(2.402212024e-1f));
    p = v_fma(p, f, v_set(6.931469440e-1f));
    p = v_fma(p, f, v_set(1));
    return v_times2(p, t);
}

INLINE V exp2_any(V x)
{
    return exp2_low(v_min(x, v_set(64)));
}

INLINE float exp2_one(float x)
{
    float lanes[LANES];
    v_store(lanes, exp2_any(v_set(x)));
    return lanes[0];
}

/* Scores are in units of `unit`; a cap bends them. */
INLINE V bend(V y, V unit, float cap)
{
    V e = exp2_any(y * (unit * v_set(2 / cap)));
    return v_set(1) - v_set(2) / (e + v_set(1));
}

/* Integers of x / scale, |x| <= most. */
INLINE void to_ints(const float *x, size_t d, float scale, int16_t *q)
{
    V inverse = v_set(scale > 1e-30f ? 1 / scale : 0);
    for (size_t i = 0; i < d; i += LANES) {
        vi_store16(q + i, v_round(v_load(x + i) * inverse));
    }
}

INLINE float peak_of(const float *x, size_t d)
{
    V peak = v_set(0);
    for (size_t i = 0; i < d; i += LANES) {
        peak = v_max(v_abs(v_load(x + i)), peak);
    }
    return tree_max(peak);
}

static float quantise_by_norm(const float *x, size_t d, int16_t *q)
{
    enum { PARTS = 16 / LANES }; /* sums of 16 columns side by side on every instruction set */
    V s[PARTS];
    for (size_t j = 0; j < PARTS; j++) {
        s[j] = v_set(0);
    }
    for (size_t i = 0; i < d; i += 16) {
        for (size_t j = 0; j < PARTS; j++) {
            V v = v_load(x + i + j * LANES);
            s[j] = v_fma(v, v, s[j]);
        }
    }
    for (size_t n = PARTS / 2; n; n /= 2) {
        for (size_t j = 0; j < n; j++) {
            s[j] = s[j] + s[j + n];
        }
    }
    float by_norm = sqrtf(tree_sum(s[0])) / 46300, by_peak = peak_of(x, d) / 32767;
    float scale = by_norm > by_peak ? by_norm : by_peak;
    to_ints(x, d, scale, q);
    return scale;
}

static void put_q8(uint8_t *section, size_t slot, size_t d, const float *k, const float *v)
{
    uint8_t *values = section + kv_section_bytes(TYPE_Q8_0, d) / 2;
    for (size_t g = 0; g < d / GROUP; g++) {
        int16_t q[GROUP];
        uint8_t *keys = section + (g * GROUP / 2 * KV_BLOCK + slot) * 2;
        uint8_t *column = values + (slot / 2 * d + g * GROUP) * 2 + slot % 2;
        uint16_t scale = f32_to_f16(peak_of(k + g * GROUP, GROUP) / 127);
        store_u16(section + KV_BLOCK * d + 2 * (g * KV_BLOCK + slot), scale);
        to_ints(k + g * GROUP, GROUP, f16_to_f32(scale), q);
        for (size_t i = 0; i < GROUP; i++) { /* a small f16 scale may round down */
            q[i] = q[i] > 127 ? 127 : q[i] < -127 ? -127 : q[i];
            keys[i / 2 * KV_BLOCK * 2 + i % 2] = (uint8_t)q[i];
        }
        scale = f32_to_f16(peak_of(v + g * GROUP, GROUP) / 127);
        store_u16(values + KV_BLOCK * d + 2 * (g * KV_BLOCK + slot), scale);
        to_ints(v + g * GROUP, GROUP, f16_to_f32(scale), q);
        for (size_t i = 0; i < GROUP; i++) {
            q[i] = q[i] > 127 ? 127 : q[i] < -127 ? -127 : q[i];
            column[2 * i] = (uint8_t)q[i];
        }
    }
}

static void put_16(uint8_t *section, size_t slot, size_t d, const float *k, const float *v)
{
    int16_t q[ATTN_MAX_DIM];
    uint8_t *values = section + kv_section_bytes(TYPE_F16, d) / 2;
    float scale = quantise_by_norm(k, d, q);
    for (size_t i = 0; i < d; i += 2) {
        memcpy(section + 2 * i * KV_BLOCK + 4 * slot, q + i, 4);
    }
    memcpy(section + 2 * KV_BLOCK * d + 4 * slot, &scale, 4);
    scale = peak_of(v, d) / VALUE_MOST;
    to_ints(v, d, scale, q);
    uint8_t *column = values + (slot / 2 * d * 2 + slot % 2) * 2;
    for (size_t i = 0; i < d; i++) {
        memcpy(column + 4 * i, q + i, 2);
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
    for (size_t c = 0; c < d; c += 2) {
        memcpy(t->q + (c / 2 * ATTN_QUERIES + (size_t)i) * 2, q + c, 4);
    }
}

/* A section as 16-bit numbers, for many queries. */
struct section {
    const int16_t *keys, *values;           /* [d / 2][32][2], [16][d][2] */
    const float *key_scales, *value_scales; /* [groups][32] */
    size_t d, group, groups;
};

/* Room for the 8-bit section at hand. */
struct widened {
    _Alignas(64) int16_t keys[ATTN_MAX_DIM * KV_BLOCK];
    _Alignas(64) int16_t values[ATTN_MAX_DIM * KV_BLOCK];
    float key_scales[ATTN_MAX_DIM / GROUP * KV_BLOCK];
    float value_scales[ATTN_MAX_DIM / GROUP * KV_BLOCK];
};

static void widen(const uint8_t *part, size_t d, int16_t *numbers, float *scales)
{
    for (size_t i = 0; i < KV_BLOCK * d; i += 2 * LANES) {
        vi_store(numbers + i, vi_widen((const int8_t *)part + i));
    }
    for (size_t i = 0; i < KV_BLOCK * (d / GROUP); i += LANES) {
        v_store(scales + i, v_halves(part + KV_BLOCK * d + 2 * i));
    }
}

static struct section section_view(enum tensor_type type, const uint8_t *bytes, size_t d,
                                   struct widened *wide)
{
    const uint8_t *values = bytes + kv_section_bytes(type, d) / 2;
    if (type == TYPE_Q8_0) {
        widen(bytes, d, wide->keys, wide->key_scales);
        widen(values, d, wide->values, wide->value_scales);
        return (struct section){wide->keys, wide->values, wide->key_scales, wide->value_scales,
                                d,          GROUP,        d / GROUP};
    }
    return (struct section){(const void *)bytes,
                            (const void *)values,
                            (const void *)(bytes + 2 * KV_BLOCK * d),
                            (const void *)(values + 2 * KV_BLOCK * d),
                            d,
                            d,
                            1};
}

/* What a tile's queries have seen of a chunk. */
struct state {
    float peak[ATTN_QUERIES], total[ATTN_QUERIES];
    _Alignas(64) float acc[ATTN_QUERIES * ATTN_MAX_DIM];
    /* of the section at hand */
    _Alignas(64) float y[KV_BLOCK * ATTN_QUERIES]; /* scores, then weights */
    _Alignas(64) int32_t w[ATTN_MAX_DIM / GROUP * PAIRS * ATTN_QUERIES];
    float factor[ATTN_MAX_DIM / GROUP][ATTN_QUERIES];
};

/* Numbers 2 * LANES from i on, widened if they are bytes. */
INLINE VI load_numbers(const bool bytes, const void *part, size_t i)
{
    return bytes ? vi_widen((const int8_t *)part + i) : vi_load((const int16_t *)part + i);
}

INLINE V load_scales(const bool bytes, const uint8_t *scales, size_t i)
{
    return bytes ? v_halves(scales + 2 * i) : v_load((const float *)(const void *)scales + i);
}

/* Asks for what load_numbers will read of a later part. */
INLINE void fetch_numbers(const bool bytes, const void *part, size_t i)
{
    const uint8_t *p = part;
    __builtin_prefetch(p + (bytes ? i : 2 * i), 0, 2); /* into the second level */
}

/* The weights of a section: w[group][query][pair] with these strides, and a factor for each. */
struct mixing {
    const int32_t *w;
    size_t per_query, per_pair, per_group;
    const float *factor;
    size_t per_factor; /* from group to group */
};

/* acc += weights x values for NQ queries and NC * LANES columns. `ahead`: values that come later,
 * or NULL. */
INLINE void mix(const int NQ, const int NC, const bool bytes, const struct mixing *m, size_t g,
                const void *values, const void *ahead, size_t d, size_t column, float *acc)
{
    VI a[8][4];
#pragma GCC unroll 8
    for (int i = 0; i < NQ; i++) {
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            a[i][c] = vi_set(0);
        }
    }
    const int32_t *w = m->w + g * m->per_group;
    for (size_t p = 0, at = 2 * column; p < PAIRS; p++, at += 2 * d, w += m->per_pair) {
        VI v[4];
#pragma GCC unroll 4
        for (size_t c = 0; c < (size_t)NC; c++) {
            v[c] = load_numbers(bytes, values, at + 2 * LANES * c);
            if (ahead && (!bytes || c % 2 == 0)) {
                fetch_numbers(bytes, ahead, at + 2 * LANES * c);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < NQ; i++) {
            VI weight = vi_spread(w + (size_t)i * m->per_query);
#pragma GCC unroll 4
            for (int c = 0; c < NC; c++) {
                vi_dot(a[i][c], v[c], weight);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < NQ; i++) {
        V f = v_set(m->factor[g * m->per_factor + (size_t)i]);
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            float *to = acc + (size_t)i * d + column + (size_t)c * LANES;
            v_store(to, v_fma(v_float(a[i][c]), f, v_load(to)));
        }
    }
}

/* Up to 4 queries and all columns, in groups of `group`; in tiles of 4 x 4 registers where there
 * are WIDE many, else 4 x 2. */
INLINE void mix_section(const int NQ, const bool bytes, const struct mixing *m, const void *values,
                        const void *ahead, size_t d, size_t group, float *acc)
{
    for (size_t g = 0, c = 0; c < d; g++) {
        for (size_t end = c + group; c < end;) {
            size_t left = end - c;
            if (WIDE && left >= 4 * LANES) {
                mix(NQ, 4, bytes, m, g, values, ahead, d, c, acc);
                c += 4 * LANES;
            } else if (left >= 2 * LANES) {
                mix(NQ, 2, bytes, m, g, values, ahead, d, c, acc);
                c += 2 * LANES;
            } else {
                mix(NQ, 1, bytes, m, g, values, ahead, d, c, acc);
                c += LANES;
            }
        }
    }
}

/* Scores of NV * LANES queries from i on with all slots, SLOTS at a time: y[slot][NV * LANES]. */
INLINE void many_scores(const int NV, const struct attn_tile *t, const struct section *s, int i,
                        float *y)
{
    for (size_t g = 0; g < s->groups; g++) {
        for (size_t slot = 0; slot < KV_BLOCK; slot += SLOTS) {
            const int16_t *q = t->q + (g * s->group / 2 * ATTN_QUERIES + (size_t)i) * 2;
            const int16_t *k = s->keys + (g * s->group / 2 * KV_BLOCK + slot) * 2;
            VI a[SLOTS][2];
#pragma GCC unroll 8
            for (int j = 0; j < SLOTS; j++) {
                a[j][0] = a[j][1] = vi_set(0);
            }
            for (size_t c = 0; c < s->group; c += 2, q += 2 * ATTN_QUERIES, k += 2 * KV_BLOCK) {
                VI q0 = vi_load(q), q1 = NV == 2 ? vi_load(q + 2 * LANES) : q0;
#pragma GCC unroll 8
                for (int j = 0; j < SLOTS; j++) {
                    VI key = vi_spread(k + 2 * j);
                    vi_dot(a[j][0], q0, key);
                    if (NV == 2) {
                        vi_dot(a[j][1], q1, key);
                    }
                }
            }
            const float *scales = s->key_scales + g * KV_BLOCK + slot;
#pragma GCC unroll 8
            for (int j = 0; j < SLOTS; j++) {
                V scale = v_set(scales[j]);
#pragma GCC unroll 2
                for (int h = 0; h < NV; h++) {
                    float *to = y + (slot + (size_t)j) * (size_t)(NV * LANES) + h * LANES;
                    V x = v_float(a[j][h]);
                    v_store(to, v_fma(x, scale, g ? v_load(to) : v_set(0)));
                }
            }
        }
    }
}

/* A score far above the query's reference moves it. Seldom: at the start of a chunk. */
static void raise_peak(struct state *st, size_t d, int i, float c)
{
    if (st->total[i] > 0) {
        float shrink = exp2_one(st->peak[i] - c);
        st->total[i] *= shrink;
        for (size_t k = 0; k < d; k++) {
            st->acc[(size_t)i * d + k] *= shrink;
        }
    }
    st->peak[i] = c;
}

/* Scores y[slot][stride] of LANES queries from i on to integer weights. */
INLINE void many_weights(const struct attn_tile *t, struct state *st, const struct section *s,
                         const bool whole, int i, int32_t pos, float *y, size_t stride)
{
    VI lo = vi_load(t->lo + i), hi = vi_load(t->hi + i);
    V unit = v_load(t->q_scale + i), most = v_set(-1e30f);
    for (int j = 0; j < KV_BLOCK; j++) {
        V x = v_load(y + (size_t)j * stride);
        if (t->softcap > 0) {
            x = bend(x, unit, t->softcap);
        }
        if (!whole) {
            x = v_else(v_seen(lo, hi, vi_set(pos + j)), x, v_set(-1e30f));
        }
        if (!whole || t->softcap > 0) {
            v_store(y + (size_t)j * stride, x);
        }
        most = v_max(x, most);
    }
    unit = t->softcap > 0 ? v_set(t->softcap * 1.44269504f) : unit;
    V c = v_fma(most, unit, v_set(0)), minus = v_set(0) - c; /* rounded: never part of another */
    if (v_any(c, v_load(st->peak + i) + v_set(32))) {
        float top[LANES], peak[LANES];
        v_store(top, most);
        v_store(peak, c);
        for (int j = 0; j < LANES; j++) {
            if (top[j] > -1e30f && peak[j] > st->peak[i + j] + 32) {
                raise_peak(st, s->d, i + j, peak[j]);
            }
        }
    }
    V sum[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        V p[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            float *at = y + (size_t)(j + 8 * k) * stride;
            p[k] = exp2_low(v_fma(v_load(at), unit, minus));
            if (!whole) {
                p[k] = v_keep(v_seen(lo, hi, vi_set(pos + j + 8 * k)), p[k]);
            }
            v_store(at, p[k]);
        }
        sum[j] = (p[0] + p[2]) + (p[1] + p[3]);
    }
    V total = ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
    /* A query that sees nothing here may have no reference yet: its weights are 0, grow is finite.
     */
    V grow = exp2_any(c - v_load(st->peak + i));
    v_store(st->total + i, v_fma(total, grow, v_load(st->total + i)));
    for (size_t g = 0; g < s->groups; g++) {
        const float *scales = s->value_scales + g * KV_BLOCK;
        int32_t *w = st->w + g * PAIRS * ATTN_QUERIES + i;
        V weight[KV_BLOCK], top = v_set(0);
#pragma GCC unroll 32
        for (int j = 0; j < KV_BLOCK; j++) {
            V x = v_load(y + (size_t)j * stride) * v_set(scales[j]);
            if (!whole) { /* an unwritten slot's scale may be anything */
                x = v_keep(v_seen(lo, hi, vi_set(pos + j)), x);
            }
            weight[j] = x;
            top = v_max(x, top);
        }
        V inverse = v_keep(v_above(top, v_set(1e-30f)), v_set(VALUE_MOST) / top);
        v_store(st->factor[g] + i, top * v_set(1.0f / VALUE_MOST) * grow);
#pragma GCC unroll 16
        for (int j = 0; j < PAIRS; j++) {
            vi_store(w + j * ATTN_QUERIES, vi_pairs(v_round(weight[2 * j] * inverse),
                                                    v_round(weight[2 * j + 1] * inverse)));
        }
    }
}

static void many_section(const struct attn_tile *t, struct state *st, const struct section *s,
                         int32_t pos)
{
    bool whole = t->full_lo <= pos && pos + KV_BLOCK <= t->full_hi;
    for (int i = 0; i < t->n; i += 2 * LANES) {
        int n = t->n - i > LANES ? 2 : 1;
        if (n == 2) {
            many_scores(2, t, s, i, st->y);
        } else {
            many_scores(1, t, s, i, st->y);
        }
        for (int h = 0; h < n; h++) {
            float *y = st->y + h * LANES;
            if (whole) {
                many_weights(t, st, s, true, i + h * LANES, pos, y, (size_t)(n * LANES));
            } else {
                many_weights(t, st, s, false, i + h * LANES, pos, y, (size_t)(n * LANES));
            }
        }
    }
    for (int i = 0; i < t->n; i += 4) {
        struct mixing m = {st->w + i,         1,           ATTN_QUERIES, PAIRS * ATTN_QUERIES,
                           st->factor[0] + i, ATTN_QUERIES};
        mix_section(4, false, &m, s->values, NULL, s->d, s->group, st->acc + (size_t)i * s->d);
    }
}

#include "tensor/kernels_attn_few.h"

static void attn_merge(float *peak, float *total, float *acc, float peak2, float total2,
                       const float *acc2, size_t d)
{
    float most = *peak > peak2 ? *peak : peak2; /* 0 for the state that has seen nothing */
    V shrink = v_set(*total > 0 ? exp2_one(*peak - most) : 0);
    V grow = v_set(total2 > 0 ? exp2_one(peak2 - most) : 0);
    *peak = most;
    *total = fmaf(total2, v_first(grow), *total * v_first(shrink));
    for (size_t i = 0; i < d; i += LANES) {
        v_store(acc + i, v_fma(v_load(acc2 + i), grow, v_load(acc + i) * shrink));
    }
}

/* Scores y[32] of query i to exp2(score - peak) in place. Returns what they count in the state; 0:
 * the query sees nothing here. */
INLINE float exact_chances(const struct attn_tile *t, struct state *st, int i, int32_t pos,
                           float *y)
{
    enum { N = KV_BLOCK / LANES };
    static const int32_t steps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const bool whole = t->full_lo <= pos && pos + KV_BLOCK <= t->full_hi;
    const VI lo = vi_set(t->lo[i] - pos), hi = vi_set(t->hi[i] - pos), step = vi_load(steps);
    V unit = v_set(t->q_scale[i]), most = v_set(-1e30f), p[N];
    VM seen[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) {
        seen[j] = v_seen(lo, hi, vi_add(step, vi_set(j * LANES)));
        p[j] = v_load(y + j * LANES);
        if (t->softcap > 0) {
            p[j] = bend(p[j], unit, t->softcap);
        }
        if (!whole) {
            p[j] = v_else(seen[j], p[j], v_set(-1e30f));
        }
        most = v_max(p[j], most);
    }
    unit = t->softcap > 0 ? v_set(t->softcap * 1.44269504f) : unit;
    float top = tree_max(most), c = fmaf(top, v_first(unit), 0); /* rounded */
    if (top <= -1e30f) {
        memset(y, 0, KV_BLOCK * sizeof *y);
        return 0;
    }
    if (c > st->peak[i] + 32) {
        raise_peak(st, (size_t)t->head_dim, i, c);
    }
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) {
        p[j] = exp2_low(v_fma(p[j], unit, v_set(-c)));
        if (!whole) {
            p[j] = v_keep(seen[j], p[j]);
        }
        v_store(y + j * LANES, p[j]);
    }
#pragma GCC unroll 4
    for (int n = N / 2; n; n /= 2) {
#pragma GCC unroll 4
        for (int j = 0; j < n; j++) {
            p[j] = p[j] + p[j + n];
        }
    }
    float grow = exp2_one(c - st->peak[i]);
    st->total[i] = fmaf(tree_sum(p[0]), grow, st->total[i]);
    return grow;
}

/* A section of an F32 cache, for exact checks: float weights and values. */
static void exact_section(const struct attn_tile *t, struct state *st, const uint8_t *bytes,
                          int32_t pos)
{
    size_t d = (size_t)t->head_dim;
    const float *keys = (const void *)bytes, *values = keys + KV_BLOCK * d;
    for (int i = 0; i < t->n; i++) {
        for (int s = 0; s < KV_BLOCK; s += LANES) {
            V y = v_set(0);
            for (size_t c = 0; c < d; c++) {
                V q = v_set(t->q32[(size_t)i * d + c]);
                y = v_fma(q, v_load(keys + c * KV_BLOCK + s), y);
            }
            v_store(st->y + s, y);
        }
        float grow = exact_chances(t, st, i, pos, st->y), *acc = st->acc + (size_t)i * d;
        int32_t first = t->lo[i] > pos ? t->lo[i] - pos : 0, last = t->hi[i] - pos;
        last = last < KV_BLOCK ? last : KV_BLOCK;
        for (size_t c = 0; c < d; c += LANES) {
            V sum = v_set(0);
            for (int32_t s = first; s < last; s++) {
                sum = v_fma(v_set(st->y[s]), v_load(values + (size_t)s * d + c), sum);
            }
            v_store(acc + c, v_fma(sum, v_set(grow), v_load(acc + c)));
        }
    }
}

static void attn_chunk(struct attn_tile *t, const uint8_t *const *sections, int n, int32_t pos)
{
    struct state st;
    struct widened wide;
    size_t d = (size_t)t->head_dim;
    memset(st.acc, 0, (size_t)((t->n + 3) & ~3) * d * sizeof(float));
    for (int i = 0; i < ATTN_QUERIES; i++) {
        st.peak[i] = -INFINITY;
        st.total[i] = 0;
    }
    if (t->type != TYPE_F32 && t->n <= FEW) {
        few_queries(t, &st, sections, n, pos);
    } else {
        for (int j = 0; j < n; j++, pos += KV_BLOCK) {
            if (t->type == TYPE_F32) {
                exact_section(t, &st, sections[j], pos);
            } else {
                struct section s = section_view(t->type, sections[j], d, &wide);
                many_section(t, &st, &s, pos);
            }
        }
    }
    for (int i = 0; i < t->n; i++) {
        if (st.total[i] > 0) {
            attn_merge(&t->peak[i], &t->total[i], t->acc + (size_t)i * d, st.peak[i], st.total[i],
                       st.acc + (size_t)i * d, d);
        }
    }
}

static void fill_attn(struct kernels *k)
{
    k->kv_put = kv_put;
    k->attn_query = attn_query;
    k->attn_chunk = attn_chunk;
    k->attn_merge = attn_merge;
}

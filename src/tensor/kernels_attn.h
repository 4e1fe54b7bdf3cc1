/* Attention and the KV cache for any vector width: the body of kernels_attn_<isa>.c, which define,
 * before including this, V of LANES floats, VI of as many int32 (or twice as many int16), VM a
 * mask; + - * / are the compiler's.
 *   v_set v_load v_store v_max v_min v_abs; v_fma(a, b, c) = a b + c; v_float(VI); v_round(V) to
 *     nearest even; v_first: lane 0; v_above(a, b): a > b
 *   v_times2(p, t): p times 2 to the integer in t's low bits; v_fraction(x) and v_power(p, x):
 *     x - floor(x), p times 2 to floor(x), for x >= 0
 *   v_seen(lo, hi, s): lo <= s < hi; v_keep(m, v) = m ? v : 0; v_else(m, a, b) = m ? a : b
 *   vi_load vi_store vi_set vi_add; vi_spread(p): 32 bits to every lane; vi_dot(acc, a, b): acc +=
 *     the two products of int16 in each lane; vi_pin(a): a register, not a load at each use
 *   v_low_pairs(even, odd): the low 16 bits of each lane, side by side; vi_store16(p, v): to LANES
 *     int16; vi_widen(p): int8 to int16; v_halves(p): LANES f16
 *   v_low, v_high(a, b, n) and fold_order: see fold; SLOTS, WIDE: see many_scores, block_width
 *
 * Two ways to score, with the same bits (kernels.h): kernels_attn_many.h, and for up to FEW queries
 * (decoding) kernels_attn_few.h. Both mix values with columns in lanes, into integers.
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
    PAIRS = KV_BLOCK / 2,
    TALL =
        2 * LANES == GROUP ? 8 : 4, /* queries whose sums fill the registers, GROUP columns wide */
    TOGETHER = 4 /* sections whose values fit in the first-level cache beside their weights */
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

/* 2^(x - 64), a softmax's weight: see kernels.h. */
INLINE V chance(V x)
{
    x = v_max(x, v_set(0));
    V f = v_fraction(x), p = v_set(CHANCE_4);
    p = v_fma(p, f, v_set(CHANCE_3));
    p = v_fma(p, f, v_set(CHANCE_2));
    p = v_fma(p, f, v_set(CHANCE_1));
    p = v_fma(p, f, v_set(CHANCE_0));
    return v_power(p, x);
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

enum {
    MANY = 2 * LANES,                   /* queries side by side */
    MANY_PAIRS = ATTN_CHUNK / 2 * MANY, /* of weights */
    FEW_ROWS = 4 * SECTIONS,            /* queries x sections */
    FEW_PAIRS = ATTN_MAX_DIM / GROUP * FEW_ROWS * PAIRS,
    MOST_PAIRS = MANY_PAIRS > FEW_PAIRS ? MANY_PAIRS : FEW_PAIRS
};

/* A chunk, as a tile's queries see it. */
struct state {
    float shift[ATTN_QUERIES], peak[ATTN_QUERIES], total[ATTN_QUERIES];
    float shrink[ATTN_QUERIES], grow[ATTN_QUERIES];         /* of the tile's sums, of the chunk's */
    _Alignas(64) float y[ATTN_CHUNK * MANY];                /* scores, then chances */
    _Alignas(64) int32_t w[MOST_PAIRS];                     /* pairs of weights */
    _Alignas(64) int32_t dots[ATTN_QUERIES * ATTN_MAX_DIM]; /* [queries / 4][see mixing] */
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

/* Weights w[query][pair] with these strides for some sections one after the other, whose values are
 * [pair][row]. The sums of `rows` queries and n columns are blocks of block_width columns,
 * [query][column] each. */
struct mixing {
    const int32_t *w;
    size_t per_query, per_pair;
    int sections;
    size_t pairs; /* of the last section that are seen */
    const void *values[TOGETHER];
    const void *ahead; /* values that come later, or NULL */
    size_t row;        /* columns of `values` */
    int32_t *dots;
    size_t rows; /* 4, or TALL */
};

/* Columns that are summed together, in registers, of those that are left: tiles of 4 x 4 registers
 * where there are WIDE many, else 4 x 2. */
INLINE size_t block_width(size_t left)
{
    return WIDE && left >= 4 * LANES ? 4 * LANES : left >= 2 * LANES ? 2 * LANES : LANES;
}

/* dots += weights x values for NQ queries and NC * LANES columns. */
INLINE void mix(const int NQ, const int NC, const bool bytes, const struct mixing *m, size_t column,
                int32_t *dots)
{
    VI a[TALL][4];
#pragma GCC unroll 8
    for (int i = 0; i < NQ; i++) {
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            a[i][c] = vi_load(dots + (i * NC + c) * LANES);
        }
    }
    const int32_t *w = m->w;
    for (int j = 0; j < m->sections; j++) {
        size_t at = 2 * column;
        for (size_t p = j + 1 < m->sections ? PAIRS : m->pairs; p;
             p--, at += 2 * m->row, w += m->per_pair) {
            VI v[4];
#pragma GCC unroll 4
            for (size_t c = 0; c < (size_t)NC; c++) {
                v[c] = load_numbers(bytes, m->values[j], at + 2 * LANES * c);
                vi_pin(v[c]);
                if (m->ahead && (!bytes || c % 2 == 0)) {
                    fetch_numbers(bytes, m->ahead, at + 2 * LANES * c);
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
    }
#pragma GCC unroll 8
    for (int i = 0; i < NQ; i++) {
#pragma GCC unroll 4
        for (int c = 0; c < NC; c++) {
            vi_store(dots + (i * NC + c) * LANES, a[i][c]);
        }
    }
}

/* NQ queries, up to `rows`, and n columns from `column` on. */
INLINE void mix_columns(const int NQ, const bool bytes, const struct mixing *m, size_t column,
                        size_t n)
{
    for (size_t c = 0, width; c < n; c += width) {
        int32_t *dots = m->dots + m->rows * c;
        width = block_width(n - c);
        if (NQ <= 4 && width == 4 * LANES) {
            mix(NQ, 4, bytes, m, column + c, dots);
        } else if (width == 2 * LANES) {
            mix(NQ, 2, bytes, m, column + c, dots);
        } else {
            mix(NQ, 1, bytes, m, column + c, dots);
        }
    }
}

/* Counts what queries [i, i + LANES) saw of the chunk; merge_sums then needs shrink and grow. */
INLINE void merge_totals(struct attn_tile *t, struct state *st, int i)
{
    V peak = v_load(t->peak + i), total = v_load(t->total + i);
    V peak2 = v_load(st->peak + i), total2 = v_load(st->total + i), zero = v_set(0);
    V most = v_max(peak, peak2);
    V shrink = v_keep(v_above(total, zero), exp2_any(peak - most));
    V grow = v_keep(v_above(total2, zero), exp2_any(peak2 - most));
    v_store(st->shrink + i, shrink);
    v_store(st->grow + i, grow);
    v_store(t->peak + i, v_else(v_above(total2, zero), most, peak));
    v_store(t->total + i,
            v_else(v_above(total2, zero), v_fma(total2, grow, total * shrink), total));
}

/* n columns of a query's sums in the chunk: row `row` of `rows` of the dots, times factor. */
struct summed {
    const int32_t *dots;
    size_t rows, row, column, n;
    float factor;
};

INLINE void merge_sums(struct attn_tile *t, const struct state *st, int i, const struct summed *s)
{
    float *acc = t->acc + (size_t)i * (size_t)t->head_dim + s->column;
    V f = v_set(s->factor), grow = v_set(st->grow[i]), shrink = v_set(st->shrink[i]);
    if (!(st->total[i] > 0)) {
        return;
    }
    for (size_t b = 0, width; b < s->n; b += width) {
        width = block_width(s->n - b);
        const int32_t *from = s->dots + s->rows * b + s->row * width;
        for (size_t c = 0; c < width; c += LANES) {
            V x = v_float(vi_load(from + c)) * f;
            v_store(acc + b + c, v_fma(x, grow, v_load(acc + b + c) * shrink));
        }
    }
}

/* What makes integers of weights that add up to `total`, the largest being `most`. */
INLINE V weight_factor(V total, V most)
{
    return v_max(total * v_set(WEIGHT_BY_SUM), most * v_set(WEIGHT_BY_MOST));
}

INLINE V weight_inverse(V factor)
{
    return v_keep(v_above(factor, v_set(1e-30f)), v_set(1) / factor);
}

#include "tensor/kernels_attn_many.h"

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

/* The F32 cache, for exact checks: one query after the other, float weights and values. Scores
 * y[n][32] to chances; returns false if the query sees nothing. */
INLINE bool exact_chances(const struct attn_tile *t, int i, int n, int32_t pos, float *y,
                          float *peak, float *total)
{
    enum { N = KV_BLOCK / LANES };
    static const int32_t steps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const VI lo = vi_set(t->lo[i] - pos), hi = vi_set(t->hi[i] - pos), step = vi_load(steps);
    V unit = v_set(t->q_scale[i]), most = v_set(-1e30f);
    for (int j = 0; j < n * KV_BLOCK; j += LANES) {
        V x = v_load(y + j);
        if (t->softcap > 0) {
            x = bend(x, unit, t->softcap);
        }
        x = v_else(v_seen(lo, hi, vi_add(step, vi_set(j))), x, v_set(-1e30f));
        v_store(y + j, x);
        most = v_max(x, most);
    }
    unit = t->softcap > 0 ? v_set(t->softcap * 1.44269504f) : unit;
    float top = tree_max(most), shift = fmaf(-top, v_first(unit), 64);
    *peak = 64 - shift;
    *total = 0;
    for (int j = 0; j < n * KV_BLOCK; j += KV_BLOCK) {
        V p[N];
#pragma GCC unroll 8
        for (int k = 0; k < N; k++) {
            float *at = y + j + k * LANES;
            p[k] = exp2_any(v_fma(v_load(at), unit, v_set(-*peak)));
            p[k] = v_keep(v_seen(lo, hi, vi_add(step, vi_set(j + k * LANES))), p[k]);
            v_store(at, p[k]);
        }
#pragma GCC unroll 4
        for (int m = N / 2; m; m /= 2) {
#pragma GCC unroll 4
            for (int k = 0; k < m; k++) {
                p[k] = p[k] + p[k + m];
            }
        }
        *total += tree_sum(p[0]);
    }
    return top > -1e30f;
}

static void exact_chunk(struct attn_tile *t, struct state *st, const uint8_t *const *sections,
                        int n, int32_t pos)
{
    size_t d = (size_t)t->head_dim;
    for (int i = 0; i < t->n; i++) {
        float peak, total, acc[ATTN_MAX_DIM], *y = st->y;
        for (int j = 0; j < n * KV_BLOCK; j += LANES) {
            const float *keys = (const void *)sections[j / KV_BLOCK];
            V x = v_set(0);
            for (size_t c = 0; c < d; c++) {
                V q = v_set(t->q32[(size_t)i * d + c]);
                x = v_fma(q, v_load(keys + c * KV_BLOCK + j % KV_BLOCK), x);
            }
            v_store(y + j, x);
        }
        if (!exact_chances(t, i, n, pos, y, &peak, &total)) {
            continue;
        }
        int32_t first = t->lo[i] > pos ? t->lo[i] - pos : 0, last = t->hi[i] - pos;
        last = last < n * KV_BLOCK ? last : n * KV_BLOCK;
        for (size_t c = 0; c < d; c += LANES) {
            V sum = v_set(0);
            for (int32_t s = first; s < last; s++) {
                const float *keys = (const void *)sections[s / KV_BLOCK];
                V v = v_load(keys + (KV_BLOCK + (size_t)(s % KV_BLOCK)) * d + c);
                sum = v_fma(v_set(y[s]), v, sum);
            }
            v_store(acc + c, sum);
        }
        attn_merge(&t->peak[i], &t->total[i], t->acc + (size_t)i * d, peak, total, acc, d);
    }
}

static void attn_chunk(struct attn_tile *t, const uint8_t *const *sections, int n, int32_t pos)
{
    struct state st;
    if (t->type == TYPE_F32) {
        exact_chunk(t, &st, sections, n, pos);
    } else if (t->n <= FEW) {
        few_queries(t, &st, sections, n, pos);
    } else {
        many_queries(t, &st, sections, n, pos);
    }
}

static void fill_attn(struct kernels *k)
{
    k->kv_put = kv_put;
    k->attn_query = attn_query;
    k->attn_chunk = attn_chunk;
    k->attn_merge = attn_merge;
}

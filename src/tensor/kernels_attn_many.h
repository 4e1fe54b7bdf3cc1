/* Attention of many queries (prompts): part of kernels_attn.h.
 *
 * MANY queries lie side by side in lanes, a key's pair of columns is spread to all of them; maxima
 * and sums need no step across lanes. Three passes over a chunk: scores of all its sections, then
 * chances and weights, then values, whose sums stay integers in memory until the chunk is done.
 * 8-bit keys and values are widened section by section.
 *
 * For 16 scores of 64 columns that is 64 products of 16 bits, 16 operations for the softmax and one
 * for the sums: two a cycle are done. Rejected: products of 8 bits, which would take half as long
 * but raise the perplexity of SmolLM2 by 0.2 % even with rotated keys and queries. */

/* Scores of NV * LANES queries from i on with the first n slots of a section, SLOTS at a time:
 * y[slot][NV * LANES]. *top: their maxima. */
INLINE void many_scores(const int NV, const struct attn_tile *t, const int16_t *keys,
                        const float *key_scales, size_t group, int i, size_t n, float *y, V *top)
{
    const size_t groups = (size_t)t->head_dim / group;
    for (size_t g = 0; g < groups; g++) {
        for (size_t slot = 0; slot < n; slot += SLOTS) {
            const int16_t *q = t->q + (g * group / 2 * ATTN_QUERIES + (size_t)i) * 2;
            const int16_t *k = keys + (g * group / 2 * KV_BLOCK + slot) * 2;
            VI a[SLOTS][2];
#pragma GCC unroll 8
            for (int j = 0; j < SLOTS; j++) {
                a[j][0] = a[j][1] = vi_set(0);
            }
            for (size_t c = 0; c < group; c += 2, q += 2 * ATTN_QUERIES, k += 2 * KV_BLOCK) {
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
            const float *scales = key_scales + g * KV_BLOCK + slot;
#pragma GCC unroll 8
            for (int j = 0; j < SLOTS; j++) {
                V scale = v_set(scales[j]);
#pragma GCC unroll 2
                for (int h = 0; h < NV; h++) {
                    float *to = y + (slot + (size_t)j) * (size_t)(NV * LANES) + h * LANES;
                    V x = v_float(a[j][h]);
                    x = v_fma(x, scale, g ? v_load(to) : v_set(0));
                    v_store(to, x);
                    if (g + 1 == groups) {
                        top[h] = v_max(x, top[h]);
                    }
                }
            }
        }
    }
}

/* NV * LANES queries of the tile from i on against a chunk. */
struct many {
    struct attn_tile *t;
    struct state *st;
    const uint8_t *const *sections;
    int i;
    int32_t pos;
    size_t slots; /* of the chunk that any query of the tile sees */
    size_t group; /* columns of one scale */
    /* 8-bit keys or values at hand, and the scales of all */
    _Alignas(64) int16_t numbers[ATTN_MAX_DIM * KV_BLOCK];
    float key_scales[ATTN_MAX_DIM / GROUP * KV_BLOCK];
    float value_scales[ATTN_CHUNK];
    _Alignas(64) float weights[ATTN_CHUNK * MANY]; /* of 8-bit values */
};

static bool section_is_whole(const struct attn_tile *t, int32_t pos)
{
    return t->full_lo <= pos && pos + KV_BLOCK <= t->full_hi;
}

/* Bends scores and hides what is not seen; the maxima anew. */
static void many_prepare(const int NV, const struct many *m, size_t slot, size_t n, float *y,
                         V *top)
{
    const struct attn_tile *t = m->t;
    for (int h = 0; h < NV; h++) {
        VI lo = vi_load(t->lo + m->i + h * LANES), hi = vi_load(t->hi + m->i + h * LANES);
        V unit = v_load(t->q_scale + m->i + h * LANES);
        for (size_t j = 0; j < KV_BLOCK; j++) {
            float *at = y + j * (size_t)(NV * LANES) + h * LANES;
            V x = v_set(-1e30f);
            if (j < n) {
                x = v_load(at);
                if (t->softcap > 0) {
                    x = bend(x, unit, t->softcap);
                }
                x = v_else(v_seen(lo, hi, vi_set(m->pos + (int32_t)(slot + j))), x, v_set(-1e30f));
            }
            v_store(at, x);
            top[h] = v_max(x, top[h]);
        }
    }
}

/* First pass: scores of the chunk, and where the chances count from. */
INLINE void many_score_chunk(const int NV, const bool bytes, struct many *m)
{
    const struct attn_tile *t = m->t;
    const size_t d = (size_t)t->head_dim;
    V top[2] = {v_set(-1e30f), v_set(-1e30f)};
    for (size_t slot = 0; slot < m->slots; slot += KV_BLOCK) {
        const uint8_t *part = m->sections[slot / KV_BLOCK];
        const void *keys = part, *scales = part + 2 * KV_BLOCK * d;
        if (bytes) {
            for (size_t i = 0; i < KV_BLOCK * d; i += 2 * LANES) {
                vi_store(m->numbers + i, vi_widen((const int8_t *)part + i));
            }
            for (size_t i = 0; i < KV_BLOCK * (d / GROUP); i += LANES) {
                v_store(m->key_scales + i, v_halves(part + KV_BLOCK * d + 2 * i));
            }
            keys = m->numbers;
            scales = m->key_scales;
        }
        size_t n = (m->slots - slot + SLOTS - 1) / SLOTS * SLOTS;
        n = n < KV_BLOCK ? n : KV_BLOCK;
        float *y = m->st->y + slot * (size_t)(NV * LANES);
        bool plain = t->softcap <= 0 && section_is_whole(t, m->pos + (int32_t)slot);
        V high[2] = {top[0], top[1]};
        many_scores(NV, t, keys, scales, bytes ? GROUP : d, m->i, n, y, high);
        if (plain) {
            top[0] = high[0];
            top[1] = high[1];
        } else {
            many_prepare(NV, m, slot, n, y, top);
        }
    }
    for (int h = 0; h < NV; h++) {
        int i = m->i + h * LANES;
        V unit = t->softcap > 0 ? v_set(t->softcap * 1.44269504f) : v_load(t->q_scale + i);
        V shift = v_fma(v_set(0) - top[h], unit, v_set(64));
        v_store(m->st->shift + i, shift);
        v_store(m->st->peak + i, v_set(64) - shift);
    }
}

struct many_sums {
    V chances, weights, most;
};

/* Scores of a section to chances (SCALED: times the scales of their values), or chances to weights
 * (only SCALED), for LANES queries from i on; their sums. */
INLINE void many_section(const bool score, const bool scaled, const bool whole,
                         const struct many *m, int i, size_t slot, const float *from, float *to,
                         size_t stride, struct many_sums *sums)
{
    const struct attn_tile *t = m->t;
    const VI lo = vi_load(t->lo + i), hi = vi_load(t->hi + i);
    const V shift = v_load(m->st->shift + i);
    const V unit = t->softcap > 0 ? v_set(t->softcap * 1.44269504f) : v_load(t->q_scale + i);
    const float *scales = m->value_scales + slot;
    V p2[2], w2[2]; /* the tree over 32 slots, leaves last */
#pragma GCC unroll 2
    for (size_t a = 0; a < 2; a++) {
        V p4[2], w4[2];
#pragma GCC unroll 2
        for (size_t b = 0; b < 2; b++) {
            V p8[2], w8[2];
#pragma GCC unroll 2
            for (size_t c = 0; c < 2; c++) {
                V p[4], w[4];
#pragma GCC unroll 4
                for (size_t k = 0; k < 4; k++) {
                    size_t j = a + 2 * b + 4 * c + 8 * k;
                    V x = v_load(from + j * stride);
                    p[k] = w[k] = score ? chance(v_fma(x, unit, shift)) : x;
                    VM seen = v_seen(lo, hi, vi_set(m->pos + (int32_t)(slot + j)));
                    if (!whole) {
                        p[k] = v_keep(seen, p[k]);
                    }
                    if (scaled) { /* an unwritten slot's scale may be anything */
                        w[k] = p[k] * v_set(scales[j]);
                        w[k] = whole ? w[k] : v_keep(seen, w[k]);
                        sums->most = v_max(w[k], sums->most);
                    }
                    v_store(to + j * stride, scaled ? w[k] : p[k]);
                }
                p8[c] = (p[0] + p[2]) + (p[1] + p[3]);
                w8[c] = (w[0] + w[2]) + (w[1] + w[3]);
            }
            p4[b] = p8[0] + p8[1];
            w4[b] = w8[0] + w8[1];
        }
        p2[a] = p4[0] + p4[1];
        w2[a] = w4[0] + w4[1];
    }
    sums->chances = sums->chances + (p2[0] + p2[1]);
    sums->weights = sums->weights + (w2[0] + w2[1]);
}

INLINE void many_sections(const bool score, const bool scaled, const struct many *m, int i,
                          const float *from, float *to, size_t stride, struct many_sums *sums)
{
    *sums = (struct many_sums){v_set(0), v_set(0), v_set(0)};
    for (size_t slot = 0; slot < m->slots; slot += KV_BLOCK) {
        const float *at = from + slot * stride;
        if (section_is_whole(m->t, m->pos + (int32_t)slot)) {
            many_section(score, scaled, true, m, i, slot, at, to + slot * stride, stride, sums);
        } else {
            many_section(score, scaled, false, m, i, slot, at, to + slot * stride, stride, sums);
        }
    }
}

/* Weights y[slot][stride] to pairs of integers; returns the factor. */
INLINE V many_integers(const struct many *m, const struct many_sums *sums, const float *y,
                       size_t stride, int32_t *w)
{
    V factor = weight_factor(sums->weights, sums->most), inverse = weight_inverse(factor);
    for (size_t slot = 0; slot < m->slots; slot += 8) {
#pragma GCC unroll 4
        for (size_t j = slot; j < slot + 8; j += 2) {
            V even = v_fma(v_load(y + j * stride), inverse, v_set(ACC_BIAS));
            V odd = v_fma(v_load(y + (j + 1) * stride), inverse, v_set(ACC_BIAS));
            vi_store(w + j / 2 * stride, v_low_pairs(even, odd));
        }
    }
    return factor;
}

/* A group of columns of 8-bit values, for the j-th of the sections that are at hand. */
INLINE const int16_t *many_widen(struct many *m, const uint8_t *part, int j, size_t column)
{
    int16_t *to = m->numbers + j * GROUP * KV_BLOCK;
    for (size_t p = 0; p < PAIRS; p++) {
        const int8_t *from = (const int8_t *)part + 2 * (p * (size_t)m->t->head_dim + column);
#pragma GCC unroll 8
        for (size_t c = 0; c < 2 * GROUP; c += 2 * LANES) {
            vi_store(to + 2 * GROUP * p + c, vi_widen(from + c));
        }
    }
    return to;
}

/* The values of a group of columns, for queries that are done with their weights. */
INLINE void many_mix(const int NV, const bool bytes, struct many *m, size_t column,
                     const float *factor)
{
    struct state *st = m->st;
    const size_t d = (size_t)m->t->head_dim, half = kv_section_bytes(m->t->type, d) / 2;
    const size_t n = bytes ? GROUP : d, stride = (size_t)(NV * LANES);
    int left = m->t->n - m->i, queries = left < NV * LANES ? left : NV * LANES;
    const int rows = bytes ? TALL : 4;
    memset(st->dots, 0, (size_t)((queries + rows - 1) / rows * rows) * n * sizeof *st->dots);
    for (size_t slot = 0; slot < m->slots; slot += TOGETHER * KV_BLOCK) {
        struct mixing x = {
            .per_query = 1, .per_pair = stride, .row = bytes ? GROUP : d, .rows = (size_t)rows};
        for (size_t at = slot; at < m->slots && x.sections < TOGETHER; at += KV_BLOCK) {
            size_t pairs = (m->slots - at + 1) / 2;
            x.pairs = pairs < PAIRS ? pairs : PAIRS;
            x.values[x.sections] = m->sections[at / KV_BLOCK] + half;
            if (bytes) {
                x.values[x.sections] =
                    many_widen(m, m->sections[at / KV_BLOCK] + half, x.sections, column);
            }
            x.sections++;
        }
        for (int q = 0; q < queries; q += rows) {
            x.w = st->w + slot / 2 * stride + q;
            x.dots = st->dots + (size_t)q * n;
            mix_columns(rows, false, &x, 0, n);
        }
    }
    for (int q = 0; q < queries; q++) {
        struct summed x = {.dots = st->dots + (size_t)(q / rows * rows) * n,
                           .rows = (size_t)rows,
                           .row = (size_t)(q % rows),
                           .column = column,
                           .n = n,
                           .factor = factor[q]};
        merge_sums(m->t, st, m->i + q, &x);
    }
}

INLINE void many_scales(const bool bytes, struct many *m, size_t g)
{
    const size_t d = (size_t)m->t->head_dim, half = kv_section_bytes(m->t->type, d) / 2;
    for (size_t slot = 0; slot < m->slots; slot += LANES) {
        const uint8_t *at = m->sections[slot / KV_BLOCK] + half + KV_BLOCK * d * (bytes ? 1 : 2);
        v_store(m->value_scales + slot, load_scales(bytes, at, g * KV_BLOCK + slot % KV_BLOCK));
    }
}

INLINE void many_chunk(const int NV, const bool bytes, struct many *m)
{
    struct state *st = m->st;
    const size_t stride = (size_t)(NV * LANES);
    struct many_sums sums[2];
    float factor[MANY];
    many_score_chunk(NV, bytes, m);
    many_scales(bytes, m, 0);
    for (int h = 0; h < NV; h++) {
        int i = m->i + h * LANES;
        float *y = st->y + h * LANES;
        many_sections(true, !bytes, m, i, y, y, stride, &sums[h]);
        v_store(st->total + i, sums[h].chances);
        merge_totals(m->t, st, i);
    }
    for (size_t c = 0; c < (size_t)m->t->head_dim; c += m->group) {
        for (int h = 0; h < NV; h++) {
            const float *y = st->y + h * LANES;
            if (bytes) {
                many_scales(bytes, m, c / GROUP);
                many_sections(false, true, m, m->i + h * LANES, y, m->weights + h * LANES, stride,
                              &sums[h]);
                y = m->weights + h * LANES;
            }
            v_store(factor + h * LANES, many_integers(m, &sums[h], y, stride, st->w + h * LANES));
        }
        many_mix(NV, bytes, m, c, factor);
    }
}

static void many_queries(struct attn_tile *t, struct state *st, const uint8_t *const *sections,
                         int n, int32_t pos)
{
    struct many m;
    int32_t most = 0;
    for (int i = 0; i < t->n; i++) {
        most = t->hi[i] > most ? t->hi[i] : most;
    }
    if (most <= pos) {
        return;
    }
    m.t = t;
    m.st = st;
    m.sections = sections;
    m.pos = pos;
    m.slots = (size_t)(most - pos < n * KV_BLOCK ? most - pos : n * KV_BLOCK);
    m.group = t->type == TYPE_Q8_0 ? GROUP : (size_t)t->head_dim;
    for (m.i = 0; m.i < t->n; m.i += MANY) {
        bool two = t->n - m.i > LANES;
        if (t->type == TYPE_Q8_0) {
            two ? many_chunk(2, true, &m) : many_chunk(1, true, &m);
        } else {
            two ? many_chunk(2, false, &m) : many_chunk(1, false, &m);
        }
    }
}

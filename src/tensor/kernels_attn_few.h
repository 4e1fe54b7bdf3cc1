/* Attention of few queries (decoding): part of kernels_attn.h.
 *
 * Three passes over a chunk: scores of all its sections, then the weights of all of them together,
 * then values. Maxima and sums across lanes are taken of LANES rows at a time (fold), where one
 * after the other they were 60 % of the time. Decoding reads the whole cache for every token, and
 * where it comes from memory nothing else counts: each part of a section that is worked on asks for
 * one that comes ATTN_AHEAD parts later. On an Emerald Rapids core that reads 11 to 12 GB/s from
 * memory and 22 from the third level, where reading alone does 16 and 28. Tried without a gain: 1,
 * 3 and 4 parts ahead, into the first level, and asking during the weights too. */

/* Scores of NQ queries from i on with the slots of a section, two registers of them at a time:
 * y[query][32]. `ahead`: keys or values that come later. */
INLINE void few_scores(const int NQ, const bool bytes, const struct attn_tile *t,
                       const uint8_t *keys, const uint8_t *ahead, int i, float *y)
{
    const size_t d = (size_t)t->head_dim, group = bytes ? GROUP : d;
    const uint8_t *scales = keys + KV_BLOCK * d * (bytes ? 1 : 2);
    for (size_t g = 0; g * group < d; g++) {
        for (size_t slot = 0; slot < KV_BLOCK; slot += 2 * LANES) {
            const int16_t *q = t->q + (g * group / 2 * ATTN_QUERIES + (size_t)i) * 2;
            size_t at = (g * group / 2 * KV_BLOCK + slot) * 2;
            VI a[4][2];
#pragma GCC unroll 4
            for (int j = 0; j < NQ; j++) {
                a[j][0] = a[j][1] = vi_set(0);
            }
            for (size_t c = 0; c < group; c += 2, q += 2 * ATTN_QUERIES, at += 2 * KV_BLOCK) {
                VI k0 = load_numbers(bytes, keys, at);
                VI k1 = load_numbers(bytes, keys, at + 2 * LANES);
                fetch_numbers(bytes, ahead, at);
                if (!bytes) {
                    fetch_numbers(bytes, ahead, at + 2 * LANES);
                }
#pragma GCC unroll 4
                for (int j = 0; j < NQ; j++) {
                    VI x = vi_spread(q + 2 * j);
                    vi_dot(a[j][0], k0, x);
                    vi_dot(a[j][1], k1, x);
                }
            }
#pragma GCC unroll 4
            for (int j = 0; j < NQ; j++) {
#pragma GCC unroll 2
                for (size_t h = 0; h < 2; h++) {
                    size_t s = slot + h * LANES;
                    float *to = y + (size_t)j * KV_BLOCK + s;
                    V x = v_float(a[j][h]), scale = load_scales(bytes, scales, g * KV_BLOCK + s);
                    v_store(to, v_fma(x, scale, g ? v_load(to) : v_set(0)));
                }
            }
        }
    }
}

/* A chunk for up to 4 queries from i on. Row section * nq + query of the state's y holds scores,
 * then chances, of the 32 slots; of w, [group][row][32], weights. */
struct few {
    const struct attn_tile *t;
    struct state *st;
    int i, nq, n_rows;
    int32_t pos;
    const uint8_t *const *sections;
    _Alignas(64) float top[FEW_ROWS], sum[FEW_ROWS]; /* of each row */
    float factor[ATTN_MAX_DIM / GROUP][4];
    _Alignas(64) float weights[FEW_ROWS * KV_BLOCK];
};

static bool row_is_whole(const struct few *f, int row)
{
    int32_t pos = f->pos + row / f->nq * KV_BLOCK;
    return f->t->full_lo <= pos && pos + KV_BLOCK <= f->t->full_hi;
}

INLINE VM row_sees(const struct few *f, int row, int slot)
{
    static const int32_t steps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int32_t pos = f->pos + row / f->nq * KV_BLOCK + slot;
    int q = f->i + row % f->nq;
    return v_seen(vi_set(f->t->lo[q] - pos), vi_set(f->t->hi[q] - pos), vi_load(steps));
}

/* Bends a row's scores and hides what it does not see. */
static void row_prepare(const struct few *f, int row, float *y)
{
    V unit = v_set(f->t->q_scale[f->i + row % f->nq]);
    for (int s = 0; s < KV_BLOCK; s += LANES) {
        V x = v_load(y + s);
        if (f->t->softcap > 0) {
            x = bend(x, unit, f->t->softcap);
        }
        v_store(y + s, v_else(row_sees(f, row, s), x, v_set(-1e30f)));
    }
}

INLINE float few_unit(const struct few *f, int q)
{
    return f->t->softcap > 0 ? f->t->softcap * 1.44269504f : f->t->q_scale[f->i + q];
}

/* The maximum or the sum of each row x[row][32]. */
INLINE void fold_rows(const bool most, const struct few *f, const float *x, float *out)
{
    for (int b = 0; b < f->n_rows; b += LANES) {
        V part[LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) {
            V v[KV_BLOCK / LANES];
            int row = b + l < f->n_rows ? b + l : f->n_rows - 1;
#pragma GCC unroll 8
            for (int j = 0; j < KV_BLOCK / LANES; j++) {
                v[j] = v_load(x + row * KV_BLOCK + j * LANES);
            }
#pragma GCC unroll 4
            for (int n = KV_BLOCK / LANES / 2; n; n /= 2) {
#pragma GCC unroll 4
                for (int j = 0; j < n; j++) {
                    if (most) {
                        v[j] = v_max(v[j], v[j + n]);
                    } else {
                        v[j] = v[j] + v[j + n];
                    }
                }
            }
            part[fold_order[l]] = v[0];
        }
        v_store(out + b, fold(most, part));
    }
}

/* A query's rows together. */
INLINE float few_most(const struct few *f, int q)
{
    float most = f->top[q];
    for (int r = q + f->nq; r < f->n_rows; r += f->nq) {
        most = f->top[r] > most ? f->top[r] : most;
    }
    return most;
}

INLINE float few_sum(const struct few *f, int q)
{
    float sum = 0;
    for (int r = q; r < f->n_rows; r += f->nq) {
        sum += f->sum[r];
    }
    return sum;
}

/* Scores to chances, and what the queries saw. */
static void few_chances(struct few *f, float *y)
{
    float unit[4], shift[4];
    for (int r = 0; r < f->n_rows; r++) {
        if (f->t->softcap > 0 || !row_is_whole(f, r)) {
            row_prepare(f, r, y + r * KV_BLOCK);
        }
    }
    fold_rows(true, f, y, f->top);
    for (int q = 0; q < f->nq; q++) {
        unit[q] = few_unit(f, q);
        shift[q] = fmaf(-few_most(f, q), unit[q], 64);
        f->st->peak[f->i + q] = 64 - shift[q];
    }
    for (int r = 0, q = 0; r < f->n_rows; r++, q = q + 1 < f->nq ? q + 1 : 0) {
        const bool whole = row_is_whole(f, r);
        V u = v_set(unit[q]), s = v_set(shift[q]);
#pragma GCC unroll 8
        for (int j = 0; j < KV_BLOCK; j += LANES) {
            float *at = y + r * KV_BLOCK + j;
            V p = chance(v_fma(v_load(at), u, s));
            v_store(at, whole ? p : v_keep(row_sees(f, r, j), p));
        }
    }
    fold_rows(false, f, y, f->sum);
    for (int q = 0; q < f->nq; q++) {
        f->st->total[f->i + q] = few_sum(f, q);
    }
}

/* Chances to integer weights of one group of columns. */
INLINE void few_weights(struct few *f, const bool bytes, size_t g, const float *y, int16_t *w)
{
    const size_t d = (size_t)f->t->head_dim;
    const size_t scales = kv_section_bytes(f->t->type, d) / 2 + KV_BLOCK * d * (bytes ? 1 : 2);
    float inverse[4];
    for (int r = 0; r < f->n_rows; r++) {
        const uint8_t *at = f->sections[r / f->nq] + scales;
#pragma GCC unroll 8
        for (int j = 0; j < KV_BLOCK; j += LANES) { /* an unwritten slot's scale may be anything */
            V p = v_load(y + r * KV_BLOCK + j);
            V x = p * load_scales(bytes, at, g * KV_BLOCK + (size_t)j);
            v_store(f->weights + r * KV_BLOCK + j, v_keep(v_above(p, v_set(0)), x));
        }
    }
    fold_rows(true, f, f->weights, f->top);
    fold_rows(false, f, f->weights, f->sum);
    for (int q = 0; q < f->nq; q++) {
        V factor = weight_factor(v_set(few_sum(f, q)), v_set(few_most(f, q)));
        f->factor[g][q] = v_first(factor);
        inverse[q] = v_first(weight_inverse(factor));
    }
    for (int r = 0, q = 0; r < f->n_rows; r++, q = q + 1 < f->nq ? q + 1 : 0) {
        V by = v_set(inverse[q]), bias = v_set(ACC_BIAS);
#pragma GCC unroll 8
        for (int j = 0; j < KV_BLOCK; j += LANES) {
            V x = v_fma(v_load(f->weights + r * KV_BLOCK + j), by, bias) - bias;
            vi_store16(w + r * KV_BLOCK + j, v_round(x));
        }
    }
}

/* Part h of a chunk: the keys of its n sections, then their values, then the keys of those that
 * follow. Past the last: any, which is there. */
static const uint8_t *part_at(const struct attn_tile *t, const uint8_t *const *sections, int n,
                              int h)
{
    size_t half = kv_section_bytes(t->type, (size_t)t->head_dim) / 2;
    if (h < 2 * n) {
        return h < n ? sections[h] : sections[h - n] + half;
    }
    h -= n;
    return h < n + t->ahead ? sections[h] : sections[n - 1];
}

/* Three passes over the chunk for NQ queries: scores, weights, values. */
INLINE void few_chunk(const int NQ, const bool bytes, struct attn_tile *t, struct state *st,
                      const uint8_t *const *sections, int n, int i, int32_t pos)
{
    struct few f;
    const size_t d = (size_t)t->head_dim, half = kv_section_bytes(t->type, d) / 2;
    const size_t group = bytes ? GROUP : d;
    f.t = t;
    f.st = st;
    f.i = i;
    f.nq = NQ;
    f.n_rows = NQ * n;
    f.pos = pos;
    f.sections = sections;
    for (int j = 0; j < n; j++) {
        few_scores(NQ, bytes, t, sections[j], part_at(t, sections, n, j + ATTN_AHEAD), i,
                   st->y + j * NQ * KV_BLOCK);
    }
    few_chances(&f, st->y);
    int16_t *w = (int16_t *)(void *)st->w;
    for (size_t g = 0; g * group < d; g++) {
        few_weights(&f, bytes, g, st->y, w + g * FEW_ROWS * KV_BLOCK);
    }
    memset(st->dots, 0, 4 * d * sizeof *st->dots);
    for (int j = 0; j < n; j++) {
        struct mixing m = {.per_query = PAIRS,
                           .per_pair = 1,
                           .sections = 1,
                           .pairs = PAIRS,
                           .values = {sections[j] + half},
                           .ahead = part_at(t, sections, n, n + j + ATTN_AHEAD),
                           .row = d,
                           .rows = 4};
        for (size_t c = 0; c < d; c += group) {
            m.w = st->w + (c / group * FEW_ROWS + (size_t)(j * NQ)) * PAIRS;
            m.dots = st->dots + 4 * c;
            mix_columns(NQ, bytes, &m, c, group);
        }
    }
    merge_totals(t, st, i);
    for (size_t q = 0; q < (size_t)NQ; q++) {
        for (size_t c = 0; c < d; c += group) {
            struct summed x = {st->dots + 4 * c, 4, q, c, group, f.factor[c / group][q]};
            merge_sums(t, st, i + (int)q, &x);
        }
    }
}

INLINE void few_any(const bool bytes, struct attn_tile *t, struct state *st,
                    const uint8_t *const *sections, int n, int32_t pos)
{
    int i = 0;
    for (; i + 4 <= t->n; i += 4) {
        few_chunk(4, bytes, t, st, sections, n, i, pos);
    }
    switch (t->n - i) {
    case 3:
        few_chunk(3, bytes, t, st, sections, n, i, pos);
        break;
    case 2:
        few_chunk(2, bytes, t, st, sections, n, i, pos);
        break;
    case 1:
        few_chunk(1, bytes, t, st, sections, n, i, pos);
        break;
    default:
        break;
    }
}

static void few_queries(struct attn_tile *t, struct state *st, const uint8_t *const *sections,
                        int n, int32_t pos)
{
    memset(st->peak, 0, sizeof st->peak);
    memset(st->total, 0, sizeof st->total);
    if (t->type == TYPE_Q8_0) {
        few_any(true, t, st, sections, n, pos);
    } else {
        few_any(false, t, st, sections, n, pos);
    }
}

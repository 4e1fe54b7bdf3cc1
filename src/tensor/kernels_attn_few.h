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

enum { FEW_ROWS = 4 * SECTIONS };

/* A chunk for up to 4 queries from i on. Row section * nq + query of the state's y holds scores,
 * then chances, of the 32 slots; of w, [group][row][32], weights. */
struct few {
    const struct attn_tile *t;
    int i, nq, n_rows;
    int32_t pos;
    bool bytes;
    const uint8_t *const *sections;
    _Alignas(64) float top[FEW_ROWS], unit[FEW_ROWS], c[FEW_ROWS], ref[FEW_ROWS], grow[FEW_ROWS];
    _Alignas(64) float sum[FEW_ROWS], inverse[FEW_ROWS];
    _Alignas(64) float factor[ATTN_MAX_DIM / GROUP][FEW_ROWS];
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

/* Units, maxima and c of all rows. */
static void few_peaks(struct few *f, float *y)
{
    const struct attn_tile *t = f->t;
    for (int r = 0; r < f->n_rows; r++) {
        f->unit[r] = t->softcap > 0 ? t->softcap * 1.44269504f : t->q_scale[f->i + r % f->nq];
        if (t->softcap > 0 || !row_is_whole(f, r)) {
            row_prepare(f, r, y + r * KV_BLOCK);
        }
    }
    for (int b = 0; b < f->n_rows; b += LANES) {
        V x[LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) {
            const float *at = y + (b + l) * KV_BLOCK;
            V most = v_load(at);
#pragma GCC unroll 8
            for (int s = LANES; s < KV_BLOCK; s += LANES) {
                most = v_max(v_load(at + s), most);
            }
            x[fold_order[l]] = most;
        }
        V top = fold(true, x);
        v_store(f->top + b, top);
        v_store(f->c + b, v_fma(top, v_load(f->unit + b), v_set(0))); /* rounded */
    }
}

/* The reference that each row is counted from, in the order of the sections. */
static void few_references(struct few *f, const struct state *st)
{
    for (int q = 0; q < f->nq; q++) {
        float ref = st->peak[f->i + q];
        for (int r = q; r < f->n_rows; r += f->nq) {
            if (f->top[r] > -1e30f && f->c[r] > ref + 32) {
                ref = f->c[r];
            }
            f->ref[r] = ref;
        }
    }
}

/* Scores to exp2(score - c), their sums, and what a row counts in the state. */
static void few_chances(struct few *f, float *y)
{
    enum { N = KV_BLOCK / LANES };
    for (int b = 0; b < f->n_rows; b += LANES) {
        V grow = exp2_any(v_load(f->c + b) - v_load(f->ref + b));
        v_store(f->grow + b, v_keep(v_above(v_load(f->top + b), v_set(-1e30f)), grow));
        V x[LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) {
            const int r = b + l;
            V p[N], unit = v_set(f->unit[r]), minus = v_set(-f->c[r]);
#pragma GCC unroll 8
            for (int j = 0; j < N; j++) {
                float *at = y + r * KV_BLOCK + j * LANES;
                p[j] = exp2_low(v_fma(v_load(at), unit, minus));
                v_store(at, p[j]);
            }
            if (r < f->n_rows && !row_is_whole(f, r)) {
#pragma GCC unroll 8
                for (int j = 0; j < N; j++) {
                    p[j] = v_keep(row_sees(f, r, j * LANES), p[j]);
                    v_store(y + r * KV_BLOCK + j * LANES, p[j]);
                }
            }
#pragma GCC unroll 4
            for (int n = N / 2; n; n /= 2) {
#pragma GCC unroll 4
                for (int j = 0; j < n; j++) {
                    p[j] = p[j] + p[j + n];
                }
            }
            x[fold_order[l]] = p[0];
        }
        v_store(f->sum + b, fold(false, x));
    }
}

/* A row's chances times the scales of its values. */
INLINE V row_weights(const bool bytes, const uint8_t *scales, size_t g, const float *p, int s)
{
    V chance = v_load(p + s); /* an unwritten slot's scale may be anything */
    return v_keep(v_above(chance, v_set(0)),
                  chance * load_scales(bytes, scales, g * KV_BLOCK + (size_t)s));
}

/* Chances to integer weights, each group of columns with its own. */
INLINE void few_weights(struct few *f, const bool bytes, size_t g, const float *y, int16_t *w)
{
    const size_t d = (size_t)f->t->head_dim;
    const size_t scales = kv_section_bytes(f->t->type, d) / 2 + KV_BLOCK * d * (bytes ? 1 : 2);
    for (int b = 0; b < f->n_rows; b += LANES) {
        V x[LANES];
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) {
            int r = b + l < f->n_rows ? b + l : f->n_rows - 1;
            const uint8_t *at = f->sections[r / f->nq] + scales;
            V high = v_set(0);
#pragma GCC unroll 8
            for (int s = 0; s < KV_BLOCK; s += LANES) {
                high = v_max(row_weights(bytes, at, g, y + r * KV_BLOCK, s), high);
            }
            x[fold_order[l]] = high;
        }
        V top = fold(true, x);
        v_store(f->inverse + b, v_keep(v_above(top, v_set(1e-30f)), v_set(VALUE_MOST) / top));
        v_store(f->factor[g] + b, top * v_set(1.0f / VALUE_MOST) * v_load(f->grow + b));
    }
    for (int r = 0; r < f->n_rows; r++) {
        const uint8_t *at = f->sections[r / f->nq] + scales;
        V inverse = v_set(f->inverse[r]);
#pragma GCC unroll 8
        for (int s = 0; s < KV_BLOCK; s += LANES) {
            V x = row_weights(bytes, at, g, y + r * KV_BLOCK, s);
            vi_store16(w + r * KV_BLOCK + s, v_round(x * inverse));
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
INLINE void few_chunk(const int NQ, const bool bytes, const struct attn_tile *t, struct state *st,
                      const uint8_t *const *sections, int n, int i, int32_t pos)
{
    struct few f;
    const size_t d = (size_t)t->head_dim, half = kv_section_bytes(t->type, d) / 2;
    f.t = t;
    f.i = i;
    f.nq = NQ;
    f.n_rows = NQ * n;
    f.pos = pos;
    f.sections = sections;
    for (int j = 0; j < n; j++) {
        few_scores(NQ, bytes, t, sections[j], part_at(t, sections, n, j + ATTN_AHEAD), i,
                   st->y + j * NQ * KV_BLOCK);
    }
    int spare = -f.n_rows & (LANES - 1);
    memset(st->y + f.n_rows * KV_BLOCK, 0, (size_t)spare * KV_BLOCK * sizeof(float));
    for (int r = f.n_rows; r < f.n_rows + spare; r++) {
        f.unit[r] = f.ref[r] = 0;
    }
    few_peaks(&f, st->y);
    few_references(&f, st);
    few_chances(&f, st->y);
    int16_t *w = (int16_t *)(void *)st->w;
    for (size_t g = 0; g < (bytes ? d / GROUP : 1); g++) {
        few_weights(&f, bytes, g, st->y, w + g * FEW_ROWS * KV_BLOCK);
    }
    for (int j = 0; j < n; j++) {
        for (int r = j * NQ, q = i; q < i + NQ; r++, q++) {
            if (f.ref[r] > st->peak[q]) {
                raise_peak(st, d, q, f.ref[r]);
            }
            st->total[q] = fmaf(f.sum[r], f.grow[r], st->total[q]);
        }
        struct mixing m = {st->w + j * NQ * PAIRS, PAIRS,   1, FEW_ROWS * PAIRS,
                           f.factor[0] + j * NQ,   FEW_ROWS};
        mix_section(NQ, bytes, &m, sections[j] + half, part_at(t, sections, n, n + j + ATTN_AHEAD),
                    d, bytes ? GROUP : d, st->acc + (size_t)i * d);
    }
}

INLINE void few_any(const bool bytes, const struct attn_tile *t, struct state *st,
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

static void few_queries(const struct attn_tile *t, struct state *st, const uint8_t *const *sections,
                        int n, int32_t pos)
{
    if (t->type == TYPE_Q8_0) {
        few_any(true, t, st, sections, n, pos);
    } else {
        few_any(false, t, st, sections, n, pos);
    }
}

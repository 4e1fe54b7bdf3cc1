/* Attention of encoders in plain C: the definition (see kernels_enc.h), and the body for
 * instruction sets that have no other. Loops run over all 32 queries of a tile, or over 16 columns,
 * so that a compiler makes vectors of them; what includes this may define, for the two products,
 *   SCORE(q, k, pairs, dot)    dot[32] of one key: k[pairs][2] and q[pairs][32][2]
 *   MIX(p, v, row, pairs, acc)  acc[16] of one query: weights p[pairs] 32 apart, v[pairs][16][2]
 *                                 with rows `row` int16 apart
 * Numbers are int16 in pairs here whatever their bits. */
#include <math.h>
#include <string.h>

enum { LANES = ENC_QUERIES, COLUMNS = 16 };

static float inverse_of(float scale)
{
    return scale > 1e-25f ? 1 / scale : 0;
}

/* The middle and half of the range of each column of x; `bad` becomes NaN when that cannot be. */
static void find_ranges(const float *x, const struct enc_head *h, float *mid, float *half,
                        float *bad)
{
    for (size_t first = 0; first < h->d; first += COLUMNS) {
        float least[COLUMNS], most[COLUMNS], wrong[COLUMNS] = {0};
        const float *row = x + first;
        memcpy(least, row, sizeof least);
        memcpy(most, row, sizeof most);
        for (size_t i = 0; i < h->n; i++, row += h->ld) {
            for (size_t c = 0; c < COLUMNS; c++) {
                least[c] = row[c] < least[c] ? row[c] : least[c];
                most[c] = row[c] > most[c] ? row[c] : most[c];
                wrong[c] = fmaf(row[c], 0, wrong[c]);
            }
        }
        for (size_t c = 0; c < COLUMNS; c++) {
            half[first + c] = (most[c] - least[c]) * 0.5f;
            mid[first + c] = (least[c] + most[c]) * 0.5f;
            *bad = fmaf(half[first + c] * 1e8f, 0, *bad) + wrong[c];
        }
    }
}

/* Keys, whose pairs of columns lie together: to[n][d]. */
static void take_keys(const struct enc_head *h, const float *mid, float inverse, int16_t *to)
{
    const float *x = h->k;
    for (size_t i = 0; i < h->n; i++, x += h->ld, to += h->d) {
        for (size_t c = 0; c < h->d; c++) {
            to[c] = (int16_t)rintf((x[c] - mid[c]) * inverse);
        }
    }
}

/* Values, of which pairs of tokens lie together: to[n / 2][d][2]; the one too many is 0. */
static void take_values(const struct enc_head *h, const float *mid, const float *scale, int16_t *to)
{
    const float *x = h->v;
    for (size_t i = 0; i < h->n; i++, x += h->ld) {
        for (size_t c = 0; c < h->d; c++) {
            int16_t *at = to + (i / 2 * h->d + c) * 2;
            at[i % 2] = (int16_t)rintf((x[c] - mid[c]) * inverse_of(scale[c]));
            at[1] = i % 2 ? at[1] : 0;
        }
    }
}

/* Query i of a tile; returns its scale. */
static float take_query(const struct enc_head *h, const float *x, float most, size_t i, int16_t *q)
{
    float peak = 0, bad = 0;
    for (size_t c = 0; c < h->d; c++) {
        peak = fabsf(x[c]) > peak ? fabsf(x[c]) : peak;
        bad = fmaf(x[c], 0, bad);
    }
    float scale = peak / most;
    bool fine = bad == 0 && scale < 1e30f;
    float inverse = fine ? inverse_of(scale) : 0;
    for (size_t c = 0; c < h->d; c++) {
        q[(c / 2 * LANES + i) * 2 + c % 2] = fine ? (int16_t)rintf(x[c] * inverse) : 0;
    }
    return fine ? scale : NAN;
}

#ifndef SCORE
#define SCORE score
static void score(const int16_t *q, const int16_t *k, size_t pairs, int32_t *dot)
{
    int32_t acc[LANES] = {0};
    for (size_t c = 0; c < pairs; c++, q += 2 * LANES, k += 2) {
        for (size_t i = 0; i < LANES; i++) {
            acc[i] += q[2 * i] * k[0] + q[2 * i + 1] * k[1];
        }
    }
    memcpy(dot, acc, sizeof acc);
}

#define MIX mix_columns
static void mix_columns(const int16_t *p, const int16_t *v, size_t row, size_t pairs, int32_t *acc)
{
    int32_t sum[COLUMNS] = {0};
    for (size_t j = 0; j < pairs; j++, p += 2 * LANES, v += row) {
        for (size_t c = 0; c < COLUMNS; c++) {
            sum[c] += p[0] * v[2 * c] + p[1] * v[2 * c + 1];
        }
    }
    memcpy(acc, sum, sizeof sum);
}
#endif

/* Weights of 32 queries for one key from their scores; units have been capped. */
static void chances8(const int32_t *dot, const float *unit, const float *top, int32_t *p)
{
    for (size_t i = 0; i < LANES; i++) {
        float u = fmaf(-((float)dot[i] + ACC_BIAS), unit[i], top[i]);
        u = u > 0 ? u : 0; /* a NaN becomes 0; its query's result is NaN all the same */
        p[i] = (int32_t)rintf(u < 511 ? u : 511); /* 2^-16: nothing */
    }
    for (size_t i = 0; i < LANES; i++) {
        p[i] = enc_chances[p[i] % ENC_CHANCE_STEPS] >> p[i] / ENC_CHANCE_STEPS;
    }
}

static void chances16(const int32_t *dot, const float *unit, const float *top, int32_t *p)
{
    static const float c[] = {ENC_EXP2_COEFFICIENTS};
    float whole[LANES], power[LANES];
    int32_t low[LANES], bits[LANES];
    for (size_t i = 0; i < LANES; i++) {
        float t = ((float)dot[i] - top[i]) * unit[i];
        t = t > -40 ? t : -40;
        whole[i] = t + ACC_BIAS; /* rounds; the low bits are the integer */
        float f = t - (whole[i] - ACC_BIAS);
        power[i] = fmaf(c[0] * ENC_CHANCE, f, c[1] * ENC_CHANCE);
        power[i] = fmaf(power[i], f, c[2] * ENC_CHANCE);
        power[i] = fmaf(power[i], f, c[3] * ENC_CHANCE);
    }
    memcpy(low, whole, sizeof low);
    memcpy(bits, power, sizeof bits);
    for (size_t i = 0; i < LANES; i++) {
        bits[i] += (int32_t)((uint32_t)low[i] << 23);
    }
    memcpy(power, bits, sizeof bits);
    for (size_t i = 0; i < LANES; i++) {
        p[i] = (int32_t)rintf(power[i]);
    }
}

/* Scores [n][32] to weights [n / 2][32][2]; `unit` becomes 1 / their sums. */
static void to_chances(const struct enc_head *h, const int32_t *dot, float *unit, int16_t *to)
{
    int32_t most[LANES], total[LANES] = {0}, p[LANES];
    float top[LANES];
    memcpy(most, dot, sizeof most);
    for (size_t j = 1; j < h->n; j++) {
        for (size_t i = 0; i < LANES; i++) {
            most[i] = dot[j * LANES + i] > most[i] ? dot[j * LANES + i] : most[i];
        }
    }
    for (size_t i = 0; i < LANES; i++) {
        top[i] = (float)most[i];
        if (h->bits == 8) {
            unit[i] = unit[i] > 1 ? 1 : unit[i];
            top[i] = (top[i] + ACC_BIAS) * unit[i];
        }
    }
    for (size_t j = 0; j < h->n; j++) {
        (h->bits == 8 ? chances8 : chances16)(dot + j * LANES, unit, top, p);
        int16_t *pair = to + j / 2 * LANES * 2;
        for (size_t i = 0; i < LANES; i++) {
            total[i] += p[i];
            pair[2 * i + j % 2] = (int16_t)p[i];
            pair[2 * i + 1] = j % 2 ? pair[2 * i + 1] : 0;
        }
    }
    for (size_t i = 0; i < LANES; i++) {
        unit[i] = fmaf(unit[i], 0, 1 / (float)total[i]); /* NaN where the unit is none */
    }
}

/* Columns [c, c + 16) of query i's result. */
static void mix(const struct enc_head *h, const int16_t *p, const int16_t *v, const float *scale,
                const float *mid, float by, float *out)
{
    const size_t pairs = (h->n + 1) / 2, piece = ENC_CHANCE_KEYS / 2;
    float sums[COLUMNS] = {0};
    for (size_t j = 0; j < pairs; j += piece) {
        int32_t acc[COLUMNS];
        MIX(p + j * LANES * 2, v + j * h->d * 2, h->d * 2, pairs - j < piece ? pairs - j : piece,
            acc);
        for (size_t c = 0; c < COLUMNS; c++) {
            sums[c] += (float)acc[c];
        }
    }
    for (size_t c = 0; c < COLUMNS; c++) {
        out[c] = fmaf(sums[c], scale[c] * by, mid[c]);
    }
}

static void attend_tile(const struct enc_head *h, const struct enc_room *m, size_t first,
                        float unit, const float *scale, const float *mid)
{
    const size_t left = h->n_queries - first, n = left < LANES ? left : LANES;
    int16_t *q = (void *)m->q, *k = (void *)m->k, *v = (void *)m->v, *p = (void *)m->p;
    int32_t *dot = (void *)m->s;
    float units[LANES] = {0};
    memset(q, 0, h->d * LANES * sizeof *q);
    for (size_t i = 0; i < n; i++) {
        float most = h->bits == 8 ? ENC_HEAD8 : ENC_HEAD16;
        units[i] = take_query(h, h->q + (first + i) * h->ld, most, i, q) * unit;
    }
    for (size_t j = 0; j < h->n; j++) {
        SCORE(q, k + j * h->d, h->d / 2, dot + j * LANES);
    }
    to_chances(h, dot, units, p);
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < h->d; c += COLUMNS) {
            mix(h, p + 2 * i, v + 2 * c, scale + c, mid + c, units[i],
                h->out + (first + i) * h->ldo + c);
        }
    }
}

static void attend(const struct enc_head *h)
{
    float k_mid[ENC_MAX_HEAD], k_half[ENC_MAX_HEAD], v_mid[ENC_MAX_HEAD], v_scale[ENC_MAX_HEAD];
    float bad = 0, k_scale = 0;
    struct enc_room m;
    (void)enc_head_bytes(16, h->n, h->d, h->memory, &m);
    find_ranges(h->k, h, k_mid, k_half, &bad);
    find_ranges(h->v, h, v_mid, v_scale, &bad);
    if (isnan(bad)) {
        for (size_t i = 0; i < h->n_queries * h->d; i++) {
            h->out[i / h->d * h->ldo + i % h->d] = NAN;
        }
        return;
    }
    for (size_t c = 0; c < h->d; c++) {
        k_scale = k_half[c] > k_scale ? k_half[c] : k_scale;
        v_scale[c] /= ENC_VALUE;
    }
    k_scale /= h->bits == 8 ? ENC_HEAD8 : ENC_HEAD16;
    take_keys(h, k_mid, inverse_of(k_scale), (void *)m.k);
    take_values(h, v_mid, v_scale, (void *)m.v);
    const float log2e = 1.44269504f * (h->bits == 8 ? (float)ENC_CHANCE_STEPS : 1.0f);
    for (size_t first = 0; first < h->n_queries; first += ENC_QUERIES) {
        attend_tile(h, &m, first, k_scale * (h->scale * log2e), v_scale, v_mid);
    }
}

/* Operations of an encoder's fast paths: see encoder.h.
 *
 * The unit of a product is a tile of one panel of rows by one panel of tokens. Tiles are dealt out
 * with the token panels running fastest: a panel of weights (12 KiB for 384 columns of int8) stays
 * in the first-level cache while the tokens, which are fewer bytes, stream past it.
 *
 * Fewer bits for the fine products were rejected by what they cost. MiniLM, 256 passages of SQuAD,
 * 1 less the least cosine to fp32 (allowed: 1e-4; 12 bits: 1.6e-5): 8 bits per row and token in
 * qkv, out, ff1 or ff2 alone 2.7e-3, 6.3e-5, 5.1e-4, 1.3e-3; with a scale per 32 columns 3.8e-4,
 * 2.5e-5, 1.3e-4, 9.0e-5; 8-bit weights per row (per 32) with activations of two 8-bit terms
 * 9.3e-4 (2.6e-4); fine weights with activations of 8 bits per 32 columns 3.3e-4. Only `out` fits,
 * a twelfth of the work. Two terms on one side cost what vpdpwssd costs, on both sides (three
 * products) half as much again. */
#include "tensor/encoder.h"

#include "tensor/pack.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int bits_of(enum mul_mode mode)
{
    return mode == MUL_ENCODER_INT8 ? 8 : 16;
}

/* Tokens in panels: as few panels as 12 tokens allow, and those as even as units of four can be, so
 * that no panel is left with a narrow tile (16 tokens are 8 + 8, not 12 + 4). */
struct split {
    size_t panels, base, extra; /* the first `extra` panels have one unit more than `base` */
};

static struct split split_tokens(int64_t n)
{
    size_t units = ((size_t)n + ENC_UNIT - 1) / ENC_UNIT, most = ENC_TOKENS / ENC_UNIT;
    struct split s = {.panels = (units + most - 1) / most};
    s.base = units / s.panels;
    s.extra = units % s.panels;
    return s;
}

/* First unit of panel i, also for i = panels. */
static size_t panel_unit(const struct split *s, size_t i)
{
    return i * s->base + (i < s->extra ? i : s->extra);
}

static size_t panel_of_unit(const struct split *s, size_t unit)
{
    size_t wide = s->extra * (s->base + 1);
    return unit < wide ? unit / (s->base + 1) : s->extra + (unit - wide) / s->base;
}

/* Bytes of a token in a panel: its values, scales and shifts. */
static size_t token_bytes(int bits, size_t cols)
{
    return enc_padded(cols) * (size_t)bits / 8 + enc_blocks(cols) * 2 * sizeof(float);
}

static size_t panel_bytes(int bits, size_t cols)
{
    return (ENC_TOKENS * token_bytes(bits, cols) + 63) & ~(size_t)63;
}

size_t enc_act_bytes(enum mul_mode mode, int64_t n, int64_t cols)
{
    size_t units = ((size_t)n + ENC_UNIT - 1) / ENC_UNIT, most = ENC_TOKENS / ENC_UNIT, bytes;
    size_t each = panel_bytes(bits_of(mode), (size_t)cols);
    return size_mul((units + most - 1) / most, each, &bytes) ? bytes : SIZE_MAX;
}

struct enc_act enc_act_view(void *memory, enum mul_mode mode, int64_t n, int64_t cols)
{
    return (struct enc_act){bits_of(mode), n, cols, memory};
}

static struct enc_tokens tokens_at(const struct enc_act *a, const struct split *s, size_t i)
{
    size_t cols = (size_t)a->cols;
    struct enc_tokens p = {.nt = ENC_UNIT * (int)(s->base + (i < s->extra))};
    p.values = a->memory + i * panel_bytes(a->bits, cols);
    p.scale = (float *)(void *)(p.values + (size_t)p.nt * enc_padded(cols) * (size_t)a->bits / 8);
    p.shift = p.scale + (size_t)p.nt * enc_blocks(cols);
    return p;
}

static void quant_unit(const struct enc_act *a, const struct split *s, size_t unit, const float *x,
                       size_t ldx)
{
    size_t i = panel_of_unit(s, unit);
    struct enc_tokens p = tokens_at(a, s, i);
    kernels()->enc.quant(a->bits, x + unit * ENC_UNIT * ldx, ldx, (size_t)a->cols, &p,
                         (int)(unit - panel_unit(s, i)) * ENC_UNIT);
}

void op_enc_quant(const struct worker *w, const struct enc_act *a, const float *x, int64_t ldx)
{
    struct split s = split_tokens(a->n);
    size_t first, last;
    team_share(w, panel_unit(&s, s.panels), 1, &first, &last);
    for (size_t unit = first; unit < last; unit++) {
        quant_unit(a, &s, unit, x, (size_t)ldx);
    }
}

static size_t panel_value_bytes(int bits, size_t cols)
{
    return enc_padded(cols) * ENC_ROWS * (size_t)bits / 8;
}

static size_t weight_panel_bytes(int bits, size_t cols)
{
    return panel_value_bytes(bits, cols) + enc_blocks(cols) * 2 * ENC_ROWS * sizeof(float);
}

/* While tile t of n goes through its panel of weights, the next panel comes nearer: half of it
 * beside each of the first two tiles, all of it when there is one. Left to the hardware, which
 * stops at the ends of pages, a third of a product's time is waiting for weights. */
static void look_ahead(struct enc_panel *p, const uint8_t *next, size_t t, size_t n, size_t bytes)
{
    p->ahead = p->values;
    if (next && t < 2) {
        p->ahead = next + (t ? bytes / 128 * 64 : 0);
        p->ahead_step = n > 1 ? 64 : 128;
    }
}

void op_enc_mul(const struct worker *w, const struct mat *m, const struct enc_act *a,
                const float *bias, bool gelu, float *y, int64_t ldy)
{
    struct split s = split_tokens(a->n);
    size_t rows = (size_t)m->rows, cols = (size_t)m->cols, first, last;
    size_t panels = (rows + ENC_ROWS - 1) / ENC_ROWS, each = weight_panel_bytes(a->bits, cols);
    team_share(w, panels * s.panels, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t row = i / s.panels * ENC_ROWS, left = rows - row;
        struct enc_tokens x = tokens_at(a, &s, i % s.panels);
        struct enc_panel p = {.values = (const uint8_t *)m->packed + i / s.panels * each};
        p.factors = (const float *)(const void *)(p.values + panel_value_bytes(a->bits, cols));
        look_ahead(&p, i / s.panels < (last - 1) / s.panels ? p.values + each : NULL, i % s.panels,
                   s.panels, each);
        kernels()->enc.mul(
            a->bits, &p, &x, enc_padded(cols), bias + row, gelu, left < ENC_ROWS ? left : ENC_ROWS,
            y + panel_unit(&s, i % s.panels) * ENC_UNIT * (size_t)ldy + row, (size_t)ldy);
    }
}

/* Block b of a panel's results, quantised: ENC_BLOCK rows of weights, from `y` in the first-level
 * cache. */
static void quant_block(const struct enc_act *a, const struct enc_tokens *whole, size_t b,
                        const float *y)
{
    struct enc_tokens p = *whole;
    size_t first = b * ENC_BLOCK, left = (size_t)a->cols - first;
    p.values += enc_dwords(a->bits, first) * 4 * (size_t)p.nt;
    p.scale += b * (size_t)p.nt;
    p.shift += b * (size_t)p.nt;
    for (int t = 0; t < p.nt; t += ENC_UNIT) {
        kernels()->enc.quant(a->bits, y + (size_t)t * ENC_BLOCK, ENC_BLOCK,
                             left < ENC_BLOCK ? left : ENC_BLOCK, &p, t);
    }
}

void op_enc_mul_quant(const struct worker *w, const struct mat *m, const struct enc_act *a,
                      const float *bias, bool gelu, const struct enc_act *to)
{
    enum { PANELS = ENC_BLOCK / ENC_ROWS };
    struct split s = split_tokens(a->n);
    size_t rows = (size_t)m->rows, cols = (size_t)m->cols, first, last;
    size_t panels = (rows + ENC_ROWS - 1) / ENC_ROWS, each = weight_panel_bytes(a->bits, cols);
    float *y = (float *)w->scratch;
    assert(w->scratch_bytes >= sizeof *y * ENC_TOKENS * ENC_BLOCK && rows == (size_t)to->cols);
    team_share(w, enc_blocks(rows) * s.panels, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t b = i / s.panels, end = (b + 1) * PANELS < panels ? (b + 1) * PANELS : panels;
        struct enc_tokens x = tokens_at(a, &s, i % s.panels), put = tokens_at(to, &s, i % s.panels);
        for (size_t j = b * PANELS; j < end; j++) {
            size_t row = j * ENC_ROWS, left = rows - row;
            size_t next = j + 1 < end ? j + 1 : (i + 1) / s.panels * PANELS;
            struct enc_panel p = {.values = (const uint8_t *)m->packed + j * each};
            p.factors = (const float *)(const void *)(p.values + panel_value_bytes(a->bits, cols));
            look_ahead(&p, next < panels ? (const uint8_t *)m->packed + next * each : NULL, 0, 1,
                       each);
            kernels()->enc.mul(a->bits, &p, &x, enc_padded(cols), bias + row, gelu,
                               left < ENC_ROWS ? left : ENC_ROWS, y + row - b * ENC_BLOCK,
                               ENC_BLOCK);
        }
        quant_block(to, &put, b, y);
    }
}

void op_enc_norm(const struct worker *w, const struct enc_norm *norm, const float *residual,
                 int64_t n, int64_t d, float *x, const struct enc_act *a)
{
    struct split s = split_tokens(n);
    size_t first, last, width = (size_t)d;
    team_share(w, panel_unit(&s, s.panels), 1, &first, &last);
    for (size_t unit = first; unit < last; unit++) {
        for (size_t i = unit * ENC_UNIT; i < (unit + 1) * ENC_UNIT && i < (size_t)n; i++) {
            kernels()->layernorm(x + i * width, residual ? residual + i * width : NULL, norm->gain,
                                 norm->bias, norm->eps, width, x + i * width);
        }
        if (a) {
            quant_unit(a, &s, unit, x, width);
        }
    }
}

size_t enc_attn_bytes(int64_t n, int64_t head_dim)
{
    return enc_head_bytes(16, (size_t)n, (size_t)head_dim, NULL, NULL);
}

void op_enc_attention(const struct worker *w, const struct enc_attn *a)
{
    size_t ld = (size_t)a->ld, ldo = (size_t)a->ldo;
    for (int64_t i = w->index; i < a->n_texts * a->n_heads; i += w->count) {
        int64_t n = a->starts[i / a->n_heads + 1] - a->starts[i / a->n_heads];
        size_t row = (size_t)a->starts[i / a->n_heads];
        size_t column = (size_t)(i % a->n_heads * a->head_dim);
        struct enc_head h = {.bits = bits_of(a->mode),
                             .q = a->q + row * ld + column,
                             .k = a->k + row * ld + column,
                             .v = a->v + row * ld + column,
                             .ld = ld,
                             .n = (size_t)n,
                             .d = (size_t)a->head_dim,
                             .n_queries = (size_t)(n < a->most ? n : a->most),
                             .scale = a->scale,
                             .out = a->out + row * ldo + column,
                             .ldo = ldo,
                             .memory = w->scratch};
        assert(enc_attn_bytes(n, a->head_dim) <= w->scratch_bytes);
        kernels()->enc.attend(&h);
    }
}

/* Packing: a panel at a time, whose rows are first turned into floats. */
struct pack_job {
    const struct tensor *const *t;
    struct mat *m;
    int bits;
    float *rows; /* per worker, one row, padded */
};

static const uint8_t *source_row(const struct tensor *const *t, int64_t row)
{
    while (row >= (*t)->ne[1]) {
        row -= (*t++)->ne[1];
    }
    return (const uint8_t *)(*t)->data + (size_t)row * tensor_row_bytes(*t);
}

static void pack_block(int bits, const float *x, size_t n, size_t row, uint8_t *values,
                       float *factors)
{
    float peak = 0;
    int32_t sum = 0;
    for (size_t c = 0; c < n; c++) {
        peak = fmaxf(peak, fabsf(x[c]));
    }
    float scale = peak / (bits == 8 ? 127.0f : ENC_WEIGHT16);
    float inverse = scale > 0 && isfinite(scale) ? 1 / scale : 0;
    for (size_t c = 0; c < n; c++) {
        int v = inverse > 0 ? (int)rintf(x[c] * inverse) : 0;
        if (bits == 8) {
            values[(c / 4 * ENC_ROWS + row) * 4 + c % 4] = (uint8_t)v;
        } else {
            int16_t word = (int16_t)v;
            memcpy(values + (c / 2 * ENC_ROWS + row) * 4 + c % 2 * 2, &word, 2);
        }
        sum += v;
    }
    factors[row] = scale;
    factors[ENC_ROWS + row] = scale * (float)sum;
}

static void pack_panels(const struct worker *w, void *ctx)
{
    const struct pack_job *j = ctx;
    size_t cols = (size_t)j->m->cols, padded = enc_padded(cols), first, last;
    float *x = j->rows + (size_t)w->index * padded; /* what is past cols stays 0 */
    team_share(w, (size_t)j->m->rows, ENC_ROWS, &first, &last);
    for (size_t i = first; i < last; i++) {
        uint8_t *panel = (uint8_t *)j->m->packed + i / ENC_ROWS * weight_panel_bytes(j->bits, cols);
        float *factors = (float *)(void *)(panel + panel_value_bytes(j->bits, cols));
        type_info(j->m->type)->to_float(source_row(j->t, (int64_t)i), x, cols);
        for (size_t c = 0; c < padded; c += ENC_BLOCK) {
            size_t n = padded - c < ENC_BLOCK ? padded - c : ENC_BLOCK;
            pack_block(j->bits, x + c, n, i % ENC_ROWS,
                       panel + enc_dwords(j->bits, c) * 4 * ENC_ROWS,
                       factors + c / ENC_BLOCK * 2 * ENC_ROWS);
        }
    }
}

enum status enc_mat_pack(struct mat *m, const struct tensor *const *t, struct team *team,
                         struct err *e)
{
    struct pack_job job = {.t = t, .m = m, .bits = bits_of(m->mode)};
    size_t panels = ((size_t)m->rows + ENC_ROWS - 1) / ENC_ROWS, bytes, cols = (size_t)m->cols;
    bool filled = false;
    enum status s = size_mul(panels, weight_panel_bytes(job.bits, cols), &bytes)
                        ? mat_memory(m, bytes, &filled, e)
                        : err_set(e, ERR_LIMIT, NULL, "%lld x %lld weights are too many",
                                  (long long)m->rows, (long long)m->cols);
    m->path = job.bits == 8 ? "int8 rows x32" : "int16 rows x32";
    if (s || filled) {
        return s;
    }
    job.rows = mem_aligned((size_t)team_size(team) * enc_padded(cols), sizeof *job.rows);
    if (!job.rows) {
        return err_set(e, ERR_MEMORY, NULL, "no memory to pack rows of %lld", (long long)m->cols);
    }
    team_run(team, pack_panels, &job);
    free(job.rows);
    return OK;
}

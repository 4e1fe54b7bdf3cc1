/* Weights made ready for products: rows of the file to strips of 16 interleaved rows (layout:
 * kernels.h).
 *
 * Every quantised type becomes signed integers v of 4 or 8 bits with a scale, and a min where the
 * type has one, per group of 32 or half group of 16 columns: value = scale * v + min. Integers are
 * the file's own, so nothing is requantised; scales are kept in f16, relative to a power of two per
 * row, which is exact for types whose file holds f16 scales and within 2^-11 for super-blocks. Mins
 * are taken about the middle of the range (v = q - 8), so that they are small. F32, F16 and BF16
 * become int16 of 12 bits per block of 256 columns: half of F32's bytes, and a product with exact
 * integer sums at twice the speed of float multiply-add.
 *
 * One 8-bit scale per 256 columns would make prefill a fifth faster; measured on a 135M model it
 * costs 0.35 % of divergence, more than all of the error budget, and was rejected. */
#include "tensor/pack.h"

#include "tensor/types_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One row as integers; scale and min per half group of 16 columns. */
struct int_row {
    int8_t *v;
    float *scale, *min;
};

typedef void row_reader(const uint8_t *b, size_t cols, struct int_row *r);

static void put_group(struct int_row *r, size_t group, float scale, float min)
{
    r->scale[2 * group] = r->scale[2 * group + 1] = scale;
    r->min[2 * group] = r->min[2 * group + 1] = min;
}

static void read_q4_0(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++, b += 18) {
        put_group(r, g, load_f16(b), 0);
        for (size_t i = 0; i < 16; i++) {
            r->v[32 * g + i] = (int8_t)((b[2 + i] & 15) - 8);
            r->v[32 * g + i + 16] = (int8_t)((b[2 + i] >> 4) - 8);
        }
    }
}

static void read_q4_1(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++, b += 20) {
        float d = load_f16(b);
        put_group(r, g, d, load_f16(b + 2) + 8 * d);
        for (size_t i = 0; i < 16; i++) {
            r->v[32 * g + i] = (int8_t)((b[4 + i] & 15) - 8);
            r->v[32 * g + i + 16] = (int8_t)((b[4 + i] >> 4) - 8);
        }
    }
}

static void read_five_bits(const uint8_t *q, uint32_t high, int8_t *v)
{
    for (size_t i = 0; i < 16; i++) {
        v[i] = (int8_t)(((q[i] & 15) | (int)(high >> i & 1) << 4) - 16);
        v[i + 16] = (int8_t)((q[i] >> 4 | (int)(high >> (i + 16) & 1) << 4) - 16);
    }
}

static void read_q5_0(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++, b += 22) {
        put_group(r, g, load_f16(b), 0);
        read_five_bits(b + 6, load_u32(b + 2), r->v + 32 * g);
    }
}

static void read_q5_1(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++, b += 24) {
        float d = load_f16(b);
        put_group(r, g, d, load_f16(b + 2) + 16 * d);
        read_five_bits(b + 8, load_u32(b + 4), r->v + 32 * g);
    }
}

static void read_q8_0(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++, b += 34) {
        put_group(r, g, load_f16(b), 0);
        memcpy(r->v + 32 * g, b + 2, 32);
    }
}

static void read_iq4_nl(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++, b += 18) {
        put_group(r, g, load_f16(b), 0);
        for (size_t i = 0; i < 16; i++) {
            r->v[32 * g + i] = (int8_t)((b[2 + i] & 15) - 8);
            r->v[32 * g + i + 16] = (int8_t)((b[2 + i] >> 4) - 8);
        }
    }
}

static void read_iq4_xs(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++) {
        const uint8_t *block = b + g / 8 * 136, *q = block + 8 + g % 8 * 16;
        put_group(r, g, load_f16(block) * (float)iq4_xs_scale(block, (int)(g % 8)), 0);
        for (size_t i = 0; i < 16; i++) {
            r->v[32 * g + i] = (int8_t)((q[i] & 15) - 8);
            r->v[32 * g + i + 16] = (int8_t)((q[i] >> 4) - 8);
        }
    }
}

static void read_q2_k(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t h = 0; h < cols / 16; h++) {
        const uint8_t *block = b + h / 16 * 84;
        size_t k = h % 16;
        float scale = load_f16(block + 80) * (float)(block[k] & 15);
        r->scale[h] = scale;
        r->min[h] = 2 * scale - load_f16(block + 82) * (float)(block[k] >> 4);
        const uint8_t *q = block + 16 + k / 8 * 32 + k % 2 * 16;
        for (size_t i = 0; i < 16; i++) {
            r->v[16 * h + i] = (int8_t)((q[i] >> (k % 8 / 2 * 2) & 3) - 2);
        }
    }
}

static void read_q3_k(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t h = 0; h < cols / 16; h++) {
        const uint8_t *block = b + h / 16 * 110;
        size_t k = h % 16;
        r->scale[h] = load_f16(block + 108) * (float)q3_k_scale(block + 96, (int)k);
        r->min[h] = 0;
        const uint8_t *q = block + 32 + k / 8 * 32 + k % 2 * 16, *high = block + k % 2 * 16;
        for (size_t i = 0; i < 16; i++) {
            r->v[16 * h + i] =
                (int8_t)((q[i] >> (k % 8 / 2 * 2) & 3) + (high[i] >> (k / 2) & 1) * 4 - 4);
        }
    }
}

static void read_q4_k(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++) {
        const uint8_t *block = b + g / 8 * 144, *q = block + 16 + g % 8 / 2 * 32;
        int s, m;
        k4_scale_min(block + 4, (int)(g % 8), &s, &m);
        float scale = load_f16(block) * (float)s;
        put_group(r, g, scale, 8 * scale - load_f16(block + 2) * (float)m);
        for (size_t i = 0; i < 32; i++) {
            r->v[32 * g + i] = (int8_t)((q[i] >> (g % 2 * 4) & 15) - 8);
        }
    }
}

static void read_q5_k(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t g = 0; g < cols / 32; g++) {
        const uint8_t *block = b + g / 8 * 176, *q = block + 48 + g % 8 / 2 * 32;
        int s, m;
        k4_scale_min(block + 4, (int)(g % 8), &s, &m);
        float scale = load_f16(block) * (float)s;
        put_group(r, g, scale, 16 * scale - load_f16(block + 2) * (float)m);
        for (size_t i = 0; i < 32; i++) {
            int high = block[16 + i] >> (g % 8) & 1;
            r->v[32 * g + i] = (int8_t)(((q[i] >> (g % 2 * 4) & 15) | high << 4) - 16);
        }
    }
}

static void read_q6_k(const uint8_t *b, size_t cols, struct int_row *r)
{
    for (size_t h = 0; h < cols / 16; h++) {
        const uint8_t *block = b + h / 16 * 210;
        size_t at = h % 16 * 16, half = at / 128, k = at % 128 / 32, c = at % 32;
        r->scale[h] = load_f16(block + 208) * (float)(int8_t)block[192 + h % 16];
        r->min[h] = 0;
        const uint8_t *low = block + half * 64 + k % 2 * 32 + c,
                      *high = block + 128 + half * 32 + c;
        for (size_t i = 0; i < 16; i++) {
            int v = (low[i] >> (k / 2 * 4) & 15) | (high[i] >> (k * 2) & 3) << 4;
            r->v[16 * h + i] = (int8_t)(v - 32);
        }
    }
}

static const struct packing {
    struct mat_form form;
    row_reader *read;
    const char *path;
} packings[TYPE_COUNT] = {
    [TYPE_F32] = {{16, 1, false, false, false}, NULL, "int16 x16 rows"},
    [TYPE_F16] = {{16, 1, false, false, false}, NULL, "int16 x16 rows"},
    [TYPE_BF16] = {{16, 1, false, false, false}, NULL, "int16 x16 rows"},
    [TYPE_Q4_0] = {{4, 1, false, false, false}, read_q4_0, "4-bit x16 rows"},
    [TYPE_Q4_1] = {{4, 1, true, false, false}, read_q4_1, "4-bit+min x16 rows"},
    [TYPE_Q5_0] = {{8, 1, false, false, false}, read_q5_0, "8-bit x16 rows"},
    [TYPE_Q5_1] = {{8, 1, true, false, false}, read_q5_1, "8-bit+min x16 rows"},
    [TYPE_Q8_0] = {{8, 1, false, false, false}, read_q8_0, "8-bit x16 rows"},
    [TYPE_Q2_K] = {{4, 2, true, false, false}, read_q2_k, "4-bit+min/16 x16 rows"},
    [TYPE_Q3_K] = {{4, 2, false, false, false}, read_q3_k, "4-bit/16 x16 rows"},
    [TYPE_Q4_K] = {{4, 1, true, false, false}, read_q4_k, "4-bit+min x16 rows"},
    [TYPE_Q5_K] = {{8, 1, true, false, false}, read_q5_k, "8-bit+min x16 rows"},
    [TYPE_Q6_K] = {{8, 2, false, false, false}, read_q6_k, "8-bit/16 x16 rows"},
    [TYPE_IQ4_NL] = {{4, 1, false, true, false}, read_iq4_nl, "4-bit table x16 rows"},
    [TYPE_IQ4_XS] = {{4, 1, false, true, false}, read_iq4_xs, "4-bit table x16 rows"},
};

size_t strip_value_bytes(const struct mat_form *f, size_t groups)
{
    return groups * GROUP * STRIP_ROWS * (size_t)f->bits / 8;
}

size_t factor_bytes(const struct mat_form *f)
{
    return (size_t)f->halves * (f->has_min ? 2 : 1) * STRIP_ROWS * 2;
}

size_t strip_bytes(const struct mat_form *f, size_t groups)
{
    size_t blocks = (groups * GROUP + I16_BLOCK - 1) / I16_BLOCK;
    size_t factors = f->bits == 16 ? blocks * STRIP_ROWS * 4 : groups * factor_bytes(f);
    return strip_value_bytes(f, groups) + ((factors + 63) & ~(size_t)63);
}

/* The power of two that brings the row's largest factor to about 2^10, for f16's range. */
static float row_unit(const struct int_row *r, size_t halves)
{
    float peak = 0;
    for (size_t h = 0; h < halves; h++) {
        peak = fmaxf(peak, fmaxf(fabsf(r->scale[h]), fabsf(r->min[h])));
    }
    int exponent = 0;
    if (peak > 0 && isfinite(peak)) {
        (void)frexpf(peak, &exponent);
        exponent -= 10;
    }
    return ldexpf(1, exponent);
}

static void put_ints(const struct mat_form *f, const struct int_row *r, size_t groups, size_t row,
                     float unit, uint8_t *strip)
{
    uint8_t *factors = strip + strip_value_bytes(f, groups);
    for (size_t g = 0; g < groups; g++) {
        const int8_t *v = r->v + g * GROUP;
        for (size_t c = 0; c < GROUP; c++) {
            if (f->bits == 8) {
                strip[(g * 8 + c / 4) * 64 + row * 4 + c % 4] = (uint8_t)(v[c] + 128);
            } else {
                uint8_t *byte = strip + (g * 4 + c % 16 / 4) * 64 + row * 4 + c % 4;
                *byte = (uint8_t)(*byte | (v[c] + 8) << (c / 16 * 4));
            }
        }
        uint8_t *to = factors + g * factor_bytes(f) + 2 * row;
        for (size_t h = 0; h < (size_t)f->halves; h++, to += 2 * STRIP_ROWS) {
            store_u16(to, f32_to_f16(r->scale[2 * g + h] / unit));
            if (f->has_min) {
                store_u16(to + (size_t)f->halves * 2 * STRIP_ROWS,
                          f32_to_f16(r->min[2 * g + h] / unit));
            }
        }
    }
}

static void put_int16(const float *x, size_t cols, size_t groups, size_t row, uint8_t *strip)
{
    const struct mat_form form = {.bits = 16};
    uint8_t *scales = strip + strip_value_bytes(&form, groups);
    for (size_t c0 = 0; c0 < cols; c0 += I16_BLOCK) {
        size_t n = cols - c0 < I16_BLOCK ? cols - c0 : I16_BLOCK;
        float peak = 0;
        for (size_t c = c0; c < c0 + n; c++) {
            peak = fmaxf(peak, fabsf(x[c]));
        }
        float scale = peak / I16_WEIGHT_MAX, inverse = scale > 0 ? 1 / scale : 0;
        memcpy(scales + (c0 / I16_BLOCK * STRIP_ROWS + row) * 4, &scale, 4);
        for (size_t c = c0; c < c0 + n; c++) {
            float f = rintf(x[c] * inverse);
            f = f > I16_WEIGHT_MAX ? I16_WEIGHT_MAX : f < -I16_WEIGHT_MAX ? -I16_WEIGHT_MAX : f;
            int16_t v = (int16_t)f;
            memcpy(strip + (c / 2 * STRIP_ROWS + row) * 4 + c % 2 * 2, &v, 2);
        }
    }
}

struct pack_job {
    const struct tensor *const *t;
    struct mat *m;
    const struct packing *packing;
    size_t groups;
    uint8_t *memory; /* per worker: floats, scales, mins, ints of one row */
    size_t memory_bytes;
};

static const uint8_t *source_row(const struct tensor *const *t, int64_t row)
{
    while (row >= (*t)->ne[1]) {
        row -= (*t++)->ne[1];
    }
    return (const uint8_t *)(*t)->data + (size_t)row * tensor_row_bytes(*t);
}

static void pack_rows(const struct worker *w, void *ctx)
{
    struct pack_job *j = ctx;
    size_t cols = (size_t)j->m->cols, first, last;
    size_t bytes = strip_bytes(&j->m->form, j->groups);
    float *floats = (float *)(void *)(j->memory + (size_t)w->index * j->memory_bytes);
    struct int_row r = {.scale = floats, .min = floats + cols / 16};
    r.v = (int8_t *)(r.min + cols / 16);
    float *units = mat_units(j->m);
    team_share(w, (size_t)j->m->rows, STRIP_ROWS, &first, &last);
    for (size_t i = first; i < last; i++) {
        const uint8_t *src = source_row(j->t, (int64_t)i);
        uint8_t *strip = (uint8_t *)j->m->packed + i / STRIP_ROWS * bytes;
        if (j->packing->read) {
            j->packing->read(src, cols, &r);
            units[i] = row_unit(&r, cols / 16);
            put_ints(&j->m->form, &r, j->groups, i % STRIP_ROWS, units[i], strip);
        } else {
            type_info(j->m->type)->to_float(src, floats, cols);
            units[i] = 1;
            put_int16(floats, cols, j->groups, i % STRIP_ROWS, strip);
        }
    }
}

float *mat_units(const struct mat *m)
{
    size_t strips = mat_strips(m);
    return (float *)(void *)((uint8_t *)m->packed + strips * strip_bytes(&m->form, mat_groups(m)));
}

size_t mat_strips(const struct mat *m)
{
    return ((size_t)m->rows + STRIP_ROWS - 1) / STRIP_ROWS;
}

size_t mat_groups(const struct mat *m)
{
    return ((size_t)m->cols + GROUP - 1) / GROUP;
}

enum status mat_pack(struct mat *m, const struct tensor *const *t, struct team *team, struct err *e)
{
    const struct packing *p = &packings[m->type];
    struct pack_job job = {.t = t, .m = m, .packing = p, .groups = mat_groups(m)};
    m->form = p->form;
    m->path = p->path;
    size_t strips = mat_strips(m), bytes;
    job.memory_bytes = ((size_t)m->cols * 4 + 64 + 63) & ~(size_t)63;
    job.memory = mem_aligned((size_t)team_size(team), job.memory_bytes);
    if (size_mul(strips, strip_bytes(&m->form, job.groups) + STRIP_ROWS * 4, &bytes)) {
        m->packed = mem_aligned(bytes, 1);
        m->packed_bytes = bytes;
    }
    if (!job.memory || !m->packed) {
        free(job.memory);
        free(m->packed);
        return err_set(e, ERR_MEMORY, NULL, "no memory for %lld x %lld packed weights",
                       (long long)m->rows, (long long)m->cols);
    }
    team_run(team, pack_rows, &job);
    free(job.memory);
    return OK;
}

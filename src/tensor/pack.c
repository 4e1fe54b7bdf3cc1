/* Weights made ready for products: rows of the file to strips of 16 interleaved rows (layout:
 * kernels.h).
 *
 * Every quantised type becomes integers v of as many bits as the file has, with a scale, and a min
 * where the type has one, per group of 32 or half group of 16 columns: value = scale * v + min.
 * Integers are the file's own, so nothing is requantised, and a token reads hardly more than the
 * file's bytes. Scales are the file's too: f16 relative to a power of two per row, or int8 times
 * the f16 of their super-block. In f16, mins are taken about the middle of the range (v = q - 8),
 * so that they are small; in super-blocks they stay what they are (v = q). F32, F16 and BF16
 * become int16 of 12 bits per block of 256 columns: half of F32's bytes, and a product with exact
 * integer sums at twice the speed of float multiply-add.
 *
 * A strip is built whole: the factors of its 16 rows side by side, then 256 columns at a time of
 * its values, which a 4 x 4 transpose of 32-bit words interleaves while they are in the first-level
 * cache. Row by row, a byte at a time, took ten times as long.
 *
 * One 8-bit scale per 256 columns would make prefill a fifth faster; measured on a 135M model it
 * costs 0.35 % of divergence, more than all of the error budget, and was rejected. */
#include "tensor/pack_internal.h"
#include "tensor/types_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t strip_value_bytes(const struct mat_form *f, size_t groups)
{
    return groups * GROUP * STRIP_ROWS * (size_t)f->bits / 8;
}

size_t strip_factor_bytes(const struct mat_form *f, size_t groups)
{
    if (f->bits == 16) {
        return (groups * GROUP + I16_BLOCK - 1) / I16_BLOCK * STRIP_ROWS * 4;
    }
    size_t bytes = groups * group_factors(f) * STRIP_ROWS;
    return f->super ? bytes + groups / SUPER_GROUPS * (f->has_min ? 2 : 1) * STRIP_ROWS * 2
                    : 2 * bytes;
}

size_t strip_bytes(const struct mat_form *f, size_t groups)
{
    return strip_value_bytes(f, groups) + ((strip_factor_bytes(f, groups) + 63) & ~(size_t)63);
}

/* The power of two that brings the row's largest factor to about 2^10, for f16's range. */
static float row_unit(float peak)
{
    int exponent = 0;
    if (peak > 0 && isfinite(peak)) {
        (void)frexpf(peak, &exponent);
        exponent -= 10;
    }
    return ldexpf(1, exponent);
}

/* peak[r] = the largest |x| of row r; NaNs do not count. */
static void row_peaks(const float *x, size_t n, float *peak)
{
    for (size_t i = 0; i < n; i++, x += STRIP_ROWS) {
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            float a = fabsf(x[r]);
            peak[r] = a > peak[r] ? a : peak[r];
        }
    }
}

/* f32_to_f16 without branches, so that it becomes vectors. */
static inline uint16_t to_half(float f)
{
    uint32_t bits, rounded;
    memcpy(&bits, &f, 4);
    uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    float magnitude;
    memcpy(&magnitude, &bits, 4);
    magnitude += 0.5f;
    memcpy(&rounded, &magnitude, 4);
    uint32_t small = rounded - 0x3f000000;
    uint32_t normal = (bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13;
    uint32_t nan = 0x7e00 | (bits >> 13 & 0x3ff);
    uint32_t h = bits < 0x38800000 ? small : normal;
    h = bits >= 0x477ff000 ? 0x7c00 : h;
    h = bits > 0x7f800000 ? nan : h;
    return (uint16_t)(sign | h);
}

/* One array of factors, each row in its unit. */
static void put_halves(const float *x, const float *inverse, uint8_t *out)
{
    uint16_t h[STRIP_ROWS];
    for (size_t r = 0; r < STRIP_ROWS; r++) {
        h[r] = to_half(x[r] * inverse[r]);
    }
    memcpy(out, h, sizeof h);
}

/* in: 16 rows of n words of 32 bits with a stride of PACK_MAX_BYTES; out[j][r] = in[r][j]. */
static void interleave(const uint8_t *in, size_t n, uint8_t *out)
{
    typedef uint32_t quad __attribute__((vector_size(16)));
    for (size_t j = n & ~(size_t)3; j < n; j++) {
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            memcpy(out + (j * STRIP_ROWS + r) * 4, in + r * PACK_MAX_BYTES + j * 4, 4);
        }
    }
    for (size_t j = 0; j + 4 <= n; j += 4) {
        for (size_t r = 0; r < STRIP_ROWS; r += 4) {
            quad row[4], half[4], column[4];
            for (size_t k = 0; k < 4; k++) {
                memcpy(&row[k], in + (r + k) * PACK_MAX_BYTES + j * 4, 16);
            }
            for (size_t k = 0; k < 2; k++) {
                quad a = row[2 * k], b = row[2 * k + 1];
                half[k] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
                half[k + 2] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            }
            for (size_t k = 0; k < 2; k++) {
                quad a = half[2 * k], b = half[2 * k + 1];
                column[2 * k] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
                column[2 * k + 1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
            }
            for (size_t k = 0; k < 4; k++) {
                memcpy(out + ((j + k) * STRIP_ROWS + r) * 4, &column[k], 16);
            }
        }
    }
}

struct pack_job {
    const struct tensor *const *t;
    struct mat *m;
    const struct packing *packing;
    size_t groups;
    uint8_t *memory; /* per worker: the factors of a strip */
    size_t memory_bytes;
};

/* One strip to be written. */
struct target {
    const struct pack_job *job;
    const uint8_t *rows[STRIP_ROWS];
    size_t n_rows;
    uint8_t *out;
    float *units;
};

static void put_factors(const struct target *t, float *memory)
{
    const struct mat_form *f = &t->job->m->form;
    const struct packing *p = t->job->packing;
    size_t groups = t->job->groups, halves = (size_t)f->halves, n = groups * halves;
    float *scale = memory, *min = memory + n * STRIP_ROWS;
    float peak[STRIP_ROWS] = {0}, inverse[STRIP_ROWS] = {0};
    if (t->n_rows < STRIP_ROWS) {
        memset(memory, 0, 2 * n * STRIP_ROWS * sizeof *memory);
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        p->factors(t->rows[r], groups, scale + r, min + r);
    }
    row_peaks(scale, n, peak);
    if (f->has_min) {
        row_peaks(min, n, peak);
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        t->units[r] = row_unit(peak[r]);
        inverse[r] = 1 / t->units[r]; /* powers of two: as exact as dividing */
    }
    uint8_t *out = t->out + strip_value_bytes(f, groups);
    size_t group_bytes = group_factors(f) * STRIP_ROWS * 2;
    for (size_t i = 0; i < n; i++) {
        uint8_t *to = out + i / halves * group_bytes + i % halves * 2 * STRIP_ROWS;
        put_halves(scale + i * STRIP_ROWS, inverse, to);
        if (f->has_min) {
            put_halves(min + i * STRIP_ROWS, inverse, to + halves * 2 * STRIP_ROWS);
        }
    }
}

static void put_supers(const struct target *t)
{
    const struct mat_form *f = &t->job->m->form;
    size_t halves = (size_t)f->halves, mins = f->has_min ? halves * STRIP_ROWS : 0;
    uint8_t *out = t->out + strip_value_bytes(f, t->job->groups);
    size_t block = strip_factor_bytes(f, SUPER_GROUPS), head = f->has_min ? 64 : 32;
    for (size_t k = 0; k < t->job->groups / SUPER_GROUPS; k++, out += block) {
        for (size_t r = 0; r < STRIP_ROWS; r++) {
            uint16_t d[2] = {0, 0};
            uint8_t scale[2 * SUPER_GROUPS] = {0}, min[2 * SUPER_GROUPS] = {0};
            if (r < t->n_rows) {
                t->job->packing->supers(t->rows[r], k, d, scale, min);
            }
            store_u16(out + 2 * r, d[0]);
            if (mins) {
                store_u16(out + 2 * (STRIP_ROWS + r), d[1]);
            }
            uint8_t *to = out + head + r;
            for (size_t i = 0; i < SUPER_GROUPS * halves; i++, to += STRIP_ROWS) {
                *to = scale[i];
                if (mins) {
                    to[mins] = min[i];
                    to += (i + 1) % halves ? 0 : mins;
                }
            }
        }
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        t->units[r] = 1;
    }
}

static void put_values(const struct target *t)
{
    size_t groups = t->job->groups;
    size_t words = strip_value_bytes(&t->job->m->form, 1) / STRIP_ROWS / 4; /* of a row's group */
    _Alignas(64) uint8_t rows[STRIP_ROWS * PACK_MAX_BYTES];
    memset(rows + t->n_rows * PACK_MAX_BYTES, 0, (STRIP_ROWS - t->n_rows) * PACK_MAX_BYTES);
    for (size_t g = 0; g < groups; g += PACK_GROUPS) {
        size_t n = groups - g < PACK_GROUPS ? groups - g : PACK_GROUPS;
        for (size_t r = 0; r < t->n_rows; r++) {
            t->job->packing->values(t->rows[r], g, n, rows + r * PACK_MAX_BYTES);
        }
        interleave(rows, n * words, t->out + g * words * STRIP_ROWS * 4);
    }
}

/* n floats to int16 with a common scale; zeros up to a whole group. */
static float to_int16(const float *x, size_t n, uint8_t *out)
{
    int16_t v[I16_BLOCK] = {0};
    float peak = 0;
    for (size_t i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        peak = a > peak ? a : peak;
    }
    float scale = peak / I16_WEIGHT_MAX, inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < n; i++) {
        float f = x[i] * inverse;
        f = f == f ? f : 0; /* infinity times zero */
        f = f > I16_WEIGHT_MAX ? I16_WEIGHT_MAX : f < -I16_WEIGHT_MAX ? -I16_WEIGHT_MAX : f;
        v[i] = (int16_t)(int)(f + ACC_BIAS - ACC_BIAS); /* rounds to nearest, ties to even */
    }
    memcpy(out, v, (n + GROUP - 1) / GROUP * GROUP * 2);
    return scale;
}

static void put_int16(const struct target *t)
{
    const struct type_info *info = type_info(t->job->m->type);
    size_t cols = (size_t)t->job->m->cols, groups = t->job->groups;
    uint8_t *scales = t->out + strip_value_bytes(&t->job->m->form, groups);
    _Alignas(64) uint8_t rows[STRIP_ROWS * PACK_MAX_BYTES];
    memset(rows + t->n_rows * PACK_MAX_BYTES, 0, (STRIP_ROWS - t->n_rows) * PACK_MAX_BYTES);
    for (size_t c = 0; c < cols; c += I16_BLOCK) {
        size_t n = cols - c < I16_BLOCK ? cols - c : I16_BLOCK;
        for (size_t r = 0; r < t->n_rows; r++) {
            float x[I16_BLOCK], scale;
            info->to_float(t->rows[r] + c * info->block_bytes, x, n);
            scale = to_int16(x, n, rows + r * PACK_MAX_BYTES);
            memcpy(scales + (c / I16_BLOCK * STRIP_ROWS + r) * 4, &scale, 4);
        }
        interleave(rows, (n + GROUP - 1) / GROUP * (GROUP / 2), t->out + c * STRIP_ROWS * 2);
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        t->units[r] = 1;
    }
}

static const uint8_t *source_row(const struct tensor *const *t, int64_t row)
{
    while (row >= (*t)->ne[1]) {
        row -= (*t++)->ne[1];
    }
    return (const uint8_t *)(*t)->data + (size_t)row * tensor_row_bytes(*t);
}

static void pack_strips(const struct worker *w, void *ctx)
{
    struct pack_job *j = ctx;
    size_t bytes = strip_bytes(&j->m->form, j->groups), rows = (size_t)j->m->rows, first, last;
    team_share(w, mat_strips(j->m), 1, &first, &last);
    for (size_t s = first; s < last; s++) {
        size_t row = s * STRIP_ROWS;
        struct target t = {.job = j,
                           .n_rows = rows - row < STRIP_ROWS ? rows - row : STRIP_ROWS,
                           .out = (uint8_t *)j->m->packed + s * bytes,
                           .units = mat_units(j->m) + row};
        for (size_t r = 0; r < t.n_rows; r++) {
            t.rows[r] = source_row(j->t, (int64_t)(row + r));
        }
        if (j->packing->supers) {
            put_supers(&t);
            put_values(&t);
        } else if (j->packing->values) {
            put_factors(&t, (float *)(void *)(j->memory + (size_t)w->index * j->memory_bytes));
            put_values(&t);
        } else {
            put_int16(&t);
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

enum status mat_memory(struct mat *m, size_t bytes, bool *filled, struct err *e)
{
    *filled = false;
    m->packed = m->home ? m->home->take(m->home, m, bytes, filled) : mem_large(bytes, 1);
    m->packed_bytes = bytes;
    return m->packed ? OK
                     : err_set(e, ERR_MEMORY, NULL, "no memory for %lld x %lld packed weights",
                               (long long)m->rows, (long long)m->cols);
}

enum status mat_pack(struct mat *m, const struct tensor *const *t, struct team *team, struct err *e)
{
    const struct packing *p = &packings[m->type];
    struct pack_job job = {.t = t, .m = m, .packing = p, .groups = mat_groups(m)};
    m->form = p->form;
    m->path = p->path;
    size_t bytes;
    bool filled;
    if (!size_mul(mat_strips(m), strip_bytes(&m->form, job.groups) + STRIP_ROWS * 4, &bytes)) {
        return err_set(e, ERR_LIMIT, NULL, "weights of %lld x %lld are too large",
                       (long long)m->rows, (long long)m->cols);
    }
    enum status s = mat_memory(m, bytes, &filled, e);
    if (s || filled) {
        return s;
    }
    /* Scales and mins of up to two halves a group; a cache line between neighbours. */
    job.memory_bytes = job.groups * 4 * STRIP_ROWS * sizeof(float) + 64;
    job.memory = mem_aligned((size_t)team_size(team), job.memory_bytes);
    if (!job.memory) {
        return err_set(e, ERR_MEMORY, NULL, "no memory to pack %lld x %lld weights",
                       (long long)m->rows, (long long)m->cols);
    }
    team_run(team, pack_strips, &job);
    free(job.memory);
    return OK;
}

/* Packed weights byte for byte against the plain definition: one row at a time, one value at a
 * time. All types, tails of rows and columns, several tensors in one matrix, any number of
 * threads. */
#include "common/test.h"

#include "base/sys.h"
#include "tensor/pack.h"
#include "tensor/types_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct rng rng;

/* The factors of a super-block as the file has them. */
struct super {
    uint16_t d, dmin;
    int scale[16], min[16];
};

static struct super super_at(enum tensor_type type, const uint8_t *row, size_t k)
{
    const uint8_t *b = row + k * type_info(type)->block_bytes;
    struct super s = {0};
    for (int i = 0; i < 16; i++) {
        switch (type) {
        case TYPE_Q2_K:
            s.scale[i] = b[i] & 15;
            s.min[i] = b[i] >> 4;
            break;
        case TYPE_Q3_K:
            s.scale[i] = q3_k_scale(b + 96, i);
            break;
        case TYPE_Q6_K:
            s.scale[i] = (int8_t)b[192 + i];
            break;
        case TYPE_IQ4_XS:
            s.scale[i] = i < 8 ? iq4_xs_scale(b, i) : 0;
            break;
        default: /* Q4_K, Q5_K */
            k4_scale_min(b + 4, i % 8, &s.scale[i], &s.min[i]);
        }
    }
    const size_t at[TYPE_COUNT] = {[TYPE_Q2_K] = 80, [TYPE_Q3_K] = 108, [TYPE_Q6_K] = 208};
    s.d = load_u16(b + at[type]);
    s.dmin = load_u16(b + at[type] + (type == TYPE_Q6_K || type == TYPE_Q3_K ? 0 : 2));
    return s;
}

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
        r->min[h] = -load_f16(block + 82) * (float)(block[k] >> 4);
        const uint8_t *q = block + 16 + k / 8 * 32 + k % 2 * 16;
        for (size_t i = 0; i < 16; i++) {
            r->v[16 * h + i] = (int8_t)(q[i] >> (k % 8 / 2 * 2) & 3);
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
        put_group(r, g, scale, -load_f16(block + 2) * (float)m);
        for (size_t i = 0; i < 32; i++) {
            r->v[32 * g + i] = (int8_t)(q[i] >> (g % 2 * 4) & 15);
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
        put_group(r, g, scale, -load_f16(block + 2) * (float)m);
        for (size_t i = 0; i < 32; i++) {
            int high = block[16 + i] >> (g % 8) & 1;
            r->v[32 * g + i] = (int8_t)((q[i] >> (g % 2 * 4) & 15) | high << 4);
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

/* One value, plane by plane from its lowest bits. */
static void put_value(int bits, unsigned w, size_t c, size_t row, uint8_t *group)
{
    static const struct {
        int bits;
        size_t width;
    } planes[] = {{8, 8}, {4, 4}, {2, 2}, {1, 1}};
    for (size_t i = 0; i < 4; i++) {
        size_t p = planes[i].width;
        if (bits & planes[i].bits) {
            unsigned field = w & ((1u << p) - 1);
            uint8_t *byte = group + (c / 4 % p * STRIP_ROWS + row) * 4 + c % 4;
            *byte = (uint8_t)(*byte | field << (c / 4 / p * p));
            w >>= p;
            group += p * STRIP_ROWS * 4;
        }
    }
}

static void put_ints(const struct mat_form *f, const struct int_row *r, size_t groups, size_t row,
                     float unit, uint8_t *strip)
{
    bool from_zero = f->super && f->has_min;
    uint8_t *to = strip + strip_value_bytes(f, groups) + 2 * row;
    size_t halves = (size_t)f->halves;
    for (size_t g = 0; g < groups; g++) {
        for (size_t c = 0; c < GROUP; c++) {
            int w = r->v[g * GROUP + c] + (from_zero ? 0 : f->bits == 8 ? 128 : 1 << (f->bits - 1));
            put_value(f->bits, (unsigned)w, c, row, strip + g * strip_value_bytes(f, 1));
        }
        for (size_t h = 0; h < halves && !f->super; h++, to += 2 * STRIP_ROWS) {
            store_u16(to, f32_to_f16(r->scale[2 * g + h] / unit));
            if (f->has_min) {
                store_u16(to + halves * 2 * STRIP_ROWS, f32_to_f16(r->min[2 * g + h] / unit));
            }
        }
        to += f->has_min && !f->super ? halves * 2 * STRIP_ROWS : 0;
    }
}

/* The factors of a super-block are the file's. */
static void put_supers(const struct mat_form *f, const struct super *s, size_t k, size_t row,
                       uint8_t *factors)
{
    size_t halves = (size_t)f->halves, sets = f->has_min ? 2 : 1, each = halves * STRIP_ROWS;
    uint8_t *block = factors + k * STRIP_ROWS * sets * (2 + 8 * halves);
    store_u16(block + 2 * row, s->d);
    if (f->has_min) {
        store_u16(block + 2 * (STRIP_ROWS + row), s->dmin ^ 0x8000);
    }
    block += 2 * sets * STRIP_ROWS;
    for (size_t i = 0; i < 8 * halves; i++) {
        uint8_t *to = block + i / halves * sets * each + i % halves * STRIP_ROWS + row;
        *to = (uint8_t)s->scale[i];
        if (f->has_min) {
            to[each] = (uint8_t)s->min[i];
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
            int16_t v = f == f ? (int16_t)f : 0; /* NaN comes of infinities: 0 */
            memcpy(strip + (c / 2 * STRIP_ROWS + row) * 4 + c % 2 * 2, &v, 2);
        }
    }
}

static const struct {
    enum tensor_type type;
    row_reader *read;
    size_t halves_at[2]; /* f16 factors of a block */
} types[] = {
    {TYPE_F32, NULL, {0, 0}},           {TYPE_F16, NULL, {0, 0}},
    {TYPE_BF16, NULL, {0, 0}},          {TYPE_Q4_0, read_q4_0, {0, 0}},
    {TYPE_Q4_1, read_q4_1, {0, 2}},     {TYPE_Q5_0, read_q5_0, {0, 0}},
    {TYPE_Q5_1, read_q5_1, {0, 2}},     {TYPE_Q8_0, read_q8_0, {0, 0}},
    {TYPE_Q2_K, read_q2_k, {80, 82}},   {TYPE_Q3_K, read_q3_k, {108, 108}},
    {TYPE_Q4_K, read_q4_k, {0, 2}},     {TYPE_Q5_K, read_q5_k, {0, 2}},
    {TYPE_Q6_K, read_q6_k, {208, 208}}, {TYPE_IQ4_NL, read_iq4_nl, {0, 0}},
    {TYPE_IQ4_XS, read_iq4_xs, {0, 0}},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* Any float bits but NaN, mostly of ordinary size. */
static float any_float(void)
{
    uint64_t r = rng_u64(&rng);
    float f = ((float)(r >> 40) - 8388608.0f) * 1e-8f;
    if (r % 61 == 0) {
        uint32_t bits = (uint32_t)(r >> 8) & 0xff7fffff;
        memcpy(&f, &bits, 4);
    }
    return r % 67 == 0 ? 0 : f;
}

/* Random blocks; factors are finite halves of all sizes, subnormal ones too, and a rare infinity.
 */
static uint8_t *random_rows(size_t k, size_t n)
{
    const struct type_info *info = type_info(types[k].type);
    size_t bytes = n / info->block_elems * info->block_bytes;
    uint8_t *p = malloc(bytes);
    assert_non_null(p);
    for (size_t i = 0; i < bytes; i++) {
        p[i] = (uint8_t)rng_u64(&rng);
    }
    for (size_t i = 0; !types[k].read && i < n; i++) {
        float f = any_float();
        uint16_t h = types[k].type == TYPE_F16 ? f32_to_f16(f) : f32_to_bf16(f);
        memcpy(p + i * info->block_bytes, info->block_bytes == 4 ? (void *)&f : (void *)&h,
               info->block_bytes);
    }
    for (size_t b = 0; types[k].read && b < bytes; b += info->block_bytes) {
        for (int i = 0; i < 2; i++) {
            uint64_t r = rng_u64(&rng);
            uint16_t h = (uint16_t)(r & 0xbbff) | (uint16_t)(r & 0x30000 ? 0x2000 : 0);
            h = r >> 32 & 0xfff ? h : 0x7c00;
            memcpy(p + b + types[k].halves_at[i], &h, 2);
        }
    }
    return p;
}

/* What mat_pack must write for the rows of a and b. */
static uint8_t *packed_plainly(const struct mat *m, row_reader *read, const struct tensor *const *t)
{
    size_t cols = (size_t)m->cols, groups = mat_groups(m);
    size_t bytes = strip_bytes(&m->form, groups);
    uint8_t *out = mem_aligned(m->packed_bytes, 1);
    float *units = (float *)(void *)(out + mat_strips(m) * bytes);
    float *floats = calloc(cols, 4), *factors = calloc(cols / 8 + 2, 4);
    struct int_row r = {calloc(cols, 1), factors, factors + cols / 16 + 1};
    for (int64_t i = 0; i < m->rows; i++) {
        const struct tensor *from = i < t[0]->ne[1] ? t[0] : t[1];
        const uint8_t *src = (const uint8_t *)from->data +
                             (size_t)(from == t[0] ? i : i - t[0]->ne[1]) * tensor_row_bytes(from);
        uint8_t *strip = out + (size_t)i / STRIP_ROWS * bytes;
        units[i] = 1;
        if (read) {
            read(src, cols, &r);
            size_t row = (size_t)i % STRIP_ROWS;
            units[i] = m->form.super ? 1 : row_unit(&r, cols / 16);
            put_ints(&m->form, &r, groups, row, units[i], strip);
            for (size_t k = 0; m->form.super && k < groups / SUPER_GROUPS; k++) {
                struct super s = super_at(m->type, src, k);
                put_supers(&m->form, &s, k, row, strip + strip_value_bytes(&m->form, groups));
            }
        } else {
            type_info(m->type)->to_float(src, floats, cols);
            put_int16(floats, cols, groups, (size_t)i % STRIP_ROWS, strip);
        }
    }
    free(floats);
    free(factors);
    free(r.v);
    return out;
}

static void check(size_t k, int64_t cols, int64_t rows_a, int64_t rows_b, int threads)
{
    struct tensor a = {.type = types[k].type, .n_dims = 2, .ne = {cols, rows_a, 1, 1}}, b = a;
    const struct tensor *both[] = {&a, &b};
    struct team *team = NULL;
    struct mat m;
    struct err e = {0};
    b.ne[1] = rows_b;
    uint8_t *rows[] = {random_rows(k, (size_t)(cols * rows_a)),
                       random_rows(k, (size_t)(cols * (rows_b ? rows_b : 1)))};
    a.data = rows[0];
    b.data = rows[1];
    assert_ok_err(team_open(threads, ops_scratch_bytes(cols), &team, &e), &e);
    assert_ok_err(mat_init(&m, both, rows_b ? 2 : 1, MUL_DEFAULT, team, &e), &e);
    uint8_t *want = packed_plainly(&m, types[k].read, both);
    for (size_t i = 0; i < m.packed_bytes; i++) {
        if (((uint8_t *)m.packed)[i] != want[i]) {
            fail_msg("%s, %lld + %lld rows of %lld columns: byte %zu of %zu is %d, should be %d",
                     type_info(m.type)->name, (long long)rows_a, (long long)rows_b, (long long)cols,
                     i, m.packed_bytes, ((uint8_t *)m.packed)[i], want[i]);
        }
    }
    free(want);
    free(rows[0]);
    free(rows[1]);
    mat_fini(&m);
    team_close(team);
}

static void packed_bytes_are_those_of_the_definition(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_TYPES; k++) {
        const struct type_info *info = type_info(types[k].type);
        int64_t block = info->block_elems;
        for (int64_t round = 0; round < 12; round++) {
            int64_t blocks = block == 1    ? (int64_t)(1 + rng_u64(&rng) % 700)
                             : block == 32 ? (int64_t)(1 + rng_u64(&rng) % 20)
                                           : (int64_t)(1 + rng_u64(&rng) % 3);
            check(k, blocks * block, (int64_t)(1 + rng_u64(&rng) % 50),
                  round % 3 ? (int64_t)(1 + rng_u64(&rng) % 40) : 0, 1 + (int)(round % 3));
        }
    }
}

int main(void)
{
    rng_init(&rng, 20261121);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_bytes_are_those_of_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

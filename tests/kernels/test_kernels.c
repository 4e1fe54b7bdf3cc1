/* Every kernel of every instruction set of this machine against the scalar definition, on random
 * sizes, tails and misalignment. `test_kernels --time` times them instead,
 * `--time-ops [THREADS [ROWS]]` times whole products.
 *
 * This program includes no test library and needs only src/tensor and src/base/sys.c, mem.c, err.c,
 * so that it can be cross-compiled and run under an emulator (tests/cli/test_neon.sh). */
#include "tensor/pack.h"

#include "base/sys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rng rng;
static int failures;
static const struct kernels *scalar, *tested;

#define CHECK(condition, ...)                                             \
    do {                                                                  \
        if (!(condition)) {                                               \
            printf("FAIL %s: %s:%d: ", tested->name, __FILE__, __LINE__); \
            printf(__VA_ARGS__);                                          \
            printf("\n");                                                 \
            failures++;                                                   \
        }                                                                 \
    } while (0)

static float normal(void)
{
    double u = rng_unit(&rng) + 1e-12, v = rng_unit(&rng);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static size_t below(size_t n)
{
    return (size_t)(rng_u64(&rng) % n);
}

/* Rows with outliers now and then, as activations have. */
static void fill_normal(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = normal() * (below(50) ? 1.0f : 20.0f);
    }
}

static void *allocate(size_t bytes)
{
    void *p = mem_aligned(bytes, 1);
    if (!p) {
        abort();
    }
    return p;
}

/* A strip of random values and factors of a form. */
static struct strip random_strip(const struct mat_form *form, size_t groups)
{
    size_t values = strip_value_bytes(form, groups), bytes = strip_bytes(form, groups);
    uint8_t *p = allocate(bytes);
    for (size_t i = 0; i < values; i++) {
        p[i] = (uint8_t)rng_u64(&rng);
    }
    if (form->bits == 16) {
        for (size_t i = 0; i < values; i += 2) {
            int16_t v = (int16_t)((int)below(4095) - 2047);
            memcpy(p + i, &v, 2);
        }
        for (size_t i = values; i < bytes; i += 4) {
            float f = normal();
            memcpy(p + i, &f, 4);
        }
    } else {
        size_t block = form->super ? strip_factor_bytes(form, SUPER_GROUPS) : bytes;
        size_t halves = form->super ? (form->has_min ? 64 : 32) : bytes;
        for (size_t i = values; i < bytes; i += 2) {
            uint64_t bits = rng_u64(&rng);
            uint16_t h = (i - values) % block < halves ? f32_to_f16(normal()) : (uint16_t)bits;
            memcpy(p + i, &h, 2);
        }
    }
    return (struct strip){.values = p, .factors = p + values};
}

static struct act_panel random_panel(const struct kernels *k, int bits, size_t cols, int nt,
                                     const float *x)
{
    size_t groups = (cols + GROUP - 1) / GROUP;
    struct act_panel p = act_panel_view(allocate(act_panel_bytes(groups, nt)), groups, nt);
    for (int t = 0; t < nt; t++) {
        (bits == 16 ? k->quant16 : k->quant8)(x + (size_t)t * cols, cols, &p, t, 0, groups);
    }
    return p;
}

static void check_quant(void)
{
    for (int round = 0; round < 60; round++) {
        size_t cols = 1 + below(700);
        int nt = 1 + (int)below(PANEL_TOKENS), bits = round % 2 ? 16 : 8;
        float *x = allocate(cols * (size_t)nt * 4 + 4);
        fill_normal(x + 1, cols * (size_t)nt);
        if (round % 5 == 0) {
            memset(x + 1, 0, cols * 4 < 200 ? cols * 4 : 200);
            x[1 + below(cols)] = round % 10 ? 1e-38f : INFINITY;
        }
        struct act_panel a = random_panel(scalar, bits, cols, nt, x + 1);
        struct act_panel b = random_panel(tested, bits, cols, nt, x + 1);
        size_t bytes = act_panel_bytes(a.groups, nt);
        CHECK(memcmp(a.bytes, b.bytes, bytes) == 0, "quant%d cols %zu tokens %d", bits, cols, nt);
        if (bits == 8) {
            size_t half = a.groups / 2; /* in two parts, over what must not show */
            memset(b.bytes, 0x55, ACT_GROUP_BYTES * a.groups * (size_t)nt);
            tested->quant8_panel(x + 1, cols, cols, &b, 0, half);
            tested->quant8_panel(x + 1, cols, cols, &b, half, a.groups);
            CHECK(memcmp(a.bytes, b.bytes, bytes) == 0, "panel of %zu x %d", cols, nt);
        }
        free(a.bytes);
        free(b.bytes);
        free(x);
    }
}

#define FORM(name, ...) {__VA_ARGS__, false},
static const struct mat_form forms[] = {EACH_PACKED(FORM){16, 1, false, false, false, false}};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

static bool few_bits(const struct mat_form *form)
{
    return form->bits != 16;
}

/* Whether `unpack` leaves values where they are. */
static bool stays(const struct kernels *k, const struct mat_form *form)
{
    return form->bits == 8 && k->wide_bytes == 1;
}

/* All of the columns, in two steps if the split is not their number. */
static void product(const struct kernels *k, const struct strip *w, int n_strips,
                    const struct mat_form *form, const struct act_panel *x, size_t split,
                    float *out)
{
    size_t strip = x->groups * GROUP * STRIP_ROWS * (size_t)k->wide_bytes;
    uint8_t *bytes = allocate(2 * strip);
    float *floats = allocate(2 * x->groups * 4 * STRIP_ROWS * sizeof *floats);
    for (size_t g = 0, n = split; g < x->groups; g += n, n = x->groups - split) {
        struct strip at[2] = {{.next = w[0].values, .next_bytes = 64 * split - 1}};
        struct act_panel part = panel_from(*x, g);
        part.groups = n;
        for (size_t s = 0; s < 2; s++) {
            at[s].values = w[s].values + strip_value_bytes(form, g);
            at[s].factors = w[s].factors + strip_factor_bytes(form, g);
            uint8_t *values = bytes + s * strip;
            float *factors = floats + s * x->groups * 4 * STRIP_ROWS;
            if (few_bits(form)) {
                k->unpack(&at[s], form, n, values, factors);
                at[s].values = stays(k, form) ? at[s].values : values;
                at[s].factors = (const uint8_t *)factors;
            }
        }
        if (few_bits(form)) {
            k->mul8(at, n_strips, form, &part, g > 0, out);
        } else {
            k->mul16(at, n_strips, &part, g > 0, out);
        }
    }
    free(bytes);
    free(floats);
}

static void check_few(const struct mat_form *form, const struct strip *w, const struct act_panel *p)
{
    _Alignas(64) float want[PANEL_TOKENS * 32] = {0}, got[PANEL_TOKENS * 32] = {0};
    scalar->mul_few(w, form, p, want);
    tested->mul_few(w, form, p, got);
    CHECK(memcmp(want, got, sizeof want) == 0,
          "few: %d bits, halves %d, min %d, table %d, super %d, %zu groups, %d tokens", form->bits,
          form->halves, form->has_min, form->table, form->super, p->groups, p->nt);
}

static void check_unpack(const struct mat_form *form, const struct strip *w,
                         const struct act_panel *p)
{
    size_t bytes = 2 * p->groups * GROUP * STRIP_ROWS,
           n = p->groups * group_factors(form) * STRIP_ROWS;
    uint8_t *a = allocate(bytes), *b = allocate(bytes); /* values are in a form of their own */
    float *fa = allocate(n * sizeof *fa), *fb = allocate(n * sizeof *fb);
    scalar->unpack(w, form, p->groups, a, fa);
    tested->unpack(w, form, p->groups, b, fb);
    CHECK(memcmp(fa, fb, n * sizeof *fa) == 0, "factors of %d bits, halves %d, min %d, super %d",
          form->bits, form->halves, form->has_min, form->super);
    /* unpacked and direct products agree */
    _Alignas(64) float want[PANEL_TOKENS * 32], got[PANEL_TOKENS * 32];
    struct strip u = {.values = stays(tested, form) ? w->values : b,
                      .factors = (const uint8_t *)fb};
    scalar->mul_few(w, form, p, want);
    tested->mul8(&u, 1, form, p, false, got);
    for (int t = 0; t < p->nt; t++) {
        CHECK(memcmp(want + t * 32, got + t * 32, STRIP_ROWS * 4) == 0, "unpacked product");
    }
    free(a);
    free(b);
    free(fa);
    free(fb);
}

/* Bitwise: the arithmetic is defined to the last bit. */
static void check_products(const struct mat_form *form)
{
    for (int nt = 1; nt <= PANEL_TOKENS; nt++) {
        bool blocks = form->bits == 16 || form->super;
        size_t cols = form->super ? 256 * (1 + below(5)) : GROUP * (1 + below(40));
        float *x = allocate(cols * (size_t)nt * 4);
        fill_normal(x, cols * (size_t)nt);
        struct act_panel p = random_panel(scalar, form->bits, cols, nt, x);
        struct strip w[2] = {random_strip(form, p.groups), random_strip(form, p.groups)};
        size_t split = 1 + below(p.groups);
        split = blocks ? (split + 7) & ~(size_t)7 : split;
        split = split < p.groups ? split : p.groups;
        _Alignas(64) float want[PANEL_TOKENS * 32] = {0}, got[PANEL_TOKENS * 32] = {0};
        for (int strips = 1; strips <= 2; strips++) {
            product(scalar, w, strips, form, &p, p.groups, want);
            product(tested, w, strips, form, &p, split, got);
            for (int t = 0; strips == 1 && t < nt; t++) { /* anything */
                memset(want + t * 32 + 16, 0, 64);
                memset(got + t * 32 + 16, 0, 64);
            }
            CHECK(
                memcmp(want, got, sizeof want) == 0,
                "product of %d bits, halves %d, min %d, table %d, super %d, %zu columns, %d tokens",
                form->bits, form->halves, form->has_min, form->table, form->super, cols, nt);
        }
        if (few_bits(form)) {
            check_few(form, &w[0], &p);
            check_unpack(form, &w[0], &p);
        }
        free((void *)(uintptr_t)w[0].values);
        free((void *)(uintptr_t)w[1].values);
        free(p.bytes);
        free(x);
    }
}

/* Weights and activations as large as they can be, of every sign: sums in 16 bits must hold. */
static void check_extremes(const struct mat_form *form)
{
    static const uint8_t fills[] = {0, 0x01, 0x80, 0xff};
    enum { COLS = 256 };
    for (size_t i = 0; few_bits(form) && i < 16; i++) {
        float x[PANEL_TOKENS * COLS];
        for (size_t c = 0; c < PANEL_TOKENS * COLS; c++) {
            size_t sign = i / 4 == 2 ? c : i / 4 == 3 ? c / 4 : i / 4;
            x[c] = sign % 2 ? -3.0f : 3.0f;
        }
        struct act_panel p = random_panel(scalar, form->bits, COLS, PANEL_TOKENS, x);
        struct strip w[2] = {random_strip(form, p.groups), random_strip(form, p.groups)};
        for (size_t s = 0; s < 2; s++) {
            memset((void *)(uintptr_t)w[s].values, fills[i % 4], strip_value_bytes(form, p.groups));
        }
        _Alignas(64) float want[PANEL_TOKENS * 32], got[PANEL_TOKENS * 32];
        product(scalar, w, 2, form, &p, p.groups, want);
        product(tested, w, 2, form, &p, p.groups, got);
        CHECK(memcmp(want, got, sizeof want) == 0,
              "extremes of %d bits, halves %d, min %d, table %d, super %d: %zu", form->bits,
              form->halves, form->has_min, form->table, form->super, i);
        check_few(form, &w[0], &p);
        free((void *)(uintptr_t)w[0].values);
        free((void *)(uintptr_t)w[1].values);
        free(p.bytes);
    }
}

/* Largest difference relative to the largest value. */
static double distance(const float *a, const float *b, size_t n)
{
    double most = 0, size = 1e-20; /* silu(-100) is nothing, not a size */
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
        if (isnan(a[i]) != isnan(b[i])) {
            return INFINITY;
        }
    }
    return most / size;
}

/* Float rows: 4 units in the last place of the largest value, more for sums and polynomials. Arrays
 * begin at odd places and end where they end: a guard value follows. */
enum { ROW_MAX = 300 };
static void check_rows(void)
{
    for (size_t n = 1; n < ROW_MAX; n += 1 + below(12)) {
        float x[ROW_MAX + 2], y[ROW_MAX + 2], g[ROW_MAX + 2], b[ROW_MAX + 2];
        float want[ROW_MAX + 2], got[ROW_MAX + 2];
        for (size_t i = 0; i < ROW_MAX + 2; i++) {
            x[i] = normal() * 4, y[i] = normal(), g[i] = normal(), b[i] = normal();
        }
        x[1 + below(n)] = 100; /* exp must not overflow, erf must saturate */
        x[1 + below(n)] = -100;
        float dots[2] = {tested->dot_f32(x + 1, y + 1, n), scalar->dot_f32(x + 1, y + 1, n)};
        CHECK(fabsf(dots[0] - dots[1]) < 2e-4f, "dot_f32 %zu: %g %g", n, (double)dots[0],
              (double)dots[1]);
#define SAME(bound, call)                                                               \
    do {                                                                                \
        memcpy(want, x, sizeof x), memcpy(got, x, sizeof x);                            \
        {                                                                               \
            const struct kernels *k = scalar;                                           \
            float *out = want;                                                          \
            k->call;                                                                    \
        }                                                                               \
        {                                                                               \
            const struct kernels *k = tested;                                           \
            float *out = got;                                                           \
            k->call;                                                                    \
        }                                                                               \
        double d = distance(got + 1, want + 1, n);                                      \
        CHECK(d <= (bound), #call " %zu: %g", n, d);                                    \
        CHECK(got[n + 1] == x[n + 1] && got[0] == x[0], #call " %zu: past the end", n); \
    } while (0)
        SAME(0, add(out + 1, y + 1, n));
        SAME(2e-6, rmsnorm(out + 1, g + 1, 1e-5f, n, out + 1));
        SAME(2e-6, rmsnorm(x + 1, NULL, 1e-5f, n, out + 1));
        SAME(3e-6, layernorm(out + 1, y + 1, g + 1, b + 1, 1e-5f, n, out + 1));
        SAME(3e-6, layernorm(x + 1, NULL, g + 1, b + 1, 1e-5f, n, out + 1));
        SAME(1e-6, gelu(out + 1, n));
        SAME(1e-6, silu_mul(x + 1, y + 1, n, out + 1));
        SAME(1e-6, rope(out + 1, g + 1, b + 1, n & ~(size_t)1, false));
        SAME(1e-6, rope(out + 1, g + 1, b + 1, n & ~(size_t)1, true));
    }
}

static void check_scans(void)
{
    for (size_t d = 1; d < 400; d += 1 + below(40)) {
        enum { N = 9 };
        int8_t *rows = allocate(N * d + 1), *query = allocate(d + 1);
        int32_t want[N], got[N];
        for (size_t i = 0; i < N * d; i++) {
            rows[1 + i] = below(9) ? (int8_t)rng_u64(&rng) : -128;
        }
        for (size_t i = 0; i < d; i++) {
            query[1 + i] = below(9) ? (int8_t)rng_u64(&rng) : -128;
        }
        scalar->scan_i8(query + 1, rows + 1, N, d, want);
        tested->scan_i8(query + 1, rows + 1, N, d, got);
        CHECK(memcmp(want, got, sizeof want) == 0, "scan_i8 %zu", d);
        CHECK(tested->dot_i8(query + 1, rows + 1, d) == want[0], "dot_i8 %zu", d);
        free(rows);
        free(query);
    }
}

/* A tile that sees parts of two chunks of random keys and values: bitwise. */
static void check_attention_of(enum tensor_type type, int64_t dim, int round)
{
    enum { SECTIONS = 2 * ATTN_CHUNK / KV_BLOCK };
    size_t d = (size_t)dim, bytes = kv_section_bytes(type, d);
    uint8_t *pool = allocate(SECTIONS * bytes), *other = allocate(SECTIONS * bytes);
    float *kv = allocate(2 * d * 4 + 4), *acc = allocate(2 * ATTN_QUERIES * d * 4);
    struct attn_tile t = {.type = type, .n = 1 + (int)below(ATTN_QUERIES), .head_dim = dim};
    t.n = round % 3 == 0 ? 1 + round / 3 % 9 : t.n;
    t.softcap = round % 4 ? 0 : 5;
    t.q = allocate(ATTN_QUERIES * d * 2);
    t.q32 = allocate(ATTN_QUERIES * d * 4);
    memset(t.q, 0, ATTN_QUERIES * d * 2);
    memset(pool, 0xff, SECTIONS * bytes); /* scales that are no numbers, never to be used */
    memset(other, 0xff, SECTIONS * bytes);
    int32_t depth = 1 + (int32_t)below(2 * ATTN_CHUNK);
    for (int32_t pos = 0; pos < depth; pos++) {
        fill_normal(kv + 1, 2 * d);
        if (below(20) == 0) {
            memset(kv + 1, 0, d * 4);
        }
        for (size_t i = 0; i < d; i++) { /* steep, so that peaks move */
            kv[1 + i] *= below(40) ? 1 : 9;
        }
        size_t at = (size_t)(pos / KV_BLOCK) * bytes, slot = (size_t)(pos % KV_BLOCK);
        scalar->kv_put(type, pool + at, slot, d, kv + 1, kv + 1 + d);
        tested->kv_put(type, other + at, slot, d, kv + 1, kv + 1 + d);
    }
    CHECK(memcmp(pool, other, SECTIONS * bytes) == 0, "kv_put %s %zu", type_info(type)->name, d);
    struct attn_tile u = t;
    u.q = allocate(ATTN_QUERIES * d * 2);
    u.q32 = allocate(ATTN_QUERIES * d * 4);
    memset(u.q, 0, ATTN_QUERIES * d * 2);
    t.full_hi = INT32_MAX;
    for (int i = 0; i < t.n; i++) {
        fill_normal(kv + 1, d);
        scalar->attn_query(&t, i, kv + 1, 0.3f);
        tested->attn_query(&u, i, kv + 1, 0.3f);
        t.hi[i] = 1 + (int32_t)below((size_t)depth);
        t.lo[i] = round % 2 ? 0 : (int32_t)below((size_t)t.hi[i]);
        t.hi[i] = round % 5 ? depth : t.hi[i];
        t.full_lo = t.lo[i] > t.full_lo ? t.lo[i] : t.full_lo;
        t.full_hi = t.hi[i] < t.full_hi ? t.hi[i] : t.full_hi;
    }
    CHECK(memcmp(t.q_scale, u.q_scale, sizeof t.q_scale) == 0, "attn_query %zu", d);
    CHECK(type == TYPE_F32 || memcmp(t.q, u.q, ATTN_QUERIES * d * 2) == 0, "attn_query %zu", d);
    memset(acc, 0, 2 * ATTN_QUERIES * d * 4);
    for (int i = 0; i < ATTN_QUERIES; i++) {
        t.peak[i] = -INFINITY;
        t.total[i] = 0;
    }
    int16_t *q = u.q;
    float *q32 = u.q32;
    u = t;
    u.q = q;
    u.q32 = q32;
    t.acc = acc;
    u.acc = acc + ATTN_QUERIES * d;
    for (int32_t pos = 0; pos < depth; pos += ATTN_CHUNK) {
        const uint8_t *sections[SECTIONS];
        int n = 0;
        for (int32_t p = pos; p < depth && n < SECTIONS / 2; p += KV_BLOCK, n++) {
            sections[n] = pool + (size_t)(p / KV_BLOCK) * bytes;
        }
        scalar->attn_chunk(&t, sections, n, pos);
        tested->attn_chunk(&u, sections, n, pos);
    }
    size_t n = (size_t)t.n * 4;
    CHECK(memcmp(t.peak, u.peak, n) == 0, "peaks, %s %zu x %d", type_info(type)->name, d, t.n);
    CHECK(memcmp(t.total, u.total, n) == 0, "totals, %s %zu x %d", type_info(type)->name, d, t.n);
    CHECK(memcmp(t.acc, u.acc, n * d) == 0, "values, %s %zu x %d: %g", type_info(type)->name, d,
          t.n, distance(u.acc, t.acc, n / 4 * d));
    free(pool);
    free(other);
    free(kv);
    free(acc);
    free(t.q);
    free(t.q32);
    free(q);
    free(q32);
}

static void check_attention(enum tensor_type type)
{
    static const int64_t dims[] = {32, 64, 80, 96, 128, 256, 16};
    for (int round = 0; round < 42; round++) {
        int64_t dim = dims[round % 7];
        check_attention_of(type, type == TYPE_Q8_0 && dim % GROUP ? 64 : dim, round);
    }
}

/* What the ceilings are measured with does the work that it says. */
static void check_probes(void)
{
    uint8_t *p = allocate(4096 + 64);
    int8_t ones[64];
    memset(ones, 1, sizeof ones);
    for (size_t i = 0; i < 4096 + 64; i++) {
        p[i] = (uint8_t)rng_u64(&rng);
    }
    for (size_t n = 0; n <= 4096; n += 64) {
        uint32_t want = scalar->read_words(p + n % 61, n), got = tested->read_words(p + n % 61, n);
        CHECK(want == got, "read_words %zu: %u for %u", n, got, want);
    }
    for (size_t rounds = 0; rounds < 200; rounds += 1 + below(20)) {
        uint32_t sum = 1;
        uint64_t ops = tested->int_products(rounds, ones, &sum);
        CHECK(ops / 2 == sum && ops >= 2 * 64 * rounds, "int_products %zu: %llu operations, sum %u",
              rounds, (unsigned long long)ops, sum);
    }
    free(p);
}

static void check_put(void)
{
    for (size_t width = 1; width <= 32; width++) {
        for (unsigned how = 0; how < 4; how++) {
            _Alignas(64) float tile[PANEL_TOKENS * 32], unit[32], want[PANEL_TOKENS * 40],
                got[PANEL_TOKENS * 40];
            fill_normal(tile, PANEL_TOKENS * 32);
            fill_normal(unit, 32);
            fill_normal(want, PANEL_TOKENS * 40);
            memcpy(got, want, sizeof want);
            int n = 1 + (int)below(how & PUT_PAIRS ? PANEL_TOKENS / 2 : PANEL_TOKENS);
            scalar->put(tile, n, how, unit, width, want, 40);
            tested->put(tile, n, how, unit, width, got, 40);
            CHECK(memcmp(want, got, sizeof want) == 0, "put %zu rows of %d, %u", width, n, how);
        }
    }
}

static void check_all(void)
{
    rng_init(&rng, 7);
    check_probes();
    check_put();
    check_rows();
    check_scans();
    check_attention(TYPE_F32);
    check_attention(TYPE_F16);
    check_attention(TYPE_Q8_0);
    check_quant();
    for (int f = 0; f < N_FORMS; f++) {
        check_products(&forms[f]);
        check_extremes(&forms[f]);
    }
}

/* Timing: best of several, one thread. */
static double best_seconds(void (*fn)(void *), void *ctx, int calls)
{
    double best = 1e9;
    for (int i = 0; i < 9; i++) {
        int64_t start = clock_ns();
        for (int j = 0; j < calls; j++) {
            fn(ctx);
        }
        double s = (double)(clock_ns() - start) * 1e-9 / calls;
        best = s < best ? s : best;
    }
    return best;
}

struct timing {
    const struct mat_form *form;
    struct strip w[2], ready[2];
    struct act_panel x;
    float *out;
    bool few;
};

static void run_product(void *ctx)
{
    struct timing *t = ctx;
    if (t->form->bits == 16) {
        tested->mul16(t->w, 2, &t->x, false, t->out);
    } else if (t->few) {
        for (int i = 0; i < 2; i++) {
            tested->mul_few(&t->w[i], t->form, &t->x, t->out);
        }
    } else {
        tested->mul8(t->ready, 2, t->form, &t->x, false, t->out);
    }
}

static struct strip ready_strip(const struct mat_form *form, const struct strip *w, size_t groups)
{
    uint8_t *values = allocate(2 * groups * GROUP * STRIP_ROWS);
    float *factors = allocate(groups * 4 * STRIP_ROWS * sizeof *factors);
    tested->unpack(w, form, groups, values, factors);
    if (stays(tested, form)) {
        memcpy(values, w->values, groups * GROUP * STRIP_ROWS);
    }
    return (struct strip){.values = values, .factors = (const uint8_t *)factors};
}

static void free_strip(struct strip *w, bool factors)
{
    free((void *)(uintptr_t)w->values);
    if (factors) {
        free((void *)(uintptr_t)w->factors);
    }
}

static void time_form(const struct mat_form *form, size_t cols)
{
    static const int tokens[] = {1, 2, 4, 8};
    printf("  %2d bits, halves %d%s%s%s:", form->bits, form->halves, form->has_min ? ", min" : "",
           form->table ? ", table" : "", form->super ? ", super" : "");
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        int nt = tokens[i];
        float *x = allocate(cols * (size_t)nt * 4);
        fill_normal(x, cols * (size_t)nt);
        struct timing t = {.form = form, .out = allocate(PANEL_TOKENS * 32 * 4)};
        t.few = nt < PANEL_TOKENS;
        t.x = random_panel(tested, form->bits, cols, nt, x);
        for (int s = 0; s < 2; s++) {
            t.w[s] = random_strip(form, t.x.groups);
            if (few_bits(form)) {
                t.ready[s] = ready_strip(form, &t.w[s], t.x.groups);
            }
        }
        double seconds = best_seconds(run_product, &t, tested == scalar ? 1 : 100);
        printf(" %7.1f", 2 * 32 * (double)cols * nt / seconds * 1e-9);
        for (int s = 0; s < 2; s++) {
            free_strip(&t.w[s], false);
            free_strip(&t.ready[s], true);
        }
        free(x);
        free(t.out);
        free(t.x.bytes);
    }
    printf("\n");
}

static void time_products(void)
{
    size_t cols = 2048;
    printf("%s, %zu columns from the cache, one thread: GOPS for 1, 2, 4, 8 tokens\n", tested->name,
           cols);
    for (int f = 0; f < N_FORMS; f++) {
        time_form(&forms[f], cols);
    }
}

/* Whole operations on every core, beside what the machine gives at the same moment. */
struct op_timing {
    struct mat m;
    struct act a;
    float *x, *y;
    int64_t n;
    const uint64_t *words; /* plain reading */
    size_t n_words;
    uint64_t sums[TEAM_MAX_THREADS];
};

static void time_op(const struct worker *w, void *ctx)
{
    struct op_timing *t = ctx;
    op_act(w, &t->a, t->x, t->n, t->m.cols, &t->m);
    op_mul(w, &t->m, &t->a, t->y, t->m.rows);
}

static void time_read(const struct worker *w, void *ctx)
{
    struct op_timing *t = ctx;
    size_t first, last;
    uint64_t sum[8] = {0};
    team_share(w, t->n_words, 512, &first, &last);
    for (size_t i = first; i + 8 <= last; i += 8) {
        __builtin_prefetch(t->words + i + 256);
        for (size_t j = 0; j < 8; j++) {
            sum[j] += t->words[i + j];
        }
    }
    t->sums[w->index] = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static double best_run(struct team *team, void (*fn)(const struct worker *, void *), void *ctx)
{
    double best = 1e9;
    for (int i = 0; i < 7; i++) {
        int64_t start = clock_ns();
        team_run(team, fn, ctx);
        double s = (double)(clock_ns() - start) * 1e-9;
        best = s < best ? s : best;
    }
    return best;
}

static void time_type(struct team *team, enum tensor_type type, int64_t rows, int64_t cols)
{
    static const int64_t tokens[] = {1, 2, 4, 8, 16, 32, 504};
    struct tensor t = {.type = type, .n_dims = 2, .ne = {cols, rows, 1, 1}};
    size_t bytes = tensor_bytes(&t);
    uint8_t *data = allocate(bytes);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(i * 2654435761u >> 16 & 0x3f); /* no infinities as f16 */
    }
    t.data = data;
    const struct tensor *one = &t;
    struct op_timing o = {.n = 504};
    if (mat_init(&o.m, &one, 1, MUL_DEFAULT, team, NULL) || act_init(&o.a, team, 504, cols, NULL)) {
        abort();
    }
    o.x = allocate((size_t)(504 * cols) * 4);
    fill_normal(o.x, (size_t)(504 * cols));
    o.y = allocate((size_t)(504 * rows) * 4);
    o.words = o.m.packed;
    o.n_words = o.m.packed_bytes / 8;
    double packed = (double)o.m.packed_bytes * 1e-9;
    printf("%-6s %lld x %lld, %.0f MB: read %5.1f GB/s;", type_info(type)->name, (long long)rows,
           (long long)cols, packed * 1e3, packed / best_run(team, time_read, &o));
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        o.n = tokens[i];
        double seconds = best_run(team, time_op, &o);
        if (o.n == 1) {
            printf(" 1 token %5.1f GB/s; GOPS", packed / seconds);
        } else {
            printf(" %lld: %.0f", (long long)o.n, 2 * (double)(rows * cols * o.n) / seconds * 1e-9);
        }
    }
    printf("\n");
    mat_fini(&o.m);
    act_fini(&o.a);
    free(o.x);
    free(o.y);
    free(data);
}

static void time_ops(int threads, int64_t rows)
{
    static const enum tensor_type kinds[] = {TYPE_Q4_0, TYPE_Q4_1, TYPE_Q4_K, TYPE_IQ4_XS,
                                             TYPE_Q8_0, TYPE_Q5_K, TYPE_Q6_K, TYPE_F16};
    struct team *team = NULL;
    if (team_open(threads, ops_scratch_bytes(2048), &team, NULL)) {
        abort();
    }
    printf("%s, %d threads\n", ops_isa(), team_size(team));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        time_type(team, kinds[i], rows, 2048);
    }
    team_close(team);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--time-ops") == 0) {
        rng_init(&rng, 7);
        time_ops(argc > 2 ? atoi(argv[2]) : 0, argc > 3 ? atoi(argv[3]) : 8192);
        return 0;
    }
    bool timing = argc > 1 && strcmp(argv[1], "--time") == 0;
    scalar = kernels_level(0);
    for (int i = 0; (tested = kernels_level(i)) != NULL; i++) {
        if (timing) {
            time_products();
        } else {
            check_all();
            printf("%s: checked\n", tested->name);
        }
    }
    return failures != 0;
}

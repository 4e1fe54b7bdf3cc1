/* Every kernel of every instruction set of this machine against the scalar definition, on random
 * sizes, tails and misalignment. `test_kernels --time` times them instead.
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
        for (size_t i = values; i < bytes; i += 2) {
            uint16_t h = f32_to_f16(normal());
            memcpy(p + i, &h, 2);
        }
    }
    return (struct strip){p, p + values};
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
        CHECK(memcmp(a.q, b.q, bytes) == 0, "quant%d cols %zu tokens %d", bits, cols, nt);
        free(a.q);
        free(b.q);
        free(x);
    }
}

static const struct mat_form forms[] = {
    {4, 1, false, false}, {4, 1, true, false},   {4, 2, false, false}, {4, 2, true, false},
    {4, 1, false, true},  {8, 1, false, false},  {8, 1, true, false},  {8, 2, false, false},
    {8, 2, true, false},  {16, 1, false, false},
};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

/* Bitwise: the arithmetic is defined to the last bit. */
static void check_products(const struct mat_form *form)
{
    for (int nt = 1; nt <= PANEL_TOKENS; nt++) {
        size_t cols = GROUP * (1 + below(40));
        float *x = allocate(cols * (size_t)nt * 4);
        fill_normal(x, cols * (size_t)nt);
        struct act_panel p = random_panel(scalar, form->bits, cols, nt, x);
        struct strip w[2] = {random_strip(form, p.groups), random_strip(form, p.groups)};
        _Alignas(64) float want[PANEL_TOKENS * 32] = {0}, got[PANEL_TOKENS * 32] = {0};
        for (int strips = 1; strips <= 2; strips++) {
            if (form->bits == 16) {
                scalar->mul16(w, strips, &p, want);
                tested->mul16(w, strips, &p, got);
            } else if (form->bits == 8) {
                scalar->mul8(w, strips, form, &p, want);
                tested->mul8(w, strips, form, &p, got);
            } else {
                int t0 = (int)below((size_t)nt), n = 1 + (int)below((size_t)(nt - t0));
                n = n < MUL4_MAX_TOKENS ? n : MUL4_MAX_TOKENS;
                scalar->mul4(w, form, &p, t0, n, want);
                tested->mul4(w, form, &p, t0, n, got);
            }
            CHECK(memcmp(want, got, sizeof want) == 0,
                  "product of %d bits, halves %d, min %d, table %d, %zu columns, %d tokens",
                  form->bits, form->halves, form->has_min, form->table, cols, nt);
        }
        if (form->bits == 4) {
            size_t bytes = 2 * strip_value_bytes(form, p.groups);
            uint8_t *a = allocate(bytes), *b = allocate(bytes);
            scalar->unpack4(w[0].values, p.groups, form->table, a);
            tested->unpack4(w[0].values, p.groups, form->table, b);
            CHECK(memcmp(a, b, bytes) == 0, "unpack4, table %d", form->table);
            /* unpacked and direct products agree */
            struct strip u = {a, w[0].factors};
            scalar->mul4(w, form, &p, 0, 1, want);
            tested->mul8(&u, 1, form, &p, got);
            CHECK(memcmp(want, got, STRIP_ROWS * 4) == 0, "unpacked product");
            free(a);
            free(b);
        }
        free((void *)(uintptr_t)w[0].values);
        free((void *)(uintptr_t)w[1].values);
        free(p.q);
        free(x);
    }
}

static void check_all(void)
{
    rng_init(&rng, 7);
    check_quant();
    for (int f = 0; f < N_FORMS; f++) {
        check_products(&forms[f]);
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
    struct strip w[2];
    struct act_panel x;
    float *out;
    int n;
};

static void run_product(void *ctx)
{
    struct timing *t = ctx;
    if (t->form->bits == 16) {
        tested->mul16(t->w, 2, &t->x, t->out);
    } else if (t->form->bits == 8) {
        tested->mul8(t->w, 2, t->form, &t->x, t->out);
    } else {
        tested->mul4(t->w, t->form, &t->x, 0, t->x.nt < 4 ? t->x.nt : 4, t->out);
    }
}

static void time_products(void)
{
    static const int tokens[] = {1, 2, 4, 8, 12};
    size_t cols = 2048;
    printf("%s, %zu columns from the cache, one thread: GOPS for 1, 2, 4, 8, 12 tokens\n",
           tested->name, cols);
    for (int f = 0; f < N_FORMS; f++) {
        printf("  %2d bits, halves %d%s%s:", forms[f].bits, forms[f].halves,
               forms[f].has_min ? ", min" : "", forms[f].table ? ", table" : "");
        for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
            int nt = tokens[i];
            if (forms[f].bits == 4 && nt > MUL4_MAX_TOKENS) {
                continue;
            }
            float *x = allocate(cols * (size_t)nt * 4);
            fill_normal(x, cols * (size_t)nt);
            struct timing t = {.form = &forms[f], .out = allocate(PANEL_TOKENS * 32 * 4)};
            t.x = random_panel(tested, forms[f].bits, cols, nt, x);
            t.w[0] = random_strip(&forms[f], t.x.groups);
            t.w[1] = random_strip(&forms[f], t.x.groups);
            double rows = forms[f].bits == 4 ? 16 : 32;
            double seconds = best_seconds(run_product, &t, tested == scalar ? 1 : 100);
            printf(" %7.1f", 2 * rows * (double)cols * nt / seconds * 1e-9);
            free(x);
            free(t.out);
            free(t.x.q);
            free((void *)(uintptr_t)t.w[0].values);
            free((void *)(uintptr_t)t.w[1].values);
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
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

/* Operations against naive versions in double: products of every type, attention over paged blocks,
 * norms, rotary embedding. Results must not depend on the number of threads or on the batch. */
#include "common/normals.h"
#include "common/test.h"

#include "base/sys.h"
#include "tensor/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rng rng;

static struct team *team_of(int n)
{
    struct team *t = NULL;
    struct err e = {0};
    assert_ok_err(team_open(n, ops_scratch_bytes(1024), &t, &e), &e);
    return t;
}

/* Bytes of a type that look like weights: quantised normals where hearth can write the type, else
 * random blocks with sane f16 factors. */
static uint8_t *random_weights(enum tensor_type type, size_t n)
{
    const struct type_info *info = type_info(type);
    size_t bytes = n / info->block_elems * info->block_bytes;
    uint8_t *p = mem_aligned(bytes, 1);
    if (info->from_float) {
        float *x = test_normals(&rng, n);
        info->from_float(x, p, n);
        free(x);
        return p;
    }
    for (size_t i = 0; i < bytes; i++) {
        p[i] = (uint8_t)rng_u64(&rng);
    }
    static const struct {
        enum tensor_type type;
        size_t at[2];
    } halves[] = {{TYPE_Q5_0, {0, 0}},     {TYPE_Q5_1, {0, 2}},   {TYPE_Q2_K, {80, 82}},
                  {TYPE_Q3_K, {108, 108}}, {TYPE_Q4_K, {0, 2}},   {TYPE_Q5_K, {0, 2}},
                  {TYPE_Q6_K, {208, 208}}, {TYPE_IQ4_NL, {0, 0}}, {TYPE_IQ4_XS, {0, 0}}};
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        for (size_t b = 0; halves[i].type == type && b < bytes; b += info->block_bytes) {
            for (int k = 0; k < 2; k++) {
                uint16_t h = f32_to_f16((0.5f + (float)rng_unit(&rng)) * 0.01f);
                memcpy(p + b + halves[i].at[k], &h, 2);
            }
        }
    }
    return p;
}

struct product {
    const struct mat *m;
    struct act *a;
    const float *x;
    int64_t n;
    float *y;
};

static void run_product(const struct worker *w, void *ctx)
{
    struct product *p = ctx;
    op_act(w, p->a, p->x, p->n, p->m->cols, p->m);
    op_mul(w, p->m, p->a, p->y, p->m->rows);
}

static const enum tensor_type all_types[] = {
    TYPE_F32,  TYPE_F16,  TYPE_BF16, TYPE_Q4_0, TYPE_Q4_1, TYPE_Q5_0,   TYPE_Q5_1,  TYPE_Q8_0,
    TYPE_Q2_K, TYPE_Q3_K, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K, TYPE_IQ4_NL, TYPE_IQ4_XS};

/* Root-mean-square error of y against the exact product, relative to its size. */
static double product_error(const struct tensor *const *t, int n_tensors, const float *x, int64_t n,
                            const float *y)
{
    double error = 0, size = 0;
    int64_t rows = 0, cols = t[0]->ne[0], base = 0;
    for (int k = 0; k < n_tensors; k++) {
        rows += t[k]->ne[1];
    }
    float *row = mem_aligned((size_t)cols, sizeof *row);
    for (int k = 0; k < n_tensors; base += t[k++]->ne[1]) {
        for (int64_t r = 0; r < t[k]->ne[1]; r++) {
            type_info(t[k]->type)
                ->to_float((const uint8_t *)t[k]->data + (size_t)r * tensor_row_bytes(t[k]), row,
                           (size_t)cols);
            for (int64_t i = 0; i < n; i++) {
                double sum = 0;
                for (int64_t c = 0; c < cols; c++) {
                    sum += (double)row[c] * (double)x[i * cols + c];
                }
                double d = sum - (double)y[i * rows + base + r];
                error += d * d;
                size += sum * sum;
            }
        }
    }
    free(row);
    return sqrt(error / size);
}

static void check_type(enum tensor_type type, enum mul_mode mode, double bound)
{
    enum { N = 29 };
    int64_t cols = type == TYPE_F16 ? 500 : 768;
    struct tensor a = {.type = type, .n_dims = 2, .ne = {cols, 70, 1, 1}}, b = a;
    b.ne[1] = 33;
    a.data = random_weights(type, (size_t)(cols * 70));
    b.data = random_weights(type, (size_t)(cols * 33));
    const struct tensor *tensors[] = {&a, &b};
    float *x = test_normals(&rng, (size_t)(N * cols)), *y = test_normals(&rng, N * 103),
          *z = test_normals(&rng, N * 103);
    struct err e = {0};
    for (int threads = 1; threads <= 3; threads++) {
        struct team *team = team_of(threads);
        struct mat m;
        struct act act;
        assert_ok_err(act_init(&act, team, 64, 1024, &e), &e);
        assert_ok_err(mat_init(&m, tensors, 2, mode, team, &e), &e);
        assert_int_equal(m.rows, 103);
        struct product p = {&m, &act, x, N, threads == 1 ? y : z};
        team_run(team, run_product, &p);
        if (threads == 1) {
            double error = product_error(tensors, 2, x, N, y);
            if (!(error <= bound)) {
                fail_msg("%s, mode %d: error %g", type_info(type)->name, (int)mode, error);
            }
        } else {
            assert_memory_equal(y, z, N * 103 * 4);
        }
        static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 19, 24, 25};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) { /* in smaller batches */
            int n = sizes[i];
            p = (struct product){&m, &act, x + 3 * cols, n, z};
            team_run(team, run_product, &p);
            assert_memory_equal(y + 3 * 103, z, (size_t)n * 103 * 4);
        }
        mat_fini(&m);
        act_fini(&act);
        team_close(team);
    }
    free((void *)(uintptr_t)a.data);
    free((void *)(uintptr_t)b.data);
    free(x);
    free(y);
    free(z);
}

static void products_of_every_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all_types / sizeof all_types[0]; i++) {
        const struct type_info *info = type_info(all_types[i]);
        check_type(all_types[i], MUL_EXACT, 2e-6);
        check_type(all_types[i], MUL_DEFAULT, info->block_elems == 1 ? 6e-4 : 9e-3);
        check_type(all_types[i], MUL_FINE, info->block_elems == 1 ? 6e-4 : 3e-4);
    }
}

/* A gated feed-forward layer with its residual, fused and in single steps: the same bits. */
enum { FF_IN = 256, FF = 96, FF_OUT = 70 };
struct gated {
    struct mat up, down;
    struct act a, b;
    const float *x, *gain;
    int64_t n;
    float *h, *tmp, *y, *out;
    bool fused;
};

static void run_gated(const struct worker *w, void *ctx)
{
    struct gated *g = ctx;
    size_t first, last;
    if (g->fused) {
        op_norm_act(w, &g->a, g->x, g->gain, 1e-5f, g->n, FF_IN, &g->up, g->h);
        op_mul_silu(w, &g->up, &g->a, g->tmp, g->y, &g->b, &g->down);
        op_mul_add(w, &g->down, &g->b, g->out, FF_OUT);
        return;
    }
    op_rmsnorm(w, g->x, g->gain, 1e-5f, g->n, FF_IN, g->h);
    team_barrier(w);
    op_act(w, &g->a, g->h, g->n, FF_IN, &g->up);
    op_mul(w, &g->up, &g->a, g->tmp, 2 * FF);
    team_barrier(w);
    op_silu_act(w, g->tmp, g->n, FF, g->y, &g->b, &g->down);
    op_mul(w, &g->down, &g->b, g->h, FF_OUT);
    team_barrier(w);
    team_share(w, (size_t)g->n * FF_OUT, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        g->out[i] += g->h[i];
    }
}

static void check_gated(enum tensor_type up, enum tensor_type down, enum mul_mode mode)
{
    enum { N = 29 };
    struct tensor tensors[] = {{.type = up, .n_dims = 2, .ne = {FF_IN, FF, 1, 1}},
                               {.type = up, .n_dims = 2, .ne = {FF_IN, FF, 1, 1}},
                               {.type = down, .n_dims = 2, .ne = {FF, FF_OUT, 1, 1}}};
    const struct tensor *views[] = {&tensors[0], &tensors[1], &tensors[2]};
    float *x = test_normals(&rng, N * FF_IN), *gain = test_normals(&rng, FF_IN),
          *start = test_normals(&rng, N * FF_OUT);
    float *h = test_normals(&rng, N * FF_IN), *tmp = test_normals(&rng, N * FF * 2),
          *y = test_normals(&rng, N * FF);
    float *want = test_normals(&rng, N * FF_OUT), *got = test_normals(&rng, N * FF_OUT);
    struct err e = {0};
    tensors[0].data = random_weights(up, FF * FF_IN);
    tensors[1].data = random_weights(up, FF * FF_IN);
    tensors[2].data = random_weights(down, FF_OUT * FF);
    for (int threads = 1; threads <= 5; threads += 2) {
        struct team *team = team_of(threads);
        struct gated g = {.x = x, .gain = gain, .h = h, .tmp = tmp, .y = y};
        assert_ok_err(mat_init(&g.up, views, 2, mode, team, &e), &e);
        assert_ok_err(mat_init(&g.down, views + 2, 1, mode, team, &e), &e);
        assert_ok_err(act_init(&g.a, team, N, FF_IN, &e), &e);
        assert_ok_err(act_init(&g.b, team, N, FF, &e), &e);
        mat_follow(&g.up, &g.down, false);
        mat_follow(&g.down, &g.up, true);
        for (g.n = 1; g.n <= N; g.n += g.n < 3 ? 1 : 13) {
            size_t bytes = (size_t)g.n * FF_OUT * sizeof(float);
            memcpy(want, start, bytes);
            memcpy(got, start, bytes);
            g.out = want;
            g.fused = false;
            team_run(team, run_gated, &g);
            g.out = got;
            g.fused = true;
            team_run(team, run_gated, &g);
            assert_memory_equal(got, want, bytes);
        }
        mat_fini(&g.up);
        mat_fini(&g.down);
        act_fini(&g.a);
        act_fini(&g.b);
        team_close(team);
    }
    for (int i = 0; i < 3; i++) {
        free((void *)(uintptr_t)tensors[i].data);
    }
    float *all[] = {x, gain, start, h, tmp, y, want, got};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
}

static void fused_layers_give_the_bits_of_single_steps(void **state)
{
    (void)state;
    check_gated(TYPE_F16, TYPE_F16, MUL_DEFAULT);
    check_gated(TYPE_Q4_0, TYPE_BF16, MUL_DEFAULT);
    check_gated(TYPE_Q8_0, TYPE_Q5_1, MUL_FINE);
    check_gated(TYPE_F16, TYPE_Q4_1, MUL_EXACT);
    for (size_t i = 0; i < sizeof all_types / sizeof all_types[0]; i++) {
        check_gated(all_types[i], i % 2 ? TYPE_Q4_1 : TYPE_Q8_0, MUL_DEFAULT);
    }
}

/* Columns far larger than the others: the same bits for any number of rows and threads, and nearer
 * to sums of double than 8 bits for all of a group could be, by four times. */
enum { NORM_ROWS = 27, NORM_COLS = 320, NORM_OUT = 50 };
struct normed {
    struct mat m;
    struct act a;
    const float *x, *gain;
    int64_t n;
    float *h, *y;
};

static void run_normed(const struct worker *w, void *ctx)
{
    struct normed *g = ctx;
    op_norm_act(w, &g->a, g->x, g->gain, 1e-5f, g->n, NORM_COLS, &g->m, g->h);
    op_mul(w, &g->m, &g->a, g->y, NORM_OUT);
}

static void naive_normed(const struct normed *g, const struct tensor *t, double *out)
{
    const struct type_info *info = type_info(t->type);
    float row[NORM_COLS];
    for (size_t r = 0; r < NORM_OUT; r++) {
        info->to_float((const uint8_t *)t->data + r * tensor_row_bytes(t), row, NORM_COLS);
        for (size_t i = 0; i < NORM_ROWS; i++) {
            const float *x = g->x + i * NORM_COLS;
            double squares = 0, sum = 0;
            for (size_t c = 0; c < NORM_COLS; c++) {
                squares += (double)x[c] * (double)x[c];
                sum += (double)x[c] * (double)g->gain[c] * (double)row[c];
            }
            out[i * NORM_OUT + r] = sum / sqrt(squares / NORM_COLS + 1e-5);
        }
    }
}

static void check_normed(enum tensor_type type, size_t n_large)
{
    struct err e = {0};
    struct tensor t = {.type = type, .n_dims = 2, .ne = {NORM_COLS, NORM_OUT, 1, 1}};
    const struct tensor *view = &t;
    float *x = test_normals(&rng, NORM_ROWS * NORM_COLS), *gain = test_normals(&rng, NORM_COLS);
    float *h = test_normals(&rng, NORM_ROWS * NORM_COLS);
    float *y = test_normals(&rng, NORM_ROWS * NORM_OUT);
    double *want = mem_aligned(NORM_ROWS * NORM_OUT, sizeof *want), worst = 0, norm = 0;
    t.data = random_weights(type, NORM_OUT * NORM_COLS);
    for (size_t i = 0; i < NORM_COLS; i++) {
        gain[i] = 0.9f + 0.2f / (1 + gain[i] * gain[i]);
    }
    for (size_t i = 0; i < NORM_ROWS * n_large; i++) { /* some of them in one group */
        size_t c = (i % n_large * n_large * 11 + i / n_large / 9) % NORM_COLS;
        x[i / n_large * NORM_COLS + c] = i % 2 ? -60 : 60;
    }
    struct normed g = {.x = x, .gain = gain, .h = h};
    naive_normed(&g, &t, want);
    float *all = mem_aligned(NORM_ROWS * NORM_OUT, sizeof *all);
    for (int threads = 1; threads <= 3; threads += 2) {
        struct team *team = team_of(threads);
        assert_ok_err(mat_init(&g.m, &view, 1, MUL_DEFAULT, team, &e), &e);
        assert_ok_err(act_init(&g.a, team, NORM_ROWS, NORM_COLS, &e), &e);
        g.m.has_outliers = true;
        for (g.n = NORM_ROWS; g.n; g.n = g.n == 1 ? 0 : g.n / 3) {
            g.y = threads == 1 && g.n == NORM_ROWS ? all : y;
            team_run(team, run_normed, &g);
            assert_memory_equal(g.y, all, (size_t)g.n * NORM_OUT * sizeof *y);
        }
        mat_fini(&g.m);
        act_fini(&g.a);
        team_close(team);
    }
    for (size_t i = 0; i < NORM_ROWS * NORM_OUT; i++) {
        worst = fmax(worst, fabs((double)all[i] - want[i]));
        norm += want[i] * want[i] / (NORM_ROWS * NORM_OUT);
    }
    if (worst > (n_large ? 0.012 : 0.03) * sqrt(norm)) {
        fail_msg("%s, %zu large columns: %g of %g", type_info(type)->name, n_large, worst,
                 sqrt(norm));
    }
    free((void *)(uintptr_t)t.data);
    float *mine[] = {x, gain, h, y, all};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
        free(mine[i]);
    }
    free(want);
}

static void large_columns_are_as_exact_as_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all_types / sizeof all_types[0]; i++) {
        if (type_info(all_types[i])->block_elems <= 32) {
            check_normed(all_types[i], 0);
            check_normed(all_types[i], 1);
            check_normed(all_types[i], 2);
            check_normed(all_types[i], 3);
        }
    }
}

static void bad_shapes_are_refused(void **state)
{
    (void)state;
    struct tensor t = {.type = TYPE_Q4_K, .n_dims = 2, .ne = {128, 4, 1, 1}}, u = t;
    const struct tensor *one[] = {&t, &u};
    struct team *team = team_of(1);
    struct mat m;
    assert_status(mat_init(&m, one, 1, MUL_DEFAULT, team, NULL), ERR_FORMAT);
    t.type = u.type = TYPE_Q8_0;
    u.ne[0] = 64;
    assert_status(mat_init(&m, one, 2, MUL_DEFAULT, team, NULL), ERR_FORMAT);
    t.type = (enum tensor_type)5;
    assert_status(mat_init(&m, one, 1, MUL_DEFAULT, team, NULL), ERR_UNSUPPORTED);
    t.type = TYPE_F32;
    t.ne[2] = 2;
    assert_status(mat_init(&m, one, 1, MUL_DEFAULT, team, NULL), ERR_FORMAT);
    team_close(team);
}

/* Attention: two sequences with scattered blocks, stored in several steps, then one call. */
enum { HEADS = 6, KV_HEADS = 2, DIM = 64, ROWS0 = 45, ROWS1 = 70, ROWS = ROWS0 + ROWS1 };

struct attention {
    struct kv_layer kv;
    struct attn p;
    struct attn_seq seqs[2];
    int n_seqs;
    const float *q, *k, *v;
    float *out;
    bool store;
};

static void run_attention(const struct worker *w, void *ctx)
{
    struct attention *a = ctx;
    if (a->store) {
        op_kv_store(w, &a->kv, a->seqs, a->n_seqs, a->k, a->v, KV_HEADS * DIM);
        team_barrier(w);
    }
    op_attention(w, &a->p, &a->kv, a->seqs, a->n_seqs, a->q, HEADS * DIM, a->out, HEADS * DIM);
}

static void naive_attention(const struct attention *a, int64_t base, int64_t n, float *out)
{
    for (int64_t r = 0; r < n; r++) {
        for (int64_t h = 0; h < HEADS; h++) {
            const float *q = a->q + (base + r) * HEADS * DIM + h * DIM;
            int64_t kv_head = h / (HEADS / KV_HEADS), lo = 0;
            if (a->p.window > 0 && r + 1 > a->p.window) {
                lo = r + 1 - a->p.window;
            }
            double sum = 0, acc[DIM] = {0}, peak = -1e300, score[ROWS];
            for (int64_t s = lo; s <= r; s++) {
                const float *k = a->k + (base + s) * KV_HEADS * DIM + kv_head * DIM;
                score[s] = 0;
                for (int c = 0; c < DIM; c++) {
                    score[s] += (double)q[c] * (double)k[c] * (double)a->p.scale;
                }
                if (a->p.softcap > 0) {
                    score[s] = (double)a->p.softcap * tanh(score[s] / (double)a->p.softcap);
                }
                peak = fmax(peak, score[s]);
            }
            for (int64_t s = lo; s <= r; s++) {
                const float *v = a->v + (base + s) * KV_HEADS * DIM + kv_head * DIM;
                double weight = exp(score[s] - peak);
                sum += weight;
                for (int c = 0; c < DIM; c++) {
                    acc[c] += weight * (double)v[c];
                }
            }
            for (int c = 0; c < DIM; c++) {
                out[(base + r) * HEADS * DIM + h * DIM + c] = (float)(acc[c] / sum);
            }
        }
    }
}

static double difference(const float *a, const float *b, size_t n)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(error / size);
}

static void check_attention(enum tensor_type type, int64_t window, float softcap, double bound)
{
    static const int32_t blocks0[] = {5, 1}, blocks1[] = {0, 4, 2};
    size_t out_bytes = ROWS * HEADS * DIM * sizeof(float);
    float *q = test_normals(&rng, ROWS * HEADS * DIM),
          *k = test_normals(&rng, ROWS * KV_HEADS * DIM);
    float *v = test_normals(&rng, ROWS * KV_HEADS * DIM),
          *want = test_normals(&rng, ROWS * HEADS * DIM);
    float *got = test_normals(&rng, ROWS * HEADS * DIM),
          *again = test_normals(&rng, ROWS * HEADS * DIM);
    struct attention a = {.kv = {.type = type, .n_kv_heads = KV_HEADS, .head_dim = DIM},
                          .p = {HEADS, 0.125f, window, softcap},
                          .seqs = {{blocks0, 0, 0, ROWS0}, {blocks1, 0, ROWS0, ROWS1}},
                          .n_seqs = 2,
                          .q = q,
                          .k = k,
                          .v = v,
                          .out = got,
                          .store = true};
    a.kv.pool = mem_aligned(6, kv_block_bytes(type, KV_HEADS, DIM));
    memset(a.kv.pool, 0xff, 6 * kv_block_bytes(type, KV_HEADS, DIM)); /* NaNs: never to be read */
    naive_attention(&a, 0, ROWS0, want);
    naive_attention(&a, ROWS0, ROWS1, want);
    struct team *two = team_of(2), *three = team_of(3);
    team_run(two, run_attention, &a);
    double error = difference(got, want, ROWS * HEADS * DIM);
    if (!(error < bound)) {
        fail_msg("%s, window %d: error %g", type_info(type)->name, (int)window, error);
    }
    a.out = again;
    team_run(three, run_attention, &a);
    assert_memory_equal(got, again, out_bytes);
    a.store = false; /* row by row, as in decoding: the same bits */
    for (int r = 0; r < ROWS1; r += 7) {
        a.seqs[0] = (struct attn_seq){blocks1, r, ROWS0 + r, 1};
        a.n_seqs = 1;
        float *row = again + (ROWS0 + r) * HEADS * DIM;
        memset(row, 0, HEADS * DIM * 4);
        team_run(r % 2 ? two : three, run_attention, &a);
        assert_memory_equal(row, got + (ROWS0 + r) * HEADS * DIM, HEADS * DIM * 4);
    }
    team_close(two);
    team_close(three);
    free(a.kv.pool);
    free(q);
    free(k);
    free(v);
    free(want);
    free(got);
    free(again);
}

static void attention_over_blocks(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        check_attention(TYPE_F16, 0, 0, 5e-4);
        check_attention(TYPE_F16, 19, 0, 5e-4);
        check_attention(TYPE_F16, 0, 3, 5e-4);
        check_attention(TYPE_Q8_0, 0, 0, 1.2e-2);
        check_attention(TYPE_Q8_0, 40, 0, 1.2e-2);
    }
    assert_int_equal(kv_block_bytes(TYPE_F16, 2, 64), 2 * 2 * 32 * (2 * 64 + 4));
    assert_int_equal(kv_block_bytes(TYPE_F32, 2, 64), 4 * 2 * 2 * 32 * 64);
    assert_int_equal(kv_block_bytes(TYPE_BF16, 2, 64), 0);
    assert_int_equal(kv_block_bytes(TYPE_Q8_0, 2, 48), 0);
    assert_int_equal(kv_block_bytes(TYPE_F16, 2, 512), 0);
}

struct full {
    enum tensor_type type;
    const float *qkv;
    const int64_t *starts;
    float *out;
    int64_t most;
};
enum { FULL_HEADS = 3, FULL_DIM = 32, FULL_WIDTH = FULL_HEADS * FULL_DIM };

static void run_full(const struct worker *w, void *ctx)
{
    struct full *f = ctx;
    op_attention_full(w, f->type, f->qkv, f->qkv + FULL_WIDTH, f->qkv + 2 * FULL_WIDTH,
                      3 * FULL_WIDTH, f->starts, 3, f->most, FULL_HEADS, FULL_DIM, 0.2f, f->out,
                      FULL_WIDTH);
}

static void attention_over_packed_rows(void **state)
{
    (void)state;
    static const int64_t starts[] = {0, 1, 50, 133};
    float *qkv = test_normals(&rng, 133 * 3 * FULL_WIDTH),
          *want = test_normals(&rng, 133 * FULL_WIDTH);
    float *got = test_normals(&rng, 133 * FULL_WIDTH),
          *small = test_normals(&rng, 133 * FULL_WIDTH);
    for (int s = 0; s < 3; s++) {
        for (int64_t i = starts[s]; i < starts[s + 1]; i++) {
            for (int h = 0; h < FULL_HEADS; h++) {
                double sum = 0, acc[FULL_DIM] = {0};
                for (int64_t j = starts[s]; j < starts[s + 1]; j++) {
                    double score = 0;
                    const float *q = qkv + i * 3 * FULL_WIDTH + h * FULL_DIM;
                    const float *k = qkv + j * 3 * FULL_WIDTH + FULL_WIDTH + h * FULL_DIM;
                    for (int c = 0; c < FULL_DIM; c++) {
                        score += (double)q[c] * (double)k[c];
                    }
                    double weight = exp(0.2f * score);
                    sum += weight;
                    for (int c = 0; c < FULL_DIM; c++) {
                        acc[c] += weight * (double)k[FULL_WIDTH + c];
                    }
                }
                for (int c = 0; c < FULL_DIM; c++) {
                    want[i * FULL_WIDTH + h * FULL_DIM + c] = (float)(acc[c] / sum);
                }
            }
        }
    }
    for (int exact = 0; exact < 2; exact++) {
        struct full f = {exact ? TYPE_F32 : TYPE_F16, qkv, starts, got, 133};
        struct team *team = team_of(2), *tight = NULL;
        team_run(team, run_full, &f);
        double error = difference(got, want, 133 * FULL_WIDTH);
        if (!(error < (exact ? 2e-6 : 2e-4))) {
            fail_msg("%s: error %g", type_info(f.type)->name, error);
        }
        assert_ok(team_open(3, 0, &tight, NULL)); /* without scratch: the same bits */
        f.out = small;
        team_run(tight, run_full, &f);
        assert_memory_equal(got, small, 133 * FULL_WIDTH * 4);
        memset(small, 0, 133 * FULL_WIDTH * 4); /* the first rows alone: the same bits */
        f.most = 1 + exact * 8;
        team_run(team, run_full, &f);
        for (int64_t i = 0, s = 0; i < 133; i++) {
            s += i == starts[s + 1];
            const float zero[FULL_WIDTH] = {0};
            const float *row = i - starts[s] < f.most ? got + i * FULL_WIDTH : zero;
            assert_memory_equal(small + i * FULL_WIDTH, row, sizeof zero);
        }
        team_close(team);
        team_close(tight);
    }
    free(qkv);
    free(want);
    free(got);
    free(small);
}

struct elementwise {
    float *x, *y, *gain, *bias, *turns;
    const int32_t *pos;
    const struct rope *rope;
};
enum { E_ROWS = 5, E_DIM = 72 };

static void run_elementwise(const struct worker *w, void *ctx)
{
    struct elementwise *e = ctx;
    op_rmsnorm(w, e->x, e->gain, 1e-5f, E_ROWS, E_DIM, e->y);
    op_layernorm(w, e->x, e->y + E_ROWS * E_DIM, e->gain, e->bias, 1e-5f, E_ROWS, E_DIM,
                 e->y + 2 * E_ROWS * E_DIM);
    op_rope_turns(w, e->rope, e->pos, E_ROWS, e->turns);
    team_barrier(w);
    op_rope(w, e->rope, e->turns, e->y + 3 * E_ROWS * E_DIM, E_DIM, E_ROWS, 3, 24);
    op_gelu(w, e->y + 4 * E_ROWS * E_DIM, E_DIM, E_ROWS, E_DIM);
}

static void rows_are_normalised_rotated_bent(void **state)
{
    (void)state;
    enum { SIZE = E_ROWS * E_DIM };
    static const float inv_freq[] = {1, 0.5f, 0.25f, 0.1f, 0.05f, 0.01f, 0.005f, 0.001f};
    static const int32_t pos[E_ROWS] = {0, 1, 7, 100, 4000};
    for (int neox = 0; neox < 2; neox++) {
        struct rope rope = {inv_freq, 16, 1.25f, neox != 0};
        struct elementwise e = {test_normals(&rng, SIZE),
                                test_normals(&rng, 5 * SIZE),
                                test_normals(&rng, E_DIM),
                                test_normals(&rng, E_DIM),
                                test_normals(&rng, E_ROWS * 16),
                                pos,
                                &rope};
        float *before = test_normals(&rng, 5 * SIZE), *want = test_normals(&rng, SIZE);
        memcpy(before, e.y, 5 * SIZE * 4);
        struct team *team = team_of(2);
        team_run(team, run_elementwise, &e);
        for (int i = 0; i < E_ROWS; i++) {
            const float *x = e.x + i * E_DIM, *r = before + SIZE + i * E_DIM;
            double squares = 0, mean = 0, var = 0;
            for (int c = 0; c < E_DIM; c++) {
                squares += (double)x[c] * (double)x[c];
                mean += ((double)x[c] + (double)r[c]) / E_DIM;
            }
            for (int c = 0; c < E_DIM; c++) {
                var += pow((double)x[c] + (double)r[c] - mean, 2) / E_DIM;
                want[i * E_DIM + c] =
                    (float)((double)x[c] / sqrt(squares / E_DIM + 1e-5) * (double)e.gain[c]);
            }
            assert_true(difference(e.y + i * E_DIM, want + i * E_DIM, E_DIM) < 1e-6);
            for (int c = 0; c < E_DIM; c++) {
                want[c] = (float)(((double)x[c] + (double)r[c] - mean) / sqrt(var + 1e-5) *
                                      (double)e.gain[c] +
                                  (double)e.bias[c]);
            }
            assert_true(difference(e.y + 2 * SIZE + i * E_DIM, want, E_DIM) < 1e-6);
            memcpy(want, before + 3 * SIZE + i * E_DIM, E_DIM * 4);
            for (int p = 0; p < 24; p++) {
                int a = p / 8 * 24 + (neox ? p % 8 : p % 8 * 2), b = a + (neox ? 8 : 1);
                double angle = (double)((float)pos[i] * inv_freq[p % 8]);
                double s = sin(angle) * 1.25, c = cos(angle) * 1.25;
                const float *from = before + 3 * SIZE + i * E_DIM;
                want[a] = (float)((double)from[a] * c - (double)from[b] * s);
                want[b] = (float)((double)from[a] * s + (double)from[b] * c);
            }
            assert_true(difference(e.y + 3 * SIZE + i * E_DIM, want, E_DIM) < 1e-6);
            for (int c = 0; c < E_DIM; c++) {
                double v = (double)before[4 * SIZE + i * E_DIM + c];
                want[c] = (float)(v * 0.5 * erfc(-v / sqrt(2)));
            }
            assert_true(difference(e.y + 4 * SIZE + i * E_DIM, want, E_DIM) < 1e-6);
        }
        team_close(team);
        free(e.x);
        free(e.y);
        free(e.gain);
        free(e.bias);
        free(e.turns);
        free(before);
        free(want);
    }
}

static int seed(void **state)
{
    (void)state;
    rng_init(&rng, 99);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(products_of_every_type, seed),
        cmocka_unit_test_setup(fused_layers_give_the_bits_of_single_steps, seed),
        cmocka_unit_test_setup(large_columns_are_as_exact_as_others, seed),
        cmocka_unit_test_setup(bad_shapes_are_refused, seed),
        cmocka_unit_test_setup(attention_over_blocks, seed),
        cmocka_unit_test_setup(attention_over_packed_rows, seed),
        cmocka_unit_test_setup(rows_are_normalised_rotated_bent, seed),
    };
    printf("kernels: %s\n", ops_isa());
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}

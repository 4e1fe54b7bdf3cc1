/* Products of encoders: every instruction set gives the bits of the definition, the operations give
 * what plain sums in double give within their rounding, and neither the number of workers nor a
 * row's neighbours change a bit. */
#include "common/normals.h"
#include "common/test.h"

#include "base/sys.h"
#include "tensor/encoder.h"
#include "tensor/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rng rng;
static const struct kernels *scalar, *tested;

enum { MAX_COLS = 1600, LD = 40 };

/* A panel of weights and one of tokens, of any content that packing can leave. */
struct tile {
    int bits;
    size_t cols;
    struct enc_panel w;
    struct enc_tokens x;
    uint8_t *weights;
    float *factors;
};

static struct tile random_tile(int bits, size_t cols, int nt)
{
    struct tile t = {.bits = bits, .cols = cols};
    size_t dwords = enc_dwords(bits, cols), blocks = enc_blocks(cols);
    t.weights = mem_aligned(dwords * ENC_ROWS, 4);
    t.factors = test_normals(&rng, blocks * 2 * ENC_ROWS);
    t.x = (struct enc_tokens){mem_aligned(dwords * (size_t)nt, 4),
                              test_normals(&rng, blocks * (size_t)nt),
                              test_normals(&rng, blocks * (size_t)nt), nt};
    for (size_t i = 0; i < dwords * ENC_ROWS * 4; i++) {
        t.weights[i] = (uint8_t)(rng_u64(&rng) % 8 ? rng_u64(&rng) : 127); /* the ends, too */
        t.weights[i] = (int8_t)t.weights[i] == -128 ? 129 : t.weights[i];
    }
    for (size_t i = 0; i < dwords * (size_t)nt * 4; i++) {
        t.x.values[i] = (uint8_t)(rng_u64(&rng) % 4 ? rng_u64(&rng) : 255);
    }
    for (size_t i = 0; bits == 16 && i < dwords * 2; i++) {
        for (size_t r = 0; r < ENC_ROWS; r++) {
            int16_t v = (int16_t)((int)(rng_u64(&rng) % 4095) - 2047);
            memcpy(t.weights + (i / 2 * ENC_ROWS + r) * 4 + i % 2 * 2, &v, 2);
        }
        for (size_t k = 0; k < (size_t)nt; k++) {
            int16_t v = (int16_t)(rng_u64(&rng) % 3 ? (int)(rng_u64(&rng) % 5461) - 2730 : 2730);
            memcpy(t.x.values + (i / 2 * (size_t)nt + k) * 4 + i % 2 * 2, &v, 2);
        }
    }
    t.w = (struct enc_panel){.values = t.weights, .factors = t.factors, .ahead = t.weights};
    return t;
}

static void free_tile(struct tile *t)
{
    free(t->weights);
    free(t->factors);
    free(t->x.values);
    free(t->x.scale);
    free(t->x.shift);
}

static void check_mul(int bits, size_t cols, int nt, size_t width, bool gelu)
{
    struct tile t = random_tile(bits, cols, nt);
    float *bias = test_normals(&rng, ENC_ROWS), want[ENC_TOKENS * LD], got[ENC_TOKENS * LD];
    memset(want, 0, sizeof want);
    memset(got, 0, sizeof got);
    scalar->enc.mul(bits, &t.w, &t.x, cols, bias, gelu, width, want, LD);
    tested->enc.mul(bits, &t.w, &t.x, cols, bias, gelu, width, got, LD);
    assert_memory_equal(want, got, sizeof want);
    free(bias);
    free_tile(&t);
}

static void products_have_the_bits_of_the_definition(void **state)
{
    (void)state;
    static const size_t cols[] = {16, 32, 48, 368, 384, 400, 768, 784, 1536};
    static const size_t widths[] = {32, 31, 17, 16, 15, 1};
    for (int bits = 8; bits <= 16; bits += 8) {
        for (size_t c = 0; c < sizeof cols / sizeof cols[0]; c++) {
            for (int nt = 4; nt <= ENC_TOKENS; nt += 4) {
                for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
                    check_mul(bits, cols[c], nt, widths[w], w % 2);
                }
            }
        }
    }
}

/* The largest sums that there can be do not wrap. */
static void extremes(void **state)
{
    (void)state;
    for (int bits = 8; bits <= 16; bits += 8) {
        struct tile t = random_tile(bits, ENC_BLOCK, ENC_TOKENS);
        float bias[ENC_ROWS] = {0}, y[ENC_TOKENS * LD];
        int16_t w = -2047, x = 2730;
        for (size_t i = 0; i < enc_dwords(bits, ENC_BLOCK) * ENC_ROWS * 2; i++) {
            bits == 8 ? memset(t.weights + 2 * i, -127, 2) : memcpy(t.weights + 2 * i, &w, 2);
        }
        for (size_t i = 0; i < enc_dwords(bits, ENC_BLOCK) * ENC_TOKENS * 2; i++) {
            bits == 8 ? memset(t.x.values + 2 * i, 255, 2) : memcpy(t.x.values + 2 * i, &x, 2);
        }
        for (size_t i = 0; i < 2 * ENC_ROWS; i++) {
            t.factors[i] = i < ENC_ROWS ? 1 : 0;
        }
        for (size_t i = 0; i < ENC_TOKENS; i++) {
            t.x.scale[i] = 1;
        }
        tested->enc.mul(bits, &t.w, &t.x, ENC_BLOCK, bias, false, ENC_ROWS, y, LD);
        double want = bits == 8 ? -384.0 * 127 * 255 : -384.0 * 2047 * 2730;
        for (size_t i = 0; i < ENC_TOKENS; i++) {
            for (size_t r = 0; r < ENC_ROWS; r++) {
                assert_true(y[i * LD + r] == (float)want);
            }
        }
        free_tile(&t);
    }
}

static void check_quant(int bits, float *x, size_t n, int nt, int t)
{
    size_t padded = enc_padded(n), bytes = padded * (size_t)(bits / 8 * nt);
    size_t factors = enc_blocks(n) * (size_t)nt;
    struct enc_tokens p[2];
    for (int i = 0; i < 2; i++) {
        p[i] = (struct enc_tokens){mem_aligned(bytes, 1), mem_aligned(factors, 4),
                                   mem_aligned(factors, 4), nt};
        (i ? tested : scalar)->enc.quant(bits, x, MAX_COLS, n, &p[i], t);
    }
    assert_memory_equal(p[0].values, p[1].values, bytes);
    for (size_t i = 0; i < factors; i++) { /* a NaN's sign and payload are nobody's business */
        bool nan = isnan(p[0].scale[i]);
        assert_true(nan ? isnan(p[1].scale[i]) && isnan(p[1].shift[i])
                        : p[0].scale[i] == p[1].scale[i] && p[0].shift[i] == p[1].shift[i]);
    }
    for (int i = 0; i < 2; i++) {
        free(p[i].values);
        free(p[i].scale);
        free(p[i].shift);
    }
}

static void quantising_has_the_bits_of_the_definition(void **state)
{
    (void)state;
    static const size_t cols[] = {1, 7, 16, 37, 383, 384, 385, 1536, 1599};
    for (size_t c = 0; c < sizeof cols / sizeof cols[0]; c++) {
        for (int kind = 0; kind < 7; kind++) {
            float *x = test_normals(&rng, 4 * MAX_COLS);
            size_t at = rng_u64(&rng) % cols[c];
            for (size_t i = 0; kind == 1 && i < 4 * MAX_COLS; i++) {
                x[i] = i / MAX_COLS == 1 ? 0 : fabsf(x[i]); /* one row of nothing, no negatives */
            }
            x[2 * MAX_COLS + at] = kind == 2   ? NAN
                                   : kind == 3 ? -INFINITY
                                   : kind == 4 ? 3e38f
                                   : kind == 5 ? 1e-38f
                                   : kind == 6 ? 1000
                                               : 1;
            check_quant(8, x, cols[c], 4, 0);
            check_quant(8, x, cols[c], 12, 4);
            check_quant(16, x, cols[c], 8, 4);
            check_quant(16, x, cols[c], 12, 8);
            free(x);
        }
    }
}

/* y = W x + b as the operations give it, on n_workers, with the quantised rows by themselves. */
static void run_mul(const struct worker *w, void *ctx);
struct run {
    struct mat m;
    struct enc_act a;
    const float *x, *bias;
    float *y;
    bool gelu;
};

static void run_mul(const struct worker *w, void *ctx)
{
    const struct run *r = ctx;
    op_enc_quant(w, &r->a, r->x, r->m.cols);
    team_barrier(w);
    op_enc_mul(w, &r->m, &r->a, r->bias, r->gelu, r->y, r->m.rows);
}

static float *product(enum mul_mode mode, int n_workers, const float *weights, int64_t rows,
                      int64_t cols, const float *x, int64_t n, const float *bias, bool gelu)
{
    struct err e = {0};
    struct team *team;
    struct tensor t = {.type = TYPE_F32, .n_dims = 2, .ne = {cols, rows, 1, 1}, .data = weights};
    const struct tensor *list = &t;
    struct run r = {.x = x, .bias = bias, .gelu = gelu};
    assert_ok_err(team_open(n_workers, 0, &team, &e), &e);
    assert_ok_err(mat_init(&r.m, &list, 1, mode, team, &e), &e);
    void *memory = mem_aligned(enc_act_bytes(mode, n, cols), 1);
    r.a = enc_act_view(memory, mode, n, cols);
    r.y = mem_aligned((size_t)(enc_rows(n) * rows), sizeof *r.y);
    team_run(team, run_mul, &r);
    mat_fini(&r.m);
    free(memory);
    team_close(team);
    return r.y;
}

static double gelu_of(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

/* Root of the mean square error over that of the result. */
static double error_of(const float *y, const float *weights, int64_t rows, int64_t cols,
                       const float *x, int64_t n, const float *bias, bool gelu)
{
    double wrong = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t r = 0; r < rows; r++) {
            double sum = (double)bias[r];
            for (int64_t c = 0; c < cols; c++) {
                sum += (double)weights[r * cols + c] * (double)x[i * cols + c];
            }
            sum = gelu ? gelu_of(sum) : sum;
            double d = sum - (double)y[i * rows + r];
            wrong += d * d;
            all += sum * sum;
        }
    }
    return sqrt(wrong / all);
}

static void operations_are_close_and_independent(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{48, 37, 1}, {96, 400, 16}, {33, 768, 29}, {64, 1536, 50}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        int64_t rows = shapes[s][0], cols = shapes[s][1], n = shapes[s][2];
        float *w = test_normals(&rng, (size_t)(rows * cols)),
              *x = test_normals(&rng, (size_t)(enc_rows(n) * cols));
        float *bias = test_normals(&rng, (size_t)rows);
        for (int64_t i = 0; i < rows * cols; i++) {
            w[i] /= sqrtf((float)cols);
        }
        for (int k = 0; k < 4; k++) {
            enum mul_mode mode = k % 2 ? MUL_ENCODER_INT8 : MUL_ENCODER;
            float *one = product(mode, 1, w, rows, cols, x, n, bias, k / 2);
            float *three = product(mode, 3, w, rows, cols, x, n, bias, k / 2);
            float *last = product(mode, 2, w, rows, cols, x + (n - 1) * cols, 1, bias, k / 2);
            assert_true(error_of(one, w, rows, cols, x, n, bias, k / 2) <
                        (mode == MUL_ENCODER ? 1e-3 : 2e-2));
            assert_memory_equal(one, three, (size_t)(n * rows) * sizeof(float));
            assert_memory_equal(one + (n - 1) * rows, last, (size_t)rows * sizeof(float));
            free(one);
            free(three);
            free(last);
        }
        free(w);
        free(x);
        free(bias);
    }
}

/* Blocks of results that are quantised at once are those of the whole rows, on any team. */
struct fused {
    struct mat m;
    struct enc_act a, apart, at_once;
    const float *x, *bias;
    float *y;
};

static void run_fused(const struct worker *w, void *ctx)
{
    const struct fused *f = ctx;
    op_enc_quant(w, &f->a, f->x, f->m.cols);
    team_barrier(w);
    op_enc_mul(w, &f->m, &f->a, f->bias, true, f->y, f->m.rows);
    team_barrier(w);
    op_enc_quant(w, &f->apart, f->y, f->m.rows);
    op_enc_mul_quant(w, &f->m, &f->a, f->bias, true, &f->at_once);
}

static void products_quantise_their_results(void **state)
{
    (void)state;
    static const int64_t rows[] = {40, 384, 400, 1536};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int k = 0; k < 4; k++) {
            enum mul_mode mode = k % 2 ? MUL_ENCODER_INT8 : MUL_ENCODER;
            const int64_t cols = 96, n = k / 2 ? 29 : 3;
            struct err e = {0};
            struct team *team;
            float *w = test_normals(&rng, (size_t)(rows[i] * cols));
            float *x = test_normals(&rng, (size_t)(enc_rows(n) * cols));
            float *bias = test_normals(&rng, (size_t)rows[i]);
            struct tensor t = {
                .type = TYPE_F32, .n_dims = 2, .ne = {cols, rows[i], 1, 1}, .data = w};
            const struct tensor *list = &t;
            struct fused f = {.x = x, .bias = bias};
            size_t bytes = enc_act_bytes(mode, n, rows[i]);
            assert_ok_err(team_open(1 + k, 1 << 20, &team, &e), &e);
            assert_ok_err(mat_init(&f.m, &list, 1, mode, team, &e), &e);
            void *memory[3] = {mem_aligned(enc_act_bytes(mode, n, cols), 1), mem_aligned(bytes, 1),
                               mem_aligned(bytes, 1)};
            f.a = enc_act_view(memory[0], mode, n, cols);
            f.apart = enc_act_view(memory[1], mode, n, rows[i]);
            f.at_once = enc_act_view(memory[2], mode, n, rows[i]);
            f.y = mem_aligned((size_t)(enc_rows(n) * rows[i]), sizeof *f.y);
            memset(memory[1], 7, bytes); /* the gaps between panels are nobody's */
            memset(memory[2], 7, bytes);
            team_run(team, run_fused, &f);
            assert_memory_equal(memory[1], memory[2], bytes);
            mat_fini(&f.m);
            team_close(team);
            for (int j = 0; j < 3; j++) {
                free(memory[j]);
            }
            free(f.y);
            free(w);
            free(x);
            free(bias);
        }
    }
}

static void check_gelu(int bits, double fixed, double relative)
{
    struct tile t = random_tile(bits, 16, 4);
    for (int i = 0; i < 4; i++) {
        t.x.scale[i] = t.x.shift[i] = 0; /* y = bias */
    }
    for (double x = -12; x < 12; x += 32 / 512.0) {
        float bias[ENC_ROWS], y[ENC_TOKENS * LD];
        for (int r = 0; r < ENC_ROWS; r++) {
            bias[r] = (float)(x + r / 512.0);
        }
        tested->enc.mul(bits, &t.w, &t.x, 16, bias, true, ENC_ROWS, y, LD);
        for (int r = 0; r < ENC_ROWS; r++) {
            double v = (double)bias[r];
            assert_true(fabs((double)y[r] - gelu_of(v)) < fixed + relative * fabs(v));
        }
    }
    free_tile(&t);
}

static void gelu_is_close_everywhere(void **state)
{
    (void)state;
    check_gelu(8, 1.4e-3, 2e-4);
    check_gelu(16, 2e-5, 6e-6);
}

/* One head: queries, keys and values side by side, like a layer's product leaves them. */
struct head {
    struct enc_head h;
    float *qkv;
    float *out;
};

static struct head random_head(int bits, size_t n, size_t d, size_t n_queries)
{
    struct head t = {.qkv = test_normals(&rng, n * 3 * d)};
    size_t bytes = enc_head_bytes(16, n, d, NULL, NULL);
    t.out = mem_aligned(n_queries * (d + 3), sizeof(float));
    for (size_t i = 0; i < n * d; i++) { /* columns of keys that lie far off */
        t.qkv[i / d * 3 * d + d + i % d] += (float)(i % d % 5) * 3;
    }
    t.h = (struct enc_head){.bits = bits,
                            .q = t.qkv,
                            .k = t.qkv + d,
                            .v = t.qkv + 2 * d,
                            .ld = 3 * d,
                            .n = n,
                            .d = d,
                            .n_queries = n_queries,
                            .scale = 1 / sqrtf((float)d),
                            .out = t.out,
                            .ldo = d + 3,
                            .memory = mem_aligned(bytes, 1)};
    memset(t.h.memory, 0xff, bytes);
    return t;
}

static void free_head(struct head *t)
{
    free(t->qkv);
    free(t->out);
    free(t->h.memory);
}

/* Root of the mean square difference from plain sums in double, over values of variance 1. */
static double head_error(const struct enc_head *h)
{
    double wrong = 0, *p = mem_aligned(h->n, sizeof *p);
    for (size_t i = 0; i < h->n_queries; i++) {
        double most = -INFINITY, total = 0;
        for (size_t j = 0; j < h->n; j++) {
            p[j] = 0;
            for (size_t c = 0; c < h->d; c++) {
                p[j] += (double)h->q[i * h->ld + c] * (double)h->k[j * h->ld + c];
            }
            p[j] *= (double)h->scale;
            most = p[j] > most ? p[j] : most;
        }
        for (size_t j = 0; j < h->n; j++) {
            p[j] = exp(p[j] - most);
            total += p[j];
        }
        for (size_t c = 0; c < h->d; c++) {
            double sum = 0;
            for (size_t j = 0; j < h->n; j++) {
                sum += p[j] / total * (double)h->v[j * h->ld + c];
            }
            wrong += pow(sum - (double)h->out[i * h->ldo + c], 2);
        }
    }
    free(p);
    return sqrt(wrong / (double)(h->n_queries * h->d));
}

static const size_t lengths[] = {1, 2, 3, 4, 5, 9, 12, 13, 16, 17, 31, 33, 64, 100, 255, 257, 300};
static const size_t widths[] = {16, 32, 48, 64, 128, 256};

static void heads_have_the_bits_of_the_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            size_t n = lengths[i], d = widths[w], asks = (i + w) % 3 ? n : 1 + n / 2;
            for (int bits = 8; bits <= 16; bits += 8) {
                struct head t = random_head(bits, n, d, asks);
                float *want = test_normals(&rng, asks * (d + 3));
                memcpy(t.out, want, asks * (d + 3) * sizeof *want); /* the gaps stay */
                scalar->enc.attend(&t.h);
                memcpy(want, t.out, asks * (d + 3) * sizeof *want);
                for (size_t r = 0; r < asks; r++) {
                    memset(t.out + r * (d + 3), 0, d * sizeof *want);
                }
                tested->enc.attend(&t.h);
                assert_memory_equal(want, t.out, asks * (d + 3) * sizeof *want);
                free(want);
                free_head(&t);
            }
        }
    }
}

static void heads_are_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int bits = 8; bits <= 16; bits += 8) {
            struct head t = random_head(bits, lengths[i], 32, lengths[i]);
            tested->enc.attend(&t.h);
            assert_true(head_error(&t.h) < (bits == 8 ? 0.02 : 2e-3));
            free_head(&t);
        }
    }
}

/* Large scores, scores that are all alike, columns without a range, and what is not a number. */
static void odd_heads(void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        for (int bits = 8; bits <= 16; bits += 8) {
            const size_t n = 37, d = 32;
            struct head t = random_head(bits, n, d, n);
            float want[37 * 35];
            for (size_t i = 0; i < n * d; i++) {
                float *q = &t.qkv[i / d * 3 * d + i % d], *k = q + d, *v = k + d;
                *q *= kind == 0 ? 1e12f : kind == 1 ? 0 : kind == 2 ? 1e-30f : 1;
                *k *= kind == 0 ? 1e12f : 1;
                *k = kind == 3 ? 7 : *k;
                *v = kind == 4 ? -3 : *v;
            }
            t.qkv[5 * 3 * d + (size_t)(kind - 5 > 0 ? kind - 5 : 0) * d + 3] *= kind == 5 ? INFINITY
                                                                                : kind == 6 ? NAN
                                                                                : kind == 7
                                                                                    ? INFINITY
                                                                                    : 1;
            scalar->enc.attend(&t.h);
            memcpy(want, t.out, n * 35 * sizeof *want);
            tested->enc.attend(&t.h);
            for (size_t i = 0; i < n * 35; i++) {
                bool nan = i % 35 < d && (kind > 5 || (kind == 5 && i / 35 == 5));
                assert_int_equal(nan, i % 35 < d && isnan(t.out[i]));
                assert_true(nan ? isnan(want[i]) : want[i] == t.out[i]);
            }
            assert_true(kind != 4 || t.out[17] == -3);
            free_head(&t);
        }
    }
}

static void chances_are_powers(void **state)
{
    (void)state;
    for (int i = 0; i < ENC_CHANCE_STEPS; i++) {
        double power = (double)ENC_CHANCE * pow(2, -i / (double)ENC_CHANCE_STEPS);
        assert_int_equal(enc_chances[i], (int)rint(power));
    }
}

static int seed(void **state)
{
    (void)state;
    rng_init(&rng, 4);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(products_have_the_bits_of_the_definition, seed),
        cmocka_unit_test_setup(extremes, seed),
        cmocka_unit_test_setup(quantising_has_the_bits_of_the_definition, seed),
        cmocka_unit_test_setup(operations_are_close_and_independent, seed),
        cmocka_unit_test_setup(products_quantise_their_results, seed),
        cmocka_unit_test_setup(gelu_is_close_everywhere, seed),
        cmocka_unit_test_setup(heads_have_the_bits_of_the_definition, seed),
        cmocka_unit_test_setup(heads_are_close, seed),
        cmocka_unit_test_setup(odd_heads, seed),
        cmocka_unit_test(chances_are_powers),
    };
    int failed = 0;
    scalar = kernels_level(0);
    for (int i = 0; (tested = kernels_level(i)) != NULL; i++) {
        printf("== %s\n", tested->name);
        failed += cmocka_run_group_tests_name(tested->name, tests, NULL, NULL);
    }
    return failed;
}

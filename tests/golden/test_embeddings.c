/* all-MiniLM-L6-v2 (float32 weights) against sentence-transformers on 50 texts
 * (tests/golden/make_embeddings.py): the whole way from text to normalised row. */
#include "common/test.h"
#include "common/lines.h"

#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TEXTS = 50, DIM = 384, MAX_TEXT = 8192 };

static const char *model_path;

struct golden {
    char *texts[N_TEXTS];
    size_t lens[N_TEXTS];
    int64_t n_tokens[N_TEXTS];
    float *rows; /* [N_TEXTS][DIM] */
};

static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (*s == '\\') {
            s++;
            *to++ = *s == 'n' ? '\n' : *s;
        } else {
            *to++ = *s;
        }
    }
    *to = 0;
}

static void read_golden(struct golden *g)
{
    struct lines in;
    static char text[MAX_TEXT];
    double v[DIM];
    int n = 0;
    g->rows = malloc(sizeof(float) * N_TEXTS * DIM);
    lines_open(&in, "tests/golden/data/minilm.txt");
    for (; lines_word(&in, "text", text, sizeof text); n++) {
        assert_true(n < N_TEXTS);
        unescape(text);
        g->texts[n] = strdup(text);
        g->lens[n] = strlen(text);
        assert_int_equal(lines_numbers(&in, "tokens", v, DIM), 1);
        g->n_tokens[n] = (int64_t)v[0];
        assert_int_equal(lines_numbers(&in, "row", v, DIM), DIM);
        for (int c = 0; c < DIM; c++) {
            g->rows[n * DIM + c] = (float)v[c];
        }
    }
    assert_int_equal(n, N_TEXTS);
    lines_close(&in);
}

static void free_golden(struct golden *g)
{
    for (int i = 0; i < N_TEXTS; i++) {
        free(g->texts[i]);
    }
    free(g->rows);
}

static double least_cosine(const float *a, const float *b)
{
    double least = 1;
    for (int i = 0; i < N_TEXTS; i++) {
        double ab = 0, aa = 0, bb = 0;
        for (int c = 0; c < DIM; c++) {
            double x = (double)a[i * DIM + c], y = (double)b[i * DIM + c];
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        least = fmin(least, ab / sqrt(aa * bb));
    }
    return least;
}

static void embed(bool exact, bool int8, double bound)
{
    struct err e = {0};
    struct engine *en;
    struct golden g;
    struct engine_options opt = {.n_threads = 1, .exact = exact, .embed_int8 = int8};
    struct embed_report report;
    uint8_t flags[N_TEXTS];
    float *rows = malloc(sizeof(float) * N_TEXTS * DIM);
    int64_t total = 0;
    read_golden(&g);
    assert_ok_err(engine_open(model_path, &opt, &en, &e), &e);
    assert_ok_err(engine_embed(en, (const char *const *)g.texts, g.lens, N_TEXTS, NULL, rows, flags,
                               &report, &e),
                  &e);
    for (int i = 0; i < N_TEXTS; i++) {
        total += g.n_tokens[i];
        assert_int_equal(flags[i], i >= N_TEXTS - 2); /* 300 and 400 words */
    }
    assert_int_equal(report.n_tokens, total);
    assert_int_equal(report.n_truncated, 2);
    double least = least_cosine(rows, g.rows);
    printf("%s: least cosine 1 - %.2g\n", exact ? "exact" : int8 ? "int8" : "fast", 1 - least);
    assert_true(least >= bound);
    free(rows);
    free_golden(&g);
    engine_close(en);
}

static void exact_path(void **state)
{
    (void)state;
    embed(true, false, 0.9999999);
}

static void fast_path(void **state)
{
    (void)state;
    embed(false, false, 0.9999);
}

static void int8_path(void **state)
{
    (void)state;
    embed(false, true, 0.994);
}

int main(void)
{
    model_path = test_model_path("all-MiniLM-L6-v2");
    if (!model_path) {
        return TEST_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_path),
        cmocka_unit_test(fast_path),
        cmocka_unit_test(int8_path),
    };
    return cmocka_run_group_tests_name("embeddings", tests, NULL, NULL);
}

/* Perplexity of SmolLM2 on PostgreSQL's documentation against llama.cpp (tests/golden/make_ppl.py):
 * Q4_1 on the same file and text, no more than 0.3 % above it; floats within 0.05 % of it. */
#include "common/test.h"

#include "base/file.h"
#include "engine/engine.h"

#include <stdio.h>

static const char *model_path;

/* llama.cpp: 16.1699 over the first six windows of 512 */
enum { TEXT_BYTES = 14500 };
static const double reference = 16.1699;

/* Of the first n_bytes of the text, in windows of 512. */
static struct perplexity measure(bool exact, size_t n_bytes, double llamacpp)
{
    struct err e = {0};
    struct engine *en;
    struct buf text = {0};
    struct perplexity p;
    struct engine_options opt = {.n_ctx = 512, .exact = exact};
    assert_ok_err(file_read(test_source_path("tests/golden/data/ppl.txt"), 1 << 20, &text, &e), &e);
    assert_true(text.len > n_bytes);
    assert_ok_err(engine_open(model_path, &opt, &en, &e), &e);
    assert_ok_err(engine_perplexity(en, text.data, n_bytes, 512, NULL, NULL, &p, &e), &e);
    printf("perplexity %.4f, llama.cpp %.4f: %+.4f %%\n", p.value, llamacpp,
           100 * (p.value / llamacpp - 1));
    buf_fini(&text);
    engine_close(en);
    return p;
}

static void quantised_perplexity_is_near_llamacpp(void **state)
{
    (void)state;
    struct perplexity p = measure(false, TEXT_BYTES, reference);
    assert_int_equal(p.n_windows, 6);
    assert_int_equal(p.n_tokens, 1530);
    assert_true(p.value < reference * 1.003);
    assert_true(p.value > reference * 0.99);
}

/* --exact reads Q4_1 as the floats that it stands for: the same model as llama.cpp's, whose file
 * has these floats as F32 (make_ppl.py variants F32; perplexity() over the first bytes of the
 * text). */
enum { FLOAT_BYTES = 5200 };
static const double float_reference = 15.006301;

static void float_perplexity_is_llamacpps(void **state)
{
    (void)state;
    struct perplexity p = measure(true, FLOAT_BYTES, float_reference);
    assert_int_equal(p.n_windows, 2);
    assert_int_equal(p.n_tokens, 510);
    assert_true(p.value < float_reference * 1.0005);
    assert_true(p.value > float_reference * 0.9995);
}

int main(void)
{
    model_path = test_model_path("SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!model_path) {
        return TEST_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_perplexity_is_near_llamacpp),
        cmocka_unit_test(float_perplexity_is_llamacpps),
    };
    return cmocka_run_group_tests_name("perplexity", tests, NULL, NULL);
}

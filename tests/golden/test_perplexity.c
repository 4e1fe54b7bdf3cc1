/* Perplexity of SmolLM2 Q4_1 on PostgreSQL's documentation against llama.cpp on the same file and
 * text (tests/golden/make_ppl.py): no more than 0.3 % above it. */
#include "common/test.h"

#include "base/file.h"
#include "engine/engine.h"

#include <stdio.h>

static const char *model_path;

/* llama.cpp: 16.1699 over the first six windows of 512 */
enum { TEXT_BYTES = 14500 };
static const double reference = 16.1699;

static void quantised_perplexity_is_near_llamacpp(void **state)
{
    (void)state;
    struct err e = {0};
    struct engine *en;
    struct buf text = {0};
    struct perplexity p;
    struct engine_options opt = {.n_ctx = 512};
    assert_ok_err(file_read(test_source_path("tests/golden/data/ppl.txt"), 1 << 20, &text, &e), &e);
    assert_true(text.len > TEXT_BYTES);
    assert_ok_err(engine_open(model_path, &opt, &en, &e), &e);
    assert_ok_err(engine_perplexity(en, text.data, TEXT_BYTES, 512, NULL, NULL, &p, &e), &e);
    printf("perplexity %.4f, llama.cpp %.4f: %+.3f %%\n", p.value, reference,
           100 * (p.value / reference - 1));
    assert_int_equal(p.n_windows, 6);
    assert_int_equal(p.n_tokens, 1530);
    assert_true(p.value < reference * 1.003);
    assert_true(p.value > reference * 0.99);
    buf_fini(&text);
    engine_close(en);
}

int main(void)
{
    model_path = test_model_path("SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!model_path) {
        return TEST_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_perplexity_is_near_llamacpp),
    };
    return cmocka_run_group_tests_name("perplexity", tests, NULL, NULL);
}

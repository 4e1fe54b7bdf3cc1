/* Every text of the published tokenizer vectors gives the published ids. */
#include "common/test.h"

#include "base/file.h"
#include "model/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SEPARATOR[] = "\n__ggml_vocab_test__\n";

static void check_file(const char *name)
{
    struct err e = {0};
    char rel[128];
    (void)snprintf(rel, sizeof rel, "tokenizers/ggml-vocab-%s.gguf", name);
    const char *path = test_data_path(rel);
    if (!path) {
        skip();
    }
    char in_path[512], out_path[512];
    (void)snprintf(in_path, sizeof in_path, "%s.inp", path);
    (void)snprintf(out_path, sizeof out_path, "%s.out", path);
    struct buf in = {0}, want = {0};
    assert_ok_err(file_read(in_path, 1 << 20, &in, &e), &e);
    assert_ok_err(file_read(out_path, 1 << 20, &want, &e), &e);
    struct weights *w = NULL;
    struct vocab *v = NULL;
    assert_ok_err(weights_open(path, &w, &e), &e);
    assert_ok_err(vocab_open(w, &v, &e), &e);
    char *line = want.data;
    int parts = 0;
    for (char *p = in.data, *end; (end = strstr(p, SEPARATOR)); parts++) {
        size_t n = (size_t)(end - p);
        struct ids ids = {0};
        struct buf got = {0};
        assert_ok_err(vocab_encode(v, p, n, 0, &ids, &e), &e);
        for (size_t i = 0; i < ids.n; i++) {
            buf_printf(&got, " %d", ids.data[i]);
        }
        buf_puts(&got, "");
        char *eol = strchr(line, '\n');
        assert_non_null(eol);
        *eol = 0;
        if (strcmp(got.data, line) != 0) {
            fail_msg("%s, part %d: \"%.*s\"\n got %s\nwant %s", name, parts, (int)n, p, got.data,
                     line);
        }
        if (vocab_kind(v) != VOCAB_WORDPIECE) {
            buf_reset(&got);
            vocab_decode(v, ids.data, ids.n, true, &got);
            assert_int_equal(got.len, n);
            assert_memory_equal(got.data, p, n);
        }
        line = eol + 1;
        ids_fini(&ids);
        buf_fini(&got);
        p = end + strlen(SEPARATOR);
    }
    assert_int_equal(parts, 46);
    vocab_close(v);
    weights_close(w);
    buf_fini(&in);
    buf_fini(&want);
}

#define FILE_TEST(id, name)      \
    static void id(void **state) \
    {                            \
        (void)state;             \
        check_file(name);        \
    }

FILE_TEST(gpt2, "gpt-2")
FILE_TEST(falcon, "falcon")
FILE_TEST(starcoder, "starcoder")
FILE_TEST(deepseek_coder, "deepseek-coder")
FILE_TEST(llama_spm, "llama-spm")
FILE_TEST(bert_bge, "bert-bge")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2),           cmocka_unit_test(falcon),    cmocka_unit_test(starcoder),
        cmocka_unit_test(deepseek_coder), cmocka_unit_test(llama_spm), cmocka_unit_test(bert_bge),
    };
    return cmocka_run_group_tests_name("vocab_llamacpp", tests, NULL, NULL);
}

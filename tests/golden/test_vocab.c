/* Ids and decoded texts equal those of other implementations: see make_vocab.py. */
#include "common/test.h"

#include "base/file.h"
#include "model/vocab_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* \xNN back to bytes, in place; the new length */
static size_t unescape(char *s)
{
    size_t n = 0;
    for (char *p = s; *p;) {
        if (*p == '\\') {
            char hex[3] = {p[2], p[3], 0};
            s[n++] = (char)strtol(hex, NULL, 16);
            p += 4;
        } else {
            s[n++] = *p++;
        }
    }
    return n;
}

static void check_line(const struct vocab *v, const char *name, int number, char *line)
{
    struct err e = {0};
    char *flags = strchr(line, '\t'), *want = flags ? strchr(flags + 1, '\t') : NULL;
    char *decoded = want ? strchr(want + 1, '\t') : NULL;
    assert_non_null(decoded);
    *flags++ = *want++ = *decoded++ = 0;
    size_t n = unescape(line), n_decoded = unescape(decoded);
    struct ids ids = {0};
    struct buf got = {0};
    assert_ok_err(vocab_encode(v, line, n, (unsigned)atoi(flags), &ids, &e), &e);
    buf_puts(&got, "");
    for (size_t i = 0; i < ids.n; i++) {
        buf_printf(&got, i ? " %d" : "%d", ids.data[i]);
    }
    if (strcmp(got.data, want) != 0) {
        fail_msg("%s line %d: \"%.*s\"\n got %s\nwant %s", name, number, (int)n, line, got.data,
                 want);
    }
    buf_reset(&got);
    vocab_decode(v, ids.data, ids.n, false, &got);
    if (got.len != n_decoded || memcmp(got.data, decoded, n_decoded) != 0) {
        fail_msg("%s line %d decodes to \"%s\", not \"%.*s\"", name, number, got.data,
                 (int)n_decoded, decoded);
    }
    ids_fini(&ids);
    buf_fini(&got);
}

static void check(const struct vocab *v, const char *name, int least)
{
    struct err e = {0};
    struct buf b = {0};
    char rel[128];
    (void)snprintf(rel, sizeof rel, "tests/golden/data/vocab_%s.txt", name);
    assert_ok_err(file_read(test_source_path(rel), 1 << 20, &b, &e), &e);
    int number = 0;
    char *save = NULL;
    for (char *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        check_line(v, name, ++number, line);
    }
    assert_true(number >= least);
    buf_fini(&b);
}

static void check_json(const char *name)
{
    struct err e = {0};
    struct buf b = {0};
    char rel[128];
    (void)snprintf(rel, sizeof rel, "tests/golden/data/tokenizer_%s.json", name);
    assert_ok_err(file_read(test_source_path(rel), 1 << 20, &b, &e), &e);
    struct vocab *v = NULL;
    assert_ok_err(vocab_from_json(b.data, b.len, NULL, 0, rel, &v, &e), &e);
    check(v, name, 250);
    vocab_close(v);
    buf_fini(&b);
}

#define JSON_TEST(name)            \
    static void name(void **state) \
    {                              \
        (void)state;               \
        check_json(#name);         \
    }
JSON_TEST(llama3)
JSON_TEST(qwen2)
JSON_TEST(smollm)
JSON_TEST(roberta)
JSON_TEST(steps)
JSON_TEST(byte_fallback)
JSON_TEST(metaspace)
JSON_TEST(uncased)
JSON_TEST(cased)
JSON_TEST(unigram)
JSON_TEST(unigram_words)

static void check_model(const char *name)
{
    struct err e = {0};
    struct buf b = {0};
    char rel[128];
    (void)snprintf(rel, sizeof rel, "tests/golden/data/tokenizer_%s.model", name);
    assert_ok_err(file_read(test_source_path(rel), 1 << 20, &b, &e), &e);
    struct vocab *v = NULL;
    assert_ok_err(vocab_from_sentencepiece(b.data, b.len, false, rel, &v, &e), &e);
    buf_fini(&b);
    check(v, name, 130);
    assert_int_equal(vocab_unk(v), 0);
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    assert_int_equal(vocab_pad(v), -1);
    assert_true(vocab_is_end(v, 2));
    vocab_close(v);
}

static void spm(void **state)
{
    (void)state;
    check_model("spm");
}

static void spm_squeeze(void **state)
{
    (void)state;
    check_model("spm_squeeze");
}

static void unigram_spm(void **state)
{
    (void)state;
    check_model("unigram_spm");
}

static void unigram_spm_bytes(void **state)
{
    (void)state;
    check_model("unigram_spm_bytes");
}

static void smollm2(void **state)
{
    (void)state;
    struct err e = {0};
    const char *path = test_model_path("SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!path) {
        skip();
    }
    struct weights *w = NULL;
    struct vocab *v = NULL;
    assert_ok_err(weights_open(path, &w, &e), &e);
    assert_ok_err(vocab_open(w, &v, &e), &e);
    weights_close(w); /* a vocabulary keeps nothing of it */
    check(v, "smollm2", 130);
    assert_int_equal(vocab_kind(v), VOCAB_BPE);
    assert_string_equal(vocab_pre(v), "smollm");
    assert_int_equal(vocab_size(v), 49152);
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    assert_int_equal(vocab_mask(v), -1);
    assert_true(vocab_is_end(v, 2));
    assert_false(vocab_is_end(v, 0));
    assert_true(vocab_is_special(v, 0));
    assert_false(vocab_is_special(v, 100));
    vocab_close(v);
}

static void minilm(void **state)
{
    (void)state;
    struct err e = {0};
    const char *path = test_model_path("all-MiniLM-L6-v2");
    if (!path) {
        skip();
    }
    struct weights *w = NULL;
    struct vocab *v = NULL;
    assert_ok_err(weights_open(path, &w, &e), &e);
    assert_ok_err(vocab_open(w, &v, &e), &e);
    weights_close(w);
    check(v, "minilm", 250);
    assert_int_equal(vocab_kind(v), VOCAB_WORDPIECE);
    assert_int_equal(vocab_cls(v), 101);
    assert_int_equal(vocab_sep(v), 102);
    assert_int_equal(vocab_mask(v), 103);
    assert_int_equal(vocab_unk(v), 100);
    assert_int_equal(vocab_pad(v), 0);
    vocab_close(v);
}

/* vocab.txt alone gives what tokenizer.json gives. */
static void minilm_list(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b = {0};
    const char *path = test_model_path("all-MiniLM-L6-v2/vocab.txt");
    if (!path) {
        skip();
    }
    assert_ok_err(file_read(path, 1 << 24, &b, &e), &e);
    struct vocab *v = NULL;
    assert_ok_err(vocab_from_list(b.data, b.len, NULL, 0, path, &v, &e), &e);
    check(v, "minilm", 250);
    assert_int_equal(vocab_size(v), 30522);
    vocab_close(v);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama3),      cmocka_unit_test(qwen2),
        cmocka_unit_test(smollm),      cmocka_unit_test(roberta),
        cmocka_unit_test(steps),       cmocka_unit_test(byte_fallback),
        cmocka_unit_test(metaspace),   cmocka_unit_test(uncased),
        cmocka_unit_test(cased),       cmocka_unit_test(smollm2),
        cmocka_unit_test(spm),         cmocka_unit_test(spm_squeeze),
        cmocka_unit_test(minilm),      cmocka_unit_test(minilm_list),
        cmocka_unit_test(unigram),     cmocka_unit_test(unigram_words),
        cmocka_unit_test(unigram_spm), cmocka_unit_test(unigram_spm_bytes),
    };
    return cmocka_run_group_tests_name("vocab", tests, NULL, NULL);
}

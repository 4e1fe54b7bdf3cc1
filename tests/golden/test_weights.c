/* Metadata and tensor tables of real files, printed in the form of tests/golden/data/weights and
 * compared with what the gguf package, safetensors and sentence-transformers say
 * (make_weights.py). */
#include "common/test.h"

#include "base/file.h"
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_hash(struct buf *out, const void *data, size_t n)
{
    char hex[SHA256_HEX];
    sha256_hex(data, n, hex);
    buf_printf(out, "%.16s", hex);
}

static void put_u64(struct buf *out, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        buf_putc(out, (char)(v >> 8 * i & 255));
    }
}

static void put_items(const struct weights *w, const char *key, size_t n, enum meta_kind kind,
                      struct buf *out)
{
    struct buf body = {0};
    struct meta_str s = {NULL, 0};
    int64_t i64 = 0;
    double f64 = 0;
    for (size_t i = 0; i < n; i++) {
        if (kind == META_STRING) {
            assert_true(meta_array_string(w, key, i, &s));
            put_u64(&body, s.n);
            buf_put(&body, s.p, s.n);
        } else if (kind == META_FLOAT) {
            assert_true(meta_array_f64(w, key, i, &f64));
            buf_printf(&body, "float %.17g\n", f64);
        } else {
            assert_true(meta_array_i64(w, key, i, &i64));
            buf_printf(&body, "%s %lld\n", kind == META_INT ? "int" : "uint", (long long)i64);
        }
    }
    put_hash(out, body.data, body.len);
    buf_fini(&body);
}

static void put_meta(const struct weights *w, const char *key, enum meta_kind kind, struct buf *out)
{
    static const char *const names[] = {"none", "bool", "int", "uint", "float", "string", "array"};
    int64_t i = 0;
    double f = 0;
    bool b = false;
    struct meta_str s = {NULL, 0};
    enum meta_kind item = META_NONE;
    buf_printf(out, "meta %s %s ", key, names[kind]);
    if (meta_i64(w, key, &i)) {
        buf_printf(out, "%lld", (long long)i);
    } else if (meta_f64(w, key, &f)) {
        buf_printf(out, "%.17g", f);
    } else if (meta_bool(w, key, &b)) {
        buf_printf(out, "%d", b);
    } else if (meta_string(w, key, &s)) {
        buf_printf(out, "%zu ", s.n);
        put_hash(out, s.p, s.n);
    } else {
        size_t n = meta_array_len(w, key, &item);
        buf_printf(out, "%s %zu ", names[item], n);
        put_items(w, key, n, item, out);
    }
    buf_putc(out, '\n');
}

static int by_name(const void *a, const void *b)
{
    const struct named_tensor *x = *(const struct named_tensor *const *)a;
    const struct named_tensor *y = *(const struct named_tensor *const *)b;
    return strcmp(x->name, y->name);
}

/* Tensors of a directory come without offsets and in the order of their names. */
static void put_tensors(const struct weights *w, bool is_directory, struct buf *out)
{
    size_t n = weights_count(w);
    const struct named_tensor **order = calloc(n + 1, sizeof *order);
    assert_non_null(order);
    for (size_t i = 0; i < n; i++) {
        order[i] = weights_at(w, i);
    }
    if (is_directory) {
        qsort(order, n, sizeof *order, by_name);
    }
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = &order[i]->t;
        buf_printf(out, "tensor %s %s %lld", order[i]->name, type_info(t->type)->name,
                   (long long)t->ne[0]);
        for (int d = 1; d < t->n_dims; d++) {
            buf_printf(out, "x%lld", (long long)t->ne[d]);
        }
        buf_printf(out, " %llu ", is_directory ? 0ull : (unsigned long long)order[i]->offset);
        put_hash(out, t->data, tensor_bytes(t));
        buf_putc(out, '\n');
    }
    free(order);
}

static void compare_lines(const char *got, const char *want)
{
    while (*got || *want) {
        size_t n = strcspn(got, "\n");
        size_t k = strcspn(want, "\n");
        if (n != k || memcmp(got, want, n) != 0) {
            fail_msg("got      %.*s\nexpected %.*s", (int)n, got, (int)k, want);
            return;
        }
        got += n + (got[n] == '\n');
        want += k + (want[k] == '\n');
    }
}

static void check(const char *path, const char *golden)
{
    if (!path) {
        skip();
    }
    struct err e = {0};
    struct weights *w = NULL;
    struct buf got = {0};
    struct buf want = {0};
    char name[128];
    snprintf(name, sizeof name, "tests/golden/data/weights/%s.txt", golden);
    assert_ok_err(file_read(test_source_path(name), 1 << 20, &want, &e), &e);
    assert_ok_err(weights_open(path, &w, &e), &e);
    for (size_t i = 0; i < weights_meta_count(w); i++) {
        enum meta_kind kind;
        const char *key = weights_meta_key(w, i, &kind);
        put_meta(w, key, kind, &got);
    }
    put_tensors(w, file_is_dir(path), &got);
    assert_false(got.failed);
    compare_lines(got.data, want.data);
    weights_close(w);
    buf_fini(&got);
    buf_fini(&want);
}

static void demo_model(void **state)
{
    (void)state;
    check(test_model_path("SmolLM2-135M-Instruct.Q4_1.gguf"), "SmolLM2-135M-Instruct.Q4_1");
}

static void embedding_model(void **state)
{
    (void)state;
    check(test_model_path("all-MiniLM-L6-v2"), "all-MiniLM-L6-v2");
}

static void vocabulary_files(void **state)
{
    (void)state;
    static const char *const names[] = {"bert-bge", "deepseek-coder", "falcon",
                                        "gpt-2",    "llama-spm",      "starcoder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[64];
        char golden[64];
        snprintf(file, sizeof file, "tokenizers/ggml-vocab-%s.gguf", names[i]);
        snprintf(golden, sizeof golden, "ggml-vocab-%s", names[i]);
        check(test_data_path(file), golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_model),
        cmocka_unit_test(embedding_model),
        cmocka_unit_test(vocabulary_files),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}

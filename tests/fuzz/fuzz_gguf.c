/* GGUF parser: any bytes. What it accepts must be readable to the last byte through the getters. */
#include "model/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void touch(const void *p, size_t n)
{
    const uint8_t *b = p;
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += b[i];
    }
    sink = sum;
}

static void touch_meta(const struct weights *w, const char *key)
{
    int64_t i = 0;
    double f = 0;
    bool b = false;
    struct meta_str s = {NULL, 0};
    (void)meta_i64(w, key, &i);
    (void)meta_f64(w, key, &f);
    (void)meta_bool(w, key, &b);
    if (meta_string(w, key, &s)) {
        touch(s.p, s.n);
    }
    enum meta_kind kind;
    size_t n = meta_array_len(w, key, &kind);
    for (size_t k = 0; k <= n; k++) {
        if (meta_array_string(w, key, k, &s)) {
            touch(s.p, s.n);
        }
        if ((meta_array_i64(w, key, k, &i) || meta_array_f64(w, key, k, &f)) && k == n) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weights w = {0};
    struct err e = {0};
    uint32_t version = 0;
    enum status s = gguf_parse(data, size, "fuzz", &w.arena, &w.meta, &w.tensors, &version, &e);
    if (s && (!e.place[0] || !e.message[0] || e.code != s)) {
        abort(); /* an error without its place and words */
    }
    if (w.arena.used_bytes > 64 * size + 65536) {
        abort(); /* more memory than the file justifies */
    }
    for (size_t i = 0; !s && i < weights_meta_count(&w); i++) {
        touch_meta(&w, weights_meta_key(&w, i, NULL));
    }
    for (size_t i = 0; !s && i < weights_count(&w); i++) {
        const struct named_tensor *t = weights_at(&w, i);
        if (weights_find(&w, t->name) != t) {
            abort();
        }
        touch(t->t.data, tensor_bytes(&t->t));
    }
    meta_table_fini(&w.meta);
    tensor_table_fini(&w.tensors);
    arena_reset(&w.arena);
    return 0;
}

/* See store_fixture.h. */
#include "common/store_fixture.h"

#include "base/sys.h"
#include "common/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void fixture_vector(uint64_t seed, int64_t dim, float *out)
{
    struct rng r;
    double sum = 0;
    rng_init(&r, seed);
    for (int64_t i = 0; i < dim; i++) {
        out[i] = (float)(rng_unit(&r) + rng_unit(&r) - 1);
        sum += (double)out[i] * (double)out[i];
    }
    for (int64_t i = 0; i < dim; i++) {
        out[i] = (float)(out[i] / sqrt(sum));
    }
}

enum status fixture_put(struct store *s, const char *name, uint64_t seed, size_t n_chunks,
                        int64_t dim, int64_t *id, struct err *e)
{
    struct arena a = {0};
    struct buf text = {0};
    struct chunk *chunks = arena_array(&a, n_chunks + 1, sizeof *chunks);
    float *vectors = arena_array(&a, n_chunks * (size_t)dim + 1, sizeof *vectors);
    for (size_t i = 0; i < n_chunks; i++) {
        uint32_t start = (uint32_t)text.len;
        buf_printf(&text,
                   "line %zu of %s with seed %llu, filled up to a length that is usual%30s\n", i,
                   name, (unsigned long long)seed, ".");
        chunks[i] = (struct chunk){.heading = arena_printf(&a, "Part %zu", i),
                                   .start = start,
                                   .end = (uint32_t)text.len,
                                   .page = (int32_t)i + 1,
                                   .page_end = (int32_t)i + 1,
                                   .n_tokens = 20};
        fixture_vector(seed * 1000 + i, dim, vectors + i * (size_t)dim);
    }
    struct document d = {.uri = arena_printf(&a, "/lib/%s", name),
                         .source = "/lib",
                         .title = name,
                         .author = "",
                         .language = "en",
                         .kind = "text",
                         .sha256 = "00",
                         .size = (int64_t)text.len,
                         .mtime_ns = 7,
                         .n_pages = (int32_t)n_chunks,
                         .text = text.data,
                         .text_len = text.len};
    enum status st = store_put(s, &d, chunks, n_chunks, vectors, id, e);
    buf_fini(&text);
    arena_reset(&a);
    return st;
}

struct store *fixture_open(const char *home, int64_t dim)
{
    struct err e = {0};
    struct store *s = NULL;
    assert_ok_err(store_open(home, &(struct store_options){.write = true}, &s, &e), &e);
    assert_ok_err(store_set_embedder(s, "test-model", "identity-1", dim, &e), &e);
    return s;
}

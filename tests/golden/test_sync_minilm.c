/* Sync with the real embedding model: questions find the documents that answer them, the order of
 * files and batches does not matter, and what is removed stops answering. */
#include "common/test.h"

#include "base/file.h"
#include "ingest/sync.h"
#include "store/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *text, *question;
} items[] = {
    {"vacuum.md",
     "# Routine vacuuming\n\nVACUUM recovers the disk space of deleted rows and protects against "
     "the wraparound of transaction ids. Autovacuum runs it without being asked.\n",
     "How do I get the space of deleted rows back?"},
    {"bread.txt",
     "Sourdough bread\n\nKnead flour, water, salt and starter, let the dough rise overnight, and "
     "bake the loaf for forty minutes in a hot oven.\n",
     "recipe for baking a loaf"},
    {"bicycle.html",
     "<html><head><title>Brakes</title></head><body><p>To adjust the rim brakes of a bicycle, "
     "loosen the cable bolt, press the pads against the wheel and tighten the bolt "
     "again.</p></body></html>",
     "my bike does not stop well"},
    {"moon.txt",
     "Tides\n\nThe gravity of the Moon raises two bulges of the ocean; as the Earth turns, each "
     "coast sees two high tides a day.\n",
     "Why does the sea rise and fall?"},
    {"passport.txt",
     "Passports\n\nA passport is renewed at the town hall. Bring two photographs, the old passport "
     "and the fee; the new one is ready after three weeks.\n",
     "documents needed to renew travel papers"},
};
enum { N_ITEMS = sizeof items / sizeof *items };

static struct engine *embedder;

static const char *path_of(size_t i)
{
    struct buf b = {0};
    buf_printf(&b, "docs/%s", items[i].name);
    const char *path = test_temp_path(b.data);
    buf_fini(&b);
    return path;
}

/* Uri of the document that answers best. */
static const char *best(struct store *s, const char *home, const char *question, struct arena *a)
{
    struct err e = {0};
    struct vectors *v = NULL;
    struct hit hit;
    struct chunk c;
    struct document d;
    size_t n = 0, len = strlen(question);
    int64_t dim = engine_info(embedder)->d_model;
    float *q = mem_aligned((size_t)dim, sizeof *q);
    struct embed_options query = {.role = EMBED_QUERY};
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
    assert_ok_err(engine_embed(embedder, &question, &len, 1, &query, q, NULL, NULL, &e), &e);
    assert_ok_err(vectors_search(v, s, q, dim, 1, &hit, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_ok_err(store_chunk(s, hit.chunk_id, a, &c, &e), &e);
    assert_ok_err(store_document(s, c.document_id, false, a, &d, &e), &e);
    vectors_close(v);
    free(q);
    return d.uri;
}

static void questions_find_their_documents(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    struct store *s = NULL;
    struct sync_report r;
    const char *home = test_temp_path("home"), *docs = test_temp_path("docs");
    assert_ok_err(file_mkdirs(docs, &e), &e);
    for (size_t i = 0; i < N_ITEMS; i++) {
        test_write_file(path_of(i), items[i].text, strlen(items[i].text));
    }
    assert_ok_err(store_open(home, &(struct store_options){.write = true}, &s, &e), &e);
    assert_ok_err(sync_paths(s, embedder, &docs, 1, NULL, &r, &e), &e);
    assert_int_equal(r.n_added, N_ITEMS);
    assert_int_equal(r.n_chunks, N_ITEMS);
    assert_int_equal(r.n_truncated, 0);
    for (size_t i = 0; i < N_ITEMS; i++) {
        assert_string_equal(best(s, home, items[i].question, &a), path_of(i));
    }
    assert_int_equal(unlink(path_of(3)), 0);
    assert_ok_err(sync_paths(s, embedder, &docs, 1, NULL, &r, &e), &e);
    assert_int_equal(r.n_removed, 1);
    assert_string_not_equal(best(s, home, items[3].question, &a), path_of(3));
    assert_ok_err(store_verify(s, &e), &e);
    store_close(s);
    arena_reset(&a);
}

/* The same passages one at a time and in one batch: the same vectors. */
static void batches_do_not_change_vectors(void **state)
{
    (void)state;
    struct err e = {0};
    int64_t dim = engine_info(embedder)->d_model;
    const char *texts[N_ITEMS];
    size_t lens[N_ITEMS];
    float *together = calloc(N_ITEMS * (size_t)dim, sizeof *together);
    float *alone = calloc((size_t)dim, sizeof *alone);
    for (size_t i = 0; i < N_ITEMS; i++) {
        texts[i] = items[i].text;
        lens[i] = strlen(items[i].text);
    }
    assert_ok_err(engine_embed(embedder, texts, lens, N_ITEMS, NULL, together, NULL, NULL, &e), &e);
    for (size_t i = 0; i < N_ITEMS; i++) {
        assert_ok_err(engine_embed(embedder, &texts[i], &lens[i], 1, NULL, alone, NULL, NULL, &e),
                      &e);
        assert_memory_equal(alone, together + i * (size_t)dim, (size_t)dim * sizeof *alone);
    }
    free(together);
    free(alone);
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(embedder);
    return 0;
}

int main(void)
{
    struct err e = {0};
    const char *path = test_model_path("all-MiniLM-L6-v2");
    if (!path) {
        return TEST_SKIP;
    }
    if (engine_open(path, NULL, &embedder, &e)) {
        print_error("%s: %s\n", e.place, e.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_find_their_documents),
        cmocka_unit_test(batches_do_not_change_vectors),
    };
    return cmocka_run_group_tests_name("sync with MiniLM", tests, NULL, close_engine);
}

/* A cross-encoder with random weights against transformers (tests/golden/make_rerank.py): the whole
 * way from two texts to a logit, from a Hugging Face directory and from GGUF; truncation; files
 * whose head is missing or incomplete. */
#include "common/test.h"

#include "base/file.h"
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "tests/golden/data/tiny/bert-rerank"

enum { N_PAIRS = 10, LIMIT = 64 };

struct pair {
    const char *query, *document;
    size_t n_ids;
    double logit;
};

static json_t *read_pairs(struct pair *pairs)
{
    json_error_t je;
    json_t *root = json_load_file(test_source_path(FOLDER "/reference.json"), 0, &je);
    assert_non_null(root);
    const json_t *cases = json_object_get(root, "cases");
    assert_int_equal(json_array_size(cases), N_PAIRS);
    for (size_t i = 0; i < N_PAIRS; i++) {
        const json_t *c = json_array_get(cases, i);
        pairs[i] = (struct pair){json_string_value(json_object_get(c, "query")),
                                 json_string_value(json_object_get(c, "document")),
                                 json_array_size(json_object_get(c, "ids")),
                                 json_number_value(json_object_get(c, "logit"))};
    }
    return root;
}

static struct engine *open_model(const char *path, bool exact, bool int8, int n_threads)
{
    struct err e = {0};
    struct engine *en;
    struct engine_options opt = {.n_threads = n_threads, .exact = exact, .embed_int8 = int8};
    assert_ok_err(engine_open(path, &opt, &en, &e), &e);
    assert_true(engine_info(en)->ranks);
    return en;
}

static struct rank_request request(const char *query, const char *const *documents,
                                   const size_t *lens, size_t n)
{
    return (struct rank_request){query, strlen(query), documents, lens, n, NULL};
}

/* Every pair alone, and what was cut of it. */
static void agree(const char *path, bool exact, bool int8, double bound)
{
    struct pair pairs[N_PAIRS];
    json_t *root = read_pairs(pairs);
    struct engine *en = open_model(test_source_path(path), exact, int8, 1);
    static const uint8_t cut[N_PAIRS] = {[5] = RANK_DOCUMENT_CUT,
                                         [6] = RANK_QUERY_CUT,
                                         [7] = RANK_QUERY_CUT | RANK_DOCUMENT_CUT,
                                         [8] = RANK_QUERY_CUT | RANK_DOCUMENT_CUT};
    double worst = 0;
    for (int i = 0; i < N_PAIRS; i++) {
        struct err e = {0};
        struct rank_report report;
        uint8_t flags;
        float logit;
        size_t n = strlen(pairs[i].document);
        struct rank_request q = request(pairs[i].query, &pairs[i].document, &n, 1);
        assert_ok_err(engine_rank(en, &q, &logit, &flags, &report, &e), &e);
        assert_int_equal(report.n_tokens, pairs[i].n_ids);
        assert_int_equal(flags, cut[i]);
        assert_int_equal(report.n_truncated, cut[i] != 0);
        worst = fmax(worst, fabs((double)logit - pairs[i].logit));
    }
    printf("%s, %s: %.2g\n", path, exact ? "exact" : int8 ? "int8" : "fast", worst);
    assert_true(worst < bound);
    engine_close(en);
    json_decref(root);
}

static void directory_agrees(void **state)
{
    (void)state;
    agree(FOLDER, true, false, 1e-5);
    agree(FOLDER, false, false, 5e-3);
    agree(FOLDER, false, true, 4e-2);
}

static void gguf_agrees(void **state)
{
    (void)state;
    agree(FOLDER "/bert-rerank.gguf", true, false, 1e-5);
    agree(FOLDER "/bert-rerank.gguf", false, false, 5e-3);
    agree(FOLDER "/bert-rerank.gguf", false, true, 4e-2);
}

/* One query, many documents: the same bits as alone, for any number of threads. */
static void company_changes_nothing(void **state)
{
    (void)state;
    struct pair pairs[N_PAIRS];
    json_t *root = read_pairs(pairs);
    const char *query = pairs[0].query;
    enum { COPIES = 30, N = N_PAIRS * COPIES };
    const char *documents[N];
    size_t lens[N];
    float alone[N_PAIRS], all[N];
    for (int i = 0; i < N; i++) {
        documents[i] = pairs[i % N_PAIRS].document;
        lens[i] = strlen(documents[i]);
    }
    for (int way = 0; way < 6; way++) {
        struct err e = {0};
        bool exact = way % 3 == 0, int8 = way % 3 == 1;
        struct engine *en = open_model(test_source_path(FOLDER), exact, int8, 1 + way / 3 * 2);
        for (int i = 0; i < N_PAIRS; i++) {
            struct rank_request q = request(query, &documents[i], &lens[i], 1);
            assert_ok_err(engine_rank(en, &q, &alone[i], NULL, NULL, &e), &e);
        }
        struct rank_request q = request(query, documents, lens, N);
        assert_ok_err(engine_rank(en, &q, all, NULL, NULL, &e), &e);
        for (int i = 0; i < N; i++) {
            assert_memory_equal(&all[i], &alone[i % N_PAIRS], sizeof *all);
        }
        engine_close(en);
    }
    json_decref(root);
}

static void refused(const char *path, const char *part)
{
    struct err e = {0};
    struct engine *en;
    struct engine_options opt = {.n_threads = 1};
    const char *text = "text";
    size_t n = 4;
    float logit = 7;
    assert_ok_err(engine_open(path, &opt, &en, &e), &e);
    assert_false(engine_info(en)->ranks);
    struct rank_request q = request(text, &text, &n, 1);
    assert_status(engine_rank(en, &q, &logit, NULL, NULL, &e), ERR_UNSUPPORTED);
    assert_string_equal(e.place, path);
    assert_non_null(strstr(e.message, part));
    assert_true(logit == 7);
    engine_close(en);
}

/* The GGUF file with one tensor under another name of the same length. */
static const char *renamed(const char *from, const char *to)
{
    struct err e = {0};
    struct buf b = {0};
    assert_ok_err(file_read(test_source_path(FOLDER "/bert-rerank.gguf"), 1 << 20, &b, &e), &e);
    char *at = memmem(b.data, b.len, from, strlen(from));
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    const char *path = test_temp_path("renamed.gguf");
    test_write_file(path, b.data, b.len);
    buf_fini(&b);
    return path;
}

static void heads_that_do_not_rank(void **state)
{
    (void)state;
    refused(test_source_path("tests/golden/data/tiny/bert-mean"), "no head that scores pairs");
    refused(renamed("cls.weight", "abc.weight"), "cls.weight");
    refused(renamed("cls.output.weight", "cls.putout.weight"), "without a label");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory_agrees),
        cmocka_unit_test(gguf_agrees),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(heads_that_do_not_rank),
    };
    return cmocka_run_group_tests_name("rerank", tests, NULL, NULL);
}

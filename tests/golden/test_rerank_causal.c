/* A language model as a reranker against the code of Qwen3-Reranker's model card
 * (tests/golden/make_rerank_causal.py): its directory, the GGUF that keeps two rows of its head,
 * and a classifier of one label; what is cut, what is refused, documents that look like control
 * tokens.
 */
#include "common/test.h"

#include "base/file.h"
#include "engine/engine.h"
#include "engine/session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "tests/golden/data/tiny/qwen3-rerank"
#define GGUF FOLDER "/qwen3-rerank.gguf"

enum { N_PAIRS = 10, LIMIT = 256 };

struct pair {
    const char *instruction, *query, *document;
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
        pairs[i] = (struct pair){json_string_value(json_object_get(c, "instruction")),
                                 json_string_value(json_object_get(c, "query")),
                                 json_string_value(json_object_get(c, "document")),
                                 json_array_size(json_object_get(c, "ids")),
                                 json_number_value(json_object_get(c, "logit"))};
    }
    return root;
}

static struct engine *open_model(const char *path, bool exact, int n_threads)
{
    struct err e = {0};
    struct engine *en;
    struct engine_options opt = {.n_threads = n_threads, .exact = exact};
    assert_ok_err(engine_open(path, &opt, &en, &e), &e);
    return en;
}

static struct rank_request request(const struct pair *p, const size_t *n)
{
    return (struct rank_request){p->query, strlen(p->query), &p->document, n, 1, p->instruction};
}

/* Every pair alone, and what was cut of it. */
static void agree(const char *path, bool exact, double bound)
{
    struct pair pairs[N_PAIRS];
    json_t *root = read_pairs(pairs);
    struct engine *en = open_model(test_source_path(path), exact, 1);
    static const uint8_t cut[N_PAIRS] = {
        [8] = RANK_DOCUMENT_CUT, [9] = RANK_QUERY_CUT | RANK_DOCUMENT_CUT};
    double worst = 0;
    for (int i = 0; i < N_PAIRS; i++) {
        struct err e = {0};
        struct rank_report report;
        uint8_t flags;
        float logit;
        size_t n = strlen(pairs[i].document);
        struct rank_request q = request(&pairs[i], &n);
        assert_ok_err(engine_rank(en, &q, &logit, &flags, &report, &e), &e);
        assert_int_equal(report.n_tokens, pairs[i].n_ids);
        assert_int_equal(flags, cut[i]);
        assert_int_equal(report.n_truncated, cut[i] != 0);
        worst = fmax(worst, fabs((double)logit - pairs[i].logit));
    }
    printf("%s, %s: %.2g\n", path, exact ? "exact" : "fast", worst);
    assert_true(worst < bound);
    engine_close(en);
    json_decref(root);
}

static void directory_agrees(void **state)
{
    (void)state;
    agree(FOLDER, true, 2e-5);
    agree(FOLDER, false, 3e-2);
}

static void gguf_agrees(void **state)
{
    (void)state;
    agree(GGUF, true, 2e-5);
    agree(GGUF, false, 3e-2);
}

/* The row of the label is a difference that was rounded to f16. */
static void label_agrees(void **state)
{
    (void)state;
    agree(FOLDER "-label", true, 3e-3);
    agree(FOLDER "-label", false, 3e-2);
}

/* Documents of one query share its keys and values: the same bits as alone, in any order, for any
 * number of threads. */
static void company_changes_nothing(void **state)
{
    (void)state;
    struct pair pairs[N_PAIRS];
    json_t *root = read_pairs(pairs);
    const char *documents[2 * N_PAIRS];
    size_t lens[2 * N_PAIRS];
    float alone[N_PAIRS], all[2 * N_PAIRS];
    for (int i = 0; i < 2 * N_PAIRS; i++) {
        documents[i] = pairs[i < N_PAIRS ? i : 2 * N_PAIRS - 1 - i].document;
        lens[i] = strlen(documents[i]);
    }
    for (int way = 0; way < 4; way++) {
        struct err e = {0};
        struct engine *en = open_model(test_source_path(FOLDER), way % 2, 1 + way / 2 * 2);
        struct rank_request q = {"dog", 3, documents, lens, 1, NULL};
        for (int i = 0; i < N_PAIRS; i++) {
            q.documents = &documents[i];
            q.lens = &lens[i];
            assert_ok_err(engine_rank(en, &q, &alone[i], NULL, NULL, &e), &e);
        }
        q.documents = documents;
        q.lens = lens;
        q.n = (size_t)2 * N_PAIRS;
        assert_ok_err(engine_rank(en, &q, all, NULL, NULL, &e), &e);
        for (int i = 0; i < 2 * N_PAIRS; i++) {
            assert_memory_equal(&all[i], &alone[i < N_PAIRS ? i : 2 * N_PAIRS - 1 - i],
                                sizeof *all);
        }
        engine_close(en);
    }
    json_decref(root);
}

/* What has labels in place of words ranks, and says that it does nothing else. */
static void labels_do_not_generate(void **state)
{
    (void)state;
    const char *const paths[] = {GGUF, FOLDER "-label"};
    for (size_t i = 0; i < 2; i++) {
        struct err e = {0};
        struct session *s;
        struct engine *en = open_model(test_source_path(paths[i]), false, 1);
        assert_true(engine_info(en)->ranks);
        assert_false(engine_info(en)->generates);
        assert_status(session_new(en, &s, &e), ERR_USAGE);
        assert_non_null(strstr(e.message, "is a reranker: it does not generate"));
        engine_close(en);
    }
    struct engine *en = open_model(test_source_path(FOLDER), false, 1);
    assert_false(engine_info(en)->ranks);
    assert_true(engine_info(en)->generates);
    engine_close(en);
}

static void refused(const char *path, const char *instruction, const char *part)
{
    struct err e = {0};
    struct engine *en = open_model(path, false, 1);
    const char *text = "text";
    size_t n = 4;
    float logit = 7;
    struct rank_request q = {text, n, &text, &n, 1, instruction};
    assert_status(engine_rank(en, &q, &logit, NULL, NULL, &e), ERR_UNSUPPORTED);
    assert_string_equal(e.place, path);
    assert_non_null(strstr(e.message, part));
    assert_true(logit == 7);
    engine_close(en);
}

static void what_cannot_be_asked(void **state)
{
    (void)state;
    /* a vocabulary of 288 pieces without the words */
    refused(test_source_path("tests/golden/data/tiny/qwen3"), NULL, "\"yes\" is not one token");
    refused(test_changed_copy(GGUF, "{document}", "{dokument}"), NULL, "{query} and {document}");
    refused(test_changed_copy(GGUF, "Given a web", "Given one w"), "find rows",
            "no place for an instruction");
    refused(test_changed_copy(GGUF, "yes\x02", "yep\x02"), NULL, "labels that are not yes and no");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory_agrees),       cmocka_unit_test(gguf_agrees),
        cmocka_unit_test(label_agrees),           cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(labels_do_not_generate), cmocka_unit_test(what_cannot_be_asked),
    };
    return cmocka_run_group_tests_name("rerank_causal", tests, NULL, NULL);
}

/* Cross-encoders with random weights against transformers (tests/golden/make_rerank.py,
 * make_xlmr.py): the whole way from two texts to a logit, from a Hugging Face directory and from
 * GGUF; truncation; files whose head is missing or incomplete. */
#include "common/test.h"

#include "base/file.h"
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TINY "tests/golden/data/tiny/"
#define FOLDER TINY "bert-rerank"
#define XLMR TINY "xlmr-rerank"

enum { MAX_PAIRS = 11 };

struct pair {
    const char *query, *document;
    size_t n_ids;
    uint8_t cut;
    double logit;
};

static json_t *read_pairs(const char *folder, struct pair *pairs, int n)
{
    json_error_t je;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/reference.json", folder);
    json_t *root = json_load_file(test_source_path(path), 0, &je);
    assert_non_null(root);
    const json_t *cases = json_object_get(root, "cases");
    assert_int_equal(json_array_size(cases), n);
    static const uint8_t cut[MAX_PAIRS] = {[5] = RANK_DOCUMENT_CUT,
                                           [6] = RANK_QUERY_CUT,
                                           [7] = RANK_QUERY_CUT | RANK_DOCUMENT_CUT,
                                           [8] = RANK_QUERY_CUT | RANK_DOCUMENT_CUT};
    for (int i = 0; i < n; i++) {
        const json_t *c = json_array_get(cases, (size_t)i);
        pairs[i] = (struct pair){json_string_value(json_object_get(c, "query")),
                                 json_string_value(json_object_get(c, "document")),
                                 json_array_size(json_object_get(c, "ids")),
                                 json_object_get(c, "cut")
                                     ? (uint8_t)json_integer_value(json_object_get(c, "cut"))
                                     : cut[i],
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
static void agree_as(const char *folder, int n_pairs, const char *path, bool exact, bool int8,
                     double bound)
{
    struct pair pairs[MAX_PAIRS];
    json_t *root = read_pairs(folder, pairs, n_pairs);
    struct engine *en = open_model(path, exact, int8, 1);
    double worst = 0;
    for (int i = 0; i < n_pairs; i++) {
        struct err e = {0};
        struct rank_report report;
        uint8_t flags;
        float logit;
        size_t n = strlen(pairs[i].document);
        struct rank_request q = request(pairs[i].query, &pairs[i].document, &n, 1);
        assert_ok_err(engine_rank(en, &q, &logit, &flags, &report, &e), &e);
        assert_int_equal(report.n_tokens, pairs[i].n_ids);
        assert_int_equal(flags, pairs[i].cut);
        assert_int_equal(report.n_truncated, pairs[i].cut != 0);
        worst = fmax(worst, fabs((double)logit - pairs[i].logit));
    }
    printf("%s, %s: %.2g\n", path, exact ? "exact" : int8 ? "int8" : "fast", worst);
    assert_true(worst < bound);
    engine_close(en);
    json_decref(root);
}

/* The definition, the fast pass and its bytes. */
static void agree(const char *folder, int n_pairs, const char *path, double int8_bound)
{
    agree_as(folder, n_pairs, path, true, false, 1e-5);
    agree_as(folder, n_pairs, path, false, false, 5e-3);
    agree_as(folder, n_pairs, path, false, true, int8_bound);
}

static void directory_agrees(void **state)
{
    (void)state;
    agree(FOLDER, 10, test_source_path(FOLDER), 4e-2);
}

static void gguf_agrees(void **state)
{
    (void)state;
    agree(FOLDER, 10, test_source_path(FOLDER "/bert-rerank.gguf"), 4e-2);
}

static void xlmr_agrees(void **state)
{
    (void)state;
    agree(XLMR, 11, test_source_path(XLMR), 1e-1);
    agree(XLMR, 11, test_source_path(XLMR "/xlmr-rerank.gguf"), 1e-1);
}

static void copy(const char *from, const char *to)
{
    struct err e = {0};
    struct buf b = {0};
    assert_ok_err(file_read(test_source_path(from), 1 << 20, &b, &e), &e);
    test_write_file(test_temp_path(to), b.data, b.len);
    buf_fini(&b);
}

/* sentencepiece.bpe.model alone: its pieces have other ids than the model's. */
static void xlmr_with_a_bare_sentencepiece_model_agrees(void **state)
{
    (void)state;
    const char *folder = test_temp_path("bare");
    assert_int_equal(mkdir(folder, 0700), 0);
    copy(XLMR "/config.json", "bare/config.json");
    copy(XLMR "/model.safetensors", "bare/model.safetensors");
    copy(XLMR "/sentencepiece.bpe.model", "bare/sentencepiece.bpe.model");
    agree(XLMR, 11, test_temp_path("bare"), 1e-1);
}

static void roberta_agrees(void **state)
{
    (void)state;
    agree(TINY "roberta-rerank", 11, test_source_path(TINY "roberta-rerank"), 1e-1);
}

/* One query, many documents: the same bits as alone, for any number of threads. */
static void company_changes_nothing(void **state)
{
    (void)state;
    enum { N_PAIRS = 10 };
    struct pair pairs[N_PAIRS];
    json_t *root = read_pairs(FOLDER, pairs, N_PAIRS);
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

static void heads_that_do_not_rank(void **state)
{
    (void)state;
    static const char *const files[] = {FOLDER "/bert-rerank.gguf", XLMR "/xlmr-rerank.gguf"};
    refused(test_source_path(TINY "bert-mean"), "no head that scores pairs");
    refused(test_source_path(TINY "xlmr-cls"), "no head that scores pairs");
    for (int i = 0; i < 2; i++) {
        refused(test_changed_copy(files[i], "cls.weight", "abc.weight"), "cls.weight");
        refused(test_changed_copy(files[i], "cls.output.weight", "cls.putout.weight"),
                "without a label");
    }
}

/* A copy of a GGUF reranker in which the dense layer and the head have each other's names: the head
 * then has 64 labels. */
static const char *with_many_labels(const char *file)
{
    static const char dense[] = "\x0a\0\0\0\0\0\0\0cls.weight";
    static const char head[] = "\x11\0\0\0\0\0\0\0cls.output.weight";
    struct err e = {0};
    struct buf b = {0}, to = {0};
    assert_ok_err(file_read(test_source_path(file), 1 << 20, &b, &e), &e);
    const char *at = memmem(b.data, b.len, dense, sizeof dense - 1);
    const char *other = memmem(b.data, b.len, head, sizeof head - 1);
    assert_non_null(at);
    assert_non_null(other);
    bool dense_first = at < other;
    const char *first = dense_first ? at : other, *second = dense_first ? other : at;
    size_t n_first = (dense_first ? sizeof dense : sizeof head) - 1;
    size_t n_second = (dense_first ? sizeof head : sizeof dense) - 1;
    buf_put(&to, b.data, (size_t)(first - b.data));
    buf_put(&to, second, n_second);
    buf_put(&to, first + n_first, (size_t)(second - first) - n_first);
    buf_put(&to, first, n_first);
    buf_put(&to, second + n_second, (size_t)(b.data + b.len - second) - n_second);
    assert_int_equal(to.len, b.len);
    const char *path = test_temp_path("many-labels");
    test_write_file(path, to.data, to.len);
    buf_fini(&b);
    buf_fini(&to);
    return path;
}

/* Classes are no score of a pair; what stands below such a head embeds as without it. */
static void several_labels_do_not_rank(void **state)
{
    (void)state;
    static const char *const files[] = {FOLDER "/bert-rerank.gguf", XLMR "/xlmr-rerank.gguf"};
    for (int i = 0; i < 2; i++) {
        const char *path = with_many_labels(files[i]);
        struct err e = {0};
        struct engine *en;
        struct engine_options opt = {.n_threads = 1};
        refused(path, "a classifier of several labels: not a reranker");
        assert_ok_err(engine_open(path, &opt, &en, &e), &e);
        assert_true(engine_info(en)->embeds);
        engine_close(en);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory_agrees),
        cmocka_unit_test(gguf_agrees),
        cmocka_unit_test(xlmr_agrees),
        cmocka_unit_test(xlmr_with_a_bare_sentencepiece_model_agrees),
        cmocka_unit_test(roberta_agrees),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(heads_that_do_not_rank),
        cmocka_unit_test(several_labels_do_not_rank),
    };
    return cmocka_run_group_tests_name("rerank", tests, NULL, NULL);
}

/* Forward passes of every architecture against transformers and sentence-transformers, on tiny
 * random models (tests/golden/make_tiny_models.py); the same bits for any threads and chunks;
 * cancellation, a full cache and refusals leave sequences as they were; no allocation after open.
 */
#include "common/test.h"

#include "model/model.h"
#include "model/vocab.h"
#include "model/weights.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const decoders[] = {"llama", "llama-yarn-sharded", "qwen2", "qwen3"};
static const char *const encoders[] = {"bert-mean", "bert-cls", "xlmr-mean", "xlmr-cls"};
enum { N_DECODERS = 4, N_ENCODERS = 4, MAX_IDS = 256 };

static struct model *open_tiny(const char *name, enum mul_mode mode, int n_threads, int max_batch)
{
    char path[128];
    struct err e = {0};
    struct model *m;
    struct model_options opt = {.n_threads = n_threads, .mode = mode, .max_batch = max_batch};
    snprintf(path, sizeof path, "tests/golden/data/tiny/%s", name);
    assert_ok_err(model_open(test_source_path(path), &opt, &m, &e), &e);
    return m;
}

static json_t *cases_of(const char *name, json_t **root)
{
    char path[128];
    json_error_t je;
    snprintf(path, sizeof path, "tests/golden/data/tiny/%s/reference.json", name);
    *root = json_load_file(test_source_path(path), 0, &je);
    assert_non_null(*root);
    return json_object_get(*root, "cases");
}

static size_t ids_of(const json_t *c, int32_t *ids)
{
    json_t *list = json_object_get(c, "ids");
    size_t n = json_array_size(list);
    assert_in_range(n, 1, MAX_IDS);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return n;
}

/* Largest difference, as a share of the largest expected value. */
static double difference(const float *got, const json_t *want)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < json_array_size(want); i++) {
        double w = json_number_value(json_array_get(want, i));
        worst = fmax(worst, fabs((double)got[i] - w));
        largest = fmax(largest, fabs(w));
    }
    return worst / largest;
}

/* Runs ids in chunks; logits of the last token. */
static void run_chunks(struct model *m, struct kv *kv, int32_t seq, const int32_t *ids, size_t n,
                       size_t chunk, float *logits)
{
    struct err e = {0};
    for (size_t at = 0; at < n; at += chunk) {
        struct model_run run = {
            .seq = seq, .ids = ids + at, .n_ids = (int64_t)(n - at < chunk ? n - at : chunk)};
        assert_ok_err(model_forward(m, kv, &run, 1, logits, NULL, &e), &e);
    }
}

static void decoders_agree_with_transformers(void **state)
{
    (void)state;
    for (int d = 0; d < N_DECODERS; d++) {
        struct err e = {0};
        struct model *m = open_tiny(decoders[d], MUL_EXACT, 1, 0);
        struct kv *kv;
        json_t *root, *cases = cases_of(decoders[d], &root);
        size_t n_vocab = (size_t)model_info(m)->n_vocab;
        float *logits = malloc(n_vocab * sizeof *logits);
        assert_ok_err(kv_open(m, 64, TYPE_F32, &kv, &e), &e);
        assert_int_equal(json_array_size(cases), 4);
        for (size_t c = 0; c < 4; c++) {
            int32_t ids[MAX_IDS], seq;
            size_t n = ids_of(json_array_get(cases, c), ids);
            json_t *want = json_object_get(json_array_get(cases, c), "logits");
            assert_int_equal(json_array_size(want), n_vocab);
            assert_ok_err(kv_seq_new(kv, &seq, &e), &e);
            run_chunks(m, kv, seq, ids, n, n, logits);
            assert_int_equal(kv_seq_len(kv, seq), n);
            double diff = difference(logits, want);
            printf("%s, %zu tokens: %.2g\n", decoders[d], n, diff);
            assert_true(diff < 1e-5);
            kv_seq_free(kv, seq);
        }
        assert_int_equal(kv_free_tokens(kv, -1), 64);
        free(logits);
        kv_close(kv);
        model_close(m);
        json_decref(root);
    }
}

/* The text of a case has these ids; of a longer one the beginning and the last. */
static void tokenizer_agrees(const struct vocab *v, const json_t *c, const int32_t *want, size_t n)
{
    struct err e = {0};
    struct ids ids = {0};
    const json_t *text = json_object_get(c, "text");
    assert_ok_err(vocab_encode(v, json_string_value(text), json_string_length(text),
                               ENCODE_ADD_SPECIAL | ENCODE_PARSE_SPECIAL, &ids, &e),
                  &e);
    assert_true(ids.n >= n);
    ids.data[n - 1] = ids.data[ids.n - 1];
    assert_memory_equal(ids.data, want, n * sizeof *want);
    ids_fini(&ids);
}

static void encoders_agree_with_sentence_transformers(void **state)
{
    (void)state;
    for (int d = 0; d < N_ENCODERS; d++) {
        struct err e = {0};
        struct model *m = open_tiny(encoders[d], MUL_EXACT, 2, 0);
        json_t *root, *cases = cases_of(encoders[d], &root);
        const struct model_info *mi = model_info(m);
        bool normalize = json_is_true(json_object_get(root, "normalize"));
        int n = (int)json_array_size(cases);
        int32_t ids[16][MAX_IDS];
        const int32_t *texts[16];
        int64_t lens[16];
        float out[16][32];
        assert_in_range(n, 1, 16);
        assert_int_equal(mi->d_model, 32);
        assert_string_equal(mi->pooling == POOL_CLS ? "cls" : "mean",
                            json_string_value(json_object_get(root, "pooling")));
        assert_int_equal(mi->normalize, normalize);
        for (int c = 0; c < n; c++) {
            texts[c] = ids[c];
            lens[c] = (int64_t)ids_of(json_array_get(cases, (size_t)c), ids[c]);
            tokenizer_agrees(model_vocab(m), json_array_get(cases, (size_t)c), ids[c],
                             (size_t)lens[c]);
        }
        float *rows = &out[0][0];
        assert_ok_err(model_embed(m, texts, lens, n, mi->pooling, normalize, rows, &e), &e);
        for (int c = 0; c < n; c++) {
            json_t *want = json_object_get(json_array_get(cases, (size_t)c), "embedding");
            double diff = difference(rows + c * 32, want);
            printf("%s case %d (%d tokens): %.2g\n", encoders[d], c, (int)lens[c], diff);
            assert_true(diff < 1e-5);
        }
        /* alone as in company */
        float alone[32];
        assert_ok_err(model_embed(m, &texts[2], &lens[2], 1, mi->pooling, normalize, alone, &e),
                      &e);
        assert_memory_equal(alone, rows + 2 * 32, sizeof alone);
        model_close(m);
        json_decref(root);
    }
}

static void same_bits(const char *name, enum mul_mode mode)
{
    /* many threads with few passes: more threads than cores make barriers slow */
    static const struct {
        int threads;
        size_t chunk;
    } ways[] = {{1, 48}, {1, 1}, {1, 7}, {2, 48}, {2, 7}, {4, 48}};
    float first[512], logits[512];
    json_t *root, *cases = cases_of(name, &root);
    int32_t ids[MAX_IDS], seq;
    assert_int_equal(ids_of(json_array_get(cases, 3), ids), 48);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct err e = {0};
        struct model *m = open_tiny(name, mode, ways[i].threads, 0);
        struct kv *kv;
        size_t bytes = (size_t)model_info(m)->n_vocab * sizeof *logits;
        assert_true(bytes <= sizeof logits);
        assert_int_equal(model_threads(m), ways[i].threads);
        assert_ok_err(kv_open(m, 64, TYPE_F16, &kv, &e), &e);
        assert_ok_err(kv_seq_new(kv, &seq, &e), &e);
        run_chunks(m, kv, seq, ids, 48, ways[i].chunk, logits);
        if (i == 0) {
            memcpy(first, logits, bytes);
        }
        assert_memory_equal(logits, first, bytes);
        kv_close(kv);
        model_close(m);
    }
    json_decref(root);
}

static void bits_depend_neither_on_threads_nor_on_chunks(void **state)
{
    (void)state;
    for (int d = 0; d < N_DECODERS; d++) {
        same_bits(decoders[d], MUL_DEFAULT);
        same_bits(decoders[d], MUL_EXACT);
    }
}

/* Prompts that workers divide by their tokens, after others and before; cancelled, they leave
 * nothing. */
static void long_prompts_give_the_same_bits(void **state)
{
    (void)state;
    enum { LONG = 420 };
    static const int64_t chunks[] = {420, 420, 301, 64}, threads[] = {1, 2, 3, 2};
    int32_t ids[LONG];
    for (int i = 0; i < 2 * N_DECODERS; i++) {
        enum mul_mode mode = i % 2 ? MUL_EXACT : MUL_DEFAULT;
        float first[512], logits[512];
        for (size_t w = 0; w < sizeof chunks / sizeof chunks[0]; w++) {
            struct err e = {0};
            struct model *m = open_tiny(decoders[i / 2], mode, (int)threads[w], 0);
            struct kv *kv;
            int32_t seq;
            volatile bool cancel = true;
            size_t bytes = (size_t)model_info(m)->n_vocab * sizeof *logits;
            for (int t = 0; t < LONG; t++) {
                ids[t] = (int32_t)((t * 37 + 11) % model_info(m)->n_vocab);
            }
            assert_ok_err(kv_open(m, LONG + 32, TYPE_F16, &kv, &e), &e);
            assert_ok_err(kv_seq_new(kv, &seq, &e), &e);
            struct model_run all = {.seq = seq, .ids = ids, .n_ids = LONG};
            assert_status(model_forward(m, kv, &all, 1, logits, &cancel, &e), ERR_CANCELLED);
            assert_int_equal(kv_seq_len(kv, seq), 0);
            run_chunks(m, kv, seq, ids, LONG, (size_t)chunks[w], logits);
            if (w == 0) {
                memcpy(first, logits, bytes);
            }
            assert_memory_equal(logits, first, bytes);
            kv_close(kv);
            model_close(m);
        }
    }
}

static void runs_of_a_batch_do_not_see_each_other(void **state)
{
    (void)state;
    struct err e = {0};
    struct model *m = open_tiny("llama", MUL_DEFAULT, 2, 0);
    struct kv *kv;
    const int32_t a[5] = {1, 2, 3, 4, 5}, b[3] = {9, 8, 7};
    int32_t sa, sb, alone;
    size_t n_vocab = (size_t)model_info(m)->n_vocab;
    float *both = malloc(6 * n_vocab * sizeof *both), *one = malloc(n_vocab * sizeof *one);
    assert_ok_err(kv_open(m, 160, TYPE_F16, &kv, &e), &e);
    assert_ok(kv_seq_new(kv, &sa, &e));
    assert_ok(kv_seq_new(kv, &sb, &e));
    assert_ok(kv_seq_new(kv, &alone, &e));
    struct model_run runs[2] = {{.seq = sa, .ids = a, .n_ids = 5, .all_logits = true},
                                {.seq = sb, .ids = b, .n_ids = 3}};
    assert_ok_err(model_forward(m, kv, runs, 2, both, NULL, &e), &e);
    run_chunks(m, kv, alone, b, 3, 2, one);
    assert_memory_equal(both + 5 * n_vocab, one, n_vocab * sizeof *one);
    kv_seq_truncate(kv, alone, 0);
    for (size_t i = 0; i < 5; i++) { /* every row's logits */
        run_chunks(m, kv, alone, a + i, 1, 1, one);
        assert_memory_equal(both + i * n_vocab, one, n_vocab * sizeof *one);
    }
    /* back to three tokens and on again */
    kv_seq_truncate(kv, alone, 3);
    assert_int_equal(kv_seq_len(kv, alone), 3);
    run_chunks(m, kv, alone, a + 3, 2, 2, one);
    assert_memory_equal(both + 4 * n_vocab, one, n_vocab * sizeof *one);
    free(both);
    free(one);
    kv_close(kv);
    model_close(m);
}

static void refusals_leave_sequences_as_they_were(void **state)
{
    (void)state;
    struct err e = {0};
    struct model *m = open_tiny("qwen3", MUL_DEFAULT, 1, 0);
    struct kv *kv;
    int32_t ids[80] = {0}, seq, other;
    float logits[512], again[512];
    size_t bytes = (size_t)model_info(m)->n_vocab * sizeof *logits;
    assert_ok_err(kv_open(m, 64, TYPE_Q8_0, &kv, &e), &e);
    assert_ok(kv_seq_new(kv, &seq, &e));
    assert_ok(kv_seq_new(kv, &other, &e));
    run_chunks(m, kv, seq, ids, 20, 20, logits);
    /* 12 more fit its block, one block is free */
    struct model_run runs[2] = {{.seq = seq, .ids = ids, .n_ids = 13},
                                {.seq = other, .ids = ids, .n_ids = 1}};
    assert_status(model_forward(m, kv, runs, 2, logits, NULL, &e), ERR_CONTEXT);
    assert_int_equal(kv_seq_len(kv, seq), 20);
    assert_int_equal(kv_seq_len(kv, other), 0);
    assert_int_equal(kv_free_tokens(kv, seq), 44);
    volatile bool cancel = true;
    struct model_run more = {.seq = seq, .ids = ids, .n_ids = 30};
    assert_status(model_forward(m, kv, &more, 1, logits, &cancel, &e), ERR_CANCELLED);
    assert_int_equal(kv_seq_len(kv, seq), 20);
    assert_int_equal(kv_free_tokens(kv, seq), 44);
    run_chunks(m, kv, seq, ids, 1, 1, logits); /* the cancelled rows left no trace */
    run_chunks(m, kv, other, ids, 21, 21, again);
    assert_memory_equal(logits, again, bytes);
    ids[0] = (int32_t)model_info(m)->n_vocab;
    more.n_ids = 1;
    assert_status(model_forward(m, kv, &more, 1, logits, NULL, &e), ERR_USAGE);
    ids[0] = -1;
    assert_status(model_forward(m, kv, &more, 1, logits, NULL, &e), ERR_USAGE);
    kv_close(kv);
    model_close(m);
}

/* Generative models embed by pooled states: mean of what `last` gives for each prefix. */
static void decoders_pool_their_states(void **state)
{
    (void)state;
    struct err e = {0};
    struct model *m = open_tiny("qwen2", MUL_EXACT, 2, 4); /* longer than a batch: in pieces */
    const int32_t ids[6] = {10, 20, 30, 40, 50, 60};
    const int32_t *texts[7];
    int64_t lens[7];
    float last[6 * 32], mean[2 * 32];
    assert_int_equal(model_info(m)->d_model, 32);
    for (int i = 0; i < 6; i++) {
        texts[i] = ids;
        lens[i] = i + 1;
    }
    assert_ok_err(model_embed(m, texts, lens, 6, POOL_LAST, false, last, &e), &e);
    assert_ok_err(model_embed(m, texts + 4, lens + 4, 2, POOL_MEAN, false, mean, &e), &e);
    for (int c = 0; c < 32; c++) {
        double sum = 0;
        for (int i = 0; i < 6; i++) {
            sum += (double)last[i * 32 + c];
            if (i >= 4) {
                assert_true(fabs(sum / (i + 1) - (double)mean[(i - 4) * 32 + c]) < 1e-5);
            }
        }
    }
    lens[0] = model_info(m)->n_ctx_train + 1;
    assert_status(model_embed(m, texts, lens, 1, POOL_MEAN, true, mean, &e), ERR_CONTEXT);
    assert_status(model_embed(m, texts, lens, 1, POOL_NONE, true, mean, &e), ERR_USAGE);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoders_agree_with_transformers),
        cmocka_unit_test(encoders_agree_with_sentence_transformers),
        cmocka_unit_test(bits_depend_neither_on_threads_nor_on_chunks),
        cmocka_unit_test(long_prompts_give_the_same_bits),
        cmocka_unit_test(runs_of_a_batch_do_not_see_each_other),
        cmocka_unit_test(refusals_leave_sequences_as_they_were),
        cmocka_unit_test(decoders_pool_their_states),
    };
    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}

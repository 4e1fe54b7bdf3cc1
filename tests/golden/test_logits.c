/* SmolLM2-135M (Q4_1) against independent implementations (tests/golden/make_logits.py):
 * transformers on the dequantised weights for the exact path, llama.cpp on the same file for the
 * fast one. Bounds are about twice what was measured; docs/accuracy.md has the figures. */
#include "common/test.h"
#include "common/lines.h"

#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IDS = 256, N_TOP = 10, N_GREEDY = 64, N_PROMPTS = 20 };

static const char *model_path;

struct smol {
    struct model *m;
    struct kv *kv;
    int32_t seq;
    float *logits;
    int64_t n_vocab;
};

static void smol_open(struct smol *s, enum mul_mode mode)
{
    struct err e = {0};
    struct model_options opt = {.n_threads = 1, .mode = mode};
    assert_ok_err(model_open(model_path, &opt, &s->m, &e), &e);
    assert_ok_err(kv_open(s->m, 512, mode == MUL_EXACT ? TYPE_F32 : TYPE_F16, &s->kv, &e), &e);
    assert_ok_err(kv_seq_new(s->kv, &s->seq, &e), &e);
    s->n_vocab = model_info(s->m)->n_vocab;
    s->logits = malloc((size_t)s->n_vocab * sizeof *s->logits);
}

static void smol_close(struct smol *s)
{
    free(s->logits);
    kv_close(s->kv);
    model_close(s->m);
}

static void feed(struct smol *s, const int32_t *ids, int64_t n)
{
    struct err e = {0};
    struct model_run run = {.seq = s->seq, .ids = ids, .n_ids = n};
    assert_ok_err(model_forward(s->m, s->kv, &run, 1, s->logits, NULL, &e), &e);
}

static double log_sum_exp(const struct smol *s)
{
    double best = -INFINITY, sum = 0;
    for (int64_t i = 0; i < s->n_vocab; i++) {
        best = fmax(best, (double)s->logits[i]);
    }
    for (int64_t i = 0; i < s->n_vocab; i++) {
        sum += exp((double)s->logits[i] - best);
    }
    return best + log(sum);
}

static int32_t best_id(const struct smol *s)
{
    int64_t best = 0;
    for (int64_t i = 1; i < s->n_vocab; i++) {
        best = s->logits[i] > s->logits[best] ? i : best;
    }
    return (int32_t)best;
}

static int64_t read_ids(struct lines *in, int32_t *ids)
{
    double v[MAX_IDS];
    size_t n = lines_numbers(in, "ids", v, MAX_IDS);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)v[i];
    }
    return (int64_t)n;
}

struct error_sums {
    double worst, squares;
    int n;
};

/* v: log-sum-exp, then (id, logit) of the best; differences are of log-probabilities, which do not
 * see a shift that is common to all logits. */
static void compare(const struct smol *s, const double *v, struct error_sums *sums)
{
    double lse = log_sum_exp(s);
    for (int i = 0; i < N_TOP; i++) {
        double want = v[2 + 2 * i] - v[0];
        double d = fabs((double)s->logits[(int64_t)v[1 + 2 * i]] - lse - want);
        sums->worst = fmax(sums->worst, d);
        sums->squares += d * d;
        sums->n++;
    }
}

static double rms(const struct error_sums *s)
{
    return sqrt(s->squares / s->n);
}

/* At three positions of each prompt; returns how many of the best tokens differ. */
static int compare_with_transformers(enum mul_mode mode, struct error_sums *sums)
{
    struct lines in;
    struct smol s;
    int32_t ids[MAX_IDS];
    int prompts = 0, differing = 0;
    smol_open(&s, mode);
    lines_open(&in, "tests/golden/data/smollm2_exact.txt");
    for (; *in.at; prompts++) {
        int64_t done = 0;
        (void)read_ids(&in, ids);
        kv_seq_truncate(s.kv, s.seq, 0);
        while (lines_next_is(&in, "at")) {
            double v[2 + 2 * N_TOP];
            assert_int_equal(lines_numbers(&in, "at", v, 2 + 2 * N_TOP), 2 + 2 * N_TOP);
            int64_t until = (int64_t)v[0] + 1;
            feed(&s, ids + done, until - done);
            done = until;
            compare(&s, v + 1, sums);
            differing += best_id(&s) != (int32_t)v[2];
        }
    }
    printf("%s path and transformers: %d log-probabilities of %d prompts, worst %.2g, rms %.2g\n",
           mode == MUL_EXACT ? "exact" : "fast", sums->n, prompts, sums->worst, rms(sums));
    assert_int_equal(prompts, N_PROMPTS);
    lines_close(&in);
    smol_close(&s);
    return differing;
}

static void exact_path_agrees_with_transformers(void **state)
{
    (void)state;
    struct error_sums sums = {0};
    assert_int_equal(compare_with_transformers(MUL_EXACT, &sums), 0);
    assert_true(sums.worst < 1e-4);
}

/* What eight bits of activations cost. */
static void fast_path_is_near_transformers(void **state)
{
    (void)state;
    struct error_sums sums = {0};
    (void)compare_with_transformers(MUL_DEFAULT, &sums);
    assert_true(rms(&sums) < 0.3);
}

/* llama.cpp's tokens are fed at every step, so that all 64 are compared and not only those before
 * the first difference. Where the best token differs, the two must be a tie: closer than what the
 * two ways of quantising activations differ by. */
static void fast_path_agrees_with_llamacpp(void **state)
{
    (void)state;
    struct lines in;
    struct smol s;
    struct error_sums sums = {0};
    int32_t ids[MAX_IDS], greedy[N_GREEDY];
    int prompts = 0, differing = 0;
    double worst_gap = 0;
    smol_open(&s, MUL_DEFAULT);
    lines_open(&in, "tests/golden/data/smollm2_llamacpp.txt");
    for (; *in.at; prompts++) {
        double v[MAX_IDS];
        int64_t n = read_ids(&in, ids);
        kv_seq_truncate(s.kv, s.seq, 0);
        feed(&s, ids, n);
        assert_int_equal(lines_numbers(&in, "top", v, MAX_IDS), 1 + 2 * N_TOP);
        compare(&s, v, &sums);
        assert_int_equal(lines_numbers(&in, "greedy", v, MAX_IDS), N_GREEDY);
        for (int i = 0; i < N_GREEDY; i++) {
            greedy[i] = (int32_t)v[i];
            double gap = (double)s.logits[best_id(&s)] - (double)s.logits[greedy[i]];
            worst_gap = fmax(worst_gap, gap);
            if (gap > 0) {
                differing++;
                printf("prompt %d, token %d: %d here, %d there, gap %.3f\n", prompts, i,
                       (int)best_id(&s), (int)greedy[i], gap);
            }
            feed(&s, &greedy[i], 1);
        }
    }
    printf(
        "fast path: worst %.3g, rms %.3g of %d log-probabilities; %d of %d greedy tokens differ, "
        "by at most %.3g\n",
        sums.worst, rms(&sums), sums.n, differing, prompts * N_GREEDY, worst_gap);
    assert_int_equal(prompts, N_PROMPTS);
    assert_true(rms(&sums) < 0.25);
    assert_true(worst_gap < 0.6);
    assert_true(differing < prompts * N_GREEDY / 20);
    lines_close(&in);
    smol_close(&s);
}

int main(void)
{
    model_path = test_model_path("SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!model_path) {
        return TEST_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_path_agrees_with_transformers),
        cmocka_unit_test(fast_path_is_near_transformers),
        cmocka_unit_test(fast_path_agrees_with_llamacpp),
    };
    return cmocka_run_group_tests_name("logits", tests, NULL, NULL);
}

/* Sampler: survivors and draws of every setting against numpy (tests/golden/data/sampler.txt),
 * refusals by name, logprobs. */
#include "common/test.h"
#include "common/lines.h"

#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 512 };

struct golden {
    char name[64];
    float logits[MAX_ITEMS];
    int32_t history[MAX_ITEMS];
    struct logit_bias bias[16];
    double keep[MAX_ITEMS]; /* probability by id, 0: dropped */
    int32_t draws[MAX_ITEMS];
    size_t n_vocab, n_history, n_bias, n_keep, n_draws;
    struct sampling set;
};

static void read_case(struct lines *in, struct golden *g)
{
    double v[MAX_ITEMS];
    *g = (struct golden){0};
    g->n_vocab = lines_numbers(in, "logits", v, MAX_ITEMS);
    for (size_t i = 0; i < g->n_vocab; i++) {
        g->logits[i] = (float)v[i];
    }
    g->n_history = lines_numbers(in, "history", v, MAX_ITEMS);
    for (size_t i = 0; i < g->n_history; i++) {
        g->history[i] = (int32_t)v[i];
    }
    g->n_bias = lines_numbers(in, "bias", v, MAX_ITEMS) / 2;
    for (size_t i = 0; i < g->n_bias; i++) {
        g->bias[i] = (struct logit_bias){(int32_t)v[2 * i], (float)v[2 * i + 1]};
    }
    assert_int_equal(lines_numbers(in, "set", v, MAX_ITEMS), 10);
    g->set = (struct sampling){.temperature = (float)v[0],
                               .top_k = (int32_t)v[1],
                               .top_p = (float)v[2],
                               .min_p = (float)v[3],
                               .typical_p = (float)v[4],
                               .repetition_penalty = (float)v[5],
                               .presence_penalty = (float)v[6],
                               .frequency_penalty = (float)v[7],
                               .penalty_window = (int32_t)v[8],
                               .seed = (uint64_t)v[9],
                               .bias = g->bias,
                               .n_bias = g->n_bias};
    g->n_keep = lines_numbers(in, "keep", v, MAX_ITEMS) / 2;
    for (size_t i = 0; i < g->n_keep; i++) {
        g->keep[(size_t)v[2 * i]] = v[2 * i + 1];
    }
    g->n_draws = lines_numbers(in, "draw", v, MAX_ITEMS);
    for (size_t i = 0; i < g->n_draws; i++) {
        g->draws[i] = (int32_t)v[i];
    }
}

static void check_survivors(const struct sampler *s, const struct golden *g)
{
    double best = -INFINITY, sum = 0;
    assert_int_equal(s->n_candidates, g->n_keep);
    for (size_t i = 0; i < s->n_candidates; i++) {
        best = fmax(best, (double)s->candidates[i].logit);
    }
    for (size_t i = 0; i < s->n_candidates; i++) {
        sum += exp(((double)s->candidates[i].logit - best) / (double)g->set.temperature);
    }
    for (size_t i = 0; i < s->n_candidates; i++) {
        const struct candidate *c = &s->candidates[i];
        double p = exp(((double)c->logit - best) / (double)g->set.temperature) / sum;
        if (fabs(p - g->keep[c->id]) > 1e-6) {
            fail_msg("%s: token %d has %.9g, expected %.9g", g->name, (int)c->id, p,
                     g->keep[c->id]);
        }
    }
}

static void settings_keep_and_draw_what_numpy_does(void **state)
{
    (void)state;
    struct err e = {0};
    struct lines in;
    char name[64];
    int n_cases = 0;
    lines_open(&in, "tests/golden/data/sampler.txt");
    for (; lines_word(&in, "case", name, sizeof name); n_cases++) {
        static struct golden g;
        float logits[MAX_ITEMS];
        struct sampler s;
        read_case(&in, &g);
        memcpy(g.name, name, sizeof name);
        assert_ok_err(sampler_init(&s, (int64_t)g.n_vocab, &e), &e);
        assert_ok_err(sampler_begin(&s, &g.set, &e), &e);
        for (size_t i = 0; i < g.n_draws; i++) {
            int32_t id = -1;
            memcpy(logits, g.logits, g.n_vocab * sizeof *logits);
            assert_ok_err(sampler_pick(&s, logits, g.history, g.n_history, &id, &e), &e);
            if (id != g.draws[i]) {
                fail_msg("%s: draw %zu is %d, expected %d", g.name, i, (int)id, (int)g.draws[i]);
            }
            if (g.set.temperature > 0) {
                check_survivors(&s, &g);
            }
        }
        sampler_fini(&s);
    }
    assert_int_equal(n_cases, 18);
    lines_close(&in);
}

static void refuse(const struct sampling *set, const char *place)
{
    struct sampler s;
    struct err e = {0};
    assert_ok(sampler_init(&s, 10, &e));
    assert_status(sampler_begin(&s, set, &e), ERR_USAGE);
    assert_string_equal(e.place, place);
    sampler_fini(&s);
}

static void settings_out_of_range_are_refused_by_name(void **state)
{
    (void)state;
    refuse(&(struct sampling){.temperature = -1}, "temperature");
    refuse(&(struct sampling){.temperature = NAN}, "temperature");
    refuse(&(struct sampling){.top_p = 1.5f}, "top_p");
    refuse(&(struct sampling){.min_p = -0.1f}, "min_p");
    refuse(&(struct sampling){.typical_p = 2}, "typical_p");
    refuse(&(struct sampling){.top_k = -1}, "top_k");
    refuse(&(struct sampling){.penalty_window = -2}, "penalty_window");
    refuse(&(struct sampling){.repetition_penalty = -1}, "repetition_penalty");
    struct logit_bias bias = {10, 1};
    refuse(&(struct sampling){.bias = &bias, .n_bias = 1}, "logit_bias");
    bias = (struct logit_bias){1, INFINITY};
    refuse(&(struct sampling){.bias = &bias, .n_bias = 1}, "logit_bias");
}

static void nothing_to_pick_is_an_error(void **state)
{
    (void)state;
    struct sampler s;
    struct err e = {0};
    int32_t id = 7;
    struct logit_bias all[2] = {{0, -INFINITY}, {1, -INFINITY}};
    assert_ok(sampler_init(&s, 2, &e));
    for (int hot = 0; hot < 2; hot++) {
        float logits[2] = {1, 2}, nonsense[2] = {NAN, -INFINITY};
        struct sampling set = {.temperature = (float)hot, .bias = all, .n_bias = 2};
        assert_ok(sampler_begin(&s, &set, &e));
        assert_status(sampler_pick(&s, logits, NULL, 0, &id, &e), ERR_USAGE);
        set.n_bias = 0;
        assert_ok(sampler_begin(&s, &set, &e));
        assert_status(sampler_pick(&s, nonsense, NULL, 0, &id, &e), ERR_FORMAT);
    }
    assert_int_equal(id, 7);
    sampler_fini(&s);
}

/* Of a vocabulary of several blocks: infinities and what is no number do not count, and of equals
 * the first is taken. */
static void greedy_takes_the_first_of_the_largest(void **state)
{
    (void)state;
    enum { N = 10007 };
    static float logits[N];
    static const int32_t places[] = {0, 1, 17, 4095, 4096, 4100, 8191, 8192, 10000, N - 1};
    struct sampler s;
    struct err e = {0};
    struct sampling set = {0};
    assert_ok(sampler_init(&s, N, &e));
    assert_ok(sampler_begin(&s, &set, &e));
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        for (size_t k = i; k < sizeof places / sizeof places[0]; k++) {
            int32_t id = -1;
            for (size_t j = 0; j < N; j++) {
                logits[j] = -3 - (float)(j % 100);
            }
            logits[50] = logits[9000] = INFINITY;
            logits[51] = logits[5000] = NAN;
            logits[places[i]] = logits[places[k]] = -2;
            assert_ok(sampler_pick(&s, logits, NULL, 0, &id, &e));
            assert_int_equal(id, places[i]);
        }
    }
    sampler_fini(&s);
}

static void logprobs_are_of_the_whole_row(void **state)
{
    (void)state;
    float logits[5] = {1, 3, 2, 3, -INFINITY};
    struct token_logprob out[4];
    sampler_logprobs(logits, 5, 2, 3, out);
    /* log(e^1 + 2 e^3 + e^2) = 3.9185... computed with bc */
    double norm = 3.0 + log(2.0 + exp(-1.0) + exp(-2.0));
    const int32_t ids[4] = {2, 1, 3, 2};
    const double want[4] = {2 - norm, 3 - norm, 3 - norm, 2 - norm};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(out[i].id, ids[i]);
        assert_true(fabs((double)out[i].logprob - want[i]) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_keep_and_draw_what_numpy_does),
        cmocka_unit_test(settings_out_of_range_are_refused_by_name),
        cmocka_unit_test(nothing_to_pick_is_an_error),
        cmocka_unit_test(greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(logprobs_are_of_the_whole_row),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}

/* Sessions on a tiny random model: prefix reuse, limits refused before work, cancellation, stops,
 * logprobs, seeds, sessions beside each other. */
#include "common/test.h"

#include "engine/session.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_PROMPT = 20, N_CTX = 128 };

static struct engine *open_engine(int max_batch, int64_t n_ctx)
{
    struct err e = {0};
    struct engine *en;
    struct engine_options opt = {.n_threads = 1, .n_ctx = n_ctx, .max_batch = max_batch};
    assert_ok_err(engine_open(test_source_path("tests/golden/data/tiny/llama"), &opt, &en, &e), &e);
    return en;
}

static struct session *open_session(struct engine *en)
{
    struct err e = {0};
    struct session *s;
    assert_ok_err(session_new(en, &s, &e), &e);
    return s;
}

static void make_prompt(int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)(30 + i * 7 % 200);
    }
}

static void a_prefix_is_computed_once(void **state)
{
    (void)state;
    struct err e = {0};
    struct engine *en = open_engine(8, N_CTX);
    struct session *s = open_session(en), *fresh = open_session(en);
    struct generate_options opt = {.max_tokens = 10, .n_logprobs = -1, .ignore_eos = true};
    struct generation g, again;
    int32_t ids[64];
    make_prompt(ids, N_PROMPT);
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_int_equal(g.n_prompt, N_PROMPT);
    assert_int_equal(g.n_prompt_reused, 0);
    assert_int_equal(g.ids.n, 10);
    assert_string_equal(stop_reason_name(g.reason), "length");

    /* the next turn: prompt, answer (its last token was never run) and five more */
    memcpy(ids + N_PROMPT, g.ids.data, 10 * sizeof *ids);
    for (int i = 30; i < 35; i++) {
        ids[i] = 40;
    }
    generation_fini(&g);
    assert_ok_err(session_generate(s, ids, 35, &opt, &g, &e), &e);
    assert_int_equal(g.n_prompt_reused, 29);
    assert_ok_err(session_generate(fresh, ids, 35, &opt, &again, &e), &e);
    assert_int_equal(again.n_prompt_reused, 0);
    assert_int_equal(again.ids.n, 10);
    assert_memory_equal(g.ids.data, again.ids.data, 10 * sizeof *ids);
    generation_fini(&g);
    generation_fini(&again);

    /* the same prompt again: all but its last token; another one: nothing */
    assert_ok_err(session_generate(s, ids, 35, &opt, &g, &e), &e);
    assert_int_equal(g.n_prompt_reused, 34);
    generation_fini(&g);
    ids[0] = 31;
    assert_ok_err(session_generate(s, ids, 35, &opt, &g, &e), &e);
    assert_int_equal(g.n_prompt_reused, 0);
    generation_fini(&g);
    session_reset(s);
    assert_ok_err(session_generate(s, ids, 35, &opt, &g, &e), &e);
    assert_int_equal(g.n_prompt_reused, 0);
    generation_fini(&g);
    session_free(s);
    session_free(fresh);
    engine_close(en);
}

static void count_prompt(void *ctx, int64_t done, int64_t total)
{
    int64_t *seen = ctx;
    seen[0]++;
    seen[1] = done;
    seen[2] = total;
}

static void what_cannot_fit_is_refused_before_any_work(void **state)
{
    (void)state;
    struct err e = {0};
    struct engine *en = open_engine(8, 64);
    struct session *s = open_session(en);
    int32_t ids[80];
    int64_t seen[3] = {0};
    struct generation g;
    struct generate_options opt = {.max_tokens = 45,
                                   .n_logprobs = -1,
                                   .ignore_eos = true,
                                   .on_prompt = count_prompt,
                                   .ctx = seen};
    make_prompt(ids, 80);
    assert_status(session_generate(s, ids, N_PROMPT, &opt, &g, &e), ERR_CONTEXT);
    assert_string_equal(e.message,
                        "the prompt has 20 tokens and 45 may be generated, the context has 64");
    opt.max_tokens = 0;
    assert_status(session_generate(s, ids, 64, &opt, &g, &e), ERR_CONTEXT);
    assert_status(session_generate(s, ids, 0, &opt, &g, &e), ERR_USAGE);
    assert_int_equal(seen[0], 0);
    ids[3] = 288;
    assert_status(session_generate(s, ids, N_PROMPT, &opt, &g, &e), ERR_USAGE);
    ids[3] = 33;
    opt.max_tokens = -1;
    assert_status(session_generate(s, ids, N_PROMPT, &opt, &g, &e), ERR_USAGE);
    assert_string_equal(e.place, "max_tokens");
    opt.max_tokens = 44;
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_int_equal(g.ids.n, 44);
    assert_int_equal(seen[0], 3); /* 8, 16, 20 */
    assert_int_equal(seen[1], 20);
    assert_int_equal(seen[2], 20);
    generation_fini(&g);
    opt.max_tokens = 0; /* until the context is full */
    assert_ok_err(session_generate(s, ids, 60, &opt, &g, &e), &e);
    assert_int_equal(g.ids.n, 4);
    generation_fini(&g);

    /* the pool is shared: 63 of its 64 positions are the first session's */
    struct session *other = open_session(en);
    opt.max_tokens = 1;
    assert_status(session_generate(other, ids, N_PROMPT, &opt, &g, &e), ERR_CONTEXT);
    session_reset(s);
    assert_ok_err(session_generate(other, ids, N_PROMPT, &opt, &g, &e), &e);
    generation_fini(&g);
    session_free(other);
    session_free(s);
    engine_close(en);
}

struct watcher {
    struct buf text;
    int calls, stop_at;
    volatile bool cancel;
    int cancel_at;
};

static bool watch(void *ctx, const char *text, size_t n)
{
    struct watcher *w = ctx;
    buf_put(&w->text, text, n);
    w->calls++;
    w->cancel = w->calls == w->cancel_at;
    return w->calls != w->stop_at;
}

static void stops_and_cancels(void **state)
{
    (void)state;
    struct err e = {0};
    struct engine *en = open_engine(0, N_CTX);
    struct session *s = open_session(en);
    int32_t ids[N_PROMPT];
    struct generation whole, g;
    make_prompt(ids, N_PROMPT);
    struct watcher w = {0};
    struct generate_options opt = {.max_tokens = 40,
                                   .n_logprobs = -1,
                                   .ignore_eos = true,
                                   .sampling = {.temperature = 1, .seed = 5},
                                   .on_text = watch,
                                   .ctx = &w};
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &whole, &e), &e);
    assert_true(whole.text.len > 8);
    assert_int_equal(w.text.len, whole.text.len);
    assert_memory_equal(w.text.data, whole.text.data, w.text.len);

    /* a stop string out of the middle of the text */
    char stop[8] = {0};
    const char *stops[1] = {stop};
    size_t at = whole.text.len / 2;
    while (((unsigned char)whole.text.data[at] & 0xC0) == 0x80) {
        at++;
    }
    memcpy(stop, whole.text.data + at, 3);
    size_t first = (size_t)(strstr(whole.text.data, stop) - whole.text.data);
    buf_reset(&w.text);
    opt.stop = stops;
    opt.n_stop = 1;
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_string_equal(stop_reason_name(g.reason), "stop_string");
    assert_int_equal(g.text.len, first);
    assert_int_equal(w.text.len, first);
    assert_memory_equal(g.text.data, whole.text.data, first);
    generation_fini(&g);
    opt.n_stop = 0;

    w = (struct watcher){.text = w.text, .stop_at = 2};
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_string_equal(stop_reason_name(g.reason), "caller");
    assert_int_equal(w.calls, 2);
    generation_fini(&g);

    w = (struct watcher){.text = w.text, .cancel_at = 3};
    opt.cancel = &w.cancel;
    assert_status(session_generate(s, ids, N_PROMPT, &opt, &g, &e), ERR_CANCELLED);
    assert_int_equal(w.calls, 3);
    w = (struct watcher){.text = w.text}; /* the session is as good as new */
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_int_equal(g.n_prompt_reused, N_PROMPT - 1);
    assert_int_equal(g.ids.n, whole.ids.n);
    assert_memory_equal(g.ids.data, whole.ids.data, g.ids.n * sizeof *g.ids.data);
    generation_fini(&g);

    /* an end token ends: force one by bias */
    int32_t end = 286; /* <|im_end|> */
    struct logit_bias bias = {end, 1000};
    opt.sampling.bias = &bias;
    opt.sampling.n_bias = 1;
    opt.ignore_eos = false;
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_string_equal(stop_reason_name(g.reason), "stop");
    assert_int_equal(g.ids.n, 0);
    assert_int_equal(g.text.len, 0);
    generation_fini(&g);
    generation_fini(&whole);
    buf_fini(&w.text);
    session_free(s);
    engine_close(en);
}

static void logprobs_belong_to_the_model(void **state)
{
    (void)state;
    struct err e = {0};
    struct engine *en = open_engine(0, N_CTX);
    struct session *s = open_session(en);
    int32_t ids[N_PROMPT];
    struct generation g, plain;
    make_prompt(ids, N_PROMPT);
    struct generate_options opt = {.max_tokens = 5, .n_logprobs = 3, .ignore_eos = true};
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &plain, &e), &e);
    for (size_t i = 0; i < 5; i++) {
        const struct token_logprob *row = plain.logprobs + i * 4;
        assert_int_equal(row[0].id, plain.ids.data[i]);
        assert_int_equal(row[1].id, plain.ids.data[i]); /* greedy takes the best */
        assert_true(row[0].logprob == row[1].logprob && row[1].logprob < 0);
        assert_true(row[1].logprob >= row[2].logprob && row[2].logprob >= row[3].logprob);
    }
    /* forbidding the best gives the second, whose logprob is still the model's */
    struct logit_bias bias = {plain.ids.data[0], -INFINITY};
    opt.sampling.bias = &bias;
    opt.sampling.n_bias = 1;
    opt.max_tokens = 1;
    assert_ok_err(session_generate(s, ids, N_PROMPT, &opt, &g, &e), &e);
    assert_int_equal(g.ids.data[0], plain.logprobs[2].id);
    assert_true(g.logprobs[0].logprob == plain.logprobs[2].logprob);
    assert_int_equal(g.logprobs[1].id, plain.ids.data[0]);
    generation_fini(&g);
    opt.n_logprobs = 21;
    assert_status(session_generate(s, ids, N_PROMPT, &opt, &g, &e), ERR_USAGE);
    generation_fini(&plain);
    session_free(s);
    engine_close(en);
}

struct job {
    struct engine *en;
    uint64_t seed;
    struct generation g;
    enum status status;
};

static void *run_job(void *ctx)
{
    struct job *j = ctx;
    struct session *s;
    int32_t ids[N_PROMPT];
    struct generate_options opt = {.max_tokens = 12,
                                   .n_logprobs = -1,
                                   .ignore_eos = true,
                                   .sampling = {.temperature = 20, .seed = j->seed}};
    make_prompt(ids, N_PROMPT);
    j->status = session_new(j->en, &s, NULL);
    if (!j->status) {
        j->status = session_generate(s, ids, N_PROMPT, &opt, &j->g, NULL);
        session_free(s);
    }
    return NULL;
}

static void neighbours_and_seeds(void **state)
{
    (void)state;
    enum { N_JOBS = 3 };
    struct engine *en = open_engine(8, 256);
    struct job alone[N_JOBS] = {{0}}, beside[N_JOBS] = {{0}};
    pthread_t threads[N_JOBS];
    for (int i = 0; i < N_JOBS; i++) {
        alone[i] = beside[i] = (struct job){.en = en, .seed = (uint64_t)(i + 1)};
        (void)run_job(&alone[i]);
        assert_ok(alone[i].status);
        assert_int_equal(alone[i].g.ids.n, 12);
    }
    for (int i = 0; i < N_JOBS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &beside[i]), 0);
    }
    for (int i = 0; i < N_JOBS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_ok(beside[i].status);
        assert_int_equal(beside[i].g.ids.n, 12);
        assert_memory_equal(beside[i].g.ids.data, alone[i].g.ids.data, 12 * sizeof(int32_t));
    }
    assert_memory_not_equal(alone[0].g.ids.data, alone[1].g.ids.data, 12 * sizeof(int32_t));
    for (int i = 0; i < N_JOBS; i++) {
        generation_fini(&alone[i].g);
        generation_fini(&beside[i].g);
    }
    engine_close(en);
}

static void measurements_run(void **state)
{
    (void)state;
    struct err e = {0};
    struct engine *en = open_engine(16, 64);
    struct session *s = open_session(en);
    double seconds = -1;
    assert_ok_err(session_bench_prompt(s, 0, 40, &seconds, &e), &e);
    assert_true(seconds > 0);
    seconds = -1;
    assert_ok_err(session_bench_steps(s, 50, 8, &seconds, &e), &e);
    assert_true(seconds > 0);
    assert_ok_err(session_bench_steps(s, 20, 3, &seconds, &e), &e); /* back, and from empty */
    session_reset(s);
    assert_ok_err(session_bench_steps(s, 0, 64, &seconds, &e), &e);
    assert_ok_err(session_bench_prompt(s, 0, 64, &seconds, &e), &e);
    seconds = -1;
    assert_status(session_bench_prompt(s, 0, 65, &seconds, &e), ERR_CONTEXT);
    assert_ok_err(session_bench_prompt(s, 40, 24, &seconds, &e), &e);
    seconds = -1;
    assert_status(session_bench_prompt(s, 40, 25, &seconds, &e), ERR_CONTEXT);
    assert_status(session_bench_steps(s, 60, 5, &seconds, &e), ERR_CONTEXT);
    assert_status(session_bench_steps(s, -1, 5, &seconds, &e), ERR_CONTEXT);
    assert_true(seconds < 0); /* untouched on failure */
    session_free(s);
    engine_close(en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_is_computed_once),
        cmocka_unit_test(what_cannot_fit_is_refused_before_any_work),
        cmocka_unit_test(stops_and_cancels),
        cmocka_unit_test(logprobs_belong_to_the_model),
        cmocka_unit_test(neighbours_and_seeds),
        cmocka_unit_test(measurements_run),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}

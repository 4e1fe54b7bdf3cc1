/* A session: see session.h. States of a call: check (no work yet) -> prompt (chunks of max_batch
 * rows) -> steps (sample, give text, run one token) -> done.
 *
 * Invariant: ids[0..n) are exactly the tokens whose keys and values the sequence holds, whatever
 * happened to the last call; so the next prompt may reuse any common prefix. The last sampled token
 * is not among them: nobody needs its logits. */
#include "engine/session.h"

#include "base/sys.h"
#include "engine/engine_internal.h"
#include "engine/sampler.h"
#include "engine/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct session {
    struct engine *en;
    int32_t seq;
    bool has_seq;
    int32_t *ids; /* [n_ctx] */
    size_t n;
    float *logits, *raw; /* [n_vocab] of the last row; its copy when logprobs are asked for */
    struct sampler sampler;
    struct buf piece; /* bytes of one token */
};

const char *stop_reason_name(enum stop_reason r)
{
    static const char *const names[] = {[STOP_END] = "stop",
                                        [STOP_LENGTH] = "length",
                                        [STOP_STRING] = "stop_string",
                                        [STOP_CALLER] = "caller"};
    return names[r];
}

enum status session_new(struct engine *en, struct session **out, struct err *e)
{
    if (!en->info.generates) {
        return err_set(e, ERR_USAGE, en->info.path, "%s is %s: it does not generate", en->info.name,
                       en->info.embeds ? "an encoder" : "a reranker");
    }
    struct session *s = calloc(1, sizeof *s);
    if (!s) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a session");
    }
    s->en = en;
    s->ids = mem_aligned((size_t)en->info.n_ctx, sizeof *s->ids);
    s->logits = mem_aligned((size_t)en->info.n_vocab, sizeof *s->logits);
    s->raw = mem_aligned((size_t)en->info.n_vocab, sizeof *s->raw);
    enum status st = s->ids && s->logits && s->raw && buf_reserve(&s->piece, 256)
                         ? sampler_init(&s->sampler, en->info.n_vocab, e)
                         : err_set(e, ERR_MEMORY, NULL, "no memory for a session");
    if (!st) {
        engine_lock(en);
        st = kv_seq_new(en->kv, &s->seq, e);
        engine_unlock(en);
        s->has_seq = !st;
    }
    if (st) {
        session_free(s);
        return st;
    }
    *out = s;
    return OK;
}

static void keep(struct session *s, size_t n)
{
    engine_lock(s->en);
    kv_seq_truncate(s->en->kv, s->seq, (int64_t)n);
    engine_unlock(s->en);
    s->n = n;
}

void session_free(struct session *s)
{
    if (!s) {
        return;
    }
    if (s->has_seq) {
        engine_lock(s->en);
        kv_seq_free(s->en->kv, s->seq);
        engine_unlock(s->en);
    }
    sampler_fini(&s->sampler);
    buf_fini(&s->piece);
    free(s->raw);
    free(s->logits);
    free(s->ids);
    free(s);
}

struct engine *session_engine(struct session *s)
{
    return s->en;
}

void session_reset(struct session *s)
{
    keep(s, 0);
}

void generation_fini(struct generation *g)
{
    buf_fini(&g->text);
    token_ids_fini(&g->ids);
    free(g->logprobs);
    *g = (struct generation){0};
}

/* Appends tokens in chunks; logits of the last one end in s->logits when asked for. */
static enum status run_tokens(struct session *s, const int32_t *ids, size_t n, bool want_logits,
                              const struct generate_options *opt, size_t total, struct err *e)
{
    struct engine *en = s->en;
    for (size_t at = 0; at < n;) {
        size_t k = n - at < (size_t)en->max_batch ? n - at : (size_t)en->max_batch;
        struct model_run run = {.seq = s->seq, .ids = ids + at, .n_ids = (int64_t)k};
        bool last = at + k == n;
        engine_lock(en);
        enum status st =
            model_forward(en->model, en->kv, &run, 1, last && want_logits ? s->logits : NULL,
                          opt ? opt->cancel : NULL, e);
        engine_unlock(en);
        if (st) {
            return st;
        }
        memcpy(s->ids + s->n, ids + at, k * sizeof *ids);
        s->n += k;
        at += k;
        if (opt && opt->on_prompt && total) {
            opt->on_prompt(opt->ctx, (int64_t)s->n, (int64_t)total);
        }
    }
    return OK;
}

static size_t common_prefix(const struct session *s, const int32_t *prompt, size_t n)
{
    size_t k = 0, most = s->n < n - 1 ? s->n : n - 1; /* the last token's logits are needed */
    while (k < most && s->ids[k] == prompt[k]) {
        k++;
    }
    return k;
}

static enum status check_options(struct session *s, const struct generate_options *opt,
                                 struct err *e)
{
    if (opt->max_tokens < 0) {
        return err_set(e, ERR_USAGE, "max_tokens", "%lld is negative", (long long)opt->max_tokens);
    }
    if (opt->n_logprobs < -1 || opt->n_logprobs > 20) {
        return err_set(e, ERR_USAGE, "logprobs", "%d is not between -1 and 20", opt->n_logprobs);
    }
    if (opt->n_logprobs > s->en->info.n_vocab) {
        return err_set(e, ERR_USAGE, "logprobs", "%d of a vocabulary of %lld", opt->n_logprobs,
                       (long long)s->en->info.n_vocab);
    }
    for (size_t i = 0; i < opt->n_stop; i++) {
        if (!opt->stop[i] || !opt->stop[i][0]) {
            return err_set(e, ERR_USAGE, "stop", "an empty stop string");
        }
    }
    return sampler_begin(&s->sampler, &opt->sampling, e);
}

/* *budget: how many tokens may be generated. */
static enum status check_prompt(struct session *s, const int32_t *prompt, size_t n,
                                const struct generate_options *opt, int64_t *budget, struct err *e)
{
    int64_t limit = s->en->info.n_ctx, want = opt->max_tokens ? opt->max_tokens : 1;
    if (n == 0) {
        return err_set(e, ERR_USAGE, NULL, "the prompt has no tokens");
    }
    if ((uint64_t)n > (uint64_t)limit || want > limit - (int64_t)n) {
        return err_set(e, ERR_CONTEXT, NULL,
                       "the prompt has %zu tokens and %lld may be generated, the context has %lld",
                       n, (long long)want, (long long)limit);
    }
    for (size_t i = 0; i < n; i++) {
        if (prompt[i] < 0 || prompt[i] >= s->en->info.n_vocab) {
            return err_set(e, ERR_USAGE, NULL, "token %d is not in the vocabulary (0 to %lld)",
                           (int)prompt[i], (long long)s->en->info.n_vocab - 1);
        }
    }
    engine_lock(s->en); /* other sessions hold a part of the pool */
    int64_t room = kv_free_tokens(s->en->kv, s->seq) + kv_seq_len(s->en->kv, s->seq);
    engine_unlock(s->en);
    if ((int64_t)n + want - 1 > room) {
        return err_set(e, ERR_CONTEXT, NULL,
                       "%lld tokens are needed, %lld of the context's %lld are free beside the "
                       "other sessions",
                       (long long)n + want - 1, (long long)room, (long long)limit);
    }
    int64_t most = (limit < room + 1 ? limit : room + 1) - (int64_t)n;
    *budget = opt->max_tokens ? opt->max_tokens : most;
    return OK;
}

/* Everything a generation may need, before its first step. */
static enum status prepare(struct generation *g, struct stream *stream,
                           const struct generate_options *opt, int64_t budget, struct err *e)
{
    size_t rows = (size_t)budget, row = (size_t)(1 + opt->n_logprobs);
    bool ok = stream_reserve(stream, rows * 8 < 1 << 20 ? rows * 8 : 1 << 20);
    g->n_logprobs = opt->n_logprobs;
    g->ids.data = malloc(rows * sizeof *g->ids.data);
    g->ids.cap = rows;
    if (opt->n_logprobs >= 0) {
        g->logprobs = malloc(rows * row * sizeof *g->logprobs);
        ok = ok && g->logprobs;
    }
    return ok && g->ids.data ? OK : err_set(e, ERR_MEMORY, NULL, "no memory for a generation");
}

struct steps {
    const struct generate_options *opt;
    struct generation *g;
    struct stream *stream;
    int64_t budget;
    double start_ms;
};

/* Samples a token and takes it into text, ids and logprobs; *done says why generation ends here. */
static enum status step(struct session *s, struct steps *t, int32_t *id, bool *done, struct err *e)
{
    struct generation *g = t->g;
    const struct vocab *v = model_vocab(s->en->model);
    size_t n_vocab = (size_t)s->en->info.n_vocab;
    if (g->n_logprobs >=
        0) { /* of the model's own distribution: bias and penalties change logits */
        memcpy(s->raw, s->logits, n_vocab * sizeof *s->raw);
    }
    enum status st = sampler_pick(&s->sampler, s->logits, s->ids, s->n, id, e);
    if (st) {
        return st;
    }
    *done = true;
    if (g->ids.n == 0) {
        g->first_token_ms = clock_ms() - t->start_ms;
    }
    if (vocab_is_end(v, *id) && !t->opt->ignore_eos) {
        g->reason = STOP_END;
        return OK;
    }
    if (g->n_logprobs >= 0) {
        sampler_logprobs(s->raw, (int64_t)n_vocab, *id, g->n_logprobs,
                         g->logprobs + g->ids.n * (size_t)(1 + g->n_logprobs));
    }
    g->ids.data[g->ids.n++] = *id;
    buf_reset(&s->piece);
    vocab_decode_one(v, *id, t->opt->special, &s->piece);
    if (s->piece.len && stream_put(t->stream, s->piece.data, s->piece.len)) {
        g->reason = STOP_STRING;
    } else if (t->stream->stopped_by_caller) {
        g->reason = STOP_CALLER;
    } else if ((int64_t)g->ids.n == t->budget) {
        g->reason = STOP_LENGTH;
    } else {
        *done = false;
    }
    return t->stream->text.failed || t->stream->raw.failed || s->piece.failed
               ? err_set(e, ERR_MEMORY, NULL, "no memory for the text")
               : OK;
}

static enum status generate(struct session *s, const int32_t *prompt, size_t n, struct steps *t,
                            struct err *e)
{
    struct generation *g = t->g;
    size_t reused = common_prefix(s, prompt, n);
    keep(s, reused);
    g->n_prompt = (int64_t)n;
    g->n_prompt_reused = (int64_t)reused;
    enum status st = run_tokens(s, prompt + reused, n - reused, true, t->opt, n, e);
    double prompt_done = clock_ms();
    g->prompt_ms = prompt_done - t->start_ms;
    for (bool done = false; !st && !done;) {
        int32_t id;
        st = step(s, t, &id, &done, e);
        if (!st && !done) {
            st = run_tokens(s, &id, 1, true, t->opt, 0, e);
        }
    }
    if (!st && g->reason != STOP_STRING) {
        stream_end(t->stream);
    }
    g->generate_ms = clock_ms() - prompt_done;
    return st;
}

enum status session_generate(struct session *s, const int32_t *prompt, size_t n,
                             const struct generate_options *opt, struct generation *out,
                             struct err *e)
{
    double start_ms = clock_ms();
    int64_t budget = 0;
    enum status st = check_options(s, opt, e);
    if (st || (st = check_prompt(s, prompt, n, opt, &budget, e))) {
        return st;
    }
    struct generation g = {0};
    struct stream stream = {
        .stop = opt->stop, .n_stop = opt->n_stop, .on_text = opt->on_text, .ctx = opt->ctx};
    struct steps steps = {opt, &g, &stream, budget, start_ms};
    st = prepare(&g, &stream, opt, budget, e);
    if (!st) {
        st = generate(s, prompt, n, &steps, e);
    }
    if (!st) {
        g.text = stream.text;
        stream.text = (struct buf){0};
        *out = g;
    } else {
        generation_fini(&g);
    }
    stream_fini(&stream);
    return st;
}

/* The first n tokens of measurements: any do; these repeat the same way everywhere. */
static enum status bench_ids(const struct session *s, int64_t n, int64_t more, int32_t **out,
                             struct err *e)
{
    int64_t limit = s->en->info.n_ctx;
    if (n < 0 || more < 0 || n > limit || more > limit - n) {
        return err_set(e, ERR_CONTEXT, NULL,
                       "%lld tokens and %lld steps after them; the context has %lld", (long long)n,
                       (long long)more, (long long)limit);
    }
    size_t count = (size_t)(n + more);
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    if (!ids) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a measurement");
    }
    struct rng r;
    rng_init(&r, 7);
    for (size_t i = 0; i < count; i++) {
        ids[i] = (int32_t)(rng_u64(&r) % (uint64_t)s->en->info.n_vocab);
    }
    *out = ids;
    return OK;
}

/* Has the session hold the first `depth` of ids; what it holds of them is kept. */
static enum status go_to_depth(struct session *s, const int32_t *ids, int64_t depth, struct err *e)
{
    keep(s, common_prefix(s, ids, (size_t)depth + 1));
    return run_tokens(s, ids + s->n, (size_t)depth - s->n, false, NULL, 0, e);
}

enum status session_bench_prompt(struct session *s, int64_t depth, int64_t n_prompt,
                                 double *seconds, struct err *e)
{
    int32_t *ids = NULL;
    enum status st = bench_ids(s, depth, n_prompt, &ids, e);
    if (st) {
        return st;
    }
    st = go_to_depth(s, ids, depth, e);
    double start = clock_ms();
    st = st ? st : run_tokens(s, ids + depth, (size_t)n_prompt, true, NULL, 0, e);
    if (!st) {
        *seconds = (clock_ms() - start) / 1000;
        keep(s, (size_t)depth);
    }
    free(ids);
    return st;
}

enum status session_bench_steps(struct session *s, int64_t depth, int64_t n_gen, double *seconds,
                                struct err *e)
{
    int32_t *ids = NULL;
    enum status st = bench_ids(s, depth, n_gen, &ids, e);
    if (st) {
        return st;
    }
    st = go_to_depth(s, ids, depth, e);
    double start = clock_ms();
    for (int64_t i = 0; !st && i < n_gen; i++) {
        st = run_tokens(s, ids + depth + i, 1, true, NULL, 0, e);
    }
    if (!st) {
        *seconds = (clock_ms() - start) / 1000;
        keep(s, (size_t)depth);
    }
    free(ids);
    return st;
}

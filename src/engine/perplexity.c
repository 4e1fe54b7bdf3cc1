/* Perplexity: see engine.h. Windows do not overlap; the first half of each is context only. With
 * n_ctx = 512 the tokens 257 .. 511 of a window are scored, each from all before it, as llama.cpp's
 * tool does, so that figures compare. Logits of a few rows at a time keep memory small. */
#include "engine/engine_internal.h"

#include <math.h>
#include <stdlib.h>

enum { SCORED_ROWS = 32 };

struct scores {
    double sum, sum_squares;
    int64_t n;
};

/* -log softmax(logits)[id] */
static double nll(const float *logits, size_t n, int32_t id)
{
    double best = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        best = fmax(best, (double)logits[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - best);
    }
    return best + log(sum) - (double)logits[id];
}

static enum status run(struct engine *en, int32_t seq, const int32_t *ids, int64_t n, float *logits,
                       struct err *e)
{
    struct model_run r = {.seq = seq, .ids = ids, .n_ids = n, .all_logits = true};
    engine_lock(en);
    enum status s = model_forward(en->model, en->kv, &r, 1, logits, NULL, e);
    engine_unlock(en);
    return s;
}

static enum status score_window(struct engine *en, int32_t seq, const int32_t *ids, int64_t n_ctx,
                                float *logits, struct scores *sc, struct err *e)
{
    int64_t half = n_ctx / 2;
    size_t n_vocab = (size_t)en->info.n_vocab;
    for (int64_t at = 0; at < half;) {
        int64_t k = half - at < en->max_batch ? half - at : en->max_batch;
        enum status s = run(en, seq, ids + at, k, NULL, e);
        if (s) {
            return s;
        }
        at += k;
    }
    int64_t rows = en->max_batch < SCORED_ROWS ? en->max_batch : SCORED_ROWS;
    for (int64_t at = half; at < n_ctx - 1;) {
        int64_t k = n_ctx - 1 - at < rows ? n_ctx - 1 - at : rows;
        enum status s = run(en, seq, ids + at, k, logits, e);
        if (s) {
            return s;
        }
        for (int64_t i = 0; i < k; i++) {
            double x = nll(logits + (size_t)i * n_vocab, n_vocab, ids[at + i + 1]);
            sc->sum += x;
            sc->sum_squares += x * x;
            sc->n++;
        }
        at += k;
    }
    return OK;
}

static enum status score(struct engine *en, struct token_ids *ids, int64_t n_ctx, float *logits,
                         void (*progress)(void *ctx, int64_t done, int64_t total), void *ctx,
                         struct scores *sc, struct err *e)
{
    int64_t n_windows = (int64_t)ids->n / n_ctx;
    int32_t bos = vocab_bos(model_vocab(en->model)), seq = -1;
    bool starts_with_bos = bos >= 0 && ids->data[0] == bos;
    engine_lock(en);
    enum status s = kv_seq_new(en->kv, &seq, e);
    engine_unlock(en);
    for (int64_t w = 0; !s && w < n_windows; w++) {
        int32_t *window = ids->data + w * n_ctx;
        if (starts_with_bos) {
            window[0] = bos;
        }
        s = score_window(en, seq, window, n_ctx, logits, sc, e);
        engine_lock(en);
        kv_seq_truncate(en->kv, seq, 0);
        engine_unlock(en);
        if (progress) {
            progress(ctx, w + 1, n_windows);
        }
    }
    engine_lock(en);
    kv_seq_free(en->kv, seq);
    engine_unlock(en);
    return s;
}

static void summarize(const struct scores *sc, int64_t n_windows, struct perplexity *out)
{
    double n = (double)sc->n, mean = sc->sum / n, variance = sc->sum_squares / n - mean * mean;
    out->nll_mean = mean;
    out->value = exp(mean);
    out->std_error = variance > 0 && sc->n > 1 ? out->value * sqrt(variance / (n - 1)) : 0;
    out->n_tokens = sc->n;
    out->n_windows = n_windows;
}

enum status engine_perplexity(struct engine *en, const char *text, size_t n, int64_t n_ctx,
                              void (*progress)(void *ctx, int64_t done, int64_t total), void *ctx,
                              struct perplexity *out, struct err *e)
{
    if (!en->info.generates) {
        return err_set(e, ERR_USAGE, en->info.path, "%s is %s: it has no perplexity", en->info.name,
                       en->info.embeds ? "an encoder" : "a reranker");
    }
    if (n_ctx < 4 || n_ctx > en->info.n_ctx) {
        return err_set(e, ERR_USAGE, NULL, "windows of %lld tokens (4 to %lld are possible)",
                       (long long)n_ctx, (long long)en->info.n_ctx);
    }
    struct token_ids ids = {0};
    struct scores sc = {0};
    float *logits = NULL;
    enum status s = engine_tokenize(en, text, n, TOKENIZE_ADD_SPECIAL, &ids, e);
    if (!s && (int64_t)ids.n < n_ctx) {
        s = err_set(e, ERR_USAGE, NULL, "the text has %zu tokens, one window takes %lld", ids.n,
                    (long long)n_ctx);
    }
    if (!s) {
        logits = mem_aligned(SCORED_ROWS, (size_t)en->info.n_vocab * sizeof *logits);
        s = logits ? score(en, &ids, n_ctx, logits, progress, ctx, &sc, e)
                   : err_set(e, ERR_MEMORY, NULL, "no memory for logits");
    }
    if (!s) {
        summarize(&sc, (int64_t)ids.n / n_ctx, out);
    }
    free(logits);
    token_ids_fini(&ids);
    return s;
}

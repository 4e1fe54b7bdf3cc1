/* A session: one conversation's KV cache, and generation from it.
 *
 * The session remembers the ids whose keys and values it holds. A new prompt that begins with them
 * reuses the common prefix, so a chat turn costs only its new tokens. Owner: one thread at a time.
 */
#ifndef HEARTH_ENGINE_SESSION_H
#define HEARTH_ENGINE_SESSION_H

#include "engine/engine.h"

struct session;

MUST_CHECK enum status session_new(struct engine *en, struct session **out, struct err *e);
void session_free(struct session *s);
struct engine *session_engine(struct session *s);
void session_reset(struct session *s); /* forget everything, keep the memory */

/* Zero means the default, which is greedy decoding for temperature 0. Applied in this order: logit
 * bias, repetition/presence/frequency penalties, (greedy if temperature is 0), top-k, typical,
 * top-p, min-p, temperature, draw. */
struct logit_bias {
    int32_t id;
    float bias; /* -INFINITY forbids */
};
struct sampling {
    float temperature;        /* 0: greedy */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 0 or 1: off (Holtzman et al. 2020) */
    float min_p;              /* 0: off */
    float typical_p;          /* 0 or 1: off (Meister et al. 2023) */
    float repetition_penalty; /* 0 or 1: off (Keskar et al. 2019) */
    float presence_penalty, frequency_penalty;
    int32_t penalty_window; /* last tokens looked at; 0: 64; -1: all */
    uint64_t seed;          /* 0: 1; the same seed gives the same tokens */
    const struct logit_bias *bias;
    size_t n_bias;
};

struct generate_options {
    struct sampling sampling;
    int64_t max_tokens;      /* 0: until the context is full */
    const char *const *stop; /* stop strings: not part of the text given out */
    size_t n_stop;
    int n_logprobs;  /* alternatives per token to report (0..20); -1: no logprobs at all */
    bool ignore_eos; /* for measurements */
    bool special;    /* print control tokens too */
    /* Called with whole UTF-8 text as it becomes final (never half a sequence, never a part of a
     * stop string). Return false to stop: the result then says STOP_CALLER. May be NULL. */
    bool (*on_text)(void *ctx, const char *text, size_t n);
    void (*on_prompt)(void *ctx, int64_t done,
                      int64_t total); /* after each pass over the prompt; may be NULL */
    void *ctx;
    const volatile bool
        *cancel; /* may be NULL; set from a signal handler or another thread: ERR_CANCELLED */
};

enum stop_reason { STOP_END, STOP_LENGTH, STOP_STRING, STOP_CALLER };
const char *stop_reason_name(enum stop_reason r); /* "stop", "length", "stop_string", "caller" */

struct token_logprob {
    int32_t id;
    float
        logprob; /* natural log of the model's probability before bias, penalties and truncation */
};
struct generation {
    struct buf text;
    struct token_ids ids; /* generated, without the end token */
    /* ids.n rows of 1 + n_logprobs: the chosen token, then the best ones; NULL when n_logprobs is
     * -1. */
    struct token_logprob *logprobs;
    int n_logprobs;
    enum stop_reason reason;
    int64_t n_prompt, n_prompt_reused;
    double prompt_ms, first_token_ms,
        generate_ms; /* first_token_ms: from the call to the first sampled token */
};
void generation_fini(struct generation *g);

/* Runs the prompt (reusing a common prefix) and generates. The session then holds prompt +
 * generated ids. ERR_CONTEXT before any work is done when prompt + max_tokens cannot fit;
 * ERR_CANCELLED. */
MUST_CHECK enum status session_generate(struct session *s, const int32_t *prompt, size_t n,
                                        const struct generate_options *opt, struct generation *out,
                                        struct err *e);

/* For measurements (`hearth bench`): seconds to run n_prompt tokens at once at a depth. What the
 * session holds of the same tokens from calls before is kept, so going deeper costs only the
 * difference, and again nothing. */
MUST_CHECK enum status session_bench_prompt(struct session *s, int64_t depth, int64_t n_prompt,
                                            double *seconds, struct err *e);
/* Seconds for n_gen single-token steps at a depth. */
MUST_CHECK enum status session_bench_steps(struct session *s, int64_t depth, int64_t n_gen,
                                           double *seconds, struct err *e);
#endif

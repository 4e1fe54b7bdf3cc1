/* The sampler: from a row of logits to a token. The order of the steps is in session.h.
 *
 * Filters keep a set of candidates; every probability inside a filter is of the candidates that are
 * left, at temperature 1. A prefix filter keeps the shortest list, best first, that reaches its
 * mass; equal logits go to the lower id first. Sums are doubles. No allocation after sampler_init.
 * Owner: one thread. */
#ifndef HEARTH_ENGINE_SAMPLER_H
#define HEARTH_ENGINE_SAMPLER_H

#include "base/sys.h"
#include "engine/session.h"

struct candidate {
    float logit;
    int32_t id;
    double key; /* what the current step orders by: larger first */
};

struct sampler {
    int64_t n_vocab;
    struct sampling opt;
    struct rng rng;
    struct candidate *candidates;
    size_t n_candidates; /* left after the last pick's filters (drawn from) */
    int32_t *counts;     /* of tokens in the penalty window; all zero between picks */
};

MUST_CHECK enum status sampler_init(struct sampler *s, int64_t n_vocab, struct err *e);
void sampler_fini(struct sampler *s);
/* Checks the settings (ERR_USAGE by name) and starts the random numbers from the seed. opt's bias
 * list is borrowed. */
MUST_CHECK enum status sampler_begin(struct sampler *s, const struct sampling *opt, struct err *e);
/* Picks from logits[n_vocab], which bias and penalties change in place; history: all tokens so far.
 * ERR_FORMAT when no logit is finite (the model computes nonsense), ERR_USAGE when the bias forbids
 * everything. */
MUST_CHECK enum status sampler_pick(struct sampler *s, float *logits, const int32_t *history,
                                    size_t n_history, int32_t *id, struct err *e);

/* log softmax of logits at ids, in double: out[i].logprob for out[i].id. Then the `n_best` best
 * tokens (ties: lower id first) into best. */
void sampler_logprobs(const float *logits, int64_t n_vocab, int32_t chosen, int n_best,
                      struct token_logprob *out);
#endif

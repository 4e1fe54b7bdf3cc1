/* The sampler: see sampler.h. Candidates are ordered by a heap that gives up its best one by one:
 * a filter pays for those it keeps, not for a sort of the whole vocabulary (and libc's sort may
 * allocate). */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_WINDOW = 64 };
/* How far below the best a logit is looked at first, and what sums of probabilities may be off. */
#define NEAR_LOGITS 8.0
#define ROUNDING 1e-9

enum status sampler_init(struct sampler *s, int64_t n_vocab, struct err *e)
{
    *s = (struct sampler){.n_vocab = n_vocab};
    s->candidates = mem_aligned((size_t)n_vocab, sizeof *s->candidates);
    s->counts = mem_aligned((size_t)n_vocab, sizeof *s->counts);
    if (!s->candidates || !s->counts) {
        sampler_fini(s);
        return err_set(e, ERR_MEMORY, NULL, "no memory for a sampler");
    }
    return OK;
}

void sampler_fini(struct sampler *s)
{
    free(s->candidates);
    free(s->counts);
    *s = (struct sampler){0};
}

enum status sampler_begin(struct sampler *s, const struct sampling *o, struct err *e)
{
    const struct {
        const char *name;
        float value, min, max;
    } ranges[] = {{"temperature", o->temperature, 0, 100},
                  {"top_p", o->top_p, 0, 1},
                  {"min_p", o->min_p, 0, 1},
                  {"typical_p", o->typical_p, 0, 1},
                  {"repetition_penalty", o->repetition_penalty, 0, 100},
                  {"presence_penalty", o->presence_penalty, -100, 100},
                  {"frequency_penalty", o->frequency_penalty, -100, 100},
                  {"top_k", (float)o->top_k, 0, INFINITY},
                  {"penalty_window", (float)o->penalty_window, -1, INFINITY}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (!(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max)) {
            return err_set(e, ERR_USAGE, ranges[i].name, "%g is not between %g and %g",
                           (double)ranges[i].value, (double)ranges[i].min, (double)ranges[i].max);
        }
    }
    for (size_t i = 0; i < o->n_bias; i++) {
        if (o->bias[i].id < 0 || o->bias[i].id >= s->n_vocab || isnan(o->bias[i].bias) ||
            o->bias[i].bias == INFINITY) {
            return err_set(e, ERR_USAGE, "logit_bias",
                           "%g for token %d (tokens 0 to %lld, no infinity but the negative one)",
                           (double)o->bias[i].bias, (int)o->bias[i].id, (long long)s->n_vocab - 1);
        }
    }
    s->opt = *o;
    rng_init(&s->rng, o->seed ? o->seed : 1);
    return OK;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->key > b->key || (a->key == b->key && a->id < b->id);
}

static void sift_down(struct candidate *c, size_t n, size_t i)
{
    struct candidate moved = c[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && better(&c[child + 1], &c[child])) {
            child++;
        }
        if (!better(&c[child], &moved)) {
            break;
        }
        c[i] = c[child];
        i = child;
    }
    c[i] = moved;
}

static void heap_build(struct candidate *c, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(c, n, i);
    }
}

/* Moves the best of the heap c[0..n) to c[n - 1]; c[0..n - 1) is a heap again. */
static const struct candidate *heap_pop(struct candidate *c, size_t n)
{
    struct candidate top = c[0];
    c[0] = c[n - 1];
    c[n - 1] = top;
    sift_down(c, n - 1, 0);
    return &c[n - 1];
}

/* The candidates popped last stand at the end of the array: they become the set. */
static void keep_popped(struct sampler *s, size_t kept)
{
    memmove(s->candidates, s->candidates + (s->n_candidates - kept), kept * sizeof *s->candidates);
    s->n_candidates = kept;
}

/* The first n candidates. */
static void order_by_logit(struct sampler *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->candidates[i].key = (double)s->candidates[i].logit;
    }
    heap_build(s->candidates, n);
}

/* Puts the candidates of a logit of `least` and more before the others, and returns their number:
 * a heap of a few hundred is sooner made than one of the vocabulary, and mostly is all that is
 * popped from. */
static size_t near_first(struct sampler *s, double least)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_candidates; i++) {
        if ((double)s->candidates[i].logit >= least) {
            struct candidate c = s->candidates[i];
            s->candidates[i] = s->candidates[n];
            s->candidates[n++] = c;
        }
    }
    return n;
}

static double best_logit(const struct sampler *s)
{
    double best = -INFINITY;
    for (size_t i = 0; i < s->n_candidates; i++) {
        double logit = (double)s->candidates[i].logit;
        best = logit > best ? logit : best;
    }
    return best;
}

/* Of the first n candidates. */
static double sum_exp(const struct sampler *s, size_t n, double best, double temperature)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp(((double)s->candidates[i].logit - best) / temperature);
    }
    return sum;
}

static void top_k(struct sampler *s, size_t k)
{
    if (k == 0 || k >= s->n_candidates) {
        return;
    }
    size_t near = near_first(s, best_logit(s) - NEAR_LOGITS);
    s->n_candidates = near >= k ? near : s->n_candidates;
    order_by_logit(s, s->n_candidates);
    for (size_t i = 0; i < k; i++) {
        (void)heap_pop(s->candidates, s->n_candidates - i);
    }
    keep_popped(s, k);
}

/* Pops until the probabilities reach `mass`. */
static void keep_mass(struct sampler *s, double mass, double best, double sum)
{
    double reached = 0;
    size_t kept = 0;
    while (kept < s->n_candidates && (kept == 0 || reached < mass)) {
        const struct candidate *c = heap_pop(s->candidates, s->n_candidates - kept);
        reached += exp((double)c->logit - best) / sum;
        kept++;
    }
    keep_popped(s, kept);
}

/* Orders by how near a token's surprise is to the expected one. */
static void typical(struct sampler *s, double mass)
{
    double best = best_logit(s), sum = sum_exp(s, s->n_candidates, best, 1), log_sum = log(sum);
    double entropy = 0;
    for (size_t i = 0; i < s->n_candidates; i++) {
        double log_p = (double)s->candidates[i].logit - best - log_sum;
        entropy -= exp(log_p) * log_p;
    }
    for (size_t i = 0; i < s->n_candidates; i++) {
        double log_p = (double)s->candidates[i].logit - best - log_sum;
        s->candidates[i].key = -fabs(-log_p - entropy);
    }
    heap_build(s->candidates, s->n_candidates);
    keep_mass(s, mass, best, sum);
}

static void top_p(struct sampler *s, double mass)
{
    double best = best_logit(s), sum = sum_exp(s, s->n_candidates, best, 1);
    size_t near = near_first(s, best - NEAR_LOGITS);
    if (sum_exp(s, near, best, 1) > (mass + ROUNDING) * sum) {
        s->n_candidates = near;
    }
    order_by_logit(s, s->n_candidates);
    keep_mass(s, mass, best, sum);
}

static void min_p(struct sampler *s, double share)
{
    double least = best_logit(s) + log(share);
    size_t kept = 0;
    for (size_t i = 0; i < s->n_candidates; i++) {
        if ((double)s->candidates[i].logit >= least) {
            s->candidates[kept++] = s->candidates[i];
        }
    }
    s->n_candidates = kept;
}

/* Walks the candidates, best first, until the drawn share is used up. The array stays whole. */
static int32_t draw(struct sampler *s, double temperature)
{
    double best = best_logit(s), sum = sum_exp(s, s->n_candidates, best, temperature);
    double left = rng_unit(&s->rng) * sum;
    size_t n = near_first(s, best - NEAR_LOGITS * temperature);
    if (sum_exp(s, n, best, temperature) < left + ROUNDING * sum) {
        n = s->n_candidates;
    }
    order_by_logit(s, n);
    int32_t id = s->candidates[0].id;
    for (; n > 0 && left >= 0; n--) {
        const struct candidate *c = heap_pop(s->candidates, n);
        double weight = exp(((double)c->logit - best) / temperature);
        if (weight == 0) {
            break; /* rounding left a crumb: it belongs to the last possible token */
        }
        id = c->id;
        left -= weight;
    }
    return id;
}

/* Whether it changed anything. */
static bool penalize(struct sampler *s, float *logits, const int32_t *history, size_t n)
{
    const struct sampling *o = &s->opt;
    float repetition = o->repetition_penalty;
    bool repeats = repetition > 0 && repetition != 1;
    size_t window = o->penalty_window == 0    ? DEFAULT_WINDOW
                    : o->penalty_window == -1 ? n
                                              : (size_t)o->penalty_window;
    if (!repeats && o->presence_penalty == 0 && o->frequency_penalty == 0) {
        return false;
    }
    window = window < n ? window : n;
    history += n - window;
    for (size_t i = 0; i < window; i++) {
        s->counts[history[i]]++;
    }
    for (size_t i = 0; i < window; i++) {
        int32_t id = history[i], count = s->counts[id];
        if (count) { /* once per token */
            float x = logits[id];
            if (repeats) {
                x = x > 0 ? x / repetition : x * repetition;
            }
            logits[id] = x - o->presence_penalty - o->frequency_penalty * (float)count;
            s->counts[id] = 0;
        }
    }
    return true;
}

static void collect(struct sampler *s, const float *logits)
{
    s->n_candidates = 0;
    for (int64_t i = 0; i < s->n_vocab; i++) {
        if (isfinite(logits[i])) {
            s->candidates[s->n_candidates++] =
                (struct candidate){.logit = logits[i], .id = (int32_t)i};
        }
    }
}

/* The largest of n logits: lanes side by side, which compilers make vectors of. NaN is never
 * larger.
 */
static float largest(const float *x, int64_t n)
{
    enum { LANES = 16 };
    float lane[LANES];
    int64_t i = 0;
    for (int k = 0; k < LANES; k++) {
        lane[k] = -INFINITY;
    }
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
        }
    }
    for (int k = 1; k < LANES; k++) {
        lane[0] = lane[k] > lane[0] ? lane[k] : lane[0];
    }
    for (; i < n; i++) {
        lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    }
    return lane[0];
}

/* The first of the largest finite logits, or -1. Block by block, so that only one is looked at
 * twice, and those with an infinity. */
static int32_t greedy(const float *logits, int64_t n)
{
    enum { BLOCK = 4096 };
    float best = -INFINITY;
    int32_t at = -1;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t end = n - i < BLOCK ? n : i + BLOCK;
        if (largest(logits + i, end - i) > best) {
            for (int64_t k = i; k < end; k++) {
                bool better_one = logits[k] > best && logits[k] < INFINITY;
                at = better_one ? (int32_t)k : at;
                best = better_one ? logits[k] : best;
            }
        }
    }
    return at;
}

static void filter(struct sampler *s)
{
    const struct sampling *o = &s->opt;
    top_k(s, (size_t)o->top_k);
    if (o->typical_p > 0 && o->typical_p < 1) {
        typical(s, (double)o->typical_p);
    }
    if (o->top_p > 0 && o->top_p < 1) {
        top_p(s, (double)o->top_p);
    }
    if (o->min_p > 0) {
        min_p(s, (double)o->min_p);
    }
}

enum status sampler_pick(struct sampler *s, float *logits, const int32_t *history, size_t n_history,
                         int32_t *id, struct err *e)
{
    const struct sampling *o = &s->opt;
    int32_t best = greedy(logits, s->n_vocab);
    if (best < 0) {
        return err_set(e, ERR_FORMAT, NULL, "the model computes no finite logits");
    }
    for (size_t i = 0; i < o->n_bias; i++) {
        logits[o->bias[i].id] += o->bias[i].bias;
    }
    bool changed = penalize(s, logits, history, n_history) || o->n_bias;
    best = changed ? greedy(logits, s->n_vocab) : best;
    if (best < 0) {
        return err_set(e, ERR_USAGE, "logit_bias", "every token is forbidden");
    }
    if (o->temperature == 0) {
        *id = best;
        return OK;
    }
    collect(s, logits);
    filter(s);
    *id = draw(s, (double)o->temperature);
    return OK;
}

/* Keeps best[0..n) ordered, best first. */
static void insert_best(struct token_logprob *best, int n, int32_t id, float logit)
{
    if (n == 0 || !(logit > best[n - 1].logprob)) {
        return;
    }
    int at = n - 1;
    while (at > 0 && logit > best[at - 1].logprob) {
        best[at] = best[at - 1];
        at--;
    }
    best[at] = (struct token_logprob){id, logit};
}

void sampler_logprobs(const float *logits, int64_t n_vocab, int32_t chosen, int n_best,
                      struct token_logprob *out)
{
    double best = -INFINITY, sum = 0;
    out[0] = (struct token_logprob){chosen, logits[chosen]};
    for (int i = 1; i <= n_best; i++) {
        out[i] = (struct token_logprob){-1, -INFINITY};
    }
    for (int64_t i = 0; i < n_vocab; i++) {
        best = fmax(best, (double)logits[i]);
        insert_best(out + 1, n_best, (int32_t)i, logits[i]);
    }
    for (int64_t i = 0; i < n_vocab; i++) {
        sum += exp((double)logits[i] - best);
    }
    for (int i = 0; i <= n_best; i++) {
        out[i].logprob = (float)((double)out[i].logprob - best - log(sum));
    }
}

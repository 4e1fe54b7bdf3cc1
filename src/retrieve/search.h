/* Search: a question -> the chunks that may answer it, best first, with the scores that say why.
 *
 * Stages (each timed and reported): embed the question, exact vector search, lexical agreement of
 * the candidates (weighted share of the question's content words, names and numbers that occur),
 * fusion, near-duplicate collapse. */
#ifndef HEARTH_RETRIEVE_SEARCH_H
#define HEARTH_RETRIEVE_SEARCH_H

#include "engine/engine.h"
#include "store/vectors.h"

struct library { /* what a question is asked of; everything is borrowed */
    struct store *store;
    struct vectors *vectors;
    struct engine *embedder;
};

struct search_options {
    size_t k;          /* results; 0: 8 */
    size_t candidates; /* from the vector index; 0: 64 */
};
struct passage {
    struct chunk chunk;
    struct document document; /* without text */
    float score;              /* fused: what it is ordered by */
    float cosine;
    float lexical; /* 0..1 */
};
struct search_result {
    struct passage *items; /* in the arena */
    size_t n;
    double embed_ms, search_ms, rank_ms;
    bool query_truncated;
};
MUST_CHECK enum status search_library(const struct library *lib, const char *query,
                                      const struct search_options *opt, struct arena *arena,
                                      struct search_result *out, struct err *e);
#endif

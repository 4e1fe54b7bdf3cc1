/* The chunker without an engine: what its tests and chunk_document call. */
#ifndef HEARTH_INGEST_CHUNK_INTERNAL_H
#define HEARTH_INGEST_CHUNK_INTERNAL_H

#include "ingest/chunk.h"

enum { CHUNK_DEFAULT_TOKENS = 256 };

struct token_counter {
    enum status (*count)(void *ctx, const char *text, size_t n, size_t *tokens, struct err *e);
    void *ctx;
    size_t overhead; /* tokens that the model adds to every text */
};

MUST_CHECK enum status chunk_blocks(const struct token_counter *counter, const struct extracted *x,
                                    const struct chunk_options *opt, struct arena *arena,
                                    struct chunk **out, size_t *n_out, struct err *e);
#endif

/* The chunker with the embedding model's own tokenizer: the only part of it that knows an engine.
 */
#include "ingest/chunk_internal.h"

struct engine_counter {
    const struct engine *engine;
    struct token_ids ids; /* memory used again by each call */
};

static enum status count_by_engine(void *ctx, const char *text, size_t n, size_t *tokens,
                                   struct err *e)
{
    struct engine_counter *c = ctx;
    c->ids.n = 0;
    enum status s = engine_tokenize(c->engine, text, n, 0, &c->ids, e);
    *tokens = c->ids.n;
    return s;
}

enum status chunk_document(const struct engine *embedder, const struct extracted *x,
                           const struct chunk_options *opt, struct arena *arena, struct chunk **out,
                           size_t *n_out, struct err *e)
{
    struct chunk_options o = opt ? *opt : (struct chunk_options){0};
    int64_t n_ctx = engine_info(embedder)->n_ctx;
    struct engine_counter ctx = {embedder, {0}};
    enum status s = engine_tokenize(embedder, "", 0, TOKENIZE_ADD_SPECIAL, &ctx.ids, e);
    struct token_counter counter = {count_by_engine, &ctx, ctx.ids.n};
    if (!o.max_tokens) {
        o.max_tokens =
            n_ctx > 0 && n_ctx < CHUNK_DEFAULT_TOKENS ? (int)n_ctx : CHUNK_DEFAULT_TOKENS;
    } else if (n_ctx > 0 && o.max_tokens > n_ctx) {
        s = s ? s
              : err_set(e, ERR_USAGE, NULL,
                        "chunks of %d tokens, but the embedding model reads %lld", o.max_tokens,
                        (long long)n_ctx);
    }
    s = s ? s : chunk_blocks(&counter, x, &o, arena, out, n_out, e);
    token_ids_fini(&ctx.ids);
    return s;
}

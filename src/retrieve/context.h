/* Context: what the model gets to read, within a token budget counted by its own tokenizer.
 *
 * A large model gets whole passages. A small one (below SMALL_MODEL parameters) mixes up what it
 * reads, so it gets only the best sentences of few passages with their neighbours. Pieces that do
 * not fit are dropped whole, lowest score first, and counted. */
#ifndef HEARTH_RETRIEVE_CONTEXT_H
#define HEARTH_RETRIEVE_CONTEXT_H

#include "retrieve/answer.h"
#include "retrieve/evidence.h"

static const int64_t SMALL_MODEL = 700000000; /* parameters */

struct piece { /* a run of text of one passage */
    size_t passage;
    uint32_t start, end; /* in the document text */
    float score;
    int64_t n_tokens; /* with its heading line */
};
struct context {
    struct piece *items; /* in the order in which the model reads them; in the arena */
    size_t n;
    int64_t budget, used, n_dropped;
};
MUST_CHECK enum status context_pack(const struct engine *model, const struct search_result *found,
                                    const struct evidence_set *set,
                                    const struct answer_options *opt, struct arena *arena,
                                    struct context *out, struct err *e);

/* The whole prompt, through the model's template. */
MUST_CHECK enum status context_prompt(const struct engine *model, const struct search_result *found,
                                      const struct context *c, const char *question,
                                      const struct answer_options *opt, struct token_ids *out,
                                      struct err *e);
#endif

/* Answers: a question -> a cited answer, or a typed refusal.
 *
 * search -> evidence (the sentences of the best passages that bear on the question) -> decision to
 * answer or refuse (retrieval scores, coverage of the question's names and numbers; never the
 * model's word) -> context packed to a token budget with the model's own tokenizer -> generation ->
 * citations and support check. Each sentence of the answer is tied to the passage sentence that
 * supports it best; a citation resolves to document, heading, page and byte range of a quote that
 * stands there word for word. Sentences without support, or with names or numbers that no source
 * has, are flagged and, unless told otherwise, replaced by the quoted evidence. */
#ifndef HEARTH_RETRIEVE_ANSWER_H
#define HEARTH_RETRIEVE_ANSWER_H

#include "engine/session.h"
#include "retrieve/evidence.h"

enum context_order { CONTEXT_BEST_LAST, CONTEXT_BEST_FIRST };

struct answer_options {
    size_t k;               /* passages in the context at most; 0: chosen for the model's size */
    int64_t context_tokens; /* budget of the passages; 0: what the model's context leaves, at most
                               2048 (fewer for small models) */
    int64_t max_tokens;     /* of the answer; 0: 256 */
    enum context_order order;
    struct sampling sampling;
    bool keep_unsupported; /* give the model's words as they are, flags only */
    const json_t *history; /* earlier messages of a chat, or NULL */
    bool (*on_text)(void *ctx, const char *text, size_t n); /* streams the answer's text */
    void (*on_stage)(void *ctx, const char *stage, double ms);
    void *ctx;
    const volatile bool *cancel;
};

struct citation {
    int number; /* as printed: [1] */
    struct document document;
    struct chunk chunk;
    uint32_t start, end; /* byte range of the quote in the document text */
    int32_t page;
    const char *quote; /* document text [start, end) */
};
struct answer_sentence {
    const char *text;
    int citation;  /* index into citations, -1: none */
    float support; /* 0..1 */
    bool supported;
};
struct answer_stage {
    const char *name;
    double ms;
};
enum { ANSWER_MAX_STAGES = 12 };
struct answer {
    const char *text;       /* what is shown, with [n] marks */
    const char *model_text; /* what the model wrote */
    struct answer_sentence *sentences;
    size_t n_sentences;
    struct citation *citations;
    size_t n_citations;
    struct search_result found;
    struct evidence_set evidence; /* sentences of them, best first */
    bool refused;                 /* no evidence: the model was not called */
    const char *reason;           /* why, for people */
    int64_t budget_tokens, used_tokens,
        n_dropped; /* context limit, used, passages left out for it */
    int64_t n_prompt, n_generated;
    double first_token_ms, generate_ms;
    struct answer_stage stages[ANSWER_MAX_STAGES];
    size_t n_stages;
};
/* A refusal is an answer with `refused`, not an error. Everything lives in the arena. */
MUST_CHECK enum status answer_question(const struct library *lib, struct session *session,
                                       const char *question, const struct answer_options *opt,
                                       struct arena *arena, struct answer *out, struct err *e);
json_t *answer_json(const struct answer *a); /* new reference */
#endif

/* Evidence: the sentences of the found passages that bear on the question, best first, and the
 * decision whether they suffice to answer.
 *
 * A sentence's score mixes the cosine of its embedding with the question's, the weighted share of
 * the question's terms that it (or, at half value, its heading) meets, whether it holds the kind of
 * thing asked for, and the score of its passage; less when it says the opposite (polarity.h). The
 * decision is made from these numbers alone; no model is asked. */
#ifndef HEARTH_RETRIEVE_EVIDENCE_H
#define HEARTH_RETRIEVE_EVIDENCE_H

#include "retrieve/search.h"
#include "retrieve/terms.h"

struct evidence {
    size_t passage;       /* index into the search result */
    uint32_t start, end;  /* byte range in the document text */
    const char *text;     /* not NUL-terminated: [text, text + end - start) */
    uint64_t met;         /* terms of the question, heading and title excluded */
    uint64_t met_around;  /* the same with heading and title */
    uint64_t met_passage; /* by the whole passage with heading and title */
    float cosine, share, score;
    bool answers_kind;
    bool other_relation; /* "the capital of France" where Germany's is asked for */
    bool contradicts;    /* the opposite of a word of the question, or affirms what it negates */
};

struct evidence_set {
    struct terms terms;     /* of the question, weighted over the passages */
    struct evidence *items; /* best first; in the arena */
    size_t n;
    float best_cosine; /* of any passage or sentence */
    float best_share;  /* of any one passage, heading included */
    uint64_t met_anywhere;
};

MUST_CHECK enum status evidence_collect(const struct library *lib, const char *question,
                                        const struct search_result *found, struct arena *arena,
                                        struct evidence_set *out, struct err *e);

/* NULL: answer. Otherwise why not, for people, in the arena. */
const char *evidence_refusal(const struct evidence_set *set, const struct search_result *found,
                             struct arena *arena);
#endif

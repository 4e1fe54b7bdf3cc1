/* Support: does a source say what a sentence says, and where?
 *
 * A sentence is supported by the source sentence that meets most of its words, when that is enough
 * of them, every name and number of it stands in that sentence or beside it, both agree on being
 * negated or not, and it says something that the question did not. This is a check of words: it
 * finds invented names, numbers and matter; it does not find a wrong relation between right words.
 */
#ifndef HEARTH_RETRIEVE_SUPPORT_H
#define HEARTH_RETRIEVE_SUPPORT_H

#include "retrieve/evidence.h"

struct support {
    const struct evidence *by; /* NULL: nothing comes near */
    float share;               /* of the sentence's words that `by` meets */
    bool supported;
    const char *why; /* when not: "names or numbers that no source has", ... */
};
MUST_CHECK enum status support_check(const char *sentence, size_t n, const struct evidence_set *set,
                                     const struct search_result *found, struct support *out,
                                     struct err *e);
#endif

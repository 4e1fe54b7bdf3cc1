/* Polarity: does a text say the opposite of what a question asks about?
 *
 * Two signs are read from words alone. Negation: a question about what is not ("Which option is not
 * supported?") is not answered by a sentence that affirms. Opposites: "the smallest party" is not
 * met by a sentence about the largest one. What it cannot see: a denial without any word of it. */
#ifndef HEARTH_RETRIEVE_POLARITY_H
#define HEARTH_RETRIEVE_POLARITY_H

#include "text/sentence.h"

/* Holds a word of plain negation: not, never, no, none, cannot, didn't. */
bool polarity_negates(const char *text, size_t n);

/* The same, or a word that denies in other ways: unless, except, only, lack, refuse, un-, non-. */
bool polarity_denies(const char *text, size_t n);

/* Appends two lines for each word of the question that has an opposite which the question does not
 * hold as well: the word and its opposite, in normal form. */
MUST_CHECK enum status polarity_opposites(const char *question, size_t n, struct buf *out);

/* Does the text hold one of `opposites` and not the word that it is the opposite of? */
MUST_CHECK enum status polarity_opposed(const char *text, size_t n, const struct buf *opposites,
                                        bool *out);
#endif

/* Terms: the words of a question that an answer must rest on, and how far a text meets them.
 *
 * A term is a content word of the question in its normal form (text/sentence.h). Names, numbers and
 * identifiers weigh more than plain words; words that only ask
 * ("explain", "list", "tell") weigh little; what is rare among the candidate texts weighs more
 * (terms_weigh). A text meets a term when one of its words, or a part of one of its identifiers,
 * has the same normal form, or when one is a prefix of the other and they share five letters
 * ("Postgres", "PostgreSQL"). A name of six letters or more is also met one letter off ("Celeron",
 * "Céloron"), an acronym by capitalised words in a row with its initials. At most 64 terms: a set
 * of terms is a bit mask. Read-only after building: any thread. */
#ifndef HEARTH_RETRIEVE_TERMS_H
#define HEARTH_RETRIEVE_TERMS_H

#include "text/sentence.h"

enum { TERMS_MAX = 64 };

struct term {
    const char *text;   /* as written in the question */
    const char *normal; /* NUL-terminated */
    size_t n_normal;
    enum word_kind kind;
    float weight;
};

/* What kind of thing the question asks for; decided by its question word. */
enum asked { ASKED_ANY, ASKED_NUMBER, ASKED_TIME, ASKED_PERSON, ASKED_PLACE };

struct terms {
    struct term items[TERMS_MAX];
    size_t n;
    enum asked asked;
    int noun, name; /* items of "the capital of Germany", the first such pair; -1: none */
};

MUST_CHECK enum status terms_of(const char *question, size_t n, struct arena *arena,
                                struct terms *out);

/* Bit i is set when the text meets term i. */
MUST_CHECK enum status terms_met(const struct terms *t, const char *text, size_t n, uint64_t *met);

/* Multiplies weights by inverse document frequency over the candidates: log(1 + n / df), df at
 * least 1/2. */
void terms_weigh(struct terms *t, const uint64_t *met, size_t n);

/* Share of the weight that is met: 0..1; 1 when there are no terms. */
float terms_share(const struct terms *t, uint64_t met);

/* Names, numbers and identifiers that are not met. */
uint64_t terms_missing_hard(const struct terms *t, uint64_t met);

/* Does the text say the noun of the question's "NOUN of NAME" of another name, and not of this one?
 * `around`: what the text meets together with its heading and title. */
bool terms_other_relation(const struct terms *t, const char *text, size_t n, uint64_t around);

/* Does the text hold the kind of thing that is asked for (a number, a date, a name that is not in
 * the question)? */
bool terms_answers_kind(const struct terms *t, const char *text, size_t n);
#endif

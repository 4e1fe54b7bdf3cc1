/* Sentences and words: where sentences end, which words, names and numbers a text holds. Used for
 * quoting, for the support check of answers and for chunk borders. Unicode classes come from
 * utf8proc. */
#ifndef HEARTH_TEXT_SENTENCE_H
#define HEARTH_TEXT_SENTENCE_H

#include "base/mem.h"

struct text_span {
    uint32_t start, end; /* bytes */
};

/* Next sentence of text[*pos..n), trimmed of white space; false at the end. Abbreviations,
 * decimals, initials and list markers do not end one; a blank line does. */
bool sentence_next(const char *text, size_t n, size_t *pos, struct text_span *out);

enum word_kind { WORD_PLAIN, WORD_NUMBER, WORD_NAME, WORD_IDENT };
struct word {
    struct text_span span;
    /* NUMBER: digits with separators, dates; NAME: capitalised inside a sentence, or all caps;
     * IDENT: foo_bar, fooBar, --option, a.b() */
    enum word_kind kind;
    bool stop; /* an English function word */
};
/* Next word; false at the end. */
bool word_next(const char *text, size_t n, size_t *pos, struct word *out);

/* Appends the word case-folded, without accents, and stemmed (Porter 1980, English); numbers lose
 * grouping separators. The form in which words are compared. */
void word_normal(const char *word, size_t n, struct buf *out);
#endif

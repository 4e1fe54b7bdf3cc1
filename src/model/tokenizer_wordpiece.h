/* WordPiece (Schuster and Nakajima, "Japanese and Korean Voice Search", 2012, as BERT uses it): a
 * word is cut into the longest pieces from the left; pieces after the first carry a prefix ("##");
 * a word that cannot be cut to its end is unknown as a whole. */
#ifndef HEARTH_MODEL_TOKENIZER_WORDPIECE_H
#define HEARTH_MODEL_TOKENIZER_WORDPIECE_H

#include "model/vocab.h"
#include "model/vocab_pieces.h"

struct wordpiece {
    const struct pieces *pieces;
    const struct piece_index *index;
    char prefix[8]; /* "##" */
    int32_t unk;
    uint32_t max_chars; /* a longer word is unknown: 100 */
};

MUST_CHECK enum status wordpiece_encode_word(const struct wordpiece *w, const char *word, size_t n,
                                             struct ids *out);
/* Cuts normalized text at white space and around punctuation as BERT does, and encodes the words.
 */
MUST_CHECK enum status wordpiece_encode(const struct wordpiece *w, const char *text, size_t n,
                                        struct ids *out);
/* Punctuation in BERT's sense: all of ASCII's symbols and Unicode's P*. */
bool wordpiece_is_punct(uint32_t cp);
/* A code point whose category is younger than the reference's tables. */
bool wordpiece_unassigned(uint32_t cp);

#endif

/* Unigram segmentation (Kudo, "Subword Regularization", 2018): of all ways to write a text as
 * pieces, the one whose log-probabilities have the largest sum, found by Viterbi's algorithm.
 *
 * A character that no piece covers alone may be unknown, at 10 below the least score; a run of
 * unknown characters becomes one unknown piece, or its bytes where the vocabulary has them. Of
 * equal sums the one found first stands, which is the one whose last piece is longer. */
#ifndef HEARTH_MODEL_TOKENIZER_UNIGRAM_H
#define HEARTH_MODEL_TOKENIZER_UNIGRAM_H

#include "model/vocab.h"
#include "model/vocab_pieces.h"

enum { UNIGRAM_MAX_PIECE = 4096 };

struct unigram_node; /* of the trie of pieces */
struct unigram {
    const struct pieces *pieces;
    double *score;   /* per piece; owned. -INFINITY: the piece takes no part */
    double unknown;  /* score of an unknown character */
    bool float_sums; /* sums are rounded to float, as the SentencePiece library keeps them */
    bool bytes;      /* unknown characters become byte pieces */
    int32_t unk;
    int32_t byte_id[256]; /* -1: absent */
    struct unigram_node *nodes;
    uint8_t *labels; /* the byte that leads to a node */
    size_t n_nodes;
};

/* What goes from one word to the next where the reference takes a text as a whole. */
struct unigram_state {
    double sum;
    bool in_unk; /* the last character was unknown */
};

/* `u` has all fields filled in except the trie's; pieces whose type's bit is in `types` take part.
 * Of equal texts the last counts. ERR_MEMORY, ERR_LIMIT. */
MUST_CHECK enum status unigram_init(struct unigram *u, unsigned types, struct err *e);
void unigram_fini(struct unigram *u);

/* Appends the ids of one word. ERR_MEMORY, ERR_LIMIT (a word of 2^31 bytes). */
MUST_CHECK enum status unigram_encode_word(const struct unigram *u, const char *word, size_t n,
                                           struct unigram_state *s, struct ids *out);

#endif

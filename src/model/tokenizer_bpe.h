/* Byte-pair encoding of one word: symbols are joined pair by pair, the best pair first and the
 * leftmost of equals, until no pair can be joined (Sennrich et al., "Neural Machine Translation of
 * Rare Words with Subword Units", 2016).
 *
 * Two ways to say which pair is best: a list of merges (GPT-2 and its heirs: the rank is the
 * place in the list) or the score of the joined piece (SentencePiece). Two kinds of first symbols:
 * bytes, or characters with bytes as a fallback for unknown ones. */
#ifndef HEARTH_MODEL_TOKENIZER_BPE_H
#define HEARTH_MODEL_TOKENIZER_BPE_H

#include "model/vocab.h"
#include "model/vocab_pieces.h"

struct bpe_pair {
    uint64_t key; /* left id << 32 | right id */
    uint32_t rank;
    int32_t id; /* of the joined piece + 1; 0: free slot */
};

struct bpe {
    const struct pieces *pieces;
    const struct piece_index *index; /* pieces that text may become */
    bool bytes;                      /* first symbols are bytes, not characters */
    bool by_score;
    bool ignore_merges;     /* a word that is a piece is that piece, whatever the merges say */
    bool fuse_unk;          /* a run of unknown characters gives one unknown piece */
    int32_t unk;            /* -1: unknown symbols are left out */
    int32_t byte_id[256];   /* first symbols, or the fallback; -1: absent */
    struct bpe_pair *pairs; /* open addressing; unused by_score */
    size_t n_slots, n_pairs;
    int32_t last_joined; /* of the merges added so far */
    uint8_t *whole;      /* per piece: does its own text become just it? 0: not yet known,
                                    1: yes, 2: no. Found lazily; every thread finds the same. */
};

/* `b` has its fields filled in except pairs and whole; room for n_merges. ERR_MEMORY. */
MUST_CHECK enum status bpe_init(struct bpe *b, size_t n_merges);
void bpe_fini(struct bpe *b);
/* The next merge in order of rank; of two for the same pair the first counts. */
void bpe_add_merge(struct bpe *b, int32_t left, int32_t right, int32_t joined);

/* Appends the ids of one word. ERR_MEMORY, ERR_LIMIT (a word of 2^31 bytes). */
MUST_CHECK enum status bpe_encode_word(const struct bpe *b, const char *word, size_t n,
                                       struct ids *out);

#endif

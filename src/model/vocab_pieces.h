/* Pieces: the texts, types and scores of a vocabulary in flat arrays, and hash indexes from text to
 * id over them.
 *
 * A piece's text is what a tokenizer compares with: raw bytes for byte-level BPE (the printable
 * disguise of the file is taken off at loading), the stored text otherwise. Filled once in order of
 * ids by one thread; read-only after that. */
#ifndef HEARTH_MODEL_VOCAB_PIECES_H
#define HEARTH_MODEL_VOCAB_PIECES_H

#include "base/mem.h"

#include <string.h>

/* Numbers as in GGUF's tokenizer.ggml.token_type and in SentencePiece's ModelProto. */
enum piece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3,
    PIECE_USER = 4,
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6
};

struct pieces {
    struct buf text;
    uint32_t *at; /* piece i is text.data[at[i] .. at[i + 1]) */
    uint8_t *type;
    float *score; /* NULL: none */
    int32_t n, cap;
    uint32_t max_len;
};

enum { PIECES_MAX = 1 << 24, PIECES_MAX_BYTES = 1 << 30 };

MUST_CHECK enum status pieces_init(struct pieces *p, size_t count, bool scores);
void pieces_fini(struct pieces *p);
/* The next id; `count` pieces at most. ERR_MEMORY, ERR_LIMIT. */
MUST_CHECK enum status pieces_add(struct pieces *p, const char *text, size_t n,
                                  enum piece_type type, float score);

static inline const char *piece_text(const struct pieces *p, int32_t id)
{
    return p->text.data + p->at[id];
}
static inline size_t piece_len(const struct pieces *p, int32_t id)
{
    return p->at[id + 1] - p->at[id];
}

/* An index over some of the pieces: open addressing, 8 bytes a slot. */
struct piece_slot {
    uint32_t tag;
    int32_t id; /* id + 1; 0: free */
};
struct piece_index {
    struct piece_slot *slots;
    size_t mask;
    uint64_t seed; /* against crafted vocabularies */
    unsigned types;
    bool repeats; /* some text stands there twice */
};

/* Indexes the pieces whose type's bit (1 << type) is in `types`. Of equal texts the last id wins.
 */
MUST_CHECK enum status piece_index_init(struct piece_index *x, const struct pieces *p,
                                        unsigned types);
void piece_index_fini(struct piece_index *x);
/* The id of a text, -1 when absent. The second asks `guess` first, which may be any number: lists
 * of merges stand in the order of the pieces that they make. */
int32_t piece_find(const struct piece_index *x, const struct pieces *p, const char *text, size_t n);
int32_t piece_find_near(const struct piece_index *x, const struct pieces *p, const char *text,
                        size_t n, int32_t guess);

#endif

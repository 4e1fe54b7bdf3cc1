/* Added tokens: texts that become one id wherever they stand, before anything else looks at the
 * text ("<|im_start|>", "[MASK]", runs of spaces).
 *
 * The leftmost match counts, and of those the longest, found by walking a trie from every position.
 * Texts are at most ADDED_MAX_BYTES long, which bounds the walk; an Aho-Corasick automaton would
 * bound it without that, but no real vocabulary has overlapping added tokens worth its links. */
#ifndef HEARTH_MODEL_TOKENIZER_ADDED_H
#define HEARTH_MODEL_TOKENIZER_ADDED_H

#include "base/mem.h"

enum { ADDED_MAX_BYTES = 512, ADDED_MAX_TOKENS = 1 << 20 };

struct added_token {
    int32_t id;
    bool special;     /* only where the caller asked for special tokens */
    bool lstrip;      /* takes the white space before it along */
    bool rstrip;      /* and after it */
    bool single_word; /* not within a word */
};

struct added_node;
struct added {
    struct added_token *tokens;
    size_t n, cap;
    struct added_node *nodes;
    size_t n_nodes, cap_nodes;
    int32_t first[256]; /* node of each first byte + 1; 0: none */
};

struct added_match {
    size_t at, end;   /* with the white space that it takes along */
    size_t scan_from; /* where to look for the next one */
    const struct added_token *token;
};

/* Zeroed struct = empty. A text that is there already keeps the later token. ERR_MEMORY, ERR_LIMIT.
 */
MUST_CHECK enum status added_put(struct added *a, const char *text, size_t n,
                                 struct added_token token);
void added_fini(struct added *a);

/* The first match at or after `from`; its white space does not reach back before `floor`. */
bool added_next(const struct added *a, const char *text, size_t n, size_t from, size_t floor,
                bool special, struct added_match *m);
/* Bytes of the longest text that p[0..n) begins with, 0: none. */
size_t added_at(const struct added *a, const char *p, size_t n);

#endif

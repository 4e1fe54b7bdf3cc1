/* The character map of SentencePiece (precompiled_charsmap): rules that turn sequences of bytes
 * into normalised text, NFKC and more, as the trainer compiled them into the model.
 *
 *   u32       bytes of the trie, a multiple of 4
 *   u32[]     units of a double array (darts-clone):
 *               bits 0-7 label, bit 8 "a rule ends here", bit 9 offset << 8, bits 10-31 offset
 *               a unit with bit 31 is a leaf; its other bits are where in the pool its text begins
 *   bytes     pool of texts, each closed by a NUL
 *
 * All little-endian. Read-only after opening, safe from any thread. */
#ifndef HEARTH_MODEL_TOKENIZER_CHARSMAP_H
#define HEARTH_MODEL_TOKENIZER_CHARSMAP_H

#include "base/mem.h"
#include "model/tokenizer_added.h"

struct charsmap {
    uint32_t *units;
    size_t n_units;
    char *pool;
    size_t n_pool;
};

/* Copies the map; `n` 0 gives one without rules. ERR_FORMAT, ERR_MEMORY. */
MUST_CHECK enum status charsmap_init(struct charsmap *c, const void *blob, size_t n, struct err *e);
void charsmap_fini(struct charsmap *c);

/* How SentencePiece normalises a text: at every place the longest rule, spaces to U+2581. */
struct spm_rules {
    const struct charsmap *map;
    const struct added *user; /* texts that no rule changes; NULL: none */
    bool squeeze;             /* remove_extra_whitespaces: one space of many, none at the ends */
    bool prefix;              /* add_dummy_prefix: a space before a text */
};
void charsmap_normalize_spm(const struct spm_rules *r, const char *p, size_t n, struct buf *out);

/* How the tokenizers library does it ("Precompiled"): a grapheme cluster of fewer than 6 bytes
 * becomes the text of its shortest rule as a whole; otherwise each character does. */
void charsmap_normalize_clusters(const struct charsmap *c, const char *p, size_t n,
                                 struct buf *out);

#endif

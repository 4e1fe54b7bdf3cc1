/* Insides of struct vocab, shared by vocab.c and by the readers that fill it (vocab_gguf.c,
 * vocab_json.c, vocab_files.c).
 *
 * One pipeline serves every kind; a reader only sets its parts:
 *
 *   text -> added tokens -> normalizer -> added tokens of normal form -> cut into words -> ids
 *           (raw text)                                                  pretok, BERT's
 *                                                                       rules, or at spaces */
#ifndef HEARTH_MODEL_VOCAB_INTERNAL_H
#define HEARTH_MODEL_VOCAB_INTERNAL_H

#include "model/pretok.h"
#include "model/tokenizer_added.h"
#include "model/tokenizer_bpe.h"
#include "model/tokenizer_normal.h"
#include "model/tokenizer_unigram.h"
#include "model/tokenizer_wordpiece.h"
#include "model/vocab.h"
#include "model/vocab_pieces.h"

enum { VOCAB_MAX_AFFIX = 8, VOCAB_MAX_END = 32, VOCAB_MAX_TEXT = 1 << 30 };

enum vocab_cut {
    CUT_PRETOK, /* by the steps of pretok (none: the whole text is one word) */
    CUT_BERT,   /* white space and punctuation */
    CUT_SPACES, /* before every run of U+2581, where no piece can reach across */
    CUT_MARKS   /* before every U+2581 */
};

struct vocab {
    enum vocab_kind kind;
    struct pieces pieces;
    struct piece_index normal;  /* pieces that text becomes by merging or matching */
    struct piece_index special; /* all others, by stored text */
    struct added added, added_normal;
    struct normalizer norm;
    struct normalizer norm_bare; /* with bare_after_user: norm without the space in front */
    struct charsmap charsmap;
    struct added user; /* texts that the normalizer leaves alone */
    struct pretok pretok;
    enum vocab_cut cut;
    bool byte_level;      /* pieces hold bytes; the stored text is their printable disguise */
    bool prefix_space;    /* ByteLevel: a space before a text that has none */
    bool spaced_pieces;   /* WordPiece as GGUF stores it: U+2581 marks words, not ## the rest */
    bool drop_space;      /* decoding takes one leading space away */
    bool drop_spaces;     /* ... or all of them */
    bool bare_after_user; /* no space in front of a part that follows a user-defined piece */
    bool metaspace;       /* spaces become U+2581 after normalizing ... */
    bool meta_first;      /* ... and one is put before the text only at the very beginning, */
    bool meta_prepend;    /* or before every part that has none */
    bool split_white;     /* the pre-tokenizer cuts at white space first */
    bool meta_words;      /* ... and then each word gets its own U+2581 */
    bool whole;           /* Unigram: sums go on from word to word, see struct unigram_state */
    bool clean_decode;    /* WordPiece: no space before . , ! ? and English contractions */
    struct bpe bpe;
    struct wordpiece wordpiece;
    struct unigram unigram;
    int32_t prefix[VOCAB_MAX_AFFIX], suffix[VOCAB_MAX_AFFIX]; /* with ENCODE_ADD_SPECIAL */
    int n_prefix, n_suffix;
    int pair_seps;
    int32_t bos, eos, pad, unk, mask, cls, sep;
    int32_t end[VOCAB_MAX_END];
    int n_end;
    char pre[64];
};

/* A vocab with every id absent; NULL: out of memory. */
struct vocab *vocab_new(enum vocab_kind kind);

/* Decodes a piece as byte-level files store it ("\u0120the" -> " the") to *out (emptied first);
 * false when a character is outside the alphabet of bytes: then the text stands for itself. */
bool vocab_bytes_of(const char *stored, size_t n, struct buf *out);

/* For VOCAB_UNIGRAM, after vocab_index: builds the trie over u->score and u->unknown, which the
 * caller has set, with the pieces of these types; `bytes` asks for byte pieces as a fallback. */
MUST_CHECK enum status vocab_index_unigram(struct vocab *v, unsigned types, bool bytes,
                                           struct err *e);
/* Scores of all pieces for it: those of pieces.score and, for user-defined pieces, `user` for every
 * byte after the first; an unknown character gets 10 less than the least ordinary piece. */
MUST_CHECK enum status vocab_unigram_scores(struct vocab *v, double user, struct err *e);
/* After all pieces are in: builds the indexes and the parts that depend on them, finds byte pieces
 * and end tokens by text. Before merges are added. */
MUST_CHECK enum status vocab_index(struct vocab *v, size_t n_merges, struct err *e);
/* Makes piece `id` an added token of raw text. */
MUST_CHECK enum status vocab_add_token(struct vocab *v, int32_t id, struct err *e);
bool vocab_add_prefix(struct vocab *v, int32_t id); /* false: too many */
bool vocab_add_suffix(struct vocab *v, int32_t id);
void vocab_add_end(struct vocab *v, int32_t id);
/* "left right" of a merges list; ERR_FORMAT names it. `rank` is for the message. */
MUST_CHECK enum status vocab_add_merge(struct vocab *v, const char *left, size_t n_left,
                                       const char *right, size_t n_right, size_t rank,
                                       struct err *e);

MUST_CHECK enum status vocab_from_gguf(const struct weights *w, struct vocab **out, struct err *e);
/* The texts of the files; config (tokenizer_config.json) may be NULL. `place` names them in errors.
 */
MUST_CHECK enum status vocab_from_json(const char *json, size_t n, const char *config,
                                       size_t n_config, const char *place, struct vocab **out,
                                       struct err *e);
MUST_CHECK enum status vocab_from_list(const char *list, size_t n, const char *config,
                                       size_t n_config, const char *place, struct vocab **out,
                                       struct err *e);
/* `fairseq`: XLM-R's ids, <s> <pad> </s> <unk> in front of the file's pieces and <mask> behind. */
MUST_CHECK enum status vocab_from_sentencepiece(const void *data, size_t n, bool fairseq,
                                                const char *place, struct vocab **out,
                                                struct err *e);

#endif

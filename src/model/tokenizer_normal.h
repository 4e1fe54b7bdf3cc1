/* Normalizers: what happens to a text before it is cut into words. A list of operations as
 * tokenizer.json names them; GGUF and SentencePiece settings are put into the same words. */
#ifndef HEARTH_MODEL_TOKENIZER_NORMAL_H
#define HEARTH_MODEL_TOKENIZER_NORMAL_H

#include "model/tokenizer_charsmap.h"

enum normal_kind {
    NORMAL_NFC,
    NORMAL_NFD,
    NORMAL_NFKC,
    NORMAL_NFKD,
    NORMAL_LOWER,
    NORMAL_STRIP_ACCENTS,
    NORMAL_STRIP,    /* white space at the ends: left, right */
    NORMAL_SQUEEZE,  /* runs of spaces to one, none at the ends (SentencePiece) */
    NORMAL_REPLACE,  /* every `a` by `b` */
    NORMAL_PREPEND,  /* `b` before a text that is not empty */
    NORMAL_RUNS,     /* every run of at least `least` times the character `a` by one `b` */
    NORMAL_NMT,      /* controls away, blanks of all kinds to spaces (the Nmt of tokenizers) */
    NORMAL_CHARSMAP, /* SentencePiece's map, as the tokenizers library applies it */
    NORMAL_SPM,      /* ... and as SentencePiece does, with its spaces */
    NORMAL_BERT
};

struct normal_op {
    enum normal_kind kind;
    bool left, right;                  /* NORMAL_STRIP */
    bool clean, cjk, strip, lowercase; /* NORMAL_BERT */
    char a[16], b[16];                 /* NORMAL_REPLACE, NORMAL_PREPEND, NORMAL_RUNS */
    int least;                         /* NORMAL_RUNS */
    struct spm_rules spm;              /* NORMAL_SPM; NORMAL_CHARSMAP: the map */
};

enum { NORMAL_MAX_OPS = 16 };
struct normalizer {
    struct normal_op ops[NORMAL_MAX_OPS];
    int n;
};

/* Appends the normal form of text[0..n); out->failed when memory runs out. */
void normalize_text(const struct normalizer *z, const char *text, size_t n, struct buf *out);

#endif

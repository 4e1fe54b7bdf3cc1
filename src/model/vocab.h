/* Vocabulary and tokenizer: text <-> ids, exactly as the model's reference implementation does it.
 *
 * Kinds: byte-level BPE with the pre-tokenizer that the file names (gpt-2, llama-bpe, qwen2,
 * smollm, deepseek, falcon, starcoder, ...), SentencePiece BPE (Llama 2, Mistral), SentencePiece
 * Unigram (XLM-R, T5), WordPiece (BERT). Loaded from GGUF metadata or from a directory's
 * tokenizer.json, vocab.txt or tokenizer.model. An unknown pre-tokenizer is ERR_UNSUPPORTED and
 * names it: ids are never guessed.
 *
 * Read-only after opening: any number of threads may encode and decode at once; scratch comes from
 * the caller's ids buffer. */
#ifndef HEARTH_MODEL_VOCAB_H
#define HEARTH_MODEL_VOCAB_H

#include "model/weights.h"

struct vocab;

enum vocab_kind { VOCAB_BPE, VOCAB_SPM, VOCAB_WORDPIECE, VOCAB_UNIGRAM };

/* A growable array of ids; zeroed struct = empty. */
struct ids {
    int32_t *data;
    size_t n, cap;
};
bool ids_push(struct ids *ids, int32_t id); /* false: out of memory */
void ids_fini(struct ids *ids);

MUST_CHECK enum status vocab_open(const struct weights *w, struct vocab **out, struct err *e);
void vocab_close(struct vocab *v);

enum {
    ENCODE_ADD_SPECIAL = 1, /* BOS/EOS or [CLS]/[SEP] where the model's settings ask for them */
    ENCODE_PARSE_SPECIAL =
        2 /* "<|im_start|>" in the text becomes its token; otherwise it is plain text */
};
/* Appends the ids of text[0..n). Invalid UTF-8 is treated as the reference treats it (bytes, or
 * U+FFFD for WordPiece). ERR_MEMORY, ERR_LIMIT. */
MUST_CHECK enum status vocab_encode(const struct vocab *v, const char *text, size_t n,
                                    unsigned flags, struct ids *out, struct err *e);

/* Appends the bytes of one token; special (control) tokens give their text only with `special`. An
 * id out of range gives nothing. */
void vocab_decode_one(const struct vocab *v, int32_t id, bool special, struct buf *out);
/* Appends the text of n ids: the inverse of encode for BPE, SPM and Unigram (the space that SPM
 * puts in front of a text is taken away); WordPiece joins pieces with spaces as the reference
 * decoder does.
 */
void vocab_decode(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                  struct buf *out);

enum vocab_kind vocab_kind(const struct vocab *v);
const char *
vocab_pre(const struct vocab *v); /* "smollm", "llama-bpe", ...; "" when the kind has none */
int32_t vocab_size(const struct vocab *v);
/* -1 where the model has none */
int32_t vocab_bos(const struct vocab *v);
int32_t vocab_eos(const struct vocab *v);
int32_t vocab_pad(const struct vocab *v);
int32_t vocab_unk(const struct vocab *v);
int32_t vocab_mask(const struct vocab *v);
int32_t vocab_cls(const struct vocab *v);
int32_t vocab_sep(const struct vocab *v);
/* How many of them stand between the parts of a pair: 2 for RoBERTa's family, 1 for BERT's. */
int vocab_pair_seps(const struct vocab *v);
bool vocab_is_end(
    const struct vocab *v,
    int32_t id); /* any of the model's end tokens: EOS, EOT, end of message, <|im_end|>, ... */
bool vocab_is_special(const struct vocab *v, int32_t id); /* control token */
bool vocab_find(const struct vocab *v, const char *piece, size_t n,
                int32_t *id); /* by its exact stored text */

/* Number of bytes at the end of p[0..n) that begin a UTF-8 sequence without finishing it (0..3): a
 * stream holds these back. */
size_t utf8_incomplete_tail(const char *p, size_t n);

#endif

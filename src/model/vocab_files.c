/* Opening a vocabulary: from the metadata of a GGUF file, else from the first tokenizer file that
 * lies beside a directory's weights. */
#include "model/vocab_internal.h"

#include "base/file.h"

enum { FILE_MAX_BYTES = 256 << 20 };

/* The files that can hold a vocabulary, the most exact first. */
static const struct {
    const char *name;
    int kind; /* JSON, SentencePiece, list */
} files[] = {{"tokenizer.json", 0},
             {"tokenizer.model", 1},
             {"sentencepiece.bpe.model", 1},
             {"vocab.txt", 2}};
enum { N_FILES = sizeof files / sizeof files[0] };

static enum status read_as(const struct weights *w, int kind, const struct buf *b,
                           const struct buf *config, const char *path, struct vocab **out,
                           struct err *e)
{
    bool fairseq = false;
    const char *text = b->data ? b->data : "";
    switch (kind) {
    case 0:
        return vocab_from_json(text, b->len, config->data, config->len, path, out, e);
    case 1:
        (void)meta_bool(w, "tokenizer.fairseq_ids", &fairseq);
        return vocab_from_sentencepiece(text, b->len, fairseq, path, out, e);
    default:
        return vocab_from_list(text, b->len, config->data, config->len, path, out, e);
    }
}

/* Ids that only config.json and generation_config.json give, which the weights' reader put under
 * GGUF's keys. */
static void complete_ids(const struct weights *w, struct vocab *v)
{
    const struct {
        const char *key;
        int32_t *id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", &v->bos},
        {"tokenizer.ggml.eos_token_id", &v->eos},
        {"tokenizer.ggml.padding_token_id", &v->pad},
        {"tokenizer.ggml.unknown_token_id", &v->unk},
        {"tokenizer.ggml.mask_token_id", &v->mask},
        {"tokenizer.ggml.cls_token_id", &v->cls},
        {"tokenizer.ggml.seperator_token_id", &v->sep},
    };
    int64_t id;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (*ids[i].id < 0 && meta_i64(w, ids[i].key, &id) && id >= 0 && id < v->pieces.n) {
            *ids[i].id = (int32_t)id;
        }
    }
    bool add;
    if (v->kind == VOCAB_UNIGRAM && v->n_prefix && v->n_suffix) { /* the parts of a pair */
        v->cls = v->cls < 0 ? v->prefix[0] : v->cls;
        v->sep = v->sep < 0 ? v->suffix[0] : v->sep;
    }
    bool bare = (v->kind == VOCAB_SPM && v->bpe.by_score) ||
                (v->kind == VOCAB_UNIGRAM && v->whole && !v->n_prefix);
    if (bare) { /* a bare model says nothing about these */
        if (v->bos >= 0 && (!meta_bool(w, "tokenizer.ggml.add_bos_token", &add) || add)) {
            (void)vocab_add_prefix(v, v->bos);
        }
        if (v->eos >= 0 && meta_bool(w, "tokenizer.ggml.add_eos_token", &add) && add) {
            (void)vocab_add_suffix(v, v->eos);
        }
    }
    vocab_add_end(v, v->eos);
    enum meta_kind kind;
    size_t n = meta_array_len(w, "tokenizer.ggml.eos_token_ids", &kind);
    for (size_t i = 0; i < n; i++) {
        if (meta_array_i64(w, "tokenizer.ggml.eos_token_ids", i, &id) && id >= 0 &&
            id < v->pieces.n) {
            vocab_add_end(v, (int32_t)id);
        }
    }
}

static enum status open_sibling(const struct weights *w, int kind, const char *path,
                                struct vocab **out, struct err *e)
{
    struct buf b = {0}, config = {0};
    const char *settings = weights_sibling(w, "tokenizer_config.json");
    enum status st = file_read(path, FILE_MAX_BYTES, &b, e);
    if (!st && settings) {
        st = file_read(settings, FILE_MAX_BYTES, &config, e);
    }
    if (!st) {
        st = read_as(w, kind, &b, &config, path, out, e);
    }
    if (!st) {
        complete_ids(w, *out);
    }
    buf_fini(&b);
    buf_fini(&config);
    return st;
}

enum status vocab_open(const struct weights *w, struct vocab **out, struct err *e)
{
    struct meta_str model;
    if (meta_string(w, "tokenizer.ggml.model", &model)) {
        return vocab_from_gguf(w, out, e);
    }
    for (int i = 0; i < N_FILES; i++) {
        const char *path = weights_sibling(w, files[i].name);
        if (path) {
            return open_sibling(w, files[i].kind, path, out, e);
        }
    }
    return err_set(e, ERR_NOT_FOUND, weights_path(w),
                   "no tokenizer: neither GGUF metadata nor tokenizer.json, tokenizer.model, "
                   "sentencepiece.bpe.model or vocab.txt");
}

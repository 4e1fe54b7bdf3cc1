/* Vocabulary from GGUF metadata (ggml-org/ggml, docs/gguf.md, "Tokenizer"): keys tokenizer.ggml.*.
 */
#include "model/vocab_internal.h"

#include <stdlib.h>

#define KEY(name) "tokenizer.ggml." name

static const char LOW_LINE[] = "\xE2\x96\x81";

static int32_t id_of(const struct weights *w, const char *key, int32_t n)
{
    int64_t id;
    return meta_i64(w, key, &id) && id >= 0 && id < n ? (int32_t)id : -1;
}

static bool flag(const struct weights *w, const char *key, bool otherwise)
{
    bool b;
    return meta_bool(w, key, &b) ? b : otherwise;
}

/* WordPiece pieces come with U+2581 before words and nothing before the rest; they are put back
 * into the spelling of the algorithm: words bare, the rest behind "##". */
static void unspace(const struct meta_str *s, enum piece_type type, struct buf *out)
{
    buf_reset(out);
    bool word = s->n >= 3 && memcmp(s->p, LOW_LINE, 3) == 0;
    bool plain = type == PIECE_NORMAL || type == PIECE_USER;
    buf_puts(out, plain && !word ? "##" : "");
    buf_put(out, s->p + (word ? 3 : 0), s->n - (word ? 3 : 0));
}

static enum status add_piece(struct vocab *v, const struct meta_str *s, enum piece_type type,
                             float score, struct buf *scratch)
{
    if (v->spaced_pieces) {
        unspace(s, type, scratch);
        return scratch->failed ? ERR_MEMORY
                               : pieces_add(&v->pieces, scratch->data, scratch->len, type, score);
    }
    if (v->byte_level && type == PIECE_NORMAL && vocab_bytes_of(s->p, s->n, scratch)) {
        return scratch->failed ? ERR_MEMORY
                               : pieces_add(&v->pieces, scratch->data, scratch->len, type, score);
    }
    return pieces_add(&v->pieces, s->p, s->n, type, score);
}

static enum status read_pieces(const struct weights *w, struct vocab *v, struct err *e)
{
    enum meta_kind kind;
    size_t n = meta_array_len(w, KEY("tokens"), &kind);
    if (!n || kind != META_STRING) {
        return err_set(e, ERR_FORMAT, weights_path(w), KEY("tokens") " is missing");
    }
    bool scores = v->kind == VOCAB_SPM || v->kind == VOCAB_UNIGRAM;
    size_t n_types = meta_array_len(w, KEY("token_type"), &kind);
    size_t n_scores = meta_array_len(w, KEY("scores"), &kind);
    if ((n_types && n_types != n) || (scores && n_scores != n)) {
        return err_set(e, ERR_FORMAT, weights_path(w), "%zu tokens, but %zu types and %zu scores",
                       n, n_types, n_scores);
    }
    enum status st = pieces_init(&v->pieces, n, scores);
    const struct meta_array *texts = meta_array_find(w, KEY("tokens"));
    const struct meta_array *type_of = meta_array_find(w, KEY("token_type"));
    const struct meta_array *score_of = meta_array_find(w, KEY("scores"));
    struct buf scratch = {0};
    buf_puts(&scratch, "");
    for (size_t i = 0; i < n && !st; i++) {
        struct meta_str s;
        int64_t type = PIECE_NORMAL;
        double score = 0;
        if (!meta_item_string(texts, i, &s) || (n_types && !meta_item_i64(type_of, i, &type)) ||
            (scores && !meta_item_f64(score_of, i, &score)) || score != score) {
            st = err_set(e, ERR_FORMAT, weights_path(w), "token %zu cannot be read", i);
            break;
        }
        if (type < PIECE_NORMAL || type > PIECE_BYTE) {
            type = PIECE_NORMAL;
        }
        st = add_piece(v, &s, (enum piece_type)type, (float)score, &scratch);
        if (st) {
            (void)err_set(e, st, weights_path(w), "token %zu of %zu", i, n);
        }
    }
    buf_fini(&scratch);
    return st;
}

static enum status read_merges(const struct weights *w, struct vocab *v, size_t n, struct err *e)
{
    const struct meta_array *merges = meta_array_find(w, KEY("merges"));
    for (size_t i = 0; i < n; i++) {
        struct meta_str s;
        const char *space = NULL;
        if (meta_item_string(merges, i, &s) && s.n > 2) {
            space = memchr(s.p + 1, ' ', s.n - 1);
        }
        if (!space) {
            return err_set(e, ERR_FORMAT, weights_path(w), "merge %zu has no two parts", i);
        }
        size_t left = (size_t)(space - s.p);
        enum status st = vocab_add_merge(v, s.p, left, space + 1, s.n - left - 1, i, e);
        if (st) {
            return err_prefix(e, "%s", weights_path(w));
        }
    }
    return OK;
}

static enum status read_pre(const struct weights *w, struct vocab *v, const struct pretok_row **out,
                            struct err *e)
{
    struct meta_str s = {"default", 7};
    (void)meta_string(w, KEY("pre"), &s);
    const struct pretok_row *row = pretok_row(s.p, s.n);
    if (!row) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(w), "unknown pre-tokenizer \"%.*s\"",
                       (int)(s.n < 64 ? s.n : 64), s.p);
    }
    memcpy(v->pre, row->name, strlen(row->name) + 1);
    v->bpe.ignore_merges = row->ignore_merges;
    for (int i = 0; i < PRETOK_MAX_STEPS && row->patterns[i]; i++) {
        enum status st = pretok_add(&v->pretok, row->patterns[i], strlen(row->patterns[i]),
                                    PRETOK_ISOLATED, false, e);
        if (st) {
            return st;
        }
    }
    *out = row;
    return pretok_prepare(&v->pretok, false, e);
}

static void push_op(struct vocab *v, struct normal_op op)
{
    v->norm.ops[v->norm.n++] = op;
}

static enum status set_unigram(const struct weights *w, struct vocab *v, struct err *e)
{
    const struct meta_array *map = meta_array_find(w, KEY("precompiled_charsmap"));
    struct buf b = {0};
    enum meta_kind kind;
    size_t n = meta_array_len(w, KEY("precompiled_charsmap"), &kind);
    int64_t byte;
    v->whole = true;
    v->drop_space = flag(w, KEY("add_space_prefix"), true);
    push_op(v, (struct normal_op){.kind = NORMAL_SPM,
                                  .spm = {.map = &v->charsmap,
                                          .squeeze = flag(w, KEY("remove_extra_whitespaces"), true),
                                          .prefix = v->drop_space}});
    if (!flag(w, KEY("escape_whitespaces"), true) ||
        flag(w, KEY("treat_whitespace_as_suffix"), false)) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(w),
                       "a Unigram tokenizer without escaped spaces in front of words");
    }
    for (size_t i = 0; i < n; i++) {
        if (!meta_item_i64(map, i, &byte) || byte < -128 || byte > 255) {
            buf_fini(&b);
            return err_set(e, ERR_FORMAT, weights_path(w),
                           KEY("precompiled_charsmap") " is no array of bytes");
        }
        buf_putc(&b, (char)byte);
    }
    enum status st = b.failed ? err_set(e, ERR_MEMORY, weights_path(w), "character map")
                              : charsmap_init(&v->charsmap, b.data, b.len, e);
    buf_fini(&b);
    return st;
}

/* Unknown characters become bytes where all bytes are pieces; user-defined pieces cost nothing. */
static enum status index_unigram(const struct weights *w, struct vocab *v, struct err *e)
{
    bool bytes = true;
    for (int b = 0; b < 256; b++) {
        bytes = bytes && v->bpe.byte_id[b] >= 0;
    }
    enum status st = vocab_unigram_scores(v, 0, e);
    st = st ? st : vocab_index_unigram(v, 1u << PIECE_NORMAL | 1u << PIECE_USER, bytes, e);
    return st ? err_prefix(e, "%s", weights_path(w)) : OK;
}

/* What each kind needs besides pieces and ids. */
static enum status set_kind(const struct weights *w, struct vocab *v, const struct pretok_row **row,
                            struct err *e)
{
    static const struct pretok_row none;
    *row = &none;
    switch (v->kind) {
    case VOCAB_BPE:
        v->byte_level = true;
        return read_pre(w, v, row, e);
    case VOCAB_SPM:
        v->bpe.by_score = true;
        v->bpe.fuse_unk = true;
        v->drop_space = flag(w, KEY("add_space_prefix"), true);
        if (flag(w, KEY("remove_extra_whitespaces"), false)) {
            push_op(v, (struct normal_op){.kind = NORMAL_SQUEEZE});
        }
        if (v->drop_space) {
            push_op(v, (struct normal_op){.kind = NORMAL_PREPEND, .b = " "});
        }
        push_op(v, (struct normal_op){.kind = NORMAL_REPLACE, .a = " ", .b = "\xE2\x96\x81"});
        return OK;
    case VOCAB_UNIGRAM:
        return set_unigram(w, v, e);
    case VOCAB_WORDPIECE:
        v->spaced_pieces = true;
        v->cut = CUT_BERT;
        v->clean_decode = true;
        v->wordpiece.max_chars = 100;
        memcpy(v->wordpiece.prefix, "##", 3);
        push_op(v, (struct normal_op){
                       .kind = NORMAL_BERT,
                       .clean = true,
                       .cjk = true,
                       .lowercase = flag(w, KEY("normalizer.lowercase"), true),
                       .strip = flag(w, KEY("normalizer.strip_accents"),
                                     flag(w, KEY("normalizer.lowercase"), true)),
                   });
        return OK;
    }
    return ERR_INTERNAL;
}

static void read_ids(const struct weights *w, struct vocab *v)
{
    int32_t n = v->pieces.n;
    v->bos = id_of(w, KEY("bos_token_id"), n);
    v->eos = id_of(w, KEY("eos_token_id"), n);
    v->pad = id_of(w, KEY("padding_token_id"), n);
    v->unk = id_of(w, KEY("unknown_token_id"), n);
    v->mask = id_of(w, KEY("mask_token_id"), n);
    v->cls = id_of(w, KEY("cls_token_id"), n);
    v->sep = id_of(w, KEY("seperator_token_id"), n); /* the key is spelled so */
    if (v->sep < 0) {
        v->sep = id_of(w, KEY("separator_token_id"), n);
    }
    bool pairs = v->kind == VOCAB_WORDPIECE || v->kind == VOCAB_UNIGRAM;
    if (pairs && v->cls < 0) {
        v->cls = v->bos;
    }
    if (pairs && v->sep < 0) {
        v->sep = v->eos;
    }
    v->pair_seps = v->kind == VOCAB_UNIGRAM ? 2 : 1;
    v->wordpiece.unk = v->unk;
    v->bpe.unk = v->kind == VOCAB_SPM ? v->unk : -1;
    vocab_add_end(v, v->eos);
    vocab_add_end(v, id_of(w, KEY("eot_token_id"), n));
    vocab_add_end(v, id_of(w, KEY("eom_token_id"), n));
}

static enum status set_affixes(const struct weights *w, struct vocab *v,
                               const struct pretok_row *row, struct err *e)
{
    bool word = v->kind == VOCAB_WORDPIECE;
    bool bos = flag(w, KEY("add_bos_token"), word || v->kind == VOCAB_SPM || row->add_bos);
    bool eos = flag(w, KEY("add_eos_token"), v->kind == VOCAB_UNIGRAM && v->eos >= 0);
    bool sep = flag(w, KEY("add_sep_token"), word || row->add_sep);
    int32_t first = word ? v->cls : v->bos;
    if ((bos && first < 0) || (eos && v->eos < 0) || (sep && v->sep < 0)) {
        return err_set(e, ERR_FORMAT, weights_path(w),
                       "the tokenizer adds a token whose id the file does not give");
    }
    if (bos) {
        (void)vocab_add_prefix(v, first);
    }
    if (sep) {
        (void)vocab_add_suffix(v, v->sep);
    }
    if (eos && !((word || (sep && v->kind == VOCAB_UNIGRAM)) && v->eos == v->sep)) {
        (void)vocab_add_suffix(v, v->eos);
    }
    return OK;
}

static enum status add_special_tokens(struct vocab *v, struct err *e)
{
    for (int32_t i = 0; i < v->pieces.n; i++) {
        int t = v->pieces.type[i];
        if (t == PIECE_CONTROL || t == PIECE_USER || t == PIECE_UNKNOWN) {
            enum status st = vocab_add_token(v, i, e);
            if (st) {
                return st;
            }
        }
    }
    return OK;
}

static enum status kind_of(const struct weights *w, enum vocab_kind *kind, struct err *e)
{
    static const struct {
        const char *name;
        enum vocab_kind kind;
    } models[] = {{"gpt2", VOCAB_BPE},
                  {"llama", VOCAB_SPM},
                  {"bert", VOCAB_WORDPIECE},
                  {"t5", VOCAB_UNIGRAM}};
    struct meta_str s;
    if (!meta_string(w, KEY("model"), &s)) {
        return err_set(e, ERR_FORMAT, weights_path(w), KEY("model") " is missing");
    }
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (s.n == strlen(models[i].name) && memcmp(s.p, models[i].name, s.n) == 0) {
            *kind = models[i].kind;
            return OK;
        }
    }
    return err_set(e, ERR_UNSUPPORTED, weights_path(w), "tokenizer of kind \"%.*s\"",
                   (int)(s.n < 64 ? s.n : 64), s.p);
}

static enum status fill(const struct weights *w, struct vocab *v, struct err *e)
{
    const struct pretok_row *row;
    enum meta_kind kind;
    size_t n_merges = meta_array_len(w, KEY("merges"), &kind);
    enum status st = set_kind(w, v, &row, e);
    st = st ? st : read_pieces(w, v, e);
    if (st) {
        return st;
    }
    read_ids(w, v);
    if (v->kind == VOCAB_BPE && !n_merges) {
        return err_set(e, ERR_FORMAT, weights_path(w), KEY("merges") " is missing");
    }
    if (v->kind == VOCAB_WORDPIECE && v->unk < 0) {
        return err_set(e, ERR_FORMAT, weights_path(w), KEY("unknown_token_id") " is missing");
    }
    st = vocab_index(v, n_merges, e);
    if (!st && v->kind == VOCAB_UNIGRAM) {
        st = index_unigram(w, v, e);
    }
    if (!st && v->kind == VOCAB_BPE) {
        st = read_merges(w, v, n_merges, e);
    }
    st = st ? st : add_special_tokens(v, e);
    return st ? st : set_affixes(w, v, row, e);
}

enum status vocab_from_gguf(const struct weights *w, struct vocab **out, struct err *e)
{
    enum vocab_kind kind = VOCAB_BPE;
    enum status st = kind_of(w, &kind, e);
    if (st) {
        return st;
    }
    struct vocab *v = vocab_new(kind);
    if (!v) {
        return err_set(e, ERR_MEMORY, weights_path(w), "vocabulary");
    }
    st = fill(w, v, e);
    if (st) {
        vocab_close(v);
        return st;
    }
    *out = v;
    return OK;
}

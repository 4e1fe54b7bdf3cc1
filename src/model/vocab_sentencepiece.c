/* Vocabulary from a SentencePiece file (tokenizer.model): the protobuf message ModelProto of
 * google/sentencepiece, sentencepiece_model.proto.
 *
 *   ModelProto      1: pieces (repeated)  2: trainer_spec  3: normalizer_spec
 *   SentencePiece   1: piece (string)  2: score (float)  3: type (enum)
 *   TrainerSpec     3: model_type (1 unigram, 2 bpe)  24: treat_whitespace_as_suffix
 *                   35: byte_fallback
 *                   40..43: unk_id, bos_id, eos_id, pad_id
 *   NormalizerSpec  1: name  2: precompiled_charsmap  3: add_dummy_prefix
 *                   4: remove_extra_whitespaces  5: escape_whitespaces
 *
 * BPE and Unigram models; a character map only with the latter, which is where real files have one.
 * A reader of the dozen fields is shorter than a dependency on a protobuf library. */
#include "model/vocab_internal.h"

struct wire { /* a protobuf message being read */
    const uint8_t *p, *end;
};

struct field {
    uint32_t number;
    uint32_t kind; /* 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32 */
    uint64_t value;
    const uint8_t *data; /* kind 2 */
    size_t n;
};

static bool varint(struct wire *w, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; w->p < w->end && shift < 64; shift += 7) {
        uint8_t b = *w->p++;
        v |= (uint64_t)(b & 127) << shift;
        if (b < 128) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool fixed(struct wire *w, size_t bytes, uint64_t *out)
{
    *out = 0;
    if ((size_t)(w->end - w->p) < bytes) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        *out |= (uint64_t)*w->p++ << (8 * i);
    }
    return true;
}

/* The next field; false at the end, and with *bad when the message is damaged. */
static bool next_field(struct wire *w, struct field *f, bool *bad)
{
    uint64_t tag, n;
    if (w->p == w->end) {
        return false;
    }
    *f = (struct field){0};
    *bad = true;
    if (!varint(w, &tag) || tag >> 3 == 0 || tag >> 32) {
        return false;
    }
    f->number = (uint32_t)(tag >> 3);
    f->kind = tag & 7;
    bool ok = f->kind == 0   ? varint(w, &f->value)
              : f->kind == 1 ? fixed(w, 8, &f->value)
              : f->kind == 5 ? fixed(w, 4, &f->value)
                             : f->kind == 2 && varint(w, &n) && n <= (uint64_t)(w->end - w->p);
    if (!ok) {
        return false;
    }
    if (f->kind == 2) {
        f->data = w->p;
        f->n = (size_t)n;
        w->p += n;
    }
    *bad = false;
    return true;
}

struct settings {
    uint64_t model_type;
    bool byte_fallback, prefix, squeeze, escape, suffix;
    struct field charsmap; /* its value */
    int64_t unk, bos, eos, pad;
    char normalizer[32];
    size_t n_pieces;
};

static struct wire sub(const struct field *f)
{
    return (struct wire){f->data, f->data + f->n};
}

static bool read_trainer(struct wire w, struct settings *s)
{
    struct field f;
    bool bad = false;
    while (next_field(&w, &f, &bad)) {
        int64_t *id = f.number == 40   ? &s->unk
                      : f.number == 41 ? &s->bos
                      : f.number == 42 ? &s->eos
                      : f.number == 43 ? &s->pad
                                       : NULL;
        if (id && f.kind == 0) {
            *id = (int32_t)(uint32_t)f.value; /* -1 is ten bytes of varint */
        } else if (f.number == 3 && f.kind == 0) {
            s->model_type = f.value;
        } else if (f.number == 24 && f.kind == 0) {
            s->suffix = f.value != 0;
        } else if (f.number == 35 && f.kind == 0) {
            s->byte_fallback = f.value != 0;
        }
    }
    return !bad;
}

static bool read_normalizer(struct wire w, struct settings *s)
{
    struct field f;
    bool bad = false;
    while (next_field(&w, &f, &bad)) {
        if (f.number == 1 && f.kind == 2) {
            size_t n = f.n < sizeof s->normalizer - 1 ? f.n : sizeof s->normalizer - 1;
            memcpy(s->normalizer, f.data, n);
            s->normalizer[n] = 0;
        } else if (f.number == 2 && f.kind == 2) {
            s->charsmap = f;
        } else if (f.number == 3 && f.kind == 0) {
            s->prefix = f.value != 0;
        } else if (f.number == 4 && f.kind == 0) {
            s->squeeze = f.value != 0;
        } else if (f.number == 5 && f.kind == 0) {
            s->escape = f.value != 0;
        }
    }
    return !bad;
}

/* First pass: settings and the number of pieces. */
static bool read_settings(struct wire w, struct settings *s)
{
    struct field f;
    bool bad = false, ok = true;
    while (ok && next_field(&w, &f, &bad)) {
        if (f.kind != 2) {
            continue;
        }
        if (f.number == 1) {
            s->n_pieces++;
        } else if (f.number == 2) {
            ok = read_trainer(sub(&f), s);
        } else if (f.number == 3) {
            ok = read_normalizer(sub(&f), s);
        }
    }
    return ok && !bad;
}

static enum status read_piece(struct vocab *v, struct wire w)
{
    struct field f;
    const char *text = "";
    size_t n = 0;
    float score = 0;
    uint64_t type = PIECE_NORMAL;
    bool bad = false;
    while (next_field(&w, &f, &bad)) {
        if (f.number == 1 && f.kind == 2) {
            text = (const char *)f.data;
            n = f.n;
        } else if (f.number == 2 && f.kind == 5) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof score);
        } else if (f.number == 3 && f.kind == 0) {
            type = f.value;
        }
    }
    if (bad || type < PIECE_NORMAL || type > PIECE_BYTE || score != score) {
        return ERR_FORMAT;
    }
    return pieces_add(&v->pieces, text, n, (enum piece_type)type, score);
}

/* The first `skip` pieces are left out. */
static enum status read_pieces(struct vocab *v, struct wire w, size_t skip, size_t n_pieces,
                               struct err *e)
{
    enum status st = OK;
    struct field f;
    bool bad = false;
    while (!st && next_field(&w, &f, &bad)) {
        if (f.number == 1 && f.kind == 2) {
            st = skip ? OK : read_piece(v, sub(&f));
            skip -= skip > 0;
        }
    }
    return st ? err_set(e, st, NULL, "piece %d of %zu", v->pieces.n, n_pieces) : OK;
}

static int32_t checked(const struct vocab *v, int64_t id)
{
    return id >= 0 && id < v->pieces.n ? (int32_t)id : -1;
}

static enum status add_tokens(struct vocab *v, bool squeeze, struct err *e)
{
    enum status st = OK;
    for (int32_t i = 0; i < v->pieces.n && !st; i++) {
        int t = v->pieces.type[i];
        if (t == PIECE_USER && v->kind == VOCAB_UNIGRAM) { /* competes with the other pieces */
            struct added_token token = {.id = i};
            st = added_put(&v->user, piece_text(&v->pieces, i), piece_len(&v->pieces, i), token);
            if (st) {
                return err_set(e, st, NULL, "user-defined piece %d", i);
            }
            continue;
        }
        if (t == PIECE_USER && squeeze) { /* spaces beside such a piece would be lost */
            return err_set(e, ERR_UNSUPPORTED, NULL,
                           "SentencePiece model with remove_extra_whitespaces and user-defined "
                           "pieces");
        }
        if (t == PIECE_CONTROL || t == PIECE_USER || t == PIECE_UNKNOWN) {
            st = vocab_add_token(v, i, e);
        }
    }
    return st;
}

static void set_bpe(struct vocab *v, const struct settings *s)
{
    struct normalizer *z = &v->norm;
    if (s->squeeze) {
        z->ops[z->n++] = (struct normal_op){.kind = NORMAL_SQUEEZE};
    }
    if (s->prefix) {
        z->ops[z->n++] = (struct normal_op){.kind = NORMAL_PREPEND, .b = " "};
    }
    z->ops[z->n++] = (struct normal_op){.kind = NORMAL_REPLACE, .a = " ", .b = "\xE2\x96\x81"};
    v->bare_after_user = true;
    v->norm_bare.ops[v->norm_bare.n++] = z->ops[z->n - 1];
    v->bpe.by_score = true;
    v->bpe.fuse_unk = true;
}

static enum status set_unigram(struct vocab *v, const struct settings *s, struct err *e)
{
    v->kind = VOCAB_UNIGRAM;
    v->whole = true;
    v->unigram.float_sums = true;
    v->norm.ops[v->norm.n++] = (struct normal_op){
        .kind = NORMAL_SPM,
        .spm = {.map = &v->charsmap, .user = &v->user, .squeeze = s->squeeze, .prefix = s->prefix}};
    return charsmap_init(&v->charsmap, s->charsmap.data, s->charsmap.n, e);
}

/* A user-defined piece beats all others, whose scores are below 0, and longer ones beat shorter. */
static enum status index_unigram(struct vocab *v, bool bytes, struct err *e)
{
    for (int32_t i = 0; i < v->pieces.n; i++) {
        v->unk = v->unk < 0 && v->pieces.type[i] == PIECE_UNKNOWN ? i : v->unk;
    }
    for (int b = 0; b < 256; b++) {
        bytes = bytes && v->bpe.byte_id[b] >= 0;
    }
    enum status st = vocab_unigram_scores(v, 0.1, e);
    return st ? st : vocab_index_unigram(v, 1u << PIECE_NORMAL | 1u << PIECE_USER, bytes, e);
}

static enum status check_settings(const struct settings *s, bool fairseq, struct err *e)
{
    if (s->model_type != 1 && s->model_type != 2) {
        static const char *const names[] = {"?", "Unigram", "BPE", "word", "char"};
        return err_set(e, ERR_UNSUPPORTED, NULL, "SentencePiece model of type %s",
                       names[s->model_type < 5 ? s->model_type : 0]);
    }
    if ((s->charsmap.n && s->model_type == 2) || !s->escape || s->suffix) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "SentencePiece normalizer \"%s\"%s%s",
                       s->normalizer, s->escape ? "" : " without escaped spaces",
                       s->suffix ? " with spaces behind words" : "");
    }
    return fairseq && s->model_type == 2
               ? err_set(e, ERR_UNSUPPORTED, NULL, "a BPE model for XLM-RoBERTa")
               : OK;
}

enum { FAIRSEQ_REPLACED = 3, FAIRSEQ_UNK = 3 }; /* pieces of the file; id */

/* XLM-R numbers its pieces as fairseq did: four of its own instead of the file's <unk> <s> </s>. */
static enum status add_fairseq(struct vocab *v, struct wire w, struct settings *s, struct err *e)
{
    static const char *const front[] = {"<s>", "<pad>", "</s>", "<unk>"};
    enum status st = s->n_pieces < FAIRSEQ_REPLACED
                         ? err_set(e, ERR_FORMAT, NULL, "%zu pieces", s->n_pieces)
                         : pieces_init(&v->pieces, s->n_pieces + 2, true);
    for (int i = 0; i < 4 && !st; i++) {
        st = pieces_add(&v->pieces, front[i], strlen(front[i]),
                        i == FAIRSEQ_UNK ? PIECE_UNKNOWN : PIECE_CONTROL, 0);
    }
    st = st ? st : read_pieces(v, w, FAIRSEQ_REPLACED, s->n_pieces, e);
    s->bos = 0;
    s->pad = 1;
    s->eos = 2;
    s->unk = FAIRSEQ_UNK;
    return st ? st : pieces_add(&v->pieces, "<mask>", 6, PIECE_CONTROL, 0);
}

static enum status finish_fairseq(struct vocab *v, struct err *e)
{
    v->mask = v->pieces.n - 1;
    v->cls = v->bos;
    v->sep = v->eos;
    v->pair_seps = 2;
    (void)vocab_add_prefix(v, v->bos);
    (void)vocab_add_suffix(v, v->eos);
    struct added_token mask = {.id = v->mask, .special = true, .lstrip = true};
    enum status st = added_put(&v->added, "<mask>", 6, mask);
    return st ? err_set(e, st, NULL, "<mask>") : OK;
}

static enum status fill(struct vocab *v, struct wire w, bool fairseq, struct err *e)
{
    struct settings s = {.model_type = 1,
                         .prefix = true,
                         .squeeze = true,
                         .escape = true,
                         .unk = 0,
                         .bos = 1,
                         .eos = 2,
                         .pad = -1};
    if (!read_settings(w, &s) || !s.n_pieces) {
        return err_set(e, ERR_FORMAT, NULL, "not a SentencePiece model");
    }
    enum status st = check_settings(&s, fairseq, e);
    bool unigram = s.model_type == 1;
    if (st) {
        return st;
    }
    v->drop_space = s.prefix;
    v->drop_spaces = s.squeeze;
    if (unigram) {
        st = set_unigram(v, &s, e);
    } else {
        set_bpe(v, &s);
    }
    if (fairseq) {
        st = st ? st : add_fairseq(v, w, &s, e);
    } else {
        st = st ? st : pieces_init(&v->pieces, s.n_pieces, true);
        st = st ? st : read_pieces(v, w, 0, s.n_pieces, e);
    }
    st = st ? st : vocab_index(v, 0, e);
    st = st ? st : add_tokens(v, s.squeeze, e);
    if (st) {
        return st;
    }
    for (int b = 0; b < 256 && !s.byte_fallback; b++) {
        v->bpe.byte_id[b] = -1;
    }
    v->bos = checked(v, s.bos);
    v->eos = checked(v, s.eos);
    v->pad = checked(v, s.pad);
    if (unigram) {
        st = index_unigram(v, s.byte_fallback, e);
    } else {
        v->unk = v->bpe.unk = checked(v, s.unk);
    }
    vocab_add_end(v, v->eos);
    return st || !fairseq ? st : finish_fairseq(v, e);
}

enum status vocab_from_sentencepiece(const void *data, size_t n, bool fairseq, const char *place,
                                     struct vocab **out, struct err *e)
{
    struct vocab *v = vocab_new(VOCAB_SPM);
    if (!v) {
        return err_set(e, ERR_MEMORY, place, "vocabulary");
    }
    enum status st = fill(v, (struct wire){data, (const uint8_t *)data + n}, fairseq, e);
    if (st) {
        vocab_close(v);
        return err_prefix(e, "%s", place);
    }
    *out = v;
    return OK;
}

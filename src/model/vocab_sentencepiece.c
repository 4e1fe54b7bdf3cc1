/* Vocabulary from a SentencePiece file (tokenizer.model): the protobuf message ModelProto of
 * google/sentencepiece, sentencepiece_model.proto.
 *
 *   ModelProto      1: pieces (repeated)  2: trainer_spec  3: normalizer_spec
 *   SentencePiece   1: piece (string)  2: score (float)  3: type (enum)
 *   TrainerSpec     3: model_type (1 unigram, 2 bpe)  35: byte_fallback
 *                   40..43: unk_id, bos_id, eos_id, pad_id
 *   NormalizerSpec  1: name  2: precompiled_charsmap  3: add_dummy_prefix
 *                   4: remove_extra_whitespaces  5: escape_whitespaces
 *
 * Only BPE models: a Unigram model needs another algorithm and is refused by name. A reader of the
 * dozen fields is shorter than a dependency on a protobuf library. */
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
    bool byte_fallback, prefix, squeeze, escape, charsmap;
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
            s->charsmap = f.n > 0;
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

static enum status read_pieces(struct vocab *v, struct wire w, size_t n_pieces, struct err *e)
{
    enum status st = pieces_init(&v->pieces, n_pieces, true);
    struct field f;
    bool bad = false;
    while (!st && next_field(&w, &f, &bad)) {
        if (f.number == 1 && f.kind == 2) {
            st = read_piece(v, sub(&f));
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

static enum status fill(struct vocab *v, struct wire w, struct err *e)
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
    if (s.model_type != 2) {
        static const char *const names[] = {"?", "Unigram", "BPE", "word", "char"};
        return err_set(e, ERR_UNSUPPORTED, NULL, "SentencePiece model of type %s",
                       names[s.model_type < 5 ? s.model_type : 0]);
    }
    if (s.charsmap || !s.escape) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "SentencePiece normalizer \"%s\"%s", s.normalizer,
                       s.escape ? "" : " without escaped spaces");
    }
    struct normalizer *z = &v->norm;
    if (s.squeeze) {
        z->ops[z->n++] = (struct normal_op){.kind = NORMAL_SQUEEZE};
    }
    if (s.prefix) {
        z->ops[z->n++] = (struct normal_op){.kind = NORMAL_PREPEND, .b = " "};
    }
    z->ops[z->n++] = (struct normal_op){.kind = NORMAL_REPLACE, .a = " ", .b = "\xE2\x96\x81"};
    v->bare_after_user = true;
    v->norm_bare.ops[v->norm_bare.n++] = z->ops[z->n - 1];
    v->drop_space = s.prefix;
    v->drop_spaces = s.squeeze;
    v->bpe.by_score = true;
    v->bpe.fuse_unk = true;
    enum status st = read_pieces(v, w, s.n_pieces, e);
    st = st ? st : vocab_index(v, 0, e);
    st = st ? st : add_tokens(v, s.squeeze, e);
    for (int b = 0; b < 256 && !s.byte_fallback; b++) {
        v->bpe.byte_id[b] = -1;
    }
    v->unk = v->bpe.unk = checked(v, s.unk);
    v->bos = checked(v, s.bos);
    v->eos = checked(v, s.eos);
    v->pad = checked(v, s.pad);
    vocab_add_end(v, v->eos);
    return st;
}

enum status vocab_from_sentencepiece(const void *data, size_t n, const char *place,
                                     struct vocab **out, struct err *e)
{
    struct vocab *v = vocab_new(VOCAB_SPM);
    if (!v) {
        return err_set(e, ERR_MEMORY, place, "vocabulary");
    }
    enum status st = fill(v, (struct wire){data, (const uint8_t *)data + n}, e);
    if (st) {
        vocab_close(v);
        return err_prefix(e, "%s", place);
    }
    *out = v;
    return OK;
}

/* Vocabulary: the pipeline that encodes, decoding, and what every reader needs. See vocab.h and
 * vocab_internal.h. */
#include "model/vocab_internal.h"

#include "text/unicode.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const char LOW_LINE[] = "\xE2\x96\x81"; /* U+2581, SentencePiece's visible space */
enum { LOW_LINE_LEN = 3, PIECE_KEY_MAX = 2048 };

static bool low_line_at(const char *text, size_t n, size_t i)
{
    return n - i >= LOW_LINE_LEN && memcmp(text + i, LOW_LINE, LOW_LINE_LEN) == 0;
}

bool ids_push(struct ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *p = cap > SIZE_MAX / sizeof *p ? NULL : realloc(ids->data, cap * sizeof *p);
        if (!p) {
            return false;
        }
        ids->data = p;
        ids->cap = cap;
    }
    ids->data[ids->n++] = id;
    return true;
}

void ids_fini(struct ids *ids)
{
    free(ids->data);
    *ids = (struct ids){0};
}

size_t utf8_incomplete_tail(const char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)p[n - back];
        if ((c & 0xC0) == 0x80) {
            continue;
        }
        size_t need = c >= 0xC2 && c <= 0xDF   ? 2
                      : c >= 0xE0 && c <= 0xEF ? 3
                      : c >= 0xF0 && c <= 0xF4 ? 4
                                               : 1;
        if (need <= back) {
            return 0;
        }
        /* Bytes that cannot follow this lead are no beginning of anything. */
        unsigned char d = back > 1 ? (unsigned char)p[n - back + 1] : 0x80;
        bool bad = back > 1 && ((c == 0xE0 && d < 0xA0) || (c == 0xED && d > 0x9F) ||
                                (c == 0xF0 && d < 0x90) || (c == 0xF4 && d > 0x8F));
        return bad ? 0 : back;
    }
    return 0;
}

struct vocab *vocab_new(enum vocab_kind kind)
{
    struct vocab *v = calloc(1, sizeof *v);
    if (v) {
        v->kind = kind;
        v->bos = v->eos = v->pad = v->unk = v->mask = v->cls = v->sep = -1;
        v->bpe.unk = v->wordpiece.unk = v->unigram.unk = -1;
        v->pair_seps = 1;
    }
    return v;
}

void vocab_close(struct vocab *v)
{
    if (!v) {
        return;
    }
    bpe_fini(&v->bpe);
    pretok_fini(&v->pretok);
    added_fini(&v->added);
    added_fini(&v->added_normal);
    added_fini(&v->user);
    charsmap_fini(&v->charsmap);
    unigram_fini(&v->unigram);
    piece_index_fini(&v->normal);
    piece_index_fini(&v->special);
    pieces_fini(&v->pieces);
    free(v);
}

/* The alphabet of byte-level files: printable Latin-1 stands for itself, the other 68 bytes for
 * U+0100 and up, in order (GPT-2's bytes_to_unicode). -1: no byte. */
static int byte_of(uint32_t cp)
{
    if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255)) {
        return (int)cp;
    }
    if (cp < 256 || cp > 256 + 67) {
        return -1;
    }
    uint32_t k = cp - 256;
    return (int)(k < 33 ? k : k < 67 ? k + 94 : 173);
}

/* Bytes of stored[0..n) to out, which has room for n; -1 when a character is outside the alphabet.
 */
static ptrdiff_t bytes_of(const char *stored, size_t n, char *out)
{
    size_t m = 0;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)stored[i];
        uint32_t cp = c;
        i += c < 128 ? 1 : utf8_decode(stored + i, n - i, &cp);
        int b = byte_of(cp);
        if (b < 0) {
            return -1;
        }
        out[m++] = (char)b;
    }
    return (ptrdiff_t)m;
}

bool vocab_bytes_of(const char *stored, size_t n, struct buf *out)
{
    buf_reset(out);
    if (!buf_reserve(out, n)) {
        return true; /* and out->failed */
    }
    ptrdiff_t m = bytes_of(stored, n, out->data);
    out->len = m < 0 ? 0 : (size_t)m;
    out->data[out->len] = 0;
    return m >= 0;
}

/* "<0x0A>" -> 10; -1: not such a text */
static int byte_piece(const char *p, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *hi, *lo;
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>' || !p[3] || !p[4] ||
        !(hi = strchr(digits, p[3])) || !(lo = strchr(digits, p[4]))) {
        return -1;
    }
    return (int)((hi - digits) * 16 + (lo - digits));
}

/* As GGUF stores WordPiece: "\u2581word", "rest". */
static int32_t find_spaced(const struct vocab *v, const char *piece, size_t n)
{
    char key[PIECE_KEY_MAX];
    bool word = low_line_at(piece, n, 0);
    size_t pre = word ? 0 : strlen(v->wordpiece.prefix), skip = word ? LOW_LINE_LEN : 0;
    if (n - skip + pre > sizeof key) {
        return -1;
    }
    memcpy(key, v->wordpiece.prefix, pre);
    memcpy(key + pre, piece + skip, n - skip);
    return piece_find(&v->normal, &v->pieces, key, n - skip + pre);
}

bool vocab_find(const struct vocab *v, const char *piece, size_t n, int32_t *id)
{
    char key[PIECE_KEY_MAX];
    int32_t found = -1;
    if (v->byte_level && n <= sizeof key) {
        ptrdiff_t m = bytes_of(piece, n, key);
        found = m < 0 ? -1 : piece_find(&v->normal, &v->pieces, key, (size_t)m);
    } else if (v->spaced_pieces) {
        found = find_spaced(v, piece, n);
    } else {
        found = piece_find(&v->normal, &v->pieces, piece, n);
    }
    if (found < 0) { /* special pieces, and ordinary ones outside the alphabet of bytes */
        found = piece_find(&v->special, &v->pieces, piece, n);
    }
    if (found < 0 && v->byte_level) {
        found = piece_find(&v->normal, &v->pieces, piece, n);
    }
    if (found >= 0) {
        *id = found;
    }
    return found >= 0;
}

/* Tokens that end a turn or a message by their name, in whatever model they stand. The ones of
 * which <|endoftext|> is not here: some models use it to separate documents within a turn. */
static void find_end_tokens(struct vocab *v)
{
    static const char *const names[] = {
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<end_of_turn>",
        "<|end_of_turn|>",
        "<|return|>",
        "<|call|>",
        "<|end_of_text|>",
        "<EOT>",
        "_<EOT>",
        "<turn|>",
        "<|eot|>",
        "[EOT]",
        ("<\xEF\xBD\x9C"
         "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"),
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int32_t id = piece_find(&v->special, &v->pieces, names[i], strlen(names[i]));
        if (id >= 0) {
            vocab_add_end(v, id);
        }
    }
}

static void find_byte_pieces(struct vocab *v)
{
    for (int b = 0; b < 256; b++) {
        char c = (char)b;
        v->bpe.byte_id[b] = v->byte_level ? piece_find(&v->normal, &v->pieces, &c, 1) : -1;
    }
    for (int32_t i = 0; i < v->pieces.n && !v->byte_level; i++) {
        if (v->pieces.type[i] == PIECE_BYTE) {
            int b = byte_piece(piece_text(&v->pieces, i), piece_len(&v->pieces, i));
            if (b >= 0) {
                v->bpe.byte_id[b] = i;
            }
        }
    }
}

/* Is there a piece in which a visible space follows something else? Then words must not be cut. */
static bool pieces_cross_spaces(const struct pieces *p)
{
    for (int32_t i = 0; i < p->n; i++) {
        if (p->type[i] != PIECE_NORMAL && p->type[i] != PIECE_USER) {
            continue;
        }
        const char *t = piece_text(p, i);
        size_t n = piece_len(p, i), k = 0;
        while (k + LOW_LINE_LEN <= n && memcmp(t + k, LOW_LINE, LOW_LINE_LEN) == 0) {
            k += LOW_LINE_LEN;
        }
        if (k < n && memmem(t + k, n - k, LOW_LINE, LOW_LINE_LEN)) {
            return true;
        }
    }
    return false;
}

enum status vocab_index(struct vocab *v, size_t n_merges, struct err *e)
{
    /* WordPiece matches every piece, as its reference does; merging reaches only ordinary ones.
     * UNUSED pieces are padding of the embedding matrix that no text becomes. */
    const unsigned normal =
        v->kind == VOCAB_WORDPIECE ? ~0u : 1u << PIECE_NORMAL | 1u << PIECE_USER;
    enum status st = piece_index_init(&v->normal, &v->pieces, normal);
    if (!st) {
        st = piece_index_init(&v->special, &v->pieces, ~(1u << PIECE_NORMAL));
    }
    if (!st && v->kind != VOCAB_WORDPIECE) {
        v->bpe.pieces = &v->pieces;
        v->bpe.index = &v->normal;
        v->bpe.bytes = v->byte_level;
        st = bpe_init(&v->bpe, n_merges);
        find_byte_pieces(v);
        if ((v->kind == VOCAB_SPM || v->whole) && v->cut == CUT_PRETOK && !v->pretok.n_steps &&
            !pieces_cross_spaces(&v->pieces)) {
            v->cut = CUT_SPACES;
        }
    }
    v->wordpiece.pieces = &v->pieces;
    v->wordpiece.index = &v->normal;
    find_end_tokens(v);
    return st ? err_set(e, st, NULL, "vocabulary of %d pieces", v->pieces.n) : OK;
}

enum status vocab_unigram_scores(struct vocab *v, double user, struct err *e)
{
    const struct pieces *p = &v->pieces;
    struct unigram *u = &v->unigram;
    float least = FLT_MAX;
    u->score = calloc((size_t)p->n + 1, sizeof *u->score);
    if (!u->score) {
        return err_set(e, ERR_MEMORY, NULL, "scores of %d pieces", p->n);
    }
    for (int32_t i = 0; i < p->n; i++) {
        if (!isfinite(p->score[i])) {
            return err_set(e, ERR_FORMAT, NULL, "the score of piece %d is no number", i);
        }
        u->score[i] = (double)p->score[i];
        if (p->type[i] == PIECE_USER) {
            u->score[i] = (double)(float)(user * ((double)piece_len(p, i) - 1));
        } else if (p->type[i] == PIECE_NORMAL) {
            least = p->score[i] < least ? p->score[i] : least;
        }
    }
    u->unknown = (double)(least - 10);
    return OK;
}

enum status vocab_index_unigram(struct vocab *v, unsigned types, bool bytes, struct err *e)
{
    struct unigram *u = &v->unigram;
    if (v->unk < 0) {
        return err_set(e, ERR_FORMAT, NULL, "a Unigram vocabulary without an unknown piece");
    }
    u->pieces = &v->pieces;
    u->unk = v->unk;
    u->bytes = bytes;
    memcpy(u->byte_id, v->bpe.byte_id, sizeof u->byte_id);
    return unigram_init(u, types, e);
}

enum status vocab_add_token(struct vocab *v, int32_t id, struct err *e)
{
    int type = v->pieces.type[id];
    struct added_token t = {.id = id, .special = type != PIECE_USER};
    enum status st = added_put(&v->added, piece_text(&v->pieces, id), piece_len(&v->pieces, id), t);
    return st ? err_set(e, st, NULL, "special token %d of %zu bytes", id, piece_len(&v->pieces, id))
              : OK;
}

bool vocab_add_prefix(struct vocab *v, int32_t id)
{
    if (v->n_prefix == VOCAB_MAX_AFFIX) {
        return false;
    }
    v->prefix[v->n_prefix++] = id;
    return true;
}

bool vocab_add_suffix(struct vocab *v, int32_t id)
{
    if (v->n_suffix == VOCAB_MAX_AFFIX) {
        return false;
    }
    v->suffix[v->n_suffix++] = id;
    return true;
}

void vocab_add_end(struct vocab *v, int32_t id)
{
    if (id >= 0 && !vocab_is_end(v, id) && v->n_end < VOCAB_MAX_END) {
        v->end[v->n_end++] = id;
    }
}

enum status vocab_add_merge(struct vocab *v, const char *left, size_t n_left, const char *right,
                            size_t n_right, size_t rank, struct err *e)
{
    const struct pieces *p = &v->pieces;
    char joined[PIECE_KEY_MAX];
    int32_t l, r, j = -1;
    if (n_left + n_right > sizeof joined) {
        return err_set(e, ERR_LIMIT, NULL, "merge %zu has %zu bytes", rank, n_left + n_right);
    }
    if (vocab_find(v, left, n_left, &l) && vocab_find(v, right, n_right, &r)) {
        size_t a = piece_len(p, l), b = piece_len(p, r);
        if (a + b <= sizeof joined) { /* already bytes: no need to decode them again */
            memcpy(joined, piece_text(p, l), a);
            memcpy(joined + a, piece_text(p, r), b);
            j = piece_find_near(&v->normal, p, joined, a + b, v->bpe.last_joined + 1);
        }
        if (j < 0) { /* a special piece, which keeps its stored text */
            memcpy(joined, left, n_left);
            memcpy(joined + n_left, right, n_right);
            j = vocab_find(v, joined, n_left + n_right, &j) ? j : -1;
        }
    }
    if (j < 0) {
        return err_set(e, ERR_FORMAT, NULL, "merge %zu (%.*s %.*s) is not made of pieces", rank,
                       (int)n_left, left, (int)n_right, right);
    }
    bpe_add_merge(&v->bpe, l, r, j);
    return OK;
}

/* One call of vocab_encode. */
struct encoder {
    const struct vocab *v;
    unsigned flags;
    struct ids *out;
    struct err *e;
    bool first;                   /* the part at hand begins the whole text */
    bool bare;                    /* the part at hand gets no space of its own in front */
    struct unigram_state unigram; /* of the part at hand */
};

static enum status encode_word(struct encoder *x, const char *word, size_t n)
{
    const struct vocab *v = x->v;
    switch (v->kind) {
    case VOCAB_WORDPIECE:
        return wordpiece_encode_word(&v->wordpiece, word, n, x->out);
    case VOCAB_UNIGRAM:
        if (!v->whole) {
            x->unigram = (struct unigram_state){0};
        }
        return unigram_encode_word(&v->unigram, word, n, &x->unigram, x->out);
    case VOCAB_BPE:
    case VOCAB_SPM:
        break;
    }
    return bpe_encode_word(&v->bpe, word, n, x->out);
}

static enum status encode_words(struct encoder *x, const char *text, size_t n)
{
    const struct vocab *v = x->v;
    enum status st = OK;
    for (size_t i = 0; v->pretok.scan && i < n && !st;) { /* no list of spans needed */
        size_t end = pretok_scan_next(v->pretok.scan, text, n, i);
        st = encode_word(x, text + i, end - i);
        i = end;
    }
    if (v->pretok.scan) {
        return st;
    }
    struct spans s = {0};
    st = pretok_split(&v->pretok, text, n, &s, x->e);
    for (size_t i = 0; i < s.n && !st; i++) {
        st = encode_word(x, text + s.data[i].at, s.data[i].len);
    }
    spans_fini(&s);
    return st;
}

/* Cuts before every run of U+2581, or with `each` before every one. */
static enum status encode_spaced(struct encoder *x, const char *text, size_t n, bool each)
{
    enum status st = OK;
    for (size_t i = 0; i < n && !st;) {
        size_t end = i;
        while (end < n && low_line_at(text, n, end)) {
            end += LOW_LINE_LEN;
            if (each) {
                break;
            }
        }
        while (end < n && !low_line_at(text, n, end)) {
            const char *next = memchr(text + end + 1, LOW_LINE[0], n - end - 1);
            end = next ? (size_t)(next - text) : n;
        }
        st = encode_word(x, text + i, end - i);
        i = end;
    }
    return st;
}

static void put_metaspaced(const struct encoder *x, const char *text, size_t n, struct buf *b)
{
    static const struct normalizer z = {
        .ops = {{.kind = NORMAL_REPLACE, .a = " ", .b = "\xE2\x96\x81"}}, .n = 1};
    bool has = (n && text[0] == ' ') || low_line_at(text, n, 0);
    if (x->v->meta_prepend && !has && (x->first || !x->v->meta_first)) {
        buf_puts(b, LOW_LINE);
    }
    normalize_text(&z, text, n, b);
}

/* Normalized text without added tokens, or one word of it. */
static enum status encode_piece(struct encoder *x, const char *text, size_t n)
{
    const struct vocab *v = x->v;
    struct buf b = {0};
    x->unigram = (struct unigram_state){0};
    if (v->metaspace) {
        put_metaspaced(x, text, n, &b);
    } else if (v->prefix_space && n && text[0] != ' ') {
        buf_putc(&b, ' ');
        buf_put(&b, text, n);
    }
    if (b.data) {
        text = b.data;
        n = b.len;
    }
    enum status st = b.failed               ? ERR_MEMORY
                     : v->cut == CUT_BERT   ? wordpiece_encode(&v->wordpiece, text, n, x->out)
                     : v->cut == CUT_SPACES ? encode_spaced(x, text, n, false)
                     : v->cut == CUT_MARKS  ? encode_spaced(x, text, n, true)
                                            : encode_words(x, text, n);
    x->first = false;
    buf_fini(&b);
    return st;
}

static enum status encode_plain(struct encoder *x, const char *text, size_t n)
{
    enum status st = OK;
    if (!x->v->meta_words) {
        return encode_piece(x, text, n);
    }
    for (size_t i = 0, from = 0, len; i <= n && !st; i += len) {
        uint32_t cp = ' ';
        len = i < n ? utf8_decode(text + i, n - i, &cp) : 1;
        if (uni_class(cp) & UNI_SPACE) {
            st = i > from ? encode_piece(x, text + from, i - from) : OK;
            from = i + len;
        }
    }
    x->first = false;
    return st;
}

/* Cuts text at the added tokens of `a` and gives what lies between to `rest`. */
static enum status encode_around(struct encoder *x, const struct added *a, const char *text,
                                 size_t n,
                                 enum status (*rest)(struct encoder *, const char *, size_t))
{
    size_t from = 0, done = 0;
    struct added_match m;
    enum status st = OK;
    while (!st && added_next(a, text, n, from, done, x->flags & ENCODE_PARSE_SPECIAL, &m)) {
        if (m.at > done) {
            st = rest(x, text + done, m.at - done);
        }
        if (x->v->bare_after_user && x->v->drop_space && x->first && !m.token->special) {
            st = encode_plain(x, LOW_LINE, LOW_LINE_LEN); /* the space in front of the text */
        }
        if (!st && !ids_push(x->out, m.token->id)) {
            st = ERR_MEMORY;
        }
        x->first = false;
        x->bare = x->v->bare_after_user && !m.token->special;
        from = m.scan_from;
        done = m.end;
    }
    return !st && done < n ? rest(x, text + done, n - done) : st;
}

static enum status encode_part(struct encoder *x, const char *text, size_t n)
{
    const struct vocab *v = x->v;
    if (!v->norm.n) {
        return encode_around(x, &v->added_normal, text, n, encode_plain);
    }
    struct buf b = {0};
    normalize_text(x->bare ? &v->norm_bare : &v->norm, text, n, &b);
    enum status st =
        b.failed ? ERR_MEMORY
                 : encode_around(x, &v->added_normal, b.data ? b.data : "", b.len, encode_plain);
    buf_fini(&b);
    return st;
}

enum status vocab_encode(const struct vocab *v, const char *text, size_t n, unsigned flags,
                         struct ids *out, struct err *e)
{
    size_t before = out->n;
    if (n > VOCAB_MAX_TEXT) {
        return err_set(e, ERR_LIMIT, NULL, "a text of %zu bytes cannot be tokenized at once", n);
    }
    bool ok = true;
    for (int i = 0; flags & ENCODE_ADD_SPECIAL && i < v->n_prefix; i++) {
        ok = ok && ids_push(out, v->prefix[i]);
    }
    struct encoder x = {.v = v, .flags = flags, .out = out, .e = e, .first = true};
    enum status st = ok ? encode_around(&x, &v->added, text, n, encode_part) : ERR_MEMORY;
    for (int i = 0; !st && flags & ENCODE_ADD_SPECIAL && i < v->n_suffix; i++) {
        st = ids_push(out, v->suffix[i]) ? OK : ERR_MEMORY;
    }
    if (st) {
        out->n = before;
    }
    return st == ERR_MEMORY ? err_set(e, st, NULL, "tokenizing %zu bytes", n) : st;
}

bool vocab_is_special(const struct vocab *v, int32_t id)
{
    return id >= 0 && id < v->pieces.n &&
           (v->pieces.type[id] == PIECE_CONTROL || v->pieces.type[id] == PIECE_UNKNOWN);
}

int vocab_pair_seps(const struct vocab *v)
{
    return v->pair_seps;
}

bool vocab_is_end(const struct vocab *v, int32_t id)
{
    for (int i = 0; i < v->n_end; i++) {
        if (v->end[i] == id) {
            return true;
        }
    }
    return false;
}

/* A piece with its visible spaces made plain. */
static void put_spaced(const char *p, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n;) {
        if (low_line_at(p, n, i)) {
            buf_putc(out, ' ');
            i += LOW_LINE_LEN;
        } else {
            buf_putc(out, p[i++]);
        }
    }
}

static bool shown(const struct vocab *v, int32_t id, bool special)
{
    return id >= 0 && id < v->pieces.n && (special || !vocab_is_special(v, id));
}

/* Can put_cleaned change this text? Every pattern begins with one of these pairs. */
static bool may_be_cleaned(const char *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if (p[i] == ' ' && p[i + 1] && strchr(".?!,'nd", p[i + 1])) {
            return true;
        }
    }
    return false;
}

/* What the reference decoder takes out of a piece with its leading space, in this order. */
static void put_cleaned(const char *p, size_t n, struct buf *out)
{
    static const struct normal_op ops[] = {
        {.kind = NORMAL_REPLACE, .a = " .", .b = "."},
        {.kind = NORMAL_REPLACE, .a = " ?", .b = "?"},
        {.kind = NORMAL_REPLACE, .a = " !", .b = "!"},
        {.kind = NORMAL_REPLACE, .a = " ,", .b = ","},
        {.kind = NORMAL_REPLACE, .a = " ' ", .b = "'"},
        {.kind = NORMAL_REPLACE, .a = " n't", .b = "n't"},
        {.kind = NORMAL_REPLACE, .a = " 'm", .b = "'m"},
        {.kind = NORMAL_REPLACE, .a = " do not", .b = " don't"},
        {.kind = NORMAL_REPLACE, .a = " 's", .b = "'s"},
        {.kind = NORMAL_REPLACE, .a = " 've", .b = "'ve"},
        {.kind = NORMAL_REPLACE, .a = " 're", .b = "'re"},
    };
    struct normalizer z = {.n = sizeof ops / sizeof ops[0]};
    memcpy(z.ops, ops, sizeof ops);
    normalize_text(&z, p, n, out);
}

static void put_wordpiece(const struct vocab *v, int32_t id, bool first, struct buf *out)
{
    const char *p = piece_text(&v->pieces, id);
    size_t n = piece_len(&v->pieces, id), pre = strlen(v->wordpiece.prefix);
    struct buf b = {0};
    if (!first && n >= pre && pre && memcmp(p, v->wordpiece.prefix, pre) == 0) {
        buf_put(&b, p + pre, n - pre);
    } else {
        buf_puts(&b, first ? "" : " ");
        buf_put(&b, p, n);
    }
    if (v->clean_decode && !b.failed && may_be_cleaned(b.data, b.len)) {
        put_cleaned(b.data, b.len, out);
    } else {
        buf_put(out, b.data, b.len);
    }
    out->failed |= b.failed;
    buf_fini(&b);
}

void vocab_decode_one(const struct vocab *v, int32_t id, bool special, struct buf *out)
{
    if (!shown(v, id, special)) {
        return;
    }
    const char *p = piece_text(&v->pieces, id);
    size_t n = piece_len(&v->pieces, id);
    int byte = v->pieces.type[id] == PIECE_BYTE ? byte_piece(p, n) : -1;
    if (v->kind == VOCAB_WORDPIECE) {
        put_wordpiece(v, id, false, out);
    } else if (byte >= 0) {
        buf_putc(out, (char)byte);
    } else if ((v->kind == VOCAB_SPM || v->kind == VOCAB_UNIGRAM) && !vocab_is_special(v, id)) {
        put_spaced(p, n, out);
    } else {
        buf_put(out, p, n);
    }
}

void vocab_decode(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                  struct buf *out)
{
    bool first = true;
    size_t start = out->len;
    for (size_t i = 0; i < n; i++) {
        if (!shown(v, ids[i], special)) {
            continue;
        }
        if (v->kind == VOCAB_WORDPIECE) {
            put_wordpiece(v, ids[i], first, out);
        } else {
            vocab_decode_one(v, ids[i], special, out);
        }
        first = false;
    }
    size_t drop = 0, most = v->drop_spaces ? SIZE_MAX : v->drop_space;
    while (drop < most && start + drop < out->len && out->data[start + drop] == ' ') {
        drop++;
    }
    if (drop) {
        memmove(out->data + start, out->data + start + drop, out->len - start - drop + 1);
        out->len -= drop;
    }
}

enum vocab_kind vocab_kind(const struct vocab *v)
{
    return v->kind;
}

const char *vocab_pre(const struct vocab *v)
{
    return v->pre;
}

int32_t vocab_size(const struct vocab *v)
{
    return v->pieces.n;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

int32_t vocab_pad(const struct vocab *v)
{
    return v->pad;
}

int32_t vocab_unk(const struct vocab *v)
{
    return v->unk;
}

int32_t vocab_mask(const struct vocab *v)
{
    return v->mask;
}

int32_t vocab_cls(const struct vocab *v)
{
    return v->cls;
}

int32_t vocab_sep(const struct vocab *v)
{
    return v->sep;
}

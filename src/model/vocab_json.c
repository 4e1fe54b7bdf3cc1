/* Vocabulary from a Hugging Face tokenizer.json: model, added tokens, post-processor and decoder.
 * The normalizer and the pre-tokenizer are read by vocab_pipeline.c.
 *
 * The file describes a program: a list of named components with settings. What is known is mapped
 * to the one pipeline of vocab_internal.h; a component or setting that is not known is refused by
 * name, since leaving it out would give other ids. The file's truncation and padding are left to
 * callers, as the reference's own wrappers do. */
#include "model/vocab_pipeline.h"

#include <math.h>
#include <stdlib.h>

__extension__ typedef unsigned __int128 u128;

struct entry { /* one id */
    const char *text;
    size_t n;
    const json_t *added; /* its added_tokens item, NULL: an ordinary piece */
};

struct reader {
    struct vocab *v;
    const json_t *root, *model, *config;
    struct entry *entries;
    size_t n;
    struct err *e;
};

static enum status bad(const struct reader *r, const char *what)
{
    return err_set(r->e, ERR_FORMAT, NULL, "%s is missing or not what it should be", what);
}

static enum status refuse(const struct reader *r, const char *part, const char *type)
{
    return err_set(r->e, ERR_UNSUPPORTED, NULL, "%s \"%.64s\" is not known", part,
                   type ? type : "(without type)");
}

static const char *type_of(const json_t *component)
{
    return json_string_value(json_object_get(component, "type"));
}

static bool is(const char *type, const char *name)
{
    return type && strcmp(type, name) == 0;
}

static enum status set_entry(struct reader *r, const json_t *id, const char *text, size_t n,
                             const json_t *added)
{
    json_int_t i = json_is_integer(id) ? json_integer_value(id) : -1;
    if (i < 0 || (size_t)i >= r->n) {
        return err_set(r->e, ERR_FORMAT, NULL, "the id of token \"%.*s\" is out of range",
                       (int)(n < 64 ? n : 64), text);
    }
    r->entries[i] = (struct entry){text, n, added};
    return OK;
}

/* The text of the i-th piece of a Unigram vocabulary, [text, score]; NULL: it is none. */
static const json_t *unigram_piece(const json_t *vocab, size_t i, double *score)
{
    const json_t *pair = json_array_get(vocab, i), *number = json_array_get(pair, 1);
    *score = json_number_value(number);
    return json_array_size(pair) == 2 && json_is_number(number) ? json_array_get(pair, 0) : NULL;
}

/* Ids may have gaps (embedding rows that are padding), but not more than a file of this size could
 * mean. */
static enum status count_ids(struct reader *r, const json_t *vocab, const json_t *added)
{
    json_int_t most = -1;
    void *it;
    size_t i;
    const json_t *t;
    most = json_is_array(vocab) ? (json_int_t)json_array_size(vocab) - 1 : most;
    for (it = json_object_iter((json_t *)vocab); it;
         it = json_object_iter_next((json_t *)vocab, it)) {
        json_int_t id = json_integer_value(json_object_iter_value(it));
        most = id > most ? id : most;
    }
    json_array_foreach(added, i, t)
    {
        json_int_t id = json_integer_value(json_object_get(t, "id"));
        most = id > most ? id : most;
    }
    size_t have = json_object_size(vocab) + json_array_size(vocab) + json_array_size(added);
    if (most < 0 || most >= PIECES_MAX || (size_t)most > have * 2 + 65536) {
        return err_set(r->e, ERR_FORMAT, NULL, "%zu tokens with ids up to %lld", have,
                       (long long)most);
    }
    r->n = (size_t)most + 1;
    return OK;
}

static enum status read_entries(struct reader *r)
{
    const json_t *vocab = json_object_get(r->model, "vocab");
    const json_t *added = json_object_get(r->root, "added_tokens");
    if ((!json_is_object(vocab) && !json_is_array(vocab)) || (added && !json_is_array(added))) {
        return bad(r, "model.vocab or added_tokens");
    }
    enum status st = count_ids(r, vocab, added);
    if (st) {
        return st;
    }
    r->entries = calloc(r->n, sizeof *r->entries);
    if (!r->entries) {
        return err_set(r->e, ERR_MEMORY, NULL, "%zu tokens", r->n);
    }
    for (void *it = json_object_iter((json_t *)vocab); it && !st;
         it = json_object_iter_next((json_t *)vocab, it)) {
        st = set_entry(r, json_object_iter_value(it), json_object_iter_key(it),
                       json_object_iter_key_len(it), NULL);
    }
    size_t i;
    const json_t *t;
    for (i = 0; i < json_array_size(vocab); i++) {
        double score;
        t = unigram_piece(vocab, i, &score);
        if (!json_is_string(t)) {
            return bad(r, "a piece of model.vocab");
        }
        r->entries[i] = (struct entry){json_string_value(t), json_string_length(t), NULL};
    }
    json_array_foreach(added, i, t)
    {
        const json_t *content = json_object_get(t, "content");
        if (!json_is_string(content)) {
            return bad(r, "content of an added token");
        }
        st = st ? st
                : set_entry(r, json_object_get(t, "id"), json_string_value(content),
                            json_string_length(content), t);
    }
    return st;
}

static bool is_byte_piece(const struct entry *x)
{
    return x->n == 6 && memcmp(x->text, "<0x", 3) == 0 && x->text[5] == '>';
}

static enum status add_pieces(struct reader *r, bool byte_pieces)
{
    struct vocab *v = r->v;
    enum status st = pieces_init(&v->pieces, r->n, false);
    struct buf b = {0};
    buf_puts(&b, "");
    for (size_t i = 0; i < r->n && !st; i++) {
        const struct entry *x = &r->entries[i];
        enum piece_type type = !x->text                                  ? PIECE_UNUSED
                               : config_flag(x->added, "special", false) ? PIECE_CONTROL
                               : x->added                                ? PIECE_USER
                               : byte_pieces && is_byte_piece(x)         ? PIECE_BYTE
                                                                         : PIECE_NORMAL;
        if (type == PIECE_NORMAL && v->byte_level && vocab_bytes_of(x->text, x->n, &b)) {
            st = b.failed ? ERR_MEMORY : pieces_add(&v->pieces, b.data, b.len, type, 0);
        } else {
            st = pieces_add(&v->pieces, x->text ? x->text : "", x->n, type, 0);
        }
    }
    buf_fini(&b);
    return st ? err_set(r->e, st, NULL, "%zu tokens", r->n) : OK;
}

static enum status add_token(struct reader *r, const json_t *t, int32_t id)
{
    struct vocab *v = r->v;
    const struct added_token token = {
        .id = id,
        .special = config_flag(t, "special", false),
        .lstrip = config_flag(t, "lstrip", false),
        .rstrip = config_flag(t, "rstrip", false),
        .single_word = config_flag(t, "single_word", false),
    };
    const char *text = r->entries[id].text;
    size_t n = r->entries[id].n;
    enum status st;
    if (config_flag(t, "normalized", !token.special)) {
        struct buf b = {0};
        normalize_text(&v->norm, text, n, &b);
        st =
            b.failed ? ERR_MEMORY : added_put(&v->added_normal, b.data ? b.data : "", b.len, token);
        buf_fini(&b);
    } else {
        st = added_put(&v->added, text, n, token);
    }
    return st ? err_set(r->e, st, NULL, "added token %d of %zu bytes", id, n) : OK;
}

static enum status add_tokens(struct reader *r)
{
    enum status st = OK;
    for (size_t i = 0; i < r->n && !st; i++) {
        if (r->entries[i].added) {
            st = add_token(r, r->entries[i].added, (int32_t)i);
        }
    }
    return st;
}

/* The id of a token named by its text in the file; -1: no such token. */
static int32_t id_by_text(const struct reader *r, const json_t *text)
{
    int32_t id;
    return json_is_string(text) &&
                   vocab_find(r->v, json_string_value(text), json_string_length(text), &id)
               ? id
               : -1;
}

static enum status read_merge(struct reader *r, const json_t *m, size_t rank)
{
    const char *left = NULL, *right = NULL;
    size_t n_left = 0, n_right = 0;
    if (json_is_array(m) && json_array_size(m) == 2) {
        const json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
        left = json_string_value(a);
        right = json_string_value(b);
        n_left = json_string_length(a);
        n_right = json_string_length(b);
    } else if (json_is_string(m)) {
        left = json_string_value(m);
        const char *space = memchr(left, ' ', json_string_length(m));
        if (space && !strchr(space + 1, ' ')) {
            n_left = (size_t)(space - left);
            right = space + 1;
            n_right = json_string_length(m) - n_left - 1;
        }
    }
    if (!left || !right || !n_left || !n_right) {
        return err_set(r->e, ERR_FORMAT, NULL, "merge %zu has no two parts", rank);
    }
    return vocab_add_merge(r->v, left, n_left, right, n_right, rank, r->e);
}

static bool empty(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && !json_string_length(v)) ||
           (json_is_number(v) && json_number_value(v) == 0);
}

static enum status read_bpe(struct reader *r)
{
    static const char *const unknown[] = {"dropout", "continuing_subword_prefix",
                                          "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        if (!empty(json_object_get(r->model, unknown[i]))) {
            return refuse(r, "setting of a BPE model", unknown[i]);
        }
    }
    const json_t *merges = json_object_get(r->model, "merges");
    if (!json_is_array(merges)) {
        return bad(r, "model.merges");
    }
    struct vocab *v = r->v;
    v->bpe.ignore_merges = config_flag(r->model, "ignore_merges", false);
    v->bpe.fuse_unk = config_flag(r->model, "fuse_unk", false);
    bool bytes = config_flag(r->model, "byte_fallback", false);
    enum status st = add_pieces(r, v->kind == VOCAB_SPM);
    st = st ? st : vocab_index(v, json_array_size(merges), r->e);
    for (int b = 0; b < 256 && !bytes && !v->byte_level; b++) {
        v->bpe.byte_id[b] = -1;
    }
    size_t i;
    const json_t *m;
    json_array_foreach(merges, i, m)
    {
        st = st ? st : read_merge(r, m, i);
    }
    v->unk = v->bpe.unk = id_by_text(r, json_object_get(r->model, "unk_token"));
    return st;
}

static enum status read_wordpiece(struct reader *r)
{
    struct vocab *v = r->v;
    const json_t *prefix = json_object_get(r->model, "continuing_subword_prefix");
    const char *text = prefix ? json_string_value(prefix) : "##";
    const json_t *chars = json_object_get(r->model, "max_input_chars_per_word");
    json_int_t most = chars ? json_integer_value(chars) : 100;
    if (!text || strlen(text) >= sizeof v->wordpiece.prefix || most < 1 || most > 256) {
        return bad(r, "model.continuing_subword_prefix or model.max_input_chars_per_word");
    }
    memcpy(v->wordpiece.prefix, text, strlen(text) + 1);
    v->wordpiece.max_chars = (uint32_t)most;
    enum status st = add_pieces(r, false);
    st = st ? st : vocab_index(v, 0, r->e);
    if (st) {
        return st;
    }
    v->unk = v->wordpiece.unk = id_by_text(r, json_object_get(r->model, "unk_token"));
    return v->unk < 0 ? bad(r, "model.unk_token") : OK;
}

/* Is x = m / 2^s the double nearest to the decimal d / 10^k, with `pow` = 10^k? */
static bool reads_back(uint64_t d, uint64_t m, int s, u128 pow)
{
    u128 a = (u128)d << s, b = m * pow;
    return 2 * (a > b ? a - b : b - a) < pow;
}

/* A score as the reference has it. Its JSON reader makes a double of all digits and divides that by
 * a power of ten, which rounds twice; the last bit decides between ways of equal sum, such as those
 * to cut a line of dashes. The digits are those of the shortest decimal that means x, which is what
 * files hold. Numbers out of the range of scores stay as they are. */
static double score_as_read(double x)
{
    int e, k = 16;
    double f = frexp(fabs(x), &e);
    if (!(fabs(x) >= 1e-4 && fabs(x) < 1e4)) {
        return x;
    }
    uint64_t m = (uint64_t)(f * 0x1p53), digits = 0;
    u128 pow = (u128)10000000000000000u, ten_e17 = pow * 10;
    int s = 53 - e;
    while (((m * pow) >> s) >= ten_e17) {
        pow /= 10;
        k--;
    }
    while (((m * pow) >> s) < ten_e17 / 10) {
        pow *= 10;
        k++;
    }
    double scale = 1;
    for (; k >= 0; k--, pow /= 10) { /* from 17 digits on, one less while they still mean x */
        u128 b = m * pow, half = (u128)1 << (s - 1), d = (b + half) >> s;
        d -= d & 1 && (b & (2 * half - 1)) == half; /* a half goes to the even digit */
        if (digits && !reads_back((uint64_t)d, m, s, pow)) {
            break;
        }
        digits = (uint64_t)d;
    }
    for (int i = 0; i <= k; i++) {
        scale *= 10;
    }
    return copysign((double)digits / scale, x);
}

/* Scores stay doubles here and every piece counts for the least of them, as in the reference.
 * Special tokens are no pieces that a text becomes: where it does not ask for them, "<s>" stays
 * text. */
static enum status read_unigram(struct reader *r)
{
    struct vocab *v = r->v;
    struct unigram *u = &v->unigram;
    const json_t *vocab = json_object_get(r->model, "vocab");
    const json_t *unk = json_object_get(r->model, "unk_id");
    bool bytes = config_flag(r->model, "byte_fallback", false);
    size_t n = json_array_size(vocab);
    if (!json_is_array(vocab) || !n || v->byte_level) {
        return bad(r, "model.vocab");
    }
    if (!json_is_integer(unk) || json_integer_value(unk) < 0 ||
        (size_t)json_integer_value(unk) >= n) {
        return bad(r, "model.unk_id");
    }
    enum status st = add_pieces(r, bytes);
    st = st ? st : vocab_index(v, 0, r->e);
    if (st) {
        return st;
    }
    u->score = calloc(r->n + 1, sizeof *u->score);
    if (!u->score) {
        return err_set(r->e, ERR_MEMORY, NULL, "%zu tokens", r->n);
    }
    double least = INFINITY;
    for (size_t i = 0; i < r->n; i++) {
        if (i < n && unigram_piece(vocab, i, &u->score[i])) {
            u->score[i] = score_as_read(u->score[i]);
            least = u->score[i] < least ? u->score[i] : least;
        } else {
            u->score[i] = -INFINITY;
        }
    }
    u->unknown = least - 10;
    v->unk = (int32_t)json_integer_value(unk);
    return vocab_index_unigram(v, 1u << PIECE_NORMAL | 1u << PIECE_USER | 1u << PIECE_BYTE, bytes,
                               r->e);
}

/* Ids that a template's special token stands for. */
static enum status put_special(struct reader *r, const json_t *post, const json_t *item,
                               bool (*put)(struct vocab *, int32_t))
{
    const char *name = json_string_value(json_object_get(item, "id"));
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(post, "special_tokens"), name), "ids");
    size_t i;
    const json_t *id;
    if (!json_array_size(ids)) {
        return bad(r, "a special token of the template");
    }
    json_array_foreach(ids, i, id)
    {
        json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
        if (n < 0 || n >= r->v->pieces.n || !put(r->v, (int32_t)n)) {
            return bad(r, "a special token of the template");
        }
    }
    return OK;
}

static enum status read_template(struct reader *r, const json_t *post)
{
    const json_t *single = json_object_get(post, "single");
    if (!json_is_array(single)) {
        return bad(r, "post_processor.single");
    }
    bool (*put)(struct vocab *, int32_t) = vocab_add_prefix;
    size_t i;
    const json_t *item;
    json_array_foreach(single, i, item)
    {
        const json_t *special = json_object_get(item, "SpecialToken");
        const json_t *text = json_object_get(item, "Sequence");
        if (text && put == vocab_add_prefix) {
            put = vocab_add_suffix;
        } else if (text || !special) {
            return bad(r, "an item of post_processor.single");
        }
        enum status st = special ? put_special(r, post, special, put) : OK;
        if (st) {
            return st;
        }
    }
    return put == vocab_add_suffix ? OK : bad(r, "the text in post_processor.single");
}

/* How many tokens stand between the texts of a template's pair. */
static int pair_seps(const json_t *pair)
{
    int n_texts = 0, n = 0;
    size_t i;
    const json_t *item;
    json_array_foreach(pair, i, item)
    {
        n_texts += json_object_get(item, "Sequence") != NULL;
        n += n_texts == 1 && json_object_get(item, "SpecialToken");
    }
    return n == 2 ? 2 : 1;
}

static enum status put_pair(struct reader *r, const json_t *pair,
                            bool (*put)(struct vocab *, int32_t))
{
    json_int_t id = json_integer_value(json_array_get(pair, 1));
    if (json_array_size(pair) != 2 || id < 0 || id >= r->v->pieces.n || !put(r->v, (int32_t)id)) {
        return bad(r, "post_processor.cls or sep");
    }
    return OK;
}

static enum status read_post(struct reader *r, const json_t *post, int depth)
{
    const char *type = type_of(post);
    if (!post || json_is_null(post) || is(type, "ByteLevel")) {
        return OK; /* ByteLevel only moves offsets */
    }
    if (is(type, "TemplateProcessing")) {
        r->v->pair_seps = pair_seps(json_object_get(post, "pair"));
        return read_template(r, post);
    }
    if (is(type, "BertProcessing") || is(type, "RobertaProcessing")) {
        r->v->pair_seps = is(type, "RobertaProcessing") ? 2 : 1;
        enum status st = put_pair(r, json_object_get(post, "cls"), vocab_add_prefix);
        return st ? st : put_pair(r, json_object_get(post, "sep"), vocab_add_suffix);
    }
    if (is(type, "Sequence") && depth < PIPELINE_MAX_DEPTH) {
        size_t i;
        const json_t *p;
        json_array_foreach(json_object_get(post, "processors"), i, p)
        {
            enum status st = read_post(r, p, depth + 1);
            if (st) {
                return st;
            }
        }
        return OK;
    }
    return refuse(r, "post-processor", type);
}

struct decoder { /* which known parts the file lists */
    bool byte_level, replace, byte_fallback, strip, wordpiece, metaspace;
};

static bool low_line_to_space(const json_t *d)
{
    const char *from = json_string_value(json_object_get(json_object_get(d, "pattern"), "String"));
    return is(from, "\xE2\x96\x81") && is(json_string_value(json_object_get(d, "content")), " ");
}

static enum status read_decoder(struct reader *r, const json_t *d, struct decoder *out, int depth)
{
    const char *type = type_of(d);
    if (is(type, "ByteLevel")) {
        out->byte_level = true;
    } else if (is(type, "WordPiece")) {
        out->wordpiece = true;
        r->v->clean_decode = config_flag(d, "cleanup", true);
        const char *prefix = json_string_value(json_object_get(d, "prefix"));
        if (prefix && !is(prefix, r->v->wordpiece.prefix)) {
            return refuse(r, "prefix of the WordPiece decoder", prefix);
        }
    } else if (is(type, "ByteFallback")) {
        out->byte_fallback = true;
    } else if (is(type, "Fuse")) {
        return OK;
    } else if (is(type, "Replace") && low_line_to_space(d)) {
        out->replace = true;
    } else if (is(type, "Strip") && is(json_string_value(json_object_get(d, "content")), " ") &&
               json_integer_value(json_object_get(d, "start")) == 1 &&
               json_integer_value(json_object_get(d, "stop")) == 0) {
        out->strip = true;
    } else if (is(type, "Metaspace")) {
        out->metaspace = true;
        out->strip |= !is(json_string_value(json_object_get(d, "prepend_scheme")), "never") &&
                      config_flag(d, "add_prefix_space", true);
    } else if (is(type, "Sequence") && depth < PIPELINE_MAX_DEPTH) {
        size_t i;
        const json_t *p;
        json_array_foreach(json_object_get(d, "decoders"), i, p)
        {
            enum status st = read_decoder(r, p, out, depth + 1);
            if (st) {
                return st;
            }
        }
    } else {
        return refuse(r, "decoder", type);
    }
    return OK;
}

/* The decoder must undo what the kind does; a file without one only ever encodes. */
static enum status check_decoder(struct reader *r)
{
    const json_t *d = json_object_get(r->root, "decoder");
    struct decoder have = {0};
    if (!d || json_is_null(d)) {
        r->v->clean_decode = false;
        return r->v->kind == VOCAB_SPM || r->v->kind == VOCAB_UNIGRAM ? refuse(r, "decoder", "null")
                                                                      : OK;
    }
    enum status st = read_decoder(r, d, &have, 0);
    if (st) {
        return st;
    }
    bool spaced = have.replace || have.metaspace;
    bool ok = r->v->kind == VOCAB_BPE         ? have.byte_level && !spaced
              : r->v->kind == VOCAB_WORDPIECE ? have.wordpiece
                                              : spaced && !have.byte_level && !have.wordpiece;
    r->v->drop_space = have.strip;
    return ok ? OK : refuse(r, "decoder for this model", type_of(d));
}

/* Old files name no type; then the fields tell. */
static const char *model_type(const json_t *model)
{
    const char *type = type_of(model);
    return type                                                 ? type
           : json_object_get(model, "merges")                   ? "BPE"
           : json_object_get(model, "max_input_chars_per_word") ? "WordPiece"
           : json_is_array(json_object_get(model, "vocab"))     ? "Unigram"
                                                                : NULL;
}

static enum status read_all(struct reader *r)
{
    struct vocab *v = r->v;
    const char *type = model_type(r->model);
    bool word = is(type, "WordPiece");
    bool unigram = is(type, "Unigram");
    v->kind = word ? VOCAB_WORDPIECE : unigram ? VOCAB_UNIGRAM : VOCAB_SPM;
    enum status st = pipeline_read_normalizer(v, json_object_get(r->root, "normalizer"), r->e);
    st = st ? st : pipeline_read_pretok(v, json_object_get(r->root, "pre_tokenizer"), r->e);
    if (st) {
        return st;
    }
    if (v->byte_level && !unigram) {
        v->kind = word ? VOCAB_WORDPIECE : VOCAB_BPE;
    }
    st = read_entries(r);
    if (!st) {
        st = word              ? read_wordpiece(r)
             : unigram         ? read_unigram(r)
             : is(type, "BPE") ? read_bpe(r)
                               : refuse(r, "tokenizer model", type);
    }
    st = st ? st : add_tokens(r);
    st = st ? st : read_post(r, json_object_get(r->root, "post_processor"), 0);
    st = st ? st : check_decoder(r);
    if (!st) {
        config_read_ids(v, r->config);
    }
    return st;
}

enum status vocab_from_json(const char *json, size_t n, const char *config, size_t n_config,
                            const char *place, struct vocab **out, struct err *e)
{
    struct reader r = {.e = e};
    json_t *root = config_parse(json, n, place, e);
    json_t *settings = NULL;
    enum status st = root ? OK : ERR_FORMAT;
    if (!st && config && n_config &&
        !(settings = config_parse(config, n_config, "tokenizer_config.json", e))) {
        st = ERR_FORMAT;
    }
    if (!st) {
        r.root = root;
        r.config = settings;
        r.model = json_object_get(root, "model");
        r.v = vocab_new(VOCAB_BPE);
        st = r.v ? read_all(&r) : err_set(e, ERR_MEMORY, NULL, "vocabulary");
        st = st ? err_prefix(e, "%s", place) : OK;
    }
    free(r.entries);
    json_decref(root);
    json_decref(settings);
    if (st) {
        vocab_close(r.v);
        return st;
    }
    *out = r.v;
    return OK;
}

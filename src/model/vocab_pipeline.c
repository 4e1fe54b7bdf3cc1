/* Normalizers and pre-tokenizers of tokenizer.json. Pre-tokenizers that are not regular expressions
 * in the file become one here, so that pretok.c knows only patterns; their definitions are those of
 * the tokenizers library's documentation. */
#include "model/vocab_pipeline.h"

#include "text/unicode.h"

#include <stdlib.h>

static const char *type_of(const json_t *component)
{
    return json_string_value(json_object_get(component, "type"));
}

static bool is(const char *type, const char *name)
{
    return type && strcmp(type, name) == 0;
}

static enum status refuse(struct err *e, const char *part, const char *type)
{
    return err_set(e, ERR_UNSUPPORTED, NULL, "%s \"%.64s\" is not known", part,
                   type ? type : "(without type)");
}

static enum status short_text(char to[16], const json_t *text, struct err *e)
{
    const char *s = json_string_value(text);
    if (!s || json_string_length(text) >= 16 || strlen(s) != json_string_length(text)) {
        return err_set(e, ERR_UNSUPPORTED, NULL,
                       "normalizer with a text of 16 bytes or more, or "
                       "with a pattern");
    }
    memcpy(to, s, strlen(s) + 1);
    return OK;
}

/* The only patterns that real files have here: one character, "{n,}" or "+" times. */
static enum status read_runs(struct normal_op *op, const char *regex, struct err *e)
{
    uint32_t cp;
    size_t n = strlen(regex);
    size_t len = n ? utf8_decode(regex, n, &cp) : 0;
    const char *times = regex + len;
    char *end = NULL;
    long least = strcmp(times, "+") == 0 ? 1 : times[0] == '{' ? strtol(times + 1, &end, 10) : 0;
    if (least < 1 || least > 1000 || (end && strcmp(end, ",}") != 0) || cp == UNI_BAD ||
        (cp < 128 && !(uni_class(cp) & (UNI_SPACE | UNI_LETTER | UNI_NUMBER)))) {
        return refuse(e, "pattern of a normalizer", regex);
    }
    op->kind = NORMAL_RUNS;
    op->least = (int)least;
    memcpy(op->a, regex, len);
    op->a[len] = 0;
    return OK;
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static bool base64(const char *p, size_t n, struct buf *out)
{
    uint32_t bits = 0;
    int have = 0;
    while (n && p[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        int d = base64_digit(p[i]);
        if (d < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf_putc(out, (char)(bits >> have & 255));
        }
    }
    return n % 4 != 1;
}

static enum status read_charsmap(struct vocab *v, struct normal_op *op, const json_t *text,
                                 struct err *e)
{
    const char *s = json_string_value(text);
    struct buf b = {0};
    op->spm.map = &v->charsmap;
    if (v->charsmap.n_units) {
        return refuse(e, "second normalizer", "Precompiled");
    }
    bool ok = s && base64(s, json_string_length(text), &b);
    enum status st =
        b.failed ? err_set(e, ERR_MEMORY, NULL, "precompiled_charsmap")
        : ok     ? charsmap_init(&v->charsmap, b.data, b.len, e)
                 : err_set(e, ERR_FORMAT, NULL, "precompiled_charsmap is missing or no base64");
    buf_fini(&b);
    return st;
}

static enum status read_op(struct vocab *v, struct normal_op *op, const json_t *spec, struct err *e)
{
    static const struct {
        const char *name;
        enum normal_kind kind;
    } plain[] = {{"NFC", NORMAL_NFC},         {"NFD", NORMAL_NFD},
                 {"NFKC", NORMAL_NFKC},       {"NFKD", NORMAL_NFKD},
                 {"Lowercase", NORMAL_LOWER}, {"StripAccents", NORMAL_STRIP_ACCENTS},
                 {"Strip", NORMAL_STRIP},     {"Replace", NORMAL_REPLACE},
                 {"Prepend", NORMAL_PREPEND}, {"BertNormalizer", NORMAL_BERT},
                 {"Nmt", NORMAL_NMT},         {"Precompiled", NORMAL_CHARSMAP}};
    const char *type = type_of(spec);
    size_t i = 0;
    while (i < sizeof plain / sizeof plain[0] && !is(type, plain[i].name)) {
        i++;
    }
    if (i == sizeof plain / sizeof plain[0]) {
        return refuse(e, "normalizer", type);
    }
    op->kind = plain[i].kind;
    op->left = config_flag(spec, "strip_left", true);
    op->right = config_flag(spec, "strip_right", true);
    op->clean = config_flag(spec, "clean_text", true);
    op->cjk = config_flag(spec, "handle_chinese_chars", true);
    op->lowercase = config_flag(spec, "lowercase", true);
    op->strip = config_flag(spec, "strip_accents", op->lowercase);
    if (op->kind == NORMAL_PREPEND) {
        return short_text(op->b, json_object_get(spec, "prepend"), e);
    }
    if (op->kind == NORMAL_CHARSMAP) {
        return read_charsmap(v, op, json_object_get(spec, "precompiled_charsmap"), e);
    }
    if (op->kind == NORMAL_REPLACE) {
        const json_t *pattern = json_object_get(spec, "pattern");
        const char *regex = json_string_value(json_object_get(pattern, "Regex"));
        enum status st = regex ? read_runs(op, regex, e)
                               : short_text(op->a, json_object_get(pattern, "String"), e);
        return st ? st : short_text(op->b, json_object_get(spec, "content"), e);
    }
    return OK;
}

static enum status read_normalizer(struct vocab *v, const json_t *spec, int depth, struct err *e)
{
    if (!spec || json_is_null(spec)) {
        return OK;
    }
    if (!is(type_of(spec), "Sequence")) {
        if (v->norm.n == NORMAL_MAX_OPS) {
            return err_set(e, ERR_LIMIT, NULL, "more than %d normalizers", NORMAL_MAX_OPS);
        }
        return read_op(v, &v->norm.ops[v->norm.n++], spec, e);
    }
    size_t i;
    const json_t *s;
    json_array_foreach(json_object_get(spec, "normalizers"), i, s)
    {
        enum status st = depth < PIPELINE_MAX_DEPTH ? read_normalizer(v, s, depth + 1, e)
                                                    : refuse(e, "normalizer", "Sequence");
        if (st) {
            return st;
        }
    }
    return OK;
}

enum status pipeline_read_normalizer(struct vocab *v, const json_t *spec, struct err *e)
{
    return read_normalizer(v, spec, 0, e);
}

static enum status step(struct vocab *v, const char *pattern, enum pretok_behavior behavior,
                        bool invert, struct err *e)
{
    return pretok_add(&v->pretok, pattern, strlen(pattern), behavior, invert, e);
}

static enum status behavior_of(const json_t *spec, enum pretok_behavior otherwise,
                               enum pretok_behavior *out, struct err *e)
{
    static const struct {
        const char *name;
        enum pretok_behavior behavior;
    } names[] = {{"Isolated", PRETOK_ISOLATED},
                 {"Removed", PRETOK_REMOVED},
                 {"MergedWithPrevious", PRETOK_MERGED_PREVIOUS},
                 {"MergedWithNext", PRETOK_MERGED_NEXT},
                 {"Contiguous", PRETOK_CONTIGUOUS}};
    const json_t *b = json_object_get(spec, "behavior");
    *out = otherwise;
    for (size_t i = 0; b && i < sizeof names / sizeof names[0]; i++) {
        if (is(json_string_value(b), names[i].name)) {
            *out = names[i].behavior;
            return OK;
        }
    }
    return b ? refuse(e, "behavior of a pre-tokenizer", json_string_value(b)) : OK;
}

/* A literal text as a pattern. */
static enum status literal(struct vocab *v, const json_t *text, enum pretok_behavior behavior,
                           bool invert, struct err *e)
{
    struct buf b = {0};
    const char *s = json_string_value(text);
    for (size_t i = 0; s && i < json_string_length(text); i++) {
        if (strchr("\\^$.|?*+()[]{}-/#", s[i]) && s[i]) {
            buf_putc(&b, '\\');
        }
        buf_putc(&b, s[i]);
    }
    enum status st = b.failed ? err_set(e, ERR_MEMORY, NULL, "pre-tokenizer")
                     : !b.len ? refuse(e, "pre-tokenizer", "Split without pattern")
                              : pretok_add(&v->pretok, b.data, b.len, behavior, invert, e);
    buf_fini(&b);
    return st;
}

static enum status read_split(struct vocab *v, const json_t *spec, struct err *e)
{
    const json_t *pattern = json_object_get(spec, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex");
    bool invert = config_flag(spec, "invert", false);
    enum pretok_behavior behavior;
    enum status st = behavior_of(spec, PRETOK_ISOLATED, &behavior, e);
    if (st) {
        return st;
    }
    if (json_is_string(regex)) {
        return pretok_add(&v->pretok, json_string_value(regex), json_string_length(regex), behavior,
                          invert, e);
    }
    return literal(v, json_object_get(pattern, "String"), behavior, invert, e);
}

static enum status read_metaspace(struct vocab *v, const json_t *spec, struct err *e)
{
    const char *mark = json_string_value(json_object_get(spec, "replacement"));
    const char *scheme = json_string_value(json_object_get(spec, "prepend_scheme"));
    if (!is(mark, "\xE2\x96\x81") || v->metaspace) {
        return refuse(e, "replacement of Metaspace", mark);
    }
    v->metaspace = true;
    v->meta_prepend = scheme ? !is(scheme, "never") : config_flag(spec, "add_prefix_space", true);
    v->meta_first = is(scheme, "first");
    if (v->pretok.n_steps) { /* words that another pre-tokenizer has cut */
        if (!v->split_white || v->pretok.n_steps > 1 || v->meta_first) {
            return refuse(e, "pre-tokenizer before Metaspace", "(any but WhitespaceSplit)");
        }
        pretok_fini(&v->pretok);
        v->meta_words = true;
    }
    if (!config_flag(spec, "split", true)) {
        return OK;
    }
    if (v->kind == VOCAB_UNIGRAM) {
        v->cut = CUT_MARKS;
        return OK;
    }
    return step(v, "\\x{2581}", PRETOK_MERGED_NEXT, false, e);
}

/* \w of the engine behind "Whitespace", which counts the two joiners as parts of words. */
#define RUST_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"
#define ASCII_PUNCT "!-/:-@\\[-`{-~"

static enum status read_one(struct vocab *v, const json_t *spec, bool last, struct err *e)
{
    const char *type = type_of(spec);
    enum pretok_behavior behavior;
    enum status st = OK;
    if (v->byte_level || (v->metaspace && !is(type, "Metaspace"))) {
        return refuse(e, "pre-tokenizer after ByteLevel or Metaspace", type);
    }
    if (is(type, "ByteLevel")) {
        v->byte_level = true;
        v->prefix_space = config_flag(spec, "add_prefix_space", true);
        return config_flag(spec, "use_regex", true)
                   ? step(v, pretok_gpt2_pattern, PRETOK_ISOLATED, false, e)
                   : OK;
    }
    if (is(type, "Split")) {
        return read_split(v, spec, e);
    }
    if (is(type, "Digits")) {
        return step(v, pretok_digit_pattern,
                    config_flag(spec, "individual_digits", false) ? PRETOK_ISOLATED
                                                                  : PRETOK_CONTIGUOUS,
                    false, e);
    }
    if (is(type, "Whitespace")) {
        return step(v, "[" RUST_WORD "]+|[^\\s" RUST_WORD "]+", PRETOK_REMOVED, true, e);
    }
    if (is(type, "WhitespaceSplit")) {
        v->split_white = true;
        return step(v, "\\s", PRETOK_REMOVED, false, e);
    }
    if (is(type, "CharDelimiterSplit")) {
        return literal(v, json_object_get(spec, "delimiter"), PRETOK_REMOVED, false, e);
    }
    if (is(type, "Punctuation")) {
        st = behavior_of(spec, PRETOK_ISOLATED, &behavior, e);
        return st ? st : step(v, "[" ASCII_PUNCT "\\p{P}]", behavior, false, e);
    }
    if (is(type, "BertPreTokenizer")) {
        if (last && !v->pretok.n_steps && v->kind == VOCAB_WORDPIECE) {
            v->cut = CUT_BERT;
            return OK;
        }
        st = step(v, "\\s", PRETOK_REMOVED, false, e);
        return st ? st : step(v, "[" ASCII_PUNCT "\\p{P}]", PRETOK_ISOLATED, false, e);
    }
    if (is(type, "Metaspace")) {
        return read_metaspace(v, spec, e);
    }
    return refuse(e, "pre-tokenizer", type);
}

static enum status read_pretok(struct vocab *v, const json_t *spec, bool last, int depth,
                               struct err *e)
{
    if (!is(type_of(spec), "Sequence")) {
        return read_one(v, spec, last, e);
    }
    const json_t *list = json_object_get(spec, "pretokenizers");
    size_t i;
    const json_t *s;
    json_array_foreach(list, i, s)
    {
        bool end = last && i + 1 == json_array_size(list);
        enum status st = depth < PIPELINE_MAX_DEPTH ? read_pretok(v, s, end, depth + 1, e)
                                                    : refuse(e, "pre-tokenizer", "Sequence");
        if (st) {
            return st;
        }
    }
    return OK;
}

enum status pipeline_read_pretok(struct vocab *v, const json_t *spec, struct err *e)
{
    if (!spec || json_is_null(spec)) {
        return OK;
    }
    enum status st = read_pretok(v, spec, true, 0, e);
    if (st) {
        return st;
    }
    const char *name = pretok_row_of(&v->pretok);
    memcpy(v->pre, name, strlen(name) + 1);
    return pretok_prepare(&v->pretok, false, e);
}

/* Chat prompts: the model's template around user strings that cannot pretend to be the template.
 *
 * A message that contains "<|im_end|>" must stay text. The template interpreter does not know where
 * a character came from, so before rendering every user string is marked: a character that occurs
 * in none of them (a private-use code point) goes into each place where a control token begins or
 * ends inside the string, also one that would be completed by what stands beside it. After
 * rendering, no control token can be read that the template itself did not write. Stretches between
 * control tokens that hold marks lose them and are encoded as plain text; the rest is encoded with
 * control tokens parsed. Without marks (nearly always) the whole is encoded at once.
 *
 * Rejected: escaping with a fixed character (it may be in the text), and rendering piecewise (a
 * template may look into the strings). A template's own composition, "<|" + role + "|>", still
 * works: only tokens that begin or end inside a string are broken. */
#include "engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MARK_FIRST = 0x100000, MARK_LAST = 0x10FFFD, MARK_BYTES = 4 };

struct marker {
    const struct engine *en;
    char mark[MARK_BYTES + 1];
    bool used;
};

enum status engine_collect_specials(struct engine *en, struct err *e)
{
    const struct vocab *v = model_vocab(en->model);
    size_t n = 0;
    for (int32_t id = 0; id < vocab_size(v); id++) {
        n += vocab_is_special(v, id);
    }
    en->specials = arena_array(&en->arena, n, sizeof *en->specials);
    struct buf b = {0};
    bool failed = !en->specials;
    for (int32_t id = 0; id < vocab_size(v) && !failed; id++) {
        if (!vocab_is_special(v, id)) {
            continue;
        }
        buf_reset(&b);
        vocab_decode_one(v, id, true, &b);
        char *text = arena_strndup(&en->arena, b.len ? b.data : "", b.len);
        failed = b.failed || !text;
        if (!failed && b.len) {
            en->specials[en->n_specials++] = (struct special){text, b.len};
        }
    }
    buf_fini(&b);
    return failed ? err_set(e, ERR_MEMORY, NULL, "no memory for the tokenizer's control tokens")
                  : OK;
}

size_t engine_special_at(const struct engine *en, const char *p, size_t n)
{
    size_t longest = 0;
    for (size_t i = 0; i < en->n_specials; i++) {
        const struct special *s = &en->specials[i];
        if (s->n <= n && s->n > longest && memcmp(p, s->text, s->n) == 0) {
            longest = s->n;
        }
    }
    return longest;
}

/* Does a control token begin at p, or would one if something followed the end of the string? */
static bool begins(const struct engine *en, const char *p, size_t n)
{
    for (size_t i = 0; i < en->n_specials; i++) {
        const struct special *s = &en->specials[i];
        if (memcmp(p, s->text, s->n < n ? s->n : n) == 0) {
            return true;
        }
    }
    return false;
}

/* Is p[0..n) the end of a control token that something before the string might have begun? */
static bool ends(const struct engine *en, const char *p, size_t n)
{
    for (size_t i = 0; i < en->n_specials; i++) {
        const struct special *s = &en->specials[i];
        if (n < s->n && memcmp(p, s->text + s->n - n, n) == 0) {
            return true;
        }
    }
    return false;
}

static size_t char_bytes(const char *p, size_t n)
{
    size_t k = 1;
    while (k < n && ((unsigned char)p[k] & 0xC0) == 0x80) {
        k++;
    }
    return k;
}

/* Appends p[0..n) with marks: before the last character of a leading piece that could end a token,
 * after the first character of whatever could begin one. */
static void put_marked(struct marker *m, const char *p, size_t n, struct buf *out)
{
    size_t longest = 0;
    for (size_t i = 0; i < m->en->n_specials; i++) {
        longest = m->en->specials[i].n > longest ? m->en->specials[i].n : longest;
    }
    for (size_t i = 0; i < n;) {
        size_t k = char_bytes(p + i, n - i);
        if (i + k < longest && ends(m->en, p, i + k)) {
            buf_puts(out, m->mark);
            m->used = true;
        }
        buf_put(out, p + i, k);
        if (begins(m->en, p + i, n - i)) {
            buf_puts(out, m->mark);
            m->used = true;
        }
        i += k;
    }
}

static json_t *marked_string(struct marker *m, const char *p, size_t n)
{
    struct buf b = {0};
    put_marked(m, p, n, &b);
    json_t *s = b.failed ? NULL : json_stringn_nocheck(b.len ? b.data : "", b.len);
    buf_fini(&b);
    return s;
}

enum { MAX_DEPTH = 64 };

/* A deep copy with all strings and keys marked; NULL: no memory, or nested too deeply. */
static json_t *marked_copy(struct marker *m, const json_t *v, int depth)
{
    if (depth > MAX_DEPTH) {
        return NULL;
    }
    if (json_is_string(v)) {
        return marked_string(m, json_string_value(v), json_string_length(v));
    }
    if (json_is_array(v)) {
        json_t *copy = json_array();
        for (size_t i = 0; copy && i < json_array_size(v); i++) {
            if (json_array_append_new(copy, marked_copy(m, json_array_get(v, i), depth + 1))) {
                json_decref(copy);
                copy = NULL;
            }
        }
        return copy;
    }
    if (json_is_object(v)) {
        json_t *copy = json_object();
        const char *key;
        json_t *item;
        json_object_foreach((json_t *)v, key, item)
        {
            struct buf b = {0};
            put_marked(m, key, strlen(key), &b);
            buf_puts(&b, "");
            bool failed = !copy || b.failed ||
                          json_object_set_new_nocheck(copy, b.data ? b.data : "",
                                                      marked_copy(m, item, depth + 1));
            buf_fini(&b);
            if (failed) {
                json_decref(copy);
                return NULL;
            }
        }
        return copy;
    }
    return json_deep_copy(v);
}

static bool contains(const json_t *v, const char *needle, int depth)
{
    if (depth > MAX_DEPTH) {
        return false;
    }
    if (json_is_string(v)) {
        return memmem(json_string_value(v), json_string_length(v), needle, strlen(needle)) != NULL;
    }
    if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (contains(json_array_get(v, i), needle, depth + 1)) {
                return true;
            }
        }
    }
    const char *key;
    json_t *item;
    if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, item)
        {
            if (strstr(key, needle) || contains(item, needle, depth + 1)) {
                return true;
            }
        }
    }
    return false;
}

/* A code point that is in neither the variables nor the template. */
static enum status choose_mark(struct marker *m, const json_t *vars, struct err *e)
{
    for (uint32_t c = MARK_FIRST; c <= MARK_LAST; c++) {
        m->mark[0] = (char)(0xF0 | c >> 18);
        m->mark[1] = (char)(0x80 | (c >> 12 & 0x3F));
        m->mark[2] = (char)(0x80 | (c >> 6 & 0x3F));
        m->mark[3] = (char)(0x80 | (c & 0x3F));
        if (!contains(vars, m->mark, 0) &&
            !strstr(model_info(m->en->model)->chat_template, m->mark)) {
            return OK;
        }
    }
    return err_set(e, ERR_LIMIT, NULL, "the messages use every private character there is");
}

/* What transformers gives a template besides the caller's variables. */
static bool add_defaults(const struct engine *en, json_t *vars)
{
    const struct vocab *v = model_vocab(en->model);
    const struct {
        const char *name;
        int32_t id;
    } tokens[] = {{"bos_token", vocab_bos(v)},
                  {"eos_token", vocab_eos(v)},
                  {"pad_token", vocab_pad(v)},
                  {"unk_token", vocab_unk(v)}};
    bool ok = true;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0] && ok; i++) {
        struct buf b = {0};
        if (tokens[i].id >= 0 && !json_object_get(vars, tokens[i].name)) {
            vocab_decode_one(v, tokens[i].id, true, &b);
            json_t *text = json_stringn_nocheck(b.len ? b.data : "", b.len);
            ok = !b.failed && !json_object_set_new(vars, tokens[i].name, text);
        }
        buf_fini(&b);
    }
    static const char *const nulls[] = {"tools", "documents"};
    for (size_t i = 0; i < 2 && ok; i++) {
        ok = json_object_get(vars, nulls[i]) || !json_object_set_new(vars, nulls[i], json_null());
    }
    return ok;
}

static void put_unmarked(const char *p, size_t n, const char *mark, struct buf *out)
{
    while (n) {
        const char *at = memmem(p, n, mark, MARK_BYTES);
        size_t k = at ? (size_t)(at - p) : n;
        buf_put(out, p, k);
        k += at ? MARK_BYTES : 0;
        p += k;
        n -= k;
    }
}

/* Encodes p[0..n): as it is when it holds no mark, else as plain text without the marks. */
static enum status encode_stretch(const struct engine *en, const char *p, size_t n,
                                  const char *mark, struct ids *ids, struct err *e)
{
    const struct vocab *v = model_vocab(en->model);
    if (!n) {
        return OK;
    }
    if (!memmem(p, n, mark, MARK_BYTES)) {
        return vocab_encode(v, p, n, ENCODE_PARSE_SPECIAL, ids, e);
    }
    struct buf b = {0};
    put_unmarked(p, n, mark, &b);
    enum status s = b.failed ? err_set(e, ERR_MEMORY, NULL, "no memory for a prompt")
                             : vocab_encode(v, b.data, b.len, 0, ids, e);
    buf_fini(&b);
    return s;
}

/* Stretches that hold marks end where the template's next control token begins; everything else is
 * gathered into runs, so that text and control tokens meet as in one encoding. */
static enum status encode_marked(const struct engine *en, const char *p, size_t n, const char *mark,
                                 struct ids *ids, struct err *e)
{
    size_t run = 0, text = 0, i = 0; /* run: not yet encoded; text: begin of the plain stretch */
    while (i <= n) {
        size_t special = i < n ? engine_special_at(en, p + i, n - i) : 0;
        if (!special && i < n) {
            i++;
            continue;
        }
        if (memmem(p + text, i - text, mark, MARK_BYTES)) {
            enum status s = encode_stretch(en, p + run, text - run, mark, ids, e);
            if (s || (s = encode_stretch(en, p + text, i - text, mark, ids, e))) {
                return s;
            }
            run = i;
        }
        if (i == n) {
            break;
        }
        i += special;
        text = i;
    }
    return encode_stretch(en, p + run, n - run, mark, ids, e);
}

static enum status render(const struct engine *en, struct marker *m, const json_t *vars,
                          struct buf *out, struct err *e)
{
    json_t *copy = marked_copy(m, vars, 0);
    enum status s;
    if (!copy || !json_is_object(copy)) {
        s = err_set(e, ERR_USAGE, NULL,
                    "the variables of a chat prompt: not an object, nested "
                    "more than 64 deep, or no memory");
    } else if (!add_defaults(en, copy)) {
        s = err_set(e, ERR_MEMORY, NULL, "no memory for a prompt");
    } else {
        s = template_render(en->template, copy, out, e);
    }
    json_decref(copy);
    return s;
}

enum status engine_chat_prompt(const struct engine *en, const json_t *vars, struct token_ids *out,
                               struct buf *rendered, struct err *e)
{
    if (!en->template) {
        if (e) {
            *e = en->template_error;
        }
        return ERR_UNSUPPORTED;
    }
    struct marker m = {.en = en};
    struct buf text = {0};
    struct ids ids = {out->data, out->n, out->cap};
    enum status s = choose_mark(&m, vars, e);
    if (!s) {
        s = render(en, &m, vars, &text, e);
    }
    if (!s && text.len) {
        s = m.used ? encode_marked(en, text.data, text.len, m.mark, &ids, e)
                   : vocab_encode(model_vocab(en->model), text.data, text.len, ENCODE_PARSE_SPECIAL,
                                  &ids, e);
    }
    if (!s && rendered) {
        put_unmarked(text.data ? text.data : "", text.len, m.mark, rendered);
        s = rendered->failed ? err_set(e, ERR_MEMORY, NULL, "no memory for a prompt") : OK;
    }
    *out = (struct token_ids){ids.data, s ? out->n : ids.n, ids.cap};
    buf_fini(&text);
    return s;
}

/* Pre-tokenizers: see pretok.h.
 *
 * Patterns come from tokenizer.json files, whose engine is Oniguruma with Ruby's syntax. Where it
 * and PCRE2 read the same text differently the pattern is translated (white space and word
 * characters by their Unicode properties, ^ and $ at line ends) or refused by name; nothing is run
 * that could mean something else. */
#include "model/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { MATCH_LIMIT = 10 * 1000 * 1000, HEAP_LIMIT_KIB = 128 * 1024 };

void spans_fini(struct spans *s)
{
    free(s->data);
    *s = (struct spans){0};
}

static bool spans_push(struct spans *s, size_t at, size_t len)
{
    if (!len) {
        return true;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct span *p = realloc(s->data, cap * sizeof *p);
        if (!p) {
            return false;
        }
        s->data = p;
        s->cap = cap;
    }
    s->data[s->n++] = (struct span){(uint32_t)at, (uint32_t)len};
    return true;
}

/* One escape outside or inside a class: how PCRE2 must spell it; NULL when it is spelled alike. */
static const char *escape(char c, bool in_class)
{
    switch (c) {
    case 's':
        return "\\p{White_Space}";
    case 'S':
        return "\\P{White_Space}";
    case 'w':
        return in_class ? "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
                        : "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
    case 'W':
        return in_class ? "" : "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
    case 'h':
    case 'H':
        return "";
    default:
        return NULL;
    }
}

/* Appends the pattern as PCRE2 must read it; what it cannot say goes to *bad. */
static void translate(const char *p, size_t n, struct buf *out, const char **bad)
{
    bool in_class = false;
    for (size_t i = 0; i < n && !*bad; i++) {
        char c = p[i];
        char next = '\0';
        if (i + 1 < n) {
            next = p[i + 1];
        }
        if (c == '\\' && i + 1 < n) {
            const char *as = escape(next, in_class);
            if (as && !*as) {
                *bad = "this escape";
            } else if (as) {
                buf_puts(out, as);
            } else {
                buf_put(out, p + i, 2);
            }
            i++;
            const char *end = next == 'p' || next == 'P' || next == 'x'
                                  ? memchr(p + i + 1, '}', n - i - 1)
                                  : NULL;
            if (end && p[i + 1] == '{') { /* \p{L}: its brace is no interval's */
                buf_put(out, p + i + 1, (size_t)(end - (p + i)));
                i = (size_t)(end - p);
            }
            continue;
        }
        if (in_class && ((c == '[' && next != ':') || (c == '&' && next == '&'))) {
            *bad = "a set operation inside a character class";
            return;
        }
        if (in_class && c == '[') { /* [:alpha:] */
            const char *end = memmem(p + i, n - i, ":]", 2);
            if (!end) {
                *bad = "an open character class";
                return;
            }
            buf_put(out, p + i, (size_t)(end + 2 - (p + i)));
            i = (size_t)(end + 1 - p);
            continue;
        }
        if (!in_class && c == '}' && next == '+') {
            *bad = "a repeated interval";
        }
        buf_putc(out, c);
        if (!in_class && c == '[') {
            in_class = true;
            if (next == '^') {
                buf_putc(out, '^');
                i++;
            }
            if (i + 1 < n && p[i + 1] == ']') { /* a first ] is itself */
                buf_puts(out, "\\]");
                i++;
            }
        } else if (in_class && c == ']') {
            in_class = false;
        }
    }
}

static enum status compile(struct pretok_step *s, struct err *e)
{
    struct buf b = {0};
    const char *bad = NULL;
    translate(s->pattern, strlen(s->pattern), &b, &bad);
    if (bad) {
        buf_fini(&b);
        return err_set(e, ERR_UNSUPPORTED, NULL, "pre-tokenizer pattern has %s: %s", bad,
                       s->pattern);
    }
    if (b.failed) {
        buf_fini(&b);
        return err_set(e, ERR_MEMORY, NULL, "pre-tokenizer pattern");
    }
    int code = 0;
    PCRE2_SIZE at = 0;
    s->code = pcre2_compile((PCRE2_SPTR)(b.data ? b.data : ""), b.len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, NULL);
    buf_fini(&b);
    if (!s->code) {
        PCRE2_UCHAR text[160];
        (void)pcre2_get_error_message(code, text, sizeof text);
        return err_set(e, ERR_FORMAT, NULL, "pre-tokenizer pattern, byte %zu: %s: %s", at,
                       (const char *)text, s->pattern);
    }
    (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    return OK;
}

enum status pretok_add(struct pretok *p, const char *pattern, size_t n,
                       enum pretok_behavior behavior, bool invert, struct err *e)
{
    if (p->n_steps == PRETOK_MAX_STEPS || n > PRETOK_MAX_PATTERN) {
        return err_set(e, ERR_LIMIT, NULL,
                       "pre-tokenizer: more than %d steps or a pattern of more than %d bytes",
                       PRETOK_MAX_STEPS, PRETOK_MAX_PATTERN);
    }
    if (memchr(pattern, 0, n) || utf8_valid_prefix(pattern, n) < n) {
        return err_set(e, ERR_FORMAT, NULL, "pre-tokenizer pattern is not text");
    }
    char *copy = malloc(n + 1);
    if (!copy) {
        return err_set(e, ERR_MEMORY, NULL, "pre-tokenizer pattern");
    }
    memcpy(copy, pattern, n);
    copy[n] = 0;
    p->steps[p->n_steps++] =
        (struct pretok_step){.pattern = copy, .behavior = behavior, .invert = invert};
    return OK;
}

static bool equals_row(const struct pretok *p, const struct pretok_row *row)
{
    int i = 0;
    for (; i < p->n_steps; i++) {
        const struct pretok_step *s = &p->steps[i];
        if (s->behavior != PRETOK_ISOLATED || s->invert || i == PRETOK_MAX_STEPS ||
            !row->patterns[i] || strcmp(s->pattern, row->patterns[i]) != 0) {
            return false;
        }
    }
    return i == PRETOK_MAX_STEPS || !row->patterns[i];
}

const char *pretok_row_of(const struct pretok *p)
{
    const struct pretok_row *row;
    for (size_t i = 0; p->n_steps && (row = pretok_row_at(i)); i++) {
        if (equals_row(p, row)) {
            return row->name;
        }
    }
    return "";
}

enum status pretok_prepare(struct pretok *p, bool regex, struct err *e)
{
    p->scan = SCAN_NONE;
    const struct pretok_row *row;
    for (size_t i = 0; !regex && p->n_steps && (row = pretok_row_at(i)); i++) {
        if (row->scan && equals_row(p, row)) {
            p->scan = row->scan;
            return OK;
        }
    }
    for (int i = 0; i < p->n_steps; i++) {
        enum status st = compile(&p->steps[i], e);
        if (st) {
            return st;
        }
    }
    return OK;
}

void pretok_fini(struct pretok *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        free(p->steps[i].pattern);
        pcre2_code_free(p->steps[i].code);
    }
    *p = (struct pretok){0};
}

/* Collects the alternation of matches and gaps of one span under a step's behaviour. */
struct cutter {
    struct spans *out;
    size_t first; /* index of this span's first result in out */
    enum pretok_behavior behavior;
    bool previous_match; /* of the part before this one */
    struct span held;    /* PRETOK_MERGED_NEXT: a match waiting for what follows */
    bool failed;
};

static void cut(struct cutter *c, size_t at, size_t len, bool match)
{
    struct span *last = c->out->n > c->first ? &c->out->data[c->out->n - 1] : NULL;
    bool join = false;
    switch (c->behavior) {
    case PRETOK_ISOLATED:
        break;
    case PRETOK_REMOVED:
        if (match) {
            return;
        }
        break;
    case PRETOK_MERGED_PREVIOUS:
        join = match && !c->previous_match;
        break;
    case PRETOK_CONTIGUOUS:
        join = match == c->previous_match;
        break;
    case PRETOK_MERGED_NEXT: /* only the last of several matches in a row joins what follows */
        if (c->held.len && match) {
            c->failed |= !spans_push(c->out, c->held.at, c->held.len);
        }
        if (match) {
            c->held = (struct span){(uint32_t)at, (uint32_t)len};
            return;
        }
        len += c->held.len;
        at -= c->held.len;
        c->held.len = 0;
        break;
    }
    c->previous_match = match;
    if (join && last) {
        last->len += (uint32_t)len;
    } else {
        c->failed |= !spans_push(c->out, at, len);
    }
}

struct matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static int match(const struct matcher *m, const pcre2_code *code, const char *text, size_t n,
                 size_t from)
{
    int r = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (r == PCRE2_ERROR_JIT_STACKLIMIT) { /* the interpreter keeps its stack on the heap */
        r = pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data,
                        m->context);
    }
    return r;
}

/* One step on one span: text[at..at + n). An empty match is a cut, except right after a match. */
static enum status step_span(const struct matcher *m, const struct pretok_step *s, const char *text,
                             size_t at, size_t n, struct spans *out, struct err *e)
{
    struct cutter c = {.out = out, .first = out->n, .behavior = s->behavior};
    const char *p = text + at;
    size_t done = 0, from = 0, last_end = SIZE_MAX;
    while (from <= n) {
        int r = match(m, s->code, p, n, from);
        if (r == PCRE2_ERROR_NOMATCH) {
            break;
        }
        if (r < 0) {
            PCRE2_UCHAR why[120];
            (void)pcre2_get_error_message(r, why, sizeof why);
            return err_set(e, r == PCRE2_ERROR_NOMEMORY ? ERR_MEMORY : ERR_LIMIT, NULL,
                           "pre-tokenizer: %s", (const char *)why);
        }
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
        size_t b = v[0], end = v[1];
        if (b < from || end < b) { /* \K can do that */
            return err_set(e, ERR_UNSUPPORTED, NULL, "pre-tokenizer pattern moves its own start");
        }
        bool empty = b == end;
        if (!(empty && b == last_end)) {
            if (b > done) {
                cut(&c, at + done, b - done, s->invert);
            }
            if (!empty || s->behavior == PRETOK_ISOLATED) {
                cut(&c, at + b, end - b, !s->invert);
            }
            done = last_end = end;
        }
        from = end;
        if (empty) {
            uint32_t cp;
            from += from < n ? utf8_decode(p + from, n - from, &cp) : 1;
        }
    }
    if (done < n) {
        cut(&c, at + done, n - done, s->invert);
    }
    if (c.held.len) {
        c.failed |= !spans_push(out, c.held.at, c.held.len);
    }
    return c.failed ? err_set(e, ERR_MEMORY, NULL, "pre-tokenizer") : OK;
}

static enum status run_steps(const struct pretok *p, const struct matcher *m, const char *text,
                             size_t n, struct spans *out, struct err *e)
{
    struct spans a = {0}, b = {0};
    enum status st = spans_push(&a, 0, n) ? OK : ERR_MEMORY;
    for (int i = 0; i < p->n_steps && !st; i++) {
        b.n = 0;
        for (size_t k = 0; k < a.n && !st; k++) {
            st = step_span(m, &p->steps[i], text, a.data[k].at, a.data[k].len, &b, e);
        }
        struct spans t = a;
        a = b;
        b = t;
    }
    for (size_t k = 0; k < a.n && !st; k++) {
        st = spans_push(out, a.data[k].at, a.data[k].len) ? OK : ERR_MEMORY;
    }
    spans_fini(&a);
    spans_fini(&b);
    return st;
}

/* A copy in which every malformed byte is U+0001, one byte of no class, so that offsets stay. */
static char *mended(const char *text, size_t n)
{
    char *copy = malloc(n);
    if (copy) {
        memcpy(copy, text, n);
        for (size_t i = 0; (i += utf8_valid_prefix(copy + i, n - i)) < n;) {
            copy[i] = 1;
        }
    }
    return copy;
}

static enum status split_regex(const struct pretok *p, const char *text, size_t n,
                               struct spans *out, struct err *e)
{
    struct matcher m = {pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL)};
    char *copy = NULL;
    enum status st = ERR_MEMORY;
    if (!m.data || !m.context) {
        goto done;
    }
    (void)pcre2_set_match_limit(m.context, MATCH_LIMIT);
    (void)pcre2_set_heap_limit(m.context, HEAP_LIMIT_KIB);
    if (utf8_valid_prefix(text, n) < n && !(copy = mended(text, n))) {
        goto done;
    }
    st = run_steps(p, &m, copy ? copy : text, n, out, e);
done:
    if (st == ERR_MEMORY) {
        (void)err_set(e, ERR_MEMORY, NULL, "pre-tokenizer: %zu bytes of text", n);
    }
    free(copy);
    pcre2_match_data_free(m.data);
    pcre2_match_context_free(m.context);
    return st;
}

enum status pretok_split(const struct pretok *p, const char *text, size_t n, struct spans *out,
                         struct err *e)
{
    if (n > PRETOK_MAX_TEXT) {
        return err_set(e, ERR_LIMIT, NULL, "pre-tokenizer: a text of %zu bytes", n);
    }
    if (p->scan == SCAN_NONE && p->n_steps) {
        return split_regex(p, text, n, out, e);
    }
    bool ok = true;
    if (p->scan == SCAN_NONE) {
        ok = spans_push(out, 0, n);
    } else {
        for (size_t i = 0; i < n && ok;) {
            size_t end = pretok_scan_next(p->scan, text, n, i);
            ok = spans_push(out, i, end - i);
            i = end;
        }
    }
    return ok ? OK : err_set(e, ERR_MEMORY, NULL, "pre-tokenizer");
}

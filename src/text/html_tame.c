/* The parser looks through all open elements at most tags, and through all earlier attributes at
 * each attribute: a hostile page makes it quadratic. This scanner follows tags roughly as the
 * parser does (quotes, comments, raw text), keeps a stack of open elements and drops start tags
 * beyond the depth and attributes beyond the count. Pages made by people pass unchanged.
 * Rejected: refusing such pages; machine-made reports do nest a thousand deep, and their text is
 * what is wanted. */
#include "text/html_tame.h"

#include <string.h>
#include <strings.h>

struct scan {
    const char *s;
    size_t n;
    size_t copied; /* input before this was copied or dropped */
    struct buf *out;
    bool changed;
    uint32_t open[HTML_MAX_DEPTH]; /* hashes of names */
    size_t depth, over;            /* over: start tags dropped and not yet ended */
};

static void drop(struct scan *c, size_t from, size_t to)
{
    buf_put(c->out, c->s + c->copied, from - c->copied);
    c->copied = to;
    c->changed = true;
}

static bool is_name_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '-' || ch == ':';
}

static bool is_white(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\f' || ch == '\r';
}

static uint32_t hash_name(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ ((uint8_t)s[i] | 0x20)) * 16777619u;
    }
    return h;
}

static bool one_of(const char *s, size_t n, const char *const *list)
{
    for (; *list; list++) {
        if (strlen(*list) == n && strncasecmp(s, *list, n) == 0) {
            return true;
        }
    }
    return false;
}

/* Elements without content, and those that the next of their kind closes: none adds depth that
 * others do not bound. */
static const char *const no_depth[] = {
    "area", "base",  "br",     "col",   "embed", "hr",    "img",    "input",    "link",
    "meta", "param", "source", "track", "wbr",   "p",     "li",     "dt",       "dd",
    "tr",   "td",    "th",     "thead", "tbody", "tfoot", "option", "optgroup", "colgroup",
    "html", "head",  "body",   "rp",    "rt",    NULL};
static const char *const raw_text[] = {"script", "style",   "textarea", "title", "xmp",
                                       "iframe", "noembed", "noframes", NULL};

/* From text[i] inside a tag to the '>' that ends it (or n); counts attributes and drops those past
 * the limit. */
static size_t scan_attributes(struct scan *c, size_t i)
{
    size_t count = 0, surplus = 0;
    while (i < c->n && c->s[i] != '>') {
        if (is_white(c->s[i]) || c->s[i] == '/') {
            i++;
            continue;
        }
        if (++count == HTML_MAX_ATTRIBUTES + 1) {
            surplus = i;
        }
        do { /* the name; an = may begin it */
            i++;
        } while (i < c->n && !is_white(c->s[i]) && !strchr("=>/", c->s[i]));
        size_t k = i;
        while (k < c->n && is_white(c->s[k])) {
            k++;
        }
        if (k >= c->n || c->s[k] != '=') {
            continue;
        }
        i = k + 1;
        while (i < c->n && is_white(c->s[i])) {
            i++;
        }
        if (i < c->n && (c->s[i] == '"' || c->s[i] == '\'')) {
            const char *end = memchr(c->s + i + 1, c->s[i], c->n - i - 1);
            i = end ? (size_t)(end - c->s) + 1 : c->n;
        } else {
            while (i < c->n && !is_white(c->s[i]) && c->s[i] != '>') {
                i++;
            }
        }
    }
    if (surplus) {
        drop(c, surplus, i);
    }
    return i;
}

/* Position of "</name" after i, n when there is none. */
static size_t raw_text_end(const struct scan *c, size_t i, const char *name, size_t len)
{
    while (i < c->n) {
        const char *lt = memchr(c->s + i, '<', c->n - i);
        if (!lt) {
            return c->n;
        }
        i = (size_t)(lt - c->s);
        if (c->n - i > len + 2 && c->s[i + 1] == '/' && strncasecmp(c->s + i + 2, name, len) == 0 &&
            !is_name_char(c->s[i + 2 + len])) {
            return i;
        }
        i++;
    }
    return c->n;
}

/* A start tag at s[at]; returns where scanning goes on. */
static size_t start_tag(struct scan *c, size_t at)
{
    size_t i = at + 1;
    while (i < c->n && is_name_char(c->s[i])) {
        i++;
    }
    const char *name = c->s + at + 1;
    size_t len = i - at - 1;
    if (!one_of(name, len, no_depth) && !one_of(name, len, raw_text)) {
        if (c->depth == HTML_MAX_DEPTH) {
            /* attributes and all: the text behind is kept */
            bool was = c->changed;
            struct buf nothing = {0}, *out = c->out;
            size_t copied = c->copied;
            c->out = &nothing;
            i = scan_attributes(c, i);
            buf_fini(&nothing);
            c->out = out;
            c->copied = copied;
            c->changed = was;
            i = i < c->n ? i + 1 : i;
            drop(c, at, i);
            c->over++;
            return i;
        }
        c->open[c->depth++] = hash_name(name, len);
    }
    i = scan_attributes(c, i);
    i = i < c->n ? i + 1 : i;
    return one_of(name, len, raw_text) ? raw_text_end(c, i, name, len) : i;
}

static size_t end_tag(struct scan *c, size_t at)
{
    size_t i = at + 2;
    while (i < c->n && is_name_char(c->s[i])) {
        i++;
    }
    const char *name = c->s + at + 2;
    size_t len = i - at - 2;
    const char *gt = memchr(c->s + i, '>', c->n - i);
    i = gt ? (size_t)(gt - c->s) + 1 : c->n;
    if (one_of(name, len, no_depth) || one_of(name, len, raw_text)) {
        return i;
    }
    if (c->over > 0) {
        c->over--;
        drop(c, at, i);
        return i;
    }
    uint32_t h = hash_name(name, len);
    for (size_t k = c->depth; k > 0; k--) {
        if (c->open[k - 1] == h) {
            c->depth = k - 1;
            break;
        }
    }
    return i;
}

bool html_tame(const char *s, size_t n, struct buf *out)
{
    struct scan c = {.s = s, .n = n, .out = out};
    size_t i = 0;
    while (i < n) {
        const char *lt = memchr(s + i, '<', n - i);
        if (!lt) {
            break;
        }
        i = (size_t)(lt - s);
        char next = i + 1 < n ? s[i + 1] : 0;
        if (n - i >= 4 && memcmp(s + i, "<!--", 4) == 0) {
            const char *end = memmem(s + i + 4, n - i - 4, "-->", 3);
            i = end ? (size_t)(end - s) + 3 : n;
        } else if (next == '!' || next == '?') {
            const char *end = memchr(s + i, '>', n - i);
            i = end ? (size_t)(end - s) + 1 : n;
        } else if (next == '/') {
            i = end_tag(&c, i);
        } else if ((next | 0x20) >= 'a' && (next | 0x20) <= 'z') {
            i = start_tag(&c, i);
        } else {
            i++;
        }
    }
    if (c.changed) {
        buf_put(out, s + c.copied, n - c.copied);
    }
    return c.changed;
}

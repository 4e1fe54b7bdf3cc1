/* The door of extraction: which kind a file is, reading it, and the document under construction
 * that the formats fill. */
#include "text/extract_internal.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

enum { DEFAULT_MAX_BYTES = 256 << 20 };

/* ---- kinds ---- */

static const struct {
    const char *suffix;
    enum file_kind kind;
} suffixes[] = {
    {".txt", FILE_TEXT},     {".text", FILE_TEXT},      {".log", FILE_TEXT},
    {".rst", FILE_TEXT},     {".adoc", FILE_TEXT},      {".asciidoc", FILE_TEXT},
    {".org", FILE_TEXT},     {".md", FILE_MARKDOWN},    {".markdown", FILE_MARKDOWN},
    {".mkd", FILE_MARKDOWN}, {".mdown", FILE_MARKDOWN}, {".html", FILE_HTML},
    {".htm", FILE_HTML},     {".xhtml", FILE_HTML},     {".pdf", FILE_PDF},
};

static bool starts_with(const uint8_t *head, size_t n, const char *prefix)
{
    size_t k = strlen(prefix);
    return n >= k && strncasecmp((const char *)head, prefix, k) == 0;
}

static bool looks_like_text(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (head[i] < 0x20 && !strchr("\t\n\r\f\x1b", head[i])) {
            return false;
        }
        if (head[i] == 0) {
            return false;
        }
    }
    return n > 0;
}

enum file_kind file_kind_of(const char *path, const uint8_t *head, size_t n)
{
    if (starts_with(head, n, "%PDF-")) {
        return FILE_PDF;
    }
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++) {
        if (strcasecmp(dot, suffixes[i].suffix) == 0) {
            return suffixes[i].kind;
        }
    }
    size_t skip = 0;
    while (skip < n && head[skip] && strchr(" \t\r\n\xEF\xBB\xBF", head[skip])) {
        skip++;
    }
    if (n && (starts_with(head + skip, n - skip, "<!doctype html") ||
              starts_with(head + skip, n - skip, "<html"))) {
        return FILE_HTML;
    }
    /* README, LICENSE: a name without a suffix tells nothing, its bytes do */
    return !dot && looks_like_text(head, n) ? FILE_TEXT : FILE_UNKNOWN;
}

const char *file_kind_name(enum file_kind k)
{
    static const char *const names[] = {
        [FILE_UNKNOWN] = "unknown", [FILE_TEXT] = "text", [FILE_MARKDOWN] = "markdown",
        [FILE_HTML] = "html",       [FILE_PDF] = "pdf",
    };
    return (size_t)k < sizeof names / sizeof *names ? names[k] : "unknown";
}

/* ---- cleaning ---- */

/* Can the text hold what NFC would change? Composition begins at U+0300. */
static bool may_need_nfc(int32_t p)
{
    return p >= 0x300 && !(p >= 0x2010 && p < 0x2100) && !(p >= 0x3400 && p < 0xA000) &&
           !(p >= 0x2190 && p < 0x2300) && p != 0xFFFD;
}

static void make_nfc(struct buf *out, size_t from)
{
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t k =
        utf8proc_map((const uint8_t *)out->data + from, (utf8proc_ssize_t)(out->len - from),
                     &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (k >= 0) {
        out->len = from;
        buf_put(out, composed, (size_t)k);
    }
    free(composed);
}

/* What a code point becomes: itself, ' ' or '\n', or -1 when it is dropped. */
static int32_t clean_point(int32_t p)
{
    if (p == '\t' || p == '\n') {
        return p;
    }
    if (p == '\f' || p == '\v' || p == 0x85 || p == 0x2028 || p == 0x2029) {
        return '\n';
    }
    if (p == 0xA0 || p == 0x1680 || (p >= 0x2000 && p <= 0x200A) || p == 0x202F || p == 0x205F ||
        p == 0x3000) {
        return ' ';
    }
    bool invisible = p == 0xAD || p == 0x200B || p == 0x2060 || p == 0xFEFF ||
                     (p >= 0x202A && p <= 0x202E) || (p >= 0x2066 && p <= 0x2069);
    bool control = p < 0x20 || (p >= 0x7F && p < 0xA0);
    bool nonchar = (p >= 0xFDD0 && p <= 0xFDEF) || (p & 0xFFFE) == 0xFFFE;
    return invisible || control || nonchar ? -1 : p;
}

/* A run of white space before the next visible character. */
static void put_spaces(struct buf *out, size_t from, int32_t *space, enum text_spaces how)
{
    if (*space && out->len > from) {
        buf_putc(out, *space == '\n' && how == SPACES_LINES ? '\n' : ' ');
    }
    *space = 0;
}

void text_clean(struct buf *out, const char *s, size_t n, enum text_spaces how)
{
    size_t from = out->len, i = 0;
    int32_t space = 0;
    bool compose = false;
    if (!buf_reserve(out, n)) {
        return;
    }
    while (i < n) {
        size_t k = i;
        while (k < n && s[k] > ' ' && s[k] < 0x7F) {
            k++;
        }
        if (k > i) {
            put_spaces(out, from, &space, how);
            buf_put(out, s + i, k - i);
            i = k;
            continue;
        }
        utf8proc_int32_t p = (uint8_t)s[i];
        utf8proc_ssize_t len = 1;
        if (p >= 0x80) {
            len = utf8proc_iterate((const uint8_t *)s + i,
                                   (utf8proc_ssize_t)(n - i < 4 ? n - i : 4), &p);
            if (len <= 0) {
                len = 1;
                p = 0xFFFD;
            }
        }
        i += (size_t)len;
        p = clean_point(p);
        if (how != SPACES_KEEP && (p == ' ' || p == '\t' || p == '\n')) {
            space = space == '\n' ? space : p;
            continue;
        }
        if (p >= 0) {
            uint8_t utf8[4];
            put_spaces(out, from, &space, how);
            buf_put(out, utf8, (size_t)utf8proc_encode_char(p, utf8));
            compose |= may_need_nfc(p);
        }
    }
    if (compose && !out->failed) {
        make_nfc(out, from);
    }
}

/* ---- the document ---- */

void doc_fini(struct doc *d)
{
    buf_fini(&d->text);
    buf_fini(&d->title);
    buf_fini(&d->author);
    buf_fini(&d->language);
    free(d->blocks);
    *d = (struct doc){0};
}

void doc_set(struct buf *field, const char *s, size_t n)
{
    if (field->len == 0) {
        text_clean(field, s, n, SPACES_ONE_LINE);
    }
}

static bool room_for_block(struct doc *d)
{
    if (d->n_blocks < d->cap_blocks) {
        return true;
    }
    size_t cap = d->cap_blocks ? d->cap_blocks * 2 : 64;
    struct text_block *grown = realloc(d->blocks, cap * sizeof *grown);
    if (!grown) {
        d->failed = true;
        return false;
    }
    d->blocks = grown;
    d->cap_blocks = cap;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

void doc_add(struct doc *d, const struct text_block *like, const char *s, size_t n)
{
    if (d->failed || !room_for_block(d)) {
        return;
    }
    size_t before = d->text.len;
    if (before) {
        buf_puts(&d->text, "\n\n");
    }
    size_t start = d->text.len;
    if (like->kind == BLOCK_CODE) {
        /* whole blank lines in front go; the first line keeps its indent */
        for (size_t i = 0; i < n && (is_blank(s[i]) || s[i] == '\r'); i++) {
            if (s[i] == '\n') {
                s += i + 1;
                n -= i + 1;
                i = (size_t)-1;
            }
        }
    }
    text_clean(&d->text, s, n, like->kind == BLOCK_CODE ? SPACES_KEEP : SPACES_LINES);
    while (d->text.len > start && is_blank(d->text.data[d->text.len - 1])) {
        d->text.len--;
    }
    if (d->text.failed || d->text.len > UINT32_MAX - 8) {
        d->failed = true;
        return;
    }
    if (d->text.len == start) {
        d->text.len = before;
        return;
    }
    struct text_block *b = &d->blocks[d->n_blocks++];
    *b = *like;
    b->start = (uint32_t)start;
    b->end = (uint32_t)d->text.len;
    b->page = d->page;
}

static const char *field_text(struct arena *a, const struct buf *b)
{
    return b->len ? arena_strndup(a, b->data, b->len) : "";
}

static enum status doc_finish(struct doc *d, enum file_kind kind, const char *name,
                              struct arena *arena, struct extracted *out, struct err *e)
{
    struct extracted x = {.kind = kind, .n = d->text.len, .n_blocks = d->n_blocks};
    bool memory = !d->failed && !d->title.failed && !d->author.failed && !d->language.failed;
    if (memory) {
        x.text = arena_strndup(arena, d->text.len ? d->text.data : "", d->text.len);
        x.blocks = arena_array(arena, d->n_blocks, sizeof *x.blocks);
        x.title = field_text(arena, &d->title);
        x.author = field_text(arena, &d->author);
        x.language = field_text(arena, &d->language);
        memory = x.text && x.blocks && x.title && x.author && x.language;
    }
    if (!memory) {
        return err_set(e, arena->limit_bytes ? ERR_LIMIT : ERR_MEMORY, name,
                       "not enough memory for the document's text");
    }
    if (d->n_blocks) {
        memcpy(x.blocks, d->blocks, d->n_blocks * sizeof *x.blocks);
    }
    x.n_pages = d->n_pages;
    x.n_pages_empty = d->n_pages_empty;
    *out = x;
    return OK;
}

enum status extract_memory(enum file_kind kind, const char *name, const uint8_t *data, size_t n,
                           struct arena *arena, struct extracted *out, struct err *e)
{
    struct doc d = {0};
    struct buf text = {0};
    char charset[64];
    enum status s;
    if (kind != FILE_TEXT && kind != FILE_MARKDOWN && kind != FILE_HTML) {
        return err_set(e, ERR_UNSUPPORTED, name, "%s cannot be extracted from memory",
                       file_kind_name(kind));
    }
    bool declared = kind == FILE_HTML && html_declared_charset(data, n, charset);
    s = text_decode(name, data, n, declared ? charset : NULL, &text, e);
    if (!s && text.len > 0) {
        s = kind == FILE_TEXT       ? extract_text(&d, text.data, text.len, e)
            : kind == FILE_MARKDOWN ? extract_markdown(&d, text.data, text.len, e)
                                    : extract_html(&d, name, text.data, text.len, e);
    }
    if (!s) {
        s = doc_finish(&d, kind, name, arena, out, e);
    }
    buf_fini(&text);
    doc_fini(&d);
    return s;
}

enum status extract_file(const char *path, size_t max_bytes, struct arena *arena,
                         struct extracted *out, struct err *e)
{
    size_t limit = max_bytes ? max_bytes : DEFAULT_MAX_BYTES;
    struct buf bytes = {0};
    enum file_kind kind = file_kind_of(path, NULL, 0);
    enum status s = OK;
    if (kind != FILE_PDF) {
        s = file_read(path, limit, &bytes, e);
        if (s) {
            goto out;
        }
        kind = file_kind_of(path, (const uint8_t *)bytes.data, bytes.len);
    }
    if (kind == FILE_UNKNOWN) {
        s = err_set(e, ERR_UNSUPPORTED, path, "not a text, Markdown, HTML or PDF file");
    } else if (kind == FILE_PDF) {
        struct doc d = {0};
        s = extract_pdf(&d, path, limit, e);
        if (!s) {
            s = doc_finish(&d, kind, path, arena, out, e);
        }
        doc_fini(&d);
    } else {
        s = extract_memory(kind, path, (const uint8_t *)bytes.data, bytes.len, arena, out, e);
    }
out:
    buf_fini(&bytes);
    return s;
}

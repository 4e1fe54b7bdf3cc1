/* Markdown: md4c (CommonMark and GitHub's tables) parses, its callbacks become blocks.
 *
 * Inline markup goes, the text of links, code and emphasis stays; raw HTML blocks are read by the
 * HTML extractor; front matter gives title, author and language; template calls of site generators,
 * {{< ... >}} and {% ... %}, are dropped but for the text they show. */
#include "text/extract_internal.h"

#include <md4c.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ENTITIES = 2000 }; /* rare named ones, each of which costs a call of the HTML parser */

struct md {
    struct doc *d;
    struct buf inline_text; /* of the block being read */
    struct buf row;         /* cells so far */
    struct err *e;
    enum status status;
    int list_depth, quote_depth, n_cells, n_entities;
    int heading; /* level, 0: none */
    int table;
    bool in_head, in_code, in_html, in_row;
};

/* ---- text of a block ---- */

/* {{< glossary_tooltip text="Pods" term_id="pod" >}} shows "Pods", most others nothing. */
static void put_shown(struct buf *out, const char *s, size_t n)
{
    static const char *const keys[] = {"text=\"", "heading=\"", "title=\""};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        size_t kn = strlen(keys[k]);
        const char *at = memmem(s, n, keys[k], kn);
        if (at) {
            const char *from = at + kn, *end = memchr(from, '"', n - (size_t)(from - s));
            if (end) {
                buf_put(out, from, (size_t)(end - from));
            }
            return;
        }
    }
}

/* Copies s[0..n) without template calls (those quoted in `code` stay). */
static void put_without_calls(struct buf *out, const char *s, size_t n)
{
    static const char *const marks[][2] = {{"{{<", ">}}"}, {"{{%", "%}}"}, {"{%", "%}"}};
    size_t i = 0;
    while (i < n) {
        const char *brace = memchr(s + i, '{', n - i);
        size_t to = brace ? (size_t)(brace - s) : n, end = 0;
        buf_put(out, s + i, to - i);
        i = to;
        for (size_t m = 0; i < n && !end && m < sizeof marks / sizeof *marks; m++) {
            size_t open = strlen(marks[m][0]), close = strlen(marks[m][1]);
            if (n - i < open + close || memcmp(s + i, marks[m][0], open) != 0) {
                continue;
            }
            /* a call is short; looking no further keeps hostile input linear */
            size_t look = n - i < 400 ? n - i : 400;
            const char *stop = memmem(s + i, look, marks[m][1], close);
            size_t behind = stop ? (size_t)(stop - s) + close : n;
            bool quoted = i > 0 && s[i - 1] == '`' && behind < n && s[behind] == '`';
            if (stop && !quoted) {
                end = behind;
                put_shown(out, s + i, end - i);
            }
        }
        if (end) {
            i = end;
        } else if (i < n) {
            buf_putc(out, s[i++]);
        }
    }
}

/* The same for a whole document, but for its fenced code. */
static void strip_calls(struct buf *out, const char *s, size_t n)
{
    size_t from = 0;
    bool in_code = false;
    for (size_t i = 0; i < n;) {
        const char *nl = memchr(s + i, '\n', n - i);
        size_t end = nl ? (size_t)(nl - s) + 1 : n, k = i;
        while (k < end && s[k] == ' ') {
            k++;
        }
        if (end - k >= 3 && (memcmp(s + k, "```", 3) == 0 || memcmp(s + k, "~~~", 3) == 0)) {
            if (in_code) {
                buf_put(out, s + from, i - from);
            } else {
                put_without_calls(out, s + from, i - from);
            }
            in_code = !in_code;
            from = i;
        }
        i = end;
    }
    if (in_code) {
        buf_put(out, s + from, n - from);
    } else {
        put_without_calls(out, s + from, n - from);
    }
}

static void emit(struct md *m, const struct text_block *like)
{
    doc_add(m->d, like, m->inline_text.data, m->inline_text.len);
    m->d->failed |= m->inline_text.failed;
    buf_reset(&m->inline_text);
}

/* What was gathered outside of any special block: a paragraph, list item or quote. */
static void flush(struct md *m)
{
    struct text_block like = {.kind = BLOCK_PARAGRAPH};
    if (m->list_depth > 0) {
        like = (struct text_block){.kind = BLOCK_LIST_ITEM, .level = m->list_depth};
    } else if (m->quote_depth > 0) {
        like.kind = BLOCK_QUOTE;
    }
    emit(m, &like);
}

/* ---- tables ---- */

static void end_cell(struct md *m)
{
    if (m->n_cells++ > 0) {
        buf_puts(&m->row, " | ");
    }
    text_clean(&m->row, m->inline_text.data, m->inline_text.len, SPACES_ONE_LINE);
    buf_reset(&m->inline_text);
}

static void end_row(struct md *m)
{
    struct text_block like = {
        .kind = BLOCK_TABLE_ROW, .table = m->table, .table_header = m->in_head};
    m->in_row = false;
    bool empty = true;
    for (size_t i = 0; i < m->row.len; i++) {
        empty &= m->row.data[i] == ' ' || m->row.data[i] == '|';
    }
    buf_reset(&m->inline_text);
    if (!empty) {
        buf_put(&m->inline_text, m->row.data, m->row.len);
        emit(m, &like);
    }
    m->d->failed |= m->row.failed;
    buf_reset(&m->row);
}

/* ---- callbacks ---- */

static int enter_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    struct md *m = ctx;
    switch (type) {
    case MD_BLOCK_QUOTE:
        flush(m);
        m->quote_depth++;
        break;
    case MD_BLOCK_UL:
    case MD_BLOCK_OL:
        flush(m);
        m->list_depth++;
        break;
    case MD_BLOCK_H:
        flush(m);
        m->heading = (int)((MD_BLOCK_H_DETAIL *)detail)->level;
        break;
    case MD_BLOCK_CODE:
        flush(m);
        m->in_code = true;
        break;
    case MD_BLOCK_HTML:
        flush(m);
        m->in_html = true;
        break;
    case MD_BLOCK_TABLE:
        flush(m);
        m->table = ++m->d->n_tables;
        break;
    case MD_BLOCK_THEAD:
        m->in_head = true;
        break;
    case MD_BLOCK_TR:
        m->in_row = true;
        m->n_cells = 0;
        break;
    case MD_BLOCK_P:
    case MD_BLOCK_LI:
        flush(m);
        break;
    default:
        break;
    }
    return m->d->failed;
}

static int leave_html(struct md *m)
{
    m->in_html = false;
    struct buf html = m->inline_text;
    m->inline_text = (struct buf){0};
    m->status = html.len ? extract_html_fragment(m->d, html.data, html.len, m->e) : OK;
    buf_fini(&html);
    return m->status != OK;
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    (void)detail;
    struct md *m = ctx;
    switch (type) {
    case MD_BLOCK_QUOTE:
        flush(m);
        m->quote_depth--;
        break;
    case MD_BLOCK_UL:
    case MD_BLOCK_OL:
        flush(m);
        m->list_depth--;
        break;
    case MD_BLOCK_H:
        emit(m, &(struct text_block){.kind = BLOCK_HEADING, .level = m->heading});
        m->heading = 0;
        break;
    case MD_BLOCK_CODE:
        emit(m, &(struct text_block){.kind = BLOCK_CODE});
        m->in_code = false;
        break;
    case MD_BLOCK_HTML:
        return leave_html(m);
    case MD_BLOCK_THEAD:
        m->in_head = false;
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD:
        end_cell(m);
        break;
    case MD_BLOCK_TR:
        end_row(m);
        break;
    case MD_BLOCK_P:
    case MD_BLOCK_LI:
        flush(m);
        break;
    default:
        break;
    }
    return m->d->failed;
}

static int enter_span(MD_SPANTYPE type, void *detail, void *ctx)
{
    (void)type;
    (void)detail;
    (void)ctx;
    return 0;
}

/* The entities that occur; others go through the HTML parser. */
static int put_entity(struct md *m, const char *s, size_t n)
{
    static const char *const known[][2] = {
        {"&amp;", "&"},
        {"&lt;", "<"},
        {"&gt;", ">"},
        {"&quot;", "\""},
        {"&apos;", "'"},
        {"&#39;", "'"},
        {"&nbsp;", " "},
        {"&mdash;", "\xE2\x80\x94"},
        {"&ndash;", "\xE2\x80\x93"},
        {"&hellip;", "\xE2\x80\xA6"},
        {"&rarr;", "\xE2\x86\x92"},
        {"&copy;", "\xC2\xA9"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i][0]) == n && memcmp(known[i][0], s, n) == 0) {
            buf_puts(&m->inline_text, known[i][1]);
            return 0;
        }
    }
    struct doc one = {0};
    if (m->n_entities++ < MAX_ENTITIES) {
        m->status = extract_html_fragment(&one, s, n, m->e);
    }
    if (one.text.len) {
        buf_put(&m->inline_text, one.text.data, one.text.len);
    } else {
        buf_put(&m->inline_text, s, n);
    }
    doc_fini(&one);
    return m->status != OK;
}

static int on_text(MD_TEXTTYPE type, const MD_CHAR *s, MD_SIZE n, void *ctx)
{
    struct md *m = ctx;
    struct buf *t = &m->inline_text;
    switch (type) {
    case MD_TEXT_BR:
        buf_putc(t, '\n');
        break;
    case MD_TEXT_SOFTBR:
        buf_putc(t, ' ');
        break;
    case MD_TEXT_ENTITY:
        return m->in_html ? (buf_put(t, s, n), 0) : put_entity(m, s, n);
    case MD_TEXT_HTML:
        if (m->in_html) {
            buf_put(t, s, n);
        } else if (n >= 3 && strncasecmp(s, "<br", 3) == 0) {
            buf_putc(t, '\n');
        }
        break;
    case MD_TEXT_NULLCHAR:
        break;
    default:
        buf_put(t, s, n);
    }
    return t->failed;
}

/* ---- front matter ---- */

/* key: "value" or key = "value" of one line, into *field. */
static void take_field(struct buf *field, const char *key, const char *s, size_t n)
{
    size_t k = strlen(key);
    if (n <= k || strncasecmp(s, key, k) != 0) {
        return;
    }
    while (k < n && s[k] == ' ') {
        k++;
    }
    if (k >= n || (s[k] != ':' && s[k] != '=')) {
        return;
    }
    k++;
    while (k < n && strchr(" \t", s[k])) {
        k++;
    }
    while (n > k && strchr(" \t", s[n - 1])) {
        n--;
    }
    if (n - k >= 2 && strchr("\"'", s[k]) && s[n - 1] == s[k]) {
        k++;
        n--;
    }
    doc_set(field, s + k, n - k);
}

/* Bytes of the front matter (YAML between ---, TOML between +++) at the start; 0: none. */
static size_t read_front_matter(struct doc *d, const char *s, size_t n)
{
    if (n < 8 || (memcmp(s, "---\n", 4) != 0 && memcmp(s, "+++\n", 4) != 0)) {
        return 0;
    }
    size_t i = 4;
    struct buf title = {0}, author = {0}, language = {0};
    bool closed = false;
    while (i < n && !closed) {
        const char *nl = memchr(s + i, '\n', n - i);
        size_t end = nl ? (size_t)(nl - s) : n;
        closed = end - i >= 3 && (memcmp(s + i, s, 3) == 0) && end - i < 6;
        take_field(&title, "title", s + i, end - i);
        take_field(&author, "author", s + i, end - i);
        take_field(&language, "lang", s + i, end - i);
        take_field(&language, "language", s + i, end - i);
        i = nl ? end + 1 : n;
    }
    if (closed) {
        doc_set(&d->title, title.data, title.len);
        doc_set(&d->author, author.data, author.len);
        doc_set(&d->language, language.data, language.len);
    }
    buf_fini(&title);
    buf_fini(&author);
    buf_fini(&language);
    return closed ? i : 0;
}

enum status extract_markdown(struct doc *d, const char *s, size_t n, struct err *e)
{
    struct md m = {.d = d, .e = e};
    MD_PARSER parser = {
        .flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS,
        .enter_block = enter_block,
        .leave_block = leave_block,
        .enter_span = enter_span,
        .leave_span = enter_span,
        .text = on_text,
    };
    size_t front = read_front_matter(d, s, n);
    struct buf plain = {0};
    s += front;
    n -= front;
    if (memmem(s, n, "{{", 2) || memmem(s, n, "{%", 2)) {
        strip_calls(&plain, s, n);
        s = plain.data ? plain.data : "";
        n = plain.len;
    }
    if (n > UINT32_MAX || plain.failed) {
        buf_fini(&plain);
        return err_set(e, ERR_LIMIT, NULL, "too much Markdown: %zu bytes", n);
    }
    int r = md_parse(s, (MD_SIZE)n, &parser, &m);
    buf_fini(&plain);
    flush(&m);
    buf_fini(&m.inline_text);
    buf_fini(&m.row);
    if (r == -1 && !m.status && !d->failed) {
        return err_set(e, ERR_MEMORY, NULL, "not enough memory to parse Markdown");
    }
    for (size_t i = 0; !m.status && i < d->n_blocks && d->title.len == 0; i++) {
        if (d->blocks[i].kind == BLOCK_HEADING) {
            doc_set(&d->title, d->text.data + d->blocks[i].start,
                    d->blocks[i].end - d->blocks[i].start);
        }
    }
    return m.status;
}

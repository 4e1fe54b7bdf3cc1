/* HTML: gumbo parses as browsers do, one walk over the tree writes the blocks.
 *
 * What is not content goes: scripts, forms, navigation, page headers and footers, by element, ARIA
 * role and the class names that documentation generators share. <main>, or the only <article>, is
 * preferred to the whole body. A page that would lose everything that way is read again without
 * these rules. Rejected: scoring blocks by link density (Readability), which on manuals drops
 * reference lists and keeps menus.
 *
 * The walk is a loop over parent links, and html_tame bounds the tree's depth. The parser's memory
 * comes from a pool with a limit, which leaves the parser by longjmp when it is reached (the parser
 * does not check its allocator) and is dropped whole, so that no destructor recurses either. */
#include "text/extract_internal.h"

#include "base/sys.h"
#include "text/html_tame.h"

#include <gumbo.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the parser's memory ---- */

enum {
    POOL_BLOCK = 256 << 10,
    POOL_BASE = 64 << 20,   /* limit: this and ... */
    POOL_PER_BYTE = 64,     /* ... this for each byte of the page */
    PARSE_LIMIT_MS = 20000, /* the last resort against a page that we did not think of */
};

struct pool_block {
    struct pool_block *next;
    size_t used, size;
};
struct pool {
    struct pool_block *head;
    size_t total_bytes, limit_bytes, n_calls;
    void *last;
    double deadline_ms;
    enum status status;
    jmp_buf *escape;
};

static _Noreturn void pool_give_up(struct pool *p, enum status why)
{
    p->status = why;
    longjmp(*p->escape, 1);
}

static void *pool_alloc(void *ctx, size_t bytes)
{
    struct pool *p = ctx;
    if (bytes > p->limit_bytes) {
        pool_give_up(p, ERR_LIMIT);
    }
    bytes = (bytes + 15) & ~(size_t)15;
    if (++p->n_calls % 4096 == 0 && clock_ms() > p->deadline_ms) {
        pool_give_up(p, ERR_LIMIT);
    }
    struct pool_block *b = p->head;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > POOL_BLOCK ? bytes : POOL_BLOCK;
        if (p->total_bytes + size > p->limit_bytes) {
            pool_give_up(p, ERR_LIMIT);
        }
        b = malloc(((sizeof *b + 15) & ~(size_t)15) + size);
        if (!b) {
            pool_give_up(p, ERR_MEMORY);
        }
        *b = (struct pool_block){p->head, 0, size};
        p->head = b;
        p->total_bytes += size;
    }
    p->last = (char *)b + ((sizeof *b + 15) & ~(size_t)15) + b->used;
    b->used += bytes;
    return p->last;
}

/* Gives back only what came last: enough for the parser's growing buffers. */
static void pool_free(void *ctx, void *ptr)
{
    struct pool *p = ctx;
    if (ptr && ptr == p->last) {
        p->head->used =
            (size_t)((char *)ptr - (char *)p->head) - ((sizeof *p->head + 15) & ~(size_t)15);
        p->last = NULL;
    }
}

static void pool_fini(struct pool *p)
{
    while (p->head) {
        struct pool_block *next = p->head->next;
        free(p->head);
        p->head = next;
    }
}

/* NULL when the pool gave up. */
static GumboOutput *parse(struct pool *p, const char *s, size_t n)
{
    jmp_buf escape;
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = pool_alloc;
    options.deallocator = pool_free;
    options.userdata = p;
    options.max_errors = 0;
    p->escape = &escape;
    p->limit_bytes = POOL_BASE + n * POOL_PER_BYTE;
    p->deadline_ms = clock_ms() + PARSE_LIMIT_MS;
    return setjmp(escape) ? NULL : gumbo_parse_with_options(&options, s, n);
}

/* ---- what elements mean ---- */

enum role {
    ROLE_INLINE, /* the default: no effect of its own */
    ROLE_BLOCK,
    ROLE_HEADING,
    ROLE_LIST,
    ROLE_TERM,
    ROLE_DEFINITION,
    ROLE_DEFINITIONS,
    ROLE_PRE,
    ROLE_QUOTE,
    ROLE_TABLE,
    ROLE_HEAD_ROWS,
    ROLE_ROW,
    ROLE_CELL,
    ROLE_BREAK,
    ROLE_SKIP,
    ROLE_PAGE_PART, /* header: skipped outside of articles */
    ROLE_ASIDE
};

static const uint8_t roles[GUMBO_TAG_LAST + 1] = {
    [GUMBO_TAG_HTML] = ROLE_BLOCK,       [GUMBO_TAG_BODY] = ROLE_BLOCK,
    [GUMBO_TAG_MAIN] = ROLE_BLOCK,       [GUMBO_TAG_ARTICLE] = ROLE_BLOCK,
    [GUMBO_TAG_SECTION] = ROLE_BLOCK,    [GUMBO_TAG_DIV] = ROLE_BLOCK,
    [GUMBO_TAG_P] = ROLE_BLOCK,          [GUMBO_TAG_ADDRESS] = ROLE_BLOCK,
    [GUMBO_TAG_CENTER] = ROLE_BLOCK,     [GUMBO_TAG_DETAILS] = ROLE_BLOCK,
    [GUMBO_TAG_SUMMARY] = ROLE_BLOCK,    [GUMBO_TAG_FIGURE] = ROLE_BLOCK,
    [GUMBO_TAG_FIGCAPTION] = ROLE_BLOCK, [GUMBO_TAG_HGROUP] = ROLE_BLOCK,
    [GUMBO_TAG_FIELDSET] = ROLE_BLOCK,   [GUMBO_TAG_LEGEND] = ROLE_BLOCK,
    [GUMBO_TAG_FORM] = ROLE_BLOCK,       [GUMBO_TAG_LI] = ROLE_BLOCK,
    [GUMBO_TAG_HR] = ROLE_BLOCK,         [GUMBO_TAG_CAPTION] = ROLE_BLOCK,
    [GUMBO_TAG_H1] = ROLE_HEADING,       [GUMBO_TAG_H2] = ROLE_HEADING,
    [GUMBO_TAG_H3] = ROLE_HEADING,       [GUMBO_TAG_H4] = ROLE_HEADING,
    [GUMBO_TAG_H5] = ROLE_HEADING,       [GUMBO_TAG_H6] = ROLE_HEADING,
    [GUMBO_TAG_UL] = ROLE_LIST,          [GUMBO_TAG_OL] = ROLE_LIST,
    [GUMBO_TAG_MENU] = ROLE_LIST,        [GUMBO_TAG_DIR] = ROLE_LIST,
    [GUMBO_TAG_DL] = ROLE_DEFINITIONS,   [GUMBO_TAG_DT] = ROLE_TERM,
    [GUMBO_TAG_DD] = ROLE_DEFINITION,    [GUMBO_TAG_PRE] = ROLE_PRE,
    [GUMBO_TAG_LISTING] = ROLE_PRE,      [GUMBO_TAG_XMP] = ROLE_PRE,
    [GUMBO_TAG_PLAINTEXT] = ROLE_PRE,    [GUMBO_TAG_BLOCKQUOTE] = ROLE_QUOTE,
    [GUMBO_TAG_TABLE] = ROLE_TABLE,      [GUMBO_TAG_THEAD] = ROLE_HEAD_ROWS,
    [GUMBO_TAG_TR] = ROLE_ROW,           [GUMBO_TAG_TD] = ROLE_CELL,
    [GUMBO_TAG_TH] = ROLE_CELL,          [GUMBO_TAG_BR] = ROLE_BREAK,
    [GUMBO_TAG_HEAD] = ROLE_SKIP,        [GUMBO_TAG_SCRIPT] = ROLE_SKIP,
    [GUMBO_TAG_STYLE] = ROLE_SKIP,       [GUMBO_TAG_NOSCRIPT] = ROLE_SKIP,
    [GUMBO_TAG_TEMPLATE] = ROLE_SKIP,    [GUMBO_TAG_NAV] = ROLE_SKIP,
    [GUMBO_TAG_FOOTER] = ROLE_SKIP,      [GUMBO_TAG_IFRAME] = ROLE_SKIP,
    [GUMBO_TAG_SVG] = ROLE_SKIP,         [GUMBO_TAG_CANVAS] = ROLE_SKIP,
    [GUMBO_TAG_OBJECT] = ROLE_SKIP,      [GUMBO_TAG_AUDIO] = ROLE_SKIP,
    [GUMBO_TAG_VIDEO] = ROLE_SKIP,       [GUMBO_TAG_BUTTON] = ROLE_SKIP,
    [GUMBO_TAG_SELECT] = ROLE_SKIP,      [GUMBO_TAG_TEXTAREA] = ROLE_SKIP,
    [GUMBO_TAG_INPUT] = ROLE_SKIP,       [GUMBO_TAG_NOFRAMES] = ROLE_SKIP,
    [GUMBO_TAG_HEADER] = ROLE_PAGE_PART, [GUMBO_TAG_ASIDE] = ROLE_ASIDE,
};

/* Classes and ids of what surrounds the content: DocBook, Sphinx, Doxygen, MkDocs, Docusaurus,
 * MediaWiki, Bootstrap. Sorted. */
static const char *const boilerplate[] = {
    "breadcrumb",
    "breadcrumbs",
    "catlinks",
    "cookie-banner",
    "cookie-consent",
    "edit-page-link",
    "editsection",
    "footer",
    "headerlink",
    "md-footer",
    "md-header",
    "md-sidebar",
    "mw-editsection",
    "mw-jump-link",
    "mw-navigation",
    "nav",
    "navbar",
    "navbox",
    "navfooter",
    "navheader",
    "navigation",
    "page-footer",
    "page-header",
    "pagination",
    "prev-next",
    "printfooter",
    "related",
    "share-buttons",
    "sidebar",
    "site-footer",
    "site-header",
    "skip-link",
    "skip-to-content",
    "sphinxsidebar",
    "table-of-contents",
    "theme-doc-toc",
    "toc",
    "tocwrapper",
};

static bool in_list(const char *const *list, size_t count, const char *s, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(list[i]) == n && strncasecmp(list[i], s, n) == 0) {
            return true;
        }
    }
    return false;
}
#define IN_LIST(list, s, n) in_list(list, sizeof(list) / sizeof *(list), s, n)

static const char *attribute(const GumboNode *node, const char *name)
{
    const GumboAttribute *a = gumbo_get_attribute(&node->v.element.attributes, name);
    return a ? a->value : NULL;
}

/* Does any word of the attribute's value stand in the list? */
static bool attribute_in(const GumboNode *node, const char *name, const char *const *list,
                         size_t count)
{
    const char *s = attribute(node, name);
    while (s && *s) {
        size_t n = strcspn(s, " \t\n");
        if (n && in_list(list, count, s, n)) {
            return true;
        }
        s += n + (s[n] != 0);
    }
    return false;
}

static bool is_hidden(const GumboNode *node)
{
    const char *style = attribute(node, "style"), *aria = attribute(node, "aria-hidden");
    if (attribute(node, "hidden") || (aria && strcasecmp(aria, "true") == 0)) {
        return true;
    }
    const char *display = style ? strcasestr(style, "display:") : NULL;
    return display && strncasecmp(display + 8 + strspn(display + 8, " "), "none", 4) == 0;
}

static bool is_element(const GumboNode *node, GumboTag tag)
{
    return node && node->type == GUMBO_NODE_ELEMENT && node->v.element.tag == tag;
}

/* "Note", "Warning": the head of a box in the text, which opens no section. */
static bool is_box_title(const GumboNode *heading)
{
    static const char *const boxes[] = {"note",      "tip",        "warning", "caution",
                                        "important", "admonition", "alert",   "callout"};
    const GumboNode *box = heading->parent;
    return box && box->type == GUMBO_NODE_ELEMENT &&
           attribute_in(box, "class", boxes, sizeof boxes / sizeof *boxes);
}

static bool inside_article(const GumboNode *node)
{
    for (node = node->parent; node; node = node->parent) {
        if (is_element(node, GUMBO_TAG_ARTICLE) || is_element(node, GUMBO_TAG_MAIN) ||
            is_element(node, GUMBO_TAG_SECTION)) {
            return true;
        }
    }
    return false;
}

/* Is this part of what surrounds the content? */
static bool is_boilerplate(const GumboNode *node, enum role role)
{
    static const char *const aria[] = {"navigation", "banner", "contentinfo", "complementary",
                                       "search",     "menu",   "menubar"};
    static const char *const notes[] = {"footnote", "footnote-list", "topic", "admonition", "note"};
    GumboTag tag = node->v.element.tag;
    if (tag == GUMBO_TAG_BODY || tag == GUMBO_TAG_MAIN || tag == GUMBO_TAG_ARTICLE ||
        tag == GUMBO_TAG_HTML || node->v.element.attributes.length == 0) {
        return (role == ROLE_PAGE_PART && !inside_article(node)) || role == ROLE_ASIDE;
    }
    if (role == ROLE_PAGE_PART && !inside_article(node)) {
        return true;
    }
    if (role == ROLE_ASIDE && !attribute_in(node, "class", notes, sizeof notes / sizeof *notes)) {
        return true;
    }
    return attribute_in(node, "class", boilerplate, sizeof boilerplate / sizeof *boilerplate) ||
           attribute_in(node, "id", boilerplate, sizeof boilerplate / sizeof *boilerplate) ||
           attribute_in(node, "role", aria, sizeof aria / sizeof *aria);
}

/* ---- the walk ---- */

struct walk {
    struct doc *d;
    struct buf text; /* of the block being read */
    struct buf row, term;
    int list_depth, definition_depth, quote_depth, pre_depth, n_cells;
    int heading; /* level inside h1..h6 */
    int table;   /* number inside a data table, else 0 */
    bool in_cell, in_term, in_head_rows, row_has_data, table_has_data;
    bool keep_all; /* second try: nothing is boilerplate */
};

static const GumboVector *children(const GumboNode *node)
{
    static const GumboVector none;
    switch (node->type) {
    case GUMBO_NODE_DOCUMENT:
        return &node->v.document.children;
    case GUMBO_NODE_ELEMENT:
    case GUMBO_NODE_TEMPLATE:
        return &node->v.element.children;
    default:
        return &none;
    }
}

/* The next node in document order inside `root`, not below `node` when `skip`; NULL at the end. */
static const GumboNode *next_node(const GumboNode *node, const GumboNode *root, bool skip)
{
    const GumboVector *c = children(node);
    if (!skip && c->length > 0) {
        return c->data[0];
    }
    while (node != root) {
        c = children(node->parent);
        if (node->index_within_parent + 1 < c->length) {
            return c->data[node->index_within_parent + 1];
        }
        node = node->parent;
    }
    return NULL;
}

static void emit(struct walk *w, const struct text_block *like)
{
    doc_add(w->d, like, w->text.data, w->text.len);
    w->d->failed |= w->text.failed;
    buf_reset(&w->text);
}

static bool only_spaces(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++) {
        if (!strchr(" \n\t\r\f", b->data[i])) {
            return false;
        }
    }
    return true;
}

/* The block ends here; inside cells, terms and headings it is only a space. */
static void flush(struct walk *w)
{
    if (w->in_cell || w->in_term || w->heading) {
        buf_putc(&w->text, ' ');
        return;
    }
    if (w->pre_depth) {
        if (w->text.len && w->text.data[w->text.len - 1] != '\n') {
            buf_putc(&w->text, '\n');
        }
        return;
    }
    if (only_spaces(&w->text)) {
        buf_reset(&w->text);
        return;
    }
    int depth = w->list_depth + w->definition_depth;
    struct text_block like = {.kind = BLOCK_PARAGRAPH};
    if (depth) {
        like = (struct text_block){.kind = BLOCK_LIST_ITEM, .level = depth};
    } else if (w->quote_depth) {
        like.kind = BLOCK_QUOTE;
    }
    emit(w, &like);
}

/* Terms gathered so far: a heading over their definition, or an item when none follows. */
static void emit_term(struct walk *w, bool defined)
{
    struct text_block like = {.kind = BLOCK_LIST_ITEM, .level = w->definition_depth};
    if (defined && w->term.len <= 160) {
        like = (struct text_block){.kind = BLOCK_HEADING, .level = TERM_LEVEL};
    }
    if (w->term.len) {
        doc_add(w->d, &like, w->term.data, w->term.len);
    }
    w->d->failed |= w->term.failed;
    buf_reset(&w->term);
}

/* A table whose cells hold tables or headings arranges the page and is no table. */
static bool is_layout_table(const GumboNode *table)
{
    const char *role = attribute(table, "role");
    if (role && (strcasecmp(role, "presentation") == 0 || strcasecmp(role, "none") == 0)) {
        return true;
    }
    for (const GumboNode *n = next_node(table, table, false); n; n = next_node(n, table, false)) {
        if (n->type == GUMBO_NODE_ELEMENT) {
            enum role r = roles[n->v.element.tag];
            if (r == ROLE_TABLE || r == ROLE_HEADING) {
                return true;
            }
        }
    }
    return false;
}

static void end_cell(struct walk *w)
{
    w->in_cell = false;
    if (w->n_cells++ > 0) {
        buf_puts(&w->row, " | ");
    }
    if (w->text.len) {
        text_clean(&w->row, w->text.data, w->text.len, SPACES_ONE_LINE);
    }
    while (w->row.len && w->row.data[w->row.len - 1] == ' ' && w->n_cells == 1) {
        w->row.len--;
    }
    buf_reset(&w->text);
}

static void end_row(struct walk *w)
{
    bool empty = true;
    for (size_t i = 0; i < w->row.len; i++) {
        empty &= w->row.data[i] == ' ' || w->row.data[i] == '|';
    }
    if (!empty) {
        bool header = w->in_head_rows || (!w->row_has_data && !w->table_has_data && w->n_cells > 1);
        struct text_block like = {
            .kind = BLOCK_TABLE_ROW, .table = w->table, .table_header = header};
        w->table_has_data |= !header;
        doc_add(w->d, &like, w->row.data, w->row.len);
    }
    w->d->failed |= w->row.failed;
    buf_reset(&w->row);
    buf_reset(&w->text);
    w->n_cells = 0;
    w->row_has_data = false;
}

static void put_text(struct walk *w, const char *s)
{
    if (w->pre_depth) {
        buf_puts(&w->text, s);
        return;
    }
    for (;;) { /* line ends of the source are spaces, those of <br> are not */
        size_t n = strcspn(s, "\n\r");
        buf_put(&w->text, s, n);
        if (!s[n]) {
            return;
        }
        buf_putc(&w->text, ' ');
        s += n + 1;
    }
}

static void enter_table(struct walk *w, const GumboNode *node)
{
    flush(w);
    if (!w->table && !w->in_term && !w->heading && !w->pre_depth && !is_layout_table(node)) {
        w->table = ++w->d->n_tables;
        w->table_has_data = w->in_head_rows = w->row_has_data = false;
        w->n_cells = 0;
    }
}

/* False: what is below is not read, and leave() is not called. */
static bool enter(struct walk *w, const GumboNode *node)
{
    if (node->type == GUMBO_NODE_TEXT || node->type == GUMBO_NODE_WHITESPACE ||
        node->type == GUMBO_NODE_CDATA) {
        put_text(w, node->v.text.text);
        return false;
    }
    if (node->type == GUMBO_NODE_DOCUMENT) {
        return true;
    }
    if (node->type != GUMBO_NODE_ELEMENT) {
        return false;
    }
    enum role role = roles[node->v.element.tag];
    if (role == ROLE_SKIP && !(w->keep_all && (node->v.element.tag == GUMBO_TAG_NAV ||
                                               node->v.element.tag == GUMBO_TAG_FOOTER))) {
        return false;
    }
    if (node->v.element.attributes.length && is_hidden(node)) {
        return false;
    }
    if (!w->keep_all && is_boilerplate(node, role)) {
        return false;
    }
    switch (role) {
    case ROLE_INLINE:
        break;
    case ROLE_BREAK:
        buf_putc(&w->text, w->heading || w->in_term ? ' ' : '\n');
        break;
    case ROLE_HEADING:
        flush(w);
        if (!w->in_cell && !w->in_term && !w->pre_depth && !w->heading && !is_box_title(node)) {
            w->heading = (int)(node->v.element.tag - GUMBO_TAG_H1) + 1;
        }
        break;
    case ROLE_LIST:
        flush(w);
        w->list_depth++;
        break;
    case ROLE_DEFINITIONS:
        flush(w);
        w->definition_depth++;
        break;
    case ROLE_TERM:
        flush(w);
        w->in_term = !w->in_cell && !w->heading && !w->pre_depth;
        break;
    case ROLE_DEFINITION:
        flush(w);
        emit_term(w, true);
        break;
    case ROLE_PRE:
        flush(w);
        w->pre_depth += !w->in_cell && !w->in_term && !w->heading;
        break;
    case ROLE_QUOTE:
        flush(w);
        w->quote_depth++;
        break;
    case ROLE_TABLE:
        enter_table(w, node);
        break;
    case ROLE_HEAD_ROWS:
        w->in_head_rows = w->table > 0;
        break;
    case ROLE_CELL:
        if (!w->table) {
            flush(w);
        } else {
            buf_reset(&w->text);
            w->in_cell = true;
            w->row_has_data |= node->v.element.tag == GUMBO_TAG_TD;
        }
        break;
    default:
        flush(w);
    }
    return true;
}

static void leave_table(struct walk *w)
{
    if (w->table && w->n_cells) {
        end_row(w);
    }
    w->table = 0;
    w->in_head_rows = false;
}

static void leave_pre(struct walk *w)
{
    if (w->pre_depth && --w->pre_depth == 0) {
        emit(w, &(struct text_block){.kind = BLOCK_CODE});
    } else {
        flush(w);
    }
}

static void leave(struct walk *w, const GumboNode *node)
{
    enum role role = node->type == GUMBO_NODE_ELEMENT ? roles[node->v.element.tag] : ROLE_BLOCK;
    switch (role) {
    case ROLE_INLINE:
    case ROLE_BREAK:
        break;
    case ROLE_HEADING:
        if (w->heading == (int)(node->v.element.tag - GUMBO_TAG_H1) + 1) {
            int level = w->heading;
            w->heading = 0;
            emit(w, &(struct text_block){.kind = BLOCK_HEADING, .level = level});
        } else {
            flush(w);
        }
        break;
    case ROLE_LIST:
        flush(w);
        w->list_depth--;
        break;
    case ROLE_DEFINITIONS:
        flush(w);
        emit_term(w, false);
        w->definition_depth--;
        break;
    case ROLE_TERM:
        if (w->in_term) {
            w->in_term = false;
            if (!only_spaces(&w->text)) {
                buf_puts(&w->term, w->term.len ? ", " : "");
                text_clean(&w->term, w->text.data, w->text.len, SPACES_ONE_LINE);
            }
            buf_reset(&w->text);
        }
        break;
    case ROLE_PRE:
        leave_pre(w);
        break;
    case ROLE_QUOTE:
        flush(w);
        w->quote_depth--;
        break;
    case ROLE_TABLE:
        flush(w);
        leave_table(w);
        break;
    case ROLE_HEAD_ROWS:
        w->in_head_rows = false;
        break;
    case ROLE_CELL:
        if (w->table && w->in_cell) {
            end_cell(w);
        } else {
            flush(w);
        }
        break;
    case ROLE_ROW:
        if (w->table && !w->in_cell) {
            end_row(w);
        } else {
            flush(w);
        }
        break;
    default:
        flush(w);
    }
}

static void walk_tree(struct walk *w, const GumboNode *root)
{
    const GumboNode *node = root;
    for (;;) {
        if (enter(w, node)) {
            if (children(node)->length > 0) {
                node = children(node)->data[0];
                continue;
            }
            leave(w, node);
        }
        while (node != root) {
            const GumboVector *c = children(node->parent);
            if (node->index_within_parent + 1 < c->length) {
                node = c->data[node->index_within_parent + 1];
                break;
            }
            node = node->parent;
            leave(w, node);
        }
        if (node == root) {
            break;
        }
    }
    flush(w);
}

static void read_blocks(struct doc *d, const GumboNode *root, bool keep_all)
{
    struct walk w = {.d = d, .keep_all = keep_all};
    walk_tree(&w, root);
    buf_fini(&w.text);
    buf_fini(&w.row);
    buf_fini(&w.term);
}

/* ---- title, author, language, the main part ---- */

static void read_meta(struct doc *d, const GumboNode *node)
{
    static const char *const authors[] = {"author", "dc.creator", "dcterms.creator",
                                          "citation_author", "article:author"};
    const char *name = attribute(node, "name"), *content = attribute(node, "content");
    name = name ? name : attribute(node, "property");
    if (name && content && IN_LIST(authors, name, strlen(name))) {
        doc_set(&d->author, content, strlen(content));
    }
}

/* The element that holds the content; also fills in title, author and language. */
static const GumboNode *survey(struct doc *d, const GumboNode *root)
{
    const GumboNode *main_part = NULL, *article = NULL;
    size_t n_main = 0, n_articles = 0;
    for (const GumboNode *n = root; n; n = next_node(n, root, false)) {
        if (n->type != GUMBO_NODE_ELEMENT) {
            continue;
        }
        const char *role = attribute(n, "role");
        switch (n->v.element.tag) {
        case GUMBO_TAG_HTML: {
            const char *lang = attribute(n, "lang");
            lang = lang ? lang : attribute(n, "xml:lang");
            doc_set(&d->language, lang ? lang : "", lang ? strlen(lang) : 0);
            break;
        }
        case GUMBO_TAG_META:
            read_meta(d, n);
            break;
        case GUMBO_TAG_TITLE:
            if (is_element(n->parent, GUMBO_TAG_HEAD) && children(n)->length > 0) {
                const GumboNode *t = children(n)->data[0];
                if (t->type == GUMBO_NODE_TEXT) {
                    doc_set(&d->title, t->v.text.text, strlen(t->v.text.text));
                }
            }
            break;
        case GUMBO_TAG_ARTICLE:
            article = n;
            n_articles++;
            break;
        default:
            break;
        }
        if (n->v.element.tag == GUMBO_TAG_MAIN || (role && strcasecmp(role, "main") == 0)) {
            main_part = n;
            n_main++;
        }
    }
    return n_main == 1 ? main_part : n_articles == 1 ? article : root;
}

static void title_from_heading(struct doc *d)
{
    for (size_t i = 0; i < d->n_blocks && d->title.len == 0; i++) {
        const struct text_block *b = &d->blocks[i];
        if (b->kind == BLOCK_HEADING && b->level < TERM_LEVEL) {
            doc_set(&d->title, d->text.data + b->start, b->end - b->start);
        }
    }
}

static enum status with_tree(struct doc *d, const char *name, const char *s, size_t n,
                             bool fragment, struct err *e)
{
    struct pool pool = {0};
    struct buf tamed = {0};
    if (html_tame(s, n, &tamed)) {
        s = tamed.data;
        n = tamed.len;
    }
    d->failed |= tamed.failed;
    GumboOutput *tree = d->failed ? NULL : parse(&pool, s, n);
    enum status status = OK;
    if (!tree) {
        status = err_set(e, pool.status ? pool.status : ERR_MEMORY, name,
                         "the HTML needs too much memory or time to parse");
    } else if (fragment) {
        read_blocks(d, tree->document, false);
    } else {
        const GumboNode *part = survey(d, tree->document);
        read_blocks(d, part, false);
        if (d->n_blocks == 0) {
            read_blocks(d, tree->document, true);
        }
        title_from_heading(d);
    }
    pool_fini(&pool);
    buf_fini(&tamed);
    return status;
}

enum status extract_html(struct doc *d, const char *name, const char *s, size_t n, struct err *e)
{
    return with_tree(d, name, s, n, false, e);
}

enum status extract_html_fragment(struct doc *d, const char *s, size_t n, struct err *e)
{
    return with_tree(d, NULL, s, n, true, e);
}

bool html_declared_charset(const uint8_t *data, size_t n, char out[64])
{
    static const char *const keys[] = {"charset", "encoding"};
    const char *s = (const char *)data;
    n = n < 4096 ? n : 4096;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 2; k++) {
            size_t len = strlen(keys[k]), j = i + len;
            if (n - i <= len || strncasecmp(s + i, keys[k], len) != 0) {
                continue;
            }
            bool equals = false;
            while (j < n && s[j] && strchr(" \t\"'=", s[j])) {
                equals |= s[j++] == '=';
            }
            if (!equals) {
                continue;
            }
            size_t m = 0;
            while (j < n && m < 63 &&
                   ((s[j] >= '0' && s[j] <= '9') ||
                    ((s[j] | 0x20) >= 'a' && (s[j] | 0x20) <= 'z') ||
                    (s[j] && strchr("-_.:+", s[j])))) {
                out[m++] = s[j++];
            }
            out[m] = 0;
            if (m >= 3) {
                return true;
            }
        }
    }
    return false;
}

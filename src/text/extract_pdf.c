/* PDF: pdftotext in a child (pdf_child) draws each page with spaces, its lines become blocks
 * (pdf_page). Pages with two columns of prose are taken from a second run in reading order, because
 * the drawing would mix the columns. Lines that most pages repeat at their top or bottom are
 * dropped after their first appearance. */
#include "text/pdf_page.h"

#include "base/map.h"
#include "text/pdf_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EDGE_LINES = 4, MIN_REPEATS = 4, MAX_PAGES = 100000, MAX_LINES = 1 << 24 };

struct pages {
    struct buf raw;   /* what pdftotext wrote */
    const char *text; /* its pages, in raw */
    size_t n;
    struct pdf_page *pages;
    size_t n_pages;
    struct arena arena;
};

static void pages_fini(struct pages *p)
{
    buf_fini(&p->raw);
    arena_reset(&p->arena);
}

/* ---- what pdftotext writes: an HTML head with the metadata, the text between <pre> tags ---- */

static void unescape(struct buf *out, const char *s, size_t n)
{
    static const char *const entities[][2] = {
        {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
    for (size_t i = 0; i < n;) {
        size_t used = 1;
        const char *to = NULL;
        for (size_t k = 0; s[i] == '&' && k < 5 && !to; k++) {
            size_t len = strlen(entities[k][0]);
            if (n - i >= len && memcmp(s + i, entities[k][0], len) == 0) {
                to = entities[k][1];
                used = len;
            }
        }
        buf_put(out, to ? to : s + i, 1);
        i += used;
    }
}

/* The bytes between `from` and `to` in s[0..n) into *field. */
static void take_between(struct buf *field, const char *s, size_t n, const char *from,
                         const char *to)
{
    const char *a = memmem(s, n, from, strlen(from));
    if (!a) {
        return;
    }
    a += strlen(from);
    const char *b = memmem(a, n - (size_t)(a - s), to, strlen(to));
    struct buf plain = {0};
    if (b) {
        unescape(&plain, a, (size_t)(b - a));
        doc_set(field, plain.data ? plain.data : "", plain.len);
    }
    buf_fini(&plain);
}

/* Producers put file names and numbers where a title should be. */
static bool is_useful_title(const struct buf *t)
{
    size_t letters = 0;
    for (size_t i = 0; i < t->len; i++) {
        uint8_t c = (uint8_t)t->data[i];
        letters += c >= 0x80 || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    }
    static const char *const bad[] = {"Microsoft Word", ".doc",     ".indd",   ".tex",
                                      ".dvi",           "untitled", "Untitled"};
    for (size_t i = 0; t->len && i < sizeof bad / sizeof *bad; i++) {
        if (memmem(t->data, t->len, bad[i], strlen(bad[i]))) {
            return false;
        }
    }
    return letters >= 4 && letters * 2 > t->len;
}

/* Reads the head into *d (may be NULL) and finds the text; false when there is none. */
static bool split_output(struct pages *p, struct doc *d)
{
    const char *s = p->raw.data ? p->raw.data : "";
    const char *pre = memmem(s, p->raw.len, "<pre>\n", 6);
    if (!pre) {
        return false;
    }
    size_t head = (size_t)(pre - s);
    if (d) {
        take_between(&d->title, s, head, "<title>", "</title>");
        take_between(&d->author, s, head, "<meta name=\"Author\" content=\"", "\"/>");
        if (!is_useful_title(&d->title)) {
            buf_reset(&d->title);
        }
    }
    p->text = pre + 6;
    p->n = p->raw.len - head - 6;
    static const char tail[] = "</pre>\n</body>\n</html>\n";
    if (p->n >= sizeof tail - 1 &&
        memcmp(p->text + p->n - (sizeof tail - 1), tail, sizeof tail - 1) == 0) {
        p->n -= sizeof tail - 1;
    }
    return true;
}

/* ---- pages and lines ---- */

static size_t count_char(const char *s, size_t n, char c)
{
    size_t count = 0;
    for (const char *at = s; (at = memchr(at, c, n - (size_t)(at - s))); at++) {
        count++;
    }
    return count;
}

static struct pdf_line make_line(const char *s, size_t n)
{
    size_t a = 0;
    while (n > 0 && strchr(" \t\r\n", s[n - 1])) {
        n--;
    }
    while (a < n && (s[a] == ' ' || s[a] == '\t')) {
        a++;
    }
    return (struct pdf_line){s + a, (uint32_t)(n - a), (int32_t)a, false};
}

static bool read_page(struct pages *p, struct pdf_page *page, const char *s, size_t n)
{
    page->lines = arena_array(&p->arena, count_char(s, n, '\n') + 1, sizeof *page->lines);
    if (!page->lines) {
        return false;
    }
    for (size_t i = 0; i < n;) {
        const char *nl = memchr(s + i, '\n', n - i);
        size_t end = nl ? (size_t)(nl - s) : n;
        page->lines[page->n_lines++] = make_line(s + i, end - i);
        i = end + 1;
    }
    return true;
}

/* Pages end with a form feed. */
static enum status read_pages(struct pages *p, const char *name, struct err *e)
{
    size_t count = count_char(p->text, p->n, '\f');
    if (count > MAX_PAGES) {
        return err_set(e, ERR_LIMIT, name, "more than %d pages", MAX_PAGES);
    }
    p->pages = arena_array(&p->arena, count, sizeof *p->pages);
    bool ok = p->pages != NULL;
    for (size_t i = 0; ok && i < p->n && p->n_pages < count;) {
        const char *ff = memchr(p->text + i, '\f', p->n - i);
        size_t end = ff ? (size_t)(ff - p->text) : p->n;
        ok = read_page(p, &p->pages[p->n_pages++], p->text + i, end - i);
        i = end + 1;
    }
    return ok ? OK : err_set(e, ERR_MEMORY, name, "not enough memory for %zu pages", count);
}

static bool is_empty_page(const struct pdf_page *page)
{
    for (size_t i = 0; i < page->n_lines; i++) {
        if (page->lines[i].n > 0) {
            return false;
        }
    }
    return true;
}

/* ---- running headers, footers, page numbers ---- */

/* The line without the differences of its pages: spaces collapsed, each number as #. */
static const char *edge_key(struct arena *a, const struct pdf_line *l, size_t *len)
{
    char *key = arena_alloc(a, l->n + 1);
    size_t k = 0;
    for (size_t i = 0; key && i < l->n; i++) {
        char c = l->s[i];
        c = c >= '0' && c <= '9' ? '#' : c;
        if ((c == ' ' || c == '#') && k > 0 && key[k - 1] == c) {
            continue;
        }
        key[k++] = c;
    }
    *len = k;
    return key;
}

static bool is_page_number(const char *key, size_t n)
{
    static const char *const forms[] = {"#",           "- # -",  "-#-",   "Page #", "page #",
                                        "Page # of #", "# of #", "# / #", "#/#",    "| #"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strlen(forms[i]) == n && memcmp(forms[i], key, n) == 0) {
            return true;
        }
    }
    return n <= 5 && strspn(key, "ivxlc") >= n;
}

/* The k-th line with text from the top (or bottom) of the page; NULL: there is none. */
static struct pdf_line *edge_line(struct pdf_page *page, size_t k, bool bottom)
{
    for (size_t i = 0; i < page->n_lines; i++) {
        struct pdf_line *l = &page->lines[bottom ? page->n_lines - 1 - i : i];
        if (l->n > 0 && k-- == 0) {
            return l;
        }
    }
    return NULL;
}

/* From the edge inwards, as long as lines are page numbers or repeated on many pages. */
static void drop_edge(struct pages *p, const struct map *counts, struct map *seen,
                      struct pdf_page *page, bool bottom)
{
    for (size_t k = 0; k < EDGE_LINES; k++) {
        struct pdf_line *l = edge_line(page, k, bottom);
        size_t len;
        uint32_t count = 0, before;
        const char *key = l ? edge_key(&p->arena, l, &len) : NULL;
        if (!key) {
            return;
        }
        bool number = is_page_number(key, len);
        if (!number &&
            (!map_get(counts, key, len, &count) || count < MIN_REPEATS || count * 4 < p->n_pages)) {
            return;
        }
        /* the first appearance stays: it may be the only heading of what follows */
        l->dropped = number || map_get(seen, key, len, &before) || bottom;
        if (!l->dropped && map_put(seen, key, len, 1) != OK) {
            return;
        }
    }
}

static enum status drop_running_lines(struct pages *p)
{
    struct map counts = {0}, seen = {0};
    enum status s = map_init(&counts, p->n_pages * 4);
    if (!s) {
        s = map_init(&seen, 64);
    }
    for (size_t i = 0; !s && i < p->n_pages * 2; i++) {
        for (size_t k = 0; !s && k < EDGE_LINES; k++) {
            struct pdf_line *l = edge_line(&p->pages[i / 2], k, i % 2);
            size_t len;
            uint32_t count = 0;
            const char *key = l ? edge_key(&p->arena, l, &len) : NULL;
            if (key) {
                (void)map_get(&counts, key, len, &count);
                s = map_put(&counts, key, len, count + 1);
            }
        }
    }
    for (size_t i = 0; !s && i < p->n_pages; i++) {
        drop_edge(p, &counts, &seen, &p->pages[i], false);
        drop_edge(p, &counts, &seen, &p->pages[i], true);
    }
    map_fini(&counts);
    map_fini(&seen);
    return s;
}

/* ---- the document ---- */

static enum status run(struct pages *p, struct doc *d, int fd, const char *path, bool layout,
                       struct err *e)
{
    enum status s = pdf_child_run(fd, path, layout, NULL, &p->raw, e);
    if (!s && !split_output(p, d)) {
        s = err_set(e, ERR_FORMAT, path, "pdftotext wrote nothing that can be read");
    }
    return s ? s : read_pages(p, path, e);
}

/* Replaces pages of two columns by those of a run in reading order. */
static enum status mend_columns(struct pages *p, struct pages *plain, int fd, const char *path,
                                struct err *e)
{
    for (size_t i = 0; i < p->n_pages; i++) {
        if (!pdf_two_columns(&p->pages[i])) {
            continue;
        }
        if (!plain->raw.len) {
            enum status s = run(plain, NULL, fd, path, false, e);
            if (s) {
                return s;
            }
        }
        if (plain->n_pages == p->n_pages) {
            p->pages[i] = plain->pages[i];
        }
    }
    return OK;
}

static enum status open_pdf(const char *path, size_t max_bytes, int *fd, struct err *e)
{
    struct stat st;
    char head[1024];
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st) != 0) {
        return err_errno(e, errno, path, "cannot open");
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(e, ERR_FORMAT, path, "not a regular file");
    }
    if ((size_t)st.st_size > max_bytes) {
        return err_set(e, ERR_LIMIT, path, "%lld bytes; the limit is %zu", (long long)st.st_size,
                       max_bytes);
    }
    ssize_t n = pread(*fd, head, sizeof head, 0);
    if (n < 0) {
        return err_errno(e, errno, path, "cannot read");
    }
    if (!memmem(head, (size_t)n, "%PDF-", 5)) {
        return err_set(e, ERR_FORMAT, path, "not a PDF: it does not begin with %%PDF-");
    }
    return OK;
}

enum status extract_pdf(struct doc *d, const char *path, size_t max_bytes, struct err *e)
{
    struct pages p = {0}, plain = {0};
    int fd = -1;
    enum status s = open_pdf(path, max_bytes, &fd, e);
    if (!s) {
        s = run(&p, d, fd, path, true, e);
    }
    if (!s && p.n_pages == 0) {
        s = err_set(e, ERR_FORMAT, path, "a PDF without pages: damaged or cut off");
    }
    for (size_t i = 0; !s && i < p.n_pages; i++) {
        d->n_pages_empty += is_empty_page(&p.pages[i]);
    }
    d->n_pages = (int32_t)p.n_pages;
    if (!s && (size_t)d->n_pages_empty == p.n_pages) {
        s = err_set(e, ERR_UNSUPPORTED, path,
                    "no text on any of its %zu pages: scanned images, needs OCR", p.n_pages);
    }
    if (!s) {
        s = mend_columns(&p, &plain, fd, path, e);
    }
    if (!s && drop_running_lines(&p) != OK) {
        s = err_set(e, ERR_MEMORY, path, "not enough memory for %zu pages", p.n_pages);
    }
    for (size_t i = 0; !s && i < p.n_pages; i++) {
        d->page = (int32_t)i + 1;
        pdf_page_blocks(d, &p.pages[i], p.text, p.n);
    }
    pages_fini(&plain);
    pages_fini(&p);
    if (fd >= 0) {
        close(fd);
    }
    return s;
}

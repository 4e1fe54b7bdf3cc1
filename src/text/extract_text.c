/* Plain text: paragraphs between blank lines, list items, and headings where a person would see one
 * at a glance (underlined, numbered or all capitals, alone between blank lines). Everything else is
 * left as it stands: a wrong heading harms more than a missed one. */
#include "text/extract_internal.h"

#include <string.h>

enum { HEADING_MAX = 90 };

struct line {
    const char *s;
    size_t n;
};

/* The line at *i without its newline and the white space around it; moves *i behind it. */
static struct line next_line(const char *s, size_t n, size_t *i)
{
    const char *nl = memchr(s + *i, '\n', n - *i);
    size_t end = nl ? (size_t)(nl - s) : n, a = *i;
    *i = nl ? end + 1 : n;
    while (a < end && strchr(" \t\f", s[a])) {
        a++;
    }
    while (end > a && strchr(" \t\f", s[end - 1])) {
        end--;
    }
    return (struct line){s + a, end - a};
}

static size_t count_points(struct line l)
{
    size_t count = 0;
    for (size_t i = 0; i < l.n; i++) {
        count += ((uint8_t)l.s[i] & 0xC0) != 0x80;
    }
    return count;
}

/* ---- or ===, as long as a heading */
static bool is_underline(struct line l)
{
    if (l.n < 3 || !strchr("=-~^*#\"", l.s[0])) {
        return false;
    }
    for (size_t i = 1; i < l.n; i++) {
        if (l.s[i] != l.s[0]) {
            return false;
        }
    }
    return true;
}

/* "* * *", "-----": a line that only separates */
static bool is_rule(struct line l)
{
    return l.n >= 3 && strspn(l.s, "*-_=~# ") >= l.n;
}

static bool all_caps(struct line l)
{
    size_t capitals = 0;
    for (size_t i = 0; i < l.n; i++) {
        if (l.s[i] >= 'a' && l.s[i] <= 'z') {
            return false;
        }
        capitals += l.s[i] >= 'A' && l.s[i] <= 'Z';
    }
    return capitals >= 4 && capitals * 2 >= l.n;
}

/* "1.2 Title" gives 2, "Chapter 3", "Section 1. Scope" 1 or 2, else 0. */
static int numbered_level(struct line l)
{
    static const struct {
        const char *word;
        int level;
    } words[] = {{"Part ", 1},    {"PART ", 1},    {"Chapter ", 1},  {"CHAPTER ", 1},
                 {"Section ", 2}, {"SECTION ", 2}, {"Appendix ", 1}, {"APPENDIX ", 1}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t k = strlen(words[i].word);
        if (l.n > k && memcmp(l.s, words[i].word, k) == 0 &&
            (strchr("0123456789IVXLC", l.s[k]) || (l.n == k + 1 && l.s[k] >= 'A'))) {
            return words[i].level;
        }
    }
    size_t i = 0;
    int parts = 0;
    while (i < l.n && l.s[i] >= '0' && l.s[i] <= '9') {
        while (i < l.n && l.s[i] >= '0' && l.s[i] <= '9') {
            i++;
        }
        parts++;
        if (i < l.n && l.s[i] == '.') {
            i++;
        }
    }
    bool title = i < l.n && l.s[i] == ' ' && i + 1 < l.n && l.s[i + 1] >= 'A' && l.s[i + 1] <= 'Z';
    return parts > 0 && parts <= 6 && i <= 12 && title ? parts : 0;
}

/* A line alone between blank lines: its level as a heading, 0 when it is none. */
static int lone_line_level(struct line l)
{
    if (l.n > HEADING_MAX || l.n < 2 || strchr(",;:", l.s[l.n - 1])) {
        return 0;
    }
    int level = numbered_level(l);
    if (level && l.s[l.n - 1] != '.') {
        return level;
    }
    return all_caps(l) && l.s[l.n - 1] != '.' ? 2 : 0;
}

/* "- x", "* x", "12. x": bytes of the mark and the space behind it, 0 when there is none. */
static size_t list_mark(struct line l)
{
    size_t i = 0;
    if (l.n > 2 && strchr("-*+", l.s[0])) {
        i = 1;
    } else if (l.n > 4 && memcmp(l.s, "\xE2\x80\xA2", 3) == 0) {
        i = 3;
    } else {
        while (i < l.n && i < 3 && l.s[i] >= '0' && l.s[i] <= '9') {
            i++;
        }
        i = i > 0 && i < l.n && strchr(".)", l.s[i]) ? i + 1 : 0;
    }
    return i > 0 && i < l.n && l.s[i] == ' ' ? i + 1 : 0;
}

/* A paragraph being gathered: lines [start, end) of the input, all but list marks. */
struct gather {
    struct doc *d;
    const char *start, *end; /* NULL: empty */
    int n_lines;
    enum block_kind kind;
};

static void flush(struct gather *g)
{
    if (g->start) {
        struct line l = {g->start, (size_t)(g->end - g->start)};
        struct text_block b = {.kind = g->kind, .level = g->kind == BLOCK_LIST_ITEM};
        int level = g->n_lines == 1 && b.kind == BLOCK_PARAGRAPH ? lone_line_level(l) : 0;
        if (level) {
            b.kind = BLOCK_HEADING;
            b.level = level;
        }
        doc_add(g->d, &b, l.s, l.n);
    }
    g->start = NULL;
    g->n_lines = 0;
    g->kind = BLOCK_PARAGRAPH;
}

static void add_underlined(struct gather *g, struct line title, char mark)
{
    struct text_block b = {.kind = BLOCK_HEADING,
                           .level = mark == '=' || mark == '#' ? 1
                                    : mark == '-'              ? 2
                                                               : 3};
    flush(g);
    doc_add(g->d, &b, title.s, title.n);
}

enum status extract_text(struct doc *d, const char *s, size_t n, struct err *e)
{
    (void)e;
    struct gather g = {.d = d, .kind = BLOCK_PARAGRAPH};
    size_t i = 0;
    while (i < n) {
        bool page_break = s[i] == '\f';
        struct line l = next_line(s, n, &i);
        if (page_break || l.n == 0 || is_rule(l)) {
            flush(&g); /* an overline of a heading is dropped like a blank line */
            if (l.n == 0 || !page_break) {
                continue;
            }
        }
        size_t ahead = i;
        struct line under = i < n ? next_line(s, n, &ahead) : (struct line){s, 0};
        size_t width = count_points(l);
        if (g.n_lines == 0 && l.n <= HEADING_MAX && is_underline(under) && !is_underline(l) &&
            under.n + 3 >= width && under.n <= width + 8) {
            add_underlined(&g, l, under.s[0]);
            i = ahead;
            continue;
        }
        size_t mark = list_mark(l);
        bool first_of_list = mark && (g.n_lines == 0 || g.kind == BLOCK_LIST_ITEM);
        if (first_of_list) {
            /* a heading such as "1. Scope" stands alone; a list item has company */
            bool alone = g.n_lines == 0 && under.n == 0 && numbered_level(l) && i < n;
            flush(&g);
            if (!alone) {
                g.kind = BLOCK_LIST_ITEM;
                l.s += mark;
                l.n -= mark;
            }
        }
        if (!g.start) {
            g.start = l.s;
        }
        g.end = l.s + l.n;
        g.n_lines++;
    }
    flush(&g);
    return OK;
}

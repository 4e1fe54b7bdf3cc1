/* PDF pages, as `pdftotext -layout` draws them with spaces, to blocks.
 *
 * The drawing keeps the numbers of a row on its row, which is what questions about reports ask for;
 * a line with wide gaps is a row of a table, lines of column heads above the first row of numbers
 * become one header row with a text per column. Prose is put together from its lines: a blank line,
 * a change of indent after a full stop, or a bullet begins a new block. Headings are guessed from
 * capitals, numbering ("Item 1A.", "Note 3", "2.1") and isolation. */
#include "text/pdf_page.h"

#include <string.h>

enum { GAP = 3, HEADING_MAX = 100, LABEL_MAX = 110, MAX_HEAD_LINES = 8, TEXT_MAX = 4000 };

/* ---- cells ---- */

static size_t count_points(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ((uint8_t)s[i] & 0xC0) != 0x80;
    }
    return count;
}

/* Bytes of the gap at s[i]: spaces, or a leader of dots with the spaces around it; 0: no gap. */
static size_t gap_at(const char *s, size_t n, size_t i)
{
    size_t k = i, dots = 0;
    while (k < n && (s[k] == ' ' || s[k] == '.')) {
        dots += s[k] == '.';
        k++;
    }
    if (dots >= 4) {
        return k - i;
    }
    k = i;
    while (k < n && s[k] == ' ') {
        k++;
    }
    return k - i >= GAP ? k - i : 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Does the cell belong to the one before it: "%", ")" , "%)" ? */
static bool closes(const char *s, size_t n)
{
    return n > 0 && n <= 3 && strspn(s, "%)") >= n;
}

/* "$", "(", "$(": opens the number that follows. */
static bool opens(const char *s, size_t n)
{
    return n > 0 && n <= 2 && strspn(s, "$(") >= n;
}

/* Two cells with one or two spaces between: "680 $" (a number, the sign of the next column) and
 * "October 31, October 30," (a day, the month of the next). Returns the spaces; 0: one cell. */
static size_t close_cells(const char *s, size_t n, size_t from, size_t i)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    if (i < from + 1 || s[i] != ' ') {
        return 0;
    }
    size_t spaces = i + 1 < n && s[i + 1] == ' ' ? 2 : 1, k = i + spaces;
    bool dollar = k < n && s[k] == '$' && (k + 1 == n || s[k + 1] == ' ');
    if (dollar && (is_digit(s[i - 1]) || s[i - 1] == ')')) {
        return spaces;
    }
    bool day = i >= from + 2 && s[i - 1] == ',' && is_digit(s[i - 2]);
    for (size_t m = 0; day && m < 12; m++) {
        size_t len = strlen(months[m]);
        if (n - k > len && memcmp(s + k, months[m], len) == 0 && s[k + len] == ' ') {
            return spaces;
        }
    }
    return 0;
}

size_t pdf_cells(const struct pdf_line *l, struct pdf_cell cells[PDF_MAX_CELLS])
{
    size_t count = 0, i = 0;
    int32_t column = l->indent;
    bool joined = false; /* the cell before opens this one */
    while (i < l->n) {
        size_t from = i, gap = 0;
        while (i < l->n && !(gap = gap_at(l->s, l->n, i)) &&
               !(gap = close_cells(l->s, l->n, from, i))) {
            i++;
        }
        int32_t width = (int32_t)count_points(l->s + from, i - from);
        if (count > 0 && (joined || closes(l->s + from, i - from) || count == PDF_MAX_CELLS)) {
            struct pdf_cell *last = &cells[count - 1];
            last->n =
                (uint32_t)((size_t)(l->s - last->s) + i); /* the gap inside is cleaned later */
            last->to = column + width;
        } else if (i > from) {
            cells[count++] =
                (struct pdf_cell){l->s + from, (uint32_t)(i - from), column, column + width};
        }
        joined = opens(l->s + from, i - from);
        column += width + (int32_t)gap;
        i += gap;
    }
    return count;
}

/* A number of a table: digits with signs, a dash for zero; no letters. */
static bool is_numeric(const struct pdf_cell *c)
{
    size_t digits = 0;
    for (size_t i = 0; i < c->n; i++) {
        char ch = c->s[i];
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')) {
            return false;
        }
        digits += is_digit(ch);
    }
    return digits > 0 || (c->n == 3 && memcmp(c->s, "\xE2\x80\x94", 3) == 0) ||
           (c->n == 3 && memcmp(c->s, "\xE2\x80\x93", 3) == 0) || (c->n == 1 && *c->s == '-');
}

static bool is_year(const struct pdf_cell *c)
{
    return c->n == 4 && (memcmp(c->s, "19", 2) == 0 || memcmp(c->s, "20", 2) == 0) &&
           is_digit(c->s[2]) && is_digit(c->s[3]);
}

/* ---- two columns ---- */

static bool is_prose(const char *s, size_t n)
{
    size_t letters = 0;
    for (size_t i = 0; i < n; i++) {
        letters += (s[i] >= 'a' && s[i] <= 'z') || (uint8_t)s[i] >= 0x80;
    }
    return n >= 20 && letters * 10 >= n * 6;
}

bool pdf_two_columns(const struct pdf_page *p)
{
    size_t lines = 0, twice = 0;
    for (size_t i = 0; i < p->n_lines; i++) {
        struct pdf_cell cells[PDF_MAX_CELLS];
        const struct pdf_line *l = &p->lines[i];
        lines += l->n > 0;
        twice += l->n > 40 && pdf_cells(l, cells) == 2 && is_prose(cells[0].s, cells[0].n) &&
                 is_prose(cells[1].s, cells[1].n);
    }
    return twice >= 10 && twice * 5 >= lines * 2;
}

/* ---- headings ---- */

static bool starts_with_word(const struct pdf_line *l, const char *word)
{
    size_t n = strlen(word);
    return l->n > n && strncasecmp(l->s, word, n) == 0 &&
           (l->s[n] == ' ' || (uint8_t)l->s[n] >= 0x80);
}

static bool all_capitals(const struct pdf_line *l)
{
    size_t capitals = 0, others = 0;
    const char *paren = memmem(l->s, l->n, " (", 2); /* "BALANCE SHEETS (Unaudited)" */
    size_t n = paren && l->s[l->n - 1] == ')' ? (size_t)(paren - l->s) : l->n;
    for (size_t i = 0; i < n; i++) {
        if (l->s[i] >= 'a' && l->s[i] <= 'z') {
            return false;
        }
        capitals += l->s[i] >= 'A' && l->s[i] <= 'Z';
        others += is_digit(l->s[i]);
    }
    return capitals >= 5 && others * 3 < capitals;
}

/* "2.1 Title": how many numbers; 0: not numbered */
static int numbering(const struct pdf_line *l)
{
    size_t i = 0;
    int parts = 0;
    while (i < l->n && is_digit(l->s[i])) {
        while (i < l->n && is_digit(l->s[i])) {
            i++;
        }
        parts++;
        i += i < l->n && l->s[i] == '.';
    }
    size_t spaces = 0;
    while (i < l->n && l->s[i] == ' ') {
        i++;
        spaces++;
    }
    bool title = spaces > 0 && i < l->n && l->s[i] >= 'A' && l->s[i] <= 'Z' && l->n - i > 2;
    return title && i <= 12 && parts <= 5 ? parts : 0;
}

/* Most words of four letters and more begin with a capital. */
static bool title_case(const struct pdf_line *l)
{
    size_t words = 0, capitals = 0;
    for (size_t i = 0; i < l->n;) {
        size_t k = i;
        while (k < l->n && l->s[k] != ' ') {
            k++;
        }
        if ((k - i >= 4 || i == 0) && !is_digit(l->s[i])) {
            words++;
            capitals += l->s[i] >= 'A' && l->s[i] <= 'Z';
        }
        i = k + 1;
    }
    return words > 0 && words <= 12 && capitals * 4 >= words * 3 && l->s[0] >= 'A' &&
           l->s[0] <= 'Z';
}

/* Level of a line as a heading, 0: none. `alone`: blank lines around it. */
static int heading_level(const struct pdf_line *l, bool alone)
{
    if (l->n < 4 || l->n > HEADING_MAX || strchr(".,;:", l->s[l->n - 1]) || l->s[0] == '(') {
        bool item = l->n >= 4 && l->n <= HEADING_MAX && starts_with_word(l, "item") &&
                    l->s[l->n - 1] == '.';
        return item ? 2 : 0;
    }
    bool caps = all_capitals(l);
    if (starts_with_word(l, "part") && l->n < 60 && strchr("IVX", l->s[5]) && (caps || alone)) {
        return 1;
    }
    if (starts_with_word(l, "item") && is_digit(l->s[5])) {
        return 2;
    }
    if (starts_with_word(l, "note") && is_digit(l->s[5]) && (caps || alone || l->n < 70)) {
        return 3;
    }
    if (caps) {
        return 3;
    }
    int parts = numbering(l);
    if (parts && alone) {
        return parts < 6 ? parts : 6;
    }
    return alone && title_case(l) && l->n <= 80 ? 4 : 0;
}

/* ---- prose ---- */

struct page_reader {
    struct doc *d;
    const struct pdf_page *p;
    const char *all;
    size_t n_all;
    struct buf text; /* of the paragraph being read */
    struct text_block like;
    const struct pdf_line *last; /* its last line */
};

static void flush(struct page_reader *r)
{
    if (r->text.len) {
        doc_add(r->d, &r->like, r->text.data, r->text.len);
    }
    r->d->failed |= r->text.failed;
    buf_reset(&r->text);
    r->like = (struct text_block){.kind = BLOCK_PARAGRAPH};
    r->last = NULL;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

/* The paragraph ends in "anti-" and "dilutive" follows: one word, two, or with its hyphen? What
 * the rest of the document writes decides; without a witness the hyphen was the typesetter's. */
static void join_line(struct page_reader *r, const char *s, size_t n)
{
    struct buf *t = &r->text;
    size_t left = 0, right = 0;
    if (t->len >= 2 && t->data[t->len - 1] == '-' && n && is_lower(s[0])) {
        while (left + 1 < t->len && is_lower(t->data[t->len - 2 - left])) {
            left++;
        }
        while (right < n && is_lower(s[right])) {
            right++;
        }
    }
    if (left < 2 || left + right > 60) {
        if (t->len && t->data[t->len - 1] != '-') {
            buf_putc(t, ' ');
        }
        buf_put(t, s, n);
        return;
    }
    char word[64];
    memcpy(word, t->data + t->len - 1 - left, left + 1);
    memcpy(word + left + 1, s, right);
    if (!memmem(r->all, r->n_all, word, left + 1 + right)) {
        t->len--;
    }
    buf_put(t, s, n);
}

/* A mark of a list item in the first cell. */
static bool is_bullet(const struct pdf_cell *c)
{
    static const char *const marks[] = {"\xE2\x80\xA2",
                                        "\xE2\x97\x8F",
                                        "\xE2\x96\xAA",
                                        "\xC2\xB7",
                                        "\xE2\x97\xA6",
                                        "\xEF\x82\xB7",
                                        "-",
                                        "o",
                                        "*",
                                        "\xE2\x80\x93",
                                        "\xE2\x9D\x8F"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (c->n == strlen(marks[i]) && memcmp(c->s, marks[i], c->n) == 0) {
            return true;
        }
    }
    bool paren = c->n >= 2 && c->n <= 4 && c->s[c->n - 1] == ')';
    bool dot = c->n >= 2 && c->n <= 3 && c->s[c->n - 1] == '.';
    return (paren || dot) && (is_lower(c->s[c->s[0] == '(']) || is_digit(c->s[c->s[0] == '(']));
}

/* "• text" with one space: bytes of the mark and the space. */
static size_t inline_bullet(const struct pdf_line *l)
{
    const char *space = memchr(l->s, ' ', l->n < 5 ? l->n : 5);
    if (!space) {
        return 0;
    }
    struct pdf_cell c = {l->s, (uint32_t)(space - l->s), 0, 0};
    return is_bullet(&c) && *c.s != 'o' && *c.s != '(' && !is_digit(*c.s)
               ? (size_t)(space - l->s) + 1
               : 0;
}

static bool ends_sentence(const struct pdf_line *l)
{
    return l->n > 0 && strchr(".!?:;", l->s[l->n - 1]);
}

static void prose_line(struct page_reader *r, const struct pdf_line *l, const char *s, size_t n)
{
    if (r->last) {
        bool indented = l->indent >= r->last->indent + 2 && ends_sentence(r->last) &&
                        r->like.kind != BLOCK_LIST_ITEM;
        bool moved = l->indent >= r->last->indent + 12 || r->last->indent >= l->indent + 12;
        bool short_end = r->last->n < 60 && l->n > 60 && ends_sentence(r->last);
        if (indented || moved || short_end) {
            flush(r);
        }
    }
    join_line(r, s, n);
    r->last = l;
}

/* ---- tables ---- */

static bool skips(const struct pdf_line *l)
{
    return l->n == 0 || l->dropped;
}

/* A line of at least two cells that is no list item. */
static bool is_tabular(const struct pdf_line *l)
{
    struct pdf_cell cells[PDF_MAX_CELLS];
    if (skips(l)) {
        return false;
    }
    size_t n = pdf_cells(l, cells);
    return n >= 3 || (n == 2 && !is_bullet(&cells[0]));
}

/* Index of the next line that is not blank, with the blank lines between in *blanks. */
static size_t next_line(const struct pdf_page *p, size_t i, size_t *blanks)
{
    *blanks = 0;
    for (i++; i < p->n_lines && skips(&p->lines[i]); i++) {
        ++*blanks;
    }
    return i;
}

/* May the line stand in a table as a label without numbers? */
static bool is_label(const struct pdf_line *l)
{
    return !is_tabular(l) && l->n <= LABEL_MAX && l->s[l->n - 1] != '.' && !inline_bullet(l);
}

/* Past the last line of the table that begins at line i. */
static size_t table_end(const struct pdf_page *p, size_t i)
{
    size_t end = i + 1, k = i, blanks;
    for (;;) {
        k = next_line(p, k, &blanks);
        size_t labels = 0;
        while (k < p->n_lines && blanks <= 1 && labels < 3 && is_label(&p->lines[k])) {
            k = next_line(p, k, &blanks);
            labels++;
        }
        if (k >= p->n_lines || blanks > 1 || !is_tabular(&p->lines[k])) {
            return end;
        }
        end = k + 1;
    }
}

/* Does the run of lines look like a table: two rows, or one with a number? */
static bool is_table(const struct pdf_page *p, size_t from, size_t to)
{
    size_t rows = 0;
    for (size_t i = from; i < to; i++) {
        struct pdf_cell cells[PDF_MAX_CELLS];
        if (!is_tabular(&p->lines[i])) {
            continue;
        }
        size_t n = pdf_cells(&p->lines[i], cells);
        rows++;
        for (size_t c = 1; c < n; c++) {
            rows += is_numeric(&cells[c]);
        }
    }
    return rows >= 2;
}

/* A cell's text on one line, "$ 12" as "$12" and "( 3 )" as "(3)". */
static void put_cell(struct buf *out, const char *s, size_t n)
{
    size_t from = out->len;
    text_clean(out, s, n, SPACES_ONE_LINE);
    size_t k = from;
    for (size_t i = from; i < out->len; i++) {
        char before = k > from ? out->data[k - 1] : 0,
             after = i + 1 < out->len ? out->data[i + 1] : 0;
        bool inside =
            out->data[i] == ' ' && ((before == '$' && (is_digit(after) || after == '(')) ||
                                    (before == '(' && is_digit(after)) ||
                                    (is_digit(before) && (after == ')' || after == '%')) ||
                                    (before == ')' && after == '%'));
        if (!inside) {
            out->data[k++] = out->data[i];
        }
    }
    out->len = k;
}

static void put_row(struct page_reader *r, const struct pdf_cell *cells, size_t n, bool header)
{
    struct text_block like = {
        .kind = BLOCK_TABLE_ROW, .table = r->d->n_tables, .table_header = header};
    struct buf row = {0};
    for (size_t c = 0; c < n; c++) {
        buf_puts(&row, c ? " | " : "");
        put_cell(&row, cells[c].s, cells[c].n);
    }
    doc_add(r->d, &like, row.data, row.len);
    r->d->failed |= row.failed;
    buf_fini(&row);
}

/* Is this a line of column heads? No number but years, and those not behind a label. */
static bool is_head_line(const struct pdf_line *l)
{
    struct pdf_cell cells[PDF_MAX_CELLS];
    size_t n = pdf_cells(l, cells), years = 0;
    size_t unit = n >= 3 && cells[0].s[0] == '('; /* "(In millions)   2022   2021" */
    for (size_t c = unit; c < n; c++) {
        if (is_numeric(&cells[c]) && !is_year(&cells[c])) {
            return false;
        }
        years += is_year(&cells[c]);
    }
    n -= unit;
    return years == 0 ? n >= 2 || l->indent >= 30 : years == n && (n >= 2 || l->indent >= 30);
}

struct head {
    struct pdf_cell cells[MAX_HEAD_LINES][PDF_MAX_CELLS];
    size_t n_cells[MAX_HEAD_LINES];
    size_t n_lines, base; /* base: the line with most cells, the lowest of equals */
};

static int32_t centre2(const struct pdf_cell *c)
{
    return c->from + c->to;
}

static int32_t distance(int32_t a, int32_t b)
{
    return a > b ? a - b : b - a;
}

/* Index of the cell of head line k that stands over (or under) `column`. */
static size_t nearest(const struct head *h, size_t k, const struct pdf_cell *column)
{
    size_t best = 0;
    for (size_t c = 1; c < h->n_cells[k]; c++) {
        if (distance(centre2(&h->cells[k][c]), centre2(column)) <
            distance(centre2(&h->cells[k][best]), centre2(column))) {
            best = c;
        }
    }
    return best;
}

/* Left of every column that numbers stand in: a head for the labels. */
static bool is_row_head(const struct head *h, const struct pdf_cell *c)
{
    const struct pdf_cell *first = &h->cells[h->base][0];
    bool unit = c == first && h->n_cells[h->base] >= 3 && c->s[0] == '(';
    return unit || (c != first && c->to + 8 < first->from);
}

/* One text per column: the cells of all head lines that stand over it, from the top. */
static void put_head(struct page_reader *r, struct head *h)
{
    struct buf row = {0}, cell = {0};
    for (size_t i = 0; i < h->n_lines; i++) {
        size_t k = (h->base + i) % h->n_lines; /* the base first: others are judged by it */
        if (h->n_cells[k] && is_row_head(h, &h->cells[k][0])) {
            buf_puts(&row, row.len ? " " : "");
            put_cell(&row, h->cells[k][0].s, h->cells[k][0].n);
            memmove(&h->cells[k][0], &h->cells[k][1], (h->n_cells[k] - 1) * sizeof **h->cells);
            h->n_cells[k]--;
        }
    }
    for (size_t c = 0; c < h->n_cells[h->base]; c++) {
        const struct pdf_cell *column = &h->cells[h->base][c];
        buf_reset(&cell);
        for (size_t k = 0; k < h->n_lines; k++) {
            if (h->n_cells[k] == 0) {
                continue;
            }
            /* a line with as many heads as columns stands cell over cell */
            bool same = h->n_cells[k] == h->n_cells[h->base];
            const struct pdf_cell *over = &h->cells[k][same ? c : nearest(h, k, column)];
            buf_puts(&cell, cell.len ? " " : "");
            put_cell(&cell, over->s, over->n);
        }
        buf_puts(&row, row.len ? " | " : "");
        buf_put(&row, cell.data, cell.len);
    }
    struct text_block like = {
        .kind = BLOCK_TABLE_ROW, .table = r->d->n_tables, .table_header = true};
    doc_add(r->d, &like, row.data, row.len);
    r->d->failed |= row.failed || cell.failed;
    buf_fini(&row);
    buf_fini(&cell);
}

/* Reads the column heads at the top of the table; returns the first line behind them. */
static size_t table_head(struct page_reader *r, size_t from, size_t to)
{
    struct head h;
    h.n_lines = h.base = 0;
    size_t i = from;
    for (; i < to && h.n_lines < MAX_HEAD_LINES; i++) {
        const struct pdf_line *l = &r->p->lines[i];
        if (skips(l)) {
            continue;
        }
        if (!is_head_line(l)) {
            break;
        }
        if (l->s[0] == '(' && pdf_cells(l, h.cells[h.n_lines]) == 1) {
            put_row(r, h.cells[h.n_lines], 1, true); /* "(In millions)" is about all columns */
            continue;
        }
        h.n_cells[h.n_lines] = pdf_cells(l, h.cells[h.n_lines]);
        if (h.n_cells[h.n_lines] >= h.n_cells[h.base]) {
            h.base = h.n_lines;
        }
        h.n_lines++;
    }
    if (i >= to) {
        return from; /* no numbers at all: plain rows */
    }
    if (h.n_lines) {
        put_head(r, &h);
    }
    return i;
}

static void read_table(struct page_reader *r, size_t from, size_t to)
{
    r->d->n_tables++;
    size_t before = r->d->n_blocks, text_before = r->d->text.len;
    size_t i = table_head(r, from, to);
    if (i == from) { /* heads that came without numbers are rows */
        r->d->n_blocks = before;
        r->d->text.len = text_before;
    }
    for (; i < to; i++) {
        struct pdf_cell cells[PDF_MAX_CELLS];
        const struct pdf_line *l = &r->p->lines[i];
        if (skips(l)) {
            continue;
        }
        size_t n = pdf_cells(l, cells), blanks, next = next_line(r->p, i, &blanks);
        /* a label of two lines: the second begins in lower case */
        const struct pdf_line *below = next < to ? &r->p->lines[next] : NULL;
        if (n == 1 && below && blanks == 0 && is_lower(below->s[0]) && is_tabular(below)) {
            struct pdf_cell lower[PDF_MAX_CELLS];
            size_t n_lower = pdf_cells(below, lower);
            struct buf label = {0};
            put_cell(&label, cells[0].s, cells[0].n);
            buf_putc(&label, ' ');
            put_cell(&label, lower[0].s, lower[0].n);
            if (!label.failed) {
                lower[0].s = label.data;
                lower[0].n = (uint32_t)label.len;
                put_row(r, lower, n_lower, false);
            }
            r->d->failed |= label.failed;
            buf_fini(&label);
            i = next;
            continue;
        }
        put_row(r, cells, n, false);
    }
}

/* "(In millions, except per share data)" right above a table belongs to it. */
static bool is_unit_line(const struct page_reader *r, size_t i)
{
    const struct pdf_line *l = &r->p->lines[i];
    size_t blanks;
    if (l->s[0] != '(' || l->n > 100 || is_tabular(l)) {
        return false;
    }
    for (int k = 0; k < 3; k++) {
        i = next_line(r->p, i, &blanks);
        if (i >= r->p->n_lines || blanks > 2) {
            return false;
        }
        if (is_tabular(&r->p->lines[i])) {
            return is_table(r->p, i, table_end(r->p, i));
        }
        if (r->p->lines[i].s[0] != '(' && r->p->lines[i].indent < 30) {
            return false;
        }
    }
    return false;
}

/* "Three Months Ended", right above the heads of a table and far from the margin: the head of
 * several columns. */
static bool is_spanning_head(const struct page_reader *r, size_t i)
{
    const struct pdf_line *l = &r->p->lines[i];
    size_t blanks, next = next_line(r->p, i, &blanks);
    return l->indent >= 30 && l->n <= 60 && !all_capitals(l) && next < r->p->n_lines &&
           blanks <= 1 && is_tabular(&r->p->lines[next]) && is_head_line(&r->p->lines[next]) &&
           is_table(r->p, next, table_end(r->p, next));
}

/* ---- the page ---- */

static bool is_alone(const struct pdf_page *p, size_t i)
{
    bool above = i == 0 || skips(&p->lines[i - 1]);
    bool below = i + 1 >= p->n_lines || skips(&p->lines[i + 1]);
    return above && below;
}

static void text_line(struct page_reader *r, size_t i)
{
    const struct pdf_line *l = &r->p->lines[i];
    struct pdf_cell cells[PDF_MAX_CELLS];
    size_t n = pdf_cells(l, cells), mark = inline_bullet(l);
    if (n == 2 && is_bullet(&cells[0])) {
        mark = (size_t)(cells[1].s - l->s);
    }
    int level = heading_level(l, is_alone(r->p, i));
    if (level && !(mark && !starts_with_word(l, "item"))) {
        struct text_block like = {.kind = BLOCK_HEADING, .level = level};
        flush(r);
        doc_add(r->d, &like, l->s, l->n);
        return;
    }
    if (mark) {
        flush(r);
        r->like = (struct text_block){.kind = BLOCK_LIST_ITEM, .level = 1};
    }
    prose_line(r, l, l->s + mark, l->n - mark);
}

void pdf_page_blocks(struct doc *d, const struct pdf_page *p, const char *all, size_t n_all)
{
    struct page_reader r = {
        .d = d, .p = p, .all = all, .n_all = n_all, .like.kind = BLOCK_PARAGRAPH};
    for (size_t i = 0; i < p->n_lines; i++) {
        const struct pdf_line *l = &p->lines[i];
        if (skips(l)) {
            flush(&r);
            continue;
        }
        if (is_unit_line(&r, i)) {
            flush(&r);
            struct pdf_cell cell = {l->s, l->n, 0, 0};
            d->n_tables++; /* the number that the table below will have */
            put_row(&r, &cell, 1, true);
            d->n_tables--;
            continue;
        }
        size_t end = is_tabular(l) || is_spanning_head(&r, i) ? table_end(p, i) : i;
        if (end > i && is_table(p, i, end)) {
            flush(&r);
            read_table(&r, i, end);
            i = end - 1;
            continue;
        }
        text_line(&r, i);
    }
    flush(&r);
    buf_fini(&r.text);
}

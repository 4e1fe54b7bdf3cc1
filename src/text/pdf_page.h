/* From pdftotext's lines, placed by columns of characters, to blocks. */
#ifndef HEARTH_TEXT_PDF_PAGE_H
#define HEARTH_TEXT_PDF_PAGE_H

#include "text/extract_internal.h"

enum { PDF_MAX_CELLS = 24 };

struct pdf_cell {
    const char *s;
    uint32_t n;
    int32_t from, to; /* columns, in characters */
};

struct pdf_line {
    const char *s; /* without the spaces around it; n == 0: blank */
    uint32_t n;
    int32_t indent;
    bool dropped; /* a running header or footer, a page number */
};

struct pdf_page {
    struct pdf_line *lines;
    size_t n_lines;
};

/* Splits a line where three or more spaces (or a leader of dots) stand; "$ 12" , "12 %" and "( 3 )"
 * are one cell. Returns the count; the last cell takes what does not fit. */
size_t pdf_cells(const struct pdf_line *l, struct pdf_cell cells[PDF_MAX_CELLS]);

/* Do the lines hold two columns of prose side by side? */
bool pdf_two_columns(const struct pdf_page *p);

/* Adds the page's blocks. `all`: the whole text, asked whether a hyphenated word occurs. */
void pdf_page_blocks(struct doc *d, const struct pdf_page *p, const char *all, size_t n_all);

#endif

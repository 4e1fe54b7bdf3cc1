/* Extraction: a file's bytes -> clean UTF-8 text with its structure.
 *
 * The result is ONE text (what citations' byte ranges point into: "document text") and a list of
 * blocks over it, in reading order. HTML loses its boilerplate (navigation, scripts, headers and
 * footers), Markdown its markup but not its code, PDF is read by pdftotext in a child process
 * without network, with limits of memory, CPU time and output, page by page. Encodings are detected
 * and converted; text is NFC, line ends are \n, control characters but tab and newline are dropped.
 *
 * ERR_FORMAT: not what it claims to be (a PDF that is no PDF); ERR_UNSUPPORTED: a binary file of no
 * known kind, or a PDF without a text layer ("needs OCR"); ERR_LIMIT. */
#ifndef HEARTH_TEXT_EXTRACT_H
#define HEARTH_TEXT_EXTRACT_H

#include "base/mem.h"

enum block_kind {
    BLOCK_HEADING,
    BLOCK_PARAGRAPH,
    BLOCK_LIST_ITEM,
    BLOCK_CODE,
    BLOCK_TABLE_ROW,
    BLOCK_QUOTE
};

struct text_block {
    enum block_kind kind;
    uint32_t start, end; /* byte range in the document text */
    int32_t page;        /* from 1; 0 where the format has no pages */
    int32_t level;       /* headings: 1..6, TERM_LEVEL; list items: depth */
    int32_t table;       /* rows of one table share a number (from 1); 0 elsewhere */
    bool table_header;   /* repeated by the chunker in front of later rows */
};

/* A heading of this level is the term of a definition list: it stands over the list items (and
 * code and tables) behind it, up to the next paragraph or heading. */
enum { TERM_LEVEL = 7 };

enum file_kind { FILE_UNKNOWN, FILE_TEXT, FILE_MARKDOWN, FILE_HTML, FILE_PDF };

struct extracted {
    enum file_kind kind;
    char *text; /* in the arena, NUL-terminated */
    size_t n;
    struct text_block *blocks;
    size_t n_blocks;
    const char *title;     /* "" when there is none */
    const char *author;    /* "" */
    const char *language;  /* "" or BCP 47 from the document itself */
    int32_t n_pages;       /* 0 where the format has none */
    int32_t n_pages_empty; /* pages without text (need OCR) */
};

/* By name and content; FILE_UNKNOWN for what hearth does not read. */
enum file_kind file_kind_of(const char *path, const uint8_t *head, size_t n);
const char *file_kind_name(enum file_kind k); /* "html" */

/* Reads and extracts one file of at most max_bytes (0: 256 MiB). Everything in *out lives in
 * `arena`. */
MUST_CHECK enum status extract_file(const char *path, size_t max_bytes, struct arena *arena,
                                    struct extracted *out, struct err *e);

/* The same from memory (not for PDF): for tests, fuzzers and sources that are no files. */
MUST_CHECK enum status extract_memory(enum file_kind kind, const char *name, const uint8_t *data,
                                      size_t n, struct arena *arena, struct extracted *out,
                                      struct err *e);
#endif

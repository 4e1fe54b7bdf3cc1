/* What the extractors of the formats share: a document under construction. */
#ifndef HEARTH_TEXT_EXTRACT_INTERNAL_H
#define HEARTH_TEXT_EXTRACT_INTERNAL_H

#include "text/extract.h"

/* The document so far. Zeroed struct = empty; doc_fini frees it. An allocation that failed, or a
 * text above 4 GiB, sets `failed` and makes later calls do nothing: checked once at the end. */
struct doc {
    struct buf text;
    struct text_block *blocks;
    size_t n_blocks, cap_blocks;
    int32_t page;     /* given to new blocks */
    int32_t n_tables; /* numbers given out */
    int32_t n_pages, n_pages_empty;
    struct buf title, author, language;
    bool failed;
};

void doc_fini(struct doc *d);

/* Adds a block with the kind, level, table and table_header of *like. Code keeps its spaces and
 * lines; elsewhere a run of white space becomes one newline if it holds one, else one space. The
 * text is cleaned (see text_clean) and trimmed; an empty one adds nothing. */
void doc_add(struct doc *d, const struct text_block *like, const char *s, size_t n);

/* Puts s[0..n), cleaned and on one line, into *field if that is still empty. */
void doc_set(struct buf *field, const char *s, size_t n);

/* Appends s[0..n) as valid UTF-8 without control characters (but \n and \t), byte order marks, soft
 * hyphens and zero-width spaces; odd spaces become plain ones; the appended part is NFC. */
enum text_spaces { SPACES_KEEP, SPACES_LINES, SPACES_ONE_LINE };
void text_clean(struct buf *out, const char *s, size_t n, enum text_spaces how);

/* Bytes in any encoding -> UTF-8 with \n line ends, appended to *out. `declared`: a charset that
 * the document itself names, or NULL. Order: byte order mark, declared, valid UTF-8, UTF-16 by its
 * zeros, detection. ERR_UNSUPPORTED: a binary file. */
MUST_CHECK enum status text_decode(const char *name, const uint8_t *data, size_t n,
                                   const char *declared, struct buf *out, struct err *e);

/* The formats: UTF-8 in (but for HTML, whose head may declare its encoding, and PDF), blocks out.
 */
MUST_CHECK enum status extract_text(struct doc *d, const char *s, size_t n, struct err *e);
MUST_CHECK enum status extract_markdown(struct doc *d, const char *s, size_t n, struct err *e);
MUST_CHECK enum status extract_html(struct doc *d, const char *name, const char *s, size_t n,
                                    struct err *e);
MUST_CHECK enum status extract_pdf(struct doc *d, const char *path, size_t max_bytes,
                                   struct err *e);

/* The charset that an HTML or XML head declares, into out[64]; false when there is none. */
bool html_declared_charset(const uint8_t *data, size_t n, char out[64]);
/* Blocks of a piece of HTML inside another format: no title, no choice of the main part. */
MUST_CHECK enum status extract_html_fragment(struct doc *d, const char *s, size_t n, struct err *e);

#endif

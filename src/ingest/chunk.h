/* Chunking by structure: headings, paragraphs, list items, code blocks, table rows with their
 * header.
 *
 * Chunks are filled with whole blocks up to max_tokens of the embedding model's own tokens (heading
 * path included); a block that is longer is split at sentence ends, then at words. The next chunk
 * begins with the last sentences of the one before it, up to `overlap` tokens, unless a heading
 * stands between. A chunk never spans two headings of level 1 or 2, unless nothing but headings
 * stands between them. Together the chunks cover every block. A chunk that begins inside a table
 * has the column heads as last part of its heading path. */
#ifndef HEARTH_INGEST_CHUNK_H
#define HEARTH_INGEST_CHUNK_H

#include "engine/engine.h"
#include "store/documents.h"
#include "text/extract.h"

struct chunk_options {
    int max_tokens; /* 0: 256 */
    int overlap;    /* -1: none, 0: 50 */
};
/* Chunks (text: views into x->text; all else in the arena), in order. */
MUST_CHECK enum status chunk_document(const struct engine *embedder, const struct extracted *x,
                                      const struct chunk_options *opt, struct arena *arena,
                                      struct chunk **out, size_t *n_out, struct err *e);
/* What is embedded for a chunk: title > heading path, newline, (table header,) text. */
void chunk_embed_text(const char *title, const struct chunk *c, struct buf *out);
#endif

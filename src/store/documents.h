/* The catalogue: documents, their chunks and the state of indexing in one SQLite database, the
 * truth from which indexes are derived.
 *
 * Invariants:
 *  1. A document with its chunks and vectors appears, changes and disappears in one transaction.
 *  2. A chunk's byte range lies inside its document's stored text.
 *  3. Vectors were all made by the embedding model whose identity the store names; writing or
 * searching with another is ERR_MISMATCH.
 *  4. Every committed change of documents, chunks or vectors increases the generation; derived
 * files carry the generation they were made from.
 *
 * One process writes at a time (ERR_BUSY names the holder's pid where it can); any number read. A
 * struct store belongs to one thread. The schema's version is in user_version: an older one is
 * migrated with a backup beside it, a newer one is refused (ERR_MISMATCH). */
#ifndef HEARTH_STORE_DOCUMENTS_H
#define HEARTH_STORE_DOCUMENTS_H

#include "base/mem.h"

struct store;

struct store_options {
    bool write;       /* take the writer's lock */
    int busy_wait_ms; /* how long to wait for it; 0: 2000 */
};
/* `home`: the data directory; made when writing. ERR_NOT_FOUND when reading and there is no store:
 * the message says which command fills it. */
MUST_CHECK enum status store_open(const char *home, const struct store_options *opt,
                                  struct store **out, struct err *e);
void store_close(struct store *s);
const char *store_home(const struct store *s); /* as it was opened */

/* The embedding model of the store. Set by the first add; later calls compare (ERR_MISMATCH says
 * what to do). */
MUST_CHECK enum status store_set_embedder(struct store *s, const char *name, const char *identity,
                                          int64_t dim, struct err *e);
struct store_embedder_info {
    const char *name,
        *identity; /* "" when nothing was added yet; live until the next call on the store */
    int64_t dim;
};
MUST_CHECK enum status store_embedder(struct store *s, struct store_embedder_info *out,
                                      struct err *e);
int64_t store_generation(struct store *s);

struct document {
    int64_t id;
    const char *uri;    /* absolute path or URL: the key */
    const char *source; /* the root it came from: the absolute path that `add` was given */
    const char *title, *author, *language, *kind; /* kind: "html" */
    const char *sha256;                           /* of the file's bytes */
    int64_t size, mtime_ns, added_ns;
    int32_t n_pages;
    const char *text; /* document text: what byte ranges point into; NULL in listings */
    size_t text_len;
    int64_t n_chunks;
};

struct chunk {
    int64_t id;
    int64_t document_id;
    int32_t index;          /* 0.. in the document */
    const char *heading;    /* heading path, "Chapter 5 > Data Definition" */
    uint32_t start, end;    /* byte range in the document text */
    int32_t page, page_end; /* of its first and last byte; 0: none */
    int32_t n_tokens;       /* of the embedding model */
    const char *text;       /* document text [start, end) */
    size_t text_len;
    const char *embed_hash; /* of what was embedded, for store_find_vector; NULL: none. Only read by
                               store_put */
};

/* Adds or replaces by uri, with chunks and their vectors ([n_chunks][dim] floats, normalised), in
 * one transaction; *id is the document's. */
MUST_CHECK enum status store_put(struct store *s, const struct document *doc,
                                 const struct chunk *chunks, size_t n_chunks, const float *vectors,
                                 int64_t *id, struct err *e);
MUST_CHECK enum status store_delete(struct store *s, int64_t document_id, struct err *e);
/* Only the times and size of an unchanged document. */
MUST_CHECK enum status store_touch(struct store *s, int64_t document_id, int64_t size,
                                   int64_t mtime_ns, struct err *e);

/* Several writes in one transaction: all of them or, after store_rollback or a kill, none. A
 * failure inside undoes only its own write, but for a full disk, which undoes the batch. */
MUST_CHECK enum status store_begin(struct store *s, struct err *e);
MUST_CHECK enum status store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);

/* Results live in `arena`. ERR_NOT_FOUND when there is none. */
MUST_CHECK enum status store_document(struct store *s, int64_t id, bool with_text,
                                      struct arena *arena, struct document *out, struct err *e);
MUST_CHECK enum status store_document_by_uri(struct store *s, const char *uri, struct arena *arena,
                                             struct document *out, struct err *e);
MUST_CHECK enum status store_chunk(struct store *s, int64_t chunk_id, struct arena *arena,
                                   struct chunk *out, struct err *e);
MUST_CHECK enum status store_chunk_at(struct store *s, int64_t document_id, int32_t index,
                                      struct arena *arena, struct chunk *out, struct err *e);
/* Float vector of a chunk into out[dim]. */
MUST_CHECK enum status store_vector(struct store *s, int64_t chunk_id, float *out, int64_t dim,
                                    struct err *e);
/* The vector of any chunk with this embed_hash: equal passages need not be embedded again. */
MUST_CHECK enum status store_find_vector(struct store *s, const char *embed_hash, float *out,
                                         int64_t dim, struct err *e);
/* Calls visit for every chunk's vector in ascending chunk id. */
MUST_CHECK enum status store_each_vector(struct store *s,
                                         enum status (*visit)(void *ctx, int64_t chunk_id,
                                                              const float *vector, int64_t dim),
                                         void *ctx, struct err *e);
/* Calls visit for every document (without text), ordered by uri; `source` NULL: all. visit returns
 * OK to go on. */
MUST_CHECK enum status store_each_document(struct store *s, const char *source,
                                           enum status (*visit)(void *ctx,
                                                                const struct document *doc),
                                           void *ctx, struct err *e);

/* Problems with files, kept so that `status` can tell: one row per uri, gone when the file is added
 * or removed. */
MUST_CHECK enum status store_put_failure(struct store *s, const char *uri, const char *source,
                                         const struct err *why, struct err *e);
MUST_CHECK enum status store_clear_failure(struct store *s, const char *uri, struct err *e);
MUST_CHECK enum status store_each_failure(struct store *s,
                                          enum status (*visit)(void *ctx, const char *uri,
                                                               const char *code,
                                                               const char *message, int64_t at_ns),
                                          void *ctx, struct err *e);

struct store_stats {
    int64_t n_documents, n_chunks, n_pages, text_bytes, n_failures, n_sources;
    int64_t db_bytes, generation, last_change_ns;
};
MUST_CHECK enum status store_stats(struct store *s, struct store_stats *out, struct err *e);
MUST_CHECK enum status store_each_source(struct store *s,
                                         enum status (*visit)(void *ctx, const char *source,
                                                              int64_t n_documents,
                                                              int64_t n_chunks),
                                         void *ctx, struct err *e);
/* PRAGMA quick_check and the invariants above; ERR_FORMAT names what is wrong. */
MUST_CHECK enum status store_verify(struct store *s, struct err *e);
#endif

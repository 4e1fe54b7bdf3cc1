/* Sync: bring the store in line with files and folders.
 *
 * For every path: new files are added, changed files replaced, files that are gone removed,
 * unchanged ones (same size and mtime, or same SHA-256) skipped. A document is written in one
 * transaction, several may share one, so that ctrl-C or a kill loses at most the few under way and
 * the next sync goes on from there. A file that fails is recorded with its reason and the rest goes
 * on; it is tried again by the next sync.
 *
 * A document is removed when it lies under one of the given paths and is no longer there; what
 * other paths brought stays. A folder that cannot be read hides its documents, it does not remove
 * them. A given path that is gone itself takes its documents with it. Hidden files are passed over,
 * links to folders not followed.
 *
 * Passages that the store already has a vector for (moved files, edited ones) are not embedded
 * again. */
#ifndef HEARTH_INGEST_SYNC_H
#define HEARTH_INGEST_SYNC_H

#include "ingest/chunk.h"

enum sync_action {
    SYNC_ADDED,
    SYNC_CHANGED,
    SYNC_SKIPPED,
    SYNC_REMOVED,
    SYNC_FAILED,
    SYNC_IGNORED
};
const char *sync_action_name(enum sync_action a); /* "added" */
struct sync_event {
    enum sync_action action;
    const char *uri;
    const struct err *why;   /* SYNC_FAILED */
    int64_t n_done, n_total; /* files seen so far, files to see */
    int64_t n_chunks_done;
};
struct sync_options {
    struct chunk_options chunk;
    bool dry_run; /* nothing is written, extracted or embedded; store and embedder may be NULL */
    void (*on_event)(void *ctx, const struct sync_event *ev); /* may be NULL */
    /* Between events, after every call of the model; a long document takes many. May be NULL. */
    void (*on_embedded)(void *ctx, const char *uri, int64_t n_chunks_embedded);
    void *ctx;
    const volatile bool *cancel;
};
struct sync_report {
    int64_t n_added, n_changed, n_skipped, n_removed, n_failed,
        n_ignored; /* ignored: kinds that hearth does not read */
    int64_t n_chunks, n_tokens, n_pages, n_truncated, text_bytes;
    int64_t n_reused; /* of the chunks: with a vector that the store had already */
    double parse_ms, chunk_ms, embed_ms, store_ms, total_ms;
};
/* ERR_NOT_FOUND: a path does not exist, or not one readable file lies under it (the other paths are
 * done all the same). ERR_CANCELLED: stopped by `cancel`; everything committed so far stays. *out
 * tells what was done in either case and after any failure. */
MUST_CHECK enum status sync_paths(struct store *s, struct engine *embedder,
                                  const char *const *paths, size_t n_paths,
                                  const struct sync_options *opt, struct sync_report *out,
                                  struct err *e);
#endif

/* Sync: bring the store in line with files and folders.
 *
 * For every path: new files are added, changed files replaced, files that are gone removed,
 * unchanged ones (same size and mtime, or same SHA-256) skipped. Each document is one transaction,
 * so that ctrl-C or a kill loses at most the one under way and the next sync goes on from there. A
 * file that fails is recorded with its reason and the rest goes on. */
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
    bool dry_run;
    void (*on_event)(void *ctx, const struct sync_event *ev); /* may be NULL */
    void *ctx;
    const volatile bool *cancel;
};
struct sync_report {
    int64_t n_added, n_changed, n_skipped, n_removed, n_failed,
        n_ignored; /* ignored: kinds that hearth does not read */
    int64_t n_chunks, n_tokens, n_pages, n_truncated, text_bytes;
    double parse_ms, chunk_ms, embed_ms, store_ms, total_ms;
};
/* ERR_NOT_FOUND: a path does not exist, or not one readable file lies under it. ERR_CANCELLED:
 * stopped by `cancel`; everything committed so far stays. */
MUST_CHECK enum status sync_paths(struct store *s, struct engine *embedder,
                                  const char *const *paths, size_t n_paths,
                                  const struct sync_options *opt, struct sync_report *out,
                                  struct err *e);
#endif

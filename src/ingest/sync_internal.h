/* What sync.c and sync_plan.c share: what is in the store, what is on disk. */
#ifndef HEARTH_INGEST_SYNC_INTERNAL_H
#define HEARTH_INGEST_SYNC_INTERNAL_H

#include "base/map.h"
#include "ingest/sync.h"

struct known { /* a document of the store */
    int64_t id, size, mtime_ns;
    const char *uri, *source, *sha256;
    bool seen; /* still there, on disk */
};

struct root {         /* a path that was given */
    const char *path; /* absolute, without symbolic links */
    bool gone;
    bool shared; /* some of its files were listed for another path already */
    int64_t n_read, n_ignored, n_removed;
};

struct listed { /* a file on disk */
    const char *path;
    struct root *root;
    int64_t size, mtime_ns;
    const char *failed; /* why it cannot be read, or NULL */
    bool dangling;      /* because it is a link to nothing */
};

struct plan {
    struct arena arena; /* owns all strings and lists */
    char *home;         /* the store's own folder: its files are no documents; NULL: none */
    struct root *roots;
    size_t n_roots;
    struct known *known;
    size_t n_known;
    struct map known_by_uri;
    struct listed *files;
    size_t n_files;
    size_t n_unreadable; /* of them: folders and files that may hide documents */
    struct map listed_by_path;
};

/* Lists the files under `paths` and the documents of the store (NULL: none). ERR_NOT_FOUND when a
 * path is neither on disk nor the source of any document. */
MUST_CHECK enum status plan_init(struct plan *p, struct store *s, const char *const *paths,
                                 size_t n_paths, struct err *e);
void plan_fini(struct plan *p);
struct known *plan_known(struct plan *p, const char *uri); /* NULL: not in the store */
/* The given path that `uri` lies under, or NULL. */
struct root *plan_root_of(struct plan *p, const char *uri);
/* Whether `uri` may still be there, in a folder that could not be read. */
bool plan_hidden(const struct plan *p, const char *uri);
#endif

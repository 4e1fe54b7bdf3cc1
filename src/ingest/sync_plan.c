/* The two lists that sync compares: the files under the given paths, and the documents of the
 * store. Both are read once at the start, so that later decisions need neither.
 *
 * A path is made absolute and free of symbolic links: the same folder under two names is one
 * source. What lies under two given paths belongs to the first. */
#include "ingest/sync_internal.h"

#include "base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, NULL, "no memory for the list of files");
}

static bool under(const char *uri, const char *folder)
{
    size_t n = strlen(folder);
    if (n && folder[n - 1] == '/') { /* the root folder */
        n--;
    }
    return strncmp(uri, folder, n) == 0 && (uri[n] == '/' || uri[n] == 0);
}

/* ---- the given paths ---- */

/* Absolute name of a path that is not there: its folder's real name, if that is, and its own. */
static char *name_of_gone(struct arena *a, const char *path)
{
    char *copy = arena_strdup(a, path);
    if (!copy) {
        return NULL;
    }
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/') {
        copy[--n] = 0;
    }
    char *slash = strrchr(copy, '/');
    const char *base = slash ? slash + 1 : copy;
    if (slash) {
        *slash = 0;
    }
    const char *folder = !slash ? "." : *copy ? copy : "/";
    char *real = realpath(folder, NULL);
    char *out;
    if (real) {
        out = arena_printf(a, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base);
    } else {
        out = arena_strdup(a, path);
    }
    free(real);
    return out;
}

static enum status add_root(struct plan *p, const char *path, struct err *e)
{
    struct root *r = &p->roots[p->n_roots];
    char *real = realpath(path, NULL);
    int why = errno;
    *r = (struct root){0};
    if (real) {
        r->path = arena_strdup(&p->arena, real);
    } else if (why == ENOENT || why == ENOTDIR) {
        r->path = name_of_gone(&p->arena, path);
        r->gone = true;
    } else {
        return err_errno(e, why, path, "cannot read");
    }
    free(real);
    if (!r->path) {
        return no_memory(e);
    }
    p->n_roots++;
    return OK;
}

/* ---- the store ---- */

struct collector {
    struct plan *plan;
    size_t cap;
    bool failed;
};

static enum status collect_known(void *ctx, const struct document *d)
{
    struct collector *c = ctx;
    struct plan *p = c->plan;
    if (p->n_known == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256;
        struct known *grown = realloc(p->known, cap * sizeof *grown);
        if (!grown) {
            c->failed = true;
            return ERR_MEMORY;
        }
        p->known = grown;
        c->cap = cap;
    }
    struct known k = {.id = d->id,
                      .size = d->size,
                      .mtime_ns = d->mtime_ns,
                      .uri = arena_strdup(&p->arena, d->uri),
                      .source = arena_strdup(&p->arena, d->source),
                      .sha256 = arena_strdup(&p->arena, d->sha256)};
    if (!k.uri || !k.source || !k.sha256 ||
        map_put(&p->known_by_uri, k.uri, strlen(k.uri), (uint32_t)p->n_known)) {
        c->failed = true;
        return ERR_MEMORY;
    }
    p->known[p->n_known++] = k;
    return OK;
}

static enum status list_known(struct plan *p, struct store *s, struct err *e)
{
    struct collector c = {.plan = p};
    enum status st = s ? store_each_document(s, NULL, collect_known, &c, e) : OK;
    return st && c.failed ? no_memory(e) : st;
}

/* ---- the disk ---- */

struct walker {
    struct plan *plan;
    struct root *root;
    size_t *cap;
    bool failed;
};

static enum status collect_file(void *ctx, const struct file_entry *entry)
{
    struct walker *w = ctx;
    struct plan *p = w->plan;
    uint32_t at;
    struct stat st;
    if (p->home && under(entry->path, p->home)) {
        return OK;
    }
    if (map_get(&p->listed_by_path, entry->path, strlen(entry->path), &at)) {
        w->root->shared = true;
        return OK;
    }
    if (entry->failed && lstat(entry->path, &st) != 0 && errno == ENOENT) {
        return OK; /* gone since its folder was read */
    }
    if (p->n_files == *w->cap) {
        size_t cap = *w->cap ? *w->cap * 2 : 256;
        struct listed *grown = realloc(p->files, cap * sizeof *grown);
        if (!grown) {
            w->failed = true;
            return ERR_MEMORY;
        }
        p->files = grown;
        *w->cap = cap;
    }
    struct listed f = {.path = arena_strdup(&p->arena, entry->path),
                       .root = w->root,
                       .size = entry->size,
                       .mtime_ns = entry->mtime_ns};
    f.failed = entry->failed ? arena_strdup(&p->arena, entry->failed) : NULL;
    f.dangling = entry->failed && stat(entry->path, &st) != 0 && errno == ENOENT;
    if (!f.path || (entry->failed && !f.failed) || p->n_files == UINT32_MAX ||
        map_put(&p->listed_by_path, f.path, strlen(f.path), (uint32_t)p->n_files)) {
        w->failed = true;
        return ERR_MEMORY;
    }
    p->files[p->n_files++] = f;
    p->n_unreadable += f.failed && !f.dangling;
    return OK;
}

static enum status list_root(struct plan *p, struct root *r, size_t *cap, struct err *e)
{
    struct walker w = {.plan = p, .root = r, .cap = cap};
    if (r->gone) {
        for (size_t i = 0; i < p->n_known; i++) {
            if (under(p->known[i].uri, r->path)) {
                return OK; /* it was there once: its documents will go */
            }
        }
        return err_set(e, ERR_NOT_FOUND, r->path, "no such file or folder");
    }
    enum status st = file_walk(r->path, collect_file, &w, e);
    return st && w.failed ? no_memory(e) : st;
}

/* ---- both ---- */

enum status plan_init(struct plan *p, struct store *s, const char *const *paths, size_t n_paths,
                      struct err *e)
{
    size_t cap = 0;
    *p = (struct plan){0};
    p->home = s ? realpath(store_home(s), NULL) : NULL;
    p->roots = arena_array(&p->arena, n_paths, sizeof *p->roots);
    enum status st = !p->roots || map_init(&p->known_by_uri, 0) || map_init(&p->listed_by_path, 0)
                         ? no_memory(e)
                         : OK;
    st = st ? st : list_known(p, s, e);
    for (size_t i = 0; !st && i < n_paths; i++) {
        st = add_root(p, paths[i], e);
    }
    for (size_t i = 0; !st && i < p->n_roots; i++) {
        st = list_root(p, &p->roots[i], &cap, e);
    }
    return st;
}

void plan_fini(struct plan *p)
{
    map_fini(&p->known_by_uri);
    map_fini(&p->listed_by_path);
    free(p->home);
    free(p->known);
    free(p->files);
    arena_reset(&p->arena);
    *p = (struct plan){0};
}

struct known *plan_known(struct plan *p, const char *uri)
{
    uint32_t at;
    return map_get(&p->known_by_uri, uri, strlen(uri), &at) ? &p->known[at] : NULL;
}

struct root *plan_root_of(struct plan *p, const char *uri)
{
    for (size_t i = 0; i < p->n_roots; i++) {
        if (under(uri, p->roots[i].path)) {
            return &p->roots[i];
        }
    }
    return NULL;
}

bool plan_hidden(const struct plan *p, const char *uri)
{
    for (size_t i = 0; p->n_unreadable > 0 && i < p->n_files; i++) {
        const struct listed *f = &p->files[i];
        if (f->failed && !f->dangling && under(uri, f->path)) {
            return true;
        }
    }
    return false;
}

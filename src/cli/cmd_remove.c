/* hearth remove: take documents out of the library, and forget the files below a path that could
 * not be read. */
#include "cli/cli.h"
#include "store/documents.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct removal {
    struct cli *c;
    const char *path; /* NULL: everything */
    int64_t *ids;
    size_t n, cap;
    struct failure *failures; /* the last one first */
};
struct failure {
    const char *uri;
    struct failure *next;
};
struct removed {
    int64_t n_documents, n_failures;
};

static bool is_under(const struct removal *r, const char *uri)
{
    size_t n = r->path ? strlen(r->path) : 0;
    return !r->path || strcmp(uri, r->path) == 0 ||
           (strncmp(uri, r->path, n) == 0 && uri[n] == '/');
}

/* Removing while a listing runs would pull the rows from under it: ids first. */
static enum status take_document(void *ctx, const struct document *doc)
{
    struct removal *r = ctx;
    if (!is_under(r, doc->uri) && strcmp(doc->source, r->path) != 0) {
        return OK;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 256;
        int64_t *grown = arena_array(&r->c->arena, cap, sizeof *grown);
        if (!grown) {
            return ERR_MEMORY;
        }
        if (r->n) {
            memcpy(grown, r->ids, r->n * sizeof *grown);
        }
        r->ids = grown;
        r->cap = cap;
    }
    r->ids[r->n++] = doc->id;
    return OK;
}

static enum status take_failure(void *ctx, const char *uri, const char *code, const char *message,
                                int64_t at_ns)
{
    struct removal *r = ctx;
    (void)code;
    (void)message;
    (void)at_ns;
    if (!is_under(r, uri)) {
        return OK;
    }
    struct failure *f = arena_array(&r->c->arena, 1, sizeof *f);
    const char *copy = arena_strdup(&r->c->arena, uri);
    if (!f || !copy) {
        return ERR_MEMORY;
    }
    *f = (struct failure){copy, r->failures};
    r->failures = f;
    return OK;
}

/* As the store names it: absolute, without a slash at the end; the file itself may be gone. */
static const char *absolute(struct cli *c, const char *path)
{
    char full[PATH_MAX];
    if (realpath(path, full)) {
        return arena_strdup(&c->arena, full);
    }
    char here[PATH_MAX];
    const char *p = path[0] == '/' || !getcwd(here, sizeof here)
                        ? arena_strdup(&c->arena, path)
                        : arena_printf(&c->arena, "%s/%s", here, path);
    size_t n = p ? strlen(p) : 0;
    while (n > 1 && p[n - 1] == '/') {
        n--;
    }
    return p ? arena_strndup(&c->arena, p, n) : NULL;
}

static enum status remove_path(struct cli *c, struct store *store, const char *path,
                               struct removed *done, struct err *e)
{
    struct removal r = {.c = c, .path = path ? absolute(c, path) : NULL};
    if (path && !r.path) {
        return err_set(e, ERR_MEMORY, path, "no memory for its name");
    }
    enum status s = store_each_document(store, NULL, take_document, &r, e);
    for (size_t i = 0; !s && i < r.n; i++) {
        s = cli_cancel ? err_set(e, ERR_CANCELLED, NULL, "stopped")
                       : store_delete(store, r.ids[i], e);
        done->n_documents += s ? 0 : 1;
    }
    s = s ? s : store_each_failure(store, take_failure, &r, e);
    for (const struct failure *f = r.failures; !s && f; f = f->next) {
        s = store_clear_failure(store, f->uri, e);
        done->n_failures += s ? 0 : 1;
    }
    if (!s && path && r.n == 0 && !r.failures) {
        (void)err_set(e, ERR_NOT_FOUND, r.path, "no document of this name or below it");
        s = cli_hint(c, e, "hearth status lists the sources");
    }
    return s;
}

enum status cmd_remove(struct cli *c, struct err *e)
{
    struct store *store = NULL;
    struct store_options opt = {.write = true};
    struct removed done = {0};
    bool all = c->values[O_ALL].flag;
    if (all == (c->n_words > 0)) {
        return err_set(e, ERR_USAGE, "remove", "needs either files or folders, or --all");
    }
    struct store *probe = NULL; /* opening for writing would make a library that is not there */
    enum status s = store_open(c->home, NULL, &probe, e);
    store_close(probe);
    if (!s) {
        s = store_open(c->home, &opt, &store, e);
    }
    for (size_t i = 0; !s && i < (all ? 1 : c->n_words); i++) {
        s = remove_path(c, store, all ? NULL : c->words[i], &done, e);
    }
    store_close(store);
    if (!s && c->json) {
        s = out_json(c,
                     json_pack("{s:I, s:I}", "removed", (json_int_t)done.n_documents, "forgotten",
                               (json_int_t)done.n_failures),
                     e);
    } else if (!s) {
        printf("%lld document%s removed", (long long)done.n_documents,
               done.n_documents == 1 ? "" : "s");
        if (done.n_failures) {
            printf(", %lld failure%s forgotten", (long long)done.n_failures,
                   done.n_failures == 1 ? "" : "s");
        }
        printf("\n");
    }
    return s;
}

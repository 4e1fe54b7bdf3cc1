/* hearth remove: take documents out of the library. */
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
};

/* Removing while a listing runs would pull the rows from under it: ids first. */
static enum status take_document(void *ctx, const struct document *doc)
{
    struct removal *r = ctx;
    size_t n = r->path ? strlen(r->path) : 0;
    bool under = !r->path || strcmp(doc->uri, r->path) == 0 || strcmp(doc->source, r->path) == 0 ||
                 (strncmp(doc->uri, r->path, n) == 0 && doc->uri[n] == '/');
    if (!under) {
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
                               int64_t *n_removed, struct err *e)
{
    struct removal r = {.c = c, .path = path ? absolute(c, path) : NULL};
    if (path && !r.path) {
        return err_set(e, ERR_MEMORY, path, "no memory for its name");
    }
    enum status s = store_each_document(store, NULL, take_document, &r, e);
    for (size_t i = 0; !s && i < r.n; i++) {
        s = cli_cancel ? err_set(e, ERR_CANCELLED, NULL, "stopped")
                       : store_delete(store, r.ids[i], e);
        *n_removed += s ? 0 : 1;
    }
    if (!s && path && r.n == 0) {
        (void)err_set(e, ERR_NOT_FOUND, r.path, "no document of this name or below it");
        s = cli_hint(c, e, "hearth status lists the sources");
    }
    return s;
}

enum status cmd_remove(struct cli *c, struct err *e)
{
    struct store *store = NULL;
    struct store_options opt = {.write = true};
    int64_t n = 0;
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
        s = remove_path(c, store, all ? NULL : c->words[i], &n, e);
    }
    store_close(store);
    if (!s && c->json) {
        s = out_json(c, json_pack("{s:I}", "removed", (json_int_t)n), e);
    } else if (!s) {
        printf("%lld document%s removed\n", (long long)n, n == 1 ? "" : "s");
    }
    return s;
}

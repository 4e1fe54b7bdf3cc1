/* Models by name: a path, or a name in one of the models folders. A name may lack the end of the
 * file's name ("SmolLM2-135M-Instruct"), as long as one file fits. */
#include "cli/cli.h"
#include "base/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { N_FOLDERS = 3 };

static void folders(struct cli *c, const char *out[N_FOLDERS])
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    out[0] = "models";
    out[1] = arena_printf(&c->arena, "%s/models", c->home);
    out[2] = NULL;
    if (n > 0) {
        exe[n] = 0;
        for (int up = 0; up < 2; up++) {
            char *slash = strrchr(exe, '/');
            if (slash) {
                *slash = 0;
            }
        }
        out[2] = arena_printf(&c->arena, "%s/models", exe);
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcasecmp(s + n - m, end) == 0;
}

/* A GGUF file (of a split one only the first part) or a directory with config.json. */
static bool is_model(struct cli *c, const char *path)
{
    if (!file_is_dir(path)) {
        const char *of = strstr(path, "-of-");
        bool later_part = of && of - path > 5 && strncmp(of - 5, "00001", 5) != 0;
        return ends_with(path, ".gguf") && !later_part;
    }
    const char *config = arena_printf(&c->arena, "%s/config.json", path);
    return config && file_exists(config);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static enum status each_in(struct cli *c, const char *folder,
                           enum status (*visit)(void *ctx, const char *path), void *ctx,
                           struct err *e)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, visible, alphasort);
    enum status s = OK;
    for (int i = 0; i < n; i++) {
        const char *path = arena_printf(&c->arena, "%s/%s", folder, names[i]->d_name);
        if (!s && !path) {
            s = err_set(e, ERR_MEMORY, folder, "no memory for a name");
        }
        if (!s && is_model(c, path)) {
            s = visit(ctx, path);
        }
        free(names[i]);
    }
    free(names);
    return s;
}

/* ./models and ../models beside the executable are often the same folder. */
static bool same_folder(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

enum status model_path_each(struct cli *c, enum status (*visit)(void *ctx, const char *path),
                            void *ctx, struct err *e)
{
    const char *dirs[N_FOLDERS];
    folders(c, dirs);
    enum status s = OK;
    for (int i = 0; !s && i < N_FOLDERS; i++) {
        bool seen = !dirs[i];
        for (int k = 0; k < i && !seen; k++) {
            seen = dirs[k] && same_folder(dirs[i], dirs[k]);
        }
        s = seen ? OK : each_in(c, dirs[i], visit, ctx, e);
    }
    return s;
}

struct search {
    const char *name;
    const char *exact, *prefix;
    const char *other; /* a second file that the prefix fits */
};

static enum status look(void *ctx, const char *path)
{
    struct search *f = ctx;
    const char *base = strrchr(path, '/') + 1;
    size_t n = strlen(f->name);
    bool exact = strcmp(base, f->name) == 0;
    bool prefix = n > 0 && strncasecmp(base, f->name, n) == 0;
    if (exact && !f->exact) {
        f->exact = path;
    } else if (prefix && !f->prefix) {
        f->prefix = path;
    } else if (prefix && !f->other && strcmp(strrchr(f->prefix, '/') + 1, base) != 0) {
        f->other = path;
    }
    return OK;
}

enum status model_path(struct cli *c, const char *name, const char **out, struct err *e)
{
    if (file_exists(name)) {
        *out = name;
        return OK;
    }
    if (strchr(name, '/') || !*name) {
        (void)err_set(e, ERR_NOT_FOUND, name, "no such model file or directory");
        return cli_hint(c, e, "`hearth models` lists what is in models/");
    }
    struct search f = {.name = name};
    enum status s = model_path_each(c, look, &f, e);
    if (s) {
        return s;
    }
    if (f.exact || (f.prefix && !f.other)) {
        *out = f.exact ? f.exact : f.prefix;
        return OK;
    }
    if (f.other) {
        (void)err_set(e, ERR_USAGE, name, "fits more than one model: %s and %s", f.prefix, f.other);
        return cli_hint(c, e, "give the whole name of the file");
    }
    const char *dirs[N_FOLDERS];
    folders(c, dirs);
    (void)err_set(e, ERR_NOT_FOUND, name,
                  "no such model; looked for a file or directory of that "
                  "name here and in %s, %s%s%s",
                  dirs[0], dirs[1] ? dirs[1] : "", dirs[2] ? ", " : "", dirs[2] ? dirs[2] : "");
    return cli_hint(c, e,
                    "`hearth models` lists what is there, `make models` in the source "
                    "folder brings the two demo models, --model FILE names another");
}

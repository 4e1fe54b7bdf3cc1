/* Data in: standard input or a file, within --max-input. */
#include "cli/cli.h"
#include "base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum status read_stdin(size_t max_bytes, struct buf *out, struct err *e)
{
    size_t before = out->len;
    for (;;) {
        if (!buf_reserve(out, 65536)) {
            return err_set(e, ERR_MEMORY, "standard input", "no memory to read it");
        }
        ssize_t n = read(STDIN_FILENO, out->data + out->len, 65536);
        if (n < 0 && errno == EINTR) {
            if (cli_cancel) {
                return err_set(e, ERR_CANCELLED, NULL, "stopped");
            }
            continue;
        }
        if (n < 0) {
            return err_errno(e, errno, "standard input", "cannot read");
        }
        if (n == 0) {
            out->data[out->len] = 0;
            return OK;
        }
        out->len += (size_t)n;
        if (out->len - before > max_bytes) {
            return err_set(e, ERR_LIMIT, "standard input",
                           "longer than the limit of %zu MB (--max-input)", max_bytes / 1000000);
        }
    }
}

enum status input_read(struct cli *c, const char *path, struct buf *out, struct err *e)
{
    size_t max_bytes = (size_t)c->values[O_MAX_INPUT].i * 1000000;
    if (path && strcmp(path, "-") != 0) {
        return file_read(path, max_bytes, out, e);
    }
    if (isatty(STDIN_FILENO)) {
        ui_say(&c->ui, "reading from the terminal; ctrl-D ends the text");
    }
    return read_stdin(max_bytes, out, e);
}

static bool blank(const char *line, size_t n)
{
    return strspn(line, " \t\r\n") == n;
}

enum status input_each_line(struct cli *c,
                            enum status (*take)(void *ctx, const char *line, size_t n,
                                                int64_t number, struct err *e),
                            void *ctx, struct err *e)
{
    char *line = NULL;
    size_t cap = 0;
    size_t limit = (size_t)c->values[O_MAX_INPUT].i * 1000000;
    enum status s = OK;
    for (int64_t number = 1; !s; number++) {
        errno = 0;
        ssize_t n = getline(&line, &cap, stdin);
        if (cli_cancel) {
            s = err_set(e, ERR_CANCELLED, NULL, "stopped");
        } else if (n < 0 && ferror(stdin)) {
            s = err_errno(e, errno, "standard input", "cannot read");
        } else if (n < 0) {
            break;
        } else if ((size_t)n > limit) {
            s = err_set(e, ERR_LIMIT, "standard input",
                        "line %lld is longer than the limit of %zu MB (--max-input)",
                        (long long)number, limit / 1000000);
        } else if (!blank(line, (size_t)n)) {
            s = take(ctx, line, (size_t)n, number, e);
        }
        if (!s && ferror(stdout)) {
            break; /* nobody reads any more: out_flush says so */
        }
    }
    free(line);
    return s;
}

enum status input_json(const char *text, size_t n, const char *place, json_t **out, struct err *e)
{
    json_error_t why;
    json_t *j =
        json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    if (!j) {
        return err_set(e, ERR_FORMAT, place, "no valid JSON at column %d: %s", why.column,
                       why.text);
    }
    *out = j;
    return OK;
}

/* Data on stdout, and the one place that prints errors. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

static int to_stdout(const char *data, size_t n, void *ctx)
{
    (void)ctx;
    return fwrite(data, 1, n, stdout) == n ? 0 : -1;
}

enum status out_json(struct cli *c, json_t *value, struct err *e)
{
    if (!value) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the output");
    }
    (void)c;
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(9);
    flags |= isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
    int failed = json_dump_callback(value, to_stdout, NULL, flags);
    json_decref(value);
    if (failed && !ferror(stdout)) { /* lost writes are found by out_flush */
        return err_set(e, ERR_INTERNAL, NULL, "the output cannot be written as JSON");
    }
    (void)fputc('\n', stdout);
    return OK;
}

json_t *out_string(const char *s, size_t n)
{
    json_t *j = json_stringn(s, n);
    if (j) {
        return j;
    }
    struct buf b = {0};
    while (n) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len =
            utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &c);
        if (len > 0) {
            buf_put(&b, s, (size_t)len);
        } else {
            buf_puts(&b, "\xef\xbf\xbd");
            len = 1;
        }
        s += len;
        n -= (size_t)len;
    }
    j = b.failed ? NULL : json_stringn(b.data ? b.data : "", b.len);
    buf_fini(&b);
    return j;
}

json_t *out_text(const char *s)
{
    return s ? out_string(s, strlen(s)) : json_null();
}

/* What to do, when the place that failed had nothing better to say. */
static const char *general_hint(const struct cli *c, enum status code)
{
    static const char *const hints[STATUS_COUNT] = {
        [ERR_NOT_FOUND] = "check the name; `hearth status` and `hearth models` list what is there",
        [ERR_IO] = "check the permissions and the disk, then run the same command again",
        [ERR_NO_SPACE] = "free some space, then run the same command again: what was committed is "
                         "kept",
        [ERR_FORMAT] = "the file is damaged or something else than its name says: get it again",
        [ERR_UNSUPPORTED] = "use another file or model of a kind that hearth reads",
        [ERR_LIMIT] = "give less at once, or raise the limit: `hearth config` lists the limits",
        [ERR_MEMORY] = "close other programs, take a smaller model, or a smaller --ctx",
        [ERR_BUSY] = "wait for the other process to end, then run the same command again",
        [ERR_MISMATCH] = "use the model that the index was made with, or another --home",
        [ERR_CONTEXT] = "shorten the prompt, ask for fewer tokens, or raise --ctx",
        [ERR_CANCELLED] = "run the same command again to go on: what was committed is kept",
        [ERR_INTERNAL] = "this is a mistake of hearth's: please report it with the command line",
    };
    return c->hint ? c->hint : hints[code];
}

void out_error(const struct cli *c, const struct err *e)
{
    const struct status_info *info = status_info(e->code);
    const char *hint = general_hint(c, e->code);
    char usage[128];
    if (!hint && e->code == ERR_USAGE) {
        (void)snprintf(usage, sizeof usage, "hearth %s%s shows what is understood",
                       c->command ? c->command->name : "", c->command ? " --help" : "help");
        hint = usage;
    }
    const char *message = e->message[0] ? e->message : info->text;
    (void)fflush(stdout);
    (void)fprintf(stderr, "%shearth: %s%s%s%s%s\n", ui_style(&c->ui, stderr, UI_RED),
                  e->code == ERR_CANCELLED ? "" : "error: ", ui_style(&c->ui, stderr, UI_RESET),
                  e->place, e->place[0] ? ": " : "", message);
    if (hint) {
        (void)fprintf(stderr, "%s        %s%s\n", ui_style(&c->ui, stderr, UI_DIM), hint,
                      ui_style(&c->ui, stderr, UI_RESET));
    }
    if (c->json) {
        json_t *j =
            json_pack("{s:{s:s, s:o, s:o, s:o}}", "error", "code", info->name, "place",
                      out_text(e->place), "message", out_text(message), "hint", out_text(hint));
        struct cli quiet = *c;
        if (out_json(&quiet, j, NULL)) {
            (void)fputs("{\"error\":{\"code\":\"memory\"}}\n", stdout);
        }
    }
}

enum status out_flush(struct err *e)
{
    bool earlier = ferror(stdout);
    if (fflush(stdout) == 0 && !earlier) {
        return OK;
    }
    int number = errno ? errno : EIO;
    enum status s = err_errno(e, number, "standard output", "cannot write");
    clearerr(stdout);
    errno = number;
    return s;
}

/* From argv to a command and from its status to an exit code.
 *
 * Signals: SIGPIPE is ignored, so that a write to a closed pipe is an error we see; the program
 * then ends as `cat` would, killed by SIGPIPE. In a command that can stop halfway, the first SIGINT
 * or SIGTERM sets cli_cancel and restores the default action, so the second one kills. */
#include "cli/cli.h"
#include "base/file.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

volatile bool cli_cancel;

static void on_signal(int number)
{
    static const char text[] = "\nstopping; ctrl-C again ends it at once\n";
    int saved = errno;
    cli_cancel = true;
    if (isatty(STDERR_FILENO)) {
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
    }
    (void)number;
    errno = saved;
}

void cli_catch_signals(bool cancels)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL); /* a file that may not grow is EFBIG, an error */
    if (cancels) {                           /* no SA_RESTART: a blocked read must return */
        struct sigaction once = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
        (void)sigaction(SIGINT, &once, NULL);
        (void)sigaction(SIGTERM, &once, NULL);
    }
}

enum status cli_hint(struct cli *c, const struct err *e, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0) {
        c->hint = arena_strdup(&c->arena, text);
    }
    return e ? e->code : ERR_INTERNAL;
}

const char *cli_join_words(struct cli *c)
{
    struct buf b = {0};
    for (size_t i = 0; i < c->n_words; i++) {
        buf_puts(&b, i ? " " : "");
        buf_puts(&b, c->words[i]);
    }
    const char *joined = b.failed ? NULL : arena_strndup(&c->arena, b.data ? b.data : "", b.len);
    buf_fini(&b);
    return joined;
}

/* `name` below $variable, or below `fallback` in the home directory. */
static const char *xdg_path(struct cli *c, const char *variable, const char *fallback,
                            const char *name)
{
    const char *base = getenv(variable);
    if (base && base[0] == '/') {
        return arena_printf(&c->arena, "%s/%s", base, name);
    }
    const char *home = getenv("HOME");
    return home && *home ? arena_printf(&c->arena, "%s/%s/%s", home, fallback, name) : NULL;
}

/* The configuration file must be known before the options are parsed: --config is looked for by
 * hand. One that was named must exist, the usual one may be absent. */
static enum status find_config(struct cli *c, int n, char *const *args, struct err *e)
{
    const char *named = getenv("HEARTH_CONFIG");
    named = named && *named ? named : NULL;
    for (int i = 0; i < n && strcmp(args[i], "--") != 0; i++) {
        if (strncmp(args[i], "--config=", 9) == 0) {
            named = args[i] + 9;
        } else if (strcmp(args[i], "--config") == 0 && i + 1 < n) {
            named = args[i + 1];
        }
    }
    c->config_path = named ? named : xdg_path(c, "XDG_CONFIG_HOME", ".config", "hearth/config");
    if (named && !file_exists(named)) {
        return err_set(e, ERR_NOT_FOUND, named, "no such configuration file");
    }
    return OK;
}

static enum status find_home(struct cli *c, struct err *e)
{
    const char *home = c->values[O_HOME].s;
    c->home = home && *home ? home : xdg_path(c, "XDG_DATA_HOME", ".local/share", "hearth");
    if (!c->home) {
        return err_set(e, ERR_USAGE, "--home",
                       "there is no home directory here ($HOME is not set): name the data "
                       "directory with --home DIR or HEARTH_HOME");
    }
    return OK;
}

static enum status check_words(struct cli *c, struct err *e)
{
    const struct command *k = c->command;
    if (c->n_words < k->min_words) {
        return err_set(e, ERR_USAGE, k->name, "needs %s", k->word);
    }
    if (c->n_words > k->max_words) {
        return err_set(e, ERR_USAGE, c->words[k->max_words], "one argument too many for %s",
                       k->name);
    }
    return OK;
}

/* Finds the command among the arguments and parses the rest. `args` is argv without the program and
 * is shifted so that the command's word falls out. */
static enum status prepare(struct cli *c, struct option_value *values, int n, char **args,
                           struct err *e)
{
    enum status s = options_load_env_file(".env", e);
    int first = options_first_word(option_table, OPTION_COUNT, n, args);
    bool named = first < n;
    c->command = command_at(CMD_HELP);
    if (named) {
        c->command = command_find(args[first]);
        if (!c->command) {
            const char *hint = command_closest(args[first]);
            return err_set(e, ERR_USAGE, args[first], "no such command%s%s%s",
                           hint ? ", did you mean '" : "", hint ? hint : "", hint ? "'?" : "");
        }
        memmove(&args[first], &args[first + 1], (size_t)(n - first - 1) * sizeof *args);
        n--;
    }
    if (!s) {
        s = find_config(c, n, args, e);
    }
    const char **words = NULL;
    if (!s) {
        unsigned bit =
            c->command->all_options ? ~0u : 1u << (c->command - command_at((enum command_id)0));
        s = options_parse(option_table, OPTION_COUNT, bit, n, args, c->config_path, &c->arena,
                          values, &words, &c->n_words, e);
    }
    if (s) {
        return s;
    }
    c->words = words;
    c->values = values;
    c->json = values[O_JSON].flag;
    if (!ui_init(&c->ui, values[O_COLOR].flag, values[O_QUIET].flag, c->json,
                 values[O_PROGRESS].s)) {
        return err_set(e, ERR_USAGE, "--progress", "'%s' is none of auto, plain, none",
                       values[O_PROGRESS].s);
    }
    if (values[O_VERSION].flag) {
        c->command = command_at(CMD_VERSION);
        c->n_words = 0;
    } else if (values[O_HELP].flag && named) {
        c->words = &c->command->name; /* as `help COMMAND` */
        c->n_words = 1;
        c->command = command_at(CMD_HELP);
    }
    s = check_words(c, e);
    return s ? s : find_home(c, e);
}

/* Errors in the options themselves are reported before --json could be parsed. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0) {
            return true;
        }
    }
    return false;
}

static void die_by_sigpipe(void)
{
    (void)signal(SIGPIPE, SIG_DFL);
    (void)raise(SIGPIPE);
}

int cli_main(int argc, char **argv)
{
    struct cli c = {.json = asks_for_json(argc, argv)};
    struct option_value values[OPTION_COUNT];
    struct err e = {0};
    /* Text is UTF-8 throughout; line editing needs to know. Numbers stay in the C locale. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        (void)setlocale(LC_CTYPE, "C.UTF-8");
    }
    (void)ui_init(&c.ui, true, false, c.json, "auto");
    cli_catch_signals(false);
    enum status s = prepare(&c, values, argc - 1, argv + 1, &e);
    if (!s) {
        cli_catch_signals(c.command->cancels);
        s = c.command->run(&c, &e);
    }
    struct err lost = {0};
    errno = 0;
    enum status flushed = out_flush(&lost);
    if (flushed && errno == EPIPE) {
        die_by_sigpipe();
    }
    if (s == OK && flushed) {
        s = flushed;
        e = lost;
        c.reported = false;
    }
    if (s && !c.reported) {
        e.code = s;
        out_error(&c, &e);
        flushed = out_flush(&lost); /* nothing is left to do when this fails, too */
    }
    arena_reset(&c.arena);
    return status_info(s)->exit_code;
}

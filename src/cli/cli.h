/* The command line: what a command file sees.
 *
 * A command is one file cmd_<name>.c and one row of the table in commands.c; an option is one row
 * of the table in options.c. A command returns a status; cli.c prints the error and chooses the
 * exit code. Everything runs on the main thread. */
#ifndef HEARTH_CLI_CLI_H
#define HEARTH_CLI_CLI_H

#include <jansson.h>

#include "base/options.h"
#include "cli/ui.h"

struct cli;

/* Rows of the command table, in the order of the help. */
enum command_id {
    CMD_ADD,
    CMD_ASK,
    CMD_CHAT,
    CMD_SEARCH,
    CMD_STATUS,
    CMD_REMOVE,
    CMD_GENERATE,
    CMD_EMBED,
    CMD_RERANK,
    CMD_TOKENIZE,
    CMD_PERPLEXITY,
    CMD_BENCH,
    CMD_MODELS,
    CMD_CONFIG,
    CMD_HELP,
    CMD_VERSION,
    COMMAND_COUNT
};

struct command {
    const char *name;
    const char *summary; /* one line */
    const char *usage;   /* "ask [OPTIONS] QUESTION..." */
    const char *help;    /* paragraphs and examples */
    size_t min_words, max_words;
    const char *word; /* what a word is, for "ask needs a question" */
    bool cancels;     /* looks at cli_cancel: the first ctrl-C asks, the second kills */
    bool all_options; /* accepts every option of every command (config) */
    enum status (*run)(struct cli *c, struct err *e);
};
const struct command *command_at(enum command_id id);
const struct command *command_find(const char *name); /* NULL: unknown */
const char *command_closest(const char *name);        /* NULL: none is near */

/* Rows of the option table. */
enum option_id {
    /* of every command */
    O_HOME,
    O_MODEL,
    O_EMBED_MODEL,
    O_THREADS,
    O_JSON,
    O_QUIET,
    O_PROGRESS,
    O_COLOR,
    O_CONFIG,
    O_MAX_INPUT,
    O_PACKED_CACHE,
    O_PACKED_CACHE_MAX,
    O_HELP,
    O_VERSION,
    /* of some */
    O_CTX,
    O_KV_Q8,
    O_EXACT,
    O_EMBED_PRECISION,
    O_K,
    O_CANDIDATES,
    O_CONTEXT_TOKENS,
    O_ORDER,
    O_KEEP_UNSUPPORTED,
    O_MAX_TOKENS,
    O_TEMPERATURE,
    O_TOP_K,
    O_TOP_P,
    O_MIN_P,
    O_TYPICAL_P,
    O_REPETITION,
    O_PRESENCE,
    O_FREQUENCY,
    O_PENALTY_WINDOW,
    O_SEED,
    O_LOGIT_BIAS,
    O_PROMPT,
    O_PROMPT_FILE,
    O_SYSTEM,
    O_RAW,
    O_STOP,
    O_LOGPROBS,
    O_N,
    O_IGNORE_EOS,
    O_SPECIAL,
    O_DECODE,
    O_QUERY,
    O_NORMALIZE,
    O_RERANK_MODEL,
    O_RERANK_QUERY,
    O_RERANK_K,
    O_RERANK_INSTRUCTION,
    O_SELF_TEST,
    O_FILE,
    O_BENCH_PROMPT,
    O_BENCH_GEN,
    O_DEPTH,
    O_PIN,
    O_TYPE_K,
    O_TYPE_V,
    O_REPEATS,
    O_CHUNK_TOKENS,
    O_OVERLAP,
    O_DRY_RUN,
    O_ALL,
    O_VERIFY,
    O_DROP_CACHE,
    OPTION_COUNT
};
extern const struct option option_table[OPTION_COUNT];

struct cli {
    const struct command *command;
    const char *const *words; /* arguments that are no options */
    size_t n_words;
    const struct option_value *values; /* OPTION_COUNT of them */
    struct ui ui;
    struct arena arena; /* lives as long as the command */
    bool json;
    const char *home;        /* the data directory, absolute or as given */
    const char *config_path; /* the configuration file, there or not */
    const char *hint;        /* what to do about the error returned; NULL: a general word */
    bool reported;           /* the outcome is on stdout already: only the exit code is left */
};

/* Runs the program; returns its exit code. */
int cli_main(int argc, char **argv);

/* Set by SIGINT and SIGTERM in a command that `cancels`. */
extern volatile bool cli_cancel;

/* Catches them anew, after one was taken (chat goes on after ctrl-C). */
void cli_catch_signals(bool cancels);

/* Sets c->hint; returns e->code, so that `return cli_hint(c, e, ...)` reads well. */
enum status cli_hint(struct cli *c, const struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The words joined by spaces, in the arena; NULL when memory is out. */
const char *cli_join_words(struct cli *c);

/* ---- out.c: data on stdout */

/* Prints one JSON value and a newline (indented on a terminal) and drops the reference. A NULL
 * value is ERR_MEMORY. */
MUST_CHECK enum status out_json(struct cli *c, json_t *value, struct err *e);
/* A JSON string of n bytes; what is no UTF-8 becomes U+FFFD. New reference. */
json_t *out_string(const char *s, size_t n);
json_t *out_text(const char *s); /* the same of a NUL-terminated string; NULL gives null */
/* The error as people read it on stderr and, with --json, as {"error": {"code", "place", "message",
 * "hint"}} on stdout. */
void out_error(const struct cli *c, const struct err *e);
/* Flushes stdout; ERR_IO or ERR_NO_SPACE when something written there was lost. */
MUST_CHECK enum status out_flush(struct err *e);

/* ---- input.c: data in */

/* Appends stdin (path NULL or "-") or a file to *out; at most --max-input MB. */
MUST_CHECK enum status input_read(struct cli *c, const char *path, struct buf *out, struct err *e);
/* Calls take for each line of standard input that is not blank, without reading ahead; lines are at
 * most --max-input MB long. Ends early when nobody reads stdout any more. ERR_CANCELLED. */
MUST_CHECK enum status input_each_line(struct cli *c,
                                       enum status (*take)(void *ctx, const char *line, size_t n,
                                                           int64_t number, struct err *e),
                                       void *ctx, struct err *e);
/* Parses a JSON value of n bytes; the error names place and column. New reference. */
MUST_CHECK enum status input_json(const char *text, size_t n, const char *place, json_t **out,
                                  struct err *e);

/* ---- model_path.c: models by name */

/* Path of a model that is given as a file, a directory or a name in ./models, HOME/models or
 * ../models beside the executable; in the arena. ERR_NOT_FOUND says where it looked. */
MUST_CHECK enum status model_path(struct cli *c, const char *name, const char **out, struct err *e);
/* Calls visit for every model in those folders, by folder and name. */
MUST_CHECK enum status model_path_each(struct cli *c,
                                       enum status (*visit)(void *ctx, const char *path), void *ctx,
                                       struct err *e);

/* ---- the commands */
enum status cmd_add(struct cli *c, struct err *e);
enum status cmd_ask(struct cli *c, struct err *e);
enum status cmd_chat(struct cli *c, struct err *e);
enum status cmd_search(struct cli *c, struct err *e);
enum status cmd_status(struct cli *c, struct err *e);
enum status cmd_remove(struct cli *c, struct err *e);
enum status cmd_generate(struct cli *c, struct err *e);
enum status cmd_embed(struct cli *c, struct err *e);
enum status cmd_rerank(struct cli *c, struct err *e);
enum status cmd_tokenize(struct cli *c, struct err *e);
enum status cmd_perplexity(struct cli *c, struct err *e);
enum status cmd_bench(struct cli *c, struct err *e);
enum status cmd_models(struct cli *c, struct err *e);
enum status cmd_config(struct cli *c, struct err *e);
enum status cmd_help(struct cli *c, struct err *e);
enum status cmd_version(struct cli *c, struct err *e);

#endif

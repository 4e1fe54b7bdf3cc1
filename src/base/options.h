/* Options: one table row per option yields the parser, --help, the environment variable, the
 * configuration key and `hearth config`.
 *
 * A value comes from, highest first: the command line, the environment, the configuration file (key
 * = value lines, # comments), the default. A .env file in the working directory is read into the
 * environment for names that are not set there. Bad values are refused by name; nothing is clamped.
 */
#ifndef HEARTH_BASE_OPTIONS_H
#define HEARTH_BASE_OPTIONS_H

#include "base/mem.h"

enum option_type {
    OPT_FLAG,
    OPT_INT,
    OPT_FLOAT,
    OPT_STRING,
    OPT_STRINGS /* may be given several times */
};
enum option_origin { FROM_DEFAULT, FROM_CONFIG, FROM_ENV, FROM_COMMAND_LINE };

struct option {
    const char *name; /* "max-tokens" */
    char letter;      /* 'n' or 0 */
    enum option_type type;
    const char *value;         /* placeholder in the help: "N" */
    double min, max;           /* INT and FLOAT, inclusive; both 0: no limits */
    const char *default_value; /* text, NULL: none */
    const char *env;           /* "HEARTH_HOME" or NULL */
    const char *config;        /* "home" or NULL */
    unsigned commands; /* bit set of commands that take it, 0: all; two rows of different commands
                          may share a name */
    const char *help;
};

struct option_value {
    enum option_origin origin;
    bool flag;
    int64_t i;
    double f;
    const char *s;     /* NULL when there is none */
    const char **list; /* OPT_STRINGS */
    size_t n_list;
};

/* values[i] belongs to table[i]; s holds the text of every kind of value. A config_path that is
 * NULL or does not exist is passed over, an empty environment variable counts as not set. A string
 * that is given twice keeps the last value; OPT_STRINGS keeps all of the highest origin. Strings
 * live in the arena. `args` are the words after the command; what is no option goes to *rest (in
 * the arena).
 * "--" ends options; "--name=value", "--name value", "-n value" and "--no-flag" are understood.
 * ERR_USAGE names the word and the closest option. */
MUST_CHECK enum status options_parse(const struct option *table, size_t n_table,
                                     unsigned command_bit, int n_args, char *const *args,
                                     const char *config_path, struct arena *arena,
                                     struct option_value *values, const char ***rest,
                                     size_t *n_rest, struct err *e);
MUST_CHECK enum status options_load_env_file(const char *path,
                                             struct err *e); /* a missing file is OK */
/* Index of the first word that is no option (nor an option's value), n_args when there is none: how
 * main finds the command behind general options. */
int options_first_word(const struct option *table, size_t n_table, int n_args, char *const *args);
/* The name nearest to a mistyped word, NULL when none is near. NULL names are passed over. */
const char *options_closest(const char *word, const char *const *names, size_t n);
void options_help(const struct option *table, size_t n_table, unsigned command_bit,
                  struct buf *out);
#endif

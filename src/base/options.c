/* Options: see options.h.
 *
 * The idea: values are filled in the order default, configuration file, environment, command line,
 * so that the highest origin is simply the last writer. getopt_long was rejected: it knows no
 * types, no environment and no configuration file, and its messages cannot be put into a struct
 * err. */
#include "base/options.h"
#include "base/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 20, HELP_COLUMN = 30, HELP_WIDTH = 96 };

struct parser {
    const struct option *table;
    size_t n_table;
    unsigned command_bit;
    struct arena *arena;
    struct option_value *values;
    struct err *e;
};

static bool takes(const struct option *o, unsigned command_bit)
{
    return o->commands == 0 || (o->commands & command_bit) != 0;
}

/* ------------------------------------------------------------------ values */

static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"0", "false", "no", "off"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static enum status bad_range(const struct parser *p, const struct option *o, const char *place,
                             const char *text)
{
    return err_set(p->e, ERR_USAGE, place, "%s is out of range: %s must be from %.12g to %.12g",
                   text, o->name, o->min, o->max);
}

static bool outside(const struct option *o, double v)
{
    return (o->min != 0 || o->max != 0) && !(v >= o->min && v <= o->max);
}

static enum status set_number(const struct parser *p, const struct option *o, const char *place,
                              const char *text, struct option_value *v)
{
    char *end = NULL;
    errno = 0;
    if (o->type == OPT_INT) {
        long long i = strtoll(text, &end, 10);
        if (end == text || *end || isspace((unsigned char)*text)) {
            return err_set(p->e, ERR_USAGE, place, "'%s' is not a whole number (%s)", text,
                           o->name);
        }
        if (errno == ERANGE || outside(o, (double)i)) {
            return bad_range(p, o, place, text);
        }
        v->i = i;
        return OK;
    }
    double f = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || f != f) {
        return err_set(p->e, ERR_USAGE, place, "'%s' is not a number (%s)", text, o->name);
    }
    if (outside(o, f)) {
        return bad_range(p, o, place, text);
    }
    v->f = f;
    return OK;
}

/* A list grows by copying: lists are a handful of words and the arena is dropped whole. A value
 * of a higher origin starts the list anew. */
static enum status append(const struct parser *p, struct option_value *v, enum option_origin origin,
                          const char *text)
{
    size_t n = v->origin == origin ? v->n_list : 0;
    const char **list = arena_array(p->arena, n + 1, sizeof *list);
    if (!list) {
        return err_set(p->e, ERR_MEMORY, NULL, "no memory for the options");
    }
    if (n) {
        memcpy(list, v->list, n * sizeof *list);
    }
    list[n] = text;
    v->list = list;
    v->n_list = n + 1;
    return OK;
}

/* Parses into a copy and stores it whole: a refused value leaves the old one. */
static enum status set_value(const struct parser *p, const struct option *o,
                             enum option_origin origin, const char *place, const char *text)
{
    struct option_value v = p->values[o - p->table];
    char *copy = arena_strdup(p->arena, text);
    if (!copy) {
        return err_set(p->e, ERR_MEMORY, NULL, "no memory for the options");
    }
    enum status s = OK;
    switch (o->type) {
    case OPT_FLAG:
        if (!parse_bool(text, &v.flag)) {
            s = err_set(p->e, ERR_USAGE, place, "'%s' is neither yes nor no (%s)", text, o->name);
        }
        break;
    case OPT_INT:
    case OPT_FLOAT:
        s = set_number(p, o, place, text, &v);
        break;
    case OPT_STRING:
        break;
    case OPT_STRINGS:
        s = append(p, &v, origin, copy);
        break;
    }
    if (!s) {
        v.origin = origin;
        v.s = copy;
        p->values[o - p->table] = v;
    }
    return s;
}

static enum status set_defaults(const struct parser *p)
{
    memset(p->values, 0, p->n_table * sizeof *p->values);
    for (size_t i = 0; i < p->n_table; i++) {
        const struct option *o = &p->table[i];
        if (o->default_value) {
            enum status s = set_value(p, o, FROM_DEFAULT, o->name, o->default_value);
            if (s) { /* our own table is wrong, not the caller's words */
                return err_set(p->e, ERR_INTERNAL, o->name, "bad default in the option table");
            }
        }
    }
    return OK;
}

/* An empty variable counts as not set, as most programs have it. */
static enum status set_from_environment(const struct parser *p)
{
    for (size_t i = 0; i < p->n_table; i++) {
        const struct option *o = &p->table[i];
        const char *text = o->env ? getenv(o->env) : NULL;
        if (text && *text) {
            enum status s = set_value(p, o, FROM_ENV, o->env, text);
            if (s) {
                return s;
            }
        }
    }
    return OK;
}

/* ------------------------------------------------------------------ hints */

/* Edit distance with transpositions (Damerau, 1964, restricted form); words longer than 31 bytes
 * are not compared. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    size_t na = strlen(a), nb = strlen(b);
    size_t d[MAX][MAX];
    if (na >= MAX || nb >= MAX) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i <= na; i++) {
        for (size_t j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best) {
                best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

const char *options_closest(const char *word, const char *const *names, size_t n)
{
    size_t len = strlen(word);
    size_t limit = 1 + len / 3;
    const char *best = NULL;
    for (size_t i = 0; i < n && len > 0; i++) {
        if (!names[i]) {
            continue;
        }
        size_t far = strncmp(names[i], word, len) == 0 ? 0 : distance(word, names[i]);
        if (far <= limit && (!best || far < limit)) {
            best = names[i];
            limit = far;
        }
    }
    return best;
}

enum name_kind { BY_NAME, BY_CONFIG };

static const char *closest_option(const struct parser *p, const char *word, enum name_kind kind)
{
    const char **names = arena_array(p->arena, p->n_table, sizeof *names);
    for (size_t i = 0; names && i < p->n_table; i++) {
        const struct option *o = &p->table[i];
        names[i] = kind == BY_CONFIG ? o->config : takes(o, p->command_bit) ? o->name : NULL;
    }
    return names ? options_closest(word, names, p->n_table) : NULL;
}

/* ------------------------------------------------------------------ key = value files */

static char *trim(char *s)
{
    while (isspace((unsigned char)*s)) {
        s++;
    }
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1])) {
        n--;
    }
    s[n] = 0;
    return s;
}

/* "text" and 'text' lose their quotes; without quotes, " #" begins a comment. */
static char *unquote(char *s)
{
    size_t n = strlen(s);
    if (n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n - 1] == s[0]) {
        s[n - 1] = 0;
        return s + 1;
    }
    for (char *c = s; (c = strchr(c, '#')) != NULL; c++) {
        if (c > s && isspace((unsigned char)c[-1])) {
            *c = 0;
            break;
        }
    }
    return trim(s);
}

/* Calls set(ctx, place, key, value) for each "key = value" line of the file. */
static enum status each_pair(const char *path,
                             enum status (*set)(void *ctx, const char *place, const char *key,
                                                const char *value, struct err *e),
                             void *ctx, struct err *e)
{
    struct buf text = {0};
    enum status s = file_read(path, CONFIG_MAX_BYTES, &text, e);
    if (!s && text.len != strlen(text.data ? text.data : "")) {
        s = err_set(e, ERR_FORMAT, path, "not a text file: it holds a NUL byte");
    }
    char *next = text.data;
    for (int line = 1; !s && next && *next; line++) {
        char *at = next;
        next = strchr(at, '\n');
        if (next) {
            *next++ = 0;
        }
        at = trim(at);
        if (*at == 0 || *at == '#') {
            continue;
        }
        char place[300];
        (void)snprintf(place, sizeof place, "%.280s:%d", path, line);
        char *eq = strchr(at, '=');
        if (!eq) {
            s = err_set(e, ERR_USAGE, place, "expected a line of the form key = value");
            break;
        }
        *eq = 0;
        s = set(ctx, place, trim(at), unquote(trim(eq + 1)), e);
    }
    buf_fini(&text);
    return s;
}

static enum status set_config(void *ctx, const char *place, const char *key, const char *value,
                              struct err *e)
{
    const struct parser *p = ctx;
    for (size_t i = 0; i < p->n_table; i++) {
        if (p->table[i].config && strcmp(p->table[i].config, key) == 0) {
            return set_value(p, &p->table[i], FROM_CONFIG, place, value);
        }
    }
    const char *hint = closest_option(p, key, BY_CONFIG);
    return err_set(e, ERR_USAGE, place, "unknown key '%s'%s%s%s", key,
                   hint ? ", did you mean '" : "", hint ? hint : "", hint ? "'?" : "");
}

static enum status set_variable(void *ctx, const char *place, const char *key, const char *value,
                                struct err *e)
{
    (void)ctx;
    if (strncmp(key, "export ", 7) == 0) {
        key += 7;
    }
    if (*key == 0 || key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
                                     "0123456789")] != 0) {
        return err_set(e, ERR_USAGE, place, "'%s' is no name of a variable", key);
    }
    return setenv(key, value, 0) == 0 ? OK : err_errno(e, errno, place, "cannot set %s", key);
}

enum status options_load_env_file(const char *path, struct err *e)
{
    return file_exists(path) ? each_pair(path, set_variable, NULL, e) : OK;
}

/* ------------------------------------------------------------------ the command line */

struct cursor {
    int i, n;
    char *const *args;
};

/* Two commands may give one name to two rows ("--prompt" of generate and of bench): the row that
 * this command takes goes first. */
static const struct option *find(const struct option *table, size_t n, unsigned command_bit,
                                 const char *name, size_t len, char letter)
{
    const struct option *other = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct option *o = &table[i];
        bool same = letter ? o->letter == letter
                           : strlen(o->name) == len && memcmp(o->name, name, len) == 0;
        if (same && takes(o, command_bit)) {
            return o;
        }
        other = same ? o : other;
    }
    return other;
}

/* Takes a word that begins with '-' apart: its row (NULL: unknown), the value inside the word
 * (NULL: none) and whether "no-" stood before a flag. */
static const struct option *split(const struct option *table, size_t n, unsigned command_bit,
                                  const char *word, const char **value, bool *negated)
{
    *value = NULL;
    *negated = false;
    if (word[1] != '-') {
        *value = word[2] ? word + 2 : NULL;
        return find(table, n, command_bit, NULL, 0, word[1]);
    }
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    *value = name[len] ? name + len + 1 : NULL;
    const struct option *o = find(table, n, command_bit, name, len, 0);
    if (!o && len > 3 && strncmp(name, "no-", 3) == 0) {
        o = find(table, n, command_bit, name + 3, len - 3, 0);
        *negated = o && o->type == OPT_FLAG;
        o = *negated ? o : NULL;
    }
    return o;
}

static enum status unknown(const struct parser *p, const char *word, const struct option *o)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    if (o) {
        return err_set(p->e, ERR_USAGE, name, "not an option of this command");
    }
    const char *bare = name + strspn(name, "-");
    const char *hint = word[1] == '-' ? closest_option(p, bare, BY_NAME) : NULL;
    return err_set(p->e, ERR_USAGE, name, "unknown option%s%s%s", hint ? ", did you mean --" : "",
                   hint ? hint : "", hint ? "?" : "");
}

static enum status take_option(const struct parser *p, struct cursor *c)
{
    const char *word = c->args[c->i++];
    const char *value;
    bool negated;
    const struct option *o = split(p->table, p->n_table, p->command_bit, word, &value, &negated);
    if (!o || !takes(o, p->command_bit)) {
        return unknown(p, word, o);
    }
    char place[64];
    (void)snprintf(place, sizeof place, "--%.60s", o->name);
    if (o->type == OPT_FLAG) {
        if (value && (negated || word[1] != '-')) {
            return err_set(p->e, ERR_USAGE, place, "takes no value ('%s')", value);
        }
        return set_value(p, o, FROM_COMMAND_LINE, place, value ? value : negated ? "no" : "yes");
    }
    if (!value) {
        if (c->i >= c->n) {
            return err_set(p->e, ERR_USAGE, place, "needs a value: --%s %s", o->name,
                           o->value ? o->value : "VALUE");
        }
        value = c->args[c->i++];
    }
    return set_value(p, o, FROM_COMMAND_LINE, place, value);
}

int options_first_word(const struct option *table, size_t n_table, int n_args, char *const *args)
{
    int i = 0;
    while (i < n_args && args[i][0] == '-' && args[i][1] && strcmp(args[i], "--") != 0) {
        const char *value;
        bool negated;
        const struct option *o = split(table, n_table, ~0u, args[i], &value, &negated);
        i += o && o->type != OPT_FLAG && !value ? 2 : 1;
    }
    return i < n_args ? i : n_args;
}

enum status options_parse(const struct option *table, size_t n_table, unsigned command_bit,
                          int n_args, char *const *args, const char *config_path,
                          struct arena *arena, struct option_value *values, const char ***rest,
                          size_t *n_rest, struct err *e)
{
    struct parser p = {table, n_table, command_bit, arena, values, e};
    const char **words = arena_array(arena, (size_t)n_args + 1, sizeof *words);
    if (!words) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the options");
    }
    enum status s = set_defaults(&p);
    if (!s && config_path && file_exists(config_path)) {
        s = each_pair(config_path, set_config, &p, e);
    }
    if (!s) {
        s = set_from_environment(&p);
    }
    struct cursor c = {0, n_args, args};
    size_t n = 0;
    bool only_words = false;
    while (!s && c.i < n_args) {
        const char *word = args[c.i];
        if (only_words || word[0] != '-' || word[1] == 0) {
            words[n++] = word;
            c.i++;
        } else if (strcmp(word, "--") == 0) {
            only_words = true;
            c.i++;
        } else {
            s = take_option(&p, &c);
        }
    }
    if (!s) {
        *rest = words;
        *n_rest = n;
    }
    return s;
}

/* ------------------------------------------------------------------ help */

static void put_wrapped(struct buf *out, const char *text, size_t column)
{
    size_t at = column;
    for (const char *w = text; *w;) {
        size_t n = strcspn(w, " ");
        if (at > HELP_COLUMN && at + n + 1 > HELP_WIDTH) {
            buf_printf(out, "\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
        } else if (w != text) {
            buf_putc(out, ' ');
            at++;
        }
        buf_put(out, w, n);
        at += n;
        w += n;
        w += strspn(w, " ");
    }
    buf_putc(out, '\n');
}

static void help_row(const struct option *o, struct buf *out)
{
    size_t start = out->len;
    if (o->letter) {
        buf_printf(out, "  -%c, --%s", o->letter, o->name);
    } else {
        buf_printf(out, "      --%s", o->name);
    }
    if (o->type != OPT_FLAG) {
        buf_printf(out, " %s", o->value ? o->value : "VALUE");
    }
    size_t column = out->len - start;
    if (column + 2 > HELP_COLUMN) {
        buf_putc(out, '\n');
        column = 0;
    }
    buf_printf(out, "%*s", (int)(HELP_COLUMN - column), "");
    struct buf text = {0};
    buf_puts(&text, o->help);
    bool has_default = o->default_value && o->type != OPT_FLAG && *o->default_value;
    if (has_default || o->env) {
        buf_printf(&text, " [%s%s%s%s]", has_default ? "default " : "",
                   has_default ? o->default_value : "", has_default && o->env ? ", " : "",
                   o->env ? o->env : "");
    }
    if (!text.failed) {
        put_wrapped(out, text.data, HELP_COLUMN);
    }
    buf_fini(&text);
}

void options_help(const struct option *table, size_t n_table, unsigned command_bit, struct buf *out)
{
    for (int general = 0; general < 2; general++) {
        bool titled = false;
        for (size_t i = 0; i < n_table; i++) {
            const struct option *o = &table[i];
            if (!takes(o, command_bit) || (o->commands == 0) != (general == 1)) {
                continue;
            }
            if (!titled) {
                buf_puts(out, general ? "\nGeneral options\n" : "\nOptions\n");
                titled = true;
            }
            help_row(o, out);
        }
    }
}

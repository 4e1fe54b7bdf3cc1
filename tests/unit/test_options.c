/* Options: order of origins, types, ranges, the words of every refusal, help. */
#include "common/test.h"

#include "base/options.h"

#include <stdlib.h>
#include <string.h>

enum { CMD_A = 1, CMD_B = 2 };
enum { HOME, THREADS, RATE, JSON, STOP, ONLY_B, STOP_B, N_ROWS };
static const struct option table[N_ROWS] = {
    [HOME] = {.name = "home",
              .type = OPT_STRING,
              .value = "DIR",
              .env = "T_HOME",
              .config = "home",
              .help = "data directory"},
    [THREADS] = {.name = "threads",
                 .letter = 't',
                 .type = OPT_INT,
                 .value = "N",
                 .min = 1,
                 .max = 256,
                 .default_value = "4",
                 .env = "T_THREADS",
                 .config = "threads",
                 .help = "workers"},
    [RATE] = {.name = "rate",
              .type = OPT_FLOAT,
              .min = 0,
              .max = 2,
              .default_value = "0.5",
              .help = "a number"},
    [JSON] = {.name = "json", .type = OPT_FLAG, .config = "json", .help = "print JSON"},
    [STOP] = {.name = "stop",
              .type = OPT_STRINGS,
              .env = "T_STOP",
              .config = "stop",
              .commands = CMD_A,
              .help = "stop here"},
    [STOP_B] = {.name = "stop", .type = OPT_INT, .commands = CMD_B, .help = "b's meaning"},
    [ONLY_B] = {.name = "only-b", .type = OPT_INT, .commands = CMD_B, .help = "of b"},
};

static struct arena arena;
static struct option_value v[N_ROWS];
static const char **rest;
static size_t n_rest;
static struct err e;

static enum status parse(const char *config, int n, const char *const *args)
{
    return options_parse(table, N_ROWS, CMD_A, n, (char *const *)(uintptr_t)args, config, &arena, v,
                         &rest, &n_rest, &e);
}
#define PARSE(config, ...)                                                       \
    parse(config, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
          (const char *[]){__VA_ARGS__})

#define REFUSES(where, words, ...)                          \
    do {                                                    \
        assert_status(PARSE(NULL, __VA_ARGS__), ERR_USAGE); \
        assert_string_equal(e.place, where);                \
        assert_string_equal(e.message, words);              \
    } while (0)

static int clean(void **state)
{
    (void)state;
    unsetenv("T_HOME");
    unsetenv("T_THREADS");
    unsetenv("T_STOP");
    arena_reset(&arena);
    e = (struct err){0};
    return 0;
}

static void every_form_is_understood(void **state)
{
    (void)state;
    assert_ok_err(PARSE(NULL, "one", "--threads=8", "--rate", "1.5", "-", "--json", "--stop", "a",
                        "--stop=b", "--", "--home", "-x"),
                  &e);
    assert_int_equal(v[THREADS].i, 8);
    assert_int_equal(v[THREADS].origin, FROM_COMMAND_LINE);
    assert_string_equal(v[THREADS].s, "8");
    assert_true(v[RATE].f == 1.5);
    assert_true(v[JSON].flag);
    assert_int_equal(v[STOP].n_list, 2);
    assert_string_equal(v[STOP].list[0], "a");
    assert_string_equal(v[STOP].list[1], "b");
    assert_null(v[HOME].s);
    assert_int_equal(n_rest, 4);
    assert_string_equal(rest[0], "one");
    assert_string_equal(rest[1], "-");
    assert_string_equal(rest[2], "--home");
    assert_string_equal(rest[3], "-x");

    assert_ok_err(PARSE(NULL, "-t", "3", "-t5", "--json", "--no-json", "--home="), &e);
    assert_int_equal(v[THREADS].i, 5);
    assert_false(v[JSON].flag);
    assert_int_equal(v[JSON].origin, FROM_COMMAND_LINE);
    assert_string_equal(v[HOME].s, "");
    assert_int_equal(n_rest, 0);
}

static void the_highest_origin_wins(void **state)
{
    (void)state;
    const char *file = test_temp_path("config");
    static const char text[] = "# a comment\n\nhome = \"/from file\"\nthreads=2 # two\nstop = x\n"
                               "  stop = y\njson = yes";
    test_write_file(file, text, sizeof text - 1);
    assert_ok_err(PARSE(file, "w"), &e);
    assert_string_equal(v[HOME].s, "/from file");
    assert_int_equal(v[HOME].origin, FROM_CONFIG);
    assert_int_equal(v[THREADS].i, 2);
    assert_true(v[JSON].flag);
    assert_int_equal(v[STOP].n_list, 2);
    assert_true(v[RATE].f == 0.5);
    assert_int_equal(v[RATE].origin, FROM_DEFAULT);

    setenv("T_HOME", "", 1); /* empty: as if not set */
    setenv("T_THREADS", "7", 1);
    setenv("T_STOP", "z", 1);
    assert_ok_err(PARSE(file, "w"), &e);
    assert_string_equal(v[HOME].s, "/from file");
    assert_int_equal(v[THREADS].i, 7);
    assert_int_equal(v[THREADS].origin, FROM_ENV);
    assert_int_equal(v[STOP].n_list, 1);
    assert_string_equal(v[STOP].list[0], "z");

    assert_ok_err(PARSE(file, "--threads", "9"), &e);
    assert_int_equal(v[THREADS].i, 9);
    assert_ok_err(PARSE("/nonexistent/config", "w"), &e);
}

static void bad_words_are_refused_by_name(void **state)
{
    (void)state;
    REFUSES("--treads", "unknown option, did you mean --threads?", "--treads", "2");
    REFUSES("--thr", "unknown option, did you mean --threads?", "--thr=2");
    REFUSES("--xyzzy", "unknown option", "--xyzzy");
    REFUSES("-q", "unknown option", "-q");
    REFUSES("--only-b", "not an option of this command", "--only-b", "1");
    REFUSES("--threads", "needs a value: --threads N", "--threads");
    REFUSES("--threads", "0 is out of range: threads must be from 1 to 256", "--threads", "0");
    REFUSES("--threads", "99999999999999999999 is out of range: threads must be from 1 to 256",
            "--threads", "99999999999999999999");
    REFUSES("--threads", "'2x' is not a whole number (threads)", "--threads=2x");
    REFUSES("--threads", "'' is not a whole number (threads)", "--threads=");
    REFUSES("--threads", "' 2' is not a whole number (threads)", "--threads", " 2");
    REFUSES("--rate", "2.5 is out of range: rate must be from 0 to 2", "--rate", "2.5");
    REFUSES("--rate", "'nan' is not a number (rate)", "--rate", "nan");
    REFUSES("--json", "'perhaps' is neither yes nor no (json)", "--json=perhaps");
    REFUSES("--json", "takes no value ('yes')", "--no-json=yes");
    REFUSES("--no-threads", "unknown option, did you mean --threads?", "--no-threads");
    setenv("T_THREADS", "many", 1);
    REFUSES("T_THREADS", "'many' is not a whole number (threads)", "w");
}

static void bad_files_are_refused_with_their_line(void **state)
{
    (void)state;
    const char *file = test_temp_path("bad");
    static const struct {
        const char *text, *line, *message;
    } cases[] = {
        {"home = /x\nthread = 2\n", "2", "unknown key 'thread', did you mean 'threads'?"},
        {"\n\nthreads 2\n", "3", "expected a line of the form key = value"},
        {"threads = 1000\n", "1", "1000 is out of range: threads must be from 1 to 256"},
        {"only-b = 1\n", "1", "unknown key 'only-b'"}, /* the row has no configuration key */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_file(file, cases[i].text, strlen(cases[i].text));
        assert_status(PARSE(file, "w"), ERR_USAGE);
        assert_string_equal(strrchr(e.place, ':') + 1, cases[i].line);
        assert_string_equal(e.message, cases[i].message);
    }
    test_write_file(file, "a\0b = 1", 7);
    assert_status(PARSE(file, "w"), ERR_FORMAT);
}

static void an_env_file_fills_only_what_is_not_set(void **state)
{
    (void)state;
    const char *file = test_temp_path("dotenv");
    static const char text[] = "# x\nexport T_HOME='/a b'\nT_THREADS=3\n";
    test_write_file(file, text, sizeof text - 1);
    setenv("T_THREADS", "5", 1);
    assert_ok_err(options_load_env_file(file, &e), &e);
    assert_string_equal(getenv("T_HOME"), "/a b");
    assert_string_equal(getenv("T_THREADS"), "5");
    assert_ok_err(options_load_env_file("/nonexistent/.env", &e), &e);
    test_write_file(file, "A B=1\n", 6);
    assert_status(options_load_env_file(file, &e), ERR_USAGE);
    assert_string_equal(e.message, "'A B' is no name of a variable");
}

static void the_command_is_found_behind_options(void **state)
{
    (void)state;
    char *args[] = {"--home", "ask", "-t4", "-t", "4", "--json", "ask", "--rate"};
    assert_int_equal(options_first_word(table, N_ROWS, 8, args), 6);
    assert_int_equal(options_first_word(table, N_ROWS, 0, args), 0);
    assert_int_equal(options_first_word(table, N_ROWS, 1, args), 1);
}

static void help_shows_what_a_command_takes(void **state)
{
    (void)state;
    struct buf b = {0};
    options_help(table, N_ROWS, CMD_A, &b);
    assert_string_equal(b.data, "\nOptions\n"
                                "      --stop VALUE            stop here [T_STOP]\n"
                                "\nGeneral options\n"
                                "      --home DIR              data directory [T_HOME]\n"
                                "  -t, --threads N             workers [default 4, T_THREADS]\n"
                                "      --rate VALUE            a number [default 0.5]\n"
                                "      --json                  print JSON\n");
    buf_fini(&b);
}

static void one_name_may_mean_two_things(void **state)
{
    (void)state;
    char *args[] = {"--stop", "5"};
    assert_ok_err(options_parse(table, N_ROWS, CMD_B, 2, args, NULL, &arena, v, &rest, &n_rest, &e),
                  &e);
    assert_int_equal(v[STOP_B].i, 5);
    assert_int_equal(v[STOP].n_list, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_form_is_understood, clean),
        cmocka_unit_test_setup(the_highest_origin_wins, clean),
        cmocka_unit_test_setup(bad_words_are_refused_by_name, clean),
        cmocka_unit_test_setup(bad_files_are_refused_with_their_line, clean),
        cmocka_unit_test_setup(an_env_file_fills_only_what_is_not_set, clean),
        cmocka_unit_test_setup(the_command_is_found_behind_options, clean),
        cmocka_unit_test_setup(help_shows_what_a_command_takes, clean),
        cmocka_unit_test_setup(one_name_may_mean_two_things, clean),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}

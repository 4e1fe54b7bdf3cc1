/* The command table. */
#include "cli/cli.h"

#include <string.h>

enum { ANY = 1 << 20 };

/* clang-format off */
static const struct command table[COMMAND_COUNT] = {
    [CMD_STATUS] = {
        .name = "status", .summary = "show what is stored, what failed and what to do about it",
        .usage = "status [OPTIONS]", .help = "", .run = cmd_status},
    [CMD_REMOVE] = {
        .name = "remove", .summary = "take documents out of the library",
        .usage = "remove [OPTIONS] PATH... | --all",
        .help = "Takes out the documents of a file, a folder or a source; the files stay where they are.\n",
        .max_words = ANY, .cancels = true, .run = cmd_remove},
    [CMD_TOKENIZE] = {
        .name = "tokenize", .summary = "text to token ids, and back",
        .usage = "tokenize [OPTIONS] < TEXT",
        .help =
            "Reads text from standard input and prints the ids of its tokens. Special tokens are\n"
            "neither added nor recognised unless --special asks for it.\n\n"
            "  printf 'Hello world' | hearth tokenize\n"
            "  echo 19556 905 | hearth tokenize --decode\n",
        .run = cmd_tokenize},
    [CMD_MODELS] = {
        .name = "models", .summary = "show what model files are", .usage = "models [OPTIONS] [MODEL...]",
        .help =
            "Shows architecture, tensor types, sizes, tokenizer, chat template and context of models;\n"
            "without arguments, of every model in models/.\n",
        .max_words = ANY, .run = cmd_models},
    [CMD_CONFIG] = {
        .name = "config", .summary = "show every option, its value and where it comes from",
        .usage = "config [OPTIONS]",
        .help =
            "A value comes from, highest first: the command line, the environment (a .env file in the\n"
            "working directory included), the configuration file, the default. The configuration\n"
            "file holds lines of the form  key = value.\n",
        .all_options = true, .run = cmd_config},
    [CMD_HELP] = {
        .name = "help", .summary = "show this list, or the help of a command",
        .usage = "help [COMMAND]", .help = "", .max_words = 1, .run = cmd_help},
    [CMD_VERSION] = {
        .name = "version", .summary = "show the version", .usage = "version", .help = "",
        .run = cmd_version},
};
/* clang-format on */

const struct command *command_at(enum command_id id)
{
    return &table[id];
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (table[i].name && strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const char *command_closest(const char *name)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = table[i].name;
    }
    return options_closest(name, names, COMMAND_COUNT);
}

/* The command table. */
#include "cli/cli.h"

#include <string.h>

enum { ANY = 1 << 20 };

static const struct command table[COMMAND_COUNT] = {
    [CMD_CONFIG] =
        {.name = "config",
         .summary = "show every option, its value and where it comes from",
         .usage = "config [OPTIONS]",
         .help = "A value comes from, highest first: the command line, the environment (a .env "
                 "file in\n"
                 "the working directory included), the configuration file, the default. The\n"
                 "configuration file holds lines of the form  key = value.\n",
         .all_options = true,
         .run = cmd_config},
    [CMD_HELP] = {.name = "help",
                  .summary = "show this list, or the help of a command",
                  .usage = "help [COMMAND]",
                  .help = "",
                  .max_words = 1,
                  .run = cmd_help},
    [CMD_VERSION] = {.name = "version",
                     .summary = "show the version",
                     .usage = "version",
                     .help = "",
                     .run = cmd_version},
};

const struct command *command_at(enum command_id id)
{
    return &table[id];
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) {
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

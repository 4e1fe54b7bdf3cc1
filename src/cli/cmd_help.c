/* hearth help, hearth version. */
#include "cli/cli.h"
#include "base/sys.h"

#include <string.h>

static void overview(struct cli *c)
{
    const char *bold = ui_style(&c->ui, stdout, UI_BOLD);
    const char *reset = ui_style(&c->ui, stdout, UI_RESET);
    printf("%shearth%s %s: answers from your own documents, with a model on your own machine\n\n",
           bold, reset, HEARTH_VERSION);
    printf("usage: hearth COMMAND [OPTIONS] [ARGUMENTS]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const struct command *k = command_at((enum command_id)i);
        printf("  %s%-12s%s%s\n", bold, k->name, reset, k->summary);
    }
    printf("\n`hearth help COMMAND` tells more. Start with\n\n"
           "  hearth add DIRECTORY\n"
           "  hearth ask \"a question about what is in it\"\n");
}

static json_t *overview_json(void)
{
    json_t *list = json_array();
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const struct command *k = command_at((enum command_id)i);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", k->name, "summary",
                                                    k->summary, "usage", k->usage));
    }
    return json_pack("{s:o}", "commands", list);
}

enum status cmd_help(struct cli *c, struct err *e)
{
    if (c->n_words == 0) {
        if (c->json) {
            return out_json(c, overview_json(), e);
        }
        overview(c);
        return OK;
    }
    const struct command *k = command_find(c->words[0]);
    if (!k) {
        const char *hint = command_closest(c->words[0]);
        return err_set(e, ERR_USAGE, c->words[0], "no such command%s%s%s",
                       hint ? ", did you mean '" : "", hint ? hint : "", hint ? "'?" : "");
    }
    struct buf options = {0};
    unsigned bit = 1u << (k - command_at((enum command_id)0));
    options_help(option_table, OPTION_COUNT, bit, &options);
    enum status s = OK;
    if (options.failed) {
        s = err_set(e, ERR_MEMORY, NULL, "no memory for the help");
    } else if (c->json) {
        s = out_json(c,
                     json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", k->name, "summary", k->summary,
                               "usage", k->usage, "help", k->help, "options", options.data),
                     e);
    } else {
        printf("%shearth %s%s: %s\n\nusage: hearth %s\n%s%s%s", ui_style(&c->ui, stdout, UI_BOLD),
               k->name, ui_style(&c->ui, stdout, UI_RESET), k->summary, k->usage,
               *k->help ? "\n" : "", k->help, options.data);
    }
    buf_fini(&options);
    return s;
}

enum status cmd_version(struct cli *c, struct err *e)
{
    if (c->json) {
        return out_json(c,
                        json_pack("{s:s, s:s, s:i}", "version", HEARTH_VERSION, "cpu",
                                  cpu_features()->name, "cores", cpu_count()),
                        e);
    }
    printf("hearth %s\n", HEARTH_VERSION);
    return OK;
}

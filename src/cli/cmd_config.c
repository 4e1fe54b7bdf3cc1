/* hearth config: the effective options and where each value comes from. */
#include "cli/cli.h"
#include "base/file.h"

#include <string.h>

static const char *origin_name(enum option_origin o)
{
    static const char *const names[] = {"default", "config", "environment", "command line"};
    return names[o];
}

static json_t *value_json(const struct option *o, const struct option_value *v)
{
    if (o->type == OPT_FLAG) {
        return json_boolean(v->flag);
    }
    if (o->type == OPT_STRINGS) {
        json_t *list = json_array();
        for (size_t i = 0; i < v->n_list; i++) {
            (void)json_array_append_new(list, out_text(v->list[i]));
        }
        return list;
    }
    if (!v->s) {
        return json_null();
    }
    return o->type == OPT_INT     ? json_integer(v->i)
           : o->type == OPT_FLOAT ? json_real(v->f)
                                  : out_text(v->s);
}

static json_t *commands_json(const struct option *o)
{
    json_t *list = json_array();
    for (int k = 0; o->commands && k < COMMAND_COUNT; k++) {
        if (o->commands & 1u << k) {
            (void)json_array_append_new(list, json_string(command_at((enum command_id)k)->name));
        }
    }
    return list;
}

static enum status print_json(struct cli *c, struct err *e)
{
    json_t *list = json_array();
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &option_table[i];
        const struct option_value *v = &c->values[i];
        (void)json_array_append_new(
            list, json_pack("{s:s, s:o, s:s, s:s?, s:s?, s:o}", "name", o->name, "value",
                            i == O_HOME ? out_text(c->home) : value_json(o, v), "origin",
                            origin_name(v->origin), "env", o->env, "key", o->config, "commands",
                            commands_json(o)));
    }
    return out_json(c,
                    json_pack("{s:o, s:o, s:o}", "home", out_text(c->home), "config_file",
                              out_text(c->config_path), "options", list),
                    e);
}

static void print_row(struct cli *c, size_t i)
{
    const struct option *o = &option_table[i];
    const struct option_value *v = &c->values[i];
    const char *text = o->type == OPT_FLAG ? (v->flag ? "yes" : "no") : v->s ? v->s : "";
    if (i == O_HOME) {
        text = c->home;
    }
    printf("%s%-20s%s %-36s %s%s%s", v->origin ? ui_style(&c->ui, stdout, UI_BOLD) : "", o->name,
           ui_style(&c->ui, stdout, UI_RESET), text,
           ui_style(&c->ui, stdout, v->origin ? UI_GREEN : UI_DIM), origin_name(v->origin),
           ui_style(&c->ui, stdout, UI_RESET));
    for (size_t k = 1; k < v->n_list; k++) {
        printf(", %s", v->list[k]);
    }
    printf("%s%s", v->origin == FROM_ENV ? " " : "", v->origin == FROM_ENV ? o->env : "");
    const char *sep = "  (";
    for (int k = 0; o->commands && k < COMMAND_COUNT; k++) {
        if (o->commands & 1u << k) {
            printf("%s%s", sep, command_at((enum command_id)k)->name);
            sep = ", ";
        }
    }
    printf("%s\n", o->commands ? ")" : "");
}

enum status cmd_config(struct cli *c, struct err *e)
{
    if (c->json) {
        return print_json(c, e);
    }
    bool there = c->config_path && file_exists(c->config_path);
    printf("configuration file: %s%s\n", c->config_path ? c->config_path : "none",
           there ? "" : " (not there)");
    printf(".env file: %s\n\n", file_exists(".env") ? ".env" : "none in this directory");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (i != O_HELP && i != O_VERSION && i != O_CONFIG) {
            print_row(c, i);
        }
    }
    return OK;
}

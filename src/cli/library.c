/* What a question needs: see library.h. */
#include "cli/library.h"
#include "base/sys.h"

#include <string.h>

static enum status check_embedder(struct cli *c, struct cli_library *l, struct err *e)
{
    struct store_embedder_info made;
    struct store_stats stats = {0};
    const char *identity = NULL;
    const struct engine_info *info = engine_info(l->embedder);
    enum status s = store_stats(l->store, &stats, e);
    if (!s && stats.n_chunks == 0) {
        (void)err_set(e, ERR_NOT_FOUND, c->home, "the library is empty");
        return cli_hint(c, e, "hearth add FOLDER fills it");
    }
    if (!s) {
        s = store_embedder(l->store, &made, e);
    }
    if (!s) {
        s = engine_identity(l->embedder, &identity, e);
    }
    if (!s && strcmp(made.identity, identity) != 0) {
        (void)err_set(e, ERR_MISMATCH, c->home,
                      "its index was made with the embedding model %s, this is %s: their vectors "
                      "cannot be compared",
                      made.name, info->name);
        return cli_hint(c, e,
                        "name that model with --embed-model, or make a library of its own with "
                        "--home DIR and `hearth add`");
    }
    return s;
}

/* A model without a template that can be run says so now, not at the first question. */
static enum status check_template(struct cli *c, struct engine *generator, struct err *e)
{
    if (engine_info(generator)->has_template) {
        return OK;
    }
    struct token_ids ids = {0};
    json_t *vars = json_pack("{s:[]}", "messages");
    enum status s = vars ? engine_chat_prompt(generator, vars, &ids, NULL, e)
                         : err_set(e, ERR_MEMORY, NULL, "no memory for the prompt");
    json_decref(vars);
    token_ids_fini(&ids);
    return s == ERR_MEMORY ? s
                           : cli_hint(c, e,
                                      "questions need a model with a chat template: name one with "
                                      "--model; `hearth models` shows which have one");
}

enum status cli_library_open(struct cli *c, bool answers, struct cli_library *out, struct err *e)
{
    double start = clock_ms();
    struct store_options opt = {.write = false};
    enum status s = store_open(c->home, &opt, &out->store, e);
    if (s == ERR_NOT_FOUND) {
        return cli_hint(c, e, "hearth add FOLDER fills it; --home DIR names another library");
    }
    if (!s) {
        s = engines_embedder(c, NULL, &out->embedder, e);
    }
    if (!s) {
        s = check_embedder(c, out, e);
    }
    if (!s) {
        s = vectors_open(out->store, c->home, &out->vectors, NULL, e);
    }
    if (!s && answers) {
        s = engines_generator(c, c->values[O_CTX].i, &out->generator, e);
    }
    if (!s && answers) {
        s = check_template(c, out->generator, e);
    }
    if (!s && answers) {
        s = session_new(out->generator, &out->session, e);
    }
    out->lib = (struct library){out->store, out->vectors, out->embedder};
    out->open_ms = clock_ms() - start;
    return s;
}

void cli_library_close(struct cli_library *l)
{
    session_free(l->session);
    engine_close(l->generator);
    vectors_close(l->vectors);
    engine_close(l->embedder);
    store_close(l->store);
    *l = (struct cli_library){0};
}

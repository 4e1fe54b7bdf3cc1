/* hearth generate: one prompt, one or several continuations. */
#include "cli/engines.h"
#include "base/sys.h"

#include <string.h>

/* --prompt, --prompt-file, the words, or standard input, in this order. */
static enum status read_prompt(struct cli *c, struct buf *out, struct err *e)
{
    const char *words = c->n_words ? cli_join_words(c) : NULL;
    const char *given = c->values[O_PROMPT].s ? c->values[O_PROMPT].s : words;
    enum status s = OK;
    if (given) {
        buf_puts(out, given);
    } else {
        s = input_read(c, c->values[O_PROMPT_FILE].s, out, e);
    }
    return s               ? s
           : out->failed   ? err_set(e, ERR_MEMORY, NULL, "no memory for the prompt")
           : out->len == 0 ? err_set(e, ERR_USAGE, "--prompt", "the prompt is empty")
                           : OK;
}

static json_t *chat_message(const char *role, const char *text, size_t n)
{
    return json_pack("{s:s, s:o}", "role", role, "content", out_string(text, n));
}

static enum status prompt_ids(struct cli *c, struct engine *en, const struct buf *prompt,
                              struct token_ids *ids, struct err *e)
{
    if (c->values[O_RAW].flag) {
        return engine_tokenize(en, prompt->data, prompt->len,
                               TOKENIZE_ADD_SPECIAL | TOKENIZE_PARSE_SPECIAL, ids, e);
    }
    json_t *messages = json_array();
    const char *system = c->values[O_SYSTEM].s;
    if (system) {
        (void)json_array_append_new(messages, chat_message("system", system, strlen(system)));
    }
    (void)json_array_append_new(messages, chat_message("user", prompt->data, prompt->len));
    json_t *vars = json_pack("{s:o, s:b}", "messages", messages, "add_generation_prompt", 1);
    enum status s = vars ? engine_chat_prompt(en, vars, ids, NULL, e)
                         : err_set(e, ERR_MEMORY, NULL, "no memory for the prompt");
    json_decref(vars);
    return s == ERR_UNSUPPORTED
               ? cli_hint(c, e, "--raw runs the prompt as it is, without a chat template")
               : s;
}

static json_t *ids_json(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, json_integer(ids[i]));
    }
    return list;
}

/* logprobs: one number per token; top_logprobs: the alternatives that were asked for. */
static void put_logprobs(json_t *out, const struct generation *g)
{
    json_t *chosen = json_array();
    json_t *top = json_array();
    size_t row = 1 + (size_t)(g->n_logprobs > 0 ? g->n_logprobs : 0);
    for (size_t i = 0; g->logprobs && i < g->ids.n; i++) {
        const struct token_logprob *p = g->logprobs + i * row;
        json_t *others = json_array();
        (void)json_array_append_new(chosen, json_real((double)p[0].logprob));
        for (size_t k = 1; k < row; k++) {
            (void)json_array_append_new(others, json_pack("{s:i, s:f}", "id", (int)p[k].id,
                                                          "logprob", (double)p[k].logprob));
        }
        (void)json_array_append_new(top, others);
    }
    (void)json_object_set_new(out, "logprobs", chosen);
    if (row > 1) {
        (void)json_object_set_new(out, "top_logprobs", top);
    } else {
        json_decref(top);
    }
}

static double per_second(int64_t n, double ms)
{
    return ms > 0 ? (double)n * 1000 / ms : 0;
}

static json_t *generation_json(const struct generation *g)
{
    const char *text = g->text.data ? g->text.data : "";
    json_t *j =
        json_pack("{s:o, s:o, s:s}", "text", out_string(text, g->text.len), "ids",
                  ids_json(g->ids.data, g->ids.n), "stop_reason", stop_reason_name(g->reason));
    put_logprobs(j, g);
    int64_t n_new = g->n_prompt - g->n_prompt_reused;
    double decode_ms = g->generate_ms;
    (void)json_object_set_new(
        j, "timings",
        json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "prompt_tokens",
                  (json_int_t)g->n_prompt, "prompt_reused", (json_int_t)g->n_prompt_reused,
                  "generated_tokens", (json_int_t)g->ids.n, "prompt_ms", g->prompt_ms,
                  "first_token_ms", g->first_token_ms, "generate_ms", g->generate_ms,
                  "prompt_per_second", per_second(n_new, g->prompt_ms), "generated_per_second",
                  per_second((int64_t)g->ids.n, decode_ms)));
    return j;
}

static void say_timing(const struct cli *c, const struct generation *g)
{
    if (!c->ui.live) {
        return;
    }
    char a[UI_TEXT];
    ui_say(&c->ui, "%s%lld prompt tokens at %.0f/s, first token after %s, %zu tokens at %.1f/s%s",
           ui_style(&c->ui, stderr, UI_DIM), (long long)g->n_prompt,
           per_second(g->n_prompt - g->n_prompt_reused, g->prompt_ms), ui_ms(a, g->first_token_ms),
           g->ids.n, per_second((int64_t)g->ids.n, g->generate_ms),
           ui_style(&c->ui, stderr, UI_RESET));
}

/* The JSON of the first continuation stands at the top, all of them in "choices" when --n asks for
 * more than one. */
static enum status run(struct cli *c, struct engine *en, const struct token_ids *ids,
                       double load_ms, struct err *e)
{
    struct generate_options opt = {
        .max_tokens = c->values[O_MAX_TOKENS].i,
        .stop = c->values[O_STOP].list,
        .n_stop = c->values[O_STOP].n_list,
        .n_logprobs = c->json ? (int)c->values[O_LOGPROBS].i : -1,
        .ignore_eos = c->values[O_IGNORE_EOS].flag,
        .special = c->values[O_SPECIAL].flag,
        .on_text = c->json ? NULL : engines_write_text,
        .cancel = &cli_cancel,
    };
    struct session *session = NULL;
    json_t *choices = json_array();
    enum status s = engines_sampling(c, &opt.sampling, e);
    if (!s) {
        s = session_new(en, &session, e);
    }
    uint64_t seed = opt.sampling.seed ? opt.sampling.seed : 1;
    for (int64_t i = 0; !s && i < c->values[O_N].i; i++) {
        struct generation g = {0};
        opt.sampling.seed = seed + (uint64_t)i;
        s = session_generate(session, ids->data, ids->n, &opt, &g, e);
        if (!s && c->json) {
            (void)json_array_append_new(choices, generation_json(&g));
        } else {
            printf("\n");
            say_timing(c, &g);
        }
        generation_fini(&g);
    }
    if (!s && c->json) {
        json_t *j = json_deep_copy(json_array_get(choices, 0));
        const struct engine_info *info = engine_info(en);
        (void)json_object_set_new(j, "prompt_ids", ids_json(ids->data, ids->n));
        (void)json_object_set_new(json_object_get(j, "timings"), "load_ms", json_real(load_ms));
        (void)json_object_set_new(j, "opening", engines_opening_json(en));
        (void)json_object_set_new(j, "model", out_text(info->name));
        (void)json_object_set_new(j, "threads", json_integer(info->n_threads));
        (void)json_object_set_new(j, "isa", json_string(info->isa));
        if (c->values[O_N].i > 1) {
            (void)json_object_set(j, "choices", choices);
        }
        s = out_json(c, j, e);
    }
    json_decref(choices);
    session_free(session);
    return s;
}

enum status cmd_generate(struct cli *c, struct err *e)
{
    struct buf prompt = {0};
    struct token_ids ids = {0};
    struct engine *en = NULL;
    double start = clock_ms();
    enum status s = read_prompt(c, &prompt, e);
    if (!s) {
        start = clock_ms();
        s = engines_generator(c, c->values[O_CTX].i, &en, e);
    }
    double load_ms = clock_ms() - start;
    if (!s) {
        s = prompt_ids(c, en, &prompt, &ids, e);
    }
    if (!s) {
        s = run(c, en, &ids, load_ms, e);
    }
    token_ids_fini(&ids);
    engine_close(en);
    buf_fini(&prompt);
    return s;
}

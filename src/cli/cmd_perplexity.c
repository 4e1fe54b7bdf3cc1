/* hearth perplexity: how well a model predicts a text. */
#include "cli/engines.h"

struct watch {
    struct ui_progress bar;
};

static void on_progress(void *ctx, int64_t done, int64_t total)
{
    struct watch *w = ctx;
    ui_progress_update(&w->bar, done, total, NULL);
}

static enum status measure(struct cli *c, const struct buf *text, int64_t n_ctx, struct err *e)
{
    struct engine *en = NULL;
    struct perplexity p = {0};
    struct watch w;
    enum status s = engines_generator(c, n_ctx, &en, e);
    if (s) {
        return s;
    }
    ui_progress_init(&w.bar, &c->ui, "perplexity", "windows");
    s = engine_perplexity(en, text->data ? text->data : "", text->len, n_ctx, on_progress, &w, &p,
                          e);
    ui_progress_clear(&w.bar);
    if (!s && c->json) {
        const struct engine_info *info = engine_info(en);
        s = out_json(c,
                     json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:o, s:i, s:s}", "perplexity",
                               p.value, "nll_mean", p.nll_mean, "std_error", p.std_error, "tokens",
                               (json_int_t)p.n_tokens, "windows", (json_int_t)p.n_windows, "ctx",
                               (json_int_t)n_ctx, "model", out_text(info->name), "threads",
                               info->n_threads, "isa", info->isa),
                     e);
    } else if (!s) {
        char n[UI_TEXT];
        printf("%.4f\n", p.value);
        ui_say(&c->ui, "perplexity %.4f +- %.4f over %s tokens in %lld windows of %lld", p.value,
               p.std_error, ui_count(n, p.n_tokens), (long long)p.n_windows, (long long)n_ctx);
    }
    engine_close(en);
    return s;
}

enum status cmd_perplexity(struct cli *c, struct err *e)
{
    const char *path = c->values[O_FILE].s ? c->values[O_FILE].s : c->n_words ? c->words[0] : NULL;
    int64_t n_ctx = c->values[O_CTX].i ? c->values[O_CTX].i : 512;
    struct buf text = {0};
    enum status s = input_read(c, path, &text, e);
    if (!s) {
        s = measure(c, &text, n_ctx, e);
    }
    buf_fini(&text);
    return s;
}

/* hearth embed: JSONL {"text"} in, JSONL {"embedding"} out, in order.
 *
 * Lines are gathered into batches, which the engine packs without padding; a bad line ends the run
 * with its number, after everything before it was written. */
#include "cli/engines.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 256 };

struct embedding {
    struct cli *c;
    struct engine *en;
    json_t *lines[BATCH]; /* parsed objects: they own the texts */
    size_t n;
    float *rows; /* BATCH x d_model */
    int64_t n_truncated, n_texts;
};

static void print_row(const struct embedding *b, size_t i, bool truncated)
{
    int64_t d = engine_info(b->en)->d_model;
    const float *row = b->rows + (size_t)d * i;
    (void)fputs("{\"embedding\":[", stdout);
    for (int64_t k = 0; k < d; k++) {
        printf(k ? ",%.9g" : "%.9g", (double)row[k]); /* 9 digits give a float back exactly */
    }
    (void)fputs(truncated ? "],\"truncated\":true}\n" : "]}\n", stdout);
}

static enum status embed_batch(struct embedding *b, struct err *e)
{
    const char *texts[BATCH];
    size_t lens[BATCH];
    uint8_t flags[BATCH] = {0};
    for (size_t i = 0; i < b->n; i++) {
        json_t *text = json_object_get(b->lines[i], "text");
        texts[i] = json_string_value(text);
        lens[i] = json_string_length(text);
    }
    struct embed_options opt = {
        .role = b->c->values[O_QUERY].flag ? EMBED_QUERY : EMBED_DOCUMENT,
        .no_normalize = !b->c->values[O_NORMALIZE].flag,
    };
    struct embed_report report = {0};
    enum status s =
        b->n ? engine_embed(b->en, texts, lens, b->n, &opt, b->rows, flags, &report, e) : OK;
    for (size_t i = 0; i < b->n; i++) {
        if (!s) {
            print_row(b, i, flags[i] & 1);
        }
        json_decref(b->lines[i]);
    }
    b->n_truncated += report.n_truncated;
    b->n_texts += (int64_t)b->n;
    b->n = 0;
    return s;
}

static enum status take_line(void *ctx, const char *line, size_t n, int64_t number, struct err *e)
{
    struct embedding *b = ctx;
    char place[64];
    (void)snprintf(place, sizeof place, "standard input, line %lld", (long long)number);
    json_t *j = NULL;
    enum status s = input_json(line, n, place, &j, e);
    if (!s && !json_is_string(json_object_get(j, "text"))) {
        json_decref(j);
        s = err_set(e, ERR_FORMAT, place, "expected an object with a string \"text\"");
    }
    if (s) {
        struct err mine = {0};
        enum status before = embed_batch(b, &mine);
        if (before && e) {
            *e = mine;
        }
        return before ? before
                      : cli_hint(b->c, e,
                                 "correct the line; the embeddings of all lines before it were "
                                 "written");
    }
    b->lines[b->n++] = j;
    return b->n == BATCH ? embed_batch(b, e) : OK;
}

enum status cmd_embed(struct cli *c, struct err *e)
{
    struct embedding *b = arena_alloc(&c->arena, sizeof *b);
    if (!b) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a batch");
    }
    /* --model on the command line means the embedding model here; in the environment it is the
     * language model of the other commands */
    bool named = c->values[O_MODEL].origin == FROM_COMMAND_LINE;
    b->c = c;
    enum status s = engines_embedder(c, named ? c->values[O_MODEL].s : NULL, &b->en, e);
    if (!s) {
        b->rows = mem_aligned(BATCH * (size_t)engine_info(b->en)->d_model, sizeof *b->rows);
        s = b->rows ? input_each_line(c, take_line, b, e)
                    : err_set(e, ERR_MEMORY, NULL, "no memory for a batch");
        s = s ? s : embed_batch(b, e);
    }
    if (b->n_truncated) {
        ui_warn(&c->ui,
                "%lld of %lld texts are longer than the %lld tokens that %s reads; only "
                "their beginnings were embedded (\"truncated\": true)",
                (long long)b->n_truncated, (long long)b->n_texts,
                (long long)engine_info(b->en)->n_ctx_train, engine_info(b->en)->name);
    }
    while (b->n) {
        json_decref(b->lines[--b->n]);
    }
    free(b->rows);
    engine_close(b->en);
    return s;
}

/* hearth rerank: documents by how well they answer a query, best first.
 *
 * With --query the lines of standard input are documents {"text"} of that one query; without it
 * each line is a request {"query", "documents"} of its own, answered before the next is read. */
#include "cli/engines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DOCUMENTS = 1 << 20 };

struct result {
    size_t index;
    float logit;
    uint8_t flags;
};

struct rerank {
    struct cli *c;
    struct engine *en;
    json_t *documents; /* --query: all lines so far */
    int64_t n_requests, n_pairs, n_truncated;
};

/* The pairs of one request. */
struct pairs {
    const char **texts;
    size_t *lens;
    float *logits;
    uint8_t *flags;
    struct result *results;
    size_t n;
};

static void pairs_fini(struct pairs *p)
{
    free(p->texts);
    free(p->lens);
    free(p->logits);
    free(p->flags);
    free(p->results);
}

/* A document is a string or an object with a string "text". */
static const json_t *text_of(const json_t *document)
{
    const json_t *text = json_is_object(document) ? json_object_get(document, "text") : document;
    return json_is_string(text) ? text : NULL;
}

static enum status pairs_init(struct pairs *p, const json_t *documents, const char *place,
                              struct err *e)
{
    p->n = json_array_size(documents);
    if (p->n == 0 || p->n > MAX_DOCUMENTS) {
        return err_set(e, p->n ? ERR_LIMIT : ERR_FORMAT, place, "%zu documents, expected 1 to %d",
                       p->n, MAX_DOCUMENTS);
    }
    p->texts = calloc(p->n, sizeof *p->texts);
    p->lens = calloc(p->n, sizeof *p->lens);
    p->logits = calloc(p->n, sizeof *p->logits);
    p->flags = calloc(p->n, sizeof *p->flags);
    p->results = calloc(p->n, sizeof *p->results);
    if (!p->texts || !p->lens || !p->logits || !p->flags || !p->results) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for %zu documents", p->n);
    }
    for (size_t i = 0; i < p->n; i++) {
        const json_t *text = text_of(json_array_get(documents, i));
        if (!text) {
            return err_set(e, ERR_FORMAT, place,
                           "document %zu is neither a string nor an object with a string \"text\"",
                           i);
        }
        p->texts[i] = json_string_value(text);
        p->lens[i] = json_string_length(text);
    }
    return OK;
}

/* Best first; equal ones in the order given; what is no number last. */
static int by_logit(const void *a, const void *b)
{
    const struct result *x = a, *y = b;
    float u = isnan(x->logit) ? -INFINITY : x->logit;
    float v = isnan(y->logit) ? -INFINITY : y->logit;
    return u != v ? (u < v) - (u > v) : (x->index > y->index) - (x->index < y->index);
}

static json_t *result_json(const struct result *r)
{
    static const char *const cut[] = {NULL, "query", "document", "both"};
    json_t *j = json_pack("{s:I, s:f, s:f}", "index", (json_int_t)r->index, "score",
                          engine_rank_score(r->logit), "logit", (double)r->logit);
    if (j && r->flags) {
        (void)json_object_set_new(j, "truncated", json_string(cut[r->flags & 3]));
    }
    return j;
}

static enum status print(struct rerank *k, const struct pairs *p, const struct rank_report *report,
                         struct err *e)
{
    size_t most = (size_t)k->c->values[O_RERANK_K].i;
    size_t n = most && most < p->n ? most : p->n;
    if (!k->c->json) {
        printf("%s", k->n_requests ? "\n" : "");
        for (size_t i = 0; i < n; i++) {
            const struct result *r = &p->results[i];
            printf("%zu\t%.6f\t%.4f\n", r->index, engine_rank_score(r->logit), (double)r->logit);
        }
        return OK;
    }
    json_t *results = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(results, result_json(&p->results[i]));
    }
    return out_json(k->c,
                    json_pack("{s:o, s:I, s:I}", "results", results, "tokens",
                              (json_int_t)report->n_tokens, "truncated",
                              (json_int_t)report->n_truncated),
                    e);
}

static enum status rank(struct rerank *k, const char *query, size_t query_len,
                        const json_t *documents, const char *place, struct err *e)
{
    struct pairs p = {0};
    struct rank_report report;
    enum status s = pairs_init(&p, documents, place, e);
    const struct rank_request q = {.query = query,
                                   .query_len = query_len,
                                   .documents = p.texts,
                                   .lens = p.lens,
                                   .n = p.n,
                                   .instruction = k->c->values[O_RERANK_INSTRUCTION].s};
    s = s ? s : engine_rank(k->en, &q, p.logits, p.flags, &report, e);
    if (!s) {
        for (size_t i = 0; i < p.n; i++) {
            p.results[i] = (struct result){i, p.logits[i], p.flags[i]};
        }
        qsort(p.results, p.n, sizeof *p.results, by_logit);
        s = print(k, &p, &report, e);
        k->n_requests++;
        k->n_pairs += (int64_t)p.n;
        k->n_truncated += report.n_truncated;
    }
    pairs_fini(&p);
    return s;
}

static enum status take_line(void *ctx, const char *line, size_t n, int64_t number, struct err *e)
{
    struct rerank *k = ctx;
    char place[64];
    (void)snprintf(place, sizeof place, "standard input, line %lld", (long long)number);
    json_t *j = NULL;
    enum status s = input_json(line, n, place, &j, e);
    if (s) {
        return s;
    }
    if (k->documents) {
        if (!text_of(j)) {
            json_decref(j);
            return err_set(e, ERR_FORMAT, place, "expected an object with a string \"text\"");
        }
        return json_array_append_new(k->documents, j) ? err_set(e, ERR_MEMORY, NULL, "no memory")
                                                      : OK;
    }
    const json_t *query = json_object_get(j, "query");
    const json_t *documents = json_object_get(j, "documents");
    s = json_is_string(query) && json_is_array(documents)
            ? rank(k, json_string_value(query), json_string_length(query), documents, place, e)
            : err_set(e, ERR_FORMAT, place,
                      "expected an object with a string \"query\" and an array \"documents\" (or "
                      "--query, and lines {\"text\"})");
    json_decref(j);
    return s;
}

static enum status rank_lines(struct rerank *k, struct err *e)
{
    const char *query = k->c->values[O_RERANK_QUERY].s;
    if (query && !(k->documents = json_array())) {
        return err_set(e, ERR_MEMORY, NULL, "no memory");
    }
    enum status s = input_each_line(k->c, take_line, k, e);
    if (!s && query) {
        s = rank(k, query, strlen(query), k->documents, "standard input", e);
    }
    json_decref(k->documents);
    return s;
}

static enum status open_reranker(struct rerank *k, struct err *e)
{
    /* --model on the command line means the reranker here; in the environment it is the language
     * model of the other commands */
    const struct option_value *v = k->c->values;
    bool named = v[O_MODEL].origin == FROM_COMMAND_LINE;
    const char *name = named ? v[O_MODEL].s : v[O_RERANK_MODEL].s;
    if (!name) {
        return err_set(e, ERR_USAGE, "--model", "name a reranker: its directory, or a GGUF file");
    }
    enum status s = engines_embedder(k->c, name, &k->en, e);
    if (s || !v[O_SELF_TEST].flag) {
        return s;
    }
    bool ran = false;
    s = engine_rank_check(k->en, &ran, e);
    return s && ran ? cli_hint(k->c, e, "--no-self-test ranks with it all the same") : s;
}

enum status cmd_rerank(struct cli *c, struct err *e)
{
    struct rerank k = {.c = c};
    enum status s = open_reranker(&k, e);
    s = s ? s : rank_lines(&k, e);
    if (k.n_truncated) {
        ui_warn(&c->ui,
                "%lld of %lld pairs are longer than the %lld tokens that %s reads; their longer "
                "parts were cut at the end",
                (long long)k.n_truncated, (long long)k.n_pairs,
                (long long)engine_info(k.en)->n_ctx_train, engine_info(k.en)->name);
    }
    engine_close(k.en);
    return s;
}

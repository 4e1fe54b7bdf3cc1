/* hearth bench on an embedding model: many texts in one call, and one short query alone. On a
 * reranker: the documents of one request. */
#include "cli/bench.h"
#include "base/sys.h"

#include <stdlib.h>
#include <string.h>

enum { TEXTS = 32, PAIRS = 20, MAX_TEXTS = 4096, QUERIES = 30 };

static const char question[] =
    "how do I create an index concurrently in a large database without blocking?";

/* The texts that are embedded together: lines {"text"} of --file, or made up. */
struct texts {
    struct arena arena;
    const char **items;
    size_t *lens;
    size_t n;
};

/* Texts of `want` tokens each, or of as many as the model reads. */
static enum status make_texts(struct engine *en, int64_t want, size_t n, struct texts *t,
                              struct err *e)
{
    struct buf text = {0};
    size_t n_tokens = 0;
    int64_t limit = engine_info(en)->n_ctx_train;
    want = limit && want > limit ? limit : want;
    enum status s = OK;
    while (!s && (int64_t)n_tokens + 2 < want) {
        buf_puts(&text, "water ");
        s = text.failed ? err_set(e, ERR_MEMORY, NULL, "no memory for a text")
                        : engine_count_tokens(en, text.data, text.len, &n_tokens, e);
    }
    const char *copy = arena_strndup(&t->arena, text.data ? text.data : "", text.len);
    for (t->n = 0; copy && t->n < n; t->n++) {
        t->items[t->n] = copy;
        t->lens[t->n] = text.len;
    }
    buf_fini(&text);
    return s;
}

static enum status read_texts(struct cli *c, const char *path, struct texts *t, struct err *e)
{
    struct buf all = {0};
    enum status s = input_read(c, path, &all, e);
    char *line = all.data;
    for (int number = 1; !s && line && *line; number++) {
        size_t n = strcspn(line, "\n");
        char place[64];
        (void)snprintf(place, sizeof place, "--file, line %d", number);
        json_t *j = NULL;
        if (t->n == MAX_TEXTS) {
            s = err_set(e, ERR_LIMIT, place, "at most %d texts are measured", MAX_TEXTS);
        } else if (n && !(s = input_json(line, n, place, &j, e))) {
            const json_t *text = json_object_get(j, "text");
            t->lens[t->n] = json_string_length(text);
            t->items[t->n] = arena_strndup(&t->arena, json_string_value(text), t->lens[t->n]);
            s = !json_is_string(text) ? err_set(e, ERR_FORMAT, place, "expected a string \"text\"")
                                      : OK;
            t->n += s ? 0 : 1;
        }
        json_decref(j);
        line += n + (line[n] ? 1 : 0);
    }
    buf_fini(&all);
    return s || t->n ? s : err_set(e, ERR_FORMAT, path, "no texts in it");
}

/* Every text in one call, `repeats` times after one that is not counted: one row. */
static enum status measure(struct bench *b, const char *test, const struct texts *t, float *rows,
                           enum embed_role role, int repeats, struct err *e)
{
    struct embed_options opt = {.role = role};
    struct embed_report report = {0};
    enum status s = engine_embed(b->en, t->items, t->lens, t->n, &opt, rows, NULL, &report, e);
    if (s) {
        return s;
    }
    struct bench_row *r = bench_row_begin(b, test, report.n_tokens, 0);
    for (int i = 0; !s && r && i < repeats; i++) {
        double start = clock_ms();
        s = engine_embed(b->en, t->items, t->lens, t->n, &opt, rows, NULL, &report, e);
        r->seconds[r->n++] = (clock_ms() - start) / 1000;
    }
    if (!s && r) {
        r->n_texts = (int64_t)t->n;
        bench_row_end(b, r);
    }
    return s;
}

static enum status measure_all(struct bench *b, const int64_t *lengths, size_t n, struct texts *t,
                               float *rows, struct err *e)
{
    const char *path = b->c->values[O_FILE].s;
    int repeats = (int)b->c->values[O_REPEATS].i;
    const char *q = question;
    size_t q_len = sizeof question - 1;
    struct texts one = {.items = &q, .lens = &q_len, .n = 1};
    enum status s = OK;
    for (size_t i = 0; !s && i < (path ? 1 : n); i++) {
        s = path ? read_texts(b->c, path, t, e) : make_texts(b->en, lengths[i], TEXTS, t, e);
        s = s ? s : measure(b, "embed", t, rows, EMBED_DOCUMENT, repeats, e);
    }
    return s ? s : measure(b, "query", &one, rows, EMBED_QUERY, QUERIES, e);
}

/* The request {"query", "documents"} of --file; its texts live in t's arena. */
static enum status read_request(struct cli *c, const char *path, const char **query,
                                struct texts *t, struct err *e)
{
    struct buf all = {0};
    json_t *j = NULL;
    enum status s = input_read(c, path, &all, e);
    s = s ? s : input_json(all.data, all.len, path, &j, e);
    const json_t *documents = json_object_get(j, "documents");
    const char *q = json_string_value(json_object_get(j, "query"));
    *query = q ? arena_strdup(&t->arena, q) : NULL;
    for (; !s && t->n < json_array_size(documents) && t->n < MAX_TEXTS; t->n++) {
        const json_t *text = json_array_get(documents, t->n);
        t->lens[t->n] = json_string_length(text);
        t->items[t->n] = arena_strndup(&t->arena, json_string_value(text), t->lens[t->n]);
        if (!json_is_string(text)) {
            break;
        }
    }
    if (!s && (!*query || !t->n || t->n < json_array_size(documents))) {
        s = err_set(e, ERR_FORMAT, path,
                    "expected {\"query\": \"...\", \"documents\": [\"...\", ...]} of at most %d "
                    "documents",
                    MAX_TEXTS);
    }
    json_decref(j);
    buf_fini(&all);
    return s;
}

static enum status measure_request(struct bench *b, const char *query, const struct texts *t,
                                   float *logits, struct err *e)
{
    const struct rank_request q = {.query = query,
                                   .query_len = strlen(query),
                                   .documents = t->items,
                                   .lens = t->lens,
                                   .n = t->n};
    int repeats = (int)b->c->values[O_REPEATS].i;
    struct rank_report report = {0};
    enum status s = engine_rank(b->en, &q, logits, NULL, &report, e);
    struct bench_row *r = s ? NULL : bench_row_begin(b, "rerank", report.n_tokens, 0);
    for (int i = 0; !s && r && i < repeats; i++) {
        double start = clock_ms();
        s = engine_rank(b->en, &q, logits, NULL, &report, e);
        r->seconds[r->n++] = (clock_ms() - start) / 1000;
    }
    if (!s && r) {
        r->n_texts = (int64_t)t->n;
        bench_row_end(b, r);
    }
    return s;
}

/* PAIRS pairs of each length, or the request of --file. */
static enum status measure_pairs(struct bench *b, const int64_t *lengths, size_t n, struct texts *t,
                                 float *logits, struct err *e)
{
    const char *path = b->c->values[O_FILE].s, *query = question;
    size_t n_query = 0;
    enum status s = engine_count_tokens(b->en, query, strlen(query), &n_query, e);
    if (s || path) {
        s = s ? s : read_request(b->c, path, &query, t, e);
        return s ? s : measure_request(b, query, t, logits, e);
    }
    for (size_t i = 0; !s && i < n; i++) {
        /* make_texts counts two special tokens, a pair has three */
        int64_t rest = lengths[i] - (int64_t)n_query - 1;
        s = make_texts(b->en, rest > 3 ? rest : 3, PAIRS, t, e);
        s = s ? s : measure_request(b, query, t, logits, e);
    }
    return s;
}

enum status bench_encoder(struct bench *b, const int64_t *lengths, size_t n, struct err *e)
{
    struct texts t = {0};
    t.items = arena_array(&t.arena, MAX_TEXTS, sizeof *t.items);
    t.lens = arena_array(&t.arena, MAX_TEXTS, sizeof *t.lens);
    float *rows = mem_aligned(MAX_TEXTS * (size_t)engine_info(b->en)->d_model, sizeof *rows);
    enum status s = !t.items || !t.lens || !rows
                        ? err_set(e, ERR_MEMORY, NULL, "no memory for the embeddings")
                    : engine_info(b->en)->ranks ? measure_pairs(b, lengths, n, &t, rows, e)
                                                : measure_all(b, lengths, n, &t, rows, e);
    free(rows);
    arena_reset(&t.arena);
    return s;
}

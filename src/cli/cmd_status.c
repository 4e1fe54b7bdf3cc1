/* hearth status: what is stored, what failed, what is stale, and what to do about it. */
#include "cli/cli.h"
#include "base/file.h"
#include "store/vectors.h"

#include <string.h>

enum { FAILURES_SHOWN = 10 };

struct report {
    struct cli *c;
    json_t *sources, *failures, *advice;
    int64_t n_failures;
};

static enum status take_source(void *ctx, const char *source, int64_t n_documents, int64_t n_chunks)
{
    struct report *r = ctx;
    bool there = file_exists(source) || strstr(source, "://");
    return json_array_append_new(r->sources,
                                 json_pack("{s:o, s:I, s:I, s:b}", "source", out_text(source),
                                           "documents", (json_int_t)n_documents, "chunks",
                                           (json_int_t)n_chunks, "exists", (int)there)) == 0
               ? OK
               : ERR_MEMORY;
}

static enum status take_failure(void *ctx, const char *uri, const char *code, const char *message,
                                int64_t at_ns)
{
    struct report *r = ctx;
    r->n_failures++;
    return json_array_append_new(r->failures,
                                 json_pack("{s:o, s:o, s:o, s:I}", "uri", out_text(uri), "code",
                                           out_text(code), "message", out_text(message), "at_ns",
                                           (json_int_t)at_ns)) == 0
               ? OK
               : ERR_MEMORY;
}

static void advise(struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void advise(struct report *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0) {
        (void)json_array_append_new(r->advice, out_text(text));
    }
}

static void give_advice(struct report *r, const struct store_stats *stats)
{
    size_t i;
    json_t *source;
    json_array_foreach(r->sources, i, source)
    {
        if (!json_boolean_value(json_object_get(source, "exists"))) {
            const char *name = json_string_value(json_object_get(source, "source"));
            advise(r,
                   "%s is gone, yet its documents still answer: `hearth remove %s`, or bring it "
                   "back",
                   name, name);
        }
    }
    if (stats->n_documents == 0) {
        advise(r, "nothing is stored: `hearth add FOLDER`");
    }
    if (r->n_failures) {
        advise(r, "mend the files that failed, then `hearth add` brings everything up to date");
    }
}

static void print_lists(const struct report *r)
{
    const struct ui *ui = &r->c->ui;
    size_t i;
    json_t *j;
    char n[UI_TEXT], m[UI_TEXT], t[UI_TEXT];
    json_array_foreach(r->sources, i, j)
    {
        bool there = json_boolean_value(json_object_get(j, "exists"));
        printf("  %s%s%s  documents: %s, passages: %s%s%s%s\n", ui_style(ui, stdout, UI_CYAN),
               json_string_value(json_object_get(j, "source")), ui_style(ui, stdout, UI_RESET),
               ui_count(n, json_integer_value(json_object_get(j, "documents"))),
               ui_count(m, json_integer_value(json_object_get(j, "chunks"))),
               ui_style(ui, stdout, UI_RED), there ? "" : "  (gone)",
               ui_style(ui, stdout, UI_RESET));
    }
    if (r->n_failures) {
        printf("\n%s%lld files failed%s\n", ui_style(ui, stdout, UI_RED), (long long)r->n_failures,
               ui_style(ui, stdout, UI_RESET));
    }
    json_array_foreach(r->failures, i, j)
    {
        if (i == FAILURES_SHOWN) {
            printf("  and %lld more; --json lists all\n",
                   (long long)r->n_failures - FAILURES_SHOWN);
            break;
        }
        printf("  %s\n    %s (%s)\n", json_string_value(json_object_get(j, "uri")),
               json_string_value(json_object_get(j, "message")),
               ui_ago(t, json_integer_value(json_object_get(j, "at_ns"))));
    }
    json_array_foreach(r->advice, i, j)
    {
        printf("%s%s%s %s\n", i ? "" : "\n", ui_style(ui, stdout, UI_YELLOW), "->",
               json_string_value(j));
        printf("%s", ui_style(ui, stdout, UI_RESET));
    }
}

static void print_text(const struct report *r, const struct store_stats *s,
                       const struct store_embedder_info *m, bool stale)
{
    char a[UI_TEXT], b[UI_TEXT], d[UI_TEXT], t[UI_TEXT];
    printf("library     %s\n", r->c->home);
    printf("documents   %s (passages: %s, %s of text", ui_count(a, s->n_documents),
           ui_count(b, s->n_chunks), ui_bytes(d, s->text_bytes));
    if (s->n_pages) {
        printf(", %s pages", ui_count(t, s->n_pages));
    }
    printf(")\n");
    printf("database    %s, last change %s\n", ui_bytes(a, s->db_bytes),
           ui_ago(b, s->last_change_ns));
    printf("embeddings  %s%s", *m->name ? m->name : "none yet", *m->name ? "" : "\n");
    if (*m->name) {
        printf(", %lld numbers each, index %s\n", (long long)m->dim,
               stale ? "was behind the store, brought up to date" : "up to date");
    }
    printf("sources     %lld\n", (long long)s->n_sources);
    print_lists(r);
}

static enum status print(struct report *r, const struct store_stats *stats,
                         const struct store_embedder_info *made, bool stale, struct err *e)
{
    if (!r->c->json) {
        print_text(r, stats, made, stale);
        return OK;
    }
    return out_json(
        r->c,
        json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:o, s:o, s:I}, s:b, s:O, s:O, s:O}",
                  "home", out_text(r->c->home), "documents", (json_int_t)stats->n_documents,
                  "chunks", (json_int_t)stats->n_chunks, "pages", (json_int_t)stats->n_pages,
                  "text_bytes", (json_int_t)stats->text_bytes, "database_bytes",
                  (json_int_t)stats->db_bytes, "generation", (json_int_t)stats->generation,
                  "last_change_ns", (json_int_t)stats->last_change_ns, "embedder", "name",
                  out_text(made->name), "identity", out_text(made->identity), "dimensions",
                  (json_int_t)made->dim, "index_was_stale", (int)stale, "sources", r->sources,
                  "failures", r->failures, "advice", r->advice),
        e);
}

enum status cmd_status(struct cli *c, struct err *e)
{
    struct report r = {
        .c = c, .sources = json_array(), .failures = json_array(), .advice = json_array()};
    struct store *store = NULL;
    struct store_stats stats = {0};
    struct store_embedder_info made = {0};
    enum status s = store_open(c->home, NULL, &store, e);
    if (s == ERR_NOT_FOUND) {
        s = cli_hint(c, e, "hearth add FOLDER fills it; --home DIR names another library");
    }
    if (!s && c->values[O_VERIFY].flag) {
        s = store_verify(store, e);
    }
    if (!s) {
        s = store_stats(store, &stats, e);
    }
    if (!s) {
        s = store_each_source(store, take_source, &r, e);
    }
    if (!s) {
        s = store_each_failure(store, take_failure, &r, e);
    }
    bool stale = false; /* opening the index mends it, and says so */
    struct vectors *vectors = NULL;
    if (!s && stats.n_chunks) {
        s = vectors_open(store, c->home, &vectors, &stale, e);
    }
    vectors_close(vectors);
    if (!s) {
        s = store_embedder(store, &made, e);
    }
    if (!s) {
        give_advice(&r, &stats);
        s = print(&r, &stats, &made, stale, e);
    }
    json_decref(r.sources);
    json_decref(r.failures);
    json_decref(r.advice);
    store_close(store);
    return s;
}

/* hearth search: the passages nearest to a query, with the scores that say why. */
#include "cli/library.h"
#include "base/sys.h"

#include <string.h>

enum { SNIPPET_BYTES = 400 };

static json_t *passage_json(const struct passage *p, size_t rank)
{
    return json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:i, s:I, s:I, s:o, s:f, s:f, s:f}", "rank",
        (json_int_t)rank, "chunk", (json_int_t)p->chunk.id, "document", (json_int_t)p->document.id,
        "uri", out_text(p->document.uri), "title", out_text(p->document.title), "heading",
        out_text(p->chunk.heading), "page", (int)p->chunk.page, "start", (json_int_t)p->chunk.start,
        "end", (json_int_t)p->chunk.end, "text", out_string(p->chunk.text, p->chunk.text_len),
        "score", (double)p->score, "cosine", (double)p->cosine, "lexical", (double)p->lexical);
}

static enum status print_json(struct cli *c, const char *query, const struct search_result *r,
                              double open_ms, struct err *e)
{
    json_t *results = json_array();
    for (size_t i = 0; i < r->n; i++) {
        (void)json_array_append_new(results, passage_json(&r->items[i], i + 1));
    }
    return out_json(c,
                    json_pack("{s:o, s:o, s:b, s:{s:f, s:f, s:f, s:f}}", "query", out_text(query),
                              "results", results, "query_truncated", (int)r->query_truncated,
                              "stages_ms", "open", open_ms, "embed", r->embed_ms, "search",
                              r->search_ms, "rank", r->rank_ms),
                    e);
}

static void print_passage(const struct cli *c, const struct passage *p, size_t rank)
{
    const char *bold = ui_style(&c->ui, stdout, UI_BOLD);
    const char *dim = ui_style(&c->ui, stdout, UI_DIM);
    const char *reset = ui_style(&c->ui, stdout, UI_RESET);
    printf("%s%zu.%s ", bold, rank, reset);
    answer_print_place(&p->document, &p->chunk, bold, reset);
    printf("  %s%.3f (cosine %.3f, words %.2f)%s\n", dim, (double)p->score, (double)p->cosine,
           (double)p->lexical, reset);
    size_t n = p->chunk.text_len;
    bool cut = n > SNIPPET_BYTES;
    n = cut ? SNIPPET_BYTES : n;
    while (cut && n && p->chunk.text[n] != ' ' && p->chunk.text[n] != '\n') {
        n--; /* at a word's end, so no character is cut in two either */
    }
    struct buf text = {0};
    int width = ui_columns(stdout);
    ui_wrap(&text, p->chunk.text, n, 3, 3, width > 100 ? 100 : width);
    printf("   %s%s\n", text.data ? text.data : "", cut ? " ..." : "");
    buf_fini(&text);
    printf("   %s%s", dim, p->document.uri);
    if (p->chunk.page > 0) {
        printf(", page %d", p->chunk.page);
    }
    printf(", bytes %u-%u%s\n\n", p->chunk.start, p->chunk.end, reset);
}

enum status cmd_search(struct cli *c, struct err *e)
{
    const char *query = cli_join_words(c);
    struct cli_library l = {0};
    struct search_result r = {0};
    struct search_options opt = {.k = (size_t)c->values[O_K].i,
                                 .candidates = (size_t)c->values[O_CANDIDATES].i};
    enum status s = query && strspn(query, " \t\n") != strlen(query)
                        ? cli_library_open(c, false, &l, e)
                        : err_set(e, ERR_USAGE, "search", "the query is empty");
    if (!s) {
        s = search_library(&l.lib, query, &opt, &c->arena, &r, e);
    }
    if (!s && r.query_truncated) {
        ui_warn(&c->ui, "the query is longer than the embedding model reads; its end was not used");
    }
    if (!s && c->json) {
        s = print_json(c, query, &r, l.open_ms, e);
    } else if (!s) {
        for (size_t i = 0; i < r.n; i++) {
            print_passage(c, &r.items[i], i + 1);
        }
        char a[UI_TEXT], b[UI_TEXT], d[UI_TEXT], o[UI_TEXT];
        printf("%sTime   open %s, embed %s, search %s, rank %s%s\n",
               ui_style(&c->ui, stdout, UI_DIM), ui_ms(o, l.open_ms), ui_ms(a, r.embed_ms),
               ui_ms(b, r.search_ms), ui_ms(d, r.rank_ms), ui_style(&c->ui, stdout, UI_RESET));
    }
    cli_library_close(&l);
    return s;
}

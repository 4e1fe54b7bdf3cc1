/* Search: see search.h.
 *
 * Dense vectors find, words decide the order: on questions about names, options and numbers the
 * embedding alone puts look-alikes first, and words alone miss paraphrases. The fusion is a convex
 * combination (Bruch et al. 2022, "An Analysis of Fusion Functions for Hybrid Retrieval": better
 * than reciprocal ranks in and out of domain). The words' weights come from the candidates
 * themselves, so that no lexical index is needed yet. */
#include "retrieve/search.h"

#include "base/sys.h"
#include "retrieve/terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_K = 8, DEFAULT_CANDIDATES = 64, MAX_CANDIDATES = 1000 };

/* Weight of the cosine; the rest goes to the words. A common default for dense-heavy fusion; not
 * tuned on our own questions yet. */
static const float DENSE = 0.7f;

static int by_score(const void *a, const void *b)
{
    const struct passage *x = a;
    const struct passage *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? 1 : -1;
    }
    return (x->chunk.id > y->chunk.id) - (x->chunk.id < y->chunk.id);
}

static enum status load(const struct library *lib, const struct hit *hits, size_t n,
                        const char *query, struct arena *arena, struct passage *items,
                        struct err *e)
{
    struct terms terms;
    enum status s = terms_of(query, strlen(query), arena, &terms);
    uint64_t *met = arena_array(arena, n, sizeof *met);
    struct buf text = {0};
    for (size_t i = 0; !s && i < n; i++) {
        struct passage *p = &items[i];
        s = store_chunk(lib->store, hits[i].chunk_id, arena, &p->chunk, e);
        if (s) {
            break;
        }
        s = store_document(lib->store, p->chunk.document_id, false, arena, &p->document, e);
        if (s) {
            break;
        }
        buf_reset(&text);
        buf_printf(&text, "%s %s ", p->document.title ? p->document.title : "",
                   p->chunk.heading ? p->chunk.heading : "");
        buf_put(&text, p->chunk.text, p->chunk.text_len);
        s = text.failed || !met ? err_set(e, ERR_MEMORY, NULL, "no memory to rank passages")
                                : terms_met(&terms, text.data, text.len, &met[i]);
        p->cosine = hits[i].score;
    }
    buf_fini(&text);
    if (s) {
        return s;
    }
    terms_weigh(&terms, met, n);
    for (size_t i = 0; i < n; i++) {
        items[i].lexical = terms_share(&terms, met[i]);
        items[i].score = DENSE * items[i].cosine + (1 - DENSE) * items[i].lexical;
    }
    return OK;
}

/* Two passages say the same when they overlap by half in one document or hold the same bytes
 * (copies of a file). */
static bool same_passage(const struct passage *a, const struct passage *b)
{
    const struct chunk *x = &a->chunk;
    const struct chunk *y = &b->chunk;
    if (x->document_id == y->document_id) {
        uint32_t from = x->start > y->start ? x->start : y->start;
        uint32_t to = x->end < y->end ? x->end : y->end;
        uint32_t shorter =
            x->end - x->start < y->end - y->start ? x->end - x->start : y->end - y->start;
        return to > from && (to - from) * 2 > shorter;
    }
    return x->text_len == y->text_len && memcmp(x->text, y->text, x->text_len) == 0;
}

static size_t collapse(struct passage *items, size_t n, size_t k)
{
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < k; i++) {
        bool twin = false;
        for (size_t j = 0; j < kept && !twin; j++) {
            twin = same_passage(&items[i], &items[j]);
        }
        if (!twin) {
            items[kept++] = items[i];
        }
    }
    return kept;
}

static enum status embed_query(const struct library *lib, const char *query, struct arena *arena,
                               float **out, int64_t *dim, bool *truncated, struct err *e)
{
    *dim = engine_info(lib->embedder)->d_model;
    float *v = arena_array(arena, (size_t)*dim, sizeof *v);
    if (!v) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the query's embedding");
    }
    size_t n = strlen(query);
    struct embed_report report = {0};
    struct embed_options opt = {.role = EMBED_QUERY};
    enum status s = engine_embed(lib->embedder, &query, &n, 1, &opt, v, NULL, &report, e);
    *truncated = report.n_truncated > 0;
    *out = v;
    return s;
}

enum status search_library(const struct library *lib, const char *query,
                           const struct search_options *opt, struct arena *arena,
                           struct search_result *out, struct err *e)
{
    struct search_options o = opt ? *opt : (struct search_options){0};
    size_t k = o.k ? o.k : DEFAULT_K;
    size_t n_candidates = o.candidates ? o.candidates : DEFAULT_CANDIDATES;
    if (n_candidates < k) {
        n_candidates = k;
    }
    if (n_candidates > MAX_CANDIDATES) {
        return err_set(e, ERR_LIMIT, "candidates", "at most %d results can be asked for",
                       MAX_CANDIDATES);
    }
    if (!query[strspn(query, " \t\r\n")]) {
        return err_set(e, ERR_USAGE, "query", "the question is empty");
    }
    struct search_result r = {0};
    double t0 = clock_ms();
    float *vector = NULL;
    int64_t dim = 0;
    enum status s = embed_query(lib, query, arena, &vector, &dim, &r.query_truncated, e);
    if (s) {
        return s;
    }
    double t1 = clock_ms();
    struct hit *hits = arena_array(arena, n_candidates, sizeof *hits);
    r.items = arena_array(arena, n_candidates, sizeof *r.items);
    if (!hits || !r.items) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for candidates");
    }
    size_t n = 0;
    s = vectors_search(lib->vectors, lib->store, vector, dim, n_candidates, hits, &n, e);
    if (s) {
        return s;
    }
    double t2 = clock_ms();
    s = load(lib, hits, n, query, arena, r.items, e);
    if (s) {
        return s;
    }
    qsort(r.items, n, sizeof *r.items, by_score);
    r.n = collapse(r.items, n, k);
    r.embed_ms = t1 - t0;
    r.search_ms = t2 - t1;
    r.rank_ms = clock_ms() - t2;
    *out = r;
    return OK;
}

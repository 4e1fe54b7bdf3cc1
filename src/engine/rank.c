/* Reranking, and pairs for a cross-encoder: the query's tokens once, each document's behind them,
 * and truncation that is reported. Documents go through the model in groups that bound memory. */
#include "engine/engine_internal.h"

#include <math.h>
#include <string.h>

enum { GROUP_TOKENS = 8192, GROUP_PAIRS = 256, MOST_SEPS = 2 };

/* Pairs on their way through the model. */
struct group {
    struct token_ids ids; /* of all pairs, one after the other */
    const int32_t *first[GROUP_PAIRS];
    size_t at[GROUP_PAIRS];
    int64_t n_ids[GROUP_PAIRS], second[GROUP_PAIRS];
    int n;
};

struct ranking {
    struct engine *en;
    struct token_ids query, document;
    struct group g;
    size_t limit; /* tokens of both parts together */
    int32_t cls, sep[MOST_SEPS];
    size_t n_seps; /* between the parts; one more ends the pair */
};

/* Lengths of both parts within `limit` together, as the reference's "longest_first" has them: the
 * shorter part is cut only when it is more than half of the limit. */
static void cut(size_t limit, size_t *query, size_t *document)
{
    if (*query + *document <= limit) {
        return;
    }
    size_t *least = *query <= *document ? query : document;
    size_t *most = least == query ? document : query;
    if (*least <= limit / 2) {
        *most = limit - *least;
    } else {
        *least = limit / 2;
        *most = limit - *least;
    }
}

static enum status add_pair(struct ranking *r, const char *text, size_t n, uint8_t *flags,
                            struct err *e)
{
    struct group *g = &r->g;
    size_t at = g->ids.n, query = r->query.n;
    r->document.n = 0;
    enum status s = engine_tokenize(r->en, text, n, 0, &r->document, e);
    if (s) {
        return s;
    }
    size_t document = r->document.n;
    cut(r->limit, &query, &document);
    *flags = (uint8_t)((query < r->query.n ? RANK_QUERY_CUT : 0) |
                       (document < r->document.n ? RANK_DOCUMENT_CUT : 0));
    if (!token_ids_put(&g->ids, &r->cls, 1) || !token_ids_put(&g->ids, r->query.data, query) ||
        !token_ids_put(&g->ids, r->sep, r->n_seps) ||
        !token_ids_put(&g->ids, r->document.data, document) || !token_ids_put(&g->ids, r->sep, 1)) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the tokens of a pair");
    }
    g->at[g->n] = at;
    g->second[g->n] = (int64_t)(1 + query + r->n_seps);
    g->n_ids[g->n] = (int64_t)(g->ids.n - at);
    g->n++;
    return OK;
}

static enum status run_group(struct ranking *r, float *logits, struct err *e)
{
    struct group *g = &r->g;
    for (int i = 0; i < g->n; i++) {
        g->first[i] = g->ids.data + g->at[i];
    }
    engine_lock(r->en);
    enum status s = model_rank(r->en->model, g->first, g->n_ids, g->second, g->n, logits, e);
    engine_unlock(r->en);
    return s;
}

static enum status begin(struct ranking *r, const char *query, size_t n, struct err *e)
{
    const struct model *m = r->en->model;
    const struct vocab *v = model_vocab(m);
    const char *problem = model_info(m)->rank_problem;
    if (problem) {
        return err_set(e, ERR_UNSUPPORTED, r->en->info.path, "%s", problem);
    }
    r->cls = vocab_cls(v);
    r->sep[0] = r->sep[1] = vocab_sep(v);
    r->n_seps = (size_t)vocab_pair_seps(v);
    size_t specials = r->n_seps + 2;
    if (r->cls < 0 || r->sep[0] < 0 || (size_t)r->en->embed_limit <= specials) {
        return err_set(e, ERR_UNSUPPORTED, r->en->info.path,
                       "a tokenizer without [CLS] and [SEP], or no room for a pair");
    }
    r->limit = (size_t)r->en->embed_limit - specials;
    return engine_tokenize(r->en, query, n, 0, &r->query, e);
}

static enum status rank_pairs(struct engine *en, const struct rank_request *q, float *logits,
                              uint8_t *flags, struct rank_report *report, struct err *e)
{
    struct ranking r = {.en = en};
    enum status s = q->instruction ? err_set(e, ERR_UNSUPPORTED, en->info.path,
                                             "a cross-encoder takes no instruction")
                                   : begin(&r, q->query, q->query_len, e);
    for (size_t i = 0; !s && i < q->n;) {
        size_t first = i;
        r.g.n = 0;
        r.g.ids.n = 0;
        while (!s && i < q->n && r.g.n < GROUP_PAIRS && r.g.ids.n < GROUP_TOKENS) {
            uint8_t flag = 0;
            s = add_pair(&r, q->documents[i], q->lens[i], &flag, e);
            report->n_truncated += flag != 0;
            if (flags) {
                flags[i] = flag;
            }
            i++;
        }
        report->n_tokens += (int64_t)r.g.ids.n;
        s = s ? s : run_group(&r, logits + first, e);
    }
    token_ids_fini(&r.g.ids);
    token_ids_fini(&r.document);
    token_ids_fini(&r.query);
    return s;
}

enum status engine_rank(struct engine *en, const struct rank_request *q, float *logits,
                        uint8_t *flags, struct rank_report *report, struct err *e)
{
    struct rank_report sum = {0};
    enum status s = (en->info.embeds ? rank_pairs : engine_judge)(en, q, logits, flags, &sum, e);
    if (!s && report) {
        *report = sum;
    }
    return s;
}

double engine_rank_score(float logit)
{
    return 1 / (1 + exp(-(double)logit));
}

enum status engine_rank_check(struct engine *en, bool *ran, struct err *e)
{
    static const char query[] = "How many people live in Berlin?";
    static const char *const documents[] = {
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square "
        "kilometers.",
        "Beat the eggs with the sugar, then stir in the flour and bake it for half an hour."};
    const size_t lens[] = {strlen(documents[0]), strlen(documents[1])};
    const struct rank_request q = {query, strlen(query), documents, lens, 2, NULL};
    float logits[2];
    enum status s = engine_rank(en, &q, logits, NULL, NULL, e);
    *ran = !s;
    if (s || logits[0] > logits[1]) { /* NaN does not rank either */
        return s;
    }
    return err_set(e, ERR_UNSUPPORTED, en->info.path,
                   "it cannot rank: of \"%s\" and two sentences, the answer got the logit %.3f, a "
                   "recipe %.3f",
                   query, (double)logits[0], (double)logits[1]);
}

/* Causal rerankers: a language model that is asked whether a document meets a query, and whose next
 * token is "yes" or "no" (Zhang et al. 2025, Qwen3-Reranker). The logit of a pair is that of "yes"
 * less that of "no", so that the logistic function gives the softmax over the two.
 *
 * The question comes from the file's template named "rerank" (llama.cpp's converter writes one,
 * with {query} and {document} in it), or is what Qwen3-Reranker was trained on, as messages put
 * through the model's chat template. Between the last control token before the query and the end of
 * the document everything is encoded as one plain text, as the reference does it: a document cannot
 * say a control token, and is cut at its end where the context ends. Pairs of one query share the
 * beginning, whose keys and values stay. */
#include "engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

static const char default_instruction[] =
    "Given a web search query, retrieve relevant passages that answer the query";
static const char system_text[] =
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. Note that the answer can only be \"yes\" or \"no\".";

struct judge {
    struct engine *en;
    int32_t seq, yes, no;
    bool has_seq;
    struct buf question; /* the whole template, then its parts in it: */
    size_t text_at;      /* end of the last control token before the query */
    size_t query_at, middle_at, middle_end, end_at;
    struct token_ids begin, end; /* ids before text_at, and after the document */
    struct buf text;             /* of one pair, from text_at to the document's end */
    struct token_ids ids, held;  /* of one pair; those whose keys and values the sequence has */
    size_t limit;                /* tokens of a pair's text */
};

static enum status no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, NULL, "no memory to judge a pair");
}

static void judge_fini(struct judge *j)
{
    if (j->has_seq) {
        engine_lock(j->en);
        kv_seq_free(j->en->kv, j->seq);
        engine_unlock(j->en);
    }
    buf_fini(&j->question);
    buf_fini(&j->text);
    token_ids_fini(&j->begin);
    token_ids_fini(&j->end);
    token_ids_fini(&j->ids);
    token_ids_fini(&j->held);
}

/* The file's own question; the instruction is a part of its text. */
static enum status named_template(struct judge *j, const struct meta_str *t,
                                  const char *instruction, struct err *e)
{
    size_t n = strlen(default_instruction);
    const char *at = memmem(t->p, t->n, default_instruction, n);
    if (instruction && !at) {
        return err_set(e, ERR_UNSUPPORTED, j->en->info.path,
                       "its rerank template has no place for an instruction");
    }
    size_t before = instruction ? (size_t)(at - t->p) : t->n;
    buf_put(&j->question, t->p, before);
    if (instruction) {
        buf_puts(&j->question, instruction);
        buf_put(&j->question, at + n, t->n - before - n);
    }
    return OK;
}

/* Qwen3-Reranker's question in the model's own chat template, an empty thought in front of the
 * answer where the template knows thoughts. */
static enum status chat_template(struct judge *j, const char *instruction, struct err *e)
{
    struct buf user = {0};
    struct token_ids unused = {0};
    buf_puts(&user, "<Instruct>: ");
    buf_puts(&user, instruction ? instruction : default_instruction);
    buf_puts(&user, "\n<Query>: {query}\n<Document>: {document}");
    json_t *vars = user.failed
                       ? NULL
                       : json_pack("{s:[{s:s, s:s}, {s:s, s:s}], s:b, s:b}", "messages", "role",
                                   "system", "content", system_text, "role", "user", "content",
                                   user.data, "add_generation_prompt", 1, "enable_thinking", 0);
    enum status s = vars ? engine_chat_prompt(j->en, vars, &unused, &j->question, e) : no_memory(e);
    json_decref(vars);
    token_ids_fini(&unused);
    buf_fini(&user);
    return s;
}

/* Finds the parts of the question. */
static enum status take_apart(struct judge *j, struct err *e)
{
    static const char query[] = "{query}", document[] = "{document}";
    const char *p = j->question.data;
    size_t n = j->question.len;
    const char *q = p ? memmem(p, n, query, sizeof query - 1) : NULL;
    const char *d = q ? memmem(q, n - (size_t)(q - p), document, sizeof document - 1) : NULL;
    bool apart = d != NULL;
    if (apart) {
        j->query_at = (size_t)(q - p);
        j->middle_at = j->query_at + sizeof query - 1;
        j->middle_end = (size_t)(d - p);
        j->end_at = j->middle_end + sizeof document - 1;
    }
    for (size_t i = 0; apart && i < j->middle_end;) {
        size_t k = engine_special_at(j->en, p + i, n - i);
        apart = !k || i + k <= j->query_at;
        j->text_at = k ? i + k : j->text_at;
        i += k ? k : 1;
    }
    return apart ? OK
                 : err_set(e, ERR_UNSUPPORTED, j->en->info.path,
                           "its template does not keep {query} and {document} in one message, in "
                           "this order");
}

static enum status word(const struct judge *j, const char *text, int32_t *id, struct err *e)
{
    struct token_ids t = {0};
    enum status s = engine_tokenize(j->en, text, strlen(text), 0, &t, e);
    if (!s && t.n != 1) {
        s = err_set(e, ERR_UNSUPPORTED, j->en->info.path, "\"%s\" is not one token but %zu", text,
                    t.n);
    }
    *id = s ? -1 : t.data[0];
    token_ids_fini(&t);
    return s;
}

static enum status judge_init(struct judge *j, const char *instruction, struct err *e)
{
    struct engine *en = j->en;
    struct meta_str named;
    bool labels = en->info.ranks; /* a head of its own needs no words */
    if (!labels && !en->info.generates) {
        return err_set(e, ERR_UNSUPPORTED, en->info.path, "%s",
                       model_info(en->model)->rank_problem);
    }
    enum status s = labels ? OK : word(j, "yes", &j->yes, e);
    s = s || labels ? s : word(j, "no", &j->no, e);
    if (s) {
        return s;
    }
    s = meta_string(model_weights(en->model), "tokenizer.chat_template.rerank", &named)
            ? named_template(j, &named, instruction, e)
            : chat_template(j, instruction, e);
    s = !s && j->question.failed ? no_memory(e) : s;
    s = s ? s : take_apart(j, e);
    s = s ? s
          : engine_tokenize(en, j->question.data, j->text_at, TOKENIZE_PARSE_SPECIAL, &j->begin, e);
    s = s ? s
          : engine_tokenize(en, j->question.data + j->end_at, j->question.len - j->end_at,
                            TOKENIZE_PARSE_SPECIAL, &j->end, e);
    if (s) {
        return s;
    }
    if (j->begin.n + j->end.n >= (size_t)en->info.n_ctx) {
        return err_set(e, ERR_CONTEXT, en->info.path,
                       "the question around a pair has %zu tokens, the context %lld",
                       j->begin.n + j->end.n, (long long)en->info.n_ctx);
    }
    j->limit = (size_t)en->info.n_ctx - j->begin.n - j->end.n;
    engine_lock(en);
    s = kv_seq_new(en->kv, &j->seq, e);
    engine_unlock(en);
    j->has_seq = !s;
    return s;
}

/* The ids of a pair, and which parts were cut. */
static enum status pair_ids(struct judge *j, const char *query, size_t query_len,
                            const char *document, size_t n, uint8_t *flags, struct err *e)
{
    const char *p = j->question.data;
    buf_reset(&j->text);
    buf_put(&j->text, p + j->text_at, j->query_at - j->text_at);
    buf_put(&j->text, query, query_len);
    buf_put(&j->text, p + j->middle_at, j->middle_end - j->middle_at);
    size_t before = j->text.len;
    buf_put(&j->text, document, n);
    j->ids.n = 0;
    if (j->text.failed || !token_ids_put(&j->ids, j->begin.data, j->begin.n)) {
        return no_memory(e);
    }
    enum status s = engine_tokenize(j->en, j->text.data, j->text.len, 0, &j->ids, e);
    size_t most = j->begin.n + j->limit;
    if (!s && j->ids.n > most) {
        size_t query_tokens = 0;
        s = engine_count_tokens(j->en, j->text.data, before, &query_tokens, e);
        *flags = RANK_DOCUMENT_CUT | (query_tokens > j->limit ? RANK_QUERY_CUT : 0);
        j->ids.n = most;
    }
    return s ? s : token_ids_put(&j->ids, j->end.data, j->end.n) ? OK : no_memory(e);
}

/* Runs what the sequence does not hold yet; one run at the end judges. */
static enum status run(struct judge *j, float *logit, struct err *e)
{
    struct engine *en = j->en;
    size_t k = 0, most = j->held.n < j->ids.n - 1 ? j->held.n : j->ids.n - 1;
    while (k < most && j->held.data[k] == j->ids.data[k]) {
        k++;
    }
    enum status s = OK;
    engine_lock(en);
    kv_seq_truncate(en->kv, j->seq, (int64_t)k);
    engine_unlock(en);
    j->held.n = k;
    while (!s && k < j->ids.n) {
        size_t left = j->ids.n - k, n = left < (size_t)en->max_batch ? left : (size_t)en->max_batch;
        struct model_run r = {.seq = j->seq, .ids = j->ids.data + k, .n_ids = (int64_t)n};
        engine_lock(en);
        s = n < left ? model_forward(en->model, en->kv, &r, 1, NULL, NULL, e)
                     : model_judge(en->model, en->kv, &r, j->yes, j->no, logit, e);
        engine_unlock(en);
        k += n;
    }
    return !s && !token_ids_put(&j->held, j->ids.data + j->held.n, j->ids.n - j->held.n)
               ? no_memory(e)
               : s;
}

enum status engine_judge(struct engine *en, const struct rank_request *q, float *logits,
                         uint8_t *flags, struct rank_report *report, struct err *e)
{
    struct judge j = {.en = en};
    enum status s = judge_init(&j, q->instruction, e);
    for (size_t i = 0; !s && i < q->n; i++) {
        uint8_t flag = 0;
        s = pair_ids(&j, q->query, q->query_len, q->documents[i], q->lens[i], &flag, e);
        s = s ? s : run(&j, &logits[i], e);
        report->n_tokens += (int64_t)j.ids.n;
        report->n_truncated += flag != 0;
        if (flags) {
            flags[i] = flag;
        }
    }
    judge_fini(&j);
    return s;
}

/* The answer as JSON: what `--json` prints and APIs will send. Field names are part of the
 * contract; README.md lists them. */
#include "retrieve/answer.h"

#include <string.h>

enum { MAX_EVIDENCE = 8 };

static json_t *text(const char *s)
{
    json_t *j = s ? json_string(s) : json_null();
    return j ? j : json_null(); /* stored text is valid UTF-8; anything else is a bug of extraction,
                                   not a reason to lose the answer */
}

static json_t *passage_json(const struct passage *p)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:i, s:I, s:I, s:f, s:f, s:f}", "chunk",
                     (json_int_t)p->chunk.id, "uri", text(p->document.uri), "title",
                     text(p->document.title), "heading", text(p->chunk.heading), "page",
                     (int)p->chunk.page, "start", (json_int_t)p->chunk.start, "end",
                     (json_int_t)p->chunk.end, "score", (double)p->score, "cosine",
                     (double)p->cosine, "lexical", (double)p->lexical);
}

static json_t *citation_json(const struct citation *c)
{
    return json_pack("{s:i, s:I, s:I, s:o, s:o, s:o, s:i, s:I, s:I, s:o}", "number", c->number,
                     "document", (json_int_t)c->document.id, "chunk", (json_int_t)c->chunk.id,
                     "uri", text(c->document.uri), "title", text(c->document.title), "heading",
                     text(c->chunk.heading), "page", (int)c->page, "start", (json_int_t)c->start,
                     "end", (json_int_t)c->end, "quote", text(c->quote));
}

static json_t *sentence_json(const struct answer *a, const struct answer_sentence *s)
{
    json_t *number =
        s->citation >= 0 ? json_integer(a->citations[s->citation].number) : json_null();
    return json_pack("{s:o, s:o, s:f, s:b}", "text", text(s->text), "citation", number, "support",
                     (double)s->support, "supported", (int)s->supported);
}

/* One of the sentences that the decision to answer was made from, with the scores that say why. */
static json_t *evidence_json(const struct answer *a, const struct evidence *ev)
{
    const struct passage *p = &a->found.items[ev->passage];
    return json_pack("{s:I, s:I, s:I, s:o, s:f, s:f, s:f, s:b, s:b}", "chunk",
                     (json_int_t)p->chunk.id, "start", (json_int_t)ev->start, "end",
                     (json_int_t)ev->end, "text", json_stringn(ev->text, ev->end - ev->start),
                     "score", (double)ev->score, "cosine", (double)ev->cosine, "words",
                     (double)ev->share, "kind", (int)ev->answers_kind, "contradicts",
                     (int)ev->contradicts);
}

json_t *answer_json(const struct answer *a)
{
    json_t *citations = json_array();
    json_t *sentences = json_array();
    json_t *passages = json_array();
    json_t *evidence = json_array();
    json_t *stages = json_object();
    for (size_t i = 0; i < a->evidence.n && i < MAX_EVIDENCE; i++) {
        (void)json_array_append_new(evidence, evidence_json(a, &a->evidence.items[i]));
    }
    for (size_t i = 0; i < a->n_citations; i++) {
        (void)json_array_append_new(citations, citation_json(&a->citations[i]));
    }
    for (size_t i = 0; i < a->n_sentences; i++) {
        (void)json_array_append_new(sentences, sentence_json(a, &a->sentences[i]));
    }
    for (size_t i = 0; i < a->found.n; i++) {
        (void)json_array_append_new(passages, passage_json(&a->found.items[i]));
    }
    for (size_t i = 0; i < a->n_stages; i++) {
        (void)json_object_set_new(stages, a->stages[i].name, json_real(a->stages[i].ms));
    }
    return json_pack(
        "{s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:f, s:f}, s:o, s:b, "
        "s:o}",
        "answer", text(a->text), "model_text", text(a->model_text), "refused", (int)a->refused,
        "reason", a->refused ? text(a->reason) : json_null(), "citations", citations, "sentences",
        sentences, "passages", passages, "context", "limit", (json_int_t)a->budget_tokens, "used",
        (json_int_t)a->used_tokens, "dropped", (json_int_t)a->n_dropped, "tokens", "prompt",
        (json_int_t)a->n_prompt, "generated", (json_int_t)a->n_generated, "first_token_ms",
        a->first_token_ms, "generate_ms", a->generate_ms, "stages_ms", stages, "question_truncated",
        (int)a->found.query_truncated, "evidence", evidence);
}

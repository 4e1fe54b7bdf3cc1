/* Answers: see answer.h.
 *
 * What the model writes is taken sentence by sentence, and a sentence is shown only when a source
 * supports it, with the mark of that source. So a small model that invents costs completeness, not
 * truth: when nothing of what it wrote stands, the best evidence is quoted instead. The
 * alternative, to show tokens at once and take them back later, was rejected: what a reader has
 * seen cannot be unsaid. */
#include "retrieve/answer.h"

#include "base/sys.h"
#include "retrieve/context.h"
#include "retrieve/support.h"

#include <string.h>
#include <strings.h>

enum {
    MAX_TOKENS = 256,
    MAX_SENTENCES_OUT = 64,
    SMALL_SENTENCES_OUT = 3,
    MAX_CITATIONS = 16,
    MAX_QUOTED = 2
};

/* A second quote is given when its score is this near to the best and it meets a word of the
 * question that the first one does not: without the second condition nine of ten were noise. */
static const float NEARLY_AS_GOOD = 0.05f;

/* One answer under way: what the streaming callback needs. */
struct writer {
    const struct answer_options *opt;
    const struct search_result *found;
    const struct evidence_set *set;
    struct arena *arena;
    struct answer *a;
    struct buf model; /* all that the model wrote */
    size_t checked;   /* bytes of it that were taken */
    struct buf shown;
    size_t max_sentences;
    bool stopped;
    enum status status;
    struct err *e;
};

static void stage(struct answer *a, const struct answer_options *opt, const char *name, double ms)
{
    if (a->n_stages < ANSWER_MAX_STAGES) {
        a->stages[a->n_stages++] = (struct answer_stage){name, ms};
    }
    if (opt->on_stage) {
        opt->on_stage(opt->ctx, name, ms);
    }
}

/* The citation of this evidence, made if it is new; -1 when there is no room. */
static int cite(struct writer *w, const struct evidence *ev)
{
    struct answer *a = w->a;
    const struct passage *p = &w->found->items[ev->passage];
    for (size_t i = 0; i < a->n_citations; i++) {
        if (a->citations[i].start == ev->start && a->citations[i].document.id == p->document.id) {
            return (int)i;
        }
    }
    if (a->n_citations >= MAX_CITATIONS) {
        return -1;
    }
    const char *quote = arena_strndup(w->arena, ev->text, ev->end - ev->start);
    if (!quote) {
        w->status = err_set(w->e, ERR_MEMORY, NULL, "no memory for a citation");
        return -1;
    }
    int32_t page = p->chunk.page;
    if (p->chunk.page_end > page &&
        ev->start >
            p->chunk.start) { /* pages are known for the ends of the chunk: the nearer one */
        page = ev->start - p->chunk.start > p->chunk.end - ev->start ? p->chunk.page_end : page;
    }
    a->citations[a->n_citations] = (struct citation){.number = (int)a->n_citations + 1,
                                                     .document = p->document,
                                                     .chunk = p->chunk,
                                                     .start = ev->start,
                                                     .end = ev->end,
                                                     .page = page,
                                                     .quote = quote};
    return (int)a->n_citations++;
}

static void show(struct writer *w, const char *text, size_t n, int citation)
{
    size_t before = w->shown.len;
    if (before) {
        buf_putc(&w->shown, ' ');
    }
    buf_put(&w->shown, text, n);
    if (citation >= 0) {
        buf_printf(&w->shown, " [%d]", w->a->citations[citation].number);
    }
    if (w->shown.failed) {
        w->status = err_set(w->e, ERR_MEMORY, NULL, "no memory for the answer");
        return;
    }
    if (w->opt->on_text &&
        !w->opt->on_text(w->opt->ctx, w->shown.data + before, w->shown.len - before)) {
        w->stopped = true;
    }
}

static bool said_before(const struct answer *a, const char *text, size_t n)
{
    for (size_t i = 0; i < a->n_sentences; i++) {
        if (strlen(a->sentences[i].text) == n && strncasecmp(a->sentences[i].text, text, n) == 0) {
            return true;
        }
    }
    return false;
}

/* "The answer is: Lyon." -> "Lyon." */
static void skip_preamble(const char **text, size_t *n)
{
    static const char *const preambles[] = {
        "the answer is:", "the answer to this question is:", "answer:"};
    for (size_t i = 0; i < sizeof preambles / sizeof *preambles; i++) {
        size_t len = strlen(preambles[i]);
        if (*n > len && strncasecmp(*text, preambles[i], len) == 0) {
            *text += len;
            *n -= len;
            while (*n && **text == ' ') {
                (*text)++;
                (*n)--;
            }
        }
    }
}

static void take_sentence(struct writer *w, const char *text, size_t n)
{
    struct answer *a = w->a;
    skip_preamble(&text, &n);
    if (said_before(a, text, n)) {
        w->stopped = true; /* a small model that begins to repeat itself does not end by itself */
        return;
    }
    struct support sup = {0};
    w->status = support_check(text, n, w->set, w->found, &sup, w->e);
    char *copy = arena_strndup(w->arena, text, n);
    if (w->status || !copy) {
        w->status =
            w->status ? w->status : err_set(w->e, ERR_MEMORY, NULL, "no memory for the answer");
        return;
    }
    int citation = sup.supported ? cite(w, sup.by) : -1;
    a->sentences[a->n_sentences++] = (struct answer_sentence){.text = copy,
                                                              .citation = citation,
                                                              .support = sup.by ? sup.share : 0,
                                                              .supported = sup.supported};
    if (sup.supported || w->opt->keep_unsupported) {
        show(w, copy, n, citation);
    }
    size_t n_shown = 0;
    for (size_t i = 0; i < a->n_sentences; i++) {
        n_shown += a->sentences[i].supported ? 1 : 0;
    }
    w->stopped = w->stopped || n_shown >= w->max_sentences || a->n_sentences >= MAX_SENTENCES_OUT;
}

/* Takes the whole sentences of what has been written so far; with `last`, the rest too. */
static void take(struct writer *w, bool last)
{
    struct text_span sp;
    size_t pos = w->checked;
    while (!w->status && !w->stopped && sentence_next(w->model.data, w->model.len, &pos, &sp)) {
        bool whole = pos < w->model.len || last; /* the last one may still grow */
        if (!whole) {
            break;
        }
        w->checked = pos;
        take_sentence(w, w->model.data + sp.start, sp.end - sp.start);
    }
}

static bool on_text(void *ctx, const char *text, size_t n)
{
    struct writer *w = ctx;
    buf_put(&w->model, text, n);
    if (w->model.failed) {
        w->status = err_set(w->e, ERR_MEMORY, NULL, "no memory for the answer");
    } else {
        take(w, false);
    }
    return !w->status && !w->stopped;
}

/* Nothing of the model's words stands: the best evidence speaks for itself. */
static void quote_evidence(struct writer *w)
{
    for (size_t i = 0; i < w->set->n && i < MAX_QUOTED && !w->status && !w->stopped; i++) {
        const struct evidence *ev = &w->set->items[i];
        const struct evidence *best = &w->set->items[0];
        if (ev->score < best->score - NEARLY_AS_GOOD) {
            break;
        }
        if (i && !(ev->met & ~best->met)) {
            continue;
        }
        int c = cite(w, ev);
        if (c >= 0 && !w->status) {
            show(w, ev->text, ev->end - ev->start, c);
        }
    }
}

static enum status generate(struct writer *w, struct session *session, const struct context *c,
                            const char *question)
{
    const struct answer_options *opt = w->opt;
    struct engine *model = session_engine(session);
    struct token_ids prompt = {0};
    struct generation g = {0};
    double t0 = clock_ms();
    enum status s = context_prompt(model, w->found, c, question, opt, &prompt, w->e);
    if (!s) {
        static const char *const stops[] = {"\nQuestion:", "\nSources:"};
        struct generate_options go = {.sampling = opt->sampling,
                                      .max_tokens = opt->max_tokens ? opt->max_tokens : MAX_TOKENS,
                                      .stop = stops,
                                      .n_stop = 2,
                                      .n_logprobs = -1,
                                      .on_text = on_text,
                                      .ctx = w,
                                      .cancel = opt->cancel};
        stage(w->a, opt, "pack", clock_ms() - t0);
        s = session_generate(session, prompt.data, prompt.n, &go, &g, w->e);
    }
    if (!s) {
        take(w, true);
        s = w->status;
        w->a->n_prompt = g.n_prompt;
        w->a->n_generated = (int64_t)g.ids.n;
        w->a->first_token_ms = g.first_token_ms;
        w->a->generate_ms = g.generate_ms;
        stage(w->a, opt, "prompt", g.prompt_ms);
        stage(w->a, opt, "generate", g.generate_ms);
    }
    token_ids_fini(&prompt);
    generation_fini(&g);
    return s;
}

static enum status write_answer(struct writer *w, struct session *session, const char *question)
{
    struct answer *a = w->a;
    struct engine *model = session_engine(session);
    struct context c;
    enum status s = context_pack(model, w->found, w->set, w->opt, w->arena, &c, w->e);
    if (s) {
        return s;
    }
    a->budget_tokens = c.budget;
    a->used_tokens = c.used;
    a->n_dropped = c.n_dropped;
    w->max_sentences =
        engine_info(model)->n_params < SMALL_MODEL ? SMALL_SENTENCES_OUT : MAX_SENTENCES_OUT;
    s = generate(w, session, &c, question);
    if (!s && !a->n_citations && !w->opt->keep_unsupported) {
        w->stopped = false; /* by a model that repeated itself; nothing was shown to anyone yet */
        quote_evidence(w);
        s = w->status;
    }
    return s;
}

/* A question that leans on the one before it ("And in 2014?", "Who wrote it?") is searched for
 * together with that one. */
static const char *standalone(const char *question, const json_t *history, struct arena *arena)
{
    static const char *const leaning[] = {"it",    "its",  "they", "them", "their", "he",
                                          "him",   "his",  "she",  "her",  "that",  "those",
                                          "these", "this", "and",  "also", "there", "one"};
    size_t n = history ? json_array_size(history) : 0;
    const char *before = NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(history, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        before = role && strcmp(role, "user") == 0
                     ? json_string_value(json_object_get(m, "content"))
                     : before;
    }
    struct word w;
    size_t pos = 0;
    size_t n_content = 0;
    bool leans = false;
    while (before && word_next(question, strlen(question), &pos, &w)) {
        size_t len = w.span.end - w.span.start;
        for (size_t i = 0; i < sizeof leaning / sizeof *leaning; i++) {
            leans = leans || (strlen(leaning[i]) == len &&
                              strncasecmp(leaning[i], question + w.span.start, len) == 0);
        }
        n_content += w.stop ? 0 : 1;
    }
    if (!before || !(leans || n_content < 2)) {
        return question;
    }
    const char *both = arena_printf(arena, "%s %s", before, question);
    return both ? both : question;
}

enum status answer_question(const struct library *lib, struct session *session,
                            const char *question, const struct answer_options *opt,
                            struct arena *arena, struct answer *out, struct err *e)
{
    struct answer a = {.text = "", .model_text = "", .reason = ""};
    a.sentences = arena_array(arena, MAX_SENTENCES_OUT, sizeof *a.sentences);
    a.citations = arena_array(arena, MAX_CITATIONS, sizeof *a.citations);
    if (!a.sentences || !a.citations) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for an answer");
    }
    const char *query = standalone(question, opt->history, arena);
    struct search_options so = {.k = opt->k > 8 ? opt->k : 0};
    enum status s = search_library(lib, query, &so, arena, &a.found, e);
    if (s) {
        return s;
    }
    stage(&a, opt, "embed", a.found.embed_ms);
    stage(&a, opt, "search", a.found.search_ms);
    stage(&a, opt, "rank", a.found.rank_ms);
    double t0 = clock_ms();
    s = evidence_collect(lib, query, &a.found, arena, &a.evidence, e);
    if (s) {
        return s;
    }
    stage(&a, opt, "evidence", clock_ms() - t0);
    const char *refusal = evidence_refusal(&a.evidence, &a.found, arena);
    if (refusal) {
        a.refused = true;
        a.reason = refusal;
        *out = a;
        return OK;
    }
    struct writer w = {
        .opt = opt, .found = &a.found, .set = &a.evidence, .arena = arena, .a = &a, .e = e};
    s = write_answer(&w, session, question);
    if (!s) {
        a.text = arena_strndup(arena, w.shown.data ? w.shown.data : "", w.shown.len);
        a.model_text = arena_strndup(arena, w.model.data ? w.model.data : "", w.model.len);
        s = a.text && a.model_text ? OK : err_set(e, ERR_MEMORY, NULL, "no memory for the answer");
    }
    buf_fini(&w.shown);
    buf_fini(&w.model);
    if (!s) {
        *out = a;
    }
    return s;
}

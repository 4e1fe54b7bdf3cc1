/* Packing of the context and the prompt: see context.h. */
#include "retrieve/context.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL_PASSAGES = 2,
    SMALL_SENTENCES = 5,
    SMALL_TOKENS = 360,
    LARGE_PASSAGES = 8,
    LARGE_TOKENS = 2048,
    HISTORY_MESSAGES = 4,
    ANSWER_ROOM = 256,
    PROMPT_ROOM = 160 /* instructions, question and template */
};

static const char *const SYSTEM =
    "You answer questions from the given sources. You use only what the sources say.";

static bool is_small(const struct engine *model)
{
    return engine_info(model)->n_params < SMALL_MODEL;
}

static const char *heading_of(const struct passage *p)
{
    if (p->chunk.heading && *p->chunk.heading) {
        return p->chunk.heading;
    }
    return p->document.title ? p->document.title : "";
}

static enum status count(const struct engine *model, const struct search_result *found,
                         struct piece *p, struct err *e)
{
    const struct passage *from = &found->items[p->passage];
    const char *heading = heading_of(from);
    size_t a = 0;
    size_t b = 0;
    enum status s = engine_count_tokens(model, heading, strlen(heading), &a, e);
    if (!s) {
        s = engine_count_tokens(model, from->chunk.text + (p->start - from->chunk.start),
                                p->end - p->start, &b, e);
    }
    p->n_tokens = (int64_t)(a + b) + 6; /* the number and the line ends */
    return s;
}

/* Whole passages, best first. */
static size_t whole_passages(const struct search_result *found, size_t k, struct piece *out)
{
    size_t n = 0;
    for (size_t i = 0; i < found->n && n < k; i++) {
        const struct passage *p = &found->items[i];
        out[n++] = (struct piece){
            .passage = i, .start = p->chunk.start, .end = p->chunk.end, .score = p->score};
    }
    return n;
}

static bool grow_into(struct piece *p, uint32_t start, uint32_t end, uint32_t gap)
{
    if (start > p->end + gap || end + gap < p->start) {
        return false;
    }
    p->start = start < p->start ? start : p->start;
    p->end = end > p->end ? end : p->end;
    return true;
}

/* The sentence before and after `ev` inside its passage: pronouns and "it defaults to" need them.
 */
static void with_neighbours(const struct search_result *found, const struct evidence *ev,
                            uint32_t *start, uint32_t *end)
{
    const struct chunk *c = &found->items[ev->passage].chunk;
    struct text_span sp;
    struct text_span last = {0};
    size_t pos = 0;
    bool after = false;
    *start = ev->start;
    *end = ev->end;
    while (sentence_next(c->text, c->text_len, &pos, &sp)) {
        if (after) {
            if (sp.end - sp.start < 300) {
                *end = c->start + sp.end;
            }
            return;
        }
        if (c->start + sp.start <= ev->start && c->start + sp.end >= ev->end) {
            if (last.end && last.end - last.start < 300) {
                *start = c->start + last.start;
            }
            after = true;
        }
        last = sp;
    }
}

static size_t best_sentences(const struct search_result *found, const struct evidence_set *set,
                             size_t k, struct piece *out)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n && i < SMALL_SENTENCES; i++) {
        const struct evidence *ev = &set->items[i];
        uint32_t start = ev->start;
        uint32_t end = ev->end;
        if (i < 2) {
            with_neighbours(found, ev, &start, &end);
        }
        bool merged = false;
        for (size_t j = 0; j < n && !merged; j++) {
            merged = out[j].passage == ev->passage && grow_into(&out[j], start, end, 3);
        }
        bool other = true; /* a passage not yet in the context */
        size_t n_passages = 0;
        for (size_t j = 0; j < n; j++) {
            other = other && out[j].passage != ev->passage;
            n_passages++;
        }
        if (!merged && (!other || n_passages < k)) {
            out[n++] = (struct piece){
                .passage = ev->passage, .start = start, .end = end, .score = ev->score};
        }
    }
    return n;
}

static int by_score(const void *a, const void *b)
{
    const struct piece *x = a;
    const struct piece *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? 1 : -1;
    }
    return (x->start > y->start) - (x->start < y->start);
}

enum status context_pack(const struct engine *model, const struct search_result *found,
                         const struct evidence_set *set, const struct answer_options *opt,
                         struct arena *arena, struct context *out, struct err *e)
{
    const struct engine_info *info = engine_info(model);
    bool small = is_small(model);
    struct context c = {0};
    size_t cap = found->n + SMALL_SENTENCES;
    c.items = arena_array(arena, cap, sizeof *c.items);
    if (!c.items) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the context");
    }
    int64_t room = info->n_ctx - (opt->max_tokens ? opt->max_tokens : ANSWER_ROOM) - PROMPT_ROOM;
    int64_t usual = small ? SMALL_TOKENS : LARGE_TOKENS;
    c.budget = opt->context_tokens ? opt->context_tokens : usual;
    c.budget = c.budget > room ? room : c.budget;
    size_t k = opt->k ? opt->k : small ? SMALL_PASSAGES : LARGE_PASSAGES;
    size_t n = small && !opt->k ? best_sentences(found, set, k, c.items)
                                : whole_passages(found, k, c.items);
    qsort(c.items, n, sizeof *c.items, by_score);
    for (size_t i = 0; i < n; i++) {
        struct piece p = c.items[i];
        enum status s = count(model, found, &p, e);
        if (s) {
            return s;
        }
        if (c.used + p.n_tokens <= c.budget) {
            c.used += p.n_tokens;
            c.items[c.n++] = p;
        } else {
            c.n_dropped++;
        }
    }
    if (!c.n) {
        return err_set(e, ERR_CONTEXT, NULL,
                       "not one passage fits the %lld tokens that the context leaves; give a "
                       "larger --ctx or --context-tokens",
                       (long long)c.budget);
    }
    for (size_t i = 0; opt->order == CONTEXT_BEST_LAST && i < c.n / 2; i++) {
        struct piece t = c.items[i];
        c.items[i] = c.items[c.n - 1 - i];
        c.items[c.n - 1 - i] = t;
    }
    *out = c;
    return OK;
}

static void put_user(struct buf *b, const struct search_result *found, const struct context *c,
                     const char *question, bool small)
{
    buf_puts(b, "Sources:\n\n");
    for (size_t i = 0; i < c->n; i++) {
        const struct passage *p = &found->items[c->items[i].passage];
        buf_printf(b, "%s\n%.*s\n\n", heading_of(p), (int)(c->items[i].end - c->items[i].start),
                   p->chunk.text + (c->items[i].start - p->chunk.start));
    }
    buf_printf(b, "Question: %s\n%s", question,
               small ? "Answer in one sentence, in the words of the sources."
                     : "Answer briefly, using only the sources, in their words where you can.");
}

static int put_history(json_t *messages, const json_t *history)
{
    size_t n = history ? json_array_size(history) : 0;
    size_t from = n > HISTORY_MESSAGES ? n - HISTORY_MESSAGES : 0;
    int failed = 0;
    for (size_t i = from; i < n; i++) {
        failed |= json_array_append(messages, json_array_get(history, i));
    }
    return failed;
}

enum status context_prompt(const struct engine *model, const struct search_result *found,
                           const struct context *c, const char *question,
                           const struct answer_options *opt, struct token_ids *out, struct err *e)
{
    bool small = is_small(model);
    struct buf user = {0};
    put_user(&user, found, c, question, small);
    json_t *messages = json_array();
    json_t *vars = json_object();
    enum status s = OK;
    int failed = user.failed || !user.data || !messages || !vars;
    if (!failed) {
        failed |= json_array_append_new(
            messages, json_pack("{s:s, s:s}", "role", "system", "content", SYSTEM));
        failed |= small ? 0 : put_history(messages, opt->history);
        failed |= json_array_append_new(messages, json_pack("{s:s, s:s#}", "role", "user",
                                                            "content", user.data, (int)user.len));
        failed |= json_object_set(vars, "messages", messages);
        failed |= json_object_set_new(vars, "add_generation_prompt", json_true());
    }
    s = failed ? err_set(e, ERR_MEMORY, NULL, "cannot build the prompt")
               : engine_chat_prompt(model, vars, out, NULL, e);
    json_decref(messages);
    json_decref(vars);
    buf_fini(&user);
    return s;
}

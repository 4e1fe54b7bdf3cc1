/* Evidence sentences and the decision to answer: see evidence.h. */
#include "retrieve/evidence.h"

#include "retrieve/polarity.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_PASSAGES = 6, MAX_SENTENCES = 96, MAX_SENTENCE_BYTES = 500, MIN_SENTENCE_BYTES = 12 };

/* Weights of a sentence's score, set by hand on questions over the PostgreSQL manual. A sweep on
 * 150 questions (cosine 0.3 to 1.0, words 0.2 to 0.5) moved the mean reciprocal rank of the
 * sentence that holds the answer between 0.81 and 0.83; the best of a random search lost on other
 * articles what it had won (docs/accuracy.md). */
static const float W_COSINE = 0.45f;
static const float W_SHARE = 0.35f;
static const float W_PASSAGE = 0.10f;
static const float W_KIND = 0.10f;
static const float NO_SENTENCE = 0.12f; /* taken off a title, a label or a cut-off line */
static const float CONTRADICTS = 0.10f; /* taken off a sentence that says the opposite */
static const float NAMELESS = 0.05f;    /* its passage lacks a name or number of the question */
/* How much of a term's worth the sentence itself must earn; its headings earn the rest. */
static const float IN_SENTENCE = 0.4f;

/* Below COSINE_NEVER nothing is answered; below COSINE_ALONE the words have to agree as well. */
static const float COSINE_SENTENCE = 0.30f; /* of the best sentence itself */
static const float COSINE_NEVER = 0.20f;
static const float COSINE_ALONE = 0.55f;
static const float SHARE_NEEDED = 0.50f;
static const float SHARE_ALWAYS = 0.20f;

static bool seen(const struct evidence *items, size_t n, const struct search_result *found,
                 const struct chunk *c, uint32_t start)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].start == start &&
            found->items[items[i].passage].chunk.document_id == c->document_id) {
            return true;
        }
    }
    return false;
}

/* A "sentence" longer than the limit is code or a table: it is cut at line ends, or else left out
 * of the quotable sentences. */
static size_t add_span(struct evidence *items, size_t n, size_t passage,
                       const struct search_result *found, struct text_span sp)
{
    const struct chunk *c = &found->items[passage].chunk;
    uint32_t from = sp.start;
    while (from < sp.end && n < MAX_SENTENCES) {
        uint32_t to = sp.end;
        if (to - from > MAX_SENTENCE_BYTES) {
            const char *nl = NULL;
            for (const char *p = c->text + from; p < c->text + from + MAX_SENTENCE_BYTES; p++) {
                nl = *p == '\n' ? p : nl;
            }
            if (!nl) {
                return n;
            }
            to = (uint32_t)(nl - c->text);
        }
        if (to - from >= MIN_SENTENCE_BYTES && !seen(items, n, found, c, c->start + from)) {
            items[n++] = (struct evidence){.passage = passage,
                                           .start = c->start + from,
                                           .end = c->start + to,
                                           .text = c->text + from};
        }
        from = to;
        while (from < sp.end && c->text[from] == '\n') {
            from++;
        }
    }
    return n;
}

static size_t split(const struct search_result *found, struct evidence *items)
{
    size_t n = 0;
    for (size_t i = 0; i < found->n && i < MAX_PASSAGES; i++) {
        const struct chunk *c = &found->items[i].chunk;
        struct text_span sp;
        size_t pos = 0;
        while (n < MAX_SENTENCES && sentence_next(c->text, c->text_len, &pos, &sp)) {
            n = add_span(items, n, i, found, sp);
        }
    }
    return n;
}

static float dot(const float *a, const float *b, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Embeds the question and all sentences; fills .cosine. The heading goes in front, because "It
 * defaults to 100." says nothing alone. */
static enum status embed_sentences(const struct library *lib, const char *question,
                                   const struct search_result *found, struct evidence *items,
                                   size_t n, struct arena *arena, struct err *e)
{
    int64_t dim = engine_info(lib->embedder)->d_model;
    float *query = arena_array(arena, (size_t)dim, sizeof *query);
    float *vectors = arena_array(arena, n, (size_t)dim * sizeof *vectors);
    const char **texts = arena_array(arena, n, sizeof *texts);
    size_t *lens = arena_array(arena, n, sizeof *lens);
    if (!query || !vectors || !texts || !lens) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for sentence embeddings");
    }
    for (size_t i = 0; i < n; i++) {
        const struct passage *p = &found->items[items[i].passage];
        const char *heading =
            p->chunk.heading && *p->chunk.heading ? p->chunk.heading : p->document.title;
        texts[i] = arena_printf(arena, "%s: %.*s", heading ? heading : "",
                                (int)(items[i].end - items[i].start), items[i].text);
        if (!texts[i]) {
            return err_set(e, ERR_MEMORY, NULL, "no memory for sentence embeddings");
        }
        lens[i] = strlen(texts[i]);
    }
    size_t n_question = strlen(question);
    struct embed_options opt = {.role = EMBED_QUERY};
    struct embed_report report;
    enum status s =
        engine_embed(lib->embedder, &question, &n_question, 1, &opt, query, NULL, &report, e);
    opt.role = EMBED_DOCUMENT;
    if (!s && n) {
        s = engine_embed(lib->embedder, texts, lens, n, &opt, vectors, NULL, &report, e);
    }
    for (size_t i = 0; !s && i < n; i++) {
        items[i].cosine = dot(query, vectors + (int64_t)i * dim, dim);
    }
    return s;
}

static int by_score(const void *a, const void *b)
{
    const struct evidence *x = a;
    const struct evidence *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? 1 : -1;
    }
    if (x->passage != y->passage) {
        return x->passage < y->passage ? -1 : 1;
    }
    return (x->start > y->start) - (x->start < y->start);
}

/* Terms met by each passage with its heading and title; weighs the question's terms by them. */
static enum status weigh(const char *question, const struct search_result *found,
                         struct arena *arena, struct evidence_set *set, uint64_t *heading_met,
                         uint64_t *met, struct err *e)
{
    enum status s = terms_of(question, strlen(question), arena, &set->terms);
    if (s) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the question's words");
    }
    for (size_t i = 0; i < found->n; i++) {
        const struct passage *p = &found->items[i];
        const char *h = arena_printf(arena, "%s %s", p->document.title ? p->document.title : "",
                                     p->chunk.heading ? p->chunk.heading : "");
        uint64_t head = 0;
        uint64_t body = 0;
        if (!h || terms_met(&set->terms, h, strlen(h), &head) ||
            terms_met(&set->terms, p->chunk.text, p->chunk.text_len, &body)) {
            return err_set(e, ERR_MEMORY, NULL, "no memory for the question's words");
        }
        heading_met[i] = head;
        met[i] = head | body;
        set->met_anywhere |= met[i];
    }
    terms_weigh(&set->terms, met, found->n);
    for (size_t i = 0; i < found->n; i++) {
        float share = terms_share(&set->terms, met[i]);
        set->best_share = share > set->best_share ? share : set->best_share;
        set->best_cosine =
            found->items[i].cosine > set->best_cosine ? found->items[i].cosine : set->best_cosine;
    }
    return OK;
}

/* "For more information, see ...": says where something is said. */
static bool is_pointer(const char *text, size_t n)
{
    static const char *const starts[] = {"see ",        "for more ",       "for further ",
                                         "for details", "for additional ", "refer to "};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t len = strlen(starts[i]);
        if (n > len && strncasecmp(text, starts[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* What is taken off for not being a sentence: one ends as a sentence does, has four words and says
 * something itself. Fewer words, a title most often, cost twice as much. */
static float sentence_fault(const char *text, size_t n)
{
    struct word w;
    size_t pos = 0;
    size_t n_words = 0;
    while (n && strchr("\"')]", text[n - 1])) {
        n--;
    }
    while (n_words < 4 && word_next(text, n, &pos, &w)) {
        n_words += w.kind != WORD_NUMBER;
    }
    if (n_words < 4) {
        return 2 * NO_SENTENCE;
    }
    return strchr(".!?:;", text[n - 1]) && !is_pointer(text, n) ? 0 : NO_SENTENCE;
}

/* Marks the sentences that say the opposite of what the question asks about. "Why" asks for
 * reasons, which need no negation of their own. */
static enum status mark_contradictions(const char *question, struct evidence_set *set)
{
    size_t n = strlen(question);
    struct buf opposites = {0};
    enum status s = polarity_opposites(question, n, &opposites);
    bool negated = polarity_negates(question, n) && strncasecmp(question, "why", 3) != 0;
    for (size_t i = 0; !s && i < set->n; i++) {
        struct evidence *ev = &set->items[i];
        size_t len = ev->end - ev->start;
        s = polarity_opposed(ev->text, len, &opposites, &ev->contradicts);
        ev->contradicts = ev->contradicts || (negated && !polarity_denies(ev->text, len));
    }
    buf_fini(&opposites);
    return s;
}

enum status evidence_collect(const struct library *lib, const char *question,
                             const struct search_result *found, struct arena *arena,
                             struct evidence_set *out, struct err *e)
{
    struct evidence_set set = {0};
    uint64_t *heading_met = arena_array(arena, found->n, sizeof *heading_met);
    uint64_t *passage_met = arena_array(arena, found->n, sizeof *passage_met);
    set.items = arena_array(arena, MAX_SENTENCES, sizeof *set.items);
    if (!heading_met || !passage_met || !set.items) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for evidence");
    }
    enum status s = weigh(question, found, arena, &set, heading_met, passage_met, e);
    if (s) {
        return s;
    }
    set.n = split(found, set.items);
    if (mark_contradictions(question, &set)) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for evidence");
    }
    s = embed_sentences(lib, question, found, set.items, set.n, arena, e);
    for (size_t i = 0; !s && i < set.n; i++) {
        struct evidence *ev = &set.items[i];
        size_t n = ev->end - ev->start;
        if (terms_met(&set.terms, ev->text, n, &ev->met)) {
            return err_set(e, ERR_MEMORY, NULL, "no memory for evidence");
        }
        ev->met_around = ev->met | heading_met[ev->passage];
        ev->met_passage = passage_met[ev->passage];
        ev->share = IN_SENTENCE * terms_share(&set.terms, ev->met) +
                    (1 - IN_SENTENCE) * terms_share(&set.terms, ev->met_around);
        ev->answers_kind = terms_answers_kind(&set.terms, ev->text, n);
        ev->score = W_COSINE * ev->cosine + W_SHARE * ev->share +
                    W_PASSAGE * found->items[ev->passage].score +
                    (ev->answers_kind ? W_KIND : 0.0f);
        ev->score -= sentence_fault(ev->text, n);
        ev->score -= ev->contradicts ? CONTRADICTS : 0;
        ev->score -= terms_missing_hard(&set.terms, ev->met_passage) ? NAMELESS : 0;
        ev->other_relation = terms_other_relation(&set.terms, ev->text, n, ev->met_around);
        set.best_cosine = ev->cosine > set.best_cosine ? ev->cosine : set.best_cosine;
    }
    if (s) {
        return s;
    }
    qsort(set.items, set.n, sizeof *set.items, by_score);
    *out = set;
    return OK;
}

static const char *list_terms(const struct terms *t, uint64_t which, struct arena *arena)
{
    struct buf b = {0};
    for (size_t i = 0; i < t->n; i++) {
        if (which >> i & 1) {
            buf_printf(&b, "%s\"%s\"", b.len ? ", " : "", t->items[i].text);
        }
    }
    const char *r = b.failed || !b.data ? "" : arena_strdup(arena, b.data);
    buf_fini(&b);
    return r ? r : "";
}

static const char NOTHING[] = "the library holds nothing that could answer it";

/* The best sentence lacks "the NOUN of NAME", and another tells the noun of another name. */
static bool tells_another(const struct evidence_set *set)
{
    const struct terms *t = &set->terms;
    if (t->noun < 0) {
        return false;
    }
    uint64_t pair = 1ull << t->noun | 1ull << t->name;
    bool another = false;
    for (size_t i = 0; i < set->n; i++) {
        another = another || set->items[i].other_relation;
    }
    return another && (set->items[0].met_around & pair) != pair;
}

/* What the best sentence lacks, though the passages together suffice. */
static const char *refuse_best(const struct evidence_set *set, struct arena *arena)
{
    const struct evidence *best = &set->items[0];
    uint64_t missing = terms_missing_hard(&set->terms, best->met_passage);
    if (best->contradicts) {
        return "the nearest sentence says the opposite of what is asked";
    }
    if (tells_another(set)) {
        const char *why = arena_printf(arena, "no sentence that was found tells the %s of %s",
                                       set->terms.items[set->terms.noun].text,
                                       set->terms.items[set->terms.name].text);
        return why ? why : NOTHING;
    }
    if (!missing && best->cosine >= COSINE_SENTENCE) {
        return NULL;
    }
    const char *why =
        missing
            ? arena_printf(arena, "the nearest passage does not mention %s",
                           list_terms(&set->terms, missing, arena))
            : arena_printf(arena, "the nearest sentence is about something else (similarity %.2f)",
                           (double)best->cosine);
    return why ? why : NOTHING;
}

const char *evidence_refusal(const struct evidence_set *set, const struct search_result *found,
                             struct arena *arena)
{
    const char *why = NOTHING;
    uint64_t missing = terms_missing_hard(&set->terms, set->met_anywhere);
    if (!found->n || !set->n) {
        return NOTHING;
    }
    if (missing) {
        why = arena_printf(arena, "no passage that was found mentions %s",
                           list_terms(&set->terms, missing, arena));
    } else if (set->best_cosine < COSINE_NEVER || set->best_share < SHARE_ALWAYS ||
               (set->best_cosine < COSINE_ALONE && set->best_share < SHARE_NEEDED)) {
        why = arena_printf(arena,
                           "the nearest passages are about something else (similarity %.2f, %.0f "
                           "%% of the question's words)",
                           (double)set->best_cosine, 100 * (double)set->best_share);
    } else {
        return refuse_best(set, arena);
    }
    return why ? why : NOTHING;
}

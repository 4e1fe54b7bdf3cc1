/* Terms of a question: see terms.h. Matching is by normal form (folded, stemmed), not by bytes: a
 * question and its answer seldom share the inflection. */
#include "retrieve/terms.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { SHARED_PREFIX = 5, NEAR_NAME = 6, MAX_ACRONYM = 6 };

static const float kind_weight[] = {
    [WORD_PLAIN] = 1.0f, [WORD_NUMBER] = 2.0f, [WORD_NAME] = 2.0f, [WORD_IDENT] = 2.0f};

/* Words that ask and say little about what is asked for; stems as word_normal() gives them. */
static const char *const asking[] = {
    "explain",  "describ", "tell",  "show",   "list",  "find", "give",   "mean",
    "defin",    "discuss", "know",  "happen", "type",  "kind", "name",   "call",
    "main",     "best",    "way",   "differ", "use",   "work", "exampl", "thing",
    "question", "answer",  "pleas", "sai",    "refer", "term", "number", "mani"};

static bool is_asking(const char *normal)
{
    for (size_t i = 0; i < sizeof asking / sizeof *asking; i++) {
        if (strcmp(asking[i], normal) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_word(const char *w, size_t n, const char *s)
{
    return strlen(s) == n && strncasecmp(w, s, n) == 0;
}

/* The question word decides what is asked for; "how many" and "how much" need the word after it. */
static enum asked asked_of(const char *q, size_t n)
{
    struct word w;
    size_t pos = 0;
    bool how = false;
    bool what = false;
    for (int i = 0; i < 12 && word_next(q, n, &pos, &w); i++) {
        const char *p = q + w.span.start;
        size_t len = w.span.end - w.span.start;
        if (how &&
            (same_word(p, len, "many") || same_word(p, len, "much") || same_word(p, len, "large") ||
             same_word(p, len, "long") || same_word(p, len, "tall") || same_word(p, len, "far"))) {
            return ASKED_NUMBER;
        }
        if (what && (same_word(p, len, "year") || same_word(p, len, "date") ||
                     same_word(p, len, "century") || same_word(p, len, "month") ||
                     same_word(p, len, "day"))) {
            return ASKED_TIME;
        }
        if (what && i < 6 &&
            (same_word(p, len, "default") || same_word(p, len, "maximum") ||
             same_word(p, len, "minimum") || same_word(p, len, "port") ||
             same_word(p, len, "number") || same_word(p, len, "percentage"))) {
            return ASKED_NUMBER;
        }
        if (same_word(p, len, "when")) {
            return i == 0 ? ASKED_TIME : ASKED_ANY;
        }
        if (same_word(p, len, "who") || same_word(p, len, "whom") || same_word(p, len, "whose")) {
            return ASKED_PERSON;
        }
        if (same_word(p, len, "where")) {
            return ASKED_PLACE;
        }
        how = same_word(p, len, "how");
        what = what || same_word(p, len, "what") || same_word(p, len, "which");
    }
    return ASKED_ANY;
}

/* -1: not among them. */
static int find_term(const struct terms *t, const char *normal)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->items[i].normal, normal) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Looks for "NOUN of NAME" and "NOUN of the NAME" while the words of a text pass by. */
struct pair_scan {
    int noun; /* of the word before; -1: not a plain word */
    bool of;  /* and "of" came after it */
};

/* The noun when this word completes a pair, else -1. item: the word's, of a function word -1. */
static int pair_step(struct pair_scan *scan, const char *p, const struct word *w, int item)
{
    size_t len = w->span.end - w->span.start;
    if (w->stop) {
        bool of = same_word(p, len, "of");
        scan->noun = of || same_word(p, len, "the") ? scan->noun : -1;
        scan->of = scan->noun >= 0 && (scan->of || of);
        return -1;
    }
    int noun = scan->of && w->kind == WORD_NAME ? scan->noun : -1;
    *scan = (struct pair_scan){.noun = w->kind == WORD_PLAIN ? item : -1};
    return noun;
}

enum status terms_of(const char *question, size_t n, struct arena *arena, struct terms *out)
{
    *out = (struct terms){.asked = asked_of(question, n), .noun = -1, .name = -1};
    struct pair_scan scan = {.noun = -1};
    struct buf normal = {0};
    struct word w;
    size_t pos = 0;
    enum status s = OK;
    while (!s && out->n < TERMS_MAX && word_next(question, n, &pos, &w)) {
        const char *p = question + w.span.start;
        size_t len = w.span.end - w.span.start;
        if (w.stop) {
            pair_step(&scan, p, &w, -1);
            continue;
        }
        buf_reset(&normal);
        word_normal(p, len, &normal);
        if (normal.failed) {
            s = ERR_MEMORY;
            break;
        }
        int item = normal.len ? find_term(out, normal.data) : -1;
        bool known = item >= 0 || !normal.len;
        item = known ? item : (int)out->n;
        int noun = pair_step(&scan, p, &w, item);
        if (noun >= 0 && item >= 0 && out->noun < 0 && !is_asking(out->items[noun].normal)) {
            out->noun = noun;
            out->name = item;
        }
        if (known) {
            continue;
        }
        struct term *t = &out->items[out->n];
        t->text = arena_strndup(arena, p, len);
        t->normal = arena_strndup(arena, normal.data, normal.len);
        t->n_normal = normal.len;
        t->kind = w.kind;
        t->weight = w.kind == WORD_PLAIN && is_asking(normal.data) ? 0.25f : kind_weight[w.kind];
        s = t->text && t->normal ? OK : ERR_MEMORY;
        out->n++;
    }
    buf_fini(&normal);
    return s;
}

/* One letter more, less, other, or two swapped: after the first, which is seldom mistyped. */
static bool one_letter_off(const char *a, size_t na, const char *b, size_t nb)
{
    if (na > nb) {
        return one_letter_off(b, nb, a, na);
    }
    size_t i = 0;
    while (i < na && a[i] == b[i]) {
        i++;
    }
    if (i == 0 || nb - na > 1) {
        return false;
    }
    if (nb > na) {
        return memcmp(a + i, b + i + 1, na - i) == 0;
    }
    bool other = i == na || memcmp(a + i + 1, b + i + 1, na - i - 1) == 0;
    bool swapped = na - i >= 2 && a[i] == b[i + 1] && a[i + 1] == b[i] &&
                   memcmp(a + i + 2, b + i + 2, na - i - 2) == 0;
    return other || swapped;
}

static bool meets(const struct term *t, const char *w, size_t n)
{
    if (n == t->n_normal && memcmp(w, t->normal, n) == 0) {
        return true;
    }
    if (t->kind == WORD_NAME && t->n_normal >= NEAR_NAME && n >= NEAR_NAME &&
        one_letter_off(t->normal, t->n_normal, w, n)) {
        return true;
    }
    size_t shared = n < t->n_normal ? n : t->n_normal;
    return t->kind != WORD_NUMBER && shared >= SHARED_PREFIX && memcmp(w, t->normal, shared) == 0;
}

static void match(const struct terms *t, const char *word, size_t n, struct buf *normal,
                  uint64_t *met)
{
    buf_reset(normal);
    word_normal(word, n, normal);
    for (size_t i = 0; normal->len && i < t->n; i++) {
        if (meets(&t->items[i], normal->data, normal->len)) {
            *met |= 1ull << i;
        }
    }
}

/* foo_bar-baz.Qux -> foo, bar, baz, Qux; fooBar -> foo, Bar */
static void match_parts(const struct terms *t, const char *word, size_t n, struct buf *normal,
                        uint64_t *met)
{
    size_t start = 0;
    for (size_t i = 1; i <= n; i++) {
        bool sep = i < n && !isalnum((unsigned char)word[i]) && (unsigned char)word[i] < 0x80;
        bool camel =
            i < n && islower((unsigned char)word[i - 1]) && isupper((unsigned char)word[i]);
        if (i == n || sep || camel) {
            if (i > start) {
                match(t, word + start, i - start, normal, met);
            }
            start = sep ? i + 1 : i;
        }
    }
}

/* The initials of the capitalised words that stand in a row, the last one last. */
struct initials {
    char letters[MAX_ACRONYM];
    size_t n;
};

/* "American Automobile Association" meets AAA. Function words between do not count. */
static void match_acronym(const struct terms *t, const char *word, struct initials *in,
                          uint64_t *met)
{
    if (!isupper((unsigned char)*word)) {
        in->n = 0;
        return;
    }
    if (in->n == MAX_ACRONYM) {
        memmove(in->letters, in->letters + 1, --in->n);
    }
    in->letters[in->n++] = *word;
    for (size_t i = 0; i < t->n; i++) {
        size_t len = strlen(t->items[i].text);
        if (len >= 2 && len <= in->n &&
            memcmp(t->items[i].text, in->letters + in->n - len, len) == 0) {
            *met |= 1ull << i;
        }
    }
}

enum status terms_met(const struct terms *t, const char *text, size_t n, uint64_t *met)
{
    struct initials initials = {0};
    struct buf normal = {0};
    struct word w;
    size_t pos = 0;
    uint64_t m = 0;
    while (word_next(text, n, &pos, &w)) {
        if (w.stop) {
            continue;
        }
        const char *p = text + w.span.start;
        size_t len = w.span.end - w.span.start;
        match(t, p, len, &normal, &m);
        match_acronym(t, p, &initials, &m);
        if (w.kind == WORD_IDENT) {
            match_parts(t, p, len, &normal, &m);
        }
    }
    bool failed = normal.failed;
    buf_fini(&normal);
    if (!failed) {
        *met = m;
    }
    return failed ? ERR_MEMORY : OK;
}

void terms_weigh(struct terms *t, const uint64_t *met, size_t n)
{
    for (size_t i = 0; i < t->n && n; i++) {
        float df = 0.5f;
        for (size_t j = 0; j < n; j++) {
            df += met[j] >> i & 1 ? 1.0f : 0.0f;
        }
        t->items[i].weight *= logf(1.0f + (float)n / df);
    }
}

float terms_share(const struct terms *t, uint64_t met)
{
    float sum = 0;
    float all = 0;
    for (size_t i = 0; i < t->n; i++) {
        all += t->items[i].weight;
        sum += met >> i & 1 ? t->items[i].weight : 0.0f;
    }
    return all > 0 ? sum / all : 1.0f;
}

uint64_t terms_missing_hard(const struct terms *t, uint64_t met)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->items[i].kind != WORD_PLAIN && !(met >> i & 1)) {
            missing |= 1ull << i;
        }
    }
    return missing;
}

bool terms_other_relation(const struct terms *t, const char *text, size_t n, uint64_t around)
{
    if (t->noun < 0 || around >> t->name & 1) {
        return false;
    }
    struct pair_scan scan = {.noun = -1};
    struct buf normal = {0};
    struct word w;
    size_t pos = 0;
    bool other = false;
    while (!other && word_next(text, n, &pos, &w)) {
        const char *p = text + w.span.start;
        buf_reset(&normal);
        word_normal(p, w.span.end - w.span.start, &normal);
        bool same = normal.len && meets(&t->items[t->noun], normal.data, normal.len);
        other = pair_step(&scan, p, &w, same ? t->noun : -1) >= 0;
    }
    buf_fini(&normal);
    return other;
}

/* The number of a section, a table, a version is no answer to "how many". */
static bool counts_parts(const char *w, size_t n)
{
    static const char *const parts[] = {"section", "chapter", "table", "figure", "appendix",
                                        "example", "note",    "step",  "page",   "version"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (same_word(w, n, parts[i])) {
            return true;
        }
    }
    return false;
}

bool terms_answers_kind(const struct terms *t, const char *text, size_t n)
{
    if (t->asked == ASKED_ANY) {
        return true;
    }
    enum word_kind want =
        t->asked == ASKED_NUMBER || t->asked == ASKED_TIME ? WORD_NUMBER : WORD_NAME;
    struct buf normal = {0};
    struct word w;
    size_t pos = 0;
    bool found = false;
    bool part = false; /* the word before counts parts of a document */
    while (!found && word_next(text, n, &pos, &w)) {
        bool numbers_part = part && t->asked == ASKED_NUMBER;
        part = counts_parts(text + w.span.start, w.span.end - w.span.start);
        if (w.kind != want || numbers_part) {
            continue;
        }
        uint64_t in_question = 0;
        match(t, text + w.span.start, w.span.end - w.span.start, &normal, &in_question);
        found = in_question == 0; /* repeating the question's own name is no answer */
    }
    buf_fini(&normal);
    return found;
}

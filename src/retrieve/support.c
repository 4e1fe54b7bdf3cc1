/* The support check: see support.h. */
#include "retrieve/support.h"

#include "retrieve/polarity.h"

#include <ctype.h>
#include <string.h>

static const float ENOUGH = 0.6f;
/* Of the words that the question did not have, which are the answer itself. */
static const float ENOUGH_NEW = 0.75f;
/* A supporting sentence must itself bear on the question: not much worse than the best evidence. */
static const float NEAR_BEST = 0.30f;

/* What the evidence meets, alone and with the rest of its passage. */
static bool meets(const struct terms *t, const struct evidence *ev,
                  const struct search_result *found, uint64_t *alone, uint64_t *beside)
{
    const struct chunk *c = &found->items[ev->passage].chunk;
    uint32_t from = ev->start - c->start > 300 ? ev->start - c->start - 300 : 0;
    uint32_t to = ev->end - c->start + 300;
    to = to > c->text_len ? (uint32_t)c->text_len : to;
    uint64_t head = 0;
    const char *heading = c->heading ? c->heading : "";
    if (terms_met(t, ev->text, ev->end - ev->start, alone) ||
        terms_met(t, c->text + from, to - from, beside) ||
        terms_met(t, heading, strlen(heading), &head)) {
        return false;
    }
    *beside |= head | *alone;
    return true;
}

/* Words that say nothing new: those of the question, and those of "the answer is". */
static uint64_t known_words(const struct terms *t, const struct terms *question)
{
    uint64_t old = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool known = t->items[i].weight < 1;
        for (size_t j = 0; j < question->n; j++) {
            known = known || strcmp(t->items[i].normal, question->items[j].normal) == 0;
        }
        old |= (uint64_t)known << i;
    }
    return old;
}

static bool any_new(const struct terms *t, uint64_t old)
{
    return old != (t->n == TERMS_MAX ? ~0ull : (1ull << t->n) - 1);
}

static float share_of_new(const struct terms *t, uint64_t old, uint64_t met)
{
    float all = 0;
    float sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!(old >> i & 1)) {
            all += t->items[i].weight;
            sum += met >> i & 1 ? t->items[i].weight : 0;
        }
    }
    return all > 0 ? sum / all : 1;
}

/* "Lyon is ...": the first word of a sentence is capitalised anyway, so it counts as a name here
 * unless it looks like an adverb ("Additionally"). */
static void harden_first_word(struct terms *t, const char *sentence, size_t n)
{
    struct word w;
    size_t pos = 0;
    if (!t->n || !word_next(sentence, n, &pos, &w) || w.stop || w.kind != WORD_PLAIN) {
        return;
    }
    size_t len = w.span.end - w.span.start;
    const char *p = sentence + w.span.start;
    bool adverb = len > 4 && memcmp(p + len - 2, "ly", 2) == 0;
    if (isupper((unsigned char)*p) && !adverb) {
        t->items[0].kind = WORD_NAME;
    }
}

enum status support_check(const char *sentence, size_t n, const struct evidence_set *set,
                          const struct search_result *found, struct support *out, struct err *e)
{
    struct arena arena = {0};
    struct terms terms;
    struct support best = {0};
    float best_rank = -1;
    float new_share = 0;
    bool invented = true;
    enum status s = terms_of(sentence, n, &arena, &terms);
    uint64_t old = 0;
    if (!s) {
        harden_first_word(&terms, sentence, n);
        old = known_words(&terms, &set->terms);
    }
    for (size_t i = 0; !s && i < set->n; i++) {
        const struct evidence *ev = &set->items[i];
        uint64_t alone = 0;
        uint64_t beside = 0;
        if (!meets(&terms, ev, found, &alone, &beside)) {
            s = ERR_MEMORY;
            break;
        }
        bool hard = terms_missing_hard(&terms, beside) == 0;
        invented = invented && !hard;
        float share = terms_share(&terms, alone);
        float rank = share + (hard ? 1.0f : 0.0f) + 0.3f * ev->score;
        if (terms.n && rank > best_rank) {
            best_rank = rank;
            best = (struct support){.by = ev, .share = share};
            new_share = share_of_new(&terms, old, alone);
        }
    }
    arena_reset(&arena);
    if (s) {
        return err_set(e, s, NULL, "no memory to check the answer");
    }
    const char *why = NULL;
    if (!terms.n || !best.by) {
        why = "it says nothing that could be checked";
    } else if (invented) {
        why = "it has names or numbers that no source has";
    } else if (best.share < ENOUGH || new_share < ENOUGH_NEW) {
        why = "no source says it";
    } else if (!any_new(&terms, old)) {
        why = "it only repeats the question";
    } else if (!terms_answers_kind(&set->terms, sentence, n) &&
               terms_answers_kind(&set->terms, best.by->text, best.by->end - best.by->start)) {
        why = "it leaves out what was asked for";
    } else if (set->terms.asked == ASKED_NUMBER && terms_answers_kind(&set->terms, sentence, n) &&
               !terms_answers_kind(&set->terms, best.by->text, best.by->end - best.by->start)) {
        why = "its source has no such number"; /* but the number of a section, say */
    } else if (polarity_negates(sentence, n) !=
               polarity_negates(best.by->text, best.by->end - best.by->start)) {
        why = "the source says it with another sign of negation";
    } else if (best.by->score < set->items[0].score - NEAR_BEST) {
        why = "its source does not bear on the question";
    }
    best.supported = !why;
    best.why = why;
    *out = best;
    return OK;
}

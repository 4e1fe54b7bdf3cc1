/* Polarity: see polarity.h. Lists of words, because the pairs that matter are few and a list can be
 * read; a model of entailment would see more and is too large for the machines hearth is for. */
#include "retrieve/polarity.h"

#include <string.h>
#include <strings.h>

static const char *const negations[] = {
    "not",       "no",      "never",   "none",   "cannot",  "without",  "nor",
    "neither",   "nothing", "nobody",  "isn't",  "aren't",  "doesn't",  "don't",
    "didn't",    "won't",   "can't",   "wasn't", "weren't", "couldn't", "wouldn't",
    "shouldn't", "hasn't",  "haven't", "hadn't", "mustn't"};

/* In normal form. */
static const char *const denials[] = {
    "unless",  "except",   "onli",   "lack",   "fail",  "refus", "reject",
    "prevent", "prohibit", "forbid", "exclud", "deni",  "avoid", "instead",
    "rather",  "disabl",   "ignor",  "absenc", "oppos", "unlik", "regardless"};

/* Words of which one excludes the other; what occurs in one sentence with its opposite in passing
 * (before, after, up, down) is not here. */
static const char *const pairs[][2] = {{"largest", "smallest"},
                                       {"larger", "smaller"},
                                       {"large", "small"},
                                       {"biggest", "smallest"},
                                       {"highest", "lowest"},
                                       {"higher", "lower"},
                                       {"high", "low"},
                                       {"longest", "shortest"},
                                       {"longer", "shorter"},
                                       {"maximum", "minimum"},
                                       {"max", "min"},
                                       {"most", "least"},
                                       {"oldest", "newest"},
                                       {"old", "new"},
                                       {"older", "newer"},
                                       {"oldest", "youngest"},
                                       {"first", "last"},
                                       {"earliest", "latest"},
                                       {"early", "late"},
                                       {"fastest", "slowest"},
                                       {"faster", "slower"},
                                       {"fast", "slow"},
                                       {"best", "worst"},
                                       {"strong", "weak"},
                                       {"stronger", "weaker"},
                                       {"rich", "poor"},
                                       {"increase", "decrease"},
                                       {"rise", "fall"},
                                       {"gain", "lose"},
                                       {"win", "lose"},
                                       {"won", "lost"},
                                       {"victory", "defeat"},
                                       {"begin", "end"},
                                       {"beginning", "final"},
                                       {"start", "stop"},
                                       {"started", "ended"},
                                       {"open", "close"},
                                       {"inside", "outside"},
                                       {"internal", "external"},
                                       {"inner", "outer"},
                                       {"similar", "different"},
                                       {"same", "different"},
                                       {"part", "whole"},
                                       {"all", "none"},
                                       {"always", "never"},
                                       {"enable", "disable"},
                                       {"allow", "forbid"},
                                       {"allow", "prevent"},
                                       {"permit", "prohibit"},
                                       {"accept", "reject"},
                                       {"include", "exclude"},
                                       {"import", "export"},
                                       {"buy", "sell"},
                                       {"public", "private"},
                                       {"birth", "death"},
                                       {"born", "death"},
                                       {"peace", "war"},
                                       {"friend", "enemy"},
                                       {"north", "south"},
                                       {"east", "west"},
                                       {"northern", "southern"},
                                       {"eastern", "western"},
                                       {"left", "right"},
                                       {"upper", "lower"},
                                       {"major", "minor"},
                                       {"majority", "minority"},
                                       {"male", "female"},
                                       {"men", "women"},
                                       {"true", "false"},
                                       {"positive", "negative"},
                                       {"success", "failure"},
                                       {"succeed", "fail"},
                                       {"support", "oppose"},
                                       {"supported", "unsupported"},
                                       {"ascending", "descending"},
                                       {"input", "output"},
                                       {"synchronous", "asynchronous"},
                                       {"temporary", "permanent"},
                                       {"explicit", "implicit"},
                                       {"valid", "invalid"},
                                       {"required", "optional"},
                                       {"encrypt", "decrypt"},
                                       {"compress", "decompress"},
                                       {"lock", "unlock"},
                                       {"ancient", "modern"},
                                       {"urban", "rural"},
                                       {"direct", "indirect"}};

static bool one_of(const char *w, size_t n, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(list[i]) == n && strncasecmp(list[i], w, n) == 0) {
            return true;
        }
    }
    return false;
}

bool polarity_negates(const char *text, size_t n)
{
    struct word w;
    size_t pos = 0;
    while (word_next(text, n, &pos, &w)) {
        if (one_of(text + w.span.start, w.span.end - w.span.start, negations,
                   sizeof negations / sizeof *negations)) {
            return true;
        }
    }
    return false;
}

bool polarity_denies(const char *text, size_t n)
{
    struct buf normal = {0};
    struct word w;
    size_t pos = 0;
    bool found = polarity_negates(text, n);
    while (!found && word_next(text, n, &pos, &w)) {
        const char *p = text + w.span.start;
        size_t len = w.span.end - w.span.start;
        bool prefixed = (len > 5 && strncasecmp(p, "un", 2) == 0) ||
                        (len >= 3 && strncasecmp(p, "non", 3) == 0);
        buf_reset(&normal);
        word_normal(p, len, &normal);
        found = prefixed || (normal.len && one_of(normal.data, normal.len, denials,
                                                  sizeof denials / sizeof *denials));
    }
    buf_fini(&normal);
    return found;
}

static void put_normal(struct buf *b, const char *word)
{
    word_normal(word, strlen(word), b);
    buf_putc(b, '\n');
}

/* The words of a text in normal form, '\n' before and behind each. */
static void words_of(const char *text, size_t n, struct buf *out)
{
    struct word w;
    size_t pos = 0;
    buf_putc(out, '\n');
    while (word_next(text, n, &pos, &w)) {
        word_normal(text + w.span.start, w.span.end - w.span.start, out);
        buf_putc(out, '\n');
    }
}

/* Is "\nWORD\n" in `words`? `line` is what put_normal() made of it. */
static bool holds(const struct buf *words, const char *line, size_t n)
{
    for (const char *p = words->data;
         (p = memmem(p, words->len - (size_t)(p - words->data), line, n)); p++) {
        if (p > words->data && p[-1] == '\n') {
            return true;
        }
    }
    return false;
}

/* Two lines for each pair that the question touches: the word, its opposite. */
enum status polarity_opposites(const char *question, size_t n, struct buf *out)
{
    struct buf words = {0};
    struct buf line[2] = {{0}, {0}};
    words_of(question, n, &words);
    bool failed = words.failed;
    for (size_t i = 0; !failed && i < sizeof pairs / sizeof *pairs; i++) {
        for (int side = 0; side < 2; side++) {
            buf_reset(&line[side]);
            put_normal(&line[side], pairs[i][side]);
        }
        failed = line[0].failed || line[1].failed;
        bool first = !failed && holds(&words, line[0].data, line[0].len);
        bool second = !failed && holds(&words, line[1].data, line[1].len);
        if (first != second) {
            buf_put(out, line[first ? 0 : 1].data, line[first ? 0 : 1].len);
            buf_put(out, line[first ? 1 : 0].data, line[first ? 1 : 0].len);
        }
    }
    buf_fini(&line[0]);
    buf_fini(&line[1]);
    buf_fini(&words);
    return failed || out->failed ? ERR_MEMORY : OK;
}

enum status polarity_opposed(const char *text, size_t n, const struct buf *opposites, bool *out)
{
    struct buf words = {0};
    bool opposed = false;
    if (!opposites->len) {
        *out = false;
        return OK;
    }
    words_of(text, n, &words);
    const char *p = opposites->data;
    const char *end = p + opposites->len;
    while (!words.failed && !opposed && p < end) {
        const char *other = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
        const char *next = (const char *)memchr(other, '\n', (size_t)(end - other)) + 1;
        opposed =
            !holds(&words, p, (size_t)(other - p)) && holds(&words, other, (size_t)(next - other));
        p = next;
    }
    bool failed = words.failed;
    buf_fini(&words);
    if (!failed) {
        *out = opposed;
    }
    return failed ? ERR_MEMORY : OK;
}

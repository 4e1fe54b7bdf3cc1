/* The Porter stemmer for English.
 *
 * M.F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, as published: without the
 * two later departures of its author's own program (BLI -> BLE, LOGI -> LOG). A step is a table of
 * suffix rules; the first rule whose suffix matches decides, whether its condition holds or not.
 * Rejected: the Snowball library, whose later English stemmer is somewhat better but would be one
 * more dependency for one page of code. */
#include "text/stem.h"

#include <stdbool.h>
#include <string.h>

static bool is_consonant(const char *w, size_t i)
{
    switch (w[i]) {
    case 'a':
    case 'e':
    case 'i':
    case 'o':
    case 'u':
        return false;
    case 'y': { /* a consonant at the start and after a vowel; a run of y alternates */
        size_t run = 1;
        while (run <= i && w[i - run] == 'y') {
            run++;
        }
        bool first = run > i || !is_consonant(w, i - run);
        return (run % 2 == 1) == first;
    }
    default:
        return true;
    }
}

/* m of [C](VC)^m[V]: how often a vowel run is followed by a consonant in w[0..n). */
static int measure(const char *w, size_t n)
{
    int m = 0;
    bool vowel = false;
    for (size_t i = 0; i < n; i++) {
        bool c = is_consonant(w, i);
        m += c && vowel;
        vowel = !c;
    }
    return m;
}

static bool has_vowel(const char *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_consonant(w, i)) {
            return true;
        }
    }
    return false;
}

static bool double_consonant(const char *w, size_t n)
{
    return n >= 2 && w[n - 1] == w[n - 2] && is_consonant(w, n - 1);
}

/* *o: ends consonant, vowel, consonant, and the last is not w, x or y. */
static bool ends_cvc(const char *w, size_t n)
{
    return n >= 3 && is_consonant(w, n - 3) && !is_consonant(w, n - 2) && is_consonant(w, n - 1) &&
           !strchr("wxy", w[n - 1]);
}

static bool ends(const char *w, size_t n, const char *suffix)
{
    size_t k = strlen(suffix);
    return n >= k && memcmp(w + n - k, suffix, k) == 0;
}

struct rule {
    const char *suffix, *to;
};

/* Replaces the first suffix that matches if what stands before it has a measure above `above`. */
static size_t apply(char *w, size_t n, const struct rule *rules, int above)
{
    for (const struct rule *r = rules; r->suffix; r++) {
        if (ends(w, n, r->suffix)) {
            size_t stem = n - strlen(r->suffix);
            if (measure(w, stem) > above) {
                memcpy(w + stem, r->to, strlen(r->to));
                return stem + strlen(r->to);
            }
            return n;
        }
    }
    return n;
}

static size_t step_1a(char *w, size_t n)
{
    if (ends(w, n, "sses") || ends(w, n, "ies")) {
        return n - 2;
    }
    return ends(w, n, "s") && !ends(w, n, "ss") ? n - 1 : n;
}

static size_t step_1b(char *w, size_t n)
{
    if (ends(w, n, "eed")) {
        return measure(w, n - 3) > 0 ? n - 1 : n;
    }
    size_t stem = ends(w, n, "ed") ? n - 2 : ends(w, n, "ing") ? n - 3 : n;
    if (stem == n || !has_vowel(w, stem)) {
        return n;
    }
    n = stem;
    if (ends(w, n, "at") || ends(w, n, "bl") || ends(w, n, "iz")) {
        w[n++] = 'e';
    } else if (double_consonant(w, n) && !strchr("lsz", w[n - 1])) {
        n--;
    } else if (measure(w, n) == 1 && ends_cvc(w, n)) {
        w[n++] = 'e';
    }
    return n;
}

static const struct rule step_2[] = {
    {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
    {"abli", "able"},   {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
    {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
    {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
    {NULL, NULL},
};
static const struct rule step_3[] = {
    {"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
    {"ical", "ic"},  {"ful", ""},   {"ness", ""},    {NULL, NULL},
};
static const char *const step_4[] = {"al",  "ance",  "ence", "er",  "ic",  "able", "ible",
                                     "ant", "ement", "ment", "ent", "ion", "ou",   "ism",
                                     "ate", "iti",   "ous",  "ive", "ize"};

static size_t drop_step_4(const char *w, size_t n)
{
    for (size_t i = 0; i < sizeof step_4 / sizeof *step_4; i++) {
        if (ends(w, n, step_4[i])) {
            size_t stem = n - strlen(step_4[i]);
            bool allowed = strcmp(step_4[i], "ion") != 0 ||
                           (stem > 0 && (w[stem - 1] == 's' || w[stem - 1] == 't'));
            return allowed && measure(w, stem) > 1 ? stem : n;
        }
    }
    return n;
}

size_t stem_porter(char *w, size_t n)
{
    if (n < 3) {
        return n;
    }
    n = step_1b(w, step_1a(w, n));
    if (ends(w, n, "y") && has_vowel(w, n - 1)) { /* 1c */
        w[n - 1] = 'i';
    }
    n = apply(w, n, step_2, 0);
    n = apply(w, n, step_3, 0);
    n = drop_step_4(w, n);
    if (ends(w, n, "e")) { /* 5a */
        int m = measure(w, n - 1);
        if (m > 1 || (m == 1 && !ends_cvc(w, n - 1))) {
            n--;
        }
    }
    if (ends(w, n, "ll") && measure(w, n) > 1) { /* 5b */
        n--;
    }
    return n;
}

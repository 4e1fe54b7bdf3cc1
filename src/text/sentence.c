/* Sentences and words.
 *
 * Both are scanners over bytes that look a bounded number of bytes around them, so any input costs
 * linear time. Sentence ends are decided by rules over the terminator, the word before it and the
 * word after it. Rejected: Unicode's own rules (UAX #29), which break after every abbreviation, and
 * a trained splitter (Punkt), which needs a model per language. */
#include "text/sentence.h"

#include "text/stem.h"

#include <string.h>
#include <utf8proc.h>

enum { LOOK_BYTES = 48 }; /* how far to look for the word beside a terminator */

/* ---- code points ---- */

/* The code point at text[i], its length in *len; a broken byte is U+FFFD of length 1. */
static int32_t point_at(const char *text, size_t n, size_t i, size_t *len)
{
    uint8_t c = (uint8_t)text[i];
    if (c < 0x80) {
        *len = 1;
        return c;
    }
    utf8proc_int32_t p;
    utf8proc_ssize_t k =
        utf8proc_iterate((const uint8_t *)text + i, (utf8proc_ssize_t)(n - i < 4 ? n - i : 4), &p);
    if (k <= 0) {
        *len = 1;
        return 0xFFFD;
    }
    *len = (size_t)k;
    return p;
}

/* The code point that ends before text[i], i > 0. */
static int32_t point_before(const char *text, size_t i, size_t *len)
{
    size_t k = 1;
    while (k < 4 && k < i && ((uint8_t)text[i - k] & 0xC0) == 0x80) {
        k++;
    }
    int32_t p = point_at(text, i, i - k, len);
    if (*len != k) {
        *len = 1;
        return 0xFFFD;
    }
    return p;
}

static bool is_space(int32_t p)
{
    return p == ' ' || (p >= '\t' && p <= '\r') || p == 0x85 || p == 0xA0 || p == 0x1680 ||
           (p >= 0x2000 && p <= 0x200A) || p == 0x2028 || p == 0x2029 || p == 0x202F ||
           p == 0x205F || p == 0x3000;
}

static bool is_digit(int32_t p)
{
    return (p >= '0' && p <= '9') || (p > 0x7F && utf8proc_category(p) == UTF8PROC_CATEGORY_ND);
}

static bool is_upper(int32_t p)
{
    if (p < 0x80) {
        return p >= 'A' && p <= 'Z';
    }
    utf8proc_category_t c = utf8proc_category(p);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LT;
}

static bool is_lower(int32_t p)
{
    return p < 0x80 ? p >= 'a' && p <= 'z' : utf8proc_category(p) == UTF8PROC_CATEGORY_LL;
}

static bool is_letter(int32_t p)
{
    if (p < 0x80) {
        return (p >= 'a' && p <= 'z') || (p >= 'A' && p <= 'Z');
    }
    utf8proc_category_t c = utf8proc_category(p);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_ME) || p == 0xAD || p == 0x200C ||
           p == 0x200D; /* soft hyphen and joiners stand inside words */
}

static bool is_number_like(int32_t p)
{
    if (p < 0x80) {
        return p >= '0' && p <= '9';
    }
    utf8proc_category_t c = utf8proc_category(p);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

static bool is_word_point(int32_t p)
{
    return p == '_' || is_letter(p) || is_number_like(p);
}

/* Scripts written without spaces, in which every character counts as a word of its own. */
static bool is_ideograph(int32_t p)
{
    return (p >= 0x3041 && p <= 0x309F) || (p >= 0x3400 && p <= 0x4DBF) ||
           (p >= 0x4E00 && p <= 0x9FFF) || (p >= 0xF900 && p <= 0xFAFF) ||
           (p >= 0x20000 && p <= 0x3FFFF);
}

static bool is_closer(int32_t p)
{
    return p == '"' || p == '\'' || p == ')' || p == ']' || p == '}' || p == 0xBB || p == 0x2019 ||
           p == 0x201D || p == 0x203A || (p >= 0x3009 && p <= 0x3011 && p % 2 == 1) || p == 0xFF09;
}

static bool is_opener(int32_t p)
{
    return p == '"' || p == '\'' || p == '(' || p == '[' || p == '{' || p == 0xAB || p == 0x2018 ||
           p == 0x201C || p == 0x2039 || p == '*' || p == '`' ||
           (p >= 0x3008 && p <= 0x3010 && p % 2 == 0) || p == 0xFF08;
}

/* ---- word lists: sorted by strcmp, looked up case-folded ---- */

static const char *const stop_words[] = {
    "a",       "about",    "above",      "after",     "again",   "against", "all",
    "also",    "am",       "an",         "and",       "any",     "are",     "aren't",
    "as",      "at",       "be",         "because",   "been",    "before",  "being",
    "below",   "between",  "both",       "but",       "by",      "can",     "can't",
    "cannot",  "could",    "couldn't",   "did",       "didn't",  "do",      "does",
    "doesn't", "doing",    "don't",      "down",      "during",  "each",    "either",
    "else",    "ever",     "every",      "few",       "for",     "from",    "further",
    "get",     "gets",     "had",        "hadn't",    "has",     "hasn't",  "have",
    "haven't", "having",   "he",         "her",       "here",    "hers",    "herself",
    "him",     "himself",  "his",        "how",       "however", "i",       "i'm",
    "if",      "in",       "into",       "is",        "isn't",   "it",      "it's",
    "its",     "itself",   "just",       "let",       "like",    "may",     "me",
    "might",   "more",     "most",       "must",      "my",      "myself",  "neither",
    "no",      "nor",      "not",        "now",       "of",      "off",     "on",
    "once",    "only",     "or",         "other",     "our",     "ours",    "ourselves",
    "out",     "over",     "own",        "per",       "please",  "rather",  "same",
    "shall",   "she",      "should",     "shouldn't", "since",   "so",      "some",
    "such",    "tell",     "than",       "that",      "that's",  "the",     "their",
    "theirs",  "them",     "themselves", "then",      "there",   "there's", "therefore",
    "these",   "they",     "this",       "those",     "though",  "through", "thus",
    "to",      "too",      "under",      "until",     "up",      "upon",    "us",
    "very",    "via",      "was",        "wasn't",    "we",      "were",    "weren't",
    "what",    "what's",   "when",       "where",     "whether", "which",   "while",
    "who",     "whom",     "whose",      "why",       "will",    "with",    "within",
    "without", "won't",    "would",      "wouldn't",  "yet",     "you",     "your",
    "yours",   "yourself", "yourselves",
};

/* A dot after these never ends a sentence. */
static const char *const abbreviations[] = {
    "adm", "capt", "cf",  "col", "dr",  "e.g", "eg",  "eq",     "eqs", "fig", "figs",
    "gen", "gov",  "hon", "i.e", "ie",  "lt",  "maj", "messrs", "mr",  "mrs", "ms",
    "mt",  "prof", "rep", "rev", "sen", "sgt", "st",  "viz",    "vs",
};

/* A dot after these ends one only before a function word with a capital: "Apple Inc. The ..." */
static const char *const weak_abbreviations[] = {
    "a.d",  "a.k.a", "a.m", "al",   "approx", "apr",   "assn", "aug", "ave", "b.c",
    "blvd", "bros",  "co",  "corp", "d.c",    "dec",   "dept", "est", "et",  "etc",
    "feb",  "inc",   "jan", "jr",   "ltd",    "m.d",   "nov",  "oct", "p.m", "ph.d",
    "sept", "sr",    "u.k", "u.n",  "u.s",    "u.s.a", "univ",
};

/* A dot after these ends one unless a number follows: "No. 5", "pp. 12-14". */
static const char *const counted_abbreviations[] = {
    "app",  "art", "ch", "chap", "no",   "nos", "p",    "par",
    "para", "pp",  "pt", "sec",  "sect", "vol", "vols",
};

static bool in_list(const char *const *list, size_t count, const char *w)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(w, list[mid]);
        if (c == 0) {
            return true;
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return false;
}
#define IN_LIST(list, w) in_list(list, sizeof(list) / sizeof *(list), w)

/* ASCII lower case of s[0..n) into out[size], with ' for a typographic apostrophe; false when it
 * does not fit. */
static bool fold_ascii(const char *s, size_t n, char *out, size_t size)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (k + 1 >= size) {
            return false;
        }
        char c = s[i];
        if (n - i >= 3 && memcmp(s + i, "\xE2\x80\x99", 3) == 0) {
            c = '\'';
            i += 2;
        }
        out[k++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    out[k] = 0;
    return true;
}

static bool is_stop_word(const char *s, size_t n)
{
    char w[16];
    /* the country and the two trades are no function words */
    bool all_caps = (n == 2 && (!memcmp(s, "US", 2) || !memcmp(s, "IT", 2))) ||
                    (n == 3 && !memcmp(s, "WHO", 3));
    return !all_caps && fold_ascii(s, n, w, sizeof w) && IN_LIST(stop_words, w);
}

/* ---- sentences ---- */

struct neighbour {      /* the word after a terminator */
    int32_t first;      /* its first letter or digit; 0 at the end of the text */
    bool identifier;    /* holds _ or ends in ( : "pg_ctl starts ..." */
    bool function_word; /* of English */
};

static struct neighbour look_ahead(const char *text, size_t n, size_t i)
{
    struct neighbour r = {0};
    size_t len = 1, limit = n - i > LOOK_BYTES ? i + LOOK_BYTES : n;
    while (i < limit &&
           (is_space(point_at(text, n, i, &len)) || is_opener(point_at(text, n, i, &len)))) {
        i += len;
    }
    if (i >= limit) {
        return r;
    }
    r.first = point_at(text, n, i, &len);
    size_t start = i;
    while (i < limit) {
        int32_t p = point_at(text, n, i, &len);
        if (!is_word_point(p) && p != '\'' && p != 0x2019) {
            r.identifier |= p == '(';
            break;
        }
        r.identifier |= p == '_';
        i += len;
    }
    r.function_word = is_stop_word(text + start, i - start);
    return r;
}

/* Start of the run of letters, digits and inner dots before text[dot], not before `from`. */
static size_t word_start_before(const char *text, size_t from, size_t dot)
{
    size_t i = dot;
    while (i > from && dot - i < LOOK_BYTES) {
        size_t len;
        int32_t p = point_before(text, i, &len);
        if (!is_word_point(p) && p != '.') {
            break;
        }
        i -= len;
    }
    return i;
}

/* "1", "12", "a", "iv" at the start of a sentence: the dot behind is a list marker's. */
static bool is_list_marker(const char *s, size_t n)
{
    size_t digits = 0, roman = 0;
    for (size_t i = 0; i < n; i++) {
        digits += (s[i] >= '0' && s[i] <= '9') || s[i] == '.';
        roman += s[i] && strchr("ivxIVX", s[i]) != NULL;
    }
    return n > 0 && ((digits == n && n <= 8) || (roman == n && n <= 5) ||
                     (n == 1 && is_letter((uint8_t)s[0])));
}

/* Does the dot at text[dot] (followed by white space) end the sentence that began at `from`? */
static bool dot_ends(const char *text, size_t n, size_t from, size_t dot, size_t after)
{
    size_t ws = word_start_before(text, from, dot), wn = dot - ws;
    struct neighbour next = look_ahead(text, n, after);
    char w[16];
    if (ws == from && is_list_marker(text + ws, wn)) {
        return false;
    }
    if (wn > 0 && fold_ascii(text + ws, wn, w, sizeof w)) {
        if (IN_LIST(abbreviations, w)) {
            return false;
        }
        bool initial = wn == 1 && is_upper((uint8_t)text[ws]);
        if (IN_LIST(weak_abbreviations, w) || initial) {
            return is_upper(next.first) && next.function_word;
        }
        if (IN_LIST(counted_abbreviations, w) && is_digit(next.first)) {
            return false;
        }
    }
    if (is_lower(next.first)) {
        /* an abbreviation we do not know, unless the word is long or a command's name follows */
        return next.identifier || wn >= 5;
    }
    return true;
}

static bool is_wide_terminator(int32_t p)
{
    return p == 0x3002 || p == 0xFF01 || p == 0xFF1F || p == 0xFF0E || p == 0xFF61;
}

static bool is_terminator(int32_t p)
{
    return p == '.' || p == '!' || p == '?' || p == 0x2026 || p == 0x203C || p == 0x2047 ||
           p == 0x0964 || p == 0x06D4 || p == 0x061F;
}

/* text[i] is a newline: does the line after it begin a new block (blank line or list item)? */
static bool newline_ends(const char *text, size_t n, size_t i)
{
    size_t k = i + 1;
    while (k < n && (text[k] == ' ' || text[k] == '\t' || text[k] == '\r')) {
        k++;
    }
    if (k >= n || text[k] == '\n') {
        return true;
    }
    size_t d = k;
    while (d < n && d - k < 3 && text[d] >= '0' && text[d] <= '9') {
        d++;
    }
    if (d > k) {
        return d + 1 < n && (text[d] == '.' || text[d] == ')') && text[d + 1] == ' ';
    }
    size_t len;
    int32_t p = point_at(text, n, k, &len);
    bool bullet = p == '-' || p == '*' || p == '+' || p == 0x2022 || p == 0x2013;
    return bullet && k + len < n && text[k + len] == ' ';
}

/* After the terminator that begins at text[i] (a dot when `dot`): past its repetitions and closing
 * quotes to *after; true when the sentence ends there. */
static bool terminator_ends(const char *text, size_t n, size_t from, size_t i, size_t *after)
{
    size_t k = i, len, count = 0;
    int32_t first = point_at(text, n, i, &len), p = first;
    bool wide = false, strong = false;
    while (k < n && (is_terminator(p = point_at(text, n, k, &len)) || is_wide_terminator(p))) {
        wide |= is_wide_terminator(p);
        strong |= p != '.' && p != 0x2026;
        k += len;
        count++;
    }
    while (k < n && is_closer(point_at(text, n, k, &len))) {
        k += len;
    }
    *after = k;
    if (k >= n || wide) {
        return true;
    }
    if (!is_space(point_at(text, n, k, &len))) {
        return false;
    }
    if (first == '.' && count == 1) {
        return dot_ends(text, n, from, i, k);
    }
    struct neighbour next = look_ahead(text, n, k);
    return !is_lower(next.first) || (strong && next.identifier);
}

bool sentence_next(const char *text, size_t n, size_t *pos, struct text_span *out)
{
    size_t i = *pos, len = 1;
    while (i < n && is_space(point_at(text, n, i, &len))) {
        i += len;
    }
    if (i >= n) {
        *pos = n;
        return false;
    }
    size_t start = i, end = i; /* end: after the last point that is not white space */
    while (i < n) {
        int32_t p = point_at(text, n, i, &len);
        if (is_terminator(p) || is_wide_terminator(p)) {
            bool done = terminator_ends(text, n, start, i, &i);
            end = i;
            if (done) {
                break;
            }
            continue;
        }
        i += len;
        if (p == '\n' && newline_ends(text, n, i - 1)) {
            break;
        }
        if (!is_space(p)) {
            end = i;
        }
    }
    *pos = i;
    *out = (struct text_span){(uint32_t)start, (uint32_t)end};
    return true;
}

/* ---- words ---- */

/* Is text[i] the first word of a sentence (or of a line that stands alone)? */
static bool at_sentence_start(const char *text, size_t n, size_t i)
{
    size_t k = i, len;
    while (k > 0 && i - k < LOOK_BYTES) {
        int32_t p = point_before(text, k, &len);
        if (is_terminator(p) || is_wide_terminator(p)) {
            size_t dot = k - len;
            return p != '.' || k == i || dot_ends(text, n, 0, dot, k);
        }
        if (p == '\n' && (k == len || text[k - len - 1] == '\n')) {
            return true;
        }
        if (p == ':' || p == '|' || p == 0x2022) {
            return true;
        }
        if (!is_space(p) && !is_opener(p) && !is_closer(p) && p != '-' && p != '#') {
            return false;
        }
        k -= len;
    }
    return k == 0;
}

struct shape { /* what a word is made of */
    size_t letters, uppers, digits;
    bool lower_then_upper, joined; /* joined: holds _ or a dot between letters */
    char date;                     /* the - or / of 2024-03-31, 3/31/2024 */
};

/* text[i] is - or / between digits: does the same mark follow once more, as in 2024-03-31? Ranges
 * such as 5-10 are two numbers. */
static bool date_follows(const char *text, size_t n, size_t i)
{
    size_t k = i + 1;
    while (k < n && k - i < 5 && text[k] >= '0' && text[k] <= '9') {
        k++;
    }
    return n - k >= 2 && text[k] == text[i] && text[k + 1] >= '0' && text[k + 1] <= '9';
}

/* Takes in the point after text[i] while it belongs to the word; returns the end. */
static size_t scan_word(const char *text, size_t n, size_t i, struct shape *s)
{
    int32_t prev = 0;
    size_t len, len2;
    while (i < n) {
        int32_t p = point_at(text, n, i, &len);
        if (is_ideograph(p)) {
            return prev ? i : i + len;
        }
        if (is_word_point(p)) {
            s->letters += is_letter(p);
            s->uppers += is_upper(p);
            s->digits += is_number_like(p);
            s->lower_then_upper |= is_upper(p) && is_lower(prev);
            s->joined |= p == '_';
        } else {
            /* a separator stays inside when it stands between two points of the right kind */
            int32_t next = i + len < n ? point_at(text, n, i + len, &len2) : 0;
            bool digits = is_digit(prev) && is_digit(next);
            bool letters = is_letter(prev) && is_letter(next) && !is_ideograph(next);
            bool apostrophe = (p == '\'' || p == 0x2019) && letters;
            bool date = digits && (p == '-' || p == '/') &&
                        (s->date == (char)p || date_follows(text, n, i));
            bool number = digits && s->letters == 0 && (p == '.' || p == ',' || p == ':' || date);
            bool dotted = p == '.' && prev && is_word_point(prev) && is_word_point(next) &&
                          !is_ideograph(next) && s->letters > 0;
            if (!apostrophe && !number && !dotted) {
                break;
            }
            s->joined |= dotted;
            s->date = date ? (char)p : s->date;
        }
        prev = p;
        i += len;
    }
    return i;
}

/* At a dash: --option or -o after white space, an opening bracket or at the start. */
static size_t option_end(const char *text, size_t n, size_t i)
{
    size_t len, k = i;
    if (i > 0) {
        int32_t before = point_before(text, i, &len);
        if (!is_space(before) && !is_opener(before) && before != '|' && before != ',') {
            return i;
        }
    }
    while (k < n && k - i < 2 && text[k] == '-') {
        k++;
    }
    size_t first = k;
    while (k < n && (is_letter((uint8_t)text[k] & 0x7F) || (text[k] >= '0' && text[k] <= '9') ||
                     ((text[k] == '-' || text[k] == '_') && k > first))) {
        if ((uint8_t)text[k] >= 0x80) {
            break;
        }
        k++;
    }
    while (k > first && text[k - 1] == '-') {
        k--;
    }
    bool is_long = first - i == 2 && k > first + 1, is_short = first - i == 1 && k == first + 1;
    return (is_long || is_short) && is_letter((uint8_t)text[first]) ? k : i;
}

static enum word_kind kind_of(const char *text, size_t n, const struct text_span *w,
                              const struct shape *s)
{
    size_t len;
    int32_t first = point_at(text, n, w->start, &len);
    if (is_number_like(first)) {
        return WORD_NUMBER;
    }
    bool initials = s->joined && s->letters == s->uppers && s->digits == 0; /* U.S */
    if ((s->joined && !initials) || (s->lower_then_upper && !is_upper(first))) {
        return WORD_IDENT;
    }
    if (s->letters == s->uppers && (s->letters > 1 || s->digits > 0)) {
        return WORD_NAME;
    }
    if (s->digits > 0 && !is_upper(first)) {
        return WORD_IDENT;
    }
    if (is_upper(first) && (s->lower_then_upper || !at_sentence_start(text, n, w->start))) {
        return WORD_NAME;
    }
    return WORD_PLAIN;
}

bool word_next(const char *text, size_t n, size_t *pos, struct word *out)
{
    size_t i = *pos, len = 1;
    while (i < n) {
        int32_t p = point_at(text, n, i, &len);
        if (p == '-') {
            size_t end = option_end(text, n, i);
            if (end > i) {
                *out = (struct word){{(uint32_t)i, (uint32_t)end}, WORD_IDENT, false};
                *pos = end;
                return true;
            }
        }
        if (is_word_point(p)) {
            break;
        }
        i += len;
    }
    if (i >= n) {
        *pos = n;
        return false;
    }
    struct shape s = {0};
    size_t end = scan_word(text, n, i, &s);
    struct word w = {.span = {(uint32_t)i, (uint32_t)end}};
    w.stop = is_stop_word(text + i, end - i);
    if (!w.stop) {
        w.kind = kind_of(text, n, &w.span, &s);
    }
    if (n - end >= 2 && text[end] == '(' && text[end + 1] == ')') {
        w.span.end += 2;
        w.kind = WORD_IDENT;
        w.stop = false;
    }
    *pos = w.span.end;
    *out = w;
    return true;
}

/* ---- the compared form ---- */

/* Drops the commas of 1,234,567 (every group of three digits); other commas stay. */
static size_t drop_grouping(char *w, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        bool group = w[i] == ',' && n - i > 3;
        for (size_t j = 1; group && j <= 3; j++) {
            group = w[i + j] >= '0' && w[i + j] <= '9';
        }
        if (group && n - i > 4 && w[i + 4] >= '0' && w[i + 4] <= '9') {
            group = false;
        }
        if (!group) {
            w[k++] = w[i];
        }
    }
    return k;
}

/* Case-folds and strips marks into out[size]; 0 when it does not fit or is not UTF-8. */
static size_t fold_unicode(const char *s, size_t n, char *out, size_t size)
{
    utf8proc_int32_t points[96];
    utf8proc_option_t how = UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_STRIPMARK |
                            UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
    utf8proc_ssize_t k =
        utf8proc_decompose((const uint8_t *)s, (utf8proc_ssize_t)n, points, 96, how);
    if (k < 0 || k > 96) {
        return 0;
    }
    size_t used = 0;
    for (utf8proc_ssize_t i = 0; i < k; i++) {
        if (used + 4 > size) {
            return 0;
        }
        used += (size_t)utf8proc_encode_char(points[i], (uint8_t *)out + used);
    }
    return used;
}

static size_t fold_plain(const char *s, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + ('a' - 'A')) : s[i];
    }
    return n;
}

/* Folded form of a word of at most 64 bytes, in place of any length; returns its length. */
static size_t normal_short(const char *word, size_t n, char *w, size_t size)
{
    bool ascii = true;
    for (size_t i = 0; i < n; i++) {
        ascii &= (uint8_t)word[i] < 0x80;
    }
    size_t k = ascii ? fold_plain(word, n, w) : fold_unicode(word, n, w, size);
    if (k == 0) {
        return fold_plain(word, n, w);
    }
    if (w[0] >= '0' && w[0] <= '9') {
        return drop_grouping(w, k);
    }
    size_t letters = 0, kept = 0;
    for (size_t i = 0; i < k; i++) {
        if (w[i] == '\'' || (k - i >= 3 && memcmp(w + i, "\xE2\x80\x99", 3) == 0)) {
            size_t rest = w[i] == '\'' ? 1 : 3;
            if (i + rest + 1 == k && w[i + rest] == 's') {
                break; /* possessive */
            }
            i += rest - 1;
            continue;
        }
        letters += w[i] >= 'a' && w[i] <= 'z';
        w[kept++] = w[i];
    }
    return letters == kept ? stem_porter(w, kept) : kept;
}

void word_normal(const char *word, size_t n, struct buf *out)
{
    while (n > 1 && *word == '-') {
        word++;
        n--;
    }
    if (n > 2 && memcmp(word + n - 2, "()", 2) == 0) {
        n -= 2;
    }
    char w[400];
    if (n <= 64) {
        buf_put(out, w, normal_short(word, n, w, sizeof w));
        return;
    }
    if (!buf_reserve(out, n)) {
        return;
    }
    out->len += fold_plain(word, n, out->data + out->len);
    out->data[out->len] = 0;
}

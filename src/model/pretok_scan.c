/* Hand-written scanners for the four commonest pre-tokenizer patterns. Each function says which
 * alternatives of its pattern it does, in their order; a pattern's first alternative that matches
 * wins, so the order is part of the definition.
 *
 * "Letters" are \p{L}, "numbers" \p{N}, "others" what is neither nor white space. */
#include "model/pretok.h"

#include "text/unicode.h"

struct scan {
    const char *p;
    size_t n;
    unsigned stop; /* class that ends the text for look-ahead, like its real end; 0: none */
};

/* Class and length of the code point at i; at the end (or a stop) class 0 and length 0. */
static inline unsigned at(const struct scan *s, size_t i, size_t *len)
{
    if (i >= s->n) {
        *len = 0;
        return 0;
    }
    unsigned char c = (unsigned char)s->p[i];
    unsigned k;
    if (c < 128) {
        *len = 1;
        k = uni_ascii_class[c];
    } else {
        uint32_t cp;
        *len = utf8_decode(s->p + i, s->n - i, &cp);
        k = uni_class_wide(cp);
    }
    if (k & s->stop) {
        *len = 0;
        return 0;
    }
    return k;
}

static size_t run(const struct scan *s, size_t i, unsigned mask)
{
    for (;;) {
        while (i < s->n && (unsigned char)s->p[i] < 128) {
            if (!(uni_ascii_class[(unsigned char)s->p[i]] & mask)) {
                return i;
            }
            i++;
        }
        size_t len;
        if (!(at(s, i, &len) & mask)) {
            return i;
        }
        i += len;
    }
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* 's 't 're 've 'm 'll 'd at p[i] == '\'': its length, or 0. Without regard to case it also takes
 * U+017F, which folds to s. */
static size_t contraction(const char *p, size_t n, size_t i, bool any_case)
{
    if (i + 1 >= n) {
        return 0;
    }
    unsigned char a = any_case ? lower(p[i + 1]) : (unsigned char)p[i + 1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    if (i + 2 >= n) {
        return 0;
    }
    unsigned char b = any_case ? lower(p[i + 2]) : (unsigned char)p[i + 2];
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) {
        return 3;
    }
    return any_case && a == 0xC5 && b == 0xBF ? 3 : 0;
}

/* \s+(?!\S) | \s+ at a white-space character: the run without its last character when something
 * other than the end follows, and at least one character. */
static size_t white(const struct scan *s, size_t i)
{
    size_t end = i, last = i, len;
    while (at(s, end, &len) & UNI_SPACE) {
        last = end;
        end += len;
    }
    return at(s, end, &len) && last > i ? last : end;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t gpt2(const struct scan *s, size_t i)
{
    if (s->p[i] == '\'') {
        size_t len = contraction(s->p, s->n, i, false);
        if (len) {
            return i + len;
        }
    }
    size_t len, next;
    unsigned k = at(s, i, &len);
    if (s->p[i] == ' ') {
        unsigned k2 = at(s, i + 1, &next);
        if (k2 && !(k2 & UNI_SPACE)) {
            k = k2;
            len = next + 1;
        }
    }
    if (k & UNI_SPACE) {
        return white(s, i);
    }
    return run(s, i + len, k & (UNI_LETTER | UNI_NUMBER | UNI_OTHER));
}

/* \p{N}, then the above on what lies between. */
static size_t smollm(const struct scan *s, size_t i)
{
    size_t len;
    if (at(s, i, &len)) {
        return gpt2(s, i);
    }
    uint32_t cp;
    return i + utf8_decode(s->p + i, s->n - i, &cp);
}

/* \s*[\r\n]+ at a white-space character: up to the last line end of the run; 0 when it has none. */
static size_t lines(const struct scan *s, size_t i)
{
    size_t end = 0, len;
    for (unsigned k; (k = at(s, i, &len)) & UNI_SPACE;) {
        i += len;
        if (k & UNI_NEWLINE) {
            end = i;
        }
    }
    return end;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t llama3(const struct scan *s, size_t i, int max_digits)
{
    size_t len, next;
    unsigned k = at(s, i, &len);
    if (k & UNI_LETTER) {
        return run(s, i + len, UNI_LETTER);
    }
    if (s->p[i] == '\'') {
        size_t c = contraction(s->p, s->n, i, true);
        if (c) {
            return i + c;
        }
    }
    if (k & UNI_NUMBER) {
        for (int d = 0; d < max_digits && at(s, i, &len) & UNI_NUMBER; d++) {
            i += len;
        }
        return i;
    }
    unsigned k2 = at(s, i + len, &next);
    if (!(k & UNI_NEWLINE) && k2 & UNI_LETTER) {
        return run(s, i + len + next, UNI_LETTER);
    }
    bool spaced = s->p[i] == ' ' && k2 & UNI_OTHER;
    if (k & UNI_OTHER || spaced) {
        return run(s, run(s, i + len, UNI_OTHER), UNI_NEWLINE);
    }
    size_t end = lines(s, i);
    return end ? end : white(s, i);
}

size_t pretok_scan_next(enum pretok_scan scan, const char *text, size_t n, size_t i)
{
    struct scan s = {text, n, scan == SCAN_SMOLLM ? UNI_NUMBER : 0};
    switch (scan) {
    case SCAN_GPT2:
        return gpt2(&s, i);
    case SCAN_SMOLLM:
        return smollm(&s, i);
    case SCAN_LLAMA3:
        return llama3(&s, i, 3);
    case SCAN_QWEN2:
        return llama3(&s, i, 1);
    case SCAN_NONE:
        break;
    }
    return n;
}

/* Unicode helpers: see unicode.h. Normal forms are made run by run: ASCII is copied, and only the
 * stretches that hold something else go through utf8proc, since most text is mostly ASCII. */
#include "text/unicode.h"

#include <utf8proc.h>

#include <stdlib.h>
#include <string.h>

#define L UNI_LETTER
#define N UNI_NUMBER
#define S UNI_SPACE
#define W (UNI_SPACE | UNI_NEWLINE)
#define O UNI_OTHER
#define P (UNI_OTHER | UNI_PUNCT)
const uint8_t uni_ascii_class[128] = {
    O, O, O, O, O, O, O, O, O, S, W, S, S, W, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, P, P, P, O, P, P, P, P, P, P, O, P, P, P, P, N, N, N, N, N, N, N, N, N, N, P, P, O, O, O, P,
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, P, P, O, P,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, O, P, O, O,
};
#undef L
#undef N
#undef S
#undef W
#undef O
#undef P

static bool tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t utf8_decode(const char *text, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned c = p[0];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF && n >= 2 && tail(p[1])) {
        *cp = (c & 31) << 6 | (p[1] & 63u);
        return 2;
    }
    if (c >= 0xE0 && c <= 0xEF && n >= 3 && tail(p[1]) && tail(p[2])) {
        uint32_t u = (c & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
        if (u >= 0x800 && (u < 0xD800 || u > 0xDFFF)) {
            *cp = u;
            return 3;
        }
    }
    if (c >= 0xF0 && c <= 0xF4 && n >= 4 && tail(p[1]) && tail(p[2]) && tail(p[3])) {
        uint32_t u = (c & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
        if (u >= 0x10000 && u <= 0x10FFFF) {
            *cp = u;
            return 4;
        }
    }
    *cp = UNI_BAD;
    return 1;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)cp, (utf8proc_uint8_t *)out);
}

static size_t ascii_run(const char *p, size_t n)
{
    size_t i = 0;
    for (uint64_t w; i + 8 <= n; i += 8) {
        memcpy(&w, p + i, 8);
        if (w & 0x8080808080808080u) {
            break;
        }
    }
    while (i < n && (unsigned char)p[i] < 128) {
        i++;
    }
    return i;
}

size_t utf8_valid_prefix(const char *p, size_t n)
{
    size_t i = 0;
    while ((i += ascii_run(p + i, n - i)) < n) {
        uint32_t cp;
        size_t len = utf8_decode(p + i, n - i, &cp);
        if (cp == UNI_BAD) {
            break;
        }
        i += len;
    }
    return i;
}

static bool white_space(uint32_t cp)
{
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

unsigned uni_class_wide(uint32_t cp)
{
    if (cp > 0x10FFFF) {
        return UNI_OTHER;
    }
    if (white_space(cp)) {
        return UNI_SPACE;
    }
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) {
        return UNI_LETTER;
    }
    if (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) {
        return UNI_NUMBER;
    }
    if (c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME) {
        return UNI_OTHER | UNI_MARK;
    }
    if (c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO) {
        return UNI_OTHER | UNI_PUNCT;
    }
    return UNI_OTHER;
}

void uni_put_lower(struct buf *out, uint32_t cp)
{
    char c[4];
    if (cp == 0x130) { /* the only code point whose lower case is two */
        buf_put(out, "i\xCC\x87", 3);
    } else {
        buf_put(out, c, utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)cp), c));
    }
}

static void normalize_run(enum uni_form form, const char *p, size_t n, struct buf *out)
{
    static const utf8proc_option_t options[] = {
        [UNI_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [UNI_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [UNI_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [UNI_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, &made, options[form]);
    if (len < 0) {
        out->failed = true; /* the run is valid UTF-8: only memory can fail */
    } else {
        buf_put(out, made, (size_t)len);
    }
    free(made);
}

void uni_normalize(enum uni_form form, const char *p, size_t n, struct buf *out)
{
    size_t i = 0;
    while (i < n) {
        size_t run = ascii_run(p + i, n - i);
        if (i + run == n) {
            buf_put(out, p + i, run);
            return;
        }
        /* The last ASCII character may be the base of what follows. */
        size_t keep = run ? run - 1 : 0;
        buf_put(out, p + i, keep);
        i += keep;
        size_t end = i + (run ? 1 : 0);
        while (end < n && (unsigned char)p[end] >= 128) {
            uint32_t cp;
            size_t len = utf8_decode(p + end, n - end, &cp);
            if (cp == UNI_BAD) {
                break;
            }
            end += len;
        }
        if (end > i) {
            normalize_run(form, p + i, end - i, out);
        }
        i = end;
        if (i < n && (unsigned char)p[i] >= 128) { /* malformed */
            buf_put(out, p + i, 1);
            i++;
        }
    }
}

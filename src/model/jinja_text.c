/* Text as Python sees it, over UTF-8: code points, white space, case, searching.
 *
 * Strings stay UTF-8 with byte lengths and are counted in code points only where a template asks;
 * templates almost always compare, join and print. Case mappings come from utf8proc; the few
 * characters that map to several (SpecialCasing.txt of Unicode) are in a table below. */
#include "model/jinja_internal.h"
#include "model/jinja_casing.h"

#include <string.h>
#include <utf8proc.h>

uint32_t jinja_rune(const char *p, size_t n, size_t *len)
{
    unsigned char c = (unsigned char)p[0];
    if (c < 0x80) {
        *len = 1;
        return c;
    }
    size_t want = c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 1;
    uint32_t v = want == 4 ? c & 7u : want == 3 ? c & 15u : c & 31u;
    *len = 1;
    if (want == 1 || want > n || c >= 0xF5) {
        return 0xFFFD;
    }
    for (size_t i = 1; i < want; i++) {
        unsigned char b = (unsigned char)p[i];
        if ((b & 0xC0) != 0x80) {
            return 0xFFFD;
        }
        v = v << 6 | (b & 63u);
    }
    if ((want == 3 && v < 0x800) || (want == 4 && (v < 0x10000 || v > 0x10FFFF)) ||
        (v >= 0xD800 && v < 0xE000)) {
        return 0xFFFD;
    }
    *len = want;
    return v;
}

size_t jinja_put_rune(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 63));
        c >>= 6;
    }
    out[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | c);
    return n;
}

bool jinja_valid_utf8(const char *p, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        if (jinja_rune(p + i, n - i, &len) == 0xFFFD && len == 1) {
            return false;
        }
    }
    return true;
}

bool jinja_is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

size_t jinja_rune_count(struct str s)
{
    size_t count = 0;
    for (size_t i = 0, len; i < s.n; i += len) {
        (void)jinja_rune(s.p + i, s.n - i, &len);
        count++;
    }
    return count;
}

size_t jinja_rune_offset(struct str s, size_t index)
{
    size_t i = 0;
    for (size_t len; i < s.n && index > 0; i += len, index--) {
        (void)jinja_rune(s.p + i, s.n - i, &len);
    }
    return i;
}

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

bool jinja_is_printable(uint32_t c)
{
    if (c < 0x80) {
        return c >= 32 && c < 127;
    }
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    default:
        return true;
    }
}

bool jinja_is_class(uint32_t c, enum char_class class)
{
    utf8proc_category_t cat = utf8proc_category((utf8proc_int32_t)c);
    bool alpha = cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO;
    bool decimal = cat == UTF8PROC_CATEGORY_ND;
    bool numeric = decimal || cat == UTF8PROC_CATEGORY_NL || cat == UTF8PROC_CATEGORY_NO;
    switch (class) {
    case CHAR_ALPHA:
        return alpha;
    case CHAR_DECIMAL:
    case CHAR_DIGIT:
        return decimal;
    case CHAR_NUMERIC:
        return numeric;
    case CHAR_ALNUM:
        return alpha || numeric;
    case CHAR_WORD:
        return alpha || numeric || c == '_';
    }
    return false;
}

bool jinja_is_upper(uint32_t c)
{
    return c < 0x80 ? c >= 'A' && c <= 'Z' : utf8proc_isupper((utf8proc_int32_t)c) != 0;
}

bool jinja_is_lower(uint32_t c)
{
    return c < 0x80 ? c >= 'a' && c <= 'z' : utf8proc_islower((utf8proc_int32_t)c) != 0;
}

bool jinja_is_cased(uint32_t c)
{
    return jinja_is_upper(c) || jinja_is_lower(c) ||
           utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LT;
}

struct str jinja_strip(struct str s, bool left, bool right)
{
    size_t len;
    while (left && s.n && jinja_is_space(jinja_rune(s.p, s.n, &len))) {
        s.p += len;
        s.n -= len;
    }
    while (right && s.n) {
        size_t at = s.n - 1;
        while (at > 0 && ((unsigned char)s.p[at] & 0xC0) == 0x80) {
            at--;
        }
        uint32_t c = jinja_rune(s.p + at, s.n - at, &len);
        if (at + len != s.n || !jinja_is_space(c)) {
            break;
        }
        s.n = at;
    }
    return s;
}

static bool among(struct str chars, const char *p, size_t len)
{
    for (size_t i = 0, n; i < chars.n; i += n) {
        (void)jinja_rune(chars.p + i, chars.n - i, &n);
        if (n == len && memcmp(chars.p + i, p, n) == 0) {
            return true;
        }
    }
    return false;
}

struct str jinja_strip_chars(struct str s, struct str chars, bool left, bool right)
{
    size_t len;
    while (left && s.n) {
        (void)jinja_rune(s.p, s.n, &len);
        if (!among(chars, s.p, len)) {
            break;
        }
        s.p += len;
        s.n -= len;
    }
    while (right && s.n) {
        size_t at = s.n - 1;
        while (at > 0 && ((unsigned char)s.p[at] & 0xC0) == 0x80) {
            at--;
        }
        if (!among(chars, s.p + at, s.n - at)) {
            break;
        }
        s.n = at;
    }
    return s;
}

/* ---- case ---- */

static const struct casing *special(uint32_t c, const struct casing *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (table[i].from == c) {
            return &table[i];
        }
    }
    return NULL;
}

static void put_mapped(struct buf *b, const struct casing *s, utf8proc_int32_t simple)
{
    char u[4];
    if (!s) {
        buf_put(b, u, jinja_put_rune(u, (uint32_t)simple));
    }
    for (size_t i = 0; s && i < 3 && s->to[i]; i++) {
        buf_put(b, u, jinja_put_rune(u, s->to[i]));
    }
}

static void put_upper(struct buf *b, uint32_t c)
{
    const struct casing *s = c < 0x80 ? NULL : special(c, casing_upper, CASING_UPPER_N);
    put_mapped(b, s, utf8proc_toupper((utf8proc_int32_t)c));
}

static void put_title(struct buf *b, uint32_t c)
{
    const struct casing *s = c < 0x80 ? NULL : special(c, casing_title, CASING_TITLE_N);
    put_mapped(b, s, utf8proc_totitle((utf8proc_int32_t)c));
}

static bool case_ignorable(uint32_t c)
{
    utf8proc_category_t cat = utf8proc_category((utf8proc_int32_t)c);
    return cat == UTF8PROC_CATEGORY_MN || cat == UTF8PROC_CATEGORY_ME ||
           cat == UTF8PROC_CATEGORY_CF || cat == UTF8PROC_CATEGORY_LM ||
           cat == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xB7 ||
           c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027 || c == 0x387 || c == 0x55F ||
           c == 0x5F4;
}

/* A capital sigma at the end of a word (Final_Sigma of Unicode): a cased letter before it and none
 * after it, case-ignorable characters aside. */
static bool final_sigma(struct str s, size_t at, size_t len)
{
    bool before = false;
    for (size_t i = 0, n; i < at; i += n) {
        uint32_t c = jinja_rune(s.p + i, s.n - i, &n);
        before = case_ignorable(c) ? before : jinja_is_cased(c);
    }
    for (size_t i = at + len, n; before && i < s.n; i += n) {
        uint32_t c = jinja_rune(s.p + i, s.n - i, &n);
        if (!case_ignorable(c)) {
            return !jinja_is_cased(c);
        }
    }
    return before;
}

static void put_lower(struct buf *b, struct str s, size_t at, size_t len, uint32_t c)
{
    char u[4];
    if (c == 0x3A3) {
        buf_put(b, u, jinja_put_rune(u, final_sigma(s, at, len) ? 0x3C2 : 0x3C3));
    } else if (c == 0x130) {
        buf_puts(b, "i\xCC\x87");
    } else {
        buf_put(b, u, jinja_put_rune(u, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c)));
    }
}

/* Where the filter `title` begins a word: after white space or one of - ( { [ < */
static bool breaks_word(uint32_t c)
{
    return jinja_is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

enum status jinja_case(struct run *r, struct val v, enum case_op op, struct val *out)
{
    struct str s = jinja_text(v);
    struct buf b = {0};
    bool inside = false;
    TRY(jinja_charge(r, s.n));
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t c = jinja_rune(s.p + i, s.n - i, &len);
        bool first = op == CASE_CAPITALIZE ? i == 0 : !inside;
        if (op == CASE_UPPER || (op == CASE_SWAP && jinja_is_lower(c)) ||
            (op == CASE_TITLE_FILTER && first)) {
            put_upper(&b, c);
        } else if (op == CASE_SWAP && !jinja_is_upper(c)) {
            buf_put(&b, s.p + i, len);
        } else if ((op == CASE_TITLE || op == CASE_CAPITALIZE) && first) {
            put_title(&b, c);
        } else {
            put_lower(&b, s, i, len, c);
        }
        inside = op == CASE_TITLE_FILTER ? !breaks_word(c) : jinja_is_cased(c);
    }
    uint8_t flag = v.flag;
    TRY(jinja_take(r, &b, out));
    out->flag = flag;
    return OK;
}

/* ---- searching ---- */

size_t jinja_find(struct str s, struct str what, size_t from)
{
    if (from > s.n || what.n > s.n - from) {
        return SIZE_MAX;
    }
    if (what.n == 0) {
        return from;
    }
    const char *p = memmem(s.p + from, s.n - from, what.p, what.n);
    return p ? (size_t)(p - s.p) : SIZE_MAX;
}

size_t jinja_rfind(struct str s, struct str what)
{
    for (size_t i = s.n >= what.n ? s.n - what.n + 1 : 0; i-- > 0;) {
        if (what.n == 0 || memcmp(s.p + i, what.p, what.n) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static enum status put_between(struct run *r, struct str s, struct str with, int64_t count,
                               struct buf *b)
{
    size_t i = 0;
    for (size_t len; count != 0; count--) {
        buf_put(b, with.p, with.n);
        if (b->len > r->max_output) {
            return jinja_fail(r, ERR_LIMIT, "a string longer than the limit of output");
        }
        if (i >= s.n) {
            return OK;
        }
        (void)jinja_rune(s.p + i, s.n - i, &len);
        buf_put(b, s.p + i, len);
        i += len;
    }
    buf_put(b, s.p + i, s.n - i);
    return OK;
}

static enum status put_replaced(struct run *r, struct str s, struct str old, struct str with,
                                int64_t count, struct buf *b)
{
    size_t from = 0;
    for (; count != 0; count--) {
        size_t at = jinja_find(s, old, from);
        if (at == SIZE_MAX) {
            break;
        }
        buf_put(b, s.p + from, at - from);
        buf_put(b, with.p, with.n);
        from = at + old.n;
        if (b->len > r->max_output) {
            return jinja_fail(r, ERR_LIMIT, "a string longer than the limit of output");
        }
    }
    buf_put(b, s.p + from, s.n - from);
    return OK;
}

enum status jinja_replace(struct run *r, struct str s, struct str old, struct str with,
                          int64_t count, struct val *out)
{
    TRY(jinja_charge(r, s.n));
    if (old.n && (count == 0 || jinja_find(s, old, 0) == SIZE_MAX)) {
        *out = jinja_string(s.p, s.n);
        return OK;
    }
    struct buf b = {0};
    enum status status =
        old.n ? put_replaced(r, s, old, with, count, &b) : put_between(r, s, with, count, &b);
    if (status) {
        buf_fini(&b);
        return status;
    }
    return jinja_take(r, &b, out);
}

static size_t line_break(struct str s, size_t at)
{
    size_t len;
    uint32_t c = jinja_rune(s.p + at, s.n - at, &len);
    if (c == '\r' && at + 1 < s.n && s.p[at + 1] == '\n') {
        return 2;
    }
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029
               ? len
               : 0;
}

enum status jinja_splitlines(struct run *r, struct str s, bool keep, struct val *out)
{
    size_t n = 0;
    TRY(jinja_charge(r, s.n));
    for (size_t i = 0; i < s.n;) {
        size_t len = line_break(s, i);
        n += len > 0;
        i += len ? len : 1;
    }
    struct val *items = jinja_vals(r, n + 1);
    if (!items) {
        return jinja_no_memory(r);
    }
    size_t from = 0;
    n = 0;
    for (size_t i = 0; i < s.n;) {
        size_t len = line_break(s, i);
        if (len) {
            items[n++] = jinja_string(s.p + from, i - from + (keep ? len : 0));
            from = i + len;
        }
        i += len ? len : 1;
    }
    if (from < s.n) {
        items[n++] = jinja_string(s.p + from, s.n - from);
    }
    *out = jinja_list(items, n);
    return OK;
}

/* Encodings: bytes of unknown origin -> UTF-8.
 *
 * What the file says itself is believed first (byte order mark, declared charset), then what it
 * proves (valid UTF-8 is hardly ever an accident), then statistics (uchardet). glibc's iconv
 * converts. Rejected: ICU, whose detector is no better and whose size is forty times as much. */
#include "text/extract_internal.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>
#include <uchardet/uchardet.h>
#include <utf8proc.h>

enum {
    DETECT_BYTES = 1 << 20, /* shown to the detector */
    SAMPLE_BYTES = 1 << 16, /* looked at for zeros and control characters */
    MAX_BAD_PER_MILLE = 20, /* undecodable or control characters before a file counts as binary */
};

/* Labels by which browsers mean another encoding (WHATWG Encoding Standard, section 4.2), and names
 * that iconv does not know. */
static const struct {
    const char *label, *iconv;
} aliases[] = {
    {"ascii", "WINDOWS-1252"},
    {"us-ascii", "WINDOWS-1252"},
    {"iso-8859-1", "WINDOWS-1252"},
    {"iso8859-1", "WINDOWS-1252"},
    {"latin1", "WINDOWS-1252"},
    {"latin-1", "WINDOWS-1252"},
    {"iso-8859-9", "WINDOWS-1254"},
    {"tis-620", "CP874"},
    {"iso-8859-11", "CP874"},
    {"shift_jis", "CP932"},
    {"shift-jis", "CP932"},
    {"sjis", "CP932"},
    {"x-sjis", "CP932"},
    {"ms_kanji", "CP932"},
    {"gb2312", "GB18030"},
    {"gbk", "GB18030"},
    {"x-gbk", "GB18030"},
    {"ks_c_5601-1987", "CP949"},
    {"euc-kr", "CP949"},
    {"big5", "BIG5-HKSCS"},
    {"x-mac-roman", "MACINTOSH"},
    {"utf8", "UTF-8"},
    {"unicode-1-1-utf-8", "UTF-8"},
};

static const char *iconv_name(const char *label)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (strcasecmp(label, aliases[i].label) == 0) {
            return aliases[i].iconv;
        }
    }
    return label;
}

static bool is_utf8(const uint8_t *s, size_t n, bool *ascii)
{
    *ascii = true;
    for (size_t i = 0; i < n;) {
        if (s[i] < 0x80) {
            i++;
            continue;
        }
        utf8proc_int32_t p;
        utf8proc_ssize_t k = utf8proc_iterate(s + i, (utf8proc_ssize_t)(n - i < 4 ? n - i : 4), &p);
        if (k <= 0) {
            return false;
        }
        *ascii = false;
        i += (size_t)k;
    }
    return true;
}

/* Converts, writing U+FFFD for what cannot be decoded and counting those; false when iconv does not
 * know the encoding. */
static bool convert(const char *from, const uint8_t *s, size_t n, struct buf *out, size_t *bad)
{
    iconv_t cd = iconv_open("UTF-8", from);
    if (cd == (iconv_t)-1) {
        return false;
    }
    *bad = 0;
    char *in = (char *)(uintptr_t)s;
    size_t left = n;
    while (left > 0 && buf_reserve(out, left * 2 + 16)) {
        char *to = out->data + out->len;
        size_t room = out->cap - out->len - 1;
        size_t r = iconv(cd, &in, &left, &to, &room);
        out->len = (size_t)(to - out->data);
        if (r == (size_t)-1 && errno != E2BIG) {
            buf_puts(out, "\xEF\xBF\xBD");
            in++;
            left--;
            (*bad)++;
        }
    }
    if (buf_reserve(out, 16)) {
        out->data[out->len] = 0;
    }
    iconv_close(cd);
    return true;
}

static const struct bom {
    uint8_t bytes[4];
    size_t n;
    const char *encoding;
} boms[] = {
    {{0xEF, 0xBB, 0xBF}, 3, "UTF-8"},    {{0xFF, 0xFE, 0, 0}, 4, "UTF-32LE"},
    {{0, 0, 0xFE, 0xFF}, 4, "UTF-32BE"}, {{0xFF, 0xFE}, 2, "UTF-16LE"},
    {{0xFE, 0xFF}, 2, "UTF-16BE"},
};

/* UTF-16 without a mark: Western text has zeros in every other byte. NULL when it is not. */
static const char *utf16_by_zeros(const uint8_t *s, size_t n)
{
    size_t zeros[2] = {0}, sample = n < SAMPLE_BYTES ? n & ~(size_t)1 : SAMPLE_BYTES;
    for (size_t i = 0; i < sample; i++) {
        zeros[i & 1] += s[i] == 0;
    }
    size_t half = sample / 2;
    if (half < 2 || n % 2 != 0) {
        return NULL;
    }
    if (zeros[1] > half / 3 && zeros[0] * 50 < half) {
        return "UTF-16LE";
    }
    return zeros[0] > half / 3 && zeros[1] * 50 < half ? "UTF-16BE" : NULL;
}

/* The detector's guess into out[64], "WINDOWS-1252" when it has none. */
static void detect(const uint8_t *s, size_t n, char out[64])
{
    size_t from = 0;
    while (from < n && s[from] < 0x80) {
        from++;
    }
    from = from > 256 ? from - 256 : 0; /* ASCII in front says nothing */
    size_t k = n - from < DETECT_BYTES ? n - from : DETECT_BYTES;
    strcpy(out, "WINDOWS-1252");
    uchardet_t ud = uchardet_new();
    if (!ud) {
        return;
    }
    if (uchardet_handle_data(ud, (const char *)s + from, k) == 0) {
        uchardet_data_end(ud);
        const char *name = uchardet_get_charset(ud);
        if (*name && strlen(name) < 64 && strcasecmp(name, "ASCII") != 0 &&
            strcasecmp(name, "UTF-8") != 0) {
            strcpy(out, iconv_name(name));
        }
    }
    uchardet_delete(ud);
}

/* A text file has hardly any control characters; zeros never. */
static bool is_binary(const char *s, size_t n)
{
    size_t control = 0, sample = n < SAMPLE_BYTES ? n : SAMPLE_BYTES;
    for (size_t i = 0; i < sample; i++) {
        uint8_t c = (uint8_t)s[i];
        if (c == 0) {
            return true;
        }
        control += c < 0x20 && !strchr("\t\n\v\f\r\b\x1b", c);
    }
    return control > 2 && control * 1000 > sample * MAX_BAD_PER_MILLE;
}

/* \r\n and \r -> \n */
static void unify_newlines(struct buf *b, size_t from)
{
    if (b->failed || !memchr(b->data + from, '\r', b->len - from)) {
        return;
    }
    size_t k = from;
    for (size_t i = from; i < b->len; i++) {
        char c = b->data[i];
        if (c == '\r') {
            if (i + 1 < b->len && b->data[i + 1] == '\n') {
                continue;
            }
            c = '\n';
        }
        b->data[k++] = c;
    }
    b->len = k;
    b->data[k] = 0;
}

static bool too_many(size_t bad, size_t n)
{
    return bad > 4 && bad > n / 1000 * MAX_BAD_PER_MILLE + MAX_BAD_PER_MILLE;
}

/* Picks the encoding; *skip bytes of mark come off first. `name` is the detector's buffer. */
static const char *pick(const uint8_t *data, size_t n, const char *declared, size_t *skip,
                        char name[64])
{
    *skip = 0;
    for (size_t i = 0; i < sizeof boms / sizeof *boms; i++) {
        if (n >= boms[i].n && memcmp(data, boms[i].bytes, boms[i].n) == 0) {
            *skip = boms[i].n;
            return boms[i].encoding;
        }
    }
    const char *wide = utf16_by_zeros(data, n);
    if (wide) {
        return wide;
    }
    bool ascii, utf8 = is_utf8(data, n, &ascii);
    if (declared && strncasecmp(declared, "utf-16", 6) != 0 &&
        strncasecmp(declared, "utf-32", 6) != 0) {
        /* a page that calls itself Latin-1 and is valid UTF-8 with accents is UTF-8; one whose
         * bytes could not have been read as declared in UTF-16 is not UTF-16 */
        const char *known = iconv_name(declared);
        bool escapes = ascii && memchr(data, 0x1b, n);
        if (!utf8 || (escapes && strcasecmp(known, "UTF-8") != 0)) {
            return known;
        }
    }
    if (utf8) {
        return "UTF-8";
    }
    detect(data, n, name);
    return name;
}

enum status text_decode(const char *name, const uint8_t *data, size_t n, const char *declared,
                        struct buf *out, struct err *e)
{
    size_t from = out->len, skip = 0, bad = 0;
    char guess[64];
    if (n == 0) {
        return OK;
    }
    const char *encoding = pick(data, n, declared, &skip, guess);
    data += skip;
    n -= skip;
    bool ascii;
    if (strcmp(encoding, "UTF-8") == 0 && is_utf8(data, n, &ascii)) {
        buf_put(out, data, n);
    } else if (!convert(encoding, data, n, out, &bad) || too_many(bad, n)) {
        out->len = from; /* declared wrongly, or by a name that nobody knows */
        detect(data, n, guess);
        if (!convert(guess, data, n, out, &bad)) {
            return err_set(e, ERR_UNSUPPORTED, name, "unknown encoding %s", guess);
        }
    }
    if (out->failed) {
        return err_set(e, ERR_MEMORY, name, "not enough memory to decode %zu bytes", n);
    }
    if (too_many(bad, n)) {
        return err_set(e, ERR_UNSUPPORTED, name, "a binary file, or a text in no known encoding");
    }
    if (out->len > from && is_binary(out->data + from, out->len - from)) {
        return err_set(e, ERR_UNSUPPORTED, name, "a binary file, not a text");
    }
    unify_newlines(out, from);
    return OK;
}

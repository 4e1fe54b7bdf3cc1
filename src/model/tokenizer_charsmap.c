/* SentencePiece's character map: see tokenizer_charsmap.h. The map is walked as it lies in the
 * file: every index is compared with the number of units before it is used, and a text that no NUL
 * closes ends with the pool. A map of our own (a hash of the rules) would cost the time to build it
 * at every opening, for a walk of two or three steps. */
#include "model/tokenizer_charsmap.h"

#include "text/unicode.h"

#include <utf8proc.h>

#include <stdlib.h>
#include <string.h>

enum { CLUSTER_BYTES = 6, MAX_BLOB = 64 << 20 };

static const char LOW_LINE[] = "\xE2\x96\x81";
static const char REPLACEMENT[] = "\xEF\xBF\xBD";

enum status charsmap_init(struct charsmap *c, const void *blob, size_t n, struct err *e)
{
    const uint8_t *p = blob;
    *c = (struct charsmap){0};
    if (!n) {
        return OK;
    }
    size_t trie =
        n < 4 ? 0 : (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (n > MAX_BLOB || !trie || trie % 4 || trie > n - 4) {
        return err_set(e, ERR_FORMAT, NULL, "precompiled_charsmap of %zu bytes, its trie of %zu", n,
                       trie);
    }
    c->n_units = trie / 4;
    c->n_pool = n - 4 - trie;
    c->units = malloc(trie);
    c->pool = malloc(c->n_pool + 1);
    if (!c->units || !c->pool) {
        charsmap_fini(c);
        return err_set(e, ERR_MEMORY, NULL, "precompiled_charsmap of %zu bytes", n);
    }
    for (size_t i = 0; i < c->n_units; i++) {
        const uint8_t *u = p + 4 + 4 * i;
        c->units[i] =
            (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    memcpy(c->pool, p + 4 + trie, c->n_pool);
    c->pool[c->n_pool] = 0;
    return OK;
}

void charsmap_fini(struct charsmap *c)
{
    free(c->units);
    free(c->pool);
    *c = (struct charsmap){0};
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << (unit >> 6 & 8);
}

/* Bytes of the shortest or the longest rule that p[0..n) begins with, its text in *text; 0: none.
 */
static size_t find(const struct charsmap *c, const char *p, size_t n, bool longest,
                   const char **text)
{
    size_t found = 0;
    uint32_t at = c->n_units ? offset_of(c->units[0]) : 0;
    for (size_t i = 0; c->n_units && i < n; i++) {
        uint32_t byte = (unsigned char)p[i];
        at ^= byte;
        if (at >= c->n_units || (c->units[at] & 0x800000FFu) != byte) {
            break;
        }
        uint32_t unit = c->units[at];
        at ^= offset_of(unit);
        if (unit >> 8 & 1 && at < c->n_units) {
            uint32_t value = c->units[at] & 0x7FFFFFFFu;
            *text = c->pool + (value < c->n_pool ? value : c->n_pool);
            found = i + 1;
            if (!longest) {
                break;
            }
        }
    }
    return found;
}

/* One step of SentencePiece's normaliser: what p begins with, and what it becomes. */
static size_t spm_step(const struct spm_rules *r, const char *p, size_t n, const char **text,
                       size_t *n_text)
{
    size_t len = r->user ? added_at(r->user, p, n) : 0;
    if (len) {
        *text = p;
        *n_text = len;
        return len;
    }
    len = find(r->map, p, n, true, text);
    if (len) {
        *n_text = strlen(*text);
        return len;
    }
    uint32_t cp;
    len = utf8_decode(p, n, &cp);
    *text = cp == UNI_BAD ? REPLACEMENT : p;
    *n_text = cp == UNI_BAD ? 3 : len;
    return len;
}

static void put_escaped(const char *p, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ' ') {
            buf_put(out, LOW_LINE, 3);
        } else {
            buf_putc(out, p[i]);
        }
    }
}

void charsmap_normalize_spm(const struct spm_rules *r, const char *p, size_t n, struct buf *out)
{
    size_t begin = out->len, i = 0, len, n_text;
    const char *text;
    while (r->squeeze && i < n && (len = spm_step(r, p + i, n - i, &text, &n_text)) &&
           n_text == 1 && *text == ' ') {
        i += len;
    }
    if (i == n || !buf_reserve(out, n - i + n / 8 + 3)) {
        return;
    }
    if (r->prefix) {
        buf_put(out, LOW_LINE, 3);
    }
    bool space = r->squeeze;
    for (; i < n; i += len) {
        len = spm_step(r, p + i, n - i, &text, &n_text);
        while (space && n_text && *text == ' ') {
            text++;
            n_text--;
        }
        if (n_text) {
            put_escaped(text, n_text, out);
            space = r->squeeze && text[n_text - 1] == ' ';
        }
    }
    while (r->squeeze && !out->failed && out->len - begin >= 3 &&
           memcmp(out->data + out->len - 3, LOW_LINE, 3) == 0) {
        out->len -= 3; /* an U+2581 of the text goes too, as in the reference */
        out->data[out->len] = 0;
    }
}

/* Bytes of the first grapheme cluster (Unicode Standard Annex 29). */
static size_t cluster(const char *p, size_t n)
{
    uint32_t a, b;
    utf8proc_int32_t state = 0;
    if (n > 1 && (unsigned char)p[0] < 128 && (unsigned char)p[1] < 128 && p[0] != '\r') {
        return 1;
    }
    size_t len = utf8_decode(p, n, &a);
    while (len < n && a != UNI_BAD) {
        size_t more = utf8_decode(p + len, n - len, &b);
        if (b == UNI_BAD ||
            utf8proc_grapheme_break_stateful((utf8proc_int32_t)a, (utf8proc_int32_t)b, &state)) {
            break;
        }
        len += more;
        a = b;
    }
    return len;
}

static void put_chars(const struct charsmap *c, const char *p, size_t n, struct buf *out)
{
    uint32_t cp;
    const char *text;
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_decode(p + i, n - i, &cp);
        if (find(c, p + i, len, false, &text)) {
            buf_puts(out, text);
        } else {
            buf_put(out, cp == UNI_BAD ? REPLACEMENT : p + i, cp == UNI_BAD ? 3 : len);
        }
    }
}

void charsmap_normalize_clusters(const struct charsmap *c, const char *p, size_t n, struct buf *out)
{
    const char *text;
    for (size_t i = 0, len; i < n && !out->failed; i += len) {
        len = cluster(p + i, n - i);
        if (len < CLUSTER_BYTES && find(c, p + i, len, false, &text)) {
            buf_puts(out, text);
        } else {
            put_chars(c, p + i, len, out);
        }
    }
}

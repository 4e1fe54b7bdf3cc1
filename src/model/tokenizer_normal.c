/* Normalizers: see tokenizer_normal.h. */
#include "model/tokenizer_normal.h"

#include "model/tokenizer_wordpiece.h"
#include "text/unicode.h"

#include <utf8proc.h>

#include <string.h>

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD, what a malformed byte counts as */

static int category(uint32_t cp)
{
    return cp == UNI_BAD ? (int)UTF8PROC_CATEGORY_SO : (int)utf8proc_category((utf8proc_int32_t)cp);
}

/* Ideographs, which BERT makes words of their own. The last but one range begins at 2B920, not
 * 2B820, because the reference does. */
static bool ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool cleaned_away(uint32_t cp)
{
    if (cp == 0 || cp == 0xFFFD || cp == UNI_BAD) {
        return true;
    }
    if (cp == '\t' || cp == '\n' || cp == '\r') {
        return false;
    }
    int k = category(cp);
    return (k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO) &&
           !wordpiece_unassigned(cp);
}

static void put_as_is(struct buf *out, const char *p, size_t len, uint32_t cp)
{
    buf_put(out, cp == UNI_BAD ? REPLACEMENT : p, cp == UNI_BAD ? 3 : len);
}

static void bert_clean(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    uint32_t cp;
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_decode(p + i, n - i, &cp);
        if (op->clean && cleaned_away(cp)) {
            continue;
        }
        if (op->clean && uni_class(cp) & UNI_SPACE) {
            buf_putc(out, ' ');
        } else if (op->cjk && ideograph(cp)) {
            buf_putc(out, ' ');
            buf_put(out, p + i, len);
            buf_putc(out, ' ');
        } else {
            put_as_is(out, p + i, len, cp);
        }
    }
}

/* Nonspacing marks, as BERT's reference knows them: one became a spacing mark since. */
static bool bert_mark(uint32_t cp)
{
    return (category(cp) == UTF8PROC_CATEGORY_MN && !wordpiece_unassigned(cp)) || cp == 0x1734;
}

static bool any_mark(uint32_t cp)
{
    return uni_class(cp) & UNI_MARK;
}

static void drop_marks(const char *p, size_t n, bool (*mark)(uint32_t cp), struct buf *out)
{
    uint32_t cp;
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_decode(p + i, n - i, &cp);
        if (cp < 128 || !mark(cp)) {
            buf_put(out, p + i, len);
        }
    }
}

static void lower(const char *p, size_t n, struct buf *out)
{
    uint32_t cp;
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_decode(p + i, n - i, &cp);
        if (cp < 128) {
            buf_putc(out, (char)(cp >= 'A' && cp <= 'Z' ? cp + 32 : cp));
        } else if (cp == UNI_BAD) {
            buf_put(out, p + i, len);
        } else {
            uni_put_lower(out, cp);
        }
    }
}

/* ASCII needs none of the tables: one pass, one byte out for at most one byte in. */
static void bert_ascii(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    if (!buf_reserve(out, n)) {
        return;
    }
    char *to = out->data + out->len;
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (op->clean && (c <= 32 || c == 127)) {
            if (uni_ascii_class[c] & UNI_SPACE && c != '\v' && c != '\f') {
                to[m++] = ' ';
            }
            continue;
        }
        to[m++] = (char)(op->lowercase && c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out->len += m;
    out->data[out->len] = 0;
}

/* A stretch without ASCII. a and b are scratch. */
static void bert_wide(const struct normal_op *op, const char *p, size_t n, struct buf *a,
                      struct buf *b, struct buf *out)
{
    buf_reset(a);
    bert_clean(op, p, n, a);
    if (op->strip && !a->failed) {
        buf_reset(b);
        uni_normalize(UNI_NFD, a->data, a->len, b);
        buf_reset(a);
        if (b->len && !b->failed) {
            drop_marks(b->data, b->len, bert_mark, a);
        }
        a->failed |= b->failed;
    }
    if (op->lowercase && a->len) {
        lower(a->data, a->len, out);
    } else {
        buf_put(out, a->data, a->len);
    }
    out->failed |= a->failed;
}

/* Most text is mostly ASCII, and ASCII never takes part in a decomposition or in the order of
 * marks: so each stretch goes its own way. */
static void bert(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    struct buf a = {0}, b = {0};
    for (size_t i = 0, end; i < n && !out->failed; i = end) {
        bool wide = (unsigned char)p[i] >= 128;
        end = i + 1;
        while (end < n && ((unsigned char)p[end] >= 128) == wide) {
            end++;
        }
        if (wide) {
            bert_wide(op, p + i, end - i, &a, &b, out);
        } else {
            bert_ascii(op, p + i, end - i, out);
        }
    }
    buf_fini(&a);
    buf_fini(&b);
}

static void strip(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    size_t from = 0, to = n;
    uint32_t cp;
    for (size_t len; op->left && from < n; from += len) {
        len = utf8_decode(p + from, n - from, &cp);
        if (!(uni_class(cp) & UNI_SPACE)) {
            break;
        }
    }
    for (size_t i = from, len; op->right && i < n; i += len) {
        len = utf8_decode(p + i, n - i, &cp);
        if (!(uni_class(cp) & UNI_SPACE)) {
            to = i + len;
        } else if (i == from) {
            to = from;
        }
    }
    buf_put(out, p + from, to > from ? to - from : 0);
}

static void squeeze(const char *p, size_t n, struct buf *out)
{
    bool space = false, any = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ' ') {
            space = true;
            continue;
        }
        if (space && any) {
            buf_putc(out, ' ');
        }
        buf_putc(out, p[i]);
        any = true;
        space = false;
    }
}

static void replace(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    size_t la = strlen(op->a), from = 0;
    const char *hit;
    while (la && from < n && (hit = memmem(p + from, n - from, op->a, la))) {
        buf_put(out, p + from, (size_t)(hit - p) - from);
        buf_puts(out, op->b);
        from = (size_t)(hit - p) + la;
    }
    buf_put(out, p + from, n - from);
}

static void replace_runs(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    size_t la = strlen(op->a), done = 0;
    for (size_t i = 0, end; la && i + la <= n; i = end + (end == i)) {
        int count = 0;
        for (end = i; end + la <= n && memcmp(p + end, op->a, la) == 0; end += la) {
            count += count < INT32_MAX;
        }
        if (count && count >= op->least) {
            buf_put(out, p + done, i - done);
            buf_puts(out, op->b);
            done = end;
        }
    }
    buf_put(out, p + done, n - done);
}

static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
           c == 0x9F;
}

static bool nmt_blank(uint32_t c)
{
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
}

static void nmt(const char *p, size_t n, struct buf *out)
{
    uint32_t cp;
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_decode(p + i, n - i, &cp);
        if (nmt_blank(cp)) {
            buf_putc(out, ' ');
        } else if (!nmt_drops(cp)) {
            buf_put(out, p + i, len);
        }
    }
}

static void apply(const struct normal_op *op, const char *p, size_t n, struct buf *out)
{
    switch (op->kind) {
    case NORMAL_NFC:
        uni_normalize(UNI_NFC, p, n, out);
        break;
    case NORMAL_NFD:
        uni_normalize(UNI_NFD, p, n, out);
        break;
    case NORMAL_NFKC:
        uni_normalize(UNI_NFKC, p, n, out);
        break;
    case NORMAL_NFKD:
        uni_normalize(UNI_NFKD, p, n, out);
        break;
    case NORMAL_LOWER:
        lower(p, n, out);
        break;
    case NORMAL_STRIP_ACCENTS:
        drop_marks(p, n, any_mark, out);
        break;
    case NORMAL_STRIP:
        strip(op, p, n, out);
        break;
    case NORMAL_SQUEEZE:
        squeeze(p, n, out);
        break;
    case NORMAL_REPLACE:
        replace(op, p, n, out);
        break;
    case NORMAL_PREPEND:
        buf_puts(out, n ? op->b : "");
        buf_put(out, p, n);
        break;
    case NORMAL_RUNS:
        replace_runs(op, p, n, out);
        break;
    case NORMAL_NMT:
        nmt(p, n, out);
        break;
    case NORMAL_CHARSMAP:
        charsmap_normalize_clusters(op->spm.map, p, n, out);
        break;
    case NORMAL_SPM:
        charsmap_normalize_spm(&op->spm, p, n, out);
        break;
    case NORMAL_BERT:
        bert(op, p, n, out);
        break;
    }
}

void normalize_text(const struct normalizer *z, const char *text, size_t n, struct buf *out)
{
    struct buf a = {0}, b = {0};
    for (int i = 0; i < z->n; i++) {
        struct buf *to = i + 1 == z->n ? out : &a;
        if (i + 1 < z->n) {
            buf_reset(&a);
        }
        apply(&z->ops[i], i ? b.data : text, i ? b.len : n, to);
        if (i + 1 < z->n) {
            struct buf t = a;
            a = b;
            b = t;
            buf_puts(&b, ""); /* data is never NULL */
            out->failed |= b.failed;
        }
        if (out->failed) {
            break;
        }
    }
    if (!z->n) {
        buf_put(out, text, n);
    }
    buf_fini(&a);
    buf_fini(&b);
}

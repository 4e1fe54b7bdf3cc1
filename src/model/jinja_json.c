/* Numbers as text, and `tojson`: json.dumps of Python with the defaults of transformers
 * (ensure_ascii=False, no HTML escapes). */
#include "model/jinja_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest decimal that reads back as f, laid out as Python does: exponents below -4 and from
 * 16 on in scientific notation, and always a point or an exponent. */
void jinja_float_text(double f, struct buf *out)
{
    char s[40], digits[24];
    if (isnan(f) || isinf(f)) {
        buf_puts(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        (void)snprintf(s, sizeof s, "%.*e", precision, f);
        if (strtod(s, NULL) == f) {
            break;
        }
    }
    int exponent = atoi(strchr(s, 'e') + 1), n = 0;
    for (const char *p = s; *p != 'e'; p++) {
        if (*p >= '0' && *p <= '9') {
            digits[n++] = *p;
        }
    }
    buf_puts(out, s[0] == '-' ? "-" : "");
    if (exponent < -4 || exponent >= 16) {
        buf_putc(out, digits[0]);
        buf_puts(out, n > 1 ? "." : "");
        buf_put(out, digits + 1, (size_t)n - 1);
        buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        buf_printf(out, "0.%.*s", -exponent - 1, "0000");
        buf_put(out, digits, (size_t)n);
        return;
    }
    for (int i = 0; i <= exponent || i < n; i++) {
        buf_puts(out, i == exponent + 1 ? "." : "");
        buf_putc(out, i < n ? digits[i] : '0');
    }
    buf_puts(out, n <= exponent + 1 ? ".0" : "");
}

static int digit_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'z' ? c - 'a' + 10
           : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                  : 99;
}

/* int(s, base): white space around, a sign, 0x and the like for their base, single underscores. */
bool jinja_parse_int(struct str s, int base, int64_t *out, bool *too_big)
{
    s = jinja_strip(s, true, true);
    bool negative = s.n && s.p[0] == '-', overflow = false;
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    *too_big = false;
    if (i + 1 < s.n && s.p[i] == '0' && base != 10) {
        int c = s.p[i + 1] | 0x20;
        i += (base == 16 && c == 'x') || (base == 8 && c == 'o') || (base == 2 && c == 'b') ? 2 : 0;
    }
    int64_t v = 0;
    bool last_digit = i > 1; /* an underscore may follow a prefix */
    if (i >= s.n) {
        return false;
    }
    for (; i < s.n; i++) {
        if (s.p[i] == '_' && last_digit && i + 1 < s.n) {
            last_digit = false;
            continue;
        }
        int d = digit_value(s.p[i]);
        if (d >= base) {
            return false;
        }
        last_digit = true;
        overflow = overflow || __builtin_mul_overflow(v, (int64_t)base, &v) ||
                   __builtin_sub_overflow(v, (int64_t)d, &v); /* downwards: INT64_MIN fits */
    }
    overflow = overflow || (!negative && v == INT64_MIN);
    *too_big = overflow;
    *out = overflow ? 0 : negative ? v : -v;
    return last_digit;
}

/* float(s) */
bool jinja_parse_float(struct str s, double *out)
{
    char text[512];
    size_t n = 0;
    bool digit_before = false;
    s = jinja_strip(s, true, true);
    if (s.n == 0 || s.n >= sizeof text) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool digit = c >= '0' && c <= '9';
        if (c == '_') {
            if (!digit_before || i + 1 >= s.n || s.p[i + 1] < '0' || s.p[i + 1] > '9') {
                return false;
            }
            continue;
        }
        if (c == 'x' || c == 'X' || c == 'p' || c == 'P' || c == '(' || c == 0) {
            return false; /* strtod knows hexadecimal and nan(...), Python does not */
        }
        digit_before = digit;
        text[n++] = c;
    }
    text[n] = 0;
    char *end;
    double v = strtod(text, &end);
    if (end != text + n || text[0] == ' ') {
        return false;
    }
    *out = v;
    return true;
}

/* ---- tojson ---- */

struct writer {
    struct run *r;
    struct buf *b;
    struct str indent;
    bool pretty, ascii, sort;
    struct str item_sep, key_sep;
    int level;
};

static void put_str(struct writer *w, struct str s)
{
    buf_put(w->b, s.p, s.n);
}

static void put_escape(struct writer *w, uint32_t c)
{
    if (c >= 0x10000) {
        c -= 0x10000;
        buf_printf(w->b, "\\u%04x\\u%04x", 0xD800 + (c >> 10), 0xDC00 + (c & 0x3FF));
    } else {
        buf_printf(w->b, "\\u%04x", c);
    }
}

static void put_text(struct writer *w, struct str s)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    buf_putc(w->b, '"');
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t c = jinja_rune(s.p + i, s.n - i, &len);
        const char *special = c && c < 128 ? strchr(from, (int)c) : NULL;
        if (special) {
            buf_putc(w->b, '\\');
            buf_putc(w->b, to[special - from]);
        } else if (c < 0x20 || (w->ascii && c > 0x7F)) {
            put_escape(w, c);
        } else {
            buf_put(w->b, s.p + i, len);
        }
    }
    buf_putc(w->b, '"');
}

static void put_newline(struct writer *w)
{
    if (w->pretty) {
        buf_putc(w->b, '\n');
        for (int i = 0; i < w->level; i++) {
            put_str(w, w->indent);
        }
    }
}

static void put_float(struct writer *w, double f)
{
    if (isnan(f) || isinf(f)) {
        buf_puts(w->b, isnan(f) ? "NaN" : f < 0 ? "-Infinity" : "Infinity");
    } else {
        jinja_float_text(f, w->b);
    }
}

static enum status put_value(struct writer *w, struct val v);

static enum status put_list(struct writer *w, struct val v)
{
    if (v.n == 0) {
        buf_puts(w->b, "[]");
        return OK;
    }
    buf_putc(w->b, '[');
    w->level++;
    for (size_t i = 0; i < v.n; i++) {
        if (i) {
            put_str(w, w->item_sep);
        }
        put_newline(w);
        TRY(put_value(w, v.u.items[i]));
    }
    w->level--;
    put_newline(w);
    buf_putc(w->b, ']');
    return OK;
}

static enum status put_key(struct writer *w, struct val key)
{
    switch (key.kind) {
    case K_STR:
        put_text(w, jinja_text(key));
        return OK;
    case K_BOOL:
    case K_NONE:
    case K_INT:
    case K_FLOAT:
        buf_putc(w->b, '"');
        TRY(put_value(w, key));
        buf_putc(w->b, '"');
        return OK;
    default:
        return jinja_fail(w->r, ERR_FORMAT, "keys must be str, int, float, bool or None, not %s",
                          jinja_type_name(key));
    }
}

static enum status put_dict(struct writer *w, const struct dict *d)
{
    struct val *keys = jinja_vals(w->r, d->n), *values = jinja_vals(w->r, d->n);
    if (!keys || !values) {
        return jinja_no_memory(w->r);
    }
    for (size_t i = 0; i < d->n; i++) {
        keys[i] = d->pairs[i].key;
        values[i] = d->pairs[i].value;
    }
    if (w->sort) {
        TRY(jinja_sort(w->r, values, keys, d->n, false));
    }
    if (d->n == 0) {
        buf_puts(w->b, "{}");
        return OK;
    }
    buf_putc(w->b, '{');
    w->level++;
    for (size_t i = 0; i < d->n; i++) {
        if (i) {
            put_str(w, w->item_sep);
        }
        put_newline(w);
        TRY(put_key(w, keys[i]));
        put_str(w, w->key_sep);
        TRY(put_value(w, values[i]));
    }
    w->level--;
    put_newline(w);
    buf_putc(w->b, '}');
    return OK;
}

static enum status put_any(struct writer *w, struct val v)
{
    switch (v.kind) {
    case K_NONE:
        buf_puts(w->b, "null");
        return OK;
    case K_BOOL:
        buf_puts(w->b, v.u.b ? "true" : "false");
        return OK;
    case K_INT:
        buf_printf(w->b, "%lld", (long long)v.u.i);
        return OK;
    case K_FLOAT:
        put_float(w, v.u.f);
        return OK;
    case K_STR:
        put_text(w, jinja_text(v));
        return OK;
    case K_LIST:
    case K_TUPLE:
        return put_list(w, v);
    case K_DICT:
        return put_dict(w, v.u.dict);
    default:
        return jinja_fail(w->r, ERR_FORMAT, "Object of type %s is not JSON serializable",
                          jinja_type_name(v));
    }
}

static enum status put_value(struct writer *w, struct val v)
{
    TRY(jinja_enter(w->r));
    TRY(jinja_charge(w->r, v.kind == K_STR ? v.n : 0));
    if (w->b->len > w->r->max_output) {
        return jinja_fail(w->r, ERR_LIMIT, "JSON longer than the limit of output");
    }
    TRY(put_any(w, v));
    w->r->depth--;
    return OK;
}

static enum status read_indent(struct writer *w, struct val v)
{
    if (v.kind == K_MISSING || v.kind == K_NONE) {
        return OK;
    }
    w->pretty = true;
    w->item_sep = STR(",");
    if (v.kind == K_STR) {
        w->indent = jinja_text(v);
        return OK;
    }
    if (v.kind != K_INT && v.kind != K_BOOL) {
        return jinja_fail(w->r, ERR_FORMAT, "indent must be an integer or a string");
    }
    int64_t n = v.kind == K_BOOL ? v.u.b : v.u.i;
    if (n > 1000) {
        return jinja_fail(w->r, ERR_LIMIT, "an indent of more than 1000");
    }
    size_t width = n > 0 ? (size_t)n : 0;
    char *spaces = jinja_alloc(w->r, width + 1);
    if (!spaces) {
        return jinja_no_memory(w->r);
    }
    memset(spaces, ' ', width);
    w->indent = (struct str){spaces, width};
    return OK;
}

static enum status read_separators(struct writer *w, struct val v)
{
    if (v.kind == K_MISSING || v.kind == K_NONE) {
        return OK;
    }
    if ((v.kind != K_TUPLE && v.kind != K_LIST) || v.n != 2 || v.u.items[0].kind != K_STR ||
        v.u.items[1].kind != K_STR) {
        return jinja_fail(w->r, ERR_FORMAT, "separators must be two strings");
    }
    w->item_sep = jinja_text(v.u.items[0]);
    w->key_sep = jinja_text(v.u.items[1]);
    return OK;
}

enum status jinja_tojson(const struct invocation *v)
{
    struct buf b = {0};
    struct writer w = {.r = v->r, .b = &b, .item_sep = STR(", "), .key_sep = STR(": ")};
    TRY(jinja_truth(v->r, v->a[0], &w.ascii));
    TRY(read_indent(&w, v->a[1]));
    TRY(read_separators(&w, v->a[2]));
    TRY(jinja_truth(v->r, v->a[3], &w.sort));
    enum status s = put_value(&w, v->self);
    if (s) {
        buf_fini(&b);
        return s;
    }
    return jinja_take(v->r, &b, v->out);
}

/* Values as Python sees them: types, truth, equality, order, text. */
#include "model/jinja_internal.h"

#include <math.h>
#include <string.h>

const char *jinja_type_name(struct val v)
{
    static const char *const names[K_COUNT] = {
        [K_MISSING] = "Undefined",
        [K_UNDEFINED] = "Undefined",
        [K_NONE] = "NoneType",
        [K_BOOL] = "bool",
        [K_INT] = "int",
        [K_FLOAT] = "float",
        [K_STR] = "str",
        [K_LIST] = "list",
        [K_TUPLE] = "tuple",
        [K_DICT] = "dict",
        [K_RANGE] = "range",
        [K_NAMESPACE] = "Namespace",
        [K_MACRO] = "Macro",
        [K_FUNCTION] = "function",
        [K_METHOD] = "builtin_function_or_method",
        [K_LOOP] = "LoopContext",
        [K_CYCLER] = "Cycler",
        [K_JOINER] = "Joiner",
    };
    if (v.kind == K_ITER) {
        return v.u.iter->type;
    }
    if (v.kind == K_VIEW) {
        return v.flag == F_KEYS ? "dict_keys" : v.flag == F_VALUES ? "dict_values" : "dict_items";
    }
    return names[v.kind];
}

enum status jinja_undefined_error(struct run *r, struct val v)
{
    const char *of = v.of == K_NONE   ? "None"
                     : v.of == K_ITER ? "generator" /* the object itself is not kept */
                                      : jinja_type_name((struct val){.kind = v.of});
    const char *object = v.of == K_NONE ? "" : " object";
    int n = v.n > 200 ? 200 : (int)v.n;
    switch (v.flag) {
    case F_VARIABLE:
        return jinja_fail(r, ERR_FORMAT, "'%.*s' is undefined", n, v.u.s);
    case F_HINT:
        return jinja_fail(r, ERR_FORMAT, "%s", v.u.s);
    case F_UNSAFE:
        return jinja_fail(r, ERR_FORMAT, "access to attribute '%.*s' of '%s' object is unsafe.", n,
                          v.u.s, of);
    case F_MEMBER:
        return jinja_fail(r, ERR_FORMAT, "'%s%s' has no attribute '%.*s'", of, object, n, v.u.s);
    default:
        return jinja_fail(r, ERR_FORMAT, "%s%s has no element %lld", of, object, (long long)v.n);
    }
}

enum status jinja_truth(struct run *r, struct val v, bool *out)
{
    size_t n = 1;
    switch (v.kind) {
    case K_MISSING:
    case K_UNDEFINED:
    case K_NONE:
        *out = false;
        return OK;
    case K_BOOL:
        *out = v.u.b;
        return OK;
    case K_INT:
        *out = v.u.i != 0;
        return OK;
    case K_FLOAT:
        *out = v.u.f != 0;
        return OK;
    case K_STR:
    case K_LIST:
    case K_TUPLE:
        *out = v.n != 0;
        return OK;
    case K_DICT:
    case K_VIEW:
    case K_RANGE:
        TRY(jinja_length(r, v, &n));
        *out = n != 0;
        return OK;
    default:
        *out = true;
        return OK;
    }
}

/* ---- equality and order ---- */

static int compare_numbers(struct val a, struct val b, bool *unordered)
{
    *unordered = false;
    if (a.kind != K_FLOAT && b.kind != K_FLOAT) {
        int64_t x = a.kind == K_BOOL ? a.u.b : a.u.i, y = b.kind == K_BOOL ? b.u.b : b.u.i;
        return x < y ? -1 : x > y;
    }
    /* long double holds every int64_t and every double on the machines we build for */
    long double x = a.kind == K_FLOAT  ? (long double)a.u.f
                    : a.kind == K_BOOL ? (long double)a.u.b
                                       : (long double)a.u.i;
    long double y = b.kind == K_FLOAT  ? (long double)b.u.f
                    : b.kind == K_BOOL ? (long double)b.u.b
                                       : (long double)b.u.i;
    *unordered = isnan(x) || isnan(y);
    return x < y ? -1 : x > y;
}

static enum status equal_items(struct run *r, struct val a, struct val b, bool *out)
{
    *out = a.n == b.n;
    TRY(jinja_enter(r));
    for (size_t i = 0; *out && i < a.n; i++) {
        TRY(jinja_equal(r, a.u.items[i], b.u.items[i], out));
    }
    r->depth--;
    return OK;
}

static enum status equal_dicts(struct run *r, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->n == b->n;
    TRY(jinja_enter(r));
    for (size_t i = 0; *out && i < a->n; i++) {
        const struct val *other;
        TRY(jinja_dict_find(r, b, a->pairs[i].key, &other));
        *out = other != NULL;
        if (other) {
            TRY(jinja_equal(r, a->pairs[i].value, *other, out));
        }
    }
    r->depth--;
    return OK;
}

static bool equal_ranges(const struct range *a, const struct range *b)
{
    return a->n == b->n &&
           (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

enum status jinja_equal(struct run *r, struct val a, struct val b, bool *out)
{
    bool unordered;
    TRY(jinja_charge(r, a.kind == K_STR ? a.n : 0));
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = compare_numbers(a, b, &unordered) == 0 && !unordered;
        return OK;
    }
    *out = false;
    if (a.kind != b.kind) {
        return OK;
    }
    switch (a.kind) {
    case K_UNDEFINED:
    case K_NONE:
        *out = true;
        return OK;
    case K_STR:
        *out = str_eq(jinja_text(a), jinja_text(b));
        return OK;
    case K_LIST:
    case K_TUPLE:
        return equal_items(r, a, b, out);
    case K_DICT:
        return equal_dicts(r, a.u.dict, b.u.dict, out);
    case K_RANGE:
        *out = equal_ranges(a.u.range, b.u.range);
        return OK;
    case K_VIEW:
        return jinja_fail(r, ERR_UNSUPPORTED, "comparing dict views");
    case K_METHOD:
        return jinja_fail(r, ERR_UNSUPPORTED, "comparing methods");
    default:
        *out = a.u.dict == b.u.dict; /* by identity; any pointer of the union */
        return OK;
    }
}

static bool holds(enum token_type op, int order)
{
    return op == T_LT ? order < 0 : op == T_LE ? order <= 0 : op == T_GT ? order > 0 : order >= 0;
}

static int compare_text(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0; /* UTF-8 sorts as code points do */
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

static enum status less_items(struct run *r, struct val a, struct val b, enum token_type op,
                              bool *out)
{
    size_t n = a.n < b.n ? a.n : b.n;
    TRY(jinja_enter(r));
    for (size_t i = 0; i < n; i++) {
        bool same;
        TRY(jinja_equal(r, a.u.items[i], b.u.items[i], &same));
        if (!same) {
            TRY(jinja_less(r, a.u.items[i], b.u.items[i], op, out));
            r->depth--;
            return OK;
        }
    }
    r->depth--;
    *out = holds(op, a.n < b.n ? -1 : a.n > b.n);
    return OK;
}

enum status jinja_less(struct run *r, struct val a, struct val b, enum token_type op, bool *out)
{
    TRY(jinja_charge(r, a.kind == K_STR ? a.n : 0));
    if (jinja_is_number(a) && jinja_is_number(b)) {
        bool unordered;
        int order = compare_numbers(a, b, &unordered);
        *out = !unordered && holds(op, order);
        return OK;
    }
    if (a.kind == K_STR && b.kind == K_STR) {
        *out = holds(op, compare_text(jinja_text(a), jinja_text(b)));
        return OK;
    }
    if (a.kind == b.kind && (a.kind == K_LIST || a.kind == K_TUPLE)) {
        return less_items(r, a, b, op, out);
    }
    if (a.kind == K_UNDEFINED || b.kind == K_UNDEFINED) {
        return jinja_undefined_error(r, a.kind == K_UNDEFINED ? a : b);
    }
    if (a.kind == K_VIEW && b.kind == K_VIEW) {
        return jinja_fail(r, ERR_UNSUPPORTED, "comparing dict views");
    }
    return jinja_fail(r, ERR_FORMAT, "'%s' not supported between instances of '%s' and '%s'",
                      jinja_token_text(op), jinja_type_name(a), jinja_type_name(b));
}

/* ---- text ---- */

enum status jinja_take(struct run *r, struct buf *b, struct val *out)
{
    bool failed = b->failed;
    char *p = failed || b->len > r->max_output ? NULL : arena_strndup(&r->arena, b->data, b->len);
    size_t n = b->len;
    buf_fini(b);
    if (!p) {
        return n > r->max_output && !failed
                   ? jinja_fail(r, ERR_LIMIT, "a string longer than the limit of output")
                   : jinja_no_memory(r);
    }
    *out = jinja_string(p, n);
    return jinja_charge(r, n);
}

void jinja_repr_text(struct str s, struct buf *out)
{
    bool single = s.n && memchr(s.p, '\'', s.n), two = s.n && memchr(s.p, '"', s.n);
    char quote = single && !two ? '"' : '\'';
    buf_putc(out, quote);
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t c = jinja_rune(s.p + i, s.n - i, &len);
        if (c == '\\' || c == (unsigned char)quote) {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            buf_puts(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        } else if (jinja_is_printable(c)) {
            buf_put(out, s.p + i, len);
        } else {
            buf_printf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        }
    }
    buf_putc(out, quote);
}

static enum status repr_items(struct run *r, struct val v, struct buf *out)
{
    const char *open = v.kind == K_TUPLE ? "(" : "[";
    buf_puts(out, open);
    for (size_t i = 0; i < v.n; i++) {
        if (i) {
            buf_puts(out, ", ");
        }
        TRY(jinja_repr(r, v.u.items[i], out));
    }
    buf_puts(out, v.kind == K_LIST ? "]" : v.n == 1 ? ",)" : ")");
    return OK;
}

static enum status repr_dict(struct run *r, const struct dict *d, struct buf *out)
{
    buf_putc(out, '{');
    for (size_t i = 0; i < d->n; i++) {
        if (i) {
            buf_puts(out, ", ");
        }
        TRY(jinja_repr(r, d->pairs[i].key, out));
        buf_puts(out, ": ");
        TRY(jinja_repr(r, d->pairs[i].value, out));
    }
    buf_putc(out, '}');
    return OK;
}

static enum status repr_view(struct run *r, struct val v, struct buf *out)
{
    const struct val *items;
    size_t n;
    TRY(jinja_items(r, v, &items, &n));
    buf_printf(out, "%s(", jinja_type_name(v));
    TRY(repr_items(r, jinja_list(items, n), out));
    buf_putc(out, ')');
    return OK;
}

static void repr_range(const struct range *g, struct buf *out)
{
    buf_printf(out, "range(%lld, %lld", (long long)g->start, (long long)g->stop);
    if (g->step != 1) {
        buf_printf(out, ", %lld", (long long)g->step);
    }
    buf_putc(out, ')');
}

static enum status repr_any(struct run *r, struct val v, struct buf *out)
{
    switch (v.kind) {
    case K_MISSING:
    case K_UNDEFINED:
        buf_puts(out, "Undefined");
        return OK;
    case K_NONE:
        buf_puts(out, "None");
        return OK;
    case K_BOOL:
        buf_puts(out, v.u.b ? "True" : "False");
        return OK;
    case K_INT:
        buf_printf(out, "%lld", (long long)v.u.i);
        return OK;
    case K_FLOAT:
        jinja_float_text(v.u.f, out);
        return OK;
    case K_STR:
        buf_puts(out, v.flag & F_MARKUP ? "Markup(" : "");
        jinja_repr_text(jinja_text(v), out);
        buf_puts(out, v.flag & F_MARKUP ? ")" : "");
        return OK;
    case K_LIST:
    case K_TUPLE:
        return repr_items(r, v, out);
    case K_DICT:
        return repr_dict(r, v.u.dict, out);
    case K_VIEW:
        return repr_view(r, v, out);
    case K_RANGE:
        repr_range(v.u.range, out);
        return OK;
    case K_NAMESPACE:
        buf_puts(out, "<Namespace ");
        TRY(repr_dict(r, v.u.names, out));
        buf_putc(out, '>');
        return OK;
    case K_MACRO:
        buf_puts(out, "<Macro ");
        if (v.u.macro->name.n) {
            jinja_repr_text(v.u.macro->name, out);
        } else {
            buf_puts(out, "anonymous");
        }
        buf_putc(out, '>');
        return OK;
    case K_LOOP:
        buf_printf(out, "<LoopContext %zu/%zu>", v.u.loop->at + 1, v.u.loop->n);
        return OK;
    default: /* Python prints a memory address */
        return jinja_fail(r, ERR_UNSUPPORTED, "printing a %s object", jinja_type_name(v));
    }
}

enum status jinja_repr(struct run *r, struct val v, struct buf *out)
{
    TRY(jinja_enter(r));
    TRY(jinja_charge(r, v.kind == K_STR ? v.n : 0));
    if (out->len > r->max_output) {
        return jinja_fail(r, ERR_LIMIT, "a string longer than the limit of output");
    }
    TRY(repr_any(r, v, out));
    r->depth--;
    return OK;
}

enum status jinja_soft_str(struct run *r, struct val v, struct val *out)
{
    if (v.kind == K_STR) {
        *out = v;
        return OK;
    }
    if (v.kind == K_UNDEFINED || v.kind == K_MISSING) {
        *out = jinja_string("", 0);
        return OK;
    }
    struct buf b = {0};
    enum status s = jinja_repr(r, v, &b);
    if (s) {
        buf_fini(&b);
        return s;
    }
    return jinja_take(r, &b, out);
}

enum status jinja_str(struct run *r, struct val v, struct val *out)
{
    TRY(jinja_soft_str(r, v, out));
    out->flag = 0;
    return OK;
}

enum status jinja_escape(struct run *r, struct val v, struct val *out)
{
    if (v.kind == K_STR && v.flag & F_MARKUP) {
        *out = v;
        return OK;
    }
    struct buf b = {0};
    TRY(jinja_str(r, v, &v));
    for (size_t i = 0; i < v.n; i++) {
        switch (v.u.s[i]) {
        case '&':
            buf_puts(&b, "&amp;");
            break;
        case '<':
            buf_puts(&b, "&lt;");
            break;
        case '>':
            buf_puts(&b, "&gt;");
            break;
        case '\'':
            buf_puts(&b, "&#39;");
            break;
        case '"':
            buf_puts(&b, "&#34;");
            break;
        default:
            buf_putc(&b, v.u.s[i]);
        }
    }
    TRY(jinja_take(r, &b, out));
    out->flag = F_MARKUP;
    return OK;
}

/* Templates build their answer as s = s + x over and over. The bytes of the last sum are kept with
 * room behind them: when the left side ends exactly where that sum ends, the right side is put
 * there, which no other string can see because each knows its own length. */
enum status jinja_concat(struct run *r, struct str a, struct str b, struct val *out)
{
    if (a.n == 0 || b.n == 0) {
        *out = a.n ? jinja_string(a.p, a.n) : jinja_string(b.p, b.n);
        return OK;
    }
    if (a.n > r->max_output || b.n > r->max_output - a.n) {
        return jinja_fail(r, ERR_LIMIT, "a string longer than the limit of output");
    }
    bool ours = r->tail.base && a.p >= r->tail.base && a.p + a.n == r->tail.base + r->tail.len;
    if (ours && r->tail.cap - r->tail.len >= b.n) {
        TRY(jinja_charge(r, b.n));
        memcpy(r->tail.base + r->tail.len, b.p, b.n);
        r->tail.len += b.n;
        *out = jinja_string(a.p, a.n + b.n);
        return OK;
    }
    TRY(jinja_charge(r, a.n + b.n));
    size_t cap = (a.n + b.n) * (ours ? 2 : 1) + 32;
    char *p = jinja_alloc(r, cap);
    if (!p) {
        return jinja_no_memory(r);
    }
    memcpy(p, a.p, a.n);
    memcpy(p + a.n, b.p, b.n);
    r->tail.base = p;
    r->tail.len = a.n + b.n;
    r->tail.cap = cap;
    *out = jinja_string(p, a.n + b.n);
    return OK;
}

/* Python's two kinds of formatting: "%s" % x and "{}".format(x).
 *
 * Only the parts that templates use are done; anything else in a format is ERR_UNSUPPORTED. */
#include "model/jinja_filters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 10000 };

struct spec {
    bool left, zero, plus, space, alternate, has_precision;
    int width, precision;
    char type;
};

struct percent {
    struct run *r;
    struct str f;
    size_t at;
    struct val args;
    size_t used;
    bool mapping;
    struct buf b;
};

static enum status bad_format(struct run *r, const char *what)
{
    return jinja_fail(r, ERR_UNSUPPORTED, "a format with %s", what);
}

static void put_padded(struct buf *b, struct str s, const struct spec *spec)
{
    int pad = spec->width - (int)jinja_rune_count(s);
    for (int i = 0; !spec->left && i < pad; i++) {
        buf_putc(b, ' ');
    }
    buf_put(b, s.p, s.n);
    for (int i = 0; spec->left && i < pad; i++) {
        buf_putc(b, ' ');
    }
}

/* The conversion of C that does the same, with Python's flags. */
static void c_format(char out[32], const struct spec *s, const char *length)
{
    char precision[16] = "";
    if (s->has_precision) {
        (void)snprintf(precision, sizeof precision, ".%d", s->precision);
    }
    (void)snprintf(out, 32, "%%%s%s%s%s%s%d%s%s%c", s->left ? "-" : "", s->plus ? "+" : "",
                   s->space ? " " : "", s->zero ? "0" : "", s->alternate ? "#" : "", s->width,
                   precision, length, s->type);
    if (s->width == 0) { /* "%0d" would be a flag */
        (void)snprintf(out, 32, "%%%s%s%s%s%s%s%c", s->left ? "-" : "", s->plus ? "+" : "",
                       s->space ? " " : "", s->alternate ? "#" : "", precision, length, s->type);
    }
}

static enum status put_number(struct run *r, struct buf *b, struct val v, struct spec *spec)
{
    char format[32];
    bool whole = strchr("dixXo", spec->type) != NULL;
    if (!jinja_is_number(v)) {
        return v.kind == K_UNDEFINED
                   ? jinja_undefined_error(r, v)
                   : jinja_fail(r, ERR_FORMAT, "%%%c format: a real number is required, not %s",
                                spec->type, jinja_type_name(v));
    }
    int64_t i = v.kind == K_BOOL ? v.u.b : v.kind == K_INT ? v.u.i : 0;
    if (whole) {
        if (v.kind == K_FLOAT) {
            if (strchr("xXo", spec->type)) {
                return jinja_fail(r, ERR_FORMAT, "%%%c format: an integer is required, not float",
                                  spec->type);
            }
            if (!(fabs(v.u.f) < 9e18)) {
                return bad_format(r, "an integer beyond 64 bits");
            }
            i = (int64_t)v.u.f;
        }
        if (strchr("xXo", spec->type) && (i < 0 || spec->alternate)) {
            return bad_format(r, "a negative or prefixed hexadecimal or octal number");
        }
        spec->type = spec->type == 'i' ? 'd' : spec->type;
        c_format(format, spec, "ll");
        if (spec->type == 'd') {
            buf_printf(b, format, (long long)i);
        } else {
            buf_printf(b, format, (unsigned long long)i);
        }
        return OK;
    }
    double f = v.kind == K_FLOAT ? v.u.f : (double)i;
    if (isnan(f) || isinf(f)) {
        spec->zero = false;
    }
    c_format(format, spec, "");
    buf_printf(b, format, f);
    return OK;
}

static enum status put_text(struct run *r, struct buf *b, struct val v, const struct spec *spec)
{
    struct buf text = {0};
    struct val s;
    if (spec->type == 's') {
        TRY(jinja_str(r, v, &s));
    } else {
        enum status status = jinja_repr(r, v, &text);
        if (status) {
            buf_fini(&text);
            return status;
        }
        TRY(jinja_take(r, &text, &s));
    }
    struct str t = jinja_text(s);
    if (spec->has_precision) {
        t.n = jinja_rune_offset(t, (size_t)spec->precision);
    }
    put_padded(b, t, spec);
    return OK;
}

static enum status read_number(struct percent *p, int *out)
{
    for (*out = 0; p->at < p->f.n && p->f.p[p->at] >= '0' && p->f.p[p->at] <= '9'; p->at++) {
        *out = *out * 10 + (p->f.p[p->at] - '0');
        if (*out > MAX_WIDTH) {
            return jinja_fail(p->r, ERR_LIMIT, "a width of more than %d", MAX_WIDTH);
        }
    }
    return OK;
}

static enum status read_spec(struct percent *p, struct spec *s)
{
    for (; p->at < p->f.n && strchr("-+ 0#", p->f.p[p->at]) && p->f.p[p->at]; p->at++) {
        char c = p->f.p[p->at];
        s->left |= c == '-';
        s->plus |= c == '+';
        s->space |= c == ' ';
        s->zero |= c == '0';
        s->alternate |= c == '#';
    }
    TRY(read_number(p, &s->width));
    if (p->at < p->f.n && p->f.p[p->at] == '.') {
        p->at++;
        s->has_precision = true;
        TRY(read_number(p, &s->precision));
    }
    s->space = s->space && !s->plus;
    s->zero = s->zero && !s->left;
    if (p->at >= p->f.n) {
        return jinja_fail(p->r, ERR_FORMAT, "incomplete format");
    }
    s->type = p->f.p[p->at++];
    return OK;
}

static enum status next_arg(struct percent *p, struct val *out)
{
    if (p->args.kind == K_TUPLE) {
        if (p->used >= p->args.n) {
            return jinja_fail(p->r, ERR_FORMAT, "not enough arguments for format string");
        }
        *out = p->args.u.items[p->used++];
        return OK;
    }
    if (p->used++) {
        return jinja_fail(p->r, ERR_FORMAT, "not enough arguments for format string");
    }
    *out = p->args;
    return OK;
}

/* "(name)" after the percent sign */
static enum status named_arg(struct percent *p, struct val *out)
{
    size_t close = jinja_find(p->f, STR(")"), p->at);
    if (close == SIZE_MAX) {
        return jinja_fail(p->r, ERR_FORMAT, "incomplete format key");
    }
    struct val key = jinja_string(p->f.p + p->at + 1, close - p->at - 1);
    const struct val *found;
    if (p->args.kind != K_DICT) {
        return jinja_fail(p->r, ERR_FORMAT, "format requires a mapping");
    }
    if (memchr(key.u.s, '(', key.n)) {
        return bad_format(p->r, "brackets in a key");
    }
    TRY(jinja_dict_find(p->r, p->args.u.dict, key, &found));
    if (!found) {
        return jinja_fail(p->r, ERR_FORMAT, "no key '%.*s' for the format",
                          key.n > 100 ? 100 : (int)key.n, key.u.s);
    }
    *out = *found;
    p->at = close + 1;
    p->mapping = true;
    return OK;
}

static enum status convert(struct percent *p)
{
    struct spec s = {0};
    struct val v = {.kind = K_MISSING};
    if (p->at < p->f.n && p->f.p[p->at] == '(') {
        TRY(named_arg(p, &v));
    }
    TRY(read_spec(p, &s));
    if (s.type == '%') {
        buf_putc(&p->b, '%');
        return OK;
    }
    if (!strchr("srdixXofFeEgG", s.type) || !s.type) {
        return bad_format(p->r, "this conversion");
    }
    if (v.kind == K_MISSING) {
        TRY(next_arg(p, &v));
    }
    if (s.type == 's' || s.type == 'r') {
        return put_text(p->r, &p->b, v, &s);
    }
    return put_number(p->r, &p->b, v, &s);
}

static enum status run_percent(struct percent *p)
{
    while (p->at < p->f.n) {
        size_t to = jinja_find(p->f, STR("%"), p->at);
        to = to == SIZE_MAX ? p->f.n : to;
        buf_put(&p->b, p->f.p + p->at, to - p->at);
        p->at = to;
        if (p->b.len > p->r->max_output) {
            return jinja_fail(p->r, ERR_LIMIT, "a string longer than the limit of output");
        }
        if (to < p->f.n) {
            p->at++;
            TRY(convert(p));
        }
    }
    bool rest = p->args.kind == K_TUPLE
                    ? p->used < p->args.n
                    : !p->used && p->args.kind != K_DICT && p->args.kind != K_LIST;
    if (rest && !p->mapping) {
        return jinja_fail(p->r, ERR_FORMAT, "not all arguments converted during string formatting");
    }
    return OK;
}

enum status jinja_percent(struct run *r, struct val format, struct val args, struct val *out)
{
    struct percent p = {.r = r, .f = jinja_text(format), .args = args};
    if (format.flag & F_MARKUP) {
        return jinja_fail(r, ERR_UNSUPPORTED, "formatting safe text");
    }
    TRY(jinja_charge(r, format.n));
    enum status s = run_percent(&p);
    if (s) {
        buf_fini(&p.b);
        return s;
    }
    return jinja_take(r, &p.b, out);
}

/* ---- {} ---- */

struct brace {
    struct run *r;
    const struct call *call;
    size_t next; /* of the automatic numbers */
    bool automatic, manual;
};

static enum status field_base(struct brace *x, struct str name, struct val *out)
{
    int64_t index;
    bool too_big, number = name.n > 0 && name.p[0] >= '0' && name.p[0] <= '9';
    if (name.n == 0) {
        x->automatic = true;
        index = (int64_t)x->next++;
    } else if (number) {
        x->manual = true;
        if (!jinja_parse_int(name, 10, &index, &too_big) || too_big) {
            return bad_format(x->r, "this field name");
        }
    } else {
        for (size_t i = 0; i < x->call->n_kw; i++) {
            if (str_eq(x->call->kw[i].name, name)) {
                *out = x->call->kw[i].value;
                return OK;
            }
        }
        return jinja_fail(x->r, ERR_FORMAT, "no argument '%.*s' for the format",
                          name.n > 100 ? 100 : (int)name.n, name.p);
    }
    if (x->automatic && x->manual) {
        return jinja_fail(x->r, ERR_FORMAT,
                          "cannot switch between manual and automatic field numbering");
    }
    if ((size_t)index >= x->call->n_pos) {
        return jinja_fail(x->r, ERR_FORMAT, "Replacement index %lld out of range",
                          (long long)index);
    }
    *out = x->call->pos[index];
    return OK;
}

/* name.attr.attr */
static enum status field_value(struct brace *x, struct str name, struct val *out)
{
    size_t dot = jinja_find(name, STR("."), 0);
    if (jinja_find(name, STR("["), 0) != SIZE_MAX) {
        return bad_format(x->r, "a subscript");
    }
    TRY(field_base(x, (struct str){name.p, dot == SIZE_MAX ? name.n : dot}, out));
    while (dot != SIZE_MAX) {
        size_t next = jinja_find(name, STR("."), dot + 1);
        size_t end = next == SIZE_MAX ? name.n : next;
        if (end == dot + 1) {
            return jinja_fail(x->r, ERR_FORMAT, "Empty attribute in format string");
        }
        TRY(jinja_getattr(x->r, *out, (struct str){name.p + dot + 1, end - dot - 1}, out));
        dot = next;
    }
    return OK;
}

/* A format specification after the colon: [align][0][width][.precision][type] with one-byte fill.
 */
static enum status put_spec(struct brace *x, struct buf *b, struct val v, struct str spec)
{
    struct percent p = {.r = x->r, .f = spec};
    struct spec s = {0};
    char align = 0, fill = ' ';
    if (spec.n > 1 && strchr("<>^", spec.p[1]) && (unsigned char)spec.p[0] < 0x80) {
        fill = spec.p[0];
        align = spec.p[1];
        p.at = 2;
    } else if (spec.n && strchr("<>^", spec.p[0])) {
        align = spec.p[0];
        p.at = 1;
    }
    if (p.at < spec.n && spec.p[p.at] == '+') {
        s.plus = true;
        p.at++;
    }
    if (p.at < spec.n && spec.p[p.at] == '0') {
        return bad_format(x->r, "zero padding");
    }
    TRY(read_number(&p, &s.width));
    if (p.at < spec.n && spec.p[p.at] == '.') {
        p.at++;
        s.has_precision = true;
        TRY(read_number(&p, &s.precision));
    }
    int width = s.width;
    s.width = 0;
    s.type = p.at + 1 == spec.n ? spec.p[p.at] : 0;
    if (p.at + 1 < spec.n) {
        return bad_format(x->r, "this specification");
    }
    struct buf text = {0};
    enum status status;
    if (v.kind == K_STR && (!s.type || s.type == 's') && !s.plus) {
        s.type = 's';
        status = put_text(x->r, &text, v, &s);
        align = align ? align : '<';
    } else if ((v.kind == K_INT && !s.has_precision && (!s.type || s.type == 'd')) ||
               ((v.kind == K_INT || v.kind == K_FLOAT) && s.type && strchr("feEF", s.type))) {
        s.type = s.type ? s.type : 'd';
        status = put_number(x->r, &text, v, &s);
        align = align ? align : '>';
    } else {
        status = bad_format(x->r, "this specification");
    }
    if (status) {
        buf_fini(&text);
        return status;
    }
    struct val t, padded;
    TRY(jinja_take(x->r, &text, &t));
    TRY(jinja_pad(x->r, jinja_text(t), width, (struct str){&fill, 1}, align, &padded));
    if (align == '^') { /* unlike str.center, the odd space goes to the right */
        int pad = width - (int)jinja_rune_count(jinja_text(t));
        for (int i = 0; i < pad / 2; i++) {
            buf_putc(b, fill);
        }
        buf_put(b, t.u.s, t.n);
        for (int i = pad / 2; i < pad; i++) {
            buf_putc(b, fill);
        }
        return OK;
    }
    buf_put(b, padded.u.s, padded.n);
    return OK;
}

static enum status put_field(struct brace *x, struct buf *b, struct str field)
{
    struct val v;
    struct str spec = {0};
    char conversion = 0;
    size_t colon = jinja_find(field, STR(":"), 0), bang = jinja_find(field, STR("!"), 0);
    struct str name = {field.p, colon < bang ? colon : bang};
    if (colon == SIZE_MAX && bang == SIZE_MAX) {
        name.n = field.n;
    } else if (bang < colon) {
        conversion = bang + 1 < field.n ? field.p[bang + 1] : 0;
        if ((conversion != 'r' && conversion != 's') ||
            (bang + 2 < field.n && field.p[bang + 2] != ':')) {
            return bad_format(x->r, "this conversion");
        }
    }
    if (colon != SIZE_MAX) {
        spec = (struct str){field.p + colon + 1, field.n - colon - 1};
    }
    TRY(field_value(x, name, &v));
    if (conversion) {
        struct spec s = {.type = conversion};
        struct buf text = {0};
        enum status status = put_text(x->r, &text, v, &s);
        if (status) {
            buf_fini(&text);
            return status;
        }
        TRY(jinja_take(x->r, &text, &v));
    }
    if (spec.n) {
        return put_spec(x, b, v, spec);
    }
    TRY(jinja_str(x->r, v, &v));
    buf_put(b, v.u.s, v.n);
    return OK;
}

static enum status run_brace(struct brace *x, struct str f, struct buf *b)
{
    for (size_t i = 0; i < f.n; i++) {
        char c = f.p[i];
        if (c != '{' && c != '}') {
            buf_putc(b, c);
            continue;
        }
        if (i + 1 < f.n && f.p[i + 1] == c) {
            buf_putc(b, c);
            i++;
            continue;
        }
        size_t close = c == '{' ? jinja_find(f, STR("}"), i) : SIZE_MAX;
        if (close == SIZE_MAX) {
            return jinja_fail(x->r, ERR_FORMAT, "Single '%c' encountered in format string", c);
        }
        struct str field = {f.p + i + 1, close - i - 1};
        if (memchr(field.p, '{', field.n)) {
            return bad_format(x->r, "nested fields");
        }
        TRY(put_field(x, b, field));
        i = close;
        if (b->len > x->r->max_output) {
            return jinja_fail(x->r, ERR_LIMIT, "a string longer than the limit of output");
        }
    }
    return OK;
}

enum status jinja_brace_format(struct run *r, struct val format, const struct call *call,
                               struct val *out)
{
    struct brace x = {.r = r, .call = call};
    struct buf b = {0};
    TRY(jinja_charge(r, format.n));
    enum status s = run_brace(&x, jinja_text(format), &b);
    if (s) {
        buf_fini(&b);
        return s;
    }
    return jinja_take(r, &b, out);
}

/* Filters on text and single values, and the table of all filters.
 *
 * A filter is a row of the table at the end: its name, its parameters as jinja2 names them, and the
 * function that runs. Filters on sequences are in jinja_filters_seq.c. */
#include "model/jinja_filters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool jinja_given(struct val v)
{
    return v.kind != K_MISSING;
}

enum status jinja_int_arg(const struct invocation *v, int at, int64_t missing, int64_t *out)
{
    struct val a = v->a[at];
    if (!jinja_given(a)) {
        *out = missing;
        return OK;
    }
    if (a.kind == K_UNDEFINED) {
        return jinja_undefined_error(v->r, a);
    }
    if (a.kind != K_INT && a.kind != K_BOOL) {
        return jinja_fail(v->r, ERR_FORMAT, "'%s' object cannot be interpreted as an integer",
                          jinja_type_name(a));
    }
    *out = a.kind == K_INT ? a.u.i : a.u.b;
    return OK;
}

enum status jinja_bool_arg(const struct invocation *v, int at, bool *out)
{
    return jinja_truth(v->r, v->a[at], out);
}

enum status jinja_str_arg(const struct invocation *v, int at, struct str missing, struct str *out)
{
    struct val a = v->a[at];
    if (!jinja_given(a)) {
        *out = missing;
        return OK;
    }
    if (a.kind != K_STR) {
        return a.kind == K_UNDEFINED ? jinja_undefined_error(v->r, a)
                                     : jinja_fail(v->r, ERR_FORMAT, "expected a string, got '%s'",
                                                  jinja_type_name(a));
    }
    *out = jinja_text(a);
    return OK;
}

static enum status give(const struct invocation *v, struct str s, uint8_t flag)
{
    *v->out = jinja_string(s.p, s.n);
    v->out->flag = flag;
    return OK;
}

/* ---- text ---- */

static enum status f_case(const struct invocation *v)
{
    static const enum case_op ops[] = {CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE_FILTER};
    struct val s;
    TRY(jinja_soft_str(v->r, v->self, &s));
    TRY(jinja_case(v->r, s, ops[v->row->tag], v->out));
    if (v->row->tag == 3) {
        v->out->flag = 0;
    }
    return OK;
}

static enum status f_trim(const struct invocation *v)
{
    struct val s;
    TRY(jinja_soft_str(v->r, v->self, &s));
    if (!jinja_given(v->a[0]) || v->a[0].kind == K_NONE) {
        return give(v, jinja_strip(jinja_text(s), true, true), s.flag);
    }
    struct str chars;
    TRY(jinja_str_arg(v, 0, STR(""), &chars));
    if (s.flag) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "stripping characters from safe text");
    }
    return give(v, jinja_strip_chars(jinja_text(s), chars, true, true), 0);
}

static enum status f_replace(const struct invocation *v)
{
    struct val s, old, with;
    int64_t count = -1;
    TRY(jinja_str(v->r, v->self, &s));
    TRY(jinja_str(v->r, v->a[0], &old));
    TRY(jinja_str(v->r, v->a[1], &with));
    if (v->a[2].kind != K_NONE) {
        TRY(jinja_int_arg(v, 2, -1, &count));
    }
    return jinja_replace(v->r, jinja_text(s), jinja_text(old), jinja_text(with), count, v->out);
}

static enum status f_string(const struct invocation *v)
{
    return jinja_soft_str(v->r, v->self, v->out);
}

static enum status f_safe(const struct invocation *v)
{
    TRY(jinja_soft_str(v->r, v->self, v->out));
    v->out->flag = F_MARKUP;
    return OK;
}

static enum status f_escape(const struct invocation *v)
{
    struct val s = v->self;
    if (v->row->tag) { /* forceescape */
        TRY(jinja_str(v->r, s, &s));
    }
    return jinja_escape(v->r, s, v->out);
}

static enum status indent_lines(const struct invocation *v, struct str s, struct str by, bool first,
                                bool blank, struct buf *b)
{
    struct val lines;
    char *with_newline = jinja_alloc(v->r, s.n + 2);
    if (!with_newline) {
        return jinja_no_memory(v->r);
    }
    memcpy(with_newline, s.p, s.n);
    with_newline[s.n] = '\n';
    TRY(jinja_splitlines(v->r, (struct str){with_newline, s.n + 1}, false, &lines));
    for (size_t i = 0; i < lines.n; i++) {
        struct val line = lines.u.items[i];
        if (i) {
            buf_putc(b, '\n');
        }
        if (i ? blank || line.n : first) {
            buf_put(b, by.p, by.n);
        }
        buf_put(b, line.u.s, line.n);
        if (b->len > v->r->max_output) {
            return jinja_fail(v->r, ERR_LIMIT, "a string longer than the limit of output");
        }
    }
    return OK;
}

static enum status f_indent(const struct invocation *v)
{
    struct str by;
    bool first, blank;
    struct buf b = {0};
    if (v->self.kind != K_STR) {
        return v->self.kind == K_UNDEFINED
                   ? jinja_undefined_error(v->r, v->self)
                   : jinja_fail(v->r, ERR_FORMAT, "cannot indent a '%s'", jinja_type_name(v->self));
    }
    if (v->a[0].kind == K_STR) {
        by = jinja_text(v->a[0]);
    } else {
        int64_t width;
        TRY(jinja_int_arg(v, 0, 4, &width));
        if (width > 10000) {
            return jinja_fail(v->r, ERR_LIMIT, "an indent of more than 10000");
        }
        by.n = width > 0 ? (size_t)width : 0;
        char *spaces = jinja_alloc(v->r, by.n);
        if (!spaces) {
            return jinja_no_memory(v->r);
        }
        memset(spaces, ' ', by.n);
        by.p = spaces;
    }
    TRY(jinja_bool_arg(v, 1, &first));
    TRY(jinja_bool_arg(v, 2, &blank));
    enum status s = indent_lines(v, jinja_text(v->self), by, first, blank, &b);
    if (s) {
        buf_fini(&b);
        return s;
    }
    TRY(jinja_take(v->r, &b, v->out));
    v->out->flag = v->self.flag;
    return OK;
}

static enum status f_truncate(const struct invocation *v)
{
    int64_t length, leeway;
    bool kill;
    size_t have;
    struct str end, s = v->self.kind == K_STR ? jinja_text(v->self) : STR("");
    TRY(jinja_int_arg(v, 0, 255, &length));
    TRY(jinja_bool_arg(v, 1, &kill));
    TRY(jinja_str_arg(v, 2, STR("..."), &end));
    TRY(v->a[3].kind == K_NONE ? OK : jinja_int_arg(v, 3, 5, &leeway));
    leeway = v->a[3].kind == K_NONE ? 5 : leeway;
    int64_t end_n = (int64_t)jinja_rune_count(end);
    if (length < end_n || leeway < 0) {
        return jinja_fail(v->r, ERR_FORMAT, "expected length >= %lld and leeway >= 0",
                          (long long)end_n);
    }
    TRY(jinja_length(v->r, v->self, &have));
    if ((int64_t)have <= length || (int64_t)have - length <= leeway) {
        *v->out = v->self; /* whatever it is */
        return OK;
    }
    if (v->self.kind != K_STR || v->self.flag) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "truncating a '%s'", jinja_type_name(v->self));
    }
    s.n = jinja_rune_offset(s, (size_t)(length - end_n));
    size_t space = kill ? SIZE_MAX : jinja_rfind(s, STR(" "));
    if (space != SIZE_MAX) {
        s.n = space;
    }
    return jinja_concat(v->r, s, end, v->out);
}

static enum status f_center(const struct invocation *v)
{
    struct val s;
    int64_t width;
    TRY(jinja_soft_str(v->r, v->self, &s));
    TRY(jinja_int_arg(v, 0, 80, &width));
    TRY(jinja_pad(v->r, jinja_text(s), width, STR(" "), '^', v->out));
    v->out->flag = s.flag;
    return OK;
}

static enum status f_wordcount(const struct invocation *v)
{
    struct val s;
    int64_t words = 0;
    bool inside = false;
    TRY(jinja_soft_str(v->r, v->self, &s));
    TRY(jinja_charge(v->r, s.n));
    for (size_t i = 0, len; i < s.n; i += len) {
        bool word = jinja_is_class(jinja_rune(s.u.s + i, s.n - i, &len), CHAR_WORD);
        words += word && !inside;
        inside = word;
    }
    *v->out = jinja_int(words);
    return OK;
}

static enum status f_format(const struct invocation *v)
{
    struct val s, args = {.kind = K_TUPLE, .n = v->call->n_pos, .u.items = v->call->pos};
    TRY(jinja_soft_str(v->r, v->self, &s));
    if (v->call->n_kw) {
        struct dict *d = jinja_dict_new(v->r, v->call->n_kw);
        if (!d) {
            return jinja_no_memory(v->r);
        }
        if (v->call->n_pos) {
            return jinja_fail(v->r, ERR_FORMAT,
                              "can't handle positional and keyword arguments at "
                              "the same time");
        }
        for (size_t i = 0; i < v->call->n_kw; i++) {
            struct str name = v->call->kw[i].name;
            TRY(jinja_dict_put(v->r, d, jinja_string(name.p, name.n), v->call->kw[i].value));
        }
        args = jinja_dict_val(d);
    }
    return jinja_percent(v->r, s, args, v->out);
}

/* ---- numbers ---- */

static enum status truncated(const struct invocation *v, double f, struct val missing)
{
    if (isnan(f) || isinf(f)) {
        *v->out = missing;
        return OK;
    }
    if (fabs(f) >= 9.2e18) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "an integer beyond 64 bits");
    }
    *v->out = jinja_int((int64_t)f);
    return OK;
}

static enum status f_int(const struct invocation *v)
{
    struct val missing = jinja_given(v->a[0]) ? v->a[0] : jinja_int(0);
    int64_t base, i;
    double f;
    bool too_big;
    TRY(jinja_int_arg(v, 1, 10, &base));
    switch (v->self.kind) {
    case K_UNDEFINED:
        return jinja_undefined_error(v->r, v->self);
    case K_INT:
    case K_BOOL:
        *v->out = jinja_int(v->self.kind == K_INT ? v->self.u.i : v->self.u.b);
        return OK;
    case K_FLOAT:
        return truncated(v, v->self.u.f, missing);
    case K_STR:
        break;
    default:
        *v->out = missing;
        return OK;
    }
    if (!jinja_is_ascii(jinja_text(v->self)) ||
        (base != 10 && base != 2 && base != 8 && base != 16)) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "int of non-ASCII text or of this base");
    }
    if (jinja_parse_int(jinja_text(v->self), (int)base, &i, &too_big)) {
        *v->out = jinja_int(i);
        return too_big ? jinja_fail(v->r, ERR_UNSUPPORTED, "an integer beyond 64 bits") : OK;
    }
    if (jinja_parse_float(jinja_text(v->self), &f)) {
        return truncated(v, f, missing);
    }
    *v->out = missing;
    return OK;
}

static enum status f_float(const struct invocation *v)
{
    double f;
    *v->out = jinja_given(v->a[0]) ? v->a[0] : jinja_float(0);
    switch (v->self.kind) {
    case K_UNDEFINED:
        return jinja_undefined_error(v->r, v->self);
    case K_INT:
    case K_BOOL:
        *v->out = jinja_float(v->self.kind == K_INT ? (double)v->self.u.i : v->self.u.b);
        return OK;
    case K_FLOAT:
        *v->out = v->self;
        return OK;
    case K_STR:
        if (!jinja_is_ascii(jinja_text(v->self))) {
            return jinja_fail(v->r, ERR_UNSUPPORTED, "float of non-ASCII text");
        }
        if (jinja_parse_float(jinja_text(v->self), &f)) {
            *v->out = jinja_float(f);
        }
        return OK;
    default:
        return OK;
    }
}

static enum status f_abs(const struct invocation *v)
{
    struct val s = v->self;
    if (!jinja_is_number(s)) {
        return jinja_fail(v->r, ERR_FORMAT, "bad operand type for abs(): '%s'", jinja_type_name(s));
    }
    if (s.kind == K_FLOAT) {
        *v->out = jinja_float(fabs(s.u.f));
        return OK;
    }
    int64_t i = s.kind == K_BOOL ? s.u.b : s.u.i;
    if (i == INT64_MIN) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "an integer beyond 64 bits");
    }
    *v->out = jinja_int(i < 0 ? -i : i);
    return OK;
}

/* Python rounds the decimal expansion half to even; printf does the same with exact digits. */
static double round_decimal(double f, int digits)
{
    char s[400];
    (void)snprintf(s, sizeof s, "%.*f", digits, f);
    return strtod(s, NULL);
}

static enum status f_round(const struct invocation *v)
{
    int64_t digits;
    struct str method;
    struct val s = v->self;
    TRY(jinja_int_arg(v, 0, 0, &digits));
    TRY(jinja_str_arg(v, 1, STR("common"), &method));
    bool up = str_eq(method, STR("ceil")), down = str_eq(method, STR("floor"));
    if (!up && !down && !str_eq(method, STR("common"))) {
        return jinja_fail(v->r, ERR_FORMAT, "method must be common, ceil or floor");
    }
    if (!jinja_is_number(s)) {
        return jinja_fail(v->r, ERR_FORMAT, "type %s doesn't define __round__ method",
                          jinja_type_name(s));
    }
    if (digits < 0 || digits > 15 || (s.kind == K_FLOAT && !(fabs(s.u.f) < 1e15))) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "rounding to %lld digits", (long long)digits);
    }
    if (!up && !down) {
        *v->out = s.kind == K_FLOAT ? jinja_float(round_decimal(s.u.f, (int)digits))
                                    : jinja_int(s.kind == K_INT ? s.u.i : s.u.b);
        return OK;
    }
    double scale = pow(10, (double)digits);
    double f = s.kind == K_FLOAT ? s.u.f : (double)(s.kind == K_INT ? s.u.i : s.u.b);
    *v->out = jinja_float((up ? ceil(f * scale) : floor(f * scale)) / scale);
    return OK;
}

/* ---- any value ---- */

static enum status f_default(const struct invocation *v)
{
    bool falsy, truth = true;
    TRY(jinja_bool_arg(v, 1, &falsy));
    if (falsy) {
        TRY(jinja_truth(v->r, v->self, &truth));
    }
    *v->out = v->self;
    if (v->self.kind == K_UNDEFINED || !truth) {
        *v->out = jinja_given(v->a[0]) ? v->a[0] : jinja_string("", 0);
    }
    return OK;
}

static enum status f_attr(const struct invocation *v)
{
    struct str name;
    TRY(jinja_str_arg(v, 0, STR(""), &name));
    if (v->self.kind == K_DICT) { /* an attribute, never a key */
        const struct function *row;
        TRY(jinja_find_method(v->r, v->self, name, &row));
        if (!row) {
            *v->out = (struct val){
                .kind = K_UNDEFINED, .flag = F_MEMBER, .of = K_DICT, .n = name.n, .u.s = name.p};
            return OK;
        }
    }
    return jinja_getattr(v->r, v->self, name, v->out);
}

static const struct function filters[] = {
    {"abs", f_abs, {0}, 0, false, 0},
    {"attr", f_attr, {"name"}, 1, false, 0},
    {"batch", jinja_f_batch, {"linecount", "fill_with"}, 1, false, 0},
    {"capitalize", f_case, {0}, 0, false, 2},
    {"center", f_center, {"width"}, 0, false, 0},
    {"count", jinja_f_length, {0}, 0, false, 0},
    {"d", f_default, {"default_value", "boolean"}, 0, false, 0},
    {"default", f_default, {"default_value", "boolean"}, 0, false, 0},
    {"dictsort", jinja_f_dictsort, {"case_sensitive", "by", "reverse"}, 0, false, 0},
    {"e", f_escape, {0}, 0, false, 0},
    {"escape", f_escape, {0}, 0, false, 0},
    {"first", jinja_f_first, {0}, 0, false, 0},
    {"float", f_float, {"default"}, 0, false, 0},
    {"forceescape", f_escape, {0}, 0, false, 1},
    {"format", f_format, {0}, 0, true, 0},
    {"groupby", jinja_f_groupby, {"attribute", "default", "case_sensitive"}, 1, false, 0},
    {"indent", f_indent, {"width", "first", "blank"}, 0, false, 0},
    {"int", f_int, {"default", "base"}, 0, false, 0},
    {"items", jinja_f_items, {0}, 0, false, 0},
    {"join", jinja_f_join, {"d", "attribute"}, 0, false, 0},
    {"last", jinja_f_last, {0}, 0, false, 0},
    {"length", jinja_f_length, {0}, 0, false, 0},
    {"list", jinja_f_list, {0}, 0, false, 0},
    {"lower", f_case, {0}, 0, false, 1},
    {"map", jinja_f_map, {0}, 0, true, 0},
    {"max", jinja_f_extreme, {"case_sensitive", "attribute"}, 0, false, 1},
    {"min", jinja_f_extreme, {"case_sensitive", "attribute"}, 0, false, 0},
    {"reject", jinja_f_select, {0}, 0, true, SELECT_REJECT},
    {"rejectattr", jinja_f_select, {0}, 0, true, SELECT_REJECT | SELECT_ATTR},
    {"replace", f_replace, {"old", "new", "count"}, 2, false, 0},
    {"reverse", jinja_f_reverse, {0}, 0, false, 0},
    {"round", f_round, {"precision", "method"}, 0, false, 0},
    {"safe", f_safe, {0}, 0, false, 0},
    {"select", jinja_f_select, {0}, 0, true, 0},
    {"selectattr", jinja_f_select, {0}, 0, true, SELECT_ATTR},
    {"slice", jinja_f_slice, {"slices", "fill_with"}, 1, false, 0},
    {"sort", jinja_f_sort, {"reverse", "case_sensitive", "attribute"}, 0, false, 0},
    {"string", f_string, {0}, 0, false, 0},
    {"sum", jinja_f_sum, {"attribute", "start"}, 0, false, 0},
    {"title", f_case, {0}, 0, false, 3},
    {"tojson", jinja_tojson, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, false, 0},
    {"trim", f_trim, {"chars"}, 0, false, 0},
    {"truncate", f_truncate, {"length", "killwords", "end", "leeway"}, 0, false, 0},
    {"unique", jinja_f_unique, {"case_sensitive", "attribute"}, 0, false, 0},
    {"upper", f_case, {0}, 0, false, 0},
    {"wordcount", f_wordcount, {0}, 0, false, 0},
};

/* jinja2 has them, this program does not. */
static const char *const others[] = {"filesizeformat", "pprint", "random",   "striptags",
                                     "urlencode",      "urlize", "wordwrap", "xmlattr"};

const struct function *jinja_find_filter(struct str name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (str_eq(name, (struct str){filters[i].name, strlen(filters[i].name)})) {
            return &filters[i];
        }
    }
    return NULL;
}

bool jinja_known_filter(struct str name)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (str_eq(name, (struct str){others[i], strlen(others[i])})) {
            return true;
        }
    }
    return jinja_find_filter(name) != NULL;
}

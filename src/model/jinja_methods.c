/* Methods of strings, dicts, lists, tuples and the loop variable, as tables.
 *
 * Three kinds of rows: done here; known to Python and forbidden by jinja2's sandbox because they
 * change the object (no function: the attribute reads as undefined and fails when called); known to
 * Python and not done here (names in `others`: ERR_UNSUPPORTED). */
#include "model/jinja_filters.h"

#include <string.h>

static enum status give(const struct invocation *v, const char *p, size_t n)
{
    *v->out = jinja_string(p, n);
    v->out->flag = v->self.flag;
    return OK;
}

/* ---- str ---- */

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };

static enum status s_strip(const struct invocation *v)
{
    bool left = v->row->tag & STRIP_LEFT, right = v->row->tag & STRIP_RIGHT;
    struct str s = jinja_text(v->self), chars;
    if (!jinja_given(v->a[0]) || v->a[0].kind == K_NONE) {
        s = jinja_strip(s, left, right);
    } else {
        TRY(jinja_str_arg(v, 0, STR(""), &chars));
        s = jinja_strip_chars(s, chars, left, right);
    }
    return give(v, s.p, s.n);
}

static enum status s_case(const struct invocation *v)
{
    return jinja_case(v->r, v->self, (enum case_op)v->row->tag, v->out);
}

struct pieces {
    struct run *r;
    struct val *items;
    size_t n, cap;
};

static enum status add_piece(struct pieces *p, const char *s, size_t n)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 8;
        struct val *items = jinja_vals(p->r, cap);
        if (!items) {
            return jinja_no_memory(p->r);
        }
        if (p->n) {
            memcpy(items, p->items, p->n * sizeof *items);
        }
        p->items = items;
        p->cap = cap;
    }
    p->items[p->n++] = jinja_string(s, n);
    return jinja_charge(p->r, 16);
}

/* split() without separator: words between white space */
static enum status split_words(struct pieces *p, struct str s, int64_t max)
{
    for (;;) {
        size_t end = 0, len;
        s = jinja_strip(s, true, false);
        if (s.n == 0) {
            return OK;
        }
        if (max-- == 0) {
            return add_piece(p, s.p, s.n);
        }
        while (end < s.n && !jinja_is_space(jinja_rune(s.p + end, s.n - end, &len))) {
            end += len;
        }
        TRY(add_piece(p, s.p, end));
        s = (struct str){s.p + end, s.n - end};
    }
}

static enum status rsplit_words(struct pieces *p, struct str s, int64_t max)
{
    for (;;) {
        s = jinja_strip(s, false, true);
        if (s.n == 0) {
            return OK;
        }
        if (max-- == 0) {
            return add_piece(p, s.p, s.n);
        }
        size_t word = 0, len; /* where the last word begins */
        for (size_t i = 0; i < s.n; i += len) {
            if (jinja_is_space(jinja_rune(s.p + i, s.n - i, &len))) {
                word = i + len;
            }
        }
        TRY(jinja_charge(p->r, s.n));
        TRY(add_piece(p, s.p + word, s.n - word));
        s.n = word;
    }
}

static enum status split_at(struct pieces *p, struct str s, struct str by, int64_t max)
{
    size_t from = 0, at;
    while (max-- != 0 && (at = jinja_find(s, by, from)) != SIZE_MAX) {
        TRY(add_piece(p, s.p + from, at - from));
        from = at + by.n;
    }
    return add_piece(p, s.p + from, s.n - from);
}

static enum status rsplit_at(struct pieces *p, struct str s, struct str by, int64_t max)
{
    size_t at;
    while (max-- != 0 && (at = jinja_rfind(s, by)) != SIZE_MAX) {
        TRY(add_piece(p, s.p + at + by.n, s.n - at - by.n));
        TRY(jinja_charge(p->r, s.n - at));
        s.n = at;
    }
    return add_piece(p, s.p, s.n);
}

static enum status s_split(const struct invocation *v)
{
    struct pieces p = {.r = v->r};
    struct str by, s = jinja_text(v->self);
    int64_t max;
    bool words = !jinja_given(v->a[0]) || v->a[0].kind == K_NONE, right = v->row->tag;
    TRY(jinja_int_arg(v, 1, -1, &max));
    TRY(jinja_charge(v->r, s.n));
    if (words) {
        TRY(right ? rsplit_words(&p, s, max) : split_words(&p, s, max));
    } else {
        TRY(jinja_str_arg(v, 0, STR(""), &by));
        if (by.n == 0) {
            return jinja_fail(v->r, ERR_FORMAT, "empty separator");
        }
        TRY(right ? rsplit_at(&p, s, by, max) : split_at(&p, s, by, max));
    }
    for (size_t i = 0; right && i < p.n / 2; i++) {
        struct val t = p.items[i];
        p.items[i] = p.items[p.n - 1 - i];
        p.items[p.n - 1 - i] = t;
    }
    *v->out = jinja_list(p.items, p.n);
    return OK;
}

static enum status s_splitlines(const struct invocation *v)
{
    bool keep;
    TRY(jinja_bool_arg(v, 0, &keep));
    return jinja_splitlines(v->r, jinja_text(v->self), keep, v->out);
}

static bool affix(struct str s, struct str what, bool end)
{
    return s.n >= what.n && memcmp(end ? s.p + s.n - what.n : s.p, what.p, what.n) == 0;
}

/* The part of the string that the optional arguments from, to (at and after `at`) select. */
static enum status clip(const struct invocation *v, int at, struct str *s, size_t *offset)
{
    struct val from = v->a[at], to = v->a[at + 1], part;
    *s = jinja_text(v->self);
    *offset = 0;
    if (!jinja_given(from)) {
        return OK;
    }
    TRY(jinja_slice(v->r, v->self, from, jinja_given(to) ? to : jinja_none(), jinja_none(), &part));
    *offset = part.n ? (size_t)(part.u.s - s->p) : s->n;
    *s = jinja_text(part);
    if (part.n == 0 && (from.kind == K_INT && from.u.i != 0)) {
        *s = (struct str){NULL, SIZE_MAX}; /* Python finds nothing past the end, not even "" */
    }
    return OK;
}

static enum status s_affix(const struct invocation *v)
{
    struct str s, what;
    size_t offset;
    bool yes = false;
    TRY(clip(v, 1, &s, &offset));
    if (s.n == SIZE_MAX) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "%s with an empty part", v->row->name);
    }
    if (v->a[0].kind == K_TUPLE) {
        for (size_t i = 0; i < v->a[0].n; i++) {
            if (v->a[0].u.items[i].kind != K_STR) {
                return jinja_fail(v->r, ERR_FORMAT, "tuple for %s must only contain str",
                                  v->row->name);
            }
            yes = yes || affix(s, jinja_text(v->a[0].u.items[i]), v->row->tag);
        }
    } else {
        TRY(jinja_str_arg(v, 0, STR(""), &what));
        yes = affix(s, what, v->row->tag);
    }
    *v->out = jinja_bool(yes);
    return OK;
}

enum { FIND_LAST = 1, FIND_OR_FAIL = 2 };

static enum status s_find(const struct invocation *v)
{
    struct str s, what;
    size_t offset, at;
    TRY(jinja_str_arg(v, 0, STR(""), &what));
    TRY(clip(v, 1, &s, &offset));
    TRY(jinja_charge(v->r, v->self.n));
    if (s.n == SIZE_MAX && what.n == 0) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "%s of nothing in an empty part", v->row->name);
    }
    at = s.n == SIZE_MAX           ? SIZE_MAX
         : v->row->tag & FIND_LAST ? jinja_rfind(s, what)
                                   : jinja_find(s, what, 0);
    if (at == SIZE_MAX && v->row->tag & FIND_OR_FAIL) {
        return jinja_fail(v->r, ERR_FORMAT, "substring not found");
    }
    *v->out = jinja_int(
        at == SIZE_MAX ? -1 : (int64_t)jinja_rune_count((struct str){v->self.u.s, offset + at}));
    return OK;
}

static enum status s_count(const struct invocation *v)
{
    struct str s, what;
    size_t offset;
    int64_t count = 0;
    TRY(jinja_str_arg(v, 0, STR(""), &what));
    TRY(clip(v, 1, &s, &offset));
    TRY(jinja_charge(v->r, v->self.n));
    if (s.n == SIZE_MAX) {
        *v->out = jinja_int(0);
        return what.n ? OK : jinja_fail(v->r, ERR_UNSUPPORTED, "count in an empty part");
    }
    if (what.n == 0) {
        *v->out = jinja_int((int64_t)jinja_rune_count(s) + 1);
        return OK;
    }
    for (size_t at = 0; (at = jinja_find(s, what, at)) != SIZE_MAX; at += what.n) {
        count++;
    }
    *v->out = jinja_int(count);
    return OK;
}

static enum status s_replace(const struct invocation *v)
{
    struct str old, with;
    int64_t count;
    TRY(jinja_str_arg(v, 0, STR(""), &old));
    TRY(jinja_str_arg(v, 1, STR(""), &with));
    TRY(jinja_int_arg(v, 2, -1, &count));
    return jinja_replace(v->r, jinja_text(v->self), old, with, count, v->out);
}

static enum status s_join(const struct invocation *v)
{
    const struct val *items;
    size_t n;
    TRY(jinja_items(v->r, v->a[0], &items, &n));
    return jinja_join(v->r, jinja_text(v->self), items, n, false, v->out);
}

static enum status s_format(const struct invocation *v)
{
    return jinja_brace_format(v->r, v->self, v->call, v->out);
}

enum { IS_SPACE = CHAR_WORD + 1, IS_ASCII, IS_PRINTABLE, IS_UPPER, IS_LOWER };

static bool rune_passes(uint32_t c, uint8_t tag)
{
    switch (tag) {
    case IS_SPACE:
        return jinja_is_space(c);
    case IS_ASCII:
        return c < 0x80;
    case IS_PRINTABLE:
        return jinja_is_printable(c);
    case IS_UPPER:
        return !jinja_is_cased(c) || jinja_is_upper(c);
    case IS_LOWER:
        return !jinja_is_cased(c) || jinja_is_lower(c);
    default:
        return jinja_is_class(c, (enum char_class)tag);
    }
}

/* isalpha() and its like: every code point passes, and there is one (a cased one for isupper). */
static enum status s_is(const struct invocation *v)
{
    struct str s = jinja_text(v->self);
    uint8_t tag = v->row->tag;
    bool all = true, any = tag == IS_ASCII || tag == IS_PRINTABLE;
    TRY(jinja_charge(v->r, s.n));
    for (size_t i = 0, len; i < s.n && all; i += len) {
        uint32_t c = jinja_rune(s.p + i, s.n - i, &len);
        if (c >= 0x80 && tag >= CHAR_DIGIT && tag <= CHAR_ALNUM && tag != CHAR_DECIMAL &&
            !jinja_is_class(c, CHAR_ALPHA)) {
            return jinja_fail(v->r, ERR_UNSUPPORTED, "%s of non-ASCII text", v->row->name);
        }
        all = rune_passes(c, tag);
        any = any || (tag == IS_UPPER || tag == IS_LOWER ? jinja_is_cased(c) : true);
    }
    *v->out = jinja_bool(all && any);
    return OK;
}

enum status jinja_pad(struct run *r, struct str s, int64_t width, struct str fill, char align,
                      struct val *out)
{
    struct buf b = {0};
    int64_t have = (int64_t)jinja_rune_count(s), pad = width > have ? width - have : 0;
    if (pad > 1000000) {
        return jinja_fail(r, ERR_LIMIT, "padding of more than a million characters");
    }
    int64_t left = align == '<' ? 0 : align == '>' ? pad : pad / 2 + (pad & width & 1);
    for (int64_t i = 0; i < left; i++) {
        buf_put(&b, fill.p, fill.n);
    }
    buf_put(&b, s.p, s.n);
    for (int64_t i = left; i < pad; i++) {
        buf_put(&b, fill.p, fill.n);
    }
    return jinja_take(r, &b, out);
}

static enum status s_pad(const struct invocation *v)
{
    int64_t width;
    struct str fill;
    TRY(jinja_int_arg(v, 0, 0, &width));
    TRY(jinja_str_arg(v, 1, STR(" "), &fill));
    if (jinja_rune_count(fill) != 1) {
        return jinja_fail(v->r, ERR_FORMAT,
                          "The fill character must be exactly one character long");
    }
    return jinja_pad(v->r, jinja_text(v->self), width, fill, (char)v->row->tag, v->out);
}

static enum status s_zfill(const struct invocation *v)
{
    struct str s = jinja_text(v->self);
    struct val padded;
    int64_t width;
    TRY(jinja_int_arg(v, 0, 0, &width));
    size_t sign = s.n && (s.p[0] == '-' || s.p[0] == '+');
    TRY(jinja_pad(v->r, (struct str){s.p + sign, s.n - sign}, width - (int64_t)sign, STR("0"), '>',
                  &padded));
    return jinja_concat(v->r, (struct str){s.p, sign}, jinja_text(padded), v->out);
}

static enum status s_partition(const struct invocation *v)
{
    struct str s = jinja_text(v->self), by;
    TRY(jinja_str_arg(v, 0, STR(""), &by));
    if (by.n == 0) {
        return jinja_fail(v->r, ERR_FORMAT, "empty separator");
    }
    struct val *part = jinja_vals(v->r, 3);
    if (!part) {
        return jinja_no_memory(v->r);
    }
    size_t at = v->row->tag ? jinja_rfind(s, by) : jinja_find(s, by, 0);
    for (int i = 0; i < 3; i++) {
        part[i] = jinja_string("", 0);
    }
    if (at == SIZE_MAX) {
        part[v->row->tag ? 2 : 0] = v->self;
    } else {
        part[0] = jinja_string(s.p, at);
        part[1] = jinja_string(by.p, by.n);
        part[2] = jinja_string(s.p + at + by.n, s.n - at - by.n);
    }
    *v->out = (struct val){.kind = K_TUPLE, .n = 3, .u.items = part};
    return OK;
}

static enum status s_remove_affix(const struct invocation *v)
{
    struct str s = jinja_text(v->self), what;
    TRY(jinja_str_arg(v, 0, STR(""), &what));
    if (affix(s, what, v->row->tag)) {
        s.p += v->row->tag ? 0 : what.n;
        s.n -= what.n;
    }
    return give(v, s.p, s.n);
}

/* ---- dict, list, loop, cycler ---- */

static enum status d_get(const struct invocation *v)
{
    const struct val *found;
    TRY(jinja_hashable(v->r, v->a[0]));
    TRY(jinja_dict_find(v->r, v->self.u.dict, v->a[0], &found));
    *v->out = found ? *found : jinja_given(v->a[1]) ? v->a[1] : jinja_none();
    return OK;
}

static enum status d_view(const struct invocation *v)
{
    *v->out = (struct val){.kind = K_VIEW, .flag = v->row->tag, .u.dict = v->self.u.dict};
    return OK;
}

static enum status copy(const struct invocation *v)
{
    *v->out = v->self; /* nothing can change either */
    return OK;
}

static enum status l_count(const struct invocation *v)
{
    int64_t count = 0;
    for (size_t i = 0; i < v->self.n; i++) {
        bool same;
        TRY(jinja_equal(v->r, v->self.u.items[i], v->a[0], &same));
        count += same;
    }
    *v->out = jinja_int(count);
    return OK;
}

static enum status l_index(const struct invocation *v)
{
    for (size_t i = 0; i < v->self.n; i++) {
        bool same;
        TRY(jinja_equal(v->r, v->self.u.items[i], v->a[0], &same));
        if (same) {
            *v->out = jinja_int((int64_t)i);
            return OK;
        }
    }
    return jinja_fail(v->r, ERR_FORMAT, "the value is not in the list");
}

static enum status loop_cycle(const struct invocation *v)
{
    if (!v->call->n_pos || v->call->n_kw) {
        return jinja_fail(v->r, ERR_FORMAT, "no items for cycling given");
    }
    *v->out = v->call->pos[v->self.u.loop->at % v->call->n_pos];
    return OK;
}

static enum status loop_changed(const struct invocation *v)
{
    struct loop *loop = v->self.u.loop;
    struct val now = {.kind = K_TUPLE, .n = v->call->n_pos, .u.items = v->call->pos};
    bool same = false;
    if (loop->changed.kind == K_TUPLE) {
        TRY(jinja_equal(v->r, loop->changed, now, &same));
    }
    loop->changed = same ? loop->changed : now;
    *v->out = jinja_bool(!same);
    return OK;
}

static enum status cycler_next(const struct invocation *v)
{
    struct cycler *c = v->self.u.cycler;
    *v->out = c->items[c->at];
    c->at = (c->at + 1) % c->n;
    return OK;
}

static enum status cycler_reset(const struct invocation *v)
{
    v->self.u.cycler->at = 0;
    *v->out = jinja_none();
    return OK;
}

/* ---- tables ---- */

static const struct function str_methods[] = {
    {"strip", s_strip, {"chars"}, 0, false, STRIP_LEFT | STRIP_RIGHT},
    {"lstrip", s_strip, {"chars"}, 0, false, STRIP_LEFT},
    {"rstrip", s_strip, {"chars"}, 0, false, STRIP_RIGHT},
    {"split", s_split, {"sep", "maxsplit"}, 0, false, 0},
    {"rsplit", s_split, {"sep", "maxsplit"}, 0, false, 1},
    {"splitlines", s_splitlines, {"keepends"}, 0, false, 0},
    {"startswith", s_affix, {"prefix", "start", "end"}, 1, false, 0},
    {"endswith", s_affix, {"suffix", "start", "end"}, 1, false, 1},
    {"replace", s_replace, {"old", "new", "count"}, 2, false, 0},
    {"upper", s_case, {0}, 0, false, CASE_UPPER},
    {"lower", s_case, {0}, 0, false, CASE_LOWER},
    {"title", s_case, {0}, 0, false, CASE_TITLE},
    {"capitalize", s_case, {0}, 0, false, CASE_CAPITALIZE},
    {"swapcase", s_case, {0}, 0, false, CASE_SWAP},
    {"join", s_join, {"iterable"}, 1, false, 0},
    {"find", s_find, {"sub", "start", "end"}, 1, false, 0},
    {"rfind", s_find, {"sub", "start", "end"}, 1, false, FIND_LAST},
    {"index", s_find, {"sub", "start", "end"}, 1, false, FIND_OR_FAIL},
    {"rindex", s_find, {"sub", "start", "end"}, 1, false, FIND_LAST | FIND_OR_FAIL},
    {"count", s_count, {"sub", "start", "end"}, 1, false, 0},
    {"format", s_format, {0}, 0, true, 0},
    {"isalpha", s_is, {0}, 0, false, CHAR_ALPHA},
    {"isdigit", s_is, {0}, 0, false, CHAR_DIGIT},
    {"isdecimal", s_is, {0}, 0, false, CHAR_DECIMAL},
    {"isnumeric", s_is, {0}, 0, false, CHAR_NUMERIC},
    {"isalnum", s_is, {0}, 0, false, CHAR_ALNUM},
    {"isspace", s_is, {0}, 0, false, IS_SPACE},
    {"isascii", s_is, {0}, 0, false, IS_ASCII},
    {"isprintable", s_is, {0}, 0, false, IS_PRINTABLE},
    {"isupper", s_is, {0}, 0, false, IS_UPPER},
    {"islower", s_is, {0}, 0, false, IS_LOWER},
    {"center", s_pad, {"width", "fillchar"}, 1, false, '^'},
    {"ljust", s_pad, {"width", "fillchar"}, 1, false, '<'},
    {"rjust", s_pad, {"width", "fillchar"}, 1, false, '>'},
    {"zfill", s_zfill, {"width"}, 1, false, 0},
    {"partition", s_partition, {"sep"}, 1, false, 0},
    {"rpartition", s_partition, {"sep"}, 1, false, 1},
    {"removeprefix", s_remove_affix, {"prefix"}, 1, false, 0},
    {"removesuffix", s_remove_affix, {"suffix"}, 1, false, 1},
};

static const struct function dict_methods[] = {
    {"get", d_get, {"key", "default"}, 1, false, 0},
    {"keys", d_view, {0}, 0, false, F_KEYS},
    {"values", d_view, {0}, 0, false, F_VALUES},
    {"items", d_view, {0}, 0, false, F_ITEMS},
    {"copy", copy, {0}, 0, false, 0},
    {"clear", NULL, {0}, 0, false, 0},
    {"pop", NULL, {0}, 0, false, 0},
    {"popitem", NULL, {0}, 0, false, 0},
    {"setdefault", NULL, {0}, 0, false, 0},
    {"update", NULL, {0}, 0, false, 0},
};

static const struct function list_methods[] = {
    {"count", l_count, {"value"}, 1, false, 0}, {"index", l_index, {"value"}, 1, false, 0},
    {"copy", copy, {0}, 0, false, 0},           {"append", NULL, {0}, 0, false, 0},
    {"clear", NULL, {0}, 0, false, 0},          {"pop", NULL, {0}, 0, false, 0},
    {"reverse", NULL, {0}, 0, false, 0},        {"insert", NULL, {0}, 0, false, 0},
    {"sort", NULL, {0}, 0, false, 0},           {"extend", NULL, {0}, 0, false, 0},
    {"remove", NULL, {0}, 0, false, 0},
};

static const struct function tuple_methods[] = {
    {"count", l_count, {"value"}, 1, false, 0},
    {"index", l_index, {"value"}, 1, false, 0},
};

static const struct function loop_methods[] = {
    {"cycle", loop_cycle, {0}, 0, true, 0},
    {"changed", loop_changed, {0}, 0, true, 0},
};

static const struct function cycler_methods[] = {
    {"next", cycler_next, {0}, 0, false, 0},
    {"reset", cycler_reset, {0}, 0, false, 0},
};

/* A new method is a row in one of these; a new kind of object is a line here. `others`: what
 * Python has besides, separated by spaces. */
static const struct {
    const struct function *rows;
    size_t n;
    const char *others;
} methods[K_COUNT] = {
#define ROWS(rows) rows, sizeof rows / sizeof *rows
    [K_STR] = {ROWS(str_methods), " casefold encode expandtabs format_map isidentifier istitle "
                                  "maketrans translate "},
    [K_DICT] = {ROWS(dict_methods), " fromkeys "},
    [K_LIST] = {ROWS(list_methods), ""},
    [K_TUPLE] = {ROWS(tuple_methods), ""},
    [K_LOOP] = {ROWS(loop_methods), ""},
    [K_CYCLER] = {ROWS(cycler_methods), " items pos "},
    [K_BOOL] = {NULL, 0,
                " as_integer_ratio bit_count bit_length conjugate denominator from_bytes "
                "imag numerator real to_bytes "},
    [K_INT] = {NULL, 0,
               " as_integer_ratio bit_count bit_length conjugate denominator from_bytes "
               "imag numerator real to_bytes "},
    [K_FLOAT] = {NULL, 0, " as_integer_ratio conjugate fromhex hex imag is_integer real "},
    [K_RANGE] = {NULL, 0, " count index "},
    [K_VIEW] = {NULL, 0, " isdisjoint mapping "},
    [K_ITER] = {NULL, 0,
                " close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send "
                "throw "},
    [K_MACRO] = {NULL, 0, " arguments caller catch_kwargs catch_varargs explicit_caller "},
    [K_FUNCTION] = {NULL, 0, " fromkeys "},
#undef ROWS
};

/* Methods of safe text that escape their arguments or give safe parts are not done. */
static bool safe_on_markup(const struct function *row)
{
    return row->run == s_case || row->run == s_is || row->run == s_affix || row->run == s_find ||
           row->run == s_count;
}

enum status jinja_find_method(struct run *r, struct val v, struct str name,
                              const struct function **row)
{
    char word[40];
    *row = NULL;
    for (size_t i = 0; i < methods[v.kind].n; i++) {
        const struct function *m = &methods[v.kind].rows[i];
        if (str_eq(name, (struct str){m->name, strlen(m->name)})) {
            *row = m;
            break;
        }
    }
    if (*row && v.kind == K_STR && v.flag & F_MARKUP && !safe_on_markup(*row)) {
        return jinja_fail(r, ERR_UNSUPPORTED, "the method '%s' of safe text", (*row)->name);
    }
    if (*row || !methods[v.kind].others || name.n == 0 || name.n > sizeof word - 3 ||
        memchr(name.p, ' ', name.n)) {
        return OK;
    }
    word[0] = ' ';
    memcpy(word + 1, name.p, name.n);
    memcpy(word + 1 + name.n, " ", 2);
    if (strstr(methods[v.kind].others, word)) {
        return jinja_fail(r, ERR_UNSUPPORTED, "the attribute '%.*s' of a %s", (int)name.n, name.p,
                          jinja_type_name(v));
    }
    return OK;
}

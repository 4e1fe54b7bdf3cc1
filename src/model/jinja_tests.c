/* Tests (`x is odd`) and global functions, as tables. */
#include "model/jinja_filters.h"

#include "base/sys.h"

#include <math.h>
#include <string.h>
#include <time.h>

static enum status answer(const struct invocation *v, bool yes)
{
    *v->out = jinja_bool(yes);
    return OK;
}

enum kind_test {
    IS_DEFINED,
    IS_UNDEFINED,
    IS_NONE,
    IS_BOOLEAN,
    IS_FALSE,
    IS_TRUE,
    IS_INTEGER,
    IS_FLOAT,
    IS_NUMBER,
    IS_STRING,
    IS_MAPPING,
    IS_SEQUENCE,
    IS_ITERABLE,
    IS_CALLABLE,
    IS_ESCAPED
};

static bool is_kind(struct val v, enum kind_test test)
{
    enum kind k = (enum kind)v.kind;
    switch (test) {
    case IS_DEFINED:
        return k != K_UNDEFINED;
    case IS_UNDEFINED:
        return k == K_UNDEFINED;
    case IS_NONE:
        return k == K_NONE;
    case IS_BOOLEAN:
        return k == K_BOOL;
    case IS_FALSE:
        return k == K_BOOL && !v.u.b;
    case IS_TRUE:
        return k == K_BOOL && v.u.b;
    case IS_INTEGER:
        return k == K_INT;
    case IS_FLOAT:
        return k == K_FLOAT;
    case IS_NUMBER:
        return jinja_is_number(v);
    case IS_STRING:
        return k == K_STR;
    case IS_MAPPING:
        return k == K_DICT;
    case IS_SEQUENCE: /* has a length and can be subscripted */
        return k == K_STR || k == K_LIST || k == K_TUPLE || k == K_DICT || k == K_RANGE ||
               k == K_UNDEFINED;
    case IS_ITERABLE:
        return jinja_iterable(v);
    case IS_CALLABLE:
        return k == K_FUNCTION || k == K_METHOD || k == K_MACRO || k == K_JOINER || k == K_LOOP ||
               k == K_UNDEFINED;
    case IS_ESCAPED:
        return k == K_STR && v.flag & F_MARKUP;
    }
    return false;
}

static enum status t_kind(const struct invocation *v)
{
    return answer(v, is_kind(v->self, (enum kind_test)v->row->tag));
}

/* odd, even, divisibleby: value % number == tag */
static enum status t_modulo(const struct invocation *v)
{
    struct val by = v->row->tag < 2 ? jinja_int(2) : v->a[0], m;
    bool same;
    TRY(jinja_binary(v->r, T_MOD, v->self, by, &m));
    TRY(jinja_equal(v->r, m, jinja_int(v->row->tag == 1), &same));
    return answer(v, same);
}

static enum status t_compare(const struct invocation *v)
{
    bool yes;
    enum token_type op = (enum token_type)v->row->tag;
    if (op == T_EQ || op == T_NE) {
        TRY(jinja_equal(v->r, v->self, v->a[0], &yes));
        return answer(v, yes == (op == T_EQ));
    }
    TRY(jinja_less(v->r, v->self, v->a[0], op, &yes));
    return answer(v, yes);
}

static enum status t_in(const struct invocation *v)
{
    bool yes;
    TRY(jinja_contains(v->r, v->self, v->a[0], &yes));
    return answer(v, yes);
}

static enum status t_case(const struct invocation *v)
{
    struct val s;
    bool cased = false, other = false, upper = v->row->tag;
    TRY(jinja_str(v->r, v->self, &s));
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t c = jinja_rune(s.u.s + i, s.n - i, &len);
        cased = cased || (upper ? jinja_is_upper(c) : jinja_is_lower(c));
        other = other || (jinja_is_cased(c) && !(upper ? jinja_is_upper(c) : jinja_is_lower(c)));
    }
    return answer(v, cased && !other);
}

/* `is` of Python: certain for singletons and small integers; for the rest only where kinds differ
 * or both are the same object here. */
static enum status t_sameas(const struct invocation *v)
{
    struct val a = v->self, b = v->a[0];
    if (a.kind != b.kind) {
        return answer(v, false);
    }
    if (a.kind == K_NONE || a.kind == K_BOOL) {
        return answer(v, a.kind == K_NONE || a.u.b == b.u.b);
    }
    if (a.kind == K_INT && (a.u.i != b.u.i || (a.u.i >= -5 && a.u.i <= 256))) {
        return answer(v, a.u.i == b.u.i);
    }
    if (a.kind == K_NAMESPACE || a.kind == K_MACRO || a.kind == K_FUNCTION) {
        return answer(v, a.u.names == b.u.names);
    }
    return jinja_fail(v->r, ERR_UNSUPPORTED, "identity of two '%s' objects", jinja_type_name(a));
}

static enum status t_exists(const struct invocation *v)
{
    if (v->self.kind != K_STR) {
        return answer(v, false);
    }
    struct str name = jinja_text(v->self);
    return answer(v, v->row->tag ? jinja_find_test(name) != NULL : jinja_known_filter(name));
}

static const struct function tests[] = {
    {"odd", t_modulo, {0}, 0, false, 1},
    {"even", t_modulo, {0}, 0, false, 0},
    {"divisibleby", t_modulo, {"num"}, 1, false, 2},
    {"defined", t_kind, {0}, 0, false, IS_DEFINED},
    {"undefined", t_kind, {0}, 0, false, IS_UNDEFINED},
    {"filter", t_exists, {0}, 0, false, 0},
    {"test", t_exists, {0}, 0, false, 1},
    {"none", t_kind, {0}, 0, false, IS_NONE},
    {"boolean", t_kind, {0}, 0, false, IS_BOOLEAN},
    {"false", t_kind, {0}, 0, false, IS_FALSE},
    {"true", t_kind, {0}, 0, false, IS_TRUE},
    {"integer", t_kind, {0}, 0, false, IS_INTEGER},
    {"float", t_kind, {0}, 0, false, IS_FLOAT},
    {"lower", t_case, {0}, 0, false, 0},
    {"upper", t_case, {0}, 0, false, 1},
    {"string", t_kind, {0}, 0, false, IS_STRING},
    {"mapping", t_kind, {0}, 0, false, IS_MAPPING},
    {"number", t_kind, {0}, 0, false, IS_NUMBER},
    {"sequence", t_kind, {0}, 0, false, IS_SEQUENCE},
    {"iterable", t_kind, {0}, 0, false, IS_ITERABLE},
    {"callable", t_kind, {0}, 0, false, IS_CALLABLE},
    {"sameas", t_sameas, {"other"}, 1, false, 0},
    {"escaped", t_kind, {0}, 0, false, IS_ESCAPED},
    {"in", t_in, {"seq"}, 1, false, 0},
    {"==", t_compare, {"b"}, 1, false, T_EQ},
    {"eq", t_compare, {"b"}, 1, false, T_EQ},
    {"equalto", t_compare, {"b"}, 1, false, T_EQ},
    {"!=", t_compare, {"b"}, 1, false, T_NE},
    {"ne", t_compare, {"b"}, 1, false, T_NE},
    {">", t_compare, {"b"}, 1, false, T_GT},
    {"gt", t_compare, {"b"}, 1, false, T_GT},
    {"greaterthan", t_compare, {"b"}, 1, false, T_GT},
    {">=", t_compare, {"b"}, 1, false, T_GE},
    {"ge", t_compare, {"b"}, 1, false, T_GE},
    {"<", t_compare, {"b"}, 1, false, T_LT},
    {"lt", t_compare, {"b"}, 1, false, T_LT},
    {"lessthan", t_compare, {"b"}, 1, false, T_LT},
    {"<=", t_compare, {"b"}, 1, false, T_LE},
    {"le", t_compare, {"b"}, 1, false, T_LE},
};

static const struct function *find(const struct function *rows, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(name, (struct str){rows[i].name, strlen(rows[i].name)})) {
            return &rows[i];
        }
    }
    return NULL;
}

const struct function *jinja_find_test(struct str name)
{
    return find(tests, sizeof tests / sizeof *tests, name);
}

/* ---- global functions ---- */

static enum status g_raise(const struct invocation *v)
{
    struct val s;
    TRY(jinja_str(v->r, v->a[0], &s));
    return jinja_fail(v->r, ERR_USAGE, "%.*s", (int)(s.n > 600 ? 600 : s.n), s.u.s);
}

static enum status g_range(const struct invocation *v)
{
    int64_t a[3] = {0};
    size_t n = v->call->n_pos;
    if (n < 1 || n > 3 || v->call->n_kw) {
        return jinja_fail(v->r, ERR_FORMAT, "range expected 1 to 3 arguments, got %zu", n);
    }
    struct invocation args = *v;
    args.a = v->call->pos;
    for (size_t i = 0; i < n; i++) {
        TRY(jinja_int_arg(&args, (int)i, 0, &a[i]));
    }
    return n == 1 ? jinja_make_range(v->r, 0, a[0], 1, v->out)
                  : jinja_make_range(v->r, a[0], a[1], n == 3 ? a[2] : 1, v->out);
}

/* dict(mapping or pairs, **more): the base of dict() and namespace() */
static enum status build_dict(const struct invocation *v, struct dict **out)
{
    const struct call *call = v->call;
    struct dict *d = jinja_dict_new(v->r, call->n_kw);
    if (!d) {
        return jinja_no_memory(v->r);
    }
    if (call->n_pos > 1) {
        return jinja_fail(v->r, ERR_FORMAT, "dict expected at most 1 argument, got %zu",
                          call->n_pos);
    }
    struct val from = call->n_pos ? call->pos[0] : jinja_list(NULL, 0);
    if (from.kind == K_UNDEFINED) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "dict() of an undefined value");
    }
    if (from.kind == K_DICT) {
        from = (struct val){.kind = K_VIEW, .flag = F_ITEMS, .u.dict = from.u.dict};
    }
    const struct val *items, *pair;
    size_t n, two;
    TRY(jinja_items(v->r, from, &items, &n));
    for (size_t i = 0; i < n; i++) {
        TRY(jinja_items(v->r, items[i], &pair, &two));
        if (two != 2) {
            return jinja_fail(
                v->r, ERR_FORMAT,
                "dictionary update sequence element #%zu has length %zu; 2 is required", i, two);
        }
        TRY(jinja_dict_put(v->r, d, pair[0], pair[1]));
    }
    for (size_t i = 0; i < call->n_kw; i++) {
        struct str name = call->kw[i].name;
        TRY(jinja_dict_put(v->r, d, jinja_string(name.p, name.n), call->kw[i].value));
    }
    *out = d;
    return OK;
}

static enum status g_dict(const struct invocation *v)
{
    struct dict *d;
    TRY(build_dict(v, &d));
    *v->out = jinja_dict_val(d);
    return OK;
}

static enum status g_namespace(const struct invocation *v)
{
    struct dict *d;
    TRY(build_dict(v, &d));
    for (size_t i = 0; i < d->n; i++) {
        struct val key = d->pairs[i].key;
        if (key.kind == K_STR && key.n && key.u.s[0] == '_') {
            return jinja_fail(v->r, ERR_FORMAT, "a namespace attribute cannot start with '_'");
        }
    }
    *v->out = (struct val){.kind = K_NAMESPACE, .u.names = d};
    return OK;
}

static enum status g_cycler(const struct invocation *v)
{
    struct cycler *c = jinja_alloc(v->r, sizeof *c);
    if (!c) {
        return jinja_no_memory(v->r);
    }
    if (!v->call->n_pos || v->call->n_kw) {
        return jinja_fail(v->r, ERR_FORMAT, "at least one item has to be provided");
    }
    *c = (struct cycler){.items = v->call->pos, .n = v->call->n_pos};
    *v->out = (struct val){.kind = K_CYCLER, .u.cycler = c};
    return OK;
}

static enum status g_joiner(const struct invocation *v)
{
    struct joiner *j = jinja_alloc(v->r, sizeof *j);
    if (!j) {
        return jinja_no_memory(v->r);
    }
    j->sep = jinja_given(v->a[0]) ? v->a[0] : jinja_string(", ", 2);
    *v->out = (struct val){.kind = K_JOINER, .u.joiner = j};
    return OK;
}

/* datetime.now().strftime(format); what would need more than C's strftime is refused. */
static enum status g_strftime(const struct invocation *v)
{
    struct str format;
    char text[512];
    struct tm tm;
    time_t now = v->r->now ? (time_t)v->r->now : (time_t)(wall_ns() / 1000000000);
    TRY(jinja_str_arg(v, 0, STR(""), &format));
    for (size_t i = 0; i + 1 < format.n; i++) {
        if (format.p[i] == '%' && !strchr("aAbBcdHIjmMpSUwWxXyYFTDeRnt%", format.p[++i])) {
            return jinja_fail(v->r, ERR_UNSUPPORTED, "strftime_now with %%%c", format.p[i]);
        }
    }
    if (!localtime_r(&now, &tm) || format.n > 200 || memchr(format.p, 0, format.n)) {
        return jinja_fail(v->r, ERR_UNSUPPORTED, "strftime_now with this format");
    }
    char *copy = arena_strndup(&v->r->arena, format.p, format.n);
    if (!copy) {
        return jinja_no_memory(v->r);
    }
    size_t n = format.n ? strftime(text, sizeof text, copy, &tm) : 0;
    char *kept = arena_strndup(&v->r->arena, text, n);
    if (!kept) {
        return jinja_no_memory(v->r);
    }
    *v->out = jinja_string(kept, n);
    return OK;
}

static enum status g_lipsum(const struct invocation *v)
{
    return jinja_fail(v->r, ERR_UNSUPPORTED, "lipsum()");
}

static const struct function globals[] = {
    {"raise_exception", g_raise, {"message"}, 1, false, 0},
    {"strftime_now", g_strftime, {"format"}, 1, false, 0},
    {"range", g_range, {0}, 0, true, 0},
    {"dict", g_dict, {0}, 0, true, 0},
    {"namespace", g_namespace, {0}, 0, true, 0},
    {"cycler", g_cycler, {0}, 0, true, 0},
    {"joiner", g_joiner, {"sep"}, 0, false, 0},
    {"lipsum", g_lipsum, {0}, 0, true, 0},
};

const struct function *jinja_find_global(struct str name)
{
    return find(globals, sizeof globals / sizeof *globals, name);
}

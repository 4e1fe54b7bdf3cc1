/* Attributes, subscripts and calls, as jinja2's sandbox resolves them.
 *
 * `a.b` asks the object first and its items second, `a['b']` the other way round; what neither has
 * is an undefined value, and only the use of that is an error. Methods that change a list or dict
 * exist but are unsafe: they read as undefined and fail when called. What Python objects have and
 * this program does not do is ERR_UNSUPPORTED, since "undefined" would be a guess. */
#include "model/jinja_internal.h"

#include <string.h>

static struct val absent(struct val of, struct str name)
{
    return (struct val){
        .kind = K_UNDEFINED, .flag = F_MEMBER, .of = of.kind, .n = name.n, .u.s = name.p};
}

static struct val unsafe(struct val of, struct str name)
{
    return (struct val){
        .kind = K_UNDEFINED, .flag = F_UNSAFE, .of = of.kind, .n = name.n, .u.s = name.p};
}

/* ---- loop, cycler, joiner, range ---- */

static bool loop_attr(const struct loop *l, struct str name, struct val *out)
{
    int64_t at = (int64_t)l->at, n = (int64_t)l->n;
    const struct {
        struct str name;
        struct val v;
    } plain[] = {
        {STR("index"), jinja_int(at + 1)},     {STR("index0"), jinja_int(at)},
        {STR("revindex"), jinja_int(n - at)},  {STR("revindex0"), jinja_int(n - at - 1)},
        {STR("first"), jinja_bool(at == 0)},   {STR("last"), jinja_bool(at + 1 == n)},
        {STR("length"), jinja_int(n)},         {STR("depth"), jinja_int(l->depth0 + 1)},
        {STR("depth0"), jinja_int(l->depth0)},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (str_eq(plain[i].name, name)) {
            *out = plain[i].v;
            return true;
        }
    }
    if (str_eq(name, STR("previtem"))) {
        *out = at ? l->items[at - 1] : jinja_hint("there is no previous item");
        return true;
    }
    if (str_eq(name, STR("nextitem"))) {
        *out = at + 1 < n ? l->items[at + 1] : jinja_hint("there is no next item");
        return true;
    }
    return false;
}

/* Attributes that are neither methods nor items. */
static bool plain_attr(struct val v, struct str name, struct val *out)
{
    switch (v.kind) {
    case K_LOOP:
        return loop_attr(v.u.loop, name, out);
    case K_CYCLER:
        *out = v.u.cycler->items[v.u.cycler->at];
        return str_eq(name, STR("current"));
    case K_JOINER:
        *out = str_eq(name, STR("sep")) ? v.u.joiner->sep : jinja_bool(v.u.joiner->used);
        return str_eq(name, STR("sep")) || str_eq(name, STR("used"));
    case K_MACRO:
        *out =
            v.u.macro->name.n ? jinja_string(v.u.macro->name.p, v.u.macro->name.n) : jinja_none();
        return str_eq(name, STR("name"));
    case K_RANGE:
        *out = jinja_int(str_eq(name, STR("start"))  ? v.u.range->start
                         : str_eq(name, STR("stop")) ? v.u.range->stop
                                                     : v.u.range->step);
        return str_eq(name, STR("start")) || str_eq(name, STR("stop")) || str_eq(name, STR("step"));
    case K_TUPLE:
        if (v.flag == F_GROUP && str_eq(name, STR("grouper"))) {
            *out = v.u.items[0];
            return true;
        }
        if (v.flag == F_GROUP && str_eq(name, STR("list"))) {
            *out = v.u.items[1];
            return true;
        }
        return false;
    default:
        return false;
    }
}

/* getattr(v, name) in Python; *found false when it would raise AttributeError. */
static enum status python_attr(struct run *r, struct val v, struct str name, struct val *out,
                               bool *found)
{
    const struct function *row;
    *found = true;
    if (v.kind == K_NAMESPACE) {
        const struct val *item;
        TRY(jinja_dict_find(r, v.u.names, jinja_string(name.p, name.n), &item));
        *found = item != NULL;
        if (item) {
            *out = name.p[0] == '_' ? unsafe(v, name) : *item;
        }
        return OK;
    }
    if (name.n > 4 && memcmp(name.p, "__", 2) == 0 && memcmp(name.p + name.n - 2, "__", 2) == 0) {
        *out = unsafe(v, name);
        return OK;
    }
    if (plain_attr(v, name, out)) {
        return OK;
    }
    TRY(jinja_find_method(r, v, name, &row));
    if (!row) {
        *found = false;
        return OK;
    }
    if (!row->run) {
        *out = unsafe(v, name);
        return OK;
    }
    struct bound *b = jinja_alloc(r, sizeof *b);
    if (!b) {
        return jinja_no_memory(r);
    }
    *b = (struct bound){row, v};
    *out = (struct val){.kind = K_METHOD, .u.bound = b};
    return OK;
}

/* ---- subscripts ---- */

static enum status index_of(struct run *r, struct val v, int64_t i, struct val *out, bool *found)
{
    size_t n = 0;
    TRY(jinja_length(r, v, &n));
    if (i < 0) {
        i += (int64_t)n;
    }
    *found = i >= 0 && (size_t)i < n;
    if (!*found) {
        return OK;
    }
    if (v.kind == K_RANGE) {
        *out = jinja_range_at(v.u.range, (size_t)i);
    } else if (v.kind == K_STR) {
        size_t at = v.n == n ? (size_t)i : jinja_rune_offset(jinja_text(v), (size_t)i), len;
        (void)jinja_rune(v.u.s + at, v.n - at, &len);
        *out = jinja_string(v.u.s + at, len);
        out->flag = v.flag;
    } else {
        *out = v.u.items[i];
    }
    return OK;
}

/* v[key] in Python; *found false when it would raise TypeError or LookupError. */
static enum status python_item(struct run *r, struct val v, struct val key, struct val *out,
                               bool *found)
{
    *found = false;
    if (v.kind == K_DICT) {
        const struct val *item;
        if (key.kind == K_LIST || key.kind == K_DICT) {
            return OK; /* unhashable */
        }
        TRY(jinja_dict_find(r, v.u.dict, key, &item));
        if (item) {
            *out = *item;
            *found = true;
        }
        return OK;
    }
    bool indexed = v.kind == K_STR || v.kind == K_LIST || v.kind == K_TUPLE || v.kind == K_RANGE;
    if (indexed && (key.kind == K_INT || key.kind == K_BOOL)) {
        return index_of(r, v, key.kind == K_INT ? key.u.i : key.u.b, out, found);
    }
    return OK;
}

enum status jinja_getattr(struct run *r, struct val v, struct str name, struct val *out)
{
    bool found;
    if (v.kind == K_UNDEFINED) {
        return jinja_undefined_error(r, v);
    }
    TRY(python_attr(r, v, name, out, &found));
    if (!found) {
        TRY(python_item(r, v, jinja_string(name.p, name.n), out, &found));
    }
    if (!found) {
        *out = absent(v, name);
    } else if (out->kind != K_UNDEFINED && name.p[0] == '_' && v.kind != K_DICT) {
        *out = unsafe(v, name);
    }
    return OK;
}

enum status jinja_getitem(struct run *r, struct val v, struct val key, struct val *out)
{
    bool found;
    if (v.kind == K_UNDEFINED) {
        return jinja_undefined_error(r, v);
    }
    TRY(jinja_charge(r, v.kind == K_STR ? v.n : 0));
    TRY(python_item(r, v, key, out, &found));
    if (!found && key.kind == K_STR) {
        TRY(python_attr(r, v, jinja_text(key), out, &found));
    }
    if (!found && key.kind == K_STR) {
        *out = absent(v, jinja_text(key));
    } else if (!found) {
        *out = (struct val){.kind = K_UNDEFINED,
                            .flag = F_ELEMENT,
                            .of = v.kind,
                            .n = key.kind == K_INT ? (size_t)key.u.i : 0};
    }
    return OK;
}

/* "a.b.0": each part a key, or an index where it is all digits. */
static enum status get_parts(struct run *r, struct val item, struct str path, struct val fallback,
                             struct val *out)
{
    size_t from = 0;
    *out = item;
    for (size_t i = 0; i <= path.n; i++) {
        if (i < path.n && path.p[i] != '.') {
            continue;
        }
        struct str part = {path.p + from, i - from};
        bool digits = part.n > 0 && part.n < 10, too_big;
        int64_t index = 0;
        for (size_t k = 0; k < part.n; k++) {
            digits = digits && part.p[k] >= '0' && part.p[k] <= '9';
        }
        (void)(digits && jinja_parse_int(part, 10, &index, &too_big));
        TRY(jinja_getitem(r, *out, digits ? jinja_int(index) : jinja_string(part.p, part.n), out));
        if (out->kind == K_UNDEFINED && fallback.kind > K_NONE) {
            *out = fallback;
        }
        from = i + 1;
    }
    return OK;
}

enum status jinja_get_path(struct run *r, struct val item, struct val path, struct val fallback,
                           struct val *out)
{
    if (path.kind == K_MISSING || path.kind == K_NONE) {
        *out = item;
        return OK;
    }
    if (path.kind == K_STR) {
        return get_parts(r, item, jinja_text(path), fallback, out);
    }
    TRY(jinja_getitem(r, item, path, out));
    if (out->kind == K_UNDEFINED && fallback.kind > K_NONE) {
        *out = fallback;
    }
    return OK;
}

/* ---- calls ---- */

static enum status place_kwarg(struct run *r, const struct function *f, const struct kwarg *kw,
                               struct val *a)
{
    for (size_t k = 0; k < JINJA_MAX_PARAMS && f->params[k]; k++) {
        if (!str_eq(kw->name, (struct str){f->params[k], strlen(f->params[k])})) {
            continue;
        }
        if (a[k].kind != K_MISSING) {
            return jinja_fail(r, ERR_FORMAT, "%s() got multiple values for argument '%s'", f->name,
                              f->params[k]);
        }
        a[k] = kw->value;
        return OK;
    }
    return jinja_fail(r, ERR_FORMAT, "%s() got an unexpected keyword argument '%.*s'", f->name,
                      (int)kw->name.n, kw->name.p);
}

enum status jinja_invoke(struct run *r, const struct function *row, struct val self,
                         const struct call *call, struct val *out)
{
    struct val a[JINJA_MAX_PARAMS];
    size_t n = 0;
    struct invocation v = {.r = r, .row = row, .self = self, .a = a, .call = call, .out = out};
    TRY(jinja_enter(r));
    if (!row->variadic) {
        while (n < JINJA_MAX_PARAMS && row->params[n]) {
            n++;
        }
        if (call->n_pos > n) {
            return jinja_fail(r, ERR_FORMAT, "%s() takes at most %zu argument(s), %zu given",
                              row->name, n, call->n_pos);
        }
        for (size_t i = 0; i < JINJA_MAX_PARAMS; i++) {
            a[i] = i < call->n_pos ? call->pos[i] : (struct val){.kind = K_MISSING};
        }
        for (size_t i = 0; i < call->n_kw; i++) {
            TRY(place_kwarg(r, row, &call->kw[i], a));
        }
        for (size_t i = 0; i < row->required; i++) {
            if (a[i].kind == K_MISSING) {
                return jinja_fail(r, ERR_FORMAT, "%s() missing the argument '%s'", row->name,
                                  row->params[i]);
            }
        }
    }
    TRY(row->run(&v));
    r->depth--;
    return OK;
}

enum status jinja_call(struct run *r, struct val f, const struct call *call, struct val *out)
{
    switch (f.kind) {
    case K_FUNCTION:
        return jinja_invoke(r, f.u.function, f, call, out);
    case K_METHOD:
        return jinja_invoke(r, f.u.bound->row, f.u.bound->self, call, out);
    case K_MACRO:
        return jinja_call_macro(r, f.u.macro, call, out);
    case K_JOINER:
        *out = f.u.joiner->used ? f.u.joiner->sep : jinja_string("", 0);
        f.u.joiner->used = true;
        return call->n_pos || call->n_kw ? jinja_fail(r, ERR_FORMAT, "a joiner takes no arguments")
                                         : OK;
    case K_LOOP:
        return jinja_fail(r, ERR_FORMAT,
                          "The loop must have the 'recursive' marker to be called recursively.");
    case K_UNDEFINED:
        return jinja_undefined_error(r, f);
    default:
        return jinja_fail(r, ERR_FORMAT, "'%s' object is not callable", jinja_type_name(f));
    }
}

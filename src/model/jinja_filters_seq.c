/* Filters on sequences. Those that are generators in jinja2 are iterators here: nothing is computed
 * before the first use, they can be read once, and they have no length. */
#include "model/jinja_filters.h"

#include <string.h>

static const struct val missing = {.kind = K_MISSING};

static enum status give_iter(const struct invocation *v, const char *type,
                             enum status (*make)(struct run *, struct iter *))
{
    struct iter *it;
    TRY(jinja_iter_new(v->r, type, v->self, make, &it));
    it->call = *v->call;
    it->mode = v->row->tag;
    *v->out = (struct val){.kind = K_ITER, .u.iter = it};
    return OK;
}

/* A writable copy of the items of a value. */
static enum status copy_items(struct run *r, struct val v, struct val **out, size_t *n)
{
    const struct val *items;
    TRY(jinja_items(r, v, &items, n));
    *out = jinja_vals(r, *n);
    TRY(jinja_charge(r, *n));
    if (!*out) {
        return jinja_no_memory(r);
    }
    if (*n) {
        memcpy(*out, items, *n * sizeof **out);
    }
    return OK;
}

/* What items are compared by: an attribute, in lower case unless case matters. */
static enum status key_of(struct run *r, struct val item, struct val path, bool case_sensitive,
                          struct val fallback, struct val *out)
{
    TRY(jinja_get_path(r, item, path, fallback, out));
    if (!case_sensitive && out->kind == K_STR) {
        TRY(jinja_case(r, *out, CASE_LOWER, out));
    }
    return OK;
}

enum status jinja_f_length(const struct invocation *v)
{
    size_t n;
    TRY(jinja_length(v->r, v->self, &n));
    *v->out = jinja_int((int64_t)n);
    return OK;
}

enum status jinja_f_list(const struct invocation *v)
{
    const struct val *items;
    size_t n;
    TRY(jinja_items(v->r, v->self, &items, &n));
    *v->out = jinja_list(items, n);
    return OK;
}

enum status jinja_f_first(const struct invocation *v)
{
    const struct val *items;
    size_t n, before = v->self.kind == K_ITER ? v->self.u.iter->pos : 0;
    if (v->self.kind == K_STR && v->self.n) {
        (void)jinja_rune(v->self.u.s, v->self.n, &n);
        *v->out = jinja_string(v->self.u.s, n);
        return OK;
    }
    TRY(jinja_items(v->r, v->self, &items, &n));
    if (v->self.kind == K_ITER && n) {
        v->self.u.iter->pos = before + 1; /* only one was read */
    }
    *v->out = n ? items[0] : jinja_hint("No first item, sequence was empty.");
    return OK;
}

enum status jinja_f_last(const struct invocation *v)
{
    const struct val *items;
    size_t n;
    if (v->self.kind == K_ITER || v->self.kind == K_LOOP) {
        return jinja_fail(v->r, ERR_FORMAT, "'%s' object is not reversible",
                          jinja_type_name(v->self));
    }
    TRY(jinja_items(v->r, v->self, &items, &n));
    *v->out = n ? items[n - 1] : jinja_hint("No last item, sequence was empty.");
    return OK;
}

enum status jinja_join(struct run *r, struct str separator, const struct val *items, size_t n,
                       bool soft, struct val *out)
{
    struct buf b = {0};
    enum status status = OK;
    for (size_t i = 0; i < n && !status; i++) {
        struct val s = items[i];
        if (!soft && s.kind != K_STR) {
            status = jinja_fail(r, ERR_FORMAT, "sequence item %zu: expected str instance, %s found",
                                i, jinja_type_name(s));
        } else {
            status = jinja_str(r, s, &s);
        }
        if (!status && b.len > r->max_output) {
            status = jinja_fail(r, ERR_LIMIT, "a string longer than the limit of output");
        }
        if (!status) {
            buf_put(&b, separator.p, i ? separator.n : 0);
            buf_put(&b, s.u.s, s.n);
        }
    }
    if (status) {
        buf_fini(&b);
        return status;
    }
    return jinja_take(r, &b, out);
}

enum status jinja_f_join(const struct invocation *v)
{
    struct val *items, separator = jinja_string("", 0);
    size_t n;
    TRY(copy_items(v->r, v->self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        TRY(jinja_get_path(v->r, items[i], v->a[1], missing, &items[i]));
    }
    if (jinja_given(v->a[0])) {
        TRY(jinja_str(v->r, v->a[0], &separator));
    }
    return jinja_join(v->r, jinja_text(separator), items, n, true, v->out);
}

static enum status make_reversed(struct run *r, struct iter *it)
{
    struct val *items;
    TRY(copy_items(r, it->source, &items, &it->n));
    for (size_t i = 0; i < it->n / 2; i++) {
        struct val t = items[i];
        items[i] = items[it->n - 1 - i];
        items[it->n - 1 - i] = t;
    }
    it->items = items;
    return OK;
}

enum status jinja_f_reverse(const struct invocation *v)
{
    if (v->self.kind == K_STR) {
        return jinja_slice(v->r, v->self, jinja_none(), jinja_none(), jinja_int(-1), v->out);
    }
    if (!jinja_iterable(v->self)) {
        return jinja_fail(v->r, ERR_FORMAT, "argument must be iterable");
    }
    TRY(give_iter(v, v->self.kind == K_LIST ? "list_reverseiterator" : "reversed", make_reversed));
    if (v->self.kind == K_ITER) { /* cannot be reversed, so jinja2 makes a list of it */
        struct iter *it = v->out->u.iter;
        it->make = NULL;
        TRY(make_reversed(v->r, it));
        *v->out = jinja_list(it->items, it->n);
    }
    return OK;
}

static enum status make_items(struct run *r, struct iter *it)
{
    if (it->source.kind == K_UNDEFINED) {
        return OK;
    }
    if (it->source.kind != K_DICT) {
        return jinja_fail(r, ERR_FORMAT, "Can only get item pairs from a mapping.");
    }
    struct val view = {.kind = K_VIEW, .flag = F_ITEMS, .u.dict = it->source.u.dict};
    return jinja_items(r, view, &it->items, &it->n);
}

enum status jinja_f_items(const struct invocation *v)
{
    return give_iter(v, "generator", make_items);
}

enum status jinja_f_sum(const struct invocation *v)
{
    const struct val *items;
    size_t n;
    struct val total = jinja_given(v->a[1]) ? v->a[1] : jinja_int(0);
    TRY(jinja_items(v->r, v->self, &items, &n));
    if (total.kind == K_STR) {
        return jinja_fail(v->r, ERR_FORMAT, "sum() can't sum strings");
    }
    for (size_t i = 0; i < n; i++) {
        struct val item;
        TRY(jinja_get_path(v->r, items[i], v->a[0], missing, &item));
        TRY(jinja_binary(v->r, T_ADD, total, item, &total));
    }
    *v->out = total;
    return OK;
}

enum status jinja_f_extreme(const struct invocation *v)
{
    const struct val *items;
    size_t n, best = 0;
    struct val best_key, key;
    bool case_sensitive, better;
    TRY(jinja_bool_arg(v, 0, &case_sensitive));
    TRY(jinja_items(v->r, v->self, &items, &n));
    if (n == 0) {
        *v->out = jinja_hint("No aggregated item, sequence was empty.");
        return OK;
    }
    TRY(key_of(v->r, items[0], v->a[1], case_sensitive, missing, &best_key));
    for (size_t i = 1; i < n; i++) {
        TRY(key_of(v->r, items[i], v->a[1], case_sensitive, missing, &key));
        TRY(jinja_less(v->r, key, best_key, v->row->tag ? T_GT : T_LT, &better));
        if (better) {
            best = i;
            best_key = key;
        }
    }
    *v->out = items[best];
    return OK;
}

/* ---- order ---- */

/* sort(attribute="a,b") compares lists of the attributes, so equal parts are never ordered. */
static enum status sort_key(struct run *r, struct val item, struct val path, bool case_sensitive,
                            struct val *out)
{
    size_t n = 1, from = 0;
    for (size_t i = 0; path.kind == K_STR && i < path.n; i++) {
        n += path.u.s[i] == ',';
    }
    struct val *parts = jinja_vals(r, n);
    if (!parts) {
        return jinja_no_memory(r);
    }
    for (size_t k = 0; k < n; k++) {
        struct val part = path;
        if (path.kind == K_STR) {
            size_t to = jinja_find(jinja_text(path), STR(","), from);
            to = to == SIZE_MAX ? path.n : to;
            part = jinja_string(path.u.s + from, to - from);
            from = to + 1;
        }
        TRY(key_of(r, item, part, case_sensitive, missing, &parts[k]));
    }
    *out = jinja_list(parts, n);
    return OK;
}

enum status jinja_f_sort(const struct invocation *v)
{
    struct val *items;
    size_t n;
    bool reverse, case_sensitive;
    TRY(jinja_bool_arg(v, 0, &reverse));
    TRY(jinja_bool_arg(v, 1, &case_sensitive));
    TRY(copy_items(v->r, v->self, &items, &n));
    struct val *keys = jinja_vals(v->r, n);
    if (!keys) {
        return jinja_no_memory(v->r);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(sort_key(v->r, items[i], v->a[2], case_sensitive, &keys[i]));
    }
    TRY(jinja_sort(v->r, items, keys, n, reverse));
    *v->out = jinja_list(items, n);
    return OK;
}

enum status jinja_f_dictsort(const struct invocation *v)
{
    bool case_sensitive, reverse;
    struct str by;
    struct val *items;
    size_t n;
    TRY(jinja_bool_arg(v, 0, &case_sensitive));
    TRY(jinja_str_arg(v, 1, STR("key"), &by));
    TRY(jinja_bool_arg(v, 2, &reverse));
    bool value = str_eq(by, STR("value"));
    if (!value && !str_eq(by, STR("key"))) {
        return jinja_fail(v->r, ERR_FORMAT, "You can only sort by either \"key\" or \"value\"");
    }
    if (v->self.kind != K_DICT) {
        return v->self.kind == K_UNDEFINED
                   ? jinja_undefined_error(v->r, v->self)
                   : jinja_fail(v->r, ERR_FORMAT, "'%s' object has no attribute 'items'",
                                jinja_type_name(v->self));
    }
    struct val view = {.kind = K_VIEW, .flag = F_ITEMS, .u.dict = v->self.u.dict};
    TRY(copy_items(v->r, view, &items, &n));
    struct val *keys = jinja_vals(v->r, n);
    if (!keys) {
        return jinja_no_memory(v->r);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(key_of(v->r, items[i].u.items[value], missing, case_sensitive, missing, &keys[i]));
    }
    TRY(jinja_sort(v->r, items, keys, n, reverse));
    *v->out = jinja_list(items, n);
    return OK;
}

enum status jinja_f_groupby(const struct invocation *v)
{
    struct val *items, *keys, *groups;
    size_t n, n_groups = 0;
    bool case_sensitive;
    TRY(jinja_bool_arg(v, 2, &case_sensitive));
    TRY(copy_items(v->r, v->self, &items, &n));
    keys = jinja_vals(v->r, n);
    groups = jinja_vals(v->r, n);
    if (!keys || !groups) {
        return jinja_no_memory(v->r);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(key_of(v->r, items[i], v->a[0], case_sensitive, v->a[1], &keys[i]));
    }
    TRY(jinja_sort(v->r, items, keys, n, false));
    for (size_t from = 0, to; from < n; from = to) {
        bool same = true;
        for (to = from + 1; to < n; to++) {
            TRY(jinja_equal(v->r, keys[from], keys[to], &same));
            if (!same) {
                break;
            }
        }
        struct val *group = jinja_vals(v->r, 2);
        if (!group) {
            return jinja_no_memory(v->r);
        }
        TRY(jinja_get_path(v->r, items[from], v->a[0], v->a[1], &group[0]));
        group[1] = jinja_list(items + from, to - from);
        groups[n_groups++] =
            (struct val){.kind = K_TUPLE, .flag = F_GROUP, .n = 2, .u.items = group};
    }
    *v->out = jinja_list(groups, n_groups);
    return OK;
}

static enum status make_unique(struct run *r, struct iter *it)
{
    const struct val *source;
    size_t n;
    struct val path = missing;
    bool case_sensitive = false;
    for (size_t i = 0; i < it->call.n_pos; i++) {
        if (i == 0) {
            TRY(jinja_truth(r, it->call.pos[0], &case_sensitive));
        } else {
            path = it->call.pos[1];
        }
    }
    for (size_t i = 0; i < it->call.n_kw; i++) {
        if (str_eq(it->call.kw[i].name, STR("attribute"))) {
            path = it->call.kw[i].value;
        } else {
            TRY(jinja_truth(r, it->call.kw[i].value, &case_sensitive));
        }
    }
    TRY(jinja_items(r, it->source, &source, &n));
    struct val *kept = jinja_vals(r, n);
    struct dict *seen = jinja_dict_new(r, 0);
    if (!kept || !seen) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < n; i++) {
        struct val key;
        const struct val *found;
        TRY(key_of(r, source[i], path, case_sensitive, missing, &key));
        TRY(jinja_hashable(r, key));
        TRY(jinja_dict_find(r, seen, key, &found));
        if (!found) {
            TRY(jinja_dict_put(r, seen, key, jinja_none()));
            kept[it->n++] = source[i];
        }
    }
    it->items = kept;
    return OK;
}

enum status jinja_f_unique(const struct invocation *v)
{
    return give_iter(v, "generator", make_unique);
}

/* ---- batch, slice ---- */

static enum status sized_arg(struct run *r, const struct call *call, const char *name,
                             int64_t *size, struct val *fill)
{
    struct val a[2] = {missing, missing};
    for (size_t i = 0; i < call->n_pos && i < 2; i++) {
        a[i] = call->pos[i];
    }
    for (size_t i = 0; i < call->n_kw; i++) {
        a[!str_eq(call->kw[i].name, (struct str){name, strlen(name)})] = call->kw[i].value;
    }
    if (a[0].kind != K_INT || a[0].u.i <= 0 || a[0].u.i > JINJA_MAX_RANGE) {
        return jinja_fail(r, a[0].kind == K_INT ? ERR_UNSUPPORTED : ERR_FORMAT,
                          "%s must be a number from 1 to %d", name, JINJA_MAX_RANGE);
    }
    *size = a[0].u.i;
    *fill = a[1].kind == K_MISSING ? jinja_none() : a[1];
    return OK;
}

/* items[from, to) as a list, with `fills` times `fill` behind. */
static enum status chunk(struct run *r, const struct val *items, size_t n, struct val fill,
                         size_t fills, struct val *out)
{
    struct val *list = jinja_vals(r, n + fills);
    TRY(jinja_charge(r, n + fills));
    if (!list) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < n + fills; i++) {
        list[i] = i < n ? items[i] : fill;
    }
    *out = jinja_list(list, n + fills);
    return OK;
}

static enum status make_batch(struct run *r, struct iter *it)
{
    const struct val *items;
    size_t n;
    int64_t size;
    struct val fill;
    TRY(sized_arg(r, &it->call, "linecount", &size, &fill));
    TRY(jinja_items(r, it->source, &items, &n));
    size_t per = (size_t)size, rows = (n + per - 1) / per;
    struct val *out = jinja_vals(r, rows);
    if (!out) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < rows; i++) {
        size_t have = n - i * per < per ? n - i * per : per;
        TRY(chunk(r, items + i * per, have, fill, fill.kind == K_NONE ? 0 : per - have, &out[i]));
    }
    it->items = out;
    it->n = rows;
    return OK;
}

enum status jinja_f_batch(const struct invocation *v)
{
    return give_iter(v, "generator", make_batch);
}

static enum status make_slice(struct run *r, struct iter *it)
{
    const struct val *items;
    size_t n, from = 0;
    int64_t size;
    struct val fill;
    TRY(sized_arg(r, &it->call, "slices", &size, &fill));
    TRY(jinja_items(r, it->source, &items, &n));
    size_t slices = (size_t)size, extra = n % slices;
    struct val *out = jinja_vals(r, slices);
    if (!out) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < slices; i++) {
        size_t have = n / slices + (i < extra);
        TRY(chunk(r, from ? items + from : items, have, fill, fill.kind != K_NONE && i >= extra,
                  &out[i]));
        from += have;
    }
    it->items = out;
    it->n = slices;
    return OK;
}

enum status jinja_f_slice(const struct invocation *v)
{
    return give_iter(v, "generator", make_slice);
}

/* ---- map, select ---- */

static const struct kwarg *keyword(const struct call *call, struct str name)
{
    for (size_t i = 0; i < call->n_kw; i++) {
        if (str_eq(call->kw[i].name, name)) {
            return &call->kw[i];
        }
    }
    return NULL;
}

/* The filter or test that the at-th argument names; the arguments after it are *rest. */
static enum status named_row(struct run *r, const struct call *call, size_t at, bool test,
                             const struct function **row, struct call *rest)
{
    struct val name = call->pos[at];
    *rest = *call;
    rest->pos += at + 1;
    rest->n_pos -= at + 1;
    if (name.kind != K_STR) {
        return jinja_fail(r, ERR_FORMAT, "the name of a filter or test must be a string");
    }
    *row = test ? jinja_find_test(jinja_text(name)) : jinja_find_filter(jinja_text(name));
    if (!*row) {
        bool known = !test && jinja_known_filter(jinja_text(name));
        return jinja_fail(r, known ? ERR_UNSUPPORTED : ERR_FORMAT, "No %s named '%.*s'.",
                          test ? "test" : "filter", name.n > 100 ? 100 : (int)name.n, name.u.s);
    }
    return OK;
}

static enum status map_attribute(struct run *r, struct iter *it, struct val *items, size_t n)
{
    const struct kwarg *path = keyword(&it->call, STR("attribute"));
    const struct kwarg *fallback = keyword(&it->call, STR("default"));
    if (it->call.n_kw > (fallback ? 2u : 1u)) {
        return jinja_fail(r, ERR_FORMAT, "Unexpected keyword argument of map");
    }
    for (size_t i = 0; i < n; i++) {
        TRY(jinja_get_path(r, items[i], path->value, fallback ? fallback->value : missing,
                           &items[i]));
    }
    return OK;
}

static enum status make_map(struct run *r, struct iter *it)
{
    struct val *items;
    size_t n;
    bool any;
    TRY(jinja_truth(r, it->source, &any));
    if (!any) {
        return OK;
    }
    if (it->call.n_pos == 0 && !keyword(&it->call, STR("attribute"))) {
        return jinja_fail(r, ERR_FORMAT, "map requires a filter argument");
    }
    TRY(copy_items(r, it->source, &items, &n));
    if (it->call.n_pos == 0) {
        TRY(map_attribute(r, it, items, n));
    } else if (n) {
        const struct function *row;
        struct call rest;
        TRY(named_row(r, &it->call, 0, false, &row, &rest));
        for (size_t i = 0; i < n; i++) {
            struct val v;
            TRY(jinja_invoke(r, row, items[i], &rest, &v));
            items[i] = v;
        }
    }
    it->items = items;
    it->n = n;
    return OK;
}

enum status jinja_f_map(const struct invocation *v)
{
    return give_iter(v, "generator", make_map);
}

static enum status make_select(struct run *r, struct iter *it)
{
    const struct function *row = NULL;
    struct call rest;
    const struct val *items;
    size_t n, at = it->mode & SELECT_ATTR ? 1 : 0;
    bool any;
    TRY(jinja_truth(r, it->source, &any));
    if (!any) {
        return OK;
    }
    if (it->call.n_pos < at) {
        return jinja_fail(r, ERR_FORMAT, "Missing parameter for attribute name");
    }
    TRY(jinja_items(r, it->source, &items, &n));
    if (it->call.n_pos > at && n) {
        TRY(named_row(r, &it->call, at, true, &row, &rest));
    }
    struct val *kept = jinja_vals(r, n);
    if (!kept) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < n; i++) {
        struct val v = items[i];
        bool yes;
        if (at) {
            TRY(jinja_get_path(r, v, it->call.pos[0], missing, &v));
        }
        if (row) {
            TRY(jinja_invoke(r, row, v, &rest, &v));
        }
        TRY(jinja_truth(r, v, &yes));
        if (yes == !(it->mode & SELECT_REJECT)) {
            kept[it->n++] = items[i];
        }
    }
    it->items = kept;
    return OK;
}

enum status jinja_f_select(const struct invocation *v)
{
    return give_iter(v, "generator", make_select);
}

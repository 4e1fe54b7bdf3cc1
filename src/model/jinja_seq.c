/* Sequences, dicts and iteration.
 *
 * A dict keeps its pairs in order of insertion, in an array; above eight pairs an index of 32-bit
 * positions is kept beside it. A pair is two values in a row, so that items() are tuples into the
 * array without copies. */
#include "model/jinja_internal.h"

#include <math.h>
#include <string.h>

enum { INDEX_FROM = 8 };

_Static_assert(sizeof(struct pair) == 2 * sizeof(struct val), "a pair is a tuple of two");

/* ---- dicts ---- */

enum status jinja_hashable(struct run *r, struct val v)
{
    if (v.kind == K_LIST || v.kind == K_DICT || v.kind == K_VIEW) {
        return jinja_fail(r, ERR_FORMAT, "unhashable type: '%s'", jinja_type_name(v));
    }
    if (v.kind == K_TUPLE) {
        TRY(jinja_enter(r));
        for (size_t i = 0; i < v.n; i++) {
            TRY(jinja_hashable(r, v.u.items[i]));
        }
        r->depth--;
    }
    return OK;
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDu;
    return h ^ h >> 33;
}

/* Equal values hash alike: 1, 1.0 and true are one key. Only called for hashable values. */
static uint64_t hash(struct val v)
{
    uint64_t h = 14695981039346656037u;
    switch (v.kind) {
    case K_BOOL:
        return mix(v.u.b);
    case K_INT:
        return mix((uint64_t)v.u.i);
    case K_FLOAT:
        if (v.u.f == floor(v.u.f) && fabs(v.u.f) < 9e18) {
            return mix((uint64_t)(int64_t)v.u.f);
        }
        memcpy(&h, &v.u.f, sizeof h);
        return mix(h);
    case K_STR:
        for (size_t i = 0; i < v.n; i++) {
            h = (h ^ (unsigned char)v.u.s[i]) * 1099511628211u;
        }
        return mix(h);
    case K_TUPLE:
        return mix(v.n); /* rare enough */
    default:
        return mix(v.kind);
    }
}

struct dict *jinja_dict_new(struct run *r, size_t expected)
{
    struct dict *d = jinja_alloc(r, sizeof *d);
    if (d && expected) {
        d->pairs = arena_array(&r->arena, expected, sizeof *d->pairs);
        d->cap = expected;
    }
    return d && (d->pairs || !expected) ? d : NULL;
}

struct val jinja_dict_val(const struct dict *d)
{
    return (struct val){.kind = K_DICT, .u.dict = d};
}

/* The pair of `key` or NULL; *slot is where the index would hold it. */
static enum status find_pair(struct run *r, const struct dict *d, struct val key, struct pair **out,
                             size_t *slot)
{
    bool same = false;
    *out = NULL;
    *slot = 0;
    if (!d->index) {
        for (size_t i = 0; i < d->n; i++) {
            TRY(jinja_equal(r, d->pairs[i].key, key, &same));
            if (same) {
                *out = &d->pairs[i];
                return OK;
            }
        }
        return OK;
    }
    size_t at = hash(key) & (d->index_cap - 1);
    for (; d->index[at]; at = (at + 1) & (d->index_cap - 1)) {
        struct pair *p = &d->pairs[d->index[at] - 1];
        TRY(jinja_equal(r, p->key, key, &same));
        if (same) {
            *out = p;
            break;
        }
    }
    *slot = at;
    return OK;
}

enum status jinja_dict_find(struct run *r, const struct dict *d, struct val key,
                            const struct val **out)
{
    struct pair *p;
    size_t slot;
    TRY(find_pair(r, d, key, &p, &slot));
    *out = p ? &p->value : NULL;
    return OK;
}

static enum status reindex(struct run *r, struct dict *d)
{
    size_t cap = d->index_cap ? d->index_cap * 2 : INDEX_FROM * 4;
    uint32_t *index = arena_array(&r->arena, cap, sizeof *index);
    if (!index || d->n >= UINT32_MAX / 2) {
        return jinja_no_memory(r);
    }
    TRY(jinja_charge(r, cap));
    for (size_t i = 0; i < d->n; i++) {
        size_t at = hash(d->pairs[i].key) & (cap - 1);
        while (index[at]) {
            at = (at + 1) & (cap - 1);
        }
        index[at] = (uint32_t)i + 1;
    }
    d->index = index;
    d->index_cap = cap;
    return OK;
}

enum status jinja_dict_put(struct run *r, struct dict *d, struct val key, struct val value)
{
    struct pair *p;
    size_t slot;
    TRY(jinja_hashable(r, key));
    TRY(find_pair(r, d, key, &p, &slot));
    if (p) {
        p->value = value;
        return OK;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        struct pair *pairs = arena_array(&r->arena, cap, sizeof *pairs);
        if (!pairs) {
            return jinja_no_memory(r);
        }
        if (d->n) {
            memcpy(pairs, d->pairs, d->n * sizeof *pairs);
        }
        d->pairs = pairs;
        d->cap = cap;
    }
    d->pairs[d->n++] = (struct pair){key, value};
    if (d->n > INDEX_FROM && d->n * 2 > d->index_cap) {
        return reindex(r, d);
    }
    if (d->index) {
        d->index[slot] = (uint32_t)d->n;
    }
    return OK;
}

static enum status object_from_json(struct run *r, const json_t *j, struct val *out)
{
    struct dict *d = jinja_dict_new(r, json_object_size(j));
    if (!d) {
        return jinja_no_memory(r);
    }
    void *at = json_object_iter((json_t *)(uintptr_t)j); /* jansson's iterators are not const */
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)j, at)) {
        struct val v;
        TRY(jinja_from_json(r, json_object_iter_value(at), &v));
        TRY(jinja_dict_put(
            r, d, jinja_string(json_object_iter_key(at), json_object_iter_key_len(at)), v));
    }
    *out = jinja_dict_val(d);
    return OK;
}

static enum status array_from_json(struct run *r, const json_t *j, struct val *out)
{
    size_t n = json_array_size(j);
    struct val *items = jinja_vals(r, n);
    if (!items) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(jinja_from_json(r, json_array_get(j, i), &items[i]));
    }
    *out = jinja_list(items, n);
    return OK;
}

/* Strings stay where jansson has them: the caller's variables outlive the render. */
enum status jinja_from_json(struct run *r, const json_t *j, struct val *out)
{
    TRY(jinja_charge(r, 0));
    switch (json_typeof(j)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        TRY(jinja_enter(r));
        TRY(json_is_object(j) ? object_from_json(r, j, out) : array_from_json(r, j, out));
        r->depth--;
        return OK;
    case JSON_STRING:
        *out = jinja_string(json_string_value(j), json_string_length(j));
        return OK;
    case JSON_INTEGER:
        *out = jinja_int(json_integer_value(j));
        return OK;
    case JSON_REAL:
        *out = jinja_float(json_real_value(j));
        return OK;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = jinja_bool(json_is_true(j));
        return OK;
    case JSON_NULL:
        break;
    }
    *out = jinja_none();
    return OK;
}

/* ---- iteration ---- */

struct val jinja_range_at(const struct range *g, size_t i)
{
    return jinja_int(g->start + (int64_t)i * g->step);
}

enum status jinja_make_range(struct run *r, int64_t start, int64_t stop, int64_t step,
                             struct val *out)
{
    uint64_t span = 0, n = 0;
    if (step == 0) {
        return jinja_fail(r, ERR_FORMAT, "range() arg 3 must not be zero");
    }
    if (step > 0 && start < stop) {
        span = (uint64_t)stop - (uint64_t)start;
        n = (span - 1) / (uint64_t)step + 1;
    } else if (step < 0 && start > stop) {
        span = (uint64_t)start - (uint64_t)stop;
        n = (span - 1) / (0 - (uint64_t)step) + 1;
    }
    if (n > JINJA_MAX_RANGE) {
        return jinja_fail(r, ERR_FORMAT,
                          "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                          JINJA_MAX_RANGE);
    }
    struct range *g = jinja_alloc(r, sizeof *g);
    if (!g) {
        return jinja_no_memory(r);
    }
    *g = (struct range){start, stop, step, (size_t)n};
    *out = (struct val){.kind = K_RANGE, .u.range = g};
    return OK;
}

enum status jinja_iter_new(struct run *r, const char *type, struct val source,
                           enum status (*make)(struct run *, struct iter *), struct iter **out)
{
    struct iter *it = jinja_alloc(r, sizeof *it);
    if (!it) {
        return jinja_no_memory(r);
    }
    *it = (struct iter){.make = make, .type = type, .source = source};
    *out = it;
    return OK;
}

enum status jinja_length(struct run *r, struct val v, size_t *out)
{
    switch (v.kind) {
    case K_UNDEFINED:
        *out = 0;
        return OK;
    case K_STR:
        TRY(jinja_charge(r, v.n));
        *out = jinja_rune_count(jinja_text(v));
        return OK;
    case K_LIST:
    case K_TUPLE:
        *out = v.n;
        return OK;
    case K_DICT:
    case K_VIEW:
        *out = v.u.dict->n;
        return OK;
    case K_RANGE:
        *out = v.u.range->n;
        return OK;
    case K_LOOP:
        *out = v.u.loop->n;
        return OK;
    default:
        return jinja_fail(r, ERR_FORMAT, "object of type '%s' has no len()", jinja_type_name(v));
    }
}

bool jinja_iterable(struct val v)
{
    return v.kind == K_UNDEFINED || v.kind == K_STR || v.kind == K_LIST || v.kind == K_TUPLE ||
           v.kind == K_DICT || v.kind == K_VIEW || v.kind == K_RANGE || v.kind == K_ITER ||
           v.kind == K_LOOP;
}

static enum status characters(struct run *r, struct val v, const struct val **items, size_t *n)
{
    size_t count;
    TRY(jinja_length(r, v, &count));
    struct val *chars = jinja_vals(r, count);
    TRY(jinja_charge(r, 16 * count));
    if (!chars) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0, at = 0, len; i < count; i++, at += len) {
        (void)jinja_rune(v.u.s + at, v.n - at, &len);
        chars[i] = jinja_string(v.u.s + at, len);
    }
    *items = chars;
    *n = count;
    return OK;
}

static enum status pairs_of(struct run *r, const struct dict *d, uint8_t which,
                            const struct val **items, size_t *n)
{
    struct val *list = jinja_vals(r, d->n);
    TRY(jinja_charge(r, 8 * d->n));
    if (!list) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < d->n; i++) {
        list[i] = which == F_KEYS     ? d->pairs[i].key
                  : which == F_VALUES ? d->pairs[i].value
                                      : (struct val){.kind = K_TUPLE,
                                                     .n = 2,
                                                     .u.items = (const struct val *)&d->pairs[i]};
    }
    *items = list;
    *n = d->n;
    return OK;
}

static enum status numbers(struct run *r, const struct range *g, const struct val **items,
                           size_t *n)
{
    struct val *list = jinja_vals(r, g->n);
    TRY(jinja_charge(r, 8 * g->n));
    if (!list) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < g->n; i++) {
        list[i] = jinja_range_at(g, i);
    }
    *items = list;
    *n = g->n;
    return OK;
}

static enum status prepare(struct run *r, struct iter *it)
{
    enum status (*make)(struct run *, struct iter *) = it->make;
    it->make = NULL;
    return make ? make(r, it) : OK;
}

enum status jinja_items(struct run *r, struct val v, const struct val **items, size_t *n)
{
    switch (v.kind) {
    case K_UNDEFINED:
        *items = NULL;
        *n = 0;
        return OK;
    case K_STR:
        return characters(r, v, items, n);
    case K_LIST:
    case K_TUPLE:
        *items = v.u.items;
        *n = v.n;
        return OK;
    case K_DICT:
        return pairs_of(r, v.u.dict, F_KEYS, items, n);
    case K_VIEW:
        return pairs_of(r, v.u.dict, v.flag, items, n);
    case K_RANGE:
        return numbers(r, v.u.range, items, n);
    case K_ITER:
        TRY(prepare(r, v.u.iter));
        *items = v.u.iter->items ? v.u.iter->items + v.u.iter->pos : NULL;
        *n = v.u.iter->n - v.u.iter->pos;
        v.u.iter->pos = v.u.iter->n;
        return OK;
    case K_LOOP:
        return jinja_fail(r, ERR_UNSUPPORTED, "iterating over 'loop'");
    default:
        return jinja_fail(r, ERR_FORMAT, "'%s' object is not iterable", jinja_type_name(v));
    }
}

enum status jinja_contains(struct run *r, struct val item, struct val in, bool *out)
{
    const struct val *items;
    size_t n;
    *out = false;
    if (in.kind == K_STR) {
        if (item.kind != K_STR) {
            return item.kind == K_UNDEFINED
                       ? jinja_fail(r, ERR_FORMAT,
                                    "'in <string>' requires string as left "
                                    "operand, not Undefined")
                       : jinja_fail(r, ERR_FORMAT,
                                    "'in <string>' requires string as left operand, not %s",
                                    jinja_type_name(item));
        }
        TRY(jinja_charge(r, in.n));
        *out = jinja_find(jinja_text(in), jinja_text(item), 0) != SIZE_MAX;
        return OK;
    }
    if (in.kind == K_DICT || (in.kind == K_VIEW && in.flag == F_KEYS)) {
        const struct val *found;
        TRY(jinja_hashable(r, item));
        TRY(jinja_dict_find(r, in.u.dict, item, &found));
        *out = found != NULL;
        return OK;
    }
    if (!jinja_iterable(in)) {
        return jinja_fail(r, ERR_FORMAT, "argument of type '%s' is not iterable",
                          jinja_type_name(in));
    }
    TRY(jinja_items(r, in, &items, &n));
    for (size_t i = 0; i < n && !*out; i++) {
        TRY(jinja_equal(r, items[i], item, out));
        if (*out && in.kind == K_ITER) { /* what comes after it can still be read */
            in.u.iter->pos = in.u.iter->n - (n - i - 1);
        }
    }
    return OK;
}

/* ---- order ---- */

/* Merge sort: stable, n log n whatever the input. Descending order keeps equal items in place. */
static enum status merge(struct run *r, struct val *v[2], struct val *t[2], size_t n, bool reverse)
{
    if (n < 2) {
        return OK;
    }
    size_t half = n / 2, i = 0, j = half, k = 0;
    struct val *right[2] = {v[0] + half, v[1] + half};
    TRY(jinja_charge(r, 16 * n));
    TRY(merge(r, v, t, half, reverse));
    TRY(merge(r, right, t, n - half, reverse));
    while (i < half && j < n) {
        bool take_right;
        TRY(reverse ? jinja_less(r, v[1][i], v[1][j], T_LT, &take_right)
                    : jinja_less(r, v[1][j], v[1][i], T_LT, &take_right));
        size_t from = take_right ? j++ : i++;
        t[0][k] = v[0][from];
        t[1][k++] = v[1][from];
    }
    for (; i < half; i++, k++) {
        t[0][k] = v[0][i];
        t[1][k] = v[1][i];
    }
    memcpy(v[0], t[0], k * sizeof **t);
    memcpy(v[1], t[1], k * sizeof **t);
    return OK;
}

enum status jinja_sort(struct run *r, struct val *items, struct val *keys, size_t n, bool reverse)
{
    struct val *v[2] = {items, keys}, *t[2] = {jinja_vals(r, n), jinja_vals(r, n)};
    if (!t[0] || !t[1]) {
        return jinja_no_memory(r);
    }
    return merge(r, v, t, n, reverse);
}

/* ---- slices ---- */

static enum status slice_bound(struct run *r, struct val v, int64_t n, int64_t missing, int64_t low,
                               int64_t high, int64_t *out)
{
    if (v.kind == K_NONE) {
        *out = missing;
        return OK;
    }
    if (v.kind != K_INT && v.kind != K_BOOL) {
        return jinja_fail(r, ERR_FORMAT,
                          "slice indices must be integers or None or have an __index__ method");
    }
    int64_t i = v.kind == K_BOOL ? v.u.b : v.u.i;
    if (i < 0) {
        i = i < -n ? -1 : i + n;
        *out = i < low ? low : i;
        return OK;
    }
    *out = i > high ? high : i;
    return OK;
}

static enum status slice_text(struct run *r, struct val v, int64_t start, int64_t step, size_t n,
                              struct val *out)
{
    struct str s = jinja_text(v);
    struct buf b = {0};
    TRY(jinja_charge(r, s.n));
    if (step == 1) {
        size_t from = jinja_rune_offset(s, (size_t)start);
        size_t len = jinja_rune_offset((struct str){s.p + from, s.n - from}, n);
        *out = jinja_string(s.p + from, len);
        out->flag = v.flag;
        return OK;
    }
    const struct val *chars;
    size_t n_chars;
    TRY(characters(r, v, &chars, &n_chars));
    for (size_t i = 0; i < n; i++) {
        const struct val *c = &chars[start + (int64_t)i * step];
        buf_put(&b, c->u.s, c->n);
    }
    TRY(jinja_take(r, &b, out));
    out->flag = v.flag;
    return OK;
}

static enum status slice_range(struct run *r, const struct range *g, int64_t start, int64_t stop,
                               int64_t step, struct val *out)
{
    int64_t from, to, by;
    if (__builtin_mul_overflow(start, g->step, &from) ||
        __builtin_add_overflow(from, g->start, &from) ||
        __builtin_mul_overflow(stop, g->step, &to) || __builtin_add_overflow(to, g->start, &to) ||
        __builtin_mul_overflow(step, g->step, &by)) {
        return jinja_fail(r, ERR_UNSUPPORTED, "an integer beyond 64 bits");
    }
    return jinja_make_range(r, from, to, by, out);
}

enum status jinja_slice(struct run *r, struct val v, struct val from, struct val to, struct val by,
                        struct val *out)
{
    size_t length;
    int64_t step = 1, start = 0, stop = 0, count = 0;
    if (v.kind == K_UNDEFINED) {
        return jinja_undefined_error(r, v);
    }
    if (v.kind != K_STR && v.kind != K_LIST && v.kind != K_TUPLE && v.kind != K_RANGE) {
        return jinja_fail(r, ERR_FORMAT,
                          v.kind == K_DICT ? "unhashable type: 'slice' (%s)"
                                           : "'%s' object is not subscriptable",
                          jinja_type_name(v));
    }
    TRY(jinja_length(r, v, &length));
    int64_t n = (int64_t)length;
    TRY(slice_bound(r, by, 0, 1, INT64_MIN, INT64_MAX, &step));
    if (by.kind == K_INT) {
        step = by.u.i;
    }
    if (step == 0) {
        return jinja_fail(r, ERR_FORMAT, "slice step cannot be zero");
    }
    bool up = step > 0;
    if (step > n + 1 || step < -(n + 1)) { /* as good, and it cannot overflow below */
        step = up ? n + 1 : -(n + 1);
    }
    TRY(slice_bound(r, from, n, up ? 0 : n - 1, up ? 0 : -1, up ? n : n - 1, &start));
    TRY(slice_bound(r, to, n, up ? n : -1, up ? 0 : -1, up ? n : n - 1, &stop));
    if (up && start < stop) {
        count = (stop - start - 1) / step + 1;
    } else if (!up && start > stop) {
        count = (start - stop - 1) / -step + 1;
    }
    if (v.kind == K_STR) {
        return slice_text(r, v, start, step, (size_t)count, out);
    }
    if (v.kind == K_RANGE) {
        return slice_range(r, v.u.range, start, stop, step, out);
    }
    *out = (struct val){.kind = v.kind, .n = (size_t)count};
    if (step == 1 || count == 0) {
        out->u.items = count ? v.u.items + start : NULL;
        return OK;
    }
    struct val *items = jinja_vals(r, (size_t)count);
    TRY(jinja_charge(r, 16 * (size_t)count));
    if (!items) {
        return jinja_no_memory(r);
    }
    for (int64_t i = 0; i < count; i++) {
        items[i] = v.u.items[start + i * step];
    }
    out->u.items = items;
    return OK;
}

/* Expressions: a walk of the tree, with Python's operators.
 *
 * Integers are 64 bits wide; where Python would go on with a wider one the answer is
 * ERR_UNSUPPORTED, never a wrapped number. */
#include "model/jinja_internal.h"

#include <math.h>
#include <string.h>

static enum status too_wide(struct run *r)
{
    return jinja_fail(r, ERR_UNSUPPORTED, "an integer beyond 64 bits");
}

static enum status bad_operands(struct run *r, const char *op, struct val a, struct val b)
{
    if (a.kind == K_UNDEFINED) {
        return jinja_undefined_error(r, a);
    }
    if (b.kind == K_UNDEFINED) {
        return jinja_undefined_error(r, b);
    }
    return jinja_fail(r, ERR_FORMAT, "unsupported operand type(s) for %s: '%s' and '%s'", op,
                      jinja_type_name(a), jinja_type_name(b));
}

/* ---- arithmetic ---- */

static int64_t as_int(struct val v)
{
    return v.kind == K_BOOL ? v.u.b : v.u.i;
}

static double as_float(struct val v)
{
    return v.kind == K_FLOAT ? v.u.f : (double)as_int(v);
}

static enum status int_power(struct run *r, int64_t a, int64_t b, struct val *out)
{
    if (b < 0) {
        if (a == 0) {
            return jinja_fail(r, ERR_FORMAT, "0.0 cannot be raised to a negative power");
        }
        *out = jinja_float(pow((double)a, (double)b));
        return OK;
    }
    int64_t result = 1;
    for (; b > 0; b >>= 1) {
        if ((b & 1) && __builtin_mul_overflow(result, a, &result)) {
            return too_wide(r);
        }
        if (b > 1 && __builtin_mul_overflow(a, a, &a)) {
            return too_wide(r);
        }
    }
    *out = jinja_int(result);
    return OK;
}

static enum status int_divide(struct run *r, enum token_type op, int64_t a, int64_t b,
                              struct val *out)
{
    static const int64_t exact = (int64_t)1 << 53;
    if (b == 0) {
        return jinja_fail(r, ERR_FORMAT, "division by zero");
    }
    if (op == T_DIV) {
        if (a > exact || a < -exact || b > exact || b < -exact) {
            return jinja_fail(r, ERR_UNSUPPORTED, "division of integers beyond 53 bits");
        }
        *out = jinja_float((double)a / (double)b);
        return OK;
    }
    if (b == -1) { /* INT64_MIN / -1 does not fit, and traps */
        int64_t negated = 0;
        if (op == T_FLOORDIV && __builtin_sub_overflow((int64_t)0, a, &negated)) {
            return too_wide(r);
        }
        *out = jinja_int(op == T_MOD ? 0 : negated);
        return OK;
    }
    int64_t q = a / b, m = a % b;
    if (m != 0 && (m < 0) != (b < 0)) { /* Python rounds towards minus infinity */
        q--;
        m += b;
    }
    *out = jinja_int(op == T_MOD ? m : q);
    return OK;
}

static enum status int_op(struct run *r, enum token_type op, int64_t a, int64_t b, struct val *out)
{
    int64_t v = 0;
    bool overflow = false;
    switch (op) {
    case T_ADD:
        overflow = __builtin_add_overflow(a, b, &v);
        break;
    case T_SUB:
        overflow = __builtin_sub_overflow(a, b, &v);
        break;
    case T_MUL:
        overflow = __builtin_mul_overflow(a, b, &v);
        break;
    case T_POW:
        return int_power(r, a, b, out);
    default:
        return int_divide(r, op, a, b, out);
    }
    *out = jinja_int(v);
    return overflow ? too_wide(r) : OK;
}

static double float_mod(double a, double b)
{
    double m = fmod(a, b);
    if (m != 0) {
        return (b < 0) != (m < 0) ? m + b : m;
    }
    return copysign(0.0, b);
}

static double float_floordiv(double a, double b)
{
    double m = fmod(a, b), d = (a - m) / b;
    if (m != 0 && (b < 0) != (m < 0)) {
        d -= 1;
    }
    if (d == 0) {
        return copysign(0.0, a / b);
    }
    double f = floor(d);
    return d - f > 0.5 ? f + 1 : f;
}

static enum status float_power(struct run *r, double a, double b, struct val *out)
{
    if (a == 0 && b < 0) {
        return jinja_fail(r, ERR_FORMAT, "0.0 cannot be raised to a negative power");
    }
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b)) {
        return jinja_fail(r, ERR_UNSUPPORTED, "complex numbers");
    }
    double v = pow(a, b);
    if (isinf(v) && isfinite(a) && isfinite(b)) {
        return jinja_fail(r, ERR_FORMAT, "numerical result out of range");
    }
    *out = jinja_float(v);
    return OK;
}

static enum status float_op(struct run *r, enum token_type op, double a, double b, struct val *out)
{
    if (b == 0 && (op == T_DIV || op == T_FLOORDIV || op == T_MOD)) {
        return jinja_fail(r, ERR_FORMAT, "float division by zero");
    }
    switch (op) {
    case T_ADD:
        *out = jinja_float(a + b);
        return OK;
    case T_SUB:
        *out = jinja_float(a - b);
        return OK;
    case T_MUL:
        *out = jinja_float(a * b);
        return OK;
    case T_DIV:
        *out = jinja_float(a / b);
        return OK;
    case T_FLOORDIV:
        *out = jinja_float(float_floordiv(a, b));
        return OK;
    case T_MOD:
        *out = jinja_float(float_mod(a, b));
        return OK;
    default:
        return float_power(r, a, b, out);
    }
}

/* ---- sequences ---- */

static enum status add_lists(struct run *r, struct val a, struct val b, struct val *out)
{
    struct val *items = jinja_vals(r, a.n + b.n);
    TRY(jinja_charge(r, 8 * (a.n + b.n)));
    if (!items) {
        return jinja_no_memory(r);
    }
    if (a.n) {
        memcpy(items, a.u.items, a.n * sizeof *items);
    }
    if (b.n) {
        memcpy(items + a.n, b.u.items, b.n * sizeof *items);
    }
    *out = (struct val){.kind = a.kind, .n = a.n + b.n, .u.items = items};
    return OK;
}

static enum status add_strings(struct run *r, struct val a, struct val b, struct val *out)
{
    bool markup = (a.flag | b.flag) & F_MARKUP; /* then the plain side is escaped */
    if (markup && !(a.flag & F_MARKUP)) {
        TRY(jinja_escape(r, a, &a));
    }
    if (markup && !(b.flag & F_MARKUP)) {
        TRY(jinja_escape(r, b, &b));
    }
    TRY(jinja_concat(r, jinja_text(a), jinja_text(b), out));
    out->flag = markup ? F_MARKUP : 0;
    return OK;
}

static enum status repeat(struct run *r, struct val v, int64_t times, struct val *out)
{
    bool text = v.kind == K_STR;
    size_t item = text ? 1 : sizeof(struct val), total, bytes;
    if (times <= 0 || v.n == 0) {
        *out = v;
        out->n = 0;
        return OK;
    }
    if (!size_mul(v.n, (size_t)times, &total) || !size_mul(total, item, &bytes) ||
        bytes > r->max_output) {
        return jinja_fail(r, ERR_LIMIT, "a repetition longer than the limit of output");
    }
    TRY(jinja_charge(r, bytes));
    char *p = jinja_alloc(r, bytes);
    if (!p) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < (size_t)times; i++) {
        memcpy(p + i * v.n * item, text ? (const void *)v.u.s : (const void *)v.u.items,
               v.n * item);
    }
    *out = v;
    out->n = total;
    if (text) {
        out->u.s = p;
    } else {
        out->u.items = (const struct val *)(const void *)p;
        out->flag = 0;
    }
    return OK;
}

static bool is_sequence(struct val v)
{
    return v.kind == K_STR || v.kind == K_LIST || v.kind == K_TUPLE;
}

enum status jinja_binary(struct run *r, enum token_type op, struct val a, struct val b,
                         struct val *out)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        return a.kind == K_FLOAT || b.kind == K_FLOAT
                   ? float_op(r, op, as_float(a), as_float(b), out)
                   : int_op(r, op, as_int(a), as_int(b), out);
    }
    if (op == T_ADD && a.kind == b.kind && (a.kind == K_LIST || a.kind == K_TUPLE)) {
        return add_lists(r, a, b, out);
    }
    if (op == T_ADD && a.kind == K_STR && b.kind == K_STR) {
        return add_strings(r, a, b, out);
    }
    if (op == T_MUL && is_sequence(a) && (b.kind == K_INT || b.kind == K_BOOL)) {
        return repeat(r, a, as_int(b), out);
    }
    if (op == T_MUL && is_sequence(b) && (a.kind == K_INT || a.kind == K_BOOL)) {
        return repeat(r, b, as_int(a), out);
    }
    if (op == T_MOD && a.kind == K_STR) {
        return jinja_percent(r, a, b, out);
    }
    return bad_operands(r, jinja_token_text(op), a, b);
}

static enum status negate(struct run *r, enum node_type type, struct val v, struct val *out)
{
    if (!jinja_is_number(v)) {
        if (v.kind == K_UNDEFINED) {
            return jinja_undefined_error(r, v);
        }
        return jinja_fail(r, ERR_FORMAT, "bad operand type for unary %c: '%s'",
                          type == N_NEG ? '-' : '+', jinja_type_name(v));
    }
    if (v.kind == K_FLOAT) {
        *out = jinja_float(type == N_NEG ? -v.u.f : v.u.f);
        return OK;
    }
    int64_t i = as_int(v);
    if (type == N_NEG && __builtin_sub_overflow((int64_t)0, i, &i)) {
        return too_wide(r);
    }
    *out = jinja_int(i);
    return OK;
}

/* ---- comparisons ---- */

static enum status compare(struct run *r, enum token_type op, struct val a, struct val b, bool *out)
{
    switch (op) {
    case T_EQ:
        return jinja_equal(r, a, b, out);
    case T_NE:
        TRY(jinja_equal(r, a, b, out));
        *out = !*out;
        return OK;
    case T_IN:
        return jinja_contains(r, a, b, out);
    case T_NOT_IN:
        TRY(jinja_contains(r, a, b, out));
        *out = !*out;
        return OK;
    default:
        return jinja_less(r, a, b, op, out);
    }
}

static enum status eval_compare(struct run *r, const struct node *n, struct val *out)
{
    struct val left, right;
    bool yes = true;
    TRY(jinja_eval(r, n->a, &left));
    for (size_t i = 0; yes && i < n->list.n; i++) {
        const struct node *operand = n->list.at[i];
        TRY(jinja_eval(r, operand->a, &right));
        TRY(compare(r, (enum token_type)operand->op, left, right, &yes));
        left = right;
    }
    *out = jinja_bool(yes);
    return OK;
}

/* ---- nodes ---- */

static enum status eval_items(struct run *r, const struct nodes *list, struct val **out)
{
    struct val *items = jinja_vals(r, list->n);
    if (!items) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < list->n; i++) {
        TRY(jinja_eval(r, list->at[i], &items[i]));
    }
    *out = items;
    return OK;
}

static enum status eval_dict(struct run *r, const struct node *n, struct val *out)
{
    struct dict *d = jinja_dict_new(r, n->list.n / 2);
    if (!d) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        struct val key, value;
        TRY(jinja_eval(r, n->list.at[i], &key));
        TRY(jinja_eval(r, n->list.at[i + 1], &value));
        TRY(jinja_dict_put(r, d, key, value));
    }
    *out = jinja_dict_val(d);
    return OK;
}

static enum status eval_name(struct run *r, const struct node *n, struct val *out)
{
    if (n->slot == SLOT_NONE) {
        *out = r->context[n->name];
    } else {
        const struct frame *f = r->frame;
        for (uint32_t up = n->up; up > 0; up--) {
            f = f->parent;
        }
        *out = f->slots[n->slot];
    }
    if (out->kind == K_MISSING) {
        *out = jinja_undefined(n->text);
    }
    return OK;
}

static enum status eval_cond(struct run *r, const struct node *n, struct val *out)
{
    bool yes;
    TRY(jinja_eval(r, n->a, out));
    TRY(jinja_truth(r, *out, &yes));
    if (yes || n->c) {
        return jinja_eval(r, yes ? n->b : n->c, out);
    }
    *out = jinja_hint("the inline if-expression evaluated to false and no else section was "
                      "defined");
    return OK;
}

static enum status eval_logic(struct run *r, const struct node *n, struct val *out)
{
    bool yes;
    TRY(jinja_eval(r, n->a, out));
    TRY(jinja_truth(r, *out, &yes));
    return yes == (n->type == N_AND) ? jinja_eval(r, n->b, out) : OK;
}

static enum status eval_not(struct run *r, const struct node *n, struct val *out)
{
    bool yes;
    TRY(jinja_eval(r, n->a, out));
    TRY(jinja_truth(r, *out, &yes));
    *out = jinja_bool(!yes);
    return OK;
}

static enum status eval_concat(struct run *r, const struct node *n, struct val *out)
{
    struct val all = jinja_string("", 0);
    for (size_t i = 0; i < n->list.n; i++) {
        struct val v;
        TRY(jinja_eval(r, n->list.at[i], &v));
        TRY(jinja_str(r, v, &v));
        TRY(jinja_concat(r, jinja_text(all), jinja_text(v), &all));
    }
    *out = all;
    return OK;
}

static enum status eval_slice(struct run *r, const struct node *n, struct val of, struct val *out)
{
    struct val part[3] = {jinja_none(), jinja_none(), jinja_none()};
    const struct node *nodes[3] = {n->b, n->c, n->d};
    for (int i = 0; i < 3; i++) {
        if (nodes[i]) {
            TRY(jinja_eval(r, nodes[i], &part[i]));
        }
    }
    return jinja_slice(r, of, part[0], part[1], part[2], out);
}

static enum status eval_getitem(struct run *r, const struct node *n, struct val *out)
{
    struct val of, key;
    TRY(jinja_eval(r, n->a, &of));
    if (n->b->type == N_SLICE) {
        enum node_type t = (enum node_type)n->a->type;
        bool folded = t == N_CONST || t == N_DICT; /* jinja2 computes those before it runs */
        if (folded && of.kind != K_STR) {
            return jinja_fail(r, ERR_UNSUPPORTED, "a slice of a constant that is no sequence");
        }
        return eval_slice(r, n->b, of, out);
    }
    TRY(jinja_eval(r, n->b, &key));
    return jinja_getitem(r, of, key, out);
}

static enum status add_dynamic(struct run *r, const struct args *args, struct call *out)
{
    if (args->dyn_pos) {
        struct val v, all, first = jinja_list(out->pos, out->n_pos);
        const struct val *items;
        size_t n;
        TRY(jinja_eval(r, args->dyn_pos, &v));
        TRY(jinja_items(r, v, &items, &n));
        TRY(add_lists(r, first, jinja_list(items, n), &all));
        out->pos = all.u.items;
        out->n_pos = all.n;
    }
    if (args->dyn_kw) {
        struct val v;
        TRY(jinja_eval(r, args->dyn_kw, &v));
        if (v.kind != K_DICT) {
            return jinja_fail(r, ERR_FORMAT, "argument after ** must be a mapping, not %s",
                              jinja_type_name(v));
        }
        struct kwarg *kw = jinja_alloc(r, (out->n_kw + v.u.dict->n) * sizeof *kw);
        if (!kw) {
            return jinja_no_memory(r);
        }
        if (out->n_kw) {
            memcpy(kw, out->kw, out->n_kw * sizeof *kw);
        }
        for (size_t i = 0; i < v.u.dict->n; i++) {
            const struct pair *pair = &v.u.dict->pairs[i];
            bool known = pair->key.kind != K_STR;
            for (size_t k = 0; !known && k < out->n_kw; k++) {
                known = str_eq(kw[k].name, jinja_text(pair->key));
            }
            if (known) {
                return jinja_fail(r, ERR_FORMAT, "keywords must be strings, each given once");
            }
            kw[out->n_kw + i] = (struct kwarg){jinja_text(pair->key), pair->value};
        }
        out->kw = kw;
        out->n_kw += v.u.dict->n;
    }
    return OK;
}

enum status jinja_eval_args(struct run *r, const struct args *args, struct call *out)
{
    struct val *pos = NULL, *kw_values = NULL;
    *out = (struct call){0};
    if (args->pos.n) {
        TRY(eval_items(r, &args->pos, &pos));
        out->pos = pos;
        out->n_pos = args->pos.n;
    }
    if (args->kw.n) {
        TRY(eval_items(r, &args->kw, &kw_values));
        struct kwarg *kw = jinja_alloc(r, args->kw.n * sizeof *kw);
        if (!kw) {
            return jinja_no_memory(r);
        }
        for (size_t i = 0; i < args->kw.n; i++) {
            kw[i] = (struct kwarg){args->kw_names[i], kw_values[i]};
        }
        out->kw = kw;
        out->n_kw = args->kw.n;
    }
    return args->dyn_pos || args->dyn_kw ? add_dynamic(r, args, out) : OK;
}

static enum status eval_call(struct run *r, const struct node *n, struct val *out)
{
    struct val f;
    struct call call;
    TRY(jinja_eval(r, n->a, &f));
    TRY(jinja_eval_args(r, &n->args, &call));
    r->line = n->line;
    return jinja_call(r, f, &call, out);
}

static enum status eval_library(struct run *r, const struct node *n, struct val *out)
{
    struct val self = r->block_text;
    struct call call;
    if (n->a) {
        TRY(jinja_eval(r, n->a, &self));
    }
    TRY(jinja_eval_args(r, &n->args, &call));
    r->line = n->line;
    return jinja_invoke(r, n->row, self, &call, out);
}

static enum status eval_node(struct run *r, const struct node *n, struct val *out)
{
    struct val *items;
    switch (n->type) {
    case N_CONST:
        *out = n->constant;
        return OK;
    case N_NAME:
        return eval_name(r, n, out);
    case N_TUPLE:
    case N_LIST:
        TRY(eval_items(r, &n->list, &items));
        *out = jinja_list(items, n->list.n);
        out->kind = n->type == N_LIST ? K_LIST : K_TUPLE;
        return OK;
    case N_DICT:
        return eval_dict(r, n, out);
    case N_COND:
        return eval_cond(r, n, out);
    case N_OR:
    case N_AND:
        return eval_logic(r, n, out);
    case N_NOT:
        return eval_not(r, n, out);
    case N_COMPARE:
        return eval_compare(r, n, out);
    case N_BINARY: {
        struct val a, b;
        TRY(jinja_eval(r, n->a, &a));
        TRY(jinja_eval(r, n->b, &b));
        return jinja_binary(r, (enum token_type)n->op, a, b, out);
    }
    case N_NEG:
    case N_POS: {
        struct val v;
        TRY(jinja_eval(r, n->a, &v));
        return negate(r, (enum node_type)n->type, v, out);
    }
    case N_CONCAT:
        return eval_concat(r, n, out);
    case N_GETATTR: {
        struct val of;
        TRY(jinja_eval(r, n->a, &of));
        return jinja_getattr(r, of, n->text, out);
    }
    case N_GETITEM:
        return eval_getitem(r, n, out);
    case N_CALL:
        return eval_call(r, n, out);
    case N_FILTER:
    case N_TEST:
        return eval_library(r, n, out);
    default:
        return jinja_fail(r, ERR_INTERNAL, "an expression of unknown type %d", n->type);
    }
}

enum status jinja_eval(struct run *r, const struct node *n, struct val *out)
{
    TRY(jinja_enter(r));
    TRY(jinja_charge(r, 0));
    TRY(eval_node(r, n, out));
    r->depth--;
    return OK;
}

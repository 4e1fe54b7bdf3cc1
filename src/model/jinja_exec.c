/* Runs the statements of a template over frames of slots.
 *
 * Text goes to run->out; whoever captures text (block assignment, macro, filter block) puts a
 * buffer of its own there for the while. break and continue travel as the result of a body. */
#include "model/jinja_internal.h"

#include <stdio.h>
#include <string.h>

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };

static enum status run_body(struct run *r, const struct nodes *body, enum flow *flow);

/* ---- the state of a run ---- */

enum status jinja_fail(struct run *r, enum status code, const char *fmt, ...)
{
    char message[700], place[32];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    (void)snprintf(place, sizeof place, "template line %d", r->line);
    return err_set(r->err, code, place, "%s", message);
}

enum status jinja_no_memory(struct run *r)
{
    if (r->arena.limit_bytes && r->arena.used_bytes > r->arena.limit_bytes / 2) {
        return jinja_fail(r, ERR_LIMIT, "the template needs more memory than its limit");
    }
    return jinja_fail(r, ERR_MEMORY, "out of memory");
}

enum status jinja_charge(struct run *r, size_t work)
{
    size_t steps = 1 + work / 16;
    if (steps > r->max_steps - r->steps) {
        return jinja_fail(r, ERR_LIMIT, "the template ran for more than %zu steps", r->max_steps);
    }
    r->steps += steps;
    return OK;
}

void *jinja_alloc(struct run *r, size_t bytes)
{
    return arena_alloc(&r->arena, bytes);
}

struct val *jinja_vals(struct run *r, size_t n)
{
    return arena_array(&r->arena, n, sizeof(struct val));
}

enum status jinja_enter(struct run *r)
{
    if (r->depth >= JINJA_MAX_DEPTH) {
        return jinja_fail(r, ERR_LIMIT, "nested deeper than %d", JINJA_MAX_DEPTH);
    }
    r->depth++;
    return OK;
}

enum status jinja_put(struct run *r, const char *p, size_t n)
{
    TRY(jinja_charge(r, n));
    if (n > r->max_output || r->out->len > r->max_output - n) {
        return jinja_fail(r, ERR_LIMIT, "more than %zu bytes of output", r->max_output);
    }
    buf_put(r->out, p, n);
    return r->out->failed ? jinja_fail(r, ERR_MEMORY, "out of memory") : OK;
}

/* ---- frames ---- */

static void frame_fill(struct run *r, const struct frame_def *def, struct frame *f)
{
    for (uint32_t i = 0; i < def->n; i++) {
        const struct slot *s = &def->slots[i];
        if (s->load == LOAD_RESOLVE) {
            f->slots[i] = r->context[s->name];
        } else if (s->load == LOAD_ALIAS) {
            const struct frame *from = f->parent;
            for (uint32_t up = s->up; up > 0; up--) {
                from = from->parent;
            }
            f->slots[i] = from->slots[s->from];
        } else if (s->load == LOAD_UNDEFINED) {
            f->slots[i] = (struct val){.kind = K_MISSING};
        }
    }
}

enum status jinja_frame_open(struct run *r, const struct frame_def *def, struct frame *out)
{
    out->parent = r->frame;
    out->slots = jinja_vals(r, def->n);
    if (!out->slots) {
        return jinja_no_memory(r);
    }
    frame_fill(r, def, out);
    return OK;
}

static struct val *slot_of(struct run *r, const struct node *n)
{
    struct frame *f = r->frame;
    for (uint32_t up = n->up; up > 0; up--) {
        f = f->parent;
    }
    return &f->slots[n->slot];
}

static enum status namespace_of(struct run *r, const struct node *n, struct val *out)
{
    *out = n->slot == SLOT_NONE ? r->context[n->name] : *slot_of(r, n);
    if (out->kind != K_NAMESPACE) {
        return jinja_fail(r, ERR_FORMAT, "cannot assign attribute on non-namespace object");
    }
    return OK;
}

/* Every namespace that a target names must be one, before the value is computed. */
static enum status check_target(struct run *r, const struct node *n)
{
    struct val ns;
    if (n->type == N_NSREF) {
        TRY(namespace_of(r, n, &ns));
    }
    for (size_t i = 0; n->type == N_TUPLE && i < n->list.n; i++) {
        TRY(check_target(r, n->list.at[i]));
    }
    return OK;
}

static enum status assign(struct run *r, const struct node *target, struct val v)
{
    if (target->type == N_NAME) {
        *slot_of(r, target) = v;
        return OK;
    }
    if (target->type == N_NSREF) {
        struct val ns;
        TRY(namespace_of(r, target, &ns));
        if (target->text.p[0] == '_') {
            return jinja_fail(r, ERR_FORMAT, "a namespace attribute cannot start with '_'");
        }
        return jinja_dict_put(r, ns.u.names, jinja_string(target->text.p, target->text.n), v);
    }
    const struct val *items;
    size_t n;
    TRY(jinja_items(r, v, &items, &n));
    if (n != target->list.n) {
        return jinja_fail(r, ERR_FORMAT, "cannot unpack %zu values into %zu names", n,
                          target->list.n);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(assign(r, target->list.at[i], items[i]));
    }
    return OK;
}

/* ---- capturing text ---- */

struct capture {
    struct buf text;
    struct buf *before;
};

static void capture_open(struct run *r, struct capture *c)
{
    *c = (struct capture){.before = r->out};
    r->out = &c->text;
}

/* Ends it; with status OK *out becomes the text. */
static enum status capture_close(struct run *r, struct capture *c, enum status s, struct val *out)
{
    r->out = c->before;
    if (s) {
        buf_fini(&c->text);
        return s;
    }
    return jinja_take(r, &c->text, out);
}

/* A body in a frame of its own, its text in *out. */
static enum status run_captured(struct run *r, const struct nodes *body, struct frame *frame,
                                enum flow *flow, struct val *out)
{
    struct capture c;
    struct frame *outer = r->frame;
    r->frame = frame;
    capture_open(r, &c);
    enum status s = capture_close(r, &c, run_body(r, body, flow), out);
    r->frame = outer;
    return s;
}

/* ---- macros ---- */

static const struct kwarg *find_kw(const struct call *call, struct str name)
{
    for (size_t i = 0; i < call->n_kw; i++) {
        if (str_eq(call->kw[i].name, name)) {
            return &call->kw[i];
        }
    }
    return NULL;
}

static bool is_param(const struct node *def, size_t from, struct str name)
{
    for (size_t i = from; i < def->list.n; i++) {
        if (str_eq(def->list.at[i]->text, name)) {
            return true;
        }
    }
    return false;
}

/* Keyword arguments that no parameter took: into `kwargs`, or an error. */
static enum status bind_rest(struct run *r, const struct macro *m, const struct call *call,
                             struct frame *f)
{
    const struct node *def = m->def;
    struct dict *rest = jinja_dict_new(r, call->n_kw);
    if (!rest) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < call->n_kw; i++) {
        struct str name = call->kw[i].name;
        if (is_param(def, call->n_pos, name) ||
            (def->special[0] != SLOT_NONE && str_eq(name, STR("caller")))) {
            continue;
        }
        if (def->special[1] == SLOT_NONE) {
            return jinja_fail(r, ERR_FORMAT, "macro '%.*s' takes no keyword argument '%.*s'",
                              (int)m->name.n, m->name.p, (int)name.n, name.p);
        }
        TRY(jinja_dict_put(r, rest, jinja_string(name.p, name.n), call->kw[i].value));
    }
    if (def->special[1] != SLOT_NONE) {
        f->slots[def->special[1]] = jinja_dict_val(rest);
    }
    size_t taken = call->n_pos < def->list.n ? call->n_pos : def->list.n;
    if (def->special[2] != SLOT_NONE) {
        f->slots[def->special[2]] = (struct val){.kind = K_TUPLE,
                                                 .n = call->n_pos - taken,
                                                 .u.items = taken ? call->pos + taken : call->pos};
    } else if (call->n_pos > def->list.n) {
        return jinja_fail(r, ERR_FORMAT, "macro '%.*s' takes not more than %zu argument(s)",
                          (int)m->name.n, m->name.p, def->list.n);
    }
    return OK;
}

static enum status bind_params(struct run *r, const struct macro *m, const struct call *call,
                               struct frame *f)
{
    const struct node *def = m->def;
    size_t n = def->list.n;
    for (size_t i = 0; i < n; i++) {
        const struct kwarg *kw = i < call->n_pos ? NULL : find_kw(call, def->list.at[i]->text);
        f->slots[def->list.at[i]->slot] = i < call->n_pos ? call->pos[i]
                                          : kw            ? kw->value
                                                          : (struct val){.kind = K_MISSING};
    }
    if (def->special[0] != SLOT_NONE) {
        const struct kwarg *kw = find_kw(call, STR("caller"));
        f->slots[def->special[0]] =
            kw && kw->value.kind != K_NONE ? kw->value : jinja_hint("No caller defined");
    }
    TRY(bind_rest(r, m, call, f));
    for (size_t i = 0; i < n; i++) {
        struct val *slot = &f->slots[def->list.at[i]->slot];
        if (slot->kind != K_MISSING) {
            continue;
        }
        if (i + def->list2.n >= n) {
            struct val v;
            TRY(jinja_eval(r, def->list2.at[i + def->list2.n - n], &v));
            *slot = v;
        } else {
            *slot = jinja_undefined(def->list.at[i]->text);
        }
    }
    return OK;
}

enum status jinja_call_macro(struct run *r, const struct macro *m, const struct call *call,
                             struct val *out)
{
    struct frame f, *outer = r->frame;
    enum flow flow = FLOW_NEXT;
    int line = r->line;
    TRY(jinja_enter(r));
    r->frame = m->closure;
    enum status s = jinja_frame_open(r, m->def->frame, &f);
    if (!s) {
        r->frame = &f;
        s = bind_params(r, m, call, &f);
    }
    if (!s) {
        s = run_captured(r, &m->def->body, &f, &flow, out);
    }
    r->frame = outer;
    r->line = s ? r->line : line;
    r->depth--;
    return s;
}

/* Frames that a macro may outlive live in the arena. */
static enum status heap_frame(struct run *r, const struct frame_def *def, struct frame **out)
{
    struct frame *f = jinja_alloc(r, sizeof *f);
    if (!f) {
        return jinja_no_memory(r);
    }
    TRY(jinja_frame_open(r, def, f));
    *out = f;
    return OK;
}

static enum status make_macro(struct run *r, const struct node *n, struct val *out)
{
    struct macro *m = jinja_alloc(r, sizeof *m);
    if (!m) {
        return jinja_no_memory(r);
    }
    *m = (struct macro){.def = n, .closure = r->frame, .name = n->text};
    *out = (struct val){.kind = K_MACRO, .u.macro = m};
    return OK;
}

/* ---- statements ---- */

static enum status print_value(struct run *r, const struct node *n)
{
    struct val v;
    TRY(jinja_eval(r, n, &v));
    TRY(jinja_str(r, v, &v));
    return jinja_put(r, v.u.s, v.n);
}

static enum status run_if(struct run *r, const struct node *n, enum flow *flow)
{
    struct val v;
    bool yes;
    for (size_t i = 0; i <= n->list.n; i++) {
        const struct node *branch = i ? n->list.at[i - 1] : n;
        TRY(jinja_eval(r, branch->a, &v));
        TRY(jinja_truth(r, v, &yes));
        if (yes) {
            return run_body(r, &branch->body, flow);
        }
    }
    return run_body(r, &n->else_, flow);
}

/* The items of a loop that pass its `if`. */
static enum status filter_items(struct run *r, const struct node *n, const struct val **items,
                                size_t *n_items)
{
    struct frame *f, *outer = r->frame;
    struct val *kept = jinja_vals(r, *n_items);
    size_t used = 0;
    if (!kept) {
        return jinja_no_memory(r);
    }
    TRY(heap_frame(r, n->frame2, &f));
    r->frame = f;
    for (size_t i = 0; i < *n_items; i++) {
        struct val v;
        bool yes;
        TRY(assign(r, n->a, (*items)[i]));
        TRY(jinja_eval(r, n->c, &v));
        TRY(jinja_truth(r, v, &yes));
        if (yes) {
            kept[used++] = (*items)[i];
        }
    }
    r->frame = outer;
    *items = kept;
    *n_items = used;
    return OK;
}

static enum status run_for(struct run *r, const struct node *n, enum flow *flow)
{
    struct val v;
    const struct val *items;
    size_t n_items, i = 0;
    struct frame *f, *outer = r->frame;
    TRY(jinja_eval(r, n->b, &v));
    TRY(jinja_items(r, v, &items, &n_items));
    if (n->c) {
        TRY(filter_items(r, n, &items, &n_items));
    }
    struct loop *loop = jinja_alloc(r, sizeof *loop);
    if (!loop) {
        return jinja_no_memory(r);
    }
    *loop = (struct loop){.items = items, .n = n_items};
    TRY(heap_frame(r, n->frame, &f));
    bool completed = false; /* jinja2 runs `else` unless some body came to its end */
    for (; i < n_items; i++) {
        enum flow inner = FLOW_NEXT;
        r->frame = f;
        frame_fill(r, n->frame, f);
        loop->at = i;
        f->slots[n->special[0]] = (struct val){.kind = K_LOOP, .u.loop = loop};
        TRY(jinja_charge(r, 0));
        TRY(assign(r, n->a, items[i]));
        TRY(run_body(r, &n->body, &inner));
        completed = completed || inner == FLOW_NEXT;
        if (inner == FLOW_BREAK) {
            break;
        }
    }
    r->frame = outer;
    if (!completed && n->else_.n) {
        TRY(heap_frame(r, n->frame3, &f));
        r->frame = f;
        TRY(run_body(r, &n->else_, flow));
        r->frame = outer;
    }
    return OK;
}

/* The text of a block, through the filters of `filter` if there are some. */
static enum status filtered_block(struct run *r, const struct node *n, const struct node *filter,
                                  enum flow *flow, struct val *out)
{
    struct frame *f, *outer = r->frame;
    TRY(heap_frame(r, n->frame, &f));
    TRY(run_captured(r, &n->body, f, flow, out));
    if (*flow == FLOW_NEXT && filter) {
        struct val before = r->block_text;
        r->block_text = *out;
        r->frame = f;
        TRY(jinja_eval(r, filter, out));
        r->frame = outer;
        r->block_text = before;
    }
    return OK;
}

static enum status run_set(struct run *r, const struct node *n)
{
    struct val v;
    TRY(check_target(r, n->a));
    TRY(jinja_eval(r, n->b, &v));
    return assign(r, n->a, v);
}

static enum status run_set_block(struct run *r, const struct node *n, enum flow *flow)
{
    struct val v;
    TRY(filtered_block(r, n, n->b, flow, &v));
    return *flow == FLOW_NEXT ? assign(r, n->a, v) : OK;
}

static enum status run_filter_block(struct run *r, const struct node *n, enum flow *flow)
{
    struct val v;
    TRY(filtered_block(r, n, n->a, flow, &v));
    if (*flow != FLOW_NEXT) {
        return OK;
    }
    TRY(jinja_str(r, v, &v));
    return jinja_put(r, v.u.s, v.n);
}

static enum status run_call_block(struct run *r, const struct node *n)
{
    struct val f, v;
    struct call call;
    struct kwarg *kw;
    TRY(jinja_eval(r, n->a->a, &f));
    TRY(jinja_eval_args(r, &n->a->args, &call));
    if (find_kw(&call, STR("caller"))) {
        return jinja_fail(r, ERR_FORMAT, "a call block passes 'caller' itself");
    }
    kw = jinja_alloc(r, (call.n_kw + 1) * sizeof *kw);
    if (!kw) {
        return jinja_no_memory(r);
    }
    if (call.n_kw) {
        memcpy(kw, call.kw, call.n_kw * sizeof *kw);
    }
    kw[call.n_kw] = (struct kwarg){.name = STR("caller")};
    TRY(make_macro(r, n, &kw[call.n_kw].value));
    call.kw = kw;
    call.n_kw++;
    TRY(jinja_call(r, f, &call, &v));
    TRY(jinja_str(r, v, &v));
    return jinja_put(r, v.u.s, v.n);
}

static enum status run_generation(struct run *r, const struct node *n)
{
    struct val m = {0}, text;
    const struct call none = {0};
    TRY(make_macro(r, n, &m));
    TRY(jinja_call_macro(r, m.u.macro, &none, &text));
    return jinja_put(r, text.u.s, text.n);
}

static enum status run_with(struct run *r, const struct node *n, enum flow *flow)
{
    struct frame *f, *outer = r->frame;
    struct val *values = jinja_vals(r, n->list2.n);
    if (!values) {
        return jinja_no_memory(r);
    }
    for (size_t i = 0; i < n->list2.n; i++) {
        TRY(jinja_eval(r, n->list2.at[i], &values[i]));
    }
    TRY(heap_frame(r, n->frame, &f));
    r->frame = f;
    for (size_t i = 0; i < n->list.n; i++) {
        TRY(assign(r, n->list.at[i], values[i]));
    }
    TRY(run_body(r, &n->body, flow));
    r->frame = outer;
    return OK;
}

static enum status run_statement(struct run *r, const struct node *n, enum flow *flow)
{
    switch (n->type) {
    case N_DATA:
        return jinja_put(r, n->constant.u.s, n->constant.n);
    case N_PRINT:
        for (size_t i = 0; i < n->list.n; i++) {
            TRY(print_value(r, n->list.at[i]));
        }
        return OK;
    case N_IF:
        return run_if(r, n, flow);
    case N_FOR:
        return run_for(r, n, flow);
    case N_SET:
        return run_set(r, n);
    case N_SET_BLOCK:
        return run_set_block(r, n, flow);
    case N_MACRO:
        return make_macro(r, n, slot_of(r, n));
    case N_CALL_BLOCK:
        return run_call_block(r, n);
    case N_FILTER_BLOCK:
        return run_filter_block(r, n, flow);
    case N_WITH:
        return run_with(r, n, flow);
    case N_GENERATION:
        return run_generation(r, n);
    case N_BREAK:
        *flow = FLOW_BREAK;
        return OK;
    case N_CONTINUE:
        *flow = FLOW_CONTINUE;
        return OK;
    default:
        return jinja_fail(r, ERR_INTERNAL, "a statement of unknown type %d", n->type);
    }
}

static enum status run_body(struct run *r, const struct nodes *body, enum flow *flow)
{
    TRY(jinja_enter(r));
    for (size_t i = 0; i < body->n && *flow == FLOW_NEXT; i++) {
        r->line = body->at[i]->line;
        TRY(jinja_charge(r, 0));
        TRY(run_statement(r, body->at[i], flow));
    }
    r->depth--;
    return OK;
}

enum status jinja_body(struct run *r, const struct nodes *body)
{
    enum flow flow = FLOW_NEXT;
    return run_body(r, body, &flow);
}

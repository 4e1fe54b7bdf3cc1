/* Binds names to slots of frames, by the rules of jinja2's compiler.
 *
 * jinja2 compiles a template into Python functions whose local variables are fixed before anything
 * runs, and templates can see it: a name that a frame assigns anywhere hides the variable of that
 * name that the caller passed, even in a loop before the assignment. A chain of dictionaries looked
 * up at run time would differ, so the analysis is done as jinja2 does it: each frame first collects
 * what it reads and stores (`analyse`), if-branches in copies that are merged afterwards, and then
 * every name in it is bound (`bind`), inner frames after their parents. */
#include "model/jinja_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_WORK = 20000000 }; /* slots copied for branches: a hostile template's limit */

struct scope {
    struct parser *p;
    size_t work;
    int loops;
};

static void fail(struct scope *x, enum status code, int line, const char *message)
{
    (void)jinja_parse_fail(x->p, code, line, "%s", message);
}

static uint32_t find_own(const struct frame_def *f, uint32_t name)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->slots[i].name == name) {
            return i;
        }
    }
    return SLOT_NONE;
}

static bool find_ref(const struct frame_def *f, uint32_t name, uint32_t *up, uint32_t *slot)
{
    for (*up = 0; f; f = f->parent, (*up)++) {
        *slot = find_own(f, name);
        if (*slot != SLOT_NONE) {
            return true;
        }
    }
    return false;
}

static bool seen_outside(const struct frame_def *f, uint32_t name)
{
    uint32_t up, slot;
    return f->parent && find_ref(f->parent, name, &up, &slot);
}

static struct slot *define(struct scope *x, struct frame_def *f, uint32_t name, enum load load)
{
    uint32_t i = find_own(f, name);
    if (i == SLOT_NONE) {
        if (f->n == f->cap) {
            uint32_t cap = f->cap ? f->cap * 2 : 8;
            struct slot *grown = realloc(f->slots, cap * sizeof *grown);
            if (!grown) {
                fail(x, ERR_MEMORY, 0, "out of memory");
                return NULL;
            }
            f->slots = grown;
            f->cap = cap;
        }
        i = f->n++;
        f->slots[i] = (struct slot){.name = name};
    }
    f->slots[i].load = (uint8_t)load;
    return &f->slots[i];
}

static void declare_param(struct scope *x, struct frame_def *f, uint32_t name)
{
    struct slot *s = define(x, f, name, LOAD_PARAM);
    if (s) {
        s->stored = true;
    }
}

static void see_load(struct scope *x, struct frame_def *f, uint32_t name)
{
    uint32_t up, slot;
    if (!find_ref(f, name, &up, &slot)) {
        (void)define(x, f, name, LOAD_RESOLVE);
    }
}

static void see_store(struct scope *x, struct frame_def *f, uint32_t name)
{
    uint32_t i = find_own(f, name);
    struct slot *s = i != SLOT_NONE
                         ? &f->slots[i]
                         : define(x, f, name, seen_outside(f, name) ? LOAD_ALIAS : LOAD_UNDEFINED);
    if (s) {
        s->stored = true;
    }
}

/* ---- walking ---- */

typedef void visitor(void *ctx, struct node *n);

static void each(const struct nodes *list, visitor *visit, void *ctx)
{
    for (size_t i = 0; i < list->n; i++) {
        visit(ctx, list->at[i]);
    }
}

static void one(struct node *n, visitor *visit, void *ctx)
{
    if (n) {
        visit(ctx, n);
    }
}

static void each_expression(const struct node *n, visitor *visit, void *ctx)
{
    one(n->a, visit, ctx);
    one(n->b, visit, ctx);
    one(n->c, visit, ctx);
    one(n->d, visit, ctx);
    each(&n->list, visit, ctx);
    each(&n->list2, visit, ctx);
    each(&n->args.pos, visit, ctx);
    each(&n->args.kw, visit, ctx);
    one(n->args.dyn_pos, visit, ctx);
    one(n->args.dyn_kw, visit, ctx);
}

/* Whether a body reads `name` before it stores it, anywhere inside. */
struct mention {
    uint32_t name;
    bool read, stored;
};

static void mention_store(void *ctx, struct node *n)
{
    struct mention *m = ctx;
    m->stored = m->stored || (n->type == N_NAME && n->name == m->name && !m->read);
    if (n->type == N_TUPLE) {
        each(&n->list, mention_store, ctx);
    }
}

static void mention_visit(void *ctx, struct node *n)
{
    struct mention *m = ctx;
    if (m->read || m->stored) {
        return;
    }
    m->read = n->type == N_NAME && n->name == m->name;
    switch (n->type) {
    case N_FOR:
    case N_SET:
    case N_SET_BLOCK:
        mention_store(ctx, n->a);
        one(n->b, mention_visit, ctx);
        one(n->c, mention_visit, ctx);
        break;
    case N_MACRO:
    case N_CALL_BLOCK:
    case N_WITH:
        one(n->a, mention_visit, ctx);
        each(&n->list, mention_store, ctx);
        each(&n->list2, mention_visit, ctx);
        break;
    default:
        each_expression(n, mention_visit, ctx);
    }
    each(&n->body, mention_visit, ctx);
    each(&n->else_, mention_visit, ctx);
}

static bool reads(struct scope *x, const struct nodes *body, const char *name)
{
    struct mention m = {.name = jinja_intern(x->p, (struct str){name, strlen(name)})};
    each(body, mention_visit, &m);
    return m.read;
}

/* ---- what a frame reads and stores ---- */

struct analysis {
    struct scope *x;
    struct frame_def *f;
};

static void analyse(void *ctx, struct node *n);

static void analyse_expression(void *ctx, struct node *n)
{
    struct analysis *a = ctx;
    if (n->type == N_NAME || n->type == N_NSREF) {
        see_load(a->x, a->f, n->name);
    }
    each_expression(n, analyse_expression, ctx);
}

static void analyse_target(void *ctx, struct node *n)
{
    struct analysis *a = ctx;
    if (n->type == N_NAME) {
        see_store(a->x, a->f, n->name);
    } else if (n->type == N_NSREF) {
        see_load(a->x, a->f, n->name);
    }
    each(&n->list, analyse_target, ctx);
}

static void analyse_param(void *ctx, struct node *n)
{
    struct analysis *a = ctx;
    if (n->type == N_NAME) {
        declare_param(a->x, a->f, n->name);
    }
    each(&n->list, analyse_param, ctx);
}

static void analyse_branch(struct analysis *a, const struct nodes *body, struct frame_def *copy)
{
    const struct frame_def *f = a->f;
    *copy = (struct frame_def){.parent = f->parent};
    a->x->work += f->n + 1;
    if (a->x->work > MAX_WORK) {
        fail(a->x, ERR_LIMIT, 0, "too many names and branches");
        return;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        struct slot *s = define(a->x, copy, f->slots[i].name, (enum load)f->slots[i].load);
        if (!s) {
            return;
        }
        s->stored = f->slots[i].stored;
    }
    struct analysis inner = {.x = a->x, .f = copy};
    each(body, analyse, &inner);
}

/* A name that only some branches store is, where they did not, what it was outside. */
static void merge_branches(struct analysis *a, const struct frame_def *branch, size_t n)
{
    struct frame_def *f = a->f;
    uint32_t before = f->n;
    for (size_t k = 0; k < n; k++) {
        for (uint32_t i = 0; i < branch[k].n; i++) {
            const struct slot *s = &branch[k].slots[i];
            uint32_t own = find_own(f, s->name);
            bool stored = own != SLOT_NONE && f->slots[own].stored;
            bool new_store = s->stored && (own == SLOT_NONE || own >= before || !stored);
            struct slot *to = define(a->x, f, s->name, (enum load)s->load);
            if (!to) {
                return;
            }
            to->stored = stored || s->stored;
            to->up |= new_store; /* marks it for the loop below */
        }
    }
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->slots[i].up) {
            f->slots[i].up = 0;
            f->slots[i].load =
                (uint8_t)(seen_outside(f, f->slots[i].name) ? LOAD_ALIAS : LOAD_RESOLVE);
        }
    }
}

static void analyse_if(struct analysis *a, const struct node *n)
{
    struct frame_def branch[3] = {0};
    analyse_expression(a, n->a);
    analyse_branch(a, &n->body, &branch[0]);
    analyse_branch(a, &n->list, &branch[1]);
    analyse_branch(a, &n->else_, &branch[2]);
    if (!a->x->p->status) {
        merge_branches(a, branch, 3);
    }
    for (int i = 0; i < 3; i++) {
        free(branch[i].slots);
    }
}

/* Statements, as far as the frame they stand in is concerned: bodies with frames of their own are
 * not entered. */
static void analyse(void *ctx, struct node *n)
{
    struct analysis *a = ctx;
    if (a->x->p->status) {
        return;
    }
    switch (n->type) {
    case N_PRINT:
        each(&n->list, analyse_expression, ctx);
        break;
    case N_IF:
        analyse_if(a, n);
        break;
    case N_FOR:
        analyse_expression(ctx, n->b);
        break;
    case N_SET:
        analyse_expression(ctx, n->b);
        analyse_target(ctx, n->a);
        break;
    case N_SET_BLOCK:
        analyse_target(ctx, n->a);
        break;
    case N_MACRO:
        see_store(a->x, a->f, n->name);
        break;
    case N_CALL_BLOCK:
    case N_FILTER_BLOCK:
        analyse_expression(ctx, n->a);
        break;
    case N_WITH:
        each(&n->list2, analyse_expression, ctx);
        break;
    default:
        break;
    }
}

/* ---- binding ---- */

static void bind(void *ctx, struct node *n);

static void bind_name(struct analysis *a, struct node *n)
{
    if (!find_ref(a->f, n->name, &n->up, &n->slot)) {
        n->up = n->slot = SLOT_NONE;
    }
}

static void bind_expression(void *ctx, struct node *n)
{
    if (n->type == N_NAME || n->type == N_NSREF) {
        bind_name(ctx, n);
    }
    each_expression(n, bind_expression, ctx);
}

static void bind_target(void *ctx, struct node *n)
{
    struct analysis *a = ctx;
    if (n->type == N_NAME && a->x->loops && str_eq(n->text, STR("loop"))) {
        fail(a->x, ERR_FORMAT, n->line, "cannot assign to the special variable 'loop'");
    }
    if (n->type != N_TUPLE) {
        bind_name(a, n);
    }
    each(&n->list, bind_target, ctx);
}

static struct frame_def *new_frame(struct analysis *a)
{
    struct frame_def *f = arena_alloc(&a->x->p->t->arena, sizeof *f);
    if (!f) {
        fail(a->x, ERR_MEMORY, 0, "out of memory");
        return NULL;
    }
    f->parent = a->f;
    return f;
}

/* The slots move into the arena, and what a slot is an alias of is looked up. */
static void close_frame(struct scope *x, struct frame_def *f)
{
    struct slot *slots = arena_array(&x->p->t->arena, f->n, sizeof *slots);
    for (uint32_t i = 0; slots && i < f->n; i++) {
        slots[i] = f->slots[i];
        if (slots[i].load == LOAD_ALIAS &&
            (!f->parent || !find_ref(f->parent, slots[i].name, &slots[i].up, &slots[i].from))) {
            slots[i].load = LOAD_RESOLVE;
        }
    }
    free(f->slots);
    f->slots = slots;
    f->cap = f->n;
    if (!slots) {
        f->n = f->cap = 0;
        fail(x, ERR_MEMORY, 0, "out of memory");
    }
}

static void bind_for(struct analysis *a, struct node *n)
{
    struct scope *x = a->x;
    uint32_t loop = jinja_intern(x->p, STR("loop"));
    bind_expression(a, n->b);
    if (!(n->frame = new_frame(a)) || !(n->frame2 = new_frame(a)) || !(n->frame3 = new_frame(a))) {
        return;
    }
    struct analysis body = {x, n->frame}, test = {x, n->frame2}, other = {x, n->frame3};
    x->loops++;
    analyse_param(&body, n->a); /* first in both frames, so that their slots are the same */
    declare_param(x, n->frame, loop);
    each(&n->body, analyse, &body);
    close_frame(x, n->frame);
    n->special[0] = find_own(n->frame, loop);
    bind_target(&body, n->a);
    each(&n->body, bind, &body);

    analyse_param(&test, n->a);
    if (n->c) {
        analyse_expression(&test, n->c);
    }
    close_frame(x, n->frame2);
    if (n->c) {
        bind_expression(&test, n->c);
    }

    each(&n->else_, analyse, &other);
    close_frame(x, n->frame3);
    each(&n->else_, bind, &other);
    x->loops--;
}

/* A macro, call block or generation block: parameters, defaults, body, and the special variables
 * that its body reads. */
static void bind_function(struct analysis *a, struct node *n)
{
    static const char *const special[] = {"caller", "kwargs", "varargs"};
    struct scope *x = a->x;
    if (!(n->frame = new_frame(a))) {
        return;
    }
    struct analysis inner = {x, n->frame};
    each(&n->list, analyse_param, &inner);
    each(&n->list2, analyse_expression, &inner);
    each(&n->body, analyse, &inner);
    for (int i = 0; i < 3; i++) {
        uint32_t name = jinja_intern(x->p, (struct str){special[i], strlen(special[i])});
        if (!reads(x, &n->body, special[i])) {
            continue;
        }
        for (size_t k = 0; k < n->list.n; k++) {
            if (n->list.at[k]->name != name) {
                continue;
            }
            if (i == 0 && k < n->list.n - n->list2.n) {
                fail(x, ERR_FORMAT, n->line, "the parameter 'caller' needs a default");
            }
            n->flag |= (uint8_t)(1 << i); /* an ordinary parameter then */
        }
        if (!(n->flag & (1 << i))) {
            declare_param(x, n->frame, name);
            n->special[i] = find_own(n->frame, name);
        }
    }
    close_frame(x, n->frame);
    each(&n->list, bind_expression, &inner);
    each(&n->list2, bind_expression, &inner);
    each(&n->body, bind, &inner);
}

/* A frame without parameters: filter block, block assignment. */
static void bind_block(struct analysis *a, struct node *n, struct node *filter)
{
    if (!(n->frame = new_frame(a))) {
        return;
    }
    struct analysis inner = {a->x, n->frame};
    each(&n->body, analyse, &inner);
    if (filter) {
        analyse_expression(&inner, filter);
    }
    close_frame(a->x, n->frame);
    each(&n->body, bind, &inner);
    if (filter) {
        bind_expression(&inner, filter);
    }
}

static void bind_with(struct analysis *a, struct node *n)
{
    each(&n->list2, bind_expression, a);
    if (!(n->frame = new_frame(a))) {
        return;
    }
    struct analysis inner = {a->x, n->frame};
    each(&n->list, analyse_param, &inner);
    each(&n->body, analyse, &inner);
    close_frame(a->x, n->frame);
    each(&n->list, bind_target, &inner);
    each(&n->body, bind, &inner);
}

static void bind(void *ctx, struct node *n)
{
    struct analysis *a = ctx;
    if (a->x->p->status) {
        return;
    }
    switch (n->type) {
    case N_PRINT:
        each(&n->list, bind_expression, ctx);
        break;
    case N_IF:
        bind_expression(ctx, n->a);
        each(&n->body, bind, ctx);
        each(&n->list, bind, ctx);
        each(&n->else_, bind, ctx);
        break;
    case N_FOR:
        bind_for(a, n);
        break;
    case N_SET:
        bind_expression(ctx, n->b);
        bind_target(ctx, n->a);
        break;
    case N_SET_BLOCK:
        bind_target(ctx, n->a);
        bind_block(a, n, n->b);
        break;
    case N_MACRO:
        bind_name(a, n);
        bind_function(a, n);
        break;
    case N_CALL_BLOCK:
        bind_expression(ctx, n->a);
        bind_function(a, n);
        break;
    case N_GENERATION:
        bind_function(a, n);
        break;
    case N_FILTER_BLOCK:
        bind_block(a, n, n->a);
        break;
    case N_WITH:
        bind_with(a, n);
        break;
    default:
        break;
    }
}

enum status jinja_resolve(struct parser *p)
{
    struct template *t = p->t;
    struct scope x = {.p = p};
    t->frame = arena_alloc(&t->arena, sizeof *t->frame);
    if (!t->frame) {
        (void)jinja_parse_fail(p, ERR_MEMORY, 0, "out of memory");
        return p->status;
    }
    if (reads(&x, &t->body, "self")) {
        (void)jinja_parse_fail(p, ERR_UNSUPPORTED, 0, "the variable 'self'");
        return p->status;
    }
    struct analysis root = {&x, t->frame};
    each(&t->body, analyse, &root);
    close_frame(&x, t->frame);
    each(&t->body, bind, &root);
    return p->status;
}

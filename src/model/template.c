/* Chat templates: see template.h; this file is the door to the interpreter in jinja_*.c. */
#include "model/jinja_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_OUTPUT = 64 << 20,
    DEFAULT_STEPS = 50000000,
    DEFAULT_MEMORY = 512 << 20,
    TREE_MEMORY = 256 << 20,
};

enum status template_parse(const char *source, size_t n, struct template **out, struct err *e)
{
    struct template *t = calloc(1, sizeof *t);
    if (!t) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a template");
    }
    t->arena.limit_bytes = TREE_MEMORY;
    struct parser p = {.t = t, .err = e};
    enum status s = jinja_lex(&p, source, n);
    if (!s) {
        s = jinja_parse(&p);
    }
    if (!s) {
        s = jinja_resolve(&p);
    }
    free(p.tokens);
    if (s) {
        template_free(t);
        return s;
    }
    *out = t;
    return OK;
}

void template_free(struct template *t)
{
    if (t) {
        arena_reset(&t->arena);
        free(t);
    }
}

/* The variables that the caller passed hide the global functions. */
static enum status fill_context(struct run *r, const json_t *vars)
{
    const struct template *t = r->t;
    r->context = jinja_vals(r, t->n_names);
    if (!r->context) {
        return jinja_no_memory(r);
    }
    for (uint32_t i = 0; i < t->n_names; i++) {
        const json_t *j = json_object_getn(vars, t->names[i].p, t->names[i].n);
        const struct function *f = j ? NULL : jinja_find_global(t->names[i]);
        if (j) {
            TRY(jinja_from_json(r, j, &r->context[i]));
        } else if (f) {
            r->context[i] = (struct val){.kind = K_FUNCTION, .u.function = f};
        }
    }
    return OK;
}

enum status template_render_limited(const struct template *t, const json_t *vars,
                                    const struct template_limits *limits, struct buf *out,
                                    struct err *e)
{
    struct err own = {0};
    struct buf text = {0};
    struct run r = {.t = t, .err = e ? e : &own, .out = &text};
    r.max_output = limits->max_output_bytes ? limits->max_output_bytes : DEFAULT_OUTPUT;
    r.max_steps = limits->max_steps ? limits->max_steps : DEFAULT_STEPS;
    r.arena.limit_bytes = limits->max_memory_bytes ? limits->max_memory_bytes : DEFAULT_MEMORY;
    r.now = limits->now;
    struct frame root = {0};
    enum status s = fill_context(&r, vars);
    if (!s) {
        s = jinja_frame_open(&r, t->frame, &root);
    }
    if (!s) {
        r.frame = &root;
        s = jinja_body(&r, &t->body);
    }
    if (!s && text.failed) {
        s = jinja_no_memory(&r);
    }
    if (!s) {
        buf_put(out, text.data ? text.data : "", text.len);
        if (out->failed) {
            s = jinja_no_memory(&r);
        }
    }
    buf_fini(&text);
    arena_reset(&r.arena);
    return s;
}

enum status template_render(const struct template *t, const json_t *vars, struct buf *out,
                            struct err *e)
{
    const struct template_limits none = {0};
    return template_render_limited(t, vars, &none, out, e);
}

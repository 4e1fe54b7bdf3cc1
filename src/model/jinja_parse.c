/* Statements of a template, by recursive descent over the tokens.
 *
 * The grammar is jinja2's: a tag either closes the block it stands in or begins a statement. What
 * jinja2 knows and chat templates never use (inheritance, imports, autoescape, recursive loops) is
 * ERR_UNSUPPORTED by name; what jinja2 refuses is ERR_FORMAT. Nesting is limited, so that neither
 * this parser nor what walks its tree can exhaust the stack. */
#include "model/jinja_internal.h"

#include <stdio.h>
#include <string.h>

void *jinja_parse_fail(struct parser *p, enum status code, int line, const char *fmt, ...)
{
    if (!p->status) { /* the first failure is the cause */
        char message[512], place[32];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(message, sizeof message, fmt, ap);
        va_end(ap);
        (void)snprintf(place, sizeof place, "template line %d", line);
        p->status = err_set(p->err, code, place, "%s", message);
    }
    return NULL;
}

bool jinja_parse_enter(struct parser *p)
{
    if (++p->nest > JINJA_MAX_TREE) {
        (void)jinja_parse_fail(p, ERR_LIMIT, jinja_peek(p)->line, "nested too deeply");
        return false;
    }
    return !p->status;
}

struct node *jinja_node(struct parser *p, enum node_type type, int line)
{
    struct node *n = p->status ? NULL : arena_alloc(&p->t->arena, sizeof *n);
    if (!n) {
        return jinja_parse_fail(p, ERR_MEMORY, line, "out of memory");
    }
    n->type = (uint8_t)type;
    n->line = line;
    n->up = n->slot = n->special[0] = n->special[1] = n->special[2] = SLOT_NONE;
    return n;
}

bool jinja_nodes_add(struct parser *p, struct nodes *list, struct node *n)
{
    if (!n) {
        return false;
    }
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        struct node **at = arena_array(&p->t->arena, cap, sizeof *at);
        if (!at) {
            (void)jinja_parse_fail(p, ERR_MEMORY, n->line, "out of memory");
            return false;
        }
        if (list->n) {
            memcpy(at, list->at, list->n * sizeof *at);
        }
        list->at = at;
        list->cap = cap;
    }
    list->at[list->n++] = n;
    return true;
}

uint32_t jinja_intern(struct parser *p, struct str name)
{
    struct template *t = p->t;
    for (uint32_t i = 0; i < t->n_names; i++) { /* a template has some dozens */
        if (str_eq(t->names[i], name)) {
            return i;
        }
    }
    if (t->n_names == t->cap_names) {
        if (t->cap_names >= 1024) {
            (void)jinja_parse_fail(p, ERR_LIMIT, jinja_peek(p)->line, "more than 1024 names");
            return 0;
        }
        uint32_t cap = t->cap_names ? t->cap_names * 2 : 64;
        struct str *names = arena_array(&t->arena, cap, sizeof *names);
        if (!names) {
            (void)jinja_parse_fail(p, ERR_MEMORY, jinja_peek(p)->line, "out of memory");
            return 0;
        }
        if (t->n_names) {
            memcpy(names, t->names, t->n_names * sizeof *names);
        }
        t->names = names;
        t->cap_names = cap;
    }
    t->names[t->n_names] = name;
    return t->n_names++;
}

/* ---- the token stream ---- */

const struct token *jinja_peek(const struct parser *p)
{
    static const struct token none = {.type = T_EOF, .line = 1};
    return p->n ? &p->tokens[p->at] : &none;
}

bool jinja_is_name(const struct token *t, const char *name)
{
    return t->type == T_NAME && str_eq(t->text, (struct str){name, strlen(name)});
}

static const struct token *next(struct parser *p)
{
    const struct token *t = jinja_peek(p);
    p->at += t->type != T_EOF;
    return t;
}

bool jinja_accept(struct parser *p, enum token_type type)
{
    if (jinja_peek(p)->type != type) {
        return false;
    }
    (void)next(p);
    return true;
}

bool jinja_accept_name(struct parser *p, const char *name)
{
    if (!jinja_is_name(jinja_peek(p), name)) {
        return false;
    }
    (void)next(p);
    return true;
}

const char *jinja_token_text(enum token_type type)
{
    static const char *const texts[T_COUNT] = {
        [T_EOF] = "end of template",
        [T_DATA] = "text",
        [T_VAR_BEGIN] = "{{",
        [T_VAR_END] = "}}",
        [T_BLOCK_BEGIN] = "{%",
        [T_BLOCK_END] = "%}",
        [T_NAME] = "name",
        [T_STRING] = "string",
        [T_INT] = "integer",
        [T_FLOAT] = "float",
        [T_ADD] = "+",
        [T_SUB] = "-",
        [T_MUL] = "*",
        [T_DIV] = "/",
        [T_FLOORDIV] = "//",
        [T_MOD] = "%",
        [T_POW] = "**",
        [T_TILDE] = "~",
        [T_LBRACKET] = "[",
        [T_RBRACKET] = "]",
        [T_LPAREN] = "(",
        [T_RPAREN] = ")",
        [T_LBRACE] = "{",
        [T_RBRACE] = "}",
        [T_EQ] = "==",
        [T_NE] = "!=",
        [T_GT] = ">",
        [T_GE] = ">=",
        [T_LT] = "<",
        [T_LE] = "<=",
        [T_ASSIGN] = "=",
        [T_DOT] = ".",
        [T_COLON] = ":",
        [T_PIPE] = "|",
        [T_COMMA] = ",",
        [T_SEMICOLON] = ";",
        [T_IN] = "in",
        [T_NOT_IN] = "not in",
    };
    return texts[type];
}

const struct token *jinja_expect(struct parser *p, enum token_type type)
{
    const struct token *t = jinja_peek(p);
    if (t->type != type) {
        return jinja_parse_fail(p, ERR_FORMAT, t->line, "expected %s, got %s",
                                jinja_token_text(type), jinja_token_text(t->type));
    }
    return p->status ? NULL : next(p);
}

/* ---- statements ---- */

static bool parse_until(struct parser *p, struct nodes *body, const char *const *ends);

/* The body of a block: after the tag's `%}` (and Python's `:`) up to one of `ends`, which stays the
 * next token. */
static bool parse_body(struct parser *p, struct nodes *body, const char *const *ends)
{
    (void)jinja_accept(p, T_COLON);
    if (!jinja_expect(p, T_BLOCK_END) || !jinja_parse_enter(p)) {
        return false;
    }
    bool ok = parse_until(p, body, ends);
    p->nest--;
    if (ok && jinja_peek(p)->type == T_EOF) {
        (void)jinja_parse_fail(p, ERR_FORMAT, jinja_peek(p)->line,
                               "unexpected end of template, looking for %s", ends[0]);
        ok = false;
    }
    return ok;
}

static bool parse_body_to(struct parser *p, struct nodes *body, const char *end)
{
    const char *const ends[] = {end, NULL};
    if (!parse_body(p, body, ends)) {
        return false;
    }
    (void)next(p);
    return true;
}

/* A body in which break and continue do not reach the loops around it: Python compiles it into a
 * function of its own. */
static bool parse_function_body(struct parser *p, struct nodes *body, const char *end)
{
    int loops = p->loops;
    p->loops = 0;
    bool ok = parse_body_to(p, body, end);
    p->loops = loops;
    return ok;
}

static struct node *parse_for(struct parser *p, int line)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    struct node *n = jinja_node(p, N_FOR, line);
    if (!n || !(n->a = jinja_parse_target(p, "in", false))) {
        return NULL;
    }
    if (!jinja_accept_name(p, "in")) {
        return jinja_parse_fail(p, ERR_FORMAT, jinja_peek(p)->line, "expected 'in'");
    }
    if (!(n->b = jinja_parse_tuple(p, false, "recursive"))) {
        return NULL;
    }
    if (jinja_accept_name(p, "if") && !(n->c = jinja_parse_expression(p, true))) {
        return NULL;
    }
    if (jinja_is_name(jinja_peek(p), "recursive")) {
        return jinja_parse_fail(p, ERR_UNSUPPORTED, line, "recursive loops");
    }
    p->loops++;
    bool ok = parse_body(p, &n->body, ends);
    p->loops--;
    if (!ok) {
        return NULL;
    }
    if (jinja_is_name(next(p), "else") && !parse_body_to(p, &n->else_, "endfor")) {
        return NULL;
    }
    return n;
}

static struct node *parse_if(struct parser *p, int line)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct node *first = jinja_node(p, N_IF, line), *n = first;
    while (n) {
        if (!(n->a = jinja_parse_tuple(p, false, NULL)) || !parse_body(p, &n->body, ends)) {
            return NULL;
        }
        const struct token *t = next(p);
        if (!jinja_is_name(t, "elif")) {
            if (jinja_is_name(t, "else") && !parse_body_to(p, &first->else_, "endif")) {
                return NULL;
            }
            return first;
        }
        n = jinja_node(p, N_IF, t->line);
        if (!jinja_nodes_add(p, &first->list, n)) {
            return NULL;
        }
    }
    return NULL;
}

static struct node *parse_set(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_SET, line);
    if (!n || !(n->a = jinja_parse_target(p, NULL, true))) {
        return NULL;
    }
    if (jinja_accept(p, T_ASSIGN)) {
        n->b = jinja_parse_tuple(p, true, NULL);
        return n->b ? n : NULL;
    }
    n->type = N_SET_BLOCK;
    if (jinja_peek(p)->type == T_PIPE && !(n->b = jinja_parse_filter(p, NULL, false))) {
        return NULL;
    }
    return parse_body_to(p, &n->body, "endset") ? n : NULL;
}

static struct node *parse_name_target(struct parser *p)
{
    const struct token *t = jinja_expect(p, T_NAME);
    struct node *n = t ? jinja_node(p, N_NAME, t->line) : NULL;
    if (!n) {
        return NULL;
    }
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (jinja_is_name(t, constants[i])) {
            return jinja_parse_fail(p, ERR_FORMAT, t->line, "cannot assign to %s", constants[i]);
        }
    }
    n->text = t->text;
    n->name = jinja_intern(p, t->text);
    return p->status ? NULL : n;
}

/* Parameters with defaults of a macro or call block: list has the names, list2 the defaults of the
 * last ones. */
static bool parse_signature(struct parser *p, struct node *n)
{
    if (!jinja_expect(p, T_LPAREN)) {
        return false;
    }
    while (jinja_peek(p)->type != T_RPAREN) {
        if (n->list.n && !jinja_expect(p, T_COMMA)) {
            return false;
        }
        if (!jinja_nodes_add(p, &n->list, parse_name_target(p))) {
            return false;
        }
        if (jinja_accept(p, T_ASSIGN)) {
            if (!jinja_nodes_add(p, &n->list2, jinja_parse_expression(p, true))) {
                return false;
            }
        } else if (n->list2.n) {
            (void)jinja_parse_fail(p, ERR_FORMAT, n->line,
                                   "a parameter without default after one with");
            return false;
        }
    }
    for (size_t i = 0; i < n->list.n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (n->list.at[i]->name == n->list.at[k]->name) {
                (void)jinja_parse_fail(p, ERR_FORMAT, n->line, "two parameters of one name");
                return false;
            }
        }
    }
    return jinja_expect(p, T_RPAREN) != NULL;
}

static struct node *parse_macro(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_MACRO, line);
    struct node *name = n ? parse_name_target(p) : NULL;
    if (!name || !parse_signature(p, n)) {
        return NULL;
    }
    n->name = name->name;
    n->text = name->text;
    return parse_function_body(p, &n->body, "endmacro") ? n : NULL;
}

static struct node *parse_call_block(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_CALL_BLOCK, line);
    if (!n || (jinja_peek(p)->type == T_LPAREN && !parse_signature(p, n)) ||
        !(n->a = jinja_parse_expression(p, true))) {
        return NULL;
    }
    if (n->a->type != N_CALL) {
        return jinja_parse_fail(p, ERR_FORMAT, line, "expected a call");
    }
    return parse_function_body(p, &n->body, "endcall") ? n : NULL;
}

static struct node *parse_filter_block(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_FILTER_BLOCK, line);
    if (!n || !(n->a = jinja_parse_filter(p, NULL, true))) {
        return NULL;
    }
    return parse_body_to(p, &n->body, "endfilter") ? n : NULL;
}

static struct node *parse_with(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_WITH, line);
    while (n && jinja_peek(p)->type != T_BLOCK_END) {
        if ((n->list.n && !jinja_expect(p, T_COMMA)) ||
            !jinja_nodes_add(p, &n->list, jinja_parse_target(p, NULL, false)) ||
            !jinja_expect(p, T_ASSIGN) ||
            !jinja_nodes_add(p, &n->list2, jinja_parse_expression(p, true))) {
            return NULL;
        }
    }
    return n && parse_body_to(p, &n->body, "endwith") ? n : NULL;
}

static struct node *parse_print(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_PRINT, line);
    while (n && jinja_peek(p)->type != T_BLOCK_END) {
        if ((n->list.n && !jinja_expect(p, T_COMMA)) ||
            !jinja_nodes_add(p, &n->list, jinja_parse_expression(p, true))) {
            return NULL;
        }
    }
    return n;
}

static struct node *parse_generation(struct parser *p, int line)
{
    struct node *n = jinja_node(p, N_GENERATION, line);
    return n && parse_function_body(p, &n->body, "endgeneration") ? n : NULL;
}

static struct node *parse_jump(struct parser *p, int line, enum node_type type)
{
    if (p->loops == 0) {
        return jinja_parse_fail(p, ERR_FORMAT, line, "break or continue outside a loop");
    }
    return jinja_node(p, type, line);
}

static struct node *parse_break(struct parser *p, int line)
{
    return parse_jump(p, line, N_BREAK);
}

static struct node *parse_continue(struct parser *p, int line)
{
    return parse_jump(p, line, N_CONTINUE);
}

/* A new statement is a row here, its parser, and a case in jinja_scope.c and jinja_exec.c. */
static const struct {
    const char *tag;
    struct node *(*parse)(struct parser *p, int line); /* NULL: known to jinja2, not done here */
} statements[] = {
    {"for", parse_for},
    {"if", parse_if},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"print", parse_print},
    {"generation", parse_generation},
    {"break", parse_break},
    {"continue", parse_continue},
    {"block", NULL},
    {"extends", NULL},
    {"include", NULL},
    {"import", NULL},
    {"from", NULL},
    {"autoescape", NULL},
};

static struct node *parse_statement(struct parser *p)
{
    const struct token *t = jinja_peek(p);
    if (t->type != T_NAME) {
        return jinja_parse_fail(p, ERR_FORMAT, t->line, "expected the name of a tag");
    }
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (jinja_is_name(t, statements[i].tag)) {
            if (!statements[i].parse) {
                return jinja_parse_fail(p, ERR_UNSUPPORTED, t->line, "the tag '%s'",
                                        statements[i].tag);
            }
            (void)next(p);
            return statements[i].parse(p, t->line);
        }
    }
    return jinja_parse_fail(p, ERR_FORMAT, t->line, "unknown tag '%.*s'", (int)t->text.n,
                            t->text.p);
}

static bool at_end(const struct parser *p, const char *const *ends)
{
    for (size_t i = 0; ends && ends[i]; i++) {
        if (jinja_is_name(jinja_peek(p), ends[i])) {
            return true;
        }
    }
    return false;
}

static bool parse_data(struct parser *p, struct nodes *body)
{
    const struct token *t = next(p);
    struct node *n = jinja_node(p, N_DATA, t->line);
    if (n) {
        n->constant = jinja_string(t->text.p, t->text.n);
    }
    return jinja_nodes_add(p, body, n);
}

static bool parse_output(struct parser *p, struct nodes *body)
{
    struct node *n = jinja_node(p, N_PRINT, next(p)->line);
    return n && jinja_nodes_add(p, &n->list, jinja_parse_tuple(p, true, NULL)) &&
           jinja_expect(p, T_VAR_END) && jinja_nodes_add(p, body, n);
}

static bool parse_until(struct parser *p, struct nodes *body, const char *const *ends)
{
    while (!p->status && jinja_peek(p)->type != T_EOF) {
        switch (jinja_peek(p)->type) {
        case T_DATA:
            if (!parse_data(p, body)) {
                return false;
            }
            break;
        case T_VAR_BEGIN:
            if (!parse_output(p, body)) {
                return false;
            }
            break;
        case T_BLOCK_BEGIN:
            (void)next(p);
            if (at_end(p, ends)) {
                return true;
            }
            if (!jinja_nodes_add(p, body, parse_statement(p)) || !jinja_expect(p, T_BLOCK_END)) {
                return false;
            }
            break;
        default:
            (void)jinja_parse_fail(p, ERR_FORMAT, jinja_peek(p)->line, "unexpected %s",
                                   jinja_token_text((enum token_type)jinja_peek(p)->type));
            return false;
        }
    }
    return !p->status;
}

enum status jinja_parse(struct parser *p)
{
    (void)parse_until(p, &p->t->body, NULL);
    return p->status;
}

/* Expressions of a template: one function per level of precedence, loosest first.
 *
 *   a if b else c | or | and | not | == != < <= > >= in | + - | ~ | * / // % | ** | - + (unary) |
 *   .name [index] (call) | filter, is test
 *
 * Some corners are jinja2's own and kept: `-x|f` filters the negated value, `**` groups to the left
 * and binds looser than unary minus, chained comparisons are one node, `x is not t` negates.
 *
 * Depth: the parser counts its own recursion, and every operator that grows a tree to the left
 * without recursion records the depth of the tree it makes, because the evaluator will recurse. */
#include "model/jinja_internal.h"

#include <string.h>

static struct node *parse_unary(struct parser *p, bool with_filter);

/* `n` gets `child` below it. */
static struct node *deepen(struct parser *p, struct node *n, const struct node *child)
{
    if (n && child && child->depth + 1 > n->depth) {
        n->depth = child->depth + 1;
        if (n->depth > JINJA_MAX_TREE) {
            return jinja_parse_fail(p, ERR_LIMIT, n->line, "an expression of too many parts");
        }
    }
    return n;
}

static bool add_child(struct parser *p, struct node *n, struct nodes *list, struct node *child)
{
    return child && jinja_nodes_add(p, list, child) && deepen(p, n, child);
}

static struct node *binary(struct parser *p, enum node_type type, enum token_type op, int line,
                           struct node *a, struct node *b)
{
    struct node *n = a && b ? jinja_node(p, type, line) : NULL;
    if (!n) {
        return NULL;
    }
    n->op = (uint8_t)op;
    n->a = a;
    n->b = b;
    return deepen(p, n, a) ? deepen(p, n, b) : NULL;
}

static struct node *unary(struct parser *p, enum node_type type, int line, struct node *a)
{
    struct node *n = a ? jinja_node(p, type, line) : NULL;
    if (n) {
        n->a = a;
    }
    return deepen(p, n, a);
}

static const struct token *take(struct parser *p)
{
    const struct token *t = jinja_peek(p);
    p->at += t->type != T_EOF;
    return t;
}

static const struct token *look(const struct parser *p)
{
    return jinja_peek(p)->type == T_EOF ? jinja_peek(p) : &p->tokens[p->at + 1];
}

/* ---- literals and names ---- */

static struct node *constant(struct parser *p, int line, struct val v)
{
    struct node *n = jinja_node(p, N_CONST, line);
    if (n) {
        n->constant = v;
    }
    return n;
}

static struct node *parse_name(struct parser *p, bool with_namespace)
{
    const struct token *t = take(p);
    if (jinja_is_name(t, "true") || jinja_is_name(t, "True")) {
        return constant(p, t->line, jinja_bool(true));
    }
    if (jinja_is_name(t, "false") || jinja_is_name(t, "False")) {
        return constant(p, t->line, jinja_bool(false));
    }
    if (jinja_is_name(t, "none") || jinja_is_name(t, "None")) {
        return constant(p, t->line, jinja_none());
    }
    struct node *n = jinja_node(p, N_NAME, t->line);
    if (!n) {
        return NULL;
    }
    n->text = t->text;
    n->name = jinja_intern(p, t->text);
    if (with_namespace && jinja_accept(p, T_DOT)) {
        const struct token *attr = jinja_expect(p, T_NAME);
        if (!attr) {
            return NULL;
        }
        n->type = N_NSREF;
        n->text = attr->text;
    }
    return p->status ? NULL : n;
}

static struct node *parse_string(struct parser *p)
{
    const struct token *t = take(p);
    struct str s = t->text;
    while (jinja_peek(p)->type == T_STRING) { /* "a" "b" is one string */
        struct str more = take(p)->text;
        char *joined = arena_alloc(&p->t->arena, s.n + more.n + 1);
        if (!joined) {
            return jinja_parse_fail(p, ERR_MEMORY, t->line, "out of memory");
        }
        if (s.n) {
            memcpy(joined, s.p, s.n);
        }
        if (more.n) {
            memcpy(joined + s.n, more.p, more.n);
        }
        s = (struct str){joined, s.n + more.n};
    }
    return constant(p, t->line, jinja_string(s.p, s.n));
}

static struct node *parse_list(struct parser *p)
{
    struct node *n = jinja_node(p, N_LIST, take(p)->line);
    while (n && jinja_peek(p)->type != T_RBRACKET) {
        if (n->list.n) {
            if (!jinja_expect(p, T_COMMA)) {
                return NULL;
            }
            if (jinja_peek(p)->type == T_RBRACKET) {
                break;
            }
        }
        if (!add_child(p, n, &n->list, jinja_parse_expression(p, true))) {
            return NULL;
        }
    }
    return n && jinja_expect(p, T_RBRACKET) ? n : NULL;
}

static struct node *parse_dict(struct parser *p)
{
    struct node *n = jinja_node(p, N_DICT, take(p)->line);
    while (n && jinja_peek(p)->type != T_RBRACE) {
        if (n->list.n) {
            if (!jinja_expect(p, T_COMMA)) {
                return NULL;
            }
            if (jinja_peek(p)->type == T_RBRACE) {
                break;
            }
        }
        if (!add_child(p, n, &n->list, jinja_parse_expression(p, true)) ||
            !jinja_expect(p, T_COLON) ||
            !add_child(p, n, &n->list, jinja_parse_expression(p, true))) {
            return NULL;
        }
    }
    return n && jinja_expect(p, T_RBRACE) ? n : NULL;
}

static struct node *tuple(struct parser *p, bool simplified, bool with_cond, const char *end_name,
                          bool parentheses, bool with_namespace);

static struct node *parse_primary(struct parser *p, bool with_namespace)
{
    const struct token *t = jinja_peek(p);
    struct node *n;
    switch (t->type) {
    case T_NAME:
        return parse_name(p, with_namespace);
    case T_STRING:
        return parse_string(p);
    case T_INT:
        return constant(p, take(p)->line, jinja_int(t->i));
    case T_FLOAT:
        return constant(p, take(p)->line, jinja_float(t->f));
    case T_LPAREN:
        (void)take(p);
        n = tuple(p, false, true, NULL, true, false);
        return n && jinja_expect(p, T_RPAREN) ? n : NULL;
    case T_LBRACKET:
        return parse_list(p);
    case T_LBRACE:
        return parse_dict(p);
    default:
        return jinja_parse_fail(p, ERR_FORMAT, t->line, "unexpected %s",
                                jinja_token_text((enum token_type)t->type));
    }
}

/* ---- tuples and targets ---- */

static bool tuple_ends(const struct parser *p, const char *end_name)
{
    const struct token *t = jinja_peek(p);
    return t->type == T_VAR_END || t->type == T_BLOCK_END || t->type == T_RPAREN ||
           (end_name && jinja_is_name(t, end_name));
}

static struct node *tuple(struct parser *p, bool simplified, bool with_cond, const char *end_name,
                          bool parentheses, bool with_namespace)
{
    struct nodes items = {0};
    int line = jinja_peek(p)->line;
    bool is_tuple = false;
    for (;;) {
        if (items.n && !jinja_expect(p, T_COMMA)) {
            return NULL;
        }
        if (tuple_ends(p, end_name)) {
            break;
        }
        if (!jinja_parse_enter(p)) {
            return NULL;
        }
        struct node *item =
            simplified ? parse_primary(p, with_namespace) : jinja_parse_expression(p, with_cond);
        p->nest--;
        if (!jinja_nodes_add(p, &items, item)) {
            return NULL;
        }
        if (jinja_peek(p)->type != T_COMMA) {
            break;
        }
        is_tuple = true;
    }
    if (!is_tuple && items.n) {
        return items.at[0];
    }
    if (!is_tuple && !parentheses) {
        return jinja_parse_fail(p, ERR_FORMAT, line, "expected an expression, got %s",
                                jinja_token_text((enum token_type)jinja_peek(p)->type));
    }
    struct node *n = jinja_node(p, N_TUPLE, line);
    for (size_t i = 0; n && i < items.n; i++) {
        n = deepen(p, n, items.at[i]);
    }
    if (n) {
        n->list = items;
    }
    return n;
}

struct node *jinja_parse_tuple(struct parser *p, bool with_cond, const char *end_name)
{
    return tuple(p, false, with_cond, end_name, false, false);
}

static bool assignable(const struct node *n)
{
    bool ok = n->type == N_NAME || n->type == N_NSREF || n->type == N_TUPLE;
    for (size_t i = 0; ok && n->type == N_TUPLE && i < n->list.n; i++) {
        ok = assignable(n->list.at[i]);
    }
    return ok;
}

struct node *jinja_parse_target(struct parser *p, const char *end_name, bool with_namespace)
{
    struct node *n = tuple(p, true, true, end_name, false, with_namespace);
    if (n && !assignable(n)) {
        return jinja_parse_fail(p, ERR_FORMAT, n->line, "cannot assign to this");
    }
    return n;
}

/* ---- calls, attributes, filters, tests ---- */

static bool add_keyword(struct parser *p, struct node *n, struct args *args)
{
    struct str name = take(p)->text;
    (void)take(p); /* = */
    for (size_t i = 0; i < args->kw.n; i++) {
        if (str_eq(args->kw_names[i], name)) {
            (void)jinja_parse_fail(p, ERR_FORMAT, n->line, "an argument is named twice");
            return false;
        }
    }
    size_t old = args->kw.cap;
    if (!add_child(p, n, &args->kw, jinja_parse_expression(p, true))) {
        return false;
    }
    if (args->kw.cap != old) {
        struct str *names = arena_array(&p->t->arena, args->kw.cap, sizeof *names);
        if (!names) {
            (void)jinja_parse_fail(p, ERR_MEMORY, n->line, "out of memory");
            return false;
        }
        if (args->kw.n > 1) {
            memcpy(names, args->kw_names, (args->kw.n - 1) * sizeof *names);
        }
        args->kw_names = names;
    }
    args->kw_names[args->kw.n - 1] = name;
    return true;
}

static bool parse_argument(struct parser *p, struct node *n, struct args *args)
{
    bool ok = true;
    if (jinja_accept(p, T_MUL)) {
        ok = !args->dyn_pos && !args->dyn_kw;
        args->dyn_pos = jinja_parse_expression(p, true);
        ok = ok && args->dyn_pos && deepen(p, n, args->dyn_pos);
    } else if (jinja_accept(p, T_POW)) {
        ok = !args->dyn_kw;
        args->dyn_kw = jinja_parse_expression(p, true);
        ok = ok && args->dyn_kw && deepen(p, n, args->dyn_kw);
    } else if (jinja_peek(p)->type == T_NAME && look(p)->type == T_ASSIGN) {
        ok = !args->dyn_kw && add_keyword(p, n, args);
    } else {
        ok = !args->dyn_pos && !args->dyn_kw && !args->kw.n &&
             add_child(p, n, &args->pos, jinja_parse_expression(p, true));
    }
    if (!ok) {
        (void)jinja_parse_fail(p, ERR_FORMAT, n->line, "invalid arguments of a call");
    }
    return ok;
}

static bool parse_args(struct parser *p, struct node *n, struct args *args)
{
    if (!jinja_expect(p, T_LPAREN)) {
        return false;
    }
    for (bool first = true; jinja_peek(p)->type != T_RPAREN; first = false) {
        if (!first) {
            if (!jinja_expect(p, T_COMMA)) {
                return false;
            }
            if (jinja_peek(p)->type == T_RPAREN) {
                break;
            }
        }
        if (!parse_argument(p, n, args)) {
            return false;
        }
    }
    return jinja_expect(p, T_RPAREN) != NULL;
}

static struct node *parse_call(struct parser *p, struct node *f)
{
    struct node *n = unary(p, N_CALL, jinja_peek(p)->line, f);
    return n && parse_args(p, n, &n->args) ? n : NULL;
}

/* What stands between the brackets of a subscript: an index or a slice. */
static struct node *parse_subscript_part(struct parser *p)
{
    int line = jinja_peek(p)->line;
    struct node *part[3] = {0};
    if (jinja_peek(p)->type != T_COLON) {
        part[0] = jinja_parse_expression(p, true);
        if (!part[0] || jinja_peek(p)->type != T_COLON) {
            return part[0];
        }
    }
    for (int i = 1; i < 3 && jinja_accept(p, T_COLON); i++) {
        enum token_type t = (enum token_type)jinja_peek(p)->type;
        if (t != T_COLON && t != T_RBRACKET && t != T_COMMA &&
            !(part[i] = jinja_parse_expression(p, true))) {
            return NULL;
        }
    }
    struct node *n = jinja_node(p, N_SLICE, line);
    if (n) {
        n->b = part[0];
        n->c = part[1];
        n->d = part[2];
        for (int i = 0; n && i < 3; i++) {
            n = deepen(p, n, part[i]);
        }
    }
    return n;
}

static struct node *parse_brackets(struct parser *p, struct node *of, int line)
{
    struct nodes parts = {0};
    while (jinja_peek(p)->type != T_RBRACKET) {
        if ((parts.n && !jinja_expect(p, T_COMMA)) ||
            !jinja_nodes_add(p, &parts, parse_subscript_part(p))) {
            return NULL;
        }
    }
    if (!jinja_expect(p, T_RBRACKET)) {
        return NULL;
    }
    if (parts.n == 1) {
        return binary(p, N_GETITEM, T_LBRACKET, line, of, parts.at[0]);
    }
    struct node *key = jinja_node(p, N_TUPLE, line);
    for (size_t i = 0; key && i < parts.n; i++) {
        if (parts.at[i]->type == N_SLICE) {
            return jinja_parse_fail(p, ERR_UNSUPPORTED, line, "a slice inside a tuple");
        }
        key = deepen(p, key, parts.at[i]);
    }
    if (key) {
        key->list = parts;
    }
    return binary(p, N_GETITEM, T_LBRACKET, line, of, key);
}

static struct node *parse_subscript(struct parser *p, struct node *of)
{
    const struct token *t = take(p);
    if (t->type == T_LBRACKET) {
        return parse_brackets(p, of, t->line);
    }
    const struct token *attr = take(p);
    if (attr->type == T_NAME) {
        struct node *n = unary(p, N_GETATTR, t->line, of);
        if (n) {
            n->text = attr->text;
        }
        return n;
    }
    if (attr->type != T_INT) {
        return jinja_parse_fail(p, ERR_FORMAT, attr->line, "expected a name or number after '.'");
    }
    return binary(p, N_GETITEM, T_LBRACKET, t->line, of,
                  constant(p, attr->line, jinja_int(attr->i)));
}

static struct node *parse_postfix(struct parser *p, struct node *n)
{
    while (n) {
        enum token_type t = (enum token_type)jinja_peek(p)->type;
        if (t == T_DOT || t == T_LBRACKET) {
            n = parse_subscript(p, n);
        } else if (t == T_LPAREN) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

/* name or name.name, as one text */
static bool parse_dotted(struct parser *p, struct str *out)
{
    const struct token *t = jinja_expect(p, T_NAME);
    if (!t) {
        return false;
    }
    *out = t->text;
    if (jinja_peek(p)->type == T_DOT) {
        (void)jinja_parse_fail(p, ERR_UNSUPPORTED, t->line, "a filter or test with a dotted name");
        return false;
    }
    return true;
}

struct node *jinja_parse_filter(struct parser *p, struct node *input, bool start_inline)
{
    struct node *n = input;
    while (start_inline || jinja_accept(p, T_PIPE)) {
        start_inline = false;
        struct node *f = jinja_node(p, N_FILTER, jinja_peek(p)->line);
        if (!f || !parse_dotted(p, &f->text)) {
            return NULL;
        }
        f->a = n;
        f->row = jinja_find_filter(f->text);
        if (!f->row) {
            return jinja_parse_fail(p, ERR_UNSUPPORTED, f->line, "the filter '%.*s'",
                                    (int)f->text.n, f->text.p);
        }
        if ((n && !deepen(p, f, n)) ||
            (jinja_peek(p)->type == T_LPAREN && !parse_args(p, f, &f->args))) {
            return NULL;
        }
        n = f;
    }
    return n;
}

static struct node *parse_test(struct parser *p, struct node *of)
{
    struct node *n = unary(p, N_TEST, take(p)->line, of);
    bool negated = jinja_accept_name(p, "not");
    if (!n || !parse_dotted(p, &n->text)) {
        return NULL;
    }
    n->row = jinja_find_test(n->text);
    if (!n->row) {
        return jinja_parse_fail(p, ERR_UNSUPPORTED, n->line, "the test '%.*s'", (int)n->text.n,
                                n->text.p);
    }
    const struct token *t = jinja_peek(p);
    bool operand = t->type == T_NAME || t->type == T_STRING || t->type == T_INT ||
                   t->type == T_FLOAT || t->type == T_LBRACKET || t->type == T_LBRACE;
    if (t->type == T_LPAREN) {
        if (!parse_args(p, n, &n->args)) {
            return NULL;
        }
    } else if (operand && !jinja_is_name(t, "else") && !jinja_is_name(t, "or") &&
               !jinja_is_name(t, "and")) {
        if (jinja_is_name(t, "is")) {
            return jinja_parse_fail(p, ERR_FORMAT, t->line, "tests cannot be chained with 'is'");
        }
        if (!add_child(p, n, &n->args.pos, parse_postfix(p, parse_primary(p, false)))) {
            return NULL;
        }
    }
    return negated ? unary(p, N_NOT, n->line, n) : n;
}

static struct node *parse_filters(struct parser *p, struct node *n)
{
    while (n) {
        const struct token *t = jinja_peek(p);
        if (t->type == T_PIPE) {
            n = jinja_parse_filter(p, n, false);
        } else if (jinja_is_name(t, "is")) {
            n = parse_test(p, n);
        } else if (t->type == T_LPAREN) {
            n = parse_call(p, n);
        } else {
            break;
        }
    }
    return n;
}

/* ---- operators ---- */

static struct node *parse_unary_inner(struct parser *p, bool with_filter)
{
    const struct token *t = jinja_peek(p);
    struct node *n;
    if (jinja_accept(p, T_SUB)) {
        n = unary(p, N_NEG, t->line, parse_unary(p, false));
    } else if (jinja_accept(p, T_ADD)) {
        n = unary(p, N_POS, t->line, parse_unary(p, false));
    } else {
        n = parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    return with_filter ? parse_filters(p, n) : n;
}

static struct node *parse_unary(struct parser *p, bool with_filter)
{
    if (!jinja_parse_enter(p)) {
        return NULL;
    }
    struct node *n = parse_unary_inner(p, with_filter);
    p->nest--;
    return n;
}

static struct node *parse_pow(struct parser *p)
{
    struct node *n = parse_unary(p, true);
    while (n && jinja_accept(p, T_POW)) {
        n = binary(p, N_BINARY, T_POW, n->line, n, parse_unary(p, true));
    }
    return n;
}

static struct node *parse_product(struct parser *p)
{
    struct node *n = parse_pow(p);
    while (n) {
        enum token_type op = (enum token_type)jinja_peek(p)->type;
        if (op != T_MUL && op != T_DIV && op != T_FLOORDIV && op != T_MOD) {
            break;
        }
        (void)take(p);
        n = binary(p, N_BINARY, op, n->line, n, parse_pow(p));
    }
    return n;
}

static struct node *parse_concat(struct parser *p)
{
    struct node *first = parse_product(p);
    if (!first || jinja_peek(p)->type != T_TILDE) {
        return first;
    }
    struct node *n = jinja_node(p, N_CONCAT, first->line);
    if (!n || !add_child(p, n, &n->list, first)) {
        return NULL;
    }
    while (jinja_accept(p, T_TILDE)) {
        if (!add_child(p, n, &n->list, parse_product(p))) {
            return NULL;
        }
    }
    return n;
}

static struct node *parse_sum(struct parser *p)
{
    struct node *n = parse_concat(p);
    while (n) {
        enum token_type op = (enum token_type)jinja_peek(p)->type;
        if (op != T_ADD && op != T_SUB) {
            break;
        }
        (void)take(p);
        n = binary(p, N_BINARY, op, n->line, n, parse_concat(p));
    }
    return n;
}

static bool comparison(struct parser *p, enum token_type *op)
{
    const struct token *t = jinja_peek(p);
    *op = (enum token_type)t->type;
    if (*op >= T_EQ && *op <= T_LE) {
        (void)take(p);
        return true;
    }
    if (jinja_accept_name(p, "in")) {
        *op = T_IN;
        return true;
    }
    if (jinja_is_name(t, "not") && jinja_is_name(look(p), "in")) {
        (void)take(p);
        (void)take(p);
        *op = T_NOT_IN;
        return true;
    }
    return false;
}

static struct node *parse_compare(struct parser *p)
{
    struct node *first = parse_sum(p), *n = NULL;
    enum token_type op;
    while (first && comparison(p, &op)) {
        if (!n) {
            n = unary(p, N_COMPARE, first->line, first);
        }
        struct node *operand = unary(p, N_OPERAND, first->line, parse_sum(p));
        if (!n || !operand || !add_child(p, n, &n->list, operand)) {
            return NULL;
        }
        operand->op = (uint8_t)op;
    }
    return n ? n : first;
}

static struct node *parse_not(struct parser *p)
{
    const struct token *t = jinja_peek(p);
    if (!jinja_accept_name(p, "not")) {
        return parse_compare(p);
    }
    if (!jinja_parse_enter(p)) {
        return NULL;
    }
    struct node *n = unary(p, N_NOT, t->line, parse_not(p));
    p->nest--;
    return n;
}

static struct node *parse_and(struct parser *p)
{
    struct node *n = parse_not(p);
    while (n && jinja_accept_name(p, "and")) {
        n = binary(p, N_AND, T_EOF, n->line, n, parse_not(p));
    }
    return n;
}

static struct node *parse_or(struct parser *p)
{
    struct node *n = parse_and(p);
    while (n && jinja_accept_name(p, "or")) {
        n = binary(p, N_OR, T_EOF, n->line, n, parse_and(p));
    }
    return n;
}

static struct node *parse_cond(struct parser *p)
{
    struct node *n = parse_or(p);
    while (n && jinja_accept_name(p, "if")) {
        struct node *cond = binary(p, N_COND, T_EOF, n->line, parse_or(p), n);
        if (cond && jinja_accept_name(p, "else")) {
            cond->c = jinja_parse_expression(p, true);
            cond = cond->c ? deepen(p, cond, cond->c) : NULL;
        }
        n = cond;
    }
    return n;
}

struct node *jinja_parse_expression(struct parser *p, bool with_cond)
{
    if (!jinja_parse_enter(p)) {
        return NULL;
    }
    struct node *n = with_cond ? parse_cond(p) : parse_or(p);
    p->nest--;
    return n;
}

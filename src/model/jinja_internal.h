/* What the files of the template interpreter share: values, syntax tree, the state of one render.
 *
 *   jinja_lex.c     source -> tokens, with jinja2's white-space control
 *   jinja_parse.c   tokens -> tree of statements; jinja_expr.c -> of expressions
 *   jinja_scope.c   tree -> slots: every name is bound to (frame, slot) as jinja2's compiler does
 *   jinja_exec.c    runs statements; jinja_eval.c evaluates expressions; jinja_access.c attributes,
 *                   subscripts and calls
 *   jinja_value.c   truth, equality, order, str(), repr(); jinja_seq.c lists, dicts, iteration
 *   jinja_text.c    code points, case, white space over UTF-8; jinja_json.c tojson and float text
 *   jinja_filters*.c, jinja_tests.c, jinja_methods.c, jinja_format.c: the library, as tables
 *
 * Invariants:
 * 1. Everything allocated while parsing lives in the template's arena, everything allocated while
 *    rendering in the render's arena; nothing is freed singly and no value owns memory.
 * 2. Strings, lists, tuples and dicts never change after they were built (the sandbox of jinja2
 *    forbids the templates to change them too), so slices and copies share memory freely. Only
 *    namespaces, cyclers, joiners, iterators and frames change.
 * 3. Every function that can fail returns a status and has filled run->err; `*out` is then
 *    untouched or garbage, never used.
 * 4. Recursion in C happens only through functions that count run->depth or walk a tree whose depth
 *    the parser has limited. */
#ifndef HEARTH_MODEL_JINJA_INTERNAL_H
#define HEARTH_MODEL_JINJA_INTERNAL_H

#include <jansson.h>

#include "base/mem.h"
#include "model/template.h"

#define TRY(call)                    \
    do {                             \
        enum status try_s_ = (call); \
        if (try_s_) {                \
            return try_s_;           \
        }                            \
    } while (0)

enum {
    JINJA_MAX_SOURCE = 1 << 20, /* bytes of template */
    JINJA_MAX_TREE = 240,       /* nesting of the syntax tree, and of the parser */
    JINJA_MAX_DEPTH = 1200,     /* nesting of evaluation, through macros */
    JINJA_MAX_RANGE = 100000,   /* as jinja2's sandbox */
    JINJA_MAX_PARAMS = 6,       /* of a filter, test or method */
};

struct str {
    const char *p;
    size_t n;
};
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || __builtin_memcmp(a.p, b.p, a.n) == 0);
}

/* ---- values ---- */

enum kind {
    K_MISSING, /* no value at all: an unset slot, an argument not given; never seen by a template */
    K_UNDEFINED,
    K_NONE,
    K_BOOL,
    K_INT,
    K_FLOAT,
    K_STR,
    K_LIST,
    K_TUPLE,
    K_DICT,
    K_VIEW, /* dict.keys(), .values(), .items() */
    K_RANGE,
    K_ITER, /* generators and reversed(): consumed once */
    K_NAMESPACE,
    K_MACRO,
    K_FUNCTION, /* a global function */
    K_METHOD,   /* a bound method */
    K_LOOP,
    K_CYCLER,
    K_JOINER,
    K_COUNT
};

/* flags of a value */
enum {
    F_MARKUP = 1, /* K_STR: markupsafe.Markup, what `safe` and `escape` give */
    F_GROUP = 1,  /* K_TUPLE: (grouper, list) of `groupby` */
    /* K_VIEW */
    F_KEYS = 1,
    F_VALUES = 2,
    F_ITEMS = 3,
    /* K_UNDEFINED: what the name in u.s was looked for in */
    F_VARIABLE = 0,
    F_HINT = 1,   /* u.s is the whole message */
    F_UNSAFE = 2, /* u.s is an attribute that the sandbox forbids */
    F_MEMBER = 3, /* u.s is an attribute; `of` is the kind of the object */
    F_ELEMENT = 4 /* n is an index; `of` as above */
};

struct val {
    uint8_t kind;
    uint8_t flag;
    uint8_t of;
    size_t n; /* bytes of a string, items of a list or tuple */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        const struct val *items;
        const struct dict *dict;
        struct dict *names; /* K_NAMESPACE */
        const struct range *range;
        struct iter *iter;
        const struct macro *macro;
        const struct function *function;
        const struct bound *bound;
        struct loop *loop;
        struct cycler *cycler;
        struct joiner *joiner;
    } u;
};

struct pair {
    struct val key, value;
};

/* Insertion-ordered. `index` holds 1 + position by open addressing, or is NULL while there are few
 * pairs. */
struct dict {
    struct pair *pairs;
    size_t n, cap;
    uint32_t *index;
    size_t index_cap;
};

struct range {
    int64_t start, stop, step;
    size_t n;
};

struct kwarg {
    struct str name;
    struct val value;
};

struct call {
    const struct val *pos;
    size_t n_pos;
    const struct kwarg *kw;
    size_t n_kw;
};

/* An iterator gets its items at first use, all at once: `make` may be NULL when they are there. */
struct run;
struct iter {
    enum status (*make)(struct run *r, struct iter *it);
    const char *type; /* for messages: "generator" */
    struct val source;
    struct call call;
    int mode;
    const struct val *items;
    size_t n, pos;
};

struct loop {
    const struct val *items;
    size_t n, at;
    struct val changed; /* last arguments of loop.changed() */
    int depth0;
};

struct cycler {
    const struct val *items;
    size_t n, at;
};

struct joiner {
    struct val sep;
    bool used;
};

/* ---- syntax tree ---- */

enum node_type {
    /* expressions */
    N_CONST,
    N_NAME,
    N_TUPLE,
    N_LIST,
    N_DICT, /* list: key, value, key, value... */
    N_COND, /* b if a else c (c may be NULL) */
    N_OR,
    N_AND,
    N_NOT,
    N_COMPARE, /* a, then list of N_OPERAND */
    N_OPERAND, /* op a */
    N_BINARY,  /* a op b */
    N_NEG,
    N_POS,
    N_CONCAT,  /* list */
    N_GETATTR, /* a.text */
    N_GETITEM, /* a[b] */
    N_SLICE,   /* a[b:c:d] */
    N_CALL,    /* a(args) */
    N_FILTER,  /* a | row(args); a NULL: the text of a block */
    N_TEST,    /* a is row(args) */
    N_NSREF,   /* target: name.text */
    /* statements */
    N_DATA,
    N_PRINT,
    N_IF, /* a, body, list of N_IF for elif, else_ */
    N_FOR,
    N_SET, /* a = b */
    N_SET_BLOCK,
    N_MACRO,
    N_CALL_BLOCK, /* a is N_CALL */
    N_FILTER_BLOCK,
    N_WITH, /* list: targets, list2: values */
    N_BREAK,
    N_CONTINUE,
    N_GENERATION,
};

struct nodes {
    struct node **at;
    size_t n, cap;
};

struct args {
    struct nodes pos;
    struct nodes kw; /* values; names beside them */
    struct str *kw_names;
    struct node *dyn_pos, *dyn_kw;
};

/* How a slot of a frame gets its first value when the frame is entered. */
enum load { LOAD_PARAM, LOAD_RESOLVE, LOAD_ALIAS, LOAD_UNDEFINED };

struct slot {
    uint32_t name;
    uint8_t load;
    bool stored;
    uint32_t up, from; /* LOAD_ALIAS: slot `from` of the frame `up` levels out */
};

/* A frame is what jinja2 calls a scope: the template, a loop body, a macro, a block... */
struct frame_def {
    struct slot *slots;
    uint32_t n, cap;
    struct frame_def *parent;
};

struct node {
    uint8_t type;
    uint8_t op; /* token type of an operator; N_OPERAND: T_IN, T_NOT_IN too */
    uint8_t flag;
    int line;
    int depth;
    struct node *a, *b, *c, *d;
    struct nodes list, list2, body, else_;
    struct val constant; /* N_CONST, N_DATA */
    struct str text;     /* attribute, filter or test name */
    uint32_t name;       /* N_NAME, N_NSREF, N_MACRO: interned */
    uint32_t up, slot;   /* where the name lives; up == UINT32_MAX: only the context has it */
    struct args args;
    const struct function *row; /* N_FILTER, N_TEST */
    struct frame_def *frame, *frame2, *frame3;
    uint32_t special[3]; /* slots of loop; caller, kwargs, varargs; UINT32_MAX: not used */
};

enum { SLOT_NONE = UINT32_MAX };

struct macro {
    const struct node *def;
    struct frame *closure;
    struct str name;
};

struct template
{
    struct arena arena;
    struct nodes body;
    struct frame_def *frame;
    struct str *names;
    uint32_t n_names, cap_names;
};

/* ---- one render ---- */

struct frame {
    struct val *slots;
    struct frame *parent;
};

struct run {
    const struct template *t;
    struct arena arena;
    struct err *err;
    struct buf *out;
    struct val *context; /* by interned name */
    struct frame *frame;
    struct val block_text; /* what the filters of a block start from */
    size_t steps, max_steps, max_output;
    int depth;
    int line;
    int64_t now; /* seconds since 1970, 0: ask the clock */
    struct {     /* the last concatenation, so that s = s + x costs |x| */
        char *base;
        size_t len, cap;
    } tail;
};

/* A row of the library: a filter, test, method or global function. With `params` the arguments are
 * bound to `a` in that order, K_MISSING where not given; without, the function reads `call`. */
struct invocation {
    struct run *r;
    const struct function *row;
    struct val self; /* what is filtered, tested, or whose method it is */
    const struct val *a;
    const struct call *call;
    struct val *out;
};
struct function {
    const char *name;
    enum status (*run)(const struct invocation *v);
    const char *params[JINJA_MAX_PARAMS]; /* "name", NULL ends */
    uint8_t required;
    bool variadic;
    uint8_t tag; /* tells apart the rows that share a function */
};

struct bound {
    const struct function *row;
    struct val self;
};

/* ---- lexer and parser ---- */

enum token_type {
    T_EOF,
    T_DATA,
    T_VAR_BEGIN,
    T_VAR_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_LBRACKET,
    T_RBRACKET,
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_EQ,
    T_NE,
    T_GT,
    T_GE,
    T_LT,
    T_LE,
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_PIPE,
    T_COMMA,
    T_SEMICOLON,
    T_IN,
    T_NOT_IN,
    T_COUNT
};

struct token {
    uint8_t type;
    int line;
    struct str text; /* of names, strings, data */
    int64_t i;
    double f;
};

struct parser {
    struct template *t;
    struct token *tokens;
    size_t n, cap, at;
    struct err *err;
    enum status status; /* the first failure; NULL results after that */
    int nest;
    int loops; /* loops around this place inside the innermost macro */
    bool in_loop_tree;
};

enum status jinja_lex(struct parser *p, const char *source, size_t n);
enum status jinja_parse(struct parser *p);
enum status jinja_resolve(struct parser *p);

/* shared by jinja_parse.c and jinja_expr.c; NULL or false after a failure */
struct node *jinja_node(struct parser *p, enum node_type type, int line);
bool jinja_nodes_add(struct parser *p, struct nodes *list, struct node *n);
void *jinja_parse_fail(struct parser *p, enum status code, int line, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
bool jinja_parse_enter(struct parser *p);
uint32_t jinja_intern(struct parser *p, struct str name);
const struct token *jinja_peek(const struct parser *p);
bool jinja_accept(struct parser *p, enum token_type type);
bool jinja_accept_name(struct parser *p, const char *name);
bool jinja_is_name(const struct token *t, const char *name);
const struct token *jinja_expect(struct parser *p, enum token_type type);
const char *jinja_token_text(enum token_type type);
struct node *jinja_parse_expression(struct parser *p, bool with_cond);
struct node *jinja_parse_tuple(struct parser *p, bool with_cond, const char *end_name);
struct node *jinja_parse_target(struct parser *p, const char *end_name, bool with_namespace);
struct node *jinja_parse_filter(struct parser *p, struct node *input, bool start_inline);

/* ---- state ---- */

enum status jinja_fail(struct run *r, enum status code, const char *fmt, ...) PRINTF_LIKE(3, 4);
enum status jinja_charge(struct run *r, size_t work); /* counts steps; ERR_LIMIT */
void *jinja_alloc(struct run *r, size_t bytes);       /* NULL: jinja_no_memory() */
struct val *jinja_vals(struct run *r, size_t n);
enum status jinja_no_memory(struct run *r);
enum status jinja_enter(struct run *r); /* depth + 1; undone by r->depth-- */
enum status jinja_put(struct run *r, const char *p, size_t n);
enum status jinja_frame_open(struct run *r, const struct frame_def *def, struct frame *out);
enum status jinja_body(struct run *r, const struct nodes *body);
enum status jinja_call_macro(struct run *r, const struct macro *m, const struct call *call,
                             struct val *out);

/* ---- values ---- */

static inline struct val jinja_none(void)
{
    return (struct val){.kind = K_NONE};
}
static inline struct val jinja_bool(bool b)
{
    return (struct val){.kind = K_BOOL, .u.b = b};
}
static inline struct val jinja_int(int64_t i)
{
    return (struct val){.kind = K_INT, .u.i = i};
}
static inline struct val jinja_float(double f)
{
    return (struct val){.kind = K_FLOAT, .u.f = f};
}
static inline struct val jinja_string(const char *p, size_t n)
{
    return (struct val){.kind = K_STR, .n = n, .u.s = p};
}
static inline struct val jinja_list(const struct val *items, size_t n)
{
    return (struct val){.kind = K_LIST, .n = n, .u.items = items};
}
static inline struct val jinja_undefined(struct str name)
{
    return (struct val){.kind = K_UNDEFINED, .flag = F_VARIABLE, .n = name.n, .u.s = name.p};
}
static inline struct val jinja_hint(const char *message)
{
    return (struct val){
        .kind = K_UNDEFINED, .flag = F_HINT, .n = __builtin_strlen(message), .u.s = message};
}
static inline struct str jinja_text(struct val v)
{
    return (struct str){v.u.s, v.n};
}
static inline bool jinja_is_number(struct val v)
{
    return v.kind == K_INT || v.kind == K_FLOAT || v.kind == K_BOOL;
}

const char *jinja_type_name(struct val v); /* as Python's type(v).__name__ */
enum status jinja_undefined_error(struct run *r, struct val v);
enum status jinja_truth(struct run *r, struct val v, bool *out);
enum status jinja_equal(struct run *r, struct val a, struct val b, bool *out);
enum status jinja_less(struct run *r, struct val a, struct val b, enum token_type op, bool *out);
enum status jinja_str(struct run *r, struct val v, struct val *out);      /* str(v) */
enum status jinja_soft_str(struct run *r, struct val v, struct val *out); /* keeps Markup */
enum status jinja_repr(struct run *r, struct val v, struct buf *out);
void jinja_repr_text(struct str s, struct buf *out);
enum status jinja_take(struct run *r, struct buf *b, struct val *out);  /* buf -> string value */
enum status jinja_escape(struct run *r, struct val v, struct val *out); /* -> Markup */
enum status jinja_concat(struct run *r, struct str a, struct str b, struct val *out);
enum status jinja_from_json(struct run *r, const json_t *j, struct val *out);

/* ---- sequences and dicts ---- */

enum status jinja_length(struct run *r, struct val v, size_t *out); /* len(v) */
/* All items of an iterable; an iterator is used up by it. */
enum status jinja_items(struct run *r, struct val v, const struct val **items, size_t *n);
bool jinja_iterable(struct val v);
enum status jinja_contains(struct run *r, struct val item, struct val in, bool *out);
enum status jinja_sort(struct run *r, struct val *items, struct val *keys, size_t n, bool reverse);
struct dict *jinja_dict_new(struct run *r, size_t expected);
enum status jinja_dict_put(struct run *r, struct dict *d, struct val key, struct val value);
enum status jinja_dict_find(struct run *r, const struct dict *d, struct val key,
                            const struct val **out);     /* *out NULL when absent */
enum status jinja_hashable(struct run *r, struct val v); /* ERR_FORMAT when not */
struct val jinja_dict_val(const struct dict *d);
struct val jinja_range_at(const struct range *g, size_t i);
enum status jinja_make_range(struct run *r, int64_t start, int64_t stop, int64_t step,
                             struct val *out);
enum status jinja_iter_new(struct run *r, const char *type, struct val source,
                           enum status (*make)(struct run *, struct iter *), struct iter **out);
enum status jinja_slice(struct run *r, struct val v, struct val from, struct val to,
                        struct val step, struct val *out);

/* ---- access ---- */

enum status jinja_getattr(struct run *r, struct val v, struct str name, struct val *out);
enum status jinja_getitem(struct run *r, struct val v, struct val key, struct val *out);
enum status jinja_call(struct run *r, struct val f, const struct call *call, struct val *out);
enum status jinja_invoke(struct run *r, const struct function *row, struct val self,
                         const struct call *call, struct val *out);
enum status jinja_eval(struct run *r, const struct node *n, struct val *out);
enum status jinja_eval_args(struct run *r, const struct args *args, struct call *out);
enum status jinja_binary(struct run *r, enum token_type op, struct val a, struct val b,
                         struct val *out);
const struct function *jinja_find_filter(struct str name);
const struct function *jinja_find_test(struct str name);
const struct function *jinja_find_global(struct str name);
bool jinja_known_filter(struct str name); /* also those that are not done here */
bool jinja_known_test(struct str name);
/* The method `name` of a value; *row NULL when there is none; ERR_UNSUPPORTED when Python has it
 * and this program does not. */
enum status jinja_find_method(struct run *r, struct val v, struct str name,
                              const struct function **row);
/* The dotted path or index of filters such as map(attribute=...); what is undefined on the way
 * becomes `fallback` unless that is K_MISSING or None. */
enum status jinja_get_path(struct run *r, struct val item, struct val path, struct val fallback,
                           struct val *out);

/* ---- text ---- */

/* The code point at p (n > 0 bytes left) and its length; a stray byte is U+FFFD of length 1. */
uint32_t jinja_rune(const char *p, size_t n, size_t *len);
size_t jinja_put_rune(char out[4], uint32_t c);
bool jinja_valid_utf8(const char *p, size_t n);
size_t jinja_rune_count(struct str s);
bool jinja_is_ascii(struct str s);
size_t jinja_rune_offset(struct str s, size_t index); /* byte offset of the index-th code point */
bool jinja_is_space(uint32_t c);
bool jinja_is_printable(uint32_t c);
struct str jinja_strip(struct str s, bool left, bool right);
struct str jinja_strip_chars(struct str s, struct str chars, bool left, bool right);
enum case_op { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE, CASE_TITLE_FILTER, CASE_SWAP };
enum status jinja_case(struct run *r, struct val v, enum case_op op, struct val *out);
/* Offset of the first (or last) `what` in s at or after `from`; SIZE_MAX when there is none. */
size_t jinja_find(struct str s, struct str what, size_t from);
size_t jinja_rfind(struct str s, struct str what);
enum status jinja_replace(struct run *r, struct str s, struct str old, struct str with,
                          int64_t count, struct val *out);
enum status jinja_splitlines(struct run *r, struct str s, bool keep, struct val *out);
enum char_class { CHAR_ALPHA, CHAR_DIGIT, CHAR_DECIMAL, CHAR_NUMERIC, CHAR_ALNUM, CHAR_WORD };
bool jinja_is_class(uint32_t c, enum char_class class);
bool jinja_is_upper(uint32_t c);
bool jinja_is_lower(uint32_t c);
bool jinja_is_cased(uint32_t c);

/* ---- numbers, JSON, formats ---- */

void jinja_float_text(double f, struct buf *out); /* Python's repr(float) */
bool jinja_parse_int(struct str s, int base, int64_t *out, bool *too_big);
bool jinja_parse_float(struct str s, double *out);
enum status jinja_percent(struct run *r, struct val format, struct val args, struct val *out);
enum status jinja_brace_format(struct run *r, struct val format, const struct call *call,
                               struct val *out);
enum status jinja_tojson(const struct invocation *v);
#endif

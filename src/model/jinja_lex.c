/* Tokens of a template, with jinja2's white-space control under trim_blocks and lstrip_blocks.
 *
 * jinja2 drives a stack of regular expressions; the same language is scanned here by hand, in one
 * pass over the source with newlines normalised. What is easy to get wrong, and checked by tests:
 * `-` strips all white space on its side, `+` on the left keeps what lstrip_blocks would take,
 * `+` on the right keeps the newline that trim_blocks would take; lstrip_blocks takes only white
 * space after the last newline (or the start of a line), and never before `{{`; an end tag is not
 * seen while a bracket is open. */
#include "model/jinja_internal.h"

#include <stdlib.h>
#include <string.h>

struct lexer {
    struct parser *p;
    const char *s;
    size_t n, at;
    int line;
    bool line_starting;
};

static enum status lex_fail(struct lexer *x, enum status code, const char *message)
{
    (void)jinja_parse_fail(x->p, code, x->line, "%s", message);
    return code;
}

static enum status emit(struct lexer *x, struct token t)
{
    struct parser *p = x->p;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 256;
        struct token *grown = realloc(p->tokens, cap * sizeof *grown);
        if (!grown) {
            return lex_fail(x, ERR_MEMORY, "out of memory");
        }
        p->tokens = grown;
        p->cap = cap;
    }
    t.line = x->line;
    p->tokens[p->n++] = t;
    return OK;
}

static void advance(struct lexer *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x->line += x->s[x->at + i] == '\n';
    }
    x->at += n;
    if (n) {
        x->line_starting = x->s[x->at - 1] == '\n';
    }
}

static bool starts(const struct lexer *x, size_t at, const char *what)
{
    size_t n = strlen(what);
    return x->n - at >= n && memcmp(x->s + at, what, n) == 0;
}

static size_t skip_space(const struct lexer *x, size_t at)
{
    while (at < x->n) {
        size_t len;
        if (!jinja_is_space(jinja_rune(x->s + at, x->n - at, &len))) {
            break;
        }
        at += len;
    }
    return at;
}

/* Length of an end tag at `at` ("-%}" and the space after it, "+%}", "%}" and a newline), 0 if
 * there is none. Variables know neither `+` nor the newline. */
static size_t end_tag(const struct lexer *x, size_t at, const char *tag, bool block)
{
    if (block && x->s[at] == '+' && starts(x, at + 1, tag)) {
        return 3;
    }
    if (x->s[at] == '-' && starts(x, at + 1, tag)) {
        return skip_space(x, at + 3) - at;
    }
    if (starts(x, at, tag)) {
        return block && at + 2 < x->n && x->s[at + 2] == '\n' ? 3 : 2;
    }
    return 0;
}

/* The template text before a tag, as the tag's sign leaves it. */
static size_t text_before(const struct lexer *x, size_t from, size_t to, char sign, bool variable)
{
    if (sign == '-') {
        struct str s = jinja_strip((struct str){x->s + from, to - from}, false, true);
        return from + s.n;
    }
    if (sign == '+' || variable) {
        return to;
    }
    size_t line = to;
    while (line > from && x->s[line - 1] != '\n') {
        line--;
    }
    if ((line > from || x->line_starting) && skip_space(x, line) >= to) {
        return line;
    }
    return to;
}

static enum status emit_data(struct lexer *x, size_t from, size_t to)
{
    if (from == to) {
        return OK;
    }
    return emit(x, (struct token){.type = T_DATA, .text = {x->s + from, to - from}});
}

static size_t raw_tag(const struct lexer *x, size_t at, const char *word, bool opening)
{
    size_t i = at + 2;
    if (i < x->n && (x->s[i] == '-' || x->s[i] == '+')) {
        i++;
    }
    i = skip_space(x, i);
    if (!starts(x, i, word)) {
        return 0;
    }
    i = skip_space(x, i + strlen(word));
    if (i >= x->n) {
        return 0;
    }
    if (opening) { /* no newline is trimmed here, and no `+` is known */
        return x->s[i] != '+' && starts(x, i, "%}")       ? i + 2 - at
               : x->s[i] == '-' && starts(x, i + 1, "%}") ? skip_space(x, i + 3) - at
                                                          : 0;
    }
    size_t len = end_tag(x, i, "%}", true);
    return len ? i + len - at : 0;
}

static char sign_at(const struct lexer *x, size_t at)
{
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : 0;
}

static enum status lex_raw(struct lexer *x)
{
    size_t from = x->at;
    for (size_t i = from; i + 1 < x->n; i++) {
        if (x->s[i] == '{' && x->s[i + 1] == '%') {
            size_t len = raw_tag(x, i, "endraw", false);
            if (len) {
                TRY(emit_data(x, from, text_before(x, from, i, sign_at(x, i + 2), false)));
                advance(x, i + len - from);
                return OK;
            }
        }
    }
    return lex_fail(x, ERR_FORMAT, "missing end of raw directive");
}

static enum status lex_comment(struct lexer *x)
{
    for (size_t i = x->at; i < x->n; i++) {
        size_t len = end_tag(x, i, "#}", true);
        if (len) {
            advance(x, i + len - x->at);
            return OK;
        }
    }
    return lex_fail(x, ERR_FORMAT, "missing end of comment tag");
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of "digits, singly separated by _" at `at`, 0 if there is none. */
static size_t digits(const struct lexer *x, size_t at)
{
    size_t i = at;
    while (i < x->n && (is_digit(x->s[i]) || (x->s[i] == '_' && i > at && x->s[i - 1] != '_' &&
                                              i + 1 < x->n && is_digit(x->s[i + 1])))) {
        i++;
    }
    return i - at;
}

/* Length of a float literal, 0 if there is none. */
static size_t float_literal(const struct lexer *x, size_t at)
{
    if (at > 0 && x->s[at - 1] == '.') {
        return 0;
    }
    size_t i = at + digits(x, at), fraction = 0;
    if (i == at) {
        return 0;
    }
    if (i < x->n && x->s[i] == '.') {
        fraction = digits(x, i + 1);
        i += fraction ? fraction + 1 : 0;
    }
    if (i < x->n && (x->s[i] == 'e' || x->s[i] == 'E')) {
        size_t e = i + 1;
        e += e < x->n && (x->s[e] == '+' || x->s[e] == '-');
        size_t exponent = digits(x, e);
        if (exponent) {
            return e + exponent - at;
        }
    }
    return fraction ? i - at : 0;
}

static bool is_base_digit(char c, int base)
{
    int v = is_digit(c)            ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return v < base;
}

static size_t based_digits(const struct lexer *x, size_t at, int base)
{
    size_t i = at;
    while (i < x->n) {
        size_t d = i + (x->s[i] == '_');
        if (d >= x->n || !is_base_digit(x->s[d], base)) {
            break;
        }
        i = d + 1;
    }
    return i - at;
}

static size_t integer_literal(const struct lexer *x, size_t at, int *base)
{
    *base = 10;
    if (x->s[at] != '0') {
        return based_digits(x, at, 10);
    }
    char c = at + 1 < x->n ? (char)(x->s[at + 1] | 0x20) : 0;
    *base = c == 'b' ? 2 : c == 'o' ? 8 : c == 'x' ? 16 : 10;
    if (*base != 10) {
        size_t n = based_digits(x, at + 2, *base);
        if (n) {
            return n + 2;
        }
        *base = 10;
    }
    return 1 + based_digits(x, at + 1, 1); /* zeros only: 01 is two numbers */
}

static enum status lex_number(struct lexer *x)
{
    char text[400];
    size_t used = 0;
    int base = 10;
    size_t len = float_literal(x, x->at);
    bool is_float = len > 0;
    if (!is_float) {
        len = integer_literal(x, x->at, &base);
    }
    for (size_t i = base == 10 ? 0 : 2; i < len; i++) {
        if (x->s[x->at + i] != '_') {
            if (used + 1 == sizeof text) {
                return lex_fail(x, ERR_UNSUPPORTED, "a number of more than 400 digits");
            }
            text[used++] = x->s[x->at + i];
        }
    }
    struct token t = {.type = is_float ? T_FLOAT : T_INT};
    bool too_big = false;
    if (is_float) {
        (void)jinja_parse_float((struct str){text, used}, &t.f);
    } else {
        (void)jinja_parse_int((struct str){text, used}, base, &t.i, &too_big);
    }
    if (too_big) {
        return lex_fail(x, ERR_UNSUPPORTED, "an integer beyond 64 bits");
    }
    TRY(emit(x, t));
    advance(x, len);
    return OK;
}

static int hex_digits(const char *p, size_t avail, size_t want, uint32_t *out)
{
    uint32_t v = 0;
    if (avail < want) {
        return -1;
    }
    for (size_t i = 0; i < want; i++) {
        if (!is_base_digit(p[i], 16)) {
            return -1;
        }
        v = v * 16 + (uint32_t)(is_digit(p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    }
    *out = v;
    return 0;
}

/* One backslash escape of Python at p (after the backslash); *used and the bytes put into out. */
static enum status escape(struct lexer *x, const char *p, size_t n, size_t *used, char out[4],
                          size_t *out_n)
{
    static const char simple[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    *used = 1;
    *out_n = 1;
    for (size_t i = 0; i + 1 < sizeof simple; i += 2) {
        if (p[0] == simple[i]) {
            out[0] = simple[i + 1];
            return OK;
        }
    }
    uint32_t c = 0;
    size_t hex = p[0] == 'x' ? 2 : p[0] == 'u' ? 4 : p[0] == 'U' ? 8 : 0;
    if (p[0] == '\n') {
        *out_n = 0;
        return OK;
    }
    if (p[0] >= '0' && p[0] <= '7') {
        for (*used = 0; *used < 3 && *used < n && p[*used] >= '0' && p[*used] <= '7'; (*used)++) {
            c = c * 8 + (uint32_t)(p[*used] - '0');
        }
    } else if (hex) {
        if (hex_digits(p + 1, n - 1, hex, &c) || c > 0x10FFFF) {
            return lex_fail(x, ERR_FORMAT, "a truncated or too large \\x, \\u or \\U escape");
        }
        *used = 1 + hex;
    } else if (p[0] == 'N' || (unsigned char)p[0] >= 0x80) {
        return lex_fail(x, ERR_UNSUPPORTED, "a named escape, or a backslash before non-ASCII text");
    } else {
        out[0] = '\\'; /* an unknown escape stays as it is */
        *used = 0;
        return OK;
    }
    if (c >= 0xD800 && c < 0xE000) {
        return lex_fail(x, ERR_UNSUPPORTED, "a surrogate escape in a string");
    }
    *out_n = jinja_put_rune(out, c);
    return OK;
}

static enum status lex_string(struct lexer *x)
{
    char quote = x->s[x->at];
    size_t end = x->at + 1;
    bool plain = true;
    while (end < x->n && x->s[end] != quote) {
        plain = plain && x->s[end] != '\\';
        end += x->s[end] == '\\' ? 2 : 1;
    }
    if (end >= x->n) {
        return lex_fail(x, ERR_FORMAT, "a string that does not end");
    }
    const char *from = x->s + x->at + 1;
    size_t n = end - x->at - 1;
    struct token t = {.type = T_STRING, .text = {from, n}};
    if (!plain) {
        char *to =
            arena_alloc(&x->p->t->arena, n * 2 + 4); /* "\1" of 2 bytes is 2 of UTF-8 at most */
        size_t used = 0;
        if (!to) {
            return lex_fail(x, ERR_MEMORY, "out of memory");
        }
        for (size_t i = 0; i < n;) {
            if (from[i] != '\\') {
                to[used++] = from[i++];
                continue;
            }
            size_t eaten, made;
            TRY(escape(x, from + i + 1, n - i - 1, &eaten, to + used, &made));
            i += 1 + eaten;
            used += made;
        }
        t.text = (struct str){to, used};
    }
    TRY(emit(x, t));
    advance(x, end + 1 - x->at);
    return OK;
}

static const struct {
    char text[3];
    uint8_t type;
} operators[] = {
    /* two characters first */
    {"//", T_FLOORDIV}, {"**", T_POW},   {"==", T_EQ},      {"!=", T_NE},      {">=", T_GE},
    {"<=", T_LE},       {"+", T_ADD},    {"-", T_SUB},      {"*", T_MUL},      {"/", T_DIV},
    {"%", T_MOD},       {"~", T_TILDE},  {"[", T_LBRACKET}, {"]", T_RBRACKET}, {"(", T_LPAREN},
    {")", T_RPAREN},    {"{", T_LBRACE}, {"}", T_RBRACE},   {">", T_GT},       {"<", T_LT},
    {"=", T_ASSIGN},    {".", T_DOT},    {":", T_COLON},    {"|", T_PIPE},     {",", T_COMMA},
    {";", T_SEMICOLON},
};

enum { MAX_OPEN = 1000 };

static enum status lex_operator(struct lexer *x, char *open, size_t *n_open)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!starts(x, x->at, operators[i].text)) {
            continue;
        }
        char c = operators[i].text[0];
        char close = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : 0;
        if (close) {
            if (*n_open == MAX_OPEN) {
                return lex_fail(x, ERR_LIMIT, "brackets nested too deeply");
            }
            open[(*n_open)++] = close;
        } else if (c == ')' || c == ']' || c == '}') {
            if (*n_open == 0 || open[--*n_open] != c) {
                return lex_fail(x, ERR_FORMAT, "an unexpected closing bracket");
            }
        }
        TRY(emit(x, (struct token){.type = operators[i].type}));
        advance(x, strlen(operators[i].text));
        return OK;
    }
    return lex_fail(x, ERR_FORMAT, "an unexpected character");
}

/* One token inside a tag that is not its end. */
static enum status lex_inside(struct lexer *x, char *open, size_t *n_open)
{
    char c = x->s[x->at];
    if (is_digit(c)) {
        return lex_number(x);
    }
    if (is_word(c)) {
        size_t end = x->at;
        while (end < x->n && is_word(x->s[end])) {
            end++;
        }
        if (end < x->n && (unsigned char)x->s[end] >= 0x80) {
            return lex_fail(x, ERR_UNSUPPORTED, "a name outside ASCII");
        }
        TRY(emit(x, (struct token){.type = T_NAME, .text = {x->s + x->at, end - x->at}}));
        advance(x, end - x->at);
        return OK;
    }
    if (c == '\'' || c == '"') {
        return lex_string(x);
    }
    if ((unsigned char)c >= 0x80) {
        return lex_fail(x, ERR_UNSUPPORTED, "a name outside ASCII");
    }
    return lex_operator(x, open, n_open);
}

static enum status lex_tag(struct lexer *x, bool block)
{
    char open[MAX_OPEN];
    size_t n_open = 0;
    TRY(emit(x, (struct token){.type = block ? T_BLOCK_BEGIN : T_VAR_BEGIN}));
    while (x->at < x->n) {
        size_t len = n_open ? 0 : end_tag(x, x->at, block ? "%}" : "}}", block);
        if (len) {
            TRY(emit(x, (struct token){.type = block ? T_BLOCK_END : T_VAR_END}));
            advance(x, len);
            return OK;
        }
        size_t space = skip_space(x, x->at) - x->at;
        if (space) {
            advance(x, space);
        } else {
            TRY(lex_inside(x, open, &n_open));
        }
    }
    return OK; /* the parser says what it misses */
}

static enum status lex_root(struct lexer *x)
{
    while (x->at < x->n) {
        size_t i = x->at;
        while (i + 1 < x->n && (x->s[i] != '{' ||
                                (x->s[i + 1] != '{' && x->s[i + 1] != '%' && x->s[i + 1] != '#'))) {
            i++;
        }
        if (i + 1 >= x->n) {
            TRY(emit_data(x, x->at, x->n));
            return OK;
        }
        char kind = x->s[i + 1], sign = sign_at(x, i + 2);
        TRY(emit_data(x, x->at, text_before(x, x->at, i, sign, kind == '{')));
        size_t raw = kind == '%' ? raw_tag(x, i, "raw", true) : 0;
        advance(x, i - x->at + (raw ? raw : sign ? 3 : 2));
        if (raw) {
            TRY(lex_raw(x));
        } else if (kind == '#') {
            TRY(lex_comment(x));
        } else {
            TRY(lex_tag(x, kind == '%'));
        }
    }
    return OK;
}

/* Copies the source with "\r\n" and "\r" as "\n", less one newline at the end. */
static char *normalise(struct arena *a, const char *source, size_t n, size_t *out_n)
{
    char *s = arena_alloc(a, n + 1);
    size_t used = 0;
    for (size_t i = 0; s && i < n; i++) {
        if (source[i] == '\r') {
            s[used++] = '\n';
            i += i + 1 < n && source[i + 1] == '\n';
        } else {
            s[used++] = source[i];
        }
    }
    *out_n = used - (used && s[used - 1] == '\n');
    return s;
}

enum status jinja_lex(struct parser *p, const char *source, size_t n)
{
    struct lexer x = {.p = p, .line = 1, .line_starting = true};
    if (n > JINJA_MAX_SOURCE) {
        return lex_fail(&x, ERR_LIMIT, "a template of more than 1 MiB");
    }
    if (!jinja_valid_utf8(source, n)) {
        return lex_fail(&x, ERR_FORMAT, "not UTF-8");
    }
    x.s = normalise(&p->t->arena, source, n, &x.n);
    if (!x.s) {
        return lex_fail(&x, ERR_MEMORY, "out of memory");
    }
    TRY(lex_root(&x));
    return emit(&x, (struct token){.type = T_EOF});
}

/* Added tokens: see tokenizer_added.h. Trie nodes are one array; children are a linked list, since
 * all but the first nodes have one child. */
#include "model/tokenizer_added.h"

#include "text/unicode.h"

#include <stdlib.h>

struct added_node {
    int32_t child, sibling; /* + 1; 0: none */
    int32_t token;          /* + 1 */
    unsigned char byte;
};

void added_fini(struct added *a)
{
    free(a->tokens);
    free(a->nodes);
    *a = (struct added){0};
}

static int32_t node_new(struct added *a, unsigned char byte)
{
    if (a->n_nodes == a->cap_nodes) {
        size_t cap = a->cap_nodes ? a->cap_nodes * 2 : 64;
        struct added_node *p = cap > INT32_MAX ? NULL : realloc(a->nodes, cap * sizeof *p);
        if (!p) {
            return 0;
        }
        a->nodes = p;
        a->cap_nodes = cap;
    }
    a->nodes[a->n_nodes] = (struct added_node){.byte = byte};
    return (int32_t)++a->n_nodes;
}

static int32_t child_of(const struct added *a, int32_t node, unsigned char byte)
{
    int32_t k = a->nodes[node - 1].child;
    while (k && a->nodes[k - 1].byte != byte) {
        k = a->nodes[k - 1].sibling;
    }
    return k;
}

/* The node of text[0..n), made where missing; 0: out of memory. */
static int32_t grow(struct added *a, const char *text, size_t n)
{
    int32_t node = a->first[(unsigned char)text[0]];
    if (!node) {
        node = a->first[(unsigned char)text[0]] = node_new(a, (unsigned char)text[0]);
    }
    for (size_t i = 1; i < n && node; i++) {
        int32_t k = child_of(a, node, (unsigned char)text[i]);
        if (!k) {
            k = node_new(a, (unsigned char)text[i]);
            if (!k) {
                return 0;
            }
            a->nodes[k - 1].sibling = a->nodes[node - 1].child;
            a->nodes[node - 1].child = k;
        }
        node = k;
    }
    return node;
}

enum status added_put(struct added *a, const char *text, size_t n, struct added_token token)
{
    if (!n) {
        return OK;
    }
    if (n > ADDED_MAX_BYTES || a->n == ADDED_MAX_TOKENS) {
        return ERR_LIMIT;
    }
    if (a->n == a->cap) {
        size_t cap = a->cap ? a->cap * 2 : 16;
        struct added_token *p = realloc(a->tokens, cap * sizeof *p);
        if (!p) {
            return ERR_MEMORY;
        }
        a->tokens = p;
        a->cap = cap;
    }
    int32_t node = grow(a, text, n);
    if (!node) {
        return ERR_MEMORY;
    }
    a->tokens[a->n++] = token;
    a->nodes[node - 1].token = (int32_t)a->n;
    return OK;
}

static unsigned class_before(const char *text, size_t at)
{
    size_t b = at;
    while (b > 0 && at - b < 4) {
        b--;
        if (((unsigned char)text[b] & 0xC0) != 0x80) {
            break;
        }
    }
    uint32_t cp;
    (void)utf8_decode(text + b, at - b, &cp);
    return cp == '_' ? UNI_LETTER : uni_class(cp);
}

static unsigned class_at(const char *text, size_t n, size_t at, size_t *len)
{
    uint32_t cp;
    *len = utf8_decode(text + at, n - at, &cp);
    return cp == '_' ? UNI_LETTER : uni_class(cp);
}

static bool stands_alone(const char *text, size_t n, size_t at, size_t end)
{
    const unsigned word = UNI_LETTER | UNI_NUMBER | UNI_MARK;
    size_t len;
    return !(at > 0 && class_before(text, at) & word) &&
           !(end < n && class_at(text, n, end, &len) & word);
}

static void take_space(const char *text, size_t n, size_t floor, struct added_match *m)
{
    size_t len;
    while (m->token->lstrip && m->at > floor && class_before(text, m->at) & UNI_SPACE) {
        m->at--;
        while (m->at > floor && ((unsigned char)text[m->at] & 0xC0) == 0x80) {
            m->at--;
        }
    }
    while (m->token->rstrip && m->end < n && class_at(text, n, m->end, &len) & UNI_SPACE) {
        m->end += len;
    }
}

/* The longest token that text begins with at i, its end in *end; NULL: none. */
static const struct added_token *longest(const struct added *a, const char *text, size_t n,
                                         size_t i, bool special, size_t *end)
{
    int32_t node = a->first[(unsigned char)text[i]];
    const struct added_token *found = NULL;
    for (size_t k = i + 1; node; k++) {
        int32_t t = a->nodes[node - 1].token;
        if (t && (special || !a->tokens[t - 1].special)) {
            found = &a->tokens[t - 1];
            *end = k;
        }
        node = k < n ? child_of(a, node, (unsigned char)text[k]) : 0;
    }
    return found;
}

size_t added_at(const struct added *a, const char *p, size_t n)
{
    size_t end = 0;
    return a->n && n && longest(a, p, n, 0, true, &end) ? end : 0;
}

bool added_next(const struct added *a, const char *text, size_t n, size_t from, size_t floor,
                bool special, struct added_match *m)
{
    for (size_t i = from; a->n && i < n; i++) {
        size_t end = i;
        const struct added_token *found = longest(a, text, n, i, special, &end);
        if (!found) {
            continue;
        }
        if (found->single_word && !stands_alone(text, n, i, end)) {
            i = end - 1;
            continue;
        }
        *m = (struct added_match){.at = i, .end = end, .scan_from = end, .token = found};
        take_space(text, n, floor, m);
        return true;
    }
    return false;
}

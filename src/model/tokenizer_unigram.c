/* Unigram: see tokenizer_unigram.h.
 *
 * From every character the trie of pieces is walked once, and each piece that is met offers its sum
 * to the place where it ends. The trie is three flat arrays in breadth-first order: the children of
 * a node lie side by side, so that one memchr over their labels finds the next, and a piece whose
 * rest no other piece shares is compared in the text of the vocabulary instead of being spelled out
 * in nodes. A hash look-up per length, as WordPiece does it, took three times as long; a double
 * array would save the memchr, but costs more to build at every opening than it returns. */
#include "model/tokenizer_unigram.h"

#include "text/unicode.h"

#include <math.h>
#include <stdlib.h>

enum { SHORT_WORD = 96, SMALL_GROUP = 24, FLOAT_SUM_MAX = 100000 };
#define NOWHERE UINT32_MAX

struct unigram_node {
    uint32_t first; /* child; of a leaf: how many bytes of its piece are still to come */
    uint32_t n;     /* children; 0: a leaf */
    int32_t id;     /* piece that ends here, or is the leaf's; -1: none */
};

/* The pieces below a node while the trie is built. */
struct group {
    uint32_t first, end, depth; /* order[first..end) agree in `depth` bytes */
};

struct builder {
    struct unigram *u;
    struct group *groups; /* one per node */
    uint32_t *order, *scratch;
    size_t cap;
};

void unigram_fini(struct unigram *u)
{
    free(u->score);
    free(u->nodes);
    free(u->labels);
    *u = (struct unigram){0};
}

static unsigned char byte_at(const struct builder *b, uint32_t i, uint32_t depth)
{
    return (unsigned char)piece_text(b->u->pieces, (int32_t)b->order[i])[depth];
}

static bool add_node(struct builder *b, struct group g, uint8_t label)
{
    struct unigram *u = b->u;
    if (u->n_nodes == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 1024;
        void *nodes = cap > INT32_MAX ? NULL : realloc(u->nodes, cap * sizeof *u->nodes);
        u->nodes = nodes ? nodes : u->nodes;
        void *labels = nodes ? realloc(u->labels, cap) : NULL;
        u->labels = labels ? labels : u->labels;
        void *groups = labels ? realloc(b->groups, cap * sizeof *b->groups) : NULL;
        b->groups = groups ? groups : b->groups;
        if (!groups) {
            return false;
        }
        b->cap = cap;
    }
    u->nodes[u->n_nodes] = (struct unigram_node){.id = -1};
    u->labels[u->n_nodes] = label;
    b->groups[u->n_nodes++] = g;
    return true;
}

/* Sorts order[first..end) by the byte at `depth`; stable is not needed. */
static void sort_group(struct builder *b, const struct group *g)
{
    if (g->end - g->first <= SMALL_GROUP) {
        for (uint32_t i = g->first + 1; i < g->end; i++) {
            uint32_t x = b->order[i], k = i;
            unsigned char c = byte_at(b, i, g->depth);
            for (; k > g->first && byte_at(b, k - 1, g->depth) > c; k--) {
                b->order[k] = b->order[k - 1];
            }
            b->order[k] = x;
        }
        return;
    }
    uint32_t at[257] = {0};
    for (uint32_t i = g->first; i < g->end; i++) {
        at[byte_at(b, i, g->depth) + 1]++;
    }
    for (int c = 0; c < 256; c++) {
        at[c + 1] += at[c];
    }
    for (uint32_t i = g->first; i < g->end; i++) {
        b->scratch[at[byte_at(b, i, g->depth)]++] = b->order[i];
    }
    memcpy(b->order + g->first, b->scratch, (g->end - g->first) * sizeof *b->order);
}

/* Takes pieces that end at the node out of its group: the last of them is the node's. */
static int32_t take_ended(struct builder *b, struct group *g)
{
    int32_t id = -1;
    for (uint32_t i = g->first; i < g->end; i++) {
        uint32_t x = b->order[i];
        if (piece_len(b->u->pieces, (int32_t)x) == g->depth) {
            id = (int32_t)x > id ? (int32_t)x : id;
            b->order[i] = b->order[g->first];
            b->order[g->first++] = x;
        }
    }
    return id;
}

static bool grow_node(struct builder *b, size_t k)
{
    struct unigram *u = b->u;
    struct group g = b->groups[k];
    int32_t id = take_ended(b, &g);
    u->nodes[k].id = id;
    if (g.first == g.end) {
        return true;
    }
    if (id < 0 && g.end - g.first == 1) {
        u->nodes[k].id = (int32_t)b->order[g.first];
        u->nodes[k].first = (uint32_t)piece_len(u->pieces, u->nodes[k].id) - g.depth;
        return true;
    }
    sort_group(b, &g);
    u->nodes[k].first = (uint32_t)u->n_nodes;
    bool ok = true;
    for (uint32_t i = g.first, end; ok && i < g.end; i = end) {
        unsigned char c = byte_at(b, i, g.depth);
        for (end = i + 1; end < g.end && byte_at(b, end, g.depth) == c;) {
            end++;
        }
        ok = add_node(b, (struct group){i, end, g.depth + 1}, c);
        u->nodes[k].n++;
    }
    return ok;
}

enum status unigram_init(struct unigram *u, unsigned types, struct err *e)
{
    const struct pieces *p = u->pieces;
    struct builder b = {.u = u,
                        .order = calloc((size_t)p->n + 1, sizeof *b.order),
                        .scratch = calloc((size_t)p->n + 1, sizeof *b.scratch)};
    uint32_t n = 0;
    enum status st = b.order && b.scratch ? OK : ERR_MEMORY;
    for (int32_t i = 0; i < p->n && !st; i++) {
        size_t len = piece_len(p, i);
        if (types >> p->type[i] & 1 && len && u->score[i] > -INFINITY) {
            b.order[n++] = (uint32_t)i;
            st = len > UNIGRAM_MAX_PIECE ? ERR_LIMIT : OK;
        }
    }
    if (!st && !add_node(&b, (struct group){0, n, 0}, 0)) {
        st = ERR_MEMORY;
    }
    for (size_t k = 0; !st && k < u->n_nodes; k++) {
        st = grow_node(&b, k) ? OK : ERR_MEMORY;
    }
    free(b.groups);
    free(b.order);
    free(b.scratch);
    return st ? err_set(e, st, NULL, "trie of %d pieces of %d bytes at most", p->n,
                        UNIGRAM_MAX_PIECE)
              : OK;
}

struct cell { /* the best way to a place in the word */
    double sum;
    uint32_t from; /* where its last piece begins; NOWHERE: not reached */
    int32_t id;
};

static const struct unigram_node *child(const struct unigram *u, const struct unigram_node *t,
                                        unsigned char c)
{
    const uint8_t *labels = u->labels + t->first;
    if (t->n <= 4) {
        for (uint32_t i = 0; i < t->n; i++) {
            if (labels[i] == c) {
                return &u->nodes[t->first + i];
            }
        }
        return NULL;
    }
    const uint8_t *hit = memchr(labels, c, t->n);
    return hit ? &u->nodes[hit - u->labels] : NULL;
}

static inline void offer(const struct unigram *u, struct cell *to, double sum, uint32_t from,
                         int32_t id)
{
    sum = u->float_sums ? (double)(float)sum : sum;
    if (to->from == NOWHERE || sum > to->sum) {
        *to = (struct cell){sum, from, id};
    }
}

/* Offers every piece that begins at word[i]; is one of them the character of `len` bytes alone? */
static bool offer_pieces(const struct unigram *u, const char *word, uint32_t n, uint32_t i,
                         size_t len, struct cell *cells)
{
    const struct unigram_node *t = u->nodes;
    const double sum = cells[i].sum;
    bool alone = false;
    uint32_t k = i;
    while (t->n) {
        if (t->id >= 0) {
            offer(u, &cells[k], sum + u->score[t->id], i, t->id);
            alone |= k - i == len;
        }
        t = k < n ? child(u, t, (unsigned char)word[k++]) : NULL;
        if (!t) {
            return alone;
        }
    }
    if (t->id >= 0 && t->first <= n - k &&
        memcmp(piece_text(u->pieces, t->id) + (k - i), word + k, t->first) == 0) {
        k += t->first;
        offer(u, &cells[k], sum + u->score[t->id], i, t->id);
        alone |= k - i == len;
    }
    return alone;
}

static bool emit_unknown(const struct unigram *u, const char *p, size_t n, bool in_unk,
                         struct ids *out)
{
    bool all = u->bytes;
    for (size_t i = 0; all && i < n; i++) {
        all = u->byte_id[(unsigned char)p[i]] >= 0;
    }
    if (!all) {
        return in_unk || ids_push(out, u->unk);
    }
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = ids_push(out, u->byte_id[(unsigned char)p[i]]);
    }
    return ok;
}

/* The pieces of the best way; cells[].from is turned round to lead forward. */
static bool emit(const struct unigram *u, const char *word, uint32_t n, struct cell *cells,
                 struct unigram_state *s, struct ids *out)
{
    for (uint32_t at = n, next = n, from; at; at = from) {
        from = cells[at].from;
        cells[at].from = next;
        next = at;
        cells[0].from = at;
    }
    bool ok = true;
    for (uint32_t at = 0, end; ok && at < n; at = end) {
        end = cells[at].from;
        int32_t id = cells[end].id;
        if (id != u->unk) {
            s->in_unk = false;
            ok = ids_push(out, id);
            continue;
        }
        while (end < n && cells[cells[end].from].id == id) {
            end = cells[end].from;
        }
        ok = emit_unknown(u, word + at, end - at, s->in_unk, out);
        s->in_unk = true;
    }
    return ok;
}

/* The library takes the sum at a place off all that lies ahead when it grows large. */
static void lower_sums(const struct unigram *u, struct cell *cells, size_t i, size_t n)
{
    const float sum = (float)cells[i].sum;
    size_t end = n - i > u->pieces->max_len + 4 ? i + u->pieces->max_len + 4 : n;
    for (size_t k = i + 1; k <= end; k++) {
        if (cells[k].from != NOWHERE) {
            cells[k].sum = (double)((float)cells[k].sum - sum);
        }
    }
    cells[i].sum = 0;
}

enum status unigram_encode_word(const struct unigram *u, const char *word, size_t n,
                                struct unigram_state *s, struct ids *out)
{
    struct cell few[SHORT_WORD + 1], *cells = few;
    if (n > INT32_MAX) {
        return ERR_LIMIT;
    }
    if (n > SHORT_WORD) {
        cells = n < SIZE_MAX / sizeof *cells ? malloc((n + 1) * sizeof *cells) : NULL;
    }
    if (!cells) {
        return ERR_MEMORY;
    }
    cells[0].sum = s->sum;
    for (size_t i = 1; i <= n; i++) {
        cells[i].from = NOWHERE;
    }
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = utf8_decode(word + i, n - i, &cp);
        if (u->float_sums && fabs(cells[i].sum) > FLOAT_SUM_MAX) {
            lower_sums(u, cells, i, n);
        }
        if (!offer_pieces(u, word, (uint32_t)n, (uint32_t)i, len, cells)) {
            double sum = cells[i].sum + u->unknown;
            offer(u, &cells[i + len], sum, (uint32_t)i, u->unk);
        }
    }
    s->sum = n ? cells[n].sum : s->sum;
    bool ok = emit(u, word, (uint32_t)n, cells, s, out);
    if (cells != few) {
        free(cells);
    }
    return ok ? OK : ERR_MEMORY;
}

/* Byte-pair encoding: see tokenizer_bpe.h.
 *
 * Most words of a text are one piece. Whether a piece's text merges back to exactly itself does not
 * depend on where it stands, so the answer is kept in one byte per piece, and such a word costs one
 * hash look-up: a cache of words that never grows and needs no lock. Of the other words, short ones
 * scan an array for the best pair (no heap beats it at ten symbols) and long ones use a binary heap
 * over a linked list, which keeps a megabyte without a space at O(n log n). */
#include "model/tokenizer_bpe.h"

#include "text/unicode.h"

#include <stdlib.h>

enum { SHORT_WORD = 64 };
#define RANK_NONE UINT32_MAX

enum status bpe_init(struct bpe *b, size_t n_merges)
{
    size_t n = 16;
    while (n < n_merges * 2) {
        n *= 2;
    }
    b->n_slots = n;
    b->pairs = b->by_score ? NULL : calloc(n, sizeof *b->pairs);
    b->whole = calloc((size_t)b->pieces->n + 1, sizeof *b->whole);
    return (b->by_score || b->pairs) && b->whole ? OK : ERR_MEMORY;
}

void bpe_fini(struct bpe *b)
{
    free(b->pairs);
    free(b->whole);
    *b = (struct bpe){0};
}

static size_t pair_slot(const struct bpe *b, uint64_t key)
{
    uint64_t h = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15u;
    size_t mask = b->n_slots - 1;
    size_t i = (size_t)(h >> 32) & mask;
    while (b->pairs[i].id && b->pairs[i].key != key) {
        i = (i + 1) & mask;
    }
    return i;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

void bpe_add_merge(struct bpe *b, int32_t left, int32_t right, int32_t joined)
{
    uint64_t key = pair_key(left, right);
    struct bpe_pair *p = &b->pairs[pair_slot(b, key)];
    uint32_t rank = (uint32_t)b->n_pairs++;
    b->last_joined = joined;
    if (!p->id) {
        *p = (struct bpe_pair){key, rank, joined + 1};
    }
}

/* A word being encoded: symbol i begins at byte at[i] and ends where the next one begins. */
struct symbols {
    const char *text;
    int32_t *id;    /* -1: not in the vocabulary */
    uint32_t *at;   /* n + 1 of them */
    uint32_t *rank; /* of the pair (this, next); RANK_NONE: cannot be joined */
    uint32_t n;
};

/* Scores sort as floats do, the highest first, when their bits are turned round. */
static uint32_t score_rank(float score)
{
    uint32_t u;
    score += 0.0f; /* -0 becomes 0 */
    memcpy(&u, &score, sizeof u);
    u = u & 0x80000000u ? ~u : u | 0x80000000u;
    return ~u;
}

static uint32_t pair_rank(const struct bpe *b, const char *text, uint32_t from, uint32_t to,
                          int32_t left, int32_t right, int32_t *joined)
{
    if (b->by_score) {
        int32_t id = piece_find(b->index, b->pieces, text + from, to - from);
        *joined = id;
        return id < 0 ? RANK_NONE : score_rank(b->pieces->score[id]);
    }
    if (left < 0 || right < 0) {
        return RANK_NONE;
    }
    const struct bpe_pair *p = &b->pairs[pair_slot(b, pair_key(left, right))];
    *joined = p->id - 1;
    return p->id ? p->rank : RANK_NONE;
}

/* First symbols of word[0..n) into s (which has room for n). */
static void split(const struct bpe *b, const char *word, uint32_t n, struct symbols *s)
{
    s->text = word;
    s->n = 0;
    for (uint32_t i = 0; i < n;) {
        uint32_t cp;
        uint32_t len = b->bytes ? 1 : (uint32_t)utf8_decode(word + i, n - i, &cp);
        s->id[s->n] = b->bytes ? b->byte_id[(unsigned char)word[i]]
                               : piece_find(b->index, b->pieces, word + i, len);
        s->at[s->n++] = i;
        i += len;
    }
    s->at[s->n] = n;
}

static uint32_t rank_at(const struct bpe *b, const struct symbols *s, uint32_t i, uint32_t j,
                        uint32_t to)
{
    int32_t joined;
    return pair_rank(b, s->text, s->at[i], to, s->id[i], s->id[j], &joined);
}

static void merge_short(const struct bpe *b, struct symbols *s)
{
    uint32_t n = s->n;
    for (uint32_t i = 0; i + 1 < n; i++) {
        s->rank[i] = rank_at(b, s, i, i + 1, s->at[i + 2]);
    }
    while (n > 1) {
        uint32_t best = RANK_NONE, k = 0;
        for (uint32_t i = 0; i + 1 < n; i++) {
            if (s->rank[i] < best) {
                best = s->rank[i];
                k = i;
            }
        }
        if (best == RANK_NONE) {
            break;
        }
        (void)pair_rank(b, s->text, s->at[k], s->at[k + 2], s->id[k], s->id[k + 1], &s->id[k]);
        n--;
        memmove(s->id + k + 1, s->id + k + 2, (n - k - 1) * sizeof *s->id);
        memmove(s->at + k + 1, s->at + k + 2, (n - k) * sizeof *s->at);
        memmove(s->rank + k, s->rank + k + 1, (n - k - 1) * sizeof *s->rank);
        if (k + 1 < n) {
            s->rank[k] = rank_at(b, s, k, k + 1, s->at[k + 2]);
        }
        if (k > 0) {
            s->rank[k - 1] = rank_at(b, s, k - 1, k, s->at[k + 1]);
        }
    }
    s->n = n;
}

/* A heap of candidate pairs for long words, smallest (rank, place) on top. An entry whose rank is
 * no longer that of its place is stale and skipped. */
struct heap {
    uint64_t *item; /* rank << 32 | place */
    size_t n;
};

static void heap_push(struct heap *h, uint64_t x)
{
    size_t i = h->n++;
    for (; i && h->item[(i - 1) / 2] > x; i = (i - 1) / 2) {
        h->item[i] = h->item[(i - 1) / 2];
    }
    h->item[i] = x;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->item[0], x = h->item[--h->n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < h->n; i = c) {
        c += c + 1 < h->n && h->item[c + 1] < h->item[c];
        if (h->item[c] >= x) {
            break;
        }
        h->item[i] = h->item[c];
    }
    h->item[i] = x;
    return top;
}

/* Links of the symbols still alive; prev of the first is `n`. */
struct links {
    uint32_t *next, *prev;
};

static void offer(const struct bpe *b, struct symbols *s, const struct links *l, struct heap *h,
                  uint32_t i)
{
    uint32_t j = l->next[i];
    s->rank[i] = j >= s->n ? RANK_NONE : rank_at(b, s, i, j, s->at[l->next[j]]);
    if (s->rank[i] != RANK_NONE) {
        heap_push(h, (uint64_t)s->rank[i] << 32 | i);
    }
}

static void merge_heap(const struct bpe *b, struct symbols *s, struct links *l, struct heap *h)
{
    uint32_t n = s->n;
    for (uint32_t i = 0; i < n; i++) {
        l->next[i] = i + 1;
        l->prev[i] = i ? i - 1 : n;
    }
    for (uint32_t i = 0; i < n; i++) {
        offer(b, s, l, h, i);
    }
    while (h->n) {
        uint64_t x = heap_pop(h);
        uint32_t i = (uint32_t)x;
        if (s->rank[i] != (uint32_t)(x >> 32)) {
            continue;
        }
        uint32_t j = l->next[i], k = l->next[j];
        (void)pair_rank(b, s->text, s->at[i], s->at[k], s->id[i], s->id[j], &s->id[i]);
        s->rank[j] = RANK_NONE;
        l->next[i] = k;
        if (k < n) {
            l->prev[k] = i;
        }
        offer(b, s, l, h, i);
        if (l->prev[i] < n) {
            offer(b, s, l, h, l->prev[i]);
        }
    }
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i = l->next[i], m++) { /* m <= i: pack in place */
        s->id[m] = s->id[i];
        s->at[m] = s->at[i];
    }
    s->at[m] = s->at[n];
    s->n = m;
}

/* Each merge takes one symbol away and offers at most two pairs: 3 n heap entries suffice. */
static enum status merge_long(const struct bpe *b, struct symbols *s, const char *word, uint32_t n)
{
    size_t cells = (size_t)n + 1;
    uint32_t *mem = calloc(cells * 5, sizeof *mem);
    struct heap h = {.item = calloc(cells * 3, sizeof *h.item)};
    int32_t *id = calloc(cells, sizeof *id);
    enum status st = ERR_MEMORY;
    if (mem && h.item && id) {
        *s = (struct symbols){.id = id, .at = mem, .rank = mem + cells};
        struct links l = {.next = mem + 2 * cells, .prev = mem + 3 * cells};
        split(b, word, n, s);
        merge_heap(b, s, &l, &h);
        st = OK;
    }
    free(h.item);
    if (st) {
        free(mem);
        free(id);
    }
    return st;
}

static bool emit_unknown(const struct bpe *b, const struct symbols *s, uint32_t i, struct ids *out,
                         bool *in_unk)
{
    bool all = !b->bytes;
    for (uint32_t k = s->at[i]; all && k < s->at[i + 1]; k++) {
        all = b->byte_id[(unsigned char)s->text[k]] >= 0;
    }
    if (all) {
        *in_unk = false;
        for (uint32_t k = s->at[i]; k < s->at[i + 1]; k++) {
            if (!ids_push(out, b->byte_id[(unsigned char)s->text[k]])) {
                return false;
            }
        }
        return true;
    }
    bool skip = b->unk < 0 || (*in_unk && b->fuse_unk);
    *in_unk = true;
    return skip || ids_push(out, b->unk);
}

static enum status emit(const struct bpe *b, const struct symbols *s, struct ids *out)
{
    bool in_unk = false;
    for (uint32_t i = 0; i < s->n; i++) {
        bool ok;
        if (s->id[i] >= 0) {
            in_unk = false;
            ok = ids_push(out, s->id[i]);
        } else {
            ok = emit_unknown(b, s, i, out, &in_unk);
        }
        if (!ok) {
            return ERR_MEMORY;
        }
    }
    return OK;
}

static enum status merge_word(const struct bpe *b, const char *word, size_t n, struct ids *out)
{
    int32_t id[SHORT_WORD];
    uint32_t at[SHORT_WORD + 1], rank[SHORT_WORD];
    struct symbols s = {.id = id, .at = at, .rank = rank};
    if (n <= SHORT_WORD) {
        split(b, word, (uint32_t)n, &s);
        merge_short(b, &s);
        return emit(b, &s, out);
    }
    enum status st = merge_long(b, &s, word, (uint32_t)n);
    if (!st) {
        st = emit(b, &s, out);
        free(s.id);
        free(s.at);
    }
    return st;
}

enum status bpe_encode_word(const struct bpe *b, const char *word, size_t n, struct ids *out)
{
    enum { UNKNOWN, YES, NO };
    if (n > INT32_MAX) {
        return ERR_LIMIT;
    }
    int32_t id = piece_find(b->index, b->pieces, word, n);
    if (id >= 0 && (b->ignore_merges || __atomic_load_n(&b->whole[id], __ATOMIC_RELAXED) == YES)) {
        return ids_push(out, id) ? OK : ERR_MEMORY;
    }
    size_t before = out->n;
    enum status st = merge_word(b, word, n, out);
    if (!st && id >= 0) {
        bool whole = out->n == before + 1 && out->data[before] == id;
        __atomic_store_n(&b->whole[id], whole ? YES : NO, __ATOMIC_RELAXED);
    }
    return st;
}

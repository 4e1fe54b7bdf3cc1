/* Pieces and their indexes: see vocab_pieces.h. base/map would do, but costs 24 bytes a key and
 * hashes byte by byte; one look-up per word of text is where encoding spends its time, so this
 * index hashes eight bytes a step and keeps 8 bytes a slot. */
#include "model/vocab_pieces.h"

#include <stdlib.h>
#include <time.h>

enum status pieces_init(struct pieces *p, size_t count, bool scores)
{
    *p = (struct pieces){0};
    if (count > PIECES_MAX) {
        return ERR_LIMIT;
    }
    p->at = calloc(count + 1, sizeof *p->at);
    p->type = calloc(count + 1, sizeof *p->type);
    p->score = scores ? calloc(count + 1, sizeof *p->score) : NULL;
    p->cap = (int32_t)count;
    if (!p->at || !p->type || (scores && !p->score) || !buf_reserve(&p->text, count * 8)) {
        pieces_fini(p);
        return ERR_MEMORY;
    }
    return OK;
}

void pieces_fini(struct pieces *p)
{
    buf_fini(&p->text);
    free(p->at);
    free(p->type);
    free(p->score);
    *p = (struct pieces){0};
}

enum status pieces_add(struct pieces *p, const char *text, size_t n, enum piece_type type,
                       float score)
{
    if (p->n == p->cap || n > PIECES_MAX_BYTES - p->text.len) {
        return ERR_LIMIT;
    }
    buf_put(&p->text, text, n);
    if (p->text.failed) {
        return ERR_MEMORY;
    }
    p->type[p->n] = (uint8_t)type;
    if (p->score) {
        p->score[p->n] = score;
    }
    p->n++;
    p->at[p->n] = (uint32_t)p->text.len;
    if (n > p->max_len) {
        p->max_len = (uint32_t)n;
    }
    return OK;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    u128 r = (u128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

/* Eight bytes a step; a rest of 4 to 7 bytes as two overlapping words, of 1 to 3 as three bytes. */
static uint64_t hash(uint64_t seed, const char *p, size_t n)
{
    uint64_t h = seed ^ n;
    while (n >= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = mix(h, w);
        p += 8;
        n -= 8;
    }
    uint64_t w = 0;
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        w = (uint64_t)a << 32 | b;
    } else if (n) {
        w = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 |
            (unsigned char)p[n - 1];
    }
    return mix(h, w);
}

static bool same(const struct pieces *p, int32_t id, const char *text, size_t n)
{
    return piece_len(p, id) == n && memcmp(piece_text(p, id), text, n) == 0;
}

static void insert(struct piece_index *x, const struct pieces *p, int32_t id)
{
    const char *text = piece_text(p, id);
    size_t n = piece_len(p, id);
    uint64_t h = hash(x->seed, text, n);
    uint32_t tag = (uint32_t)(h >> 32);
    size_t i = (size_t)h & x->mask;
    while (x->slots[i].id && !(x->slots[i].tag == tag && same(p, x->slots[i].id - 1, text, n))) {
        i = (i + 1) & x->mask;
    }
    x->repeats |= x->slots[i].id != 0;
    x->slots[i] = (struct piece_slot){tag, id + 1};
}

enum status piece_index_init(struct piece_index *x, const struct pieces *p, unsigned types)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    size_t count = 0;
    for (int32_t i = 0; i < p->n; i++) {
        count += types >> p->type[i] & 1;
    }
    size_t n = 16;
    while (n < count * 2) {
        n *= 2;
    }
    *x = (struct piece_index){.slots = calloc(n, sizeof *x->slots),
                              .mask = n - 1,
                              .types = types,
                              .seed = ((uint64_t)t.tv_nsec << 24) ^ (uint64_t)(uintptr_t)x};
    if (!x->slots) {
        return ERR_MEMORY;
    }
    for (int32_t i = 0; i < p->n; i++) {
        if (types >> p->type[i] & 1) {
            insert(x, p, i);
        }
    }
    return OK;
}

void piece_index_fini(struct piece_index *x)
{
    free(x->slots);
    *x = (struct piece_index){0};
}

int32_t piece_find(const struct piece_index *x, const struct pieces *p, const char *text, size_t n)
{
    if (!x->slots || n > p->max_len) {
        return -1;
    }
    uint64_t h = hash(x->seed, text, n);
    uint32_t tag = (uint32_t)(h >> 32);
    for (size_t i = (size_t)h & x->mask;; i = (i + 1) & x->mask) {
        const struct piece_slot *s = &x->slots[i];
        if (!s->id) {
            return -1;
        }
        if (s->tag == tag && same(p, s->id - 1, text, n)) {
            return s->id - 1;
        }
    }
}

int32_t piece_find_near(const struct piece_index *x, const struct pieces *p, const char *text,
                        size_t n, int32_t guess)
{
    bool hit = guess >= 0 && guess < p->n && !x->repeats && x->types >> p->type[guess] & 1 &&
               same(p, guess, text, n);
    return hit ? guess : piece_find(x, p, text, n);
}

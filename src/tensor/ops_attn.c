/* Attention and the KV cache: see ops.h.
 *
 * The unit of work is a tile of queries that share a KV head: the heads of its group times some
 * consecutive rows. A tile walks the KV blocks it sees, 32 positions at a time, with an online
 * softmax. A query's arithmetic does not depend on its tile, so the shape of tiles may follow the
 * number of workers: when there are few tiles (decoding), groups are split by heads. */
#include "tensor/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

size_t kv_block_bytes(enum tensor_type type, int64_t n_kv_heads, int64_t head_dim)
{
    int64_t unit = type == TYPE_F16 || type == TYPE_F32 ? 16 : type == TYPE_Q8_0 ? 32 : 0;
    if (!unit || n_kv_heads < 1 || n_kv_heads > 1 << 16 || head_dim < 1 ||
        head_dim > ATTN_MAX_DIM || head_dim % unit) {
        return 0;
    }
    return (size_t)n_kv_heads * kv_section_bytes(type, (size_t)head_dim);
}

static uint8_t *section_at(const struct kv_layer *kv, int32_t block, int64_t head)
{
    size_t section = kv_section_bytes(kv->type, (size_t)kv->head_dim);
    return kv->pool + ((size_t)block * (size_t)kv->n_kv_heads + (size_t)head) * section;
}

void kv_store_heads(const struct kv_layer *kv, const struct attn_seq *seqs, int64_t n_seqs,
                    size_t first, size_t last, const float *k, const float *v, int64_t ld)
{
    for (int64_t s = 0; s < n_seqs; s++) {
        for (int64_t r = 0; r < seqs[s].n_rows; r++) {
            int64_t pos = seqs[s].first_pos + r;
            int32_t block = seqs[s].blocks[pos / KV_BLOCK];
            for (size_t h = first; h < last; h++) {
                int64_t at = (seqs[s].row + r) * ld + (int64_t)h * kv->head_dim;
                kernels()->kv_put(kv->type, section_at(kv, block, (int64_t)h),
                                  (size_t)(pos % KV_BLOCK), (size_t)kv->head_dim, k + at, v + at);
            }
        }
    }
}

void op_kv_store(const struct worker *w, struct kv_layer *kv, const struct attn_seq *seqs,
                 int64_t n_seqs, const float *k, const float *v, int64_t ld)
{
    /* Heads are dealt out, not rows: the slots of a section share cache lines. */
    size_t first, last;
    team_share(w, (size_t)kv->n_kv_heads, 1, &first, &last);
    kv_store_heads(kv, seqs, n_seqs, first, last, k, v, ld);
}

/* What differs between causal attention over a paged cache and full attention over packed rows. */
struct attn_item {
    int64_t kv_head, first_head, n_heads; /* query heads [first_head, +n_heads) */
    int64_t row, n_rows;                  /* in q and out */
};

struct tile_memory {
    _Alignas(64) float q[ATTN_QUERIES * ATTN_MAX_DIM];
    _Alignas(64) float acc[ATTN_QUERIES * ATTN_MAX_DIM];
};

/* Copies the item's queries, times scale, into the tile and clears its state. Limits are the
 * caller's. */
static void tile_begin(struct attn_tile *t, struct tile_memory *m, const struct attn_item *it,
                       int64_t head_dim, float scale, float softcap, const float *q, int64_t ldq)
{
    t->n = (int)(it->n_rows * it->n_heads);
    t->head_dim = head_dim;
    t->softcap = softcap;
    t->q = m->q;
    t->acc = m->acc;
    assert(t->n <= ATTN_QUERIES);
    memset(m->acc, 0, (size_t)t->n * (size_t)head_dim * sizeof(float));
    for (int i = 0; i < t->n; i++) {
        const float *from =
            q + (it->row + i / it->n_heads) * ldq + (it->first_head + i % it->n_heads) * head_dim;
        for (int64_t c = 0; c < head_dim; c++) {
            m->q[i * head_dim + c] = from[c] * scale;
        }
        t->peak[i] = -INFINITY;
        t->total[i] = 0;
    }
}

static void tile_end(const struct attn_tile *t, const struct attn_item *it, float *out, int64_t ldo)
{
    for (int i = 0; i < t->n; i++) {
        float *to = out + (it->row + i / it->n_heads) * ldo +
                    (it->first_head + i % it->n_heads) * t->head_dim;
        float inverse = 1 / t->total[i];
        for (int64_t c = 0; c < t->head_dim; c++) {
            to[c] = t->acc[i * t->head_dim + c] * inverse;
        }
    }
}

/* Rows and heads of a tile: as many heads of the group as fit, then as many rows. */
static int64_t tile_heads(int64_t group, int64_t limit)
{
    int64_t n = group < limit ? group : limit;
    while (group % n) {
        n--;
    }
    return n;
}

static void attend(const struct attn *p, const struct kv_layer *kv, const struct attn_seq *seq,
                   const struct attn_item *it, const float *q, int64_t ldq, float *out, int64_t ldo)
{
    struct tile_memory memory;
    struct attn_tile t;
    tile_begin(&t, &memory, it, kv->head_dim, p->scale, p->softcap, q, ldq);
    int64_t lowest = INT64_MAX, highest = 0;
    for (int i = 0; i < t.n; i++) {
        int64_t own = seq->first_pos + (it->row - seq->row) + i / it->n_heads;
        t.hi[i] = own + 1;
        t.lo[i] = p->window > 0 && own + 1 > p->window ? own + 1 - p->window : 0;
        lowest = t.lo[i] < lowest ? t.lo[i] : lowest;
        highest = t.hi[i] > highest ? t.hi[i] : highest;
    }
    for (int64_t b = lowest / KV_BLOCK; b * KV_BLOCK < highest; b++) {
        kernels()->attn_block(&t, kv->type, section_at(kv, seq->blocks[b], it->kv_head),
                              b * KV_BLOCK);
    }
    tile_end(&t, it, out, ldo);
}

void op_attention(const struct worker *w, const struct attn *p, const struct kv_layer *kv,
                  const struct attn_seq *seqs, int64_t n_seqs, const float *q, int64_t ldq,
                  float *out, int64_t ldo)
{
    int64_t group = p->n_heads / kv->n_kv_heads, total_rows = 0;
    assert(group * kv->n_kv_heads == p->n_heads);
    for (int64_t s = 0; s < n_seqs; s++) {
        total_rows += seqs[s].n_rows;
    }
    /* Few tiles: one head each, so that no worker waits for another's group. */
    bool scarce =
        total_rows * kv->n_kv_heads < 4 * w->count && total_rows * kv->n_kv_heads % w->count != 0;
    int64_t n_heads = tile_heads(group, scarce ? 1 : ATTN_QUERIES);
    int64_t max_rows = ATTN_QUERIES / n_heads, parts = p->n_heads / n_heads;
    max_rows = max_rows > 8 ? max_rows & ~(int64_t)7 : max_rows; /* kernels go by eights */
    int64_t item =
        0; /* dealt out in turn: later rows see more positions, so no contiguous shares */
    for (int64_t s = 0; s < n_seqs; s++) {
        for (int64_t r = 0; r < seqs[s].n_rows; r += max_rows) {
            int64_t n_rows = seqs[s].n_rows - r < max_rows ? seqs[s].n_rows - r : max_rows;
            for (int64_t part = 0; part < parts; part++, item++) {
                if (item % w->count != w->index) {
                    continue;
                }
                struct attn_item it = {part * n_heads / group, part * n_heads, n_heads,
                                       seqs[s].row + r, n_rows};
                attend(p, kv, &seqs[s], &it, q, ldq, out, ldo);
            }
        }
    }
}

/* Packs rows [first, first + n) of one head into F32 sections. */
static void pack_rows(const float *k, const float *v, int64_t ld, int64_t n, int64_t head_dim,
                      uint8_t *sections)
{
    size_t bytes = kv_section_bytes(TYPE_F32, (size_t)head_dim);
    for (int64_t i = 0; i < n; i++) {
        kernels()->kv_put(TYPE_F32, sections + (size_t)(i / KV_BLOCK) * bytes,
                          (size_t)(i % KV_BLOCK), (size_t)head_dim, k + i * ld, v + i * ld);
    }
}

static void attend_full(const struct worker *w, const float *q, const float *k, const float *v,
                        int64_t ld, int64_t row, int64_t n, int64_t head, int64_t head_dim,
                        float scale, float *out, int64_t ldo)
{
    size_t bytes = kv_section_bytes(TYPE_F32, (size_t)head_dim);
    int64_t n_blocks = (n + KV_BLOCK - 1) / KV_BLOCK;
    bool whole = (size_t)n_blocks * bytes <= w->scratch_bytes;
    _Alignas(64) uint8_t one[2 * KV_BLOCK * ATTN_MAX_DIM * sizeof(float)];
    const float *hk = k + row * ld + head * head_dim, *hv = v + row * ld + head * head_dim;
    if (whole) {
        pack_rows(hk, hv, ld, n, head_dim, w->scratch);
    }
    for (int64_t r = 0; r < n; r += ATTN_QUERIES) {
        struct tile_memory memory;
        struct attn_tile t;
        struct attn_item it = {head, head, 1, row + r, n - r < ATTN_QUERIES ? n - r : ATTN_QUERIES};
        tile_begin(&t, &memory, &it, head_dim, scale, 0, q, ld);
        for (int i = 0; i < t.n; i++) {
            t.lo[i] = 0;
            t.hi[i] = n;
        }
        for (int64_t b = 0; b < n_blocks; b++) {
            const uint8_t *section = (const uint8_t *)w->scratch + (size_t)b * bytes;
            if (!whole) {
                int64_t left = n - b * KV_BLOCK;
                pack_rows(hk + b * KV_BLOCK * ld, hv + b * KV_BLOCK * ld, ld,
                          left < KV_BLOCK ? left : KV_BLOCK, head_dim, one);
                section = one;
            }
            kernels()->attn_block(&t, TYPE_F32, section, b * KV_BLOCK);
        }
        tile_end(&t, &it, out, ldo);
    }
}

void op_attention_full(const struct worker *w, const float *q, const float *k, const float *v,
                       int64_t ld, const int64_t *starts, int64_t n_seqs, int64_t n_heads,
                       int64_t head_dim, float scale, float *out, int64_t ldo)
{
    assert(head_dim <= ATTN_MAX_DIM);
    for (int64_t i = w->index; i < n_seqs * n_heads; i += w->count) {
        int64_t s = i / n_heads;
        attend_full(w, q, k, v, ld, starts[s], starts[s + 1] - starts[s], i % n_heads, head_dim,
                    scale, out, ldo);
    }
}

/* The KV cache: see kv.h. A table of fixed size per sequence costs 4 bytes per block and never has
 * to grow inside a forward pass. */
#include "model/kv.h"

#include "model/model_internal.h"

#include <assert.h>
#include <stdlib.h>

struct kv_seq {
    bool live;
    int32_t *blocks; /* room for all blocks of the pool; kept when the sequence is freed */
    int64_t n_blocks, n_tokens;
};

struct kv {
    const struct model *model;
    int64_t n_layers, n_blocks, n_free;
    struct kv_layer *layers;
    uint8_t *pool;
    float *partial; /* one for all layers: they attend one after the other */
    size_t bytes;
    int32_t *free_blocks;
    struct kv_seq seqs[KV_MAX_SEQS];
};

static int64_t blocks_for(int64_t n_tokens)
{
    return (n_tokens + KV_BLOCK - 1) / KV_BLOCK;
}

static enum status allocate(struct kv *kv, enum tensor_type type, const struct hparams *hp,
                            struct err *e)
{
    size_t block = kv_block_bytes(type, hp->n_kv_heads, hp->head_dim), layer, all;
    if (!block) {
        const struct type_info *info = type_info(type);
        return err_set(e, ERR_UNSUPPORTED, NULL, "no KV cache of %s for heads of %lld numbers",
                       info ? info->name : "this type", (long long)hp->head_dim);
    }
    if (!size_mul(block, (size_t)kv->n_blocks, &layer) ||
        !size_mul(layer, (size_t)kv->n_layers, &all)) {
        return err_set(e, ERR_LIMIT, NULL, "a KV cache of %lld tokens is too large",
                       (long long)kv->n_blocks * KV_BLOCK);
    }
    size_t partial = kv_partial_floats(kv->n_blocks * KV_BLOCK, hp->n_heads, hp->head_dim);
    kv->bytes = all;
    kv->pool = mem_large(all, 1);
    kv->partial = mem_aligned(partial, sizeof *kv->partial);
    kv->layers = mem_aligned((size_t)kv->n_layers, sizeof *kv->layers);
    kv->free_blocks = mem_aligned((size_t)kv->n_blocks, sizeof *kv->free_blocks);
    if (!kv->pool || !kv->partial || !kv->layers || !kv->free_blocks) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a KV cache of %zu bytes", all);
    }
    for (int64_t i = 0; i < kv->n_layers; i++) {
        kv->layers[i] = (struct kv_layer){.type = type,
                                          .n_kv_heads = hp->n_kv_heads,
                                          .head_dim = hp->head_dim,
                                          .pool = kv->pool + (size_t)i * layer,
                                          .partial = kv->partial,
                                          .partial_floats = partial};
    }
    return OK;
}

enum status kv_open(const struct model *m, int64_t n_tokens, enum tensor_type type, struct kv **out,
                    struct err *e)
{
    if (n_tokens < 1 || n_tokens > MAX_CONTEXT) {
        return err_set(e, ERR_USAGE, NULL, "a KV cache of %lld tokens (1 to %d are possible)",
                       (long long)n_tokens, MAX_CONTEXT);
    }
    struct kv *kv = calloc(1, sizeof *kv);
    if (!kv) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a KV cache");
    }
    kv->model = m;
    kv->n_layers = m->hp.n_layers;
    kv->n_blocks = blocks_for(n_tokens);
    enum status s = allocate(kv, type, &m->hp, e);
    if (s) {
        kv_close(kv);
        return s;
    }
    while (kv->n_free < kv->n_blocks) { /* the lowest numbers lie on top */
        kv->free_blocks[kv->n_free] = (int32_t)(kv->n_blocks - 1 - kv->n_free);
        kv->n_free++;
    }
    *out = kv;
    return OK;
}

void kv_close(struct kv *kv)
{
    if (!kv) {
        return;
    }
    for (int i = 0; i < KV_MAX_SEQS; i++) {
        free(kv->seqs[i].blocks);
    }
    free(kv->free_blocks);
    free(kv->layers);
    free(kv->partial);
    mem_large_free(kv->pool);
    free(kv);
}

enum status kv_seq_new(struct kv *kv, int32_t *seq, struct err *e)
{
    for (int32_t i = 0; i < KV_MAX_SEQS; i++) {
        struct kv_seq *q = &kv->seqs[i];
        if (q->live) {
            continue;
        }
        if (!q->blocks) {
            q->blocks = mem_aligned((size_t)kv->n_blocks, sizeof *q->blocks);
            if (!q->blocks) {
                return err_set(e, ERR_MEMORY, NULL, "no memory for a sequence");
            }
        }
        q->live = true;
        q->n_blocks = q->n_tokens = 0;
        *seq = i;
        return OK;
    }
    return err_set(e, ERR_LIMIT, NULL, "more than %d sequences at once", KV_MAX_SEQS);
}

bool kv_is_seq(const struct kv *kv, int32_t seq)
{
    return seq >= 0 && seq < KV_MAX_SEQS && kv->seqs[seq].live;
}

void kv_seq_free(struct kv *kv, int32_t seq)
{
    if (kv && kv_is_seq(kv, seq)) {
        kv_commit(kv, seq, 0);
        kv->seqs[seq].live = false;
    }
}

int64_t kv_seq_len(const struct kv *kv, int32_t seq)
{
    return kv_is_seq(kv, seq) ? kv->seqs[seq].n_tokens : 0;
}

void kv_seq_truncate(struct kv *kv, int32_t seq, int64_t n_tokens)
{
    if (kv_is_seq(kv, seq) && n_tokens >= 0 && n_tokens < kv->seqs[seq].n_tokens) {
        kv_commit(kv, seq, n_tokens);
    }
}

bool kv_reserve(struct kv *kv, int32_t seq, int64_t extra)
{
    struct kv_seq *q = &kv->seqs[seq];
    int64_t need = blocks_for(q->n_tokens + extra) - q->n_blocks;
    if (need > kv->n_free) {
        return false;
    }
    while (need-- > 0) {
        q->blocks[q->n_blocks++] = kv->free_blocks[--kv->n_free];
    }
    return true;
}

void kv_commit(struct kv *kv, int32_t seq, int64_t n_tokens)
{
    struct kv_seq *q = &kv->seqs[seq];
    int64_t keep = blocks_for(n_tokens);
    assert(keep <= q->n_blocks);
    while (q->n_blocks > keep) {
        kv->free_blocks[kv->n_free++] = q->blocks[--q->n_blocks];
    }
    q->n_tokens = n_tokens;
}

const int32_t *kv_blocks(const struct kv *kv, int32_t seq)
{
    return kv->seqs[seq].blocks;
}

struct kv_layer *kv_layer_at(struct kv *kv, int64_t layer)
{
    return &kv->layers[layer];
}

const struct model *kv_model(const struct kv *kv)
{
    return kv->model;
}

int64_t kv_free_tokens(const struct kv *kv, int32_t seq)
{
    int64_t spare =
        kv_is_seq(kv, seq) ? kv->seqs[seq].n_blocks * KV_BLOCK - kv->seqs[seq].n_tokens : 0;
    return kv->n_free * KV_BLOCK + spare;
}

size_t kv_bytes(const struct kv *kv)
{
    return kv->bytes;
}

size_t kv_token_bytes(const struct kv *kv)
{
    return kv->bytes / ((size_t)kv->n_blocks * KV_BLOCK);
}

/* The KV cache's inside, for forward passes: see model.h for what callers use.
 *
 * One pool of blocks per layer; block b of every layer belongs to the same tokens, so a sequence
 * has one table for all layers. Free blocks are a stack.
 * Invariants: (1) a block is in the free stack or in exactly one sequence's table; (2) a live
 * sequence of length n owns exactly ceil(n / KV_BLOCK) blocks outside kv_reserve..kv_commit.
 * Not thread-safe: the owner of the model owns its kvs. */
#ifndef HEARTH_MODEL_KV_H
#define HEARTH_MODEL_KV_H

#include "model/model.h"

enum { KV_MAX_SEQS = 256 };

/* Blocks for `extra` more tokens of seq; false (and nothing changed) when the pool has too few. */
bool kv_reserve(struct kv *kv, int32_t seq, int64_t extra);
/* Ends a reservation: the sequence has now n_tokens tokens, blocks past them go back. */
void kv_commit(struct kv *kv, int32_t seq, int64_t n_tokens);
bool kv_is_seq(const struct kv *kv, int32_t seq);
const int32_t *kv_blocks(const struct kv *kv, int32_t seq);
struct kv_layer *kv_layer_at(struct kv *kv, int64_t layer);
const struct model *kv_model(const struct kv *kv);
#endif

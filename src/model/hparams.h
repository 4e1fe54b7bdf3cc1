/* Hyperparameters: the numbers that shape a model, read from a file's metadata and checked once, so
 * that everything after them may multiply and divide without fear.
 *
 * Differences between the generative families (biases, q/k norms, windows, rope layouts) are fields
 * here: one forward pass serves them all. After hparams_read() these hold: every count is inside
 * the limits below; n_heads is a multiple of n_kv_heads; head_dim and rope.rot_dim are even,
 * rot_dim <= head_dim; products of any two fields fit in 40 bits. */
#ifndef HEARTH_MODEL_HPARAMS_H
#define HEARTH_MODEL_HPARAMS_H

#include "model/model.h"
#include "model/weights.h"

enum {
    MAX_LAYERS = 1024,
    MAX_DIM = 1 << 18,
    MAX_HEADS = 1024,
    MAX_HEAD_DIM = 512,
    MAX_VOCAB = 1 << 22,
    MAX_CONTEXT = 1 << 24
};

enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 };

struct rope_hparams {
    double freq_base;
    int64_t rot_dim;
    bool neox;
    enum rope_scaling scaling;
    double factor;      /* context is this many times longer than trained; 1: no scaling */
    int64_t n_ctx_orig; /* trained context of YaRN and llama3 */
    double low, high;   /* llama3: low_freq_factor, high_freq_factor */
    double beta_fast, beta_slow, attn_factor; /* YaRN */
};

struct hparams {
    char arch[32];
    int64_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab, n_ctx_train;
    float eps;
    int64_t window; /* sliding window in tokens, 0: none */
    bool is_encoder;
    bool qk_norm; /* RMSNorm on every head of q and k before RoPE */
    int64_t n_token_types;
    struct rope_hparams rope;
    enum pooling pooling;
    bool normalize;
};

/* Reads what all architectures share; hp->arch is set by the caller. ERR_FORMAT names the key that
 * is missing or out of range. */
MUST_CHECK enum status hparams_read_decoder(const struct weights *w, struct hparams *hp,
                                            struct err *e);
MUST_CHECK enum status hparams_read_encoder(const struct weights *w, struct hparams *hp,
                                            struct err *e);
#endif

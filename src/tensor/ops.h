/* Operations of a forward pass: what model/ is written in.
 *
 * Every op is called by all workers of a team with the same arguments; each does its static share.
 * No op has a barrier at its end: the caller places team_barrier() between an op and what reads its
 * output. Matrices are row-major: x[n][d] means n tokens of d floats.
 *
 * Determinism: each output element is computed by one worker in an order that depends neither on
 * the number of workers nor on n. A token's result is therefore the same alone, in a batch, and on
 * any number of threads (one value of `enum mul_mode` for all of its life).
 *
 * Weights: a `struct mat` is a weight matrix made ready for multiplication: the file's rows
 * repacked into the layout that the kernels of this machine want (or used in place where that is
 * best). Activations: a `struct act` holds n token rows quantised (or converted) once and used by
 * several matrices, e.g. q, k and v. */
#ifndef HEARTH_TENSOR_OPS_H
#define HEARTH_TENSOR_OPS_H

#include "tensor/team.h"
#include "tensor/types.h"

/* How accurate a product must be.
 * MUL_DEFAULT: the fast path of the type (int8 activations for quantised weights, 12-bit integers
 * for F16/BF16/F32 weights). MUL_FINE: as MUL_DEFAULT with twice the bits in the activations of
 * quantised weights, at twice the arithmetic; for the output head, whose error reaches the logits
 * undamped and which waits for memory anyway. MUL_EXACT: activations stay float, weights
 * dequantised exactly: the plain path that defines what is right (slow). MUL_ENCODER and
 * MUL_ENCODER_INT8: 12-bit and 8-bit integers of both, a scale per row; for the ops of encoder.h
 * only. */
enum mul_mode {
    MUL_DEFAULT = 0,
    MUL_EXACT = 1,
    MUL_FINE = 2,
    MUL_ENCODER = 3,
    MUL_ENCODER_INT8 = 4
};

/* How a mat is packed (private to tensor/; see pack.c). */
struct mat_form {
    int bits;     /* 0: the file's rows, dequantised on the fly; 1 .. 8, 16: packed integers */
    int halves;   /* scales per group of 32 columns: 1 or 2 */
    bool has_min; /* value = scale * v + min instead of scale * v */
    bool table;   /* 4-bit values are indices into the levels of IQ4 */
    bool super;   /* factors are int8 times an f16 per super-block of 8 groups */
    bool fine;    /* a token is two: its int8 values, and what they leave over */
};

struct mat {
    enum tensor_type type; /* of the file */
    enum mul_mode mode;
    int64_t rows, cols; /* y[rows] = W x[cols] */
    const char *path; /* name of the kernel path taken: "avx512-vnni q4 x16", for `hearth bench` */
    struct tensor source; /* the file's bytes, for single rows (embedding look-up) */
    void *packed;         /* NULL when the file's bytes are used in place */
    size_t packed_bytes;
    struct mat_form form;
    struct mat_home *home;  /* that `packed` belongs to; NULL: owned */
    const struct mat *next; /* see mat_follow */
    bool next_is_gate_up;
    bool has_outliers; /* set after mat_init: rows from op_norm_act have columns far larger than the
                        * others, which are multiplied as floats (kernels.h) */
};

/* Memory for packed weights that outlives the mats in it, such as a file of them. */
struct mat_home {
    struct team *team; /* that packs */
    /* `bytes` for m, whose type, mode and shape are set; 64-byte aligned. *filled: they hold what
     * packing would write, and are read-only. NULL: out of memory. */
    void *(*take)(struct mat_home *home, const struct mat *m, size_t bytes, bool *filled);
};

/* Prepares `t` (2-D) for products. The source bytes must outlive the mat. ERR_UNSUPPORTED names the
 * type; ERR_FORMAT a shape that cannot be. Several tensors with the same cols and type may be fused
 * into one mat (q|k|v, gate|up): rows are concatenated in order. */
MUST_CHECK enum status mat_init(struct mat *m, const struct tensor *const *t, int n_tensors,
                                enum mul_mode mode, struct team *team, struct err *e);
/* The same with packed weights at home. */
MUST_CHECK enum status mat_init_in(struct mat_home *home, struct mat *m,
                                   const struct tensor *const *t, int n_tensors, enum mul_mode mode,
                                   struct err *e);
void mat_fini(struct mat *m);
/* A hint: a pass multiplies by `next` after m (with op_mul_silu, if it is gate | up). Products of a
 * few tokens then ask memory for its beginning before they meet the other workers. `next` stays
 * where it is as long as m is multiplied by; NULL: none. */
void mat_follow(struct mat *m, const struct mat *next, bool is_gate_up);
size_t mat_bytes(const struct mat *m); /* what one product reads of it */

/* The path of a mat whose rows are dequantised to floats in each product: correct and slow. */
#define MAT_PATH_FLOAT "float rows"

/* Scratch that the ops want of each worker (team_open) for matrices of up to max_cols columns; with
 * less they are slower, with the same results. */
size_t ops_scratch_bytes(int64_t max_cols);

/* Activations of up to max_n rows of max_d columns, ready for any mat type. Every worker keeps its
 * own word of what they hold and, of few rows, its own copy: two workers that quantise one token
 * twice are sooner done than two that wait for each other. */
struct act_rows; /* private to tensor/ */
struct act {
    int64_t max_n, max_d;
    struct act_rows *rows; /* owned, one per worker */
    void *quant;           /* owned, layout private to tensor/ */
    void *outliers;        /* of the rows; in quant */
    size_t quant_bytes;
};
MUST_CHECK enum status act_init(struct act *a, const struct team *team, int64_t max_n,
                                int64_t max_d, struct err *e);
void act_fini(struct act *a);
/* The same memory for a worker that works alone (as worker 0 of 1) on rows from `first` on, while
 * others work on the rows before and after. Owns nothing. */
struct act act_part(const struct act *a, const struct worker *w, int64_t first);

/* a <- x[n][d], made ready for `m` and for every mat that act_serves both. Has a barrier at its end
 * unless each worker made its own copy: the caller may multiply at once. x must stay as it is until
 * the last product; before the rows are made anew, the caller has a barrier. */
void op_act(const struct worker *w, struct act *a, const float *x, int64_t n, int64_t d,
            const struct mat *m);
bool act_serves(const struct mat *m, const struct mat *other);

/* The same of rmsnorm(x, gain) (see op_rmsnorm), in one sweep. y: room for n * d floats, which the
 * exact path needs. */
void op_norm_act(const struct worker *w, struct act *a, const float *x, const float *gain,
                 float eps, int64_t n, int64_t d, const struct mat *m, float *y);

/* y[i][r] = sum_c W[r][c] x[i][c] for the rows in a; y has row stride ldy floats. */
void op_mul(const struct worker *w, const struct mat *m, const struct act *a, float *y,
            int64_t ldy);
void op_mul_add(const struct worker *w, const struct mat *m, const struct act *a, float *y,
                int64_t ldy); /* y += */

/* b <- silu(gate) * up, made ready for `down`, where W x is gate | up of ff values each. tmp and y:
 * room for n * 2 ff and n * ff floats. Has a barrier at its end. */
void op_mul_silu(const struct worker *w, const struct mat *gate_up, const struct act *a, float *tmp,
                 float *y, struct act *b, const struct mat *down);
/* The same when gate | up are there, in rows of 2 ff. */
void op_silu_act(const struct worker *w, const float *gate_up, int64_t n, int64_t ff, float *y,
                 struct act *b, const struct mat *down);

/* y[i] = row ids[i] of the table, dequantised exactly. */
void op_embed(const struct worker *w, const struct mat *table, const int32_t *ids, int64_t n,
              float *y);

/* y = x / sqrt(mean(x^2) + eps) * gain (Zhang and Sennrich 2019); per row of d. gain NULL: 1. y may
 * be x. */
void op_rmsnorm(const struct worker *w, const float *x, const float *gain, float eps, int64_t n,
                int64_t d, float *y);
/* The same over n_heads heads of head_dim inside each row of stride ld (q/k norms of qwen3). In
 * place. */
void op_rmsnorm_heads(const struct worker *w, float *x, int64_t ld, const float *gain, float eps,
                      int64_t n, int64_t n_heads, int64_t head_dim);
/* y = (x - mean) / sqrt(var + eps) * gain + bias (Ba et al. 2016). residual (or NULL) is added to x
 * first. y may be x. */
void op_layernorm(const struct worker *w, const float *x, const float *residual, const float *gain,
                  const float *bias, float eps, int64_t n, int64_t d, float *y);
void op_add(const struct worker *w, float *y, const float *x, int64_t count); /* y += x */
void op_add_bias(const struct worker *w, float *y, int64_t ldy, const float *bias, int64_t n,
                 int64_t d); /* each row += bias */
/* Exact GELU: x * Phi(x), through erf (Hendrycks and Gimpel 2016); in place over rows of d with
 * stride ld. */
void op_gelu(const struct worker *w, float *x, int64_t ld, int64_t n, int64_t d);

/* Rotary embedding (Su et al. 2021), in place on n_heads heads of head_dim in rows of stride ld;
 * the first rot_dim values of each head are rotated. Angle of pair i at position p: p *
 * inv_freq[i], i < rot_dim/2; cos and sin are multiplied by `mscale` (YaRN; 1 otherwise). neox:
 * pairs are (i, i + rot_dim/2); otherwise (2i, 2i + 1), the GGUF layout of llama. */
struct rope {
    const float *inv_freq;
    int64_t rot_dim;
    float mscale;
    bool neox;
};
/* turns[i] = cosines of row i's pairs, then their sines: rot_dim floats. Once per pass. */
void op_rope_turns(const struct worker *w, const struct rope *r, const int32_t *pos, int64_t n,
                   float *turns);
void op_rope(const struct worker *w, const struct rope *r, const float *turns, float *x, int64_t ld,
             int64_t n, int64_t n_heads, int64_t head_dim);

/* The KV cache of one layer is a pool of blocks of KV_BLOCK tokens; a sequence is a table of block
 * numbers. Inside a block and for one KV head, the keys (or values) of its tokens lie together; the
 * order inside is private to tensor/. kv_block_bytes() tells the size of one block of K plus V. */
enum { KV_BLOCK = 32 };
struct kv_layer {
    enum tensor_type type; /* TYPE_F16 (16 bits), TYPE_Q8_0 or, for exact checks, TYPE_F32 */
    int64_t n_kv_heads, head_dim;
    uint8_t *pool;  /* n_blocks * kv_block_bytes, 64-byte aligned */
    float *partial; /* room for op_attention to share few queries among many workers; may be NULL */
    size_t partial_floats;
};
/* What `partial` wants for decoding at a depth of n_tokens; layers may share it. */
size_t kv_partial_floats(int64_t n_tokens, int64_t n_heads, int64_t head_dim);
size_t kv_block_bytes(enum tensor_type type, int64_t n_kv_heads,
                      int64_t head_dim); /* 0: unsupported combination */

/* One run of consecutive tokens of one sequence inside a batch. */
struct attn_seq {
    const int32_t *blocks; /* block table of the sequence, covering first_pos + n_rows tokens */
    int64_t first_pos;     /* position of the first row = number of tokens already in the cache */
    int64_t row;           /* its first row in q, k, v and out */
    int64_t n_rows;
};
/* Stores rows k, v [n][n_kv_heads * head_dim] (stride ld) of the sequences into their blocks. */
void op_kv_store(const struct worker *w, struct kv_layer *kv, const struct attn_seq *seqs,
                 int64_t n_seqs, const float *k, const float *v, int64_t ld);

/* What lies between the product of q, k and v and attention, head by head: biases, norms of q and k
 * (qwen3), rotation, and the store into the cache. Rows of qkv, stride ld, are q | k | v heads.
 * NULL vectors: none. Has a barrier at its end. */
struct heads {
    const float *bias;            /* [ld] */
    const float *q_norm, *k_norm; /* [head_dim] */
    float eps;                    /* of the norms */
    const struct rope *rope;
    const float *turns; /* op_rope_turns of the rows */
    int64_t n_heads;
};
void op_heads(const struct worker *w, const struct heads *h, struct kv_layer *kv,
              const struct attn_seq *seqs, int64_t n_seqs, float *qkv, int64_t ld, int64_t n);

/* Causal attention with grouped queries: out[row] = softmax(q k^T * scale) v over positions 0 ..
 * own position (the last `window` of them when window > 0), online softmax (Milakov and Gimelshein
 * 2018; FlashAttention, Dao et al. 2022); memory does not grow with depth squared. q and out have
 * n_heads * head_dim columns and strides ldq, ldo. May use inner barriers. */
struct attn {
    int64_t n_heads;
    float scale;
    int64_t window; /* 0: none */
    float softcap;  /* 0: none; else scores = softcap * tanh(scores / softcap) */
};
void op_attention(const struct worker *w, const struct attn *p, const struct kv_layer *kv,
                  const struct attn_seq *seqs, int64_t n_seqs, const float *q, int64_t ldq,
                  float *out, int64_t ldo);

/* Bidirectional attention over packed sequences without padding: sequence s owns rows starts[s] ..
 * starts[s + 1]; q, k, v in rows of stride ld. Only the first `most` queries of a sequence
 * are computed; other rows of out are left alone. The arithmetic is that of a cache of TYPE_F16 or,
 * for exact checks, TYPE_F32. */
void op_attention_full(const struct worker *w, enum tensor_type type, const float *q,
                       const float *k, const float *v, int64_t ld, const int64_t *starts,
                       int64_t n_seqs, int64_t most, int64_t n_heads, int64_t head_dim, float scale,
                       float *out, int64_t ldo);

/* Plain float kernels that store/ and engine/ need too, through the same run-time dispatch; called
 * by one thread. */
float vec_dot_f32(const float *a, const float *b, size_t n);
int32_t vec_dot_i8(const int8_t *a, const int8_t *b, size_t n);
/* out[i] = dot(query, rows[i]) for n rows of d int8 values with row stride d. */
void vec_scan_i8(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out);

/* "avx512-vnni", "avx2", "neon", "scalar": what the dispatch took on this machine under HEARTH_ISA.
 */
const char *ops_isa(void);

#endif

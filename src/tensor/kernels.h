/* The seam between operations and instruction sets: one table of functions over bare pointers.
 *
 * kernels_scalar.c fills every entry and is the definition; kernels_<isa>.c override what they do
 * better, in ascending order of cpu_features(). A kernel does a whole row, tile or block, so that
 * the indirect call costs nothing. Ops divide the work among workers and call these. */
#ifndef HEARTH_TENSOR_KERNELS_H
#define HEARTH_TENSOR_KERNELS_H

#include "tensor/kernels_enc.h"
#include "tensor/ops.h"

/* Attention in integers. A query and every key are int16 vectors with one scale each (8-bit keys
 * have one per GROUP columns), chosen so that no sum can overflow: |v| <= 46300 / 2 norms and
 * |v_i| <= 32767, some 14 bits of a typical value. Their products are exact, so that queries side
 * by side in lanes (many) and slots side by side in lanes (few) give the same bits on every
 * instruction set.
 *
 * A query sees the cache in chunks of ATTN_CHUNK positions, and a chunk in sections of KV_BLOCK.
 * The definition, for one query and one section (fl: rounded to float; sums of 32 floats are the
 * tree x[i] + x[i + n] for n = 16, 8, 4, 2, 1; every sum of a product is a fused multiply-add):
 *   y_s = dot_s * key_scale_s, over the scale groups in order; soft cap: y = 1 - 2 / (exp2(2 y k)
 *     + 1) with k as below for it; unit = q_scale, or softcap * log2(e)
 *   M = max of y over the slots seen; c = M * unit; p_s = exp2(fma(y_s, unit, -c)), 0 if unseen
 *   for each group of value scales: w_s = p_s * value_scale_s, W = max w; w_s to integers
 *     rint(w_s * (VALUE_MOST / W)); dot_c = sum of w_s * v_s,c
 *   if c > ref + 32 (at first ref = -inf): acc, total *= exp2(ref - c); ref = c
 *   g = exp2(c - ref); total += sum of p * g; acc_c += dot_c * (W / VALUE_MOST * g)
 * exp2 takes arguments clamped to -64 .. 64 and is a polynomial of degree 5 (relative error 2e-7).
 * Peaks do not follow the maximum closely: a float holds sums 2^32 times too large as well, and
 * the accumulators need scaling hardly ever.
 *
 * Chunks merge in ascending order: the state with the lower peak is scaled down to the other's. */
enum { ATTN_QUERIES = 32, ATTN_MAX_DIM = 256, ATTN_CHUNK = 256, VALUE_MOST = 8191, ATTN_AHEAD = 2 };

/* Queries that attend together: heads of one group (they share keys and values) times rows. Arrays
 * have ATTN_QUERIES entries; those past n see nothing (lo = hi = 0) and hold zeros. */
struct attn_tile {
    enum tensor_type type; /* of the cache */
    int n;                 /* queries */
    int64_t head_dim;      /* multiple of 16, at most ATTN_MAX_DIM */
    float softcap;
    int16_t *q;                  /* [head_dim / 2][ATTN_QUERIES][2] */
    float *q32;                  /* F32 caches: [ATTN_QUERIES][head_dim] instead */
    float q_scale[ATTN_QUERIES]; /* a unit of y in powers of two */
    int32_t lo[ATTN_QUERIES];    /* query i sees positions lo <= p < hi */
    int32_t hi[ATTN_QUERIES];
    int32_t full_lo, full_hi; /* largest lo and smallest hi of the n queries */
    int ahead; /* sections that follow those of attn_chunk: to be fetched, not seen; else zero */
    float peak[ATTN_QUERIES];  /* ref, -INFINITY at first */
    float total[ATTN_QUERIES]; /* zero at first */
    float *acc;                /* [ATTN_QUERIES][head_dim], zero at first */
};

/* Products of packed integers. A strip is 16 rows of a matrix; the columns come in groups of 32
 * (cols is padded with zeros). Its bytes, 64-aligned (pack.c writes them):
 *   values, per group:
 *     16 bits: [16][16 rows][2] int16 v, column 2j + b
 *     fewer: planes of 8, 4, 2 or 1 bits, those that add up to `bits`, the widest first; it has the
 *       lowest bits of a value, the next plane those above. A plane of p bits is [p][16 rows][4]
 *       bytes, and column 4k + b is in byte (k mod p, row, b), k / p * p bits up: shifts and masks
 *       give the 4 columns of 16 rows side by side for any p. A value w of n bits stands for
 *       v = w - 2^(n - 1); for w itself in super-blocks with mins; or for level w of IQ4 (table)
 *   factors: 16 bits, per I16_BLOCK columns: f32 [16 rows] scales
 *     fewer, per group: f16 [halves][16 rows] scales, then as many mins if has_min
 *     super: per SUPER_GROUPS groups f16 [16 rows] for the scales, and as many for the mins; then
 *       per group int8 [halves][16 rows] scales and mins; a factor is the product, which is exact
 *
 * Tokens come in panels of up to PANEL_TOKENS, quantised to int8 per token and group (or to int16
 * per token and I16_BLOCK): a power-of-two-free scale `xs`, values -127 .. 127 (-4095 .. 4095).
 *
 * The definition, in this order, for one row and one token (fl: rounded to float):
 *   F = 0; for each group, for each half (one "half" of 32 columns when halves is 1):
 *     F = fma(fl(dot * xs), scale, F); if has_min: F = fma(min, fl(sum of x * xs), F)
 * dot and the sum are exact integers, so every instruction set gives the same bits, and so does any
 * tiling: the result depends on the row and the token only. */
enum { STRIP_ROWS = 16, GROUP = 32, PANEL_TOKENS = 8, I16_BLOCK = 256, SUPER_GROUPS = 8 };

/* A panel of nt tokens over `groups` groups. What a tile reads of a group lies together, so that a
 * panel is one stream (struct act_group tells where): 48 bytes per token, six cache lines for
 * eight. */
struct act_panel {
    int nt;
    size_t groups;
    uint8_t *bytes;  /* per group: int8 q [8][nt][4], then what act_group names, [nt] each */
    uint8_t *halves; /* per group: int32 init [2][nt], float xsum [2][nt]: columns 0-15 and 16-31 */
    int16_t *q16;    /* [g][16][nt][2], for 16-bit weights */
    float *xs16;     /* [block][nt] */
    const uint8_t *next; /* what is read as `bytes` after these, to be fetched; or NULL */
};
enum { ACT_GROUP_BYTES = 48, ACT_HALVES_BYTES = 16 }; /* per token */
static inline size_t act_panel_bytes(size_t groups, int nt)
{
    /* 64 bytes per token and group for either kind, and a scale per I16_BLOCK. */
    size_t blocks = (groups * GROUP + I16_BLOCK - 1) / I16_BLOCK;
    return ((size_t)nt * (groups * 64 + blocks * 4) + 63) & ~(size_t)63;
}

static inline struct act_panel act_panel_view(void *base, size_t groups, int nt)
{
    uint8_t *bytes = base;
    size_t n = groups * (size_t)nt;
    return (struct act_panel){.nt = nt,
                              .groups = groups,
                              .bytes = bytes,
                              .halves = bytes + ACT_GROUP_BYTES * n,
                              .q16 = (int16_t *)base,
                              .xs16 = (float *)(void *)(bytes + 64 * n),
                              .next = NULL}; /* or gcc clears all, and reading waits */
}

struct act_group {
    int8_t *q;
    float *xs;      /* scale; its 2 lowest mantissa bits are zero, so that ACC_BIAS * xs is exact */
    float *bias_xs; /* -ACC_BIAS * xs */
    int32_t *init;  /* ACC_BIAS's bits - 128 * sum: start of an accumulator */
    float *xsum;    /* fl(sum * xs) */
    int32_t *half_init;
    float *half_xsum;
};
static inline struct act_group act_group(const struct act_panel *p, size_t g)
{
    const size_t nt = (size_t)p->nt;
    uint8_t *at = p->bytes + g * ACT_GROUP_BYTES * nt;
    uint8_t *halves = p->halves + g * ACT_HALVES_BYTES * nt;
    return (struct act_group){.q = (int8_t *)at,
                              .xs = (float *)(void *)(at + 32 * nt),
                              .bias_xs = (float *)(void *)(at + 36 * nt),
                              .init = (int32_t *)(void *)(at + 40 * nt),
                              .xsum = (float *)(void *)(at + 44 * nt),
                              .half_init = (int32_t *)(void *)halves,
                              .half_xsum = (float *)(void *)(halves + 8 * nt)};
}

/* 1.5 * 2^23: added to a float it leaves |integers| < 2^22 in the low mantissa bits, so an int32
 * accumulator that starts at its bit pattern reads as the float ACC_BIAS + dot, and one fused
 * multiply-add gives fl(dot * xs) without a conversion. */
#define ACC_BIAS 12582912.0f
enum { ACC_BIAS_BITS = 0x4b400000 };

/* A row that comes from a norm has a few columns, for most tokens the same ones, that are ten times
 * as large as the others. In int8 they would leave their 31 neighbours a tenth of the steps: three
 * quarters of all that rounding costs. So they are taken out of the row, to be multiplied as
 * floats; the definition for one row x[n]:
 *   lanes[i mod 16] += x_i * x_i in the order of i; sum: the tree lanes[i] + lanes[i + k] for k
 *     from 8 to 1; the columns with x_i * x_i > sum * (OUTLIER^2 / n), at most the first
 *     MOST_OUTLIERS of them, are noted and become 0
 * and after the groups of a product, column by column: F = fl(F + fl(x * w)) with
 * w = fl(fl(scale * v) + min). Perplexity is 0.002 nats from that of float activations without
 * this, 0.0009 with it; of a row of 576 columns it concerns one on average. */
enum { OUTLIER = 8, MOST_OUTLIERS = 15, NO_OUTLIER = -1 };
struct outliers {
    _Alignas(64) int32_t n;
    int32_t col[MOST_OUTLIERS]; /* ascending; NO_OUTLIER and 0 from n on */
    float x[MOST_OUTLIERS];
};

struct strip {
    const uint8_t *values;
    const uint8_t *factors;
    const uint8_t *next; /* or NULL: where as many bytes will be read after these; see mul_few */
    size_t next_bytes;   /* mul8, mul16: so many of them, in w[0] for all strips */
};

enum { PUT_PAIRS = 1, PUT_ADD = 2 };

struct kernels {
    const char *name;
    /* Groups [g0, g1) of token t of the panel from its row x of n columns (zeros after them). */
    void (*quant8)(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1);
    void (*quant16)(const float *x, size_t n, struct act_panel *p, int t, size_t g0, size_t g1);
    /* quant8 of every token of the panel; their rows are ld floats apart. */
    void (*quant8_panel)(const float *x, size_t ld, size_t n, struct act_panel *p, size_t g0,
                         size_t g1);
    int few; /* columns of up to 8 bits, up to which mul_few is sooner done than unpack and mul8 */
    /* out[t][32]: rows of one or two strips (16 each), before the row's unit. One strip of up to 8
     * bits as it is, for a panel. The bytes from w->next on are asked for meanwhile, since these
     * products wait for memory. */
    void (*mul_few)(const struct strip *w, const struct mat_form *form, const struct act_panel *x,
                    float *out);
    bool asks; /* mul8 and mul16 ask for w->next_bytes bytes from w->next on, evenly meanwhile */
    /* Two strips (or one) as `unpack` of the same table made them: bytes as in a plane of 8 bits,
     * v + 128 or whatever suits the two, or as int16 (wide_bytes), and factors in f32, per group
     * [halves][16 rows] scales and then mins. `add`: F of the definition starts at out, which holds
     * the sums of the columns before. With one strip, columns 16 .. 31 of out are left as anything.
     */
    void (*mul8)(const struct strip *w, int n_strips, const struct mat_form *form,
                 const struct act_panel *x, bool add, float *out);
    void (*mul16)(const struct strip *w, int n_strips, const struct act_panel *x, bool add,
                  float *out);
    /* y[i][r] = unit[r] * tile[i][r] for n tokens of `width` rows. PUT_PAIRS: the sum of tile rows
     * 2i and 2i + 1; PUT_ADD: added to y. */
    void (*put)(const float *tile, int n, unsigned how, const float *unit, size_t width, float *y,
                size_t ldy);
    /* Groups of a strip, from the start of a super-block on, made ready for mul8. Values of 8 bits
     * and levels of IQ4 take wide_bytes each, others one; if that is 1, values of 8 bits are ready
     * as they are, and are not copied. */
    int wide_bytes;
    void (*unpack)(const struct strip *w, const struct mat_form *form, size_t groups,
                   uint8_t *values, float *factors);
    void (*take_outliers)(float *x, size_t n, struct outliers *out);
    /* w of a column of a packed strip (at its start), before the row's unit. */
    void (*column)(const struct strip *w, const struct mat_form *form, size_t c, float out[16]);
    /* Adds to the tile [n][32] what the outliers of n tokens add; columns: [cols][32], and zeros at
     * NO_OUTLIER, so that tokens of a panel can be added up side by side. */
    void (*add_outliers)(const struct outliers *o, size_t n, const float *columns, float *tile);
    float (*dot_f32)(const float *a, const float *b, size_t n);
    int32_t (*dot_i8)(const int8_t *a, const int8_t *b, size_t n);
    void (*scan_i8)(const int8_t *query, const int8_t *rows, size_t n, size_t d, int32_t *out);
    void (*add)(float *y, const float *x, size_t n);
    void (*rmsnorm)(const float *x, const float *gain, float eps, size_t d, float *y);
    void (*layernorm)(const float *x, const float *residual, const float *gain, const float *bias,
                      float eps, size_t d, float *y);
    void (*gelu)(float *x, size_t n);
    void (*silu_mul)(const float *gate, const float *up, size_t n, float *y);
    /* Rotates one head: cosine and sine of rot_dim / 2 pairs. */
    void (*rope)(float *x, const float *cosine, const float *sine, size_t rot_dim, bool neox);
    /* Writes the key and value of one head and token into slot `slot` of a section (see
     * kv_section_bytes). */
    void (*kv_put)(enum tensor_type type, uint8_t *section, size_t slot, size_t head_dim,
                   const float *k, const float *v);
    /* Query i of the tile from x[head_dim]; scale is the softmax scale. */
    void (*attn_query)(struct attn_tile *t, int i, const float *x, float scale);
    /* Lets the tile's queries see one chunk, or the part of it that any of them sees: n sections of
     * positions pos, pos + 32, ... (at most ATTN_CHUNK / KV_BLOCK), and merges what they saw into
     * the tile. t->ahead more sections (at most ATTN_AHEAD) stand behind them. The result of a
     * query does not depend on the others in the tile. */
    void (*attn_chunk)(struct attn_tile *t, const uint8_t *const *sections, int n, int32_t pos);
    /* Merges the state (peak2, total2, acc2[d]) of a later chunk into an earlier one's. */
    void (*attn_merge)(float *peak, float *total, float *acc, float peak2, float total2,
                       const float *acc2, size_t d);
    /* What the machine can do at most (probe.h). The sum of the 32-bit words of n bytes, a multiple
     * of 64, read as fast as they come; */
    uint32_t (*read_words)(const uint8_t *p, size_t n);
    /* and `rounds` of independent chains of the instructions that the products of packed integers
     * use, on 64 operands of each side: the operations done, two for a product and its sum. Every
     * lane is added up in *sum, so that operands of 1 give half the operations (mod 2^32). */
    uint64_t (*int_products)(size_t rounds, const int8_t *operands, uint32_t *sum);
    struct enc_kernels enc;
};

const struct kernels *kernels(void); /* the table of this machine; chosen once */

/* The i-th table that this machine can run, from scalar upward, for tests; NULL past the last. */
const struct kernels *kernels_level(int i);

void kernels_fill_scalar(struct kernels *k);
void kernels_fill_scalar_attn(struct kernels *k);
void kernels_fill_scalar_mul(struct kernels *k);
void kernels_fill_scalar_probe(struct kernels *k);

/* One KV head of one block ("section"), KV_BLOCK slots. Keys first, then values:
 *   F32, for exact checks: keys [head_dim][32], values [32][head_dim].
 *   F16: not halves but integers of 16 bits, which products take as they are and which are more
 *     exact: keys int16 [head_dim / 2][32][2], f32 scales [32]; values int16 |v| <= VALUE_MOST
 *     [32 / 2][head_dim][2], f32 scales [32].
 *   Q8_0: keys s8 [head_dim / 2][32][2], f16 scales [head_dim / 32][32]; values s8
 *     [32 / 2][head_dim][2], f16 scales [head_dim / 32][32]. */
size_t kv_section_bytes(enum tensor_type type, size_t head_dim);

/* op_kv_store of KV heads [first, last), by the calling worker alone. */
void kv_store_heads(const struct kv_layer *kv, const struct attn_seq *seqs, int64_t n_seqs,
                    size_t first, size_t last, const float *k, const float *v, int64_t ld);

#endif

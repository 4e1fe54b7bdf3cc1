/* Operations that are not products and not attention: each divides rows (or elements) among the
 * workers and calls a kernel per row. */
#include "tensor/kernels.h"

#include <assert.h>
#include <math.h>

void op_embed(const struct worker *w, const struct mat *table, const int32_t *ids, int64_t n,
              float *y)
{
    assert(table->source.data); /* a fused mat has no rows to look up */
    const struct type_info *info = type_info(table->type);
    size_t row_bytes = tensor_row_bytes(&table->source), first, last;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        assert(ids[i] >= 0 && ids[i] < table->rows);
        info->to_float((const uint8_t *)table->source.data + (size_t)ids[i] * row_bytes,
                       y + i * (size_t)table->cols, (size_t)table->cols);
    }
}

void op_rmsnorm(const struct worker *w, const float *x, const float *gain, float eps, int64_t n,
                int64_t d, float *y)
{
    size_t first, last, width = (size_t)d;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        kernels()->rmsnorm(x + i * width, gain, eps, width, y + i * width);
    }
}

void op_rmsnorm_heads(const struct worker *w, float *x, int64_t ld, const float *gain, float eps,
                      int64_t n, int64_t n_heads, int64_t head_dim)
{
    size_t first, last;
    team_share(w, (size_t)(n * n_heads), 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *head =
            x + (i / (size_t)n_heads) * (size_t)ld + i % (size_t)n_heads * (size_t)head_dim;
        kernels()->rmsnorm(head, gain, eps, (size_t)head_dim, head);
    }
}

void op_layernorm(const struct worker *w, const float *x, const float *residual, const float *gain,
                  const float *bias, float eps, int64_t n, int64_t d, float *y)
{
    size_t first, last, width = (size_t)d;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        kernels()->layernorm(x + i * width, residual ? residual + i * width : NULL, gain, bias, eps,
                             width, y + i * width);
    }
}

void op_add(const struct worker *w, float *y, const float *x, int64_t count)
{
    size_t first, last;
    team_share(w, (size_t)count, 16, &first, &last);
    kernels()->add(y + first, x + first, last - first);
}

void op_add_bias(const struct worker *w, float *y, int64_t ldy, const float *bias, int64_t n,
                 int64_t d)
{
    size_t first, last;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        kernels()->add(y + i * (size_t)ldy, bias, (size_t)d);
    }
}

void op_gelu(const struct worker *w, float *x, int64_t ld, int64_t n, int64_t d)
{
    size_t first, last;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        kernels()->gelu(x + i * (size_t)ld, (size_t)d);
    }
}

void op_rope_turns(const struct worker *w, const struct rope *r, const int32_t *pos, int64_t n,
                   float *turns)
{
    size_t first, last, pairs = (size_t)r->rot_dim / 2;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *cosine = turns + i * 2 * pairs, *sine = cosine + pairs;
        for (size_t p = 0; p < pairs; p++) {
            float angle = (float)pos[i] * r->inv_freq[p];
            cosine[p] = cosf(angle) * r->mscale;
            sine[p] = sinf(angle) * r->mscale;
        }
    }
}

static void rotate(const struct rope *r, const float *turns, size_t row, float *head)
{
    const float *cosine = turns + row * (size_t)r->rot_dim;
    kernels()->rope(head, cosine, cosine + r->rot_dim / 2, (size_t)r->rot_dim, r->neox);
}

void op_rope(const struct worker *w, const struct rope *r, const float *turns, float *x, int64_t ld,
             int64_t n, int64_t n_heads, int64_t head_dim)
{
    /* Items are (row, head), so that one decoded row still keeps every worker busy. */
    size_t first, last, heads = (size_t)n_heads;
    team_share(w, (size_t)n * heads, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t row = i / heads;
        rotate(r, turns, row, x + row * (size_t)ld + i % heads * (size_t)head_dim);
    }
}

/* Heads [first, last) of a row, counted through q | k | v, which begin at n_q and n_q + n_kv. */
static void turn_heads(const struct heads *h, size_t d, size_t n_q, size_t n_kv, size_t row,
                       size_t first, size_t last, float *x)
{
    for (size_t i = first; i < last; i++) {
        float *head = x + i * d;
        const float *gain = i < n_q ? h->q_norm : h->k_norm;
        if (h->bias) {
            kernels()->add(head, h->bias + i * d, d);
        }
        if (i >= n_q + n_kv) {
            continue;
        }
        if (gain) {
            kernels()->rmsnorm(head, gain, h->eps, d, head);
        }
        rotate(h->rope, h->turns, row, head);
    }
}

/* Rows up to here are dealt out by heads, so that who stores a head has made it. */
enum { HEAD_ROWS = 4 };

void op_heads(const struct worker *w, const struct heads *h, struct kv_layer *kv,
              const struct attn_seq *seqs, int64_t n_seqs, float *qkv, int64_t ld, int64_t n)
{
    size_t d = (size_t)kv->head_dim, n_q = (size_t)h->n_heads, n_kv = (size_t)kv->n_kv_heads;
    size_t first, last, kv0, kv1, stride = (size_t)ld;
    const float *k = qkv + n_q * d, *v = k + n_kv * d;
    if (n > HEAD_ROWS) {
        team_share(w, (size_t)n, 1, &first, &last);
        for (size_t i = first; i < last; i++) {
            turn_heads(h, d, n_q, n_kv, i, 0, n_q + 2 * n_kv, qkv + i * stride);
        }
        team_barrier(w);
        op_kv_store(w, kv, seqs, n_seqs, k, v, ld);
        team_barrier(w);
        return;
    }
    team_share(w, n_q, 1, &first, &last);
    team_share(w, n_kv, 1, &kv0, &kv1);
    for (size_t i = 0; i < (size_t)n; i++) {
        float *row = qkv + i * stride;
        turn_heads(h, d, n_q, n_kv, i, first, last, row);
        turn_heads(h, d, n_q, n_kv, i, n_q + kv0, n_q + kv1, row);
        turn_heads(h, d, n_q, n_kv, i, n_q + n_kv + kv0, n_q + n_kv + kv1, row);
    }
    kv_store_heads(kv, seqs, n_seqs, kv0, kv1, k, v, ld);
    team_barrier(w);
}

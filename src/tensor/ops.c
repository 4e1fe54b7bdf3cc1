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

enum { ROPE_MAX_PAIRS = 256 };

void op_rope(const struct worker *w, const struct rope *r, float *x, int64_t ld, const int32_t *pos,
             int64_t n, int64_t n_heads, int64_t head_dim)
{
    float cosine[ROPE_MAX_PAIRS], sine[ROPE_MAX_PAIRS];
    int64_t pairs = r->rot_dim / 2;
    assert(pairs <= ROPE_MAX_PAIRS && r->rot_dim <= head_dim);
    /* Items are (row, head), so that one decoded row still keeps every worker busy. */
    size_t first, last, heads = (size_t)n_heads;
    team_share(w, (size_t)(n * n_heads), 1, &first, &last);
    int64_t row = -1;
    for (size_t i = first; i < last; i++) {
        if (row != (int64_t)(i / heads)) {
            row = (int64_t)(i / heads);
            for (int64_t p = 0; p < pairs; p++) {
                float angle = (float)pos[row] * r->inv_freq[p];
                cosine[p] = cosf(angle) * r->mscale;
                sine[p] = sinf(angle) * r->mscale;
            }
        }
        kernels()->rope(x + row * ld + (int64_t)(i % heads) * head_dim, cosine, sine,
                        (size_t)r->rot_dim, r->neox);
    }
}

/* Products with weight matrices: see ops.h. */
#include "tensor/kernels.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static enum status check_shapes(const struct tensor *const *t, int n, struct err *e)
{
    const struct type_info *info = type_info(t[0]->type);
    if (!info) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "tensor type %u is not known",
                       (unsigned)t[0]->type);
    }
    for (int i = 0; i < n; i++) {
        if (t[i]->type != t[0]->type || t[i]->ne[0] != t[0]->ne[0]) {
            return err_set(e, ERR_FORMAT, NULL,
                           "matrices of different type or width in one product");
        }
        if (t[i]->ne[0] < 1 || t[i]->ne[1] < 1 || t[i]->ne[2] != 1 || t[i]->ne[3] != 1 ||
            t[i]->ne[0] % info->block_elems) {
            return err_set(e, ERR_FORMAT, NULL,
                           "%s cannot be a matrix of %lld x %lld x %lld x %lld", info->name,
                           (long long)t[i]->ne[0], (long long)t[i]->ne[1], (long long)t[i]->ne[2],
                           (long long)t[i]->ne[3]);
        }
    }
    return OK;
}

enum status mat_init(struct mat *m, const struct tensor *const *t, int n_tensors,
                     enum mul_mode mode, struct team *team, struct err *e)
{
    (void)team;
    enum status s = check_shapes(t, n_tensors, e);
    if (s != OK) {
        return s;
    }
    struct mat r = {.type = t[0]->type, .mode = mode, .cols = t[0]->ne[0], .path = "float rows"};
    r.source = *t[0];
    size_t bytes = 0;
    for (int i = 0; i < n_tensors; i++) {
        r.rows += t[i]->ne[1];
        bytes += tensor_bytes(t[i]);
    }
    if (n_tensors > 1) { /* concatenated rows: the source becomes our own copy */
        uint8_t *copy = mem_aligned(bytes, 1);
        if (!copy) {
            return err_set(e, ERR_MEMORY, NULL, "no memory for %zu bytes of weights", bytes);
        }
        r.packed = copy;
        r.packed_bytes = bytes;
        for (int i = 0; i < n_tensors; i++) {
            memcpy(copy, t[i]->data, tensor_bytes(t[i]));
            copy += tensor_bytes(t[i]);
        }
        r.source.data = r.packed;
        r.source.ne[1] = r.rows;
    }
    *m = r;
    return OK;
}

void mat_fini(struct mat *m)
{
    if (m) {
        free(m->packed);
        *m = (struct mat){0};
    }
}

enum status act_init(struct act *a, int64_t max_n, int64_t max_d, struct err *e)
{
    (void)e;
    *a = (struct act){.max_n = max_n, .max_d = max_d};
    return OK;
}

void act_fini(struct act *a)
{
    if (a) {
        free(a->quant);
        *a = (struct act){0};
    }
}

void op_act(const struct worker *w, struct act *a, const float *x, int64_t n, int64_t d,
            const struct mat *m)
{
    assert(n <= a->max_n && d <= a->max_d && d == m->cols);
    (void)m;
    if (w->index == 0) {
        a->f32 = x;
        a->n = n;
        a->d = d;
    }
}

/* One row of weights against tokens [0, n), n <= ROW_TOKENS: the row is dequantised in pieces that
 * stay in the cache, and each token's sum grows piece by piece, in the same order for any n. */
enum { ROW_TOKENS = 64, ROW_PIECE = 512 };

static void mul_row(const struct mat *m, size_t row, const float *x, size_t n, float *y, size_t ldy)
{
    const struct type_info *info = type_info(m->type);
    const uint8_t *bytes = (const uint8_t *)m->source.data + row * tensor_row_bytes(&m->source);
    size_t cols = (size_t)m->cols;
    float sums[ROW_TOKENS] = {0}, piece[ROW_PIECE];
    for (size_t c = 0; c < cols; c += ROW_PIECE) {
        size_t len = cols - c < ROW_PIECE ? cols - c : ROW_PIECE;
        info->to_float(bytes + c / info->block_elems * info->block_bytes, piece, len);
        for (size_t i = 0; i < n; i++) {
            sums[i] += kernels()->dot_f32(piece, x + i * cols + c, len);
        }
    }
    for (size_t i = 0; i < n; i++) {
        y[i * ldy] = sums[i];
    }
}

void op_mul(const struct worker *w, const struct mat *m, const struct act *a, float *y, int64_t ldy)
{
    assert(a->d == m->cols);
    size_t first, last, n = (size_t)a->n;
    team_share(w, (size_t)m->rows, 16, &first, &last);
    for (size_t i = 0; i < n; i += ROW_TOKENS) {
        size_t tokens = n - i < ROW_TOKENS ? n - i : ROW_TOKENS;
        for (size_t r = first; r < last; r++) {
            mul_row(m, r, a->f32 + i * (size_t)a->d, tokens, y + i * (size_t)ldy + r, (size_t)ldy);
        }
    }
}

void op_mul_silu(const struct worker *w, const struct mat *gate_up, const struct act *a, float *tmp,
                 float *y, int64_t ldy)
{
    size_t ff = (size_t)gate_up->rows / 2, first, last;
    op_mul(w, gate_up, a, tmp, gate_up->rows);
    team_barrier(w);
    team_share(w, ff, 16, &first, &last);
    for (size_t i = 0; i < (size_t)a->n; i++) {
        const float *gate = tmp + i * 2 * ff;
        kernels()->silu_mul(gate + first, gate + ff + first, last - first,
                            y + i * (size_t)ldy + first);
    }
}

/* Generative families (llama, qwen2, qwen3): pre-norm residual blocks with grouped-query attention,
 * rotary positions and a gated feed-forward layer (Touvron et al. 2023; Yang et al. 2024, 2025).
 *
 * One loader and one pass serve them all; what differs (biases, q/k norms, window, rotary layout)
 * is a NULL pointer or a number. */
#include "model/arch.h"
#include "model/rope.h"

#include <math.h>

static enum status load_block(struct loader *l, int64_t i)
{
    const struct hparams *hp = &l->m->hp;
    struct layer *b = &l->m->layers[i];
    unsigned traits = l->m->arch->traits;
    const char *qkv[] = {block_name(l, i, "attn_q.weight"), block_name(l, i, "attn_k.weight"),
                         block_name(l, i, "attn_v.weight")};
    const char *bias[] = {block_name(l, i, "attn_q.bias"), block_name(l, i, "attn_k.bias"),
                          block_name(l, i, "attn_v.bias")};
    const char *out[] = {block_name(l, i, "attn_output.weight")};
    const char *up[] = {block_name(l, i, "ffn_gate.weight"), block_name(l, i, "ffn_up.weight")};
    const char *down[] = {block_name(l, i, "ffn_down.weight")};
    const int64_t heads[] = {q_dim(hp), kv_dim(hp), kv_dim(hp)};
    const int64_t ff[] = {hp->d_ff, hp->d_ff};
    int64_t d = hp->d_model;
    enum status s;
    if ((s = load_vector(l, block_name(l, i, "attn_norm.weight"), d, false, &b->attn_norm)) ||
        (s = load_proj(l, block_name(l, i, "attn_q|k|v.weight"), qkv, heads, 3, d, &b->qkv)) ||
        (s = load_vectors(l, bias, heads, 3, !(traits & ARCH_QKV_BIAS), &b->qkv_bias)) ||
        (s = load_proj(l, out[0], out, &d, 1, heads[0], &b->out)) ||
        (s = load_vector(l, block_name(l, i, "attn_output.bias"), d, true, &b->out_bias)) ||
        (s = load_vector(l, block_name(l, i, "ffn_norm.weight"), d, false, &b->ffn_norm)) ||
        (s = load_proj(l, block_name(l, i, "ffn_gate|up.weight"), up, ff, 2, d, &b->up)) ||
        (s = load_proj(l, down[0], down, &d, 1, hp->d_ff, &b->down))) {
        return s;
    }
    if (!(traits & ARCH_QK_NORM)) {
        return OK;
    }
    if ((s = load_vector(l, block_name(l, i, "attn_q_norm.weight"), hp->head_dim, false,
                         &b->q_norm))) {
        return s;
    }
    return load_vector(l, block_name(l, i, "attn_k_norm.weight"), hp->head_dim, false, &b->k_norm);
}

static enum status load_rope(struct loader *l)
{
    struct model *m = l->m;
    int64_t pairs = m->hp.rope.rot_dim / 2;
    const float *factors;
    enum status s = load_vector(l, "rope_freqs.weight", pairs, true, &factors);
    if (s) {
        return s;
    }
    for (int64_t i = 0; factors && i < pairs; i++) {
        if (!(factors[i] > 0) || !isfinite(factors[i])) {
            return err_set(l->e, ERR_FORMAT, weights_path(m->w),
                           "rope_freqs.weight[%lld] is %g, expected a positive number",
                           (long long)i, (double)factors[i]);
        }
    }
    float *inv_freq = arena_array(&m->arena, (size_t)pairs, sizeof *inv_freq);
    if (!inv_freq) {
        return err_set(l->e, ERR_MEMORY, NULL, "no memory for the model's tables");
    }
    m->rope =
        (struct rope){.inv_freq = inv_freq, .rot_dim = m->hp.rope.rot_dim, .neox = m->hp.rope.neox};
    rope_frequencies(&m->hp.rope, factors, inv_freq, &m->rope.mscale);
    return OK;
}

enum status decoder_load(struct model *m, struct err *e)
{
    struct hparams *hp = &m->hp;
    if (hp->window && !(m->arch->traits & ARCH_WINDOW) && hp->window < hp->n_ctx_train) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(m->w), "%s with a sliding window",
                       hp->arch);
    }
    struct loader l;
    enum status s = loader_init(&l, m, (size_t)hp->n_layers * 7 + 2, e);
    if (s || (s = load_rope(&l))) {
        return s;
    }
    bool tied = !weights_find(m->w, "output.weight");
    if ((s = load_matrix(&l, "token_embd.weight", hp->n_vocab, hp->d_model, !tied, &m->tokens)) ||
        (s = load_vector(&l, "output_norm.weight", hp->d_model, false, &m->final_norm))) {
        return s;
    }
    if (!tied &&
        (s = load_matrix(&l, "output.weight", hp->n_vocab, hp->d_model, false, &m->head))) {
        return s;
    }
    for (int64_t i = 0; i < hp->n_layers; i++) {
        if ((s = load_block(&l, i))) {
            return s;
        }
    }
    return loader_finish(&l);
}

/* x = silu(gate) * up when gate and up are of different types and so not fused. */
static void silu_mul(const struct worker *w, const float *gate_up, int64_t n, int64_t ff, float *y)
{
    size_t first, last;
    team_share(w, (size_t)n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        const float *gate = gate_up + i * 2 * (size_t)ff;
        for (int64_t c = 0; c < ff; c++) {
            y[i * (size_t)ff + (size_t)c] = gate[c] / (1 + expf(-gate[c])) * gate[ff + c];
        }
    }
}

static void attention_block(const struct worker *w, struct pass *p, int64_t layer)
{
    struct model *m = p->m;
    const struct hparams *hp = &m->hp;
    const struct layer *b = &m->layers[layer];
    int64_t n = p->n, nq = q_dim(hp), nkv = kv_dim(hp), ld = nq + 2 * nkv;
    float *q = m->qkv, *k = q + nq, *v = k + nkv;
    struct kv_layer *kv = kv_layer_at(p->kv, layer);
    struct attn attn = {
        .n_heads = hp->n_heads, .scale = 1.0f / sqrtf((float)hp->head_dim), .window = hp->window};

    op_rmsnorm(w, m->x, b->attn_norm, hp->eps, n, hp->d_model, m->h);
    team_barrier(w);
    proj_mul(w, m, &b->qkv, m->h, n, q, ld);
    if (b->qkv_bias) {
        op_add_bias(w, q, ld, b->qkv_bias, n, ld);
        team_barrier(w);
    }
    if (b->q_norm) {
        op_rmsnorm_heads(w, q, ld, b->q_norm, hp->eps, n, hp->n_heads, hp->head_dim);
        op_rmsnorm_heads(w, k, ld, b->k_norm, hp->eps, n, hp->n_kv_heads, hp->head_dim);
        team_barrier(w);
    }
    op_rope(w, &m->rope, q, ld, m->pos, n, hp->n_heads, hp->head_dim);
    op_rope(w, &m->rope, k, ld, m->pos, n, hp->n_kv_heads, hp->head_dim);
    team_barrier(w);
    op_kv_store(w, kv, m->seqs, p->n_seqs, k, v, ld);
    team_barrier(w);
    op_attention(w, &attn, kv, m->seqs, p->n_seqs, q, ld, m->attn, nq);
    team_barrier(w);
    proj_mul(w, m, &b->out, m->attn, n, m->h, hp->d_model);
    if (b->out_bias) {
        op_add_bias(w, m->h, hp->d_model, b->out_bias, n, hp->d_model);
        team_barrier(w);
    }
    op_add(w, m->x, m->h, n * hp->d_model);
    team_barrier(w);
}

static void feed_forward_block(const struct worker *w, struct pass *p, const struct layer *b)
{
    struct model *m = p->m;
    const struct hparams *hp = &m->hp;
    int64_t n = p->n;
    op_rmsnorm(w, m->x, b->ffn_norm, hp->eps, n, hp->d_model, m->h);
    team_barrier(w);
    if (b->up.n_mats == 1) {
        op_act(w, &m->act, m->h, n, hp->d_model, &b->up.mats[0]);
        team_barrier(w);
        op_mul_silu(w, &b->up.mats[0], &m->act, m->ff_tmp, m->ff, hp->d_ff);
    } else {
        proj_mul(w, m, &b->up, m->h, n, m->ff_tmp, 2 * hp->d_ff);
        silu_mul(w, m->ff_tmp, n, hp->d_ff, m->ff);
    }
    team_barrier(w);
    proj_mul(w, m, &b->down, m->ff, n, m->h, hp->d_model);
    op_add(w, m->x, m->h, n * hp->d_model);
    team_barrier(w);
}

bool decoder_run(const struct worker *w, struct pass *p)
{
    struct model *m = p->m;
    op_embed(w, &m->tokens, m->ids, p->n, m->x);
    team_barrier(w);
    for (int64_t i = 0; i < m->hp.n_layers; i++) {
        /* Worker 0 decides; the barriers of the block carry its word to the others. */
        if (w->index == 0 && p->cancel && *p->cancel) {
            p->stopped = true;
        }
        attention_block(w, p, i);
        if (p->stopped) {
            return false;
        }
        feed_forward_block(w, p, &m->layers[i]);
    }
    return true;
}

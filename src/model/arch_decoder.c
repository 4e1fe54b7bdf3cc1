/* Generative families (llama, qwen2, qwen3): pre-norm residual blocks with grouped-query attention,
 * rotary positions and a gated feed-forward layer (Touvron et al. 2023; Yang et al. 2024, 2025).
 *
 * One loader and one pass serve them all; what differs (biases, q/k norms, window, rotary layout)
 * is a NULL pointer or a number. */
#include "model/arch.h"
#include "model/rope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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
    for (int k = 0; k < b->qkv.n_mats; k++) {
        b->qkv.mats[k].has_outliers = true;
    }
    for (int k = 0; k < b->up.n_mats; k++) {
        b->up.mats[k].has_outliers = true;
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

/* The row of a label that the converter named; -1: it is not among them. */
static int32_t label_row(const struct model *m, const char *name)
{
    char key[128];
    (void)snprintf(key, sizeof key, "%s.classifier.output_labels", m->hp.arch);
    struct meta_str s;
    for (size_t i = 0; i < 2 && meta_array_string(m->w, key, i, &s); i++) {
        if (s.n == strlen(name) && memcmp(s.p, name, s.n) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* A causal reranker judges a pair by one label, or by two rows of what was the vocabulary's head
 * (Zhang et al. 2025, Qwen3-Reranker). */
static enum status load_labels(struct loader *l)
{
    struct model *m = l->m;
    const struct named_tensor *t = weights_find(m->w, "cls.output.weight");
    struct mat view;
    m->info.generates = !t;
    if (!t) {
        return OK;
    }
    struct label_rows labels = {.table = &t->t, .yes = 0, .no = -1};
    if (t->t.ne[1] == 2) {
        labels.yes = label_row(m, "yes");
        labels.no = label_row(m, "no");
    }
    if (t->t.ne[1] > 2 || (t->t.ne[1] == 2 && (labels.yes < 0 || labels.no < 0))) {
        m->info.rank_problem =
            "a classifier of several labels that are not yes and no: not a reranker";
        return OK;
    }
    m->labels = labels;
    m->info.rank_problem = NULL;
    return load_matrix(l, t->name, t->t.ne[1], m->hp.d_model, true, &view);
}

/* Says of each matrix which one a pass multiplies by next: the last one's is the first one of the
 * next pass. */
static void chain(struct model *m)
{
    struct mat *last = m->head.rows ? &m->head : &m->tokens;
    for (int64_t i = 0; i < m->hp.n_layers; i++) {
        struct proj *order[] = {&m->layers[i].qkv, &m->layers[i].out, &m->layers[i].up,
                                &m->layers[i].down};
        for (size_t k = 0; k < sizeof order / sizeof order[0]; k++) {
            bool gate_up = order[k] == &m->layers[i].up && order[k]->n_mats == 1;
            for (int j = 0; j < order[k]->n_mats; j++) {
                mat_follow(last, &order[k]->mats[j], gate_up);
                last = &order[k]->mats[j];
            }
        }
    }
    mat_follow(last, m->head.rows ? &m->head : &m->tokens, false);
}

enum status decoder_load(struct model *m, struct err *e)
{
    struct hparams *hp = &m->hp;
    if (hp->window && !(m->arch->traits & ARCH_WINDOW) && hp->window < hp->n_ctx_train) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(m->w), "%s with a sliding window",
                       hp->arch);
    }
    struct loader l;
    enum status s = loader_init(&l, m, (size_t)hp->n_layers * 7 + 3, e);
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
    if ((s = load_labels(&l)) || (s = loader_finish(&l))) {
        return s;
    }
    chain(m);
    return OK;
}

/* The rows of a pass that one worker, or the whole team, takes through the layers. */
struct part {
    struct worker w; /* all of the team, or `count` is 1 */
    int64_t first, n;
    struct act act, ff_act;
    struct attn_seq own;   /* the rows as a run of the sequence, if they are not all */
    struct attn_seq *seqs; /* of these rows */
    float *x, *h, *qkv, *attn, *ff_tmp, *ff, *turns;
};

/* A prompt is divided by its tokens, not by the matrices' rows: what a worker writes it reads
 * itself, from its own caches, and the team meets twice a layer only, about attention. Fewer tokens
 * are not worth that each worker unpacks all of the weights. */
enum { OWN_ROWS = 96, OWN_GRAIN = 8 /* rows of a panel of activations */ };

static struct part part_of(const struct worker *w, const struct pass *p)
{
    struct model *m = p->m;
    const struct hparams *hp = &m->hp;
    struct part r = {.w = *w, .n = p->n, .act = m->act, .ff_act = m->ff_act, .seqs = m->seqs};
    if (w->count > 1 && p->n_seqs == 1 && p->n >= OWN_ROWS * w->count) {
        size_t first, last;
        team_share(w, (size_t)p->n, OWN_GRAIN, &first, &last);
        r.first = (int64_t)first;
        r.n = (int64_t)(last - first);
        r.w = (struct worker){0, 1, w->team, w->scratch, w->scratch_bytes};
        r.act = act_part(&m->act, w, r.first);
        r.ff_act = act_part(&m->ff_act, w, r.first);
        r.own = m->seqs[0];
        r.own.first_pos += r.first;
        r.own.n_rows = r.n;
        r.seqs = &r.own;
    }
    r.x = m->x + r.first * hp->d_model;
    r.h = m->h + r.first * hp->d_model;
    r.qkv = m->qkv + r.first * (q_dim(hp) + 2 * kv_dim(hp));
    r.attn = m->attn + r.first * q_dim(hp);
    r.ff_tmp = m->ff_tmp + r.first * 2 * hp->d_ff;
    r.ff = m->ff + r.first * hp->d_ff;
    r.turns = m->turns + r.first * m->rope.rot_dim;
    return r;
}

/* y = W rmsnorm(x), no barrier at its end. */
static void norm_mul(struct part *r, const struct model *m, const struct proj *j, const float *gain,
                     float *y, int64_t ldy)
{
    for (int i = 0; i < j->n_mats; i++) {
        if (i == 0 || !act_serves(&j->mats[i], &j->mats[i - 1])) {
            if (i) {
                team_barrier(&r->w);
            }
            op_norm_act(&r->w, &r->act, r->x, gain, m->hp.eps, r->n, j->cols, &j->mats[i], r->h);
        }
        op_mul(&r->w, &j->mats[i], &r->act, y + j->at[i], ldy);
    }
}

/* x += attention(rmsnorm(x)); false: the pass was stopped. Barriers for one token: after q|k|v, its
 * heads, attention, and the projection; more tokens have one more wherever their activations are
 * shared. */
static bool attention_block(const struct worker *w, struct pass *p, struct part *r, int64_t layer)
{
    struct model *m = p->m;
    const struct hparams *hp = &m->hp;
    const struct layer *b = &m->layers[layer];
    int64_t nq = q_dim(hp), ld = nq + 2 * kv_dim(hp);
    struct kv_layer *kv = kv_layer_at(p->kv, layer);
    struct attn attn = {
        .n_heads = hp->n_heads, .scale = 1.0f / sqrtf((float)hp->head_dim), .window = hp->window};
    struct heads heads = {.bias = b->qkv_bias,
                          .q_norm = b->q_norm,
                          .k_norm = b->k_norm,
                          .eps = hp->eps,
                          .rope = &m->rope,
                          .turns = r->turns,
                          .n_heads = hp->n_heads};
    norm_mul(r, m, &b->qkv, b->attn_norm, r->qkv, ld);
    team_barrier(&r->w);
    op_heads(&r->w, &heads, kv, r->seqs, r->seqs == &r->own ? 1 : p->n_seqs, r->qkv, ld, r->n);
    if (r->n < p->n) {
        team_barrier(w);
    }
    /* Worker 0 said so before this barrier, and can say so of the next layer after the next one
     * only. */
    if (p->stopped) {
        return false;
    }
    op_attention(w, &attn, kv, m->seqs, p->n_seqs, m->qkv, ld, m->attn, nq);
    team_barrier(w);
    op_act(&r->w, &r->act, r->attn, r->n, nq, &b->out.mats[0]);
    op_mul_add(&r->w, &b->out.mats[0], &r->act, r->x, hp->d_model);
    team_barrier(&r->w);
    if (b->out_bias) {
        op_add_bias(&r->w, r->x, hp->d_model, b->out_bias, r->n, hp->d_model);
        team_barrier(&r->w);
    }
    return true;
}

/* x += W silu(gate) * up of rmsnorm(x). Barriers for one token: after gate|up and down. */
static void feed_forward_block(struct part *r, const struct model *m, const struct layer *b)
{
    const struct hparams *hp = &m->hp;
    const struct mat *down = &b->down.mats[0];
    if (b->up.n_mats == 1) {
        const struct mat *up = &b->up.mats[0];
        op_norm_act(&r->w, &r->act, r->x, b->ffn_norm, hp->eps, r->n, hp->d_model, up, r->h);
        op_mul_silu(&r->w, up, &r->act, r->ff_tmp, r->ff, &r->ff_act, down);
    } else { /* gate and up are of different types */
        norm_mul(r, m, &b->up, b->ffn_norm, r->ff_tmp, 2 * hp->d_ff);
        team_barrier(&r->w);
        op_silu_act(&r->w, r->ff_tmp, r->n, hp->d_ff, r->ff, &r->ff_act, down);
    }
    op_mul_add(&r->w, down, &r->ff_act, r->x, hp->d_model);
    team_barrier(&r->w);
}

bool decoder_run(const struct worker *w, struct pass *p)
{
    struct model *m = p->m;
    struct part r = part_of(w, p);
    if (r.seqs != m->seqs) {
        r.seqs = &r.own; /* where this copy stands */
    }
    op_embed(&r.w, &m->tokens, m->ids + r.first, r.n, r.x);
    op_rope_turns(&r.w, &m->rope, m->pos + r.first, r.n, r.turns);
    team_barrier(&r.w);
    for (int64_t i = 0; i < m->hp.n_layers; i++) {
        /* Worker 0 decides; a barrier of the block carries its word to the others. */
        if (w->index == 0 && p->cancel && *p->cancel) {
            p->stopped = true;
        }
        if (!attention_block(w, p, &r, i)) {
            return false;
        }
        feed_forward_block(&r, m, &m->layers[i]);
    }
    if (r.n < p->n) {
        team_barrier(w);
    }
    return true;
}

/* BERT encoders (Devlin et al. 2018): learned positions and token types, bidirectional attention
 * over packed texts without padding, layer norm after each residual sum, GELU. The second text of
 * a pair is of token type 1. */
#include "model/arch.h"

#include <math.h>

static enum status load_block(struct loader *l, int64_t i)
{
    const struct hparams *hp = &l->m->hp;
    struct layer *b = &l->m->layers[i];
    const char *qkv[] = {block_name(l, i, "attn_q.weight"), block_name(l, i, "attn_k.weight"),
                         block_name(l, i, "attn_v.weight")};
    const char *bias[] = {block_name(l, i, "attn_q.bias"), block_name(l, i, "attn_k.bias"),
                          block_name(l, i, "attn_v.bias")};
    const char *out[] = {block_name(l, i, "attn_output.weight")};
    const char *up[] = {block_name(l, i, "ffn_up.weight")};
    const char *down[] = {block_name(l, i, "ffn_down.weight")};
    int64_t d = hp->d_model;
    const int64_t heads[] = {d, d, d};
    enum status s;
    if ((s = load_proj(l, block_name(l, i, "attn_q|k|v.weight"), qkv, heads, 3, d, &b->qkv)) ||
        (s = load_vectors(l, bias, heads, 3, false, &b->qkv_bias)) ||
        (s = load_proj(l, out[0], out, &d, 1, d, &b->out)) ||
        (s = load_vector(l, block_name(l, i, "attn_output.bias"), d, false, &b->out_bias)) ||
        (s = load_vector(l, block_name(l, i, "attn_output_norm.weight"), d, false,
                         &b->attn_norm)) ||
        (s = load_vector(l, block_name(l, i, "attn_output_norm.bias"), d, false,
                         &b->attn_norm_bias)) ||
        (s = load_proj(l, up[0], up, &hp->d_ff, 1, d, &b->up)) ||
        (s = load_vector(l, block_name(l, i, "ffn_up.bias"), hp->d_ff, false, &b->up_bias)) ||
        (s = load_proj(l, down[0], down, &d, 1, hp->d_ff, &b->down)) ||
        (s = load_vector(l, block_name(l, i, "ffn_down.bias"), d, false, &b->down_bias)) ||
        (s = load_vector(l, block_name(l, i, "layer_output_norm.weight"), d, false,
                         &b->ffn_norm))) {
        return s;
    }
    return load_vector(l, block_name(l, i, "layer_output_norm.bias"), d, false, &b->ffn_norm_bias);
}

/* All rows of a table as floats: position and token-type tables are small. A file may have more
 * positions than the model takes (max_seq_length of sentence-transformers). */
static enum status load_table(struct loader *l, const char *name, int64_t rows, int64_t cols,
                              const float **out)
{
    struct mat table;
    const struct named_tensor *t = weights_find(l->m->w, name);
    int64_t found = t && t->t.ne[1] > rows ? t->t.ne[1] : rows;
    enum status s = load_matrix(l, name, found, cols, true, &table);
    if (s) {
        return s;
    }
    size_t n;
    float *all =
        size_mul((size_t)rows, (size_t)cols, &n) ? arena_array(&l->m->arena, n, sizeof *all) : NULL;
    if (!all) {
        return err_set(l->e, ERR_MEMORY, NULL, "no memory for the model's tables");
    }
    type_info(table.type)->to_float(table.source.data, all, n);
    *out = all;
    return OK;
}

/* Why the file's head scores no pairs; NULL when it does. llama.cpp's converter leaves BERT's
 * pooler out: what such a file would give are numbers, but not the model's. */
static const char *head_problem(const struct model *m)
{
    const struct named_tensor *out = weights_find(m->w, "cls.output.weight");
    bool dense = weights_find(m->w, "cls.weight") != NULL;
    if (!out && !dense) {
        return "no head that scores pairs: not a reranker";
    }
    if (!out || !dense) {
        return out ? "the reranker's dense layer (cls.weight) was left out of the file: take its "
                     "Hugging Face directory"
                   : "a head without a label (cls.output.weight): not a reranker";
    }
    return out->t.ne[1] == 1 ? NULL : "a classifier of several labels: not a reranker";
}

/* BertForSequenceClassification with one label. A model with another head still embeds. */
static enum status load_head(struct loader *l)
{
    struct model *m = l->m;
    int64_t d = m->hp.d_model;
    m->info.rank_problem = head_problem(m);
    if (m->info.rank_problem) {
        return OK;
    }
    enum status s;
    if ((s = load_table(l, "cls.weight", d, d, &m->pooler)) ||
        (s = load_vector(l, "cls.bias", d, false, &m->pooler_bias)) ||
        (s = load_table(l, "cls.output.weight", 1, d, &m->label))) {
        return s;
    }
    return load_vector(l, "cls.output.bias", 1, false, &m->label_bias);
}

enum status encoder_load(struct model *m, struct err *e)
{
    struct hparams *hp = &m->hp;
    struct loader l;
    enum status s = loader_init(&l, m, (size_t)hp->n_layers * 6 + 1, e);
    if (s) {
        return s;
    }
    if (q_dim(hp) != hp->d_model) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(m->w), "%s heads wider than the model",
                       hp->arch);
    }
    int64_t d = hp->d_model;
    /* A model may be trained for fewer positions than its table has rows (sentence-transformers'
     * max_seq_length): never for more. */
    const struct named_tensor *positions = weights_find(m->w, "position_embd.weight");
    int64_t n_rows =
        positions && positions->t.ne[1] > hp->n_ctx_train ? positions->t.ne[1] : hp->n_ctx_train;
    if ((s = load_matrix(&l, "token_embd.weight", hp->n_vocab, d, true, &m->tokens)) ||
        (s = load_table(&l, "position_embd.weight", n_rows, d, &m->positions)) ||
        (s = load_vector(&l, "token_embd_norm.weight", d, false, &m->embed_norm)) ||
        (s = load_vector(&l, "token_embd_norm.bias", d, false, &m->embed_norm_bias))) {
        return s;
    }
    if (hp->n_token_types &&
        (s = load_table(&l, "token_types.weight", hp->n_token_types, d, &m->token_types))) {
        return s;
    }
    for (int64_t i = 0; i < hp->n_layers; i++) {
        if ((s = load_block(&l, i))) {
            return s;
        }
    }
    s = load_head(&l);
    return s ? s : loader_finish(&l);
}

static void add_positions(const struct worker *w, struct pass *p)
{
    struct model *m = p->m;
    size_t first, last, d = (size_t)m->hp.d_model;
    team_share(w, (size_t)p->n, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *row = m->x + i * d;
        const float *position = m->positions + (size_t)m->pos[i] * d;
        int64_t part = m->logit_rows[i] < m->hp.n_token_types ? m->logit_rows[i] : 0;
        const float *type = m->token_types ? m->token_types + (size_t)part * d : NULL;
        for (size_t c = 0; c < d; c++) {
            row[c] += position[c] + (type ? type[c] : 0);
        }
    }
}

static void block(const struct worker *w, struct pass *p, const struct layer *b)
{
    struct model *m = p->m;
    const struct hparams *hp = &m->hp;
    int64_t n = p->n, d = hp->d_model, ld = 3 * d;
    float scale = 1.0f / sqrtf((float)hp->head_dim);

    proj_mul(w, m, &b->qkv, m->x, n, m->qkv, ld);
    op_add_bias(w, m->qkv, ld, b->qkv_bias, n, ld);
    team_barrier(w);
    op_attention_full(w, m->mode == MUL_EXACT ? TYPE_F32 : TYPE_F16, m->qkv, m->qkv + d,
                      m->qkv + 2 * d, ld, m->starts, p->n_seqs, p->n, hp->n_heads, hp->head_dim,
                      scale, m->attn, d);
    team_barrier(w);
    proj_mul(w, m, &b->out, m->attn, n, m->h, d);
    op_add_bias(w, m->h, d, b->out_bias, n, d);
    team_barrier(w);
    op_layernorm(w, m->h, m->x, b->attn_norm, b->attn_norm_bias, hp->eps, n, d, m->x);
    team_barrier(w);
    proj_mul(w, m, &b->up, m->x, n, m->ff, hp->d_ff);
    op_add_bias(w, m->ff, hp->d_ff, b->up_bias, n, hp->d_ff);
    team_barrier(w);
    op_gelu(w, m->ff, hp->d_ff, n, hp->d_ff);
    team_barrier(w);
    proj_mul(w, m, &b->down, m->ff, n, m->h, d);
    op_add_bias(w, m->h, d, b->down_bias, n, d);
    team_barrier(w);
    op_layernorm(w, m->h, m->x, b->ffn_norm, b->ffn_norm_bias, hp->eps, n, d, m->x);
    team_barrier(w);
}

bool encoder_run(const struct worker *w, struct pass *p)
{
    struct model *m = p->m;
    const struct hparams *hp = &m->hp;
    op_embed(w, &m->tokens, m->ids, p->n, m->x);
    team_barrier(w);
    add_positions(w, p);
    team_barrier(w);
    op_layernorm(w, m->x, NULL, m->embed_norm, m->embed_norm_bias, hp->eps, p->n, hp->d_model,
                 m->x);
    team_barrier(w);
    for (int64_t i = 0; i < hp->n_layers; i++) {
        block(w, p, &m->layers[i]);
    }
    return true;
}

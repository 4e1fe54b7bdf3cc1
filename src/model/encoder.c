/* The fast pass of an encoder: see encoder.h.
 *
 * After attention everything is row by row, so a group goes through the rest of a layer, and
 * through the next layer's query, key and value, in chunks of rows: the wide activations of the
 * feed-forward part exist for a chunk only, and quantised only. Other products write floats with
 * their bias done; norms read them once and leave both the residual row and its quantised form.
 *
 * Rejected: chunks of 48 rows, whose floats stay in the second-level cache, but which read all
 * weights from the third for so few (and 200 rows left a chunk of 8): 2 % slower than 256. */
#include "model/encoder.h"

#include "tensor/encoder.h"
#include "tensor/kernels.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP_ROWS = 256, /* a worker's share at a time */
    GROUP_LEAST = 64, /* towards the end groups shrink to this, so that workers end together */
    SOLO_ROWS = 512,  /* the longest text that one worker takes alone */
    SOLO_CHUNK = 256, /* rows of a chunk: weights are read once for so many */
    TEAM_CHUNK = 512,
    PLAN_TEXTS = 1024 /* texts of one run of the team */
};

/* Memory for `rows` rows of texts and for one chunk. */
struct space {
    int64_t rows, chunk;
    float *x, *qkv, *attn; /* [rows][d], [rows][3 d], [rows][d] */
    float *h;              /* [chunk][d] */
    void *xq, *ffq;
    int64_t *starts; /* [texts + 1] */
};

struct group {
    int first, last; /* texts */
};

struct encoder {
    int n_workers;
    struct space *spaces; /* one per worker, and one for the team */
    struct group groups[PLAN_TEXTS];
    int n_team, n_groups; /* the first n_team groups are the team's */
    atomic_int next;
    struct model *m;
    struct encoder_texts t; /* of this run */
};

static void space_fini(struct space *s)
{
    void *parts[] = {s->x, s->qkv, s->attn, s->h, s->xq, s->ffq};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        mem_large_free(parts[i]);
    }
    free(s->starts);
}

static bool space_init(struct space *s, const struct model *m, int64_t rows, int64_t chunk)
{
    const struct hparams *hp = &m->hp;
    size_t n = (size_t)enc_rows(rows), c = (size_t)chunk, d = (size_t)hp->d_model;
    int64_t ff = hp->d_ff;
    s->rows = rows;
    s->chunk = chunk;
    /* Room for the longest texts, of which a question touches a few rows. */
    s->x = mem_large(n, d * sizeof(float));
    s->qkv = mem_large(n, 3 * d * sizeof(float));
    s->attn = mem_large(n, d * sizeof(float));
    s->h = mem_large(c, d * sizeof(float));
    s->xq = mem_large(enc_act_bytes(m->mode, chunk, hp->d_model), 1);
    s->ffq = mem_large(enc_act_bytes(m->mode, chunk, ff), 1);
    s->starts = mem_aligned((size_t)rows + 1, sizeof *s->starts);
    return s->x && s->qkv && s->attn && s->h && s->xq && s->ffq && s->starts;
}

enum status encoder_new(const struct model *m, struct encoder **out, struct err *e)
{
    struct encoder *enc = calloc(1, sizeof *enc);
    bool ok = enc != NULL;
    if (ok) {
        enc->n_workers = team_size(m->team);
        enc->spaces = calloc((size_t)enc->n_workers + 1, sizeof *enc->spaces);
        ok = enc->spaces != NULL;
    }
    for (int i = 0; ok && i < enc->n_workers; i++) {
        ok = space_init(&enc->spaces[i], m, SOLO_ROWS, SOLO_CHUNK);
    }
    if (ok) {
        int64_t most = m->hp.n_ctx_train > SOLO_ROWS ? m->hp.n_ctx_train : SOLO_ROWS;
        ok = space_init(&enc->spaces[enc->n_workers], m, most, TEAM_CHUNK);
    }
    if (!ok) {
        encoder_free(enc);
        return err_set(e, ERR_MEMORY, NULL, "no memory for the activations of %s", m->info.name);
    }
    *out = enc;
    return OK;
}

void encoder_free(struct encoder *enc)
{
    if (!enc) {
        return;
    }
    for (int i = 0; enc->spaces && i <= enc->n_workers; i++) {
        space_fini(&enc->spaces[i]);
    }
    free(enc->spaces);
    free(enc);
}

void encoder_embed_row(const struct model *m, int32_t id, int64_t pos, int64_t type, float *row)
{
    size_t d = (size_t)m->hp.d_model;
    const struct mat *table = &m->tokens;
    type_info(table->type)
        ->to_float((const uint8_t *)table->source.data +
                       (size_t)id * tensor_row_bytes(&table->source),
                   row, d);
    kernels()->add(row, m->positions + (size_t)pos * d, d);
    if (m->token_types) {
        type = type < m->hp.n_token_types ? type : 0; /* one type: both parts of a pair have it */
        kernels()->add(row, m->token_types + (size_t)type * d, d);
    }
    kernels()->layernorm(row, NULL, m->embed_norm, m->embed_norm_bias, m->hp.eps, d, row);
}

static void mean_row(const float *rows, int64_t n, size_t d, float *out)
{
    memcpy(out, rows, d * sizeof *out);
    for (int64_t i = 1; i < n; i++) {
        kernels()->add(out, rows + (size_t)i * d, d);
    }
    for (size_t c = 0; c < d; c++) {
        out[c] = (float)((double)out[c] / (double)n);
    }
}

void encoder_pool(const float *rows, int64_t n, size_t d, enum pooling pooling, bool normalize,
                  float *out)
{
    if (pooling == POOL_MEAN) {
        mean_row(rows, n, d, out);
    } else {
        memcpy(out, rows + (pooling == POOL_LAST ? (size_t)(n - 1) * d : 0), d * sizeof *out);
    }
    double sum = 0;
    for (size_t c = 0; normalize && c < d; c++) {
        sum += (double)out[c] * (double)out[c];
    }
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t c = 0; normalize && c < d; c++) {
        out[c] = (float)((double)out[c] * scale);
    }
}

float encoder_logit(const struct model *m, const float *state)
{
    size_t d = (size_t)m->hp.d_model;
    double sum = (double)m->label_bias[0];
    for (size_t i = 0; i < d; i++) {
        float dot = kernels()->dot_f32(m->pooler + i * d, state, d);
        sum += (double)m->label[i] * tanh((double)(dot + m->pooler_bias[i]));
    }
    return (float)sum;
}

/* One group on its way: by one worker alone, or by the team. */
struct walk {
    const struct model *m;
    const struct encoder_texts *t;
    const struct space *s;
    struct group g;
    int64_t n; /* rows */
};

static void lay_starts(const struct walk *k)
{
    int64_t at = 0;
    for (int i = k->g.first; i < k->g.last; i++) {
        k->s->starts[i - k->g.first] = at;
        at += k->t->n_ids[i];
    }
    k->s->starts[k->g.last - k->g.first] = at;
}

static void embed_rows(const struct worker *w, const struct walk *k)
{
    size_t first, last, d = (size_t)k->m->hp.d_model, row = 0;
    team_share(w, (size_t)k->n, 1, &first, &last);
    for (int i = k->g.first; i < k->g.last; i++) {
        for (int64_t pos = 0; pos < k->t->n_ids[i]; pos++, row++) {
            if (row >= first && row < last) {
                int64_t type = k->t->second && pos >= k->t->second[i];
                encoder_embed_row(k->m, k->t->ids[i][pos], pos, type, k->s->x + row * d);
            }
        }
    }
}

static void mul(const struct worker *w, const struct proj *p, const struct enc_act *a,
                const float *bias, bool gelu, float *y, int64_t ldy)
{
    for (int i = 0; i < p->n_mats; i++) {
        op_enc_mul(w, &p->mats[i], a, bias + p->at[i], gelu, y + p->at[i], ldy);
    }
    team_barrier(w);
}

/* Rows [row, row + n) from attention's output to the layer's, and to the next one's query, key and
 * value. */
static void chunk(const struct worker *w, const struct walk *k, int64_t layer, int64_t row,
                  int64_t n)
{
    const struct model *m = k->m;
    const struct space *s = k->s;
    const struct layer *b = &m->layers[layer];
    int64_t d = m->hp.d_model, ff = m->hp.d_ff;
    float *x = s->x + row * d;
    struct enc_act xq = enc_act_view(s->xq, m->mode, n, d);
    struct enc_act ffq = enc_act_view(s->ffq, m->mode, n, ff);
    struct enc_norm attn_norm = {b->attn_norm, b->attn_norm_bias, m->hp.eps};
    struct enc_norm ffn_norm = {b->ffn_norm, b->ffn_norm_bias, m->hp.eps};

    op_enc_quant(w, &xq, s->attn + row * d, d);
    team_barrier(w);
    mul(w, &b->out, &xq, b->out_bias, false, s->h, d);
    op_enc_norm(w, &attn_norm, s->h, n, d, x, &xq);
    team_barrier(w);
    assert(b->up.n_mats == 1); /* one tensor: always one matrix */
    op_enc_mul_quant(w, &b->up.mats[0], &xq, b->up_bias, true, &ffq);
    team_barrier(w);
    mul(w, &b->down, &ffq, b->down_bias, false, s->h, d);
    bool last = layer + 1 == m->hp.n_layers;
    op_enc_norm(w, &ffn_norm, s->h, n, d, x, last ? NULL : &xq);
    team_barrier(w);
    if (!last) {
        mul(w, &b[1].qkv, &xq, b[1].qkv_bias, false, s->qkv + row * 3 * d, 3 * d);
    }
}

/* When only the first token of each text is wanted, what follows the last attention is done for
 * those rows alone: they move to the front. */
static void keep_first_rows(const struct worker *w, struct walk *k)
{
    size_t d = (size_t)k->m->hp.d_model;
    k->n = k->g.last - k->g.first;
    for (int64_t i = 0; w->index == 0 && i < k->n; i++) {
        size_t from = (size_t)k->s->starts[i] * d;
        memmove(k->s->x + (size_t)i * d, k->s->x + from, d * sizeof(float));
        memmove(k->s->attn + (size_t)i * d, k->s->attn + from, d * sizeof(float));
        k->s->starts[i] = i;
    }
    team_barrier(w);
}

static void finish(const struct worker *w, const struct walk *k, bool first_only)
{
    const struct model *m = k->m;
    const struct encoder_texts *t = k->t;
    size_t d = (size_t)m->hp.d_model;
    for (int i = k->g.first + w->index; i < k->g.last; i += w->count) {
        const float *rows = k->s->x + (size_t)k->s->starts[i - k->g.first] * d;
        if (t->second) {
            t->out[i] = encoder_logit(m, rows);
        } else {
            encoder_pool(rows, first_only ? 1 : t->n_ids[i], d, t->pooling, t->normalize,
                         t->out + (size_t)i * d);
        }
    }
    team_barrier(w);
}

static int64_t chunk_rows(const struct walk *k)
{
    int64_t chunks = (k->n + k->s->chunk - 1) / k->s->chunk;
    return (k->n + 4 * chunks - 1) / (4 * chunks) * 4;
}

static void encode(const struct worker *w, struct walk *k)
{
    const struct model *m = k->m;
    const struct space *s = k->s;
    int64_t d = m->hp.d_model, step = chunk_rows(k);
    float scale = 1.0f / sqrtf((float)m->hp.head_dim);
    bool first_only = k->t->pooling == POOL_CLS;
    if (w->index == 0) {
        lay_starts(k);
    }
    embed_rows(w, k);
    team_barrier(w);
    for (int64_t row = 0; row < k->n; row += step) {
        int64_t n = k->n - row < step ? k->n - row : step;
        struct enc_act xq = enc_act_view(s->xq, m->mode, n, d);
        op_enc_quant(w, &xq, s->x + row * d, d);
        team_barrier(w);
        mul(w, &m->layers[0].qkv, &xq, m->layers[0].qkv_bias, false, s->qkv + row * 3 * d, 3 * d);
    }
    for (int64_t layer = 0; layer < m->hp.n_layers; layer++) {
        bool first_rows = first_only && layer + 1 == m->hp.n_layers;
        struct enc_attn attn = {.mode = m->mode,
                                .q = s->qkv,
                                .k = s->qkv + d,
                                .v = s->qkv + 2 * d,
                                .ld = 3 * d,
                                .starts = s->starts,
                                .n_texts = k->g.last - k->g.first,
                                .most = first_rows ? 1 : k->n,
                                .n_heads = m->hp.n_heads,
                                .head_dim = m->hp.head_dim,
                                .scale = scale,
                                .out = s->attn,
                                .ldo = d};
        op_enc_attention(w, &attn);
        team_barrier(w);
        if (first_rows) {
            keep_first_rows(w, k);
            step = chunk_rows(k);
        }
        for (int64_t row = 0; row < k->n; row += step) {
            chunk(w, k, layer, row, k->n - row < step ? k->n - row : step);
        }
    }
    finish(w, k, first_only);
}

static int64_t group_tokens(const struct encoder_texts *t, struct group g)
{
    int64_t n = 0;
    for (int i = g.first; i < g.last; i++) {
        n += t->n_ids[i];
    }
    return n;
}

static void run_on_worker(const struct worker *w, void *ctx)
{
    struct encoder *enc = ctx;
    struct walk k = {.m = enc->m, .t = &enc->t, .s = &enc->spaces[enc->n_workers]};
    for (int i = 0; i < enc->n_team; i++) {
        k.g = enc->groups[i];
        k.n = group_tokens(&enc->t, k.g);
        encode(w, &k);
    }
    struct worker alone = {0, 1, w->team, w->scratch, w->scratch_bytes};
    k.s = &enc->spaces[w->index];
    for (int i; (i = atomic_fetch_add(&enc->next, 1)) < enc->n_groups;) {
        k.g = enc->groups[i];
        k.n = group_tokens(&enc->t, k.g);
        encode(&alone, &k);
    }
}

/* Texts [first, last) as groups for single workers; each group is a fair part of what is left. */
static void plan_alone(struct encoder *enc, int first, int last)
{
    int64_t left = group_tokens(&enc->t, (struct group){first, last});
    while (first < last) {
        int64_t most = left / (2 * enc->n_workers), rows = enc->t.n_ids[first];
        most = most > GROUP_ROWS ? GROUP_ROWS : most < GROUP_LEAST ? GROUP_LEAST : most;
        struct group g = {first, first + 1};
        while (g.last < last && rows + enc->t.n_ids[g.last] <= most) {
            rows += enc->t.n_ids[g.last++];
        }
        enc->groups[enc->n_groups++] = g;
        left -= rows;
        first = g.last;
    }
}

/* Long texts, and as many others as would leave workers idle at the end, are the team's. */
static void plan(struct encoder *enc)
{
    int n = enc->t.n, workers = enc->n_workers;
    int odd = n < 4 * workers && workers > 1 ? n % workers : 0;
    enc->n_groups = 0;
    for (int i = 0; i < n; i++) {
        if (i < odd || enc->t.n_ids[i] > SOLO_ROWS) {
            enc->groups[enc->n_groups++] = (struct group){i, i + 1};
        }
    }
    enc->n_team = enc->n_groups;
    for (int i = odd; i < n;) {
        int last = i;
        while (last < n && enc->t.n_ids[last] <= SOLO_ROWS) {
            last++;
        }
        plan_alone(enc, i, last);
        i = last + 1;
    }
    atomic_store(&enc->next, enc->n_team);
}

void encoder_embed(struct model *m, const struct encoder_texts *t)
{
    struct encoder *enc = m->encoder;
    size_t d = (size_t)m->hp.d_model;
    enc->m = m;
    for (int first = 0; first < t->n; first += PLAN_TEXTS) {
        enc->t = *t;
        enc->t.ids += first;
        enc->t.n_ids += first;
        enc->t.second = t->second ? t->second + first : NULL;
        enc->t.n = t->n - first < PLAN_TEXTS ? t->n - first : PLAN_TEXTS;
        enc->t.out += (size_t)first * (t->second ? 1 : d);
        plan(enc);
        team_run(m->team, run_on_worker, enc);
    }
}

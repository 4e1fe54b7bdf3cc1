/* One forward pass: runs of tokens laid side by side, through the architecture's blocks, to logits
 * of the rows that want them.
 *
 * The whole pass is one team_run. Sequences grow only after it has succeeded, so that a refused or
 * cancelled call leaves them as they were; keys and values written for positions past a sequence's
 * end are never read. */
#include "model/arch.h"

#include <assert.h>
#include <string.h>

void proj_mul(const struct worker *w, struct model *m, const struct proj *j, const float *x,
              int64_t n, float *y, int64_t ldy)
{
    for (int i = 0; i < j->n_mats; i++) {
        if (i == 0 || !act_serves(&j->mats[i], &j->mats[i - 1])) {
            if (i) {
                team_barrier(w);
            }
            op_act(w, &m->act, x, n, j->cols, &j->mats[i]);
        }
        op_mul(w, &j->mats[i], &m->act, y + j->at[i], ldy);
    }
    team_barrier(w);
}

/* The rows that want logits: where they stand side by side in x, else gathered into h. */
static const float *logit_rows(const struct worker *w, struct pass *p)
{
    struct model *m = p->m;
    const int64_t *rows = m->logit_rows;
    size_t first, last, d = (size_t)m->hp.d_model;
    if (rows[p->n_logits - 1] - rows[0] == p->n_logits - 1) { /* they ascend */
        return m->x + (size_t)rows[0] * d;
    }
    team_share(w, (size_t)p->n_logits, 1, &first, &last);
    for (size_t i = first; i < last; i++) {
        memcpy(m->h + i * d, m->x + (size_t)rows[i] * d, d * sizeof(float));
    }
    team_barrier(w);
    return m->h;
}

static void head(const struct worker *w, struct pass *p)
{
    struct model *m = p->m;
    const struct mat *out = m->head.rows ? &m->head : &m->tokens;
    const float *x = logit_rows(w, p);
    op_norm_act(w, &m->act, x, m->final_norm, m->hp.eps, p->n_logits, m->hp.d_model, out, m->h);
    op_mul(w, out, &m->act, p->logits, m->hp.n_vocab);
}

static void run_on_worker(const struct worker *w, void *ctx)
{
    struct pass *p = ctx;
    struct model *m = p->m;
    if (!m->arch->run(w, p)) {
        return;
    }
    if (p->logits && p->n_logits) {
        head(w, p);
    }
    if (p->normalize_states) {
        op_rmsnorm(w, m->x, m->final_norm, m->hp.eps, p->n, m->hp.d_model, m->h);
    }
}

enum status pass_run(struct model *m, struct err *e)
{
    m->pass.m = m;
    m->pass.stopped = false;
    team_run(m->team, run_on_worker, &m->pass);
    return m->pass.stopped ? err_set(e, ERR_CANCELLED, NULL, "cancelled") : OK;
}

static enum status check_runs(const struct model *m, const struct kv *kv,
                              const struct model_run *runs, int n_runs, struct err *e)
{
    int64_t rows = 0;
    if (m->hp.is_encoder) {
        return err_set(e, ERR_USAGE, NULL, "%s is an encoder: it does not generate", m->info.name);
    }
    if (kv_model(kv) != m || n_runs < 1) {
        return err_set(e, ERR_INTERNAL, NULL, "a forward pass needs runs in the model's own cache");
    }
    for (int i = 0; i < n_runs; i++) {
        if (!kv_is_seq(kv, runs[i].seq) || runs[i].n_ids < 1 ||
            runs[i].n_ids > m->max_batch - rows) {
            return err_set(e, ERR_INTERNAL, NULL,
                           "a run of %lld tokens in sequence %d does not fit a batch of %lld",
                           (long long)runs[i].n_ids, (int)runs[i].seq, (long long)m->max_batch);
        }
        rows += runs[i].n_ids;
        for (int j = 0; j < i; j++) {
            if (runs[j].seq == runs[i].seq) {
                return err_set(e, ERR_INTERNAL, NULL, "two runs of one sequence in a pass");
            }
        }
        for (int64_t k = 0; k < runs[i].n_ids; k++) {
            if (runs[i].ids[k] < 0 || runs[i].ids[k] >= m->hp.n_vocab) {
                return err_set(e, ERR_USAGE, NULL, "token %d is not in the vocabulary (0 to %lld)",
                               (int)runs[i].ids[k], (long long)m->hp.n_vocab - 1);
            }
        }
    }
    return OK;
}

static enum status reserve(struct kv *kv, const struct model_run *runs, int n_runs, struct err *e)
{
    for (int i = 0; i < n_runs; i++) {
        if (!kv_reserve(kv, runs[i].seq, runs[i].n_ids)) {
            int64_t left = kv_free_tokens(kv, runs[i].seq);
            for (int j = 0; j < i; j++) {
                kv_commit(kv, runs[j].seq, kv_seq_len(kv, runs[j].seq));
            }
            return err_set(e, ERR_CONTEXT, NULL,
                           "the KV cache is full: %lld more tokens, room for %lld",
                           (long long)runs[i].n_ids, (long long)left);
        }
    }
    return OK;
}

/* Lays the runs into the model's row tables. */
static void lay_rows(struct model *m, const struct kv *kv, const struct model_run *runs, int n_runs)
{
    struct pass *p = &m->pass;
    p->n = p->n_logits = 0;
    p->n_seqs = n_runs;
    for (int i = 0; i < n_runs; i++) {
        const struct model_run *r = &runs[i];
        int64_t first = kv_seq_len(kv, r->seq);
        m->seqs[i] = (struct attn_seq){
            .blocks = kv_blocks(kv, r->seq), .first_pos = first, .row = p->n, .n_rows = r->n_ids};
        for (int64_t k = 0; k < r->n_ids; k++) {
            m->ids[p->n + k] = r->ids[k];
            m->pos[p->n + k] = (int32_t)(first + k);
            if (r->all_logits || k == r->n_ids - 1) {
                m->logit_rows[p->n_logits++] = p->n + k;
            }
        }
        p->n += r->n_ids;
    }
}

enum status decoder_pass(struct model *m, struct kv *kv, const struct model_run *runs, int n_runs,
                         float *logits, bool states, const volatile bool *cancel, struct err *e)
{
    enum status s = check_runs(m, kv, runs, n_runs, e);
    if (s || (s = reserve(kv, runs, n_runs, e))) {
        return s;
    }
    lay_rows(m, kv, runs, n_runs);
    m->pass.kv = kv;
    m->pass.logits = logits;
    m->pass.normalize_states = states;
    m->pass.cancel = cancel;
    s = pass_run(m, e);
    for (int i = 0; i < n_runs; i++) {
        kv_commit(kv, runs[i].seq, kv_seq_len(kv, runs[i].seq) + (s ? 0 : runs[i].n_ids));
    }
    return s;
}

enum status model_forward(struct model *m, struct kv *kv, const struct model_run *runs, int n_runs,
                          float *logits, const volatile bool *cancel, struct err *e)
{
    return decoder_pass(m, kv, runs, n_runs, logits, false, cancel, e);
}

/* Row `i` of a table of weights times x, in floats; scratch has as many. */
static double row_dot(const struct tensor *table, int64_t i, const float *x, float *scratch)
{
    size_t d = (size_t)table->ne[0];
    const uint8_t *row = (const uint8_t *)table->data + (size_t)i * tensor_row_bytes(table);
    double sum = 0;
    type_info(table->type)->to_float(row, scratch, d);
    for (size_t c = 0; c < d; c++) {
        sum += (double)scratch[c] * (double)x[c];
    }
    return sum;
}

enum status model_judge(struct model *m, struct kv *kv, const struct model_run *run, int32_t yes,
                        int32_t no, float *logit, struct err *e)
{
    struct label_rows rows = m->labels;
    if (!rows.table) {
        const struct named_tensor *head = weights_find(m->w, "output.weight");
        head = head ? head : weights_find(m->w, "token_embd.weight");
        rows = (struct label_rows){&head->t, yes, no};
        assert(yes >= 0 && yes < m->hp.n_vocab && no >= 0 && no < m->hp.n_vocab);
    }
    enum status s = decoder_pass(m, kv, run, 1, NULL, true, NULL, e);
    if (!s) {
        const float *state = m->h + (size_t)(run->n_ids - 1) * (size_t)m->hp.d_model;
        double sum = row_dot(rows.table, rows.yes, state, m->x);
        sum -= rows.no < 0 ? 0 : row_dot(rows.table, rows.no, state, m->x);
        *logit = (float)sum;
    }
    return s;
}

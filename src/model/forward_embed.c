/* Embeddings: hidden states of whole texts, pooled to one row each.
 *
 * Texts are packed side by side without padding, as many as max_batch rows hold. An encoder sees a
 * text at once; a generative model runs it causally through a cache of its own, in pieces when it
 * is longer than a batch, and the pool is summed over the pieces. */
#include "model/arch.h"
#include "model/encoder.h"

#include <math.h>
#include <string.h>

struct texts {
    const int32_t *const *ids;
    const int64_t *n_ids;
    const int64_t *second; /* of pairs: where the second part begins; NULL: no pairs */
    enum pooling pooling;
    float *out; /* [n][d_model], or a logit for each pair */
};

static enum status check_texts(const struct model *m, const struct texts *t, int n, struct err *e)
{
    int64_t limit = m->hp.n_ctx_train;
    if (t->pooling == POOL_NONE) {
        return err_set(e, ERR_USAGE, NULL, "no pooling was chosen for %s", m->info.name);
    }
    for (int i = 0; i < n; i++) {
        if (t->n_ids[i] < 1) {
            return err_set(e, ERR_USAGE, NULL, "text %d has no tokens", i);
        }
        if (t->n_ids[i] > limit) {
            return err_set(e, ERR_CONTEXT, NULL, "text %d has %lld tokens, %s takes %lld", i,
                           (long long)t->n_ids[i], m->info.name, (long long)limit);
        }
        for (int64_t k = 0; k < t->n_ids[i]; k++) {
            if (t->ids[i][k] < 0 || t->ids[i][k] >= m->hp.n_vocab) {
                return err_set(e, ERR_USAGE, NULL, "token %d is not in the vocabulary (0 to %lld)",
                               (int)t->ids[i][k], (long long)m->hp.n_vocab - 1);
            }
        }
    }
    return OK;
}

/* Adds rows [from, from + n) of a text of `total` rows to its pool. */
static void pool_rows(const float *states, int64_t from, int64_t n, int64_t total, size_t d,
                      enum pooling pooling, float *out)
{
    if (from == 0) {
        memset(out, 0, d * sizeof *out);
    }
    for (int64_t i = 0; i < n; i++) {
        bool wanted = pooling == POOL_MEAN || (pooling == POOL_CLS && from + i == 0) ||
                      (pooling == POOL_LAST && from + i == total - 1);
        const float *row = states + (size_t)i * d;
        for (size_t c = 0; wanted && c < d; c++) {
            out[c] += row[c];
        }
    }
}

static void finish(float *out, size_t d, int64_t n_rows, enum pooling pooling, bool normalize)
{
    double scale = pooling == POOL_MEAN ? 1.0 / (double)n_rows : 1.0, sum = 0;
    for (size_t c = 0; c < d; c++) {
        sum += (double)out[c] * (double)out[c];
    }
    if (normalize) {
        scale = sum > 0 ? 1 / sqrt(sum) : 0;
    }
    for (size_t c = 0; c < d; c++) {
        out[c] = (float)((double)out[c] * scale);
    }
}

/* How many texts from `first` on fit one pass; a text longer than a batch counts as one. */
static int pack(const struct model *m, const struct texts *t, int first, int n, int most)
{
    int64_t rows = 0;
    int last = first;
    while (last < n && last - first < most && rows + t->n_ids[last] <= m->max_batch) {
        rows += t->n_ids[last++];
    }
    return last > first ? last : first + 1;
}

static enum status encode_pack(struct model *m, const struct texts *t, int first, int last,
                               struct err *e)
{
    struct pass *p = &m->pass;
    p->n = 0;
    p->n_seqs = last - first;
    for (int i = first; i < last; i++) {
        m->starts[i - first] = p->n;
        for (int64_t k = 0; k < t->n_ids[i]; k++) {
            m->ids[p->n] = t->ids[i][k];
            /* encoders: the row's token type */
            m->logit_rows[p->n] = t->second && k >= t->second[i];
            m->pos[p->n++] = (int32_t)k;
        }
    }
    m->starts[p->n_seqs] = p->n;
    p->logits = NULL;
    p->normalize_states = false;
    p->cancel = NULL;
    enum status s = pass_run(m, e);
    size_t d = (size_t)m->hp.d_model;
    for (int i = first; !s && t->second && i < last; i++) {
        t->out[i] = encoder_logit(m, m->x + (size_t)m->starts[i - first] * d);
    }
    for (int i = first; !s && !t->second && i < last; i++) {
        pool_rows(m->x + (size_t)m->starts[i - first] * d, 0, t->n_ids[i], t->n_ids[i], d,
                  t->pooling, t->out + (size_t)i * d);
    }
    return s;
}

/* Generative models: at most PACK_SEQS sequences at once, each with blocks of its own. */
enum { PACK_SEQS = 32 };

static enum status embed_cache(struct model *m, const struct texts *t, int n, struct err *e)
{
    int64_t need = m->max_batch + PACK_SEQS * KV_BLOCK;
    for (int i = 0; i < n; i++) {
        need = t->n_ids[i] > need ? t->n_ids[i] : need;
    }
    int32_t none = -1;
    if (m->embed_kv && kv_free_tokens(m->embed_kv, none) >= need) {
        return OK;
    }
    kv_close(m->embed_kv);
    m->embed_kv = NULL;
    return kv_open(m, need, TYPE_F16, &m->embed_kv, e);
}

static enum status decode_pieces(struct model *m, const struct texts *t, int first, int last,
                                 const int32_t *seqs, struct err *e)
{
    struct model_run runs[PACK_SEQS];
    size_t d = (size_t)m->hp.d_model;
    for (int64_t from = 0; from < t->n_ids[first]; from += m->max_batch) {
        for (int i = first; i < last; i++) { /* one run each; more than a piece only when alone */
            int64_t left = t->n_ids[i] - from;
            runs[i - first] =
                (struct model_run){.seq = seqs[i - first],
                                   .ids = t->ids[i] + from,
                                   .n_ids = left < m->max_batch ? left : m->max_batch};
        }
        enum status s = decoder_pass(m, m->embed_kv, runs, last - first, NULL, true, NULL, e);
        if (s) {
            return s;
        }
        for (int i = first; i < last; i++) {
            pool_rows(m->h + (size_t)m->seqs[i - first].row * d, from, runs[i - first].n_ids,
                      t->n_ids[i], d, t->pooling, t->out + (size_t)i * d);
        }
    }
    return OK;
}

static enum status decode_pack(struct model *m, const struct texts *t, int first, int last,
                               struct err *e)
{
    int32_t seqs[PACK_SEQS];
    int n = 0;
    enum status s = OK;
    while (!s && n < last - first) {
        s = kv_seq_new(m->embed_kv, &seqs[n], e);
        n += !s;
    }
    if (!s) {
        s = decode_pieces(m, t, first, last, seqs, e);
    }
    while (n > 0) {
        kv_seq_free(m->embed_kv, seqs[--n]);
    }
    return s;
}

enum status model_embed(struct model *m, const int32_t *const *ids, const int64_t *n_ids,
                        int n_seqs, enum pooling pooling, bool normalize, float *out, struct err *e)
{
    struct texts t = {ids, n_ids, NULL, pooling, out};
    bool encoder = m->hp.is_encoder;
    enum status s = check_texts(m, &t, n_seqs, e);
    if (s || (!encoder && (s = embed_cache(m, &t, n_seqs, e)))) {
        return s;
    }
    if (m->encoder) {
        struct encoder_texts all = {ids, n_ids, NULL, n_seqs, pooling, normalize, out};
        encoder_embed(m, &all);
        return OK;
    }
    for (int first = 0, last; first < n_seqs; first = last) {
        last = pack(m, &t, first, n_seqs, encoder ? n_seqs : PACK_SEQS);
        s = encoder ? encode_pack(m, &t, first, last, e) : decode_pack(m, &t, first, last, e);
        if (s) {
            return s;
        }
    }
    for (int i = 0; i < n_seqs; i++) {
        finish(out + (size_t)i * (size_t)m->hp.d_model, (size_t)m->hp.d_model, n_ids[i], pooling,
               normalize);
    }
    return OK;
}

enum status model_rank(struct model *m, const int32_t *const *ids, const int64_t *n_ids,
                       const int64_t *second, int n_pairs, float *logits, struct err *e)
{
    struct texts t = {ids, n_ids, second, POOL_CLS, logits};
    if (m->info.rank_problem) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(m->w), "%s", m->info.rank_problem);
    }
    enum status s = check_texts(m, &t, n_pairs, e);
    if (!s && m->encoder) {
        struct encoder_texts all = {ids, n_ids, second, n_pairs, POOL_CLS, false, logits};
        encoder_embed(m, &all);
        return OK;
    }
    for (int first = 0, last; !s && first < n_pairs; first = last) {
        last = pack(m, &t, first, n_pairs, n_pairs);
        s = encode_pack(m, &t, first, last, e);
    }
    return s;
}

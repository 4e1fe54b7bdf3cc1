/* A model: opening and closing (see model.h for what it is).
 *
 * Order of opening: file, architecture, numbers; then the vocabulary in one thread, and team,
 * weights, buffers in another. Buffers come last because by then the file has shown tensors of the
 * sizes that they follow. */
#include "model/arch.h"

#include "base/sys.h"
#include "model/encoder.h"
#include "tensor/encoder.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 512, MAX_BATCH_ENCODER = 2048, MAX_BATCH_LIMIT = 1 << 16 };

static enum status allocate_buffers(struct model *m, struct err *e)
{
    const struct hparams *hp = &m->hp;
    size_t n = (size_t)m->max_batch, d = (size_t)hp->d_model, ff = (size_t)hp->d_ff;
    size_t q = (size_t)q_dim(hp), qkv = q + 2 * (size_t)kv_dim(hp);
    m->x = mem_large(n, d * sizeof(float));
    m->h = mem_large(n, d * sizeof(float));
    m->qkv = mem_large(n, qkv * sizeof(float));
    m->attn = mem_large(n, q * sizeof(float));
    m->ff_tmp = hp->is_encoder ? NULL : mem_large(n, 2 * ff * sizeof(float));
    m->ff = mem_large(n, ff * sizeof(float));
    m->turns = mem_aligned(n, ((size_t)hp->rope.rot_dim + 1) * sizeof(float));
    m->ids = mem_aligned(n, sizeof *m->ids);
    m->pos = mem_aligned(n, sizeof *m->pos);
    m->logit_rows = mem_aligned(n, sizeof *m->logit_rows);
    m->starts = mem_aligned(n + 1, sizeof *m->starts);
    m->seqs = mem_aligned(n, sizeof *m->seqs);
    if (!m->x || !m->h || !m->qkv || !m->attn || (!m->ff_tmp && !hp->is_encoder) || !m->ff ||
        !m->turns || !m->ids || !m->pos || !m->logit_rows || !m->starts || !m->seqs) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for batches of %zu tokens", n);
    }
    int64_t widest = hp->d_model > hp->d_ff ? hp->d_model : hp->d_ff;
    widest = widest > q_dim(hp) ? widest : q_dim(hp);
    enum status s = act_init(&m->act, m->team, m->max_batch, widest, e);
    return s || hp->is_encoder ? s : act_init(&m->ff_act, m->team, m->max_batch, hp->d_ff, e);
}

static enum status choose_batch(struct model *m, const struct model_options *opt, struct err *e)
{
    int64_t n = opt->max_batch;
    if (n < 0 || n > MAX_BATCH_LIMIT || opt->n_threads < 0 || opt->n_threads > TEAM_MAX_THREADS) {
        return err_set(e, ERR_USAGE, NULL,
                       "%d threads and batches of %lld tokens (0 to %d and 0 to %d are possible)",
                       opt->n_threads, (long long)n, TEAM_MAX_THREADS, MAX_BATCH_LIMIT);
    }
    if (m->hp.is_encoder) { /* sees a text whole */
        n = n ? n : MAX_BATCH_ENCODER;
        if (m->hp.n_ctx_train > MAX_BATCH_LIMIT) {
            return err_set(e, ERR_UNSUPPORTED, weights_path(m->w),
                           "an encoder of texts of %lld tokens (at most %d)",
                           (long long)m->hp.n_ctx_train, MAX_BATCH_LIMIT);
        }
        n = n > m->hp.n_ctx_train ? n : m->hp.n_ctx_train;
    }
    m->max_batch = n ? n : MAX_BATCH;
    return OK;
}

static const char *base_name(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') {
        from--;
    }
    return path + from;
}

static enum status fill_info(struct model *m, struct err *e)
{
    const struct hparams *hp = &m->hp;
    struct meta_str s;
    const char *path = weights_path(m->w);
    const char *name = meta_string(m->w, "general.name", &s) && s.n
                           ? arena_strndup(&m->arena, s.p, s.n)
                           : arena_strdup(&m->arena, base_name(path));
    const char *chat = NULL;
    bool has_chat = meta_string(m->w, "tokenizer.chat_template", &s);
    if (has_chat) {
        chat = arena_strndup(&m->arena, s.p, s.n);
    }
    if (!name || (has_chat && !chat)) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the model's name");
    }
    m->info = (struct model_info){.arch = hp->arch,
                                  .name = name,
                                  .is_encoder = hp->is_encoder,
                                  .n_layers = hp->n_layers,
                                  .d_model = hp->d_model,
                                  .n_heads = hp->n_heads,
                                  .n_kv_heads = hp->n_kv_heads,
                                  .head_dim = hp->head_dim,
                                  .d_ff = hp->d_ff,
                                  .n_vocab = hp->n_vocab,
                                  .n_ctx_train = hp->n_ctx_train,
                                  .pooling = hp->pooling,
                                  .normalize = hp->normalize,
                                  .rank_problem = "no head that scores pairs: not a reranker",
                                  .chat_template = chat};
    for (size_t i = 0; i < weights_count(m->w); i++) {
        const struct tensor *t = &weights_at(m->w, i)->t;
        m->info.n_params += t->ne[0] * (int64_t)tensor_rows(t);
        m->info.weight_bytes += tensor_bytes(t);
    }
    return OK;
}

static enum status check_vocab(const struct model *m, struct err *e)
{
    if (vocab_size(m->vocab) > m->hp.n_vocab) {
        return err_set(e, ERR_FORMAT, weights_path(m->w),
                       "the tokenizer has %d tokens, token_embd.weight only %lld rows",
                       (int)vocab_size(m->vocab), (long long)m->hp.n_vocab);
    }
    return OK;
}

/* Columns of the widest weight matrix. */
static int64_t widest(const struct hparams *hp)
{
    int64_t heads = hp->n_heads * hp->head_dim;
    int64_t d = hp->d_model > heads ? hp->d_model : heads;
    return d > hp->d_ff ? d : hp->d_ff;
}

/* The vocabulary takes as long as all the rest together once the packed weights lie on disk: it is
 * read by a thread of its own beside them. */
struct vocab_job {
    const struct weights *w;
    struct vocab *vocab;
    struct err e;
    enum status s;
    pthread_t thread;
    bool has_thread;
};

static void *read_vocab(void *arg)
{
    struct vocab_job *j = arg;
    j->s = vocab_open(j->w, &j->vocab, &j->e);
    return NULL;
}

static void vocab_start(struct vocab_job *j)
{
    j->has_thread = pthread_create(&j->thread, NULL, read_vocab, j) == 0;
    if (!j->has_thread) {
        (void)read_vocab(j);
    }
}

static enum status vocab_finish(struct vocab_job *j, struct vocab **out, struct err *e)
{
    if (j->has_thread) {
        (void)pthread_join(j->thread, NULL);
    }
    *out = j->vocab;
    if (j->s && e) {
        *e = j->e;
    }
    return j->s;
}

/* Milliseconds since *from, which becomes now. */
static double lap(double *from)
{
    double begun = *from;
    *from = clock_ms();
    return *from - begun;
}

/* Team, matrices and buffers. */
static enum status open_weights(struct model *m, const struct model_options *opt, struct err *e)
{
    struct model_opening *took = &m->opening;
    const struct packs_options packs = {.dir = opt->packed_dir,
                                        .max_bytes = opt->packed_max_bytes,
                                        .min_bytes = opt->packed_min_bytes};
    double begun = clock_ms();
    size_t scratch = ops_scratch_bytes(widest(&m->hp));
    if (m->mode == MUL_ENCODER || m->mode == MUL_ENCODER_INT8) {
        size_t attn = enc_attn_bytes(m->hp.n_ctx_train, m->hp.head_dim);
        scratch = attn > scratch ? attn : scratch;
    }
    enum status s = team_open(opt->n_threads, scratch, &m->team, e);
    if (s) {
        return s;
    }
    if (opt->pin && !team_pin(m->team)) {
        return err_set(e, ERR_UNSUPPORTED, NULL, "threads cannot be tied to cores here");
    }
    if ((s = packs_open(m->w, m->mode, m->team, &packs, &m->packs, e)) ||
        (s = m->arch->load(m, e))) {
        return s;
    }
    packs_ready(m->packs);
    took->weights_ms = lap(&begun);
    s = m->hp.is_encoder && m->mode != MUL_EXACT ? encoder_new(m, &m->encoder, e)
                                                 : allocate_buffers(m, e);
    took->buffers_ms = lap(&begun);
    return s;
}

static enum status open_parts(struct model *m, const char *path, const struct model_options *opt,
                              struct err *e)
{
    struct model_opening *took = &m->opening;
    double begun = clock_ms();
    enum status s;
    if ((s = weights_open(path, &m->w, e)) || (s = arch_find(m->w, &m->arch, e))) {
        return s;
    }
    memcpy(m->hp.arch, m->arch->name, strlen(m->arch->name) + 1);
    if ((s = m->arch->read_hparams(m->w, &m->hp, e)) || (s = choose_batch(m, opt, e))) {
        return s;
    }
    if (m->hp.is_encoder && m->mode == MUL_DEFAULT) {
        m->mode = opt->encoder_int8 ? MUL_ENCODER_INT8 : MUL_ENCODER;
    }
    if ((s = fill_info(m, e))) {
        return s;
    }
    took->files_ms = lap(&begun);
    struct vocab_job vocab = {.w = m->w};
    struct err of_weights = {0};
    vocab_start(&vocab);
    enum status loaded = open_weights(m, opt, &of_weights);
    begun = clock_ms();
    if ((s = vocab_finish(&vocab, &m->vocab, e)) || (s = check_vocab(m, e))) {
        return s;
    }
    if (loaded && e) {
        *e = of_weights;
    }
    weights_release(m->w, NULL);
    took->vocab_ms = lap(&begun);
    return loaded;
}

enum status model_open(const char *path, const struct model_options *opt, struct model **out,
                       struct err *e)
{
    static const struct model_options defaults;
    struct model *m = calloc(1, sizeof *m);
    if (!m) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for a model");
    }
    opt = opt ? opt : &defaults;
    m->mode = opt->mode;
    enum status s = open_parts(m, path, opt, e);
    if (s) {
        model_close(m);
        return s;
    }
    *out = m;
    return OK;
}

static void proj_fini(struct proj *j)
{
    for (int i = 0; i < j->n_mats; i++) {
        mat_fini(&j->mats[i]);
    }
}

void model_close(struct model *m)
{
    if (!m) {
        return;
    }
    kv_close(m->embed_kv);
    encoder_free(m->encoder);
    for (int64_t i = 0; m->layers && i < m->hp.n_layers; i++) {
        proj_fini(&m->layers[i].qkv);
        proj_fini(&m->layers[i].out);
        proj_fini(&m->layers[i].up);
        proj_fini(&m->layers[i].down);
    }
    mat_fini(&m->tokens);
    mat_fini(&m->head);
    packs_close(m->packs); /* after the mats that live in it, before the team */
    act_fini(&m->act);
    act_fini(&m->ff_act);
    void *large[] = {m->x, m->h, m->qkv, m->attn, m->ff_tmp, m->ff};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        mem_large_free(large[i]);
    }
    void *small[] = {m->turns, m->ids, m->pos, m->logit_rows, m->starts, m->seqs};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        free(small[i]);
    }
    team_close(m->team);
    vocab_close(m->vocab);
    weights_close(m->w);
    arena_reset(&m->arena);
    free(m);
}

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
}

void model_settle(struct model *m)
{
    packs_settle(m->packs);
}

struct model_opening model_opening(const struct model *m)
{
    struct model_opening o = m->opening;
    struct packs_report r = packs_report(m->packs);
    o.copy = r.copy;
    o.copy_path = r.path;
    o.copy_note = r.note;
    return o;
}

const struct vocab *model_vocab(const struct model *m)
{
    return m->vocab;
}

const struct weights *model_weights(const struct model *m)
{
    return m->w;
}

int model_threads(const struct model *m)
{
    return team_size(m->team);
}

bool model_mat_at(const struct model *m, size_t i, const char **name, enum tensor_type *type,
                  const char **path)
{
    if (i >= m->n_mats) {
        return false;
    }
    *name = m->mats[i].name;
    *type = m->mats[i].mat->type;
    *path = m->mats[i].mat->path;
    return true;
}

static void add_cost(struct model_cost *c, const struct proj *j)
{
    for (int i = 0; i < j->n_mats; i++) {
        c->token_ops += 2 * j->mats[i].rows * j->mats[i].cols;
        c->layer_bytes += mat_bytes(&j->mats[i]);
    }
}

void model_cost(const struct model *m, struct model_cost *out)
{
    *out = (struct model_cost){0};
    for (int64_t i = 0; i < m->hp.n_layers; i++) {
        add_cost(out, &m->layers[i].qkv);
        add_cost(out, &m->layers[i].out);
        add_cost(out, &m->layers[i].up);
        add_cost(out, &m->layers[i].down);
    }
    if (!m->hp.is_encoder) {
        const struct mat *head = m->head.rows ? &m->head : &m->tokens;
        out->head_ops = 2 * head->rows * head->cols;
        out->head_bytes = mat_bytes(head);
    }
}

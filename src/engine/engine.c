/* An engine: opening, facts, tokens (see engine.h).
 *
 * The lock guards the model's compute team and the KV pool and is held for one pass at a time, so
 * that several sessions take turns and no callback ever runs under it. */
#include "engine/engine_internal.h"

#include "base/sys.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 512 };

void engine_lock(struct engine *en)
{
    (void)pthread_mutex_lock(&en->lock);
}

void engine_unlock(struct engine *en)
{
    (void)pthread_mutex_unlock(&en->lock);
}

const char *engine_pooling_name(enum pooling p)
{
    static const char *const names[] = {
        [POOL_NONE] = "none", [POOL_MEAN] = "mean", [POOL_CLS] = "cls", [POOL_LAST] = "last"};
    return names[p];
}

static enum status no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, NULL, "no memory for an engine");
}

static enum status open_kv(struct engine *en, const struct engine_options *opt, struct err *e)
{
    const struct model_info *mi = model_info(en->model);
    if (mi->is_encoder) {
        en->info.n_ctx = mi->n_ctx_train;
        return OK;
    }
    int64_t n = opt->n_ctx;
    if (n < 0 || n > mi->n_ctx_train) {
        return err_set(e, ERR_USAGE, NULL,
                       "a context of %lld tokens; %s was trained for %lld, 1 to that are possible",
                       (long long)n, mi->name, (long long)mi->n_ctx_train);
    }
    if (n == 0) {
        n = mi->n_ctx_train < DEFAULT_CTX ? mi->n_ctx_train : DEFAULT_CTX;
    }
    en->info.n_ctx = n;
    static const struct {
        enum tensor_type type;
        const char *name;
    } kinds[] = {
        [ENGINE_KV_F16] = {TYPE_F16, "f16"},
        [ENGINE_KV_Q8_0] = {TYPE_Q8_0, "q8_0"},
        [ENGINE_KV_F32] = {TYPE_F32, "f32"},
    };
    enum engine_kv kv = opt->kv ? opt->kv : opt->exact ? ENGINE_KV_F32 : ENGINE_KV_F16;
    enum status s = kv_open(en->model, n, kinds[kv].type, &en->kv, e);
    if (!s) {
        en->info.kv_bytes = kv_bytes(en->kv);
        en->info.kv_type = kinds[kv].name;
    }
    return s;
}

static enum status count_paths(struct engine *en, struct err *e)
{
    const char *name, *path;
    enum tensor_type type;
    en->paths = arena_array(&en->arena, TYPE_COUNT * 2, sizeof *en->paths);
    if (!en->paths) {
        return no_memory(e);
    }
    for (size_t i = 0; model_mat_at(en->model, i, &name, &type, &path); i++) {
        const char *type_name = type_info(type)->name;
        size_t k = 0;
        while (k < en->n_paths && (strcmp(en->paths[k].type, type_name) != 0 ||
                                   strcmp(en->paths[k].path, path) != 0)) {
            k++;
        }
        if (k == en->n_paths) {
            if (k == TYPE_COUNT * 2) {
                continue; /* more paths than types have: not worth a table that grows */
            }
            en->paths[en->n_paths++] = (struct path_row){type_name, path, 0};
        }
        en->paths[k].n_mats++;
    }
    return OK;
}

/* A template that cannot be run does not keep the model from running: who asks for it gets the
 * reason. */
static void parse_template(struct engine *en)
{
    const char *source = model_info(en->model)->chat_template;
    if (!source) {
        (void)err_set(&en->template_error, ERR_UNSUPPORTED, en->info.path,
                      "the model has no chat template");
        return;
    }
    struct err e = {0};
    if (template_parse(source, strlen(source), &en->template, &e)) {
        (void)err_set(&en->template_error, e.code, en->info.path, "chat template: %s: %s", e.place,
                      e.message);
    }
    en->info.has_template = en->template != NULL;
}

static enum status fill_info(struct engine *en, const char *path, struct err *e)
{
    const struct model_info *mi = model_info(en->model);
    const struct weights *w = model_weights(en->model);
    struct engine_info *in = &en->info;
    in->path = arena_strdup(&en->arena, path);
    if (!in->path) {
        return no_memory(e);
    }
    in->name = mi->name;
    in->arch = mi->arch;
    in->format = weights_format(w);
    in->generates = mi->generates;
    in->embeds = mi->is_encoder;
    in->ranks = !mi->rank_problem;
    in->n_params = mi->n_params;
    in->n_layers = mi->n_layers;
    in->d_model = mi->d_model;
    in->n_heads = mi->n_heads;
    in->n_kv_heads = mi->n_kv_heads;
    in->d_ff = mi->d_ff;
    in->n_vocab = mi->n_vocab;
    in->n_ctx_train = mi->n_ctx_train;
    in->file_bytes = weights_file_bytes(w);
    in->n_threads = model_threads(en->model);
    in->isa = ops_isa();
    en->pooling = mi->pooling == POOL_NONE ? POOL_MEAN : mi->pooling;
    in->pooling = engine_pooling_name(en->pooling);
    return OK;
}

static enum status open_parts(struct engine *en, const char *path, const struct engine_options *opt,
                              struct err *e)
{
    struct model_options mo = {.n_threads = opt->n_threads,
                               .mode = opt->exact ? MUL_EXACT : MUL_DEFAULT,
                               .encoder_int8 = opt->embed_int8,
                               .max_batch = opt->max_batch,
                               .packed_dir = opt->packed_dir,
                               .packed_max_bytes = opt->packed_max_bytes,
                               .pin = opt->pin};
    enum status s;
    if (pthread_mutex_init(&en->lock, NULL)) {
        return no_memory(e);
    }
    en->has_lock = true;
    en->max_batch = opt->max_batch ? opt->max_batch : DEFAULT_BATCH;
    if ((s = model_open(path, &mo, &en->model, e))) {
        return s;
    }
    double begun = clock_ms();
    if ((s = fill_info(en, path, e)) || (s = open_kv(en, opt, e)) || (s = count_paths(en, e)) ||
        (s = engine_collect_specials(en, e)) || (s = engine_embed_settings(en, e))) {
        return s;
    }
    parse_template(en);
    en->rest_ms = clock_ms() - begun;
    return OK;
}

enum status engine_open(const char *path, const struct engine_options *opt, struct engine **out,
                        struct err *e)
{
    static const struct engine_options defaults;
    struct engine *en = calloc(1, sizeof *en);
    if (!en) {
        return no_memory(e);
    }
    enum status s = open_parts(en, path, opt ? opt : &defaults, e);
    if (s) {
        engine_close(en);
        return s;
    }
    *out = en;
    return OK;
}

void engine_close(struct engine *en)
{
    if (!en) {
        return;
    }
    template_free(en->template);
    kv_close(en->kv);
    model_close(en->model);
    if (en->has_lock) {
        (void)pthread_mutex_destroy(&en->lock);
    }
    arena_reset(&en->arena);
    free(en);
}

const struct engine_info *engine_info(const struct engine *en)
{
    return &en->info;
}

void engine_settle(struct engine *en)
{
    model_settle(en->model);
}

struct engine_opening engine_opening(const struct engine *en)
{
    static const char *const weights[] = {
        [PACKED_NO_COPY] = "packed", [PACKED_NEW] = "packed, to be copied", [PACKED_COPY] = "copy"};
    struct model_opening m = model_opening(en->model);
    return (struct engine_opening){.files_ms = m.files_ms,
                                   .vocab_ms = m.vocab_ms,
                                   .weights_ms = m.weights_ms,
                                   .buffers_ms = m.buffers_ms,
                                   .rest_ms = en->rest_ms,
                                   .weights = weights[m.copy],
                                   .copy_path = m.copy_path,
                                   .copy_note = m.copy_note};
}

bool engine_path_at(const struct engine *en, size_t i, const char **type, const char **path,
                    int64_t *n_mats)
{
    if (i >= en->n_paths) {
        return false;
    }
    *type = en->paths[i].type;
    *path = en->paths[i].path;
    *n_mats = en->paths[i].n_mats;
    return true;
}

bool engine_path_is_plain(const char *path)
{
    return strcmp(path, MAT_PATH_FLOAT) == 0;
}

void engine_cost(const struct engine *en, struct engine_cost *out)
{
    struct model_cost c;
    model_cost(en->model, &c);
    *out = (struct engine_cost){.token_ops = c.token_ops,
                                .head_ops = c.head_ops,
                                .layer_bytes = c.layer_bytes,
                                .head_bytes = c.head_bytes,
                                .kv_token_bytes = en->kv ? kv_token_bytes(en->kv) : 0};
}

void token_ids_fini(struct token_ids *t)
{
    free(t->data);
    *t = (struct token_ids){0};
}

bool token_ids_put(struct token_ids *t, const int32_t *ids, size_t n)
{
    struct ids all = {t->data, t->n, t->cap};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = ids_push(&all, ids[i]);
    }
    *t = (struct token_ids){all.data, all.n, all.cap};
    return ok;
}

enum status engine_tokenize(const struct engine *en, const char *text, size_t n, unsigned flags,
                            struct token_ids *out, struct err *e)
{
    struct ids ids = {out->data, out->n, out->cap};
    unsigned encode = (flags & TOKENIZE_ADD_SPECIAL ? ENCODE_ADD_SPECIAL : 0u) |
                      (flags & TOKENIZE_PARSE_SPECIAL ? ENCODE_PARSE_SPECIAL : 0u);
    enum status s = vocab_encode(model_vocab(en->model), text, n, encode, &ids, e);
    *out = (struct token_ids){ids.data, s ? out->n : ids.n, ids.cap};
    return s;
}

void engine_detokenize(const struct engine *en, const int32_t *ids, size_t n, bool special,
                       struct buf *out)
{
    vocab_decode(model_vocab(en->model), ids, n, special, out);
}

enum status engine_count_tokens(const struct engine *en, const char *text, size_t n, size_t *count,
                                struct err *e)
{
    struct token_ids ids = {0};
    enum status s = engine_tokenize(en, text, n, 0, &ids, e);
    if (!s) {
        *count = ids.n;
    }
    token_ids_fini(&ids);
    return s;
}

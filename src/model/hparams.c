/* Hyperparameters: see hparams.h. Keys are those of the GGUF specification, "<arch>.block_count"
 * and so on; directories give the same keys through weights. A key that is there and of the wrong
 * kind is an error as much as one out of range: nothing falls back to a default in silence. */
#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 128, GGUF_POOL_RANK = POOL_LAST + 1 };

struct reader {
    const struct weights *w;
    const char *arch;
    struct err *e;
};

static void make_key(const struct reader *r, const char *name, char key[KEY_BYTES])
{
    (void)snprintf(key, KEY_BYTES, "%s.%s", r->arch, name);
}

static bool is_present(const struct weights *w, const char *key)
{
    for (size_t i = 0; i < weights_meta_count(w); i++) {
        enum meta_kind kind;
        const char *k = weights_meta_key(w, i, &kind);
        if (k && strcmp(k, key) == 0) {
            return true;
        }
    }
    return false;
}

/* Absent: *out keeps its value when `optional`. */
static enum status read_int(const struct reader *r, const char *name, bool optional, int64_t min,
                            int64_t max, int64_t *out)
{
    char key[KEY_BYTES];
    make_key(r, name, key);
    int64_t v;
    if (!meta_i64(r->w, key, &v)) {
        if (!is_present(r->w, key)) {
            return optional ? OK : err_set(r->e, ERR_FORMAT, weights_path(r->w), "no key %s", key);
        }
        enum meta_kind kind;
        if (meta_array_len(r->w, key, &kind) > 0) {
            return err_set(r->e, ERR_UNSUPPORTED, weights_path(r->w),
                           "%s differs from layer to layer", key);
        }
        return err_set(r->e, ERR_FORMAT, weights_path(r->w), "%s is not an integer", key);
    }
    if (v < min || v > max) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w), "%s is %lld, expected %lld to %lld",
                       key, (long long)v, (long long)min, (long long)max);
    }
    *out = v;
    return OK;
}

static enum status read_real(const struct reader *r, const char *name, bool optional, double min,
                             double max, double *out)
{
    char key[KEY_BYTES];
    make_key(r, name, key);
    double v;
    if (!meta_f64(r->w, key, &v)) {
        int64_t i;
        if (meta_i64(r->w, key, &i)) {
            v = (double)i;
        } else if (is_present(r->w, key)) {
            return err_set(r->e, ERR_FORMAT, weights_path(r->w), "%s is not a number", key);
        } else {
            return optional ? OK : err_set(r->e, ERR_FORMAT, weights_path(r->w), "no key %s", key);
        }
    }
    if (!(v >= min && v <= max)) { /* refuses NaN too */
        return err_set(r->e, ERR_FORMAT, weights_path(r->w), "%s is %g, expected %g to %g", key, v,
                       min, max);
    }
    *out = v;
    return OK;
}

static enum status read_vocab_size(const struct reader *r, struct hparams *hp)
{
    const struct named_tensor *t = weights_find(r->w, "token_embd.weight");
    if (!t) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w), "no tensor token_embd.weight");
    }
    hp->n_vocab = t->t.ne[1];
    if (hp->n_vocab < 1 || hp->n_vocab > MAX_VOCAB) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w),
                       "token_embd.weight has %lld rows, expected 1 to %d", (long long)hp->n_vocab,
                       MAX_VOCAB);
    }
    return OK;
}

static enum status read_sizes(const struct reader *r, struct hparams *hp)
{
    enum status s;
    if ((s = read_int(r, "block_count", false, 1, MAX_LAYERS, &hp->n_layers)) ||
        (s = read_int(r, "embedding_length", false, 1, MAX_DIM, &hp->d_model)) ||
        (s = read_int(r, "feed_forward_length", false, 1, MAX_DIM, &hp->d_ff)) ||
        (s = read_int(r, "context_length", false, 1, MAX_CONTEXT, &hp->n_ctx_train)) ||
        (s = read_int(r, "attention.head_count", false, 1, MAX_HEADS, &hp->n_heads))) {
        return s;
    }
    hp->n_kv_heads = hp->n_heads;
    s = read_int(r, "attention.head_count_kv", true, 1, MAX_HEADS, &hp->n_kv_heads);
    if (s) {
        return s;
    }
    if (hp->n_heads % hp->n_kv_heads) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w),
                       "%lld attention heads cannot share %lld key heads", (long long)hp->n_heads,
                       (long long)hp->n_kv_heads);
    }
    s = read_int(r, "attention.key_length", true, 1, MAX_HEAD_DIM, &hp->head_dim);
    if (s) {
        return s;
    }
    if (!hp->head_dim) {
        hp->head_dim = hp->d_model / hp->n_heads;
        if (hp->d_model % hp->n_heads || hp->head_dim > MAX_HEAD_DIM) {
            return err_set(r->e, ERR_FORMAT, weights_path(r->w),
                           "embedding_length %lld cannot be divided among %lld heads",
                           (long long)hp->d_model, (long long)hp->n_heads);
        }
    }
    int64_t value_length = hp->head_dim;
    s = read_int(r, "attention.value_length", true, 1, MAX_HEAD_DIM, &value_length);
    if (s) {
        return s;
    }
    if (value_length != hp->head_dim) {
        return err_set(r->e, ERR_UNSUPPORTED, weights_path(r->w),
                       "keys of %lld and values of %lld numbers per head", (long long)hp->head_dim,
                       (long long)value_length);
    }
    if (hp->head_dim % 16) {
        return err_set(r->e, ERR_UNSUPPORTED, weights_path(r->w),
                       "attention heads of %lld numbers (a multiple of 16 is needed)",
                       (long long)hp->head_dim);
    }
    return read_vocab_size(r, hp);
}

static enum status read_scaling_kind(const struct reader *r, struct rope_hparams *rope)
{
    static const struct {
        const char *name;
        enum rope_scaling kind;
    } kinds[] = {{"none", ROPE_PLAIN},
                 {"default", ROPE_PLAIN},
                 {"linear", ROPE_LINEAR},
                 {"yarn", ROPE_YARN},
                 {"llama3", ROPE_LLAMA3}};
    char key[KEY_BYTES];
    make_key(r, "rope.scaling.type", key);
    struct meta_str s;
    if (!meta_string(r->w, key, &s)) {
        if (is_present(r->w, key)) {
            return err_set(r->e, ERR_FORMAT, weights_path(r->w), "%s is not a string", key);
        }
        return OK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (s.n == strlen(kinds[i].name) && memcmp(s.p, kinds[i].name, s.n) == 0) {
            rope->scaling = kinds[i].kind;
            return OK;
        }
    }
    return err_set(r->e, ERR_UNSUPPORTED, weights_path(r->w), "%s \"%.*s\"", key,
                   s.n > 64 ? 64 : (int)s.n, s.p);
}

static enum status read_rope(const struct reader *r, struct hparams *hp)
{
    struct rope_hparams *rope = &hp->rope;
    *rope = (struct rope_hparams){.freq_base = 10000,
                                  .rot_dim = hp->head_dim,
                                  .factor = 1,
                                  .low = 1,
                                  .high = 4,
                                  .beta_fast = 32,
                                  .beta_slow = 1,
                                  .attn_factor = 1,
                                  .n_ctx_orig = hp->n_ctx_train,
                                  .neox = weights_rope_neox(r->w, hp->arch)};
    enum status s;
    if ((s = read_real(r, "rope.freq_base", true, 1, 1e12, &rope->freq_base)) ||
        (s = read_int(r, "rope.dimension_count", true, 2, hp->head_dim, &rope->rot_dim)) ||
        (s = read_scaling_kind(r, rope)) ||
        (s = read_real(r, "rope.scaling.factor", true, 1e-3, 1e6, &rope->factor)) ||
        (s = read_int(r, "rope.scaling.original_context_length", true, 1, MAX_CONTEXT,
                      &rope->n_ctx_orig)) ||
        (s = read_real(r, "rope.scaling.low_freq_factor", true, 1e-3, 1e6, &rope->low)) ||
        (s = read_real(r, "rope.scaling.high_freq_factor", true, 1e-3, 1e6, &rope->high)) ||
        (s = read_real(r, "rope.scaling.yarn_beta_fast", true, 1e-3, 1e6, &rope->beta_fast)) ||
        (s = read_real(r, "rope.scaling.yarn_beta_slow", true, 1e-3, 1e6, &rope->beta_slow)) ||
        (s = read_real(r, "rope.scaling.attn_factor", true, 1e-3, 1e3, &rope->attn_factor))) {
        return s;
    }
    if (rope->rot_dim % 2) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w), "%s.rope.dimension_count %lld is odd",
                       hp->arch, (long long)rope->rot_dim);
    }
    if (rope->scaling == ROPE_LLAMA3 && !(rope->high > rope->low)) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w),
                       "rope scaling with high_freq_factor %g not above low_freq_factor %g",
                       rope->high, rope->low);
    }
    return OK;
}

/* The keys of pooling are optional everywhere: a generative model may be an embedding model too. */
static enum status read_pooling(const struct reader *r, struct hparams *hp, enum pooling rank)
{
    int64_t pooling = POOL_NONE;
    enum status s = read_int(r, "pooling_type", true, 0, GGUF_POOL_RANK, &pooling);
    if (s) {
        return s;
    }
    /* Same numbers as GGUF: none, mean, cls, last. A reranker's head reads one token. */
    hp->pooling = pooling == GGUF_POOL_RANK ? rank : (enum pooling)pooling;
    hp->normalize = true;
    char key[KEY_BYTES];
    make_key(r, "normalize_embeddings", key);
    bool normalize;
    if (meta_bool(r->w, key, &normalize)) {
        hp->normalize = normalize;
    }
    return OK;
}

enum status hparams_read_decoder(const struct weights *w, struct hparams *hp, struct err *e)
{
    struct reader r = {w, hp->arch, e};
    double eps = 0;
    enum status s;
    if ((s = read_sizes(&r, hp)) || (s = read_rope(&r, hp)) ||
        (s = read_pooling(&r, hp, POOL_LAST)) ||
        (s = read_real(&r, "attention.layer_norm_rms_epsilon", false, 0, 0.1, &eps)) ||
        (s = read_int(&r, "attention.sliding_window", true, 0, MAX_CONTEXT, &hp->window))) {
        return s;
    }
    hp->eps = (float)eps;
    return OK;
}

enum status hparams_read_encoder(const struct weights *w, struct hparams *hp, struct err *e)
{
    struct reader r = {w, hp->arch, e};
    double eps = 0;
    enum status s;
    if ((s = read_sizes(&r, hp)) || (s = read_pooling(&r, hp, POOL_CLS)) ||
        (s = read_real(&r, "attention.layer_norm_epsilon", false, 0, 0.1, &eps))) {
        return s;
    }
    hp->eps = (float)eps;
    hp->is_encoder = true;
    const struct named_tensor *types = weights_find(w, "token_types.weight");
    hp->n_token_types = types ? types->t.ne[1] : 0;
    if (hp->n_kv_heads != hp->n_heads) {
        return err_set(e, ERR_UNSUPPORTED, weights_path(w), "an encoder with shared key heads");
    }
    return OK;
}

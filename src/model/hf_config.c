/* config.json and sentence-transformers' files as GGUF's keys. Defaults are those of the model's
 * configuration class in transformers, for files leave out what equals them. What a GGUF key cannot
 * say (another activation, relative positions, quantised weights) is refused by name here, because
 * nobody after this can see it. */
#include "model/hf_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct reader {
    struct weights *w;
    const json_t *config;
    const struct hf_arch *arch;
    const char *file; /* of config.json, for messages */
    struct err *e;
};

enum { MAX_COUNT = 1 << 30 };

/* A member that is there and not null. */
static const json_t *member(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v) ? v : NULL;
}

/* A positive whole number; `absent` below 0 says that it must be there. */
static enum status get_count(const struct reader *r, const json_t *object, const char *key,
                             int64_t absent, int64_t *out)
{
    const json_t *v = member(object, key);
    if (!v && absent >= 0) {
        *out = absent;
        return OK;
    }
    if (!v) {
        return err_set(r->e, ERR_FORMAT, r->file, "'%s' is missing", key);
    }
    int64_t n = 0;
    if (!hf_int(v, &n) || n < 1 || n > MAX_COUNT) {
        return err_set(r->e, ERR_FORMAT, r->file, "'%s' is no whole number from 1 to %d", key,
                       MAX_COUNT);
    }
    *out = n;
    return OK;
}

static enum status get_real(const struct reader *r, const json_t *object, const char *key,
                            double absent, double *out)
{
    const json_t *v = member(object, key);
    if (v && (!json_is_number(v) || !isfinite(json_number_value(v)))) {
        return err_set(r->e, ERR_FORMAT, r->file, "'%s' is no number", key);
    }
    *out = v ? json_number_value(v) : absent;
    return OK;
}

/* Adds the number under config's `key` as arch.`gguf`. */
static enum status put_count(const struct reader *r, const char *key, const char *gguf,
                             int64_t absent, int64_t *out)
{
    enum status s = get_count(r, r->config, key, absent, out);
    return s ? s : hf_put_arch(r->w, r->arch, gguf, meta_of_uint((uint64_t)*out), r->e);
}

static enum status put_real(const struct reader *r, const json_t *object, const char *key,
                            const char *gguf, double absent)
{
    double v = 0;
    enum status s = get_real(r, object, key, absent, &v);
    return s ? s : hf_put_arch(r->w, r->arch, gguf, meta_of_float(v), r->e);
}

/* As put_real; nothing is added when the key is absent. */
static enum status put_real_if(const struct reader *r, const json_t *object, const char *key,
                               const char *gguf)
{
    return member(object, key) ? put_real(r, object, key, gguf, 0) : OK;
}

/* The key, if there, must be one of the words (NULL-terminated). */
static enum status require(const struct reader *r, const char *key, const char *const *words)
{
    const json_t *v = member(r->config, key);
    const char *text = json_string_value(v);
    if (!v) {
        return OK;
    }
    for (size_t i = 0; text && words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            return OK;
        }
    }
    return err_set(r->e, ERR_UNSUPPORTED, r->file, "'%s' is '%.40s', only '%s' is computed", key,
                   text ? text : "no text", words[0]);
}

static enum status put_sizes(const struct reader *r)
{
    int64_t unused;
    int64_t heads = 0;
    enum status s;
    if ((s = put_count(r, "vocab_size", "vocab_size", -1, &unused)) ||
        (s = put_count(r, "hidden_size", "embedding_length", -1, &unused)) ||
        (s = put_count(r, "num_hidden_layers", "block_count", -1, &unused)) ||
        (s = put_count(r, "intermediate_size", "feed_forward_length", -1, &unused)) ||
        (s = put_count(r, "num_attention_heads", "attention.head_count", -1, &heads))) {
        return s;
    }
    return r->arch->is_encoder
               ? OK
               : put_count(r, "num_key_value_heads", "attention.head_count_kv", heads, &unused);
}

/* Numbers per head: given, or hidden_size / heads; Qwen3's class has 128 as its default. GGUF
 * writes key_length only where it is given. */
static enum status put_head_dim(const struct reader *r)
{
    int64_t d_model = 0;
    int64_t heads = 0;
    int64_t dim = 0;
    double part = 1;
    bool is_qwen3 = strcmp(r->arch->arch, "qwen3") == 0;
    enum status s;
    if ((s = get_count(r, r->config, "hidden_size", -1, &d_model)) ||
        (s = get_count(r, r->config, "num_attention_heads", -1, &heads)) ||
        (s = get_count(r, r->config, "head_dim", is_qwen3 ? 128 : 0, &dim)) ||
        (s = get_real(r, r->config, "partial_rotary_factor", 1, &part))) {
        return s;
    }
    if (dim && ((s = hf_put_arch(r->w, r->arch, "attention.key_length", meta_of_uint((uint64_t)dim),
                                 r->e)) ||
                (s = hf_put_arch(r->w, r->arch, "attention.value_length",
                                 meta_of_uint((uint64_t)dim), r->e)))) {
        return s;
    }
    if (!dim && d_model % heads) {
        return err_set(r->e, ERR_FORMAT, r->file,
                       "'hidden_size' %lld is no multiple of 'num_attention_heads' %lld",
                       (long long)d_model, (long long)heads);
    }
    dim = dim ? dim : d_model / heads;
    if (!(part > 0 && part <= 1)) {
        return err_set(r->e, ERR_FORMAT, r->file, "'partial_rotary_factor' is %g, expected 0 to 1",
                       part);
    }
    return hf_put_arch(r->w, r->arch, "rope.dimension_count",
                       meta_of_uint((uint64_t)((double)dim * part)), r->e);
}

/* GGUF's attn_factor multiplies YaRN's own magnitude 1 + 0.1 ln(factor); attention_factor of
 * config.json replaces it. */
static enum status put_yarn(const struct reader *r, const json_t *rope, double factor)
{
    double attention = 0;
    enum status s;
    if ((s = put_real_if(r, rope, "beta_fast", "rope.scaling.yarn_beta_fast")) ||
        (s = put_real_if(r, rope, "beta_slow", "rope.scaling.yarn_beta_slow")) ||
        (s = get_real(r, rope, "attention_factor", 0, &attention))) {
        return s;
    }
    if (member(rope, "mscale") || member(rope, "mscale_all_dim")) {
        return err_set(r->e, ERR_UNSUPPORTED, r->file, "YaRN with 'mscale'");
    }
    if (!(attention > 0)) {
        return OK;
    }
    double own = factor > 1 ? 1 + 0.1 * log(factor) : 1;
    return hf_put_arch(r->w, r->arch, "rope.scaling.attn_factor", meta_of_float(attention / own),
                       r->e);
}

static enum status put_scaling(const struct reader *r, const json_t *rope)
{
    const char *type = json_string_value(member(rope, "rope_type"));
    if (!type) {
        type = json_string_value(member(rope, "type"));
    }
    if (!type || strcmp(type, "default") == 0) {
        return OK;
    }
    bool is_linear = strcmp(type, "linear") == 0;
    bool is_yarn = strcmp(type, "yarn") == 0;
    if (!is_linear && !is_yarn && strcmp(type, "llama3") != 0) {
        return err_set(r->e, ERR_UNSUPPORTED, r->file,
                       "rope scaling '%.40s': linear, yarn and llama3 are computed", type);
    }
    double factor = 0;
    int64_t original = 0;
    enum status s;
    if ((s = hf_put_arch(r->w, r->arch, "rope.scaling.type", meta_of_text(type, strlen(type)),
                         r->e)) ||
        (s = get_real(r, rope, "factor", 0, &factor))) {
        return s;
    }
    if (!(factor >= 1)) {
        return err_set(r->e, ERR_FORMAT, r->file, "rope scaling 'factor' is %g, expected 1 or more",
                       factor);
    }
    s = hf_put_arch(r->w, r->arch, "rope.scaling.factor", meta_of_float(factor), r->e);
    if (s || is_linear) {
        return s;
    }
    /* transformers takes max_position_embeddings where the original length is not given */
    if ((s = get_count(r, r->config, "max_position_embeddings", -1, &original)) ||
        (s = get_count(r, rope, "original_max_position_embeddings", original, &original)) ||
        (s = hf_put_arch(r->w, r->arch, "rope.scaling.original_context_length",
                         meta_of_uint((uint64_t)original), r->e))) {
        return s;
    }
    if (is_yarn) {
        return put_yarn(r, rope, factor);
    }
    s = put_real(r, rope, "low_freq_factor", "rope.scaling.low_freq_factor", 1);
    return s ? s : put_real(r, rope, "high_freq_factor", "rope.scaling.high_freq_factor", 4);
}

/* transformers 5 keeps rope_theta inside "rope_parameters", before it was at the top beside
 * "rope_scaling". */
static enum status put_rope(const struct reader *r)
{
    const json_t *rope = member(r->config, "rope_parameters");
    if (!rope) {
        rope = member(r->config, "rope_scaling");
    }
    if (rope && !json_is_object(rope)) {
        return err_set(r->e, ERR_FORMAT, r->file, "the rope parameters are not an object");
    }
    const json_t *holder = rope && member(rope, "rope_theta") ? rope : r->config;
    enum status s = put_real(r, holder, "rope_theta", "rope.freq_base", 10000);
    if (!s) {
        s = put_head_dim(r);
    }
    return s || !rope ? s : put_scaling(r, rope);
}

/* Qwen's configurations name a window, switch it off beside it, and give it to the layers from
 * max_window_layers on. */
static enum status put_window(const struct reader *r)
{
    int64_t layers = 0;
    int64_t unused;
    if (!member(r->config, "sliding_window")) {
        return OK;
    }
    if (strncmp(r->arch->arch, "qwen", 4) == 0) {
        const json_t *from = member(r->config, "max_window_layers");
        int64_t first = 28; /* the default of its class */
        enum status s = get_count(r, r->config, "num_hidden_layers", -1, &layers);
        bool off = !json_is_true(member(r->config, "use_sliding_window"));
        if (s || off || (from && !hf_int(from, &first)) || first >= layers) {
            return s;
        }
        if (first > 0) {
            return err_set(r->e, ERR_UNSUPPORTED, r->file,
                           "a sliding window from layer %lld on: all layers or none is computed",
                           (long long)first);
        }
    }
    return put_count(r, "sliding_window", "attention.sliding_window", -1, &unused);
}

static enum status put_decoder(const struct reader *r)
{
    static const char *const silu[] = {"silu", "swish", NULL};
    int64_t unused;
    enum status s;
    if ((s = require(r, "hidden_act", silu)) || (s = put_sizes(r)) ||
        (s = put_count(r, "max_position_embeddings", "context_length", 2048, &unused)) ||
        (s = put_real(r, r->config, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-6)) ||
        (s = put_rope(r))) {
        return s;
    }
    return put_window(r);
}

enum status hf_position_offset(const struct weights *w, const json_t *config,
                               const struct hf_arch *arch, int64_t *out, struct err *e)
{
    int64_t pad = 1;
    const json_t *v = member(config, "pad_token_id");
    if (v && arch->is_roberta && (!hf_int(v, &pad) || pad < 0 || pad >= MAX_COUNT)) {
        return err_set(e, ERR_FORMAT, weights_sibling(w, "config.json"),
                       "'pad_token_id' is no whole number from 0 to %d", MAX_COUNT - 1);
    }
    *out = arch->is_roberta ? pad + 1 : 0;
    return OK;
}

/* The longest text in tokens: sentence-transformers may set less than there are positions. */
static enum status put_encoder_length(const struct reader *r)
{
    json_t *sbert = NULL;
    int64_t positions = 0;
    int64_t longest = 0;
    int64_t unused = 0;
    enum status s = get_count(r, r->config, "max_position_embeddings", 512, &positions);
    if (!s) {
        s = hf_position_offset(r->w, r->config, r->arch, &unused, r->e);
    }
    positions -= unused;
    if (!s && positions < 1) {
        s = err_set(r->e, ERR_FORMAT, r->file, "'max_position_embeddings' is %lld, %lld are unused",
                    (long long)(positions + unused), (long long)unused);
    }
    if (!s) {
        s = hf_load_json(r->w, "sentence_bert_config.json", &sbert, r->e);
    }
    if (!s) {
        s = get_count(r, sbert, "max_seq_length", positions, &longest);
    }
    json_decref(sbert);
    if (s) {
        return s;
    }
    longest = longest < positions ? longest : positions;
    return hf_put_arch(r->w, r->arch, "context_length", meta_of_uint((uint64_t)longest), r->e);
}

/* What sentence-transformers puts behind a cross-encoder's logit. Logits are what is computed here;
 * identity and sigmoid keep their order, anything else would be another ranking. */
static enum status check_activation(const struct reader *r)
{
    const json_t *v = member(member(r->config, "sentence_transformers"), "activation_fn");
    v = v ? v : member(r->config, "sbert_ce_default_activation_function");
    const char *name = json_string_value(v);
    const char *last = name ? strrchr(name, '.') : NULL;
    last = last ? last + 1 : name;
    if (!v || (last && (strcmp(last, "Identity") == 0 || strcmp(last, "Sigmoid") == 0))) {
        return OK;
    }
    return err_set(r->e, ERR_UNSUPPORTED, r->file,
                   "the activation '%.80s' behind a reranker's logit: Identity and Sigmoid are "
                   "computed",
                   name ? name : "no text");
}

static enum status put_encoder(const struct reader *r)
{
    static const char *const gelu[] = {"gelu", NULL};
    static const char *const absolute[] = {"absolute", NULL};
    int64_t types = 0;
    enum status s;
    if ((s = require(r, "hidden_act", gelu)) ||
        (s = require(r, "position_embedding_type", absolute)) || (s = check_activation(r)) ||
        (s = put_sizes(r)) || (s = put_encoder_length(r)) ||
        (s = put_real(r, r->config, "layer_norm_eps", "attention.layer_norm_epsilon", 1e-12)) ||
        (s = hf_put_arch(r->w, r->arch, "attention.causal", meta_of_bool(false), r->e)) ||
        (s = get_count(r, r->config, "type_vocab_size", 2, &types))) {
        return s;
    }
    return hf_put(r->w, "tokenizer.ggml.token_type_count", meta_of_uint((uint64_t)types), r->e);
}

/* The modes of a pooling module: its flags of before sentence-transformers 5.3, or "pooling_mode".
 */
static const struct {
    const char *flag, *mode;
    int type; /* GGUF's pooling_type; 0: not computed */
} poolings[] = {
    {"pooling_mode_mean_tokens", "mean", 1},
    {"pooling_mode_cls_token", "cls", 2},
    {"pooling_mode_lasttoken", "lasttoken", 3},
    {"pooling_mode_max_tokens", "max", 0},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", 0},
    {"pooling_mode_weightedmean_tokens", "weightedmean", 0},
};

static enum status put_pooling(const struct reader *r, const char *name)
{
    json_t *pool = NULL;
    enum status s = hf_load_json(r->w, name, &pool, r->e);
    if (s) {
        return s;
    }
    const char *mode = json_string_value(member(pool, "pooling_mode"));
    int type = 0;
    int modes = 0;
    for (size_t i = 0; i < sizeof poolings / sizeof *poolings; i++) {
        if (json_is_true(member(pool, poolings[i].flag)) ||
            (mode && strcmp(mode, poolings[i].mode) == 0)) {
            type = poolings[i].type;
            modes++;
        }
    }
    s = modes == 1 && type
            ? hf_put_arch(r->w, r->arch, "pooling_type", meta_of_uint((uint64_t)type), r->e)
            : err_set(r->e, ERR_UNSUPPORTED, weights_path(r->w),
                      "%s: one pooling of mean, cls and lasttoken is computed", name);
    json_decref(pool);
    return s;
}

/* modules.json lists the steps of a sentence-transformers model: Transformer, Pooling, Normalize
 * are known here. */
static enum status put_module(const struct reader *r, const json_t *module, bool *normalize)
{
    const char *type = json_string_value(member(module, "type"));
    const char *path = json_string_value(member(module, "path"));
    const char *last = type ? strrchr(type, '.') : NULL;
    last = last ? last + 1 : type;
    if (!last || !path) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w),
                       "modules.json: a module without type or path");
    }
    if (strcmp(last, "Transformer") == 0) {
        return OK;
    }
    if (strcmp(last, "Normalize") == 0) {
        *normalize = true;
        return OK;
    }
    if (strcmp(last, "Pooling") != 0) {
        return err_set(r->e, ERR_UNSUPPORTED, weights_path(r->w),
                       "modules.json: a module of type '%.80s'", last);
    }
    char name[512];
    int n = snprintf(name, sizeof name, "%s/config.json", path);
    if (n < 0 || (size_t)n >= sizeof name || !weights_sibling(r->w, name)) {
        return err_set(r->e, ERR_FORMAT, weights_path(r->w),
                       "modules.json names a pooling whose config.json is missing");
    }
    return put_pooling(r, name);
}

static enum status put_modules(const struct reader *r)
{
    json_t *modules = NULL;
    enum status s = hf_load_json(r->w, "modules.json", &modules, r->e);
    if (s || !modules) {
        return s;
    }
    bool normalize = false;
    size_t i;
    json_t *module;
    json_array_foreach(modules, i, module)
    {
        s = put_module(r, module, &normalize);
        if (s) {
            break;
        }
    }
    if (!s) {
        s = hf_put_arch(r->w, r->arch, "normalize_embeddings", meta_of_bool(normalize), r->e);
    }
    json_decref(modules);
    return s;
}

static const char *last_component(const char *path, size_t *n)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    *n = end - begin;
    return path + begin;
}

enum status hf_read_config(struct weights *w, const json_t *config, const struct hf_arch *arch,
                           bool *tied, struct err *e)
{
    struct reader r = {w, config, arch, weights_sibling(w, "config.json"), e};
    size_t n;
    const char *name = last_component(w->path, &n);
    enum status s;
    if (member(config, "quantization_config")) {
        const char *method =
            json_string_value(member(member(config, "quantization_config"), "quant_method"));
        return err_set(e, ERR_UNSUPPORTED, r.file, "weights quantised with '%.40s'",
                       method ? method : "?");
    }
    if ((s = hf_put(w, "general.architecture", meta_of_text(arch->arch, strlen(arch->arch)), e)) ||
        (s = hf_put(w, "general.name", meta_of_text(name, n), e)) ||
        (s = arch->is_encoder ? put_encoder(&r) : put_decoder(&r))) {
        return s;
    }
    *tied = json_is_true(member(config, "tie_word_embeddings"));
    return put_modules(&r);
}

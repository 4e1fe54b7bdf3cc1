/* Engines for commands: --model and --embed-model opened with the options of the command line. */
#include "cli/engines.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --kv-q8, or --type-k and --type-v. */
static enum status kv_kind(struct cli *c, enum engine_kv *out, struct err *e)
{
    static const struct {
        const char *name;
        enum engine_kv kv;
    } kinds[] = {{"f16", ENGINE_KV_F16}, {"q8_0", ENGINE_KV_Q8_0}, {"f32", ENGINE_KV_F32}};
    const char *k = c->values[O_TYPE_K].s, *v = c->values[O_TYPE_V].s;
    const char *name = k ? k : v;
    *out = c->values[O_KV_Q8].flag ? ENGINE_KV_Q8_0 : ENGINE_KV_DEFAULT;
    if (!name) {
        return OK;
    }
    if (k && v && strcmp(k, v) != 0) {
        return err_set(e, ERR_UNSUPPORTED, "--type-v",
                       "keys in %s and values in %s: both are kept in one type", k, v);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            *out = kinds[i].kv;
            return OK;
        }
    }
    return err_set(e, ERR_USAGE, k ? "--type-k" : "--type-v", "'%s' is not f16, q8_0 or f32", name);
}

const char *engines_packed_dir(struct cli *c, const char *model_path)
{
    const char *where = c->values[O_PACKED_CACHE].s;
    if (strcmp(where, "off") == 0) {
        return NULL;
    }
    if (strcmp(where, "auto") != 0) {
        return where;
    }
    char *real = realpath(model_path, NULL), *slash = real ? strrchr(real, '/') : NULL;
    const char *dir = NULL;
    if (slash) {
        *(slash == real ? slash + 1 : slash) = 0;
        dir = access(real, W_OK) == 0 ? arena_strdup(&c->arena, real)
                                      : arena_printf(&c->arena, "%s/cache", c->home);
    }
    free(real);
    return dir;
}

json_t *engines_opening_json(const struct engine *en)
{
    struct engine_opening o = engine_opening(en);
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:s, s:o, s:o}", "files_ms", o.files_ms, "vocab_ms",
                     o.vocab_ms, "weights_ms", o.weights_ms, "buffers_ms", o.buffers_ms, "rest_ms",
                     o.rest_ms, "weights", o.weights, "copy",
                     o.copy_path ? out_text(o.copy_path) : json_null(), "note",
                     o.copy_note ? out_text(o.copy_note) : json_null());
}

static enum status open_engine(struct cli *c, const char *name, int64_t n_ctx, struct engine **out,
                               struct err *e)
{
    const char *path = NULL;
    enum engine_kv kv = ENGINE_KV_DEFAULT;
    enum status s = kv_kind(c, &kv, e);
    const char *precision = c->values[O_EMBED_PRECISION].s;
    if (!s && precision && strcmp(precision, "fine") != 0 && strcmp(precision, "int8") != 0) {
        s = err_set(e, ERR_USAGE, "--embed-precision", "'%s' is not fine or int8", precision);
    }
    s = s ? s : model_path(c, name, &path, e);
    struct engine_options opt = {.n_threads = (int)c->values[O_THREADS].i,
                                 .n_ctx = n_ctx,
                                 .kv = kv,
                                 .pin = c->values[O_PIN].flag,
                                 .packed_max_bytes = c->values[O_PACKED_CACHE_MAX].i << 20,
                                 .exact = c->values[O_EXACT].flag,
                                 .embed_int8 = precision && strcmp(precision, "int8") == 0};
    if (!s) {
        opt.packed_dir = engines_packed_dir(c, path);
        s = engine_open(path, &opt, out, e);
    }
    return s;
}

enum status engines_generator(struct cli *c, int64_t n_ctx, struct engine **out, struct err *e)
{
    struct engine *en = NULL;
    enum status s = open_engine(c, c->values[O_MODEL].s, n_ctx, &en, e);
    if (s) {
        return s;
    }
    if (!engine_info(en)->generates) {
        (void)err_set(e, ERR_UNSUPPORTED, engine_info(en)->path,
                      "a %s model that %s texts, it does not generate any", engine_info(en)->arch,
                      engine_info(en)->embeds ? "embeds" : "ranks");
        engine_close(en);
        return cli_hint(c, e, "name a language model with --model; `hearth models` lists them");
    }
    *out = en;
    return OK;
}

enum status engines_embedder(struct cli *c, const char *name, struct engine **out, struct err *e)
{
    return open_engine(c, name ? name : c->values[O_EMBED_MODEL].s, 0, out, e);
}

enum status engines_any(struct cli *c, int64_t n_ctx, struct engine **out, struct err *e)
{
    return open_engine(c, c->values[O_MODEL].s, n_ctx, out, e);
}

enum status engines_sampling(struct cli *c, struct sampling *out, struct err *e)
{
    const struct option_value *v = c->values;
    struct sampling s = {.temperature = (float)v[O_TEMPERATURE].f,
                         .top_k = (int32_t)v[O_TOP_K].i,
                         .top_p = (float)v[O_TOP_P].f,
                         .min_p = (float)v[O_MIN_P].f,
                         .typical_p = (float)v[O_TYPICAL_P].f,
                         .repetition_penalty = (float)v[O_REPETITION].f,
                         .presence_penalty = (float)v[O_PRESENCE].f,
                         .frequency_penalty = (float)v[O_FREQUENCY].f,
                         .penalty_window = (int32_t)v[O_PENALTY_WINDOW].i,
                         .seed = (uint64_t)v[O_SEED].i};
    size_t n = v[O_LOGIT_BIAS].n_list;
    struct logit_bias *bias = arena_array(&c->arena, n + 1, sizeof *bias);
    if (!bias) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the options");
    }
    for (size_t i = 0; i < n; i++) {
        int used = 0;
        const char *text = v[O_LOGIT_BIAS].list[i];
        if (sscanf(text, "%d=%f%n", &bias[i].id, &bias[i].bias, &used) != 2 || text[used] ||
            bias[i].bias != bias[i].bias || bias[i].id < 0) {
            return err_set(e, ERR_USAGE, "--logit-bias",
                           "'%s' is not of the form ID=BIAS (a token id and a number; -inf forbids "
                           "the token)",
                           text);
        }
    }
    s.bias = bias;
    s.n_bias = n;
    *out = s;
    return OK;
}

bool engines_write_text(void *ctx, const char *text, size_t n)
{
    (void)ctx;
    return fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
}

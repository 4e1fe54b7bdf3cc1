/* Embeddings of texts: prefixes, tokens, truncation that is reported, groups that bound memory.
 *
 * A model's prefixes come from its own config_sentence_transformers.json ("prompts"); where a file
 * cannot say, a table of families that are trained with prefixes does, by the model's name. */
#include "engine/engine_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_TOKENS = 8192, GROUP_TEXTS = 256, MAX_CONFIG_BYTES = 1 << 20 };

static const struct {
    const char *name; /* inside the model's name, lower case, words joined with '-' */
    const char *query, *document;
} prefixes[] = {
    {"bge-m3", "", ""},
    {"bge-large-zh", "为这个句子生成表示以用于检索相关文章：", ""},
    {"bge-base-zh", "为这个句子生成表示以用于检索相关文章：", ""},
    {"bge-small-zh", "为这个句子生成表示以用于检索相关文章：", ""},
    {"bge-large-en", "Represent this sentence for searching relevant passages: ", ""},
    {"bge-base-en", "Represent this sentence for searching relevant passages: ", ""},
    {"bge-small-en", "Represent this sentence for searching relevant passages: ", ""},
    {"mxbai-embed", "Represent this sentence for searching relevant passages: ", ""},
    {"e5-small", "query: ", "passage: "},
    {"e5-base", "query: ", "passage: "},
    {"e5-large", "query: ", "passage: "},
    {"nomic-embed-text", "search_query: ", "search_document: "},
    {"qwen3-embedding",
     "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
     ""},
};

static void plain_name(const char *name, char *out, size_t n)
{
    size_t i = 0;
    for (; name[i] && i + 1 < n; i++) {
        char c = (char)tolower((unsigned char)name[i]);
        out[i] = c == ' ' || c == '_' ? '-' : c;
    }
    out[i] = 0;
}

static void known_prefixes(struct engine *en)
{
    const char *names[] = {en->info.name, en->info.path};
    for (size_t k = 0; k < 2; k++) {
        char name[512];
        plain_name(names[k], name, sizeof name);
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            if (strstr(name, prefixes[i].name)) {
                en->query_prefix = prefixes[i].query;
                en->document_prefix = prefixes[i].document;
                return;
            }
        }
    }
}

/* The JSON file beside the weights; NULL when there is none. A broken one is an error. */
static enum status read_config(const struct engine *en, const char *name, json_t **out,
                               struct err *e)
{
    const char *path = weights_sibling(model_weights(en->model), name);
    *out = NULL;
    if (!path) {
        return OK;
    }
    struct buf b = {0};
    enum status s = file_read(path, MAX_CONFIG_BYTES, &b, e);
    if (!s) {
        json_error_t je;
        *out = json_loadb(b.len ? b.data : "", b.len, 0, &je);
        s = *out ? OK : err_set(e, ERR_FORMAT, path, "line %d: %s", je.line, je.text);
    }
    buf_fini(&b);
    return s;
}

static const char *config_text(struct engine *en, const json_t *object, const char *key,
                               const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    char *copy = text ? arena_strdup(&en->arena, text) : NULL;
    return copy ? copy : otherwise;
}

enum status engine_embed_settings(struct engine *en, struct err *e)
{
    json_t *config;
    en->query_prefix = en->document_prefix = "";
    en->embed_limit = en->info.n_ctx_train;
    known_prefixes(en);
    enum status s = read_config(en, "config_sentence_transformers.json", &config, e);
    if (s) {
        return s;
    }
    const json_t *prompts = json_object_get(config, "prompts");
    en->query_prefix = config_text(en, prompts, "query", en->query_prefix);
    en->document_prefix = config_text(en, prompts, "passage", en->document_prefix);
    en->document_prefix = config_text(en, prompts, "document", en->document_prefix);
    json_decref(config);

    if ((s = read_config(en, "sentence_bert_config.json", &config, e))) {
        return s;
    }
    json_int_t most = json_integer_value(json_object_get(config, "max_seq_length"));
    if (most > 2 && most < en->embed_limit) {
        en->embed_limit = most;
    }
    json_decref(config);
    return OK;
}

/* A group of texts on its way through the model. */
struct group {
    struct token_ids ids; /* of all texts, one after the other */
    const int32_t *first[GROUP_TEXTS];
    size_t at[GROUP_TEXTS];
    int64_t n_ids[GROUP_TEXTS];
    int n;
};

/* Cuts the last text of ids (from `at` on) to the limit; a closing special token stays. */
static bool truncate_ids(const struct engine *en, struct token_ids *ids, size_t at)
{
    size_t limit = (size_t)en->embed_limit;
    if (ids->n - at <= limit) {
        return false;
    }
    int32_t last = ids->data[ids->n - 1];
    ids->n = at + limit;
    if (vocab_is_special(model_vocab(en->model), last)) {
        ids->data[ids->n - 1] = last;
    }
    return true;
}

static enum status add_text(struct engine *en, struct group *g, const char *prefix,
                            const char *text, size_t n, bool *truncated, struct err *e)
{
    size_t at = g->ids.n;
    enum status s;
    if (*prefix) {
        struct buf b = {0};
        buf_puts(&b, prefix);
        buf_put(&b, text, n);
        s = b.failed ? err_set(e, ERR_MEMORY, NULL, "no memory for a text")
                     : engine_tokenize(en, b.data, b.len, TOKENIZE_ADD_SPECIAL, &g->ids, e);
        buf_fini(&b);
    } else {
        s = engine_tokenize(en, text, n, TOKENIZE_ADD_SPECIAL, &g->ids, e);
    }
    if (s) {
        return s;
    }
    *truncated = truncate_ids(en, &g->ids, at);
    g->at[g->n] = at;
    g->n_ids[g->n] = (int64_t)(g->ids.n - at);
    g->n++;
    return OK;
}

static enum status run_group(struct engine *en, struct group *g, bool normalize, float *out,
                             struct err *e)
{
    for (int i = 0; i < g->n; i++) {
        g->first[i] = g->ids.data + g->at[i];
    }
    engine_lock(en);
    enum status s =
        model_embed(en->model, g->first, g->n_ids, g->n, en->pooling, normalize, out, e);
    engine_unlock(en);
    return s;
}

enum status engine_embed(struct engine *en, const char *const *texts, const size_t *lens, size_t n,
                         const struct embed_options *opt, float *out, uint8_t *flags,
                         struct embed_report *report, struct err *e)
{
    const char *prefix = opt && opt->role == EMBED_QUERY ? en->query_prefix : en->document_prefix;
    struct embed_report r = {0};
    struct group g = {0};
    enum status s = OK;
    for (size_t i = 0; !s && i < n;) {
        size_t first = i;
        g.n = 0;
        g.ids.n = 0;
        while (!s && i < n && g.n < GROUP_TEXTS && g.ids.n < GROUP_TOKENS) {
            bool truncated = false;
            s = add_text(en, &g, prefix, texts[i], lens[i], &truncated, e);
            r.n_truncated += truncated;
            if (flags) {
                flags[i] = truncated ? 1 : 0;
            }
            i++;
        }
        r.n_tokens += (int64_t)g.ids.n;
        if (!s) {
            s = run_group(en, &g, !(opt && opt->no_normalize),
                          out + first * (size_t)en->info.d_model, e);
        }
    }
    token_ids_fini(&g.ids);
    if (!s && report) {
        *report = r;
    }
    return s;
}

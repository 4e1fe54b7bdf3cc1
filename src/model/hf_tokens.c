/* Special token ids and chat templates of a Hugging Face directory, under GGUF's keys.
 *
 * A special token is named by its text in tokenizer_config.json and by its id in config.json and
 * generation_config.json. The text wins where tokenizer_config.json also lists its id, for that is
 * what the tokenizer itself follows; end tokens of all three are kept, since generation stops at
 * any of them. Texts whose ids stand only in the tokenizer's own files are left to the vocabulary.
 */
#include "model/hf_internal.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_END_TOKENS = 64, MAX_TEMPLATE = 4 << 20 };

struct reader {
    struct weights *w;
    const json_t *config;
    json_t *generation; /* generation_config.json or NULL */
    json_t *tokenizer;  /* tokenizer_config.json or NULL */
    struct err *e;
};

static const struct {
    const char *name, *id, *gguf;
} specials[] = {
    {"bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id"},
    {"eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id"},
    {"unk_token", "unk_token_id", "tokenizer.ggml.unknown_token_id"},
    {"sep_token", "sep_token_id", "tokenizer.ggml.seperator_token_id"},
    {"pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id"},
    {"cls_token", "cls_token_id", "tokenizer.ggml.cls_token_id"},
    {"mask_token", "mask_token_id", "tokenizer.ggml.mask_token_id"},
};

static bool get_id(const json_t *v, int64_t *out)
{
    int64_t id = -1;
    if (!hf_int(v, &id) || id < 0 || id > INT32_MAX) {
        return false;
    }
    *out = id;
    return true;
}

/* "text" or {"content": "text"} */
static const char *token_text(const json_t *v)
{
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

/* The id under which tokenizer_config.json lists this text. */
static bool id_of_text(const struct reader *r, const char *text, int64_t *out)
{
    const char *key;
    json_t *entry;
    json_object_foreach(json_object_get(r->tokenizer, "added_tokens_decoder"), key, entry)
    {
        const char *content = token_text(entry);
        char *end = NULL;
        long id = strtol(key, &end, 10);
        if (content && strcmp(content, text) == 0 && end != key && !*end && id >= 0 &&
            id <= INT32_MAX) {
            *out = id;
            return true;
        }
    }
    return false;
}

struct id_list {
    int64_t ids[MAX_END_TOKENS];
    size_t n;
};

static void list_add(struct id_list *l, int64_t id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->ids[i] == id) {
            return;
        }
    }
    if (l->n < MAX_END_TOKENS) {
        l->ids[l->n++] = id;
    }
}

/* An id or an array of ids; anything else is passed over. */
static void list_add_json(struct id_list *l, const json_t *v)
{
    int64_t id = 0;
    if (get_id(v, &id)) {
        list_add(l, id);
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (get_id(json_array_get(v, i), &id)) {
            list_add(l, id);
        }
    }
}

static enum status put_end_tokens(const struct reader *r, const struct id_list *l)
{
    uint8_t *raw = arena_array(&r->w->arena, l->n, 4);
    if (!raw) {
        return err_set(r->e, ERR_MEMORY, r->w->path, "no memory for metadata");
    }
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < 4; k++) {
            raw[4 * i + k] = (uint8_t)(l->ids[i] >> 8 * k & 255);
        }
    }
    struct meta m = {.kind = META_ARRAY, .v.a = {.type = WIRE_I32, .n = l->n, .raw = raw}};
    return hf_put(r->w, "tokenizer.ggml.eos_token_ids", m, r->e);
}

static enum status put_special(const struct reader *r, size_t i)
{
    struct id_list l = {.n = 0};
    int64_t id = 0;
    const char *text = token_text(json_object_get(r->tokenizer, specials[i].name));
    if (text && id_of_text(r, text, &id)) {
        list_add(&l, id);
    }
    list_add_json(&l, json_object_get(r->generation, specials[i].id));
    list_add_json(&l, json_object_get(r->config, specials[i].id));
    if (l.n == 0) {
        return OK;
    }
    enum status s = hf_put(r->w, specials[i].gguf, meta_of_uint((uint64_t)l.ids[0]), r->e);
    bool is_end = strcmp(specials[i].name, "eos_token") == 0;
    return s || !is_end || l.n == 1 ? s : put_end_tokens(r, &l);
}

static enum status put_flags(const struct reader *r)
{
    static const struct {
        const char *name, *gguf;
    } flags[] = {
        {"add_bos_token", "tokenizer.ggml.add_bos_token"},
        {"add_eos_token", "tokenizer.ggml.add_eos_token"},
    };
    enum status s = OK;
    for (size_t i = 0; i < sizeof flags / sizeof *flags && !s; i++) {
        const json_t *v = json_object_get(r->tokenizer, flags[i].name);
        if (json_is_boolean(v)) {
            s = hf_put(r->w, flags[i].gguf, meta_of_bool(json_is_true(v)), r->e);
        }
    }
    return s;
}

/* "default" is the template; others are kept under their names. */
static enum status put_template(const struct reader *r, const char *name, const char *text,
                                size_t n)
{
    if (!name || strcmp(name, "default") == 0) {
        return hf_put(r->w, "tokenizer.chat_template", meta_of_text(text, n), r->e);
    }
    const char *key = arena_printf(&r->w->arena, "tokenizer.chat_template.%s", name);
    return key ? hf_put(r->w, key, meta_of_text(text, n), r->e)
               : err_set(r->e, ERR_MEMORY, r->w->path, "no memory for metadata");
}

static enum status put_template_file(const struct reader *r, const char *name, const char *path)
{
    struct buf b = {0};
    enum status s = file_read(path, MAX_TEMPLATE, &b, r->e);
    if (!s) {
        s = put_template(r, name, b.data, b.len);
    }
    buf_fini(&b);
    return s;
}

/* A string, or an array of {"name", "template"}. */
static enum status put_template_json(const struct reader *r, const json_t *v)
{
    if (json_is_string(v)) {
        return put_template(r, NULL, json_string_value(v), json_string_length(v));
    }
    enum status s = OK;
    for (size_t i = 0; i < json_array_size(v) && !s; i++) {
        const json_t *name = json_object_get(json_array_get(v, i), "name");
        const json_t *text = json_object_get(json_array_get(v, i), "template");
        if (json_is_string(name) && json_is_string(text)) {
            s = put_template(r, json_string_value(name), json_string_value(text),
                             json_string_length(text));
        }
    }
    return s;
}

/* Files beside tokenizer_config.json come first: newer transformers writes them instead. */
static enum status put_templates(const struct reader *r)
{
    json_t *file = NULL;
    enum status s = OK;
    const char *path = weights_sibling(r->w, "chat_template.jinja");
    if (path) {
        s = put_template_file(r, NULL, path);
    }
    if (!s) {
        s = hf_load_json(r->w, "chat_template.json", &file, r->e);
    }
    if (!s) {
        s = put_template_json(r, json_object_get(file, "chat_template"));
    }
    json_decref(file);
    return s ? s : put_template_json(r, json_object_get(r->tokenizer, "chat_template"));
}

enum status hf_read_tokens(struct weights *w, const json_t *config, struct err *e)
{
    struct reader r = {.w = w, .config = config, .e = e};
    enum status s = hf_load_json(w, "generation_config.json", &r.generation, e);
    if (!s) {
        s = hf_load_json(w, "tokenizer_config.json", &r.tokenizer, e);
    }
    for (size_t i = 0; i < sizeof specials / sizeof *specials && !s; i++) {
        s = put_special(&r, i);
    }
    if (!s) {
        s = put_flags(&r);
    }
    if (!s) {
        s = put_templates(&r);
    }
    json_decref(r.generation);
    json_decref(r.tokenizer);
    return s;
}

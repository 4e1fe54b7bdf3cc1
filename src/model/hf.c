/* Hugging Face directories: see hf.h. Opening lists the folder once, so that looking for a sibling
 * file later neither allocates nor touches the disk; then come config.json, the tokens and the
 * tensors of one file or of all that model.safetensors.index.json names. */
#include "model/hf.h"

#include "model/hf_internal.h"
#include "model/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 4096, MAX_JSON = 16 << 20, MAX_FILE_NAME = 255 };

static enum status no_memory(const struct weights *w, struct err *e)
{
    return err_set(e, ERR_MEMORY, w->path, "no memory to open a model");
}

static enum status add_sibling(struct weights *w, const char *name, const char *path, struct err *e)
{
    if (w->n_siblings == MAX_FILES) {
        return err_set(e, ERR_LIMIT, w->path, "more than %d files", MAX_FILES);
    }
    w->siblings[w->n_siblings++] = (struct sibling){name, path};
    return OK;
}

/* Lists the files of w->path/sub, and of its folders where `sub` is "". Symbolic links are
 * followed: the hub's cache is made of them. */
static enum status list(struct weights *w, const char *sub, struct err *e)
{
    const char *dir = *sub ? arena_printf(&w->arena, "%s/%s", w->path, sub) : w->path;
    DIR *d = dir ? opendir(dir) : NULL;
    enum status s = OK;
    if (!dir) {
        return no_memory(w, e);
    }
    if (!d) { /* a folder inside that may not be read holds nothing that is needed */
        return *sub ? OK : err_errno(e, errno, dir, "cannot list the directory");
    }
    const struct dirent *entry;
    while (!s && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char *path = arena_printf(&w->arena, "%s/%s", dir, entry->d_name);
        char *name = arena_printf(&w->arena, "%s%s%s", sub, *sub ? "/" : "", entry->d_name);
        if (!path || !name) {
            s = no_memory(w, e);
        } else if (!file_is_dir(path)) {
            s = add_sibling(w, name, path, e);
        } else if (!*sub) {
            s = list(w, name, e);
        }
    }
    closedir(d);
    return s;
}

enum status hf_load_json(const struct weights *w, const char *name, json_t **out, struct err *e)
{
    const char *path = weights_sibling(w, name);
    *out = NULL;
    if (!path) {
        return OK;
    }
    struct buf b = {0};
    json_error_t error;
    enum status s = file_read(path, MAX_JSON, &b, e);
    if (!s) {
        *out = json_loadb(b.data ? b.data : "", b.len, 0, &error);
        if (!*out && json_error_code(&error) == json_error_numeric_overflow) {
            /* tokenizer_config.json writes "no limit" as 10^30 */
            *out = json_loadb(b.data, b.len, JSON_DECODE_INT_AS_REAL, &error);
        }
        if (!*out) {
            s = err_set(e, ERR_FORMAT, path, "no JSON at line %d, column %d", error.line,
                        error.column);
        }
    }
    buf_fini(&b);
    return s;
}

bool hf_int(const json_t *v, int64_t *out)
{
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    double d = json_real_value(v);
    if (!json_is_real(v) || !(d > -0x1p53 && d < 0x1p53) || d != (double)(int64_t)d) {
        return false;
    }
    *out = (int64_t)d;
    return true;
}

enum status hf_put(struct weights *w, const char *key, struct meta m, struct err *e)
{
    bool taken;
    m.key = arena_strdup(&w->arena, key);
    if (m.kind == META_STRING) {
        m.v.s.p = arena_strndup(&w->arena, m.v.s.p, m.v.s.n);
    }
    if (!m.key || (m.kind == META_STRING && !m.v.s.p) || meta_table_add(&w->meta, &m, &taken)) {
        return no_memory(w, e);
    }
    return OK;
}

enum status hf_put_arch(struct weights *w, const struct hf_arch *arch, const char *key,
                        struct meta m, struct err *e)
{
    const char *full = arena_printf(&w->arena, "%s.%s", arch->arch, key);
    return full ? hf_put(w, full, m, e) : no_memory(w, e);
}

struct loader {
    struct weights *w;
    const struct hf_arch *arch;
    const json_t *weight_map; /* name -> file; NULL: one file holds all */
    bool tied, head;          /* head: a classifier over the pooler is a part of the model */
    int64_t position_offset;  /* rows of position_embd that no text uses */
    struct err *e;
};

/* Files of before safetensors 0.3 do not align their header: such data move to memory of ours. */
static enum status align(const struct loader *l, struct safetensor *t, size_t item)
{
    if ((uintptr_t)t->data % item == 0) {
        return OK;
    }
    uint8_t *copy = arena_alloc(&l->w->arena, t->bytes);
    if (!copy) {
        return no_memory(l->w, l->e);
    }
    memcpy(copy, t->data, t->bytes);
    t->data = copy;
    return OK;
}

/* Takes rows off the front of a table of positions. */
static enum status cut_positions(const struct loader *l, struct named_tensor *n)
{
    size_t row = tensor_row_bytes(&n->t);
    if (n->t.n_dims != 2 || n->t.ne[1] <= l->position_offset) {
        return err_set(l->e, ERR_FORMAT, n->file,
                       "tensor '%s' has %lld rows, the first %lld unused", n->name,
                       (long long)n->t.ne[1], (long long)l->position_offset);
    }
    n->t.data = (const uint8_t *)n->t.data + (size_t)l->position_offset * row;
    n->offset += (size_t)l->position_offset * row;
    n->t.ne[1] -= l->position_offset;
    return OK;
}

static enum status add_tensor(const struct loader *l, const char *path, struct safetensor *t)
{
    bool failed = false;
    bool taken = false;
    struct named_tensor n = {.file = path, .offset = t->offset};
    n.name = hf_tensor_name(&l->w->arena, l->arch, t->name, &failed);
    if (failed) {
        return no_memory(l->w, l->e);
    }
    if (!n.name || (l->tied && strcmp(n.name, "output.weight") == 0) ||
        (!l->head && strncmp(n.name, "cls.", 4) == 0)) {
        return OK;
    }
    if (!safetensors_type(t->dtype, &n.t.type)) {
        return err_set(l->e, ERR_UNSUPPORTED, path,
                       "tensor '%s' has dtype %s: F32, F16 and BF16 are read", t->name, t->dtype);
    }
    if (t->n_dims > 2 || t->bytes == 0) {
        return err_set(l->e, ERR_FORMAT, path, "tensor '%s' has %d dimensions and %zu bytes",
                       t->name, t->n_dims, t->bytes);
    }
    enum status s = align(l, t, type_info(n.t.type)->block_bytes);
    if (s) {
        return s;
    }
    n.t.data = t->data;
    n.t.n_dims = t->n_dims;
    memcpy(n.t.ne, t->ne, sizeof n.t.ne);
    if (l->position_offset && strcmp(n.name, "position_embd.weight") == 0 &&
        (s = cut_positions(l, &n))) {
        return s;
    }
    if (tensor_table_add(&l->w->tensors, &n, &taken)) {
        return no_memory(l->w, l->e);
    }
    return taken ? err_set(l->e, ERR_FORMAT, path, "tensor '%s' ('%s') is there twice", n.name,
                           t->name)
                 : OK;
}

/* Counts in *n_mapped the tensors that the index puts into this file. */
static enum status load_file(const struct loader *l, const char *name, size_t *n_mapped)
{
    const char *path = weights_sibling(l->w, name);
    if (!path) {
        return err_set(l->e, ERR_NOT_FOUND, l->w->path, "no file '%.200s'", name);
    }
    struct file_map map;
    struct safetensors st = {0};
    enum status s = weights_map(l->w, path, &map, l->e);
    if (!s) {
        s = safetensors_parse(map.data, map.size, path, &l->w->arena, &st, l->e);
    }
    for (size_t i = 0; i < st.n && !s; i++) {
        if (l->weight_map) {
            const char *home = json_string_value(json_object_get(l->weight_map, st.items[i].name));
            if (!home || strcmp(home, name) != 0) {
                continue;
            }
            ++*n_mapped;
        }
        s = add_tensor(l, path, &st.items[i]);
    }
    return s;
}

/* A name in the index that is no plain file of the folder. */
static bool is_file_name(const char *s)
{
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= MAX_FILE_NAME && s[0] != '.' && !strchr(s, '/');
}

/* Loads each file that the index names once, in the order of first mention. */
static enum status load_shards(struct loader *l, const char *index)
{
    const char *tensor;
    json_t *file;
    json_t *seen = json_object();
    size_t n_mapped = 0;
    enum status s = seen ? OK : no_memory(l->w, l->e);
    json_object_foreach((json_t *)(uintptr_t)l->weight_map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!is_file_name(name)) {
            s = err_set(l->e, ERR_FORMAT, index, "the file of a tensor is no plain file name");
        } else if (!json_object_get(seen, name)) {
            s = json_object_set_new(seen, name, json_true()) ? no_memory(l->w, l->e)
                                                             : load_file(l, name, &n_mapped);
        }
        if (s) {
            break;
        }
    }
    json_decref(seen);
    if (!s && n_mapped != json_object_size(l->weight_map)) {
        s = err_set(l->e, ERR_MISMATCH, index, "%zu tensors are mapped, %zu are in their files",
                    json_object_size(l->weight_map), n_mapped);
    }
    return s;
}

static enum status load_tensors(struct loader *l)
{
    static const char index_name[] = "model.safetensors.index.json";
    json_t *index = NULL;
    size_t unused = 0;
    enum status s = OK;
    if (weights_sibling(l->w, "model.safetensors")) {
        return load_file(l, "model.safetensors", &unused);
    }
    s = hf_load_json(l->w, index_name, &index, l->e);
    if (!s && index) {
        l->weight_map = json_object_get(index, "weight_map");
        const char *path = weights_sibling(l->w, index_name);
        s = json_is_object(l->weight_map)
                ? load_shards(l, path)
                : err_set(l->e, ERR_FORMAT, path, "'weight_map' is missing or no object");
        json_decref(index);
    } else if (!s && weights_sibling(l->w, "pytorch_model.bin")) {
        s = err_set(l->e, ERR_UNSUPPORTED, l->w->path,
                    "pytorch_model.bin without safetensors: save the model as safetensors");
    } else if (!s) {
        s = err_set(l->e, ERR_NOT_FOUND, l->w->path, "no model.safetensors");
    }
    return s;
}

static enum status find_arch(const struct weights *w, const json_t *config,
                             const struct hf_arch **out, struct err *e)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const char *path = weights_sibling(w, "config.json");
    if (!type) {
        return err_set(e, ERR_FORMAT, path, "'model_type' is missing");
    }
    *out = hf_arch_find(type);
    return *out ? OK : err_set(e, ERR_UNSUPPORTED, path, "model_type '%.80s'", type);
}

/* Directories of early sentence-transformers keep the model in a subfolder that the first module
 * names ("0_Transformer"). */
static enum status find_base(struct weights *w, struct err *e)
{
    json_t *modules = NULL;
    if (weights_sibling(w, "config.json")) {
        return OK;
    }
    enum status s = hf_load_json(w, "modules.json", &modules, e);
    const char *path = json_string_value(json_object_get(json_array_get(modules, 0), "path"));
    if (!s && path && *path) {
        w->base = arena_strdup(&w->arena, path);
        s = w->base ? OK : no_memory(w, e);
    }
    json_decref(modules);
    return s;
}

/* Embedding models may carry a pooler that nothing reads: only a classifier's counts. */
static bool is_classifier(const json_t *config)
{
    const json_t *archs = json_object_get(config, "architectures");
    const char *name = json_string_value(json_array_get(archs, 0));
    return name && strstr(name, "ForSequenceClassification");
}

enum status hf_open(struct weights *w, struct err *e)
{
    struct loader l = {.w = w, .e = e};
    json_t *config = NULL;
    w->is_directory = true;
    w->format = "safetensors";
    w->siblings = arena_array(&w->arena, MAX_FILES, sizeof *w->siblings);
    enum status s = w->siblings ? list(w, "", e) : no_memory(w, e);
    if (!s) {
        s = find_base(w, e);
    }
    if (!s) {
        s = hf_load_json(w, "config.json", &config, e);
    }
    if (!s && !config) {
        s = err_set(e, ERR_NOT_FOUND, w->path,
                    "no config.json: a .gguf file or a model's directory is expected");
    }
    if (!s) {
        s = find_arch(w, config, &l.arch, e);
    }
    if (!s) {
        s = hf_read_config(w, config, l.arch, &l.tied, e);
    }
    if (!s) {
        s = hf_read_tokens(w, config, e);
    }
    if (!s && l.arch->fairseq_ids) {
        s = hf_put(w, "tokenizer.fairseq_ids", meta_of_bool(true), e);
    }
    if (!s) {
        s = hf_position_offset(w, config, l.arch, &l.position_offset, e);
    }
    l.head = is_classifier(config);
    if (!s) {
        s = load_tensors(&l);
    }
    json_decref(config);
    return s;
}

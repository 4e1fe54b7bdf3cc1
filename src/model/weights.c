/* Weights: the tables behind weights.h, whatever filled them. Arrays of numbers stay in the mapping
 * in file form and are decoded per item: a vocabulary's token types and scores are read once, so
 * copies would cost more than they save. */
#include "model/weights_internal.h"

#include "model/gguf.h"
#include "model/hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Doubles a heap array of `item` bytes per entry when it is full. */
static bool grow(void **items, size_t n, size_t *cap, size_t item)
{
    if (n < *cap) {
        return true;
    }
    size_t want = *cap ? *cap * 2 : 32;
    size_t bytes;
    if (!size_mul(want, item, &bytes)) {
        return false;
    }
    void *p = realloc(*items, bytes);
    if (!p) {
        return false;
    }
    *items = p;
    *cap = want;
    return true;
}

/* Makes room for one more of n items and gives it the name, unless that is taken. */
static enum status claim(void **items, size_t n, size_t *cap, size_t item, struct map *names,
                         const char *name, bool *taken)
{
    uint32_t i;
    size_t len = strlen(name);
    *taken = map_get(names, name, len, &i);
    if (*taken) {
        return OK;
    }
    return grow(items, n, cap, item) ? map_put(names, name, len, (uint32_t)n) : ERR_MEMORY;
}

enum status meta_table_add(struct meta_table *t, const struct meta *m, bool *taken)
{
    void *items = t->items;
    enum status s = claim(&items, t->n, &t->cap, sizeof *m, &t->by_key, m->key, taken);
    t->items = items;
    if (!s && !*taken) {
        t->items[t->n++] = *m;
    }
    return s;
}

enum status tensor_table_add(struct tensor_table *t, const struct named_tensor *n, bool *taken)
{
    void *items = t->items;
    enum status s = claim(&items, t->n, &t->cap, sizeof *n, &t->by_name, n->name, taken);
    t->items = items;
    if (!s && !*taken) {
        t->items[t->n++] = *n;
    }
    return s;
}

const struct meta *meta_table_find(const struct meta_table *t, const char *key)
{
    uint32_t i;
    return map_get(&t->by_key, key, strlen(key), &i) ? &t->items[i] : NULL;
}

void meta_table_fini(struct meta_table *t)
{
    free(t->items);
    map_fini(&t->by_key);
    *t = (struct meta_table){0};
}

void tensor_table_fini(struct tensor_table *t)
{
    free(t->items);
    map_fini(&t->by_name);
    *t = (struct tensor_table){0};
}

static const struct {
    enum meta_kind kind;
    uint8_t bytes;
} wires[WIRE_COUNT] = {
    [WIRE_U8] = {META_UINT, 1},     [WIRE_I8] = {META_INT, 1},    [WIRE_U16] = {META_UINT, 2},
    [WIRE_I16] = {META_INT, 2},     [WIRE_U32] = {META_UINT, 4},  [WIRE_I32] = {META_INT, 4},
    [WIRE_F32] = {META_FLOAT, 4},   [WIRE_BOOL] = {META_BOOL, 1}, [WIRE_STRING] = {META_STRING, 0},
    [WIRE_ARRAY] = {META_ARRAY, 0}, [WIRE_U64] = {META_UINT, 8},  [WIRE_I64] = {META_INT, 8},
    [WIRE_F64] = {META_FLOAT, 8},
};

enum meta_kind wire_kind(enum wire_type type)
{
    return wires[type].kind;
}

size_t wire_bytes(enum wire_type type)
{
    return wires[type].bytes;
}

static double bits_f32(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static double bits_f64(uint64_t bits)
{
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

void wire_read(enum wire_type type, const uint8_t *p, struct meta *out)
{
    out->kind = wire_kind(type);
    switch (type) {
    case WIRE_U8:
        out->v.u = *p;
        break;
    case WIRE_I8:
        out->v.i = (int8_t)*p;
        break;
    case WIRE_U16:
        out->v.u = le16(p);
        break;
    case WIRE_I16:
        out->v.i = (int16_t)le16(p);
        break;
    case WIRE_U32:
        out->v.u = le32(p);
        break;
    case WIRE_I32:
        out->v.i = (int32_t)le32(p);
        break;
    case WIRE_F32:
        out->v.f = bits_f32(le32(p));
        break;
    case WIRE_BOOL:
        out->v.b = *p != 0;
        break;
    case WIRE_U64:
        out->v.u = le64(p);
        break;
    case WIRE_I64:
        out->v.i = (int64_t)le64(p);
        break;
    case WIRE_F64:
        out->v.f = bits_f64(le64(p));
        break;
    case WIRE_STRING:
    case WIRE_ARRAY:
    case WIRE_COUNT:
        out->kind = META_NONE;
        break;
    }
}

enum status weights_map(struct weights *w, const char *path, struct file_map *out, struct err *e)
{
    void *maps = w->maps;
    if (!grow(&maps, w->n_maps, &w->cap_maps, sizeof *w->maps)) {
        return err_set(e, ERR_MEMORY, path, "no memory for a mapping");
    }
    w->maps = maps;
    enum status s = file_map_open(path, &w->maps[w->n_maps], e);
    if (!s) {
        *out = w->maps[w->n_maps++];
        w->file_bytes += out->size;
    }
    return s;
}

static int by_place(const void *a, const void *b)
{
    const struct named_tensor *x = *(const struct named_tensor *const *)a;
    const struct named_tensor *y = *(const struct named_tensor *const *)b;
    uintptr_t p = (uintptr_t)x->t.data;
    uintptr_t q = (uintptr_t)y->t.data;
    return p < q ? -1 : p > q;
}

void weights_release(const struct weights *w, const struct tensor *t)
{
    const uint8_t *p = t ? t->data : NULL;
    size_t n = t ? tensor_bytes(t) : 0;
    for (size_t i = 0; i < w->n_maps; i++) { /* what is no mapping would not come back */
        const struct file_map *f = &w->maps[i];
        if (!t) {
            mem_release_mapped(f->data, f->size);
        } else if (p >= f->data && n <= f->size && (size_t)(p - f->data) <= f->size - n) {
            mem_release_mapped(p, n);
        }
    }
}

enum status weights_check_overlap(const struct tensor_table *t, size_t first, struct err *e)
{
    size_t n = t->n - first;
    if (n < 2) {
        return OK;
    }
    const struct named_tensor **order = malloc(n * sizeof *order);
    if (!order) {
        return err_set(e, ERR_MEMORY, t->items[first].file, "no memory to order %zu tensors", n);
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = &t->items[first + i];
    }
    qsort(order, n, sizeof *order, by_place);
    enum status s = OK;
    for (size_t i = 1; i < n && !s; i++) {
        const struct named_tensor *a = order[i - 1];
        const struct named_tensor *b = order[i];
        uintptr_t end = (uintptr_t)a->t.data + tensor_bytes(&a->t);
        if (end > (uintptr_t)b->t.data) {
            char place[512];
            (void)snprintf(place, sizeof place, "%s:%llu", b->file, (unsigned long long)b->offset);
            s = err_set(e, ERR_FORMAT, place, "tensor '%s' begins inside tensor '%s'", b->name,
                        a->name);
        }
    }
    free(order);
    return s;
}

enum status weights_open(const char *path, struct weights **out, struct err *e)
{
    struct weights *w = calloc(1, sizeof *w);
    if (!w) {
        return err_set(e, ERR_MEMORY, path, "no memory to open a model");
    }
    enum status s = OK;
    w->path = arena_strdup(&w->arena, path);
    if (!w->path) {
        s = err_set(e, ERR_MEMORY, path, "no memory to open a model");
    } else if (file_is_dir(path)) {
        s = hf_open(w, e);
    } else {
        s = gguf_open(w, w->path, e);
    }
    if (s) {
        weights_close(w);
    } else {
        *out = w;
    }
    return s;
}

void weights_close(struct weights *w)
{
    if (!w) {
        return;
    }
    tensor_table_fini(&w->tensors);
    meta_table_fini(&w->meta);
    for (size_t i = 0; i < w->n_maps; i++) {
        file_map_close(&w->maps[i]);
    }
    free(w->maps);
    arena_reset(&w->arena);
    free(w);
}

const char *weights_path(const struct weights *w)
{
    return w->path;
}

const char *weights_format(const struct weights *w)
{
    return w->format;
}

size_t weights_file_bytes(const struct weights *w)
{
    return w->file_bytes;
}

bool weights_rope_neox(const struct weights *w, const char *arch)
{
    /* The converter to GGUF permutes the rows of q and k for this architecture alone. */
    return w->is_directory || strcmp(arch, "llama") != 0;
}

size_t weights_count(const struct weights *w)
{
    return w->tensors.n;
}

const struct named_tensor *weights_at(const struct weights *w, size_t i)
{
    return i < w->tensors.n ? &w->tensors.items[i] : NULL;
}

const struct named_tensor *weights_find(const struct weights *w, const char *name)
{
    uint32_t i;
    return map_get(&w->tensors.by_name, name, strlen(name), &i) ? &w->tensors.items[i] : NULL;
}

size_t weights_meta_count(const struct weights *w)
{
    return w->meta.n;
}

const char *weights_meta_key(const struct weights *w, size_t i, enum meta_kind *kind)
{
    if (i >= w->meta.n) {
        return NULL;
    }
    if (kind) {
        *kind = w->meta.items[i].kind;
    }
    return w->meta.items[i].key;
}

static bool as_i64(const struct meta *m, int64_t *out)
{
    if (m->kind == META_INT) {
        *out = m->v.i;
        return true;
    }
    if (m->kind == META_UINT && m->v.u <= INT64_MAX) {
        *out = (int64_t)m->v.u;
        return true;
    }
    return false;
}

bool meta_i64(const struct weights *w, const char *key, int64_t *out)
{
    const struct meta *m = meta_table_find(&w->meta, key);
    return m && as_i64(m, out);
}

bool meta_f64(const struct weights *w, const char *key, double *out)
{
    const struct meta *m = meta_table_find(&w->meta, key);
    if (!m || m->kind != META_FLOAT) {
        return false;
    }
    *out = m->v.f;
    return true;
}

bool meta_bool(const struct weights *w, const char *key, bool *out)
{
    const struct meta *m = meta_table_find(&w->meta, key);
    if (!m || m->kind != META_BOOL) {
        return false;
    }
    *out = m->v.b;
    return true;
}

bool meta_string(const struct weights *w, const char *key, struct meta_str *out)
{
    const struct meta *m = meta_table_find(&w->meta, key);
    if (!m || m->kind != META_STRING) {
        return false;
    }
    *out = m->v.s;
    return true;
}

const struct meta_array *meta_array_find(const struct weights *w, const char *key)
{
    const struct meta *m = meta_table_find(&w->meta, key);
    return m && m->kind == META_ARRAY ? &m->v.a : NULL;
}

size_t meta_array_len(const struct weights *w, const char *key, enum meta_kind *item_kind)
{
    const struct meta_array *a = meta_array_find(w, key);
    if (item_kind) {
        *item_kind = a ? wire_kind(a->type) : META_NONE;
    }
    return a ? a->n : 0;
}

bool meta_item_string(const struct meta_array *a, size_t i, struct meta_str *out)
{
    if (!a || !a->strings || i >= a->n) {
        return false;
    }
    *out = a->strings[i];
    return true;
}

static bool item(const struct meta_array *a, size_t i, struct meta *out)
{
    size_t bytes = a ? wire_bytes(a->type) : 0;
    if (!bytes || i >= a->n) {
        return false;
    }
    wire_read(a->type, a->raw + i * bytes, out);
    return true;
}

bool meta_item_i64(const struct meta_array *a, size_t i, int64_t *out)
{
    struct meta m;
    return item(a, i, &m) && as_i64(&m, out);
}

bool meta_item_f64(const struct meta_array *a, size_t i, double *out)
{
    struct meta m;
    if (!item(a, i, &m) || m.kind != META_FLOAT) {
        return false;
    }
    *out = m.v.f;
    return true;
}

bool meta_array_string(const struct weights *w, const char *key, size_t i, struct meta_str *out)
{
    return meta_item_string(meta_array_find(w, key), i, out);
}

bool meta_array_i64(const struct weights *w, const char *key, size_t i, int64_t *out)
{
    return meta_item_i64(meta_array_find(w, key), i, out);
}

bool meta_array_f64(const struct weights *w, const char *key, size_t i, double *out)
{
    return meta_item_f64(meta_array_find(w, key), i, out);
}

const char *weights_sibling(const struct weights *w, const char *name)
{
    const char *in_base = NULL;
    size_t n = w->base ? strlen(w->base) : 0;
    for (size_t i = 0; i < w->n_siblings; i++) {
        const char *s = w->siblings[i].name;
        if (strcmp(s, name) == 0) {
            return w->siblings[i].path;
        }
        if (n && strncmp(s, w->base, n) == 0 && s[n] == '/' && strcmp(s + n + 1, name) == 0) {
            in_base = w->siblings[i].path;
        }
    }
    return in_base;
}

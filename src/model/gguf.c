/* GGUF: see gguf.h for the layout. A cursor walks the mapping; every length is compared with the
 * bytes that are left before it is used, and nothing is allocated for more items than those bytes
 * could hold. Errors carry file:offset and what was expected there.
 *
 * Arrays of strings are the one thing that is indexed (16 bytes per string that takes at least 8 in
 * the file); everything else stays in the mapping. */
#include "model/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_KEY = 65535,    /* of the specification */
    MAX_NAME = 64,      /* of the specification */
    MAX_META = 1 << 16, /* files of today: under 100 */
    MAX_TENSORS = 1 << 20,
    MAX_NESTING = 4, /* arrays in arrays */
    MAX_ALIGNMENT = 1 << 20,
    MAX_PARTS = 99999,        /* five digits in the name */
    MIN_META = 8 + 1 + 4 + 1, /* bytes of the shortest pair: key length, key, type, value */
    MIN_TENSOR = 8 + 1 + 4 + 4 + 8,
};

struct cursor {
    const uint8_t *data;
    size_t size, pos;
    const char *file;
    struct arena *arena;
    struct err *e;
};

static enum status fail(const struct cursor *c, enum status code, size_t at, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

static enum status fail(const struct cursor *c, enum status code, size_t at, const char *fmt, ...)
{
    char place[512];
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(place, sizeof place, "%s:%zu", c->file, at);
    return err_set(c->e, code, place, "%s", text);
}

static enum status no_memory(const struct cursor *c)
{
    return fail(c, ERR_MEMORY, c->pos, "no memory for the tables of the file");
}

static size_t left(const struct cursor *c)
{
    return c->size - c->pos;
}

static enum status need(const struct cursor *c, uint64_t n, const char *what)
{
    if (n <= left(c)) {
        return OK;
    }
    return fail(c, ERR_FORMAT, c->pos, "%s takes %llu bytes, the file ends after %zu", what,
                (unsigned long long)n, left(c));
}

static enum status read_u32(struct cursor *c, const char *what, uint32_t *out)
{
    enum status s = need(c, 4, what);
    if (!s) {
        *out = le32(c->data + c->pos);
        c->pos += 4;
    }
    return s;
}

static enum status read_u64(struct cursor *c, const char *what, uint64_t *out)
{
    enum status s = need(c, 8, what);
    if (!s) {
        *out = le64(c->data + c->pos);
        c->pos += 8;
    }
    return s;
}

static enum status read_string(struct cursor *c, const char *what, struct meta_str *out)
{
    uint64_t n = 0;
    enum status s = read_u64(c, what, &n);
    if (!s) {
        s = need(c, n, what);
    }
    if (!s) {
        *out = (struct meta_str){(const char *)c->data + c->pos, (size_t)n};
        c->pos += (size_t)n;
    }
    return s;
}

/* A key or a tensor's name: short, not empty, no control bytes (names go into messages and
 * terminals). */
static enum status read_name(struct cursor *c, const char *what, size_t max, const char **out)
{
    size_t at = c->pos;
    struct meta_str s = {0};
    enum status st = read_string(c, what, &s);
    if (st) {
        return st;
    }
    if (s.n == 0 || s.n > max) {
        return fail(c, ERR_FORMAT, at, "%s has %zu bytes, 1 to %zu are allowed", what, s.n, max);
    }
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) {
            return fail(c, ERR_FORMAT, at, "%s holds the control byte 0x%02x", what,
                        (unsigned)(unsigned char)s.p[i]);
        }
    }
    *out = arena_strndup(c->arena, s.p, s.n);
    return *out ? OK : no_memory(c);
}

static enum status read_strings(struct cursor *c, const char *key, size_t n,
                                const struct meta_str **out)
{
    struct meta_str *items = arena_array(c->arena, n, sizeof *items);
    if (!items) {
        return no_memory(c);
    }
    enum status s = OK;
    for (size_t i = 0; i < n && !s; i++) {
        s = read_string(c, key, &items[i]);
    }
    *out = items;
    return s;
}

static enum status check_bools(const struct cursor *c, const char *key, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c->data[c->pos + i] > 1) {
            return fail(c, ERR_FORMAT, c->pos + i, "'%s' is a bool of value %u, expected 0 or 1",
                        key, c->data[c->pos + i]);
        }
    }
    return OK;
}

static enum status read_type(struct cursor *c, const char *key, enum wire_type *out)
{
    uint32_t t = 0;
    enum status s = read_u32(c, key, &t);
    if (s) {
        return s;
    }
    if (t >= WIRE_COUNT) {
        return fail(c, ERR_FORMAT, c->pos - 4, "'%s' has value type %u, expected 0 to %d", key, t,
                    WIRE_COUNT - 1);
    }
    *out = (enum wire_type)t;
    return OK;
}

static enum status read_array(struct cursor *c, const char *key, int depth, struct meta_array *out)
{
    uint64_t n = 0;
    enum wire_type type = WIRE_U8;
    size_t at = c->pos;
    enum status s = read_type(c, key, &type);
    if (!s) {
        s = read_u64(c, key, &n);
    }
    if (s) {
        return s;
    }
    /* The shortest item in the file: a string is a length, an array a type and a length. */
    size_t least = type == WIRE_STRING ? 8 : type == WIRE_ARRAY ? 12 : wire_bytes(type);
    if (n > left(c) / least) {
        return fail(c, ERR_FORMAT, at, "array '%s' claims %llu items, %zu bytes are left", key,
                    (unsigned long long)n, left(c));
    }
    if (type == WIRE_ARRAY && depth == MAX_NESTING) {
        return fail(c, ERR_LIMIT, at, "array '%s' is nested more than %d deep", key, MAX_NESTING);
    }
    *out = (struct meta_array){.type = type, .n = (size_t)n, .raw = c->data + c->pos};
    if (type == WIRE_STRING) {
        return read_strings(c, key, out->n, &out->strings);
    }
    if (type == WIRE_ARRAY) { /* walked over: no key that hearth reads nests */
        struct meta_array inner;
        for (size_t i = 0; i < out->n && !s; i++) {
            s = read_array(c, key, depth + 1, &inner);
        }
        return s;
    }
    if (type == WIRE_BOOL) {
        s = check_bools(c, key, out->n);
    }
    c->pos += out->n * least;
    return s;
}

static enum status read_value(struct cursor *c, struct meta *m)
{
    enum wire_type type = WIRE_U8;
    enum status s = read_type(c, m->key, &type);
    if (s) {
        return s;
    }
    m->kind = wire_kind(type);
    if (type == WIRE_STRING) {
        return read_string(c, m->key, &m->v.s);
    }
    if (type == WIRE_ARRAY) {
        return read_array(c, m->key, 0, &m->v.a);
    }
    s = need(c, wire_bytes(type), m->key);
    if (!s && type == WIRE_BOOL) {
        s = check_bools(c, m->key, 1);
    }
    if (!s) {
        wire_read(type, c->data + c->pos, m);
        c->pos += wire_bytes(type);
    }
    return s;
}

static enum status read_meta(struct cursor *c, uint64_t n, struct meta_table *meta)
{
    for (uint64_t i = 0; i < n; i++) {
        size_t at = c->pos;
        struct meta m = {0};
        bool taken = false;
        enum status s = read_name(c, "metadata key", MAX_KEY, &m.key);
        if (!s) {
            s = read_value(c, &m);
        }
        if (s) {
            return s;
        }
        if (meta_table_add(meta, &m, &taken)) {
            return no_memory(c);
        }
        if (taken) {
            return fail(c, ERR_FORMAT, at, "metadata key '%s' is there twice", m.key);
        }
    }
    return OK;
}

/* Names of ids that GGUF defines and hearth does not read, so that the message says more than a
 * number. */
static const char *foreign_type(uint32_t id)
{
    static const char *const names[TYPE_COUNT] = {
        [4] = "Q4_2, withdrawn",
        [5] = "Q4_3, withdrawn",
        [9] = "Q8_1",
        [15] = "Q8_K",
        [16] = "IQ2_XXS",
        [17] = "IQ2_XS",
        [18] = "IQ3_XXS",
        [19] = "IQ1_S",
        [21] = "IQ3_S",
        [22] = "IQ2_S",
        [24] = "I8",
        [25] = "I16",
        [26] = "I32",
        [27] = "I64",
        [28] = "F64",
        [29] = "IQ1_M",
        [31] = "Q4_0_4_4, withdrawn",
        [32] = "Q4_0_4_8, withdrawn",
        [33] = "Q4_0_8_8, withdrawn",
        [34] = "TQ1_0",
        [35] = "TQ2_0",
        [39] = "MXFP4",
        [40] = "NVFP4",
        [41] = "Q1_0",
    };
    const char *name = id < TYPE_COUNT ? names[id] : NULL;
    return name ? name : "unknown to hearth";
}

static enum status read_shape(struct cursor *c, const char *name, struct tensor *t, uint64_t *elems)
{
    uint32_t n_dims = 0;
    size_t at = c->pos;
    enum status s = read_u32(c, name, &n_dims);
    if (s) {
        return s;
    }
    if (n_dims > TENSOR_MAX_DIMS) {
        return fail(c, ERR_FORMAT, at, "tensor '%s' has %u dimensions, at most %d are allowed",
                    name, n_dims, TENSOR_MAX_DIMS);
    }
    *elems = 1;
    t->n_dims = n_dims ? (int)n_dims : 1;
    for (int d = 0; d < TENSOR_MAX_DIMS; d++) {
        t->ne[d] = 1;
    }
    for (uint32_t d = 0; d < n_dims; d++) {
        uint64_t ne = 0;
        s = read_u64(c, name, &ne);
        if (s) {
            return s;
        }
        if (ne == 0 || ne > INT64_MAX || __builtin_mul_overflow(*elems, ne, elems) ||
            *elems > INT64_MAX) {
            return fail(c, ERR_FORMAT, c->pos - 8,
                        "tensor '%s': dimension %u of %llu is empty or overflows", name, d,
                        (unsigned long long)ne);
        }
        t->ne[d] = (int64_t)ne;
    }
    return OK;
}

static enum status read_tensor_type(struct cursor *c, const char *name, struct tensor *t)
{
    uint32_t id = 0;
    enum status s = read_u32(c, name, &id);
    if (s) {
        return s;
    }
    const struct type_info *info = id < TYPE_COUNT ? type_info((enum tensor_type)id) : NULL;
    if (!info) {
        return fail(c, ERR_UNSUPPORTED, c->pos - 4, "tensor '%s' has type %u (%s)", name, id,
                    foreign_type(id));
    }
    t->type = (enum tensor_type)id;
    if (t->ne[0] % (int64_t)info->block_elems != 0) {
        return fail(c, ERR_FORMAT, c->pos - 4,
                    "tensor '%s': rows of %lld elements, type %s needs a multiple of %u", name,
                    (long long)t->ne[0], info->name, info->block_elems);
    }
    return OK;
}

/* One row of the tensor table; `size` gets the bytes that the tensor takes. The offset, relative to
 * the data section, is checked when the section's place is known. */
static enum status read_tensor(struct cursor *c, size_t alignment, struct named_tensor *n)
{
    uint64_t elems = 0;
    size_t bytes = 0;
    enum status s = read_name(c, "tensor name", MAX_NAME, &n->name);
    if (!s) {
        s = read_shape(c, n->name, &n->t, &elems);
    }
    if (!s) {
        s = read_tensor_type(c, n->name, &n->t);
    }
    if (!s && !type_bytes(n->t.type, elems, &bytes)) {
        s = fail(c, ERR_FORMAT, c->pos, "tensor '%s' of %llu elements overflows", n->name,
                 (unsigned long long)elems);
    }
    if (!s) {
        s = read_u64(c, n->name, &n->offset);
    }
    if (!s && n->offset % alignment != 0) {
        s = fail(c, ERR_FORMAT, c->pos - 8,
                 "tensor '%s' is at offset %llu, expected a multiple of %zu", n->name,
                 (unsigned long long)n->offset, alignment);
    }
    if (!s && (n->offset > c->size || bytes > c->size - n->offset)) {
        s = fail(c, ERR_FORMAT, c->pos - 8,
                 "tensor '%s' takes %zu bytes at data offset %llu, the whole file has %zu", n->name,
                 bytes, (unsigned long long)n->offset, c->size);
    }
    return s;
}

static enum status read_tensors(struct cursor *c, uint64_t n, size_t alignment,
                                struct tensor_table *tensors)
{
    for (uint64_t i = 0; i < n; i++) {
        size_t at = c->pos;
        struct named_tensor t = {.file = c->file};
        bool taken = false;
        enum status s = read_tensor(c, alignment, &t);
        if (s) {
            return s;
        }
        if (tensor_table_add(tensors, &t, &taken)) {
            return no_memory(c);
        }
        if (taken) {
            return fail(c, ERR_FORMAT, at, "tensor '%s' is there twice", t.name);
        }
    }
    return OK;
}

/* Turns the relative offsets of the tensors from `first` on into places in the file. */
static enum status place_tensors(const struct cursor *c, size_t alignment,
                                 struct tensor_table *tensors, size_t first)
{
    size_t begin = c->pos;
    if (begin % alignment != 0 && !size_add(begin, alignment - begin % alignment, &begin)) {
        return fail(c, ERR_FORMAT, c->pos, "the data section's place overflows");
    }
    for (size_t i = first; i < tensors->n; i++) {
        struct named_tensor *n = &tensors->items[i];
        size_t bytes = tensor_bytes(&n->t);
        size_t section = begin <= c->size ? c->size - begin : 0;
        if (n->offset > section || bytes > section - n->offset) {
            return fail(c, ERR_FORMAT, begin,
                        "tensor '%s' takes %zu bytes at data offset %llu, the data section has %zu",
                        n->name, bytes, (unsigned long long)n->offset, section);
        }
        n->offset += begin;
        n->t.data = c->data + n->offset;
    }
    return weights_check_overlap(tensors, first, c->e);
}

static enum status get_alignment(const struct cursor *c, const struct meta_table *meta, size_t *out)
{
    const struct meta *m = meta_table_find(meta, "general.alignment");
    *out = 32;
    if (!m) {
        return OK;
    }
    uint64_t a = m->kind == META_UINT ? m->v.u : 0;
    if (a < 8 || a > MAX_ALIGNMENT || (a & (a - 1)) != 0) {
        return fail(c, ERR_FORMAT, c->pos,
                    "general.alignment is %llu, expected a power of two from 8 to %d",
                    (unsigned long long)a, MAX_ALIGNMENT);
    }
    *out = (size_t)a;
    return OK;
}

/* What else people call a model file. */
static enum status refuse_magic(const struct cursor *c)
{
    static const struct {
        const char *bytes;
        size_t n;
        enum status code;
        const char *text;
    } kinds[] = {
        {"lmgg", 4, ERR_UNSUPPORTED, "a GGML file of before GGUF: convert it to GGUF"},
        {"fmgg", 4, ERR_UNSUPPORTED, "a GGMF file of before GGUF: convert it to GGUF"},
        {"tjgg", 4, ERR_UNSUPPORTED, "a GGJT file of before GGUF: convert it to GGUF"},
        {"PK\3\4", 4, ERR_UNSUPPORTED,
         "a zip archive (a PyTorch checkpoint?): GGUF or a directory "
         "with safetensors is expected"},
        {"version https://git-lfs", 23, ERR_FORMAT,
         "a Git LFS pointer, not the file it stands for: fetch it with git lfs pull"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (c->size >= kinds[i].n && memcmp(c->data, kinds[i].bytes, kinds[i].n) == 0) {
            return fail(c, kinds[i].code, 0, "%s", kinds[i].text);
        }
    }
    if (c->size >= 9 && c->data[8] == '{' && le64(c->data) <= c->size - 8) {
        return fail(c, ERR_UNSUPPORTED, 0,
                    "a safetensors file: open the directory that holds it and its config.json");
    }
    if (c->size < 4) {
        return fail(c, ERR_FORMAT, 0, "%zu bytes, expected a GGUF file", c->size);
    }
    return fail(c, ERR_FORMAT, 0, "begins with %02x %02x %02x %02x, expected 'GGUF'", c->data[0],
                c->data[1], c->data[2], c->data[3]);
}

static enum status read_head(struct cursor *c, uint32_t *version, uint64_t *n_tensors,
                             uint64_t *n_meta)
{
    if (c->size < 4 || memcmp(c->data, "GGUF", 4) != 0) {
        return refuse_magic(c);
    }
    c->pos = 4;
    uint32_t v = 0;
    enum status s = read_u32(c, "the version", &v);
    if (s) {
        return s;
    }
    if ((v & 0xffff) == 0 && v != 0) {
        return fail(c, ERR_UNSUPPORTED, 4, "a big-endian GGUF file: convert it to little-endian");
    }
    if (v != 2 && v != 3) {
        return fail(c, v == 0 ? ERR_FORMAT : ERR_UNSUPPORTED, 4,
                    "GGUF version %u, versions 2 and 3 are read", v);
    }
    *version = v;
    s = read_u64(c, "the number of tensors", n_tensors);
    if (!s) {
        s = read_u64(c, "the number of metadata pairs", n_meta);
    }
    if (s) {
        return s;
    }
    if (*n_tensors > left(c) / MIN_TENSOR) {
        return fail(c, ERR_FORMAT, 8, "%llu tensors do not fit the %zu bytes that are left",
                    (unsigned long long)*n_tensors, left(c));
    }
    if (*n_meta > left(c) / MIN_META) {
        return fail(c, ERR_FORMAT, 16, "%llu metadata pairs do not fit the %zu bytes that are left",
                    (unsigned long long)*n_meta, left(c));
    }
    if (*n_tensors > MAX_TENSORS || *n_meta > MAX_META) {
        return fail(c, ERR_LIMIT, 8, "%llu tensors, %llu pairs: at most %d and %d are allowed",
                    (unsigned long long)*n_tensors, (unsigned long long)*n_meta, MAX_TENSORS,
                    MAX_META);
    }
    return OK;
}

enum status gguf_parse(const uint8_t *data, size_t size, const char *name, struct arena *arena,
                       struct meta_table *meta, struct tensor_table *tensors, uint32_t *version,
                       struct err *e)
{
    struct cursor c = {.data = data, .size = size, .file = name, .arena = arena, .e = e};
    uint64_t n_tensors = 0;
    uint64_t n_meta = 0;
    size_t alignment = 0;
    size_t first = tensors->n;
    enum status s = read_head(&c, version, &n_tensors, &n_meta);
    if (!s) {
        s = read_meta(&c, n_meta, meta);
    }
    if (!s) {
        s = get_alignment(&c, meta, &alignment);
    }
    if (!s) {
        s = read_tensors(&c, n_tensors, alignment, tensors);
    }
    return s ? s : place_tensors(&c, alignment, tensors, first);
}

static uint64_t small_uint(const struct meta_table *meta, const char *key, uint64_t absent)
{
    const struct meta *m = meta_table_find(meta, key);
    if (!m) {
        return absent;
    }
    if (m->kind == META_INT && m->v.i >= 0) {
        return (uint64_t)m->v.i;
    }
    return m->kind == META_UINT ? m->v.u : UINT64_MAX;
}

/* Part `no` (counted from 0) of `count` of the file `first`, whose name ends in the pattern; NULL
 * when it does not. */
static const char *part_path(struct arena *a, const char *first, uint64_t no, uint64_t count)
{
    char end[32];
    int n = snprintf(end, sizeof end, "-%05d-of-%05d.gguf", 1, (int)count);
    size_t len = strlen(first);
    if (len < (size_t)n || strcmp(first + len - (size_t)n, end) != 0) {
        return NULL;
    }
    return arena_printf(a, "%.*s-%05d-of-%05d.gguf", (int)(len - (size_t)n), first, (int)no + 1,
                        (int)count);
}

static enum status open_part(struct weights *w, const char *path, uint64_t no, uint64_t count,
                             struct err *e)
{
    struct file_map map;
    uint32_t version = 0;
    struct meta_table meta = {0};
    enum status s = weights_map(w, path, &map, e);
    if (!s) {
        s = gguf_parse(map.data, map.size, path, &w->arena, &meta, &w->tensors, &version, e);
    }
    if (!s && (small_uint(&meta, "split.no", UINT64_MAX) != no ||
               small_uint(&meta, "split.count", 0) != count)) {
        s = err_set(e, ERR_MISMATCH, path,
                    "split.no and split.count do not say that this is part %d of %d", (int)no + 1,
                    (int)count);
    }
    meta_table_fini(&meta);
    return s;
}

static enum status open_parts(struct weights *w, const char *path, struct err *e)
{
    uint64_t count = small_uint(&w->meta, "split.count", 1);
    uint64_t no = small_uint(&w->meta, "split.no", 0);
    if (count > MAX_PARTS || no >= (count ? count : 1)) {
        return err_set(e, ERR_FORMAT, path, "split.no %llu of split.count %llu is out of range",
                       (unsigned long long)no, (unsigned long long)count);
    }
    if (count <= 1) {
        return OK;
    }
    if (no != 0) {
        return err_set(e, ERR_USAGE, path, "is part %d of %d: open part 1", (int)no + 1,
                       (int)count);
    }
    for (uint64_t i = 1; i < count; i++) {
        const char *part = part_path(&w->arena, path, i, count);
        if (!part) {
            return err_set(e, ERR_FORMAT, path,
                           "is part 1 of %d, its name must end in "
                           "-00001-of-%05d.gguf",
                           (int)count, (int)count);
        }
        enum status s = open_part(w, part, i, count, e);
        if (s) {
            return s;
        }
    }
    uint64_t total = small_uint(&w->meta, "split.tensors.count", w->tensors.n);
    if (total != w->tensors.n) {
        return err_set(e, ERR_MISMATCH, path, "split.tensors.count is %llu, the parts hold %zu",
                       (unsigned long long)total, w->tensors.n);
    }
    return OK;
}

enum status gguf_open(struct weights *w, const char *path, struct err *e)
{
    struct file_map map;
    uint32_t version = 0;
    enum status s = weights_map(w, path, &map, e);
    if (!s) {
        s = gguf_parse(map.data, map.size, path, &w->arena, &w->meta, &w->tensors, &version, e);
    }
    if (!s) {
        s = open_parts(w, path, e);
    }
    w->format = version == 2 ? "GGUF v2" : "GGUF v3";
    return s;
}

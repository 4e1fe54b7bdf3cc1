/* Safetensors: see safetensors.h for the layout. The header goes through the JSON library, which
 * takes many times the text's size for a text of nothing but brackets; so these are counted first.
 * The rule that tensors leave no hole costs nothing to check and finds truncated and patched files.
 */
#include "model/safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_HEADER = 100000000, /* of the format */
    MAX_MARKS = 1 << 22,    /* brackets and commas: about 300 thousand tensors */
    MAX_NAME = 1024
};

struct header {
    const char *file;
    const uint8_t *data; /* behind the header */
    size_t size;
    uint64_t begin; /* of data, in the file */
    struct arena *arena;
    struct err *e;
};

static enum status fail(const char *file, struct err *e, enum status code, uint64_t at,
                        const char *fmt, ...) PRINTF_LIKE(5, 6);

static enum status fail(const char *file, struct err *e, enum status code, uint64_t at,
                        const char *fmt, ...)
{
    char place[512];
    char text[1536];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(place, sizeof place, "%s:%llu", file, (unsigned long long)at);
    return err_set(e, code, place, "%s", text);
}

static enum status wrong(const struct header *h, const char *tensor, const char *what)
{
    return fail(h->file, h->e, ERR_FORMAT, 8, "tensor '%s': %s", tensor, what);
}

/* Every dtype of the format in bits per element. */
static const struct {
    const char *name;
    unsigned bits;
} dtypes[] = {
    {"F32", 32},        {"F16", 16},        {"BF16", 16},   {"F64", 64},    {"I64", 64},
    {"U64", 64},        {"I32", 32},        {"U32", 32},    {"I16", 16},    {"U16", 16},
    {"I8", 8},          {"U8", 8},          {"BOOL", 8},    {"C64", 64},    {"F4", 4},
    {"F8_E4M3", 8},     {"F8_E5M2", 8},     {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
};

static unsigned dtype_bits(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            return dtypes[i].bits;
        }
    }
    return 0;
}

bool safetensors_type(const char *dtype, enum tensor_type *out)
{
    static const struct {
        const char *name;
        enum tensor_type type;
    } types[] = {{"F32", TYPE_F32}, {"F16", TYPE_F16}, {"BF16", TYPE_BF16}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, dtype) == 0) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

static enum status read_shape(const struct header *h, const char *name, const json_t *shape,
                              struct safetensor *t, uint64_t *elems)
{
    if (!json_is_array(shape)) {
        return wrong(h, name, "'shape' is not an array");
    }
    size_t n = json_array_size(shape);
    *elems = 1;
    for (int d = 0; d < TENSOR_MAX_DIMS; d++) {
        t->ne[d] = 1;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(shape, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0) {
            return wrong(h, name, "'shape' holds something else than sizes");
        }
        if (__builtin_mul_overflow(*elems, (uint64_t)json_integer_value(v), elems) ||
            *elems > INT64_MAX) {
            return wrong(h, name, "'shape' overflows");
        }
        if (n <= TENSOR_MAX_DIMS) {
            t->ne[n - 1 - i] = json_integer_value(v);
        }
    }
    t->n_dims = n > INT32_MAX ? INT32_MAX : n ? (int)n : 1;
    return OK;
}

static enum status read_offsets(const struct header *h, const char *name, const json_t *offsets,
                                struct safetensor *t)
{
    const json_t *b = json_array_get(offsets, 0);
    const json_t *e = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(b) || !json_is_integer(e)) {
        return wrong(h, name, "'data_offsets' is not a pair of numbers");
    }
    long long begin = json_integer_value(b);
    long long end = json_integer_value(e);
    if (begin < 0 || end < begin || (unsigned long long)end > h->size) {
        return fail(h->file, h->e, ERR_FORMAT, 8,
                    "tensor '%s' takes the bytes %lld to %lld of data, %zu are there", name, begin,
                    end, h->size);
    }
    t->data = h->data + begin;
    t->bytes = (size_t)(end - begin);
    t->offset = h->begin + (uint64_t)begin;
    return OK;
}

static enum status read_dtype(const struct header *h, const char *name, const json_t *dtype,
                              struct safetensor *t)
{
    const char *text = json_string_value(dtype);
    if (!text || strlen(text) >= sizeof t->dtype) {
        return wrong(h, name, "'dtype' is not the name of a type");
    }
    memcpy(t->dtype, text, strlen(text) + 1);
    return OK;
}

static bool is_plain(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum status read_tensor(const struct header *h, const char *key, const json_t *entry,
                               struct safetensor *t)
{
    uint64_t elems = 0;
    size_t len = strlen(key);
    if (len == 0 || len > MAX_NAME || !is_plain(key)) {
        return fail(h->file, h->e, ERR_FORMAT, 8,
                    "a tensor's name of %zu bytes is empty, longer than %d or not text", len,
                    MAX_NAME);
    }
    if (!json_is_object(entry)) {
        return wrong(h, key, "not an object");
    }
    enum status s = read_dtype(h, key, json_object_get(entry, "dtype"), t);
    if (!s) {
        s = read_shape(h, key, json_object_get(entry, "shape"), t, &elems);
    }
    if (!s) {
        s = read_offsets(h, key, json_object_get(entry, "data_offsets"), t);
    }
    if (s) {
        return s;
    }
    unsigned bits = dtype_bits(t->dtype);
    uint64_t total = 0;
    if (bits &&
        (__builtin_mul_overflow(elems, bits, &total) || total % 8 || total / 8 != t->bytes)) {
        return fail(h->file, h->e, ERR_FORMAT, 8,
                    "tensor '%s' of %llu elements of %s takes %zu bytes", key,
                    (unsigned long long)elems, t->dtype, t->bytes);
    }
    t->name = arena_strdup(h->arena, key);
    return t->name ? OK : fail(h->file, h->e, ERR_MEMORY, 8, "no memory for the header");
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensor *x = a;
    const struct safetensor *y = b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* empty ones first */
}

static enum status check_cover(const struct header *h, struct safetensors *out)
{
    qsort(out->items, out->n, sizeof *out->items, by_offset);
    uint64_t end = h->begin;
    for (size_t i = 0; i < out->n; i++) {
        const struct safetensor *t = &out->items[i];
        if (t->offset != end) {
            return fail(h->file, h->e, ERR_FORMAT, t->offset,
                        "tensor '%s' begins here, the one before it ends at %llu", t->name,
                        (unsigned long long)end);
        }
        end += t->bytes;
    }
    if (end != h->begin + h->size) {
        return fail(h->file, h->e, ERR_FORMAT, end, "the last tensor ends here, %llu bytes follow",
                    (unsigned long long)(h->begin + h->size - end));
    }
    return OK;
}

static enum status read_entries(const struct header *h, json_t *root, struct safetensors *out)
{
    if (!json_is_object(root)) {
        return fail(h->file, h->e, ERR_FORMAT, 8, "the header is not an object");
    }
    out->items = arena_array(h->arena, json_object_size(root), sizeof *out->items);
    if (!out->items) {
        return fail(h->file, h->e, ERR_MEMORY, 8, "no memory for the header");
    }
    const char *key;
    json_t *entry;
    json_object_foreach(root, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0) {
            continue;
        }
        enum status s = read_tensor(h, key, entry, &out->items[out->n]);
        if (s) {
            return s;
        }
        out->n++;
    }
    return check_cover(h, out);
}

static enum status check_length(const uint8_t *data, size_t size, const char *name, size_t *length,
                                struct err *e)
{
    static const char lfs[] = "version https://git-lfs";
    if (size >= sizeof lfs - 1 && memcmp(data, lfs, sizeof lfs - 1) == 0) {
        return fail(name, e, ERR_FORMAT, 0,
                    "a Git LFS pointer, not the file it stands for: fetch it with git lfs pull");
    }
    if (size < 8) {
        return fail(name, e, ERR_FORMAT, 0, "%zu bytes, expected a safetensors file", size);
    }
    uint64_t n = le64(data);
    if (n > size - 8) {
        return fail(name, e, ERR_FORMAT, 0, "a header of %llu bytes, %zu are left",
                    (unsigned long long)n, size - 8);
    }
    if (n > MAX_HEADER) {
        return fail(name, e, ERR_LIMIT, 0, "a header of %llu bytes, at most %d are allowed",
                    (unsigned long long)n, MAX_HEADER);
    }
    size_t marks = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = data[8 + i];
        marks += c == '[' || c == '{' || c == ',';
    }
    if (marks > MAX_MARKS) {
        return fail(name, e, ERR_LIMIT, 8, "a header of %zu JSON items, at most %d are allowed",
                    marks, MAX_MARKS);
    }
    *length = (size_t)n;
    return OK;
}

enum status safetensors_parse(const uint8_t *data, size_t size, const char *name,
                              struct arena *arena, struct safetensors *out, struct err *e)
{
    size_t length = 0;
    enum status s = check_length(data, size, name, &length, e);
    if (s) {
        return s;
    }
    json_error_t error;
    json_t *root = json_loadb((const char *)data + 8, length, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        if (json_error_code(&error) == json_error_out_of_memory) {
            return fail(name, e, ERR_MEMORY, 8, "no memory for the header");
        }
        char *near = strstr(error.text, " near '"); /* raw bytes of the file follow */
        if (near) {
            *near = 0;
        }
        return fail(name, e, ERR_FORMAT, 8 + (uint64_t)(error.position > 0 ? error.position : 0),
                    "the header is no JSON: %s", error.text);
    }
    struct header h = {.file = name,
                       .data = data + 8 + length,
                       .size = size - 8 - length,
                       .begin = 8 + length,
                       .arena = arena,
                       .e = e};
    struct safetensors found = {0};
    s = read_entries(&h, root, &found);
    json_decref(root);
    if (!s) {
        *out = found;
    }
    return s;
}

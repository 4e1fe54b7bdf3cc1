/* Insides of struct weights, shared by the container readers (gguf.c, safetensors.c, hf.c) and
 * weights.c: two tables that a reader fills, one of metadata and one of tensors.
 *
 * Both tables keep entries in file order and find them by name. Entries borrow: text and arrays
 * live in the mapping or in the arena of the weights. A zeroed table is an empty one. */
#ifndef HEARTH_MODEL_WEIGHTS_INTERNAL_H
#define HEARTH_MODEL_WEIGHTS_INTERNAL_H

#include "base/file.h"
#include "base/map.h"
#include "model/weights.h"

/* Value types of GGUF metadata; also the item types of arrays, which stay in file form. */
enum wire_type {
    WIRE_U8,
    WIRE_I8,
    WIRE_U16,
    WIRE_I16,
    WIRE_U32,
    WIRE_I32,
    WIRE_F32,
    WIRE_BOOL,
    WIRE_STRING,
    WIRE_ARRAY,
    WIRE_U64,
    WIRE_I64,
    WIRE_F64,
    WIRE_COUNT
};

struct meta_array {
    enum wire_type type;
    size_t n;
    const uint8_t *raw;             /* n items, little-endian, unaligned; unless strings */
    const struct meta_str *strings; /* n items, for WIRE_STRING */
};

struct meta {
    const char *key;
    enum meta_kind kind;
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double f;
        struct meta_str s;
        struct meta_array a;
    } v;
};

struct meta_table {
    struct meta *items;
    size_t n, cap;
    struct map by_key;
};

struct tensor_table {
    struct named_tensor *items;
    size_t n, cap;
    struct map by_name;
};

struct sibling {
    const char *name;
    const char *path;
};

struct weights {
    struct arena arena;
    const char *path;
    const char *format;
    bool is_directory;
    struct file_map *maps;
    size_t n_maps, cap_maps;
    size_t file_bytes;
    struct meta_table meta;
    struct tensor_table tensors;
    struct sibling *siblings; /* files of a directory and of its direct subfolders */
    size_t n_siblings;
    const char *base; /* the subfolder that holds the model, NULL: the directory itself */
};

/* Add one entry; *taken says that the name is there already (nothing is added then). ERR_MEMORY
 * only. */
MUST_CHECK enum status meta_table_add(struct meta_table *t, const struct meta *m, bool *taken);
MUST_CHECK enum status tensor_table_add(struct tensor_table *t, const struct named_tensor *n,
                                        bool *taken);
const struct meta *meta_table_find(const struct meta_table *t, const char *key);
void meta_table_fini(struct meta_table *t);
void tensor_table_fini(struct tensor_table *t);

/* Kind of a wire type; its bytes in a file, 0 for strings and arrays. */
enum meta_kind wire_kind(enum wire_type type);
size_t wire_bytes(enum wire_type type);
/* One fixed-size value in file form; `out->kind` and `out->v` are set. */
void wire_read(enum wire_type type, const uint8_t *p, struct meta *out);

/* Maps a file into `w`, which owns the mapping from then on. */
MUST_CHECK enum status weights_map(struct weights *w, const char *path, struct file_map *out,
                                   struct err *e);

/* ERR_FORMAT when two tensors of the same file share bytes; `first` is the first tensor to look at.
 */
MUST_CHECK enum status weights_check_overlap(const struct tensor_table *t, size_t first,
                                             struct err *e);

static inline uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t le32(const uint8_t *p)
{
    return (uint32_t)le16(p) | (uint32_t)le16(p + 2) << 16;
}

static inline uint64_t le64(const uint8_t *p)
{
    return (uint64_t)le32(p) | (uint64_t)le32(p + 4) << 32;
}

#endif

/* Writes GGUF files for tests: any metadata, tensors of every type (given floats, given bytes or
 * random blocks with sane scales), and files that lie. Three buffers (pairs, tensor table, data)
 * are put together at the end, so that a test may append anything to any of them.
 *
 * Running out of memory fails the test. Nothing is checked: what is asked for is written. */
#ifndef HEARTH_TESTS_COMMON_GGUF_WRITER_H
#define HEARTH_TESTS_COMMON_GGUF_WRITER_H

#include "base/sys.h"
#include "tensor/types.h"

struct gguf_writer {
    uint32_t version;   /* 3 */
    uint32_t alignment; /* 32; set it before the first tensor. general.alignment is not written */
    uint64_t n_meta;    /* what the head will say; change them to lie */
    uint64_t n_tensors;
    struct buf meta, tensors, data;
    struct rng rng;
};

void gguf_writer_init(struct gguf_writer *g, uint64_t seed);
void gguf_writer_fini(struct gguf_writer *g);

void gguf_put_u32(struct gguf_writer *g, const char *key, uint32_t v);
void gguf_put_i32(struct gguf_writer *g, const char *key, int32_t v);
void gguf_put_u64(struct gguf_writer *g, const char *key, uint64_t v);
void gguf_put_f32(struct gguf_writer *g, const char *key, float v);
void gguf_put_bool(struct gguf_writer *g, const char *key, bool v);
void gguf_put_string(struct gguf_writer *g, const char *key, const char *v);
void gguf_put_strings(struct gguf_writer *g, const char *key, const char *const *v, size_t n);
void gguf_put_i32s(struct gguf_writer *g, const char *key, const int32_t *v, size_t n);
void gguf_put_f32s(struct gguf_writer *g, const char *key, const float *v, size_t n);
/* A pair of any value type whose value is these bytes. */
void gguf_put_raw(struct gguf_writer *g, const char *key, uint32_t type, const void *v, size_t n);

/* A tensor of ne[0] * .. * ne[n_dims-1] elements. Random: values of about the standard deviation
 * `scale`; types that hold plain floats are uniform, block types get random bytes under scales that
 * give that spread. Floats: through the type's from_float. Bytes: as they are. */
void gguf_add_random(struct gguf_writer *g, const char *name, enum tensor_type type, int n_dims,
                     const int64_t *ne, float scale);
void gguf_add_floats(struct gguf_writer *g, const char *name, enum tensor_type type, int n_dims,
                     const int64_t *ne, const float *values);
void gguf_add_bytes(struct gguf_writer *g, const char *name, enum tensor_type type, int n_dims,
                    const int64_t *ne, const void *bytes);
/* A row of the tensor table alone, true or not. */
void gguf_add_row(struct gguf_writer *g, const char *name, uint32_t n_dims, const uint64_t *ne,
                  uint32_t type, uint64_t offset);

/* Random blocks alone: `elems` elements of `type` appended to *out. */
void gguf_random_blocks(struct rng *rng, enum tensor_type type, size_t elems, float scale,
                        struct buf *out);

/* The file's bytes, appended to *out; or to a file. */
void gguf_finish(const struct gguf_writer *g, struct buf *out);
void gguf_write(const struct gguf_writer *g, const char *path);

/* Little-endian numbers and strings in file form, for what the calls above do not cover. */
void gguf_raw_u32(struct buf *b, uint32_t v);
void gguf_raw_u64(struct buf *b, uint64_t v);
void gguf_raw_string(struct buf *b, const char *s);

#endif

/* Tensor types: the number formats of model files, their block layouts, and exact conversion to
 * float.
 *
 * Ids and layouts are those of the GGUF specification (ggml-org/ggml, docs/gguf.md and
 * ggml-common.h): one id for each type that a file can name. A tensor is a view of bytes that it
 * does not own: data, type, shape. Rows are contiguous; ne[0] is the row length, as in GGUF. */
#ifndef HEARTH_TENSOR_TYPES_H
#define HEARTH_TENSOR_TYPES_H

#include "base/mem.h"

enum tensor_type {
    TYPE_F32 = 0,
    TYPE_F16 = 1,
    TYPE_Q4_0 = 2,
    TYPE_Q4_1 = 3,
    TYPE_Q5_0 = 6,
    TYPE_Q5_1 = 7,
    TYPE_Q8_0 = 8,
    TYPE_Q2_K = 10,
    TYPE_Q3_K = 11,
    TYPE_Q4_K = 12,
    TYPE_Q5_K = 13,
    TYPE_Q6_K = 14,
    TYPE_IQ4_NL = 20,
    TYPE_IQ4_XS = 23,
    TYPE_BF16 = 30,
    TYPE_COUNT = 42
};

enum { TENSOR_MAX_DIMS = 4 };

struct tensor {
    const void *data;
    enum tensor_type type;
    int n_dims;
    int64_t ne[TENSOR_MAX_DIMS]; /* ne[0] = row length; unused dims are 1 */
};

struct type_info {
    const char *name;     /* "Q4_K" */
    uint32_t block_elems; /* 1, 32 or 256 */
    uint32_t block_bytes;
    /* Exact dequantisation of n elements (a multiple of block_elems): the definition that
     * everything else is checked against. */
    void (*to_float)(const void *src, float *dst, size_t n);
    /* NULL where hearth does not write the type. Round-to-nearest reference quantisation of the
     * ggml specification. */
    void (*from_float)(const float *src, void *dst, size_t n);
};

/* NULL for an id that hearth does not know. */
const struct type_info *type_info(enum tensor_type type);
bool type_by_name(const char *name, enum tensor_type *out); /* case-insensitive */

/* Bytes of `n` elements; false if n is no multiple of the block or on overflow. */
bool type_bytes(enum tensor_type type, uint64_t n, size_t *out);
size_t tensor_rows(const struct tensor *t); /* ne[1] * ne[2] * ne[3] */
size_t tensor_row_bytes(const struct tensor *t);
size_t tensor_bytes(const struct tensor *t);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f); /* round to nearest even */
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);

#endif

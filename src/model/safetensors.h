/* Safetensors files (huggingface/safetensors, "Format"):
 *
 *   length u64 | JSON header of that length (at most 100 MB) | data
 *   header: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..,
 *            "__metadata__": {"string": "string", ..}}
 *
 * Offsets count from the end of the header; the tensors cover the data without overlap or hole.
 * Shapes are in row-major order with the longest stride first, the reverse of GGUF's ne. */
#ifndef HEARTH_MODEL_SAFETENSORS_H
#define HEARTH_MODEL_SAFETENSORS_H

#include "model/weights_internal.h"

enum { SAFETENSORS_DTYPE = 16 };

struct safetensor {
    const char *name;
    char dtype[SAFETENSORS_DTYPE]; /* as written: "BF16" */
    int n_dims;                    /* may be more than ne holds: such a tensor is no weight */
    int64_t ne[TENSOR_MAX_DIMS];   /* GGUF's order; unused dims are 1 */
    const uint8_t *data;
    size_t bytes;
    uint64_t offset; /* in the file */
};

struct safetensors {
    struct safetensor *items; /* in the order of the data */
    size_t n;
};

/* Parses one file's bytes; `name` is for messages. The result borrows from `data` and `arena`. Any
 * dtype is taken, its size is checked where it is known. */
MUST_CHECK enum status safetensors_parse(const uint8_t *data, size_t size, const char *name,
                                         struct arena *arena, struct safetensors *out,
                                         struct err *e);

/* The tensor type of a dtype; false for one that holds no weights that hearth computes with. */
bool safetensors_type(const char *dtype, enum tensor_type *out);
#endif

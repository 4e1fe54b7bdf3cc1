/* GGUF files, versions 2 and 3 (ggml-org/ggml, docs/gguf.md), little-endian.
 *
 *   "GGUF" | version u32 | tensors u64 | pairs u64
 *   pairs:   key string | type u32 | value           string: length u64 | bytes
 *   tensors: name string | n_dims u32 | ne u64 * n_dims | type u32 | offset u64
 *   padding to general.alignment (32) | tensor data, each offset a multiple of the alignment
 *
 * A model may be split into `<name>-00001-of-000NN.gguf` files: each is a GGUF file of its own with
 * split.no and split.count; the first holds the metadata. */
#ifndef HEARTH_MODEL_GGUF_H
#define HEARTH_MODEL_GGUF_H

#include "model/weights_internal.h"

/* Opens `path` and the parts that belong to it into the empty `w`. */
MUST_CHECK enum status gguf_open(struct weights *w, const char *path, struct err *e);

/* Parses one file's bytes; `name` is for messages. Appends to the tables, which then borrow from
 * `data` and `arena`. On failure the tables hold a part of the file. */
MUST_CHECK enum status gguf_parse(const uint8_t *data, size_t size, const char *name,
                                  struct arena *arena, struct meta_table *meta,
                                  struct tensor_table *tensors, uint32_t *version, struct err *e);
#endif

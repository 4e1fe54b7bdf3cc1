/* The first half of tokenizer.json's pipeline: normalizers and pre-tokenizers. */
#ifndef HEARTH_MODEL_VOCAB_PIPELINE_H
#define HEARTH_MODEL_VOCAB_PIPELINE_H

#include "model/vocab_config.h"

enum { PIPELINE_MAX_DEPTH = 8 };

/* Both set fields of v; a component that is not known is ERR_UNSUPPORTED and named. */
MUST_CHECK enum status pipeline_read_normalizer(struct vocab *v, const json_t *spec, struct err *e);
MUST_CHECK enum status pipeline_read_pretok(struct vocab *v, const json_t *spec, struct err *e);

#endif

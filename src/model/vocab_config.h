/* Reading JSON settings of tokenizers: small helpers shared by vocab_config.c and vocab_json.c. */
#ifndef HEARTH_MODEL_VOCAB_CONFIG_H
#define HEARTH_MODEL_VOCAB_CONFIG_H

#include <jansson.h>

#include "model/vocab_internal.h"

/* The object in a file; NULL and *e (ERR_FORMAT) when it is none. */
json_t *config_parse(const char *json, size_t n, const char *place, struct err *e);
/* A token's text, given as a string or as {"content": ...}; NULL otherwise. */
const char *config_text(const json_t *v);
bool config_flag(const json_t *object, const char *key, bool otherwise);
/* bos_token, eos_token, ... of tokenizer_config.json to the vocabulary's ids; NULL is allowed. */
void config_read_ids(struct vocab *v, const json_t *config);

#endif

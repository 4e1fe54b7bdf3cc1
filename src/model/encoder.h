/* The fast pass of an encoder over many texts: from token ids to one row per text.
 *
 * Texts are dealt out in groups of a few hundred tokens: a worker takes a group through all layers
 * alone, without a barrier, while its activations stay in its own cache. Texts that are too few or
 * too long to be dealt out go through the layers with the whole team, which shares each product. */
#ifndef HEARTH_MODEL_ENCODER_H
#define HEARTH_MODEL_ENCODER_H

#include "model/model_internal.h"

struct encoder;

/* What is made of texts; `out` has a row of d_model floats each, or of pairs: a logit each. */
struct encoder_texts {
    const int32_t *const *ids;
    const int64_t *n_ids;
    const int64_t *second; /* where the second part of a pair begins; NULL: texts, no pairs */
    int n;
    enum pooling pooling;
    bool normalize;
    float *out;
};

MUST_CHECK enum status encoder_new(const struct model *m, struct encoder **out, struct err *e);
void encoder_free(struct encoder *enc);
/* Texts have been checked: 1 to n_ctx_train tokens of the vocabulary. */
void encoder_embed(struct model *m, const struct encoder_texts *t);

/* Also of the exact pass. row = token + position + type embeddings, normed. */
void encoder_embed_row(const struct model *m, int32_t id, int64_t pos, int64_t type, float *row);
/* The pool of n rows, normalised if asked for. */
void encoder_pool(const float *rows, int64_t n, size_t d, enum pooling pooling, bool normalize,
                  float *out);
/* A pair's logit from the state of its first token (BertForSequenceClassification's head). */
float encoder_logit(const struct model *m, const float *state);
#endif

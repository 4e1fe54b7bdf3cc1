/* What the files of engine/ share. */
#ifndef HEARTH_ENGINE_ENGINE_INTERNAL_H
#define HEARTH_ENGINE_ENGINE_INTERNAL_H

#include <pthread.h>

#include "base/file.h"
#include "engine/engine.h"
#include "model/model.h"
#include "model/template.h"
#include "model/vocab.h"
#include "model/weights.h"

/* Text of a control token: what user strings must not be able to say. */
struct special {
    const char *text;
    size_t n;
};

struct path_row {
    const char *type, *path;
    int64_t n_mats;
};

struct engine {
    struct model *model;
    struct kv *kv;        /* of all sessions; NULL for an encoder */
    pthread_mutex_t lock; /* of model and kv; held for one pass, never during a callback */
    bool has_lock;
    struct arena arena;
    struct engine_info info;
    double rest_ms; /* of opening, after the model */
    int64_t max_batch;
    enum pooling pooling;
    int64_t embed_limit; /* tokens of a text, special ones included */
    const char *query_prefix, *document_prefix;
    struct template *template;
    struct err template_error; /* why there is none */
    struct special *specials;
    size_t n_specials;
    struct path_row *paths;
    size_t n_paths;
    char identity[SHA256_HEX]; /* "": nobody has asked */
};

/* Waits for the engine's turn. The lock is recursive for nobody: one pass, then unlock. */
void engine_lock(struct engine *en);
void engine_unlock(struct engine *en);

/* Fills en's prefixes and embed_limit (embed.c). */
MUST_CHECK enum status engine_embed_settings(struct engine *en, struct err *e);
/* Collects the control tokens (prompt.c). */
MUST_CHECK enum status engine_collect_specials(struct engine *en, struct err *e);
/* Length of the longest control token that begins at p; 0: none (prompt.c). */
size_t engine_special_at(const struct engine *en, const char *p, size_t n);
/* engine_rank with a language model (rank_judge.c); *report is zero at first. */
MUST_CHECK enum status engine_judge(struct engine *en, const struct rank_request *q, float *logits,
                                    uint8_t *flags, struct rank_report *report, struct err *e);
const char *engine_pooling_name(enum pooling p);
#endif

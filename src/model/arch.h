/* The architecture table: what a model family is, in one row.
 *
 * To add one: a row in arch.c and, when the shared blocks do not fit, a file arch_<family>.c with
 * its loader and its pass. */
#ifndef HEARTH_MODEL_ARCH_H
#define HEARTH_MODEL_ARCH_H

#include "model/model_internal.h"

enum {
    ARCH_QKV_BIAS = 1, /* q, k and v must have biases (otherwise they may) */
    ARCH_QK_NORM = 2,  /* RMSNorm on each head of q and k */
    ARCH_WINDOW = 4    /* a sliding window may be set */
};

struct arch {
    const char *name; /* general.architecture */
    unsigned traits;
    enum status (*read_hparams)(const struct weights *w, struct hparams *hp, struct err *e);
    enum status (*load)(struct model *m, struct err *e); /* matrices and vectors */
    /* SPMD: ids in m->ids (and runs in m->seqs or m->starts) to states in m->x; returns false when
     * the pass was cancelled, on every worker alike. Ends with a barrier. */
    bool (*run)(const struct worker *w, struct pass *p);
};

/* ERR_UNSUPPORTED lists the known names. */
MUST_CHECK enum status arch_find(const struct weights *w, const struct arch **out, struct err *e);

/* Loaders' helpers. Each checks presence, shape and type: ERR_FORMAT names file, tensor, expected
 * and found shape. */
struct loader {
    struct model *m;
    bool *used; /* per tensor of the file */
    struct err *e;
};
MUST_CHECK enum status loader_init(struct loader *l, struct model *m, size_t max_mats,
                                   struct err *e);
/* ERR_UNSUPPORTED when a tensor of a block was not taken: ignoring a bias would be a guess. */
MUST_CHECK enum status loader_finish(struct loader *l);
/* n floats as our own copy; `optional`: *out stays NULL when the tensor is absent. */
MUST_CHECK enum status load_vector(struct loader *l, const char *name, int64_t n, bool optional,
                                   const float **out);
/* rows[i] x cols matrices names[i], one output row after the other. */
MUST_CHECK enum status load_proj(struct loader *l, const char *label, const char *const *names,
                                 const int64_t *rows, int n, int64_t cols, struct proj *out);
/* n vectors side by side; all or none must be there. */
MUST_CHECK enum status load_vectors(struct loader *l, const char *const *names,
                                    const int64_t *sizes, int n, bool optional, const float **out);
MUST_CHECK enum status load_matrix(struct loader *l, const char *name, int64_t rows, int64_t cols,
                                   bool only_rows, struct mat *out);
/* "blk.<i>.<suffix>" in the model's arena; NULL: no memory. */
const char *block_name(struct loader *l, int64_t layer, const char *suffix);

enum status decoder_load(struct model *m, struct err *e);
bool decoder_run(const struct worker *w, struct pass *p);
enum status encoder_load(struct model *m, struct err *e);
bool encoder_run(const struct worker *w, struct pass *p);
#endif

/* Engines for commands: --model and --embed-model opened with the options of the command line. */
#ifndef HEARTH_CLI_ENGINES_H
#define HEARTH_CLI_ENGINES_H

#include "cli/cli.h"
#include "engine/session.h"

/* The folder for a copy of this model's packed weights, as --packed-cache says; NULL: none. */
const char *engines_packed_dir(struct cli *c, const char *model_path);
/* What opening took and where the packed weights came from. */
json_t *engines_opening_json(const struct engine *en);
/* --model, which must generate; n_ctx 0: the engine's default. */
MUST_CHECK enum status engines_generator(struct cli *c, int64_t n_ctx, struct engine **out,
                                         struct err *e);
/* --embed-model, or `name` when it is not NULL. */
MUST_CHECK enum status engines_embedder(struct cli *c, const char *name, struct engine **out,
                                        struct err *e);
/* --model, whatever it is. */
MUST_CHECK enum status engines_any(struct cli *c, int64_t n_ctx, struct engine **out,
                                   struct err *e);
/* The sampling options of the command line. */
MUST_CHECK enum status engines_sampling(struct cli *c, struct sampling *out, struct err *e);
/* An on_text callback that writes to stdout at once; false when stdout is gone. */
bool engines_write_text(void *ctx, const char *text, size_t n);

#endif

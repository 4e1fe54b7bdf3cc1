/* Chat templates: an interpreter for the Jinja that model files ship.
 *
 * The subset is what templates of real models use, with jinja2's semantics in the way transformers
 * runs them (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls,
 * `raise_exception`, `strftime_now`, `tojson` without HTML escapes). Anything else is
 * ERR_UNSUPPORTED at parse time and names line and construct; output is never a guess. A template
 * runs within limits of steps, depth and output bytes, so that a hostile one ends with ERR_LIMIT.
 *
 * A parsed template is read-only and may render on any thread. */
#ifndef HEARTH_MODEL_TEMPLATE_H
#define HEARTH_MODEL_TEMPLATE_H

#include <jansson.h>

#include "base/mem.h"

struct template;

MUST_CHECK enum status template_parse(const char *source, size_t n, struct template **out,
                                      struct err *e);
void template_free(struct template *t);

/* Renders with the top-level variables of `vars` (an object: "messages", "tools",
 * "add_generation_prompt", "bos_token", ...; key order of objects is kept). ERR_USAGE with the
 * template's own words when it calls raise_exception; ERR_FORMAT (line) for a run-time type error;
 * ERR_LIMIT. */
MUST_CHECK enum status template_render(const struct template *t, const json_t *vars,
                                       struct buf *out, struct err *e);

/* Zero means the default. */
struct template_limits {
    size_t max_output_bytes; /* 64 MiB */
    size_t max_steps;        /* 50 million */
    size_t max_memory_bytes; /* 512 MiB, dropped when the render ends */
    int64_t now; /* what strftime_now tells, seconds since 1970 in local time zone; 0: the clock */
};
MUST_CHECK enum status template_render_limited(const struct template *t, const json_t *vars,
                                               const struct template_limits *limits,
                                               struct buf *out, struct err *e);
#endif

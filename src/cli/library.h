/* What a question needs, opened in the right order: store, vector index, embedding model, and for
 * answers the language model with a session. */
#ifndef HEARTH_CLI_LIBRARY_H
#define HEARTH_CLI_LIBRARY_H

#include "cli/engines.h"
#include "retrieve/answer.h"

struct cli_library {
    struct library lib; /* borrowed views of the members below */
    struct store *store;
    struct vectors *vectors;
    struct engine *embedder, *generator; /* generator NULL: search only */
    struct session *session;
    double open_ms;
};

/* ERR_NOT_FOUND when nothing was added yet, ERR_MISMATCH when the index was made with another
 * embedding model; both say what to do. Zeroed *out before; cli_library_close in any case. */
MUST_CHECK enum status cli_library_open(struct cli *c, bool answers, struct cli_library *out,
                                        struct err *e);
void cli_library_close(struct cli_library *l);

/* answer_print.c: an answer on a terminal. */
struct answer_printer {
    struct cli *c;
    int column; /* where the next word of the streamed answer goes */
};
bool answer_print_text(void *ctx, const char *text, size_t n); /* an on_text callback */
void answer_print_sources(const struct cli *c, const struct answer *a);
void answer_print_refusal(const struct cli *c, const struct answer *a);
/* "Title > Heading", the title between the texts `on` and `off`. */
void answer_print_place(const struct document *doc, const struct chunk *chunk, const char *on,
                        const char *off);
void answer_print_times(const struct cli *c, const struct answer *a, double open_ms,
                        double total_ms);
/* The options of the command line as answer_options (without callbacks). */
MUST_CHECK enum status answer_options_read(struct cli *c, struct answer_options *out,
                                           struct err *e);

#endif

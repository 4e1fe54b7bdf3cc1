/* hearth ask: one question, a cited answer, or a refusal (exit code of ERR_NO_EVIDENCE). */
#include "cli/library.h"
#include "base/sys.h"

#include <string.h>

static enum status print(struct cli *c, const char *question, const struct answer *a,
                         double open_ms, double total_ms, struct err *e)
{
    if (c->json) {
        json_t *j = answer_json(a);
        (void)json_object_set_new(j, "question", out_text(question));
        json_t *stages = json_object_get(j, "stages_ms");
        (void)json_object_set_new(stages, "open", json_real(open_ms));
        (void)json_object_set_new(stages, "total", json_real(total_ms));
        return out_json(c, j, e);
    }
    if (a->refused) {
        answer_print_refusal(c, a);
    } else {
        printf("\n");
        answer_print_sources(c, a);
    }
    answer_print_times(c, a, open_ms, total_ms);
    return OK;
}

enum status cmd_ask(struct cli *c, struct err *e)
{
    double start = clock_ms();
    const char *question = cli_join_words(c);
    struct answer_printer printer = {.c = c};
    struct cli_library l = {0};
    struct answer_options opt;
    struct answer a = {0};
    enum status s = question && strspn(question, " \t\n") != strlen(question)
                        ? answer_options_read(c, &opt, e)
                        : err_set(e, ERR_USAGE, "ask", "the question is empty");
    if (!s) {
        s = cli_library_open(c, true, &l, e);
    }
    if (!s) {
        opt.on_text = c->json ? NULL : answer_print_text;
        opt.ctx = &printer;
        s = answer_question(&l.lib, l.session, question, &opt, &c->arena, &a, e);
    }
    if (s && printer.column) {
        printf("\n"); /* the part of the answer that was shown stays readable */
    }
    if (!s) {
        s = print(c, question, &a, l.open_ms, clock_ms() - start, e);
    }
    cli_library_close(&l);
    if (!s && a.refused) {
        c->reported = true;
        return ERR_NO_EVIDENCE;
    }
    return s;
}

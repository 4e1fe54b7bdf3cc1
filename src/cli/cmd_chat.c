/* hearth chat: questions one after another; each may lean on the one before. On a terminal with
 * line editing and history (libedit), in a pipe one question per line. */
#include "cli/library.h"
#include "base/file.h"
#include "base/sys.h"

#include <editline/readline.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HISTORY_LINES = 1000, TURNS_KEPT = 8 };

struct chat {
    struct cli *c;
    struct cli_library l;
    struct answer_options opt;
    struct answer_printer printer;
    struct arena turn; /* the last answer, for /sources */
    struct answer last;
    json_t *history; /* messages of the turns so far */
    bool editing;
    const char *history_path;
};

static const char *const commands_help = "  /sources  the passages that the last answer rests on\n"
                                         "  /reset    forget the conversation\n"
                                         "  /quit     leave (or ctrl-D)\n";

/* The next line, without its newline; free() it. NULL at the end. */
static char *next_line(struct chat *h)
{
    if (h->editing) {
        char *line = readline("> ");
        if (line && *line) {
            add_history(line);
        }
        return line;
    }
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = getline(&line, &cap, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\r\n")] = 0;
    return line;
}

static enum status remember(struct chat *h, const char *question, const char *answer, struct err *e)
{
    json_t *q = json_pack("{s:s, s:o}", "role", "user", "content", out_text(question));
    json_t *a = json_pack("{s:s, s:o}", "role", "assistant", "content", out_text(answer));
    bool failed = !q || !a;
    failed = json_array_append_new(h->history, q) != 0 || failed;
    failed = json_array_append_new(h->history, a) != 0 || failed;
    while (json_array_size(h->history) > 2 * TURNS_KEPT) {
        (void)json_array_remove(h->history, 0);
    }
    return failed ? err_set(e, ERR_MEMORY, NULL, "no memory for the conversation") : OK;
}

static enum status show_answer(struct chat *h, const char *question, double ms, struct err *e)
{
    const struct answer *a = &h->last;
    if (h->c->json) {
        json_t *j = answer_json(a);
        (void)json_object_set_new(j, "question", out_text(question));
        return out_json(h->c, j, e);
    }
    if (a->refused) {
        answer_print_refusal(h->c, a);
    } else {
        char t[UI_TEXT];
        printf("\n%s", ui_style(&h->c->ui, stdout, UI_DIM));
        for (size_t i = 0; i < a->n_citations; i++) {
            const struct citation *k = &a->citations[i];
            printf("  [%d] ", k->number);
            answer_print_place(&k->document, &k->chunk, "", "");
            printf("\n");
        }
        printf("  %s, /sources shows the quotes%s\n", ui_ms(t, ms),
               ui_style(&h->c->ui, stdout, UI_RESET));
    }
    printf("\n");
    (void)fflush(stdout);
    return OK;
}

/* ctrl-C ends the answer under way, not the conversation. */
static enum status one_turn(struct chat *h, const char *question, struct err *e)
{
    double start = clock_ms();
    arena_reset(&h->turn);
    h->last = (struct answer){0};
    h->printer.column = 0;
    h->opt.history = json_array_size(h->history) ? h->history : NULL;
    enum status s =
        answer_question(&h->l.lib, h->l.session, question, &h->opt, &h->turn, &h->last, e);
    if (s == ERR_CANCELLED && h->editing) {
        cli_cancel = false;
        cli_catch_signals(true);
        h->last = (struct answer){0};
        printf("\n");
        return OK;
    }
    if (!s) {
        s = show_answer(h, question, clock_ms() - start, e);
    }
    return s || h->last.refused ? s : remember(h, question, h->last.text, e);
}

static enum status show_sources(struct chat *h, struct err *e)
{
    if (h->c->json) {
        json_t *whole = answer_json(&h->last);
        json_t *j = json_pack("{s:O}", "citations", json_object_get(whole, "citations"));
        json_decref(whole);
        return out_json(h->c, j, e);
    }
    answer_print_sources(h->c, &h->last);
    printf("\n");
    return OK;
}

/* A line that begins with '/'; clears *on when the chat ends. With --json only /sources has data to
 * print, the rest is talk. */
static enum status command(struct chat *h, const char *line, bool *on, struct err *e)
{
    enum status s = OK;
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) {
        *on = false;
    } else if (strcmp(line, "/sources") == 0) {
        s = show_sources(h, e);
    } else if (strcmp(line, "/reset") == 0) {
        (void)json_array_clear(h->history);
        session_reset(h->l.session);
        h->last = (struct answer){0};
        ui_say(&h->c->ui, "forgotten");
    } else {
        FILE *to = h->c->json ? stderr : stdout;
        if (strcmp(line, "/help") != 0) {
            (void)fprintf(to, "unknown command %s\n", line);
        }
        (void)fputs(commands_help, to);
    }
    (void)fflush(stdout);
    return s;
}

static enum status loop(struct chat *h, struct err *e)
{
    enum status s = OK;
    for (bool on = true; on && !s;) {
        char *line = next_line(h);
        if (!line || cli_cancel) {
            on = false;
        } else {
            char *text = line + strspn(line, " \t");
            if (*text == '/') {
                s = command(h, text, &on, e);
            } else if (*text) {
                s = one_turn(h, text, e);
            }
        }
        free(line);
    }
    return s ? s : cli_cancel ? err_set(e, ERR_CANCELLED, NULL, "stopped") : OK;
}

static void begin_editing(struct chat *h)
{
    h->editing = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !h->c->json;
    if (!h->editing) {
        return;
    }
    h->history_path = arena_printf(&h->c->arena, "%s/chat_history", h->c->home);
    (void)rl_initialize();
    using_history();
    stifle_history(HISTORY_LINES);
    if (h->history_path) {
        (void)read_history(h->history_path);
    }
    printf("Ask about what is in %s. /help lists the commands.\n\n", h->c->home);
}

enum status cmd_chat(struct cli *c, struct err *e)
{
    struct chat h = {.c = c, .history = json_array()};
    h.printer.c = c;
    enum status s = answer_options_read(c, &h.opt, e);
    if (!s) {
        s = cli_library_open(c, true, &h.l, e);
    }
    if (!s) {
        h.opt.on_text = c->json ? NULL : answer_print_text;
        h.opt.ctx = &h.printer;
        begin_editing(&h);
        s = loop(&h, e);
    }
    if (h.editing && h.history_path) {
        (void)write_history(h.history_path); /* a convenience: a full disk must not be an error */
    }
    json_decref(h.history);
    arena_reset(&h.turn);
    cli_library_close(&h.l);
    return s;
}

/* The terminal: colours, progress bars, sizes and times for people.
 *
 * stdout is data, stderr is talk. Colours appear only on a terminal that can show them (NO_COLOR
 * and TERM=dumb are honoured), progress only when stderr is a terminal: in a pipe hearth is quiet.
 * One thread. */
#ifndef HEARTH_CLI_UI_H
#define HEARTH_CLI_UI_H

#include <stdio.h>

#include "base/mem.h"

struct ui {
    bool color_out, color_err; /* escape sequences on stdout, stderr */
    bool live;                 /* stderr shows progress, redrawn in place */
    bool plain;                /* progress as a line every few seconds: for logs */
    bool quiet;                /* no talk at all but errors and warnings */
};

/* color: the --color option; json: stdout is for programs, so it gets no colour; progress: "auto",
 * "plain" or "none". False: it is something else. */
bool ui_init(struct ui *ui, bool color, bool quiet, bool json, const char *progress);

enum ui_style { UI_RESET, UI_BOLD, UI_DIM, UI_RED, UI_GREEN, UI_YELLOW, UI_CYAN, UI_STYLES };
/* The escape sequence, or "" when the stream (stdout or stderr) gets no colours. */
const char *ui_style(const struct ui *ui, const FILE *stream, enum ui_style style);

/* Columns of the terminal behind the stream; 80 when there is none. */
int ui_columns(FILE *stream);

/* A line of talk on stderr; nothing when quiet. */
void ui_say(const struct ui *ui, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "warning: ..." on stderr, quiet or not. */
void ui_warn(const struct ui *ui, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Progress of long work: a bar with rate and remaining time, drawn at most ten times a second. */
struct ui_progress {
    const struct ui *ui;
    const char *label, *unit; /* "indexing", "files" */
    int64_t start_ns, drawn_ns;
    int64_t first; /* done at the start, so that the rate counts only this run */
    bool shown;
};
void ui_progress_init(struct ui_progress *p, const struct ui *ui, const char *label,
                      const char *unit);
/* detail (may be NULL) stands at the end of the line, cut to what fits. */
void ui_progress_update(struct ui_progress *p, int64_t done, int64_t total, const char *detail);
void ui_progress_clear(struct ui_progress *p); /* takes the line away, e.g. to print another */

/* Texts for people; each returns `out`. */
enum { UI_TEXT = 48 };
const char *ui_bytes(char out[UI_TEXT], int64_t bytes); /* "94.1 MB" (powers of 1000) */
const char *ui_ms(char out[UI_TEXT], double ms);    /* "0.4 ms", "812 ms", "1.24 s", "3 min 5 s" */
const char *ui_count(char out[UI_TEXT], int64_t n); /* "12,345" */
const char *ui_ago(char out[UI_TEXT], int64_t wall_ns); /* "3 minutes ago", "2026-11-21" */

/* Appends text to *out broken at spaces so that lines stay inside `columns`, each after the first
 * indented by `indent`; `at` is the column the first line starts in. */
void ui_wrap(struct buf *out, const char *text, size_t n, int at, int indent, int columns);

#endif

/* The terminal: see ui.h. No curses: a carriage return and eight escape sequences are all that a
 * progress line needs. */
#include "cli/ui.h"
#include "base/sys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

static bool is_terminal(FILE *stream)
{
    const char *term = getenv("TERM");
    return isatty(fileno(stream)) && !(term && strcmp(term, "dumb") == 0);
}

bool ui_init(struct ui *ui, bool color, bool quiet, bool json, const char *progress)
{
    const char *no = getenv("NO_COLOR"); /* https://no-color.org: set and not empty */
    color = color && !(no && *no);
    ui->color_out = color && !json && is_terminal(stdout);
    ui->color_err = color && is_terminal(stderr);
    ui->live = !quiet && is_terminal(stderr) && strcmp(progress, "auto") == 0;
    ui->plain = !quiet && strcmp(progress, "plain") == 0;
    ui->quiet = quiet;
    return ui->live || ui->plain || strcmp(progress, "auto") == 0 || strcmp(progress, "none") == 0;
}

const char *ui_style(const struct ui *ui, const FILE *stream, enum ui_style style)
{
    static const char *const codes[UI_STYLES] = {
        [UI_RESET] = "\x1b[0m", [UI_BOLD] = "\x1b[1m",   [UI_DIM] = "\x1b[2m",
        [UI_RED] = "\x1b[31m",  [UI_GREEN] = "\x1b[32m", [UI_YELLOW] = "\x1b[33m",
        [UI_CYAN] = "\x1b[36m",
    };
    bool on = stream == stdout ? ui->color_out : ui->color_err;
    return on ? codes[style] : "";
}

int ui_columns(FILE *stream)
{
    struct winsize size;
    bool known = ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20;
    return known ? size.ws_col : 80;
}

void ui_say(const struct ui *ui, const char *fmt, ...)
{
    if (ui->quiet) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

void ui_warn(const struct ui *ui, const char *fmt, ...)
{
    (void)fprintf(stderr, "%swarning:%s ", ui_style(ui, stderr, UI_YELLOW),
                  ui_style(ui, stderr, UI_RESET));
    va_list ap;
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

/* ------------------------------------------------------------------ progress */

void ui_progress_init(struct ui_progress *p, const struct ui *ui, const char *label,
                      const char *unit)
{
    *p = (struct ui_progress){.ui = ui, .label = label, .unit = unit, .start_ns = clock_ns()};
}

enum { BAR = 24 };
static const int64_t REDRAW_NS = 100000000, PLAIN_NS = 5000000000;

static void draw_bar(struct buf *line, const struct ui *ui, int64_t done, int64_t total)
{
    int full = total > 0 ? (int)((double)done / (double)total * BAR) : 0;
    buf_puts(line, ui_style(ui, stderr, UI_GREEN));
    for (int i = 0; i < BAR; i++) {
        if (i == full) {
            buf_puts(line, ui_style(ui, stderr, UI_RESET));
            buf_puts(line, ui_style(ui, stderr, UI_DIM));
        }
        buf_puts(line, i < full ? "\u2501" : "\u2500");
    }
    buf_puts(line, ui_style(ui, stderr, UI_RESET));
}

static void put_numbers(struct buf *text, const struct ui_progress *p, int64_t now, int64_t done,
                        int64_t total)
{
    double seconds = (double)(now - p->start_ns) * 1e-9;
    double rate = seconds > 0 ? (double)(done - p->first) / seconds : 0;
    char a[UI_TEXT], b[UI_TEXT];
    buf_printf(text, " %s/%s %s", ui_count(a, done), ui_count(b, total), p->unit);
    if (seconds > 0.5 && rate > 0) {
        buf_printf(text, rate < 10 ? ", %.1f/s" : ", %.0f/s", rate);
        if (done < total) {
            buf_printf(text, ", %s left", ui_ms(a, (double)(total - done) / rate * 1000));
        }
    }
}

static void put_detail(struct buf *text, const struct ui *ui, const char *detail, int room)
{
    size_t n = strlen(detail);
    bool cut = n > (size_t)room; /* the end of a path says more than its beginning */
    buf_printf(text, "  %s%s%s%s", ui_style(ui, stderr, UI_DIM), cut ? "..." : "",
               cut ? detail + n - (size_t)room + 3 : detail, ui_style(ui, stderr, UI_RESET));
}

void ui_progress_update(struct ui_progress *p, int64_t done, int64_t total, const char *detail)
{
    const struct ui *ui = p->ui;
    int64_t now = clock_ns();
    int64_t since = now - (p->drawn_ns ? p->drawn_ns : ui->plain ? p->start_ns : 0);
    if (!(ui->live || ui->plain) || since < (ui->plain ? PLAIN_NS : REDRAW_NS)) {
        return;
    }
    p->drawn_ns = now;
    struct buf text = {0}, line = {0};
    put_numbers(&text, p, now, done, total);
    if (ui->plain) {
        (void)fprintf(stderr, "%s%s\n", p->label, text.data ? text.data : "");
        buf_fini(&text);
        return;
    }
    int room = ui_columns(stderr) - (int)strlen(p->label) - 2 - BAR - (int)text.len - 2;
    if (detail && room > 8) {
        put_detail(&text, ui, detail, room);
    }
    buf_printf(&line, "\r\x1b[K%s ", p->label);
    draw_bar(&line, ui, done, total);
    if (!line.failed && !text.failed) {
        (void)fprintf(stderr, "%s%s", line.data, text.data);
        (void)fflush(stderr);
        p->shown = true;
    }
    buf_fini(&line);
    buf_fini(&text);
}

void ui_progress_clear(struct ui_progress *p)
{
    if (p->shown) {
        (void)fputs("\r\x1b[K", stderr);
        (void)fflush(stderr);
        p->shown = false;
    }
}

/* ------------------------------------------------------------------ texts */

const char *ui_bytes(char out[UI_TEXT], int64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof units / sizeof *units) {
        v /= 1000;
        u++;
    }
    (void)snprintf(out, UI_TEXT, u && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

const char *ui_ms(char out[UI_TEXT], double ms)
{
    if (ms < 9.95) {
        (void)snprintf(out, UI_TEXT, "%.1f ms", ms);
    } else if (ms < 999.5) {
        (void)snprintf(out, UI_TEXT, "%.0f ms", ms);
    } else if (ms < 9995) {
        (void)snprintf(out, UI_TEXT, "%.2f s", ms / 1000);
    } else if (ms < 99500) {
        (void)snprintf(out, UI_TEXT, "%.0f s", ms / 1000);
    } else {
        long s = ms < 1e12 ? (long)(ms / 1000 + 0.5) : 999999999;
        if (s < 3600) {
            (void)snprintf(out, UI_TEXT, "%ld min %ld s", s / 60, s % 60);
        } else {
            (void)snprintf(out, UI_TEXT, "%ld h %ld min", s / 3600, s / 60 % 60);
        }
    }
    return out;
}

const char *ui_count(char out[UI_TEXT], int64_t n)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n);
    int at = 0;
    for (int i = 0; i < len; i++) {
        bool group = i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-';
        if (group) {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

const char *ui_ago(char out[UI_TEXT], int64_t wall)
{
    int64_t s = (wall_ns() - wall) / 1000000000;
    if (wall <= 0) {
        (void)snprintf(out, UI_TEXT, "never");
    } else if (s < 0 || s >= 30 * 86400) {
        time_t t = (time_t)(wall / 1000000000);
        struct tm tm;
        if (!localtime_r(&t, &tm) || strftime(out, UI_TEXT, "%Y-%m-%d", &tm) == 0) {
            (void)snprintf(out, UI_TEXT, "?");
        }
    } else {
        static const struct {
            int64_t seconds;
            const char *unit;
        } steps[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
        size_t i = 0;
        while (i < 3 && s < steps[i].seconds) {
            i++;
        }
        int64_t n = s / steps[i].seconds;
        (void)snprintf(out, UI_TEXT, "%lld %s%s ago", (long long)n, steps[i].unit,
                       n == 1 ? "" : "s");
    }
    return out;
}

/* Columns that a UTF-8 word takes; bytes that are no UTF-8 count one each. */
static int word_columns(const char *p, size_t n)
{
    int columns = 0;
    while (n) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len =
            utf8proc_iterate((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, &c);
        columns += len > 0 ? utf8proc_charwidth(c) : 1;
        p += len > 0 ? len : 1;
        n -= (size_t)(len > 0 ? len : 1);
    }
    return columns;
}

void ui_wrap(struct buf *out, const char *text, size_t n, int at, int indent, int columns)
{
    bool gap = false; /* a space stands between the last word and the next */
    for (size_t i = 0; i < n;) {
        if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
            gap = gap || i > 0;
            i++;
            continue;
        }
        size_t len = 0;
        while (i + len < n && !strchr(" \n\t\r", text[i + len])) {
            len++;
        }
        int width = word_columns(text + i, len);
        if (gap && at > indent && at + 1 + width > columns) {
            buf_printf(out, "\n%*s", indent, "");
            at = indent;
        } else if (gap) {
            buf_putc(out, ' ');
            at++;
        }
        buf_put(out, text + i, len);
        at += width;
        gap = false;
        i += len;
    }
}

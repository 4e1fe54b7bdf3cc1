/* An answer on a terminal: the text as it comes, then its sources, then where the time went. */
#include "cli/library.h"

#include <string.h>

enum { MAX_COLUMNS = 100, INDENT = 4 };

static int columns(void)
{
    int n = ui_columns(stdout);
    return n > MAX_COLUMNS ? MAX_COLUMNS : n;
}

/* Pieces are whole sentences, so a word never falls between two of them. */
bool answer_print_text(void *ctx, const char *text, size_t n)
{
    struct answer_printer *p = ctx;
    struct buf out = {0};
    buf_puts(&out, p->column && n && text[0] == ' ' ? " " : "");
    size_t skip = out.len;
    ui_wrap(&out, text + skip, n - skip, p->column + (int)skip, 0, columns());
    bool ok = !out.failed && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    for (size_t i = 0; ok && i < out.len; i++) {
        bool starts = (out.data[i] & 0xc0) != 0x80;
        p->column = out.data[i] == '\n' ? 0 : p->column + (starts ? 1 : 0);
    }
    buf_fini(&out);
    return ok;
}

static void print_wrapped(const char *text)
{
    struct buf out = {0};
    ui_wrap(&out, text, strlen(text), INDENT, INDENT, columns());
    printf("%*s%s\n", INDENT, "", out.data ? out.data : "");
    buf_fini(&out);
}

void answer_print_place(const struct document *doc, const struct chunk *chunk, const char *on,
                        const char *off)
{
    bool titled = doc->title && *doc->title;
    const char *title = titled ? doc->title : doc->uri;
    const char *heading = chunk->heading ? chunk->heading : "";
    size_t n = strlen(title);
    if (strncmp(heading, title, n) == 0 && (!heading[n] || strncmp(heading + n, " > ", 3) == 0)) {
        heading += heading[n] ? n + 3 : n; /* the first heading of most pages is their title */
    }
    printf("%s%s%s%s%s", on, title, off, *heading ? " > " : "", heading);
}

static void print_citation(const struct cli *c, const struct citation *k)
{
    const char *bold = ui_style(&c->ui, stdout, UI_BOLD);
    const char *cyan = ui_style(&c->ui, stdout, UI_CYAN);
    const char *dim = ui_style(&c->ui, stdout, UI_DIM);
    const char *reset = ui_style(&c->ui, stdout, UI_RESET);
    printf("%s[%d]%s ", cyan, k->number, reset);
    answer_print_place(&k->document, &k->chunk, bold, reset);
    printf("\n");
    struct buf quote = {0};
    buf_printf(&quote, "\"%s\"", k->quote);
    print_wrapped(quote.data ? quote.data : "");
    buf_fini(&quote);
    printf("%*s%s%s", INDENT, "", dim, k->document.uri);
    if (k->page > 0) {
        printf(", page %d", k->page);
    }
    printf(", bytes %u-%u%s\n", k->start, k->end, reset);
}

void answer_print_sources(const struct cli *c, const struct answer *a)
{
    if (a->n_citations == 0) {
        printf("\nno sources\n");
        return;
    }
    printf("\n%sSources%s\n", ui_style(&c->ui, stdout, UI_BOLD),
           ui_style(&c->ui, stdout, UI_RESET));
    for (size_t i = 0; i < a->n_citations; i++) {
        print_citation(c, &a->citations[i]);
    }
}

void answer_print_refusal(const struct cli *c, const struct answer *a)
{
    printf("%sNo evidence:%s %s\n", ui_style(&c->ui, stdout, UI_YELLOW),
           ui_style(&c->ui, stdout, UI_RESET), a->reason);
    for (size_t i = 0; i < a->found.n && i < 3; i++) {
        const struct passage *p = &a->found.items[i];
        if (i == 0) {
            printf("\nNearest in the library:\n");
        }
        printf("  ");
        answer_print_place(&p->document, &p->chunk, "", "");
        printf("\n");
    }
}

void answer_print_times(const struct cli *c, const struct answer *a, double open_ms,
                        double total_ms)
{
    char t[UI_TEXT];
    printf("\n%sTime   ", ui_style(&c->ui, stdout, UI_DIM));
    if (open_ms > 0) {
        printf("open %s, ", ui_ms(t, open_ms));
    }
    for (size_t i = 0; i < a->n_stages; i++) {
        printf("%s %s, ", a->stages[i].name, ui_ms(t, a->stages[i].ms));
    }
    printf("total %s\n", ui_ms(t, total_ms));
    if (!a->refused) {
        printf("Tokens prompt %lld (passages %lld of at most %lld, %lld left out), answer %lld\n",
               (long long)a->n_prompt, (long long)a->used_tokens, (long long)a->budget_tokens,
               (long long)a->n_dropped, (long long)a->n_generated);
    }
    printf("%s", ui_style(&c->ui, stdout, UI_RESET));
}

enum status answer_options_read(struct cli *c, struct answer_options *out, struct err *e)
{
    const struct option_value *v = c->values;
    const char *order = v[O_ORDER].s;
    if (strcmp(order, "best-last") != 0 && strcmp(order, "best-first") != 0) {
        return err_set(e, ERR_USAGE, "--order", "'%s' is neither best-last nor best-first", order);
    }
    struct answer_options o = {
        .k = (size_t)v[O_K].i,
        .context_tokens = v[O_CONTEXT_TOKENS].i,
        .max_tokens = v[O_MAX_TOKENS].i,
        .order = strcmp(order, "best-last") == 0 ? CONTEXT_BEST_LAST : CONTEXT_BEST_FIRST,
        .keep_unsupported = v[O_KEEP_UNSUPPORTED].flag,
        .cancel = &cli_cancel,
    };
    enum status s = engines_sampling(c, &o.sampling, e);
    if (!s) {
        *out = o;
    }
    return s;
}

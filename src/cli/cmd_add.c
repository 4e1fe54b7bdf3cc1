/* hearth add: bring the library in line with files and folders. */
#include "cli/engines.h"
#include "ingest/sync.h"

#include <string.h>

struct adding {
    struct cli *c;
    struct ui_progress bar;
    json_t *events;     /* with --json: what happened to each file that was not skipped */
    enum status failed; /* of the last file that failed */
};

static void on_event(void *ctx, const struct sync_event *ev)
{
    struct adding *a = ctx;
    bool plan = a->c->values[O_DRY_RUN].flag;
    bool told = ev->action != SYNC_SKIPPED && ev->action != SYNC_IGNORED;
    if (ev->action == SYNC_FAILED) {
        ui_progress_clear(&a->bar);
        ui_warn(&a->c->ui, "%s: %s", ev->uri, ev->why ? ev->why->message : "failed");
        a->failed = ev->why ? ev->why->code : ERR_FORMAT;
    }
    if (told && a->c->json) {
        json_t *j = json_pack("{s:s, s:o}", "action", sync_action_name(ev->action), "uri",
                              out_text(ev->uri));
        if (ev->why) {
            (void)json_object_set_new(j, "code", json_string(status_info(ev->why->code)->name));
            (void)json_object_set_new(j, "message", out_text(ev->why->message));
        }
        (void)json_array_append_new(a->events, j);
    } else if (told && plan && ev->action != SYNC_FAILED) {
        printf("%-8s %s\n", sync_action_name(ev->action), ev->uri);
    }
    if (!a->bar.shown && ev->action == SYNC_SKIPPED) {
        a->bar.first = ev->n_done; /* skipped files would make the rate look too good */
    }
    if (ev->uri) {
        ui_progress_update(&a->bar, ev->n_done, ev->n_total, ev->uri);
    }
}

static json_t *report_json(const struct sync_report *r)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "added",
                     (json_int_t)r->n_added, "changed", (json_int_t)r->n_changed, "skipped",
                     (json_int_t)r->n_skipped, "removed", (json_int_t)r->n_removed, "failed",
                     (json_int_t)r->n_failed, "ignored", (json_int_t)r->n_ignored, "chunks",
                     (json_int_t)r->n_chunks, "tokens", (json_int_t)r->n_tokens, "pages",
                     (json_int_t)r->n_pages, "truncated", (json_int_t)r->n_truncated, "text_bytes",
                     (json_int_t)r->text_bytes);
}

static json_t *times_json(const struct sync_report *r)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "parse", r->parse_ms, "chunk", r->chunk_ms,
                     "embed", r->embed_ms, "store", r->store_ms, "total", r->total_ms);
}

static void print_report(const struct cli *c, const struct sync_report *r)
{
    char n[UI_TEXT], b[UI_TEXT], t[5][UI_TEXT];
    printf("%lld added, %lld changed, %lld removed, %lld unchanged", (long long)r->n_added,
           (long long)r->n_changed, (long long)r->n_removed, (long long)r->n_skipped);
    if (r->n_ignored) {
        printf(", %lld of other kinds passed over", (long long)r->n_ignored);
    }
    if (r->n_failed) {
        printf(", %s%lld failed%s", ui_style(&c->ui, stdout, UI_RED), (long long)r->n_failed,
               ui_style(&c->ui, stdout, UI_RESET));
    }
    printf("\n");
    if (r->n_chunks) {
        printf("%s passage%s from %s of text", ui_count(n, r->n_chunks),
               r->n_chunks == 1 ? "" : "s", ui_bytes(b, r->text_bytes));
        if (r->total_ms > 0) {
            printf(" in %s: parse %s, chunk %s, embed %s, store %s", ui_ms(t[0], r->total_ms),
                   ui_ms(t[1], r->parse_ms), ui_ms(t[2], r->chunk_ms), ui_ms(t[3], r->embed_ms),
                   ui_ms(t[4], r->store_ms));
        }
        printf("\n");
    }
    if (r->n_truncated) {
        ui_warn(&c->ui, "%lld passages were longer than the embedding model reads",
                (long long)r->n_truncated);
    }
    if (r->n_failed) {
        ui_say(&c->ui, "hearth status lists the failures with their reasons");
    }
}

/* The sources of the store, when no path was given. */
struct sources {
    struct cli *c;
    const char **paths;
    size_t n;
};

static enum status take_source(void *ctx, const char *source, int64_t n_documents, int64_t n_chunks)
{
    struct sources *s = ctx;
    (void)n_documents;
    (void)n_chunks;
    const char **grown = arena_array(&s->c->arena, s->n + 1, sizeof *grown);
    const char *copy = arena_strdup(&s->c->arena, source);
    if (!grown || !copy) {
        return ERR_MEMORY;
    }
    if (s->n) {
        memcpy(grown, s->paths, s->n * sizeof *grown);
    }
    grown[s->n++] = copy;
    s->paths = grown;
    return OK;
}

static enum status list_paths(struct cli *c, struct store *store, struct sources *out,
                              struct err *e)
{
    *out = (struct sources){.c = c};
    if (c->n_words) {
        out->paths = (const char **)(uintptr_t)c->words;
        out->n = c->n_words;
        return OK;
    }
    enum status s = store_each_source(store, take_source, out, e);
    return s        ? s
           : out->n ? OK
                    : err_set(e, ERR_USAGE, "add",
                              "needs a file or a folder: nothing was added "
                              "before, so there is nothing to bring up to date");
}

static enum status add_to(struct cli *c, struct store *store, struct engine *embedder,
                          struct err *e)
{
    struct adding a = {.c = c, .events = json_array()};
    struct sources paths;
    struct sync_report report = {0};
    struct sync_options opt = {
        .chunk = {.max_tokens = (int)c->values[O_CHUNK_TOKENS].i,
                  .overlap = c->values[O_OVERLAP].i ? (int)c->values[O_OVERLAP].i : -1},
        .dry_run = c->values[O_DRY_RUN].flag,
        .on_event = on_event,
        .ctx = &a,
        .cancel = &cli_cancel,
    };
    ui_progress_init(&a.bar, &c->ui, opt.dry_run ? "looking" : "indexing", "files");
    enum status s = list_paths(c, store, &paths, e);
    if (!s) {
        s = sync_paths(store, embedder, paths.paths, paths.n, &opt, &report, e);
    }
    ui_progress_clear(&a.bar);
    if (s == ERR_CANCELLED) {
        s = cli_hint(c, e, "what was finished is kept; the same command goes on from there");
    } else if (!s && c->json) {
        s = out_json(c,
                     json_pack("{s:b, s:o, s:O, s:o, s:o}", "dry_run", (int)opt.dry_run, "report",
                               report_json(&report), "events", a.events, "stages_ms",
                               times_json(&report), "home", out_text(c->home)),
                     e);
    } else if (!s) {
        print_report(c, &report);
    }
    json_decref(a.events);
    if (s == ERR_NOT_FOUND && !c->hint) {
        s = cli_hint(
            c, e,
            "check the name; hearth reads text, Markdown, HTML and PDF files and folders of them");
    }
    bool in_vain = report.n_added + report.n_changed + report.n_skipped + report.n_removed == 0;
    if (!s && a.failed && in_vain) { /* some failures among many files are not one of the command */
        c->reported = true;
        s = a.failed;
    }
    return s;
}

enum status cmd_add(struct cli *c, struct err *e)
{
    struct store *store = NULL;
    struct engine *embedder = NULL;
    struct store_options opt = {.write = true};
    enum status s = engines_embedder(c, NULL, &embedder, e);
    if (!s) {
        s = store_open(c->home, &opt, &store, e);
    }
    if (!s) {
        s = add_to(c, store, embedder, e);
    }
    if (s == ERR_MISMATCH && !c->hint) {
        s = cli_hint(c, e,
                     "name that model with --embed-model, make another library with --home DIR, "
                     "or empty this one with `hearth remove --all`");
    }
    store_close(store);
    engine_close(embedder);
    return s;
}

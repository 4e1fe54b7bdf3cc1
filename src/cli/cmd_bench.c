/* hearth bench: tokens per second of both phases, best and median of several runs, with what they
 * ran on. */
#include "cli/engines.h"
#include "base/sys.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_REPEATS = 100, TEXTS = 32, MAX_TEXTS = 4096, QUERIES = 30 };

struct phase {
    const char *name;
    int64_t n_tokens; /* per repeat */
    double seconds[MAX_REPEATS];
    int n;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds sorted: [0] is the best. */
static void sort_phase(struct phase *p)
{
    qsort(p->seconds, (size_t)p->n, sizeof *p->seconds, by_value);
}

static double rate(const struct phase *p, int i)
{
    return p->n && p->seconds[i] > 0 ? (double)p->n_tokens / p->seconds[i] : 0;
}

static double best(const struct phase *p)
{
    return rate(p, 0);
}

static double median(const struct phase *p)
{
    return p->n % 2 || !p->n ? rate(p, p->n / 2) : (rate(p, p->n / 2) + rate(p, p->n / 2 - 1)) / 2;
}

static enum status run_generator(struct cli *c, struct engine *en, struct phase *prompt,
                                 struct phase *gen, struct err *e)
{
    struct session *session = NULL;
    struct ui_progress bar;
    int repeats = (int)c->values[O_REPEATS].i;
    enum status s = session_new(en, &session, e);
    ui_progress_init(&bar, &c->ui, "measuring", "runs");
    for (int i = 0; !s && i < repeats; i++) {
        s = session_bench(session, prompt->n_tokens, c->values[O_DEPTH].i, gen->n_tokens,
                          &prompt->seconds[i], &gen->seconds[i], e);
        ui_progress_update(&bar, i + 1, repeats, NULL);
    }
    ui_progress_clear(&bar);
    prompt->n = prompt->n_tokens ? repeats : 0;
    gen->n = gen->n_tokens ? repeats : 0;
    session_free(session);
    return s;
}

/* The texts that an encoder is measured with: lines {"text"} of --file, or made up. */
struct texts {
    struct arena arena;
    const char **items;
    size_t *lens;
    size_t n;
};

/* TEXTS texts of --prompt tokens each, or of as many as the model reads. */
static enum status make_texts(struct cli *c, struct engine *en, struct texts *t, struct err *e)
{
    struct buf text = {0};
    size_t n_tokens = 0;
    int64_t want = c->values[O_BENCH_PROMPT].i;
    int64_t limit = engine_info(en)->n_ctx_train;
    want = limit && want > limit ? limit : want;
    enum status s = OK;
    while (!s && (int64_t)n_tokens + 2 < want) {
        buf_puts(&text, "water ");
        s = text.failed ? err_set(e, ERR_MEMORY, NULL, "no memory for a text")
                        : engine_count_tokens(en, text.data, text.len, &n_tokens, e);
    }
    const char *copy = arena_strndup(&t->arena, text.data ? text.data : "", text.len);
    for (t->n = 0; copy && t->n < TEXTS; t->n++) {
        t->items[t->n] = copy;
        t->lens[t->n] = text.len;
    }
    buf_fini(&text);
    return s;
}

static enum status read_texts(struct cli *c, const char *path, struct texts *t, struct err *e)
{
    struct buf all = {0};
    enum status s = input_read(c, path, &all, e);
    char *line = all.data;
    for (int number = 1; !s && line && *line; number++) {
        size_t n = strcspn(line, "\n");
        char place[64];
        (void)snprintf(place, sizeof place, "--file, line %d", number);
        json_t *j = NULL;
        if (t->n == MAX_TEXTS) {
            s = err_set(e, ERR_LIMIT, place, "at most %d texts are measured", MAX_TEXTS);
        } else if (n && !(s = input_json(line, n, place, &j, e))) {
            const json_t *text = json_object_get(j, "text");
            t->lens[t->n] = json_string_length(text);
            t->items[t->n] = arena_strndup(&t->arena, json_string_value(text), t->lens[t->n]);
            s = !json_is_string(text) ? err_set(e, ERR_FORMAT, place, "expected a string \"text\"")
                                      : OK;
            t->n += s ? 0 : 1;
        }
        json_decref(j);
        line += n + (line[n] ? 1 : 0);
    }
    buf_fini(&all);
    return s || t->n ? s : err_set(e, ERR_FORMAT, path, "no texts in it");
}

static enum status time_embed(struct engine *en, const struct texts *t, float *rows,
                              enum embed_role role, struct phase *p, struct err *e)
{
    struct embed_options opt = {.role = role};
    struct embed_report report = {0};
    double start = clock_ms();
    enum status s = engine_embed(en, t->items, t->lens, t->n, &opt, rows, NULL, &report, e);
    p->seconds[p->n++] = (clock_ms() - start) / 1000;
    p->n_tokens = report.n_tokens;
    return s;
}

/* An encoder: all texts in one call, and one short query alone. */
static enum status run_encoder(struct cli *c, struct engine *en, struct phase *embed,
                               struct phase *query, size_t *n_texts, struct err *e)
{
    static const char *const question = "how do I create an index concurrently in a database?";
    const char *path = c->values[O_FILE].s;
    struct texts t = {0};
    t.items = arena_array(&t.arena, MAX_TEXTS, sizeof *t.items);
    t.lens = arena_array(&t.arena, MAX_TEXTS, sizeof *t.lens);
    float *rows = mem_aligned(MAX_TEXTS * (size_t)engine_info(en)->d_model, sizeof *rows);
    const char *q = question;
    size_t q_len = strlen(question);
    struct texts one = {.items = &q, .lens = &q_len, .n = 1};
    enum status s = !t.items || !t.lens || !rows
                        ? err_set(e, ERR_MEMORY, NULL, "no memory for the embeddings")
                    : path ? read_texts(c, path, &t, e)
                           : make_texts(c, en, &t, e);
    for (int i = 0; !s && i < (int)c->values[O_REPEATS].i; i++) {
        s = time_embed(en, &t, rows, EMBED_DOCUMENT, embed, e);
    }
    for (int i = 0; !s && i < QUERIES; i++) {
        s = time_embed(en, &one, rows, EMBED_QUERY, query, e);
    }
    *n_texts = t.n;
    free(rows);
    arena_reset(&t.arena);
    return s;
}

static json_t *phase_json(const struct phase *p)
{
    json_t *runs = json_array();
    for (int i = 0; i < p->n; i++) {
        (void)json_array_append_new(runs, json_real(p->seconds[i]));
    }
    return json_pack("{s:I, s:f, s:f, s:o}", "tokens", (json_int_t)p->n_tokens, "best", best(p),
                     "median", median(p), "seconds", runs);
}

static json_t *kernels_json(const struct engine *en)
{
    json_t *list = json_array();
    const char *type, *path;
    int64_t n;
    for (size_t i = 0; engine_path_at(en, i, &type, &path, &n); i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "type", type, "path", path,
                                                    "matrices", (json_int_t)n));
    }
    return list;
}

static enum status print_json(struct cli *c, const struct engine *en, const struct phase *prompt,
                              const struct phase *gen, double load_ms, size_t n_texts,
                              struct err *e)
{
    const struct engine_info *info = engine_info(en);
    json_t *j = json_pack("{s:o, s:o, s:s, s:i, s:s, s:s, s:i, s:I, s:f, s:o, s:o}", "model",
                          out_text(info->name), "path", out_text(info->path), "architecture",
                          info->arch, "threads", info->n_threads, "isa", info->isa, "cpu",
                          cpu_features()->name, "repeats", prompt->n > gen->n ? prompt->n : gen->n,
                          "depth", (json_int_t)c->values[O_DEPTH].i, "load_ms", load_ms, "kernels",
                          kernels_json(en), prompt->name, phase_json(prompt));
    (void)json_object_set_new(j, gen->name, phase_json(gen));
    if (n_texts) {
        (void)json_object_set_new(j, "texts", json_integer((json_int_t)n_texts));
    }
    return out_json(c, j, e);
}

static void print_phase(const struct cli *c, const struct phase *p)
{
    if (p->n) {
        printf("  %-10s %6lld tokens  %s%10.1f/s best%s  %10.1f/s median of %d\n", p->name,
               (long long)p->n_tokens, ui_style(&c->ui, stdout, UI_BOLD), best(p),
               ui_style(&c->ui, stdout, UI_RESET), median(p), p->n);
    }
}

static void print_text(const struct cli *c, const struct engine *en, const struct phase *prompt,
                       const struct phase *gen, double load_ms)
{
    const struct engine_info *info = engine_info(en);
    char a[UI_TEXT], b[UI_TEXT];
    printf("%s%s%s, %s, %s\n", ui_style(&c->ui, stdout, UI_BOLD), info->name,
           ui_style(&c->ui, stdout, UI_RESET), info->arch, ui_bytes(a, (int64_t)info->file_bytes));
    printf("  %s, %s, %d threads, opened in %s\n", cpu_features()->name, info->isa, info->n_threads,
           ui_ms(b, load_ms));
    const char *type, *path;
    int64_t n;
    for (size_t i = 0; engine_path_at(en, i, &type, &path, &n); i++) {
        printf("  %-6s %4lld matrices: %s\n", type, (long long)n, path);
    }
    print_phase(c, prompt);
    print_phase(c, gen);
}

enum status cmd_bench(struct cli *c, struct err *e)
{
    int64_t n_prompt = c->values[O_BENCH_PROMPT].i, n_gen = c->values[O_BENCH_GEN].i;
    int64_t deep = c->values[O_DEPTH].i + n_gen;
    int64_t n_ctx = n_prompt > deep ? n_prompt : deep;
    struct phase prompt = {.name = "prompt", .n_tokens = n_prompt};
    struct phase gen = {.name = "generate", .n_tokens = n_gen};
    struct engine *en = NULL;
    size_t n_texts = 0;
    if (n_prompt + n_gen == 0) {
        return err_set(e, ERR_USAGE, "--prompt", "nothing to measure: --prompt and --gen are 0");
    }
    double start = clock_ms();
    enum status s = engines_any(c, c->values[O_CTX].i > n_ctx ? c->values[O_CTX].i : n_ctx, &en, e);
    double load_ms = clock_ms() - start;
    if (!s && engine_info(en)->generates) {
        s = run_generator(c, en, &prompt, &gen, e);
    } else if (!s) {
        prompt = (struct phase){.name = "embed"};
        gen = (struct phase){.name = "query"};
        s = run_encoder(c, en, &prompt, &gen, &n_texts, e);
    }
    if (!s) {
        sort_phase(&prompt);
        sort_phase(&gen);
        if (c->json) {
            s = print_json(c, en, &prompt, &gen, load_ms, n_texts, e);
        } else {
            print_text(c, en, &prompt, &gen, load_ms);
        }
    }
    engine_close(en);
    return s;
}

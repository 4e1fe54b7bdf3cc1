/* hearth bench: tokens per second of both phases, best and median of several runs, beside what the
 * machine allows. Every test is a row; lists of lengths and depths give rows on one opened model.
 */
#include "cli/bench.h"
#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST = 16, WARM_TOKENS = 32, WARM_STEPS = 2, MAX_TOKENS = 1 << 24 };
/* Beside each row, twice: long enough for a pass or more of all memory, short beside the row. */
#define MEMORY_SECONDS 0.15
#define SET_SECONDS 0.05
#define PRODUCTS_SECONDS 0.05

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double rate(const struct bench_row *r, int i)
{
    return r->n && r->seconds[i] > 0 ? (double)r->n_tokens / r->seconds[i] : 0;
}

double bench_best(const struct bench_row *r)
{
    return rate(r, 0);
}

double bench_median(const struct bench_row *r)
{
    return r->n % 2 || !r->n ? rate(r, r->n / 2) : (rate(r, r->n / 2) + rate(r, r->n / 2 - 1)) / 2;
}

bool bench_is_reading(const struct bench_row *r)
{
    return r->bytes * r->ops_rate > r->ops * r->set_rate;
}

double bench_ceiling(const struct bench_row *r)
{
    double least = bench_is_reading(r) ? r->bytes / r->set_rate : r->ops / r->ops_rate;
    return least > 0 ? (double)r->n_tokens / least : 0;
}

/* What a run costs at least. Decoding reads everything anew for each token, a prompt and a batch of
 * texts once. */
static void set_cost(const struct bench *b, struct bench_row *r)
{
    const struct engine_cost *c = &b->cost;
    double n = (double)r->n_tokens, weights = (double)(c->layer_bytes + c->head_bytes);
    bool steps = strcmp(r->test, "generate") == 0;
    double seen = (double)r->depth + (n + 1) / 2; /* positions that a step attends to, on average */
    r->ops = n * (double)c->token_ops + (steps ? n : 1) * (double)c->head_ops;
    r->bytes = steps ? n * (weights + seen * (double)c->kv_token_bytes) : weights;
}

static void probe_row(const struct bench *b, struct bench_row *r)
{
    double one = strcmp(r->test, "generate") == 0 ? r->bytes / (double)r->n_tokens : r->bytes;
    double memory = probe_read(b->probe, 0, MEMORY_SECONDS);
    double set = one < (double)probe_bytes(b->probe)
                     ? probe_read(b->probe, (size_t)one, SET_SECONDS)
                     : memory;
    double ops = probe_products(b->probe, PRODUCTS_SECONDS);
    r->memory_rate = memory > r->memory_rate ? memory : r->memory_rate;
    r->set_rate = set > r->set_rate ? set : r->set_rate;
    r->ops_rate = ops > r->ops_rate ? ops : r->ops_rate;
}

struct bench_row *bench_row_begin(struct bench *b, const char *test, int64_t n_tokens,
                                  int64_t depth)
{
    if (b->n_rows == BENCH_MAX_ROWS) {
        return NULL;
    }
    struct bench_row *r = &b->rows[b->n_rows++];
    *r = (struct bench_row){.test = test, .n_tokens = n_tokens, .depth = depth};
    set_cost(b, r);
    probe_row(b, r);
    return r;
}

void bench_row_end(struct bench *b, struct bench_row *r)
{
    probe_row(b, r);
    qsort(r->seconds, (size_t)r->n, sizeof *r->seconds, by_value);
}

struct list {
    int64_t items[MAX_LIST];
    size_t n;
};

/* "512,4096" */
static enum status read_list(struct cli *c, enum option_id id, struct list *out, struct err *e)
{
    const char *text = c->values[id].s;
    char place[32];
    (void)snprintf(place, sizeof place, "--%s", option_table[id].name);
    *out = (struct list){0};
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long long v = strtoll(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || v > MAX_TOKENS || (*end && *end != ',')) {
            return err_set(e, ERR_USAGE, place,
                           "'%s' is no number from 0 to %d, and no list of such like 512,4096",
                           text, MAX_TOKENS);
        }
        if (out->n == MAX_LIST) {
            return err_set(e, ERR_USAGE, place, "at most %d numbers", MAX_LIST);
        }
        out->items[out->n++] = v;
        if (!*end) {
            return OK;
        }
        at = end;
    }
}

/* The numbers that are not 0: a test of no tokens is none. */
static void drop_zeros(struct list *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->items[i]) {
            l->items[n++] = l->items[i];
        }
    }
    l->n = n;
}

static int64_t largest(const struct list *l)
{
    int64_t most = 0;
    for (size_t i = 0; i < l->n; i++) {
        most = l->items[i] > most ? l->items[i] : most;
    }
    return most;
}

struct plan {
    struct list prompt, gen, depth;
};

static enum status read_plan(struct cli *c, struct plan *p, struct err *e)
{
    enum status s;
    if ((s = read_list(c, O_BENCH_PROMPT, &p->prompt, e)) ||
        (s = read_list(c, O_BENCH_GEN, &p->gen, e)) || (s = read_list(c, O_DEPTH, &p->depth, e))) {
        return s;
    }
    drop_zeros(&p->prompt);
    drop_zeros(&p->gen);
    return p->prompt.n + p->gen.n
               ? OK
               : err_set(e, ERR_USAGE, "--prompt", "nothing to measure: --prompt and --gen are 0");
}

/* Pages come in, threads wake, and the KV cache is touched before anything counts. */
static enum status warm_up(struct session *session, struct err *e)
{
    double seconds;
    enum status s = session_bench_prompt(session, 0, WARM_TOKENS, &seconds, e);
    return s ? s : session_bench_steps(session, WARM_TOKENS, WARM_STEPS, &seconds, e);
}

static enum status run_row(struct bench *b, struct session *session, const char *test,
                           int64_t n_tokens, int64_t depth, struct ui_progress *bar, struct err *e)
{
    bool steps = strcmp(test, "generate") == 0;
    int repeats = (int)b->c->values[O_REPEATS].i;
    double seconds;
    /* The way to a depth is long: done before the machine is measured. */
    enum status s = depth ? session_bench_steps(session, depth, 1, &seconds, e) : OK;
    struct bench_row *r = s ? NULL : bench_row_begin(b, test, n_tokens, depth);
    for (int i = 0; !s && r && i < repeats; i++) {
        s = steps ? session_bench_steps(session, depth, n_tokens, &r->seconds[i], e)
                  : session_bench_prompt(session, depth, n_tokens, &r->seconds[i], e);
        r->n++;
        ui_progress_update(bar, i + 1, repeats, test);
    }
    if (!s && r) {
        bench_row_end(b, r);
    }
    return s;
}

static enum status run_generator(struct bench *b, const struct plan *p, struct err *e)
{
    struct session *session = NULL;
    struct ui_progress bar;
    enum status s = session_new(b->en, &session, e);
    ui_progress_init(&bar, &b->c->ui, "measuring", "runs");
    s = s ? s : warm_up(session, e);
    for (size_t d = 0; !s && d < p->depth.n; d++) {
        for (size_t i = 0; !s && i < p->prompt.n; i++) {
            s = run_row(b, session, "prompt", p->prompt.items[i], p->depth.items[d], &bar, e);
        }
        for (size_t i = 0; !s && i < p->gen.n; i++) {
            s = run_row(b, session, "generate", p->gen.items[i], p->depth.items[d], &bar, e);
        }
    }
    ui_progress_clear(&bar);
    session_free(session);
    return s;
}

static enum status open_bench(struct bench *b, const struct plan *p, struct err *e)
{
    int64_t n_ctx = largest(&p->prompt) > largest(&p->gen) ? largest(&p->prompt) : largest(&p->gen);
    n_ctx += largest(&p->depth);
    n_ctx = n_ctx > WARM_TOKENS + WARM_STEPS ? n_ctx : WARM_TOKENS + WARM_STEPS;
    n_ctx = b->c->values[O_CTX].i > n_ctx ? b->c->values[O_CTX].i : n_ctx;
    b->rows = arena_array(&b->c->arena, BENCH_MAX_ROWS, sizeof *b->rows);
    if (!b->rows) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the measurements");
    }
    /* Before --pin ties this thread to a core, which threads made later would inherit. */
    enum status s = team_open((int)b->c->values[O_THREADS].i, 0, &b->team, e);
    double start = clock_ms();
    s = s ? s : engines_any(b->c, n_ctx, &b->en, e);
    b->load_ms = clock_ms() - start;
    if (s) {
        return s;
    }
    engine_settle(b->en);
    engine_cost(b->en, &b->cost);
    return probe_open(b->team, 0, &b->probe, e);
}

enum status cmd_bench(struct cli *c, struct err *e)
{
    struct bench b = {.c = c};
    struct plan plan;
    enum status s = read_plan(c, &plan, e);
    if (!s && !(s = open_bench(&b, &plan, e))) {
        s = engine_info(b.en)->generates ? run_generator(&b, &plan, e)
                                         : bench_encoder(&b, plan.prompt.items, plan.prompt.n, e);
    }
    if (!s && c->json) {
        s = out_json(c, bench_json(&b), e);
    } else if (!s) {
        bench_print(&b);
    }
    probe_close(b.probe);
    team_close(b.team);
    engine_close(b.en);
    return s;
}

/* How measurements are shown: a table for people, JSON for programs. */
#include "cli/bench.h"
#include "base/sys.h"

#include <stdlib.h>

static double load_average(void)
{
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : -1;
}

static json_t *kernels_json(const struct engine *en)
{
    json_t *list = json_array();
    const char *type, *path;
    int64_t n;
    for (size_t i = 0; engine_path_at(en, i, &type, &path, &n); i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b}", "type", type, "path",
                                                    path, "matrices", (json_int_t)n, "plain",
                                                    engine_path_is_plain(path)));
    }
    return list;
}

static json_t *row_json(const struct bench_row *r)
{
    json_t *runs = json_array();
    for (int i = 0; i < r->n; i++) {
        (void)json_array_append_new(runs, json_real(r->seconds[i]));
    }
    double ceiling = bench_ceiling(r);
    json_t *j = json_pack("{s:s, s:I, s:I, s:f, s:f, s:o, s:f, s:f, s:s}", "test", r->test,
                          "tokens", (json_int_t)r->n_tokens, "depth", (json_int_t)r->depth, "best",
                          bench_best(r), "median", bench_median(r), "seconds", runs, "ceiling",
                          ceiling, "share", ceiling > 0 ? bench_best(r) / ceiling : 0, "limit",
                          bench_is_reading(r) ? "reading" : "products");
    (void)json_object_update_new(j, json_pack("{s:f, s:f, s:f, s:f, s:f}", "operations", r->ops,
                                              "bytes", r->bytes, "memory_bytes_s", r->memory_rate,
                                              "set_bytes_s", r->set_rate, "operations_s",
                                              r->ops_rate));
    if (r->n_texts) {
        (void)json_object_set_new(j, "texts", json_integer((json_int_t)r->n_texts));
    }
    return j;
}

json_t *bench_json(const struct bench *b)
{
    const struct engine_info *info = engine_info(b->en);
    json_t *rows = json_array();
    for (size_t i = 0; i < b->n_rows; i++) {
        (void)json_array_append_new(rows, row_json(&b->rows[i]));
    }
    return json_pack("{s:o, s:o, s:s, s:i, s:b, s:s, s:s, s:s?, s:f, s:o, s:I, s:f, s:o, s:o}",
                     "model", out_text(info->name), "path", out_text(info->path), "architecture",
                     info->arch, "threads", info->n_threads, "pinned", b->c->values[O_PIN].flag,
                     "isa", info->isa, "cpu", cpu_features()->name, "kv_type", info->kv_type,
                     "load_ms", b->load_ms, "opening", engines_opening_json(b->en), "probe_bytes",
                     (json_int_t)probe_bytes(b->probe), "load_average", load_average(), "kernels",
                     kernels_json(b->en), "rows", rows);
}

static void print_kernels(const struct bench *b)
{
    const struct ui *ui = &b->c->ui;
    const char *type, *path;
    int64_t n;
    for (size_t i = 0; engine_path_at(b->en, i, &type, &path, &n); i++) {
        bool plain = engine_path_is_plain(path);
        printf("  %-7s %4lld matri%s  %s%s%s%s\n", type, (long long)n,
               n == 1 ? "x:  " : "ces:", ui_style(ui, stdout, plain ? UI_YELLOW : UI_RESET), path,
               plain ? " (slow: no packed path)" : "", ui_style(ui, stdout, UI_RESET));
    }
}

static void print_row(const struct bench *b, const struct bench_row *r)
{
    const struct ui *ui = &b->c->ui;
    char ceiling[96];
    if (bench_is_reading(r)) {
        (void)snprintf(ceiling, sizeof ceiling, "reading %.1f MB at %.1f GB/s (memory %.1f)",
                       r->bytes * 1e-6, r->set_rate * 1e-9, r->memory_rate * 1e-9);
    } else {
        (void)snprintf(ceiling, sizeof ceiling, "%.1f G operations at %.3f T/s", r->ops * 1e-9,
                       r->ops_rate * 1e-12);
    }
    printf("  %-9s %7lld %7lld %s%10.1f%s %10.1f %6.1f %%  %s", r->test, (long long)r->n_tokens,
           (long long)r->depth, ui_style(ui, stdout, UI_BOLD), bench_best(r),
           ui_style(ui, stdout, UI_RESET), bench_median(r), 100 * bench_best(r) / bench_ceiling(r),
           ceiling);
    if (r->n_texts > 1) {
        printf("; %.1f texts/s", (double)r->n_texts / r->seconds[0]);
    } else if (r->n_texts == 1) {
        printf("; %.3f ms at the median", 1000 * (double)r->n_tokens / bench_median(r));
    }
    (void)putchar('\n');
}

void bench_print(const struct bench *b)
{
    const struct ui *ui = &b->c->ui;
    const struct engine_info *info = engine_info(b->en);
    char size[UI_TEXT], opened[UI_TEXT];
    printf("%s%s%s, %s, %s\n", ui_style(ui, stdout, UI_BOLD), info->name,
           ui_style(ui, stdout, UI_RESET), info->arch, ui_bytes(size, (int64_t)info->file_bytes));
    printf("  %s, %s, %d thread%s, opened in %s (weights: %s)", cpu_features()->name, info->isa,
           info->n_threads, info->n_threads == 1 ? "" : "s", ui_ms(opened, b->load_ms),
           engine_opening(b->en).weights);
    if (info->kv_type) {
        printf(", keys and values in %s", info->kv_type);
    }
    printf(", load average %.1f\n", load_average());
    print_kernels(b);
    printf("  %-9s %7s %7s %10s %10s %8s  %s\n", "test", "tokens", "depth", "best/s", "median/s",
           "of limit", "limit");
    for (size_t i = 0; i < b->n_rows; i++) {
        print_row(b, &b->rows[i]);
    }
}

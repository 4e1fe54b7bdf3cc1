/* What the files of `hearth bench` share: rows of measurements and how they are shown. */
#ifndef HEARTH_CLI_BENCH_H
#define HEARTH_CLI_BENCH_H

#include "cli/engines.h"
#include "tensor/probe.h"

enum { BENCH_MAX_REPEATS = 100, BENCH_MAX_ROWS = 512 };

/* One test, measured several times. */
struct bench_row {
    const char *test;                  /* "prompt", "generate", "embed", "query", "rerank" */
    int64_t n_tokens, depth, n_texts;  /* of one run; depth: tokens there before; texts: embed */
    double seconds[BENCH_MAX_REPEATS]; /* sorted once the row is finished */
    int n;
    double ops, bytes; /* the least that a run does and reads (engine_cost) */
    /* The machine beside this row, best of before and after: bytes per second from memory and over
     * as many bytes as the row goes through (perhaps cached), operations per second. */
    double memory_rate, set_rate, ops_rate;
};

struct bench {
    struct cli *c;
    struct engine *en;
    struct engine_cost cost;
    struct team *team; /* of the probe: the engine's own sleeps meanwhile */
    struct probe *probe;
    double load_ms;
    struct bench_row *rows; /* in the command's arena */
    size_t n_rows;
};

/* Begins a row and measures the machine; NULL when there are too many. */
struct bench_row *bench_row_begin(struct bench *b, const char *test, int64_t n_tokens,
                                  int64_t depth);
/* Measures the machine again; sorts. */
void bench_row_end(struct bench *b, struct bench_row *r);

double bench_best(const struct bench_row *r);     /* tokens per second */
double bench_median(const struct bench_row *r);   /* the same */
double bench_ceiling(const struct bench_row *r);  /* tokens per second that the machine allows */
bool bench_is_reading(const struct bench_row *r); /* the ceiling is memory, not arithmetic */

/* ---- bench_encoder.c: rows of an embedding model */
MUST_CHECK enum status bench_encoder(struct bench *b, const int64_t *lengths, size_t n,
                                     struct err *e);

/* ---- bench_print.c */
void bench_print(const struct bench *b);
json_t *bench_json(const struct bench *b); /* new reference; NULL: no memory */

#endif

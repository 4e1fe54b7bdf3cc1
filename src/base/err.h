/* Status codes and error detail: how every fallible function of hearth reports.
 *
 * A fallible function returns `enum status` (OK is 0) and leaves its outputs untouched on failure.
 * The detail goes into a caller-owned `struct err`: the lowest layer that knows the file, key or
 * offset calls err_set(); callers only err_prefix(). A NULL `struct err *` is allowed everywhere
 * and means "the code is enough". Nothing below src/cli prints or exits. */
#ifndef HEARTH_BASE_ERR_H
#define HEARTH_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum status {
    OK = 0,
    ERR_USAGE,       /* the caller's words: unknown option, missing argument, value out of range */
    ERR_NOT_FOUND,   /* no such file, model, collection, document */
    ERR_IO,          /* the operating system refused a read or write */
    ERR_NO_SPACE,    /* disk or quota full */
    ERR_FORMAT,      /* a file is damaged or lies about itself */
    ERR_UNSUPPORTED, /* well-formed, but a kind that this program does not do */
    ERR_LIMIT,       /* a stated limit (bytes, depth, count, time) was exceeded */
    ERR_MEMORY,      /* allocation failed */
    ERR_BUSY,        /* another process holds it */
    ERR_MISMATCH, /* two things that must agree do not: index and embedding model, schema version */
    ERR_CONTEXT,  /* the prompt does not fit the model's context */
    ERR_NO_EVIDENCE, /* nothing relevant was found: a typed refusal, not a failure of the program */
    ERR_CANCELLED,   /* the user or the client went away */
    ERR_INTERNAL,    /* our own mistake */
    STATUS_COUNT
};

struct status_info {
    const char *name; /* stable, for --json and APIs: "not_found" */
    const char *text; /* for people: "not found" */
    int http;
    int exit_code;
};

struct err {
    enum status code;
    char place[256]; /* file, file:offset, tensor, key; "" when there is none */
    char message[768];
};

/* One row per code; never NULL (an unknown code gives the row of ERR_INTERNAL). */
const struct status_info *status_info(enum status code);

/* Fills *e (if not NULL) and returns `code`, so that `return err_set(...)` reads well. `place` may
 * be NULL. Long texts end in "...". */
enum status err_set(struct err *e, enum status code, const char *place, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* As err_set, with ": " and strerror(errno_value) added; picks ERR_NOT_FOUND, ERR_NO_SPACE,
 * ERR_MEMORY or ERR_IO from it. */
enum status err_errno(struct err *e, int errno_value, const char *place, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Puts "prefix: " before the message; returns e->code (ERR_INTERNAL when e is NULL). */
enum status err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif

/* Status codes and error detail. One table row per code is the only place where texts, HTTP
 * statuses and exit codes are kept. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct status_info infos[STATUS_COUNT] = {
    [OK] = {"ok", "ok", 200, 0},
    [ERR_USAGE] = {"usage", "wrong usage", 400, 2},
    [ERR_NOT_FOUND] = {"not_found", "not found", 404, 3},
    [ERR_IO] = {"io", "input or output failed", 500, 4},
    [ERR_NO_SPACE] = {"no_space", "no space left", 507, 5},
    [ERR_FORMAT] = {"format", "damaged or not what it claims to be", 422, 6},
    [ERR_UNSUPPORTED] = {"unsupported", "not supported", 501, 7},
    [ERR_LIMIT] = {"limit", "limit exceeded", 413, 8},
    [ERR_MEMORY] = {"memory", "out of memory", 503, 9},
    [ERR_BUSY] = {"busy", "in use by another process", 409, 10},
    [ERR_MISMATCH] = {"mismatch", "does not match", 409, 11},
    [ERR_CONTEXT] = {"context_length_exceeded", "does not fit the context", 400, 12},
    [ERR_NO_EVIDENCE] = {"no_evidence", "no evidence found", 200, 13},
    [ERR_CANCELLED] = {"cancelled", "cancelled", 499, 130},
    [ERR_INTERNAL] = {"internal", "internal error", 500, 70},
};

const struct status_info *status_info(enum status code)
{
    if ((int)code < 0 || code >= STATUS_COUNT) {
        code = ERR_INTERNAL;
    }
    return &infos[code];
}

static void put(char *dst, size_t cap, const char *fmt, va_list ap)
{
    int n = vsnprintf(dst, cap, fmt, ap);
    if (n >= 0 && (size_t)n >= cap) {
        memcpy(dst + cap - 4, "...", 4);
    }
}

static void put_place(struct err *e, const char *place)
{
    size_t n = place ? strlen(place) : 0;
    if (n < sizeof e->place) {
        memcpy(e->place, place ? place : "", n + 1);
    } else { /* the end of a path says more than its beginning */
        memcpy(e->place, "...", 3);
        memcpy(e->place + 3, place + n - (sizeof e->place - 4), sizeof e->place - 3);
    }
}

enum status err_set(struct err *e, enum status code, const char *place, const char *fmt, ...)
{
    if (e) {
        e->code = code;
        put_place(e, place);
        va_list ap;
        va_start(ap, fmt);
        put(e->message, sizeof e->message, fmt, ap);
        va_end(ap);
    }
    return code;
}

enum status err_errno(struct err *e, int errno_value, const char *place, const char *fmt, ...)
{
    enum status code = errno_value == ENOENT || errno_value == ENOTDIR ? ERR_NOT_FOUND
                       : errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG
                           ? ERR_NO_SPACE
                       : errno_value == ENOMEM ? ERR_MEMORY
                                               : ERR_IO;
    if (e) {
        e->code = code;
        put_place(e, place);
        va_list ap;
        va_start(ap, fmt);
        put(e->message, sizeof e->message, fmt, ap);
        va_end(ap);
        size_t n = strlen(e->message);
        (void)snprintf(e->message + n, sizeof e->message - n, ": %s", strerror(errno_value));
    }
    return code;
}

enum status err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e) {
        return ERR_INTERNAL;
    }
    char old[sizeof e->message];
    memcpy(old, e->message, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    put(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->message);
    (void)snprintf(e->message + n, sizeof e->message - n, ": %.*s", (int)(sizeof old - 1), old);
    return e->code;
}

/* pdftotext as a child process without rights. */
#ifndef HEARTH_TEXT_PDF_CHILD_H
#define HEARTH_TEXT_PDF_CHILD_H

#include "base/mem.h"

struct pdf_limits {      /* zero: the default */
    size_t memory_bytes; /* address space; 2 GiB */
    size_t output_bytes; /* 256 MiB */
    int cpu_s;           /* 60 */
    int wall_ms;         /* 90000 */
};

/* Runs `pdftotext [-layout] -htmlmeta` over the open file `fd` (from its start) and appends what it
 * writes. The child gets the file as its standard input, cannot open sockets, files for writing or
 * processes, and is killed at a limit. Blocks; may be called from any thread.
 * ERR_NOT_FOUND: no pdftotext (names the package); ERR_FORMAT: damaged; ERR_UNSUPPORTED: needs a
 * password, or forbids copying; ERR_LIMIT. */
MUST_CHECK enum status pdf_child_run(int fd, const char *name, bool layout,
                                     const struct pdf_limits *limits, struct buf *out,
                                     struct err *e);
#endif

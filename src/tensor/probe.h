/* What the machine can do at most, measured: the ceilings that speeds are compared with.
 *
 * Both are taken by a whole team, in short passes of which the best counts: on a shared machine a
 * ceiling is what was possible, not what was left over. Owner: one thread, which also owns the
 * team. */
#ifndef HEARTH_TENSOR_PROBE_H
#define HEARTH_TENSOR_PROBE_H

#include "tensor/team.h"

struct probe;

/* bytes of memory to read; 0: 512 MB or four times the last-level cache, whichever is more, but at
 * most an eighth of the machine's memory. The memory is written once here, by the worker that reads
 * it. */
MUST_CHECK enum status probe_open(struct team *team, size_t bytes, struct probe **out,
                                  struct err *e);
void probe_close(struct probe *p); /* NULL is allowed */
size_t probe_bytes(const struct probe *p);

/* Bytes per second when the first `bytes` (0 or too many: all) are read over and over for about
 * `seconds`. Less than the cache holds is read from the cache, as weights of that size would be. */
double probe_read(struct probe *p, size_t bytes, double seconds);

/* Operations per second (a product and its sum are two) of the instructions that products of packed
 * integers use under the present dispatch: one that does both, or with AVX2 the sequence for
 * weights of up to 4 bits, the cheapest there is (wider weights take up to twice as many). */
double probe_products(struct probe *p, double seconds);

#endif

/* Documents made up from a seed, for the tests of the store: what was put can be told again. */
#ifndef HEARTH_TESTS_COMMON_STORE_FIXTURE_H
#define HEARTH_TESTS_COMMON_STORE_FIXTURE_H

#include "store/documents.h"

/* Unit vector of `dim` numbers, the same for the same seed. */
void fixture_vector(uint64_t seed, int64_t dim, float *out);

/* Puts a document "/lib/<name>" whose text is `n_chunks` lines of ~100 bytes, one chunk each, with
 * vectors fixture_vector(seed * 1000 + index). */
enum status fixture_put(struct store *s, const char *name, uint64_t seed, size_t n_chunks,
                        int64_t dim, int64_t *id, struct err *e);

/* Opens `home` for writing, with an embedder of `dim` numbers; fails the test when it cannot. */
struct store *fixture_open(const char *home, int64_t dim);
#endif

/* Vector search: exact nearest chunks by cosine.
 *
 * Derived file HOME/vectors.bin, memory-mapped: int8 rows (one scale each) that are scanned; what
 * may be among the best k by the bound of the quantisation error is scored again with the float
 * vectors of the store, so the result is that of an exact float search. Rebuilt by itself when it
 * is missing, damaged or of another generation than the store; kept in memory only where it cannot
 * be written. The file is replaced atomically: readers keep their mapping, and a reader that stays
 * open goes on with what it opened (chunks removed since then no longer answer).
 *
 * File, little-endian: a head of 64 bytes: magic "HEARTHV1", u32 version, u32 dim, u64 count, u64
 * generation, i64 store id, u64 checksum of all that follows the head, u64 checksum of the head
 * before it, 8 zero bytes; then 64-byte aligned sections: count x i64 chunk ids (ascending), count
 * x f32 scales, count x f32 lengths of the quantisation error, count x dim int8. The checksums
 * (vectors.c) are verified at every open at the speed of memory.
 *
 * A struct vectors is read-only after opening: any number of threads may search it, each with its
 * own store handle. */
#ifndef HEARTH_STORE_VECTORS_H
#define HEARTH_STORE_VECTORS_H

#include "store/documents.h"

struct vectors;

/* Opens the index of the store, bringing it up to date first. *rebuilt (may be NULL) says whether
 * it had to. */
MUST_CHECK enum status vectors_open(struct store *s, const char *home, struct vectors **out,
                                    bool *rebuilt, struct err *e);
void vectors_close(struct vectors *v);

struct hit {
    int64_t chunk_id;
    float score; /* cosine */
};
/* Best k, highest first; ties by lower chunk id. *n_found <= k. The query need not be normalised.
 * ERR_MISMATCH when dim differs. */
MUST_CHECK enum status vectors_search(struct vectors *v, struct store *s, const float *query,
                                      int64_t dim, size_t k, struct hit *out, size_t *n_found,
                                      struct err *e);
size_t vectors_count(const struct vectors *v);
#endif

/* Vector search: exact nearest chunks by cosine.
 *
 * Derived file HOME/vectors.bin, memory-mapped: int8 rows (one scale each) that are scanned; the
 * best of the scan, more than k, are scored again with the float vectors of the store, so the
 * result is that of an exact float search. Rebuilt by itself when it is missing, damaged or of
 * another generation than the store. The file is replaced atomically: readers keep their mapping.
 *
 * File, little-endian: magic "HEARTHV1", u32 version, u32 dim, u64 count, u64 generation, SHA-256
 * of the rest; then 64-byte aligned sections: count x i64 chunk ids (ascending), count x f32
 * scales, count x dim int8. A struct vectors is read-only after opening: any number of threads may
 * search it, each with its own store handle. */
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
/* Best k, highest first; ties by lower chunk id. *n_found <= k. ERR_MISMATCH when dim differs. */
MUST_CHECK enum status vectors_search(struct vectors *v, struct store *s, const float *query,
                                      int64_t dim, size_t k, struct hit *out, size_t *n_found,
                                      struct err *e);
size_t vectors_count(const struct vectors *v);
#endif

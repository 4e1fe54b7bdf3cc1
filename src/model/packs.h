/* A copy of a model's packed weights on disk, so that only the first opening packs.
 *
 * The copy is mapped and used in place: opening costs a hash of samples, page-in overlaps the first
 * pass, processes share one copy in memory, and the model file's own bytes are read only for
 * embedding rows. A process that lives longer than a second moves to huge pages of its own behind
 * the same addresses, where memory is plenty. Measured on SmolLM2-135M (97 MB packed): see
 * docs/benchmarks.md.
 *
 * File NAME.KEY.hearth-packed, NAME being the model's file or directory; little-endian:
 *   header   struct of packs.c: magic, version, number of matrices, size of the file, key, SHA-256
 *            over header and table, mode, path of the model
 *   table    per matrix: offset (64-byte aligned), bytes, rows, columns, type, mode, packs_sum
 *   weights  as tensor/kernels.h lays them out; the same for every instruction set
 *
 * KEY is SHA-256 over: size and modification time of the model's files; name, type, shape and
 * sampled bytes of every tensor; and what packing makes of a few fixed rows of each type that
 * occurs. So a file that was written to or exchanged has another key even if the time was put back,
 * and no version number has to be thought of when the packed layout changes: the copy is simply not
 * found. The time alone is not enough (it has been forged by archives and copies), the samples
 * alone would miss one tensor's few bytes, and a hash of all bytes would cost as much as packing.
 *
 * Invariants:
 * 1. A file of that name is whole: it is written under another name, synced, then renamed.
 * 2. Nothing read from it reaches memory outside the mapping: sizes come from the model's shapes,
 *    offsets are checked. A file that fails a check is not used and made anew.
 * 3. A byte that changed on the disk is noticed, but not by the opening, which would have to read
 *    all bytes: a thread of low priority compares the sums of the matrices a second later, removes
 *    a damaged copy, and packs_report says so. What ended sooner was not checked.
 * 4. A copy that cannot be written (full disk, no right) is no error: packs_report says why.
 * 5. The folder's copies together stay below max_bytes; the longest unused go first. */
#ifndef HEARTH_MODEL_PACKS_H
#define HEARTH_MODEL_PACKS_H

#include "model/model.h"
#include "model/weights.h"
#include "tensor/ops.h"

struct packs;

struct packs_options {
    const char *dir;   /* NULL: no copy, weights are packed into memory */
    int64_t max_bytes; /* of all copies in the folder; 0: no limit */
    int64_t min_bytes; /* of weights below which packing is as fast; 0: 16 MiB; -1: none */
};

/* Looks for a copy for this model. Only ERR_MEMORY; w and team must outlive it. */
MUST_CHECK enum status packs_open(const struct weights *w, enum mul_mode mode, struct team *team,
                                  const struct packs_options *opt, struct packs **out,
                                  struct err *e);
struct mat_home *packs_home(struct packs *p);
/* All matrices are there: a copy that was missing or damaged will be written by a thread of low
 * priority, after a few seconds or at packs_close, whichever comes first. */
void packs_ready(struct packs *p);
/* Checks the sums of a copy and moves it to huge pages now, which a thread of low priority does
 * otherwise after a second, in the pauses of the others. From the owner's thread, before
 * packs_close. NULL is allowed. */
void packs_settle(struct packs *p);
/* Ends the writing (a large copy that has far to go is given up) and frees what was taken. */
void packs_close(struct packs *p); /* NULL is allowed */

/* How the weights came; `path` lives as long as p. From the owner's thread. */
struct packs_report {
    enum packed_copy copy;
    const char *path; /* of the copy, found or to be written; NULL: none */
    const char *note; /* why there is none, or why one was made anew; NULL: nothing to say */
};
struct packs_report packs_report(struct packs *p);

/* A row of the table. Holes between rows are zeros. */
struct packs_row {
    uint64_t offset, bytes;
    int64_t rows, cols;
    uint32_t type, mode;
    uint64_t sum; /* packs_sum of its bytes */
};
/* Goes on from `sum` (0 at first) over n bytes, a multiple of 64 in all calls but the last: any
 * byte that changes alone changes it. */
uint64_t packs_sum(uint64_t sum, const uint8_t *data, size_t n);
/* Reads a copy's header and table from any bytes. NULL, with n_rows rows in *arena whose bytes lie
 * inside the file, or what is wrong with it. key: SHA256_HEX characters. */
const char *packs_check(const uint8_t *data, size_t size, const char *key, struct arena *arena,
                        const struct packs_row **rows, uint32_t *n_rows);

/* Visits the copies in a folder, of one model (its path) or of all (NULL). A folder that is not
 * there has none. */
MUST_CHECK enum status packs_each(const char *dir, const char *model_path,
                                  enum status (*visit)(void *ctx, const char *path, int64_t bytes),
                                  void *ctx, struct err *e);
#endif

/* The compute team: a fixed set of threads that run one function together (SPMD) and meet at
 * barriers.
 *
 * A forward pass is one team_run(): every worker executes the same code on its static share of each
 * step and calls team_barrier() between dependent steps, so that a step costs a barrier (well under
 * a microsecond when every worker has a core) and not a wake-up. Waiting spins with pause; it
 * yields after a short while, so an oversubscribed machine still makes progress. Between runs the
 * workers sleep.
 *
 * The calling thread is worker 0. One team_run at a time; a team is owned by one thread. */
#ifndef HEARTH_TENSOR_TEAM_H
#define HEARTH_TENSOR_TEAM_H

#include "base/mem.h"

enum { TEAM_MAX_THREADS = 256 };

struct team;

struct worker {
    int index; /* 0 .. count - 1 */
    int count;
    struct team *team;
    void *scratch; /* 64-byte aligned, scratch_bytes long, this worker's own; contents do not
                      survive an op */
    size_t scratch_bytes;
};

/* n_threads 0: one per core this process may use. scratch_bytes per worker. */
MUST_CHECK enum status team_open(int n_threads, size_t scratch_bytes, struct team **out,
                                 struct err *e);
void team_close(struct team *t); /* NULL is allowed */
int team_size(const struct team *t);
/* Ties worker i to the i-th core that this process may use (modulo their number), the calling
 * thread being worker 0: for measurements on a machine of one's own. Every later team_run comes
 * from the same thread; team_close, if called from it, gives it back the cores it had. Best effort:
 * false when the system refuses. */
bool team_pin(struct team *t);

/* Runs fn(worker, ctx) on every worker; returns when all have returned. */
void team_run(struct team *t, void (*fn)(const struct worker *w, void *ctx), void *ctx);

/* Only inside team_run: returns when every worker has called it. Writes before it are visible after
 * it. */
void team_barrier(const struct worker *w);

/* This worker's share [*first, *last) of n items in multiples of `grain` (the last share may end
 * short). The same for every call with the same arguments. */
void team_share(const struct worker *w, size_t n, size_t grain, size_t *first, size_t *last);

#endif

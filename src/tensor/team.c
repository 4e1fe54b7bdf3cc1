/* The compute team: see team.h.
 *
 * Two kinds of waiting. Inside a run, a generation barrier in memory: the last to arrive bumps the
 * generation, the others spin on it. Between runs, a condition variable, after a short spin that
 * catches the next token of a decode loop. OpenMP was rejected: its barriers cannot be told when to
 * stop spinning and its pool is shared by everything in the process. */
#include "tensor/team.h"

#include "base/sys.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SPIN_BARRIER = 2000, /* pauses before yielding: 20 to 90 us, more than a step's imbalance */
    SPIN_CROWDED = 20,   /* the same when workers outnumber cores: another waits for this core */
    SPIN_IDLE = 4000     /* pauses before sleeping between runs: the time to sample a token */
};

struct team {
    int n_threads, n_started;
    int spins_barrier, spins_idle;
    bool pinned;
    pthread_t owner;     /* pinned: who had */
    cpu_set_t owner_set; /* these cores */
    struct worker *workers;
    pthread_t *threads; /* [1, n_started) */
    uint8_t *scratch;
    void (*fn)(const struct worker *w, void *ctx); /* written before `run` is bumped */
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    _Alignas(64) atomic_uint run;     /* number of runs begun; written under lock */
    _Alignas(64) atomic_uint arrived; /* of the current barrier */
    _Alignas(64) atomic_uint generation;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void team_barrier(const struct worker *w)
{
    struct team *t = w->team;
    if (w->count == 1) {
        return;
    }
    unsigned generation = atomic_load_explicit(&t->generation, memory_order_relaxed);
    unsigned before = atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel);
    if (before + 1 == (unsigned)w->count) {
        atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&t->generation, generation + 1, memory_order_release);
        return;
    }
    int spins = 0;
    while (atomic_load_explicit(&t->generation, memory_order_acquire) == generation) {
        if (++spins < t->spins_barrier) {
            pause_cpu();
        } else {
            (void)sched_yield();
        }
    }
}

/* Returns the number of the run that began after `seen`. */
static unsigned wait_for_run(struct team *t, unsigned seen)
{
    for (int i = 0; i < t->spins_idle; i++) {
        unsigned run = atomic_load_explicit(&t->run, memory_order_acquire);
        if (run != seen) {
            return run;
        }
        pause_cpu();
    }
    (void)pthread_mutex_lock(&t->lock);
    unsigned run;
    while ((run = atomic_load_explicit(&t->run, memory_order_acquire)) == seen) {
        (void)pthread_cond_wait(&t->wake, &t->lock);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return run;
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct team *t = w->team;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_run(t, seen);
        if (t->stop) {
            return NULL;
        }
        t->fn(w, t->ctx);
        team_barrier(w);
    }
}

static void begin_run(struct team *t)
{
    (void)pthread_mutex_lock(&t->lock);
    (void)atomic_fetch_add_explicit(&t->run, 1, memory_order_release);
    (void)pthread_cond_broadcast(&t->wake);
    (void)pthread_mutex_unlock(&t->lock);
}

void team_run(struct team *t, void (*fn)(const struct worker *w, void *ctx), void *ctx)
{
    t->fn = fn;
    t->ctx = ctx;
    if (t->n_threads > 1) {
        begin_run(t);
    }
    fn(&t->workers[0], ctx);
    team_barrier(&t->workers[0]);
}

enum status team_open(int n_threads, size_t scratch_bytes, struct team **out, struct err *e)
{
    if (n_threads < 0 || n_threads > TEAM_MAX_THREADS) {
        return err_set(e, ERR_USAGE, NULL, "threads must be 0 to %d, not %d", TEAM_MAX_THREADS,
                       n_threads);
    }
    int n = n_threads ? n_threads : cpu_count();
    n = n < TEAM_MAX_THREADS ? n : TEAM_MAX_THREADS;
    size_t each;
    struct team *t = mem_aligned(1, sizeof *t);
    if (!t || !size_add(scratch_bytes, 127, &each)) {
        free(t);
        return err_set(e, ERR_MEMORY, NULL, "no memory for a team of %d threads", n);
    }
    each &= ~(size_t)63; /* a cache line to spare between neighbours */
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->wake, NULL);
    t->n_threads = n;
    t->n_started = 1;
    bool crowded = n > cpu_count();
    t->spins_barrier = crowded ? SPIN_CROWDED : SPIN_BARRIER;
    t->spins_idle = crowded ? SPIN_CROWDED : SPIN_IDLE;
    t->workers = calloc((size_t)n, sizeof *t->workers);
    t->threads = calloc((size_t)n, sizeof *t->threads);
    t->scratch = mem_large((size_t)n, each);
    if (!t->workers || !t->threads || !t->scratch) {
        team_close(t);
        return err_set(e, ERR_MEMORY, NULL, "no memory for a team of %d threads", n);
    }
    for (int i = 0; i < n; i++) {
        t->workers[i] = (struct worker){i, n, t, t->scratch + (size_t)i * each, scratch_bytes};
    }
    for (int i = 1; i < n; i++) {
        int error = pthread_create(&t->threads[i], NULL, worker_main, &t->workers[i]);
        if (error) {
            team_close(t);
            return err_errno(e, error, NULL, "cannot start compute thread %d of %d", i + 1, n);
        }
        t->n_started = i + 1;
    }
    *out = t;
    return OK;
}

bool team_pin(struct team *t)
{
    cpu_set_t all;
    if (t->pinned || sched_getaffinity(0, sizeof all, &all)) {
        return t->pinned;
    }
    size_t cores[TEAM_MAX_THREADS];
    int n = 0;
    for (size_t c = 0; c < CPU_SETSIZE && n < TEAM_MAX_THREADS; c++) {
        if (CPU_ISSET(c, &all)) {
            cores[n++] = c;
        }
    }
    bool ok = n > 0;
    for (int i = 0; ok && i < t->n_threads; i++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cores[i % n], &one);
        pthread_t thread = i ? t->threads[i] : pthread_self();
        ok = pthread_setaffinity_np(thread, sizeof one, &one) == 0;
    }
    t->pinned = true; /* if only in part: the owner's cores are to be given back */
    t->owner = pthread_self();
    t->owner_set = all;
    return ok;
}

void team_close(struct team *t)
{
    if (!t) {
        return;
    }
    if (t->pinned && pthread_equal(t->owner, pthread_self())) {
        (void)sched_setaffinity(0, sizeof t->owner_set, &t->owner_set);
    }
    t->stop = true;
    if (t->n_started > 1) {
        begin_run(t);
    }
    for (int i = 1; i < t->n_started; i++) {
        (void)pthread_join(t->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&t->wake);
    (void)pthread_mutex_destroy(&t->lock);
    free(t->workers);
    free(t->threads);
    mem_large_free(t->scratch);
    free(t);
}

int team_size(const struct team *t)
{
    return t->n_threads;
}

void team_share(const struct worker *w, size_t n, size_t grain, size_t *first, size_t *last)
{
    size_t grains = n / grain + (n % grain != 0);
    size_t each = grains / (size_t)w->count;
    size_t extra = grains % (size_t)w->count;
    size_t index = (size_t)w->index;
    size_t begin = index * each + (index < extra ? index : extra);
    size_t end = begin + each + (index < extra);
    *first = begin * grain < n ? begin * grain : n;
    *last = end * grain < n ? end * grain : n;
}

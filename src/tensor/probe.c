/* The machine's ceilings: see probe.h.
 *
 * A pass is one team_run of a few milliseconds, so that waking the workers does not count. Reading
 * goes through the same share of rows as a product would; a stream benchmark that also writes was
 * rejected, since decoding only reads. */
#include "tensor/probe.h"

#include "base/sys.h"
#include "tensor/kernels.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LEAST_BYTES = 512 << 20,
    PASS_BYTES = 64 << 20, /* read in one pass at least */
    LINE = 64,
    FIRST_ROUNDS = 1 << 14
};
#define PASS_SECONDS 4e-3

struct probe {
    struct team *team;
    uint8_t *data;
    size_t bytes;
    /* of the pass at hand, written by the owner before it */
    size_t pass_bytes, times, rounds;
    volatile uint32_t sums[TEAM_MAX_THREADS]; /* what was computed is used */
    uint64_t ops[TEAM_MAX_THREADS];
};

static void touch(const struct worker *w, void *ctx)
{
    struct probe *p = ctx;
    size_t first, last;
    team_share(w, p->bytes, LINE, &first, &last);
    for (size_t i = first; i < last; i += LINE) {
        p->data[i] = (uint8_t)(i / LINE);
    }
}

static void read_all(const struct worker *w, void *ctx)
{
    struct probe *p = ctx;
    size_t first, last;
    uint32_t sum = 0;
    team_share(w, p->pass_bytes, LINE, &first, &last);
    for (size_t i = 0; i < p->times; i++) {
        sum += kernels()->read_words(p->data + first, last - first);
    }
    p->sums[w->index] = sum;
}

static void multiply(const struct worker *w, void *ctx)
{
    struct probe *p = ctx;
    static const int8_t operands[64] = {3, 1, 4, 1, 5};
    uint32_t sum;
    p->ops[w->index] = kernels()->int_products(p->rounds, operands, &sum);
    p->sums[w->index] = sum;
}

static size_t default_bytes(void)
{
    size_t bytes = LEAST_BYTES, most = SIZE_MAX;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) {
        most = (size_t)pages / 8 * (size_t)page;
    }
#ifdef _SC_LEVEL3_CACHE_SIZE
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (cache > 0 && (size_t)cache * 4 > bytes) {
        bytes = (size_t)cache * 4;
    }
#endif
    return bytes < most ? bytes : most;
}

enum status probe_open(struct team *team, size_t bytes, struct probe **out, struct err *e)
{
    struct probe *p = calloc(1, sizeof *p);
    bytes = bytes ? bytes : default_bytes();
    bytes = (bytes + LINE - 1) / LINE * LINE;
    void *map = p ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                  : MAP_FAILED;
    if (map == MAP_FAILED) {
        free(p);
        return err_set(e, ERR_MEMORY, NULL, "no memory to measure reading with (%zu MB)",
                       bytes >> 20);
    }
#ifdef MADV_HUGEPAGE
    (void)madvise(map, bytes, MADV_HUGEPAGE); /* a wish: small pages measure, too */
#endif
    p->team = team;
    p->data = map;
    p->bytes = bytes;
    team_run(team, touch, p);
    *out = p;
    return OK;
}

void probe_close(struct probe *p)
{
    if (p) {
        (void)munmap(p->data, p->bytes);
        free(p);
    }
}

size_t probe_bytes(const struct probe *p)
{
    return p->bytes;
}

static double timed(struct probe *p, void (*fn)(const struct worker *w, void *ctx))
{
    int64_t start = clock_ns();
    team_run(p->team, fn, p);
    return (double)(clock_ns() - start) * 1e-9 + 1e-12;
}

double probe_read(struct probe *p, size_t bytes, double seconds)
{
    bytes = bytes && bytes < p->bytes ? (bytes + LINE - 1) / LINE * LINE : p->bytes;
    p->pass_bytes = bytes;
    p->times = (PASS_BYTES + bytes - 1) / bytes;
    double spent = 0, best = 0;
    for (int i = 0; i < 2 || spent < seconds; i++) {
        double s = timed(p, read_all), rate = (double)(bytes * p->times) / s;
        spent += s;
        best = rate > best ? rate : best;
    }
    return best;
}

double probe_products(struct probe *p, double seconds)
{
    double spent = 0, best = 0;
    p->rounds = FIRST_ROUNDS;
    for (int i = 0; i < 3 || spent < seconds; i++) {
        double s = timed(p, multiply), ops = 0;
        for (int t = 0; t < team_size(p->team); t++) {
            ops += (double)p->ops[t];
        }
        spent += s;
        best = ops / s > best ? ops / s : best;
        if (s < PASS_SECONDS / 2) {
            p->rounds =
                (size_t)((double)p->rounds * (PASS_SECONDS / s < 64 ? PASS_SECONDS / s : 64));
        }
    }
    return best;
}

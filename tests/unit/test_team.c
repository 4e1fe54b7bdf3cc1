/* The compute team: every worker runs, barriers order writes, shares cover the range. */
#include "common/test.h"

#include "base/sys.h"
#include "tensor/team.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { STEPS = 200 };

struct relay {
    int values[TEAM_MAX_THREADS];
    atomic_int runs, errors;
};

/* Each step every worker reads what its neighbour wrote in the step before. */
static void relay_steps(const struct worker *w, void *ctx)
{
    struct relay *r = ctx;
    atomic_fetch_add(&r->runs, 1);
    memset(w->scratch, w->index, w->scratch_bytes);
    for (int step = 1; step <= STEPS; step++) {
        r->values[w->index] = step;
        team_barrier(w);
        if (r->values[(w->index + 1) % w->count] != step) {
            atomic_fetch_add(&r->errors, 1);
        }
        team_barrier(w);
    }
    const uint8_t *scratch = w->scratch;
    if (scratch[0] != (uint8_t)w->index || scratch[w->scratch_bytes - 1] != (uint8_t)w->index ||
        (uintptr_t)scratch % 64) {
        atomic_fetch_add(&r->errors, 1);
    }
}

static void barriers_order_the_steps(void **state)
{
    (void)state;
    for (int n = 1; n <= 9; n += 2) { /* more threads than cores must work too */
        struct team *t = NULL;
        struct err e = {0};
        assert_ok_err(team_open(n, 1000, &t, &e), &e);
        assert_int_equal(team_size(t), n);
        struct relay r = {0};
        for (int i = 0; i < 3; i++) {
            team_run(t, relay_steps, &r);
        }
        assert_int_equal(r.runs, 3 * n);
        assert_int_equal(r.errors, 0);
        team_close(t);
    }
    team_close(NULL);
}

static void shares_cover_everything_once(void **state)
{
    (void)state;
    for (int count = 1; count <= 7; count++) {
        for (size_t n = 0; n < 70; n += 3) {
            size_t at = 0;
            for (int i = 0; i < count; i++) {
                struct worker w = {.index = i, .count = count};
                size_t first, last;
                team_share(&w, n, 8, &first, &last);
                assert_int_equal(first, at);
                assert_true(last >= first && (last == n || last % 8 == 0));
                at = last;
            }
            assert_int_equal(at, n);
        }
    }
}

static void bad_sizes_are_refused(void **state)
{
    (void)state;
    struct team *t = NULL;
    assert_status(team_open(TEAM_MAX_THREADS + 1, 0, &t, NULL), ERR_USAGE);
    assert_status(team_open(-1, 0, &t, NULL), ERR_USAGE);
    assert_status(team_open(2, SIZE_MAX, &t, NULL), ERR_MEMORY);
    assert_status(team_open(2, SIZE_MAX / 2, &t, NULL), ERR_MEMORY);
    assert_null(t);
    assert_ok(team_open(0, 0, &t, NULL));
    assert_true(team_size(t) >= 1);
    team_close(t);
}

struct cores {
    int count[8];
    size_t first[8];
};

static void note_cores(const struct worker *w, void *ctx)
{
    struct cores *c = ctx;
    cpu_set_t set;
    CPU_ZERO(&set);
    (void)sched_getaffinity(0, sizeof set, &set);
    c->count[w->index] = CPU_COUNT(&set);
    while (!CPU_ISSET(c->first[w->index], &set)) {
        c->first[w->index]++;
    }
}

static void pinned_workers_have_a_core_each(void **state)
{
    (void)state;
    int n = cpu_count();
    struct team *t = NULL;
    struct cores c = {0};
    assert_ok(team_open(3, 0, &t, NULL));
    assert_true(team_pin(t));
    team_run(t, note_cores, &c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c.count[i], 1);
        assert_int_equal(c.first[i] == c.first[0], i % n == 0);
    }
    assert_int_equal(cpu_count(), 1);
    team_close(t);
    assert_int_equal(cpu_count(), n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(barriers_order_the_steps),
        cmocka_unit_test(shares_cover_everything_once),
        cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(pinned_workers_have_a_core_each),
    };
    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}

/* Vector search against a plain float scan over the same vectors; files that are missing, stale,
 * damaged or cannot be written. */
#include "common/store_fixture.h"
#include "common/test.h"

#include "base/file.h"
#include "base/sys.h"
#include "store/vectors.h"
#include "tensor/ops.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain { /* every vector of a store, in memory */
    int64_t *ids;
    float *rows;
    size_t n;
    int64_t dim;
};

static enum status keep(void *ctx, int64_t id, const float *v, int64_t dim)
{
    struct plain *p = ctx;
    p->ids = realloc(p->ids, (p->n + 1) * sizeof *p->ids);
    p->rows = realloc(p->rows, (p->n + 1) * (size_t)dim * sizeof *p->rows);
    p->ids[p->n] = id;
    memcpy(p->rows + p->n++ * (size_t)dim, v, (size_t)dim * sizeof *v);
    p->dim = dim;
    return OK;
}

static int by_rank(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->chunk_id < y->chunk_id ? -1 : 1;
}

static void compare(struct vectors *v, struct store *s, const struct plain *p, const float *query,
                    size_t k)
{
    struct err e = {0};
    struct hit *all = calloc(p->n, sizeof *all), *out = calloc(k, sizeof *out);
    float *row = mem_aligned((size_t)p->dim, sizeof *row);
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        memcpy(row, p->rows + i * (size_t)p->dim, (size_t)p->dim * sizeof *row);
        all[i] = (struct hit){p->ids[i], vec_dot_f32(query, row, (size_t)p->dim)};
    }
    qsort(all, p->n, sizeof *all, by_rank);
    assert_ok_err(vectors_search(v, s, query, p->dim, k, out, &n, &e), &e);
    assert_int_equal(n, k < p->n ? k : p->n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(out[i].chunk_id, all[i].chunk_id);
        assert_true(fabsf(out[i].score - all[i].score) < 1e-6f);
    }
    free(all);
    free(out);
    free(row);
}

/* n_documents x 50 chunks; every tenth vector is a copy, so there are ties. */
static struct store *fill(const char *home, int64_t dim, size_t n_documents)
{
    struct err e = {0};
    struct store *s = fixture_open(home, dim);
    assert_ok_err(store_begin(s, &e), &e);
    for (size_t i = 0; i < n_documents; i++) {
        char name[32];
        snprintf(name, sizeof name, "d%zu", i);
        assert_ok_err(fixture_put(s, name, i % 10 == 9 ? 1 : i, 50, dim, NULL, &e), &e);
    }
    assert_ok_err(store_commit(s, &e), &e);
    return s;
}

static void equals_exact_search(void **state)
{
    (void)state;
    static const int64_t dims[] = {1, 3, 64, 384, 385};
    static const size_t ks[] = {1, 10, 100, 5000};
    struct err e = {0};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        char name[32];
        snprintf(name, sizeof name, "exact%lld", (long long)dims[d]);
        const char *home = test_temp_path(name);
        struct store *s = fill(home, dims[d], 60);
        struct vectors *v = NULL;
        struct plain p = {0};
        bool rebuilt = false;
        assert_ok_err(vectors_open(s, home, &v, &rebuilt, &e), &e);
        assert_true(rebuilt);
        assert_int_equal(vectors_count(v), 3000);
        assert_ok_err(store_each_vector(s, keep, &p, &e), &e);
        float *q = mem_aligned((size_t)dims[d], sizeof *q);
        for (uint64_t i = 0; i < 12; i++) {
            fixture_vector(i % 3 == 0 ? 1000 + i : 77777 + i, dims[d], q); /* some are in it */
            compare(v, s, &p, q, ks[i % 4]);
        }
        free(q);
        free(p.ids);
        free(p.rows);
        vectors_close(v);
        store_close(s);
    }
}

/* Vectors that differ less than int8 can tell: the bound keeps them all as candidates. */
static void near_copies_are_told_apart(void **state)
{
    (void)state;
    enum { DIM = 64, N = 2000 };
    struct err e = {0};
    const char *home = test_temp_path("near");
    struct store *s = fixture_open(home, DIM);
    float *vectors = mem_aligned(N * DIM, sizeof *vectors), base[DIM], noise[DIM];
    struct chunk *chunks = calloc(N, sizeof *chunks);
    fixture_vector(5, DIM, base);
    for (uint64_t i = 0; i < N; i++) {
        double sum = 0;
        fixture_vector(100 + i, DIM, noise);
        for (int j = 0; j < DIM; j++) {
            float x = base[j] + 1e-4f * noise[j];
            vectors[i * DIM + (uint64_t)j] = x;
            sum += (double)x * (double)x;
        }
        for (int j = 0; j < DIM; j++) {
            vectors[i * DIM + (uint64_t)j] /= (float)sqrt(sum);
        }
    }
    struct document doc = {.uri = "/near"};
    assert_ok_err(store_put(s, &doc, chunks, N, vectors, NULL, &e), &e);
    struct vectors *v = NULL;
    struct plain p = {0};
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
    assert_ok_err(store_each_vector(s, keep, &p, &e), &e);
    fixture_vector(6, DIM, noise);
    compare(v, s, &p, base, 10);
    compare(v, s, &p, noise, 10);
    free(p.ids);
    free(p.rows);
    free(vectors);
    free(chunks);
    vectors_close(v);
    store_close(s);
}

static void odd_queries(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("odd");
    struct store *s = fixture_open(home, 3);
    struct vectors *v = NULL;
    struct hit out[4];
    size_t n = 9;
    float q[3] = {1, 2, 3};
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e); /* an empty store */
    assert_ok_err(vectors_search(v, s, q, 3, 4, out, &n, &e), &e);
    assert_int_equal(n, 0);
    vectors_close(v);
    assert_ok_err(fixture_put(s, "a", 1, 3, 3, NULL, &e), &e);
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
    n = 9;
    assert_status(vectors_search(v, s, q, 4, 4, out, &n, &e), ERR_MISMATCH);
    assert_string_equal(e.place, home);
    float nan_[3] = {0, NAN, 0}, zero[3] = {0};
    assert_status(vectors_search(v, s, nan_, 3, 4, out, &n, &e), ERR_USAGE);
    assert_int_equal(n, 9); /* untouched on failure */
    assert_ok_err(vectors_search(v, s, zero, 3, 4, out, &n, &e), &e);
    assert_int_equal(n, 3); /* all tie at 0: by id */
    assert_true(out[0].chunk_id < out[1].chunk_id && out[1].chunk_id < out[2].chunk_id);
    assert_ok_err(vectors_search(v, s, q, 3, 0, out, &n, &e), &e);
    assert_int_equal(n, 0);
    float big[3] = {100, 200, 300}; /* length does not matter: cosine */
    struct hit same[4];
    assert_ok_err(vectors_search(v, s, q, 3, 4, out, &n, &e), &e);
    assert_ok_err(vectors_search(v, s, big, 3, 4, same, &n, &e), &e);
    assert_int_equal(out[0].chunk_id, same[0].chunk_id);
    assert_true(fabsf(out[0].score - same[0].score) < 1e-6f && out[0].score <= 1.0001f);
    vectors_close(v);
    store_close(s);
}

static bool reopened_rebuilds(struct store *s, const char *home, size_t want)
{
    struct err e = {0};
    struct vectors *v = NULL;
    bool rebuilt = false;
    assert_ok_err(vectors_open(s, home, &v, &rebuilt, &e), &e);
    assert_int_equal(vectors_count(v), want);
    vectors_close(v);
    return rebuilt;
}

static void follows_the_store(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("follow");
    struct store *s = fixture_open(home, 16);
    int64_t id = 0;
    assert_ok_err(fixture_put(s, "a", 1, 30, 16, NULL, &e), &e);
    assert_ok_err(fixture_put(s, "b", 2, 40, 16, &id, &e), &e);
    assert_true(reopened_rebuilds(s, home, 70));
    assert_false(reopened_rebuilds(s, home, 70));
    assert_ok_err(store_touch(s, id, 1, 1, &e), &e); /* changes no vector */
    assert_false(reopened_rebuilds(s, home, 70));
    struct vectors *v = NULL;
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
    assert_ok_err(store_delete(s, id, &e), &e);
    struct hit out[70];
    size_t n = 0;
    float q[16];
    fixture_vector(2000, 16, q); /* first chunk of b */
    assert_ok_err(vectors_search(v, s, q, 16, 25, out, &n, &e), &e);
    assert_int_equal(n, 25); /* what is gone does not answer, and shuts nobody out */
    struct plain p = {0};
    assert_ok_err(store_each_vector(s, keep, &p, &e), &e);
    assert_int_equal(p.n, 30);
    compare(v, s, &p, q, 25);
    vectors_close(v);
    assert_true(reopened_rebuilds(s, home, 30));
    store_close(s);
    assert_int_equal(unlink(test_temp_path("follow/vectors.bin")), 0);
    assert_ok_err(store_open(home, NULL, &s, &e), &e); /* a reader rebuilds, too */
    assert_true(reopened_rebuilds(s, home, 30));
    assert_false(reopened_rebuilds(s, home, 30));
    free(p.ids);
    free(p.rows);
    store_close(s);
}

static void other_stores_files_are_not_taken(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *a = fixture_open(test_temp_path("sa"), 8);
    struct store *b = fixture_open(test_temp_path("sb"), 8);
    assert_ok_err(fixture_put(a, "a", 1, 5, 8, NULL, &e), &e);
    assert_ok_err(fixture_put(b, "b", 2, 5, 8, NULL, &e), &e); /* same generation, same counts */
    assert_true(reopened_rebuilds(a, test_temp_path("sa"), 5));
    assert_true(reopened_rebuilds(b, test_temp_path("sa"), 5));
    store_close(a);
    store_close(b);
}

static void every_damage_is_seen_and_mended(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("damage"), *path = test_temp_path("damage/vectors.bin");
    struct store *s = fill(home, 24, 4);
    assert_true(reopened_rebuilds(s, home, 200));
    struct buf good = {0};
    assert_ok_err(file_read(path, 1 << 20, &good, &e), &e);
    struct rng r;
    rng_init(&r, 3);
    for (int i = 0; i < 300; i++) { /* any byte, any bit */
        size_t at = i < 64 ? (size_t)i : rng_u64(&r) % good.len;
        char was = good.data[at];
        good.data[at] = (char)(was ^ (1 << (i % 8)));
        test_write_file(path, good.data, good.len);
        assert_true(reopened_rebuilds(s, home, 200));
        good.data[at] = was;
    }
    static const size_t cuts[] = {0, 1, 63, 64, 65, 4000};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        test_write_file(path, good.data, cuts[i]);
        assert_true(reopened_rebuilds(s, home, 200));
    }
    struct buf now = {0};
    assert_ok_err(file_read(path, 1 << 20, &now, &e), &e);
    assert_int_equal(now.len, good.len);
    assert_memory_equal(now.data, good.data, now.len); /* built twice, the same bytes */
    buf_fini(&good);
    buf_fini(&now);
    store_close(s);
}

static int search_read_only(const char *home)
{
    struct err e = {0};
    struct store *s = NULL;
    struct vectors *v = NULL;
    bool rebuilt = false;
    float q[24];
    struct hit out[3];
    size_t n = 0;
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) {
        return 1;
    }
    fixture_vector(1003, 24, q);
    if (store_open(home, NULL, &s, &e) || vectors_open(s, home, &v, &rebuilt, &e) ||
        vectors_search(v, s, q, 24, 3, out, &n, &e)) {
        return 2;
    }
    return rebuilt && n == 3 && out[0].score > 0.9999f && vectors_count(v) == 200 ? 0 : 3;
}

static void stale_file_in_a_read_only_folder(void **state)
{
    (void)state;
    const char *home = test_temp_path("rosearch");
    struct store *s = fill(home, 24, 4);
    store_close(s);
    assert_int_equal(chmod(test_temp_path("rosearch/hearth.db"), 0444), 0);
    assert_int_equal(chmod(home, 0555), 0);
    assert_int_equal(chmod(test_temp_dir(), 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(search_read_only(home));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(file_exists(test_temp_path("rosearch/vectors.bin")));
    assert_int_equal(chmod(home, 0755), 0);
}

struct searcher {
    struct vectors *v;
    const char *home;
    int64_t best[40];
    enum status status;
};

static void *search_many(void *arg)
{
    struct searcher *w = arg;
    struct err e = {0};
    struct store *s = NULL;
    w->status = store_open(w->home, NULL, &s, &e); /* a handle of its own */
    for (uint64_t i = 0; !w->status && i < 40; i++) {
        float q[24];
        struct hit hit = {0};
        size_t n = 0;
        fixture_vector(5000 + i, 24, q);
        w->status = vectors_search(w->v, s, q, 24, 1, &hit, &n, &e);
        w->best[i] = hit.chunk_id;
    }
    store_close(s);
    return NULL;
}

static void many_threads_search_one_index(void **state)
{
    (void)state;
    enum { N = 4 };
    struct err e = {0};
    const char *home = test_temp_path("threads");
    struct store *s = fill(home, 24, 20);
    struct vectors *v = NULL;
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
    struct searcher w[N];
    pthread_t id[N];
    for (int i = 0; i < N; i++) {
        w[i] = (struct searcher){.v = v, .home = home};
        assert_int_equal(pthread_create(&id[i], NULL, search_many, &w[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(pthread_join(id[i], NULL), 0);
        assert_ok(w[i].status);
        assert_memory_equal(w[i].best, w[0].best, sizeof w[0].best);
    }
    assert_true(w[0].best[0] > 0);
    vectors_close(v);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_exact_search),
        cmocka_unit_test(near_copies_are_told_apart),
        cmocka_unit_test(odd_queries),
        cmocka_unit_test(follows_the_store),
        cmocka_unit_test(other_stores_files_are_not_taken),
        cmocka_unit_test(every_damage_is_seen_and_mended),
        cmocka_unit_test(stale_file_in_a_read_only_folder),
        cmocka_unit_test(many_threads_search_one_index),
    };
    return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}

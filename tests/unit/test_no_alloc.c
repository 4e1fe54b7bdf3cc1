/* No heap allocation after open: the linker sends hearth's calls of the allocator through counters
 * (-Wl,--wrap, see tests/CMakeLists.txt). */
#include "common/test.h"

#include "model/model.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_int calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

void *__wrap_malloc(size_t n)
{
    calls++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    calls++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    calls++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    calls++;
    return __real_aligned_alloc(alignment, n);
}

static struct model *open_tiny(const char *path)
{
    struct err e = {0};
    struct model *m;
    struct model_options opt = {.n_threads = 2, .max_batch = 16};
    int before = calls;
    assert_ok_err(model_open(test_source_path(path), &opt, &m, &e), &e);
    assert_true(calls > before); /* the counters count */
    return m;
}

static void forward_allocates_nothing(void **state)
{
    (void)state;
    static const char *const paths[] = {"tests/golden/data/tiny/llama",
                                        "tests/golden/data/tiny/qwen3"};
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        struct model *m = open_tiny(paths[i]);
        struct kv *kv;
        int32_t ids[40], seq;
        float logits[512];
        assert_ok_err(kv_open(m, 64, TYPE_F16, &kv, &e), &e);
        assert_ok_err(kv_seq_new(kv, &seq, &e), &e);
        for (int k = 0; k < 40; k++) {
            ids[k] = k * 3;
        }
        int before = calls;
        for (int k = 0; k < 40;) { /* prompt pieces, then single tokens */
            struct model_run run = {.seq = seq, .ids = ids + k, .n_ids = k < 32 ? 16 : 1};
            assert_ok_err(model_forward(m, kv, &run, 1, logits, NULL, &e), &e);
            k += (int)run.n_ids;
        }
        kv_seq_truncate(kv, seq, 5);
        assert_int_equal(calls, before);
        kv_close(kv);
        model_close(m);
    }
}

static void encoding_allocates_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct model *m = open_tiny("tests/golden/data/tiny/bert-mean");
    static const int32_t ids[4] = {2, 10, 11, 3};
    const int32_t *texts[2] = {ids, ids};
    const int64_t lens[2] = {4, 3};
    float rows[2 * 32];
    int before = calls;
    assert_ok_err(model_embed(m, texts, lens, 2, POOL_MEAN, true, rows, &e), &e);
    assert_int_equal(calls, before);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_allocates_nothing),
        cmocka_unit_test(encoding_allocates_nothing),
    };
    return cmocka_run_group_tests_name("no_alloc", tests, NULL, NULL);
}

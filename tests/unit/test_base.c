/* Base: error texts, checked sizes, arena limits, buffers, map, files. */
#include "common/test.h"

#include "base/file.h"
#include "base/map.h"
#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void err_keeps_the_end_of_long_places(void **state)
{
    (void)state;
    struct err e = {0};
    char path[600];
    memset(path, 'a', sizeof path);
    memcpy(path + sizeof path - 5, ".txt", 5);
    assert_status(err_set(&e, ERR_FORMAT, path, "bad %d", 7), ERR_FORMAT);
    assert_int_equal(strlen(e.place), sizeof e.place - 1);
    assert_string_equal(e.place + strlen(e.place) - 4, ".txt");
    assert_string_equal(e.message, "bad 7");
    assert_status(err_prefix(&e, "while %s", "testing"), ERR_FORMAT);
    assert_string_equal(e.message, "while testing: bad 7");
    assert_status(err_errno(&e, ENOSPC, "f", "cannot write"), ERR_NO_SPACE);
    assert_string_equal(e.message, "cannot write: No space left on device");
    assert_status(err_set(NULL, ERR_IO, NULL, "x"), ERR_IO);
}

static void every_status_has_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < STATUS_COUNT; i++) {
        assert_non_null(status_info((enum status)i)->name);
    }
    assert_string_equal(status_info((enum status)999)->name, "internal");
}

static void arena_honours_its_limit(void **state)
{
    (void)state;
    struct arena a = {.limit_bytes = 100};
    assert_non_null(arena_alloc(&a, 50));
    assert_null(arena_alloc(&a, 50)); /* 64 + 64 > 100 */
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 90));
    arena_reset(&a);
    size_t out = 1;
    assert_false(size_mul(SIZE_MAX, 2, &out));
    assert_false(size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 1);
}

static void buf_grows_and_terminates(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 1000; i++) {
        buf_printf(&b, "%d,", i);
    }
    buf_putc(&b, '!');
    assert_false(b.failed);
    assert_int_equal(b.len, 3891);
    assert_int_equal(b.data[b.len], 0);
    char *p = buf_take(&b);
    assert_int_equal(strlen(p), 3891);
    free(p);
    p = buf_take(&b);
    assert_string_equal(p, "");
    free(p);
}

static void map_finds_what_was_put(void **state)
{
    (void)state;
    struct map m;
    assert_ok(map_init(&m, 0));
    static char keys[5000][8];
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        assert_ok(map_put(&m, keys[i], strlen(keys[i]), i));
    }
    assert_ok(map_put(&m, "k17", 3, 99));
    assert_int_equal(m.count, 5000);
    uint32_t v = 0;
    assert_true(map_get(&m, "k4999", 5, &v) && v == 4999);
    assert_true(map_get(&m, "k17", 3, &v) && v == 99);
    assert_false(map_get(&m, "nope", 4, &v));
    map_fini(&m);
}

static enum status count(void *ctx, const struct file_entry *entry)
{
    assert_null(entry->failed);
    (*(int *)ctx)++;
    return OK;
}

static void files_are_replaced_whole_and_walked(void **state)
{
    (void)state;
    struct err e = {0};
    const char *dir = test_temp_path("a/b/c");
    assert_ok_err(file_mkdirs(dir, &e), &e);
    const char *path = test_temp_path("a/b/c/x.txt");
    assert_ok_err(file_replace(path, "hello", 5, &e), &e);
    assert_ok_err(file_replace(path, "", 0, &e), &e);
    assert_ok_err(file_replace(path, "hello!", 6, &e), &e);
    test_write_file(test_temp_path("a/.hidden"), "x", 1);
    int n = 0;
    assert_ok_err(file_walk(test_temp_path("a"), count, &n, &e), &e);
    assert_int_equal(n, 1);
    struct file_map m;
    assert_ok_err(file_map_open(path, &m, &e), &e);
    assert_memory_equal(m.data, "hello!", 6);
    file_map_close(&m);
    struct buf b = {0};
    assert_status(file_read(path, 5, &b, &e), ERR_LIMIT);
    assert_int_equal(b.len, 0);
    assert_ok_err(file_read(path, 6, &b, &e), &e);
    assert_string_equal(b.data, "hello!");
    buf_fini(&b);
    assert_status(file_map_open(test_temp_path("none"), &m, &e), ERR_NOT_FOUND);
    assert_status(file_map_open(dir, &m, &e), ERR_FORMAT);
    char hex[SHA256_HEX];
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    static char million[1000000]; /* FIPS 180-2, B.3 */
    memset(million, 'a', sizeof million);
    test_write_file(path, million, sizeof million);
    assert_ok_err(file_sha256(path, hex, &e), &e);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_status(file_sha256(dir, hex, &e), ERR_FORMAT);
    assert_status(file_sha256(test_temp_path("none"), hex, &e), ERR_NOT_FOUND);
}

static void rng_repeats(void **state)
{
    (void)state;
    struct rng a, b;
    rng_init(&a, 42);
    rng_init(&b, 42);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double u = rng_unit(&a);
        assert_true(u >= 0 && u < 1 && u == rng_unit(&b));
        sum += u;
    }
    assert_true(sum > 4900 && sum < 5100);
    assert_true(cpu_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_keeps_the_end_of_long_places),
        cmocka_unit_test(every_status_has_a_row),
        cmocka_unit_test(arena_honours_its_limit),
        cmocka_unit_test(buf_grows_and_terminates),
        cmocka_unit_test(map_finds_what_was_put),
        cmocka_unit_test(files_are_replaced_whole_and_walked),
        cmocka_unit_test(rng_repeats),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}

/* What every test includes: cmocka with its headers in the order it wants, and a few helpers. */
#ifndef HEARTH_TESTS_COMMON_TEST_H
#define HEARTH_TESTS_COMMON_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

enum { TEST_SKIP = 77 }; /* exit code that ctest counts as skipped */

/* Path of a file of the source tree, or of a new temporary one; valid until the program ends. */
const char *test_source_path(const char *relative);
const char *test_temp_dir(void); /* made at the first call, removed at exit */
const char *test_temp_path(const char *name);
void test_write_file(const char *path, const void *data, size_t n);
/* A temporary copy of a file of the sources, where `to`, of the same length, stands for the first
 * `from`. */
const char *test_changed_copy(const char *file, const char *from, const char *to);

/* Real data ($HEARTH_DATA, else ../shared/data beside the source tree) and the demo models; NULL
 * when absent. In CI (CI=true) absence fails the test program instead. */
const char *test_data_path(const char *relative);
const char *
test_model_path(const char *name); /* "SmolLM2-135M-Instruct.Q4_1.gguf", "all-MiniLM-L6-v2" */

/* assert OK and print the error's place and message when it is not */
#define assert_ok(call)                                       \
    do {                                                      \
        enum status s_ = (call);                              \
        if (s_) {                                             \
            fail_msg("%s: %s", #call, status_info(s_)->name); \
        }                                                     \
    } while (0)
#define assert_ok_err(call, e)                                                                  \
    do {                                                                                        \
        enum status s_ = (call);                                                                \
        if (s_) {                                                                               \
            fail_msg("%s: %s: %s: %s", #call, status_info(s_)->name, (e)->place, (e)->message); \
        }                                                                                       \
    } while (0)
#define assert_status(call, code) \
    assert_string_equal(status_info(call)->name, status_info(code)->name)

#endif

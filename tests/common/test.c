/* Helpers of the tests: see test.h. */
#include "common/test.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct arena names;
static char *temp_dir;

static const char *source_root(void)
{
    const char *root = getenv("HEARTH_SRC");
    return root ? root : ".";
}

static const char *present(const char *path)
{
    if (file_exists(path)) {
        return path;
    }
    const char *ci = getenv("CI");
    if (ci && strcmp(ci, "true") == 0) {
        fprintf(stderr, "missing in CI: %s\n", path);
        exit(1);
    }
    printf("absent, so what needs it is skipped: %s\n", path);
    return NULL;
}

const char *test_source_path(const char *relative)
{
    return arena_printf(&names, "%s/%s", source_root(), relative);
}

static void remove_temp_dir(void)
{
    char *cmd = arena_printf(&names, "rm -rf '%s'", temp_dir);
    if (system(cmd) != 0) {
        fprintf(stderr, "cannot remove %s\n", temp_dir);
    }
}

const char *test_temp_dir(void)
{
    if (!temp_dir) {
        const char *base = getenv("TMPDIR");
        temp_dir = arena_printf(&names, "%s/hearth-test-XXXXXX", base ? base : "/tmp");
        if (!mkdtemp(temp_dir)) {
            perror(temp_dir);
            exit(1);
        }
        atexit(remove_temp_dir);
    }
    return temp_dir;
}

const char *test_temp_path(const char *name)
{
    return arena_printf(&names, "%s/%s", test_temp_dir(), name);
}

void test_write_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

const char *test_changed_copy(const char *file, const char *from, const char *to)
{
    struct err e = {0};
    struct buf b = {0};
    assert_ok_err(file_read(test_source_path(file), 1 << 20, &b, &e), &e);
    char *at = memmem(b.data, b.len, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    const char *path = test_temp_path("changed");
    test_write_file(path, b.data, b.len);
    buf_fini(&b);
    return path;
}

const char *test_data_path(const char *relative)
{
    const char *root = getenv("HEARTH_DATA");
    return present(root ? arena_printf(&names, "%s/%s", root, relative)
                        : arena_printf(&names, "%s/../shared/data/%s", source_root(), relative));
}

const char *test_model_path(const char *name)
{
    return present(arena_printf(&names, "%s/models/%s", source_root(), name));
}

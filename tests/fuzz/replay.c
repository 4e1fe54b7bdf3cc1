/* Runs a fuzz target over the files of its corpus folders: what `make test` does instead of
 * fuzzing. */
#include "base/file.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static enum status one(void *ctx, const struct file_entry *entry)
{
    (void)ctx;
    struct buf b = {0};
    struct err e = {0};
    enum status s = file_read(entry->path, 1u << 24, &b, &e);
    if (!s) {
        (void)LLVMFuzzerTestOneInput((const uint8_t *)b.data, b.len);
        replayed++;
    }
    buf_fini(&b);
    return s;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct err e = {0};
        if (file_walk(argv[i], one, NULL, &e)) {
            fprintf(stderr, "%s: %s\n", e.place, e.message);
            return 1;
        }
    }
    printf("%zu inputs replayed\n", replayed);
    return replayed ? 0 : 1;
}

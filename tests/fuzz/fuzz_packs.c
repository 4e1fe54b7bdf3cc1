/* Header and table of a copy of packed weights: any bytes, and the same bytes with the right sum
 * and key, which a fuzzer would not find by itself. */
#include "base/file.h"
#include "model/packs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 1024, N_AT = 12, KEY_AT = 24, SUM_AT = 88, ROW = 48, HEX = 64 };

static volatile unsigned sink;

static void check(const uint8_t *data, size_t size, const char *key)
{
    struct arena arena = {0};
    const struct packs_row *rows = NULL;
    uint32_t n = 0;
    const char *wrong = packs_check(data, size, key, &arena, &rows, &n);
    if (wrong && (rows || n)) {
        abort(); /* something handed out of a file that was refused */
    }
    if (arena.used_bytes > 2 * size + 4096) {
        abort();
    }
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].bytes) {
            sink += (unsigned)data[rows[i].offset] + data[rows[i].offset + rows[i].bytes - 1];
        }
    }
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char key[SHA256_HEX], sum[SHA256_HEX];
    uint32_t n;
    sha256_hex("key", 3, key);
    check(data, size, key);
    if (size < HEAD) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    if (!copy) {
        return 0;
    }
    memcpy(copy, data, size);
    memcpy(&n, copy + N_AT, sizeof n);
    size_t table = HEAD + (size_t)n * ROW;
    memcpy(copy + KEY_AT, key, HEX);
    memset(copy + SUM_AT, 0, HEX);
    sha256_hex(copy, table <= size ? table : HEAD, sum);
    memcpy(copy + SUM_AT, sum, HEX);
    check(copy, size, key);
    free(copy);
    return 0;
}

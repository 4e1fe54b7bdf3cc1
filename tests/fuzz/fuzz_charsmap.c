/* A precompiled character map: two bytes that say how long it is, the map, then a text that is
 * normalised with it in both ways. */
#include "model/tokenizer_charsmap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct charsmap map = {0};
    if (size < 2) {
        return 0;
    }
    size_t n = (size_t)data[0] | (size_t)data[1] << 8, rest = size - 2;
    n = n < rest ? n : rest;
    if (charsmap_init(&map, data + 2, n, &e)) {
        if (!e.message[0]) {
            abort();
        }
        return 0;
    }
    const char *text = (const char *)data + 2 + n;
    for (unsigned i = 0; i < 4; i++) {
        struct buf b = {0};
        struct spm_rules rules = {.map = &map, .squeeze = i & 1, .prefix = i & 2};
        charsmap_normalize_spm(&rules, text, rest - n, &b);
        charsmap_normalize_clusters(&map, text, rest - n, &b);
        buf_fini(&b);
    }
    charsmap_fini(&map);
    return 0;
}

/* A tokenizer.json up to the first NUL, then a text to encode and decode with it. */
#include "model/vocab_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct vocab *v = NULL;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : size;
    const char *text = nul ? (const char *)nul + 1 : "Hello 123 w\xC3\xB6rld <s>";
    size_t n_text = nul ? size - n - 1 : strlen(text);
    if (vocab_from_json((const char *)data, n, NULL, 0, "input", &v, &e)) {
        if (!status_info(e.code)->name || !e.message[0]) {
            abort(); /* a failure must say what failed */
        }
        return 0;
    }
    for (unsigned flags = 0; flags < 4; flags++) {
        struct ids ids = {0};
        struct buf b = {0};
        if (!vocab_encode(v, text, n_text, flags, &ids, &e)) {
            for (size_t i = 0; i < ids.n; i++) {
                if (ids.data[i] < 0 || ids.data[i] >= vocab_size(v)) {
                    abort();
                }
            }
            vocab_decode(v, ids.data, ids.n, flags & 1, &b);
        }
        ids_fini(&ids);
        buf_fini(&b);
    }
    vocab_close(v);
    return 0;
}

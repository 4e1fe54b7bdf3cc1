/* A tokenizer.model; a fixed text is encoded and decoded with what it gives. */
#include "model/vocab_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = " Hello  123 w\xC3\xB6rld <sep>::\xFF\n the end ";
    struct err e = {0};
    struct vocab *v = NULL;
    if (vocab_from_sentencepiece(data, size, false, "input", &v, &e)) {
        if (!e.message[0]) {
            abort();
        }
        return 0;
    }
    struct ids ids = {0};
    struct buf b = {0};
    if (!vocab_encode(v, text, sizeof text - 1, ENCODE_PARSE_SPECIAL, &ids, &e)) {
        vocab_decode(v, ids.data, ids.n, true, &b);
    }
    ids_fini(&ids);
    buf_fini(&b);
    vocab_close(v);
    return 0;
}

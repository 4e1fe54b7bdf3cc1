/* Any bytes as an HTML page: encodings, the tamer, the walk, sentences and words of the result. */
#include "text/extract.h"
#include "text/sentence.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct extracted x;
    if (extract_memory(FILE_HTML, "fuzz", data, size, &arena, &x, NULL) == OK) {
        uint32_t end = 0;
        for (size_t i = 0; i < x.n_blocks; i++) {
            const struct text_block *b = &x.blocks[i];
            if (b->start != (i ? end + 2 : 0) || b->end <= b->start || b->end > x.n) {
                abort();
            }
            end = b->end;
        }
        size_t pos = 0;
        struct text_span s;
        while (sentence_next(x.text, x.n, &pos, &s)) {
        }
        struct word w;
        pos = 0;
        while (word_next(x.text, x.n, &pos, &w)) {
        }
    }
    arena_reset(&arena);
    return 0;
}

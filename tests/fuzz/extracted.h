/* What must hold for every extraction, whatever the bytes: blocks lie in order inside the text with
 * a blank line between them, and the text can be read by sentences and words. */
#ifndef HEARTH_TESTS_FUZZ_EXTRACTED_H
#define HEARTH_TESTS_FUZZ_EXTRACTED_H

#include "text/extract.h"
#include "text/sentence.h"

#include <stdlib.h>

static inline void fuzz_extract(enum file_kind kind, const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct extracted x;
    if (extract_memory(kind, "fuzz", data, size, &arena, &x, NULL) == OK) {
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
}

#endif

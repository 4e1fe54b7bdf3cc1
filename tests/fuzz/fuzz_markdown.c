/* Any bytes as Markdown: front matter, template calls, raw HTML, blocks. */
#include "extracted.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_extract(FILE_MARKDOWN, data, size);
    return 0;
}

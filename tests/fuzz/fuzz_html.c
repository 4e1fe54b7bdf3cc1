/* Any bytes as an HTML page: encodings, the tamer, the walk, sentences and words of the result. */
#include "extracted.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_extract(FILE_HTML, data, size);
    return 0;
}

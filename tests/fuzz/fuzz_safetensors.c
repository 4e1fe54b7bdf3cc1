/* Safetensors parser and the translation of tensor names: any bytes. */
#include "model/hf_internal.h"
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void touch(const struct safetensor *t)
{
    unsigned sum = 0;
    for (size_t i = 0; i < t->bytes; i++) {
        sum += t->data[i];
    }
    sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct safetensors st = {0};
    struct err e = {0};
    enum status s = safetensors_parse(data, size, "fuzz", &arena, &st, &e);
    if (s && (!e.place[0] || !e.message[0] || e.code != s || st.n)) {
        abort(); /* an error without its place and words, or with results */
    }
    for (size_t i = 0; i < st.n; i++) {
        bool no_memory = false;
        touch(&st.items[i]);
        (void)hf_tensor_name(&arena, hf_arch_find("llama"), st.items[i].name, &no_memory);
        (void)hf_tensor_name(&arena, hf_arch_find("bert"), st.items[i].name, &no_memory);
    }
    arena_reset(&arena);
    return 0;
}

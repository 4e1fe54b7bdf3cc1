/* config.json of a model directory: any bytes that are JSON. */
#include "model/hf_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weights w = {.path = "fuzz", .is_directory = true};
    struct sibling self = {"config.json", "fuzz/config.json"};
    struct err e = {0};
    w.siblings = &self;
    w.n_siblings = 1;
    json_t *config = json_loadb((const char *)data, size, 0, NULL);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const struct hf_arch *arch = type ? hf_arch_find(type) : NULL;
    bool tied = false;
    enum status s = hf_read_config(&w, config, arch ? arch : hf_arch_find("llama"), &tied, &e);
    if (!s) {
        s = hf_read_tokens(&w, config, &e);
    }
    if (s && (!e.place[0] || !e.message[0] || e.code != s)) {
        abort();
    }
    json_decref(config);
    meta_table_fini(&w.meta);
    arena_reset(&w.arena);
    return 0;
}

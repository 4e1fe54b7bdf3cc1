/* The input is a template; it is rendered over one conversation under tight limits. */
#include "model/template.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"Be <b>terse</b>.\"},"
    " {\"role\": \"user\", \"content\": \"Gr\\u00f6\\u00dfe \\ud83d\\ude00\\n 'q' \\\"d\\\"\"},"
    " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": "
    "\"f\","
    " \"arguments\": {\"a\": 1, \"b\": [1.5, true, null]}}}]}],"
    " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}],"
    " \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"x\": {\"k\": -7, \"s\": \"\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *vars;
    if (!vars) {
        vars = json_loads(conversation, 0, NULL);
        if (!vars) {
            abort();
        }
    }
    const struct template_limits limits = {.max_output_bytes = 100000,
                                           .max_steps = 50000,
                                           .max_memory_bytes = 32 << 20,
                                           .now = 1732188600};
    struct template *t = NULL;
    struct err e = {0};
    if (!template_parse((const char *)data, size, &t, &e)) {
        struct buf out = {0};
        enum status s = template_render_limited(t, vars, &limits, &out, &e);
        if ((s && out.len) || out.len > limits.max_output_bytes || s == ERR_INTERNAL) {
            abort(); /* nothing may come out of a failed render */
        }
        buf_fini(&out);
        template_free(t);
    }
    return 0;
}

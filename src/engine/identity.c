/* The identity of an engine's embeddings: SHA-256 over names, types, shapes and sampled bytes of
 * all tensors, every token's text, and how states are pooled. Samples (head, middle and tail of
 * each tensor) tell two fine-tunings of one model apart without reading gigabytes. */
#include "engine/engine_internal.h"

#include <string.h>

enum { SAMPLE_BYTES = 256 };

static void put_tensor(struct buf *b, const struct named_tensor *t)
{
    const uint8_t *data = t->t.data;
    size_t n = tensor_bytes(&t->t), part = n < SAMPLE_BYTES ? n : SAMPLE_BYTES;
    buf_printf(b, "%s %s %lld %lld %lld %lld\n", t->name, type_info(t->t.type)->name,
               (long long)t->t.ne[0], (long long)t->t.ne[1], (long long)t->t.ne[2],
               (long long)t->t.ne[3]);
    buf_put(b, data, part);
    buf_put(b, data + (n - part) / 2, part);
    buf_put(b, data + n - part, part);
}

enum status engine_identity(struct engine *en, const char **out, struct err *e)
{
    if (*en->identity) {
        *out = en->identity;
        return OK;
    }
    const struct weights *w = model_weights(en->model);
    const struct vocab *v = model_vocab(en->model);
    struct buf b = {0};
    for (size_t i = 0; i < weights_count(w); i++) {
        put_tensor(&b, weights_at(w, i));
    }
    for (int32_t id = 0; id < vocab_size(v); id++) {
        size_t at = b.len;
        vocab_decode_one(v, id, true, &b);
        buf_printf(&b, "\n%zu\n", b.len - at); /* lengths keep neighbours apart */
    }
    buf_printf(&b, "%s %s %d %d %d", en->info.arch, en->info.pooling, (int)vocab_bos(v),
               (int)vocab_eos(v), (int)vocab_cls(v));
    if (!b.failed) {
        sha256_hex(b.data, b.len, en->identity);
        *out = en->identity;
    }
    bool failed = b.failed;
    buf_fini(&b);
    return failed ? err_set(e, ERR_MEMORY, NULL, "no memory for the model's identity") : OK;
}

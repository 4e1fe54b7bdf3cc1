/* Loading: a GGUF file of every architecture and weight type opens and computes finite numbers; a
 * header that lies, a tensor that is missing, mis-shaped or unknown is refused by name; rotary
 * frequencies of every scaling. */
#include "common/test.h"
#include "common/gguf_writer.h"

#include "model/model.h"
#include "model/rope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 256, FF = 256, HEADS = 4, KV_HEADS = 2, VOCAB = 264, LAYERS = 1 };

/* What one test changes. */
struct twist {
    const char *skip;    /* tensor that is left out */
    const char *reshape; /* tensor that gets one row too many */
    const char *add;     /* tensor that has no place */
    const char *key;     /* suffix of an integer key ... */
    uint32_t value;      /* ... and its value */
};

static void put_vocab(struct gguf_writer *g)
{
    static char text[VOCAB][8];
    static const char *tokens[VOCAB];
    static int32_t types[VOCAB];
    for (int i = 0; i < VOCAB; i++) { /* any distinct pieces; the first five are BERT's */
        static const char *const first[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
        if (i < 5) {
            snprintf(text[i], sizeof text[i], "%s", first[i]);
        } else {
            snprintf(text[i], sizeof text[i], "t%d", i);
        }
        tokens[i] = text[i];
        types[i] = i < 5 ? 3 : 1;
    }
    gguf_put_string(g, "tokenizer.ggml.model", "bert");
    gguf_put_strings(g, "tokenizer.ggml.tokens", tokens, VOCAB);
    gguf_put_i32s(g, "tokenizer.ggml.token_type", types, VOCAB);
    gguf_put_u32(g, "tokenizer.ggml.unknown_token_id", 1);
    gguf_put_u32(g, "tokenizer.ggml.cls_token_id", 2);
    gguf_put_u32(g, "tokenizer.ggml.bos_token_id", 2);
    gguf_put_u32(g, "tokenizer.ggml.seperator_token_id", 3);
    gguf_put_u32(g, "tokenizer.ggml.padding_token_id", 0);
    gguf_put_u32(g, "tokenizer.ggml.mask_token_id", 4);
}

static void put_key(struct gguf_writer *g, const char *arch, const char *name, uint32_t v,
                    const struct twist *t)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, name);
    gguf_put_u32(g, key, t->key && strcmp(t->key, name) == 0 ? t->value : v);
}

static void put_tensor(struct gguf_writer *g, const char *name, enum tensor_type type, int64_t cols,
                       int64_t rows, const struct twist *t)
{
    if (t->skip && strcmp(t->skip, name) == 0) {
        return;
    }
    int64_t ne[2] = {cols, rows + (t->reshape && strcmp(t->reshape, name) == 0)};
    gguf_add_random(g, name, type, rows ? 2 : 1, ne, 0.05f);
}

static void put_block(struct gguf_writer *g, const char *arch, enum tensor_type type,
                      const struct twist *t)
{
    bool bert = strcmp(arch, "bert") == 0, bias = bert || strcmp(arch, "qwen2") == 0;
    int64_t kv = bert ? D : D / HEADS * KV_HEADS;
    put_tensor(g, "blk.0.attn_q.weight", type, D, D, t);
    put_tensor(g, "blk.0.attn_k.weight", type, D, kv, t);
    put_tensor(g, "blk.0.attn_v.weight", type == TYPE_Q4_K ? TYPE_Q6_K : type, D, kv, t);
    put_tensor(g, "blk.0.attn_output.weight", type, D, D, t);
    put_tensor(g, "blk.0.ffn_up.weight", type == TYPE_Q5_K ? TYPE_Q6_K : type, D, FF, t);
    put_tensor(g, "blk.0.ffn_down.weight", type, FF, D, t);
    if (bias) {
        put_tensor(g, "blk.0.attn_q.bias", TYPE_F32, D, 0, t);
        put_tensor(g, "blk.0.attn_k.bias", TYPE_F32, kv, 0, t);
        put_tensor(g, "blk.0.attn_v.bias", TYPE_F32, kv, 0, t);
    }
    if (strcmp(arch, "qwen3") == 0) {
        put_tensor(g, "blk.0.attn_q_norm.weight", TYPE_F32, D / HEADS, 0, t);
        put_tensor(g, "blk.0.attn_k_norm.weight", TYPE_F32, D / HEADS, 0, t);
    }
    if (!bert) {
        put_tensor(g, "blk.0.ffn_gate.weight", type, D, FF, t);
        put_tensor(g, "blk.0.attn_norm.weight", TYPE_F32, D, 0, t);
        put_tensor(g, "blk.0.ffn_norm.weight", TYPE_F32, D, 0, t);
        put_tensor(g, "output_norm.weight", TYPE_F32, D, 0, t);
        return;
    }
    static const char *const vectors[] = {
        "blk.0.attn_output.bias",         "blk.0.attn_output_norm.weight",
        "blk.0.attn_output_norm.bias",    "blk.0.ffn_down.bias",
        "blk.0.layer_output_norm.weight", "blk.0.layer_output_norm.bias",
        "token_embd_norm.weight",         "token_embd_norm.bias"};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        put_tensor(g, vectors[i], TYPE_F32, D, 0, t);
    }
    put_tensor(g, "blk.0.ffn_up.bias", TYPE_F32, FF, 0, t);
    put_tensor(g, "position_embd.weight", TYPE_F32, D, 64, t);
    put_tensor(g, "token_types.weight", TYPE_F32, D, 2, t);
}

static const char *write_model(const char *arch, enum tensor_type type, const struct twist *t)
{
    struct gguf_writer g;
    char key[96];
    const char *path = test_temp_path("model.gguf");
    bool bert = strcmp(arch, "bert") == 0;
    gguf_writer_init(&g, 7);
    gguf_put_string(&g, "general.architecture", arch);
    put_key(&g, arch, "block_count", LAYERS, t);
    put_key(&g, arch, "embedding_length", D, t);
    put_key(&g, arch, "feed_forward_length", FF, t);
    put_key(&g, arch, "context_length", 64, t);
    put_key(&g, arch, "attention.head_count", HEADS, t);
    put_key(&g, arch, "attention.head_count_kv", bert ? HEADS : KV_HEADS, t);
    snprintf(key, sizeof key, "%s.attention.layer_norm_%sepsilon", arch, bert ? "" : "rms_");
    gguf_put_f32(&g, key, 1e-5f);
    if (t->key && strcmp(t->key, "rope.dimension_count") == 0) {
        put_key(&g, arch, t->key, 0, t);
    }
    put_vocab(&g);
    put_tensor(&g, "token_embd.weight", type, D, VOCAB, t);
    put_block(&g, arch, type, t);
    if (t->add) {
        put_tensor(&g, t->add, TYPE_F32, D, 0, t);
    }
    gguf_write(&g, path);
    gguf_writer_fini(&g);
    return path;
}

static void assert_finite(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(v[i]));
        sum += fabs((double)v[i]);
    }
    assert_true(sum > 0);
}

static void compute(const char *path, bool encoder, enum mul_mode mode)
{
    static const int32_t ids[6] = {2, 50, 60, 70, 80, 3};
    const int32_t *texts[1] = {ids};
    const int64_t lens[1] = {6};
    struct err e = {0};
    struct model *m;
    struct model_options opt = {.n_threads = 1, .mode = mode, .max_batch = 64};
    float out[VOCAB];
    assert_ok_err(model_open(path, &opt, &m, &e), &e);
    if (encoder) {
        assert_ok_err(model_embed(m, texts, lens, 1, POOL_MEAN, true, out, &e), &e);
        assert_finite(out, D);
    } else {
        struct kv *kv;
        int32_t seq;
        struct model_run run = {.ids = ids, .n_ids = 6};
        assert_ok_err(kv_open(m, 32, TYPE_F16, &kv, &e), &e);
        assert_ok_err(kv_seq_new(kv, &seq, &e), &e);
        run.seq = seq;
        assert_ok_err(model_forward(m, kv, &run, 1, out, NULL, &e), &e);
        assert_finite(out, VOCAB);
        kv_close(kv);
    }
    model_close(m);
}

static void every_architecture_runs_in_every_type(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "qwen2", "qwen3", "bert"};
    static const struct twist none;
    int n_types = 0;
    for (int type = 0; type < TYPE_COUNT; type++) {
        if (!type_info((enum tensor_type)type)) {
            continue;
        }
        n_types++;
        for (int a = 0; a < 4; a++) {
            const char *path = write_model(archs[a], (enum tensor_type)type, &none);
            compute(path, a == 3, MUL_DEFAULT);
            compute(path, a == 3, MUL_EXACT);
        }
    }
    assert_true(n_types >= 15);
}

static void refuse(const char *arch, const struct twist *t, enum status status, const char *message)
{
    struct err e = {0};
    struct model *m = NULL;
    struct model_options opt = {.n_threads = 1};
    const char *path = write_model(arch, TYPE_F32, t);
    assert_status(model_open(path, &opt, &m, &e), status);
    assert_null(m);
    if (!strstr(e.message, message)) {
        fail_msg("'%s' does not say '%s'", e.message, message);
    }
    assert_non_null(strstr(e.place, "model.gguf"));
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refuse("llama", &(struct twist){.skip = "blk.0.ffn_up.weight"}, ERR_FORMAT,
           "no tensor blk.0.ffn_up.weight, expected one of 256 x 256");
    refuse("llama", &(struct twist){.reshape = "blk.0.attn_k.weight"}, ERR_FORMAT,
           "tensor blk.0.attn_k.weight is 256 x 129, expected 256 x 128");
    refuse("llama", &(struct twist){.add = "blk.0.attn_norm.bias"}, ERR_UNSUPPORTED,
           "tensor blk.0.attn_norm.bias has no place in llama");
    refuse("qwen2", &(struct twist){.skip = "blk.0.attn_v.bias"}, ERR_FORMAT,
           "no tensor blk.0.attn_v.bias, expected one of 128");
    refuse("qwen3", &(struct twist){.skip = "blk.0.attn_q_norm.weight"}, ERR_FORMAT,
           "no tensor blk.0.attn_q_norm.weight, expected one of 64");
    refuse("bert", &(struct twist){.skip = "position_embd.weight"}, ERR_FORMAT,
           "no tensor position_embd.weight");
    refuse("gptx", &(struct twist){0}, ERR_UNSUPPORTED,
           "architecture \"gptx\" (known: llama, qwen2, qwen3, bert)");
}

static void numbers_that_lie_are_refused(void **state)
{
    (void)state;
    refuse("llama", &(struct twist){.key = "block_count", .value = 0}, ERR_FORMAT,
           "llama.block_count is 0, expected 1 to 1024");
    refuse("llama", &(struct twist){.key = "block_count", .value = 1u << 31}, ERR_FORMAT,
           "llama.block_count is 2147483648");
    refuse("llama", &(struct twist){.key = "block_count", .value = 2}, ERR_FORMAT,
           "no tensor blk.1.attn_norm.weight");
    refuse("llama", &(struct twist){.key = "attention.head_count", .value = 7}, ERR_FORMAT,
           "7 attention heads cannot share 2 key heads");
    refuse("llama", &(struct twist){.key = "attention.head_count", .value = 6}, ERR_FORMAT,
           "embedding_length 256 cannot be divided among 6 heads");
    refuse("llama", &(struct twist){.key = "attention.head_count", .value = 64}, ERR_UNSUPPORTED,
           "attention heads of 4 numbers");
    refuse("llama", &(struct twist){.key = "feed_forward_length", .value = 4000000}, ERR_FORMAT,
           "llama.feed_forward_length is 4000000");
    refuse("llama", &(struct twist){.key = "rope.dimension_count", .value = 63}, ERR_FORMAT,
           "llama.rope.dimension_count 63 is odd");
    refuse("llama", &(struct twist){.key = "rope.dimension_count", .value = 66}, ERR_FORMAT,
           "llama.rope.dimension_count is 66, expected 2 to 64");
    refuse("bert", &(struct twist){.key = "attention.head_count_kv", .value = 2}, ERR_UNSUPPORTED,
           "an encoder with shared key heads");
}

/* Values by the formulas with bc; transformers agrees through the tiny models. */
static void rotary_frequencies(void **state)
{
    (void)state;
    struct rope_hparams hp = {.freq_base = 10000, .rot_dim = 4, .factor = 1, .attn_factor = 1};
    float f[2], mscale;
    rope_frequencies(&hp, NULL, f, &mscale);
    assert_true(f[0] == 1.0f && fabsf(f[1] - 0.01f) < 1e-9f && mscale == 1.0f);
    hp.scaling = ROPE_LINEAR;
    hp.factor = 4;
    rope_frequencies(&hp, NULL, f, &mscale);
    assert_true(f[0] == 0.25f && fabsf(f[1] - 0.0025f) < 1e-9f && mscale == 1.0f);
    const float factors[2] = {2, 5};
    hp.scaling = ROPE_PLAIN;
    rope_frequencies(&hp, factors, f, &mscale);
    assert_true(f[0] == 0.5f && fabsf(f[1] - 0.002f) < 1e-9f);
    /* llama3, trained on 512: waves of 6.28 stay, waves of 628 are divided by the factor */
    hp.scaling = ROPE_LLAMA3;
    hp.factor = 8;
    hp.low = 1;
    hp.high = 4;
    hp.n_ctx_orig = 512;
    rope_frequencies(&hp, NULL, f, &mscale);
    assert_true(f[0] == 1.0f && fabsf(f[1] - 0.00125f) < 1e-9f);
    /* YaRN: mscale 0.1 ln 8 + 1 */
    hp.scaling = ROPE_YARN;
    hp.beta_fast = 32;
    hp.beta_slow = 1;
    rope_frequencies(&hp, NULL, f, &mscale);
    assert_true(fabsf(mscale - 1.2079442f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_runs_in_every_type),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(numbers_that_lie_are_refused),
        cmocka_unit_test(rotary_frequencies),
    };
    return cmocka_run_group_tests_name("arch", tests, NULL, NULL);
}

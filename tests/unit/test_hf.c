/* Hugging Face directories: the tiny models under tests/golden/data/tiny give GGUF's keys and
 * names; every broken or foreign directory gets its code, place and words. */
#include "common/test.h"

#include "base/file.h"
#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weights *open_tiny(const char *name)
{
    char relative[128];
    struct weights *w = NULL;
    struct err e = {0};
    snprintf(relative, sizeof relative, "tests/golden/data/tiny/%s", name);
    assert_ok_err(weights_open(test_source_path(relative), &w, &e), &e);
    assert_string_equal(weights_format(w), "safetensors");
    return w;
}

static void expect_int(const struct weights *w, const char *key, int64_t want)
{
    int64_t v = -1;
    if (!meta_i64(w, key, &v) || v != want) {
        fail_msg("%s is %lld, expected %lld", key, (long long)v, (long long)want);
    }
}

static void expect_real(const struct weights *w, const char *key, double want)
{
    double v = NAN;
    if (!meta_f64(w, key, &v) || !(fabs(v - want) <= 1e-12 * fabs(want))) {
        fail_msg("%s is %.17g, expected %.17g", key, v, want);
    }
}

static void expect_text(const struct weights *w, const char *key, const char *want)
{
    struct meta_str s = {NULL, 0};
    if (!meta_string(w, key, &s) || s.n != strlen(want) || memcmp(s.p, want, s.n) != 0) {
        fail_msg("%s is '%.*s', expected '%s'", key, (int)s.n, s.p ? s.p : "", want);
    }
}

static void expect_tensor(const struct weights *w, const char *name, enum tensor_type type,
                          int n_dims, int64_t ne0, int64_t ne1)
{
    const struct named_tensor *t = weights_find(w, name);
    if (!t) {
        fail_msg("no tensor %s", name);
        return;
    }
    assert_int_equal(t->t.type, type);
    assert_int_equal(t->t.n_dims, n_dims);
    assert_int_equal(t->t.ne[0], ne0);
    assert_int_equal(t->t.ne[1], ne1);
    assert_int_equal(t->t.ne[2], 1);
}

static void llama_with_llama3_scaling(void **state)
{
    (void)state;
    struct weights *w = open_tiny("llama");
    double f;
    bool b;
    expect_text(w, "general.architecture", "llama");
    expect_text(w, "general.name", "llama");
    expect_int(w, "llama.vocab_size", 288);
    expect_int(w, "llama.context_length", 256);
    expect_int(w, "llama.embedding_length", 64);
    expect_int(w, "llama.block_count", 2);
    expect_int(w, "llama.feed_forward_length", 32);
    expect_int(w, "llama.attention.head_count", 4);
    expect_int(w, "llama.attention.head_count_kv", 2);
    expect_int(w, "llama.attention.key_length", 16);
    expect_int(w, "llama.rope.dimension_count", 16);
    expect_real(w, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    expect_real(w, "llama.rope.freq_base", 10000);
    expect_text(w, "llama.rope.scaling.type", "llama3");
    expect_real(w, "llama.rope.scaling.factor", 8);
    expect_int(w, "llama.rope.scaling.original_context_length", 32);
    expect_real(w, "llama.rope.scaling.low_freq_factor", 1);
    expect_real(w, "llama.rope.scaling.high_freq_factor", 4);
    assert_false(meta_f64(w, "llama.rope.scaling.attn_factor", &f));
    assert_false(meta_bool(w, "llama.normalize_embeddings", &b));
    expect_int(w, "tokenizer.ggml.bos_token_id", 284);
    expect_int(w, "tokenizer.ggml.eos_token_id", 286);
    expect_int(w, "tokenizer.ggml.padding_token_id", 287);
    struct meta_str s;
    assert_true(meta_string(w, "tokenizer.chat_template", &s));
    assert_memory_equal(s.p, "{% for message in messages %}", 29);
    assert_true(weights_rope_neox(w, "llama"));
    assert_null(weights_find(w, "output.weight")); /* tied */
    assert_int_equal(weights_count(w), 2 + 2 * 9);
    expect_tensor(w, "token_embd.weight", TYPE_BF16, 2, 64, 288);
    expect_tensor(w, "output_norm.weight", TYPE_BF16, 1, 64, 1);
    expect_tensor(w, "blk.1.attn_q.weight", TYPE_BF16, 2, 64, 64);
    expect_tensor(w, "blk.1.attn_k.weight", TYPE_BF16, 2, 64, 32);
    expect_tensor(w, "blk.1.attn_output.weight", TYPE_BF16, 2, 64, 64);
    expect_tensor(w, "blk.0.ffn_down.weight", TYPE_BF16, 2, 32, 64);
    expect_tensor(w, "blk.0.ffn_gate.weight", TYPE_BF16, 2, 64, 32);
    expect_tensor(w, "blk.0.attn_norm.weight", TYPE_BF16, 1, 64, 1);
    expect_tensor(w, "blk.0.ffn_norm.weight", TYPE_BF16, 1, 64, 1);
    const char *sibling = weights_sibling(w, "tokenizer.json");
    assert_true(sibling && file_exists(sibling));
    assert_null(weights_sibling(w, "vocab.txt"));
    weights_close(w);
}

static void sharded_llama_with_yarn(void **state)
{
    (void)state;
    struct weights *w = open_tiny("llama-yarn-sharded");
    expect_text(w, "llama.rope.scaling.type", "yarn");
    expect_real(w, "llama.rope.freq_base", 500000);
    expect_int(w, "llama.rope.scaling.original_context_length", 16);
    expect_real(w, "llama.rope.scaling.yarn_beta_fast", 4);
    expect_real(w, "llama.rope.scaling.yarn_beta_slow", 1);
    expect_real(w, "llama.rope.scaling.attn_factor", 1.25 / (1 + 0.1 * log(4)));
    expect_tensor(w, "output.weight", TYPE_F16, 2, 32, 288);
    assert_int_equal(weights_count(w), 3 + 2 * 9);
    assert_string_not_equal(weights_find(w, "output.weight")->file,
                            weights_find(w, "blk.0.attn_q.weight")->file);
    assert_int_equal(weights_file_bytes(w), 29312 + 28360 + 18552);
    weights_close(w);
}

static void qwen_biases_and_head_norms(void **state)
{
    (void)state;
    int64_t i;
    struct weights *w = open_tiny("qwen2");
    expect_text(w, "general.architecture", "qwen2");
    expect_real(w, "qwen2.rope.freq_base", 1000000);
    expect_int(w, "qwen2.context_length", 128);
    expect_tensor(w, "blk.0.attn_q.bias", TYPE_F16, 1, 32, 1);
    expect_tensor(w, "blk.1.attn_v.bias", TYPE_F16, 1, 16, 1);
    assert_null(weights_find(w, "blk.0.attn_output.bias"));
    assert_false(meta_i64(w, "qwen2.attention.sliding_window", &i));
    weights_close(w);
    w = open_tiny("qwen3");
    expect_int(w, "qwen3.attention.key_length", 32);
    expect_int(w, "qwen3.attention.value_length", 32);
    expect_int(w, "qwen3.rope.dimension_count", 32);
    expect_tensor(w, "blk.0.attn_q_norm.weight", TYPE_F16, 1, 32, 1);
    expect_tensor(w, "blk.1.attn_k_norm.weight", TYPE_F16, 1, 32, 1);
    expect_tensor(w, "blk.1.attn_q.weight", TYPE_F16, 2, 32, 64);
    weights_close(w);
}

static void bert_poolings(void **state)
{
    (void)state;
    bool b = true;
    struct weights *w = open_tiny("bert-mean");
    expect_text(w, "general.architecture", "bert");
    expect_int(w, "bert.context_length", 64);
    expect_int(w, "bert.pooling_type", 1);
    assert_true(meta_bool(w, "bert.normalize_embeddings", &b) && !b);
    assert_true(meta_bool(w, "bert.attention.causal", &b) && !b);
    expect_real(w, "bert.attention.layer_norm_epsilon", 1e-12);
    expect_int(w, "tokenizer.ggml.token_type_count", 2);
    expect_int(w, "tokenizer.ggml.padding_token_id", 0);
    expect_tensor(w, "token_embd.weight", TYPE_F32, 2, 32, 124);
    expect_tensor(w, "token_types.weight", TYPE_F32, 2, 32, 2);
    expect_tensor(w, "position_embd.weight", TYPE_F32, 2, 32, 64);
    expect_tensor(w, "token_embd_norm.weight", TYPE_F32, 1, 32, 1);
    expect_tensor(w, "token_embd_norm.bias", TYPE_F32, 1, 32, 1);
    expect_tensor(w, "blk.1.attn_q.bias", TYPE_F32, 1, 32, 1);
    expect_tensor(w, "blk.1.attn_output_norm.bias", TYPE_F32, 1, 32, 1);
    expect_tensor(w, "blk.1.layer_output_norm.weight", TYPE_F32, 1, 32, 1);
    expect_tensor(w, "blk.1.ffn_down.weight", TYPE_F32, 2, 64, 32);
    expect_tensor(w, "blk.1.ffn_up.bias", TYPE_F32, 1, 64, 1);
    assert_int_equal(weights_count(w), 5 + 2 * 16);
    assert_non_null(weights_sibling(w, "1_Pooling/config.json"));
    weights_close(w);
    w = open_tiny("bert-cls");
    expect_int(w, "bert.context_length", 24);
    expect_int(w, "bert.pooling_type", 2);
    assert_true(meta_bool(w, "bert.normalize_embeddings", &b) && b);
    weights_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_with_llama3_scaling),
        cmocka_unit_test(sharded_llama_with_yarn),
        cmocka_unit_test(qwen_biases_and_head_norms),
        cmocka_unit_test(bert_poolings),
    };
    return cmocka_run_group_tests_name("hf", tests, NULL, NULL);
}

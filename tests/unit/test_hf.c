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

/* A directory of these files (name, content, ..., NULL) under the temporary folder; each call gets
 * a new one. A name ending in .safetensors gets the content as its header. */
static const char *make_dir(const char *const *files)
{
    static int n;
    static char dir[512];
    snprintf(dir, sizeof dir, "%s/hf%d", test_temp_dir(), n++);
    for (; files[0]; files += 2) {
        struct err e = {0};
        char path[768];
        struct buf b = {0};
        snprintf(path, sizeof path, "%s/%s", dir, files[0]);
        char *slash = strrchr(path, '/');
        *slash = 0;
        assert_ok_err(file_mkdirs(path, &e), &e);
        *slash = '/';
        if (strstr(files[0], ".safetensors") && !strstr(files[0], ".json")) {
            char head[8] = {(char)strlen(files[1])};
            buf_put(&b, head, 8);
            buf_puts(&b, files[1]);
            buf_put(&b, "\0\0\200\77", 4); /* one float, 1.0 */
        } else {
            buf_puts(&b, files[1]);
        }
        test_write_file(path, b.data, b.len);
        buf_fini(&b);
    }
    return dir;
}

#define SIZES                                                                               \
    "\"vocab_size\":10,\"hidden_size\":32,\"num_hidden_layers\":1,\"intermediate_size\":8," \
    "\"num_attention_heads\":2,\"max_position_embeddings\":128"
#define LLAMA(more) "{\"model_type\":\"llama\"," SIZES more "}"
#define QWEN2(more) "{\"model_type\":\"qwen2\"," SIZES more "}"
#define BERT(more) "{\"model_type\":\"bert\"," SIZES more "}"
#define ONE "{\"x.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"

static struct weights *open_config(const char *config)
{
    const char *files[] = {"config.json", config, "model.safetensors", ONE, NULL};
    struct weights *w = NULL;
    struct err e = {0};
    assert_ok_err(weights_open(make_dir(files), &w, &e), &e);
    return w;
}

static void defaults_of_older_configs(void **state)
{
    (void)state;
    int64_t i;
    struct meta_str s;
    struct weights *w = open_config(LLAMA(""));
    expect_int(w, "llama.attention.head_count_kv", 2);
    expect_int(w, "llama.rope.dimension_count", 16);
    expect_real(w, "llama.rope.freq_base", 10000);
    expect_real(w, "llama.attention.layer_norm_rms_epsilon", 1e-6);
    assert_false(meta_i64(w, "llama.attention.key_length", &i));
    assert_false(meta_string(w, "llama.rope.scaling.type", &s));
    assert_false(meta_i64(w, "llama.pooling_type", &i));
    assert_int_equal(weights_count(w), 0); /* x.weight is no weight of a llama */
    weights_close(w);
    w = open_config(LLAMA(",\"rope_theta\":5e5,\"sliding_window\":4096,\"num_key_value_heads\":1,"
                          "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}"));
    expect_real(w, "llama.rope.freq_base", 500000);
    expect_text(w, "llama.rope.scaling.type", "linear");
    expect_real(w, "llama.rope.scaling.factor", 4);
    expect_int(w, "llama.attention.sliding_window", 4096);
    expect_int(w, "llama.attention.head_count_kv", 1);
    weights_close(w);
    w = open_config(QWEN2(",\"use_sliding_window\":false,\"sliding_window\":4096,"
                          "\"rope_scaling\":{\"rope_type\":\"default\"}"));
    assert_false(meta_i64(w, "qwen2.attention.sliding_window", &i));
    assert_false(meta_string(w, "qwen2.rope.scaling.type", &s));
    weights_close(w);
    w = open_config(QWEN2(",\"use_sliding_window\":true,\"sliding_window\":4096"));
    assert_false(meta_i64(w, "qwen2.attention.sliding_window", &i)); /* from layer 28 of 1 on */
    weights_close(w);
    w = open_config(
        QWEN2(",\"use_sliding_window\":true,\"sliding_window\":4096,\"max_window_layers\":0"));
    expect_int(w, "qwen2.attention.sliding_window", 4096);
    weights_close(w);
    w = open_config(BERT(""));
    expect_int(w, "bert.context_length", 128);
    assert_false(meta_i64(w, "bert.pooling_type", &i));
    weights_close(w);
}

static void tokens_and_templates(void **state)
{
    (void)state;
    const char *files[] = {
        "config.json",
        LLAMA(",\"eos_token_id\":[1,2],\"bos_token_id\":0,\"pad_token_id\":null"),
        "generation_config.json",
        "{\"eos_token_id\":[2,7]}",
        "tokenizer_config.json",
        "{\"eos_token\":{\"content\":\"<e>\"},\"add_bos_token\":true,"
        "\"model_max_length\":1000000000000000019884624838656,"
        "\"added_tokens_decoder\":{\"9\":{\"content\":\"<e>\"},\"x\":{\"content\":\"<e>\"}},"
        "\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"T\"},"
        "{\"name\":\"default\",\"template\":\"D\"}]}",
        "model.safetensors",
        ONE,
        NULL};
    struct weights *w = NULL;
    struct err e = {0};
    int64_t i = 0;
    bool b = false;
    assert_ok_err(weights_open(make_dir(files), &w, &e), &e);
    expect_int(w, "tokenizer.ggml.eos_token_id", 9);
    assert_int_equal(meta_array_len(w, "tokenizer.ggml.eos_token_ids", NULL), 4);
    const int64_t ends[] = {9, 2, 7, 1};
    for (size_t k = 0; k < 4; k++) {
        assert_true(meta_array_i64(w, "tokenizer.ggml.eos_token_ids", k, &i));
        assert_int_equal(i, ends[k]);
    }
    expect_int(w, "tokenizer.ggml.bos_token_id", 0);
    assert_false(meta_i64(w, "tokenizer.ggml.padding_token_id", &i));
    assert_true(meta_bool(w, "tokenizer.ggml.add_bos_token", &b) && b);
    expect_text(w, "tokenizer.chat_template", "D");
    expect_text(w, "tokenizer.chat_template.tool_use", "T");
    weights_close(w);
    const char *newer[] = {"config.json",
                           LLAMA(""),
                           "chat_template.jinja",
                           "J\n",
                           "tokenizer_config.json",
                           "{\"chat_template\":\"old\"}",
                           "model.safetensors",
                           ONE,
                           NULL};
    assert_ok_err(weights_open(make_dir(newer), &w, &e), &e);
    expect_text(w, "tokenizer.chat_template", "J\n");
    weights_close(w);
}

static void names_of_other_exporters(void **state)
{
    (void)state;
    static const struct {
        const char *config, *name, *gguf;
    } cases[] = {
        {BERT(""), "bert.embeddings.LayerNorm.gamma", "token_embd_norm.weight"},
        {BERT(""), "0.auto_model.encoder.layer.11.output.dense.bias", "blk.11.ffn_down.bias"},
        {BERT(""), "encoder.layer.0.attention.self.key.weight", "blk.0.attn_k.weight"},
        {BERT(""), "encoder.layer.00.attention.self.key.weight", NULL},
        {BERT(""), "encoder.layer.x.attention.self.key.weight", NULL},
        {BERT(""), "bert.pooler.dense.weight", NULL},
        {LLAMA(""), "model.layers.9.mlp.down_proj.weight", "blk.9.ffn_down.weight"},
        {LLAMA(""), "layers.9.self_attn.o_proj.bias", "blk.9.attn_output.bias"},
        {LLAMA(""), "model.layers.0.self_attn.rotary_emb.inv_freq", NULL},
        {LLAMA(""), "lm_head.weight", "output.weight"},
        {LLAMA(",\"tie_word_embeddings\":true"), "lm_head.weight", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[256];
        snprintf(header, sizeof header,
                 "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                 cases[i].name);
        const char *files[] = {"config.json", cases[i].config, "model.safetensors", header, NULL};
        struct weights *w = NULL;
        struct err e = {0};
        assert_ok_err(weights_open(make_dir(files), &w, &e), &e);
        assert_int_equal(weights_count(w), cases[i].gguf ? 1 : 0);
        if (cases[i].gguf) {
            assert_string_equal(weights_at(w, 0)->name, cases[i].gguf);
            float f;
            memcpy(&f, weights_at(w, 0)->t.data,
                   sizeof f); /* moved to an aligned place if need be */
            assert_true(f == 1.0f && (uintptr_t)weights_at(w, 0)->t.data % 4 == 0);
        }
        weights_close(w);
    }
}

static void models_in_a_subfolder(void **state)
{
    (void)state;
    const char *files[] = {
        "modules.json",
        "[{\"type\":\"sentence_transformers.models.Transformer\",\"path\":\"0_Transformer\"},"
        "{\"type\":\"sentence_transformers.models.Pooling\",\"path\":\"1_Pooling\"}]",
        "1_Pooling/config.json",
        "{\"pooling_mode\":\"cls\"}",
        "0_Transformer/config.json",
        BERT(""),
        "0_Transformer/vocab.txt",
        "[PAD]\n",
        "0_Transformer/model.safetensors",
        ONE,
        NULL};
    struct weights *w = NULL;
    struct err e = {0};
    const char *dir = make_dir(files);
    assert_ok_err(weights_open(dir, &w, &e), &e);
    expect_int(w, "bert.pooling_type", 2);
    assert_string_equal(weights_sibling(w, "vocab.txt") + strlen(dir), "/0_Transformer/vocab.txt");
    assert_null(weights_sibling(w, "merges.txt"));
    weights_close(w);
}

#define MODULES(last)                                                                         \
    "modules.json", "[{\"type\":\"sentence_transformers.models.Transformer\",\"path\":\"\"}," \
                    "{\"type\":\"sentence_transformers.models." last "\",\"path\":\"1_Pooling\"}]"
#define INDEX(map) "model.safetensors.index.json", "{\"weight_map\":{" map "}}"
#define NORM(dtype, shape)                                                               \
    "{\"norm.weight\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[0," \
    "4]}}"

static const struct lie {
    const char *files[9];
    enum status code;
    const char *place; /* below the directory; "" is the directory */
    const char *words;
} lies[] = {
    {{"README.md", ""},
     ERR_NOT_FOUND,
     "",
     "no config.json: a .gguf file or a model's directory is expected"},
    {{"config.json", "{"}, ERR_FORMAT, "/config.json", "no JSON at line 1, column 1"},
    {{"config.json", ""}, ERR_FORMAT, "/config.json", "no JSON at line 1, column 0"},
    {{"config.json", "[]"}, ERR_FORMAT, "/config.json", "'model_type' is missing"},
    {{"config.json", "{\"model_type\":\"gpt_neox\"}"},
     ERR_UNSUPPORTED,
     "/config.json",
     "model_type 'gpt_neox'"},
    {{"config.json", "{\"model_type\":\"llama\"}"},
     ERR_FORMAT,
     "/config.json",
     "'vocab_size' is missing"},
    {{"config.json", LLAMA(",\"num_key_value_heads\":0")},
     ERR_FORMAT,
     "/config.json",
     "'num_key_value_heads' is no whole number from 1 to 1073741824"},
    {{"config.json", LLAMA(",\"num_key_value_heads\":1.5")},
     ERR_FORMAT,
     "/config.json",
     "'num_key_value_heads' is no whole number from 1 to 1073741824"},
    {{"config.json", LLAMA(",\"num_key_value_heads\":1e30")},
     ERR_FORMAT,
     "/config.json",
     "'num_key_value_heads' is no whole number from 1 to 1073741824"},
    {{"config.json", LLAMA(",\"rms_norm_eps\":\"x\"")},
     ERR_FORMAT,
     "/config.json",
     "'rms_norm_eps' is no number"},
    {{"config.json", LLAMA(",\"hidden_act\":\"gelu\"")},
     ERR_UNSUPPORTED,
     "/config.json",
     "'hidden_act' is 'gelu', only 'silu' is computed"},
    {{"config.json", LLAMA(",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}")},
     ERR_UNSUPPORTED,
     "/config.json",
     "rope scaling 'dynamic': linear, yarn and llama3 are computed"},
    {{"config.json", LLAMA(",\"rope_scaling\":{\"type\":\"yarn\"}")},
     ERR_FORMAT,
     "/config.json",
     "rope scaling 'factor' is 0, expected 1 or more"},
    {{"config.json",
      "{\"model_type\":\"qwen3\"," SIZES ",\"num_hidden_layers\":3,\"use_sliding_window\":true,"
      "\"sliding_window\":64,\"max_window_layers\":2}"},
     ERR_UNSUPPORTED,
     "/config.json",
     "a sliding window from layer 2 on: all layers or none is computed"},
    {{"config.json", LLAMA(",\"rope_scaling\":[]")},
     ERR_FORMAT,
     "/config.json",
     "the rope parameters are not an object"},
    {{"config.json", LLAMA(",\"quantization_config\":{\"quant_method\":\"awq\"}")},
     ERR_UNSUPPORTED,
     "/config.json",
     "weights quantised with 'awq'"},
    {{"config.json", BERT(",\"position_embedding_type\":\"relative_key\"")},
     ERR_UNSUPPORTED,
     "/config.json",
     "'position_embedding_type' is 'relative_key', only 'absolute' is computed"},
    {{"config.json", BERT(""), MODULES("Dense")},
     ERR_UNSUPPORTED,
     "",
     "modules.json: a module of type 'Dense'"},
    {{"config.json", BERT(""), MODULES("Pooling")},
     ERR_FORMAT,
     "",
     "modules.json names a pooling whose config.json is missing"},
    {{"config.json", BERT(""), MODULES("Pooling"), "1_Pooling/config.json",
      "{\"pooling_mode_max_tokens\":true}"},
     ERR_UNSUPPORTED,
     "",
     "1_Pooling/config.json: one pooling of mean, cls and lasttoken is computed"},
    {{"config.json", BERT(""), MODULES("Pooling"), "1_Pooling/config.json",
      "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}"},
     ERR_UNSUPPORTED,
     "",
     "1_Pooling/config.json: one pooling of mean, cls and lasttoken is computed"},
    {{"config.json", LLAMA("")}, ERR_NOT_FOUND, "", "no model.safetensors"},
    {{"config.json", LLAMA(""), "pytorch_model.bin", ""},
     ERR_UNSUPPORTED,
     "",
     "pytorch_model.bin without safetensors: save the model as safetensors"},
    {{"config.json", LLAMA(""), "model.safetensors", NORM("I32", "[1]")},
     ERR_UNSUPPORTED,
     "/model.safetensors",
     "tensor 'norm.weight' has dtype I32: F32, F16 and BF16 are read"},
    {{"config.json", LLAMA(""), "model.safetensors", NORM("F32", "[1,1,1]")},
     ERR_FORMAT,
     "/model.safetensors",
     "tensor 'norm.weight' has 3 dimensions and 4 bytes"},
    {{"config.json", LLAMA(""), "model.safetensors", NORM("F32", "[2]")},
     ERR_FORMAT,
     "/model.safetensors:8",
     "tensor 'norm.weight' of 2 elements of F32 takes 4 bytes"},
    {{"config.json", LLAMA(""), "model.safetensors.index.json", "{}"},
     ERR_FORMAT,
     "/model.safetensors.index.json",
     "'weight_map' is missing or no object"},
    {{"config.json", LLAMA(""), INDEX("\"norm.weight\":\"../m.safetensors\"")},
     ERR_FORMAT,
     "/model.safetensors.index.json",
     "the file of a tensor is no plain file name"},
    {{"config.json", LLAMA(""), INDEX("\"norm.weight\":\"m.safetensors\"")},
     ERR_NOT_FOUND,
     "",
     "no file 'm.safetensors'"},
    {{"config.json", LLAMA(""), INDEX("\"norm.weight\":\"m.safetensors\""), "m.safetensors", ONE},
     ERR_MISMATCH,
     "/model.safetensors.index.json",
     "1 tensors are mapped, 0 are in their files"},
    {{"config.json", LLAMA(""),
      INDEX("\"norm.weight\":\"a.safetensors\",\"model.norm.weight\":"
            "\"a.safetensors\""),
      "a.safetensors",
      "{\"norm.weight\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
      "\"model.norm.weight\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}"},
     ERR_FORMAT,
     "/a.safetensors",
     "tensor 'output_norm.weight' ('model.norm.weight') is there twice"},
};

static void lies_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct weights *w = NULL;
        struct err e = {0};
        const char *dir = make_dir(lies[i].files);
        enum status s = weights_open(dir, &w, &e);
        size_t n = strlen(dir);
        if (s != lies[i].code || strncmp(e.place, dir, n) != 0 ||
            strcmp(e.place + n, lies[i].place) != 0 || strcmp(e.message, lies[i].words) != 0) {
            fail_msg("case %zu: %s: %s: %s", i, status_info(s)->name, e.place, e.message);
        }
        assert_null(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_with_llama3_scaling),  cmocka_unit_test(sharded_llama_with_yarn),
        cmocka_unit_test(qwen_biases_and_head_norms), cmocka_unit_test(bert_poolings),
        cmocka_unit_test(defaults_of_older_configs),  cmocka_unit_test(tokens_and_templates),
        cmocka_unit_test(names_of_other_exporters),   cmocka_unit_test(lies_are_named),
        cmocka_unit_test(models_in_a_subfolder),
    };
    return cmocka_run_group_tests_name("hf", tests, NULL, NULL);
}

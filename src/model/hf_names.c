/* Tensor names of Hugging Face models, translated to GGUF's. A name is taken apart once: a prefix
 * that only says which class was saved, "layers.<n>." or "encoder.layer.<n>.", a middle that the
 * tables below translate, and the ending .weight or .bias. */
#include "model/hf_internal.h"

#include <string.h>

static const struct hf_arch archs[] = {
    {.model_type = "llama", .arch = "llama"},
    {.model_type = "mistral", .arch = "llama"},
    {.model_type = "qwen2", .arch = "qwen2"},
    {.model_type = "qwen3", .arch = "qwen3"},
    {.model_type = "bert", .arch = "bert", .is_encoder = true},
    {.model_type = "roberta", .arch = "bert", .is_encoder = true, .is_roberta = true},
    {.model_type = "xlm-roberta",
     .arch = "bert",
     .is_encoder = true,
     .is_roberta = true,
     .fairseq_ids = true},
};

const struct hf_arch *hf_arch_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        if (strcmp(archs[i].model_type, model_type) == 0) {
            return &archs[i];
        }
    }
    return NULL;
}

struct pair {
    const char *hf, *gguf;
};

static const struct pair decoder_whole[] = {
    {"embed_tokens", "token_embd"},
    {"norm", "output_norm"},
    {"lm_head", "output"},
    {"score", "cls.output"},
    {NULL, NULL},
};

static const struct pair decoder_block[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},       {NULL, NULL},
};

static const struct pair encoder_whole[] = {
    {"embeddings.word_embeddings", "token_embd"},
    {"embeddings.token_type_embeddings", "token_types"},
    {"embeddings.position_embeddings", "position_embd"},
    {"embeddings.LayerNorm", "token_embd_norm"},
    {"pooler.dense", "cls"},
    {"classifier", "cls.output"},
    {"classifier.dense", "cls"}, /* RoBERTa's head has the pooler's layer inside */
    {"classifier.out_proj", "cls.output"},
    {NULL, NULL},
};

static const struct pair encoder_block[] = {
    {"attention.self.query", "attn_q"},
    {"attention.self.key", "attn_k"},
    {"attention.self.value", "attn_v"},
    {"attention.output.dense", "attn_output"},
    {"attention.output.LayerNorm", "attn_output_norm"},
    {"intermediate.dense", "ffn_up"},
    {"output.dense", "ffn_down"},
    {"output.LayerNorm", "layer_output_norm"},
    {NULL, NULL},
};

static bool skip(const char **s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*s, prefix, n) != 0) {
        return false;
    }
    *s += n;
    return true;
}

/* "<n>." with n below 10000 and no leading zero. */
static bool skip_number(const char **s, int *out)
{
    const char *p = *s;
    int n = 0;
    int digits = 0;
    for (; *p >= '0' && *p <= '9' && digits < 4; p++, digits++) {
        n = n * 10 + (*p - '0');
    }
    if (!digits || *p != '.' || (digits > 1 && **s == '0')) {
        return false;
    }
    *s = p + 1;
    *out = n;
    return true;
}

static const char *translate(const struct pair *table, const char *s, size_t n)
{
    for (; table->hf; table++) {
        if (strlen(table->hf) == n && memcmp(table->hf, s, n) == 0) {
            return table->gguf;
        }
    }
    return NULL;
}

/* Cuts the ending off s[0..*n) and returns GGUF's form of it. LayerNorms of TensorFlow's time call
 * them gamma and beta. */
static const char *ending(const char *s, size_t *n)
{
    static const struct pair endings[] = {
        {".weight", ".weight"},
        {".bias", ".bias"},
        {".gamma", ".weight"},
        {".beta", ".bias"},
    };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t k = strlen(endings[i].hf);
        if (*n > k && memcmp(s + *n - k, endings[i].hf, k) == 0) {
            *n -= k;
            return endings[i].gguf;
        }
    }
    return NULL;
}

const char *hf_tensor_name(struct arena *arena, const struct hf_arch *arch, const char *name,
                           bool *no_memory)
{
    static const char *const prefixes[] = {"0.auto_model.", "auto_model.", "bert.", "roberta.",
                                           "model."};
    const char *s = name;
    const char *out = NULL;
    int layer = 0;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        (void)skip(&s, prefixes[i]);
    }
    bool in_block = skip(&s, arch->is_encoder ? "encoder.layer." : "layers.");
    if (in_block && !skip_number(&s, &layer)) {
        return NULL;
    }
    size_t n = strlen(s);
    const char *end = ending(s, &n);
    if (!end) {
        return NULL;
    }
    if (in_block) {
        const char *t = translate(arch->is_encoder ? encoder_block : decoder_block, s, n);
        out = t ? arena_printf(arena, "blk.%d.%s%s", layer, t, end) : NULL;
        *no_memory = *no_memory || (t && !out);
        return out;
    }
    const char *t = translate(arch->is_encoder ? encoder_whole : decoder_whole, s, n);
    out = t ? arena_printf(arena, "%s%s", t, end) : NULL;
    *no_memory = *no_memory || (t && !out);
    return out;
}

/* The pre-tokenizers that GGUF files name in tokenizer.ggml.pre, one row each: patterns as the
 * model's own tokenizer.json has them (where GGUF's list differs in spelling only, the model's
 * spelling stands here), the scanner that equals them, and what the name implies besides.
 *
 * A new name is a new row. Several names share patterns because GGUF names models, not patterns. */
#include "model/pretok.h"

#include <string.h>

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define DIGIT "\\p{N}"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CL100K(digits, others)                                                                     \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?" others "|\\s*[\\r\\n]+|\\s+(?!\\S)" \
                "|\\s+"
#define OTHERS "[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define LLAMA3 CL100K("\\p{N}{1,3}", OTHERS)
#define QWEN2 CL100K("\\p{N}", OTHERS)
/* Words with their case: an upper-case run, then a lower-case run (GPT-4o). */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(suffix, digits)                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER \
    "*" suffix "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define DEEPSEEK3_WORDS                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p" \
    "{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* clang-format off */
#define DEEPSEEK_LETTERS \
    "\\s?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}" \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}" \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-" \
    "\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}" \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-" \
    "\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}" \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}" \
    "\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}" \
    "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-" \
    "\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}" \
    "\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}" \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}" \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-" \
    "\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}" \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}" \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}" \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+"
/* clang-format on */
/* ASCII and full-width punctuation; Chinese, Japanese and Korean blocks, as DeepSeek wrote them. */
#define DEEPSEEK_PUNCT \
    "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+"
#define DEEPSEEK_CJK "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define DEEPSEEK3_KANA "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define BAILING                                                                                   \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*" \
    "|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

const char pretok_gpt2_pattern[] = GPT2;
const char pretok_digit_pattern[] = DIGIT;

static const struct pretok_row rows[] = {
    /* what a file without a name gets, as its writers intended */
    {.name = "default",
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},

    {.name = "gpt-2", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "phi-2", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "mpt", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "olmo", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "jais", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "jina-es", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "jina-de", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "jina-v2-es", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "jina-v2-de", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "jina-v1-en", .patterns = {GPT2}, .scan = SCAN_GPT2, .add_sep = true},
    {.name = "jina-v2-code", .patterns = {GPT2}, .scan = SCAN_GPT2, .add_sep = true},
    {.name = "roberta-bpe", .patterns = {GPT2}, .scan = SCAN_GPT2, .add_sep = true},
    {.name = "gigachat", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "a.x-4.0", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "mellum", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "modern-bert", .patterns = {GPT2}, .scan = SCAN_GPT2},
    {.name = "exaone4", .patterns = {GPT2}, .scan = SCAN_GPT2},

    {.name = "smollm", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},
    {.name = "starcoder", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},
    {.name = "refact", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},
    {.name = "command-r", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},
    {.name = "codeshell", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},
    {.name = "exaone", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},
    {.name = "minerva-7b", .patterns = {DIGIT, GPT2}, .scan = SCAN_SMOLLM},

    {.name = "llama-bpe",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "llama3",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "llama-v3",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "falcon3",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "falcon-h1",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "pixtral",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "lfm2",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "midm-2.0",
     .patterns = {LLAMA3},
     .scan = SCAN_LLAMA3,
     .ignore_merges = true,
     .add_bos = true},
    {.name = "dbrx", .patterns = {LLAMA3}, .scan = SCAN_LLAMA3},
    {.name = "smaug-bpe", .patterns = {LLAMA3}, .scan = SCAN_LLAMA3},
    {.name = "glm4", .patterns = {LLAMA3}, .scan = SCAN_LLAMA3},
    {.name = "chatglm-bpe", .patterns = {LLAMA3}, .scan = SCAN_LLAMA3},

    {.name = "qwen2", .patterns = {QWEN2}, .scan = SCAN_QWEN2},
    {.name = "stablelm2", .patterns = {QWEN2}, .scan = SCAN_QWEN2},
    {.name = "deepseek-r1-qwen", .patterns = {QWEN2}, .scan = SCAN_QWEN2},
    {.name = "megrez", .patterns = {QWEN2}, .scan = SCAN_QWEN2},
    {.name = "hunyuan", .patterns = {QWEN2}, .scan = SCAN_QWEN2},
    {.name = "grok-2", .patterns = {QWEN2}, .scan = SCAN_QWEN2},
    {.name = "solar-open", .patterns = {QWEN2}, .scan = SCAN_QWEN2},

    {.name = "seed-coder", .patterns = {CL100K("\\p{N}{1}", "[^\\s\\p{L}\\p{N}\\r\\n]+")}},
    {.name = "bailingmoe", .patterns = {BAILING}},
    {.name = "bailingmoe2", .patterns = {BAILING}},
    {.name = "llada-moe", .patterns = {BAILING}},

    {.name = "gpt-4o", .patterns = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.name = "llama4", .patterns = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.name = "kanana2", .patterns = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.name = "minimax-m2", .patterns = {O200K(CONTRACTION "?", "\\p{N}{1,3}")}},
    {.name = "tekken", .patterns = {O200K("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},

    {.name = "deepseek-llm",
     .patterns = {"[\\r\\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCT, "\\s+$", DEEPSEEK_CJK, "\\p{N}+"}},
    {.name = "deepseek-coder",
     .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {.name = "deepseek-v3", .patterns = {"\\p{N}{1,3}", DEEPSEEK3_KANA, DEEPSEEK3_WORDS}},
    {.name = "hunyuan-dense", .patterns = {"\\p{N}{1,3}", DEEPSEEK3_KANA, DEEPSEEK3_WORDS}},
    {.name = "joyai-llm", .patterns = {"\\p{N}{1,3}", DEEPSEEK3_KANA, DEEPSEEK3_WORDS}},

    {.name = "falcon", .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.name = "poro-chat", .patterns = {BLOOM}},
    {.name = "bloom", .patterns = {BLOOM}},
    {.name = "gpt3-finnish", .patterns = {BLOOM}},
    {.name = "viking", .patterns = {BLOOM, DIGIT}},
    {.name = "chameleon",
     .patterns = {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )",
                  DIGIT, "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     .add_bos = true},
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

const struct pretok_row *pretok_row_at(size_t i)
{
    return i < N_ROWS ? &rows[i] : NULL;
}

const struct pretok_row *pretok_row(const char *name, size_t n)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

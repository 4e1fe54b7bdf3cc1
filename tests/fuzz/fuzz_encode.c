/* Arbitrary bytes through small tokenizers of every kind, made here. The first byte picks one.
 *
 * Invariants: byte-level BPE and byte-fallback BPE decode to the very bytes; streaming by
 * utf8_incomplete_tail never cuts a character; a scanner cuts where its pattern cuts (on code
 * points on which all versions of Unicode agree). */
#include "model/vocab_internal.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GPT2_STEP "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define DIGIT_STEP "{\"type\":\"Digits\",\"individual_digits\":true}"
#define RAW_STEP "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"

static const struct {
    const char *pretok; /* of a byte-level tokenizer */
} kinds[] = {
    {"null"}, /* not byte-level: byte fallback */
    {GPT2_STEP},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[" DIGIT_STEP "," GPT2_STEP "]}"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{"
     "N}"
     "{1,3}|\\\\p{L}+\"},\"behavior\":\"Isolated\",\"invert\":false}," RAW_STEP "]}"},
    {RAW_STEP},
    {NULL}, /* WordPiece */
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* GPT-2's disguise of a byte. */
static uint32_t disguise(unsigned b)
{
    uint32_t next = 256;
    for (unsigned i = 0; i < 256; i++) {
        bool plain = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || (i >= 174 && i <= 255);
        if (i == b) {
            return plain ? b : next;
        }
        next += !plain;
    }
    return 0;
}

static void put_json_char(struct buf *b, uint32_t cp)
{
    buf_printf(b, "\\u%04x", (unsigned)cp);
}

static void make_bpe(struct buf *b, bool bytes, const char *pretok)
{
    static const char *const merges[] = {"t h",  "th e", "a a", "aa aa", "e r",  "1 2",
                                         "12 3", "i n",  "l l", "h e",   "he ll"};
    buf_printf(b,
               "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},"
               "{\"id\":1,\"content\":\"<|x|>\",\"special\":false,\"normalized\":false}],"
               "\"normalizer\":%s,\"pre_tokenizer\":%s,\"decoder\":%s,"
               "\"model\":{\"type\":\"BPE\",\"byte_fallback\":%s,\"unk_token\":null,\"merges\":[",
               bytes ? "null"
                     : "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
                       "\"\\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
                       "\"content\":\"\\u2581\"}]}",
               pretok,
               bytes ? "{\"type\":\"ByteLevel\"}"
                     : "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
                       "\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
                       "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,"
                       "\"stop\":0}]}",
               bytes ? "false" : "true");
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        buf_printf(b, i ? ",\"%s\"" : "\"%s\"", merges[i]);
    }
    buf_puts(b, "],\"vocab\":{\"<s>\":0,\"<|x|>\":1");
    for (unsigned i = 0; i < 256; i++) {
        buf_puts(b, ",\"");
        if (bytes) {
            put_json_char(b, disguise(i));
        } else {
            buf_printf(b, "<0x%02X>", i);
        }
        buf_printf(b, "\":%u", 2 + i);
    }
    unsigned id = 258;
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        const char *space = strchr(merges[i], ' ');
        buf_printf(b, ",\"%.*s%s\":%u", (int)(space - merges[i]), merges[i], space + 1, id++);
    }
    for (const char *c = "thea123inrlo"; !bytes && *c; c++) {
        buf_printf(b, ",\"%c\":%u", *c, id++);
    }
    buf_puts(b, bytes ? "}}}" : ",\"\\u2581\":300}}}");
}

static void make_wordpiece(struct buf *b)
{
    buf_puts(b,
             "{\"added_tokens\":[{\"id\":0,\"content\":\"[UNK]\",\"special\":true}],"
             "\"normalizer\":{\"type\":\"BertNormalizer\"},"
             "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
             "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
             "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,"
             "\"a\":1,\"##a\":2,\"the\":3,\"##er\":4,\".\":5,\"\\u65e5\":6,\"e\":7,\"##e\":8}}}");
}

static struct vocab *vocabs[N_KINDS];
static struct pretok pairs[4][2]; /* scanner and pattern of the four scanners */

static void make_all(void)
{
    static const char *const names[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};
    struct err e = {0};
    for (size_t i = 0; i < N_KINDS; i++) {
        struct buf b = {0};
        if (kinds[i].pretok) {
            make_bpe(&b, i > 0, kinds[i].pretok);
        } else {
            make_wordpiece(&b);
        }
        if (vocab_from_json(b.data, b.len, NULL, 0, "made", &vocabs[i], &e)) {
            fprintf(stderr, "%s: %s\n", b.data, e.message);
            abort();
        }
        buf_fini(&b);
    }
    for (int i = 0; i < 4; i++) {
        const struct pretok_row *row = pretok_row(names[i], strlen(names[i]));
        for (int k = 0; k < 2; k++) {
            for (int s = 0; s < PRETOK_MAX_STEPS && row->patterns[s]; s++) {
                if (pretok_add(&pairs[i][k], row->patterns[s], strlen(row->patterns[s]),
                               PRETOK_ISOLATED, false, &e)) {
                    abort();
                }
            }
            if (pretok_prepare(&pairs[i][k], k == 1, &e)) {
                abort();
            }
        }
    }
}

static void check_stream(const char *p, size_t n)
{
    if (utf8_valid_prefix(p, n) < n) {
        return;
    }
    for (size_t cut = 0; cut <= n; cut++) {
        size_t hold = utf8_incomplete_tail(p, cut);
        if (hold > 3 || hold > cut || utf8_valid_prefix(p, cut - hold) != cut - hold) {
            abort();
        }
    }
}

static void check_scanners(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] > 0xC8 && (unsigned char)p[i] < 0xF8) {
            return;
        }
    }
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        struct spans a = {0}, b = {0};
        if (pretok_split(&pairs[i][0], p, n, &a, &e) || pretok_split(&pairs[i][1], p, n, &b, &e) ||
            a.n != b.n || (a.n && memcmp(a.data, b.data, a.n * sizeof *a.data) != 0)) {
            abort();
        }
        spans_fini(&a);
        spans_fini(&b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!vocabs[0]) {
        make_all();
    }
    if (!size || size > 1 << 16) {
        return 0;
    }
    size_t kind = data[0] % N_KINDS;
    const struct vocab *v = vocabs[kind];
    const char *text = (const char *)data + 1;
    size_t n = size - 1;
    struct err e = {0};
    struct ids ids = {0};
    struct buf b = {0};
    if (vocab_encode(v, text, n, data[0] >> 6, &ids, &e)) {
        abort();
    }
    vocab_decode(v, ids.data, ids.n, true, &b);
    bool exact =
        vocab_kind(v) == VOCAB_BPE || (kind == 0 && n && !memmem(text, n, "\xE2\x96\x81", 3) &&
                                       !memmem(text, n, "<s>", 3) && !memmem(text, n, "<|x|>", 5));
    if (exact && (b.len != n || (n && memcmp(b.data, text, n) != 0))) {
        abort();
    }
    check_stream(text, n < 4096 ? n : 4096);
    check_scanners(text, n);
    ids_fini(&ids);
    buf_fini(&b);
    return 0;
}

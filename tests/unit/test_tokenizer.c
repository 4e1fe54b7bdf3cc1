/* Tokenizer cores: merging against a naive definition, long words, added tokens, flags, streaming
 * tails, refusals of files. */
#include "common/test.h"

#include "base/sys.h"
#include "model/vocab_internal.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

static void tails(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t tail;
    } cases[] = {
        {"", 0},
        {"abc", 0},
        {"\xC3", 1},
        {"a\xC3", 1},
        {"\xC3\xA9", 0},
        {"\xE6", 1},
        {"\xE6\x97", 2},
        {"\xE6\x97\xA5", 0},
        {"\xF0", 1},
        {"\xF0\x9F", 2},
        {"x\xF0\x9F\x98", 3},
        {"\xF0\x9F\x98\x80", 0},
        {"\x80", 0},             /* a tail of nothing will never be finished */
        {"\x80\x80\x80\x80", 0}, /* more tails than any lead asks for */
        {"\xC1", 0},             /* no lead at all */
        {"\xF5", 0},
        {"\xE0\x80", 0}, /* overlong already */
        {"\xED\xA0", 0}, /* a surrogate already */
        {"\xF4\x90", 0}, /* past the end already */
        {"\xF0\x80\x80", 0},
        {"\xC3\xA9\xE6\x97", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(utf8_incomplete_tail(cases[i].text, strlen(cases[i].text)), cases[i].tail);
    }
}

/* Whatever the pieces, a stream that holds tails back gives whole characters only. */
static void streams_never_split(void **state)
{
    (void)state;
    for (uint32_t cp = 0x80; cp <= 0x10FFFF; cp += cp < 0x3000 ? 1 : 61) {
        char c[8] = "ab";
        size_t n = 2;
        if (cp >= 0xD800 && cp <= 0xDFFF) {
            continue;
        }
        n += utf8_encode(cp, c + 2);
        for (size_t cut = 0; cut <= n; cut++) {
            size_t kept = cut - utf8_incomplete_tail(c, cut);
            assert_int_equal(kept, cut < n ? (cut < 2 ? cut : 2) : n);
        }
    }
}

/* A small byte-level vocabulary over the letters a..d: every merge's rank is its id. */
static const char *const merges[][2] = {{"a", "b"},  {"b", "c"},   {"a", "a"},   {"ab", "c"},
                                        {"c", "d"},  {"aa", "aa"}, {"bc", "cd"}, {"d", "d"},
                                        {"dd", "d"}, {"abc", "a"}};
enum { N_MERGES = sizeof merges / sizeof merges[0] };

static struct vocab *small_vocab(bool by_score)
{
    struct err e = {0};
    struct vocab *v = vocab_new(by_score ? VOCAB_SPM : VOCAB_BPE);
    assert_non_null(v);
    v->byte_level = !by_score;
    v->bpe.by_score = by_score;
    assert_ok(pieces_init(&v->pieces, 4 + N_MERGES, by_score));
    for (int i = 0; i < 4; i++) {
        char c = (char)('a' + i);
        assert_ok(pieces_add(&v->pieces, &c, 1, PIECE_NORMAL, -1000));
    }
    for (int i = 0; i < N_MERGES; i++) {
        char both[16];
        size_t l = strlen(merges[i][0]), r = strlen(merges[i][1]);
        memcpy(both, merges[i][0], l);
        memcpy(both + l, merges[i][1], r);
        assert_ok(pieces_add(&v->pieces, both, l + r, PIECE_NORMAL, (float)-i));
    }
    assert_ok_err(vocab_index(v, N_MERGES, &e), &e);
    for (size_t i = 0; i < N_MERGES && !by_score; i++) {
        assert_ok_err(vocab_add_merge(v, merges[i][0], strlen(merges[i][0]), merges[i][1],
                                      strlen(merges[i][1]), i, &e),
                      &e);
    }
    return v;
}

struct part {
    const char *p;
    size_t n;
};

static bool is_text(struct part x, const char *text)
{
    return x.n == strlen(text) && memcmp(x.p, text, x.n) == 0;
}

/* By score only the joined text counts, by rank also where it is joined. */
static bool joins(const struct vocab *v, struct part a, struct part b, int32_t m)
{
    if (!v->bpe.by_score) {
        return is_text(a, merges[m][0]) && is_text(b, merges[m][1]);
    }
    return a.n + b.n == piece_len(&v->pieces, 4 + m) &&
           memcmp(a.p, piece_text(&v->pieces, 4 + m), a.n + b.n) == 0;
}

/* The definition: join the leftmost pair of best rank, over and over. */
static size_t naive(const struct vocab *v, const char *text, size_t n, struct part *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct part){text + i, 1};
    }
    for (;;) {
        size_t at = 0;
        int32_t best = N_MERGES;
        for (size_t i = 0; i + 1 < n; i++) {
            for (int32_t m = 0; m < best; m++) {
                if (joins(v, out[i], out[i + 1], m)) {
                    best = m;
                    at = i;
                }
            }
        }
        if (best == N_MERGES) {
            return n;
        }
        out[at].n += out[at + 1].n;
        memmove(out + at + 1, out + at + 2, (n - at - 2) * sizeof *out);
        n--;
    }
}

static void merging_is_as_defined(bool by_score)
{
    struct err e = {0};
    struct vocab *v = small_vocab(by_score);
    struct rng r;
    rng_init(&r, 7);
    static char text[200];
    static struct part want[200];
    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + rng_u64(&r) % (round % 4 ? 30 : 190); /* past 64 the heap takes over */
        for (size_t i = 0; i < n; i++) {
            text[i] = (char)('a' + rng_u64(&r) % (2 + (size_t)round % 3));
        }
        struct ids ids = {0};
        assert_ok_err(vocab_encode(v, text, n, 0, &ids, &e), &e);
        size_t n_want = naive(v, text, n, want);
        assert_int_equal(ids.n, n_want);
        for (size_t i = 0; i < n_want; i++) {
            assert_int_equal(piece_len(&v->pieces, ids.data[i]), want[i].n);
            assert_memory_equal(piece_text(&v->pieces, ids.data[i]), want[i].p, want[i].n);
        }
        ids_fini(&ids);
    }
    vocab_close(v);
}

static void merging_by_rank(void **state)
{
    (void)state;
    merging_is_as_defined(false);
}

static void merging_by_score(void **state)
{
    (void)state;
    merging_is_as_defined(true);
}

static void a_megabyte_without_a_space(void **state)
{
    (void)state;
    struct err e = {0};
    struct vocab *v = small_vocab(false);
    size_t n = 1 << 20;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, 'a', n);
    struct ids ids = {0};
    double t0 = clock_ms();
    assert_ok_err(vocab_encode(v, text, n, 0, &ids, &e), &e);
    assert_true(clock_ms() - t0 < 20000);
    assert_int_equal(ids.n, n / 4); /* aaaa */
    struct buf b = {0};
    vocab_decode(v, ids.data, ids.n, true, &b);
    assert_int_equal(b.len, n);
    buf_fini(&b);
    ids_fini(&ids);
    free(text);
    vocab_close(v);
}

static struct vocab *from_json(const char *json)
{
    struct err e = {0};
    struct vocab *v = NULL;
    assert_ok_err(vocab_from_json(json, strlen(json), NULL, 0, "test.json", &v, &e), &e);
    return v;
}

#define BYTE_LEVEL                                                           \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}," \
    "\"decoder\":{\"type\":\"ByteLevel\"},"

static const char with_specials[] =
    "{\"added_tokens\":["
    "{\"id\":3,\"content\":\"<s>\",\"special\":true},"
    "{\"id\":4,\"content\":\"<s>>\",\"special\":true},"
    "{\"id\":5,\"content\":\"aaaa\",\"special\":false,\"normalized\":false,\"single_word\":true},"
    "{\"id\":6,\"content\":\"[M]\",\"special\":true,\"lstrip\":true,\"rstrip\":true}]," BYTE_LEVEL
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<"
    "s>\"}},"
    "{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"[M]\"}}],\"special_tokens\":{"
    "\"<s>\":{\"ids\":[3]},\"[M]\":{\"ids\":[6]}}},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\\u0120\":1,\"<\":2},\"merges\":[]}}";

static void check_ids(const struct vocab *v, const char *text, unsigned flags, const char *want)
{
    struct err e = {0};
    struct ids ids = {0};
    struct buf b = {0};
    assert_ok_err(vocab_encode(v, text, strlen(text), flags, &ids, &e), &e);
    buf_puts(&b, "");
    for (size_t i = 0; i < ids.n; i++) {
        buf_printf(&b, i ? " %d" : "%d", ids.data[i]);
    }
    assert_string_equal(b.data, want);
    buf_fini(&b);
    ids_fini(&ids);
}

static void added_tokens_and_flags(void **state)
{
    (void)state;
    struct vocab *v = from_json(with_specials);
    check_ids(v, "a<s>a", ENCODE_PARSE_SPECIAL, "0 3 0");
    check_ids(v, "a<s>a", 0, "0 2 0");                    /* s and > are no pieces: left out */
    check_ids(v, "<s>><s>", ENCODE_PARSE_SPECIAL, "4 3"); /* the longest wins */
    check_ids(v, "a", ENCODE_ADD_SPECIAL, "3 0 6");
    check_ids(v, "", ENCODE_ADD_SPECIAL, "3 6");
    check_ids(v, "aaaa", 0, "5");          /* not special: always parsed */
    check_ids(v, "aaaaa", 0, "0 0 0 0 0"); /* but a whole word only */
    check_ids(v, " aaaa <", 0, "1 5 1 2");
    check_ids(v, "a  [M]\n\ta", ENCODE_PARSE_SPECIAL, "0 6 0");
    check_ids(v, "<s> [M][M] a", ENCODE_PARSE_SPECIAL, "3 6 6 0");
    int32_t id = -1;
    assert_true(vocab_find(v, "\xC4\xA0", 2, &id)); /* as stored: U+0120 is the space */
    assert_int_equal(id, 1);
    assert_true(vocab_find(v, "[M]", 3, &id));
    assert_int_equal(id, 6);
    assert_false(vocab_find(v, "zz", 2, &id));
    struct buf b = {0};
    const int32_t ids[] = {3, 0, 1, 99, -5, 5};
    vocab_decode(v, ids, 6, false, &b);
    assert_string_equal(b.data, "a aaaa");
    buf_reset(&b);
    vocab_decode(v, ids, 6, true, &b);
    assert_string_equal(b.data, "<s>a aaaa");
    buf_fini(&b);
    assert_true(vocab_is_special(v, 3));
    assert_false(vocab_is_special(v, 5));
    vocab_close(v);
}

static const char unigram[] =
    "{\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true}],"
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
    "\"prepend_scheme\":\"never\"},"
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],"
    "[\"ab\",-14.931110185745059],[\"cd\",-14.643428113293277],[\"abc\",-15.336575293853222],"
    "[\"d\",-14.237963005185113],[\"x\",-1.5],[\"<s>\",0]]}}";

static void unigram_gives(const struct vocab *v, const char *text, unsigned flags,
                          const int32_t *want, size_t n)
{
    struct err e = {0};
    struct ids ids = {0};
    assert_ok_err(vocab_encode(v, text, strlen(text), flags, &ids, &e), &e);
    assert_int_equal(ids.n, n);
    assert_memory_equal(ids.data, want, n * sizeof *want);
    ids_fini(&ids);
}

/* Both ways to write abcd have the same sum as doubles; the tokenizers library, which reads their
 * digits with an error in the last place, takes the second. */
static void unigram_scores_decide_as_in_the_reference(void **state)
{
    (void)state;
    struct vocab *v = from_json(unigram);
    assert_int_equal(vocab_kind(v), VOCAB_UNIGRAM);
    unigram_gives(v, "abcd", 0, (const int32_t[]){3, 4}, 2);
    unigram_gives(v, "xabcdzzx", 0, (const int32_t[]){5, 3, 4, 0, 5}, 5);
    unigram_gives(v, "zz\xC3\xA4\xFFz", 0, (const int32_t[]){0}, 1);
    unigram_gives(v, "<s>x", ENCODE_PARSE_SPECIAL, (const int32_t[]){6, 5}, 2);
    unigram_gives(v, "<s>x", 0, (const int32_t[]){0, 5}, 2);
    vocab_close(v);
}

static void unigram_of_a_megabyte(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    struct err e = {0};
    struct ids ids = {0};
    struct vocab *v = from_json(unigram);
    char *text = malloc(N);
    for (size_t i = 0; i < N; i++) {
        text[i] = "abcdx"[i % 5];
    }
    assert_ok_err(vocab_encode(v, text, N, 0, &ids, &e), &e);
    assert_int_equal(ids.n, N / 5 * 3 + 1); /* one byte is left over: an unknown a */
    assert_int_equal(ids.data[ids.n - 2], 5);
    assert_int_equal(ids.data[ids.n - 1], 0);
    ids_fini(&ids);
    free(text);
    vocab_close(v);
}

static void roles_come_from_the_configuration(void **state)
{
    (void)state;
    struct err e = {0};
    struct vocab *v = NULL;
    const char *config = "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"[M]\"},"
                         "\"pad_token\":null,\"unk_token\":\"nonesuch\"}";
    assert_ok_err(
        vocab_from_json(with_specials, strlen(with_specials), config, strlen(config), "x", &v, &e),
        &e);
    assert_int_equal(vocab_bos(v), 3);
    assert_int_equal(vocab_eos(v), 6);
    assert_int_equal(vocab_pad(v), -1);
    assert_int_equal(vocab_unk(v), -1);
    assert_true(vocab_is_end(v, 6));
    assert_false(vocab_is_end(v, 3));
    assert_string_equal(vocab_pre(v), "gpt-2");
    assert_int_equal(vocab_size(v), 7);
    vocab_close(v);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum status status;
        const char *words;
    } cases[] = {
        {"", ERR_FORMAT, "line"},
        {"[]", ERR_FORMAT, "not a JSON object"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0}}}", ERR_FORMAT, "model.vocab"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]],\"unk_id\":0}}", ERR_FORMAT,
         "a piece of model.vocab"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}", ERR_FORMAT,
         "model.unk_id"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAA==\"},"
         "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":0}}",
         ERR_FORMAT, "precompiled_charsmap of 4 bytes, its trie of 4"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"*\"},"
         "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":0}}",
         ERR_FORMAT, "no base64"},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a|b\"},\"content\":\"\"},"
         "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":0}}",
         ERR_UNSUPPORTED, "pattern of a normalizer \"a|b\""},
        {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\"},"
         "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}]},"
         "\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":0}}",
         ERR_UNSUPPORTED, "before Metaspace"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}",
         ERR_UNSUPPORTED, "dropout"},
        {"{\"normalizer\":{\"type\":\"Odd\"},\"model\":{}}", ERR_UNSUPPORTED, "normalizer \"Odd\""},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},\"model\":{}}", ERR_UNSUPPORTED,
         "pre-tokenizer \"UnicodeScripts\""},
        {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},"
         "\"merges\":[\"a b\"]}}",
         ERR_FORMAT, "merge 0 (a b)"},
        {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}",
         ERR_FORMAT, "merge 0"},
        {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000000},\"merges\":[]}}",
         ERR_FORMAT, "ids up to 2000000000"},
        {"{" BYTE_LEVEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}",
         ERR_FORMAT, "ids"},
        {"{" BYTE_LEVEL "\"post_processor\":{\"type\":\"Odd\"},"
         "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         ERR_UNSUPPORTED, "post-processor \"Odd\""},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"decoder\":{\"type\":\"CTC\"},"
         "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         ERR_UNSUPPORTED, "decoder \"CTC\""},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", ERR_FORMAT, "unk_token"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        struct vocab *v = NULL;
        enum status st =
            vocab_from_json(cases[i].json, strlen(cases[i].json), NULL, 0, "x.json", &v, &e);
        if (st != cases[i].status || !strstr(e.message, cases[i].words) || v) {
            fail_msg("case %zu: %s: %s", i, status_info(st)->name, e.message);
        }
    }
}

static void wordpiece_needs_its_pieces(void **state)
{
    (void)state;
    struct err e = {0};
    struct vocab *v = NULL;
    const char *list = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\r\n##b\n##ba\n.\nz";
    assert_status(vocab_from_list("a\nb\n", 4, NULL, 0, "vocab.txt", &v, &e), ERR_FORMAT);
    assert_null(v);
    assert_ok_err(vocab_from_list(list, strlen(list), NULL, 0, "vocab.txt", &v, &e), &e);
    assert_int_equal(vocab_size(v), 10);
    check_ids(v, "ABBA a. z", 0, "5 6 7 5 8 9");
    check_ids(v, "abc a", ENCODE_ADD_SPECIAL, "2 1 5 3");
    check_ids(v,
              "\xC3\xA1\xFF"
              "b",
              0, "5 6"); /* the bad byte is U+FFFD, which is cleaned away */
    vocab_close(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tails),
        cmocka_unit_test(streams_never_split),
        cmocka_unit_test(merging_by_rank),
        cmocka_unit_test(merging_by_score),
        cmocka_unit_test(a_megabyte_without_a_space),
        cmocka_unit_test(added_tokens_and_flags),
        cmocka_unit_test(unigram_scores_decide_as_in_the_reference),
        cmocka_unit_test(unigram_of_a_megabyte),
        cmocka_unit_test(roles_come_from_the_configuration),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(wordpiece_needs_its_pieces),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}

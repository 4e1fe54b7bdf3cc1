/* Pre-tokenizers: the scanners against the patterns that they stand for, behaviours, translation
 * and refusals. */
#include "common/test.h"

#include "base/sys.h"
#include "model/pretok.h"
#include "text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void build(struct pretok *p, const char *name, bool regex)
{
    struct err e = {0};
    const struct pretok_row *row = pretok_row(name, strlen(name));
    assert_non_null(row);
    for (int i = 0; i < PRETOK_MAX_STEPS && row->patterns[i]; i++) {
        assert_ok_err(
            pretok_add(p, row->patterns[i], strlen(row->patterns[i]), PRETOK_ISOLATED, false, &e),
            &e);
    }
    assert_ok_err(pretok_prepare(p, regex, &e), &e);
}

static bool pcre2_matches(const char *pattern, const char *text, size_t n)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                                  &code, &at, NULL);
    assert_non_null(c);
    pcre2_match_data *m = pcre2_match_data_create(1, NULL);
    int r = pcre2_match(c, (PCRE2_SPTR)text, n, 0, 0, m, NULL);
    pcre2_match_data_free(m);
    pcre2_code_free(c);
    return r > 0;
}

/* utf8proc and PCRE2 may have tables of different versions of Unicode; what they do not agree on
 * says nothing about the scanners. */
static bool agreed(uint32_t cp)
{
    char c[4];
    size_t n = utf8_encode(cp, c);
    const char *pattern = uni_class(cp) & UNI_LETTER   ? "\\p{L}"
                          : uni_class(cp) & UNI_NUMBER ? "\\p{N}"
                          : uni_class(cp) & UNI_SPACE  ? "\\p{White_Space}"
                                                       : "[^\\p{L}\\p{N}\\p{White_Space}]";
    return pcre2_matches(pattern, c, n);
}

static void random_text(struct rng *r, struct buf *b)
{
    static const char *const parts[] = {" ",
                                        " ",
                                        "  ",
                                        "\t",
                                        "\n",
                                        "\r\n",
                                        "\n\n",
                                        "'",
                                        "'s",
                                        "'S",
                                        "'re",
                                        "'Ve",
                                        "'LL",
                                        "'m",
                                        "'D",
                                        "'\xC5\xBF",
                                        "1",
                                        "23",
                                        "4567",
                                        "\xC2\xBD",
                                        "\xD9\xA3",
                                        "a",
                                        "the",
                                        "Hello",
                                        "It",
                                        "\xC3\xA9",
                                        "\xCC\x81",
                                        "\xE6\x97\xA5",
                                        "!",
                                        "...",
                                        "_",
                                        "$",
                                        "\xE3\x80\x80",
                                        "\xC2\x85",
                                        "\xC2\xA0",
                                        "\xF0\x9F\x98\x80",
                                        "\xE2\x80\x8D",
                                        "\xFF",
                                        "\x80",
                                        "\xC3",
                                        "\xE1\xA0\x8E",
                                        "\x0B",
                                        "\x01",
                                        ""};
    size_t n = rng_u64(r) % 24;
    buf_reset(b);
    buf_puts(b, "");
    for (size_t i = 0; i < n; i++) {
        uint64_t k = rng_u64(r);
        if (k % 8) {
            buf_puts(b, parts[(k >> 8) % (sizeof parts / sizeof parts[0])]);
            continue;
        }
        uint32_t cp = (uint32_t)(k >> 16) % (k & 8 ? 0x3000 : 0x20000);
        char c[4];
        if ((cp < 0xD800 || cp > 0xDFFF) && agreed(cp)) {
            buf_put(b, c, utf8_encode(cp, c));
        }
    }
}

static void show(struct buf *out, const char *text, const struct spans *s)
{
    for (size_t i = 0; i < s->n; i++) {
        buf_putc(out, '[');
        for (size_t k = 0; k < s->data[i].len; k++) {
            unsigned char c = (unsigned char)text[s->data[i].at + k];
            buf_printf(out, c > 32 && c < 127 ? "%c" : "\\x%02x", c);
        }
        buf_putc(out, ']');
    }
}

static void scanner_equals_pattern(const char *name, uint64_t seed)
{
    struct err e = {0};
    struct pretok fast = {0}, slow = {0};
    build(&fast, name, false);
    build(&slow, name, true);
    assert_int_not_equal(fast.scan, SCAN_NONE);
    assert_int_equal(slow.scan, SCAN_NONE);
    struct rng r;
    rng_init(&r, seed);
    struct buf b = {0};
    for (int i = 0; i < 10000; i++) {
        random_text(&r, &b);
        struct spans got = {0}, want = {0};
        assert_ok_err(pretok_split(&fast, b.data, b.len, &got, &e), &e);
        assert_ok_err(pretok_split(&slow, b.data, b.len, &want, &e), &e);
        if (got.n != want.n || (got.n && memcmp(got.data, want.data, got.n * sizeof *got.data))) {
            struct buf x = {0};
            show(&x, b.data, &got);
            buf_puts(&x, "\nwant ");
            show(&x, b.data, &want);
            fail_msg("%s, text %d:\n got %s", name, i, x.data);
        }
        spans_fini(&got);
        spans_fini(&want);
    }
    buf_fini(&b);
    pretok_fini(&fast);
    pretok_fini(&slow);
}

static void gpt2_scanner(void **state)
{
    (void)state;
    scanner_equals_pattern("gpt-2", 1);
}

static void llama3_scanner(void **state)
{
    (void)state;
    scanner_equals_pattern("llama-bpe", 2);
}

static void qwen2_scanner(void **state)
{
    (void)state;
    scanner_equals_pattern("qwen2", 3);
}

static void smollm_scanner(void **state)
{
    (void)state;
    scanner_equals_pattern("smollm", 4);
}

/* Every row compiles, and its words put together are the text again. */
static void every_row_covers_the_text(void **state)
{
    (void)state;
    struct err e = {0};
    static const char text[] = "Hello wORLD's  12345 \xE6\x97\xA5\xE6\x9C\xAC!? IMGIMGABZ\n\n\t"
                               "x_y \xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xFF end  ";
    const struct pretok_row *row;
    size_t i = 0;
    for (; (row = pretok_row_at(i)); i++) {
        struct pretok p = {0};
        struct spans s = {0};
        build(&p, row->name, true);
        assert_ok_err(pretok_split(&p, text, sizeof text - 1, &s, &e), &e);
        size_t at = 0;
        for (size_t k = 0; k < s.n; k++) {
            assert_int_equal(s.data[k].at, at);
            at += s.data[k].len;
        }
        assert_int_equal(at, sizeof text - 1);
        spans_fini(&s);
        pretok_fini(&p);
    }
    assert_true(i > 50);
    assert_null(pretok_row("nonesuch", 8));
    assert_null(pretok_row("gpt", 3));
}

static void check_words(const char *name, const char *text, const char *want)
{
    struct err e = {0};
    struct pretok p = {0};
    struct spans s = {0};
    struct buf b = {0};
    build(&p, name, false);
    assert_ok_err(pretok_split(&p, text, strlen(text), &s, &e), &e);
    show(&b, text, &s);
    assert_string_equal(b.data, want);
    spans_fini(&s);
    pretok_fini(&p);
    buf_fini(&b);
}

static void rows_cut_as_their_models_do(void **state)
{
    (void)state;
    check_words("gpt-2", "I'm 2024  ok\n", "[I]['m][\\x202024][\\x20][\\x20ok][\\x0a]");
    check_words("smollm", "I'm 20  ok", "[I]['m][\\x20][2][0][\\x20][\\x20ok]");
    check_words("llama-bpe", "I'M 12345 (ok)\n\n x",
                "[I]['M][\\x20][123][45][\\x20(][ok][)\\x0a\\x0a][\\x20x]");
    check_words("qwen2", "a1b22", "[a][1][b][2][2]");
    check_words("gpt-4o", "HelloWORLDs it's/\n", "[Hello][WORLDs][\\x20it's][/\\x0a]");
    check_words("tekken", "ABCdef12", "[ABCdef][1][2]");
    check_words("falcon", "a1234+b", "[a][123][4][+][b]");
    check_words("deepseek-v3", "x=1234.", "[x][=][123][4][.]");
    check_words("deepseek-llm", "ab 12\n.", "[ab][\\x20][12][\\x0a][.]");
    check_words("bloom", "a b, c", "[a][\\x20b][,][\\x20c]");
}

static void check_behavior(enum pretok_behavior behavior, bool invert, const char *want)
{
    struct err e = {0};
    struct pretok p = {0};
    struct spans s = {0};
    struct buf b = {0};
    const char *text = "-ab--c-";
    assert_ok_err(pretok_add(&p, "-", 1, behavior, invert, &e), &e);
    assert_ok_err(pretok_prepare(&p, false, &e), &e);
    assert_ok_err(pretok_split(&p, text, strlen(text), &s, &e), &e);
    show(&b, text, &s);
    assert_string_equal(b.data, want);
    spans_fini(&s);
    pretok_fini(&p);
    buf_fini(&b);
}

/* What the tokenizers library gives for these (Split("-", behavior).pre_tokenize_str). */
static void behaviors(void **state)
{
    (void)state;
    check_behavior(PRETOK_ISOLATED, false, "[-][ab][-][-][c][-]");
    check_behavior(PRETOK_REMOVED, false, "[ab][c]");
    check_behavior(PRETOK_REMOVED, true, "[-][-][-][-]");
    check_behavior(PRETOK_MERGED_PREVIOUS, false, "[-][ab-][-][c-]");
    check_behavior(PRETOK_MERGED_NEXT, false, "[-ab][-][-c][-]");
    check_behavior(PRETOK_CONTIGUOUS, false, "[-][ab][--][c][-]");
}

static void check_refused(const char *pattern, enum status want, const char *words)
{
    struct err e = {0};
    struct pretok p = {0};
    assert_ok(pretok_add(&p, pattern, strlen(pattern), PRETOK_ISOLATED, false, &e));
    assert_status(pretok_prepare(&p, false, &e), want);
    if (!strstr(e.message, words)) {
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
    }
    pretok_fini(&p);
}

static void patterns_that_mean_something_else_are_refused(void **state)
{
    (void)state;
    check_refused("[a-z&&[^b]]", ERR_UNSUPPORTED, "set operation");
    check_refused("[a[bc]]", ERR_UNSUPPORTED, "set operation");
    check_refused("\\p{N}{1,3}+", ERR_UNSUPPORTED, "repeated interval");
    check_refused("\\h+", ERR_UNSUPPORTED, "escape");
    check_refused("(abc", ERR_FORMAT, "missing closing parenthesis");
    struct err e = {0};
    struct pretok p = {0};
    assert_status(pretok_add(&p, "a\0b", 3, PRETOK_ISOLATED, false, &e), ERR_FORMAT);
    assert_status(pretok_add(&p, "\xFF", 1, PRETOK_ISOLATED, false, &e), ERR_FORMAT);
    for (int i = 0; i < PRETOK_MAX_STEPS; i++) {
        assert_ok(pretok_add(&p, "x", 1, PRETOK_ISOLATED, false, &e));
    }
    assert_status(pretok_add(&p, "x", 1, PRETOK_ISOLATED, false, &e), ERR_LIMIT);
    pretok_fini(&p);
}

static void endless_backtracking_ends(void **state)
{
    (void)state;
    struct err e = {0};
    struct pretok p = {0};
    struct spans s = {0};
    char text[64];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '!';
    assert_ok(pretok_add(&p, "(?:a|a+)+$", 10, PRETOK_ISOLATED, false, &e));
    assert_ok(pretok_prepare(&p, false, &e));
    assert_status(pretok_split(&p, text, sizeof text, &s, &e), ERR_LIMIT);
    spans_fini(&s);
    pretok_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_scanner),
        cmocka_unit_test(llama3_scanner),
        cmocka_unit_test(qwen2_scanner),
        cmocka_unit_test(smollm_scanner),
        cmocka_unit_test(every_row_covers_the_text),
        cmocka_unit_test(rows_cut_as_their_models_do),
        cmocka_unit_test(behaviors),
        cmocka_unit_test(patterns_that_mean_something_else_are_refused),
        cmocka_unit_test(endless_backtracking_ends),
    };
    return cmocka_run_group_tests_name("pretok", tests, NULL, NULL);
}

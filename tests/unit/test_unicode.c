/* Unicode: strict decoding, classes, normal forms around malformed bytes. */
#include "common/test.h"

#include "text/unicode.h"

#include <string.h>

static void decoding_is_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t cp;
        size_t len;
    } cases[] = {
        {"A", 'A', 1},
        {"\xC2\x80", 0x80, 2},
        {"\xDF\xBF", 0x7FF, 2},
        {"\xE0\xA0\x80", 0x800, 3},
        {"\xED\x9F\xBF", 0xD7FF, 3},
        {"\xEE\x80\x80", 0xE000, 3},
        {"\xEF\xBF\xBF", 0xFFFF, 3},
        {"\xF0\x90\x80\x80", 0x10000, 4},
        {"\xF4\x8F\xBF\xBF", 0x10FFFF, 4},
        {"\x80", UNI_BAD, 1},             /* tail alone */
        {"\xC1\xBF", UNI_BAD, 1},         /* overlong */
        {"\xE0\x9F\xBF", UNI_BAD, 1},     /* overlong */
        {"\xF0\x8F\xBF\xBF", UNI_BAD, 1}, /* overlong */
        {"\xED\xA0\x80", UNI_BAD, 1},     /* surrogate */
        {"\xF4\x90\x80\x80", UNI_BAD, 1}, /* past the end */
        {"\xF5\x80\x80\x80", UNI_BAD, 1},
        {"\xE6\x97", UNI_BAD, 1}, /* cut */
        {"\xFF", UNI_BAD, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t cp;
        assert_int_equal(utf8_decode(cases[i].text, strlen(cases[i].text), &cp), cases[i].len);
        assert_int_equal(cp, cases[i].cp);
        assert_int_equal(utf8_valid_prefix(cases[i].text, strlen(cases[i].text)),
                         cp == UNI_BAD ? 0 : cases[i].len);
    }
    assert_int_equal(utf8_valid_prefix("0123456789\xC3\xA9zzz\xFFx", 17), 15);
    assert_int_equal(utf8_valid_prefix("", 0), 0);
}

static void every_scalar_value_goes_round(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        char b[4];
        uint32_t back;
        size_t n = utf8_encode(c, b);
        assert_int_equal(utf8_decode(b, n, &back), n);
        assert_int_equal(back, c);
        unsigned k = uni_class(c) & (UNI_LETTER | UNI_NUMBER | UNI_SPACE | UNI_OTHER);
        assert_true(k == UNI_LETTER || k == UNI_NUMBER || k == UNI_SPACE || k == UNI_OTHER);
    }
}

static void classes_are_those_of_the_standard(void **state)
{
    (void)state;
    assert_int_equal(uni_class('a'), UNI_LETTER);
    assert_int_equal(uni_class(0xAA), UNI_LETTER);   /* feminine ordinal indicator, Lo */
    assert_int_equal(uni_class(0x65E5), UNI_LETTER); /* an ideograph */
    assert_int_equal(uni_class('7'), UNI_NUMBER);
    assert_int_equal(uni_class(0xBD), UNI_NUMBER);   /* one half, No */
    assert_int_equal(uni_class(0x2167), UNI_NUMBER); /* roman eight, Nl */
    assert_int_equal(uni_class(' '), UNI_SPACE);
    assert_int_equal(uni_class('\n'), UNI_SPACE | UNI_NEWLINE);
    assert_int_equal(uni_class(0x85), UNI_SPACE);
    assert_int_equal(uni_class(0x3000), UNI_SPACE);
    assert_int_equal(uni_class(0x200B), UNI_OTHER); /* zero width space is no space */
    assert_int_equal(uni_class(0x180E), UNI_OTHER);
    assert_int_equal(uni_class('_'), UNI_OTHER | UNI_PUNCT);
    assert_int_equal(uni_class('$'), UNI_OTHER);
    assert_int_equal(uni_class(0x301), UNI_OTHER | UNI_MARK);
    assert_int_equal(uni_class(0x1F600), UNI_OTHER);
    assert_int_equal(uni_class(UNI_BAD), UNI_OTHER);
}

static void check_form(enum uni_form form, const char *text, const char *want)
{
    struct buf b = {0};
    uni_normalize(form, text, strlen(text), &b);
    buf_puts(&b, "");
    assert_false(b.failed);
    assert_string_equal(b.data, want);
    buf_fini(&b);
}

static void normal_forms_meet_ascii_and_bad_bytes(void **state)
{
    (void)state;
    check_form(UNI_NFC, "", "");
    check_form(UNI_NFC, "plain", "plain");
    check_form(UNI_NFC, "cafe\xCC\x81!", "caf\xC3\xA9!");
    check_form(UNI_NFD, "caf\xC3\xA9!", "cafe\xCC\x81!");
    check_form(UNI_NFKC, "\xEF\xAC\x81x", "fix");
    check_form(UNI_NFC, "e\xFF\xCC\x81", "e\xFF\xCC\x81"); /* nothing combines across it */
    check_form(UNI_NFC, "\xFF\xC3", "\xFF\xC3");
    check_form(UNI_NFD, "\xED\x95\x9C", "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB");
    struct buf b = {0};
    uni_put_lower(&b, 0x130);
    uni_put_lower(&b, 'Q');
    uni_put_lower(&b, 0x3A3);
    assert_string_equal(b.data, "i\xCC\x87q\xCF\x83");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_is_strict),
        cmocka_unit_test(every_scalar_value_goes_round),
        cmocka_unit_test(classes_are_those_of_the_standard),
        cmocka_unit_test(normal_forms_meet_ascii_and_bad_bytes),
    };
    return cmocka_run_group_tests_name("unicode", tests, NULL, NULL);
}

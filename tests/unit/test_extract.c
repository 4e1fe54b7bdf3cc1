/* Kinds, encodings, plain text and Markdown: exact blocks. */
#include "common/test.h"

#include "base/file.h"
#include "common/blocks.h"

#include <string.h>

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    return 0;
}

/* Blocks of `data` as `kind`. */
static const char *blocks_of(enum file_kind kind, const char *data, size_t n, struct extracted *out)
{
    struct extracted x;
    struct err e = {0};
    assert_ok_err(extract_memory(kind, "test", (const uint8_t *)data, n, &arena, &x, &e), &e);
    test_check_blocks(&x);
    if (out) {
        *out = x;
    }
    return test_blocks(&x, &arena);
}

static enum status status_of(enum file_kind kind, const void *data, size_t n)
{
    struct extracted x;
    return extract_memory(kind, "test", data, n, &arena, &x, NULL);
}

static void kinds_come_from_names_and_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *path, *head;
        enum file_kind kind;
    } rows[] = {
        {"a/b.txt", "", FILE_TEXT},
        {"b.MD", "", FILE_MARKDOWN},
        {"c.htm", "", FILE_HTML},
        {"d.pdf", "", FILE_PDF},
        {"d.pdf", "\x89PNG", FILE_PDF},
        {"e.txt", "%PDF-1.4", FILE_PDF},
        {"f.bin", "text", FILE_UNKNOWN},
        {"README", "text", FILE_TEXT},
        {"README", "te\001xt", FILE_UNKNOWN},
        {"README", "", FILE_UNKNOWN},
        {"g.php", " \n<!DOCTYPE html>", FILE_HTML},
        {"page", "<HTML>", FILE_HTML},
        {"dir.md/file", "", FILE_UNKNOWN},
        {"x.png", "\x89PNG", FILE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(file_kind_name(file_kind_of(rows[i].path, (const uint8_t *)rows[i].head,
                                                        strlen(rows[i].head))),
                            file_kind_name(rows[i].kind));
    }
    assert_string_equal(file_kind_name((enum file_kind)99), "unknown");
}

static void plain_text_has_paragraphs_lists_and_headings(void **state)
{
    (void)state;
    static const char text[] = "INTRODUCTION\n\nThis is a paragraph \n  on two lines.\r\n\r\n"
                               "Title\n=====\nText under.\n\n1. Scope\n\nSome text.\n\n"
                               "- one\n- two\n  continued\n1) three\n\n* * *\nSection 2. Terms\n\n"
                               "Sub\n---\n\nLast\fNEXT PAGE\n\nNot a heading, this:\n";
    struct extracted x;
    assert_string_equal(blocks_of(FILE_TEXT, text, sizeof text - 1, &x),
                        "H2 INTRODUCTION\n"
                        "P This is a paragraph\\non two lines.\n"
                        "H1 Title\n"
                        "P Text under.\n"
                        "H1 1. Scope\n"
                        "P Some text.\n"
                        "L1 one\n"
                        "L1 two\\ncontinued\n"
                        "L1 three\n"
                        "H2 Section 2. Terms\n"
                        "H2 Sub\n"
                        "P Last\\nNEXT PAGE\n"
                        "P Not a heading, this:\n");
    assert_string_equal(x.title, "");
    assert_int_equal(x.n_pages, 0);
    assert_int_equal(x.kind, FILE_TEXT);
}

static void empty_files_are_empty_documents(void **state)
{
    (void)state;
    static const enum file_kind kinds[] = {FILE_TEXT, FILE_MARKDOWN, FILE_HTML};
    static const char *const texts[] = {"", "\n \n", "\xEF\xBB\xBF"};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 3; i++) {
            struct extracted x;
            assert_string_equal(blocks_of(kinds[k], texts[i], strlen(texts[i]), &x), "");
            assert_int_equal(x.n, 0);
            assert_int_equal(x.n_blocks, 0);
            assert_string_equal(x.text, "");
            assert_string_equal(x.title, "");
        }
    }
    assert_status(status_of(FILE_PDF, "%PDF-", 5), ERR_UNSUPPORTED);
    assert_status(status_of(FILE_UNKNOWN, "x", 1), ERR_UNSUPPORTED);
}

static void encodings_become_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *want;
    } rows[] = {
        {"caf\xC3\xA9", 5, "P café\n"},
        {"\xEF\xBB\xBF"
         "caf\xC3\xA9",
         8, "P café\n"},
        {"cafe\xCC\x81", 6, "P café\n"}, /* NFC */
        {"a\xC2\xAD"
         "b\xE2\x80\x8B"
         "c\xC2\xA0"
         "d",
         11, "P abc d\n"},                      /* invisible characters */
        {"\xFF\xFEh\0i\0\xE9\0", 8, "P hié\n"}, /* UTF-16LE with mark */
        {"\xFE\xFF\0h\0i\0\xE9", 8, "P hié\n"},
        {"h\0e\0l\0l\0o\0", 10, "P hello\n"}, /* and without */
        {"\0h\0e\0l\0l\0o", 10, "P hello\n"},
        {"\xFF\xFE\0\0h\0\0\0", 8, "P h\n"},
        {"a\rb\r\nc", 6, "P a\\nb\\nc\n"},
        {"bell\x07 tab\tx", 11, "P bell tab x\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(blocks_of(FILE_TEXT, rows[i].bytes, rows[i].n, NULL), rows[i].want);
    }
    /* guessed from statistics: Windows-1252 and Shift-JIS */
    static const char western[] = "Le caf\xE9 est ferm\xE9 \x96 il a \xE9t\xE9 vendu \xE0 un prix "
                                  "\xE9lev\xE9, para\xEEt-il. \x93Voil\xE0\x94, dit-elle.";
    assert_string_equal(blocks_of(FILE_TEXT, western, sizeof western - 1, NULL),
                        "P Le café est fermé – il a été vendu à un prix élevé, paraît-il. “Voilà”, "
                        "dit-elle.\n");
    static const char japanese[] =
        "\x82\xB1\x82\xEA\x82\xCD\x93\xFA\x96\x7B\x8C\xEA\x82\xCC\x95\xB6\x8F\xCD\x82\xC5\x82\xB7"
        "\x81\x42\x8E\x9F\x82\xCC\x95\xB6\x82\xE0\x93\xFA\x96\x7B\x8C\xEA\x82\xC5\x82\xB7\x81\x42";
    assert_string_equal(blocks_of(FILE_TEXT, japanese, sizeof japanese - 1, NULL),
                        "P これは日本語の文章です。次の文も日本語です。\n");
    /* declared by the page */
    static const char latin[] = "<meta charset=iso-8859-1><p>na\xEFve \x80";
    assert_string_equal(blocks_of(FILE_HTML, latin, sizeof latin - 1, NULL), "P naïve €\n");
    static const char sjis[] = "<?xml version=\"1.0\" encoding='Shift_JIS'?><p>\x93\xFA\x96\x7B";
    assert_string_equal(blocks_of(FILE_HTML, sjis, sizeof sjis - 1, NULL), "P 日本\n");
    /* declared wrongly, or as nothing known */
    static const char lie[] = "<meta charset=latin1><p>na\xC3\xAFve";
    assert_string_equal(blocks_of(FILE_HTML, lie, sizeof lie - 1, NULL), "P naïve\n");
    static const char unknown[] = "<meta charset=klingon><p>na\xEFve caf\xE9 \xE0 la carte";
    assert_string_equal(blocks_of(FILE_HTML, unknown, sizeof unknown - 1, NULL),
                        "P naïve café à la carte\n");
}

static void binary_files_are_refused(void **state)
{
    (void)state;
    static const uint8_t png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\1\0\x08\6\0\0\0";
    assert_status(status_of(FILE_TEXT, png, sizeof png), ERR_UNSUPPORTED);
    uint8_t noise[4096];
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof noise; i++) {
        seed = seed * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(seed >> 24);
    }
    assert_status(status_of(FILE_MARKDOWN, noise, sizeof noise), ERR_UNSUPPORTED);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] |= noise[i] ? 1 : 3; /* no zeros */
    }
    assert_status(status_of(FILE_HTML, noise, sizeof noise), ERR_UNSUPPORTED);
}

static void markdown_loses_its_markup(void **state)
{
    (void)state;
    static const char text[] =
        "---\ntitle: \"My Title\"\nauthor: Jane\nlang: en-GB\n---\n<!-- overview -->\n"
        "# Head **one** #\n\n"
        "A para with [link](http://x.y \"t\") and `a  b` &amp; &rarr; &bogus; ![pic](p.png)\n"
        "{{< glossary_tooltip text=\"Pods\" term_id=\"pod\" >}} run.\nSecond<br>line.\n\n"
        "- item one\n  - sub item\n- [x] item two\n\n  more of two\n\n1. first\n2. second\n\n"
        "> quoted *text*\n\n```go\nfunc x() {\n\n  return\n}\n```\n\n"
        "| A | B |\n|---|---|\n| 1 | two **b** |\n| 3 | `x|y` |\n\n"
        "<details><summary>Sum</summary>\n<p>Inside <b>html</b></p>\n</details>\n\n"
        "Setext\n------\nEnd {not a call} {{.Values.x}}.\n\n    indented code\n";
    struct extracted x;
    assert_string_equal(blocks_of(FILE_MARKDOWN, text, sizeof text - 1, &x),
                        "H1 Head one\n"
                        "P A para with link and a b & → &bogus; pic Pods run. Second\\nline.\n"
                        "L1 item one\n"
                        "L2 sub item\n"
                        "L1 item two\n"
                        "L1 more of two\n"
                        "L1 first\n"
                        "L1 second\n"
                        "Q quoted text\n"
                        "C func x() {\\n\\n  return\\n}\n"
                        "R1h A | B\n"
                        "R1 1 | two b\n"
                        "R1 3 | x|y\n"
                        "P Sum\n"
                        "P Inside html\n"
                        "H2 Setext\n"
                        "P End {not a call} {{.Values.x}}.\n"
                        "C indented code\n");
    assert_string_equal(x.title, "My Title");
    assert_string_equal(x.author, "Jane");
    assert_string_equal(x.language, "en-GB");
}

static void markdown_takes_its_title_from_the_first_heading(void **state)
{
    (void)state;
    struct extracted x;
    blocks_of(FILE_MARKDOWN, "text\n\n## A *title*\n", 18, &x);
    assert_string_equal(x.title, "A title");
    blocks_of(FILE_MARKDOWN, "---\nnot closed: x\n", 18, &x);
    assert_string_equal(x.title, "");
    assert_int_equal(x.n_blocks, 1);
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct extracted x;
    struct err e = {0};
    const char *path = test_temp_path("big.txt");
    test_write_file(path, "hello", 5);
    assert_status(extract_file(path, 4, &arena, &x, &e), ERR_LIMIT);
    assert_ok_err(extract_file(path, 5, &arena, &x, &e), &e);
    assert_string_equal(x.text, "hello");
    struct arena tiny = {.limit_bytes = 20};
    assert_status(extract_file(path, 0, &tiny, &x, &e), ERR_LIMIT);
    arena_reset(&tiny);
    assert_status(extract_file(test_temp_path("none.txt"), 0, &arena, &x, &e), ERR_NOT_FOUND);
    path = test_temp_path("x.bin");
    test_write_file(path, "x", 1);
    assert_status(extract_file(path, 0, &arena, &x, &e), ERR_UNSUPPORTED);
}

/* Real documents keep the invariants; what is expected of a few was read by eye. */
static enum status check_file(void *ctx, const struct file_entry *entry)
{
    struct extracted x;
    struct err e = {0};
    if (strstr(entry->path, ".md")) {
        assert_ok_err(extract_file(entry->path, 0, &arena, &x, &e), &e);
        test_check_blocks(&x);
        ++*(int *)ctx;
        arena_reset(&arena);
    }
    return OK;
}

static void real_markdown_is_read(void **state)
{
    (void)state;
    static const char *const folders[] = {"library/owasp", "library/kubernetes"};
    for (size_t i = 0; i < 2; i++) {
        const char *path = test_data_path(folders[i]);
        int n = 0;
        if (path) {
            assert_ok(file_walk(path, check_file, &n, NULL));
            assert_true(n >= 100);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(kinds_come_from_names_and_bytes, reset),
        cmocka_unit_test_teardown(plain_text_has_paragraphs_lists_and_headings, reset),
        cmocka_unit_test_teardown(empty_files_are_empty_documents, reset),
        cmocka_unit_test_teardown(encodings_become_utf8, reset),
        cmocka_unit_test_teardown(binary_files_are_refused, reset),
        cmocka_unit_test_teardown(markdown_loses_its_markup, reset),
        cmocka_unit_test_teardown(markdown_takes_its_title_from_the_first_heading, reset),
        cmocka_unit_test_teardown(limits_are_kept, reset),
        cmocka_unit_test_teardown(real_markdown_is_read, reset),
    };
    return cmocka_run_group_tests_name("extract", tests, NULL, NULL);
}

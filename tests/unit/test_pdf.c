/* PDF: pages written here and read back, the sandbox, bad files, and rows of real reports. */
#include "common/test.h"

#include "base/file.h"
#include "common/blocks.h"
#include "text/pdf_child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    return 0;
}

/* A PDF of monospaced pages: pages[i] is lines joined by \n; NULL ends. Returns its path. */
static const char *write_pdf(const char *name, const char *const *pages)
{
    struct buf b = {0}, kids = {0};
    size_t offsets[64], n = 0;
    buf_puts(&b, "%PDF-1.4\n");
    int n_pages = 0;
    while (pages[n_pages]) {
        n_pages++;
    }
    for (int i = 0; i < n_pages; i++) {
        struct buf content = {0};
        buf_puts(&content, "BT /F1 8 Tf 10 TL 20 780 Td\n");
        const char *s = pages[i];
        while (*s) {
            size_t k = strcspn(s, "\n");
            buf_putc(&content, '(');
            for (size_t c = 0; c < k; c++) {
                if (strchr("()\\", s[c])) {
                    buf_putc(&content, '\\');
                }
                buf_putc(&content, s[c]);
            }
            buf_puts(&content, ") Tj T*\n");
            s += k + (s[k] != 0);
        }
        buf_puts(&content, "ET\n");
        offsets[n++] = b.len;
        buf_printf(&b, "%zu 0 obj\n<< /Length %zu >>\nstream\n%sendstream\nendobj\n", n,
                   content.len, content.data);
        buf_fini(&content);
        offsets[n++] = b.len;
        buf_printf(&kids, "%zu 0 R ", n);
        buf_printf(&b,
                   "%zu 0 obj\n<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] /Contents %zu "
                   "0 R /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont "
                   "/Courier >> >> >> >>\nendobj\n",
                   n, 2 * n_pages + 1, n - 1);
    }
    offsets[n++] = b.len;
    buf_printf(&b, "%zu 0 obj\n<< /Type /Pages /Kids [%s] /Count %d >>\nendobj\n", n, kids.data,
               n_pages);
    offsets[n++] = b.len;
    buf_printf(&b, "%zu 0 obj\n<< /Type /Catalog /Pages %zu 0 R >>\nendobj\n", n, n - 1);
    offsets[n++] = b.len;
    buf_printf(&b, "%zu 0 obj\n<< /Title (A plain <title>) /Author (Jane & Joe) >>\nendobj\n", n);
    size_t xref = b.len;
    buf_printf(&b, "xref\n0 %zu\n0000000000 65535 f \n", n + 1);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&b, "%010zu 00000 n \n", offsets[i]);
    }
    buf_printf(&b,
               "trailer\n<< /Size %zu /Root %zu 0 R /Info %zu 0 R >>\nstartxref\n%zu\n%%%%EOF\n",
               n + 1, n - 1, n, xref);
    const char *path = test_temp_path(name);
    test_write_file(path, b.data, b.len);
    buf_fini(&b);
    buf_fini(&kids);
    return path;
}

static struct extracted extract(const char *path)
{
    struct extracted x;
    struct err e = {0};
    assert_ok_err(extract_file(path, 0, &arena, &x, &e), &e);
    test_check_blocks(&x);
    assert_int_equal(x.kind, FILE_PDF);
    return x;
}

static bool have_pdftotext(void)
{
    return system("pdftotext -v >/dev/null 2>&1") == 0;
}

static void pages_become_paragraphs_tables_and_headings(void **state)
{
    (void)state;
    static const char *const pages[] = {
        "PART I\n\nItem 1. Things\n\nThis is the first paragraph of a docu-\nment that is wrapped, "
        "with a well-\nknown word. A well-known one.\n\n"
        "                         Three Months Ended        Six Months Ended\n"
        "(In millions)             2022          2021        2022       2021\n"
        "Revenue:\n"
        "  Products           $     12   $       (3)   $    1,234    $   5,678\n"
        "  Adjustments of gains in\n"
        "  net income               40            5            %         n/a\n"
        "Total                $     52 $          2  $      1,234    $   5,678\n\n"
        "- one item\n  continued\n- another\n",
        "", "A page of its own.\n", NULL};
    if (!have_pdftotext()) {
        skip();
    }
    struct extracted x = extract(write_pdf("plain.pdf", pages));
    assert_string_equal(x.title, "A plain <title>");
    assert_string_equal(x.author, "Jane & Joe");
    assert_int_equal(x.n_pages, 3);
    assert_int_equal(x.n_pages_empty, 1);
    assert_string_equal(
        test_blocks(&x, &arena),
        "H1 PART I\n"
        "H2 Item 1. Things\n"
        "P This is the first paragraph of a document that is wrapped, with a well-known word. A "
        "well-known one.\n"
        "R1h (In millions) | Three Months Ended 2022 | Three Months Ended 2021 | Six Months Ended "
        "2022 | Six Months Ended 2021\n"
        "R1 Revenue:\n"
        "R1 Products | $12 | $(3) | $1,234 | $5,678\n"
        "R1 Adjustments of gains in net income | 40 | 5% | n/a\n"
        "R1 Total | $52 | $2 | $1,234 | $5,678\n"
        "L1 one item continued\n"
        "L1 another\n"
        "P A page of its own.\n");
    assert_int_equal(x.blocks[0].page, 1);
    assert_int_equal(x.blocks[x.n_blocks - 1].page, 3);
}

static void running_headers_are_dropped(void **state)
{
    (void)state;
    static const char *const pages[] = {"Annual Report 2023\n\nAlpha text here.\n\n1\n",
                                        "Annual Report 2023\n\nBeta text here.\n\n2\n",
                                        "Annual Report 2023\n\nGamma text here.\n\n3\n",
                                        "Annual Report 2023\n\nDelta text.\n\n4\n",
                                        "Annual Report 2023\n\nEpsilon text.\n\n5\n",
                                        NULL};
    if (!have_pdftotext()) {
        skip();
    }
    struct extracted x = extract(write_pdf("running.pdf", pages));
    assert_string_equal(test_blocks(&x, &arena), "H4 Annual Report 2023\n"
                                                 "P Alpha text here.\n"
                                                 "P Beta text here.\n"
                                                 "P Gamma text here.\n"
                                                 "P Delta text.\n"
                                                 "P Epsilon text.\n");
    assert_int_equal(x.blocks[4].page, 4);
}

static void two_columns_are_read_one_after_the_other(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 20; i++) {
        buf_printf(&b, "left column words number %c          right column words number %c\n",
                   'a' + i, 'a' + i);
    }
    const char *const pages[] = {b.data, NULL};
    if (!have_pdftotext()) {
        buf_fini(&b);
        skip();
    }
    struct extracted x = extract(write_pdf("columns.pdf", pages));
    const char *last_left = strstr(x.text, "left column words number t");
    const char *first_right = strstr(x.text, "right column words number a");
    assert_non_null(last_left);
    assert_non_null(first_right);
    assert_true(last_left < first_right);
    buf_fini(&b);
}

static void bad_files_are_told_apart(void **state)
{
    (void)state;
    static const char *const blank[] = {"", "", NULL};
    static const char *const plain[] = {"Some text.\n", NULL};
    struct extracted x;
    struct err e = {0};
    const char *path = test_temp_path("image.pdf");
    test_write_file(path, "\x89PNG\r\n\x1a\n", 8);
    assert_status(extract_file(path, 0, &arena, &x, &e), ERR_FORMAT);
    assert_string_equal(e.message, "not a PDF: it does not begin with %PDF-");
    test_write_file(path, "", 0);
    assert_status(extract_file(path, 0, &arena, &x, &e), ERR_FORMAT);
    assert_status(extract_file(test_temp_path("none.pdf"), 0, &arena, &x, &e), ERR_NOT_FOUND);
    path = write_pdf("limit.pdf", plain);
    assert_status(extract_file(path, 100, &arena, &x, &e), ERR_LIMIT);
    if (!have_pdftotext()) {
        skip();
    }
    assert_status(extract_file(write_pdf("blank.pdf", blank), 0, &arena, &x, &e), ERR_UNSUPPORTED);
    assert_string_equal(e.message, "no text on any of its 2 pages: scanned images, needs OCR");
    struct buf b = {0};
    assert_ok(file_read(path, 1u << 20, &b, &e));
    path = test_temp_path("cut.pdf");
    test_write_file(path, b.data, 40);
    assert_status(extract_file(path, 0, &arena, &x, &e), ERR_FORMAT);
    buf_fini(&b);
    assert_status(
        extract_file(test_source_path("tests/golden/data/encrypted.pdf"), 0, &arena, &x, &e),
        ERR_UNSUPPORTED);
    assert_string_equal(e.message, "encrypted: it needs a password");
}

static void a_missing_program_is_named(void **state)
{
    (void)state;
    static const char *const plain[] = {"Some text.\n", NULL};
    struct extracted x;
    struct err e = {0};
    const char *path = write_pdf("x.pdf", plain);
    char *old = strdup(getenv("PATH"));
    setenv("PATH", test_temp_dir(), 1);
    assert_status(extract_file(path, 0, &arena, &x, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "poppler-utils"));
    setenv("PATH", old, 1);
    free(old);
}

/* A program in pdftotext's place tries what a captured one would. */
static const char *run_in_sandbox(const char *script, const struct pdf_limits *limits,
                                  enum status want)
{
    const char *dir = test_temp_path("bin"), *program = test_temp_path("bin/pdftotext");
    struct buf out = {0};
    struct err e = {0};
    assert_ok(file_mkdirs(dir, &e));
    test_write_file(program, script, strlen(script));
    assert_int_equal(access("/bin/sh", X_OK), 0);
    char command[600];
    snprintf(command, sizeof command, "chmod +x '%s'", program);
    assert_int_equal(system(command), 0);
    char *old = strdup(getenv("PATH"));
    setenv("PATH", dir, 1);
    int fd = open(program, O_RDONLY);
    enum status s = pdf_child_run(fd, "x.pdf", true, limits, &out, &e);
    close(fd);
    setenv("PATH", old, 1);
    free(old);
    assert_string_equal(status_info(s)->name, status_info(want)->name);
    const char *said = arena_strndup(&arena, out.data ? out.data : "", out.len);
    buf_fini(&out);
    return s ? arena_strdup(&arena, e.message) : said;
}

static void the_child_can_do_nothing_but_compute(void **state)
{
    (void)state;
    const char *file = arena_printf(&arena, "%s/stolen", test_temp_dir());
    /* the shell's own redirection is an open for writing; a pipe of two commands is a fork */
    char *script = arena_printf(&arena,
                                "#!/bin/sh\n"
                                "(echo x > %s) 2>/dev/null\n"
                                "echo x > %s || echo refused\n",
                                file, file);
    (void)run_in_sandbox(script, NULL, ERR_FORMAT); /* a subshell needs fork: the shell dies */
    assert_false(file_exists(file));
    script = arena_printf(&arena,
                          "#!/bin/sh\n"
                          "if command echo x 2>/dev/null > %s; then echo wrote; "
                          "else echo refused; fi\n",
                          file);
    assert_string_equal(run_in_sandbox(script, NULL, OK), "refused\n");
    assert_false(file_exists(file));
    assert_string_equal(run_in_sandbox("#!/bin/sh\necho $PATH $HOME $SECRET\n", NULL, OK),
                        "/usr/bin:/bin\n");
    assert_non_null(
        strstr(run_in_sandbox("#!/bin/sh\nexec /bin/cat /etc/hostname\n", NULL, ERR_FORMAT),
               "not a readable PDF"));
    if (access("/usr/bin/bash", X_OK) == 0) {
        assert_string_equal(
            run_in_sandbox("#!/usr/bin/bash\n"
                           "exec 3<>/dev/tcp/127.0.0.1/9 2>/dev/null && echo net || echo none\n",
                           NULL, OK),
            "none\n");
    }
}

static void the_child_is_stopped_at_its_limits(void **state)
{
    (void)state;
    struct pdf_limits l = {.wall_ms = 300};
    assert_non_null(
        strstr(run_in_sandbox("#!/bin/sh\nwhile :; do :; done\n", &l, ERR_LIMIT), "more than"));
    l = (struct pdf_limits){.cpu_s = 1};
    assert_string_equal(run_in_sandbox("#!/bin/sh\nwhile :; do :; done\n", &l, ERR_LIMIT),
                        "pdftotext used more than 1 s of processor time");
    l = (struct pdf_limits){.output_bytes = 100000};
    assert_non_null(strstr(
        run_in_sandbox("#!/bin/sh\nwhile :; do echo 0123456789; done\n", &l, ERR_LIMIT), "MiB"));
}

static void real_reports_keep_their_rows(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int32_t pages, page;
        const char *head, *row;
    } rows[] = {
        {"2022 Q3 NVDA.pdf", 49, 3,
         "Three Months Ended October 30, 2022 | Three Months Ended October 31, 2021 | Nine Months "
         "Ended October 30, 2022 | Nine Months Ended October 31, 2021",
         "Revenue | $5,931 | $7,103 | $20,923 | $19,271"},
        {"2023 Q1 AAPL.pdf", 46, 4,
         "Three Months Ended December 31, 2022 | Three Months Ended December 25, 2021",
         "Total net sales | 117,154 | 123,945"},
        {"2023 Q1 MSFT.pdf", 72, 5, "December 31, 2022 | June 30, 2022",
         "Total assets | $364,552 | $364,840"},
    };
    for (size_t i = 0; have_pdftotext() && i < sizeof rows / sizeof *rows; i++) {
        const char *path =
            test_data_path(arena_printf(&arena, "library/sec-10-q/%s", rows[i].file));
        if (!path) {
            continue;
        }
        struct extracted x = extract(path);
        size_t found = 0, head = 0;
        assert_int_equal(x.n_pages, rows[i].pages);
        for (size_t b = 0; b < x.n_blocks; b++) {
            const struct text_block *t = &x.blocks[b];
            size_t n = t->end - t->start;
            if (t->page != rows[i].page || t->kind != BLOCK_TABLE_ROW) {
                continue;
            }
            head += n == strlen(rows[i].head) && !memcmp(x.text + t->start, rows[i].head, n) &&
                    t->table_header;
            found += n == strlen(rows[i].row) && !memcmp(x.text + t->start, rows[i].row, n);
        }
        assert_int_equal(head, 1);
        assert_int_equal(found, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pages_become_paragraphs_tables_and_headings, reset),
        cmocka_unit_test_teardown(running_headers_are_dropped, reset),
        cmocka_unit_test_teardown(two_columns_are_read_one_after_the_other, reset),
        cmocka_unit_test_teardown(bad_files_are_told_apart, reset),
        cmocka_unit_test_teardown(a_missing_program_is_named, reset),
        cmocka_unit_test_teardown(the_child_can_do_nothing_but_compute, reset),
        cmocka_unit_test_teardown(the_child_is_stopped_at_its_limits, reset),
        cmocka_unit_test_teardown(real_reports_keep_their_rows, reset),
    };
    return cmocka_run_group_tests_name("pdf", tests, NULL, NULL);
}

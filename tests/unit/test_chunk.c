/* Chunks: exact ones of small documents, and what must hold for all, with a counter that takes each
 * word for a token. */
#include "common/test.h"

#include "base/file.h"
#include "common/blocks.h"
#include "ingest/chunk_internal.h"

#include <stdio.h>
#include <string.h>

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    return 0;
}

/* A token per run of letters up to 10 bytes; the bytes seen are added to *ctx. */
static enum status count_words(void *ctx, const char *s, size_t n, size_t *tokens, struct err *e)
{
    (void)e;
    size_t count = 0, run = 0;
    for (size_t i = 0; i < n; i++) {
        bool space = s[i] == ' ' || s[i] == '\n' || s[i] == '\t';
        count += !space && run % 10 == 0;
        run = space ? 0 : run + 1;
    }
    *(size_t *)ctx += n;
    *tokens = count;
    return OK;
}

static size_t bytes_counted;

static struct chunk *chunks_of(const struct extracted *x, int max_tokens, int overlap, size_t *n)
{
    struct token_counter counter = {count_words, &bytes_counted, 2};
    struct chunk *chunks;
    struct err e = {0};
    bytes_counted = 0;
    assert_ok_err(chunk_blocks(&counter, x, &(struct chunk_options){max_tokens, overlap}, &arena,
                               &chunks, n, &e),
                  &e);
    return chunks;
}

static struct extracted markdown(const char *text)
{
    struct extracted x;
    struct err e = {0};
    assert_ok_err(
        extract_memory(FILE_MARKDOWN, "test", (const uint8_t *)text, strlen(text), &arena, &x, &e),
        &e);
    return x;
}

/* "[heading] text" per chunk, newlines as "/". */
static const char *show(const struct chunk *chunks, size_t n)
{
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) {
        buf_printf(&b, "[%s] ", chunks[i].heading);
        for (size_t k = 0; k < chunks[i].text_len; k++) {
            char c = chunks[i].text[k];
            if (c != '\n' || k == 0 || chunks[i].text[k - 1] != '\n') {
                buf_putc(&b, c == '\n' ? '/' : c);
            }
        }
        buf_putc(&b, '\n');
    }
    const char *s = arena_strndup(&arena, b.data ? b.data : "", b.len);
    buf_fini(&b);
    return s;
}

/* What holds for every document and option. */
static void check_chunks(const struct extracted *x, const struct chunk *chunks, size_t n,
                         size_t max_tokens)
{
    uint32_t covered = 0; /* every block byte before this is in a chunk */
    size_t block = 0;
    for (size_t i = 0; i < n; i++) {
        const struct chunk *k = &chunks[i];
        struct buf b = {0};
        size_t tokens, sink = 0;
        assert_int_equal(k->index, i);
        assert_true(k->start < k->end && k->end <= x->n);
        assert_true(i == 0 || (k->start > chunks[i - 1].start && k->end > chunks[i - 1].end));
        assert_ptr_equal(k->text, x->text + k->start);
        assert_int_equal(k->text_len, k->end - k->start);
        assert_true(((uint8_t)x->text[k->start] & 0xC0) != 0x80);
        assert_true(((uint8_t)x->text[k->end] & 0xC0) != 0x80);
        chunk_embed_text(x->title, k, &b);
        assert_ok(count_words(&sink, b.data, b.len, &tokens, NULL));
        assert_true(tokens + 2 <= max_tokens);
        assert_true(*x->title ? (size_t)k->n_tokens == tokens + 2 : true);
        buf_fini(&b);
        for (uint32_t at = covered; at < k->start; at++) { /* only white space lies between */
            assert_true(strchr(" \n\t", x->text[at]) != NULL);
        }
        covered = k->end;
        /* pages of the first and last byte; headings */
        int major = 0;
        bool text = false;
        while (block > 0 && x->blocks[block].start > k->start) {
            block--;
        }
        while (x->blocks[block].end <= k->start) {
            block++;
        }
        assert_int_equal(k->page, x->blocks[block].page);
        for (; block < x->n_blocks && x->blocks[block].start < k->end; block++) {
            const struct text_block *t = &x->blocks[block];
            bool is_major = t->kind == BLOCK_HEADING && t->level <= 2 && t->start >= k->start;
            major += is_major && text;
            text |= t->kind != BLOCK_HEADING;
        }
        assert_int_equal(k->page_end, x->blocks[--block].page);
        assert_int_equal(major, 0);
    }
    for (size_t at = covered; at < x->n; at++) {
        assert_true(strchr(" \n\t", x->text[at]) != NULL);
    }
}

static void small_documents_are_one_chunk(void **state)
{
    (void)state;
    size_t n;
    struct extracted x = markdown("# Title\n\nSome text.\n\n### Deep\n\nMore text.\n");
    struct chunk *c = chunks_of(&x, 0, 0, &n);
    assert_int_equal(n, 1);
    assert_string_equal(c[0].heading, "Title");
    assert_int_equal(c[0].start, 0);
    assert_int_equal(c[0].end, x.n);
    x = markdown("");
    chunks_of(&x, 0, 0, &n);
    assert_int_equal(n, 0);
}

static void sections_are_kept_apart(void **state)
{
    (void)state;
    size_t n;
    struct extracted x =
        markdown("# Book\n\n## One\n\nText of one.\n\n### Part\n\nText of part.\n\n"
                 "## Two\n\n### Sub\n\nText of sub.\n");
    struct chunk *c = chunks_of(&x, 64, 0, &n);
    assert_string_equal(show(c, n), "[Book > One] Book/One/Text of one./Part/Text of part.\n"
                                    "[Book > Two > Sub] Two/Sub/Text of sub.\n");
    check_chunks(&x, c, n, 64);
    struct buf b = {0};
    chunk_embed_text("Book", &c[1], &b);
    assert_string_equal(b.data, "Book > Two > Sub\nTwo\n\nSub\n\nText of sub.");
    buf_reset(&b);
    chunk_embed_text("Shelf", &c[1], &b);
    assert_string_equal(b.data, "Shelf > Book > Two > Sub\nTwo\n\nSub\n\nText of sub.");
    buf_fini(&b);
}

static void long_text_is_split_at_sentences_with_overlap(void **state)
{
    (void)state;
    size_t n;
    struct extracted x =
        markdown("# T\n\nOne a b c d e f. Two a b c d e f. Three a b c d e f. Four a b c d e f. "
                 "Five a b c d e f. Six a b c d e f.\n\nSeven a b c d e f.\n");
    struct chunk *c = chunks_of(&x, 32, 8, &n);
    assert_string_equal(show(c, n), "[T] T/One a b c d e f. Two a b c d e f. Three a b c d e f.\n"
                                    "[T] Three a b c d e f. Four a b c d e f. Five a b c d e f.\n"
                                    "[T] Five a b c d e f. Six a b c d e f./Seven a b c d e f.\n");
    check_chunks(&x, c, n, 32);
    c = chunks_of(&x, 32, -1, &n);
    assert_string_equal(show(c, n), "[T] T/One a b c d e f. Two a b c d e f. Three a b c d e f.\n"
                                    "[T] Four a b c d e f. Five a b c d e f. Six a b c d e f.\n"
                                    "[T] Seven a b c d e f.\n");
}

static void rows_repeat_their_column_heads(void **state)
{
    (void)state;
    size_t n;
    struct buf b = {0};
    buf_puts(&b, "# T\n\n| Name | Size |\n|---|---|\n");
    for (int i = 0; i < 12; i++) {
        buf_printf(&b, "| row%d | %d |\n", i, i * 10);
    }
    buf_puts(&b, "\nAfter the table.\n");
    struct extracted x = markdown(b.data);
    buf_fini(&b);
    struct chunk *c = chunks_of(&x, 40, 0, &n);
    check_chunks(&x, c, n, 40);
    assert_true(n >= 2);
    assert_string_equal(c[0].heading, "T");
    assert_string_equal(c[1].heading, "T > Name | Size");
    assert_memory_equal(c[1].text, "row", 3);
}

static void definitions_keep_their_term(void **state)
{
    (void)state;
    static const char html[] =
        "<h2>Settings</h2><dl><dt>port (integer)</dt><dd><p>One a b c d e f. Two a b c d e f.</p>"
        "<p>Three a b c d e f. Four a b c d e f.</p><p>Five a b c d e f.</p></dd>"
        "<dt>host</dt><dd>Six.</dd></dl><p>After.</p>";
    struct extracted x;
    size_t n;
    assert_ok(
        extract_memory(FILE_HTML, "t", (const uint8_t *)html, sizeof html - 1, &arena, &x, NULL));
    struct chunk *c = chunks_of(&x, 32, -1, &n);
    assert_string_equal(show(c, n), "[Settings] Settings/port (integer)/One a b c d e f. Two a b c "
                                    "d e f.\n"
                                    "[Settings > port (integer)] Three a b c d e f. Four a b c d e "
                                    "f./Five a b c d e f.\n"
                                    "[Settings] host/Six./After.\n");
    check_chunks(&x, c, n, 32);
}

static void huge_words_and_lines_are_cut(void **state)
{
    (void)state;
    size_t n;
    struct buf b = {0};
    buf_puts(&b, "intro ");
    for (int i = 0; i < 30000; i++) {
        buf_puts(&b, "\xC3\xA9");
    }
    buf_puts(&b, " end\n\n```\n");
    for (int i = 0; i < 3000; i++) {
        buf_printf(&b, "%*sline %d;\n", i % 40, "", i);
    }
    buf_puts(&b, "```\n\n");
    for (int i = 0; i < 20000; i++) {
        buf_puts(&b, "no full stop anywhere ");
    }
    struct extracted x = markdown(b.data);
    struct chunk *c = chunks_of(&x, 64, 16, &n);
    check_chunks(&x, c, n, 64);
    assert_true(n > 1000);
    for (size_t i = 0; i < n; i++) {
        assert_true(c[i].text_len <= 64 * 16);
    }
    assert_true(bytes_counted < 12 * x.n); /* linear, with the prefixes */
    buf_fini(&b);
}

static void options_are_checked(void **state)
{
    (void)state;
    struct extracted x = markdown("text");
    struct token_counter counter = {count_words, &bytes_counted, 2};
    struct chunk *chunks;
    size_t n;
    static const struct chunk_options bad[] = {{16, 0}, {-1, 0}, {64, -2}, {64, 64}};
    for (size_t i = 0; i < 4; i++) {
        assert_status(chunk_blocks(&counter, &x, &bad[i], &arena, &chunks, &n, NULL), ERR_USAGE);
    }
}

static enum status check_file(void *ctx, const struct file_entry *entry)
{
    struct extracted x;
    struct err e = {0};
    size_t n;
    if (strstr(entry->path, ".md") || strstr(entry->path, ".html")) {
        assert_ok_err(extract_file(entry->path, 0, &arena, &x, &e), &e);
        int max = 64 << (*(int *)ctx % 3);
        struct chunk *c = chunks_of(&x, max, *(int *)ctx % 2 ? 0 : -1, &n);
        if (max > 50 || x.n) {
            check_chunks(&x, c, n, (size_t)max);
        }
        ++*(int *)ctx;
        arena_reset(&arena);
    }
    return OK;
}

static void real_documents_are_covered(void **state)
{
    (void)state;
    const char *path = test_data_path("library/owasp");
    int n = 0;
    if (path) {
        assert_ok(file_walk(path, check_file, &n, NULL));
        assert_true(n >= 100);
    }
    static const char manual[] = "/usr/share/doc/postgresql-doc-15/html";
    if (file_is_dir(manual)) {
        assert_ok(file_walk(manual, check_file, &n, NULL));
        assert_true(n >= 1000);
    } else {
        printf("absent, so not chunked: %s (package postgresql-doc-15)\n", manual);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(small_documents_are_one_chunk, reset),
        cmocka_unit_test_teardown(sections_are_kept_apart, reset),
        cmocka_unit_test_teardown(long_text_is_split_at_sentences_with_overlap, reset),
        cmocka_unit_test_teardown(rows_repeat_their_column_heads, reset),
        cmocka_unit_test_teardown(definitions_keep_their_term, reset),
        cmocka_unit_test_teardown(huge_words_and_lines_are_cut, reset),
        cmocka_unit_test_teardown(options_are_checked, reset),
        cmocka_unit_test_teardown(real_documents_are_covered, reset),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}

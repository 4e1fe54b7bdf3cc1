/* HTML: exact blocks, hostile pages, real pages of a manual. */
#include "common/test.h"

#include "base/file.h"
#include "base/sys.h"
#include "common/blocks.h"
#include "text/html_tame.h"

#include <stdio.h>
#include <string.h>

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_reset(&arena);
    return 0;
}

static const char *blocks_of(const char *html, size_t n, struct extracted *out)
{
    struct extracted x;
    struct err e = {0};
    assert_ok_err(extract_memory(FILE_HTML, "page", (const uint8_t *)html, n, &arena, &x, &e), &e);
    test_check_blocks(&x);
    if (out) {
        *out = x;
    }
    return test_blocks(&x, &arena);
}

static void pages_become_blocks(void **state)
{
    (void)state;
    static const struct {
        const char *html, *want;
    } rows[] = {
        {"<p>a <b>b</b>c<i> d</i>\n e&amp;f&nbsp;g &rarr;<br>h</p>i",
         "P a bc d e&f g →\\nh\nP i\n"},
        {"<h1>A</h1><div>x<p>y</div><h6>Z<br>z</h6>", "H1 A\nP x\nP y\nH6 Z z\n"},
        {"<ul><li>a<ol><li>b<li>c</ol>d<li><p>e</ul>f", "L1 a\nL2 b\nL2 c\nL1 d\nL1 e\nP f\n"},
        {"<dl><dt>t</dt><dt>u</dt><dd>v<p>w</dd></dl><p>x", "H7 t, u\nL1 v\nL1 w\nP x\n"},
        {"<dl><dt>alone</dl>", "L1 alone\n"},
        {"<pre>\n  x &lt;\n\n  y </pre>", "C   x <\\n\\n  y\n"},
        {"<blockquote><p>q</p></blockquote>", "Q q\n"},
        {"<table><caption>Cap</caption><tr><th>A<th>B<tr><td>1<td><p>2</p><p>3</p><tr><td><td>"
         "</table><table><tr><td>x<td>y</table>",
         "P Cap\nR1h A | B\nR1 1 | 2 3\nR2 x | y\n"},
        {"<table><thead><tr><td>A<td>B</thead><tr><th>r<td>1</table>", "R1h A | B\nR1 r | 1\n"},
        {"<table><tr><td><h2>H</h2>text<td><table><tr><td>a<td>b</table></table>",
         "H2 H\nP text\nR1 a | b\n"},
        {"<header>h</header><nav>n</nav><p>x</p><aside>a</aside><footer>f</footer>"
         "<script>s()</script><style>c{}</style><noscript>no</noscript><div hidden>hid</div>"
         "<div style='display: none'>d</div><div class='a navfooter'>b</div><div role=navigation>"
         "r</div><button>b</button>",
         "P x\n"},
        {"<div>out</div><main><header><h1>T</h1></header><p>in</p></main>", "H1 T\nP in\n"},
        {"<div>out</div><article><p>in</p></article>", "P in\n"},
        {"<article>a</article><article>b</article>", "P a\nP b\n"},
        {"<div class=note><h3>Note</h3><p>n</p></div>", "P Note\nP n\n"},
        {"<nav>only this</nav>", "P only this\n"},
        {"<svg><text>no</text></svg><p>&#x41;&#0;&bogus;", "P A\xEF\xBF\xBD&bogus;\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(blocks_of(rows[i].html, strlen(rows[i].html), NULL), rows[i].want);
    }
}

static void heads_tell_title_author_language(void **state)
{
    (void)state;
    static const char html[] = "<html lang=de-AT><title> A\n &amp; B </title><meta name=Author "
                               "content='Jane'><h1>H</h1>";
    struct extracted x;
    blocks_of(html, sizeof html - 1, &x);
    assert_string_equal(x.title, "A & B");
    assert_string_equal(x.author, "Jane");
    assert_string_equal(x.language, "de-AT");
    blocks_of("<h2>First</h2>", 14, &x);
    assert_string_equal(x.title, "First");
}

static void deep_pages_keep_their_text(void **state)
{
    (void)state;
    static const char *const tags[] = {"<div>", "<b>", "<blockquote>", "<p><span>", "<ul><li>"};
    for (size_t t = 0; t < sizeof tags / sizeof *tags; t++) {
        struct buf b = {0};
        for (int i = 0; i < 100000; i++) {
            buf_puts(&b, tags[t]);
        }
        buf_puts(&b, "inside");
        struct extracted x;
        double t0 = clock_ms();
        blocks_of(b.data, b.len, &x);
        assert_true(clock_ms() - t0 < 15000);
        assert_string_equal(x.text, "inside");
        buf_fini(&b);
    }
}

static void many_attributes_do_not_cost_their_square(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_puts(&b, "<p ");
    for (int i = 0; i < 1000000; i++) {
        buf_printf(&b, "a%d=1 ", i);
    }
    buf_puts(&b, ">text <a title='x>y' b>link</a>");
    struct extracted x;
    double t0 = clock_ms();
    blocks_of(b.data, b.len, &x);
    assert_true(clock_ms() - t0 < 15000);
    assert_string_equal(x.text, "text link");
    buf_fini(&b);
}

static void ordinary_pages_are_not_tamed(void **state)
{
    (void)state;
    struct buf b = {0}, html = {0};
    for (int i = 0; i < 3000; i++) { /* unclosed, but not nested */
        buf_puts(&html, "<p>text<li>item<br><img src='a>b'><!-- <div> --><script>'<div>'</script>");
    }
    assert_false(html_tame(html.data, html.len, &b));
    assert_null(b.data);
    buf_reset(&html);
    for (int i = 0; i < HTML_MAX_DEPTH + 2; i++) {
        buf_puts(&html, "<i>");
    }
    buf_puts(&html, "x</i></i></i>y");
    assert_true(html_tame(html.data, html.len, &b));
    assert_int_equal(b.len, 3 * HTML_MAX_DEPTH + 1 + 4 + 1);
    assert_string_equal(b.data + 3 * HTML_MAX_DEPTH, "x</i>y");
    buf_fini(&b);
    buf_fini(&html);
}

static enum status check_page(void *ctx, const struct file_entry *entry)
{
    struct extracted x;
    struct err e = {0};
    if (strstr(entry->path, ".html")) {
        assert_ok_err(extract_file(entry->path, 0, &arena, &x, &e), &e);
        test_check_blocks(&x);
        assert_true(x.n_blocks > 0 && *x.title);
        assert_null(strstr(x.text, "Up\n\nHome"));
        arena_reset(&arena);
        ++*(int *)ctx;
    }
    return OK;
}

static void a_real_manual_is_read(void **state)
{
    (void)state;
    static const char manual[] = "/usr/share/doc/postgresql-doc-15/html";
    int n = 0;
    if (!file_is_dir(manual)) {
        printf("absent, so not read: %s (package postgresql-doc-15)\n", manual);
        skip();
    }
    assert_ok(file_walk(manual, check_page, &n, NULL));
    assert_true(n > 1000);
    struct extracted x;
    struct err e = {0};
    const char *page = arena_printf(&arena, "%s/runtime-config-connection.html", manual);
    assert_ok_err(extract_file(page, 0, &arena, &x, &e), &e);
    assert_string_equal(x.title, "20.3. Connections and Authentication");
    static const char want[] = "H2 20.3. Connections and Authentication\n"
                               "H3 20.3.1. Connection Settings\n"
                               "H7 listen_addresses (string)\n"
                               "L1 Specifies the TCP/IP address(es) on which the server is to";
    assert_memory_equal(test_blocks(&x, &arena), want, sizeof want - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pages_become_blocks, reset),
        cmocka_unit_test_teardown(heads_tell_title_author_language, reset),
        cmocka_unit_test_teardown(deep_pages_keep_their_text, reset),
        cmocka_unit_test_teardown(many_attributes_do_not_cost_their_square, reset),
        cmocka_unit_test_teardown(ordinary_pages_are_not_tamed, reset),
        cmocka_unit_test_teardown(a_real_manual_is_read, reset),
    };
    return cmocka_run_group_tests_name("extract_html", tests, NULL, NULL);
}

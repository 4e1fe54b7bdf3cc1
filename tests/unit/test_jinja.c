/* Templates: what jinja2 cannot tell us: limits, places of errors, codes, outputs untouched. */
#include "common/test.h"

#include "model/template.h"

#include <jansson.h>
#include <string.h>

/* Renders `source` over no variables; the text, if any, is put into *out. */
static enum status run(const char *source, const struct template_limits *limits, struct buf *out,
                       struct err *e)
{
    struct template *t = NULL;
    json_t *vars = json_object();
    enum status s = template_parse(source, strlen(source), &t, e);
    if (!s) {
        s = template_render_limited(t, vars, limits, out, e);
    }
    template_free(t);
    json_decref(vars);
    return s;
}

static void every_limit_ends_a_render(void **state)
{
    (void)state;
    const struct template_limits steps = {.max_steps = 1000}, bytes = {.max_output_bytes = 100},
                                 memory = {.max_memory_bytes = 1 << 20}, none = {0};
    const struct {
        const char *source;
        const struct template_limits *limits;
    } cases[] = {
        {"{% for i in range(9999) %}{% endfor %}", &steps},
        {"{% for i in range(101) %}x{% endfor %}", &bytes},
        {"{{ 'x' * 101 }}", &bytes},
        {"{% set x %}{% for i in range(101) %}x{% endfor %}{% endset %}", &bytes},
        {"{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
         "{% endfor %}",
         &none},
        {"{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}"
         "{% endfor %}",
         &memory},
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", &none},
        {"{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}"
         "{{ n.x }}",
         &none},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        struct err e = {0};
        assert_status(run(cases[i].source, cases[i].limits, &out, &e), ERR_LIMIT);
        assert_int_equal(out.len, 0); /* nothing of a failed render */
        buf_fini(&out);
    }
    struct buf out = {0};
    assert_ok(run("{% for i in range(100) %}x{% endfor %}", &bytes, &out, NULL));
    assert_int_equal(out.len, 100);
    buf_fini(&out);
}

static void nesting_is_limited_while_parsing(void **state)
{
    (void)state;
    static char source[20000];
    static const char *const parts[] = {"(", "[", "not ", "-", "1+"};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        strcpy(source, "{{ ");
        for (int i = 0; i < 900; i++) {
            strcat(source, parts[k]);
        }
        struct err e = {0};
        struct template *t = NULL;
        strcat(source, "1");
        for (int i = 0; k < 2 && i < 900; i++) {
            strcat(source, k ? "]" : ")");
        }
        strcat(source, " }}");
        assert_status(template_parse(source, strlen(source), &t, &e), ERR_LIMIT);
        assert_null(t);
    }
}

static void errors_name_the_line(void **state)
{
    (void)state;
    const struct {
        const char *source;
        enum status status;
        const char *place, *message;
    } cases[] = {
        {"a\n{% if %}", ERR_FORMAT, "template line 2", "expected an expression, got %}"},
        {"\n\n{% extends 'x' %}", ERR_UNSUPPORTED, "template line 3", "the tag 'extends'"},
        {"\n{{ x | pprint }}", ERR_UNSUPPORTED, "template line 2", "the filter 'pprint'"},
        {"{#\n#}\n{{ x.y }}", ERR_FORMAT, "template line 3", "'x' is undefined"},
        {"\n{{ raise_exception('No \"%s\"!') }}", ERR_USAGE, "template line 2", "No \"%s\"!"},
        {"{% for x in 5 %}{% endfor %}", ERR_FORMAT, "template line 1",
         "'int' object is not iterable"},
    };
    const struct template_limits none = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        struct err e = {0};
        assert_status(run(cases[i].source, &none, &out, &e), cases[i].status);
        assert_string_equal(e.place, cases[i].place);
        assert_string_equal(e.message, cases[i].message);
        buf_fini(&out);
    }
}

static void rendering_appends(void **state)
{
    (void)state;
    const struct template_limits none = {0};
    struct buf out = {0};
    buf_puts(&out, "before ");
    assert_ok(run("{{ 1 + 1 }}", &none, &out, NULL));
    assert_string_equal(out.data, "before 2");
    assert_status(run("x{{ 1 / 0 }}", &none, &out, NULL), ERR_FORMAT);
    assert_string_equal(out.data, "before 2");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_limit_ends_a_render),
        cmocka_unit_test(nesting_is_limited_while_parsing),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(rendering_appends),
    };
    return cmocka_run_group_tests_name("jinja", tests, NULL, NULL);
}

/* Chat templates against jinja2: whole templates over conversations, and a table of snippets.
 *
 * The expectations are made by make_templates.py. What jinja2 renders must come out byte for byte
 * or be refused with ERR_UNSUPPORTED; the number refused is pinned. What jinja2 refuses must be
 * refused. */
#include "common/test.h"

#include "base/file.h"
#include "model/template.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1732188600 }; /* as make_templates.py */

static struct template_limits limits = {.now = NOW};

static struct buf read_whole(const char *path)
{
    struct buf b = {0};
    struct err e = {0};
    assert_ok_err(file_read(path, 1u << 24, &b, &e), &e);
    return b;
}

static json_t *load(const char *name)
{
    json_error_t je;
    json_t *j = json_load_file(test_source_path(name), JSON_ALLOW_NUL, &je);
    if (!j) {
        fail_msg("%s: %s", name, je.text);
    }
    return j;
}

/* Calls `one` for every line of a file of JSON lines; returns how many there were. */
static size_t each_line(const char *name, void (*one)(const json_t *line, void *ctx), void *ctx)
{
    struct buf b = read_whole(test_source_path(name));
    size_t n = 0;
    for (char *p = b.data, *end; p && *p; p = end + 1, n++) {
        json_error_t je;
        end = strchr(p, '\n');
        assert_non_null(end);
        json_t *line = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, &je);
        if (!line) {
            fail_msg("%s line %zu: %s", name, n + 1, je.text);
        }
        one(line, ctx);
        json_decref(line);
    }
    buf_fini(&b);
    return n;
}

static enum status render(const char *source, size_t n, const json_t *vars, struct buf *out,
                          struct err *e)
{
    struct template *t = NULL;
    enum status s = template_parse(source, n, &t, e);
    if (!s) {
        s = template_render_limited(t, vars, &limits, out, e);
    }
    template_free(t);
    return s;
}

struct tally {
    const json_t *sources, *conversations;
    size_t same, refused, missing, wrong;
};

/* Whether the outcome is what `expected` says; prints what differs. */
static void check(struct tally *tally, const char *what, const char *source, size_t n,
                  const json_t *vars, const json_t *expected)
{
    struct buf out = {0};
    struct err e = {0};
    enum status s = render(source, n, vars, &out, &e);
    const json_t *text = json_object_get(expected, "out");
    const char *raised = json_string_value(json_object_get(expected, "raised"));
    const char *sha256 = json_string_value(json_object_get(expected, "sha256"));
    bool ok;
    if (sha256) {
        char hex[SHA256_HEX];
        sha256_hex(out.data, out.len, hex);
        ok = s ? s == ERR_UNSUPPORTED : strcmp(hex, sha256) == 0;
    } else if (text) {
        ok = s ? s == ERR_UNSUPPORTED
               : out.len == json_string_length(text) &&
                     memcmp(out.data, json_string_value(text), out.len) == 0;
    } else if (raised) {
        ok = s == ERR_USAGE && strcmp(e.message, raised) == 0;
    } else {
        ok = s == ERR_FORMAT || s == ERR_UNSUPPORTED || s == ERR_LIMIT;
    }
    if ((text || sha256) && s == ERR_UNSUPPORTED) {
        tally->refused++;
        printf("refused: %s: %s: %s\n", what, e.place, e.message);
    } else if (!ok) {
        tally->wrong++;
        char *want = json_dumps(expected, JSON_COMPACT);
        fprintf(stderr, "%s\n  want %.600s\n  got  %s %s: %s\n  [%.*s]\n", what, want,
                status_info(s)->name, e.place, s ? e.message : "",
                (int)(out.len < 600 ? out.len : 600), out.data ? out.data : "");
        free(want);
    } else {
        tally->same++;
    }
    buf_fini(&out);
}

static void one_conversation(const json_t *line, void *ctx)
{
    struct tally *tally = ctx;
    const char *name = json_string_value(json_object_get(line, "template"));
    const char *conversation = json_string_value(json_object_get(line, "conversation"));
    struct buf file = {0};
    const char *source = NULL;
    size_t n = 0;
    if (strncmp(name, "own:", 4) == 0) {
        const json_t *j = json_object_get(tally->sources, name + 4);
        source = json_string_value(j);
        n = json_string_length(j);
        assert_non_null(source);
    } else {
        char relative[256];
        (void)snprintf(relative, sizeof relative, "templates/%s", name + strlen("public:"));
        const char *path = test_data_path(relative);
        if (!path) {
            tally->missing++;
            return;
        }
        file = read_whole(path);
        source = file.data;
        n = file.len;
    }
    json_t *vars = json_copy(json_object_get(tally->conversations, conversation));
    json_object_set_new(vars, "add_generation_prompt",
                        json_boolean(json_is_true(json_object_get(line, "prompt"))));
    char what[400];
    (void)snprintf(what, sizeof what, "%s, %s, prompt %d", name, conversation,
                   json_is_true(json_object_get(line, "prompt")));
    check(tally, what, source, n, vars, line);
    json_decref(vars);
    buf_fini(&file);
}

static void conversations(const char *const *files, size_t expected)
{
    struct tally tally = {0};
    json_t *sources = load("tests/golden/data/template_sources.json");
    json_t *talks = load("tests/golden/data/template_conversations.json");
    tally.sources = sources;
    tally.conversations = talks;
    size_t n = 0;
    for (size_t i = 0; files[i]; i++) {
        n += each_line(files[i], one_conversation, &tally);
    }
    json_decref(sources);
    json_decref(talks);
    printf("%zu conversations: %zu as jinja2, %zu refused, %zu without their template\n", n,
           tally.same, tally.refused, tally.missing);
    assert_int_equal(tally.wrong, 0);
    assert_int_equal(tally.refused, 0);
    assert_int_equal(n, expected);
}

static void own_templates_render_as_jinja2(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/golden/data/template_own_0.jsonl", NULL};
    conversations(files, 512);
}

static void public_templates_render_as_jinja2(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/golden/data/template_public_0.jsonl", NULL};
    conversations(files, 544);
}

static void one_snippet(const json_t *line, void *ctx)
{
    const json_t *source = json_object_get(line, "source");
    check(ctx, json_string_value(source), json_string_value(source), json_string_length(source),
          json_object_get(line, "vars"), line);
}

static void snippets_do_as_jinja2(void **state)
{
    (void)state;
    struct tally tally = {0};
    size_t n = each_line("tests/golden/data/template_cases.jsonl", one_snippet, &tally);
    printf("%zu snippets: %zu as jinja2, %zu refused\n", n, tally.same, tally.refused);
    assert_int_equal(tally.wrong, 0);
    assert_int_equal(n, 339);
    assert_int_equal(tally.refused, 18);
}

int main(void)
{
    (void)setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snippets_do_as_jinja2),
        cmocka_unit_test(own_templates_render_as_jinja2),
        cmocka_unit_test(public_templates_render_as_jinja2),
    };
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}

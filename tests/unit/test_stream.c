/* Text streams: characters and stop strings are never split, whatever the cuts of the input. */
#include "common/test.h"

#include "engine/stream.h"

#include <string.h>

struct log {
    struct buf all;
    int n_calls, stop_after;
};

static bool on_text(void *ctx, const char *text, size_t n)
{
    struct log *l = ctx;
    assert_true(n > 0);
    assert_int_not_equal((unsigned char)text[0] & 0xC0, 0x80); /* begins a character */
    buf_put(&l->all, text, n);
    return ++l->n_calls != l->stop_after;
}

/* Feeds `in` in pieces of `step` bytes; returns whether a stop string ended it. */
static bool feed(const char *in, size_t step, const char *const *stop, size_t n_stop,
                 const char *expected)
{
    struct log l = {0};
    struct stream s = {.stop = stop, .n_stop = n_stop, .on_text = on_text, .ctx = &l};
    bool stopped = false;
    size_t n = strlen(in);
    assert_true(stream_reserve(&s, 64));
    for (size_t i = 0; i < n && !stopped; i += step) {
        stopped = stream_put(&s, in + i, n - i < step ? n - i : step);
    }
    if (!stopped) {
        stream_end(&s);
    }
    buf_puts(&l.all, "");
    buf_puts(&s.text, "");
    assert_string_equal(s.text.data, expected);
    assert_string_equal(l.all.data ? l.all.data : "", expected);
    buf_fini(&l.all);
    stream_fini(&s);
    return stopped;
}

static void characters_are_whole_for_any_cut(void **state)
{
    (void)state;
    for (size_t step = 1; step < 9; step++) {
        assert_false(feed("aé€😀z", step, NULL, 0, "aé€😀z"));
        /* lone continuation, overlong, surrogate, cut-off: U+FFFD per maximal part */
        assert_false(feed("\x80x", step, NULL, 0, "\xEF\xBF\xBDx"));
        assert_false(feed("\xC0\xAFx", step, NULL, 0, "\xEF\xBF\xBD\xEF\xBF\xBDx"));
        assert_false(feed("\xE2\x82x", step, NULL, 0, "\xEF\xBF\xBDx"));
        assert_false(feed("\xF0\x9F\x98", step, NULL, 0, "\xEF\xBF\xBD"));
        assert_false(feed("\xED\xA0\x80", step, NULL, 0, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
    }
}

static void stop_strings_are_cut_off_and_never_leak(void **state)
{
    (void)state;
    static const char *const stop[] = {"\nUser:", "###", "é!"};
    for (size_t step = 1; step < 12; step++) {
        assert_true(feed("Hello\nUser: x", step, stop, 3, "Hello"));
        assert_false(feed("Hello\nUse", step, stop, 3, "Hello\nUse"));
        assert_true(feed("a##b####", step, stop, 3, "a##b"));
        assert_true(feed("caf\xC3\xA9!", step, stop, 3, "caf"));
        assert_false(feed("caf\xC3\xA9?", step, stop, 3, "caf\xC3\xA9?"));
        assert_true(feed("###", step, stop, 3, ""));
    }
}

static void the_caller_can_stop(void **state)
{
    (void)state;
    struct log l = {.stop_after = 1};
    struct stream s = {.on_text = on_text, .ctx = &l};
    assert_false(stream_put(&s, "ab", 2));
    assert_true(s.stopped_by_caller);
    assert_false(stream_put(&s, "cd", 2));
    stream_end(&s);
    assert_int_equal(l.n_calls, 1);
    buf_fini(&l.all);
    stream_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_whole_for_any_cut),
        cmocka_unit_test(stop_strings_are_cut_off_and_never_leak),
        cmocka_unit_test(the_caller_can_stop),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}

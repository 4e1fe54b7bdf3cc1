/* A text stream: see stream.h. Stop strings are searched only where new text can complete them;
 * what could still grow into one is the longest end of the text that begins some stop string. */
#include "engine/stream.h"

#include <string.h>

bool stream_reserve(struct stream *s, size_t bytes)
{
    return buf_reserve(&s->text, bytes) && buf_reserve(&s->raw, 512);
}

/* Length of the character at p (1..4); 0: p begins an ill-formed part of *bad bytes; -1: it may be
 * completed by more bytes. Table 3-7 of the Unicode standard. */
static int character(const unsigned char *p, size_t n, size_t *bad)
{
    unsigned char c = p[0], lo = 0x80, hi = 0xBF;
    size_t len = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    *bad = 1;
    if (len == 0) {
        return 0;
    }
    lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < len; i++) {
        if (i == n) {
            *bad = n;
            return -1;
        }
        if (p[i] < lo || p[i] > hi) {
            *bad = i;
            return 0;
        }
        lo = 0x80;
        hi = 0xBF;
    }
    return (int)len;
}

/* Moves what is decided from raw to text. */
static void decode(struct stream *s, bool last)
{
    const unsigned char *p = (const unsigned char *)s->raw.data;
    size_t i = 0;
    while (i < s->raw.len) {
        size_t bad;
        int k = character(p + i, s->raw.len - i, &bad);
        if (k < 0 && !last) {
            break;
        }
        if (k > 0) {
            buf_put(&s->text, p + i, (size_t)k);
            i += (size_t)k;
        } else {
            buf_puts(&s->text, "\xEF\xBF\xBD");
            i += bad;
        }
    }
    if (i) {
        memmove(s->raw.data, s->raw.data + i, s->raw.len - i);
        s->raw.len -= i;
    }
}

/* Begin of the first stop string in text[from..]; SIZE_MAX: none. */
static size_t find_stop(const struct stream *s, size_t from)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < s->n_stop; i++) {
        const char *at = s->text.len > from ? memmem(s->text.data + from, s->text.len - from,
                                                     s->stop[i], strlen(s->stop[i]))
                                            : NULL;
        if (at && (size_t)(at - s->text.data) < first) {
            first = (size_t)(at - s->text.data);
        }
    }
    return first;
}

/* Bytes at the end of the text that may be the begin of a stop string. */
static size_t held_back(const struct stream *s)
{
    size_t held = 0;
    for (size_t i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]), k = n - 1 < s->text.len ? n - 1 : s->text.len;
        while (k > held && memcmp(s->text.data + s->text.len - k, s->stop[i], k) != 0) {
            k--;
        }
        held = k > held ? k : held;
    }
    return held;
}

static void give(struct stream *s, size_t until)
{
    if (until > s->given && s->on_text && !s->stopped_by_caller) {
        s->stopped_by_caller = !s->on_text(s->ctx, s->text.data + s->given, until - s->given);
    }
    s->given = until > s->given ? until : s->given;
}

bool stream_put(struct stream *s, const char *p, size_t n)
{
    buf_put(&s->raw, p, n);
    decode(s, false);
    /* Everything before `given` was ruled out as the begin of a stop string. */
    size_t stop = find_stop(s, s->given);
    if (stop != SIZE_MAX) {
        s->text.len = stop;
        s->text.data[stop] = 0;
        s->raw.len = 0;
        give(s, stop);
        return true;
    }
    give(s, s->text.len - held_back(s));
    return false;
}

void stream_end(struct stream *s)
{
    decode(s, true);
    give(s, s->text.len);
}

void stream_fini(struct stream *s)
{
    buf_fini(&s->raw);
    buf_fini(&s->text);
}

/* A text stream: bytes of tokens in, whole UTF-8 out, stop strings held back and cut off.
 *
 * Bytes that are no UTF-8 become U+FFFD (one for each maximal part, as Unicode 3.9 recommends), so
 * that what goes out is always text. `text` holds everything that is final or may yet become so;
 * text[0..given) has been handed to the caller. */
#ifndef HEARTH_ENGINE_STREAM_H
#define HEARTH_ENGINE_STREAM_H

#include "base/mem.h"

struct stream {
    const char *const *stop;
    size_t n_stop;
    bool (*on_text)(void *ctx, const char *text, size_t n); /* may be NULL */
    void *ctx;
    struct buf raw; /* bytes that may be the begin of a character */
    struct buf text;
    size_t given;
    bool stopped_by_caller;
};

/* Room for `bytes` of text without another allocation; false: no memory. */
bool stream_reserve(struct stream *s, size_t bytes);
/* Adds bytes; true when a stop string is complete (the text then ends before it). */
bool stream_put(struct stream *s, const char *p, size_t n);
/* Gives out the rest; half a character becomes U+FFFD. */
void stream_end(struct stream *s);
void stream_fini(struct stream *s); /* text too, unless it was taken */
#endif

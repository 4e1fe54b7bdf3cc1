/* A pass over HTML before the parser sees it, which keeps its cost linear. */
#ifndef HEARTH_TEXT_HTML_TAME_H
#define HEARTH_TEXT_HTML_TAME_H

#include "base/mem.h"

enum {
    HTML_MAX_DEPTH = 256,     /* open elements; browsers stop at 512 */
    HTML_MAX_ATTRIBUTES = 128 /* of one tag */
};

/* Where s[0..n) nests deeper, or a tag has more attributes, writes a copy without the surplus tags
 * and attributes to *out and returns true; else returns false and leaves *out alone. Text is never
 * dropped. The result is what the parser should read. */
bool html_tame(const char *s, size_t n, struct buf *out);
#endif

/* The Porter stemmer: "connections", "connected" and "connecting" all become "connect". */
#ifndef HEARTH_TEXT_STEM_H
#define HEARTH_TEXT_STEM_H

#include <stddef.h>

/* Stems w[0..n), lower-case ASCII letters, in place; returns the new length (never longer). */
size_t stem_porter(char *w, size_t n);
#endif

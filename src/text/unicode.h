/* Unicode: decoding of UTF-8 that never trusts its input, and classes of code points.
 *
 * Classes come from utf8proc's tables (Unicode 15) through one flat lookup for ASCII and one call
 * for the rest. Malformed bytes are reported one at a time, so that byte-exact callers can keep
 * them. All functions are pure and safe from any thread. */
#ifndef HEARTH_TEXT_UNICODE_H
#define HEARTH_TEXT_UNICODE_H

#include "base/mem.h"

#define UNI_BAD UINT32_MAX /* what utf8_decode gives for a byte that is no part of valid UTF-8 */

/* Decodes the code point at p[0..n), n > 0: its length in bytes (1..4). Overlong forms, surrogates,
 * code points above U+10FFFF and cut sequences give UNI_BAD and length 1. */
size_t utf8_decode(const char *p, size_t n, uint32_t *cp);
size_t utf8_encode(uint32_t cp, char out[4]); /* 1..4 bytes; cp must be a scalar value */
/* Bytes of valid UTF-8 at the beginning of p[0..n). */
size_t utf8_valid_prefix(const char *p, size_t n);

/* Classes: any of these bits. Every code point except UNI_BAD has exactly one of the first four. */
enum {
    UNI_LETTER = 1,  /* L* */
    UNI_NUMBER = 2,  /* N* */
    UNI_SPACE = 4,   /* White_Space */
    UNI_OTHER = 8,   /* the rest */
    UNI_PUNCT = 16,  /* P* */
    UNI_MARK = 32,   /* M* */
    UNI_NEWLINE = 64 /* \r or \n */
};
extern const uint8_t uni_ascii_class[128];
unsigned uni_class_wide(uint32_t cp); /* for cp >= 128; UNI_BAD counts as UNI_OTHER */
static inline unsigned uni_class(uint32_t cp)
{
    return cp < 128 ? uni_ascii_class[cp] : uni_class_wide(cp);
}

/* Appends the lower case of one code point as UTF-8, with the full mapping where it has two. */
void uni_put_lower(struct buf *out, uint32_t cp);

/* Appends a normal form of p[0..n) to *out. Malformed bytes are kept where they are and bound what
 * can combine. */
enum uni_form { UNI_NFC, UNI_NFD, UNI_NFKC, UNI_NFKD };
void uni_normalize(enum uni_form form, const char *p, size_t n, struct buf *out);

#endif

/* Extracted documents as one line per block, to compare them with what is expected. */
#ifndef HEARTH_TESTS_COMMON_BLOCKS_H
#define HEARTH_TESTS_COMMON_BLOCKS_H

#include "text/extract.h"

/* "H2 Title\nP text\nL1 item\nC code\nR1h a | b\nR1 c | d\nQ quote\n": kind, level or table, text.
 * Newlines inside a block are written as \\n. In the arena; NULL without memory. */
char *test_blocks(const struct extracted *x, struct arena *arena);

/* Asserts the invariants of every extracted document: ranges in order, inside the text, separated
 * by blank lines, valid UTF-8 without control characters. */
void test_check_blocks(const struct extracted *x);
#endif

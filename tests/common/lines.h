/* Golden vectors in text: lines "<word> <value> ...", read in order. A file that says something
 * else than what is asked for fails the test. */
#ifndef HEARTH_TESTS_COMMON_LINES_H
#define HEARTH_TESTS_COMMON_LINES_H

#include "base/mem.h"

struct lines {
    struct buf text;
    char *at;
};

void lines_open(struct lines *l, const char *source_path);
void lines_close(struct lines *l);
/* Is the next line "<word> ..."? */
bool lines_next_is(const struct lines *l, const char *word);
/* The rest of line "<word> <rest>" into out; false at the end of the file. */
bool lines_word(struct lines *l, const char *word, char *out, size_t n);
/* The numbers of line "<word> ..."; returns how many. */
size_t lines_numbers(struct lines *l, const char *word, double *out, size_t max);
#endif

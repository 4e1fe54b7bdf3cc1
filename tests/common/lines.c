/* Golden vectors: see lines.h. */
#include "common/test.h"
#include "common/lines.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lines_open(struct lines *l, const char *source_path)
{
    struct err e = {0};
    *l = (struct lines){0};
    assert_ok_err(file_read(test_source_path(source_path), 4 << 20, &l->text, &e), &e);
    l->at = l->text.data;
}

void lines_close(struct lines *l)
{
    buf_fini(&l->text);
}

bool lines_next_is(const struct lines *l, const char *word)
{
    size_t n = strlen(word);
    return strncmp(l->at, word, n) == 0 && (l->at[n] == ' ' || l->at[n] == '\n');
}

/* The rest of the line, which is then behind us. */
static char *take(struct lines *l, const char *word)
{
    char *end = strchr(l->at, '\n');
    if (!end || !lines_next_is(l, word)) {
        fail_msg("expected a line '%s', found '%.40s'", word, l->at);
    }
    char *rest = l->at + strlen(word);
    *end = 0;
    l->at = end + 1;
    return rest + (*rest == ' ');
}

bool lines_word(struct lines *l, const char *word, char *out, size_t n)
{
    if (!*l->at) {
        return false;
    }
    int k = snprintf(out, n, "%s", take(l, word));
    assert_true(k >= 0 && (size_t)k < n);
    return true;
}

size_t lines_numbers(struct lines *l, const char *word, double *out, size_t max)
{
    char *at = take(l, word), *next;
    size_t n = 0;
    for (;; at = next) {
        double v = strtod(at, &next);
        if (next == at) {
            break;
        }
        assert_true(n < max);
        out[n++] = v;
    }
    assert_true(*at == 0 || *at == ' ');
    return n;
}

/* Stems of 6000 words against an independent implementation: see make_stems.py. */
#include "common/test.h"

#include "base/file.h"
#include "text/stem.h"

#include <stdio.h>
#include <string.h>

static void stems_agree(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    assert_ok_err(file_read(test_source_path("tests/golden/data/stems.txt"), 1u << 20, &b, &e), &e);
    int rows = 0;
    for (char *save, *line = strtok_r(b.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char word[64], want[64];
        assert_int_equal(sscanf(line, "%63s %63s", word, want), 2);
        word[stem_porter(word, strlen(word))] = 0;
        assert_string_equal(word, want);
        rows++;
    }
    assert_int_equal(rows, 6000);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stems_agree)};
    return cmocka_run_group_tests_name("stem", tests, NULL, NULL);
}

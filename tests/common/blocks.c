/* Extracted documents for comparison: see blocks.h. */
#include "common/test.h"

#include "common/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

char *test_blocks(const struct extracted *x, struct arena *arena)
{
    struct buf b = {0};
    for (size_t i = 0; i < x->n_blocks; i++) {
        const struct text_block *t = &x->blocks[i];
        buf_putc(&b, "HPLCRQ"[t->kind]);
        if (t->kind == BLOCK_TABLE_ROW) {
            buf_printf(&b, "%d%s", t->table, t->table_header ? "h" : "");
        } else if (t->level) {
            buf_printf(&b, "%d", t->level);
        }
        buf_putc(&b, ' ');
        for (uint32_t k = t->start; k < t->end; k++) {
            if (x->text[k] == '\n') {
                buf_puts(&b, "\\n");
            } else {
                buf_putc(&b, x->text[k]);
            }
        }
        buf_putc(&b, '\n');
    }
    char *s = arena_strndup(arena, b.data ? b.data : "", b.len);
    buf_fini(&b);
    return s;
}

void test_check_blocks(const struct extracted *x)
{
    uint32_t end = 0;
    for (size_t i = 0; i < x->n_blocks; i++) {
        const struct text_block *t = &x->blocks[i];
        assert_int_equal(t->start, i ? end + 2 : 0);
        assert_true(t->end > t->start && t->end <= x->n);
        assert_true(i == 0 || memcmp(x->text + end, "\n\n", 2) == 0);
        assert_true(t->kind != BLOCK_HEADING || (t->level >= 1 && t->level <= TERM_LEVEL));
        assert_true((t->table > 0) == (t->kind == BLOCK_TABLE_ROW));
        end = t->end;
    }
    assert_int_equal(end, x->n);
    assert_int_equal(x->text[x->n], 0);
    for (size_t i = 0; i < x->n;) {
        utf8proc_int32_t p;
        utf8proc_ssize_t k =
            utf8proc_iterate((const uint8_t *)x->text + i, (utf8proc_ssize_t)(x->n - i), &p);
        assert_true(k > 0);
        assert_true(p == '\n' || p == '\t' || (p >= 0x20 && !(p >= 0x7F && p < 0xA0)));
        i += (size_t)k;
    }
}

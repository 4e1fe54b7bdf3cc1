/* Tensor types against the Python package gguf: tests/golden/data/types.txt, bit for bit. */
#include "common/test.h"

#include "base/file.h"
#include "tensor/types.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t from_hex(const char *s, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {s[2 * i], s[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

/* One line: kind NAME in-hex out-hex. Blocks are read at an odd address. */
static void check_line(char *line)
{
    static _Alignas(64) uint8_t in[8192 + 1], want[8192], got[8192];
    char *save = NULL;
    const char *kind = strtok_r(line, " ", &save), *name = strtok_r(NULL, " ", &save);
    const char *a = strtok_r(NULL, " ", &save), *b = strtok_r(NULL, " ", &save);
    assert_non_null(b);
    enum tensor_type type;
    assert_true(type_by_name(name, &type));
    const struct type_info *info = type_info(type);
    bool dequant = strcmp(kind, "dequant") == 0;
    uint8_t *src = in + (dequant ? 1 : 0);
    size_t n_in = from_hex(a, strlen(a) / 2, src), n_out = from_hex(b, strlen(b) / 2, want);
    size_t n = (dequant ? n_out : n_in) / 4, bytes;
    assert_true(type_bytes(type, n, &bytes));
    assert_int_equal(bytes, dequant ? n_in : n_out);
    if (dequant) {
        info->to_float(src, (float *)(void *)got, n);
    } else {
        info->from_float((const float *)(void *)src, got, n);
    }
    for (size_t i = 0; i < n_out; i++) {
        if (got[i] != want[i]) {
            fail_msg("%s %s: byte %zu is %02x, not %02x", kind, name, i, got[i], want[i]);
        }
    }
}

static void every_type_reads_as_the_reference_does(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    assert_ok_err(file_read("tests/golden/data/types.txt", 1 << 20, &b, &e), &e);
    char *save = NULL;
    int lines = 0;
    for (char *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (line[0] != '#') {
            check_line(line);
            lines++;
        }
    }
    assert_int_equal(lines, 19);
    buf_fini(&b);
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = f16_to_f32((uint16_t)h), g = bf16_to_f32((uint16_t)h);
        if (!isnan(f)) {
            assert_int_equal(f32_to_f16(f), h);
        } else {
            assert_true(isnan(f16_to_f32(f32_to_f16(f))));
        }
        if (!isnan(g)) {
            assert_int_equal(f32_to_bf16(g), h);
        } else {
            assert_true(isnan(bf16_to_f32(f32_to_bf16(g))));
        }
    }
    assert_int_equal(f32_to_f16(1 + 0x1p-11f), 0x3c00);     /* tie to even: down */
    assert_int_equal(f32_to_f16(1 + 3 * 0x1p-11f), 0x3c02); /* tie to even: up */
    assert_int_equal(f32_to_f16(0x1.2p-11f), 0x1080);       /* normal */
    assert_int_equal(f32_to_f16(0x1p-25f), 0);              /* half of the smallest: to even */
    assert_int_equal(f32_to_f16(0x1.8p-25f), 1);
    assert_int_equal(f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(f32_to_f16(-65520.0f), 0xfc00);
    assert_int_equal(f32_to_bf16(1 + 0x1p-8f), 0x3f80);
    assert_int_equal(f32_to_bf16(1 + 3 * 0x1p-8f), 0x3f82);
}

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t n = 7;
    assert_false(type_bytes(TYPE_Q4_K, 255, &n));
    assert_false(type_bytes((enum tensor_type)4, 32, &n));
    assert_false(type_bytes((enum tensor_type) - 1, 32, &n));
    assert_false(type_bytes(TYPE_F32, UINT64_MAX / 2, &n));
    assert_int_equal(n, 7);
    assert_true(type_bytes(TYPE_Q6_K, 512, &n));
    assert_int_equal(n, 420);
    assert_null(type_info(TYPE_COUNT));
    enum tensor_type t;
    assert_true(type_by_name("q4_k", &t) && t == TYPE_Q4_K);
    assert_false(type_by_name("Q4", &t));
    struct tensor x = {.type = TYPE_Q8_0, .n_dims = 2, .ne = {64, 3, 1, 1}};
    assert_int_equal(tensor_rows(&x), 3);
    assert_int_equal(tensor_row_bytes(&x), 68);
    assert_int_equal(tensor_bytes(&x), 204);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_reads_as_the_reference_does),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}

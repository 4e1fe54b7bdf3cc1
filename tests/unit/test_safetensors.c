/* Safetensors: a good file comes back; every lie gets its code, place and words. */
#include "common/test.h"

#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

/* A file of this header and `n_data` bytes of data, each its own index. */
static struct buf make(const char *header, size_t n_data)
{
    struct buf b = {0};
    uint64_t n = strlen(header);
    for (int i = 0; i < 8; i++) {
        buf_putc(&b, (char)(n >> 8 * i & 255));
    }
    buf_puts(&b, header);
    for (size_t i = 0; i < n_data; i++) {
        buf_putc(&b, (char)i);
    }
    return b;
}

/* Parses a copy of the exact size, so that AddressSanitizer sees a read past the end. */
static enum status parse(const struct buf *b, struct arena *arena, struct safetensors *out,
                         struct err *e)
{
    uint8_t *exact = arena_alloc(arena, b->len);
    assert_non_null(exact);
    memcpy(exact, b->data, b->len);
    return safetensors_parse(exact, b->len, "f", arena, out, e);
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[16,28]},"
    "\"a\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[16,16]},"
    "\"one\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[28,32]},"
    "\"five\":{\"dtype\":\"U8\",\"shape\":[1,1,1,2,1],\"data_offsets\":[32,34]},"
    "\"new\":{\"dtype\":\"Q7\",\"shape\":[9],\"data_offsets\":[34,36]}}  ";

static void good_files_come_back(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct safetensors st = {0};
    struct err e = {0};
    struct buf b = make(good, 36);
    assert_ok_err(parse(&b, &arena, &st, &e), &e);
    assert_int_equal(st.n, 6);
    assert_string_equal(st.items[0].name, "a");
    assert_string_equal(st.items[0].dtype, "I64");
    assert_string_equal(st.items[1].name, "empty");
    assert_int_equal(st.items[1].bytes, 0);
    const struct safetensor *t = &st.items[2];
    assert_string_equal(t->name, "b");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->ne[0], 3);
    assert_int_equal(t->ne[1], 2);
    assert_int_equal(t->ne[2], 1);
    assert_int_equal(t->bytes, 12);
    assert_int_equal(t->data[0], 16);
    assert_int_equal(t->offset, 8 + strlen(good) + 16);
    assert_int_equal(st.items[3].n_dims, 1);
    assert_int_equal(st.items[3].ne[0], 1);
    assert_int_equal(st.items[4].n_dims, 5);
    assert_string_equal(st.items[5].dtype, "Q7");
    enum tensor_type type;
    assert_true(safetensors_type("F16", &type) && type == TYPE_F16);
    assert_false(safetensors_type("I64", &type));
    buf_fini(&b);
    arena_reset(&arena);
}

static void every_truncation_is_a_format_error(void **state)
{
    (void)state;
    struct buf b = make(good, 36);
    while (b.len > 0) {
        b.len--;
        struct arena arena = {0};
        struct safetensors st = {0};
        struct err e = {0};
        assert_status(parse(&b, &arena, &st, &e), ERR_FORMAT);
        assert_int_equal(st.n, 0);
        arena_reset(&arena);
    }
    buf_fini(&b);
}

#define TENSOR(dtype, shape, offsets) \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct lie {
    const char *header;
    size_t n_data;
    enum status code;
    const char *place, *words;
} lies[] = {
    {"[]", 0, ERR_FORMAT, "f:8", "the header is not an object"},
    {"{\"t\":}", 0, ERR_FORMAT, "f:14", "the header is no JSON: unexpected token"},
    {"{\"t\":1}", 0, ERR_FORMAT, "f:8", "tensor 't': not an object"},
    {"{\"t\":{},\"t\":{}}", 0, ERR_FORMAT, "f:19", "the header is no JSON: duplicate object key"},
    {"{\"\":{}}", 0, ERR_FORMAT, "f:8",
     "a tensor's name of 0 bytes is empty, longer than 1024 or not text"},
    {"{\"\\u001b[2J\":{}}", 0, ERR_FORMAT, "f:8",
     "a tensor's name of 4 bytes is empty, longer than 1024 or not text"},
    {TENSOR("4", "[1]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't': 'dtype' is not the name of a type"},
    {TENSOR("\"F3234567890123456\"", "[1]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't': 'dtype' is not the name of a type"},
    {TENSOR("\"F32\"", "1", "[0,4]"), 4, ERR_FORMAT, "f:8", "tensor 't': 'shape' is not an array"},
    {TENSOR("\"F32\"", "[-1]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't': 'shape' holds something else than sizes"},
    {TENSOR("\"F32\"", "[1.0]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't': 'shape' holds something else than sizes"},
    {TENSOR("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't': 'shape' overflows"},
    {TENSOR("\"F32\"", "[4611686018427387904]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't' of 4611686018427387904 elements of F32 takes 4 bytes"},
    {TENSOR("\"F32\"", "[2]", "[0,4]"), 4, ERR_FORMAT, "f:8",
     "tensor 't' of 2 elements of F32 takes 4 bytes"},
    {TENSOR("\"F4\"", "[3]", "[0,1]"), 1, ERR_FORMAT, "f:8",
     "tensor 't' of 3 elements of F4 takes 1 bytes"},
    {TENSOR("\"F32\"", "[1]", "[0]"), 4, ERR_FORMAT, "f:8",
     "tensor 't': 'data_offsets' is not a pair of numbers"},
    {TENSOR("\"F32\"", "[1]", "[4,0]"), 4, ERR_FORMAT, "f:8",
     "tensor 't' takes the bytes 4 to 0 of data, 4 are there"},
    {TENSOR("\"F32\"", "[1]", "[-4,0]"), 4, ERR_FORMAT, "f:8",
     "tensor 't' takes the bytes -4 to 0 of data, 4 are there"},
    {TENSOR("\"F32\"", "[2]", "[0,8]"), 4, ERR_FORMAT, "f:8",
     "tensor 't' takes the bytes 0 to 8 of data, 4 are there"},
    {TENSOR("\"F32\"", "[1]", "[0,99999999999999999999]"), 4, ERR_FORMAT, "f:78",
     "the header is no JSON: too big integer"},
    {TENSOR("\"F32\"", "[1]", "[4,8]"), 8, ERR_FORMAT, "f:66",
     "tensor 't' begins here, the one before it ends at 62"},
    {TENSOR("\"F32\"", "[1]", "[0,4]"), 8, ERR_FORMAT, "f:66",
     "the last tensor ends here, 4 bytes follow"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
     6, ERR_FORMAT, "f:115", "tensor 'b' begins here, the one before it ends at 117"},
};

static void lies_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct arena arena = {0};
        struct safetensors st = {0};
        struct err e = {0};
        struct buf b = make(lies[i].header, lies[i].n_data);
        enum status s = parse(&b, &arena, &st, &e);
        if (s != lies[i].code || strcmp(e.place, lies[i].place) != 0 ||
            strcmp(e.message, lies[i].words) != 0) {
            fail_msg("%s: %s: %s: %s", lies[i].header, status_info(s)->name, e.place, e.message);
        }
        assert_int_equal(st.n, 0);
        buf_fini(&b);
        arena_reset(&arena);
    }
}

static void header_lengths(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct safetensors st = {0};
    struct err e = {0};
    struct buf b = make("{}", 0);
    assert_ok_err(parse(&b, &arena, &st, &e), &e); /* no tensors, no data */
    assert_int_equal(st.n, 0);
    b.data[7] = 0x10;
    assert_status(parse(&b, &arena, &st, &e), ERR_FORMAT);
    assert_string_equal(e.message, "a header of 1152921504606846978 bytes, 2 are left");
    b.len = 7;
    assert_status(parse(&b, &arena, &st, &e), ERR_FORMAT);
    assert_string_equal(e.message, "7 bytes, expected a safetensors file");
    buf_fini(&b);
    b = make("", 0);
    buf_puts(&b, "");
    buf_reset(&b);
    buf_puts(&b, "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
    assert_status(parse(&b, &arena, &st, &e), ERR_FORMAT);
    assert_memory_equal(e.message, "a Git LFS pointer", 17);
    buf_fini(&b);
    arena_reset(&arena);
}

/* Brackets that would take the JSON library gigabytes, and a header past the format's limit. */
static void headers_beyond_the_limits(void **state)
{
    (void)state;
    struct safetensors st = {0};
    struct err e = {0};
    size_t n = 100000001;
    uint8_t *file = malloc(8 + n);
    assert_non_null(file);
    memset(file + 8, '[', n);
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)(n >> 8 * i & 255);
    }
    assert_status(safetensors_parse(file, 8 + n, "f", NULL, &st, &e), ERR_LIMIT);
    assert_string_equal(e.message, "a header of 100000001 bytes, at most 100000000 are allowed");
    file[0] = 0;
    assert_status(safetensors_parse(file, 8 + n, "f", NULL, &st, &e), ERR_LIMIT);
    assert_string_equal(e.message, "a header of 100000000 JSON items, at most 4194304 are allowed");
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_come_back),
        cmocka_unit_test(every_truncation_is_a_format_error),
        cmocka_unit_test(lies_are_named),
        cmocka_unit_test(header_lengths),
        cmocka_unit_test(headers_beyond_the_limits),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}

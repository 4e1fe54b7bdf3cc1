/* GGUF: what a good file says comes back; every kind of lie gets its code, place and words. */
#include "common/gguf_writer.h"
#include "common/test.h"

#include "model/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t shape_2d[] = {32, 4};
static const int64_t shape_1d[] = {8};

/* A small file with every kind of value. */
static void good(struct gguf_writer *g)
{
    static const char *const words[] = {"a", "", "lang"};
    static const int32_t ints[] = {-1, 0, 2147483647};
    static const float floats[] = {0.5f, -2.0f};
    gguf_writer_init(g, 1);
    gguf_put_string(g, "general.architecture", "llama");
    gguf_put_u32(g, "llama.block_count", 4000000000u);
    gguf_put_i32(g, "minus", -7);
    gguf_put_u64(g, "huge", UINT64_MAX);
    gguf_put_f32(g, "eps", 0.25f);
    gguf_put_bool(g, "yes", true);
    gguf_put_strings(g, "words", words, 3);
    gguf_put_i32s(g, "ints", ints, 3);
    gguf_put_f32s(g, "floats", floats, 2);
    gguf_put_raw(g, "u8", 0, "\xff", 1);
    gguf_put_raw(g, "i8", 1, "\xff", 1);
    gguf_put_raw(g, "u16", 2, "\x01\x80", 2);
    gguf_put_raw(g, "i16", 3, "\x01\x80", 2);
    gguf_put_raw(g, "i64", 11, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8);
    gguf_put_raw(g, "f64", 12, "\0\0\0\0\0\0\xf0\x3f", 8);
    gguf_add_random(g, "token_embd.weight", TYPE_Q4_0, 2, shape_2d, 1);
    gguf_add_random(g, "output_norm.weight", TYPE_F32, 1, shape_1d, 1);
}

static const char *write_good(const char *name)
{
    struct gguf_writer g;
    good(&g);
    const char *path = test_temp_path(name);
    gguf_write(&g, path);
    gguf_writer_fini(&g);
    return path;
}

static void check_numbers(const struct weights *w)
{
    int64_t i = 0;
    double f = 0;
    bool b = false;
    assert_true(meta_i64(w, "llama.block_count", &i) && i == 4000000000ll);
    assert_true(meta_i64(w, "minus", &i) && i == -7);
    assert_false(meta_i64(w, "huge", &i));
    assert_int_equal(i, -7);
    assert_true(meta_i64(w, "u8", &i) && i == 255);
    assert_true(meta_i64(w, "i8", &i) && i == -1);
    assert_true(meta_i64(w, "u16", &i) && i == 0x8001);
    assert_true(meta_i64(w, "i16", &i) && i == 0x8001 - 65536);
    assert_true(meta_i64(w, "i64", &i) && i == -2);
    assert_true(meta_f64(w, "eps", &f) && f == 0.25);
    assert_true(meta_f64(w, "f64", &f) && f == 1.0);
    assert_true(meta_bool(w, "yes", &b) && b);
    assert_false(meta_bool(w, "eps", &b) || meta_f64(w, "yes", &f) || meta_i64(w, "eps", &i));
    assert_false(meta_i64(w, "absent", &i));
}

static void check_arrays(const struct weights *w)
{
    struct meta_str s = {0};
    enum meta_kind kind;
    int64_t i = 0;
    double f = 0;
    assert_true(meta_string(w, "general.architecture", &s) && s.n == 5);
    assert_memory_equal(s.p, "llama", 5);
    assert_int_equal(meta_array_len(w, "words", &kind), 3);
    assert_int_equal(kind, META_STRING);
    assert_true(meta_array_string(w, "words", 2, &s) && s.n == 4);
    assert_memory_equal(s.p, "lang", 4);
    assert_true(meta_array_string(w, "words", 1, &s) && s.n == 0);
    assert_false(meta_array_string(w, "words", 3, &s));
    assert_false(meta_array_i64(w, "words", 0, &i));
    assert_int_equal(meta_array_len(w, "ints", &kind), 3);
    assert_int_equal(kind, META_INT);
    assert_true(meta_array_i64(w, "ints", 2, &i) && i == 2147483647);
    assert_true(meta_array_i64(w, "ints", 0, &i) && i == -1);
    assert_false(meta_array_i64(w, "ints", 3, &i) || meta_array_f64(w, "ints", 0, &f));
    assert_true(meta_array_f64(w, "floats", 1, &f) && f == -2.0);
    assert_int_equal(meta_array_len(w, "yes", &kind), 0);
    assert_int_equal(kind, META_NONE);
}

static void check_tensors(const struct weights *w)
{
    assert_int_equal(weights_count(w), 2);
    const struct named_tensor *t = weights_find(w, "output_norm.weight");
    assert_ptr_equal(t, weights_at(w, 1));
    assert_null(weights_at(w, 2));
    assert_null(weights_find(w, "output_norm"));
    assert_int_equal(t->t.type, TYPE_F32);
    assert_int_equal(t->t.n_dims, 1);
    assert_int_equal(t->t.ne[0], 8);
    assert_int_equal(t->t.ne[1], 1);
    assert_string_equal(t->file, weights_path(w));
    const struct named_tensor *q = weights_at(w, 0);
    assert_string_equal(q->name, "token_embd.weight");
    assert_int_equal(tensor_bytes(&q->t), 4 * 18);
    assert_int_equal(t->offset, q->offset + 96); /* 72 rounded up to the alignment */
    assert_int_equal((const uint8_t *)t->t.data - (const uint8_t *)q->t.data, 96);
    assert_int_equal(weights_file_bytes(w), t->offset + 32);
}

static void good_files_come_back(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights *w = NULL;
    assert_ok_err(weights_open(write_good("good.gguf"), &w, &e), &e);
    assert_string_equal(weights_format(w), "GGUF v3");
    assert_int_equal(weights_meta_count(w), 15);
    enum meta_kind kind;
    assert_string_equal(weights_meta_key(w, 4, &kind), "eps");
    assert_int_equal(kind, META_FLOAT);
    assert_null(weights_meta_key(w, 15, NULL));
    check_numbers(w);
    check_arrays(w);
    check_tensors(w);
    assert_false(weights_rope_neox(w, "llama"));
    assert_true(weights_rope_neox(w, "qwen2"));
    assert_null(weights_sibling(w, "config.json"));
    weights_close(w);
    weights_close(NULL);
}

/* Parses bytes from memory; the outcome and, on failure, the error. */
static enum status parse(const struct buf *b, struct err *e)
{
    struct arena arena = {0};
    struct meta_table meta = {0};
    struct tensor_table tensors = {0};
    uint32_t version = 0;
    /* A copy of the exact size: reading past its end is seen by AddressSanitizer. */
    uint8_t *exact = malloc(b->len ? b->len : 1);
    assert_non_null(exact);
    memcpy(exact, b->data, b->len);
    enum status s = gguf_parse(exact, b->len, "f", &arena, &meta, &tensors, &version, e);
    meta_table_fini(&meta);
    tensor_table_fini(&tensors);
    arena_reset(&arena);
    free(exact);
    return s;
}

static void every_truncation_is_a_format_error(void **state)
{
    (void)state;
    struct gguf_writer g;
    struct buf b = {0};
    struct err e = {0};
    good(&g);
    gguf_finish(&g, &b);
    assert_ok_err(parse(&b, &e), &e);
    while (b.len > 0) {
        b.len--;
        assert_status(parse(&b, &e), ERR_FORMAT);
        assert_memory_equal(e.place, "f:", 2);
    }
    buf_fini(&b);
    gguf_writer_fini(&g);
}

/* Lies told by the head's own bytes. */
static void heads_that_are_not_gguf(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum status code;
        const char *place, *words;
    } heads[] = {
        {"", 0, ERR_FORMAT, "f:0", "0 bytes, expected a GGUF file"},
        {"GGUF", 4, ERR_FORMAT, "f:4", "the version takes 4 bytes, the file ends after 0"},
        {"GGUf\3\0\0\0", 8, ERR_FORMAT, "f:0", "begins with 47 47 55 66, expected 'GGUF'"},
        {"GGUF\0\0\0\0", 8, ERR_FORMAT, "f:4", "GGUF version 0, versions 2 and 3 are read"},
        {"GGUF\1\0\0\0", 8, ERR_UNSUPPORTED, "f:4", "GGUF version 1, versions 2 and 3 are read"},
        {"GGUF\4\0\0\0", 8, ERR_UNSUPPORTED, "f:4", "GGUF version 4, versions 2 and 3 are read"},
        {"GGUF\0\0\0\3", 8, ERR_UNSUPPORTED, "f:4",
         "a big-endian GGUF file: convert it to little-endian"},
        {"lmgg\1\0\0\0", 8, ERR_UNSUPPORTED, "f:0",
         "a GGML file of before GGUF: convert it to GGUF"},
        {"tjgg\3\0\0\0", 8, ERR_UNSUPPORTED, "f:0",
         "a GGJT file of before GGUF: convert it to GGUF"},
        {"PK\3\4....", 8, ERR_UNSUPPORTED, "f:0",
         "a zip archive (a PyTorch checkpoint?): GGUF or a directory with safetensors is expected"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, ERR_FORMAT, "f:0",
         "a Git LFS pointer, not the file it stands for: fetch it with git lfs pull"},
        {"\2\0\0\0\0\0\0\0{}", 10, ERR_UNSUPPORTED, "f:0",
         "a safetensors file: open the directory that holds it and its config.json"},
        {"GGUF\3\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0", 24, ERR_FORMAT, "f:8",
         "18446744073709551615 tensors do not fit the 0 bytes that are left"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10", 24, ERR_FORMAT, "f:16",
         "1152921504606846976 metadata pairs do not fit the 0 bytes that are left"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct buf b = {0};
        struct err e = {0};
        buf_put(&b, heads[i].bytes, heads[i].n);
        assert_status(parse(&b, &e), heads[i].code);
        assert_string_equal(e.place, heads[i].place);
        assert_string_equal(e.message, heads[i].words);
        buf_fini(&b);
    }
}

static void key_length_2_60(struct gguf_writer *g)
{
    g->n_meta++;
    gguf_raw_u64(&g->meta, 1ull << 60);
    buf_puts(&g->meta, "keykeykey");
}

static void key_empty(struct gguf_writer *g)
{
    gguf_put_u32(g, "", 1);
}

static void key_control(struct gguf_writer *g)
{
    gguf_put_u32(g, "a\033[2J", 1);
}

static void key_twice(struct gguf_writer *g)
{
    gguf_put_u32(g, "k", 1);
    gguf_put_bool(g, "k", true);
}

static void value_type(struct gguf_writer *g)
{
    gguf_put_raw(g, "k", 13, "\0", 1);
}

static void bool_2(struct gguf_writer *g)
{
    gguf_put_raw(g, "k", 7, "\2", 1);
}

static void string_2_60(struct gguf_writer *g)
{
    gguf_put_raw(g, "k", 8, "\0\0\0\0\0\0\0\x10", 8);
}

/* An array head: the pair "k" of type array, item type, count. */
static void array(struct gguf_writer *g, uint32_t type, uint64_t n)
{
    gguf_put_raw(g, "k", 9, "", 0);
    gguf_raw_u32(&g->meta, type);
    gguf_raw_u64(&g->meta, n);
}

static void array_2_60_bytes(struct gguf_writer *g)
{
    array(g, 0, 1ull << 60);
}

static void array_2_61_doubles(struct gguf_writer *g)
{
    array(g, 12, 1ull << 61); /* * 8 is 0 modulo 2^64 */
}

static void array_2_60_strings(struct gguf_writer *g)
{
    array(g, 8, 1ull << 60);
}

static void array_2_60_arrays(struct gguf_writer *g)
{
    array(g, 9, 1ull << 60);
}

static void array_type(struct gguf_writer *g)
{
    array(g, 99, 0);
}

static void array_deep(struct gguf_writer *g)
{
    array(g, 9, 1);
    for (int i = 0; i < 100; i++) {
        gguf_raw_u32(&g->meta, 9);
        gguf_raw_u64(&g->meta, 1);
    }
}

static void array_bool_2(struct gguf_writer *g)
{
    array(g, 7, 2);
    buf_put(&g->meta, "\1\2", 2);
}

static void alignment_0(struct gguf_writer *g)
{
    gguf_put_u32(g, "general.alignment", 0);
}

static void alignment_24(struct gguf_writer *g)
{
    gguf_put_u32(g, "general.alignment", 24);
}

static void alignment_string(struct gguf_writer *g)
{
    gguf_put_string(g, "general.alignment", "32");
}

static void row(struct gguf_writer *g, uint32_t n_dims, uint64_t a, uint64_t b, uint32_t type,
                uint64_t offset)
{
    uint64_t ne[8] = {a, b, 1, 1, 1, 1, 1, 1};
    gguf_add_row(g, "t", n_dims, ne, type, offset);
}

static void tensor_5_dims(struct gguf_writer *g)
{
    row(g, 5, 1, 1, 0, 0);
}

static void tensor_empty_dim(struct gguf_writer *g)
{
    row(g, 2, 4, 0, 0, 0);
}

static void tensor_overflow(struct gguf_writer *g)
{
    row(g, 2, 1ull << 40, 1ull << 40, 0, 0);
}

static void tensor_bytes_overflow(struct gguf_writer *g)
{
    row(g, 2, 1ull << 31, 1ull << 31, 0, 0); /* 2^62 elements of 4 bytes */
}

static void tensor_type_16(struct gguf_writer *g)
{
    row(g, 1, 256, 1, 16, 0);
}

static void tensor_type_huge(struct gguf_writer *g)
{
    row(g, 1, 256, 1, 0xffffffff, 0);
}

static void tensor_block(struct gguf_writer *g)
{
    row(g, 2, 33, 32, 2, 0);
}

static void tensor_misaligned(struct gguf_writer *g)
{
    row(g, 1, 4, 1, 0, 4);
}

static void tensor_outside(struct gguf_writer *g)
{
    row(g, 1, 1 << 20, 1, 0, 0);
}

static void tensor_offset_2_63(struct gguf_writer *g)
{
    row(g, 1, 4, 1, 0, 1ull << 63);
}

static void tensor_past_section(struct gguf_writer *g)
{
    row(g, 1, 4, 1, 0, 32);
    gguf_raw_u64(&g->data, 0);
}

static void tensor_twice(struct gguf_writer *g)
{
    gguf_add_random(g, "t", TYPE_F32, 1, shape_1d, 1);
    gguf_add_random(g, "t", TYPE_F32, 1, shape_1d, 1);
}

static void tensor_overlap(struct gguf_writer *g)
{
    static const uint64_t ne[] = {16};
    gguf_add_row(g, "second", 1, ne, 0, 32);
    gguf_add_row(g, "first", 1, ne, 0, 0);
    buf_put(&g->data, "", 0);
    while (g->data.len < 96) {
        buf_putc(&g->data, 0);
    }
}

static void tensor_long_name(struct gguf_writer *g)
{
    char name[66];
    memset(name, 'n', 65);
    name[65] = 0;
    gguf_add_random(g, name, TYPE_F32, 1, shape_1d, 1);
}

static void too_many_pairs_claimed(struct gguf_writer *g)
{
    gguf_put_u32(g, "k", 1);
    g->n_meta = 2;
}

static const struct lie {
    const char *name;
    void (*tell)(struct gguf_writer *g);
    enum status code;
    const char *place, *words;
} lies[] = {
    {"key of 2^60 bytes", key_length_2_60, ERR_FORMAT, "f:32",
     "metadata key takes 1152921504606846976 bytes, the file ends after 9"},
    {"empty key", key_empty, ERR_FORMAT, "f:24",
     "metadata key has 0 bytes, 1 to 65535 are allowed"},
    {"escape in a key", key_control, ERR_FORMAT, "f:24",
     "metadata key holds the control byte 0x1b"},
    {"key twice", key_twice, ERR_FORMAT, "f:41", "metadata key 'k' is there twice"},
    {"value type", value_type, ERR_FORMAT, "f:33", "'k' has value type 13, expected 0 to 12"},
    {"bool 2", bool_2, ERR_FORMAT, "f:37", "'k' is a bool of value 2, expected 0 or 1"},
    {"string of 2^60", string_2_60, ERR_FORMAT, "f:45",
     "k takes 1152921504606846976 bytes, the file ends after 0"},
    {"2^60 bytes", array_2_60_bytes, ERR_FORMAT, "f:37",
     "array 'k' claims 1152921504606846976 items, 0 bytes are left"},
    {"2^61 doubles", array_2_61_doubles, ERR_FORMAT, "f:37",
     "array 'k' claims 2305843009213693952 items, 0 bytes are left"},
    {"2^60 strings", array_2_60_strings, ERR_FORMAT, "f:37",
     "array 'k' claims 1152921504606846976 items, 0 bytes are left"},
    {"2^60 arrays", array_2_60_arrays, ERR_FORMAT, "f:37",
     "array 'k' claims 1152921504606846976 items, 0 bytes are left"},
    {"item type 99", array_type, ERR_FORMAT, "f:37", "'k' has value type 99, expected 0 to 12"},
    {"100 arrays deep", array_deep, ERR_LIMIT, "f:85", "array 'k' is nested more than 4 deep"},
    {"bools 1 2", array_bool_2, ERR_FORMAT, "f:50", "'k' is a bool of value 2, expected 0 or 1"},
    {"alignment 0", alignment_0, ERR_FORMAT, "f:57",
     "general.alignment is 0, expected a power of two from 8 to 1048576"},
    {"alignment 24", alignment_24, ERR_FORMAT, "f:57",
     "general.alignment is 24, expected a power of two from 8 to 1048576"},
    {"alignment '32'", alignment_string, ERR_FORMAT, "f:63",
     "general.alignment is 0, expected a power of two from 8 to 1048576"},
    {"5 dimensions", tensor_5_dims, ERR_FORMAT, "f:33",
     "tensor 't' has 5 dimensions, at most 4 are allowed"},
    {"empty dimension", tensor_empty_dim, ERR_FORMAT, "f:45",
     "tensor 't': dimension 1 of 0 is empty or overflows"},
    {"2^80 elements", tensor_overflow, ERR_FORMAT, "f:45",
     "tensor 't': dimension 1 of 1099511627776 is empty or overflows"},
    {"2^64 bytes", tensor_bytes_overflow, ERR_FORMAT, "f:57",
     "tensor 't' of 4611686018427387904 elements overflows"},
    {"type IQ2_XXS", tensor_type_16, ERR_UNSUPPORTED, "f:45", "tensor 't' has type 16 (IQ2_XXS)"},
    {"type 2^32-1", tensor_type_huge, ERR_UNSUPPORTED, "f:45",
     "tensor 't' has type 4294967295 (unknown to hearth)"},
    {"half a block", tensor_block, ERR_FORMAT, "f:53",
     "tensor 't': rows of 33 elements, type Q4_0 needs a multiple of 32"},
    {"misaligned", tensor_misaligned, ERR_FORMAT, "f:49",
     "tensor 't' is at offset 4, expected a multiple of 32"},
    {"larger than the file", tensor_outside, ERR_FORMAT, "f:49",
     "tensor 't' takes 4194304 bytes at data offset 0, the whole file has 57"},
    {"offset 2^63", tensor_offset_2_63, ERR_FORMAT, "f:49",
     "tensor 't' takes 16 bytes at data offset 9223372036854775808, the whole file has 57"},
    {"past the section", tensor_past_section, ERR_FORMAT, "f:64",
     "tensor 't' takes 16 bytes at data offset 32, the data section has 8"},
    {"tensor twice", tensor_twice, ERR_FORMAT, "f:57", "tensor 't' is there twice"},
    {"overlap", tensor_overlap, ERR_FORMAT, "f:160",
     "tensor 'second' begins inside tensor 'first'"},
    {"name of 65 bytes", tensor_long_name, ERR_FORMAT, "f:24",
     "tensor name has 65 bytes, 1 to 64 are allowed"},
    {"a pair too many", too_many_pairs_claimed, ERR_FORMAT, "f:16",
     "2 metadata pairs do not fit the 17 bytes that are left"},
};

static void lies_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct gguf_writer g;
        struct buf b = {0};
        struct err e = {0};
        gguf_writer_init(&g, i);
        lies[i].tell(&g);
        gguf_finish(&g, &b);
        enum status s = parse(&b, &e);
        if (s != lies[i].code || strcmp(e.place, lies[i].place) != 0 ||
            strcmp(e.message, lies[i].words) != 0) {
            fail_msg("%s: %s: %s: %s", lies[i].name, status_info(s)->name, e.place, e.message);
        }
        buf_fini(&b);
        gguf_writer_fini(&g);
    }
}

static void other_alignments_and_version_2(void **state)
{
    (void)state;
    struct gguf_writer g;
    struct err e = {0};
    gguf_writer_init(&g, 1);
    g.version = 2;
    g.alignment = 128;
    gguf_put_u32(&g, "general.alignment", 128);
    gguf_add_random(&g, "a", TYPE_F32, 1, shape_1d, 1);
    gguf_add_random(&g, "b", TYPE_F32, 1, shape_1d, 1);
    const char *path = test_temp_path("v2.gguf");
    gguf_write(&g, path);
    gguf_writer_fini(&g);
    struct weights *w = NULL;
    assert_ok_err(weights_open(path, &w, &e), &e);
    assert_string_equal(weights_format(w), "GGUF v2");
    assert_int_equal(weights_find(w, "a")->offset, 128);
    assert_int_equal(weights_find(w, "b")->offset, 256);
    weights_close(w);
}

static void nested_arrays_are_walked_over(void **state)
{
    (void)state;
    struct gguf_writer g;
    struct err e = {0};
    gguf_writer_init(&g, 1);
    array(&g, 9, 2); /* [[1, 2], ["x"]] */
    gguf_raw_u32(&g.meta, 0);
    gguf_raw_u64(&g.meta, 2);
    buf_put(&g.meta, "\1\2", 2);
    gguf_raw_u32(&g.meta, 8);
    gguf_raw_u64(&g.meta, 1);
    gguf_raw_string(&g.meta, "x");
    gguf_put_u32(&g, "after", 5);
    const char *path = test_temp_path("nested.gguf");
    gguf_write(&g, path);
    gguf_writer_fini(&g);
    struct weights *w = NULL;
    assert_ok_err(weights_open(path, &w, &e), &e);
    enum meta_kind kind;
    int64_t i = 0;
    assert_int_equal(meta_array_len(w, "k", &kind), 2);
    assert_int_equal(kind, META_ARRAY);
    assert_false(meta_array_i64(w, "k", 0, &i));
    assert_true(meta_i64(w, "after", &i) && i == 5);
    weights_close(w);
}

static void every_type_is_random_and_readable(void **state)
{
    (void)state;
    struct gguf_writer g;
    struct err e = {0};
    gguf_writer_init(&g, 7);
    const int64_t ne[] = {256, 64};
    size_t n_types = 0;
    for (int t = 0; t < TYPE_COUNT; t++) {
        const struct type_info *info = type_info((enum tensor_type)t);
        if (info) {
            gguf_add_random(&g, info->name, (enum tensor_type)t, 2, ne, 0.05f);
            n_types++;
        }
    }
    const char *path = test_temp_path("types.gguf");
    gguf_write(&g, path);
    gguf_writer_fini(&g);
    struct weights *w = NULL;
    assert_ok_err(weights_open(path, &w, &e), &e);
    assert_int_equal(weights_count(w), n_types);
    assert_int_equal(n_types, 15);
    static float x[256 * 64];
    for (size_t i = 0; i < n_types; i++) {
        const struct named_tensor *n = weights_at(w, i);
        type_info(n->t.type)->to_float(n->t.data, x, 256 * 64);
        double sum = 0;
        double squares = 0;
        for (size_t k = 0; k < 256 * 64; k++) {
            sum += (double)x[k];
            squares += (double)x[k] * (double)x[k];
        }
        double rms = squares / (256 * 64);
        if (!(rms > 0.03 * 0.03 && rms < 0.08 * 0.08 && sum / (256 * 64) < 0.01 &&
              sum / (256 * 64) > -0.01)) {
            fail_msg("%s: mean %g, mean square %g", n->name, sum / (256 * 64), rms);
        }
    }
    weights_close(w);
}

/* One part of a split model with one tensor named by its number. */
static const char *write_part(const char *name, int no, int count, bool with_keys)
{
    struct gguf_writer g;
    gguf_writer_init(&g, (uint64_t)no);
    char tensor[8];
    snprintf(tensor, sizeof tensor, "t%d", no);
    if (no == 0) {
        gguf_put_string(&g, "general.architecture", "llama");
    }
    if (with_keys) {
        uint8_t n16[2] = {(uint8_t)no, 0};
        uint8_t c16[2] = {(uint8_t)count, 0};
        gguf_put_raw(&g, "split.no", 2, n16, 2);
        gguf_put_raw(&g, "split.count", 2, c16, 2);
        gguf_put_i32(&g, "split.tensors.count", count);
    }
    gguf_add_random(&g, tensor, TYPE_F32, 1, shape_1d, 1);
    const char *path = test_temp_path(name);
    gguf_write(&g, path);
    gguf_writer_fini(&g);
    return path;
}

static void split_files_open_as_one(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights *w = NULL;
    const char *first = write_part("m-00001-of-00003.gguf", 0, 3, true);
    const char *second = write_part("m-00002-of-00003.gguf", 1, 3, true);
    assert_status(weights_open(first, &w, &e), ERR_NOT_FOUND);
    assert_string_equal(e.place, test_temp_path("m-00003-of-00003.gguf"));
    write_part("m-00003-of-00003.gguf", 2, 3, true);
    assert_ok_err(weights_open(first, &w, &e), &e);
    assert_int_equal(weights_count(w), 3);
    assert_string_equal(weights_find(w, "t1")->file, second);
    assert_string_equal(weights_find(w, "t2")->file, test_temp_path("m-00003-of-00003.gguf"));
    assert_int_equal(weights_meta_count(w), 4);
    weights_close(w);
    assert_status(weights_open(second, &w, &e), ERR_USAGE);
    assert_string_equal(e.message, "is part 2 of 3: open part 1");
}

static void split_files_that_disagree(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights *w = NULL;
    const char *first = write_part("d-00001-of-00002.gguf", 0, 2, true);
    const char *second = write_part("d-00002-of-00002.gguf", 1, 2, false);
    assert_status(weights_open(first, &w, &e), ERR_MISMATCH);
    assert_string_equal(e.place, second);
    assert_string_equal(e.message, "split.no and split.count do not say that this is part 2 of 2");
    write_part("d-00002-of-00002.gguf", 0, 2, true);
    assert_status(weights_open(first, &w, &e), ERR_FORMAT); /* its tensor t0 is there already */
    assert_string_equal(e.message, "tensor 't0' is there twice");
    const char *renamed = write_part("renamed.gguf", 0, 2, true);
    assert_status(weights_open(renamed, &w, &e), ERR_FORMAT);
    assert_string_equal(e.message, "is part 1 of 2, its name must end in -00001-of-00002.gguf");
}

/* With less memory than it needs the parser says so, whatever it was doing. */
static void memory_runs_out_anywhere(void **state)
{
    (void)state;
    struct gguf_writer g;
    struct buf b = {0};
    size_t limit = 0;
    enum status s = ERR_MEMORY;
    good(&g);
    gguf_finish(&g, &b);
    while (s) {
        limit += 16;
        struct arena arena = {.limit_bytes = limit};
        struct meta_table meta = {0};
        struct tensor_table tensors = {0};
        struct err e = {0};
        uint32_t version = 0;
        s = gguf_parse((const uint8_t *)b.data, b.len, "f", &arena, &meta, &tensors, &version, &e);
        if (s) {
            assert_status(s, ERR_MEMORY);
            assert_string_equal(e.message, "no memory for the tables of the file");
        }
        meta_table_fini(&meta);
        tensor_table_fini(&tensors);
        arena_reset(&arena);
    }
    assert_true(limit > 300 && limit < 600);
    buf_fini(&b);
    gguf_writer_fini(&g);
}

static void files_that_cannot_be_opened(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights *w = NULL;
    assert_status(weights_open(test_temp_path("none.gguf"), &w, &e), ERR_NOT_FOUND);
    assert_string_equal(e.place, test_temp_path("none.gguf"));
    assert_null(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_come_back),
        cmocka_unit_test(every_truncation_is_a_format_error),
        cmocka_unit_test(heads_that_are_not_gguf),
        cmocka_unit_test(lies_are_named),
        cmocka_unit_test(other_alignments_and_version_2),
        cmocka_unit_test(nested_arrays_are_walked_over),
        cmocka_unit_test(every_type_is_random_and_readable),
        cmocka_unit_test(split_files_open_as_one),
        cmocka_unit_test(split_files_that_disagree),
        cmocka_unit_test(memory_runs_out_anywhere),
        cmocka_unit_test(files_that_cannot_be_opened),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}

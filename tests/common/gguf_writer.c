/* The test's GGUF writer: see gguf_writer.h. It shares no code with the reader. */
#include "common/gguf_writer.h"

#include "common/test.h"

#include <string.h>

void gguf_raw_u32(struct buf *b, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        buf_putc(b, (char)(v >> 8 * i & 255));
    }
}

void gguf_raw_u64(struct buf *b, uint64_t v)
{
    gguf_raw_u32(b, (uint32_t)v);
    gguf_raw_u32(b, (uint32_t)(v >> 32));
}

void gguf_raw_string(struct buf *b, const char *s)
{
    gguf_raw_u64(b, strlen(s));
    buf_puts(b, s);
}

void gguf_writer_init(struct gguf_writer *g, uint64_t seed)
{
    *g = (struct gguf_writer){.version = 3, .alignment = 32};
    rng_init(&g->rng, seed);
}

void gguf_writer_fini(struct gguf_writer *g)
{
    buf_fini(&g->meta);
    buf_fini(&g->tensors);
    buf_fini(&g->data);
}

static struct buf *begin_pair(struct gguf_writer *g, const char *key, uint32_t type)
{
    g->n_meta++;
    gguf_raw_string(&g->meta, key);
    gguf_raw_u32(&g->meta, type);
    return &g->meta;
}

void gguf_put_u32(struct gguf_writer *g, const char *key, uint32_t v)
{
    gguf_raw_u32(begin_pair(g, key, 4), v);
}

void gguf_put_i32(struct gguf_writer *g, const char *key, int32_t v)
{
    gguf_raw_u32(begin_pair(g, key, 5), (uint32_t)v);
}

void gguf_put_u64(struct gguf_writer *g, const char *key, uint64_t v)
{
    gguf_raw_u64(begin_pair(g, key, 10), v);
}

static void raw_f32(struct buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    gguf_raw_u32(b, bits);
}

void gguf_put_f32(struct gguf_writer *g, const char *key, float v)
{
    raw_f32(begin_pair(g, key, 6), v);
}

void gguf_put_bool(struct gguf_writer *g, const char *key, bool v)
{
    buf_putc(begin_pair(g, key, 7), v ? 1 : 0);
}

void gguf_put_string(struct gguf_writer *g, const char *key, const char *v)
{
    gguf_raw_string(begin_pair(g, key, 8), v);
}

static struct buf *begin_array(struct gguf_writer *g, const char *key, uint32_t type, size_t n)
{
    struct buf *b = begin_pair(g, key, 9);
    gguf_raw_u32(b, type);
    gguf_raw_u64(b, n);
    return b;
}

void gguf_put_strings(struct gguf_writer *g, const char *key, const char *const *v, size_t n)
{
    struct buf *b = begin_array(g, key, 8, n);
    for (size_t i = 0; i < n; i++) {
        gguf_raw_string(b, v[i]);
    }
}

void gguf_put_i32s(struct gguf_writer *g, const char *key, const int32_t *v, size_t n)
{
    struct buf *b = begin_array(g, key, 5, n);
    for (size_t i = 0; i < n; i++) {
        gguf_raw_u32(b, (uint32_t)v[i]);
    }
}

void gguf_put_f32s(struct gguf_writer *g, const char *key, const float *v, size_t n)
{
    struct buf *b = begin_array(g, key, 6, n);
    for (size_t i = 0; i < n; i++) {
        raw_f32(b, v[i]);
    }
}

void gguf_put_raw(struct gguf_writer *g, const char *key, uint32_t type, const void *v, size_t n)
{
    buf_put(begin_pair(g, key, type), v, n);
}

/* Where a block keeps its 16-bit scale d (and, for some, the offset m), and which d and m give
 * random bytes a standard deviation of 1 around 0. */
static const struct {
    bool is_block;
    uint8_t d_at, m_at; /* m_at 0: none */
    float d, m;
} spread[TYPE_COUNT] = {
    [TYPE_Q4_0] = {true, 0, 0, 1 / 4.6f, 0},
    [TYPE_Q4_1] = {true, 0, 2, 1 / 4.6f, -7.5f / 4.6f},
    [TYPE_Q5_0] = {true, 0, 0, 1 / 9.2f, 0},
    [TYPE_Q5_1] = {true, 0, 2, 1 / 9.2f, -15.5f / 9.2f},
    [TYPE_Q8_0] = {true, 0, 0, 1 / 74.0f, 0},
    [TYPE_Q2_K] = {true, 80, 82, 1 / 14.0f, 1.5f / 14.0f},
    [TYPE_Q3_K] = {true, 108, 0, 1 / 42.0f, 0},
    [TYPE_Q4_K] = {true, 0, 2, 1 / 250.0f, 7.5f / 250.0f},
    [TYPE_Q5_K] = {true, 0, 2, 1 / 520.0f, 15.5f / 520.0f},
    [TYPE_Q6_K] = {true, 208, 0, 1 / 1360.0f, 0},
    [TYPE_IQ4_NL] = {true, 0, 0, 1 / 70.0f, 0},
    [TYPE_IQ4_XS] = {true, 0, 0, 1 / 1300.0f, 0},
};

static void put_u16(char *p, uint16_t v)
{
    p[0] = (char)(v & 255);
    p[1] = (char)(v >> 8);
}

static void random_block(struct rng *rng, enum tensor_type type, size_t bytes, float scale,
                         char *block)
{
    for (size_t i = 0; i < bytes; i++) {
        block[i] = (char)(rng_u64(rng) & 255);
    }
    put_u16(block + spread[type].d_at, f32_to_f16(spread[type].d * scale));
    if (spread[type].m_at) {
        put_u16(block + spread[type].m_at, f32_to_f16(spread[type].m * scale));
    }
}

void gguf_random_blocks(struct rng *rng, enum tensor_type type, size_t elems, float scale,
                        struct buf *out)
{
    const struct type_info *info = type_info(type);
    assert_non_null(info);
    char block[256];
    for (size_t i = 0; i < elems / info->block_elems; i++) {
        float u = (float)(rng_unit(rng) * 2 - 1) * 1.7320508f * scale; /* uniform, variance 1 */
        if (spread[type].is_block) {
            random_block(rng, type, info->block_bytes, scale, block);
        } else if (type == TYPE_F32) {
            memcpy(block, &u, sizeof u);
        } else {
            put_u16(block, type == TYPE_F16 ? f32_to_f16(u) : f32_to_bf16(u));
        }
        buf_put(out, block, info->block_bytes);
    }
}

void gguf_add_row(struct gguf_writer *g, const char *name, uint32_t n_dims, const uint64_t *ne,
                  uint32_t type, uint64_t offset)
{
    g->n_tensors++;
    gguf_raw_string(&g->tensors, name);
    gguf_raw_u32(&g->tensors, n_dims);
    for (uint32_t d = 0; d < n_dims; d++) {
        gguf_raw_u64(&g->tensors, ne[d]);
    }
    gguf_raw_u32(&g->tensors, type);
    gguf_raw_u64(&g->tensors, offset);
}

static void pad(struct buf *b, size_t alignment)
{
    while (b->len % alignment) {
        buf_putc(b, 0);
    }
}

/* Writes the row of a tensor whose bytes come next; returns its number of elements. */
static size_t begin_tensor(struct gguf_writer *g, const char *name, enum tensor_type type,
                           int n_dims, const int64_t *ne)
{
    uint64_t dims[TENSOR_MAX_DIMS] = {1, 1, 1, 1};
    size_t n = 1;
    for (int d = 0; d < n_dims; d++) {
        dims[d] = (uint64_t)ne[d];
        n *= (size_t)ne[d];
    }
    pad(&g->data, g->alignment);
    gguf_add_row(g, name, (uint32_t)n_dims, dims, (uint32_t)type, g->data.len);
    return n;
}

void gguf_add_random(struct gguf_writer *g, const char *name, enum tensor_type type, int n_dims,
                     const int64_t *ne, float scale)
{
    size_t n = begin_tensor(g, name, type, n_dims, ne);
    gguf_random_blocks(&g->rng, type, n, scale, &g->data);
}

void gguf_add_bytes(struct gguf_writer *g, const char *name, enum tensor_type type, int n_dims,
                    const int64_t *ne, const void *bytes)
{
    size_t size = 0;
    assert_true(type_bytes(type, begin_tensor(g, name, type, n_dims, ne), &size));
    buf_put(&g->data, bytes, size);
}

void gguf_add_floats(struct gguf_writer *g, const char *name, enum tensor_type type, int n_dims,
                     const int64_t *ne, const float *values)
{
    size_t n = begin_tensor(g, name, type, n_dims, ne);
    size_t size = 0;
    assert_true(type_bytes(type, n, &size));
    assert_non_null(type_info(type)->from_float);
    assert_true(buf_reserve(&g->data, size));
    type_info(type)->from_float(values, g->data.data + g->data.len, n);
    g->data.len += size;
    g->data.data[g->data.len] = 0;
}

void gguf_finish(const struct gguf_writer *g, struct buf *out)
{
    size_t begin = out->len;
    buf_puts(out, "GGUF");
    gguf_raw_u32(out, g->version);
    gguf_raw_u64(out, g->n_tensors);
    gguf_raw_u64(out, g->n_meta);
    buf_put(out, g->meta.data, g->meta.len);
    buf_put(out, g->tensors.data, g->tensors.len);
    while (g->data.len && (out->len - begin) % g->alignment) {
        buf_putc(out, 0);
    }
    buf_put(out, g->data.data, g->data.len);
    assert_false(out->failed || g->meta.failed || g->tensors.failed || g->data.failed);
}

void gguf_write(const struct gguf_writer *g, const char *path)
{
    struct buf b = {0};
    gguf_finish(g, &b);
    test_write_file(path, b.data, b.len);
    buf_fini(&b);
}

/* Memory: see mem.h. Arena blocks double in size, so a request of n bytes costs O(log n) mallocs.
 */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

bool size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

void *mem_aligned(size_t count, size_t item_bytes)
{
    size_t n;
    if (!size_mul(count, item_bytes, &n) || !size_add(n, 63, &n)) {
        return NULL;
    }
    n &= ~(size_t)63;
    void *p = aligned_alloc(64, n ? n : 64);
    if (p) {
        memset(p, 0, n ? n : 64);
    }
    return p;
}

/* Sanitizers guard the heap, not mappings. */
#if defined(__SANITIZE_ADDRESS__)
#define HEAP_ONLY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define HEAP_ONLY 1
#endif
#endif

#ifdef HEAP_ONLY
void *mem_large(size_t count, size_t item_bytes)
{
    return mem_aligned(count, item_bytes);
}

void mem_large_free(void *p)
{
    free(p);
}
#else
enum { LARGE_HEAD = 64 }; /* holds the mapping's size, before the caller's bytes */

void *mem_large(size_t count, size_t item_bytes)
{
    size_t n;
    if (!size_mul(count, item_bytes, &n) || !size_add(n, LARGE_HEAD, &n)) {
        return NULL;
    }
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    memcpy(p, &n, sizeof n);
    return (unsigned char *)p + LARGE_HEAD;
}

void mem_large_free(void *p)
{
    if (p) {
        unsigned char *base = (unsigned char *)p - LARGE_HEAD;
        size_t n;
        memcpy(&n, base, sizeof n);
        (void)munmap(base, n);
    }
}
#endif

void mem_release_mapped(const void *p, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t last = ((uintptr_t)p + bytes) & ~(page - 1);
    if (first < last) {
        (void)madvise((void *)first, last - first, MADV_DONTNEED);
    }
}

struct arena_block {
    struct arena_block *next;
    size_t cap;
    size_t len;
    _Alignas(16) unsigned char data[];
};

enum { ARENA_FIRST = 4096 };

void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t n;
    if (!size_add(bytes ? bytes : 1, 15, &n)) {
        return NULL;
    }
    n &= ~(size_t)15;
    if (a->limit_bytes && (n > a->limit_bytes || a->used_bytes > a->limit_bytes - n)) {
        return NULL;
    }
    struct arena_block *b = a->head;
    if (!b || b->cap - b->len < n) {
        size_t cap = b ? b->cap * 2 : ARENA_FIRST;
        if (cap < n) {
            cap = n;
        }
        size_t total;
        if (!size_add(cap, sizeof *b, &total)) {
            return NULL;
        }
        b = malloc(total);
        if (!b) {
            return NULL;
        }
        b->next = a->head;
        b->cap = cap;
        b->len = 0;
        a->head = b;
    }
    void *p = b->data + b->len;
    b->len += n;
    a->used_bytes += n;
    memset(p, 0, n);
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t item_bytes)
{
    size_t n;
    return size_mul(count, item_bytes, &n) ? arena_alloc(a, n) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t total;
    char *p = size_add(n, 1, &total) ? arena_alloc(a, total) : NULL;
    if (p && n) {
        memcpy(p, s, n);
    }
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p) {
        va_start(ap, fmt);
        (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_block *b = a->head;
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    a->head = NULL;
    a->used_bytes = 0;
}

bool buf_reserve(struct buf *b, size_t extra)
{
    size_t need;
    if (b->failed || !size_add(b->len, extra, &need) || !size_add(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap) {
        return true;
    }
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    char *p = realloc(b->data, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, const void *data, size_t n)
{
    if (buf_reserve(b, n)) {
        if (n) {
            memcpy(b->data + b->len, data, n);
        }
        b->len += n;
        b->data[b->len] = 0;
    }
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (buf_reserve(b, (size_t)n)) {
        va_start(ap, fmt);
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
        b->len += (size_t)n;
    }
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data) {
        b->data[0] = 0;
    }
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

char *buf_take(struct buf *b)
{
    if (!b->failed && !b->data) {
        buf_put(b, "", 0);
    }
    char *p = b->data;
    if (b->failed) {
        free(p);
        p = NULL;
    }
    *b = (struct buf){0};
    return p;
}

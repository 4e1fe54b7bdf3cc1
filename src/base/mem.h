/* Memory: checked size arithmetic, an arena for one request or one load, a growable byte buffer.
 * Heap allocation elsewhere is malloc/free through these; nothing aborts when memory runs out. */
#ifndef HEARTH_BASE_MEM_H
#define HEARTH_BASE_MEM_H

#include "base/err.h"

/* *out = a * b or a + b; false (and *out untouched) on overflow. */
bool size_mul(size_t a, size_t b, size_t *out);
bool size_add(size_t a, size_t b, size_t *out);

/* 64-byte aligned, zeroed; NULL when it fails or overflows. Freed with free(). */
void *mem_aligned(size_t count, size_t item_bytes);

/* The same for memory of megabytes: zeroed pages straight from the system, which cost nothing
 * before they are written to. Freed with mem_large_free(), which gives them back at once.
 *
 * Huge pages (MADV_HUGEPAGE) were tried for packed weights: a virtual machine whose host takes free
 * memory back pays for each 2 MiB that it touches anew, and opening a 100 MB model took 0.8 s for
 * 0.3 s; decoding from them was within the noise. */
void *mem_large(size_t count, size_t item_bytes);
void mem_large_free(void *p); /* NULL is allowed */

/* Tells the system that whole pages inside read-only mapped file bytes are not needed soon: they
 * leave this process's memory and come back from the file when they are read again. */
void mem_release_mapped(const void *p, size_t bytes);

/* An arena: everything allocated from it is dropped at once. Owner: one thread. Zeroed struct =
 * empty arena without a limit. */
struct arena_block;
struct arena {
    struct arena_block *head;
    size_t used_bytes;
    size_t limit_bytes; /* 0: no limit */
};

/* 16-byte aligned, zeroed; NULL when the limit or memory is exhausted. `bytes` 0 gives a valid
 * pointer. */
void *arena_alloc(struct arena *a, size_t bytes);
void *arena_array(struct arena *a, size_t count, size_t item_bytes);
char *arena_strndup(struct arena *a, const char *s, size_t n); /* NUL-terminated copy */
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_reset(struct arena *a); /* empties it, gives the memory back, keeps the limit */

/* A growable byte buffer, always NUL-terminated once something was put in (the NUL is not counted).
 * Zeroed struct = empty. After a failed allocation `failed` is set and all later puts do nothing:
 * check once at the end. */
struct buf {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
};

void buf_put(struct buf *b, const void *data, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool buf_reserve(struct buf *b, size_t extra); /* room for `extra` more bytes and the NUL */
void buf_reset(struct buf *b);                 /* empty, keeps memory */
void buf_fini(struct buf *b);
char *buf_take(struct buf *b); /* gives the caller the NUL-terminated data (free() it), NULL if
                                  failed; leaves b empty */

#endif

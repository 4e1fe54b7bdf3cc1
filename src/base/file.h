/* Files: whole reads with a limit, read-only maps, atomic replacement, directory walks, SHA-256 of
 * content. All block. */
#ifndef HEARTH_BASE_FILE_H
#define HEARTH_BASE_FILE_H

#include "base/mem.h"

/* A read-only mapping of a whole file. An empty file maps to data NULL, size 0. */
struct file_map {
    const uint8_t *data;
    size_t size;
};

MUST_CHECK enum status file_map_open(const char *path, struct file_map *out, struct err *e);
void file_map_close(struct file_map *m);

/* Appends the file's bytes to *out; ERR_LIMIT if it has more than max_bytes. */
MUST_CHECK enum status file_read(const char *path, size_t max_bytes, struct buf *out,
                                 struct err *e);

/* Writes to a temporary file beside `path`, fsyncs, renames, fsyncs the directory: the old content
 * or the new, never a part. */
MUST_CHECK enum status file_replace(const char *path, const void *data, size_t n, struct err *e);

MUST_CHECK enum status file_mkdirs(const char *path,
                                   struct err *e); /* as mkdir -p, mode 0700 for what it makes */
bool file_exists(const char *path);
bool file_is_dir(const char *path);

/* Visits every regular file under `path` (or `path` itself), in bytewise order of names, following
 * no symbolic links to directories and skipping names that begin with a dot. `visit` returns OK to
 * go on; anything else ends the walk and is returned. A folder that cannot be read is given to
 * `visit` with failed set and goes on. Depth is limited to 64. */
struct file_entry {
    const char *path;
    int64_t size;
    int64_t mtime_ns;
    const char *failed; /* NULL, or why this entry cannot be read */
};
MUST_CHECK enum status file_walk(const char *path,
                                 enum status (*visit)(void *ctx, const struct file_entry *entry),
                                 void *ctx, struct err *e);

/* Lower-case hexadecimal SHA-256 of n bytes, NUL-terminated. */
enum { SHA256_HEX = 65 };
void sha256_hex(const void *data, size_t n, char out[SHA256_HEX]);
/* The same of a file's content, read piece by piece. */
MUST_CHECK enum status file_sha256(const char *path, char out[SHA256_HEX], struct err *e);

#endif

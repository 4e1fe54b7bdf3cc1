/* Files: see file.h. SHA-256 comes from libcrypto. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WALK_DEPTH = 64 };

static enum status open_regular(const char *path, int *fd, struct stat *st, struct err *e)
{
    int f = open(path,
                 O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a named pipe must not hang us */
    if (f < 0) {
        return err_errno(e, errno, path, "cannot open");
    }
    if (fstat(f, st) != 0) {
        enum status s = err_errno(e, errno, path, "cannot stat");
        close(f);
        return s;
    }
    if (!S_ISREG(st->st_mode)) {
        close(f);
        return err_set(e, ERR_FORMAT, path, "not a regular file");
    }
    *fd = f;
    return OK;
}

enum status file_map_open(const char *path, struct file_map *out, struct err *e)
{
    int fd = -1;
    struct stat st;
    enum status s = open_regular(path, &fd, &st, e);
    if (s) {
        return s;
    }
    struct file_map m = {0};
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            s = err_errno(e, errno, path, "cannot map");
        } else {
            m.data = p;
            m.size = (size_t)st.st_size;
        }
    }
    close(fd);
    if (!s) {
        *out = m;
    }
    return s;
}

void file_map_close(struct file_map *m)
{
    if (m->data) {
        (void)munmap((void *)(uintptr_t)m->data, m->size);
    }
    *m = (struct file_map){0};
}

enum status file_read(const char *path, size_t max_bytes, struct buf *out, struct err *e)
{
    int fd = -1;
    struct stat st;
    enum status s = open_regular(path, &fd, &st, e);
    if (s) {
        return s;
    }
    size_t before = out->len;
    for (;;) {
        if (!buf_reserve(out, 65536)) {
            s = err_set(e, ERR_MEMORY, path, "no memory to read it");
            break;
        }
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            s = err_errno(e, errno, path, "cannot read");
            break;
        }
        if (n == 0) {
            break;
        }
        out->len += (size_t)n;
        if (out->len - before > max_bytes) {
            s = err_set(e, ERR_LIMIT, path, "larger than the limit of %zu bytes", max_bytes);
            break;
        }
    }
    close(fd);
    if (out->data) {
        out->len = s ? before : out->len;
        out->data[out->len] = 0;
    }
    return s;
}

static enum status write_all(int fd, const char *path, const char *data, size_t n, struct err *e)
{
    while (n) {
        ssize_t w = write(fd, data, n);
        if (w < 0 && errno == EINTR) {
            continue;
        }
        if (w < 0) {
            return err_errno(e, errno, path, "cannot write");
        }
        data += w;
        n -= (size_t)w;
    }
    return OK;
}

static void sync_dir(const char *path)
{
    char *dir = strdup(path);
    if (!dir) {
        return;
    }
    char *slash = strrchr(dir, '/');
    if (slash) {
        *slash = 0;
    }
    int fd = open(slash ? (*dir ? dir : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(dir);
}

enum status file_replace(const char *path, const void *data, size_t n, struct err *e)
{
    static atomic_uint n_made; /* two threads may replace the same file */
    struct buf tmp = {0};
    buf_printf(&tmp, "%s.tmp.%ld.%u", path, (long)getpid(), atomic_fetch_add(&n_made, 1));
    if (tmp.failed) {
        buf_fini(&tmp);
        return err_set(e, ERR_MEMORY, path, "no memory for its name");
    }
    int fd = open(tmp.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum status s = fd < 0 ? err_errno(e, errno, tmp.data, "cannot create")
                           : write_all(fd, tmp.data, data, n, e);
    if (!s && fsync(fd) != 0) {
        s = err_errno(e, errno, tmp.data, "cannot sync");
    }
    if (fd >= 0 && close(fd) != 0 && !s) {
        s = err_errno(e, errno, tmp.data, "cannot close");
    }
    if (!s && rename(tmp.data, path) != 0) {
        s = err_errno(e, errno, path, "cannot rename into place");
    }
    if (s && fd >= 0) {
        (void)unlink(tmp.data);
    }
    if (!s) {
        sync_dir(path);
    }
    buf_fini(&tmp);
    return s;
}

enum status file_mkdirs(const char *path, struct err *e)
{
    char *p = strdup(path);
    if (!p) {
        return err_set(e, ERR_MEMORY, path, "no memory for its name");
    }
    enum status s = OK;
    for (char *q = p + 1;; q++) {
        if (*q == '/' || *q == 0) {
            char c = *q;
            *q = 0;
            if (mkdir(p, 0700) != 0 && errno != EEXIST) {
                s = err_errno(e, errno, p, "cannot create folder");
                break;
            }
            *q = c;
            if (!c) {
                break;
            }
        }
    }
    if (!s && !file_is_dir(path)) {
        s = err_set(e, ERR_IO, path, "exists and is no folder");
    }
    free(p);
    return s;
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

typedef enum status
visit_fn(void *ctx, const struct file_entry *entry); /* a function type, for readable signatures */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static enum status walk(const char *path, int depth, visit_fn *visit, void *ctx, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return visit(ctx, &(struct file_entry){.path = path, .failed = strerror(errno)});
    }
    if (S_ISREG(st.st_mode)) {
        return visit(ctx, &(struct file_entry){.path = path,
                                               .size = st.st_size,
                                               .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
                                                           st.st_mtim.tv_nsec});
    }
    if (!S_ISDIR(st.st_mode)) {
        return OK;
    }
    struct stat link;
    if (depth > 0 && lstat(path, &link) == 0 && S_ISLNK(link.st_mode)) {
        return OK;
    }
    if (depth >= WALK_DEPTH) {
        return visit(ctx,
                     &(struct file_entry){.path = path, .failed = "folders are nested too deeply"});
    }
    struct dirent **names = NULL;
    int n = scandir(path, &names, visible, by_name);
    if (n < 0) {
        return visit(ctx, &(struct file_entry){.path = path, .failed = strerror(errno)});
    }
    enum status s = OK;
    size_t len = strlen(path);
    const char *sep = len && path[len - 1] == '/' ? "" : "/";
    for (int i = 0; i < n; i++) {
        struct buf sub = {0};
        if (!s) {
            buf_printf(&sub, "%s%s%s", path, sep, names[i]->d_name);
            s = sub.failed ? err_set(e, ERR_MEMORY, path, "no memory for a name")
                           : walk(sub.data, depth + 1, visit, ctx, e);
        }
        buf_fini(&sub);
        free(names[i]);
    }
    free(names);
    return s;
}

enum status file_walk(const char *path, visit_fn *visit, void *ctx, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return err_errno(e, errno, path, "cannot read");
    }
    return walk(path, 0, visit, ctx, e);
}

static void to_hex(const unsigned char d[SHA256_DIGEST_LENGTH], char out[SHA256_HEX])
{
    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", d[i]);
    }
}

void sha256_hex(const void *data, size_t n, char out[SHA256_HEX])
{
    unsigned char d[SHA256_DIGEST_LENGTH];
    SHA256(data, n, d);
    to_hex(d, out);
}

enum status file_sha256(const char *path, char out[SHA256_HEX], struct err *e)
{
    int fd = -1;
    struct stat st;
    enum status s = open_regular(path, &fd, &st, e);
    if (s) {
        return s;
    }
    unsigned char block[16384], d[SHA256_DIGEST_LENGTH];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool good = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1;
    ssize_t n = 1;
    while (good && n > 0) {
        n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        if (n < 0) {
            s = err_errno(e, errno, path, "cannot read");
        }
        good = n < 0 || EVP_DigestUpdate(c, block, (size_t)n) == 1;
    }
    if (!s && !(good && EVP_DigestFinal_ex(c, d, NULL) == 1)) {
        s = err_set(e, ERR_MEMORY, path, "no memory for its checksum");
    }
    EVP_MD_CTX_free(c);
    close(fd);
    if (!s) {
        to_hex(d, out);
    }
    return s;
}

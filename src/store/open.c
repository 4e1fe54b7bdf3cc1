/* Opening and closing: the writer's lock, the connection and its settings.
 *
 *   HOME/hearth.db (-wal, -shm)   the database, in write-ahead mode: readers and one writer
 *   HOME/lock                     held with flock by the writer, holds its pid
 *   HOME/vectors.bin              derived, see vectors.h
 *
 * The lock is ours and not the database's own: a writer holds it for its whole life, so that two
 * `hearth add` do not interleave, and the pid in it lets an error name the holder. The file stays;
 * the kernel drops the lock with the process, however that ends (alternative: a pid file, which a
 * kill leaves behind).
 *
 * Commits are synced (synchronous=FULL): what was reported as added survives a power cut. Writers
 * put many documents into one transaction, so the syncs are few. */
#include "store/store_internal.h"

#include "base/file.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 2000, LOCK_POLL_MS = 20, DB_WAIT_MS = 5000 };

static char *join(const char *home, const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s", home, name);
    return buf_take(&b);
}

static enum status busy(int fd, const char *path, struct err *e)
{
    char pid[24] = {0};
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    long long p = n > 0 ? atoll(pid) : 0;
    if (p > 0) {
        return err_set(e, ERR_BUSY, path,
                       "another hearth (process %lld) is writing to this library", p);
    }
    return err_set(e, ERR_BUSY, path, "another hearth is writing to this library");
}

static enum status take_lock(struct store *s, int wait_ms, struct err *e)
{
    char *path = join(s->home, "lock");
    if (!path) {
        return err_set(e, ERR_MEMORY, s->home, "no memory for the name of its lock");
    }
    enum status st = OK;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        st = err_errno(e, errno, path, "cannot write to this library");
    }
    double until = clock_ms() + wait_ms;
    while (!st && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) {
            continue;
        }
        if (errno != EWOULDBLOCK) {
            st = err_errno(e, errno, path, "cannot lock this library");
        } else if (clock_ms() >= until) {
            st = busy(fd, path, e);
        } else {
            (void)nanosleep(&(struct timespec){.tv_nsec = LOCK_POLL_MS * 1000000L}, NULL);
        }
    }
    if (!st) { /* a full disk may refuse the pid; the lock holds all the same */
        char pid[24];
        int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
            (void)ftruncate(fd, 0);
        }
        s->lock_fd = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    free(path);
    return st;
}

/* What a kill left of a file that was about to replace vectors.bin: NAME.tmp.PID.N of a process
 * that is no more. */
static void remove_leftovers(const struct store *s)
{
    static const char prefix[] = "vectors.bin.tmp.";
    DIR *d = opendir(s->home);
    for (struct dirent *f = d ? readdir(d) : NULL; f; f = readdir(d)) {
        if (strncmp(f->d_name, prefix, sizeof prefix - 1) != 0) {
            continue;
        }
        long pid = atol(f->d_name + sizeof prefix - 1);
        if (pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
            (void)unlinkat(dirfd(d), f->d_name, 0);
        }
    }
    if (d) {
        closedir(d);
    }
}

/* Settings of every connection. A library file may come from elsewhere: its schema is not trusted,
 * cells are checked for size when a page is read. */
static enum status configure(struct store *s, struct err *e)
{
    (void)sqlite3_busy_timeout(s->db, DB_WAIT_MS);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    return store_exec(s,
                      "PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL;"
                      "PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;",
                      e);
}

static void disconnect(struct store *s)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    (void)sqlite3_close(s->db);
    s->db = NULL;
}

static enum status connect_to(struct store *s, const char *name, int flags, struct err *e)
{
    int rc =
        sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc) {
        return store_error(s, rc, "cannot open the database", e);
    }
    return configure(s, e);
}

void store_create_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
}

static enum status open_for_writing(struct store *s, struct err *e)
{
    bool empty = false, older = false;
    store_create_private(s->path);
    enum status st = connect_to(s, s->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, e);
    st = st ? st : store_schema_check(s, &empty, &older, e);
    if (!st && empty) { /* five vectors of 384 floats fill a page of 8 KiB */
        st = store_exec(s, "PRAGMA page_size = 8192", e);
    }
    st = st ? st
            : store_exec(s, "PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 67108864", e);
    if (!st && (empty || older)) {
        st = store_schema_update(s, STORE_SCHEMA, e);
    }
    return st;
}

static bool has_wal(const struct store *s)
{
    struct buf wal = {0};
    buf_printf(&wal, "%s-wal", s->path);
    struct file_map m = {0};
    bool has = !wal.failed && !file_map_open(wal.data, &m, NULL) && m.size > 0;
    file_map_close(&m);
    buf_fini(&wal);
    return has;
}

/* file:PATH?immutable=1, with the characters escaped that mean something in such a name. */
static char *immutable_uri(const char *path)
{
    struct buf b = {0};
    buf_puts(&b, "file:");
    for (const char *p = path; *p; p++) {
        if (*p == '%' || *p == '?' || *p == '#') {
            buf_printf(&b, "%%%02X", (unsigned)*p);
        } else {
            buf_putc(&b, *p);
        }
    }
    buf_puts(&b, "?immutable=1");
    return buf_take(&b);
}

/* Write-ahead mode wants to write its -shm file even for reading. Where that cannot be
 * written and no writer left anything in the log, the database file alone is the whole truth. */
static enum status open_immutable(struct store *s, enum status why, bool *empty, bool *older,
                                  struct err *e)
{
    disconnect(s);
    if (has_wal(s)) {
        return err_set(e, why, s->path,
                       "%s, and its last writer left work to finish: run `hearth status` as the "
                       "owner once there is room, or copy the folder",
                       why == ERR_NO_SPACE ? "the disk is full" : "this folder is read-only");
    }
    char *uri = immutable_uri(s->path);
    if (!uri) {
        return err_set(e, ERR_MEMORY, s->path, "no memory for its name");
    }
    enum status st = connect_to(s, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, e);
    st = st ? st : store_schema_check(s, empty, older, e);
    free(uri);
    return st;
}

static enum status missing(const struct store *s, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, s->home, "no library here: `hearth add FOLDER` makes one");
}

static enum status open_for_reading(struct store *s, bool *older, struct err *e)
{
    bool empty = false;
    if (!file_exists(s->path)) {
        return missing(s, e);
    }
    enum status st = connect_to(s, s->path, SQLITE_OPEN_READONLY, e);
    st = st ? st : store_schema_check(s, &empty, older, e);
    bool cannot_write = st == ERR_NO_SPACE || (st == ERR_IO && access(s->home, W_OK) != 0);
    if (cannot_write && access(s->path, R_OK) == 0) {
        st = open_immutable(s, st, &empty, older, e);
    }
    if (!st && empty) {
        return missing(s, e);
    }
    return st;
}

static enum status new_store(const char *home, struct store **out, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (s) {
        s->lock_fd = -1;
        s->home = strdup(home);
        s->path = join(home, "hearth.db");
    }
    if (!s || !s->home || !s->path) {
        store_close(s);
        return err_set(e, ERR_MEMORY, home, "no memory to open it");
    }
    *out = s;
    return OK;
}

/* An older library that is only to be read is brought up to date first, by opening it for writing.
 */
static enum status upgrade(const char *home, const struct store_options *opt, struct err *e)
{
    struct store *w = NULL;
    struct store_options write = {.write = true, .busy_wait_ms = opt ? opt->busy_wait_ms : 0};
    enum status st = store_open(home, &write, &w, e);
    store_close(w);
    return st;
}

enum status store_open(const char *home, const struct store_options *opt, struct store **out,
                       struct err *e)
{
    bool write = opt && opt->write, older = false;
    struct store *s = NULL;
    enum status st = write ? file_mkdirs(home, e) : OK;
    st = st ? st : new_store(home, &s, e);
    if (!st && write) {
        st = take_lock(s, opt->busy_wait_ms ? opt->busy_wait_ms : LOCK_WAIT_MS, e);
        st = st ? st : open_for_writing(s, e);
        if (!st) {
            remove_leftovers(s);
        }
    } else if (!st) {
        st = open_for_reading(s, &older, e);
        if (!st && older) {
            disconnect(s);
            st = upgrade(home, opt, e);
            st = st ? st : open_for_reading(s, &older, e);
        }
    }
    if (st) {
        store_close(s);
        return st;
    }
    *out = s;
    return OK;
}

const char *store_home(const struct store *s)
{
    return s->home;
}

void store_close(struct store *s)
{
    if (!s) {
        return;
    }
    disconnect(s);
    if (s->lock_fd >= 0) {
        close(s->lock_fd); /* after the connection: its last checkpoint is a write */
    }
    buf_fini(&s->embedder_name);
    buf_fini(&s->embedder_identity);
    free(s->home);
    free(s->path);
    free(s);
}

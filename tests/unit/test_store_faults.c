/* What the store promises when things go wrong: kill -9 at any moment, full disks, failing writes
 * and syncs, failing allocations, damaged files. Nothing committed is lost, the invariants hold,
 * and what cannot be read is refused with ERR_FORMAT. */
#include "common/store_fixture.h"
#include "common/test.h"

#include "base/file.h"
#include "base/sys.h"
#include "store/store_internal.h"
#include "store/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DIM = 32, CHUNKS = 4 };

static const struct store_options for_writing = {.write = true};

static void name_of(size_t i, char out[32])
{
    snprintf(out, 32, "d%06zu", i);
}

static enum status put(struct store *s, size_t i, struct err *e)
{
    char name[32];
    name_of(i, name);
    return fixture_put(s, name, i, CHUNKS, DIM, NULL, e);
}

static int64_t documents_in(struct store *s)
{
    struct err e = {0};
    struct store_stats t;
    assert_ok_err(store_stats(s, &t, &e), &e);
    assert_int_equal(t.n_chunks, t.n_documents * CHUNKS);
    return t.n_documents;
}

/* ---- kill -9 ---- */

static void add_until_killed(const char *home, int fd)
{
    struct err e = {0};
    struct store *s = NULL;
    if (store_open(home, &for_writing, &s, &e) ||
        store_set_embedder(s, "test-model", "identity-1", DIM, &e)) {
        _exit(1);
    }
    for (uint32_t i = (uint32_t)documents_in(s);; i++) {
        bool batch = i % 5 == 0; /* single documents and batches in turn */
        if ((batch && store_begin(s, &e)) || put(s, i, &e)) {
            _exit(1);
        }
        if (batch && (put(s, ++i, &e) || store_commit(s, &e))) {
            _exit(1);
        }
        uint32_t n = i + 1; /* committed so far */
        if (write(fd, &n, sizeof n) != sizeof n) {
            _exit(1);
        }
    }
}

static void kill_at_random(const char *home, struct rng *r, size_t *acknowledged)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fd[0]);
        add_until_killed(home, fd[1]);
    }
    close(fd[1]);
    long wait_us = (long)(rng_unit(r) * rng_unit(r) * 60000);
    (void)nanosleep(&(struct timespec){.tv_nsec = wait_us * 1000}, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    uint32_t n;
    while (read(fd[0], &n, sizeof n) == sizeof n) {
        *acknowledged = n;
    }
    close(fd[0]);
}

static void nothing_committed_is_lost_by_a_kill(void **state)
{
    (void)state;
    struct err e = {0};
    struct rng r;
    rng_init(&r, (uint64_t)wall_ns());
    const char *home = test_temp_path("kill");
    size_t committed = 0;
    for (int round = 0; round < 25; round++) {
        kill_at_random(home, &r, &committed);
        struct store *s = fixture_open(home, DIM); /* the lock went with the process */
        assert_ok_err(store_verify(s, &e), &e);
        size_t n = (size_t)documents_in(s);
        assert_true(n >= committed && n <= committed + 2); /* the last may not have been told */
        struct arena a = {0};
        for (size_t i = 0; i < n; i++) {
            char uri[48], name[32];
            struct document d;
            name_of(i, name);
            snprintf(uri, sizeof uri, "/lib/%s", name);
            assert_ok_err(store_document_by_uri(s, uri, &a, &d, &e), &e);
        }
        arena_reset(&a);
        struct vectors *v = NULL;
        assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
        assert_int_equal(vectors_count(v), n * CHUNKS);
        vectors_close(v);
        store_close(s);
        committed = n;
    }
    assert_true(committed > 0);
}

/* ---- full disks ---- */

static size_t put_until_it_fails(struct store *s, enum status *why, struct err *e)
{
    size_t n = (size_t)documents_in(s);
    while ((*why = put(s, n, e)) == OK) {
        n++;
    }
    return n;
}

static void fill_file(const char *path, size_t leave_bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    char block[4096] = {0};
    off_t n = 0;
    while (write(fd, block, sizeof block) == sizeof block) {
        n += (off_t)sizeof block;
    }
    if (n > (off_t)leave_bytes) {
        (void)!ftruncate(fd, n - (off_t)leave_bytes);
    }
    close(fd);
}

/* In a mount namespace of its own: exit 77 where that is not allowed. */
static void on_a_tiny_disk(const char *dir)
{
    struct err e = {0};
    struct buf filler = {0}, home = {0};
    buf_printf(&filler, "%s/filler", dir);
    buf_printf(&home, "%s/home", dir);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, "size=8m")) {
        _exit(TEST_SKIP);
    }
    struct store *s = fixture_open(home.data, DIM);
    assert_ok_err(put(s, 0, &e), &e);
    fill_file(filler.data, 300000);
    enum status why = OK;
    size_t n = put_until_it_fails(s, &why, &e);
    assert_status(why, ERR_NO_SPACE);
    assert_true(n > 1);
    assert_int_equal(documents_in(s), n); /* the handle goes on */
    assert_ok_err(store_verify(s, &e), &e);
    struct vectors *v = NULL;
    assert_ok_err(vectors_open(s, home.data, &v, NULL, &e), &e); /* in memory if need be */
    assert_int_equal(vectors_count(v), n * CHUNKS);
    vectors_close(v);
    store_close(s);
    s = NULL;
    assert_ok_err(store_open(home.data, NULL, &s, &e), &e); /* still full */
    assert_int_equal(documents_in(s), n);
    assert_ok_err(store_verify(s, &e), &e);
    store_close(s);
    assert_int_equal(unlink(filler.data), 0);
    s = fixture_open(home.data, DIM);
    assert_ok_err(put(s, n, &e), &e);
    assert_int_equal(documents_in(s), n + 1);
    assert_ok_err(store_verify(s, &e), &e);
    store_close(s);
    buf_fini(&filler);
    buf_fini(&home);
    _exit(0);
}

/* Files may not grow past a limit: the same as a full disk for one file at a time. */
static void under_a_file_size_limit(const char *home)
{
    struct err e = {0};
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *s = fixture_open(home, DIM);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 400000, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum status why = OK;
    size_t n = put_until_it_fails(s, &why, &e);
    assert_status(why, ERR_NO_SPACE);
    assert_true(n > 0);
    assert_ok_err(store_verify(s, &e), &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_ok_err(put(s, n, &e), &e); /* the same handle, once there is room */
    store_close(s);
    s = fixture_open(home, DIM);
    assert_int_equal(documents_in(s), n + 1);
    assert_ok_err(store_verify(s, &e), &e);
    store_close(s);
    _exit(0);
}

static int exit_code_of(void (*f)(const char *), const char *arg)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failing assert must not go on in here */
        f(arg);
        _exit(99);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void full_disks_keep_what_was_committed(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(exit_code_of(under_a_file_size_limit, test_temp_path("fsize")), 0);
    const char *dir = test_temp_path("tiny");
    assert_ok_err(file_mkdirs(dir, &e), &e);
    int code = exit_code_of(on_a_tiny_disk, dir);
    if (code == TEST_SKIP) {
        print_message("no right to mount: the tiny disk is skipped, the file size limit is not\n");
        return;
    }
    assert_int_equal(code, 0);
}

/* ---- failing writes, syncs, allocations ---- */

/* A file system in front of the real one that fails the n-th write, sync or truncate. */
static struct {
    int countdown; /* 0: never */
    bool hit;
    bool sticky; /* everything after it fails, too */
} fault;

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* lies right behind */
};
static sqlite3_vfs *real_vfs, fault_vfs;

static bool fails(void)
{
    if (fault.hit && fault.sticky) {
        return true;
    }
    if (fault.countdown > 0 && --fault.countdown == 0) {
        fault.hit = true;
        return true;
    }
    return false;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct fault_file *)(void *)f)->real;
}
static int f_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}
static int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}
static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (fails()) { /* a torn write: the first half arrives */
        (void)real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
        return SQLITE_IOERR_WRITE;
    }
    return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : real_of(f)->pMethods->xTruncate(real_of(f), n);
}
static int f_sync(sqlite3_file *f, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : real_of(f)->pMethods->xSync(real_of(f), flags);
}
static int f_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), n);
}
static int f_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}
static int f_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static int f_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
static int f_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int f_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int f_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}
static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}
static void f_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int f_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}
static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_reserved,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_traits,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};
static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    (void)vfs;
    struct fault_file *ff = (struct fault_file *)(void *)f;
    ff->real = (sqlite3_file *)(void *)(ff + 1);
    int rc = real_vfs->xOpen(real_vfs, name, ff->real, flags, out_flags);
    ff->base.pMethods = ff->real->pMethods ? &fault_methods : NULL;
    return rc;
}

static void use_fault_vfs(bool on)
{
    if (!real_vfs) {
        real_vfs = sqlite3_vfs_find(NULL);
        fault_vfs = *real_vfs;
        fault_vfs.zName = "fault";
        fault_vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
        fault_vfs.xOpen = v_open;
    }
    if (on) {
        assert_int_equal(sqlite3_vfs_register(&fault_vfs, 1), SQLITE_OK);
    } else {
        assert_int_equal(sqlite3_vfs_unregister(&fault_vfs), SQLITE_OK);
        assert_int_equal(sqlite3_vfs_register(real_vfs, 1), SQLITE_OK);
    }
}

/* Opens, adds three documents (two of them as one batch), closes; tells how many are committed. */
static enum status session(const char *home, int64_t *committed, struct err *e)
{
    struct store *s = NULL;
    enum status st = store_open(home, &for_writing, &s, e);
    st = st ? st : store_set_embedder(s, "test-model", "identity-1", DIM, e);
    st = st ? st : put(s, 10, e);
    *committed += !st;
    st = st ? st : store_begin(s, e);
    st = st ? st : put(s, 11, e);
    st = st ? st : put(s, 12, e);
    st = st ? st : store_commit(s, e);
    *committed += st ? 0 : 2;
    store_close(s);
    return st;
}

static void failing_writes_lose_nothing_committed(void **state)
{
    (void)state;
    int n_failed = 0;
    for (int sticky = 0; sticky < 2; sticky++) {
        for (int n = 1;; n++) {
            struct err e = {0};
            char name[32];
            snprintf(name, sizeof name, "fault-%d-%d", sticky, n);
            const char *home = test_temp_path(name);
            int64_t committed = 0;
            use_fault_vfs(true);
            fault.countdown = n;
            fault.hit = false;
            fault.sticky = sticky;
            enum status st = session(home, &committed, &e);
            bool hit = fault.hit;
            fault.countdown = 0;
            fault.hit = false;
            use_fault_vfs(false);
            if (st) {
                assert_true(hit);
                assert_status(st, ERR_IO);
                n_failed++;
            } else {
                assert_int_equal(committed, 3); /* or the fault hit the checkpoint: no loss */
            }
            struct store *s = fixture_open(home, DIM);
            int64_t found = documents_in(s);
            assert_true(found >= committed);
            assert_true(found == 0 || found == 1 || found == 3); /* a batch is whole or absent */
            assert_ok_err(store_verify(s, &e), &e);
            store_close(s);
            if (!hit) {
                break;
            }
        }
    }
    assert_true(n_failed > 20);
}

static int alloc_countdown;
static sqlite3_mem_methods real_mem;
static void *failing_malloc(int n)
{
    return alloc_countdown > 0 && --alloc_countdown == 0 ? NULL : real_mem.xMalloc(n);
}
static void *failing_realloc(void *p, int n)
{
    return alloc_countdown > 0 && --alloc_countdown == 0 ? NULL : real_mem.xRealloc(p, n);
}

static void failing_allocations_are_reported(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("alloc");
    struct store *s = fixture_open(home, DIM);
    assert_ok_err(put(s, 0, &e), &e);
    store_close(s);
    assert_int_equal(sqlite3_shutdown(), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem), SQLITE_OK);
    sqlite3_mem_methods failing = real_mem;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
    int n_failed = 0;
    bool used_up = true;
    for (int n = 1; used_up; n += n < 100 ? 1 : 13) {
        int64_t committed = 0;
        alloc_countdown = n;
        enum status st = session(home, &committed, &e);
        used_up = alloc_countdown == 0;
        alloc_countdown = 0;
        if (st) {
            assert_status(st, ERR_MEMORY);
            n_failed++;
        }
        s = fixture_open(home, DIM);
        assert_ok_err(store_verify(s, &e), &e);
        assert_true(documents_in(s) >= 1);
        store_close(s);
    }
    assert_true(n_failed > 50);
    assert_int_equal(sqlite3_shutdown(), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &real_mem), SQLITE_OK);
}

/* ---- damaged databases ---- */

static enum status look(void *ctx, const struct document *d)
{
    *(int64_t *)ctx += d->n_chunks;
    return OK;
}

/* Reads everything that can be read; the first failure ends it. */
static enum status read_all(const char *home, bool verify, struct err *e)
{
    struct store *s = NULL;
    struct arena a = {.limit_bytes = 64 << 20};
    struct vectors *v = NULL;
    int64_t n = 0;
    enum status st = store_open(home, NULL, &s, e);
    st = st ? st : store_each_document(s, NULL, look, &n, e);
    for (int64_t id = 1; !st && id <= 12; id++) {
        struct document d;
        struct chunk c;
        st = store_document(s, id, true, &a, &d, e);
        st = st == ERR_NOT_FOUND ? OK : st;
        for (int32_t i = 0; !st && i < CHUNKS; i++) {
            st = store_chunk_at(s, id, i, &a, &c, e);
            st = st == ERR_NOT_FOUND ? OK : st;
        }
    }
    st = st ? st : vectors_open(s, home, &v, NULL, e);
    if (!st) {
        float q[DIM];
        struct hit hits[5];
        size_t found = 0;
        fixture_vector(1001, DIM, q);
        st = vectors_search(v, s, q, DIM, 5, hits, &found, e);
    }
    st = st || !verify ? st : store_verify(s, e);
    vectors_close(v);
    arena_reset(&a);
    store_close(s);
    return st;
}

static void damaged_databases_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("corrupt"), *db = test_temp_path("corrupt/hearth.db");
    struct store *s = fixture_open(home, DIM);
    for (size_t i = 0; i < 12; i++) {
        assert_ok_err(put(s, i, &e), &e);
    }
    store_close(s);
    assert_ok_err(read_all(home, true, &e), &e);
    struct buf good = {0};
    assert_ok_err(file_read(db, 1 << 24, &good, &e), &e);
    char *bad = malloc(good.len);
    struct rng r;
    rng_init(&r, 11);
    int n_refused = 0;
    for (int i = 0; i < 400; i++) {
        size_t len = good.len;
        memcpy(bad, good.data, len);
        size_t at = rng_u64(&r) % len, n = 1 + rng_u64(&r) % 16;
        if (i % 4 == 0) { /* a run of zeros, as of a lost sector */
            n = n * 64;
            memset(bad + at, 0, at + n < len ? n : len - at);
        } else if (i % 4 == 1) {
            len = at; /* cut off */
        } else if (i % 4 == 2) {
            for (size_t j = 0; j < n; j++) {
                bad[rng_u64(&r) % len] = (char)rng_u64(&r);
            }
        } else { /* the heads of pages matter most */
            size_t page = at / 8192 * 8192;
            for (size_t j = 0; j < 4; j++) {
                bad[page + rng_u64(&r) % 112] = (char)rng_u64(&r);
            }
        }
        test_write_file(db, bad, len);
        enum status st = read_all(home, true, &e);
        n_refused += st != OK;
        if (st && st != ERR_FORMAT && st != ERR_MISMATCH && !(st == ERR_NOT_FOUND && len == 0)) {
            fail_msg("round %d: %s: %s: %s", i, status_info(st)->name, e.place, e.message);
        }
        if (st == ERR_FORMAT) {
            assert_string_equal(e.place, db);
        }
    }
    assert_true(n_refused > 200);
    test_write_file(db, good.data, good.len);
    assert_ok_err(read_all(home, true, &e), &e);
    memset(good.data + 8192 * 2, 0, 8192); /* the root of a table */
    test_write_file(db, good.data, good.len);
    assert_status(read_all(home, true, &e), ERR_FORMAT);
    free(bad);
    buf_fini(&good);
}

/* What a kill leaves in the log, then damaged: a prefix of the commits is there, whole. */
static void damaged_logs_lose_only_their_end(void **state)
{
    (void)state;
    struct err e = {0};
    struct rng r;
    rng_init(&r, 17);
    for (int round = 0; round < 30; round++) {
        char name[32], path[64];
        snprintf(name, sizeof name, "wal%d", round);
        snprintf(path, sizeof path, "wal%d/hearth.db-wal", round);
        const char *home = test_temp_path(name), *wal = test_temp_path(path);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct store *s = fixture_open(home, DIM);
            for (size_t i = 0; i < 10; i++) {
                assert_ok_err(put(s, i, &e), &e);
            }
            (void)raise(SIGKILL);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        struct buf b = {0};
        assert_ok_err(file_read(wal, 1 << 24, &b, &e), &e);
        assert_true(b.len > 32);
        size_t at = round == 0 ? 0 : rng_u64(&r) % b.len; /* its head, or anywhere */
        b.data[at] = (char)(b.data[at] ^ 0x10);
        test_write_file(wal, b.data, round % 3 == 2 ? at : b.len);
        struct store *s = NULL;
        assert_ok_err(store_open(home, &for_writing, &s, &e), &e);
        assert_ok_err(store_verify(s, &e), &e);
        int64_t n = documents_in(s);
        assert_true(n <= 10 && (round > 0 || n == 0));
        for (int64_t i = 0; i < n; i++) { /* the first n, without a gap */
            struct arena a = {0};
            struct document d;
            assert_ok_err(store_document(s, i + 1, true, &a, &d, &e), &e);
            arena_reset(&a);
        }
        store_close(s);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_committed_is_lost_by_a_kill),
        cmocka_unit_test(full_disks_keep_what_was_committed),
        cmocka_unit_test(failing_writes_lose_nothing_committed),
        cmocka_unit_test(failing_allocations_are_reported),
        cmocka_unit_test(damaged_databases_are_refused),
        cmocka_unit_test(damaged_logs_lose_only_their_end),
    };
    return cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
}

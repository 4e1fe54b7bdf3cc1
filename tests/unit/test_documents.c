/* The store: what is put comes back, is replaced, disappears whole; wrong files, wrong models and
 * wrong versions are refused by name. Crashes and full disks: test_store_faults.c. */
#include "common/store_fixture.h"
#include "common/test.h"

#include "base/file.h"
#include "store/store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIM = 8 };

static void put_comes_back(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    struct store *s = fixture_open(test_temp_path("put"), DIM);
    int64_t id = 0, before = store_generation(s);
    assert_ok_err(fixture_put(s, "a.txt", 1, 500, DIM, &id, &e), &e); /* text of several rows */
    assert_int_equal(store_generation(s), before + 1);
    struct document d;
    assert_ok_err(store_document(s, id, true, &a, &d, &e), &e);
    assert_string_equal(d.uri, "/lib/a.txt");
    assert_string_equal(d.source, "/lib");
    assert_string_equal(d.title, "a.txt");
    assert_string_equal(d.language, "en");
    assert_string_equal(d.kind, "text");
    assert_int_equal(d.n_chunks, 500);
    assert_int_equal(d.n_pages, 500);
    assert_int_equal(d.mtime_ns, 7);
    assert_true(d.added_ns > 0);
    assert_true(d.text_len > 2 * STORE_PIECE);
    assert_int_equal(strlen(d.text), d.text_len);
    uint32_t at = 0;
    for (int32_t i = 0; i < 500; i++) {
        struct chunk c;
        assert_ok_err(store_chunk_at(s, id, i, &a, &c, &e), &e);
        assert_int_equal(c.start, at);
        assert_int_equal(c.text_len, c.end - c.start);
        assert_memory_equal(c.text, d.text + c.start, c.text_len);
        assert_int_equal(c.text[c.text_len], 0);
        assert_int_equal(c.page, i + 1);
        struct chunk same;
        assert_ok_err(store_chunk(s, c.id, &a, &same, &e), &e);
        assert_int_equal(same.index, i);
        assert_string_equal(same.heading, c.heading);
        float got[DIM], want[DIM];
        assert_ok_err(store_vector(s, c.id, got, DIM, &e), &e);
        fixture_vector(1000 + (uint64_t)i, DIM, want);
        assert_memory_equal(got, want, sizeof got);
        at = c.end;
    }
    struct chunk none;
    assert_status(store_chunk_at(s, id, 500, &a, &none, &e), ERR_NOT_FOUND);
    float v[DIM];
    assert_status(store_vector(s, 1, v, DIM - 1, &e), ERR_MISMATCH);
    assert_ok_err(store_verify(s, &e), &e);
    arena_reset(&a);
    store_close(s);
}

static void put_replaces_and_delete_removes(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    struct store *s = fixture_open(test_temp_path("replace"), DIM);
    int64_t id = 0, again = 0, other = 0;
    assert_ok_err(fixture_put(s, "a", 1, 5, DIM, &id, &e), &e);
    assert_ok_err(fixture_put(s, "b", 2, 7, DIM, &other, &e), &e);
    struct chunk c;
    assert_ok_err(store_chunk_at(s, id, 0, &a, &c, &e), &e);
    assert_ok_err(fixture_put(s, "a", 3, 2, DIM, &again, &e), &e);
    assert_int_equal(again, id);
    assert_status(store_chunk(s, c.id, &a, &c, &e), ERR_NOT_FOUND); /* ids are not used again */
    struct store_stats t;
    assert_ok_err(store_stats(s, &t, &e), &e);
    assert_int_equal(t.n_documents, 2);
    assert_int_equal(t.n_chunks, 9);
    assert_int_equal(t.n_sources, 1);
    assert_int_equal(t.n_pages, 9);
    int64_t n = 0;
    assert_ok_err(store_count_vectors(s, &n, &e), &e);
    assert_int_equal(n, 9);
    assert_ok_err(store_touch(s, id, 11, 12, &e), &e);
    struct document d;
    assert_ok_err(store_document_by_uri(s, "/lib/a", &a, &d, &e), &e);
    assert_int_equal(d.size, 11);
    assert_int_equal(d.mtime_ns, 12);
    assert_null(d.text);
    assert_ok_err(store_delete(s, id, &e), &e);
    assert_status(store_delete(s, id, &e), ERR_NOT_FOUND);
    assert_status(store_touch(s, id, 1, 1, &e), ERR_NOT_FOUND);
    assert_status(store_document(s, id, true, &a, &d, &e), ERR_NOT_FOUND);
    assert_status(store_document_by_uri(s, "/lib/a", &a, &d, &e), ERR_NOT_FOUND);
    assert_string_equal(e.place, "/lib/a");
    assert_ok_err(store_count_vectors(s, &n, &e), &e);
    assert_int_equal(n, 7);
    assert_ok_err(store_verify(s, &e), &e);
    arena_reset(&a);
    store_close(s);
}

static void bad_input_changes_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s = fixture_open(test_temp_path("bad"), 2);
    int64_t generation = store_generation(s);
    struct document d = {.uri = "/x", .text = "hello", .text_len = 5};
    float unit[2] = {0.6f, 0.8f}, nan_[2] = {0.6f, 0.0f / 0.0f}, zero[2] = {0, 0};
    struct chunk c = {.start = 0, .end = 6};
    assert_status(store_put(s, &d, &c, 1, unit, NULL, &e), ERR_INTERNAL);
    assert_string_equal(e.place, "/x");
    c = (struct chunk){.start = 3, .end = 2};
    assert_status(store_put(s, &d, &c, 1, unit, NULL, &e), ERR_INTERNAL);
    c = (struct chunk){.start = 0, .end = 5};
    assert_status(store_put(s, &d, &c, 1, nan_, NULL, &e), ERR_FORMAT);
    assert_status(store_put(s, &d, &c, 1, zero, NULL, &e), ERR_FORMAT);
    assert_int_equal(store_generation(s), generation);
    assert_ok_err(store_put(s, &d, &c, 1, unit, NULL, &e), &e);
    d = (struct document){.uri = "/empty"};
    assert_ok_err(store_put(s, &d, NULL, 0, NULL, NULL, &e), &e);
    assert_ok_err(store_verify(s, &e), &e);
    store_close(s);
}

static void batches_are_all_or_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s = fixture_open(test_temp_path("batch"), DIM), *r = NULL;
    assert_ok_err(store_open(test_temp_path("batch"), NULL, &r, &e), &e);
    struct store_stats t;
    assert_ok_err(store_begin(s, &e), &e);
    assert_ok_err(fixture_put(s, "a", 1, 3, DIM, NULL, &e), &e);
    assert_ok_err(store_stats(r, &t, &e), &e);
    assert_int_equal(t.n_documents, 0); /* a reader sees nothing of it yet */
    struct document d = {.uri = "/x", .text = "hello", .text_len = 5};
    struct chunk c = {.start = 9, .end = 9};
    float unit[DIM] = {1};
    assert_status(store_put(s, &d, &c, 1, unit, NULL, &e), ERR_INTERNAL);
    assert_ok_err(fixture_put(s, "b", 2, 3, DIM, NULL, &e), &e);
    assert_ok_err(store_commit(s, &e), &e);
    assert_ok_err(store_stats(r, &t, &e), &e);
    assert_int_equal(t.n_documents, 2);
    assert_ok_err(store_begin(s, &e), &e);
    assert_ok_err(fixture_put(s, "c", 3, 3, DIM, NULL, &e), &e);
    store_rollback(s);
    assert_status(store_commit(s, &e), ERR_INTERNAL);
    assert_ok_err(store_stats(s, &t, &e), &e);
    assert_int_equal(t.n_documents, 2);
    assert_int_equal(t.n_chunks, 6);
    assert_status(store_delete(r, 1, &e), ERR_INTERNAL); /* opened for reading */
    store_close(r);
    store_close(s);
}

static enum status collect(void *ctx, const struct document *d)
{
    assert_null(d->text);
    buf_printf(ctx, "%s(%lld) ", d->uri, (long long)d->n_chunks);
    return OK;
}

static enum status collect_failure(void *ctx, const char *uri, const char *code, const char *text,
                                   int64_t at_ns)
{
    assert_true(at_ns > 0);
    buf_printf(ctx, "%s %s %s;", uri, code, text);
    return OK;
}

static enum status collect_source(void *ctx, const char *source, int64_t n_documents,
                                  int64_t n_chunks)
{
    buf_printf(ctx, "%s %lld %lld;", source, (long long)n_documents, (long long)n_chunks);
    return OK;
}

static enum status stop(void *ctx, const struct document *d)
{
    (void)d;
    (*(int *)ctx)++;
    return ERR_CANCELLED;
}

static void lists_are_in_order(void **state)
{
    (void)state;
    struct err e = {0}, why = {0};
    struct buf b = {0};
    struct store *s = fixture_open(test_temp_path("lists"), DIM);
    assert_ok_err(fixture_put(s, "b", 1, 1, DIM, NULL, &e), &e);
    assert_ok_err(fixture_put(s, "a", 2, 2, DIM, NULL, &e), &e);
    struct document other = {.uri = "/other/z", .source = "/other"};
    assert_ok_err(store_put(s, &other, NULL, 0, NULL, NULL, &e), &e);
    assert_ok_err(store_each_document(s, NULL, collect, &b, &e), &e);
    assert_string_equal(b.data, "/lib/a(2) /lib/b(1) /other/z(0) ");
    buf_reset(&b);
    assert_ok_err(store_each_document(s, "/lib", collect, &b, &e), &e);
    assert_string_equal(b.data, "/lib/a(2) /lib/b(1) ");
    buf_reset(&b);
    assert_ok_err(store_each_source(s, collect_source, &b, &e), &e);
    assert_string_equal(b.data, "/lib 2 3;/other 1 0;");
    int n = 0;
    assert_status(store_each_document(s, NULL, stop, &n, &e), ERR_CANCELLED);
    assert_int_equal(n, 1);
    err_set(&why, ERR_UNSUPPORTED, "/lib/c.pdf", "needs OCR");
    assert_ok_err(store_put_failure(s, "/lib/c.pdf", "/lib", &why, &e), &e);
    assert_ok_err(store_put_failure(s, "/lib/a", "/lib", &why, &e), &e);
    err_set(&why, ERR_FORMAT, "/lib/c.pdf", "no PDF");
    assert_ok_err(store_put_failure(s, "/lib/c.pdf", "/lib", &why, &e), &e);
    buf_reset(&b);
    assert_ok_err(store_each_failure(s, collect_failure, &b, &e), &e);
    assert_string_equal(b.data, "/lib/a unsupported needs OCR;/lib/c.pdf format no PDF;");
    assert_ok_err(store_clear_failure(s, "/lib/c.pdf", &e), &e);
    assert_ok_err(fixture_put(s, "a", 2, 2, DIM, NULL, &e), &e); /* a success clears its failure */
    buf_reset(&b);
    assert_ok_err(store_each_failure(s, collect_failure, &b, &e), &e);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
    store_close(s);
}

/* Even in a folder that others can read. */
static void files_are_the_owners_alone(void **state)
{
    (void)state;
    struct err e = {0};
    assert_ok_err(file_mkdirs(test_temp_path("private"), &e), &e);
    assert_int_equal(chmod(test_temp_path("private"), 0755), 0);
    struct store *s = fixture_open(test_temp_path("private"), DIM);
    static const char *const names[] = {"private/hearth.db", "private/hearth.db-wal",
                                        "private/hearth.db-shm", "private/lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;
        assert_int_equal(stat(test_temp_path(names[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    store_close(s);
}

static void embedder_is_set_once(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("embedder");
    struct store *s = NULL;
    assert_ok_err(store_open(home, &(struct store_options){.write = true}, &s, &e), &e);
    struct store_embedder_info info;
    assert_ok_err(store_embedder(s, &info, &e), &e);
    assert_string_equal(info.name, "");
    assert_int_equal(info.dim, 0);
    assert_status(fixture_put(s, "a", 1, 1, DIM, NULL, &e), ERR_INTERNAL);
    assert_ok_err(store_set_embedder(s, "one", "id-1", DIM, &e), &e);
    assert_ok_err(store_set_embedder(s, "two", "id-2", 4, &e), &e); /* still empty: may change */
    assert_ok_err(store_set_embedder(s, "one", "id-1", DIM, &e), &e);
    int64_t id = 0;
    assert_ok_err(fixture_put(s, "a", 1, 1, DIM, &id, &e), &e);
    int64_t generation = store_generation(s);
    assert_ok_err(store_set_embedder(s, "one", "id-1", DIM, &e), &e);
    assert_int_equal(store_generation(s), generation);
    assert_status(store_set_embedder(s, "two", "id-2", DIM, &e), ERR_MISMATCH);
    assert_string_equal(e.place, home);
    assert_non_null(strstr(e.message, "embedded with one (8 numbers), this is two (8)"));
    assert_status(store_set_embedder(s, "one", "id-1", 4, &e), ERR_MISMATCH);
    assert_status(store_set_embedder(s, "big", "id", 70000, &e), ERR_UNSUPPORTED);
    assert_ok_err(store_embedder(s, &info, &e), &e);
    assert_string_equal(info.name, "one");
    assert_string_equal(info.identity, "id-1");
    assert_ok_err(store_delete(s, id, &e), &e);
    assert_ok_err(store_set_embedder(s, "two", "id-2", 4, &e), &e);
    store_close(s);
}

static void vectors_are_found_by_hash(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s = fixture_open(test_temp_path("hash"), 2);
    struct document d = {.uri = "/x", .text = "hello", .text_len = 5};
    struct chunk c[2] = {{.end = 2, .embed_hash = "aa"}, {.start = 2, .end = 5}};
    float v[4] = {0.6f, 0.8f, 1, 0}, got[2] = {0};
    assert_ok_err(store_put(s, &d, c, 2, v, NULL, &e), &e);
    assert_ok_err(store_find_vector(s, "aa", got, 2, &e), &e);
    assert_memory_equal(got, v, sizeof got);
    assert_status(store_find_vector(s, "bb", got, 2, &e), ERR_NOT_FOUND);
    store_close(s);
}

static void missing_and_foreign_files_are_named(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s = NULL;
    const struct store_options write = {.write = true};
    const char *none = test_temp_path("none");
    assert_status(store_open(none, NULL, &s, &e), ERR_NOT_FOUND);
    assert_string_equal(e.place, none);
    assert_string_equal(e.message, "no library here: `hearth add FOLDER` makes one");
    assert_false(file_exists(none));
    const char *db = test_temp_path("text/hearth.db");
    assert_ok_err(file_mkdirs(test_temp_path("text"), &e), &e);
    char junk[4096];
    memset(junk, 'x', sizeof junk);
    test_write_file(db, junk, sizeof junk);
    assert_status(store_open(test_temp_path("text"), NULL, &s, &e), ERR_FORMAT);
    assert_string_equal(e.place, db);
    assert_non_null(strstr(e.message, "not a database"));
    assert_status(store_open(test_temp_path("text"), &write, &s, &e), ERR_FORMAT);
    test_write_file(db, "", 0); /* what a kill at the very start leaves */
    assert_status(store_open(test_temp_path("text"), NULL, &s, &e), ERR_NOT_FOUND);
    assert_ok_err(store_open(test_temp_path("text"), &write, &s, &e), &e);
    store_close(s);
    assert_ok_err(store_open(test_temp_path("text"), NULL, &s, &e), &e);
    store_close(s);
    test_write_file(test_temp_path("file"), "x", 1);
    assert_status(store_open(test_temp_path("file"), &write, &s, &e), ERR_IO);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void versions_are_checked(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s = fixture_open(test_temp_path("versions"), DIM);
    const struct store_options write = {.write = true};
    const char *db = test_temp_path("versions/hearth.db");
    store_close(s);
    run_sql(db, "PRAGMA user_version = 99");
    s = NULL;
    assert_status(store_open(test_temp_path("versions"), NULL, &s, &e), ERR_MISMATCH);
    assert_string_equal(e.place, db);
    assert_non_null(strstr(e.message, "newer hearth (schema 99"));
    assert_status(store_open(test_temp_path("versions"), &write, &s, &e), ERR_MISMATCH);
    run_sql(db, "PRAGMA user_version = 2; PRAGMA application_id = 5");
    assert_status(store_open(test_temp_path("versions"), &write, &s, &e), ERR_FORMAT);
    assert_non_null(strstr(e.message, "not one that hearth made"));
    assert_null(s);
}

/* A library as version 1 left it, with one document. */
static void make_version_1(const char *home)
{
    struct err e = {0};
    struct store s = {.lock_fd = 0, .home = (char *)(uintptr_t)home};
    struct buf path = {0};
    buf_printf(&path, "%s/hearth.db", home);
    s.path = path.data;
    assert_ok_err(file_mkdirs(home, &e), &e);
    assert_int_equal(sqlite3_open(s.path, &s.db), SQLITE_OK);
    assert_ok_err(store_schema_update(&s, 1, &e), &e);
    assert_ok_err(store_exec(&s,
                             "UPDATE state SET embedder_name = 'm', embedder_identity = 'i', dim = "
                             "1; INSERT INTO documents VALUES (5, '/lib/old', '/lib', 't', '', '', "
                             "'text', 'ab', 3, 4, 5, 0, 3, 1); INSERT INTO texts VALUES (5, 0, "
                             "x'616263'); INSERT INTO chunks VALUES (9, 5, 0, 'h', 0, 3, 0, 0, 1); "
                             "INSERT INTO vectors VALUES (9, x'0000803f')",
                             &e),
                  &e);
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(s.statements[i]);
    }
    assert_int_equal(sqlite3_close(s.db), SQLITE_OK);
    buf_fini(&path);
}

static void old_versions_are_migrated_with_a_backup(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    const char *home = test_temp_path("old");
    make_version_1(home);
    struct store *s = NULL;
    assert_ok_err(store_open(home, NULL, &s, &e), &e); /* reading is enough */
    struct chunk c;
    assert_ok_err(store_chunk(s, 9, &a, &c, &e), &e);
    assert_string_equal(c.text, "abc");
    assert_ok_err(store_verify(s, &e), &e);
    int64_t version = 0;
    assert_ok_err(store_exec_int(s, "PRAGMA user_version", &version, &e), &e);
    assert_int_equal(version, STORE_SCHEMA);
    store_close(s);
    struct stat bak_stat;
    assert_int_equal(stat(test_temp_path("old/hearth.db.v1.bak"), &bak_stat), 0);
    assert_int_equal(bak_stat.st_mode & 0777, 0600);
    sqlite3 *bak = NULL;
    sqlite3_stmt *st = NULL;
    assert_false(file_exists(test_temp_path("old/hearth.db.v1.bak.tmp")));
    assert_int_equal(
        sqlite3_open_v2(test_temp_path("old/hearth.db.v1.bak"), &bak, SQLITE_OPEN_READONLY, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(bak, "SELECT uri FROM documents", -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(st, 0), "/lib/old");
    sqlite3_finalize(st);
    sqlite3_close(bak);
    arena_reset(&a);
}

/* Runs f in a child and gives its exit code. */
static int in_child(int (*f)(const char *home), const char *home)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
        _exit(f(home));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int contend(const char *home)
{
    struct err e = {0};
    struct store *s = NULL;
    char want[64];
    snprintf(want, sizeof want, "(process %ld)", (long)getppid());
    if (store_open(home, &(struct store_options){.write = true, .busy_wait_ms = 50}, &s, &e) !=
        ERR_BUSY) {
        return 1;
    }
    size_t n = strlen(e.place);
    if (!strstr(e.message, want) || n < 5 || strcmp(e.place + n - 5, "/lock") != 0) {
        return 2;
    }
    struct arena a = {0};
    struct document d;
    if (store_open(home, NULL, &s, &e) || store_document_by_uri(s, "/lib/a", &a, &d, &e)) {
        return 3; /* a reader is not kept out */
    }
    return 0;
}

static int just_end(const char *path)
{
    struct buf b = {0};
    buf_printf(&b, "%s/vectors.bin.tmp.%ld.0", path, (long)getpid());
    test_write_file(b.data, "half", 4);
    buf_fini(&b);
    return 0;
}

/* 0 when one such file is there. */
static int only_one_left(const char *home)
{
    struct buf cmd = {0};
    buf_printf(&cmd, "test `ls '%s' | grep -c vectors.bin.tmp` = 1", home);
    int rc = system(cmd.data);
    buf_fini(&cmd);
    return rc;
}

static void leftovers_of_a_kill_are_removed(void **state)
{
    (void)state;
    const char *home = test_temp_path("leftovers");
    store_close(fixture_open(home, DIM));
    assert_int_equal(in_child(just_end, home), 0);
    assert_int_equal(just_end(home), 0); /* of a process that lives */
    assert_int_not_equal(only_one_left(home), 0);
    store_close(fixture_open(home, DIM));
    assert_int_equal(only_one_left(home), 0);
}

static int read_in_read_only_folder(const char *home)
{
    struct err e = {0};
    struct store *s = NULL;
    struct arena a = {0};
    struct document d;
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) {
        return 1;
    }
    if (store_open(home, &(struct store_options){.write = true}, &s, &e) != ERR_IO) {
        return 2;
    }
    if (store_open(home, NULL, &s, &e)) {
        fprintf(stderr, "%s: %s\n", e.place, e.message);
        return 3;
    }
    return store_document_by_uri(s, "/lib/a", &a, &d, &e) ? 4 : 0;
}

static void one_writer_many_readers(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("contend");
    struct store *s = fixture_open(home, DIM);
    assert_ok_err(fixture_put(s, "a", 1, 1, DIM, NULL, &e), &e);
    assert_int_equal(in_child(contend, home), 0);
    store_close(s);
    s = fixture_open(home, DIM); /* the lock went with its holder */
    store_close(s);
}

static void read_only_folders_can_be_read(void **state)
{
    (void)state;
    struct err e = {0};
    const char *home = test_temp_path("ro ?#%41"); /* a name that means something in a URI */
    struct store *s = fixture_open(home, DIM);
    assert_ok_err(fixture_put(s, "a", 1, 1, DIM, NULL, &e), &e);
    store_close(s);
    struct buf db = {0};
    buf_printf(&db, "%s/hearth.db", home);
    assert_int_equal(chmod(db.data, 0444), 0);
    assert_int_equal(chmod(home, 0555), 0);
    assert_int_equal(chmod(test_temp_dir(), 0755), 0);
    assert_int_equal(in_child(read_in_read_only_folder, home), 0);
    assert_int_equal(chmod(home, 0755), 0);
    buf_fini(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_comes_back),
        cmocka_unit_test(put_replaces_and_delete_removes),
        cmocka_unit_test(bad_input_changes_nothing),
        cmocka_unit_test(batches_are_all_or_nothing),
        cmocka_unit_test(lists_are_in_order),
        cmocka_unit_test(files_are_the_owners_alone),
        cmocka_unit_test(embedder_is_set_once),
        cmocka_unit_test(vectors_are_found_by_hash),
        cmocka_unit_test(missing_and_foreign_files_are_named),
        cmocka_unit_test(versions_are_checked),
        cmocka_unit_test(old_versions_are_migrated_with_a_backup),
        cmocka_unit_test(one_writer_many_readers),
        cmocka_unit_test(leftovers_of_a_kill_are_removed),
        cmocka_unit_test(read_only_folders_can_be_read),
    };
    return cmocka_run_group_tests_name("documents", tests, NULL, NULL);
}

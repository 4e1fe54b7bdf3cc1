/* Sync with a small real model: what is added, changed, skipped, removed, failed and ignored, in
 * numbers; cancelling, killing, moving; paths inside one another. */
#include "common/test.h"

#include "base/file.h"
#include "base/sys.h"
#include "ingest/sync.h"
#include "store/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct engine *embedder;

static const struct store_options for_writing = {.write = true};

static struct store *open_store(const char *home)
{
    struct err e = {0};
    struct store *s = NULL;
    assert_ok_err(store_open(home, &for_writing, &s, &e), &e);
    return s;
}

/* "root/name" under the temporary folder, with its folders made. */
static const char *file_at(const char *root, const char *name)
{
    struct err e = {0};
    struct buf b = {0};
    buf_printf(&b, "%s/%s", root, name);
    const char *path = test_temp_path(b.data);
    char *folder = strdup(path);
    *strrchr(folder, '/') = 0;
    assert_ok_err(file_mkdirs(folder, &e), &e);
    free(folder);
    buf_fini(&b);
    return path;
}

static void write_text(const char *path, const char *text)
{
    test_write_file(path, text, strlen(text));
}

struct heard { /* events as text: "+a.txt =b.txt" */
    struct buf text;
    int64_t last_done, total;
    bool cancel;
    int cancel_after; /* events; 0: never */
    int n;
};

static void hear(void *ctx, const struct sync_event *ev)
{
    static const char marks[] = {[SYNC_ADDED] = '+',   [SYNC_CHANGED] = '*', [SYNC_SKIPPED] = '=',
                                 [SYNC_REMOVED] = '-', [SYNC_FAILED] = '!',  [SYNC_IGNORED] = '~'};
    struct heard *h = ctx;
    buf_printf(&h->text, "%c%s ", marks[ev->action], strrchr(ev->uri, '/') + 1);
    assert_true((ev->action == SYNC_FAILED) == (ev->why != NULL));
    assert_true(ev->n_done >= h->last_done && ev->n_done <= ev->n_total);
    h->last_done = ev->n_done;
    h->total = ev->n_total;
    h->cancel = ++h->n == h->cancel_after || h->cancel;
}

static enum status sync_quietly(struct store *s, const char *path, struct heard *h, bool dry,
                                struct sync_report *r, struct err *e)
{
    struct heard unused = {0};
    h = h ? h : &unused;
    buf_reset(&h->text);
    h->last_done = 0;
    struct sync_options opt = {.chunk = {.max_tokens = 40, .overlap = -1},
                               .dry_run = dry,
                               .on_event = hear,
                               .ctx = h,
                               .cancel = &h->cancel};
    enum status st = sync_paths(s, embedder, &path, 1, &opt, r, e);
    if (!st) {
        assert_int_equal(h->last_done, h->total);
        assert_true(dry || !store_verify(s, e));
    }
    buf_fini(&unused.text);
    return st;
}

static void count_embedded(void *ctx, const char *uri, int64_t n_chunks_embedded)
{
    int64_t *seen = ctx; /* calls, chunks */
    assert_non_null(strstr(uri, "long.txt"));
    assert_true(n_chunks_embedded > seen[1]);
    seen[0]++;
    seen[1] = n_chunks_embedded;
}

static void long_documents_show_progress(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf text = {0};
    struct sync_report r;
    struct store *s = open_store(test_temp_path("home0"));
    for (int i = 0; i < 600; i++) {
        buf_printf(&text, "The quick brown fox number %d jumps over the lazy dog.\n\n", i);
    }
    test_write_file(file_at("docs0", "long.txt"), text.data, text.len);
    const char *path = test_temp_path("docs0");
    int64_t seen[2] = {0};
    struct sync_options opt = {
        .chunk = {.max_tokens = 40, .overlap = -1}, .on_embedded = count_embedded, .ctx = seen};
    assert_ok_err(sync_paths(s, embedder, &path, 1, &opt, &r, &e), &e);
    assert_int_equal(r.n_added, 1);
    assert_int_equal(seen[1], r.n_chunks);
    assert_int_equal(seen[0], (r.n_chunks + 63) / 64);
    assert_true(seen[0] > 3);
    assert_ok_err(store_verify(s, &e), &e);
    buf_fini(&text);
    store_close(s);
}

/* Syncs `path` and compares the events. */
static struct sync_report expect(struct store *s, const char *path, const char *events)
{
    struct err e = {0};
    struct heard h = {0};
    struct sync_report dry, r;
    assert_ok_err(sync_quietly(s, path, &h, true, &dry, &e), &e);
    assert_ok_err(sync_quietly(s, path, &h, false, &r, &e), &e);
    assert_string_equal(h.text.data ? h.text.data : "", events);
    /* the plan said so; only what is in the files can make a difference */
    assert_int_equal(dry.n_added + dry.n_changed, r.n_added + r.n_changed + r.n_failed);
    assert_int_equal(dry.n_removed, r.n_removed);
    assert_int_equal(dry.n_skipped, r.n_skipped);
    assert_int_equal(dry.n_ignored, r.n_ignored);
    buf_fini(&h.text);
    return r;
}

static int64_t n_documents(struct store *s)
{
    struct err e = {0};
    struct store_stats t;
    assert_ok_err(store_stats(s, &t, &e), &e);
    return t.n_documents;
}

static void set_mtime(const char *path, long seconds)
{
    struct timespec t[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void folders_are_followed(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    struct store *s = open_store(test_temp_path("home1"));
    const char *root = test_temp_path("docs1");
    const char *txt = file_at("docs1", "a.txt");
    write_text(txt, "The quick brown fox.\n\nA database returns the rows.\n");
    write_text(file_at("docs1", "b.md"), "# Fox\n\nThe lazy dog.\n");
    write_text(file_at("docs1", "sub/c.html"),
               "<html><head><title>Rows</title></head><body><h1>Rows</h1><p>The planner "
               "chooses.</p></body></html>");
    write_text(file_at("docs1", ".hidden.txt"), "not for hearth");
    write_text(file_at("docs1", ".git/x.txt"), "not for hearth");
    test_write_file(file_at("docs1", "picture.png"), "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    assert_int_equal(symlink(test_temp_path("docs1/sub"), file_at("docs1", "link")), 0);
    struct sync_report r = expect(s, root, "~picture.png +a.txt +b.md +c.html ");
    assert_int_equal(r.n_added, 3);
    assert_int_equal(r.n_ignored, 1);
    assert_int_equal(r.n_truncated, 0);
    assert_true(r.n_chunks >= 3 && r.n_tokens > r.n_chunks && r.n_reused == 0);
    struct document d;
    assert_ok_err(store_document_by_uri(s, file_at("docs1", "sub/c.html"), &a, &d, &e), &e);
    assert_string_equal(d.title, "Rows");
    assert_string_equal(d.kind, "html");
    assert_string_equal(d.source, root);
    assert_ok_err(store_document_by_uri(s, txt, &a, &d, &e), &e);
    assert_string_equal(d.title, "a.txt");
    char hex[SHA256_HEX];
    assert_ok_err(file_sha256(txt, hex, &e), &e);
    assert_string_equal(d.sha256, hex);
    int64_t generation = store_generation(s);
    (void)expect(s, root, "=a.txt =b.md ~picture.png =c.html ");
    set_mtime(txt, 1000000000); /* other time, same bytes */
    (void)expect(s, root, "=a.txt =b.md ~picture.png =c.html ");
    assert_int_equal(store_generation(s), generation);
    assert_ok_err(store_document_by_uri(s, txt, &a, &d, &e), &e);
    assert_int_equal(d.mtime_ns, 1000000000000000000);
    write_text(txt, "The quick brown dog.\n");
    (void)expect(s, root, "=b.md ~picture.png =c.html *a.txt ");
    assert_int_equal(unlink(file_at("docs1", "b.md")), 0);
    (void)expect(s, root, "=a.txt ~picture.png =c.html -b.md ");
    assert_int_equal(n_documents(s), 2);
    arena_reset(&a);
    store_close(s);
}

static void passages_are_found_again(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    const char *home = test_temp_path("home2");
    struct store *s = open_store(home);
    write_text(file_at("docs2", "a.txt"), "The quick brown fox jumps over the lazy dog.\n");
    write_text(file_at("docs2", "b.txt"), "A database returns the rows that match.\n");
    write_text(file_at("docs2", "c.txt"), "The planner chooses how.\n");
    (void)expect(s, test_temp_path("docs2"), "+a.txt +b.txt +c.txt ");
    struct vectors *v = NULL;
    assert_ok_err(vectors_open(s, home, &v, NULL, &e), &e);
    assert_int_equal(vectors_count(v), 3);
    struct document d;
    struct chunk c;
    assert_ok_err(store_document_by_uri(s, file_at("docs2", "b.txt"), &a, &d, &e), &e);
    assert_ok_err(store_chunk_at(s, d.id, 0, &a, &c, &e), &e);
    struct buf text = {0};
    chunk_embed_text(d.title, &c, &text);
    int64_t dim = engine_info(embedder)->d_model;
    float *q = mem_aligned((size_t)dim, sizeof *q);
    const char *texts[] = {text.data};
    assert_ok_err(engine_embed(embedder, texts, &text.len, 1, NULL, q, NULL, NULL, &e), &e);
    struct hit hits[2];
    size_t n = 0;
    assert_ok_err(vectors_search(v, s, q, dim, 2, hits, &n, &e), &e);
    assert_int_equal(hits[0].chunk_id, c.id);
    assert_true(hits[0].score > 0.9999f); /* alone or in a batch: the same vector */
    free(q);
    buf_fini(&text);
    vectors_close(v);
    arena_reset(&a);
    store_close(s);
}

static void paths_inside_one_another(void **state)
{
    (void)state;
    struct err e = {0};
    struct arena a = {0};
    struct store *s = open_store(test_temp_path("home3"));
    const char *root = test_temp_path("docs3"), *sub = test_temp_path("docs3/sub");
    write_text(file_at("docs3", "a.txt"), "The quick brown fox.");
    write_text(file_at("docs3", "sub/b.txt"), "The lazy dog.");
    write_text(file_at("docs33", "x.txt"), "A name that begins alike.");
    (void)expect(s, test_temp_path("docs33"), "+x.txt ");
    (void)expect(s, root, "+a.txt +b.txt ");
    (void)expect(s, sub, "=b.txt "); /* removes nothing of the rest */
    write_text(file_at("docs3", "sub/c.txt"), "The planner chooses.");
    (void)expect(s, sub, "=b.txt +c.txt ");
    struct document d;
    assert_ok_err(store_document_by_uri(s, file_at("docs3", "sub/b.txt"), &a, &d, &e), &e);
    assert_string_equal(d.source, root);
    assert_ok_err(store_document_by_uri(s, file_at("docs3", "sub/c.txt"), &a, &d, &e), &e);
    assert_string_equal(d.source, sub);
    (void)expect(s, root, "=a.txt =b.txt =c.txt ");
    (void)expect(s, file_at("docs3", "a.txt"), "=a.txt "); /* a single file */
    struct sync_report r;
    const char *twice[] = {root, root, sub, file_at("docs3", "a.txt")};
    assert_ok_err(sync_paths(s, embedder, twice, 4, NULL, &r, &e), &e);
    assert_int_equal(r.n_skipped, 3);
    char *was = getcwd(NULL, 0);
    assert_int_equal(chdir(root), 0);
    (void)expect(s, ".", "=a.txt =b.txt =c.txt "); /* another name of the same folder */
    (void)expect(s, "sub/../a.txt", "=a.txt ");
    assert_int_equal(chdir(was), 0);
    free(was);
    assert_int_equal(symlink(root, test_temp_path("other-name")), 0);
    (void)expect(s, test_temp_path("other-name"), "=a.txt =b.txt =c.txt ");
    assert_int_equal(unlink(file_at("docs3", "a.txt")), 0);
    (void)expect(s, sub, "=b.txt =c.txt ");                    /* a.txt does not lie there */
    (void)expect(s, test_temp_path("docs3/a.txt"), "-a.txt "); /* a path that is gone itself */
    assert_int_equal(n_documents(s), 3);
    arena_reset(&a);
    store_close(s);
}

static void nothing_there_is_an_error(void **state)
{
    (void)state;
    struct err e = {0};
    struct sync_report r;
    struct store *s = open_store(test_temp_path("home4"));
    const char *none = test_temp_path("no-such-folder");
    assert_status(sync_quietly(s, none, NULL, false, &r, &e), ERR_NOT_FOUND);
    assert_string_equal(e.place, none);
    assert_string_equal(e.message, "no such file or folder");
    assert_ok_err(file_mkdirs(test_temp_path("empty4"), &e), &e);
    assert_status(sync_quietly(s, test_temp_path("empty4"), NULL, false, &r, &e), ERR_NOT_FOUND);
    assert_string_equal(e.place, test_temp_path("empty4"));
    test_write_file(file_at("empty4", "x.png"), "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    assert_status(sync_quietly(s, test_temp_path("empty4"), NULL, false, &r, &e), ERR_NOT_FOUND);
    assert_string_equal(e.message, "no file here that hearth can read (1 of other kinds)");
    assert_int_equal(r.n_ignored, 1);
    write_text(file_at("good4", "a.txt"), "The quick brown fox.");
    const char *both[] = {test_temp_path("good4"), none};
    assert_status(sync_paths(s, embedder, both, 2, NULL, &r, &e), ERR_NOT_FOUND);
    assert_int_equal(n_documents(s), 0); /* a wrong path is seen before anything is done */
    assert_ok_err(sync_paths(NULL, NULL, both, 1, &(struct sync_options){.dry_run = true}, &r, &e),
                  &e);
    assert_int_equal(r.n_added, 1);
    (void)expect(s, test_temp_path("good4"), "+a.txt ");
    assert_int_equal(unlink(test_temp_path("good4/a.txt")), 0);
    assert_int_equal(rmdir(test_temp_path("good4")), 0);
    (void)expect(s, test_temp_path("good4"), "-a.txt "); /* the folder went with its file */
    assert_status(sync_quietly(s, test_temp_path("good4"), NULL, false, &r, &e), ERR_NOT_FOUND);
    store_close(s);
}

static enum status list_failure(void *ctx, const char *uri, const char *code, const char *message,
                                int64_t at_ns)
{
    (void)at_ns;
    assert_true(*message != 0);
    buf_printf(ctx, "%s:%s ", strrchr(uri, '/') + 1, code);
    return OK;
}

static void expect_failures(struct store *s, const char *want)
{
    struct err e = {0};
    struct buf b = {0};
    assert_ok_err(store_each_failure(s, list_failure, &b, &e), &e);
    assert_string_equal(b.data ? b.data : "", want);
    buf_fini(&b);
}

static void failures_are_kept_until_they_are_over(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s = open_store(test_temp_path("home5"));
    const char *root = test_temp_path("docs5");
    write_text(file_at("docs5", "a.txt"), "The quick brown fox.");
    write_text(file_at("docs5", "b.txt"), "  \n\n ");
    write_text(file_at("docs5", "c.pdf"), "%PDF-1.4\nno more than that");
    assert_int_equal(symlink("/no/such/file", file_at("docs5", "d.txt")), 0);
    struct heard h = {0};
    struct sync_report r;
    assert_ok_err(sync_quietly(s, root, &h, false, &r, &e), &e);
    assert_string_equal(h.text.data, "!b.txt !c.pdf !d.txt +a.txt ");
    assert_int_equal(r.n_failed, 3);
    expect_failures(s, "b.txt:unsupported c.pdf:format d.txt:io ");
    assert_ok_err(sync_quietly(s, root, &h, false, &r, &e), &e); /* tried again each time */
    assert_string_equal(h.text.data, "=a.txt !b.txt !c.pdf !d.txt ");
    write_text(file_at("docs5", "b.txt"), "The lazy dog.");
    assert_int_equal(unlink(test_temp_path("docs5/c.pdf")), 0);
    assert_int_equal(unlink(test_temp_path("docs5/d.txt")), 0);
    write_text(file_at("other5", "z.txt"), " ");
    assert_ok_err(sync_quietly(s, test_temp_path("other5"), &h, false, &r, &e), &e);
    expect_failures(s, "b.txt:unsupported c.pdf:format d.txt:io z.txt:unsupported ");
    assert_ok_err(sync_quietly(s, root, &h, false, &r, &e), &e);
    assert_string_equal(h.text.data, "=a.txt +b.txt ");
    expect_failures(s, "z.txt:unsupported "); /* not under this root */
    write_text(file_at("docs5", "a.txt"), " ");
    assert_ok_err(sync_quietly(s, root, &h, false, &r, &e), &e);
    assert_string_equal(h.text.data, "!a.txt =b.txt ");
    assert_int_equal(n_documents(s), 1); /* its old text must not answer any more */
    buf_fini(&h.text);
    store_close(s);
}

/* The engine's threads do not survive a fork: a child opens its own. */
static void open_own_engine(void)
{
    struct err e = {0};
    struct engine_options one = {.n_threads = 1};
    const char *path = test_source_path("tests/golden/data/tiny/bert-mean");
    assert_ok_err(engine_open(path, &one, &embedder, &e), &e);
}

/* As a user without rights, in a child: a folder that cannot be read hides its documents. */
static int unreadable(const char *base)
{
    struct err e = {0};
    struct heard h = {0};
    struct sync_report r;
    open_own_engine();
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) {
        return 1;
    }
    struct buf home = {0}, root = {0}, locked = {0};
    buf_printf(&home, "%s/home", base);
    buf_printf(&root, "%s/docs", base);
    buf_printf(&locked, "%s/docs/locked", base);
    struct store *s = open_store(home.data);
    if (sync_quietly(s, root.data, &h, false, &r, &e) || r.n_added != 2 ||
        chmod(locked.data, 0) != 0) {
        return 2;
    }
    if (sync_quietly(s, root.data, &h, false, &r, &e) || r.n_failed != 1 || r.n_removed != 0 ||
        r.n_skipped != 1 || n_documents(s) != 2) {
        return 3;
    }
    expect_failures(s, "locked:io ");
    if (chmod(locked.data, 0700) != 0 || sync_quietly(s, root.data, &h, false, &r, &e) ||
        r.n_skipped != 2) {
        return 4;
    }
    expect_failures(s, "");
    store_close(s);
    return 0;
}

static int in_child(int (*f)(const char *), const char *arg)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
        _exit(f(arg));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void unreadable_folders_remove_nothing(void **state)
{
    (void)state;
    write_text(file_at("locked6", "docs/a.txt"), "The quick brown fox.");
    write_text(file_at("locked6", "docs/locked/b.txt"), "The lazy dog.");
    struct buf cmd = {0};
    buf_printf(&cmd, "chmod 755 '%s' && chmod -R 777 '%s'", test_temp_dir(),
               test_temp_path("locked6"));
    assert_int_equal(system(cmd.data), 0);
    if (geteuid() == 0) {
        buf_reset(&cmd);
        buf_printf(&cmd, "chown -R 65534:65534 '%s'", test_temp_path("locked6"));
        assert_int_equal(system(cmd.data), 0);
    }
    assert_int_equal(in_child(unreadable, test_temp_path("locked6")), 0);
    buf_fini(&cmd);
}

static void many_files(const char *root, int n)
{
    for (int i = 0; i < n; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "%02d/f%03d.txt", i / 50, i);
        snprintf(text, sizeof text, "The quick brown fox number %d jumps.", i);
        write_text(file_at(root, name), text);
    }
}

static void cancelling_keeps_what_is_committed(void **state)
{
    (void)state;
    struct err e = {0};
    struct sync_report r;
    struct store *s = open_store(test_temp_path("home7"));
    many_files("docs7", 200);
    struct heard h = {.cancel_after = 3};
    assert_status(sync_quietly(s, test_temp_path("docs7"), &h, false, &r, &e), ERR_CANCELLED);
    int64_t n = n_documents(s);
    assert_int_equal(n, r.n_added);
    assert_true(n >= 3 && n < 200);
    assert_ok_err(store_verify(s, &e), &e);
    h.cancel = false;
    h.cancel_after = 0;
    assert_ok_err(sync_quietly(s, test_temp_path("docs7"), &h, false, &r, &e), &e);
    assert_int_equal(r.n_skipped, n);
    assert_int_equal(r.n_added, 200 - n);
    assert_int_equal(n_documents(s), 200);
    h.cancel = true; /* before anything */
    assert_status(sync_quietly(s, test_temp_path("docs7"), &h, false, &r, &e), ERR_CANCELLED);
    buf_fini(&h.text);
    store_close(s);
}

static void trees_are_touched_and_removed_in_bulk(void **state)
{
    (void)state;
    struct err e = {0};
    struct sync_report r;
    struct arena a = {0};
    struct document d;
    const char *root = test_temp_path("docs11");
    struct store *s = open_store(test_temp_path("docs11/home")); /* lies in what it indexes */
    many_files("docs11", 600);
    assert_ok_err(sync_quietly(s, root, NULL, false, &r, &e), &e);
    assert_int_equal(r.n_added, 600);
    assert_int_equal(r.n_ignored, 0); /* its own files are not even looked at */
    for (int i = 0; i < 600; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d/f%03d.txt", i / 50, i);
        set_mtime(file_at("docs11", name), 1000000000);
    }
    assert_ok_err(sync_quietly(s, root, NULL, false, &r, &e), &e);
    assert_int_equal(r.n_skipped, 600);
    assert_ok_err(store_document_by_uri(s, file_at("docs11", "00/f000.txt"), &a, &d, &e), &e);
    assert_int_equal(d.mtime_ns, 1000000000000000000);
    assert_ok_err(store_document_by_uri(s, file_at("docs11", "11/f599.txt"), &a, &d, &e), &e);
    assert_int_equal(d.mtime_ns, 1000000000000000000);
    for (int i = 1; i < 600; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d/f%03d.txt", i / 50, i);
        assert_int_equal(unlink(file_at("docs11", name)), 0);
    }
    assert_ok_err(sync_quietly(s, root, NULL, false, &r, &e), &e);
    assert_int_equal(r.n_removed, 599);
    assert_int_equal(n_documents(s), 1);
    arena_reset(&a);
    store_close(s);
}

/* In a child: the database may not grow past a limit. */
static int sync_on_a_full_disk(const char *base)
{
    struct err e = {0};
    struct sync_report r;
    struct rlimit limit;
    struct buf home = {0}, docs = {0};
    buf_printf(&home, "%s/home", base);
    buf_printf(&docs, "%s/docs", base);
    open_own_engine();
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *s = open_store(home.data);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 300000, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_status(sync_quietly(s, docs.data, NULL, false, &r, &e), ERR_NO_SPACE);
    int64_t n = n_documents(s);
    assert_int_equal(n, r.n_added); /* what was told is what is there */
    assert_true(n > 0 && n < 400);
    assert_ok_err(store_verify(s, &e), &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_ok_err(sync_quietly(s, docs.data, NULL, false, &r, &e), &e);
    assert_int_equal(r.n_skipped, n);
    assert_int_equal(r.n_added, 400 - n);
    store_close(s);
    return 0;
}

static void full_disks_end_a_sync_cleanly(void **state)
{
    (void)state;
    many_files("full12/docs", 400);
    assert_int_equal(in_child(sync_on_a_full_disk, test_temp_path("full12")), 0);
}

static void moved_and_edited_files_keep_their_vectors(void **state)
{
    (void)state;
    struct store *s = open_store(test_temp_path("home8"));
    const char *root = test_temp_path("docs8"), *path = file_at("docs8", "a.md");
    struct buf text = {0};
    buf_puts(&text, "# Numbers\n");
    for (int i = 0; i < 10; i++) {
        buf_printf(&text, "\n## Part %d\n\nThe quick brown fox number %d jumps.\n", i, i);
    }
    test_write_file(path, text.data, text.len);
    struct sync_report r = expect(s, root, "+a.md ");
    int64_t n = r.n_chunks;
    assert_int_equal(n, 10);
    assert_int_equal(r.n_reused, 0);
    buf_puts(&text, "\n## Part 10\n\nThe lazy dog.\n");
    test_write_file(path, text.data, text.len);
    r = expect(s, root, "*a.md ");
    assert_int_equal(r.n_chunks, 11);
    assert_int_equal(r.n_reused, 10);
    assert_int_equal(rename(path, file_at("docs8", "sub/moved.md")), 0);
    r = expect(s, root, "+moved.md -a.md ");
    assert_int_equal(r.n_reused, 11);
    assert_int_equal(r.n_tokens, 0);
    assert_int_equal(n_documents(s), 1);
    buf_fini(&text);
    store_close(s);
}

static void other_models_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    struct sync_report r;
    struct engine *other = NULL;
    struct store *s = open_store(test_temp_path("home9"));
    write_text(file_at("docs9", "a.txt"), "The quick brown fox.");
    (void)expect(s, test_temp_path("docs9"), "+a.txt ");
    assert_ok_err(
        engine_open(test_source_path("tests/golden/data/tiny/bert-cls"), NULL, &other, &e), &e);
    const char *paths[] = {test_temp_path("docs9")};
    assert_status(sync_paths(s, other, paths, 1, NULL, &r, &e), ERR_MISMATCH);
    assert_int_equal(n_documents(s), 1);
    engine_close(other);
    store_close(s);
}

static int sync_for_ever(const char *base)
{
    struct err e = {0};
    struct sync_report r;
    struct buf home = {0}, docs = {0};
    buf_printf(&home, "%s/home", base);
    buf_printf(&docs, "%s/docs", base);
    open_own_engine();
    struct store *s = open_store(home.data);
    if (sync_quietly(s, docs.data, NULL, false, &r, &e)) {
        return 2;
    }
    store_close(s);
    return 0;
}

static void a_killed_sync_goes_on(void **state)
{
    (void)state;
    struct err e = {0};
    struct rng rng;
    rng_init(&rng, (uint64_t)wall_ns());
    many_files("kill10/docs", 300);
    int64_t before = 0;
    for (int round = 0; round < 8; round++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
            _exit(sync_for_ever(test_temp_path("kill10")));
        }
        long us = (long)(rng_unit(&rng) * 150000);
        (void)nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
        (void)kill(pid, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        struct store *s = open_store(test_temp_path("kill10/home"));
        assert_ok_err(store_verify(s, &e), &e);
        assert_true(n_documents(s) >= before);
        before = n_documents(s);
        store_close(s);
    }
    assert_int_equal(in_child(sync_for_ever, test_temp_path("kill10")), 0);
    struct store *s = open_store(test_temp_path("kill10/home"));
    assert_int_equal(n_documents(s), 300);
    struct sync_report r;
    assert_ok_err(sync_quietly(s, test_temp_path("kill10/docs"), NULL, false, &r, &e), &e);
    assert_int_equal(r.n_skipped, 300);
    store_close(s);
}

static int open_engine(void **state)
{
    (void)state;
    struct err e = {0};
    enum status st =
        engine_open(test_source_path("tests/golden/data/tiny/bert-mean"), NULL, &embedder, &e);
    if (st) {
        print_error("%s: %s\n", e.place, e.message);
    }
    return st ? -1 : 0;
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(embedder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_are_followed),
        cmocka_unit_test(long_documents_show_progress),
        cmocka_unit_test(passages_are_found_again),
        cmocka_unit_test(paths_inside_one_another),
        cmocka_unit_test(nothing_there_is_an_error),
        cmocka_unit_test(failures_are_kept_until_they_are_over),
        cmocka_unit_test(unreadable_folders_remove_nothing),
        cmocka_unit_test(cancelling_keeps_what_is_committed),
        cmocka_unit_test(trees_are_touched_and_removed_in_bulk),
        cmocka_unit_test(full_disks_end_a_sync_cleanly),
        cmocka_unit_test(moved_and_edited_files_keep_their_vectors),
        cmocka_unit_test(other_models_are_refused),
        cmocka_unit_test(a_killed_sync_goes_on),
    };
    return cmocka_run_group_tests_name("sync", tests, open_engine, close_engine);
}

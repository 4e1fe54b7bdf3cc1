/* Copies of packed weights on disk: the same bits with and without, and every way in which a file
 * of that name can be wrong: stale, cut off, damaged, another model's, no file at all. */
#include "common/gguf_writer.h"
#include "common/test.h"

#include "base/file.h"
#include "base/sys.h"
#include "model/model.h"
#include "model/packs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 40, COLS = 256, N_MATS = 3, MAX_COPIES = 8, PAGE = 4096 };
static const char *const names[N_MATS] = {"a", "b", "c"};

/* A folder of a test's own, and a file with three matrices in it. */
struct place {
    const char *dir, *file;
    struct packs_options opt;
};

static void write_weights(const char *path, uint64_t seed)
{
    struct gguf_writer g;
    gguf_writer_init(&g, seed);
    gguf_put_string(&g, "general.architecture", "none");
    for (int i = 0; i < N_MATS; i++) {
        gguf_add_random(&g, names[i], i == 1 ? TYPE_Q8_0 : TYPE_Q4_1, 2,
                        (int64_t[]){COLS, ROWS + i}, 1.0F);
    }
    gguf_write(&g, path);
    gguf_writer_fini(&g);
}

static struct arena paths; /* till the end of the program */

static struct place place_of(const char *name)
{
    struct err e = {0};
    const char *dir = arena_strdup(&paths, test_temp_path(name));
    assert_ok_err(file_mkdirs(dir, &e), &e);
    const char *file = arena_printf(&paths, "%s/w.gguf", dir);
    write_weights(file, 1);
    return (struct place){dir, file, {.dir = dir, .min_bytes = -1}};
}

/* The matrices, opened as a model would; what they hold goes to *bytes. */
static enum packed_copy use(const struct place *at, struct buf *bytes, char note[256])
{
    struct err e = {0};
    struct weights *w;
    struct team *team;
    struct packs *p;
    struct mat m[N_MATS] = {{0}};
    assert_ok_err(weights_open(at->file, &w, &e), &e);
    assert_ok_err(team_open(1, 1 << 16, &team, &e), &e);
    assert_ok_err(packs_open(w, MUL_DEFAULT, team, &at->opt, &p, &e), &e);
    for (int i = 0; i < N_MATS; i++) {
        const struct tensor *t = &weights_find(w, names[i])->t;
        assert_ok_err(mat_init_in(packs_home(p), &m[i], &t, 1, MUL_DEFAULT, &e), &e);
        buf_put(bytes, m[i].packed, m[i].packed_bytes);
    }
    packs_ready(p);
    struct packs_report r = packs_report(p);
    snprintf(note, 256, "%s", r.note ? r.note : "");
    for (int i = 0; i < N_MATS; i++) {
        mat_fini(&m[i]);
    }
    packs_close(p);
    team_close(team);
    weights_close(w);
    return r.copy;
}

static struct buf packed_bytes(const struct place *at)
{
    struct buf b = {0};
    struct place none = *at;
    char note[256];
    none.opt.dir = NULL;
    assert_int_equal(use(&none, &b, note), PACKED_NO_COPY);
    return b;
}

struct copies {
    char path[MAX_COPIES][256];
    int64_t bytes[MAX_COPIES];
    int n;
};

static enum status list_one(void *ctx, const char *path, int64_t bytes)
{
    struct copies *c = ctx;
    assert_in_range(c->n, 0, MAX_COPIES - 1);
    snprintf(c->path[c->n], sizeof c->path[0], "%s", path);
    c->bytes[c->n++] = bytes;
    return OK;
}

static struct copies copies_in(const char *dir, const char *model)
{
    struct copies c = {.n = 0};
    struct err e = {0};
    assert_ok_err(packs_each(dir, model, list_one, &c, &e), &e);
    return c;
}

/* Opens and compares with packing; the note that came with it. */
static void expect(const struct place *at, enum packed_copy copy, const char *note)
{
    struct buf want = packed_bytes(at), got = {0};
    char said[256];
    assert_int_equal(use(at, &got, said), copy);
    assert_string_equal(said, note);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    buf_fini(&want);
    buf_fini(&got);
}

static void second_opening_uses_the_copy(void **state)
{
    (void)state;
    struct place at = place_of("twice");
    expect(&at, PACKED_NEW, "");
    struct copies c = copies_in(at.dir, at.file);
    assert_int_equal(c.n, 1);
    assert_memory_equal(c.path[0] + strlen(at.dir), "/w.gguf.", 8);
    struct stat st;
    assert_int_equal(stat(c.path[0], &st), 0);
    assert_int_equal(st.st_size, c.bytes[0]);
    expect(&at, PACKED_COPY, "");
    expect(&at, PACKED_COPY, "");
    assert_int_equal(copies_in(at.dir, test_source_path("LICENSE")).n, 0);
    assert_int_equal(copies_in("/nowhere", NULL).n, 0);
}

/* Does this address belong to a file? */
static bool in_a_file(const void *address)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    bool yes = false;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        uintptr_t from, to;
        assert_int_equal(sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to), 2);
        yes = yes || (from <= (uintptr_t)address && (uintptr_t)address < to &&
                      strstr(line, ".hearth-packed"));
    }
    fclose(f);
    return yes;
}

static void huge_pages_take_the_place_of_the_file(void **state)
{
    (void)state;
    struct err e = {0};
    struct place at = place_of("huge");
    struct gguf_writer g;
    gguf_writer_init(&g, 5);
    gguf_put_string(&g, "general.architecture", "none");
    gguf_add_random(&g, "a", TYPE_Q8_0, 2, (int64_t[]){4096, 2048}, 1.0F);
    gguf_write(&g, at.file);
    gguf_writer_fini(&g);
    struct buf first = {0};
    for (int pass = 0; pass < 2; pass++) {
        struct weights *w;
        struct team *team;
        struct packs *p;
        struct mat m = {0};
        assert_ok_err(weights_open(at.file, &w, &e), &e);
        assert_ok_err(team_open(1, 1 << 16, &team, &e), &e);
        assert_ok_err(packs_open(w, MUL_DEFAULT, team, &at.opt, &p, &e), &e);
        const struct tensor *t = &weights_find(w, "a")->t;
        assert_ok_err(mat_init_in(packs_home(p), &m, &t, 1, MUL_DEFAULT, &e), &e);
        packs_ready(p);
        const uint8_t *middle = (const uint8_t *)m.packed + m.packed_bytes / 2;
        assert_int_equal(packs_report(p).copy, pass ? PACKED_COPY : PACKED_NEW);
        assert_int_equal(in_a_file(middle), pass);
        packs_settle(p);
        assert_int_equal(in_a_file(middle), pass && !sys_huge_pages());
        if (pass) {
            assert_int_equal(m.packed_bytes, first.len);
            assert_memory_equal(m.packed, first.data, first.len);
        } else {
            buf_put(&first, m.packed, m.packed_bytes);
        }
        mat_fini(&m);
        packs_close(p);
        team_close(team);
        weights_close(w);
    }
    buf_fini(&first);
}

static void a_small_model_has_none(void **state)
{
    (void)state;
    struct place at = place_of("small");
    at.opt.min_bytes = 0;
    expect(&at, PACKED_NO_COPY, "a model this small is packed as fast as its copy is read");
    assert_int_equal(copies_in(at.dir, NULL).n, 0);
}

/* Another file of the same name: other content, or the same content written again. */
static void a_changed_model_has_a_new_copy(void **state)
{
    (void)state;
    struct place at = place_of("changed");
    expect(&at, PACKED_NEW, "");
    struct copies before = copies_in(at.dir, NULL);
    struct stat st;
    assert_int_equal(stat(at.file, &st), 0);
    write_weights(at.file, 2);
    const struct timespec same[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, at.file, same, 0), 0); /* content alone tells */
    expect(&at, PACKED_NEW, "");
    struct copies after = copies_in(at.dir, NULL);
    assert_int_equal(after.n, 1);
    assert_string_not_equal(after.path[0], before.path[0]);
    expect(&at, PACKED_COPY, "");
    const struct timespec later[2] = {st.st_atim, {st.st_mtim.tv_sec + 1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, at.file, later, 0), 0);
    expect(&at, PACKED_NEW, "");
    assert_int_equal(copies_in(at.dir, NULL).n, 1);
}

static void patch(const char *path, int64_t at, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void wrong_files_are_made_anew(void **state)
{
    (void)state;
    struct place at = place_of("wrong"), other = place_of("other");
    expect(&at, PACKED_NEW, "");
    write_weights(other.file, 3);
    expect(&other, PACKED_NEW, "");
    struct copies c = copies_in(at.dir, NULL), o = copies_in(other.dir, NULL);
    const char *path = c.path[0];
    static const char cut[] = "the packed copy was cut off and is made anew";
    static const char damaged[] = "the packed copy was damaged and is made anew";
    const int64_t sizes[] = {0, 1, 1023, 1024, 1100, PAGE - 1, PAGE, c.bytes[0] - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        expect(&at, PACKED_NEW, cut);
        expect(&at, PACKED_COPY, "");
    }
    const int64_t places[] = {
        12, 32, 100, 160, 200, 1024, 1024 + 8, 1024 + 48 * N_MATS - 12, 1024 + 48 * N_MATS - 4};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) { /* numbers, key, sum, table */
        patch(path, places[i], "\xff\xff\xff\x7f", 4);
        expect(&at, PACKED_NEW, places[i] == 12 ? cut : damaged);
        expect(&at, PACKED_COPY, "");
    }
    patch(path, 0, "XPACKED", 8);
    expect(&at, PACKED_NEW, "the packed copy was of another version and is made anew");
    patch(path, 8, "\x01", 1);
    expect(&at, PACKED_NEW, "the packed copy was of another version and is made anew");
    assert_int_equal(rename(o.path[0], path), 0);
    expect(&at, PACKED_NEW, "the packed copy was of another model and is made anew");
    expect(&at, PACKED_COPY, "");
    assert_int_equal(copies_in(at.dir, NULL).n, 1);
}

/* One bit in the weights of each matrix, at its beginning, in its middle and at its end: the
 * opening takes the copy, the check that follows removes it. */
static void a_damaged_byte_is_noticed(void **state)
{
    (void)state;
    struct place at = place_of("bit");
    struct err e = {0};
    expect(&at, PACKED_NEW, "");
    for (int i = 0; i <= 3 * N_MATS; i++) {
        struct copies c = copies_in(at.dir, NULL);
        assert_int_equal(c.n, 1);
        struct packs_row rows[N_MATS];
        int fd = open(c.path[0], O_RDWR);
        assert_int_equal(pread(fd, rows, sizeof rows, 1024), (ssize_t)sizeof rows);
        if (i < 3 * N_MATS) { /* at last nothing is wrong */
            const struct packs_row *r = &rows[i / 3];
            off_t place = (off_t)(r->offset + (r->bytes - 1) * (uint64_t)(i % 3) / 2);
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, place), 1);
            byte ^= 0x80;
            assert_int_equal(pwrite(fd, &byte, 1, place), 1);
        }
        close(fd);
        struct weights *w;
        struct team *team;
        struct packs *p;
        assert_ok_err(weights_open(at.file, &w, &e), &e);
        assert_ok_err(team_open(1, 1 << 16, &team, &e), &e);
        assert_ok_err(packs_open(w, MUL_DEFAULT, team, &at.opt, &p, &e), &e);
        packs_settle(p);
        const char *note = packs_report(p).note;
        if (i < 3 * N_MATS) {
            assert_string_equal(note,
                                "the packed copy is damaged: it was removed, open the model anew");
        } else {
            assert_null(note);
        }
        packs_close(p);
        team_close(team);
        weights_close(w);
        assert_int_equal(copies_in(at.dir, NULL).n, i == 3 * N_MATS);
        expect(&at, i < 3 * N_MATS ? PACKED_NEW : PACKED_COPY, "");
    }
}

static void a_place_that_cannot_be_written_is_a_note(void **state)
{
    (void)state;
    struct place at = place_of("note");
    at.opt.dir = arena_printf(&paths, "%s/below", at.file); /* below a file there is no folder */
    expect(&at, PACKED_NEW, "");
    expect(&at, PACKED_NEW, "");
    at.opt.dir = "/dev/full";
    expect(&at, PACKED_NEW, "");
    /* A folder where the file should be: nothing to map, nothing to replace. */
    struct place taken = place_of("taken");
    expect(&taken, PACKED_NEW, "");
    struct copies c = copies_in(taken.dir, NULL);
    assert_int_equal(unlink(c.path[0]), 0);
    assert_int_equal(mkdir(c.path[0], 0700), 0);
    struct buf got = {0};
    char said[256];
    assert_int_equal(use(&taken, &got, said), PACKED_NEW);
    assert_memory_equal(said, "the packed copy cannot be read", 30);
    buf_fini(&got);
    assert_int_equal(copies_in(taken.dir, NULL).n, 0);
    assert_int_equal(rmdir(c.path[0]), 0);
}

static void the_longest_unused_go_first(void **state)
{
    (void)state;
    struct place at = place_of("bound");
    struct place p[3] = {at, at, at};
    const char *files[3];
    int64_t each = 0;
    for (int i = 0; i < 3; i++) {
        files[i] = arena_printf(&paths, "%s/%d.gguf", at.dir, i);
        p[i].file = files[i];
        write_weights(files[i], 10 + (uint64_t)i);
    }
    expect(&p[0], PACKED_NEW, "");
    expect(&p[1], PACKED_NEW, "");
    each = copies_in(at.dir, files[0]).bytes[0];
    for (int i = 0; i < 2; i++) { /* the first is older, then it is used */
        const struct timespec old[2] = {{1000 + i, 0}, {1000 + i, 0}};
        assert_int_equal(utimensat(AT_FDCWD, copies_in(at.dir, files[i]).path[0], old, 0), 0);
    }
    expect(&p[0], PACKED_COPY, "");
    p[2].opt.max_bytes = 2 * each;
    expect(&p[2], PACKED_NEW, "");
    assert_int_equal(copies_in(at.dir, files[0]).n, 1);
    assert_int_equal(copies_in(at.dir, files[1]).n, 0);
    assert_int_equal(copies_in(at.dir, files[2]).n, 1);
    p[1].opt.max_bytes = each - 1; /* nothing is removed for one that cannot fit */
    expect(&p[1], PACKED_NEW, "");
    assert_int_equal(copies_in(at.dir, NULL).n, 2);
    p[1].opt.max_bytes = each;
    expect(&p[1], PACKED_NEW, "");
    struct copies left = copies_in(at.dir, NULL);
    assert_int_equal(left.n, 1);
    expect(&p[1], PACKED_COPY, "");
}

static void left_over_files_go(void **state)
{
    (void)state;
    struct place at = place_of("left");
    const char *old = arena_printf(&paths, "%s/x.1.hearth-packed-part", at.dir);
    const char *young = arena_printf(&paths, "%s/x.2.hearth-packed-part", at.dir);
    test_write_file(old, "x", 1);
    test_write_file(young, "x", 1);
    const struct timespec past[2] = {{1000, 0}, {1000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, old, past, 0), 0);
    expect(&at, PACKED_NEW, "");
    assert_false(file_exists(old));
    assert_true(file_exists(young));
}

static void *use_once(void *arg)
{
    struct buf b = {0};
    char note[256];
    (void)use(arg, &b, note);
    buf_fini(&b);
    return NULL;
}

/* Writers at once, one of them to a name that the others use, leave one whole file. */
static void writers_at_once(void **state)
{
    (void)state;
    struct place at = place_of("race");
    for (int round = 0; round < 5; round++) {
        pthread_t t[4];
        for (int i = 0; i < 4; i++) {
            assert_int_equal(pthread_create(&t[i], NULL, use_once, &at), 0);
        }
        for (int i = 0; i < 4; i++) {
            assert_int_equal(pthread_join(t[i], NULL), 0);
        }
        struct copies c = copies_in(at.dir, NULL);
        assert_int_equal(c.n, 1);
        expect(&at, PACKED_COPY, "");
        assert_int_equal(unlink(c.path[0]), 0);
    }
}

/* Whole models: the same logits, or embeddings, to the last bit. */
static void results_are_the_same(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "qwen3", "bert-mean"};
    const int32_t ids[] = {5, 9, 11, 7, 30, 12}, *texts[] = {ids};
    const int64_t lens[] = {6};
    for (int k = 0; k < 3; k++) {
        char path[128];
        snprintf(path, sizeof path, "tests/golden/data/tiny/%s", models[k]);
        float *out[2];
        size_t n = 0;
        for (int pass = 0; pass < 2; pass++) {
            struct err e = {0};
            struct model *m;
            struct model_options opt = {
                .n_threads = 2, .packed_dir = test_temp_path("models"), .packed_min_bytes = -1};
            assert_ok_err(model_open(test_source_path(path), &opt, &m, &e), &e);
            assert_int_equal(model_opening(m).copy, pass ? PACKED_COPY : PACKED_NEW);
            const struct model_info *mi = model_info(m);
            n = k == 2 ? (size_t)mi->d_model : (size_t)mi->n_vocab;
            out[pass] = calloc(n, sizeof *out[pass]);
            if (k == 2) {
                assert_ok_err(model_embed(m, texts, lens, 1, POOL_MEAN, true, out[pass], &e), &e);
            } else {
                struct kv *kv;
                int32_t seq;
                assert_ok_err(kv_open(m, 64, TYPE_F16, &kv, &e), &e);
                assert_ok_err(kv_seq_new(kv, &seq, &e), &e);
                struct model_run run = {.seq = seq, .ids = ids, .n_ids = 6};
                assert_ok_err(model_forward(m, kv, &run, 1, out[pass], NULL, &e), &e);
                kv_close(kv);
            }
            model_close(m);
        }
        assert_memory_equal(out[0], out[1], n * sizeof *out[0]);
        free(out[0]);
        free(out[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_opening_uses_the_copy),
        cmocka_unit_test(huge_pages_take_the_place_of_the_file),
        cmocka_unit_test(a_small_model_has_none),
        cmocka_unit_test(a_changed_model_has_a_new_copy),
        cmocka_unit_test(wrong_files_are_made_anew),
        cmocka_unit_test(a_damaged_byte_is_noticed),
        cmocka_unit_test(a_place_that_cannot_be_written_is_a_note),
        cmocka_unit_test(the_longest_unused_go_first),
        cmocka_unit_test(left_over_files_go),
        cmocka_unit_test(writers_at_once),
        cmocka_unit_test(results_are_the_same),
    };
    return cmocka_run_group_tests_name("packs", tests, NULL, NULL);
}

/* Packed weights on disk: see packs.h.
 *
 * Rejected: packing straight into the mapped file (a full disk is a SIGBUS, and 4 KiB faults on a
 * file that is being written cost more than the copy); reading the file into memory of our own
 * (costs what packing costs); writing before the first answer. */
#include "model/packs.h"

#include "base/file.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char MAGIC[8] = "HPACKED";
static const char SUFFIX[] = ".hearth-packed", TEMPORARY[] = ".hearth-packed-part";

enum {
    VERSION = 2,
    ALIGN = 64,
    MAX_MATS = 1 << 20,
    MIN_BYTES = 16 << 20,
    SAMPLE_BYTES = 64,
    CHUNK_BYTES = 8 << 20,  /* written or paged in between looks at `closing` */
    FINISH_BYTES = 1 << 30, /* what a closing process still writes */
    KEEP_FREE = 1 << 30,    /* of the disk */
    WAIT_SECONDS = 3,
    HUGE_PAGE = 2 << 20,
    HUGE_AFTER_SECONDS = 1, /* a process that ends before that has no use for huge pages */
    HUGE_NICE = 19,
    LEFT_OVER_SECONDS = 3600 /* a temporary file this old has nobody who writes it */
};

struct file_head {
    char magic[8];
    uint32_t version, n_mats;
    uint64_t file_bytes;
    char key[64], sum[64]; /* hexadecimal; sum is taken with itself as zeros */
    uint64_t mode;         /* of the model; the matrices have their own */
    char model[864];       /* path, NUL-terminated */
};
_Static_assert(sizeof(struct file_head) == 1024 && sizeof(struct packs_row) == 48,
               "the layout of the file");

/* A matrix that was taken. */
struct taken {
    void *at;
    bool mapped;
    struct packs_row row; /* offset: in the file to be written */
};

struct packs {
    struct mat_home home; /* first: the mats know it by this */
    struct arena arena;
    struct packs_options opt;
    enum mul_mode mode;
    const char *model; /* absolute path */
    char key[SHA256_HEX];
    const char *path; /* of the copy; NULL: none is wanted */
    struct file_map map;
    const struct packs_row *table;
    uint32_t n_table;
    bool mismatch; /* the copy has not what the model wants */
    struct taken *mats;
    size_t n_mats, cap_mats;
    char note[256];
    pthread_t writer, pager;
    bool has_writer, has_pager, has_lock;
    pthread_mutex_t lock; /* of `closing`, `hurry` and, while there is a writer, `note` */
    pthread_cond_t wake;
    bool closing, hurry;
};

static void say(struct packs *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct packs *p, const char *fmt, ...)
{
    va_list ap;
    (void)pthread_mutex_lock(&p->lock);
    va_start(ap, fmt);
    (void)vsnprintf(p->note, sizeof p->note, fmt, ap);
    va_end(ap);
    (void)pthread_mutex_unlock(&p->lock);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The key. */

static void put_samples(struct buf *b, const struct named_tensor *t)
{
    const uint8_t *data = t->t.data;
    size_t n = tensor_bytes(&t->t), part = n < SAMPLE_BYTES ? n : SAMPLE_BYTES;
    buf_printf(b, "%s %d %lld %lld %lld %lld\n", t->name, (int)t->t.type, (long long)t->t.ne[0],
               (long long)t->t.ne[1], (long long)t->t.ne[2], (long long)t->t.ne[3]);
    buf_put(b, data, part);
    buf_put(b, data + (n - part) / 2, part);
    buf_put(b, data + n - part, part);
}

static void put_stamp(struct buf *b, const char *file)
{
    struct stat st;
    if (stat(file, &st) == 0) {
        buf_printf(b, "%lld %lld.%09ld\n", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                   st.st_mtim.tv_nsec);
    }
}

/* What packing makes of fixed rows of this type. */
static void put_signature(struct buf *b, enum tensor_type type, enum mul_mode mode,
                          struct team *team)
{
    enum { ROWS = 17, COLS = 512 };
    uint8_t pattern[ROWS * COLS * 4];
    struct tensor t = {.data = pattern, .type = type, .n_dims = 2, .ne = {COLS, ROWS, 1, 1}};
    const struct tensor *one = &t;
    struct mat m = {0};
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof pattern; i++) {
        x = x * 1664525 + 1013904223;
        pattern[i] = (uint8_t)(x >> 24 & 0x3f); /* no infinities among halves and floats */
    }
    if (mat_init(&m, &one, 1, mode, team, NULL) == OK) {
        char sum[SHA256_HEX];
        sha256_hex(m.packed ? m.packed : "", m.packed ? m.packed_bytes : 0, sum);
        buf_printf(b, "%d %d %s\n", (int)type, (int)mode, sum);
    }
    mat_fini(&m);
}

static enum status make_key(struct packs *p, const struct weights *w, enum mul_mode mode,
                            struct err *e)
{
    bool seen[TYPE_COUNT] = {false};
    const char *file = NULL;
    struct buf b = {0};
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct named_tensor *t = weights_at(w, i);
        put_samples(&b, t);
        if (!file || strcmp(file, t->file) != 0) {
            file = t->file;
            put_stamp(&b, file);
        }
        if (t->t.ne[1] > 1 && !seen[t->t.type]) {
            seen[t->t.type] = true;
            put_signature(&b, t->t.type, mode, p->home.team);
            put_signature(&b, t->t.type, MUL_FINE, p->home.team);
        }
    }
    buf_printf(&b, "%d %d", VERSION, (int)mode);
    bool failed = b.failed;
    if (!failed) {
        sha256_hex(b.data, b.len, p->key);
    }
    buf_fini(&b);
    return failed ? err_set(e, ERR_MEMORY, NULL, "no memory for the model's tables") : OK;
}

/* Finding and checking a copy. */

static void head_sum(const struct file_head *h, const struct packs_row *table, char out[SHA256_HEX])
{
    struct buf b = {0};
    struct file_head plain = *h;
    memset(plain.sum, 0, sizeof plain.sum);
    buf_put(&b, &plain, sizeof plain);
    buf_put(&b, table, h->n_mats * sizeof *table);
    sha256_hex(b.failed ? "" : b.data, b.failed ? 0 : b.len, out);
    buf_fini(&b);
}

static size_t data_begin(uint64_t n_mats)
{
    size_t n = sizeof(struct file_head) + n_mats * sizeof(struct packs_row);
    return (n + 4095) & ~(size_t)4095;
}

/* The rows follow each other, aligned, inside the file. */
static bool rows_fit(const struct packs_row *rows, uint32_t n, size_t size)
{
    uint64_t end = data_begin(n);
    for (uint32_t i = 0; i < n; i++) {
        const struct packs_row *r = &rows[i];
        if (r->offset % ALIGN || r->offset < end || r->offset > size ||
            r->bytes > size - r->offset) {
            return false;
        }
        end = r->offset + r->bytes;
    }
    return true;
}

const char *packs_check(const uint8_t *data, size_t size, const char *key, struct arena *arena,
                        const struct packs_row **rows, uint32_t *n_rows)
{
    struct file_head h;
    if (size < sizeof h) {
        return "cut off";
    }
    memcpy(&h, data, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.version != VERSION) {
        return "of another version";
    }
    if (h.file_bytes != size || h.n_mats > MAX_MATS || data_begin(h.n_mats) > size) {
        return "cut off";
    }
    struct packs_row *table = arena_array(arena, h.n_mats + 1, sizeof *table);
    if (!table) {
        return "too large";
    }
    memcpy(table, data + sizeof h, h.n_mats * sizeof *table);
    char sum[SHA256_HEX];
    head_sum(&h, table, sum);
    if (memcmp(h.sum, sum, sizeof h.sum) != 0 || !rows_fit(table, h.n_mats, size)) {
        return "damaged";
    }
    if (memcmp(h.key, key, sizeof h.key) != 0) {
        return "of another model";
    }
    *rows = table;
    *n_rows = h.n_mats;
    return NULL;
}

static uint64_t mixed(uint64_t h, uint64_t v)
{
    h ^= v;
    return (h << 29 | h >> 35) * 0x9e3779b97f4a7c15u; /* odd: nothing is lost */
}

/* Eight chains side by side, so that it goes as fast as memory. */
uint64_t packs_sum(uint64_t sum, const uint8_t *data, size_t n)
{
    enum { LANES = 8 };
    uint64_t h[LANES], v[LANES] = {0};
    for (uint64_t i = 0; i < LANES; i++) {
        h[i] = i;
    }
    for (; n >= sizeof v; n -= sizeof v, data += sizeof v) {
        memcpy(v, data, sizeof v);
        for (size_t i = 0; i < LANES; i++) {
            h[i] = mixed(h[i], v[i]);
        }
    }
    memset(v, 0, sizeof v);
    memcpy(v, data, n);
    for (size_t i = 0; i < LANES; i++) {
        sum = mixed(sum, mixed(h[i], v[i]));
    }
    return sum;
}

/* Of one matrix; *stopped: there was no time. */
static uint64_t sum_of(const uint8_t *data, uint64_t bytes, bool (*stop)(struct packs *p),
                       struct packs *p, bool *stopped)
{
    uint64_t sum = 0;
    for (size_t n; bytes && !*stopped; bytes -= n, data += n) {
        n = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
        sum = packs_sum(sum, data, n);
        *stopped = stop && stop(p);
    }
    return sum;
}

static bool is_closing(struct packs *p)
{
    (void)pthread_mutex_lock(&p->lock);
    bool closing = p->closing;
    (void)pthread_mutex_unlock(&p->lock);
    return closing;
}

/* Until `closing`, or what else is waited for, or so many seconds have passed. */
static void sleep_until(struct packs *p, const bool *what, int seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    (void)pthread_mutex_lock(&p->lock);
    while (!p->closing && !*what &&
           pthread_cond_timedwait(&p->wake, &p->lock, &until) != ETIMEDOUT) {
    }
    (void)pthread_mutex_unlock(&p->lock);
}

static uint8_t *huge_begin(uint8_t *p)
{
    return (uint8_t *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
}

/* n bytes of memory that may become huge pages; NULL: none. */
static uint8_t *huge_new(size_t n)
{
    uint8_t *raw =
        mmap(NULL, n + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        return NULL;
    }
    uint8_t *at = huge_begin(raw);
    if (at > raw) {
        (void)munmap(raw, (size_t)(at - raw));
    }
    (void)munmap(at + n, (size_t)(raw + HUGE_PAGE - at));
    (void)madvise(at, n, MADV_HUGEPAGE);
    return at;
}

/* Replaces the mapped file by memory in huge pages, under the eyes of those who compute with it:
 * the bytes are the same before and after, and mremap() exchanges the pages in one step, so that
 * nobody has to wait or to learn another address. Decoding from 4 KiB pages was 7 % slower for the
 * 1B shape in Q4_0 (31.7 for 34.1 tokens/s), 3 % for SmolLM2. Not done where the memory would be
 * missed, or where the machine gives no huge pages. */
static void to_huge_pages(struct packs *p)
{
    uint8_t *data = (uint8_t *)(uintptr_t)p->map.data, *end = data + p->map.size;
    if (!sys_huge_pages() || sys_memory_available() < 2 * (int64_t)p->map.size + KEEP_FREE) {
        return;
    }
    uint8_t *at = huge_begin(data);
    for (size_t n; end - at >= HUGE_PAGE && !is_closing(p); at += n) {
        n = (size_t)(end - at) / HUGE_PAGE * HUGE_PAGE;
        n = n < CHUNK_BYTES ? n : CHUNK_BYTES;
        uint8_t *from = huge_new(n);
        if (!from) {
            return;
        }
        memcpy(from, at, n);
        if (mprotect(from, n, PROT_READ) != 0 ||
            mremap(from, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
            (void)munmap(from, n);
            return;
        }
    }
}

/* A copy that is damaged goes: what is open computes with it, the next opening packs anew. */
static void check_sums(struct packs *p)
{
    bool stopped = false;
    for (uint32_t i = 0; i < p->n_table; i++) {
        const struct packs_row *r = &p->table[i];
        uint64_t sum = sum_of(p->map.data + r->offset, r->bytes, is_closing, p, &stopped);
        if (stopped) {
            return;
        }
        if (sum != r->sum) {
            say(p, "the packed copy is damaged: it was removed, open the model anew");
            (void)unlink(p->path);
            return;
        }
    }
}

/* Of the calling thread. */
static void be_nice(int level)
{
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), level);
}

/* Maps the copy's pages while the model is still being opened. Without it the first pass takes a
 * fault for every 16 pages; it does not wait for this thread, which a cold disk may hold up. */
static void *page_in(void *arg)
{
#ifndef MADV_POPULATE_READ
    enum { MADV_POPULATE_READ = 22 }; /* Linux 5.14; older ones refuse it, which is as well */
#endif
    struct packs *p = arg;
    uint8_t *data = (uint8_t *)(uintptr_t)p->map.data;
    for (size_t at = 0, n; at < p->map.size && !is_closing(p); at += n) {
        n = p->map.size - at < CHUNK_BYTES ? p->map.size - at : CHUNK_BYTES;
        if (madvise(data + at, n, MADV_POPULATE_READ) != 0) {
            break;
        }
    }
    sleep_until(p, &p->hurry, HUGE_AFTER_SECONDS);
    (void)pthread_mutex_lock(&p->lock);
    bool hurry = p->hurry;
    (void)pthread_mutex_unlock(&p->lock);
    if (!hurry) { /* while others compute, in the pauses */
        be_nice(HUGE_NICE);
    }
    to_huge_pages(p);
    check_sums(p);
    return NULL;
}

static void find_copy(struct packs *p)
{
    struct err why = {0};
    struct file_map map;
    if (file_map_open(p->path, &map, &why)) {
        if (file_exists(p->path)) {
            say(p, "the packed copy cannot be read: %s", why.message);
        }
        return;
    }
    const char *wrong = packs_check(map.data, map.size, p->key, &p->arena, &p->table, &p->n_table);
    if (wrong) {
        say(p, "the packed copy was %s and is made anew", wrong);
        file_map_close(&map);
        return;
    }
    p->map = map;
    (void)madvise((void *)(uintptr_t)map.data, map.size, MADV_WILLNEED);
    p->has_pager = pthread_create(&p->pager, NULL, page_in, p) == 0;
    (void)utimensat(AT_FDCWD, p->path, NULL, 0); /* used now: see make_room */
}

static size_t packable_bytes(const struct weights *w)
{
    size_t n = 0;
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct tensor *t = &weights_at(w, i)->t;
        n += t->ne[1] > 1 ? tensor_bytes(t) : 0;
    }
    return n;
}

static bool wanted(struct packs *p, const struct weights *w, enum mul_mode mode)
{
    int64_t least = p->opt.min_bytes ? p->opt.min_bytes : MIN_BYTES;
    if (!p->opt.dir || mode == MUL_EXACT) {
        return false;
    }
    if ((int64_t)packable_bytes(w) < least) {
        say(p, "a model this small is packed as fast as its copy is read");
        return false;
    }
    return true;
}

static void *take(struct mat_home *home, const struct mat *m, size_t bytes, bool *filled)
{
    struct packs *p = (struct packs *)(void *)home;
    struct packs_row want = {.bytes = bytes,
                             .rows = m->rows,
                             .cols = m->cols,
                             .type = (uint32_t)m->type,
                             .mode = (uint32_t)m->mode};
    if (p->n_mats == p->cap_mats) {
        size_t cap = p->cap_mats ? p->cap_mats * 2 : 64;
        struct taken *mats = realloc(p->mats, cap * sizeof *mats);
        if (!mats) {
            return NULL;
        }
        p->mats = mats;
        p->cap_mats = cap;
    }
    void *at = NULL;
    if (p->n_mats < p->n_table && !p->mismatch) {
        const struct packs_row *found = &p->table[p->n_mats];
        want.offset = found->offset;
        want.sum = found->sum;
        at = memcmp(&want, found, sizeof want) == 0
                 ? (void *)(uintptr_t)(p->map.data + found->offset)
                 : NULL;
    }
    *filled = at != NULL;
    if (!at) {
        p->mismatch = true;
        at = mem_large(bytes, 1);
    }
    if (at) {
        p->mats[p->n_mats++] = (struct taken){at, *filled, want};
    }
    return at;
}

static enum status name_copy(struct packs *p, const struct weights *w, struct err *e)
{
    char *real = realpath(weights_path(w), NULL);
    p->model = arena_strdup(&p->arena, real ? real : weights_path(w));
    free(real);
    if (p->model) {
        p->path = arena_printf(&p->arena, "%s/%s.%.16s%s", p->opt.dir, base_name(p->model), p->key,
                               SUFFIX);
    }
    return p->path ? OK : err_set(e, ERR_MEMORY, NULL, "no memory for a name");
}

enum status packs_open(const struct weights *w, enum mul_mode mode, struct team *team,
                       const struct packs_options *opt, struct packs **out, struct err *e)
{
    struct packs *p = calloc(1, sizeof *p);
    if (!p) {
        return err_set(e, ERR_MEMORY, NULL, "no memory for the model's tables");
    }
    p->home = (struct mat_home){.team = team, .take = take};
    p->opt = *opt;
    p->mode = mode;
    p->has_lock = !pthread_mutex_init(&p->lock, NULL) && !pthread_cond_init(&p->wake, NULL);
    p->opt.dir = opt->dir ? arena_strdup(&p->arena, opt->dir) : NULL;
    enum status s = !p->has_lock || (opt->dir && !p->opt.dir)
                        ? err_set(e, ERR_MEMORY, NULL, "no memory for the model's tables")
                        : OK;
    if (!s && wanted(p, w, mode)) {
        s = make_key(p, w, mode, e);
        s = s ? s : name_copy(p, w, e);
        if (!s) {
            find_copy(p);
        }
    }
    if (s) {
        packs_close(p);
    } else {
        *out = p;
    }
    return s;
}

struct mat_home *packs_home(struct packs *p)
{
    return &p->home;
}

struct packs_report packs_report(struct packs *p)
{
    (void)pthread_mutex_lock(&p->lock);
    struct packs_report r = {.copy = !p->path                     ? PACKED_NO_COPY
                                     : p->n_table && !p->mismatch ? PACKED_COPY
                                                                  : PACKED_NEW,
                             .path = p->path,
                             .note = *p->note ? arena_strdup(&p->arena, p->note) : NULL};
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

/* The folder. */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static enum status each_file(const char *dir, const char *end,
                             enum status (*visit)(void *ctx, const char *path, int64_t bytes),
                             void *ctx)
{
    DIR *d = opendir(dir);
    enum status s = OK;
    struct buf path = {0};
    for (struct dirent *f; !s && d && (f = readdir(d));) {
        struct stat st;
        if (!ends_with(f->d_name, end)) {
            continue;
        }
        buf_reset(&path);
        buf_printf(&path, "%s/%s", dir, f->d_name);
        s = path.failed ? ERR_MEMORY : OK;
        if (!s && lstat(path.data, &st) == 0 && S_ISREG(st.st_mode)) {
            s = visit(ctx, path.data, st.st_size);
        }
    }
    if (d) {
        (void)closedir(d);
    }
    buf_fini(&path);
    return s;
}

/* Is this a copy of the model at `model`, of this mode (NULL: of any)? Its header says whose it is.
 */
static bool copy_of(const char *path, const char *model, const enum mul_mode *mode)
{
    struct file_head h = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok = fd >= 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h &&
              memcmp(h.magic, MAGIC, sizeof h.magic) == 0;
    if (fd >= 0) {
        close(fd);
    }
    h.model[sizeof h.model - 1] = 0;
    return ok && strcmp(h.model, model) == 0 && (!mode || h.mode == (uint64_t)*mode);
}

struct visit_model {
    const char *model;
    enum status (*visit)(void *ctx, const char *path, int64_t bytes);
    void *ctx;
};

static enum status visit_if_of(void *ctx, const char *path, int64_t bytes)
{
    struct visit_model *v = ctx;
    return !v->model || copy_of(path, v->model, NULL) ? v->visit(v->ctx, path, bytes) : OK;
}

enum status packs_each(const char *dir, const char *model_path,
                       enum status (*visit)(void *ctx, const char *path, int64_t bytes), void *ctx,
                       struct err *e)
{
    char *real = model_path ? realpath(model_path, NULL) : NULL;
    struct visit_model v = {model_path ? (real ? real : model_path) : NULL, visit, ctx};
    enum status s = each_file(dir, SUFFIX, visit_if_of, &v);
    free(real);
    return s == ERR_MEMORY ? err_set(e, s, dir, "no memory to list it") : s;
}

static enum status remove_left_over(void *ctx, const char *path, int64_t bytes)
{
    (void)ctx;
    (void)bytes;
    struct stat st;
    if (stat(path, &st) == 0 && time(NULL) - st.st_mtim.tv_sec > LEFT_OVER_SECONDS) {
        (void)unlink(path);
    }
    return OK;
}

/* Writing a copy. */

struct listed {
    char *path;
    int64_t bytes;
    struct timespec used;
};

struct listing {
    struct listed *items;
    size_t n;
    int64_t bytes;
};

static enum status list_copy(void *ctx, const char *path, int64_t bytes)
{
    struct listing *l = ctx;
    struct stat st;
    struct listed *items = realloc(l->items, (l->n + 1) * sizeof *items);
    if (!items) {
        return ERR_MEMORY;
    }
    l->items = items;
    char *copy = strdup(path);
    if (!copy || stat(path, &st) != 0) {
        free(copy);
        return copy ? OK : ERR_MEMORY;
    }
    l->items[l->n++] = (struct listed){copy, bytes, st.st_mtim};
    l->bytes += bytes;
    return OK;
}

static int by_use(const void *a, const void *b)
{
    const struct timespec *x = &((const struct listed *)a)->used;
    const struct timespec *y = &((const struct listed *)b)->used;
    return x->tv_sec != y->tv_sec     ? (x->tv_sec < y->tv_sec ? -1 : 1)
           : x->tv_nsec != y->tv_nsec ? (x->tv_nsec < y->tv_nsec ? -1 : 1)
                                      : 0;
}

static void listing_fini(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].path);
    }
    free(l->items);
}

/* Older copies of this model in this mode, which nothing will ask for again. */
static enum status remove_own(struct packs *p)
{
    struct listing own = {0};
    enum status s = packs_each(p->opt.dir, p->model, list_copy, &own, NULL);
    for (size_t i = 0; i < own.n; i++) {
        if (strcmp(own.items[i].path, p->path) != 0 &&
            copy_of(own.items[i].path, p->model, &p->mode)) {
            (void)unlink(own.items[i].path);
        }
    }
    listing_fini(&own);
    return s;
}

/* The longest unused of all copies, until `bytes` fit into the limit. */
static enum status remove_unused(struct packs *p, int64_t bytes)
{
    struct listing all = {0};
    enum status s = packs_each(p->opt.dir, NULL, list_copy, &all, NULL);
    if (all.n) {
        qsort(all.items, all.n, sizeof *all.items, by_use);
    }
    for (size_t i = 0; i < all.n; i++) { /* one that will be replaced makes room in any case */
        if (strcmp(all.items[i].path, p->path) == 0) {
            all.bytes -= all.items[i].bytes;
            all.items[i].bytes = -1;
        }
    }
    for (size_t i = 0; i < all.n && all.bytes > p->opt.max_bytes - bytes; i++) {
        if (all.items[i].bytes >= 0 && unlink(all.items[i].path) == 0) {
            all.bytes -= all.items[i].bytes;
        }
    }
    listing_fini(&all);
    return s;
}

static bool make_room(struct packs *p, int64_t bytes)
{
    int64_t max = p->opt.max_bytes;
    if (max && bytes > max) {
        say(p, "no packed copy: it takes %lld MB, the limit is %lld", (long long)(bytes >> 20),
            (long long)(max >> 20));
        return false;
    }
    if (each_file(p->opt.dir, TEMPORARY, remove_left_over, NULL) || remove_own(p) ||
        (max && remove_unused(p, bytes))) {
        say(p, "no packed copy: no memory to list the folder");
        return false;
    }
    struct statvfs disk;
    if (statvfs(p->opt.dir, &disk) == 0 &&
        (int64_t)(disk.f_bavail * disk.f_frsize) < bytes + KEEP_FREE) {
        say(p, "no packed copy: the disk has less than %lld MB to spare",
            (long long)((bytes + KEEP_FREE) >> 20));
        return false;
    }
    return true;
}

/* n bytes at `at`; false: no room, or no time left (`still` bytes are to come, these included). */
static bool put(struct packs *p, int fd, const void *data, size_t n, uint64_t at, uint64_t still)
{
    const char *from = data;
    while (n) {
        if (still > FINISH_BYTES && is_closing(p)) {
            say(p, "no packed copy yet: there was no time to write it");
            return false;
        }
        ssize_t k = pwrite(fd, from, n < CHUNK_BYTES ? n : CHUNK_BYTES, (off_t)at);
        if (k < 0 && errno == EINTR) {
            continue;
        }
        if (k <= 0) {
            say(p, "the packed copy could not be written: %s", strerror(errno));
            return false;
        }
        from += k;
        n -= (size_t)k;
        at += (uint64_t)k;
        still -= (uint64_t)k;
    }
    return true;
}

static bool put_copy(struct packs *p, int fd, uint64_t bytes)
{
    struct file_head h = {.version = VERSION,
                          .n_mats = (uint32_t)p->n_mats,
                          .file_bytes = bytes,
                          .mode = (uint64_t)p->mode};
    struct packs_row *table = calloc(p->n_mats + 1, sizeof *table);
    char sum[SHA256_HEX];
    bool ok = table != NULL;
    for (size_t i = 0; ok && i < p->n_mats; i++) {
        bool stopped = false;
        table[i] = p->mats[i].row;
        table[i].sum = sum_of(p->mats[i].at, table[i].bytes, NULL, p, &stopped);
    }
    if (ok) {
        memcpy(h.magic, MAGIC, sizeof h.magic);
        memcpy(h.key, p->key, sizeof h.key);
        (void)snprintf(h.model, sizeof h.model, "%s", p->model);
        head_sum(&h, table, sum);
        memcpy(h.sum, sum, sizeof h.sum);
        ok = ftruncate(fd, (off_t)bytes) == 0 && put(p, fd, &h, sizeof h, 0, bytes) &&
             put(p, fd, table, p->n_mats * sizeof *table, sizeof h, bytes);
    }
    for (size_t i = 0; ok && i < p->n_mats; i++) {
        uint64_t at = table[i].offset;
        ok = put(p, fd, p->mats[i].at, table[i].bytes, at, bytes - at);
    }
    free(table);
    return ok;
}

/* Places for the matrices; the size of the file. */
static uint64_t lay_out(struct packs *p)
{
    uint64_t at = data_begin(p->n_mats);
    for (size_t i = 0; i < p->n_mats; i++) {
        p->mats[i].row.offset = at;
        at += (p->mats[i].row.bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
    }
    return at;
}

static void write_copy(struct packs *p)
{
    struct err why = {0};
    struct stat st;
    uint64_t bytes = lay_out(p);
    if (file_mkdirs(p->opt.dir, &why)) {
        say(p, "no packed copy: %s: %s", why.place, why.message);
        return;
    }
    if (!make_room(p, (int64_t)bytes)) {
        return;
    }
    struct buf name = {0};
    buf_printf(&name, "%s.%ld%s", p->path, (long)getpid(), TEMPORARY);
    mode_t mode = stat(p->model, &st) == 0 ? st.st_mode & 0666 : 0600; /* who may read the model */
    int fd = name.failed ? -1 : open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        say(p, "no packed copy: %s", name.failed ? "no memory" : strerror(errno));
        buf_fini(&name);
        return;
    }
    bool ok = put_copy(p, fd, bytes);
    if (ok && fsync(fd) != 0) {
        say(p, "the packed copy could not be written: %s", strerror(errno));
        ok = false;
    }
    ok = close(fd) == 0 && ok;
    if (!ok || rename(name.data, p->path) != 0) {
        (void)unlink(name.data);
    }
    buf_fini(&name);
}

static void *writer_main(void *arg)
{
    struct packs *p = arg;
    be_nice(HUGE_NICE);
    sleep_until(p, &p->closing, WAIT_SECONDS);
    write_copy(p);
    return NULL;
}

void packs_ready(struct packs *p)
{
    if (p->path && p->n_mats && (p->mismatch || p->n_mats != p->n_table)) {
        p->mismatch = true;
        p->has_writer = pthread_create(&p->writer, NULL, writer_main, p) == 0;
    }
}

void packs_settle(struct packs *p)
{
    if (p && p->has_pager) {
        (void)pthread_mutex_lock(&p->lock);
        p->hurry = true;
        (void)pthread_cond_broadcast(&p->wake);
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->pager, NULL);
        p->has_pager = false;
    }
}

void packs_close(struct packs *p)
{
    if (!p) {
        return;
    }
    if (p->has_lock) {
        (void)pthread_mutex_lock(&p->lock);
        p->closing = true;
        (void)pthread_cond_broadcast(&p->wake);
        (void)pthread_mutex_unlock(&p->lock);
    }
    if (p->has_writer) {
        (void)pthread_join(p->writer, NULL);
    }
    if (p->has_pager) {
        (void)pthread_join(p->pager, NULL);
    }
    for (size_t i = 0; i < p->n_mats; i++) {
        if (!p->mats[i].mapped) {
            mem_large_free(p->mats[i].at);
        }
    }
    free(p->mats);
    file_map_close(&p->map);
    if (p->has_lock) {
        (void)pthread_cond_destroy(&p->wake);
        (void)pthread_mutex_destroy(&p->lock);
    }
    arena_reset(&p->arena);
    free(p);
}

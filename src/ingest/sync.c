/* Sync: see sync.h. One pass over the files in order:
 *
 *   decide (known? same time? same bytes?) -> extract -> chunk -> pending -> flush
 *
 * Pending documents are embedded together, because the model is fastest on many texts at once, and
 * committed together, because a commit waits for the disk. A flush comes at BATCH_CHUNKS chunks, so
 * little is lost by a kill.
 *
 * All in one thread: the model uses every core, and on pages of Markdown and HTML extracting and
 * chunking took 0.4 % of the time of embedding. (Alternative: extracting the next files meanwhile;
 * a queue and a second owner of the plan for nothing that can be measured.) */
#include "ingest/sync_internal.h"

#include "base/file.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BATCH_CHUNKS = 64,
    BATCH_DOCUMENTS = 64,
    EMBED_TEXTS = 64,  /* per call of the engine: how long ctrl-C may have to wait */
    BATCH_SMALL = 256, /* removals, or files with other times, per transaction */
    HEAD_BYTES = 4096,
    HASH_CHARS = 32 /* 128 bits of the SHA-256 of what is embedded */
};
static const int64_t MAX_FILE_BYTES = 256ll << 20;
static const size_t MAX_DOCUMENT_BYTES = 2ull << 30; /* of memory, for one document */
static const size_t BATCH_TEXT_BYTES = 16u << 20;

const char *sync_action_name(enum sync_action a)
{
    static const char *const names[] = {
        [SYNC_ADDED] = "added",     [SYNC_CHANGED] = "changed", [SYNC_SKIPPED] = "skipped",
        [SYNC_REMOVED] = "removed", [SYNC_FAILED] = "failed",   [SYNC_IGNORED] = "ignored"};
    return (size_t)a < sizeof names / sizeof *names ? names[a] : "?";
}

/* A document that is extracted and chunked, but not yet stored. */
struct pending {
    struct arena arena;
    const struct listed *file;
    const struct known *known; /* NULL: new */
    struct extracted x;
    struct chunk *chunks;
    size_t n_chunks;
    const char **texts; /* what is embedded, per chunk */
    size_t *lens;
    float *vectors; /* [n_chunks][dim] */
    const char *title;
    char sha256[SHA256_HEX];
};

struct touched { /* same bytes, other time */
    int64_t id, size, mtime_ns;
};

struct sync {
    struct store *store;
    struct engine *embedder;
    const struct sync_options *opt;
    struct plan plan;
    struct sync_report *report;
    struct pending pending[BATCH_DOCUMENTS];
    size_t n_pending, n_pending_chunks, pending_bytes;
    struct touched touched[BATCH_SMALL];
    size_t n_touched;
    struct map failed; /* paths that failed in this run */
    int64_t n_done, n_embedded, dim;
};

static bool cancelled(const struct sync *y)
{
    return y->opt->cancel && *y->opt->cancel;
}

static enum status cancel_error(struct err *e)
{
    return err_set(e, ERR_CANCELLED, NULL, "stopped; what was committed stays");
}

static void tell(struct sync *y, enum sync_action action, const char *uri, const struct err *why)
{
    int64_t *counts[] = {
        [SYNC_ADDED] = &y->report->n_added,     [SYNC_CHANGED] = &y->report->n_changed,
        [SYNC_SKIPPED] = &y->report->n_skipped, [SYNC_REMOVED] = &y->report->n_removed,
        [SYNC_FAILED] = &y->report->n_failed,   [SYNC_IGNORED] = &y->report->n_ignored};
    (*counts[action])++;
    y->n_done += action != SYNC_REMOVED;
    if (y->opt->on_event) {
        struct sync_event ev = {.action = action,
                                .uri = uri,
                                .why = why,
                                .n_done = y->n_done,
                                .n_total = (int64_t)y->plan.n_files,
                                .n_chunks_done = y->report->n_chunks};
        y->opt->on_event(y->opt->ctx, &ev);
    }
}

/* ---- failures ---- */

static enum status store_failed(struct sync *y, const struct listed *f, const struct known *k,
                                const struct err *why, struct err *e)
{
    enum status st = store_begin(y->store, e);
    if (st) {
        return st;
    }
    if (k) {
        st = store_delete(y->store, k->id, e);
    }
    st = st ? st : store_put_failure(y->store, f->path, f->root->path, why, e);
    st = st ? st : store_commit(y->store, e);
    if (st) {
        store_rollback(y->store);
    }
    return st;
}

/* Notes that a file cannot be read. A document of it goes: the file changed, so the old text is no
 * longer what it says. */
static enum status file_failed(struct sync *y, const struct listed *f, struct known *k,
                               const struct err *why, struct err *e)
{
    enum status st = y->opt->dry_run ? OK : store_failed(y, f, k, why, e);
    if (!st && map_put(&y->failed, f->path, strlen(f->path), 1)) {
        st = err_set(e, ERR_MEMORY, f->path, "no memory to note a failure");
    }
    if (!st) {
        if (k) {
            k->seen = true; /* dealt with */
        }
        tell(y, SYNC_FAILED, f->path, why);
    }
    return st;
}

/* ---- one file ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum status read_kind(const char *path, enum file_kind *kind, struct err *e)
{
    uint8_t head[HEAD_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
    enum status st = n < 0 ? err_errno(e, errno, path, "cannot read") : OK;
    if (fd >= 0) {
        close(fd);
    }
    if (!st) {
        *kind = file_kind_of(path, head, (size_t)n);
    }
    return st;
}

enum verdict { FILE_SAME_TIME, FILE_SAME_BYTES, FILE_OTHER_KIND, FILE_TO_READ };

/* What is to be done with a file; needs neither the store nor the model. */
static enum status judge(const struct listed *f, const struct known *k, char sha256[SHA256_HEX],
                         enum verdict *out, struct err *e)
{
    enum file_kind kind = FILE_UNKNOWN;
    if (f->failed) {
        return err_set(e, ERR_IO, f->path, "cannot read: %s", f->failed);
    }
    if (k && k->size == f->size && k->mtime_ns == f->mtime_ns) {
        *out = FILE_SAME_TIME;
        return OK;
    }
    enum status st = read_kind(f->path, &kind, e);
    if (!st && kind == FILE_UNKNOWN) {
        *out = FILE_OTHER_KIND;
        return OK;
    }
    if (!st && f->size > MAX_FILE_BYTES) {
        st = err_set(e, ERR_LIMIT, f->path, "%lld bytes, more than the limit of %lld",
                     (long long)f->size, (long long)MAX_FILE_BYTES);
    }
    st = st ? st : file_sha256(f->path, sha256, e);
    if (!st) {
        *out = k && strcmp(k->sha256, sha256) == 0 ? FILE_SAME_BYTES : FILE_TO_READ;
    }
    return st;
}

/* The texts that the model sees, and a hash of each to find a vector of the same passage by. */
static enum status embed_texts(struct pending *d, struct err *e)
{
    struct buf b = {0};
    enum status st = OK;
    d->texts = arena_array(&d->arena, d->n_chunks, sizeof *d->texts);
    d->lens = arena_array(&d->arena, d->n_chunks, sizeof *d->lens);
    bool good = d->texts && d->lens;
    for (size_t i = 0; good && i < d->n_chunks; i++) {
        char hex[SHA256_HEX];
        buf_reset(&b);
        chunk_embed_text(d->title, &d->chunks[i], &b);
        d->lens[i] = b.len;
        d->texts[i] = b.failed ? NULL : arena_strndup(&d->arena, b.data ? b.data : "", b.len);
        if (d->texts[i]) {
            sha256_hex(d->texts[i], b.len, hex);
            d->chunks[i].embed_hash = arena_strndup(&d->arena, hex, HASH_CHARS);
        }
        good = d->texts[i] && d->chunks[i].embed_hash;
    }
    if (!good) {
        st = err_set(e, ERR_MEMORY, d->file->path, "no memory for its passages");
    }
    buf_fini(&b);
    return st;
}

static enum status extract(struct sync *y, struct pending *d, struct err *e)
{
    d->arena.limit_bytes = MAX_DOCUMENT_BYTES;
    double t0 = clock_ms();
    enum status st = extract_file(d->file->path, (size_t)MAX_FILE_BYTES, &d->arena, &d->x, e);
    double t1 = clock_ms();
    y->report->parse_ms += t1 - t0;
    if (st) {
        return st;
    }
    d->title = d->x.title && *d->x.title ? d->x.title : base_name(d->file->path);
    st = chunk_document(y->embedder, &d->x, &y->opt->chunk, &d->arena, &d->chunks, &d->n_chunks, e);
    if (!st && d->n_chunks == 0) {
        st = err_set(e, ERR_UNSUPPORTED, d->file->path, "no text in it");
    }
    st = st ? st : embed_texts(d, e);
    if (!st) {
        d->vectors = arena_array(&d->arena, d->n_chunks, (size_t)y->dim * sizeof *d->vectors);
        st = d->vectors ? OK : err_set(e, ERR_MEMORY, d->file->path, "no memory for its vectors");
    }
    y->report->chunk_ms += clock_ms() - t1;
    return st;
}

/* ---- many documents at once ---- */

struct to_embed {
    const char *texts[EMBED_TEXTS];
    size_t lens[EMBED_TEXTS];
    float *vectors[EMBED_TEXTS]; /* where each result goes */
    size_t n;
    float *out; /* [EMBED_TEXTS][dim] */
};

static enum status embed_now(struct sync *y, const char *uri, struct to_embed *b, struct err *e)
{
    struct embed_report r = {0};
    if (b->n == 0) {
        return OK;
    }
    if (cancelled(y)) {
        return cancel_error(e);
    }
    double t0 = clock_ms();
    enum status st =
        engine_embed(y->embedder, b->texts, b->lens, b->n,
                     &(struct embed_options){.role = EMBED_DOCUMENT}, b->out, NULL, &r, e);
    y->report->embed_ms += clock_ms() - t0;
    if (st) {
        return st;
    }
    for (size_t i = 0; i < b->n; i++) {
        memcpy(b->vectors[i], b->out + i * (size_t)y->dim, (size_t)y->dim * sizeof *b->out);
    }
    y->report->n_tokens += r.n_tokens;
    y->report->n_truncated += r.n_truncated;
    y->n_embedded += (int64_t)b->n;
    b->n = 0;
    if (y->opt->on_embedded) {
        y->opt->on_embedded(y->opt->ctx, uri, y->n_embedded);
    }
    return OK;
}

static enum status embed_document(struct sync *y, struct pending *d, struct to_embed *b,
                                  struct err *e)
{
    enum status st = OK;
    for (size_t i = 0; !st && i < d->n_chunks; i++) {
        float *v = d->vectors + i * (size_t)y->dim;
        st = store_find_vector(y->store, d->chunks[i].embed_hash, v, y->dim, e);
        if (st != ERR_NOT_FOUND) {
            y->report->n_reused += !st;
            continue;
        }
        b->texts[b->n] = d->texts[i];
        b->lens[b->n] = d->lens[i];
        b->vectors[b->n++] = v;
        st = b->n == EMBED_TEXTS ? embed_now(y, d->file->path, b, e) : OK;
    }
    return st;
}

static enum status embed_pending(struct sync *y, struct err *e)
{
    struct to_embed b = {.out = mem_aligned(EMBED_TEXTS * (size_t)y->dim, sizeof *b.out)};
    enum status st = b.out ? OK : err_set(e, ERR_MEMORY, NULL, "no memory to embed a batch");
    for (size_t i = 0; !st && i < y->n_pending; i++) {
        st = embed_document(y, &y->pending[i], &b, e);
    }
    if (!st && y->n_pending) {
        st = embed_now(y, y->pending[y->n_pending - 1].file->path, &b, e);
    }
    free(b.out);
    return st;
}

static enum status put_pending(struct sync *y, const struct pending *d, struct err *e)
{
    const struct listed *f = d->file;
    struct document doc = {.uri = f->path,
                           .source = d->known ? d->known->source : f->root->path,
                           .title = d->title,
                           .author = d->x.author,
                           .language = d->x.language,
                           .kind = file_kind_name(d->x.kind),
                           .sha256 = d->sha256,
                           .size = f->size,
                           .mtime_ns = f->mtime_ns,
                           .n_pages = d->x.n_pages,
                           .text = d->x.text,
                           .text_len = d->x.n};
    enum status st = store_put(y->store, &doc, d->chunks, d->n_chunks, d->vectors, NULL, e);
    if (!st && d->x.n_pages_empty > 0) { /* part of it is missing: `status` shall tell */
        struct err why = {0};
        (void)err_set(&why, ERR_UNSUPPORTED, f->path, "%d of %d pages have no text (need OCR)",
                      d->x.n_pages_empty, d->x.n_pages);
        st = store_put_failure(y->store, f->path, doc.source, &why, e);
    }
    return st;
}

static enum status store_pending(struct sync *y, struct err *e)
{
    double t0 = clock_ms();
    enum status st = store_begin(y->store, e);
    if (st) {
        return st;
    }
    for (size_t i = 0; !st && i < y->n_pending; i++) {
        st = put_pending(y, &y->pending[i], e);
    }
    st = st ? st : store_commit(y->store, e);
    if (st) {
        store_rollback(y->store);
    }
    y->report->store_ms += clock_ms() - t0;
    return st;
}

static void drop_pending(struct sync *y)
{
    for (size_t i = 0; i < y->n_pending; i++) {
        arena_reset(&y->pending[i].arena);
        y->pending[i] = (struct pending){0};
    }
    y->n_pending = y->n_pending_chunks = y->pending_bytes = 0;
}

static enum status flush(struct sync *y, struct err *e)
{
    enum status st = y->n_pending ? embed_pending(y, e) : OK;
    if (!st && y->n_pending) {
        st = store_pending(y, e);
    }
    for (size_t i = 0; !st && i < y->n_pending; i++) {
        const struct pending *d = &y->pending[i];
        y->report->n_chunks += (int64_t)d->n_chunks;
        y->report->n_pages += d->x.n_pages;
        y->report->text_bytes += (int64_t)d->x.n;
        tell(y, d->known ? SYNC_CHANGED : SYNC_ADDED, d->file->path, NULL);
    }
    drop_pending(y);
    return st;
}

/* ---- the pass over the files ---- */

/* A commit waits for the disk, so the new times of a whole touched tree go in together. */
static enum status flush_touched(struct sync *y, struct err *e)
{
    enum status st = y->n_touched ? store_begin(y->store, e) : OK;
    if (st || y->n_touched == 0) {
        return st;
    }
    for (size_t i = 0; !st && i < y->n_touched; i++) {
        const struct touched *t = &y->touched[i];
        st = store_touch(y->store, t->id, t->size, t->mtime_ns, e);
    }
    st = st ? st : store_commit(y->store, e);
    if (st) {
        store_rollback(y->store);
    }
    y->n_touched = 0;
    return st;
}

/* Extracts a file and lets it wait for the next flush. *why: what the file itself did wrong. */
static enum status read_file(struct sync *y, const struct listed *f, const struct known *k,
                             const char sha256[SHA256_HEX], enum status *failed, struct err *why,
                             struct err *e)
{
    struct pending *d = &y->pending[y->n_pending];
    *d = (struct pending){.file = f, .known = k};
    memcpy(d->sha256, sha256, SHA256_HEX);
    *failed = extract(y, d, why);
    if (*failed) {
        arena_reset(&d->arena);
        *d = (struct pending){0};
        return OK;
    }
    y->n_pending++;
    y->n_pending_chunks += d->n_chunks;
    y->pending_bytes += d->x.n;
    return y->n_pending == BATCH_DOCUMENTS || y->n_pending_chunks >= BATCH_CHUNKS ||
                   y->pending_bytes >= BATCH_TEXT_BYTES
               ? flush(y, e)
               : OK;
}

static enum status sync_file(struct sync *y, const struct listed *f, struct err *e)
{
    struct known *k = plan_known(&y->plan, f->path);
    struct err why = {0};
    char sha256[SHA256_HEX] = "";
    enum verdict verdict = FILE_TO_READ;
    enum status st = OK, failed = judge(f, k, sha256, &verdict, &why);
    if (!failed && verdict == FILE_OTHER_KIND) { /* a document of it counts as gone */
        f->root->n_ignored++;
        tell(y, SYNC_IGNORED, f->path, NULL);
        return OK;
    }
    if (!failed && verdict == FILE_TO_READ && !y->opt->dry_run) {
        st = read_file(y, f, k, sha256, &failed, &why, e);
    }
    if (failed == ERR_NOT_FOUND) { /* went away since it was listed */
        y->n_done++;
        return OK;
    }
    f->root->n_read++;
    if (st || failed) {
        return st ? st : file_failed(y, f, k, &why, e);
    }
    if (k) {
        k->seen = true;
    }
    if (verdict == FILE_SAME_BYTES && !y->opt->dry_run) {
        y->touched[y->n_touched++] = (struct touched){k->id, f->size, f->mtime_ns};
        st = y->n_touched == BATCH_SMALL ? flush_touched(y, e) : OK;
    }
    if (!st && verdict != FILE_TO_READ) {
        tell(y, SYNC_SKIPPED, f->path, NULL);
    } else if (!st && y->opt->dry_run) {
        tell(y, k ? SYNC_CHANGED : SYNC_ADDED, f->path, NULL);
    }
    return st;
}

static enum status remove_some(struct sync *y, const struct known *const *gone, size_t n,
                               struct err *e)
{
    if (cancelled(y)) {
        return cancel_error(e);
    }
    enum status st = y->opt->dry_run ? OK : store_begin(y->store, e);
    for (size_t i = 0; !st && !y->opt->dry_run && i < n; i++) {
        st = store_delete(y->store, gone[i]->id, e);
    }
    if (!st && !y->opt->dry_run) {
        st = store_commit(y->store, e);
    }
    if (st && !y->opt->dry_run) {
        store_rollback(y->store);
    }
    for (size_t i = 0; !st && i < n; i++) {
        plan_root_of(&y->plan, gone[i]->uri)->n_removed++;
        tell(y, SYNC_REMOVED, gone[i]->uri, NULL);
    }
    return st;
}

/* After the files, so that the vectors of moved ones are still there to be found. */
static enum status remove_gone(struct sync *y, struct err *e)
{
    const struct known *gone[BATCH_SMALL];
    size_t n = 0;
    enum status st = OK;
    for (size_t i = 0; !st && i < y->plan.n_known; i++) {
        const struct known *k = &y->plan.known[i];
        if (k->seen || !plan_root_of(&y->plan, k->uri) || plan_hidden(&y->plan, k->uri)) {
            continue;
        }
        gone[n++] = k;
        if (n == BATCH_SMALL) {
            st = remove_some(y, gone, n, e);
            n = 0;
        }
    }
    return st || n == 0 ? st : remove_some(y, gone, n, e);
}

/* ---- old failures ---- */

struct stale {
    struct sync *sync;
    struct arena arena;
    const char **uris;
    size_t n, cap;
};

/* A noted failure is over when its path was looked at and did not fail again; one of a document
 * that was skipped (pages without text) stays. */
static enum status collect_stale(void *ctx, const char *uri, const char *code, const char *message,
                                 int64_t at_ns)
{
    struct stale *s = ctx;
    struct sync *y = s->sync;
    uint32_t unused;
    (void)code;
    (void)message;
    (void)at_ns;
    const struct known *k = plan_known(&y->plan, uri);
    if (!plan_root_of(&y->plan, uri) || (k && k->seen) ||
        map_get(&y->failed, uri, strlen(uri), &unused) || plan_hidden(&y->plan, uri)) {
        return OK;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        const char **grown = arena_array(&s->arena, cap, sizeof *grown);
        if (!grown) {
            return ERR_MEMORY;
        }
        if (s->n) {
            memcpy(grown, s->uris, s->n * sizeof *grown);
        }
        s->uris = grown;
        s->cap = cap;
    }
    s->uris[s->n] = arena_strdup(&s->arena, uri);
    return s->uris[s->n++] ? OK : ERR_MEMORY;
}

static enum status clear_old_failures(struct sync *y, struct err *e)
{
    struct stale s = {.sync = y};
    enum status st = store_each_failure(y->store, collect_stale, &s, e);
    for (size_t i = 0; !st && i < s.n; i++) {
        st = store_clear_failure(y->store, s.uris[i], e);
    }
    arena_reset(&s.arena);
    return st;
}

/* ---- the whole ---- */

static enum status nothing_under(const struct sync *y, struct err *e)
{
    for (size_t i = 0; i < y->plan.n_roots; i++) {
        const struct root *r = &y->plan.roots[i];
        if (r->n_read == 0 && r->n_removed == 0 && !r->shared && !r->gone) {
            return err_set(e, ERR_NOT_FOUND, r->path,
                           "no file here that hearth can read (%lld of other kinds)",
                           (long long)r->n_ignored);
        }
    }
    return OK;
}

static enum status run(struct sync *y, struct err *e)
{
    enum status st = OK;
    for (size_t i = 0; !st && i < y->plan.n_files; i++) {
        st = cancelled(y) ? cancel_error(e) : sync_file(y, &y->plan.files[i], e);
    }
    st = st ? st : flush(y, e);
    st = st ? st : flush_touched(y, e);
    st = st ? st : remove_gone(y, e);
    if (!st && !y->opt->dry_run) {
        st = clear_old_failures(y, e);
    }
    return st ? st : nothing_under(y, e);
}

static enum status take_embedder(struct sync *y, struct err *e)
{
    const struct engine_info *info = engine_info(y->embedder);
    const char *identity = NULL;
    y->dim = info->d_model;
    enum status s = engine_identity(y->embedder, &identity, e);
    return s ? s : store_set_embedder(y->store, info->name, identity, info->d_model, e);
}

enum status sync_paths(struct store *s, struct engine *embedder, const char *const *paths,
                       size_t n_paths, const struct sync_options *opt, struct sync_report *out,
                       struct err *e)
{
    static const struct sync_options defaults;
    double t0 = clock_ms();
    *out = (struct sync_report){0};
    struct sync *y = calloc(1, sizeof *y);
    if (!y) {
        return err_set(e, ERR_MEMORY, NULL, "no memory to begin");
    }
    *y = (struct sync){
        .store = s, .embedder = embedder, .opt = opt ? opt : &defaults, .report = out};
    enum status st = y->opt->dry_run ? OK : take_embedder(y, e);
    if (!st && map_init(&y->failed, 0)) {
        st = err_set(e, ERR_MEMORY, NULL, "no memory to begin");
    }
    st = st ? st : plan_init(&y->plan, s, paths, n_paths, e);
    st = st ? st : run(y, e);
    drop_pending(y);
    plan_fini(&y->plan);
    map_fini(&y->failed);
    free(y);
    out->total_ms = clock_ms() - t0;
    return st;
}

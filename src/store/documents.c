/* Documents, chunks and vectors: see documents.h. The SQL stands in statements.c, the schema in
 * schema.c. */
#include "store/store_internal.h"

#include "base/sys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
    (void)sqlite3_bind_text(st, i, or_empty(text), -1, SQLITE_STATIC);
}

/* The caller's promises: ranges inside the text, vectors of unit length. A model with broken
 * weights gives NaN, which must not get into the index. */
static enum status check_input(const struct document *doc, const struct chunk *chunks, size_t n,
                               const float *vectors, int64_t dim, struct err *e)
{
    if (!doc->uri || !*doc->uri || doc->text_len > UINT32_MAX || n > INT32_MAX ||
        (doc->text_len && !doc->text)) {
        return err_set(e, ERR_INTERNAL, or_empty(doc->uri), "not a document that can be stored");
    }
    for (size_t i = 0; i < n; i++) {
        const struct chunk *c = &chunks[i];
        if (c->start > c->end || c->end > doc->text_len || c->page < 0 || c->page_end < c->page ||
            c->n_tokens < 0) {
            return err_set(e, ERR_INTERNAL, doc->uri,
                           "chunk %zu has the range %u to %u of %zu bytes, pages %d to %d", i,
                           c->start, c->end, doc->text_len, c->page, c->page_end);
        }
        double sum = 0;
        for (int64_t j = 0; j < dim; j++) {
            double v = vectors[(int64_t)i * dim + j];
            sum += v * v;
        }
        if (!(fabs(sum - 1) < 0.02)) {
            return err_set(e, ERR_FORMAT, doc->uri,
                           "the embedding model gave a vector of length %g for chunk %zu instead "
                           "of 1",
                           sqrt(sum), i);
        }
    }
    return OK;
}

static enum status put_row(struct store *s, const struct document *doc, size_t n_chunks,
                           int64_t *id, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool there = false;
    enum status r = store_statement(s, ST_DOCUMENT_ID, &st, e);
    if (r) {
        return r;
    }
    bind_text(st, 1, doc->uri);
    r = store_step(s, st, "cannot look up a document", &there, e);
    int64_t found = !r && there ? sqlite3_column_int64(st, 0) : 0;
    store_done(st);
    r = r ? r : store_statement(s, there ? ST_UPDATE_DOCUMENT : ST_INSERT_DOCUMENT, &st, e);
    if (r) {
        return r;
    }
    const char *texts[] = {doc->uri,      doc->source, doc->title, doc->author,
                           doc->language, doc->kind,   doc->sha256};
    const int64_t numbers[] = {
        doc->size,    doc->mtime_ns,          doc->added_ns ? doc->added_ns : wall_ns(),
        doc->n_pages, (int64_t)doc->text_len, (int64_t)n_chunks};
    for (int i = 0; i < 7; i++) {
        bind_text(st, 1 + i, texts[i]);
    }
    for (int i = 0; i < 6; i++) {
        (void)sqlite3_bind_int64(st, 8 + i, numbers[i]);
    }
    r = store_run(s, st, "cannot store a document", e);
    if (!r) {
        *id = there ? found : sqlite3_last_insert_rowid(s->db);
    }
    return r;
}

static enum status run_with_id(struct store *s, enum statement id, int64_t value, const char *what,
                               struct err *e)
{
    sqlite3_stmt *st = NULL;
    enum status r = store_statement(s, id, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, value);
    return store_run(s, st, what, e);
}

static enum status put_text(struct store *s, int64_t id, const struct document *doc, struct err *e)
{
    enum status r = OK;
    for (size_t at = 0, piece = 0; !r && at < doc->text_len; at += STORE_PIECE, piece++) {
        size_t n = doc->text_len - at;
        sqlite3_stmt *st = NULL;
        r = store_statement(s, ST_INSERT_TEXT, &st, e);
        if (r) {
            return r;
        }
        (void)sqlite3_bind_int64(st, 1, id);
        (void)sqlite3_bind_int64(st, 2, (int64_t)piece);
        (void)sqlite3_bind_blob64(st, 3, doc->text + at, n < STORE_PIECE ? n : STORE_PIECE,
                                  SQLITE_STATIC);
        r = store_run(s, st, "cannot store a document's text", e);
    }
    return r;
}

static enum status put_chunk(struct store *s, int64_t document_id, int64_t index,
                             const struct chunk *c, const float *vector, int64_t dim, struct err *e)
{
    sqlite3_stmt *st = NULL;
    enum status r = store_statement(s, ST_INSERT_CHUNK, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, document_id);
    (void)sqlite3_bind_int64(st, 2, index);
    bind_text(st, 3, c->heading);
    const int64_t numbers[] = {c->start, c->end, c->page, c->page_end, c->n_tokens};
    for (int i = 0; i < 5; i++) {
        (void)sqlite3_bind_int64(st, 4 + i, numbers[i]);
    }
    if (c->embed_hash) {
        bind_text(st, 9, c->embed_hash);
    }
    r = store_run(s, st, "cannot store a chunk", e);
    int64_t id = sqlite3_last_insert_rowid(s->db);
    r = r ? r : store_statement(s, ST_INSERT_VECTOR, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, id);
    (void)sqlite3_bind_blob64(st, 2, vector, (uint64_t)dim * sizeof *vector, SQLITE_STATIC);
    return store_run(s, st, "cannot store a vector", e);
}

static enum status clear_failure(struct store *s, const char *uri, struct err *e)
{
    sqlite3_stmt *st = NULL;
    enum status r = store_statement(s, ST_CLEAR_FAILURE, &st, e);
    if (r) {
        return r;
    }
    bind_text(st, 1, uri);
    return store_run(s, st, "cannot clear a failure", e);
}

static enum status put_all(struct store *s, const struct document *doc, const struct chunk *chunks,
                           size_t n_chunks, const float *vectors, int64_t dim, int64_t *id,
                           struct err *e)
{
    enum status r = put_row(s, doc, n_chunks, id, e);
    r = r ? r : run_with_id(s, ST_DELETE_CHUNKS, *id, "cannot replace chunks", e);
    r = r ? r : run_with_id(s, ST_DELETE_TEXT, *id, "cannot replace a text", e);
    r = r ? r : put_text(s, *id, doc, e);
    for (size_t i = 0; !r && i < n_chunks; i++) {
        r = put_chunk(s, *id, (int64_t)i, &chunks[i], vectors + (int64_t)i * dim, dim, e);
    }
    r = r ? r : clear_failure(s, doc->uri, e);
    return r ? r : store_bump(s, e);
}

enum status store_put(struct store *s, const struct document *doc, const struct chunk *chunks,
                      size_t n_chunks, const float *vectors, int64_t *id, struct err *e)
{
    struct store_state state;
    bool outer = false;
    int64_t put_id = 0;
    enum status r = store_state(s, &state, e);
    if (!r && state.dim == 0 && n_chunks > 0) {
        r = err_set(e, ERR_INTERNAL, s->path, "no embedding model was set before documents");
    }
    r = r ? r : check_input(doc, chunks, n_chunks, vectors, state.dim, e);
    r = r ? r : store_tx_begin(s, &outer, e);
    if (r) {
        return r;
    }
    r = put_all(s, doc, chunks, n_chunks, vectors, state.dim, &put_id, e);
    r = store_tx_end(s, outer, r, e);
    if (!r && id) {
        *id = put_id;
    }
    return r;
}

static enum status no_document(struct store *s, int64_t id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, s->path, "no document %lld", (long long)id);
}

enum status store_delete(struct store *s, int64_t document_id, struct err *e)
{
    bool outer = false;
    enum status r = store_tx_begin(s, &outer, e);
    if (r) {
        return r;
    }
    r = run_with_id(s, ST_DELETE_DOCUMENT, document_id, "cannot remove a document", e);
    if (!r && sqlite3_changes(s->db) == 0) {
        r = no_document(s, document_id, e);
    }
    r = r ? r : store_bump(s, e);
    return store_tx_end(s, outer, r, e);
}

enum status store_touch(struct store *s, int64_t document_id, int64_t size, int64_t mtime_ns,
                        struct err *e)
{
    bool outer = false;
    sqlite3_stmt *st = NULL;
    enum status r = store_tx_begin(s, &outer, e);
    if (r) {
        return r;
    }
    r = store_statement(s, ST_TOUCH_DOCUMENT, &st, e);
    if (!r) {
        (void)sqlite3_bind_int64(st, 1, document_id);
        (void)sqlite3_bind_int64(st, 2, size);
        (void)sqlite3_bind_int64(st, 3, mtime_ns);
        r = store_run(s, st, "cannot note a file's time", e);
    }
    if (!r && sqlite3_changes(s->db) == 0) {
        r = no_document(s, document_id, e);
    }
    return store_tx_end(s, outer, r, e);
}

/* ---- reading ---- */

static enum status damaged(struct store *s, struct err *e, const char *what, int64_t id)
{
    return err_set(e, ERR_FORMAT, s->path,
                   "the database is damaged (%s %lld): put a backup in its place, or remove the "
                   "folder and add the documents again",
                   what, (long long)id);
}

static enum status no_memory(struct store *s, struct err *e)
{
    return err_set(e, ERR_MEMORY, s->path, "no memory to read from it");
}

/* Bytes [start, end) of a document's text, from the rows that hold them. */
static enum status read_text(struct store *s, int64_t document_id, uint64_t start, uint64_t end,
                             struct arena *arena, const char **out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status r = store_statement(s, ST_TEXT_SIZE, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, document_id);
    if (end - start > 8 * STORE_PIECE) { /* a damaged range must not make us allocate gigabytes */
        r = store_step(s, st, "cannot read a text's size", &row, e);
        if (!r && (uint64_t)sqlite3_column_int64(st, 0) < end) {
            r = damaged(s, e, "text of document", document_id);
        }
        store_done(st);
    }
    char *text = r ? NULL : arena_alloc(arena, end - start + 1);
    if (!r && !text) {
        r = no_memory(s, e);
    }
    r = r ? r : store_statement(s, ST_TEXT_RANGE, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, document_id);
    (void)sqlite3_bind_int64(st, 2, (int64_t)(start / STORE_PIECE));
    (void)sqlite3_bind_int64(st, 3, (int64_t)(end / STORE_PIECE));
    uint64_t at = start;
    while (!r && at < end) {
        r = store_step(s, st, "cannot read a text", &row, e);
        if (r) {
            break;
        }
        const char *body = row ? sqlite3_column_blob(st, 1) : NULL;
        uint64_t size = row ? (uint64_t)sqlite3_column_bytes(st, 1) : 0, skip = at % STORE_PIECE;
        if (!body || (uint64_t)sqlite3_column_int64(st, 0) != at / STORE_PIECE || skip >= size ||
            size > STORE_PIECE || (size < STORE_PIECE && end - at > size - skip)) {
            r = damaged(s, e, "text of document", document_id);
            break;
        }
        uint64_t n = end - at < size - skip ? end - at : size - skip;
        memcpy(text + (at - start), body + skip, n);
        at += n;
    }
    store_done(st);
    if (!r) {
        *out = text;
    }
    return r;
}

/* The row's document; its strings copied into `arena`, or borrowed until the next step when that is
 * NULL. */
static bool read_document(sqlite3_stmt *st, struct arena *arena, struct document *d)
{
    const char **texts[] = {&d->uri,      &d->source, &d->title, &d->author,
                            &d->language, &d->kind,   &d->sha256};
    d->id = sqlite3_column_int64(st, 0);
    for (int i = 0; i < 7; i++) {
        const char *t = store_column_text(st, 1 + i);
        *texts[i] = arena ? arena_strdup(arena, t) : t;
        if (!*texts[i]) {
            return false;
        }
    }
    d->size = sqlite3_column_int64(st, 8);
    d->mtime_ns = sqlite3_column_int64(st, 9);
    d->added_ns = sqlite3_column_int64(st, 10);
    d->n_pages = sqlite3_column_int(st, 11);
    d->text_len = (size_t)sqlite3_column_int64(st, 12);
    d->n_chunks = sqlite3_column_int64(st, 13);
    return true;
}

static enum status finish_document(struct store *s, sqlite3_stmt *st, bool with_text,
                                   struct arena *arena, struct document *out, bool *found,
                                   struct err *e)
{
    struct document d = {0};
    enum status r = store_step(s, st, "cannot read a document", found, e);
    if (!r && *found && !read_document(st, arena, &d)) {
        r = no_memory(s, e);
    }
    store_done(st);
    if (!r && *found && d.text_len > UINT32_MAX) {
        r = damaged(s, e, "size of document", d.id);
    }
    if (!r && *found && with_text) {
        r = read_text(s, d.id, 0, d.text_len, arena, &d.text, e);
    }
    if (!r && *found) {
        *out = d;
    }
    return r;
}

enum status store_document(struct store *s, int64_t id, bool with_text, struct arena *arena,
                           struct document *out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool found = false;
    enum status r = store_statement(s, ST_DOCUMENT, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, id);
    r = finish_document(s, st, with_text, arena, out, &found, e);
    return r || found ? r : no_document(s, id, e);
}

enum status store_document_by_uri(struct store *s, const char *uri, struct arena *arena,
                                  struct document *out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool found = false;
    enum status r = store_statement(s, ST_DOCUMENT_BY_URI, &st, e);
    if (r) {
        return r;
    }
    bind_text(st, 1, uri);
    r = finish_document(s, st, false, arena, out, &found, e);
    return r || found ? r : err_set(e, ERR_NOT_FOUND, uri, "not in the library");
}

static enum status finish_chunk(struct store *s, sqlite3_stmt *st, struct arena *arena,
                                struct chunk *out, bool *found, struct err *e)
{
    struct chunk c = {0};
    int64_t start = 0, end = 0;
    enum status r = store_step(s, st, "cannot read a chunk", found, e);
    if (!r && *found) {
        c.id = sqlite3_column_int64(st, 0);
        c.document_id = sqlite3_column_int64(st, 1);
        c.index = sqlite3_column_int(st, 2);
        c.heading = arena_strdup(arena, store_column_text(st, 3));
        start = sqlite3_column_int64(st, 4);
        end = sqlite3_column_int64(st, 5);
        c.page = sqlite3_column_int(st, 6);
        c.page_end = sqlite3_column_int(st, 7);
        c.n_tokens = sqlite3_column_int(st, 8);
        r = c.heading ? OK : no_memory(s, e);
    }
    store_done(st);
    if (r || !*found) {
        return r;
    }
    if (start < 0 || end < start || end > UINT32_MAX) {
        return damaged(s, e, "range of chunk", c.id);
    }
    c.start = (uint32_t)start;
    c.end = (uint32_t)end;
    c.text_len = (size_t)(end - start);
    r = read_text(s, c.document_id, c.start, c.end, arena, &c.text, e);
    if (!r) {
        *out = c;
    }
    return r;
}

enum status store_chunk(struct store *s, int64_t chunk_id, struct arena *arena, struct chunk *out,
                        struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool found = false;
    enum status r = store_statement(s, ST_CHUNK, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, chunk_id);
    r = finish_chunk(s, st, arena, out, &found, e);
    return r || found ? r
                      : err_set(e, ERR_NOT_FOUND, s->path, "no chunk %lld", (long long)chunk_id);
}

enum status store_chunk_at(struct store *s, int64_t document_id, int32_t index, struct arena *arena,
                           struct chunk *out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool found = false;
    enum status r = store_statement(s, ST_CHUNK_AT, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, document_id);
    (void)sqlite3_bind_int64(st, 2, index);
    r = finish_chunk(s, st, arena, out, &found, e);
    return r || found ? r
                      : err_set(e, ERR_NOT_FOUND, s->path, "document %lld has no chunk number %d",
                                (long long)document_id, index);
}

static enum status finish_vector(struct store *s, sqlite3_stmt *st, float *out, int64_t dim,
                                 bool *found, struct err *e)
{
    enum status r = store_step(s, st, "cannot read a vector", found, e);
    if (!r && *found) {
        const void *blob = sqlite3_column_blob(st, 0);
        int bytes = sqlite3_column_bytes(st, 0);
        if (!blob || bytes != dim * (int64_t)sizeof *out) {
            r = err_set(e, ERR_MISMATCH, s->path,
                        "a stored vector has %d numbers, %lld were expected",
                        bytes / (int)sizeof *out, (long long)dim);
        } else {
            memcpy(out, blob, (size_t)bytes);
        }
    }
    store_done(st);
    return r;
}

enum status store_vector(struct store *s, int64_t chunk_id, float *out, int64_t dim, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool found = false;
    enum status r = store_statement(s, ST_VECTOR, &st, e);
    if (r) {
        return r;
    }
    (void)sqlite3_bind_int64(st, 1, chunk_id);
    r = finish_vector(s, st, out, dim, &found, e);
    return r || found
               ? r
               : err_set(e, ERR_NOT_FOUND, s->path, "no vector of chunk %lld", (long long)chunk_id);
}

enum status store_find_vector(struct store *s, const char *embed_hash, float *out, int64_t dim,
                              struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool found = false;
    enum status r = store_statement(s, ST_FIND_VECTOR, &st, e);
    if (r) {
        return r;
    }
    bind_text(st, 1, embed_hash);
    r = finish_vector(s, st, out, dim, &found, e);
    return r || found ? r : err_set(e, ERR_NOT_FOUND, s->path, "no such vector");
}

enum status store_each_document(struct store *s, const char *source,
                                enum status (*visit)(void *ctx, const struct document *doc),
                                void *ctx, struct err *e)
{
    /* Not cached: visit may call this function again. */
    sqlite3_stmt *st = NULL;
    static const char sql[] =
        "SELECT id, uri, source, title, author, language, kind, sha256, size, mtime_ns, added_ns, "
        "n_pages, text_len, n_chunks FROM documents WHERE ?1 IS NULL OR source = ?1 ORDER BY uri";
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    enum status r = rc ? store_error(s, rc, "cannot list documents", e) : OK;
    if (!r && source) {
        bind_text(st, 1, source);
    }
    for (bool row = true; !r && row;) {
        r = store_step(s, st, "cannot list documents", &row, e);
        struct document d = {0};
        if (!r && row && read_document(st, NULL, &d)) {
            r = visit(ctx, &d);
        }
    }
    (void)sqlite3_finalize(st);
    return r;
}

enum status store_each_vector(struct store *s,
                              enum status (*visit)(void *ctx, int64_t chunk_id, const float *vector,
                                                   int64_t dim),
                              void *ctx, struct err *e)
{
    struct store_state state;
    enum status r = store_state(s, &state, e);
    if (r) {
        return r;
    }
    sqlite3_stmt *st = NULL;
    float *vector = mem_aligned((size_t)state.dim + 1, sizeof *vector);
    int rc = sqlite3_prepare_v2(s->db, "SELECT chunk_id, vector FROM vectors ORDER BY chunk_id", -1,
                                &st, NULL);
    r = rc ? store_error(s, rc, "cannot list vectors", e) : vector ? OK : no_memory(s, e);
    for (bool row = true; !r && row;) {
        r = store_step(s, st, "cannot list vectors", &row, e);
        if (r || !row) {
            break;
        }
        int64_t id = sqlite3_column_int64(st, 0);
        const void *blob = sqlite3_column_blob(st, 1);
        if (!blob || sqlite3_column_bytes(st, 1) != state.dim * (int64_t)sizeof *vector) {
            r = damaged(s, e, "vector of chunk", id);
            break;
        }
        memcpy(vector, blob, (size_t)state.dim * sizeof *vector);
        r = visit(ctx, id, vector, state.dim);
    }
    (void)sqlite3_finalize(st);
    free(vector);
    return r;
}

/* What the store knows about itself: embedding model, generation, failures, figures, and the check
 * of its invariants. */
#include "store/store_internal.h"

#include "base/sys.h"

#include <math.h>
#include <string.h>

/* ---- state ---- */

static enum status read_state(struct store *s, struct store_state *out, bool names, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status r = store_statement(s, ST_STATE, &st, e);
    r = r ? r : store_step(s, st, "cannot read its state", &row, e);
    if (!r && !row) {
        r = store_error(s, SQLITE_CORRUPT, "its state is gone", e);
    }
    if (!r) {
        *out = (struct store_state){.generation = sqlite3_column_int64(st, 0),
                                    .last_change_ns = sqlite3_column_int64(st, 1),
                                    .store_id = sqlite3_column_int64(st, 2),
                                    .dim = sqlite3_column_int64(st, 3)};
        if (out->dim < 0 || out->dim > STORE_MAX_DIM) {
            r = store_error(s, SQLITE_CORRUPT, "its vectors have no possible size", e);
        }
    }
    if (!r && names) {
        buf_reset(&s->embedder_name);
        buf_reset(&s->embedder_identity);
        buf_puts(&s->embedder_name, store_column_text(st, 4));
        buf_puts(&s->embedder_identity, store_column_text(st, 5));
        if (s->embedder_name.failed || s->embedder_identity.failed) {
            r = err_set(e, ERR_MEMORY, s->path, "no memory for the name of its model");
        }
    }
    store_done(st);
    return r;
}

enum status store_state(struct store *s, struct store_state *out, struct err *e)
{
    return read_state(s, out, false, e);
}

int64_t store_generation(struct store *s)
{
    struct store_state state;
    return store_state(s, &state, NULL) ? -1 : state.generation;
}

static enum status count(struct store *s, enum statement id, int64_t *out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status r = store_statement(s, id, &st, e);
    r = r ? r : store_step(s, st, "cannot count its rows", &row, e);
    if (!r) {
        *out = sqlite3_column_int64(st, 0);
    }
    store_done(st);
    return r;
}

enum status store_count_vectors(struct store *s, int64_t *out, struct err *e)
{
    return count(s, ST_COUNT_VECTORS, out, e);
}

enum status store_embedder(struct store *s, struct store_embedder_info *out, struct err *e)
{
    struct store_state state;
    enum status r = read_state(s, &state, true, e);
    if (!r) {
        *out = (struct store_embedder_info){
            .name = s->embedder_name.data, .identity = s->embedder_identity.data, .dim = state.dim};
    }
    return r;
}

static enum status change_embedder(struct store *s, const char *name, const char *identity,
                                   int64_t dim, struct err *e)
{
    bool outer = false;
    sqlite3_stmt *st = NULL;
    enum status r = store_tx_begin(s, &outer, e);
    if (r) {
        return r;
    }
    r = store_statement(s, ST_SET_EMBEDDER, &st, e);
    if (!r) {
        (void)sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, identity, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, dim);
        r = store_run(s, st, "cannot note the embedding model", e);
    }
    r = r ? r : store_bump(s, e);
    return store_tx_end(s, outer, r, e);
}

enum status store_set_embedder(struct store *s, const char *name, const char *identity, int64_t dim,
                               struct err *e)
{
    if (dim < 1 || dim > STORE_MAX_DIM) {
        return err_set(e, ERR_UNSUPPORTED, name, "embeddings of %lld numbers cannot be stored",
                       (long long)dim);
    }
    struct store_embedder_info now;
    enum status r = store_embedder(s, &now, e);
    if (r) {
        return r;
    }
    if (now.dim == dim && strcmp(now.identity, identity) == 0) {
        return OK;
    }
    int64_t n = 0;
    r = count(s, ST_COUNT_DOCUMENTS, &n, e);
    if (!r && n > 0) {
        r = err_set(e, ERR_MISMATCH, s->home,
                    "its %lld documents were embedded with %s (%lld numbers), this is %s (%lld): "
                    "use that model, or another folder for a new library",
                    (long long)n, now.name, (long long)now.dim, name, (long long)dim);
    }
    return r ? r : change_embedder(s, name, identity, dim, e);
}

/* ---- failures ---- */

enum status store_put_failure(struct store *s, const char *uri, const char *source,
                              const struct err *why, struct err *e)
{
    bool outer = false;
    sqlite3_stmt *st = NULL;
    enum status r = store_tx_begin(s, &outer, e);
    if (r) {
        return r;
    }
    r = store_statement(s, ST_PUT_FAILURE, &st, e);
    if (!r) {
        const char *texts[] = {uri, source, status_info(why->code)->name, why->message};
        for (int i = 0; i < 4; i++) {
            (void)sqlite3_bind_text(st, 1 + i, texts[i], -1, SQLITE_STATIC);
        }
        (void)sqlite3_bind_int64(st, 5, wall_ns());
        r = store_run(s, st, "cannot note a failure", e);
    }
    return store_tx_end(s, outer, r, e);
}

enum status store_clear_failure(struct store *s, const char *uri, struct err *e)
{
    bool outer = false;
    sqlite3_stmt *st = NULL;
    enum status r = store_tx_begin(s, &outer, e);
    if (r) {
        return r;
    }
    r = store_statement(s, ST_CLEAR_FAILURE, &st, e);
    if (!r) {
        (void)sqlite3_bind_text(st, 1, uri, -1, SQLITE_STATIC);
        r = store_run(s, st, "cannot clear a failure", e);
    }
    return store_tx_end(s, outer, r, e);
}

enum status store_each_failure(struct store *s,
                               enum status (*visit)(void *ctx, const char *uri, const char *code,
                                                    const char *message, int64_t at_ns),
                               void *ctx, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(
        s->db, "SELECT uri, code, message, at_ns FROM failures ORDER BY uri", -1, &st, NULL);
    enum status r = rc ? store_error(s, rc, "cannot list failures", e) : OK;
    for (bool row = true; !r && row;) {
        r = store_step(s, st, "cannot list failures", &row, e);
        if (!r && row) {
            r = visit(ctx, store_column_text(st, 0), store_column_text(st, 1),
                      store_column_text(st, 2), sqlite3_column_int64(st, 3));
        }
    }
    (void)sqlite3_finalize(st);
    return r;
}

/* ---- figures ---- */

enum status store_stats(struct store *s, struct store_stats *out, struct err *e)
{
    struct store_state state;
    struct store_stats t = {0};
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status r = store_state(s, &state, e);
    r = r ? r : store_statement(s, ST_STATS, &st, e);
    r = r ? r : store_step(s, st, "cannot count what it holds", &row, e);
    if (!r) {
        int64_t *fields[] = {&t.n_documents, &t.n_chunks,   &t.n_pages,
                             &t.text_bytes,  &t.n_failures, &t.n_sources};
        for (int i = 0; i < 6; i++) {
            *fields[i] = sqlite3_column_int64(st, i);
        }
    }
    store_done(st);
    int64_t pages = 0, page_bytes = 0;
    r = r ? r : store_exec_int(s, "PRAGMA page_count", &pages, e);
    r = r ? r : store_exec_int(s, "PRAGMA page_size", &page_bytes, e);
    if (!r) {
        t.db_bytes = pages * page_bytes;
        t.generation = state.generation;
        t.last_change_ns = state.last_change_ns;
        *out = t;
    }
    return r;
}

enum status store_each_source(struct store *s,
                              enum status (*visit)(void *ctx, const char *source,
                                                   int64_t n_documents, int64_t n_chunks),
                              void *ctx, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db,
                                "SELECT source, count(*), sum(n_chunks) FROM documents GROUP BY "
                                "source ORDER BY source",
                                -1, &st, NULL);
    enum status r = rc ? store_error(s, rc, "cannot list sources", e) : OK;
    for (bool row = true; !r && row;) {
        r = store_step(s, st, "cannot list sources", &row, e);
        if (!r && row) {
            r = visit(ctx, store_column_text(st, 0), sqlite3_column_int64(st, 1),
                      sqlite3_column_int64(st, 2));
        }
    }
    (void)sqlite3_finalize(st);
    return r;
}

/* ---- check ---- */

/* Each query gives the key of the first row that breaks an invariant, or nothing. */
static const struct {
    const char *what, *sql;
} checks[] = {
    {"state has not one row", "SELECT count(*) FROM state HAVING count(*) <> 1"},
    {"text that is not as long as its document says",
     "SELECT d.id FROM documents d LEFT JOIN (SELECT document_id, sum(length(body)) AS n, "
     "max(piece) + 1 AS last, count(*) AS pieces FROM texts GROUP BY document_id) t ON "
     "t.document_id = d.id WHERE coalesce(t.n, 0) <> d.text_len OR t.last <> t.pieces LIMIT 1"},
    {"text row of the wrong size",
     "SELECT t.document_id FROM texts t JOIN documents d ON d.id = t.document_id WHERE "
     "length(t.body) <> min(16384, d.text_len - t.piece * 16384) LIMIT 1"},
    {"document with missing or extra chunks",
     "SELECT d.id FROM documents d LEFT JOIN (SELECT document_id, count(*) AS n, max(idx) AS last "
     "FROM chunks GROUP BY document_id) c ON c.document_id = d.id WHERE coalesce(c.n, 0) <> "
     "d.n_chunks OR coalesce(c.last, -1) <> d.n_chunks - 1 LIMIT 1"},
    {"chunk outside its document",
     "SELECT c.id FROM chunks c LEFT JOIN documents d ON d.id = c.document_id WHERE d.id IS NULL "
     "OR c.start < 0 OR c.start > c.\"end\" OR c.\"end\" > d.text_len LIMIT 1"},
    {"chunk without vector",
     "SELECT c.id FROM chunks c LEFT JOIN vectors v ON v.chunk_id = c.id WHERE v.chunk_id IS NULL "
     "LIMIT 1"},
    {"vector without chunk",
     "SELECT v.chunk_id FROM vectors v LEFT JOIN chunks c ON c.id = v.chunk_id WHERE c.id IS NULL "
     "LIMIT 1"},
};

static enum status check_one(struct store *s, const char *what, const char *sql, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    enum status r = rc ? store_error(s, rc, what, e) : store_step(s, st, what, &row, e);
    if (!r && row) {
        r = err_set(e, ERR_FORMAT, s->path, "%s: %lld", what,
                    (long long)sqlite3_column_int64(st, 0));
    }
    (void)sqlite3_finalize(st);
    return r;
}

static enum status quick_check(struct store *s, struct err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL);
    enum status r =
        rc ? store_error(s, rc, "quick_check", e) : store_step(s, st, "quick_check", &row, e);
    if (!r && (!row || strcmp(store_column_text(st, 0), "ok") != 0)) {
        r = err_set(e, ERR_FORMAT, s->path, "the database is damaged (%s)",
                    row ? store_column_text(st, 0) : "no answer from its check");
    }
    (void)sqlite3_finalize(st);
    return r;
}

struct vector_check {
    int64_t bad;
};

static enum status check_vector(void *ctx, int64_t chunk_id, const float *vector, int64_t dim)
{
    double sum = 0;
    for (int64_t i = 0; i < dim; i++) {
        sum += (double)vector[i] * (double)vector[i];
    }
    if (fabs(sum - 1) < 0.02) {
        return OK;
    }
    ((struct vector_check *)ctx)->bad = chunk_id;
    return ERR_FORMAT;
}

enum status store_verify(struct store *s, struct err *e)
{
    enum status r = store_snapshot_begin(s, e);
    if (r) {
        return r;
    }
    r = quick_check(s, e);
    for (size_t i = 0; !r && i < sizeof checks / sizeof *checks; i++) {
        r = check_one(s, checks[i].what, checks[i].sql, e);
    }
    struct vector_check v = {.bad = -1};
    r = r ? r : store_each_vector(s, check_vector, &v, e);
    if (r && v.bad >= 0) {
        r = err_set(e, ERR_FORMAT, s->path, "vector that is not of unit length: chunk %lld",
                    (long long)v.bad);
    }
    store_snapshot_end(s);
    return r;
}

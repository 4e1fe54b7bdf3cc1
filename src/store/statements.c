/* The SQL of the store, in one place, and what runs it: cached statements, transactions, error
 * codes. Statements are prepared at their first use and live as long as the handle. */
#include "store/store_internal.h"

#include "base/sys.h"

#include <errno.h>
#include <string.h>

#define DOCUMENT_COLUMNS                                                                 \
    "id, uri, source, title, author, language, kind, sha256, size, mtime_ns, added_ns, " \
    "n_pages, text_len, n_chunks"
#define CHUNK_COLUMNS                                                                 \
    "c.id, c.document_id, c.idx, c.heading, c.start, c.\"end\", c.page, c.page_end, " \
    "c.n_tokens"

const char *const store_sql[STATEMENT_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_SAVEPOINT] = "SAVEPOINT inner",
    [ST_RELEASE] = "RELEASE inner",
    [ST_ROLLBACK_TO] = "ROLLBACK TO inner",
    [ST_STATE] = "SELECT generation, last_change_ns, store_id, dim, embedder_name, "
                 "embedder_identity FROM state WHERE id = 1",
    [ST_BUMP] = "UPDATE state SET generation = generation + 1, last_change_ns = ?1",
    [ST_SET_EMBEDDER] = "UPDATE state SET embedder_name = ?1, embedder_identity = ?2, dim = ?3",
    [ST_COUNT_DOCUMENTS] = "SELECT count(*) FROM documents",
    [ST_COUNT_VECTORS] = "SELECT count(*) FROM vectors",
    [ST_DOCUMENT] = "SELECT " DOCUMENT_COLUMNS " FROM documents WHERE id = ?1",
    [ST_DOCUMENT_BY_URI] = "SELECT " DOCUMENT_COLUMNS " FROM documents WHERE uri = ?1",
    [ST_DOCUMENT_ID] = "SELECT id FROM documents WHERE uri = ?1",
    [ST_INSERT_DOCUMENT] = "INSERT INTO documents (uri, source, title, author, language, kind, "
                           "sha256, size, mtime_ns, added_ns, n_pages, text_len, n_chunks) VALUES "
                           "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [ST_UPDATE_DOCUMENT] =
        "UPDATE documents SET source = ?2, title = ?3, author = ?4, language = ?5, kind = ?6, "
        "sha256 = ?7, size = ?8, mtime_ns = ?9, added_ns = ?10, n_pages = ?11, text_len = ?12, "
        "n_chunks = ?13 WHERE uri = ?1",
    [ST_DELETE_DOCUMENT] = "DELETE FROM documents WHERE id = ?1",
    [ST_TOUCH_DOCUMENT] = "UPDATE documents SET size = ?2, mtime_ns = ?3 WHERE id = ?1",
    [ST_INSERT_TEXT] = "INSERT INTO texts (document_id, piece, body) VALUES (?1, ?2, ?3)",
    [ST_DELETE_TEXT] = "DELETE FROM texts WHERE document_id = ?1",
    [ST_TEXT_SIZE] = "SELECT coalesce(sum(length(body)), 0) FROM texts WHERE document_id = ?1",
    [ST_TEXT_RANGE] = "SELECT piece, body FROM texts WHERE document_id = ?1 AND piece BETWEEN ?2 "
                      "AND ?3 ORDER BY piece",
    [ST_INSERT_CHUNK] = "INSERT INTO chunks (document_id, idx, heading, start, \"end\", page, "
                        "page_end, n_tokens, embed_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
                        "?9)",
    [ST_DELETE_CHUNKS] = "DELETE FROM chunks WHERE document_id = ?1",
    [ST_CHUNK] = "SELECT " CHUNK_COLUMNS " FROM chunks c WHERE c.id = ?1",
    [ST_CHUNK_AT] = "SELECT " CHUNK_COLUMNS " FROM chunks c WHERE c.document_id = ?1 AND c.idx = "
                    "?2",
    [ST_INSERT_VECTOR] = "INSERT INTO vectors (chunk_id, vector) VALUES (?1, ?2)",
    [ST_VECTOR] = "SELECT vector FROM vectors WHERE chunk_id = ?1",
    [ST_FIND_VECTOR] = "SELECT v.vector FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE "
                       "c.embed_hash = ?1 LIMIT 1",
    [ST_PUT_FAILURE] = "INSERT INTO failures (uri, source, code, message, at_ns) VALUES (?1, ?2, "
                       "?3, ?4, ?5) ON CONFLICT (uri) DO UPDATE SET source = excluded.source, code "
                       "= excluded.code, message = excluded.message, at_ns = excluded.at_ns",
    [ST_CLEAR_FAILURE] = "DELETE FROM failures WHERE uri = ?1",
    [ST_STATS] = "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks), "
                 "(SELECT coalesce(sum(n_pages), 0) FROM documents), "
                 "(SELECT coalesce(sum(text_len), 0) FROM documents), "
                 "(SELECT count(*) FROM failures), "
                 "(SELECT count(DISTINCT source) FROM documents)",
};

static bool file_is_full(sqlite3_file *f)
{
    int en = 0;
    return f && f->pMethods && f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &en) == 0 &&
           (en == ENOSPC || en == EDQUOT || en == EFBIG);
}

/* A quota or a limit of file size comes as a plain I/O error. What the system said is kept with the
 * file; sqlite3_system_errno() gives errno as later calls have left it. */
static bool is_full(sqlite3 *db, int rc)
{
    sqlite3_file *f = NULL, *log = NULL;
    if (!db || (rc != SQLITE_IOERR_WRITE && rc != SQLITE_IOERR_FSYNC)) {
        return false;
    }
    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f);
    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    return file_is_full(f) || file_is_full(log);
}

/* Inputs are checked before they are bound, so a broken constraint or a missing table means that
 * the file contradicts itself: ERR_FORMAT, not our mistake. */
static enum status code_of(int rc, bool full)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM) {
            return ERR_MEMORY;
        }
        if (rc == SQLITE_IOERR_SHORT_READ) {
            return ERR_FORMAT;
        }
        return full || rc == SQLITE_IOERR_SHMSIZE ? ERR_NO_SPACE : ERR_IO;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_ERROR:
        return ERR_FORMAT;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_IO;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    case SQLITE_INTERRUPT:
        return ERR_CANCELLED;
    default:
        return ERR_INTERNAL;
    }
}

enum status store_error(struct store *s, int rc, const char *what, struct err *e)
{
    const char *detail = s->db && sqlite3_errcode(s->db) ? sqlite3_errmsg(s->db) : NULL;
    enum status st = code_of(rc, is_full(s->db, rc));
    detail = detail ? detail : sqlite3_errstr(rc);
    if ((rc & 0xff) == SQLITE_NOTADB) {
        return err_set(e, st, s->path, "not a database: %s", detail);
    }
    if (st == ERR_FORMAT) {
        return err_set(e, st, s->path,
                       "the database is damaged (%s: %s): put a backup in its place, or remove the "
                       "folder and add the documents again",
                       what, detail);
    }
    return err_set(e, st, s->path, "%s: %s", what, detail);
}

enum status store_statement(struct store *s, enum statement id, sqlite3_stmt **out, struct err *e)
{
    sqlite3_stmt **slot = &s->statements[id];
    if (!*slot) {
        int rc =
            sqlite3_prepare_v3(s->db, store_sql[id], -1, SQLITE_PREPARE_PERSISTENT, slot, NULL);
        if (rc) {
            return store_error(s, rc, "cannot read its schema", e);
        }
    }
    *out = *slot;
    return OK;
}

void store_done(sqlite3_stmt *st)
{
    if (st) {
        (void)sqlite3_reset(st);
        (void)sqlite3_clear_bindings(st);
    }
}

enum status store_step(struct store *s, sqlite3_stmt *st, const char *what, bool *row,
                       struct err *e)
{
    int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        return store_error(s, rc, what, e);
    }
    *row = rc == SQLITE_ROW;
    return OK;
}

enum status store_run(struct store *s, sqlite3_stmt *st, const char *what, struct err *e)
{
    bool row = false;
    enum status r = store_step(s, st, what, &row, e);
    store_done(st);
    return r;
}

enum status store_exec(struct store *s, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc ? store_error(s, rc, "cannot set it up", e) : OK;
}

enum status store_exec_int(struct store *s, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    rc = rc ? rc : sqlite3_step(st);
    enum status r = OK;
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
    } else {
        r = store_error(s, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, "cannot read it", e);
    }
    (void)sqlite3_finalize(st);
    return r;
}

const char *store_column_text(sqlite3_stmt *st, int column)
{
    const char *t = (const char *)sqlite3_column_text(st, column);
    return t ? t : "";
}

static enum status run_id(struct store *s, enum statement id, const char *what, struct err *e)
{
    sqlite3_stmt *st = NULL;
    enum status r = store_statement(s, id, &st, e);
    return r ? r : store_run(s, st, what, e);
}

enum status store_tx_begin(struct store *s, bool *outer, struct err *e)
{
    if (s->lock_fd < 0) {
        return err_set(e, ERR_INTERNAL, s->path, "opened for reading, asked to write");
    }
    bool idle = sqlite3_get_autocommit(s->db) != 0;
    if (idle && s->batch) {
        return err_set(e, ERR_INTERNAL, s->path, "the batch was rolled back by an earlier failure");
    }
    enum status r = run_id(s, idle ? ST_BEGIN : ST_SAVEPOINT, "cannot begin a change", e);
    if (!r) {
        *outer = idle;
    }
    return r;
}

/* After SQLITE_FULL and the like the library has rolled back everything by itself, and there is
 * nothing left to undo. */
enum status store_tx_end(struct store *s, bool outer, enum status so_far, struct err *e)
{
    if (!so_far) {
        so_far = run_id(s, outer ? ST_COMMIT : ST_RELEASE, "cannot commit a change", e);
        if (!so_far) {
            return OK;
        }
    }
    if (!sqlite3_get_autocommit(s->db)) {
        if (outer) {
            (void)run_id(s, ST_ROLLBACK, "", NULL);
        } else if (!run_id(s, ST_ROLLBACK_TO, "", NULL)) {
            (void)run_id(s, ST_RELEASE, "", NULL);
        }
    }
    return so_far;
}

enum status store_begin(struct store *s, struct err *e)
{
    bool outer = false;
    enum status r = store_tx_begin(s, &outer, e);
    s->batch = s->batch || !r;
    return r;
}

enum status store_commit(struct store *s, struct err *e)
{
    bool lost = sqlite3_get_autocommit(s->db) != 0;
    s->batch = false;
    return lost ? err_set(e, ERR_INTERNAL, s->path, "no batch to commit")
                : store_tx_end(s, true, OK, e);
}

void store_rollback(struct store *s)
{
    s->batch = false;
    if (!sqlite3_get_autocommit(s->db)) {
        (void)run_id(s, ST_ROLLBACK, "", NULL);
    }
}

enum status store_bump(struct store *s, struct err *e)
{
    sqlite3_stmt *st = NULL;
    enum status r = store_statement(s, ST_BUMP, &st, e);
    if (r) {
        return r;
    }
    sqlite3_bind_int64(st, 1, wall_ns());
    return store_run(s, st, "cannot count a change", e);
}

enum status store_snapshot_begin(struct store *s, struct err *e)
{
    return run_id(s, ST_SAVEPOINT, "cannot begin reading", e);
}

void store_snapshot_end(struct store *s)
{
    if (!sqlite3_get_autocommit(s->db)) {
        (void)run_id(s, ST_RELEASE, "", NULL);
    }
}

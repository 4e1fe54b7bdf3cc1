/* What the files of store/ share and nobody else sees: the handle, its cached statements, the
 * transaction helpers. */
#ifndef HEARTH_STORE_STORE_INTERNAL_H
#define HEARTH_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/documents.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are stored as they lie here");

enum {
    STORE_APPLICATION_ID = 0x48727468, /* "Hrth" */
    STORE_SCHEMA = 2,
    STORE_PIECE = 16384, /* bytes of document text per row of `texts` */
    STORE_MAX_DIM = 65536
};

/* Statements that are prepared once per handle; their SQL stands in statements.c. */
enum statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_SAVEPOINT,
    ST_RELEASE,
    ST_ROLLBACK_TO,
    ST_STATE,
    ST_BUMP,
    ST_SET_EMBEDDER,
    ST_COUNT_DOCUMENTS,
    ST_COUNT_VECTORS,
    ST_DOCUMENT,
    ST_DOCUMENT_BY_URI,
    ST_DOCUMENT_ID,
    ST_INSERT_DOCUMENT,
    ST_UPDATE_DOCUMENT,
    ST_DELETE_DOCUMENT,
    ST_TOUCH_DOCUMENT,
    ST_INSERT_TEXT,
    ST_DELETE_TEXT,
    ST_TEXT_SIZE,
    ST_TEXT_RANGE,
    ST_INSERT_CHUNK,
    ST_DELETE_CHUNKS,
    ST_CHUNK,
    ST_CHUNK_AT,
    ST_INSERT_VECTOR,
    ST_VECTOR,
    ST_FIND_VECTOR,
    ST_PUT_FAILURE,
    ST_CLEAR_FAILURE,
    ST_STATS,
    STATEMENT_COUNT
};

struct store {
    sqlite3 *db;
    char *home;
    char *path;  /* HOME/hearth.db, the place of its errors */
    int lock_fd; /* -1: opened for reading */
    bool batch;  /* between store_begin and store_commit */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct buf embedder_name, embedder_identity; /* behind store_embedder's answer */
};

extern const char *const store_sql[STATEMENT_COUNT];

/* Error of the database library as ours, with the database file as its place. */
enum status store_error(struct store *s, int rc, const char *what, struct err *e);

/* A cached statement, reset and ready to bind; store_done() resets it after use. */
MUST_CHECK enum status store_statement(struct store *s, enum statement id, sqlite3_stmt **out,
                                       struct err *e);
void store_done(sqlite3_stmt *st);
/* Steps a statement that gives no rows, and resets it. */
MUST_CHECK enum status store_run(struct store *s, sqlite3_stmt *st, const char *what,
                                 struct err *e);
/* Steps to the next row: *row tells whether there is one. */
MUST_CHECK enum status store_step(struct store *s, sqlite3_stmt *st, const char *what, bool *row,
                                  struct err *e);
/* SQL without results, not cached. */
MUST_CHECK enum status store_exec(struct store *s, const char *sql, struct err *e);
/* First column of the first row of a pragma or query. */
MUST_CHECK enum status store_exec_int(struct store *s, const char *sql, int64_t *out,
                                      struct err *e);

/* A write: the outermost one is a transaction, one inside a batch a savepoint. store_tx_end commits
 * when `so_far` is OK, else rolls back; it returns what the write as a whole came to. */
MUST_CHECK enum status store_tx_begin(struct store *s, bool *outer, struct err *e);
MUST_CHECK enum status store_tx_end(struct store *s, bool outer, enum status so_far, struct err *e);
MUST_CHECK enum status store_bump(struct store *s, struct err *e); /* one more generation */

/* The one row of state. */
struct store_state {
    int64_t generation, last_change_ns, store_id, dim;
};
MUST_CHECK enum status store_state(struct store *s, struct store_state *out, struct err *e);

/* A consistent view over several reads: begin, read, end. */
MUST_CHECK enum status store_snapshot_begin(struct store *s, struct err *e);
void store_snapshot_end(struct store *s);
MUST_CHECK enum status store_count_vectors(struct store *s, int64_t *out, struct err *e);

/* Makes an empty file that only its owner can read, if there is none; the database library would
 * make one for everybody. (Never opens one that is there: closing it would drop the locks of this
 * process on it.) */
void store_create_private(const char *path);

/* schema.c: makes or migrates a database that is open for writing; checks one that is open for
 * reading (*older: it must be migrated first). */
MUST_CHECK enum status store_schema_check(struct store *s, bool *empty, bool *older, struct err *e);
MUST_CHECK enum status store_schema_update(struct store *s, int64_t to_version, struct err *e);

const char *store_column_text(sqlite3_stmt *st, int column); /* never NULL */
#endif

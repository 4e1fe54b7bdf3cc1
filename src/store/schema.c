/* The schema as a list of steps: step i takes a database from version i to i + 1, and a new
 * database takes all of them, so the path that old libraries go is the one every test goes.
 *
 * Tables are STRICT, numbers are range-checked by the database itself. Ids are never used again
 * (AUTOINCREMENT): a stale index can name a chunk that is gone but never another one. Document text
 * lies in rows of 16 KiB, so that reading one chunk out of a long book costs one or two rows
 * (alternative: one blob per document, whose overflow pages are a chain that is walked from its
 * start). Vectors have a table of their own, so that scanning chunks does not drag them along.
 *
 * An upgrade first copies the database beside itself (hearth.db.v1.bak), then runs in one
 * transaction. */
#include "store/store_internal.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const steps[STORE_SCHEMA] = {
    "CREATE TABLE state ("
    " id INTEGER PRIMARY KEY CHECK (id = 1),"
    " store_id INTEGER NOT NULL," /* tells this library from another with the same generation */
    " generation INTEGER NOT NULL CHECK (generation >= 0),"
    " last_change_ns INTEGER NOT NULL,"
    " embedder_name TEXT NOT NULL, embedder_identity TEXT NOT NULL,"
    " dim INTEGER NOT NULL CHECK (dim BETWEEN 0 AND 65536)) STRICT;"
    "INSERT INTO state VALUES (1, random(), 0, 0, '', '', 0);"
    "CREATE TABLE documents ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uri TEXT NOT NULL UNIQUE, source TEXT NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL,"
    " language TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL,"
    " size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, added_ns INTEGER NOT NULL,"
    " n_pages INTEGER NOT NULL CHECK (n_pages >= 0),"
    " text_len INTEGER NOT NULL CHECK (text_len BETWEEN 0 AND 4294967295),"
    " n_chunks INTEGER NOT NULL CHECK (n_chunks >= 0)) STRICT;"
    "CREATE INDEX documents_by_source ON documents (source, uri);"
    "CREATE TABLE texts ("
    " document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,"
    " piece INTEGER NOT NULL CHECK (piece >= 0), body BLOB NOT NULL,"
    " PRIMARY KEY (document_id, piece)) STRICT;"
    "CREATE TABLE chunks ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,"
    " idx INTEGER NOT NULL CHECK (idx >= 0), heading TEXT NOT NULL,"
    " start INTEGER NOT NULL CHECK (start >= 0), \"end\" INTEGER NOT NULL CHECK (\"end\" >= start),"
    " page INTEGER NOT NULL CHECK (page >= 0), page_end INTEGER NOT NULL CHECK (page_end >= page),"
    " n_tokens INTEGER NOT NULL CHECK (n_tokens >= 0),"
    " UNIQUE (document_id, idx)) STRICT;"
    "CREATE TABLE vectors ("
    " chunk_id INTEGER PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,"
    " vector BLOB NOT NULL) STRICT;"
    "CREATE TABLE failures ("
    " uri TEXT PRIMARY KEY, source TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,"
    " at_ns INTEGER NOT NULL) STRICT;",

    /* Hash of what was embedded: equal passages of moved and edited files keep their vectors. */
    "ALTER TABLE chunks ADD COLUMN embed_hash TEXT;"
    "CREATE INDEX chunks_by_hash ON chunks (embed_hash) WHERE embed_hash IS NOT NULL;",
};

enum status store_schema_check(struct store *s, bool *empty, bool *older, struct err *e)
{
    int64_t app = 0, version = 0, n_tables = 0;
    enum status st = store_exec_int(s, "PRAGMA application_id", &app, e);
    st = st ? st : store_exec_int(s, "PRAGMA user_version", &version, e);
    st = st ? st : store_exec_int(s, "SELECT count(*) FROM sqlite_schema", &n_tables, e);
    if (st) {
        return st;
    }
    *empty = app == 0 && version == 0 && n_tables == 0;
    *older = false;
    if (*empty) {
        return OK;
    }
    if (app != STORE_APPLICATION_ID || version < 1) {
        return err_set(e, ERR_FORMAT, s->path, "a database, but not one that hearth made");
    }
    if (version > STORE_SCHEMA) {
        return err_set(
            e, ERR_MISMATCH, s->path,
            "made by a newer hearth (schema %lld, this program knows up to %d): use that "
            "version, or another folder",
            (long long)version, STORE_SCHEMA);
    }
    *older = version < STORE_SCHEMA;
    return OK;
}

static enum status copy_database(struct store *s, const char *to, struct err *e)
{
    sqlite3 *copy = NULL;
    int rc = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sqlite3_backup *b = rc ? NULL : sqlite3_backup_init(copy, "main", s->db, "main");
    if (b) {
        (void)sqlite3_backup_step(b, -1);
        rc = sqlite3_backup_finish(b);
    } else if (!rc) {
        rc = sqlite3_errcode(copy);
    }
    enum status st = OK;
    if (rc) {
        st = err_set(e, (rc & 0xff) == SQLITE_FULL ? ERR_NO_SPACE : ERR_IO, to,
                     "cannot make the backup that an upgrade needs: %s", sqlite3_errstr(rc));
    }
    (void)sqlite3_close(copy);
    return st;
}

/* The old database as it was, under a name that is complete or absent. */
static enum status backup(struct store *s, int64_t version, struct err *e)
{
    struct buf path = {0}, tmp = {0};
    buf_printf(&path, "%s.v%lld.bak", s->path, (long long)version);
    buf_printf(&tmp, "%s.v%lld.bak.tmp", s->path, (long long)version);
    enum status st = OK;
    if (path.failed || tmp.failed) {
        st = err_set(e, ERR_MEMORY, s->path, "no memory for the name of its backup");
    } else {
        (void)unlink(tmp.data); /* of an upgrade that was cut off */
        store_create_private(tmp.data);
        st = copy_database(s, tmp.data, e);
        if (!st && rename(tmp.data, path.data) != 0) {
            st = err_set(e, ERR_IO, path.data, "cannot rename the backup into place");
        }
    }
    buf_fini(&path);
    buf_fini(&tmp);
    return st;
}

enum status store_schema_update(struct store *s, int64_t to_version, struct err *e)
{
    int64_t from = 0;
    enum status st = store_exec_int(s, "PRAGMA user_version", &from, e);
    if (!st && from > 0) {
        st = backup(s, from, e);
    }
    bool outer = false;
    st = st ? st : store_tx_begin(s, &outer, e);
    if (st) {
        return st;
    }
    for (int64_t v = from; !st && v < to_version; v++) {
        st = store_exec(s, steps[v], e);
    }
    char pragmas[96];
    (void)snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                   STORE_APPLICATION_ID, (int)to_version);
    st = st ? st : store_exec(s, pragmas, e);
    return store_tx_end(s, outer, st, e);
}

/* Non-volatile memory in a SQLite file: one table, write-ahead log, every commit on the disk before
 * it answers. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simcard/nvm.h"

/* "SIMC" in the file header (PRAGMA application_id) tells our store from any other SQLite file,
 * user_version tells a store of a later release. */
enum { STORE_ID = 0x53494D43, STORE_VERSION = 1 };

static const char durable[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
static const char in_bulk[] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF";

enum statement { S_EACH, S_BEGIN, S_PUT, S_DEL, S_COMMIT, S_ROLLBACK, S_COUNT };

static const char *const statement_text[S_COUNT] = {
    [S_EACH] = "SELECT key, value FROM nvm ORDER BY key",
    [S_BEGIN] = "BEGIN IMMEDIATE",
    [S_PUT] =
        "INSERT INTO nvm(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2",
    [S_DEL] = "DELETE FROM nvm WHERE key = ?1",
    [S_COMMIT] = "COMMIT",
    [S_ROLLBACK] = "ROLLBACK",
};

struct nvm_sqlite {
    struct card_nvm base;
    sqlite3 *db;
    sqlite3_stmt *statement[S_COUNT];
    int lock_fd; /* -1 for a reader */
};

static struct nvm_sqlite *self(struct card_nvm *nvm) {
    return (struct nvm_sqlite *)nvm;
}

static int store_error(int rc) {
    return rc == SQLITE_FULL || rc == SQLITE_TOOBIG ? TB_ESPACE : TB_ESTORE;
}

static int run(struct nvm_sqlite *s, enum statement which) {
    int rc = sqlite3_step(s->statement[which]);

    sqlite3_reset(s->statement[which]);
    return rc == SQLITE_DONE ? 0 : store_error(rc);
}

/* Empty blobs must not become NULL: SQLite takes a NULL pointer for the value NULL whatever the
 * length. */
static int bind(sqlite3_stmt *st, int at, struct tb_span v) {
    return sqlite3_bind_blob64(st, at, v.n ? (const void *)v.p : "", v.n, SQLITE_STATIC);
}

static struct tb_span column(sqlite3_stmt *st, int at) {
    const void *p = sqlite3_column_blob(st, at);

    return tb_span(p, (size_t)sqlite3_column_bytes(st, at));
}

static int sqlite_each(struct card_nvm *nvm,
                       int (*fn)(struct tb_span key, struct tb_span value, void *user),
                       void *user) {
    sqlite3_stmt *st = self(nvm)->statement[S_EACH];
    int rc, r = 0;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        r = fn(column(st, 0), column(st, 1), user);
        if (r != 0)
            break;
    }
    sqlite3_reset(st);
    if (r != 0)
        return r;
    return rc == SQLITE_DONE ? 0 : TB_ESTORE;
}

static int sqlite_begin(struct card_nvm *nvm) {
    return run(self(nvm), S_BEGIN);
}

static int sqlite_put(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    struct nvm_sqlite *s = self(nvm);
    sqlite3_stmt *st = s->statement[S_PUT];
    int r = TB_ESTORE;

    if (bind(st, 1, key) == SQLITE_OK && bind(st, 2, value) == SQLITE_OK)
        r = run(s, S_PUT);
    sqlite3_clear_bindings(st);
    return r;
}

static int sqlite_del(struct card_nvm *nvm, struct tb_span key) {
    struct nvm_sqlite *s = self(nvm);
    sqlite3_stmt *st = s->statement[S_DEL];
    int r = TB_ESTORE;

    if (bind(st, 1, key) == SQLITE_OK)
        r = run(s, S_DEL);
    sqlite3_clear_bindings(st);
    return r;
}

static int sqlite_commit(struct card_nvm *nvm) {
    return run(self(nvm), S_COMMIT);
}

static void sqlite_rollback(struct card_nvm *nvm) {
    struct nvm_sqlite *s = self(nvm);

    /* A full disk or an I/O error may have rolled back already. */
    if (!sqlite3_get_autocommit(s->db))
        (void)run(s, S_ROLLBACK);
}

static void sqlite_free(struct card_nvm *nvm) {
    struct nvm_sqlite *s = self(nvm);

    for (int i = 0; i < S_COUNT; i++)
        sqlite3_finalize(s->statement[i]);
    sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        close(s->lock_fd); /* releases the lock */
    free(s);
}

static const struct card_nvm_ops sqlite_ops = {
    .each = sqlite_each,
    .begin = sqlite_begin,
    .put = sqlite_put,
    .del = sqlite_del,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .free = sqlite_free,
};

/* Opens (creates) the file ourselves first: so it is private from its first moment, its WAL
 * inherits that mode, and the descriptor carries a lock that ends with the process however it ends.
 * SQLite's own locks are of another kind (fcntl) and do not meet this one. */
static int take_lock(struct nvm_sqlite *s, const char *path, struct tb_error *e) {
    int r;

    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        r = -errno;
        return tb_error_set(e, r, path, 0, "cannot open the card store: %s", tb_strerror(r));
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return tb_error_set(
                e, TB_ESTATE, path, 0,
                "another sim-card runs on this card store; a card exists only once: "
                "end that one, or make a second card with 'sim-card personalise'");
        r = -errno;
        return tb_error_set(e, r, path, 0, "cannot lock the card store: %s", tb_strerror(r));
    }
    return 0;
}

static int query_int(sqlite3 *db, const char *sql, int *ret) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* What kind of file it is: an empty one is turned into a store, a store of ours is taken, all else
 * is refused. */
static int check_schema(struct nvm_sqlite *s, const char *path, bool create, struct tb_error *e) {
    int id = 0, version = 0, tables = 0;
    char sql[256];

    if (query_int(s->db, "PRAGMA application_id", &id) != SQLITE_OK ||
        query_int(s->db, "PRAGMA user_version", &version) != SQLITE_OK ||
        query_int(s->db, "SELECT count(*) FROM sqlite_master", &tables) != SQLITE_OK)
        return tb_error_set(e, TB_ESTORE, path, 0, "not a card store: %s", sqlite3_errmsg(s->db));
    if (id == STORE_ID && version == STORE_VERSION)
        return 0;
    if (id == STORE_ID)
        return tb_error_set(
            e, TB_EUNSUP, path, 0,
            "card store of format %d, this program reads format %d: use the release that made it",
            version, STORE_VERSION);
    if (id != 0 || tables != 0)
        return tb_error_set(e, TB_ESTORE, path, 0, "this SQLite file is not a card store");
    if (!create)
        return tb_error_set(e, TB_ENOTFOUND, path, 0, "no card in this file");
    snprintf(sql, sizeof sql,
             "BEGIN IMMEDIATE;"
             "CREATE TABLE nvm(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
             "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             STORE_ID, STORE_VERSION);
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return tb_error_set(e, TB_ESTORE, path, 0, "cannot create the card store: %s",
                            sqlite3_errmsg(s->db));
    return 0;
}

static int open_database(struct nvm_sqlite *s, const char *path, bool write, const char *how,
                         struct tb_error *e) {
    /* One thread uses the handle at a time: SQLite's own mutexes would be paid for nothing. */
    int flags = SQLITE_OPEN_NOMUTEX | (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    int r;

    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        return tb_error_set(e, TB_ESTORE, path, 0, "cannot open the card store: %s",
                            s->db ? sqlite3_errmsg(s->db) : "out of memory");
    /* A reader ('inspect') may hold the file for a moment. */
    sqlite3_busy_timeout(s->db, 5000);
    if (strcmp(how, durable) != 0 && sqlite3_exec(s->db, how, NULL, NULL, NULL) != SQLITE_OK)
        return tb_error_set(e, TB_ESTORE, path, 0, "cannot set up the card store: %s",
                            sqlite3_errmsg(s->db));
    r = check_schema(s, path, write, e);
    if (r < 0)
        return r;
    if (write && sqlite3_exec(s->db, how, NULL, NULL, NULL) != SQLITE_OK)
        return tb_error_set(e, TB_ESTORE, path, 0, "cannot set up the card store: %s",
                            sqlite3_errmsg(s->db));
    for (int i = 0; i < S_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->statement[i], NULL) != SQLITE_OK)
            return tb_error_set(e, TB_ESTORE, path, 0, "damaged card store: %s",
                                sqlite3_errmsg(s->db));
    return 0;
}

static int open_store(const char *path, bool write, const char *how, struct card_nvm **ret,
                      struct tb_error *e) {
    struct nvm_sqlite *s = calloc(1, sizeof *s);
    int r = 0;

    if (!s)
        return tb_error_set(e, TB_ENOMEM, path, 0, "out of memory");
    s->base.ops = &sqlite_ops;
    s->lock_fd = -1;
    if (write)
        r = take_lock(s, path, e);
    if (r == 0)
        r = open_database(s, path, write, how, e);
    if (r < 0) {
        sqlite_free(&s->base);
        return r;
    }
    *ret = &s->base;
    return 0;
}

int card_nvm_sqlite_open(const char *path, struct card_nvm **ret, struct tb_error *e) {
    return open_store(path, true, durable, ret, e);
}

int card_nvm_sqlite_create(const char *path, struct card_nvm **ret, struct tb_error *e) {
    if (unlink(path) < 0 && errno != ENOENT)
        return tb_error_set(e, -errno, path, 0, "cannot replace the card store: %s",
                            tb_strerror(-errno));
    return open_store(path, true, in_bulk, ret, e);
}

int card_nvm_sqlite_open_read(const char *path, struct card_nvm **ret, struct tb_error *e) {
    if (access(path, F_OK) < 0)
        return tb_error_set(e, TB_ENOTFOUND, path, 0,
                            "no such card store; 'sim-card personalise' makes one");
    return open_store(path, false, durable, ret, e);
}

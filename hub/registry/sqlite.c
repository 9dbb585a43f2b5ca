/* The database behind the registry: file, tables, statements, transactions. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/internal.h"
#include "tb/log.h"

enum {
    SCHEMA_VERSION = 3,
    APPLICATION_ID = 0x494F5448 /* "IOTH" */,
    BUSY_MS = 2000,
    BUSY_SHORT_MS = 20
};

/* Names as in the larger design: what is not here yet (batches, enrolment nonces, the audit chain)
 * fits in beside it. */
static const char schema_1[] =
    "CREATE TABLE card(iccid TEXT PRIMARY KEY, imsi TEXT, created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE device(id TEXT PRIMARY KEY, card_iccid TEXT REFERENCES card(iccid),"
    " created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE ca(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " role TEXT NOT NULL CHECK(role IN ('operational', 'none')), subject TEXT NOT NULL, cert BLOB "
    "NOT NULL,"
    " key_ref TEXT);"
    "CREATE TABLE credential(id INTEGER PRIMARY KEY, device_id TEXT NOT NULL REFERENCES device(id),"
    " card_iccid TEXT REFERENCES card(iccid), role TEXT NOT NULL CHECK(role IN ('bootstrap', "
    "'final')),"
    " kind TEXT NOT NULL CHECK(kind IN ('x509', 'psk', 'rpk')),"
    " fp BLOB NOT NULL UNIQUE CHECK(length(fp) = 32), spki_hash BLOB NOT NULL "
    "CHECK(length(spki_hash) = 32),"
    " serial TEXT NOT NULL, issuer TEXT NOT NULL, subject TEXT NOT NULL,"
    " not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, state TEXT NOT NULL,"
    " created INTEGER NOT NULL, activated INTEGER, ended INTEGER, reason TEXT);"
    "CREATE INDEX credential_device ON credential(device_id);"
    "CREATE TABLE credential_event(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " credential_id INTEGER NOT NULL REFERENCES credential(id), ts INTEGER NOT NULL,"
    " from_state TEXT NOT NULL, to_state TEXT NOT NULL, actor TEXT NOT NULL, cause TEXT NOT NULL);"
    "CREATE TRIGGER credential_event_kept BEFORE DELETE ON credential_event"
    " BEGIN SELECT RAISE(ABORT, 'credential_event is append-only'); END;"
    "CREATE TRIGGER credential_event_fixed BEFORE UPDATE ON credential_event"
    " BEGIN SELECT RAISE(ABORT, 'credential_event is append-only'); END;"
    "CREATE TABLE revocation(ca_id INTEGER REFERENCES ca(id), serial TEXT NOT NULL, ts INTEGER NOT "
    "NULL,"
    " reason TEXT NOT NULL);"
    "CREATE UNIQUE INDEX revocation_once ON revocation(ca_id, serial);";

/* Pre-shared keys: fp is the SHA-256 of the identity, psk_wrapped the secret under psk.key. */
static const char schema_2[] = "ALTER TABLE credential ADD COLUMN psk_identity TEXT;"
                               "ALTER TABLE credential ADD COLUMN psk_wrapped BLOB;"
                               "CREATE UNIQUE INDEX credential_psk ON credential(psk_identity) "
                               "WHERE psk_identity IS NOT NULL;";

/* A public key without a certificate is looked up by its hash. */
static const char schema_3[] = "CREATE INDEX credential_spki ON credential(spki_hash);";

/* A registry of version n becomes one of version n + 1 by upgrades[n]; a new file starts at 0. */
static const char *const upgrades[SCHEMA_VERSION] = {schema_1, schema_2, schema_3};

int hub_db_error(struct hub_registry *r, struct tb_error *e) {
    return tb_error_set(e, TB_ESTORE, NULL, 0, "registry: %s", sqlite3_errmsg(r->db));
}

int hub_db_exec(struct hub_registry *r, const char *sql, struct tb_error *e) {
    return sqlite3_exec(r->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : hub_db_error(r, e);
}

static int bind_all(sqlite3_stmt *s, const char *fmt, va_list ap) {
    int rc = SQLITE_OK;

    for (int i = 1; *fmt && rc == SQLITE_OK; fmt++, i++) {
        switch (*fmt) {
        case 's':
            rc = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'i':
            rc = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
            break;
        case 'b': {
            const void *p = va_arg(ap, const void *);

            rc = sqlite3_bind_blob64(s, i, p, va_arg(ap, size_t), SQLITE_TRANSIENT);
            break;
        }
        default:
            rc = SQLITE_MISUSE;
        }
    }
    return rc;
}

static int prepare(struct hub_registry *r, sqlite3_stmt **ret, struct tb_error *e, const char *sql,
                   const char *fmt, va_list ap) {
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK ||
        bind_all(s, fmt, ap) != SQLITE_OK) {
        int err = hub_db_error(r, e);

        sqlite3_finalize(s);
        return err;
    }
    *ret = s;
    return 0;
}

int hub_db_prepare(struct hub_registry *r, sqlite3_stmt **ret, struct tb_error *e, const char *sql,
                   const char *fmt, ...) {
    va_list ap;
    int err;

    va_start(ap, fmt);
    err = prepare(r, ret, e, sql, fmt, ap);
    va_end(ap);
    return err;
}

int hub_db_run(struct hub_registry *r, struct tb_error *e, const char *sql, const char *fmt, ...) {
    sqlite3_stmt *s = NULL;
    va_list ap;
    int err;

    va_start(ap, fmt);
    err = prepare(r, &s, e, sql, fmt, ap);
    va_end(ap);
    if (err < 0)
        return err;
    err = sqlite3_step(s) == SQLITE_DONE ? sqlite3_changes(r->db) : hub_db_error(r, e);
    sqlite3_finalize(s);
    return err;
}

int hub_db_begin(struct hub_registry *r, bool forced, struct tb_error *e) {
    int err = hub_db_exec(r, forced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", e);

    /* A large import by another process holds the lock for long; a handshake does not wait for it.
     */
    sqlite3_busy_timeout(r->db, forced ? BUSY_MS : BUSY_SHORT_MS);
    return err < 0 ? err : hub_db_exec(r, "BEGIN IMMEDIATE", e);
}

int hub_db_commit(struct hub_registry *r, struct tb_error *e) {
    int err = hub_db_exec(r, "COMMIT", e);

    if (err < 0)
        hub_db_rollback(r);
    return err;
}

void hub_db_rollback(struct hub_registry *r) {
    sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
}

static int pragma_int(struct hub_registry *r, const char *sql, int64_t *ret, struct tb_error *e) {
    sqlite3_stmt *s;
    int err = hub_db_prepare(r, &s, e, sql, "");

    if (err < 0)
        return err;
    if (sqlite3_step(s) == SQLITE_ROW)
        *ret = sqlite3_column_int64(s, 0);
    else
        err = hub_db_error(r, e);
    sqlite3_finalize(s);
    return err;
}

/* Makes the tables in a new file, brings an older one up to date; refuses a file of a later
 * release. All in one transaction: a crash leaves the old one. */
static int settle_schema(struct hub_registry *r, const char *path, struct tb_error *e) {
    int64_t version = 0;
    char sql[128];
    int err = hub_db_begin(r, true, e);

    if (err < 0)
        return err;
    err = pragma_int(r, "PRAGMA user_version", &version, e);
    if (err == 0 && version > SCHEMA_VERSION)
        err = tb_error_set(e, TB_EUNSUP, path, 0,
                           "made by a later release (schema %lld, this one knows %d)",
                           (long long)version, SCHEMA_VERSION);
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID,
             SCHEMA_VERSION);
    for (int64_t v = version; v < SCHEMA_VERSION && err == 0; v++)
        err = hub_db_exec(r, upgrades[v], e);
    if (version < SCHEMA_VERSION && err == 0)
        err = hub_db_exec(r, sql, e);
    if (err < 0) {
        hub_db_rollback(r);
        return err;
    }
    return hub_db_commit(r, e);
}

/* A reader changes nothing: what is there has to be of this release. */
static int check_schema(struct hub_registry *r, const char *path, struct tb_error *e) {
    int64_t version = 0;
    int err = pragma_int(r, "PRAGMA user_version", &version, e);

    if (err == 0 && version != SCHEMA_VERSION)
        err = tb_error_set(e, TB_EUNSUP, path, 0,
                           version < SCHEMA_VERSION
                               ? "of an earlier release: start iot-hub on it once"
                               : "made by a later release");
    return err;
}

static int open_db(struct hub_registry *r, const char *path, bool reader, struct tb_error *e) {
    const int how = reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int err;

    if (sqlite3_open_v2(path, &r->db, how | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return tb_error_set(e, TB_ESTORE, path, 0, "%s",
                            r->db ? sqlite3_errmsg(r->db) : "out of memory");
    sqlite3_busy_timeout(r->db, BUSY_MS);
    err = reader ? 0 : hub_db_exec(r, "PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON", e);
    if (err == 0)
        err = reader ? check_schema(r, path, e) : settle_schema(r, path, e);
    if (err == 0)
        err = hub_db_prepare(r, &r->by_fp, e,
                             "SELECT " CREDENTIAL_COLUMNS " FROM credential WHERE fp = ?", "");
    if (err == 0)
        err = hub_db_prepare(r, &r->wrapped, e, "SELECT psk_wrapped FROM credential WHERE id = ?",
                             "");
    if (err == 0)
        err = hub_db_prepare(r, &r->data_version, e, "PRAGMA data_version", "");
    if (err < 0 && !e->file[0])
        snprintf(e->file, sizeof e->file, "%s", path);
    return err;
}

int hub_registry_check(struct hub_registry *r, struct tb_error *e) {
    sqlite3_stmt *s;
    int err = hub_db_prepare(r, &s, e, "PRAGMA quick_check(1)", "");
    const char *text = "no answer";

    if (err < 0)
        return err;
    if (sqlite3_step(s) == SQLITE_ROW)
        text = (const char *)sqlite3_column_text(s, 0);
    if (!text || strcmp(text, "ok") != 0)
        err = tb_error_set(e, TB_ESTORE, sqlite3_db_filename(r->db, NULL), 0,
                           "the registry is damaged, put back a copy of it: %s",
                           text ? text : sqlite3_errmsg(r->db));
    sqlite3_finalize(s);
    return err;
}

/* mkdir -p; what is made belongs to us alone. */
static int make_folder(const char *dir, struct tb_error *e) {
    char path[4096];

    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return tb_error_set(e, -ENAMETOOLONG, dir, 0, "path too long");
    for (char *p = path + 1;; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return tb_error_set(e, -errno, path, 0, "cannot make the folder: %s", strerror(errno));
        if (c == '\0')
            return 0;
        *p = c;
    }
}

static int open_registry(const char *dir, bool reader, struct hub_registry **ret,
                         struct tb_error *e) {
    struct hub_registry *r = calloc(1, sizeof *r);
    char *path = NULL;
    int err;

    if (!r || asprintf(&path, "%s/registry.db", dir) < 0 ||
        asprintf(&r->touch_file, "%s/changed", dir) < 0 ||
        asprintf(&r->psk_file, "%s/psk.key", dir) < 0)
        abort();
    err = reader ? 0 : make_folder(dir, e);
    if (err == 0)
        err = open_db(r, path, reader, e);
    free(path);
    if (err < 0) {
        hub_registry_close(r);
        return err;
    }
    hub_registry_generation(r);
    *ret = r;
    return 0;
}

int hub_registry_open(const char *dir, struct hub_registry **ret, struct tb_error *e) {
    return open_registry(dir, false, ret, e);
}

int hub_registry_open_reader(const char *dir, struct hub_registry **ret, struct tb_error *e) {
    return open_registry(dir, true, ret, e);
}

void hub_registry_close(struct hub_registry *r) {
    if (!r)
        return;
    sqlite3_finalize(r->by_fp);
    sqlite3_finalize(r->wrapped);
    sqlite3_finalize(r->data_version);
    sqlite3_close(r->db);
    hub_registry_forget(r);
    free(r->cache);
    free(r->touch_file);
    free(r->psk_file);
    tb_wipe(r->kek, sizeof r->kek);
    free(r);
}

const char *hub_registry_touch_file(const struct hub_registry *r) {
    return r->touch_file;
}

void hub_registry_touch(const struct hub_registry *r) {
    int fd = open(r->touch_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || futimens(fd, NULL) < 0)
        tb_warn("registry",
                "a running hub will notice the change only at its next handshake: %s: %s",
                r->touch_file, strerror(errno));
    if (fd >= 0)
        close(fd);
}

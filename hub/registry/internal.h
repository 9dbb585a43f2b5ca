#pragma once
/* What the files of the registry share; nobody else includes it. */
#include <sqlite3.h>

#include "registry/registry.h"

struct hub_registry {
    sqlite3 *db;
    sqlite3_stmt *by_fp, *wrapped, *data_version;
    char *touch_file, *psk_file;
    uint8_t kek[32]; /* from psk_file, when has_kek */
    bool has_kek;
    int64_t seen_version; /* of PRAGMA data_version */
    uint64_t generation;
    struct hub_credential **cache; /* open addressing by fingerprint, CACHE_SLOTS of them */
    size_t cached;
};

/* Fails with TB_ESTORE and SQLite's own words. */
int hub_db_error(struct hub_registry *r, struct tb_error *e);
int hub_db_exec(struct hub_registry *r, const char *sql, struct tb_error *e) TB_CHECKED;

/* A statement with its values bound in the order of fmt: s text (NULL allowed), i int64_t, b
 * pointer and size_t. */
int hub_db_prepare(struct hub_registry *r, sqlite3_stmt **ret, struct tb_error *e, const char *sql,
                   const char *fmt, ...) TB_CHECKED;
/* Prepares, steps once without rows, finalizes. Returns the number of changed rows. */
int hub_db_run(struct hub_registry *r, struct tb_error *e, const char *sql, const char *fmt,
               ...) TB_CHECKED;

/* A write transaction; forced: committed to the disk before commit returns. */
int hub_db_begin(struct hub_registry *r, bool forced, struct tb_error *e) TB_CHECKED;
int hub_db_commit(struct hub_registry *r, struct tb_error *e) TB_CHECKED;
void hub_db_rollback(struct hub_registry *r);

/* Forgets what is remembered and makes hub_registry_generation() change. */
void hub_registry_forget(struct hub_registry *r);

/* Columns of CREDENTIAL_COLUMNS, in that order. */
#define CREDENTIAL_COLUMNS                                                                         \
    "id, fp, spki_hash, device_id, card_iccid, subject, issuer, state, not_before, not_after, "    \
    "kind, "                                                                                       \
    "psk_identity"
int hub_credential_read(sqlite3_stmt *s, struct hub_credential *ret) TB_CHECKED;
int hub_cred_state_parse(const char *name, enum hub_cred_state *ret) TB_CHECKED;

/* Compares in constant time what is stored with secret: 1 the same, 0 another, or negative. */
int hub_psk_is(struct hub_registry *r, const struct hub_credential *c, struct tb_span secret,
               struct tb_error *e) TB_CHECKED;
/* Wraps secret; *ret_n of HUB_PSK_WRAPPED_MAX bytes. Makes the key that wraps when there is none.
 */
enum { HUB_PSK_WRAPPED_MAX = HUB_PSK_MAX + 8 };
int hub_psk_wrap(struct hub_registry *r, struct tb_span secret, uint8_t ret[HUB_PSK_WRAPPED_MAX],
                 size_t *ret_n, struct tb_error *e) TB_CHECKED;
void hub_psk_fingerprint(struct tb_span identity, uint8_t ret[HUB_FP_SIZE]);

/* Import: inside a transaction. The card (NULL: none) and the device exist afterwards. */
int hub_registry_settle_owner(struct hub_registry *r, const char *device, const char *iccid,
                              const char *imsi, struct tb_error *e) TB_CHECKED;
int hub_psk_add(struct hub_registry *r, const char *device, const char *iccid, const char *imsi,
                const char *identity, struct tb_span secret, const char *actor, bool *ret_added,
                struct tb_error *e) TB_CHECKED;
int hub_registry_add_inside(struct hub_registry *r, const char *device, const char *iccid,
                            const char *imsi, X509 *cert, const char *actor, bool *ret_added,
                            struct tb_error *e) TB_CHECKED;
/* For hub_registry_each_ca(): puts the trusted ones into the X509_STORE user. */
int hub_registry_trust_one(const struct hub_ca *ca, void *user);
/* Issued by one of them, whether it is valid today or not? */
bool hub_registry_is_trusted(X509_STORE *store, X509 *cert);
/* Commits when err is good, else rolls back and returns err. */
int hub_registry_finish(struct hub_registry *r, int err, struct tb_error *e) TB_CHECKED;

/* Copies a column's text, cut to cap - 1 bytes; "" for NULL. */
void hub_column_text(sqlite3_stmt *s, int column, char *dst, size_t cap);

/* One row in credential_event. Inside a transaction. */
int hub_registry_note(struct hub_registry *r, int64_t credential, enum hub_cred_state from,
                      enum hub_cred_state to, const char *actor, const char *cause,
                      struct tb_error *e) TB_CHECKED;

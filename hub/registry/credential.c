/* Credentials: look-up through a cache, the state machine, iteration. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/internal.h"
#include "tb/hex.h"
#include "tb/loop.h"

/* A cache that is full is emptied: a lookup in SQLite costs about ten microseconds, so that is no
 * drama. */
enum { CACHE_SLOTS = 1 << 17, CACHE_MAX = CACHE_SLOTS / 2, FP_TEXT_MIN = 8 };

static const char *const state_names[] = {
    [HUB_CRED_NONE] = "none",           [HUB_CRED_REQUESTED] = "requested",
    [HUB_CRED_PENDING] = "pending",     [HUB_CRED_ACTIVE] = "active",
    [HUB_CRED_RETIRING] = "retiring",   [HUB_CRED_RETIRED] = "retired",
    [HUB_CRED_SUSPENDED] = "suspended", [HUB_CRED_REVOKED] = "revoked",
    [HUB_CRED_ABANDONED] = "abandoned", [HUB_CRED_EXPIRED] = "expired",
};
enum { STATES = sizeof state_names / sizeof *state_names };

#define TO(state) (1U << HUB_CRED_##state)

static const unsigned steps[STATES] = {
    [HUB_CRED_NONE] = TO(REQUESTED) | TO(PENDING),
    [HUB_CRED_REQUESTED] = TO(PENDING) | TO(ABANDONED),
    [HUB_CRED_PENDING] = TO(ACTIVE) | TO(ABANDONED) | TO(REVOKED),
    [HUB_CRED_ACTIVE] = TO(RETIRING) | TO(REVOKED) | TO(SUSPENDED) | TO(EXPIRED),
    [HUB_CRED_RETIRING] = TO(RETIRED) | TO(REVOKED) | TO(EXPIRED),
    [HUB_CRED_SUSPENDED] = TO(ACTIVE) | TO(REVOKED),
};

const char *hub_cred_state_name(enum hub_cred_state s) {
    return state_names[s];
}

bool hub_cred_may_go(enum hub_cred_state from, enum hub_cred_state to) {
    return steps[from] & 1U << to;
}

int hub_cred_state_parse(const char *name, enum hub_cred_state *ret) {
    for (unsigned i = 0; i < STATES; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return TB_ESTORE;
}

const char *hub_cred_kind_name(enum hub_cred_kind k) {
    return k == HUB_CRED_PSK ? "psk" : "x509";
}

char *hub_credential_identity(const struct hub_credential *c, char dst[HUB_IDENTITY_TEXT]) {
    if (c->kind == HUB_CRED_PSK)
        snprintf(dst, HUB_IDENTITY_TEXT, "psk:%s", c->psk_identity);
    else if (c->id != 0)
        snprintf(dst, HUB_IDENTITY_TEXT, "x509:%s", c->device);
    else
        snprintf(dst, HUB_IDENTITY_TEXT, "anonymous");
    return dst;
}

bool hub_device_id_ok(const char *id) {
    size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-");

    return n > 0 && n <= HUB_DEVICE_MAX && id[n] == '\0';
}

void hub_column_text(sqlite3_stmt *s, int column, char *dst, size_t cap) {
    const unsigned char *text = sqlite3_column_text(s, column);

    snprintf(dst, cap, "%s", text ? (const char *)text : "");
}

int hub_credential_read(sqlite3_stmt *s, struct hub_credential *ret) {
    char state[16], kind[8];

    if (sqlite3_column_bytes(s, 1) != HUB_FP_SIZE || sqlite3_column_bytes(s, 2) != HUB_FP_SIZE)
        return TB_ESTORE;
    ret->id = sqlite3_column_int64(s, 0);
    memcpy(ret->fp, sqlite3_column_blob(s, 1), HUB_FP_SIZE);
    memcpy(ret->spki_hash, sqlite3_column_blob(s, 2), HUB_FP_SIZE);
    hub_column_text(s, 3, ret->device, sizeof ret->device);
    hub_column_text(s, 4, ret->iccid, sizeof ret->iccid);
    hub_column_text(s, 5, ret->subject, sizeof ret->subject);
    hub_column_text(s, 6, ret->issuer, sizeof ret->issuer);
    hub_column_text(s, 7, state, sizeof state);
    ret->not_before = sqlite3_column_int64(s, 8);
    ret->not_after = sqlite3_column_int64(s, 9);
    hub_column_text(s, 10, kind, sizeof kind);
    ret->kind = strcmp(kind, "psk") == 0 ? HUB_CRED_PSK : HUB_CRED_X509;
    hub_column_text(s, 11, ret->psk_identity, sizeof ret->psk_identity);
    return hub_cred_state_parse(state, &ret->state);
}

void hub_registry_forget(struct hub_registry *r) {
    for (size_t i = 0; r->cache && r->cached > 0 && i < CACHE_SLOTS; i++) {
        if (r->cache[i]) {
            free(r->cache[i]);
            r->cache[i] = NULL;
            r->cached--;
        }
    }
    r->generation++;
}

uint64_t hub_registry_generation(struct hub_registry *r) {
    if (sqlite3_step(r->data_version) == SQLITE_ROW) {
        int64_t version = sqlite3_column_int64(r->data_version, 0);

        if (version != r->seen_version) {
            r->seen_version = version;
            hub_registry_forget(r);
        }
    }
    sqlite3_reset(r->data_version);
    return r->generation;
}

uint64_t hub_registry_seen_generation(const struct hub_registry *r) {
    return r->generation;
}

/* The slot where fp is, or where it would go. */
static struct hub_credential **cache_slot(struct hub_registry *r, const uint8_t *fp) {
    uint32_t h;

    memcpy(&h, fp, sizeof h); /* a SHA-256 is its own hash */
    for (size_t i = h % CACHE_SLOTS;; i = (i + 1) % CACHE_SLOTS) {
        if (!r->cache[i] || memcmp(r->cache[i]->fp, fp, HUB_FP_SIZE) == 0)
            return &r->cache[i];
    }
}

static int lookup_stored(struct hub_registry *r, const uint8_t *fp, struct hub_credential *ret) {
    int rc, err;

    sqlite3_bind_blob(r->by_fp, 1, fp, HUB_FP_SIZE, SQLITE_STATIC);
    rc = sqlite3_step(r->by_fp);
    err = rc == SQLITE_ROW    ? hub_credential_read(r->by_fp, ret)
          : rc == SQLITE_DONE ? TB_ENOTFOUND
                              : TB_ESTORE;
    sqlite3_reset(r->by_fp);
    return err;
}

int hub_registry_lookup(struct hub_registry *r, const uint8_t fp[HUB_FP_SIZE],
                        struct hub_credential *ret) {
    struct hub_credential **slot, *c, found;
    int err;

    if (!r->cache && !(r->cache = calloc(CACHE_SLOTS, sizeof(struct hub_credential *))))
        abort();
    hub_registry_generation(r);
    slot = cache_slot(r, fp);
    if (*slot) {
        *ret = **slot;
        return 0;
    }
    err = lookup_stored(r, fp, &found);
    if (err < 0)
        return err; /* strangers are not remembered: they would fill the cache */
    if (r->cached >= CACHE_MAX) {
        hub_registry_forget(r);
        slot = cache_slot(r, fp);
    }
    c = malloc(sizeof *c);
    if (!c)
        abort();
    *c = found;
    *slot = c;
    r->cached++;
    *ret = found;
    return 0;
}

int hub_registry_note(struct hub_registry *r, int64_t credential, enum hub_cred_state from,
                      enum hub_cred_state to, const char *actor, const char *cause,
                      struct tb_error *e) {
    int err = hub_db_run(
        r, e,
        "INSERT INTO credential_event(credential_id, ts, from_state, to_state, actor, cause)"
        " VALUES(?, ?, ?, ?, ?, ?)",
        "iissss", credential, tb_clock_wall_ms(), hub_cred_state_name(from),
        hub_cred_state_name(to), actor, cause);

    return err < 0 ? err : 0;
}

/* What a step changes beside the state. */
static int settle(struct hub_registry *r, int64_t credential, enum hub_cred_state to,
                  const char *cause, struct tb_error *e) {
    int64_t now = tb_clock_wall_ms();

    switch (to) {
    case HUB_CRED_ACTIVE:
        return hub_db_run(r, e,
                          "UPDATE credential SET activated = ifnull(activated, ?) WHERE id = ?",
                          "ii", now, credential);
    case HUB_CRED_REVOKED:
        if (hub_db_run(r, e,
                       "INSERT OR IGNORE INTO revocation(ca_id, serial, ts, reason)"
                       " SELECT ca.id, c.serial, ?, ? FROM credential c LEFT JOIN ca ON ca.subject "
                       "= c.issuer"
                       " WHERE c.id = ? AND c.kind = 'x509'",
                       "isi", now, cause, credential) < 0)
            return TB_ESTORE;
        break;
    case HUB_CRED_RETIRED:
    case HUB_CRED_ABANDONED:
    case HUB_CRED_EXPIRED:
        break;
    default:
        return 0;
    }
    return hub_db_run(r, e, "UPDATE credential SET ended = ?, reason = ? WHERE id = ?", "isi", now,
                      cause, credential);
}

/* Our own commits do not show in data_version: the cache is brought up to date by hand. */
static void remember(struct hub_registry *r, const uint8_t *fp, enum hub_cred_state state) {
    struct hub_credential **slot = r->cache ? cache_slot(r, fp) : NULL;

    if (slot && *slot)
        (*slot)->state = state;
    if (state != HUB_CRED_ACTIVE)
        r->generation++;
}

int hub_registry_transition(struct hub_registry *r, const struct hub_credential *c,
                            enum hub_cred_state to, const char *actor, const char *cause,
                            struct tb_error *e) {
    const char *from = hub_cred_state_name(c->state);
    int err;

    if (!hub_cred_may_go(c->state, to))
        return tb_error_set(e, TB_ESTATE, NULL, 0, "a credential cannot go from %s to %s", from,
                            hub_cred_state_name(to));
    err = hub_db_begin(r, to != HUB_CRED_ACTIVE, e);
    if (err < 0)
        return err;
    err = hub_db_run(r, e, "UPDATE credential SET state = ? WHERE id = ? AND state = ?", "sis",
                     hub_cred_state_name(to), c->id, from);
    if (err == 0)
        err = tb_error_set(e, TB_ESTATE, NULL, 0, "the credential is not %s any more", from);
    if (err > 0)
        err = settle(r, c->id, to, cause, e);
    if (err >= 0)
        err = hub_registry_note(r, c->id, c->state, to, actor, cause, e);
    if (err < 0) {
        hub_db_rollback(r);
        return err;
    }
    err = hub_db_commit(r, e);
    if (err == 0)
        remember(r, c->fp, to);
    return err;
}

static int each_row(struct hub_registry *r, sqlite3_stmt *s, hub_credential_fn *fn, void *user) {
    struct hub_credential c;
    int count = 0, rc, err;

    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        err = hub_credential_read(s, &c);
        if (err == 0)
            err = fn(&c, user);
        if (err != 0)
            return err;
        count++;
    }
    return rc == SQLITE_DONE ? count : hub_db_error(r, NULL);
}

int hub_registry_each(struct hub_registry *r, const char *which, hub_credential_fn *fn,
                      void *user) {
    char hex[2 * HUB_FP_SIZE + 1] = "";
    sqlite3_stmt *s;
    int err;

    /* Fingerprints are compared as upper-case text, so that a prefix is enough. */
    if (which && strlen(which) >= FP_TEXT_MIN && strlen(which) < sizeof hex &&
        strspn(which, "0123456789abcdefABCDEF") == strlen(which))
        snprintf(hex, sizeof hex, "%s", which);
    err = hub_db_prepare(r, &s, NULL,
                         "SELECT " CREDENTIAL_COLUMNS
                         " FROM credential WHERE ?1 IS NULL OR device_id = ?1"
                         " OR card_iccid = ?1 OR psk_identity = ?1 OR (?2 <> '' AND "
                         "substr(hex(fp), 1, length(?2)) = "
                         "upper(?2)) ORDER BY id",
                         "ss", which, hex);
    if (err < 0)
        return err;
    err = each_row(r, s, fn, user);
    sqlite3_finalize(s);
    return err;
}

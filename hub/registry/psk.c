/* Pre-shared keys: wrapped in the database, the key that wraps them in a file beside it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "registry/internal.h"
#include "tb/loop.h"
#include "tb/mqtt.h"

enum { KEK_SIZE = sizeof((struct hub_registry *)0)->kek };

/* It becomes part of the user name at the broker, which has to be UTF-8 and whose control
 * characters brokers refuse (MQTT 3.1.1 1.5.3). */
bool hub_psk_identity_ok(const char *identity) {
    const struct tb_span text = tb_span_str(identity);

    if (text.n == 0 || text.n > HUB_PSK_IDENTITY_MAX || !tb_mqtt_utf8_ok(text))
        return false;
    for (const unsigned char *p = (const unsigned char *)identity; *p; p++) {
        if (*p < 0x20 || *p == 0x7F || (p[0] == 0xC2 && p[1] < 0xA0))
            return false;
    }
    return true;
}

void hub_psk_fingerprint(struct tb_span identity, uint8_t ret[HUB_FP_SIZE]) {
    if (!EVP_Digest(identity.p, identity.n, ret, NULL, EVP_sha256(), NULL))
        abort();
}

int hub_registry_lookup_psk(struct hub_registry *r, struct tb_span identity,
                            struct hub_credential *ret) {
    struct hub_credential found;
    uint8_t fp[HUB_FP_SIZE];
    int err;

    if (identity.n == 0 || identity.n > HUB_PSK_IDENTITY_MAX)
        return TB_ENOTFOUND;
    hub_psk_fingerprint(identity, fp);
    err = hub_registry_lookup(r, fp, &found);
    if (err == 0 &&
        (found.kind != HUB_CRED_PSK || !tb_span_eq(tb_span_str(found.psk_identity), identity)))
        err = TB_ENOTFOUND;
    if (err == 0)
        *ret = found;
    return err;
}

static int read_kek(struct hub_registry *r, struct tb_error *e) {
    uint8_t key[KEK_SIZE + 1];
    int fd = open(r->psk_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, key, sizeof key) : -1;
    int err = 0;

    if (n < 0)
        err = tb_error_set(e, errno == ENOENT ? TB_ENOTFOUND : -errno, r->psk_file, 0, "%s",
                           strerror(errno));
    else if (n != KEK_SIZE)
        err = tb_error_set(e, TB_ESTORE, r->psk_file, 0, "a key of %d bytes is wanted", KEK_SIZE);
    if (fd >= 0)
        close(fd);
    if (err == 0) {
        memcpy(r->kek, key, KEK_SIZE);
        r->has_kek = true;
    }
    tb_wipe(key, sizeof key);
    return err;
}

static int find_psk(const struct hub_credential *c, void *user) {
    *(bool *)user |= c->kind == HUB_CRED_PSK;
    return 0;
}

/* Written aside and linked into place, so that two processes cannot each believe in a key of their
 * own, and nobody reads half of one. */
static int make_kek(struct hub_registry *r, struct tb_error *e) {
    uint8_t key[KEK_SIZE];
    bool orphans = false;
    char *aside;
    int fd, err = hub_registry_each(r, NULL, find_psk, &orphans);

    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "the registry cannot be read: %s", tb_strerror(err));
    if (orphans)
        return tb_error_set(e, TB_ESTORE, r->psk_file, 0,
                            "the key that the pre-shared keys are wrapped under is gone: put it "
                            "back");
    if (asprintf(&aside, "%s.XXXXXX", r->psk_file) < 0)
        abort();
    if (RAND_priv_bytes(key, sizeof key) != 1)
        abort();
    err = 0;
    fd = mkostemp(aside, O_CLOEXEC); /* 0600 */
    if (fd < 0 || write(fd, key, sizeof key) != (ssize_t)sizeof key || fsync(fd) < 0 ||
        (link(aside, r->psk_file) < 0 && errno != EEXIST))
        err = tb_error_set(e, -errno, r->psk_file, 0, "%s", strerror(errno));
    if (fd >= 0) {
        close(fd);
        unlink(aside);
    }
    free(aside);
    tb_wipe(key, sizeof key);
    return err < 0 ? err : read_kek(r, e);
}

/* AES-256 key wrap with padding: any length from one byte on, and it knows its own corruption. */
static int wrap(const struct hub_registry *r, bool encrypt, struct tb_span in, uint8_t *out,
                size_t *ret_n) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, ok;

    if (!ctx)
        abort();
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ok = EVP_CipherInit_ex(ctx, EVP_aes_256_wrap_pad(), NULL, r->kek, NULL, encrypt) &&
         EVP_CipherUpdate(ctx, out, &n, in.p, (int)in.n) && n > 0;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        return TB_ECRYPTO;
    *ret_n = (size_t)n;
    return 0;
}

int hub_psk_wrap(struct hub_registry *r, struct tb_span secret, uint8_t ret[HUB_PSK_WRAPPED_MAX],
                 size_t *ret_n, struct tb_error *e) {
    struct tb_error missing = {0};
    int err = r->has_kek ? 0 : read_kek(r, &missing);

    if (err == TB_ENOTFOUND)
        err = make_kek(r, e);
    else if (err < 0)
        err = tb_error_set(e, err, missing.file, 0, "%s", missing.message);
    if (err < 0)
        return err;
    err = wrap(r, true, secret, ret, ret_n);
    return err < 0 ? tb_error_set(e, err, NULL, 0, "the secret cannot be wrapped") : 0;
}

static int unwrap(struct hub_registry *r, struct tb_span wrapped, uint8_t secret[HUB_PSK_MAX],
                  size_t *ret_n, struct tb_error *e) {
    uint8_t plain[HUB_PSK_WRAPPED_MAX]; /* OpenSSL may use room for a whole block more */
    size_t n = 0;
    int err = r->has_kek ? 0 : read_kek(r, e);

    if (err < 0)
        return TB_ESTORE;
    if (wrapped.n <= HUB_PSK_WRAPPED_MAX && wrap(r, false, wrapped, plain, &n) == 0 &&
        n <= HUB_PSK_MAX) {
        memcpy(secret, plain, n);
        *ret_n = n;
    } else {
        err = tb_error_set(e, TB_ESTORE, r->psk_file, 0,
                           "not the key that the pre-shared keys are wrapped under");
    }
    tb_wipe(plain, sizeof plain);
    return err;
}

int hub_registry_psk(struct hub_registry *r, const struct hub_credential *c,
                     uint8_t secret[HUB_PSK_MAX], size_t *ret_n, struct tb_error *e) {
    int err;

    sqlite3_bind_int64(r->wrapped, 1, c->id);
    if (sqlite3_step(r->wrapped) == SQLITE_ROW)
        err = unwrap(r,
                     tb_span(sqlite3_column_blob(r->wrapped, 0),
                             (size_t)sqlite3_column_bytes(r->wrapped, 0)),
                     secret, ret_n, e);
    else
        err = hub_db_error(r, e);
    sqlite3_reset(r->wrapped);
    return err;
}

int hub_psk_is(struct hub_registry *r, const struct hub_credential *c, struct tb_span secret,
               struct tb_error *e) {
    uint8_t stored[HUB_PSK_MAX];
    size_t n = 0;
    int err = hub_registry_psk(r, c, stored, &n, e);

    if (err == 0)
        err = n == secret.n && CRYPTO_memcmp(stored, secret.p, n) == 0;
    tb_wipe(stored, sizeof stored);
    return err;
}

static int check_known(struct hub_registry *r, const struct hub_credential *known,
                       const char *device, struct tb_span secret, struct tb_error *e) {
    int same;

    if (strcmp(known->device, device) != 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "identity: it belongs to device %s already",
                            known->device);
    same = hub_psk_is(r, known, secret, e);
    if (same == 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "identity: it is known with another secret");
    return same < 0 ? same : 0;
}

int hub_psk_add(struct hub_registry *r, const char *device, const char *iccid, const char *imsi,
                const char *identity, struct tb_span secret, const char *actor, bool *ret_added,
                struct tb_error *e) {
    static const uint8_t none[HUB_FP_SIZE];
    uint8_t fp[HUB_FP_SIZE], wrapped[HUB_PSK_WRAPPED_MAX];
    struct hub_credential known;
    size_t n = 0;
    int err;

    if (!hub_psk_identity_ok(identity))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "identity: 1 to %d bytes of UTF-8 without control characters are "
                            "wanted",
                            HUB_PSK_IDENTITY_MAX);
    if (secret.n == 0 || secret.n > HUB_PSK_MAX)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "secret: 1 to %d bytes are wanted", HUB_PSK_MAX);
    err = hub_registry_settle_owner(r, device, iccid, imsi, e);
    if (err < 0)
        return err;
    err = hub_registry_lookup_psk(r, tb_span_str(identity), &known);
    if (err == 0) {
        *ret_added = false;
        return check_known(r, &known, device, secret, e);
    }
    err = hub_psk_wrap(r, secret, wrapped, &n, e);
    if (err < 0)
        return err;
    hub_psk_fingerprint(tb_span_str(identity), fp);
    err =
        hub_db_run(r, e,
                   "INSERT INTO credential(device_id, card_iccid, role, kind, fp, spki_hash, "
                   "serial, issuer, subject, not_before, not_after, state, created, "
                   "psk_identity, psk_wrapped)"
                   " VALUES(?, ?, 'final', 'psk', ?, ?, '', '', '', 0, 0, ?, ?, ?, ?)",
                   "ssbbsisb", device, iccid, fp, sizeof fp, none, sizeof none,
                   hub_cred_state_name(HUB_CRED_PENDING), tb_clock_wall_ms(), identity, wrapped, n);
    if (err >= 0)
        err = hub_registry_note(r, sqlite3_last_insert_rowid(r->db), HUB_CRED_NONE,
                                HUB_CRED_PENDING, actor, "import", e);
    if (err < 0)
        return err;
    *ret_added = true;
    return 0;
}

int hub_registry_add_psk(struct hub_registry *r, const char *device, const char *iccid,
                         const char *imsi, const char *identity, struct tb_span secret,
                         const char *actor, bool *ret_added, struct tb_error *e) {
    int err = hub_db_begin(r, true, e);

    if (err < 0)
        return err;
    err = hub_psk_add(r, device, iccid, imsi, identity, secret, actor, ret_added, e);
    return hub_registry_finish(r, err, e);
}

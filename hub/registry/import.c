/* Cards, devices and certificates coming in: one by one, or a batch from the factory. */
#include <assert.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include "registry/internal.h"
#include "tb/hex.h"
#include "tb/loop.h"
#include "tb/pki.h"

static bool digits_ok(const char *text, size_t least, size_t most) {
    size_t n = strspn(text, "0123456789");

    return text[n] == '\0' && n >= least && n <= most;
}

static int64_t seconds_of(const ASN1_TIME *t) {
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* What the table keeps of a certificate, as text. */
struct cert_facts {
    uint8_t fp[HUB_FP_SIZE], spki_hash[HUB_FP_SIZE];
    char subject[HUB_SUBJECT_MAX + 1], issuer[HUB_SUBJECT_MAX + 1], serial[64];
    int64_t not_before, not_after;
};

void hub_name_text(const X509_NAME *name, char *dst, size_t cap) {
    BIO *b = BIO_new(BIO_s_mem());
    char *text;
    long n;

    if (!b)
        abort();
    X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253);
    n = BIO_get_mem_data(b, &text);
    snprintf(dst, cap, "%.*s", (int)n, text);
    BIO_free(b);
}

static int hash_spki(X509 *cert, uint8_t ret[HUB_FP_SIZE]) {
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    int ok = n > 0 && EVP_Digest(der, (size_t)n, ret, NULL, EVP_sha256(), NULL);

    OPENSSL_free(der);
    return ok ? 0 : TB_ECRYPTO;
}

static int gather(X509 *cert, struct cert_facts *f) {
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

    if (tb_pki_fingerprint(cert, f->fp) < 0 || hash_spki(cert, f->spki_hash) < 0)
        return TB_ECRYPTO;
    hub_name_text(X509_get_subject_name(cert), f->subject, sizeof f->subject);
    hub_name_text(X509_get_issuer_name(cert), f->issuer, sizeof f->issuer);
    tb_hex_str(f->serial, sizeof f->serial,
               tb_span(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)));
    f->not_before = seconds_of(X509_get0_notBefore(cert));
    f->not_after = seconds_of(X509_get0_notAfter(cert));
    return 0;
}

/* One text column of the row that key names: 1 found, 0 no such row. */
static int stored_text(struct hub_registry *r, const char *sql, const char *key, char *dst,
                       size_t cap, struct tb_error *e) {
    sqlite3_stmt *s;
    int rc, err = hub_db_prepare(r, &s, e, sql, "s", key);

    if (err < 0)
        return err;
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        hub_column_text(s, 0, dst, cap);
    err = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : hub_db_error(r, e);
    sqlite3_finalize(s);
    return err;
}

static int settle_card(struct hub_registry *r, const char *iccid, const char *imsi,
                       struct tb_error *e) {
    char known[32];
    int err;

    if (!digits_ok(iccid, 10, HUB_ICCID_MAX))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "iccid: 10 to %d digits are wanted",
                            HUB_ICCID_MAX);
    if (imsi && !digits_ok(imsi, 6, 15))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "imsi: 6 to 15 digits are wanted");
    err = stored_text(r, "SELECT imsi FROM card WHERE iccid = ?", iccid, known, sizeof known, e);
    if (err > 0 && imsi && *known && strcmp(known, imsi) != 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "card %s is known with another IMSI, %s", iccid,
                            known);
    if (err != 0)
        return err;
    err = hub_db_run(r, e, "INSERT INTO card(iccid, imsi, created) VALUES(?, ?, ?)", "ssi", iccid,
                     imsi, tb_clock_wall_ms());
    return err < 0 ? err : 0;
}

/* The device exists afterwards and points to the card it is in now. */
static int settle_device(struct hub_registry *r, const char *device, const char *iccid,
                         struct tb_error *e) {
    if (!hub_device_id_ok(device))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "device: 1 to %d letters, digits and . _ : - are wanted",
                            HUB_DEVICE_MAX);
    return hub_db_run(r, e,
                      "INSERT INTO device(id, card_iccid, created) VALUES(?1, ?2, ?3)"
                      " ON CONFLICT(id) DO UPDATE SET card_iccid = ifnull(?2, card_iccid)",
                      "ssi", device, iccid, tb_clock_wall_ms());
}

int hub_registry_settle_owner(struct hub_registry *r, const char *device, const char *iccid,
                              const char *imsi, struct tb_error *e) {
    int err = iccid ? settle_card(r, iccid, imsi, e) : 0;

    if (err >= 0)
        err = settle_device(r, device, iccid, e);
    return err < 0 ? err : 0;
}

int hub_registry_add_inside(struct hub_registry *r, const char *device, const char *iccid,
                            const char *imsi, X509 *cert, const char *actor, bool *ret_added,
                            struct tb_error *e) {
    struct cert_facts f;
    struct hub_credential known;
    int err;

    assert(device);
    if (gather(cert, &f) < 0)
        return tb_error_set(e, TB_ECRYPTO, NULL, 0, "certificate: its public key cannot be read");
    err = hub_registry_settle_owner(r, device, iccid, imsi, e);
    if (err < 0)
        return err;
    err = hub_registry_lookup(r, f.fp, &known);
    if (err == 0 && strcmp(known.device, device) != 0)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "certificate: it belongs to device %s already",
                            known.device);
    if (err == 0) {
        *ret_added = false;
        return 0;
    }
    err = hub_db_run(r, e,
                     "INSERT INTO credential(device_id, card_iccid, role, kind, fp, spki_hash, "
                     "serial, issuer, subject,"
                     " not_before, not_after, state, created)"
                     " VALUES(?, ?, 'final', 'x509', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "ssbbsssiisi", device, iccid, f.fp, sizeof f.fp, f.spki_hash,
                     sizeof f.spki_hash, f.serial, f.issuer, f.subject, f.not_before, f.not_after,
                     hub_cred_state_name(HUB_CRED_PENDING), tb_clock_wall_ms());
    if (err >= 0)
        err = hub_registry_note(r, sqlite3_last_insert_rowid(r->db), HUB_CRED_NONE,
                                HUB_CRED_PENDING, actor, "import", e);
    if (err < 0)
        return err;
    *ret_added = true;
    return 0;
}

int hub_registry_finish(struct hub_registry *r, int err, struct tb_error *e) {
    if (err < 0) {
        hub_db_rollback(r);
        hub_registry_forget(r); /* a lookup inside may have remembered what is now undone */
        return err;
    }
    return hub_db_commit(r, e);
}

int hub_registry_add(struct hub_registry *r, const char *device, const char *iccid,
                     const char *imsi, X509 *cert, const char *actor, bool *ret_added,
                     struct tb_error *e) {
    int err = hub_db_begin(r, true, e);

    return err < 0
               ? err
               : hub_registry_finish(
                     r, hub_registry_add_inside(r, device, iccid, imsi, cert, actor, ret_added, e),
                     e);
}

int hub_registry_trust_one(const struct hub_ca *ca, void *user) {
    return ca->trusted && !X509_STORE_add_cert(user, ca->cert) ? TB_ECRYPTO : 0;
}

bool hub_registry_is_trusted(X509_STORE *store, X509 *cert) {
    X509_STORE_CTX *c = X509_STORE_CTX_new();
    bool ok;

    if (!c || !X509_STORE_CTX_init(c, store, cert, NULL))
        abort();
    /* Only who issued it is the question here; whether it is valid today shows at the handshake. */
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(c),
                                X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
    ok = X509_verify_cert(c) == 1;
    X509_STORE_CTX_free(c);
    return ok;
}

static X509 *parse_pem(const char *pem) {
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;

    BIO_free(b);
    return cert;
}

static bool fingerprint_says(X509 *cert, const char *hex) {
    uint8_t fp[HUB_FP_SIZE], said[HUB_FP_SIZE];
    struct tb_buf out = TB_BUF(said);

    return tb_pki_fingerprint(cert, fp) == 0 && tb_hex_decode_loose(tb_span_str(hex), &out) == 0 &&
           tb_span_eq(tb_buf_span(&out), tb_span(fp, sizeof fp));
}

struct import {
    struct hub_registry *r;
    X509_STORE *store;
    const char *file, *actor;
    struct hub_import_report report;
};

/* Puts the place in front of what *e says. */
static int at(const struct import *in, int err, struct tb_error *e, size_t card,
              const char *place) {
    char why[sizeof e->message];

    if (!e)
        return err;
    memcpy(why, e->message, sizeof why);
    return tb_error_set(e, err, in->file, 0, "cards[%zu]%s: %.400s", card, place, why);
}

struct owner {
    const char *device, *iccid, *imsi;
};

static int import_certificate(struct import *in, const struct owner *o, const json_t *cred,
                              bool *ret_added, struct tb_error *e) {
    const char *pem = json_string_value(json_object_get(cred, "certificate"));
    const char *hex = json_string_value(json_object_get(cred, "fingerprint"));
    X509 *cert = pem ? parse_pem(pem) : NULL;
    int err;

    if (!cert)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "certificate: a certificate in PEM is wanted");
    if (hex && !fingerprint_says(cert, hex)) {
        X509_free(cert);
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "fingerprint: not the SHA-256 of the certificate");
    }
    err =
        hub_registry_add_inside(in->r, o->device, o->iccid, o->imsi, cert, in->actor, ret_added, e);
    if (err == 0)
        in->report.untrusted += !hub_registry_is_trusted(in->store, cert);
    X509_free(cert);
    return err;
}

static int import_psk(struct import *in, const struct owner *o, const json_t *cred, bool *ret_added,
                      struct tb_error *e) {
    const char *identity = json_string_value(json_object_get(cred, "identity"));
    const char *hex = json_string_value(json_object_get(cred, "secret"));
    uint8_t secret[HUB_PSK_MAX];
    struct tb_buf out = TB_BUF(secret);
    int err;

    if (!identity)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "identity: a text is wanted");
    if (!hex || tb_hex_decode_loose(tb_span_str(hex), &out) < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "secret: 1 to %d bytes in hex are wanted",
                            HUB_PSK_MAX);
    err = hub_psk_add(in->r, o->device, o->iccid, o->imsi, identity, tb_buf_span(&out), in->actor,
                      ret_added, e);
    tb_wipe(secret, sizeof secret);
    return err;
}

static int import_credential(struct import *in, const json_t *card, const json_t *cred,
                             struct tb_error *e) {
    const char *kind = json_string_value(json_object_get(cred, "kind"));
    struct owner o = {.device = json_string_value(json_object_get(card, "device")),
                      .iccid = json_string_value(json_object_get(card, "iccid")),
                      .imsi = json_string_value(json_object_get(card, "imsi"))};
    bool added = false;
    int err;

    if (!o.device)
        o.device = o.iccid;
    if (kind && strcmp(kind, "psk") == 0) {
        if (!json_object_get(cred, "secret")) {
            in->report.skipped++;
            return 0;
        }
        err = import_psk(in, &o, cred, &added, e);
    } else if (kind && strcmp(kind, "x509") == 0) {
        err = import_certificate(in, &o, cred, &added, e);
    } else {
        return tb_error_set(e, TB_EUNSUP, NULL, 0,
                            "kind: \"x509\" or \"psk\" is wanted, this is %s",
                            kind ? kind : "missing");
    }
    if (err == 0)
        (*(added ? &in->report.added : &in->report.unchanged))++;
    return err;
}

/* A member that is missing or a string. */
static bool text_or_none(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);

    return !v || json_is_string(v);
}

static int import_card(struct import *in, const json_t *card, size_t i, struct tb_error *e) {
    const json_t *creds = json_object_get(card, "credentials"), *cred;
    char place[48];
    size_t k;
    int err;

    if (!json_is_string(json_object_get(card, "iccid")) || !text_or_none(card, "imsi") ||
        !text_or_none(card, "device") || !json_is_array(creds)) {
        err = tb_error_set(e, TB_EPARSE, NULL, 0,
                           "an object with the texts \"iccid\", \"imsi\", \"device\" and the array "
                           "\"credentials\" is wanted");
        return at(in, err, e, i, "");
    }
    json_array_foreach(creds, k, cred) {
        err = import_credential(in, card, cred, e);
        if (err < 0) {
            snprintf(place, sizeof place, ".credentials[%zu]", k);
            return at(in, err, e, i, place);
        }
    }
    in->report.cards++;
    in->report.devices += json_array_size(creds) > 0;
    return 0;
}

int hub_registry_import(struct hub_registry *r, const json_t *batch, const char *file,
                        const char *actor, struct hub_import_report *ret, struct tb_error *e) {
    struct import in = {r, X509_STORE_new(), file, actor, {0}};
    const json_t *cards = json_object_get(batch, "cards"), *card;
    size_t i;
    int err;

    if (!in.store)
        abort();
    if (!json_is_array(cards)) {
        X509_STORE_free(in.store);
        return tb_error_set(e, TB_EPARSE, file, 0, "an object with the array \"cards\" is wanted");
    }
    err = hub_registry_each_ca(r, hub_registry_trust_one, in.store);
    if (err >= 0)
        err = hub_db_begin(r, true, e);
    if (err >= 0) {
        json_array_foreach(cards, i, card) {
            err = import_card(&in, card, i, e);
            if (err < 0)
                break;
        }
        err = hub_registry_finish(r, err, e);
    }
    X509_STORE_free(in.store);
    if (err == 0)
        *ret = in.report;
    return err;
}

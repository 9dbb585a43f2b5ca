/* The SIM supplier's output file coming in. */
#include <stdio.h>
#include <stdlib.h>

#include "registry/internal.h"
#include "tb/output_file.h"

struct batch {
    struct hub_registry *r;
    const struct hub_output_import *import;
    struct hub_output_report *report;
    X509_STORE *trusted;
    int64_t last_before; /* credential of before this file */
    struct tb_out_row row;
    struct tb_out_complaint why;
    char iccid[HUB_ICCID_MAX + 1], imsi[16], last_iccid[HUB_ICCID_MAX + 1];
    struct tb_error *e;
};

static int wrong(struct batch *b, const char *column, const char *reason) {
    b->why.column = column;
    snprintf(b->why.reason, sizeof b->why.reason, "%.150s", reason);
    return TB_EPARSE;
}

/* What the registry says against a row is the row's fault; what it cannot do is not. */
static int refused(struct batch *b, int err, const char *column, const struct tb_error *e) {
    if (err == TB_ESTATE || err == TB_EPARSE || err == TB_ERANGE)
        return wrong(b, column, e->message);
    if (b->e)
        *b->e = *e;
    return err;
}

static X509 *parse_certificate(const struct tb_out_row *row) {
    const unsigned char *p = row->cert;

    return d2i_X509(NULL, &p, (long)row->cert_n);
}

static X509 *issue(const struct batch *b) {
    const struct tb_pki_request req = {.role = TB_PKI_CLIENT,
                                       .common_name = b->iccid,
                                       .not_before_s = -24L * 3600,
                                       .not_after_s = 3650L * 24 * 3600};
    const unsigned char *p = b->row.spki;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)b->row.spki_n);
    X509 *cert = NULL;

    if (!key || tb_pki_issue(b->import->issuer, key, &req, &cert) < 0)
        cert = NULL;
    EVP_PKEY_free(key);
    return cert;
}

/* A public key alone is certified once: the certificate that its earlier import got counts. */
static int known_by_key(struct batch *b, struct hub_credential *ret) {
    uint8_t hash[HUB_FP_SIZE];
    sqlite3_stmt *s;
    int err, rc;

    if (!EVP_Digest(b->row.spki, b->row.spki_n, hash, NULL, EVP_sha256(), NULL))
        return TB_ECRYPTO;
    err = hub_db_prepare(b->r, &s, b->e,
                         "SELECT " CREDENTIAL_COLUMNS " FROM credential WHERE spki_hash = ?", "b",
                         hash, sizeof hash);
    if (err < 0)
        return err;
    rc = sqlite3_step(s);
    err = rc == SQLITE_ROW    ? hub_credential_read(s, ret)
          : rc == SQLITE_DONE ? TB_ENOTFOUND
                              : hub_db_error(b->r, b->e);
    sqlite3_finalize(s);
    return err;
}

static int put_certificate(struct batch *b, X509 *cert) {
    struct hub_credential known;
    struct tb_error e = {0};
    uint8_t fp[HUB_FP_SIZE];
    bool added = false;
    int err = tb_pki_fingerprint(cert, fp);

    if (err == 0 && hub_registry_lookup(b->r, fp, &known) == 0 && known.id > b->last_before)
        return wrong(b, "CERT_B64", "this certificate is in an earlier row already");
    if (err == 0)
        err = hub_registry_add_inside(b->r, b->iccid, b->iccid, *b->imsi ? b->imsi : NULL, cert,
                                      b->import->actor, &added, &e);
    if (err < 0)
        return refused(b, err, "CERT_B64", &e);
    b->report->in.added += added;
    b->report->in.unchanged += !added;
    b->report->in.untrusted += !hub_registry_is_trusted(b->trusted, cert);
    return 0;
}

static int take_x509(struct batch *b) {
    struct hub_credential known;
    X509 *cert;
    int err;

    if (b->row.cert_n) {
        cert = parse_certificate(&b->row);
        if (!cert)
            return wrong(b, "CERT_B64", "not a certificate that can be read");
    } else {
        err = known_by_key(b, &known);
        if (err == 0 && strcmp(known.device, b->iccid) == 0 && known.id <= b->last_before) {
            b->report->in.unchanged++;
            return 0;
        }
        if (err == 0)
            return wrong(b, "SPKI_B64", "this public key belongs to a credential already");
        if (err != TB_ENOTFOUND)
            return err;
        if (!b->import->issuer)
            return wrong(b, "CERT_B64",
                         "the hub would have to issue it, and has no CA: 'iot-hub ca init'");
        cert = issue(b);
        if (!cert)
            return wrong(b, "SPKI_B64", "not a public key that can be certified");
        b->report->issued++;
    }
    err = put_certificate(b, cert);
    X509_free(cert);
    return err;
}

static int unwrap(struct batch *b, struct tb_out_secrets *ret) {
    for (size_t i = 0; i < b->import->keks_n; i++) {
        int err = tb_out_unwrap(&b->row, &b->import->keks[i], ret, &b->why);

        if (err != TB_ENOTFOUND)
            return err;
    }
    snprintf(b->why.reason, sizeof b->why.reason, "the transport key is wanted: --kek %.*s=FILE",
             (int)b->row.kek_id.n, (const char *)b->row.kek_id.p);
    b->why.column = "KEK_ID";
    return TB_EPARSE;
}

static int put_psk(struct batch *b, struct tb_span secret) {
    char identity[HUB_PSK_IDENTITY_MAX + 1];
    struct hub_credential known;
    struct tb_error e = {0};
    bool added = false;
    int err;

    snprintf(identity, sizeof identity, "%.*s", (int)b->row.psk_id.n,
             (const char *)b->row.psk_id.p);
    if (!hub_psk_identity_ok(identity))
        return wrong(b, "PSK_ID", "1 to 128 bytes of UTF-8 without control characters are wanted");
    if (hub_registry_lookup_psk(b->r, b->row.psk_id, &known) == 0 && known.id > b->last_before)
        return wrong(b, "PSK_ID", "this identity is in an earlier row already");
    err = hub_psk_add(b->r, b->iccid, b->iccid, *b->imsi ? b->imsi : NULL, identity, secret,
                      b->import->actor, &added, &e);
    if (err < 0)
        return refused(b, err, "PSK_ID", &e);
    b->report->in.added += added;
    b->report->in.unchanged += !added;
    return 0;
}

static int take_psk(struct batch *b) {
    struct tb_out_secrets secrets = {.psk_n = 0};
    int err = unwrap(b, &secrets);

    if (err == 0)
        err = put_psk(b, tb_span(secrets.psk, secrets.psk_n));
    tb_wipe(&secrets, sizeof secrets);
    return err;
}

static int take_card(struct batch *b) {
    struct tb_error e = {0};
    int err = hub_registry_settle_owner(b->r, b->iccid, b->iccid, *b->imsi ? b->imsi : NULL, &e);

    return err < 0 ? refused(b, err, "ICCID", &e) : 0;
}

/* Inside a savepoint. */
static int take_row(struct batch *b, const struct tb_out_header *h, const struct tb_span *fields,
                    size_t n) {
    if (tb_out_row(h, fields, n, &b->row, &b->why) < 0)
        return TB_EPARSE;
    snprintf(b->iccid, sizeof b->iccid, "%.*s", (int)b->row.iccid.n, (const char *)b->row.iccid.p);
    snprintf(b->imsi, sizeof b->imsi, "%.*s", (int)b->row.imsi.n, (const char *)b->row.imsi.p);
    if (b->row.kind != TB_OUT_NO_CREDENTIAL && b->row.bootstrap)
        return wrong(b, "ROLE",
                     "bootstrap credentials cannot be kept by this release of the hub: they would "
                     "have the rights of final ones");
    return b->row.kind == TB_OUT_X509  ? take_x509(b)
           : b->row.kind == TB_OUT_PSK ? take_psk(b)
                                       : take_card(b);
}

static void reject(struct batch *b, unsigned long line) {
    struct hub_output_report *rep = b->report;

    if (rep->rejected < HUB_IMPORT_SHOWN) {
        rep->complaints[rep->rejected].line = line;
        snprintf(rep->complaints[rep->rejected].column, sizeof rep->complaints[0].column, "%s",
                 b->why.column);
        snprintf(rep->complaints[rep->rejected].reason, sizeof rep->complaints[0].reason, "%s",
                 b->why.reason);
    }
    rep->rejected++;
}

/* 0 taken or rejected; negative: the registry has failed. */
static int next_row(struct batch *b, const struct tb_out_header *h, const struct tb_span *fields,
                    size_t n, unsigned long line) {
    const struct hub_output_report before = *b->report;
    int err = hub_db_exec(b->r, "SAVEPOINT output_row", b->e), taken;

    if (err < 0)
        return err;
    taken = take_row(b, h, fields, n);
    b->report->rows++;
    if (taken == TB_EPARSE) {
        b->report->in = before.in;
        b->report->issued = before.issued;
        err = hub_db_exec(b->r, "ROLLBACK TO output_row", b->e);
        hub_registry_forget(b->r);
        reject(b, line);
    } else if (taken < 0) {
        return taken;
    } else {
        b->report->ota_keys += b->row.has_ota;
        b->report->in.cards += strcmp(b->last_iccid, b->iccid) != 0;
        memcpy(b->last_iccid, b->iccid, sizeof b->last_iccid);
    }
    return err < 0 ? err : hub_db_exec(b->r, "RELEASE output_row", b->e);
}

static int take_rows(struct batch *b) {
    struct tb_span fields[TB_OUT_FIELDS_MAX];
    struct tb_error e = {0};
    struct tb_out_header h;
    struct tb_csv csv;
    int n, err;

    tb_csv_init(&csv, b->import->text, ',');
    n = tb_csv_next(&csv, fields, TB_OUT_FIELDS_MAX, &e);
    err = n < 0 ? n : tb_out_header(fields, (size_t)n, &h, &e);
    if (err < 0) {
        tb_csv_done(&csv);
        return tb_error_set(b->e, err, NULL, e.line, "%s", e.message);
    }
    b->report->unknown_columns = (unsigned)h.unknown;
    snprintf(b->report->first_unknown, sizeof b->report->first_unknown, "%.*s",
             (int)h.first_unknown.n, h.unknown ? (const char *)h.first_unknown.p : "");
    while (err >= 0 && (n = tb_csv_next(&csv, fields, TB_OUT_FIELDS_MAX, &e)) != 0) {
        if (n > 0) {
            err = next_row(b, &h, fields, (size_t)n, csv.row);
            continue;
        }
        wrong(b, "", e.message);
        b->report->rows++;
        reject(b, (unsigned long)e.line);
    }
    tb_csv_done(&csv);
    return err < 0 ? err : 0;
}

static int highest_credential(struct batch *b) {
    sqlite3_stmt *s;
    int err = hub_db_prepare(b->r, &s, b->e, "SELECT ifnull(max(id), 0) FROM credential", "");

    if (err < 0)
        return err;
    err = sqlite3_step(s) == SQLITE_ROW ? 0 : hub_db_error(b->r, b->e);
    b->last_before = err == 0 ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    return err;
}

static int import(struct batch *b) {
    struct hub_output_report *rep = b->report;
    int err = hub_registry_each_ca(b->r, hub_registry_trust_one, b->trusted);

    if (err >= 0)
        err = hub_db_begin(b->r, true, b->e);
    if (err < 0)
        return err;
    err = highest_credential(b);
    if (err == 0)
        err = take_rows(b);
    if (err == 0 && rep->rejected && !b->import->partial)
        err = tb_error_set(b->e, TB_EPARSE, NULL, 0,
                           "%u of %u rows are not good, nothing was imported (--partial takes the "
                           "others)",
                           rep->rejected, rep->rows);
    rep->in.devices = rep->in.cards;
    return hub_registry_finish(b->r, err, b->e);
}

int hub_registry_import_output(struct hub_registry *r, const struct hub_output_import *in,
                               struct hub_output_report *ret, struct tb_error *e) {
    struct batch *b = calloc(1, sizeof *b); /* a row is some KiB */
    int err;

    if (!b)
        abort();
    *ret = (struct hub_output_report){.rows = 0};
    b->r = r;
    b->import = in;
    b->report = ret;
    b->e = e;
    b->trusted = X509_STORE_new();
    if (!b->trusted)
        abort();
    err = import(b);
    X509_STORE_free(b->trusted);
    tb_wipe(b, sizeof *b);
    free(b);
    return err;
}

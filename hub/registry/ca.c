/* Certificate authorities in the registry. Their keys are files beside it, never in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/internal.h"

static const char *role_name(bool trusted) {
    return trusted ? "operational" : "none";
}

static int read_ca(sqlite3_stmt *s, struct hub_ca *ca) {
    const unsigned char *der = sqlite3_column_blob(s, 3);
    const char *role = (const char *)sqlite3_column_text(s, 2);

    ca->id = sqlite3_column_int64(s, 0);
    hub_column_text(s, 1, ca->name, sizeof ca->name);
    ca->trusted = role && strcmp(role, role_name(true)) == 0;
    ca->has_key = sqlite3_column_type(s, 4) != SQLITE_NULL;
    ca->cert = d2i_X509(NULL, &der, sqlite3_column_bytes(s, 3));
    return ca->cert ? 0 : TB_ESTORE;
}

int hub_registry_each_ca(struct hub_registry *r, hub_ca_fn *fn, void *user) {
    sqlite3_stmt *s;
    struct hub_ca ca;
    int count = 0, rc, err;

    err =
        hub_db_prepare(r, &s, NULL, "SELECT id, name, role, cert, key_ref FROM ca ORDER BY id", "");
    if (err < 0)
        return err;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        err = read_ca(s, &ca);
        if (err == 0) {
            err = fn(&ca, user);
            X509_free(ca.cert);
        }
        if (err != 0)
            break;
        count++;
    }
    sqlite3_finalize(s);
    return err != 0 ? err : rc == SQLITE_DONE ? count : TB_ESTORE;
}

int hub_registry_add_ca(struct hub_registry *r, const char *name, X509 *cert, bool trusted,
                        bool has_key, struct tb_error *e) {
    char subject[HUB_SUBJECT_MAX + 1], key_ref[HUB_DEVICE_MAX + 16];
    unsigned char *der = NULL;
    int n, err;

    if (!hub_device_id_ok(name))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "CA name: 1 to %d letters, digits and . _ : - are wanted",
                            HUB_DEVICE_MAX);
    n = i2d_X509(cert, &der);
    if (n <= 0)
        return tb_error_set(e, TB_ECRYPTO, NULL, 0, "the CA certificate cannot be encoded");
    hub_name_text(X509_get_subject_name(cert), subject, sizeof subject);
    snprintf(key_ref, sizeof key_ref, "ca/%s.key", name);
    err = hub_db_begin(r, true, e);
    if (err == 0) {
        err = hub_db_run(r, e,
                         "INSERT INTO ca(name, role, subject, cert, key_ref) VALUES(?, ?, ?, ?, ?)"
                         " ON CONFLICT(name) DO NOTHING",
                         "sssbs", name, role_name(trusted), subject, der, (size_t)n,
                         has_key ? key_ref : NULL);
        if (err == 0)
            err = tb_error_set(e, TB_ESTATE, NULL, 0, "there is a CA named %s already", name);
        if (err < 0)
            hub_db_rollback(r);
        else
            err = hub_db_commit(r, e);
    }
    OPENSSL_free(der);
    return err;
}

int hub_registry_trust_ca(struct hub_registry *r, const char *name, bool trusted,
                          struct tb_error *e) {
    int err = hub_db_begin(r, true, e);

    if (err < 0)
        return err;
    err = hub_db_run(r, e, "UPDATE ca SET role = ? WHERE name = ?", "ss", role_name(trusted), name);
    if (err == 0)
        err = tb_error_set(e, TB_ENOTFOUND, NULL, 0, "there is no CA named %s", name);
    if (err < 0) {
        hub_db_rollback(r);
        return err;
    }
    err = hub_db_commit(r, e);
    if (err == 0)
        hub_registry_forget(r);
    return err;
}

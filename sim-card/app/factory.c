#include "factory_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "certificate_text.h"
#include "factory_keys.h"
#include "tb/hex.h"
#include "tb/output_file.h"

enum { MAX_FILE = 65535, MAX_SECRET = 64 };

static struct made *remember(struct factory *fy, const struct cardfile_entry *from) {
    struct made *m = calloc(1, sizeof *m);

    if (!m)
        abort();
    m->from = from;
    m->next = fy->made;
    fy->made = m;
    return m;
}

static struct made *made_of(struct factory *fy, enum cardfile_kind kind, const char *name) {
    const struct cardfile_entry *from = cardfile_find(fy->f, kind, name);

    for (struct made *m = fy->made; m; m = m->next)
        if (m->from == from)
            return m;
    return NULL;
}

/* Identity, domains, applets. */

static int make_identity(struct factory *fy) {
    const struct cardfile *f = fy->f;
    struct card_identity id = {.iccid = f->iccid,
                               .imsi = f->imsi,
                               .spn = f->spn,
                               .msisdn = f->msisdn,
                               .smsc = f->smsc,
                               .mnc_digits = f->mnc_digits,
                               .atr = factory_span(&f->atr)};
    int r = card_perso_identity(fy->nvm, &id);

    if (r < 0)
        return tb_error_set(fy->e, r, f->path, 0, "[card] is outside the limits of a card: %s",
                            tb_strerror(r));
    json_object_set_new(fy->record, "iccid", json_string(f->iccid));
    if (f->imsi)
        json_object_set_new(fy->record, "imsi", json_string(f->imsi));
    return 0;
}

static struct tb_span aid_of(const struct factory *fy, const char *domain) {
    static const uint8_t issuer[] = {0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00};
    const struct cardfile_entry *at = domain ? cardfile_find(fy->f, CARDFILE_DOMAIN, domain) : NULL;

    if (!at)
        return TB_SPAN_NONE;
    return at->id.n ? factory_span(&at->id) : tb_span(issuer, sizeof issuer);
}

/* spec: GPCS 5.3.2 a supplementary domain with keys is personalised */
static uint8_t life_of(const struct factory *fy, const struct cardfile_entry *domain) {
    enum { PERSONALIZED = 0x0F };

    for (const struct cardfile_entry *at = fy->f->first; at; at = at->next)
        if (at->kind == CARDFILE_KEYS && domain->domain && strcmp(at->domain, domain->name) == 0)
            return PERSONALIZED;
    return 0;
}

static int make_domain(struct factory *fy, const struct cardfile_entry *at) {
    const struct card_app_spec spec = {
        .aid = aid_of(fy, at->name),
        .domain = aid_of(fy, at->domain),
        .authorized = at->authorized,
        .placement = (uint8_t)at->placement,
        .life = life_of(fy, at),
        .tar = factory_span(&at->tar),
        .msl = at->msl,
    };
    int r = card_perso_app(fy->nvm, &spec);

    if (r < 0)
        return factory_refused(fy->f, at, r, fy->e);
    json_array_append_new(fy->domains, json_pack("{s:s, s:o, s:i, s:[]}", "name", at->name, "aid",
                                                 card_json_upper_hex(spec.aid), "placement",
                                                 (int)at->placement, "keys"));
    return 0;
}

/* The domain it belongs to comes first. */
static int make_domains(struct factory *fy, const char *below) {
    for (const struct cardfile_entry *at = fy->f->first; at; at = at->next) {
        bool here = at->kind == CARDFILE_DOMAIN &&
                    (below ? at->domain && strcmp(at->domain, below) == 0 : !at->domain);
        int r = here ? make_domain(fy, at) : 0;

        if (r == 0 && here)
            r = make_domains(fy, at->name);
        if (r < 0)
            return r;
    }
    return 0;
}

/* NULL for a name that JSON cannot hold. */
static json_t *domain_record(const struct factory *fy, const char *name) {
    json_t *domain;
    size_t i;

    json_array_foreach(fy->domains, i, domain) {
        if (strcmp(json_string_value(json_object_get(domain, "name")), name) == 0)
            return domain;
    }
    return NULL;
}

/* Keys that are not given are made up. Who manages the card has to know them too. */
static int make_keys(struct factory *fy, const struct cardfile_entry *at) {
    static const char *const names[] = {"enc", "mac", "dek"};
    const struct cardfile_entry *domain = cardfile_find(fy->f, CARDFILE_DOMAIN, at->domain);
    const struct cardfile_bytes *given[] = {&at->enc, &at->mac, &at->dek};
    uint8_t made[3][16];
    struct card_keys_spec spec = {.version = (uint8_t)at->version, .des = at->type == 1};
    json_t *keys =
        json_pack("{s:i, s:s}", "version", (int)at->version, "type", spec.des ? "des" : "aes");
    int r = RAND_bytes(made[0], sizeof made) == 1 ? 0 : TB_ECRYPTO;

    for (size_t i = 0; i < 3; i++) {
        spec.keys[i] = at->hex.n     ? factory_span(&at->hex)
                       : given[i]->n ? factory_span(given[i])
                                     : tb_span(made[i], sizeof made[i]);
        if (fy->opt->export_secrets)
            json_object_set_new(keys, names[i], card_json_hex(spec.keys[i]));
    }
    if (r == 0)
        r = card_perso_keys(fy->nvm, aid_of(fy, at->domain), (uint8_t)domain->placement, &spec);
    json_array_append_new(json_object_get(domain_record(fy, at->domain), "keys"), keys);
    tb_wipe(made, sizeof made);
    return r < 0 ? factory_refused(fy->f, at, r, fy->e) : 0;
}

static int make_applet(struct factory *fy, const struct cardfile_entry *at) {
    const char *name = at->profile ? at->profile : card_profile_names()[0];
    const struct cardfile_entry *own = cardfile_find(fy->f, CARDFILE_PROFILE, name);
    struct card_profile profile = own ? own->knobs : *card_profile_find(name);
    const struct card_app_spec spec = {
        .aid = factory_span(&at->id),
        .domain = aid_of(fy, at->domain),
        .instance = (uint8_t)at->instance,
        .profile = &profile,
        .placement = (uint8_t)at->placement,
        .tar = factory_span(&at->tar),
        .msl = at->msl,
    };
    int r;

    if (at->type)
        profile.type2 = at->type == 2;
    r = card_perso_app(fy->nvm, &spec);
    if (r < 0)
        return factory_refused(fy->f, at, r, fy->e);
    json_array_append_new(fy->applets, json_pack("{s:o, s:s, s:i}", "aid",
                                                 card_json_upper_hex(factory_span(&at->id)),
                                                 "profile", name, "instance", (int)at->instance));
    return 0;
}

/* Keys and secrets. */

static int record_key(struct factory *fy, const struct made *m) {
    const struct cardfile_entry *at = m->from;
    uint8_t storage[CARD_RSA_SPKI_MAX], digest[32];
    struct tb_buf bytes = TB_BUF(storage);
    uint8_t spki_storage[CARD_RSA_SPKI_MAX];
    struct tb_buf spki = TB_BUF(spki_storage);
    bool ok = factory_public_bytes(m->public, &bytes) == 0;

    if (ok && at->type != TB_SAFE_RSA2048)
        ok = tb_spki_of_point(factory_group(at->type), tb_buf_span(&bytes), &spki) == 0;
    else
        tb_put(&spki, tb_buf_span(&bytes));
    ok =
        ok && tb_buf_ok(&spki) && EVP_Digest(spki.p, spki.n, digest, NULL, EVP_sha256(), NULL) == 1;
    if (!ok)
        return factory_refused(fy->f, at, TB_ECRYPTO, fy->e);
    json_array_append_new(fy->keys,
                          json_pack("{s:s, s:o, s:i, s:s*, s:o, s:o}", "name", at->name, "id",
                                    card_json_upper_hex(factory_span(&at->id)), "instance",
                                    (int)at->instance, "label", at->label, "public",
                                    card_json_hex(tb_buf_span(&bytes)), "spki_sha256",
                                    card_json_hex(tb_span(digest, sizeof digest))));
    return 0;
}

static int make_key(struct factory *fy, const struct cardfile_entry *at) {
    EVP_PKEY *public = NULL;
    struct made *m;
    int r;

    if (at->copy_of) {
        const struct made *original = made_of(fy, CARDFILE_KEY, at->copy_of);

        r = factory_copy(fy->f, at, original->from, fy->nvm, fy->e);
        if (r == 0 && EVP_PKEY_up_ref(original->public) == 1)
        public = original->public;
    } else if (at->kind == CARDFILE_KEY) {
        r = factory_key(fy->f, at, fy->nvm, &public, fy->e);
    } else {
        r = factory_public(fy->f, at, fy->nvm, &public, fy->e);
    }
    if (r < 0 || !public)
        return r;
    m = remember(fy, at);
    m->public = public;
    return at->kind == CARDFILE_KEY ? record_key(fy, m) : 0;
}

static int make_secret(struct factory *fy, const struct cardfile_entry *at) {
    uint8_t random[MAX_SECRET];
    struct tb_span value = at->text ? tb_span_str(at->text) : factory_span(&at->hex);
    struct card_object_spec spec = {
        .cls = CARD_SECRET,
        .id = factory_span(&at->id),
        .label = at->label ? tb_span_str(at->label) : TB_SPAN_NONE,
        .access = at->access,
        .key_type = at->type,
        .crypto = at->functions,
        .key_derivation = at->derivation,
    };
    int r = 0;

    if (at->random) {
        if (RAND_bytes(random, (int)at->random) != 1)
            r = TB_ECRYPTO;
        value = tb_span(random, at->random);
    }
    spec.value = value;
    if (r == 0)
        r = card_perso_object(fy->nvm, (uint8_t)at->instance, &spec);
    if (r == 0 && at->psk_identity) {
        json_t *credential =
            json_pack("{s:s, s:s, s:o, s:i}", "kind", "psk", "identity", at->psk_identity, "id",
                      card_json_hex(factory_span(&at->id)), "instance", (int)at->instance);

        if (fy->opt->export_secrets)
            json_object_set_new(credential, "secret", card_json_hex(value));
        json_array_append_new(fy->psks, credential);
    }
    tb_wipe(random, sizeof random);
    return r < 0 ? factory_refused(fy->f, at, r, fy->e) : 0;
}

/* Certificates. */

static int certificate_failed(struct factory *fy, const struct cardfile_entry *at, int r,
                              const char *what) {
    return tb_error_set(fy->e, r, fy->f->path, at->line, "[certificate %s]: %s", at->name, what);
}

static int issue(struct factory *fy, const struct cardfile_entry *at, EVP_PKEY *key, X509 **ret) {
    struct tb_pki_request req = {
        .role = TB_PKI_CLIENT,
        .common_name = at->cn ? at->cn : fy->f->iccid,
        .organization = at->organization,
        .not_before_s = -24L * 3600, /* a device's clock may be slow */
        .not_after_s = (long)at->days * 24 * 3600,
        .written_only = true,
    };
    int r;

    if (!fy->opt->issuer)
        return certificate_failed(
            fy, at, TB_ENOTFOUND,
            "has to be issued: give the CA with --issuer-cert and --issuer-key "
            "(the hub makes one with 'iot-hub ca init'), or a finished one with 'from = FILE'");
    r = tb_pki_issue(fy->opt->issuer, key, &req, ret);
    return r < 0 ? certificate_failed(fy, at, r, tb_strerror(r)) : 0;
}

static int load_certificate(struct factory *fy, const struct cardfile_entry *at, EVP_PKEY *key,
                            X509 **ret) {
    char *path = cardfile_path(fy->f, at->from);
    struct tb_error why = {0};
    X509 *cert;
    int r = tb_pki_cert_load(path, &cert, &why);

    free(path);
    if (r < 0)
        return certificate_failed(fy, at, r, why.message);
    if (EVP_PKEY_eq(X509_get0_pubkey(cert), key) != 1) {
        X509_free(cert);
        ERR_clear_error();
        return certificate_failed(fy, at, TB_EPARSE, "'from' names a certificate for another key");
    }
    *ret = cert;
    return 0;
}

static int make_certificate(struct factory *fy, const struct cardfile_entry *at) {
    const struct made *key = made_of(fy, CARDFILE_KEY, at->key);
    struct made *m;
    X509 *cert = NULL;
    int r =
        at->from ? load_certificate(fy, at, key->public, &cert) : issue(fy, at, key->public, &cert);

    if (r < 0)
        return r;
    m = remember(fy, at);
    m->cert = cert;
    return 0;
}

static void record_certificate(struct factory *fy, const struct made *m) {
    json_t *files = json_array(), *fingerprint = card_json_fingerprint(m->cert);

    if (!fingerprint)
        abort(); /* of a certificate that has just been made or parsed */
    for (const struct cardfile_entry *at = fy->f->first; at; at = at->next)
        if (at->kind == CARDFILE_FILE && at->certificate &&
            strcmp(at->certificate, m->from->name) == 0)
            json_array_append_new(files,
                                  json_pack("{s:i, s:o, s:s}", "instance", (int)at->instance, "id",
                                            card_json_upper_hex(factory_span(&at->id)), "format",
                                            at->format == CARDFILE_PEM ? "pem" : "der"));
    json_array_append_new(
        fy->certificates,
        json_pack("{s:s, s:s, s:o, s:o, s:O, s:o, s:o}", "name", m->from->name, "key", m->from->key,
                  "files", files, "subject", card_json_subject(m->cert), "fingerprint", fingerprint,
                  "not_after", card_json_not_after(m->cert), "pem", card_json_pem(m->cert)));
    json_array_append_new(fy->credentials,
                          json_pack("{s:s, s:o, s:o}", "kind", "x509", "certificate",
                                    card_json_pem(m->cert), "fingerprint", fingerprint));
}

/* Files. */

static int put_certificate(struct factory *fy, const struct cardfile_entry *at,
                           struct tb_buf *out) {
    const struct made *m = made_of(fy, CARDFILE_CERTIFICATE, at->certificate);
    X509 *ca = fy->opt->server_ca ? fy->opt->server_ca
               : fy->opt->issuer  ? fy->opt->issuer->cert
                                  : NULL;
    X509 *cert = m ? m->cert : ca;
    unsigned char *der = NULL;
    json_t *pem;
    int n;

    if (!cert)
        return tb_error_set(
            fy->e, TB_ENOTFOUND, fy->f->path, at->line,
            "[file %s] wants the certificate of a CA: give --server-ca, or --issuer-cert and "
            "--issuer-key",
            at->name);
    if (at->format == CARDFILE_PEM) {
        pem = card_json_pem(cert);
        tb_put(out, tb_span(json_string_value(pem), json_string_length(pem)));
        json_decref(pem);
        return 0;
    }
    n = i2d_X509(cert, &der);
    if (n <= 0)
        return factory_refused(fy->f, at, TB_ECRYPTO, fy->e);
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_free(der);
    return 0;
}

static int put_file(struct factory *fy, const struct cardfile_entry *at, struct tb_buf *out) {
    char *path = cardfile_path(fy->f, at->from);
    FILE *in = fopen(path, "rb");
    size_t n = 0;
    int r = 0;

    if (in)
        n = fread(out->p, 1, out->cap, in);
    if (!in || ferror(in))
        r = tb_error_set(fy->e, -errno, fy->f->path, at->line, "[file %s] from = %s: %s", at->name,
                         path, tb_strerror(-errno));
    else if (fgetc(in) != EOF)
        r = tb_error_set(fy->e, TB_ERANGE, fy->f->path, at->line,
                         "[file %s] from = %s: larger than %zu bytes", at->name, path, out->cap);
    if (in)
        fclose(in);
    free(path);
    if (r == 0)
        out->n = n;
    return r;
}

static int make_file(struct factory *fy, const struct cardfile_entry *at) {
    static _Thread_local uint8_t storage[MAX_FILE];
    struct tb_buf content = TB_BUF(storage);
    struct card_object_spec spec = {
        .cls = CARD_FILE,
        .id = factory_span(&at->id),
        .label = at->label ? tb_span_str(at->label) : TB_SPAN_NONE,
        .access = at->access,
        .file_usage = at->file_usage,
        .capacity = at->capacity,
    };
    int r = 0;

    if (at->certificate)
        r = put_certificate(fy, at, &content);
    else if (at->from)
        r = put_file(fy, at, &content);
    else
        tb_put(&content, at->text ? tb_span_str(at->text) : factory_span(&at->hex));
    if (r < 0)
        return r;
    if (at->capacity && content.n > at->capacity)
        return tb_error_set(fy->e, TB_ESPACE, fy->f->path, at->line,
                            "[file %s]: %zu bytes do not fit into its capacity of %u", at->name,
                            content.n, at->capacity);
    spec.value = tb_buf_span(&content);
    r = card_perso_object(fy->nvm, (uint8_t)at->instance, &spec);
    return r < 0 ? factory_refused(fy->f, at, r, fy->e) : 0;
}

static int make_entry(struct factory *fy, const struct cardfile_entry *at) {
    switch (at->kind) {
    case CARDFILE_USIM:
        return factory_make_usim(fy, at, 0, fy->record);
    case CARDFILE_EUICC:
        return factory_make_euicc(fy, at);
    case CARDFILE_SUBSCRIPTION:
        return factory_make_subscription(fy, at);
    case CARDFILE_PIN:
        return factory_make_pin(fy, at);
    case CARDFILE_KEYS:
        return make_keys(fy, at);
    case CARDFILE_APPLET:
        return make_applet(fy, at);
    case CARDFILE_KEY:
    case CARDFILE_PUBLIC:
        return make_key(fy, at);
    case CARDFILE_SECRET:
        return make_secret(fy, at);
    case CARDFILE_CERTIFICATE:
        return make_certificate(fy, at);
    case CARDFILE_FILE:
        return make_file(fy, at);
    case CARDFILE_SET:
    case CARDFILE_CARD:
    case CARDFILE_DOMAIN: /* all at once, in their own order */
    case CARDFILE_PROFILE:
    case CARDFILE_KINDS:
        break;
    }
    return 0;
}

static int make_all(struct factory *fy) {
    /* A section may refer to one further down: keys come before their copies and certificates,
     * these before the files they fill. */
    static const struct {
        enum cardfile_kind kind;
        bool copies;
    } order[] = {
        {CARDFILE_EUICC, false},  {CARDFILE_SUBSCRIPTION, false}, {CARDFILE_PIN, false},
        {CARDFILE_USIM, false},   {CARDFILE_KEYS, false},         {CARDFILE_APPLET, false},
        {CARDFILE_KEY, false},    {CARDFILE_KEY, true},           {CARDFILE_PUBLIC, false},
        {CARDFILE_SECRET, false}, {CARDFILE_CERTIFICATE, false},  {CARDFILE_FILE, false},
    };
    int r = make_identity(fy);

    if (r == 0)
        r = make_domains(fy, NULL);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (const struct cardfile_entry *at = fy->f->first; at && r == 0; at = at->next)
            if (at->kind == order[i].kind && (at->copy_of != NULL) == order[i].copies)
                r = make_entry(fy, at);
    for (const struct cardfile_entry *at = fy->f->first; at && r == 0; at = at->next)
        if (at->kind == CARDFILE_CERTIFICATE)
            record_certificate(fy, made_of(fy, CARDFILE_CERTIFICATE, at->name));
    return r;
}

/* The ATR as the finished card will send it. */
static int record_atr(struct factory *fy) {
    struct card_config cfg = {.nvm = fy->nvm};
    int r = 0;
    struct card *card = card_new(&cfg, &r);

    if (!card)
        return tb_error_set(fy->e, r, fy->f->path, 0, "the finished card does not start: %s",
                            tb_strerror(r));
    json_object_set_new(fy->record, "atr", card_json_upper_hex(card_atr(card)));
    card_free(card);
    return 0;
}

int factory_make(const struct cardfile *f, const struct factory_options *opt, struct card_nvm *nvm,
                 json_t **ret_record, struct tb_error *e) {
    struct factory fy = {.f = f, .opt = opt, .nvm = nvm, .e = e};
    int r;

    fy.record = json_object();
    fy.domains = json_array();
    fy.applets = json_array();
    fy.keys = json_array();
    fy.certificates = json_array();
    fy.credentials = json_array();
    fy.psks = json_array();
    r = make_all(&fy);
    if (r == 0)
        r = record_atr(&fy);
    if (json_array_size(fy.domains))
        json_object_set(fy.record, "domains", fy.domains);
    json_decref(fy.domains);
    json_object_set_new(fy.record, "applets", fy.applets);
    json_object_set_new(fy.record, "keys", fy.keys);
    json_object_set_new(fy.record, "certificates", fy.certificates);
    json_array_extend(fy.credentials, fy.psks);
    json_decref(fy.psks);
    json_object_set_new(fy.record, "credentials", fy.credentials);
    while (fy.made) {
        struct made *m = fy.made;

        fy.made = m->next;
        EVP_PKEY_free(m->public);
        X509_free(m->cert);
        free(m);
    }
    if (r < 0) {
        json_decref(fy.record);
        return r;
    }
    *ret_record = fy.record;
    return 0;
}

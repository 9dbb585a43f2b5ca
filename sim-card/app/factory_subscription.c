/* What belongs to an operator: USIM keys, PINs, the profiles of an eUICC and the eUICC itself. */
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "certificate_text.h"
#include "factory_internal.h"
#include "factory_keys.h"
#include "tb/hex.h"

int factory_make_pin(struct factory *fy, const struct cardfile_entry *at) {
    struct card_pin_spec spec = {.pin = at->text, .puk = at->puk, .enabled = at->enabled};
    int r;

    spec.ref = strcmp(at->name, "pin1") == 0   ? CARD_PIN1
               : strcmp(at->name, "pin2") == 0 ? CARD_PIN2
                                               : CARD_ADM1;
    r = card_perso_pin(fy->nvm, &spec);
    return r < 0 ? factory_refused(fy->f, at, r, fy->e) : 0;
}

/* What is not given is made up, as a SIM maker does. The network has to know it too. */
int factory_make_usim(struct factory *fy, const struct cardfile_entry *at, uint8_t subscription,
                      json_t *record) {
    uint8_t made[2][16], sqn[6] = {0};
    struct card_usim_spec spec = {.subscription = subscription,
                                  .k = factory_span(&at->k),
                                  .opc = factory_span(&at->opc),
                                  .op = factory_span(&at->op),
                                  .delta = at->delta};
    json_t *usim = json_object();
    int r = RAND_bytes(made[0], sizeof made) == 1 ? 0 : TB_ECRYPTO;

    if (!at->k.n)
        spec.k = tb_span(made[0], sizeof made[0]);
    if (!at->opc.n && !at->op.n)
        spec.opc = tb_span(made[1], sizeof made[1]);
    if (at->sqn.n)
        memcpy(sqn, at->sqn.p, sizeof sqn);
    for (size_t i = 0; i < sizeof sqn; i++)
        spec.sqn = spec.sqn << 8 | sqn[i];
    if (r == 0)
        r = card_perso_usim(fy->nvm, &spec);
    json_object_set_new(usim, "sqn", card_json_hex(tb_span(sqn, sizeof sqn)));
    if (fy->opt->export_secrets) {
        json_object_set_new(usim, "k", card_json_hex(spec.k));
        json_object_set_new(usim, spec.op.n ? "op" : "opc",
                            card_json_hex(spec.op.n ? spec.op : spec.opc));
    }
    json_object_set_new(record, "usim", usim);
    tb_wipe(made, sizeof made);
    return r < 0 ? factory_refused(fy->f, at, r, fy->e) : 0;
}

/* An eUICC and its profiles. */

static int put_der(X509 *cert, struct tb_buf *out) {
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);

    if (n <= 0)
        return TB_ECRYPTO;
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_free(der);
    return tb_buf_ok(out) ? 0 : TB_ERANGE;
}

/* It signs with a key under the issuer's certificate, who stands in for the eUICC's maker. */
static int issue_for_euicc(struct factory *fy, struct tb_span eid, struct tb_buf *key,
                           struct tb_buf *certificate, struct tb_buf *eum) {
    char name[2 * 16 + 1];
    const struct tb_pki_request req = {.role = TB_PKI_CLIENT,
                                       .common_name = tb_hex_str(name, sizeof name, eid),
                                       .not_before_s = -24L * 3600,
                                       .not_after_s = 3650L * 24 * 3600};
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *cert = NULL;
    int r = pair ? factory_private_bytes(pair, key) : TB_ECRYPTO;

    if (r == 0)
        r = tb_pki_issue(fy->opt->issuer, pair, &req, &cert);
    if (r == 0)
        r = put_der(cert, certificate);
    if (r == 0)
        r = put_der(fy->opt->issuer->cert, eum);
    if (r == 0)
        json_object_set_new(fy->record, "euicc_certificate", card_json_pem(cert));
    X509_free(cert);
    EVP_PKEY_free(pair);
    return r;
}

int factory_make_euicc(struct factory *fy, const struct cardfile_entry *at) {
    enum { CERTIFICATE_MAX = 2048 };
    uint8_t key[32], certificate[CERTIFICATE_MAX], eum[CERTIFICATE_MAX];
    struct tb_buf k = TB_BUF(key), c = TB_BUF(certificate), m = TB_BUF(eum);
    struct card_euicc_spec spec = {.eid = factory_span(&at->eid),
                                   .ci = factory_span(&at->ci),
                                   .smdp = at->smdp,
                                   .smds = at->smds};
    int r = fy->opt->issuer ? issue_for_euicc(fy, spec.eid, &k, &c, &m) : 0;

    spec.key = tb_buf_span(&k);
    spec.certificate = tb_buf_span(&c);
    spec.eum = tb_buf_span(&m);
    if (r == 0)
        r = card_perso_euicc(fy->nvm, &spec);
    tb_wipe(key, sizeof key);
    if (r < 0)
        return factory_refused(fy->f, at, r, fy->e);
    json_object_set_new(fy->record, "eid", card_json_hex(spec.eid));
    json_object_set_new(fy->record, "subscriptions", json_array());
    return 0;
}

static int make_subscription_pins(struct factory *fy, const struct cardfile_entry *at) {
    const struct card_pin_spec pin1 = {.subscription = (uint8_t)at->number,
                                       .ref = CARD_PIN1,
                                       .pin = at->pin1,
                                       .puk = at->puk1,
                                       .enabled = at->pin1_enabled},
                               adm1 = {.subscription = (uint8_t)at->number,
                                       .ref = CARD_ADM1,
                                       .pin = at->adm1};
    int r = at->pin1 ? card_perso_pin(fy->nvm, &pin1) : 0;

    return r == 0 && at->adm1 ? card_perso_pin(fy->nvm, &adm1) : r;
}

int factory_make_subscription(struct factory *fy, const struct cardfile_entry *at) {
    const struct card_identity id = {.subscription = (uint8_t)at->number,
                                     .iccid = at->iccid,
                                     .imsi = at->imsi,
                                     .spn = at->spn,
                                     .msisdn = at->msisdn,
                                     .smsc = at->smsc,
                                     .mnc_digits = at->mnc_digits};
    const struct card_subscription_spec spec = {
        .number = (uint8_t)at->number,
        .enabled = at->enabled,
        .cls = (enum card_profile_class)at->cls,
        .forbid = at->forbid,
        .nickname = at->nickname,
        .provider = at->provider ? at->provider : at->spn,
        .name = at->label ? at->label : at->name,
        .notify = at->notify,
    };
    json_t *record =
        json_pack("{s:s, s:i, s:s, s:s*, s:b}", "name", at->name, "number", (int)at->number,
                  "iccid", at->iccid, "imsi", at->imsi, "enabled", (int)at->enabled);
    int r = card_perso_identity(fy->nvm, &id);

    json_array_append_new(json_object_get(fy->record, "subscriptions"), record);
    if (r == 0)
        r = make_subscription_pins(fy, at);
    if (r == 0)
        r = card_perso_subscription(fy->nvm, &spec);
    if (r < 0)
        return factory_refused(fy->f, at, r, fy->e);
    return at->imsi ? factory_make_usim(fy, at, (uint8_t)at->number, record) : 0;
}

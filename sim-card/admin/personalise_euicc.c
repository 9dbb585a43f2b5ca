/* The eUICC and its profiles into a card's NVM. */
#include <stdlib.h>

#include "euicc/euicc.h"
#include "simcard/personalise.h"

static bool copy_text(const char *text, char *to, size_t cap) {
    size_t n = text ? strlen(text) : 0;

    if (n >= cap || (n && !euicc_is_text(tb_span_str(text))))
        return false;
    memcpy(to, text ? text : "", n + 1);
    return true;
}

/* spec: SGP.29 2.2 the whole number modulo 97 is 1 */
static bool is_eid(struct tb_span eid) {
    unsigned rest = 0;

    if (eid.n != EUICC_EID)
        return false;
    for (size_t i = 0; i < eid.n; i++) {
        unsigned high = eid.p[i] >> 4, low = eid.p[i] & 0xF;

        if (high > 9 || low > 9)
            return false;
        rest = (rest * 100 + high * 10 + low) % 97;
    }
    return rest == 1;
}

static bool is_certificate(struct tb_span der) {
    return der.n > 2 && der.n <= EUICC_CERTIFICATE_MAX && der.p[0] == 0x30;
}

/* All or none; and it is a key. */
static int check_credential(const struct card_euicc_spec *spec) {
    struct card_key *key = NULL;
    int r;

    if (!spec->key.n)
        return spec->certificate.n || spec->eum.n ? TB_ERANGE : 0;
    if (!is_certificate(spec->certificate) || !is_certificate(spec->eum))
        return TB_ERANGE;
    r = card_key_from_private(CARD_KEY_P256, spec->key, &key);
    card_key_free(key);
    return r;
}

int card_perso_euicc(struct card_nvm *nvm, const struct card_euicc_spec *spec) {
    static const uint8_t key[] = {CARD_REC_EUICC, 0};
    struct euicc_state s = {.next_seq = 1, .has_ci = spec->ci.n > 0};
    uint8_t record[EUICC_RECORD_MAX], credential[EUICC_CREDENTIAL_RECORD_MAX];
    struct tb_buf b = TB_BUF(record), c = TB_BUF(credential);
    struct card_write w[2];
    int r;

    if (!is_eid(spec->eid) || (spec->ci.n && spec->ci.n != sizeof s.ci) ||
        !copy_text(spec->smdp, s.dp, sizeof s.dp) || !copy_text(spec->smds, s.ds, sizeof s.ds))
        return TB_ERANGE;
    memcpy(s.eid, spec->eid.p, sizeof s.eid);
    if (s.has_ci)
        memcpy(s.ci, spec->ci.p, sizeof s.ci);
    euicc_state_encode(&s, &b);
    r = check_credential(spec);
    if (r < 0)
        return r;
    euicc_credential_encode(spec->key, spec->certificate, spec->eum, &c);
    w[0] = (struct card_write){tb_span(key, 1), tb_buf_span(&b)};
    w[1] = (struct card_write){tb_span(key, 2), spec->key.n ? tb_buf_span(&c) : TB_SPAN_NONE};
    r = card_nvm_write(nvm, w, 2, true);
    tb_wipe(credential, sizeof credential);
    return r;
}

struct scan {
    const struct card_subscription_spec *spec;
    bool euicc, identity;
    unsigned profiles;
};

/* What is enabled stands first in a profile's record. */
static int scan_entry(struct tb_span key, struct tb_span value, void *user) {
    enum { ENABLED = 3 }; /* behind format, tag and length */
    struct scan *scan = user;
    uint8_t kind = key.p[0];

    if (kind == CARD_REC_EUICC && key.n == 1)
        scan->euicc = true;
    if (kind == CARD_REC_OF && key.n == 3 && key.p[1] == scan->spec->number &&
        key.p[2] == CARD_REC_IDENTITY)
        scan->identity = true;
    if (kind != CARD_REC_EUICC || key.n != 2 || key.p[1] == 0)
        return 0;
    scan->profiles++;
    if (key.p[1] == scan->spec->number ||
        (scan->spec->enabled && value.n > ENABLED && value.p[ENABLED] != 0))
        return TB_ESTATE;
    return 0;
}

int card_perso_subscription(struct card_nvm *nvm, const struct card_subscription_spec *spec) {
    const uint8_t key[] = {CARD_REC_EUICC, spec->number};
    struct euicc_profile p = {.number = spec->number,
                              .enabled = spec->enabled,
                              .cls = (uint8_t)spec->cls,
                              .forbid = spec->forbid};
    uint8_t record[EUICC_RECORD_MAX];
    struct tb_buf b = TB_BUF(record);
    struct scan scan = {.spec = spec};
    struct card_write w;
    int r;

    if (spec->number == 0 || spec->cls > CARD_CLASS_OPERATIONAL ||
        spec->forbid & ~(CARD_FORBID_DISABLE | CARD_FORBID_DELETE) ||
        !copy_text(spec->nickname, p.nickname, sizeof p.nickname) ||
        !copy_text(spec->provider, p.provider, sizeof p.provider) ||
        !copy_text(spec->name, p.name, sizeof p.name) ||
        !copy_text(spec->notify, p.address, sizeof p.address))
        return TB_ERANGE;
    r = nvm->ops->each(nvm, scan_entry, &scan);
    if (r < 0)
        return r;
    if (!scan.euicc || !scan.identity)
        return TB_ENOTFOUND;
    if (scan.profiles >= EUICC_PROFILES_MAX)
        return TB_ESPACE;
    euicc_profile_encode(&p, &b);
    w = (struct card_write){tb_span(key, sizeof key), tb_buf_span(&b)};
    return card_nvm_write(nvm, &w, 1, true);
}

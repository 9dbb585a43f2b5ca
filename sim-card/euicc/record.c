/* The eUICC's records, and what has to fit together after they have been read. */
#include <stdlib.h>

#include "euicc/euicc.h"
#include "simcard/personalise.h"
#include "tb/tlv.h"

enum {
    TAG_EID = 0xC0,
    TAG_DP = 0xC1,
    TAG_DS = 0xC2,
    TAG_CI = 0xC3,
    TAG_NEXT = 0xC4,
    TAG_PREVIOUS = 0xC5,
    TAG_KEY = 0xC6,
    TAG_CERTIFICATE = 0xC7,
    TAG_EUM = 0xC8,

    TAG_ENABLED = 0xD0,
    TAG_CLASS = 0xD1,
    TAG_FORBID = 0xD2,
    TAG_NICKNAME = 0xD3,
    TAG_PROVIDER = 0xD4,
    TAG_NAME = 0xD5,
    TAG_ADDRESS = 0xD6,
    TAG_OPERATION = 0xD7,
    TAG_ICCID = 0xD8,
};

const uint8_t euicc_isdr_aid[16] = {0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF,
                                    0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00};
const uint8_t euicc_ecasd_aid[16] = {0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF,
                                     0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x02, 0x00};

static void put_text(struct tb_buf *out, uint32_t tag, const char *text) {
    if (*text)
        tb_put_tlv(out, tag, tb_span_str(text));
}

void euicc_state_encode(const struct euicc_state *s, struct tb_buf *out) {
    size_t mark;

    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv(out, TAG_EID, tb_span(s->eid, sizeof s->eid));
    put_text(out, TAG_DP, s->dp);
    put_text(out, TAG_DS, s->ds);
    if (s->has_ci)
        tb_put_tlv(out, TAG_CI, tb_span(s->ci, sizeof s->ci));
    mark = tb_tlv_open(out, TAG_NEXT);
    tb_put_be(out, 4, s->next_seq);
    tb_tlv_close(out, mark);
    tb_put_tlv_u8(out, TAG_PREVIOUS, s->previous);
}

void euicc_profile_encode(const struct euicc_profile *p, struct tb_buf *out) {
    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv_u8(out, TAG_ENABLED, p->enabled);
    tb_put_tlv_u8(out, TAG_CLASS, p->cls);
    tb_put_tlv_u8(out, TAG_FORBID, p->forbid);
    put_text(out, TAG_NICKNAME, p->nickname);
    put_text(out, TAG_PROVIDER, p->provider);
    put_text(out, TAG_NAME, p->name);
    put_text(out, TAG_ADDRESS, p->address);
}

void euicc_notification_encode(const struct euicc_notification *n, struct tb_buf *out) {
    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv_u8(out, TAG_OPERATION, n->operation);
    tb_put_tlv(out, TAG_ICCID, tb_span(n->iccid, sizeof n->iccid));
    put_text(out, TAG_ADDRESS, n->address);
}

void euicc_credential_encode(struct tb_span key, struct tb_span certificate, struct tb_span eum,
                             struct tb_buf *out) {
    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv(out, TAG_KEY, key);
    tb_put_tlv(out, TAG_CERTIFICATE, certificate);
    tb_put_tlv(out, TAG_EUM, eum);
}

/* spec: RFC3629 4 */
static bool take_character(struct tb_span *in) {
    uint8_t head = 0, next;
    unsigned more;
    uint32_t v;

    if (!tb_take_u8(in, &head))
        return false;
    more = head < 0x80 ? 0 : head < 0xC2 ? 4 : head < 0xE0 ? 1 : head < 0xF0 ? 2 : 3;
    if (more == 4 || head > 0xF4)
        return false;
    v = more == 0 ? head : head & (0x3Fu >> more);
    for (unsigned i = 0; i < more; i++) {
        if (!tb_take_u8(in, &next) || (next & 0xC0) != 0x80)
            return false;
        v = v << 6 | (next & 0x3Fu);
    }
    if ((more == 2 && v < 0x800) || (more == 3 && v < 0x10000) || v > 0x10FFFF)
        return false;
    return v >= 0x20 && v != 0x7F && (v < 0xD800 || v > 0xDFFF);
}

bool euicc_is_text(struct tb_span text) {
    while (text.n > 0)
        if (!take_character(&text))
            return false;
    return true;
}

static bool take_text(struct tb_span v, char *to, size_t cap) {
    if (v.n >= cap || !euicc_is_text(v))
        return false;
    if (v.n)
        memcpy(to, v.p, v.n);
    to[v.n] = '\0';
    return true;
}

static bool take_bytes(struct tb_span v, void *to, size_t n) {
    if (v.n != n)
        return false;
    memcpy(to, v.p, n);
    return true;
}

static bool take_flag(struct tb_span v, uint8_t max, uint8_t *to) {
    return take_bytes(v, to, 1) && *to <= max;
}

static bool take_state(struct tb_tlv e, struct euicc_state *s) {
    switch (e.tag) {
    case TAG_EID:
        return take_bytes(e.value, s->eid, sizeof s->eid);
    case TAG_DP:
        return take_text(e.value, s->dp, sizeof s->dp);
    case TAG_DS:
        return take_text(e.value, s->ds, sizeof s->ds);
    case TAG_CI:
        s->has_ci = true;
        return take_bytes(e.value, s->ci, sizeof s->ci);
    case TAG_NEXT:
        return e.value.n == 4 && tb_take_be(&e.value, 4, &s->next_seq);
    case TAG_PREVIOUS:
        return take_bytes(e.value, &s->previous, 1);
    default:
        return true;
    }
}

static bool take_profile(struct tb_tlv e, struct euicc_profile *p) {
    uint8_t flag = 0;

    switch (e.tag) {
    case TAG_ENABLED:
        if (!take_flag(e.value, 1, &flag))
            return false;
        p->enabled = flag;
        return true;
    case TAG_CLASS:
        return take_flag(e.value, CARD_CLASS_OPERATIONAL, &p->cls);
    case TAG_FORBID:
        return take_flag(e.value, CARD_FORBID_DISABLE | CARD_FORBID_DELETE, &p->forbid);
    case TAG_NICKNAME:
        return take_text(e.value, p->nickname, sizeof p->nickname);
    case TAG_PROVIDER:
        return take_text(e.value, p->provider, sizeof p->provider);
    case TAG_NAME:
        return take_text(e.value, p->name, sizeof p->name);
    case TAG_ADDRESS:
        return take_text(e.value, p->address, sizeof p->address);
    default:
        return true;
    }
}

static bool take_notification(struct tb_tlv e, struct euicc_notification *n) {
    switch (e.tag) {
    case TAG_OPERATION:
        return take_bytes(e.value, &n->operation, 1) &&
               (n->operation == EUICC_INSTALL || n->operation == EUICC_ENABLE ||
                n->operation == EUICC_DISABLE || n->operation == EUICC_DELETE);
    case TAG_ICCID:
        return take_bytes(e.value, n->iccid, sizeof n->iccid);
    case TAG_ADDRESS:
        return take_text(e.value, n->address, sizeof n->address);
    default:
        return true;
    }
}

static int load_state(struct card_euicc *e, struct tb_span value) {
    struct tb_tlv t;
    int r = card_record_open(&value);

    while (r == 0 && (r = tb_tlv_next(&value, &t)) > 0)
        r = take_state(t, &e->state) ? 0 : TB_EPARSE;
    return r == 0 && e->state.next_seq == 0 ? TB_EPARSE : r; /* it begins with 1 */
}

static int copy(struct tb_span v, uint8_t **ret, size_t *ret_n) {
    if (*ret || v.n == 0 || v.n > EUICC_CERTIFICATE_MAX)
        return TB_EPARSE;
    *ret = malloc(v.n);
    if (!*ret)
        return TB_ENOMEM;
    memcpy(*ret, v.p, v.n);
    *ret_n = v.n;
    return 0;
}

static int take_credential(struct tb_tlv e, struct euicc_credential *c) {
    switch (e.tag) {
    case TAG_KEY:
        return c->key ? TB_EPARSE : card_key_from_private(CARD_KEY_P256, e.value, &c->key);
    case TAG_CERTIFICATE:
        return copy(e.value, &c->certificate, &c->certificate_n);
    case TAG_EUM:
        return copy(e.value, &c->eum, &c->eum_n);
    default:
        return 0;
    }
}

/* What has been read is freed with the eUICC. */
static int load_credential(struct card_euicc *e, struct tb_span value) {
    struct tb_tlv t;
    int r = card_record_open(&value);

    while (r == 0 && (r = tb_tlv_next(&value, &t)) > 0)
        r = take_credential(t, &e->credential);
    if (r == 0 && (!e->credential.key || !e->credential.certificate || !e->credential.eum))
        r = TB_EPARSE;
    return r;
}

static int load_profile(struct card_euicc *e, uint8_t number, struct tb_span value) {
    struct euicc_profile *p = calloc(1, sizeof *p), **at = &e->profiles;
    struct tb_tlv t;
    int r = p ? card_record_open(&value) : TB_ENOMEM;

    while (r == 0 && (r = tb_tlv_next(&value, &t)) > 0)
        r = take_profile(t, p) ? 0 : TB_EPARSE;
    if (r < 0) {
        free(p);
        return r;
    }
    p->number = number;
    while (*at)
        at = &(*at)->next; /* they come in order */
    *at = p;
    return 0;
}

static int load_notification(struct card_euicc *e, uint32_t seq, struct tb_span value) {
    struct euicc_notification *n = calloc(1, sizeof *n), **at = &e->notifications;
    struct tb_tlv t;
    int r = n ? card_record_open(&value) : TB_ENOMEM;

    while (r == 0 && (r = tb_tlv_next(&value, &t)) > 0)
        r = take_notification(t, n) ? 0 : TB_EPARSE;
    if (r == 0 && n->operation == 0)
        r = TB_EPARSE;
    if (r < 0) {
        free(n);
        return r;
    }
    n->seq = seq;
    while (*at)
        at = &(*at)->next;
    *at = n;
    return 0;
}

int card_euicc_load(struct card *card, struct tb_span key, struct tb_span value) {
    uint8_t kind = 0, number = 0;
    uint32_t seq = 0;

    if (!card->euicc)
        card->euicc = calloc(1, sizeof *card->euicc);
    if (!card->euicc)
        return TB_ENOMEM;
    if (!tb_take_u8(&key, &kind))
        return TB_EPARSE;
    if (kind == CARD_REC_EUICC && key.n == 0)
        return load_state(card->euicc, value);
    if (kind == CARD_REC_EUICC && tb_take_u8(&key, &number) && key.n == 0)
        return number ? load_profile(card->euicc, number, value)
                      : load_credential(card->euicc, value);
    if (kind == CARD_REC_NOTIFICATION && tb_take_be(&key, 4, &seq) && key.n == 0)
        return load_notification(card->euicc, seq, value);
    return TB_EPARSE;
}

static int add_app(struct card *card, enum card_app_kind kind, uint16_t seq, const uint8_t *aid) {
    struct card_app *app = calloc(1, sizeof *app);
    int r;

    if (!app)
        return TB_ENOMEM;
    app->kind = kind;
    app->seq = seq;
    app->life = GP_SELECTABLE;
    memcpy(app->aid, aid, sizeof euicc_isdr_aid);
    app->aid_len = sizeof euicc_isdr_aid;
    r = card_registry_add(card, app);
    if (r < 0)
        card_app_free(app);
    return r == TB_ERANGE ? TB_EPARSE : r;
}

int card_euicc_complete(struct card *card) {
    const struct card_euicc *e = card->euicc;
    unsigned enabled = 0;
    int r;

    if (!e)
        return 0;
    if (e->state.next_seq == 0)
        return TB_EPARSE; /* profiles without the eUICC's own record */
    for (const struct euicc_profile *p = e->profiles; p; p = p->next) {
        const struct card_subscription *s = card_subscription_get(card, p->number);

        if (!s)
            return TB_ENOMEM;
        if (!s->id.iccid[0])
            return TB_EPARSE;
        enabled += p->enabled;
    }
    if (enabled > 1)
        return TB_EPARSE;
    r = add_app(card, CARD_APP_ISDR, EUICC_ISDR_SEQ, euicc_isdr_aid);
    if (r == 0)
        r = add_app(card, CARD_APP_ECASD, EUICC_ECASD_SEQ, euicc_ecasd_aid);
    if (r == 0)
        card_euicc_take_effect(card);
    return r;
}

void card_euicc_free(struct card_euicc *e) {
    while (e && e->profiles) {
        struct euicc_profile *p = e->profiles;

        e->profiles = p->next;
        free(p);
    }
    while (e && e->notifications) {
        struct euicc_notification *n = e->notifications;

        e->notifications = n->next;
        free(n);
    }
    if (e) {
        card_key_free(e->credential.key);
        free(e->credential.certificate);
        free(e->credential.eum);
    }
    free(e);
}

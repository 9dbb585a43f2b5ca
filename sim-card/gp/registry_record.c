/* Entries of the registry as records. Those of older cards have no more than AID, set and profile.
 */
#include "admin/identity.h"
#include "gp/registry.h"
#include "iotsafe/object.h"
#include "tb/tlv.h"

enum {
    TAG_AID = 0x4F,
    TAG_INSTANCE = 0xC6,
    TAG_PROFILE = 0xC7,
    TAG_KNOB = 0xC8, /* name=value */
    TAG_KIND = 0xCA,
    TAG_LIFE = 0xCB,
    TAG_PRIVILEGES = 0xCC,
    TAG_DOMAIN = 0xCD,
    TAG_PLACEMENT = 0xCE,
    TAG_TAR = 0xCF, /* and the minimum security level */
};

void card_app_record_key(const struct card_app *app, struct tb_buf *key) {
    tb_put_u8(key, CARD_REC_APPLET);
    tb_put_be16(key, app->seq);
}

static void put_profile(const struct card_profile *profile, struct tb_buf *out) {
    tb_put_tlv(out, TAG_PROFILE, tb_span_str(profile->name));
    for (const char *const *knob = card_profile_knobs(); *knob; knob++) {
        char value[CARD_KNOB_TEXT];
        size_t mark = tb_tlv_open(out, TAG_KNOB);

        if (card_profile_get(profile, *knob, value, sizeof value) < 0)
            out->overflow = true; /* cannot happen: the knob comes from the same table */
        tb_put(out, tb_span_str(*knob));
        tb_put_u8(out, '=');
        tb_put(out, tb_span_str(value));
        tb_tlv_close(out, mark);
    }
}

void card_app_encode(const struct card_app *app, struct tb_buf *out) {
    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv(out, TAG_AID, card_app_aid(app));
    tb_put_tlv_u8(out, TAG_KIND, (uint8_t)app->kind);
    tb_put_tlv_u8(out, TAG_LIFE, app->life);
    tb_put_tlv(out, TAG_PRIVILEGES, tb_span(app->privileges, sizeof app->privileges));
    if (app->domain)
        tb_put_tlv(out, TAG_DOMAIN, card_app_aid(app->domain));
    if (app->placement)
        tb_put_tlv_u8(out, TAG_PLACEMENT, app->placement);
    if (app->has_tar) {
        size_t mark = tb_tlv_open(out, TAG_TAR);

        tb_put(out, tb_span(app->tar, sizeof app->tar));
        tb_put_u8(out, app->msl);
        tb_tlv_close(out, mark);
    }
    if (app->kind == CARD_APP_SAFE) {
        tb_put_tlv_u8(out, TAG_INSTANCE, app->instance->number);
        put_profile(&app->profile, out);
    }
}

/* A knob this version does not know is left alone: its default was the old behaviour. */
static int take_knob(struct tb_span text, struct card_profile *profile) {
    char knob[32 + CARD_KNOB_TEXT], *value;
    int r;

    if (!card_take_text(text, true, knob, sizeof knob))
        return TB_EPARSE;
    value = strchr(knob, '=');
    if (!value)
        return TB_EPARSE;
    *value++ = '\0';
    r = card_profile_set(profile, knob, value);
    return r == TB_ENOTFOUND ? 0 : r < 0 ? TB_EPARSE : 0;
}

static int copy(struct tb_span v, void *to, size_t n) {
    if (v.n != n)
        return TB_EPARSE;
    memcpy(to, v.p, n);
    return 0;
}

static int take(struct tb_tlv e, struct card_app *app, uint8_t *instance, struct tb_span *domain) {
    uint8_t kind = 0;
    int r = 0;

    switch (e.tag) {
    case TAG_AID:
        if (e.value.n < 1 || e.value.n > CARD_AID_MAX)
            return TB_EPARSE;
        app->aid_len = (uint8_t)e.value.n;
        return copy(e.value, app->aid, e.value.n);
    case TAG_KIND:
        r = copy(e.value, &kind, 1);
        app->kind = (enum card_app_kind)kind;
        return r == 0 && kind > CARD_APP_DOMAIN ? TB_EUNSUP : r;
    case TAG_LIFE:
        return copy(e.value, &app->life, 1);
    case TAG_PRIVILEGES:
        return copy(e.value, app->privileges, sizeof app->privileges);
    case TAG_DOMAIN:
        *domain = e.value;
        return e.value.n <= CARD_AID_MAX ? 0 : TB_EPARSE;
    case TAG_PLACEMENT:
        return copy(e.value, &app->placement, 1);
    case TAG_TAR:
        if (e.value.n != sizeof app->tar + 1)
            return TB_EPARSE;
        memcpy(app->tar, e.value.p, sizeof app->tar);
        app->msl = e.value.p[sizeof app->tar];
        app->has_tar = true;
        return 0;
    case TAG_INSTANCE:
        return copy(e.value, instance, 1);
    case TAG_PROFILE:
        return card_take_text(e.value, true, app->profile.name, sizeof app->profile.name)
                   ? 0
                   : TB_EPARSE;
    case TAG_KNOB:
        return take_knob(e.value, &app->profile);
    default:
        return 0;
    }
}

int card_app_decode(struct tb_span record, uint8_t *ret_instance, struct tb_span *ret_domain,
                    struct card_app *ret) {
    struct card_app app = {.life = GP_SELECTABLE, .profile = *card_profile_find("gsma")};
    struct tb_span domain = TB_SPAN_NONE;
    struct tb_tlv e;
    int r = card_record_open(&record);

    while (r == 0 && (r = tb_tlv_next(&record, &e)) > 0)
        r = take(e, &app, ret_instance, &domain);
    if (r == 0 && app.aid_len == 0)
        r = TB_EPARSE;
    if (r < 0)
        return r;
    *ret_domain = domain;
    *ret = app;
    return 0;
}

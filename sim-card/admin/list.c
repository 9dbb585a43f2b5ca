/* What is on a card, without secrets. */
#include "simcard/list.h"

#include "euicc/euicc.h"
#include "gp/domain.h"
#include "gp/registry.h"
#include "iotsafe/object.h"
#include "tb/hex.h"

int card_each_applet(const struct card *card,
                     int (*fn)(const struct card_applet_info *applet, void *user), void *user) {
    for (size_t i = 0; i < card->apps_n; i++) {
        const struct card_app *app = card->apps[i];
        const struct card_applet_info info = {
            .aid = card_app_aid(app),
            .instance = app->kind == CARD_APP_SAFE ? app->instance->number : 0,
            .profile = &app->profile,
            .domain = app->domain ? card_app_aid(app->domain) : TB_SPAN_NONE,
            .life = app->life,
            .placement = app->placement,
            .tar = app->has_tar ? tb_span(app->tar, sizeof app->tar) : TB_SPAN_NONE,
            .msl = app->msl,
        };
        int r = app->kind == CARD_APP_SAFE ? fn(&info, user) : 0;

        if (r != 0)
            return r;
    }
    return 0;
}

int card_each_domain(const struct card *card,
                     int (*fn)(const struct card_domain_info *domain, void *user), void *user) {
    for (size_t i = 0; i < card->apps_n; i++) {
        const struct card_app *app = card->apps[i];
        struct card_domain_info info = {
            .aid = card_app_aid(app),
            .domain = app->domain ? card_app_aid(app->domain) : TB_SPAN_NONE,
            .life = app->life,
            .placement = app->placement,
            .privileges = app->privileges,
            .tar = app->has_tar ? tb_span(app->tar, sizeof app->tar) : TB_SPAN_NONE,
            .msl = app->msl,
        };
        int r;

        if (app->kind != CARD_APP_DOMAIN)
            continue;
        for (const struct card_keyset *ks = app->keysets; ks; ks = ks->next)
            if (info.keysets < sizeof info.versions)
                info.versions[info.keysets++] = ks->version;
        r = fn(&info, user);
        if (r != 0)
            return r;
    }
    return 0;
}

void card_eid(const struct card *card, char ret[33]) {
    ret[0] = '\0';
    if (card->euicc)
        tb_hex_str(ret, 33, tb_span(card->euicc->state.eid, EUICC_EID));
}

int card_each_subscription(const struct card *card,
                           int (*fn)(const struct card_subscription_info *s, void *user),
                           void *user) {
    for (const struct card_subscription *s = card->subs; card->euicc && s; s = s->next) {
        const struct euicc_profile *p = euicc_profile_of(card->euicc, s->number);
        int r = 0;

        if (p) {
            const struct card_subscription_info info = {
                .number = s->number,
                .enabled = p->enabled,
                .iccid = s->id.iccid,
                .imsi = s->id.imsi,
                .nickname = p->nickname,
                .provider = p->provider,
                .name = p->name,
            };

            r = fn(&info, user);
        }
        if (r != 0)
            return r;
    }
    return 0;
}

static struct card_object_spec spec_of(const struct card_object *o) {
    struct card_object_spec spec = {
        .cls = (enum card_object_class)o->cls,
        .id = card_object_id(o),
        .label = card_object_label(o),
        .access = o->access,
        .key_type = o->key_type,
        .key_usage = o->key_usage,
        .crypto = o->crypto,
        .sign_alg = o->sign_alg,
        .hash = o->hash,
        .key_agreement = o->key_agreement,
        .key_derivation = o->key_derivation,
        .file_usage = o->file_usage,
        .inactive = !o->active,
        .pair = tb_span(o->pair, o->pair_len),
        .capacity = o->capacity,
    };

    if (spec.cls == CARD_PUBLIC || spec.cls == CARD_FILE)
        spec.value = card_object_value(o);
    return spec;
}

/* The instance with the smallest number above n, NULL when there is none. */
static const struct card_instance *next_instance(const struct card *card, int n) {
    const struct card_instance *next = NULL;

    for (const struct card_instance *in = card->instances; in; in = in->next)
        if (in->number > n && (!next || in->number < next->number))
            next = in;
    return next;
}

int card_each_object(const struct card *card,
                     int (*fn)(uint8_t instance, const struct card_object_spec *spec, void *user),
                     void *user) {
    const struct card_instance *in;

    for (int n = -1; (in = next_instance(card, n)); n = in->number)
        for (size_t i = 0; i < in->n; i++) {
            const struct card_object_spec spec = spec_of(in->v[i]);
            int r = fn(in->number, &spec, user);

            if (r != 0)
                return r;
        }
    return 0;
}

uint32_t card_channels(const struct card *card) {
    uint32_t open = 0;

    for (unsigned n = 0; n < TB_CHANNELS; n++)
        if (card->channels[n])
            open |= UINT32_C(1) << n;
    return open;
}

void card_imsi(const struct card *card, char ret[16]) {
    memcpy(ret, card->cur->id.imsi, sizeof card->cur->id.imsi);
}

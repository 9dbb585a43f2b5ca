/* Profiles: which is meant, and which is in force. */
#include "euicc/euicc.h"
#include "os/fs.h"

struct euicc_profile *euicc_profile_of(const struct card_euicc *e, uint8_t number) {
    struct euicc_profile *p = e->profiles;

    while (p && p->number != number)
        p = p->next;
    return p;
}

struct euicc_profile *euicc_profile_enabled(const struct card_euicc *e) {
    struct euicc_profile *p = e->profiles;

    while (p && !p->enabled)
        p = p->next;
    return p;
}

/* spec: SGP.02 2.2.3 an ISD-P's AID ends in 00 0010 00 and counts from there */
void euicc_profile_aid(const struct euicc_profile *p, uint8_t ret[16]) {
    memcpy(ret, euicc_isdr_aid, 16);
    ret[14] = 0x10;
    ret[15] = p->number;
}

/* As EF.ICCID has it. */
void euicc_profile_iccid(const struct card *card, const struct euicc_profile *p,
                         uint8_t ret[EUICC_ICCID]) {
    const struct card_subscription *s = card->subs;
    const char *digits;

    while (s->number != p->number)
        s = s->next;
    digits = s->id.iccid;
    for (size_t i = 0; i < EUICC_ICCID; i++) {
        unsigned lo = *digits ? (unsigned)(*digits++ - '0') : 0xF,
                 hi = *digits ? (unsigned)(*digits++ - '0') : 0xF;

        ret[i] = (uint8_t)(hi << 4 | lo);
    }
}

struct euicc_profile *euicc_profile_named(const struct card *card, uint32_t tag, struct tb_span v) {
    for (struct euicc_profile *p = card->euicc->profiles; p; p = p->next) {
        uint8_t aid[16], iccid[EUICC_ICCID];

        euicc_profile_aid(p, aid);
        euicc_profile_iccid(card, p, iccid);
        if (tb_span_eq(v, tag == 0x4F ? tb_span(aid, sizeof aid) : tb_span(iccid, sizeof iccid)))
            return p;
    }
    return NULL;
}

static void to_mf(struct card_channel *ch) {
    card_channel_drop_pending(ch);
    card_channel_drop_chain(ch);
    ch->df = fs_mf();
    ch->ef = NULL;
    ch->record = 0;
    ch->usim = false;
}

void card_euicc_take_effect(struct card *card) {
    const struct euicc_profile *p = card->euicc ? euicc_profile_enabled(card->euicc) : NULL;
    struct card_subscription *s = card->subs;

    while (p && s->number != p->number)
        s = s->next;
    if (s == card->cur)
        return;
    for (size_t i = 0; i < CARD_PINS; i++)
        card->cur->pins[i].verified = false;
    card->cur = s;
    /* What is selected of the old one is not there any more. */
    for (size_t i = 0; i < card->apps_n; i++)
        if (!card_app_present(card, card->apps[i]))
            card_registry_leave(card, card->apps[i]);
    for (unsigned n = 0; n < TB_CHANNELS; n++)
        if (card->channels[n] && !card->channels[n]->app)
            to_mf(card->channels[n]);
}

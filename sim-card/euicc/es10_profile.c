/* ES10c: enabling, disabling, deleting of profiles, and the way back. spec: SGP.22 5.7.16 - 5.7.21,
 * SGP.32 5.9 (rollback) */
#include <stdlib.h>

#include "euicc/euicc.h"
#include "gp/gp.h"
#include "simcard/personalise.h"
#include "tb/tlv.h"
#include "toolkit/toolkit.h"

enum {
    OK = 0,
    NOT_FOUND = 1,
    WRONG_STATE = 2,
    BY_POLICY = 3,
    BUSY = 5,
    UNDEFINED = 127,
    NOTHING_TO_DELETE = 1,
    NOT_ALLOWED = 1,
};

static uint16_t result(struct cmd *cmd, uint32_t tag, uint8_t code) {
    euicc_put_result(cmd, tag, 0x80, code);
    return TB_SW_OK;
}

/* --- one is enabled, another not any more --- */

struct request {
    struct euicc_profile *profile; /* NULL: none of that name */
    bool refresh;
};

static bool take_flag(struct tb_span v, bool *ret) {
    if (v.n != 1)
        return false;
    *ret = v.p[0] != 0; /* DER says FF, clients 01 as well */
    return true;
}

/* A0 { 5A or 4F } 81 */
static bool take_request(const struct card *card, struct tb_span value, struct request *ret) {
    struct tb_span name, flag;
    struct tb_tlv e;

    if (tb_tlv_find(value, 0xA0, &name) <= 0 || tb_tlv_find(value, 0x81, &flag) <= 0 ||
        tb_tlv_next(&name, &e) <= 0 || name.n || (e.tag != 0x5A && e.tag != 0x4F))
        return false;
    ret->profile = euicc_profile_named(card, e.tag, e.value);
    return take_flag(flag, &ret->refresh);
}

static void put_enabled(struct euicc_change *c, const struct euicc_profile *p, bool enabled) {
    struct euicc_profile as;

    if (!p)
        return;
    as = *p;
    as.enabled = enabled;
    euicc_put_profile(c, &as);
    euicc_notify(c, p, enabled ? EUICC_ENABLE : EUICC_DISABLE);
}

/* spec: SGP.22 3.2.1 With REFRESH the new one comes into force when the terminal has reset the
 * card; also when that cannot be asked for. Without, the device has stopped using the old one. */
static void come_into_force(struct card *card, bool refresh) {
    int r;

    if (!refresh) {
        card_euicc_take_effect(card);
        return;
    }
    r = card_toolkit_refresh(card, REFRESH_UICC_RESET);
    (void)r; /* a terminal that cannot will reset by itself */
}

/* Either may be NULL. previous: the way back from now on. */
static uint16_t change_over(struct card *card, struct euicc_profile *from, struct euicc_profile *to,
                            uint8_t previous, bool refresh) {
    struct euicc_change c;
    uint16_t sw;

    euicc_begin(&c, card);
    put_enabled(&c, from, false);
    put_enabled(&c, to, true);
    c.state.previous = previous;
    sw = euicc_commit(&c);
    if (sw != 0)
        return sw;
    if (from)
        from->enabled = false;
    if (to)
        to->enabled = true;
    come_into_force(card, refresh);
    return 0;
}

uint16_t euicc_enable(struct card *card, struct cmd *cmd, struct tb_span value) {
    struct euicc_profile *old = euicc_profile_enabled(card->euicc);
    struct request rq;
    uint16_t sw;

    if (!take_request(card, value, &rq))
        return TB_SW_DATA;
    if (!rq.profile)
        return result(cmd, 0xBF31, NOT_FOUND);
    if (rq.profile->enabled)
        return result(cmd, 0xBF31, WRONG_STATE);
    if (old && old->forbid & CARD_FORBID_DISABLE)
        return result(cmd, 0xBF31, BY_POLICY);
    if (rq.refresh && card_toolkit_busy(card))
        return result(cmd, 0xBF31, BUSY);
    sw = change_over(card, old, rq.profile, old ? old->number : 0, rq.refresh);
    return sw != 0 ? sw : result(cmd, 0xBF31, OK);
}

uint16_t euicc_disable(struct card *card, struct cmd *cmd, struct tb_span value) {
    struct request rq;
    uint16_t sw;

    if (!take_request(card, value, &rq))
        return TB_SW_DATA;
    if (!rq.profile)
        return result(cmd, 0xBF32, NOT_FOUND);
    if (!rq.profile->enabled)
        return result(cmd, 0xBF32, WRONG_STATE);
    if (rq.profile->forbid & CARD_FORBID_DISABLE)
        return result(cmd, 0xBF32, BY_POLICY);
    if (rq.refresh && card_toolkit_busy(card))
        return result(cmd, 0xBF32, BUSY);
    sw = change_over(card, rq.profile, NULL, card->euicc->state.previous, rq.refresh);
    return sw != 0 ? sw : result(cmd, 0xBF32, OK);
}

/* The profile that the last enabling displaced is enabled once more. */
uint16_t euicc_rollback(struct card *card, struct cmd *cmd, struct tb_span value) {
    struct euicc_profile *now = euicc_profile_enabled(card->euicc), *old;
    struct tb_span flag;
    bool refresh = false;
    uint16_t sw;

    if (tb_tlv_find(value, 0x80, &flag) <= 0 || !take_flag(flag, &refresh))
        return TB_SW_DATA;
    old = euicc_profile_of(card->euicc, card->euicc->state.previous);
    if (!old || old->enabled || (now && now->forbid & CARD_FORBID_DISABLE)) {
        euicc_put_result(cmd, 0xBF58, 0x02, NOT_ALLOWED);
        return TB_SW_OK;
    }
    if (refresh && card_toolkit_busy(card)) {
        euicc_put_result(cmd, 0xBF58, 0x02, BUSY);
        return TB_SW_OK;
    }
    sw = change_over(card, now, old, 0, refresh);
    if (sw != 0)
        return sw;
    euicc_put_result(cmd, 0xBF58, 0x02, OK);
    return TB_SW_OK;
}

/* --- deletion --- */

struct removal {
    struct euicc_change change;
    bool profile[UINT8_MAX + 1]; /* by number */
    bool app[CARD_MAX_APPS];
};

static int drop_record(struct tb_span key, struct tb_span value, void *user) {
    struct removal *rm = user;

    (void)value;
    if (key.n > 2 && key.p[0] == CARD_REC_OF && rm->profile[key.p[1]])
        gp_change_del(&rm->change.writes, key);
    return 0;
}

/* What is in the profile, and what belongs to a domain that is. */
static bool goes(const struct removal *rm, const struct card_app *app) {
    for (; app; app = app->domain)
        if (app->placement && rm->profile[app->placement])
            return true;
    return false;
}

static void forget(struct card *card, struct euicc_profile **at) {
    struct euicc_profile *p = *at;

    *at = p->next;
    card_subscription_remove(card, p->number);
    free(p);
}

/* The profiles marked go with all that is theirs. */
static uint16_t remove_profiles(struct card *card, struct cmd *cmd, struct removal *rm) {
    struct card_euicc *e = card->euicc;
    uint16_t sw;

    for (struct euicc_profile *p = e->profiles; p; p = p->next) {
        const uint8_t key[] = {CARD_REC_EUICC, p->number};

        if (!rm->profile[p->number])
            continue;
        gp_change_del(&rm->change.writes, tb_span(key, sizeof key));
        euicc_notify(&rm->change, p, EUICC_DELETE);
    }
    for (size_t i = 0; i < card->apps_n; i++)
        rm->app[i] = goes(rm, card->apps[i]);
    if (rm->profile[rm->change.state.previous])
        rm->change.state.previous = 0;
    sw = gp_delete_gather(card, rm->app, &rm->change.writes);
    if (sw == TB_SW_OK && card->nvm->ops->each(card->nvm, drop_record, rm) < 0)
        sw = TB_SW_MEMORY;
    if (sw != TB_SW_OK) {
        euicc_drop(&rm->change);
        return sw;
    }
    sw = euicc_commit(&rm->change);
    if (sw != 0)
        return sw;
    for (struct euicc_profile *p = e->profiles; p; p = p->next)
        p->enabled = p->enabled && !rm->profile[p->number];
    if (rm->profile[card->cur->number])
        card_euicc_take_effect(card);
    for (size_t i = card->apps_n; i-- > 0;)
        if (rm->app[i])
            gp_delete_forget(card, cmd, card->apps[i]);
    for (struct euicc_profile **at = &e->profiles; *at;)
        if (rm->profile[(*at)->number])
            forget(card, at);
        else
            at = &(*at)->next;
    return 0;
}

uint16_t euicc_delete(struct card *card, struct cmd *cmd, struct tb_span value) {
    struct removal rm = {0};
    struct euicc_profile *p;
    struct tb_tlv e;
    uint16_t sw;

    if (tb_tlv_next(&value, &e) <= 0 || value.n || (e.tag != 0x5A && e.tag != 0x4F))
        return TB_SW_DATA;
    p = euicc_profile_named(card, e.tag, e.value);
    if (!p)
        return result(cmd, 0xBF33, NOT_FOUND);
    if (p->enabled || p->number == card->cur->number) /* or it is until the reset */
        return result(cmd, 0xBF33, WRONG_STATE);
    if (p->forbid & CARD_FORBID_DELETE)
        return result(cmd, 0xBF33, BY_POLICY);
    euicc_begin(&rm.change, card);
    rm.profile[p->number] = true;
    sw = remove_profiles(card, cmd, &rm);
    return sw != 0 ? sw : result(cmd, 0xBF33, OK);
}

/* spec: SGP.22 5.7.19 policies do not count, and what is enabled goes too, at once. Provisioning
 * profiles stay. */
uint16_t euicc_memory_reset(struct card *card, struct cmd *cmd, struct tb_span value) {
    enum { OPERATIONAL = 0x80, TEST = 0x40, ADDRESS = 0x20 };
    struct removal rm = {0};
    struct tb_span bits;
    bool any = false, enabled = false;
    uint16_t sw;

    if (tb_tlv_find(value, 0x82, &bits) <= 0 || bits.n < 2 || bits.p[0] > 7)
        return TB_SW_DATA;
    euicc_begin(&rm.change, card);
    for (struct euicc_profile *p = card->euicc->profiles; p; p = p->next)
        if ((p->cls == CARD_CLASS_OPERATIONAL && bits.p[1] & OPERATIONAL) ||
            (p->cls == CARD_CLASS_TEST && bits.p[1] & TEST)) {
            rm.profile[p->number] = any = true;
            enabled |= p->enabled || p->number == card->cur->number;
        }
    if (bits.p[1] & ADDRESS && rm.change.state.dp[0]) {
        memset(rm.change.state.dp, 0, sizeof rm.change.state.dp);
        any = true;
    }
    if (!any)
        return result(cmd, 0xBF34, NOTHING_TO_DELETE);
    if (enabled && card_toolkit_busy(card))
        return result(cmd, 0xBF34, BUSY);
    sw = remove_profiles(card, cmd, &rm);
    if (sw != 0)
        return sw;
    if (enabled)
        come_into_force(card, true);
    return result(cmd, 0xBF34, OK);
}

uint16_t euicc_set_nickname(struct card *card, struct cmd *cmd, struct tb_span value) {
    struct euicc_profile *p, as;
    struct tb_span iccid, name;
    struct euicc_change c;
    uint16_t sw;

    if (tb_tlv_find(value, 0x5A, &iccid) <= 0 || tb_tlv_find(value, 0x90, &name) <= 0)
        return TB_SW_DATA;
    p = euicc_profile_named(card, 0x5A, iccid);
    if (!p)
        return result(cmd, 0xBF29, NOT_FOUND);
    if (name.n > EUICC_NAME_MAX || !euicc_is_text(name))
        return result(cmd, 0xBF29, UNDEFINED);
    as = *p;
    memset(as.nickname, 0, sizeof as.nickname);
    if (name.n)
        memcpy(as.nickname, name.p, name.n);
    euicc_begin(&c, card);
    euicc_put_profile(&c, &as);
    sw = euicc_commit(&c);
    if (sw != 0)
        return sw;
    *p = as;
    return result(cmd, 0xBF29, OK);
}

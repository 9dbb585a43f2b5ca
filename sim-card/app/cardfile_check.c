#include "cardfile_check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "cardfile_fields.h"
#include "cardfile_vars.h"
#include "tb/hex.h"

enum { MAX_NAMES = 64, DEFAULT_DAYS = 3650, AES_KEY_LEN = 16, DOMAIN_KEYS = 3 };

static bool given(const struct cardfile_entry *at, const char *key) {
    const struct cardfile_field *fields = cardfile_fields(at->kind);

    for (size_t i = 0; fields[i].name; i++)
        if (strcmp(fields[i].name, key) == 0)
            return at->given & 1u << i;
    abort(); /* a misspelt key in this file */
}

static int refuse(const struct cardfile *f, const struct cardfile_entry *at, struct tb_error *e,
                  const char *what) {
    return tb_error_set(e, TB_EPARSE, f->path, at->line, "[%s%s%s]: %s",
                        cardfile_kind_name(at->kind), *at->name ? " " : "", at->name, what);
}

static int need(const struct cardfile *f, const struct cardfile_entry *at, const char *key,
                struct tb_error *e) {
    char what[64];

    if (given(at, key))
        return 0;
    snprintf(what, sizeof what, "'%s' is missing", key);
    return refuse(f, at, e, what);
}

/* At most one of keys (NULL-terminated) may be given. */
static int at_most_one(const struct cardfile *f, const struct cardfile_entry *at,
                       const char *const *keys, struct tb_error *e) {
    const char *first = NULL;
    char what[96];

    for (; *keys; keys++) {
        if (!given(at, *keys))
            continue;
        if (first) {
            snprintf(what, sizeof what, "'%s' and '%s' exclude each other", first, *keys);
            return refuse(f, at, e, what);
        }
        first = *keys;
    }
    return 0;
}

/* at refers to a section that is not there. */
static int no_such(const struct cardfile *f, const struct cardfile_entry *at, const char *key,
                   const char *name, enum cardfile_kind kind, const char *const *extra,
                   struct tb_error *e) {
    const char *names[MAX_NAMES + 1] = {NULL};
    char what[256], near[96];
    size_t n = 0;

    for (; extra && *extra && n < MAX_NAMES; extra++)
        names[n++] = *extra;
    for (const struct cardfile_entry *o = f->first; o && n < MAX_NAMES; o = o->next)
        if (o->kind == kind)
            names[n++] = o->name;
    snprintf(what, sizeof what, "%s = %s: there is no [%s %s]%s", key, name,
             cardfile_kind_name(kind), name, cardfile_hint(name, names, near, sizeof near));
    return refuse(f, at, e, what);
}

static bool is_number(const char *s, size_t min, size_t max) {
    size_t n = strlen(s);

    return n >= min && n <= max && strspn(s, "0123456789") == n;
}

static int check_card(const struct cardfile *f, struct tb_error *e) {
    if (!f->iccid)
        return tb_error_set(e, TB_EPARSE, f->path, 0,
                            "no ICCID: write it into [card], or give --iccid");
    if (!is_number(f->iccid, 18, 20))
        return tb_error_set(e, TB_EPARSE, f->path, 0,
                            "iccid '%s' is not a number of 18 to 20 digits", f->iccid);
    if (f->imsi && !is_number(f->imsi, 6, 15))
        return tb_error_set(e, TB_EPARSE, f->path, 0, "imsi '%s' is not a number of 6 to 15 digits",
                            f->imsi);
    return 0;
}

static int check_pin(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    static const char *const names[] = {"pin1", "pin2", "adm1", NULL};
    size_t i = 0;

    while (names[i] && strcmp(names[i], at->name) != 0)
        i++;
    if (!names[i])
        return refuse(f, at, e, "there are [pin pin1], [pin pin2] and [pin adm1]");
    if (need(f, at, "pin", e) < 0)
        return TB_EPARSE;
    if (!given(at, "enabled"))
        at->enabled = true;
    if (i != 0 && !at->enabled)
        return refuse(f, at, e, "only pin1 can be disabled");
    return 0;
}

static int check_usim(const struct cardfile *f, const struct cardfile_entry *at,
                      struct tb_error *e) {
    static const char *const either[] = {"op", "opc", NULL};

    for (const struct cardfile_entry *o = f->first; o != at; o = o->next)
        if (o->kind == CARDFILE_USIM)
            return refuse(f, at, e, "a card has one USIM, and it is described already");
    if (cardfile_find(f, CARDFILE_EUICC, ""))
        return refuse(f, at, e, "an eUICC has its USIMs in [subscription] sections");
    if (!f->imsi)
        return refuse(f, at, e, "a USIM needs an IMSI: write it into [card], or give --imsi");
    return at_most_one(f, at, either, e);
}

/* --- eUICC --- */

static const struct cardfile_entry *euicc_of(const struct cardfile *f) {
    return cardfile_find(f, CARDFILE_EUICC, "");
}

/* spec: SGP.29 2.2 the last two digits make the number 1 modulo 97 */
static int check_eid(const struct cardfile *f, const struct cardfile_entry *at,
                     struct tb_error *e) {
    unsigned rest = 0, check;
    char what[96];

    for (size_t i = 0; i < at->eid.n; i++) {
        unsigned high = at->eid.p[i] >> 4, low = at->eid.p[i] & 0xF;

        if (high > 9 || low > 9)
            return refuse(f, at, e, "an EID has digits only");
        rest = (rest * 100 + (i + 1 < at->eid.n ? high * 10 + low : 0)) % 97;
    }
    check = 98 - rest;
    if (at->eid.p[at->eid.n - 1] == (check / 10 << 4 | check % 10))
        return 0;
    snprintf(what, sizeof what, "the last two digits of this EID have to be %02u", check);
    return refuse(f, at, e, what);
}

static int check_euicc(const struct cardfile *f, const struct cardfile_entry *at,
                       struct tb_error *e) {
    if (*at->name)
        return refuse(f, at, e, "takes no name");
    if (at != euicc_of(f))
        return refuse(f, at, e, "a card is one eUICC, and it is described already");
    if (need(f, at, "eid", e) < 0)
        return TB_EPARSE;
    if (f->imsi)
        return refuse(f, at, e,
                      "an eUICC has its IMSIs in [subscription] sections: leave it out of [card]");
    return check_eid(f, at, e);
}

static int check_only(const struct cardfile *f, const struct cardfile_entry *at,
                      struct tb_error *e) {
    for (const struct cardfile_entry *o = f->first; o != at; o = o->next) {
        if (o->kind != CARDFILE_SUBSCRIPTION)
            continue;
        if (o->number == at->number)
            return refuse(f, at, e, "its 'number' is taken by another");
        if (strcmp(o->iccid, at->iccid) == 0)
            return refuse(f, at, e, "its 'iccid' is taken by another");
        if (o->enabled && at->enabled)
            return refuse(f, at, e, "one subscription at most is enabled");
    }
    return 0;
}

static int check_subscription(const struct cardfile *f, struct cardfile_entry *at,
                              struct tb_error *e) {
    static const char *const either[] = {"op", "opc", NULL};

    if (!euicc_of(f))
        return refuse(f, at, e, "is for an eUICC: write [euicc] with its 'eid'");
    if (need(f, at, "number", e) < 0 || need(f, at, "iccid", e) < 0)
        return TB_EPARSE;
    if (!is_number(at->iccid, 18, 20))
        return refuse(f, at, e, "iccid: a number of 18 to 20 digits");
    if (at->imsi && !is_number(at->imsi, 6, 15))
        return refuse(f, at, e, "imsi: a number of 6 to 15 digits");
    if (!at->imsi && (at->k.n || at->op.n || at->opc.n || at->sqn.n))
        return refuse(f, at, e, "a USIM needs an 'imsi'");
    if (at->puk1 && !at->pin1)
        return refuse(f, at, e, "'puk1' without 'pin1' has no effect");
    if (!given(at, "class"))
        at->cls = CARD_CLASS_OPERATIONAL;
    return at_most_one(f, at, either, e) < 0 ? TB_EPARSE : check_only(f, at, e);
}

/* On an eUICC a placement is a subscription that is there. */
static int check_placement(const struct cardfile *f, const struct cardfile_entry *at,
                           struct tb_error *e) {
    char what[80];

    if (!at->placement || !euicc_of(f))
        return 0;
    for (const struct cardfile_entry *o = f->first; o; o = o->next)
        if (o->kind == CARDFILE_SUBSCRIPTION && o->number == at->placement)
            return 0;
    snprintf(what, sizeof what, "placement = %u: no [subscription] has that number", at->placement);
    return refuse(f, at, e, what);
}

/* The domain that at names has to be there for what belongs to it: on the platform, or in the same
 * profile. */
static int check_owner(const struct cardfile *f, const struct cardfile_entry *at,
                       struct tb_error *e) {
    const struct cardfile_entry *owner;

    if (!at->domain)
        return at->msl && !at->tar.n ? refuse(f, at, e, "'msl' without 'tar' has no effect") : 0;
    owner = cardfile_find(f, CARDFILE_DOMAIN, at->domain);
    if (!owner)
        return no_such(f, at, "domain", at->domain, CARDFILE_DOMAIN, NULL, e);
    if (at->kind != CARDFILE_KEYS && owner->placement && owner->placement != at->placement)
        return refuse(f, at, e, "its domain is in another profile: see 'placement'");
    return at->msl && !at->tar.n ? refuse(f, at, e, "'msl' without 'tar' has no effect") : 0;
}

static int check_domain(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    const struct cardfile_entry *up = at;
    unsigned steps = 0;

    if (check_owner(f, at, e) < 0)
        return TB_EPARSE;
    while (up && up->domain && steps++ < MAX_NAMES)
        up = cardfile_find(f, CARDFILE_DOMAIN, up->domain);
    if (steps >= MAX_NAMES)
        return refuse(f, at, e, "it belongs to itself in the end");
    if (at->domain)
        return need(f, at, "aid", e);
    if (at->authorized)
        return refuse(f, at, e, "an issuer's domain manages everything: leave 'authorized' out");
    for (const struct cardfile_entry *o = f->first; o != at; o = o->next)
        if (o->kind == CARDFILE_DOMAIN && !o->domain && o->placement == at->placement)
            return refuse(f, at, e,
                          "there is one issuer's domain in a place; name the 'domain' that this "
                          "one belongs to");
    return 0;
}

static int check_keys(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    const struct cardfile_bytes *keys[DOMAIN_KEYS] = {&at->enc, &at->mac, &at->dek};
    size_t n = at->hex.n ? at->hex.n : at->enc.n;
    bool des = at->type == 1;

    if (need(f, at, "domain", e) < 0 || need(f, at, "version", e) < 0 || check_owner(f, at, e) < 0)
        return TB_EPARSE;
    for (size_t i = 0; i < DOMAIN_KEYS; i++) {
        if (at->hex.n && keys[i]->n)
            return refuse(f, at, e, "'key' is all three: leave 'enc', 'mac', 'dek' out");
        if (!at->hex.n && keys[i]->n != n)
            return refuse(f, at, e, "'enc', 'mac' and 'dek' are of one length; or give 'key'");
    }
    if (n && n != 16 && n != 24 && (n != 32 || des))
        return refuse(f, at, e,
                      des ? "a DES key has 16 or 24 bytes" : "an AES key has 16, 24 or 32 bytes");
    if (des && at->version > 0x0F)
        return refuse(f, at, e, "DES keys are for SCP80, versions 1 to 15");
    for (const struct cardfile_entry *o = f->first; o != at; o = o->next)
        if (o->kind == CARDFILE_KEYS && o->version == at->version &&
            strcmp(o->domain, at->domain) == 0)
            return refuse(f, at, e, "the domain has keys of that version already");
    return 0;
}

static int check_applet(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    if (need(f, at, "aid", e) < 0 || check_owner(f, at, e) < 0)
        return TB_EPARSE;
    if (!at->profile || cardfile_find(f, CARDFILE_PROFILE, at->profile) ||
        card_profile_find(at->profile))
        return 0;
    return no_such(f, at, "profile", at->profile, CARDFILE_PROFILE, card_profile_names(), e);
}

static bool is_volatile(const struct cardfile_entry *at) {
    return at->type == TB_SAFE_P256_VOLATILE || at->type == TB_SAFE_BP256_VOLATILE;
}

/* What key and public sections have in common. */
static void key_defaults(struct cardfile_entry *at) {
    bool rsa = at->type == TB_SAFE_RSA2048;

    if (!given(at, "usage"))
        at->usage = TB_SAFE_USE_GENERAL;
    if (!given(at, "signature") && at->functions & TB_SAFE_CAN_SIGN)
        at->sign_alg = rsa ? TB_SAFE_RSA_PKCS1 | TB_SAFE_RSA_PSS : TB_SAFE_ECDSA;
    if (!given(at, "hash") && at->sign_alg)
        at->hash = rsa ? TB_SAFE_SHA256 | TB_SAFE_SHA384 | TB_SAFE_SHA512 : TB_SAFE_SHA256;
}

/* A copy holds the pair of another section, which has to have one. */
static int check_copy(const struct cardfile *f, const struct cardfile_entry *at,
                      struct tb_error *e) {
    const struct cardfile_entry *original = cardfile_find(f, CARDFILE_KEY, at->copy_of);

    if (!original)
        return no_such(f, at, "copy_of", at->copy_of, CARDFILE_KEY, NULL, e);
    if (original->copy_of)
        return refuse(f, at, e, "'copy_of' names a copy: name the original");
    if (!original->from && (original->value == CARDFILE_EMPTY || is_volatile(original)))
        return refuse(f, at, e, "'copy_of' names a key without a value");
    /* What the original's section leaves out is P-256, here as there. */
    if (at->type != (original->type ? original->type : TB_SAFE_P256))
        return refuse(f, at, e, "'type' has to be the original's");
    return 0;
}

static int check_key(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    if (need(f, at, "id", e) < 0)
        return TB_EPARSE;
    if (!given(at, "type"))
        at->type = TB_SAFE_P256;
    if (!given(at, "functions"))
        at->functions =
            is_volatile(at) ? TB_SAFE_CAN_GENERATE | TB_SAFE_CAN_AGREE : TB_SAFE_CAN_SIGN;
    if (!given(at, "access"))
        at->access = at->functions & TB_SAFE_CAN_GENERATE ? TB_SAFE_UPDATE : 0;
    if (!given(at, "public_access"))
        at->public_access =
            at->functions & TB_SAFE_CAN_GENERATE ? TB_SAFE_READ | TB_SAFE_UPDATE : TB_SAFE_READ;
    if (!given(at, "value"))
        at->value = is_volatile(at) ? CARDFILE_EMPTY : CARDFILE_GENERATE;
    key_defaults(at);
    if (is_volatile(at) && (at->from || at->value == CARDFILE_GENERATE))
        return refuse(f, at, e,
                      "a volatile key has no value before the device makes one: leave 'value' and "
                      "'from' out");
    if (at->type == TB_SAFE_RSA2048 && at->functions & TB_SAFE_CAN_AGREE)
        return refuse(f, at, e, "an RSA key cannot agree on keys");
    if (at_most_one(f, at, (const char *const[]){"value", "from", "copy_of", NULL}, e) < 0)
        return TB_EPARSE;
    return at->copy_of ? check_copy(f, at, e) : 0;
}

static int check_public(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    if (need(f, at, "id", e) < 0)
        return TB_EPARSE;
    if (!given(at, "type"))
        at->type = TB_SAFE_P256;
    if (!given(at, "functions"))
        at->functions =
            at->type == TB_SAFE_RSA2048 ? TB_SAFE_CAN_SIGN : TB_SAFE_CAN_SIGN | TB_SAFE_CAN_AGREE;
    if (!given(at, "access"))
        at->access = TB_SAFE_READ | TB_SAFE_UPDATE;
    key_defaults(at);
    return 0;
}

/* A key for AES-CMAC: it signs, and derives nothing. */
static int check_aes(const struct cardfile *f, const struct cardfile_entry *at,
                     struct tb_error *e) {
    size_t n = at->text ? strlen(at->text) : at->hex.n ? at->hex.n : at->random;

    if (n != 0 && n != AES_KEY_LEN)
        return refuse(f, at, e, "an AES key has 16 bytes");
    if (given(at, "derivation") || at->functions & TB_SAFE_CAN_DERIVE)
        return refuse(f, at, e, "nothing can be derived from an AES key; leave 'derivation' out");
    return 0;
}

static int check_secret(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    if (need(f, at, "id", e) < 0)
        return TB_EPARSE;
    if (!given(at, "type"))
        at->type = TB_SAFE_HMAC;
    if (!given(at, "functions"))
        at->functions = at->type == TB_SAFE_AES ? TB_SAFE_CAN_SIGN : TB_SAFE_CAN_DERIVE;
    if (at_most_one(f, at, (const char *const[]){"hex", "text", "random", NULL}, e) < 0)
        return TB_EPARSE;
    if (at->type == TB_SAFE_AES)
        return check_aes(f, at, e);
    if (!given(at, "derivation"))
        at->derivation = TB_SAFE_PRF | TB_SAFE_HKDF;
    return 0;
}

static int check_certificate(const struct cardfile *f, struct cardfile_entry *at,
                             struct tb_error *e) {
    const struct cardfile_entry *key;

    if (strcmp(at->name, "ca") == 0)
        return refuse(f, at, e, "'ca' always means the CA of servers; choose another name");
    if (need(f, at, "key", e) < 0)
        return TB_EPARSE;
    key = cardfile_find(f, CARDFILE_KEY, at->key);
    if (!key)
        return no_such(f, at, "key", at->key, CARDFILE_KEY, NULL, e);
    if (!key->from && key->value == CARDFILE_EMPTY)
        return refuse(f, at, e, "its key has no value that could be certified");
    if (at->from && (at->cn || at->organization || at->days))
        return refuse(
            f, at, e,
            "'from' takes a finished certificate: 'cn', 'organization', 'days' have no effect");
    if (!at->days)
        at->days = DEFAULT_DAYS;
    return 0;
}

static int check_file(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    static const char *const ca[] = {"ca", NULL};

    if (need(f, at, "id", e) < 0)
        return TB_EPARSE;
    if (at_most_one(f, at, (const char *const[]){"certificate", "text", "hex", "from", NULL}, e) <
        0)
        return TB_EPARSE;
    if (at->certificate && strcmp(at->certificate, "ca") != 0 &&
        !cardfile_find(f, CARDFILE_CERTIFICATE, at->certificate))
        return no_such(f, at, "certificate", at->certificate, CARDFILE_CERTIFICATE, ca, e);
    if (!at->certificate && given(at, "format"))
        return refuse(f, at, e, "'format' is for certificates: 'from' takes a file byte by byte");
    if (!at->certificate && !at->text && !at->hex.n && !at->from && !at->capacity)
        return refuse(f, at, e, "an empty file needs 'capacity'");
    if (!given(at, "access"))
        at->access = TB_SAFE_READ;
    if (!given(at, "usage"))
        at->file_usage = at->certificate ? TB_SAFE_FILE_X509 : TB_SAFE_FILE_GENERAL;
    return 0;
}

static bool is_app(const struct cardfile_entry *at) {
    return at->kind == CARDFILE_APPLET || at->kind == CARDFILE_DOMAIN;
}

/* Objects: the same store of the card? A key fills one place among the private and one among the
 * public keys. */
static bool same_place(const struct cardfile_entry *a, const struct cardfile_entry *b) {
    struct tb_span ida = tb_span(a->id.p, a->id.n), idb = tb_span(b->id.p, b->id.n);
    bool both_public = (a->kind == CARDFILE_KEY || a->kind == CARDFILE_PUBLIC) &&
                       (b->kind == CARDFILE_KEY || b->kind == CARDFILE_PUBLIC);
    struct tb_span puba = a->public_id.n ? tb_span(a->public_id.p, a->public_id.n) : ida;
    struct tb_span pubb = b->public_id.n ? tb_span(b->public_id.p, b->public_id.n) : idb;

    if (is_app(a) || is_app(b))
        return is_app(a) && is_app(b) && a->placement == b->placement && tb_span_eq(ida, idb);
    if (a->instance != b->instance)
        return false;
    return (a->kind == b->kind && tb_span_eq(ida, idb)) || (both_public && tb_span_eq(puba, pubb));
}

static int check_unique(const struct cardfile *f, const struct cardfile_entry *at,
                        struct tb_error *e) {
    if (!at->id.n)
        return 0;
    for (const struct cardfile_entry *o = f->first; o != at; o = o->next) {
        char what[160], id[64];

        if (!o->id.n || !same_place(o, at))
            continue;
        snprintf(what, sizeof what, "%s %s is taken by [%s%s%s] in line %d",
                 is_app(at) ? "AID" : "id", tb_hex_str(id, sizeof id, tb_span(at->id.p, at->id.n)),
                 cardfile_kind_name(o->kind), *o->name ? " " : "", o->name, o->line);
        return refuse(f, at, e, what);
    }
    return 0;
}

/* Objects that no applet shows are a slip of the pen. */
static int check_reachable(const struct cardfile *f, const struct cardfile_entry *at,
                           struct tb_error *e) {
    char what[128];

    if (!at->id.n || is_app(at))
        return 0;
    for (const struct cardfile_entry *o = f->first; o; o = o->next)
        if (o->kind == CARDFILE_APPLET && o->instance == at->instance)
            return 0;
    snprintf(what, sizeof what, "no [applet] has instance = %u, so nobody could select this object",
             at->instance);
    return refuse(f, at, e, what);
}

static int check_entry(const struct cardfile *f, struct cardfile_entry *at, struct tb_error *e) {
    switch (at->kind) {
    case CARDFILE_USIM:
        return check_usim(f, at, e);
    case CARDFILE_PIN:
        return check_pin(f, at, e);
    case CARDFILE_EUICC:
        return check_euicc(f, at, e);
    case CARDFILE_SUBSCRIPTION:
        return check_subscription(f, at, e);
    case CARDFILE_DOMAIN:
        return check_domain(f, at, e);
    case CARDFILE_KEYS:
        return check_keys(f, at, e);
    case CARDFILE_APPLET:
        return check_applet(f, at, e);
    case CARDFILE_KEY:
        return check_key(f, at, e);
    case CARDFILE_PUBLIC:
        return check_public(f, at, e);
    case CARDFILE_SECRET:
        return check_secret(f, at, e);
    case CARDFILE_CERTIFICATE:
        return check_certificate(f, at, e);
    case CARDFILE_FILE:
        return check_file(f, at, e);
    case CARDFILE_PROFILE:
        return at->given ? 0 : refuse(f, at, e, "empty; write at least base = NAME");
    case CARDFILE_SET:
    case CARDFILE_CARD:
    case CARDFILE_KINDS:
        break;
    }
    return 0;
}

int cardfile_check(struct cardfile *f, struct tb_error *e) {
    int r = check_card(f, e);

    for (struct cardfile_entry *at = f->first; at && r == 0; at = at->next) {
        if (at->label && strlen(at->label) > TB_SAFE_MAX_LABEL)
            return refuse(f, at, e, "label longer than 60 bytes");
        if (at->public_label && strlen(at->public_label) > TB_SAFE_MAX_LABEL)
            return refuse(f, at, e, "public_label longer than 60 bytes");
        r = check_entry(f, at, e);
        if (r == 0)
            r = check_placement(f, at, e);
        if (r == 0)
            r = check_unique(f, at, e);
        if (r == 0)
            r = check_reachable(f, at, e);
    }
    return r;
}

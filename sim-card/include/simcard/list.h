#pragma once
/* What is on a card, for people and tools: everything but secrets. */
#include "simcard/card.h"
#include "simcard/personalise.h"

struct card_applet_info { /* borrowed for the call */
    struct tb_span aid;
    uint8_t instance;
    const struct card_profile *profile;
    struct tb_span domain; /* it belongs to */
    uint8_t life, placement;
    struct tb_span tar; /* empty: not reached over the air */
    uint8_t msl;
};

/* Calls fn for each AID in order of installation; stops when it returns non-zero and returns that.
 */
int card_each_applet(const struct card *card,
                     int (*fn)(const struct card_applet_info *applet, void *user), void *user);

struct card_subscription_info { /* borrowed for the call */
    uint8_t number;
    bool enabled;
    const char *iccid, *imsi, *nickname, *provider, *name; /* "": none */
};

/* EID of an eUICC as 32 digits; "" for another card. */
void card_eid(const struct card *card, char ret[33]);
/* The same for each profile of an eUICC. */
int card_each_subscription(const struct card *card,
                           int (*fn)(const struct card_subscription_info *s, void *user),
                           void *user);

struct card_domain_info {       /* borrowed for the call */
    struct tb_span aid, domain; /* domain: it belongs to; empty for an issuer's */
    uint8_t life, placement;
    const uint8_t *privileges; /* three */
    struct tb_span tar;        /* empty: none of its own */
    uint8_t msl;
    size_t keysets;
    uint8_t versions[16]; /* of the first key sets */
};

/* The same for each security domain. Keys are not to be had. */
int card_each_domain(const struct card *card,
                     int (*fn)(const struct card_domain_info *domain, void *user), void *user);

/* Calls fn for each object of all instances, in the order of GET DATA object list; spec is as
 * card_perso_object() takes it, but value stays empty for private keys and secrets. inactive says
 * the object's state. */
int card_each_object(const struct card *card,
                     int (*fn)(uint8_t instance, const struct card_object_spec *spec, void *user),
                     void *user);

/* Bit n: logical channel n is open; 0 without power. */
uint32_t card_channels(const struct card *card);

/* Subscriber data: IMSI digits (up to 15 + NUL), "" when the card has none. */
void card_imsi(const struct card *card, char ret[16]);

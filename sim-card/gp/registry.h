#pragma once
/* The GlobalPlatform registry: applets and security domains that can be selected. The issuer
 * security domain is always there, on an eUICC one for each profile. spec: GPCS 6 */
#include "os/os.h"

enum gp_life { /* of applications and domains; the issuer domain's is that of the card */
               GP_INSTALLED = 0x03,
               GP_SELECTABLE = 0x07,
               GP_PERSONALIZED = 0x0F,
               GP_LOCKED = 0x80, /* this bit and the state before */
               GP_OP_READY = 0x01,
               GP_INITIALIZED = 0x07,
               GP_SECURED = 0x0F,
               GP_CARD_LOCKED = 0x7F,
               GP_TERMINATED = 0xFF,
};

enum gp_privilege { /* of the first byte, and of the second moved by 8 */
                    GP_SECURITY_DOMAIN = 0x80,
                    GP_DELEGATED_MANAGEMENT = 0x20,
                    GP_CARD_LOCK = 0x10,
                    GP_CARD_TERMINATE = 0x08,
                    GP_AUTHORIZED_MANAGEMENT = 0x4000,
};

/* Entries that are in no record have the reserved numbers. */
enum { GP_ENTRY_RECORD_MAX = 1280, GP_RESERVED_SEQ = 0xFFF0, GP_ISSUER_SEQ = 0xFFFF };

extern const uint8_t gp_issuer_aid[8]; /* A000000151000000 */
extern const uint8_t gp_issuer_privileges[3];
extern const uint8_t gp_issuer_alias[8]; /* A000000003000000: an older name, not reported */

static inline struct tb_span card_app_aid(const struct card_app *app) {
    return tb_span(app->aid, app->aid_len);
}

/* The platform's, or its subscription is the one in force. */
static inline bool card_app_present(const struct card *card, const struct card_app *app) {
    return app->placement == 0 || app->placement == card->cur->number;
}

bool card_app_has(const struct card_app *app, enum gp_privilege p);
/* Present, and in a life cycle state in which it may be selected. */
bool card_app_selectable(const struct card *card, const struct card_app *app);

/* app is domain, or belongs to it directly or through others. */
static inline bool card_app_below(const struct card_app *app, const struct card_app *domain) {
    while (app && app != domain)
        app = app->domain;
    return app != NULL;
}

/* The issuer's domain in the end. */
static inline struct card_app *card_app_issuer(struct card_app *app) {
    while (app->domain)
        app = app->domain;
    return app;
}

/* It may change what is below it: an issuer's domain, or one with authorized management. */
bool card_app_manages(const struct card_app *domain);

/* In EF.DIR: what is there for the device. Domains are for those who know them. */
static inline bool card_app_listed(const struct card *card, const struct card_app *app) {
    return app->kind == CARD_APP_SAFE && card_app_selectable(card, app);
}

/* Present entries only. aid is whole. NULL when there is none. */
struct card_app *card_registry_find(const struct card *card, struct tb_span aid);
struct card_app *card_registry_issuer(const struct card *card);
struct card_app *card_registry_by_tar(const struct card *card, const uint8_t tar[3]);

/* app is given, from malloc; it gets its place by seq. TB_ENOMEM, TB_ERANGE when the registry is
 * full: app is then still the caller's. */
int card_registry_add(struct card *card, struct card_app *app) TB_CHECKED;
/* Frees app. No channel may have it selected (card_registry_leave()). */
void card_registry_remove(struct card *card, struct card_app *app);
/* Channels that have app selected fall back to the MF, those that personalise it do so no more. */
void card_registry_leave(struct card *card, const struct card_app *app);
/* STORE DATA of no channel goes to app any more. */
void card_registry_unaim(struct card *card, const struct card_app *app);
void card_app_free(struct card_app *app); /* wipes; NULL is a no-op */
/* The sequence number for one more entry; 0 when there is none left. */
uint16_t card_registry_next_seq(const struct card *card);

/* After loading: every entry finds its domain, and a card without an issuer domain gets one that
 * has no keys. TB_EPARSE for a domain that is not there, TB_ENOMEM. */
int card_registry_complete(struct card *card) TB_CHECKED;

/* --- gp/registry_record.c --- */

/* Key and value of an entry's record. */
void card_app_record_key(const struct card_app *app, struct tb_buf *key);
void card_app_encode(const struct card_app *app, struct tb_buf *out);
/* *ret_instance: of an applet; *ret_domain: AID of its domain, borrowed from record, empty: the
 * issuer's (or it is the issuer's itself). */
int card_app_decode(struct tb_span record, uint8_t *ret_instance, struct tb_span *ret_domain,
                    struct card_app *ret) TB_CHECKED;

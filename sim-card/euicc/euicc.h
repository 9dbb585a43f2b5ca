#pragma once
/* The card as an eUICC: profiles, of which one at most is enabled, and the issuer's root domain
 * (ISD-R) through which the device's LPA manages them. spec: SGP.22 2.4, 5.7
 *
 * Profile n is subscription n, with the applications of placement n. What is enabled is in NVM when
 * the command answers; it comes into force (card->cur) at the next reset, or at once when the
 * device asked for no REFRESH. */
#include "crypto/crypto.h"
#include "gp/change.h"
#include "gp/registry.h"

enum {
    EUICC_EID = 16,
    EUICC_ICCID = 10,
    EUICC_CI = 20,
    EUICC_PROFILES_MAX = 32,
    EUICC_NOTIFICATIONS_MAX = 64, /* that wait; above it the oldest gives way */
    EUICC_ADDRESS_MAX = 128,
    EUICC_NAME_MAX = 64,
    EUICC_PROVIDER_MAX = 32,
    EUICC_RECORD_MAX = 512,
    EUICC_CERTIFICATE_MAX = 2048,
    EUICC_CREDENTIAL_RECORD_MAX = 64 + 2 * EUICC_CERTIFICATE_MAX,
    EUICC_COMMAND_MAX = 4096,
    EUICC_ISDR_SEQ = GP_ISSUER_SEQ - 2,
    EUICC_ECASD_SEQ = GP_ISSUER_SEQ - 1,
};

enum euicc_operation { /* bits of a notification, as on the wire */
                       EUICC_INSTALL = 0x80,
                       EUICC_ENABLE = 0x40,
                       EUICC_DISABLE = 0x20,
                       EUICC_DELETE = 0x10,
};

struct euicc_profile {
    struct euicc_profile *next; /* in order of numbers */
    uint8_t number;             /* of its subscription */
    bool enabled;
    uint8_t cls;    /* enum card_profile_class */
    uint8_t forbid; /* CARD_FORBID_… */
    char nickname[EUICC_NAME_MAX + 1], provider[EUICC_PROVIDER_MAX + 1], name[EUICC_NAME_MAX + 1];
    char address[EUICC_ADDRESS_MAX + 1]; /* to be notified; empty: nobody */
};

struct euicc_notification {
    struct euicc_notification *next; /* in order of seq */
    uint32_t seq;
    uint8_t operation;
    uint8_t iccid[EUICC_ICCID];
    char address[EUICC_ADDRESS_MAX + 1];
};

struct euicc_state {
    uint8_t eid[EUICC_EID];
    char dp[EUICC_ADDRESS_MAX + 1], ds[EUICC_ADDRESS_MAX + 1]; /* default SM-DP+, root SM-DS */
    bool has_ci;
    uint8_t ci[EUICC_CI]; /* key of a certificate issuer that it says it trusts */
    uint32_t next_seq;    /* of the next notification */
    uint8_t previous;     /* profile that the last enabling displaced; 0: none to go back to */
};

/* What it signs with. */
struct euicc_credential {
    struct card_key *key;       /* NULL: it cannot */
    uint8_t *certificate, *eum; /* DER of its own and its maker's */
    size_t certificate_n, eum_n;
};

struct card_euicc {
    struct euicc_state state;
    struct euicc_credential credential;
    struct euicc_profile *profiles;
    struct euicc_notification *notifications;
};

extern const uint8_t euicc_isdr_aid[16], euicc_ecasd_aid[16];

/* --- euicc/record.c --- */

void euicc_state_encode(const struct euicc_state *s, struct tb_buf *out);
void euicc_profile_encode(const struct euicc_profile *p, struct tb_buf *out);
void euicc_notification_encode(const struct euicc_notification *n, struct tb_buf *out);
void euicc_credential_encode(struct tb_span key, struct tb_span certificate, struct tb_span eum,
                             struct tb_buf *out);
/* While loading: one record under 'E' or 'M'. */
int card_euicc_load(struct card *card, struct tb_span key, struct tb_span value) TB_CHECKED;
/* After loading: what belongs together is there, ISD-R and ECASD are in the registry, the enabled
 * profile is in force. TB_EPARSE, TB_ENOMEM. Nothing to do on a card that is no eUICC. */
int card_euicc_complete(struct card *card) TB_CHECKED;
void card_euicc_free(struct card_euicc *e); /* NULL is a no-op */
/* True for UTF-8 without control characters. */
bool euicc_is_text(struct tb_span text);

/* --- euicc/profile.c --- */

struct euicc_profile *euicc_profile_of(const struct card_euicc *e, uint8_t number);
struct euicc_profile *euicc_profile_enabled(const struct card_euicc *e);
/* The profile that a 5A (ICCID) or 4F (AID) element names, NULL when there is none. */
struct euicc_profile *euicc_profile_named(const struct card *card, uint32_t tag, struct tb_span v);
void euicc_profile_aid(const struct euicc_profile *p, uint8_t ret[16]);
void euicc_profile_iccid(const struct card *card, const struct euicc_profile *p,
                         uint8_t ret[EUICC_ICCID]);

/* The enabled profile comes into force. Between commands of the card, or in one on the ISD-R. */
void card_euicc_take_effect(struct card *card);

/* --- euicc/change.c --- */

/* One command's changes; they end in euicc_commit() or euicc_drop(). */
struct euicc_change {
    struct card *card;
    struct gp_change writes;
    struct euicc_state state;         /* as it will be */
    struct euicc_notification *added; /* in order */
    struct euicc_notification **added_tail;
    size_t added_n;
};

void euicc_begin(struct euicc_change *c, struct card *card);
void euicc_put_profile(struct euicc_change *c, const struct euicc_profile *as); /* its record */
/* The profile's server is told, when it has one. */
void euicc_notify(struct euicc_change *c, const struct euicc_profile *p, enum euicc_operation op);
void euicc_notification_gone(struct euicc_change *c, uint32_t seq);
/* All or nothing; then state and new notifications are taken over. 0 or the status word. */
uint16_t euicc_commit(struct euicc_change *c);
void euicc_drop(struct euicc_change *c);

/* --- euicc/isdr.c --- */

/* Rows of ISD-R or ECASD for an instruction, NULL when they have none. */
const struct card_ins *card_euicc_ins(const struct card_app *app, uint8_t ins);
/* spec: SGP.22 5.7.1 appends the FCI. */
void card_euicc_put_fci(const struct card_app *app, struct tb_buf *out);

/* --- the functions, one file for each group: es10_<group>.c. value is what the request's element
 * holds; the answer is appended to cmd->out, where there is room for EUICC_ANSWER bytes --- */

enum { EUICC_ANSWER = 512 };

typedef uint16_t euicc_function(struct card *card, struct cmd *cmd, struct tb_span value);
euicc_function euicc_get_eid, euicc_get_info1, euicc_get_info2, euicc_get_challenge,
    euicc_get_addresses, euicc_set_dp, euicc_get_rat, euicc_get_profiles, euicc_enable,
    euicc_disable, euicc_delete, euicc_memory_reset, euicc_set_nickname, euicc_rollback,
    euicc_list_notifications, euicc_retrieve_notifications, euicc_notification_sent;

/* Answer tag { inner { code } }. */
void euicc_put_result(struct cmd *cmd, uint32_t tag, uint32_t inner, uint8_t code);

#pragma once
/* Inside of the card: what dispatch, file system and applets share. One command is a struct cmd
 * that travels through a handler, which appends data to cmd->out and returns the status word. */
#include <stdbool.h>

#include "simcard/card.h"
#include "simcard/profile.h"
#include "store/store.h"
#include "tb/apdu.h"
#include "tb/sw.h"

struct card_instance;    /* iotsafe/object.h */
struct card_session;     /* iotsafe/session.h */
struct card_keyset;      /* gp/domain.h */
struct card_domain_data; /* gp/domain.h */
struct card_scp03;       /* gp/scp03.h */
struct card_toolkit;     /* toolkit/toolkit.h */
struct card_ota;         /* ota/ota.h */
struct card_euicc;       /* euicc/euicc.h */
struct fs_node;          /* os/fs.h */
struct card_aka;         /* usim/aka.h */

enum {
    CARD_AID_MAX = 16,
    CARD_MAX_APPLETS = 32,  /* AIDs of a card; EF.DIR has to hold them all */
    CARD_MAX_APPS = 48,     /* and with security domains of all profiles */
    CARD_CHAIN_MAX = 16384, /* bytes of one command sent in chained blocks */
    CARD_OUT_KEEP = 1024,   /* output room that stays allocated between commands */
    CARD_RSP_MAX = 65533,   /* data bytes of one response in a vpcd frame */
};

/* The last two are of an eUICC, and in no record: euicc/euicc.h */
enum card_app_kind { CARD_APP_SAFE, CARD_APP_DOMAIN, CARD_APP_ISDR, CARD_APP_ECASD };

/* An entry of the GlobalPlatform registry that can be selected: an IoT SAFE applet, with the set of
 * objects behind it, or a security domain, with its keys. spec: GPCS 6.4 */
struct card_app {
    enum card_app_kind kind;
    uint8_t aid[CARD_AID_MAX], aid_len;
    uint16_t seq;            /* order of installation */
    uint8_t life;            /* enum gp_life */
    uint8_t privileges[3];   /* spec: GPCS 11.1.2 */
    struct card_app *domain; /* it belongs to; NULL for the issuer security domain itself */
    uint8_t placement;       /* subscription it comes and goes with; 0: the platform */
    bool has_tar; /* reached over the air under tar, with msl at least (TS 102 226 8.2.1.3.2.4) */
    uint8_t tar[3], msl;
    /* of an applet */
    struct card_instance *instance;
    struct card_profile profile;
    /* of a domain */
    struct card_keyset *keysets; /* in order of versions */
    struct card_domain_data *data;
};

/* Response data that waits for GET RESPONSE. */
struct card_pending {
    uint8_t *p; /* from malloc, NULL when none waits */
    size_t n, off;
    uint16_t sw; /* to answer when all of it has been fetched */
    bool secret;
};

/* Blocks of a command whose last one has not come yet (ISO/IEC 7816-4 5.3.3). */
struct card_chain {
    uint8_t *p;
    size_t n, cap;
    uint8_t ins, p1, p2;
    bool active, proprietary;
};

/* Blocks of a command to the ISD-R whose last one has not come yet. */
struct card_es10 {
    uint8_t *p; /* from malloc */
    size_t n;
    uint8_t next; /* number of the next block */
};

/* A logical channel that is open. Volatile. */
struct card_channel {
    struct card_app *app; /* NULL: the UICC file system */
    struct card_pending pending;
    struct card_chain chain;
    /* file system */
    const struct fs_node *df, *ef; /* current; ef may be NULL */
    uint8_t record;                /* current record of ef, 0 when none */
    bool usim;                     /* ADF.USIM is the channel's application */
    /* IoT SAFE applet */
    size_t list_offset;            /* of the object list block that P2 = 01 asks for; 0: none */
    bool admin_done;               /* the next success is 63CF */
    struct card_session *sessions; /* CARD_MAX_SESSIONS of them; NULL until the first INIT */
    /* security domain */
    struct card_scp03 *scp; /* secure channel session, NULL: none */
    struct card_es10 es10;  /* of the ISD-R */
};

struct card_pin_state {
    uint8_t ref;
    bool exists, enabled, has_puk;
    uint8_t tries, unblock_tries; /* left */
    uint8_t pin[8], puk[8];
    bool verified; /* volatile */
};

enum { CARD_PINS = 3, CARD_PIN_TRIES = 3, CARD_UNBLOCK_TRIES = 10 };

/* Content of a file that was written to. */
struct card_file {
    const struct fs_node *node;
    size_t n;
    uint8_t *p;
};

/* Subscriber data, from which default file contents follow. */
struct card_subscriber {
    char iccid[21], imsi[16], spn[17], msisdn[21], smsc[21];
    uint8_t mnc_digits;
    uint8_t atr[CARD_ATR_MAX], atr_len; /* 0: the default ATR */
};

/* What a subscription brings to the card: numbers, PINs, the USIM's key, what was written to files.
 * A card has at least one, number 0; on an eUICC each profile has its own, by the profile's number.
 */
struct card_subscription {
    struct card_subscription *next; /* in order of numbers */
    uint8_t number;
    struct card_subscriber id;
    struct card_aka *aka; /* NULL: a USIM without a key */
    struct card_pin_state pins[CARD_PINS];
    struct card_file *files;
    size_t files_n;
};

struct card {
    struct card_nvm *nvm;
    void (*on_command)(const struct card_event *event, void *user);
    void *user;
    struct card_counters counters;
    uint8_t atr[CARD_ATR_MAX], atr_len;
    bool powered, has_version;
    struct card_channel *channels[TB_CHANNELS]; /* NULL: closed */
    struct tb_buf out;                          /* response data of the command under way */

    struct card_subscription *subs; /* number 0 is always there */
    struct card_subscription *cur;  /* the one in force */
    struct card_app **apps;         /* in order of installation, an issuer security domain last */
    size_t apps_n;
    struct card_instance *instances; /* list */
    struct card_toolkit *toolkit;    /* volatile, like the next */
    struct card_ota *ota;
    struct card_euicc *euicc; /* NULL: none, but a UICC */
    bool over_the_air;        /* a script for the files is running: it may what ADM may */
    struct card_admin *admin; /* remote administration session, NULL when none */
};

/* One command on its way. */
struct cmd {
    struct tb_apdu a;
    struct tb_cla cla;
    struct card_channel *ch; /* NULL only for commands that may come on a closed channel */
    struct tb_buf *out;
    const char *operation;
    enum tb_card_op work; /* set where it is done */
    bool secret_in, secret_out;
    bool direct; /* answer at once whatever the delivery */
};

typedef uint16_t card_handler(struct card *card, struct cmd *cmd);

enum { CARD_CLA_INTER = 1, CARD_CLA_PROP = 2, CARD_CLA_ANY = 3 };

enum card_ins_flags {
    CARD_ON_CLOSED = 1,  /* may come on a channel that is not open */
    CARD_OF_APPLET = 2,  /* goes through card_applet_run() */
    CARD_OF_DOMAIN = 16, /* may come under secure messaging */
    CARD_TYPE_1 = 8,     /* an applet of Type II does not have it */
    CARD_SECRET_IN = 4,  /* its data are a PIN or key material, also when it is refused */
};

struct card_ins {
    uint8_t ins, classes, flags;
    const char *operation;
    card_handler *run;
};

/* --- os/dispatch.c --- */

/* The row of table (n rows) for an instruction, NULL when absent. */
const struct card_ins *card_ins_find(const struct card_ins *table, size_t n, uint8_t ins);

/* Room for n more bytes of response data; false when out of memory (answer TB_SW_NO_SPACE). */
bool card_out_room(struct cmd *cmd, size_t n) TB_CHECKED;

/* Case 2 with an Le too small for n bytes: 6Cxx, else 0. Not for commands with data, where clients
 * would overwrite Lc, nor where delivery is by 61xx anyway. */
uint16_t card_wrong_le(const struct cmd *cmd, size_t n);

/* Runs one command on a channel that is not the card's own: no event, no count of APDUs. Appends
 * data and status word; rsp as in card_transact(). */
void card_run_on(struct card *card, struct card_channel *ch, struct tb_span raw,
                 struct tb_buf *rsp);

/* True when the command's answer is fetched by GET RESPONSE whatever its length. */
bool card_delivery_t0(const struct cmd *cmd);

/* --- os/channel.c --- */

struct card_channel *card_channel_open(struct card *card, unsigned n); /* NULL: out of memory */
void card_channel_close(struct card *card, unsigned n);
void card_channel_leave_app(
    struct card_channel *ch); /* sessions and lists go with the application */
void card_channel_drop_pending(struct card_channel *ch);
void card_channel_drop_chain(struct card_channel *ch);
void card_channel_drop_es10(struct card_channel *ch);
card_handler card_cmd_manage_channel;

/* --- os/select.c --- */

card_handler card_cmd_select;
/* The application with index at or after start whose AID begins with prefix: index, or -1. Index 0
 * is the USIM, the others follow card->apps. */
int card_aid_find(const struct card *card, struct tb_span prefix, int start);

/* --- os/subscription.c --- */

/* The subscription with that number, made when missing; NULL when out of memory. */
struct card_subscription *card_subscription_get(struct card *card, uint8_t number);
/* It is there, not number 0, and not in force. */
void card_subscription_remove(struct card *card, uint8_t number);
void card_subscriptions_free(struct card *card);
/* Begins the key of a record: nothing for number 0, else the prefix that tells whose it is. */
void card_subscription_key(const struct card_subscription *s, struct tb_buf *key);

/* --- os/load.c --- */

int card_load(struct card *card) TB_CHECKED; /* reads all of the NVM */
void card_unload(struct card *card);
struct card_pin_state card_pin_default(uint8_t ref);

/* --- os/card.c --- */

/* Writes in one transaction. 0, or the status word to answer: 6A84 when full, else 6581. */
uint16_t card_store(struct card *card, const struct card_write *writes, size_t n);

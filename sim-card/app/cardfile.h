#pragma once
/* A *.card file in memory: what a card shall hold, as a person wrote it, checked as far as that is
 * possible without making keys. The format is described in docs/card.md. */
#include <stdbool.h>

#include "simcard/personalise.h"

enum cardfile_kind {
    CARDFILE_SET, /* variables: not kept */
    CARDFILE_CARD,
    CARDFILE_PIN,
    CARDFILE_USIM,
    CARDFILE_EUICC,
    CARDFILE_SUBSCRIPTION,
    CARDFILE_PROFILE,
    CARDFILE_DOMAIN,
    CARDFILE_KEYS,
    CARDFILE_APPLET,
    CARDFILE_KEY,
    CARDFILE_PUBLIC,
    CARDFILE_SECRET,
    CARDFILE_CERTIFICATE,
    CARDFILE_FILE,
    CARDFILE_KINDS,
};

enum cardfile_format { CARDFILE_DER, CARDFILE_PEM };
enum cardfile_value { CARDFILE_GENERATE, CARDFILE_EMPTY };

struct cardfile_bytes { /* heap */
    uint8_t *p;
    size_t n;
};

/* One section. Which members mean something depends on kind; texts are heap, NULL when not given.
 */
struct cardfile_entry {
    enum cardfile_kind kind;
    char *name;     /* after the kind: [key NAME] */
    int line;       /* of the section's head */
    uint32_t given; /* bit n: the n-th key of the kind's table was given */
    struct cardfile_entry *next;

    unsigned instance; /* object set: applets and objects */
    struct cardfile_bytes id, public_id, hex;
    struct cardfile_bytes k, op, opc, sqn; /* [usim] [subscription] */
    struct cardfile_bytes eid, ci;         /* [euicc] */
    char *smdp, *smds;                     /* [euicc] */
    unsigned number;                       /* [subscription] */
    char *iccid, *imsi, *spn, *msisdn, *smsc, *pin1, *puk1, *adm1, *nickname, *provider, *notify;
    uint8_t mnc_digits, cls, forbid;
    bool pin1_enabled;
    struct cardfile_bytes tar;           /* [domain] [applet] */
    struct cardfile_bytes enc, mac, dek; /* [keys]; hex: all three */
    char *domain;                        /* [domain] [applet] [keys]: name of a section */
    unsigned placement, version;
    uint8_t msl;
    bool authorized; /* [domain] */
    char *label, *public_label, *text, *from, *certificate, *key, *profile, *cn, *organization,
        *psk_identity, *puk, *copy_of;
    uint8_t type, functions, usage, access, public_access, sign_alg, derivation, file_usage;
    uint16_t hash;
    unsigned random, days, capacity, delta;
    bool enabled; /* [pin] [subscription] */
    enum cardfile_value value;
    enum cardfile_format format;
    struct card_profile knobs; /* [profile] */
};

struct cardfile {
    char *path;
    char *iccid, *imsi, *spn, *msisdn, *smsc;
    uint8_t mnc_digits;
    struct cardfile_bytes atr;
    struct cardfile_entry *first; /* all sections but [card] and [set], in the file's order */
};

/* Values from the command line: "name=value" texts replace the file's [set] variables of that name,
 * iccid and imsi the ones in [card]. NULL: the file's own. */
struct cardfile_override {
    const char *iccid, *imsi;
    char *const *set; /* NULL-terminated, or NULL */
};

/* Reads path. Every complaint names file, line, cause, remedy, and for a misspelt word the nearest
 * right one. */
int cardfile_read(const char *path, const struct cardfile_override *with, struct cardfile **ret,
                  struct tb_error *e) TB_CHECKED;
void cardfile_free(struct cardfile *f); /* wipes secrets; NULL is a no-op */
/* A section that has been taken out of the list. */
void cardfile_entry_free(struct cardfile_entry *at);

/* The section of that kind and name, or NULL. */
const struct cardfile_entry *cardfile_find(const struct cardfile *f, enum cardfile_kind kind,
                                           const char *name);
const char *cardfile_kind_name(enum cardfile_kind kind); /* "key" */

/* path as the file means it: relative to the folder of the .card file. Heap. */
char *cardfile_path(const struct cardfile *f, const char *path);

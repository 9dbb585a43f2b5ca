#pragma once
/* Factory personalisation of a card's NVM: objects are put in place before the card is first powered. The readable
 * form is a *.card file (docs/card.md); this is the structure behind it. */
#include "simcard/card.h"
#include "tb/safe.h"

/* Field differences of IoT SAFE applets, bound to the AID that was selected (reference: 13-14). Parsed by name from
 * "[profile NAME]" sections; built-in ones are listed by card_profile_find(). */
struct card_profile {
    char name[32];
    enum tb_safe_len sig_len;      /* length form of tag 33 */
    bool sig_der;                  /* value of 33: DER ECDSA-Sig-Value instead of r || s */
    bool info_wrapper;             /* C1…C4 around each information structure */
    bool delivery_t0;              /* 61xx + GET RESPONSE for every answer; else direct when it fits */
    bool appinfo_61_6f;            /* 61/6F instead of 90/93 in application information */
    uint16_t max_block;            /* READ FILE bytes when no Le is given */
    bool file_size_first;          /* 20 before 21 in file information */
    bool file_padded;              /* files read as zero-padded to their container */
    bool cla_8n_only;              /* refuse 0n for applet commands */
    bool select_opens_channel;     /* SELECT by AID on a closed channel opens it */
    bool session_reopen;           /* INIT on an open session restarts it */
    bool create_on_demand;         /* B9 and 24 create missing containers */
    bool hkdf_null_salt;           /* accept an empty salt */
    bool tolerate_trailing;        /* stray bytes after Lc data are a Le */
    uint16_t object_list_block;    /* bytes per GET DATA list answer before 6300, 0: no limit */
    bool generate_labels;          /* B9 answers labels too */
    uint8_t max_sessions;          /* B7 */
    uint8_t version;               /* tag 10 */
};

/* A built-in profile by name: "gsma" (default), "thales", "orange", "ntt", "qtool", "t0", … NULL when unknown. */
const struct card_profile *card_profile_find(const char *name);
const char *const *card_profile_names(void); /* NULL-terminated */

enum card_object_class { CARD_PRIVATE, CARD_PUBLIC, CARD_SECRET, CARD_FILE };

struct card_object_spec { /* all borrowed for the call */
    enum card_object_class cls;
    struct tb_span id, label; /* id 1..20 bytes, label 0..60 */
    uint8_t access, key_type, key_usage, crypto, sign_alg, key_agreement, key_derivation, file_usage;
    uint16_t hash;
    bool active;
    struct tb_span value;     /* private: scalar (32) or PKCS#1 DER; public: point (65) or SPKI DER; secret: bytes; file: content */
    struct tb_span pair;      /* private: id of the public half; empty: same id */
    uint32_t capacity;        /* file: container size, >= value.n; 0: value.n */
};

/* Each function writes to nvm in one transaction of its own. TB_EPARSE on values outside IoT.05's limits, TB_ESTATE
 * when the object exists already. */
int card_perso_identity(struct card_nvm *nvm, const char *iccid, const char *imsi) TB_CHECKED;
int card_perso_applet(struct card_nvm *nvm, struct tb_span aid, const struct card_profile *profile) TB_CHECKED;
int card_perso_object(struct card_nvm *nvm, const struct card_object_spec *spec) TB_CHECKED;
/* Makes the key pair inside; the public half is stored in its own container and returned (65-byte point, or SPKI DER
 * for RSA) in ret_public. Both containers must exist (card_perso_object with empty value). */
int card_perso_generate(struct card_nvm *nvm, struct tb_span private_id, struct tb_buf *ret_public) TB_CHECKED;
/* A CSR (DER, PKCS#10) signed with that private key, appended to ret_csr. */
int card_perso_csr(struct card_nvm *nvm, struct tb_span private_id, const char *common_name, struct tb_buf *ret_csr) TB_CHECKED;
/* Replaces the content of an existing file; TB_ESPACE above its container size. */
int card_perso_file(struct card_nvm *nvm, struct tb_span file_id, struct tb_span content) TB_CHECKED;

#pragma once
/* Factory personalisation of a card's NVM: identity, PINs, applets and objects are put in place
 * before the card is first powered. The readable form is a *.card file (docs/card.md); this is the
 * structure behind it.
 *
 * An IoT SAFE applet *instance* (a number) is one set of objects. An AID is attached to an instance
 * together with a profile; several AIDs may be aliases of one instance, and a card may hold several
 * instances. */
#include "simcard/card.h"
#include "simcard/profile.h"
#include "tb/safe.h"

enum {
    CARD_ICCID_MAX = 20,
    CARD_IMSI_MAX = 15,
    CARD_SPN_MAX = 16,
    CARD_NUMBER_MAX = 20, /* MSISDN and SMSC digits, without the plus sign */
};

/* All borrowed for the call; NULL where optional means absent. */
struct card_identity {
    uint8_t subscription; /* whose: 0 the card's own, else that of an eUICC's profile */
    const char *iccid;    /* 18..20 digits */
    const char *imsi;     /* optional, 6..15 digits; a card without one has no USIM */
    const char *spn;      /* optional, service provider name, 1..16 ASCII characters */
    const char *msisdn;   /* optional, international number with or without leading + */
    const char *smsc;     /* optional, the same */
    uint8_t mnc_digits;   /* 2 or 3; 0 means 2 */
    struct tb_span atr;   /* optional, 2..CARD_ATR_MAX bytes; empty: the default ATR of card.h */
};

/* Key references of ETSI TS 102 221 9.5.1. */
enum card_pin { CARD_PIN1 = 0x01, CARD_PIN2 = 0x81, CARD_ADM1 = 0x0A };

/* Without personalisation: PIN1 "0000" disabled, PIN2 "0000" enabled, both with PUK "00000000"; no
 * ADM1, so that what only an administrator may do cannot be done. */
struct card_pin_spec {
    uint8_t subscription; /* as in struct card_identity */
    enum card_pin ref;
    const char *pin; /* 4..8 digits; ADM1: 4..8 characters */
    const char *puk; /* 8 digits; NULL: cannot be unblocked */
    bool enabled;    /* PIN1 only; the others always are */
};

enum card_object_class { CARD_PRIVATE, CARD_PUBLIC, CARD_SECRET, CARD_FILE };

/* All borrowed for the call.
 *
 * value of a private key: scalar (32 bytes) or PKCS#1 RSAPrivateKey DER; of a public key: point
 * (65), SubjectPublicKeyInfo or RSAPublicKey DER; of a secret: 1..64 bytes, 16 for AES; of a file:
 * its content. Empty: a container that stays deactivated until it is filled. */
struct card_object_spec {
    enum card_object_class cls;
    struct tb_span id;      /* 1..20 bytes, unique within class and instance */
    struct tb_span label;   /* 0..60 bytes, unique likewise unless empty */
    uint8_t access;         /* TB_SAFE_READ | TB_SAFE_UPDATE */
    uint8_t key_type;       /* enum tb_safe_key_type; keys only */
    uint8_t key_usage;      /* 0: TB_SAFE_USE_GENERAL */
    uint8_t crypto;         /* TB_SAFE_CAN_…; keys only */
    uint8_t sign_alg;       /* 0: what the key type can, when crypto has TB_SAFE_CAN_SIGN */
    uint16_t hash;          /* 0: TB_SAFE_SHA256, when crypto has TB_SAFE_CAN_SIGN */
    uint8_t key_agreement;  /* 0: TB_SAFE_ECKA, when crypto has TB_SAFE_CAN_AGREE */
    uint8_t key_derivation; /* 0: PRF and HKDF, when crypto has TB_SAFE_CAN_DERIVE */
    uint8_t file_usage;     /* 0: TB_SAFE_FILE_GENERAL */
    bool inactive;          /* state 00 in spite of a value */
    struct tb_span value;   /* see above */
    struct tb_span pair;    /* private: id of the public half; empty: same id */
    uint32_t capacity;      /* file: container size 1..65535, >= value.n; 0: value.n */
};

/* Each function changes nvm in one transaction of its own. TB_EPARSE or TB_ERANGE on values outside
 * the limits above, TB_ESTATE when the thing exists already, TB_ENOTFOUND when it has to and does
 * not; store errors pass through. */
int card_perso_identity(struct card_nvm *nvm,
                        const struct card_identity *identity) TB_CHECKED; /* replaces */

/* What the USIM authenticates with, 3GPP TS 35.206 (Milenage). The values are borrowed for the
 * call: k of 16 bytes, and opc, or op from which it follows (the other empty). */
struct card_usim_spec {
    uint8_t subscription; /* as in struct card_identity */
    struct tb_span k, opc, op;
    uint64_t sqn;   /* the highest sequence number that is not accepted any more, 48 bits */
    uint64_t delta; /* how far the next may jump, in SEQ (TS 33.102 C.2.3); 0 means 2^28 */
};
int card_perso_usim(struct card_nvm *nvm,
                    const struct card_usim_spec *spec) TB_CHECKED; /* replaces */

int card_perso_pin(struct card_nvm *nvm,
                   const struct card_pin_spec *spec) TB_CHECKED; /* replaces */
int card_perso_applet(struct card_nvm *nvm, struct tb_span aid, uint8_t instance,
                      const struct card_profile *profile) TB_CHECKED;

/* An entry of the GlobalPlatform registry: an applet when profile is given, else a security domain.
 * domain: AID of the security domain it belongs to, which exists; empty: the issuer's, or for a
 * domain: it is the issuer domain itself, of the platform or of a profile. placement: number of the
 * profile it comes and goes with, 0: the platform, which survives every change of profile.
 * TB_ERANGE, TB_ESTATE when the AID is taken in that place, TB_ENOTFOUND without such a domain,
 * TB_ESPACE. */
struct card_app_spec {
    struct tb_span aid, domain;
    uint8_t instance;                   /* applet: its set of objects */
    const struct card_profile *profile; /* applet */
    bool authorized;         /* domain: may manage content itself (authorized management) */
    uint8_t placement, life; /* life 0: selectable */
    struct tb_span tar;      /* 3 bytes: reached over the air; empty: not */
    uint8_t msl;             /* SPI1 that is asked for at least */
};
int card_perso_app(struct card_nvm *nvm, const struct card_app_spec *spec) TB_CHECKED;

/* Keys of a security domain; replaces those of that version (1..7F). Versions 1..0F are for SCP80
 * (KIc, KID, KIK), others for SCP03 (ENC, MAC, DEK). All of one length: AES 16, 24 or 32 bytes, DES
 * 16 or 24. counter: the highest value that has been used. */
struct card_keys_spec {
    uint8_t version;
    bool des;
    struct tb_span keys[3];
    uint64_t counter;
};
int card_perso_keys(struct card_nvm *nvm, struct tb_span domain, uint8_t placement,
                    const struct card_keys_spec *spec) TB_CHECKED;

/* Makes the card an eUICC. spec: SGP.22 4.3.1: eid are 32 digits, of which the last two check the
 * others. ci: identifier of the key of a certificate issuer (20 bytes), optional. Addresses: of the
 * default SM-DP+ and the root SM-DS, optional, up to 128 bytes of UTF-8. key (scalar, P-256) with
 * the DER of its certificate and of the eUICC maker's, at most 2048 bytes each: what notifications
 * are signed with; without, they cannot be retrieved. Replaces. */
struct card_euicc_spec {
    struct tb_span eid, ci;
    struct tb_span key, certificate, eum; /* all or none */
    const char *smdp, *smds;
};
int card_perso_euicc(struct card_nvm *nvm, const struct card_euicc_spec *spec) TB_CHECKED;

enum card_profile_class { CARD_CLASS_TEST, CARD_CLASS_PROVISIONING, CARD_CLASS_OPERATIONAL };
enum { CARD_FORBID_DISABLE = 1, CARD_FORBID_DELETE = 2 };

/* A profile on an eUICC (TB_ENOTFOUND on another card): the subscription of that number, which has
 * its identity already (TB_ENOTFOUND), and whatever is placed there. TB_ERANGE, TB_ESTATE when the
 * number is taken or another profile is enabled, TB_ESPACE. Texts are UTF-8 and optional. */
struct card_subscription_spec {
    uint8_t number; /* 1..255 */
    bool enabled;
    enum card_profile_class cls;
    uint8_t forbid;                         /* CARD_FORBID_… */
    const char *nickname, *provider, *name; /* at most 64, 32 and 64 bytes */
    const char *notify;                     /* address of the server to be notified, at most 128 */
};
int card_perso_subscription(struct card_nvm *nvm,
                            const struct card_subscription_spec *spec) TB_CHECKED;

int card_perso_object(struct card_nvm *nvm, uint8_t instance,
                      const struct card_object_spec *spec) TB_CHECKED;

/* Makes the key pair inside (EC or RSA-2048, as the private container says); the public half is
 * stored in its own container and appended to ret_public: 65-byte point, or SubjectPublicKeyInfo
 * DER for RSA (CARD_RSA_SPKI_MAX bytes). Both containers must exist (card_perso_object with empty
 * value). */
enum { CARD_RSA_SPKI_MAX = 294 };
int card_perso_generate(struct card_nvm *nvm, uint8_t instance, struct tb_span private_id,
                        struct tb_buf *ret_public) TB_CHECKED;

/* The public half of a private key given as in card_object_spec, appended as card_perso_generate()
 * does. */
int card_perso_public_of(uint8_t key_type, struct tb_span private_value,
                         struct tb_buf *ret_public) TB_CHECKED;

/* Puts the pair of one private key into the containers of another, so that two instances show one
 * identity: the key stays inside. Both have to be of one persistent type (TB_ERANGE); TB_ENOTFOUND
 * also when the first has no value. */
int card_perso_copy(struct card_nvm *nvm, uint8_t from_instance, struct tb_span from_id,
                    uint8_t to_instance, struct tb_span to_id) TB_CHECKED;

/* A CSR (PKCS#10 DER) for the subject CN=common_name signed with that private key, appended to
 * ret_csr. */
int card_perso_csr(struct card_nvm *nvm, uint8_t instance, struct tb_span private_id,
                   const char *common_name, struct tb_buf *ret_csr) TB_CHECKED;

/* Replaces the content of an existing file and activates it; TB_ESPACE above its container size. */
int card_perso_file(struct card_nvm *nvm, uint8_t instance, struct tb_span file_id,
                    struct tb_span content) TB_CHECKED;

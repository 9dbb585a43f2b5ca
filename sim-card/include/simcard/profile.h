#pragma once
/* Field differences of IoT SAFE applets, bound to the AID that was selected, so that one card
 * serves clients with contradicting expectations unpatched. Each field is a knob with a name, a
 * text form and a default (the first value). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tb/error.h"
#include "tb/safe.h"

struct card_profile {
    char name[32];
    /* sig_len=16|8|ber: length form of tag 33 */
    enum tb_safe_len sig_len;
    /* sig_form=raw|der: the value of 33 is r || s, or an ECDSA-Sig-Value */
    bool sig_der;
    /* info_wrapper=on|off: C1…C4 around each information structure */
    bool info_wrapper;
    /* delivery=direct|t0: t0 is 61xx + GET RESPONSE for every answer */
    bool delivery_t0;
    /* appinfo_tags=90/93|61/6F: in application information */
    bool appinfo_61_6f;
    /* file_padding=exact|padded: files read as zero-padded to their container */
    bool file_padded;
    /* file_info_order=21,20|20,21: usage (21) and size (20) in file information */
    bool file_size_first;
    /* cla=any|8n-only: refuse the interindustry class for applet commands */
    bool cla_8n_only;
    /* select_opens_channel=on|off: SELECT by AID on a closed channel opens it */
    bool select_opens_channel;
    /* session_reopen=on|off: INIT on an open session restarts it */
    bool session_reopen;
    /* create_on_demand=off|on: B9 and 24 create missing containers */
    bool create_on_demand;
    /* hkdf_null_salt=reject|accept: an empty salt */
    bool hkdf_null_salt;
    /* trailing_bytes=tolerate|6700: 0 to 2 bytes after the Lc data are a Le */
    bool tolerate_trailing;
    /* keygen_labels=off|on: B9 answers labels (74, 75) too */
    bool keygen_labels;
    /* keygen_ids=on|off: B9 answers the identifiers (84, 85) before the public key */
    bool keygen_bare;
    /* file_info=full|brief: brief has label, identifier and size only */
    bool file_info_brief;
    /* sign_alg_len=1|2: 2 declares a byte too many for tag 92 of key information, as one deployed
     * applet does; the value is one byte in any case */
    bool sign_alg_miscounted;
    /* rsa_public=spki|pkcs1: what tag 34 holds for an RSA key, SubjectPublicKeyInfo or
     * RSAPublicKey */
    bool rsa_pkcs1;
    /* variant=type1|type2: Type II knows pre-shared keys alone. The commands of certificates,
     * signatures and key agreement are 6D00, their objects are not there, and application
     * information does not announce them */
    bool type2;
    /* max_block=1..256: READ FILE bytes when Le is absent or 00 */
    uint16_t max_block;
    /* object_list_limit=0..65535: bytes per object list answer before 6300, 0: no limit */
    uint16_t object_list_limit;
    /* max_sessions=1..CARD_MAX_SESSIONS: tag B7, open sessions per channel */
    uint8_t max_sessions;
    /* version=00..FF: tag 10 */
    uint8_t version;
    /* store_pair=0x71, store_private=0x72, store_key=0x73, store_public=0x78,
     * store_public_key=0x79, store_secret=0x7C: tags of those commands of STORE DATA that nobody
     * has published (docs/uicc.md); a published one under the same tag goes before */
    uint8_t store_pair, store_private, store_key, store_public, store_public_key, store_secret;
};

enum { CARD_MAX_SESSIONS = 8 };

/* A built-in profile by name, NULL when unknown: "gsma" (default), "thales", "orange", "ntt",
 * "qtool", "zariot", "m33mu", "t0" (as "gsma", delivery as over T=0), "type2" (as "gsma", Type II).
 */
const struct card_profile *card_profile_find(const char *name);
const char *const *card_profile_names(void); /* NULL-terminated; the default comes first */

/* Names of all knobs, NULL-terminated, and what values one takes, for a usage message: "off|on", or
 * "1..256". */
const char *const *card_profile_knobs(void);
const char *card_profile_knob_values(const char *knob); /* NULL when unknown */

/* Sets a knob from its text. TB_ENOTFOUND for an unknown knob, TB_ERANGE for a value it does not
 * take. */
int card_profile_set(struct card_profile *profile, const char *knob, const char *value) TB_CHECKED;

/* Text of a knob's value as card_profile_set() reads it, with NUL; at most CARD_KNOB_TEXT bytes,
 * TB_ESPACE when dst is smaller and needs more. TB_ENOTFOUND. */
enum { CARD_KNOB_TEXT = 16 };
int card_profile_get(const struct card_profile *profile, const char *knob, char *dst,
                     size_t cap) TB_CHECKED;

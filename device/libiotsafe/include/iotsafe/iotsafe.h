#ifndef IOTSAFE_IOTSAFE_H
#define IOTSAFE_IOTSAFE_H
/* IoT SAFE middleware: everything the applet of GSMA IoT.05 does, for a device. Robust against
 * deployed applets: both deliveries (direct, 61xx), 8- and 16-bit and BER lengths, raw and DER
 * signatures, lists with and without wrappers.
 *
 * Every operation exists once, as a state machine that says which APDU to send next
 * (iotsafe/call.h). The blocking functions here run it over the client's transport.
 *
 * A client belongs to one thread at a time. Nothing here allocates after iotsafe_open(). Outputs:
 * on failure a length or structure is untouched, a byte buffer may hold part of what was received.
 */
#include <stddef.h>
#include <stdint.h>

#include "iotsafe/transport.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility push(default)
#endif

enum iotsafe_error {
    IOTSAFE_OK = 0,
    IOTSAFE_E_CARD = -1, /* the card answered with an error: iotsafe_last_sw() */
    IOTSAFE_E_LINK = -2, /* transport broken */
    IOTSAFE_E_TIMEOUT = -3,
    IOTSAFE_E_ABSENT = -4,    /* no card, no modem */
    IOTSAFE_E_NO_APPLET = -5, /* none of the AIDs could be selected */
    IOTSAFE_E_NOT_FOUND = -6, /* object not on the card */
    IOTSAFE_E_FORMAT = -7,    /* the card's answer makes no sense */
    IOTSAFE_E_TOO_SMALL = -8, /* caller's buffer */
    IOTSAFE_E_ARGUMENT = -9,
    IOTSAFE_E_NO_MEMORY = -10,
    IOTSAFE_E_SIGNATURE = -11, /* verification: it does not match (SW 6D01) */
    IOTSAFE_E_BUSY = -12, /* an iotsafe_call of this client is under way; the modem says SIM busy,
                             or has no logical channel left; another program keeps the port */
    IOTSAFE_E_UNSUPPORTED = -13,
    IOTSAFE_E_ADMIN =
        -14, /* remote administration on the object (SW 6984, 6989), after one retry */
    IOTSAFE_E_REFUSED = -15, /* the modem would not pass the command on (ERROR, +CME ERROR) */
    IOTSAFE_E_RESET =
        -16, /* transports only: the card was reset before this command, which was not sent */
};
const char *iotsafe_strerror(int err);

enum iotsafe_object_type {
    IOTSAFE_PRIVATE_KEY,
    IOTSAFE_PUBLIC_KEY,
    IOTSAFE_SECRET_KEY,
    IOTSAFE_FILE
};

/* A reference as IoT.05 has it: identifier (1..20 bytes) or, when id_len is 0, label (1..60 bytes).
 */
struct iotsafe_ref {
    uint8_t id_len, label_len;
    uint8_t id[20];
    uint8_t label[60];
};
struct iotsafe_ref iotsafe_id(const void *id, size_t len);
struct iotsafe_ref iotsafe_id1(uint8_t id);
struct iotsafe_ref iotsafe_label(const char *label);

struct iotsafe_object {
    enum iotsafe_object_type type;
    struct iotsafe_ref ref; /* both forms when the card tells both */
    uint8_t access, state, key_type, key_usage, crypto, sign_alg, key_agreement, key_derivation,
        file_usage;
    uint16_t hash;
    uint32_t file_size;
};

struct iotsafe_info { /* GET DATA (application) */
    uint8_t version, max_files, max_private, max_public, max_secret, max_sessions;
    uint8_t crypto, sign_alg, key_agreement, key_derivation;
    uint16_t hash;
    uint8_t applet_id_len, applet_id[32];
};

enum { IOTSAFE_SHA256 = 1, IOTSAFE_SHA384 = 2, IOTSAFE_SHA512 = 4 };
enum { IOTSAFE_RSA_PKCS1 = 1, IOTSAFE_RSA_PSS = 2, IOTSAFE_ECDSA = 4 };

struct iotsafe_options { /* zero means the default */
    const uint8_t *aid;  /* first AID to try, then the well-known ones */
    size_t aid_len;
    int only_this_aid;
    int basic_channel;  /* do not open a logical channel */
    int close_sessions; /* close the session before and after each signature, verification and PUT
                           PUBLIC KEY. Not needed with any known applet: a session is closed anyway
                           when the card refuses to open one */
    uint8_t session;    /* session number to use; default 1 */
    int interindustry_class; /* class 0n from the start instead of 8n with fallback */
    int le; /* Le of commands that carry data: 0 as the transport likes it and the card takes it,
               1 always, -1 never */
    uint16_t max_answer; /* bytes to ask for in one answer, for modems that cut long ones off; 0: no
                            limit (256) */
};

struct iotsafe; /* a client: one application on one channel */

/* Opens lazily: no APDU is sent before the first operation. t is given to the client, closed by
 * iotsafe_close(). */
int iotsafe_open(struct iotsafe_transport *t, const struct iotsafe_options *opt,
                 struct iotsafe **ret);
void iotsafe_close(struct iotsafe *c);   /* closes the channel politely; NULL is a no-op */
void iotsafe_abandon(struct iotsafe *c); /* after fork: frees without a word to the card */
uint16_t iotsafe_last_sw(const struct iotsafe *c); /* of the card's last answer (after a failure: of
                                                      the one that failed), 0 before the first */
const char *iotsafe_sw_text(uint16_t sw);          /* English, never NULL */
struct iotsafe_transport *iotsafe_transport_of(struct iotsafe *c);

struct iotsafe_stats { /* since iotsafe_open() */
    uint64_t apdus, bytes_out, bytes_in;
    uint64_t opens; /* times the application was selected: more than one, the channel was lost in
                       between */
    uint64_t refreshes; /* times the card told of remote administration (63CF, 6984, 6989): cached
                           objects are stale */
};
void iotsafe_stats(const struct iotsafe *c, struct iotsafe_stats *ret);

/* ---- blocking operations: 0 or negative iotsafe_error ---- */
int iotsafe_select(struct iotsafe *c); /* optional: forces opening now */
/* Gives the channel back to the card; the next operation opens one again. */
int iotsafe_release(struct iotsafe *c);
int iotsafe_get_info(struct iotsafe *c, struct iotsafe_info *ret);
/* Fills up to cap objects and sets *ret_n to how many there are (may exceed cap). */
int iotsafe_list(struct iotsafe *c, struct iotsafe_object *ret, size_t cap, size_t *ret_n);
int iotsafe_get_object(struct iotsafe *c, enum iotsafe_object_type type,
                       const struct iotsafe_ref *ref, struct iotsafe_object *ret);
/* Whole file; trimmed to its DER objects when it begins with one and is padded with 00 or FF. */
int iotsafe_read_file(struct iotsafe *c, const struct iotsafe_ref *ref, uint8_t *buf, size_t cap,
                      size_t *ret_len);
/* Uncompressed point (65 bytes) for EC; the value of tag 34 as it is for other keys. */
int iotsafe_read_public_key(struct iotsafe *c, const struct iotsafe_ref *ref, uint8_t *buf,
                            size_t cap, size_t *ret_len);
/* ret_private and ret_public: references after generation (the card may change them); NULL allowed.
 */
int iotsafe_generate(struct iotsafe *c, const struct iotsafe_ref *private_key, uint8_t point[65],
                     struct iotsafe_ref *ret_private, struct iotsafe_ref *ret_public);
int iotsafe_put_public_key(struct iotsafe *c, const struct iotsafe_ref *public_key,
                           const uint8_t *point, size_t point_len);
/* digest -> r || s (64 bytes) for ECDSA whatever the applet sends, 256 bytes for RSA-2048. alg 0:
 * ECDSA; hash 0: by digest_len. A signature costs two APDUs. */
int iotsafe_sign(struct iotsafe *c, const struct iotsafe_ref *private_key, unsigned hash,
                 unsigned alg, const uint8_t *digest, size_t digest_len, uint8_t *sig, size_t cap,
                 size_t *ret_len);
/* IOTSAFE_OK, IOTSAFE_E_SIGNATURE, or another error. sig is r || s. */
int iotsafe_verify(struct iotsafe *c, const struct iotsafe_ref *public_key, unsigned hash,
                   unsigned alg, const uint8_t *digest, size_t digest_len, const uint8_t *sig,
                   size_t sig_len);
int iotsafe_ecdh(struct iotsafe *c, const struct iotsafe_ref *private_key,
                 const struct iotsafe_ref *public_key, uint8_t secret[32]);
/* A peer's public key (uncompressed point, on P-256: the caller has checked that) goes into the
 * container peer_slot, then the shared secret with it is computed: iotsafe_put_public_key() and
 * iotsafe_ecdh() as one operation, three APDUs. */
int iotsafe_agree(struct iotsafe *c, const struct iotsafe_ref *private_key,
                  const struct iotsafe_ref *peer_slot, const uint8_t point[65], uint8_t secret[32]);
/* The same with iotsafe_verify(): a signature by the key that is put into public_slot, four APDUs.
 */
int iotsafe_verify_by(struct iotsafe *c, const struct iotsafe_ref *public_slot,
                      const uint8_t point[65], unsigned hash, unsigned alg, const uint8_t *digest,
                      size_t digest_len, const uint8_t *sig, size_t sig_len);
int iotsafe_prf(struct iotsafe *c, const struct iotsafe_ref *secret_key /* NULL: secret */,
                const uint8_t *secret, size_t secret_len,
                const uint8_t *ecdhe /* 32 bytes for PSK-ECDHE, or NULL */,
                const uint8_t *label_seed, size_t label_seed_len, uint8_t *out, size_t out_len);
int iotsafe_hkdf_extract(struct iotsafe *c, const struct iotsafe_ref *secret_key /* NULL: ikm */,
                         const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len,
                         unsigned hash, uint8_t *prk, size_t cap, size_t *ret_len);
int iotsafe_random(struct iotsafe *c, uint8_t *buf, size_t len);
/* One raw command on the application's channel: the channel bits of the class are set here, the
 * rest is the caller's. The answer is passed as it came, SW1 SW2 included; no status word is an
 * error and none is followed. */
int iotsafe_transmit(struct iotsafe *c, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                     size_t cap, size_t *ret_len);
/* Hands a short message to the card as the modem does (3GPP TS 31.111 7.1.1, SMS-PP download):
 * ENVELOPE with the SMS-DELIVER TPDU (at most 240 bytes), and what waits is fetched. It goes over
 * the basic channel and needs no application, or over the link's own channel (AT+CGLA). Sent once:
 * IOTSAFE_E_LINK and _TIMEOUT leave open whether the card has it. Whatever the card says is the
 * result: its status word in *ret_sw, the data of its answer (a delivery report's) in buf. */
int iotsafe_sms_download(struct iotsafe *c, const uint8_t *tpdu, size_t tpdu_len, uint8_t *buf,
                         size_t cap, size_t *ret_len, uint16_t *ret_sw);

/* ---- the same operations for an event loop: iotsafe/call.h ---- */

#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif

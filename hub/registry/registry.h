#pragma once
/* The registry: which cards, devices and credentials there are, and what state each credential is
 * in. A store interface with SQLite behind it (registry.db in the state folder): calls take and
 * return plain structs, a transition names the state it comes from, so that it is compare-and-set
 * for any number of writers.
 *
 * Several processes may have it open: the hub and its command line. Reads at a handshake come from
 * memory; a commit by another process is noticed with PRAGMA data_version and drops what is
 * remembered. All functions block for the length of one small SQLite operation. */
#include <jansson.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "tb/error.h"
#include "tb/pki.h"
#include "tb/span.h"
#include "tb/transport_key.h"

enum {
    HUB_DEVICE_MAX = 64,        /* characters of a device id */
    HUB_ICCID_MAX = 20,         /* ITU-T E.118: 19 digits, 20 in the field */
    HUB_SUBJECT_MAX = 255,      /* bytes of a name that are kept */
    HUB_FP_SIZE = 32,           /* SHA-256 */
    HUB_PSK_IDENTITY_MAX = 128, /* bytes (RFC 4279 5.3: at least so many) */
    HUB_PSK_MAX = 64,           /* bytes of a pre-shared key (RFC 4279 5.3) */
};

/* Credential states: docs/hub.md has the diagram. Names in the database are those of
 * hub_cred_state_name(). */
enum hub_cred_state {
    HUB_CRED_NONE, /* only as "from" of a new credential */
    HUB_CRED_REQUESTED,
    HUB_CRED_PENDING, /* known and expected: the first mutual handshake makes it active */
    HUB_CRED_ACTIVE,
    HUB_CRED_RETIRING, /* a replacement is active, grace period */
    HUB_CRED_RETIRED,
    HUB_CRED_SUSPENDED,
    HUB_CRED_REVOKED,
    HUB_CRED_ABANDONED,
    HUB_CRED_EXPIRED,
};
const char *hub_cred_state_name(enum hub_cred_state s);
/* True when the state machine knows this step. */
bool hub_cred_may_go(enum hub_cred_state from, enum hub_cred_state to);

enum hub_cred_kind { HUB_CRED_X509, HUB_CRED_PSK };
const char *hub_cred_kind_name(enum hub_cred_kind k); /* "x509", "psk" */

struct hub_credential {
    int64_t id;
    enum hub_cred_kind kind;
    uint8_t fp[HUB_FP_SIZE];        /* SHA-256 of the certificate, or of the PSK identity */
    uint8_t spki_hash[HUB_FP_SIZE]; /* SHA-256 of its SubjectPublicKeyInfo; zeros of a PSK */
    char device[HUB_DEVICE_MAX + 1];
    char iccid[HUB_ICCID_MAX + 1];                                  /* "" when no card is known */
    char subject[HUB_SUBJECT_MAX + 1], issuer[HUB_SUBJECT_MAX + 1]; /* as RFC 2253 writes them */
    char psk_identity[HUB_PSK_IDENTITY_MAX + 1];                    /* "" of a certificate */
    enum hub_cred_state state;
    int64_t not_before, not_after; /* seconds since 1970; a PSK has no dates, they are 0 */
};

struct hub_registry;

/* Opens registry.db in dir; folder (mode 0700) and tables are made when missing. */
int hub_registry_open(const char *dir, struct hub_registry **ret, struct tb_error *e) TB_CHECKED;
/* The same for a process that only looks: nothing is made or changed, transitions and imports fail.
 * TB_EUNSUP when a registry of an earlier release has not been opened by its hub since. */
int hub_registry_open_reader(const char *dir, struct hub_registry **ret,
                             struct tb_error *e) TB_CHECKED;
void hub_registry_close(struct hub_registry *r); /* NULL is a no-op */
/* Reads all of it: a damaged registry is found at the start, not when a device comes. */
int hub_registry_check(struct hub_registry *r, struct tb_error *e) TB_CHECKED;

/* TB_ENOTFOUND, or TB_ESTORE. */
int hub_registry_lookup(struct hub_registry *r, const uint8_t fp[HUB_FP_SIZE],
                        struct hub_credential *ret) TB_CHECKED;

/* The credential of a PSK identity as it came over the wire, any bytes: TB_ENOTFOUND, or
 * TB_ESTORE. */
int hub_registry_lookup_psk(struct hub_registry *r, struct tb_span identity,
                            struct hub_credential *ret) TB_CHECKED;
/* Its secret, unwrapped; the caller wipes it. Not cached: about 20 us. TB_ESTORE when it cannot be
 * unwrapped, because psk.key is gone or not the one it was wrapped under (told in *e). */
int hub_registry_psk(struct hub_registry *r, const struct hub_credential *c,
                     uint8_t secret[HUB_PSK_MAX], size_t *ret_n, struct tb_error *e) TB_CHECKED;

/* A number that changes whenever any process has committed something to the registry. */
uint64_t hub_registry_generation(struct hub_registry *r);
/* The same as of the last look-up or hub_registry_generation(), without asking the database again.
 */
uint64_t hub_registry_seen_generation(const struct hub_registry *r);

/* Other processes' commits are pointed out by touching this file: hub_registry_touch() after a
 * change, a watcher in the hub. */
const char *hub_registry_touch_file(const struct hub_registry *r);
void hub_registry_touch(const struct hub_registry *r);

/* Compare-and-set from c->state, as the caller read it: TB_ESTATE when the credential is not in
 * that state any more, or the step does not exist. The step to active is not forced to disk, nor
 * does it wait for other writers: what is lost is done again at the next handshake. */
int hub_registry_transition(struct hub_registry *r, const struct hub_credential *c,
                            enum hub_cred_state to, const char *actor, const char *cause,
                            struct tb_error *e) TB_CHECKED;

/* Calls fn for each credential (NULL) or those that which names: a device id, an ICCID, a PSK
 * identity, or at least eight digits of a fingerprint. fn returns 0, or anything else to stop.
 * Returns fn's last value, or the number of calls when all were 0, or TB_ESTORE. fn may not call
 * the registry. */
typedef int hub_credential_fn(const struct hub_credential *c, void *user);
int hub_registry_each(struct hub_registry *r, const char *which, hub_credential_fn *fn,
                      void *user) TB_CHECKED;

struct hub_import_report {
    unsigned cards, devices;   /* seen */
    unsigned added, unchanged; /* credentials */
    unsigned untrusted;        /* of those, issued by no CA this hub trusts */
    unsigned skipped;          /* of kind "psk" without a secret */
};

/* One certificate for a device; iccid and imsi may be NULL. The device id must be
 * hub_device_id_ok(). A certificate that is there already for the same device is left as it is:
 * *ret_added false. TB_ESTATE when another device owns it, or the card is known under another IMSI.
 */
int hub_registry_add(struct hub_registry *r, const char *device, const char *iccid,
                     const char *imsi, X509 *cert, const char *actor, bool *ret_added,
                     struct tb_error *e) TB_CHECKED;

/* A pre-shared key for a device, 1 … HUB_PSK_MAX bytes; identity must be hub_psk_identity_ok(). It
 * is kept wrapped (AES-256 key wrap with padding, RFC 5649) under DIR/psk.key, which is made when
 * missing. *ret_added false: it was there already, with this secret and for this device. TB_ESTATE
 * when another device owns the identity, or it has another secret. */
int hub_registry_add_psk(struct hub_registry *r, const char *device, const char *iccid,
                         const char *imsi, const char *identity, struct tb_span secret,
                         const char *actor, bool *ret_added, struct tb_error *e) TB_CHECKED;

/* {"cards":[{"iccid","imsi","device"?,"credentials":[{"kind":"x509","certificate":PEM,"fingerprint":hex?},
 * {"kind":"psk","identity":text,"secret":hex}]}]}: all or nothing, and importing the same again
 * changes nothing. The complaint names the place: "cards[3].imsi". file: for the complaint, or
 * NULL. */
int hub_registry_import(struct hub_registry *r, const json_t *batch, const char *file,
                        const char *actor, struct hub_import_report *ret,
                        struct tb_error *e) TB_CHECKED;

/* The SIM supplier's output file (tb/output_file.h), one transaction. A row that is not good fails
 * the batch, or with partial is left out alone. A row with a public key and no certificate gets one
 * of issuer. Bootstrap credentials and keys for administration over the air are not kept:
 * the former are refused, the latter counted. TB_EPARSE when rows were refused and nothing was
 * imported: *ret tells which, as it does on success. */
enum { HUB_IMPORT_SHOWN = 20 };
struct hub_output_import {
    struct tb_span text;
    const char *actor;
    const struct tb_kek *keks;
    size_t keks_n;
    const struct tb_pki_ca *issuer; /* or NULL */
    bool partial;
};
struct hub_output_report {
    struct hub_import_report in;
    unsigned rows, rejected, issued, ota_keys, unknown_columns;
    char first_unknown[64];
    struct {
        unsigned long line;
        char column[24], reason[200];
    } complaints[HUB_IMPORT_SHOWN]; /* of the first rejected ones */
};
int hub_registry_import_output(struct hub_registry *r, const struct hub_output_import *import,
                               struct hub_output_report *ret, struct tb_error *e) TB_CHECKED;

/* The name as RFC 2253 writes it, in ASCII, cut to cap - 1 bytes. */
void hub_name_text(const X509_NAME *name, char *dst, size_t cap);

/* "x509:DEVICE" or "psk:IDENTITY": who a peer is in events; "anonymous" for a zeroed one. Returns
 * dst. */
enum { HUB_IDENTITY_TEXT = HUB_PSK_IDENTITY_MAX + 8 };
char *hub_credential_identity(const struct hub_credential *c, char dst[HUB_IDENTITY_TEXT]);

/* Letters, digits and . _ : - only, 1 … HUB_DEVICE_MAX: it becomes part of topics and access rules.
 */
bool hub_device_id_ok(const char *id);
/* 1 … HUB_PSK_IDENTITY_MAX bytes of UTF-8 without control characters. */
bool hub_psk_identity_ok(const char *identity);

/* Certificate authorities. A trusted one vouches for devices; another is only kept. */
struct hub_ca {
    int64_t id;
    char name[HUB_DEVICE_MAX + 1];
    bool trusted;
    bool has_key; /* ca/NAME.key is here */
    X509 *cert;   /* borrowed for the call */
};
typedef int hub_ca_fn(const struct hub_ca *ca, void *user);
int hub_registry_each_ca(struct hub_registry *r, hub_ca_fn *fn, void *user) TB_CHECKED;
/* TB_ESTATE when the name is taken. */
int hub_registry_add_ca(struct hub_registry *r, const char *name, X509 *cert, bool trusted,
                        bool has_key, struct tb_error *e) TB_CHECKED;
int hub_registry_trust_ca(struct hub_registry *r, const char *name, bool trusted,
                          struct tb_error *e) TB_CHECKED;

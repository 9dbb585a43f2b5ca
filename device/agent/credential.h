#pragma once
/* What an application shows to its hub, and what it trusts: texts of options on one side, a struct
 * dev_tls on the other. Certificates and identities in the card are read when they are first
 * needed.
 */
#include "card.h"
#include "channel.h"
#include "tb/error.h"

/* Where something is: "card:<hex id>", "card:label=TEXT" or a file (for an identity: the text
 * itself). */
struct dev_source {
    bool in_card;
    struct iotsafe_ref ref;
    const char *text; /* not in the card; borrowed */
    uint8_t *bytes;   /* what was read, NULL before */
    size_t n;
};

struct dev_credential_config {      /* texts are borrowed until dev_credential_done() */
    const char *server_name;        /* what the certificate must be for, and SNI */
    const char *ca, *cert, *key;    /* sources */
    const char *psk, *psk_identity; /* psk: NULL for a certificate; a file holds hex */
    const char *stack, *tls;        /* "openssl", "mbedtls"; "1.2", "1.3", "any" */
    bool datagrams;                 /* DTLS */
    const char *psk_exchange;       /* "plain", "ecdhe", "any" */
    const char *offload;            /* tokens, comma separated; NULL: none */
    const char *ciphers;            /* NULL: the default */
    bool resume;
    void (*keylog)(const char *line, void *user);
    void *keylog_user;
};

struct dev_credential {
    struct dev_credential_config cfg;
    enum dev_stack stack;
    unsigned versions, offload;
    bool psk_plain, psk_ecdhe;
    struct dev_source ca, cert, key, psk, identity;
    struct dev_tls *tls; /* NULL: to be made */
};

/* The form of the texts is checked, nothing is opened. */
int dev_credential_init(struct dev_credential *c, const struct dev_credential_config *cfg,
                        struct tb_error *e) TB_CHECKED;
void dev_credential_done(struct dev_credential *c);

/* For tasks: reads what is missing and makes c->tls. The card is that of the running task's user.
 */
int dev_credential_load(struct dev_credential *c, struct dev_card *card,
                        struct dev_failure *why) TB_CHECKED;
/* What is known of the card's contents, and of the hub's sessions: perhaps it is another card now.
 */
void dev_credential_forget(struct dev_credential *c);

const char *dev_credential_kind(const struct dev_credential *c);  /* "certificate" or "psk" */
const char *dev_credential_stack(const struct dev_credential *c); /* "openssl" or "mbedtls" */

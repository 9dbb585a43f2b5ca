#pragma once
/* What the files of the Mbed TLS channel share: mbedtls_tls.c (an application's side),
 * mbedtls_host.c (its card), channel_mbedtls.c (a connection). */
#include <mbedtls/ssl.h>

#include "channel_stack.h"
#include "iotsafe/psa.h"

enum { MBEDTLS_SUITES_MAX = 32, MBEDTLS_MASTER = 48 };

struct mbedtls_tls {
    struct dev_tls tls;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt own, ca;
    mbedtls_pk_context key;
    psa_key_id_t key_id; /* in the card, 0: none */
    uint8_t token[32];   /* for the pre-shared key in the card */
    bool has_token;
    int suites[MBEDTLS_SUITES_MAX + 1];
    unsigned offload; /* IOTSAFE_PSA_… */
    char server_name[256];
    bool numeric; /* … is an address */
    bool datagrams, resume;
    char psk_identity[256]; /* "": a certificate */
    mbedtls_ssl_session session;
    bool has_session;                     /* to be resumed */
    unsigned char master[MBEDTLS_MASTER]; /* of that session, TLS 1.2 */
    void (*keylog)(const char *line, void *user);
    void *keylog_user;
};

struct mbedtls_channel {
    struct dev_channel ch;
    struct mbedtls_tls *tls;
    mbedtls_ssl_context ssl;
    struct iotsafe_psa_session psa;
    uint64_t timer_some, timer_all; /* of DTLS, ms of dev_now(); 0: not set */
    struct tb_buf out; /* of the handshake, while there is more to come; .p allocated */
    unsigned char master[MBEDTLS_MASTER]; /* TLS 1.2 */
    bool certificate_seen;                /* the server has shown one: not resumed */
    bool resumed, ecdhe;
};

/* mbedtls_host.c: the card of the channel that is under way, for the PSA binding. */
struct iotsafe_psa_host dev_mbedtls_host(void);

/* channel_mbedtls.c */
int dev_mbedtls_open(struct dev_tls *t, struct dev_stream *stream, struct dev_channel **ret,
                     struct dev_failure *why);
/* "X509 - …" and the like; never NULL. */
const char *dev_mbedtls_text(int code, char *buf, size_t cap);
/* mbedtls_tls.c: whether cert is for the numeric address. */
bool dev_mbedtls_is_for_address(const mbedtls_x509_crt *cert, const char *address);
/* mbedtls_name.c: RFC 2253. */
void dev_mbedtls_subject(const mbedtls_x509_crt *cert, char *dst, size_t cap);

#pragma once
/* A card in memory, an OpenSSL server on a socket pair, and an Mbed TLS client between them, all in
 * this thread. */
#include "tb/test.h"

#include <mbedtls/ssl.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "iotsafe/psa.h"
#include "simcard/card.h"
#include "simcard/nvm.h"

/* True while the client's library and the binding run, not the card nor the server: whose
 * allocations are to fail. */
extern _Thread_local bool bed_in_client;

enum { BED_PSK = 16 };
extern const uint8_t bed_psk[BED_PSK];

struct bed_card {
    struct card_nvm *nvm;
    struct card *card;
    struct iotsafe *client;
    struct iotsafe_psa_client host;
    X509 *cert; /* for its key 01, by itself */
    /* faults */
    uint8_t at_ins;           /* at this instruction, 0: none */
    unsigned skip;            /* … of which so many go well */
    uint16_t sw;              /* the card answers this, or, when 0, … */
    bool gone;                /* … it is out of the reader from then on */
    unsigned failed;          /* commands that met it */
    unsigned apdus;           /* since bed_connect() */
    void (*trap)(void *user); /* called before each command */
    void *trap_user;
};

/* Objects: private key 01 that signs; 04 and 14, containers for ephemeral keys; 05 for the other
 * side's; pre-shared key 06. */
void bed_card_init(struct bed_card *c);
void bed_card_done(struct bed_card *c);
unsigned bed_card_slots_taken(const struct bed_card *c);

struct bed_options {
    bool dtls;
    int version;         /* TLS1_2_VERSION, TLS1_3_VERSION */
    bool psk;            /* else with certificates */
    bool plain;          /* PSK without ECDHE */
    bool software;       /* key or PSK of the program, not the card's */
    unsigned offload;    /* IOTSAFE_PSA_… */
    const char *ciphers; /* of the server, OpenSSL's words; NULL: any */
    int ciphersuite;     /* the client's one suite; 0: one that fits */
    bool many_groups;    /* P-384 is offered first */
    bool bad_server;     /* its signature does not match its certificate */
    bool server_p384;    /* its key is on P-384 */
    bool server_rsa;
    bool no_ems; /* TLS 1.2 without extended master secret (RFC 7627) */
};

struct bed {
    struct bed_card *card;
    struct bed_options o;
    SSL_CTX *ctx;
    X509 *server_cert, *other_cert;
    EVP_PKEY *server_key;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt own, ca;
    mbedtls_pk_context key;
    psa_key_id_t key_id;
    uint8_t token[32];
    int suites[2];
};

/* Both sides' configuration. 0, or what the client's library says (memory): then undone. */
int bed_init(struct bed *bed, struct bed_card *card, const struct bed_options *o);
void bed_done(struct bed *bed);

struct bed_result {
    int client;  /* mbedtls_ssl_handshake()'s last, and of the first exchange of data */
    bool server; /* the server finished */
    bool echoed; /* a text went there and back */
    char version[16], cipher[64];
    char server_says[200];
    struct iotsafe_psa_counters counters; /* after the handshake */
    struct iotsafe_psa_trouble trouble;
    char trouble_text[200];
    unsigned slots_held; /* after mbedtls_ssl_free(), before iotsafe_psa_done() */
};
struct bed_result bed_connect(struct bed *bed);

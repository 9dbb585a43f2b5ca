#pragma once
/* Simulated cards in this process, each behind a transport that takes its time and fails on order,
 * and a TLS or DTLS server in a thread whose records are counted and held back on order. */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "card.h"
#include "channel.h"
#include "tb/pki.h"

enum sim_fault {
    SIM_NONE,
    SIM_REFUSES, /* answers that command, and its like from then on, with 6F00 */
    SIM_REMOVED, /* no card from that command on, until sim_card_mend() */
    SIM_LATE,    /* the deadline of the session passes during that command */
    SIM_CANCEL,  /* the session is called off during that command */
};
enum { SIM_FAULTS = SIM_CANCEL + 1 };

struct sim_card {
    struct iotsafe_transport t;
    struct sim_bed *bed;
    struct card *card;
    struct card_nvm *nvm;
    struct dev_card *dev;
    unsigned delay_ms;    /* of each command */
    enum sim_fault fault; /* at command number fault_at, from 1, since sim_card_arm() */
    unsigned fault_at, commands;
    unsigned after, computed_after; /* the fault: commands, those that computed something */
    bool removed;
    uint8_t refused_ins;
    unsigned generated, agreed, signed_, verified, derived, randoms; /* commands of that kind */
    unsigned channels;                                               /* MANAGE CHANNEL */
    uint8_t cert[1024];
    size_t cert_n;
};

struct sim_server {
    /* to be set before sim_serve() */
    unsigned versions;
    int connections; /* to serve, one after the other */
    bool psk, tickets;
    bool cookie; /* DTLS: HelloVerifyRequest first */
    const char *ciphers, *groups;
    unsigned records;  /* sent to the client, then … 0: all */
    bool mute;         /* nothing is sent at all */
    bool drop_one;     /* … that one only is lost; else nothing more is sent … */
    bool close;        /* … and the connection is closed */
    unsigned timer_ms; /* DTLS: until a flight is sent again; 0: as OpenSSL likes it */
    /* kept */
    struct sim_bed *bed;
    pthread_t thread;
    int fd;
    char at[64];
    SSL_CTX *ctx;
    atomic_int good;
    atomic_bool stop;
    unsigned repeats; /* flights that were sent again */
    char peer[128];   /* of the last client that succeeded */
    unsigned sent;    /* records, in this connection */
    bool resumed;
};

struct sim_bed {
    uv_loop_t loop;
    struct tb_pki_ca ca;
    uint8_t ca_der[1024];
    size_t ca_der_n;
    EVP_PKEY *server_key;
    X509 *server_cert;
    unsigned in_flight, most_in_flight; /* commands */
};

extern const uint8_t sim_psk[32]; /* secret 06 of every card */
extern const char sim_identity[]; /* the server's name for it */

void sim_init(struct sim_bed *bed);
void sim_done(struct sim_bed *bed); /* after the cards */

/* Key 01 and its certificate in file 02, the CA in 03, containers ephemeral containers from 10 on,
 * peer's keys in 05, secret 06. */
void sim_card_init(struct sim_card *c, struct sim_bed *bed, const char *name, unsigned containers);
void sim_card_done(struct sim_card *c);
void sim_card_arm(struct sim_card *c, enum sim_fault fault, unsigned at);
void sim_card_mend(struct sim_card *c);

void sim_serve(struct sim_server *s, struct sim_bed *bed);
/* Waits until all its connections are over. */
void sim_join(struct sim_server *s);
/* … or leaves those that are not. */
void sim_stop(struct sim_server *s);

/* Runs fn on a task of its own until the loop has nothing more to do. */
void sim_run(struct sim_bed *bed, dev_task_fn *fn, void *arg);

/* Of the two that follow; the first argument of a test's program: "mbedtls", else OpenSSL. */
extern enum dev_stack sim_stack;
void sim_choose_stack(int argc, char **argv);
/* Everything from the card, to be completed by a test. Valid for one call of dev_tls_new(). */
struct dev_tls_config sim_config(struct sim_card *c, unsigned versions, unsigned offload);
struct dev_tls_config sim_psk_config(struct sim_card *c, unsigned versions, bool plain, bool ecdhe);

/* One connection: handshake, "hello" there and back, orderly end. *ch_info NULL: not wanted. */
int sim_talk(struct dev_tls *tls, const char *at, struct dev_channel_info *info,
             struct dev_card_use *ret_use, struct dev_failure *why);

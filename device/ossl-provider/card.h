#pragma once
/* The way to the card; card.c is the only file that reaches it. Nothing is opened before the first
 * operation, so that every program can load the provider whether or not there is a card.
 *
 * A process that forked does not use its parent's connection: it forgets it without a word to the
 * card and opens its own. Connections that broke are opened anew by the next operation. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "iotsafe/iotsafe.h"
#include "isp.h"
#include "ref.h"

struct isp_provider;

struct isp_config { /* parameters of the provider's section in openssl.cnf; strings borrowed from
                       the core */
    const char *transport; /* text for iotsafe_transport_open() */
    const char *aid;       /* hex: application to try first */
    const char *only_aid;  /* yes: and no other */
    const char *basic_channel;
    const char *close_sessions;
    const char *max_answer; /* bytes the modem passes on in one answer */
    const char *offload;
};

struct isp_card {
    struct isp_host host; /* acquire is NULL for a card of our own */
    struct iotsafe_options options;
    uint8_t aid[16];
    const char *config_error; /* every operation fails with it; static text */
    pthread_mutex_t lock;     /* one operation at a time; also guards client */
    _Atomic(pid_t) owner;     /* process that may use lock and client; 0 while it changes */
    struct iotsafe *client;
};

/* Reads the configuration; never fails and never opens anything. */
void isp_card_init(struct isp_card *card, const struct isp_config *config,
                   const struct isp_host *host);
void isp_card_done(struct isp_card *card);

/* Each of these makes one operation and raises an error that names the operation, the object and
 * the card's status word when it answers false. */
bool isp_card_sign(struct isp_provider *prov, const struct isp_uri *key, const uint8_t digest[32],
                   uint8_t ret_raw[64]);
bool isp_card_public_key(struct isp_provider *prov, const struct isp_uri *key,
                         uint8_t ret_point[65]);
bool isp_card_read_file(struct isp_provider *prov, const struct isp_uri *file, uint8_t *buf,
                        size_t cap, size_t *ret_len);
/* *ret_n may exceed cap: then only cap objects were stored. */
bool isp_card_list(struct isp_provider *prov, const struct isp_uri *where,
                   struct iotsafe_object *ret, size_t cap, size_t *ret_n);

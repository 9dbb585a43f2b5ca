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
#include "iotsafe/slots.h"
#include "isp.h"
#include "ref.h"

struct isp_provider;
struct isp_key;

struct isp_config { /* parameters of the provider's section in openssl.cnf; strings borrowed from
                       the core */
    const char *transport; /* text for iotsafe_transport_open() */
    const char *aid;       /* hex: application to try first */
    const char *only_aid;  /* yes: and no other */
    const char *basic_channel;
    const char *close_sessions;
    const char *max_answer; /* bytes the modem passes on in one answer */
    const char *offload;    /* tokens, comma separated */
    const char
        *ecdhe_keys; /* identifiers in hex, comma separated: containers for ephemeral keys … */
    const char *peer_keys; /* … and for keys of the other side */
};

/* What the card does besides signatures of its own keys. */
enum { ISP_ECDHE = 1, ISP_VERIFY = 2, ISP_PSK = 4, ISP_RANDOM = 8 };

struct isp_card {
    struct isp_host host; /* acquire is NULL for a card of our own */
    struct iotsafe_options options;
    uint8_t aid[16];
    unsigned offload;         /* bits of ISP_ECDHE … */
    const char *config_error; /* every operation fails with it; static text */
    pthread_mutex_t lock;     /* one operation at a time; also guards what follows */
    _Atomic(pid_t) owner;     /* process that may use lock and client; 0 while it changes */
    struct iotsafe *client;
    struct iotsafe_slots slots;
    bool own_known, peers_known;                /* configured, or asked from the card */
    struct isp_key *pending[IOTSAFE_SLOTS_MAX]; /* ephemeral keys that hold a container */
    uint64_t generated;                         /* so many were there */
};

/* Reads the configuration; never fails and never opens anything. */
void isp_card_init(struct isp_card *card, const struct isp_config *config,
                   const struct isp_host *host);
void isp_card_done(struct isp_card *card);

/* One operation of libiotsafe, for isp_card_run(). */
struct isp_op {
    const char *name; /* as IoT.05 has it */
    int (*fn)(struct iotsafe *c, const struct isp_op *op);
    const struct iotsafe_ref *ref; /* NULL: of no object */
    const struct iotsafe_ref *peer;
    const uint8_t *in, *in2;
    size_t in_len, in2_len;
    void *out;
    size_t cap;
    size_t *ret_n;
    void *card;         /* the host's, NULL: by reader */
    const char *reader; /* NULL: "" */
    bool verdict;       /* IOTSAFE_E_SIGNATURE is an answer, not an error */
};

/* 0, or a negative IOTSAFE_E… with an error raised that names the operation, the object and the
 * card's status word. */
int isp_card_run(struct isp_provider *prov, const struct isp_op *op);

/* ---- operations (operations.c): false with an error raised ---- */

bool isp_card_sign(struct isp_provider *prov, const struct isp_uri *key, const uint8_t digest[32],
                   uint8_t ret_raw[64]);
bool isp_card_public_key(struct isp_provider *prov, const struct isp_uri *key,
                         uint8_t ret_point[65]);
bool isp_card_read_file(struct isp_provider *prov, const struct isp_uri *file, uint8_t *buf,
                        size_t cap, size_t *ret_len);
/* *ret_n may exceed cap: then only cap objects were stored. */
bool isp_card_list(struct isp_provider *prov, const struct isp_uri *where,
                   struct iotsafe_object *ret, size_t cap, size_t *ret_n);
/* Makes a key pair in the container slot->own. ret_private: its name from then on. */
bool isp_card_generate(struct isp_provider *prov, const struct isp_slot *slot,
                       struct iotsafe_ref *ret_private, uint8_t ret_point[65]);
/* point is on P-256. */
bool isp_card_agree(struct isp_provider *prov, const struct isp_slot *slot,
                    const struct iotsafe_ref *private_key, const uint8_t point[65],
                    uint8_t ret_secret[32]);
/* Bad signatures raise no error, failures do. point is on P-256. */
bool isp_card_verify(struct isp_provider *prov, const uint8_t point[65], const uint8_t digest[32],
                     const uint8_t raw[64]);
/* ecdhe: 32 bytes, NULL for a plain pre-shared key. */
bool isp_card_prf(struct isp_provider *prov, const struct isp_uri *psk, const uint8_t *ecdhe,
                  const uint8_t *label_seed, size_t label_seed_len, uint8_t *out, size_t n);
/* HKDF-Extract with SHA-256 and a pre-shared key as input; salt: 32 bytes, NULL: zeros. */
bool isp_card_extract(struct isp_provider *prov, const struct isp_uri *psk, const uint8_t *salt,
                      uint8_t ret_prk[32]);
bool isp_card_random(struct isp_provider *prov, uint8_t *buf, size_t n);

/* ---- containers (containers.c) ---- */

/* Takes one for an ephemeral key. False with an error raised when all are in use, or there are
 * none. */
bool isp_slot_take(struct isp_provider *prov, struct isp_slot *ret);
void isp_slot_put(struct isp_provider *prov, const struct isp_slot *slot);
/* The key that holds a container from now on; before that container is put, it no longer does. */
void isp_slot_hold(struct isp_provider *prov, struct isp_key *key);
void isp_slot_unhold(struct isp_provider *prov, const struct isp_key *key);
/* When all are in use: the youngest key that this thread has made and that holds one, counted. A
 * client that offered TLS 1.3 and got TLS 1.2 keeps the key of its ClientHello, which is of no use
 * any more, and wants another one; where the card has one container that would be the end. NULL
 * otherwise, and with a host, which knows its sessions. */
struct isp_key *isp_slot_share(struct isp_provider *prov);
/* The one for keys to verify with. */
bool isp_slot_verifier(struct isp_provider *prov, struct iotsafe_ref *ret);

/* In a child after fork(): makes lock and client usable. To be called before locking. */
void isp_card_adopt(struct isp_card *card);
/* Opens the client if there is none; lock is held. IOTSAFE_E… with a text in err. */
int isp_card_open(struct isp_provider *prov, char *err, size_t cap);

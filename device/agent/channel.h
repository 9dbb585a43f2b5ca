#pragma once
/* Secure channels: TLS or DTLS over a stream, by OpenSSL or by Mbed TLS. What is above does not
 * know which.
 *
 * A struct dev_tls is one application's side of TLS: versions, credential, trust, what the card is
 * asked for. It is made once and serves all of the application's connections; it holds the session
 * to be resumed. A struct dev_channel is one connection. For tasks: making a dev_tls may ask the
 * card (PUBLIC KEY, slots), the handshake parks while the peer or the card works, reading and
 * writing never wait. Any number of channels, of any number of cards, are under way in one thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "card.h"
#include "failure.h"
#include "stream.h"
#include "tb/error.h"
#include "tb/span.h"

enum dev_stack { DEV_OPENSSL, DEV_MBEDTLS };
enum { DEV_TLS12 = 1, DEV_TLS13 = 2, DEV_DTLS12 = 4 };

/* What the card does besides the client's signature or the PSK, which are always its own when the
 * credential is in it. */
enum {
    DEV_OFFLOAD_ECDHE = 1, /* ephemeral key pair and shared secret */
    DEV_OFFLOAD_VERIFY =
        2, /* the peer's signatures: certificates, CertificateVerify, ServerKeyExchange */
    DEV_OFFLOAD_RANDOM = 4, /* OpenSSL: seed of the DRBG; Mbed TLS: random of ClientHello */
    DEV_OFFLOAD_DERIVE =
        8, /* Mbed TLS: the shared secret stays in the card, PRF or HKDF-Extract is made there */
};

struct dev_tls_config { /* all borrowed until dev_tls_new() returns */
    enum dev_stack stack;
    unsigned versions; /* bits of DEV_…; TLS and DTLS do not mix */
    const char
        *server_name; /* sent, and the certificate must be for it; a numeric address is not sent */
    /* trust; not used with a PSK */
    const char *ca_file; /* PEM, or … */
    struct tb_span ca;   /* … DER certificates one behind the other */
    /* credential: a certificate and its key … */
    const char *cert_file;         /* PEM, chain behind it, or … */
    struct tb_span cert;           /* … DER */
    const char *key_file;          /* PEM: a key in software, for comparison, or … */
    const struct iotsafe_ref *key; /* … in the card */
    /* … or a pre-shared key (psk_identity not NULL) */
    const char *psk_identity;
    struct tb_span psk;                /* in software, or … */
    const struct iotsafe_ref *psk_ref; /* … in the card */
    bool psk_plain,
        psk_ecdhe; /* which exchanges are offered: PSK, ECDHE-PSK; TLS 1.3: psk_ke, psk_dhe_ke */
    unsigned offload;
    const char *ciphers;   /* in the stack's own words; NULL: the ones a card can, docs/device.md */
    bool resume;           /* offer the last session or ticket again */
    struct dev_card *card; /* borrowed longer than the dev_tls; NULL when nothing is in a card */
    void (*keylog)(const char *line, void *user); /* NULL: none. A line of the NSS key log */
    void *keylog_user;
};

struct dev_tls; /* implementation's own; first member: ops */
/* 0, or negative with *why filled: TB_EPARSE-like for a combination that cannot be (say which),
 * TB_ECRYPTO, card errors. */
int dev_tls_new(const struct dev_tls_config *cfg, struct dev_tls **ret,
                struct dev_failure *why) TB_CHECKED;
void dev_tls_free(struct dev_tls *t); /* no channel of it is left; NULL is a no-op */

struct dev_channel_info {
    char identity[256]; /* subject of our certificate, RFC 2253; or the PSK identity */
    char version[16],
        cipher[64]; /* "TLSv1.3", "DTLSv1.2"; IANA or OpenSSL name as the stack has it */
    char group[32]; /* "P-256"; "" for none */
    bool resumed;
};

struct dev_channel;
struct dev_channel_ops {
    /* 0, or negative with *why filled. until as in dev_task_wait(). Nothing is tried again inside.
     * Cancelled, timed out, card gone: the handshake is over, the card's containers it used are
     * free again when the channel is closed. */
    int (*handshake)(struct dev_channel *ch, uint64_t until, struct dev_failure *why);
    /* Bytes read (> 0; DTLS: one datagram), UV_EAGAIN, TB_ECLOSED at the orderly end, or negative
     * with *why filled. */
    int (*read)(struct dev_channel *ch, void *buf, size_t cap, struct dev_failure *why);
    /* All n bytes are taken (0; DTLS: as one datagram), or negative with *why filled. To be held
     * back: dev_stream_full(). */
    int (*write)(struct dev_channel *ch, const void *p, size_t n, struct dev_failure *why);
    void (*info)(const struct dev_channel *ch, struct dev_channel_info *ret);
    /* orderly: tells the peer. The stream is closed as well. */
    void (*close)(struct dev_channel *ch, bool orderly);
};
struct dev_channel { /* first member of every implementation */
    const struct dev_channel_ops *ops;
    struct dev_stream *stream;           /* below it, for waiting and holding back */
    const struct dev_channel_ops *stack; /* the implementation's own, behind ops */
    struct dev_card_use use; /* what its card did for it: trouble, traffic, containers taken */
};
/* A client's channel on a stream (a datagram stream for DTLS), which is given to it when this
 * succeeds. */
int dev_channel_open(struct dev_tls *t, struct dev_stream *stream, struct dev_channel **ret,
                     struct dev_failure *why) TB_CHECKED;

/* For tasks. A write failed with r: the peer takes nothing more. Why, it may have said before (an
 * alert): that is read, within half a second, and put into *why. Returns r. */
int dev_channel_last_words(struct dev_channel *ch, int r, struct dev_failure *why);

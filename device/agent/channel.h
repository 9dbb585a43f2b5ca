#pragma once
/* A secure channel over a stream, whatever TLS library makes it: the session above does not know
 * which. For tasks; the handshake parks while the peer or the card works, reading and writing never
 * wait. */
#include <stdbool.h>
#include <stdint.h>

#include "card.h"
#include "stream.h"
#include "tb/error.h"
#include "tb/span.h"

/* Why a session ended or did not begin. */
struct dev_failure {
    char reason[512]; /* for a person; "" when nothing failed */
    uint16_t sw;      /* the card's status word, 0 when it was not the card */
};
void dev_fail(struct dev_failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum { DEV_TLS12 = 1, DEV_TLS13 = 2 };

struct dev_channel_config { /* all borrowed until the channel is made */
    const char
        *server_name;  /* sent, and the certificate must be for it; a numeric address is not sent */
    unsigned versions; /* bits of DEV_TLS… */
    const char *ca_file;                          /* PEM, or … */
    struct tb_span ca;                            /* … DER certificates one behind the other */
    const char *cert_file;                        /* PEM, chain behind it, or … */
    struct tb_span cert;                          /* … DER */
    const char *key_file;                         /* PEM, or … */
    const char *key_uri;                          /* … "iotsafe:id=01": in the card */
    void (*keylog)(const char *line, void *user); /* NULL: none. A line of the NSS key log */
    void *keylog_user;
};

struct dev_channel_info {
    char identity[256]; /* subject of our certificate, RFC 2253 */
    char version[16], cipher[64];
};

struct dev_channel;
struct dev_channel_ops {
    /* 0, or negative with *why filled. until as in dev_task_wait(). */
    int (*handshake)(struct dev_channel *ch, uint64_t until, struct dev_failure *why);
    /* Bytes read (> 0), UV_EAGAIN, TB_ECLOSED at the orderly end, or negative with *why filled. */
    int (*read)(struct dev_channel *ch, void *buf, size_t cap, struct dev_failure *why);
    /* All n bytes are taken (0), or negative with *why filled. To be held back: dev_stream_full().
     */
    int (*write)(struct dev_channel *ch, const void *p, size_t n, struct dev_failure *why);
    void (*info)(const struct dev_channel *ch, struct dev_channel_info *ret);
    /* orderly: tells the peer. The stream is closed as well. */
    void (*close)(struct dev_channel *ch, bool orderly);
};
struct dev_channel { /* first member of every implementation */
    const struct dev_channel_ops *ops;
    struct dev_stream *stream; /* below it, for waiting and holding back; NULL when there is none */
};

/* OpenSSL with the iotsafe provider linked in. One per program; the card is borrowed. */
struct dev_openssl;
int dev_openssl_new(struct dev_card *card, struct dev_openssl **ret) TB_CHECKED;
void dev_openssl_free(struct dev_openssl *o); /* NULL is a no-op */

/* A client's channel; the stream is given to it when this succeeds. Negative with *why filled. */
int dev_channel_openssl(struct dev_openssl *o, const struct dev_channel_config *cfg,
                        struct dev_stream *stream, struct dev_channel **ret,
                        struct dev_failure *why) TB_CHECKED;

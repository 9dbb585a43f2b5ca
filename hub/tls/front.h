#pragma once
/* The TLS front: a listener where TLS ends, OpenSSL over the bytes of tb_conn. Who the peer is gets
 * decided inside the handshake: OpenSSL verifies the chain, then the fingerprint of the leaf is
 * looked up in the registry; the answer decides on the alert. A front for pre-shared keys has no
 * certificates at all, and looks up the identity. Because a resumed session skips that, the
 * registry is asked again when the handshake is done, and before a ticket is accepted: the ticket
 * holds the credential's fingerprint. */
#include <openssl/ssl.h>
#include <uv.h>

#include "registry/registry.h"
#include "tb/conn.h"
#include "tls/verdict.h"

struct hub_front;
struct hub_tls;

/* What is known of a peer. */
struct hub_peer {
    /* Whole only when the registry knows it (id > 0); else kind, fp, and the names or the identity
     * that were shown. All zero: nothing was shown. */
    struct hub_credential cred;
    const char *listener; /* its name, borrowed from the configuration */
    const char *version,
        *cipher; /* "TLSv1.3", "TLS_AES_256_GCM_SHA384"; "" before they are agreed */
    bool resumed;
    int alert;             /* of a refusal: sent (or received, for HUB_PEER_ALERT); -1: none */
    uint64_t handshake_us; /* from the first byte to the last message */
    const char *detail;    /* of a refusal: OpenSSL's words or "" */
};

struct hub_front_config {         /* texts are borrowed and outlive the front */
    const char *name;             /* for hub_peer.listener */
    bool psk;                     /* pre-shared keys (RFC 4279, 5489, 8446 2.2), no certificates */
    bool coap;                    /* CCM_8 suites too, as RFC 7252 wants them */
    bool cert_optional;           /* who shows none is let in as nobody: cred.id is 0 */
    int min_version, max_version; /* TLS1_2_VERSION … TLS1_3_VERSION */
    char *groups;                 /* OpenSSL's list; its macro wants it writable, nobody writes */
    const char *ciphers;          /* of TLS 1.2, in the same manner */
    const char *cert_file, *key_file; /* PEM, the hub's own; may be a chain. Not for psk */
    const char *keylog_file;          /* NULL: none. NSS key log, appended */
    bool resumption;                  /* session tickets, both versions */
    unsigned deadline_ms;             /* from accept to hub_tls_settled() */
    unsigned max_connections;
    struct hub_registry *registry; /* borrowed */

    /* A peer was accepted. Set ops with hub_tls_set_ops() and return true; false refuses it
     * silently. */
    bool (*on_open)(struct hub_tls *t, const struct hub_peer *peer, void *user);
    void (*on_refused)(enum hub_verdict v, const struct hub_peer *peer, void *user);
    void *user;
};

int hub_front_open(uv_loop_t *loop, const struct tb_addr *at, const struct hub_front_config *cfg,
                   struct hub_front **ret, struct tb_error *e) TB_CHECKED;
const struct tb_addr *hub_front_addr(const struct hub_front *f);
unsigned hub_front_connections(const struct hub_front *f);
/* Looks whether the trusted CAs have changed; new handshakes see the new ones. On failure the old
 * ones stay. */
int hub_front_refresh(struct hub_front *f, struct tb_error *e) TB_CHECKED;
/* Stops listening and closes every connection with close_notify; frees itself after the last one.
 */
void hub_front_close(struct hub_front *f);

struct hub_tls_ops {
    /* Plain bytes; all of them are taken. May pause, write or close. */
    void (*on_data)(struct hub_tls *t, struct tb_span data, void *user);
    void (*on_drain)(struct hub_tls *t, void *user); /* as tb_conn_ops.on_drain */
    void (*on_closed)(int why, void *user);          /* last call ever; why as in tb_conn_ops */
};
void hub_tls_set_ops(struct hub_tls *t, const struct hub_tls_ops *ops, void *user);
void hub_tls_settled(
    struct hub_tls *t); /* the application has what it wanted: no deadline any more */

/* Encrypts all of data and writes it at once; result as tb_conn_write(). */
int hub_tls_write(struct hub_tls *t, struct tb_span data);
void hub_tls_pause(struct hub_tls *t);
void hub_tls_resume(struct hub_tls *t);
/* close_notify, what is queued, then the end. Idempotent; on_closed still comes. */
void hub_tls_close(struct hub_tls *t);

#pragma once
/* What the hub thinks of a peer, decided during and after the handshake, and how it says so on the
 * wire. */
#include <stdint.h>

#include "registry/registry.h"

enum hub_verdict {
    HUB_ACCEPTED,
    HUB_UNKNOWN_CREDENTIAL, /* of a trusted CA, but not in the registry: alert 46 */
    HUB_REVOKED,            /* 44; of a PSK as HUB_UNKNOWN_PSK, and so are the next two */
    HUB_SUSPENDED,          /* 46: not for ever, so not 44 */
    HUB_ENDED,              /* retired, abandoned or still only requested: 46 */
    HUB_EXPIRED,            /* 45 */
    HUB_NOT_YET_VALID,      /* 42 */
    HUB_WRONG_CA,           /* 48 */
    HUB_NO_CERTIFICATE,     /* 40 in TLS 1.2, 116 in TLS 1.3 */
    HUB_BAD_CERTIFICATE,    /* whatever else OpenSSL dislikes in the chain */
    HUB_UNKNOWN_PSK,        /* 115 in TLS 1.2, 40 in TLS 1.3 */
    HUB_WRONG_PSK,          /* 20 in TLS 1.2, 47 in TLS 1.3 */
    HUB_PROTOCOL,           /* no TLS, no common version (70), no common algorithm … */
    HUB_PEER_ALERT,         /* the device refused us */
    HUB_TIMEOUT,            /* no complete handshake and CONNECT within the deadline */
    HUB_ABORTED,            /* the connection ended in the middle */
    HUB_FULL,               /* as many connections as are allowed */
    HUB_VERDICTS
};

/* The "reason" of event "refused", and the name of the counter. */
const char *hub_verdict_name(enum hub_verdict v);

/* c: what the registry knows, of either kind, or NULL for nothing: HUB_UNKNOWN_CREDENTIAL then (who
 * has looked for a PSK says HUB_UNKNOWN_PSK instead). now: seconds since 1970. */
enum hub_verdict hub_judge(const struct hub_credential *c, int64_t now);

/* OpenSSL chooses the alert by the verification error (X509_V_ERR_…): the one that leads to the
 * alert above. */
int hub_verdict_to_x509(enum hub_verdict v);
/* The other way: what a failed chain verification means. */
enum hub_verdict hub_verdict_of_x509(int error);

#include "tls/verdict.h"

#include <openssl/x509_vfy.h>

static const char *const names[HUB_VERDICTS] = {
    [HUB_ACCEPTED] = "accepted",
    [HUB_UNKNOWN_CREDENTIAL] = "unknown-credential",
    [HUB_REVOKED] = "revoked",
    [HUB_SUSPENDED] = "suspended",
    [HUB_ENDED] = "ended",
    [HUB_EXPIRED] = "expired",
    [HUB_NOT_YET_VALID] = "not-yet-valid",
    [HUB_WRONG_CA] = "wrong-ca",
    [HUB_NO_CERTIFICATE] = "no-certificate",
    [HUB_BAD_CERTIFICATE] = "bad-certificate",
    [HUB_UNKNOWN_PSK] = "unknown-psk-identity",
    [HUB_WRONG_PSK] = "wrong-psk",
    [HUB_PROTOCOL] = "protocol",
    [HUB_PEER_ALERT] = "peer-alert",
    [HUB_TIMEOUT] = "timeout",
    [HUB_ABORTED] = "aborted",
    [HUB_FULL] = "full",
};

const char *hub_verdict_name(enum hub_verdict v) {
    return names[v];
}

enum hub_verdict hub_judge(const struct hub_credential *c, int64_t now) {
    if (!c)
        return HUB_UNKNOWN_CREDENTIAL;
    switch (c->state) {
    case HUB_CRED_PENDING:
    case HUB_CRED_ACTIVE:
    case HUB_CRED_RETIRING:
        break;
    case HUB_CRED_REVOKED:
        return HUB_REVOKED;
    case HUB_CRED_SUSPENDED:
        return HUB_SUSPENDED;
    case HUB_CRED_EXPIRED:
        return HUB_EXPIRED;
    default:
        return HUB_ENDED;
    }
    if (c->kind == HUB_CRED_PSK)
        return HUB_ACCEPTED;
    /* OpenSSL has looked at the dates in a full handshake, but not when a session is resumed. */
    return now > c->not_after    ? HUB_EXPIRED
           : now < c->not_before ? HUB_NOT_YET_VALID
                                 : HUB_ACCEPTED;
}

int hub_verdict_to_x509(enum hub_verdict v) {
    switch (v) {
    case HUB_ACCEPTED:
        return X509_V_OK;
    case HUB_REVOKED:
        return X509_V_ERR_CERT_REVOKED;
    case HUB_EXPIRED:
        return X509_V_ERR_CERT_HAS_EXPIRED;
    case HUB_NOT_YET_VALID:
        return X509_V_ERR_CERT_NOT_YET_VALID;
    default: /* not in OpenSSL's table of alerts, which makes it 46 certificate_unknown */
        return X509_V_ERR_NO_EXPLICIT_POLICY;
    }
}

enum hub_verdict hub_verdict_of_x509(int error) {
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return HUB_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return HUB_NOT_YET_VALID;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return HUB_WRONG_CA;
    default:
        return HUB_BAD_CERTIFICATE;
    }
}

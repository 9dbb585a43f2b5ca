/* Certificates in memory. Each public function leaves OpenSSL's error queue as it found it: a TLS
 * library in the same thread would take our leftovers for its own errors. */
#include "tb/pki.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

enum {
    SERIAL_BITS = 127, /* 16 bytes, always positive: RFC 5280 4.1.2.2 allows 20 */
    SECURITY_BITS_MIN = 112,
    DAY_S = 86400,
    CA_BACKDATE_S = DAY_S, /* other machines' clocks may be behind */
    NAME_MAX_BYTES = 64,   /* ub-common-name, ub-organization-name */
    YEARS_MAX = 1000,
};

/* What a certificate is made of, whoever signs it. */
struct profile {
    const struct tb_pki_request *req;
    int path_len;       /* of a CA; -1: unlimited */
    const X509 *issuer; /* NULL: self-signed */
};

static bool set_serial(X509 *cert) {
    BIGNUM *bn = BN_new();
    bool ok = bn && BN_rand(bn, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));

    BN_free(bn);
    return ok;
}

static bool set_time(ASN1_TIME *t, long offset_s) {
    return X509_time_adj_ex(t, (int)(offset_s / DAY_S), offset_s % DAY_S, NULL) != NULL;
}

static bool add_name(X509_NAME *name, int nid, const char *value) {
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static bool set_subject(X509 *cert, const struct tb_pki_request *req) {
    X509_NAME *name = X509_get_subject_name(cert);

    return (!req->organization || add_name(name, NID_organizationName, req->organization)) &&
           add_name(name, NID_commonName, req->common_name);
}

/* RFC 5280 4.2.1.9 */
static bool add_basic_constraints(X509 *cert, const struct profile *p) {
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
    bool ok = bc != NULL;

    if (ok && p->req->role == TB_PKI_CA) {
        bc->ca = 0xFF;
        if (p->path_len >= 0) {
            bc->pathlen = ASN1_INTEGER_new();
            ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, p->path_len);
        }
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1;
    BASIC_CONSTRAINTS_free(bc);
    return ok;
}

/* RFC 5280 4.2.1.3; RFC 8422 5.3 and RFC 8446 4.4.2.2: a TLS key signs. RSA may also decrypt. */
static bool add_key_usage(X509 *cert, const struct profile *p) {
    enum { DIGITAL_SIGNATURE = 0, KEY_ENCIPHERMENT = 2, KEY_CERT_SIGN = 5, CRL_SIGN = 6 };
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    bool ok = bits != NULL;

    if (ok && p->req->role == TB_PKI_CA) {
        ok = ASN1_BIT_STRING_set_bit(bits, KEY_CERT_SIGN, 1) &&
             ASN1_BIT_STRING_set_bit(bits, CRL_SIGN, 1);
    } else if (ok) {
        ok = ASN1_BIT_STRING_set_bit(bits, DIGITAL_SIGNATURE, 1);
        if (ok && p->req->role == TB_PKI_SERVER && EVP_PKEY_is_a(X509_get0_pubkey(cert), "RSA"))
            ok = ASN1_BIT_STRING_set_bit(bits, KEY_ENCIPHERMENT, 1);
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_key_usage, bits, 1, X509V3_ADD_DEFAULT) == 1;
    ASN1_BIT_STRING_free(bits);
    return ok;
}

/* RFC 5280 4.2.1.12 */
static bool add_extended_key_usage(X509 *cert, enum tb_pki_role role) {
    EXTENDED_KEY_USAGE *eku;
    ASN1_OBJECT *purpose;
    bool ok;

    if (role == TB_PKI_CA)
        return true;
    eku = sk_ASN1_OBJECT_new_null();
    purpose = OBJ_nid2obj(role == TB_PKI_SERVER ? NID_server_auth : NID_client_auth);
    ok = eku && purpose && sk_ASN1_OBJECT_push(eku, purpose) > 0 &&
         X509_add1_ext_i2d(cert, NID_ext_key_usage, eku, 0, X509V3_ADD_DEFAULT) == 1;
    sk_ASN1_OBJECT_free(eku); /* the object is static */
    return ok;
}

/* Method 1 of RFC 5280 4.2.1.2: SHA-1 of the public key bits. */
static bool key_id(const X509 *cert, ASN1_OCTET_STRING *ret) {
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    return X509_pubkey_digest(cert, EVP_sha1(), md, &n) == 1 &&
           ASN1_OCTET_STRING_set(ret, md, (int)n) == 1;
}

static bool add_subject_key_id(X509 *cert) {
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    bool ok = id && key_id(cert, id) &&
              X509_add1_ext_i2d(cert, NID_subject_key_identifier, id, 0, X509V3_ADD_DEFAULT) == 1;

    ASN1_OCTET_STRING_free(id);
    return ok;
}

/* The issuer's own subject key id when it has one (RFC 5280 4.2.1.1), else computed like ours. */
static bool add_authority_key_id(X509 *cert, const X509 *issuer) {
    AUTHORITY_KEYID *aki = AUTHORITY_KEYID_new();
    ASN1_OCTET_STRING *theirs = X509_get_ext_d2i(issuer, NID_subject_key_identifier, NULL, NULL);
    bool ok = aki != NULL;

    if (ok && theirs) {
        aki->keyid = theirs;
        theirs = NULL;
    } else if (ok) {
        aki->keyid = ASN1_OCTET_STRING_new();
        ok = aki->keyid && key_id(issuer, aki->keyid);
    }
    ok = ok &&
         X509_add1_ext_i2d(cert, NID_authority_key_identifier, aki, 0, X509V3_ADD_DEFAULT) == 1;
    ASN1_OCTET_STRING_free(theirs);
    AUTHORITY_KEYID_free(aki);
    return ok;
}

/* Adds one SAN entry; names are set as bytes, so that no character in them has a meaning. */
static bool push_name(GENERAL_NAMES *names, int type, const char *text) {
    ASN1_OCTET_STRING *ip = type == GEN_DNS ? a2i_IPADDRESS(text) : NULL;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ip ? ip : ASN1_IA5STRING_new();

    if (!name || !value || (!ip && !ASN1_STRING_set(value, text, -1))) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, ip ? GEN_IPADD : type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

/* RFC 5280 4.2.1.6 */
static bool add_alt_names(X509 *cert, const struct tb_pki_request *req) {
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;

    for (const char *const *n = req->dns_names; ok && n && *n; n++)
        ok = push_name(names, GEN_DNS, *n);
    if (ok && req->uri)
        ok = push_name(names, GEN_URI, req->uri);
    if (ok && sk_GENERAL_NAME_num(names) > 0)
        ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

/* The point of an EC key put in as it is (RFC 5480 2): OpenSSL 3 would write the key and parse it
 * again, which takes longer than to sign. False for other keys. */
static bool set_point(X509 *cert, EVP_PKEY *pub) {
    enum { POINT_MAX = 133 };
    char group[64];
    unsigned char *point = OPENSSL_malloc(POINT_MAX);
    size_t n = 0, len;
    int nid;

    if (point && EVP_PKEY_is_a(pub, "EC") &&
        EVP_PKEY_get_group_name(pub, group, sizeof group, &len) == 1 &&
        EVP_PKEY_get_octet_string_param(pub, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_MAX, &n) == 1 &&
        n > 0 && point[0] == POINT_CONVERSION_UNCOMPRESSED &&
        (nid = OBJ_txt2nid(group)) != NID_undef &&
        X509_PUBKEY_set0_param(X509_get_X509_PUBKEY(cert), OBJ_nid2obj(NID_X9_62_id_ecPublicKey),
                               V_ASN1_OBJECT, OBJ_nid2obj(nid), point, (int)n) == 1)
        return true; /* it has become the certificate's */
    OPENSSL_free(point);
    return false;
}

static bool set_key(X509 *cert, const struct tb_pki_request *req, EVP_PKEY *pub) {
    return (req->written_only && set_point(cert, pub)) || X509_set_pubkey(cert, pub) == 1;
}

static X509 *build(const struct profile *p, EVP_PKEY *pub, EVP_PKEY *signer) {
    const struct tb_pki_request *req = p->req;
    X509 *cert = X509_new();
    const X509_NAME *issuer_name;

    if (!cert)
        return NULL;
    if (!X509_set_version(cert, X509_VERSION_3) || !set_serial(cert) ||
        !set_time(X509_getm_notBefore(cert), req->not_before_s) ||
        !set_time(X509_getm_notAfter(cert), req->not_after_s) || !set_subject(cert, req) ||
        !set_key(cert, req, pub))
        goto fail;
    issuer_name = X509_get_subject_name(p->issuer ? p->issuer : cert);
    if (!X509_set_issuer_name(cert, issuer_name) || !add_basic_constraints(cert, p) ||
        !add_key_usage(cert, p) || !add_extended_key_usage(cert, req->role) ||
        !add_subject_key_id(cert) || !add_authority_key_id(cert, p->issuer ? p->issuer : cert) ||
        !add_alt_names(cert, req) || X509_sign(cert, signer, EVP_sha256()) <= 0)
        goto fail;
    return cert;

fail:
    X509_free(cert);
    return NULL;
}

static bool name_ok(const char *s) {
    return s && *s && strlen(s) <= NAME_MAX_BYTES;
}

/* Printable ASCII without blanks, at most 255 bytes: what a host name, address or URI may contain.
 */
static bool alt_name_ok(const char *s) {
    size_t n = 0;

    for (; s[n]; n++)
        if (s[n] <= ' ' || s[n] > '~' || n == 255)
            return false;
    return n > 0;
}

static bool request_ok(const struct tb_pki_request *req) {
    const long max = (long)YEARS_MAX * 366 * DAY_S;

    if (!name_ok(req->common_name) || (req->organization && !name_ok(req->organization)))
        return false;
    for (const char *const *n = req->dns_names; n && *n; n++)
        if (!alt_name_ok(*n))
            return false;
    if (req->uri && !alt_name_ok(req->uri))
        return false;
    return req->not_before_s >= -max && req->not_after_s <= max &&
           req->not_before_s < req->not_after_s;
}

/* Weak keys are refused, and EC keys with spelled-out parameters, which RFC 5480 2.1.1 forbids. */
static bool key_ok(EVP_PKEY *pub) {
    int is_explicit = 0;

    if (EVP_PKEY_get_security_bits(pub) < SECURITY_BITS_MIN)
        return false;
    if (EVP_PKEY_is_a(pub, "EC"))
        EVP_PKEY_get_int_param(pub, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit);
    return !is_explicit;
}

int tb_pki_ca_init(const char *common_name, long days, struct tb_pki_ca *ret) {
    struct tb_pki_request req = {
        .role = TB_PKI_CA, .common_name = common_name, .not_before_s = -CA_BACKDATE_S};
    const struct profile p = {&req, -1, NULL};
    struct tb_pki_ca ca = {NULL, NULL};

    if (days < 1 || days > (long)YEARS_MAX * 366)
        return TB_ERANGE;
    req.not_after_s = days * DAY_S;
    if (!request_ok(&req))
        return TB_ERANGE;
    ERR_set_mark();
    ca.key = EVP_EC_gen("P-256");
    if (ca.key)
        ca.cert = build(&p, ca.key, ca.key);
    ERR_pop_to_mark();
    if (!ca.cert) {
        tb_pki_ca_done(&ca);
        return TB_ECRYPTO;
    }
    *ret = ca;
    return 0;
}

void tb_pki_ca_done(struct tb_pki_ca *ca) {
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    *ca = (struct tb_pki_ca){NULL, NULL};
}

int tb_pki_issue(const struct tb_pki_ca *ca, EVP_PKEY *pub, const struct tb_pki_request *req,
                 X509 **ret) {
    const struct profile p = {req, 0, ca->cert};
    X509 *cert = NULL;
    int r = TB_ECRYPTO;

    if (!request_ok(req))
        return TB_ERANGE;
    ERR_set_mark();
    if (!key_ok(pub))
        r = TB_EUNSUP;
    else
        cert = build(&p, pub, ca->key);
    ERR_pop_to_mark();
    if (!cert)
        return r;
    *ret = cert;
    return 0;
}

int tb_pki_issue_csr(const struct tb_pki_ca *ca, X509_REQ *csr, const struct tb_pki_request *req,
                     X509 **ret) {
    EVP_PKEY *pub;
    int verified;

    ERR_set_mark();
    pub = X509_REQ_get0_pubkey(csr);
    verified = pub ? X509_REQ_verify(csr, pub) : 0;
    ERR_pop_to_mark();
    if (verified != 1)
        return TB_EPARSE;
    return tb_pki_issue(ca, pub, req, ret);
}

static EVP_PKEY *ec_public(const char *group, struct tb_span point) {
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL), *check = NULL;
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;

    if (bld && ctx && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.p, point.n))
        params = OSSL_PARAM_BLD_to_param(bld);
    if (params && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1)
        check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    /* Both curves have cofactor 1: what is on the curve is in the group. */
    if (!check || EVP_PKEY_public_check_quick(check) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EVP_PKEY_CTX_free(check);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    return key;
}

int tb_pki_ec_public(const char *group, struct tb_span point, EVP_PKEY **ret) {
    EVP_PKEY *key;

    if (strcmp(group, "P-256") != 0 && strcmp(group, "brainpoolP256r1") != 0)
        return TB_EUNSUP;
    if (point.n != 65 || point.p[0] != 0x04)
        return TB_EPARSE;
    ERR_set_mark();
    key = ec_public(group, point);
    ERR_pop_to_mark();
    if (!key)
        return TB_EPARSE;
    *ret = key;
    return 0;
}

int tb_pki_fingerprint(X509 *cert, uint8_t ret[32]) {
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int ok;

    ERR_set_mark();
    ok = X509_digest(cert, EVP_sha256(), md, &n);
    ERR_pop_to_mark();
    if (ok != 1 || n != 32)
        return TB_ECRYPTO;
    memcpy(ret, md, 32);
    return 0;
}

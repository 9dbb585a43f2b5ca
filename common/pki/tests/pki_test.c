/* The judge is OpenSSL's verifier with X509_V_FLAG_X509_STRICT, which is what Python 3.13 turns on.
 */
#include "tb/pki.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "tb/test.h"

enum { DAY_S = 86400 };

static struct tb_pki_ca ca;

static struct tb_pki_request request(enum tb_pki_role role) {
    return (struct tb_pki_request){.role = role,
                                   .common_name = "device 1",
                                   .organization = "Red",
                                   .not_before_s = -60,
                                   .not_after_s = 30L * DAY_S};
}

static X509 *issue(EVP_PKEY *pub, const struct tb_pki_request *req) {
    X509 *cert = NULL;

    assert_int_equal(tb_pki_issue(&ca, pub, req, &cert), 0);
    assert_non_null(cert);
    return cert;
}

/* The same key without its private half, as a card's public key arrives here. */
static EVP_PKEY *public_half(EVP_PKEY *key) {
    uint8_t *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    const uint8_t *p = der;
    EVP_PKEY *pub = d2i_PUBKEY(NULL, &p, n);

    assert_non_null(pub);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return pub;
}

/* X509_V_OK or what a strict verifier objects to. */
static int strict_verdict(X509 *cert, X509 *middle, X509 *root, int purpose) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = sk_X509_new_null();
    int verdict;

    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    if (middle)
        sk_X509_push(chain, middle);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, cert, chain), 1);
    X509_STORE_CTX_set_purpose(ctx, purpose);
    X509_verify_cert(ctx);
    verdict = X509_STORE_CTX_get_error(ctx);
    sk_X509_free(chain);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return verdict;
}

static void the_ca_is_a_strict_root(void **state) {
    (void)state;

    assert_int_equal(strict_verdict(ca.cert, NULL, ca.cert, X509_PURPOSE_CRL_SIGN), X509_V_OK);
    assert_int_equal(X509_check_ca(ca.cert), 1);
    assert_int_equal(X509_get_pathlen(ca.cert), -1);
    assert_int_equal(X509_get_key_usage(ca.cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_int_equal(X509_check_private_key(ca.cert, ca.key), 1);
    assert_true(EVP_PKEY_is_a(ca.key, "EC"));
}

static void every_kind_of_public_key_is_certified(void **state) {
    EVP_PKEY *const keys[] = {public_half(EVP_EC_gen("P-256")),
                              public_half(EVP_EC_gen("brainpoolP256r1")),
                              public_half(EVP_RSA_gen(2048))};
    const struct tb_pki_request client = request(TB_PKI_CLIENT), server = request(TB_PKI_SERVER);
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        X509 *c = issue(keys[i], &client), *s = issue(keys[i], &server);

        assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(c), keys[i]), 1);
        assert_int_equal(X509_get_signature_nid(c), NID_ecdsa_with_SHA256);
        assert_int_equal(strict_verdict(c, NULL, ca.cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
        assert_int_equal(strict_verdict(s, NULL, ca.cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
        assert_int_not_equal(strict_verdict(c, NULL, ca.cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
        assert_int_not_equal(strict_verdict(s, NULL, ca.cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
        X509_free(c);
        X509_free(s);
        EVP_PKEY_free(keys[i]);
    }
}

static void a_certificate_of_another_ca_is_refused(void **state) {
    struct tb_pki_ca other;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    const struct tb_pki_request req = request(TB_PKI_CLIENT);
    X509 *cert = issue(key, &req);
    (void)state;

    assert_int_equal(tb_pki_ca_init("Test CA", 10, &other), 0); /* the same name */
    assert_int_not_equal(strict_verdict(cert, NULL, other.cert, X509_PURPOSE_SSL_CLIENT),
                         X509_V_OK);
    tb_pki_ca_done(&other);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void an_issued_ca_issues_leaves_but_no_cas(void **state) {
    const struct tb_pki_request req = request(TB_PKI_CA), leaf_req = request(TB_PKI_CLIENT);
    EVP_PKEY *key = EVP_EC_gen("P-256"), *leaf_key = EVP_EC_gen("P-256");
    struct tb_pki_ca middle = {issue(key, &req), key};
    X509 *leaf = NULL;
    (void)state;

    assert_int_equal(X509_get_pathlen(middle.cert), 0);
    assert_int_equal(tb_pki_issue(&middle, leaf_key, &leaf_req, &leaf), 0);
    assert_int_equal(strict_verdict(leaf, middle.cert, ca.cert, X509_PURPOSE_SSL_CLIENT),
                     X509_V_OK);
    X509_free(leaf);
    EVP_PKEY_free(leaf_key);
    tb_pki_ca_done(&middle);
    assert_null(middle.cert);
}

static void extensions_are_those_of_the_profile(void **state) {
    static const struct {
        int nid;
        int critical; /* -1: absent */
    } want[] = {
        {NID_basic_constraints, 1}, {NID_key_usage, 1},
        {NID_ext_key_usage, 0},     {NID_subject_key_identifier, 0},
        {NID_subject_alt_name, -1}, {NID_authority_key_identifier, 0},
    };
    const struct tb_pki_request client = request(TB_PKI_CLIENT), server = request(TB_PKI_SERVER);
    EVP_PKEY *ec = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
    X509 *c = issue(ec, &client), *s = issue(rsa, &server);
    (void)state;

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        int at = X509_get_ext_by_NID(c, want[i].nid, -1);

        assert_int_equal(at < 0 ? -1 : X509_EXTENSION_get_critical(X509_get_ext(c, at)),
                         want[i].critical);
    }
    assert_int_equal(X509_get_ext_count(c), 5);
    assert_int_equal(X509_get_version(c), X509_VERSION_3);
    assert_int_equal(X509_check_ca(c), 0);
    assert_int_equal(X509_get_key_usage(c), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_key_usage(s), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    assert_int_equal(X509_get_extended_key_usage(c), XKU_SSL_CLIENT);
    assert_int_equal(X509_get_extended_key_usage(s), XKU_SSL_SERVER);
    assert_int_equal(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(c), X509_get0_subject_key_id(ca.cert)), 0);
    X509_free(c);
    X509_free(s);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
}

static void alternative_names_match_and_nothing_else_does(void **state) {
    static const char *const names[] = {"hub.example", "*.dev.example", "127.0.0.1", "::1", NULL};
    struct tb_pki_request req = request(TB_PKI_SERVER);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert;
    (void)state;

    req.dns_names = names;
    req.uri = "urn:imei:490154203237518";
    cert = issue(key, &req);
    assert_int_equal(X509_check_host(cert, "hub.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "a.dev.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_host(cert, "127.0.0.1", 0, 0, NULL), 0); /* no DNS name */
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.2", 0), 0);
    assert_int_equal(strict_verdict(cert, NULL, ca.cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void characters_in_names_have_no_meaning(void **state) {
    static const char *const names[] = {"a.example,DNS:evil.example", "@section", NULL};
    struct tb_pki_request req = request(TB_PKI_CLIENT);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    GENERAL_NAMES *san;
    char cn[80];
    X509 *cert;
    (void)state;

    req.common_name = "x/CN=admin, O=\xC3\x84"
                      "rger"; /* UTF-8 */
    req.dns_names = names;
    cert = issue(key, &req);
    assert_int_equal(X509_check_host(cert, "evil.example", 0, 0, NULL), 0);
    san = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(san), 2);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 2);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, req.common_name);
    GENERAL_NAMES_free(san);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void serials_are_positive_long_and_never_the_same(void **state) {
    enum { COUNT = 50 };
    const struct tb_pki_request req = request(TB_PKI_CLIENT);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certs[COUNT];
    (void)state;

    for (int i = 0; i < COUNT; i++) {
        const ASN1_INTEGER *serial;

        certs[i] = issue(key, &req);
        serial = X509_get0_serialNumber(certs[i]);
        assert_int_equal(ASN1_STRING_type(serial), V_ASN1_INTEGER); /* not a negative one */
        assert_int_equal(ASN1_STRING_length(serial), 16);
        assert_int_equal(ASN1_STRING_get0_data(serial)[0] & 0x80, 0);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certs[j])), 0);
    }
    for (int i = 0; i < COUNT; i++)
        X509_free(certs[i]);
    EVP_PKEY_free(key);
}

/* Seconds from t to now, within the two seconds this test may take. */
static void assert_about(const ASN1_TIME *t, long offset_s) {
    int days, secs;

    assert_int_equal(ASN1_TIME_diff(&days, &secs, NULL, t), 1);
    assert_in_range((long)days * DAY_S + secs - offset_s + 10, 0, 20);
}

static void validity_is_relative_to_now(void **state) {
    struct tb_pki_request req = request(TB_PKI_CLIENT);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert;
    (void)state;

    req.not_before_s = -100L * DAY_S - 7;
    req.not_after_s = 300L * 366 * DAY_S + 11; /* beyond 2049: another ASN.1 type */
    cert = issue(key, &req);
    assert_about(X509_get0_notBefore(cert), req.not_before_s);
    assert_about(X509_get0_notAfter(cert), req.not_after_s);
    assert_int_equal(ASN1_STRING_type(X509_get0_notBefore(cert)), V_ASN1_UTCTIME);
    assert_int_equal(ASN1_STRING_type(X509_get0_notAfter(cert)), V_ASN1_GENERALIZEDTIME);
    assert_int_equal(strict_verdict(cert, NULL, ca.cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    X509_free(cert);
    req.not_before_s = -20;
    req.not_after_s = -10;
    cert = issue(key, &req);
    assert_int_equal(strict_verdict(cert, NULL, ca.cert, X509_PURPOSE_SSL_CLIENT),
                     X509_V_ERR_CERT_HAS_EXPIRED);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void requests_outside_the_limits_are_refused(void **state) {
    static const char *const blank[] = {"a b", NULL}, *const empty[] = {"", NULL},
                             *const foreign[] = {"h\xC3\xBC"
                                                 "b",
                                                 NULL};
    const struct tb_pki_request good = request(TB_PKI_CLIENT);
    struct tb_pki_request bad[12];
    char long_name[66], long_uri[300];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = NULL;
    (void)state;

    memset(long_name, 'x', 65);
    long_name[65] = '\0';
    memset(long_uri, 'u', 256);
    long_uri[256] = '\0';
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].common_name = NULL;
    bad[1].common_name = "";
    bad[2].common_name = long_name;
    bad[3].organization = long_name;
    bad[4].organization = "";
    bad[5].dns_names = blank;
    bad[6].dns_names = empty;
    bad[7].dns_names = foreign;
    bad[8].uri = long_uri;
    bad[9].not_after_s = bad[9].not_before_s;
    bad[10].not_after_s = 2000L * 366 * DAY_S;
    bad[11].not_before_s = -2000L * 366 * DAY_S;
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(tb_pki_issue(&ca, key, &bad[i], &cert), TB_ERANGE);
    assert_null(cert);
    EVP_PKEY_free(key);
}

static void a_ca_with_bad_parameters_is_refused(void **state) {
    struct tb_pki_ca none = {NULL, NULL};
    (void)state;

    assert_int_equal(tb_pki_ca_init("", 10, &none), TB_ERANGE);
    assert_int_equal(tb_pki_ca_init("x", 0, &none), TB_ERANGE);
    assert_int_equal(tb_pki_ca_init("x", 400000, &none), TB_ERANGE);
    assert_int_equal(tb_pki_ca_init("\xFF\xFE", 10, &none), TB_ECRYPTO); /* not UTF-8 */
    assert_null(none.cert);
    assert_null(none.key);
    tb_pki_ca_done(&none);
}

static EVP_PKEY *explicit_curve(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    uint8_t *der = NULL;
    const uint8_t *p;
    int n;

    assert_int_equal(EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, "explicit"),
                     1);
    n = i2d_PUBKEY(key, &der);
    p = der;
    EVP_PKEY_free(key);
    key = d2i_PUBKEY(NULL, &p, n);
    assert_non_null(key);
    OPENSSL_free(der);
    return key;
}

static void weak_and_unnamed_keys_are_refused(void **state) {
    const struct tb_pki_request req = request(TB_PKI_CLIENT);
    EVP_PKEY *keys[] = {EVP_RSA_gen(1024), EVP_EC_gen("secp160r1"), explicit_curve()};
    X509 *cert = NULL;
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        assert_non_null(keys[i]);
        assert_int_equal(tb_pki_issue(&ca, keys[i], &req, &cert), TB_EUNSUP);
        assert_null(cert);
        EVP_PKEY_free(keys[i]);
    }
}

static X509_REQ *csr_for(EVP_PKEY *pub, EVP_PKEY *signer) {
    X509_REQ *csr = X509_REQ_new();

    X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(csr), NID_commonName, MBSTRING_UTF8,
                               (const unsigned char *)"admin", -1, -1, 0);
    assert_int_equal(X509_REQ_set_pubkey(csr, pub), 1);
    assert_true(X509_REQ_sign(csr, signer, EVP_sha256()) > 0);
    return csr;
}

static void a_csr_proves_its_key_and_says_nothing_else(void **state) {
    const struct tb_pki_request req = request(TB_PKI_CLIENT);
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    X509_REQ *good = csr_for(key, key), *stolen = csr_for(key, other), *empty = X509_REQ_new();
    X509 *cert = NULL;
    char cn[32];
    (void)state;

    assert_int_equal(tb_pki_issue_csr(&ca, stolen, &req, &cert), TB_EPARSE);
    assert_int_equal(tb_pki_issue_csr(&ca, empty, &req, &cert), TB_EPARSE);
    assert_null(cert);
    assert_int_equal(tb_pki_issue_csr(&ca, good, &req, &cert), 0);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(cert), key), 1);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, "device 1");
    X509_free(cert);
    X509_REQ_free(good);
    X509_REQ_free(stolen);
    X509_REQ_free(empty);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

static void points_become_keys_when_they_are_on_the_curve(void **state) {
    static const char *const groups[] = {"P-256", "brainpoolP256r1"};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *key = EVP_EC_gen(groups[i]), *pub = NULL;
        uint8_t point[65], bad[65];
        size_t n = 0;

        assert_int_equal(
            EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n),
            1);
        assert_int_equal(n, 65);
        for (size_t cut = 0; cut < 65; cut++)
            assert_int_equal(tb_pki_ec_public(groups[i], tb_span(point, cut), &pub), TB_EPARSE);
        memcpy(bad, point, 65);
        bad[64] ^= 1;
        assert_int_equal(tb_pki_ec_public(groups[i], tb_span(bad, 65), &pub), TB_EPARSE);
        memcpy(bad, point, 65);
        bad[0] = 0x06; /* hybrid form */
        assert_int_equal(tb_pki_ec_public(groups[i], tb_span(bad, 65), &pub), TB_EPARSE);
        assert_int_equal(tb_pki_ec_public(groups[1 - i], tb_span(point, 65), &pub), TB_EPARSE);
        assert_int_equal(tb_pki_ec_public("P-384", tb_span(point, 65), &pub), TB_EUNSUP);
        assert_null(pub);
        assert_int_equal(tb_pki_ec_public(groups[i], tb_span(point, 65), &pub), 0);
        assert_int_equal(EVP_PKEY_eq(pub, key), 1);
        EVP_PKEY_free(pub);
        EVP_PKEY_free(key);
    }
}

static void the_fingerprint_is_sha256_of_the_der(void **state) {
    uint8_t got[32], want[32], *der = NULL;
    int n = i2d_X509(ca.cert, &der);
    (void)state;

    assert_int_equal(EVP_Digest(der, (size_t)n, want, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(tb_pki_fingerprint(ca.cert, got), 0);
    assert_memory_equal(got, want, 32);
    OPENSSL_free(der);
}

/* A TLS library in the same thread takes what lies in the queue for its own failure. */
static void failures_leave_the_error_queue_as_it_was(void **state) {
    struct tb_pki_ca none;
    EVP_PKEY *key = NULL;
    uint8_t point[65] = {4, 1};
    (void)state;

    ERR_clear_error();
    assert_int_equal(tb_pki_ec_public("P-256", tb_span(point, 65), &key), TB_EPARSE);
    assert_int_equal(tb_pki_ca_init("\xFF\xFE", 10, &none), TB_ECRYPTO);
    assert_int_equal(ERR_peek_error(), 0);
    ERR_raise(ERR_LIB_USER, 77);
    assert_int_equal(tb_pki_ec_public("P-256", tb_span(point, 65), &key), TB_EPARSE);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 77);
    assert_int_equal(ERR_get_error(), 0);
}

static int make_ca(void **state) {
    (void)state;
    return tb_pki_ca_init("Test CA", 1000, &ca);
}

static int drop_ca(void **state) {
    (void)state;
    tb_pki_ca_done(&ca);
    return 0;
}

/* Faster, and the same. */
static void a_certificate_that_is_only_written_holds_the_same_key(void **state) {
    static const char *const groups[] = {"P-256", "brainpoolP256r1", "P-384"};
    struct tb_pki_ca issuer;
    (void)state;

    assert_int_equal(tb_pki_ca_init("CA", 10, &issuer), 0);
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *key = EVP_EC_gen(groups[i]);
        struct tb_pki_request req = {
            .role = TB_PKI_CLIENT, .common_name = "d", .not_after_s = 1000, .written_only = true};
        unsigned char *der = NULL, *spki[2] = {NULL, NULL};
        const unsigned char *p;
        X509 *cert, *parsed;
        int n;

        assert_int_equal(tb_pki_issue(&issuer, key, &req, &cert), 0);
        n = i2d_X509(cert, &der);
        p = der;
        parsed = d2i_X509(NULL, &p, n);
        assert_non_null(parsed);
        assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(parsed), key), 1);
        assert_int_equal(X509_verify(parsed, issuer.key), 1);
        n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(parsed), &spki[0]);
        assert_int_equal(i2d_PUBKEY(key, &spki[1]), n);
        assert_memory_equal(spki[0], spki[1], (size_t)n);
        OPENSSL_free(spki[0]);
        OPENSSL_free(spki[1]);
        OPENSSL_free(der);
        X509_free(parsed);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    tb_pki_ca_done(&issuer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_that_is_only_written_holds_the_same_key),
        cmocka_unit_test(the_ca_is_a_strict_root),
        cmocka_unit_test(every_kind_of_public_key_is_certified),
        cmocka_unit_test(a_certificate_of_another_ca_is_refused),
        cmocka_unit_test(an_issued_ca_issues_leaves_but_no_cas),
        cmocka_unit_test(extensions_are_those_of_the_profile),
        cmocka_unit_test(alternative_names_match_and_nothing_else_does),
        cmocka_unit_test(characters_in_names_have_no_meaning),
        cmocka_unit_test(serials_are_positive_long_and_never_the_same),
        cmocka_unit_test(validity_is_relative_to_now),
        cmocka_unit_test(requests_outside_the_limits_are_refused),
        cmocka_unit_test(a_ca_with_bad_parameters_is_refused),
        cmocka_unit_test(weak_and_unnamed_keys_are_refused),
        cmocka_unit_test(a_csr_proves_its_key_and_says_nothing_else),
        cmocka_unit_test(points_become_keys_when_they_are_on_the_curve),
        cmocka_unit_test(the_fingerprint_is_sha256_of_the_der),
        cmocka_unit_test(failures_leave_the_error_queue_as_it_was),
    };

    return cmocka_run_group_tests(tests, make_ca, drop_ca);
}

#include "tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static void must(int ok) {
    if (!ok) {
        ERR_print_errors_fp(stderr);
        abort();
    }
}

/* ---- certificates ---- */

static X509 *certify(EVP_PKEY *key, const char *name, EVP_PKEY *issuer_key, X509 *issuer) {
    static long serial;
    X509 *x = X509_new();
    X509_NAME *subject;

    must(x != NULL);
    subject = X509_get_subject_name(x);
    must(X509_set_version(x, X509_VERSION_3) &&
         ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial) &&
         X509_gmtime_adj(X509_getm_notBefore(x), -60) != NULL &&
         X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL &&
         X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                    -1, 0) &&
         X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject) &&
         X509_set_pubkey(x, key));
    if (!issuer) {
        X509_EXTENSION *e =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

        must(e != NULL && X509_add_ext(x, e, -1));
        X509_EXTENSION_free(e);
    }
    must(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return x;
}

void tls_pki_init(struct tls_pki *pki, const char *curve) {
    pki->ca_key = EVP_EC_gen(curve);
    pki->server_key = EVP_EC_gen("P-256");
    must(pki->ca_key && pki->server_key);
    pki->ca = certify(pki->ca_key, "root", pki->ca_key, NULL);
    pki->server = certify(pki->server_key, "server", pki->ca_key, pki->ca);
}

X509 *tls_pki_issue(const struct tls_pki *pki, EVP_PKEY *key, const char *name) {
    return certify(key, name, pki->ca_key, pki->ca);
}

void tls_pki_done(struct tls_pki *pki) {
    EVP_PKEY_free(pki->ca_key);
    EVP_PKEY_free(pki->server_key);
    X509_free(pki->ca);
    X509_free(pki->server);
}

/* ---- pre-shared keys ---- */

static unsigned psk_client(SSL *ssl, const char *hint, char *identity, unsigned identity_cap,
                           unsigned char *psk, unsigned cap) {
    const struct tls_setup *setup = SSL_get_app_data(ssl);
    size_t n = strlen(setup->psk);

    (void)hint;
    if (identity_cap < 7 || n > cap)
        return 0;
    memcpy(identity, "device", 7);
    memcpy(psk, setup->psk, n);
    return (unsigned)n;
}

static unsigned psk_server(SSL *ssl, const char *identity, unsigned char *psk, unsigned cap) {
    const struct tls_setup *setup = SSL_get_app_data(ssl);

    if (strcmp(identity, "device") != 0 || setup->server_psk_len > cap)
        return 0;
    memcpy(psk, setup->server_psk, setup->server_psk_len);
    return (unsigned)setup->server_psk_len;
}

/* ---- contexts ---- */

static int accept_any(int ok, X509_STORE_CTX *store) {
    (void)ok;
    (void)store;
    return 1;
}

static SSL_CTX *context(OSSL_LIB_CTX *ctx, const struct tls_setup *setup, bool server) {
    const SSL_METHOD *method;
    SSL_CTX *c;

    if (setup->version == DTLS1_2_VERSION)
        method = server ? DTLS_server_method() : DTLS_client_method();
    else
        method = server ? TLS_server_method() : TLS_client_method();
    c = SSL_CTX_new_ex(ctx, NULL, method);
    if (!c)
        return NULL;
    SSL_CTX_set_security_level(c, 0);
    must(SSL_CTX_set_min_proto_version(c, setup->version) &&
         SSL_CTX_set_max_proto_version(c, setup->version));
    if (setup->ciphers && setup->version == TLS1_3_VERSION)
        must(SSL_CTX_set_ciphersuites(c, setup->ciphers));
    else if (setup->ciphers)
        must(SSL_CTX_set_cipher_list(c, setup->ciphers));
    SSL_CTX_set_options(c, SSL_OP_ALLOW_NO_DHE_KEX | SSL_OP_NO_QUERY_MTU);
    if (setup->no_extended_master_secret)
        SSL_CTX_set_options(c, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    return c;
}

/* The same certificate as the client's library context has it: what is to be done by the card is
 * decided there. */
static X509 *moved(OSSL_LIB_CTX *ctx, X509 *x) {
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    const unsigned char *p = der;
    X509 *copy = X509_new_ex(ctx, NULL);

    must(n > 0);
    if (copy && !d2i_X509(&copy, &p, n)) {
        X509_free(copy);
        copy = NULL;
    }
    OPENSSL_free(der);
    return copy;
}

static long set_groups(SSL_CTX *c, const char *list) {
    return SSL_CTX_ctrl(c, SSL_CTRL_SET_GROUPS_LIST, 0, (void *)(uintptr_t)(list ? list : "P-256"));
}

/* Of what the client allocates anything may fail. */
static bool client(struct tls_pair *p, const struct tls_setup *setup) {
    SSL_CTX *c = p->client_ctx = context(setup->ctx, setup, false);
    X509 *ca, *cert;
    bool ok;

    if (!c || !set_groups(c, setup->groups))
        return false;
    if (setup->psk) {
        SSL_CTX_set_psk_client_callback(c, psk_client);
        return true;
    }
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    ca = moved(setup->ctx, setup->pki->ca);
    ok = ca && X509_STORE_add_cert(SSL_CTX_get_cert_store(c), ca);
    X509_free(ca);
    if (!ok)
        return false;
    if (!setup->auto_chain)
        SSL_CTX_set_mode(c, SSL_MODE_NO_AUTO_CHAIN);
    if (!setup->cert)
        return true;
    cert = moved(setup->ctx, setup->cert);
    ok = cert && SSL_CTX_use_certificate(c, cert) > 0 && SSL_CTX_use_PrivateKey(c, setup->key) > 0;
    X509_free(cert);
    return ok;
}

static void server(struct tls_pair *p, const struct tls_setup *setup) {
    SSL_CTX *c = p->server_ctx = context(NULL, setup, true);

    must(c && set_groups(c, setup->server_groups));
    SSL_CTX_set_num_tickets(c, 0);
    if (setup->server_prefers)
        SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    if (setup->psk) {
        SSL_CTX_set_psk_server_callback(c, psk_server);
        return;
    }
    must(SSL_CTX_use_certificate(c, setup->pki->server) > 0 &&
         SSL_CTX_use_PrivateKey(c, setup->pki->server_key) > 0);
    if (setup->cert)
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
}

static BIO *queue(void) {
    BIO *b = BIO_new(BIO_s_mem());

    must(b != NULL);
    BIO_set_mem_eof_return(b, -1);
    return b;
}

void tls_pair_init(struct tls_pair *p, const struct tls_setup *setup) {
    BIO *to_server = queue(), *to_client = queue();

    *p = (struct tls_pair){0};
    server(p, setup);
    p->server = SSL_new(p->server_ctx);
    must(p->server && BIO_up_ref(to_server) && BIO_up_ref(to_client));
    SSL_set_bio(p->server, to_server, to_client);
    SSL_set_app_data(p->server, (void *)(uintptr_t)setup);
    SSL_set_mtu(p->server, 1400);
    SSL_set_accept_state(p->server);
    if (client(p, setup))
        p->client = SSL_new(p->client_ctx);
    if (!p->client) {
        BIO_free(to_server);
        BIO_free(to_client);
        return;
    }
    SSL_set_bio(p->client, to_client, to_server);
    SSL_set_app_data(p->client, (void *)(uintptr_t)setup);
    SSL_set_mtu(p->client, 1400);
    SSL_set_connect_state(p->client);
}

void tls_pair_done(struct tls_pair *p) {
    SSL_free(p->client);
    SSL_free(p->server);
    SSL_CTX_free(p->client_ctx);
    SSL_CTX_free(p->server_ctx);
}

/* ---- handshake ---- */

static int advance(SSL *ssl) {
    int r = SSL_do_handshake(ssl);

    if (r == 1)
        return 1;
    r = SSL_get_error(ssl, r);
    return r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

int tls_pair_step(struct tls_pair *p) {
    int c = p->client ? advance(p->client) : -1, s;

    if (c < 0)
        return -1;
    s = advance(p->server);
    return s < 0 ? -1 : c && s;
}

static bool passes(SSL *from, SSL *to) {
    char byte = 0;

    return SSL_write(from, "x", 1) == 1 && SSL_read(to, &byte, 1) == 1 && byte == 'x';
}

bool tls_pair_shake(struct tls_pair *p) {
    int r = 0;

    for (int i = 0; i < 20 && r == 0; i++)
        r = tls_pair_step(p);
    return r == 1 && passes(p->client, p->server) && passes(p->server, p->client);
}

bool tls_shake(const struct tls_setup *setup) {
    struct tls_pair p;
    bool ok;

    tls_pair_init(&p, setup);
    ok = tls_pair_shake(&p);
    tls_pair_done(&p);
    return ok;
}

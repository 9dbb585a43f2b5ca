#include "bed.h"

#include <assert.h>
#include <fcntl.h>
#include <mbedtls/error.h>
#include <mbedtls/psa_util.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "simcard/personalise.h"
#include "tb/pki.h"

const uint8_t bed_psk[BED_PSK] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

_Thread_local bool bed_in_client;

/* ---- card ---- */

static int transmit(void *user, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    struct bed_card *c = user;
    struct tb_buf out = {.p = rsp, .cap = cap};
    bool in_client = bed_in_client;
    int r;

    bed_in_client = false;
    if (c->trap)
        c->trap(c->trap_user);
    bed_in_client = in_client;
    c->apdus++;
    if (c->at_ins && (c->gone || cmd[1] == c->at_ins)) {
        if (c->skip > 0 && !c->gone) {
            c->skip--;
        } else {
            c->failed++;
            if (!c->sw) {
                c->gone = true;
                return IOTSAFE_E_ABSENT;
            }
            rsp[0] = (uint8_t)(c->sw >> 8);
            rsp[1] = (uint8_t)c->sw;
            return 2;
        }
    }
    bed_in_client = false;
    r = card_transact(c->card, tb_span(cmd, n), &out);
    bed_in_client = in_client;
    assert(r == 0);
    (void)r;
    return (int)out.n;
}

static void object(struct card_nvm *nvm, struct card_object_spec spec) {
    int r = card_perso_object(nvm, 0, &spec);

    assert(r == 0);
    (void)r;
}

static void container(struct card_nvm *nvm, uint8_t id) {
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = tb_span(&id, 1),
                                          .access = TB_SAFE_UPDATE,
                                          .key_type = TB_SAFE_P256_VOLATILE,
                                          .crypto = TB_SAFE_CAN_AGREE | TB_SAFE_CAN_GENERATE});
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = tb_span(&id, 1),
                                          .access = TB_SAFE_READ | TB_SAFE_UPDATE,
                                          .key_type = TB_SAFE_P256_VOLATILE,
                                          .crypto = TB_SAFE_CAN_AGREE});
}

static void personalise(struct card_nvm *nvm, struct tb_buf *ret_point) {
    static const uint8_t aid[] = {0xA0, 0x00, 0x00, 0x05, 0x59, 0x00, 0x10};
    int r = card_perso_applet(nvm, tb_span(aid, sizeof aid), 0, card_profile_find("gsma"));

    assert(r == 0);
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x01),
                                          .label = tb_span_str("client key"),
                                          .key_type = TB_SAFE_P256,
                                          .crypto = TB_SAFE_CAN_SIGN | TB_SAFE_CAN_GENERATE});
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x01),
                                          .label = tb_span_str("client key"),
                                          .access = TB_SAFE_READ,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = TB_SAFE_CAN_SIGN});
    container(nvm, 0x04);
    container(nvm, 0x14);
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x05),
                                          .label = tb_span_str("peer key"),
                                          .access = TB_SAFE_READ | TB_SAFE_UPDATE,
                                          .key_type = TB_SAFE_P256_VOLATILE,
                                          .crypto = TB_SAFE_CAN_SIGN | TB_SAFE_CAN_AGREE});
    object(nvm, (struct card_object_spec){.cls = CARD_SECRET,
                                          .id = TB_BYTES(0x06),
                                          .label = tb_span_str("psk"),
                                          .key_type = TB_SAFE_HMAC,
                                          .crypto = TB_SAFE_CAN_DERIVE,
                                          .value = tb_span(bed_psk, BED_PSK)});
    r = card_perso_generate(nvm, 0, TB_BYTES(0x01), ret_point);
    assert(r == 0);
    (void)r;
}

/* What a server that knows the card trusts: a certificate for its key. */
static X509 *certify(const char *name, EVP_PKEY *subject, EVP_PKEY *issuer, const char *san) {
    X509 *x = X509_new();
    X509_NAME *n = X509_get_subject_name(x);
    int ok;

    X509_set_version(x, san ? X509_VERSION_3 : X509_VERSION_1); /* the latter may be a CA's */
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, n);
    X509_set_pubkey(x, subject);
    if (san) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);

        X509_add_ext(x, e, -1);
        X509_EXTENSION_free(e);
    }
    ok = X509_sign(x, issuer, EVP_sha256());
    assert(ok > 0);
    (void)ok;
    return x;
}

void bed_card_init(struct bed_card *c) {
    struct iotsafe_transport *t = NULL;
    struct card_config with_nvm = {0};
    uint8_t room[CARD_RSA_SPKI_MAX];
    struct tb_buf point = TB_BUF(room);
    struct tb_span atr;
    EVP_PKEY *pub = NULL, *issuer = EVP_EC_gen("P-256");
    int r;

    memset(c, 0, sizeof *c);
    c->nvm = card_nvm_mem_new(0);
    personalise(c->nvm, &point);
    with_nvm.nvm = c->nvm;
    c->card = card_new(&with_nvm, &r);
    assert(c->card);
    r = card_power_on(c->card, &atr);
    assert(r == 0);
    r = tb_pki_ec_public("P-256", tb_buf_span(&point), &pub);
    assert(r == 0);
    c->cert = certify("card", pub, issuer, NULL);
    EVP_PKEY_free(pub);
    EVP_PKEY_free(issuer);
    r = iotsafe_transport_mem(transmit, c, &t);
    assert(r == 0);
    r = iotsafe_open(t, NULL, &c->client);
    assert(r == 0);
    c->host.client = c->client;
    r = iotsafe_slots_discover(c->client, &c->host.slots);
    assert(r == 0 && c->host.slots.n_own == 2);
    (void)r;
}

void bed_card_done(struct bed_card *c) {
    iotsafe_abandon(c->client);
    card_free(c->card);
    card_nvm_free(c->nvm);
    X509_free(c->cert);
}

unsigned bed_card_slots_taken(const struct bed_card *c) {
    unsigned n = 0;

    for (unsigned bits = c->host.slots.taken; bits; bits &= bits - 1)
        n++;
    return n;
}

/* ---- server ---- */

static unsigned int give_psk12(SSL *ssl, const char *identity, unsigned char *psk,
                               unsigned int max) {
    (void)ssl;
    if (strcmp(identity, "device") != 0 || max < BED_PSK)
        return 0;
    memcpy(psk, bed_psk, BED_PSK);
    return BED_PSK;
}

static int give_psk13(SSL *ssl, const unsigned char *identity, size_t n, SSL_SESSION **ret) {
    const unsigned char suite[] = {0x13, 0x01}; /* AES-128-GCM with SHA-256 */
    SSL_SESSION *s;

    *ret = NULL;
    if (n != 6 || memcmp(identity, "device", 6) != 0)
        return 1;
    s = SSL_SESSION_new();
    SSL_SESSION_set1_master_key(s, bed_psk, BED_PSK);
    SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, suite));
    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION);
    *ret = s;
    return 1;
}

static int accept_any(int ok, X509_STORE_CTX *ctx) {
    (void)ok;
    (void)ctx;
    return 1; /* which key it is, is looked at afterwards */
}

static void server_init(struct bed *bed) {
    const struct bed_options *o = &bed->o;
    EVP_PKEY *other = EVP_EC_gen("P-256");
    int ok = 1;

    bed->server_key =
        o->server_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen(o->server_p384 ? "P-384" : "P-256");
    bed->server_cert = certify("server", bed->server_key, bed->server_key, "DNS:server");
    bed->other_cert = certify("server", other, other, NULL);
    EVP_PKEY_free(other);
    bed->ctx = SSL_CTX_new(o->dtls ? DTLS_server_method() : TLS_server_method());
    if (!o->dtls) {
        SSL_CTX_set_min_proto_version(bed->ctx, o->version);
        SSL_CTX_set_max_proto_version(bed->ctx, o->version);
    }
    SSL_CTX_set_num_tickets(bed->ctx, 0);
    SSL_CTX_set_options(bed->ctx, SSL_OP_ALLOW_NO_DHE_KEX | SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
    if (o->ciphers)
        ok = SSL_CTX_set_cipher_list(bed->ctx, o->ciphers);
    assert(ok == 1);
    if (o->psk) {
        SSL_CTX_set_psk_server_callback(bed->ctx, give_psk12);
        SSL_CTX_set_psk_find_session_callback(bed->ctx, give_psk13);
    } else {
        SSL_CTX_use_certificate(bed->ctx, bed->server_cert);
        SSL_CTX_use_PrivateKey(bed->ctx, bed->server_key);
        SSL_CTX_set_verify(bed->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
    }
    (void)ok;
}

/* ---- client ---- */

static int parse_x509(mbedtls_x509_crt *to, X509 *x) {
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der), r;

    assert(n > 0);
    r = mbedtls_x509_crt_parse_der(to, der, (size_t)n);
    OPENSSL_free(der);
    return r;
}

static int suite_for(const struct bed_options *o) {
    if (o->ciphersuite)
        return o->ciphersuite;
    if (o->version == TLS1_3_VERSION)
        return MBEDTLS_TLS1_3_AES_128_GCM_SHA256;
    if (o->server_rsa)
        return MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    if (!o->psk)
        return MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    return o->plain ? MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256
                    : MBEDTLS_TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256;
}

static int client_credential(struct bed *bed) {
    const struct iotsafe_ref key = iotsafe_id1(1), psk = iotsafe_id1(6);
    int r;

    if (bed->o.psk) {
        if (bed->o.software)
            return mbedtls_ssl_conf_psk(&bed->conf, bed_psk, BED_PSK,
                                        (const unsigned char *)"device", 6);
        r = iotsafe_psa_psk(&psk, bed->token);
        return r < 0 ? r
                     : mbedtls_ssl_conf_psk(&bed->conf, bed->token, sizeof bed->token,
                                            (const unsigned char *)"device", 6);
    }
    if (bed->o.software) {
        unsigned char *der = NULL;
        EVP_PKEY *own = EVP_EC_gen("P-256");
        X509 *x = certify("software", own, own, NULL);
        int n = i2d_PrivateKey(own, &der);

        r = mbedtls_pk_parse_key(&bed->key, der, (size_t)n, NULL, 0, mbedtls_psa_get_random,
                                 MBEDTLS_PSA_RANDOM_STATE);
        if (r == 0)
            r = parse_x509(&bed->own, x);
        OPENSSL_free(der);
        X509_free(x);
        EVP_PKEY_free(own);
    } else {
        r = iotsafe_psa_key(&key, &bed->key_id);
        if (r == 0)
            r = mbedtls_pk_setup_opaque(&bed->key, bed->key_id);
        if (r == 0)
            r = parse_x509(&bed->own, bed->card->cert);
    }
    return r < 0 ? r : mbedtls_ssl_conf_own_cert(&bed->conf, &bed->own, &bed->key);
}

static int client_init(struct bed *bed) {
    static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0};
    static const uint16_t two_groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
                                          MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0};
    static const uint16_t algs[] = {
        MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
        MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256, 0};
    const struct bed_options *o = &bed->o;
    int r = mbedtls_ssl_config_defaults(&bed->conf, MBEDTLS_SSL_IS_CLIENT,
                                        o->dtls ? MBEDTLS_SSL_TRANSPORT_DATAGRAM
                                                : MBEDTLS_SSL_TRANSPORT_STREAM,
                                        MBEDTLS_SSL_PRESET_DEFAULT);

    if (r < 0)
        return r;
    mbedtls_ssl_conf_rng(&bed->conf, iotsafe_psa_random, NULL);
    bed->suites[0] = suite_for(o);
    mbedtls_ssl_conf_ciphersuites(&bed->conf, bed->suites);
    mbedtls_ssl_conf_groups(&bed->conf, o->many_groups ? two_groups : groups);
    mbedtls_ssl_conf_sig_algs(&bed->conf, algs);
    mbedtls_ssl_conf_extended_master_secret(
        &bed->conf, o->no_ems ? MBEDTLS_SSL_EXTENDED_MS_DISABLED : MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    mbedtls_ssl_conf_min_tls_version(&bed->conf, o->version == TLS1_3_VERSION
                                                     ? MBEDTLS_SSL_VERSION_TLS1_3
                                                     : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(&bed->conf, o->version == TLS1_3_VERSION
                                                     ? MBEDTLS_SSL_VERSION_TLS1_3
                                                     : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_tls13_key_exchange_modes(
        &bed->conf, (int)(!o->psk    ? MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL
                          : o->plain ? MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK
                                     : MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL));
    if (!o->psk) {
        r = parse_x509(&bed->ca, o->bad_server ? bed->other_cert : bed->server_cert);
        if (r < 0)
            return r;
        mbedtls_ssl_conf_ca_chain(&bed->conf, &bed->ca, NULL);
    }
    return client_credential(bed);
}

int bed_init(struct bed *bed, struct bed_card *card, const struct bed_options *o) {
    int r;

    memset(bed, 0, sizeof *bed);
    bed->card = card;
    bed->o = *o;
    mbedtls_ssl_config_init(&bed->conf);
    mbedtls_x509_crt_init(&bed->own);
    mbedtls_x509_crt_init(&bed->ca);
    mbedtls_pk_init(&bed->key);
    server_init(bed);
    bed_in_client = true;
    r = client_init(bed);
    bed_in_client = false;
    if (r < 0)
        bed_done(bed);
    return r;
}

void bed_done(struct bed *bed) {
    mbedtls_ssl_config_free(&bed->conf);
    mbedtls_pk_free(&bed->key);
    mbedtls_x509_crt_free(&bed->own);
    mbedtls_x509_crt_free(&bed->ca);
    iotsafe_psa_forget_key(bed->key_id);
    iotsafe_psa_forget_psk(bed->token);
    SSL_CTX_free(bed->ctx);
    X509_free(bed->server_cert);
    X509_free(bed->other_cert);
    EVP_PKEY_free(bed->server_key);
}

/* ---- one connection ---- */

static int on_send(void *user, const unsigned char *p, size_t n) {
    ssize_t r = send(*(int *)user, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

    return r < 0 ? MBEDTLS_ERR_SSL_WANT_WRITE : (int)r;
}

static int on_recv(void *user, unsigned char *p, size_t n) {
    ssize_t r = recv(*(int *)user, p, n, MSG_DONTWAIT);

    return r < 0 ? MBEDTLS_ERR_SSL_WANT_READ : (int)r;
}

/* No time passes in here. */
static void set_timer(void *user, uint32_t some, uint32_t all) {
    *(bool *)user = all != 0;
    (void)some;
}

static int get_timer(void *user) {
    return *(bool *)user ? 0 : -1;
}

static bool is_waiting(int r) {
    return r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE;
}

static int step(mbedtls_ssl_context *client) {
    int r;

    bed_in_client = true;
    r = mbedtls_ssl_handshake(client);
    bed_in_client = false;
    return r;
}

/* Both sides by turns until neither has more to do. */
static void handshakes(mbedtls_ssl_context *client, SSL *server, struct bed_result *ret) {
    int accepted = 0;

    ret->client = MBEDTLS_ERR_SSL_WANT_READ;
    for (unsigned round = 0; round < 20; round++) {
        if (is_waiting(ret->client))
            ret->client = step(client);
        if (accepted != 1)
            accepted = SSL_accept(server);
        if (!is_waiting(ret->client) && accepted == 1)
            break;
        if (!is_waiting(ret->client) && ret->client != 0)
            break;
        if (accepted != 1 && SSL_get_error(server, accepted) == SSL_ERROR_SSL && round > 10)
            break;
    }
    ret->server = accepted == 1;
    ERR_error_string_n(ERR_peek_last_error(), ret->server_says, sizeof ret->server_says);
    ERR_clear_error();
}

static void exchange(mbedtls_ssl_context *client, SSL *server, struct bed_result *ret) {
    char buf[16] = "";
    int r = mbedtls_ssl_write(client, (const unsigned char *)"hello", 5);

    if (r == 5 && SSL_read(server, buf, sizeof buf) == 5 && SSL_write(server, buf, 5) == 5) {
        memset(buf, 0, sizeof buf);
        do
            r = mbedtls_ssl_read(client, (unsigned char *)buf, sizeof buf - 1);
        while (r == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
        ret->echoed = r == 5 && strcmp(buf, "hello") == 0;
    }
    if (r < 0)
        ret->client = r;
}

struct bed_result bed_connect(struct bed *bed) {
    struct bed_result ret = {.client = 0};
    struct iotsafe_psa_host host = iotsafe_psa_client_host(&bed->card->host);
    struct iotsafe_psa_session session;
    mbedtls_ssl_context ssl;
    SSL *server = SSL_new(bed->ctx);
    bool timer = false;
    int fd[2], r;

    bed->card->apdus = 0;
    r = socketpair(AF_UNIX, (bed->o.dtls ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK, 0, fd);
    assert(r == 0);
    r = iotsafe_psa_init(&session, &host, bed->o.offload);
    assert(r == 0);
    SSL_set_bio(server, BIO_new_socket(fd[1], BIO_NOCLOSE), BIO_new_socket(fd[1], BIO_NOCLOSE));
    SSL_set_mtu(server, 1400);
    mbedtls_ssl_init(&ssl);
    iotsafe_psa_enter(&session);
    bed_in_client = true;
    ret.client = mbedtls_ssl_setup(&ssl, &bed->conf);
    if (ret.client == 0)
        ret.client = mbedtls_ssl_set_hostname(&ssl, "server");
    bed_in_client = false;
    if (ret.client == 0) {
        mbedtls_ssl_set_bio(&ssl, &fd[0], on_send, on_recv, NULL);
        mbedtls_ssl_set_timer_cb(&ssl, &timer, set_timer, get_timer);
        handshakes(&ssl, server, &ret);
    }
    ret.counters = iotsafe_psa_counters(&session);
    if (ret.client == 0 && ret.server) {
        snprintf(ret.version, sizeof ret.version, "%s", mbedtls_ssl_get_version(&ssl));
        snprintf(ret.cipher, sizeof ret.cipher, "%s", mbedtls_ssl_get_ciphersuite(&ssl));
        exchange(&ssl, server, &ret);
    }
    iotsafe_psa_enter(NULL);
    ret.trouble = iotsafe_psa_trouble(&session);
    iotsafe_psa_trouble_text(&session, ret.trouble_text, sizeof ret.trouble_text);
    mbedtls_ssl_free(&ssl);
    ret.slots_held = bed_card_slots_taken(bed->card);
    iotsafe_psa_done(&session);
    SSL_free(server);
    close(fd[0]);
    close(fd[1]);
    (void)r;
    return ret;
}

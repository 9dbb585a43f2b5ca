#include "tls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bed.h"
#include "bench.h"
#include "tb/loop.h"

/* MQTT 3.1.1: a client called "bench", clean session, keep alive 60 s */
static const uint8_t mqtt_connect[] = {0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4,  2,
                                       0,    60, 0, 5, 'b', 'e', 'n', 'c', 'h'};
static const uint8_t mqtt_connack[] = {0x20, 2, 0, 0}, mqtt_disconnect[] = {0xE0, 0};

static const char *const localhost[] = {"localhost", "127.0.0.1", NULL};
const struct tb_pki_request bench_tls_localhost = {.role = TB_PKI_SERVER,
                                                   .common_name = "localhost",
                                                   .dns_names = localhost,
                                                   .not_before_s = -3600,
                                                   .not_after_s = 86400};

int bench_tls_issue(const char *name, const struct tb_pki_request *request,
                    struct bench_tls_files *ret) {
    EVP_PKEY *k = EVP_EC_gen("P-256");
    const struct tb_pki_ca *ca = bench_ca();
    struct tb_error e = {0};
    X509 *x = NULL;
    int r = k && ca ? tb_pki_issue(ca, k, request, &x) : TB_ECRYPTO;

    snprintf(ret->cert, sizeof ret->cert, "%s/%s.pem", bench_dir(), name);
    snprintf(ret->key, sizeof ret->key, "%s/%s.key", bench_dir(), name);
    snprintf(ret->ca, sizeof ret->ca, "%s", bench_ca_file());
    if (r == 0)
        r = tb_pki_cert_save(x, ret->cert, &e);
    if (r == 0)
        r = tb_pki_key_save(k, ret->key, &e);
    X509_free(x);
    EVP_PKEY_free(k);
    return r;
}

int bench_tls_client_init(struct bench_tls_client *c, OSSL_LIB_CTX *libctx,
                          const struct bench_tls_files *files, int version) {
    c->ctx = SSL_CTX_new_ex(libctx, NULL, TLS_client_method());
    if (!c->ctx || SSL_CTX_use_certificate_file(c->ctx, files->cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(c->ctx, files->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(c->ctx, files->ca, NULL) != 1) {
        ERR_print_errors_fp(stderr);
        return TB_ECRYPTO;
    }
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(c->ctx, version);
    SSL_CTX_set_max_proto_version(c->ctx, version);
    SSL_CTX_set1_groups_list(c->ctx, "P-256");
    /* Servers differ in what they prefer. */
    SSL_CTX_set_ciphersuites(c->ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_cipher_list(c->ctx, "ECDHE-ECDSA-AES128-GCM-SHA256");
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    /* The client's own chain is one certificate: do not build it anew in each handshake. */
    SSL_CTX_set_mode(c->ctx, SSL_MODE_NO_AUTO_CHAIN);
    return 0;
}

static void note(struct bench_tls_client *c, SSL *ssl) {
    int sig = NID_undef, digest = NID_undef;
    char group[32] = "";
    EVP_PKEY *theirs = NULL;

    if (SSL_get_peer_tmp_key(ssl, &theirs) == 1)
        (void)EVP_PKEY_get_group_name(theirs, group, sizeof group, NULL);
    EVP_PKEY_free(theirs);
    (void)SSL_get_signature_type_nid(ssl, &sig);
    (void)SSL_get_signature_nid(ssl, &digest);
    snprintf(c->negotiated, sizeof c->negotiated, "%s, %s, client signs %s %s, %s",
             SSL_get_cipher_name(ssl), group, sig == NID_X9_62_id_ecPublicKey ? "ECDSA" : "?",
             OBJ_nid2sn(digest), SSL_session_reused(ssl) ? "resumed" : "not resumed");
}

static bool accepted(struct bench_tls_client *c, SSL *ssl) {
    uint8_t answer[8];

    if (SSL_connect(ssl) != 1)
        return false;
    if (!c->mqtt)
        return SSL_read(ssl, answer, 1) == 1;
    return SSL_write(ssl, mqtt_connect, sizeof mqtt_connect) > 0 &&
           SSL_read(ssl, answer, sizeof answer) == (int)sizeof mqtt_connack &&
           memcmp(answer, mqtt_connack, sizeof mqtt_connack) == 0 &&
           SSL_write(ssl, mqtt_disconnect, sizeof mqtt_disconnect) > 0;
}

static int connect_once(struct bench_tls_client *c) {
    uint64_t began = tb_clock_mono_ns();
    int fd = bench_dial(c->server), r = TB_EPROTO;
    SSL *ssl;

    if (fd < 0)
        return fd;
    ssl = SSL_new(c->ctx);
    SSL_set_fd(ssl, fd);
    if (accepted(c, ssl))
        r = 0;
    else
        ERR_print_errors_fp(stderr);
    if (r == 0 && c->times)
        bench_hist_add(c->times, tb_clock_mono_ns() - began);
    if (r == 0 && !c->negotiated[0])
        note(c, ssl);
    SSL_free(ssl);
    close(fd);
    return r;
}

int bench_tls_connect(void *arg, unsigned n) {
    int r = 0;

    while (n-- > 0 && r == 0)
        r = connect_once(arg);
    return r;
}

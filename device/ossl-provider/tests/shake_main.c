/* isp_shake CONF KEY CERT HOW N TIMES: TLS 1.3 handshakes with a configuration as programs have it,
 * each with both sides in this process; the server does not use the configuration.
 *
 *   threads   in N threads at once, TIMES each
 *   fork      in the parent, then TIMES in each of N children, one after the other, while the
 * parent keeps its connection to the card and a handshake that is half done; then the parent ends
 * that one and makes another hold      N handshakes are begun before the first is ended
 *
 * Exit 0 when all were good. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tls.h"

enum { MAX = 16 };

static struct tls_setup setup;

static bool shake(int times) {
    for (int i = 0; i < times; i++) {
        if (!tls_shake(&setup)) {
            ERR_print_errors_fp(stderr);
            return false;
        }
    }
    return true;
}

static void *work(void *arg) {
    int *times = arg;

    *times = shake(*times) ? 0 : 1;
    return NULL;
}

static bool in_threads(int n, int times) {
    pthread_t thread[MAX];
    int job[MAX];
    bool good = true;

    for (int i = 0; i < n; i++) {
        job[i] = times;
        if (pthread_create(&thread[i], NULL, work, &job[i]) != 0)
            abort();
    }
    for (int i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
        good &= job[i] == 0;
    }
    return good;
}

static bool in_children(int n, int times) {
    struct tls_pair half;
    bool good = shake(1);

    tls_pair_init(&half, &setup);
    good &= tls_pair_step(&half) == 0;
    for (int i = 0; i < n; i++) {
        int status;

        if (fork() == 0)
            exit(!shake(times)); /* runs the libraries' own end */
        good &= wait(&status) > 0 && status == 0;
    }
    good &= tls_pair_shake(&half);
    tls_pair_done(&half);
    return good && shake(1);
}

static bool held(int n) {
    struct tls_pair pairs[MAX];
    bool good = true;

    for (int i = 0; i < n; i++) {
        tls_pair_init(&pairs[i], &setup);
        good &= SSL_do_handshake(pairs[i].client) < 0 && ERR_peek_error() == 0;
    }
    for (int i = 0; i < n; i++) {
        good = good && tls_pair_shake(&pairs[i]);
        tls_pair_done(&pairs[i]);
    }
    ERR_print_errors_fp(stderr);
    return good;
}

int main(int argc, char **argv) {
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    struct tls_pki pki;
    bool good = false;
    BIO *key, *cert;
    int n, times;

    if (argc != 7 || !OSSL_LIB_CTX_load_config(ctx, argv[1]))
        return 2;
    key = BIO_new_file(argv[2], "r");
    cert = BIO_new_file(argv[3], "r");
    n = (int)strtol(argv[5], NULL, 10);
    times = (int)strtol(argv[6], NULL, 10);
    if (!key || !cert || n < 1 || n > MAX)
        return 2;
    tls_pki_init(&pki, "P-256");
    setup = (struct tls_setup){.ctx = ctx, .pki = &pki, .version = TLS1_3_VERSION};
    setup.key = PEM_read_bio_PrivateKey_ex(key, NULL, NULL, NULL, ctx, NULL);
    setup.cert = PEM_read_bio_X509(cert, NULL, NULL, NULL);
    BIO_free(key);
    BIO_free(cert);
    if (!setup.key || !setup.cert) {
        ERR_print_errors_fp(stderr);
        return 2;
    }
    if (strcmp(argv[4], "threads") == 0)
        good = in_threads(n, times);
    else if (strcmp(argv[4], "fork") == 0)
        good = in_children(n, times);
    else
        good = held(n);
    EVP_PKEY_free(setup.key);
    X509_free(setup.cert);
    tls_pki_done(&pki);
    OSSL_LIB_CTX_free(ctx);
    return !good;
}

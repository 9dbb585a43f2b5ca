/* isp_fork KEY CHILDREN TIMES: signs in the parent, forks, signs TIMES in each child while the
 * parent still has its connection, and in the parent again. Every signature is verified. Exit 0
 * when all were good. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int sign_once(EVP_PKEY *key) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[80];
    size_t n = sizeof sig;
    int ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) > 0 &&
             EVP_DigestSign(ctx, sig, &n, (const unsigned char *)"x", 1) > 0 &&
             EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) > 0 &&
             EVP_DigestVerify(ctx, sig, n, (const unsigned char *)"x", 1) > 0;

    EVP_MD_CTX_free(ctx);
    if (!ok)
        ERR_print_errors_fp(stderr);
    return ok;
}

int main(int argc, char **argv) {
    FILE *f = argc == 4 ? fopen(argv[1], "r") : NULL;
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    int children, times, status, good = 1;

    if (!key) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    fclose(f);
    children = atoi(argv[2]);
    times = atoi(argv[3]);
    good &= sign_once(key);
    for (int i = 0; i < children; i++) {
        if (fork() == 0) {
            for (int k = 0; k < times; k++)
                good &= sign_once(key);
            EVP_PKEY_free(key);
            exit(!good); /* runs the libraries' own end */
        }
    }
    for (int i = 0; i < children; i++)
        good &= wait(&status) > 0 && status == 0;
    good &= sign_once(key);
    EVP_PKEY_free(key);
    return !good;
}

/* isp_fork KEY CHILDREN TIMES: signs in the parent, forks, signs TIMES in each child while the
 * parent still has its connection, and in the parent again. Every signature is verified. Exit 0
 * when all were good. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

struct job {
    EVP_PKEY *key;
    int times, good;
};

static void *work(void *arg) {
    struct job *job = arg;

    for (int i = 0; i < job->times; i++)
        job->good &= sign_once(job->key);
    return NULL;
}

static int in_children(struct job *job, int n) {
    int status, good = 1;

    for (int i = 0; i < n; i++) {
        if (fork() == 0) {
            (void)work(job);
            EVP_PKEY_free(job->key);
            exit(!job->good); /* runs the libraries' own end */
        }
    }
    for (int i = 0; i < n; i++)
        good &= wait(&status) > 0 && status == 0;
    return good;
}

static int in_threads(struct job *job, int n) {
    pthread_t thread[64];
    struct job jobs[64];
    int good = 1;

    for (int i = 0; i < n; i++) {
        jobs[i] = *job;
        if (pthread_create(&thread[i], NULL, work, &jobs[i]) != 0)
            abort();
    }
    for (int i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
        good &= jobs[i].good;
    }
    return good;
}

int main(int argc, char **argv) {
    FILE *f = argc == 5 ? fopen(argv[2], "r") : NULL;
    struct job job = {.good = 1};
    int n, good;

    job.key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    if (!job.key) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    fclose(f);
    n = atoi(argv[3]);
    job.times = atoi(argv[4]);
    if (n < 0 || n > 64)
        return 2;
    good = sign_once(job.key);
    good &= strcmp(argv[1], "fork") == 0 ? in_children(&job, n) : in_threads(&job, n);
    good &= sign_once(job.key);
    EVP_PKEY_free(job.key);
    return !good;
}

/* The fake card as a process: a vpcd card that listens (reversed mode) on a Unix socket and serves
 * any number of readers.
 *
 *   fake-card SOCKET CERT-FILE COUNTER-FILE [--ready-fd N]
 *
 * The certificate is written as PEM; the counts of GENERATE KEY PAIR, COMPUTE DH, verifications,
 * PRF, HKDF, GET RANDOM, signatures and all APDUs are kept in COUNTER-FILE. SIGUSR1 makes COMPUTE
 * SIGNATURE fail with 6F00, again SIGUSR1 ends that. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_card.h"
#include "tb/hex.h"
#include "tb/span.h"
#include "tb/vpcd.h"

enum { READERS = 8, IN_MAX = 4096 };

struct reader {
    int fd; /* -1: free */
    size_t n;
    uint8_t in[IN_MAX];
};

static volatile sig_atomic_t failing;

static void on_usr1(int signum) {
    (void)signum;
    failing = !failing;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void write_cert(const struct fake_card *card, const char *path) {
    const unsigned char *p = card->cert;
    X509 *x = d2i_X509(NULL, &p, (long)card->cert_len);
    FILE *f = fopen(path, "w");

    if (!f || !x || !PEM_write_X509(f, x) || fclose(f) != 0)
        die(path);
    X509_free(x);
}

static void write_counter(const struct fake_card *card, int fd) {
    static const uint8_t counted[] = {0xB9, 0x46, 0x2D, 0x48, 0x4A, 0x84};
    char text[100];
    int n = 0;

    for (size_t i = 0; i < sizeof counted; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%08u ", card->ins[counted[i]]);
    n += snprintf(text + n, sizeof text - (size_t)n, "%08u %08u", card->signatures, card->apdus);

    if (pwrite(fd, text, (size_t)n, 0) != n)
        die("counter");
}

static int listen_at(const char *path) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&sun, sizeof sun) < 0 || listen(fd, 8) < 0)
        die(path);
    return fd;
}

static void answer(struct fake_card *card, int fd, struct tb_span body) {
    static const uint8_t atr[] = {0x3B, 0x00};
    uint8_t rsp[300], room[400];
    struct tb_buf out = TB_BUF(room);
    int n;

    if (body.n == 1 && body.p[0] == TB_VPCD_GET_ATR) {
        tb_put_vpcd(&out, tb_span(atr, sizeof atr));
    } else if (body.n > 1) {
        card->fail_sign = failing ? 0x6F00 : 0;
        n = fake_card_transmit(card, body.p, body.n, rsp, sizeof rsp);
        tb_put_vpcd(&out, tb_span(rsp, n > 0 ? (size_t)n : 0));
    }
    if (out.n && send(fd, out.p, out.n, MSG_NOSIGNAL) != (ssize_t)out.n)
        fprintf(stderr, "fake-card: reader does not read\n");
}

/* False when the reader is gone. */
static bool serve(struct fake_card *card, struct reader *r, int counter) {
    ssize_t n = read(r->fd, r->in + r->n, sizeof r->in - r->n);
    struct tb_span in, body;

    if (n <= 0)
        return false;
    r->n += (size_t)n;
    in = tb_span(r->in, r->n);
    while (tb_vpcd_next(&in, &body) == 1) {
        answer(card, r->fd, body);
        write_counter(card, counter);
    }
    memmove(r->in, in.p, in.n);
    r->n = in.n;
    return true;
}

static void loop(struct fake_card *card, int listener, int counter) {
    static struct reader readers[READERS];
    struct pollfd fds[READERS + 1];

    for (size_t i = 0; i < READERS; i++)
        readers[i].fd = -1;
    for (;;) {
        for (size_t i = 0; i < READERS; i++)
            fds[i] = (struct pollfd){.fd = readers[i].fd, .events = POLLIN};
        fds[READERS] = (struct pollfd){.fd = listener, .events = POLLIN};
        if (poll(fds, READERS + 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            die("poll");
        }
        for (size_t i = 0; i < READERS; i++) {
            if (fds[i].revents && !serve(card, &readers[i], counter)) {
                close(readers[i].fd);
                readers[i].fd = -1;
            }
        }
        if (fds[READERS].revents) {
            size_t i = 0;

            while (i < READERS && readers[i].fd >= 0)
                i++;
            if (i < READERS)
                readers[i] = (struct reader){.fd = accept(listener, NULL, NULL)};
        }
    }
}

int main(int argc, char **argv) {
    struct sigaction usr1 = {.sa_handler = on_usr1};
    struct fake_card card;
    int counter, listener;
    FILE *ready;

    if (argc < 4)
        return 2;
    sigaction(SIGUSR1, &usr1, NULL);
    fake_card_init(&card, "fake card");
    card.n_own = FAKE_OWN;
    write_cert(&card, argv[2]);
    counter = open(argv[3], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (counter < 0)
        die(argv[3]);
    write_counter(&card, counter);
    listener = listen_at(argv[1]);
    if (argc == 6 && (ready = fdopen(atoi(argv[5]), "w"))) {
        fprintf(ready, "{\"vpcd\": \"unix:%s\"}\n", argv[1]);
        fclose(ready);
    }
    loop(&card, listener, counter);
}

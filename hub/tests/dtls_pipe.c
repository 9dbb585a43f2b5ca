/* dtls_pipe HOST PORT [--cert FILE --key FILE] [--psk IDENTITY HEX] [--ciphers LIST] [--from PORT]:
 * a DTLS 1.2 client for tests. The standard input is a SOCK_SEQPACKET socket: each of its packets
 * becomes one record, each record from the peer one packet, which openssl s_client does not
 * promise. A packet that begins with 16 (hex), as no CoAP message does, is a datagram as it is.
 * Ends with the peer's close_notify (status 0), an error (1), or the socket. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

static const char *identity;
static unsigned char secret[64];
static unsigned secret_n;
static unsigned short from;

static unsigned on_psk(SSL *ssl, const char *hint, char *id, unsigned id_cap, unsigned char *psk,
                       unsigned psk_cap) {
    (void)ssl, (void)hint;
    if (strlen(identity) >= id_cap || secret_n > psk_cap)
        return 0;
    memcpy(id, identity, strlen(identity) + 1);
    memcpy(psk, secret, secret_n);
    return secret_n;
}

static int complain(void) {
    ERR_print_errors_fp(stderr);
    return 1;
}

static void take_secret(const char *hex) {
    for (; secret_n < sizeof secret && hex[0] && hex[1]; hex += 2) {
        const char digits[] = {hex[0], hex[1], '\0'};

        secret[secret_n++] = (unsigned char)strtoul(digits, NULL, 16);
    }
}

static unsigned short port_of(const char *text) {
    return (unsigned short)strtoul(text, NULL, 10);
}

static int set_up(SSL_CTX *ctx, int argc, char **argv) {
    SSL_CTX_set_security_level(ctx, 0);
    for (int i = 3; i + 1 < argc; i += 2) {
        int ok = 1;

        if (strcmp(argv[i], "--cert") == 0) {
            ok = SSL_CTX_use_certificate_chain_file(ctx, argv[i + 1]);
        } else if (strcmp(argv[i], "--key") == 0) {
            ok = SSL_CTX_use_PrivateKey_file(ctx, argv[i + 1], SSL_FILETYPE_PEM);
        } else if (strcmp(argv[i], "--ciphers") == 0) {
            ok = SSL_CTX_set_cipher_list(ctx, argv[i + 1]);
        } else if (strcmp(argv[i], "--from") == 0) {
            from = port_of(argv[i + 1]);
        } else if (strcmp(argv[i], "--psk") == 0 && i + 2 < argc) {
            identity = argv[i + 1];
            take_secret(argv[i + 2]);
            SSL_CTX_set_psk_client_callback(ctx, on_psk);
            i++;
        } else {
            return 0;
        }
        if (ok != 1)
            return 0;
    }
    return 1;
}

/* From the peer to the test. 0: go on, 1: the end, -1: an error. */
static int read_records(SSL *ssl) {
    char data[1 << 16];
    int n;

    while ((n = SSL_read(ssl, data, sizeof data)) > 0) {
        if (send(STDIN_FILENO, data, (size_t)n, MSG_NOSIGNAL) != n)
            return 1;
    }
    n = SSL_get_error(ssl, n);
    return n == SSL_ERROR_WANT_READ ? 0 : n == SSL_ERROR_ZERO_RETURN ? 1 : -1;
}

static int relay(SSL *ssl, int fd) {
    struct pollfd p[] = {{STDIN_FILENO, POLLIN, 0}, {fd, POLLIN, 0}};
    char data[1 << 16];

    for (;;) {
        if (poll(p, 2, -1) < 0)
            return 1;
        if (p[0].revents) {
            ssize_t n = recv(STDIN_FILENO, data, sizeof data, 0);

            if (n <= 0) {
                SSL_shutdown(ssl);
                return 0;
            }
            if (data[0] == 0x16 ? send(fd, data, (size_t)n, 0) != n
                                : SSL_write(ssl, data, (int)n) != n)
                return complain();
        }
        if (p[1].revents) {
            int r = read_records(ssl);

            if (r != 0)
                return r > 0 ? 0 : complain();
        }
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    SSL_CTX *ctx = SSL_CTX_new(DTLS_client_method());
    int fd = socket(AF_INET, SOCK_DGRAM, 0), code;
    BIO *bio;
    SSL *ssl;

    if (argc < 3 || !set_up(ctx, argc, argv))
        return complain() + 1;
    if (from) {
        struct sockaddr_in own = {.sin_family = AF_INET,
                                  .sin_port = htons(from),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0)
            return 2;
    }
    to.sin_port = htons(port_of(argv[2]));
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        return 2;
    bio = BIO_new_dgram(fd, BIO_CLOSE);
    BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &to);
    ssl = SSL_new(ctx);
    SSL_set_bio(ssl, bio, bio);
    if (SSL_connect(ssl) != 1)
        return complain();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    code = relay(ssl, fd);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return code;
}

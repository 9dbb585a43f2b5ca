/* The listener and what all its connections share. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tb/log.h"
#include "tls/context.h"
#include "tls/internal.h"

static void write_keylog(const SSL *ssl, const char *line) {
    struct hub_tls *t = SSL_get_app_data(ssl);

    fprintf(t->front->keylog, "%s\n",
            line); /* line buffered: several programs append to one file */
}

static void note_alert(const SSL *ssl, int where, int value) {
    struct hub_tls *t = SSL_get_app_data(ssl);

    if (where & SSL_CB_ALERT)
        hub_ident_note_alert(&t->id, value & 0xFF, where & SSL_CB_READ);
}

static int build_context(struct hub_front *f, SSL_CTX **ret, struct tb_error *e) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int err;

    if (!ctx)
        abort();
    err = hub_tls_configure(ctx, &f->cfg, e);
    if (err < 0) {
        SSL_CTX_free(ctx);
        return err;
    }
    SSL_CTX_set_info_callback(ctx, note_alert);
    if (f->keylog)
        SSL_CTX_set_keylog_callback(ctx, write_keylog);
    *ret = ctx;
    return 0;
}

int hub_front_refresh(struct hub_front *f, struct tb_error *e) {
    uint8_t digest[32] = {0};
    SSL_CTX *fresh;
    int err = f->cfg.psk ? 0 : hub_tls_trust_digest(f->cfg.registry, digest);

    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "the registry's CAs cannot be read: %s",
                            tb_strerror(err));
    if (f->ctx && memcmp(digest, f->trust_digest, sizeof digest) == 0)
        return 0;
    err = build_context(f, &fresh, e);
    if (err < 0)
        return err;
    SSL_CTX_free(f->ctx); /* connections keep theirs */
    f->ctx = fresh;
    memcpy(f->trust_digest, digest, sizeof digest);
    return 0;
}

static int open_keylog(struct hub_front *f, struct tb_error *e) {
    int fd;

    if (!f->cfg.keylog_file)
        return 0;
    fd = open(f->cfg.keylog_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return tb_error_set(e, -errno, f->cfg.keylog_file, 0, "%s", strerror(errno));
    f->keylog = fdopen(fd, "a");
    if (!f->keylog)
        abort();
    setvbuf(f->keylog, NULL, _IOLBF, 0);
    return 0;
}

static void on_connection(struct tb_listener *l, void *user) {
    (void)l;
    hub_tls_accept(user);
}

static void front_free(struct hub_front *f) {
    SSL_CTX_free(f->ctx);
    BIO_meth_free(f->bio);
    EVP_MD_free(f->sha256);
    if (f->keylog)
        fclose(f->keylog);
    free(f->plain);
    free(f->out.p);
    free(f);
}

int hub_front_open(uv_loop_t *loop, const struct tb_addr *at, const struct hub_front_config *cfg,
                   struct hub_front **ret, struct tb_error *e) {
    struct hub_front *f = calloc(1, sizeof *f);
    int err;

    if (!f || !(f->plain = malloc(PLAIN_SIZE)) || !(f->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL)))
        abort();
    f->loop = loop;
    f->cfg = *cfg;
    f->bio = hub_tls_bio_method();
    err = open_keylog(f, e);
    if (err == 0)
        err = hub_front_refresh(f, e);
    if (err == 0) {
        char text[300];

        err = tb_listener_open(loop, at, on_connection, f, &f->listener);
        if (err < 0)
            tb_error_set(e, err, NULL, 0, "cannot listen at %s: %s",
                         tb_addr_str(at, text, sizeof text), tb_strerror(err));
    }
    if (err < 0) {
        front_free(f);
        return err;
    }
    *ret = f;
    return 0;
}

const struct tb_addr *hub_front_addr(const struct hub_front *f) {
    return tb_listener_addr(f->listener);
}

unsigned hub_front_connections(const struct hub_front *f) {
    return f->count;
}

void hub_front_gone(struct hub_front *f) {
    if (f->closing && f->count == 0)
        front_free(f);
}

void hub_front_close(struct hub_front *f) {
    if (f->closing)
        return;
    tb_listener_close(f->listener);
    f->listener = NULL;
    for (struct hub_tls *t = f->first; t; t = t->next)
        hub_tls_close(t);
    f->closing = true;
    hub_front_gone(f);
}

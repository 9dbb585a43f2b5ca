/* libcoap's context in our loop: sockets, the turn of events, the end. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/err.h>

#include "coap/internal.h"
#include "tb/log.h"
#include "tls/context.h"

enum {
    EVENTS_MAX = 64, /* of libcoap in one turn of the loop */
    TICK_MS = 1000,
    IDLE_S = 600,       /* a session without observers is closed then */
    MESSAGE_MAX = 1152, /* over TCP, which we tell the peer: larger bodies come in blocks */
};

/* libcoap shows its SSL_CTX to nobody before there is a session, which is too late to set them up.
 * OpenSSL tells who asks when one is made. */
static struct hub_coap *being_made;

static void on_new_context(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl,
                           void *argp) {
    (void)ptr, (void)ad, (void)idx, (void)argl, (void)argp;
    if (!being_made)
        return;
    if (!being_made->dtls)
        being_made->dtls = parent; /* this is the order in which it makes them; checked below */
    else if (!being_made->tls)
        being_made->tls = parent;
}

/* From libcoap: strangers can cause any of it. */
static void on_log(coap_log_t level, const char *message) {
    (void)level;
    tb_debug("coap", "%.*s", (int)strcspn(message, "\n"), message);
}

static int make_context(struct hub_coap *c, struct tb_error *e) {
    static int index = -1;

    if (index < 0) {
        index =
            CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, on_new_context, NULL, NULL);
        coap_startup();
        coap_set_log_handler(on_log);
    }
    being_made = c;
    c->ctx = coap_new_context(NULL);
    being_made = NULL;
    if (!c->ctx)
        return tb_error_set(e, -ENOMEM, NULL, 0, "libcoap cannot be started");
    if (!c->dtls || !c->tls || SSL_CTX_get_ssl_method(c->dtls) != DTLS_method() ||
        SSL_CTX_get_ssl_method(c->tls) != TLS_method())
        return tb_error_set(e, TB_EUNSUP, NULL, 0, "this libcoap does not use OpenSSL as expected");
    return 0;
}

/* Our settings go before libcoap's, which makes an SSL from them at once; what it then sets over
 * ours goes back. */
static int set_up_tls(struct hub_coap *c, struct tb_error *e) {
    coap_dtls_pki_t nothing = {.version = COAP_DTLS_PKI_SETUP_VERSION};
    int err = hub_tls_configure(c->tls, &c->cfg.tls, e);

    if (err == 0)
        err = hub_tls_configure(c->dtls, &c->cfg.tls, e);
    if (err == 0 && !c->cfg.tls.psk)
        err = hub_tls_trust_digest(c->cfg.tls.registry, c->trust_digest);
    if (err < 0)
        return err;
    hub_coap_hook(c, c->dtls);
    hub_coap_hook(c, c->tls);
    if (!coap_context_set_pki(c->ctx, &nothing))
        return tb_error_set(e, TB_EUNSUP, NULL, 0, "libcoap takes no TLS settings");
    hub_coap_hook(c, c->dtls);
    hub_coap_hook(c, c->tls);
    return 0;
}

static int open_keylog(struct hub_coap *c, struct tb_error *e) {
    const char *path = c->cfg.tls.keylog_file;
    int fd;

    if (!path)
        return 0;
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return tb_error_set(e, -errno, path, 0, "%s", strerror(errno));
    c->keylog = fdopen(fd, "a");
    if (!c->keylog)
        abort();
    setvbuf(c->keylog, NULL, _IOLBF, 0);
    return 0;
}

static int resolve(const struct tb_addr *at, coap_address_t *ret, struct tb_error *e) {
    const char *host = strcmp(at->host, "localhost") == 0 ? "127.0.0.1" : at->host;

    coap_address_init(ret);
    if (!at->is_unix && uv_ip4_addr(host, at->port, &ret->addr.sin) == 0)
        ret->size = sizeof ret->addr.sin;
    else if (!at->is_unix && uv_ip6_addr(host, at->port, &ret->addr.sin6) == 0)
        ret->size = sizeof ret->addr.sin6;
    else
        return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: CoAP wants a numeric address and a port",
                            at->host);
    return 0;
}

/* libcoap says where an endpoint is in words only: "127.0.0.1:5684 DTLS". */
static uint16_t port_of(const coap_endpoint_t *ep) {
    const char *colon = strrchr(coap_endpoint_str(ep), ':');

    return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

/* libcoap shares its UDP ports (SO_REUSEADDR): for "any port" the kernel may then give it one that
 * is in use. A socket that shares nothing finds a free one. */
static void choose_port(coap_address_t *a) {
    coap_address_t got = *a;
    int fd = socket(a->addr.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && bind(fd, &a->addr.sa, a->size) == 0 &&
        getsockname(fd, &got.addr.sa, &got.size) == 0)
        *a = got;
    if (fd >= 0)
        close(fd);
}

/* libcoap lets five wait to be accepted: of more that come at once, a fleet after a restart of the
 * hub, each tries again after a second. Its socket is the one that listens there. */
static void lengthen_queue(struct hub_coap *c, const struct tb_addr *at) {
    enum { FDS = 1024 }; /* there are few at the start */

    for (int fd = 0; fd < FDS; fd++) {
        struct sockaddr_storage sa = {0};
        uint16_t port;
        int on = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &(socklen_t){sizeof on}) < 0 || !on ||
            getsockname(fd, (struct sockaddr *)&sa, &(socklen_t){sizeof sa}) < 0)
            continue;
        port = sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                        : ((struct sockaddr_in *)&sa)->sin_port;
        if (sa.ss_family == AF_UNIX || ntohs(port) != at->port)
            continue;
        listen(fd, SOMAXCONN);
        if (fcntl(fd, F_GETFL) & O_NONBLOCK)
            c->listener = fd;
    }
}

static int listen_at(struct hub_coap *c, const struct tb_addr *at, coap_proto_t proto,
                     struct tb_addr *ret, struct tb_error *e) {
    coap_endpoint_t *ep;
    coap_address_t a;
    char text[300];
    int err = resolve(at, &a, e);

    if (err < 0)
        return err;
    if (at->port == 0 && proto == COAP_PROTO_DTLS)
        choose_port(&a);
    errno = 0;
    ep = coap_new_endpoint(c->ctx, &a, proto);
    if (!ep) {
        err = errno ? -errno : UV_EADDRNOTAVAIL;
        return tb_error_set(e, err, NULL, 0, "cannot listen at %s (%s): %s",
                            tb_addr_str(at, text, sizeof text),
                            proto == COAP_PROTO_DTLS ? "UDP" : "TCP", tb_strerror(err));
    }
    *ret = *at;
    ret->port = port_of(ep);
    if (proto == COAP_PROTO_TLS)
        lengthen_queue(c, ret);
    return 0;
}

static int listen_all(struct hub_coap *c, const struct tb_addr *at, struct tb_error *e) {
    int err = listen_at(c, at, COAP_PROTO_DTLS, &c->at, e);

    if (err < 0 || !c->cfg.tcp)
        return err;
    c->has_tcp = true;
    err = listen_at(c, &c->at, COAP_PROTO_TLS, &c->at_tcp, e);
    if (err < 0 && at->port == 0) { /* any port: not necessarily the same */
        *e = (struct tb_error){0};
        err = listen_at(c, at, COAP_PROTO_TLS, &c->at_tcp, e);
    }
    return err;
}

static void set_limits(struct hub_coap *c) {
    coap_set_app_data(c->ctx, c);
    coap_context_set_block_mode(c->ctx, 0); /* blocks are ours: request.c, respond.c */
    coap_context_set_csm_max_message_size(c->ctx, MESSAGE_MAX);
    coap_context_set_session_timeout(c->ctx, IDLE_S);
    /* Not yet past the cookie, or in the handshake: libcoap remembers both. */
    coap_context_set_max_handshake_sessions(
        c->ctx, c->cfg.tls.max_connections > 4000 ? 4000 : c->cfg.tls.max_connections);
    coap_register_event_handler(c->ctx, hub_coap_on_event);
    hub_coap_serve(c->ctx);
}

static void rearm(struct hub_coap *c) {
    coap_tick_t now;

    coap_ticks(&now);
    coap_io_prepare_epoll(c->ctx, now); /* sets the timer in the epoll descriptor */
}

/* libcoap leaves whom it cannot accept in the queue, and would be told of them for ever. */
static void turn_away_without_descriptors(struct hub_coap *c) {
    int fd = c->listener < 0 ? -1 : fcntl(c->listener, F_DUPFD_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    if (fd >= 0 || c->listener < 0 || (errno != EMFILE && errno != ENFILE) || c->spare < 0)
        return;
    tb_warn("coap", "no descriptors are left: connections are turned away");
    close(c->spare);
    while ((fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
    c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* One event at a time: an error that OpenSSL has queued for one session would end the next, and a
 * session that one event ends may be what the next one is about. */
static void on_readable(uv_poll_t *poll, int status, int events) {
    struct hub_coap *c = poll->data;
    struct epoll_event event;
    unsigned i;

    (void)status, (void)events;
    c->driving = true;
    for (i = 0; i < EVENTS_MAX; i++) {
        if (epoll_wait(coap_context_get_coap_fd(c->ctx), &event, 1, 0) != 1)
            break;
        ERR_clear_error();
        coap_io_do_epoll(c->ctx, &event, 1);
        hub_coap_reap(c);
    }
    ERR_clear_error();
    c->driving = false;
    if (i == EVENTS_MAX)
        turn_away_without_descriptors(c);
}

static void on_tick(void *arg) {
    struct hub_coap *c = arg;
    bool more = hub_coap_catch_up(c);

    hub_coap_check_deadlines(c);
    hub_coap_reap(c);
    rearm(c);
    if (c->connections > c->sessions || more)
        tb_deadline_start(&c->tick, TICK_MS);
}

/* What is to be done at once, but not from within libcoap, is done after its event, or in a turn of
 * the loop of its own. */
void hub_coap_arm(struct hub_coap *c) {
    const bool urgent = !c->driving && (c->doomed > 0 || c->knocks > 0);

    if (urgent || !uv_is_active((uv_handle_t *)&c->tick.timer))
        tb_deadline_start(&c->tick, c->driving ? TICK_MS : 0);
    else if (!c->driving)
        rearm(c);
}

static void coap_free_all(struct hub_coap *c) {
    if (c->ctx)
        coap_free_context(c->ctx);
    EVP_MD_free(c->sha256);
    if (c->keylog)
        fclose(c->keylog);
    if (c->spare >= 0)
        close(c->spare);
    free(c);
}

int hub_coap_open(uv_loop_t *loop, const struct tb_addr *at, const struct hub_coap_config *cfg,
                  struct hub_coap **ret, struct tb_error *e) {
    struct hub_coap *c = calloc(1, sizeof *c);
    int err;

    if (!c || !(c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL)))
        abort();
    c->loop = loop;
    c->cfg = *cfg;
    c->cfg.tls.coap = true;
    c->last = &c->first;
    c->listener = -1;
    c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    err = open_keylog(c, e);
    if (err == 0)
        err = make_context(c, e);
    if (err == 0)
        err = set_up_tls(c, e);
    if (err == 0) {
        set_limits(c);
        err = listen_all(c, at, e);
    }
    if (err < 0) {
        coap_free_all(c);
        return err;
    }
    uv_poll_init(loop, &c->poll, coap_context_get_coap_fd(c->ctx));
    c->poll.data = c;
    uv_poll_start(&c->poll, UV_READABLE, on_readable);
    tb_deadline_init(loop, &c->tick, on_tick, c);
    c->handles = 2;
    rearm(c);
    *ret = c;
    return 0;
}

const struct tb_addr *hub_coap_addr(const struct hub_coap *c) {
    return &c->at;
}

const struct tb_addr *hub_coap_tcp_addr(const struct hub_coap *c) {
    return c->has_tcp ? &c->at_tcp : NULL;
}

unsigned hub_coap_sessions(const struct hub_coap *c) {
    return c->sessions;
}

unsigned hub_coap_connections(const struct hub_coap *c) {
    return c->connections;
}

int hub_coap_refresh(struct hub_coap *c, struct tb_error *e) {
    uint8_t digest[32] = {0};
    int err = c->cfg.tls.psk ? 0 : hub_tls_trust_digest(c->cfg.tls.registry, digest);

    if (err < 0)
        return tb_error_set(e, err, NULL, 0, "the registry's CAs cannot be read: %s",
                            tb_strerror(err));
    if (memcmp(digest, c->trust_digest, sizeof digest) == 0)
        return 0;
    err = hub_tls_trust(c->dtls, c->cfg.tls.registry, e);
    if (err == 0)
        err = hub_tls_trust(c->tls, c->cfg.tls.registry, e);
    if (err == 0)
        memcpy(c->trust_digest, digest, sizeof digest);
    return err;
}

unsigned hub_coap_kick(struct hub_coap *c, hub_coap_fn *fn, void *user) {
    unsigned count = 0;

    for (struct hub_coap_peer *p = c->first, *next; p; p = next) {
        const char *reason = "kicked";

        next = p->next;
        if (!p->open || p->reason || !fn(&p->id.peer, &reason, user))
            continue;
        hub_coap_end(p, reason);
        count++;
    }
    if (count > 0)
        rearm(c);
    return count;
}

static void on_handle_closed(uv_handle_t *h) {
    struct hub_coap *c = h->data;

    if (--c->handles == 0)
        free(c);
}

void hub_coap_close(struct hub_coap *c) {
    if (c->closing)
        return;
    c->closing = true;
    while (c->first)
        hub_coap_end(c->first, "shutdown");
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    c->tick.timer.data = c;
    tb_deadline_close(&c->tick, on_handle_closed);
    coap_free_context(c->ctx);
    EVP_MD_free(c->sha256);
    if (c->keylog)
        fclose(c->keylog);
    if (c->spare >= 0)
        close(c->spare);
}

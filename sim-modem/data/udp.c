/* The relay of one association. spec: RFC1928 7 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "tb/log.h"

enum {
    WAITING_MAX = 64, /* datagrams on the way per direction; more are lost, as in any queue */
    QUERIES_MAX = 8,  /* names being looked up */
    PEERS_MAX = 16,   /* that may answer; the oldest is forgotten */
    NAMES_MAX = 4,
    DATAGRAM_MAX = 65507,
};

struct parcel {
    struct parcel *next;
    uint64_t due;
    struct sockaddr_storage to;
    size_t n;
    uint8_t bytes[];
};

/* What the radio has not delivered yet, one direction. */
struct lane {
    struct udp_relay *u;
    enum radio_dir dir;
    uv_timer_t timer;
    struct parcel *first, **last;
    unsigned n;
};

struct query {
    uv_getaddrinfo_t req;
    struct udp_relay *u;
    struct socks_addr to;
    struct parcel *data;
};

struct udp_relay {
    struct data_service *s;
    uv_udp_t inner, outer[2]; /* towards the client; to the network by IPv4 and IPv6 */
    bool bound[2];
    struct lane lanes[2];
    struct radio_flow flow;
    struct sockaddr_storage client; /* port 0: that of its first datagram */
    struct socks_addr at;
    struct sockaddr_storage peers[PEERS_MAX];
    unsigned n_peers;
    struct {
        char name[256];
        struct socks_addr addr;
    } names[NAMES_MAX];
    unsigned n_names, queries, handles;
    bool closing;
    void (*on_closed)(void *user);
    void *user;
    uint8_t in[65536];
};

/* ---- The end ---- */

static void finish_close(struct udp_relay *u) {
    if (u->handles || u->queries)
        return;
    u->on_closed(u->user);
    free(u);
}

static void on_handle_closed(uv_handle_t *h) {
    struct udp_relay *u = h->data;

    u->handles--;
    finish_close(u);
}

void udp_relay_close(struct udp_relay *u) {
    if (u->closing)
        return;
    u->closing = true;
    for (int d = 0; d < 2; d++) {
        struct lane *l = &u->lanes[d];

        while (l->first) {
            struct parcel *p = l->first;

            l->first = p->next;
            free(p);
        }
        l->timer.data = u;
        uv_close((uv_handle_t *)&l->timer, on_handle_closed);
        uv_close((uv_handle_t *)&u->outer[d], on_handle_closed);
    }
    uv_close((uv_handle_t *)&u->inner, on_handle_closed);
}

/* ---- Addresses ---- */

static bool same_ip(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    struct socks_addr x, y;

    socks_from_sockaddr(a, &x);
    socks_from_sockaddr(b, &y);
    return x.type == y.type && memcmp(x.ip, y.ip, sizeof x.ip) == 0;
}

static uint16_t port_of(const struct sockaddr_storage *a) {
    struct socks_addr x;

    socks_from_sockaddr(a, &x);
    return x.port;
}

static bool same(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    return same_ip(a, b) && port_of(a) == port_of(b);
}

/* Only from the client, and from one port of it. */
static bool from_client(const struct udp_relay *u, const struct sockaddr_storage *from) {
    return same_ip(&u->client, from) &&
           (port_of(&u->client) == 0 || port_of(&u->client) == port_of(from));
}

static bool is_peer(const struct udp_relay *u, const struct sockaddr_storage *from) {
    unsigned n = u->n_peers < PEERS_MAX ? u->n_peers : PEERS_MAX;

    for (unsigned i = 0; i < n; i++)
        if (same(&u->peers[i], from))
            return true;
    return false;
}

static void remember_peer(struct udp_relay *u, const struct sockaddr_storage *to) {
    if (!is_peer(u, to))
        u->peers[u->n_peers++ % PEERS_MAX] = *to;
}

/* ---- On the way ---- */

static void send_now(struct udp_relay *u, enum radio_dir dir, const struct sockaddr_storage *to,
                     struct tb_span bytes) {
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.p, (unsigned)bytes.n);
    uv_udp_t *h = dir == RADIO_DOWN ? &u->inner : &u->outer[to->ss_family == AF_INET6];

    /* What the kernel does not take is lost, as datagrams are. */
    (void)uv_udp_try_send(h, &buf, 1, (const struct sockaddr *)to);
}

static void pump(uv_timer_t *t) {
    struct lane *l = t->data;
    uint64_t now = pipe_now_us();

    while (l->first && l->first->due <= now) {
        struct parcel *p = l->first;

        send_now(l->u, l->dir, &p->to, tb_span(p->bytes, p->n));
        l->first = p->next;
        if (!l->first)
            l->last = &l->first;
        l->n--;
        free(p);
    }
    if (l->first)
        uv_timer_start(t, pump, pipe_timeout_ms(t->loop, l->first->due), 0);
}

static struct parcel *pack(const struct sockaddr_storage *to, struct tb_span head,
                           struct tb_span body) {
    struct parcel *p = malloc(sizeof *p + head.n + body.n);

    if (!p)
        abort();
    *p = (struct parcel){.to = *to, .n = head.n + body.n};
    if (head.n)
        memcpy(p->bytes, head.p, head.n);
    if (body.n)
        memcpy(p->bytes + head.n, body.p, body.n);
    return p;
}

/* p: given. size: what the radio carries of it. */
static void dispatch(struct udp_relay *u, enum radio_dir dir, struct parcel *p, size_t size) {
    struct lane *l = &u->lanes[dir];
    uint64_t now = pipe_now_us();

    if (l->n >= WAITING_MAX || !radio_datagram(u->s->radio, &u->flow, dir, now, size, &p->due)) {
        free(p);
    } else if (p->due <= now && !l->first) {
        send_now(u, dir, &p->to, tb_span(p->bytes, p->n));
        free(p);
    } else {
        if (!l->first)
            uv_timer_start(&l->timer, pump, pipe_timeout_ms(l->timer.loop, p->due), 0);
        *l->last = p;
        l->last = &p->next;
        l->n++;
    }
}

/* ---- Up ---- */

static void on_outer(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                     unsigned flags);
static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf);

/* The socket for the family of to, made when first needed. */
static bool open_outer(struct udp_relay *u, const struct sockaddr_storage *to) {
    bool v6 = to->ss_family == AF_INET6;
    struct sockaddr_storage any = {.ss_family = to->ss_family};

    if (!u->bound[v6])
        u->bound[v6] = uv_udp_bind(&u->outer[v6], (struct sockaddr *)&any, 0) == 0 &&
                       uv_udp_recv_start(&u->outer[v6], on_room, on_outer) == 0;
    return u->bound[v6];
}

static void go_up(struct udp_relay *u, struct parcel *p) {
    if (port_of(&p->to) == 0 || !open_outer(u, &p->to)) {
        free(p);
        return;
    }
    remember_peer(u, &p->to);
    dispatch(u, RADIO_UP, p, p->n);
}

static const struct socks_addr *known_name(const struct udp_relay *u, const char *name) {
    for (unsigned i = 0; i < NAMES_MAX; i++)
        if (u->names[i].name[0] && strcmp(u->names[i].name, name) == 0)
            return &u->names[i].addr;
    return NULL;
}

/* The first IPv4 address, else the first: over UDP there is no finding out that nobody listens. */
static void take_found(struct udp_relay *u, const char *name, const struct addrinfo *found) {
    const struct addrinfo *best = found;
    struct sockaddr_storage sa = {0};
    unsigned i = u->n_names++ % NAMES_MAX;

    while (best->ai_next && best->ai_family != AF_INET)
        best = best->ai_next;
    if (best->ai_family != AF_INET)
        best = found;
    memcpy(&sa, best->ai_addr, best->ai_addrlen);
    socks_from_sockaddr(&sa, &u->names[i].addr);
    memcpy(u->names[i].name, name, strlen(name) + 1);
}

static void go_to(struct udp_relay *u, const struct socks_addr *ip, uint16_t port,
                  struct parcel *p) {
    struct socks_addr to = *ip;

    to.port = port;
    (void)socks_to_sockaddr(&to, &p->to);
    go_up(u, p);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found) {
    struct query *q = req->data;
    struct udp_relay *u = q->u;

    u->queries--;
    if (status == 0 && !u->closing) {
        (void)radio_round_trip(u->s->radio, &u->flow, pipe_now_us());
        take_found(u, q->to.name, found);
        go_to(u, known_name(u, q->to.name), q->to.port, q->data);
        q->data = NULL;
    }
    uv_freeaddrinfo(found);
    free(q->data);
    free(q);
    if (u->closing)
        finish_close(u);
}

static void ask(struct udp_relay *u, const struct socks_addr *to, struct tb_span data) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_family = AF_UNSPEC};
    static const struct sockaddr_storage nowhere;
    struct query *q;

    if (u->queries == QUERIES_MAX)
        return;
    q = calloc(1, sizeof *q);
    if (!q)
        abort();
    q->u = u;
    q->to = *to;
    q->req.data = q;
    q->data = pack(&nowhere, TB_SPAN_NONE, data);
    if (uv_getaddrinfo(u->s->loop, &q->req, on_resolved, q->to.name, NULL, &hints) < 0) {
        free(q->data);
        free(q);
        return;
    }
    u->queries++;
}

static void from_inner(struct udp_relay *u, const struct sockaddr_storage *from,
                       struct tb_span datagram) {
    const struct socks_addr *ip;
    struct sockaddr_storage sa;
    struct socks_addr to;

    if (socks_take_datagram(&datagram, &to) < 0)
        return; /* RFC 1928, 7: dropped silently */
    u->client = *from;
    ip = to.type == SOCKS_NAME ? known_name(u, to.name) : &to;
    if (!ip) {
        ask(u, &to, datagram);
        return;
    }
    memset(&sa, 0, sizeof sa);
    go_to(u, ip, to.port, pack(&sa, TB_SPAN_NONE, datagram));
}

static void on_inner(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                     unsigned flags) {
    struct udp_relay *u = h->data;
    struct sockaddr_storage sa = {0};

    if (n < 0 || !from || (flags & UV_UDP_PARTIAL))
        return;
    memcpy(&sa, from,
           from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (from_client(u, &sa))
        from_inner(u, &sa, tb_span((const uint8_t *)buf->base, (size_t)n));
}

/* ---- Down ---- */

static void on_outer(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                     unsigned flags) {
    struct udp_relay *u = h->data;
    uint8_t room[SOCKS_UDP_HEADER_MAX];
    struct tb_buf head = TB_BUF(room);
    struct sockaddr_storage sa = {0};
    struct socks_addr who;

    if (n < 0 || !from || (flags & UV_UDP_PARTIAL) || port_of(&u->client) == 0)
        return;
    memcpy(&sa, from,
           from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (!is_peer(u, &sa))
        return; /* as the network's address translation has it */
    socks_from_sockaddr(&sa, &who);
    socks_put_datagram(&head, &who);
    dispatch(u, RADIO_DOWN,
             pack(&u->client, tb_buf_span(&head), tb_span((const uint8_t *)buf->base, (size_t)n)),
             (size_t)n);
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct udp_relay *u = h->data;

    (void)suggested;
    *buf = uv_buf_init((char *)u->in, sizeof u->in);
}

/* ---- Begin ---- */

static void init_handles(struct udp_relay *u) {
    uv_udp_init(u->s->loop, &u->inner);
    u->inner.data = u;
    for (int d = 0; d < 2; d++) {
        uv_udp_init(u->s->loop, &u->outer[d]);
        u->outer[d].data = u;
        u->lanes[d] = (struct lane){.u = u, .dir = (enum radio_dir)d};
        u->lanes[d].last = &u->lanes[d].first;
        uv_timer_init(u->s->loop, &u->lanes[d].timer);
        u->lanes[d].timer.data = &u->lanes[d];
    }
    u->handles = 5;
}

static void on_failed(void *user) {
    (void)user;
}

int udp_relay_open(struct data_service *s, const struct sockaddr_storage *local,
                   const struct sockaddr_storage *client, void (*on_closed)(void *user), void *user,
                   struct udp_relay **ret) {
    struct udp_relay *u = calloc(1, sizeof *u);
    struct sockaddr_storage at = {0};
    struct socks_addr bind_to;
    int r;

    if (!u)
        abort();
    u->s = s;
    u->client = *client;
    u->on_closed = on_failed;
    init_handles(u);
    socks_from_sockaddr(local, &bind_to);
    bind_to.port = 0;
    (void)socks_to_sockaddr(&bind_to, &at);
    r = uv_udp_bind(&u->inner, (struct sockaddr *)&at, 0);
    if (r == 0)
        r = uv_udp_getsockname(&u->inner, (struct sockaddr *)&at, &(int){sizeof at});
    if (r == 0)
        r = uv_udp_recv_start(&u->inner, on_room, on_inner);
    if (r < 0) {
        udp_relay_close(u);
        return r;
    }
    socks_from_sockaddr(&at, &u->at);
    u->on_closed = on_closed;
    u->user = user;
    *ret = u;
    return 0;
}

void udp_relay_addr(const struct udp_relay *u, struct socks_addr *ret) {
    *ret = u->at;
}

#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tb/log.h"

enum {
    SESSIONS_MAX = 256,
    REQUEST_MS = 10000,      /* for greeting and request */
    CONNECT_MS = 30000,      /* for the whole of name and connection */
    HALF_CLOSED_MS = 120000, /* one side has ended, and the other says nothing */
};

enum state { GREETING, REQUEST, RESOLVING, CONNECTING, RELAYING, ASSOCIATED, OVER };

struct session {
    struct session *next;
    struct data_service *s;
    enum state state;
    struct tb_conn *client, *remote; /* until their on_closed() */
    struct tb_connect *connecting;
    struct udp_relay *udp;
    struct pipe pipes[2]; /* by direction */
    struct radio_flow flow;
    struct tb_deadline deadline;
    unsigned timers; /* that are still open: pipes and deadline */
    bool client_ended, closing;

    uv_getaddrinfo_t query;
    bool asking;
    struct addrinfo *found, *at; /* all addresses of the name, and the one being tried */
    struct socks_addr to;
};

/* ---- The end ---- */

static void finish_close(struct session *c) {
    struct session **at = &c->s->sessions;
    struct data_service *s = c->s;

    if (!c->closing || c->client || c->remote || c->connecting || c->udp || c->asking || c->timers)
        return;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    s->counters.open--;
    free(c);
    service_session_gone(s);
}

static void on_timer_closed(uv_handle_t *h) {
    struct session *c = h->data;

    c->timers--;
    finish_close(c);
}

struct session *session_next(const struct session *c) {
    return c->next;
}

/* Everything but the client's connection. */
static void drop_rest(struct session *c) {
    if (c->closing)
        return;
    c->closing = true;
    c->state = OVER;
    for (int d = 0; d < 2; d++) {
        pipe_close(&c->pipes[d], on_timer_closed);
        c->pipes[d].timer.data = c;
    }
    c->deadline.timer.data = c;
    tb_deadline_close(&c->deadline, on_timer_closed);
    if (c->found)
        uv_freeaddrinfo(c->found);
    c->found = c->at = NULL;
    if (c->asking)
        uv_cancel((uv_req_t *)&c->query);
    if (c->connecting)
        tb_conn_cancel(c->connecting);
    if (c->remote)
        tb_conn_close(c->remote, 0);
    if (c->udp)
        udp_relay_close(c->udp);
}

void session_close(struct session *c) {
    drop_rest(c);
    if (c->client)
        tb_conn_close(c->client, 0);
    finish_close(c);
}

/* An error reply, then the end. spec: RFC1928 6 the server closes after it */
static void refuse(struct session *c, enum socks_code code) {
    uint8_t room[SOCKS_REPLY_MAX];
    struct tb_buf out = TB_BUF(room);
    struct tb_span reply;

    c->s->counters.refused++;
    socks_put_reply(&out, code, NULL);
    reply = tb_buf_span(&out);
    if (tb_conn_write(c->client, &reply, 1) >= 0)
        tb_conn_finish(c->client);
    else
        tb_conn_close(c->client, 0);
    drop_rest(c);
    finish_close(c);
}

void session_cut(struct session *c) {
    switch (c->state) {
    case GREETING:
    case REQUEST:
    case OVER: /* would be refused, or is */
        break;
    case RESOLVING:
    case CONNECTING:
        refuse(c, SOCKS_NETWORK_UNREACHABLE);
        break;
    case RELAYING:
    case ASSOCIATED:
        c->s->counters.cut++;
        session_close(c);
        break;
    }
}

static void on_deadline(void *arg) {
    struct session *c = arg;

    if (c->state == RESOLVING || c->state == CONNECTING)
        refuse(c, SOCKS_HOST_UNREACHABLE);
    else
        session_close(c);
}

/* ---- The far side of a connection ---- */

static void side_ended(struct session *c, enum radio_dir dir) {
    tb_deadline_start(&c->deadline, HALF_CLOSED_MS);
    pipe_end(&c->pipes[dir]);
}

/* The connection to the side that dir comes from is over. When it has said all and has been told
 * all, what it said last is still delivered, and then the other one ends in the same way;
 * everything else is an end in the middle. */
static void side_closed(struct session *c, enum radio_dir dir, int why) {
    struct pipe *from = &c->pipes[dir], *to = &c->pipes[!dir];

    from->from = to->to = NULL;
    if (c->closing || why != 0 || !from->ended || !to->done || (!c->client && !c->remote))
        session_close(c);
}

/* Traffic of the side that goes on. */
static void still_alive(struct session *c) {
    if (c->pipes[RADIO_UP].ended || c->pipes[RADIO_DOWN].ended)
        tb_deadline_start(&c->deadline, HALF_CLOSED_MS);
}

static size_t on_remote_data(struct tb_conn *conn, struct tb_span data, void *user) {
    struct session *c = user;

    (void)conn;
    if (c->closing)
        return data.n;
    still_alive(c);
    pipe_put(&c->pipes[RADIO_DOWN], data);
    return data.n;
}

static void on_remote_drain(struct tb_conn *conn, void *user) {
    struct session *c = user;

    (void)conn;
    if (!c->closing)
        pipe_drained(&c->pipes[RADIO_UP]);
}

static bool on_remote_end(struct tb_conn *conn, void *user) {
    struct session *c = user;

    (void)conn;
    if (!c->closing)
        side_ended(c, RADIO_DOWN);
    return true;
}

static void on_remote_closed(int why, void *user) {
    struct session *c = user;

    c->remote = NULL;
    side_closed(c, RADIO_DOWN, why);
}

static const struct tb_conn_ops remote_ops = {.on_data = on_remote_data,
                                              .on_drain = on_remote_drain,
                                              .on_end = on_remote_end,
                                              .on_closed = on_remote_closed};

static enum socks_code code_of(int r) {
    switch (r) {
    case UV_ECONNREFUSED:
        return SOCKS_REFUSED;
    case UV_ENETUNREACH:
        return SOCKS_NETWORK_UNREACHABLE;
    case UV_EHOSTUNREACH:
    case UV_ETIMEDOUT:
    case UV_EAI_NONAME:
    case UV_EAI_AGAIN:
    case UV_EAI_NODATA:
    case UV_EAI_FAIL:
        return SOCKS_HOST_UNREACHABLE;
    case UV_EACCES:
    case UV_EPERM:
        return SOCKS_NOT_ALLOWED;
    default:
        return SOCKS_FAILURE;
    }
}

static bool try_next(struct session *c);

static void begin_relay(struct session *c) {
    struct sockaddr_storage sa = {0};
    uint8_t room[SOCKS_REPLY_MAX];
    struct tb_buf out = TB_BUF(room);
    struct socks_addr bound;

    getsockname(tb_conn_fd(c->remote), (struct sockaddr *)&sa, &(socklen_t){sizeof sa});
    socks_from_sockaddr(&sa, &bound);
    socks_put_reply(&out, SOCKS_OK, &bound);
    c->state = RELAYING;
    c->s->counters.connects++;
    tb_deadline_stop(&c->deadline);
    c->pipes[RADIO_UP].from = c->pipes[RADIO_DOWN].to = c->client;
    c->pipes[RADIO_DOWN].from = c->pipes[RADIO_UP].to = c->remote;
    pipe_put_at(&c->pipes[RADIO_DOWN], tb_buf_span(&out),
                radio_round_trip(c->s->radio, &c->flow, pipe_now_us()));
    tb_conn_resume(c->client); /* what it sent without waiting for the reply */
    if (c->client_ended && !c->closing)
        side_ended(c, RADIO_UP);
}

static void on_connected(int status, struct tb_conn *conn, void *user) {
    struct session *c = user;

    c->connecting = NULL;
    c->remote = conn;
    if (c->closing) {
        if (conn)
            tb_conn_close(conn, 0);
        finish_close(c);
    } else if (status == 0) {
        begin_relay(c);
    } else if (!try_next(c)) {
        refuse(c, code_of(status));
    }
}

static void connect_to(struct session *c, const struct socks_addr *to) {
    struct tb_addr at;
    int r;

    socks_to_conn_addr(to, &at);
    c->state = CONNECTING;
    r = tb_conn_connect(c->s->loop, &at, &remote_ops, c, on_connected, &c->connecting);
    if (r < 0 && !try_next(c))
        refuse(c, code_of(r));
}

/* The next address of the name; false when there is none. */
static bool try_next(struct session *c) {
    struct sockaddr_storage sa = {0};
    struct socks_addr to;

    if (!c->at)
        return false;
    memcpy(&sa, c->at->ai_addr, c->at->ai_addrlen);
    c->at = c->at->ai_next;
    socks_from_sockaddr(&sa, &to);
    to.port = c->to.port;
    connect_to(c, &to);
    return true;
}

static void on_resolved(uv_getaddrinfo_t *q, int status, struct addrinfo *found) {
    struct session *c = q->data;

    c->asking = false;
    if (c->closing) {
        uv_freeaddrinfo(found);
        finish_close(c);
        return;
    }
    (void)radio_round_trip(c->s->radio, &c->flow, pipe_now_us());
    c->found = c->at = found;
    if (status < 0 || !try_next(c))
        refuse(c, code_of(status));
}

static void resolve(struct session *c) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    int r;

    c->state = RESOLVING;
    c->query.data = c;
    r = uv_getaddrinfo(c->s->loop, &c->query, on_resolved, c->to.name, NULL, &hints);
    if (r < 0)
        refuse(c, code_of(r));
    else
        c->asking = true;
}

/* ---- UDP ASSOCIATE ---- */

static void on_relay_closed(void *user) {
    struct session *c = user;

    c->udp = NULL;
    session_close(c);
}

/* Where the client's datagrams will come from: its own address, with the port it names. One that
 * names another host's address is refused: no relay for strangers. */
static bool client_of(struct session *c, const struct socks_addr *named,
                      struct sockaddr_storage *ret) {
    struct sockaddr_storage sa = {0};
    struct socks_addr peer;

    getpeername(tb_conn_fd(c->client), (struct sockaddr *)&sa, &(socklen_t){sizeof sa});
    if (sa.ss_family != AF_INET && sa.ss_family != AF_INET6) /* by a Unix socket: this machine */
        peer = (struct socks_addr){.type = SOCKS_IPV4, .ip = {127, 0, 0, 1}};
    else
        socks_from_sockaddr(&sa, &peer);
    peer.port = named->port;
    (void)socks_to_sockaddr(&peer, ret);
    return named->type == SOCKS_NAME || socks_any(named) ||
           (named->type == peer.type && memcmp(named->ip, peer.ip, sizeof peer.ip) == 0);
}

/* spec: RFC1928 6 7 the association lives as long as this connection */
static void associate(struct session *c, const struct socks_addr *named) {
    struct sockaddr_storage local = {0}, client;
    uint8_t room[SOCKS_REPLY_MAX];
    struct tb_buf out = TB_BUF(room);
    struct socks_addr bound;
    struct tb_span reply;
    int r;

    if (!client_of(c, named, &client)) {
        refuse(c, SOCKS_NOT_ALLOWED);
        return;
    }
    getsockname(tb_conn_fd(c->client), (struct sockaddr *)&local, &(socklen_t){sizeof local});
    if (local.ss_family != AF_INET && local.ss_family != AF_INET6)
        (void)socks_to_sockaddr(&(struct socks_addr){.type = SOCKS_IPV4, .ip = {127, 0, 0, 1}},
                                &local);
    r = udp_relay_open(c->s, &local, &client, on_relay_closed, c, &c->udp);
    if (r < 0) {
        refuse(c, code_of(r));
        return;
    }
    c->state = ASSOCIATED;
    c->s->counters.associations++;
    tb_deadline_stop(&c->deadline);
    udp_relay_addr(c->udp, &bound);
    socks_put_reply(&out, SOCKS_OK, &bound);
    reply = tb_buf_span(&out);
    (void)tb_conn_write(c->client, &reply, 1);
}

/* ---- The client ---- */

static void obey(struct session *c, uint8_t command) {
    if (command != SOCKS_CONNECT && command != SOCKS_UDP_ASSOCIATE) {
        refuse(c, SOCKS_NO_COMMAND);
    } else if (!c->s->attached) {
        refuse(c, SOCKS_NETWORK_UNREACHABLE);
    } else if (command == SOCKS_UDP_ASSOCIATE) {
        associate(c, &c->to);
    } else {
        tb_deadline_start(&c->deadline, CONNECT_MS);
        if (c->to.type == SOCKS_NAME)
            resolve(c);
        else
            connect_to(c, &c->to);
    }
}

static void greet(struct session *c, struct tb_span *in) {
    uint8_t room[2];
    struct tb_buf out = TB_BUF(room);
    struct tb_span choice;
    bool none = false;
    int r = socks_take_greeting(in, &none);

    if (r < 0) {
        session_close(c); /* it speaks something else: no answer would be understood */
        return;
    }
    if (r == 0)
        return;
    socks_put_choice(&out, none);
    choice = tb_buf_span(&out);
    if (tb_conn_write(c->client, &choice, 1) < 0)
        return; /* it closes */
    c->state = REQUEST;
    if (!none) {
        tb_conn_finish(c->client);
        drop_rest(c);
    }
}

static void take_request(struct session *c, struct tb_span *in) {
    uint8_t command = 0;
    int r = socks_take_request(in, &command, &c->to);

    if (r == TB_EUNSUP)
        refuse(c, SOCKS_NO_ADDRESS_TYPE);
    else if (r < 0)
        refuse(c, SOCKS_FAILURE);
    else if (r == 1)
        obey(c, command);
}

static size_t on_client_data(struct tb_conn *conn, struct tb_span data, void *user) {
    struct session *c = user;
    struct tb_span in = data;

    (void)conn;
    if (c->state == GREETING)
        greet(c, &in);
    if (c->state == REQUEST && in.n > 0)
        take_request(c, &in);
    if (c->closing || c->state == ASSOCIATED)
        return data.n; /* nobody reads what comes on this connection */
    if (c->state == RELAYING && in.n > 0) {
        still_alive(c);
        pipe_put(&c->pipes[RADIO_UP], in);
        return data.n;
    }
    return data.n - in.n;
}

static void on_client_drain(struct tb_conn *conn, void *user) {
    struct session *c = user;

    (void)conn;
    if (!c->closing)
        pipe_drained(&c->pipes[RADIO_DOWN]);
}

static bool on_client_end(struct tb_conn *conn, void *user) {
    struct session *c = user;

    (void)conn;
    c->client_ended = true;
    if (c->state == RELAYING)
        side_ended(c, RADIO_UP);
    return c->state == RESOLVING || c->state == CONNECTING || c->state == RELAYING;
}

static void on_client_closed(int why, void *user) {
    struct session *c = user;

    c->client = NULL;
    side_closed(c, RADIO_UP, why);
}

static const struct tb_conn_ops client_ops = {.on_data = on_client_data,
                                              .on_drain = on_client_drain,
                                              .on_end = on_client_end,
                                              .on_closed = on_client_closed};

void session_accept(struct data_service *s) {
    struct session *c;

    if (s->counters.open >= SESSIONS_MAX) {
        tb_warn("data", "%d connections are open: one more is turned away", SESSIONS_MAX);
        return; /* not accepted: the listener closes it */
    }
    c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->s = s;
    if (tb_listener_accept(s->listener, &client_ops, c, &c->client) < 0) {
        free(c);
        return;
    }
    s->counters.clients++;
    s->counters.open++;
    pipe_init(&c->pipes[RADIO_UP], s->loop, s->radio, &c->flow, RADIO_UP);
    pipe_init(&c->pipes[RADIO_DOWN], s->loop, s->radio, &c->flow, RADIO_DOWN);
    tb_deadline_init(s->loop, &c->deadline, on_deadline, c);
    c->timers = 3;
    tb_deadline_start(&c->deadline, REQUEST_MS);
    c->next = s->sessions;
    s->sessions = c;
}

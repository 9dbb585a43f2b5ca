#include "coap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coap_internal.h"

enum { BLOCK = 16384 };

/* ---- libcoap on the loop ---- */

static void deliver(struct dev_coap_protocol *c) {
    const struct dev_protocol_host *host = c->p.host;
    struct dev_coap_told *t;

    while ((t = c->told)) {
        c->told = t->next;
        if (!c->told)
            c->last_told = &c->told;
        if (t->id)
            host->on_done(t->id, t->status, t->members, t->why, c->p.user);
        else
            host->on_event(t->event, t->members, c->p.user);
        free(t);
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct dev_coap_protocol *c) {
    uint64_t deadline = dev_coap_requests_overdue(c), now = dev_now();
    coap_tick_t ticks;
    unsigned ms;

    if (!c->session) {
        uv_timer_stop(&c->timer);
        return;
    }
    coap_ticks(&ticks);
    ms = coap_io_prepare_epoll(c->ctx, ticks); /* also sends what is due; 0: nothing to wait for */
    if (deadline && (ms == 0 || deadline < now + ms))
        ms = deadline > now ? (unsigned)(deadline - now) : 1;
    if (ms == 0) {
        uv_timer_stop(&c->timer);
    } else {
        uv_update_time(c->loop); /* the loop's time stands still during a callback */
        uv_timer_start(&c->timer, on_timer, ms, 0);
    }
}

void dev_coap_soon(struct dev_coap_protocol *c) {
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

void dev_coap_after(struct dev_coap_protocol *c) {
    arm(c);
    deliver(c);
    if (c->task && (c->dead[0] || !c->up))
        dev_task_wake(c->task);
}

static void step(struct dev_coap_protocol *c) {
    if (c->session && coap_io_process(c->ctx, COAP_IO_NO_WAIT) < 0)
        dev_coap_dead(c, "coap: libcoap cannot go on");
    dev_coap_after(c);
}

static void on_timer(uv_timer_t *timer) {
    step(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    step(poll->data);
}

void dev_coap_dead(struct dev_coap_protocol *c, const char *why) {
    if (!c->dead[0])
        snprintf(c->dead, sizeof c->dead, "%s", why);
}

static int on_event(coap_session_t *session, const coap_event_t event) {
    struct dev_coap_protocol *c = coap_session_get_app_data(session);

    if (!c)
        return 0;
    switch (event) {
    case COAP_EVENT_TCP_CONNECTED:
        c->connected = true;
        break;
    case COAP_EVENT_SESSION_CONNECTED:
        c->greeted = true;
        break;
    case COAP_EVENT_SESSION_CLOSED:
    case COAP_EVENT_SESSION_FAILED:
    case COAP_EVENT_TCP_CLOSED:
    case COAP_EVENT_TCP_FAILED:
        dev_coap_dead(c, "coap: the hub broke the protocol, or ended the session");
        break;
    default:
        break;
    }
    return 0;
}

/* ---- a session ---- */

static coap_fixed_point_t fixed(unsigned ms) {
    return (coap_fixed_point_t){(uint16_t)(ms / 1000), (uint16_t)(ms % 1000)};
}

static int open_session(struct dev_coap_protocol *c, struct dev_failure *why) {
    coap_address_t to;
    uint16_t port;
    int r = dev_local_open(c->task, c->cfg.datagrams, &port, &c->local);

    if (r < 0) {
        dev_fail(why, "coap: %s", tb_strerror(r));
        return r;
    }
    coap_address_init(&to);
    to.size = sizeof to.addr.sin;
    to.addr.sin = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    c->session = coap_new_client_session(c->ctx, NULL, &to,
                                         c->cfg.datagrams ? COAP_PROTO_UDP : COAP_PROTO_TCP);
    if (!c->session) {
        dev_fail(why, "coap: no session with 127.0.0.1:%u", port);
        return TB_EPROTO;
    }
    coap_session_set_app_data(c->session, c);
    coap_session_set_no_observe_cancel(c->session);
    coap_session_set_ack_timeout(c->session, fixed(c->cfg.ack_timeout_ms));
    coap_session_set_max_retransmit(c->session, (uint16_t)c->cfg.max_retransmit);
    return 0;
}

static uint16_t libcoap_port(const struct dev_coap_protocol *c) {
    return ntohs(coap_session_get_addr_local(c->session)->addr.sin.sin_port);
}

/* The hub accepts us: DTLS has said so, over TCP its CSM does (RFC 8323 5.3). */
static void on_up(struct dev_coap_protocol *c) {
    c->up = true;
    c->p.host->on_up(NULL, true, c->p.user);
    dev_coap_requests_again(c);
    dev_coap_after(c);
}

static int from_hub(struct dev_coap_protocol *c, struct dev_channel *ch, struct dev_failure *why) {
    uint8_t block[BLOCK];
    int r;

    if (dev_local_full(c->local))
        return 0;
    r = ch->ops->read(ch, block, sizeof block, why);
    if (r == UV_EAGAIN)
        return 0;
    if (r == TB_ECLOSED)
        dev_fail(why, "hub closed the connection");
    if (r < 0)
        return r;
    if (!c->cfg.datagrams)
        dev_stream_ack_now(ch->stream);
    r = dev_local_write(c->local, block, (size_t)r);
    if (r < 0)
        dev_fail(why, "coap: %s", tb_strerror(r));
    return r < 0 ? r : 1;
}

static int to_hub(struct dev_coap_protocol *c, struct dev_channel *ch, struct dev_failure *why) {
    struct tb_span data = dev_local_data(c->local);
    int r;

    if (data.n == 0 || (!c->cfg.datagrams && dev_stream_full(ch->stream)))
        return 0;
    r = ch->ops->write(ch, data.p, data.n, why);
    if (r == TB_ERANGE && c->cfg.datagrams) { /* only this one is lost */
        why->reason[0] = '\0';
        r = 0;
    }
    if (r < 0)
        return dev_channel_last_words(ch, r, why);
    dev_local_eat(c->local);
    dev_local_ack_now(c->local);
    return 1;
}

/* 1 when something moved. */
static int relay(struct dev_coap_protocol *c, struct dev_channel *ch, struct dev_failure *why) {
    int up = to_hub(c, ch, why), down;

    if (up < 0)
        return up;
    down = from_hub(c, ch, why);
    return down < 0 ? down : up || down;
}

/* The hub said why before it took nothing more (an alert): that is read first. */
static int why_dead(struct dev_coap_protocol *c, struct dev_failure *why) {
    if (!why->reason[0])
        dev_fail(why, "%s", c->dead);
    return TB_EPROTO;
}

static int run(struct dev_protocol *p, struct dev_task *t, struct dev_channel *ch,
               struct dev_failure *why) {
    struct dev_coap_protocol *c = (struct dev_coap_protocol *)p;
    bool peer = false;
    int r;

    c->task = t;
    c->up = c->leaving = false;
    c->connected = c->greeted = c->cfg.datagrams;
    c->dead[0] = '\0';
    r = open_session(c, why);
    if (r < 0)
        return r;
    uv_poll_start(&c->poll, UV_READABLE, on_poll);
    arm(c);
    for (;;) {
        if (!peer && c->connected) {
            r = dev_local_peer(c->local, libcoap_port(c));
            if (r < 0)
                return r;
            peer = r == 1;
        }
        if (peer && !c->up && c->greeted)
            on_up(c);
        if (c->leaving)
            return 0;
        r = peer ? relay(c, ch, why) : 0;
        if (r < 0)
            return r;
        if (r == 0 && c->dead[0])
            return why_dead(c, why);
        if (r == 0) {
            r = dev_task_wait(t, 0);
            if (r == TB_ETIMEOUT && !c->up)
                dev_fail(why, "coap: no CSM in time");
            if (r < 0)
                return r;
        }
    }
}

static void end(struct dev_protocol *p) {
    struct dev_coap_protocol *c = (struct dev_coap_protocol *)p;

    c->task = NULL;
    c->up = false;
    if (c->session) {
        coap_session_set_app_data(c->session, NULL); /* what ends now is not the hub's doing */
        coap_session_release(c->session);
    }
    c->session = NULL;
    uv_poll_stop(&c->poll);
    uv_timer_stop(&c->timer);
    dev_local_close(c->local);
    c->local = NULL;
    dev_coap_requests_ended(c);
    deliver(c);
}

static void leave(struct dev_protocol *p) {
    struct dev_coap_protocol *c = (struct dev_coap_protocol *)p;

    c->leaving = true;
    if (c->task)
        dev_task_wake(c->task);
}

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *h) {
    struct dev_coap_protocol *c = h->data;
    void (*closed)(void *) = c->closed;
    void *arg = c->closed_arg;

    if (--c->handles)
        return;
    coap_free_context(c->ctx);
    dev_coap_requests_free(c);
    free(c->host);
    free(c);
    closed(arg);
}

static void close_protocol(struct dev_protocol *p, void (*done)(void *arg), void *arg) {
    struct dev_coap_protocol *c = (struct dev_coap_protocol *)p;

    c->closed = done;
    c->closed_arg = arg;
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

static const struct dev_protocol_ops ops = {
    .name = "coap",
    .run = run,
    .end = end,
    .leave = leave,
    .close = close_protocol,
    .request = dev_coap_request,
    .cancel = dev_coap_cancel,
};

struct dev_protocol *dev_protocol_coap(uv_loop_t *loop, const struct dev_coap_config *cfg) {
    struct dev_coap_protocol *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    coap_startup();
    coap_set_log_level(LOG_EMERG); /* what matters, its callbacks tell */
    c->p.ops = &ops;
    c->loop = loop;
    c->cfg = *cfg;
    c->host = strdup(cfg->host);
    c->last_told = &c->told;
    c->ctx = coap_new_context(NULL);
    if (!c->host || !c->ctx)
        abort(); /* no memory, no descriptors */
    coap_context_set_block_mode(c->ctx, COAP_BLOCK_USE_LIBCOAP);
    coap_context_set_keepalive(c->ctx, cfg->ping_s);
    coap_register_event_handler(c->ctx, on_event);
    dev_coap_requests_install(c->ctx);
    if (uv_poll_init(loop, &c->poll, coap_context_get_coap_fd(c->ctx)) < 0)
        abort();
    uv_timer_init(loop, &c->timer);
    c->poll.data = c->timer.data = c;
    c->handles = 2;
    return &c->p;
}

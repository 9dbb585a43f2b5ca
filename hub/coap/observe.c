/* Observers (RFC 7641), each of its device's own resource: libcoap's would be told of everybody's.
 * Notifications are confirmable, so that the last one arrives and those who are gone are noticed;
 * libcoap does not say when one has been acknowledged, so bursts are held back by time, and what
 * was overtaken meanwhile is left out (4.5.1: the latest state counts). */
#include <stdlib.h>
#include <string.h>

#include "coap/internal.h"
#include "tb/log.h"

enum {
    BURST = 16,
    REFILL_MS = 1000,
    NUMBERS = 1 << 24,
    PING_AFTER = 32, /* notifications over TCP that nothing has answered */
    GONE_AFTER = 64,
};

struct hub_coap_observer {
    struct hub_coap_observer *next, **link;
    struct hub_coap_peer *peer;
    struct hub_api_watch watch;
    struct hub_coap_ask ask;
    enum hub_api_resource what;
    uint32_t number;      /* of the last notification */
    unsigned allowance;   /* notifications that may go at once */
    uint64_t refilled_ms; /* when the allowance was looked at */
    bool behind;
};

static void forget(struct hub_coap_observer *o) {
    struct hub_coap_peer *p = o->peer;

    hub_api_unwatch(p->coap->cfg.api, &o->watch);
    *o->link = o->next;
    if (o->next)
        o->next->link = o->link;
    p->observer_count--;
    if (p->observer_count == 0)
        coap_session_release(p->session);
    free(o);
}

static bool may_go(struct hub_coap_observer *o) {
    const uint64_t now = tb_clock_mono_ms(), earned = (now - o->refilled_ms) / REFILL_MS;

    o->refilled_ms += earned * REFILL_MS;
    o->allowance = earned >= BURST - o->allowance ? BURST : o->allowance + (unsigned)earned;
    if (o->allowance == 0)
        return false;
    o->allowance--;
    return true;
}

/* Over TCP nothing acknowledges a notification, and libcoap queues what a peer that has stopped
 * reading does not take: it is asked (RFC 8323 5.4), and given up. */
static void count_unheard(struct hub_coap_peer *p) {
    if (!COAP_PROTO_RELIABLE(coap_session_get_proto(p->session)))
        return;
    p->unheard++;
    if (p->unheard >= GONE_AFTER)
        hub_coap_doom(p, "timeout");
    else if (p->unheard == PING_AFTER)
        hub_coap_ask_if_alive(p);
}

/* Something that cannot be answered with success ends the observation (4.2). Sending may be the end
 * of the session, so it is the last thing. */
static void notify(const struct hub_api_answer *a, void *arg) {
    struct hub_coap_observer *o = arg;
    struct hub_coap_peer *p = o->peer;
    const struct hub_coap_ask ask = o->ask;
    if (a->status >= 300) {
        forget(o);
        hub_coap_send(p, &ask, true, a, -1);
    } else if (may_go(o)) {
        o->behind = false;
        o->number = (o->number + 1) % NUMBERS;
        count_unheard(p);
        if (!p->reason) /* else it is about to go */
            hub_coap_send(p, &ask, true, a, o->number);
    } else {
        o->behind = true;
        hub_coap_arm(p->coap);
    }
}

static struct hub_coap_observer *find(struct hub_coap_peer *p, const uint8_t *token, size_t n) {
    struct hub_coap_observer *o = p->observers;

    while (o && (o->ask.token_n != n || memcmp(o->ask.token, token, n) != 0))
        o = o->next;
    return o;
}

void hub_coap_forget(struct hub_coap_peer *p, const uint8_t *token, size_t n) {
    struct hub_coap_observer *o = find(p, token, n);

    if (o)
        forget(o);
}

void hub_coap_forget_all(struct hub_coap_peer *p) {
    for (struct hub_coap_observer *o = p->observers, *next; o; o = next) {
        next = o->next;
        forget(o);
    }
}

static void look_at(struct hub_coap_observer *o, enum hub_api_resource what) {
    struct hub_api *api = o->peer->coap->cfg.api;

    hub_api_unwatch(api, &o->watch);
    o->what = what;
    hub_api_watch(api, o->peer->id.peer.cred.device, what, notify, o, &o->watch);
}

/* The session stays while somebody observes: libcoap would take it for idle. */
static struct hub_coap_observer *
observer_new(struct hub_coap_peer *p, const struct hub_coap_ask *ask, enum hub_api_resource what) {
    struct hub_coap_observer *o = calloc(1, sizeof *o);

    if (!o)
        abort();
    o->peer = p;
    o->ask = *ask;
    o->what = what;
    o->allowance = BURST;
    o->refilled_ms = tb_clock_mono_ms();
    o->next = p->observers;
    o->link = &p->observers;
    if (o->next)
        o->next->link = &o->next;
    p->observers = o;
    if (p->observer_count++ == 0)
        coap_session_reference(p->session);
    hub_api_watch(p->coap->cfg.api, p->id.peer.cred.device, what, notify, o, &o->watch);
    return o;
}

bool hub_coap_observe(struct hub_coap_peer *p, const struct hub_coap_ask *ask,
                      enum hub_api_resource what, uint32_t *ret_number) {
    struct hub_coap_observer *o = find(p, ask->token, ask->token_n);

    if (!o && p->observer_count >= HUB_COAP_OBSERVERS_MAX)
        return false;
    if (!o)
        o = observer_new(p, ask, what);
    else if (o->what != what) /* the token is used for something else now */
        look_at(o, what);
    o->ask = *ask;
    o->ask.block2_num = 0;
    *ret_number = o->number = (o->number + 1) % NUMBERS;
    return true;
}

static void catch_up(struct hub_coap_observer *o) {
    const struct hub_api_peer who = {.device = o->peer->id.peer.cred.device};
    const struct hub_api_request req = {.method = HUB_API_GET,
                                        .path = o->what == HUB_API_COMMAND ? "/command" : "/state"};

    hub_api_request(o->peer->coap->cfg.api, &who, &req, notify, o); /* answers at once */
}

bool hub_coap_catch_up(struct hub_coap *c) {
    const unsigned gone = c->gone;
    bool more = false;

    for (struct hub_coap_peer *p = c->first; p; p = p->next) {
        for (struct hub_coap_observer *o = p->observers, *next; o; o = next) {
            next = o->next;
            if (!o->behind)
                continue;
            more = true; /* or not, as the next time will show */
            catch_up(o);
            if (c->gone != gone)
                return true; /* the list has changed */
        }
    }
    return more;
}

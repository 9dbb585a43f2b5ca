/* All listeners: opened, watched over, closed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/hub.h"
#include "coap/coap.h"
#include "tb/log.h"

static bool on_mqtt(struct hub_tls *t, const struct hub_peer *peer, void *user) {
    struct hub_listener *l = user;

    hub_tell_session(l, peer, "mqtt");
    hub_session_start(l->hub->sessions, t, peer, l->hub->broker);
    return true;
}

static void on_refused(enum hub_verdict v, const struct hub_peer *peer, void *user) {
    hub_tell_refused(user, v, peer);
}

int hub_listener_open_front(struct hub_listener *l,
                            bool (*on_open)(struct hub_tls *t, const struct hub_peer *peer,
                                            void *user),
                            struct tb_error *e) {
    struct hub *h = l->hub;
    const struct hub_front_config cfg = {.name = l->name,
                                         .psk = hub_listener_is_psk(l),
                                         .cert_optional = l->cert_optional,
                                         .min_version = l->min_version,
                                         .max_version = l->max_version,
                                         .groups = l->groups,
                                         .ciphers = l->ciphers,
                                         .cert_file = h->opt.cert,
                                         .key_file = h->opt.key,
                                         .keylog_file = h->opt.keylog,
                                         .resumption = l->resumption,
                                         .deadline_ms = h->opt.deadline_ms,
                                         .max_connections = h->opt.max_connections,
                                         .registry = h->registry,
                                         .on_open = on_open,
                                         .on_refused = on_refused,
                                         .user = l};
    int err = hub_front_open(tb_loop_uv(h->loop), &l->at, &cfg, &l->front, e);

    if (err == 0)
        l->real = *hub_front_addr(l->front);
    return err;
}

static int open_listener(struct hub_listener *l, struct tb_error *e) {
    switch (l->kind) {
    case HUB_MQTTS:
    case HUB_MQTTS_PSK:
        return hub_listener_open_front(l, on_mqtt, e);
    case HUB_COAPS:
    case HUB_COAPS_PSK:
        return hub_listener_open_coap(l, e);
    case HUB_HTTPS:
    case HUB_METRICS:
        return hub_listener_open_http(l, e);
    default:
        abort();
    }
}

static void close_listener(struct hub_listener *l) {
    if (l->front)
        hub_front_close(l->front);
    l->front = NULL;
    if (l->coap)
        hub_coap_close(l->coap);
    l->coap = NULL;
    if (l->plain)
        tb_listener_close(l->plain);
    l->plain = NULL;
}

static int name_is_new(const struct hub *h, const struct hub_listener *l, struct tb_error *e) {
    for (size_t i = 0; i < h->listener_count; i++) {
        if (strcmp(h->listeners[i].name, l->name) == 0)
            return tb_error_set(e, TB_EPARSE, NULL, 0, "two listeners are named %s", l->name);
    }
    return 0;
}

static int parse_versions(const struct hub_options *o, struct hub_listener_defaults *d,
                          struct tb_error *e) {
    int same;

    if (hub_versions_parse(o->tls_min, &d->min_version, &same) < 0 || d->min_version != same)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--tls-min: 1.2 or 1.3 is wanted, not \"%s\"",
                            o->tls_min);
    if (hub_versions_parse(o->tls_max, &same, &d->max_version) < 0 || d->max_version != same)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--tls-max: 1.2 or 1.3 is wanted, not \"%s\"",
                            o->tls_max);
    return d->min_version <= d->max_version
               ? 0
               : tb_error_set(e, TB_ERANGE, NULL, 0,
                              "--tls-min is above --tls-max: nobody could connect");
}

static int parse_all(struct hub *h, struct tb_error *e) {
    const struct hub_options *o = &h->opt;
    struct hub_listener_defaults d = {
        .resumption = o->resumption, .groups = o->groups, .ciphers = o->ciphers};
    size_t total = 0;
    int err = parse_versions(o, &d, e);

    for (unsigned k = 0; k < HUB_LISTENER_KINDS; k++)
        total += o->listen[k].n;
    h->listeners = calloc(total + 1, sizeof *h->listeners);
    if (!h->listeners)
        abort();
    for (unsigned k = 0; k < HUB_LISTENER_KINDS; k++) {
        for (unsigned i = 0; i < o->listen[k].n && err == 0; i++) {
            struct hub_listener *l = &h->listeners[h->listener_count];

            if (strcmp(o->listen[k].v[i], "none") == 0)
                continue;
            err = hub_listener_parse(k, i + 1, o->listen[k].v[i], &d, l, e);
            if (err < 0)
                break;
            l->hub = h;
            err = name_is_new(h, l, e);
            h->listener_count++;
        }
    }
    if (err == 0 && h->listener_count == 0)
        err = tb_error_set(e, TB_ERANGE, NULL, 0, "no listener: nobody could connect");
    return err;
}

/* Stop hooks run in reverse order of registration. */
static void stop_listeners(void *arg) {
    struct hub *h = arg;

    h->stopping = true;
    hub_sessions_close(h->sessions);
    hub_http_close(h->http); /* who was connected has been told of */
    h->http = NULL;
    for (size_t i = 0; i < h->listener_count; i++)
        close_listener(&h->listeners[i]);
}

int hub_listeners_start(struct hub *h, struct tb_error *e) {
    struct hub_session_hooks hooks = hub_session_hooks;
    int err = parse_all(h, e);

    if (err < 0)
        return err;
    hooks.user = h;
    h->sessions = hub_sessions_new(tb_loop_uv(h->loop), &hooks);
    tb_loop_on_stop(h->loop, stop_listeners, h);
    for (size_t i = 0; i < h->listener_count && err == 0; i++)
        err = open_listener(&h->listeners[i], e);
    return err;
}

int hub_listeners_refresh(struct hub *h, struct tb_error *e) {
    int err = 0;

    for (size_t i = 0; i < h->listener_count && err == 0; i++) {
        if (h->listeners[i].front)
            err = hub_front_refresh(h->listeners[i].front, e);
        if (h->listeners[i].coap)
            err = hub_coap_refresh(h->listeners[i].coap, e);
    }
    return err;
}

bool hub_is_over(struct hub *h, const struct hub_credential *c, const char **ret_reason) {
    struct hub_credential known;
    enum hub_verdict v;
    int err;

    if (c->id == 0)
        return false; /* nobody */
    err = hub_registry_lookup(h->registry, c->fp, &known);
    if (err < 0 && err != TB_ENOTFOUND)
        return false; /* the registry cannot be read: new devices are refused, these go on */
    v = hub_judge(err == 0 ? &known : NULL, tb_clock_wall_ms() / 1000);
    *ret_reason = hub_verdict_name(v);
    return v != HUB_ACCEPTED;
}

static bool is_over(const struct hub_session *s, const char **ret_reason, void *user) {
    return hub_is_over(user, &hub_session_peer(s)->cred, ret_reason);
}

static bool is_peer_over(const struct hub_peer *peer, const char **ret_reason, void *user) {
    return hub_is_over(user, &peer->cred, ret_reason);
}

unsigned hub_listeners_kick(struct hub *h) {
    unsigned n = hub_sessions_kick(h->sessions, is_over, h), coap = 0;

    for (size_t i = 0; i < h->listener_count; i++) {
        if (h->listeners[i].coap)
            coap += hub_coap_kick(h->listeners[i].coap, is_peer_over, h);
    }
    h->coap_kicked += coap;
    return n + coap + (h->http ? hub_http_kick(h->http, is_peer_over, h) : 0);
}

void hub_listeners_done(struct hub *h) {
    hub_sessions_free(h->sessions);
    for (size_t i = 0; i < h->listener_count; i++)
        hub_listener_done(&h->listeners[i]);
    free(h->listeners);
}

unsigned hub_live_sessions(const struct hub *h) {
    unsigned n = (h->sessions ? hub_sessions_count(h->sessions) : 0) + hub_http_count(h->http);

    for (size_t i = 0; i < h->listener_count; i++) {
        if (h->listeners[i].coap)
            n += hub_coap_sessions(h->listeners[i].coap);
    }
    return n;
}

unsigned hub_connections(const struct hub *h) {
    unsigned n = 0;

    for (size_t i = 0; i < h->listener_count; i++) {
        if (h->listeners[i].front)
            n += hub_front_connections(h->listeners[i].front);
        if (h->listeners[i].coap)
            n += hub_coap_connections(h->listeners[i].coap);
    }
    return n;
}

static bool has_tcp(const struct hub_listener *l) {
    return l->coap && l->tcp;
}

static json_t *describe(const struct hub_listener *l, bool tcp) {
    char at[300], kind[24];

    snprintf(kind, sizeof kind, "%s%s", hub_listener_kind_name(l->kind), tcp ? "_tcp" : "");
    return json_pack("{s:s, s:s, s:s, s:s}", "name", l->name, "kind", kind, "at",
                     tb_addr_str(tcp ? &l->real_tcp : &l->real, at, sizeof at), "tls",
                     hub_listener_versions(l));
}

json_t *hub_json_listeners(const struct hub *h) {
    json_t *list = json_array();

    for (size_t i = 0; i < h->listener_count; i++) {
        json_array_append_new(list, describe(&h->listeners[i], false));
        if (has_tcp(&h->listeners[i]))
            json_array_append_new(list, describe(&h->listeners[i], true));
    }
    return list;
}

void hub_json_addresses(const struct hub *h, json_t *o) {
    json_t *list = hub_json_listeners(h), *l;
    size_t i;

    json_array_foreach(list, i, l) {
        const char *kind = json_string_value(json_object_get(l, "kind"));

        if (!json_object_get(o, kind))
            json_object_set(o, kind, json_object_get(l, "at"));
    }
    json_decref(list);
}

#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "api/device.h"
#include "tb/loop.h"
#include "tb/mqtt.h"

static const char plain[] = "text/plain", octets[] = "application/octet-stream";
static const char links[] = "</whoami>;ct=50,</telemetry>,</command>;obs,</state>;obs";

struct hub_api {
    struct hub_api_config cfg;
    struct hub_api_devices devices;
    struct hub_api_call *first; /* all that are under way */
    unsigned calls, handles, watches;
    bool closing;
};

/* One that is not answered at once: telemetry until the broker has it, a long poll until there is a
 * command or the time is up. */
struct hub_api_call {
    struct hub_api *api;
    struct hub_api_call *next, **link;
    hub_api_done_fn *done; /* NULL: cancelled */
    void *arg;
    struct tb_deadline deadline; /* of a poll */
    struct hub_api_watch watch;
    char device[HUB_DEVICE_MAX + 1];
    uint8_t *payload; /* of telemetry: for the event */
    size_t payload_n;
    bool is_poll;
};

static const struct hub_api_answer nothing = {.status = 204};

static struct hub_api_answer refusal(unsigned status, const char *why) {
    return (struct hub_api_answer){
        .status = status, .content_type = plain, .body = tb_span_str(why)};
}

static void answer(hub_api_done_fn *done, void *arg, struct hub_api_answer a) {
    done(&a, arg);
}

static void maybe_gone(struct hub_api *api) {
    if (!api->closing || api->calls > 0 || api->handles > 0 || api->watches > 0)
        return;
    hub_api_devices_done(&api->devices);
    free(api);
}

struct hub_api *hub_api_new(const struct hub_api_config *cfg) {
    struct hub_api *api = calloc(1, sizeof *api);

    if (!api)
        abort();
    api->cfg = *cfg;
    api->devices.bytes_max[HUB_API_COMMAND] = cfg->commands_max ? cfg->commands_max : 32U << 20;
    api->devices.bytes_max[HUB_API_STATE] = cfg->states_max ? cfg->states_max : 64U << 20;
    /* Microseconds: numbers go on growing over a restart, and fit into the 53 bits of JSON. */
    api->devices.sequence = (uint64_t)tb_clock_wall_ms() * 1000;
    return api;
}

static struct hub_api_call *call_new(struct hub_api *api, const char *device, hub_api_done_fn *done,
                                     void *arg) {
    struct hub_api_call *c;

    if (api->calls >= HUB_API_CALLS_MAX || api->closing)
        return NULL;
    c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->api = api;
    c->done = done;
    c->arg = arg;
    snprintf(c->device, sizeof c->device, "%s", device);
    c->next = api->first;
    c->link = &api->first;
    if (c->next)
        c->next->link = &c->next;
    api->first = c;
    api->calls++;
    return c;
}

static void on_deadline_closed(uv_handle_t *h) {
    struct hub_api_call *c = h->data;
    struct hub_api *api = c->api;

    free(c);
    api->handles--;
    maybe_gone(api);
}

/* Out of the list; the timer of a poll keeps the memory until it is closed. */
static void call_gone(struct hub_api_call *c) {
    struct hub_api *api = c->api;

    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    api->calls--;
    free(c->payload);
    if (c->is_poll) {
        hub_api_unwatch(api, &c->watch);
        c->deadline.timer.data = c;
        tb_deadline_close(&c->deadline, on_deadline_closed);
        return;
    }
    free(c);
    maybe_gone(api);
}

void hub_api_cancel(struct hub_api_call *c) {
    c->done = NULL;
    if (c->is_poll)
        call_gone(c);
}

void hub_api_close(struct hub_api *api) {
    struct hub_api_call *c;

    if (!api || api->closing)
        return;
    api->closing = true;
    api->handles++; /* this function */
    for (c = api->first; c;) {
        hub_api_done_fn *done = c->done;
        void *of = c->arg;

        if (!c->is_poll) { /* the broker will answer */
            c = c->next;
            continue;
        }
        call_gone(c);
        answer(done, of, refusal(503, "the hub is stopping"));
        c = api->first;
    }
    api->handles--;
    maybe_gone(api);
}

/* Representations */

static struct hub_api_answer represent(const struct hub_api_device *dev,
                                       enum hub_api_resource what) {
    const struct hub_api_doc *doc = dev ? &dev->doc[what] : NULL;

    if (doc && doc->p)
        return (struct hub_api_answer){.status = 200,
                                       .content_type = doc->type,
                                       .body = tb_span(doc->p, doc->n),
                                       .sequence = doc->sequence};
    return what == HUB_API_COMMAND ? nothing : refusal(404, "the hub keeps no state of you");
}

static void link_watch(struct hub_api_watch *w, struct hub_api_watch **at) {
    w->next = *at;
    w->link = at;
    if (w->next)
        w->next->link = &w->next;
    *at = w;
}

static void unlink_watch(struct hub_api_watch *w) {
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
}

void hub_api_watch(struct hub_api *api, const char *device, enum hub_api_resource what,
                   hub_api_done_fn *fn, void *arg, struct hub_api_watch *w) {
    struct hub_api_device *dev = hub_api_device_get(&api->devices, device);

    *w = (struct hub_api_watch){.device = dev, .what = what, .fn = fn, .arg = arg};
    link_watch(w, &dev->watches);
    api->watches++;
}

void hub_api_unwatch(struct hub_api *api, struct hub_api_watch *w) {
    unlink_watch(w);
    hub_api_device_tidy(&api->devices, w->device);
    api->watches--;
    maybe_gone(api);
}

/* A mark walks down the list: whoever is told may end any watch, and the device stays while the
 * mark is in it. */
static bool tell(struct hub_api *api, struct hub_api_device *dev, enum hub_api_resource what) {
    const struct hub_api_answer a = represent(dev, what);
    struct hub_api_watch mark = {.device = dev}, *w;
    bool told = false;

    link_watch(&mark, &dev->watches);
    while ((w = mark.next)) {
        unlink_watch(&mark);
        link_watch(&mark, &w->next);
        if (w->what == what && w->fn) {
            w->fn(&a, w->arg);
            told = true;
        }
    }
    unlink_watch(&mark);
    hub_api_device_tidy(&api->devices, dev);
    return told;
}

bool hub_api_device_of(struct tb_span topic, char ret_device[HUB_DEVICE_MAX + 1]) {
    static const struct tb_span prefix = {(const uint8_t *)"devices/", 8},
                                suffix = {(const uint8_t *)"/command", 8};
    const size_t n = topic.n - prefix.n - suffix.n;

    if (topic.n <= prefix.n + suffix.n || n > HUB_DEVICE_MAX || !tb_span_starts(topic, prefix) ||
        !tb_span_eq(tb_span_sub(topic, prefix.n + n, SIZE_MAX), suffix))
        return false;
    memcpy(ret_device, tb_span_sub(topic, prefix.n, n).p, n);
    ret_device[n] = '\0';
    return hub_device_id_ok(ret_device);
}

bool hub_api_message(struct hub_api *api, struct tb_span topic, struct tb_span payload,
                     bool retained) {
    struct hub_api_device *dev;
    struct hub_api_doc *doc;
    char id[HUB_DEVICE_MAX + 1];

    if (!hub_api_device_of(topic, id) || payload.n > HUB_API_BODY_MAX)
        return false;
    dev = hub_api_device_get(&api->devices, id);
    doc = &dev->doc[HUB_API_COMMAND];
    if (payload.n == 0 ? doc->p == NULL
                       : retained && doc->p && tb_span_eq(tb_span(doc->p, doc->n), payload)) {
        hub_api_device_tidy(&api->devices, dev);
        return false;
    }
    if (hub_api_device_set(&api->devices, dev, HUB_API_COMMAND,
                           tb_mqtt_utf8_ok(payload) ? plain : octets,
                           payload.n > 0 ? &payload : NULL) == 0)
        return tell(api, dev, HUB_API_COMMAND);
    hub_api_device_tidy(&api->devices, dev);
    return false;
}

/* Methods */

static void whoami(const struct hub_api_peer *peer, hub_api_done_fn *done, void *arg) {
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "device", peer->device, "identity",
                          peer->identity, "kind", peer->kind, "protocol", peer->protocol, "version",
                          peer->version, "cipher", peer->cipher);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    if (!text)
        abort();
    answer(done, arg,
           (struct hub_api_answer){
               .status = 200, .content_type = "application/json", .body = tb_span_str(text)});
    free(text);
}

static void on_published(int result, void *arg) {
    struct hub_api_call *c = arg;
    char topic[HUB_DEVICE_MAX + 32];

    snprintf(topic, sizeof topic, "devices/%s/telemetry", c->device);
    if (result >= 0 && c->api->cfg.on_publish)
        c->api->cfg.on_publish(c->device, topic, tb_span(c->payload, c->payload_n),
                               c->api->cfg.user);
    if (c->done)
        answer(c->done, c->arg,
               result >= 0 ? nothing : refusal(503, "the broker did not take the message"));
    call_gone(c);
}

static struct hub_api_call *telemetry(struct hub_api *api, const struct hub_api_peer *peer,
                                      const struct hub_api_request *req, hub_api_done_fn *done,
                                      void *arg) {
    struct hub_api_call *c = call_new(api, peer->device, done, arg);
    char topic[HUB_DEVICE_MAX + 32];
    int err = TB_ERANGE;

    if (c) {
        c->payload = malloc(req->body.n + 1);
        if (!c->payload)
            abort();
        if (req->body.n > 0)
            memcpy(c->payload, req->body.p, req->body.n);
        c->payload_n = req->body.n;
        snprintf(topic, sizeof topic, "devices/%s/telemetry", c->device);
        err = api->cfg.publish(topic, req->body, false, on_published, c, api->cfg.user);
    }
    if (err == 0)
        return c;
    if (c)
        call_gone(c);
    answer(
        done, arg,
        refusal(503, err == TB_ESTATE ? "the broker is down" : "too many messages are under way"));
    return NULL;
}

static void on_command(const struct hub_api_answer *a, void *arg) {
    struct hub_api_call *c = arg;
    hub_api_done_fn *done = c->done;
    void *of = c->arg;

    if (a->status != 200)
        return; /* a command has been withdrawn */
    call_gone(c);
    done(a, of);
}

static void on_poll_over(void *arg) {
    struct hub_api_call *c = arg;
    hub_api_done_fn *done = c->done;
    void *of = c->arg;

    call_gone(c);
    answer(done, of, nothing);
}

/* The value of a member of a query: -1 when it is not there, -2 when it is no number. */
static int64_t number_in(const char *query, const char *name) {
    const size_t n = strlen(name);
    int64_t value = 0;

    for (const char *p = query; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL) {
        if (strncmp(p, name, n) != 0 || p[n] != '=')
            continue;
        p += n + 1;
        if (strspn(p, "0123456789") == 0 || strspn(p, "0123456789") > 16)
            return -2;
        for (; *p >= '0' && *p <= '9'; p++)
            value = 10 * value + (*p - '0');
        return *p == '\0' || *p == '&' ? value : -2;
    }
    return -1;
}

static struct hub_api_call *command(struct hub_api *api, const struct hub_api_peer *peer,
                                    const struct hub_api_request *req, hub_api_done_fn *done,
                                    void *arg) {
    const struct hub_api_answer now =
        represent(hub_api_device_find(&api->devices, peer->device), HUB_API_COMMAND);
    int64_t wait = number_in(req->query, "wait"), after = number_in(req->query, "after");
    struct hub_api_call *c;

    if (wait == -2 || wait > HUB_API_WAIT_MAX_S || after == -2) {
        answer(done, arg, refusal(400, "wait is 0 … 60 seconds, after the number of a command"));
        return NULL;
    }
    if (after >= 0 && now.status == 200 && now.sequence <= (uint64_t)after && wait <= 0) {
        answer(done, arg, nothing);
        return NULL;
    }
    if (wait <= 0 || (after >= 0 && now.status == 200 && now.sequence > (uint64_t)after)) {
        answer(done, arg, now);
        return NULL;
    }
    c = call_new(api, peer->device, done, arg);
    if (!c) {
        answer(done, arg, refusal(503, "too many requests are waiting"));
        return NULL;
    }
    c->is_poll = true;
    api->handles++;
    hub_api_watch(api, c->device, HUB_API_COMMAND, on_command, c, &c->watch);
    tb_deadline_init(api->cfg.loop, &c->deadline, on_poll_over, c);
    tb_deadline_start(&c->deadline, (uint64_t)wait * 1000);
    return c;
}

bool hub_api_state(const struct hub_api *api, const char *device, struct hub_api_answer *ret) {
    *ret = represent(hub_api_device_find(&api->devices, device), HUB_API_STATE);
    return ret->status == 200;
}

int hub_api_set_state(struct hub_api *api, const char *device, const char *content_type,
                      struct tb_span body) {
    struct hub_api_device *dev;
    int err;

    if (body.n > HUB_API_BODY_MAX || strlen(content_type) > HUB_API_TYPE_MAX)
        return TB_ERANGE;
    dev = hub_api_device_get(&api->devices, device);
    err = hub_api_device_set(&api->devices, dev, HUB_API_STATE, content_type, &body);
    if (err == 0)
        tell(api, dev, HUB_API_STATE);
    else
        hub_api_device_tidy(&api->devices, dev);
    return err;
}

static struct hub_api_answer put_state(struct hub_api *api, const char *device,
                                       const struct hub_api_request *req) {
    const char *type = req->content_type && *req->content_type ? req->content_type : octets;
    const struct hub_api_device *dev = hub_api_device_find(&api->devices, device);
    const bool is_new = !dev || !dev->doc[HUB_API_STATE].p;

    if (strlen(type) > HUB_API_TYPE_MAX)
        return refusal(400, "the content type is too long");
    if (hub_api_set_state(api, device, type, req->body) < 0)
        return refusal(507, "the hub has no room for more state");
    dev = hub_api_device_find(&api->devices, device);
    return (struct hub_api_answer){.status = is_new ? 201 : 204,
                                   .sequence = dev ? dev->doc[HUB_API_STATE].sequence : 0};
}

static struct hub_api_answer delete_state(struct hub_api *api, const char *device) {
    struct hub_api_device *dev = hub_api_device_find(&api->devices, device);

    if (!dev || !dev->doc[HUB_API_STATE].p)
        return refusal(404, "the hub keeps no state of you");
    if (hub_api_device_set(&api->devices, dev, HUB_API_STATE, NULL, NULL) == 0)
        tell(api, dev, HUB_API_STATE);
    return nothing;
}

static struct hub_api_answer state(struct hub_api *api, const struct hub_api_peer *peer,
                                   const struct hub_api_request *req) {
    switch (req->method) {
    case HUB_API_PUT:
        return put_state(api, peer->device, req);
    case HUB_API_DELETE:
        return delete_state(api, peer->device);
    default:
        return represent(hub_api_device_find(&api->devices, peer->device), HUB_API_STATE);
    }
}

static const struct {
    const char *path, *allow;
    unsigned methods; /* by enum hub_api_method */
} resources[] = {
    {"/whoami", "GET", 1 << HUB_API_GET},
    {"/telemetry", "POST, PUT", 1 << HUB_API_POST | 1 << HUB_API_PUT},
    {"/command", "GET", 1 << HUB_API_GET},
    {"/state", "GET, PUT, DELETE", 1 << HUB_API_GET | 1 << HUB_API_PUT | 1 << HUB_API_DELETE},
    {"/.well-known/core", "GET", 1 << HUB_API_GET},
};
enum { WHOAMI, TELEMETRY, COMMAND, STATE, CORE, RESOURCES };

struct hub_api_call *hub_api_request(struct hub_api *api, const struct hub_api_peer *peer,
                                     const struct hub_api_request *req, hub_api_done_fn *done,
                                     void *arg) {
    struct hub_api_answer a;
    unsigned i = 0;

    while (i < RESOURCES && strcmp(resources[i].path, req->path) != 0)
        i++;
    if (i == RESOURCES) {
        a = refusal(404, "there are /whoami, /telemetry, /command and /state");
    } else if (!(resources[i].methods & 1U << req->method)) {
        a = refusal(405, "not with this method");
        a.allow = resources[i].allow;
    } else if (req->body.n > HUB_API_BODY_MAX) {
        a = refusal(413, "at most 65536 bytes");
    } else if (i == WHOAMI) {
        whoami(peer, done, arg);
        return NULL;
    } else if (i == TELEMETRY) {
        return telemetry(api, peer, req, done, arg);
    } else if (i == COMMAND) {
        return command(api, peer, req, done, arg);
    } else if (i == STATE) {
        a = state(api, peer, req);
    } else {
        a = (struct hub_api_answer){.status = 200,
                                    .content_type = "application/link-format",
                                    .body = tb_span(links, sizeof links - 1)};
    }
    done(&a, arg);
    return NULL;
}

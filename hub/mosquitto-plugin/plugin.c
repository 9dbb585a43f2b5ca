/* iot_hub_mosquitto.so: a mosquitto that ends TLS itself and asks the hub's registry who may come
 * in. Plugin interface version 5 (mosquitto 2.0). Everything runs on mosquitto's only thread; the
 * registry answers from memory, and its version is asked for at each tick.
 *
 * For mosquitto to call BASIC_AUTH, a listener must not have use_identity_as_username or
 * use_subject_as_username: the user name is set here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <openssl/x509.h>

#include "registry/registry.h"
#include "tb/hex.h"
#include "tb/loop.h"
#include "tls/verdict.h"

#define EXPORT __attribute__((visibility("default")))

enum { BUCKETS = 4096, RECHECK_MS = 10000 };

/* Somebody who has shown a credential: from the TLS handshake (PSK) or from CONNECT on. */
struct guest {
    struct guest *next;
    const struct mosquitto *client;
    struct hub_credential cred;
    bool in; /* its CONNECT has been accepted */
    bool kicked;
};

struct plugin {
    mosquitto_plugin_id_t *id;
    struct hub_registry *registry;
    struct guest *bucket[BUCKETS];
    uint64_t seen_generation, rechecked_ms;
};

static int64_t now_s(void) {
    return tb_clock_wall_ms() / 1000;
}

static struct guest **place_of(struct plugin *p, const struct mosquitto *client) {
    struct guest **at = &p->bucket[(uintptr_t)client / 64 % BUCKETS];

    while (*at && (*at)->client != client)
        at = &(*at)->next;
    return at;
}

static struct guest *note(struct plugin *p, const struct mosquitto *client,
                          const struct hub_credential *cred) {
    struct guest **at = place_of(p, client), *g = *at;

    if (!g) {
        g = calloc(1, sizeof *g);
        if (!g)
            abort();
        g->client = client;
        *at = g;
    }
    g->cred = *cred;
    g->in = g->kicked = false;
    return g;
}

static void forget(struct plugin *p, const struct mosquitto *client) {
    struct guest **at = place_of(p, client), *g = *at;

    if (!g)
        return;
    *at = g->next;
    free(g);
}

static int refuse(const struct mosquitto *client, const char *reason,
                  const struct hub_credential *c) {
    char identity[HUB_IDENTITY_TEXT];
    const char *address = mosquitto_client_address(client);

    mosquitto_log_printf(
        MOSQ_LOG_NOTICE, "iot-hub: refused reason=%s device=%s identity=%s from=%s", reason,
        c && *c->device ? c->device : "-",
        c && *c->device ? hub_credential_identity(c, identity) : "-", address ? address : "-");
    return MOSQ_ERR_AUTH;
}

/* Another look at somebody who was accepted before. A registry that cannot be read changes nothing:
 * strangers are refused, guests stay. */
static enum hub_verdict judge_again(struct plugin *p, struct hub_credential *c) {
    struct hub_credential known;
    int err = hub_registry_lookup(p->registry, c->fp, &known);

    if (err == 0)
        *c = known;
    return err == 0              ? hub_judge(c, now_s())
           : err == TB_ENOTFOUND ? HUB_UNKNOWN_CREDENTIAL
                                 : HUB_ACCEPTED;
}

static enum hub_verdict judge_cert(struct plugin *p, X509 *cert, struct hub_credential *ret) {
    uint8_t fp[HUB_FP_SIZE];
    unsigned n = sizeof fp;
    int err;

    memset(ret, 0, sizeof *ret);
    if (!X509_digest(cert, EVP_sha256(), fp, &n))
        return HUB_BAD_CERTIFICATE;
    err = hub_registry_lookup(p->registry, fp, ret);
    return hub_judge(err == 0 ? ret : NULL, now_s());
}

/* In the handshake, TLS 1.2 or 1.3: no key is alert 115 or 40. */
static int on_psk(int event, void *data, void *user) {
    struct mosquitto_evt_psk_key *e = data;
    struct plugin *p = user;
    struct hub_credential c = {0};
    struct tb_error error = {0};
    uint8_t secret[HUB_PSK_MAX];
    struct tb_buf hex = tb_buf(e->key, e->max_key_len > 0 ? (size_t)e->max_key_len - 1 : 0);
    enum hub_verdict v = HUB_UNKNOWN_PSK;
    size_t n = 0;

    (void)event;
    if (hub_registry_lookup_psk(p->registry, tb_span_str(e->identity), &c) == 0)
        v = hub_judge(&c, now_s());
    if (v != HUB_ACCEPTED)
        return refuse(e->client, hub_verdict_name(v), &c);
    if (hub_registry_psk(p->registry, &c, secret, &n, &error) < 0) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "iot-hub: %s: %s", error.file, error.message);
        return refuse(e->client, hub_verdict_name(HUB_UNKNOWN_PSK), &c);
    }
    tb_put_hex(&hex, tb_span(secret, n), TB_HEX_LOWER);
    tb_wipe(secret, sizeof secret);
    if (!tb_buf_ok(&hex))
        return MOSQ_ERR_AUTH;
    e->key[hex.n] = '\0';
    note(p, e->client, &c);
    return MOSQ_ERR_SUCCESS;
}

/* Client ids are the devices' own choice here; taking over the connection of another device by
 * choosing its id is not. */
static bool is_taken(const struct plugin *p, const struct mosquitto *client, const char *device) {
    const char *id = mosquitto_client_id(client);

    for (unsigned i = 0; id && i < BUCKETS; i++) {
        for (const struct guest *g = p->bucket[i]; g; g = g->next) {
            const char *other =
                g->in && g->client != client ? mosquitto_client_id(g->client) : NULL;

            if (other && strcmp(other, id) == 0 && strcmp(g->cred.device, device) != 0)
                return true;
        }
    }
    return false;
}

/* At CONNECT. What the client says its name is does not count. */
static int on_connect(int event, void *data, void *user) {
    struct mosquitto_evt_basic_auth *e = data;
    struct plugin *p = user;
    X509 *cert = mosquitto_client_certificate(e->client);
    struct guest *g = *place_of(p, e->client);
    struct hub_credential c;
    enum hub_verdict v = HUB_NO_CERTIFICATE;

    (void)event;
    memset(&c, 0, sizeof c);
    if (cert) {
        v = judge_cert(p, cert, &c);
        X509_free(cert);
    } else if (g) {
        c = g->cred;
        v = judge_again(p, &c);
    }
    if (v != HUB_ACCEPTED)
        return refuse(e->client, hub_verdict_name(v), &c);
    if (is_taken(p, e->client, c.device))
        return refuse(e->client, "client-id-taken", &c);
    if (mosquitto_set_username(e->client, c.device) != MOSQ_ERR_SUCCESS)
        return MOSQ_ERR_AUTH;
    note(p, e->client, &c)->in = true;
    return MOSQ_ERR_SUCCESS;
}

static int on_disconnect(int event, void *data, void *user) {
    const struct mosquitto_evt_disconnect *e = data;

    (void)event;
    forget(user, e->client);
    return MOSQ_ERR_SUCCESS;
}

static struct guest *find_over(struct plugin *p, enum hub_verdict *ret) {
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct guest *g = p->bucket[i]; g; g = g->next) {
            if (g->in && !g->kicked && (*ret = judge_again(p, &g->cred)) != HUB_ACCEPTED)
                return g;
        }
    }
    return NULL;
}

/* A kick may call on_disconnect(): the table is looked at from its beginning after each. */
static void recheck(struct plugin *p) {
    enum hub_verdict v;
    struct guest *g;

    while ((g = find_over(p, &v))) {
        const char *id = mosquitto_client_id(g->client);

        g->kicked = true;
        if (!id) /* not for mosquitto, to which that means everybody; it goes by itself */
            continue;
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "iot-hub: kicked reason=%s device=%s",
                             hub_verdict_name(v), g->cred.device);
        mosquitto_kick_client_by_clientid(id, true);
    }
    p->rechecked_ms = tb_clock_mono_ms();
}

/* Each 100 ms, and in each turn under load. Dates pass without a change of the registry. */
static int on_tick(int event, void *data, void *user) {
    struct plugin *p = user;
    const uint64_t generation = hub_registry_generation(p->registry);

    (void)event, (void)data;
    if (generation != p->seen_generation || tb_clock_mono_ms() - p->rechecked_ms > RECHECK_MS) {
        p->seen_generation = generation;
        recheck(p);
    }
    return MOSQ_ERR_SUCCESS;
}

static int on_reload(int event, void *data, void *user) {
    (void)event, (void)data;
    hub_registry_generation(((struct plugin *)user)->registry);
    recheck(user);
    return MOSQ_ERR_SUCCESS;
}

static const struct {
    int event;
    MOSQ_FUNC_generic_callback fn;
} events[] = {{MOSQ_EVT_PSK_KEY, on_psk},
              {MOSQ_EVT_BASIC_AUTH, on_connect},
              {MOSQ_EVT_DISCONNECT, on_disconnect},
              {MOSQ_EVT_TICK, on_tick},
              {MOSQ_EVT_RELOAD, on_reload}};
enum { EVENTS = sizeof events / sizeof *events };

/* What mosquitto looks for in a plugin. */
EXPORT int mosquitto_plugin_version(int count, const int *versions);
EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **ret,
                                 struct mosquitto_opt *options, int count);
EXPORT int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *options, int count);

int mosquitto_plugin_version(int count, const int *versions) {
    for (int i = 0; i < count; i++) {
        if (versions[i] == 5)
            return 5;
    }
    return -1;
}

static const char *option(const struct mosquitto_opt *options, int count, const char *name) {
    const char *value = NULL;

    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].key, name) == 0)
            value = options[i].value;
        else
            mosquitto_log_printf(MOSQ_LOG_WARNING, "iot-hub: no option plugin_opt_%s",
                                 options[i].key);
    }
    return value;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **ret, struct mosquitto_opt *options,
                          int count) {
    const char *state = option(options, count, "state");
    struct tb_error e = {0};
    struct plugin *p;

    if (!state) {
        mosquitto_log_printf(MOSQ_LOG_ERR,
                             "iot-hub: plugin_opt_state DIR is wanted, the hub's state folder");
        return MOSQ_ERR_INVAL;
    }
    p = calloc(1, sizeof *p);
    if (!p)
        return MOSQ_ERR_NOMEM;
    if (hub_registry_open_reader(state, &p->registry, &e) < 0) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "iot-hub: %s: %s", e.file[0] ? e.file : state,
                             e.message);
        free(p);
        return MOSQ_ERR_INVAL;
    }
    p->id = id;
    p->seen_generation = hub_registry_generation(p->registry);
    for (int i = 0; i < EVENTS; i++) {
        int err = mosquitto_callback_register(id, events[i].event, events[i].fn, NULL, p);

        if (err != MOSQ_ERR_SUCCESS)
            return err;
    }
    *ret = p;
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *options, int count) {
    struct plugin *p = user;

    (void)options, (void)count;
    if (!p)
        return MOSQ_ERR_SUCCESS;
    for (int i = 0; i < EVENTS; i++)
        mosquitto_callback_unregister(p->id, events[i].event, events[i].fn, NULL);
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (p->bucket[i])
            forget(p, p->bucket[i]->client);
    }
    hub_registry_close(p->registry);
    free(p);
    return MOSQ_ERR_SUCCESS;
}

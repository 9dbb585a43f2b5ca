#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coap.h"
#include "http.h"
#include "mqtt.h"

#define OPT(field) offsetof(struct dev_options, field)
static const struct tb_opt opts[] = {
    {"link", 'l', "SPEC",
     "where the card is: at:PLACE or cgla:PLACE (a modem; PLACE is /dev/…[,speed=BAUD], unix:/path "
     "or tcp:host:port), pcsc:[READER], or vpcd:PLACE",
     TB_OPT_STRING, OPT(link), NULL},
    {"aid", 0, "HEX", "applet to try first", TB_OPT_STRING, OPT(aid), NULL},
    {"hub", 'h', "URL",
     "mqtts://host:port, coaps://… (DTLS), coaps+tcp://… or https://…; host:port is mqtts",
     TB_OPT_STRING, OPT(hub), NULL},
    {"server-name", 0, "NAME", "name its certificate is for; the host's when not given",
     TB_OPT_STRING, OPT(server_name), NULL},
    {"via", 0, "URL", "socks5://host:port: reach the hub through this proxy", TB_OPT_STRING,
     OPT(via), NULL},
    {"stack", 0, "openssl|mbedtls", "TLS library", TB_OPT_STRING, OPT(stack), "openssl"},
    {"tls", 0, "1.2|1.3|any", "TLS version; coaps:// is DTLS 1.2", TB_OPT_STRING, OPT(tls), "any"},
    {"ca", 0, "card:ID|FILE", "trusted certificates: a file on the card, or PEM", TB_OPT_STRING,
     OPT(ca), "card:03"},
    {"cert", 0, "card:ID|FILE", "own certificate: a file on the card, or PEM", TB_OPT_STRING,
     OPT(cert), "card:02"},
    {"key", 0, "card:ID|FILE", "own private key: in the card, or PEM", TB_OPT_STRING, OPT(key),
     "card:01"},
    {"psk", 0, "card:ID|FILE",
     "pre-shared key in place of the certificate: in the card, or a file with hex", TB_OPT_STRING,
     OPT(psk), NULL},
    {"psk-identity", 0, "TEXT|card:ID", "its identity; it may be a file on the card", TB_OPT_STRING,
     OPT(psk_identity), NULL},
    {"psk-exchange", 0, "plain|ecdhe|any", "with it, ECDHE or not", TB_OPT_STRING,
     OPT(psk_exchange), "any"},
    {"offload", 0, "LIST",
     "what the card does besides: ecdhe, verify, random, derive (mbedtls), comma separated",
     TB_OPT_STRING, OPT(offload), NULL},
    {"ciphers", 0, "TEXT", "cipher suites, in the words of the TLS library", TB_OPT_STRING,
     OPT(ciphers), NULL},
    {"resume", 0, NULL, "offer the last TLS session again when reconnecting", TB_OPT_FLAG,
     OPT(resume), NULL},
    {"client-id", 'i', "TEXT",
     "MQTT client identifier (default: iot-device, in a section iot-device-NAME)", TB_OPT_STRING,
     OPT(client_id), NULL},
    {"user", 0, "TEXT", "MQTT user name", TB_OPT_STRING, OPT(user), NULL},
    {"password", 0, "TEXT", "MQTT password", TB_OPT_STRING, OPT(password), NULL},
    {"mqtt", 0, "3.1.1|5", "MQTT version", TB_OPT_STRING, OPT(mqtt), "3.1.1"},
    {"keep-session", 0, NULL, "ask the MQTT server to keep subscriptions between sessions",
     TB_OPT_FLAG, OPT(keep_session), NULL},
    {"subscribe", 's', "TOPIC", "subscribe when connected; may be given several times", TB_OPT_LIST,
     OPT(subscribe), NULL},
    {"publish", 'p', "TOPIC=TEXT", "publish when connected; may be given several times",
     TB_OPT_LIST, OPT(publish), NULL},
    {"qos", 'q', "0|1|2", "quality of service of both", TB_OPT_UINT, OPT(qos), "1"},
    {"keep-alive", 0, "S", "MQTT keep-alive", TB_OPT_UINT, OPT(keep_alive), "60"},
    {"request", 'r', "METHOD PATH[=TEXT]",
     "CoAP, HTTP: ask this when connected; may be given several times", TB_OPT_LIST, OPT(request),
     NULL},
    {"observe", 0, "PATH", "CoAP: observe when connected; may be given several times", TB_OPT_LIST,
     OPT(observe), NULL},
    {"content-type", 0, "TYPE", "of --request's TEXT", TB_OPT_STRING, OPT(content_type),
     "text/plain"},
    {"ack-timeout", 0, "MS", "CoAP: first wait for an acknowledgement, doubled each time",
     TB_OPT_UINT, OPT(ack_timeout), "2000"},
    {"max-retransmit", 0, "N", "CoAP: how often a message is sent again; then the hub is gone",
     TB_OPT_UINT, OPT(max_retransmit), "4"},
    {"coap-ping", 0, "S", "CoAP: is the hub there, after that much silence; 0: never", TB_OPT_UINT,
     OPT(coap_ping), "0"},
    {"timeout", 0, "MS", "time for one attempt, from the card to the session; and for one request",
     TB_OPT_UINT, OPT(timeout), "60000"},
    {"reconnect-min", 0, "MS", "first pause before another attempt", TB_OPT_UINT,
     OPT(reconnect_min), "1000"},
    {"reconnect-max", 0, "MS", "longest pause", TB_OPT_UINT, OPT(reconnect_max), "60000"},
    {"no-reconnect", 0, NULL, "give up after the first session or failure", TB_OPT_FLAG,
     OPT(no_reconnect), NULL},
    {"no-connect", 0, NULL, "wait for the control verb \"connect\"", TB_OPT_FLAG, OPT(no_connect),
     NULL},
    {"once", '1', NULL,
     "connect, do what the options say, disconnect; exit 0 when all of it was done", TB_OPT_FLAG,
     OPT(once), NULL},
    {"keylog", 0, "FILE", "append TLS secrets for Wireshark", TB_OPT_STRING, OPT(keylog), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

const struct tb_cli dev_cli = {
    "iot-device", NULL,
    "Connects to servers over TLS and DTLS with the keys in an IoT SAFE card: MQTT, CoAP, HTTP."
    "\vExamples:\n\n"
    "  iot-device --link at:unix:/run/modem.sock --hub hub.example:8883 --publish t=hello --once\n"
    "  iot-device --link vpcd:localhost:35963 --hub coaps://hub.example --psk card:05 "
    "--psk-identity card:06 --request 'GET whoami' --once\n\n"
    "In a --config file each section [NAME] is an application of its own with the same keys; what "
    "stands before the first section is for all of them.",
    opts};

const char *const dev_device_options[] = {"link", "aid", "keylog", "once", NULL};

/* ---- requests ---- */

static bool has_body(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0 &&
           strcmp(method, "HEAD") != 0;
}

/* A path with a query has '=' of its own: there a blank stands before the text. */
int dev_request_parse(const char *text, struct dev_request *ret, char **ret_room,
                      struct tb_error *e) {
    char *room = strdup(text), *path, *end;

    if (!room)
        abort();
    path = strchr(room, ' ');
    if (!path || path == room || !path[1] || path[1] == '=') {
        free(room);
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--request is METHOD PATH[=TEXT], not \"%s\"",
                            text);
    }
    *path++ = '\0';
    *ret = (struct dev_request){.method = room, .path = path};
    if (has_body(room)) {
        end = path + strcspn(path, "=? ");
        if (*end == '?')
            end += strcspn(end, " ");
        if (*end) {
            *end++ = '\0';
            ret->payload = tb_span_str(end);
        }
    }
    *ret_room = room;
    return 0;
}

/* ---- what fits together ---- */

static int check_mqtt(const struct dev_options *o, struct tb_error *e) {
    if (strcmp(o->mqtt, "3.1.1") != 0 && strcmp(o->mqtt, "5") != 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--mqtt is 3.1.1 or 5");
    if (o->qos > 2)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--qos is 0, 1 or 2");
    if (o->keep_alive > 65535)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--keep-alive is 65535 at most");
    if (o->request.n || o->observe.n)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--request and --observe are for coaps:// and https://, not for MQTT");
    for (size_t i = 0; i < o->publish.n; i++) {
        const char *equals = strchr(o->publish.v[i], '=');

        if (!equals || equals == o->publish.v[i])
            return tb_error_set(e, TB_EPARSE, NULL, 0, "--publish is TOPIC=TEXT");
    }
    return 0;
}

static int check_requests(const struct dev_options *o, enum dev_speaks speaks, struct tb_error *e) {
    struct dev_request rq = {0};
    char *room;
    int r;

    if (o->subscribe.n || o->publish.n)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--publish and --subscribe are MQTT's; here it is --request%s",
                            speaks == DEV_COAP ? " and --observe" : "");
    if (speaks == DEV_HTTP && o->observe.n)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--observe is CoAP's");
    if (speaks == DEV_COAP &&
        (o->ack_timeout < 1000 || o->max_retransmit < 1 || o->ack_timeout > 600000 ||
         o->max_retransmit > 20 || o->coap_ping > 86400))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--ack-timeout is 1000 to 600000, --max-retransmit 1 to 20, "
                            "--coap-ping 86400 at most");
    for (size_t i = 0; i < o->request.n; i++) {
        room = NULL;
        r = dev_request_parse(o->request.v[i], &rq, &room, e);
        if (r < 0)
            return r;
        r = speaks == DEV_COAP ? dev_coap_check(&rq, e) : dev_http_check(&rq, e);
        free(room);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check(const struct dev_options *o, const struct dev_hub *hub, struct tb_error *e) {
    if (o->reconnect_min < 1 || o->reconnect_max < o->reconnect_min)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--reconnect-min and --reconnect-max do not fit");
    if (o->timeout < 1)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--timeout is 1 or more");
    if (o->once && o->no_connect)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--once and --no-connect exclude each other");
    return hub->speaks == DEV_MQTT ? check_mqtt(o, e) : check_requests(o, hub->speaks, e);
}

static int via_of(const char *text, const char **ret, struct tb_error *e) {
    static const char scheme[] = "socks5://";
    struct tb_addr a;

    if (text && strncmp(text, scheme, sizeof scheme - 1) != 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--via is socks5://host:port, not %s", text);
    if (text) {
        *ret = text + sizeof scheme - 1;
        return tb_addr_parse(*ret, &a, e);
    }
    return 0;
}

int dev_options_session(const struct dev_options *o, const char *name,
                        void (*keylog)(const char *line, void *user), void *keylog_user,
                        struct dev_session_config *ret, struct tb_error *e) {
    struct dev_session_config cfg = {
        .hub = o->hub,
        .timeout_ms = o->timeout,
        .retry_min_ms = o->reconnect_min,
        .retry_max_ms = o->reconnect_max,
        .reconnect = !o->once && !o->no_reconnect,
        .credential =
            {
                .server_name = o->server_name,
                .ca = o->ca,
                .cert = o->cert,
                .key = o->key,
                .psk = o->psk,
                .psk_identity = o->psk_identity,
                .psk_exchange = o->psk_exchange,
                .stack = o->stack,
                .tls = o->tls,
                .offload = o->offload,
                .ciphers = o->ciphers,
                .resume = o->resume,
                .keylog = keylog,
                .keylog_user = keylog_user,
            },
    };
    struct dev_credential credential;
    int r;

    (void)name;
    if (!o->hub)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--hub is needed");
    r = dev_hub_parse(o->hub, &cfg.at, e);
    if (r == 0)
        r = check(o, &cfg.at, e);
    if (r == 0)
        r = via_of(o->via, &cfg.via, e);
    if (r < 0)
        return r;
    cfg.credential.datagrams = cfg.at.datagrams;
    if (!o->server_name && !cfg.at.host[0] && !o->psk)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "server-name is needed with hub %s", o->hub);
    r = dev_credential_init(&credential, &cfg.credential, e);
    if (r == 0)
        *ret = cfg;
    return r;
}

struct dev_protocol *dev_options_protocol(const struct dev_options *o, const char *name,
                                          uv_loop_t *loop, const struct dev_session_config *cfg) {
    const char *host = o->server_name ? o->server_name : cfg->at.host;
    char client_id[64] = "iot-device";

    if (name)
        snprintf(client_id, sizeof client_id, "iot-device-%s", name);
    const struct dev_mqtt_config mqtt = {
        .client_id = o->client_id ? o->client_id : client_id,
        .user = o->user,
        .password = o->password,
        .version = strcmp(o->mqtt, "5") == 0 ? 5 : 4,
        .keep_alive_s = o->keep_alive,
        .keep_session = o->keep_session,
        .timeout_ms = o->timeout,
    };
    const struct dev_coap_config coap = {
        .host = host,
        .datagrams = cfg->at.datagrams,
        .ack_timeout_ms = o->ack_timeout,
        .max_retransmit = o->max_retransmit,
        .ping_s = o->coap_ping,
        .timeout_ms = o->timeout,
    };
    const struct dev_http_config http = {
        .host = host, .port = cfg->at.port, .timeout_ms = o->timeout};

    switch (cfg->at.speaks) {
    case DEV_COAP:
        return dev_protocol_coap(loop, &coap);
    case DEV_HTTP:
        return dev_protocol_http(loop, &http);
    case DEV_MQTT:
        break;
    }
    return dev_protocol_mqtt(loop, &mqtt);
}

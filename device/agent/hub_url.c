#include "hub_url.h"

#include <stdio.h>
#include <string.h>

struct scheme {
    const char *name;
    enum dev_speaks speaks;
    bool datagrams;
    unsigned port;
};
static const struct scheme schemes[] = {
    {"mqtts", DEV_MQTT, false, 8883},
    {"coaps", DEV_COAP, true, 5684},
    {"coaps+tcp", DEV_COAP, false, 5684},
    {"https", DEV_HTTP, false, 443},
};

static const struct scheme *find(const char *text, size_t n) {
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strlen(schemes[i].name) == n && strncmp(schemes[i].name, text, n) == 0)
            return &schemes[i];
    return NULL;
}

/* Behind "[…]" or the only ':' there is one. */
static bool has_port(const char *authority) {
    const char *bracket = strrchr(authority, ']');

    return strchr(bracket ? bracket : authority, ':') != NULL;
}

int dev_hub_parse(const char *text, struct dev_hub *ret, struct tb_error *e) {
    const char *sep = strstr(text, "://"), *rest = sep ? sep + 3 : text;
    const struct scheme *s = sep ? find(text, (size_t)(sep - text)) : &schemes[0];
    struct dev_hub hub = {0};
    struct tb_addr a;
    char authority[280];
    size_t n;
    int r;

    if (!s)
        return tb_error_set(
            e, TB_EPARSE, NULL, 0,
            "hub %s: mqtts://, coaps://, coaps+tcp:// or https:// (always with TLS)", text);
    n = sep && strncmp(rest, "unix:", 5) != 0 ? strcspn(rest, "/") : strlen(rest);
    if (rest[n] && strcmp(rest + n, "/") != 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "hub %s: a path belongs to a request, not to the hub", text);
    if (n == 0 || n >= sizeof authority)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "hub %s: a host is missing", text);
    memcpy(authority, rest, n);
    authority[n] = '\0';
    if (sep && !has_port(authority))
        snprintf(hub.address, sizeof hub.address, "%s:%u", authority, s->port);
    else
        snprintf(hub.address, sizeof hub.address, "%s", authority);
    r = tb_addr_parse(hub.address, &a, e);
    if (r < 0)
        return r;
    if (s->datagrams && a.is_unix)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "hub %s: DTLS goes over UDP only", text);
    hub.speaks = s->speaks;
    hub.datagrams = s->datagrams;
    hub.port = a.port;
    if (!a.is_unix)
        snprintf(hub.host, sizeof hub.host, "%s", a.host);
    *ret = hub;
    return 0;
}

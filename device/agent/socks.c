/* Streams by way of a SOCKS 5 proxy (RFC 1928). The proxy is as hostile as any peer. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "stream_internal.h"

enum {
    VERSION = 5,
    NO_AUTHENTICATION = 0,
    NO_METHOD = 0xFF,
    CONNECT = 1,
    UDP_ASSOCIATE = 3,
    IPV4 = 1,
    NAME = 3,
    IPV6 = 4,
    REPLY_HEAD = 4,
    REPLY_MAX = REPLY_HEAD + 1 + 255 + 2,
};

static const char *reply_text(uint8_t code) { /* spec: RFC1928 6 */
    static const char *const texts[] = {
        "succeeded",           "general failure",       "connection not allowed by its rules",
        "network unreachable", "host unreachable",      "connection refused",
        "TTL expired",         "command not supported", "address type not supported"};

    return code < sizeof texts / sizeof *texts ? texts[code] : "unassigned reply";
}

/* ---- addresses ---- */

static void put_addr(struct tb_buf *out, const struct tb_addr *a) {
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    uint8_t ip[16];

    if (inet_pton(AF_INET, host, ip) == 1) {
        tb_put_u8(out, IPV4);
        tb_put(out, tb_span(ip, 4));
    } else if (inet_pton(AF_INET6, host, ip) == 1) {
        tb_put_u8(out, IPV6);
        tb_put(out, tb_span(ip, 16));
    } else {
        tb_put_u8(out, NAME);
        tb_put_u8(out, (uint8_t)strlen(host));
        tb_put(out, tb_span_str(host));
    }
    tb_put_be16(out, a->port);
}

/* Bytes of address and port behind the type, which is type[0]; 0: no such type, SIZE_MAX: one byte
 * more must be known. */
static size_t addr_length(struct tb_span type) {
    switch (type.p[0]) {
    case IPV4:
        return 4 + 2;
    case IPV6:
        return 16 + 2;
    case NAME:
        return type.n < 2 ? SIZE_MAX : 1 + (size_t)type.p[1] + 2;
    default:
        return 0;
    }
}

static void read_addr(struct tb_span a, struct tb_addr *ret) {
    struct tb_span port = tb_span_sub(a, a.n - 2, 2);

    *ret = (struct tb_addr){.port = (uint16_t)(port.p[0] << 8 | port.p[1])};
    if (a.p[0] == IPV4)
        inet_ntop(AF_INET, a.p + 1, ret->host, sizeof ret->host);
    else if (a.p[0] == IPV6)
        inet_ntop(AF_INET6, a.p + 1, ret->host, sizeof ret->host);
    else
        memcpy(ret->host, a.p + 2, a.p[1]);
}

bool dev_socks_strip(struct tb_span header, struct tb_span *data) {
    struct tb_span type;
    size_t n;

    /* RSV RSV FRAG ATYP; we do not put fragments together, as is allowed (RFC 1928, 7) */
    if (data->n < 4 || data->p[2] != 0)
        return false;
    type = tb_span_sub(*data, 3, data->n - 3);
    n = addr_length(type);
    if (n == 0 || n == SIZE_MAX || type.n < 1 + n)
        return false;
    /* Of whoever we talk to; where we know it by name only, the relay must see to that. */
    if (header.p[3] != NAME && (3 + 1 + n != header.n || memcmp(type.p, header.p + 3, 1 + n) != 0))
        return false;
    *data = tb_span_sub(type, 1 + n, type.n - 1 - n);
    return true;
}

/* ---- the dialogue ---- */

struct dialogue {
    struct dev_stream *s;
    const char *proxy;
    uint64_t until;
    struct dev_failure *why;
};

static int fail(const struct dialogue *d, int r, const char *what) {
    dev_fail(d->why, "proxy %s: %s", d->proxy, what);
    return r;
}

static int ended(const struct dialogue *d, int r) {
    return fail(d, r,
                r == TB_ETIMEOUT    ? "no answer in time"
                : r == UV_ECANCELED ? "called off"
                : r == TB_ECLOSED   ? "closed the connection"
                                    : tb_strerror(r));
}

/* Waits until n bytes are there. */
static int need(const struct dialogue *d, size_t n) {
    int r = 0;

    while (r == 0 && dev_stream_data(d->s).n < n)
        r = dev_stream_wait(d->s, dev_stream_data(d->s).n, d->until);
    return r < 0 ? ended(d, r) : 0;
}

static int say(const struct dialogue *d, const struct tb_buf *out) {
    int r = dev_stream_write(d->s, out->p, out->n);

    return r < 0 ? ended(d, r) : 0;
}

static int greet(const struct dialogue *d) {
    uint8_t hello[] = {VERSION, 1, NO_AUTHENTICATION}, answer[2];
    int r = say(d, &(struct tb_buf){.p = hello, .n = sizeof hello, .cap = sizeof hello});

    if (r == 0)
        r = need(d, sizeof answer);
    if (r < 0)
        return r;
    memcpy(answer, dev_stream_data(d->s).p, sizeof answer);
    dev_stream_eat(d->s, sizeof answer);
    if (answer[0] != VERSION)
        return fail(d, TB_EPROTO, "speaks no SOCKS 5");
    if (answer[1] == NO_METHOD)
        return fail(d, TB_EPROTO, "wants authentication, which is not supported");
    if (answer[1] != NO_AUTHENTICATION)
        return fail(d, TB_EPROTO, "chose a method that was not offered");
    return 0;
}

/* Command and reply; *ret is the address in it. */
static int ask(const struct dialogue *d, uint8_t command, const struct tb_addr *to,
               struct tb_addr *ret) {
    uint8_t room[REPLY_MAX];
    struct tb_buf out = TB_BUF(room);
    struct tb_span in, type;
    size_t n;
    int r;

    tb_put_u8(&out, VERSION);
    tb_put_u8(&out, command);
    tb_put_u8(&out, 0);
    put_addr(&out, to);
    r = say(d, &out);
    if (r == 0)
        r = need(d, 2);
    if (r < 0)
        return r;
    in = dev_stream_data(d->s);
    if (in.p[0] != VERSION)
        return fail(d, TB_EPROTO, "answers in no SOCKS 5");
    if (in.p[1] != 0) { /* it closes now, perhaps without the rest */
        dev_fail(d->why, "proxy %s: %s (%u)", d->proxy, reply_text(in.p[1]), in.p[1]);
        return in.p[1] == 5 ? UV_ECONNREFUSED : TB_EPROTO;
    }
    r = need(d, REPLY_HEAD + 1); /* with the first byte of the address */
    if (r < 0)
        return r;
    in = dev_stream_data(d->s);
    type = tb_span_sub(in, 3, in.n - 3);
    n = addr_length(type);
    if (n == 0)
        return fail(d, TB_EPROTO, "gives an address of an unknown type");
    r = need(d, 3 + 1 + n);
    if (r < 0)
        return r;
    in = dev_stream_data(d->s);
    read_addr(tb_span_sub(in, 3, 1 + n), ret);
    dev_stream_eat(d->s, 3 + 1 + n);
    return 0;
}

/* The relay is where the proxy says, or, when it names no address, where the proxy is. */
static int associate(struct dev_task *t, const struct dialogue *d, const struct tb_addr *proxy,
                     const struct tb_addr *to, struct dev_stream **ret) {
    const struct tb_addr anywhere = {.host = "0.0.0.0"};
    uint8_t room[REPLY_MAX] = {0};
    struct tb_buf header = TB_BUF(room);
    struct tb_addr relay;
    int r = ask(d, UDP_ASSOCIATE, &anywhere, &relay);

    if (r < 0)
        return r;
    if (relay.port == 0)
        return fail(d, TB_EPROTO, "gives a relay without a port");
    if (strcmp(relay.host, "0.0.0.0") == 0 || strcmp(relay.host, "::") == 0)
        snprintf(relay.host, sizeof relay.host, "%s", proxy->host);
    if (!dev_stream_numeric(relay.host) && strcmp(relay.host, "localhost") != 0)
        return fail(d, TB_EPROTO, "gives a relay by name");
    tb_put(&header, tb_span("\0\0\0", 3));
    put_addr(&header, to);
    r = dev_dgram_open(t, &relay, tb_buf_span(&header), d->s, ret);
    return r < 0 ? ended(d, r) : 0;
}

int dev_stream_via(struct dev_task *t, const char *proxy, const char *address, bool datagrams,
                   uint64_t until, struct dev_stream **ret, struct dev_failure *why) {
    struct dialogue d = {.proxy = proxy, .until = until, .why = why};
    struct tb_addr at, to, bound;
    struct tb_error e;
    char text[300];
    int r = tb_addr_parse(address, &to, &e);

    if (r == 0)
        r = tb_addr_parse(proxy, &at, &e);
    if (r < 0) {
        dev_fail(why, "%s", e.message);
        return r;
    }
    if (to.is_unix)
        return fail(&d, TB_EPARSE, "only host:port can be reached through it");
    r = dev_stream_resolve(t, &at, until);
    if (r == 0)
        r = dev_stream_connect(t, tb_addr_str(&at, text, sizeof text), until, &d.s);
    if (r < 0) {
        dev_fail(why, "proxy %s: %s", proxy, tb_strerror(r));
        return r;
    }
    r = greet(&d);
    if (r == 0)
        r = datagrams ? associate(t, &d, &at, &to, ret) : ask(&d, CONNECT, &to, &bound);
    if (r < 0)
        dev_stream_reset(d.s);
    else if (!datagrams)
        *ret = d.s;
    return r;
}

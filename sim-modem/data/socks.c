#include "socks.h"

#include <string.h>

enum { NO_AUTHENTICATION = 0x00, NO_METHOD = 0xFF };

/* spec: RFC1928 3 version, number of methods, methods */
int socks_take_greeting(struct tb_span *in, bool *ret_none) {
    struct tb_span methods;

    if (in->n >= 1 && in->p[0] != SOCKS_VERSION)
        return TB_EPARSE;
    if (in->n < 2 || in->n < 2 + (size_t)in->p[1])
        return 0;
    methods = tb_span_sub(*in, 2, in->p[1]);
    *ret_none = methods.n > 0 && memchr(methods.p, NO_AUTHENTICATION, methods.n) != NULL;
    *in = tb_span_sub(*in, 2 + methods.n, in->n);
    return 1;
}

static bool is_name(struct tb_span s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.n > 0;
}

/* Type, address, port. As the takers above. */
static int take_addr(struct tb_span *in, struct socks_addr *ret) {
    struct socks_addr a = {.type = SOCKS_IPV4};
    struct tb_span rest = *in, host;
    uint32_t port;
    uint8_t type;
    size_t n;

    if (rest.n < 1)
        return 0;
    type = rest.p[0];
    if (type != SOCKS_IPV4 && type != SOCKS_NAME && type != SOCKS_IPV6)
        return TB_EUNSUP;
    a.type = (enum socks_type)type;
    rest = tb_span_sub(rest, 1, rest.n);
    n = type == SOCKS_IPV4 ? 4 : 16;
    if (type == SOCKS_NAME) {
        if (rest.n < 1)
            return 0;
        n = rest.p[0];
        if (n == 0)
            return TB_EPARSE;
        rest = tb_span_sub(rest, 1, rest.n);
    }
    if (!tb_take(&rest, n, &host) || !tb_take_be(&rest, 2, &port))
        return 0;
    if (type == SOCKS_NAME && !is_name(host))
        return TB_EPARSE;
    memcpy(type == SOCKS_NAME ? (void *)a.name : a.ip, host.p, n);
    a.port = (uint16_t)port;
    *ret = a;
    *in = rest;
    return 1;
}

/* spec: RFC1928 4 version, command, reserved, address */
int socks_take_request(struct tb_span *in, uint8_t *ret_command, struct socks_addr *ret_to) {
    struct tb_span rest;
    uint8_t command;
    int r;

    if ((in->n >= 1 && in->p[0] != SOCKS_VERSION) || (in->n >= 3 && in->p[2] != 0))
        return TB_EPARSE;
    if (in->n < 3)
        return 0;
    command = in->p[1];
    rest = tb_span_sub(*in, 3, in->n);
    r = take_addr(&rest, ret_to);
    if (r == 1) {
        *ret_command = command;
        *in = rest;
    }
    return r;
}

/* spec: RFC1928 7 reserved, fragment, address, data */
int socks_take_datagram(struct tb_span *in, struct socks_addr *ret_to) {
    struct tb_span rest;
    int r;

    if (in->n < 4 || in->p[0] != 0 || in->p[1] != 0)
        return TB_EPARSE;
    if (in->p[2] != 0)
        return TB_EUNSUP;
    rest = tb_span_sub(*in, 3, in->n);
    r = take_addr(&rest, ret_to);
    if (r < 1)
        return TB_EPARSE;
    *in = rest;
    return 1;
}

void socks_put_choice(struct tb_buf *out, bool none) {
    tb_put_u8(out, SOCKS_VERSION);
    tb_put_u8(out, none ? NO_AUTHENTICATION : NO_METHOD);
}

static void put_addr(struct tb_buf *out, const struct socks_addr *a) {
    tb_put_u8(out, (uint8_t)a->type);
    tb_put(out, tb_span(a->ip, a->type == SOCKS_IPV4 ? 4 : 16));
    tb_put_be16(out, a->port);
}

/* spec: RFC1928 6 */
void socks_put_reply(struct tb_buf *out, enum socks_code code, const struct socks_addr *bound) {
    static const struct socks_addr none = {.type = SOCKS_IPV4};

    tb_put_u8(out, SOCKS_VERSION);
    tb_put_u8(out, (uint8_t)code);
    tb_put_u8(out, 0);
    put_addr(out, bound ? bound : &none);
}

void socks_put_datagram(struct tb_buf *out, const struct socks_addr *from) {
    tb_put(out, tb_span("\0\0\0", 3));
    put_addr(out, from);
}

/* The same address for SOCKS, for the kernel and for our connections. */
#include <arpa/inet.h>
#include <string.h>

#include "session.h"

void socks_from_sockaddr(const struct sockaddr_storage *sa, struct socks_addr *ret) {
    struct socks_addr a = {.type = SOCKS_IPV4};

    if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

        a.type = SOCKS_IPV6;
        memcpy(a.ip, &in6->sin6_addr, 16);
        a.port = ntohs(in6->sin6_port);
    } else if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

        memcpy(a.ip, &in->sin_addr, 4);
        a.port = ntohs(in->sin_port);
    }
    *ret = a;
}

bool socks_to_sockaddr(const struct socks_addr *a, struct sockaddr_storage *ret) {
    memset(ret, 0, sizeof *ret);
    if (a->type == SOCKS_IPV4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;

        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
    } else if (a->type == SOCKS_IPV6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(a->port);
        memcpy(&in6->sin6_addr, a->ip, 16);
    }
    return a->type != SOCKS_NAME;
}

void socks_to_conn_addr(const struct socks_addr *a, struct tb_addr *ret) {
    *ret = (struct tb_addr){.port = a->port};
    inet_ntop(a->type == SOCKS_IPV6 ? AF_INET6 : AF_INET, a->ip, ret->host, sizeof ret->host);
}

bool socks_any(const struct socks_addr *a) {
    static const uint8_t zeros[16];

    return a->type != SOCKS_NAME && memcmp(a->ip, zeros, a->type == SOCKS_IPV4 ? 4 : 16) == 0;
}

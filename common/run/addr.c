/* Addresses as people write them. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "conn_internal.h"
#include "tb/conn.h"

enum { PATH_MAX_LEN = sizeof((struct sockaddr_un){0}.sun_path) - 1 };

static int parse_path(const char *path, struct tb_addr *ret, struct tb_error *e) {
    size_t n = strlen(path);
    struct tb_addr a = {.is_unix = true};

    if (n == 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "a Unix socket needs a path");
    if (n > PATH_MAX_LEN)
        return tb_error_set(e, TB_ERANGE, NULL, 0,
                            "path of a Unix socket is longer than %d bytes: %.200s", PATH_MAX_LEN,
                            path);
    memcpy(a.host, path, n);
    *ret = a;
    return 0;
}

static int parse_port(const char *text, uint16_t *ret) {
    unsigned v = 0;

    if (!*text || strlen(text) > 5)
        return TB_EPARSE;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return TB_EPARSE;
        v = v * 10 + (unsigned)(*text - '0');
    }
    if (v > UINT16_MAX)
        return TB_ERANGE;
    *ret = (uint16_t)v;
    return 0;
}

int tb_addr_parse(const char *text, struct tb_addr *ret, struct tb_error *e) {
    struct tb_addr a = {.is_unix = false};
    const char *host = text, *colon = strrchr(text, ':');
    struct in6_addr six;
    size_t n;

    if (strncmp(text, "unix:", 5) == 0)
        return parse_path(text + 5, ret, e);
    if (text[0] == '/')
        return parse_path(text, ret, e);
    if (!colon)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "'%.200s' is no address: host:port or unix:/path is wanted", text);
    n = (size_t)(colon - text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        host = text + 1;
        n -= 2;
    } else if (memchr(text, ':', n)) {
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "'%.200s': an IPv6 address stands in brackets, as in [::1]:port", text);
    }
    if (n >= sizeof a.host || memchr(host, '[', n) || memchr(host, ']', n) ||
        memchr(host, '/', n) || memchr(host, ' ', n))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "'%.200s' has no valid host", text);
    memcpy(a.host, host, n);
    if (host != text && inet_pton(AF_INET6, a.host, &six) != 1)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "'%.200s' has no valid IPv6 address", text);
    if (n == 0)
        strcpy(a.host, "127.0.0.1");
    if (parse_port(colon + 1, &a.port) < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "'%.200s' has no valid port (0 to 65535)", text);
    *ret = a;
    return 0;
}

char *tb_addr_str(const struct tb_addr *a, char *dst, size_t cap) {
    if (a->is_unix)
        snprintf(dst, cap, "unix:%s", a->host);
    else if (strchr(a->host, ':'))
        snprintf(dst, cap, "[%s]:%u", a->host, (unsigned)a->port);
    else
        snprintf(dst, cap, "%s:%u", a->host, (unsigned)a->port);
    return dst;
}

int tb_addr_sockaddr(const struct tb_addr *a, struct sockaddr_storage *ret) {
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;

    memset(ret, 0, sizeof *ret);
    if (uv_ip4_addr(host, a->port, (struct sockaddr_in *)ret) == 0 ||
        uv_ip6_addr(host, a->port, (struct sockaddr_in6 *)ret) == 0)
        return 0;
    return UV_EAI_NONAME;
}

void tb_addr_from_sockaddr(const struct sockaddr_storage *sa, struct tb_addr *ret) {
    *ret = (struct tb_addr){.is_unix = false};
    if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)sa;

        uv_ip6_name(six, ret->host, sizeof ret->host);
        ret->port = ntohs(six->sin6_port);
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)sa;

        uv_ip4_name(four, ret->host, sizeof ret->host);
        ret->port = ntohs(four->sin_port);
    }
}

int tb_addr_sockaddr_un(const struct tb_addr *a, struct sockaddr_un *ret) {
    size_t n = strlen(a->host);

    if (n > PATH_MAX_LEN)
        return UV_ENAMETOOLONG;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, a->host, n);
    return 0;
}

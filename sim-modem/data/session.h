#pragma once
/* One client of the packet service, from its greeting to its end. */
#include <netdb.h>

#include "pipe.h"
#include "service.h"
#include "socks.h"
#include "tb/loop.h"

struct session;

struct data_service {
    uv_loop_t *loop;
    struct radio *radio;
    struct tb_listener *listener;
    struct session *sessions;
    struct data_counters counters;
    bool attached, closing;
};

void session_accept(struct data_service *s); /* from the listener's callback */
/* The packet service is gone: the client is told if it still waits, else cut. */
void session_cut(struct session *c);
void session_close(struct session *c); /* at once; idempotent */
struct session *session_next(const struct session *c);
void service_session_gone(struct data_service *s); /* the last may have been waited for */

/* udp.c: the relay of an association. Opens its sockets on the address the client reached us at;
 * client_ip is where its datagrams come from, its port too unless 0. */
struct udp_relay;
int udp_relay_open(struct data_service *s, const struct sockaddr_storage *local,
                   const struct sockaddr_storage *client, void (*on_closed)(void *user), void *user,
                   struct udp_relay **ret) TB_CHECKED;
void udp_relay_addr(const struct udp_relay *u, struct socks_addr *ret);
void udp_relay_close(struct udp_relay *u); /* on_closed() comes once */

/* addr.c */
void socks_from_sockaddr(const struct sockaddr_storage *sa, struct socks_addr *ret);
/* False for a name. */
bool socks_to_sockaddr(const struct socks_addr *a, struct sockaddr_storage *ret);
void socks_to_conn_addr(const struct socks_addr *a, struct tb_addr *ret); /* not of a name */
bool socks_any(const struct socks_addr *a);                               /* 0.0.0.0, :: */

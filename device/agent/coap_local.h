#pragma once
/* The loopback end at which libcoap meets the secure channel: it takes what its one libcoap session
 * sends, and nobody else's. */
#include <stdint.h>

#include "task.h"
#include "tb/error.h"
#include "tb/span.h"

struct coap_local;

/* UDP (datagrams) or TCP on 127.0.0.1; t is woken when something can be read. */
int coap_local_open(struct dev_task *t, bool datagrams, uint16_t *ret_port,
                    struct coap_local **ret) TB_CHECKED;
/* libcoap's session is at that port: from now on only its bytes are taken. 1 when it is there, 0
 * when its connection has not come yet (TCP), or negative. */
int coap_local_peer(struct coap_local *l, uint16_t port) TB_CHECKED;

/* What libcoap has sent, a datagram or bytes; empty when nothing is there; until
 * coap_local_eat(). */
struct tb_span coap_local_data(struct coap_local *l);
void coap_local_eat(struct coap_local *l);
/* To libcoap. Datagrams may be lost, as datagrams are. */
int coap_local_write(struct coap_local *l, const void *p, size_t n) TB_CHECKED;
bool coap_local_full(const struct coap_local *l);
bool coap_local_ended(const struct coap_local *l); /* TCP: libcoap has closed */

void coap_local_close(struct coap_local *l); /* NULL is a no-op */

#pragma once
/* The modem's packet service as programs see it: a SOCKS 5 proxy (RFC 1928, no authentication;
 * CONNECT and UDP ASSOCIATE) whose far side is the network behind the radio. */
#include <stdbool.h>
#include <uv.h>

#include "radio.h"
#include "tb/conn.h"

struct data_service;

struct data_counters {
    uint64_t clients, connects, associations; /* that came, that succeeded */
    uint64_t refused;                         /* answered with an error */
    uint64_t cut;                             /* ended because the packet service went away */
    unsigned open;
};

/* radio: borrowed until the loop has ended. The service is down until data_service_attach(). */
int data_service_open(uv_loop_t *loop, const struct tb_addr *at, struct radio *radio,
                      struct data_service **ret, struct tb_error *e) TB_CHECKED;
const struct tb_addr *data_service_addr(const struct data_service *s);
/* The modem has packet service, or has lost it: then connections and associations are cut, and
 * requests are answered with "network unreachable". */
void data_service_attach(struct data_service *s, bool attached);
bool data_service_attached(const struct data_service *s);
void data_service_counters(const struct data_service *s, struct data_counters *ret);
void data_service_close(struct data_service *s); /* frees itself; NULL is a no-op */

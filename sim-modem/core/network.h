#pragma once
/* A network that looks alive: registration, signal, operator, packet contexts. No radio behind it.
 */
#include <stdbool.h>
#include <stdint.h>

#include "simmodem/modem.h"

enum { NET_CONTEXTS = 8, NET_APN_MAX = 100 };

struct net_context {
    bool defined, active;
    char type[8]; /* "IP", "IPV6", "IPV4V6" */
    char apn[NET_APN_MAX + 1];
};

struct net {
    enum modem_registration answer;       /* what the network says to us */
    enum modem_registration stat;         /* what we are */
    unsigned rssi;                        /* 0..31, 99 */
    unsigned mode;                        /* +COPS: 0 automatic, 1 manual, 2 deregistered */
    bool detached;                        /* +CGATT=0 */
    struct net_context ctx[NET_CONTEXTS]; /* cid 1..n */
};

enum { NET_ACT_EUTRAN = 7, NET_LAC = 0x0001, NET_CI = 0x0000001A };

void net_init(struct net *n);
/* Recomputes the registration from radio, card, +COPS and the network's will; tells who asked. */
void net_update(struct modem *m);
static inline bool net_registered(const struct net *n) {
    return n->stat == MODEM_REG_HOME || n->stat == MODEM_REG_ROAMING;
}
/* Packet service is there: registered and attached. */
static inline bool net_attached(const struct net *n) {
    return net_registered(n) && !n->detached;
}
/* The modem leaves the packet service: every context ends with it, which is not reported one by one
 * (TS 27.007 10.1.20). No effect when not attached. */
void net_detach(struct modem *m);
/* PLMN of the serving network: MCC and MNC of the IMSI, or 00101 without one. dst holds 7
 * characters. */
void net_plmn(const struct modem *m, char dst[static 7]);
/* Its name: what EF.SPN says, or a name of ours. */
const char *net_name(const struct modem *m);

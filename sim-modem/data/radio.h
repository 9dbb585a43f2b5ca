#pragma once
/* A radio link in virtual time: when what is sent now arrives, and whether. One link for all flows
 * of a modem: they share its rate, each direction for itself. Always accounts; with profile "off"
 * everything arrives at once. Times are microseconds of any clock that does not go back. */
#include <stdbool.h>
#include <stdint.h>

#include "tb/latency.h"

enum radio_dir { RADIO_UP, RADIO_DOWN };

struct radio {
    enum tb_radio_profile profile;
    uint64_t random;     /* state of the seeded sequence */
    uint64_t free_us[2]; /* the direction is busy until then */
    uint64_t round_trips, bytes[2], datagrams[2];
    uint64_t lost;      /* datagrams */
    uint64_t resent;    /* segments of TCP that came late instead */
    uint64_t waited_us; /* how long data was under way, all in all */
};

/* One connection or association. Zero is a fresh one. */
struct radio_flow {
    uint64_t last_us[2]; /* the last arrival: a bearer keeps the order */
    uint32_t rtt_us;     /* of the exchange under way */
    bool asked;          /* what was sent last went up */
    bool begun;
};

void radio_init(struct radio *r, enum tb_radio_profile profile, uint64_t seed);

/* n bytes of a TCP connection: when they have arrived. A lost segment (1400 bytes) arrives a
 * retransmission timeout later: RFC 6298 with the profile's RTT and spread, doubled each time. */
uint64_t radio_stream(struct radio *r, struct radio_flow *f, enum radio_dir dir, uint64_t now,
                      uint64_t n);
/* A datagram of n bytes: false when it is lost. */
bool radio_datagram(struct radio *r, struct radio_flow *f, enum radio_dir dir, uint64_t now,
                    uint64_t n, uint64_t *ret_due);
/* One round trip without data of the flow: the set-up of a connection, the query for a name. When
 * its answer has arrived; nothing of the flow arrives earlier. */
uint64_t radio_round_trip(struct radio *r, struct radio_flow *f, uint64_t now);

#pragma once
/* Does a device want its commands? Found in the SUBSCRIBE and UNSUBSCRIBE packets that pass: the
 * broker cannot say, because the hub itself subscribes to everybody's. */
#include "tb/mqtt.h"

enum { HUB_INTEREST_MAX = 8 };

struct hub_interest {                   /* zeroed to begin with */
    uint32_t filters[HUB_INTEREST_MAX]; /* hashes of those that match, so that they can go again */
    uint8_t n;
    bool resumed; /* a session that the broker has kept: it may know more */
};

/* A packet from the device; topic: the one of its commands. What the scanner did not keep of a very
 * long list of filters is not seen. */
void hub_interest_see(struct hub_interest *i, uint8_t level, const char *topic,
                      const struct tb_mqtt_seen *seen);
static inline bool hub_interest_is(const struct hub_interest *i) {
    return i->n > 0 || i->resumed;
}

/* Matches a filter with its wildcards (3.1.1: 4.7) a topic that does not begin with '$'? A shared
 * one (5: 4.8.2) is looked at without its "$share/GROUP/". */
bool hub_filter_matches(struct tb_span filter, const char *topic);

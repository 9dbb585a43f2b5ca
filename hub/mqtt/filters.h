#pragma once
/* Looks at the topic filters of a SUBSCRIBE while it passes, however it is cut into pieces, and
 * finds shared subscriptions (5: 4.8.2) to what is not the device's own. The broker would grant
 * them, hand every n-th message to a device that may not read it, and so lose it for the others of
 * the group. */
#include "tb/mqtt.h"

struct hub_filters { /* zeroed before each SUBSCRIBE */
    uint8_t part, stage, shift;
    uint16_t at;
    uint32_t left;
};

/* Takes the next bytes of the body. False as soon as there is a shared subscription whose filter
 * does not lie below devices/DEVICE. What is malformed is left to the broker. */
bool hub_filters_feed(struct hub_filters *f, uint8_t level, const char *device,
                      struct tb_span bytes) TB_CHECKED;

#pragma once
/* Where an application's hub is, and what it speaks. */
#include <stdbool.h>

#include "tb/conn.h"
#include "tb/error.h"

enum dev_speaks { DEV_MQTT, DEV_COAP, DEV_HTTP };

struct dev_hub {
    enum dev_speaks speaks;
    bool datagrams;    /* coaps: DTLS over UDP */
    char address[300]; /* for dev_stream_connect() */
    char host[256];    /* as given, without brackets; "" for a Unix socket */
    unsigned port;
};

/* mqtts://host[:8883], coaps://host[:5684], coaps+tcp://host[:5684], https://host[:443], or
 * host:port and unix:/path, which are mqtts. TB_EPARSE with *e filled. */
int dev_hub_parse(const char *text, struct dev_hub *ret, struct tb_error *e) TB_CHECKED;

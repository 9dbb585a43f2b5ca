#pragma once
/* What the API keeps of each device: the last command, the state, who watches them. Bounded: of
 * commands the oldest give way, states that do not fit are refused. */
#include "api/api.h"
#include "registry/registry.h"

struct hub_api_doc {
    uint8_t *p; /* NULL: there is none */
    size_t n;
    char *type;
    uint64_t sequence; /* also of its absence: when it went */
};

struct hub_api_device {
    struct hub_api_device *next, **link;  /* same bucket */
    struct hub_api_device *newer, *older; /* by time of their command; only with one */
    struct hub_api_watch *watches;
    struct hub_api_doc doc[2]; /* by enum hub_api_resource */
    char id[HUB_DEVICE_MAX + 1];
};

enum { HUB_API_BUCKETS = 4096 };

struct hub_api_devices {
    struct hub_api_device *bucket[HUB_API_BUCKETS];
    struct hub_api_device *newest, *oldest;
    size_t bytes[2], bytes_max[2]; /* by enum hub_api_resource */
    uint64_t sequence;             /* the last one given */
};

struct hub_api_device *hub_api_device_find(const struct hub_api_devices *d, const char *id);
struct hub_api_device *hub_api_device_get(struct hub_api_devices *d, const char *id); /* or made */
/* Forgets a device about which nothing is known and which nobody watches. */
void hub_api_device_tidy(struct hub_api_devices *d, struct hub_api_device *dev);
/* body NULL removes. TB_ERANGE when a state does not fit. Nobody is told. */
int hub_api_device_set(struct hub_api_devices *d, struct hub_api_device *dev,
                       enum hub_api_resource what, const char *type,
                       const struct tb_span *body) TB_CHECKED;
void hub_api_devices_done(struct hub_api_devices *d);

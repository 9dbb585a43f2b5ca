#include "api/device.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static unsigned bucket_of(const char *id) {
    uint32_t h = 2166136261U; /* FNV-1a */

    for (; *id; id++)
        h = (h ^ (uint8_t)*id) * 16777619U;
    return h % HUB_API_BUCKETS;
}

struct hub_api_device *hub_api_device_find(const struct hub_api_devices *d, const char *id) {
    struct hub_api_device *dev = d->bucket[bucket_of(id)];

    while (dev && strcmp(dev->id, id) != 0)
        dev = dev->next;
    return dev;
}

struct hub_api_device *hub_api_device_get(struct hub_api_devices *d, const char *id) {
    struct hub_api_device *dev = hub_api_device_find(d, id), **head = &d->bucket[bucket_of(id)];

    if (dev)
        return dev;
    dev = calloc(1, sizeof *dev);
    if (!dev)
        abort();
    memcpy(dev->id, id, strnlen(id, HUB_DEVICE_MAX));
    dev->next = *head;
    dev->link = head;
    if (dev->next)
        dev->next->link = &dev->next;
    *head = dev;
    return dev;
}

static bool has(const struct hub_api_device *dev, enum hub_api_resource what) {
    return dev->doc[what].p != NULL;
}

void hub_api_device_tidy(struct hub_api_devices *d, struct hub_api_device *dev) {
    (void)d;
    if (dev->watches || has(dev, HUB_API_COMMAND) || has(dev, HUB_API_STATE))
        return;
    *dev->link = dev->next;
    if (dev->next)
        dev->next->link = dev->link;
    free(dev);
}

static void leave_queue(struct hub_api_devices *d, struct hub_api_device *dev) {
    *(dev->newer ? &dev->newer->older : &d->newest) = dev->older;
    *(dev->older ? &dev->older->newer : &d->oldest) = dev->newer;
    dev->newer = dev->older = NULL;
}

static void enter_queue(struct hub_api_devices *d, struct hub_api_device *dev) {
    dev->older = d->newest;
    *(d->newest ? &d->newest->newer : &d->oldest) = dev;
    d->newest = dev;
}

/* An entry costs more than its bytes: counted, so that many empty ones are bounded, too. */
static size_t cost(size_t n) {
    return n + sizeof(struct hub_api_device);
}

static void drop(struct hub_api_devices *d, struct hub_api_device *dev,
                 enum hub_api_resource what) {
    struct hub_api_doc *doc = &dev->doc[what];

    if (!doc->p)
        return;
    if (what == HUB_API_COMMAND)
        leave_queue(d, dev);
    d->bytes[what] -= cost(doc->n);
    free(doc->p);
    free(doc->type);
    *doc = (struct hub_api_doc){.sequence = ++d->sequence};
}

/* Commands give way to a new one, the oldest first. */
static bool make_room(struct hub_api_devices *d, enum hub_api_resource what, size_t n) {
    const size_t max = d->bytes_max[what];

    while (what == HUB_API_COMMAND && d->oldest && d->bytes[what] + n > max) {
        struct hub_api_device *old = d->oldest;

        drop(d, old, what);
        assert(d->oldest != old);
        hub_api_device_tidy(d, old);
    }
    return d->bytes[what] + n <= max;
}

static void fill(struct hub_api_doc *doc, const char *type, struct tb_span body) {
    doc->p = malloc(body.n + 1); /* an empty one is there, too */
    doc->type = strdup(type);
    if (!doc->p || !doc->type)
        abort();
    if (body.n > 0)
        memcpy(doc->p, body.p, body.n);
    doc->n = body.n;
}

int hub_api_device_set(struct hub_api_devices *d, struct hub_api_device *dev,
                       enum hub_api_resource what, const char *type, const struct tb_span *body) {
    struct hub_api_doc *doc = &dev->doc[what], fresh = {0};

    if (body && what == HUB_API_STATE &&
        d->bytes[what] - (doc->p ? cost(doc->n) : 0) + cost(body->n) > d->bytes_max[what])
        return TB_ERANGE; /* and the old one stays */
    if (body)
        fill(&fresh, type, *body); /* before the old one goes: body may be part of it */
    drop(d, dev, what);
    if (!body)
        return 0;
    if (!make_room(d, what, cost(body->n))) {
        free(fresh.p);
        free(fresh.type);
        return TB_ERANGE;
    }
    *doc = fresh;
    doc->sequence = ++d->sequence;
    d->bytes[what] += cost(doc->n);
    if (what == HUB_API_COMMAND)
        enter_queue(d, dev);
    return 0;
}

void hub_api_devices_done(struct hub_api_devices *d) {
    for (unsigned i = 0; i < HUB_API_BUCKETS; i++) {
        for (struct hub_api_device *dev = d->bucket[i], *next; dev; dev = next) {
            next = dev->next;
            dev->watches = NULL;
            drop(d, dev, HUB_API_COMMAND);
            drop(d, dev, HUB_API_STATE);
            hub_api_device_tidy(d, dev);
        }
    }
}

#include "mqtt/alias.h"

#include <stdlib.h>

struct hub_aliases {
    struct {
        uint8_t n;
        uint8_t topic[HUB_ALIAS_TOPIC];
    } entry[HUB_ALIASES];
};

struct tb_span hub_aliases_resolve(struct hub_aliases **a, unsigned alias, struct tb_span topic) {
    if (alias == 0 || alias > HUB_ALIASES)
        return topic; /* the broker ends the connection */
    if (!*a && !(*a = calloc(1, sizeof **a)))
        abort();
    if (topic.n == 0)
        return tb_span((*a)->entry[alias - 1].topic, (*a)->entry[alias - 1].n);
    (*a)->entry[alias - 1].n = topic.n <= HUB_ALIAS_TOPIC ? (uint8_t)topic.n : 0;
    memcpy((*a)->entry[alias - 1].topic, topic.p, (*a)->entry[alias - 1].n);
    return topic;
}

void hub_aliases_free(struct hub_aliases *a) {
    free(a);
}

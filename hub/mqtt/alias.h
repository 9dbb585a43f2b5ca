#pragma once
/* Topic aliases (MQTT 5, 3.3.2.3.4) that a device has set, so that its publishes can be told by
 * topic. */
#include "tb/span.h"

enum {
    HUB_ALIASES = 10,      /* mosquitto's Topic Alias Maximum */
    HUB_ALIAS_TOPIC = 255, /* longer topics are not remembered */
};

struct hub_aliases;

/* topic not empty: remembers it under alias (made when *a is NULL) and returns it. Empty: the topic
 * behind alias, or an empty span when it is not known. Borrowed until the next call. */
struct tb_span hub_aliases_resolve(struct hub_aliases **a, unsigned alias, struct tb_span topic);
void hub_aliases_free(struct hub_aliases *a);

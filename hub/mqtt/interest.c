#include "mqtt/interest.h"

#include <string.h>

enum { UNSUBSCRIBE = 10 };

/* Off the front of *s up to the next slash, which goes too. False at the end. */
static bool take_level(struct tb_span *s, bool *at_end, struct tb_span *ret) {
    const uint8_t *slash = s->n ? memchr(s->p, '/', s->n) : NULL;

    if (*at_end)
        return false;
    *ret = tb_span_sub(*s, 0, slash ? (size_t)(slash - s->p) : s->n);
    *s = tb_span_sub(*s, ret->n + (slash != NULL), SIZE_MAX);
    *at_end = !slash;
    return true;
}

bool hub_filter_matches(struct tb_span filter, const char *topic) {
    static const struct tb_span share = {(const uint8_t *)"$share/", 7};
    struct tb_span name = tb_span_str(topic), f, t;
    bool filter_end = false, name_end = false;

    if (tb_span_starts(filter, share)) {
        take_level(&filter, &filter_end, &f);
        if (!take_level(&filter, &filter_end, &f) || filter_end)
            return false;
    }
    while (take_level(&filter, &filter_end, &f)) {
        if (f.n == 1 && f.p[0] == '#')
            return true; /* also the level above it, which is the end of name */
        if (!take_level(&name, &name_end, &t) ||
            (!(f.n == 1 && f.p[0] == '+') && !tb_span_eq(f, t)))
            return false;
    }
    return name_end;
}

static uint32_t hash(struct tb_span s) {
    uint32_t h = 2166136261U; /* FNV-1a */
    uint8_t b;

    while (tb_take_u8(&s, &b))
        h = (h ^ b) * 16777619U;
    return h;
}

static void note(struct hub_interest *i, uint32_t h, bool wanted) {
    uint8_t at = 0;

    while (at < i->n && i->filters[at] != h)
        at++;
    if (wanted && at == i->n && i->n < HUB_INTEREST_MAX)
        i->filters[i->n++] = h;
    else if (!wanted && at < i->n)
        i->filters[at] = i->filters[--i->n];
}

static bool skip_properties(struct tb_span *in) {
    struct tb_span list;
    uint32_t n = 0;
    uint8_t b = 0x80;

    for (unsigned shift = 0; b & 0x80; shift += 7) {
        if (shift > 21 || !tb_take_u8(in, &b))
            return false;
        n |= (uint32_t)(b & 0x7F) << shift;
    }
    return tb_take(in, n, &list);
}

void hub_interest_see(struct hub_interest *i, uint8_t level, const char *topic,
                      const struct tb_mqtt_seen *seen) {
    const bool wanted = seen->head.type == TB_MQTT_SUBSCRIBE;
    struct tb_span in = seen->body, filter;
    uint16_t id, n;
    uint8_t options;

    if ((!wanted && seen->head.type != UNSUBSCRIBE) || !tb_take_be16(&in, &id) ||
        (level == TB_MQTT_5 && !skip_properties(&in)))
        return;
    while (tb_take_be16(&in, &n) && tb_take(&in, n, &filter) &&
           (!wanted || tb_take_u8(&in, &options))) {
        if (hub_filter_matches(filter, topic))
            note(i, hash(filter), wanted);
    }
}

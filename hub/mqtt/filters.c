#include "mqtt/filters.h"

enum part { ID_HIGH, ID_LOW, LIST_SIZE, LIST, LENGTH_HIGH, LENGTH_LOW, FILTER, OPTIONS };
/* Of a filter: is it "$share/"; its group; is it "devices/"; is it the device; what comes then. */
enum stage { SHARE, GROUP, ROOT, DEVICE, BEHIND, OWN, ORDINARY };

static const char share[] = "$share/", root[] = "devices/";

/* The next character of a fixed text: on to the next stage when it is complete. */
static bool follow(struct hub_filters *f, const char *text, uint8_t c) {
    if ((uint8_t)text[f->at] != c)
        return false;
    if (text[++f->at] == '\0') {
        f->at = 0;
        f->stage++;
    }
    return true;
}

/* False: shared, and foreign. */
static bool take_char(struct hub_filters *f, const char *device, uint8_t c) {
    switch (f->stage) {
    case SHARE:
        if (!follow(f, share, c))
            f->stage = ORDINARY;
        return true;
    case GROUP:
        if (c == '/')
            f->stage = ROOT;
        return true;
    case ROOT:
        return follow(f, root, c);
    case DEVICE:
        return follow(f, device, c);
    case BEHIND:
        f->stage = OWN;
        return c == '/';
    default:
        return true;
    }
}

static bool end_filter(struct hub_filters *f) {
    f->part = OPTIONS;
    return f->stage == SHARE || f->stage >= BEHIND;
}

static bool take(struct hub_filters *f, uint8_t level, const char *device, uint8_t c) {
    switch (f->part) {
    case ID_HIGH:
        f->part = ID_LOW;
        return true;
    case ID_LOW:
        f->part = level == TB_MQTT_5 ? LIST_SIZE : LENGTH_HIGH;
        return true;
    case LIST_SIZE:
        f->left |= (uint32_t)(c & 0x7F) << f->shift;
        f->shift = f->shift < 21 ? (uint8_t)(f->shift + 7) : f->shift;
        if ((c & 0x80) == 0)
            f->part = f->left ? LIST : LENGTH_HIGH;
        return true;
    case LIST:
        if (--f->left == 0)
            f->part = LENGTH_HIGH;
        return true;
    case LENGTH_HIGH:
        f->left = (uint32_t)c << 8;
        f->part = LENGTH_LOW;
        return true;
    case LENGTH_LOW:
        f->left |= c;
        f->stage = SHARE;
        f->at = 0;
        f->part = FILTER;
        return f->left > 0 || end_filter(f);
    case FILTER:
        return take_char(f, device, c) && (--f->left > 0 || end_filter(f));
    default:
        f->part = LENGTH_HIGH;
        return true;
    }
}

bool hub_filters_feed(struct hub_filters *f, uint8_t level, const char *device,
                      struct tb_span bytes) {
    for (size_t i = 0; i < bytes.n; i++) {
        if (!take(f, level, device, bytes.p[i]))
            return false;
    }
    return true;
}

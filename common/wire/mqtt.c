#include "tb/mqtt.h"

static bool take_string(struct tb_span *in, struct tb_span *ret) {
    struct tb_span rest = *in;
    uint16_t n;

    if (!tb_take_be16(&rest, &n) || !tb_take(&rest, n, ret))
        return false;
    *in = rest;
    return true;
}

static void put_string(struct tb_buf *out, struct tb_span s) {
    if (s.n > 0xFFFF)
        out->overflow = true;
    tb_put_be16(out, (uint16_t)s.n);
    tb_put(out, s);
}

/* Variable byte integer (5: 1.5.5): seven bits a byte, low ones first. */
static int take_varint(struct tb_span *in, uint32_t *ret) {
    struct tb_span rest = *in;
    uint32_t v = 0;
    uint8_t b;

    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (!tb_take_u8(&rest, &b))
            return TB_EMORE;
        v |= (uint32_t)(b & 0x7F) << shift;
        if ((b & 0x80) == 0) {
            *in = rest;
            *ret = v;
            return 0;
        }
    }
    return TB_EPARSE;
}

static void put_varint(struct tb_buf *out, size_t v) {
    if (v > TB_MQTT_LENGTH_MAX)
        out->overflow = true;
    do {
        uint8_t b = v & 0x7F;

        v >>= 7;
        tb_put_u8(out, v ? b | 0x80 : b);
    } while (v);
}

static size_t varint_size(size_t v) {
    return v < 1U << 7 ? 1 : v < 1U << 14 ? 2 : v < 1U << 21 ? 3 : 4;
}

bool tb_mqtt_utf8_ok(struct tb_span text) {
    uint8_t b;

    while (tb_take_u8(&text, &b)) {
        unsigned more = b < 0x80             ? 0
                        : (b & 0xE0) == 0xC0 ? 1
                        : (b & 0xF0) == 0xE0 ? 2
                        : (b & 0xF8) == 0xF0 ? 3
                                             : 4;
        static const uint32_t least[] = {0x01, 0x80, 0x800, 0x10000};
        uint32_t c = more == 0 ? b : b & (0x3FU >> more);

        if (more > 3)
            return false;
        for (unsigned i = 0; i < more; i++) {
            if (!tb_take_u8(&text, &b) || (b & 0xC0) != 0x80)
                return false;
            c = c << 6 | (b & 0x3F);
        }
        if (c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
            return false;
    }
    return true;
}

int tb_mqtt_take_head(struct tb_span *in, struct tb_mqtt_head *ret) {
    struct tb_span rest = *in;
    struct tb_mqtt_head h;
    uint8_t b;
    int r;

    if (!tb_take_u8(&rest, &b))
        return TB_EMORE;
    h.type = b >> 4;
    h.flags = b & 0x0F;
    r = take_varint(&rest, &h.length);
    if (r < 0)
        return r;
    *in = rest;
    *ret = h;
    return 0;
}

void tb_mqtt_put_head(struct tb_buf *out, const struct tb_mqtt_head *head) {
    tb_put_u8(out, (uint8_t)(head->type << 4 | (head->flags & 0x0F)));
    put_varint(out, head->length);
}

/* Properties of MQTT 5 (2.2.2.2): in which lists each may stand, and the form of its value. */
enum { IN_CONNECT = 1, IN_WILL = 2, IN_PUBLISH = 4 };
enum form {
    FORM_BOOL,
    FORM_BYTE,
    FORM_U16,
    FORM_U32,
    FORM_VARINT,
    FORM_STRING,
    FORM_BINARY,
    FORM_PAIR
};

static const struct property {
    uint8_t id, where, form;
    bool not_zero, repeats;
} properties[] = {
    {0x01, IN_WILL | IN_PUBLISH, FORM_BOOL, false, false},   /* payload format indicator */
    {0x02, IN_WILL | IN_PUBLISH, FORM_U32, false, false},    /* message expiry interval */
    {0x03, IN_WILL | IN_PUBLISH, FORM_STRING, false, false}, /* content type */
    {0x08, IN_WILL | IN_PUBLISH, FORM_STRING, false, false}, /* response topic */
    {0x09, IN_WILL | IN_PUBLISH, FORM_BINARY, false, false}, /* correlation data */
    {0x0B, IN_PUBLISH, FORM_VARINT, true, true},             /* subscription identifier */
    {0x11, IN_CONNECT, FORM_U32, false, false},              /* session expiry interval */
    {0x15, IN_CONNECT, FORM_STRING, false, false},           /* authentication method */
    {0x16, IN_CONNECT, FORM_BINARY, false, false},           /* authentication data */
    {0x17, IN_CONNECT, FORM_BOOL, false, false},             /* request problem information */
    {0x18, IN_WILL, FORM_U32, false, false},                 /* will delay interval */
    {0x19, IN_CONNECT, FORM_BOOL, false, false},             /* request response information */
    {0x21, IN_CONNECT, FORM_U16, true, false},               /* receive maximum */
    {0x22, IN_CONNECT, FORM_U16, false, false},              /* topic alias maximum */
    {0x23, IN_PUBLISH, FORM_U16, true, false},               /* topic alias */
    {0x26, IN_CONNECT | IN_WILL | IN_PUBLISH, FORM_PAIR, false, true}, /* user property */
    {0x27, IN_CONNECT, FORM_U32, true, false},                         /* maximum packet size */
};

static const struct property *find_property(uint8_t id) {
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (properties[i].id == id)
            return &properties[i];
    }
    return NULL;
}

static bool take_text(struct tb_span *in) {
    struct tb_span text;

    return take_string(in, &text) && tb_mqtt_utf8_ok(text);
}

/* Reads one value; numbers are given to *ret. */
static bool take_value(struct tb_span *in, enum form form, uint32_t *ret) {
    struct tb_span skipped;

    *ret = 0;
    switch (form) {
    case FORM_BOOL:
        return tb_take_be(in, 1, ret) && *ret <= 1;
    case FORM_BYTE:
        return tb_take_be(in, 1, ret);
    case FORM_U16:
        return tb_take_be(in, 2, ret);
    case FORM_U32:
        return tb_take_be(in, 4, ret);
    case FORM_VARINT:
        return take_varint(in, ret) == 0;
    case FORM_STRING:
        return take_text(in);
    case FORM_BINARY:
        return take_string(in, &skipped);
    case FORM_PAIR:
        if (!take_text(in)) /* the name, then the value */
            return false;
        return take_text(in);
    }
    return false;
}

/* Checks a list of properties; the topic alias, if there is one, is given to *ret_alias. */
static bool properties_ok(struct tb_span list, unsigned where, uint16_t *ret_alias) {
    uint64_t seen = 0;
    uint8_t id;

    while (tb_take_u8(&list, &id)) {
        const struct property *p = find_property(id);
        uint32_t v;

        if (!p || (p->where & where) == 0 || !take_value(&list, p->form, &v))
            return false;
        if ((p->not_zero && v == 0) || (!p->repeats && (seen & 1ULL << id)))
            return false;
        seen |= 1ULL << id;
        if (id == 0x23 && ret_alias)
            *ret_alias = (uint16_t)v;
    }
    /* Data without a method means nothing (5: 3.1.2.11.10). */
    return !(seen & 1ULL << 0x16) || (seen & 1ULL << 0x15);
}

/* A list with its length in front. */
static bool take_properties(struct tb_span *in, unsigned where, struct tb_span *ret) {
    uint32_t n;

    return take_varint(in, &n) == 0 && tb_take(in, n, ret) && properties_ok(*ret, where, NULL);
}

/* A topic that is published to: not empty, no wildcards (4.7). */
static bool topic_ok(struct tb_span t) {
    return t.n > 0 && tb_mqtt_utf8_ok(t) && !memchr(t.p, '+', t.n) && !memchr(t.p, '#', t.n);
}

enum {
    FLAG_CLEAN = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER = 0x80
};

/* The flag byte (3.1.2.3). */
static bool take_flags(struct tb_span *in, struct tb_mqtt_connect *c) {
    uint8_t f;

    if (!tb_take_u8(in, &f) || (f & 0x01) != 0)
        return false;
    c->clean = f & FLAG_CLEAN;
    c->has_will = f & FLAG_WILL;
    c->will_qos = f >> 3 & 3;
    c->will_retain = f & FLAG_WILL_RETAIN;
    c->has_password = f & FLAG_PASSWORD;
    c->has_user = f & FLAG_USER;
    if (c->will_qos == 3 || (!c->has_will && (c->will_qos != 0 || c->will_retain)))
        return false;
    return c->level == TB_MQTT_5 || c->has_user || !c->has_password;
}

static bool take_payload(struct tb_span *in, struct tb_mqtt_connect *c) {
    if (!take_string(in, &c->client_id) || !tb_mqtt_utf8_ok(c->client_id))
        return false;
    if (c->has_will) {
        if (c->level == TB_MQTT_5 && !take_properties(in, IN_WILL, &c->will_properties))
            return false;
        if (!take_string(in, &c->will_topic) || !topic_ok(c->will_topic) ||
            !take_string(in, &c->will_payload))
            return false;
    }
    if (c->has_user && (!take_string(in, &c->user) || !tb_mqtt_utf8_ok(c->user)))
        return false;
    if (c->has_password && !take_string(in, &c->password))
        return false;
    return in->n == 0;
}

static int refuse(struct tb_mqtt_refusal *out, uint8_t level, uint8_t code, int err) {
    *out = (struct tb_mqtt_refusal){level, code};
    return err;
}

int tb_mqtt_connect_parse(struct tb_span in, struct tb_mqtt_connect *ret,
                          struct tb_mqtt_refusal *ret_refusal) {
    static const struct tb_span mqtt = {(const uint8_t *)"MQTT", 4},
                                mqisdp = {(const uint8_t *)"MQIsdp", 6};
    struct tb_mqtt_connect c = {0};
    struct tb_span body = in, name;
    struct tb_mqtt_head h;
    size_t size;
    int r;

    if (in.n > 0 && in.p[0] != TB_MQTT_CONNECT << 4)
        return refuse(ret_refusal, 0, 0, TB_EPROTO);
    r = tb_mqtt_take_head(&body, &h);
    if (r == TB_EMORE)
        return r;
    if (r < 0)
        return refuse(ret_refusal, 0, 0, r);
    if (h.length > TB_MQTT_CONNECT_MAX)
        return refuse(ret_refusal, 0, 0, TB_ERANGE);
    size = in.n - body.n + h.length;
    if (body.n < h.length)
        return TB_EMORE;
    body = tb_span_sub(body, 0, h.length);
    if (!take_string(&body, &name) || !tb_take_u8(&body, &c.level))
        return refuse(ret_refusal, 0, 0, TB_EPARSE);
    if (tb_span_eq(name, mqisdp) || (tb_span_eq(name, mqtt) && c.level < TB_MQTT_3_1_1))
        return refuse(ret_refusal, TB_MQTT_3_1_1, TB_MQTT_3_BAD_VERSION, TB_EUNSUP);
    if (!tb_span_eq(name, mqtt))
        return refuse(ret_refusal, 0, 0, TB_EPARSE);
    if (c.level > TB_MQTT_5)
        return refuse(ret_refusal, TB_MQTT_5, TB_MQTT_5_BAD_VERSION, TB_EUNSUP);
    if (!take_flags(&body, &c) || !tb_take_be16(&body, &c.keep_alive) ||
        (c.level == TB_MQTT_5 && !take_properties(&body, IN_CONNECT, &c.properties)) ||
        !take_payload(&body, &c)) /* 3.1.1 has no code for a malformed CONNECT (4.8) */
        return refuse(ret_refusal, c.level, c.level == TB_MQTT_5 ? TB_MQTT_5_MALFORMED : 0,
                      TB_EPARSE);
    if (c.level == TB_MQTT_3_1_1 && c.client_id.n == 0 && !c.clean) /* 3.1.3.1 */
        return refuse(ret_refusal, c.level, TB_MQTT_3_BAD_CLIENT_ID, TB_EPARSE);
    *ret = c;
    return (int)size;
}

static size_t string_size(struct tb_span s) {
    return 2 + s.n;
}

static size_t list_size(struct tb_span s) {
    return varint_size(s.n) + s.n;
}

static size_t connect_body_size(const struct tb_mqtt_connect *c) {
    size_t n = 10 + string_size(c->client_id);

    if (c->level == TB_MQTT_5)
        n += list_size(c->properties) + (c->has_will ? list_size(c->will_properties) : 0);
    if (c->has_will)
        n += string_size(c->will_topic) + string_size(c->will_payload);
    if (c->has_user)
        n += string_size(c->user);
    if (c->has_password)
        n += string_size(c->password);
    return n;
}

size_t tb_mqtt_connect_size(const struct tb_mqtt_connect *c) {
    size_t n = connect_body_size(c);

    return 1 + varint_size(n) + n;
}

static void put_list(struct tb_buf *out, struct tb_span list) {
    put_varint(out, list.n);
    tb_put(out, list);
}

static void put_head(struct tb_buf *out, uint8_t type, uint8_t flags, size_t length) {
    tb_put_u8(out, (uint8_t)(type << 4 | flags));
    put_varint(out, length);
}

void tb_mqtt_put_connect(struct tb_buf *out, const struct tb_mqtt_connect *c) {
    put_head(out, TB_MQTT_CONNECT, 0, connect_body_size(c));
    put_string(out, tb_span_str("MQTT"));
    tb_put_u8(out, c->level);
    tb_put_u8(out,
              (uint8_t)((c->clean ? FLAG_CLEAN : 0) | (c->has_will ? FLAG_WILL : 0) |
                        c->will_qos << 3 | (c->will_retain ? FLAG_WILL_RETAIN : 0) |
                        (c->has_password ? FLAG_PASSWORD : 0) | (c->has_user ? FLAG_USER : 0)));
    tb_put_be16(out, c->keep_alive);
    if (c->level == TB_MQTT_5)
        put_list(out, c->properties);
    put_string(out, c->client_id);
    if (c->has_will) {
        if (c->level == TB_MQTT_5)
            put_list(out, c->will_properties);
        put_string(out, c->will_topic);
        put_string(out, c->will_payload);
    }
    if (c->has_user)
        put_string(out, c->user);
    if (c->has_password)
        put_string(out, c->password);
}

int tb_mqtt_connack_parse(struct tb_span body, uint8_t level, struct tb_mqtt_connack *ret) {
    struct tb_mqtt_connack a = {0};
    uint32_t n;
    uint8_t flags;

    if (!tb_take_u8(&body, &flags) || flags > 1 || !tb_take_u8(&body, &a.code))
        return TB_EPARSE;
    a.session_present = flags & 1;
    if (level == TB_MQTT_5 && (take_varint(&body, &n) < 0 || !tb_take(&body, n, &a.properties)))
        return TB_EPARSE;
    if (body.n > 0)
        return TB_EPARSE;
    *ret = a;
    return 0;
}

void tb_mqtt_put_connack(struct tb_buf *out, uint8_t level, const struct tb_mqtt_connack *a) {
    put_head(out, TB_MQTT_CONNACK, 0, level == TB_MQTT_5 ? 2 + list_size(a->properties) : 2);
    tb_put_u8(out, a->session_present);
    tb_put_u8(out, a->code);
    if (level == TB_MQTT_5)
        put_list(out, a->properties);
}

void tb_mqtt_put_assigned_client_id(struct tb_buf *out, struct tb_span client_id) {
    tb_put_u8(out, 0x12);
    put_string(out, client_id);
}

int tb_mqtt_publish_parse(struct tb_span body, size_t size, uint8_t flags, uint8_t level,
                          struct tb_mqtt_publish *ret) {
    struct tb_mqtt_publish p = {.qos = flags >> 1 & 3, .retain = flags & 1, .dup = flags & 8};
    const int cut = body.n < size ? TB_EMORE : TB_EPARSE; /* what a missing byte means */
    const struct tb_span whole = body;
    struct tb_span list;
    uint32_t n;
    int r;

    if (p.qos == 3)
        return TB_EPARSE;
    if (!take_string(&body, &p.topic) || (p.qos > 0 && !tb_take_be16(&body, &p.packet_id)))
        return cut;
    if (p.qos > 0 && p.packet_id == 0)
        return TB_EPARSE;
    if (level == TB_MQTT_5) {
        r = take_varint(&body, &n);
        if (r == TB_EPARSE)
            return r;
        if (r < 0 || !tb_take(&body, n, &list))
            return cut;
        if (!properties_ok(list, IN_PUBLISH, &p.alias))
            return TB_EPARSE;
    }
    if (!topic_ok(p.topic) && !(p.topic.n == 0 && p.alias > 0))
        return TB_EPARSE;
    p.payload = body;
    p.payload_size = size - (whole.n - body.n);
    *ret = p;
    return 0;
}

void tb_mqtt_put_publish(struct tb_buf *out, uint8_t level, const struct tb_mqtt_publish *p) {
    size_t n =
        string_size(p->topic) + (p->qos > 0 ? 2 : 0) + (level == TB_MQTT_5 ? 1 : 0) + p->payload.n;

    put_head(out, TB_MQTT_PUBLISH, (uint8_t)((p->dup ? 8 : 0) | p->qos << 1 | (p->retain ? 1 : 0)),
             n);
    put_string(out, p->topic);
    if (p->qos > 0)
        tb_put_be16(out, p->packet_id);
    if (level == TB_MQTT_5)
        put_list(out, TB_SPAN_NONE);
    tb_put(out, p->payload);
}

int tb_mqtt_puback_parse(struct tb_span body, uint16_t *ret_packet_id, uint8_t *ret_reason) {
    uint16_t id;
    uint8_t reason = 0;

    if (!tb_take_be16(&body, &id) || id == 0)
        return TB_EPARSE;
    tb_take_u8(&body, &reason); /* left out means success (5: 3.4.2.1) */
    *ret_packet_id = id;
    *ret_reason = reason;
    return 0;
}

void tb_mqtt_put_disconnect(struct tb_buf *out, uint8_t level, uint8_t reason) {
    put_head(out, TB_MQTT_DISCONNECT, 0, level == TB_MQTT_5 ? 2 : 0);
    if (level == TB_MQTT_5) {
        tb_put_u8(out, reason);
        put_list(out, TB_SPAN_NONE);
    }
}

/* The packet stands whole in *in: the ordinary case, nothing is copied. */
static bool seen_whole(struct tb_mqtt_scan *s, struct tb_span *in, struct tb_mqtt_seen *ret) {
    struct tb_span rest = *in;

    if (!tb_mqtt_scan_between(s) || tb_mqtt_take_head(&rest, &ret->head) < 0 ||
        !tb_take(&rest, ret->head.length, &ret->body))
        return false;
    *in = rest;
    return true;
}

/* Collects the fixed header byte by byte: 1 when it is complete. */
static int scan_head(struct tb_mqtt_scan *s, struct tb_span *in) {
    while (in->n > 0) {
        struct tb_span head;
        int r;

        if (s->head_n == TB_MQTT_HEAD_MAX)
            return TB_EPARSE;
        tb_take_u8(in, &s->head[s->head_n++]);
        head = tb_span(s->head, s->head_n);
        r = tb_mqtt_take_head(&head, &s->cur);
        if (r == TB_EMORE)
            continue;
        if (r < 0)
            return r;
        s->in_body = true;
        s->left = s->cur.length;
        s->kept_n = 0;
        s->head_n = 0;
        return 1;
    }
    return 0;
}

int tb_mqtt_scan_next(struct tb_mqtt_scan *s, struct tb_span *in, struct tb_mqtt_seen *ret) {
    struct tb_span part;
    size_t keep;
    int r;

    if (seen_whole(s, in, ret))
        return ret->head.type == 0 ? TB_EPARSE : 1;
    if (!s->in_body && (r = scan_head(s, in)) <= 0)
        return r;
    if (s->cur.type == 0)
        return TB_EPARSE;
    part = tb_span_sub(*in, 0, s->left);
    tb_take(in, part.n, &part);
    s->left -= (uint32_t)part.n;
    keep = sizeof s->kept - s->kept_n < part.n ? sizeof s->kept - s->kept_n : part.n;
    if (keep > 0)
        memcpy(s->kept + s->kept_n, part.p, keep);
    s->kept_n = (uint16_t)(s->kept_n + keep);
    if (s->left > 0)
        return 0;
    s->in_body = false;
    ret->head = s->cur;
    ret->body = tb_span(s->kept, s->kept_n);
    return 1;
}

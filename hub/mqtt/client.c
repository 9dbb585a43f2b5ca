#include "mqtt/client.h"

#include <stdlib.h>
#include <string.h>

#include "tb/mqtt.h"

enum {
    UNDER_WAY_MAX = 20, /* mosquitto takes this many unacknowledged ones (Receive Maximum) */
    QUEUE_MAX = 16384,
    QUEUE_BYTES_MAX = 16 << 20,
    NO_LOCAL = 0x04, /* subscription options (5: 3.8.3.1) */
};

struct message {
    struct message *next;
    uint16_t packet_id;
    hub_published_fn *done;
    void *arg;
    uint8_t *p; /* the packet; NULL when it has been sent */
    size_t n;
};

struct hub_client {
    const struct hub_client_ops *ops;
    void *user;
    struct tb_connect *connecting; /* until its callback */
    struct tb_conn *conn;
    char *filter;
    struct message *first, **last; /* those under way first */
    unsigned queued, under_way;
    size_t queued_bytes;
    uint16_t last_id;
    bool accepted, up, closing;
};

static void put_subscribe(struct tb_buf *out, const char *filter) {
    const struct tb_span f = tb_span_str(filter);
    const struct tb_mqtt_head head = {
        .type = TB_MQTT_SUBSCRIBE, .flags = 2, .length = (uint32_t)(2 + 1 + 2 + f.n + 1)};

    tb_mqtt_put_head(out, &head);
    tb_put_be16(out, 1); /* packet identifier */
    tb_put_u8(out, 0);   /* no properties */
    tb_put_be16(out, (uint16_t)f.n);
    tb_put(out, f);
    tb_put_u8(out, 1 /* QoS */ | NO_LOCAL);
}

static void come_up(struct hub_client *c) {
    c->up = true;
    c->ops->on_up(c->user);
}

static void on_connack(struct hub_client *c, struct tb_span body) {
    uint8_t bytes[256];
    struct tb_buf out = TB_BUF(bytes);
    struct tb_mqtt_connack ack;
    struct tb_span all;

    if (c->accepted || tb_mqtt_connack_parse(body, TB_MQTT_5, &ack) < 0 || ack.code != 0) {
        tb_conn_close(c->conn, TB_EPROTO);
        return;
    }
    c->accepted = true;
    if (!c->filter) {
        come_up(c);
        return;
    }
    put_subscribe(&out, c->filter);
    all = tb_buf_span(&out);
    tb_conn_write(c->conn, &all, 1);
}

/* One filter, so one reason, the last byte: the granted QoS, or from 0x80 on a refusal. */
static void on_suback(struct hub_client *c, struct tb_span body) {
    if (c->up || body.n < 4 || body.p[body.n - 1] >= 0x80)
        tb_conn_close(c->conn, TB_EPROTO);
    else
        come_up(c);
}

static void send_next(struct hub_client *c) {
    for (struct message *m = c->first; m && c->under_way < UNDER_WAY_MAX && !c->closing;
         m = m->next) {
        struct tb_span all = tb_span(m->p, m->n);

        if (!m->p)
            continue;
        c->under_way++;
        c->queued_bytes -= m->n;
        tb_conn_write(c->conn, &all, 1); /* if that fails, on_closed() tells everybody */
        free(m->p);
        m->p = NULL;
    }
}

static void on_puback(struct hub_client *c, struct tb_span body) {
    struct message **at = &c->first, *m;
    uint16_t id;
    uint8_t reason;

    if (tb_mqtt_puback_parse(body, &id, &reason) < 0)
        return;
    while (*at && ((*at)->packet_id != id || (*at)->p))
        at = &(*at)->next;
    m = *at;
    if (!m)
        return;
    *at = m->next;
    if (!*at)
        c->last = at;
    c->queued--;
    c->under_way--;
    m->done(reason == 0 ? 1 : reason == TB_MQTT_5_NO_MATCHING_SUBSCRIBERS ? 0 : TB_EPROTO, m->arg);
    free(m);
    send_next(c);
}

static void on_publish(struct hub_client *c, const struct tb_mqtt_head *head, struct tb_span body) {
    struct tb_mqtt_publish p;
    uint8_t bytes[4];
    struct tb_buf out = TB_BUF(bytes);
    struct tb_span all;

    if (tb_mqtt_publish_parse(body, body.n, head->flags, TB_MQTT_5, &p) < 0 || p.qos > 1) {
        tb_conn_close(c->conn, TB_EPROTO);
        return;
    }
    if (p.qos == 1) {
        tb_put_u8(&out, TB_MQTT_PUBACK << 4);
        tb_put_u8(&out, 2);
        tb_put_be16(&out, p.packet_id);
        all = tb_buf_span(&out);
        tb_conn_write(c->conn, &all, 1);
    }
    c->ops->on_message(p.topic, p.payload, p.retain, c->user);
}

static void on_packet(struct hub_client *c, const struct tb_mqtt_head *head, struct tb_span body) {
    switch (head->type) {
    case TB_MQTT_CONNACK:
        on_connack(c, body);
        break;
    case TB_MQTT_SUBACK:
        on_suback(c, body);
        break;
    case TB_MQTT_PUBACK:
        on_puback(c, body);
        break;
    case TB_MQTT_PUBLISH:
        on_publish(c, head, body);
        break;
    default:
        break; /* DISCONNECT: the end of the stream follows */
    }
}

static size_t on_data(struct tb_conn *conn, struct tb_span data, void *user) {
    struct hub_client *c = user;
    struct tb_span rest = data;

    while (rest.n > 0 && !c->closing) {
        struct tb_span in = rest, body = TB_SPAN_NONE;
        struct tb_mqtt_head head;
        int r = tb_mqtt_take_head(&in, &head);

        if (r == 0 && head.length > HUB_MESSAGE_MAX)
            r = TB_ERANGE;
        if (r == TB_EMORE || (r == 0 && !tb_take(&in, head.length, &body)))
            break;
        if (r < 0) {
            tb_conn_close(conn, TB_EPROTO);
            return data.n;
        }
        on_packet(c, &head, body);
        rest = in;
    }
    return data.n - rest.n;
}

static void on_closed(int why, void *user) {
    struct hub_client *c = user;
    struct message *m;

    c->closing = true;
    while ((m = c->first)) {
        c->first = m->next;
        m->done(TB_ECLOSED, m->arg);
        free(m->p);
        free(m);
    }
    c->ops->on_closed(why, c->user);
    free(c->filter);
    free(c);
}

static const struct tb_conn_ops conn_ops = {.on_data = on_data, .on_closed = on_closed};

/* '$' cannot stand in a device id, so no device can be taken for us. */
static void send_connect(struct hub_client *c) {
    static const uint8_t properties[] = {0x27, /* Maximum Packet Size (5: 3.1.2.11.4) */
                                         HUB_MESSAGE_MAX >> 24, HUB_MESSAGE_MAX >> 16 & 0xFF,
                                         HUB_MESSAGE_MAX >> 8 & 0xFF, HUB_MESSAGE_MAX & 0xFF};
    static const struct tb_mqtt_connect hello = {.level = TB_MQTT_5,
                                                 .clean = true,
                                                 .has_user = true,
                                                 .properties = {properties, sizeof properties},
                                                 .client_id = {(const uint8_t *)"$hub", 4},
                                                 .user = {(const uint8_t *)"$hub", 4}};
    uint8_t bytes[64];
    struct tb_buf out = TB_BUF(bytes);
    struct tb_span all;

    tb_mqtt_put_connect(&out, &hello);
    all = tb_buf_span(&out);
    tb_conn_write(c->conn, &all, 1);
}

static void on_connected(int status, struct tb_conn *conn, void *user) {
    struct hub_client *c = user;

    c->connecting = NULL;
    if (status < 0) {
        on_closed(status, c);
        return;
    }
    c->conn = conn;
    if (c->closing)
        tb_conn_close(conn, 0);
    else
        send_connect(c);
}

int hub_client_open(uv_loop_t *loop, const struct tb_addr *at, const char *filter,
                    const struct hub_client_ops *ops, void *user, struct hub_client **ret) {
    struct hub_client *c = calloc(1, sizeof *c);
    int err;

    if (!c || (filter && !(c->filter = strdup(filter))))
        abort();
    c->ops = ops;
    c->user = user;
    c->last = &c->first;
    c->last_id = 1; /* the subscription's */
    err = tb_conn_connect(loop, at, &conn_ops, c, on_connected, &c->connecting);
    if (err < 0) {
        free(c->filter);
        free(c);
        return err;
    }
    *ret = c;
    return 0;
}

int hub_client_publish(struct hub_client *c, const char *topic, struct tb_span payload, bool retain,
                       hub_published_fn *done, void *arg) {
    struct tb_mqtt_publish p = {
        .qos = 1, .retain = retain, .topic = tb_span_str(topic), .payload = payload};
    struct message *m;
    struct tb_buf out;
    size_t cap = TB_MQTT_HEAD_MAX + 8 + p.topic.n + payload.n;

    if (!c->up || c->closing)
        return TB_ESTATE;
    /* Packet ids stay unique: the queue is much shorter than their number. */
    if (c->queued >= QUEUE_MAX || (c->queued_bytes > 0 && c->queued_bytes + cap > QUEUE_BYTES_MAX))
        return TB_ERANGE;
    p.packet_id = c->last_id == UINT16_MAX ? 1 : (uint16_t)(c->last_id + 1);
    out = tb_buf(malloc(cap), cap);
    m = malloc(sizeof *m);
    if (!out.p || !m)
        abort();
    tb_mqtt_put_publish(&out, TB_MQTT_5, &p);
    if (out.overflow) {
        free(out.p);
        free(m);
        return TB_ERANGE;
    }
    c->last_id = p.packet_id;
    *m = (struct message){NULL, p.packet_id, done, arg, out.p, out.n};
    *c->last = m;
    c->last = &m->next;
    c->queued++;
    c->queued_bytes += m->n;
    send_next(c);
    return 0;
}

void hub_client_close(struct hub_client *c) {
    if (c->closing)
        return;
    c->closing = true;
    if (c->conn)
        tb_conn_close(c->conn, 0);
    else if (c->connecting)
        tb_conn_cancel(c->connecting);
}

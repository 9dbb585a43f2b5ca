#include "mqtt/client.h"

#include <stdlib.h>

#include "tb/mqtt.h"

/* mosquitto takes this many unacknowledged messages (Receive Maximum, its default). */
enum { PENDING_MAX = 20 };

struct pending {
    uint16_t packet_id; /* 0: free */
    hub_published_fn *done;
    void *arg;
};

struct hub_client {
    const struct hub_client_ops *ops;
    void *user;
    struct tb_connect *connecting; /* until its callback */
    struct tb_conn *conn;
    struct tb_mqtt_scan scan;
    struct pending pending[PENDING_MAX];
    uint16_t last_id;
    bool up, closing;
};

static void on_packet(struct hub_client *c, const struct tb_mqtt_seen *seen) {
    struct tb_mqtt_connack ack;
    uint16_t id;
    uint8_t reason;

    if (seen->head.type == TB_MQTT_CONNACK && !c->up) {
        if (tb_mqtt_connack_parse(seen->body, TB_MQTT_5, &ack) < 0 || ack.code != 0) {
            tb_conn_close(c->conn, TB_EPROTO);
            return;
        }
        c->up = true;
        c->ops->on_up(c->user);
        return;
    }
    if (seen->head.type != TB_MQTT_PUBACK || tb_mqtt_puback_parse(seen->body, &id, &reason) < 0)
        return;
    for (unsigned i = 0; i < PENDING_MAX; i++) {
        struct pending p = c->pending[i];

        if (p.packet_id == id) {
            c->pending[i].packet_id = 0;
            p.done(reason == 0                                   ? 1
                   : reason == TB_MQTT_5_NO_MATCHING_SUBSCRIBERS ? 0
                                                                 : TB_EPROTO,
                   p.arg);
            return;
        }
    }
}

static size_t on_data(struct tb_conn *conn, struct tb_span data, void *user) {
    struct hub_client *c = user;
    struct tb_span rest = data;
    struct tb_mqtt_seen seen;
    int r;

    while ((r = tb_mqtt_scan_next(&c->scan, &rest, &seen)) > 0)
        on_packet(c, &seen);
    if (r < 0)
        tb_conn_close(conn, TB_EPROTO);
    return data.n;
}

static void on_closed(int why, void *user) {
    struct hub_client *c = user;

    for (unsigned i = 0; i < PENDING_MAX; i++) {
        if (c->pending[i].packet_id != 0)
            c->pending[i].done(TB_ECLOSED, c->pending[i].arg);
    }
    c->ops->on_closed(why, c->user);
    free(c);
}

static const struct tb_conn_ops conn_ops = {.on_data = on_data, .on_closed = on_closed};

/* '$' cannot stand in a device id, so no device can be taken for us. */
static void on_connected(int status, struct tb_conn *conn, void *user) {
    static const struct tb_mqtt_connect hello = {.level = TB_MQTT_5,
                                                 .clean = true,
                                                 .has_user = true,
                                                 .client_id = {(const uint8_t *)"$hub", 4},
                                                 .user = {(const uint8_t *)"$hub", 4}};
    struct hub_client *c = user;
    uint8_t bytes[64];
    struct tb_buf out = TB_BUF(bytes);
    struct tb_span all;

    c->connecting = NULL;
    if (status < 0) {
        c->ops->on_closed(status, c->user);
        free(c);
        return;
    }
    c->conn = conn;
    if (c->closing) {
        tb_conn_close(conn, 0);
        return;
    }
    tb_mqtt_put_connect(&out, &hello);
    all = tb_buf_span(&out);
    tb_conn_write(conn, &all, 1);
}

int hub_client_open(uv_loop_t *loop, const struct tb_addr *at, const struct hub_client_ops *ops,
                    void *user, struct hub_client **ret) {
    struct hub_client *c = calloc(1, sizeof *c);
    int err;

    if (!c)
        abort();
    c->ops = ops;
    c->user = user;
    err = tb_conn_connect(loop, at, &conn_ops, c, on_connected, &c->connecting);
    if (err < 0) {
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
    struct pending *slot = NULL;
    struct tb_buf out;
    struct tb_span all;
    size_t cap;
    int r;

    if (!c->up || c->closing)
        return TB_ESTATE;
    for (unsigned i = 0; i < PENDING_MAX && !slot; i++)
        slot = c->pending[i].packet_id == 0 ? &c->pending[i] : NULL;
    if (!slot)
        return TB_ERANGE;
    c->last_id = c->last_id == UINT16_MAX ? 1 : (uint16_t)(c->last_id + 1);
    p.packet_id = c->last_id;
    cap = TB_MQTT_HEAD_MAX + 8 + p.topic.n + payload.n;
    out = tb_buf(malloc(cap), cap);
    if (!out.p)
        abort();
    tb_mqtt_put_publish(&out, TB_MQTT_5, &p);
    all = tb_buf_span(&out);
    r = out.overflow ? TB_ERANGE : tb_conn_write(c->conn, &all, 1);
    free(out.p);
    if (r < 0)
        return r;
    *slot = (struct pending){p.packet_id, done, arg};
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

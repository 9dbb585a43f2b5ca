#pragma once
/* The part of MQTT 3.1.1 and 5.0 (OASIS standards) that a relay and a minimal client need: CONNECT
 * read and written, CONNACK, PUBLISH, PUBACK, DISCONNECT, and a scanner that follows a stream
 * packet by packet without holding more than TB_MQTT_SCAN_MAX bytes of it. */
#include <stdbool.h>

#include "tb/error.h"
#include "tb/span.h"

enum tb_mqtt_type {
    TB_MQTT_CONNECT = 1,
    TB_MQTT_CONNACK = 2,
    TB_MQTT_PUBLISH = 3,
    TB_MQTT_PUBACK = 4,
    TB_MQTT_SUBSCRIBE = 8,
    TB_MQTT_SUBACK = 9,
    TB_MQTT_DISCONNECT = 14,
    TB_MQTT_AUTH = 15,
};

enum { TB_MQTT_3_1_1 = 4, TB_MQTT_5 = 5 }; /* protocol levels */

enum {
    TB_MQTT_CONNECT_MAX = 1 << 16, /* largest remaining length of a CONNECT that is read */
    TB_MQTT_SCAN_MAX = 512,        /* bytes of a packet's body that the scanner keeps */
    TB_MQTT_HEAD_MAX = 5,          /* fixed header: type and flags, four bytes of length */
    TB_MQTT_LENGTH_MAX = 268435455,
};

/* Answers to a CONNECT: return codes of 3.1.1 (3.2.2.3), reason codes of 5 (3.2.2.2). */
enum tb_mqtt_code {
    TB_MQTT_3_BAD_VERSION = 0x01,
    TB_MQTT_3_BAD_CLIENT_ID = 0x02,
    TB_MQTT_3_UNAVAILABLE = 0x03,
    TB_MQTT_3_NOT_AUTHORIZED = 0x05,
    TB_MQTT_5_NO_MATCHING_SUBSCRIBERS = 0x10,
    TB_MQTT_5_MALFORMED = 0x81,
    TB_MQTT_5_PROTOCOL_ERROR = 0x82,
    TB_MQTT_5_BAD_VERSION = 0x84,
    TB_MQTT_5_NOT_AUTHORIZED = 0x87,
    TB_MQTT_5_UNAVAILABLE = 0x88,
    TB_MQTT_5_SHUTTING_DOWN = 0x8B,
    TB_MQTT_5_ADMINISTRATIVE = 0x98,
};

/* Well-formed UTF-8 without U+0000 and surrogates: what a string of MQTT must be (1.5.3 / 1.5.4).
 */
bool tb_mqtt_utf8_ok(struct tb_span text);

struct tb_mqtt_head {
    uint8_t type;    /* enum tb_mqtt_type; any value 0 … 15 */
    uint8_t flags;   /* low four bits */
    uint32_t length; /* of the body, "remaining length" */
};
/* Reads a fixed header (2.2) off the front of *in: TB_EMORE when it is not complete, TB_EPARSE when
 * the length has more than four bytes. */
int tb_mqtt_take_head(struct tb_span *in, struct tb_mqtt_head *ret) TB_CHECKED;
void tb_mqtt_put_head(struct tb_buf *out, const struct tb_mqtt_head *head);

struct tb_mqtt_connect { /* spans borrow from what was parsed */
    uint8_t level;       /* TB_MQTT_3_1_1 or TB_MQTT_5 */
    bool clean;
    bool has_will, will_retain, has_user, has_password;
    uint8_t will_qos;
    uint16_t keep_alive;       /* seconds, 0: none */
    struct tb_span properties; /* level 5: without their length; checked */
    struct tb_span client_id;
    struct tb_span will_properties; /* level 5 */
    struct tb_span will_topic, will_payload;
    struct tb_span user, password;
};

/* How a CONNECT that cannot be served is to be refused. */
struct tb_mqtt_refusal {
    uint8_t level; /* the form of CONNACK that the client understands */
    uint8_t code; /* 0: close without an answer, as the standard demands or because it is no MQTT */
};

/* Reads a whole CONNECT packet (3.1) from the front of in, every rule of its level checked. Returns
 * its size in bytes, TB_EMORE when it is not complete, TB_ERANGE when it is larger than
 * TB_MQTT_CONNECT_MAX, TB_EPROTO when it is another packet, TB_EUNSUP for another protocol version
 * (3.1 is one), TB_EPARSE when malformed. On every failure but TB_EMORE *ret_refusal is set. */
int tb_mqtt_connect_parse(struct tb_span in, struct tb_mqtt_connect *ret,
                          struct tb_mqtt_refusal *ret_refusal) TB_CHECKED;
/* Appends the CONNECT packet that c describes. */
void tb_mqtt_put_connect(struct tb_buf *out, const struct tb_mqtt_connect *c);
/* Room that tb_mqtt_put_connect() needs. */
size_t tb_mqtt_connect_size(const struct tb_mqtt_connect *c);

struct tb_mqtt_connack {
    bool session_present;
    uint8_t code;              /* 0: accepted */
    struct tb_span properties; /* level 5: without their length; not checked */
};
/* body: what follows the fixed header. */
int tb_mqtt_connack_parse(struct tb_span body, uint8_t level,
                          struct tb_mqtt_connack *ret) TB_CHECKED;
void tb_mqtt_put_connack(struct tb_buf *out, uint8_t level, const struct tb_mqtt_connack *a);
/* The property Assigned Client Identifier (5: 3.2.2.3.7), to be appended to a CONNACK's properties.
 */
void tb_mqtt_put_assigned_client_id(struct tb_buf *out, struct tb_span client_id);

struct tb_mqtt_publish {
    uint8_t qos;
    bool retain, dup;
    uint16_t packet_id;     /* qos 1 and 2 */
    uint16_t alias;         /* level 5: topic alias, 0: none */
    struct tb_span topic;   /* empty with an alias that was set before */
    struct tb_span payload; /* what is there of it */
    size_t payload_size;    /* all of it */
};
/* Reads the body of a PUBLISH (3.3) of size bytes, of which only the first may be there. TB_EMORE
 * when topic and properties are not complete in it. */
int tb_mqtt_publish_parse(struct tb_span body, size_t size, uint8_t flags, uint8_t level,
                          struct tb_mqtt_publish *ret) TB_CHECKED;
/* Appends a PUBLISH without properties; payload whole. */
void tb_mqtt_put_publish(struct tb_buf *out, uint8_t level, const struct tb_mqtt_publish *p);

/* Body of PUBACK (3.4): the reason is 0 in 3.1.1 and when left out. */
int tb_mqtt_puback_parse(struct tb_span body, uint16_t *ret_packet_id,
                         uint8_t *ret_reason) TB_CHECKED;
/* DISCONNECT (3.14); the reason is left out below level 5, which sends none from the server at all.
 */
void tb_mqtt_put_disconnect(struct tb_buf *out, uint8_t level, uint8_t reason);

/* Follows one direction of a connection. Zeroed to begin with. */
struct tb_mqtt_scan {
    uint8_t head[TB_MQTT_HEAD_MAX];
    uint8_t head_n;
    struct tb_mqtt_head cur; /* valid while in_body */
    bool in_body;
    uint32_t left; /* bytes of the body still to come */
    uint16_t kept_n;
    uint8_t kept[TB_MQTT_SCAN_MAX];
};

struct tb_mqtt_seen {
    struct tb_mqtt_head head;
    struct tb_span body; /* its beginning, at least TB_MQTT_SCAN_MAX bytes if it has them; borrowed
                            until the next call */
};

/* Takes bytes off *in until a packet is complete: 1 with *ret set, or 0 when *in is used up.
 * TB_EPARSE when the stream is broken: type 0, or a length of more than four bytes; the scan is not
 * to be continued then. */
int tb_mqtt_scan_next(struct tb_mqtt_scan *s, struct tb_span *in,
                      struct tb_mqtt_seen *ret) TB_CHECKED;
/* True between two packets: here a packet of one's own may be put into the stream. */
static inline bool tb_mqtt_scan_between(const struct tb_mqtt_scan *s) {
    return !s->in_body && s->head_n == 0;
}

/* Any bytes as MQTT: a CONNECT that is accepted is written again byte for byte, and a stream is
 * seen the same whether it comes whole or in pieces. */
#include "tb/mqtt.h"

#include "fuzz_test.h"

static void as_connect(struct tb_span in) {
    static uint8_t room[TB_MQTT_CONNECT_MAX + 16];
    struct tb_mqtt_connect c;
    struct tb_mqtt_refusal ref = {0xEE, 0xEE};
    struct tb_buf out = TB_BUF(room);
    int r = tb_mqtt_connect_parse(in, &c, &ref);

    if (r < 0) {
        REQUIRE((r == TB_EMORE) == (ref.level == 0xEE));
        return;
    }
    REQUIRE(r > 0 && (size_t)r <= in.n);
    tb_mqtt_put_connect(&out, &c);
    REQUIRE(tb_buf_ok(&out) && out.n == tb_mqtt_connect_size(&c));
    /* Lengths may have been written in more bytes than needed: what is read from ours has to be the
     * same. */
    REQUIRE(out.n <= (size_t)r);
    REQUIRE(tb_mqtt_connect_parse(tb_buf_span(&out), &c, &ref) == (int)out.n);
}

static void look_at(const struct tb_mqtt_seen *seen) {
    struct tb_mqtt_publish p;
    struct tb_mqtt_connack a;
    uint16_t id;
    uint8_t reason;

    REQUIRE(seen->body.n <= seen->head.length);
    for (uint8_t level = 4; level <= 5; level++) {
        if (tb_mqtt_publish_parse(seen->body, seen->head.length, seen->head.flags, level, &p) == 0)
            REQUIRE(p.payload.n <= p.payload_size && p.payload_size <= seen->head.length);
        if (tb_mqtt_connack_parse(seen->body, level, &a) == 0)
            REQUIRE(a.properties.n <= seen->body.n);
    }
    if (tb_mqtt_puback_parse(seen->body, &id, &reason) == 0)
        REQUIRE(id > 0);
}

/* Counts packets and bytes; how the stream ends is the last result. */
static int follow(struct tb_span in, size_t step, unsigned *ret_count) {
    struct tb_mqtt_scan s = {0};
    struct tb_mqtt_seen seen;
    int r = 0;

    *ret_count = 0;
    for (size_t at = 0; at < in.n && r >= 0; at += step) {
        struct tb_span piece = tb_span_sub(in, at, step);

        while ((r = tb_mqtt_scan_next(&s, &piece, &seen)) > 0) {
            look_at(&seen);
            (*ret_count)++;
        }
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size);
    unsigned whole, cut;

    as_connect(in);
    REQUIRE(follow(in, size ? size : 1, &whole) == follow(in, 1, &cut));
    REQUIRE(whole == cut);
    REQUIRE(follow(in, 3, &cut) <= 0 && whole == cut);
    return 0;
}

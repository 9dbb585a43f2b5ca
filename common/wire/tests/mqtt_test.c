#include "tb/mqtt.h"

#include "wire_test.h"

/* Vectors written after the standards' own figures: CONNECT 3.1.1 (3.1, figure 3.6) and 5 (figure
 * 3-9). */
static const char connect_311[] =
    "10 2A 00 04 4D515454 04 CE 003C" /* user, password, will qos 1, clean */
    "0003 646576"                     /* "dev" */
    "0005 612F622F63 0003 6F6666"     /* will "a/b/c", "off" */
    "0004 75736572 0006 736563726574";
static const char connect_5[] = "10 2F 00 04 4D515454 05 26 000A"
                                "05 11 0000000A"              /* session expiry 10 */
                                "0003 646576"                 /* "dev" */
                                "07 18 00000005 01 01"        /* will delay 5, payload is text */
                                "0005 612F622F63 0003 6F6666" /* will */
    ;

static int parse(struct tb_span in, struct tb_mqtt_connect *c, struct tb_mqtt_refusal *ref) {
    *ref = (struct tb_mqtt_refusal){0xEE, 0xEE};
    return tb_mqtt_connect_parse(in, c, ref);
}

static struct tb_span fixed_length(const char *hex) {
    struct tb_span s = from_hex(hex);
    uint8_t *p;

    memcpy(&p, &s.p, sizeof p);
    p[1] = (uint8_t)(s.n - 2);
    return s;
}

static void reads_connect_311(void **state) {
    struct tb_span in = fixed_length(connect_311);
    struct tb_mqtt_refusal ref;
    struct tb_mqtt_connect c;
    (void)state;

    assert_int_equal(parse(in, &c, &ref), in.n);
    assert_int_equal(c.level, 4);
    assert_true(c.clean && c.has_will && c.has_user && c.has_password && !c.will_retain);
    assert_int_equal(c.will_qos, 1);
    assert_int_equal(c.keep_alive, 60);
    assert_span_equal(c.client_id, tb_span_str("dev"));
    assert_span_equal(c.will_topic, tb_span_str("a/b/c"));
    assert_span_equal(c.will_payload, tb_span_str("off"));
    assert_span_equal(c.user, tb_span_str("user"));
    assert_span_equal(c.password, tb_span_str("secret"));
    free_exact(in);
}

static void reads_connect_5(void **state) {
    struct tb_span in = fixed_length(connect_5);
    struct tb_mqtt_refusal ref;
    struct tb_mqtt_connect c;
    (void)state;

    assert_int_equal(parse(in, &c, &ref), in.n);
    assert_int_equal(c.level, 5);
    assert_true(c.clean && c.has_will && c.will_retain && !c.has_user && !c.has_password);
    assert_span_equal(c.properties, TB_BYTES(0x11, 0, 0, 0, 10));
    assert_span_equal(c.will_properties, TB_BYTES(0x18, 0, 0, 0, 5, 1, 1));
    assert_span_equal(c.will_topic, tb_span_str("a/b/c"));
    free_exact(in);
}

static void writes_what_it_reads(void **state) {
    const char *const all[] = {connect_311, connect_5};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct tb_span in = fixed_length(all[i]);
        struct tb_mqtt_refusal ref;
        struct tb_mqtt_connect c;
        uint8_t room[256];
        struct tb_buf out = TB_BUF(room);

        assert_true(parse(in, &c, &ref) > 0);
        tb_mqtt_put_connect(&out, &c);
        assert_span_equal(tb_buf_span(&out), in);
        assert_int_equal(tb_mqtt_connect_size(&c), in.n);
        free_exact(in);
    }
}

static void asks_for_more_at_every_truncation(void **state) {
    const char *const all[] = {connect_311, connect_5};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct tb_span in = fixed_length(all[i]);

        for (size_t n = 0; n < in.n; n++) {
            struct tb_span cut = exact(tb_span(in.p, n));
            struct tb_mqtt_connect c = {.level = 0xEE};
            struct tb_mqtt_refusal ref;

            assert_int_equal(parse(cut, &c, &ref), TB_EMORE);
            assert_int_equal(c.level, 0xEE);
            assert_int_equal(ref.code, 0xEE);
            free_exact(cut);
        }
        free_exact(in);
    }
}

/* The body ends early although the fixed header promises no more: malformed at every place. */
static void refuses_every_shortened_body(void **state) {
    const char *const all[] = {connect_311, connect_5};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct tb_span in = fixed_length(all[i]);

        for (size_t n = 2; n < in.n; n++) {
            struct tb_span cut = exact(tb_span(in.p, n));
            struct tb_mqtt_connect c = {.level = 0xEE};
            struct tb_mqtt_refusal ref;
            uint8_t *p;

            memcpy(&p, &cut.p, sizeof p);
            p[1] = (uint8_t)(n - 2);
            assert_int_equal(parse(cut, &c, &ref), TB_EPARSE);
            assert_int_equal(c.level, 0xEE);
            free_exact(cut);
        }
        free_exact(in);
    }
}

static void refused_with(const char *hex, int want, uint8_t level, uint8_t code) {
    struct tb_span in = fixed_length(hex);
    struct tb_mqtt_connect c = {.level = 0xEE};
    struct tb_mqtt_refusal ref;
    int r = parse(in, &c, &ref);

    if (r != want || ref.level != level || ref.code != code)
        fail_msg("%s: %d level %u code %u", hex, r, ref.level, ref.code);
    assert_int_equal(c.level, 0xEE);
    free_exact(in);
}

static void refuses_as_the_standards_say(void **state) {
    (void)state;

    refused_with("10 00 0004 4D515454 04 03 003C 0000", TB_EPARSE, 4, 0); /* reserved flag */
    refused_with("10 00 0004 4D515454 05 03 003C 00 0000", TB_EPARSE, 5, 0x81);
    refused_with("10 00 0004 4D515454 04 42 003C 0000 0000", TB_EPARSE, 4,
                 0); /* password without user */
    refused_with("10 00 0004 4D515454 04 0A 003C 0000", TB_EPARSE, 4, 0); /* will qos, no will */
    refused_with("10 00 0004 4D515454 04 22 003C 0000", TB_EPARSE, 4, 0); /* will retain, no will */
    refused_with("10 00 0004 4D515454 04 1E 003C 0000 0001 61 0000", TB_EPARSE, 4, 0); /* qos 3 */
    refused_with("10 00 0004 4D515454 04 06 003C 0000 0001 23 0000", TB_EPARSE, 4,
                 0); /* will topic # */
    refused_with("10 00 0004 4D515454 04 06 003C 0000 0000 0000", TB_EPARSE, 4,
                 0);                                                         /* empty will topic */
    refused_with("10 00 0004 4D515454 04 00 003C 0000", TB_EPARSE, 4, 2);    /* no id, not clean */
    refused_with("10 00 0004 4D515454 04 02 003C 0001 00", TB_EPARSE, 4, 0); /* U+0000 */
    refused_with("10 00 0004 4D515454 04 02 003C 0003 EDA080", TB_EPARSE, 4, 0); /* surrogate */
    refused_with("10 00 0004 4D515454 04 02 003C 0000 FF", TB_EPARSE, 4, 0);  /* bytes left over */
    refused_with("10 00 0006 4D5149736470 03 02 003C 0000", TB_EUNSUP, 4, 1); /* MQTT 3.1 */
    refused_with("10 00 0004 4D515454 03 02 003C 0000", TB_EUNSUP, 4, 1);
    refused_with("10 00 0004 4D515454 06 02 003C 00 0000", TB_EUNSUP, 5, 0x84);
    refused_with("10 00 0004 4D515453 04 02 003C 0000", TB_EPARSE, 0, 0); /* no MQTT */
    refused_with("20 02 0000", TB_EPROTO, 0, 0);                          /* another packet */
    refused_with("11 00 0004 4D515454 04 02 003C 0000", TB_EPROTO, 0, 0); /* flags of the type */
}

static void property_list(const char *list, int want) {
    char hex[256];
    struct tb_span in;
    struct tb_mqtt_connect c;
    struct tb_mqtt_refusal ref;
    int r;

    snprintf(hex, sizeof hex, "10 00 0004 4D515454 05 02 003C %02zx %s 0000", strlen(list) / 2,
             list);
    in = fixed_length(hex);
    r = parse(in, &c, &ref);
    if (want == 0 ? r != (int)in.n : r != want || ref.code != 0x81)
        fail_msg("%s: %d", list, r);
    free_exact(in);
}

static void checks_properties(void **state) {
    (void)state;

    property_list("", 0);
    property_list("210014", 0);
    property_list("210000", TB_EPARSE);               /* receive maximum 0 */
    property_list("2700000000", TB_EPARSE);           /* maximum packet size 0 */
    property_list("1702", TB_EPARSE);                 /* neither 0 nor 1 */
    property_list("17011701", TB_EPARSE);             /* twice */
    property_list("26000161000162", 0);               /* user property */
    property_list("2600016100016226000161000162", 0); /* may repeat */
    property_list("160001AA", TB_EPARSE);             /* data without a method */
    property_list("1500015A160001AA", 0);
    property_list("230001", TB_EPARSE);     /* of PUBLISH */
    property_list("1800000001", TB_EPARSE); /* of a will */
    property_list("7F", TB_EPARSE);
    property_list("11000000", TB_EPARSE);
}

static void knows_utf8(void **state) {
    (void)state;

    assert_true(tb_mqtt_utf8_ok(TB_SPAN_NONE));
    assert_true(tb_mqtt_utf8_ok(tb_span_str("aé€😀")));
    assert_true(tb_mqtt_utf8_ok(TB_BYTES(0xF4, 0x8F, 0xBF, 0xBF)));
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0x61, 0x00)));
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0xC0, 0x80))); /* overlong */
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0xE0, 0x80, 0x80)));
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0xED, 0xBF, 0xBF)));       /* surrogate */
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0xF4, 0x90, 0x80, 0x80))); /* above U+10FFFF */
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0xFF)));
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0x80)));
    assert_false(tb_mqtt_utf8_ok(TB_BYTES(0xE2, 0x82))); /* cut */
}

static void bounds_connect(void **state) {
    struct tb_mqtt_connect c;
    struct tb_mqtt_refusal ref;
    (void)state;

    assert_int_equal(parse(TB_BYTES(0x10, 0x81, 0x80, 0x04), &c, &ref), TB_ERANGE); /* 64 KiB + 1 */
    assert_int_equal(parse(TB_BYTES(0x10, 0x80, 0x80, 0x04), &c, &ref), TB_EMORE);  /* 64 KiB */
    assert_int_equal(parse(TB_BYTES(0x10, 0xFF, 0xFF, 0xFF, 0xFF), &c, &ref), TB_EPARSE);
    assert_int_equal(ref.code, 0);
}

static void rewrites_connack(void **state) {
    struct tb_span in = TB_BYTES(0x01, 0x00, 0x03, 0x21, 0x00, 0x14);
    struct tb_mqtt_connack a;
    uint8_t list[32], room[64];
    struct tb_buf props = TB_BUF(list), out = TB_BUF(room);
    (void)state;

    assert_int_equal(tb_mqtt_connack_parse(in, 5, &a), 0);
    assert_true(a.session_present);
    tb_put(&props, a.properties);
    tb_mqtt_put_assigned_client_id(&props, tb_span_str("dev"));
    a.properties = tb_buf_span(&props);
    tb_mqtt_put_connack(&out, 5, &a);
    assert_span_equal(tb_buf_span(&out), TB_BYTES(0x20, 0x0C, 0x01, 0x00, 0x09, 0x21, 0x00, 0x14,
                                                  0x12, 0x00, 0x03, 'd', 'e', 'v'));
    assert_int_equal(tb_mqtt_connack_parse(TB_BYTES(0, 5), 4, &a), 0);
    assert_int_equal(a.code, 5);
    assert_int_equal(tb_mqtt_connack_parse(TB_BYTES(2, 0), 4, &a), TB_EPARSE);
    assert_int_equal(tb_mqtt_connack_parse(TB_BYTES(0), 4, &a), TB_EPARSE);
    assert_int_equal(tb_mqtt_connack_parse(TB_BYTES(0, 0, 1), 5, &a), TB_EPARSE);
}

static void reads_publish(void **state) {
    const struct tb_span body = TB_BYTES(0, 1, 'a', 0, 7, 3, 0x23, 0, 2, 'x', 'y');
    struct tb_mqtt_publish p;
    (void)state;

    assert_int_equal(tb_mqtt_publish_parse(body, body.n, 0x02, 5, &p), 0);
    assert_int_equal(p.qos, 1);
    assert_int_equal(p.packet_id, 7);
    assert_int_equal(p.alias, 2);
    assert_span_equal(p.topic, tb_span_str("a"));
    assert_span_equal(p.payload, tb_span_str("xy"));
    for (size_t n = 0; n < body.n; n++) {
        struct tb_mqtt_publish q;
        int r = tb_mqtt_publish_parse(tb_span(body.p, n), body.n, 0x02, 5, &q);

        assert_int_equal(r, n < 9 ? TB_EMORE : 0); /* only payload may be missing */
        assert_int_equal(tb_mqtt_publish_parse(tb_span(body.p, n), n, 0x02, 5, &q),
                         n < 9 ? TB_EPARSE : 0);
    }
    assert_int_equal(tb_mqtt_publish_parse(TB_BYTES(0, 1, '#'), 3, 0, 4, &p), TB_EPARSE);
    assert_int_equal(tb_mqtt_publish_parse(TB_BYTES(0, 0), 2, 0, 4, &p), TB_EPARSE);
    assert_int_equal(tb_mqtt_publish_parse(TB_BYTES(0, 1, 'a', 0, 0), 5, 0x02, 4, &p),
                     TB_EPARSE); /* id 0 */
    assert_int_equal(tb_mqtt_publish_parse(TB_BYTES(0, 1, 'a', 0, 1), 5, 0x06, 4, &p),
                     TB_EPARSE); /* qos 3 */
}

static void publish_comes_back(void **state) {
    const struct tb_mqtt_publish p = {.qos = 1,
                                      .retain = true,
                                      .packet_id = 9,
                                      .topic = tb_span_str("t/u"),
                                      .payload = tb_span_str("hello")};
    (void)state;

    for (uint8_t level = 4; level <= 5; level++) {
        uint8_t room[64];
        struct tb_buf out = TB_BUF(room);
        struct tb_span in;
        struct tb_mqtt_head h;
        struct tb_mqtt_publish q;

        tb_mqtt_put_publish(&out, level, &p);
        in = tb_buf_span(&out);
        assert_int_equal(tb_mqtt_take_head(&in, &h), 0);
        assert_int_equal(h.length, in.n);
        assert_int_equal(tb_mqtt_publish_parse(in, in.n, h.flags, level, &q), 0);
        assert_true(q.retain && q.qos == 1 && q.packet_id == 9);
        assert_span_equal(q.topic, p.topic);
        assert_span_equal(q.payload, p.payload);
    }
}

static void reads_puback(void **state) {
    uint16_t id = 0;
    uint8_t reason = 0xEE;
    (void)state;

    assert_int_equal(tb_mqtt_puback_parse(TB_BYTES(0, 5), &id, &reason), 0);
    assert_int_equal(id, 5);
    assert_int_equal(reason, 0);
    assert_int_equal(tb_mqtt_puback_parse(TB_BYTES(0, 5, 0x10, 0), &id, &reason), 0);
    assert_int_equal(reason, TB_MQTT_5_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(tb_mqtt_puback_parse(TB_BYTES(0), &id, &reason), TB_EPARSE);
}

static void writes_disconnect(void **state) {
    uint8_t room[8];
    struct tb_buf out = TB_BUF(room);
    (void)state;

    tb_mqtt_put_disconnect(&out, 5, TB_MQTT_5_ADMINISTRATIVE);
    assert_span_equal(tb_buf_span(&out), TB_BYTES(0xE0, 0x02, 0x98, 0x00));
}

/* A stream of packets, cut into pieces of every size, is seen the same. */
static void follows_a_stream_however_it_is_cut(void **state) {
    static uint8_t stream[4096];
    struct tb_buf out = TB_BUF(stream);
    static uint8_t large[1500];
    (void)state;

    memset(large, 'L', sizeof large);
    tb_put(&out, TB_BYTES(0xC0, 0x00)); /* PINGREQ */
    tb_mqtt_put_publish(
        &out, 4, &(struct tb_mqtt_publish){.topic = tb_span_str("a"), .payload = tb_span_str("1")});
    tb_mqtt_put_publish(&out, 4,
                        &(struct tb_mqtt_publish){.topic = tb_span_str("b"),
                                                  .payload = tb_span(large, sizeof large)});
    tb_put(&out, TB_BYTES(0xE0, 0x00));
    for (size_t step = 1; step <= out.n; step++) {
        static const uint8_t want[] = {12, 3, 3, 14};
        struct tb_mqtt_scan s = {0};
        unsigned count = 0;

        for (size_t at = 0; at < out.n; at += step) {
            struct tb_span in = tb_span_sub(tb_buf_span(&out), at, step);
            struct tb_mqtt_seen seen;
            int r;

            while ((r = tb_mqtt_scan_next(&s, &in, &seen)) > 0) {
                assert_true(count < 4);
                assert_int_equal(seen.head.type, want[count]);
                if (seen.head.length <= TB_MQTT_SCAN_MAX)
                    assert_int_equal(seen.body.n, seen.head.length);
                else
                    assert_true(seen.body.n >= TB_MQTT_SCAN_MAX && seen.body.n <= seen.head.length);
                if (count == 2)
                    assert_memory_equal(seen.body.p, "\0\1bLLL", 6);
                count++;
            }
            assert_int_equal(r, 0);
            assert_int_equal(in.n, 0);
        }
        assert_int_equal(count, 4);
        assert_true(tb_mqtt_scan_between(&s));
    }
}

static void a_broken_stream_is_an_error(void **state) {
    struct tb_mqtt_seen seen;
    struct tb_span in;
    (void)state;

    in = TB_BYTES(0x00, 0x00);
    assert_int_equal(tb_mqtt_scan_next(&(struct tb_mqtt_scan){0}, &in, &seen), TB_EPARSE);
    in = TB_BYTES(0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01);
    assert_int_equal(tb_mqtt_scan_next(&(struct tb_mqtt_scan){0}, &in, &seen), TB_EPARSE);
    in = TB_BYTES(0x00, 0x05, 1);
    assert_int_equal(tb_mqtt_scan_next(&(struct tb_mqtt_scan){0}, &in, &seen), TB_EPARSE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_connect_311),
        cmocka_unit_test(reads_connect_5),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(asks_for_more_at_every_truncation),
        cmocka_unit_test(refuses_every_shortened_body),
        cmocka_unit_test(refuses_as_the_standards_say),
        cmocka_unit_test(checks_properties),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(bounds_connect),
        cmocka_unit_test(rewrites_connack),
        cmocka_unit_test(reads_publish),
        cmocka_unit_test(publish_comes_back),
        cmocka_unit_test(reads_puback),
        cmocka_unit_test(writes_disconnect),
        cmocka_unit_test(follows_a_stream_however_it_is_cut),
        cmocka_unit_test(a_broken_stream_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Secured packets against those that real cards and other implementations have sent. */
#include "ota/scp80.h"

#include "tb/hex.h"
#include "tb/test.h"

/* Two keys that go on 02 03 … 0F behind these two bytes each. */
static struct card_keyset keys(uint8_t type, const char kic[2], const char kid[2]) {
    struct card_keyset ks = {.type = type, .len = 16};

    for (uint8_t i = 0; i < 16; i++)
        ks.key[0][i] = ks.key[1][i] = i;
    memcpy(ks.key[0], kic, 2);
    memcpy(ks.key[1], kid, 2);
    return ks;
}

static struct tb_buf bytes(const char *hex, uint8_t *room, size_t cap) {
    struct tb_buf b = tb_buf(room, cap);

    assert_int_equal(tb_hex_decode_loose(tb_span_str(hex), &b), 0);
    return b;
}

struct opened {
    struct scp80_command c;
    enum scp80_status status;
    uint64_t counter;
    uint8_t packet[300], plain[300], data[300];
    size_t data_n;
};

static struct opened open_packet(const char *hex, const struct card_keyset *ks) {
    struct opened o = {.status = SCP80_OK};
    struct tb_buf packet = bytes(hex, o.packet, sizeof o.packet);
    struct tb_span data = TB_SPAN_NONE;

    assert_int_equal(scp80_parse(tb_buf_span(&packet), &o.c), 0);
    o.status = scp80_open(&o.c, ks, ks, o.plain, &o.counter, &data);
    o.data_n = data.n;
    if (data.n)
        memcpy(o.data, data.p, data.n);
    return o;
}

static void assert_data(const struct opened *o, const char *hex) {
    uint8_t room[300];
    struct tb_buf want = bytes(hex, room, sizeof room);

    assert_int_equal(o->status, SCP80_OK);
    assert_int_equal(o->data_n, want.n);
    assert_memory_equal(o->data, room, want.n);
}

static void assert_response(const char *command, const struct card_keyset *ks, uint64_t counter,
                            const char *data, const char *response) {
    uint8_t in[300], room[300], answer[300];
    struct tb_buf d = bytes(data, in, sizeof in), want = bytes(response, room, sizeof room),
                  got = TB_BUF(answer);
    struct opened o = open_packet(command, ks);

    o.c.head.p = o.packet; /* it was copied */
    assert_int_equal(scp80_respond(&o.c, ks, ks, counter, SCP80_OK, tb_buf_span(&d), &got), 0);
    assert_int_equal(got.n, want.n);
    assert_memory_equal(answer, room, want.n);
}

#define AES_COMMAND                                                                                \
    "00281506192222b00011e87cceebb2d93083011ce294f93fc4d8de80da1abae8c37ca3e72ec4432e5058"
#define COUNTED                                                                                    \
    "00281516191212b00010a739b1c926efab078157568e34d7f8861d0bad29661129ac7af4bf4ab55c940e"
#define DES_COMMAND "00201506193535b00011ae733256918d050b87c94fbfe12e4dc402f262c41cf67f2f"

static void aes_command_and_response(void **state) {
    const struct card_keyset ks = keys(GP_KEY_AES, "\x20\x01", "\x20\x11");
    const struct opened o = open_packet(AES_COMMAND, &ks);

    (void)state;
    assert_data(&o, "00a40004023f00");
    assert_int_equal(o.counter, 0);
    assert_response(AES_COMMAND, &ks, 0, "016132",
                    "027100002412b00011ebc6b497e2cad7aedf36ace0e3a29b38853f0fe9ccde81913be5702b73"
                    "abce1f");
}

static void aes_with_a_counter(void **state) {
    struct card_keyset ks = keys(GP_KEY_AES, "\x00\x01", "\x10\x11");
    struct opened o;

    (void)state;
    for (uint8_t i = 0; i < 16; i++)
        ks.key[1][i] = (uint8_t)(0x10 + i);
    o = open_packet(COUNTED, &ks);
    assert_data(&o, "00a40004022fe200b000000a");
    assert_int_equal(o.counter, 1);
    assert_response(COUNTED, &ks, 1, "02900098001032547698103254",
                    "027100002412b00010330e55e5d77c257daae497e07bff1b25b2440cfcbe2f399b387df07c24"
                    "3e236f");
}

static void triple_des_command_and_response(void **state) {
    const struct card_keyset ks = keys(GP_KEY_DES, "\x30\x01", "\x30\x11");
    const struct opened o = open_packet(DES_COMMAND, &ks);

    (void)state;
    assert_data(&o, "00a40004023f00");
    assert_response(DES_COMMAND, &ks, 0, "016132",
                    "027100001c12b000118bb989492c632529326a2f4681feb37c825bc9021c9f6d0b");
}

static void every_changed_bit_is_noticed(void **state) {
    const struct card_keyset ks = keys(GP_KEY_AES, "\x20\x01", "\x20\x11");
    uint8_t packet[64], plain[64];
    struct tb_buf whole = bytes(AES_COMMAND, packet, sizeof packet);

    (void)state;
    for (size_t bit = 0; bit < 8 * whole.n; bit++) {
        struct scp80_command c;
        struct tb_span data;
        uint64_t counter;

        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (scp80_parse(tb_buf_span(&whole), &c) == 0)
            assert_int_not_equal(scp80_open(&c, &ks, &ks, plain, &counter, &data), SCP80_OK);
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void every_truncation_is_refused(void **state) {
    const struct card_keyset ks = keys(GP_KEY_AES, "\x20\x01", "\x20\x11");
    uint8_t packet[64], plain[64];
    struct tb_buf whole = bytes(AES_COMMAND, packet, sizeof packet);
    struct scp80_command c;
    struct tb_span data;
    uint64_t counter;

    (void)state;
    for (size_t n = 0; n < whole.n; n++) {
        assert_int_equal(scp80_parse(tb_span(packet, n), &c), TB_EPARSE);
        if (n < 2)
            continue;
        packet[0] = (uint8_t)((n - 2) >> 8); /* a length that fits */
        packet[1] = (uint8_t)(n - 2);
        if (scp80_parse(tb_span(packet, n), &c) == 0)
            assert_int_not_equal(scp80_open(&c, &ks, &ks, plain, &counter, &data), SCP80_OK);
        packet[0] = 0x00;
        packet[1] = 0x28;
    }
}

static void keys_have_to_fit(void **state) {
    const struct card_keyset des = keys(GP_KEY_DES, "\x20\x01", "\x20\x11");
    struct opened o = open_packet(AES_COMMAND, &des);

    (void)state;
    assert_int_equal(o.status, SCP80_SECURITY);
    o = open_packet(AES_COMMAND, NULL);
    assert_int_equal(o.status, SCP80_SECURITY);
}

static void counters(void **state) {
    static const uint8_t none[2] = {0x06}, higher[2] = {0x16}, next[2] = {0x1E}, any[2] = {0x0E};
    const uint64_t max = 0xFFFFFFFFFF;

    (void)state;
    assert_int_equal(scp80_judge(none, 0, 7), SCP80_OK);
    assert_int_equal(scp80_judge(any, 3, 7), SCP80_OK);
    assert_int_equal(scp80_judge(higher, 7, 7), SCP80_COUNTER_LOW);
    assert_int_equal(scp80_judge(higher, 9, 7), SCP80_OK);
    assert_int_equal(scp80_judge(next, 9, 7), SCP80_COUNTER_HIGH);
    assert_int_equal(scp80_judge(next, 8, 7), SCP80_OK);
    assert_int_equal(scp80_judge(higher, max, max), SCP80_COUNTER_BLOCKED);
    assert_int_equal(scp80_judge(higher, max, max - 1), SCP80_OK);
}

static void levels(void **state) {
    (void)state;
    assert_true(scp80_level_reached(0x16, 0x16));
    assert_true(scp80_level_reached(0x1E, 0x16));
    assert_false(scp80_level_reached(0x12, 0x16)); /* not ciphered */
    assert_false(scp80_level_reached(0x06, 0x16)); /* no counter */
    assert_false(scp80_level_reached(0x15, 0x16)); /* a checksum that needs no key */
    assert_true(scp80_level_reached(0x00, 0x00));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_command_and_response),
        cmocka_unit_test(aes_with_a_counter),
        cmocka_unit_test(triple_des_command_and_response),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(keys_have_to_fit),
        cmocka_unit_test(counters),
        cmocka_unit_test(levels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

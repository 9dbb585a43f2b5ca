/* READ FILE against a card with a file: how many commands it takes, and what comes out. */
#include <stdbool.h>
#include <string.h>

#include "script.h"

enum { FILE_CAP = 70000 };

struct file_card {
    uint8_t data[FILE_CAP]; /* as READ FILE gives it */
    size_t size;
    size_t block;     /* bytes per answer at most */
    int told;         /* size in tag 20; -1: GET DATA is refused */
    uint16_t end_sw;  /* answer to an offset outside */
    uint16_t last_sw; /* with the last bytes: 9000 or 6282 */
    bool t0;          /* 61xx */
    uint8_t pending[256];
    size_t pending_n;
    unsigned reads, infos;
};

static int put_sw(uint8_t *rsp, size_t n, uint16_t sw) {
    rsp[n] = (uint8_t)(sw >> 8);
    rsp[n + 1] = (uint8_t)sw;
    return (int)n + 2;
}

static int read_file(struct file_card *f, size_t offset, uint8_t *rsp) {
    size_t n;

    f->reads++;
    if (offset >= f->size && (offset > 0 || f->size == 0))
        return put_sw(rsp, 0, offset == 0 ? 0x9000 : f->end_sw);
    n = f->size - offset < f->block ? f->size - offset : f->block;
    if (f->t0) {
        memcpy(f->pending, f->data + offset, n);
        f->pending_n = n;
        return put_sw(rsp, 0, (uint16_t)(0x6100 | (n & 0xFF)));
    }
    memcpy(rsp, f->data + offset, n);
    return put_sw(rsp, n, offset + n == f->size ? f->last_sw : 0x9000);
}

static int file_card(void *user, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    static const uint8_t info[] = {0xC3, 0x07, 0x83, 0x01, 0x02, 0x20, 0x02};
    struct file_card *f = user;

    assert_true(n >= 4 && cap >= 258);
    switch (cmd[1]) {
    case 0x70:
        rsp[0] = 1;
        return put_sw(rsp, cmd[2] == 0, 0x9000);
    case 0xA4:
        return put_sw(rsp, 0, 0x9000);
    case 0xB0:
        assert_memory_equal(cmd + 4, "\x03\x83\x01\x02", 4);
        return read_file(f, (size_t)cmd[2] << 8 | cmd[3], rsp);
    case 0xC0:
        if (!f->pending_n)
            return put_sw(rsp, 0, 0x6F00);
        memcpy(rsp, f->pending, f->pending_n);
        return put_sw(rsp, f->pending_n, 0x9000);
    case 0xCB:
        f->infos++;
        if (f->told < 0)
            return put_sw(rsp, 0, 0x6D00);
        memcpy(rsp, info, sizeof info);
        rsp[7] = (uint8_t)(f->told >> 8);
        rsp[8] = (uint8_t)f->told;
        return put_sw(rsp, 9, 0x9000);
    default:
        return put_sw(rsp, 0, 0x6D00);
    }
}

static struct file_card card;

static void fill(size_t size) {
    memset(&card, 0, sizeof card);
    for (size_t i = 0; i < size; i++)
        card.data[i] = (uint8_t)(i * 7 + 1) | 0x01;
    card.size = size;
    card.block = 255;
    card.told = -1;
    card.end_sw = 0x6A86;
    card.last_sw = 0x9000;
}

/* A SEQUENCE of that many bytes, header included, at offset. */
static void put_der(size_t offset, size_t size) {
    uint8_t *p = card.data + offset;

    p[0] = 0x30;
    if (size < 0x80 + 2U) {
        p[1] = (uint8_t)(size - 2);
    } else if (size < 0x100 + 3U) {
        p[1] = 0x81;
        p[2] = (uint8_t)(size - 3);
    } else {
        p[1] = 0x82;
        p[2] = (uint8_t)((size - 4) >> 8);
        p[3] = (uint8_t)(size - 4);
    }
}

static int read_all(uint8_t *buf, size_t cap, size_t *n) {
    struct iotsafe_ref file = iotsafe_id1(2);
    struct iotsafe_transport *t;
    struct iotsafe *c;
    int r;

    assert_int_equal(iotsafe_transport_mem(file_card, &card, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    r = iotsafe_read_file(c, &file, buf, cap, n);
    iotsafe_close(c);
    return r;
}

static uint8_t buf[FILE_CAP];

static void expect(size_t size) {
    size_t n = 0;

    assert_int_equal(read_all(buf, sizeof buf, &n), 0);
    assert_int_equal(n, size);
    assert_memory_equal(buf, card.data, n);
}

static void a_certificate_costs_its_blocks_and_nothing_else(void **state) {
    static const struct {
        size_t size;
        unsigned reads;
    } table[] = {{294, 2}, {100, 1}, {254, 1}, {509, 2}, {511, 3}, {766, 4}, {1200, 5}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        fill(table[i].size);
        put_der(0, table[i].size);
        expect(table[i].size);
        assert_int_equal(card.reads, table[i].reads);
        assert_int_equal(card.infos, 0);
    }
}

/* A block that is full where the object ends may be followed by another. */
static void a_full_last_block_is_followed_by_a_look(void **state) {
    (void)state;
    fill(510);
    put_der(0, 510);
    expect(510);
    assert_int_equal(card.reads, 3);
}

static void a_padded_container_is_read_no_further_than_needed(void **state) {
    static const int padding[] = {0x00, 0xFF};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t n = 0;

        fill(2048);
        put_der(0, 294);
        memset(card.data + 294, padding[i], 2048 - 294);
        assert_int_equal(read_all(buf, sizeof buf, &n), 0);
        assert_int_equal(n, 294);
        assert_int_equal(card.reads, 2);
        /* the caller's room is as large as the object */
        assert_int_equal(read_all(buf, 294, &n), 0);
        assert_int_equal(n, 294);
        assert_int_equal(read_all(buf, 293, &n), IOTSAFE_E_TOO_SMALL);
    }
}

static void a_chain_of_certificates_is_read_whole(void **state) {
    size_t n = 0;

    (void)state;
    fill(900);
    put_der(0, 400);
    put_der(400, 500);
    expect(900);
    fill(1000);
    put_der(0, 400);
    put_der(400, 500);
    memset(card.data + 900, 0, 100);
    assert_int_equal(read_all(buf, sizeof buf, &n), 0);
    assert_int_equal(n, 900);
}

static void small_blocks_of_any_size_add_up(void **state) {
    (void)state;
    for (size_t block = 1; block < 300; block += 13) {
        fill(301);
        put_der(0, 301);
        card.block = block < 256 ? block : 256;
        expect(301);
        fill(301);
        card.told = 301;
        card.block = block < 256 ? block : 256;
        expect(301);
    }
}

static void other_content_is_read_to_the_size_the_card_tells(void **state) {
    (void)state;
    fill(600);
    card.told = 600;
    expect(600);
    assert_int_equal(card.reads, 3);
    assert_int_equal(card.infos, 1);
    /* what lies behind is not the file's */
    fill(700);
    card.told = 600;
    {
        size_t n = 0;

        assert_int_equal(read_all(buf, 600, &n), 0);
        assert_int_equal(n, 600);
    }
}

static void wrong_and_missing_sizes_are_survived(void **state) {
    static const int told[] = {-1, 0, 1, 254, 0x5802, 0xFFFF};
    static const uint16_t ends[] = {0x6A86, 0x6981, 0x6B00, 0x6700, 0x9000, 0x6282};
    static const size_t sizes[] = {1, 10, 254, 255, 256, 600, 765};

    (void)state;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        for (size_t j = 0; j < sizeof ends / sizeof *ends; j++) {
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                if ((size_t)told[i] < sizes[k] && told[i] >= 254 && sizes[k] > 255)
                    continue; /* a plausible lie cannot be told from the truth */
                if (told[i] == 1 && sizes[k] == 1)
                    continue;
                fill(sizes[k]);
                card.told = told[i];
                card.end_sw = ends[j];
                card.last_sw = j % 2 ? 0x6282 : 0x9000;
                expect(sizes[k]);
            }
        }
    }
}

static void both_deliveries_give_the_same(void **state) {
    (void)state;
    fill(1200);
    put_der(0, 1200);
    card.t0 = true;
    expect(1200);
    assert_int_equal(card.reads, 5);
}

static void an_empty_file_is_empty(void **state) {
    (void)state;
    fill(0);
    expect(0);
}

static void the_largest_file_is_read_and_no_larger(void **state) {
    (void)state;
    fill(65535);
    expect(65535);
    fill(3);
    card.data[0] = 0x30;
    card.data[1] = 0x83; /* claims 16 MB */
    card.data[2] = 0xFF;
    expect(3);
}

static void a_file_larger_than_the_room_is_refused(void **state) {
    size_t n = 77;

    (void)state;
    fill(600);
    assert_int_equal(read_all(buf, 599, &n), IOTSAFE_E_TOO_SMALL);
    fill(600);
    card.told = 600;
    assert_int_equal(read_all(buf, 100, &n), IOTSAFE_E_TOO_SMALL);
    fill(600);
    put_der(0, 600);
    assert_int_equal(read_all(buf, 599, &n), IOTSAFE_E_TOO_SMALL);
    assert_int_equal(n, 77);
    assert_int_equal(card.reads, 3);
}

static void errors_of_the_first_block_are_errors(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 B0 00 00 03 830102", "6A82"},
                                 {"81 B0 00 00 03 830102", "6A86"},
                                 {"81 B0 00 00 03 830102", "6985"},
                                 {"81 B0 00 00 06 7304 63657274", "3001 AA 9000"},
                                 {0}};
    struct iotsafe_ref file = iotsafe_id1(2), label = iotsafe_label("cert");
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    size_t n = 77;

    (void)state;
    assert_int_equal(iotsafe_read_file(c, &file, buf, sizeof buf, &n), IOTSAFE_E_NOT_FOUND);
    assert_int_equal(iotsafe_read_file(c, &file, buf, sizeof buf, &n), IOTSAFE_E_CARD);
    assert_int_equal(iotsafe_read_file(c, &file, buf, sizeof buf, &n), IOTSAFE_E_CARD);
    assert_int_equal(n, 77);
    assert_int_equal(iotsafe_read_file(c, &label, buf, sizeof buf, &n), 0);
    assert_hex(buf, n, "3001AA");
    script_close(c, &script);
}

/* A module with 256 bytes of room for an answer: the last bytes, SW2 first, are missing. */
static size_t room;

static int cutting_card(void *user, const uint8_t *cmd, size_t n, uint8_t *rsp, size_t cap) {
    int r = file_card(user, cmd, n, rsp, cap);
    uint8_t le = cmd[n - 1];

    if (cmd[1] == 0xB0 && n == 9 && le) { /* Le was sent */
        card.block = le;
        r = file_card(user, cmd, n, rsp, cap);
        card.block = 255;
    }
    return (size_t)r > room ? (int)room : r;
}

static void answers_that_the_modem_cuts_off_are_asked_for_in_smaller_pieces(void **state) {
    struct iotsafe_ref file = iotsafe_id1(2);

    (void)state;
    for (room = 255; room <= 256; room++) {
        for (unsigned last = 0; last < 256; last++) { /* what then stands in place of SW1 SW2 */
            struct iotsafe_transport *t;
            struct iotsafe *c;
            size_t n;

            fill(700);
            put_der(0, 700);
            card.data[room - 2] = (uint8_t)last;
            card.data[room - 1] = 0x90;
            assert_int_equal(iotsafe_transport_mem(cutting_card, &card, &t), 0);
            assert_int_equal(iotsafe_open(t, NULL, &c), 0);
            if (iotsafe_read_file(c, &file, buf, sizeof buf, &n) < 0)
                fail_msg("room %zu, last %02X: SW %04X", room, last, iotsafe_last_sw(c));
            assert_int_equal(n, 700);
            assert_memory_equal(buf, card.data, n);
            iotsafe_close(c);
        }
    }
}

static void administration_in_between_begins_the_file_again(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 B0 00 00 03 830102", "3005 AA 9000"},
                                 {"81 B0 00 03 03 830102", "6984"},
                                 {"81 B0 00 00 03 830102", "3002 BBBB 9000"},
                                 {0}};
    struct iotsafe_ref file = iotsafe_id1(2);
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    size_t n;

    (void)state;
    assert_int_equal(iotsafe_read_file(c, &file, buf, sizeof buf, &n), 0);
    assert_hex(buf, n, "3002BBBB");
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_costs_its_blocks_and_nothing_else),
        cmocka_unit_test(a_full_last_block_is_followed_by_a_look),
        cmocka_unit_test(a_padded_container_is_read_no_further_than_needed),
        cmocka_unit_test(a_chain_of_certificates_is_read_whole),
        cmocka_unit_test(small_blocks_of_any_size_add_up),
        cmocka_unit_test(other_content_is_read_to_the_size_the_card_tells),
        cmocka_unit_test(wrong_and_missing_sizes_are_survived),
        cmocka_unit_test(both_deliveries_give_the_same),
        cmocka_unit_test(an_empty_file_is_empty),
        cmocka_unit_test(the_largest_file_is_read_and_no_larger),
        cmocka_unit_test(a_file_larger_than_the_room_is_refused),
        cmocka_unit_test(errors_of_the_first_block_are_errors),
        cmocka_unit_test(answers_that_the_modem_cuts_off_are_asked_for_in_smaller_pieces),
        cmocka_unit_test(administration_in_between_begins_the_file_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

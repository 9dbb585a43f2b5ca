/* The worked figures of the measurements the profiles stand on, computed again. */
#include "tb/latency.h"

#include "wire_test.h"

#define assert_near(value, want, within)                                                           \
    assert_in_range(value, (uint64_t)(want) - (within), (uint64_t)(want) + (within))

static void card_costs_are_the_profiles_table(void **state) {
    static const uint32_t ms[TB_CARD_PROFILES][TB_CARD_OPS] = {
        /* keygen sign verify ecdh load prf random apdu */
        [TB_CARD_OFF] = {0},
        [TB_CARD_SE_FAST] = {26, 33, 31, 22, 0, 8, 1, 2},
        [TB_CARD_UICC_MID] = {105, 79, 120, 106, 0, 20, 3, 5},
        [TB_CARD_SIM_SLOW] = {865, 110, 250, 135, 110, 40, 2, 10},
    };
    (void)state;

    for (unsigned p = 0; p < TB_CARD_PROFILES; p++)
        for (unsigned op = 0; op < TB_CARD_OPS; op++)
            assert_int_equal(tb_latency_card_us(p, op), ms[p][op] * 1000);
    assert_int_equal(tb_latency_card_us(TB_CARD_PROFILES, TB_CARD_SIGN), 0);
    assert_int_equal(tb_latency_card_us(TB_CARD_SE_FAST, TB_CARD_OPS), 0);
}

static void bit_rates_of_the_card_link(void **state) {
    static const struct {
        uint8_t ta1;
        uint32_t slow, fast; /* bit/s at 3.25 and 5 MHz */
    } rows[] = {{0x11, 8737, 13441},
                {0x94, 50781, 78125},
                {0x95, 101563, 156250},
                {0x96, 203125, 312500},
                {0x97, 406250, 625000}};
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(tb_latency_link_bps(rows[i].ta1, 3250000), rows[i].slow);
        assert_int_equal(tb_latency_link_bps(rows[i].ta1, 5000000), rows[i].fast);
    }
    /* The default rate is 9600 bit/s at 3.571 MHz. */
    assert_near(tb_latency_link_bps(TB_LINK_TA1_DEFAULT, 3571000), 9600, 1);
}

static void ta1_has_reserved_values(void **state) {
    unsigned f = 1, d = 2, hz = 3, n = 0;
    (void)state;

    assert_false(tb_latency_ta1(0x70, &f, &d, &hz));
    assert_false(tb_latency_ta1(0x90, &f, &d, &hz));
    assert_false(tb_latency_ta1(0x9A, &f, &d, &hz));
    assert_false(tb_latency_ta1(0xE1, &f, &d, &hz));
    assert_int_equal(f + d + hz, 6); /* untouched */
    assert_true(tb_latency_ta1(0xD9, &f, &d, &hz));
    assert_int_equal(f, 2048);
    assert_int_equal(d, 20);
    assert_int_equal(hz, 20000000);
    for (unsigned ta1 = 0; ta1 < 256; ta1++)
        n += tb_latency_ta1((uint8_t)ta1, &f, &d, &hz);
    assert_int_equal(n, 12 * 9);
    assert_int_equal(tb_latency_link_bps(0x70, 5000000), 0);
    assert_int_equal(tb_latency_link_us(0x70, 5000000, 1, 1), 0);
    assert_int_equal(tb_latency_link_us(0x95, 0, 1, 1), 0);
}

static void bytes_on_a_t0_line(void **state) {
    (void)state;

    assert_int_equal(tb_latency_link_bytes(37, 66), 119); /* a signature */
    assert_int_equal(tb_latency_link_bytes(70, 0), 78);   /* a public key */
    assert_int_equal(tb_latency_link_bytes(0, 32), 5 + 1 + 32 + 2);
    assert_int_equal(tb_latency_link_bytes(0, 0), 5 + 2);
}

static void time_of_a_signature_on_the_card_link(void **state) {
    static const uint8_t ta1[] = {0x11, 0x94, 0x95, 0x96, 0x97};
    static const uint32_t slow[] = {163500, 28000, 14000, 7000, 3500};
    static const uint32_t fast[] = {106000, 18000, 9100, 4600, 2300};
    (void)state;

    /* The table is rounded to its last digit; its 164 comes from a rounded time per byte. */
    for (size_t i = 0; i < sizeof ta1; i++) {
        uint32_t half = slow[i] >= 10000 ? 500 : 50;

        assert_near(tb_latency_link_us(ta1[i], 3250000, 37, 66), slow[i], half);
        half = fast[i] >= 10000 ? 500 : 50;
        assert_near(tb_latency_link_us(ta1[i], 5000000, 37, 66), fast[i], half);
    }
    /* Per byte: 1.374, 0.236, 0.118, 0.0591, 0.0295 ms at 3.25 MHz. 1000 bytes: 993 + 5 + 2. */
    assert_near(tb_latency_link_us(0x11, 3250000, 992, 0), 1374000, 500);
    assert_near(tb_latency_link_us(0x94, 3250000, 992, 0), 236300, 500);
    assert_near(tb_latency_link_us(0x97, 3250000, 992, 0), 29500, 50);
}

static void time_of_an_at_csim_exchange(void **state) {
    static const struct {
        enum tb_uart_profile uart;
        unsigned chars;
        uint32_t us, half;
    } rows[] = {{TB_UART_9K6, 153 + 158, 324000, 500},
                {TB_UART_9K6, 538 + 539, 1122000, 500},
                {TB_UART_115K, 153 + 158, 27000, 500},
                {TB_UART_115K, 538 + 539, 93000, 500}};
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_near(tb_latency_uart_chars_us(rows[i].uart, rows[i].chars), rows[i].us,
                    rows[i].half);
    assert_int_equal(tb_latency_uart_chars_us(TB_UART_USB, 1000), 0);
    assert_int_equal(tb_latency_uart_us(TB_UART_OFF, 1000, 9), 0);
    assert_int_equal(tb_latency_uart_us(TB_UART_USB, 1000, 9), 9 * 3000);
}

/* The measurements' own counts are rounded: each may be off by one a direction. */
static void characters_of_an_at_csim_exchange(void **state) {
    char text[1200];
    (void)state;

    assert_near(tb_latency_csim_chars(69, 68), 153 + 158, 2);
    assert_near(tb_latency_csim_chars(261, 258), 538 + 539, 2);
    assert_int_equal(tb_latency_csim_chars(5, 2),
                     snprintf(text, sizeof text,
                              "AT+CSIM=10,\"8184000008\"\r\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n"));
}

/* A signature through uart-115k, TA1 95 at 3.25 MHz, uicc-mid: 27 + 10 + 20 + 14 + 5 + 79 ms. */
static void a_signature_all_the_way_is_155_ms(void **state) {
    uint64_t uart = tb_latency_uart_us(TB_UART_115K, 153 + 158, 1);
    uint64_t link = tb_latency_link_us(TB_LINK_TA1, TB_LINK_HZ, 37, 66);
    uint64_t card = tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_APDU) +
                    tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_SIGN);
    (void)state;

    assert_near(uart, 27000 + 10000 + 20000, 500);
    assert_int_equal(card, 84000);
    assert_near(uart + link + card, 155000, 500);
}

/* Ten APDUs, one signature, one key pair, one agreement, two verifications. */
static uint64_t card_path_us(void) {
    uint64_t crypto = tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_SIGN) +
                      tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_KEYGEN) +
                      tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_ECDH) +
                      2 * tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_VERIFY);
    uint64_t transport = tb_latency_uart_us(TB_UART_115K, 10 * (153 + 158), 10) +
                         10 * tb_latency_link_us(TB_LINK_TA1, TB_LINK_HZ, 37, 66) +
                         10 * tb_latency_card_us(TB_CARD_UICC_MID, TB_CARD_APDU);

    assert_int_equal(crypto, 530000); /* not 430: the measurements' sum is short of 100 ms */
    assert_near(transport, 760000, 5000);
    return crypto + transport;
}

static void card_path_dominates_on_lte_m_and_radio_on_nb_iot(void **state) {
    uint64_t card = card_path_us();
    (void)state;

    for (unsigned p = TB_HANDSHAKE_TLS13; p <= TB_HANDSHAKE_DTLS12; p++) {
        unsigned trips = tb_latency_round_trips(p, false);
        uint64_t lte = tb_latency_radio_us(TB_RADIO_LTE_M, trips, 0, 0);
        uint64_t nb = tb_latency_radio_us(TB_RADIO_NB_IOT_GOOD, trips, 0, 0);

        assert_in_range(lte, 200000, 300000);
        assert_in_range(nb, 1600000, 2400000);
        assert_true(lte < card);
        assert_true(nb > card);
    }
}

static void round_trips_before_the_first_data(void **state) {
    (void)state;

    assert_int_equal(tb_latency_round_trips(TB_HANDSHAKE_TLS13, false), 2);
    assert_int_equal(tb_latency_round_trips(TB_HANDSHAKE_TLS12, false), 3);
    assert_int_equal(tb_latency_round_trips(TB_HANDSHAKE_DTLS12, false), 3);
    assert_int_equal(tb_latency_round_trips(TB_HANDSHAKE_TLS13, true), 2);
    assert_int_equal(tb_latency_round_trips(TB_HANDSHAKE_TLS12, true), 2);
    assert_int_equal(tb_latency_round_trips(TB_HANDSHAKE_DTLS12, true), 2);
}

static void radio_bytes_cost_by_direction(void **state) {
    (void)state;

    assert_int_equal(tb_latency_radio_us(TB_RADIO_LTE_M, 0, 375, 0), 8000);
    assert_int_equal(tb_latency_radio_us(TB_RADIO_LTE_M, 0, 0, 300), 8000);
    assert_int_equal(tb_latency_radio_us(TB_RADIO_NB_IOT_DEEP, 1, 125, 250),
                     5000000 + 1000000 + 1000000);
    assert_int_equal(tb_latency_radio_us(TB_RADIO_OFF, 9, 1000, 1000), 0);
}

static void every_profile_has_its_name(void **state) {
    (void)state;

    assert_int_equal(tb_latency_find(tb_latency_card_names, "off"), TB_CARD_OFF);
    assert_int_equal(tb_latency_find(tb_latency_card_names, "sim-slow"), TB_CARD_SIM_SLOW);
    assert_int_equal(tb_latency_find(tb_latency_uart_names, "uart-9k6"), TB_UART_9K6);
    assert_int_equal(tb_latency_find(tb_latency_radio_names, "nb-iot-deep"), TB_RADIO_NB_IOT_DEEP);
    assert_int_equal(tb_latency_find(tb_latency_radio_names, "5g"), -1);
    assert_null(tb_latency_card_names[TB_CARD_PROFILES]);
    assert_null(tb_latency_uart_names[TB_UART_PROFILES]);
    assert_null(tb_latency_radio_names[TB_RADIO_PROFILES]);
    assert_string_equal(tb_latency_card_op_str(TB_CARD_LOAD_PEER), "load_peer");
    assert_string_equal(tb_latency_card_op_str(TB_CARD_OPS), "?");
}

static void jitter_is_seeded_bounded_and_centred(void **state) {
    uint64_t a = 7, b = 7, c = 8, sum = 0;
    bool differs = false;
    (void)state;

    for (int i = 0; i < 10000; i++) {
        uint32_t us = tb_latency_jitter_us(&a, 10000, 5000);

        assert_in_range(us, 5000, 15000);
        assert_int_equal(us, tb_latency_jitter_us(&b, 10000, 5000));
        differs |= us != tb_latency_jitter_us(&c, 10000, 5000);
        sum += us;
    }
    assert_true(differs);
    assert_near(sum / 10000, 10000, 150);
    assert_int_equal(tb_latency_jitter_us(&a, 42, 0), 42);
    assert_in_range(tb_latency_jitter_us(&a, 1, 1000), 0, 1001);
}

static void chance_follows_its_rate(void **state) {
    uint64_t s = 3;
    unsigned hits = 0;
    (void)state;

    for (int i = 0; i < 100000; i++)
        hits += tb_latency_chance(&s, 50000);
    assert_near(hits, 5000, 300);
    assert_false(tb_latency_chance(&s, 0));
    assert_true(tb_latency_chance(&s, 1000000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(card_costs_are_the_profiles_table),
        cmocka_unit_test(bit_rates_of_the_card_link),
        cmocka_unit_test(ta1_has_reserved_values),
        cmocka_unit_test(bytes_on_a_t0_line),
        cmocka_unit_test(time_of_a_signature_on_the_card_link),
        cmocka_unit_test(time_of_an_at_csim_exchange),
        cmocka_unit_test(characters_of_an_at_csim_exchange),
        cmocka_unit_test(a_signature_all_the_way_is_155_ms),
        cmocka_unit_test(card_path_dominates_on_lte_m_and_radio_on_nb_iot),
        cmocka_unit_test(round_trips_before_the_first_data),
        cmocka_unit_test(radio_bytes_cost_by_direction),
        cmocka_unit_test(every_profile_has_its_name),
        cmocka_unit_test(jitter_is_seeded_bounded_and_centred),
        cmocka_unit_test(chance_follows_its_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

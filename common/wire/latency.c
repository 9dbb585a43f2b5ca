#include "tb/latency.h"

#include <string.h>

/* ---- Card ---- */

static const uint32_t card_us[TB_CARD_PROFILES][TB_CARD_OPS] = {
    [TB_CARD_SE_FAST] = {[TB_CARD_KEYGEN] = 26000,
                         [TB_CARD_SIGN] = 33000,
                         [TB_CARD_VERIFY] = 31000,
                         [TB_CARD_ECDH] = 22000,
                         [TB_CARD_PRF] = 8000,
                         [TB_CARD_RANDOM] = 1000,
                         [TB_CARD_APDU] = 2000},
    [TB_CARD_UICC_MID] = {[TB_CARD_KEYGEN] = 105000,
                          [TB_CARD_SIGN] = 79000,
                          [TB_CARD_VERIFY] = 120000,
                          [TB_CARD_ECDH] = 106000,
                          [TB_CARD_PRF] = 20000,
                          [TB_CARD_RANDOM] = 3000,
                          [TB_CARD_APDU] = 5000},
    [TB_CARD_SIM_SLOW] = {[TB_CARD_KEYGEN] = 865000,
                          [TB_CARD_SIGN] = 110000,
                          [TB_CARD_VERIFY] = 250000,
                          [TB_CARD_ECDH] = 135000,
                          [TB_CARD_LOAD_PEER] = 110000,
                          [TB_CARD_PRF] = 40000,
                          [TB_CARD_RANDOM] = 2000,
                          [TB_CARD_APDU] = 10000},
};

const char *const tb_latency_card_names[] = {"off", "se-fast", "uicc-mid", "sim-slow", NULL};

uint32_t tb_latency_card_us(enum tb_card_profile profile, enum tb_card_op op) {
    if ((unsigned)profile >= TB_CARD_PROFILES || (unsigned)op >= TB_CARD_OPS)
        return 0;
    return card_us[profile][op];
}

const char *tb_latency_card_op_str(enum tb_card_op op) {
    static const char *const names[TB_CARD_OPS] = {"keygen",    "sign", "verify", "ecdh",
                                                   "load_peer", "prf",  "random", "apdus"};

    return (unsigned)op < TB_CARD_OPS ? names[op] : "?";
}

/* ---- Card link ---- */

static uint64_t rounded(uint64_t n, uint64_t d) {
    return (n + d / 2) / d;
}

bool tb_latency_ta1(uint8_t ta1, unsigned *ret_f, unsigned *ret_d, unsigned *ret_max_hz) {
    static const struct {
        uint16_t f;
        uint16_t khz;
    } high[16] = {
        [0x0] = {372, 4000},   [0x1] = {372, 5000},   [0x2] = {558, 6000},   [0x3] = {744, 8000},
        [0x4] = {1116, 12000}, [0x5] = {1488, 16000}, [0x6] = {1860, 20000}, [0x9] = {512, 5000},
        [0xA] = {768, 7500},   [0xB] = {1024, 10000}, [0xC] = {1536, 15000}, [0xD] = {2048, 20000},
    };
    static const uint8_t low[16] = {0, 1, 2, 4, 8, 16, 32, 64, 12, 20};
    unsigned f = high[ta1 >> 4].f, d = low[ta1 & 15];

    if (!f || !d)
        return false;
    *ret_f = f;
    *ret_d = d;
    *ret_max_hz = high[ta1 >> 4].khz * 1000u;
    return true;
}

uint32_t tb_latency_link_bps(uint8_t ta1, uint32_t hz) {
    unsigned f, d, max;

    if (!tb_latency_ta1(ta1, &f, &d, &max))
        return 0;
    return (uint32_t)rounded((uint64_t)d * hz, f);
}

uint32_t tb_latency_link_bytes(uint32_t lc, uint32_t le) {
    enum { HEADER = 5, PROCEDURE = 1, STATUS = 2 };
    uint32_t n = HEADER + STATUS;

    if (lc)
        n += PROCEDURE + lc;
    if (lc && le)
        n += HEADER + STATUS; /* 61xx, GET RESPONSE */
    if (le)
        n += PROCEDURE + le;
    return n;
}

uint64_t tb_latency_link_us(uint8_t ta1, uint32_t hz, uint32_t lc, uint32_t le) {
    return tb_latency_link_bytes_us(ta1, hz, tb_latency_link_bytes(lc, le));
}

uint64_t tb_latency_link_bytes_us(uint8_t ta1, uint32_t hz, uint64_t bytes) {
    enum { ETU_PER_CHARACTER = 12 };
    unsigned f, d, max;

    if (hz == 0 || !tb_latency_ta1(ta1, &f, &d, &max))
        return 0;
    return rounded(bytes * 1000000 * ETU_PER_CHARACTER * f, (uint64_t)d * hz);
}

/* ---- Modem and UART ---- */

static const struct tb_uart uarts[TB_UART_PROFILES] = {
    [TB_UART_USB] = {.latency_us = 3000, .jitter_us = 1000},
    [TB_UART_115K] = {.baud = 115200, .latency_us = 10000, .jitter_us = 5000, .pause_us = 20000},
    [TB_UART_9K6] = {.baud = 9600, .latency_us = 15000, .jitter_us = 5000, .pause_us = 100000},
};

const char *const tb_latency_uart_names[] = {"off", "usb", "uart-115k", "uart-9k6", NULL};

const struct tb_uart *tb_latency_uart(enum tb_uart_profile profile) {
    return &uarts[(unsigned)profile < TB_UART_PROFILES ? profile : TB_UART_OFF];
}

uint64_t tb_latency_uart_chars_us(enum tb_uart_profile profile, uint64_t chars) {
    enum { BITS = 10 };
    const struct tb_uart *u = tb_latency_uart(profile);

    return u->baud ? rounded(chars * BITS * 1000000, u->baud) : 0;
}

uint64_t tb_latency_uart_us(enum tb_uart_profile profile, uint64_t chars, uint64_t commands) {
    const struct tb_uart *u = tb_latency_uart(profile);

    return tb_latency_uart_chars_us(profile, chars) +
           commands * ((uint64_t)u->latency_us + u->pause_us);
}

static uint32_t digits(uint32_t n) {
    uint32_t d = 1;

    for (; n > 9; n /= 10)
        d++;
    return d;
}

uint32_t tb_latency_csim_chars(uint32_t n, uint32_t m) {
    enum { COMMAND = sizeof "AT+CSIM=,\"\"\r" - 1, ANSWER = sizeof "\r\n+CSIM: ,\"\"\r\n" - 1 };
    enum { RESULT = sizeof "\r\nOK\r\n" - 1 };

    return COMMAND + digits(2 * n) + 2 * n + ANSWER + digits(2 * m) + 2 * m + RESULT;
}

/* ---- Radio ---- */

static const struct tb_radio radios[TB_RADIO_PROFILES] = {
    [TB_RADIO_LTE_M] = {100000, 50000, 300000, 375000, 1000},
    [TB_RADIO_NB_IOT_GOOD] = {800000, 300000, 26000, 62000, 10000},
    [TB_RADIO_NB_IOT_DEEP] = {5000000, 2500000, 2000, 1000, 50000},
};

const char *const tb_latency_radio_names[] = {"off", "lte-m", "nb-iot-good", "nb-iot-deep", NULL};

const struct tb_radio *tb_latency_radio(enum tb_radio_profile profile) {
    return &radios[(unsigned)profile < TB_RADIO_PROFILES ? profile : TB_RADIO_OFF];
}

uint64_t tb_latency_radio_us(enum tb_radio_profile profile, uint64_t round_trips, uint64_t bytes_up,
                             uint64_t bytes_down) {
    const struct tb_radio *r = tb_latency_radio(profile);
    uint64_t us = round_trips * r->rtt_us;

    if (r->up_bps)
        us += rounded(bytes_up * 8 * 1000000, r->up_bps);
    if (r->down_bps)
        us += rounded(bytes_down * 8 * 1000000, r->down_bps);
    return us;
}

unsigned tb_latency_round_trips(enum tb_handshake protocol, bool resumed) {
    switch (protocol) {
    case TB_HANDSHAKE_TLS13:
        return 1 + 1;
    case TB_HANDSHAKE_TLS12:
        return resumed ? 1 + 1 : 1 + 2;
    case TB_HANDSHAKE_DTLS12:
        return resumed ? 2 : 3;
    }
    return 0;
}

/* ---- Names ---- */

int tb_latency_find(const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

/* ---- Seeded jitter ---- */

uint64_t tb_latency_next(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint32_t tb_latency_jitter_us(uint64_t *state, uint32_t median_us, uint32_t spread_us) {
    uint64_t width = 2 * (uint64_t)spread_us + 1, at = median_us + tb_latency_next(state) % width;

    at = at > spread_us ? at - spread_us : 0;
    return at > UINT32_MAX ? UINT32_MAX : (uint32_t)at;
}

bool tb_latency_chance(uint64_t *state, uint32_t ppm) {
    return tb_latency_next(state) % 1000000 < ppm;
}

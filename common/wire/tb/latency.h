#pragma once
/* What a real card, modem and radio cost: the profiles by name, and the arithmetic on them. Tables
 * and pure functions only; who waits, and for what, is the programs' matter. Times are
 * microseconds, and every figure that is a guess is called one in docs/latency.md. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Card: time inside the card per operation ---- */

enum tb_card_profile {
    TB_CARD_OFF,
    TB_CARD_SE_FAST,  /* a discrete secure element of today */
    TB_CARD_UICC_MID, /* a UICC of the middle */
    TB_CARD_SIM_SLOW, /* a SIM in the field */
    TB_CARD_PROFILES,
};

enum tb_card_op { /* P-256 */
                  TB_CARD_KEYGEN,
                  TB_CARD_SIGN,
                  TB_CARD_VERIFY,
                  TB_CARD_ECDH,
                  TB_CARD_LOAD_PEER, /* the peer's public key of an ECDH becomes a key of the card
                                      */
                  TB_CARD_PRF,       /* one TLS 1.2 PRF of 48 bytes, or one HKDF command */
                  TB_CARD_RANDOM,    /* one command, 32 bytes */
                  TB_CARD_APDU,      /* fixed cost of every command */
                  TB_CARD_OPS,
};

/* Microseconds of one operation; 0 for TB_CARD_OFF and for numbers outside the enumerations. */
uint32_t tb_latency_card_us(enum tb_card_profile profile, enum tb_card_op op);
/* "keygen", "load_peer", … "apdus", as control verbs call them; "?" outside. */
const char *tb_latency_card_op_str(enum tb_card_op op);

/* ---- Card link: ISO/IEC 7816-3 with protocol T=0 ---- */

enum {
    TB_LINK_TA1 = 0x95,   /* what UICCs usually offer (TS 102 221 annex D) */
    TB_LINK_HZ = 3250000, /* usual card clock of a modem */
    TB_LINK_TA1_DEFAULT = 0x11,
};

/* F, D and the greatest clock of a TA1 (ISO/IEC 7816-3 tables 7 and 8); false when either half is
 * reserved, the outputs then untouched. */
bool tb_latency_ta1(uint8_t ta1, unsigned *ret_f, unsigned *ret_d, unsigned *ret_max_hz);
/* Bits per second, D * clock / F, rounded; 0 for a reserved TA1. */
uint32_t tb_latency_link_bps(uint8_t ta1, uint32_t hz);
/* Bytes that T=0 carries for a command with lc bytes of data and le bytes of answer: header,
 * procedure byte, data, status; when there are both, 61xx and GET RESPONSE as well. */
uint32_t tb_latency_link_bytes(uint32_t lc, uint32_t le);
/* Their time at 12 etu each; 0 for a reserved TA1 or a clock of 0. */
uint64_t tb_latency_link_us(uint8_t ta1, uint32_t hz, uint32_t lc, uint32_t le);
uint64_t tb_latency_link_bytes_us(uint8_t ta1, uint32_t hz, uint64_t bytes);

/* ---- Modem and UART: AT commands ---- */

enum tb_uart_profile {
    TB_UART_OFF,
    TB_UART_USB,
    TB_UART_115K,
    TB_UART_9K6,
    TB_UART_PROFILES,
};

struct tb_uart {
    uint32_t baud;       /* 8N1, 10 bit times a character; 0: unlimited */
    uint32_t latency_us; /* the modem's own time per command, median */
    uint32_t jitter_us;  /* to either side */
    uint32_t pause_us;   /* that the host leaves before the next command */
};

/* Never NULL; outside the enumeration the profile "off". Static. */
const struct tb_uart *tb_latency_uart(enum tb_uart_profile profile);
/* chars at the line's rate, both directions together, and per command the median latency and the
 * host's pause. */
uint64_t tb_latency_uart_us(enum tb_uart_profile profile, uint64_t chars, uint64_t commands);
uint64_t tb_latency_uart_chars_us(enum tb_uart_profile profile, uint64_t chars);
/* Characters of one AT+CSIM exchange, both directions: command APDU of n bytes, answer of m bytes
 * with status word (3GPP TS 27.007 8.17; verbose answers, no echo). */
uint32_t tb_latency_csim_chars(uint32_t n, uint32_t m);

/* ---- Radio ---- */

enum tb_radio_profile {
    TB_RADIO_OFF,
    TB_RADIO_LTE_M,
    TB_RADIO_NB_IOT_GOOD,
    TB_RADIO_NB_IOT_DEEP,
    TB_RADIO_PROFILES,
};

struct tb_radio {
    uint32_t rtt_us;           /* median */
    uint32_t spread_us;        /* to either side */
    uint32_t down_bps, up_bps; /* 0: unlimited */
    uint32_t loss_ppm;         /* of packets, each direction for itself */
};

/* Never NULL; outside the enumeration the profile "off". Static. */
const struct tb_radio *tb_latency_radio(enum tb_radio_profile profile);
/* Median round trips, then the bytes of either direction at its rate; nothing lost. */
uint64_t tb_latency_radio_us(enum tb_radio_profile profile, uint64_t round_trips, uint64_t bytes_up,
                             uint64_t bytes_down);

/* Round trips, that of TCP included, before the client may send application data (RFC 8446, 5246,
 * 6347 with cookie exchange); resumed: RFC 5246 7.3 abbreviated, no change in TLS 1.3. */
enum tb_handshake { TB_HANDSHAKE_TLS13, TB_HANDSHAKE_TLS12, TB_HANDSHAKE_DTLS12 };
unsigned tb_latency_round_trips(enum tb_handshake protocol, bool resumed);

/* ---- Names ---- */

/* "off", "se-fast", … in the order of the enumerations, NULL-terminated. */
extern const char *const tb_latency_card_names[TB_CARD_PROFILES + 1];
extern const char *const tb_latency_uart_names[TB_UART_PROFILES + 1];
extern const char *const tb_latency_radio_names[TB_RADIO_PROFILES + 1];
/* Index of name in such a list, or -1. */
int tb_latency_find(const char *const *names, const char *name);

/* ---- Seeded jitter ---- */

/* Next of a sequence that *state alone determines (splitmix64; any start value is good). */
uint64_t tb_latency_next(uint64_t *state);
/* Evenly spread over [median - spread, median + spread], not below 0. */
uint32_t tb_latency_jitter_us(uint64_t *state, uint32_t median_us, uint32_t spread_us);
/* True in ppm of a million cases. */
bool tb_latency_chance(uint64_t *state, uint32_t ppm);

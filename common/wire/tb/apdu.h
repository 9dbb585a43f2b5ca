#pragma once
/* Command and response APDUs: ISO/IEC 7816-3 cases 1-4, short and extended (ISO/IEC 7816-4 5.2),
 * class byte and logical channels (7816-4 5.4, ETSI TS 102 221 10.1.1). */
#include "tb/error.h"
#include "tb/span.h"
#include "tb/sw.h"

enum {
    TB_APDU_MAX_CMD = 65535, /* a vpcd frame carries no more */
    TB_APDU_MAX_RSP = 65535,
    TB_APDU_MAX_SHORT_CMD = 261, /* 5 + 255 + 1 */
    TB_APDU_MAX_SHORT_RSP = 258, /* 256 + SW1 SW2 */
    TB_CHANNELS = 20,            /* 0 basic, 1-3, 4-19 */
};

enum tb_apdu_flags {
    /* After the Lc data accept 0, 1 or 2 trailing bytes and read them as a big-endian Le, where 0
     * and what a response in that encoding cannot carry mean the maximum: a deployed PC/SC client
     * appends one stray byte. An empty Lc (00) with one byte after it is accepted too. Without the
     * flag all of this is TB_EPARSE. */
    TB_APDU_TRAILING = 1,
};

struct tb_apdu {
    uint8_t cla, ins, p1, p2;
    struct tb_span data; /* command data, borrowed from the input; n = Lc */
    uint32_t ne;         /* expected response bytes, 1..256, extended 1..65536; 0: no Le was sent */
    bool le_present;     /* a Le field was sent (ne > 0), possibly as case 2 P3 */
    bool extended;       /* extended length encoding was used */
};

/* Parses a whole command APDU. A 5-byte command is read as case 2 (P3 = Le), which over T=0 may
 * also be a case 1 command with P3 = 00: callers that serve such clients treat ne == 256 without
 * wanting data as case 1. The extended case 2 is CLA INS P1 P2 00 Le1 Le2. TB_EPARSE when shorter
 * than 4 bytes or lengths do not add up; *ret untouched. */
int tb_apdu_parse(struct tb_span raw, unsigned flags, struct tb_apdu *ret) TB_CHECKED;

/* Appends the encoding of cmd: the shortest case that carries data and ne (le_present is not looked
 * at); extended encoding is used when cmd->extended is set or a length needs it (Lc > 255 or
 * ne > 256). Sets overflow when Lc > 65535 or ne > 65536. */
void tb_put_apdu(struct tb_buf *out, const struct tb_apdu *cmd);

/* Splits a response APDU into data and status word. TB_EPARSE when shorter than 2 bytes. */
int tb_rapdu_parse(struct tb_span raw, struct tb_span *ret_data, uint16_t *ret_sw) TB_CHECKED;

/* Class byte, ISO/IEC 7816-4 5.4.1. FF is invalid; 0X/1X, 2X/3X (rfu), 4X-7X further interindustry,
 * 8X/9X/AX/BX, CX-FX proprietary. */
struct tb_cla {
    uint8_t channel;  /* 0..19 */
    bool proprietary; /* b8 set */
    bool chaining;    /* b5: more commands of this chain follow */
    bool secure;      /* secure messaging indicated */
};

/* False for a class that names no channel: 2X, 3X, AX, BX, FF (A0 legacy included). */
bool tb_cla_parse(uint8_t cla, struct tb_cla *ret);

/* The class byte of command cla sent on channel ch (0..19): interindustry or proprietary, chaining
 * and secure messaging are kept, as TS 102 221 10.1.1 codes them. A class without a channel (see
 * above) comes back as it is; so would FF, which is what the one combination without a code gives:
 * proprietary, chained and secure on channel 19. */
uint8_t tb_cla_on_channel(uint8_t cla, unsigned ch);

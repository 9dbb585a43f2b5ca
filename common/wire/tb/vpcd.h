#pragma once
/* Frames of the vsmartcard protocol: two bytes big-endian length, then that many bytes. Length 1 is
 * a control frame, anything longer an APDU. The reader listens, the card connects; only GET ATR and
 * APDUs are answered. */
#include "tb/error.h"
#include "tb/span.h"

enum { TB_VPCD_HEADER = 2, TB_VPCD_MAX = 65535, TB_VPCD_PORT = 35963 };

enum tb_vpcd_ctrl {
    TB_VPCD_POWER_OFF = 0x00,
    TB_VPCD_POWER_ON = 0x01,
    TB_VPCD_RESET = 0x02,
    TB_VPCD_GET_ATR = 0x04,
};

/* Takes one whole frame off the front of *in: 1 and *ret_body, 0 when more bytes are needed (*in
 * untouched). Every length is legal, 0 included: what it means is the caller's matter. */
int tb_vpcd_next(struct tb_span *in, struct tb_span *ret_body) TB_CHECKED;

/* Appends header and body; sets overflow for bodies above TB_VPCD_MAX. */
void tb_put_vpcd(struct tb_buf *out, struct tb_span body);

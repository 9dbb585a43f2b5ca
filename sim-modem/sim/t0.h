#pragma once
/* The T=0 face of a card that answers directly (vpcd is T=1 like): quirk t0=raw and trunc. Pure. */
#include <stdbool.h>
#include <stdint.h>

#include "tb/apdu.h"
#include "tb/safe.h"
#include "tb/span.h"

/* What a T=0 module would still hold for one logical channel. */
enum t0_kind { T0_NOTHING, T0_RESPONSE, T0_REPEAT };
struct t0_hold {
    enum t0_kind kind;
    uint8_t header[4]; /* T0_REPEAT: the command that got 6Cxx */
    uint8_t data[256];
    uint16_t n, at, sw;
};

/* Looks at a command before it goes to the card. True: the held data answers it, appended to out
 * with a status word. False: send it; whatever was held is forgotten. */
bool t0_before(struct t0_hold *h, struct tb_span cmd, struct tb_buf *out);

/* Turns a direct answer into procedure bytes: 61xx when the command needs a GET RESPONSE over T=0,
 * 6Cxx when its Le is wrong; appends to out what the TE sees. Answers that need neither are
 * appended as they are. */
void t0_after(struct t0_hold *h, struct tb_span cmd, struct tb_span rsp, struct tb_buf *out);

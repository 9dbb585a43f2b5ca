#include "tb/vpcd.h"

int tb_vpcd_next(struct tb_span *in, struct tb_span *ret_body) {
    struct tb_span rest = *in;
    uint16_t n;

    if (!tb_take_be16(&rest, &n) || !tb_take(&rest, n, ret_body))
        return 0;
    *in = rest;
    return 1;
}

void tb_put_vpcd(struct tb_buf *out, struct tb_span body) {
    uint8_t *at;

    if (body.n > TB_VPCD_MAX) {
        out->overflow = true;
        return;
    }
    at = tb_put_room(out, TB_VPCD_HEADER + body.n);
    if (!at)
        return;
    at[0] = (uint8_t)(body.n >> 8);
    at[1] = (uint8_t)body.n;
    if (body.n > 0)
        memcpy(at + TB_VPCD_HEADER, body.p, body.n);
}

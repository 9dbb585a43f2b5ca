#include "t0.h"

enum { T0_MAX = 256 };

static void put_part(struct t0_hold *h, size_t want, struct tb_buf *out) {
    size_t left = (size_t)(h->n - h->at), n = want < left ? want : left;

    tb_put(out, tb_span(h->data + h->at, n));
    h->at = (uint16_t)(h->at + n);
    left -= n;
    if (left) {
        tb_put_be16(out, (uint16_t)(0x6100 | (left & 0xFF)));
        return;
    }
    tb_put_be16(out, h->sw);
    h->kind = T0_NOTHING;
}

bool t0_before(struct t0_hold *h, struct tb_span cmd, struct tb_buf *out) {
    struct tb_apdu a;

    if (h->kind == T0_NOTHING)
        return false;
    if (tb_apdu_parse(cmd, TB_APDU_TRAILING, &a) == 0 && a.data.n == 0 && !a.extended) {
        size_t want = a.ne ? a.ne : T0_MAX;

        if (h->kind == T0_RESPONSE && a.ins == TB_INS_GET_RESPONSE) {
            put_part(h, want, out);
            return true;
        }
        if (h->kind == T0_REPEAT && want == h->n && memcmp(cmd.p, h->header, 4) == 0) {
            put_part(h, want, out);
            return true;
        }
    }
    h->kind = T0_NOTHING;
    return false;
}

static void hold(struct t0_hold *h, enum t0_kind kind, struct tb_span cmd, struct tb_span data,
                 uint16_t sw) {
    h->kind = kind;
    memcpy(h->header, cmd.p, 4);
    memcpy(h->data, data.p, data.n);
    h->n = (uint16_t)data.n;
    h->at = 0;
    h->sw = sw;
}

/* The number of a new channel comes at once, whether Le is 01 or 00: clients that send 00 met no
 * SIM that minds. */
static bool opens_channel(const struct tb_apdu *a) {
    return a->ins == TB_INS_MANAGE_CHANNEL && a->ne == T0_MAX;
}

/* Is that an answer which T=0 could bring, in a way that it does not yet have? */
static bool is_direct(const struct tb_apdu *a, struct tb_span data, uint16_t sw) {
    return data.n > 0 && data.n <= T0_MAX && !a->extended && !tb_sw_more(sw) &&
           a->ins != TB_INS_GET_RESPONSE;
}

void t0_after(struct t0_hold *h, struct tb_span cmd, struct tb_span rsp, struct tb_buf *out) {
    struct tb_span data;
    struct tb_apdu a;
    uint16_t sw;

    h->kind = T0_NOTHING;
    if (tb_rapdu_parse(rsp, &data, &sw) == 0 && tb_apdu_parse(cmd, TB_APDU_TRAILING, &a) == 0 &&
        is_direct(&a, data, sw)) {
        /* Case 4 with or without its Le, or data for a case 1 command: to be fetched. */
        if (a.data.n > 0 || !a.le_present) {
            hold(h, T0_RESPONSE, cmd, data, sw);
            tb_put_be16(out, (uint16_t)(0x6100 | (data.n & 0xFF)));
            return;
        }
        /* Case 2 with a wrong Le: over T=0 nothing has happened yet. */
        if (a.ne != data.n && sw == TB_SW_OK && !opens_channel(&a)) {
            hold(h, T0_REPEAT, cmd, data, sw);
            tb_put_be16(out, (uint16_t)(0x6C00 | (data.n & 0xFF)));
            return;
        }
    }
    tb_put(out, rsp);
}

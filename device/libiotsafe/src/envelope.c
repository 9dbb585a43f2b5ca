/* ENVELOPE: a short message for the card, which is how remote administration reaches it. */
#include "call.h"

enum {
    TPDU_MAX = 240, /* of a short command APDU, what the tags leave */
    TAG_SMS_PP = 0xD1,
    TAG_DEVICES = 0x82,
    TAG_TPDU = 0x8B,
    NETWORK = 0x83,
    CARD = 0x81,
    INS_ENVELOPE = 0xC2,
};

/* spec: TS31111 7.1.1.2 device identities and the TPDU; the service centre's address is optional */
static int build(struct call *k, struct tb_buf *out) {
    const uint8_t devices[] = {NETWORK, CARD};
    size_t all;

    tb_put(out, TB_BYTES(0x80, INS_ENVELOPE, 0, 0, 0));
    all = tb_tlv_open(out, TAG_SMS_PP);
    tb_put_tlv(out, TAG_DEVICES, tb_span(devices, sizeof devices));
    tb_put_tlv(out, TAG_TPDU, k->in);
    tb_tlv_close(out, all);
    command_end(k, out, true);
    return 0;
}

static int answer(struct call *k, uint16_t sw, struct tb_span data) {
    if (data.n > k->out_cap)
        return IOTSAFE_E_TOO_SMALL;
    if (data.n)
        memcpy(k->out, data.p, data.n);
    *k->ret_len = data.n;
    memcpy(k->ret, &sw, sizeof sw);
    return 0;
}

static const struct operation op_download = {
    .flags = OP_PLATFORM | OP_ONCE | OP_OWN_ERRORS, .build = build, .answer = answer};

int iotsafe_sms_download_start(struct iotsafe_call *call, struct iotsafe *c, const uint8_t *tpdu,
                               size_t tpdu_len, uint8_t *buf, size_t cap, size_t *ret_len,
                               uint16_t *ret_sw) {
    struct call *k;
    int r = call_begin(call, c, &op_download, &k);

    if (r < 0)
        return r;
    if (!tpdu || tpdu_len == 0 || tpdu_len > TPDU_MAX || (cap && !buf) || !ret_len || !ret_sw)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->in = tb_span(tpdu, tpdu_len);
    k->out = buf;
    k->out_cap = cap;
    k->ret_len = ret_len;
    k->ret = ret_sw;
    return 0;
}

int iotsafe_sms_download(struct iotsafe *c, const uint8_t *tpdu, size_t tpdu_len, uint8_t *buf,
                         size_t cap, size_t *ret_len, uint16_t *ret_sw) {
    struct iotsafe_call call;

    return call_run(
        &call, iotsafe_sms_download_start(&call, c, tpdu, tpdu_len, buf, cap, ret_len, ret_sw));
}

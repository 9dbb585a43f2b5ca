/* The reader side of the vsmartcard protocol: dials a card that listens, or is called by a card. */
#include <stdlib.h>

#include "link.h"
#include "tb/vpcd.h"
#include "transports.h"

enum { FRAME_MAX = 4096, ATR_MAX = 33 };

struct vpcd {
    struct iotsafe_transport base;
    struct link link;
    bool used; /* a command was sent since open */
    uint8_t frame[TB_VPCD_HEADER + FRAME_MAX];
};

static struct vpcd *vpcd_of(struct iotsafe_transport *t) {
    return (struct vpcd *)(void *)t;
}

static int send_frame(struct vpcd *v, struct tb_span body) {
    struct tb_buf out = TB_BUF(v->frame);

    tb_put_vpcd(&out, body);
    if (!tb_buf_ok(&out))
        return IOTSAFE_E_ARGUMENT;
    return link_write(&v->link, out.p, out.n);
}

/* One whole frame; its body stays in v->frame until the next. The card answers one command with one
 * frame, so that bytes beyond it mean that the two sides no longer agree. */
static int receive_frame(struct vpcd *v, struct tb_span *ret_body) {
    int timeout = v->link.config.timeout_ms;
    uint64_t end = link_now_ms() + (uint64_t)timeout;
    size_t n = 0;

    for (;;) {
        struct tb_span in = tb_span(v->frame, n);
        uint64_t now;
        int r;

        if (tb_vpcd_next(&in, ret_body) == 1)
            return in.n == 0 ? 0 : IOTSAFE_E_LINK;
        if (n == sizeof v->frame)
            return IOTSAFE_E_FORMAT;
        if (n > 0) {
            now = link_now_ms();
            timeout = now < end ? (int)(end - now) : 0;
        }
        r = link_read(&v->link, v->frame + n, sizeof v->frame - n, timeout);
        if (r <= 0)
            return r < 0 ? r : IOTSAFE_E_TIMEOUT;
        n += (size_t)r;
    }
}

/* After a failed exchange the stream is out of step: an answer may still come. */
static int give_up(struct vpcd *v, int err) {
    link_drop(&v->link);
    return err;
}

static int power_on(struct vpcd *v, uint8_t how) {
    uint8_t get_atr = TB_VPCD_GET_ATR;
    struct tb_span atr = TB_SPAN_NONE;
    uint8_t both[6];
    struct tb_buf out = TB_BUF(both);
    int r;

    tb_put_vpcd(&out, tb_span(&how, 1)); /* is not answered */
    tb_put_vpcd(&out, tb_span(&get_atr, 1));
    r = link_write(&v->link, out.p, out.n);
    if (r == 0)
        r = receive_frame(v, &atr);
    if (r < 0)
        return give_up(v, r);
    return atr.n >= 2 && atr.n <= ATR_MAX ? 0 : give_up(v, IOTSAFE_E_ABSENT);
}

static int connect_card(struct vpcd *v) {
    int r;

    if (v->link.fd >= 0)
        return 0;
    r = link_connect(&v->link);
    return r < 0 ? r : power_on(v, TB_VPCD_POWER_ON);
}

static int vpcd_transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len,
                         uint8_t *rsp, size_t rsp_cap) {
    struct vpcd *v = vpcd_of(t);
    bool fresh = v->link.fd < 0;
    struct tb_span body = TB_SPAN_NONE;
    int r;

    r = connect_card(v);
    if (r < 0)
        return r;
    if (fresh && v->used)
        return IOTSAFE_E_RESET; /* another power-up than the one the caller thinks of */
    v->used = true;
    r = send_frame(v, tb_span(cmd, cmd_len));
    if (r == 0)
        r = receive_frame(v, &body);
    if (r < 0)
        return give_up(v, r);
    if (body.n == 0)
        return give_up(v, IOTSAFE_E_ABSENT); /* ejected */
    if (body.n > rsp_cap)
        return IOTSAFE_E_TOO_SMALL;
    memcpy(rsp, body.p, body.n);
    return (int)body.n;
}

static int vpcd_reset(struct iotsafe_transport *t) {
    struct vpcd *v = vpcd_of(t);

    return v->link.fd < 0 ? connect_card(v) : power_on(v, TB_VPCD_RESET);
}

static int vpcd_describe(struct iotsafe_transport *t, char *buf, size_t cap) {
    return link_describe(&vpcd_of(t)->link, buf, cap);
}

static void vpcd_abandon(struct iotsafe_transport *t) {
    link_abandon(&vpcd_of(t)->link);
    free(t);
}

static void vpcd_close(struct iotsafe_transport *t) {
    struct vpcd *v = vpcd_of(t);
    uint8_t off = TB_VPCD_POWER_OFF;

    if (v->link.fd >= 0)
        (void)send_frame(v, tb_span(&off, 1));
    link_done(&v->link);
    tb_wipe(v->frame, sizeof v->frame);
    free(v);
}

static const struct iotsafe_transport_ops vpcd_ops = {
    .transmit = vpcd_transmit,
    .reset = vpcd_reset,
    .describe = vpcd_describe,
    .abandon = vpcd_abandon,
    .close = vpcd_close,
};

int transport_vpcd(const char *spec, bool listen, struct iotsafe_transport **ret, char *err,
                   size_t err_cap) {
    struct link_config config;
    struct vpcd *v;
    int r = link_parse(spec, &config, err, err_cap);

    if (r < 0)
        return r;
    config.listen = listen;
    v = calloc(1, sizeof *v);
    if (!v)
        return IOTSAFE_E_NO_MEMORY;
    v->base.ops = &vpcd_ops;
    v->base.flags = IOTSAFE_TRANSPORT_LE;
    link_init(&v->link, &config);
    r = listen ? link_prepare(&v->link) : connect_card(v);
    if (r < 0) {
        snprintf(err, err_cap, "%s", v->link.why[0] ? v->link.why : iotsafe_strerror(r));
        vpcd_abandon(&v->base);
        return r;
    }
    *ret = &v->base;
    return 0;
}

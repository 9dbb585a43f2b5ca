/* Running a call over the client's transport: all that the blocking functions do. */
#include "client.h"

enum {
    RSP_MAX = 2048
}; /* a modem that fetches by itself may hand over more than one short answer */

static int exchange(struct iotsafe_call *call, struct iotsafe *c) {
    struct iotsafe_transport *t = c->t;
    uint8_t rsp[RSP_MAX];
    size_t used = 0, len;
    const uint8_t *cmd;
    int r;

    while ((r = iotsafe_call_next(call, &cmd, &len)) == 1) {
        int n = t->ops->transmit(t, cmd, len, rsp, sizeof rsp);

        if (n < 0 || (size_t)n > sizeof rsp) {
            iotsafe_call_failed(call, n < 0 ? n : IOTSAFE_E_FORMAT);
            continue;
        }
        if ((size_t)n > used)
            used = (size_t)n;
        iotsafe_call_response(call, rsp, (size_t)n);
    }
    tb_wipe(rsp, used); /* secrets among them */
    return r;
}

int call_run(struct iotsafe_call *call, int start) {
    struct iotsafe *c = call_of(call)->c;
    bool locked = false;
    int r;

    if (start < 0)
        return start;
    if (c->t->ops->lock &&
        ((c->t->flags & IOTSAFE_TRANSPORT_SHARED) || iotsafe_call_is_long(call))) {
        r = c->t->ops->lock(c->t);
        if (r < 0) {
            iotsafe_call_cancel(call);
            return r;
        }
        locked = true;
        if (r > 0)
            call_reset_seen(call_of(call));
    }
    r = exchange(call, c);
    if (locked && c->t->ops->unlock)
        c->t->ops->unlock(c->t);
    return r;
}

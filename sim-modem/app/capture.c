/* APDUs for the capture file: as they were, except that PINs and key material are zeroed. Lengths
 * stay, so that a dissector still understands them. */
#include "app.h"
#include "tb/apdu.h"
#include "tb/safe.h"

enum secrecy { OPEN = 0, SECRET_COMMAND = 1, SECRET_RESPONSE = 2 };

static enum secrecy secrecy_of(uint8_t ins) {
    switch (ins) {
    case 0x20: /* VERIFY, CHANGE, DISABLE, ENABLE, UNBLOCK: spec: TS102.221 11.1.9-11.1.13 */
    case 0x24: /* also PUT PUBLIC KEY of IoT SAFE, which loses nothing by it */
    case 0x26:
    case 0x28:
    case 0x2C:
        return SECRET_COMMAND;
    case 0x88: /* AUTHENTICATE answers with session keys: spec: TS31.102 7.1.2 */
    case 0x89:
    case TB_SAFE_COMPUTE_DH:
        return SECRET_RESPONSE;
    case TB_SAFE_COMPUTE_PRF:
    case TB_SAFE_COMPUTE_HKDF:
        return SECRET_COMMAND | SECRET_RESPONSE;
    default:
        return OPEN;
    }
}

/* A copy in mem without the n bytes from off on. */
static struct tb_span zeroed(struct tb_span s, size_t off, size_t n, uint8_t *mem) {
    memcpy(mem, s.p, s.n);
    memset(mem + off, 0, n);
    return tb_span(mem, s.n);
}

void capture_apdu(struct app *app, struct tb_span cmd, struct tb_span rsp, const char *origin) {
    struct tb_cla c = {0};
    struct tb_apdu a;
    enum secrecy s;

    if (cmd.n < 4 || rsp.n < 2)
        return;
    if (!tb_cla_parse(cmd.p[0], &c))
        c.channel = 0;                   /* class A0: the basic channel */
    if (cmd.p[1] != TB_INS_GET_RESPONSE) /* which brings what the command before it has made */
        app->last_ins[c.channel] = cmd.p[1];
    s = secrecy_of(app->last_ins[c.channel]);
    if ((s & SECRET_COMMAND) && cmd.p[1] != TB_INS_GET_RESPONSE) {
        bool whole = tb_apdu_parse(cmd, TB_APDU_TRAILING, &a) == 0;

        if (!whole)
            cmd = zeroed(cmd, 4, cmd.n - 4, app->masked[0]);
        else if (a.data.n)
            cmd = zeroed(cmd, a.extended ? 7 : 5, a.data.n, app->masked[0]);
    }
    if (s & SECRET_RESPONSE)
        rsp = zeroed(rsp, 0, rsp.n - 2, app->masked[1]);
    tb_trace_apdu(app->trace, cmd, rsp, origin);
}

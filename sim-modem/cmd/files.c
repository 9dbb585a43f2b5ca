/* +CRSM and +CRLA: the TE names file and command, the modem does the rest.
 * spec: TS27.007 8.18, 8.46 */
#include "cmd.h"
#include "core/modem_int.h"
#include "tb/hex.h"

static bool known(uint32_t cmd) {
    switch (cmd) {
    case SIM_READ_BINARY:
    case SIM_READ_RECORD:
    case SIM_GET_RESPONSE:
    case SIM_RETRIEVE_DATA:
    case SIM_UPDATE_BINARY:
    case SIM_SET_DATA:
    case SIM_UPDATE_RECORD:
    case SIM_STATUS:
        return true;
    default:
        return false;
    }
}

static bool writes(uint32_t cmd) {
    return cmd == SIM_UPDATE_BINARY || cmd == SIM_UPDATE_RECORD || cmd == SIM_SET_DATA;
}

/* The path a TE gives starts at the MF, named or not; ours never names it (select by path from MF).
 */
static int take_path(struct at_args *args, struct sim_file *f) {
    struct tb_buf path = TB_BUF(f->path);
    struct tb_span hex = {0};
    int r = at_take_text(args, &hex);

    if (r < 1)
        return r;
    if (tb_hex_decode(hex, &path) < 0 || path.n % 2)
        return AT_CME(CME_PARAMETERS);
    if (path.n >= 2 && path.p[0] == 0x3F && path.p[1] == 0x00) {
        path.n -= 2;
        memmove(path.p, path.p + 2, path.n);
    }
    f->path_n = (uint8_t)path.n;
    return 1;
}

/* The data stay hex until they are sent; here it is only seen that they can be. */
static int take_data(struct at_args *args, struct sim_file *f, bool wanted) {
    uint8_t mem[255];
    struct tb_buf bytes = TB_BUF(mem);
    int r = at_take_text(args, &f->data);

    if (r < 0)
        return r;
    if (tb_hex_decode(f->data, &bytes) < 0 || (wanted && bytes.n != f->p3))
        return AT_CME(CME_PARAMETERS);
    return r;
}

static int take_file(struct at_args *args, struct sim_file *f) {
    uint32_t cmd = 0, fid = 0, p[3] = {0};
    int r = at_take_uint(args, 0, 255, &cmd);

    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    if (!known(cmd))
        return AT_CME(CME_NOT_SUPPORTED);
    f->cmd = (uint8_t)cmd;
    r = at_take_uint(args, 0, 0xFFFF, &fid);
    f->has_fid = r == 1 && (fid || cmd != SIM_STATUS); /* STATUS of no file: some write 0 for it */
    f->fid = (uint16_t)fid;
    for (unsigned i = 0; i < 3 && r >= 0; i++)
        r = at_take_uint(args, 0, 255, &p[i]);
    f->p1 = (uint8_t)p[0];
    f->p2 = (uint8_t)p[1];
    f->p3 = (uint8_t)p[2];
    if (r >= 0)
        r = take_data(args, f, writes(cmd));
    if (r >= 0)
        r = take_path(args, f);
    if (r < 0)
        return r;
    if (!f->has_fid && cmd != SIM_STATUS)
        return AT_CME(CME_PARAMETERS);
    return at_args_end(args);
}

static void file_run(struct modem *m, struct sim_task *t, struct tb_span rsp) {
    struct at_channel *ch = t->ch;
    struct tb_span answer, data;
    uint16_t sw;

    if (rsp.n == 0 && ch->op.file.channel && !m->sim.chan[ch->op.file.channel].session) {
        sim_release(m); /* it ended while we waited */
        at_finish(ch, AT_CME(CME_PARAMETERS));
        return;
    }
    if (!sim_file_step(m, t, &ch->op.file, rsp, &answer))
        return;
    sw = sim_sw(answer);
    data = sim_data(answer);
    if (tb_sw_success(sw) && ch->op.file.cmd == SIM_GET_RESPONSE)
        sw = TB_SW_OK; /* a proactive command that waits is not the TE's matter */
    sim_release(m);
    at_info_begin(ch);
    at_put_str(ch, ch->req.name);
    at_put_str(ch, ": ");
    at_put_uint(ch, sw >> 8);
    at_put_str(ch, ",");
    at_put_uint(ch, sw & 0xFF);
    if (data.n) {
        at_put_str(ch, ",\"");
        tb_put_hex(at_room(ch, 2 * data.n), data, TB_HEX_UPPER);
        at_put_str(ch, "\"");
    }
    at_info_end(ch);
    at_finish(ch, AT_OK);
}

int cmd_crsm(struct modem *m, struct at_channel *ch, struct at_args args) {
    int r;

    (void)m;
    ch->op.file = (struct sim_file){0};
    r = take_file(&args, &ch->op.file);
    return r != AT_OK ? r : at_submit(ch, file_run, "+CRSM");
}

int cmd_crla(struct modem *m, struct at_channel *ch, struct at_args args) {
    struct tb_span handle = {0};
    int r = at_take_text(&args, &handle);
    unsigned n;

    if (r < 1)
        return r < 0 ? r : AT_ERROR;
    ch->op.file = (struct sim_file){0};
    r = take_file(&args, &ch->op.file);
    if (r != AT_OK)
        return r;
    n = cmd_session(m, handle);
    if (n == 0)
        return AT_CME(CME_PARAMETERS);
    ch->op.file.channel = (uint8_t)n;
    return at_submit(ch, file_run, "+CRLA");
}

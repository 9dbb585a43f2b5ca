#include "core/modem_int.h"
#include "sim.h"
#include "tb/hex.h"

/* spec: TS27.007 8.18 the terminal selects the file; only the command's own bytes are the TE's */

enum { P2_FCP = 0x04, P2_NOTHING = 0x0C, BY_FID = 0x00, BY_AID = 0x04, BY_PATH = 0x08 };
enum step { START, APPLICATION, SELECT, COMMAND };

static uint8_t cla(const struct sim_file *f, uint8_t base) {
    return tb_cla_on_channel(base, f->channel);
}

/* Where a file without a path may be, likeliest first: global files are 2Fxx, those of the
 * application 6Fxx. The directory that holds it, 0 for the MF; -1 when there is no further place.
 */
static int place(const struct sim_file *f) {
    static const uint16_t global[] = {0, 0x7FFF, 0x7F10}, local[] = {0x7FFF, 0x7F10, 0};

    if (f->attempt >= 3)
        return -1;
    return (f->fid >> 8 == 0x2F ? global : local)[f->attempt];
}

static bool is_directory(uint16_t fid) {
    return fid == 0x3F00 || fid >> 8 == 0x7F;
}

/* 7FFF means the files of the current application: on channel 0 that has to be the USIM. */
static bool needs_usim(const struct modem *m, const struct sim_file *f) {
    bool local = f->path_n ? f->path[0] == 0x7F && f->path[1] == 0xFF
                           : f->fid == 0x7FFF || place(f) == 0x7FFF;

    return local && f->channel == 0 && m->sim.usim_n && !m->sim.sel.usim;
}

static void send_select(struct modem *m, const struct sim_file *f) {
    uint8_t p2 = f->cmd == SIM_GET_RESPONSE ? P2_FCP : P2_NOTHING, p1 = BY_PATH;
    uint8_t path[sizeof f->path + 2];
    struct tb_buf b = TB_BUF(path);

    tb_put(&b, tb_span(f->path, f->path_n));
    if (f->path_n == 0 && is_directory(f->fid))
        p1 = BY_FID;
    else if (f->path_n == 0 && place(f) > 0)
        tb_put_be16(&b, (uint16_t)place(f));
    tb_put_be16(&b, f->fid);
    sim_build(m, cla(f, 0x00), TB_INS_SELECT, p1, p2, tb_buf_span(&b), p2 == P2_FCP ? 256 : 0);
    sim_send(m, SIM_FETCH);
}

static void send_command(struct modem *m, const struct sim_file *f) {
    static const struct {
        uint8_t cmd, cla, ins;
        bool reads;
    } table[] = {
        {SIM_READ_BINARY, 0x00, 0xB0, true},    {SIM_READ_RECORD, 0x00, 0xB2, true},
        {SIM_RETRIEVE_DATA, 0x80, 0xCB, true},  {SIM_UPDATE_BINARY, 0x00, 0xD6, false},
        {SIM_UPDATE_RECORD, 0x00, 0xDC, false}, {SIM_SET_DATA, 0x80, 0xDB, false},
        {SIM_STATUS, 0x80, 0xF2, true},
    };
    uint8_t data[255];
    struct tb_buf b = TB_BUF(data);
    size_t i = 0;

    while (table[i].cmd != f->cmd)
        i++; /* the handler let only these pass */
    if (tb_hex_decode(f->data, &b) < 0)
        b.n = 0; /* the handler has checked it */
    sim_build(m, cla(f, table[i].cla), table[i].ins, f->p1, f->p2, tb_buf_span(&b),
              !table[i].reads ? 0
              : f->p3         ? f->p3
                              : 256);
    sim_send(m, SIM_FETCH | (m->quirks.me_retry_6c ? 0U : SIM_NO_6C));
}

static void begin_attempt(struct modem *m, struct sim_task *t, const struct sim_file *f) {
    if (needs_usim(m, f)) {
        t->step = APPLICATION;
        sim_build(m, 0x00, TB_INS_SELECT, BY_AID, P2_NOTHING, tb_span(m->sim.usim, m->sim.usim_n),
                  0);
        sim_send(m, SIM_FETCH);
    } else {
        t->step = SELECT;
        send_select(m, f);
    }
}

bool sim_file_step(struct modem *m, struct sim_task *t, struct sim_file *f, struct tb_span rsp,
                   struct tb_span *ret_rsp) {
    uint16_t sw = sim_sw(rsp);

    switch ((enum step)(rsp.n ? t->step : START)) {
    case START:
        if (f->has_fid) {
            begin_attempt(m, t, f);
        } else {
            t->step = COMMAND;
            send_command(m, f);
        }
        return false;
    case APPLICATION:
        t->step = SELECT;
        send_select(m, f);
        return false;
    case SELECT:
        if (sw == TB_SW_NOT_FOUND && f->path_n == 0 && !is_directory(f->fid)) {
            f->attempt++;
            if (place(f) >= 0) {
                begin_attempt(m, t, f);
                return false;
            }
        }
        if (f->cmd != SIM_GET_RESPONSE && tb_sw_success(sw)) {
            t->step = COMMAND;
            send_command(m, f);
            return false;
        }
        break;
    case COMMAND:
        break;
    }
    *ret_rsp = rsp;
    return true;
}

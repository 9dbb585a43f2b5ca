/* The state of PIN1, from whatever went to the card: +CPIN, +CLCK, +CPWD, or an APDU of the TE's
 * own. spec: TS102.221 11.1.9-11.1.13 */
#include "core/modem_int.h"
#include "sim.h"

enum {
    INS_VERIFY = 0x20,
    INS_CHANGE = 0x24,
    INS_DISABLE = 0x26,
    INS_ENABLE = 0x28,
    INS_UNBLOCK = 0x2C,
    PIN1 = 0x01
};

bool sim_is_pin_command(uint8_t ins) {
    return ins == INS_VERIFY || ins == INS_CHANGE || ins == INS_DISABLE || ins == INS_ENABLE ||
           ins == INS_UNBLOCK;
}

static void accepted(struct modem *m, uint8_t ins) {
    struct sim *s = &m->sim;

    if (ins == INS_ENABLE)
        s->pin_enabled = true;
    else if (ins == INS_DISABLE)
        s->pin_enabled = false;
    if (s->pin == SIM_PIN_READY || ins == INS_ENABLE)
        return;
    s->pin = SIM_PIN_READY; /* what it kept from us can be read now */
    sim_boot_again(m);
}

/* No attempt is left, and with the last one went what earlier ones had opened. */
static void blocked(struct modem *m) {
    struct sim *s = &m->sim;

    if (s->pin == SIM_PUK_REQUIRED || (s->pin == SIM_PIN_READY && !s->pin_enabled))
        return;
    s->pin = SIM_PUK_REQUIRED;
    if (s->state == SIM_READY)
        modem_sim_changed(m);
}

void sim_observe_pin(struct modem *m, const struct tb_apdu *cmd, uint16_t sw) {
    if (cmd->p2 != PIN1 || cmd->data.n == 0) /* without data it only asks for attempts left */
        return;
    if (tb_sw_success(sw) && sw != TB_SW_ADMIN_DONE)
        accepted(m, cmd->ins);
    else if ((sw == 0x63C0 || sw == TB_SW_BLOCKED) && cmd->ins != INS_UNBLOCK)
        blocked(m);
}

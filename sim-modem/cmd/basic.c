/* spec: V.250 6.1-6.3 basic commands and S-registers */
#include "cmd.h"
#include "core/modem_int.h"

/* The number after a basic command, at most max. */
static int number(const struct at_channel *ch, uint32_t max, uint8_t *ret) {
    if (ch->req.number > max)
        return AT_ERROR;
    *ret = (uint8_t)ch->req.number;
    return AT_OK;
}

static int flag(const struct at_channel *ch, bool *ret) {
    uint8_t v;

    if (number(ch, 1, &v) != AT_OK)
        return AT_ERROR;
    *ret = v;
    return AT_OK;
}

int cmd_e(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return flag(ch, &ch->set.echo);
}

int cmd_v(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return flag(ch, &ch->set.verbose);
}

int cmd_q(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return flag(ch, &ch->set.quiet);
}

int cmd_x(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return number(ch, 4, &ch->set.x);
}

int cmd_amp_c(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return number(ch, 2, &ch->set.dcd);
}

int cmd_amp_d(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return number(ch, 2, &ch->set.dtr);
}

int cmd_amp_s(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return number(ch, 1, &ch->set.dsr);
}

int cmd_slash_q(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)args;
    return number(ch, 3, &ch->set.flow);
}

/* Tone, pulse, loudspeaker …: nothing to do, nothing to refuse. */
int cmd_accept(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t ignored;

    (void)m, (void)args;
    return number(ch, 9, &ignored);
}

/* The stored profile: there is one, that of this power cycle. */
int cmd_z(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t profile;

    (void)m, (void)args;
    if (number(ch, 1, &profile) != AT_OK)
        return AT_ERROR;
    at_settings_restore(ch);
    return AT_OK;
}

int cmd_amp_f(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t profile;

    (void)m, (void)args;
    if (number(ch, 1, &profile) != AT_OK)
        return AT_ERROR;
    at_settings_factory(ch, &ch->set);
    return AT_OK;
}

int cmd_amp_w(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t profile;

    (void)args;
    if (number(ch, 1, &profile) != AT_OK)
        return AT_ERROR;
    m->stored = ch->set;
    m->has_stored = true;
    return AT_OK;
}

int cmd_amp_y(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t profile;

    (void)m, (void)args;
    return number(ch, 1, &profile);
}

int cmd_amp_v(struct modem *m, struct at_channel *ch, struct at_args args) {
    const struct at_settings *s = &ch->set;

    (void)m, (void)args;
    at_info(ch, "E%d Q%d V%d X%d &C%d &D%d &S%d \\Q%d +CMEE=%d", s->echo, s->quiet, s->verbose,
            s->x, s->dcd, s->dtr, s->dsr, s->flow, s->cmee);
    at_info(ch, "S0:%03d S3:%03d S4:%03d S5:%03d S7:%03d", s->s[0], s->s[3], s->s[4], s->s[5],
            s->s[7]);
    return AT_OK;
}

int cmd_s(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint32_t reg = ch->req.number, v = 0;

    (void)m;
    if (reg >= AT_SREG_COUNT || reg == 9 || reg == 11)
        return AT_ERROR;
    if (ch->req.form == AT_FORM_READ) {
        at_info(ch, "%03d", ch->set.s[reg]);
        return AT_OK;
    }
    if (ch->req.form == AT_FORM_EXEC ||
        args.rest.n == 0) /* ATS3 alone names a register for nothing we have */
        return ch->req.form == AT_FORM_EXEC ? AT_OK : AT_ERROR;
    /* S3, S4 and S5 are characters of the 7-bit alphabet (V.250 6.2.1-6.2.3). */
    if (at_parse_uint(args.rest, &v) < 0 || v > (reg >= 3 && reg <= 5 ? 127U : 255U))
        return AT_ERROR;
    ch->set.s[reg] = (uint8_t)v;
    return AT_OK;
}

int cmd_i(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t page;

    (void)args;
    if (number(ch, 9, &page) != AT_OK)
        return AT_ERROR;
    at_info(ch, "%s", m->quirks.manufacturer);
    at_info(ch, "%s", m->quirks.model);
    at_info(ch, "Revision: %s", m->quirks.revision);
    return AT_OK;
}

int cmd_h(struct modem *m, struct at_channel *ch, struct at_args args) {
    uint8_t what;

    (void)m, (void)args;
    return number(ch, 1, &what);
}

/* Calls and data calls: there is neither a voice nor a data path to dial into. */
int cmd_d(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)ch, (void)args;
    return AT_NO_CARRIER;
}

int cmd_no_carrier(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)ch, (void)args;
    return AT_NO_CARRIER;
}

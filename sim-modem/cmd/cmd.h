#pragma once
/* The command table: what exists, in which forms, what it needs, who does it. */
#include "at/channel.h"

struct modem;

enum at_needs {
    AT_NEEDS_SIM = 1,  /* waits while the card boots, CME 10/13 without one */
    AT_NEEDS_PIN = 2,  /* …and CME 11/12 while a PIN or PUK is wanted */
    AT_NEEDS_CGLA = 4, /* unknown in profiles with cgla=off */
    AT_HIDDEN = 8,     /* known only to be refused properly: not in +CLAC */
};

/* Runs one command of ch (ch->req): the result, or AT_PENDING. */
typedef int at_handler(struct modem *m, struct at_channel *ch, struct at_args args);

struct at_command {
    const char *name;
    unsigned forms; /* enum at_form; a TEST form with a text is answered by the table alone */
    unsigned needs;
    at_handler *run;
    const char *test; /* parameter ranges; "": bare OK */
};

extern const struct at_command at_commands[]; /* sorted by name, ends with a NULL name */
extern const size_t at_commands_n;

const struct at_command *at_command_find(const char *name);
/* Runs ch->req through the table. */
int at_dispatch(struct at_channel *ch);

/* basic.c: V.250 */
at_handler cmd_e, cmd_v, cmd_q, cmd_x, cmd_z, cmd_s, cmd_i, cmd_h, cmd_d, cmd_no_carrier;
at_handler cmd_accept, cmd_amp_c, cmd_amp_d, cmd_amp_s, cmd_amp_f, cmd_amp_w, cmd_amp_y, cmd_amp_v,
    cmd_slash_q;
/* identity.c */
at_handler cmd_gmi, cmd_gmm, cmd_gmr, cmd_gsn, cmd_gcap, cmd_goi, cmd_cgsn, cmd_cimi, cmd_ccid,
    cmd_iccid, cmd_qccid;
at_handler cmd_cuad, cmd_csus, cmd_cnum;
/* general.c */
at_handler cmd_cmee, cmd_clac, cmd_cfun, cmd_cpas, cmd_cbc, cmd_ceer, cmd_cclk, cmd_ctzr, cmd_ctzu,
    cmd_cscs;
at_handler cmd_ipr, cmd_icf, cmd_ifc, cmd_ilrr, cmd_fclass, cmd_ws46, cmd_qsimstat, cmd_qpowd,
    cmd_cmux;
/* apdu.c, session.c, files.c: SIM access */
at_handler cmd_csim, cmd_cgla, cmd_ccho, cmd_cchc, cmd_crsm, cmd_crla;
/* lock.c */
at_handler cmd_cpin, cmd_cpinr, cmd_clck, cmd_cpwd;
/* network.c */
at_handler cmd_creg, cmd_cgreg, cmd_cereg, cmd_cops, cmd_csq, cmd_cesq, cmd_cscon, cmd_copn;
/* packet.c */
at_handler cmd_cgatt, cmd_cgdcont, cmd_cgact, cmd_cgpaddr, cmd_cgcontrdp, cmd_cgerep, cmd_cgdata,
    cmd_cgauth;
/* refused.c: of later stages */
at_handler cmd_no_sms, cmd_no_tls;

/* A session that a TE named by handle: its channel, 0 when unknown. */
unsigned cmd_session(const struct modem *m, struct tb_span handle);

#pragma once
/* sim-modem: the program around the core. */
#include "data/service.h"
#include "simmodem/modem.h"
#include "tb/apdu.h"
#include "tb/cli.h"
#include "tb/conn.h"
#include "tb/ctl.h"
#include "tb/loop.h"
#include "tb/pty.h"
#include "tb/trace.h"
#include "uart.h"

struct options {
    struct tb_cli_common common; /* first */
    char *vpcd, *model, *imei, *trace_apdu;
    struct tb_strv at_pty, at_tcp, at_unix, quirk;
    char *data, *uart, *radio;
    unsigned card_timeout, seed;
};

struct app {
    struct options opt;
    struct tb_loop *loop;
    uv_loop_t *uv;
    struct modem *modem;
    struct tb_ctl *ctl;
    struct tb_trace *trace;
    uv_timer_t timer; /* the core's one timer; not scaled as deadlines are: it models the modem's
                         own time */
    bool timer_open;
    struct reader *reader;
    struct endpoint *endpoints;
    struct port *ports; /* connected TEs, and one per pty */
    unsigned serial;    /* names ports */
    struct uart uart;
    struct radio radio;
    struct data_service *data; /* NULL: none was asked for */

    uint8_t last_ins[TB_CHANNELS]; /* capture.c: what GET RESPONSE belongs to */
    uint8_t masked[2][TB_APDU_MAX_RSP + 2];
};

/* Tells subscribers, if there are any; members: given. */
void app_event(struct app *app, const char *name, json_t *members);

/* reader.c: the vpcd reader that cards dial. */
int reader_start(struct app *app, const struct tb_addr *at, struct tb_error *e) TB_CHECKED;
const struct tb_addr *reader_addr(const struct reader *r);
void reader_stop(struct reader *r); /* closes link and listener; NULL is a no-op */
void reader_free(struct reader *r); /* after the loop has ended */
void reader_command(struct reader *r, struct tb_span cmd); /* modem_ops.card_command */
void reader_power(struct reader *r, enum modem_card_power what);

/* Half a message has come and no answer of ours will carry the acknowledgement: a peer that writes
 * in pieces and lets Nagle's algorithm wait for it would stand still for 40 ms. Not for the
 * ordinary exchange. fd: a socket; on one that is not TCP nothing happens. */
void ack_now(int fd);

/* ports.c: where TEs come in. */
enum endpoint_kind { ENDPOINT_PTY, ENDPOINT_TCP, ENDPOINT_UNIX };
/* text: link path or address. */
int endpoint_open(struct app *app, enum endpoint_kind kind, const char *text,
                  struct tb_error *e) TB_CHECKED;
/* Adds "at": { pty, pty_slave, tcp, unix }, each a string, or an array when there are several. */
void endpoints_describe(const struct app *app, json_t *ready);
void endpoints_stop(struct app *app);
void endpoints_free(struct app *app); /* after the loop has ended */

/* latency.c: sets uart or radio from a name, NULL: leaves it. TB_EPARSE with the nearest name. */
int latency_set(struct app *app, const char *uart, const char *radio,
                struct tb_error *e) TB_CHECKED;
void latency_describe(const struct app *app, json_t *reply);

/* verbs.c */
extern const struct tb_ctl_verb app_verbs[];

/* capture.c: puts an exchange into the capture file, secrets zeroed. */
void capture_apdu(struct app *app, struct tb_span cmd, struct tb_span rsp, const char *origin);

/* model.c: a built-in model by name, or a file. */
int model_load(const char *name_or_file, const struct tb_strv *quirks, struct modem_quirks *ret,
               struct tb_error *e) TB_CHECKED;

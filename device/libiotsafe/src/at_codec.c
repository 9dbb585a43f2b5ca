/* AT+CSIM, AT+CCHO, AT+CGLA, AT+CCHC: the characters, in both directions. See iotsafe/at.h.
 *
 * spec: 27.007 8.17 8.43 8.44 8.45 */
#include <assert.h>
#include <stdbool.h>

#include "iotsafe/at.h"
#include "iotsafe/iotsafe.h"
#include "tb/apdu.h"
#include "tb/safe.h"

enum state {
    IDLE,
    ECHO_OFF, /* ATE0Q0V1, whatever comes of it */
    CMEE_ON,  /* AT+CMEE=1, likewise */
    SYNC,     /* AT+CMEE?: the one command whose answer cannot be mistaken for another's */
    SYNC_END, /* … answered; one more final result is on its way */
    CLOSE,    /* AT+CCHC */
    OPEN,     /* AT+CCHO */
    APDU,     /* AT+CSIM, AT+CGLA */
};

enum capture { CAPTURE_NONE, CAPTURE_LENGTH, CAPTURE_HEX, CAPTURE_END };
enum { HEAD_MAX = 72, SESSION_MAX = 40, DIGITS_MAX = 100000 };

struct at {
    uint8_t mode, state, capture, matched;
    bool initialised;    /* echo off and so on has been asked for on this link */
    bool first;          /* … just now: nothing can be late */
    bool synced;         /* every answer so far is accounted for */
    bool echo;           /* the line that is coming in is our own */
    bool probe_answered; /* "+CMEE:" was seen */
    bool probe_failed;   /* ERROR was seen instead, and AT was sent */
    bool skip_final;     /* the next final result ends an earlier probe */
    bool no_probe;       /* the modem says OK to AT+CMEE? and nothing else */
    bool gave_up;        /* initialisation got no answer before: something has to be ended first */
    bool have_response, bad_response;
    bool reselect;     /* CLOSE makes room for OPEN */
    bool session_lost; /* the modem does not know our session any more, it seems */
    int cme, result;
    size_t declared, nibbles; /* of the response's hex */
    const uint8_t *cmd;
    size_t cmd_len;
    uint8_t *rsp;
    size_t rsp_cap;
    uint8_t head_len, session_len;
    char head[HEAD_MAX];
    char session[SESSION_MAX];
    size_t out_len;
    char out[IOTSAFE_AT_MAX_LINE];
};
static_assert(sizeof(struct at) <= sizeof(struct iotsafe_at), "struct iotsafe_at is too small");

static struct at *at_of(struct iotsafe_at *at) {
    return (struct at *)(void *)at->opaque;
}

/* ---- lines to the modem ---- */

static void put_text(struct at *a, const char *text, size_t n) {
    assert(n <= sizeof a->out - a->out_len); /* every line is shorter: see IOTSAFE_AT_MAX_LINE */
    memcpy(a->out + a->out_len, text, n);
    a->out_len += n;
}

static void put_str(struct at *a, const char *text) {
    put_text(a, text, strlen(text));
}

static void put_number(struct at *a, size_t v) {
    char digits[20];
    size_t n = sizeof digits;

    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    put_text(a, digits + n, sizeof digits - n);
}

static void put_hex(struct at *a, const uint8_t *p, size_t n) {
    static const char digit[] = "0123456789ABCDEF";
    char *out = a->out + a->out_len;

    assert(2 * n <= sizeof a->out - a->out_len);
    for (size_t i = 0; i < n; i++) {
        *out++ = digit[p[i] >> 4];
        *out++ = digit[p[i] & 0x0F];
    }
    a->out_len += 2 * n;
}

static void begin_line(struct at *a, enum state state) {
    a->state = (uint8_t)state;
    a->out_len = 0;
    a->have_response = a->bad_response = false;
    a->cme = -1;
}

static void send_line(struct at *a, enum state state, const char *line) {
    begin_line(a, state);
    put_str(a, line);
}

static void finish(struct at *a, int result) {
    a->state = IDLE;
    a->out_len = 0;
    a->result = result;
}

static void finish_sw(struct at *a, uint16_t sw) {
    if (a->rsp_cap < 2) {
        finish(a, IOTSAFE_E_TOO_SMALL);
        return;
    }
    a->rsp[0] = (uint8_t)(sw >> 8);
    a->rsp[1] = (uint8_t)sw;
    finish(a, 2);
}

/* ---- what a command APDU becomes ---- */

static void send_close(struct at *a) {
    send_line(a, CLOSE, "AT+CCHC=");
    put_text(a, a->session, a->session_len);
    put_str(a, "\r");
    a->session_len = 0;
}

static void send_open(struct at *a) {
    send_line(a, OPEN, "AT+CCHO=\"");
    put_hex(a, a->cmd + 5, a->cmd[4]);
    put_str(a, "\"\r");
}

/* Modems use the channel's number as the session's name, or anything else. The modem sets the
 * channel bits of the class byte; where it forgets to, the number is the right one. */
static unsigned session_channel(const struct at *a) {
    unsigned n = 0;

    for (size_t i = 0; i < a->session_len; i++) {
        if (a->session[i] < '0' || a->session[i] > '9' || (i == 0 && a->session[i] == '0') || i > 1)
            return 0;
        n = n * 10 + (unsigned)(a->session[i] - '0');
    }
    return n < TB_CHANNELS ? n : 0;
}

static void send_apdu(struct at *a) {
    send_line(a, APDU, a->mode == IOTSAFE_AT_CGLA ? "AT+CGLA=" : "AT+CSIM=");
    if (a->mode == IOTSAFE_AT_CGLA) {
        put_text(a, a->session, a->session_len);
        put_str(a, ",");
    }
    put_number(a, 2 * a->cmd_len);
    put_str(a, ",\"");
    if (a->mode == IOTSAFE_AT_CGLA) {
        uint8_t cla = tb_cla_on_channel(a->cmd[0], session_channel(a));

        put_hex(a, &cla, 1);
        put_hex(a, a->cmd + 1, a->cmd_len - 1);
    } else {
        put_hex(a, a->cmd, a->cmd_len);
    }
    put_str(a, "\"\r");
}

static void dispatch_cgla(struct at *a) {
    const uint8_t *cmd = a->cmd;
    bool select = cmd[1] == TB_INS_SELECT && cmd[2] == 0x04 && a->cmd_len > 5 && cmd[4] > 0 &&
                  a->cmd_len >= 5U + cmd[4];
    bool close = cmd[1] == TB_INS_MANAGE_CHANNEL && cmd[2] == 0x80;

    a->reselect = select;
    if ((select || close) && a->session_len)
        send_close(a);
    else if (select)
        send_open(a);
    else if (close)
        finish_sw(a, TB_SW_OK);
    else if (!a->session_len || a->session_lost)
        finish_sw(a, TB_SW_CHANNEL);
    else
        send_apdu(a);
}

static void dispatch(struct at *a) {
    if (!a->initialised)
        send_line(a, ECHO_OFF, a->gave_up ? "\033\rATE0Q0V1\r" : "ATE0Q0V1\r");
    else if (!a->synced && a->no_probe)
        finish(a, IOTSAFE_E_LINK); /* no way to tell its answers apart: only a new link helps */
    else if (!a->synced)
        send_line(a, SYNC, "AT+CMEE?\r");
    else if (a->mode == IOTSAFE_AT_CGLA)
        dispatch_cgla(a);
    else
        send_apdu(a);
}

/* ---- final results ---- */

static int error_of_cme(int cme) {
    switch (cme) {
    case 10:  /* SIM not inserted */
    case 310: /* the same as +CMS ERROR */
        return IOTSAFE_E_ABSENT;
    case 13: /* SIM failure: the card is mute or the modem lost it */
    case 15: /* SIM wrong */
    case 313:
        return IOTSAFE_E_LINK;
    case 14: /* SIM busy */
    case 314:
        return IOTSAFE_E_BUSY;
    default:
        return IOTSAFE_E_REFUSED;
    }
}

static void open_done(struct at *a, bool ok) {
    int err = error_of_cme(a->cme);

    if (ok && a->session_len)
        finish_sw(a, TB_SW_OK);
    else if (ok)
        finish(a, IOTSAFE_E_FORMAT);
    else if (err != IOTSAFE_E_REFUSED)
        finish(a, err);
    else if (a->cme == 20) /* memory full: what modems say when no channel is free */
        finish_sw(a, TB_SW_FUNCTION);
    else if (a->cme == 22 || a->cme == 100) /* not found, unknown */
        finish_sw(a, TB_SW_NOT_FOUND);
    else
        finish(a, IOTSAFE_E_REFUSED);
}

static void apdu_done(struct at *a, bool ok) {
    int err = error_of_cme(a->cme);

    if (ok && a->bad_response)
        finish(a, IOTSAFE_E_FORMAT);
    else if (ok)
        finish(a, a->have_response ? (int)(a->nibbles / 2) : 0);
    else if (a->mode == IOTSAFE_AT_CGLA && err != IOTSAFE_E_ABSENT && err != IOTSAFE_E_BUSY) {
        /* Modems do not agree on how to say that a session is gone. It is closed before the next is
         * opened. */
        a->session_lost = true;
        finish_sw(a, TB_SW_CHANNEL);
    } else
        finish(a, err);
}

/* The late answers of earlier commands, if they come at all, come first. "+CMEE:" tells ours; a
 * modem that does not know the command says ERROR, which an earlier command may have said as well,
 * but then AT after it is answered with OK: ERROR, OK in this order ends the wait either way. */
static void sync_done(struct at *a, bool ok) {
    bool sent =
        a->out_len == 0; /* the line that was put last is out, so that this may be its result */
    bool believed = ok && sent && (a->probe_failed || a->first);

    if (a->probe_answered && a->probe_failed && sent) {
        a->state = SYNC_END; /* AT is still to be answered */
    } else if (a->probe_answered || believed) {
        a->no_probe = !a->probe_answered && !a->probe_failed;
        a->synced = true;
        a->first = false;
        dispatch(a);
    } else if (!ok && sent && !a->probe_failed) {
        a->probe_failed = true;
        send_line(a, SYNC, "AT\r");
    }
}

static void final_result(struct at *a, bool ok) {
    if (a->skip_final) {
        a->skip_final = false;
        return;
    }
    if (a->out_len && a->state != SYNC)
        return; /* nothing of ours is out yet: it belongs to somebody else */
    switch (a->state) {
    case ECHO_OFF:
        send_line(a, CMEE_ON, "AT+CMEE=1\r");
        break;
    case CMEE_ON:
        a->initialised = a->first = true;
        a->probe_answered = a->probe_failed = false;
        dispatch(a);
        break;
    case SYNC:
        sync_done(a, ok);
        break;
    case SYNC_END:
        a->synced = true;
        dispatch(a);
        break;
    case CLOSE: /* closed, or gone already */
        a->session_lost = false;
        if (a->reselect)
            send_open(a);
        else
            finish_sw(a, TB_SW_OK);
        break;
    case OPEN:
        open_done(a, ok);
        break;
    case APDU:
        apdu_done(a, ok);
        break;
    default:
        break;
    }
}

/* ---- lines from the modem ---- */

static char lower(char c) {
    if (c < 'A' || c > 'Z')
        return c;
    return "abcdefghijklmnopqrstuvwxyz"[c - 'A'];
}

static bool starts(const char *line, const char *prefix) {
    while (*prefix) {
        if (lower(*line++) != lower(*prefix++))
            return false;
    }
    return true;
}

/* +CMEE=2 was set by somebody, or cannot be changed. */
static int cme_of_text(const char *text) {
    static const struct {
        const char *text;
        int number;
    } table[] = {
        {"operation not allowed", 3},
        {"operation not supported", 4},
        {"sim not inserted", 10},
        {"sim failure", 13},
        {"sim busy", 14},
        {"sim wrong", 15},
        {"memory full", 20},
        {"not found", 22},
        {"incorrect parameters", 50},
        {"unknown", 100},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (starts(text, table[i].text))
            return table[i].number;
    }
    return -1;
}

static int cme_of_line(const char *text) {
    int n = 0;

    while (*text == ' ')
        text++;
    if (*text < '0' || *text > '9')
        return cme_of_text(text);
    while (*text >= '0' && *text <= '9' && n < DIGITS_MAX)
        n = n * 10 + (*text++ - '0');
    return n;
}

static bool is_session_char(char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f') || lower(c) == 'x';
}

/* "+CCHO: 1", "+CCHO: 000000000385a7cf", or the bare identifier on a line of its own. Kept as it is
 * written. */
static void take_session(struct at *a, const char *text, bool prefixed) {
    size_t n;

    while (*text == ' ')
        text++;
    n = strlen(text);
    if (n == 0 || n > sizeof a->session || (!prefixed && a->session_len))
        return;
    for (size_t i = 0; i < n; i++) {
        if (!is_session_char(text[i]) &&
            !(prefixed && text[i] > ' ' && text[i] != ',' && text[i] < 127))
            return;
    }
    memcpy(a->session, text, n);
    a->session_len = (uint8_t)n;
}

static void end_capture(struct at *a) {
    bool hex = a->capture == CAPTURE_HEX || a->capture == CAPTURE_END;
    bool whole = hex && a->nibbles % 2 == 0 && a->nibbles >= 4 && a->nibbles / 2 <= a->rsp_cap &&
                 (a->declared == 0 || a->declared == a->nibbles || a->declared * 2 == a->nibbles);

    if (a->capture == CAPTURE_NONE)
        return;
    a->have_response = whole;
    a->bad_response = !whole;
    a->capture = CAPTURE_NONE;
}

static void end_line(struct at *a) {
    char *line = a->head;
    size_t n = a->head_len;

    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n] = 0;
    a->head_len = 0;
    a->matched = 0;
    if (n == 0 || a->echo) {
        a->echo = false;
        a->capture = CAPTURE_NONE;
        return;
    }
    end_capture(a);
    if (strcmp(line, "OK") == 0)
        final_result(a, true);
    else if (strcmp(line, "ERROR") == 0)
        final_result(a, false);
    else if (starts(line, "+CME ERROR:") || starts(line, "+CMS ERROR:")) {
        a->cme = cme_of_line(line + 11);
        final_result(a, false);
    } else if (a->state == ECHO_OFF && (strcmp(line, "0") == 0 || strcmp(line, "4") == 0))
        final_result(a, line[0] == '0'); /* ATV0 was set before us */
    else if (starts(line, "+CMEE:")) {
        a->no_probe = false;
        if (a->state == SYNC)
            a->probe_answered = true;
        else
            a->skip_final = true; /* a probe that we had given up */
    } else if (a->state == OPEN && starts(line, "+CCHO:"))
        take_session(a, line + 6, true);
    else if (a->state == OPEN)
        take_session(a, line, false);
}

static int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void capture_hex(struct at *a, char c) {
    int v = nibble(c);
    size_t i = a->nibbles / 2;

    if (v < 0) {
        if (a->nibbles > 0 || (c != ' ' && c != '"'))
            a->capture = CAPTURE_END;
        return;
    }
    if (i < a->rsp_cap)
        a->rsp[i] = a->nibbles % 2 ? (uint8_t)(a->rsp[i] | v) : (uint8_t)(v << 4);
    a->nibbles++;
}

static void capture(struct at *a, char c) {
    switch (a->capture) {
    case CAPTURE_LENGTH:
        if (c >= '0' && c <= '9') {
            if (a->declared < DIGITS_MAX)
                a->declared = a->declared * 10 + (size_t)(c - '0');
        } else if (c == ',' || c == '"') {
            a->capture = CAPTURE_HEX;
        } else if (c != ' ') {
            a->capture = CAPTURE_NONE;
        }
        break;
    case CAPTURE_HEX:
        capture_hex(a, c);
        break;
    default:
        break;
    }
}

/* The response may stand anywhere in a line: modems put rests of the answer before in front of it.
 * The last one wins. */
static void match_prefix(struct at *a, char c) {
    const char *prefix = a->mode == IOTSAFE_AT_CGLA ? "+cgla:" : "+csim:";

    c = lower(c);
    if (c == prefix[a->matched])
        a->matched++;
    else
        a->matched = c == prefix[0];
    if (a->matched < 6)
        return;
    a->matched = 0;
    a->capture = CAPTURE_LENGTH;
    a->declared = a->nibbles = 0;
}

static void input_char(struct at *a, char c) {
    if (c == '\r' || c == '\n') {
        end_line(a);
        return;
    }
    if (c == 0 || (a->head_len == 0 && (c == ' ' || c == '>')))
        return; /* noise of a line that was just opened; the prompt of a command before us */
    if (a->head_len < sizeof a->head - 1U)
        a->head[a->head_len++] = c;
    if (a->head_len == 2 && lower(a->head[0]) == 'a' && lower(a->head[1]) == 't')
        a->echo = true;
    if (a->state != APDU || a->echo)
        return;
    capture(a, c);
    match_prefix(a, c);
}

/* ---- interface ---- */

void iotsafe_at_init(struct iotsafe_at *at, enum iotsafe_at_mode mode) {
    memset(at, 0, sizeof *at);
    at_of(at)->mode = (uint8_t)mode;
    at_of(at)->cme = -1;
}

int iotsafe_at_command(struct iotsafe_at *at, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                       size_t rsp_cap) {
    struct at *a = at_of(at);

    if (a->state != IDLE || !cmd || cmd_len < 4 || cmd_len > IOTSAFE_AT_MAX_COMMAND || !rsp)
        return IOTSAFE_E_ARGUMENT;
    a->cmd = cmd;
    a->cmd_len = cmd_len;
    a->rsp = rsp;
    a->rsp_cap = rsp_cap;
    a->probe_answered = a->probe_failed = false;
    dispatch(a);
    return IOTSAFE_OK;
}

size_t iotsafe_at_output(struct iotsafe_at *at, const char **ret) {
    struct at *a = at_of(at);
    size_t n = a->out_len;

    *ret = a->out;
    a->out_len = 0;
    return n;
}

int iotsafe_at_input(struct iotsafe_at *at, const void *chars, size_t n) {
    struct at *a = at_of(at);
    struct tb_span in = tb_span(chars, n);
    uint8_t c;

    while (tb_take_u8(&in, &c))
        input_char(a, (char)c);
    return a->state != IDLE;
}

int iotsafe_at_busy(const struct iotsafe_at *at) {
    return ((const struct at *)(const void *)at->opaque)->state != IDLE;
}

int iotsafe_at_result(const struct iotsafe_at *at) {
    return ((const struct at *)(const void *)at->opaque)->result;
}

int iotsafe_at_cme(const struct iotsafe_at *at) {
    return ((const struct at *)(const void *)at->opaque)->cme;
}

void iotsafe_at_timeout(struct iotsafe_at *at) {
    struct at *a = at_of(at);

    if (a->state == IDLE)
        return;
    a->gave_up = !a->initialised;
    a->synced = a->first = false;
    finish(a, IOTSAFE_E_TIMEOUT);
}

void iotsafe_at_reset(struct iotsafe_at *at) {
    struct at *a = at_of(at);
    bool busy = a->state != IDLE;
    uint8_t mode = a->mode;

    iotsafe_at_init(at, (enum iotsafe_at_mode)mode);
    if (busy)
        a->result = IOTSAFE_E_LINK;
}

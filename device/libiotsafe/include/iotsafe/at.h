#ifndef IOTSAFE_AT_H
#define IOTSAFE_AT_H
/* APDUs over a modem's AT commands: AT+CSIM, and AT+CCHO, +CGLA, +CCHC (3GPP TS 27.007 8.17, 8.43
 * to 8.45). In two layers, for whoever has the bytes elsewhere:
 *
 *   struct iotsafe_at              the codec. No I/O, no clock, no allocation: it says which
 * characters to send and is fed those that arrive. For event loops and fibers.
 *   iotsafe_transport_at()         a transport for iotsafe_open() over read and write functions of
 * yours, e.g. a firmware's UART driver.
 *
 * Tolerated from deployed modems: echo, unsolicited lines in between, hex unquoted or in lower
 * case, text of an earlier answer before this one, session identifiers of any form with or without
 * "+CCHO:", numeric or verbose +CME ERROR. A late answer to a command that timed out is never taken
 * for the next one's. */
#include <stddef.h>
#include <stdint.h>

#include "iotsafe/transport.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility push(default)
#endif

enum iotsafe_at_mode {
    IOTSAFE_AT_CSIM, /* AT+CSIM: raw APDUs, channels are the caller's matter */
    IOTSAFE_AT_CGLA  /* a session of AT+CCHO: IOTSAFE_TRANSPORT_OWNS_CHANNEL */
};

enum {
    IOTSAFE_AT_MAX_COMMAND = 261, /* bytes of a short command APDU */
    IOTSAFE_AT_MAX_LINE = 600     /* characters of the longest line sent */
};

struct iotsafe_at { /* caller's storage; contents are private */
    uint64_t opaque[112];
};

void iotsafe_at_init(struct iotsafe_at *at, enum iotsafe_at_mode mode);

/* Starts the exchange of one command APDU (at most IOTSAFE_AT_MAX_COMMAND bytes, borrowed until it
 * ends). The response will be put into rsp, borrowed until the exchange ends. The first exchange on
 * a link is preceded by ATE0 and AT+CMEE=1. In CGLA mode a SELECT by name opens a session (an older
 * one is closed first) and a MANAGE CHANNEL close ends it; other commands without a session are
 * answered 6881 at once. Returns 0 or IOTSAFE_E_ARGUMENT. */
int iotsafe_at_command(struct iotsafe_at *at, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                       size_t rsp_cap);

/* Characters to be sent now, in one write: their number, *ret borrowed until the next call. Each
 * line is handed out once; 0: wait for input. */
size_t iotsafe_at_output(struct iotsafe_at *at, const char **ret);

/* Takes characters from the modem. Returns 1 while the exchange goes on (ask iotsafe_at_output()
 * again), 0 when it is over or none is under way. May be called at any time: unsolicited lines are
 * skipped. */
int iotsafe_at_input(struct iotsafe_at *at, const void *chars, size_t n);

/* 1 while an exchange is under way. */
int iotsafe_at_busy(const struct iotsafe_at *at);

/* Result of the last exchange as iotsafe_transport_ops.transmit has it: bytes of the response, 0,
 * or IOTSAFE_E…. */
int iotsafe_at_result(const struct iotsafe_at *at);

/* Gives up the exchange under way, its result is IOTSAFE_E_TIMEOUT. The next command first finds
 * out which of the modem's answers belongs to what. */
void iotsafe_at_timeout(struct iotsafe_at *at);

/* The link is new (reconnected, modem restarted): sessions are gone, initialise again. An exchange
 * under way ends with IOTSAFE_E_LINK. */
void iotsafe_at_reset(struct iotsafe_at *at);

/* Number of the last +CME ERROR or +CMS ERROR, -1: a plain ERROR or none. */
int iotsafe_at_cme(const struct iotsafe_at *at);

/* Byte input and output of the caller, blocking. */
struct iotsafe_io {
    /* Sends all n bytes: 0 or IOTSAFE_E_LINK, _TIMEOUT. */
    int (*write)(void *user, const void *bytes, size_t n);
    /* Waits up to timeout_ms for at least one byte: number of bytes, 0 when none came in time, or
     * IOTSAFE_E_LINK. */
    int (*read)(void *user, void *buf, size_t cap, int timeout_ms);
    /* Establishes the link again after IOTSAFE_E_LINK: 0 or an error. NULL: the link cannot come
     * back. */
    int (*reopen)(void *user);
    /* Milliseconds of a clock that does not jump. NULL: timeouts then count from the last byte that
     * came. */
    uint64_t (*now_ms)(void *user);
    int (*lock)(void *user); /* as in iotsafe_transport_ops; NULL allowed, as are the following */
    void (*unlock)(void *user);
    void (*abandon)(void *user); /* NULL: same as close */
    void (*close)(void *user);
};

/* io and user are borrowed until close or abandon was called. timeout_ms 0: 30 s for one command.
 * IOTSAFE_E_NO_MEMORY when there is none; nothing else fails, nothing is sent before the first
 * command. */
int iotsafe_transport_at(enum iotsafe_at_mode mode, const struct iotsafe_io *io, void *user,
                         int timeout_ms, struct iotsafe_transport **ret);

#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif

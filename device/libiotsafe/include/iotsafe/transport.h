#ifndef IOTSAFE_TRANSPORT_H
#define IOTSAFE_TRANSPORT_H
/* How command APDUs reach the card. The library has AT+CSIM, AT+CGLA, PC/SC, vpcd and memory; for a
 * link of your own fill in the table below, or bring only the byte stream (iotsafe/at.h). */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility push(default)
#endif

struct iotsafe_transport;

/* What a transport announces in its flags; may change while it lives (PC/SC after a reconnect). */
enum {
    /* The link binds a logical channel itself, as AT+CCHO and AT+CGLA do: no MANAGE CHANNEL is
     * sent, the channel bits of the class byte are zero, and a SELECT by name (INS A4, P1 04) is
     * to be turned into opening a channel with that application, answered with 9000 or the reason.
     */
    IOTSAFE_TRANSPORT_OWNS_CHANNEL = 1,
    /* Others may speak between two of our commands and would garble them (several processes on one
     * serial port): lock() surrounds every operation, not only those of several commands. */
    IOTSAFE_TRANSPORT_SHARED = 2,
    /* A link at APDU level (T=1, vpcd): commands that carry data and expect some have Le = 00.
     * Without the flag they end after the data, as T=0 wants it. */
    IOTSAFE_TRANSPORT_LE = 4,
};

struct iotsafe_transport_ops {
    /* Sends one command and waits for its whole response (data and SW1 SW2). rsp_cap is at least
     * 258. Returns the number of response bytes (>= 2); 0 when the link confirmed the command
     * without passing the card's answer on (some modems say just OK); or IOTSAFE_E_LINK (gone;
     * the next command may bring it back), _RESET (it is back, the card was reset meanwhile and has
     * not got this command), _TIMEOUT, _ABSENT (no card), _BUSY, _REFUSED (the modem would not do
     * it), _TOO_SMALL, _FORMAT. */
    int (*transmit)(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                    size_t rsp_cap);

    /* Exclusive use for an operation. lock returns 0, 1 when the card was reset since the last use
     * (channels and selections are gone), or negative. NULL when there is nothing to do. */
    int (*lock)(struct iotsafe_transport *t);
    void (*unlock)(struct iotsafe_transport *t);

    /* Cold reset of the card if the link can, NULL otherwise. */
    int (*reset)(struct iotsafe_transport *t);

    /* Where the link really is, e.g. the port behind "vpcd-listen:127.0.0.1:0": text with NUL into
     * buf, returns 0 or IOTSAFE_E_TOO_SMALL. NULL: unknown. */
    int (*describe)(struct iotsafe_transport *t, char *buf, size_t cap);

    /* After a fork in the child: forget the link without telling the other side, t included. NULL:
     * same as close. */
    void (*abandon)(struct iotsafe_transport *t);

    /* Releases everything, t included. */
    void (*close)(struct iotsafe_transport *t);
};

struct iotsafe_transport { /* first member of every implementation */
    const struct iotsafe_transport_ops *ops;
    unsigned flags;
};

/* Opens a link from a text, as --transport and the provider's "transport" parameter have it:
 *   at:/dev/ttyUSB0[,speed=115200][,flow=hw]    AT+CSIM on a serial port or pty
 *   at:unix:/run/modem.sock  at:tcp:host:2000   AT+CSIM on a socket
 *   cgla:…                                      the same places, AT+CCHO, +CGLA, +CCHC
 *   pcsc:[reader name or part of it]            PC/SC (library loaded on demand)
 *   vpcd:host:35963   vpcd:unix:/path           dial a card that listens (vpcd reversed mode)
 *   vpcd-listen:host:35963  vpcd-listen:unix:…  take the vpcd reader role: a card dials in
 * Options after a comma: timeout=MS for one command (default 30000: key generation is slow), speed,
 * flow=hw|none. A link that breaks is dialled again by the next command.
 * On failure returns IOTSAFE_E… and puts a message for a person into err (NULL allowed). */
int iotsafe_transport_open(const char *spec, struct iotsafe_transport **ret, char *err,
                           size_t err_cap);
void iotsafe_transport_close(struct iotsafe_transport *t); /* NULL is a no-op */

/* See describe above; IOTSAFE_E_UNSUPPORTED when the transport cannot say. */
int iotsafe_transport_describe(struct iotsafe_transport *t, char *buf, size_t cap);

/* A card in this process: fn is called for each command, with the result that transmit has. user is
 * borrowed. */
typedef int iotsafe_mem_fn(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                           size_t rsp_cap);
int iotsafe_transport_mem(iotsafe_mem_fn *fn, void *user, struct iotsafe_transport **ret);

#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif

#ifndef IOTSAFE_TRANSPORT_H
#define IOTSAFE_TRANSPORT_H
/* How command APDUs reach the card. Implement this table for your own link; the library has PC/SC, AT+CSIM, AT+CGLA,
 * vpcd and memory. */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iotsafe_transport;

/* Flags a transport announces. */
enum {
    IOTSAFE_TRANSPORT_OWNS_CHANNEL = 1, /* the link binds a logical channel itself (AT+CGLA): no MANAGE CHANNEL, class 00 */
    IOTSAFE_TRANSPORT_SHARED = 2,       /* others may use the card between two APDUs */
};

struct iotsafe_transport_ops {
    unsigned flags;

    /* Sends one command and waits for its whole response (data and SW1 SW2). rsp_cap is at least 258. Returns the number
     * of response bytes (>= 2), or IOTSAFE_E…: LINK (gone; the session is lost), TIMEOUT, CARD_ABSENT, TOO_SMALL. */
    int (*transmit)(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t rsp_cap);

    /* OWNS_CHANNEL only: open a channel with this application selected (AT+CCHO), and close it. Others: NULL. */
    int (*open_application)(struct iotsafe_transport *t, const uint8_t *aid, size_t aid_len);
    void (*close_application)(struct iotsafe_transport *t);

    /* Exclusive use for a multi-command operation on a shared link, NULL when there is nothing to do. */
    int (*lock)(struct iotsafe_transport *t);
    void (*unlock)(struct iotsafe_transport *t);

    /* Cold reset of the card if the link can, NULL otherwise. */
    int (*reset)(struct iotsafe_transport *t);

    /* After a fork in the child: forget the link without telling the other side. NULL: same as close. */
    void (*abandon)(struct iotsafe_transport *t);

    /* Releases everything, t included. NULL t never occurs. */
    void (*close)(struct iotsafe_transport *t);
};

struct iotsafe_transport { /* first member of every implementation */
    const struct iotsafe_transport_ops *ops;
};

/* Opens a link from a text, as the provider's "transport" parameter and --transport have it:
 *   at:/dev/ttyUSB0[,speed=115200][,timeout=10000]     AT+CSIM on a serial port or pty
 *   at:unix:/run/modem.sock  at:tcp:127.0.0.1:2000      AT+CSIM on a socket
 *   cgla:…                                              the same places, AT+CCHO/+CGLA/+CCHC
 *   pcsc:[reader name or part of it]                    PC/SC (library loaded on demand)
 *   vpcd:127.0.0.1:35963   vpcd:unix:/path              dial a card that listens (vpcd reversed mode)
 *   vpcd-listen:127.0.0.1:35963                         take the vpcd reader role and wait for a card to dial in
 * On failure returns IOTSAFE_E… and puts a message for a person into err. */
int iotsafe_transport_open(const char *spec, struct iotsafe_transport **ret, char *err, size_t err_cap);
void iotsafe_transport_close(struct iotsafe_transport *t); /* NULL is a no-op */

/* A card in this process: fn is called for each command. user is borrowed. */
typedef int iotsafe_mem_fn(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t rsp_cap);
int iotsafe_transport_mem(iotsafe_mem_fn *fn, void *user, struct iotsafe_transport **ret);

#ifdef __cplusplus
}
#endif
#endif

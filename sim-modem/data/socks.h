#pragma once
/* SOCKS protocol version 5 on the wire, the server's side: RFC 1928 without authentication. No I/O;
 * what a client sends is hostile. */
#include <stdbool.h>
#include <stdint.h>

#include "tb/error.h"
#include "tb/span.h"

enum {
    SOCKS_VERSION = 5,
    SOCKS_REPLY_MAX = 4 + 16 + 2,        /* we answer with numbers only */
    SOCKS_REQUEST_MAX = 4 + 1 + 255 + 2, /* nothing a client sends before data is longer */
    SOCKS_UDP_HEADER_MAX = 4 + 1 + 255 + 2,
};

enum socks_command { SOCKS_CONNECT = 1, SOCKS_BIND = 2, SOCKS_UDP_ASSOCIATE = 3 };

enum socks_code { /* spec: RFC1928 6 */
                  SOCKS_OK = 0,
                  SOCKS_FAILURE = 1,
                  SOCKS_NOT_ALLOWED = 2,
                  SOCKS_NETWORK_UNREACHABLE = 3,
                  SOCKS_HOST_UNREACHABLE = 4,
                  SOCKS_REFUSED = 5,
                  SOCKS_TTL = 6,
                  SOCKS_NO_COMMAND = 7,
                  SOCKS_NO_ADDRESS_TYPE = 8,
};

enum socks_type { SOCKS_IPV4 = 1, SOCKS_NAME = 3, SOCKS_IPV6 = 4 };

struct socks_addr {
    enum socks_type type;
    uint8_t ip[16]; /* 4 or 16 bytes */
    char name[256]; /* SOCKS_NAME: printable ASCII without blanks, never empty */
    uint16_t port;
};

/* All of these take from the front of *in and return 1; 0 when more bytes are needed (nothing is
 * taken); negative when this cannot become a message, *in and the outputs then untouched. */

/* Greeting: TB_EPARSE when it is no SOCKS 5. *ret_none: the client can do without authentication.
 */
int socks_take_greeting(struct tb_span *in, bool *ret_none) TB_CHECKED;
/* Request: TB_EPARSE for another version, a reserved byte that is set, or a name that is none;
 * TB_EUNSUP for an address type that does not exist. The command is the caller's to judge. */
int socks_take_request(struct tb_span *in, uint8_t *ret_command,
                       struct socks_addr *ret_to) TB_CHECKED;

/* The header of a datagram from a client: 1 with *in its data, else TB_EPARSE, or TB_EUNSUP for a
 * fragment (RFC 1928, 7: who does not put them together drops them). */
int socks_take_datagram(struct tb_span *in, struct socks_addr *ret_to) TB_CHECKED;

/* The choice after a greeting: "no authentication", or "none of yours". */
void socks_put_choice(struct tb_buf *out, bool none);
/* Reply; bound NULL: 0.0.0.0:0. Never a name. */
void socks_put_reply(struct tb_buf *out, enum socks_code code, const struct socks_addr *bound);
/* Header of a datagram to a client. */
void socks_put_datagram(struct tb_buf *out, const struct socks_addr *from);

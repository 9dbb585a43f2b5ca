#pragma once
/* The way to the card for tasks: a transport of libiotsafe whose transmit() parks the running fiber
 * until the modem or the card has answered. Everything the library says of transports holds: a link
 * that broke is dialled again by the next command. Outside of a task every command fails with
 * IOTSAFE_E_LINK. */
#include <uv.h>

#include "iotsafe/transport.h"
#include "tb/error.h"

/* spec, of the forms in iotsafe/transport.h:
 *   at:/dev/pts/7[,speed=115200]  at:unix:/path  at:tcp:host:port  cgla:…  vpcd:host:port
 *   vpcd:unix:/path   each with ,timeout=MS for one command (default 30000)
 *   pcsc:[reader name or part of it]   in a thread of its own (blocking.h), with PC/SC's timeouts
 * Nothing is opened before the first command. TB_EPARSE with *e filled when spec is none of these.
 */
int dev_link_new(uv_loop_t *loop, const char *spec, struct iotsafe_transport **ret,
                 struct tb_error *e) TB_CHECKED;

/* Why the link last failed, for a person; "" when it did not. Borrowed until the next command. */
const char *dev_link_why(const struct iotsafe_transport *t);

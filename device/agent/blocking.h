#pragma once
/* A transport of libiotsafe that waits in the kernel (PC/SC), for tasks: a thread of its own does
 * its commands, the task that gave one is parked meanwhile, and nobody else notices. */
#include <stdbool.h>
#include <uv.h>

#include "iotsafe/transport.h"

/* spec as for iotsafe_transport_open(), which the thread calls at the first command, and again as
 * long as it fails. A command that its task did not wait for goes on until it ends; those that
 * follow wait for it. */
struct iotsafe_transport *dev_blocking_new(uv_loop_t *loop, const char *spec);

/* t is one of these. */
bool dev_is_blocking(const struct iotsafe_transport *t);
/* Why it could not be opened; "" when it could. */
const char *dev_blocking_why(const struct iotsafe_transport *t);

#pragma once
/* The card behind real PC/SC: a pcscd of our own with Debian's vpcd driver, in mounts and a network
 * of our own, so that the system's daemon is not touched and none is left. */
#include <stddef.h>

#include "tb/span.h"

/* Moves this process, and so its children, to private namespaces; call it before there are any.
 * Negative when pcscd, its driver, the client library or the permission is missing: *ret_why
 * (static text) says which, and everything but this link works as before. */
int bench_pcsc_enter(const char **ret_why);

/* Starts pcscd; ret_addr is where a card has to dial. */
int bench_pcsc_start(char *ret_addr, size_t cap);
/* Waits for the card and connects to it. */
int bench_pcsc_connect(void);
int bench_pcsc_exchange(void *arg, struct tb_span cmd, struct tb_buf *rsp); /* arg is not used */
void bench_pcsc_close(void);

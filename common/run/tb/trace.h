#pragma once
/* APDU captures: GSMTAP (type SIM) in UDP/IPv4 packets in a pcapng file that Wireshark and tshark
 * decode, with the originator as packet comment. Appending to an existing capture is possible. */
#include <stdbool.h>

#include "tb/error.h"
#include "tb/span.h"

struct tb_trace;

int tb_trace_open(const char *path, const char *program, struct tb_trace **ret,
                  struct tb_error *e) TB_CHECKED;
/* One exchange: command and response become one GSMTAP SIM packet each the way Wireshark expects it
 * (command followed by response in one payload). comment: NULL or a short text. Flushed at once. */
void tb_trace_apdu(struct tb_trace *t, struct tb_span cmd, struct tb_span rsp, const char *comment);
void tb_trace_close(struct tb_trace *t); /* NULL is a no-op */

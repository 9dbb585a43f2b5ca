#pragma once
/* The serial line between a TE and the modem, and the modem's own time per command, as a profile
 * has them. Characters are always counted; with profile "off" they pass through at once. */
#include <stdbool.h>
#include <uv.h>

#include "tb/latency.h"
#include "tb/span.h"

struct uart { /* what all lines of a modem share */
    enum tb_uart_profile profile;
    uint64_t random;              /* state of the seeded jitter */
    uint64_t chars_in, chars_out; /* echo not counted: it runs beside the command */
    uint64_t waited_us;
};

struct uart_ops {
    size_t (*input)(struct tb_span bytes, void *user); /* to the modem; returns what it took */
    bool (*echoes)(void *user);                        /* it answers each character with itself */
    int (*output)(struct tb_span bytes, void *user);   /* to the TE, as tb_conn_write() */
    void (*offer)(void *user);   /* bytes that uart_input() left have their turn now */
    void (*flushed)(void *user); /* nothing is on its way to the TE any more, and there is room */
};

struct uart_line;

struct uart_line *uart_line_new(uv_loop_t *loop, struct uart *u, const struct uart_ops *ops,
                                void *user); /* aborts when out of memory */
void uart_line_close(struct uart_line *l);   /* frees itself; NULL is a no-op */

/* From the TE: how many were taken. Keep the rest, stop reading, and offer it again in ops->offer,
 * or when the modem takes more. */
size_t uart_input(struct uart_line *l, struct tb_span bytes);
/* To the TE; all are taken. 1 while there is room, 0 when the sender should wait for flushed(). */
int uart_output(struct uart_line *l, struct tb_span bytes);
bool uart_pending(const struct uart_line *l); /* something is on its way to the TE */
/* What ops->output writes to has room again. */
void uart_drained(struct uart_line *l);
/* The TE has left: what is on the line is gone. */
void uart_forget(struct uart_line *l);

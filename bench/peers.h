#pragma once
/* The bare other sides that the real programs are compared to. Each runs in a child made by
 * bench_peer(). */

/* A card that answers every command with the same bytes, over vpcd; dials the reader at arg
 * ("host:port"). */
void bench_echo_card_dial(int fd, void *arg);
/* The same, listening (vpcd's reversed mode). */
void bench_echo_card_listen(int fd, void *arg);
/* The least a libuv modem can do: a line with hex in, a frame to the card, the answer as hex out.
 * Tells "VPCD AT" (addresses) on fd. arg: "unix" or "pty". */
void bench_bare_modem(int fd, void *arg);

enum { BENCH_ECHO_BYTES = 68 }; /* data of the echo card's answer, without status word */

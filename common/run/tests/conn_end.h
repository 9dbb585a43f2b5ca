#pragma once
/* One connection under test, and the raw other end of it, for the tests of tb/conn.h. */
#include "tb/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "helper.h"

enum action { DO_NOTHING, DO_CLOSE, DO_PAUSE, DO_RESUME, DO_FINISH };

/* One connection under test; peer is the raw other end, blocking. */
struct end {
    uv_loop_t loop;
    struct tb_conn *conn;
    int peer;
    char *got;
    size_t n_got;
    size_t take; /* on_data consumes at most this much */
    int news, drained, closed, why, offers;
    enum action in_data, in_drain;
};

enum { GOT_MAX = 4 << 20 };

extern const struct tb_conn_ops end_ops; /* user: struct end */

/* Fixtures over a Unix socket pair and over TCP. end() closes what is still open and frees. */
int begin_unix(void **state);
int begin_tcp(void **state);
int end(void **state);

/* Run the loop until *counter is not 0 any more, or n bytes have arrived; or three turns of it. */
void until(struct end *e, const int *counter);
void until_got(struct end *e, size_t n);
void turn(struct end *e);

/* The peer sends text. */
void say(struct end *e, const char *text);

/* n bytes of a pattern, to be freed; the byte at i; and reading them at the peer, while the loop
 * runs, until there are n or the end came. Returns the number read. */
uint8_t *much(size_t n);
uint8_t pattern(size_t i);
size_t drain(struct end *e, size_t n);

#define UNIX_TEST(f) cmocka_unit_test_setup_teardown(f, begin_unix, end)
#define TCP_TEST(f)  cmocka_unit_test_setup_teardown(f, begin_tcp, end)
#define BOTH(f)      UNIX_TEST(f), TCP_TEST(f)

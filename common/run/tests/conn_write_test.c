#include "conn_end.h"

/* Writes until the queue passes the high mark; returns how much. */
static size_t fill(struct end *e, const uint8_t *bytes, size_t limit) {
    size_t n = 0;
    int r = 1;

    while (r == 1 && n < limit) {
        const struct tb_span pieces[] = {tb_span(bytes + n, 100), tb_span(bytes + n + 100, 2900)};

        r = tb_conn_write(e->conn, pieces, 2);
        n += 3000;
    }
    assert_int_equal(r, 0);
    assert_true(tb_conn_queued(e->conn) > 0);
    return n;
}

static void slow_reader_is_waited_for(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);
    size_t n = fill(e, bytes, 6 << 20);

    turn(e);
    assert_int_equal(e->drained, 0);
    assert_int_equal(drain(e, n), n);
    until(e, &e->drained);
    assert_int_equal(e->drained, 1);
    assert_int_equal(tb_conn_queued(e->conn), 0);
    assert_int_equal(tb_conn_write(e->conn, NULL, 0), 1);
    free(bytes);
}

static void close_in_on_drain(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);
    size_t n = fill(e, bytes, 6 << 20);

    e->in_drain = DO_CLOSE;
    drain(e, n);
    until(e, &e->closed);
    assert_int_equal(e->why, 42);
    free(bytes);
}

static void close_throws_the_queue_away(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);

    fill(e, bytes, 6 << 20);
    tb_conn_close(e->conn, 0);
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
    free(bytes);
}

static void overfull_queue_closes(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(1 << 20);
    const struct tb_span block = tb_span(bytes, 1 << 18);
    int r = 0;

    for (int i = 0; i < 64 && r >= 0; i++)
        r = tb_conn_write(e->conn, &block, 1);
    assert_int_equal(r, UV_ENOBUFS);
    until(e, &e->closed);
    assert_int_equal(e->why, UV_ENOBUFS);
    free(bytes);
}

static void finish_delivers_the_queue(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);
    const struct tb_span x = tb_span_str("x");
    size_t n = fill(e, bytes, 6 << 20);

    tb_conn_finish(e->conn);
    tb_conn_finish(e->conn);
    assert_int_equal(tb_conn_write(e->conn, &x, 1), TB_ECLOSED);
    assert_int_equal(drain(e, n + 1), n); /* all, then the end */
    close(e->peer);
    e->peer = -1;
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
    free(bytes);
}

static void finish_delivers_although_the_peer_goes_on_talking(void **state) {
    struct end *e = *state;
    const struct tb_span answer = tb_span_str("go away");
    uint8_t *bytes = much(1 << 20);
    char got[16] = "";

    tb_conn_pause(e->conn); /* unread input: a plain close would reset the connection */
    send(e->peer, bytes, 100000, MSG_DONTWAIT | MSG_NOSIGNAL);
    assert_int_equal(tb_conn_write(e->conn, &answer, 1), 1);
    tb_conn_finish(e->conn);
    turn(e);
    assert_true(send(e->peer, bytes, 100000, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
    turn(e);
    assert_int_equal(recv(e->peer, got, sizeof got, 0), 7);
    assert_string_equal(got, "go away");
    assert_int_equal(recv(e->peer, got, sizeof got, 0), 0);
    close(e->peer);
    e->peer = -1;
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
    assert_int_equal(e->offers, 0);
    free(bytes);
}

static void finish_does_not_wait_for_ever(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);
    uint64_t start = tb_clock_mono_ms();

    fill(e, bytes, 6 << 20);
    tb_conn_finish(e->conn); /* nobody reads */
    until(e, &e->closed);
    assert_true(tb_clock_mono_ms() - start >= tb_timeout_ms(1000) - 10);
    free(bytes);
}

static void close_ends_a_finish(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);

    fill(e, bytes, 6 << 20);
    tb_conn_finish(e->conn);
    tb_conn_close(e->conn, 9);
    until(e, &e->closed);
    assert_int_equal(e->why, 9);
    free(bytes);
}

static void half_closed_peer_gets_the_queue(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);
    size_t n = fill(e, bytes, 6 << 20);

    shutdown(e->peer, SHUT_WR);
    assert_int_equal(drain(e, n + 1), n);
    until(e, &e->closed);
    assert_int_equal(e->why, TB_ECLOSED);
    free(bytes);
}

static int ended;

static bool on_end(struct tb_conn *c, void *user) {
    struct end *e = user;

    (void)c;
    ended = e->news = 1;
    return true;
}

/* The owner that asks to hear of the end may still answer, and decides when that is over. */
static void half_closed_peer_gets_what_its_owner_still_says(void **state) {
    const struct tb_conn_ops answering = {.on_data = end_ops.on_data,
                                          .on_drain = end_ops.on_drain,
                                          .on_end = on_end,
                                          .on_closed = end_ops.on_closed};
    const struct tb_span answer = tb_span_str("answer");
    struct end *e = *state;
    char got[16];

    ended = 0;
    tb_conn_set_ops(e->conn, &answering, e);
    shutdown(e->peer, SHUT_WR);
    until(e, &ended);
    assert_false(e->closed);
    assert_int_equal(tb_conn_write(e->conn, &answer, 1), 1);
    tb_conn_finish(e->conn);
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
    assert_int_equal(recv(e->peer, got, sizeof got, MSG_DONTWAIT), answer.n);
    assert_memory_equal(got, answer.p, answer.n);
    assert_int_equal(recv(e->peer, got, sizeof got, MSG_DONTWAIT), 0);
}

static void writing_to_a_vanished_peer_closes_once(void **state) {
    struct end *e = *state;
    const struct tb_span x = tb_span_str("x");
    int r = 0;

    signal(SIGPIPE, SIG_IGN); /* as tb_loop_new() does */
    close(e->peer);
    e->peer = -1;
    for (int i = 0; i < 10 && r >= 0; i++)
        r = tb_conn_write(e->conn, &x, 1);
    assert_true(r < 0);
    until(e, &e->closed);
    assert_true(e->why == UV_EPIPE || e->why == UV_ECONNRESET);
}

static void vanished_peer_with_a_queue(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);

    fill(e, bytes, 6 << 20);
    close(e->peer);
    e->peer = -1;
    until(e, &e->closed);
    assert_int_not_equal(e->why, 0);
    free(bytes);
}

static void what_the_peer_said_last_is_read_after_a_write_that_failed(void **state) {
    const struct tb_span hello = tb_span_str("hello");
    struct end *e = *state;

    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(write(e->peer, "go away", 7), 7);
    close(e->peer);
    e->peer = -1;
    assert_int_equal(tb_conn_write(e->conn, &hello, 1), UV_EPIPE);
    assert_int_equal(tb_conn_write(e->conn, &hello, 1), UV_EPIPE);
    until(e, &e->closed);
    assert_int_equal(e->n_got, 7);
    assert_memory_equal(e->got, "go away", 7);
    assert_int_equal(e->why, UV_EPIPE);
}

static void a_write_that_failed_on_a_paused_connection_closes_it(void **state) {
    const struct tb_span hello = tb_span_str("hello");
    struct end *e = *state;

    signal(SIGPIPE, SIG_IGN);
    tb_conn_pause(e->conn);
    close(e->peer);
    e->peer = -1;
    assert_int_equal(tb_conn_write(e->conn, &hello, 1), UV_EPIPE);
    until(e, &e->closed);
    assert_int_equal(e->why, UV_EPIPE);
}

/* Half a close: the peer hears the end behind the last byte, and can still speak. */
static void end_leaves_the_other_half(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(6 << 20);
    const struct tb_span x = tb_span_str("x");
    size_t n = fill(e, bytes, 6 << 20);

    tb_conn_end(e->conn);
    tb_conn_end(e->conn);
    assert_int_equal(tb_conn_write(e->conn, &x, 1), TB_ECLOSED);
    assert_int_equal(drain(e, n + 1), n); /* all, then the end */
    say(e, "still here");
    until_got(e, 10);
    assert_int_equal(e->closed, 0);
    free(bytes);
}

static void end_at_once_and_then_close(void **state) {
    struct end *e = *state;

    tb_conn_end(e->conn);
    assert_int_equal(drain(e, 1), 0);
    say(e, "a");
    until_got(e, 1);
    tb_conn_close(e->conn, 42);
    until(e, &e->closed);
    assert_int_equal(e->why, 42);
}

/* With the peer's half said before or after ours, and much or nothing in the queue. */
static void two_halves_are_a_close(void **state) {
    struct end *e = *state;
    const struct tb_conn_ops ops = {.on_data = end_ops.on_data,
                                    .on_drain = end_ops.on_drain,
                                    .on_end = on_end,
                                    .on_closed = end_ops.on_closed};
    uint8_t *bytes = much(6 << 20);
    size_t n = fill(e, bytes, 6 << 20);

    tb_conn_set_ops(e->conn, &ops, e);
    tb_conn_end(e->conn);
    shutdown(e->peer, SHUT_WR);
    turn(e);
    assert_int_equal(drain(e, n + 1), n);
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
    free(bytes);
}

static void end_and_then_finish(void **state) {
    struct end *e = *state;

    tb_conn_end(e->conn);
    tb_conn_finish(e->conn);
    assert_int_equal(drain(e, 1), 0);
    close(e->peer);
    e->peer = -1;
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(slow_reader_is_waited_for),
        BOTH(close_in_on_drain),
        UNIX_TEST(close_throws_the_queue_away),
        BOTH(overfull_queue_closes),
        BOTH(finish_delivers_the_queue),
        BOTH(finish_delivers_although_the_peer_goes_on_talking),
        UNIX_TEST(finish_does_not_wait_for_ever),
        UNIX_TEST(close_ends_a_finish),
        BOTH(half_closed_peer_gets_the_queue),
        BOTH(half_closed_peer_gets_what_its_owner_still_says),
        BOTH(writing_to_a_vanished_peer_closes_once),
        BOTH(vanished_peer_with_a_queue),
        UNIX_TEST(what_the_peer_said_last_is_read_after_a_write_that_failed),
        UNIX_TEST(a_write_that_failed_on_a_paused_connection_closes_it),
        BOTH(end_leaves_the_other_half),
        BOTH(end_at_once_and_then_close),
        BOTH(end_and_then_finish),
        BOTH(two_halves_are_a_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

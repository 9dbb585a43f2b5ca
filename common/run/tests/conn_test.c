#include "conn_end.h"

static void pieces_arrive_as_one(void **state) {
    struct end *e = *state;
    const struct tb_span pieces[] = {tb_span_str("a"), TB_SPAN_NONE, tb_span_str("bc"),
                                     tb_span_str("def")};
    char got[16];

    assert_int_equal(tb_conn_write(e->conn, pieces, 4), 1);
    assert_int_equal(tb_conn_queued(e->conn), 0); /* with the kernel before we returned */
    assert_int_equal(recv(e->peer, got, sizeof got, MSG_DONTWAIT), 6);
    assert_memory_equal(got, "abcdef", 6);
    assert_int_equal(tb_conn_write(e->conn, NULL, 0), 1);
}

static void nagle_is_off(void **state) {
    struct end *e = *state;
    int on = 0;
    socklen_t n = sizeof on;

    assert_int_equal(getsockopt(tb_conn_fd(e->conn), IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
    assert_int_equal(on, 1);
}

static void what_is_not_consumed_is_offered_again(void **state) {
    struct end *e = *state;

    e->take = 2;
    say(e, "abcde");
    until_got(e, 2);
    turn(e);
    assert_int_equal(e->offers, 1); /* only with new bytes */
    e->take = 4;
    say(e, "f");
    until_got(e, 6);
    assert_memory_equal(e->got, "abcdef", 6);
}

static void nothing_consumed_is_fine_up_to_the_limit(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(TB_CONN_IN_MAX);

    e->take = 0;
    for (size_t at = 0; at < TB_CONN_IN_MAX - 1024; at += 1024) {
        assert_int_equal(send(e->peer, bytes + at, 1024, MSG_NOSIGNAL), 1024);
        turn(e);
    }
    assert_int_equal(e->closed, 0);
    e->take = SIZE_MAX;
    assert_int_equal(send(e->peer, bytes + TB_CONN_IN_MAX - 1024, 1, MSG_NOSIGNAL), 1);
    until_got(e, TB_CONN_IN_MAX - 1023);
    assert_memory_equal(e->got, bytes, e->n_got);
    free(bytes);
}

static void keeping_the_maximum_closes(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(TB_CONN_IN_MAX);

    e->take = 0;
    for (size_t at = 0; at < TB_CONN_IN_MAX; at += 1024) {
        assert_int_equal(send(e->peer, bytes + at, 1024, MSG_NOSIGNAL), 1024);
        turn(e);
    }
    until(e, &e->closed);
    assert_int_equal(e->why, TB_ERANGE);
    free(bytes);
}

static void much_input_passes_unchanged(void **state) {
    struct end *e = *state;
    const size_t n = 3 << 20;
    uint8_t *bytes = much(n);

    fcntl(e->peer, F_SETFL, O_NONBLOCK);
    for (size_t at = 0; at < n;) {
        ssize_t w = send(e->peer, bytes + at, n - at, MSG_NOSIGNAL);

        e->take = at % 7000 + 1; /* keeps something most of the time */
        if (w > 0)
            at += (size_t)w;
        uv_run(&e->loop, UV_RUN_NOWAIT);
        if (e->n_got < at)
            tb_conn_resume(e->conn);
    }
    e->take = SIZE_MAX;
    tb_conn_resume(e->conn);
    until_got(e, n);
    assert_memory_equal(e->got, bytes, n);
    free(bytes);
}

static void end_of_stream_closes(void **state) {
    struct end *e = *state;

    say(e, "last");
    shutdown(e->peer, SHUT_WR);
    until(e, &e->closed);
    assert_int_equal(e->why, TB_ECLOSED);
    assert_int_equal(e->n_got, 4);
}

static void reset_closes_with_its_reason(void **state) {
    struct end *e = *state;
    const struct linger l = {1, 0};

    setsockopt(e->peer, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(e->peer);
    e->peer = -1;
    until(e, &e->closed);
    assert_int_equal(e->why, UV_ECONNRESET);
}

static void close_is_idempotent_and_asynchronous(void **state) {
    struct end *e = *state;
    const struct tb_span x = tb_span_str("x");

    tb_conn_close(e->conn, 5);
    tb_conn_close(e->conn, 6);
    assert_int_equal(e->closed, 0);
    assert_int_equal(tb_conn_write(e->conn, &x, 1), TB_ECLOSED);
    tb_conn_pause(e->conn);
    tb_conn_resume(e->conn);
    tb_conn_finish(e->conn);
    until(e, &e->closed);
    assert_int_equal(e->why, 5);
}

static void close_in_on_data(void **state) {
    struct end *e = *state;

    e->in_data = DO_CLOSE;
    e->take = 1; /* kept bytes must not be offered again */
    say(e, "abc");
    until(e, &e->closed);
    assert_int_equal(e->why, 42);
    assert_int_equal(e->offers, 1);
}

static void finish_in_on_data(void **state) {
    struct end *e = *state;

    e->in_data = DO_FINISH;
    say(e, "abc");
    until_got(e, 3);
    say(e, "more");
    close(e->peer);
    e->peer = -1;
    until(e, &e->closed);
    assert_int_equal(e->why, 0);
    assert_int_equal(e->offers, 1);
}

static void pause_in_on_data_keeps_bytes_for_resume(void **state) {
    struct end *e = *state;

    e->in_data = DO_PAUSE;
    e->take = 1;
    say(e, "abc");
    until_got(e, 1);
    say(e, "def");
    turn(e);
    assert_int_equal(e->offers, 1);
    e->in_data = DO_NOTHING;
    e->take = SIZE_MAX;
    tb_conn_resume(e->conn); /* offers before it returns */
    assert_int_equal(e->n_got, 3);
    until_got(e, 6);
    assert_memory_equal(e->got, "abcdef", 6);
}

static void resume_in_on_data_offers_the_rest_after_it(void **state) {
    struct end *e = *state;

    e->in_data = DO_RESUME;
    e->take = 1;
    say(e, "abc");
    until_got(e, 3);
    assert_int_equal(e->offers, 3);
}

static void close_in_resumed_on_data(void **state) {
    struct end *e = *state;

    e->take = 1;
    say(e, "abc");
    until_got(e, 1);
    e->in_data = DO_CLOSE;
    tb_conn_resume(e->conn);
    assert_int_equal(e->closed, 0);
    until(e, &e->closed);
}

static void paused_connection_may_keep_the_maximum(void **state) {
    struct end *e = *state;
    uint8_t *bytes = much(1 << 20);

    tb_conn_pause(e->conn);
    fcntl(e->peer, F_SETFL, O_NONBLOCK);
    while (send(e->peer, bytes, 1 << 20, MSG_NOSIGNAL) > 0)
        turn(e); /* ends: the kernel's buffers fill up, ours do not */
    assert_int_equal(e->offers, 0);
    assert_int_equal(e->closed, 0);
    free(bytes);
}

static size_t other_on_data(struct tb_conn *c, struct tb_span data, void *user) {
    int *n = user;

    (void)c;
    *n += (int)data.n;
    return data.n;
}

static void other_on_closed(int why, void *user) {
    int *n = user;

    (void)why;
    *n += 1000;
}

static void new_owner_gets_the_rest(void **state) {
    static const struct tb_conn_ops other = {
        .on_data = other_on_data, .on_drain = NULL, .on_closed = other_on_closed};
    struct end *e = *state;
    int n = 0;

    e->take = 1;
    say(e, "abc");
    until_got(e, 1);
    tb_conn_set_ops(e->conn, &other, &n);
    tb_conn_resume(e->conn);
    assert_int_equal(n, 2);
    tb_conn_close(e->conn, 0);
    turn(e);
    assert_int_equal(n, 1002);
    e->closed = 1; /* for end() */
}

static void regular_file_is_no_connection(void **state) {
    struct end *e = *state;
    struct tb_conn *c = NULL;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_int_equal(tb_conn_open_fd(&e->loop, fd, &end_ops, e, &c), UV_EINVAL);
    assert_null(c);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* given is given */
    assert_int_equal(tb_conn_open_fd(&e->loop, -1, &end_ops, e, &c), UV_EINVAL);
}

static void pipe_ends_are_connections(void **state) {
    static const struct tb_conn_ops other = {
        .on_data = other_on_data, .on_drain = NULL, .on_closed = other_on_closed};
    struct end *e = *state;
    const struct tb_span x = tb_span_str("xyz");
    struct tb_conn *in, *out;
    int fds[2], n = 0, m = 0;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(tb_conn_open_fd(&e->loop, fds[0], &other, &n, &in), 0);
    assert_int_equal(tb_conn_open_fd(&e->loop, fds[1], &other, &m, &out), 0);
    assert_int_equal(tb_conn_write(out, &x, 1), 1);
    run_until(&e->loop, &n);
    assert_int_equal(n, 3);
    tb_conn_finish(out);
    run_until(&e->loop, &m);
    while (n < 1003)
        uv_run(&e->loop, UV_RUN_ONCE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(pieces_arrive_as_one),
        TCP_TEST(nagle_is_off),
        BOTH(what_is_not_consumed_is_offered_again),
        UNIX_TEST(nothing_consumed_is_fine_up_to_the_limit),
        UNIX_TEST(keeping_the_maximum_closes),
        BOTH(much_input_passes_unchanged),
        BOTH(end_of_stream_closes),
        TCP_TEST(reset_closes_with_its_reason),
        BOTH(close_is_idempotent_and_asynchronous),
        UNIX_TEST(close_in_on_data),
        BOTH(finish_in_on_data),
        UNIX_TEST(pause_in_on_data_keeps_bytes_for_resume),
        UNIX_TEST(resume_in_on_data_offers_the_rest_after_it),
        UNIX_TEST(close_in_resumed_on_data),
        BOTH(paused_connection_may_keep_the_maximum),
        UNIX_TEST(new_owner_gets_the_rest),
        UNIX_TEST(regular_file_is_no_connection),
        UNIX_TEST(pipe_ends_are_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

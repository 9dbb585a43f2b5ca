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

static void act(struct end *e, enum action what) {
    if (what == DO_CLOSE)
        tb_conn_close(e->conn, 42);
    else if (what == DO_PAUSE)
        tb_conn_pause(e->conn);
    else if (what == DO_RESUME)
        tb_conn_resume(e->conn);
    else if (what == DO_FINISH)
        tb_conn_finish(e->conn);
}

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct end *e = user;
    size_t n = data.n < e->take ? data.n : e->take;

    assert_ptr_equal(c, e->conn);
    assert_int_equal(e->closed, 0);
    assert_true(e->n_got + n <= GOT_MAX);
    memcpy(e->got + e->n_got, data.p, n);
    e->n_got += n;
    e->offers++;
    e->news = 1;
    act(e, e->in_data);
    return n;
}

static void on_drain(struct tb_conn *c, void *user) {
    struct end *e = user;

    assert_ptr_equal(c, e->conn);
    e->drained++;
    e->news = 1;
    act(e, e->in_drain);
}

static void on_closed(int why, void *user) {
    struct end *e = user;

    e->closed++;
    e->why = why;
    e->news = 1;
}

static const struct tb_conn_ops ops = {
    .on_data = on_data, .on_drain = on_drain, .on_closed = on_closed};

static void tcp_pair(int fds[2]) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(l, (struct sockaddr *)&sa, n), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &n), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&sa, n), 0);
    fds[1] = accept(l, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(l);
}

static void begin(void **state, bool tcp) {
    struct end *e = calloc(1, sizeof *e);
    int fds[2];

    e->got = malloc(GOT_MAX);
    e->take = SIZE_MAX;
    uv_loop_init(&e->loop);
    if (tcp)
        tcp_pair(fds);
    else
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    e->peer = fds[1];
    assert_int_equal(tb_conn_open_fd(&e->loop, fds[0], &ops, e, &e->conn), 0);
    *state = e;
}

static int begin_unix(void **state) {
    begin(state, false);
    return 0;
}

static int begin_tcp(void **state) {
    begin(state, true);
    return 0;
}

static int end(void **state) {
    struct end *e = *state;

    if (!e->closed)
        tb_conn_close(e->conn, 0);
    end_loop(&e->loop);
    assert_int_equal(e->closed, 1);
    if (e->peer >= 0)
        close(e->peer);
    free(e->got);
    free(e);
    return 0;
}

static void until(struct end *e, const int *counter) {
    while (!*counter) {
        e->news = 0;
        run_until(&e->loop, &e->news);
    }
}

static void until_got(struct end *e, size_t n) {
    while (e->n_got < n && !e->closed) {
        e->news = 0;
        run_until(&e->loop, &e->news);
    }
    assert_int_equal(e->n_got, n);
}

static void say(struct end *e, const char *text) {
    assert_int_equal(send(e->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Bytes in the kernel's buffers come at once on loopback. */
static void turn(struct end *e) {
    for (int i = 0; i < 3; i++)
        uv_run(&e->loop, UV_RUN_NOWAIT);
}

static uint8_t pattern(size_t i) {
    return (uint8_t)(i * 31 + i / 257);
}

static uint8_t *much(size_t n) {
    uint8_t *p = malloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = pattern(i);
    return p;
}

/* Reads what comes until n bytes or the end, running the loop meanwhile; returns the number read.
 */
static size_t drain(struct end *e, size_t n) {
    uint64_t limit = tb_clock_mono_ms() + tb_timeout_ms(20000);
    static uint8_t buf[65536];
    size_t have = 0;

    while (have < n) {
        ssize_t r = recv(e->peer, buf, sizeof buf, MSG_DONTWAIT);

        if (r == 0)
            break;
        if (r < 0) {
            assert_int_equal(errno, EAGAIN);
            assert_true(tb_clock_mono_ms() < limit);
            uv_run(&e->loop, UV_RUN_NOWAIT);
        }
        for (ssize_t i = 0; i < r; i++)
            assert_int_equal(buf[i], pattern(have + (size_t)i));
        have += r > 0 ? (size_t)r : 0;
    }
    return have;
}

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
    static const struct tb_conn_ops answering = {
        .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_closed = on_closed};
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

    assert_int_equal(tb_conn_open_fd(&e->loop, fd, &ops, e, &c), UV_EINVAL);
    assert_null(c);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* given is given */
    assert_int_equal(tb_conn_open_fd(&e->loop, -1, &ops, e, &c), UV_EINVAL);
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

#define UNIX_TEST(f) cmocka_unit_test_setup_teardown(f, begin_unix, end)
#define TCP_TEST(f)  cmocka_unit_test_setup_teardown(f, begin_tcp, end)
#define BOTH(f)      UNIX_TEST(f), TCP_TEST(f)

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
        UNIX_TEST(new_owner_gets_the_rest),
        UNIX_TEST(regular_file_is_no_connection),
        UNIX_TEST(pipe_ends_are_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

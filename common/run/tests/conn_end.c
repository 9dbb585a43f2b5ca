#include "conn_end.h"

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

const struct tb_conn_ops end_ops = {
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
    assert_int_equal(tb_conn_open_fd(&e->loop, fds[0], &end_ops, e, &e->conn), 0);
    *state = e;
}

int begin_unix(void **state) {
    begin(state, false);
    return 0;
}

int begin_tcp(void **state) {
    begin(state, true);
    return 0;
}

int end(void **state) {
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

void until(struct end *e, const int *counter) {
    while (!*counter) {
        e->news = 0;
        run_until(&e->loop, &e->news);
    }
}

void until_got(struct end *e, size_t n) {
    while (e->n_got < n && !e->closed) {
        e->news = 0;
        run_until(&e->loop, &e->news);
    }
    assert_int_equal(e->n_got, n);
}

void say(struct end *e, const char *text) {
    assert_int_equal(send(e->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Bytes in the kernel's buffers come at once on loopback. */
void turn(struct end *e) {
    for (int i = 0; i < 3; i++)
        uv_run(&e->loop, UV_RUN_NOWAIT);
}

uint8_t pattern(size_t i) {
    return (uint8_t)(i * 31 + i / 257);
}

uint8_t *much(size_t n) {
    uint8_t *p = malloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = pattern(i);
    return p;
}

size_t drain(struct end *e, size_t n) {
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

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "helper.h"
#include "tb/conn.h"

struct side {
    struct tb_conn *conn;
    int bytes, closed, why;
};

struct bed {
    uv_loop_t loop;
    struct tb_listener *listener;
    struct side server, client;
    struct tb_connect *attempt;
    int accepted, connected, status;
    bool accept;        /* accept what comes */
    bool close_at_once; /* in the callback that brings the connection */
};

static size_t on_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct side *s = user;

    (void)c;
    s->bytes += (int)data.n;
    return data.n;
}

static void on_closed(int why, void *user) {
    struct side *s = user;

    s->closed++;
    s->why = why;
    s->conn = NULL;
}

static const struct tb_conn_ops ops = {.on_data = on_data, .on_closed = on_closed};

static void on_accept(struct tb_listener *l, void *user) {
    struct bed *b = user;

    b->accepted++;
    if (b->accept)
        assert_int_equal(tb_listener_accept(l, &ops, &b->server, &b->server.conn), 0);
    if (b->accept && b->close_at_once)
        tb_conn_close(b->server.conn, 0);
}

/* The user of a connection and of its attempt are one: the client's side, first member of a pair
 * here. */
static void on_connected(int status, struct tb_conn *c, void *user) {
    struct side *s = user;
    struct bed *b = (struct bed *)(void *)((char *)s - offsetof(struct bed, client));

    b->connected++;
    b->status = status;
    b->attempt = NULL;
    s->conn = c;
    assert_true((status == 0) == (c != NULL));
    if (c && b->close_at_once)
        tb_conn_close(c, 0);
}

static int begin(void **state) {
    struct bed *b = calloc(1, sizeof *b);

    if (make_dir(state) < 0)
        return -1;
    uv_loop_init(&b->loop);
    b->accept = true;
    *state = b;
    return 0;
}

static int end(void **state) {
    struct bed *b = *state;

    if (b->listener)
        tb_listener_close(b->listener);
    if (b->server.conn)
        tb_conn_close(b->server.conn, 0);
    if (b->client.conn)
        tb_conn_close(b->client.conn, 0);
    end_loop(&b->loop);
    free(b);
    return remove_dir(state);
}

static struct tb_addr addr(const char *text) {
    struct tb_addr a;

    assert_int_equal(tb_addr_parse(text, &a, NULL), 0);
    return a;
}

static void listen_at(struct bed *b, const char *text) {
    struct tb_addr a = addr(text);

    assert_int_equal(tb_listener_open(&b->loop, &a, on_accept, b, &b->listener), 0);
}

static void dial(struct bed *b) {
    assert_int_equal(tb_conn_connect(&b->loop, tb_listener_addr(b->listener), &ops, &b->client,
                                     on_connected, &b->attempt),
                     0);
    assert_int_equal(b->connected, 0); /* from the loop only */
    run_until(&b->loop, &b->connected);
}

static void connects_over_every_kind_of_address(void **state) {
    const char *const texts[] = {":0", "[::1]:0", "localhost:0", in_dir("s")};
    struct bed *b = *state;
    const struct tb_span hello = tb_span_str("hello");

    for (size_t i = 0; i < 4; i++) {
        listen_at(b, texts[i]);
        dial(b);
        run_until(&b->loop, &b->accepted);
        assert_int_equal(b->status, 0);
        assert_int_equal(tb_conn_write(b->client.conn, &hello, 1), 1);
        run_until(&b->loop, &b->server.bytes);
        assert_int_equal(tb_conn_write(b->server.conn, &hello, 1), 1);
        run_until(&b->loop, &b->client.bytes);
        tb_conn_close(b->client.conn, 3);
        run_until(&b->loop, &b->server.closed);
        assert_int_equal(b->server.why, TB_ECLOSED);
        run_until(&b->loop, &b->client.closed);
        assert_int_equal(b->client.why, 3);
        tb_listener_close(b->listener);
        b->listener = NULL;
        uv_run(&b->loop, UV_RUN_DEFAULT);
        b->server = b->client = (struct side){0};
        b->accepted = b->connected = 0;
    }
}

static void port_0_becomes_a_real_one_on_loopback(void **state) {
    struct bed *b = *state;

    listen_at(b, ":0");
    assert_string_equal(tb_listener_addr(b->listener)->host, "127.0.0.1");
    assert_int_not_equal(tb_listener_addr(b->listener)->port, 0);
}

static void taken_port_is_refused(void **state) {
    struct bed *b = *state;
    struct tb_listener *second = NULL;

    listen_at(b, ":0");
    assert_int_equal(
        tb_listener_open(&b->loop, tb_listener_addr(b->listener), on_accept, b, &second),
        UV_EADDRINUSE);
    assert_null(second);
}

static void host_names_are_refused_at_once(void **state) {
    struct bed *b = *state;
    struct tb_addr a = addr("hub.example:1");

    assert_int_equal(tb_conn_connect(&b->loop, &a, &ops, &b->client, on_connected, NULL),
                     UV_EAI_NONAME);
    assert_int_equal(tb_listener_open(&b->loop, &a, on_accept, b, &b->listener), UV_EAI_NONAME);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(b->connected, 0);
}

static void refused_connection_is_told_once(void **state) {
    struct bed *b = *state;
    struct tb_addr at[2];

    listen_at(b, ":0");
    at[0] = *tb_listener_addr(b->listener);
    at[1] = addr(in_dir("nobody"));
    tb_listener_close(b->listener);
    b->listener = NULL;
    for (int i = 0; i < 2; i++) {
        b->connected = 0;
        assert_int_equal(tb_conn_connect(&b->loop, &at[i], &ops, &b->client, on_connected, NULL),
                         0);
        run_until(&b->loop, &b->connected);
        assert_int_equal(b->status, i == 0 ? UV_ECONNREFUSED : UV_ENOENT);
    }
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(b->connected, 1);
    assert_int_equal(b->client.closed, 0); /* there never was a connection */
}

static void cancelled_attempt_is_told(void **state) {
    struct bed *b = *state;

    for (int i = 0; i < 2; i++) {
        listen_at(b, i == 0 ? ":0" : in_dir("s"));
        b->connected = 0;
        assert_int_equal(tb_conn_connect(&b->loop, tb_listener_addr(b->listener), &ops, &b->client,
                                         on_connected, &b->attempt),
                         0);
        tb_conn_cancel(b->attempt);
        assert_int_equal(b->connected, 0);
        run_until(&b->loop, &b->connected);
        assert_int_equal(b->status, UV_ECANCELED);
        tb_listener_close(b->listener);
        b->listener = NULL;
        uv_run(&b->loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(b->client.closed, 0);
}

static void both_sides_may_close_in_the_first_callback(void **state) {
    struct bed *b = *state;

    b->close_at_once = true;
    listen_at(b, in_dir("s"));
    dial(b);
    run_until(&b->loop, &b->server.closed);
    run_until(&b->loop, &b->client.closed);
    assert_int_equal(b->server.closed, 1);
    assert_int_equal(b->client.closed, 1);
}

static void connection_that_is_not_accepted_is_closed(void **state) {
    struct bed *b = *state;

    b->accept = false;
    listen_at(b, in_dir("s"));
    for (int i = 1; i <= 3; i++) {
        b->connected = b->client.closed = 0;
        dial(b);
        assert_int_equal(b->status, 0);
        run_until(&b->loop, &b->client.closed);
        assert_int_equal(b->accepted, i);
    }
}

static void listener_closed_while_somebody_waits(void **state) {
    struct bed *b = *state;

    listen_at(b, in_dir("s"));
    assert_int_equal(tb_conn_connect(&b->loop, tb_listener_addr(b->listener), &ops, &b->client,
                                     on_connected, NULL),
                     0);
    tb_listener_close(b->listener);
    tb_listener_close(b->listener);
    b->listener = NULL;
    run_until(&b->loop, &b->connected);
    if (b->client.conn) /* the kernel had connected us already */
        run_until(&b->loop, &b->client.closed);
    assert_int_equal(b->accepted, 0);
}

/* A socket file whose owner has died. */
static void leave_stale_socket(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 1), 0);
    close(fd);
}

static void stale_socket_file_is_replaced(void **state) {
    struct bed *b = *state;

    leave_stale_socket(in_dir("s"));
    listen_at(b, in_dir("s"));
    dial(b);
    assert_int_equal(b->status, 0);
}

static void live_socket_file_is_respected(void **state) {
    struct bed *b = *state;
    struct tb_addr a = addr(in_dir("s"));
    struct tb_listener *second = NULL;

    listen_at(b, in_dir("s"));
    assert_int_equal(tb_listener_open(&b->loop, &a, on_accept, b, &second), UV_EADDRINUSE);
    assert_null(second);
    uv_run(&b->loop, UV_RUN_NOWAIT);
    assert_int_equal(access(in_dir("s"), F_OK), 0);
    dial(b);
    assert_int_equal(b->status, 0);
}

static void other_files_are_left_alone(void **state) {
    struct bed *b = *state;
    struct tb_addr a = addr(in_dir("s"));
    char *text;

    write_text(in_dir("s"), "precious");
    assert_int_equal(tb_listener_open(&b->loop, &a, on_accept, b, &b->listener), UV_EADDRINUSE);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    text = read_file(in_dir("s"));
    assert_string_equal(text, "precious");
    free(text);
    a = addr(in_dir("no/such/folder"));
    assert_int_equal(tb_listener_open(&b->loop, &a, on_accept, b, &b->listener), UV_ENOENT);
}

static void only_its_own_file_is_removed(void **state) {
    struct bed *b = *state;
    struct tb_listener *first;

    listen_at(b, in_dir("s"));
    first = b->listener;
    unlink(in_dir("s"));
    listen_at(b, in_dir("s"));
    tb_listener_close(first);
    assert_int_equal(access(in_dir("s"), F_OK), 0);
    tb_listener_close(b->listener);
    b->listener = NULL;
    assert_int_equal(access(in_dir("s"), F_OK), -1);
}

static void overlong_path_is_refused_by_both_sides(void **state) {
    struct bed *b = *state;
    struct tb_addr a = {.is_unix = true};

    memset(a.host, 'p', 150);
    assert_int_equal(tb_listener_open(&b->loop, &a, on_accept, b, &b->listener), UV_ENAMETOOLONG);
    assert_int_equal(tb_conn_connect(&b->loop, &a, &ops, &b->client, on_connected, NULL),
                     UV_ENAMETOOLONG);
}

#define BED_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(connects_over_every_kind_of_address),
        BED_TEST(port_0_becomes_a_real_one_on_loopback),
        BED_TEST(taken_port_is_refused),
        BED_TEST(host_names_are_refused_at_once),
        BED_TEST(refused_connection_is_told_once),
        BED_TEST(cancelled_attempt_is_told),
        BED_TEST(both_sides_may_close_in_the_first_callback),
        BED_TEST(connection_that_is_not_accepted_is_closed),
        BED_TEST(listener_closed_while_somebody_waits),
        BED_TEST(stale_socket_file_is_replaced),
        BED_TEST(live_socket_file_is_respected),
        BED_TEST(other_files_are_left_alone),
        BED_TEST(only_its_own_file_is_removed),
        BED_TEST(overlong_path_is_refused_by_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

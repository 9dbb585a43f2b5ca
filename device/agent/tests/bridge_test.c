/* The loopback port, paho played by raw sockets; the channel is one that only remembers. */
#include "tb/test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bridge.h"
#include "tb/mqtt.h"

static const char token[] = "0123456789abcdef0123456789abcdef";

struct trial {
    uv_loop_t loop;
    struct dev_task task;
    struct dev_bridge *bridge;
    const char *user, *password;
    uint16_t port;
    int waited;
    bool came;
    /* the channel */
    struct dev_channel ch;
    uint8_t written[4096];
    size_t written_n;
    const char *to_read;
    int read_end; /* after to_read */
    int ran;
    struct dev_failure why;
};

/* ---- the channel ---- */

static int ch_read(struct dev_channel *ch, void *buf, size_t cap, struct dev_failure *why) {
    struct trial *t = (struct trial *)((char *)ch - offsetof(struct trial, ch));
    size_t n = t->to_read ? strlen(t->to_read) : 0;

    (void)why;
    assert_true(n <= cap);
    if (n == 0)
        return t->read_end ? t->read_end : UV_EAGAIN;
    memcpy(buf, t->to_read, n);
    t->to_read = NULL;
    return (int)n;
}

static int ch_write(struct dev_channel *ch, const void *p, size_t n, struct dev_failure *why) {
    struct trial *t = (struct trial *)((char *)ch - offsetof(struct trial, ch));

    (void)why;
    assert_true(n <= sizeof t->written - t->written_n);
    memcpy(t->written + t->written_n, p, n);
    t->written_n += n;
    return 0;
}

static const struct dev_channel_ops ch_ops = {NULL, ch_read, ch_write, NULL, NULL};

/* ---- paho ---- */

static int dial(const struct trial *t) {
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons(t->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&sin, sizeof sin), 0);
    return fd;
}

static size_t connect_packet(uint8_t *room, size_t cap, const char *password) {
    struct tb_buf out = tb_buf(room, cap);
    struct tb_mqtt_connect c = {.level = TB_MQTT_3_1_1,
                                .clean = true,
                                .keep_alive = 60,
                                .client_id = tb_span_str("device"),
                                .has_user = true,
                                .user = tb_span_str("iot-device"),
                                .has_password = password != NULL};

    if (password)
        c.password = tb_span_str(password);
    tb_mqtt_put_connect(&out, &c);
    assert_true(tb_buf_ok(&out));
    return out.n;
}

static void say_connect(int fd, const char *password) {
    uint8_t room[256];
    size_t n = connect_packet(room, sizeof room, password);

    assert_int_equal(send(fd, room, n, MSG_NOSIGNAL), n);
}

/* ---- bed ---- */

static void body(struct dev_task *task, void *arg) {
    struct trial *t = arg;
    struct dev_bridge_config cfg = {token, t->user, t->password};
    int r;

    assert_int_equal(dev_bridge_open(task, &cfg, &t->port, &t->bridge), 0);
    t->waited = dev_bridge_wait(t->bridge, dev_after(20000));
    t->came = true;
    while (t->waited == 0) {
        r = dev_bridge_run(t->bridge, &t->ch, &t->why);
        if (r < 0) {
            t->ran = r;
            break;
        }
        if (r == 0 && dev_task_wait(task, dev_after(20000)) < 0)
            break;
    }
    dev_bridge_close(t->bridge);
}

static void on_end(struct dev_task *task, void *arg) {
    (void)task;
    (void)arg;
}

static void begin(struct trial *t) {
    uv_loop_init(&t->loop);
    t->ch.ops = &ch_ops;
    t->ch.stream = NULL;
    assert_int_equal(dev_task_start(&t->task, &t->loop, body, on_end, t), 0);
}

static void turn_until(struct trial *t, const bool *flag) {
    while (!*flag)
        uv_run(&t->loop, UV_RUN_ONCE);
}

static void end(struct trial *t) {
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&t->loop), 0);
}

static void assert_dropped(int fd) {
    char c;

    assert_true(recv(fd, &c, 1, 0) <= 0);
    close(fd);
}

/* ---- tests ---- */

static void only_who_knows_the_token_is_taken(void **state) {
    struct trial t = {0};
    int silent, liar, anonymous, talker, paho;

    (void)state;
    begin(&t);
    silent = dial(&t);
    liar = dial(&t);
    say_connect(liar, "0123456789abcdef0123456789abcdeX");
    anonymous = dial(&t);
    say_connect(anonymous, NULL);
    talker = dial(&t);
    assert_int_equal(send(talker, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    paho = dial(&t);
    say_connect(paho, token);
    turn_until(&t, &t.came);
    assert_int_equal(t.waited, 0);
    close(paho);
    end(&t);
    assert_dropped(silent);
    assert_dropped(liar);
    assert_dropped(anonymous);
    assert_dropped(talker);
    assert_int_equal(t.ran, TB_ECLOSED);
}

static void silent_ones_do_not_keep_paho_out(void **state) {
    struct trial t = {0};
    int silent[20], paho;

    (void)state;
    begin(&t);
    for (size_t i = 0; i < 20; i++)
        silent[i] = dial(&t);
    paho = dial(&t);
    say_connect(paho, token);
    turn_until(&t, &t.came);
    assert_int_equal(t.waited, 0);
    close(paho);
    end(&t);
    for (size_t i = 0; i < 20; i++)
        assert_dropped(silent[i]);
}

static void a_connect_in_pieces_is_waited_for(void **state) {
    struct trial t = {0};
    uint8_t room[256];
    size_t n = connect_packet(room, sizeof room, token);
    int paho;

    (void)state;
    begin(&t);
    paho = dial(&t);
    for (size_t i = 0; i < n; i++) {
        assert_false(t.came);
        assert_int_equal(send(paho, room + i, 1, MSG_NOSIGNAL), 1);
        uv_run(&t.loop, UV_RUN_NOWAIT);
    }
    turn_until(&t, &t.came);
    assert_int_equal(t.waited, 0);
    close(paho);
    end(&t);
}

static void parsed(const struct trial *t, struct tb_mqtt_connect *ret) {
    struct tb_mqtt_refusal refusal;

    assert_int_equal(tb_mqtt_connect_parse(tb_span(t->written, t->written_n), ret, &refusal),
                     t->written_n);
    assert_true(tb_span_eq(ret->client_id, tb_span_str("device")));
}

static void the_token_does_not_travel(void **state) {
    struct trial t = {0};
    struct tb_mqtt_connect c;
    int paho;

    (void)state;
    begin(&t);
    paho = dial(&t);
    say_connect(paho, token);
    turn_until(&t, &t.came);
    close(paho);
    end(&t);
    parsed(&t, &c);
    assert_false(c.has_user);
    assert_false(c.has_password);
}

static void the_hubs_user_and_password_do(void **state) {
    struct trial t = {.user = "me", .password = "secret"};
    struct tb_mqtt_connect c;
    int paho;

    (void)state;
    begin(&t);
    paho = dial(&t);
    say_connect(paho, token);
    turn_until(&t, &t.came);
    close(paho);
    end(&t);
    parsed(&t, &c);
    assert_true(tb_span_eq(c.user, tb_span_str("me")));
    assert_true(tb_span_eq(c.password, tb_span_str("secret")));
}

static void bytes_go_both_ways(void **state) {
    struct trial t = {.to_read = "from the hub"};
    char got[32];
    size_t connect_n;
    int paho;

    (void)state;
    begin(&t);
    paho = dial(&t);
    say_connect(paho, token);
    turn_until(&t, &t.came);
    connect_n = t.written_n;
    assert_int_equal(recv(paho, got, sizeof got, 0), 12);
    assert_memory_equal(got, "from the hub", 12);
    assert_int_equal(send(paho, "up", 2, MSG_NOSIGNAL), 2);
    while (t.written_n < connect_n + 2)
        uv_run(&t.loop, UV_RUN_ONCE);
    assert_memory_equal(t.written + connect_n, "up", 2);
    close(paho);
    end(&t);
    assert_int_equal(t.ran, TB_ECLOSED);
}

static void the_channels_end_is_told(void **state) {
    struct trial t = {.read_end = TB_ECLOSED};
    int paho;

    (void)state;
    begin(&t);
    paho = dial(&t);
    say_connect(paho, token);
    end(&t);
    assert_int_equal(t.ran, UV_EOF);
    assert_dropped(paho);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_who_knows_the_token_is_taken),
        cmocka_unit_test(silent_ones_do_not_keep_paho_out),
        cmocka_unit_test(a_connect_in_pieces_is_waited_for),
        cmocka_unit_test(the_token_does_not_travel),
        cmocka_unit_test(the_hubs_user_and_password_do),
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(the_channels_end_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

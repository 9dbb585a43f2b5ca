/* Streams of datagrams, and streams by way of a SOCKS 5 proxy that keeps to the rules or does not.
 */
#include "tb/test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"
#include "tb/span.h"

/* ---- a proxy in a thread ---- */

struct proxy {
    pthread_t thread;
    int listener, relay; /* relay: datagrams, -1: none */
    char at[32];
    /* what it says, instead of what it should; NULL: what it should */
    const char *greeting, *reply;
    size_t greeting_n, reply_n;
    bool by_name;             /* its relay's address */
    unsigned char heard[300]; /* of the request */
    ssize_t heard_n;
};

static int bound(int type, struct sockaddr_in *ret) {
    socklen_t n = sizeof *ret;
    int fd = socket(AF_INET, type, 0);

    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof *ret), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &n), 0);
    return fd;
}

/* Sends each datagram back to where it came from, as if the peer had answered. With a fragment and
 * a stranger's before it, which are to be dropped. */
static void relay(int fd, int control) {
    static const char fragment[] = "\0\0\1\1\177\0\0\1\0\7fragment";
    static const char stranger[] = "\0\0\0\1\1\2\3\4\0\7stranger";
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = control, .events = POLLIN}};
    struct sockaddr_in from;
    char buf[2048];

    while (poll(p, 2, 10000) > 0 && !p[1].revents) {
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);
        const struct sockaddr *to = (const struct sockaddr *)&from;

        if (n > 10 && memcmp(buf + 10, "bye", 3) == 0)
            return;
        sendto(fd, fragment, sizeof fragment - 1, 0, to, len);
        sendto(fd, stranger, sizeof stranger - 1, 0, to, len);
        sendto(fd, "", 1, 0, to, len);
        sendto(fd, buf, (size_t)n, 0, to, len);
    }
}

static void *serve(void *arg) {
    struct proxy *p = arg;
    int fd = accept(p->listener, NULL, NULL);
    unsigned char ok[10] = {5, 0, 0, 1, 0, 0, 0, 0};
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    char buf[300];
    ssize_t got;

    if (recv(fd, buf, 3, MSG_WAITALL) == 3 &&
        send(fd, p->greeting ? p->greeting : "\5\0", p->greeting ? p->greeting_n : 2,
             MSG_NOSIGNAL) > 0 &&
        !(p->greeting && p->greeting_n < 2)) {
        p->heard_n = recv(fd, p->heard, sizeof p->heard, 0);
        if (p->relay >= 0 && getsockname(p->relay, (struct sockaddr *)&at, &n) == 0)
            memcpy(ok + 8, &at.sin_port, 2); /* address 0.0.0.0: where the proxy is */
        if (p->heard_n > 0)
            send(fd, p->reply ? p->reply : (char *)ok, p->reply ? p->reply_n : sizeof ok,
                 MSG_NOSIGNAL);
        if (p->relay >= 0 && !p->reply)
            relay(p->relay, fd);
        else if (!p->reply)
            while ((got = recv(fd, buf, sizeof buf, 0)) > 0)
                (void)!send(fd, buf, (size_t)got, MSG_NOSIGNAL);
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, buf, sizeof buf, 0) > 0)
        ;
    close(fd);
    return NULL;
}

static void proxy_start(struct proxy *p, bool datagrams) {
    struct sockaddr_in at;

    p->relay = datagrams ? bound(SOCK_DGRAM, &at) : -1;
    p->listener = bound(SOCK_STREAM, &at);
    assert_int_equal(listen(p->listener, 1), 0);
    snprintf(p->at, sizeof p->at, "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void proxy_join(struct proxy *p) {
    pthread_join(p->thread, NULL);
    close(p->listener);
    if (p->relay >= 0)
        close(p->relay);
}

/* ---- the task ---- */

struct use {
    uv_loop_t loop;
    struct dev_task task;
    const char *proxy, *to; /* proxy NULL: straight */
    bool datagrams, leave;
    int result;
    struct dev_failure why;
    char heard[4096];
    size_t n;
    dev_task_fn *then;
    struct dev_stream *s;
};

static int echo(struct use *u, const void *p, size_t n) {
    struct tb_span data;
    int r = dev_stream_write(u->s, p, n);

    u->n = 0;
    while (r >= 0 && u->n < n) {
        r = dev_stream_wait(u->s, 0, dev_after(10000));
        data = dev_stream_data(u->s);
        if (r < 0)
            return r;
        memcpy(u->heard + u->n, data.p, data.n);
        u->n += data.n;
        dev_stream_eat(u->s, data.n);
    }
    return r < 0 ? r : 0;
}

static void use(struct dev_task *t, void *arg) {
    struct use *u = arg;
    uint64_t until = dev_after(10000);

    if (u->proxy)
        u->result = dev_stream_via(t, u->proxy, u->to, u->datagrams, until, &u->s, &u->why);
    else
        u->result = dev_stream_connect_udp(t, u->to, until, &u->s);
    if (u->result < 0)
        return;
    if (u->then)
        u->then(t, u);
    else
        u->result = echo(u, "hello", 5);
    dev_stream_close(u->s);
}

static void on_end(struct dev_task *t, void *arg) {
    (void)t;
    (void)arg;
}

static void run(struct use *u) {
    assert_int_equal(uv_loop_init(&u->loop), 0);
    assert_int_equal(dev_task_start(&u->task, &u->loop, use, on_end, u), 0);
    uv_run(&u->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&u->loop), 0);
}

/* ---- by way of a proxy ---- */

static void bytes_go_through_a_proxy(void **state) {
    static const unsigned char request[] = "\5\1\0\3\13hub.example\42\270";
    struct proxy p = {0};
    struct use u = {.to = "hub.example:8888"};

    (void)state;
    proxy_start(&p, false);
    u.proxy = p.at;
    run(&u);
    proxy_join(&p);
    assert_string_equal(u.why.reason, "");
    assert_int_equal(u.result, 0);
    assert_memory_equal(u.heard, "hello", 5);
    assert_int_equal(p.heard_n, sizeof request - 1); /* the name is the proxy's to look up */
    assert_memory_equal(p.heard, request, sizeof request - 1);
}

static void datagrams_go_through_a_proxy(void **state) {
    const char *const to[] = {"127.0.0.1:7", "hub.example:7"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct proxy p = {0};
        struct use u = {.to = to[i], .datagrams = true};

        proxy_start(&p, true);
        u.proxy = p.at;
        run(&u);
        proxy_join(&p);
        assert_string_equal(u.why.reason, "");
        assert_int_equal(u.result, 0);
        assert_int_equal(p.heard[1], 3);
        if (i ==
            0) { /* what others send to a known peer's is dropped; of a name nothing is known */
            assert_int_equal(u.n, 5);
            assert_memory_equal(u.heard, "hello", 5);
        }
    }
}

static void wait_for_end(struct dev_task *t, void *arg) {
    struct use *u = arg;

    (void)t;
    u->result = dev_stream_write(u->s, "bye", 3);
    if (u->result >= 0)
        u->result = dev_stream_wait(u->s, 0, dev_after(10000));
}

static void datagrams_end_with_the_proxys_connection(void **state) {
    struct proxy p = {0};
    struct use u = {.to = "127.0.0.1:7", .datagrams = true, .then = wait_for_end};

    (void)state;
    proxy_start(&p, true);
    u.proxy = p.at;
    run(&u);
    proxy_join(&p);
    assert_int_equal(u.result, TB_ECLOSED);
}

#define BYTES(text) (text), sizeof(text) - 1

static void each_malformed_answer_has_its_error(void **state) {
    const struct {
        const char *greeting;
        size_t greeting_n;
        const char *reply;
        size_t reply_n;
        const char *why;
        bool datagrams;
    } cases[] = {
        {BYTES("HTTP/1.1 400"), NULL, 0, "speaks no SOCKS 5", false},
        {BYTES("\4\0"), NULL, 0, "speaks no SOCKS 5", false},
        {BYTES("\5\377"), NULL, 0, "wants authentication", false},
        {BYTES("\5\2"), NULL, 0, "method that was not offered", false},
        {BYTES("\5"), NULL, 0, "closed the connection", false},
        {NULL, 0, BYTES("\4\0\0\1\0\0\0\0\0\0"), "answers in no SOCKS 5", false},
        {NULL, 0, BYTES("\5\1"), "general failure (1)", false},
        {NULL, 0, BYTES("\5\2\0\1\0\0\0\0\0\0"), "not allowed by its rules (2)", false},
        {NULL, 0, BYTES("\5\3\0\1\0\0\0\0\0\0"), "network unreachable (3)", false},
        {NULL, 0, BYTES("\5\5\0\1\0\0\0\0\0\0"), "connection refused (5)", false},
        {NULL, 0, BYTES("\5\7\0\1\0\0\0\0\0\0"), "command not supported (7)", true},
        {NULL, 0, BYTES("\5\143\0\1\0\0\0\0\0\0"), "unassigned reply (99)", false},
        {NULL, 0, BYTES("\5\0\0\2\0\0\0\0\0\0"), "address of an unknown type", false},
        {NULL, 0, BYTES("\5\0\0\1\0\0\0\0\0"), "closed the connection", false},
        {NULL, 0, BYTES("\5\0\0\3\50short"), "closed the connection", false},
        {NULL, 0, BYTES("\5\0\0\1\0\0\0\0\0\0"), "a relay without a port", true},
        {NULL, 0, BYTES("\5\0\0\3\3abc\0\7"), "a relay by name", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct proxy p = {.greeting = cases[i].greeting,
                          .greeting_n = cases[i].greeting_n,
                          .reply = cases[i].reply,
                          .reply_n = cases[i].reply_n};
        struct use u = {.to = "hub.example:8883", .datagrams = cases[i].datagrams};

        proxy_start(&p, false);
        u.proxy = p.at;
        run(&u);
        proxy_join(&p);
        assert_true(u.result < 0);
        if (!strstr(u.why.reason, cases[i].why) || strncmp(u.why.reason, "proxy 127.", 10) != 0)
            fail_msg("case %zu: '%s'", i, u.why.reason);
    }
}

static void no_proxy_is_said(void **state) {
    struct use u = {.proxy = "127.0.0.1:1", .to = "hub.example:8883"};

    (void)state;
    run(&u);
    assert_int_equal(u.result, UV_ECONNREFUSED);
    assert_string_equal(u.why.reason, "proxy 127.0.0.1:1: Connection refused");
    u = (struct use){.proxy = "127.0.0.1:1", .to = "unix:/x"};
    run(&u);
    assert_true(u.result < 0);
    assert_non_null(strstr(u.why.reason, "only host:port"));
}

/* ---- datagrams ---- */

static void many(struct dev_task *t, void *arg) {
    struct use *u = arg;
    char big[DEV_DATAGRAM_MAX + 1] = {0};
    unsigned arrived = 0;

    (void)t;
    assert_int_equal(dev_stream_write(u->s, big, sizeof big), TB_ERANGE);
    assert_int_equal(dev_stream_status(u->s), 0);
    for (unsigned i = 1; i <= 20; i++)
        assert_true(dev_stream_write(u->s, big, i) >= 0);
    /* each by itself, in order (the loopback loses and swaps nothing) */
    for (unsigned i = 1; i <= 20; i++) {
        assert_int_equal(dev_stream_wait(u->s, 0, dev_after(10000)), 0);
        assert_int_equal(dev_stream_data(u->s).n, i);
        dev_stream_eat(u->s, i % 2); /* all of it, whatever we say */
        arrived++;
    }
    u->n = arrived;
    assert_int_equal(dev_stream_data(u->s).n, 0);
}

static void *reflect(void *arg) {
    int fd = *(int *)arg;
    struct sockaddr_in from;
    char buf[4096];

    for (int i = 0; i < 20; i++) {
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);

        if (n < 0)
            break;
        if (i == 5)
            sendto(fd, "", 0, 0, (struct sockaddr *)&from, len); /* empty: never seen */
        sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
    return NULL;
}

static void datagrams_stay_apart(void **state) {
    struct use u = {.then = many};
    struct sockaddr_in at;
    pthread_t thread;
    int fd = bound(SOCK_DGRAM, &at);
    char to[32];

    (void)state;
    snprintf(to, sizeof to, "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, reflect, &fd), 0);
    u.to = to;
    run(&u);
    pthread_join(thread, NULL);
    close(fd);
    assert_int_equal(u.n, 20);
}

static void wait_for_refusal(struct dev_task *t, void *arg) {
    struct use *u = arg;

    (void)t;
    u->result = dev_stream_write(u->s, "x", 1);
    if (u->result >= 0)
        u->result = dev_stream_wait(u->s, 0, dev_after(10000));
}

static void nobody_at_that_port_is_told(void **state) {
    struct use u = {.then = wait_for_refusal};
    struct sockaddr_in at;
    char to[32];

    (void)state;
    close(bound(SOCK_DGRAM, &at));
    snprintf(to, sizeof to, "127.0.0.1:%u", ntohs(at.sin_port));
    u.to = to;
    run(&u);
    assert_int_equal(u.result, UV_ECONNREFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_through_a_proxy),
        cmocka_unit_test(datagrams_go_through_a_proxy),
        cmocka_unit_test(datagrams_end_with_the_proxys_connection),
        cmocka_unit_test(each_malformed_answer_has_its_error),
        cmocka_unit_test(no_proxy_is_said),
        cmocka_unit_test(datagrams_stay_apart),
        cmocka_unit_test(nobody_at_that_port_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

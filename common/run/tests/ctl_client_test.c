/* Both asking sides of the control protocol against a server on the same loop, or in a thread. */
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "helper.h"
#include "tb/ctl.h"

struct bed {
    uv_loop_t loop;
    struct tb_ctl *ctl;
    struct tb_ctl_client *client;
    struct tb_addr at;
    struct tb_ctl_call *parked;
    int events, closed, why, done, lost, quit;
    char last[256]; /* text of the last reply or event */
    size_t big;     /* bytes that verb "big" answers with */
};

static int echo(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                void *user) {
    (void)call;
    (void)user;
    if (!json_object_get(request, "text"))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "no text");
    json_object_set(reply, "text", json_object_get(request, "text"));
    return 0;
}

static int failing(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                   struct tb_error *e, void *user) {
    (void)call;
    (void)request;
    (void)reply;
    (void)e;
    (void)user;
    return TB_EUNSUP; /* without a text of its own */
}

static int park(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                void *user) {
    struct bed *b = user;

    (void)request;
    (void)reply;
    (void)e;
    b->parked = call;
    return TB_CTL_LATER;
}

static int big(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
               void *user) {
    struct bed *b = user;
    char *text = malloc(b->big + 1);

    (void)call;
    (void)request;
    (void)e;
    memset(text, 'b', b->big);
    text[b->big] = '\0';
    json_object_set_new(reply, "text", json_string(text));
    free(text);
    return 0;
}

static const struct tb_ctl_verb verbs[] = {
    {"echo", "text: answers with it", echo},
    {"fail", "fails", failing},
    {"park", "never answers by itself", park},
    {"big", "answers at length", big},
    {0},
};

static void on_quit(void *user) {
    struct bed *b = user;

    b->quit++;
    tb_ctl_close(b->ctl);
    b->ctl = NULL;
}

static void on_event(struct tb_ctl_client *c, const json_t *event, void *user) {
    struct bed *b = user;

    (void)c;
    b->events++;
    snprintf(b->last, sizeof b->last, "%s", json_string_value(json_object_get(event, "event")));
}

static void on_closed(int why, void *user) {
    struct bed *b = user;

    b->closed++;
    b->why = why;
    b->client = NULL;
}

static const struct tb_ctl_client_ops ops = {on_event, on_closed};

static void on_done(const json_t *reply, void *arg) {
    struct bed *b = arg;
    const char *text = json_string_value(json_object_get(reply, "text"));

    assert_int_equal(b->closed, 0);
    if (reply)
        b->done++;
    else
        b->lost++;
    if (!text)
        text = json_string_value(json_object_get(reply, "error"));
    snprintf(b->last, sizeof b->last, "%s", text ? text : "");
}

static int begin(void **state) {
    struct bed *b = calloc(1, sizeof *b);
    struct tb_error e;

    if (make_dir(state) < 0)
        return -1;
    uv_loop_init(&b->loop);
    assert_int_equal(tb_addr_parse(in_dir("ctl"), &b->at, &e), 0);
    assert_int_equal(tb_ctl_open(&b->loop, &b->at, "test", verbs, on_quit, b, &b->ctl, &e), 0);
    *state = b;
    return 0;
}

static int end(void **state) {
    struct bed *b = *state;

    if (b->client)
        tb_ctl_client_close(b->client);
    if (b->parked)
        tb_ctl_reply(b->parked, NULL, TB_ECLOSED, NULL);
    if (b->ctl)
        tb_ctl_close(b->ctl);
    end_loop(&b->loop);
    free(b);
    return remove_dir(state);
}

static void open_client(struct bed *b) {
    assert_int_equal(tb_ctl_client_open(&b->loop, &b->at, &ops, b, &b->client), 0);
}

static void ask(struct bed *b, json_t *request) {
    tb_ctl_client_send(b->client, request, on_done, b);
}

static void until(struct bed *b, const int *counter, int value) {
    while (*counter < value)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_int_equal(*counter, value);
}

static void requests_made_while_connecting_are_answered(void **state) {
    struct bed *b = *state;

    open_client(b);
    for (int i = 0; i < 10; i++)
        ask(b, json_pack("{s:s, s:s}", "verb", "echo", "text", "early"));
    until(b, &b->done, 10);
    assert_string_equal(b->last, "early");
    ask(b, json_pack("{s:s, s:s}", "verb", "echo", "text", "late"));
    until(b, &b->done, 11);
    assert_string_equal(b->last, "late");
}

static void refusals_are_replies(void **state) {
    struct bed *b = *state;

    open_client(b);
    ask(b, json_pack("{s:s}", "verb", "ekho"));
    until(b, &b->done, 1);
    assert_string_equal(b->last, "unknown verb 'ekho': did you mean 'echo'?");
    ask(b, json_pack("{s:s}", "verb", "echo"));
    until(b, &b->done, 2);
    assert_string_equal(b->last, "no text");
    ask(b, json_pack("{s:s}", "verb", "fail"));
    until(b, &b->done, 3);
    assert_string_equal(b->last, tb_strerror(TB_EUNSUP));
}

static void replies_out_of_order_find_their_request(void **state) {
    struct bed *b = *state;

    open_client(b);
    ask(b, json_pack("{s:s}", "verb", "park"));
    ask(b, json_pack("{s:s, s:s}", "verb", "echo", "text", "second"));
    until(b, &b->done, 1);
    assert_string_equal(b->last, "second");
    tb_ctl_reply(b->parked, json_pack("{s:s}", "text", "first"), 0, NULL);
    b->parked = NULL;
    until(b, &b->done, 2);
    assert_string_equal(b->last, "first");
}

static void events_come_between_replies(void **state) {
    struct bed *b = *state;

    open_client(b);
    assert_false(tb_ctl_listening(b->ctl));
    tb_ctl_event(b->ctl, "unheard", NULL);
    ask(b, json_pack("{s:s}", "verb", "subscribe"));
    until(b, &b->done, 1);
    assert_true(tb_ctl_listening(b->ctl));
    tb_ctl_event(b->ctl, "heard", json_pack("{s:i}", "n", 1));
    until(b, &b->events, 1);
    assert_string_equal(b->last, "heard");
}

static void reply_above_the_line_limit_passes(void **state) {
    struct bed *b = *state;

    open_client(b);
    b->big = 400000; /* more than a connection keeps */
    ask(b, json_pack("{s:s}", "verb", "big"));
    until(b, &b->done, 1);
    assert_int_equal(b->last[0], 'b');
    b->big = 2000000; /* more than a connection queues */
    ask(b, json_pack("{s:s}", "verb", "big"));
    until(b, &b->done, 2);
    assert_string_equal(b->last, "the reply is too large");
}

static void end_of_the_server_ends_every_request_once(void **state) {
    struct bed *b = *state;

    open_client(b);
    ask(b, json_pack("{s:s}", "verb", "park"));
    ask(b, json_pack("{s:s}", "verb", "quit"));
    ask(b, json_pack("{s:s, s:s}", "verb", "echo", "text", "too late"));
    until(b, &b->closed, 1);
    assert_int_equal(b->quit, 1);
    assert_int_equal(b->done, 1); /* quit itself is answered */
    assert_int_equal(b->lost, 2);
    assert_int_equal(b->why, TB_ECLOSED);
}

static void close_ends_every_request_once(void **state) {
    struct bed *b = *state;

    open_client(b);
    ask(b, json_pack("{s:s}", "verb", "park"));
    while (!b->parked)
        uv_run(&b->loop, UV_RUN_ONCE);
    tb_ctl_client_close(b->client);
    tb_ctl_client_close(b->client);
    ask(b, json_pack("{s:s}", "verb", "version"));
    assert_int_equal(b->lost, 0);
    until(b, &b->closed, 1);
    assert_int_equal(b->lost, 2);
    assert_int_equal(b->why, 0);
}

static void close_while_connecting(void **state) {
    struct bed *b = *state;

    open_client(b);
    ask(b, json_pack("{s:s}", "verb", "version"));
    tb_ctl_client_close(b->client);
    until(b, &b->closed, 1);
    assert_int_equal(b->lost, 1);
    assert_int_equal(b->why, 0);
}

static void nobody_listens(void **state) {
    struct bed *b = *state;

    strcat(b->at.host, "-none");
    open_client(b);
    ask(b, json_pack("{s:s}", "verb", "version"));
    until(b, &b->closed, 1);
    assert_int_equal(b->lost, 1);
    assert_int_equal(b->why, UV_ENOENT);
}

static void close_in_done(const json_t *reply, void *arg) {
    struct bed *b = arg;

    (void)reply;
    b->done++;
    if (b->client)
        tb_ctl_client_close(b->client);
}

static void close_from_a_reply(void **state) {
    struct bed *b = *state;

    open_client(b);
    for (int i = 0; i < 3; i++)
        tb_ctl_client_send(b->client, json_pack("{s:s}", "verb", "version"), close_in_done, b);
    until(b, &b->closed, 1);
    assert_int_equal(b->done, 3);
}

/* A server that says something odd: a thread, because the client blocks. */
struct oddity {
    int listener;
    const char *says; /* NULL: silence */
};

static void *say_something_odd(void *arg) {
    const struct oddity *o = arg;
    int fd = accept(o->listener, NULL, NULL);
    char buf[256];

    if (o->says)
        (void)!write(fd, o->says, strlen(o->says));
    while (!o->says && read(fd, buf, sizeof buf) > 0)
        ;
    if (o->says) /* the request, so that closing is no reset */
        (void)!read(fd, buf, sizeof buf);
    close(fd);
    return NULL;
}

static json_t *ask_odd_server(const char *says, unsigned timeout_ms, struct tb_error *e) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct oddity o = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), says};
    json_t *request = json_pack("{s:s, s:s}", "verb", "echo", "text", "x"), *reply;
    struct tb_addr at;
    pthread_t t;

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", in_dir("odd"));
    unlink(sa.sun_path);
    assert_int_equal(bind(o.listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(o.listener, 1), 0);
    assert_int_equal(pthread_create(&t, NULL, say_something_odd, &o), 0);
    assert_int_equal(tb_addr_parse(sa.sun_path, &at, NULL), 0);
    *e = (struct tb_error){0};
    reply = tb_ctl_request(&at, request, timeout_ms, e);
    pthread_join(t, NULL);
    close(o.listener);
    json_decref(request);
    return reply;
}

static void blocking_request_skips_events_and_foreign_replies(void **state) {
    struct tb_error e;
    json_t *reply = ask_odd_server("{\"event\":\"x\"}\n{\"id\":77,\"ok\":true}\n"
                                   "{\"id\":1,\"ok\":false,\"error\":\"no\"}\n",
                                   20000, &e);

    (void)state;
    assert_non_null(reply);
    assert_string_equal(json_string_value(json_object_get(reply, "error")), "no");
    json_decref(reply);
}

static void blocking_request_explains_failures(void **state) {
    struct tb_error e;
    struct tb_addr none;
    json_t *request = json_object();

    (void)state;
    assert_null(ask_odd_server("not json\n", 20000, &e));
    assert_non_null(strstr(e.message, "odd: cannot receive the reply: not JSON"));
    assert_null(ask_odd_server("{\"id\":1", 20000, &e));
    assert_non_null(strstr(e.message, "odd: cannot receive the reply: connection closed"));
    assert_null(ask_odd_server(NULL, 30, &e));
    assert_non_null(strstr(e.message, "odd: no answer within"));
    assert_int_equal(tb_addr_parse(in_dir("none"), &none, NULL), 0);
    assert_null(tb_ctl_request(&none, request, 1000, &e));
    assert_non_null(strstr(e.message, "none: cannot connect: No such file"));
    assert_int_equal(tb_addr_parse("host.example:1", &none, NULL), 0);
    assert_null(tb_ctl_request(&none, request, 1000, &e));
    assert_non_null(strstr(e.message, "host.example:1: cannot connect: unknown node"));
    json_decref(request);
}

struct asker {
    const struct tb_addr *at;
    json_t *reply;
    uv_async_t done;
    int finished;
};

static void *ask_blocking(void *arg) {
    struct asker *a = arg;
    json_t *request = json_pack("{s:s, s:s, s:s}", "verb", "echo", "text", "T", "id", "mine");

    a->reply = tb_ctl_request(a->at, request, 20000, NULL);
    json_decref(request);
    uv_async_send(&a->done);
    return NULL;
}

static void on_asked(uv_async_t *async) {
    struct asker *a = async->data;

    a->finished = 1;
}

static void blocking_request_over_tcp_and_unix(void **state) {
    struct bed *b = *state;
    struct tb_ctl *tcp;
    struct tb_addr any;

    assert_int_equal(tb_addr_parse("[::1]:0", &any, NULL), 0);
    assert_int_equal(tb_ctl_open(&b->loop, &any, "test", verbs, NULL, b, &tcp, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct asker a = {.at = i ? tb_ctl_addr(tcp) : &b->at};
        pthread_t t;

        uv_async_init(&b->loop, &a.done, on_asked);
        a.done.data = &a;
        assert_int_equal(pthread_create(&t, NULL, ask_blocking, &a), 0);
        run_until(&b->loop, &a.finished);
        pthread_join(t, NULL);
        assert_string_equal(json_string_value(json_object_get(a.reply, "text")), "T");
        assert_string_equal(json_string_value(json_object_get(a.reply, "id")), "mine");
        json_decref(a.reply);
        uv_close((uv_handle_t *)&a.done, NULL);
        uv_run(&b->loop, UV_RUN_NOWAIT);
    }
    tb_ctl_close(tcp);
}

static void without_a_socket_events_go_to_the_file(void **state) {
    struct bed *b = *state;
    struct tb_ctl *mute;
    struct tb_error e;
    char *text;

    assert_int_equal(tb_ctl_open(&b->loop, NULL, "mute", NULL, NULL, NULL, &mute, &e), 0);
    assert_null(tb_ctl_addr(mute));
    tb_ctl_event(mute, "unheard", json_object());
    assert_true(tb_ctl_event_file(mute, in_dir("no/such"), &e) < 0);
    assert_non_null(strstr(e.message, "cannot write events"));
    assert_int_equal(tb_ctl_event_file(mute, in_dir("events"), &e), 0);
    assert_true(tb_ctl_listening(mute));
    tb_ctl_event(mute, "one", json_pack("{s:i}", "n", 1));
    tb_ctl_event(mute, "two", json_pack("{s:s}", "event", "cannot be overwritten"));
    tb_ctl_close(mute);
    text = read_file(in_dir("events"));
    assert_non_null(strstr(text, "{\"event\":\"one\",\"ts\":"));
    assert_non_null(strstr(text, ",\"from\":\"mute\",\"n\":1}\n{\"event\":\"two\",\"ts\":"));
    free(text);
    (void)b;
}

#define BED_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(requests_made_while_connecting_are_answered),
        BED_TEST(refusals_are_replies),
        BED_TEST(replies_out_of_order_find_their_request),
        BED_TEST(events_come_between_replies),
        BED_TEST(reply_above_the_line_limit_passes),
        BED_TEST(end_of_the_server_ends_every_request_once),
        BED_TEST(close_ends_every_request_once),
        BED_TEST(close_while_connecting),
        BED_TEST(nobody_listens),
        BED_TEST(close_from_a_reply),
        BED_TEST(blocking_request_skips_events_and_foreign_replies),
        BED_TEST(blocking_request_explains_failures),
        BED_TEST(blocking_request_over_tcp_and_unix),
        BED_TEST(without_a_socket_events_go_to_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

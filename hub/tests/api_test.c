#include <stdlib.h>

#include "tb/test.h"

#include "api/api.h"
#include "tb/loop.h"

static const struct hub_api_peer red = {"red", "x509:red", "x509", "coap", "DTLSv1.2", "CCM8"},
                                 blue = {"blue", "psk:b", "psk", "http", "TLSv1.3", "GCM"};

struct bed {
    uv_loop_t loop;
    struct hub_api *api;
    /* what the broker was given; it answers when told to */
    hub_published_fn *published;
    void *published_arg;
    char topic[128], payload[128];
    int publish_result;
    unsigned events;
};

struct seen { /* an answer, copied */
    unsigned count, status;
    char type[64], body[128], allow[32];
    uint64_t sequence;
};

static void note(const struct hub_api_answer *a, void *arg) {
    struct seen *s = arg;

    s->count++;
    s->status = a->status;
    snprintf(s->type, sizeof s->type, "%s", a->content_type ? a->content_type : "");
    snprintf(s->body, sizeof s->body, "%.*s", (int)a->body.n, (const char *)a->body.p);
    snprintf(s->allow, sizeof s->allow, "%s", a->allow ? a->allow : "");
    s->sequence = a->sequence;
}

static int publish(const char *topic, struct tb_span payload, bool retain, hub_published_fn *done,
                   void *arg, void *user) {
    struct bed *b = user;

    (void)retain;
    if (b->publish_result < 0)
        return b->publish_result;
    snprintf(b->topic, sizeof b->topic, "%s", topic);
    snprintf(b->payload, sizeof b->payload, "%.*s", (int)payload.n, (const char *)payload.p);
    b->published = done;
    b->published_arg = arg;
    return 0;
}

static void on_publish(const char *device, const char *topic, struct tb_span payload, void *user) {
    struct bed *b = user;

    assert_string_equal(device, "red");
    assert_string_equal(topic, "devices/red/telemetry");
    assert_int_equal(payload.n, strlen(b->payload));
    b->events++;
}

static struct bed *bed_new(size_t commands_max, size_t states_max) {
    struct bed *b = calloc(1, sizeof *b);
    struct hub_api_config cfg = {.loop = &b->loop,
                                 .publish = publish,
                                 .on_publish = on_publish,
                                 .user = b,
                                 .commands_max = commands_max,
                                 .states_max = states_max};

    uv_loop_init(&b->loop);
    b->api = hub_api_new(&cfg);
    return b;
}

static void bed_free(struct bed *b) {
    hub_api_close(b->api);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    free(b);
}

static struct hub_api_call *ask(struct bed *b, const struct hub_api_peer *who,
                                enum hub_api_method method, const char *path, const char *query,
                                const char *body, struct seen *ret) {
    const struct hub_api_request req = {.method = method,
                                        .path = path,
                                        .query = query,
                                        .content_type = body ? "text/x" : NULL,
                                        .body = body ? tb_span_str(body) : TB_SPAN_NONE};

    memset(ret, 0, sizeof *ret);
    return hub_api_request(b->api, who, &req, note, ret);
}

static bool tell(struct bed *b, const char *topic, const char *payload, bool retained) {
    return hub_api_message(b->api, tb_span_str(topic), tb_span_str(payload), retained);
}

static void tells_a_device_who_it_is(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s;
    (void)state;

    assert_null(ask(b, &blue, HUB_API_GET, "/whoami", NULL, NULL, &s));
    assert_int_equal(s.status, 200);
    assert_string_equal(s.type, "application/json");
    assert_string_equal(s.body,
                        "{\"device\":\"blue\",\"identity\":\"psk:b\",\"kind\":\"psk\","
                        "\"protocol\":\"http\",\"version\":\"TLSv1.3\",\"cipher\":\"GCM\"}");
    bed_free(b);
}

static void refuses_what_is_not_there(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s;
    (void)state;

    assert_null(ask(b, &red, HUB_API_GET, "/nowhere", NULL, NULL, &s));
    assert_int_equal(s.status, 404);
    assert_null(ask(b, &red, HUB_API_GET, "/state/", NULL, NULL, &s));
    assert_int_equal(s.status, 404);
    assert_null(ask(b, &red, HUB_API_DELETE, "/telemetry", NULL, NULL, &s));
    assert_int_equal(s.status, 405);
    assert_string_equal(s.allow, "POST, PUT");
    assert_null(ask(b, &red, HUB_API_OTHER, "/state", NULL, NULL, &s));
    assert_int_equal(s.status, 405);
    assert_string_equal(s.allow, "GET, PUT, DELETE");
    bed_free(b);
}

static void telemetry_is_answered_when_the_broker_has_it(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s;
    (void)state;

    assert_non_null(ask(b, &red, HUB_API_POST, "/telemetry", NULL, "21.5", &s));
    assert_string_equal(b->topic, "devices/red/telemetry");
    assert_string_equal(b->payload, "21.5");
    assert_int_equal(s.count, 0);
    b->published(0, b->published_arg);
    assert_int_equal(s.status, 204);
    assert_int_equal(b->events, 1);

    ask(b, &red, HUB_API_PUT, "/telemetry", NULL, "22", &s);
    b->published(TB_ECLOSED, b->published_arg);
    assert_int_equal(s.status, 503);
    assert_int_equal(b->events, 1);

    b->publish_result = TB_ESTATE;
    assert_null(ask(b, &red, HUB_API_POST, "/telemetry", NULL, "23", &s));
    assert_int_equal(s.status, 503);
    assert_string_equal(s.body, "the broker is down");
    bed_free(b);
}

static void telemetry_of_somebody_who_left_is_published_all_the_same(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s;
    struct hub_api_call *c = ask(b, &red, HUB_API_POST, "/telemetry", NULL, "1", &s);
    (void)state;

    hub_api_cancel(c);
    b->published(1, b->published_arg);
    assert_int_equal(s.count, 0);
    assert_int_equal(b->events, 1);

    /* and the end waits for it */
    ask(b, &red, HUB_API_POST, "/telemetry", NULL, "1", &s);
    hub_api_close(b->api);
    assert_int_equal(s.count, 0);
    b->published(TB_ECLOSED, b->published_arg);
    assert_int_equal(s.status, 503);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    free(b);
}

static void too_large_is_too_large(void **state) {
    struct bed *b = bed_new(0, 0);
    struct hub_api_request req = {.method = HUB_API_PUT, .path = "/state"};
    uint8_t *big = calloc(1, HUB_API_BODY_MAX + 1);
    struct seen s = {0};
    (void)state;

    req.body = tb_span(big, HUB_API_BODY_MAX);
    hub_api_request(b->api, &red, &req, note, &s);
    assert_int_equal(s.status, 201);
    req.body.n++;
    hub_api_request(b->api, &red, &req, note, &s);
    assert_int_equal(s.status, 413);
    req.path = "/telemetry";
    hub_api_request(b->api, &red, &req, note, &s);
    assert_int_equal(s.status, 413);
    free(big);
    bed_free(b);
}

static void a_command_is_seen_by_its_device_alone(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s;
    uint64_t first;
    (void)state;

    ask(b, &red, HUB_API_GET, "/command", NULL, NULL, &s);
    assert_int_equal(s.status, 204);
    assert_false(tell(b, "devices/red/command", "open", false)); /* nobody is told at once */
    ask(b, &red, HUB_API_GET, "/command", "", NULL, &s);
    assert_int_equal(s.status, 200);
    assert_string_equal(s.body, "open");
    assert_string_equal(s.type, "text/plain");
    first = s.sequence;
    ask(b, &blue, HUB_API_GET, "/command", NULL, NULL, &s);
    assert_int_equal(s.status, 204);
    tell(b, "devices/red/command", "\xff", false);
    ask(b, &red, HUB_API_GET, "/command", NULL, NULL, &s);
    assert_string_equal(s.type, "application/octet-stream");
    assert_true(s.sequence > first);
    /* no command any more */
    tell(b, "devices/red/command", "", true);
    ask(b, &red, HUB_API_GET, "/command", NULL, NULL, &s);
    assert_int_equal(s.status, 204);
    bed_free(b);
}

static void other_topics_are_none_of_its_business(void **state) {
    static const char *const topics[] = {"devices/red/telemetry", "devices//command",
                                         "devices/a/b/command",   "devices/re d/command",
                                         "devices/red/commands",  "device/red/command",
                                         "devices/command",       ""};
    struct bed *b = bed_new(0, 0);
    (void)state;

    struct hub_api_watch w;
    struct seen s = {0};

    hub_api_watch(b->api, "red", HUB_API_COMMAND, note, &s, &w);
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        assert_false(tell(b, topics[i], "x", false));
    assert_int_equal(s.count, 0);
    hub_api_unwatch(b->api, &w);
    bed_free(b);
}

static void a_long_poll_waits_for_the_next_command(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s, t;
    char query[64];
    (void)state;

    tell(b, "devices/red/command", "old", false);
    assert_non_null(ask(b, &red, HUB_API_GET, "/command", "wait=60", NULL, &s));
    assert_false(tell(b, "devices/blue/command", "other", false));
    assert_int_equal(s.count, 0);
    assert_true(tell(b, "devices/red/command", "new", false));
    assert_int_equal(s.count, 1);
    assert_string_equal(s.body, "new");

    /* with after, nothing is missed between two polls */
    snprintf(query, sizeof query, "wait=60&after=%llu", (unsigned long long)s.sequence);
    assert_non_null(ask(b, &red, HUB_API_GET, "/command", query, NULL, &t));
    tell(b, "devices/red/command", "newer", false);
    assert_string_equal(t.body, "newer");
    assert_null(ask(b, &red, HUB_API_GET, "/command", query, NULL, &t));
    assert_string_equal(t.body, "newer");

    assert_null(ask(b, &red, HUB_API_GET, "/command", "wait=x", NULL, &s));
    assert_int_equal(s.status, 400);
    assert_null(ask(b, &red, HUB_API_GET, "/command", "after=1&wait=61", NULL, &s));
    assert_int_equal(s.status, 400);
    bed_free(b);
}

static void a_long_poll_ends_empty_when_its_time_is_up(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s;
    (void)state;

    setenv("TB_TIMEOUT_FACTOR", "0.01", 1);
    ask(b, &red, HUB_API_GET, "/command", "wait=1", NULL, &s);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.status, 204);
    bed_free(b);
}

static void a_cancelled_poll_is_not_answered(void **state) {
    struct bed *b = bed_new(0, 0);
    struct seen s, t;
    (void)state;

    hub_api_cancel(ask(b, &red, HUB_API_GET, "/command", "wait=9", NULL, &s));
    ask(b, &red, HUB_API_GET, "/command", "wait=9", NULL, &t);
    tell(b, "devices/red/command", "x", false);
    assert_int_equal(s.count, 0);
    assert_int_equal(t.count, 1);
    ask(b, &red, HUB_API_GET, "/command", "wait=9", NULL, &t);
    bed_free(b);
    assert_int_equal(t.status, 503);
}

static void what_is_told_again_is_no_change(void **state) {
    struct bed *b = bed_new(0, 0);
    struct hub_api_watch w;
    struct seen s = {0};
    (void)state;

    hub_api_watch(b->api, "red", HUB_API_COMMAND, note, &s, &w);
    tell(b, "devices/red/command", "x", true);
    tell(b, "devices/red/command", "x", true); /* retained, after a reconnection */
    assert_int_equal(s.count, 1);
    tell(b, "devices/red/command", "x", false); /* the same command a second time */
    assert_int_equal(s.count, 2);
    hub_api_unwatch(b->api, &w);
    bed_free(b);
}

static void the_state_is_kept_changed_and_removed(void **state) {
    struct bed *b = bed_new(0, 0);
    struct hub_api_watch w;
    struct seen s, seen = {0};
    (void)state;

    hub_api_watch(b->api, "red", HUB_API_STATE, note, &seen, &w);
    ask(b, &red, HUB_API_GET, "/state", NULL, NULL, &s);
    assert_int_equal(s.status, 404);
    ask(b, &red, HUB_API_PUT, "/state", NULL, "on", &s);
    assert_int_equal(s.status, 201);
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "on");
    assert_string_equal(seen.type, "text/x");
    ask(b, &red, HUB_API_PUT, "/state", NULL, "off", &s);
    assert_int_equal(s.status, 204);
    ask(b, &red, HUB_API_GET, "/state", NULL, NULL, &s);
    assert_string_equal(s.body, "off");
    assert_true(s.sequence == seen.sequence);
    ask(b, &blue, HUB_API_GET, "/state", NULL, NULL, &s);
    assert_int_equal(s.status, 404);
    ask(b, &red, HUB_API_DELETE, "/state", NULL, NULL, &s);
    assert_int_equal(s.status, 204);
    assert_int_equal(seen.status, 404);
    assert_int_equal(seen.count, 3);
    ask(b, &red, HUB_API_DELETE, "/state", NULL, NULL, &s);
    assert_int_equal(s.status, 404);
    hub_api_unwatch(b->api, &w);
    bed_free(b);
}

struct leaver {
    struct bed *bed;
    struct hub_api_watch w[3];
    unsigned told;
};

static void leave_all(const struct hub_api_answer *a, void *arg) {
    struct leaver *l = arg;

    (void)a;
    l->told++;
    for (unsigned i = 0; i < 3; i++)
        hub_api_unwatch(l->bed->api, &l->w[i]);
}

static void an_observer_may_take_others_with_it(void **state) {
    struct bed *b = bed_new(0, 0);
    struct leaver l = {.bed = b};
    (void)state;

    for (unsigned i = 0; i < 3; i++)
        hub_api_watch(b->api, "red", HUB_API_COMMAND, leave_all, &l, &l.w[i]);
    tell(b, "devices/red/command", "x", false);
    assert_int_equal(l.told, 1);
    bed_free(b);
}

static void the_oldest_commands_give_way(void **state) {
    struct bed *b = bed_new(3000, 0);
    struct seen s;
    char topic[64];
    unsigned kept = 0;
    (void)state;

    for (unsigned i = 0; i < 50; i++) {
        snprintf(topic, sizeof topic, "devices/d%u/command", i);
        tell(b, topic, "x", false);
    }
    for (unsigned i = 0; i < 50; i++) {
        struct hub_api_peer who = red;

        snprintf(topic, sizeof topic, "d%u", i);
        who.device = topic;
        ask(b, &who, HUB_API_GET, "/command", NULL, NULL, &s);
        kept += s.status == 200;
        assert_true(s.status == 200 || kept == 0); /* those that went are the oldest */
    }
    assert_in_range(kept, 5, 25);
    /* again and again to the same device, which is the oldest and the only one at times */
    for (unsigned i = 0; i < 50; i++)
        tell(b, "devices/red/command", "yy", false);
    ask(b, &red, HUB_API_GET, "/command", NULL, NULL, &s);
    assert_string_equal(s.body, "yy");
    bed_free(b);
}

static void states_that_do_not_fit_are_refused(void **state) {
    struct bed *b = bed_new(0, 1000);
    char *large = calloc(1, 900);
    struct seen s;
    (void)state;

    memset(large, 'x', 899);
    ask(b, &red, HUB_API_PUT, "/state", NULL, "small", &s);
    assert_int_equal(s.status, 201);
    ask(b, &red, HUB_API_PUT, "/state", NULL, large, &s);
    assert_int_equal(s.status, 507);
    ask(b, &red, HUB_API_GET, "/state", NULL, NULL, &s);
    assert_string_equal(s.body, "small");
    free(large);
    bed_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_poll_ends_empty_when_its_time_is_up), /* sets the time's factor */
        cmocka_unit_test(tells_a_device_who_it_is),
        cmocka_unit_test(refuses_what_is_not_there),
        cmocka_unit_test(telemetry_is_answered_when_the_broker_has_it),
        cmocka_unit_test(telemetry_of_somebody_who_left_is_published_all_the_same),
        cmocka_unit_test(too_large_is_too_large),
        cmocka_unit_test(a_command_is_seen_by_its_device_alone),
        cmocka_unit_test(other_topics_are_none_of_its_business),
        cmocka_unit_test(a_long_poll_waits_for_the_next_command),
        cmocka_unit_test(a_cancelled_poll_is_not_answered),
        cmocka_unit_test(what_is_told_again_is_no_change),
        cmocka_unit_test(the_state_is_kept_changed_and_removed),
        cmocka_unit_test(an_observer_may_take_others_with_it),
        cmocka_unit_test(the_oldest_commands_give_way),
        cmocka_unit_test(states_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

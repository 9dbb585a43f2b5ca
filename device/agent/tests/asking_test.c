/* What people write: where a hub is, what is asked of it. */
#include <stdlib.h>
#include <string.h>

#include "tb/test.h"

#include "coap.h"
#include "coap_format.h"
#include "http.h"
#include "hub_url.h"
#include "options.h"

static void hub_is(const char *text, enum dev_speaks speaks, bool datagrams, const char *address,
                   const char *host, unsigned port) {
    struct dev_hub hub;
    struct tb_error e;

    assert_int_equal(dev_hub_parse(text, &hub, &e), 0);
    assert_int_equal(hub.speaks, speaks);
    assert_int_equal(hub.datagrams, datagrams);
    assert_string_equal(hub.address, address);
    assert_string_equal(hub.host, host);
    assert_int_equal(hub.port, port);
}

static void a_hub_has_a_scheme_or_speaks_mqtt(void **state) {
    (void)state;
    hub_is("h:1", DEV_MQTT, false, "h:1", "h", 1);
    hub_is("unix:/run/x", DEV_MQTT, false, "unix:/run/x", "", 0);
    hub_is("mqtts://h", DEV_MQTT, false, "h:8883", "h", 8883);
    hub_is("mqtts://unix:/run/x", DEV_MQTT, false, "unix:/run/x", "", 0);
    hub_is("coaps://h.example:7/", DEV_COAP, true, "h.example:7", "h.example", 7);
    hub_is("coaps+tcp://[::1]", DEV_COAP, false, "[::1]:5684", "::1", 5684);
    hub_is("https://[fe80::1]:8443", DEV_HTTP, false, "[fe80::1]:8443", "fe80::1", 8443);
    hub_is("https://10.0.0.1", DEV_HTTP, false, "10.0.0.1:443", "10.0.0.1", 443);
}

static void other_hubs_are_refused_and_nothing_is_touched(void **state) {
    static const char *const bad[] = {"",
                                      "h",
                                      "://h",
                                      "http://h",
                                      "coap://h",
                                      "mqtts://",
                                      "https://h/x",
                                      "https://h:99999",
                                      "https://:",
                                      "HTTPS://h",
                                      "coaps://unix:/x",
                                      "https://h:1:2"};
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dev_hub hub = {.port = 77};
        struct tb_error e = {0};

        assert_true(dev_hub_parse(bad[i], &hub, &e) < 0);
        assert_true(e.message[0]);
        assert_int_equal(hub.port, 77);
    }
}

static void request_is(const char *text, const char *method, const char *path, const char *body) {
    struct dev_request rq;
    struct tb_error e;
    char *room;

    assert_int_equal(dev_request_parse(text, &rq, &room, &e), 0);
    assert_string_equal(rq.method, method);
    assert_string_equal(rq.path, path);
    if (body) {
        assert_int_equal(rq.payload.n, strlen(body));
        assert_memory_equal(rq.payload.p, body, rq.payload.n);
    } else {
        assert_null(rq.payload.p);
    }
    free(room);
}

static void a_request_is_a_method_a_path_and_perhaps_a_text(void **state) {
    struct dev_request rq;
    struct tb_error e;
    char *room;

    (void)state;
    request_is("GET x", "GET", "x", NULL);
    request_is("GET x?a=b", "GET", "x?a=b", NULL);
    request_is("PUT x=a b=c", "PUT", "x", "a b=c");
    request_is("PUT x=", "PUT", "x", "");
    request_is("POST x?unit=C 21=", "POST", "x?unit=C", "21=");
    request_is("POST x?unit=C", "POST", "x?unit=C", NULL);
    for (const char *const *bad = (const char *const[]){"", "GET", "GET ", " x", "PUT =x", NULL};
         *bad; bad++)
        assert_true(dev_request_parse(*bad, &rq, &room, &e) < 0);
}

static int coap_takes(struct dev_request rq) {
    struct tb_error e;

    return dev_coap_check(&rq, &e);
}

static void coap_takes_what_fits_into_its_options(void **state) {
    char segment[257], all[1100];

    (void)state;
    memset(segment, 'x', sizeof segment);
    segment[255] = '\0';
    memset(all, '/', sizeof all);
    all[sizeof all - 1] = '\0';
    assert_int_equal(coap_takes((struct dev_request){.method = "GET", .path = segment}), 0);
    assert_int_equal(coap_takes((struct dev_request){.method = "GET", .path = "/"}), 0);
    assert_int_equal(coap_takes((struct dev_request){.method = "iPATCH", .path = "a%2fb?c%26d&e"}),
                     0);
    segment[255] = 'x';
    segment[256] = '\0';
    assert_true(coap_takes((struct dev_request){.method = "GET", .path = segment}) < 0);
    assert_true(coap_takes((struct dev_request){.method = "GET", .path = all}) < 0);
    assert_true(coap_takes((struct dev_request){.method = "GET", .path = "a%2"}) < 0);
    assert_true(coap_takes((struct dev_request){.method = "GET", .path = "a%zz"}) < 0);
    assert_true(coap_takes((struct dev_request){.method = "get", .path = "a"}) < 0);
    assert_true(coap_takes((struct dev_request){.method = "PUT", .path = "a", .observe = true}) <
                0);
    assert_true(coap_takes((struct dev_request){
                    .method = "GET", .path = "a", .payload = tb_span_str("x")}) < 0);
    assert_true(coap_takes((struct dev_request){
                    .method = "PUT", .path = "a", .content_type = "no/such"}) < 0);
    assert_int_equal(
        coap_takes((struct dev_request){
            .method = "PUT", .path = "a", .content_type = "65535", .accept = "text/plain"}),
        0);
    assert_true(coap_takes((struct dev_request){.method = "GET", .path = "a", .accept = "65536"}) <
                0);
}

static int http_takes(struct dev_request rq) {
    struct tb_error e;

    return dev_http_check(&rq, &e);
}

static void http_takes_nothing_that_would_end_a_line(void **state) {
    (void)state;
    assert_int_equal(http_takes((struct dev_request){.method = "DELETE", .path = "/x%20y?z"}), 0);
    assert_true(http_takes((struct dev_request){.method = "GET", .path = "/x y"}) < 0);
    assert_true(http_takes((struct dev_request){.method = "GET", .path = "/x\r\ny"}) < 0);
    assert_true(http_takes((struct dev_request){.method = "GET", .path = "/\xC3\xA4"}) < 0);
    assert_true(http_takes((struct dev_request){.method = "GET\r\n", .path = "/"}) < 0);
    assert_true(http_takes((struct dev_request){.method = "CONNECT", .path = "/"}) < 0);
    assert_true(http_takes((struct dev_request){
                    .method = "GET", .path = "/", .accept = "a/b\r\nX: y"}) < 0);
    assert_true(http_takes((struct dev_request){.method = "GET", .path = "/", .observe = true}) <
                0);
}

static void content_formats_have_names(void **state) {
    struct tb_error e;
    char text[16];

    (void)state;
    assert_int_equal(dev_coap_format("application/json", &e), 50);
    assert_int_equal(dev_coap_format("11542", &e), 11542);
    assert_true(dev_coap_format("", &e) < 0);
    assert_true(dev_coap_format("-1", &e) < 0);
    assert_string_equal(dev_coap_media_type(0, text, sizeof text), "text/plain");
    assert_string_equal(dev_coap_media_type(11542, text, sizeof text), "11542");
    assert_string_equal(dev_coap_code(0x45, text, sizeof text), "2.05");
    assert_string_equal(dev_coap_code(0x9D, text, sizeof text), "4.29");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hub_has_a_scheme_or_speaks_mqtt),
        cmocka_unit_test(other_hubs_are_refused_and_nothing_is_touched),
        cmocka_unit_test(a_request_is_a_method_a_path_and_perhaps_a_text),
        cmocka_unit_test(coap_takes_what_fits_into_its_options),
        cmocka_unit_test(http_takes_nothing_that_would_end_a_line),
        cmocka_unit_test(content_formats_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

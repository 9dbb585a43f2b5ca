#include "matrix.h"

#include "tb/test.h"

/* All combinations of all axes, and how many of them want is true of. */
static unsigned count(bool (*want)(const struct bench_case *c, const void *arg), const void *arg) {
    struct bench_case c;
    unsigned n = 0;

    for (unsigned s = 0; s < N_STACKS; s++)
        for (unsigned v = 0; v < N_VERSIONS; v++)
            for (unsigned k = 0; k < N_CREDENTIALS; k++)
                for (unsigned t = 0; t < N_TRANSPORTS; t++)
                    for (unsigned o = 0; o < N_OFFLOADS; o++) {
                        c.stack = (enum bench_stack)s;
                        c.version = (enum bench_version)v;
                        c.credential = (enum bench_credential)k;
                        c.transport = (enum bench_transport)t;
                        c.offload = (enum bench_offload)o;
                        n += want(&c, arg);
                    }
    return n;
}

static bool possible(const struct bench_case *c, const void *arg) {
    (void)arg;
    return bench_case_impossible(c) == NULL;
}

static bool wanted(const struct bench_case *c, const void *arg) {
    return bench_case_wanted(arg, c);
}

static void knows_what_cannot_be(void **state) {
    (void)state;
    /* OpenSSL: 3 versions of certificate and ECDHE-PSK with 11 each, plain PSK with 6 each but for
     * TLS 1.3; Mbed TLS: 3 of all; the module: TLS 1.3 and 1.2 with certificates, not in memory. */
    assert_int_equal(count(possible, NULL), 3 * 22 + 2 * 6 + 3 * (22 + 6) + 2 * 9);
}

static void filters(void **state) {
    static const struct {
        const char *text;
        unsigned n;
    } table[] = {
        {"stack=openssl,version=1.3,credential=cert", 11},
        {"stack=openssl,version=1.3,credential=cert,transport=csim", 3},
        {"stack=openssl,version=1.3,credential=cert,transport=csim|vpcd,offload=full", 3},
        {"stack=openssl|mbedtls,version=dtls1.2,credential=psk,transport=memory", 4},
        {"transport=software", 8 + 9 + 2}, /* one of each group there is */
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct bench_wanted w = {0};
        struct tb_error e = {0};

        assert_int_equal(bench_wanted_parse(&w, table[i].text, &e), 0);
        assert_int_equal(count(wanted, &w), table[i].n);
    }
}

static void refuses_what_is_no_filter(void **state) {
    static const char *const texts[] = {
        "",           "stack",          "stack=",  "stack=tls", "stack=openssl,",
        "colour=red", "stack=openssl|", "=openssl"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct bench_wanted w = {.everything = false};
        struct tb_error e = {0};

        assert_int_equal(bench_wanted_parse(&w, texts[i], &e), TB_EPARSE);
        assert_true(e.message[0]);
        assert_false(w.everything);
    }
}

static void the_default_compares_each_case_with_a_software_key(void **state) {
    const struct bench_wanted quick = {0}, all = {.everything = true};

    (void)state;
    assert_int_equal(count(wanted, &all), count(possible, NULL));
    assert_true(count(wanted, &quick) > 15 && count(wanted, &quick) < 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_cannot_be),
        cmocka_unit_test(filters),
        cmocka_unit_test(refuses_what_is_no_filter),
        cmocka_unit_test(the_default_compares_each_case_with_a_software_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

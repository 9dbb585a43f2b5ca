#include "tb/test.h"

#include "ref.h"

static struct isp_uri parsed(const char *text) {
    struct isp_uri uri;
    const char *why = NULL;

    assert_int_equal(isp_uri_parse(tb_span_str(text), &uri, &why), 0);
    return uri;
}

static void reads_ids_labels_types_and_readers(void **state) {
    struct isp_uri uri = parsed("iotsafe:id=0A1b;type=key");

    (void)state;
    assert_true(uri.has_ref);
    assert_int_equal(uri.ref.id_len, 2);
    assert_memory_equal(uri.ref.id, "\x0a\x1b", 2);
    assert_int_equal(uri.type, ISP_KEY);
    uri = parsed("iotsafe:label=my%20key%3B1;reader=dev7");
    assert_int_equal(uri.ref.id_len, 0);
    assert_int_equal(uri.ref.label_len, 8);
    assert_memory_equal(uri.ref.label, "my key;1", 8);
    assert_string_equal(uri.reader, "dev7");
    assert_int_equal(uri.type, ISP_ANY);
    assert_false(parsed("iotsafe:").has_ref);
    assert_int_equal(parsed("iotsafe:type=cert").type, ISP_CERT);
    assert_int_equal(parsed("iotsafe:type=public").type, ISP_PUBLIC);
}

static void refuses_what_is_no_uri(void **state) {
    static const char *const bad[] = {
        "",
        "file:x",
        "iotsafe",
        "iotsafe:id=",
        "iotsafe:id=0",
        "iotsafe:id=xy",
        "iotsafe:id=01;id=02",
        "iotsafe:id=01;label=x",
        "iotsafe:label=",
        "iotsafe:label=%4",
        "iotsafe:label=%zz",
        "iotsafe:type=secret",
        "iotsafe:reader=",
        "iotsafe:reader=%00",
        "iotsafe:slot=1",
        "iotsafe:id=000102030405060708090a0b0c0d0e0f1011121314",
        "iotsafe:label=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct isp_uri uri;
        const char *why = NULL;

        assert_int_equal(isp_uri_parse(tb_span_str(bad[i]), &uri, &why), TB_EPARSE);
        assert_non_null(why);
    }
}

static void writes_what_it_reads(void **state) {
    static const char *const texts[] = {"iotsafe:", "iotsafe:id=0a1b;type=key",
                                        "iotsafe:label=my%20key%3B1;type=cert;reader=dev%3D7"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct isp_uri uri = parsed(texts[i]);
        uint8_t room[ISP_URI_MAX];
        struct tb_buf out = TB_BUF(room);

        isp_uri_put(&out, &uri);
        assert_true(tb_span_eq(tb_buf_span(&out), tb_span_str(texts[i])));
    }
}

static void reference_round_trip_and_every_truncation(void **state) {
    const struct tb_span uri = tb_span_str("iotsafe:id=01"), spki = TB_BYTES(0x30, 2, 5, 0);
    uint8_t room[ISP_REFERENCE_MAX];
    struct tb_buf out = TB_BUF(room);
    struct tb_span got_uri, got_spki;

    (void)state;
    isp_reference_put(&out, uri, spki);
    assert_int_equal(isp_reference_parse(tb_buf_span(&out), &got_uri, &got_spki), 0);
    assert_true(tb_span_eq(got_uri, uri));
    assert_true(tb_span_eq(got_spki, spki));
    for (size_t n = 0; n < out.n; n++)
        assert_int_equal(isp_reference_parse(tb_span(room, n), &got_uri, &got_spki), TB_EPARSE);
    room[out.n] = 0;
    assert_int_equal(isp_reference_parse(tb_span(room, out.n + 1), &got_uri, &got_spki), TB_EPARSE);
}

static void reference_may_lack_the_public_key(void **state) {
    uint8_t room[ISP_REFERENCE_MAX];
    struct tb_buf out = TB_BUF(room);
    struct tb_span uri, spki;

    (void)state;
    isp_reference_put(&out, tb_span_str("iotsafe:id=01"), TB_SPAN_NONE);
    assert_int_equal(isp_reference_parse(tb_buf_span(&out), &uri, &spki), 0);
    assert_int_equal(spki.n, 0);
}

static void other_der_is_no_reference(void **state) {
    struct tb_span uri, spki;

    (void)state;
    /* version 2; no URI of ours; a key's PrivateKeyInfo begins */
    assert_int_equal(isp_reference_parse(TB_BYTES(0x30, 0x0D, 2, 1, 2, 0x0C, 8, 'i', 'o', 't', 's',
                                                  'a', 'f', 'e', ':'),
                                         &uri, &spki),
                     TB_EPARSE);
    assert_int_equal(
        isp_reference_parse(TB_BYTES(0x30, 7, 2, 1, 1, 0x0C, 2, 'x', ':'), &uri, &spki), TB_EPARSE);
    assert_int_equal(isp_reference_parse(TB_BYTES(0x30, 0x07, 2, 1, 0, 0x30, 2, 5, 0), &uri, &spki),
                     TB_EPARSE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_ids_labels_types_and_readers),
        cmocka_unit_test(refuses_what_is_no_uri),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(reference_round_trip_and_every_truncation),
        cmocka_unit_test(reference_may_lack_the_public_key),
        cmocka_unit_test(other_der_is_no_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

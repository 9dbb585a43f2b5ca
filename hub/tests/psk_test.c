/* Pre-shared keys in the registry, and a registry of an earlier release. */
#include "tb/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <sqlite3.h>

#include "registry/registry.h"
#include "tb/hex.h"
#include "tls/verdict.h"

#define ICCID "8988247000000000001"

struct bed {
    char dir[64], db[96], key[96];
    struct hub_registry *r;
};

static int make_dir(void **state) {
    struct bed *b = calloc(1, sizeof *b);

    strcpy(b->dir, "/tmp/tb-psk-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->db, sizeof b->db, "%s/registry.db", b->dir);
    snprintf(b->key, sizeof b->key, "%s/psk.key", b->dir);
    *state = b;
    return 0;
}

static int make_bed(void **state) {
    struct bed *b;
    struct tb_error e = {0};

    make_dir(state);
    b = *state;
    if (hub_registry_open(b->dir, &b->r, &e) < 0)
        fail_msg("%s", e.message);
    return 0;
}

static int clear_bed(void **state) {
    struct bed *b = *state;
    char cmd[128];

    hub_registry_close(b->r);
    snprintf(cmd, sizeof cmd, "rm -r '%s'", b->dir);
    assert_int_equal(system(cmd), 0);
    free(b);
    return 0;
}

static void reopen(struct bed *b) {
    hub_registry_close(b->r);
    b->r = NULL;
    assert_int_equal(hub_registry_open(b->dir, &b->r, NULL), 0);
}

static int add_as(struct bed *b, const char *identity, struct tb_span secret, struct tb_error *e) {
    bool added;
    int err = hub_registry_add_psk(b->r, "dev-1", NULL, NULL, identity, secret, "t", &added, e);

    return err < 0 ? err : added;
}

static struct hub_credential add(struct bed *b, const char *identity, struct tb_span secret) {
    struct hub_credential c;
    struct tb_error e = {0};

    if (add_as(b, identity, secret, &e) != 1)
        fail_msg("%s: %s", e.file, e.message);
    assert_int_equal(hub_registry_lookup_psk(b->r, tb_span_str(identity), &c), 0);
    return c;
}

static void secret_is(struct bed *b, const struct hub_credential *c, struct tb_span want) {
    uint8_t secret[HUB_PSK_MAX];
    struct tb_error e = {0};
    size_t n = 0;

    if (hub_registry_psk(b->r, c, secret, &n, &e) < 0)
        fail_msg("%s: %s", e.file, e.message);
    assert_true(tb_span_eq(tb_span(secret, n), want));
}

static void a_secret_of_any_length_comes_back(void **state) {
    struct bed *b = *state;
    uint8_t secret[HUB_PSK_MAX + 1];

    memset(secret, 0xA5, sizeof secret);
    for (size_t n = 1; n <= HUB_PSK_MAX; n++) {
        char identity[16];
        struct hub_credential c;

        snprintf(identity, sizeof identity, "id-%zu", n);
        c = add(b, identity, tb_span(secret, n));
        secret_is(b, &c, tb_span(secret, n));
    }
    assert_int_equal(add_as(b, "x", TB_SPAN_NONE, NULL), TB_EPARSE);
    assert_int_equal(add_as(b, "x", tb_span(secret, sizeof secret), NULL), TB_EPARSE);
}

static void it_is_a_credential_like_the_others(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "kettle", TB_BYTES(1, 2, 3)), now;

    assert_int_equal(c.kind, HUB_CRED_PSK);
    assert_string_equal(c.device, "dev-1");
    assert_string_equal(c.psk_identity, "kettle");
    assert_int_equal(c.state, HUB_CRED_PENDING);
    assert_int_equal(hub_judge(&c, 0), HUB_ACCEPTED); /* it has no dates */
    assert_int_equal(hub_registry_lookup(b->r, c.fp, &now), 0);
    assert_string_equal(now.psk_identity, "kettle");
    assert_int_equal(hub_registry_transition(b->r, &now, HUB_CRED_ACTIVE, "t", "x", NULL), 0);
    now.state = HUB_CRED_ACTIVE;
    assert_int_equal(hub_registry_transition(b->r, &now, HUB_CRED_REVOKED, "t", "x", NULL), 0);
    assert_int_equal(hub_registry_lookup_psk(b->r, tb_span_str("kettle"), &now), 0);
    assert_int_equal(hub_judge(&now, 0), HUB_REVOKED);
}

static void only_the_whole_identity_finds_it(void **state) {
    struct bed *b = *state;
    struct hub_credential c;
    char longest[HUB_PSK_IDENTITY_MAX + 2] = "";

    add(b, "kettle", TB_BYTES(1));
    assert_int_equal(hub_registry_lookup_psk(b->r, tb_span("kettle", 7), &c), TB_ENOTFOUND);
    assert_int_equal(hub_registry_lookup_psk(b->r, tb_span("kettl", 5), &c), TB_ENOTFOUND);
    assert_int_equal(hub_registry_lookup_psk(b->r, TB_SPAN_NONE, &c), TB_ENOTFOUND);
    memset(longest, 'k', sizeof longest - 1);
    assert_int_equal(hub_registry_lookup_psk(b->r, tb_span_str(longest), &c), TB_ENOTFOUND);
    assert_false(hub_psk_identity_ok(longest));
    longest[HUB_PSK_IDENTITY_MAX] = '\0';
    assert_true(hub_psk_identity_ok(longest));
    add(b, longest, TB_BYTES(1));
}

static void identities_are_text(void **state) {
    static const char *const bad[] = {"", "a\nb", "a\x7F", "\xC2\x80", "\xFF", "\xC3"};
    (void)state;

    assert_true(hub_psk_identity_ok("3GPP-bootstrapping;aGk+/=@bsf.example"));
    assert_true(hub_psk_identity_ok("K\xC3\xBC"
                                    "che \xC2\xA0"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(hub_psk_identity_ok(bad[i]));
}

static void the_same_again_changes_nothing_and_another_secret_is_refused(void **state) {
    struct bed *b = *state;
    struct tb_error e = {0};
    struct hub_credential c = add(b, "kettle", TB_BYTES(1, 2, 3));
    bool added;

    assert_int_equal(add_as(b, "kettle", TB_BYTES(1, 2, 3), NULL), 0);
    assert_int_equal(add_as(b, "kettle", TB_BYTES(1, 2, 4), &e), TB_ESTATE);
    assert_non_null(strstr(e.message, "another secret"));
    assert_int_equal(add_as(b, "kettle", TB_BYTES(1, 2), NULL), TB_ESTATE);
    assert_int_equal(hub_registry_add_psk(b->r, "dev-2", NULL, NULL, "kettle", TB_BYTES(1, 2, 3),
                                          "t", &added, &e),
                     TB_ESTATE);
    assert_non_null(strstr(e.message, "belongs to device dev-1"));
    secret_is(b, &c, TB_BYTES(1, 2, 3));
}

static void fill_with(const char *path, const char *text) {
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void the_wrapping_key_is_ours_alone_and_needed(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "kettle", TB_BYTES(1, 2, 3));
    uint8_t secret[HUB_PSK_MAX];
    struct tb_error e = {0};
    char aside[112];
    struct stat st;
    size_t n = 77;

    assert_int_equal(stat(b->key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 32);
    reopen(b); /* with the same key */
    secret_is(b, &c, TB_BYTES(1, 2, 3));
    snprintf(aside, sizeof aside, "%s.aside", b->key);
    assert_int_equal(rename(b->key, aside), 0);
    reopen(b);
    assert_int_equal(hub_registry_psk(b->r, &c, secret, &n, &e), TB_ESTORE);
    assert_int_equal(add_as(b, "other", TB_BYTES(1), &e), TB_ESTORE); /* no second key is made */
    assert_non_null(strstr(e.message, "put it back"));
    fill_with(b->key, "another key of thirty-two bytes.");
    assert_int_equal(hub_registry_psk(b->r, &c, secret, &n, &e), TB_ESTORE);
    assert_non_null(strstr(e.message, "not the key"));
    assert_int_equal(n, 77);
    fill_with(b->key, "short");
    reopen(b);
    assert_int_equal(hub_registry_psk(b->r, &c, secret, &n, &e), TB_ESTORE);
}

/* Neither in the database nor in what is beside it. */
static void the_secret_is_nowhere_in_clear(void **state) {
    struct bed *b = *state;
    char cmd[160];

    add(b, "kettle", tb_span_str("correct-horse-battery-staple"));
    reopen(b);
    snprintf(cmd, sizeof cmd, "grep -qr correct-horse '%s'", b->dir);
    assert_int_not_equal(system(cmd), 0);
    snprintf(cmd, sizeof cmd, "grep -qr kettle '%s'", b->dir);
    assert_int_equal(system(cmd), 0);
}

static int import(struct bed *b, json_t *credential, struct hub_import_report *ret,
                  struct tb_error *e) {
    json_t *batch =
        json_pack("{s:[{s:s, s:[o]}]}", "cards", "iccid", ICCID, "credentials", credential);
    int err = hub_registry_import(b->r, batch, NULL, "t", ret, e);

    json_decref(batch);
    return err;
}

static void an_import_takes_the_secret_that_the_factory_exported(void **state) {
    struct bed *b = *state;
    struct hub_import_report report = {0};
    struct hub_credential c;
    struct tb_error e = {0};
    json_t *psk = json_pack("{s:s, s:s, s:s}", "kind", "psk", "identity", "kettle", "secret",
                            "00112233445566778899AABBCCDDEEFF");

    assert_int_equal(import(b, json_incref(psk), &report, &e), 0);
    assert_int_equal(report.added, 1);
    assert_int_equal(import(b, json_incref(psk), &report, &e), 0);
    assert_int_equal(report.unchanged, 1);
    assert_int_equal(hub_registry_lookup_psk(b->r, tb_span_str("kettle"), &c), 0);
    assert_string_equal(c.device, ICCID);
    assert_string_equal(c.iccid, ICCID);
    json_object_set_new(psk, "secret", json_string("001"));
    assert_int_equal(import(b, json_incref(psk), &report, &e), TB_EPARSE);
    assert_non_null(strstr(e.message, "cards[0].credentials[0]: secret"));
    json_object_del(psk, "secret");
    assert_int_equal(import(b, json_incref(psk), &report, &e), 0);
    assert_int_equal(report.skipped, 1);
    json_object_del(psk, "identity");
    json_object_set_new(psk, "secret", json_string("00"));
    assert_int_equal(import(b, psk, &report, &e), TB_EPARSE);
}

static int find(const struct hub_credential *c, void *user) {
    *(struct hub_credential *)user = *c;
    return 0;
}

static void a_registry_of_schema_1_goes_on(void **state) {
    struct bed *b = *state;
    struct hub_credential c;
    struct tb_error e = {0};
    char *sql;
    sqlite3 *db;
    FILE *f = fopen(TB_SOURCE_DIR "/registry-1.sql", "r");

    assert_non_null(f);
    sql = calloc(1, 1 << 16);
    assert_true(fread(sql, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    assert_int_equal(sqlite3_open(b->db, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(sql);
    assert_int_equal(hub_registry_open_reader(b->dir, &b->r, &e), TB_EUNSUP); /* changes nothing */
    if (hub_registry_open(b->dir, &b->r, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(hub_registry_each(b->r, NULL, find, &c), 1);
    assert_string_equal(c.device, ICCID);
    assert_int_equal(c.kind, HUB_CRED_X509);
    assert_int_equal(c.state, HUB_CRED_REVOKED);
    assert_string_equal(c.subject, "CN=red");
    assert_true(c.not_after > c.not_before && c.not_before > 0);
    add(b, "kettle", TB_BYTES(1));
    reopen(b);
    assert_int_equal(hub_registry_each(b->r, NULL, find, &c), 2);
    assert_int_equal(hub_registry_check(b->r, &e), 0);
}

static void a_reader_sees_but_does_not_change(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "kettle", TB_BYTES(1, 2, 3)), now;
    struct hub_registry *writer = b->r, *reader = NULL;
    struct tb_error e = {0};
    bool added;

    assert_int_equal(hub_registry_open_reader("/nonexistent", &reader, &e), TB_ESTORE);
    assert_int_equal(hub_registry_open_reader(b->dir, &reader, &e), 0);
    b->r = reader;
    secret_is(b, &c, TB_BYTES(1, 2, 3));
    assert_true(
        hub_registry_add_psk(reader, "dev-2", NULL, NULL, "pot", TB_BYTES(1), "t", &added, &e) < 0);
    assert_true(hub_registry_transition(reader, &c, HUB_CRED_REVOKED, "t", "x", &e) < 0);
    b->r = writer;
    assert_int_equal(hub_registry_transition(writer, &c, HUB_CRED_REVOKED, "t", "x", &e), 0);
    assert_int_equal(hub_registry_lookup(reader, c.fp, &now), 0);
    assert_int_equal(now.state, HUB_CRED_REVOKED);
    hub_registry_close(reader);
}

#define with_bed(f) cmocka_unit_test_setup_teardown(f, make_bed, clear_bed)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_bed(a_secret_of_any_length_comes_back),
        with_bed(it_is_a_credential_like_the_others),
        with_bed(only_the_whole_identity_finds_it),
        cmocka_unit_test(identities_are_text),
        with_bed(the_same_again_changes_nothing_and_another_secret_is_refused),
        with_bed(the_wrapping_key_is_ours_alone_and_needed),
        with_bed(the_secret_is_nowhere_in_clear),
        with_bed(an_import_takes_the_secret_that_the_factory_exported),
        cmocka_unit_test_setup_teardown(a_registry_of_schema_1_goes_on, make_dir, clear_bed),
        with_bed(a_reader_sees_but_does_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

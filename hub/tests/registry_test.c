#include "tb/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <sqlite3.h>

#include "registry/registry.h"
#include "tb/loop.h"
#include "tb/pki.h"
#include "tls/verdict.h"

#define ICCID "8988247000000000001"

struct bed {
    char dir[64], state[96];
    struct hub_registry *r;
    struct tb_pki_ca ca;
    EVP_PKEY *key;
};

static X509 *issue(const struct tb_pki_ca *ca, EVP_PKEY *key, const char *cn) {
    const struct tb_pki_request req = {
        .role = TB_PKI_CLIENT, .common_name = cn, .not_before_s = -3600, .not_after_s = 3600};
    X509 *cert;

    assert_int_equal(tb_pki_issue(ca, key, &req, &cert), 0);
    return cert;
}

static int make_bed(void **state) {
    struct bed *b = calloc(1, sizeof *b);
    struct tb_error e = {0};

    strcpy(b->dir, "/tmp/tb-registry-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->state, sizeof b->state, "%s/a/b", b->dir);
    if (hub_registry_open(b->state, &b->r, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(tb_pki_ca_init("unit", 10, &b->ca), 0);
    b->key = EVP_EC_gen("P-256");
    assert_int_equal(hub_registry_add_ca(b->r, "device", b->ca.cert, true, true, NULL), 0);
    *state = b;
    return 0;
}

static int clear_bed(void **state) {
    struct bed *b = *state;
    char cmd[128];

    hub_registry_close(b->r);
    tb_pki_ca_done(&b->ca);
    EVP_PKEY_free(b->key);
    snprintf(cmd, sizeof cmd, "rm -r '%s'", b->dir);
    assert_int_equal(system(cmd), 0);
    free(b);
    return 0;
}

static struct hub_credential add(struct bed *b, const char *device) {
    X509 *cert = issue(&b->ca, b->key, device);
    struct hub_credential c;
    struct tb_error e = {0};
    uint8_t fp[HUB_FP_SIZE];
    bool added = false;

    if (hub_registry_add(b->r, device, NULL, NULL, cert, "test", &added, &e) < 0)
        fail_msg("%s", e.message);
    assert_true(added);
    assert_int_equal(tb_pki_fingerprint(cert, fp), 0);
    assert_int_equal(hub_registry_lookup(b->r, fp, &c), 0);
    X509_free(cert);
    return c;
}

static void the_folder_is_ours_alone(void **state) {
    struct bed *b = *state;
    struct stat st;

    assert_int_equal(stat(b->state, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void finds_what_was_added_and_nothing_else(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "dev-1"), other = {.id = -1};
    uint8_t fp[HUB_FP_SIZE];

    assert_string_equal(c.device, "dev-1");
    assert_string_equal(c.subject, "CN=dev-1");
    assert_string_equal(c.issuer, "CN=unit");
    assert_string_equal(c.iccid, "");
    assert_int_equal(c.state, HUB_CRED_PENDING);
    assert_true(c.not_before < c.not_after);
    memcpy(fp, c.fp, sizeof fp);
    fp[31] ^= 1; /* the same slot in the cache */
    assert_int_equal(hub_registry_lookup(b->r, fp, &other), TB_ENOTFOUND);
    assert_int_equal(other.id, -1);
}

static void a_transition_is_compare_and_set(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "dev-1"), now;
    struct tb_error e = {0};

    assert_int_equal(hub_registry_transition(b->r, &c, HUB_CRED_ACTIVE, "test", "first", &e), 0);
    assert_int_equal(hub_registry_transition(b->r, &c, HUB_CRED_REVOKED, "test", "late", &e),
                     TB_ESTATE);
    assert_int_equal(hub_registry_lookup(b->r, c.fp, &now), 0);
    assert_int_equal(now.state, HUB_CRED_ACTIVE);
    assert_int_equal(hub_registry_transition(b->r, &now, HUB_CRED_REVOKED, "test", "stolen", &e),
                     0);
    assert_int_equal(hub_registry_lookup(b->r, c.fp, &now), 0);
    assert_int_equal(now.state, HUB_CRED_REVOKED);
    assert_int_equal(hub_registry_transition(b->r, &now, HUB_CRED_ACTIVE, "test", "regret", &e),
                     TB_ESTATE);
}

static void the_state_machine_is_the_documented_one(void **state) {
    static const struct {
        enum hub_cred_state from, to;
    } steps[] = {
        {HUB_CRED_NONE, HUB_CRED_REQUESTED},    {HUB_CRED_NONE, HUB_CRED_PENDING},
        {HUB_CRED_REQUESTED, HUB_CRED_PENDING}, {HUB_CRED_REQUESTED, HUB_CRED_ABANDONED},
        {HUB_CRED_PENDING, HUB_CRED_ACTIVE},    {HUB_CRED_PENDING, HUB_CRED_ABANDONED},
        {HUB_CRED_PENDING, HUB_CRED_REVOKED},   {HUB_CRED_ACTIVE, HUB_CRED_RETIRING},
        {HUB_CRED_ACTIVE, HUB_CRED_REVOKED},    {HUB_CRED_ACTIVE, HUB_CRED_SUSPENDED},
        {HUB_CRED_ACTIVE, HUB_CRED_EXPIRED},    {HUB_CRED_RETIRING, HUB_CRED_RETIRED},
        {HUB_CRED_RETIRING, HUB_CRED_REVOKED},  {HUB_CRED_RETIRING, HUB_CRED_EXPIRED},
        {HUB_CRED_SUSPENDED, HUB_CRED_ACTIVE},  {HUB_CRED_SUSPENDED, HUB_CRED_REVOKED},
    };
    unsigned count = 0;
    (void)state;

    for (unsigned from = HUB_CRED_NONE; from <= HUB_CRED_EXPIRED; from++) {
        for (unsigned to = HUB_CRED_NONE; to <= HUB_CRED_EXPIRED; to++)
            count += hub_cred_may_go(from, to);
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        assert_true(hub_cred_may_go(steps[i].from, steps[i].to));
    assert_int_equal(count, sizeof steps / sizeof *steps);
}

static void another_process_is_noticed(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "dev-1"), now;
    struct hub_registry *second;
    uint64_t before = hub_registry_generation(b->r);

    assert_int_equal(hub_registry_generation(b->r), before);
    assert_int_equal(hub_registry_open(b->state, &second, NULL), 0);
    assert_int_equal(hub_registry_transition(second, &c, HUB_CRED_REVOKED, "other", "x", NULL), 0);
    assert_int_equal(hub_registry_lookup(b->r, c.fp, &now), 0);
    assert_int_equal(now.state, HUB_CRED_REVOKED); /* not what was remembered */
    assert_int_not_equal(hub_registry_generation(b->r), before);
    hub_registry_close(second);
}

static int64_t number(struct bed *b, const char *sql) {
    char path[160];
    sqlite3 *db;
    sqlite3_stmt *s;
    int64_t n;

    snprintf(path, sizeof path, "%s/registry.db", b->state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
}

static void every_step_leaves_a_row_for_ever(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "dev-1");
    char path[160];
    sqlite3 *db;

    assert_int_equal(hub_registry_transition(b->r, &c, HUB_CRED_REVOKED, "test", "stolen", NULL),
                     0);
    assert_int_equal(number(b, "SELECT count(*) FROM credential_event WHERE from_state = 'none' "
                               "AND to_state = 'pending'"),
                     1);
    assert_int_equal(number(b, "SELECT count(*) FROM credential_event WHERE from_state = 'pending'"
                               " AND to_state = 'revoked' AND actor = 'test' AND cause = 'stolen'"),
                     1);
    assert_int_equal(
        number(b,
               "SELECT count(*) FROM revocation JOIN ca ON ca.id = ca_id WHERE ca.name = 'device'"
               " AND reason = 'stolen'"),
        1);
    snprintf(path, sizeof path, "%s/registry.db", b->state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(db, "DELETE FROM credential_event", NULL, NULL, NULL),
                         SQLITE_OK);
    assert_int_not_equal(
        sqlite3_exec(db, "UPDATE credential_event SET cause = 'x'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_later_schema_is_refused(void **state) {
    struct bed *b = *state;
    char path[160];
    struct hub_registry *r = NULL;
    struct tb_error e = {0};
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/registry.db", b->state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(hub_registry_open(b->state, &r, &e), TB_EUNSUP);
    assert_null(r);
    assert_non_null(strstr(e.message, "later release"));
}

static int count_one(const struct hub_credential *c, void *user) {
    snprintf(user, HUB_DEVICE_MAX + 1, "%s", c->device);
    return 0;
}

static void credentials_are_named_by_device_card_or_fingerprint(void **state) {
    struct bed *b = *state;
    struct hub_credential c = add(b, "dev-1");
    char hex[2 * HUB_FP_SIZE + 1], seen[HUB_DEVICE_MAX + 1];
    X509 *cert = issue(&b->ca, b->key, "in a card");
    bool added;

    assert_int_equal(
        hub_registry_add(b->r, "dev-2", ICCID, "001010000000001", cert, "t", &added, NULL), 0);
    X509_free(cert);
    for (size_t i = 0; i < HUB_FP_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", c.fp[i]);
    assert_int_equal(hub_registry_each(b->r, NULL, count_one, seen), 2);
    assert_int_equal(hub_registry_each(b->r, hex, count_one, seen), 1);
    assert_string_equal(seen, "dev-1");
    hex[8] = '\0';
    assert_int_equal(hub_registry_each(b->r, hex, count_one, seen), 1);
    hex[7] = '\0'; /* too short to mean anything */
    assert_int_equal(hub_registry_each(b->r, hex, count_one, seen), 0);
    assert_int_equal(hub_registry_each(b->r, ICCID, count_one, seen), 1);
    assert_string_equal(seen, "dev-2");
    assert_int_equal(hub_registry_each(b->r, "dev", count_one, seen), 0);
    assert_int_equal(hub_registry_each(b->r, "' OR 1=1 --", count_one, seen), 0);
}

static json_t *card(const char *iccid, const char *imsi, X509 *cert) {
    BIO *m = BIO_new(BIO_s_mem());
    char *text;
    json_t *o;
    long n;

    PEM_write_bio_X509(m, cert);
    n = BIO_get_mem_data(m, &text);
    o = json_pack("{s:s, s:s, s:[{s:s, s:s%}]}", "iccid", iccid, "imsi", imsi, "credentials",
                  "kind", "x509", "certificate", text, (size_t)n);
    BIO_free(m);
    return o;
}

static void an_import_is_idempotent(void **state) {
    struct bed *b = *state;
    X509 *cert = issue(&b->ca, b->key, "a");
    json_t *batch = json_pack("{s:[o]}", "cards", card(ICCID, "001010000000001", cert));
    struct hub_import_report report;
    struct hub_credential c;

    assert_int_equal(hub_registry_import(b->r, batch, NULL, "t", &report, NULL), 0);
    assert_int_equal(report.added, 1);
    assert_int_equal(report.untrusted, 0);
    assert_int_equal(hub_registry_import(b->r, batch, NULL, "t", &report, NULL), 0);
    assert_int_equal(report.added, 0);
    assert_int_equal(report.unchanged, 1);
    assert_int_equal(number(b, "SELECT count(*) FROM credential"), 1);
    /* What was revoked stays so. */
    assert_int_equal(hub_registry_each(b->r, ICCID, count_one, c.device), 1);
    assert_string_equal(c.device, ICCID);
    X509_free(cert);
    json_decref(batch);
}

static void import_fails(struct bed *b, json_t *batch, int want, const char *words) {
    struct hub_import_report report = {.cards = 77};
    struct tb_error e = {0};
    int err = hub_registry_import(b->r, batch, "f.json", "t", &report, &e);

    if (err != want || !strstr(e.message, words) || strcmp(e.file, "f.json") != 0)
        fail_msg("%d: %s: %s (wanted: %s)", err, e.file, e.message, words);
    assert_int_equal(report.cards, 77);
    json_decref(batch);
}

static void an_import_is_all_or_nothing_and_says_where(void **state) {
    struct bed *b = *state;
    X509 *one = issue(&b->ca, b->key, "a"), *two = issue(&b->ca, b->key, "b");
    json_t *good = card(ICCID, "001010000000001", one), *bad;
    struct hub_import_report report;

    import_fails(b, json_object(), TB_EPARSE, "\"cards\"");
    import_fails(b, json_pack("{s:[O,{}]}", "cards", good), TB_EPARSE, "cards[1]: an object");
    import_fails(b, json_pack("{s:[O,o]}", "cards", good, card("12", "1", two)), TB_EPARSE,
                 "cards[1].credentials[0]: iccid");
    import_fails(b, json_pack("{s:[O,o]}", "cards", good, card("8988247000000000002", "abc", two)),
                 TB_EPARSE, "cards[1].credentials[0]: imsi");
    bad = card("8988247000000000002", "001010000000002", two);
    json_object_set_new(bad, "device", json_string("a/#"));
    import_fails(b, json_pack("{s:[O,o]}", "cards", good, bad), TB_EPARSE, "device:");
    import_fails(
        b,
        json_pack("{s:[O,o]}", "cards", good, card("8988247000000000002", "001010000000002", one)),
        TB_ESTATE, "belongs to device " ICCID);
    import_fails(b,
                 json_pack("{s:[O,{s:s,s:[{s:s}]}]}", "cards", good, "iccid", "8988247000000000002",
                           "credentials", "kind", "rpk"),
                 TB_EUNSUP, "cards[1].credentials[0]: kind");
    import_fails(b,
                 json_pack("{s:[O,{s:s,s:[{s:s,s:s}]}]}", "cards", good, "iccid",
                           "8988247000000000002", "credentials", "kind", "x509", "certificate",
                           "rubbish"),
                 TB_EPARSE, "certificate");
    bad = card("8988247000000000002", "001010000000002", two);
    json_object_set_new(json_array_get(json_object_get(bad, "credentials"), 0), "fingerprint",
                        json_string("00"));
    import_fails(b, json_pack("{s:[O,o]}", "cards", good, bad), TB_EPARSE, "fingerprint");
    assert_int_equal(number(b, "SELECT count(*) FROM credential"), 0);
    assert_int_equal(number(b, "SELECT count(*) FROM card"), 0);
    bad = json_pack("{s:[O]}", "cards", good);
    assert_int_equal(hub_registry_import(b->r, bad, NULL, "t", &report, NULL), 0);
    json_decref(bad);
    import_fails(b, json_pack("{s:[o]}", "cards", card(ICCID, "001010000000009", two)), TB_ESTATE,
                 "another IMSI");
    X509_free(one);
    X509_free(two);
    json_decref(good);
}

static void an_import_tells_who_will_be_refused(void **state) {
    struct bed *b = *state;
    struct tb_pki_ca other;
    struct hub_import_report report;
    json_t *batch;
    X509 *cert;

    assert_int_equal(tb_pki_ca_init("other", 10, &other), 0);
    cert = issue(&other, b->key, "x");
    batch = json_pack("{s:[o]}", "cards", card(ICCID, "001010000000001", cert));
    assert_int_equal(hub_registry_import(b->r, batch, NULL, "t", &report, NULL), 0);
    assert_int_equal(report.untrusted, 1);
    assert_int_equal(hub_registry_add_ca(b->r, "other", other.cert, true, false, NULL), 0);
    assert_int_equal(hub_registry_import(b->r, batch, NULL, "t", &report, NULL), 0);
    assert_int_equal(report.untrusted, 0);
    assert_int_equal(hub_registry_add_ca(b->r, "other", other.cert, true, false, NULL), TB_ESTATE);
    assert_int_equal(hub_registry_trust_ca(b->r, "nobody", true, NULL), TB_ENOTFOUND);
    X509_free(cert);
    json_decref(batch);
    tb_pki_ca_done(&other);
}

static void a_pre_shared_key_in_a_batch_is_left_out(void **state) {
    struct bed *b = *state;
    X509 *cert = issue(&b->ca, b->key, "a");
    json_t *both = card(ICCID, "001010000000001", cert),
           *batch = json_pack("{s:[o]}", "cards", both);
    struct hub_import_report report;

    json_array_insert_new(json_object_get(both, "credentials"), 0,
                          json_pack("{s:s, s:s}", "kind", "psk", "identity", ICCID));
    assert_int_equal(hub_registry_import(b->r, batch, NULL, "t", &report, NULL), 0);
    assert_int_equal(report.added, 1);
    assert_int_equal(report.skipped, 1);
    X509_free(cert);
    json_decref(batch);
}

static void device_ids_cannot_break_topics(void **state) {
    char longest[HUB_DEVICE_MAX + 2];
    (void)state;

    memset(longest, 'a', sizeof longest);
    longest[HUB_DEVICE_MAX] = '\0';
    assert_true(hub_device_id_ok(longest));
    longest[HUB_DEVICE_MAX] = 'a';
    longest[HUB_DEVICE_MAX + 1] = '\0';
    assert_false(hub_device_id_ok(longest));
    assert_true(hub_device_id_ok("urn:dev:a_b-c.1"));
    for (const char *bad = "/+#$%\" \n"; *bad; bad++) {
        char id[] = {'a', *bad, 0};

        assert_false(hub_device_id_ok(id));
    }
    assert_false(hub_device_id_ok(""));
}

static void verdicts_follow_state_and_time(void **state) {
    struct hub_credential c = {.not_before = 100, .not_after = 200};
    static const enum hub_verdict want[] = {
        [HUB_CRED_NONE] = HUB_ENDED,          [HUB_CRED_REQUESTED] = HUB_ENDED,
        [HUB_CRED_PENDING] = HUB_ACCEPTED,    [HUB_CRED_ACTIVE] = HUB_ACCEPTED,
        [HUB_CRED_RETIRING] = HUB_ACCEPTED,   [HUB_CRED_RETIRED] = HUB_ENDED,
        [HUB_CRED_SUSPENDED] = HUB_SUSPENDED, [HUB_CRED_REVOKED] = HUB_REVOKED,
        [HUB_CRED_ABANDONED] = HUB_ENDED,     [HUB_CRED_EXPIRED] = HUB_EXPIRED,
    };
    (void)state;

    assert_int_equal(hub_judge(NULL, 150), HUB_UNKNOWN_CREDENTIAL);
    for (c.state = HUB_CRED_NONE; c.state <= HUB_CRED_EXPIRED; c.state++)
        assert_int_equal(hub_judge(&c, 150), want[c.state]);
    c.state = HUB_CRED_ACTIVE;
    assert_int_equal(hub_judge(&c, 99), HUB_NOT_YET_VALID);
    assert_int_equal(hub_judge(&c, 100), HUB_ACCEPTED);
    assert_int_equal(hub_judge(&c, 200), HUB_ACCEPTED);
    assert_int_equal(hub_judge(&c, 201), HUB_EXPIRED);
    c.state = HUB_CRED_REVOKED; /* worse than expired */
    assert_int_equal(hub_judge(&c, 201), HUB_REVOKED);
}

#define with_bed(f) cmocka_unit_test_setup_teardown(f, make_bed, clear_bed)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_bed(the_folder_is_ours_alone),
        with_bed(finds_what_was_added_and_nothing_else),
        with_bed(a_transition_is_compare_and_set),
        cmocka_unit_test(the_state_machine_is_the_documented_one),
        with_bed(another_process_is_noticed),
        with_bed(every_step_leaves_a_row_for_ever),
        with_bed(a_later_schema_is_refused),
        with_bed(credentials_are_named_by_device_card_or_fingerprint),
        with_bed(an_import_is_idempotent),
        with_bed(an_import_is_all_or_nothing_and_says_where),
        with_bed(an_import_tells_who_will_be_refused),
        with_bed(a_pre_shared_key_in_a_batch_is_left_out),
        cmocka_unit_test(device_ids_cannot_break_topics),
        cmocka_unit_test(verdicts_follow_state_and_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

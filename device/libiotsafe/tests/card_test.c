/* Every operation against the testbed's own card, in every habit that card can take on: each knob
 * of its profiles in each of its values, with and without Le, blocking and as a call. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "iotsafe/slots.h"
#include "script.h"

enum { LOG_MAX = 2000, PREFIX = 12 };

/* What was sent: enough of each command to tell two runs apart. Signatures to be verified differ
 * between runs. */
struct log {
    size_t n;
    struct {
        size_t len;
        uint8_t head[PREFIX];
    } cmd[LOG_MAX];
};

struct rig {
    struct card *card;
    struct card_nvm *nvm;
    struct log *log;
    unsigned flags;
    int blocking;
    struct iotsafe *c;
};

static int rig_transmit(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t cap) {
    struct rig *rig = user;
    struct tb_buf out = tb_buf(rsp, cap);

    assert_true(rig->log->n < LOG_MAX);
    rig->log->cmd[rig->log->n].len = cmd_len;
    memset(rig->log->cmd[rig->log->n].head, 0, PREFIX);
    memcpy(rig->log->cmd[rig->log->n].head, cmd, cmd_len < PREFIX ? cmd_len : PREFIX);
    rig->log->n++;
    assert_int_equal(card_transact(rig->card, tb_span(cmd, cmd_len), &out), 0);
    return (int)out.n;
}

/* Runs a started call by hand. */
static int by_hand(struct rig *rig, struct iotsafe_call *call, int r) {
    const uint8_t *cmd;
    uint8_t rsp[600];
    size_t n;

    while (r == 0 && (r = iotsafe_call_next(call, &cmd, &n)) == 1) {
        iotsafe_call_response(call, rsp, (size_t)rig_transmit(rig, cmd, n, rsp, sizeof rsp));
        r = 0;
    }
    return r;
}

/* The operation in the rig's style. */
#define RUN(name, ...)                                                                             \
    (rig->blocking ? iotsafe_##name(rig->c, __VA_ARGS__)                                           \
                   : by_hand(rig, &call, iotsafe_##name##_start(&call, rig->c, __VA_ARGS__)))

static const uint8_t digest[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void reads_everything(struct rig *rig) {
    struct iotsafe_ref id = iotsafe_id1(1), file = iotsafe_id1(2),
                       endpoint = iotsafe_label("endpoint");
    struct iotsafe_object objects[40], o;
    struct iotsafe_call call;
    struct iotsafe_info info;
    uint8_t buf[800];
    unsigned found = 0;
    size_t n;

    assert_int_equal(RUN(get_info, &info), 0);
    assert_int_equal(info.crypto, 0x0F);
    assert_int_equal(RUN(list, objects, 40, &n), 0);
    assert_in_range(n, 20, 40);
    for (size_t i = 0; i < n; i++)
        found += objects[i].type == IOTSAFE_PRIVATE_KEY && objects[i].ref.id[0] == 1 &&
                 objects[i].sign_alg == IOTSAFE_ECDSA && objects[i].ref.label_len == 10;
    assert_int_equal(found, 1);
    assert_int_equal(RUN(get_object, IOTSAFE_FILE, &file, &o), 0);
    assert_int_equal(o.file_usage, o.access ? 2 : 0); /* file_info=brief tells neither */
    assert_true(o.file_size == FX_CERT_LEN || o.file_size == 512);
    assert_int_equal(RUN(read_file, &file, buf, sizeof buf, &n), 0);
    assert_int_equal(n, FX_CERT_LEN);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf[i], fx_cert_byte(i));
    assert_int_equal(RUN(read_file, &endpoint, buf, sizeof buf, &n), 0);
    assert_int_equal(n, 16);
    assert_memory_equal(buf, "8883 hub.example", n);
    assert_int_equal(RUN(read_public_key, &id, buf, sizeof buf, &n), 0);
    assert_int_equal(n, 65);
    assert_int_equal(RUN(random, buf, 300), 0);
}

static void signs_and_verifies(struct rig *rig, struct iotsafe_ref key, unsigned alg, size_t want) {
    struct iotsafe_call call;
    uint8_t sig[512];
    size_t n = 0;

    assert_int_equal(RUN(sign, &key, IOTSAFE_SHA256, alg, digest, 32, sig, sizeof sig, &n), 0);
    assert_int_equal(n, want);
    assert_int_equal(RUN(verify, &key, IOTSAFE_SHA256, alg, digest, 32, sig, n), 0);
    sig[n - 1] ^= 1;
    assert_int_equal(RUN(verify, &key, IOTSAFE_SHA256, alg, digest, 32, sig, n),
                     IOTSAFE_E_SIGNATURE);
}

static void agrees(struct rig *rig) {
    struct iotsafe_ref own = iotsafe_id1(4), peer = iotsafe_id1(5), client = iotsafe_id1(1), priv,
                       pub;
    uint8_t point[65], other[65], secret[32], again[32], zero[32] = {0};
    struct iotsafe_call call;
    struct iotsafe_slots slots;
    size_t n;

    assert_int_equal(RUN(slots_discover, &slots), 0);
    assert_true(slots.n_own > 0);
    assert_non_null(iotsafe_slots_peer(&slots));
    assert_non_null(iotsafe_slots_verifier(&slots));
    assert_int_equal(iotsafe_slots_verifier(&slots)->id[0], 5);
    assert_int_equal(RUN(generate, &own, point, &priv, &pub), 0);
    assert_int_equal(priv.id[0], 4);
    assert_int_equal(pub.id[0], 4);
    assert_int_equal(RUN(read_public_key, &client, other, sizeof other, &n), 0);
    assert_int_equal(RUN(put_public_key, &peer, other, sizeof other), 0);
    assert_int_equal(RUN(ecdh, &own, &peer, secret), 0);
    assert_memory_not_equal(secret, zero, sizeof zero);
    assert_int_equal(RUN(agree, &own, &peer, other, again), 0);
    assert_memory_equal(secret, again, sizeof again);
}

/* Vectors of the reference, 18: pre-shared key 00 … 0F. */
static void derives(struct rig *rig) {
    static const uint8_t label[13] = {'m', 'a', 's', 't', 'e', 'r', ' ',
                                      's', 'e', 'c', 'r', 'e', 't'};
    struct iotsafe_ref psk = iotsafe_id1(6);
    uint8_t seed[13 + 64], z[32], out[64];
    struct iotsafe_call call;
    size_t n;

    memcpy(seed, label, sizeof label);
    memset(seed + 13, 0xAA, 32);
    memset(seed + 45, 0xBB, 32);
    memset(z, 0x5A, sizeof z);
    assert_int_equal(RUN(prf, &psk, NULL, 0, NULL, seed, sizeof seed, out, 48), 0);
    assert_hex(out, 48,
               "31A8C712D99801A3C857C87A5B6469FCB9634C1EF1811532B7C56B5406C7DAE20C407EF9F2B7F4C7A48"
               "BCE656F2A2431");
    assert_int_equal(RUN(prf, &psk, NULL, 0, z, seed, sizeof seed, out, 48), 0);
    assert_hex(out, 48,
               "94F28468490C7E7C62556732D2FE1493AC6A61D66B796AD7B241E51BE3B960148EE195F1E6A9D72CB60"
               "4059599F95F5A");
    assert_int_equal(RUN(hkdf_extract, &psk, NULL, 0, NULL, 0, IOTSAFE_SHA256, out, sizeof out, &n),
                     0);
    assert_hex(out, n, "D926952CA8B7EC4A95941D1ADA3A5203CEFF8CCEEE34F574D23909EB314C40C0");
    assert_int_equal(RUN(hkdf_extract, NULL, z, 32, z, 32, IOTSAFE_SHA384, out, sizeof out, &n), 0);
    assert_int_equal(n, 48);
}

static void is_refused(struct rig *rig) {
    struct iotsafe_ref none = iotsafe_id1(0x7E), inactive = iotsafe_id1(0x0D);
    struct iotsafe_call call;
    uint8_t sig[64];
    size_t n;

    assert_int_equal(RUN(sign, &none, 0, 0, digest, 32, sig, sizeof sig, &n), IOTSAFE_E_NOT_FOUND);
    assert_int_equal(RUN(sign, &inactive, 0, 0, digest, 32, sig, sizeof sig, &n), IOTSAFE_E_CARD);
    assert_int_equal(iotsafe_last_sw(rig->c), 0x6985);
    assert_int_equal(RUN(read_file, &none, sig, sizeof sig, &n), IOTSAFE_E_NOT_FOUND);
    assert_int_equal(RUN(read_file, &inactive, sig, sizeof sig, &n), IOTSAFE_E_CARD);
}

/* A card of its own: more kinds are wanted here than fx_card() keeps. */
static struct card *new_card(const char *knobs, struct card_nvm **ret_nvm) {
    struct card_config cfg = {.nvm = card_nvm_mem_new(0)};
    struct tb_span atr;
    struct card *card;
    int r;

    assert_non_null(cfg.nvm);
    fx_personalise(cfg.nvm, knobs);
    card = card_new(&cfg, &r);
    assert_non_null(card);
    assert_int_equal(card_power_on(card, &atr), 0);
    *ret_nvm = cfg.nvm;
    return card;
}

static void run_all(const char *knobs, const struct iotsafe_options *opt, unsigned flags,
                    int blocking, struct log *log) {
    struct rig rig_storage = {.log = log, .flags = flags, .blocking = blocking},
               *rig = &rig_storage;
    struct iotsafe_ref brainpool = iotsafe_id1(0x0B);
    struct iotsafe_transport *t;
    struct iotsafe_stats stats;
    struct iotsafe_call call;
    uint8_t point[65];

    log->n = 0;
    rig->card = new_card(knobs, &rig->nvm);
    assert_int_equal(iotsafe_transport_mem(rig_transmit, rig, &t), 0);
    t->flags = flags;
    assert_int_equal(iotsafe_open(t, opt, &rig->c), 0);
    reads_everything(rig);
    signs_and_verifies(rig, iotsafe_id1(1), IOTSAFE_ECDSA, 64);
    signs_and_verifies(rig, iotsafe_id1(0x0A), IOTSAFE_RSA_PKCS1, 256);
    agrees(rig);
    assert_int_equal(RUN(generate, &brainpool, point, NULL, NULL), 0);
    signs_and_verifies(rig, brainpool, IOTSAFE_ECDSA, 64);
    derives(rig);
    is_refused(rig);
    iotsafe_stats(rig->c, &stats);
    assert_int_equal(stats.apdus, log->n);
    if (!opt || !opt->basic_channel) /* there each refusal is a reason to look again */
        assert_int_equal(stats.opens, 1);
    iotsafe_close(rig->c);
    card_free(rig->card);
    card_nvm_free(rig->nvm);
}

static void in_both_styles(const char *knobs, const struct iotsafe_options *opt) {
    static struct log a, b;

    for (unsigned le = 0; le < 2; le++) {
        unsigned flags = le ? IOTSAFE_TRANSPORT_LE : 0;

        run_all(knobs, opt, flags, 1, &a);
        run_all(knobs, opt, flags, 0, &b);
        assert_int_equal(a.n, b.n);
        for (size_t i = 0; i < a.n; i++) {
            assert_int_equal(a.cmd[i].head[1], b.cmd[i].head[1]);
            if (a.cmd[i].head[1] == TB_SAFE_VERIFY_SIGNATURE_UPDATE)
                continue; /* DER signatures differ in length */
            assert_int_equal(a.cmd[i].len, b.cmd[i].len);
            assert_memory_equal(a.cmd[i].head, b.cmd[i].head, PREFIX);
        }
    }
}

static void works_under_each_well_known_aid(void **state) {
    (void)state;
    for (const struct tb_safe_aid *a = tb_safe_aids; a->len; a++) {
        const struct iotsafe_options opt = {.aid = a->aid, .aid_len = a->len, .only_this_aid = 1};

        in_both_styles(NULL, &opt);
    }
}

static void works_with_each_habit_of_an_applet(void **state) {
    static const char *const numbers[] = {"max_block=1",
                                          "max_block=100",
                                          "max_block=256",
                                          "object_list_limit=1",
                                          "object_list_limit=100",
                                          "object_list_limit=255",
                                          "max_sessions=1",
                                          "version=11",
                                          NULL};

    (void)state;
    for (const char *const *knob = card_profile_knobs(); *knob; knob++) {
        const char *values = card_profile_knob_values(*knob);
        char text[64];

        /* ranges are below; a Type II applet does not have all that is tried here */
        if (strstr(values, "..") || strcmp(*knob, "variant") == 0)
            continue;
        for (size_t n; *values; values += n + (values[n] == '|')) {
            n = strcspn(values, "|");
            snprintf(text, sizeof text, "%s=%.*s", *knob, (int)n, values);
            in_both_styles(text, NULL);
        }
    }
    for (const char *const *number = numbers; *number; number++)
        in_both_styles(*number, NULL);
}

static void works_with_each_option_of_the_client(void **state) {
    static const struct iotsafe_options options[] = {{.close_sessions = 1},
                                                     {.basic_channel = 1},
                                                     {.interindustry_class = 1},
                                                     {.session = 0},
                                                     {.max_answer = 100},
                                                     {.le = -1},
                                                     {.le = 1}};

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        in_both_styles(NULL, &options[i]);
        in_both_styles("delivery=t0", &options[i]);
    }
}

/* A signature is two commands whatever the applet's habits, three with the fetch of T=0. */
static void a_signature_is_two_commands(void **state) {
    static const char *const knobs[] = {"sig_len=8", "sig_form=der", "delivery=t0"};
    struct iotsafe_ref key = iotsafe_id1(1);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct log log = {0};
        struct rig rig = {.log = &log};
        struct iotsafe_transport *t;
        struct iotsafe *c;
        uint8_t sig[64];
        size_t n, before;

        rig.card = fx_card(knobs[i], &rig.nvm);
        assert_int_equal(iotsafe_transport_mem(rig_transmit, &rig, &t), 0);
        assert_int_equal(iotsafe_open(t, NULL, &c), 0);
        assert_int_equal(iotsafe_select(c), 0);
        before = log.n;
        assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
        assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
        assert_int_equal(log.n - before, i == 2 ? 6 : 4);
        iotsafe_close(c);
        card_free(rig.card);
        card_nvm_free(rig.nvm);
    }
}

static void finds_back_after_the_card_was_reset(void **state) {
    struct iotsafe_ref key = iotsafe_id1(1);
    const struct iotsafe_options basic = {.basic_channel = 1};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct log log = {0};
        struct rig rig = {.log = &log};
        struct iotsafe_transport *t;
        struct iotsafe_stats stats;
        struct iotsafe *c;
        uint8_t sig[64];
        size_t n;

        rig.card = fx_card(NULL, &rig.nvm);
        assert_int_equal(iotsafe_transport_mem(rig_transmit, &rig, &t), 0);
        assert_int_equal(iotsafe_open(t, i ? &basic : NULL, &c), 0);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
            assert_int_equal(card_reset(rig.card), 0);
        }
        iotsafe_stats(c, &stats);
        assert_int_equal(stats.opens, 3);
        iotsafe_close(c);
        card_free(rig.card);
        card_nvm_free(rig.nvm);
    }
}

/* A strict applet and somebody who left a session open. */
static void gets_past_a_session_that_was_left_open(void **state) {
    struct iotsafe_ref key = iotsafe_id1(1);
    static const uint8_t init[] = {0x80, 0x2A, 0,    1, 0x0D, 0x84, 1,    1, 0xA1,
                                   1,    3,    0x91, 2, 0,    1,    0x92, 1, 4};
    struct log log = {0};
    struct rig rig = {.log = &log};
    struct iotsafe_transport *t;
    struct iotsafe *c;
    uint8_t sig[64];
    size_t n;

    (void)state;
    rig.card = fx_card("session_reopen=off", &rig.nvm);
    assert_int_equal(iotsafe_transport_mem(rig_transmit, &rig, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    assert_int_equal(iotsafe_transmit(c, init, sizeof init, sig, sizeof sig, &n), 0);
    assert_hex(sig, n, "9000");
    assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
    assert_int_equal(log.n, 2 + 1 + 4);
    iotsafe_close(c);
    card_free(rig.card);
    card_nvm_free(rig.nvm);
}

static void finds_no_applet_on_a_card_without(void **state) {
    struct card_config cfg = {.nvm = card_nvm_mem_new(0)};
    struct log log = {0};
    struct rig rig = {.log = &log, .nvm = cfg.nvm};
    struct iotsafe_transport *t;
    struct tb_span atr;
    struct iotsafe *c;
    int err;

    (void)state;
    rig.card = card_new(&cfg, &err);
    assert_non_null(rig.card);
    assert_int_equal(card_power_on(rig.card, &atr), 0);
    assert_int_equal(iotsafe_transport_mem(rig_transmit, &rig, &t), 0);
    assert_int_equal(iotsafe_open(t, NULL, &c), 0);
    assert_int_equal(iotsafe_select(c), IOTSAFE_E_NO_APPLET);
    assert_int_equal(log.n, 6); /* a channel, four applications, the channel given back */
    iotsafe_close(c);
    card_free(rig.card);
    card_nvm_free(rig.nvm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_under_each_well_known_aid),
        cmocka_unit_test(works_with_each_habit_of_an_applet),
        cmocka_unit_test(works_with_each_option_of_the_client),
        cmocka_unit_test(a_signature_is_two_commands),
        cmocka_unit_test(finds_back_after_the_card_was_reset),
        cmocka_unit_test(gets_past_a_session_that_was_left_open),
        cmocka_unit_test(finds_no_applet_on_a_card_without),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

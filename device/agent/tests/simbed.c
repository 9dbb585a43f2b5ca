#include "simbed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simcard/card.h"
#include "simcard/nvm.h"
#include "simcard/personalise.h"
#include "simcard/profile.h"
#include "tb/safe.h"
#include "tb/sw.h"

const uint8_t sim_psk[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
const char sim_identity[] = "device-psk";

/* ---- card ---- */

static void on_delay(uv_timer_t *timer) {
    dev_task_wake(timer->data);
}

static void on_closed(uv_handle_t *h) {
    free(h);
}

static void pause_for(struct sim_card *c, struct dev_task *t) {
    uv_timer_t *timer = malloc(sizeof *timer);
    uint64_t until = dev_now() + c->delay_ms;

    assert(timer && uv_timer_init(&c->bed->loop, timer) == 0);
    timer->data = t;
    uv_update_time(&c->bed->loop);
    uv_timer_start(timer, on_delay, c->delay_ms, 0);
    if (++c->bed->in_flight > c->bed->most_in_flight)
        c->bed->most_in_flight = c->bed->in_flight;
    while (dev_now() < until && dev_task_wait(t, 0) == 0)
        ;
    c->bed->in_flight--;
    uv_close((uv_handle_t *)timer, on_closed);
}

static void count(struct sim_card *c, uint8_t ins) {
    switch (ins) {
    case TB_SAFE_GENERATE_KEY_PAIR:
        c->generated++;
        break;
    case TB_SAFE_COMPUTE_DH:
        c->agreed++;
        break;
    case TB_SAFE_COMPUTE_SIGNATURE_UPDATE:
        c->signed_++;
        break;
    case TB_SAFE_VERIFY_SIGNATURE_UPDATE:
        c->verified++;
        break;
    case TB_SAFE_COMPUTE_PRF:
    case TB_SAFE_COMPUTE_HKDF:
        c->derived++;
        break;
    case TB_INS_MANAGE_CHANNEL:
        c->channels++;
        return;
    case TB_SAFE_GET_RANDOM:
        c->randoms++;
        break;
    default:
        return;
    }
    if (c->fault_at && c->commands > c->fault_at)
        c->computed_after++;
}

static void on_cancel(uv_timer_t *timer) {
    dev_task_cancel(timer->data);
}

/* The session is called off while we wait: by somebody on the loop, as always. */
static int called_off(struct sim_card *c, struct dev_task *t) {
    uv_timer_t *timer = malloc(sizeof *timer);

    assert(timer && uv_timer_init(&c->bed->loop, timer) == 0);
    timer->data = t;
    uv_timer_start(timer, on_cancel, 0, 0);
    while (dev_task_wait(t, 0) == 0)
        ;
    uv_close((uv_handle_t *)timer, on_closed);
    return IOTSAFE_E_TIMEOUT;
}

static int late(struct dev_task *t) {
    t->limit = dev_now() + 1;
    while (dev_task_wait(t, 0) == 0)
        ;
    return IOTSAFE_E_TIMEOUT;
}

static int transmit(struct iotsafe_transport *transport, const uint8_t *cmd, size_t cmd_len,
                    uint8_t *rsp, size_t rsp_cap) {
    struct sim_card *c = (struct sim_card *)transport;
    struct dev_task *t = dev_task_current();
    struct tb_buf out = tb_buf(rsp, rsp_cap);

    assert(t);
    if (c->delay_ms)
        pause_for(c, t);
    c->commands++;
    if (c->fault_at && c->commands > c->fault_at)
        c->after++;
    if (c->removed)
        return IOTSAFE_E_ABSENT;
    if (c->fault == SIM_REFUSES && c->commands == c->fault_at)
        c->refused_ins = cmd[1];
    if (c->refused_ins && cmd[1] == c->refused_ins) {
        memcpy(rsp, "\x6F\x00", 2);
        return 2;
    }
    if (c->commands == c->fault_at) {
        switch (c->fault) {
        case SIM_REMOVED:
            c->removed = true;
            card_power_off(c->card);
            return IOTSAFE_E_LINK;
        case SIM_LATE:
            return late(t);
        case SIM_CANCEL:
            return called_off(c, t);
        default:
            break;
        }
    }
    count(c, cmd[1]);
    assert(card_transact(c->card, tb_span(cmd, cmd_len), &out) == 0);
    return (int)out.n;
}

static void close_transport(struct iotsafe_transport *t) {
    (void)t;
}

static const struct iotsafe_transport_ops transport_ops = {.transmit = transmit,
                                                           .close = close_transport};

static void object(struct sim_card *c, struct card_object_spec spec) {
    assert(card_perso_object(c->nvm, 0, &spec) == 0);
}

static void personalise(struct sim_card *c, const char *name, unsigned containers) {
    const struct tb_pki_request req = {
        .role = TB_PKI_CLIENT, .common_name = name, .not_before_s = -60, .not_after_s = 3600};
    const struct card_profile *profile = card_profile_find("gsma");
    uint8_t room[65];
    struct tb_buf point = TB_BUF(room);
    unsigned char *der = c->cert;
    EVP_PKEY *pub;
    X509 *cert;

    assert(card_perso_applet(c->nvm, tb_span(tb_safe_aids[0].aid, tb_safe_aids[0].len), 0,
                             profile) == 0);
    object(c, (struct card_object_spec){.cls = CARD_PRIVATE,
                                        .id = TB_BYTES(1),
                                        .access = TB_SAFE_UPDATE,
                                        .key_type = TB_SAFE_P256,
                                        .crypto = TB_SAFE_CAN_SIGN});
    object(c, (struct card_object_spec){.cls = CARD_PUBLIC,
                                        .id = TB_BYTES(1),
                                        .access = TB_SAFE_READ,
                                        .key_type = TB_SAFE_P256,
                                        .crypto = TB_SAFE_CAN_SIGN});
    assert(card_perso_generate(c->nvm, 0, TB_BYTES(1), &point) == 0);
    assert(tb_pki_ec_public("P-256", tb_buf_span(&point), &pub) == 0);
    assert(tb_pki_issue(&c->bed->ca, pub, &req, &cert) == 0);
    EVP_PKEY_free(pub);
    c->cert_n = (size_t)i2d_X509(cert, &der);
    X509_free(cert);
    object(c, (struct card_object_spec){.cls = CARD_FILE,
                                        .id = TB_BYTES(2),
                                        .access = TB_SAFE_READ,
                                        .value = tb_span(c->cert, c->cert_n)});
    object(c, (struct card_object_spec){.cls = CARD_FILE,
                                        .id = TB_BYTES(3),
                                        .access = TB_SAFE_READ,
                                        .value = tb_span(c->bed->ca_der, c->bed->ca_der_n)});
    for (unsigned i = 0; i < containers; i++) {
        const uint8_t id = (uint8_t)(0x10 + i);

        object(c, (struct card_object_spec){.cls = CARD_PRIVATE,
                                            .id = tb_span(&id, 1),
                                            .access = TB_SAFE_UPDATE,
                                            .key_type = TB_SAFE_P256_VOLATILE,
                                            .crypto = TB_SAFE_CAN_GENERATE | TB_SAFE_CAN_AGREE});
        object(c, (struct card_object_spec){.cls = CARD_PUBLIC,
                                            .id = tb_span(&id, 1),
                                            .access = TB_SAFE_READ | TB_SAFE_UPDATE,
                                            .key_type = TB_SAFE_P256_VOLATILE,
                                            .crypto = TB_SAFE_CAN_AGREE});
    }
    object(c, (struct card_object_spec){.cls = CARD_PUBLIC,
                                        .id = TB_BYTES(5),
                                        .access = TB_SAFE_UPDATE,
                                        .key_type = TB_SAFE_P256_VOLATILE,
                                        .crypto = TB_SAFE_CAN_SIGN | TB_SAFE_CAN_AGREE,
                                        .hash = 7});
    object(c, (struct card_object_spec){.cls = CARD_SECRET,
                                        .id = TB_BYTES(6),
                                        .key_type = TB_SAFE_HMAC,
                                        .crypto = TB_SAFE_CAN_DERIVE,
                                        .value = tb_span(sim_psk, sizeof sim_psk)});
}

void sim_card_init(struct sim_card *c, struct sim_bed *bed, const char *name, unsigned containers) {
    struct tb_span atr;
    struct tb_error e;
    int r;

    memset(c, 0, sizeof *c);
    c->t.ops = &transport_ops;
    c->t.flags = IOTSAFE_TRANSPORT_LE;
    c->bed = bed;
    c->nvm = card_nvm_mem_new(0);
    assert(c->nvm);
    personalise(c, name, containers);
    c->card = card_new(&(struct card_config){.nvm = c->nvm}, &r);
    assert(c->card && card_power_on(c->card, &atr) == 0);
    assert(dev_card_new_on(&c->t, NULL, &c->dev, &e) == 0);
}

void sim_card_done(struct sim_card *c) {
    dev_card_free(c->dev);
    card_free(c->card);
    card_nvm_free(c->nvm);
}

void sim_card_arm(struct sim_card *c, enum sim_fault fault, unsigned at) {
    c->fault = fault;
    c->fault_at = at;
    c->refused_ins = 0;
    c->commands = c->after = c->computed_after = 0;
    c->generated = c->agreed = c->signed_ = c->verified = c->derived = c->randoms = 0;
}

void sim_card_mend(struct sim_card *c) {
    struct tb_span atr;

    if (c->removed)
        assert(card_power_on(c->card, &atr) == 0);
    c->removed = false;
    sim_card_arm(c, SIM_NONE, 0);
}

/* ---- bed ---- */

void sim_init(struct sim_bed *bed) {
    static const char *const names[] = {"localhost", "127.0.0.1", NULL};
    const struct tb_pki_request req = {.role = TB_PKI_SERVER,
                                       .common_name = "localhost",
                                       .dns_names = names,
                                       .not_before_s = -60,
                                       .not_after_s = 3600};
    unsigned char *p = bed->ca_der;

    memset(bed, 0, sizeof *bed);
    assert(uv_loop_init(&bed->loop) == 0);
    assert(tb_pki_ca_init("test CA", 1, &bed->ca) == 0);
    bed->ca_der_n = (size_t)i2d_X509(bed->ca.cert, &p);
    bed->server_key = EVP_EC_gen("P-256");
    assert(tb_pki_issue(&bed->ca, bed->server_key, &req, &bed->server_cert) == 0);
}

void sim_done(struct sim_bed *bed) {
    assert(uv_loop_close(&bed->loop) == 0);
    tb_pki_ca_done(&bed->ca);
    X509_free(bed->server_cert);
    EVP_PKEY_free(bed->server_key);
}

static void on_end(struct dev_task *t, void *arg) {
    (void)t;
    (void)arg;
}

void sim_run(struct sim_bed *bed, dev_task_fn *fn, void *arg) {
    struct dev_task task;

    assert(dev_task_start(&task, &bed->loop, fn, on_end, arg) == 0);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert(!task.fiber);
}

enum dev_stack sim_stack = DEV_OPENSSL;

void sim_choose_stack(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "mbedtls") == 0)
        sim_stack = DEV_MBEDTLS;
}

struct dev_tls_config sim_config(struct sim_card *c, unsigned versions, unsigned offload) {
    static struct iotsafe_ref key;

    key = iotsafe_id1(1);
    return (struct dev_tls_config){
        .stack = sim_stack,
        .versions = versions,
        .server_name = "localhost",
        .ca = tb_span(c->bed->ca_der, c->bed->ca_der_n),
        .cert = tb_span(c->cert, c->cert_n),
        .key = &key,
        .offload = offload,
        .card = c->dev,
    };
}

struct dev_tls_config sim_psk_config(struct sim_card *c, unsigned versions, bool plain,
                                     bool ecdhe) {
    static struct iotsafe_ref secret;

    secret = iotsafe_id1(6);
    return (struct dev_tls_config){
        .stack = sim_stack,
        .versions = versions,
        .server_name = "localhost",
        .psk_identity = sim_identity,
        .psk_ref = &secret,
        .psk_plain = plain,
        .psk_ecdhe = ecdhe,
        .card = c->dev,
    };
}

static int hello(struct dev_channel *ch, struct dev_failure *why) {
    uint64_t until = dev_after(20000);
    char heard[64];
    int r = ch->ops->write(ch, "hello", 5, why);

    while (r == 0) {
        r = ch->ops->read(ch, heard, sizeof heard, why);
        if (r == UV_EAGAIN)
            r = dev_stream_wait(ch->stream, 0, until);
        else if (r >= 0)
            return r == 5 && memcmp(heard, "hello", 5) == 0 ? 0 : TB_EPROTO;
    }
    return r;
}

int sim_talk(struct dev_tls *tls, const char *at, struct dev_channel_info *info,
             struct dev_card_use *ret_use, struct dev_failure *why) {
    const bool datagrams = strncmp(at, "udp:", 4) == 0;
    struct dev_task *t = dev_task_current();
    uint64_t until = dev_after(20000);
    struct dev_stream *s;
    struct dev_channel *ch;
    int r;

    *why = (struct dev_failure){0};
    r = datagrams ? dev_stream_connect_udp(t, at + 4, until, &s)
                  : dev_stream_connect(t, at, until, &s);
    if (r < 0)
        return r;
    r = dev_channel_open(tls, s, &ch, why);
    if (r < 0) {
        dev_stream_reset(s);
        return r;
    }
    r = ch->ops->handshake(ch, until, why);
    if (r == 0 && info)
        ch->ops->info(ch, info);
    if (r == 0)
        r = hello(ch, why);
    if (ret_use)
        *ret_use = ch->use;
    ch->ops->close(ch, r == 0);
    return r;
}

#include "bed.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "peers.h"
#include "simcard/card.h"
#include "tb/ctl.h"
#include "tb/hex.h"
#include "tb/loop.h"
#include "tb/vpcd.h"

static struct tb_pki_ca ca;
enum { MAX_CARDS = 16 };
static char ca_file[128], ca_key[128];
static struct bench_identity identities[MAX_CARDS];
static unsigned cards;

const struct tb_pki_ca *bench_ca(void) {
    struct tb_error e = {0};

    if (ca.cert)
        return &ca;
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", bench_dir());
    snprintf(ca_key, sizeof ca_key, "%s/ca.key", bench_dir());
    if (tb_pki_ca_init("Benchmark CA", 2, &ca) < 0 ||
        tb_pki_ca_save(&ca, ca_file, ca_key, &e) < 0) {
        fprintf(stderr, "iot-bench: no CA: %s\n", e.message);
        return NULL;
    }
    return &ca;
}

const char *bench_ca_file(void) {
    return ca_file;
}

const struct bench_identity *bench_identities(unsigned *ret_n) {
    *ret_n = cards;
    return identities;
}

const struct bench_identity *bench_last_identity(void) {
    return &identities[cards - 1];
}

/* The first text called name in the credentials of the card that was made. */
static const char *credential(const json_t *made, const char *name) {
    const json_t *list =
        json_object_get(json_array_get(json_object_get(made, "cards"), 0), "credentials");
    const char *text = NULL;

    for (size_t i = 0; !text && i < json_array_size(list); i++)
        text = json_string_value(json_object_get(json_array_get(list, i), name));
    return text ? text : "";
}

static const char *psk_identity(const json_t *made) {
    const json_t *list =
        json_object_get(json_array_get(json_object_get(made, "cards"), 0), "credentials");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_object_get(json_array_get(list, i), "secret"))
            return json_string_value(json_object_get(json_array_get(list, i), "identity"));
    return "";
}

static int save_identity(const char *out, struct bench_identity *who) {
    json_t *made = json_load_file(out, 0, NULL);
    struct tb_buf psk = TB_BUF(who->psk);
    FILE *f;
    int r;

    snprintf(who->cert, sizeof who->cert, "%s/card-%u.pem", bench_dir(), cards);
    snprintf(who->psk_identity, sizeof who->psk_identity, "%s", psk_identity(made));
    r = tb_hex_decode(tb_span_str(credential(made, "secret")), &psk);
    who->psk_n = (unsigned)psk.n;
    f = r == 0 ? fopen(who->cert, "we") : NULL;
    if (f) {
        r = fputs(credential(made, "certificate"), f) < 0 ? TB_ESTORE : 0;
        fclose(f);
    }
    json_decref(made);
    return r;
}

/* The factory's default card; its store's file name in store. */
static int personalise(char *store, size_t cap) {
    char program[1024], out[128], iccid[24], profile[1200];
    const char *argv[] = {program, "personalise",
                          profile, "--store",
                          store,   "--issuer-cert",
                          ca_file, "--issuer-key",
                          ca_key,  "--iccid",
                          iccid,   "--export-secrets",
                          "--out", out,
                          NULL};

    if (!bench_ca())
        return TB_ECRYPTO;
    if (cards == MAX_CARDS)
        abort();
    cards++;
    bench_program("sim-card", program, sizeof program);
    snprintf(profile, sizeof profile, "%s/sim-card/profiles/factory.card", BENCH_SOURCE_DIR);
    snprintf(store, cap, "%s/card-%u.db", bench_dir(), cards);
    snprintf(out, sizeof out, "%s/card-%u.json", bench_dir(), cards);
    snprintf(iccid, sizeof iccid, "8900010000000000%04u", 9000 + cards);
    if (bench_tool(argv) < 0)
        return TB_EPROTO;
    return save_identity(out, &identities[cards - 1]);
}

static int copy_member(json_t *ready, const char *key, char *dst, size_t cap) {
    const char *text = json_string_value(json_object_get(ready, key));

    if (!text)
        return TB_EPROTO;
    snprintf(dst, cap, "%s",
             strncmp(text, "unix:", 5) == 0 && strcmp(key, "ctl") != 0 ? text + 5 : text);
    return 0;
}

static int start_card(const char *link_option, const char *at, json_t **ret_ready) {
    char program[1024], store[128], ctl[160];
    const char *argv[] = {program, "--store", store, link_option, at, "--ctl", ctl, NULL};
    int r = personalise(store, sizeof store);

    if (r < 0)
        return r;
    bench_program("sim-card", program, sizeof program);
    snprintf(ctl, sizeof ctl, "unix:%s/card-%u.ctl", bench_dir(), cards);
    *ret_ready = bench_daemon(argv);
    return *ret_ready ? 0 : TB_EPROTO;
}

int bench_card_start(char *ret_addr, size_t addr_cap, char *ret_ctl, size_t ctl_cap) {
    json_t *ready = NULL;
    int r = start_card("--listen", "127.0.0.1:0", &ready);

    if (r == 0)
        r = copy_member(ready, "listen", ret_addr, addr_cap);
    if (r == 0)
        r = copy_member(ready, "ctl", ret_ctl, ctl_cap);
    json_decref(ready);
    return r;
}

int bench_card_dial(const char *addr, char *ret_ctl, size_t ctl_cap) {
    json_t *ready = NULL;
    int r = start_card("--vpcd", addr, &ready);

    if (r == 0)
        r = copy_member(ready, "ctl", ret_ctl, ctl_cap);
    json_decref(ready);
    return r;
}

int bench_vpcd_power_on(int fd) {
    static const uint8_t on[] = {0, 1, TB_VPCD_POWER_ON};

    return write(fd, on, sizeof on) == (ssize_t)sizeof on ? 0 : -EIO;
}

/* ---- waiting for the modem's card: its own first APDUs are not part of a figure ---- */

struct waiting {
    struct tb_ctl_client *ctl;
    struct tb_deadline deadline;
    int result;
};

static void wait_over(struct waiting *w, int result) {
    if (w->result != 1)
        return;
    w->result = result;
    tb_ctl_client_close(w->ctl);
    tb_deadline_close(&w->deadline, NULL);
}

static void on_wait_event(struct tb_ctl_client *c, const json_t *event, void *user) {
    const char *name = json_string_value(json_object_get(event, "event"));

    (void)c;
    if (name && strcmp(name, "card-inserted") == 0)
        wait_over(user, 0);
}

static void on_wait_state(const json_t *reply, void *user) {
    const char *card = json_string_value(json_object_get(reply, "card"));

    if (card && strcmp(card, "ready") == 0)
        wait_over(user, 0);
}

static void on_wait_closed(int why, void *user) {
    struct waiting *w = user;

    (void)why;
    if (w->result == 1) {
        w->result = TB_ECLOSED;
        tb_deadline_close(&w->deadline, NULL);
    }
}

static void on_subscribed(const json_t *reply, void *arg) {
    (void)reply; /* a refusal shows as the deadline */
    (void)arg;
}

static void on_wait_late(void *user) {
    wait_over(user, TB_ETIMEOUT);
}

static int wait_for_card(const char *ctl) {
    static const struct tb_ctl_client_ops ops = {.on_event = on_wait_event,
                                                 .on_closed = on_wait_closed};
    struct waiting w = {.result = 1};
    struct tb_error e = {0};
    struct tb_addr at;
    uv_loop_t loop;
    int r = tb_addr_parse(ctl, &at, &e);

    if (r < 0)
        return r;
    uv_loop_init(&loop);
    tb_deadline_init(&loop, &w.deadline, on_wait_late, &w);
    r = tb_ctl_client_open(&loop, &at, &ops, &w, &w.ctl);
    if (r == 0) {
        tb_deadline_start(&w.deadline, 20000);
        tb_ctl_client_send(w.ctl, json_pack("{s:s}", "verb", "subscribe"), on_subscribed, NULL);
        tb_ctl_client_send(w.ctl, json_pack("{s:s}", "verb", "state"), on_wait_state, &w);
    } else {
        w.result = r;
        tb_deadline_close(&w.deadline, NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (w.result < 0)
        fprintf(stderr, "iot-bench: the modem got no card: %s\n", tb_strerror(w.result));
    return w.result;
}

int bench_modem_start(const char *name, bool real, struct bench_modem *ret) {
    char program[1024], unix_at[160], pty[160], ctl[160], modem_ctl[160], dialled[32];
    const char *argv[] = {program,    "--vpcd", "127.0.0.1:0", "--at-unix", unix_at,
                          "--at-pty", pty,      "--ctl",       ctl,         NULL};
    json_t *ready, *at;
    int r;

    bench_program("sim-modem", program, sizeof program);
    snprintf(unix_at, sizeof unix_at, "%s/%s.at", bench_dir(), name);
    snprintf(pty, sizeof pty, "%s/%s.pty", bench_dir(), name);
    snprintf(ctl, sizeof ctl, "unix:%s/%s.ctl", bench_dir(), name);
    ready = bench_daemon(argv);
    if (!ready)
        return TB_EPROTO;
    ret->modem_pid = bench_last_child();
    at = json_object_get(ready, "at");
    r = copy_member(ready, "vpcd", ret->vpcd, sizeof ret->vpcd);
    if (r == 0)
        r = copy_member(at, "unix", ret->at_unix, sizeof ret->at_unix);
    if (r == 0)
        r = copy_member(at, "pty_slave", ret->at_pty, sizeof ret->at_pty);
    if (r == 0)
        r = copy_member(ready, "ctl", modem_ctl, sizeof modem_ctl);
    if (r == 0)
        r = real ? bench_card_dial(ret->vpcd, ret->card_ctl, sizeof ret->card_ctl)
                 : bench_peer(bench_echo_card_dial, ret->vpcd, dialled, sizeof dialled);
    if (r == 0)
        ret->card_pid = bench_last_child();
    if (r == 0)
        r = wait_for_card(modem_ctl);
    json_decref(ready);
    return r;
}

int bench_card_store(struct card_nvm **ret) {
    struct tb_error e = {0};
    char store[128];
    int r = personalise(store, sizeof store);

    return r == 0 ? card_nvm_sqlite_open(store, ret, &e) : r;
}

struct bench_memory_card {
    struct card *card;
    struct card_nvm *nvm;
};

int bench_memory_card_new(struct bench_memory_card **ret) {
    struct bench_memory_card *m = calloc(1, sizeof *m);
    struct tb_span atr;
    int r;

    if (!m)
        abort();
    r = bench_card_store(&m->nvm);
    if (r == 0) {
        m->card = card_new(&(struct card_config){.nvm = m->nvm}, &r);
        r = m->card ? card_power_on(m->card, &atr) : r;
    }
    if (r < 0) {
        bench_memory_card_free(m);
        return r;
    }
    *ret = m;
    return 0;
}

int bench_memory_card_exchange(void *arg, struct tb_span cmd, struct tb_buf *rsp) {
    struct bench_memory_card *m = arg;

    return card_transact(m->card, cmd, rsp);
}

void bench_memory_card_free(struct bench_memory_card *m) {
    if (!m)
        return;
    card_free(m->card);
    card_nvm_free(m->nvm);
    free(m);
}

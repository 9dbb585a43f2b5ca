/* Connection after connection, good ones and failed ones, must not cost memory. TB_CONNECTS in the
 * environment: how many of each kind (default 40; by hand: 10000). The server is a process of its
 * own, so that what is counted is ours. */
#include "tb/test.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simbed.h"
#include "task.h"

#if defined(__SANITIZE_ADDRESS__)
#define COUNTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS 0
#endif
#endif
#ifndef COUNTS
#define COUNTS 1 /* the sanitizer's allocator counts nothing, but finds leaks at the end */
#endif

struct endurance {
    struct sim_bed bed;
    struct sim_card card;
    struct sim_server server;
    struct dev_tls_config cfg;
    int connects;
    size_t half, end; /* bytes in use */
    pid_t child;
};

static size_t in_use(void) {
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static void again_and_again(struct dev_task *t, void *arg) {
    struct endurance *e = arg;
    struct dev_failure why;
    struct dev_tls *tls;
    int good = 0;

    assert_int_equal(dev_tls_new(&e->cfg, &tls, &why), 0);
    for (int i = 0; i < e->connects; i++) {
        if (i == e->connects / 2)
            e->half = in_use();
        /* every fourth one fails, each time at another command, in another way */
        sim_card_arm(&e->card, i % 4 == 3 ? (enum sim_fault)(1 + i / 4 % 4) : SIM_NONE,
                     1 + (unsigned)i / 16 % 16);
        good += sim_talk(tls, e->server.at, NULL, NULL, &why) == 0;
        t->cancelled = false;
        sim_card_mend(&e->card);
    }
    e->end = in_use();
    dev_tls_free(tls);
    assert_true(good >= e->connects * 3 / 4);
}

static void serve_in_child(struct endurance *e) {
    pid_t parent = getpid();
    int p[2];

    assert_int_equal(pipe(p), 0);
    e->server.connections = 1000000;
    e->child = fork();
    if (e->child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        sim_serve(&e->server, &e->bed);
        if (write(p[1], e->server.at, sizeof e->server.at) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(p[0], e->server.at, sizeof e->server.at), sizeof e->server.at);
    close(p[0]);
    close(p[1]);
}

static void endure(enum dev_stack stack, unsigned version, bool psk) {
    const char *connects = getenv("TB_CONNECTS");
    struct endurance e = {.connects = connects ? atoi(connects) : 40};

    sim_init(&e.bed);
    sim_card_init(&e.card, &e.bed, "device", 1);
    e.server = (struct sim_server){.versions = version, .tickets = true, .psk = psk};
    if (psk) {
        e.server.ciphers = "kECDHEPSK:@SECLEVEL=0";
        e.cfg = sim_psk_config(&e.card, version, false, true);
        e.cfg.offload = DEV_OFFLOAD_ECDHE;
    } else {
        e.cfg = sim_config(&e.card, version,
                           DEV_OFFLOAD_ECDHE | DEV_OFFLOAD_VERIFY | DEV_OFFLOAD_RANDOM);
    }
    e.cfg.stack = stack;
    e.cfg.resume = version == DEV_TLS12; /* others: fully each time */
    serve_in_child(&e);
    sim_run(&e.bed, again_and_again, &e);
    kill(e.child, SIGKILL);
    waitpid(e.child, NULL, 0);
    sim_card_done(&e.card);
    sim_done(&e.bed);
    if (COUNTS && e.connects >= 40 && e.end > e.half + 16 * 1024)
        fail_msg("%zu bytes after %d connections, %zu after %d", e.half, e.connects / 2, e.end,
                 e.connects);
}

static void tls12(void **state) {
    endure(*(enum dev_stack *)*state, DEV_TLS12, false);
}

static void tls13(void **state) {
    endure(*(enum dev_stack *)*state, DEV_TLS13, false);
}

static void dtls12(void **state) {
    endure(*(enum dev_stack *)*state, DEV_DTLS12, false);
}

static void tls13_psk(void **state) {
    endure(*(enum dev_stack *)*state, DEV_TLS13, true);
}

int main(int argc, char **argv) {
    static enum dev_stack stack = DEV_OPENSSL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(tls12, &stack),
        cmocka_unit_test_prestate(tls13, &stack),
        cmocka_unit_test_prestate(dtls12, &stack),
        cmocka_unit_test_prestate(tls13_psk, &stack),
    };

    if (argc > 1 && strcmp(argv[1], "mbedtls") == 0)
        stack = DEV_MBEDTLS;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

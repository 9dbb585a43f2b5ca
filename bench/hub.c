/* bench hub: connections with client certificates from TCP to CONNACK, at iot-hub with its broker
 * behind it, at a mosquitto that ends TLS itself, and at bare OpenSSL that answers CONNECT with
 * CONNACK and does nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bed.h"
#include "bench.h"
#include "server.h"
#include "tls.h"

#define DEVICE "89000100000000009000"

enum { BARE, MOSQUITTO, HUB, N_SERVERS, N_VERSIONS = 2 };
static const char *const names[N_SERVERS] = {"bare OpenSSL", "mosquitto",
                                             "iot-hub, mosquitto behind"};
static const int versions[N_VERSIONS] = {TLS1_3_VERSION, TLS1_2_VERSION};
static const char *const version_names[N_VERSIONS] = {"TLS 1.3", "TLS 1.2"};

struct bed {
    struct bench_tls_files server, device;
    char addr[N_SERVERS][64];
};

/* ---- mosquitto ---- */

static const char *mosquitto_program(void) {
    static const char *const places[] = {"/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

/* One that nobody has now: mosquitto cannot be asked which one it took. */
static unsigned free_port(void) {
    char addr[64];
    int fd = bench_listen(false, addr, sizeof addr);

    if (fd >= 0)
        close(fd);
    return fd >= 0 ? bench_port(addr) : 0;
}

static int write_mosquitto_conf(const char *file, const struct bed *b, unsigned port) {
    FILE *f = fopen(file, "we");

    if (!f)
        return TB_ESTORE;
    /* set_tcp_nodelay: without it each TLS 1.3 connection waits 40 ms for an acknowledgement. */
    fprintf(f,
            "listener %u 127.0.0.1\ncafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\n"
            "use_identity_as_username true\nallow_anonymous true\npersistence false\n"
            "set_tcp_nodelay true\nconnection_messages false\nlog_type error\n"
            "log_type information\nlog_dest stderr\n",
            port, b->server.ca, b->server.cert, b->server.key);
    if (getuid() == 0)
        fprintf(f, "user root\n"); /* it would not find our files as another */
    return fclose(f) == 0 ? 0 : TB_ESTORE;
}

/* Until it says "running"; from then on it has nothing more to say. */
static int wait_running(int fd) {
    char text[4096];
    size_t n = 0;

    while (n < sizeof text - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&p, 1, 20000) > 0 ? read(fd, text + n, sizeof text - 1 - n) : 0;

        if (got <= 0)
            break;
        n += (size_t)got;
        text[n] = 0;
        if (strstr(text, " running"))
            return 0;
    }
    text[n] = 0;
    fprintf(stderr, "iot-bench: mosquitto does not start: %s\n", text);
    return TB_EPROTO;
}

static int start_mosquitto(struct bed *b) {
    unsigned port = free_port();
    char file[160];
    int told[2], r;
    pid_t pid;

    if (!mosquitto_program()) {
        fprintf(stderr, "iot-bench: mosquitto is not installed\n");
        return TB_EUNSUP;
    }
    snprintf(file, sizeof file, "%s/mosquitto.conf", bench_dir());
    r = write_mosquitto_conf(file, b, port);
    if (r < 0)
        return r;
    if (pipe2(told, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0) {
        bench_child_begins(SIGTERM);
        dup2(told[1], STDERR_FILENO);
        execl(mosquitto_program(), "mosquitto", "-c", file, (char *)NULL);
        _exit(127);
    }
    close(told[1]);
    if (pid > 0)
        bench_child(pid);
    r = pid > 0 ? wait_running(told[0]) : -EAGAIN;
    snprintf(b->addr[MOSQUITTO], sizeof b->addr[MOSQUITTO], "127.0.0.1:%u", port);
    return r; /* the pipe stays open */
}

/* ---- iot-hub ---- */

static int write_import(const char *file, const char *cert) {
    char pem[4096];
    FILE *f = fopen(cert, "re");
    size_t n = f ? fread(pem, 1, sizeof pem, f) : 0;
    json_t *cards;
    int r;

    if (f)
        fclose(f);
    cards = json_pack("{s:[{s:s,s:[{s:s,s:s%}]}]}", "cards", "iccid", DEVICE, "credentials", "kind",
                      "x509", "certificate", pem, n);
    r = cards && json_dump_file(cards, file, 0) == 0 ? 0 : TB_ESTORE;
    json_decref(cards);
    return r;
}

static int hub_tool(const char *state, const char *a, const char *b, const char *c, const char *d,
                    const char *e) {
    const char *argv[10];
    char program[1024];
    size_t n = 0;

    argv[n++] = bench_program("iot-hub", program, sizeof program);
    for (size_t i = 0; i < 5; i++) {
        const char *const given[] = {a, b, c, d, e};

        if (given[i])
            argv[n++] = given[i];
    }
    argv[n++] = "--state";
    argv[n++] = state;
    argv[n] = NULL;
    return bench_tool(argv) < 0 ? TB_EPROTO : 0;
}

static int start_hub(struct bed *b) {
    char program[1024], state[128], cards[160];
    const char *argv[] = {program,  "--state",      state,   "--mqtts",     "127.0.0.1:0",
                          "--cert", b->server.cert, "--key", b->server.key, "--groups",
                          "P-256",  "--log-level",  "error", NULL};
    json_t *ready = NULL;
    int r;

    bench_program("iot-hub", program, sizeof program);
    snprintf(state, sizeof state, "%s/hub", bench_dir());
    snprintf(cards, sizeof cards, "%s/cards.json", bench_dir());
    r = write_import(cards, b->device.cert);
    if (r == 0)
        r = hub_tool(state, "ca", "init", NULL, NULL, NULL);
    if (r == 0)
        r = hub_tool(state, "ca", "add", "bench", b->server.ca, "--trust");
    if (r == 0)
        r = hub_tool(state, "import", cards, NULL, NULL, NULL);
    if (r == 0)
        ready = bench_daemon(argv);
    if (!ready)
        return r < 0 ? r : TB_EPROTO;
    snprintf(b->addr[HUB], sizeof b->addr[HUB], "%s",
             json_string_value(json_object_get(ready, "mqtts")));
    json_decref(ready);
    bench_count_children_of(bench_last_child());
    return 0;
}

/* ---- */

static int start(struct bed *b) {
    static const struct tb_pki_request device = {.role = TB_PKI_CLIENT,
                                                 .common_name = DEVICE,
                                                 .organization = "IoT SAFE testbed",
                                                 .not_before_s = -3600,
                                                 .not_after_s = 86400};
    static struct bench_server bare = {.mqtt = true};
    int r = bench_tls_issue("server", &bench_tls_localhost, &b->server);

    if (r == 0)
        r = bench_tls_issue("device", &device, &b->device);
    bare.files = b->server;
    if (r == 0)
        r = bench_peer(bench_server_run, &bare, b->addr[BARE], sizeof b->addr[BARE]);
    if (r == 0)
        r = start_mosquitto(b);
    return r == 0 ? start_hub(b) : r;
}

static int measure(const struct bench_options *o, struct bed *b, json_t *report) {
    struct bench_tls_client clients[N_VERSIONS][N_SERVERS] = {0};
    struct bench_variant v[N_VERSIONS * N_SERVERS] = {0};
    char text[N_VERSIONS * N_SERVERS][64];
    int r = 0;

    for (int i = 0; i < N_VERSIONS * N_SERVERS && r == 0; i++) {
        struct bench_tls_client *c = &clients[i / N_SERVERS][i % N_SERVERS];
        int bare = i - i % N_SERVERS;

        *c = (struct bench_tls_client){.server = b->addr[i % N_SERVERS], .mqtt = true};
        r = bench_tls_client_init(c, NULL, &b->device, versions[i / N_SERVERS]);
        snprintf(text[i], sizeof text[i], "%s, %s", version_names[i / N_SERVERS],
                 names[i % N_SERVERS]);
        v[i] =
            (struct bench_variant){text[i], bench_tls_connect, c, .against = i == bare ? -1 : bare};
    }
    if (r == 0)
        r = bench_measure(o, v, sizeof v / sizeof *v);
    if (r == 0)
        bench_report_table(report, "Connections to CONNACK, one client, loopback TCP", v,
                           sizeof v / sizeof *v);
    for (int i = 0; i < N_VERSIONS && r == 0; i++) {
        const char *same[] = {clients[i][0].negotiated, clients[i][1].negotiated,
                              clients[i][2].negotiated};
        char what[32];

        snprintf(what, sizeof what, "in each %s", version_names[i]);
        r = bench_same(what, same, N_SERVERS);
    }
    for (int i = 0; i < N_VERSIONS * N_SERVERS; i++)
        SSL_CTX_free(clients[i / N_SERVERS][i % N_SERVERS].ctx);
    return r;
}

int bench_hub(const struct bench_options *o, json_t *report) {
    struct bed b = {0};
    int r = start(&b);

    if (r < 0)
        fprintf(stderr, "iot-bench: the peers could not be set up: %s\n", tb_strerror(r));
    return r == 0 ? measure(o, &b, report) : r;
}

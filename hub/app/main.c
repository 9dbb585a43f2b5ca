/* iot-hub: where the devices' TLS ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "app/hub.h"
#include "tb/log.h"

#define LISTENER(name, kind, help, fallback)                                                       \
    {                                                                                              \
        name, 0, "ADDR[,OPT=…]", help, TB_OPT_LIST, offsetof(struct hub_options, listen[kind]),    \
            fallback                                                                               \
    }

static const struct tb_opt options[] = {
    {"state", 's', "DIR", "registry, keys, sockets; made when missing", TB_OPT_STRING,
     offsetof(struct hub_options, state), NULL},
    LISTENER("mqtts", HUB_MQTTS, "MQTT, devices with certificates", "127.0.0.1:8883"),
    LISTENER("mqtts-psk", HUB_MQTTS_PSK, "MQTT, devices with pre-shared keys", NULL),
    LISTENER("coaps", HUB_COAPS, "CoAP, devices with certificates; DTLS, and TLS over TCP", NULL),
    LISTENER("coaps-psk", HUB_COAPS_PSK, "CoAP, devices with pre-shared keys", NULL),
    LISTENER("https", HUB_HTTPS, "HTTP, devices with certificates", NULL),
    LISTENER("metrics", HUB_METRICS, "/metrics and /healthz, plain HTTP", NULL),
    {"tls-min", 0, "VERSION", "1.2 or 1.3", TB_OPT_STRING, offsetof(struct hub_options, tls_min),
     "1.2"},
    {"tls-max", 0, "VERSION", "1.2 or 1.3", TB_OPT_STRING, offsetof(struct hub_options, tls_max),
     "1.3"},
    {"groups", 0, "LIST", "key exchange groups, the preferred one first, in OpenSSL's words",
     TB_OPT_STRING, offsetof(struct hub_options, groups), "P-256:X25519:P-384:brainpoolP256r1"},
    {"ciphers", 0, "LIST", "cipher suites of TLS 1.2, the preferred one first, in OpenSSL's words",
     TB_OPT_STRING, offsetof(struct hub_options, ciphers),
     "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+AESCCM:ECDHE+CHACHA20"},
    {"cert", 0, "FILE", "the hub's certificate or chain (else DIR/server.crt)", TB_OPT_STRING,
     offsetof(struct hub_options, cert), NULL},
    {"key", 0, "FILE", "its key (else DIR/server.key)", TB_OPT_STRING,
     offsetof(struct hub_options, key), NULL},
    {"keylog", 0, "FILE", "append TLS secrets, for Wireshark", TB_OPT_STRING,
     offsetof(struct hub_options, keylog), NULL},
    {"resumption", 0, NULL, "issue session tickets; the registry is asked before one is accepted",
     TB_OPT_FLAG, offsetof(struct hub_options, resumption), NULL},
    {"deadline", 0, "MS", "for handshake and CONNECT, or the header of a request, together",
     TB_OPT_UINT, offsetof(struct hub_options, deadline_ms), "10000"},
    {"max-connections", 0, "N", "per listener; more are turned away", TB_OPT_UINT,
     offsetof(struct hub_options, max_connections), "20000"},
    {"max-message", 0, "BYTES", "largest payload", TB_OPT_UINT,
     offsetof(struct hub_options, max_message), "4194304"},
    {"broker", 0, "PROGRAM", "the MQTT broker behind", TB_OPT_STRING,
     offsetof(struct hub_options, broker), "mosquitto"},
    {"broker-socket", 0, "PATH", "where it listens (else DIR/broker/mqtt)", TB_OPT_STRING,
     offsetof(struct hub_options, broker_socket), NULL},
    {"broker-log", 0, "FILE", "where its messages go (else ours)", TB_OPT_STRING,
     offsetof(struct hub_options, broker_log), NULL},
    {NULL, 0, NULL, NULL, TB_OPT_FLAG, 0, NULL},
};

static const struct tb_cli cli = {
    .program = "iot-hub",
    .args_doc = "",
    .doc = "Ends TLS for IoT devices, knows them by their certificates or pre-shared keys, relays "
           "MQTT to a mosquitto it starts."
           "\vA listener may be given several times, each with its own policy behind the address: "
           "tls=1.2|1.3|1.2-1.3 resumption=on|off groups=LIST ciphers=LIST name=TEXT "
           "client-cert=required|optional (https) tcp=on|off (coaps), separated by commas. What is "
           "not said there is as the options below.\n\nOther commands, each with --help:\n"
           "  iot-hub ca init|issue|add|trust|distrust|show   certificate authorities\n"
           "  iot-hub import FILE                             cards from the factory\n"
           "  iot-hub add-psk IDENTITY                        a pre-shared key\n"
           "  iot-hub credential list|revoke|suspend|resume   what a device may connect with\n"
           "Without --ctl the control socket is DIR/ctl.",
    .opts = options,
};

/* Two descriptors per device. */
static void allow_descriptors(void) {
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

/* What parsing alone does not find. 0, or the exit code. */
static int check(const struct hub_options *opt, const struct tb_strv *args) {
    static const char *const commands[] = {"ca", "import", "add-psk", "credential", NULL};
    const bool json = opt->common.log_format && strcmp(opt->common.log_format, "json") == 0;
    struct tb_error e = {0};

    if (args->n > 0) {
        const char *near = tb_nearest(args->v[0], commands);

        fprintf(stderr, "iot-hub: no command \"%s\"%s%s\n", args->v[0],
                near ? ", did you mean " : "", near ? near : "");
        return 2;
    }
    if (!opt->state) {
        fprintf(stderr, "iot-hub: --state DIR is wanted\n");
        return 2;
    }
    if (opt->max_connections == 0) {
        fprintf(stderr, "iot-hub: --max-connections=0: nobody could connect\n");
        return 2;
    }
    if (tb_log_setup(opt->common.log_level, json, &e) < 0) {
        hub_cmd_fail("iot-hub", &e);
        return 2;
    }
    return 0;
}

static int serve(struct hub *h) {
    struct tb_error e = {0};
    int code, err;

    allow_descriptors();
    h->loop = tb_loop_new(true);
    err = hub_start(h, &e);
    if (err < 0) {
        hub_cmd_fail("iot-hub", &e);
        /* A value on the command line that makes no sense, as opposed to a file. */
        tb_loop_stop(h->loop, !e.file[0] && (err == TB_EPARSE || err == TB_ERANGE) ? 2 : 1);
    }
    code = tb_loop_run(h->loop);
    hub_done(h);
    return code;
}

static int run(int argc, char **argv) {
    struct hub h = {.lock_fd = -1};
    struct tb_strv args;
    int code;

    tb_cli_parse(&cli, argc, argv, &h.opt, &args);
    code = check(&h.opt, &args);
    if (code == 0)
        code = serve(&h);
    tb_cli_done(&cli, &h.opt);
    return code;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*fn)(int argc, char **argv);
    } commands[] = {{"ca", hub_cmd_ca},
                    {"import", hub_cmd_import},
                    {"add-psk", hub_cmd_add_psk},
                    {"credential", hub_cmd_credential}};

    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].fn(argc - 1, argv + 1);
    }
    return run(argc, argv);
}

/* The commands of the tool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"
#include "tb/der.h"
#include "tb/hex.h"
#include "tool.h"

enum {
    FILE_MAX = 65536,
    OBJECTS_MAX = 1024,
    RSP_MAX = 2048,
    CMD_MAX = 261,
    HALF = 32,
    RAW = 64,
    SECRET_MAX = 128,
    SEED_MAX = 200, /* with the rest it fits one command */
};

bool tool_hex(const char *text, uint8_t *buf, size_t cap, size_t *ret_n) {
    struct tb_buf out = tb_buf(buf, cap);

    if (tb_hex_decode_loose(tb_span_str(text), &out) < 0)
        return false;
    *ret_n = out.n;
    return true;
}

static int usage(const char *what, const char *value) {
    fprintf(stderr, "iotsafe: '%s': %s\n", value, what);
    return TOOL_USAGE;
}

static int failed(const struct tool *tool, int err) {
    uint16_t sw = iotsafe_last_sw(tool->client);

    if (err == IOTSAFE_E_CARD || err == IOTSAFE_E_NOT_FOUND || err == IOTSAFE_E_ADMIN ||
        err == IOTSAFE_E_NO_APPLET)
        fprintf(stderr, "iotsafe: %s: %s (SW %04X, %s)\n", tool->command, iotsafe_strerror(err), sw,
                iotsafe_sw_text(sw));
    else
        fprintf(stderr, "iotsafe: %s: %s\n", tool->command, iotsafe_strerror(err));
    return TOOL_FAILED;
}

/* hex, or label:TEXT */
static bool parse_ref(const char *text, struct iotsafe_ref *ret) {
    uint8_t id[20];
    size_t n;

    if (strncmp(text, "label:", 6) == 0)
        *ret = iotsafe_label(text + 6);
    else if (tool_hex(text, id, sizeof id, &n))
        *ret = iotsafe_id(id, n);
    else
        return false;
    return ret->id_len || ret->label_len;
}

/* Reads a whole file ('-': standard input) into buf; negative after a message. */
static long read_whole(const char *path, uint8_t *buf, size_t cap) {
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    size_t n = 0;

    if (f)
        n = fread(buf, 1, cap, f);
    if (!f || ferror(f)) {
        perror(path);
        return -1;
    }
    if (f != stdin)
        fclose(f);
    return (long)n;
}

static int hash_file(const char *path, uint8_t digest[32]) {
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct sha256 sha;
    uint8_t block[4096];
    size_t n;

    sha256_init(&sha);
    while (f && (n = fread(block, 1, sizeof block, f)) > 0)
        sha256_update(&sha, block, n);
    if (!f || ferror(f)) {
        perror(path);
        return -1;
    }
    if (f != stdin)
        fclose(f);
    sha256_final(&sha, digest);
    return 0;
}

/* ---- commands ---- */

static int cmd_info(struct tool *tool) {
    struct iotsafe_info info;
    int r = iotsafe_get_info(tool->client, &info);

    if (r < 0)
        return failed(tool, r);
    tool_print_info(tool, &info);
    return TOOL_OK;
}

static int cmd_list(struct tool *tool) {
    static struct iotsafe_object objects[OBJECTS_MAX];
    size_t n;
    int r = iotsafe_list(tool->client, objects, OBJECTS_MAX, &n);

    if (r < 0)
        return failed(tool, r);
    tool_print_objects(tool, objects, n < OBJECTS_MAX ? n : OBJECTS_MAX);
    return TOOL_OK;
}

static int cmd_object(struct tool *tool) {
    static const char *const names[] = {"private", "public", "secret", "file"};
    struct iotsafe_object object;
    struct iotsafe_ref ref;
    int type = 0, r;

    while (type < 4 && strcmp(names[type], tool->argv[0]) != 0)
        type++;
    if (type == 4)
        return usage("no type: private, public, secret, file", tool->argv[0]);
    if (!parse_ref(tool->argv[1], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[1]);
    r = iotsafe_get_object(tool->client, (enum iotsafe_object_type)type, &ref, &object);
    if (r < 0)
        return failed(tool, r);
    tool_print_objects(tool, &object, 1);
    return TOOL_OK;
}

static int cmd_read(struct tool *tool) {
    static uint8_t buf[FILE_MAX];
    struct iotsafe_ref ref;
    size_t n;
    int r;

    if (!parse_ref(tool->argv[0], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    r = iotsafe_read_file(tool->client, &ref, buf, sizeof buf, &n);
    return r < 0 ? failed(tool, r) : tool_print_bytes(tool, "content", "CERTIFICATE", buf, n);
}

/* A point of P-256 becomes SubjectPublicKeyInfo (RFC 5480) where the result leaves the tool as PEM
 * or in a file. */
static int print_key(struct tool *tool, const uint8_t *key, size_t n) {
    static const uint8_t head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
    uint8_t spki[sizeof head + 65];

    if (n != 65 || !(tool->pem || tool->output))
        return tool_print_bytes(tool, "public_key", NULL, key, n);
    memcpy(spki, head, sizeof head);
    memcpy(spki + sizeof head, key, n);
    return tool_print_bytes(tool, "public_key", "PUBLIC KEY", spki, sizeof spki);
}

static int cmd_pubkey(struct tool *tool) {
    struct iotsafe_ref ref;
    uint8_t key[1024];
    size_t n;
    int r;

    if (!parse_ref(tool->argv[0], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    r = iotsafe_read_public_key(tool->client, &ref, key, sizeof key, &n);
    return r < 0 ? failed(tool, r) : print_key(tool, key, n);
}

static int cmd_generate(struct tool *tool) {
    struct iotsafe_ref ref;
    uint8_t point[65];
    int r;

    if (!parse_ref(tool->argv[0], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    r = iotsafe_generate(tool->client, &ref, point, NULL, NULL);
    return r < 0 ? failed(tool, r) : print_key(tool, point, sizeof point);
}

static int cmd_put(struct tool *tool) {
    struct iotsafe_ref ref;
    uint8_t key[512];
    size_t n;
    int r;

    if (!parse_ref(tool->argv[0], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    if (!tool_hex(tool->argv[1], key, sizeof key, &n))
        return usage("no public key in hex", tool->argv[1]);
    r = iotsafe_put_public_key(tool->client, &ref, key, n);
    return r < 0 ? failed(tool, r) : TOOL_OK;
}

static int cmd_sign(struct tool *tool) {
    uint8_t digest[32], raw[64], bytes[TB_ECDSA_DER_MAX_256];
    struct tb_buf der = TB_BUF(bytes);
    struct iotsafe_ref ref;
    size_t n;
    int r;

    if (!parse_ref(tool->argv[0], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    if (hash_file(tool->argv[1], digest) < 0)
        return TOOL_FAILED;
    r = iotsafe_sign(tool->client, &ref, IOTSAFE_SHA256, IOTSAFE_ECDSA, digest, sizeof digest, raw,
                     sizeof raw, &n);
    if (r < 0)
        return failed(tool, r);
    if (tb_ecdsa_raw_to_der(tb_span(raw, n), &der) < 0)
        return failed(tool, IOTSAFE_E_FORMAT);
    return tool_print_bytes(tool, "signature", NULL, der.p, der.n);
}

static int cmd_verify(struct tool *tool) {
    uint8_t digest[32], sig[256], raw[64];
    struct tb_buf out = TB_BUF(raw);
    struct iotsafe_ref ref;
    long n;
    int r;

    if (!parse_ref(tool->argv[0], &ref))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    n = read_whole(tool->argv[2], sig, sizeof sig);
    if (n < 0 || hash_file(tool->argv[1], digest) < 0)
        return TOOL_FAILED;
    if (n == RAW)
        tb_put(&out, tb_span(sig, RAW));
    else if (tb_ecdsa_der_to_raw(tb_span(sig, (size_t)n), HALF, &out) < 0)
        return usage("no signature: neither DER nor 64 bytes", tool->argv[2]);
    r = iotsafe_verify(tool->client, &ref, IOTSAFE_SHA256, IOTSAFE_ECDSA, digest, sizeof digest,
                       raw, sizeof raw);
    if (r < 0 && r != IOTSAFE_E_SIGNATURE)
        return failed(tool, r);
    if (tool->json)
        printf("{\"valid\":%s}\n", r == 0 ? "true" : "false");
    else
        printf("%s\n", r == 0 ? "valid" : "not valid");
    return r == 0 ? TOOL_OK : TOOL_FAILED;
}

static int cmd_ecdh(struct tool *tool) {
    struct iotsafe_ref own, peer;
    uint8_t secret[32];
    int r;

    if (!parse_ref(tool->argv[0], &own) || !parse_ref(tool->argv[1], &peer))
        return usage("neither an identifier in hex nor label:NAME", tool->argv[0]);
    r = iotsafe_ecdh(tool->client, &own, &peer, secret);
    return r < 0 ? failed(tool, r) : tool_print_bytes(tool, "secret", NULL, secret, sizeof secret);
}

static int cmd_random(struct tool *tool) {
    static uint8_t buf[FILE_MAX];
    char *end;
    unsigned long n = strtoul(tool->argv[0], &end, 10);
    int r;

    if (*end || n == 0 || n > sizeof buf)
        return usage("not a number of bytes, 1 to 65536", tool->argv[0]);
    r = iotsafe_random(tool->client, buf, n);
    return r < 0 ? failed(tool, r) : tool_print_bytes(tool, "random", NULL, buf, n);
}

/* A secret on the card (its ID), or hex:BYTES, then *ret_ref is NULL. */
static bool parse_secret(const char *text, struct iotsafe_ref *ref,
                         const struct iotsafe_ref **ret_ref, uint8_t value[SECRET_MAX],
                         size_t *ret_n) {
    static const char by_value[] = "hex:";
    bool given = strncmp(text, by_value, sizeof by_value - 1) == 0;

    *ret_ref = given ? NULL : ref;
    *ret_n = 0;
    return given ? tool_hex(text + sizeof by_value - 1, value, SECRET_MAX, ret_n) && *ret_n > 0
                 : parse_ref(text, ref);
}

/* spec: RFC5246 5 label and seed are one string for the card */
static int cmd_prf(struct tool *tool) {
    uint8_t secret[SECRET_MAX], label_seed[SEED_MAX], ecdhe[32], out[255];
    size_t label = strlen(tool->argv[1]), seed, n_secret, n_ecdhe = 0;
    const struct iotsafe_ref *by_ref;
    struct iotsafe_ref ref;
    char *end;
    unsigned long n = strtoul(tool->argv[3], &end, 10);
    int r;

    if (!parse_secret(tool->argv[0], &ref, &by_ref, secret, &n_secret))
        return usage("neither a secret on the card nor hex:BYTES", tool->argv[0]);
    if (label > sizeof label_seed)
        return usage("label too long", tool->argv[1]);
    memcpy(label_seed, tool->argv[1], label);
    if (!tool_hex(tool->argv[2], label_seed + label, sizeof label_seed - label, &seed))
        return usage("no seed in hex", tool->argv[2]);
    if (*end || n == 0 || n > sizeof out)
        return usage("not a number of bytes, 1 to 255", tool->argv[3]);
    if (tool->argc > 4 &&
        (!by_ref || !tool_hex(tool->argv[4], ecdhe, sizeof ecdhe, &n_ecdhe) || n_ecdhe != 32))
        return usage("no shared secret for a key of the card: 32 bytes in hex", tool->argv[4]);
    r = iotsafe_prf(tool->client, by_ref, secret, n_secret, n_ecdhe ? ecdhe : NULL, label_seed,
                    label + seed, out, n);
    return r < 0 ? failed(tool, r) : tool_print_bytes(tool, "output", NULL, out, n);
}

static int cmd_hkdf(struct tool *tool) {
    uint8_t secret[SECRET_MAX], salt[64], out[32];
    const struct iotsafe_ref *by_ref;
    struct iotsafe_ref ref;
    size_t n_secret, n_salt = 0, n;
    int r;

    if (!parse_secret(tool->argv[0], &ref, &by_ref, secret, &n_secret))
        return usage("neither a secret on the card nor hex:BYTES", tool->argv[0]);
    if (tool->argc > 1 && !tool_hex(tool->argv[1], salt, sizeof salt, &n_salt))
        return usage("no salt in hex", tool->argv[1]);
    r = iotsafe_hkdf_extract(tool->client, by_ref, secret, n_secret, salt, n_salt, IOTSAFE_SHA256,
                             out, sizeof out, &n);
    return r < 0 ? failed(tool, r) : tool_print_bytes(tool, "prk", NULL, out, n);
}

static int cmd_apdu(struct tool *tool) {
    for (int i = 0; i < tool->argc; i++) {
        uint8_t cmd[CMD_MAX], rsp[RSP_MAX];
        size_t n;
        int r;

        if (!tool_hex(tool->argv[i], cmd, sizeof cmd, &n) || n < 4)
            return usage("no command APDU in hex", tool->argv[i]);
        r = iotsafe_transmit(tool->client, cmd, n, rsp, sizeof rsp, &n);
        if (r < 0)
            return failed(tool, r);
        r = tool_print_bytes(tool, "response", NULL, rsp, n);
        if (r != TOOL_OK)
            return r;
    }
    return TOOL_OK;
}

static int cmd_reset(struct tool *tool) {
    struct iotsafe_transport *t = iotsafe_transport_of(tool->client);
    int r = t->ops->reset ? t->ops->reset(t) : IOTSAFE_E_UNSUPPORTED;

    return r < 0 ? failed(tool, r) : TOOL_OK;
}

static const struct {
    const char *name;
    int min, max;
    int (*run)(struct tool *tool);
} commands[] = {
    {"info", 0, 0, cmd_info},   {"list", 0, 0, cmd_list},     {"object", 2, 2, cmd_object},
    {"read", 1, 1, cmd_read},   {"pubkey", 1, 1, cmd_pubkey}, {"generate", 1, 1, cmd_generate},
    {"put", 2, 2, cmd_put},     {"sign", 2, 2, cmd_sign},     {"verify", 3, 3, cmd_verify},
    {"ecdh", 2, 2, cmd_ecdh},   {"random", 1, 1, cmd_random}, {"apdu", 1, TOOL_ARGS_MAX, cmd_apdu},
    {"reset", 0, 0, cmd_reset}, {"prf", 4, 5, cmd_prf},       {"hkdf", 1, 2, cmd_hkdf},
};

static int open_client(struct tool *tool) {
    struct iotsafe_transport *t, *traced;
    char err[256];
    int r;

    if (!tool->transport)
        return usage("no --transport and no IOTSAFE_TRANSPORT: where is the card?", tool->command);
    r = iotsafe_transport_open(tool->transport, &t, err, sizeof err);
    if (r < 0) {
        fprintf(stderr, "iotsafe: %s\n", err);
        return r == IOTSAFE_E_ARGUMENT ? TOOL_USAGE : TOOL_FAILED;
    }
    if (tool->verbose && (traced = tool_trace(t)))
        t = traced;
    r = iotsafe_open(t, &tool->options, &tool->client);
    if (r < 0) {
        fprintf(stderr, "iotsafe: %s\n", iotsafe_strerror(r));
        iotsafe_transport_close(t);
        return TOOL_FAILED;
    }
    return TOOL_OK;
}

int tool_run(struct tool *tool) {
    size_t i, n = sizeof commands / sizeof *commands;
    int r;

    for (i = 0; i < n && strcmp(commands[i].name, tool->command) != 0; i++)
        ;
    if (i == n)
        return usage("no such command; see --help", tool->command);
    if (tool->argc < commands[i].min || tool->argc > commands[i].max)
        return usage("wrong number of arguments; see --help", tool->command);
    r = open_client(tool);
    if (r != TOOL_OK)
        return r;
    r = commands[i].run(tool);
    iotsafe_close(tool->client);
    if (fflush(stdout) != 0)
        return TOOL_FAILED;
    return r;
}

/* Results for people and programs. */
#include <stdio.h>
#include <string.h>

#include "tool.h"

static void hex(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        printf("%02X", bytes[i]);
}

static void base64(const uint8_t *p, size_t n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0U);

        putchar(digit[v >> 18]);
        putchar(digit[v >> 12 & 63]);
        putchar(i + 1 < n ? digit[v >> 6 & 63] : '=');
        putchar(i + 2 < n ? digit[v & 63] : '=');
        if (i % 48 == 45 || i + 3 >= n)
            putchar('\n');
    }
}

static int write_file(const char *path, const uint8_t *bytes, size_t n) {
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "wb");
    bool ok = f && fwrite(bytes, 1, n, f) == n;

    if (f && f != stdout)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        perror(path);
    return ok ? TOOL_OK : TOOL_FAILED;
}

int tool_print_bytes(const struct tool *tool, const char *name, const char *pem_label,
                     const uint8_t *bytes, size_t n) {
    if (tool->output)
        return write_file(tool->output, bytes, n);
    if (tool->pem && pem_label) {
        printf("-----BEGIN %s-----\n", pem_label);
        base64(bytes, n);
        printf("-----END %s-----\n", pem_label);
        return TOOL_OK;
    }
    if (tool->json)
        printf("{\"%s\":\"", name);
    hex(bytes, n);
    printf("%s\n", tool->json ? "\"}" : "");
    return TOOL_OK;
}

/* Labels are any bytes: what is no printable ASCII is written as \\xXX, in JSON \\u00XX, byte by
 * byte. */
static void text(const uint8_t *p, size_t n, bool json) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0x20 || p[i] > 0x7E)
            printf("%s%02X", json ? "\\u00" : "\\x", p[i]);
        else
            printf("%s%c", json && (p[i] == '"' || p[i] == '\\') ? "\\" : "", p[i]);
    }
}

struct bit_name {
    unsigned bit;
    const char *name;
};

static void bits(unsigned value, const struct bit_name *names) {
    const char *comma = "";

    for (; names->bit; names++) {
        if (!(value & names->bit))
            continue;
        printf("%s%s", comma, names->name);
        value &= ~names->bit;
        comma = ",";
    }
    if (value)
        printf("%s0x%X", comma, value);
}

static const struct bit_name crypto_names[] = {
    {1, "sign"}, {2, "generate"}, {4, "agree"}, {8, "derive"}, {0, NULL}};
static const struct bit_name hash_names[] = {
    {1, "sha256"}, {2, "sha384"}, {4, "sha512"}, {0, NULL}};
static const struct bit_name sign_names[] = {
    {1, "rsa-pkcs1"}, {2, "rsa-pss"}, {4, "ecdsa"}, {0, NULL}};
static const struct bit_name access_names[] = {{1, "read"}, {2, "update"}, {0, NULL}};
static const struct bit_name derive_names[] = {{1, "prf"}, {2, "hkdf"}, {0, NULL}};

void tool_print_info(const struct tool *tool, const struct iotsafe_info *i) {
    if (tool->json) {
        printf("{\"version\":%u,\"applet\":\"", i->version);
        hex(i->applet_id, i->applet_id_len);
        printf(
            "\",\"max\":{\"files\":%u,\"private\":%u,\"public\":%u,\"secret\":%u,\"sessions\":%u},"
            "\"crypto\":%u,\"hash\":%u,\"sign\":%u,\"agreement\":%u,\"derivation\":%u}\n",
            i->max_files, i->max_private, i->max_public, i->max_secret, i->max_sessions, i->crypto,
            i->hash, i->sign_alg, i->key_agreement, i->key_derivation);
        return;
    }
    printf("version      %u.%u\napplet       ", i->version >> 4, i->version & 15U);
    hex(i->applet_id, i->applet_id_len);
    printf("\nmost         %u files, %u private, %u public, %u secret keys, %u sessions\n",
           i->max_files, i->max_private, i->max_public, i->max_secret, i->max_sessions);
    printf("functions    ");
    bits(i->crypto, crypto_names);
    printf("\nhashes       ");
    bits(i->hash, hash_names);
    printf("\nsignatures   ");
    bits(i->sign_alg, sign_names);
    printf("\nagreement    %s\nderivation   ", i->key_agreement ? "ecdh" : "");
    bits(i->key_derivation, derive_names);
    printf("\n");
}

static const char *const type_names[] = {"private", "public", "secret", "file"};

static const char *key_type(uint8_t t) {
    switch (t) {
    case 0x03:
        return "rsa2048";
    case 0x13:
        return "p256";
    case 0x14:
        return "p256-volatile";
    case 0x23:
        return "brainpoolp256";
    case 0x24:
        return "brainpoolp256-volatile";
    case 0xA0:
        return "hmac";
    default:
        return "unknown-type";
    }
}

static void print_json(const struct iotsafe_object *o) {
    printf("{\"type\":\"%s\",\"id\":\"", type_names[o->type]);
    hex(o->ref.id, o->ref.id_len);
    printf("\",\"label\":\"");
    text(o->ref.label, o->ref.label_len, true);
    printf("\",\"access\":%u,\"state\":%u,", o->access, o->state);
    if (o->type == IOTSAFE_FILE)
        printf("\"usage\":%u,\"size\":%u}", o->file_usage, o->file_size);
    else
        printf("\"key_type\":\"%s\",\"usage\":%u,\"crypto\":%u,\"hash\":%u,\"sign\":%u,"
               "\"agreement\":%u,\"derivation\":%u}",
               key_type(o->key_type), o->key_usage, o->crypto, o->hash, o->sign_alg,
               o->key_agreement, o->key_derivation);
}

static void print_line(const struct iotsafe_object *o) {
    printf("%-8s", type_names[o->type]);
    hex(o->ref.id, o->ref.id_len);
    printf("  %s  ", o->state == 1 ? "active" : "empty ");
    if (o->type == IOTSAFE_FILE) {
        printf("%u bytes%s", o->file_size, o->file_usage == 2 ? " x509" : "");
    } else {
        printf("%s ", key_type(o->key_type));
        bits(o->crypto, crypto_names);
    }
    printf("  access=");
    bits(o->access, access_names);
    if (o->ref.label_len) {
        printf("  \"");
        text(o->ref.label, o->ref.label_len, false);
        printf("\"");
    }
    printf("\n");
}

void tool_print_objects(const struct tool *tool, const struct iotsafe_object *objects, size_t n) {
    if (tool->json)
        printf("{\"objects\":[");
    for (size_t i = 0; i < n; i++) {
        if (tool->json) {
            printf("%s", i ? "," : "");
            print_json(&objects[i]);
        } else {
            print_line(&objects[i]);
        }
    }
    if (tool->json)
        printf("]}\n");
}

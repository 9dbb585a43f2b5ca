#include "cardfile_fields.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "cardfile_vars.h"
#include "tb/hex.h"

enum { MAX_WORDS = 16, MAX_FILE = 65535 };

static const struct cardfile_word yes_no[] = {
    {"yes", 1},   {"no", 0}, {"on", 1}, {"off", 0}, {"true", 1},
    {"false", 0}, {"1", 1},  {"0", 0},  {NULL, 0},
};
static const struct cardfile_word types[] = {
    {"p256", TB_SAFE_P256},          {"p256-volatile", TB_SAFE_P256_VOLATILE},
    {"brainpool256", TB_SAFE_BP256}, {"brainpool256-volatile", TB_SAFE_BP256_VOLATILE},
    {"rsa2048", TB_SAFE_RSA2048},    {NULL, 0},
};
static const struct cardfile_word secret_types[] = {
    {"hmac", TB_SAFE_HMAC},
    {"aes", TB_SAFE_AES},
    {NULL, 0},
};
static const struct cardfile_word functions[] = {
    {"sign", TB_SAFE_CAN_SIGN},         {"verify", TB_SAFE_CAN_SIGN},
    {"generate", TB_SAFE_CAN_GENERATE}, {"agree", TB_SAFE_CAN_AGREE},
    {"derive", TB_SAFE_CAN_DERIVE},     {NULL, 0},
};
static const struct cardfile_word access_rights[] = {
    {"read", TB_SAFE_READ},
    {"update", TB_SAFE_UPDATE},
    {NULL, 0},
};
static const struct cardfile_word key_usages[] = {
    {"general", TB_SAFE_USE_GENERAL},
    {"tls12", TB_SAFE_USE_TLS12},
    {"tls13", TB_SAFE_USE_TLS13},
    {NULL, 0},
};
static const struct cardfile_word file_usages[] = {
    {"general", TB_SAFE_FILE_GENERAL},
    {"x509", TB_SAFE_FILE_X509},
    {NULL, 0},
};
static const struct cardfile_word hashes[] = {
    {"sha256", TB_SAFE_SHA256},
    {"sha384", TB_SAFE_SHA384},
    {"sha512", TB_SAFE_SHA512},
    {NULL, 0},
};
static const struct cardfile_word signatures[] = {
    {"ecdsa", TB_SAFE_ECDSA},
    {"rsa-pkcs1", TB_SAFE_RSA_PKCS1},
    {"rsa-pss", TB_SAFE_RSA_PSS},
    {NULL, 0},
};
static const struct cardfile_word variants[] = {
    {"type1", 1},
    {"type2", 2},
    {NULL, 0},
};
static const struct cardfile_word domain_keys[] = {
    {"aes", 0},
    {"des", 1},
    {NULL, 0},
};
static const struct cardfile_word classes[] = {
    {"test", CARD_CLASS_TEST},
    {"provisioning", CARD_CLASS_PROVISIONING},
    {"operational", CARD_CLASS_OPERATIONAL},
    {NULL, 0},
};
static const struct cardfile_word policies[] = {
    {"disable", CARD_FORBID_DISABLE},
    {"delete", CARD_FORBID_DELETE},
    {NULL, 0},
};
static const struct cardfile_word derivations[] = {
    {"prf", TB_SAFE_PRF},
    {"hkdf", TB_SAFE_HKDF},
    {NULL, 0},
};
static const struct cardfile_word values[] = {
    {"generate", CARDFILE_GENERATE},
    {"empty", CARDFILE_EMPTY},
    {NULL, 0},
};
static const struct cardfile_word formats[] = {
    {"der", CARDFILE_DER},
    {"pem", CARDFILE_PEM},
    {NULL, 0},
};

#define ENTRY(member)                                                                              \
    offsetof(struct cardfile_entry, member), sizeof(((struct cardfile_entry *)0)->member)
#define CARD(member) offsetof(struct cardfile, member), sizeof(((struct cardfile *)0)->member)
#define TEXT(name, at)                                                                             \
    { name, CF_TEXT, at, NULL, 0, 0 }
#define BYTES(name, at, min, max)                                                                  \
    { name, CF_BYTES, at, NULL, min, max }
#define UINT(name, at, min, max)                                                                   \
    { name, CF_UINT, at, NULL, min, max }
#define WORD(name, at, words)                                                                      \
    { name, CF_WORD, at, words, 0, 0 }
#define SET(name, at, words)                                                                       \
    { name, CF_SET, at, words, 0, 0 }
#define END                                                                                        \
    { NULL, CF_TEXT, 0, 0, NULL, 0, 0 }

#define OBJECT                                                                                     \
    UINT("instance", ENTRY(instance), 0, 255), BYTES("id", ENTRY(id), 1, TB_SAFE_MAX_ID),          \
        TEXT("label", ENTRY(label))

static const struct cardfile_field card_fields[] = {
    TEXT("iccid", CARD(iccid)),
    TEXT("imsi", CARD(imsi)),
    TEXT("spn", CARD(spn)),
    TEXT("msisdn", CARD(msisdn)),
    TEXT("smsc", CARD(smsc)),
    UINT("mnc_digits", CARD(mnc_digits), 2, 3),
    BYTES("atr", CARD(atr), 2, CARD_ATR_MAX),
    END,
};
static const struct cardfile_field pin_fields[] = {
    TEXT("pin", ENTRY(text)),
    TEXT("puk", ENTRY(puk)),
    WORD("enabled", ENTRY(enabled), yes_no),
    END,
};
static const struct cardfile_field usim_fields[] = {
    BYTES("k", ENTRY(k), 16, 16),
    BYTES("opc", ENTRY(opc), 16, 16),
    BYTES("op", ENTRY(op), 16, 16),
    BYTES("sqn", ENTRY(sqn), 6, 6),
    UINT("delta", ENTRY(delta), 1, UINT_MAX),
    END,
};
static const struct cardfile_field euicc_fields[] = {
    BYTES("eid", ENTRY(eid), 16, 16),
    BYTES("ci", ENTRY(ci), 20, 20),
    TEXT("smdp", ENTRY(smdp)),
    TEXT("smds", ENTRY(smds)),
    END,
};
static const struct cardfile_field subscription_fields[] = {
    UINT("number", ENTRY(number), 1, 255),
    TEXT("iccid", ENTRY(iccid)),
    TEXT("imsi", ENTRY(imsi)),
    TEXT("spn", ENTRY(spn)),
    TEXT("msisdn", ENTRY(msisdn)),
    TEXT("smsc", ENTRY(smsc)),
    UINT("mnc_digits", ENTRY(mnc_digits), 2, 3),
    BYTES("k", ENTRY(k), 16, 16),
    BYTES("opc", ENTRY(opc), 16, 16),
    BYTES("op", ENTRY(op), 16, 16),
    BYTES("sqn", ENTRY(sqn), 6, 6),
    UINT("delta", ENTRY(delta), 1, UINT_MAX),
    TEXT("pin1", ENTRY(pin1)),
    TEXT("puk1", ENTRY(puk1)),
    WORD("pin1_enabled", ENTRY(pin1_enabled), yes_no),
    TEXT("adm1", ENTRY(adm1)),
    TEXT("nickname", ENTRY(nickname)),
    TEXT("provider", ENTRY(provider)),
    TEXT("label", ENTRY(label)),
    WORD("class", ENTRY(cls), classes),
    WORD("enabled", ENTRY(enabled), yes_no),
    TEXT("notify", ENTRY(notify)),
    SET("forbid", ENTRY(forbid), policies),
    END,
};
#define PLACE                                                                                      \
    TEXT("domain", ENTRY(domain)), UINT("placement", ENTRY(placement), 0, 255),                    \
        BYTES("tar", ENTRY(tar), 3, 3), UINT("msl", ENTRY(msl), 0, 255)

static const struct cardfile_field domain_fields[] = {
    BYTES("aid", ENTRY(id), 5, 16),
    PLACE,
    WORD("authorized", ENTRY(authorized), yes_no),
    END,
};
static const struct cardfile_field keys_fields[] = {
    TEXT("domain", ENTRY(domain)),          UINT("version", ENTRY(version), 1, 0x7F),
    WORD("type", ENTRY(type), domain_keys), BYTES("key", ENTRY(hex), 16, 32),
    BYTES("enc", ENTRY(enc), 16, 32),       BYTES("mac", ENTRY(mac), 16, 32),
    BYTES("dek", ENTRY(dek), 16, 32),       END,
};
static const struct cardfile_field applet_fields[] = {
    BYTES("aid", ENTRY(id), 5, 16),
    TEXT("profile", ENTRY(profile)),
    WORD("variant", ENTRY(type), variants),
    UINT("instance", ENTRY(instance), 0, 255),
    PLACE,
    END,
};
static const struct cardfile_field key_fields[] = {
    OBJECT,
    BYTES("public_id", ENTRY(public_id), 1, TB_SAFE_MAX_ID),
    TEXT("public_label", ENTRY(public_label)),
    WORD("type", ENTRY(type), types),
    SET("functions", ENTRY(functions), functions),
    WORD("usage", ENTRY(usage), key_usages),
    SET("access", ENTRY(access), access_rights),
    SET("public_access", ENTRY(public_access), access_rights),
    SET("hash", ENTRY(hash), hashes),
    SET("signature", ENTRY(sign_alg), signatures),
    WORD("value", ENTRY(value), values),
    TEXT("from", ENTRY(from)),
    TEXT("copy_of", ENTRY(copy_of)),
    END,
};
static const struct cardfile_field public_fields[] = {
    OBJECT,
    WORD("type", ENTRY(type), types),
    SET("functions", ENTRY(functions), functions),
    WORD("usage", ENTRY(usage), key_usages),
    SET("access", ENTRY(access), access_rights),
    SET("hash", ENTRY(hash), hashes),
    SET("signature", ENTRY(sign_alg), signatures),
    TEXT("from", ENTRY(from)),
    END,
};
static const struct cardfile_field secret_fields[] = {
    OBJECT,
    WORD("type", ENTRY(type), secret_types),
    SET("functions", ENTRY(functions), functions),
    SET("access", ENTRY(access), access_rights),
    SET("derivation", ENTRY(derivation), derivations),
    BYTES("hex", ENTRY(hex), 1, 64),
    TEXT("text", ENTRY(text)),
    UINT("random", ENTRY(random), 1, 64),
    TEXT("psk_identity", ENTRY(psk_identity)),
    END,
};
static const struct cardfile_field certificate_fields[] = {
    TEXT("key", ENTRY(key)),
    TEXT("cn", ENTRY(cn)),
    TEXT("organization", ENTRY(organization)),
    UINT("days", ENTRY(days), 1, 36500),
    TEXT("from", ENTRY(from)),
    END,
};
static const struct cardfile_field file_fields[] = {
    OBJECT,
    WORD("usage", ENTRY(file_usage), file_usages),
    SET("access", ENTRY(access), access_rights),
    UINT("capacity", ENTRY(capacity), 1, MAX_FILE),
    TEXT("certificate", ENTRY(certificate)),
    WORD("format", ENTRY(format), formats),
    BYTES("hex", ENTRY(hex), 1, MAX_FILE),
    TEXT("text", ENTRY(text)),
    TEXT("from", ENTRY(from)),
    END,
};

const struct cardfile_field *cardfile_fields(enum cardfile_kind kind) {
    static const struct cardfile_field *const tables[CARDFILE_KINDS] = {
        [CARDFILE_CARD] = card_fields,
        [CARDFILE_PIN] = pin_fields,
        [CARDFILE_USIM] = usim_fields,
        [CARDFILE_EUICC] = euicc_fields,
        [CARDFILE_SUBSCRIPTION] = subscription_fields,
        [CARDFILE_DOMAIN] = domain_fields,
        [CARDFILE_KEYS] = keys_fields,
        [CARDFILE_APPLET] = applet_fields,
        [CARDFILE_KEY] = key_fields,
        [CARDFILE_PUBLIC] = public_fields,
        [CARDFILE_SECRET] = secret_fields,
        [CARDFILE_FILE] = file_fields,
        [CARDFILE_CERTIFICATE] = certificate_fields,
    };

    return tables[kind];
}

static void put_integer(void *object, const struct cardfile_field *f, unsigned v) {
    uint8_t *at = (uint8_t *)object + f->offset;
    uint8_t v8 = (uint8_t)v;
    uint16_t v16 = (uint16_t)v;

    if (f->size == sizeof v8)
        memcpy(at, &v8, sizeof v8);
    else if (f->size == sizeof v16)
        memcpy(at, &v16, sizeof v16);
    else
        memcpy(at, &v, sizeof v);
}

static int find_word(const struct cardfile_field *f, const char *text, unsigned *ret,
                     const char *file, int line, struct tb_error *e) {
    const char *names[MAX_WORDS] = {NULL};
    char all[256] = "";
    char near[96];
    size_t n = 0;

    for (const struct cardfile_word *w = f->words; w->name; w++) {
        if (strcmp(w->name, text) == 0) {
            *ret = w->value;
            return 0;
        }
        names[n++] = w->name;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", n > 1 ? ", " : "", w->name);
    }
    return tb_error_set(e, TB_EPARSE, file, line, "%s: unknown word '%s'%s (known: %s)", f->name,
                        text, cardfile_hint(text, names, near, sizeof near), all);
}

static int read_set(const struct cardfile_field *f, const char *text, void *object,
                    const char *file, int line, struct tb_error *e) {
    unsigned all = 0;
    char copy[128];
    char *rest, *word;

    if (strlen(text) >= sizeof copy)
        return tb_error_set(e, TB_EPARSE, file, line, "%s: too many words", f->name);
    snprintf(copy, sizeof copy, "%s", text);
    for (word = strtok_r(copy, ", \t", &rest); word; word = strtok_r(NULL, ", \t", &rest)) {
        unsigned bit = 0;

        if (strcmp(word, "none") != 0 && find_word(f, word, &bit, file, line, e) < 0)
            return TB_EPARSE;
        all |= bit;
    }
    put_integer(object, f, all);
    return 0;
}

static int read_uint(const struct cardfile_field *f, const char *text, void *object,
                     const char *file, int line, struct tb_error *e) {
    unsigned long v;
    char *end;

    errno = 0;
    v = strtoul(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end || errno || v < f->min || v > f->max)
        return tb_error_set(e, TB_EPARSE, file, line, "%s: '%s' is not a number from %u to %u",
                            f->name, text, f->min, f->max);
    put_integer(object, f, (unsigned)v);
    return 0;
}

static int read_bytes(const struct cardfile_field *f, const char *text, void *object,
                      const char *file, int line, struct tb_error *e) {
    struct tb_span in = tb_span_str(text);
    struct cardfile_bytes got;
    struct tb_buf out;
    int r = 0;

    out = tb_buf(calloc(1, in.n + 1), in.n + 1);
    if (!out.p)
        abort();
    if (in.n >= 2 && in.p[0] == '"' && in.p[in.n - 1] == '"')
        tb_put(&out, tb_span_sub(in, 1, in.n - 2));
    else
        r = tb_hex_decode_loose(in, &out);
    if (r == 0 && (out.n < f->min || out.n > f->max))
        r = tb_error_set(e, TB_EPARSE, file, line, "%s: %zu bytes, allowed are %u to %u", f->name,
                         out.n, f->min, f->max);
    else if (r < 0)
        r = tb_error_set(e, TB_EPARSE, file, line,
                         "%s: not hexadecimal; write bytes as 01 A2, text in double quotes",
                         f->name);
    if (r < 0) {
        tb_wipe(out.p, out.cap);
        free(out.p);
        return r;
    }
    got = (struct cardfile_bytes){out.p, out.n};
    memcpy((uint8_t *)object + f->offset, &got, sizeof got);
    return 0;
}

static int read_text(const struct cardfile_field *f, const char *text, void *object,
                     const char *file, int line, struct tb_error *e) {
    char *copy;

    if (!*text)
        return tb_error_set(e, TB_EPARSE, file, line, "%s: no value", f->name);
    copy = strdup(text);
    if (!copy)
        abort();
    memcpy((uint8_t *)object + f->offset, &copy, sizeof copy);
    return 0;
}

int cardfile_field_read(const struct cardfile_field *f, const char *text, void *object,
                        const char *file, int line, struct tb_error *e) {
    unsigned v = 0;
    int r;

    switch (f->type) {
    case CF_TEXT:
        return read_text(f, text, object, file, line, e);
    case CF_BYTES:
        return read_bytes(f, text, object, file, line, e);
    case CF_UINT:
        return read_uint(f, text, object, file, line, e);
    case CF_SET:
        return read_set(f, text, object, file, line, e);
    case CF_WORD:
        break;
    }
    r = find_word(f, text, &v, file, line, e);
    if (r == 0)
        put_integer(object, f, v);
    return r;
}

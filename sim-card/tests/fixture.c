#include "fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint8_t fx_scalar[32] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE, 0x0F, 0x1E, 0x2D,
                               0x3C, 0x4B, 0x5A, 0x69, 0x78, 0x87, 0x96, 0xA5, 0xB4, 0xC3, 0xD2,
                               0xE1, 0xF0, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};

/* RFC 4493 4 */
static const uint8_t fx_aes[16] = {0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6,
                                   0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C};

uint8_t fx_cert_byte(size_t i) {
    static const uint8_t head[] = {0x30, 0x82, 0x01,
                                   0x22}; /* as long as a DER object of 294 bytes */

    return i < sizeof head ? head[i] : (uint8_t)(i * 7 + i / 256);
}

static void object(struct card_nvm *nvm, struct card_object_spec spec) {
    int r = card_perso_object(nvm, 0, &spec);

    if (r < 0)
        fprintf(stderr, "object %d %02X: %s\n", spec.cls, spec.id.p[0], tb_strerror(r));

    assert(r == 0);
    (void)r;
}

static void keys(struct card_nvm *nvm) {
    const uint8_t sign = TB_SAFE_CAN_SIGN, agree = TB_SAFE_CAN_AGREE, make = TB_SAFE_CAN_GENERATE;
    uint8_t point[CARD_RSA_SPKI_MAX];
    struct tb_buf b = TB_BUF(point);
    int r;

    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x01),
                                          .label = tb_span_str("client key"),
                                          .access = 2,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = sign | make,
                                          .hash = 7,
                                          .value = tb_span(fx_scalar, 32)});
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x04),
                                          .label = tb_span_str("ecdhe key"),
                                          .access = 2,
                                          .key_type = TB_SAFE_P256_VOLATILE,
                                          .crypto = agree | make});
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x30, 0x30, 0x36),
                                          .label = tb_span_str("zariot"),
                                          .access = 2,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = sign | make,
                                          .pair = TB_BYTES(0x30, 0x30, 0x37)});
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x0A),
                                          .label = tb_span_str("rsa"),
                                          .access = 2,
                                          .key_type = TB_SAFE_RSA2048,
                                          .crypto = sign | make,
                                          .hash = 7,
                                          .value = tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n)});
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x0B),
                                          .label = tb_span_str("brainpool"),
                                          .access = 2,
                                          .key_type = TB_SAFE_BP256,
                                          .crypto = sign | make | agree,
                                          .hash = 7});
    /* not usable: deactivated, not for signing, not to be updated */
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x0D),
                                          .access = 2,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = sign,
                                          .value = tb_span(fx_scalar, 32),
                                          .inactive = true});
    object(nvm, (struct card_object_spec){.cls = CARD_PRIVATE,
                                          .id = TB_BYTES(0x0E),
                                          .access = 0,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = agree | make,
                                          .value = tb_span(fx_scalar, 32)});

    r = card_perso_public_of(TB_SAFE_P256, tb_span(fx_scalar, 32), &b);
    assert(r == 0);
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x01),
                                          .label = tb_span_str("client key"),
                                          .access = 3,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = sign,
                                          .hash = 7,
                                          .value = tb_buf_span(&b)});
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x04),
                                          .label = tb_span_str("ecdhe key"),
                                          .access = 3,
                                          .key_type = TB_SAFE_P256_VOLATILE,
                                          .crypto = agree});
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x05),
                                          .label = tb_span_str("peer key"),
                                          .access = 3,
                                          .key_type = TB_SAFE_P256_VOLATILE,
                                          .crypto = sign | agree,
                                          .hash = 7});
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x30, 0x30, 0x37),
                                          .label = tb_span_str("zariot"),
                                          .access = 1,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = sign});
    b.n = 0;
    r = card_perso_public_of(TB_SAFE_RSA2048, tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n), &b);
    assert(r == 0);
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x0A),
                                          .label = tb_span_str("rsa"),
                                          .access = 3,
                                          .key_type = TB_SAFE_RSA2048,
                                          .crypto = sign,
                                          .hash = 7,
                                          .value = tb_buf_span(&b)});
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x0B),
                                          .label = tb_span_str("brainpool"),
                                          .access = 3,
                                          .key_type = TB_SAFE_BP256,
                                          .crypto = sign | agree,
                                          .hash = 7});
    /* not usable: write only, read only */
    object(nvm, (struct card_object_spec){.cls = CARD_PUBLIC,
                                          .id = TB_BYTES(0x0D),
                                          .access = 2,
                                          .key_type = TB_SAFE_P256,
                                          .crypto = agree});
    (void)r;
}

static void others(struct card_nvm *nvm) {
    uint8_t cert[FX_CA_LEN], psk[16];

    for (size_t i = 0; i < sizeof cert; i++)
        cert[i] = fx_cert_byte(i);
    for (size_t i = 0; i < sizeof psk; i++)
        psk[i] = (uint8_t)i;
    object(nvm, (struct card_object_spec){.cls = CARD_SECRET,
                                          .id = TB_BYTES(0x06),
                                          .label = tb_span_str("psk"),
                                          .key_type = TB_SAFE_HMAC,
                                          .crypto = TB_SAFE_CAN_DERIVE,
                                          .value = tb_span(psk, sizeof psk)});
    object(nvm, (struct card_object_spec){.cls = CARD_SECRET,
                                          .id = TB_BYTES(0x07),
                                          .key_type = TB_SAFE_HMAC,
                                          .crypto = TB_SAFE_CAN_DERIVE,
                                          .key_derivation = TB_SAFE_HKDF,
                                          .value = tb_span(psk, sizeof psk)});
    object(nvm, (struct card_object_spec){.cls = CARD_SECRET,
                                          .id = TB_BYTES(0x0C),
                                          .key_type = TB_SAFE_AES,
                                          .crypto = TB_SAFE_CAN_SIGN,
                                          .value = tb_span(fx_aes, sizeof fx_aes)});
    object(nvm, (struct card_object_spec){.cls = CARD_FILE,
                                          .id = TB_BYTES(0x02),
                                          .label = tb_span_str("cert 02"),
                                          .access = 1,
                                          .file_usage = TB_SAFE_FILE_X509,
                                          .value = tb_span(cert, FX_CERT_LEN),
                                          .capacity = 512});
    object(nvm, (struct card_object_spec){.cls = CARD_FILE,
                                          .id = TB_BYTES(0x03),
                                          .label = tb_span_str("ca"),
                                          .access = 1,
                                          .file_usage = TB_SAFE_FILE_X509,
                                          .value = tb_span(cert, FX_CA_LEN)});
    object(nvm, (struct card_object_spec){.cls = CARD_FILE,
                                          .id = TB_BYTES(0x08),
                                          .label = tb_span_str("endpoint"),
                                          .access = 3,
                                          .value = tb_span_str("8883 hub.example")});
    object(nvm, (struct card_object_spec){.cls = CARD_FILE,
                                          .id = TB_BYTES(0x09),
                                          .label = tb_span_str("empty"),
                                          .access = 1,
                                          .capacity = 64});
    object(nvm, (struct card_object_spec){.cls = CARD_FILE,
                                          .id = TB_BYTES(0x0D),
                                          .access = 0,
                                          .value = tb_span_str("unreadable")});
}

static void change_knobs(struct card_profile *p, const char *knobs) {
    char text[256], *save = NULL;

    if (!knobs)
        return;
    assert(strlen(knobs) < sizeof text);
    snprintf(text, sizeof text, "%s", knobs);
    for (char *knob = strtok_r(text, " ", &save); knob; knob = strtok_r(NULL, " ", &save)) {
        char *value = strchr(knob, '=');
        int r;

        if (strcmp(knob, "euicc") == 0)
            continue;
        assert(value);
        *value++ = '\0';
        r = card_profile_set(p, knob, value);
        assert(r == 0);
        (void)r;
    }
}

static void applets(struct card_nvm *nvm, const char *knobs) {
    static const char *const profiles[] = {"gsma", "thales", "orange", "ntt"};

    for (size_t i = 0; tb_safe_aids[i].len; i++) {
        struct card_profile p = *card_profile_find(profiles[i]);
        int r;

        change_knobs(&p, knobs);
        r = card_perso_applet(nvm, tb_span(tb_safe_aids[i].aid, tb_safe_aids[i].len), 0, &p);
        assert(r == 0);
        (void)r;
    }
}

static const uint8_t fx_gp_key[] = {0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
                                    0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F};

static const uint8_t fx_ota[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A,
                                 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
                                 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F};

/* An issuer domain with the keys that everybody uses for tests. */
static void domains(struct card_nvm *nvm) {
    static const uint8_t aid[] = {0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00};
    const struct tb_span key = tb_span(fx_gp_key, sizeof fx_gp_key);
    const struct card_app_spec issuer = {.aid = tb_span(aid, sizeof aid)};
    const struct card_keys_spec keys = {.version = 0x30, .keys = {key, key, key}};
    const struct card_keys_spec ota = {.version = 1,
                                       .keys = {{fx_ota, 16}, {fx_ota + 16, 16}, key}};
    int r = card_perso_app(nvm, &issuer);

    if (r == 0)
        r = card_perso_keys(nvm, issuer.aid, 0, &keys);
    if (r == 0)
        r = card_perso_keys(nvm, issuer.aid, 0, &ota);
    assert(r == 0);
    (void)r;
}

/* Test set 1 of TS 35.208. */
static const uint8_t fx_k[] = {0x46, 0x5B, 0x5C, 0xE8, 0xB1, 0x99, 0xB4, 0x9F,
                               0xAA, 0x5F, 0x0A, 0x2E, 0xE2, 0x38, 0xA6, 0xBC};

void fx_personalise(struct card_nvm *nvm, const char *knobs) {
    static const uint8_t op[] = {0xCD, 0xC2, 0x02, 0xD5, 0x12, 0x3E, 0x20, 0xF6,
                                 0x2B, 0x6D, 0x67, 0x6A, 0xC7, 0x2C, 0xB3, 0x18};
    bool euicc = knobs && strstr(knobs, "euicc");
    const struct card_identity id = {.subscription = euicc,
                                     .iccid = "89000123456789012345",
                                     .imsi = "001010123456789",
                                     .spn = "testbed red",
                                     .msisdn = "+12025550123",
                                     .smsc = "+12025550199"};
    const struct card_usim_spec usim = {
        .subscription = euicc, .k = tb_span(fx_k, sizeof fx_k), .op = tb_span(op, sizeof op)};
    int r = card_perso_identity(nvm, &id);

    assert(r == 0);
    r = card_perso_usim(nvm, &usim);
    assert(r == 0);
    (void)r;
    if (euicc)
        fx_euicc(nvm);
    applets(nvm, knobs);
    domains(nvm);
    keys(nvm);
    others(nvm);
}

static int copy_entry(struct tb_span key, struct tb_span value, void *user) {
    struct card_nvm *to = user;

    return to->ops->put(to, key, value);
}

struct card_nvm *fx_memory(const char *knobs) {
    enum { MADE = 16 };
    static struct {
        char knobs[128];
        struct card_nvm *nvm;
    } made[MADE];
    struct card_nvm *nvm = card_nvm_mem_new(0);
    size_t i = 0;
    int r;

    if (!knobs)
        knobs = "";
    assert(nvm && strlen(knobs) < sizeof made[0].knobs);
    while (i < MADE && made[i].nvm && strcmp(made[i].knobs, knobs) != 0)
        i++;
    if (i == MADE) { /* not kept */
        fx_personalise(nvm, knobs);
        return nvm;
    }
    if (!made[i].nvm) {
        snprintf(made[i].knobs, sizeof made[i].knobs, "%s", knobs);
        made[i].nvm = card_nvm_mem_new(0);
        assert(made[i].nvm);
        fx_personalise(made[i].nvm, knobs);
    }
    r = nvm->ops->begin(nvm);
    if (r == 0)
        r = made[i].nvm->ops->each(made[i].nvm, copy_entry, nvm);
    if (r == 0)
        r = nvm->ops->commit(nvm);
    assert(r == 0);
    return nvm;
}

struct card *fx_card(const char *knobs, struct card_nvm **ret_nvm) {
    struct card_config cfg = {0};
    struct tb_span atr;
    struct card *card;
    int r = 0;

    *ret_nvm = cfg.nvm = fx_memory(knobs);
    card = card_new(&cfg, &r);
    assert(card);
    r = card_power_on(card, &atr);
    assert(r == 0);
    return card;
}

static bool contains(struct tb_span data, const uint8_t *p, size_t n) {
    for (; data.n >= n; data = tb_span_sub(data, 1, data.n))
        if (memcmp(data.p, p, n) == 0)
            return true;
    return false;
}

bool fx_is_secret(struct tb_span data) {
    enum {
        PRIVATE_EXPONENT = 11 + 256 + 5 + 4 + 8,
        PRIME = PRIVATE_EXPONENT + 256
    }; /* some way in */
    static const uint8_t psk[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    return contains(data, fx_scalar, 16) || contains(data, fx_scalar + 16, 16) ||
           contains(data, psk, sizeof psk) || contains(data, fx_k, sizeof fx_k) ||
           contains(data, fx_gp_key, sizeof fx_gp_key) || contains(data, fx_ota + 16, 16) ||
           contains(data, fx_aes, sizeof fx_aes) ||
           contains(data, fx_rsa_pkcs1 + PRIVATE_EXPONENT, 16) ||
           contains(data, fx_rsa_pkcs1 + PRIME, 16);
}

uint16_t fx_transact(struct card *card, struct tb_span cmd, struct tb_span *ret_data) {
    static uint8_t rsp[TB_APDU_MAX_RSP];
    struct tb_buf b = TB_BUF(rsp);
    struct tb_span data;
    uint16_t sw = 0;
    int r = card_transact(card, cmd, &b);

    assert(r == 0);
    r = tb_rapdu_parse(tb_buf_span(&b), &data, &sw);
    assert(r == 0);
    assert(!fx_is_secret(data));
    if (ret_data)
        *ret_data = data;
    return sw;
}

const char *fx_run(struct card *card, const char *hex) {
    static char text[2 * TB_APDU_MAX_RSP + 1];
    static uint8_t cmd[TB_APDU_MAX_CMD];
    struct tb_buf b = TB_BUF(cmd), out = tb_buf(text, sizeof text - 1);
    struct tb_span data;
    uint8_t sw[2];
    uint16_t v;
    int r = tb_hex_decode_loose(tb_span_str(hex), &b);

    assert(r == 0);
    v = fx_transact(card, tb_buf_span(&b), &data);
    sw[0] = (uint8_t)(v >> 8);
    sw[1] = (uint8_t)v;
    tb_put_hex(&out, data, TB_HEX_UPPER);
    tb_put_hex(&out, tb_span(sw, 2), TB_HEX_UPPER);
    text[out.n] = '\0';
    return text;
}

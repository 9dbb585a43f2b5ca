/* A hostile card behind the binding: its answers are the input, each with a length byte before it.
 * All that a handshake asks of a card is asked; what the library then gets is well-formed, whatever
 * the card said, and nothing is held at the end. */
#include <assert.h>
#include <string.h>

#include "iotsafe/psa.h"
#include "tb/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int answer(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t rsp_cap) {
    struct tb_span *input = user, part;
    uint8_t n;

    (void)cmd;
    (void)cmd_len;
    if (!tb_take_u8(input, &n))
        return IOTSAFE_E_ABSENT;
    if (n > input->n)
        n = (uint8_t)input->n;
    if (n < 2 || n > rsp_cap || !tb_take(input, n, &part))
        return IOTSAFE_E_LINK;
    memcpy(rsp, part.p, part.n);
    return (int)part.n;
}

static psa_key_attributes_t attributes(psa_key_type_t type, psa_algorithm_t alg,
                                       psa_key_usage_t usage) {
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;

    psa_set_key_type(&a, type);
    psa_set_key_bits(&a, 256);
    psa_set_key_algorithm(&a, alg);
    psa_set_key_usage_flags(&a, usage);
    return a;
}

/* The generator of P-256: a public key as good as any. */
static const uint8_t point[65] = {0x04, 0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC,
                                  0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2, 0x77, 0x03, 0x7D, 0x81, 0x2D,
                                  0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96,
                                  0x4F, 0xE3, 0x42, 0xE2, 0xFE, 0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB,
                                  0x4A, 0x7C, 0x0F, 0x9E, 0x16, 0x2B, 0xCE, 0x33, 0x57, 0x6B, 0x31,
                                  0x5E, 0xCE, 0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5};

static void derive(psa_algorithm_t alg, const uint8_t *secret) {
    psa_key_derivation_operation_t op = PSA_KEY_DERIVATION_OPERATION_INIT;
    const bool extract = PSA_ALG_IS_HKDF_EXTRACT(alg);
    uint8_t seed[64] = {0}, out[48];
    psa_status_t r = psa_key_derivation_setup(&op, alg);

    if (r == PSA_SUCCESS)
        r = psa_key_derivation_input_bytes(
            &op, extract ? PSA_KEY_DERIVATION_INPUT_SALT : PSA_KEY_DERIVATION_INPUT_SEED, seed,
            extract ? 32 : 64);
    if (r == PSA_SUCCESS)
        r = psa_key_derivation_input_bytes(&op, PSA_KEY_DERIVATION_INPUT_SECRET, secret, 32);
    if (r == PSA_SUCCESS && !extract)
        r = psa_key_derivation_input_bytes(&op, PSA_KEY_DERIVATION_INPUT_LABEL, seed, 13);
    if (r == PSA_SUCCESS)
        (void)psa_key_derivation_output_bytes(&op, out, extract ? 32 : 48);
    psa_key_derivation_abort(&op);
}

static void exchange(void) {
    const psa_key_attributes_t pair = attributes(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1),
                                                 PSA_ALG_ECDH, PSA_KEY_USAGE_DERIVE);
    uint8_t own[65], secret[32];
    psa_key_id_t id;
    size_t n;

    if (psa_generate_key(&pair, &id) != PSA_SUCCESS)
        return;
    assert(psa_export_public_key(id, own, sizeof own, &n) == PSA_SUCCESS && n == 65);
    if (psa_raw_key_agreement(PSA_ALG_ECDH, id, point, 65, secret, 32, &n) == PSA_SUCCESS) {
        assert(n == 32);
        derive(PSA_ALG_HKDF_EXTRACT(PSA_ALG_SHA_256), secret);
    }
    psa_destroy_key(id);
}

static void signatures(psa_key_id_t key) {
    const psa_key_attributes_t public =
        attributes(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDSA_ANY,
                   PSA_KEY_USAGE_VERIFY_HASH);
    uint8_t hash[32] = {1}, sig[64] = {2}, value[65];
    psa_key_id_t id;
    size_t n;

    if (psa_sign_hash(key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, 32, sig, 64, &n) == PSA_SUCCESS)
        assert(n == 64);
    if (psa_export_public_key(key, value, 65, &n) == PSA_SUCCESS)
        assert(n == 65);
    assert(psa_import_key(&public, point, 65, &id) == PSA_SUCCESS);
    (void)psa_verify_hash(id, PSA_ALG_ECDSA_ANY, hash, 32, sig, 64);
    psa_destroy_key(id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct iotsafe_psa_client host;
    const struct iotsafe_ref one = iotsafe_id1(1), peer = iotsafe_id1(5);
    struct tb_span input = tb_span(data, size);
    struct iotsafe_psa_session session;
    struct iotsafe_psa_host table;
    struct iotsafe_transport *t;
    uint8_t token[32], random[70];
    psa_key_id_t key;
    int r = psa_crypto_init() != PSA_SUCCESS;

    r = r || iotsafe_transport_mem(answer, &input, &t) < 0 ||
        iotsafe_open(t, NULL, &host.client) < 0;
    assert(r == 0);
    iotsafe_slots_init(&host.slots);
    r = iotsafe_slots_add(&host.slots, &one) < 0 ||
        iotsafe_slots_add_peer(&host.slots, &peer, 1, 1) < 0;
    table = iotsafe_psa_client_host(&host);
    r = r ||
        iotsafe_psa_init(&session, &table,
                         IOTSAFE_PSA_ECDHE | IOTSAFE_PSA_DERIVE | IOTSAFE_PSA_VERIFY |
                             IOTSAFE_PSA_RANDOM) < 0 ||
        iotsafe_psa_key(&one, &key) < 0 || iotsafe_psa_psk(&one, token) < 0;
    assert(r == 0);
    iotsafe_psa_enter(&session);
    exchange();
    iotsafe_psa_settle(&session); /* each part is asked, whatever became of the one before */
    signatures(key);
    iotsafe_psa_settle(&session);
    derive(PSA_ALG_TLS12_PSK_TO_MS(PSA_ALG_SHA_256), token);
    iotsafe_psa_settle(&session);
    derive(PSA_ALG_HKDF_EXTRACT(PSA_ALG_SHA_256), token);
    (void)iotsafe_psa_random(NULL, random, sizeof random);
    iotsafe_psa_enter(NULL);
    iotsafe_psa_done(&session);
    assert(host.slots.taken == 0);
    iotsafe_psa_forget_key(key);
    iotsafe_psa_forget_psk(token);
    iotsafe_abandon(host.client);
    (void)r;
    return 0;
}

/* What is asked of the card: one function per operation. */
#include <string.h>

#include "provider.h"

static int op_sign(struct iotsafe *c, const struct isp_op *op) {
    size_t n;
    int r =
        iotsafe_sign(c, op->ref, IOTSAFE_SHA256, IOTSAFE_ECDSA, op->in, 32, op->out, op->cap, &n);

    return r == 0 && n != op->cap ? IOTSAFE_E_FORMAT : r;
}

bool isp_card_sign(struct isp_provider *prov, const struct isp_uri *key, const uint8_t digest[32],
                   uint8_t ret_raw[64]) {
    /* The digest is declared as SHA-256 whatever made it: the card signs 32
     * octets */
    const struct isp_op op = {.name = "COMPUTE SIGNATURE",
                              .fn = op_sign,
                              .ref = &key->ref,
                              .reader = key->reader,
                              .in = digest,
                              .out = ret_raw,
                              .cap = 64};

    return isp_card_run(prov, &op) == 0;
}

static int op_public_key(struct iotsafe *c, const struct isp_op *op) {
    size_t n;
    int r = iotsafe_read_public_key(c, op->ref, op->out, op->cap, &n);

    return r == 0 && n != op->cap ? IOTSAFE_E_FORMAT : r;
}

bool isp_card_public_key(struct isp_provider *prov, const struct isp_uri *key,
                         uint8_t ret_point[65]) {
    const struct isp_op op = {.name = "READ PUBLIC KEY",
                              .fn = op_public_key,
                              .ref = &key->ref,
                              .reader = key->reader,
                              .out = ret_point,
                              .cap = 65};

    return isp_card_run(prov, &op) == 0;
}

static int op_read_file(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_read_file(c, op->ref, op->out, op->cap, op->ret_n);
}

bool isp_card_read_file(struct isp_provider *prov, const struct isp_uri *file, uint8_t *buf,
                        size_t cap, size_t *ret_len) {
    const struct isp_op op = {.name = "READ FILE",
                              .fn = op_read_file,
                              .ref = &file->ref,
                              .reader = file->reader,
                              .out = buf,
                              .cap = cap,
                              .ret_n = ret_len};

    return isp_card_run(prov, &op) == 0;
}

static int op_list(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_list(c, op->out, op->cap, op->ret_n);
}

bool isp_card_list(struct isp_provider *prov, const struct isp_uri *where,
                   struct iotsafe_object *ret, size_t cap, size_t *ret_n) {
    const struct isp_op op = {.name = "GET DATA",
                              .reader = where->reader,
                              .fn = op_list,
                              .out = ret,
                              .cap = cap,
                              .ret_n = ret_n};

    return isp_card_run(prov, &op) == 0;
}

/* ---- ephemeral keys ---- */

struct made {
    struct iotsafe_ref name;
    uint8_t point[65];
};

static int op_generate(struct iotsafe *c, const struct isp_op *op) {
    struct made *made = op->out;

    return iotsafe_generate(c, op->ref, made->point, &made->name, NULL);
}

bool isp_card_generate(struct isp_provider *prov, const struct isp_slot *slot,
                       struct iotsafe_ref *ret_private, uint8_t ret_point[65]) {
    struct made made;
    const struct isp_op op = {.name = "GENERATE KEY PAIR",
                              .fn = op_generate,
                              .ref = &slot->own,
                              .card = slot->card,
                              .out = &made};

    if (isp_card_run(prov, &op) < 0)
        return false;
    *ret_private = made.name;
    memcpy(ret_point, made.point, sizeof made.point);
    return true;
}

static int op_agree(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_agree(c, op->ref, op->peer, op->in, op->out);
}

bool isp_card_agree(struct isp_provider *prov, const struct isp_slot *slot,
                    const struct iotsafe_ref *private_key, const uint8_t point[65],
                    uint8_t ret_secret[32]) {
    const struct isp_op op = {.name = "COMPUTE DH",
                              .fn = op_agree,
                              .ref = private_key,
                              .peer = &slot->peer,
                              .card = slot->card,
                              .in = point,
                              .out = ret_secret};

    return isp_card_run(prov, &op) == 0;
}

/* ---- verification ---- */

static int op_verify(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_verify_by(c, op->ref, op->out, IOTSAFE_SHA256, IOTSAFE_ECDSA, op->in, 32,
                             op->in2, 64);
}

bool isp_card_verify(struct isp_provider *prov, const uint8_t point[65], const uint8_t digest[32],
                     const uint8_t raw[64]) {
    struct iotsafe_ref slot;
    uint8_t key[65];
    const struct isp_op op = {.name = "VERIFY SIGNATURE",
                              .fn = op_verify,
                              .ref = &slot,
                              .in = digest,
                              .in2 = raw,
                              .out = key,
                              .verdict = true};

    memcpy(key, point, sizeof key);
    return isp_slot_verifier(prov, &slot) && isp_card_run(prov, &op) == 0;
}

/* ---- pre-shared keys ---- */

static int op_prf(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_prf(c, op->ref, NULL, 0, op->in2, op->in, op->in_len, op->out, op->cap);
}

bool isp_card_prf(struct isp_provider *prov, const struct isp_uri *psk, const uint8_t *ecdhe,
                  const uint8_t *label_seed, size_t label_seed_len, uint8_t *out, size_t n) {
    const struct isp_op op = {.name = "COMPUTE PRF",
                              .fn = op_prf,
                              .ref = &psk->ref,
                              .reader = psk->reader,
                              .in = label_seed,
                              .in_len = label_seed_len,
                              .in2 = ecdhe,
                              .out = out,
                              .cap = n};

    return isp_card_run(prov, &op) == 0;
}

static int op_extract(struct iotsafe *c, const struct isp_op *op) {
    size_t n;

    return iotsafe_hkdf_extract(c, op->ref, NULL, 0, op->in, op->in_len, IOTSAFE_SHA256, op->out,
                                op->cap, &n);
}

bool isp_card_extract(struct isp_provider *prov, const struct isp_uri *psk, const uint8_t *salt,
                      uint8_t ret_prk[32]) {
    const struct isp_op op = {.name = "COMPUTE HKDF",
                              .fn = op_extract,
                              .ref = &psk->ref,
                              .reader = psk->reader,
                              .in = salt,
                              .in_len = salt ? 32 : 0,
                              .out = ret_prk,
                              .cap = 32};

    return isp_card_run(prov, &op) == 0;
}

/* ---- random ---- */

static int op_random(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_random(c, op->out, op->cap);
}

bool isp_card_random(struct isp_provider *prov, uint8_t *buf, size_t n) {
    const struct isp_host *host = &prov->card.host;
    const struct isp_op op = {.name = "GET RANDOM", .fn = op_random, .out = buf, .cap = n};
    char err[256] = "";

    if (!host->acquire)
        return isp_card_run(prov, &op) == 0;
    if (host->random && host->random(host->user, buf, n, err, sizeof err) == 0)
        return true;
    isp_raise(prov, ISP_R_TRANSPORT, "GET RANDOM: %s", err);
    return false;
}

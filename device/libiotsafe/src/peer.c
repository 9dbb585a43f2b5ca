/* Operations with a peer's key: PUT PUBLIC KEY into a container, then COMPUTE DH or VERIFY
 * SIGNATURE with it, as one call. Nobody else's command on a shared link comes in between, and when
 * the card loses the key (a reset, another program's key in the container) both are done again. */
#include "call.h"

int iotsafe_agree_start(struct iotsafe_call *call, struct iotsafe *c,
                        const struct iotsafe_ref *private_key, const struct iotsafe_ref *peer_slot,
                        const uint8_t point[65], uint8_t secret[32]) {
    struct call *k;
    int r = call_begin(call, c, &op_put, &k);

    if (r == 0)
        r = put_arguments(k, peer_slot, point, POINT_LEN);
    if (r == 0)
        r = ecdh_arguments(k, private_key, peer_slot, secret);
    if (r == 0)
        k->next = &op_ecdh;
    return r;
}

int iotsafe_agree(struct iotsafe *c, const struct iotsafe_ref *private_key,
                  const struct iotsafe_ref *peer_slot, const uint8_t point[65],
                  uint8_t secret[32]) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_agree_start(&call, c, private_key, peer_slot, point, secret));
}

int iotsafe_verify_by_start(struct iotsafe_call *call, struct iotsafe *c,
                            const struct iotsafe_ref *public_slot, const uint8_t point[65],
                            unsigned hash, unsigned alg, const uint8_t *digest, size_t digest_len,
                            const uint8_t *sig, size_t sig_len) {
    struct call *k;
    int r = call_begin(call, c, &op_put, &k);

    if (r == 0)
        r = put_arguments(k, public_slot, point, POINT_LEN);
    if (r == 0)
        r = verify_arguments(k, public_slot, hash, alg, digest, digest_len, sig, sig_len);
    if (r == 0)
        k->next = &op_verify;
    return r;
}

int iotsafe_verify_by(struct iotsafe *c, const struct iotsafe_ref *public_slot,
                      const uint8_t point[65], unsigned hash, unsigned alg, const uint8_t *digest,
                      size_t digest_len, const uint8_t *sig, size_t sig_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_verify_by_start(&call, c, public_slot, point, hash, alg, digest,
                                                   digest_len, sig, sig_len));
}

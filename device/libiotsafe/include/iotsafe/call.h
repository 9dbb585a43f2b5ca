#ifndef IOTSAFE_CALL_H
#define IOTSAFE_CALL_H
/* The operations of iotsafe.h for an event loop, or for whoever exchanges APDUs himself:
 *
 *     struct iotsafe_call call;
 *     r = iotsafe_sign_start(&call, client, &key, 0, 0, digest, 32, sig, sizeof sig, &sig_len);
 *     while (r == 0 && (r = iotsafe_call_next(&call, &cmd, &cmd_len)) == 1) {
 *         … send cmd, get rsp …
 *         iotsafe_call_response(&call, rsp, rsp_len);   or   iotsafe_call_failed(&call,
 * IOTSAFE_E_LINK); r = 0;
 *     }
 *     r is 0 (done) or negative
 *
 * Opening the channel, selecting the application, fetching with GET RESPONSE and every retry are
 * part of the call. The blocking functions do just this over the client's transport, so both send
 * the same commands. */
#include "iotsafe/iotsafe.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility push(default)
#endif

struct iotsafe_call { /* caller's storage, not to be moved while under way; contents are private */
    uint64_t opaque[64];
};

/* 1: *ret_cmd is to be sent, borrowed from the client until the response; the same again when asked
 * again. 0: the operation is done. Negative: it failed. */
int iotsafe_call_next(struct iotsafe_call *call, const uint8_t **ret_cmd, size_t *ret_len);

/* The response to that command, SW1 SW2 included. rsp_len 0: the link confirmed the command but
 * passed no answer on. */
void iotsafe_call_response(struct iotsafe_call *call, const uint8_t *rsp, size_t rsp_len);

/* The command could not be exchanged; err as iotsafe_transport_ops.transmit returns it. The call
 * may have another idea: go on with iotsafe_call_next(). */
void iotsafe_call_failed(struct iotsafe_call *call, int err);

/* Nobody wants the result any more. The client is free for the next call. */
void iotsafe_call_cancel(struct iotsafe_call *call);

/* True when the call may need several commands, so that a shared link should be locked meanwhile.
 */
int iotsafe_call_is_long(const struct iotsafe_call *call);

/* iotsafe_X_start() has the parameters of iotsafe_X() and only prepares: 0, IOTSAFE_E_ARGUMENT, or
 * IOTSAFE_E_BUSY. All pointers, inputs and outputs, are borrowed until the call ends. One call at a
 * time per client. */
int iotsafe_select_start(struct iotsafe_call *call, struct iotsafe *c);
int iotsafe_release_start(struct iotsafe_call *call, struct iotsafe *c);
int iotsafe_get_info_start(struct iotsafe_call *call, struct iotsafe *c, struct iotsafe_info *ret);
int iotsafe_list_start(struct iotsafe_call *call, struct iotsafe *c, struct iotsafe_object *ret,
                       size_t cap, size_t *ret_n);
int iotsafe_get_object_start(struct iotsafe_call *call, struct iotsafe *c,
                             enum iotsafe_object_type type, const struct iotsafe_ref *ref,
                             struct iotsafe_object *ret);
int iotsafe_read_file_start(struct iotsafe_call *call, struct iotsafe *c,
                            const struct iotsafe_ref *ref, uint8_t *buf, size_t cap,
                            size_t *ret_len);
int iotsafe_read_public_key_start(struct iotsafe_call *call, struct iotsafe *c,
                                  const struct iotsafe_ref *ref, uint8_t *buf, size_t cap,
                                  size_t *ret_len);
int iotsafe_generate_start(struct iotsafe_call *call, struct iotsafe *c,
                           const struct iotsafe_ref *private_key, uint8_t point[65],
                           struct iotsafe_ref *ret_private, struct iotsafe_ref *ret_public);
int iotsafe_put_public_key_start(struct iotsafe_call *call, struct iotsafe *c,
                                 const struct iotsafe_ref *public_key, const uint8_t *point,
                                 size_t point_len);
int iotsafe_sign_start(struct iotsafe_call *call, struct iotsafe *c,
                       const struct iotsafe_ref *private_key, unsigned hash, unsigned alg,
                       const uint8_t *digest, size_t digest_len, uint8_t *sig, size_t cap,
                       size_t *ret_len);
int iotsafe_verify_start(struct iotsafe_call *call, struct iotsafe *c,
                         const struct iotsafe_ref *public_key, unsigned hash, unsigned alg,
                         const uint8_t *digest, size_t digest_len, const uint8_t *sig,
                         size_t sig_len);
int iotsafe_ecdh_start(struct iotsafe_call *call, struct iotsafe *c,
                       const struct iotsafe_ref *private_key, const struct iotsafe_ref *public_key,
                       uint8_t secret[32]);
int iotsafe_agree_start(struct iotsafe_call *call, struct iotsafe *c,
                        const struct iotsafe_ref *private_key, const struct iotsafe_ref *peer_slot,
                        const uint8_t point[65], uint8_t secret[32]);
int iotsafe_verify_by_start(struct iotsafe_call *call, struct iotsafe *c,
                            const struct iotsafe_ref *public_slot, const uint8_t point[65],
                            unsigned hash, unsigned alg, const uint8_t *digest, size_t digest_len,
                            const uint8_t *sig, size_t sig_len);
int iotsafe_prf_start(struct iotsafe_call *call, struct iotsafe *c,
                      const struct iotsafe_ref *secret_key, const uint8_t *secret,
                      size_t secret_len, const uint8_t *ecdhe, const uint8_t *label_seed,
                      size_t label_seed_len, uint8_t *out, size_t out_len);
int iotsafe_hkdf_extract_start(struct iotsafe_call *call, struct iotsafe *c,
                               const struct iotsafe_ref *secret_key, const uint8_t *ikm,
                               size_t ikm_len, const uint8_t *salt, size_t salt_len, unsigned hash,
                               uint8_t *prk, size_t cap, size_t *ret_len);
int iotsafe_random_start(struct iotsafe_call *call, struct iotsafe *c, uint8_t *buf, size_t len);
int iotsafe_transmit_start(struct iotsafe_call *call, struct iotsafe *c, const uint8_t *cmd,
                           size_t cmd_len, uint8_t *rsp, size_t cap, size_t *ret_len);
int iotsafe_sms_download_start(struct iotsafe_call *call, struct iotsafe *c, const uint8_t *tpdu,
                               size_t tpdu_len, uint8_t *buf, size_t cap, size_t *ret_len,
                               uint16_t *ret_sw);

#ifdef IOTSAFE_SHARED_BUILD
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif

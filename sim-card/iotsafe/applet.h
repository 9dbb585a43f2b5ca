#pragma once
/* The IoT SAFE applet's side of dispatch. */
#include "iotsafe/args.h"

/* The applet's row for an instruction, NULL when it has none. */
const struct card_ins *card_applet_ins(uint8_t ins);

/* Runs one of these rows: 6400 when the object store is damaged, and 63CF instead of the first
 * success after remote administration. */
uint16_t card_applet_run(struct card *card, struct cmd *cmd, const struct card_ins *row);

/* One file for each command family: cmd_<family>.c */
card_handler card_cmd_compute_signature_init, card_cmd_compute_signature_update,
    card_cmd_verify_signature_init, card_cmd_verify_signature_update, card_cmd_put_public_init,
    card_cmd_put_public_update, card_cmd_generate_key_pair, card_cmd_read_public_key,
    card_cmd_compute_dh, card_cmd_compute_prf, card_cmd_compute_hkdf, card_cmd_get_random,
    card_cmd_read_file, card_cmd_get_data;

static inline const struct card_profile *safe_profile(const struct cmd *cmd) {
    return &cmd->ch->app->profile;
}

static inline struct card_instance *safe_instance(const struct cmd *cmd) {
    return cmd->ch->app->instance;
}

/* --- iotsafe/change.c: new values for objects, in NVM first --- */

struct safe_change {
    struct card_object *o;
    uint8_t *value; /* given, from malloc */
    size_t n;
    struct card_key *key; /* given, may be NULL: parsed when needed */
    bool active;
};

/* Carries out all changes or none: one NVM transaction for the persistent ones (none when all are
 * volatile), then RAM, which cannot fail. 9000, 6A84 or 6581; values and keys are taken in any
 * case. */
uint16_t safe_change(struct card *card, uint8_t instance, struct safe_change *changes, size_t n);
void safe_change_drop(struct safe_change *changes, size_t n); /* frees values and keys */

/* --- iotsafe/info.c --- */

enum { SAFE_INFO_MAX = 2 + 2 + TB_SAFE_MAX_LABEL + 2 + TB_SAFE_MAX_ID + 32 };

/* spec: IOTSAFE 2.14.4 an object's information structure */
void safe_put_info(const struct card_profile *p, const struct card_object *o, struct tb_buf *out);
size_t safe_file_size(const struct card_profile *p, const struct card_object *o);

/* --- iotsafe/public_key.c --- */

enum { SAFE_PUBLIC_TLV_MAX = 4 + CARD_KEY_PUBLIC_MAX };

/* Appends tag 34 with an object's public key. 9000, 6400 when its value is damaged. */
uint16_t safe_put_public_key(const struct card_profile *p, struct card_object *o,
                             struct tb_buf *out);

/* What tag 34 holds, as a value for a public key object of that kind (from malloc), with the parsed
 * key. 9000, 6A80 for anything that is not such a key, 6A84. */
uint16_t safe_take_public_key(enum card_key_kind kind, struct tb_span value34,
                              struct safe_change *ret);

/* --- iotsafe/feed.c --- */

/* One block of a long value under tag arg (9B or 34), in either habit: the tag in every block, or
 * once with the whole length and raw bytes afterwards. *ret_chunk is this block's share, *ret_args
 * what else came. 9000, 6700, 6A80. */
uint16_t safe_feed(struct card_session *s, uint8_t tag, enum safe_arg arg, struct tb_span data,
                   bool last, struct tb_span *ret_chunk, struct safe_args *ret_args);

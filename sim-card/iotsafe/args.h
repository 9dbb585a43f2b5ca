#pragma once
/* The TLVs of a command, parsed once. IoT.05 fixes no order, so none is asked for; unknown tags are
 * passed over, a tag that comes twice is wrong. */
#include "iotsafe/object.h"

enum safe_arg {
    ARG_PRIVATE_ID,
    ARG_PRIVATE_LABEL,
    ARG_PUBLIC_ID,
    ARG_PUBLIC_LABEL,
    ARG_SECRET_ID,
    ARG_SECRET_LABEL,
    ARG_FILE_ID,
    ARG_FILE_LABEL,
    ARG_MODE,
    ARG_HASH,
    ARG_SIGN_ALG,
    ARG_LAST_BLOCK,
    ARG_FULL_TEXT,
    ARG_INTERMEDIATE_HASH,
    ARG_HASHED_COUNT,
    ARG_FINAL_HASH,
    ARG_CMAC_DATA,
    ARG_SIGNATURE,
    ARG_PUBLIC_KEY,
    ARG_SECRET,
    ARG_LABEL_SEED,
    ARG_PRF_LENGTH,
    ARG_PSK_ECDHE,
    ARG_SALT,
    ARGS,
};

struct safe_args {
    struct tb_span v[ARGS]; /* p is NULL when absent */
};

static inline bool safe_has(const struct safe_args *a, enum safe_arg arg) {
    return a->v[arg].p != NULL;
}

/* 9000, 6700 without data, 6A80 when malformed. */
uint16_t safe_parse(struct tb_span data, struct safe_args *ret);

/* The object of class cls that the id or label tag names: 9000, 6A80 without a reference, 6A82, or
 * 6984 while remote administration is at work on it. */
uint16_t safe_object(struct card_instance *in, enum card_object_class cls,
                     const struct safe_args *a, struct card_object **ret);

/* A one-byte value. False when absent or of another length. */
bool safe_u8(const struct safe_args *a, enum safe_arg arg, uint8_t *ret);
/* Hash algorithm: exactly one of those we know; two bytes, one is tolerated. */
bool safe_hash(const struct safe_args *a, uint16_t *ret);

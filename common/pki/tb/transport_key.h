#pragma once
/* The key under which secrets travel from the SIM supplier to the platform: AES-128, -192 or -256.
 */
#include "tb/error.h"
#include "tb/span.h"

enum {
    TB_KEK_NAME_MAX = 32,
    TB_KEK_SECRET_MAX = 64,  /* bytes that are wrapped */
    TB_KEK_WRAPPED_MAX = 72, /* at most 8 more, rounded up */
    TB_KCV = 3,
};

struct tb_kek { /* wipe it */
    char name[TB_KEK_NAME_MAX + 1];
    uint8_t key[32];
    size_t n;
};

/* "NAME=FILE": letters, digits and . _ - of a name; the file holds 16, 24 or 32 bytes, or as many
 * in hexadecimal. */
int tb_kek_load(const char *name_is_file, struct tb_kek *ret, struct tb_error *e) TB_CHECKED;

/* Appends secret as RFC 3394 wraps it, or RFC 5649 when its length is not 16, 24 … bytes. */
int tb_kek_wrap(const struct tb_kek *kek, struct tb_span secret, struct tb_buf *out) TB_CHECKED;
/* Takes either off; both check that it is this key: TB_ECRYPTO when it is not. */
int tb_kek_unwrap(const struct tb_kek *kek, struct tb_span wrapped, struct tb_buf *out) TB_CHECKED;

/* spec: GPCS B.6: check value of an AES key (16, 24, 32 bytes; TB_EUNSUP for other lengths), or,
 * with des, of a DES key (16, 24). */
int tb_kcv(struct tb_span key, bool des, uint8_t ret[TB_KCV]) TB_CHECKED;

#pragma once
/* The little DER the wire needs: ECDSA signatures raw <-> DER (SEC 1 C.5, RFC 3279 2.2.3) and the
 * total length of a DER object, with which a certificate file is trimmed. */
#include "tb/error.h"
#include "tb/span.h"

enum { TB_ECDSA_DER_MAX_256 = 72 };

/* raw is r || s, two halves of equal size, 32..66 bytes each (TB_ERANGE). Appends
 * SEQUENCE { r INTEGER, s INTEGER }; TB_ESPACE, and out untouched, when that does not fit. */
int tb_ecdsa_raw_to_der(struct tb_span raw, struct tb_buf *out) TB_CHECKED;

/* Strict DER in, appends r || s with half bytes each: 32 for P-256, 32..66 (TB_ERANGE). TB_EPARSE
 * when malformed or an integer is negative, zero-padded without need, or longer than half;
 * TB_ESPACE when out is too small. out is untouched then. */
int tb_ecdsa_der_to_raw(struct tb_span der, size_t half, struct tb_buf *out) TB_CHECKED;

/* Length of the DER object at the front of in, header included. TB_EMORE when in ends inside its
 * header; the object itself may be longer than in. TB_EPARSE: not DER, a tag of more than one byte,
 * or a length of more than four. */
int tb_der_object_len(struct tb_span in, size_t *ret_len) TB_CHECKED;

#pragma once
/* BER-TLV (ISO/IEC 8825-1 as ISO/IEC 7816-4 5.2.2.1 limits it): tags of one to three bytes, not
 * beginning with 00; definite lengths up to FFFFFF in one to four bytes, minimal or not. */
#include "tb/error.h"
#include "tb/span.h"

struct tb_tlv {
    uint32_t tag; /* the tag bytes as one big-endian number: 0x84, 0x7F49 */
    struct tb_span value;
};

/* Reads one element off the front of *in. Returns 1 with *ret set, 0 at the end of input, or
 * TB_EPARSE with *in and *ret untouched. */
int tb_tlv_next(struct tb_span *in, struct tb_tlv *ret) TB_CHECKED;

/* First element with that tag on this level: 1 and *ret_value, 0 when absent, TB_EPARSE. */
int tb_tlv_find(struct tb_span in, uint32_t tag, struct tb_span *ret_value) TB_CHECKED;

/* The builders set overflow for a tag or a length above FFFFFF. */
void tb_put_tag(struct tb_buf *out, uint32_t tag);
void tb_put_len(struct tb_buf *out, size_t len); /* minimal BER length */
void tb_put_tlv(struct tb_buf *out, uint32_t tag, struct tb_span value);
void tb_put_tlv_u8(struct tb_buf *out, uint32_t tag, uint8_t v);
void tb_put_tlv_be16(struct tb_buf *out, uint32_t tag, uint16_t v);

/* Opens a constructed element whose length is not known yet; close it with the returned mark. The
 * length is coded minimally, the contents are moved if it needs more than one byte. */
size_t tb_tlv_open(struct tb_buf *out, uint32_t tag);
void tb_tlv_close(struct tb_buf *out, size_t mark);

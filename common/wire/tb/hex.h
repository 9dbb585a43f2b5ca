#pragma once
/* Hexadecimal text. */
#include "tb/error.h"
#include "tb/span.h"

enum tb_hex_case { TB_HEX_UPPER, TB_HEX_LOWER };

/* Appends 2 * in.n characters, no terminating NUL. */
void tb_put_hex(struct tb_buf *out, struct tb_span in, enum tb_hex_case c);

/* Decodes text of either case. TB_EPARSE on odd length or a foreign character, TB_ESPACE when out
 * is too small; then *out is as before (the room behind its n bytes may have been written to). */
int tb_hex_decode(struct tb_span text, struct tb_buf *out) TB_CHECKED;

/* Like tb_hex_decode() for text written by people: blanks, colons and line ends between bytes are
 * skipped. */
int tb_hex_decode_loose(struct tb_span text, struct tb_buf *out) TB_CHECKED;

/* Writes in as upper-case hex with terminating NUL into dst[cap]; what does not fit is cut and
 * marked with "…". Returns dst, so that it can stand in a log call. */
char *tb_hex_str(char *dst, size_t cap, struct tb_span in);

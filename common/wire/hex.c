#include "tb/hex.h"

/* All 256 bytes as digit pairs: one load and one store per byte in the path of AT+CSIM. */
#define LOWER_ROW(h)                                                                               \
    h "0" h "1" h "2" h "3" h "4" h "5" h "6" h "7" h "8" h "9" h "a" h "b" h "c" h "d" h "e" h "f"
#define UPPER_ROW(h)                                                                               \
    h "0" h "1" h "2" h "3" h "4" h "5" h "6" h "7" h "8" h "9" h "A" h "B" h "C" h "D" h "E" h "F"
#define DIGIT_ROWS(row)                                                                            \
    row("0") row("1") row("2") row("3") row("4") row("5") row("6") row("7") row("8") row("9")

static const char lower_pairs[513] = DIGIT_ROWS(LOWER_ROW) LOWER_ROW("a") LOWER_ROW("b")
    LOWER_ROW("c") LOWER_ROW("d") LOWER_ROW("e") LOWER_ROW("f");
static const char upper_pairs[513] = DIGIT_ROWS(UPPER_ROW) UPPER_ROW("A") UPPER_ROW("B")
    UPPER_ROW("C") UPPER_ROW("D") UPPER_ROW("E") UPPER_ROW("F");

/* Value of a digit plus one; 0 is foreign, SKIP separates bytes. The bias lets the table list
 * digits only. */
enum { SKIP = 0x20 };
static const uint8_t digit[256] = {
    ['0'] = 1,  ['1'] = 2,    ['2'] = 3,    ['3'] = 4,     ['4'] = 5,     ['5'] = 6,     ['6'] = 7,
    ['7'] = 8,  ['8'] = 9,    ['9'] = 10,   ['A'] = 11,    ['B'] = 12,    ['C'] = 13,    ['D'] = 14,
    ['E'] = 15, ['F'] = 16,   ['a'] = 11,   ['b'] = 12,    ['c'] = 13,    ['d'] = 14,    ['e'] = 15,
    ['f'] = 16, [' '] = SKIP, [':'] = SKIP, ['\t'] = SKIP, ['\r'] = SKIP, ['\n'] = SKIP,
};

static void encode(char *at, struct tb_span in, const char *pairs) {
    for (size_t i = 0; i < in.n; i++)
        memcpy(at + 2 * i, pairs + 2 * (size_t)in.p[i], 2);
}

void tb_put_hex(struct tb_buf *out, struct tb_span in, enum tb_hex_case c) {
    uint8_t *at;

    if (in.n > SIZE_MAX / 2) {
        out->overflow = true;
        return;
    }
    at = tb_put_room(out, 2 * in.n);
    if (at)
        encode((char *)at, in, c == TB_HEX_LOWER ? lower_pairs : upper_pairs);
}

/* The digits 0..F give 1..16, so that value - 1 fits four bits; foreign (0 - 1) and SKIP - 1 do
 * not. */
static unsigned nibble(uint8_t c) {
    return digit[c] - 1U;
}

int tb_hex_decode(struct tb_span text, struct tb_buf *out) {
    size_t n = text.n / 2;
    unsigned seen = 0; /* every value or-ed together: looked at once, after the loop */
    uint8_t *at;

    if (text.n % 2 != 0)
        return TB_EPARSE;
    if (out->overflow || out->cap - out->n < n)
        return TB_ESPACE;
    if (n == 0)
        return 0;
    at = out->p + out->n;
    for (size_t i = 0; i < n; i++) {
        unsigned hi = nibble(text.p[2 * i]), lo = nibble(text.p[2 * i + 1]);

        seen |= hi | lo;
        at[i] = (uint8_t)(hi << 4 | lo);
    }
    if (seen > 0xF)
        return TB_EPARSE;
    out->n += n;
    return 0;
}

int tb_hex_decode_loose(struct tb_span text, struct tb_buf *out) {
    struct tb_buf b = *out;

    if (b.overflow)
        return TB_ESPACE;
    for (size_t i = 0; i < text.n; i++) {
        unsigned hi, lo;

        if (digit[text.p[i]] == SKIP)
            continue;
        if (text.n - i < 2)
            return TB_EPARSE;
        hi = nibble(text.p[i]);
        lo = nibble(text.p[++i]);
        if ((hi | lo) > 0xF)
            return TB_EPARSE;
        tb_put_u8(&b, (uint8_t)(hi << 4 | lo));
    }
    if (b.overflow)
        return TB_ESPACE;
    *out = b;
    return 0;
}

char *tb_hex_str(char *dst, size_t cap, struct tb_span in) {
    static const char cut[] = "\xE2\x80\xA6"; /* … in UTF-8, with its NUL */

    if (cap == 0)
        return dst;
    if (in.n <= (cap - 1) / 2) {
        encode(dst, in, upper_pairs);
        dst[2 * in.n] = '\0';
    } else if (cap < sizeof cut) {
        dst[0] = '\0';
    } else {
        in.n = (cap - sizeof cut) / 2;
        encode(dst, in, upper_pairs);
        memcpy(dst + 2 * in.n, cut, sizeof cut);
    }
    return dst;
}

#include "ota/scp80.h"

enum { COUNTER = 5, TRAILER = COUNTER + 1 /* PCNTR */, AES_BLOCK = 16, DES_BLOCK = 8 };
enum {
    ALG_DES = 0x1,
    ALG_AES = 0x2,
    ALG_3DES2 = 0x5,
    ALG_3DES3 = 0x9,
    RC_CRC16 = 0x1,
    RC_CRC32 = 0x5
};

int scp80_parse(struct tb_span packet, struct scp80_command *ret) {
    struct scp80_command c;
    struct tb_span rest = packet;
    uint16_t cpl;
    uint8_t chl;

    if (!tb_take_be16(&rest, &cpl) || cpl != rest.n || !tb_take_u8(&rest, &chl) ||
        chl < SCP80_HEADER || chl > rest.n)
        return TB_EPARSE;
    memcpy(c.spi, rest.p, 2);
    c.kic = rest.p[2];
    c.kid = rest.p[3];
    memcpy(c.tar, rest.p + 4, 3);
    c.head = tb_span_sub(packet, 0, 3 + 7);
    c.secured = tb_span_sub(rest, 7, rest.n - 7);
    /* spec: TS102225 5.1 the checksum's length follows from CHL */
    if (c.secured.n < (size_t)chl - 7)
        return TB_EPARSE;
    *ret = c;
    return 0;
}

bool scp80_level_reached(uint8_t spi1, uint8_t msl) {
    return (spi1 >> 3 & 3) >= (msl >> 3 & 3) && (spi1 & 0x04) >= (msl & 0x04) &&
           (spi1 & 0x03) >= (msl & 0x03);
}

/* ---- algorithms ---- */

/* The key that the low half of KIc or KID asks for, empty when the set does not have it. */
static struct tb_span key_of(const struct card_keyset *ks, unsigned key, uint8_t algorithm) {
    size_t n;

    if (!ks)
        return TB_SPAN_NONE;
    switch (algorithm & 0x0F) {
    case 0x0: /* known to both */
        return tb_span(ks->key[key], ks->len);
    case ALG_AES:
        return ks->type == GP_KEY_AES ? tb_span(ks->key[key], ks->len) : TB_SPAN_NONE;
    case ALG_3DES2:
        n = 16;
        break;
    case ALG_3DES3:
        n = 24;
        break;
    default: /* single DES: nobody should, and no longer can */
        return TB_SPAN_NONE;
    }
    return ks->type == GP_KEY_DES && ks->len == n ? tb_span(ks->key[key], n) : TB_SPAN_NONE;
}

static size_t block_of(const struct card_keyset *ks) {
    return ks->type == GP_KEY_AES ? AES_BLOCK : DES_BLOCK;
}

static int cipher(const struct card_keyset *ks, struct tb_span key, bool encrypt, struct tb_span in,
                  uint8_t *out) {
    static const uint8_t iv[AES_BLOCK];

    return ks->type == GP_KEY_AES ? card_aes_cbc(key, encrypt, iv, in, out)
                                  : card_des_cbc(key, encrypt, iv, in, out);
}

/* CRC-16 of ISO/IEC 13239 and CRC-32 of ISO/IEC 3309. spec: TS102225 5.1.3.2 */
static void crc(const struct tb_span *parts, size_t n, bool wide, uint8_t *out) {
    const uint32_t polynomial = wide ? 0xEDB88320 : 0x8408;
    uint32_t v = wide ? 0xFFFFFFFF : 0xFFFF;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < parts[i].n; k++) {
            v ^= parts[i].p[k];
            for (int bit = 0; bit < 8; bit++)
                v = v >> 1 ^ (v & 1 ? polynomial : 0);
        }
    v = ~v;
    for (int i = 0; i < (wide ? 4 : 2); i++)
        out[i] = (uint8_t)(v >> 8 * ((wide ? 3 : 1) - i));
}

/* 3DES: the last block of CBC over zero-padded data. */
static int des_mac(struct tb_span key, const struct tb_span *parts, size_t n, uint8_t *out) {
    uint8_t iv[DES_BLOCK] = {0}, block[DES_BLOCK];
    size_t fill = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; r == 0 && k < parts[i].n; k++) {
            block[fill++] = parts[i].p[k];
            if (fill == DES_BLOCK) {
                r = card_des_cbc(key, true, iv, tb_span(block, DES_BLOCK), iv);
                fill = 0;
            }
        }
    if (r == 0 && fill > 0) {
        memset(block + fill, 0, DES_BLOCK - fill);
        r = card_des_cbc(key, true, iv, tb_span(block, DES_BLOCK), iv);
    }
    memcpy(out, iv, SCP80_CC_MAX);
    return r;
}

/* Length of RC, CC or DS; 0 for none, and for what we cannot make. */
static size_t check_len(enum scp80_check check, uint8_t kid) {
    if (check == SCP80_RC)
        return (kid & 0x0F) == RC_CRC16 ? 2 : (kid & 0x0F) == RC_CRC32 ? 4 : 0;
    return check == SCP80_CC ? SCP80_CC_MAX : 0;
}

static int checksum(enum scp80_check check, uint8_t kid, const struct card_keyset *ks,
                    const struct tb_span *parts, size_t n, uint8_t out[SCP80_CC_MAX]) {
    struct tb_span key = key_of(ks, 1, kid);
    uint8_t mac[16];
    int r;

    if (check == SCP80_RC) {
        crc(parts, n, (kid & 0x0F) == RC_CRC32, out);
        return 0;
    }
    if (!key.n)
        return TB_EUNSUP;
    if (ks->type != GP_KEY_AES)
        return des_mac(key, parts, n, out);
    r = card_cmac(key, parts, n, mac);
    memcpy(out, mac, SCP80_CC_MAX);
    return r;
}

/* ---- commands ---- */

static enum scp80_status check_command(const struct scp80_command *c, const struct card_keyset *ks,
                                       struct tb_span plain, size_t cc) {
    const enum scp80_check check = scp80_check(c->spi[0]);
    const struct tb_span parts[] = {c->head, tb_span_sub(plain, 0, TRAILER),
                                    tb_span_sub(plain, TRAILER + cc, plain.n - TRAILER - cc)};
    uint8_t expected[SCP80_CC_MAX];

    if (check == SCP80_NONE)
        return SCP80_OK;
    if (cc == 0 || checksum(check, c->kid, ks, parts, 3, expected) < 0)
        return SCP80_SECURITY;
    return card_equal(expected, plain.p + TRAILER, cc) ? SCP80_OK : SCP80_CC_FAILED;
}

enum scp80_status scp80_open(const struct scp80_command *c, const struct card_keyset *ks_kic,
                             const struct card_keyset *ks_kid, uint8_t *plain,
                             uint64_t *ret_counter, struct tb_span *ret_data) {
    size_t cc = check_len(scp80_check(c->spi[0]), c->kid), n = c->secured.n;
    uint64_t counter = 0;
    enum scp80_status status;

    if (scp80_ciphered(c->spi)) {
        struct tb_span key = key_of(ks_kic, 0, c->kic);

        if (!key.n)
            return SCP80_SECURITY;
        if (n == 0 || n % block_of(ks_kic) != 0 ||
            cipher(ks_kic, key, false, c->secured, plain) < 0)
            return SCP80_CIPHERING;
    } else if (n > 0) {
        memcpy(plain, c->secured.p, n);
    }
    /* spec: TS102225 5.1.1 CHL says how much lies before the data; a key that is wrong makes PCNTR
     * wrong as well */
    if (n < TRAILER + cc || c->head.p[2] != SCP80_HEADER + cc)
        return SCP80_SECURITY;
    status = check_command(c, ks_kid, tb_span(plain, n), cc);
    if (status != SCP80_OK)
        return status;
    if (plain[COUNTER] > n - TRAILER - cc)
        return SCP80_CIPHERING;
    for (size_t i = 0; i < COUNTER; i++)
        counter = counter << 8 | plain[i];
    *ret_counter = counter;
    *ret_data = tb_span(plain + TRAILER + cc, n - TRAILER - cc - plain[COUNTER]);
    return SCP80_OK;
}

enum scp80_status scp80_judge(const uint8_t spi[2], uint64_t counter, uint64_t last) {
    const uint64_t max = 0xFFFFFFFFFF;

    switch (scp80_counting(spi)) {
    case SCP80_NO_COUNTER:
    case SCP80_NO_CHECK:
        return SCP80_OK;
    case SCP80_HIGHER:
    case SCP80_NEXT:
        break;
    }
    if (last == max)
        return SCP80_COUNTER_BLOCKED;
    if (counter <= last)
        return SCP80_COUNTER_LOW;
    return scp80_counting(spi) == SCP80_NEXT && counter != last + 1 ? SCP80_COUNTER_HIGH : SCP80_OK;
}

/* ---- responses ---- */

/* spec: TS31115 4.2 user data header with the element of response packets, then RPL RHL TAR; from
 * CNTR on it may be ciphered. Here the checksum covers the header too. */
int scp80_respond(const struct scp80_command *c, const struct card_keyset *ks_kic,
                  const struct card_keyset *ks_kid, uint64_t counter, enum scp80_status status,
                  struct tb_span data, struct tb_buf *out) {
    const enum scp80_check check = (enum scp80_check)(c->spi[1] >> 2 & 3);
    const bool ciphered = c->spi[1] & 0x10;
    const struct tb_span key = key_of(ks_kic, 0, c->kic);
    size_t cc = check_len(check, c->kid), body = TRAILER + 1 + cc + data.n, pad = 0, start, at;
    uint8_t sum[SCP80_CC_MAX];
    int r = 0;

    if ((check != SCP80_NONE && cc == 0) || (ciphered && !key.n))
        return TB_EUNSUP;
    if (ciphered)
        pad = (block_of(ks_kic) - body % block_of(ks_kic)) % block_of(ks_kic);
    start = out->n;
    tb_put(out, tb_span((const uint8_t[]){0x02, 0x71, 0x00}, 3));
    tb_put_be16(out, (uint16_t)(1 + 3 + body + pad));
    tb_put_u8(out, (uint8_t)(0x0A + cc));
    tb_put(out, tb_span(c->tar, sizeof c->tar));
    at = out->n;
    for (int shift = 8 * (COUNTER - 1); shift >= 0; shift -= 8)
        tb_put_u8(out, (uint8_t)(counter >> shift));
    tb_put_u8(out, (uint8_t)pad);
    tb_put_u8(out, (uint8_t)status);
    (void)tb_put_room(out, cc);
    tb_put(out, data);
    while (pad-- > 0)
        tb_put_u8(out, 0);
    if (!tb_buf_ok(out))
        return TB_ESPACE;
    if (cc) {
        size_t before = at + TRAILER + 1;
        const struct tb_span parts[] = {tb_span(out->p + start, before - start),
                                        tb_span(out->p + before + cc, out->n - before - cc)};

        r = checksum(check, c->kid, ks_kid, parts, 2, sum);
        memcpy(out->p + before, sum, cc);
    }
    if (r == 0 && ciphered)
        r = cipher(ks_kic, key, true, tb_span(out->p + at, out->n - at), out->p + at);
    return r;
}

#include "gp/scp03.h"

#include <stdlib.h>

#include "iotsafe/store.h"

enum { SW_SM_MISSING = 0x6987, SW_SM_WRONG = 0x6988, BLOCK = 16 };

enum derivation {
    CARD_CRYPTOGRAM = 0x00,
    HOST_CRYPTOGRAM = 0x01,
    CARD_CHALLENGE = 0x02,
    S_ENC = 0x04,
    S_MAC = 0x06,
    S_RMAC = 0x07,
};

/* spec: AMD-D 4.1.5 SP 800-108 in counter mode with CMAC; len bytes, at most 32 */
static int derive(struct tb_span key, enum derivation constant, struct tb_span a, struct tb_span b,
                  uint8_t *out, size_t len) {
    uint8_t block[BLOCK], head[16] = {0};
    int r = 0;

    head[11] = (uint8_t)constant;
    head[13] = (uint8_t)(len * 8 >> 8);
    head[14] = (uint8_t)(len * 8);
    for (size_t done = 0; r == 0 && done < len; done += BLOCK) {
        const struct tb_span parts[] = {tb_span(head, sizeof head), a, b};

        head[15]++;
        r = card_cmac(key, parts, 3, block);
        if (r == 0)
            memcpy(out + done, block, len - done < BLOCK ? len - done : BLOCK);
    }
    tb_wipe(block, sizeof block);
    return r;
}

static struct tb_span key_of(const struct card_scp03 *s, const uint8_t *key) {
    return tb_span(key, s->key_len);
}

int card_scp03_begin(struct tb_span aid, const struct card_keyset *ks, uint32_t counter,
                     const uint8_t host[8], struct card_scp03 **ret, uint8_t ret_cryptogram[8]) {
    const uint8_t sequence[3] = {(uint8_t)(counter >> 16), (uint8_t)(counter >> 8),
                                 (uint8_t)counter};
    struct card_scp03 *s = calloc(1, sizeof *s);
    struct tb_span h, c, k_enc = tb_span(ks->key[0], ks->len), k_mac = tb_span(ks->key[1], ks->len);
    int r;

    if (!s)
        return TB_ENOMEM;
    s->version = ks->version;
    s->key_len = ks->len;
    memcpy(s->dek, ks->key[2], ks->len);
    memcpy(s->host, host, sizeof s->host);
    h = tb_span(s->host, sizeof s->host);
    c = tb_span(s->card, sizeof s->card);
    r = derive(k_enc, CARD_CHALLENGE, tb_span(sequence, 3), aid, s->card, sizeof s->card);
    if (r == 0)
        r = derive(k_enc, S_ENC, h, c, s->enc, ks->len);
    if (r == 0)
        r = derive(k_mac, S_MAC, h, c, s->mac, ks->len);
    if (r == 0)
        r = derive(k_mac, S_RMAC, h, c, s->rmac, ks->len);
    if (r == 0)
        r = derive(key_of(s, s->mac), CARD_CRYPTOGRAM, h, c, ret_cryptogram, 8);
    if (r < 0) {
        card_scp03_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void card_scp03_aim(struct card_scp03 *s, struct card_app *target) {
    tb_wipe(s->store.p, s->store.n);
    free(s->store.p);
    s->store = (struct card_store_data){0};
    safe_store_free(s->applet);
    s->applet = NULL;
    s->target = target;
}

void card_scp03_free(struct card_scp03 *s) {
    if (!s)
        return;
    card_scp03_aim(s, NULL);
    tb_wipe(s, sizeof *s);
    free(s);
}

/* spec: AMD-D 6.2.4 over the header, without a channel number and with the secure messaging bit,
 * the length with the MAC, and the data as they are sent. True when mac follows; the chain goes on.
 */
static bool check_mac(struct card_scp03 *s, const struct tb_apdu *a, struct tb_span data,
                      struct tb_span mac) {
    size_t lc = data.n + SCP03_MAC;
    uint8_t head[8] = {(uint8_t)((a->cla & 0x40 ? 0x80 : a->cla & 0x90) | 0x04), a->ins, a->p1,
                       a->p2};
    size_t head_n = 4;
    uint8_t mcv[16];

    if (lc > 255) {
        head[head_n++] = 0;
        head[head_n++] = (uint8_t)(lc >> 8);
    }
    head[head_n++] = (uint8_t)lc;
    const struct tb_span parts[] = {tb_span(s->mcv, sizeof s->mcv), tb_span(head, head_n), data};
    if (card_cmac(key_of(s, s->mac), parts, 3, mcv) < 0 || !card_equal(mcv, mac.p, SCP03_MAC))
        return false;
    memcpy(s->mcv, mcv, sizeof mcv);
    return true;
}

bool card_scp03_authenticate(struct card_scp03 *s, const struct tb_apdu *a) {
    uint8_t expected[8];

    if (a->data.n != 8 + SCP03_MAC ||
        derive(key_of(s, s->mac), HOST_CRYPTOGRAM, tb_span(s->host, 8), tb_span(s->card, 8),
               expected, 8) < 0 ||
        !card_equal(expected, a->data.p, 8) ||
        !check_mac(s, a, tb_span_sub(a->data, 0, 8), tb_span_sub(a->data, 8, SCP03_MAC)))
        return false;
    s->level = a->p1;
    s->open = true;
    return true;
}

/* spec: AMD-D 6.2.6 6.2.7 the command's number under S-ENC; the response's has the first bit set */
static int icv(const struct card_scp03 *s, bool response, uint8_t out[BLOCK]) {
    uint8_t n[BLOCK] = {0};

    for (size_t i = 0; i < 8; i++)
        n[BLOCK - 1 - i] = (uint8_t)(s->n >> 8 * i);
    if (response)
        n[0] = 0x80;
    return card_aes_block(key_of(s, s->enc), n, out);
}

/* Takes 80 00 … off the end. */
static bool unpad(struct tb_span *data) {
    size_t n = data->n;

    while (n > 0 && data->p[n - 1] == 0x00)
        n--;
    if (n == 0 || data->p[n - 1] != 0x80 || data->n - n >= BLOCK)
        return false;
    data->n = n - 1;
    return true;
}

static bool decipher(const struct card_scp03 *s, struct tb_span *in, uint8_t *data) {
    uint8_t iv[BLOCK];

    if (in->n == 0)
        return true;
    if (in->n % BLOCK != 0 || icv(s, false, iv) < 0 ||
        card_aes_cbc(key_of(s, s->enc), false, iv, *in, data) < 0)
        return false;
    *in = tb_span(data, in->n);
    return unpad(in);
}

uint16_t card_scp03_unwrap(struct card_scp03 *s, struct tb_apdu *a, uint8_t *data) {
    struct tb_span body, mac;

    s->n++;
    if (!(s->level & SCP03_LEVEL_MAC))
        return 0;
    if (a->data.n < SCP03_MAC)
        return SW_SM_MISSING;
    body = tb_span_sub(a->data, 0, a->data.n - SCP03_MAC);
    mac = tb_span_sub(a->data, body.n, SCP03_MAC);
    if (!check_mac(s, a, body, mac) || (s->level & SCP03_LEVEL_ENC && !decipher(s, &body, data)))
        return SW_SM_WRONG;
    a->data = body;
    return 0;
}

static int encipher(const struct card_scp03 *s, struct tb_buf *out) {
    uint8_t iv[BLOCK];
    size_t pad = BLOCK - out->n % BLOCK;
    int r;

    tb_put_u8(out, 0x80);
    while (--pad > 0)
        tb_put_u8(out, 0);
    r = tb_buf_ok(out) ? icv(s, true, iv) : TB_ESPACE;
    return r < 0 ? r : card_aes_cbc(key_of(s, s->enc), true, iv, tb_span(out->p, out->n), out->p);
}

int card_scp03_wrap(struct card_scp03 *s, struct tb_buf *out, uint16_t sw) {
    const uint8_t status[2] = {(uint8_t)(sw >> 8), (uint8_t)sw};
    bool fine = sw == TB_SW_OK || status[0] == 0x62 || status[0] == 0x63;
    uint8_t mac[16];
    int r = 0;

    if (!(s->level & SCP03_LEVEL_RMAC) || !fine)
        return 0;
    if (s->level & SCP03_LEVEL_RENC && out->n > 0)
        r = encipher(s, out);
    if (r == 0) {
        const struct tb_span parts[] = {tb_span(s->mcv, sizeof s->mcv), tb_buf_span(out),
                                        tb_span(status, 2)};

        r = card_cmac(key_of(s, s->rmac), parts, 3, mac);
    }
    if (r == 0)
        tb_put(out, tb_span(mac, SCP03_MAC));
    return r < 0 ? r : tb_buf_ok(out) ? 0 : TB_ESPACE;
}

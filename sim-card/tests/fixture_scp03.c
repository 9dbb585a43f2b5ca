/* The host's side of SCP03, as much of it as opens a session without secure messaging. */
#include <assert.h>

#include "crypto/crypto.h"
#include "fixture.h"

static void derive(struct tb_span key, uint8_t what, uint8_t bits, struct tb_span context,
                   uint8_t ret[16]) {
    uint8_t head[16] = {[11] = what, [14] = bits, [15] = 1};
    const struct tb_span parts[] = {tb_span(head, sizeof head), context};
    int r = card_cmac(key, parts, 2, ret);

    assert(r == 0);
    (void)r;
}

void fx_open_session(struct card *card) {
    static const uint8_t initialize[] = {0x80, 0x50, 0x30, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 0};
    static const uint8_t key[] = {0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
                                  0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F};
    uint8_t context[16], s_mac[16], block[16], authenticate[21] = {0x84, 0x82, 0, 0, 16};
    static const uint8_t mcv[16];
    struct tb_span data;
    uint16_t sw = fx_transact(card, tb_span(initialize, sizeof initialize), &data);
    int r;

    if (sw != TB_SW_OK || data.n != 32)
        return; /* no memory, in torture */
    memcpy(context, initialize + 5, 8);
    memcpy(context + 8, data.p + 13, 8);
    derive(tb_span(key, sizeof key), 0x06, 0x80, tb_span(context, sizeof context), s_mac);
    derive(tb_span(s_mac, sizeof s_mac), 0x01, 0x40, tb_span(context, sizeof context), block);
    memcpy(authenticate + 5, block, 8);
    {
        const struct tb_span parts[] = {tb_span(mcv, sizeof mcv), tb_span(authenticate, 13)};

        r = card_cmac(tb_span(s_mac, sizeof s_mac), parts, 2, block);
        assert(r == 0);
        (void)r;
    }
    memcpy(authenticate + 13, block, 8);
    sw = fx_transact(card, tb_span(authenticate, sizeof authenticate), NULL);
    assert(sw == TB_SW_OK);
}

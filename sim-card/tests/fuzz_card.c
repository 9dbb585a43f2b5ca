/* Any sequence of commands: first byte chooses profile knobs, and by its upper two bits whether a
 * session of the issuer domain is open and whether it personalises an applet; then each command
 * with two bytes of length before it; a length of 0 is a reset. The card answers each with a status
 * word; fx_transact() sees to it that none of the answers holds a secret. */
#include <assert.h>
#include <stdlib.h>

#include "fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const knobs[] = {
    NULL,
    "delivery=t0 sig_len=8",
    "create_on_demand=on session_reopen=off max_sessions=1",
    "object_list_limit=0 file_padding=padded info_wrapper=off",
    "cla=8n-only trailing_bytes=6700 hkdf_null_salt=accept max_block=256",
    "sig_form=der rsa_public=pkcs1 keygen_labels=on sig_len=ber object_list_limit=7",
    "euicc",
};

enum { KNOBS = sizeof knobs / sizeof knobs[0], MAX_COMMANDS = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size), cmd;
    struct card_config cfg = {0};
    struct card *card;
    struct tb_span atr;
    uint8_t which;
    uint16_t n;
    int r = 0;

    if (!tb_take_u8(&in, &which))
        return 0;
    cfg.nvm = fx_memory(knobs[(which & 0x3F) % KNOBS]);
    card = card_new(&cfg, &r);
    assert(card);
    r = card_power_on(card, &atr);
    assert(r == 0);
    if (which & 0x80) {
        fx_run(card, "00A4040C08A000000151000000");
        fx_open_session(card);
        if (which & 0x40)
            fx_run(card, "80E620000D000007A0000005590010000000");
    }
    for (int i = 0; i < MAX_COMMANDS && tb_take_be16(&in, &n); i++) {
        if (n == 0) {
            r = card_reset(card);
            assert(r == 0);
            continue;
        }
        if (!tb_take(&in, n < in.n ? n : in.n, &cmd))
            break;
        fx_transact(card, cmd, NULL); /* asserts that no secret comes out */
    }
    card_free(card);
    card = card_new(&cfg, &r); /* and its memory is still one */
    assert(card);
    card_free(card);
    card_nvm_free(cfg.nvm);
    return 0;
}

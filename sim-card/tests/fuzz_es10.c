/* ES10 in any order: a byte of length, then what goes to the ISD-R in one STORE DATA; a length of 0
 * is a reset, after which the terminal says whether it knows REFRESH. Whatever has been done, at
 * most one profile is enabled, and the memory is still one. */
#include <assert.h>
#include <stdlib.h>

#include "euicc/euicc.h"
#include "fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_COMMANDS = 200 };

static void begin(struct card *card, bool refresh) {
    int r = card_reset(card);

    assert(r == 0);
    (void)r;
    if (refresh)
        fx_run(card, "8010000003000080");
    fx_run(card, "00A4040C07A0000000871002");
    fx_run(card, "01A4040008A000000559001101");
    fx_run(card, "0070000001");
    fx_run(card, "0070000002");
    fx_run(card, "01A4040C10A0000005591010FFFFFFFF8900000100");
    fx_run(card, "02A4040008A000000559001101");
}

static void check(const struct card *card) {
    unsigned enabled = 0;

    for (const struct euicc_profile *p = card->euicc->profiles; p; p = p->next)
        enabled += p->enabled;
    assert(enabled <= 1);
    for (unsigned n = 0; n < TB_CHANNELS; n++)
        assert(!card->channels[n] || !card->channels[n]->app ||
               card_app_present(card, card->channels[n]->app));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size), command;
    struct card_config cfg = {.nvm = fx_memory("euicc")};
    uint8_t storage[5 + 255], n;
    struct card *card;
    struct tb_span atr;
    int r = 0, resets = 0;

    card = card_new(&cfg, &r);
    assert(card);
    r = card_power_on(card, &atr);
    assert(r == 0);
    begin(card, false);
    for (int i = 0; i < MAX_COMMANDS && tb_take_u8(&in, &n); i++) {
        struct tb_buf b = TB_BUF(storage);

        if (n == 0) {
            begin(card, ++resets % 2);
            continue;
        }
        if (!tb_take(&in, n < in.n ? n : in.n, &command))
            break;
        tb_put(&b, TB_BYTES(0x81, 0xE2, 0x91, 0x00));
        tb_put_u8(&b, (uint8_t)command.n);
        tb_put(&b, command);
        fx_transact(card, tb_buf_span(&b), NULL);
        fx_run(card, "00B0870009");
        check(card);
    }
    card_free(card);
    card = card_new(&cfg, &r);
    assert(card);
    check(card);
    card_free(card);
    card_nvm_free(cfg.nvm);
    return 0;
}

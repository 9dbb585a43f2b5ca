#include "simcard/card.h"

#include <stdlib.h>

#include "euicc/euicc.h"
#include "iotsafe/object.h"
#include "os/os.h"
#include "ota/ota.h"
#include "simcard/admin.h"
#include "toolkit/toolkit.h"

/* TS 3B; TA1 96 (512/32), T=0, T=1 with IFSC 254, T=15 clock stop and classes A B C; historical
 * bytes: selection by full and partial AID with EF.DIR, then 73 FE 21 DF: command chaining,
 * extended length, channels assigned by card or terminal, 8 or more of them; "IOTSAFE" 01. spec:
 * TS102221 6.3.3 ISO7816-4 8.1.1 */
static const uint8_t default_atr[] = {
    0x3B, 0x9F, 0x96, 0x80, 0xB1, 0xFE, 0x45, 0x1F, 0xC7, 0x80, 0x31, 0xE0, 0x73,
    0xFE, 0x21, 0xDF, 0x49, 0x4F, 0x54, 0x53, 0x41, 0x46, 0x45, 0x01, 0x3B,
};

struct card *card_new(const struct card_config *cfg, int *ret_err) {
    struct tb_span atr = cfg->atr;
    struct card *card;
    int r;

    if (atr.n > CARD_ATR_MAX) {
        *ret_err = TB_ERANGE;
        return NULL;
    }
    card = calloc(1, sizeof *card);
    if (!card) {
        *ret_err = TB_ENOMEM;
        return NULL;
    }
    card->nvm = cfg->nvm;
    card->on_command = cfg->on_command;
    card->user = cfg->user;
    r = card_load(card);
    if (r < 0) {
        card_free(card);
        *ret_err = r;
        return NULL;
    }
    if (!atr.n)
        atr = card->subs->id.atr_len ? tb_span(card->subs->id.atr, card->subs->id.atr_len)
                                     : tb_span(default_atr, sizeof default_atr);
    card->atr_len = (uint8_t)atr.n;
    memcpy(card->atr, atr.p, atr.n);
    return card;
}

void card_free(struct card *card) {
    if (!card)
        return;
    card_power_off(card);
    card_unload(card);
    free(card->out.p);
    free(card);
}

int card_power_on(struct card *card, struct tb_span *ret_atr) {
    card_power_off(card);
    card_euicc_take_effect(card);
    if (!card_channel_open(card, 0))
        return TB_ENOMEM;
    card->powered = true;
    card->counters.resets++;
    *ret_atr = card_atr(card);
    return 0;
}

void card_power_off(struct card *card) {
    card_admin_abort(card);
    card_toolkit_free(card->toolkit);
    card->toolkit = NULL;
    card_ota_free(card->ota);
    card->ota = NULL;
    for (unsigned i = 0; i < TB_CHANNELS; i++)
        card_channel_close(card, i);
    for (struct card_subscription *s = card->subs; s; s = s->next)
        for (size_t i = 0; i < CARD_PINS; i++)
            s->pins[i].verified = false;
    for (struct card_instance *in = card->instances; in; in = in->next)
        card_instance_forget_volatile(in);
    card->powered = false;
}

int card_reset(struct card *card) {
    struct tb_span atr;

    if (!card->powered)
        return TB_ESTATE;
    return card_power_on(card, &atr);
}

struct tb_span card_atr(const struct card *card) {
    return tb_span(card->atr, card->atr_len);
}

void card_counters(const struct card *card, struct card_counters *ret) {
    *ret = card->counters;
}

void card_iccid(const struct card *card, char ret[21]) {
    memcpy(ret, card->cur->id.iccid, sizeof card->cur->id.iccid);
}

uint16_t card_store(struct card *card, const struct card_write *writes, size_t n) {
    int r = card_nvm_write(card->nvm, writes, n, !card->has_version);

    if (r < 0)
        return r == TB_ESPACE ? TB_SW_NO_SPACE : TB_SW_MEMORY;
    card->has_version = true;
    card->counters.writes++;
    return 0;
}

static void mask(struct tb_span apdu, size_t head, size_t tail, bool secret, struct tb_buf *out) {
    uint8_t *at = tb_put_room(out, apdu.n);

    if (!at || apdu.n == 0)
        return;
    memcpy(at, apdu.p, apdu.n);
    if (secret && apdu.n > head + tail)
        memset(at + head, 0, apdu.n - head - tail);
}

void card_event_mask(const struct card_event *event, struct tb_buf *command,
                     struct tb_buf *response) {
    struct tb_apdu a;
    size_t head = 5, tail = 0;

    if (tb_apdu_parse(event->command, TB_APDU_TRAILING, &a) == 0) {
        head = a.extended ? 7 : 5;
        tail = event->command.n > head + a.data.n ? event->command.n - head - a.data.n : 0;
    }
    mask(event->command, head, tail, event->secret_command, command);
    mask(event->response, 0, 2, event->secret_response, response);
}

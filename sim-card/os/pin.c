#include "os/pin.h"

#include "simcard/personalise.h"

enum { PIN_LEN = 8, TWO_PINS = 16 };

struct card_pin_state *card_pin_find(struct card *card, uint8_t ref) {
    for (size_t i = 0; i < CARD_PINS; i++)
        if (card->cur->pins[i].ref == ref && card->cur->pins[i].exists)
            return &card->cur->pins[i];
    return NULL;
}

void card_pin_encode(const struct card_pin_state *pin, struct tb_buf *out) {
    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_u8(out, pin->enabled);
    tb_put_u8(out, pin->has_puk);
    tb_put_u8(out, pin->tries);
    tb_put_u8(out, pin->unblock_tries);
    tb_put(out, tb_span(pin->pin, PIN_LEN));
    tb_put(out, tb_span(pin->puk, PIN_LEN));
}

int card_pin_decode(struct tb_span record, struct card_pin_state *pin) {
    struct tb_span flags, value, puk;
    int r = card_record_open(&record);

    if (r < 0)
        return r;
    if (!tb_take(&record, 4, &flags) || !tb_take(&record, PIN_LEN, &value) ||
        !tb_take(&record, PIN_LEN, &puk) || record.n != 0 || flags.p[2] > CARD_PIN_TRIES ||
        flags.p[3] > CARD_UNBLOCK_TRIES)
        return TB_EPARSE;
    pin->exists = true;
    pin->enabled = flags.p[0] != 0;
    pin->has_puk = flags.p[1] != 0;
    pin->tries = flags.p[2];
    pin->unblock_tries = flags.p[3];
    memcpy(pin->pin, value.p, PIN_LEN);
    memcpy(pin->puk, puk.p, PIN_LEN);
    return 0;
}

/* Stores next and, once that is durable, makes it the card's state. */
static uint16_t change(struct card *card, struct card_pin_state *pin,
                       const struct card_pin_state *next) {
    uint8_t record[CARD_PIN_RECORD_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);
    struct card_write w;
    uint16_t sw;

    card_subscription_key(card->cur, &k);
    tb_put_u8(&k, CARD_REC_PIN);
    tb_put_u8(&k, pin->ref);
    card_pin_encode(next, &b);
    w = (struct card_write){tb_buf_span(&k), tb_buf_span(&b)};
    sw = card_store(card, &w, 1);
    tb_wipe(record, sizeof record);
    if (sw == 0)
        *pin = *next;
    return sw;
}

static uint16_t tries_left(uint8_t n) {
    return (uint16_t)(0x63C0 | n);
}

static bool equal(const uint8_t *a, const uint8_t *b) {
    return memcmp(a, b, PIN_LEN) == 0;
}

/* The PIN a command names, 6A88 when there is none such. */
static uint16_t named(struct card *card, const struct cmd *cmd, struct card_pin_state **ret) {
    if (cmd->a.p1 != 0)
        return TB_SW_P1P2;
    *ret = card_pin_find(card, cmd->a.p2);
    return *ret ? TB_SW_OK : TB_SW_REF_NOT_FOUND;
}

/* spec: TS102221 11.1.9 presents value. The try is counted, durably, before the comparison: who
 * cuts the power to save a try learns nothing by it. That is why these commands alone write twice.
 * On success *next holds the state with the counter back at its maximum and the PIN verified, for
 * the caller to store. */
static uint16_t present(struct card *card, struct card_pin_state *pin, const uint8_t *value,
                        struct card_pin_state *next) {
    uint16_t sw;

    if (pin->tries == 0)
        return TB_SW_BLOCKED;
    *next = *pin;
    next->tries--;
    next->verified = false;
    sw = change(card, pin, next);
    if (sw)
        return sw;
    if (!equal(pin->pin, value))
        return tries_left(pin->tries);
    next->tries = CARD_PIN_TRIES;
    next->verified = true;
    return TB_SW_OK;
}

static uint16_t replace(struct card *card, struct card_pin_state *pin,
                        struct card_pin_state *next) {
    uint16_t sw = change(card, pin, next);

    tb_wipe(next, sizeof *next);
    return sw ? sw : TB_SW_OK;
}

uint16_t card_cmd_verify_pin(struct card *card, struct cmd *cmd) {
    struct card_pin_state *pin, next;
    uint16_t sw = named(card, cmd, &pin);

    if (sw != TB_SW_OK)
        return sw;
    if (cmd->a.data.n == 0)
        return tries_left(pin->tries);
    if (cmd->a.data.n != PIN_LEN)
        return TB_SW_LENGTH;
    sw = present(card, pin, cmd->a.data.p, &next);
    if (sw != TB_SW_OK)
        return sw;
    return replace(card, pin, &next);
}

/* spec: TS102221 11.1.10 */
uint16_t card_cmd_change_pin(struct card *card, struct cmd *cmd) {
    struct card_pin_state *pin, next;
    uint16_t sw = named(card, cmd, &pin);

    if (sw != TB_SW_OK)
        return sw;
    if (cmd->a.data.n != TWO_PINS)
        return TB_SW_LENGTH;
    if (!pin->enabled)
        return TB_SW_CONDITIONS;
    sw = present(card, pin, cmd->a.data.p, &next);
    if (sw != TB_SW_OK)
        return sw;
    memcpy(next.pin, cmd->a.data.p + PIN_LEN, PIN_LEN);
    return replace(card, pin, &next);
}

/* spec: TS102221 11.1.11 11.1.12 only PIN1 can be switched */
static uint16_t switch_pin(struct card *card, struct cmd *cmd, bool enable) {
    struct card_pin_state *pin, next;
    uint16_t sw = named(card, cmd, &pin);

    if (sw != TB_SW_OK)
        return sw;
    if (cmd->a.data.n != PIN_LEN)
        return TB_SW_LENGTH;
    if (pin->ref != CARD_PIN1 || pin->enabled == enable)
        return TB_SW_CONDITIONS;
    sw = present(card, pin, cmd->a.data.p, &next);
    if (sw != TB_SW_OK)
        return sw;
    next.enabled = enable;
    return replace(card, pin, &next);
}

uint16_t card_cmd_disable_pin(struct card *card, struct cmd *cmd) {
    return switch_pin(card, cmd, false);
}

uint16_t card_cmd_enable_pin(struct card *card, struct cmd *cmd) {
    return switch_pin(card, cmd, true);
}

/* spec: TS102221 11.1.13 */
uint16_t card_cmd_unblock_pin(struct card *card, struct cmd *cmd) {
    struct card_pin_state *pin, next;
    uint16_t sw = named(card, cmd, &pin);

    if (sw != TB_SW_OK)
        return sw;
    if (!pin->has_puk)
        return TB_SW_CONDITIONS;
    if (cmd->a.data.n == 0)
        return tries_left(pin->unblock_tries);
    if (cmd->a.data.n != TWO_PINS)
        return TB_SW_LENGTH;
    if (pin->unblock_tries == 0)
        return TB_SW_BLOCKED;
    next = *pin;
    next.unblock_tries--;
    sw = change(card, pin, &next);
    if (sw)
        return sw;
    if (!equal(pin->puk, cmd->a.data.p))
        return tries_left(pin->unblock_tries);
    memcpy(next.pin, cmd->a.data.p + PIN_LEN, PIN_LEN);
    next.tries = CARD_PIN_TRIES;
    next.unblock_tries = CARD_UNBLOCK_TRIES;
    next.verified = true;
    return replace(card, pin, &next);
}

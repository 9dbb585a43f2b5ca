#include <stdlib.h>

#include "gp/scp03.h"
#include "os/fs.h"
#include "ota/ota.h"

enum { RESPONSE_MAX = 258, COMMANDS_MAX = 255 };

/* Commands whose P3 is Le: everything else of a script that has a P3 has data behind it. spec:
 * TS102226 5.2.1 */
static bool is_outgoing(uint8_t ins) {
    return ins == 0xB0 || ins == 0xB2 || ins == 0xC0 || ins == 0xCA;
}

/* Takes one command off the script. A Le behind the data can only end it. */
static bool take_command(struct tb_span *script, struct tb_span *ret) {
    struct tb_span rest = *script, head, data;
    uint8_t p3;
    size_t n = 5;

    if (!tb_take(&rest, 4, &head))
        return false;
    if (rest.n == 0) {
        *ret = *script;
        *script = TB_SPAN_NONE;
        return true;
    }
    (void)tb_take_u8(&rest, &p3);
    if (!is_outgoing(head.p[1])) {
        if (!tb_take(&rest, p3, &data))
            return false;
        n += p3;
        if (rest.n == 1)
            n++;
    }
    *ret = tb_span_sub(*script, 0, n);
    *script = tb_span_sub(*script, n, script->n - n);
    return true;
}

/* A channel that nobody sees: where the script's files are selected and its session is. */
static struct card_channel *open_channel(struct card_app *target, bool from_usim,
                                         const struct card_keyset *dek) {
    struct card_channel *ch = calloc(1, sizeof *ch);

    if (!ch)
        return NULL;
    ch->df = from_usim ? fs_adf_usim() : fs_mf();
    ch->usim = from_usim;
    ch->app = target;
    if (target && target->kind == CARD_APP_DOMAIN) {
        ch->scp = calloc(1, sizeof *ch->scp);
        if (!ch->scp) {
            free(ch);
            return NULL;
        }
        ch->scp->open = true; /* by the packet */
        if (dek) {
            ch->scp->key_len = dek->len;
            ch->scp->dek_des = dek->type == GP_KEY_DES;
            memcpy(ch->scp->dek, dek->key[2], dek->len);
        }
    }
    return ch;
}

static void close_channel(struct card_channel *ch) {
    card_channel_drop_pending(ch);
    card_channel_drop_chain(ch);
    card_channel_leave_app(ch);
    free(ch->sessions);
    free(ch);
}

uint16_t card_ota_script(struct card *card, struct card_app *target, bool from_usim,
                         const struct card_keyset *dek, struct tb_span script, struct tb_buf *out) {
    struct card_channel *ch = open_channel(target, from_usim, dek);
    uint8_t store[RESPONSE_MAX], done = 0;
    struct tb_buf rsp = TB_BUF(store);
    struct tb_span command, data = TB_SPAN_NONE;
    uint16_t sw = TB_SW_LENGTH;

    if (!ch)
        return TB_SW_NO_SPACE;
    while (script.n > 0 && done < COMMANDS_MAX) {
        if (!take_command(&script, &command)) {
            sw = TB_SW_LENGTH;
            data = TB_SPAN_NONE;
            break;
        }
        rsp.n = 0;
        card_run_on(card, ch, command, &rsp);
        if (tb_rapdu_parse(tb_buf_span(&rsp), &data, &sw) < 0)
            sw = TB_SW_UNKNOWN;
        done++;
        if (!tb_sw_success(sw) && !tb_sw_more(sw) && (sw >> 8) != 0x62 && (sw >> 8) != 0x63)
            break;
    }
    tb_put_u8(out, done);
    tb_put_be16(out, sw);
    tb_put(out, data);
    tb_wipe(store, sizeof store);
    close_channel(ch);
    return TB_SW_OK;
}

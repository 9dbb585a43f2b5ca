#include "ota/ota.h"

#include <stdlib.h>

#include "gp/registry.h"
#include "ota/scp80.h"
#include "ota/sms.h"
#include "tb/tlv.h"
#include "toolkit/toolkit.h"

enum {
    SW_BUSY = 0x9300, /* toolkit busy: the network tries again */
    PID_USIM = 0x7F,
    MSL_FILES = 0x16, /* counter higher, ciphered, cryptographic checksum */
    ANSWER_MAX = 300,
    REPORT_MAX = 128, /* user data of a delivery report */
};

struct card_ota {
    struct sms_reassembly parts;
    uint8_t whole[SMS_PACKET_MAX], plain[SMS_PACKET_MAX];
    bool at_work; /* a script is running: these are its bytes */
};

void card_ota_free(struct card_ota *o) {
    if (o)
        tb_wipe(o, sizeof *o);
    free(o);
}

/* ---- whom it is for ---- */

struct target {
    struct card_app *app; /* NULL: files */
    bool usim;
    struct card_app *keys; /* domain whose key sets secure it */
    uint8_t msl;
};

/* spec: TS101220 annex D: 000000 the issuer domain, B00000 to B0FFFF files */
static bool find_target(const struct card *card, const uint8_t tar[3], struct target *ret) {
    static const uint8_t issuer[3];
    struct card_app *app = card_registry_by_tar(card, tar);

    if (app) {
        *ret =
            (struct target){app, false, app->kind == CARD_APP_DOMAIN ? app : app->domain, app->msl};
        return true;
    }
    *ret = (struct target){.keys = card_registry_issuer(card), .msl = MSL_FILES};
    if (memcmp(tar, issuer, sizeof issuer) == 0) {
        ret->app = ret->keys;
        return true;
    }
    if (tar[0] != 0xB0 || tar[1] != 0x00)
        return false;
    ret->usim = tar[2] == 0x11;
    return tar[2] == 0x00 || tar[2] == 0x10 || (tar[2] == 0x11 && card->cur->id.imsi[0]);
}

/* The set that the high half of KIc or KID names. spec: TS102225 5.1.2 */
static struct card_keyset *keyset(const struct target *t, uint8_t byte) {
    const uint8_t version = byte >> 4;

    return version ? card_keyset_find(t->keys, version) : NULL;
}

/* ---- one packet ---- */

struct packet {
    struct scp80_command c;
    struct target t;
    struct card_keyset *kic, *kid;
    struct card_keyset own[2]; /* the same for the answer: the script may replace them */
    uint64_t counter;
    struct tb_span script;
};

/* The counter is remembered before anything is carried out: what comes again is refused. */
static enum scp80_status accept(struct card *card, struct packet *p, uint8_t *plain) {
    struct card_keyset *counted;
    enum scp80_status status;

    if (!find_target(card, p->c.tar, &p->t))
        return SCP80_NO_TAR;
    p->kic = keyset(&p->t, p->c.kic);
    p->kid = keyset(&p->t, p->c.kid);
    if (!scp80_level_reached(p->c.spi[0], p->t.msl))
        return SCP80_LEVEL;
    status = scp80_open(&p->c, p->kic, p->kid, plain, &p->counter, &p->script);
    if (status != SCP80_OK || scp80_counting(p->c.spi) < SCP80_HIGHER)
        return status;
    counted = p->kid ? p->kid : p->kic;
    if (!counted)
        return SCP80_SECURITY;
    status = scp80_judge(p->c.spi, p->counter, counted->counter);
    if (status == SCP80_OK && card_keyset_count(card, p->t.keys, counted, p->counter) != 0)
        status = SCP80_NO_MEMORY;
    return status;
}

/* By a message of our own, which the terminal is asked to send. */
static void submit(struct card *card, const struct sms_part *from, struct tb_span report) {
    uint8_t tpdu[32 + SMS_UD_MAX], data[16 + sizeof tpdu];
    struct tb_buf t = TB_BUF(tpdu), d = TB_BUF(data);

    sms_put_submit(&t, from->sender, report);
    if (from->smsc.n)
        tb_put_tlv(&d, 0x86, from->smsc);
    tb_put_tlv(&d, 0x8B, tb_buf_span(&t));
    /* A terminal that cannot send has no use for it. */
    if (!tb_buf_ok(&t) || !tb_buf_ok(&d) ||
        card_toolkit_ask(card, TOOLKIT_SEND_SMS, 0, 0x83, tb_buf_span(&d)) < 0)
        return;
}

static uint16_t answer(struct card *card, struct cmd *cmd, const struct packet *p,
                       enum scp80_status status, struct tb_span data, const struct sms_part *from) {
    uint8_t report[64 + ANSWER_MAX];
    struct tb_buf out = TB_BUF(report);
    bool wanted = scp80_por(p->c.spi) == SCP80_POR_ALWAYS ||
                  (scp80_por(p->c.spi) == SCP80_POR_ON_ERROR && status != SCP80_OK);

    if (!wanted)
        return TB_SW_OK;
    if (scp80_respond(&p->c, p->kic, p->kid, p->counter, status, data, &out) < 0)
        return TB_SW_OK;      /* no keys to answer with: silence */
    if (out.n > REPORT_MAX) { /* an answer of several messages is not ours to give */
        out.n = 0;
        if (scp80_respond(&p->c, p->kic, p->kid, p->counter, SCP80_NO_MEMORY, TB_SPAN_NONE, &out) <
            0)
            return TB_SW_OK;
    }
    if (scp80_por_by_submit(p->c.spi)) {
        submit(card, from, tb_buf_span(&out));
        return TB_SW_OK;
    }
    if (!card_out_room(cmd, out.n))
        return TB_SW_NO_SPACE;
    tb_put(cmd->out, tb_buf_span(&out));
    return TB_SW_OK;
}

static void keep_keys(struct packet *p) {
    if (p->kic) {
        p->own[0] = *p->kic;
        p->kic = &p->own[0];
    }
    if (p->kid) {
        p->own[1] = *p->kid;
        p->kid = &p->own[1];
    }
}

static uint16_t receive(struct card *card, struct cmd *cmd, struct tb_span packet,
                        const struct sms_part *from) {
    struct packet p = {.counter = 0};
    uint8_t store[ANSWER_MAX];
    struct tb_buf data = TB_BUF(store);
    enum scp80_status status;
    uint16_t sw;

    if (scp80_parse(packet, &p.c) < 0)
        return TB_SW_OK; /* nobody to answer */
    status = accept(card, &p, card->ota->plain);
    keep_keys(&p);
    if (status == SCP80_OK) {
        card->ota->at_work = true;
        card->over_the_air = !p.t.app; /* an application's keys are none of the files' */
        if (card_ota_script(card, p.t.app, p.t.usim, p.kid, p.script, &data) != TB_SW_OK)
            status = SCP80_NO_MEMORY;
        card->over_the_air = false;
        card->ota->at_work = false;
    }
    sw = answer(card, cmd, &p, status, tb_buf_span(&data), from);
    tb_wipe(card->ota->plain, sizeof card->ota->plain);
    tb_wipe(store, sizeof store);
    tb_wipe(p.own, sizeof p.own);
    return sw;
}

/* spec: TS31111 7.1.1.2 SMS-PP download. What is no secured packet for us is taken and forgotten.
 */
uint16_t card_cmd_envelope(struct card *card, struct cmd *cmd) {
    struct sms_part part;
    struct tb_span packet;
    int r;

    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (cmd->a.data.n == 0)
        return TB_SW_LENGTH;
    if (card->ota && card->ota->at_work)
        return TB_SW_CONDITIONS; /* a script has no terminal to speak for */
    r = sms_parse_envelope(cmd->a.data, &part);
    if (r == TB_EUNSUP)
        return 0x6200; /* another event: nobody here waits for it */
    if (r < 0)
        return TB_SW_DATA;
    if (part.pid != PID_USIM)
        return TB_SW_OK;
    if (!card->ota)
        card->ota = calloc(1, sizeof *card->ota);
    if (!card->ota)
        return SW_BUSY;
    r = sms_reassemble(&card->ota->parts, &part, card->ota->whole, &packet);
    if (r <= 0)
        return r == TB_ESPACE ? TB_SW_NO_SPACE : r < 0 ? TB_SW_DATA : TB_SW_OK;
    cmd->secret_in = true;
    return receive(card, cmd, packet, &part);
}

/* STORE DATA: to a security domain, its keys and data; to an applet, its objects. spec: GPCS 11.11
 */
#include <stdlib.h>

#include "gp/change.h"
#include "gp/gp.h"
#include "gp/keys.h"
#include "iotsafe/store.h"
#include "tb/tlv.h"

enum {
    LAST = 0x80,
    ENCRYPTED = 0x60, /* of the data in general: keys are enciphered in any case */
    STRUCTURE = 0x18,
    AS_DGI = 0x08,
    AS_TLV = 0x10,
    WHOLE_MAX = 66000, /* a file of 65535 bytes and its tag */
    DGI_SD_DATA = 0x0070,
    DGI_KEY_CRT = 0x00B9,
    DGI_KEYS = 0x8113,
};

/* ---- blocks ---- */

static uint16_t keep_block(struct card_store_data *s, struct tb_span block) {
    struct tb_buf b;

    if (s->n + block.n > WHOLE_MAX)
        return TB_SW_NO_SPACE;
    if (s->n + block.n > s->cap) {
        size_t cap = 2 * (s->n + block.n);
        uint8_t *p = malloc(cap); /* not realloc: what moves has to be wiped */

        if (!p)
            return TB_SW_NO_SPACE;
        if (s->n)
            memcpy(p, s->p, s->n);
        tb_wipe(s->p, s->n);
        free(s->p);
        s->p = p;
        s->cap = cap;
    }
    b = (struct tb_buf){s->p, s->n, s->cap, false};
    tb_put(&b, block);
    s->n = b.n;
    return TB_SW_OK;
}

static void drop_blocks(struct card_store_data *s) {
    tb_wipe(s->p, s->n);
    free(s->p);
    *s = (struct card_store_data){0};
}

/* ---- a domain ---- */

struct delivery {             /* what the DGIs of one command bring */
    struct tb_span crts;      /* whose keys have not come yet */
    struct card_keyset *sets; /* lists */
    struct card_domain_data *data;
};

static void drop_delivery(struct delivery *d) {
    gp_keysets_free(d->sets);
    d->sets = NULL;
    while (d->data) {
        struct card_domain_data *next = d->data->next;

        free(d->data);
        d->data = next;
    }
}

static uint16_t take_datum(struct delivery *d, uint16_t tag, struct tb_span value) {
    struct card_domain_data *made;

    if (!card_domain_data_allowed(tag, value.n))
        return TB_SW_DATA;
    for (const struct card_domain_data *one = d->data; one; one = one->next)
        if (one->tag == tag)
            return TB_SW_DATA;
    made = card_domain_data_new(tag, value);
    if (!made)
        return TB_SW_NO_SPACE;
    made->next = d->data;
    d->data = made;
    return TB_SW_OK;
}

/* In DGI 0070, or in a command of BER-TLVs. */
static uint16_t take_data(struct delivery *d, struct tb_span in) {
    struct tb_tlv e;
    uint16_t sw = TB_SW_OK;
    int r;

    while (sw == TB_SW_OK && (r = tb_tlv_next(&in, &e)) > 0)
        sw = e.tag <= 0xFFFF ? take_datum(d, (uint16_t)e.tag, e.value) : TB_SW_DATA;
    return sw == TB_SW_OK && r < 0 ? TB_SW_DATA : sw;
}

/* spec: GPCS 11.11.2.3 two bytes of name, length of one byte or FF and two, value */
static bool next_dgi(struct tb_span *in, uint16_t *name, struct tb_span *value) {
    uint16_t n;
    uint8_t first;

    if (!tb_take_be16(in, name) || !tb_take_u8(in, &first))
        return false;
    n = first;
    if (first == 0xFF && !tb_take_be16(in, &n))
        return false;
    return tb_take(in, n, value);
}

static uint16_t byte_of(struct tb_span v, uint8_t *ret) {
    return v.n == 1 && tb_take_u8(&v, ret) ? TB_SW_OK : TB_SW_DATA;
}

/* spec: GPCS 11.11.2.3 B9 { 95 usage, 96 access, 80 type, 81 length, 82 identifier, 83 version }
 * for each key; their values, enciphered, one behind the other. */
static uint16_t take_keyset(const struct card_scp03 *s, struct tb_span crts, struct tb_span keys,
                            struct card_keyset *next) {
    unsigned have = 0;
    struct tb_tlv crt;
    int r;

    while ((r = tb_tlv_next(&crts, &crt)) > 0) {
        uint8_t type = GP_KEY_AES, len = 16, id = 0, version = 0, clear[GP_KEY_MAX];
        struct tb_span v, value;
        uint16_t sw = TB_SW_OK;

        if (crt.tag != 0xB9)
            return TB_SW_DATA;
        if (tb_tlv_find(crt.value, 0x80, &v) > 0)
            sw = byte_of(v, &type);
        if (sw == TB_SW_OK && tb_tlv_find(crt.value, 0x81, &v) > 0)
            sw = byte_of(v, &len);
        if (sw != TB_SW_OK || tb_tlv_find(crt.value, 0x82, &v) < 1 || byte_of(v, &id) != TB_SW_OK ||
            tb_tlv_find(crt.value, 0x83, &v) < 1 || byte_of(v, &version) != TB_SW_OK)
            return TB_SW_DATA;
        if (id < 1 || id > GP_KEYS || have & 1u << id || (len != 16 && len != 24 && len != 32) ||
            (type != GP_KEY_AES && type != GP_KEY_DES) ||
            (have && (type != next->type || len != next->len || version != next->version)))
            return TB_SW_DATA;
        /* 24 bytes are two blocks of AES */
        if (!tb_take(&keys, s->dek_des ? len : (len + 15u) / 16 * 16, &value))
            return TB_SW_DATA;
        sw = gp_decipher(s, value, clear);
        if (sw != TB_SW_OK)
            return sw;
        next->type = type;
        next->len = len;
        next->version = version;
        memcpy(next->key[id - 1], clear, len);
        tb_wipe(clear, sizeof clear);
        have |= 1u << id;
    }
    return r == 0 && have == 0x0E && keys.n == 0 ? TB_SW_OK : TB_SW_DATA;
}

/* The values for the descriptions that came before. */
static uint16_t take_keys(const struct card_scp03 *s, struct delivery *d, struct tb_span keys) {
    struct card_keyset next = {0}, *made;
    uint16_t sw = d->crts.n ? take_keyset(s, d->crts, keys, &next) : TB_SW_DATA;

    if (sw == TB_SW_OK && !gp_keyset_fits(&next))
        sw = TB_SW_DATA;
    for (const struct card_keyset *ks = d->sets; ks && sw == TB_SW_OK; ks = ks->next)
        if (ks->version == next.version)
            sw = TB_SW_DATA;
    if (sw == TB_SW_OK) {
        made = gp_keyset_new(&next);
        sw = made ? TB_SW_OK : TB_SW_NO_SPACE;
        if (made) {
            made->next = d->sets;
            d->sets = made;
            d->crts = TB_SPAN_NONE;
        }
    }
    tb_wipe(&next, sizeof next);
    return sw;
}

static uint16_t take_dgis(const struct card_scp03 *s, struct delivery *d, struct tb_span in) {
    uint16_t sw = TB_SW_OK;

    while (sw == TB_SW_OK && in.n > 0) {
        struct tb_span value;
        uint16_t name;

        if (!next_dgi(&in, &name, &value))
            return TB_SW_DATA;
        switch (name) {
        case DGI_SD_DATA:
            sw = take_data(d, value);
            break;
        case DGI_KEY_CRT:
            sw = d->crts.n ? TB_SW_DATA : TB_SW_OK;
            d->crts = value;
            break;
        case DGI_KEYS:
            sw = take_keys(s, d, value);
            break;
        default:
            sw = take_datum(d, name, value);
        }
    }
    return sw == TB_SW_OK && d->crts.n ? TB_SW_DATA : sw;
}

static void take_over(struct card_app *domain, struct delivery *d) {
    while (d->data) {
        struct card_domain_data *one = d->data;

        d->data = one->next;
        card_domain_data_put(domain, one);
    }
}

static uint16_t store_in_domain(struct card *card, struct cmd *cmd, struct card_app *domain,
                                struct tb_span whole) {
    unsigned structure = cmd->a.p1 & STRUCTURE;
    struct delivery d = {.data = NULL};
    struct gp_change change = {0};
    uint16_t sw;

    if (whole.n == 0)
        return TB_SW_DATA;
    sw = structure == AS_TLV   ? take_data(&d, whole)
         : structure == AS_DGI ? take_dgis(cmd->ch->scp, &d, whole)
                               : TB_SW_DATA;
    if (sw == TB_SW_OK) {
        for (const struct card_domain_data *one = d.data; one; one = one->next)
            gp_change_data(&change, domain, one);
        sw = gp_keysets_store(card, domain, NULL, d.sets, &change);
        d.sets = NULL;
    }
    if (sw == TB_SW_OK)
        take_over(domain, &d);
    drop_delivery(&d);
    return sw;
}

/* ---- both ---- */

static uint16_t store_in_applet(struct card *card, struct cmd *cmd, const struct card_app *app,
                                struct tb_span block) {
    struct card_scp03 *s = cmd->ch->scp;
    uint16_t sw;

    if (cmd->a.p1 & ENCRYPTED || (cmd->a.p1 & STRUCTURE) == AS_DGI)
        return TB_SW_P1P2;
    if (!s->applet)
        s->applet = safe_store_new(app->instance, &app->profile);
    if (!s->applet)
        return TB_SW_NO_SPACE;
    if (block.n == 0 && cmd->a.p2 > 0 && s->store.n == 0)
        return safe_store_more(s->applet, cmd, cmd->a.p2);
    sw = keep_block(&s->store, block);
    if (sw != TB_SW_OK)
        return sw;
    if (!(cmd->a.p1 & LAST) && !safe_store_at_once(tb_span(s->store.p, s->store.n)))
        return safe_store_block(s->applet, tb_span(s->store.p, s->store.n));
    sw = safe_store_run(card, s->applet, tb_span(s->store.p, s->store.n), cmd);
    drop_blocks(&s->store);
    return sw;
}

static uint16_t store(struct card *card, struct cmd *cmd, struct tb_span block) {
    struct card_scp03 *s = cmd->ch->scp;
    struct card_app *target = s->target ? s->target : cmd->ch->app;
    uint16_t sw;

    if (target->kind == CARD_APP_SAFE)
        return store_in_applet(card, cmd, target, block);
    sw = keep_block(&s->store, block);
    if (sw != TB_SW_OK || !(cmd->a.p1 & LAST))
        return sw;
    sw = store_in_domain(card, cmd, target, tb_span(s->store.p, s->store.n));
    drop_blocks(&s->store);
    return sw;
}

/* Blocks are numbered from 0 in every command. What goes wrong ends the command. */
uint16_t card_cmd_store_data(struct card *card, struct cmd *cmd) {
    struct card_scp03 *s = cmd->ch->scp;
    bool more_of_a_file = cmd->a.data.n == 0 && s->store.n == 0 && s->applet;
    uint16_t sw;

    if (cmd->a.p2 == 0 && s->store.next > 0)
        drop_blocks(&s->store); /* a host that begins anew */
    if (cmd->a.p2 != s->store.next && !more_of_a_file)
        sw = TB_SW_P1P2;
    else
        sw = store(card, cmd, cmd->a.data);
    if (sw != TB_SW_OK) {
        drop_blocks(&s->store);
        if (s->applet)
            safe_store_break(s->applet);
        cmd->out->n = 0;
    } else if (s->store.n > 0) {
        s->store.next = (s->store.next + 1) & 0xFF;
    }
    return sw;
}

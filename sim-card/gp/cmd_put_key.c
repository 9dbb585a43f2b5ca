/* PUT KEY. spec: GPCS 11.8 */
#include <stdlib.h>

#include "gp/change.h"
#include "gp/gp.h"
#include "gp/keys.h"

enum { MULTIPLE = 0x80, KCV_LEN = 3, BLOCK = 16 };

/* spec: AMD-D 7.2 the static DEK of the session, CBC without an initial value; over the air with a
 * DES key the blocks are by themselves (TS102226 8.2.1.5) */
uint16_t gp_decipher(const struct card_scp03 *s, struct tb_span in, uint8_t *out) {
    static const uint8_t zeros[BLOCK];
    struct tb_span dek = tb_span(s->dek, s->key_len);
    size_t block = s->dek_des ? 8 : BLOCK;
    int r = 0;

    if (dek.n == 0)
        return TB_SW_CONDITIONS; /* a packet without a key to encipher with */
    if (in.n == 0 || in.n % block != 0)
        return TB_SW_DATA;
    if (!s->dek_des)
        r = card_aes_cbc(dek, false, zeros, in, out);
    for (size_t i = 0; s->dek_des && r == 0 && i < in.n; i += block)
        r = card_des_cbc(dek, false, zeros, tb_span_sub(in, i, block), out + i);
    return r == 0 ? TB_SW_OK : TB_SW_UNKNOWN;
}

/* spec: GPCS 11.8.2.3.1 AMD-D 7.2 the value is enciphered and padded; the length of the key stands
 * before it, or is that of the value */
static uint16_t take_value(const struct card_scp03 *s, struct tb_span value, struct card_keyset *ks,
                           unsigned key, bool first) {
    uint8_t clear[GP_KEY_MAX];
    size_t block = s->dek_des ? 8 : BLOCK;
    uint8_t len;
    uint16_t sw;

    if (value.n % block == 1) {
        (void)tb_take_u8(&value, &len);
    } else {
        len = value.n <= GP_KEY_MAX ? (uint8_t)value.n : 0;
    }
    if (value.n > sizeof clear || len > value.n || value.n - len >= block ||
        (len != 16 && len != 24 && (len != 32 || ks->type == GP_KEY_DES)) ||
        (!first && len != ks->len))
        return TB_SW_DATA;
    sw = gp_decipher(s, value, clear);
    if (sw == TB_SW_OK) {
        memcpy(ks->key[key], clear, len);
        ks->len = len;
    }
    tb_wipe(clear, sizeof clear);
    return sw;
}

/* One key: type, length, value; length and check value. */
static uint16_t take_key(const struct card_scp03 *s, struct tb_span *data, struct card_keyset *ks,
                         unsigned key, bool first) {
    struct tb_span value, kcv;
    uint8_t type, n, own[KCV_LEN];
    uint16_t sw;

    if (!tb_take_u8(data, &type) || (type != GP_KEY_AES && type != GP_KEY_DES) ||
        (!first && type != ks->type) || !tb_take_u8(data, &n) || !tb_take(data, n, &value))
        return TB_SW_DATA;
    ks->type = type;
    sw = take_value(s, value, ks, key, first);
    if (sw != TB_SW_OK)
        return sw;
    if (!tb_take_u8(data, &n) || (n != 0 && n != KCV_LEN) || !tb_take(data, n, &kcv))
        return TB_SW_DATA;
    if (card_keyset_kcv(ks, key, own) < 0)
        return TB_SW_UNKNOWN;
    return n == 0 || card_equal(kcv.p, own, KCV_LEN) ? TB_SW_OK : TB_SW_DATA;
}

bool gp_keyset_fits(const struct card_keyset *ks) {
    if (ks->type == GP_KEY_DES) /* two or three keys of eight bytes */
        return gp_version_is_scp80(ks->version) && (ks->len == 16 || ks->len == 24);
    return gp_version_is_scp80(ks->version) || (ks->version >= 0x30 && ks->version <= 0x3F);
}

/* Challenges and packets of a key that stays must not come again. */
static void keep_counter(struct card_keyset *next, const struct card_keyset *old) {
    for (unsigned i = 0; i < GP_KEYS; i++)
        if (old->len == next->len && card_equal(old->key[i], next->key[i], next->len))
            next->counter = old->counter;
}

void gp_keysets_free(struct card_keyset *list) {
    while (list) {
        struct card_keyset *next = list->next;

        card_keyset_free(list);
        list = next;
    }
}

struct card_keyset *gp_keyset_new(const struct card_keyset *from) {
    struct card_keyset *ks = malloc(sizeof *ks);

    if (ks) {
        *ks = *from;
        ks->next = NULL;
    }
    return ks;
}

/* spec: GPCS 5.3.2.3 with keys of its own it is personalised, and the one above is out */
static uint8_t next_life(const struct card_app *domain, const struct card_keyset *list) {
    for (; list; list = list->next)
        if (domain->domain && domain->life == GP_SELECTABLE && !gp_version_is_scp80(list->version))
            return GP_PERSONALIZED;
    return domain->life;
}

uint16_t gp_keysets_store(struct card *card, struct card_app *domain, struct card_keyset *old,
                          struct card_keyset *list, struct gp_change *with) {
    uint8_t was = domain->life, life = next_life(domain, list);
    bool moves = old && old->version != list->version;
    uint16_t sw;

    for (struct card_keyset *ks = list; ks; ks = ks->next) {
        const struct card_keyset *there = old ? old : card_keyset_find(domain, ks->version);

        if (there)
            keep_counter(ks, there);
        gp_change_keyset(with, domain, ks);
    }
    if (moves)
        gp_change_keyset_gone(with, domain, old->version);
    domain->life = life;
    if (life != was)
        gp_change_app(with, domain);
    domain->life = was;
    sw = gp_change_commit(card, with);
    if (sw != 0) {
        gp_keysets_free(list);
        return sw;
    }
    domain->life = life;
    if (moves)
        card_keyset_remove(domain, old);
    while (list) {
        struct card_keyset *ks = list;

        list = ks->next;
        card_keyset_put(domain, ks);
    }
    return TB_SW_OK;
}

/* All keys of a set, or those from P2 on that take the place of others in it. */
static uint16_t take_keys(const struct cmd *cmd, const struct card_keyset *old,
                          struct card_keyset *next, unsigned *ret_first, unsigned *ret_n) {
    struct tb_span data = cmd->a.data;
    unsigned id = cmd->a.p2 & 0x7F, n = 0;

    if (id < 1 || id > GP_KEYS)
        return TB_SW_P1P2;
    if (!tb_take_u8(&data, &next->version))
        return TB_SW_LENGTH;
    while (data.n > 0) {
        bool first = n == 0;
        uint16_t sw;

        if (id + n > GP_KEYS || (n > 0 && !(cmd->a.p2 & MULTIPLE)))
            return TB_SW_DATA;
        sw = take_key(cmd->ch->scp, &data, next, id + n - 1, first);
        if (sw != TB_SW_OK)
            return sw;
        n++;
    }
    *ret_first = id - 1;
    *ret_n = n;
    if (n == GP_KEYS)
        return TB_SW_OK;
    /* Some only: in a set that is there, of its kind. */
    if (n == 0 || !old || next->version != old->version || next->type != old->type ||
        next->len != old->len)
        return TB_SW_DATA;
    for (unsigned i = 0; i < GP_KEYS; i++)
        if (i < *ret_first || i >= *ret_first + n)
            memcpy(next->key[i], old->key[i], old->len);
    return TB_SW_OK;
}

static uint16_t answer(struct cmd *cmd, const struct card_keyset *ks, unsigned first, unsigned n) {
    if (!card_out_room(cmd, 1 + GP_KEYS * KCV_LEN))
        return TB_SW_NO_SPACE;
    tb_put_u8(cmd->out, ks->version);
    for (unsigned i = first; i < first + n; i++) {
        uint8_t kcv[KCV_LEN];

        if (card_keyset_kcv(ks, i, kcv) < 0)
            return TB_SW_UNKNOWN;
        tb_put(cmd->out, tb_span(kcv, sizeof kcv));
    }
    return TB_SW_OK;
}

uint16_t card_cmd_put_key(struct card *card, struct cmd *cmd) {
    struct card_app *domain = cmd->ch->app;
    struct card_keyset next = {0}, *old = NULL, *made = NULL;
    struct gp_change change = {0};
    unsigned first = 0, n = 0;
    uint16_t sw;

    if (cmd->a.p1 & 0x80)
        return TB_SW_P1P2; /* more commands of one set: not of ours */
    if (cmd->a.p1) {
        old = card_keyset_find(domain, cmd->a.p1);
        if (!old)
            return TB_SW_REF_NOT_FOUND;
    }
    sw = take_keys(cmd, old, &next, &first, &n);
    if (sw == TB_SW_OK && !gp_keyset_fits(&next))
        sw = TB_SW_DATA;
    /* What is added must be new. */
    if (sw == TB_SW_OK && (!old || old->version != next.version) &&
        card_keyset_find(domain, next.version))
        sw = TB_SW_DATA;
    if (sw == TB_SW_OK)
        sw = answer(cmd, &next, first, n);
    if (sw == TB_SW_OK) {
        made = gp_keyset_new(&next);
        sw = made ? gp_keysets_store(card, domain, old, made, &change) : TB_SW_NO_SPACE;
    }
    if (sw != TB_SW_OK)
        cmd->out->n = 0;
    tb_wipe(&next, sizeof next);
    return sw;
}

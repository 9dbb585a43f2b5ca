#include "gp/domain.h"

#include <stdlib.h>

#include "tb/tlv.h"

enum { TAG_TYPE = 0xC0, TAG_KEY = 0xC1, TAG_COUNTER = 0xC2, COUNTER_BYTES = 5 };

struct card_keyset *card_keyset_find(const struct card_app *domain, uint8_t version) {
    struct card_keyset *ks = domain->keysets;

    while (ks && (version ? ks->version != version : gp_version_is_scp80(ks->version)))
        ks = ks->next;
    return ks;
}

void card_keyset_free(struct card_keyset *ks) {
    if (ks)
        tb_wipe(ks, sizeof *ks);
    free(ks);
}

void card_keyset_put(struct card_app *domain, struct card_keyset *ks) {
    struct card_keyset **at = &domain->keysets, *old;

    while (*at && (*at)->version < ks->version)
        at = &(*at)->next;
    old = *at;
    if (old && old->version == ks->version) {
        ks->next = old->next;
        card_keyset_free(old);
    } else {
        ks->next = old;
    }
    *at = ks;
}

void card_keyset_remove(struct card_app *domain, struct card_keyset *ks) {
    struct card_keyset **at = &domain->keysets;

    while (*at != ks)
        at = &(*at)->next;
    *at = ks->next;
    card_keyset_free(ks);
}

int card_keyset_kcv(const struct card_keyset *ks, unsigned key, uint8_t ret[3]) {
    static const uint8_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, zeros[8];
    struct tb_span k = tb_span(ks->key[key], ks->len);
    uint8_t out[16];
    int r = ks->type == GP_KEY_AES ? card_aes_block(k, ones, out)
                                   : card_des_cbc(k, true, zeros, tb_span(zeros, 8), out);

    if (r == 0)
        memcpy(ret, out, 3);
    tb_wipe(out, sizeof out);
    return r;
}

bool card_domain_data_allowed(uint32_t tag, size_t n) {
    switch (tag) {
    case 0x0042:
    case 0x0045:
    case 0x5F50:
        return n > 0 && n <= GP_DATUM_MAX;
    case 0x00CF:
        return n == 10;
    default:
        return false;
    }
}

struct card_domain_data *card_domain_data_new(uint16_t tag, struct tb_span value) {
    struct card_domain_data *one = malloc(sizeof *one + value.n);

    if (!one)
        return NULL;
    one->next = NULL;
    one->tag = tag;
    one->n = (uint8_t)value.n;
    if (value.n)
        memcpy(one->v, value.p, value.n);
    return one;
}

void card_domain_data_put(struct card_app *domain, struct card_domain_data *one) {
    struct card_domain_data **at = &domain->data, *old;

    while (*at && (*at)->tag != one->tag)
        at = &(*at)->next;
    old = *at;
    one->next = old ? old->next : NULL;
    *at = one;
    free(old);
}

const struct card_domain_data *card_domain_data_find(const struct card_app *domain, uint16_t tag) {
    const struct card_domain_data *one = domain->data;

    while (one && one->tag != tag)
        one = one->next;
    return one;
}

void card_domain_data_free(struct card_app *domain) {
    while (domain->data) {
        struct card_domain_data *next = domain->data->next;

        free(domain->data);
        domain->data = next;
    }
}

/* --- records --- */

void card_domain_data_record_key(const struct card_app *domain, uint16_t tag, struct tb_buf *key) {
    tb_put_u8(key, CARD_REC_DOMAIN_DATA);
    tb_put_be16(key, domain->seq);
    tb_put_be16(key, tag);
}

void card_keyset_record_key(const struct card_app *domain, uint8_t version, struct tb_buf *key) {
    tb_put_u8(key, CARD_REC_KEYSET);
    tb_put_be16(key, domain->seq);
    tb_put_u8(key, version);
}

void card_keyset_encode(const struct card_keyset *ks, struct tb_buf *out) {
    size_t mark;

    tb_put_u8(out, CARD_RECORD_FORMAT);
    tb_put_tlv_u8(out, TAG_TYPE, ks->type);
    for (unsigned i = 0; i < GP_KEYS; i++)
        tb_put_tlv(out, TAG_KEY, tb_span(ks->key[i], ks->len));
    mark = tb_tlv_open(out, TAG_COUNTER);
    for (int shift = 8 * (COUNTER_BYTES - 1); shift >= 0; shift -= 8)
        tb_put_u8(out, (uint8_t)(ks->counter >> shift));
    tb_tlv_close(out, mark);
}

static bool take(struct tb_tlv e, struct card_keyset *ks, unsigned *keys) {
    switch (e.tag) {
    case TAG_TYPE:
        ks->type = e.value.n == 1 ? e.value.p[0] : 0;
        return ks->type == GP_KEY_AES || ks->type == GP_KEY_DES;
    case TAG_KEY:
        if (*keys == GP_KEYS || e.value.n > GP_KEY_MAX || (*keys > 0 && e.value.n != ks->len))
            return false;
        ks->len = (uint8_t)e.value.n;
        memcpy(ks->key[(*keys)++], e.value.p, e.value.n);
        return e.value.n == 16 || e.value.n == 24 || e.value.n == 32;
    case TAG_COUNTER:
        if (e.value.n != COUNTER_BYTES)
            return false;
        for (size_t i = 0; i < COUNTER_BYTES; i++)
            ks->counter = ks->counter << 8 | e.value.p[i];
        return true;
    default:
        return true;
    }
}

int card_keyset_decode(struct tb_span record, struct card_keyset *ret) {
    struct card_keyset ks = {0};
    unsigned keys = 0;
    struct tb_tlv e;
    int r = card_record_open(&record);

    while (r == 0 && (r = tb_tlv_next(&record, &e)) > 0)
        r = take(e, &ks, &keys) ? 0 : TB_EPARSE;
    if (r == 0 && (keys != GP_KEYS || !ks.type))
        r = TB_EPARSE;
    if (r == 0)
        *ret = ks;
    tb_wipe(&ks, sizeof ks);
    return r;
}

uint16_t card_keyset_count(struct card *card, const struct card_app *domain, struct card_keyset *ks,
                           uint64_t counter) {
    uint8_t record[GP_KEYSET_RECORD_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);
    struct card_keyset next = *ks;
    struct card_write w;
    uint16_t sw;

    next.counter = counter;
    card_keyset_record_key(domain, ks->version, &k);
    card_keyset_encode(&next, &b);
    w = (struct card_write){tb_buf_span(&k), tb_buf_span(&b)};
    sw = card_store(card, &w, 1);
    if (sw == 0)
        ks->counter = counter;
    tb_wipe(record, sizeof record);
    tb_wipe(&next, sizeof next);
    return sw;
}

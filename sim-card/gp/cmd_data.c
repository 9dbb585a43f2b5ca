/* GET DATA of a security domain. spec: GPCS 11.3 H.2 H.3 */
#include "gp/gp.h"
#include "simcard/personalise.h"
#include "tb/hex.h"
#include "tb/tlv.h"

enum { ANSWER_MAX = 1200 }; /* 48 AIDs in 2F00; the keys of 31 versions in E0 are less */

/* Card recognition data: GlobalPlatform 2.3.1, SCP03 with i = 70. */
static const char card_data[] =
    "664C734A06072A864886FC6B01600C060A2A864886FC6B02020301630906072A864886FC6B"
    "03640B06092A864886FC6B040370650B06092B8510864864020103660C060A2B06010401"
    "2A026E0103";
/* Capabilities: SCP03 with i = 70, keys of 16, 24 and 32 bytes; SCP80. */
static const char capabilities[] = "6717A00A8001038101708203070101A0098001808104000000F0";

static void put_hex(struct tb_buf *out, const char *hex) {
    if (tb_hex_decode(tb_span_str(hex), out) < 0)
        out->overflow = true; /* cannot happen: our own text */
}

/* spec: GPCS 11.3.3.1 one C0 for each key: identifier, version, type, length */
static void put_key_information(const struct card_app *domain, struct tb_buf *out) {
    size_t all = tb_tlv_open(out, 0xE0);

    for (const struct card_keyset *ks = domain->keysets; ks; ks = ks->next)
        for (unsigned id = 1; id <= GP_KEYS; id++) {
            const uint8_t entry[] = {(uint8_t)id, ks->version, ks->type, ks->len};

            tb_put_tlv(out, 0xC0, tb_span(entry, sizeof entry));
        }
    tb_tlv_close(out, all);
}

/* spec: GPCS 11.3 FF21 (TS 102 226 8.2.1.7.2): number of applications, free non-volatile memory,
 * free volatile memory. The store has no bound and neither has the process: what is told is what a
 * card of this kind might have. */
static void put_resources(const struct card *card, struct tb_buf *out) {
    static const uint8_t non_volatile[] = {0x00, 0x04, 0x00, 0x00},
                         ram[] = {0x00, 0x00, 0x40, 0x00};
    size_t all = tb_tlv_open(out, 0xFF21);
    uint8_t n = 0;

    for (size_t i = 0; i < card->apps_n; i++)
        n += card_app_present(card, card->apps[i]);
    tb_put_tlv_u8(out, 0x81, n);
    tb_put_tlv(out, 0x82, tb_span(non_volatile, sizeof non_volatile));
    tb_put_tlv(out, 0x83, tb_span(ram, sizeof ram));
    tb_tlv_close(out, all);
}

static void put_counter(const struct card_app *domain, struct tb_buf *out) {
    const struct card_keyset *ks = card_keyset_find(domain, 0);
    uint64_t n = ks ? ks->counter : 0;
    const uint8_t counter[] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

    tb_put_tlv(out, 0xC1, tb_span(counter, sizeof counter));
}

static void put_applications(const struct card *card, struct tb_buf *out) {
    size_t all = tb_tlv_open(out, 0x2F00);

    for (size_t i = 0; i < card->apps_n; i++) {
        size_t one;

        if (!card_app_selectable(card, card->apps[i]))
            continue;
        one = tb_tlv_open(out, 0x61);
        tb_put_tlv(out, 0x4F, card_app_aid(card->apps[i]));
        tb_tlv_close(out, one);
    }
    tb_tlv_close(out, all);
}

/* Issuer and card identification numbers come from the ICCID: its first six digits, and all. */
static void put_number(const struct card *card, uint32_t tag, size_t digits, struct tb_buf *out) {
    const char *iccid = card->cur->id.iccid;
    size_t n = strlen(iccid) < digits ? strlen(iccid) : digits, mark = tb_tlv_open(out, tag);

    for (size_t i = 0; i < n; i += 2)
        tb_put_u8(out, (uint8_t)((unsigned)(iccid[i] - '0') << 4 |
                                 (i + 1 < n ? (unsigned)(iccid[i + 1] - '0') : 0xFU)));
    tb_tlv_close(out, mark);
}

/* Card production life cycle data: 42 bytes, none of which we have a source for. */
static void put_cplc(struct tb_buf *out) {
    size_t mark = tb_tlv_open(out, 0x9F7F);

    for (size_t i = 0; i < 42; i++)
        tb_put_u8(out, 0);
    tb_tlv_close(out, mark);
}

static bool put_data(const struct card *card, const struct cmd *cmd, struct tb_buf *out) {
    const struct card_app *domain = cmd->ch->app;
    const uint16_t tag = (uint16_t)(cmd->a.p1 << 8 | cmd->a.p2);
    const struct card_domain_data *stored = card_domain_data_find(domain, tag);

    if (stored) {
        tb_put_tlv(out, tag, tb_span(stored->v, stored->n));
        return true;
    }
    switch (tag) {
    case 0x0042:
        put_number(card, 0x42, 6, out);
        return true;
    case 0x0045:
        put_number(card, 0x45, CARD_ICCID_MAX, out);
        return true;
    case 0x004F:
        tb_put_tlv(out, 0x4F, card_app_aid(domain));
        return true;
    case 0x0066:
        put_hex(out, card_data);
        return true;
    case 0x0067:
        put_hex(out, capabilities);
        return true;
    case 0x00C1:
        put_counter(domain, out);
        return true;
    case 0x00D3:
        tb_put_tlv_u8(out, 0xD3, gp_session(cmd) ? cmd->ch->scp->level : 0);
        return true;
    case 0x00E0:
        put_key_information(domain, out);
        return true;
    case 0x00CF:
        tb_put_tlv(out, 0xCF, tb_span((const uint8_t[10]){0}, 10));
        return true;
    case 0x2F00:
        put_applications(card, out);
        return true;
    case 0x9F7F:
        put_cplc(out);
        return true;
    case 0xFF21:
        put_resources(card, out);
        return true;
    default:
        return false;
    }
}

uint16_t card_cmd_gp_get_data(struct card *card, struct cmd *cmd) {
    if (!card_out_room(cmd, ANSWER_MAX))
        return TB_SW_NO_SPACE;
    if (!put_data(card, cmd, cmd->out))
        return TB_SW_REF_NOT_FOUND;
    return tb_buf_ok(cmd->out) ? TB_SW_OK : TB_SW_UNKNOWN;
}

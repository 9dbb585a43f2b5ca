#include "os/fs_fill.h"
#include "gp/registry.h"

#include "os/fs.h"
#include "simcard/personalise.h"
#include "tb/tlv.h"

static void put_n(struct tb_buf *out, uint8_t v, size_t n) {
    uint8_t *at = tb_put_room(out, n);

    if (at)
        memset(at, v, n);
}

/* Fills up to n bytes since start; longer content cannot happen, the sizes are the limits of the
 * data. */
static void pad(struct tb_buf *out, size_t start, size_t n) {
    if (out->n - start < n)
        put_n(out, 0xFF, n - (out->n - start));
}

/* Digits as swapped nibbles, F behind an odd one. spec: TS102221 13.2 */
static void put_digits(struct tb_buf *out, const char *digits) {
    for (size_t i = 0; digits[i]; i += 2) {
        unsigned lo = (unsigned)(digits[i] - '0'),
                 hi = digits[i + 1] ? (unsigned)(digits[i + 1] - '0') : 0xF;

        tb_put_u8(out, (uint8_t)(hi << 4 | lo));
        if (!digits[i + 1])
            return;
    }
}

void fs_fill_iccid(const struct card *card, struct tb_buf *out) {
    size_t start = out->n;

    put_digits(out, card->cur->id.iccid);
    pad(out, start, 10);
}

static void put_dir_record(struct tb_buf *out, struct tb_span aid, const char *label) {
    size_t start = out->n, mark = tb_tlv_open(out, 0x61);

    tb_put_tlv(out, 0x4F, aid);
    tb_put_tlv(out, 0x50, tb_span_str(label));
    tb_tlv_close(out, mark);
    pad(out, start, 38);
}

/* spec: TS102221 13.1 one record per application that can be selected */
void fs_fill_dir(const struct card *card, struct tb_buf *out) {
    if (fs_has_usim(card))
        put_dir_record(out, tb_span(fs_usim_aid, sizeof fs_usim_aid), "USIM");
    for (size_t i = 0; i < card->apps_n; i++)
        if (card_app_listed(card, card->apps[i]))
            put_dir_record(out, card_app_aid(card->apps[i]), "IoT SAFE");
    if (out->n == 0)
        put_n(out, 0xFF, 38);
}

/* One access condition: spec: TS102221 9.5 SC_DO always, never, or a key reference. */
static void put_condition(struct tb_buf *out, uint8_t mode, enum fs_condition c) {
    uint8_t reference[] = {0x83, 0x01, c == FS_PIN1 ? CARD_PIN1 : CARD_ADM1, 0x95, 0x01, 0x08};

    tb_put_tlv_u8(out, 0x80, mode);
    if (c == FS_ALWAYS || c == FS_NEVER)
        tb_put_tlv(out, c == FS_ALWAYS ? 0x90 : 0x97, TB_SPAN_NONE);
    else
        tb_put_tlv(out, 0xA4, tb_span(reference, sizeof reference));
}

/* spec: TS102221 13.4 the rules that FCPs refer to; fs_rule() knows their order. */
void fs_fill_arr(const struct card *card, struct tb_buf *out) {
    (void)card;
    for (size_t i = 0; i < FS_RULES; i++) {
        size_t start = out->n;

        put_condition(out, 0x01, fs_rules[i].read);
        put_condition(out, 0x02, fs_rules[i].update);
        pad(out, start, 24);
    }
}

/* spec: TS31102 4.2.2 length, then parity nibble and digits */
void fs_fill_imsi(const struct card *card, struct tb_buf *out) {
    size_t start = out->n, n = strlen(card->cur->id.imsi);
    unsigned parity = n % 2 ? 9 : 1;

    tb_put_u8(out, (uint8_t)(n / 2 + 1));
    tb_put_u8(out, (uint8_t)((unsigned)(card->cur->id.imsi[0] - '0') << 4 | parity));
    put_digits(out, card->cur->id.imsi + 1);
    pad(out, start, 9);
}

/* spec: TS31102 4.2.8 SMS, SMSP, SPN, user PLMN, MSISDN, (always), OPLMN, HPLMN, PNN, OPL, EPS MM
 */
void fs_fill_ust(const struct card *card, struct tb_buf *out) {
    static const uint8_t services[] = {10, 12, 19, 20, 21, 27, 33, 42, 43, 45, 46, 85};
    uint8_t *at = tb_put_room(out, 17);

    (void)card;
    if (!at)
        return;
    memset(at, 0, 17);
    for (size_t i = 0; i < sizeof services; i++)
        at[(services[i] - 1) / 8] |= (uint8_t)(1 << (services[i] - 1) % 8);
}

/* Dialling number: length, type international E.164, digits. spec: TS31102 4.2.26 */
static void put_number(struct tb_buf *out, const char *number, size_t room) {
    size_t start = out->n;

    if (number[0]) {
        tb_put_u8(out, (uint8_t)(1 + (strlen(number) + 1) / 2));
        tb_put_u8(out, 0x91);
        put_digits(out, number);
    }
    pad(out, start, room);
}

void fs_fill_msisdn(const struct card *card, struct tb_buf *out) {
    put_n(out, 0xFF, 14);
    put_number(out, card->cur->id.msisdn, 12);
    put_n(out, 0xFF, 2);
}

/* spec: TS31102 4.2.27 indicators: only the service centre address is present */
void fs_fill_smsp(const struct card *card, struct tb_buf *out) {
    put_n(out, 0xFF, 12);
    tb_put_u8(out, card->cur->id.smsc[0] ? 0xFD : 0xFF);
    put_n(out, 0xFF, 12);
    put_number(out, card->cur->id.smsc, 12);
    put_n(out, 0xFF, 3);
}

/* spec: TS31102 4.2.12 */
void fs_fill_spn(const struct card *card, struct tb_buf *out) {
    size_t start = out->n;

    tb_put_u8(out, card->cur->id.spn[0] ? 0x01 : 0xFF);
    tb_put(out, tb_span_str(card->cur->id.spn));
    pad(out, start, 17);
}

/* MCC MNC as 3 bytes. spec: TS24008 10.5.1.13 */
static void put_hplmn(const struct card *card, struct tb_buf *out) {
    const char *s = card->cur->id.imsi;
    unsigned third = card->cur->id.mnc_digits == 3 ? (unsigned)(s[5] - '0') : 0xF;

    tb_put_u8(out, (uint8_t)((unsigned)(s[1] - '0') << 4 | (unsigned)(s[0] - '0')));
    tb_put_u8(out, (uint8_t)(third << 4 | (unsigned)(s[2] - '0')));
    tb_put_u8(out, (uint8_t)((unsigned)(s[4] - '0') << 4 | (unsigned)(s[3] - '0')));
}

static void put_no_plmns(struct tb_buf *out, size_t n) {
    for (; n > 0; n--) {
        put_n(out, 0xFF, 3);
        tb_put_be16(out, 0);
    }
}

void fs_fill_plmn_act(const struct card *card, struct tb_buf *out) {
    (void)card;
    put_no_plmns(out, 8);
}

/* spec: TS31102 4.2.54 home network, any technology */
void fs_fill_hplmn_act(const struct card *card, struct tb_buf *out) {
    put_hplmn(card, out);
    tb_put_be16(out, 0xFFFF);
    put_no_plmns(out, 7);
}

/* spec: TS31102 4.2.15 one access class of 0 to 9, by the last digit */
void fs_fill_acc(const struct card *card, struct tb_buf *out) {
    size_t n = strlen(card->cur->id.imsi);

    tb_put_be16(out, (uint16_t)(1U << (unsigned)(card->cur->id.imsi[n - 1] - '0')));
}

void fs_fill_ad(const struct card *card, struct tb_buf *out) {
    tb_put_be(out, 3, 0);
    tb_put_u8(out, card->cur->id.mnc_digits);
}

/* spec: TS31102 4.2.21 112 and 911, no alpha text, no service category */
void fs_fill_ecc(const struct card *card, struct tb_buf *out) {
    (void)card;
    tb_put(out, TB_BYTES(0x11, 0xF2, 0xFF, 0x00, 0x19, 0xF1, 0xFF, 0x00));
}

/* spec: TS31102 4.2.58 TS24008 10.5.3.5a full name, UCS2 */
void fs_fill_pnn(const struct card *card, struct tb_buf *out) {
    size_t start = out->n, mark;

    if (card->cur->id.spn[0]) {
        mark = tb_tlv_open(out, 0x43);
        tb_put_u8(out, 0x90);
        for (const char *c = card->cur->id.spn; *c; c++)
            tb_put_be16(out, (uint8_t)*c);
        tb_tlv_close(out, mark);
    }
    pad(out, start, 40);
}

/* spec: TS31102 4.2.59 every area of the home network is called by PNN record 1 */
void fs_fill_opl(const struct card *card, struct tb_buf *out) {
    put_hplmn(card, out);
    tb_put(out, TB_BYTES(0x00, 0x00, 0xFF, 0xFE, 0x01));
}

#include "tb/output_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "tb/base64.h"
#include "tb/hex.h"
#include "tb/number.h"
#include "tb/tlv.h"

const char *const tb_out_names[TB_OUT_COLUMNS + 1] = {
    "ICCID",
    "EID",
    "IMSI",
    "MSISDN",
    "APPLET_AID",
    "APPLET_VARIANT",
    "CONTAINER",
    "ROLE",
    "KIND",
    "SPKI_B64",
    "CERT_B64",
    "PSK_ID",
    "PSK_WRAPPED_B64",
    "KEK_ID",
    "KCV",
    "LABEL",
    "OTA_AID",
    "OTA_TAR",
    "OTA_KVN",
    "OTA_MSL",
    "OTA_KIC_WRAPPED_B64",
    "OTA_KID_WRAPPED_B64",
    "OTA_KIK_WRAPPED_B64",
    "OTA_KCV",
    NULL,
};

enum { ICCID_MIN = 18, ICCID_MAX = 20, PSK_ID_MAX = 128, LABEL_MAX = 64 };

int tb_out_header(const struct tb_span *fields, size_t n, struct tb_out_header *ret,
                  struct tb_error *e) {
    struct tb_out_header h = {.n = n};

    for (size_t c = 0; c < TB_OUT_COLUMNS; c++)
        h.at[c] = -1;
    for (size_t i = 0; i < n; i++) {
        size_t c = 0;

        while (c < TB_OUT_COLUMNS &&
               (strlen(tb_out_names[c]) != fields[i].n ||
                strncasecmp(tb_out_names[c], (const char *)fields[i].p, fields[i].n) != 0))
            c++;
        if (c == TB_OUT_COLUMNS) {
            if (h.unknown++ == 0)
                h.first_unknown = fields[i];
            continue;
        }
        if (h.at[c] >= 0)
            return tb_error_set(e, TB_EPARSE, NULL, 1, "column %s stands there twice",
                                tb_out_names[c]);
        h.at[c] = (int)i;
    }
    if (h.at[TB_OUT_ICCID] < 0)
        return tb_error_set(e, TB_EPARSE, NULL, 1,
                            "there is no column ICCID: the first row has to hold the names of the "
                            "columns");
    *ret = h;
    return 0;
}

/* --- one row --- */

struct check {
    const struct tb_out_header *h;
    const struct tb_span *fields;
    struct tb_out_row *row;
    struct tb_out_complaint *why;
};

__attribute__((format(printf, 3, 4))) static int wrong(struct tb_out_complaint *why,
                                                       enum tb_out_column c, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    why->column = tb_out_names[c];
    vsnprintf(why->reason, sizeof why->reason, fmt, ap);
    va_end(ap);
    return TB_EPARSE;
}

static struct tb_span value(const struct check *k, enum tb_out_column c) {
    return k->h->at[c] < 0 ? TB_SPAN_NONE : k->fields[k->h->at[c]];
}

static bool is_word(struct tb_span s, const char *word) {
    return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

static int check_numbers(const struct check *k) {
    struct tb_out_row *r = k->row;
    struct tb_span plus;

    r->iccid = value(k, TB_OUT_ICCID);
    r->eid = value(k, TB_OUT_EID);
    r->imsi = value(k, TB_OUT_IMSI);
    r->msisdn = value(k, TB_OUT_MSISDN);
    if (!tb_digits_ok(r->iccid, ICCID_MIN, ICCID_MAX))
        return wrong(k->why, TB_OUT_ICCID, "%d to %d digits are wanted", ICCID_MIN, ICCID_MAX);
    if (!tb_luhn_ok(r->iccid))
        return wrong(k->why, TB_OUT_ICCID, "the check digit of %.*s has to be %c", (int)r->iccid.n,
                     (const char *)r->iccid.p,
                     tb_luhn_digit((const char *)r->iccid.p, r->iccid.n - 1));
    if (r->eid.n && !tb_digits_ok(r->eid, 32, 32))
        return wrong(k->why, TB_OUT_EID, "32 digits are wanted");
    if (r->eid.n && !tb_eid_ok(r->eid)) {
        char check[2];

        tb_eid_digits((const char *)r->eid.p, check);
        return wrong(k->why, TB_OUT_EID, "the last two digits have to be %.2s", check);
    }
    if (r->imsi.n && !tb_digits_ok(r->imsi, 6, 15))
        return wrong(k->why, TB_OUT_IMSI, "6 to 15 digits are wanted");
    if (r->msisdn.n && r->msisdn.p[0] == '+')
        (void)tb_take(&r->msisdn, 1, &plus);
    if (r->msisdn.n && !tb_digits_ok(r->msisdn, 3, 15))
        return wrong(k->why, TB_OUT_MSISDN, "3 to 15 digits are wanted");
    return 0;
}

/* Hexadecimal of least to most bytes, or nothing. */
static bool hex_ok(struct tb_span s, size_t least, size_t most) {
    uint8_t room[64];
    struct tb_buf out = TB_BUF(room);

    return tb_hex_decode(s, &out) == 0 && out.n >= least && out.n <= most;
}

static bool container_ok(struct tb_span s) {
    const uint8_t *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    size_t n = colon ? (size_t)(colon - s.p) : s.n;

    return hex_ok(tb_span_sub(s, 0, n), 1, 20) &&
           (!colon || hex_ok(tb_span_sub(s, n + 1, s.n), 1, 20));
}

static bool text_ok(struct tb_span s, size_t most) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7F)
            return false;
    return s.n <= most;
}

static int check_place(const struct check *k) {
    struct tb_out_row *r = k->row;
    struct tb_span variant = value(k, TB_OUT_APPLET_VARIANT), role = value(k, TB_OUT_ROLE);

    r->aid_hex = value(k, TB_OUT_APPLET_AID);
    r->container = value(k, TB_OUT_CONTAINER);
    r->label = value(k, TB_OUT_LABEL);
    if (r->aid_hex.n && !hex_ok(r->aid_hex, 5, 16))
        return wrong(k->why, TB_OUT_APPLET_AID, "5 to 16 bytes in hexadecimal are wanted");
    if (variant.n && !is_word(variant, "1") && !is_word(variant, "2"))
        return wrong(k->why, TB_OUT_APPLET_VARIANT, "1 or 2 is wanted");
    r->variant = variant.n ? (unsigned)(variant.p[0] - '0') : 0;
    if (r->container.n && !container_ok(r->container))
        return wrong(k->why, TB_OUT_CONTAINER,
                     "the key's id in hexadecimal is wanted, of a certificate with its file's: "
                     "01:02");
    if (role.n && !is_word(role, "final") && !is_word(role, "bootstrap"))
        return wrong(k->why, TB_OUT_ROLE, "final or bootstrap is wanted");
    r->bootstrap = is_word(role, "bootstrap");
    if (!text_ok(r->label, LABEL_MAX))
        return wrong(k->why, TB_OUT_LABEL, "at most %d bytes without control characters",
                     LABEL_MAX);
    return 0;
}

static int decode(const struct check *k, enum tb_out_column c, uint8_t *dst, size_t cap,
                  size_t *ret_n) {
    struct tb_buf out = tb_buf(dst, cap);
    int r = tb_base64_decode(value(k, c), &out);

    if (r == TB_ERANGE)
        return wrong(k->why, c, "more than %zu bytes", cap);
    if (r < 0)
        return wrong(k->why, c, "not Base64 (RFC 4648)");
    *ret_n = out.n;
    return 0;
}

/* One element SEQUENCE, and nothing behind it. */
static bool is_sequence(struct tb_span der, struct tb_span *ret_content) {
    struct tb_tlv e;

    if (tb_tlv_next(&der, &e) != 1 || e.tag != 0x30 || der.n != 0)
        return false;
    *ret_content = e.value;
    return true;
}

int tb_cert_spki(struct tb_span cert, struct tb_span *ret) {
    struct tb_span rest, before;
    struct tb_tlv e;

    if (!is_sequence(cert, &rest) || tb_tlv_next(&rest, &e) != 1 || e.tag != 0x30)
        return TB_EPARSE;
    rest = e.value;
    /* spec: RFC 5280 4.1: version (optional), serialNumber, signature, issuer, validity, subject */
    for (int i = 0; i < 5; i++)
        if (tb_tlv_next(&rest, &e) != 1 || (i == 0 && e.tag == 0xA0 && tb_tlv_next(&rest, &e) != 1))
            return TB_EPARSE;
    before = rest;
    if (tb_tlv_next(&rest, &e) != 1 || e.tag != 0x30)
        return TB_EPARSE;
    *ret = tb_span_sub(before, 0, before.n - rest.n);
    return 0;
}

int tb_spki_of_point(const char *group, struct tb_span point, struct tb_buf *out) {
    /* spec: RFC 5480 2: id-ecPublicKey with a named curve */
    static const uint8_t p256[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
    static const uint8_t bp256[] = {0x30, 0x5A, 0x30, 0x14, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                    0xCE, 0x3D, 0x02, 0x01, 0x06, 0x09, 0x2B, 0x24, 0x03,
                                    0x03, 0x02, 0x08, 0x01, 0x01, 0x07, 0x03, 0x42, 0x00};
    bool is_p256 = strcmp(group, "P-256") == 0;

    if (!is_p256 && strcmp(group, "brainpoolP256r1") != 0)
        return TB_EUNSUP;
    if (point.n != 65 || point.p[0] != 0x04)
        return TB_EPARSE;
    tb_put(out, is_p256 ? tb_span(p256, sizeof p256) : tb_span(bp256, sizeof bp256));
    tb_put(out, point);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

static int check_x509(const struct check *k) {
    struct tb_out_row *r = k->row;
    struct tb_span content, own;

    if (value(k, TB_OUT_PSK_ID).n || value(k, TB_OUT_PSK_WRAPPED).n)
        return wrong(k->why, TB_OUT_KIND, "x509, but there is a pre-shared key in the row");
    if (decode(k, TB_OUT_SPKI, r->spki, sizeof r->spki, &r->spki_n) < 0 ||
        decode(k, TB_OUT_CERT, r->cert, sizeof r->cert, &r->cert_n) < 0)
        return TB_EPARSE;
    if (r->cert_n && tb_cert_spki(tb_span(r->cert, r->cert_n), &own) < 0)
        return wrong(k->why, TB_OUT_CERT, "not a certificate in DER form");
    if (!r->cert_n && !r->spki_n)
        return wrong(k->why, TB_OUT_SPKI, "the public key is missing (SubjectPublicKeyInfo, DER)");
    if (r->cert_n && !r->spki_n && own.n <= sizeof r->spki) {
        memcpy(r->spki, own.p, own.n);
        r->spki_n = own.n;
    }
    if (!is_sequence(tb_span(r->spki, r->spki_n), &content))
        return wrong(k->why, TB_OUT_SPKI, "not a SubjectPublicKeyInfo in DER form");
    if (r->cert_n && !tb_span_eq(own, tb_span(r->spki, r->spki_n)))
        return wrong(k->why, TB_OUT_CERT, "the certificate is for another key than SPKI_B64");
    return 0;
}

static int check_kcv(const struct check *k, enum tb_out_column c, uint8_t *dst, size_t n,
                     bool *ret_has) {
    struct tb_buf out = tb_buf(dst, n);
    struct tb_span text = value(k, c);

    *ret_has = text.n > 0;
    if (text.n && (tb_hex_decode(text, &out) < 0 || out.n != n))
        return wrong(k->why, c, "%zu bytes in hexadecimal are wanted", n);
    return 0;
}

static int check_kek(const struct check *k) {
    k->row->kek_id = value(k, TB_OUT_KEK_ID);
    if (k->row->kek_id.n == 0)
        return wrong(k->why, TB_OUT_KEK_ID, "the name of the transport key is missing");
    if (k->row->kek_id.n > TB_KEK_NAME_MAX)
        return wrong(k->why, TB_OUT_KEK_ID, "at most %d characters", TB_KEK_NAME_MAX);
    return 0;
}

static int check_wrapped(const struct check *k, enum tb_out_column c, size_t n) {
    return n < 16 || n % 8 != 0 ? wrong(k->why, c, "not a wrapped key (RFC 3394, RFC 5649)") : 0;
}

static int check_psk(const struct check *k) {
    struct tb_out_row *r = k->row;

    r->psk_id = value(k, TB_OUT_PSK_ID);
    if (value(k, TB_OUT_SPKI).n || value(k, TB_OUT_CERT).n)
        return wrong(k->why, TB_OUT_KIND, "psk, but there is a public key in the row");
    if (r->psk_id.n == 0 || !text_ok(r->psk_id, PSK_ID_MAX))
        return wrong(k->why, TB_OUT_PSK_ID, "an identity of 1 to %d bytes is wanted", PSK_ID_MAX);
    if (decode(k, TB_OUT_PSK_WRAPPED, r->psk_wrapped, sizeof r->psk_wrapped, &r->psk_wrapped_n) <
            0 ||
        check_wrapped(k, TB_OUT_PSK_WRAPPED, r->psk_wrapped_n) < 0 || check_kek(k) < 0)
        return TB_EPARSE;
    return check_kcv(k, TB_OUT_KCV, r->kcv, sizeof r->kcv, &r->has_kcv);
}

static int check_credential(const struct check *k) {
    struct tb_span kind = value(k, TB_OUT_KIND);
    bool any = value(k, TB_OUT_SPKI).n || value(k, TB_OUT_CERT).n || value(k, TB_OUT_PSK_ID).n ||
               value(k, TB_OUT_PSK_WRAPPED).n;

    if (is_word(kind, "x509")) {
        k->row->kind = TB_OUT_X509;
        return check_x509(k);
    }
    if (is_word(kind, "psk")) {
        k->row->kind = TB_OUT_PSK;
        return check_psk(k);
    }
    if (kind.n)
        return wrong(k->why, TB_OUT_KIND, "x509 or psk is wanted");
    return any ? wrong(k->why, TB_OUT_KIND, "there is a credential: say x509 or psk") : 0;
}

static int number(const struct check *k, enum tb_out_column c, unsigned least, unsigned most,
                  uint8_t *ret) {
    struct tb_span s = value(k, c);
    unsigned v = 0;

    for (size_t i = 0; i < s.n && v <= most; i++)
        v = tb_digits_ok(tb_span_sub(s, i, 1), 1, 1) ? v * 10 + (unsigned)(s.p[i] - '0') : 1000;
    if (s.n == 0 || v < least || v > most)
        return wrong(k->why, c, "a number from %u to %u is wanted", least, most);
    *ret = (uint8_t)v;
    return 0;
}

static int check_ota(const struct check *k) {
    static const enum tb_out_column keys[] = {TB_OUT_OTA_KIC, TB_OUT_OTA_KID, TB_OUT_OTA_KIK};
    struct tb_out_row *r = k->row;
    struct tb_buf tar = TB_BUF(r->ota_tar);

    r->ota_aid_hex = value(k, TB_OUT_OTA_AID);
    for (int c = TB_OUT_OTA_AID; c <= TB_OUT_OTA_KCV; c++)
        r->has_ota |= value(k, (enum tb_out_column)c).n > 0;
    if (!r->has_ota)
        return 0;
    if (!hex_ok(r->ota_aid_hex, 5, 16))
        return wrong(k->why, TB_OUT_OTA_AID,
                     "the security domain's AID is wanted, 5 to 16 bytes in hexadecimal");
    if (tb_hex_decode(value(k, TB_OUT_OTA_TAR), &tar) < 0 || tar.n != sizeof r->ota_tar)
        return wrong(k->why, TB_OUT_OTA_TAR, "3 bytes in hexadecimal are wanted");
    if (number(k, TB_OUT_OTA_KVN, 1, 15, &r->ota_kvn) < 0 ||
        (value(k, TB_OUT_OTA_MSL).n && number(k, TB_OUT_OTA_MSL, 0, 255, &r->ota_msl) < 0))
        return TB_EPARSE;
    for (size_t i = 0; i < 3; i++)
        if (decode(k, keys[i], r->ota_wrapped[i], sizeof r->ota_wrapped[i], &r->ota_wrapped_n[i]) <
                0 ||
            check_wrapped(k, keys[i], r->ota_wrapped_n[i]) < 0)
            return TB_EPARSE;
    if (check_kek(k) < 0)
        return TB_EPARSE;
    return check_kcv(k, TB_OUT_OTA_KCV, r->ota_kcv[0], sizeof r->ota_kcv, &r->has_ota_kcv);
}

int tb_out_row(const struct tb_out_header *h, const struct tb_span *fields, size_t n,
               struct tb_out_row *ret, struct tb_out_complaint *why) {
    const struct check k = {h, fields, ret, why};

    memset(ret, 0, offsetof(struct tb_out_row, spki));
    if (n != h->n) {
        why->column = "";
        snprintf(why->reason, sizeof why->reason, "%zu fields, but there are %zu columns", n, h->n);
        return TB_EPARSE;
    }
    if (check_numbers(&k) < 0 || check_place(&k) < 0 || check_credential(&k) < 0 ||
        check_ota(&k) < 0)
        return TB_EPARSE;
    return 0;
}

/* --- secrets --- */

static int unwrap_one(const struct tb_kek *kek, struct tb_span wrapped, uint8_t *dst, size_t cap,
                      size_t *ret_n, enum tb_out_column c, struct tb_out_complaint *why) {
    struct tb_buf out = tb_buf(dst, cap);
    int r = tb_kek_unwrap(kek, wrapped, &out);

    if (r == TB_ESPACE)
        return wrong(why, c, "a key of at most %zu bytes is wanted", cap);
    if (r < 0)
        return wrong(why, c, "not wrapped under the transport key '%s' that was given", kek->name);
    *ret_n = out.n;
    return 0;
}

static bool kcv_is(struct tb_span key, const uint8_t said[TB_KCV]) {
    uint8_t kcv[TB_KCV];
    bool any = false, right = false;

    for (int des = 0; des < 2; des++)
        if (tb_kcv(key, des == 1, kcv) == 0) {
            any = true;
            right |= memcmp(kcv, said, TB_KCV) == 0;
        }
    return right || !any; /* of other lengths there is none */
}

static int unwrap_all(const struct tb_out_row *row, const struct tb_kek *kek,
                      struct tb_out_secrets *ret, struct tb_out_complaint *why) {
    static const enum tb_out_column keys[] = {TB_OUT_OTA_KIC, TB_OUT_OTA_KID, TB_OUT_OTA_KIK};

    if (row->kind == TB_OUT_PSK) {
        if (unwrap_one(kek, tb_span(row->psk_wrapped, row->psk_wrapped_n), ret->psk,
                       sizeof ret->psk, &ret->psk_n, TB_OUT_PSK_WRAPPED, why) < 0)
            return TB_EPARSE;
        if (row->has_kcv && !kcv_is(tb_span(ret->psk, ret->psk_n), row->kcv))
            return wrong(why, TB_OUT_KCV, "the check value is another key's");
    }
    for (size_t i = 0; row->has_ota && i < 3; i++) {
        if (unwrap_one(kek, tb_span(row->ota_wrapped[i], row->ota_wrapped_n[i]), ret->ota[i],
                       sizeof ret->ota[i], &ret->ota_n[i], keys[i], why) < 0)
            return TB_EPARSE;
        if (row->has_ota_kcv && !kcv_is(tb_span(ret->ota[i], ret->ota_n[i]), row->ota_kcv[i]))
            return wrong(why, TB_OUT_OTA_KCV, "the check value of key %zu is another key's", i + 1);
    }
    return 0;
}

int tb_out_unwrap(const struct tb_out_row *row, const struct tb_kek *kek,
                  struct tb_out_secrets *ret, struct tb_out_complaint *why) {
    struct tb_out_secrets got = {.psk_n = 0};
    int r;

    if ((row->kind == TB_OUT_PSK || row->has_ota) &&
        !tb_span_eq(row->kek_id, tb_span_str(kek->name)))
        return TB_ENOTFOUND;
    r = unwrap_all(row, kek, &got, why);
    if (r == 0)
        *ret = got;
    tb_wipe(&got, sizeof got);
    return r;
}

#include "ref.h"

#include <ctype.h>

#include "tb/hex.h"
#include "tb/tlv.h"

enum { DER_INTEGER = 0x02, DER_OCTETS = 0x04, DER_UTF8 = 0x0C, DER_SEQUENCE = 0x30 };

/* The part of *in before the first sep, which is taken off as well; all of it when there is none.
 */
static struct tb_span take_until(struct tb_span *in, char sep) {
    struct tb_span head = *in;

    for (size_t i = 0; i < in->n; i++) {
        if (in->p[i] == (uint8_t)sep) {
            head = tb_span_sub(*in, 0, i);
            *in = tb_span_sub(*in, i + 1, in->n);
            return head;
        }
    }
    *in = TB_SPAN_NONE;
    return head;
}

static bool unescape(struct tb_span text, struct tb_buf *out) {
    struct tb_span hex;
    uint8_t c;

    while (tb_take_u8(&text, &c)) {
        if (c != '%') {
            tb_put_u8(out, c);
        } else if (!tb_take(&text, 2, &hex) || tb_hex_decode(hex, out) < 0) {
            return false;
        }
    }
    return tb_buf_ok(out);
}

static const char *set_attribute(struct isp_uri *uri, struct tb_span name, struct tb_span value) {
    struct tb_buf id = TB_BUF(uri->ref.id), label = TB_BUF(uri->ref.label);
    struct tb_buf reader = tb_buf(uri->reader, sizeof uri->reader - 1);

    if (tb_span_eq(name, tb_span_str("id"))) {
        if (uri->has_ref)
            return "id and label given together, or twice";
        if (tb_hex_decode(value, &id) < 0 || id.n == 0)
            return "id is not 1 to 20 bytes in hex";
        uri->ref.id_len = (uint8_t)id.n;
        uri->has_ref = true;
    } else if (tb_span_eq(name, tb_span_str("label"))) {
        if (uri->has_ref)
            return "id and label given together, or twice";
        if (!unescape(value, &label) || label.n == 0)
            return "label is not 1 to 60 bytes of percent-encoded text";
        uri->ref.label_len = (uint8_t)label.n;
        uri->has_ref = true;
    } else if (tb_span_eq(name, tb_span_str("type"))) {
        if (tb_span_eq(value, tb_span_str("key")))
            uri->type = ISP_KEY;
        else if (tb_span_eq(value, tb_span_str("public")))
            uri->type = ISP_PUBLIC;
        else if (tb_span_eq(value, tb_span_str("cert")))
            uri->type = ISP_CERT;
        else
            return "type is none of key, public, cert";
    } else if (tb_span_eq(name, tb_span_str("reader"))) {
        if (!unescape(value, &reader) || reader.n == 0 || memchr(uri->reader, 0, reader.n))
            return "reader is not 1 to 63 bytes of percent-encoded text";
    } else {
        return "unknown attribute (known: id, label, type, reader)";
    }
    return NULL;
}

int isp_uri_parse(struct tb_span text, struct isp_uri *ret, const char **ret_why) {
    const struct tb_span scheme = tb_span_str(ISP_SCHEME);
    struct isp_uri uri = {0};

    if (!tb_span_starts(text, scheme) || text.n > ISP_URI_MAX) {
        *ret_why = "not an iotsafe: URI";
        return TB_EPARSE;
    }
    text = tb_span_sub(text, scheme.n, text.n);
    while (text.n) {
        struct tb_span value = take_until(&text, ';');
        struct tb_span name = take_until(&value, '=');
        const char *why = set_attribute(&uri, name, value);

        if (why) {
            *ret_why = why;
            return TB_EPARSE;
        }
    }
    *ret = uri;
    return 0;
}

static void put_escaped(struct tb_buf *out, struct tb_span text) {
    for (size_t i = 0; i < text.n; i++) {
        if (isalnum(text.p[i]) || (text.p[i] && strchr("-._~", text.p[i]))) {
            tb_put_u8(out, text.p[i]);
        } else {
            tb_put_u8(out, '%');
            tb_put_hex(out, tb_span_sub(text, i, 1), TB_HEX_UPPER);
        }
    }
}

static void put_attribute(struct tb_buf *out, bool *any, const char *name) {
    if (*any)
        tb_put_u8(out, ';');
    *any = true;
    tb_put(out, tb_span_str(name));
}

void isp_uri_put(struct tb_buf *out, const struct isp_uri *uri) {
    static const char *const types[] = {"", "type=key", "type=public", "type=cert"};
    bool any = false;

    tb_put(out, tb_span_str(ISP_SCHEME));
    if (uri->has_ref && uri->ref.id_len) {
        put_attribute(out, &any, "id=");
        tb_put_hex(out, tb_span(uri->ref.id, uri->ref.id_len), TB_HEX_LOWER);
    } else if (uri->has_ref) {
        put_attribute(out, &any, "label=");
        put_escaped(out, tb_span(uri->ref.label, uri->ref.label_len));
    }
    if (uri->type != ISP_ANY)
        put_attribute(out, &any, types[uri->type]);
    if (uri->reader[0]) {
        put_attribute(out, &any, "reader=");
        put_escaped(out, tb_span_str(uri->reader));
    }
}

int isp_reference_parse(struct tb_span der, struct tb_span *ret_uri, struct tb_span *ret_spki) {
    struct tb_span spki = TB_SPAN_NONE;
    struct tb_tlv seq, version, uri, e;
    int more;

    if (tb_tlv_next(&der, &seq) != 1 || seq.tag != DER_SEQUENCE || der.n)
        return TB_EPARSE;
    if (tb_tlv_next(&seq.value, &version) != 1 || version.tag != DER_INTEGER ||
        !tb_span_eq(version.value, TB_BYTES(1)))
        return TB_EPARSE;
    if (tb_tlv_next(&seq.value, &uri) != 1 || uri.tag != DER_UTF8 ||
        !tb_span_starts(uri.value, tb_span_str(ISP_SCHEME)))
        return TB_EPARSE;
    more = tb_tlv_next(&seq.value, &e);
    if (more < 0 || (more == 1 && (e.tag != DER_OCTETS || e.value.n == 0 || seq.value.n)))
        return TB_EPARSE;
    if (more == 1)
        spki = e.value;
    *ret_uri = uri.value;
    *ret_spki = spki;
    return 0;
}

void isp_reference_put(struct tb_buf *out, struct tb_span uri, struct tb_span spki) {
    size_t seq = tb_tlv_open(out, DER_SEQUENCE);

    tb_put_tlv_u8(out, DER_INTEGER, 1);
    tb_put_tlv(out, DER_UTF8, uri);
    if (spki.n)
        tb_put_tlv(out, DER_OCTETS, spki);
    tb_tlv_close(out, seq);
}

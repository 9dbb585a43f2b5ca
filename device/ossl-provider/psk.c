/* Handles of pre-shared keys: text that stands where a program has the key itself. */
#include <stdio.h>
#include <string.h>

#include "provider.h"

bool isp_is_psk_handle(struct tb_span secret) {
    return tb_span_starts(secret, tb_span_str(ISP_PSK_MAGIC));
}

/* What follows the magic is an identifier in hex or the attributes of an iotsafe: URI. */
bool isp_psk_parse(struct isp_provider *prov, struct tb_span secret, struct isp_uri *ret) {
    struct tb_span rest = tb_span_sub(secret, strlen(ISP_PSK_MAGIC), secret.n);
    uint8_t room[ISP_URI_MAX + 16];
    struct tb_buf text = TB_BUF(room);
    const char *why = "it names no key";
    struct isp_uri uri;
    size_t first = 0;

    while (first < rest.n && rest.p[first] != '=' && rest.p[first] != ';')
        first++;
    tb_put(&text, tb_span_str(ISP_SCHEME));
    if (first == rest.n || rest.p[first] == ';')
        tb_put(&text, tb_span_str("id="));
    tb_put(&text, rest);
    if (!tb_buf_ok(&text)) {
        why = "it is too long";
    } else if (isp_uri_parse(tb_buf_span(&text), &uri, &why) == 0) {
        if (uri.has_ref && uri.type == ISP_ANY) {
            *ret = uri;
            return true;
        }
        why = uri.has_ref ? "type= has no place in it" : "it names no key";
    }
    isp_raise(prov, ISP_R_PSK, "bad handle " ISP_PSK_MAGIC "…: %s", why);
    return false;
}

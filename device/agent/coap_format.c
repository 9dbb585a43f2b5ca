#include "coap_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    unsigned number;
    const char *name;
} formats[] = {
    {0, "text/plain"},
    {40, "application/link-format"},
    {41, "application/xml"},
    {42, "application/octet-stream"},
    {47, "application/exi"},
    {50, "application/json"},
    {60, "application/cbor"},
    {61, "application/cwt"},
    {110, "application/senml+json"},
    {112, "application/senml+cbor"},
    {281, "application/pkcs7-mime; smime-type=certs-only"},
    {285, "application/csrattrs"},
    {286, "application/pkcs10"},
    {287, "application/pkix-cert"},
};

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"};

int dev_coap_format(const char *media_type, struct tb_error *e) {
    unsigned long n;
    char *end;

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, media_type) == 0)
            return (int)formats[i].number;
    if (strcmp(media_type, "text/plain; charset=utf-8") == 0)
        return 0;
    n = strtoul(media_type, &end, 10);
    if (*media_type >= '0' && *media_type <= '9' && !*end && n <= 65535)
        return (int)n;
    return tb_error_set(e, TB_EPARSE, NULL, 0,
                        "CoAP has no content format for \"%.60s\" here; its number (IANA) will do",
                        media_type);
}

const char *dev_coap_media_type(unsigned format, char *dst, size_t cap) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].number == format)
            return formats[i].name;
    snprintf(dst, cap, "%u", format);
    return dst;
}

int dev_coap_method(const char *name, struct tb_error *e) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i], name) == 0)
            return (int)i + 1;
    return tb_error_set(e, TB_EPARSE, NULL, 0,
                        "CoAP's methods are GET, POST, PUT, DELETE, FETCH, PATCH and iPATCH, not "
                        "\"%.20s\"",
                        name);
}

const char *dev_coap_code(unsigned code, char *dst, size_t cap) {
    snprintf(dst, cap, "%u.%02u", code >> 5, code & 0x1F);
    return dst;
}

/* Names of certificates as a person reads them. */
#include <arpa/inet.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <string.h>

#include "channel_mbedtls.h"

enum { NAMES_MAX = 16 };

/* The library prints a name in the order of the certificate; RFC 2253 wants the last part first. */
void dev_mbedtls_subject(const mbedtls_x509_crt *cert, char *dst, size_t cap) {
    const mbedtls_x509_name *parts[NAMES_MAX];
    size_t n = 0, at = 0;

    *dst = 0;
    for (const mbedtls_x509_name *p = &cert->subject; p && n < NAMES_MAX; p = p->next)
        parts[n++] = p;
    while (n-- > 0 && at + 1 < cap) {
        mbedtls_x509_name one = *parts[n];
        char text[256];

        one.next = NULL;
        if (mbedtls_x509_dn_gets(text, sizeof text, &one) <= 0)
            continue;
        at += (size_t)snprintf(dst + at, cap - at, "%s%s", at ? "," : "", text);
    }
}

static bool is_address(const mbedtls_x509_buf *der, const unsigned char *address, size_t n) {
    mbedtls_x509_subject_alternative_name san;
    bool yes;

    if (mbedtls_x509_parse_subject_alt_name(der, &san) != 0)
        return false;
    yes = san.type == MBEDTLS_X509_SAN_IP_ADDRESS && san.san.unstructured_name.len == n &&
          memcmp(san.san.unstructured_name.p, address, n) == 0;
    mbedtls_x509_free_subject_alt_name(&san);
    return yes;
}

bool dev_mbedtls_is_for_address(const mbedtls_x509_crt *cert, const char *address) {
    unsigned char bytes[16];
    size_t n = inet_pton(AF_INET, address, bytes) == 1    ? 4
               : inet_pton(AF_INET6, address, bytes) == 1 ? 16
                                                          : 0;

    for (const mbedtls_x509_sequence *s = &cert->subject_alt_names; n && s; s = s->next) {
        if (s->buf.p && is_address(&s->buf, bytes, n))
            return true;
    }
    return false;
}

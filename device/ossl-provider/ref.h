#pragma once
/* How a key on the card is named: the "iotsafe:" URI, and the body of the PEM block IOTSAFE KEY
 * REFERENCE.
 *
 *   iotsafe:id=01                        identifier in hex, 1..20 bytes
 *   iotsafe:label=My%20key;type=key      label, percent-encoded (RFC 3986 2.1), and an object type
 *   iotsafe:                             everything on the card (only as a store)
 *
 * The PEM body is DER: SEQUENCE { version INTEGER (1), uri UTF8String, spki OCTET STRING OPTIONAL
 * }. With the SubjectPublicKeyInfo in it a program loads the key without a word to the card. */
#include <stdbool.h>

#include "iotsafe/iotsafe.h"
#include "tb/error.h"
#include "tb/span.h"

#define ISP_SCHEME    "iotsafe:"
#define ISP_PEM_LABEL "IOTSAFE KEY REFERENCE"

enum { ISP_URI_MAX = 512, ISP_SPKI_MAX = 512, ISP_REFERENCE_MAX = 1280, ISP_READER_MAX = 64 };

enum isp_type { ISP_ANY, ISP_KEY, ISP_PUBLIC, ISP_CERT };

struct isp_uri {
    bool has_ref; /* false: every object */
    struct iotsafe_ref ref;
    enum isp_type type;
    char reader[ISP_READER_MAX]; /* which card, for programs with several; "" for the only one */
};

/* TB_EPARSE with *ret_why (static text) telling what is wrong. */
int isp_uri_parse(struct tb_span text, struct isp_uri *ret, const char **ret_why) TB_CHECKED;

/* Appends the URI, without NUL. */
void isp_uri_put(struct tb_buf *out, const struct isp_uri *uri);

/* Takes a reference apart: exactly this structure, strict DER, nothing behind it. ret_spki is empty
 * when there is none. TB_EPARSE otherwise. */
int isp_reference_parse(struct tb_span der, struct tb_span *ret_uri,
                        struct tb_span *ret_spki) TB_CHECKED;

/* Appends a reference; spki.n == 0 leaves the public key out. */
void isp_reference_put(struct tb_buf *out, struct tb_span uri, struct tb_span spki);

#pragma once
/* Certificates as texts of a JSON report. All return new references. */
#include <jansson.h>
#include <openssl/x509.h>

#include "tb/span.h"

json_t *card_json_hex(struct tb_span bytes); /* lower case */
json_t *
card_json_upper_hex(struct tb_span bytes); /* upper case: ids, AIDs, ATR as people write them */
json_t *card_json_pem(X509 *cert);
json_t *card_json_subject(X509 *cert);     /* RFC 2253 text */
json_t *card_json_not_after(X509 *cert);   /* 2035-01-31T23:59:59Z */
json_t *card_json_fingerprint(X509 *cert); /* SHA-256 of the DER, lower-case hex; NULL on failure */

/* The certificate that bytes hold in DER (zero padding behind it is fine) or PEM form, or NULL. */
X509 *card_certificate_in(struct tb_span bytes);

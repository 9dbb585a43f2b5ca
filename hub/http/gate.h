#pragma once
/* What the library lets through although the framing of the request is not beyond doubt: RFC 9112
 * 3.2 (one Host), 5.1 (names without blanks), 6.1 and 6.3 (Transfer-Encoding and Content-Length).
 * Who reads such a request otherwise than we do would see other requests. */
#include <microhttpd.h>
#include <stdbool.h>

/* NULL: fine. Else a line that says what is wrong, for an answer 400. version: "HTTP/1.1". */
const char *http_gate(struct MHD_Connection *c, const char *version);

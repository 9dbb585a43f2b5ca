#include "http/gate.h"

#include <string.h>
#include <strings.h>

struct seen {
    unsigned hosts, lengths, codings;
    bool chunked, misnamed;
};

/* RFC 9110 5.6.2. Who ignores the blank in "Content-Length : 5" sees a body where we see none. */
static bool is_token(const char *name, size_t n) {
    return n > 0 && strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == n;
}

static enum MHD_Result look(void *user, enum MHD_ValueKind kind, const char *key, size_t key_n,
                            const char *value, size_t value_n) {
    struct seen *s = user;

    (void)kind, (void)value_n;
    s->misnamed |= !is_token(key, key_n);
    s->hosts += strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0;
    s->lengths += strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        s->codings++;
        s->chunked = value && strcasecmp(value, "chunked") == 0;
    }
    return MHD_YES;
}

const char *http_gate(struct MHD_Connection *c, const char *version) {
    const bool is_11 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    struct seen s = {0};

    MHD_get_connection_values_n(c, MHD_HEADER_KIND, look, &s);
    if (s.misnamed)
        return "a header's name is no token\n";
    if (s.hosts > 1 || (is_11 && s.hosts == 0))
        return "one Host is wanted\n";
    if (s.lengths > 1)
        return "one Content-Length is wanted\n";
    if (s.codings == 0)
        return NULL;
    if (s.lengths > 0)
        return "either Content-Length or Transfer-Encoding is wanted\n";
    if (s.codings > 1 || !s.chunked)
        return "chunked is the only Transfer-Encoding\n";
    return is_11 ? NULL : "Transfer-Encoding came with HTTP/1.1\n";
}

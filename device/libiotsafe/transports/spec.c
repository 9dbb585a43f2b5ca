/* Which transport a text means. */
#include <string.h>

#include "transports.h"

static const char *after(const char *spec, const char *prefix) {
    size_t n = strlen(prefix);

    return strncmp(spec, prefix, n) == 0 ? spec + n : NULL;
}

static int open_spec(const char *spec, struct iotsafe_transport **ret, char *err, size_t err_cap) {
    const char *rest;

    if ((rest = after(spec, "at:")))
        return transport_at(rest, IOTSAFE_AT_CSIM, ret, err, err_cap);
    if ((rest = after(spec, "cgla:")))
        return transport_at(rest, IOTSAFE_AT_CGLA, ret, err, err_cap);
    if ((rest = after(spec, "pcsc:")))
        return transport_pcsc(rest, ret, err, err_cap);
    if ((rest = after(spec, "vpcd:")))
        return transport_vpcd(rest, false, ret, err, err_cap);
    if ((rest = after(spec, "vpcd-listen:")))
        return transport_vpcd(rest, true, ret, err, err_cap);
    snprintf(err, err_cap,
             "'%s': a transport begins with at: cgla: pcsc: vpcd: or vpcd-listen:", spec);
    return IOTSAFE_E_ARGUMENT;
}

int iotsafe_transport_open(const char *spec, struct iotsafe_transport **ret, char *err,
                           size_t err_cap) {
    char unused[1];
    int r;

    if (!err || err_cap == 0) {
        err = unused;
        err_cap = sizeof unused;
    }
    err[0] = 0;
    r = open_spec(spec, ret, err, err_cap);
    if (r < 0 && !err[0])
        snprintf(err, err_cap, "%s", iotsafe_strerror(r));
    return r;
}

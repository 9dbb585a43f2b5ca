#include "tb/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct text {
    int err;
    const char *text;
};

static const struct text texts[] = {
    {TB_EPARSE, "malformed input"},
    {TB_EMORE, "input ends too early"},
    {TB_ESPACE, "output buffer too small"},
    {TB_ERANGE, "value out of range"},
    {TB_ENOTFOUND, "not found"},
    {TB_EPROTO, "the peer broke the protocol"},
    {TB_ETIMEOUT, "deadline passed"},
    {TB_ECLOSED, "connection closed"},
    {TB_ECRYPTO, "cryptographic operation failed"},
    {TB_ESTORE, "persistent storage failed"},
    {TB_ECARD, "the card answered with an error"},
    {TB_ENOMEM, "out of memory"},
    {TB_EUNSUP, "not supported"},
    {TB_ESTATE, "not possible in this state"},
    /* libuv codes that are no errno; the numbers are part of its ABI. */
    {-4095, "end of file"},
    {-4094, "unknown error"},
    {-4080, "invalid Unicode character"},
    {-4028, "inappropriate file type or format"},
    {-3000, "address family not supported"},
    {-3001, "temporary failure of name resolution"},
    {-3002, "bad address lookup flags"},
    {-3003, "address lookup canceled"},
    {-3004, "permanent failure of name resolution"},
    {-3005, "address family not supported by the lookup"},
    {-3006, "out of memory in address lookup"},
    {-3007, "host has no address"},
    {-3008, "unknown node or service"},
    {-3009, "argument buffer overflow in address lookup"},
    {-3010, "service not available for this socket type"},
    {-3011, "socket type not supported by the lookup"},
    {-3013, "bad hints for address lookup"},
    {-3014, "resolved protocol is unknown"},
};

const char *tb_strerror(int err) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].err == err)
            return texts[i].text;
    if (err >= 0)
        return "success";
    if (err < -4095)
        return "unknown error";
    return strerror(-err);
}

int tb_error_set(struct tb_error *e, int code, const char *file, int line, const char *fmt, ...) {
    va_list ap;

    if (!e)
        return code;
    snprintf(e->file, sizeof e->file, "%s", file ? file : "");
    e->line = line;
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    return code;
}

#include "matrix.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *values[8];
} axes[BENCH_AXES] = {
    {"stack", {"openssl", "mbedtls", "module"}},
    {"version", {"1.3", "1.2", "dtls1.2"}},
    {"credential", {"cert", "psk", "ecdhe-psk"}},
    {"transport", {"software", "memory", "vpcd", "csim", "cgla", "pcsc"}},
    {"offload", {"none", "sign", "full"}},
};

static const char *const stack_labels[] = {"OpenSSL", "Mbed TLS", "OpenSSL, provider as a module"};
static const char *const version_labels[] = {"TLS 1.3", "TLS 1.2", "DTLS 1.2"};
static const char *const credential_labels[] = {"certificate", "PSK", "ECDHE-PSK"};
static const char *const transport_labels[] = {"software key", "in memory", "vpcd",
                                               "AT+CSIM",      "AT+CGLA",   "PC/SC"};
static const char *const offload_labels[] = {"", ", key in the card", ", full offload"};

static unsigned value_of(const struct bench_case *c, unsigned axis) {
    const unsigned values[BENCH_AXES] = {c->stack, c->version, c->credential, c->transport,
                                         c->offload};

    return values[axis];
}

const char *bench_axis_name(unsigned axis) {
    return axes[axis].name;
}

const char *bench_axis_value(const struct bench_case *c, unsigned axis) {
    return axes[axis].values[value_of(c, axis)];
}

const char *bench_group_label(const struct bench_case *c, char *dst, size_t cap) {
    snprintf(dst, cap, "%s, %s, %s", stack_labels[c->stack], version_labels[c->version],
             credential_labels[c->credential]);
    return dst;
}

const char *bench_case_label(const struct bench_case *c, char *dst, size_t cap) {
    snprintf(dst, cap, "%s%s", transport_labels[c->transport], offload_labels[c->offload]);
    return dst;
}

const char *bench_case_impossible(const struct bench_case *c) {
    if ((c->transport == TRANSPORT_SOFTWARE) != (c->offload == OFFLOAD_NONE))
        return "a software key has no card, and a card has at least the key";
    if (c->credential == CREDENTIAL_PSK && c->offload == OFFLOAD_FULL)
        return "a plain pre-shared key has no key exchange and no signature to offload";
    if (c->stack == STACK_OPENSSL && c->version == VERSION_TLS13 && c->credential == CREDENTIAL_PSK)
        return "OpenSSL offers TLS 1.3 psk_ke only together with psk_dhe_ke";
    if (c->stack == STACK_MODULE && c->version == VERSION_DTLS12)
        return "the module's client speaks TLS; DTLS is the same provider, linked in";
    if (c->stack == STACK_MODULE && c->credential != CREDENTIAL_CERT)
        return "the module's client has certificates; a PSK is the same provider, linked in";
    if (c->stack == STACK_MODULE && c->transport == TRANSPORT_MEMORY)
        return "a module's card is another process";
    return NULL;
}

/* ---- what is wanted ---- */

static int take_value(struct bench_wanted *w, unsigned axis, const char *text, size_t n,
                      struct tb_error *e) {
    for (unsigned i = 0; axes[axis].values[i]; i++)
        if (strlen(axes[axis].values[i]) == n && memcmp(axes[axis].values[i], text, n) == 0) {
            w->values[axis] |= 1U << i;
            return 0;
        }
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s has no value '%.*s'", axes[axis].name, (int)n,
                        text);
}

/* name=value|value */
static int take_axis(struct bench_wanted *w, const char *text, size_t n, struct tb_error *e) {
    size_t name = 0, at, length;
    unsigned axis;
    int r = 0;

    while (name < n && text[name] != '=')
        name++;
    for (axis = 0; axis < BENCH_AXES; axis++)
        if (strlen(axes[axis].name) == name && memcmp(axes[axis].name, text, name) == 0)
            break;
    if (axis == BENCH_AXES || name == n)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "'%.*s' is not AXIS=VALUE; axes are stack, version, credential, "
                            "transport, offload",
                            (int)n, text);
    for (at = name + 1; r == 0 && at <= n; at += length + 1) {
        length = 0;
        while (at + length < n && text[at + length] != '|')
            length++;
        r = take_value(w, axis, text + at, length, e);
    }
    return r;
}

int bench_wanted_parse(struct bench_wanted *w, const char *text, struct tb_error *e) {
    struct bench_wanted made = {.everything = true};
    int r = 0;

    while (r == 0) {
        size_t n = strcspn(text, ",");

        r = take_axis(&made, text, n, e);
        text += n;
        if (*text++ == 0)
            break;
    }
    if (r == 0)
        *w = made;
    return r;
}

/* What tells most in a minute: each stack's certificate handshakes over the modem, and one line
 * each of what else there is. */
static bool in_default(const struct bench_case *c) {
    if (c->stack == STACK_MODULE)
        return c->version == VERSION_TLS13 &&
               (c->transport == TRANSPORT_VPCD || c->transport == TRANSPORT_CSIM) &&
               c->offload == OFFLOAD_SIGN;
    if (c->credential != CREDENTIAL_CERT)
        return c->transport == TRANSPORT_CSIM && c->offload == OFFLOAD_SIGN &&
               ((c->credential == CREDENTIAL_PSK && c->version == VERSION_DTLS12) ||
                (c->credential == CREDENTIAL_ECDHE_PSK && c->version == VERSION_TLS13));
    if (c->version == VERSION_TLS13 && c->stack == STACK_OPENSSL && c->offload == OFFLOAD_SIGN)
        return c->transport == TRANSPORT_VPCD || c->transport == TRANSPORT_CSIM;
    return c->version != VERSION_DTLS12 && c->transport == TRANSPORT_CSIM;
}

static bool selected(const struct bench_wanted *w, const struct bench_case *c) {
    if (bench_case_impossible(c))
        return false;
    if (!w->everything)
        return in_default(c);
    for (unsigned i = 0; i < BENCH_AXES; i++)
        if (w->values[i] && !(w->values[i] & 1U << value_of(c, i)))
            return false;
    return true;
}

bool bench_case_wanted(const struct bench_wanted *w, const struct bench_case *c) {
    struct bench_case other = *c;

    if (c->transport != TRANSPORT_SOFTWARE)
        return selected(w, c);
    if (c->offload != OFFLOAD_NONE)
        return false;
    if (selected(w, c))
        return true;
    for (unsigned t = TRANSPORT_SOFTWARE + 1; t < N_TRANSPORTS; t++)
        for (unsigned o = OFFLOAD_SIGN; o < N_OFFLOADS; o++) {
            other.transport = (enum bench_transport)t;
            other.offload = (enum bench_offload)o;
            if (selected(w, &other))
                return true;
        }
    return false;
}

/* PC/SC, loaded on demand: the library and what is built with it run where no libpcsclite is
 * installed. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <winscard.h>

#include "transports.h"

enum { READERS_MAX = 2048, NAME_MAX_LEN = 256 };

struct pcsc {
    struct iotsafe_transport base;
    void *lib;
    LONG (*establish)(DWORD, LPCVOID, LPCVOID, LPSCARDCONTEXT);
    LONG (*release)(SCARDCONTEXT);
    LONG (*list)(SCARDCONTEXT, LPCSTR, LPSTR, LPDWORD);
    LONG (*connect)(SCARDCONTEXT, LPCSTR, DWORD, DWORD, LPSCARDHANDLE, LPDWORD);
    LONG (*reconnect)(SCARDHANDLE, DWORD, DWORD, DWORD, LPDWORD);
    LONG (*status)(SCARDHANDLE, LPSTR, LPDWORD, LPDWORD, LPDWORD, LPBYTE, LPDWORD);
    LONG (*disconnect)(SCARDHANDLE, DWORD);
    LONG (*begin)(SCARDHANDLE);
    LONG (*end)(SCARDHANDLE, DWORD);
    LONG(*transmit)
    (SCARDHANDLE, const SCARD_IO_REQUEST *, LPCBYTE, DWORD, SCARD_IO_REQUEST *, LPBYTE, LPDWORD);
    SCARDCONTEXT context;
    SCARDHANDLE card;
    bool have_context, have_card, used;
    DWORD protocol;
    char wanted[NAME_MAX_LEN]; /* part of the reader's name; empty: any with a card */
    char why[160];
};

static struct pcsc *pcsc_of(struct iotsafe_transport *t) {
    return (struct pcsc *)(void *)t;
}

/* ---- the library ---- */

static bool symbol(struct pcsc *p, const char *name, void *fn, size_t size) {
    void *s = dlsym(p->lib, name);

    memcpy(fn, &s, size); /* ISO C has no conversion from object to function pointer */
    return s != NULL;
}

#define SYMBOL(field, name) symbol(p, name, &p->field, sizeof p->field)

static int load(struct pcsc *p) {
    p->lib = dlopen("libpcsclite.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!p->lib) {
        snprintf(p->why, sizeof p->why, "libpcsclite.so.1 is not installed");
        return IOTSAFE_E_UNSUPPORTED;
    }
    if (SYMBOL(establish, "SCardEstablishContext") && SYMBOL(release, "SCardReleaseContext") &&
        SYMBOL(list, "SCardListReaders") && SYMBOL(connect, "SCardConnect") &&
        SYMBOL(reconnect, "SCardReconnect") && SYMBOL(disconnect, "SCardDisconnect") &&
        SYMBOL(status, "SCardStatus") && SYMBOL(begin, "SCardBeginTransaction") &&
        SYMBOL(end, "SCardEndTransaction") && SYMBOL(transmit, "SCardTransmit"))
        return 0;
    snprintf(p->why, sizeof p->why, "libpcsclite.so.1 lacks functions");
    return IOTSAFE_E_UNSUPPORTED;
}

/* ---- card and reader ---- */

static void drop(struct pcsc *p) {
    if (p->have_card)
        (void)p->disconnect(p->card, SCARD_LEAVE_CARD);
    if (p->have_context)
        (void)p->release(p->context);
    p->have_card = p->have_context = false;
}

static void set_protocol(struct pcsc *p, DWORD protocol) {
    p->protocol = protocol;
    p->base.flags = protocol == SCARD_PROTOCOL_T1 ? IOTSAFE_TRANSPORT_LE : 0U;
}

static int connect_reader(struct pcsc *p, const char *name) {
    DWORD protocol;
    LONG r = p->connect(p->context, name, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1,
                        &p->card, &protocol);

    if (r != SCARD_S_SUCCESS)
        return IOTSAFE_E_ABSENT;
    p->have_card = true;
    set_protocol(p, protocol);
    return 0;
}

static int connect_any(struct pcsc *p) {
    char readers[READERS_MAX];
    DWORD n = sizeof readers;
    bool seen = false;
    LONG r;

    r = p->establish(SCARD_SCOPE_SYSTEM, NULL, NULL, &p->context);
    if (r != SCARD_S_SUCCESS) {
        snprintf(p->why, sizeof p->why, "pcscd does not answer (%08lX)", (unsigned long)r);
        return IOTSAFE_E_LINK;
    }
    p->have_context = true;
    if (p->list(p->context, NULL, readers, &n) != SCARD_S_SUCCESS)
        n = 0;
    for (const char *name = readers; n > 1 && name < readers + n && *name;
         name += strlen(name) + 1) {
        if (!strstr(name, p->wanted))
            continue;
        seen = true;
        if (connect_reader(p, name) == 0)
            return 0;
    }
    snprintf(p->why, sizeof p->why, seen ? "no card in the reader%.0s" : "no reader '%.100s'",
             p->wanted);
    drop(p);
    return IOTSAFE_E_ABSENT;
}

/* After another process has reset the card. It stays as that one left it, else two clients would go
 * on resetting each other's card; but one that was left without power gets it again. */
static bool reconnect_after_reset(struct pcsc *p) {
    const DWORD any = SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1;
    DWORD protocol, state = 0;

    if (p->reconnect(p->card, SCARD_SHARE_SHARED, any, SCARD_LEAVE_CARD, &protocol) !=
        SCARD_S_SUCCESS)
        return false;
    if (p->status(p->card, NULL, NULL, &state, &protocol, NULL, NULL) != SCARD_S_SUCCESS ||
        !(state & SCARD_POWERED)) {
        if (p->reconnect(p->card, SCARD_SHARE_SHARED, any, SCARD_RESET_CARD, &protocol) !=
            SCARD_S_SUCCESS)
            return false;
    }
    set_protocol(p, protocol);
    return true;
}

/* What a failure means for the connection. */
static int failed(struct pcsc *p, LONG r) {
    switch ((unsigned long)r) {
    case (unsigned long)SCARD_W_RESET_CARD: /* by another process: its channels and ours are gone */
        if (reconnect_after_reset(p))
            return IOTSAFE_E_RESET;
        drop(p);
        return IOTSAFE_E_LINK;
    case (unsigned long)SCARD_W_REMOVED_CARD:
    case (unsigned long)SCARD_E_NO_SMARTCARD:
    case (unsigned long)SCARD_E_READER_UNAVAILABLE:
    case (unsigned long)SCARD_W_UNPOWERED_CARD:
    case (unsigned long)SCARD_W_UNRESPONSIVE_CARD:
        drop(p);
        return IOTSAFE_E_ABSENT;
    case (unsigned long)SCARD_E_TIMEOUT:
        return IOTSAFE_E_TIMEOUT;
    case (unsigned long)SCARD_E_INSUFFICIENT_BUFFER:
        return IOTSAFE_E_TOO_SMALL;
    default:
        drop(p);
        return IOTSAFE_E_LINK;
    }
}

/* A card that had to be connected anew is not the one the caller has channels on. */
static int ready(struct pcsc *p) {
    int r;

    if (p->have_card)
        return 0;
    drop(p);
    r = connect_any(p);
    if (r < 0)
        return r;
    return p->used ? IOTSAFE_E_RESET : 0;
}

/* ---- the transport ---- */

static int pcsc_transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len,
                         uint8_t *rsp, size_t rsp_cap) {
    struct pcsc *p = pcsc_of(t);
    SCARD_IO_REQUEST pci = {.cbPciLength = sizeof pci};
    DWORD n = (DWORD)rsp_cap;
    int r = ready(p);
    LONG e;

    if (r < 0)
        return r;
    p->used = true;
    pci.dwProtocol = p->protocol;
    e = p->transmit(p->card, &pci, cmd, (DWORD)cmd_len, NULL, rsp, &n);
    if (e != SCARD_S_SUCCESS)
        return failed(p, e);
    return n >= 2 ? (int)n : IOTSAFE_E_FORMAT;
}

static int pcsc_lock(struct iotsafe_transport *t) {
    struct pcsc *p = pcsc_of(t);
    int r = ready(p);
    LONG e;

    if (r < 0 && r != IOTSAFE_E_RESET)
        return r;
    e = p->begin(p->card);
    if (e != SCARD_S_SUCCESS) {
        r = failed(p, e);
        if (r != IOTSAFE_E_RESET)
            return r;
        e = p->begin(p->card);
        if (e != SCARD_S_SUCCESS)
            return failed(p, e);
    }
    return r == IOTSAFE_E_RESET;
}

static void pcsc_unlock(struct iotsafe_transport *t) {
    struct pcsc *p = pcsc_of(t);

    if (p->have_card)
        (void)p->end(p->card, SCARD_LEAVE_CARD);
}

static int pcsc_reset(struct iotsafe_transport *t) {
    struct pcsc *p = pcsc_of(t);
    DWORD protocol;
    int r = ready(p);
    LONG e;

    if (r < 0 && r != IOTSAFE_E_RESET)
        return r;
    e = p->reconnect(p->card, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1,
                     SCARD_UNPOWER_CARD, &protocol);
    if (e != SCARD_S_SUCCESS)
        return failed(p, e);
    set_protocol(p, protocol);
    return 0;
}

/* The connection to pcscd is the parent's, and there is no way to close our end without saying so
 * on it. */
static void pcsc_abandon(struct iotsafe_transport *t) {
    free(t);
}

static void pcsc_close(struct iotsafe_transport *t) {
    struct pcsc *p = pcsc_of(t);

    drop(p);
    if (p->lib)
        dlclose(p->lib);
    free(p);
}

static const struct iotsafe_transport_ops pcsc_ops = {
    .transmit = pcsc_transmit,
    .lock = pcsc_lock,
    .unlock = pcsc_unlock,
    .reset = pcsc_reset,
    .abandon = pcsc_abandon,
    .close = pcsc_close,
};

int transport_pcsc(const char *spec, struct iotsafe_transport **ret, char *err, size_t err_cap) {
    size_t n = strlen(spec);
    struct pcsc *p;
    int r;

    if (n >= NAME_MAX_LEN) {
        snprintf(err, err_cap, "reader name too long");
        return IOTSAFE_E_ARGUMENT;
    }
    p = calloc(1, sizeof *p);
    if (!p)
        return IOTSAFE_E_NO_MEMORY;
    p->base.ops = &pcsc_ops;
    memcpy(p->wanted, spec, n);
    r = load(p);
    if (r == 0)
        r = connect_any(p);
    if (r < 0) {
        snprintf(err, err_cap, "%s", p->why);
        pcsc_close(&p->base);
        return r;
    }
    *ret = &p->base;
    return 0;
}

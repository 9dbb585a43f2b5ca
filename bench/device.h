#pragma once
/* A simulated device in memory: its card, its modem and the way through both, with no process and
 * no thread of their own. */
#include <stdbool.h>

#include "iotsafe/transport.h"
#include "tb/apdu.h"
#include "tb/error.h"
#include "tb/span.h"

struct card;
struct card_nvm;
struct modem;
struct at_channel;

struct bench_device { /* zeroed to begin with */
    struct card_nvm *nvm;
    struct card *card;
    struct modem *modem; /* NULL: the device has none */
    struct at_channel *te;
    void (*te_output)(struct tb_span text, void *arg); /* what the modem says; NULL: to nobody */
    void *te_arg;
    /* what the modem wants of the card, answered when the modem has returned */
    uint8_t command[TB_APDU_MAX_SHORT_CMD];
    uint16_t command_n;
    bool pending, atr;
    struct bench_trace *trace; /* NULL: nobody counts */
};

/* What went between device, modem and card. */
struct bench_trace {
    uint64_t apdus, bytes_to_card, bytes_from_card;
    uint64_t link_us;         /* T=0 at TB_LINK_TA1 and TB_LINK_HZ */
    uint64_t commands, chars; /* AT commands; characters of both directions */
};

/* Powers a card up that lives on nvm, which is given to the device in any case. */
int bench_device_card(struct bench_device *d, struct card_nvm *nvm);
/* A modem with one AT port; it has booted and read its card when this returns. */
int bench_device_modem(struct bench_device *d);
/* Characters to the modem, and the card's answers to what it then asks. */
int bench_device_say(struct bench_device *d, struct tb_span text);
/* An APDU straight to the card. */
int bench_device_exchange(struct bench_device *d, struct tb_span cmd, struct tb_buf *rsp);
void bench_device_done(struct bench_device *d);

/* ---- many cards from one mould ---- */

/* Personalised as sim-card's factory.card, once. */
struct bench_factory;
int bench_factory_new(struct bench_factory **ret);
void bench_factory_free(struct bench_factory *f); /* NULL is a no-op */
/* The NVM of a new card, in memory: an ICCID, a key made inside and a certificate by bench_ca() of
 * its own, in each of the card's applets; all else as in the mould. */
int bench_factory_make(struct bench_factory *f, unsigned serial, struct card_nvm **ret);

/* ---- transports for libiotsafe ---- */

/* How long cards take, for all that share it. */
struct bench_slowness {
    unsigned operation_ms; /* a key pair, a signature, a verification, …: what counters count */
    bool hold;             /* nothing is answered any more once an operation has been asked for */
    unsigned held;         /* how many wait because of it */
};

enum bench_path { BENCH_DIRECT, BENCH_CSIM, BENCH_CGLA };

/* To d's card, directly or through its modem's AT port; d is borrowed longer. slow (borrowed
 * longer, NULL: at once) parks the running task, other tasks go on. */
int bench_link_memory(struct bench_device *d, enum bench_path path, struct bench_slowness *slow,
                      struct iotsafe_transport **ret);

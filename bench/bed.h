#pragma once
/* The project's own programs as the benchmarks need them: a CA, personalised cards, modems. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tb/pki.h"
#include "tb/span.h"

struct bench_modem {
    char vpcd[64], at_unix[128], at_pty[128], card_ctl[128];
    pid_t modem_pid, card_pid; /* of the card only when it is a real one */
};

/* sim-modem with an echo card (real: with a personalised sim-card), ready for APDUs. */
int bench_modem_start(const char *name, bool real, struct bench_modem *ret);
/* A personalised sim-card that listens in vpcd's reversed mode. */
int bench_card_start(char *ret_addr, size_t addr_cap, char *ret_ctl, size_t ctl_cap);
/* A personalised sim-card that dials the reader at addr. */
int bench_card_dial(const char *addr, char *ret_ctl, size_t ctl_cap);
int bench_vpcd_power_on(int fd);

/* The CA all cards and the server are certified by; made at first use. */
const struct tb_pki_ca *bench_ca(void);
const char *bench_ca_file(void);
/* Who a card is. */
struct bench_identity {
    char cert[160];        /* its client certificate, a PEM file */
    char psk_identity[64]; /* its pre-shared key, which the factory told once */
    unsigned char psk[64];
    unsigned psk_n;
};
/* All cards personalised so far; the last one is the latest. */
const struct bench_identity *bench_identities(unsigned *ret_n);
const struct bench_identity *bench_last_identity(void);

/* The store of a newly personalised card, open; card_nvm_free() it. */
struct card_nvm;
int bench_card_store(struct card_nvm **ret);

struct bench_memory_card;
int bench_memory_card_new(struct bench_memory_card **ret);
int bench_memory_card_exchange(void *arg, struct tb_span cmd, struct tb_buf *rsp);
void bench_memory_card_free(struct bench_memory_card *m);

#pragma once
/* A byte stream under a transport: serial port, pty, Unix socket, TCP; dialled, or waited for.
 * Blocking with deadlines, one system call per write and, on TCP, one per read. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINK_ADDRESS_MAX = 256, LINK_TIMEOUT_MS = 30000 };

struct link_config {
    char address[LINK_ADDRESS_MAX]; /* path, unix:path, tcp:host:port, host:port */
    bool listen;                    /* be called instead of calling */
    unsigned speed;                 /* serial; 0: leave as it is */
    bool hw_flow;                   /* serial: RTS/CTS */
    int timeout_ms;
};

/* Splits "address,key=value,…". 0 or IOTSAFE_E_ARGUMENT with a message. */
int link_parse(const char *spec, struct link_config *ret, char *err, size_t err_cap);

struct link {
    struct link_config config;
    int fd;        /* -1: not connected */
    int listen_fd; /* -1: not listening */
    bool tty, tcp;
    bool answered; /* something was read since the last write */
    char why[384]; /* of the last failure, for a person */
};

void link_init(struct link *l, const struct link_config *config);

/* Establishes the connection unless there is one; a listening link listens and does not wait yet.
 */
int link_prepare(struct link *l);
/* Connected when it returns 0: a listening link waits for a caller, up to the timeout. */
int link_connect(struct link *l);
/* Closes the connection; a listening link goes on listening. */
void link_drop(struct link *l);
void link_done(struct link *l);
/* Closes without anything that the other side, or another process with the same link, would see. */
void link_abandon(struct link *l);

int link_write(struct link *l, const void *bytes, size_t n);
/* Up to cap bytes as soon as there is one: their number, 0 after timeout_ms without, or
 * IOTSAFE_E_LINK. */
int link_read(struct link *l, void *buf, size_t cap, int timeout_ms);

/* Exclusive use among processes, serial ports only: waits while another process has it, but not
 * longer than the link's timeout: IOTSAFE_E_BUSY then. */
int link_lock(struct link *l);
void link_unlock(struct link *l);

int link_describe(const struct link *l, char *buf, size_t cap);

uint64_t link_now_ms(void);

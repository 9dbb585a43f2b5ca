#pragma once
/* A card that follows a script: it wants exactly these commands in this order and gives these
 * answers. */
#include "tb/test.h"

#include "iotsafe/call.h"
#include "iotsafe/iotsafe.h"

struct exchange {
    const char *command;  /* hex, blanks allowed */
    const char *response; /* hex, or a failure of the link: "LINK", "TIMEOUT", "ABSENT", "REFUSED",
                             "RESET", "BUSY";
                             "" when the link passes no answer on */
};

struct script {
    const struct exchange *at; /* next one */
    unsigned done;
};

/* What opening costs with a card that has the GSMA applet: channel 1. */
#define OPENING                                                                                    \
    {"00 70 00 00 01", "01 9000"}, {                                                               \
        "01 A4 04 00 07 A0000005590010", "9000"                                                    \
    }

/* A client on that card; the script ends with an exchange without command. script is borrowed. */
struct iotsafe *script_open(struct script *script, const struct exchange *exchanges,
                            const struct iotsafe_options *opt, unsigned transport_flags);
/* Asserts that the script is used up and closes the client, whose last words may be anything. */
void script_close(struct iotsafe *c, struct script *script);

/* hex of either case, blanks allowed, into buf; returns the number of bytes. */
size_t unhex(const char *hex, uint8_t *buf, size_t cap);
void assert_hex(const uint8_t *got, size_t n, const char *hex);

#pragma once
/* Why something did not work, for a person. */
#include <stdint.h>

/* Why a session ended or did not begin. */
struct dev_failure {
    char reason[512]; /* for a person; "" when nothing failed */
    uint16_t sw;      /* the card's status word, 0 when it was not the card */
};
void dev_fail(struct dev_failure *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

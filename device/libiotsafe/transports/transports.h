#pragma once
/* What spec.c knows of the transports. Each function takes the text after its prefix; on failure it
 * puts a message into err. */
#include <stdbool.h>
#include <stdio.h>

#include "iotsafe/at.h"
#include "iotsafe/iotsafe.h"

int transport_at(const char *spec, enum iotsafe_at_mode mode, struct iotsafe_transport **ret,
                 char *err, size_t err_cap);
int transport_pcsc(const char *spec, struct iotsafe_transport **ret, char *err, size_t err_cap);
int transport_vpcd(const char *spec, bool listen, struct iotsafe_transport **ret, char *err,
                   size_t err_cap);

#pragma once
/* Remote administration, as the card itself asks about it: simcard/admin.h is the rest. */
#include "iotsafe/object.h"
#include "simcard/admin.h"

/* A session is open on that set of objects. */
bool card_admin_is_on(const struct card *card, const struct card_instance *in);

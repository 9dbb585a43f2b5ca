#pragma once
/* Containers that the device may make where the profile has create_on_demand, as some applets do.
 */
#include "iotsafe/object.h"

/* Makes an empty, persistent P-256 container that may do everything, and puts it into the set; a
 * private one comes with its public half. 9000, 6A80 without an id, 6A84, 6581. */
uint16_t safe_create(struct card *card, struct card_instance *in, enum card_object_class cls,
                     struct tb_span id, struct card_object **ret);

#pragma once
/* Containers that the device may make where the profile has create_on_demand, as some applets do.
 * They are in the set first and in NVM with the command's one transaction; until then they can be
 * undone. */
#include "iotsafe/object.h"

struct safe_created {
    struct card_object *v[2];
    size_t n;
};

/* Makes an empty, persistent P-256 container that may do everything, and puts it into the set, in
 * RAM; a private one comes with its public half unless that exists. 9000, 6A80 without an id, 6A84.
 */
uint16_t safe_create(struct card_instance *in, enum card_object_class cls, struct tb_span id,
                     struct safe_created *ret);

/* Writes them, still empty. 9000, 6A84, 6581. */
uint16_t safe_create_store(struct card *card, const struct card_instance *in,
                           const struct safe_created *created);

void safe_create_undo(struct card_instance *in, struct safe_created *created);

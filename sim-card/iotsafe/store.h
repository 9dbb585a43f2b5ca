#pragma once
/* Personalisation of an applet by STORE DATA from its security domain: objects made, filled, read
 * back and deleted. IoT.04 asks for this and fixes no format; the commands are those of the one
 * format that has been published. Each is one transaction; the device sees 6984 while blocks of a
 * new value are coming in, then 6989 and 63CF. spec: IOTSAFE 12 */
#include "iotsafe/object.h"

struct safe_store; /* of one session: what is selected, what is locked */

/* NULL when out of memory. in and profile outlive it. */
struct safe_store *safe_store_new(struct card_instance *in, const struct card_profile *profile);
void safe_store_free(struct safe_store *st); /* unlocks; NULL is a no-op */

/* A block that is not the last one has come; so far is what there is of the command. 9000, or why
 * it need not go on. */
uint16_t safe_store_block(struct safe_store *st, struct tb_span so_far);

/* It is over without having been carried out. */
void safe_store_break(struct safe_store *st);

/* A command that does not wait for a last block: the empty ones that follow fetch its answer. */
bool safe_store_at_once(struct tb_span so_far);

/* The command is complete. Appends what it answers. */
uint16_t safe_store_run(struct card *card, struct safe_store *st, struct tb_span command,
                        struct cmd *cmd);

/* An empty block behind one that reads a file: the next part of it. 9000, 6985 when no file is
 * being read. */
uint16_t safe_store_more(struct safe_store *st, struct cmd *cmd, unsigned block);

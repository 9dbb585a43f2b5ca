#pragma once
/* New keys for a security domain, from PUT KEY or STORE DATA. */
#include "gp/change.h"
#include "gp/domain.h"
#include "gp/scp03.h"

/* What is enciphered with the session's DEK; out has room for in.n. 9000, 6985 when there is none,
 * 6A80 for a length that is no number of blocks, 6F00. */
uint16_t gp_decipher(const struct card_scp03 *s, struct tb_span in, uint8_t *out);

/* Type and version go together: AES for SCP03 and SCP80, DES for SCP80 only. */
bool gp_keyset_fits(const struct card_keyset *ks);

/* A copy, NULL when out of memory; and the end of a list of them. */
struct card_keyset *gp_keyset_new(const struct card_keyset *from);
void gp_keysets_free(struct card_keyset *list);

/* Stores the sets of list (given), each in place of the one with its version, or the only one in
 * place of old, and makes a supplementary domain personalised. A counter goes on when one of the
 * keys stays the same. with: what else is to be written in the same transaction; it is used up.
 * 9000, 6A84, 6581. */
uint16_t gp_keysets_store(struct card *card, struct card_app *domain, struct card_keyset *old,
                          struct card_keyset *list, struct gp_change *with);

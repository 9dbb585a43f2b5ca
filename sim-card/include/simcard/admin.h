#pragma once
/* Remote administration of an applet instance in a living card, as the operator's server does it
 * through whatever channel: objects are staged and locked, then changed all at once. Meanwhile the
 * device goes on. spec: IOTSAFE STATUS-WORDS what it gets to see:
 *
 *   6984  the command names an object that is being administered
 *   6989  the object of a session that was open has been changed or deleted under it
 *   63CF  the first command that succeeds on a channel after the change: look at your objects again
 */
#include "simcard/personalise.h"

/* Opens a session. TB_ESTATE when one is open, TB_ENOTFOUND for an instance the card does not have,
 * TB_ENOMEM. Losing power ends it without effect. */
int card_admin_begin(struct card *card, uint8_t instance) TB_CHECKED;

/* Stages the creation or replacement of an object; spec is copied. Errors as card_perso_object(),
 * TB_ESTATE without a session or when the object is staged already. */
int card_admin_put(struct card *card, const struct card_object_spec *spec) TB_CHECKED;

/* Stages the deletion of an object. TB_ENOTFOUND, TB_ESTATE. */
int card_admin_delete(struct card *card, enum card_object_class cls, struct tb_span id) TB_CHECKED;

/* Carries out what is staged in one NVM transaction and ends the session. On failure (TB_ESPACE,
 * TB_ESTORE, TB_ENOMEM) nothing has changed and the session is still open. */
int card_admin_commit(struct card *card) TB_CHECKED;

void card_admin_abort(struct card *card); /* no-op without a session */

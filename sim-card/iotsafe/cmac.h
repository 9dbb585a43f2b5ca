#pragma once
/* COMPUTE SIGNATURE with an AES key: a CMAC, as one deployed applet extends IoT.05. */
#include "iotsafe/applet.h"
#include "iotsafe/session.h"

/* True when INIT's TLVs name a secret key and no private one. */
bool safe_wants_cmac(const struct safe_args *a);

uint16_t safe_cmac_init(struct cmd *cmd, const struct safe_args *a);
uint16_t safe_cmac_update(struct card *card, struct cmd *cmd, struct card_session *s, bool last);

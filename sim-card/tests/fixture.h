#pragma once
/* The card that tests use: what reference personalisations in the field have, on one instance
 * behind every well-known AID, and a few objects that must not work. */
#include "simcard/personalise.h"
#include "tb/apdu.h"
#include "tb/hex.h"

enum { FX_CERT_LEN = 294, FX_CA_LEN = 700 };

extern const uint8_t fx_scalar[32];  /* of private key 01 */
extern const uint8_t fx_rsa_pkcs1[]; /* RSAPrivateKey of private key 0A */
extern const size_t fx_rsa_pkcs1_n;
uint8_t fx_cert_byte(size_t i); /* content of files 02 and 03 */

/* Personalises nvm. knobs: NULL, or "name=value name=value" changed in every AID's profile. The
 * word "euicc" among them: an eUICC, whose profiles fixture_euicc.c describes. Asserts. */
void fx_personalise(struct card_nvm *nvm, const char *knobs);

/* Makes nvm an eUICC: subscription 1 is there, and becomes profile 1. */
void fx_euicc(struct card_nvm *nvm);

/* A memory personalised like that. The factory works once for each set of knobs, the rest are
 * copies. */
struct card_nvm *fx_memory(const char *knobs);

/* A powered card over its own memory; *ret_nvm has to be freed after it. */
struct card *fx_card(const char *knobs, struct card_nvm **ret_nvm);

/* Runs one command given in hex; answer (with SW1 SW2) in hex in a static buffer. */
const char *fx_run(struct card *card, const char *hex);

/* Opens a session of the issuer domain, selected on the basic channel, with its keys of version 30
 * and without secure messaging: what follows goes as it is. */
void fx_open_session(struct card *card);

/* The same on bytes. Returns the status word; *ret_data borrows until the next call. */
uint16_t fx_transact(struct card *card, struct tb_span cmd, struct tb_span *ret_data);

/* True when data holds a private key or pre-shared key of the card, or a good part of one. */
bool fx_is_secret(struct tb_span data);

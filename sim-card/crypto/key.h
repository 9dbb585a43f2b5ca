#pragma once
/* For the other files of this folder: the OpenSSL key inside. */
#include <openssl/evp.h>

struct card_key;

EVP_PKEY *card_key_pkey(const struct card_key *key); /* borrowed */

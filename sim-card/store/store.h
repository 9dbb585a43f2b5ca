#pragma once
/* What the card keeps in its NVM and how a command writes it: one call, one transaction. The map's
 * keys begin with a letter; the values are a format byte and BER-TLV. */
#include <stdbool.h>

#include "simcard/nvm.h"

enum {
    CARD_REC_APPLET = 'A',       /* A seq16: an AID, its instance and profile */
    CARD_REC_KEYSET = 'D',       /* D seq16 version: keys of a security domain and their counters */
    CARD_REC_EUICC = 'E',        /* E: of the eUICC itself; E n: of profile n */
    CARD_REC_FILE = 'F',         /* F df16 fid16: content of a file that differs from its default */
    CARD_REC_DOMAIN_DATA = 'G',  /* G seq16 tag16: of a security domain */
    CARD_REC_IDENTITY = 'I',     /* I */
    CARD_REC_AKA = 'K',          /* K: the USIM's key and sequence numbers */
    CARD_REC_NOTIFICATION = 'M', /* M seq32: a profile's server has to be told */
    CARD_REC_OF = 'N',      /* N n …: the record … of subscription n; without it, of number 0 */
    CARD_REC_OBJECT = 'O',  /* O instance class id: an IoT SAFE object */
    CARD_REC_PIN = 'P',     /* P reference: a PIN, its PUK and their counters */
    CARD_REC_VERSION = 'V', /* V: the version of this whole scheme */
};

enum { CARD_STORE_VERSION = 1, CARD_RECORD_FORMAT = 1, CARD_REC_KEY_MAX = 3 + 20 };

/* One change of a transaction; deletes the entry when value.p is NULL. */
struct card_write {
    struct tb_span key, value;
};

/* Carries out all changes in one transaction, or none. Also writes the version record when asked.
 * Returns 0, TB_ESPACE or what the implementation says. */
int card_nvm_write(struct card_nvm *nvm, const struct card_write *writes, size_t n,
                   bool with_version) TB_CHECKED;

/* Looks one entry up and gives a copy (from malloc; the caller wipes and frees it). 1, 0 when
 * absent. */
int card_nvm_get(struct card_nvm *nvm, struct tb_span key, uint8_t **ret_value,
                 size_t *ret_n) TB_CHECKED;

/* Checks a version record: 0, or TB_EUNSUP for one of a newer scheme, TB_EPARSE. */
int card_store_check_version(struct tb_span value) TB_CHECKED;

/* Takes the leading format byte off a record. TB_EPARSE when empty, TB_EUNSUP when newer. */
int card_record_open(struct tb_span *record) TB_CHECKED;

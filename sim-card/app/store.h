#pragma once
/* Whole cards in store files. */
#include "simcard/nvm.h"

/* Nothing but an empty or absent file at path? TB_ESTATE when a card lives there. */
int card_store_check_free(const char *path, struct tb_error *e) TB_CHECKED;

/* Copies the finished card to path in one transaction, after deleting, with replace, the card that
 * lives there. */
int card_store_write(const char *path, struct card_nvm *card, bool replace,
                     struct tb_error *e) TB_CHECKED;

/* The same into a new file, which the caller brings to the disk: see card_nvm_sqlite_create(). */
int card_store_write_new(const char *path, struct card_nvm *card, struct tb_error *e) TB_CHECKED;

/* A copy in memory of the card at path, which may be running meanwhile. */
int card_store_read(const char *path, struct card_nvm **ret, struct tb_error *e) TB_CHECKED;

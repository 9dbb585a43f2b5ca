#pragma once
/* What one command changes: gathered first, written in one transaction, then taken over in RAM. */
#include "os/os.h"

struct gp_write {
    uint8_t key[CARD_REC_KEY_MAX], key_n;
    uint8_t *p; /* from malloc; NULL: the entry goes */
    size_t n;
};

struct gp_change {
    struct gp_write *v;
    size_t n;
    bool failed; /* out of memory: nothing will be written */
};

void gp_change_put(struct gp_change *c, struct tb_span key, struct tb_span value);
void gp_change_del(struct gp_change *c, struct tb_span key);

void gp_change_app(struct gp_change *c, const struct card_app *app);      /* as it is now */
void gp_change_app_gone(struct gp_change *c, const struct card_app *app); /* with its keys */
void gp_change_keyset(struct gp_change *c, const struct card_app *domain,
                      const struct card_keyset *ks);
void gp_change_data(struct gp_change *c, const struct card_app *domain,
                    const struct card_domain_data *one);
void gp_change_keyset_gone(struct gp_change *c, const struct card_app *domain, uint8_t version);

/* Writes all or nothing and frees what was gathered. 0, 6A84, 6581. */
uint16_t gp_change_commit(struct card *card, struct gp_change *c);
void gp_change_drop(struct gp_change *c);

/* --- gp/cmd_delete.c: entries marked in going, which has room for CARD_MAX_APPS --- */

/* Their records, and those of objects that only they show, go with the change. */
uint16_t gp_delete_gather(struct card *card, const bool *going, struct gp_change *change);
/* After the commit: one of them, last ones first; channels that use it leave it. */
void gp_delete_forget(struct card *card, struct cmd *cmd, struct card_app *app);

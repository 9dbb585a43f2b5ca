#pragma once
/* Commands of a security domain. spec: GPCS 11 */
#include "gp/registry.h"
#include "gp/scp03.h"

/* The domain's row for an instruction, NULL when it has none. */
const struct card_ins *card_domain_ins(uint8_t ins);

/* Runs one of these rows: takes secure messaging off the command and puts it on the response. */
uint16_t card_domain_run(struct card *card, struct cmd *cmd, const struct card_ins *row);

/* One file for each family: cmd_<family>.c. All but GET DATA and the first two of the secure
 * channel are only called in an authenticated session. */
card_handler card_cmd_initialize_update, card_cmd_external_authenticate, card_cmd_gp_get_data,
    card_cmd_get_status, card_cmd_put_key, card_cmd_set_status, card_cmd_delete, card_cmd_install,
    card_cmd_store_data;

/* The session of the command's channel, NULL when none has been authenticated. */
static inline struct card_scp03 *gp_session(const struct cmd *cmd) {
    return cmd->ch->scp && cmd->ch->scp->open ? cmd->ch->scp : NULL;
}

/* The entry with that AID that the command's domain is responsible for. 9000, 6A88. */
uint16_t gp_find_below(const struct card *card, const struct cmd *cmd, struct tb_span aid,
                       struct card_app **ret);

/* What can be instantiated, as if loaded before issuance. */
struct gp_module {
    struct tb_span file, module; /* AIDs of executable load file and module */
    enum card_app_kind kind;
};
enum { GP_MODULES = 2 };
extern const struct gp_module gp_modules[GP_MODULES];

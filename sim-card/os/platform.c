#include "os/platform.h"

#include "crypto/crypto.h"

/* spec: TS102221 11.1.19 */
uint16_t card_cmd_terminal_capability(struct card *card, struct cmd *cmd) {
    (void)card;
    return cmd->a.data.n > 0 ? TB_SW_OK : TB_SW_LENGTH;
}

/* spec: ISO7816-4 11.5.3 */
uint16_t card_cmd_get_challenge(struct card *card, struct cmd *cmd) {
    size_t n = cmd->a.le_present ? cmd->a.ne : 256;

    (void)card;
    if (cmd->a.p1 != 0 || cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (cmd->a.data.n > 0)
        return TB_SW_LENGTH;
    if (!card_out_room(cmd, n))
        return TB_SW_NO_SPACE;
    cmd->work = TB_CARD_RANDOM;
    return card_random(cmd->out, n) < 0 ? TB_SW_UNKNOWN : TB_SW_OK;
}

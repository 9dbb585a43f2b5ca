#include "iotsafe/applet.h"

#define SECRET(ins, op, fn)                                                                        \
    { ins, CARD_CLA_ANY, CARD_OF_APPLET | CARD_SECRET_IN, op, fn }
#define TYPE1(ins, op, fn)                                                                         \
    { ins, CARD_CLA_ANY, CARD_OF_APPLET | CARD_TYPE_1, op, fn }
#define ROW(ins, op, fn)                                                                           \
    { ins, CARD_CLA_ANY, CARD_OF_APPLET, op, fn }

/* The commonest first. */
static const struct card_ins table[] = {
    TYPE1(TB_SAFE_COMPUTE_SIGNATURE_UPDATE, "compute-signature-update",
          card_cmd_compute_signature_update),
    TYPE1(TB_SAFE_COMPUTE_SIGNATURE_INIT, "compute-signature-init",
          card_cmd_compute_signature_init),
    TYPE1(TB_SAFE_VERIFY_SIGNATURE_UPDATE, "verify-signature-update",
          card_cmd_verify_signature_update),
    TYPE1(TB_SAFE_VERIFY_SIGNATURE_INIT, "verify-signature-init", card_cmd_verify_signature_init),
    TYPE1(TB_SAFE_PUT_PUBLIC_UPDATE, "put-public-key-update", card_cmd_put_public_update),
    TYPE1(TB_SAFE_PUT_PUBLIC_INIT, "put-public-key-init", card_cmd_put_public_init),
    TYPE1(TB_SAFE_COMPUTE_DH, "compute-dh", card_cmd_compute_dh),
    SECRET(TB_SAFE_COMPUTE_PRF, "compute-prf", card_cmd_compute_prf),
    SECRET(TB_SAFE_COMPUTE_HKDF, "compute-hkdf", card_cmd_compute_hkdf),
    ROW(TB_SAFE_GET_RANDOM, "get-random", card_cmd_get_random),
    ROW(TB_SAFE_READ_FILE, "read-file", card_cmd_read_file),
    TYPE1(TB_SAFE_GENERATE_KEY_PAIR, "generate-key-pair", card_cmd_generate_key_pair),
    ROW(TB_SAFE_GET_DATA, "get-data", card_cmd_get_data),
    TYPE1(TB_SAFE_READ_PUBLIC_KEY, "read-public-key", card_cmd_read_public_key),
};

const struct card_ins *card_applet_ins(uint8_t ins) {
    return card_ins_find(table, sizeof table / sizeof table[0], ins);
}

uint16_t card_applet_run(struct card *card, struct cmd *cmd, const struct card_ins *row) {
    uint16_t sw;

    if (safe_instance(cmd)->damaged && row->ins != TB_SAFE_GET_RANDOM)
        return TB_SW_INTEGRITY;
    sw = row->run(card, cmd);
    if (sw == TB_SW_OK && cmd->ch->admin_done) {
        cmd->ch->admin_done = false;
        sw = TB_SW_ADMIN_DONE;
    }
    return sw;
}

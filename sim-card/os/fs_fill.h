#pragma once
/* Default contents of the files that follow from the subscriber's data or the card's applications.
 */
#include "os/os.h"

typedef void fs_fill_fn(const struct card *card, struct tb_buf *out);
fs_fill_fn fs_fill_iccid, fs_fill_dir, fs_fill_arr, fs_fill_imsi, fs_fill_ust, fs_fill_msisdn,
    fs_fill_smsp, fs_fill_spn, fs_fill_plmn_act, fs_fill_hplmn_act, fs_fill_acc, fs_fill_ad,
    fs_fill_ecc, fs_fill_pnn, fs_fill_opl;

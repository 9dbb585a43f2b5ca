#pragma once
/* Commands on files, ETSI TS 102 221 11.1. */
#include "os/os.h"

card_handler card_cmd_status, card_cmd_read_binary, card_cmd_update_binary, card_cmd_read_record,
    card_cmd_update_record;

#pragma once
/* What a UICC answers apart from files: terminal and toolkit commands, GET CHALLENGE. */
#include "os/os.h"

card_handler card_cmd_terminal_profile, card_cmd_no_proactive, card_cmd_terminal_capability,
    card_cmd_get_challenge;

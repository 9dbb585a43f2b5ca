#pragma once
/* What a UICC answers apart from files and the toolkit. */
#include "os/os.h"

card_handler card_cmd_terminal_capability, card_cmd_get_challenge;

#pragma once
#include "tb/error.h"

/* Makes dir (mode 0700), writes mosquitto.conf and access.acl into it and removes a stale socket.
 */
int hub_broker_configure(const char *dir, const char *socket, unsigned max_message,
                         struct tb_error *e) TB_CHECKED;

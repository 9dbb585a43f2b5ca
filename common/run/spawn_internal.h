#pragma once
/* fork and exec, without the loop. */
#include "tb/child.h"

struct tb_spawned {
    int pid;
    int pidfd;    /* readable when the process has ended */
    int ready_fd; /* our end of the ready pipe, or -1 */
};

/* Starts the process. When this returns 0 the program runs; what kept exec from working is returned
 * as a negative code, and then there is no process. */
int tb_spawn(const struct tb_child_spec *spec, struct tb_spawned *ret) TB_CHECKED;

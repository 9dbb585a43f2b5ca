/* What the subcommands share. */
#include <stdio.h>
#include <stdlib.h>

#include "app/hub.h"

int hub_cmd_fail(const char *program, const struct tb_error *e) {
    fprintf(stderr, "%s: ", program);
    if (e->file[0])
        fprintf(stderr, "%s: ", e->file);
    if (e->line > 0)
        fprintf(stderr, "%d: ", e->line);
    fprintf(stderr, "%s\n", e->message);
    return 1;
}

struct hub_registry *hub_cmd_registry(const char *program, const char *state) {
    struct hub_registry *r;
    struct tb_error e = {0};

    if (!state) {
        fprintf(stderr, "%s: --state DIR is wanted\n", program);
        exit(2);
    }
    if (hub_registry_open(state, &r, &e) < 0)
        exit(hub_cmd_fail(program, &e));
    return r;
}
